"""How the image of one particle forms, stage by stage, and Thon rings against theory."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import fft, ndimage

from temlib.simulate import microscope, vesicles

_FIELD = 192  # side of the field in which one particle is shown, in pixels
_ZEROS = 3  # of the power spectrum, that are compared
_COUNTS = "electrons/pixel"
_STAGES = (
    ("specimen", "The potential of lipid and payload is summed along the beam.", "V nm"),
    ("ice", "The molecules of the frozen film add a potential that is never smooth.", "V nm"),
    ("contrast", "The defocused lens turns phase into contrast: dark membranes, bright fringes.", "relative"),
    ("attenuation", "Ice scatters electrons away, more where it is thicker; the dose is finite.", _COUNTS),
    ("shot noise", "Electrons arrive one by one: counts scatter by their square root.", _COUNTS),
    ("camera", "The camera blurs the image, and each pixel has a gain of its own.", "grey levels"),
    ("crop", "A box follows the particle's size; a classifier sees nothing else.", "grey levels"),
)


@dataclass(frozen=True)
class Stage:
    """One step on the way from a specimen to a particle's crop."""

    name: str
    sentence: str  # what happens
    image: np.ndarray  # (rows, columns)
    unit: str  # of the image's values


def stages(seed=1, *, preset="talos200"):
    """Return one particle at every stage of the simulation.

    Parameters
    ----------
    seed : int or numpy.random.Generator
        Draws the particle and its noise.
    preset : str
        One of `PRESETS`.

    Returns
    -------
    list of Stage
        In the order in which the beam passes them; all but the last two images at the simulation's pixel size.
    """
    rng, scope = np.random.default_rng(seed), replace(microscope.preset(preset), shape=(_FIELD, _FIELD))
    imaging = microscope.Imaging(2.0, dose=20.0, ice_nm=100.0, wedge=(0.1, -0.2, 0.0), unevenness=0.01)
    middle = _FIELD / 2 * scope.pixel_nm
    vesicle = vesicles.draw_vesicle(middle, imaging.ice_nm, rng, multilamellar=True, filled=True)
    vesicle = vesicle.moved_to((middle, middle))
    body = np.zeros(scope.shape, np.float32)
    vesicles.paint_vesicle(body, scope.pixel_nm, vesicle)
    ice = vesicles.ice_roughness(imaging.ice_nm, scope.pixel_nm)
    frozen = body + np.float32(ice) * rng.standard_normal(scope.shape, dtype=np.float32)
    phase = frozen * np.float32(microscope.interaction_constant(scope.kv))
    image = microscope.contrast(phase, scope, imaging)
    expected = microscope.expected_counts(image.copy(), scope, imaging, rng)
    counts = microscope.shot_noise(expected.copy(), rng)
    taken = microscope.take(counts.copy(), scope, microscope.gain_map(scope, rng))
    box = min(taken.shape[0], 2 * math.ceil(1.2 * vesicle.extent.max() / scope.pixel_nm / scope.binning))
    edge = (taken.shape[0] - box) // 2
    crop = taken[edge : edge + box, edge : edge + box]
    images = (body, frozen, image, expected, counts, taken, crop)
    return [Stage(*words, image, unit) for (*words, unit), image in zip(_STAGES, images)]


def radial_power(image, pixel_nm):
    """Return the mean power of a square image, relative to its mean, on rings of spatial frequency, up to Nyquist."""
    n = len(image)
    power = np.abs(fft.fft2(image / image.mean() - 1)) ** 2 / image.size
    radius = np.hypot(fft.fftfreq(n)[:, None], fft.fftfreq(n)) * n
    ring = np.rint(radius).astype(int)
    radius, power = (ndimage.mean(values, ring, np.arange(1, n // 2)) for values in (radius, power))
    return pd.DataFrame({"frequency_per_nm": radius / (n * pixel_nm), "power": power})


def zeros_per_nm(scope, defocus_um, count):
    """Return the first `count` zeros of the contrast transfer, in 1/nm, from χ(k) + arcsin w = nπ."""
    wave = microscope.wavelength_nm(scope.kv)
    # ½ Cs λ³ k⁴ − λ Δf k² + (n − arcsin w / π) = 0, a quadratic in k²; its smaller root, without cancellation.
    a, b = 0.5 * scope.cs_mm * 1e6 * wave**3, wave * defocus_um * 1e3
    orders = np.arange(1, count + 1) - math.asin(scope.amplitude_contrast) / math.pi
    return np.sqrt(2 * orders / (b + np.sqrt(b * b - 4 * a * orders)))


def thon_rings(*, seed=1, preset="talos200", defocus_um=2.0):
    """Compare the first three zeros of a simulated micrograph's power spectrum with theory.

    Parameters
    ----------
    seed : int or numpy.random.Generator
        Draws ice and shot noise.
    preset : str
        Microscope, one of `PRESETS`.
    defocus_um : float
        Under focus positive.

    Returns
    -------
    pandas.DataFrame
        One row per zero: `zero`, `theory_nm`, `measured_nm` (1/frequency), and `relative_error`; the radial power
        spectrum is its `attrs["spectrum"]`.
    """
    scope = replace(microscope.preset(preset), shape=(1024, 1024), pixel_nm=0.4)
    imaging = microscope.Imaging(defocus_um, dose=1000.0)  # high, so that the rings are seen
    rng, roughness = np.random.default_rng(seed), vesicles.ice_roughness(imaging.ice_nm, scope.pixel_nm)
    phase = rng.standard_normal(scope.shape, dtype=np.float32)
    phase *= np.float32(roughness * microscope.interaction_constant(scope.kv))
    image = microscope.contrast(phase, scope, imaging)
    counts = microscope.shot_noise(microscope.expected_counts(image, scope, imaging), rng)
    spectrum = radial_power(microscope.take(counts, scope, None), scope.pixel_nm)
    theory = zeros_per_nm(scope, defocus_um, _ZEROS + 1)
    k, power = spectrum.to_numpy().T
    found = []
    for zero, following in pairwise(theory):
        half = 0.35 * (following - zero)
        near = np.abs(k - zero) < half
        # Around a zero the power is its floor plus a parabola; higher orders take the envelope's slope.
        fit = np.polynomial.Polynomial.fit(k[near], power[near], 4)
        fine = np.linspace(zero - half, zero + half, 2001)
        found.append(1 / fine[np.argmin(fit(fine))])
    orders = range(1, _ZEROS + 1)
    table = pd.DataFrame({"zero": orders, "theory_nm": 1 / theory[:_ZEROS], "measured_nm": found})
    table["relative_error"] = table["measured_nm"] / table["theory_nm"] - 1
    table.attrs["spectrum"] = spectrum
    return table
