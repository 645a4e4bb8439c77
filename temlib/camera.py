"""From an exit wave's intensity to grey levels: attenuation by ice, dose, shot noise, and the camera."""

import io
import math

import numpy as np
from numba import njit
from scipy import fft

from temlib import optics

# Below this expected count a pixel's count is drawn from the Poisson law itself; above, from a normal law
# with the Poisson law's mean, variance and skewness.
NORMAL_FROM = 64.0
# Distance over which the thickness of the ice changes unevenly (assumed).
UNEVEN_NM = 80.0


@njit(cache=True, nogil=True, fastmath=True)
def _expose(image, through, rows, columns, lights, spacing):
    """Multiply `image` in place by the expected count.

    `through` is the transmission of the ice's unevenness at nodes `spacing` pixels apart; `rows` and `columns` are
    the transmissions of the wedge, `lights` the two parts of the illumination, which add up.
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
            image[i, j] *= local * rows[i] * columns[j] * (lights[0][i] + lights[1][j])


def _slopes(shape, slopes):
    """Return the two parts, along rows and along columns, of ½ (s0 y + s1 x + s2 (x² + y²)), x and y in [−1, 1)."""
    y, x = (2.0 * np.arange(side) / side - 1.0 for side in shape)
    return 0.5 * (slopes[0] * y + slopes[2] * y * y), 0.5 * (slopes[1] * x + slopes[2] * x * x)


def expected_counts(image, pixel_nm, microscope, imaging, rng=None):
    """Turn relative intensity into expected counts, in place.

    Parameters
    ----------
    image : (rows, columns) ndarray of float32
        Relative intensity behind the objective, 1 where the specimen is only ice.
    pixel_nm : float
        Pixel size.
    microscope, imaging : Preset, Imaging
        Dose, ice, illumination, and DQE(0).
    rng : numpy.random.Generator, optional
        Draws the unevenness of the ice; left out, the ice is as smooth as `imaging.wedge` says.

    Returns
    -------
    (rows, columns) ndarray of float32
        Expected effective counts: electrons that reach the camera, times DQE(0).
    """
    level = imaging.dose * 100.0 * pixel_nm**2 * microscope.dqe0
    spacing = UNEVEN_NM / pixel_nm
    swell = np.zeros(tuple(int(side / spacing) + 2 for side in image.shape), np.float32)  # relative thickness
    if rng is not None:
        swell += np.float32(imaging.unevenness) * rng.standard_normal(swell.shape, dtype=np.float32)
    path = imaging.ice_nm / optics.mean_free_path_nm(microscope.kv)
    thicker, brighter = _slopes(image.shape, imaging.wedge), _slopes(image.shape, imaging.beam)
    _expose(
        image,
        np.exp(-path * swell),
        (level * np.exp(-path * (1.0 + thicker[0]))).astype(np.float32),
        np.exp(-path * thicker[1]).astype(np.float32),
        ((1.0 + brighter[0]).astype(np.float32), brighter[1].astype(np.float32)),
        spacing,
    )
    return image


@njit(cache=True, nogil=True)
def _normal_counts(expected, normal):
    """Turn `expected` into counts in place, by a normal law corrected for the Poisson law's skewness."""
    for i in range(expected.shape[0]):
        for j in range(expected.shape[1]):
            z = normal[i, j]
            mean = expected[i, j]
            expected[i, j] = math.floor(mean + math.sqrt(mean) * z + (z * z - 1.0) / 6.0 + 0.5)


def shot_noise(expected, rng):
    """Draw counts of electrons.

    Parameters
    ----------
    expected : (rows, columns) ndarray of float32
        Expected counts, ≥ 0; may be overwritten.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    (rows, columns) ndarray of float32
        Whole numbers.

    Notes
    -----
    Where every pixel expects at least 64 electrons the Cornish–Fisher expansion to second order stands in for
    the Poisson law: mean and skewness agree, and the variance exceeds the mean by 1/18 + 1/12 (0.22 % at 64).
    """
    if expected.min() < NORMAL_FROM:
        return rng.poisson(expected).astype(np.float32)
    _normal_counts(expected, rng.standard_normal(expected.shape, dtype=np.float32))
    return expected


def take(counts, microscope, gains):
    """Return the camera's image of counts of electrons.

    Parameters
    ----------
    counts : (rows, columns) ndarray of float32
        Effective counts; may be overwritten.
    microscope : Preset
        MTF, gain, binning, bits and JPEG quality.
    gains : (rows, columns) ndarray of float32 or None
        What is left of the gain errors, see `gain_map`; None for a perfect correction.

    Returns
    -------
    (rows // binning, columns // binning) ndarray of float32
        Grey levels.
    """
    if microscope.mtf_nyquist is not None:
        counts = _blur_noise(counts, microscope)
    if gains is not None:
        counts *= gains
    counts *= np.float32(microscope.gain / microscope.dqe0)
    if microscope.binning > 1:
        counts = bin_mean(counts, microscope.binning)
    if microscope.bits == 8:
        counts = quantize(counts, microscope.jpeg)
    return counts


def _blur_noise(counts, microscope):
    """Give the noise of a CCD its spectrum: what the scintillator spreads, plus a white part."""
    rows, columns = counts.shape
    k2 = np.fft.fftfreq(rows)[:, None] ** 2 + np.fft.rfftfreq(columns)[None] ** 2
    mtf2 = (1.0 + 4.0 * k2 / optics.mtf_width(microscope) ** 2) ** -2
    spread = np.sqrt((1.0 - optics.CCD_WHITE_NOISE) * mtf2 + optics.CCD_WHITE_NOISE).astype(np.float32)
    return fft.irfft2(fft.rfft2(counts) * spread, s=counts.shape, overwrite_x=True)


def gain_map(shape, microscope, rng):
    """Draw the gain errors of a session's camera: a factor for each pixel, with its hot pixels.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the camera.
    microscope : Preset
        Gain error and share of hot pixels.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    (rows, columns) ndarray of float32
        Factors around 1.
    """
    gains = rng.standard_normal(shape, dtype=np.float32)
    gains *= np.float32(microscope.gain_error)
    gains += 1.0
    hot = rng.integers(0, gains.size, rng.poisson(gains.size * microscope.hot_pixels))
    gains.ravel()[hot] *= rng.uniform(1.3, 3.0, len(hot)).astype(np.float32)
    return gains


def bin_mean(image, factor):
    """Average `factor` × `factor` pixels into one; what is left at the end is dropped."""
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    blocks = image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    return blocks.mean((1, 3), dtype=np.float32)


def quantize(image, jpeg=0):
    """Return `image` in whole grey levels 0 to 255 (float32), black and white at the .1 and 99.9 percentiles.

    Parameters
    ----------
    image : (rows, columns) ndarray
        Any finite values.
    jpeg : int
        Quality of a JPEG compression on the way, 1 to 95; 0 for none.
    """
    low, high = np.percentile(image[::4, ::4], (0.1, 99.9))
    levels = np.clip((image - low) * (255.0 / max(high - low, 1e-6)), 0, 255).round().astype(np.uint8)
    if jpeg:
        from PIL import Image

        with io.BytesIO() as file:
            Image.fromarray(levels).save(file, "JPEG", quality=jpeg)
            levels = np.asarray(Image.open(file))
    return levels.astype(np.float32)
