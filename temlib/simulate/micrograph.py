"""One simulated micrograph: what lies where, how it is imaged, and the picture of it.

Draw, then render: `draw_scene` settles the vesicles, the artefacts and the imaging conditions; `truths` returns what is
known of each particle, and `render` makes the image. Places are (row, column), in nm on the specimen and in pixels of
the finished micrograph, whose pixel (0, 0) has its centre at half a pixel from the corner.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import optimize, special

from temlib.files import InputError
from temlib.simulate import annotators, artefacts, microscope, shapes, vesicles

# Box around a particle: its extent times this, drawn between the two; people frame by eye.
BOX = (1.15, 1.35)
# How far off its particle's centre a box may be, as a share of the box.
OFF_CENTER = 0.03
# Shares of the true classes where nothing else is asked for; the panel then calls about one in twenty uncertain. The
# field's sets are as unequal (the numbers are assumed).
PREVALENCE = {"unilamellar": 0.9, "multilamellar": 0.1, "empty": 0.3, "full": 0.7}
# How far, in logits, the shares of sessions and of micrographs scatter. Without that, a micrograph would tell nothing
# about its particles and no split could leak. The widths are assumed.
LEAN_SESSION, LEAN_MICROGRAPH = 0.7, 0.8
# Limits of numbers: how many there are, least, most, unit and reason. Whole numbers have whole limits.
LIMITS = {
    "pixel_nm": (
        1,
        0.01,
        1.0,
        "nm: coarser pixels lose the two leaflets of a bilayer; use `binning` for coarser crops",
    ),
    "shape": (2, 64, 65536, "pixels"),
    "binning": (1, 1, 64, "pixels a side"),
    "defocus_um": (2, -20.0, 20.0, "µm, under focus positive, smaller first"),
    "dose": (2, 1e-3, 1e5, "e⁻/Å², smaller first"),
    "ice_nm": (2, 5.0, 1000.0, "nm, smaller first"),
    "fill_threshold": (1, 1e-6, 1 - 1e-6, "of what a lumen can hold"),
    "diameter_nm": (
        3,
        24.0,
        2000.0,
        "nm: smallest, median and largest; less than 24 nm does not close round a lumen",
    ),
    "artefacts": (1, 0.0, 1000.0, "times the usual number"),
    "annotators": (1, 1, 1000, "people"),
    "count": (1, 1, 10**9, "particles"),
    "micrographs": (1, 1, 10**9, ""),
    "sessions": (1, 1, 10**9, ""),
    "threads": (1, 1, 1000, ""),
}


@dataclass(frozen=True)
class Settings:
    """What a study is asked to be.

    Attributes
    ----------
    microscope : Preset
        Microscope and camera, with the ranges of defocus, dose and ice.
    prevalence : dict
        Shares of `unilamellar` and `multilamellar`, and of `empty` and `full`; each pair sums to 1. Sessions and
        micrographs scatter around.
    fill_threshold : float
        Fill fraction above which a particle is full, in (0, 1).
    diameter_nm, diameter_spread : (float, float, float), float
        Smallest, median and largest diameter; lognormal between, with this standard deviation of its logarithm.
    artefacts : float
        How much else is in the field: 0 nothing, 1 as usual.
    noise : bool
        False leaves out ice, shot noise and gain errors.
    annotators : int
        Size of the panel.
    """

    microscope: microscope.Preset
    prevalence: dict = field(default_factory=PREVALENCE.copy, hash=False)
    fill_threshold: float = 0.2
    diameter_nm: tuple = (40.0, 80.0, 250.0)
    diameter_spread: float = 0.28
    artefacts: float = 1.0
    noise: bool = True
    annotators: int = 3


@dataclass(frozen=True)
class Session:
    """What the micrographs of one session share, and the shares of classes in one of its micrographs."""

    defocus_um: float
    dose: float
    ice_nm: float
    astigmatism_nm: float
    astigmatism_deg: float
    crowding: float
    multilamellar: float
    full: float


@dataclass(frozen=True)
class Scene:
    """A micrograph before it is taken: its conditions, its particles with their boxes, and everything else.

    `boxes` (n, 3) are row, column and side in pixels of the finished micrograph; `others` come from
    `artefacts.draw_artefacts`.
    """

    imaging: microscope.Imaging
    vesicles: list
    boxes: np.ndarray
    others: list


def check_limits(**values):
    """Refuse numbers outside their limits."""
    for name, value in values.items():
        size, least, most, unit = LIMITS[name]
        numbers = np.atleast_1d(value)
        right = numbers.shape == (size,) and bool(((least <= numbers) & (numbers <= most)).all())
        whole = not isinstance(least, int) or numbers.dtype.kind in "iu"
        rising = ("first" not in unit and "smallest" not in unit) or bool((np.diff(numbers) >= 0).all())
        if not (right and whole and rising):
            what = f"{size} {'whole ' * isinstance(least, int)}number{'s' * (size > 1)}"
            raise InputError(
                f"{name}: {what} from {least:g} to {most:g} {unit}".rstrip() + f". Received: {value!r}."
            )


def check(settings, per_micrograph):
    """Refuse settings that describe what cannot exist, or micrographs too small or too full for their particles."""
    scope = settings.microscope
    of_scope = ("pixel_nm", "shape", "binning", "defocus_um", "dose", "ice_nm")
    of_study = ("fill_threshold", "diameter_nm", "artefacts", "annotators")
    check_limits(**{name: getattr(scope, name) for name in of_scope})
    check_limits(**{name: getattr(settings, name) for name in of_study})
    _check_shares(settings.prevalence)
    _, median, largest = settings.diameter_nm
    for which, diameter, ice in (("median", median, scope.ice_nm[0]), ("largest", largest, scope.ice_nm[1])):
        if diameter > artefacts.largest_in(ice):
            raise InputError(
                f"diameter_nm: ice of {ice:g} nm holds vesicles up to {artefacts.largest_in(ice):.0f} nm, "
                f"pressed to {shapes.FLATTEST:.0%} of their diameter between {shapes.FILM_NM:g} nm of water; "
                f"use thicker ice_nm or smaller vesicles. Received: {which} {diameter:g}."
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
    """Draw the share of a class in each micrograph, so that the study's expected share is the one asked for.

    `sessions` and `counts` are each micrograph's session and number of particles; the shares are normal on the scale of
    logits, around their session's mean.
    """  # (n,)
    counts, sessions = np.asarray(counts), np.asarray(sessions)
    lean = LEAN_SESSION * rng.standard_normal(sessions.max() + 1)[sessions]
    lean = lean + LEAN_MICROGRAPH * rng.standard_normal(len(counts))
    if share in (0.0, 1.0):
        return np.full(len(counts), share)

    def surplus(middle):
        return special.expit(lean + middle) @ counts - share * counts.sum()

    return special.expit(lean + optimize.brentq(surplus, -30.0, 30.0, xtol=1e-14))


def draw_session(settings, rng, multilamellar, full):
    """Draw a session; the two shares are those of one of its micrographs."""
    scope = settings.microscope
    return Session(
        defocus_um=rng.uniform(*scope.defocus_um),
        dose=rng.uniform(*scope.dose),
        ice_nm=rng.uniform(*scope.ice_nm),
        astigmatism_nm=min(200.0, rng.exponential(40)),
        astigmatism_deg=rng.uniform(0, 180),
        crowding=rng.uniform(0.7, 1.3),
        multilamellar=float(multilamellar),
        full=float(full),
    )


def draw_imaging(settings, session, rng):
    """Draw the conditions of one micrograph around those of its session."""
    low, high = settings.microscope.ice_nm
    defocus, dose = settings.microscope.defocus_um, settings.microscope.dose
    return microscope.Imaging(
        defocus_um=float(
            np.clip(session.defocus_um + 0.25 * np.ptp(defocus) * rng.standard_normal(), *defocus)
        ),
        astigmatism_nm=session.astigmatism_nm,
        astigmatism_deg=session.astigmatism_deg,
        dose=float(np.clip(session.dose * math.exp(0.05 * rng.standard_normal()), *dose)),
        ice_nm=float(np.clip(session.ice_nm * math.exp(0.12 * rng.standard_normal()), low, high)),
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
    imaging = draw_imaging(settings, session, rng)
    scope = settings.microscope
    field_nm = np.array(scope.shape) * scope.pixel_nm
    pixel = scope.pixel_nm * scope.binning
    taken, particles, boxes = artefacts.Crowd(field_nm), [], []
    for _ in range(count):
        vesicle = vesicles.draw_vesicle(
            _diameter(settings, imaging.ice_nm, rng),
            imaging.ice_nm,
            rng,
            multilamellar=rng.uniform() < session.multilamellar,
            filled=rng.uniform() < session.full,
            threshold=settings.fill_threshold,
        )
        reach = vesicle.extent.max()
        box = min(2 * math.ceil(reach * rng.uniform(*BOX) / pixel), min(scope.shape) // scope.binning)
        room = (box / 2 + 1) * pixel * (1 + 2 * OFF_CENTER)
        vesicle = vesicle.moved_to(taken.place(reach, room, rng))
        off = rng.uniform(-OFF_CENTER, OFF_CENTER, 2) * box
        low, high = box // 2, np.array(scope.shape) // scope.binning - (box - box // 2)
        center = np.clip(np.round(vesicle.place / pixel - 0.5 + 0.5 / scope.binning + off), low, high)
        particles.append(vesicle)
        boxes.append((*center.astype(int), box))
    others = artefacts.draw_artefacts(settings, taken, particles, imaging, session, rng)
    return Scene(imaging, particles, np.array(boxes, int).reshape(-1, 3), others)


def truths(scene, settings):
    """Return a table of what is known of a scene's particles, and the evidence for it by task."""  # (n,), (n, 2)
    scope, imaging = settings.microscope, scene.imaging
    seen = annotators.sight(scope, imaging, scope.pixel_nm)
    rows, strengths = [], []
    overlaps = artefacts.overlaps(scene.vesicles, scene.others)
    for vesicle, (row, column, box), overlap in zip(scene.vesicles, scene.boxes, overlaps):
        *strength, snr = annotators.evidence(vesicle, seen, overlap, settings.fill_threshold)
        fill, lamellae = vesicle.payload.fill, len(vesicle.depths)
        strengths.append(strength)
        rows.append(
            {
                "row": row,
                "column": column,
                "box_px": box,
                "pixel_size_nm": scope.pixel_nm * scope.binning,
                "truth_lamellae": lamellae,
                "truth_lamellarity": annotators.TASKS["lamellarity"][lamellae > 1],
                "truth_encapsulation": annotators.TASKS["encapsulation"][fill > settings.fill_threshold],
                "truth_fill": fill,
                "truth_payload": vesicle.payload.kind,
                "truth_diameter_nm": vesicle.diameter_nm,
                "truth_gap_nm": vesicle.gap_nm,
                "truth_form": vesicle.form.name,
                "truth_multivesicular": bool(vesicle.inner),
                "truth_overlap": overlap,
                "truth_snr": snr,
            }
        )
    table = pd.DataFrame(rows).assign(truth_kv=scope.kv, truth_defocus_um=imaging.defocus_um)
    for name in ("astigmatism_nm", "astigmatism_deg", "dose", "ice_nm", "drift_nm"):
        table[f"truth_{name}".replace("dose", "dose_e_per_A2")] = getattr(imaging, name)
    return table, np.array(strengths)


