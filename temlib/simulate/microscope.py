"""The microscope and its camera: contrast transfer, partial coherence, dose, shot noise, and grey levels.

Lengths are nm unless a name says otherwise, spatial frequencies 1/nm; images are (rows, columns) arrays of float32.
Defocus is positive under focus, so that a specimen of positive potential is dark. The image is formed in the
weak-phase approximation (R. Erickson, A. Klug, Phil. Trans. R. Soc. B 261 (1971) 105, doi:10.1098/rstb.1971.0040),

    I(k) = δ(k) − 2 φ(k) sin(χ(k) + arcsin w) E(k),   χ = π λ Δf(θ) k² − ½ π Cs λ³ k⁴,

with the phase φ = σ V of the projected potential V, amplitude contrast w and envelope E. The camera's modulation enters
as sqrt(DQE(k)/DQE(0)) before the shot noise and its noise transfer after it, so that signal and noise each have the
spectrum that MTF and DQE demand.
"""

import io
import math
from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from scipy import constants, fft

from temlib.files import InputError

MEAN_FREE_PATH_300 = 395.0  # inelastic, of vitreous ice at 300 kV, in nm
UNEVEN_NM = 80.0  # distance over which the thickness of the ice changes unevenly (assumed)
NORMAL_FROM = 64.0  # from this expected count on, a normal law stands in for the Poisson law
CCD_WHITE_NOISE = 0.2  # share of a CCD's noise that is white, arising after the scintillator (assumed)


@dataclass(frozen=True)
class Preset:
    """A microscope with its camera, and the ranges in which people use it."""

    kv: float  # acceleration voltage
    pixel_nm: float = 1.0  # of the simulation and of the camera
    shape: tuple = (1024, 1024)  # rows and columns of a micrograph on that grid
    binning: int = 1  # camera pixels a side that are averaged into one pixel of the finished micrograph
    cs_mm: float = 2.7  # spherical aberration
    cc_mm: float = 2.7  # chromatic aberration
    energy_spread_ev: float = 0.7  # FWHM
    convergence_mrad: float = 0.05  # half angle of illumination
    amplitude_contrast: float = 0.08  # the share w, in [0, 1)
    defocus_um: tuple = (1.2, 3.0)  # range of session means
    dose: tuple = (10.0, 30.0)  # likewise, e⁻/Å²
    ice_nm: tuple = (75.0, 150.0)  # likewise
    dqe0: float = 0.95  # detective quantum efficiency at frequency 0; 1 is the ideal camera
    mtf_nyquist: float | None = None  # modulation transfer of a CCD at Nyquist; None for a counting camera
    gain: float = 1.0  # grey levels per detected electron
    gain_error: float = 0.004  # standard deviation of the gain that is left after correction
    hot_pixels: float = 5e-6  # share of them
    bits: int = 0  # depth of the finished image: 0 keeps 32-bit float, 8 quantises the micrograph
    jpeg: int = 0  # quality of JPEG compression, 0 for none

    @property
    def binned_nm(self):
        """The pixel of the finished micrograph."""
        return self.pixel_nm * self.binning

    @property
    def mtf_width(self):
        """The frequency q0 of a CCD's MTF 1 / (1 + (q/q0)²), with q = 1 at Nyquist."""
        return 1.0 / math.sqrt(1.0 / self.mtf_nyquist - 1.0)


# Ranges of use are the field's (dose 10 to 60 e⁻/Å², defocus 0.5 to 5 µm, ice 30 to 150 nm); the CCD's are assumed.
_KRIOS = Preset(kv=300.0, pixel_nm=0.6, shape=(1728, 1728), defocus_um=(0.8, 2.5), dose=(25.0, 50.0))
_CCD = Preset(kv=120.0, defocus_um=(1.5, 4.0), dose=(12.0, 30.0), dqe0=0.4, mtf_nyquist=0.15, gain=4.0)
_CCD = replace(_CCD, convergence_mrad=0.1, energy_spread_ev=1.5, gain_error=0.01, hot_pixels=2e-5)
_OLDER = replace(_CCD, dose=(10.0, 25.0), dqe0=0.35, gain_error=0.015, hot_pixels=3e-5)
PRESETS = {
    "krios300": replace(_KRIOS, convergence_mrad=0.03, gain_error=0.003),
    "talos200": Preset(kv=200.0),
    "ccd120": _CCD,
    "thesis2016": replace(_OLDER, binning=2, bits=8, jpeg=80),
}


