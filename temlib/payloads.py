"""What a liposome carries: drug crystals with their fibres, bundles, dense and speckled interiors.

Kinds, potentials and sizes are assumptions unless a source is named; lengths are nm, potentials V above ice.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numba import njit

from temlib import forms, projection

# Distance between the fibres of a drug crystal, 3-3.5 nm by the literature on citrate-loaded doxorubicin.
FIBRE_NM = 3.2
# Spacing at which a crystal's cross-section is kept.
SECTION_NM = 0.4
KINDS = {"rod": 0.45, "bundle": 0.2, "dense": 0.15, "speckled": 0.2}


@dataclass(frozen=True)
class Payload:
    """What a vesicle carries.

    Attributes
    ----------
    kind : str
        none, rod, bundle, dense or speckled.
    fill : float
        Share of what the lumen can hold of this kind, in [0, 1]: of a rod its length, of a ring its
        cross-section, of parallel rods their number, of a dense or speckled interior its volume.
    solids : (n, 6) ndarray
        Ellipsoids as `projection.add_ellipsoids` takes them, about the vesicle's centre.
    rods : tuple
        (place, frame, length, crystal, taper) as `projection.add_rod` takes them, `crystal` what `_section`
        takes.
    rings : tuple
        (axis, meridian, profile, lowest, spacing) of bodies of revolution.
    strand : (float, float, float)
        Radius in nm, potential in V and total projected length in nm of what it is made of, for its
        visibility.
    """

    kind: str = "none"
    fill: float = 0.0
    solids: np.ndarray = field(default_factory=lambda: np.empty((0, 6)))
    rods: tuple = ()
    rings: tuple = ()
    strand: tuple = (1.0, 0.0, 0.0)


NONE = Payload()


@njit(cache=True, nogil=True)
def _section(radius, potential, texture, turn):
    """Return the cross-section of a drug crystal: a soft-edged disc of fibres on a hexagonal lattice."""
    n = math.ceil((radius + 1) / SECTION_NM)
    section = np.empty((2 * n + 1, 2 * n + 1), np.float32)
    k = 2 * math.pi / (FIBRE_NM * math.sqrt(3) / 2)
    for i in range(2 * n + 1):
        for j in range(2 * n + 1):
            u, v = (i - n) * SECTION_NM, (j - n) * SECTION_NM
            waves = 0.0
            for turned in (turn, turn + math.pi / 3, turn + 2 * math.pi / 3):
                waves += math.cos(k * (u * math.cos(turned) + v * math.sin(turned)))
            edge = 1.0 / (1.0 + math.exp((math.hypot(u, v) - radius) / 0.4))
            section[i, j] = potential * edge * (1.0 + texture * waves / 1.5)
    return section


def _turned(axis, angle, rng):
    """Return `axis` tilted by `angle` (rad) in a random direction."""
    side = forms.frame(axis) @ np.append(forms.direction(rng)[:2], 0.0)
    side /= np.linalg.norm(side)
    return math.cos(angle) * axis + math.sin(angle) * side


def _rods(count, width, tilt, lumen, rotation, fill, center, rng):
    """Return rods along the last axis of the lumen, side by side when there are several."""
    rods = []
    for n in range(count):
        off = np.zeros(3)
        if count > 1:
            angle = 2 * math.pi * (n + rng.uniform(-0.2, 0.2)) / count
            away = 0.5 * max(0.0, min(lumen[0], lumen[1]) - width / 2)
            off[:2] = away * math.cos(angle), away * math.sin(angle)
        reach = math.hypot(off[0], off[1]) + width / 2
        length = 2 * lumen[2] * math.sqrt(max(0.1, 1 - (reach / min(lumen[0], lumen[1])) ** 2)) * fill
        slide = rng.uniform(-1, 1) * 0.5 * (1 - fill) * lumen[2]
        axis = _turned(rotation[:, 2], tilt * rng.uniform(), rng) if tilt else rotation[:, 2]
        place = rotation @ (off + [0, 0, slide])
        crystal = (width / 2, rng.uniform(1.1, 2.0), rng.uniform(0.4, 0.9), rng.uniform(0, math.pi / 3))
        taper = rng.uniform(0.4, 0.9)
        rods.append((center + place[:2], forms.frame(axis), max(length, 3.0), crystal, taper))
    return tuple(rods)


def _seen(rods):
    """Return the summed projected length of rods, in nm; a rod seen end-on is a dot of its own width."""
    return sum(max(length * math.hypot(frame[0, 2], frame[1, 2]), 4.0) for _, frame, length, *_ in rods)


def _ring(lumen, fill, rng):
    """Return a circular bundle: a torus with layers at the distance of the fibres."""
    radius = rng.uniform(0.6, 0.8) * min(lumen)
    minor = min(7.0, 0.35 * radius) * math.sqrt(fill)
    angle = np.linspace(0, 2 * math.pi, 33)
    meridian = np.stack([radius + minor * np.sin(angle), minor * np.cos(angle)], axis=1)
    depth = np.arange(-minor - 0.5, 0.75, 0.25)
    profile = (
        rng.uniform(1.1, 2.0) * (1 + 0.6 * np.cos(2 * math.pi * depth / FIBRE_NM)) / (1 + np.exp(depth / 0.3))
    )
    return forms.direction(rng), meridian, profile, float(depth[0]), 0.25


def _grains(lumen, rotation, fill, center, rng):
    """Return small dense grains scattered through the lumen's share `fill`."""
    count = min(500, max(4, int(fill * np.prod(lumen) * 4.19 / 420)))
    points = rng.standard_normal((count, 3))
    points *= (rng.uniform(0, 1, count) ** (1 / 3) / np.linalg.norm(points, axis=1))[:, None]
    places = center + ((points * lumen * 0.95) @ rotation.T)[:, :2]
    radii, potential = rng.uniform(1.5, 3.2, count), rng.uniform(0.8, 2.2)
    solids = np.zeros((count, 6))
    solids[:, :2], solids[:, 2], solids[:, 4] = places, radii**-2, radii**-2
    solids[:, 5] = 2 * radii * potential
    return solids


