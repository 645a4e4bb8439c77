"""One simulated micrograph: what lies where, how it is imaged, and the picture of it.

Draw, then render: `draw` settles the vesicles, their confusers and the imaging conditions; `truths` tells
what is known of each particle, and `render` makes the image. Places are (row, column), in nm on the specimen
and in pixels of the finished micrograph, whose pixel (0, 0) has its centre at half a pixel from the corner.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from temlib.files import InputError
from temlib.simulate import annotators, artefacts, microscope, shapes, vesicles
from temlib.simulate.vesicles import at, draw_vesicle

# Box around a particle: its extent times this, drawn between the two; people frame by eye.
BOX = (1.15, 1.35)
# How far off its particle's centre a box may be, as a share of the box.
OFF_CENTER = 0.03


# Shares of the true classes where nothing else is asked for; the panel then calls about one in twenty uncertain.
# The field's sets are as unequal (the numbers are assumed).
PREVALENCE = {"unilamellar": 0.9, "multilamellar": 0.1, "empty": 0.3, "full": 0.7}
# How far, in logits, the shares of sessions and of micrographs scatter. Without that, a micrograph would tell
# nothing about its particles and no split could leak. The widths are assumed.
LEAN_SESSION, LEAN_MICROGRAPH = 0.7, 0.8
# Coarser pixels lose the two leaflets of a bilayer.
COARSEST_NM = 1.0


@dataclass(frozen=True)
class Settings:
    """What a study is asked to be; see `simulate.study` for the meaning of each."""

    microscope: microscope.Preset
    prevalence: dict = field(hash=False)
    fill_threshold: float = 0.2
    diameter_nm: tuple = (40.0, 80.0, 250.0)
    diameter_spread: float = 0.28
    confusers: float = 1.0
    noise: bool = True


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
    """A micrograph before it is taken.

    Attributes
    ----------
    imaging : optics.Imaging
        Its conditions.
    vesicles : list of specimen.Vesicle
        The particles, in the order of the table.
    boxes : (n, 3) ndarray of int
        Row, column and side of each particle's box, in pixels of the finished micrograph.
    others : list
        Everything else in the field, from `confusers.draw`.
    """

    imaging: microscope.Imaging
    vesicles: list
    boxes: np.ndarray
    others: list


def check(settings):
    """Refuse settings that describe what cannot exist; raises InputError with the limit and the reason."""
    _check_physics(settings)
    _check_shares(settings.prevalence)
    _check_ice(settings)


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


def _check_physics(settings):
    """Refuse numbers that no microscope, camera or ice can have."""
    scope = settings.microscope
    if not 0 < scope.pixel_nm <= COARSEST_NM:
        raise InputError(
            f"pixel_nm: the simulation grid lies in (0, {COARSEST_NM:g}] nm, for coarser pixels lose the two "
            f"leaflets of a bilayer; use `binning` for coarser crops. Received: {scope.pixel_nm:g}."
        )
    limits = {"dose": (0.0, 1e5), "ice_nm": (5.0, 1000.0), "defocus_um": (-20.0, 20.0)}
    for name, (least, most) in limits.items():
        pair = getattr(scope, name)
        if len(pair) != 2 or not least <= pair[0] <= pair[1] <= most or (name == "dose" and not pair[0] > 0):
            unit = {"dose": "positive e/Å²", "ice_nm": "nm", "defocus_um": "µm, under focus positive,"}[name]
            raise InputError(
                f"{name}: two numbers in {unit} from {least:g} to {most:g}, smaller first. Received: {pair}."
            )
    if len(scope.shape) != 2 or min(scope.shape) < 64 or scope.binning < 1:
        raise InputError(
            "shape, binning: at least 64 pixels a side and a binning from 1 on. "
            f"Received: {scope.shape}, {scope.binning}."
        )
    if not 0 < settings.fill_threshold < 1:
        raise InputError(f"fill_threshold: a share between 0 and 1. Received: {settings.fill_threshold:g}.")
    if settings.confusers < 0:
        raise InputError(f"confusers: a factor from 0 on. Received: {settings.confusers:g}.")
    if (
        len(settings.diameter_nm) != 3
        or not 24 <= settings.diameter_nm[0] <= settings.diameter_nm[1] <= settings.diameter_nm[2]
    ):
        raise InputError(
            "diameter_nm: smallest, median and largest, from 24 nm on, the least that closes round a lumen. "
            f"Received: {settings.diameter_nm}."
        )


def _check_ice(settings):
    """Refuse vesicles that, even pressed flat, stick out of the ice."""
    for which, k in (("median", 0), ("largest", 1)):
        diameter, ice = settings.diameter_nm[1 + k], settings.microscope.ice_nm[k]
        if diameter > artefacts.largest_in(ice):
            raise InputError(
                f"diameter_nm: ice of {ice:g} nm holds vesicles up to {artefacts.largest_in(ice):.0f} nm, "
                f"pressed to {shapes.FLATTEST:.0%} of their diameter between {shapes.FILM_NM:g} nm of water; "
                f"use thicker ice_nm or smaller vesicles. Received: {which} {diameter:g}."
            )


def check_room(per_micrograph, settings):
    """Refuse micrographs that are too small for a vesicle or too full."""
    scope = settings.microscope
    side = min(scope.shape) * scope.pixel_nm
    longest = 2 * settings.diameter_nm[2]  # a tube or a pressed vesicle is longer than its sphere is wide
    if longest > side:
        raise InputError(
            f"shape: vesicles up to {settings.diameter_nm[2]:g} nm need micrographs of {longest:g} nm a "
            f"side. Received: {side:g}."
        )
    cover = (
        per_micrograph
        * math.pi
        / 4
        * settings.diameter_nm[1] ** 2
        / (np.prod(scope.shape) * scope.pixel_nm**2)
    )
    if cover > 0.5:
        raise InputError(
            f"micrographs: {per_micrograph:.0f} particles would cover {cover:.0%} of each, more than half; "
            f"ask for more micrographs or a larger shape."
        )


def draw_shares(share, sessions, counts, rng):
    """Draw the share of a class in each micrograph, so that the study's expected share is the one asked for.

    Parameters
    ----------
    share : float
        Of the whole study, in [0, 1].
    sessions, counts : (n,) sequence of int
        Session and number of particles of each micrograph.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    (n,) ndarray
        Normal on the scale of logits, around the session's mean.
    """
    counts, sessions = np.asarray(counts), np.asarray(sessions)
    lean = LEAN_SESSION * rng.standard_normal(sessions.max() + 1)[sessions]
    lean = lean + LEAN_MICROGRAPH * rng.standard_normal(len(counts))
    if share in (0.0, 1.0):
        return np.full(len(counts), share)
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        shares = 1 / (1 + np.exp(-(lean + middle)))
        low, high = (middle, high) if shares @ counts < share * counts.sum() else (low, middle)
    return shares


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


def draw(settings, session, count, rng):
    """Draw a micrograph with `count` particles: a `Scene`."""
    imaging = draw_imaging(settings, session, rng)
    scope = settings.microscope
    field_nm = np.array(scope.shape) * scope.pixel_nm
    pixel = scope.pixel_nm * scope.binning
    taken, vesicles, boxes = artefacts.Crowd(field_nm), [], []
    for _ in range(count):
        vesicle = draw_vesicle(
            (0.0, 0.0),
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
        vesicle = at(vesicle, taken.place(reach, room, rng))
        off = rng.uniform(-OFF_CENTER, OFF_CENTER, 2) * box
        low, high = box // 2, np.array(scope.shape) // scope.binning - (box - box // 2)
        center = np.clip(np.round(vesicle.place / pixel - 0.5 + 0.5 / scope.binning + off), low, high)
        vesicles.append(vesicle)
        boxes.append((*center.astype(int), box))
    others = artefacts.draw(settings, taken, vesicles, imaging, session, rng)
    return Scene(imaging, vesicles, np.array(boxes, int).reshape(-1, 3), others)


def truths(scene, settings):
    """Return what is known of a scene's particles, and the evidence that people have for it.

    Returns
    -------
    table : pandas.DataFrame
        One row a particle: place, box, pixel size, and the columns that begin with `truth_`.
    strengths : (n, 2) ndarray
        Evidence for lamellarity and encapsulation, see `panel.evidence`.
    """
    scope, imaging = settings.microscope, scene.imaging
    seen = annotators.sight(scope, imaging, scope.pixel_nm)
    rows, strengths = [], []
    shared = artefacts.overlaps(scene.vesicles, scene.others)
    for vesicle, (row, column, box), overlap in zip(scene.vesicles, scene.boxes, shared):
        lamellarity, encapsulation, snr = annotators.evidence(vesicle, seen, overlap, settings.fill_threshold)
        fill = vesicle.payload.fill
        strengths.append((lamellarity, encapsulation))
        rows.append(
            {
                "row": row,
                "column": column,
                "box_px": box,
                "pixel_size_nm": scope.pixel_nm * scope.binning,
                "truth_lamellae": len(vesicle.depths),
                "truth_lamellarity": annotators.TASKS["lamellarity"][len(vesicle.depths) > 1],
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
    table = pd.DataFrame(rows)
    conditions = {
        "kv": scope.kv,
        "defocus_um": imaging.defocus_um,
        "astigmatism_nm": imaging.astigmatism_nm,
        "astigmatism_deg": imaging.astigmatism_deg,
        "dose_e_per_A2": imaging.dose,
        "ice_nm": imaging.ice_nm,
        "drift_nm": imaging.drift_nm,
    }
    return table.assign(**{f"truth_{key}": value for key, value in conditions.items()}), np.array(strengths)


def potential(scene, settings, rng):
    """Return the projected potential of a scene, ice included: (rows, columns) float32, in V nm."""
    scope = settings.microscope
    if settings.noise:
        image = rng.standard_normal(scope.shape, dtype=np.float32)
        image *= np.float32(vesicles.ice_roughness(scene.imaging.ice_nm, scope.pixel_nm))
    else:
        image = np.zeros(scope.shape, np.float32)
    for vesicle in scene.vesicles:
        vesicles.paint(image, scope.pixel_nm, vesicle)
    artefacts.paint(image, scope.pixel_nm, scene.others, rng)
    return image


def render(scene, settings, gains, rng):
    """Return the finished micrograph of a scene: (rows, columns) ndarray of float32."""
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
    """Return (membrane, payload) masks of each particle at the geometry of its crop.

    A pixel belongs to a part when the part's projected potential there exceeds `share` of its maximum; half of it leaves of a
    membrane its rim.
    """
    scope = settings.microscope
    masks = []
    for vesicle, (row, column, box) in zip(scene.vesicles, scene.boxes):
        origin = (np.array([row, column]) - box // 2) * scope.binning * scope.pixel_nm
        pair = []
        for paint in (vesicles.paint_membrane, vesicles.paint_payload):
            part = np.zeros((box * scope.binning,) * 2, np.float32)
            paint(part, scope.pixel_nm, vesicle, origin)
            part = microscope.bin_mean(part, scope.binning)
            pair.append(part > max(share * float(part.max()), 1e-6))
        masks.append(tuple(pair))
    return masks