def potential(scene, settings, rng):
    """Return the projected potential of a scene, ice included, in V nm."""  # (rows, columns) float32
    scope = settings.microscope
    if settings.noise:
        image = rng.standard_normal(scope.shape, dtype=np.float32)
        image *= np.float32(vesicles.ice_roughness(scene.imaging.ice_nm, scope.pixel_nm))
    else:
        image = np.zeros(scope.shape, np.float32)
    for vesicle in scene.vesicles:
        vesicles.paint_vesicle(image, scope.pixel_nm, vesicle)
    artefacts.paint_artefacts(image, scope.pixel_nm, scene.others, rng)
    return image


def render(scene, settings, gains, rng):
    """Return the finished micrograph of a scene."""  # (rows, columns) float32
    scope, imaging = settings.microscope, scene.imaging
    image = potential(scene, settings, rng)
    image *= np.float32(microscope.interaction_constant(scope.kv))
    image = microscope.contrast(image, microscope.transfer(scope.shape, scope.pixel_nm, scope, imaging))
    artefacts.attenuate(image, scope.pixel_nm, scene.others, microscope.mean_free_path_nm(scope.kv))
    counts = microscope.expected_counts(
        image, scope.pixel_nm, scope, imaging, rng if settings.noise else None
    )
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
        (0, 1); half of it leaves of a membrane its rim.

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