def preset(name):
    """Return the preset called `name`; raise InputError, with the names there are, for another."""
    if name not in PRESETS:
        raise InputError(
            f"preset: {name!r} is unknown; choose one of {', '.join(PRESETS)}, or varied for a folder."
        )
    return PRESETS[name]


def wavelength_nm(kv):
    """Return the relativistic wavelength of electrons of `kv` kilovolts, in nm."""
    energy = kv * 1e3 * constants.e
    momentum = math.sqrt(2 * constants.m_e * energy * (1 + energy / (2 * constants.m_e * constants.c**2)))
    return constants.h / momentum * 1e9


def interaction_constant(kv):
    """Return the interaction constant σ = 2π m e λ / h² with relativistic mass, in rad/(V nm)."""
    mass = constants.m_e + kv * 1e3 * constants.e / constants.c**2
    return 2 * math.pi * mass * constants.e * wavelength_nm(kv) * 1e-9 / constants.h**2 * 1e-9


def mean_free_path_nm(kv):
    """Return the mean free path in vitreous ice, in nm: 395 at 300 kV, else scaled with β² (assumed)."""
    rest = constants.m_e * constants.c**2
    beta2, beta2_300 = (1 - (1 + voltage * 1e3 * constants.e / rest) ** -2 for voltage in (kv, 300.0))
    return MEAN_FREE_PATH_300 * beta2 / beta2_300


@dataclass(frozen=True)
class Imaging:
    """How one micrograph is taken."""

    defocus_um: float  # mean, positive under focus
    astigmatism_nm: float = 0.0  # half the difference of the two principal defoci
    astigmatism_deg: float = 0.0  # angle of the larger, from the columns' axis to the rows'
    dose: float = 20.0  # e⁻/Å² on the specimen
    ice_nm: float = 60.0  # thickness in the middle
    wedge: tuple = (0.0, 0.0, 0.0)  # its relative change along rows, along columns, from middle to corner
    beam: tuple = (0.0, 0.0, 0.0)  # relative change of illumination, likewise
    unevenness: float = 0.0  # standard deviation of the relative thickness over distances of `UNEVEN_NM`
    drift_nm: float = 0.0  # length of the drift during the exposure
    drift_deg: float = 0.0  # its angle


@njit(cache=True, nogil=True, fastmath=True)
def _sine(angle):
    """Return sin(angle) to single precision, by a polynomial that compilers vectorise, unlike math.sin."""
    turns = angle / (2.0 * math.pi)
    x = np.float32(turns - math.floor(turns + 0.5))  # in [-0.5, 0.5)
    x = min(x, np.float32(0.5) - x)
    x = max(x, np.float32(-0.5) - x) * np.float32(2.0 * math.pi)
    y = x * x
    series = np.float32(-2.5052108e-8)
    for weight in (2.7557319e-6, -1.9841270e-4, 8.3333333e-3, -1.6666667e-1, 1.0):
        series = series * y + np.float32(weight)
    return series * x


@njit(cache=True, nogil=True, fastmath=True)
def _transfer(row, column, spherical, crossed, damps, step):
    """Return −2 sin(χ + arcsin w) times what damps it: `damps`, at multiples of `step` 1/nm, and drift.

    `row` and `column` hold the frequency, the part of χ + arcsin w that depends on it alone, and its share of the
    drift's angle; `spherical` and `crossed` are the weights of k⁴ and of the product of the two frequencies in χ.
    """
    out = np.empty((row.shape[1], column.shape[1]), np.float32)
    for i in range(row.shape[1]):
        kr, part, drift = row[0, i], row[1, i], row[2, i]
        for j in range(column.shape[1]):
            kc = column[0, j]
            k2 = kr * kr + kc * kc
            chi = part + column[1, j] + crossed * kr * kc - spherical * k2 * k2
            shift = drift + column[2, j]
            blurred = np.float32(1.0) if abs(shift) < 1e-4 else _sine(shift) / np.float32(shift)
            at = math.sqrt(k2) / step
            n = int(at)
            damp = damps[n] + np.float32(at - n) * (damps[n + 1] - damps[n])
            out[i, j] = np.float32(-2.0) * _sine(chi) * blurred * damp
    return out


