"""What the SVMs measure in an image: named numbers with units, computed image by image, learning nothing.

Images are prepared ones: (n, size, size) float32, square, zero median, unit robust spread. Lengths are in pixels of the
prepared image, intensities in units of the image's spread, gradients in that unit per pixel.
"""

import functools

import numpy as np
import pandas as pd

# Images at once: what is in memory beside the result does not grow with their number.
BATCH = 256
# Points of the edge density profile, as in 2016; it reaches this far beyond the outline.
POINTS, REACH = 80, 1.25
DIRECTIONS, RINGS = 48, 16
# Unit steps in each direction (2, DIRECTIONS, 1), rows first.
_ANGLES = np.arange(DIRECTIONS) / DIRECTIONS * 2 * np.pi
_STEPS = np.stack([np.sin(_ANGLES), np.cos(_ANGLES)])[:, :, None]
# Groups of descriptors: unit, and what they say.
GROUPS = {
    "area": ("px²", "area inside the outline"),
    "circularity": ("1", "4π area / perimeter²: 1 for a disc"),
    "M20": ("px²", "central moment of the outline, rows, over its area"),
    "M02": ("px²", "central moment of the outline, columns, over its area"),
    "M30": ("px³", "third central moment, rows, over the area"),
    "M03": ("px³", "third central moment, columns, over the area"),
    "edge_density": ("1", "gradient from the centre (0) to 1.25 × the outline (79), over the image's mean"),
    "radial": ("spread", "mean in ring k, centre first"),
    "ring_spread": ("spread", "standard deviation in ring k"),
    "edge": ("spread/px", "mean gradient in ring k, image smoothed by 1 px"),
    "hog": ("1", "histogram of oriented gradients (Dalal & Triggs 2005, doi:10.1109/CVPR.2005.177)"),
    "lbp": ("1", "histogram of uniform local binary patterns (Ojala 2002, doi:10.1109/TPAMI.2002.1017623)"),
    "moment": ("mixed", "mean, standard deviation, skewness, kurtosis of the pixels"),
}


def group_of(name):
    """Return the group of a descriptor's name: `edge_density_07` belongs to `edge_density`."""
    return name.rsplit("_", 1)[0] if name.rsplit("_", 1)[-1].isdigit() else name


def named():
    """Return the groups of descriptors with their units and meaning as a table."""
    return pd.DataFrame(
        [(name, *words) for name, words in GROUPS.items()], columns=["descriptor", "unit", "meaning"]
    )


def in_batches(describe):
    """Let a function that returns groups of descriptors (m, k) describe images in batches, on all cores, as one table."""
    from joblib import Parallel, delayed

    @functools.wraps(describe)
    def table(images):
        starts = range(0, len(images), BATCH)
        parts = Parallel(-1, prefer="threads")(delayed(describe)(images[i : i + BATCH]) for i in starts)
        counts = {name: part.shape[1] for name, part in parts[0].items()}
        width, columns = len(str(max(counts.values()) - 1)), []
        for name, count in counts.items():
            columns += [name] if count == 1 else [f"{name}_{k:0{width}d}" for k in range(count)]
        values = [np.hstack(list(part.values())).astype(np.float32) for part in parts]
        return pd.DataFrame(np.concatenate(values), columns=columns)

    return table


def outline(images):
    """Return which pixels lie inside the outline of the particle in the middle of each image, (n, size, size).

    In polar coordinates about the middle of the crop the outline is the closed path, one radius for each direction, along
    which the step from inside to outside is strongest, all dark to bright or all bright to dark; its radius changes by at
    most one step between neighbouring directions (dynamic programming).
    """
    return _within(_radii(images), images.shape[-1])


def _within(radii, size):
    """Return the pixels inside outlines given by their radius in each direction, (n, size, size)."""
    rows, columns = np.indices((size, size)) - (size - 1) / 2
    turn = np.arctan2(rows, columns) / (2 * np.pi) * DIRECTIONS % DIRECTIONS
    before, share = turn.astype(int), turn % 1
    at = radii[:, before % DIRECTIONS] * (1 - share) + radii[:, (before + 1) % DIRECTIONS] * share
    return np.hypot(rows, columns) <= at


