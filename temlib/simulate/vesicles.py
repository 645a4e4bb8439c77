"""Liposomes in the ice with their lamellae, and what they carry: crystals, bundles, dense and speckled interiors.

Draw, then paint: `draw_vesicle` settles every random choice, `paint_vesicle` adds the projected potential of what was
drawn to an image in V nm. Potentials are in V relative to vitreous ice, the mean of a few molecules; their values, like
all shares and sizes here, are assumed unless a source is named. Lengths are nm, places (row, column); those of a
vesicle's parts are relative to its centre.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from temlib.simulate import projection, shapes

# Payloads, and the numbers of lamellae of a multilamellar vesicle, and how likely each is.
KINDS = {"rod": 0.45, "bundle": 0.2, "dense": 0.15, "speckled": 0.2}
LAMELLAE = {2: 0.5, 3: 0.22, 4: 0.14, 5: 0.08, 6: 0.06}
OUTER = {1: 0.5, 2: 0.3, 3: 0.2}  # likewise around vesicles
# How bilayers lie within each other, as cryo-TEM shows all of them: evenly from outside to the core, a few close together, a few
# apart, and vesicles anywhere inside one of few lamellae.
STACKS = {"onion": 0.15, "tight": 0.3, "loose": 0.25, "vesicles": 0.3}
FIBRE_NM = 3.2  # of a drug crystal's fibres; 3 to 3.5 in the literature on citrate-loaded doxorubicin
SECTION_NM = 0.4  # spacing at which a crystal's cross-section is kept
# Bilayer: head groups, chains, and the methyl trough (V), by the electron scattering of isolated atoms (H 0.529, C 2.509,
# N 2.211, O 1.983, P 5.488 Å: International Tables C, 4.3.1) times 47.88 V Å² over the volumes of fluid DPPC (head group 319, CH2
# 27.6, CH3 54 Å³ at 64 Å² a lipid: Nagle & Tristram-Nagle, Biochim. Biophys. Acta 1469 (2000) 159): head group 8.7, CH2 6.2 and CH3
# 3.6 V where ice of 0.93 g/cm³ has 4.5. Unlike for X-rays, chains scatter electrons more than water does.
HEAD_V, CHAIN_V, TROUGH_V = 2.2, 1.66, -0.7
# By the same reckoning doxorubicin (C27H29NO11, 1.5 g/cm³) has 8.5 V and protein (C4.94H7.76N1.36O1.48 a residue, 0.73 cm³/g) 8.1 V.
# Assumed are the shares of the volume that are no water: half to three quarters of a bundle, a tenth to 40 % of a dense
# interior, 40 % and more of a grain.
CRYSTAL_V, DENSE_V, GRAIN_V = (2.0, 3.0), (0.35, 1.4), (1.4, 3.5)
HEAD_SIGMA, TROUGH_SIGMA = 0.9 / 2.3548, 0.5  # FWHM of a head-group peak is 0.9 nm (0.8 to 1)
# Thickness of the shells into which a bilayer is cut for projection, and how far from its mid-plane they reach.
SHELL_NM, HALF_RANGE_NM = 0.25, 3.75
LUMEN_NM, CORE_NM = 11.0, 6.0  # the radius left inside the innermost bilayer, and an onion's
INSIDE_NM = 18.0  # the least lumen that holds a vesicle
# Undulation of an outline, relative to its radius: standard deviations of the cosine and the sine of modes 3, 4
# and 5, as heat drives them in a membrane of bending rigidity 20 kT without tension (Milner & Safran, Phys. Rev.
# A 36 (1987) 4371, summed over the spherical harmonics seen at the equator).
UNDULATION = np.array([0.0129, 0.0129, 0.0081, 0.0081, 0.0058, 0.0058])
STIFFNESS = (0.5, 1.8)  # some vesicles are stiffer, some are faceted: a factor on the undulation
# Amorphous ice: molecules per nm³ at 0.93 g/cm³, mean inner potential in V, and the structure factor below the first
# peak of water, where the liquid's compressibility gives 0.06; 0.08 is assumed for the frozen liquid.
ICE_DENSITY, ICE_POTENTIAL, ICE_STRUCTURE = 31.4, 3.5, 0.08


@dataclass(frozen=True)
class Payload:
    """What a vesicle carries.

    `fill` is the share of what the lumen can hold of this kind, in [0, 1]: of a rod its length, of a ring its
    cross-section, of parallel rods their number, of a dense or speckled interior its volume.
    """

    kind: str = "none"  # or one of `KINDS`
    fill: float = 0.0
    solids: np.ndarray = field(default_factory=lambda: np.empty((0, 6)))  # see `projection.ellipsoids`
    rods: tuple = ()  # what `projection.add_rod` takes from `place` on
    bodies: tuple = ()  # what `add_body` takes from `axis` on
    strand: tuple = (
        1.0,
        0.0,
        0.0,
    )  # for its visibility: radius in nm, potential in V, projected length in nm


def _section(radius, rng):
    """Draw the cross-section of a drug crystal: a soft-edged disc of fibres on a hexagonal lattice."""
    potential, texture, turn = rng.uniform(*CRYSTAL_V), rng.uniform(0.4, 0.9), rng.uniform(0, math.pi / 3)
    n = math.ceil((radius + 1) / SECTION_NM)
    u, v = np.mgrid[-n : n + 1, -n : n + 1] * SECTION_NM
    k = 2 * math.pi / (FIBRE_NM * math.sqrt(3) / 2)
    turns = (turn, turn + math.pi / 3, turn + 2 * math.pi / 3)
    waves = sum(np.cos(k * (u * math.cos(angle) + v * math.sin(angle))) for angle in turns)
    edge = 1.0 / (1.0 + np.exp((np.hypot(u, v) - radius) / 0.4))
    return (potential * edge * (1.0 + texture * waves / 1.5)).astype(np.float32)


def _turned(axis, angle, rng):
    """Return `axis` tilted by `angle` (rad) in a random direction."""
    side = shapes.frame(axis) @ np.append(shapes.direction(rng)[:2], 0.0)
    side /= np.linalg.norm(side)
    return math.cos(angle) * axis + math.sin(angle) * side


def _rods(lumen, rotation, fill, center, rng, *, count, width, tilt=0.0):
    """Draw rods along the last, longest axis of the lumen, as fields of `Payload`; side by side where several."""
    rods, seen = [], 0.0
    for n in range(count):
        across = np.zeros(2)
        if count > 1:
            angle = 2 * math.pi * (n + rng.uniform(-0.2, 0.2)) / count
            away = 0.5 * max(0.0, lumen[0] - width / 2)
            across = away * np.array([math.cos(angle), math.sin(angle)])
        reach = math.hypot(*across) + width / 2
        length = max(2 * lumen[2] * math.sqrt(max(0.1, 1 - (reach / lumen[0]) ** 2)) * fill, 3.0)
        slide = rng.uniform(-1, 1) * 0.5 * (1 - fill) * lumen[2]
        axis = _turned(rotation[:, 2], tilt * rng.uniform(), rng) if tilt else rotation[:, 2]
        place = center + (rotation @ [*across, slide])[:2]
        rods.append(
            (place, shapes.frame(axis), length, _section(width / 2, rng), SECTION_NM, rng.uniform(0.4, 0.9))
        )
        seen += max(length * math.hypot(axis[0], axis[1]), 4.0)  # end-on a rod is a dot of its own width
    return {"rods": tuple(rods), "strand": (width / 2, sum(CRYSTAL_V) / 2, seen)}


def _ring(lumen, fill, rng):
    """Draw a circular bundle: a torus with layers at the distance of the fibres."""
    radius = rng.uniform(0.6, 0.8) * lumen[0]
    minor = min(7.0, 0.35 * radius) * math.sqrt(fill)
    angle = np.linspace(0, 2 * math.pi, 33)
    meridian = np.stack([radius + minor * np.sin(angle), minor * np.cos(angle)], axis=1)
    depth = np.arange(-minor - 0.5, 0.75, 0.25)
    layers, edge = 1 + 0.6 * np.cos(2 * math.pi * depth / FIBRE_NM), 1 + np.exp(depth / 0.3)
    profile = rng.uniform(*CRYSTAL_V) * layers / edge
    ring = shapes.direction(rng), meridian, profile, float(depth[0]), 0.25, 1.0
    inside, outside = float(meridian[:, 0].min()), float(meridian[:, 0].max())
    return {
        "bodies": (ring,),
        "strand": ((outside - inside) / 2, sum(CRYSTAL_V) / 2, math.pi * (outside + inside) / 2),
    }


def _core(lumen, rotation, fill, center, rng):
    """Draw a dense interior of the lumen's form somewhere in it."""
    core = fill ** (1 / 3)
    place = center + (rotation @ (shapes.direction(rng) * lumen * (1 - core)))[:2]
    potential, radius = rng.uniform(*DENSE_V), core * lumen[0]
    solids = projection.ellipsoids(place, core * lumen[None], rotation, potential)
    return {"solids": solids, "strand": (radius, potential, 1.6 * radius)}


