"""Artefacts: what else is in the field and may be mistaken for a particle, or spoil one.

Neighbours that overlap a particle or that its box cuts, broken membranes, micelles, dark spots, ice crystals, and the
edge of the carbon film. How many there are is assumed; `Settings.artefacts` scales it. Lengths are nm.
"""

import math
from dataclasses import dataclass

import numpy as np

from temlib.simulate import shapes, vesicles

# Most vesicles find a free place within this many throws; in a crowded field the rest overlap. A place is free where
# the nearest other disc is so far away.
_THROWS, _FREE_NM = 40, 2.0
# Thickness and potential of the carbon film, relative to ice; limited, for the weak-phase image holds for small phases.
CARBON_NM, CARBON_STEP_V_NM, CARBON_GRAIN_V_NM2 = 12.0, 20.0, 4.0


def largest_in(ice_nm):
    """Return the largest diameter in nm of a vesicle that, pressed flat, ice of this thickness holds."""
    return (ice_nm - 2 * shapes.FILM_NM) / shapes.FLATTEST


class Crowd:
    """The discs that are already taken in a field of (rows, columns) nm."""

    def __init__(self, field_nm):
        self.field_nm = field_nm
        self.places, self.radii = np.empty((0, 2)), np.empty(0)

    def take(self, place, radius):
        """Mark a disc as taken."""
        self.places, self.radii = np.vstack([self.places, place]), np.append(self.radii, radius)

    def place(self, radius, room, rng):
        """Return and take a place `room` nm or more inside the field: a free one, else the freest thrown."""
        places = rng.uniform(room, np.maximum(room + 1e-6, self.field_nm - room), (_THROWS, 2))
        away = np.hypot(*(places[:, None] - self.places).transpose(2, 0, 1))  # (throws, taken)
        clearance = (away - self.radii - radius).min(1, initial=_FREE_NM)
        place = places[clearance.argmax()]  # the first of the free ones
        self.take(place, radius)
        return place


@dataclass(frozen=True)
class Debris:
    """A micelle, spot, broken membrane or crystal: the disc that it covers, and its parts, as those of a payload."""

    place: np.ndarray
    radius_nm: float
    payload: vesicles.Payload


@dataclass(frozen=True)
class Carbon:
    """The edge of the carbon film: everything outside a round hole."""

    center: np.ndarray
    radius_nm: float


def _broken(place, pixel_nm, rng):
    """Draw an open piece of bilayer, a cap of a sphere."""
    radius, half = rng.uniform(25, 60), rng.uniform(0.6, 2.2)
    angle = np.linspace(0, half, 40)
    meridian = radius * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    axis, head = shapes.direction(rng), rng.uniform(3.6, 4.6)
    profile = vesicles.bilayer(np.arange(0.0, vesicles.HALF_RANGE_NM, 0.2), head, 0.3 * pixel_nm)
    body = axis, meridian, profile, 0.0, 0.2, vesicles.HALF_RANGE_NM, False
    return Debris(place, radius, vesicles.Payload(bodies=(body,)))


def _ball(place, least, potential, rng):
    """Draw a micelle or a dark spot."""
    radius = rng.uniform(least, 5)
    solid = [0.0, 0.0, radius**-2, 0.0, radius**-2, 2 * radius * potential]
    return Debris(place, radius, vesicles.Payload(solids=np.array([solid])))


def _crystal(place, rng):
    """Draw a crystal of contaminating ice: a few hexagonal plates grown together."""
    size, plates = rng.uniform(10, 40), []
    n = math.ceil(size) + 2
    u, v = np.mgrid[-n : n + 1.0, -n : n + 1.0]
    angles = (0, math.pi / 3, 2 * math.pi / 3)
    edge = np.max([np.abs(u * math.cos(a) + v * math.sin(a)) for a in angles], axis=0)
    for _ in range(rng.integers(1, 4)):
        wide = size * rng.uniform(0.5, 1.0)
        section = (0.8 / (1 + np.exp((edge - 0.85 * wide) / 0.5))).astype(np.float32)
        offset = rng.uniform(-0.5, 0.5, 2) * size
        frame = shapes.frame(shapes.direction(rng))
        plates.append((offset, frame, wide * rng.uniform(0.8, 1.6), section, 1.0, 0.0))
    return Debris(place, 1.5 * size, vesicles.Payload(rods=tuple(plates)))


def _neighbour(vesicle, crowd, settings, imaging, session, rng):
    """Draw a vesicle that overlaps a particle or touches its box."""
    most = min(largest_in(imaging.ice_nm), settings.diameter_nm[2])
    diameter = min(most, vesicle.diameter_nm * rng.uniform(0.6, 1.2))
    multilamellar, filled = rng.uniform() < session.multilamellar, rng.uniform() < session.full
    other = vesicles.draw_vesicle(diameter, imaging.ice_nm, rng, multilamellar=multilamellar, filled=filled)
    reach = vesicle.extent.max() + other.extent.max()
    angle, distance = rng.uniform(0, 2 * math.pi), reach * rng.uniform(0.55, 1.15)
    place = vesicle.place + distance * np.array([math.sin(angle), math.cos(angle)])
    crowd.take(place, other.extent.max())
    return other.moved_to(place)


