"""The simulation explained and checked: one particle through every stage, and Thon rings against theory."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import fft

from temlib.simulate import microscope, vesicles

# Side of the field in which one particle is shown, in pixels.
_FIELD = 192


@dataclass(frozen=True)
class Stage:
    """One step on the way from a specimen to a particle's crop.

    Attributes
    ----------
    name, sentence : str
        What it is, and what happens there.
    image : (rows, columns) ndarray of float32
        The result of the step.
    unit : str
        Of the image's values.
    """

    name: str
    sentence: str
    image: np.ndarray
    unit: str


def stages(seed=1, *, preset="talos200"):
    """Return one particle at every stage of the simulation.

    Parameters
    ----------
    seed : int or numpy.random.Generator
        Draws the particle and its noise.
    preset : str
        One of `optics.PRESETS`.

    Returns
    -------
    list of Stage
        In the order of the beam's way; all but the last at the pixel of the simulation.
    """
    rng, scope = np.random.default_rng(seed), microscope.preset(preset)
    scope = replace(scope, shape=(_FIELD, _FIELD))
    imaging = microscope.Imaging(
        defocus_um=2.0, dose=20.0, ice_nm=100.0, wedge=(0.1, -0.2, 0.0), unevenness=0.01
    )
    middle = (_FIELD // 2) * scope.pixel_nm
    diameter = 0.5 * _FIELD * scope.pixel_nm
    vesicle = vesicles.draw_vesicle(
        (middle, middle), diameter, imaging.ice_nm, rng, multilamellar=True, filled=True
    )
    body = np.zeros(scope.shape, np.float32)
    vesicles.paint(body, scope.pixel_nm, vesicle)
    ice = vesicles.ice_roughness(imaging.ice_nm, scope.pixel_nm)
    frozen = body + np.float32(ice) * rng.standard_normal(scope.shape, dtype=np.float32)
    phase = frozen * np.float32(microscope.interaction_constant(scope.kv))
    image = microscope.contrast(phase, microscope.transfer(scope.shape, scope.pixel_nm, scope, imaging))
    expected = microscope.expected_counts(image.copy(), scope.pixel_nm, scope, imaging, rng)
    counts = microscope.shot_noise(expected.copy(), rng)
    taken = microscope.take(counts.copy(), scope, microscope.gain_map(scope.shape, scope, rng))
    box = min(taken.shape[0], 2 * math.ceil(1.2 * vesicle.extent.max() / scope.pixel_nm / scope.binning))
    edge = (taken.shape[0] - box) // 2
    crop = taken[edge : edge + box, edge : edge + box]
    return [
        Stage("specimen", "The potential of lipid and payload is summed along the beam.", body, "V nm"),
        Stage(
            "ice", "The molecules of the frozen film add a potential that is never smooth.", frozen, "V nm"
        ),
        Stage(
            "contrast",
            "The defocused lens turns phase into contrast: dark membranes, bright fringes.",
            image,
            "relative",
        ),
        Stage(
            "attenuation",
            "Ice scatters electrons away, more where it is thicker; the dose is finite.",
            expected,
            "electrons/pixel",
        ),
        Stage(
            "shot noise",
            "Electrons arrive one by one: counts scatter by their square root.",
            counts,
            "electrons/pixel",
        ),
        Stage("camera", "The camera blurs, and each pixel has a gain of its own.", taken, "grey levels"),
        Stage(
            "crop", "A box follows the particle's size; a classifier sees nothing else.", crop, "grey levels"
        ),
    ]


def radial_power(image, pixel_nm):
    """Return the mean power of `image` on rings of spatial frequency.

    Parameters
    ----------
    image : (n, n) ndarray
        Square image.
    pixel_nm : float
        Pixel size.

    Returns
    -------
    pandas.DataFrame
        `frequency_per_nm` and `power` (of the image over its mean), from the first ring to Nyquist.
    """
    n = image.shape[0]
    power = np.abs(fft.rfft2(image / image.mean() - 1)) ** 2 / image.size
    radius = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None]) * n
    ring = np.rint(radius).astype(int).ravel()
    # Columns other than the first and last stand for their mirror images, too.
    twice = np.full(power.shape, 2.0)
    twice[:, 0] = 1.0
    twice[:, -1] = 1.0 if n % 2 == 0 else 2.0
    total = np.bincount(ring, (twice * power).ravel())
    weight = np.bincount(ring, twice.ravel())
    center = np.bincount(ring, (twice * radius).ravel()) / weight
    keep = slice(1, n // 2)
    return pd.DataFrame({"frequency_per_nm": center[keep] / (n * pixel_nm), "power": (total / weight)[keep]})


def zeros_per_nm(kv, defocus_um, cs_mm, amplitude_contrast, count):
    """Return the first `count` zeros of the contrast transfer, in 1/nm, from χ(k) + arcsin w = nπ."""
    wave = microscope.wavelength_nm(kv)
    # ½ Cs λ³ k⁴ − λ Δf k² + (n − arcsin w / π) = 0, a quadratic in k²; its smaller root in a form that does
    # not cancel.
    a, b = 0.5 * cs_mm * 1e6 * wave**3, wave * defocus_um * 1e3
    orders = np.arange(1, count + 1) - math.asin(amplitude_contrast) / math.pi
    return np.sqrt(2 * orders / (b + np.sqrt(b * b - 4 * a * orders)))


def thon_rings(*, seed=1, preset="talos200", defocus_um=2.0, pixel_nm=0.4, dose=1000.0, side=1024, zeros=3):
    """Compare the zeros of a simulated micrograph's power spectrum with theory.

    Parameters
    ----------
    seed : int or numpy.random.Generator
        Draws ice and shot noise.
    preset : str
        Microscope, one of `optics.PRESETS`.
    defocus_um, pixel_nm, dose : float
        Defocus in µm (under focus, > 0), pixel in nm, dose in e/Å² (high, to see the rings).
    side : int
        Rows and columns of the micrograph of plain ice.
    zeros : int
        How many.

    Returns
    -------
    pandas.DataFrame
        One row a zero: `zero`, `theory_nm`, `measured_nm` (1/frequency), and `relative_error`; the radial power
        spectrum is its `attrs["spectrum"]`.
    """
    rng, scope = (
        np.random.default_rng(seed),
        replace(microscope.preset(preset), shape=(side, side), pixel_nm=pixel_nm),
    )
    spectrum = radial_power(
        _plain_ice(scope, microscope.Imaging(defocus_um=defocus_um, dose=dose), rng), pixel_nm
    )
    theory = zeros_per_nm(scope.kv, defocus_um, scope.cs_mm, scope.amplitude_contrast, zeros + 1)
    k, power = spectrum["frequency_per_nm"].to_numpy(), spectrum["power"].to_numpy()
    found = []
    for n in range(zeros):
        half = 0.35 * (theory[n + 1] - theory[n])
        near = np.abs(k - theory[n]) < half
        # Around a zero the power is its floor plus a parabola; a cubic takes the envelope's slope.
        fit = np.polynomial.Polynomial.fit(k[near], power[near], 4)
        fine = np.linspace(theory[n] - half, theory[n] + half, 2001)
        found.append(fine[np.argmin(fit(fine))])
    measured = 1 / np.array(found)
    table = pd.DataFrame(
        {"zero": np.arange(1, zeros + 1), "theory_nm": 1 / theory[:zeros], "measured_nm": measured}
    )
    table["relative_error"] = table["measured_nm"] / table["theory_nm"] - 1
    table.attrs["spectrum"] = spectrum
    return table


def _plain_ice(scope, imaging, rng):
    """Return a micrograph of ice without particles."""
    phase = rng.standard_normal(scope.shape, dtype=np.float32)
    phase *= np.float32(
        vesicles.ice_roughness(imaging.ice_nm, scope.pixel_nm) * microscope.interaction_constant(scope.kv)
    )
    image = microscope.contrast(phase, microscope.transfer(scope.shape, scope.pixel_nm, scope, imaging))
    counts = microscope.shot_noise(microscope.expected_counts(image, scope.pixel_nm, scope, imaging), rng)
    return microscope.take(counts, scope, None)