def _grains(lumen, rotation, fill, center, rng):
    """Draw small dense grains scattered through the lumen's share `fill`."""
    count = min(500, max(4, int(fill * np.prod(lumen) * 4.19 / 420)))
    points = rng.standard_normal((count, 3))
    points *= (rng.uniform(0, 1, count) ** (1 / 3) / np.linalg.norm(points, axis=1))[:, None]
    places = center + ((points * lumen * 0.95) @ rotation.T)[:, :2]
    radii, potential = rng.uniform(1.5, 3.2, count), rng.uniform(*GRAIN_V)
    form = radii**-2
    solids = np.column_stack([places, form, np.zeros(count), form, 2 * radii * potential])
    # Grains on top of each other add as noise does, so they count as one strand of all their diameters.
    radius = float(np.mean(form**-0.5))
    return {"solids": solids, "strand": (radius, float(solids[0, 5]) / 2 / radius, 1.6 * radius * count)}


def draw_payload(kind, fill, lumen, rotation, center, rng):
    """Draw a payload of one of `KINDS` for a lumen with the half axes `lumen` along the columns of `rotation`."""
    order = np.argsort(lumen)  # the crystal grows along the longest axis
    lumen, rotation = lumen[order], rotation[:, order]
    if kind == "rod":
        width = min(rng.uniform(15, 25), 1.3 * lumen[0])
        parts = _rods(lumen, rotation, fill, center, rng, count=1, width=width)
    elif kind == "bundle" and rng.uniform() < 0.5 and lumen[0] > 20:
        parts = _ring(lumen, fill, rng)
    elif kind == "bundle":
        count, width = max(1, round(4 * fill)), min(rng.uniform(7, 11), 0.6 * lumen[0])
        whole = min(1.0, 4 * fill)
        parts = _rods(0.9 * lumen, rotation, whole, center, rng, count=count, width=width, tilt=0.25)
    else:
        parts = (_core if kind == "dense" else _grains)(lumen, rotation, fill, center, rng)
    return Payload(kind, fill, **parts)


