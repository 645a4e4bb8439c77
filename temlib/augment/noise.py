"""What resampling does to detail and to noise, as curves over spatial frequency.

Frequencies are in cycles per pixel, from 0 to .5 (Nyquist; half of it is .25), and are radial: all
directions together.
"""

import numpy as np
import pandas as pd

from temlib.augment.augmentation import (
    NEUTRAL,
    Augmentation,
    affine_matrices,
    checked_images,
    lowpass,
    single_steps,
)
from temlib.files import InputError

# Each cure for the noise that training and prediction do not share, in the order of a figure.
CURES = ("untreated", "renormalised", "resampled too", "low-pass after", "conditioned")


def power_curve(images):
    """Average the power spectrum of images over rings of equal frequency, and over the images.

    Each image is freed of its mean and tapered by a Hann window, without which the jump between opposite
    borders would leak into every frequency.

    Parameters
    ----------
    images : (n, rows, columns) floating-point ndarray
        Finite; n at least 1.

    Returns
    -------
    DataFrame
        `frequency`, centre of the ring in cycles per pixel, one ring per cycle along the shorter side, up to
        .5; `power`, in squared units of the pixels: white noise of variance v has power v at every frequency.
    """
    images = checked_images(images)
    if len(images) == 0:
        raise InputError("a power spectrum needs at least one image; received none.")
    rows, columns = images.shape[1:]
    window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1])
    window /= np.sqrt(np.sum(window**2))
    mean = images.mean(axis=(1, 2), keepdims=True)
    power = np.mean([np.abs(np.fft.fft2(image * window)) ** 2 for image in images - mean], axis=0)
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns))
    shorter = min(rows, columns)
    ring = np.round(frequency * shorter).astype(int).ravel()
    total, count = np.bincount(ring, power.ravel()), np.bincount(ring)
    kept = np.arange(1, shorter // 2 + 1)  # ring 0 is the mean, which was taken out
    return pd.DataFrame({"frequency": kept / shorter, "power": total[kept] / count[kept]})


def noise_curves(images, augmentation=None, *, seed=0):
    """Compare the noise of augmented images with that of plain ones, for each cure of the difference.

    1. "untreated": as they are.
    2. "renormalised": each image brought to zero mean and unit spread.
    3. "resampled too": plain images go through the spline as well, by half a pixel and the mean zoom;
       renormalised.
    4. "low-pass after": augmented, then slightly blurred, renormalised.
    5. "conditioned": `temlib.augment.condition`, then augmented; the default of training and prediction.

    Parameters
    ----------
    images : (n, rows, columns) floating-point ndarray
        Of noise, or of particles in noise.
    augmentation : Augmentation, optional
        Default: that of the slides.
    seed : int or numpy.random.Generator

    Returns
    -------
    DataFrame
        `frequency` (cycles per pixel), `method`, `plain`, `augmented` (power) and `power_ratio`, augmented to
        plain.
    """
    augmentation = augmentation or Augmentation()
    transforms = augmentation.draw(len(images), seed)
    tables = []
    for method in CURES:
        plain, varied = treated(images, transforms, augmentation, method)
        table = power_curve(plain).rename(columns={"power": "plain"})
        table.insert(1, "method", method)
        tables.append(table.assign(augmented=power_curve(varied)["power"]))
    curves = pd.concat(tables, ignore_index=True)
    return curves.assign(power_ratio=curves["augmented"] / curves["plain"])


def treated(images, transforms, augmentation, method):
    """Return (plain, augmented) images, each as a network would see them, under one of `CURES`.

    Parameters
    ----------
    images : (n, rows, columns) floating-point ndarray
    transforms : DataFrame
        n rows, for the augmented half.
    augmentation : Augmentation
    method : str
        One of `CURES`, see `noise_curves`.

    Returns
    -------
    tuple of two (n, rows, columns) float32 ndarrays
    """
    if method not in CURES:
        raise InputError(f"there is no cure {method!r}; choose one of {', '.join(CURES)}.")
    images = lowpass(images) if method == "conditioned" else checked_images(images)
    plain, varied = images, augmentation.apply(images, transforms)
    if method == "resampled too":
        plain = augmentation.apply(images, _like_training(images, augmentation))
    if method == "low-pass after":
        plain, varied = lowpass(plain), lowpass(varied)
    if method in ("renormalised", "resampled too", "low-pass after"):
        plain, varied = _renormalised(plain), _renormalised(varied)
    return plain, varied


def _renormalised(images):
    """Return each image with zero mean and unit spread; a constant one becomes 0."""
    centred = images - images.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    spread = centred.std(axis=(1, 2), keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0).astype(np.float32)


def _like_training(images, augmentation):
    """Return transforms by half a pixel, the offset that interpolation changes most, and by the mean zoom."""
    zoom = np.mean(augmentation.zoom)
    rows, columns = images.shape[1:]
    still = pd.DataFrame(NEUTRAL, index=range(len(images)))
    return still.assign(zoom_rows=zoom, zoom_columns=zoom, shift_rows=0.5 / rows, shift_columns=0.5 / columns)


def spread(images, transforms, augmentation):
    """Compare the spread of plain and augmented images, untreated and conditioned.

    Parameters
    ----------
    images : (n, rows, columns) floating-point ndarray
    transforms : DataFrame
        n rows.
    augmentation : Augmentation

    Returns
    -------
    DataFrame
        Rows "plain", "augmented" and their ratio; columns "untreated" and "conditioned": mean over the images of
        the standard deviation of an image's pixels.
    """
    ways = {
        name: [float(x.std(axis=(1, 2)).mean()) for x in treated(images, transforms, augmentation, name)]
        for name in ("untreated", "conditioned")
    }
    table = pd.DataFrame(ways, index=["plain", "augmented"])
    table.loc["ratio"] = table.loc["augmented"] / table.loc["plain"]
    return table.round(3)


def detail_curves(augmentation=None, *, count=64, size=96, seed=0):
    """Measure how much of a wave of each frequency outlives augmentation, in one pass and in a chain.

    Plane waves of random direction and phase are transformed; each result is compared with the wave that the
    same transform makes of the formula, in the central disc that no border reaches. What is kept is the part
    in phase with it: nearest-pixel resampling keeps the power of noise but not its place, and counts as loss.

    Parameters
    ----------
    augmentation : Augmentation, optional
        Default: that of the slides. Its order is not used.
    count : int
        Waves per frequency.
    size : int
        Rows and columns of the images, 48 or more.
    seed : int or numpy.random.Generator

    Returns
    -------
    DataFrame
        `frequency` of the wave in the image that is resampled (cycles per pixel); `power_ratio`, the part of
        its power kept, 1 for all of it; `method`: "cubic", "linear", "nearest" (one pass), "linear, chained"
        and "cubic, chained" (flip, zoom, shear, rotation and shift resampled one after the other).
    """
    augmentation = augmentation or Augmentation()
    random = np.random.default_rng(seed)
    transforms = augmentation.draw(count, random)
    direction, phase = random.uniform(0, 2 * np.pi, (2, count))
    grid = np.indices((size, size)).reshape(2, -1).astype(float)
    source = affine_matrices(transforms, (size, size))
    source = source[:, :, :2] @ grid + source[:, :, 2:]  # (count, 2, size²)
    disc = np.hypot(*(grid - (size - 1) / 2)) < 0.2 * size
    rows = []
    for frequency in np.arange(0.02, 0.5, 0.02):
        wave_number = 2 * np.pi * frequency * np.stack([np.sin(direction), np.cos(direction)], axis=1)
        images, truth = (
            np.cos(np.einsum("ia,iap->ip", wave_number, np.broadcast_to(p, source.shape)) + phase[:, None])
            for p in (grid, source)
        )
        images = images.reshape(count, size, size)
        for method, result in resampled_ways(images, transforms):
            seen = result.reshape(count, -1)[:, disc]
            kept = np.sum(seen * truth[:, disc]) / np.sum(truth[:, disc] ** 2)
            rows.append((frequency, kept**2, method))
    table = pd.DataFrame(rows, columns=["frequency", "power_ratio", "method"])
    table.attrs["count"] = count
    return table


def resampled_ways(images, transforms):
    """Resample images in one pass of each order, and as a chain of single transforms.

    Parameters
    ----------
    images : (n, rows, columns) floating-point ndarray
    transforms : DataFrame
        n rows.

    Yields
    ------
    (str, (n, rows, columns) float32 ndarray)
        Name and result of each of "cubic", "linear", "nearest", "linear, chained" and "cubic, chained".
    """
    for name, order in (("cubic", 3), ("linear", 1), ("nearest", 0)):
        yield name, Augmentation(order=order).apply(images, transforms)
    for name, order in (("linear, chained", 1), ("cubic, chained", 3)):
        chained = images
        for step in single_steps(transforms):
            chained = Augmentation(order=order).apply(chained, step)
        yield name, chained
