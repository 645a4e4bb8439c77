"""Forms of closed membranes: near-spheres, ellipsoids, and bodies of revolution given by their meridian.

A form is scaled so that its membrane has the area of the sphere whose diameter is asked for: a lipid bilayer bends
easily but hardly stretches, so vesicles change form at constant area. Lengths are nm; directions are unit vectors
(row, column, beam); a meridian is a polyline (m, 2) of (distance from the axis of revolution, height).
"""

import math
from dataclasses import dataclass, replace

import numpy as np

# Points of half a meridian; at 100 nm diameter a segment is about 3 nm long and leaves the true curve by < 0.05 nm.
_POINTS = 30
# Forms and their shares where nothing else decides (assumed; the kinds are those that CryoVIA reports).
FORMS = {"sphere": 0.76, "prolate": 0.08, "flattened": 0.05, "pear": 0.04, "tube": 0.04, "stomatocyte": 0.03}
# Thin ice may press a vesicle to this share of its diameter; beyond it pushes vesicles out of the film (assumed).
FLATTEST = 0.4
FILM_NM = 2.0  # water that stays above and below a vesicle in the film (assumed)


@dataclass(frozen=True)
class Form:
    """The mid-plane of an outermost bilayer."""

    name: str  # one of `FORMS`
    axes: np.ndarray  # (3,) half axes of the ellipsoid; of other forms, of the largest one that stays inside
    rotation: np.ndarray  # (3, 3) columns are the directions of the half axes, the last that of revolution
    offset_nm: float = 0.0  # place of that inner ellipsoid along the axis of revolution
    meridian: np.ndarray | None = None  # of bodies of revolution

    @property
    def extent(self):
        """Half the extent along rows, columns and beam."""  # (3,)
        if self.meridian is None:
            return np.sqrt((self.rotation**2) @ self.axes**2)
        return reach(self.meridian, self.rotation[:, 2])


def reach(meridian, axis):
    """Return half the extent (rows, columns, beam) of what a meridian sweeps around `axis`."""  # (3,)
    across = np.sqrt(np.maximum(0.0, 1.0 - axis**2))
    return (meridian[:, :1] * across + np.abs(meridian[:, 1:] * axis)).max(0)


def frame(axis):
    """Return a right-handed rotation matrix whose last column is the unit vector `axis`."""
    x, y, z = axis.tolist()
    # Duff et al., J. Comput. Graph. Tech. 6 (2017) 1: a basis without branches on the smallest component.
    sign = math.copysign(1.0, z)
    a = -1.0 / (sign + z)
    b = x * y * a
    first = (1.0 + sign * x * x * a, sign * b, -sign * x)
    second = (b, sign + y * y * a, -y)
    return np.column_stack([first, second, axis])


def direction(rng):
    """Draw a direction, uniform on the sphere."""  # (3,)
    height, angle = rng.uniform(-1, 1), rng.uniform(0, 2 * math.pi)
    across = math.sqrt(1 - height * height)
    return np.array([across * math.sin(angle), across * math.cos(angle), height])


def pick(shares, rng):
    """Draw a key of `shares`, a dict of shares that sum to 1 (`Generator.choice` takes ten times longer)."""
    index = int(np.searchsorted(np.cumsum(list(shares.values())), rng.uniform(), side="right"))
    return list(shares)[min(index, len(shares) - 1)]


def area_ellipsoid(axes):
    """Return the surface of an ellipsoid in nm² (Thomsen's formula, within 1.1 %)."""
    a, b, c = (float(axis) ** 1.6075 for axis in axes)
    return 4 * math.pi * ((a * b + a * c + b * c) / 3) ** (1 / 1.6075)


def area_revolution(meridian):
    """Return the surface that a meridian sweeps around its axis, in nm²."""
    middle = 0.5 * (meridian[1:, 0] + meridian[:-1, 0])
    return float(2 * math.pi * (middle * np.hypot(*np.diff(meridian, axis=0).T)).sum())


def _arc(radius, height, start, stop):
    """Return an arc of a meridian around `height` on the axis."""
    angle = np.linspace(start, stop, _POINTS)
    return np.stack([radius * np.sin(angle), height + radius * np.cos(angle)], axis=1)


def pear(small, distance):
    """Return the meridian of balls of radii 1 and `small`, `distance` apart, in one skin; a tube where `small` is 1."""
    tilt = math.acos((1.0 - small) / distance)  # of the skin's normal, from the axis towards the small ball
    return np.concatenate([_arc(small, distance, 0.0, tilt), _arc(1.0, 0.0, tilt, math.pi)])