def paint_payload(image, pixel_nm, vesicle, origin=(0.0, 0.0)):
    """Add the projected potential of a vesicle's (or debris') payload to `image`; `origin` as in `paint_membrane`."""
    payload, place = vesicle.payload, vesicle.place - origin
    projection.add_ellipsoids(image, pixel_nm, payload.solids + np.append(place, np.zeros(4)))
    for offset, *rod in payload.rods:
        projection.add_rod(image, pixel_nm, place + offset, *rod)
    for body in payload.bodies:
        add_body(image, pixel_nm, place, *body)


@dataclass(frozen=True)
class Vesicle:
    """A liposome in the ice."""

    place: np.ndarray  # (2,) row and column of the centre
    diameter_nm: float  # of the sphere with the membrane area of the outermost bilayer
    form: shapes.Form  # mid-plane of the outermost bilayer
    depths: np.ndarray  # (lamellae,) how far inside the outermost bilayer each lies; the first is 0
    shifts: np.ndarray  # (lamellae, 2) row and column of each lamella's centre
    head_nm: float  # head-to-head distance of the bilayer
    warp: np.ndarray  # (6,) undulation, see `projection.add_shells`; bodies of revolution have none
    peg_nm: float = 0.0  # thickness of the corona of PEG
    payload: Payload = field(default_factory=Payload)
    inner: tuple = ()  # vesicles inside this one

    @property
    def extent(self):
        """Half the extent along rows and columns, head groups included."""  # (2,)
        return self.form.extent[:2] * (1 + np.abs(self.warp).sum()) + self.head_nm / 2

    @property
    def lamellae(self):
        """The number of bilayers within each other."""
        return len(self.depths) + max((inner.lamellae for inner in self.inner), default=0)

    @property
    def gap_nm(self):
        """The smallest distance between neighbouring lamellae; NaN for one lamella."""
        return float(np.diff(self.depths).min()) if len(self.depths) > 1 else math.nan

    def moved_to(self, place):
        """Return this vesicle with its centre at `place`, row and column in nm."""
        return replace(self, place=np.asarray(place, float))