def transfer(shape, microscope, imaging):
    """Return −2 sin(χ + arcsin w) E sqrt(DQE(k)/DQE(0)) on the half plane of `rfft2`, float32."""
    wave = wavelength_nm(microscope.kv)
    twice, drift = math.radians(2 * imaging.astigmatism_deg), math.radians(imaging.drift_deg)
    along, across = (imaging.astigmatism_nm * f(twice) for f in (math.cos, math.sin))
    row, column = fft.fftfreq(shape[0], microscope.pixel_nm), fft.rfftfreq(shape[1], microscope.pixel_nm)
    defocus, phase = 1e3 * imaging.defocus_um, math.asin(microscope.amplitude_contrast)
    # Half a step of the field's own frequencies or less: between its nodes the damping is straight.
    step = min(0.5 * math.hypot(row[1] if len(row) > 1 else 0.0, column[1]), 2e-3)
    nodes = step * np.arange(int(math.hypot(np.abs(row).max(), column[-1]) / step) + 3)
    chi = math.pi * wave * np.array([defocus - along, defocus + along])
    shift = math.pi * imaging.drift_nm * np.array([math.sin(drift), math.cos(drift)])
    return _transfer(
        np.stack([row, chi[0] * row**2 + phase, shift[0] * row]),
        np.stack([column, chi[1] * column**2, shift[1] * column]),
        0.5e6 * math.pi * microscope.cs_mm * wave**3,
        2 * math.pi * wave * across,
        _damping(nodes, microscope, defocus).astype(np.float32),
        step,
    )


def _damping(k, microscope, defocus_nm):
    """Return the coherence envelopes times sqrt(DQE(k)/DQE(0)) at spatial frequencies `k`."""
    wave, energy = wavelength_nm(microscope.kv), microscope.kv * 1e3
    rest = constants.m_e * constants.c**2 / constants.e
    relative = (1 + energy / rest) / (1 + energy / (2 * rest))
    spread = microscope.cc_mm * 1e6 * relative * microscope.energy_spread_ev / 2.3548 / energy
    # Spatial coherence follows the gradient of χ; the small term of astigmatism is left out there.
    slope = microscope.cs_mm * 1e6 * wave**3 * k**2 - defocus_nm * wave
    damps = np.exp(
        -0.5 * (math.pi * wave * spread * k**2) ** 2
        - (math.pi * microscope.convergence_mrad * 1e-3 / wave * slope * k) ** 2
    )
    q = 2.0 * k * microscope.pixel_nm
    if microscope.mtf_nyquist is not None:
        mtf2 = (1.0 + (q / microscope.mtf_width) ** 2) ** -2
        damps *= np.sqrt(mtf2 / ((1.0 - CCD_WHITE_NOISE) * mtf2 + CCD_WHITE_NOISE))
    elif microscope.dqe0 < 1.0:  # 0.95, 0.71 and 0.32 at 0, half Nyquist and Nyquist
        damps *= np.sqrt(np.maximum(0.02, 0.95 - 0.33 * q - 0.30 * q**2) / 0.95)
    return damps


def contrast(phase, microscope, imaging):
    """Return the relative intensity I of a phase in rad, floored at 0.02."""
    spectrum = fft.rfft2(phase)
    spectrum *= transfer(phase.shape, microscope, imaging)
    image = fft.irfft2(spectrum, s=phase.shape, overwrite_x=True)
    image += 1.0
    return np.maximum(image, np.float32(0.02), out=image)


@njit(cache=True, nogil=True, fastmath=True)
def _expose(image, through, rows, columns, light_rows, light_columns, spacing):
    """Multiply `image` in place by what arrives: `through` at nodes `spacing` pixels apart, times a plane of the rest.

    `rows` and `columns` are transmissions of the wedge; the two parts of the illumination add up.
    """
    height, width = image.shape
    weight, cell = np.empty(width, np.float32), np.empty(width, np.int64)
    for j in range(width):
        cell[j] = int(j / spacing)
        v = j / spacing - cell[j]
        weight[j] = v * v * (3.0 - 2.0 * v)
    for i in range(height):
        a = int(i / spacing)
        u = i / spacing - a
        u = np.float32(u * u * (3.0 - 2.0 * u))
        for j in range(width):
            b, v = cell[j], weight[j]
            above = through[a, b] + v * (through[a, b + 1] - through[a, b])
            below = through[a + 1, b] + v * (through[a + 1, b + 1] - through[a + 1, b])
            local = above + u * (below - above)
            image[i, j] *= local * rows[i] * columns[j] * (light_rows[i] + light_columns[j])


def _slopes(shape, slopes):
    """Return the two parts, along rows and along columns, of ½ (s0 y + s1 x + s2 (x² + y²)), x and y in [−1, 1)."""
    y, x = (2.0 * np.arange(side) / side - 1.0 for side in shape)
    return 0.5 * (slopes[0] * y + slopes[2] * y * y), 0.5 * (slopes[1] * x + slopes[2] * x * x)


