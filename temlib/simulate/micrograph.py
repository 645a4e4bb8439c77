"""One simulated micrograph: what lies where, how it is imaged, and the picture of it.

Draw, then render: `draw_scene` settles the vesicles, the artefacts and the imaging conditions; `truths` returns what is
known of each particle, and `render` makes the image. Places are (row, column), in nm on the specimen and in pixels of
the finished micrograph, whose pixel (0, 0) has its centre at half a pixel from the corner.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import optimize, special

from temlib.files import InputError
from temlib.simulate import annotators, artefacts, microscope, vesicles

OFF_CENTER = 0.03  # how far off its particle's centre a box may be, as a share of the box
# Shares of the true classes where nothing else is asked for, as unequal as the field's sets (assumed); the panel then
# calls about one in twenty uncertain.
PREVALENCE = {"unilamellar": 0.9, "multilamellar": 0.1, "empty": 0.3, "full": 0.7}
# How far, in logits, the shares of sessions and of micrographs scatter. Without that, a micrograph would tell nothing
# about its particles and no split could leak. The widths are assumed.
LEAN_SESSION, LEAN_MICROGRAPH = 0.7, 0.8
# Limits: how many numbers (ascending, but for a shape), the least and the largest, unit and reason. Where the limits
# are whole, whole numbers are needed. What has no entry is a number of things, from 1 on.
LIMITS = {
    "pixel_nm": (1, 0.01, 1.0, "nm; coarser pixels lose leaflets, for coarser crops use `binning`"),
    "shape": (2, 64, 65536, "pixels"),
    "binning": (1, 1, 64, "pixels a side"),
    "defocus_um": (2, -20.0, 20.0, "µm, under focus positive"),
    "dose": (2, 1e-3, 1e5, "e⁻/Å²"),
    "ice_nm": (2, 5.0, 1000.0, "nm"),
    "fill_threshold": (1, 0.001, 0.999, "of what a lumen can hold"),
    "diameter_nm": (3, 24.0, 2000.0, "nm (smallest, median, largest); below 24 nm there is no lumen"),
    "box": (2, 1.0, 5.0, "times the particle's extent"),
    "artefacts": (1, 0.0, math.inf, ""),
}


@dataclass(frozen=True)
class Settings:
    """What a study is asked to be."""

    microscope: microscope.Preset
    prevalence: dict  # of all four classes; sessions and micrographs scatter around
    fill_threshold: float = 0.2  # fill fraction above which a particle is full
    diameter_nm: tuple = (40.0, 80.0, 250.0)  # smallest, median and largest; lognormal between
    diameter_spread: float = 0.28  # standard deviation of the diameter's logarithm
    box: tuple = (1.15, 1.35)  # a particle's box is its extent times something between; people frame by eye
    artefacts: float = 1.0  # how much else is in the field: 0 nothing, 1 as usual
    noise: bool = True  # False leaves out ice, shot noise and gain errors
    annotators: int = 3  # size of the panel


@dataclass(frozen=True)
class Session:
    """What the micrographs of one session share, and the shares of classes in one of its micrographs."""

    imaging: microscope.Imaging
    crowding: float
    multilamellar: float
    full: float


@dataclass(frozen=True)
class Scene:
    """A micrograph before it is taken."""

    imaging: microscope.Imaging
    vesicles: list  # the particles
    boxes: np.ndarray  # (n, 3) row, column and side of their boxes, in pixels of the finished micrograph
    others: list  # everything else in the field, from `artefacts.draw_artefacts`


def check_limits(**values):
    """Refuse numbers outside their `LIMITS`."""
    for name, value in values.items():
        size, least, most, unit = LIMITS.get(name, (1, 1, math.inf, ""))
        numbers, whole, ascending = np.atleast_1d(value), isinstance(least, int), size > 1 and name != "shape"
        right = numbers.shape == (size,) and bool(((least <= numbers) & (numbers <= most)).all())
        right &= numbers.dtype.kind in "iu" or not whole
        if not right or (ascending and (np.diff(numbers) < 0).any()):
            asked = f"a {'whole ' * whole}number" if size == 1 else f"{size} {'whole ' * whole}numbers"
            limits = f"from {least:g} on" if most == math.inf else f"from {least:g} to {most:g} {unit}"
            raise InputError(
                f"{name}: {asked}{', smaller first,' * ascending} {limits}. Received: {value!r}."
            )


def check(settings, per_micrograph):
    """Refuse settings that describe what cannot exist, or micrographs too small or too full for their particles."""
    scope = settings.microscope
    values = vars(scope) | vars(settings)
    check_limits(annotators=settings.annotators, **{name: values[name] for name in LIMITS})
    _check_shares(settings.prevalence)
    _, median, largest = settings.diameter_nm
    for which, diameter, ice in (("median", median, scope.ice_nm[0]), ("largest", largest, scope.ice_nm[1])):
        if diameter > artefacts.largest_in(ice):
            raise InputError(
                f"diameter_nm: ice of {ice:g} nm holds vesicles up to {artefacts.largest_in(ice):.0f} nm, pressed "
                f"flat; use thicker ice_nm or smaller vesicles. Received: {which} {diameter:g}."
            )
    rows, columns = np.array(scope.shape) * scope.pixel_nm
    if 2 * largest > min(rows, columns):  # a tube or a pressed vesicle is longer than its sphere is wide
        raise InputError(
            f"shape: vesicles up to {largest:g} nm need micrographs of {2 * largest:g} nm a side. "
            f"Received: {min(rows, columns):g}."
        )
    cover = per_micrograph * math.pi / 4 * median**2 / (rows * columns)
    if cover > 0.5:
        raise InputError(
            f"micrographs: {per_micrograph:.0f} particles would cover {cover:.0%} of each, more than half; "
            f"ask for more micrographs or a larger shape."
        )


def _check_shares(shares):
    """Refuse prevalences that are unknown, outside [0, 1], or do not sum to 1 within a task."""
    for name, share in shares.items():
        if name not in PREVALENCE:
            raise InputError(f"prevalence: {name!r} is unknown; the classes are {', '.join(PREVALENCE)}.")
        if not 0 <= share <= 1:
            raise InputError(f"prevalence: a share lies in [0, 1]. Received: {name}={share}.")
    for names in annotators.TASKS.values():
        total = sum(shares[name] for name in names)
        if not math.isclose(total, 1, abs_tol=1e-6):
            raise InputError(f"prevalence: {' and '.join(names)} must sum to 1. Received: {total:g}.")


def draw_shares(share, sessions, counts, rng):
    """Draw a class's share in each micrograph, so that the study's expected share is the one asked for.

    The shares are normal on the scale of logits, around the mean of their session; `counts` are particles.
    """  # (n,)
    lean = LEAN_SESSION * rng.standard_normal(max(sessions) + 1)[np.array(sessions)]
    lean = lean + LEAN_MICROGRAPH * rng.standard_normal(len(counts))
    if share in (0.0, 1.0):
        return np.full(len(counts), share)

    def surplus(middle):
        return special.expit(lean + middle) @ counts - share * sum(counts)

    return special.expit(lean + optimize.brentq(surplus, -30.0, 30.0, xtol=1e-14))


def draw_session(scope, rng, multilamellar, full):
    """Draw a session; the two shares are those of one of its micrographs."""
    imaging = microscope.Imaging(
        defocus_um=rng.uniform(*scope.defocus_um),
        dose=rng.uniform(*scope.dose),
        ice_nm=rng.uniform(*scope.ice_nm),
        astigmatism_nm=min(200.0, rng.exponential(40)),
        astigmatism_deg=rng.uniform(0, 180),
    )
    return Session(imaging, rng.uniform(0.7, 1.3), multilamellar, full)


def draw_imaging(scope, usual, rng):
    """Draw the conditions of one micrograph around the `usual` ones of its session."""
    near = {
        "defocus_um": usual.defocus_um + 0.25 * np.ptp(scope.defocus_um) * rng.standard_normal(),
        "dose": usual.dose * math.exp(0.05 * rng.standard_normal()),
        "ice_nm": usual.ice_nm * math.exp(0.12 * rng.standard_normal()),
    }
    return replace(
        usual,
        **{name: float(np.clip(value, *getattr(scope, name))) for name, value in near.items()},
        wedge=(*(0.15 * rng.standard_normal(2)), rng.uniform(0.0, 0.25)),
        beam=(*(0.04 * rng.standard_normal(2)), -rng.uniform(0.0, 0.08)),
        unevenness=rng.uniform(0.01, 0.03),
        drift_nm=min(1.5, rng.exponential(0.25)),
        drift_deg=rng.uniform(0, 180),
    )


def _diameter(settings, ice_nm, rng):
    """Draw a diameter that the ice holds: larger vesicles have left the film."""
    low, median, high = settings.diameter_nm
    high = min(high, artefacts.largest_in(ice_nm))
    for _ in range(100):
        diameter = median * math.exp(settings.diameter_spread * rng.standard_normal())
        if low <= diameter <= high:
            return diameter
    return float(np.clip(median, low, high))


def draw_scene(settings, session, count, rng):
    """Draw a micrograph with `count` particles."""
    scope, threshold = settings.microscope, settings.fill_threshold
    imaging = draw_imaging(scope, session.imaging, rng)
    pixel, shape = scope.binned_nm, np.array(scope.shape) // scope.binning
    taken = artefacts.Crowd(np.array(scope.shape) * scope.pixel_nm)
    particles, boxes = [], []
    for _ in range(count):
        diameter = _diameter(settings, imaging.ice_nm, rng)
        kind = {
            "multilamellar": rng.uniform() < session.multilamellar,
            "filled": rng.uniform() < session.full,
        }
        vesicle = vesicles.draw_vesicle(diameter, imaging.ice_nm, rng, threshold=threshold, **kind)
        reach = vesicle.extent.max()
        box = min(2 * math.ceil(reach * rng.uniform(*settings.box) / pixel), min(shape))
        room = (box / 2 + 1) * pixel * (1 + 2 * OFF_CENTER)
        vesicle = vesicle.moved_to(taken.place(reach, room, rng))
        off = rng.uniform(-OFF_CENTER, OFF_CENTER, 2) * box
        center = np.round(vesicle.place / pixel - 0.5 + 0.5 / scope.binning + off)
        center = np.clip(center, box // 2, shape - (box - box // 2))
        particles.append(vesicle)
        boxes.append((*center.astype(int), box))
    others = artefacts.draw_artefacts(settings, taken, particles, imaging, session, rng)
    return Scene(imaging, particles, np.array(boxes, int).reshape(-1, 3), others)


def truths(scene, settings):
    """Return a table of what is known of a scene's particles, and the evidence for it by task."""  # (n,), (n, 2)
    scope, imaging, threshold = settings.microscope, scene.imaging, settings.fill_threshold
    seen = annotators.sight(scope, imaging)
    rows, strengths = [], []
    for vesicle, overlap in zip(scene.vesicles, artefacts.overlaps(scene.vesicles, scene.others)):
        *strength, snr = annotators.evidence(vesicle, seen, overlap, threshold)
        strengths.append(strength)
        fill, lamellae = vesicle.payload.fill, vesicle.lamellae
        truth = {
            "lamellae": lamellae,
            "lamellarity": annotators.TASKS["lamellarity"][lamellae > 1],
            "encapsulation": annotators.TASKS["encapsulation"][fill > threshold],
            "fill": fill,
            "payload": vesicle.payload.kind,
            "diameter_nm": vesicle.diameter_nm,
            "gap_nm": vesicle.gap_nm,
            "form": vesicle.form.name,
            "multivesicular": bool(vesicle.inner),
            "overlap": overlap,
            "snr": snr,
            "kv": scope.kv,
            "defocus_um": imaging.defocus_um,
            "astigmatism_nm": imaging.astigmatism_nm,
            "astigmatism_deg": imaging.astigmatism_deg,
            "dose_e_per_A2": imaging.dose,
            "ice_nm": imaging.ice_nm,
            "drift_nm": imaging.drift_nm,
        }
        rows.append(truth)
    places = pd.DataFrame(scene.boxes, columns=["row", "column", "box_px"])
    places["pixel_size_nm"] = scope.binned_nm
    return places.join(pd.DataFrame(rows).add_prefix("truth_")), np.array(strengths)