def bilayer(distance, head_nm, blur_nm=0.0):
    """Return the potential of a bilayer at distances from its mid-plane, blurred by a Gaussian that is the pixel."""

    def peak(center, sigma, height):
        wide = math.hypot(sigma, blur_nm)
        return height * sigma / wide * np.exp(-0.5 * ((distance - center) / wide) ** 2)

    chains = 1.0 / (1.0 + np.exp((np.abs(distance) - head_nm / 2 + 0.6) / max(0.15, blur_nm)))
    heads = peak(head_nm / 2, HEAD_SIGMA, HEAD_V) + peak(-head_nm / 2, HEAD_SIGMA, HEAD_V)
    return heads + CHAIN_V * chains + peak(0.0, TROUGH_SIGMA, TROUGH_V)


def shells(head_nm, peg_nm, pixel_nm):
    """Return where the potential of a bilayer steps, from the outside inwards, and by how much it rises there."""
    offsets = np.arange(HALF_RANGE_NM, -HALF_RANGE_NM - SHELL_NM / 2, -SHELL_NM)
    # A third of a pixel stands for the pixel's aperture (1/sqrt(12)), so that point samples do not alias.
    levels = bilayer(0.5 * (offsets[1:] + offsets[:-1]), head_nm, 0.3 * pixel_nm)
    steps = np.diff(levels, prepend=0.0, append=0.0)
    if peg_nm:
        # A brush: 0.12 V near the head groups that thins out in three steps.
        offsets = np.concatenate([head_nm / 2 + peg_nm * np.array([1.0, 0.65, 0.3, 0.0]), offsets])
        steps = np.concatenate([[0.04, 0.04, 0.04, -0.12], steps])
    return offsets, steps


def _fill(filled, threshold, rng):
    """Draw a fill fraction on the asked side of `threshold`; most are nothing at all, or plenty."""
    if filled:
        low = rng.uniform() < 0.12
        return threshold + (1 - threshold) * (rng.uniform(0, 0.4) if low else rng.beta(6, 1.2))
    return threshold * rng.uniform(0.1, 1.0) if rng.uniform() < 0.12 else 0.0


def _lamellae(stack, form, rng):
    """Return depths and shifts of the lamellae of one of `STACKS`, which leave room for what is inside; of one where it is ""."""
    few = OUTER if stack == "vesicles" else LAMELLAE
    count = shapes.pick(few, rng) if stack else 1
    core = {"onion": CORE_NM, "vesicles": INSIDE_NM}.get(stack, LUMEN_NM)
    room = min(form.axes) - core
    repeat = min(rng.uniform(8, 20) if stack == "loose" else rng.uniform(6, 8), max(6.0, room))
    most = 1 + max(stack not in ("", "vesicles"), int(room / repeat))
    count = most if stack == "onion" else min(count, most)
    jitter = 0.15 * repeat if stack == "loose" else 0.2
    gaps = np.maximum(5.8, repeat + jitter * rng.standard_normal(count - 1))
    depths = np.concatenate([[0.0], np.cumsum(gaps)])
    shifts = np.zeros((count, 2))
    if stack == "loose" and form.meridian is None and rng.uniform() < 0.6:
        # Loose lamellae are not concentric, but none touches its neighbour.
        steps = 0.4 * np.maximum(0, gaps - 6) * np.sqrt(rng.uniform(0, 1, count - 1))
        angles = rng.uniform(0, 2 * math.pi, count - 1)
        shifts[1:] = np.cumsum(steps[:, None] * np.stack([np.sin(angles), np.cos(angles)], axis=1), axis=0)
    return depths, shifts


def draw_vesicle(diameter_nm, ice_nm, rng, *, multilamellar=False, filled=False, threshold=0.2):
    """Draw a liposome, its centre at (0, 0), that this thickness of ice holds; filled means above `threshold`."""
    fill = _fill(filled, threshold, rng)
    kind = shapes.pick(KINDS, rng) if fill else "none"
    name, aspect = shapes.pick(shapes.FORMS, rng), None
    if fill and name == "stomatocyte":
        name = "sphere"
    if kind == "rod" and name == "sphere" and fill > 0.5:
        name, aspect = "prolate", rng.uniform(1.1, 1.6)  # the growing crystal stretches its vesicle
    form = shapes.fit_to_ice(shapes.draw_form(name, diameter_nm, rng, aspect=aspect), diameter_nm, ice_nm)
    if multilamellar and (form.name == "stomatocyte" or min(form.axes) < LUMEN_NM + 6):
        form = shapes.fit_to_ice(shapes.draw_form("sphere", diameter_nm, rng), diameter_nm, ice_nm)
    stack = shapes.pick(STACKS, rng) if multilamellar else ""
    stack = "tight" if stack == "vesicles" and min(form.axes) < INSIDE_NM + 1 else stack
    head = rng.uniform(3.6, 4.6)
    depths, shifts = _lamellae(stack, form, rng)
    lumen = np.maximum(6.0, form.axes - depths[-1] - head / 2 - 1.0)
    center = shifts[-1] + form.offset_nm * form.rotation[:2, 2]
    inner = _inside(lumen, center, head, rng) if stack == "vesicles" else ()
    kind = "speckled" if inner else kind
    payload = draw_payload(kind, fill, lumen, form.rotation, center, rng) if fill else Payload()
    peg = rng.uniform(4, 6) if rng.uniform() < 0.5 else 0.0
    warp = np.zeros(6)
    if form.meridian is None:
        warp = rng.uniform(*STIFFNESS) * UNDULATION * rng.standard_normal(6).clip(-2, 2)
    return Vesicle(np.zeros(2), diameter_nm, form, depths, shifts, head, warp, peg, payload, inner)