def draw(kind, fill, lumen, rotation, center, rng):
    """Draw a payload that fits a lumen.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    fill : float
        Share of what the lumen can hold, in (0, 1].
    lumen : (3,) ndarray
        Half axes of the lumen, in nm.
    rotation : (3, 3) ndarray
        Directions of these.
    center : (2,) ndarray
        Row and column of the lumen's centre, relative to the vesicle's.
    rng : numpy.random.Generator
        Source of randomness.
    """
    order = np.argsort(lumen)  # the crystal grows along the longest axis
    lumen, rotation = lumen[order], rotation[:, order]
    narrow = lumen[0]
    if kind == "rod":
        width = min(rng.uniform(15, 25), 1.3 * narrow)
        rods = _rods(1, width, 0.0, lumen, rotation, fill, center, rng)
        return Payload(kind, fill, rods=rods, strand=(width / 2, 1.5, _seen(rods)))
    if kind == "bundle" and rng.uniform() < 0.5 and narrow > 20:
        ring = _ring(lumen, fill, rng)
        wide = float(ring[1][:, 0].max() + ring[1][:, 0].min())
        strand = (float(np.ptp(ring[1][:, 0])) / 2, 1.5, math.pi * wide / 2)
        return Payload(kind, fill, rings=(ring,), strand=strand)
    if kind == "bundle":
        count = max(1, round(4 * fill))
        width = min(rng.uniform(7, 11), 0.6 * narrow)
        rods = _rods(count, width, 0.25, 0.9 * lumen, rotation, min(1.0, 4 * fill), center, rng)
        return Payload(kind, fill, rods=rods, strand=(width / 2, 1.5, _seen(rods)))
    if kind == "dense":
        core = fill ** (1 / 3)
        place = center + (rotation @ (forms.direction(rng) * lumen * (1 - core)))[:2]
        potential, axes = rng.uniform(0.3, 0.8), core * lumen
        solids = projection.ellipsoids(place, axes[None], rotation, np.array([potential]))
        return Payload(kind, fill, solids, strand=(float(axes.min()), potential, 1.6 * float(axes.min())))
    solids = _grains(lumen, rotation, fill, center, rng)
    # Grains on top of each other add as noise does, so they count as one strand of all their diameters.
    radius = float(np.mean(solids[:, 2] ** -0.5))
    return Payload(
        kind, fill, solids, strand=(radius, float(solids[0, 5]) / 2 / radius, 1.6 * radius * len(solids))
    )


def paint(image, pixel_nm, payload, place):
    """Add the projected potential of a payload to `image`, its vesicle's centre at `place` (in nm)."""
    if len(payload.solids):
        projection.add_ellipsoids(image, pixel_nm, payload.solids + np.append(place, np.zeros(4)))
    for offset, frame, length, crystal, taper in payload.rods:
        section = _section(*crystal)
        projection.add_rod(image, pixel_nm, place + offset, frame, length, section, SECTION_NM, taper)
    for axis, meridian, profile, lowest, spacing in payload.rings:
        extent = tuple(forms.reach(meridian, axis) + 1.0)
        table = projection.distances(meridian, True, float(np.hypot(*meridian.T).max()) + 1.0)
        projection.add_revolution(image, pixel_nm, place, axis, extent, table, profile, lowest, spacing)