def _stray(crowd, settings, imaging, session, rng):
    """Draw a vesicle that nobody picked, perhaps cut by the edge of the micrograph."""
    diameter = settings.diameter_nm[1] * math.exp(0.4 * rng.standard_normal())
    diameter = max(30.0, min(diameter, largest_in(imaging.ice_nm)))
    other = vesicles.draw_vesicle(diameter, imaging.ice_nm, rng, filled=rng.uniform() < session.full)
    reach = other.extent.max()
    return other.moved_to(crowd.place(reach, -0.6 * reach, rng))


def draw_artefacts(settings, crowd, particles, imaging, session, rng):
    """Draw all that is in the field beside the particles: a list of Vesicle, Debris and Carbon."""
    much, area = settings.artefacts, float(np.prod(crowd.field_nm)) / 1e6
    others = [
        _neighbour(vesicle, crowd, settings, imaging, session, rng)
        for vesicle in particles
        if rng.uniform() < 0.1 * much * session.crowding
    ]
    strays = rng.poisson(0.2 * much * len(particles) * session.crowding)
    others += [_stray(crowd, settings, imaging, session, rng) for _ in range(strays)]

    def anywhere():
        return rng.uniform(0, crowd.field_nm)

    pixel_nm = settings.microscope.pixel_nm
    others += [_broken(anywhere(), pixel_nm, rng) for _ in range(rng.poisson(0.8 * much * area))]
    others += [_ball(anywhere(), 2.5, 0.8, rng) for _ in range(rng.poisson(6 * much * area))]  # micelles
    others += [_ball(anywhere(), 2.0, 5.0, rng) for _ in range(rng.poisson(2 * much * area))]  # spots
    others += [_crystal(anywhere(), rng) for _ in range(rng.poisson(0.5 * much * area))]
    if rng.uniform() < 0.1 * much:
        hole, side = rng.uniform(600, 1200), rng.uniform(0, 2 * math.pi)
        inside = hole - crowd.field_nm.min() * rng.uniform(0.42, 0.65)
        center = crowd.field_nm / 2 - inside * np.array([math.sin(side), math.cos(side)])
        others.append(Carbon(center, hole))
    return others


def _on_carbon(shape, pixel_nm, carbon):
    """Return how much of each pixel lies on the film, in [0, 1]."""
    sides = zip(shape, carbon.center)
    rows, columns = (np.arange(side, dtype=np.float32) * pixel_nm - middle for side, middle in sides)
    outside = np.sqrt(rows[:, None] ** 2 + columns**2) - np.float32(carbon.radius_nm)
    return np.clip(outside / 4.0 + 0.5, 0, 1).astype(np.float32)


def paint_artefacts(image, pixel_nm, others, rng):
    """Add the projected potential of `others` to `image`, in V nm; `rng` draws the grain of carbon."""
    for other in others:
        if isinstance(other, vesicles.Vesicle):
            vesicles.paint_vesicle(image, pixel_nm, other)
        elif isinstance(other, Carbon):
            film = _on_carbon(image.shape, pixel_nm, other)
            grain = rng.standard_normal(image.shape, dtype=np.float32)
            grain *= np.float32(CARBON_GRAIN_V_NM2 / pixel_nm)
            image += film * (grain + np.float32(CARBON_STEP_V_NM))
        else:
            vesicles.paint_payload(image, pixel_nm, other)


def attenuate(image, pixel_nm, others, mean_free_path_nm):
    """Take from `image`, in place, the electrons that the carbon film scatters away."""
    # Carbon is about twice as dense as ice and scatters accordingly (assumed).
    path = np.float32(-2 * CARBON_NM / mean_free_path_nm)
    for carbon in (other for other in others if isinstance(other, Carbon)):
        image *= np.exp(_on_carbon(image.shape, pixel_nm, carbon) * path)


def overlaps(particles, others):
    """Return the largest share of each particle's disc that any one other thing covers, in [0, 1]."""  # (n,)
    n = len(particles)
    bodies = [*particles, *(other for other in others if isinstance(other, vesicles.Vesicle))]
    discs = [(*body.place, body.extent.mean()) for body in bodies]
    discs += [(*other.place, other.radius_nm) for other in others if isinstance(other, Debris)]
    row, column, radius = np.array(discs).T
    distance = np.hypot(row[:n, None] - row, column[:n, None] - column)
    np.fill_diagonal(distance, math.inf)
    most = (_lens(radius[:n, None], radius, distance) / (math.pi * radius[:n, None] ** 2)).max(1)
    for carbon in (other for other in others if isinstance(other, Carbon)):
        away = np.hypot(row[:n] - carbon.center[0], column[:n] - carbon.center[1])
        most = np.maximum(most, ((away + radius[:n] - carbon.radius_nm) / (2 * radius[:n])).clip(0, 1))
    return most


def _lens(one, two, distance):
    """Return the area that discs of two radii share at a distance; arrays broadcast."""
    away = np.clip(distance, np.abs(one - two) + 1e-9, one + two)
    chord = (away**2 + one**2 - two**2) / (2 * away)  # its distance from the first disc's middle
    area = 0.0
    for radius, height in ((one, chord), (two, away - chord)):
        area = area + radius**2 * np.arccos(np.clip(height / radius, -1, 1))
        area = area - height * np.sqrt(np.maximum(0, radius**2 - height**2))
    return area