def _inside(lumen, center, head, rng):
    """Return one to three vesicles, empty, anywhere in a lumen but not within each other."""
    found = []
    for _ in range(shapes.pick({1: 0.7, 2: 0.2, 3: 0.1}, rng)):
        radius = max(9.0, rng.uniform(0.2, 0.85) * (min(lumen) - 2))
        angle = rng.uniform(0, 2 * math.pi)
        away = max(0.0, min(lumen) - radius - 4) * math.sqrt(rng.uniform())
        place = center + away * np.array([math.sin(angle), math.cos(angle)])
        if any(np.hypot(*(place - other.place)) < radius + other.extent.max() + 2 for other in found):
            continue
        form = shapes.draw_form("sphere", 2 * radius, rng)
        depths, shifts = _lamellae(
            "tight" if radius > LUMEN_NM + 8 and rng.uniform() < 0.25 else "", form, rng
        )
        found.append(Vesicle(place, 2 * radius, form, depths, shifts, head, np.zeros(6)))
    return tuple(found)


def add_body(image, pixel_nm, place, axis, meridian, profile, lowest, spacing, margin, closed=True):
    """Add a body of revolution to `image`; its `profile` ends within `margin` nm outside the surface."""
    extent = tuple(shapes.reach(meridian, axis) + margin)
    table = projection.distances(meridian, closed, float(np.hypot(*meridian.T).max()) + margin)
    axis = np.ascontiguousarray(axis)
    projection.add_revolution(image, pixel_nm, place, axis, extent, table, profile, lowest, spacing)


def paint_membrane(image, pixel_nm, vesicle, origin=(0.0, 0.0)):
    """Add the projected potential of a vesicle's membranes, and of the vesicles inside it, to `image`.

    `origin` is the row and column, in nm, of the image's first pixel.
    """
    place, form = vesicle.place - origin, vesicle.form
    if form.meridian is None:
        solids = []
        for depth, shift in zip(vesicle.depths, vesicle.shifts):
            offsets, steps = shells(vesicle.head_nm, vesicle.peg_nm if depth == 0 else 0.0, pixel_nm)
            axes = form.axes - depth + offsets[:, None]
            solids.append(projection.ellipsoids(shift + place, axes, form.rotation, steps))
        projection.add_shells(image, pixel_nm, np.concatenate(solids), vesicle.warp)
    else:  # inner lamellae are parallel surfaces
        lowest, spacing = float(-vesicle.depths[-1] - HALF_RANGE_NM), 0.2
        distance = np.arange(lowest, HALF_RANGE_NM, spacing)
        profile = sum(bilayer(distance + depth, vesicle.head_nm, 0.3 * pixel_nm) for depth in vesicle.depths)
        axis, meridian = form.rotation[:, 2], form.meridian
        add_body(image, pixel_nm, place, axis, meridian, profile, lowest, spacing, HALF_RANGE_NM)
    for inner in vesicle.inner:
        paint_membrane(image, pixel_nm, inner, np.asarray(origin) - vesicle.place)


def paint_vesicle(image, pixel_nm, vesicle):
    """Add the projected potential of a whole vesicle to `image`."""
    paint_membrane(image, pixel_nm, vesicle)
    paint_payload(image, pixel_nm, vesicle)


def ice_roughness(ice_nm, pixel_nm):
    """Return the standard deviation of the ice's projected potential in one pixel, in V nm.

    Molecules in a column fluctuate by sqrt(N S), each worth (inner potential / density) / pixel area; white
    up to about 2 nm⁻¹, beyond any pixel here.
    """
    return ICE_POTENTIAL / ICE_DENSITY * math.sqrt(ICE_DENSITY * ice_nm * ICE_STRUCTURE) / pixel_nm
