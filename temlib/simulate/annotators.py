"""People who label simulated particles: certain where the image shows the truth, at odds where it does not.

What an image shows is measured by the detectability of an ideal observer, d′ = |difference of the two noise-free
images| / noise: for lamellarity the image with its own number of lamellae against that with the nearest other number,
for encapsulation the image with payload against that without. People's evidence grows with log d′ only. Each adds their own
noise and all share some, so that even a unanimous panel is sometimes wrong. The constants are assumed, so
that the default study reaches the agreement that is usual for such tasks (mean kappa 0.6 to 0.85). Labels are 0 for a
task's first class, 1 for the second, 2 for uncertain.
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy import fft

from temlib.simulate import vesicles
from temlib.simulate.microscope import interaction_constant, mean_free_path_nm, transfer

TASKS = {"lamellarity": ("unilamellar", "multilamellar"), "encapsulation": ("empty", "full")}
UNCERTAIN = "uncertain"

# Evidence is log(1 + d′ / scale). Payload is one spot; a second membrane is a whole contour to follow.
EVIDENCE_SCALE = {"lamellarity": 25.0, "encapsulation": 7.0}
# Evidence below which the median annotator says uncertain.
MARGIN = {"lamellarity": 0.65, "encapsulation": 0.55}
# Standard deviations of the noise that all annotators share, of each one's own, and of each one's lean towards a class.
SHARED, PRIVATE, HABIT = 0.5, 0.4, 0.12
NEAR = 0.05  # distance from the fill threshold at which the evidence for empty or full is halved
_LINE = 512  # samples of the line through a particle's middle on which detectability is computed


@dataclass(frozen=True)
class Sight:
    """What can be seen in one micrograph."""

    transferred: np.ndarray  # (n,) transfer along one direction of frequency
    sigma: float  # interaction constant in rad/(V nm)
    noise: float  # standard deviation of a pixel over its mean, by shot noise and ice
    pixel_nm: float


def sight(microscope, imaging):
    """Return what can be seen under these conditions."""
    line, plane = transfer((1, _LINE), microscope, imaging)[0], transfer((64, 64), microscope, imaging)
    sigma, pixel_nm = interaction_constant(microscope.kv), microscope.pixel_nm
    electrons = imaging.dose * 100 * pixel_nm**2 * microscope.dqe0
    electrons *= math.exp(-imaging.ice_nm / mean_free_path_nm(microscope.kv))
    ice = sigma * vesicles.ice_roughness(imaging.ice_nm, pixel_nm)
    noise = math.sqrt(1 / electrons + ice**2 * float((plane**2).mean()))
    return Sight(line, sigma, noise, pixel_nm)


def _image(profile, seen):
    """Return the image of a projected potential that varies along one line only."""
    return fft.irfft(fft.rfft(seen.sigma * profile) * seen.transferred, n=_LINE)


@njit(cache=True, nogil=True)
def _shell_profile(radius, depths, offsets, steps, x):
    """Return the projected potential of spherical lamellae at `x` from the middle, x[n // 2] = 0."""
    profile, middle = np.zeros(len(x)), len(x) // 2
    for j in range(middle, len(x)):
        for depth in depths:
            for k in range(len(offsets)):
                chord2 = (radius - depth + offsets[k]) ** 2 - x[j] ** 2
                if chord2 > 0.0:
                    profile[j] += 2.0 * steps[k] * math.sqrt(chord2)
        profile[2 * middle - j] = profile[j]
    return profile


def detectability(vesicle, seen):
    """Return d′ of a vesicle's lamellarity and of its payload, and its SNR: rms of its noise-free image over noise.

    The vesicle is treated as a ball and its rim as straight; an empty one is asked about a typical payload.
    """
    x, radius = (np.arange(_LINE) - _LINE // 2) * seen.pixel_nm, vesicle.diameter_nm / 2
    # The largest vesicle inside is one more contour, wherever it lies.
    within = [radius - inner.extent.max() for inner in vesicle.inner]
    depths = np.append(vesicle.depths, min(within)) if within else vesicle.depths
    other = np.array([0.0] if len(depths) > 1 else [0.0, 7.0])
    offsets, steps = vesicles.shells(vesicle.head_nm, 0.0, seen.pixel_nm)
    own = _image(_shell_profile(radius, depths, offsets, steps, x), seen)
    difference = own - _image(_shell_profile(radius, other, offsets, steps, x), seen)
    rings = math.pi * np.abs(x) * seen.pixel_nm  # area of the half ring that each sample stands for
    unit = 1.0 / (seen.noise * seen.pixel_nm)
    width, potential, length = vesicle.payload.strand if vesicle.payload.fill else (8.0, 1.2, radius)
    strand = _image(2 * potential * np.sqrt(np.maximum(0.0, width**2 - x**2)), seen)
    payload = float((strand**2).sum()) * seen.pixel_nm * length
    energy = float((own**2) @ rings) + (payload if vesicle.payload.fill else 0.0)
    snr = math.sqrt(energy / (math.pi * radius**2)) / seen.noise
    return math.sqrt(float(difference**2 @ rings)) * unit, math.sqrt(payload) * unit, snr


def evidence(vesicle, seen, overlap, threshold):
    """Return the evidence (≥ 0) that people have for a vesicle's lamellarity and encapsulation, and its SNR.

    `overlap` is the share of its disc that other things cover, `threshold` the fill that separates empty from full.
    """
    lamellae, payload, snr = detectability(vesicle, seen)
    clear = 1.0 - 0.8 * min(1.0, overlap)
    # A dent shows a second contour; the eye has to reason it away.
    doubt = 0.45 if vesicle.form.name == "stomatocyte" else 1.0
    margin = abs(vesicle.payload.fill - threshold)
    lamellae = math.log1p(lamellae / EVIDENCE_SCALE["lamellarity"]) * clear * doubt
    payload = math.log1p(payload / EVIDENCE_SCALE["encapsulation"]) * clear * (margin / (margin + NEAR))
    return lamellae, payload, snr


def habits(annotators, task, rng):
    """Draw each annotator's lean to the second class, and the evidence below which each says uncertain."""
    lean = HABIT * rng.standard_normal(annotators)  # (annotators,)
    return np.stack([lean, MARGIN[task] * np.exp(0.25 * rng.standard_normal(annotators))], axis=1)


def judge(second, strength, habit, rng):
    """Draw a panel's labels in a task, given whether the truth is the `second` class, the evidence, and `habits`."""
    # (n,), (n,), (annotators, 2) -> (n, annotators)
    felt = np.where(second, 1.0, -1.0) * strength + SHARED * rng.standard_normal(len(second))
    felt = felt[:, None] + PRIVATE * rng.standard_normal((len(second), len(habit))) + habit[:, 0]
    return np.where(np.abs(felt) < habit[:, 1], 2, (felt > 0).astype(int))


def consensus(labels):
    """Return the label that more than half of a panel gave, else uncertain."""  # (n, annotators) -> (n,)
    counts = np.stack([(labels == k).sum(1) for k in range(3)], axis=1)
    return np.where(2 * counts.max(1) > labels.shape[1], counts.argmax(1), 2)