def _radii(images):
    """Return the radius of each outline in each direction (n, DIRECTIONS), in pixels."""
    from scipy import ndimage

    size = images.shape[-1]
    steps = np.arange(1, size / 2, 0.5)
    places = (size - 1) / 2 + _STEPS * steps
    smooth = ndimage.gaussian_filter(images, (0, max(1, size / 40), max(1, size / 40)))
    polar = np.stack([ndimage.map_coordinates(image, places, order=1, mode="nearest") for image in smooth])
    polar = ndimage.uniform_filter1d(polar, 5, axis=1, mode="wrap")
    width = max(2, size // 12)  # in half pixels: inside and outside are means over as much
    sums = np.cumsum(np.pad(polar, ((0, 0), (0, 0), (width, width)), mode="edge"), axis=2)
    step = sums[..., 2 * width :] - 2 * sums[..., width:-width] + sums[..., : -2 * width]
    step[..., : 2 * width] = 0  # the first steps compare the middle with itself
    best = [_strongest_path(sign * step) for sign in (1, -1)]
    chosen = np.where((best[0][1] >= best[1][1])[:, None], best[0][0], best[1][0])
    return steps[chosen]


def _strongest_path(strength):
    """Return the closed path (n, directions) of the largest sum of `strength` (n, directions, radii), and that sum.

    The path is opened at one direction and run round twice; the middle part no longer knows where it was opened.
    """
    n, directions, radii = strength.shape
    total, back = np.zeros((n, radii)), np.empty((2 * directions, n, radii), np.int8)
    for t in range(2 * directions):
        padded = np.pad(total, ((0, 0), (1, 1)), constant_values=-np.inf)
        around = np.stack([padded[:, 1:-1], padded[:, :-2], padded[:, 2:]])  # among equals straight on
        back[t] = np.array([0, -1, 1])[around.argmax(axis=0)]
        total = around.max(axis=0) + strength[:, t % directions]
    at, path = total.argmax(axis=1), np.empty((2 * directions, n), int)
    for t in range(2 * directions - 1, -1, -1):
        path[t] = at
        at = at + back[t, np.arange(n), at]
    half = directions // 2
    closed = np.roll(path[half : half + directions], half, axis=0).T
    return closed, np.take_along_axis(strength, closed[:, :, None], axis=2).sum(axis=(1, 2))


@in_batches
def thesis(images):
    """Compute the descriptors of the SVM of 2016, a table: area, circularity, M20 M02 M30 M03, edge density profile."""
    from skimage.measure import perimeter

    shape, profiles, found = [], [], _radii(images)
    for image, inside, radii in zip(images, _within(found, images.shape[-1]), found):
        rows, columns = np.nonzero(inside)
        middle, area = (rows.mean(), columns.mean()), len(rows)
        down, right = rows - middle[0], columns - middle[1]
        length = max(perimeter(inside), 1.0)
        moments = [(down**2).mean(), (right**2).mean(), (down**3).mean(), (right**3).mean()]
        shape.append([area, 4 * np.pi * area / length**2, *moments])
        profiles.append(_edge_density(image, radii))
    parts = dict(zip(("area", "circularity", "M20", "M02", "M30", "M03"), np.array(shape).T[:, :, None]))
    return parts | {"edge_density": np.array(profiles)}


def _edge_density(image, radii):
    """Return the mean gradient at shares of the way from the middle to the outline (POINTS,), in units of the image's."""
    from scipy import ndimage

    shares = np.linspace(0, REACH, POINTS)
    gradient = ndimage.gaussian_gradient_magnitude(image, 1.0)
    places = (image.shape[0] - 1) / 2 + _STEPS * (radii[:, None] * shares)
    along = ndimage.map_coordinates(gradient, places, order=1, mode="nearest")
    return along.mean(axis=0) / max(float(gradient.mean()), 1e-9)


@in_batches
def texture(images):
    """Compute texture and profiles, a table: HOG, LBP, radial and edge profiles, moments."""
    from scipy import ndimage
    from skimage.feature import hog

    size, found = images.shape[-1], rings(images)
    moments, smooth = found.pop("moment"), [ndimage.gaussian_filter(images, (0, s, s)) for s in (1, 2)]
    cells = {"orientations": 8, "pixels_per_cell": (max(1, size // 4),) * 2, "cells_per_block": (2, 2)}
    return {
        **found,
        "hog": np.stack([hog(image, **cells) for image in images]),
        "lbp": np.hstack([_lbp(stack) for stack in (images, *smooth)]),
        "moment": moments,
    }


def rings(images):
    """Return radial and edge profiles and moments, a dict of groups of descriptors (n, k)."""
    from scipy import ndimage, stats

    size = images.shape[-1]
    distance = np.hypot(*(np.indices((size, size)) - (size - 1) / 2))
    ring = np.minimum(distance / (size / 2) * RINGS, RINGS).astype(int).ravel()
    counts = np.bincount(ring)
    membership = (np.eye(len(counts))[ring] / np.maximum(counts, 1)).astype(np.float32)
    flat = images.reshape(len(images), -1)
    radial = flat @ membership
    spread = np.sqrt(np.maximum((flat**2) @ membership - radial**2, 0))
    smooth = ndimage.gaussian_filter(images, (0, 1, 1))
    gradient = np.hypot(*np.gradient(smooth, axis=(1, 2))).reshape(len(images), -1)
    moments = [flat.mean(1), flat.std(1), stats.skew(flat, axis=1), stats.kurtosis(flat, axis=1)]
    return {
        "radial": radial,
        "ring_spread": spread,
        "edge": gradient @ membership,
        "moment": np.stack(moments, axis=1),
    }


def _lbp(images):
    """Return histograms of the ten uniform patterns of eight neighbours (n, 10)."""
    from skimage.feature import local_binary_pattern

    # Whole numbers: equal pixels must be equal, and skimage warns of anything else.
    grey = np.clip(images * 16 + 128, 0, 255).astype(np.uint8)
    codes = [local_binary_pattern(image, 8, 1, "uniform").astype(int).ravel() for image in grey]
    return np.stack([np.bincount(c, minlength=10) / len(c) for c in codes])