def expected_counts(image, microscope, imaging, rng=None):
    """Turn relative intensity behind the objective into expected counts times DQE(0), in place.

    `rng` draws the unevenness of the ice; without it the ice is as smooth as `imaging.wedge` says.
    """
    level = imaging.dose * 100.0 * microscope.pixel_nm**2 * microscope.dqe0
    spacing = UNEVEN_NM / microscope.pixel_nm
    swell = np.zeros(tuple(int(side / spacing) + 2 for side in image.shape), np.float32)  # relative thickness
    if rng is not None:
        swell += np.float32(imaging.unevenness) * rng.standard_normal(swell.shape, dtype=np.float32)
    path = imaging.ice_nm / mean_free_path_nm(microscope.kv)
    thicker, brighter = _slopes(image.shape, imaging.wedge), _slopes(image.shape, imaging.beam)
    rows, columns = level * np.exp(-path * (1.0 + thicker[0])), np.exp(-path * thicker[1])
    profiles = [profile.astype(np.float32) for profile in (rows, columns, 1.0 + brighter[0], brighter[1])]
    _expose(image, np.exp(-path * swell), *profiles, spacing)
    return image


@njit(cache=True, nogil=True)
def _normal_counts(expected, normal):
    """Turn `expected` into counts in place, by a normal law corrected for the Poisson law's skewness."""
    for i in range(expected.shape[0]):
        for j in range(expected.shape[1]):
            mean, z = expected[i, j], normal[i, j]
            expected[i, j] = math.floor(mean + math.sqrt(mean) * z + (z * z - 1.0) / 6.0 + 0.5)


def shot_noise(expected, rng):
    """Draw counts of electrons, whole numbers as float32; `expected` may be overwritten.

    Where every pixel expects at least 64 electrons the Cornish–Fisher expansion to second order stands in for the
    Poisson law: mean and skewness agree, and the variance exceeds the mean by 1/18 + 1/12 (0.22 % at 64).
    """
    if expected.min() < NORMAL_FROM:
        return rng.poisson(expected).astype(np.float32)
    _normal_counts(expected, rng.standard_normal(expected.shape, dtype=np.float32))
    return expected


def take(counts, microscope, gains):
    """Return the binned image, in grey levels, of counts, which may be overwritten; `gains` are those of `gain_map`."""
    if microscope.mtf_nyquist is not None:  # the noise is what the scintillator spreads, plus a white part
        k2 = fft.fftfreq(counts.shape[0])[:, None] ** 2 + fft.rfftfreq(counts.shape[1]) ** 2
        mtf2 = (1.0 + 4.0 * k2 / microscope.mtf_width**2) ** -2
        spread = np.sqrt((1.0 - CCD_WHITE_NOISE) * mtf2 + CCD_WHITE_NOISE).astype(np.float32)
        counts = fft.irfft2(fft.rfft2(counts) * spread, s=counts.shape, overwrite_x=True)
    if gains is not None:
        counts *= gains
    counts *= np.float32(microscope.gain / microscope.dqe0)
    if microscope.binning > 1:
        counts = bin_mean(counts, microscope.binning)
    return quantize(counts, microscope.jpeg) if microscope.bits == 8 else counts


def gain_map(microscope, rng):
    """Draw the gain errors of a session's camera: a factor around 1 for each pixel, with its hot pixels."""
    gains = 1 + np.float32(microscope.gain_error) * rng.standard_normal(microscope.shape, dtype=np.float32)
    hot = rng.integers(0, gains.size, rng.poisson(gains.size * microscope.hot_pixels))
    gains.ravel()[hot] *= rng.uniform(1.3, 3.0, len(hot)).astype(np.float32)
    return gains


def bin_mean(image, factor):
    """Average `factor` × `factor` pixels into one; what is left at the end is dropped."""
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    blocks = image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    return blocks.mean((1, 3), dtype=np.float32)


def quantize(image, jpeg=0):
    """Return `image` in whole grey levels 0 to 255, its 0.1 and 99.9 percentiles, after JPEG compression if asked."""
    low, high = np.percentile(image[::4, ::4], (0.1, 99.9))
    levels = np.clip((image - low) * (255.0 / max(high - low, 1e-6)), 0, 255).round().astype(np.uint8)
    if jpeg:
        from PIL import Image

        with io.BytesIO() as file:
            Image.fromarray(levels).save(file, "JPEG", quality=jpeg)
            levels = np.asarray(Image.open(file))
    return levels.astype(np.float32)