def render(scene, settings, gains, rng):
    """Return the finished micrograph of a scene."""  # (rows, columns) float32
    scope, imaging = settings.microscope, scene.imaging
    image = np.zeros(scope.shape, np.float32)  # the projected potential in V nm
    if settings.noise:
        rng.standard_normal(dtype=np.float32, out=image)
        image *= np.float32(vesicles.ice_roughness(imaging.ice_nm, scope.pixel_nm))
    for vesicle in scene.vesicles:
        vesicles.paint_vesicle(image, scope.pixel_nm, vesicle)
    artefacts.paint_artefacts(image, scope.pixel_nm, scene.others, rng)
    image *= np.float32(microscope.interaction_constant(scope.kv))
    image = microscope.contrast(image, scope, imaging)
    artefacts.attenuate(image, scope.pixel_nm, scene.others, microscope.mean_free_path_nm(scope.kv))
    counts = microscope.expected_counts(image, scope, imaging, rng if settings.noise else None)
    if settings.noise:
        counts = microscope.shot_noise(counts, rng)
    return microscope.take(counts, scope, gains)


def regions(scene, settings, share=0.2):
    """Return where the membrane and the payload of each particle lie in its crop.

    Parameters
    ----------
    scene, settings : Scene, Settings
        From `study.scene(i)` and `study.settings`.
    share : float
        A pixel belongs to a part when the part's projected potential there exceeds this share of its maximum, in
        (0, 1); half of it leaves only the rim of a membrane.

    Returns
    -------
    list of (membrane, payload)
        Masks, (box, box) ndarrays of bool, in the order of the scene's particles.
    """
    scope = settings.microscope
    masks = []
    for vesicle, (row, column, box) in zip(scene.vesicles, scene.boxes):
        origin = (np.array([row, column]) - box // 2) * scope.binning * scope.pixel_nm
        pair = []
        for paint_part in (vesicles.paint_membrane, vesicles.paint_payload):
            part = np.zeros((box * scope.binning,) * 2, np.float32)
            paint_part(part, scope.pixel_nm, vesicle, origin)
            part = microscope.bin_mean(part, scope.binning)
            pair.append(part > max(share * float(part.max()), 1e-6))
        masks.append(tuple(pair))
    return masks
