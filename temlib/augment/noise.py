"""What resampling does to detail and to noise, as curves over spatial frequency.

Frequencies are in cycles per pixel, up to 0.5 (Nyquist), and radial: all directions together. Images and tables of
transforms are those of `augmentation`.
"""

import numpy as np
import pandas as pd

from temlib.augment.augmentation import NEUTRAL, Augmentation, affine_matrices, checked_images, lowpass
from temlib.files import InputError

# Cures for the noise that training and prediction do not share, in the order of a figure: images as they are; each
# brought to zero mean and unit spread; the same once plain images, too, have been resampled, by half a pixel and the
# mean zoom; the same once both have been low-passed, after augmentation; low-passed before augmentation, as in training.
CURES = ("untreated", "renormalised", "resampled too", "low-pass after", "conditioned")
SLIDES = Augmentation()
STEPS = ("flip", "zoom", "shear", "rotation", "shift")  # what their columns begin with, in order


def radial_power(images, *, half_plane=False):
    """Average the power spectrum of each image over rings of equal frequency.

    Power is |FFT(w (x - mean x))|². Without the Hann window w, Σ w² = 1, the jump between opposite borders would leak into
    every frequency.

    Parameters
    ----------
    images : (n, rows, columns) floating-point ndarray, n ≥ 1
    half_plane : bool, optional
        Compute on the half plane of `numpy.fft.rfft2` and in single precision, which takes less time; frequencies
        without a part along the columns then count twice in their rings.

    Returns
    -------
    (k,) float64 ndarray
        Centres of the rings in cycles per pixel, one per cycle along the shorter side, up to 0.5.
    (n, k) float64 ndarray
        Power in squared units of the pixels: white noise of variance v has power v at every frequency.
    """
    images = checked_images(images)
    if len(images) == 0:
        raise InputError("a power spectrum needs at least one image; received none.")
    rows, columns = images.shape[1:]
    window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1])
    window /= np.sqrt(np.sum(window**2))
    transform, across = np.fft.fft2, np.fft.fftfreq(columns)
    if half_plane:
        transform, across, window = np.fft.rfft2, np.fft.rfftfreq(columns), window.astype(np.float32)
    shorter = min(rows, columns)
    ring = np.round(np.hypot(np.fft.fftfreq(rows)[:, None], across) * shorter).astype(int).ravel()
    tapered = ((image - image.mean()) * window for image in images)
    sums = np.stack([np.bincount(ring, np.abs(transform(image)).ravel() ** 2) for image in tapered])
    kept = np.arange(1, shorter // 2 + 1)  # ring 0 is the mean, which was taken out
    return kept / shorter, sums[:, kept] / np.bincount(ring)[kept]


def power_curve(images):
    """Return the mean of `radial_power` over images, as a table of `frequency` and `power`."""
    frequency, power = radial_power(images)
    return pd.DataFrame({"frequency": frequency, "power": power.mean(axis=0)})


def noise_curves(images, augmentation=SLIDES, *, seed=0):
    """Return the power of plain and of augmented images, and its `power_ratio`, by frequency and by cure."""
    transforms = augmentation.draw(len(images), seed)
    tables = []
    for method in CURES:
        plain, varied = map(power_curve, treated(images, transforms, augmentation, method))
        table = pd.DataFrame({"frequency": plain["frequency"], "method": method, "plain": plain["power"]})
        tables.append(table.assign(augmented=varied["power"], power_ratio=varied["power"] / plain["power"]))
    return pd.concat(tables, ignore_index=True)


def treated(images, transforms, augmentation, method):
    """Return (plain, augmented) images, each as a network would see them, under one of `CURES`."""
    if method not in CURES:
        raise InputError(f"there is no cure {method!r}; choose one of {', '.join(CURES)}.")
    images = lowpass(images) if method == "conditioned" else checked_images(images)
    plain, varied = images, augmentation.apply(images, transforms)
    if method == "resampled too":
        rows, columns = images.shape[1:]
        # Half a pixel is the offset that interpolation changes most.
        alike = {"shift_rows": 0.5 / rows, "shift_columns": 0.5 / columns}
        alike |= dict.fromkeys(("zoom_rows", "zoom_columns"), np.mean(augmentation.zoom))
        plain = augmentation.apply(images, pd.DataFrame(NEUTRAL | alike, index=range(len(images))))
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


def spread(images, transforms, augmentation):
    """Return the mean spread (standard deviation) of plain and augmented images, untreated and conditioned."""
    table = pd.DataFrame(index=["plain", "augmented"])
    for method in ("untreated", "conditioned"):
        pair = treated(images, transforms, augmentation, method)
        table[method] = [float(x.std(axis=(1, 2)).mean()) for x in pair]
    table.loc["ratio"] = table.loc["augmented"] / table.loc["plain"]
    return table.round(3)


def detail_curves(augmentation=SLIDES, *, count=64, size=96, seed=0):
    """Return what share of a wave's power (`power_ratio`) survives augmentation, by `frequency` and `method`.

    At each frequency `count` plane waves of random direction and phase, on `size` × `size` pixels (48 or more), are
    transformed in all `resampled_ways` and compared with the formula's wave under the same transform, in the
    central disc that no border reaches. Kept is the part in phase with it: nearest-pixel resampling keeps the
    power of noise but not its place, and counts as loss.
    """
    random = np.random.default_rng(seed)
    transforms = augmentation.draw(count, random)
    direction, phase = random.uniform(0, 2 * np.pi, (2, count))
    grid = np.indices((size, size)).reshape(2, -1).astype(float)
    matrices = affine_matrices(transforms, (size, size))
    source = matrices[:, :, :2] @ grid + matrices[:, :, 2:]  # (count, 2, size²)
    disc = np.hypot(*(grid - (size - 1) / 2)) < 0.2 * size
    points = np.stack([np.broadcast_to(grid, source.shape), source])
    rows = []
    for frequency in np.arange(0.02, 0.5, 0.02):
        wave_number = 2 * np.pi * frequency * np.stack([np.sin(direction), np.cos(direction)], axis=1)
        images, truth = np.cos(np.einsum("ia,wiap->wip", wave_number, points) + phase[:, None])
        for method, result in resampled_ways(images.reshape(count, size, size), transforms):
            seen = result.reshape(count, -1)[:, disc]
            kept = np.sum(seen * truth[:, disc]) / np.sum(truth[:, disc] ** 2)
            rows.append((frequency, kept**2, method))
    table = pd.DataFrame(rows, columns=["frequency", "power_ratio", "method"])
    table.attrs["count"] = count
    return table


def resampled_ways(images, transforms):
    """Yield the name and the result of resampling in one pass of each order, and in a chain of single transforms."""
    for name, order in (("cubic", 3), ("linear", 1), ("nearest", 0)):
        yield name, Augmentation(order=order).apply(images, transforms)
    neutral = pd.DataFrame(NEUTRAL, index=transforms.index)
    for name, order in (("linear, chained", 1), ("cubic, chained", 3)):
        chained = images
        for step in STEPS:
            alone = neutral.assign(**transforms.filter(like=step))
            chained = Augmentation(order=order).apply(chained, alone)
        yield name, chained