def stomatocyte(mouth, bowl):
    """Return the meridian of a ball of radius 1 with a dent of radius `bowl` behind a mouth of `mouth` rad."""
    inner, depth = 0.6, 0.15
    outside, inside = _arc(1.0, 0.0, math.pi, mouth), _arc(bowl, depth, inner, math.pi)
    begin, end = outside[-1], inside[0]
    leave = begin + 0.30 * np.array([-math.cos(mouth), math.sin(mouth)])
    arrive = end - 0.25 * np.array([math.cos(inner), -math.sin(inner)])
    t = np.linspace(0, 1, 12)[1:-1, None]
    rim = (1 - t) ** 3 * begin + 3 * t * (1 - t) ** 2 * leave + 3 * t**2 * (1 - t) * arrive + t**3 * end
    return np.concatenate([outside, rim, inside])


def _revolution(name, meridian, radius, rng):
    """Return the body of revolution of this area in a random orientation, centred on its height."""
    meridian = meridian * (radius * math.sqrt(4 * math.pi / area_revolution(meridian)))
    meridian = meridian - [0.0, 0.5 * (meridian[:, 1].max() + meridian[:, 1].min())]
    wide, tall = meridian[:, 0].max(), 0.5 * np.ptp(meridian[:, 1])
    if name == "tube":
        axes, offset = np.array([wide, wide, tall]) * 0.97, 0.0
    else:
        # The larger ball of a pear; of a stomatocyte nothing is used, since its lumen is a thin shell.
        axes, offset = np.full(3, 0.97 * wide), meridian[meridian[:, 0].argmax(), 1]
    return Form(name, axes, frame(direction(rng)), offset, meridian)


def draw_form(name, diameter_nm, rng, *, aspect=None):
    """Draw a form of `FORMS`; `aspect` is the long half axis of a prolate over its short one, drawn when None."""
    radius = diameter_nm / 2
    if name == "pear":
        return _revolution(name, pear(rng.uniform(0.35, 0.6), rng.uniform(0.95, 1.35)), radius, rng)
    if name == "tube":
        return _revolution(name, pear(1.0, rng.uniform(2.0, 4.5)), radius, rng)
    if name == "stomatocyte":
        return _revolution(name, stomatocyte(rng.uniform(0.42, 0.58), rng.uniform(0.5, 0.6)), radius, rng)
    if name == "sphere":
        axes, axis = 1.0 + 0.03 * rng.standard_normal(3).clip(-2, 2), direction(rng)
    elif name == "prolate":
        aspect = rng.uniform(1.25, 1.9) if aspect is None else aspect
        axes, axis = (1.0, 1.0 + 0.02 * rng.standard_normal(), aspect), direction(rng)
    else:
        axis = direction(rng) * (0.3, 0.3, 1.0)
        axes, axis = (1.0, 1.0, rng.uniform(0.5, 0.75)), axis / np.linalg.norm(axis)
    axes = np.asarray(axes) * (radius * math.sqrt(4 * math.pi / area_ellipsoid(axes)))
    return Form(name, axes, frame(axis))


def fit_to_ice(form, diameter_nm, ice_nm):
    """Return `form` with `FILM_NM` of water on either side: long ones are laid down, wide ones pressed flat."""
    room = ice_nm / 2 - FILM_NM
    if form.extent[2] <= room:
        return form
    if form.name in ("prolate", "tube", "pear"):
        in_plane = form.rotation[:, 2] * (1.0, 1.0, 0.0)
        laid = replace(form, rotation=frame(in_plane / np.linalg.norm(in_plane)))
        if laid.extent[2] <= room:
            return laid
    return _pressed(diameter_nm / 2, room, form.rotation)


def _pressed(radius, room, rotation):
    """Return the oblate ellipsoid of half height `room` whose area is that of a sphere of `radius`."""
    low, high = radius, 2.0 * radius
    for _ in range(30):
        wide = 0.5 * (low + high)
        too_narrow = area_ellipsoid((wide, wide, room)) < 4 * math.pi * radius**2
        low, high = (wide, high) if too_narrow else (low, wide)
    angle = math.atan2(rotation[0, 0], rotation[1, 0])
    c, s = math.cos(angle), math.sin(angle)
    turned = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    name = "sphere" if room > 0.8 * wide else "flattened"
    return Form(name, np.array([wide * 1.01, wide * 0.99, room]), turned)
