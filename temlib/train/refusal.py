"""Which particles are called at all: what looks like no particle is refused.

Empty windows, edges and ice are not among training particles, and they lie between them rather than far from them: to the nearest
neighbours of a window without a vesicle it is no farther than to those of a vesicle. So crops without a particle are made of the
training particles themselves (`emptied`), and a support vector machine tells these from particles by descriptors that do not
change when a crop is turned. How strange its score is, is told by the scores of particles that were held out with their
micrographs, class by class (conformal p values; V. Vovk et al., Algorithmic Learning in a Random World, 2005,
doi:10.1007/b106715). A particle is refused where its p value is at most `LIMIT` in every class.
"""

import functools

import numpy as np

from temlib.train.descriptors import in_batches, rings

# Of the particles of a class about this share is refused, of most classes less, ...
LIMIT = 0.03
# ... and it takes so many held-out particles for a p value to be as small.
FEWEST = int(np.ceil(1 / LIMIT)) - 1
# Particles, in equal parts of all classes, of which machines learn and crops are emptied.
LEARNT = 1200
# Descriptors are measured at so many pixels a side, on so many circles, in so many directions.
SIDE, RADII, DIRECTIONS = 40, 14, 64
# What is added before a logarithm: powers and gradients below it are of no interest.
LEAST = 1e-4
# Held-out particles are judged by those of other micrographs, which are left out in at most so many parts.
PARTS = 50


def boxes(images):
    """Return first row, end row, first column, end column (n, 4) of what is no padding in images (n, size, size)."""
    inside, size = np.abs(images - images[:, :1, :1]) > 1e-3, images.shape[-1]
    ends = []
    for lines in (inside.any(axis=2), inside.any(axis=1)):
        ends += [lines.argmax(axis=1), size - lines[:, ::-1].argmax(axis=1)]
    return np.stack(ends, axis=1)


@in_batches
def _described(images):
    """Compute what tells particles from none: rings of whole images, and profiles of what is no padding."""
    return rings(images) | {"box": _profiles(_fitted(images))}


def described(images):
    """Return descriptors (n, k) float32 of prepared images (n, size, size)."""
    return _described(images).to_numpy()


def _fitted(images):
    """Return what is no padding of images, each brought to (SIDE, SIDE) linearly."""
    fitted, ends = np.empty((len(images), SIDE, SIDE), np.float32), boxes(images)
    for top, bottom, left, right in np.unique(ends, axis=0):
        same = (ends == (top, bottom, left, right)).all(axis=1)
        fitted[same] = _linear(bottom - top) @ images[same, top:bottom, left:right] @ _linear(right - left).T
    return fitted


@functools.lru_cache
def _linear(length):
    """Return the matrix (SIDE, length) that brings a line of pixels to SIDE pixels."""
    at = np.clip((np.arange(SIDE) + 0.5) * length / SIDE - 0.5, 0, length - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(length))).astype(np.float32)


@functools.cache
def _circles():
    """Return the sparse matrix (RADII * DIRECTIONS, SIDE * SIDE) that reads an image in polar coordinates."""
    from scipy import sparse

    angles = np.arange(DIRECTIONS) / DIRECTIONS * 2 * np.pi
    radii = np.linspace(0.06, 1, RADII)[:, None] * (SIDE / 2 - 0.5)
    rows, columns = (((SIDE - 1) / 2 + radii * turn(angles)).ravel() for turn in (np.sin, np.cos))
    pixels = np.arange(SIDE)
    near = [np.maximum(0, 1 - np.abs(at[:, None] - pixels)) for at in (rows, columns)]
    return sparse.csr_matrix(
        (near[0][:, :, None] * near[1][:, None]).reshape(len(rows), -1), dtype=np.float32
    )


def _profiles(images):
    """Return profiles over circles (n, k): means, powers of how images vary around, gradients, at two scales; and moments."""
    from scipy import ndimage

    n, parts = len(images), []
    for width in (0.7, 2.0):
        smooth = ndimage.gaussian_filter(images, (0, width, width))
        gradient = np.hypot(*np.gradient(smooth, axis=(1, 2)))
        polar, steep = (
            (_circles() @ each.reshape(n, -1).T).T.reshape(n, RADII, DIRECTIONS)
            for each in (smooth, gradient)
        )
        mean, power = polar.mean(axis=2), np.abs(np.fft.rfft(polar, axis=2) / DIRECTIONS) ** 2
        around = np.log(power[:, :, 1:].sum(axis=2) + LEAST)
        few = [np.log(part + LEAST) - around for part in (power[:, :, 1:5].sum(axis=2), power[:, :, 2])]
        spread = [values.reshape(n, -1).var(axis=1, keepdims=True) for values in (smooth, mean)]
        jumps = np.log(np.abs(np.diff(mean, axis=1)) + LEAST**0.5)
        parts += [mean, around, *few, jumps, steep.mean(axis=2), *(np.log(each + LEAST) for each in spread)]
    flat = images.reshape(n, -1)
    spread = flat.std(axis=1, keepdims=True) + LEAST
    scaled = (flat - flat.mean(axis=1, keepdims=True)) / spread
    moments = [np.log(spread[:, 0]), (scaled**3).mean(axis=1), np.log((scaled**4).mean(axis=1) + LEAST)]
    return np.hstack([*parts, np.stack(moments, axis=1)])


def emptied(images, rng):
    """Return crops without a particle, (4, n, size, size), made of prepared images (n, size, size).

    Four ways, within what is no padding: its Fourier phases drawn anew; moved by about half its side, so that what was outside
    is in the middle; noise of the power spectrum that its corners have; its pixels in any order, smoothed. The last two get a
    slope now and then, as ice has.
    """
    ways = (_other_phases, _moved, _corner_noise, _shuffled)
    found = np.repeat(images[None], len(ways), axis=0)
    for at, (top, bottom, left, right) in enumerate(boxes(images)):
        inside = images[at, top:bottom, left:right]
        for way, made in zip(ways, found[:, at, top:bottom, left:right]):
            values = way(inside, rng)
            low, middle, high = np.quantile(values, (0.16, 0.5, 0.84))
            made[:] = np.clip((values - middle) / max((high - low) / 2, LEAST), -8, 8)
    return found


def _other_phases(crop, rng):
    phases = np.fft.rfft2(rng.standard_normal(crop.shape))
    return np.fft.irfft2(np.abs(np.fft.rfft2(crop)) * phases / np.abs(phases), crop.shape)


def _moved(crop, rng):
    return np.roll(crop, (crop.shape * rng.uniform(0.3, 0.7, 2)).astype(int), (0, 1))


def _corner_noise(crop, rng):
    from scipy import ndimage

    side = max(4, min(crop.shape) // 4)
    ends = slice(None, side), slice(-side, None)
    corners = np.stack([crop[rows, columns] for rows in ends for columns in ends])
    power = np.mean(np.abs(np.fft.fft2(corners - corners.mean(axis=(1, 2), keepdims=True))) ** 2, axis=0)
    at = np.meshgrid(*(np.abs(np.fft.fftfreq(length)) * side for length in crop.shape), indexing="ij")
    amplitude = np.sqrt(ndimage.map_coordinates(power, at, order=1, mode="nearest"))
    return _sloped(np.fft.ifft2(np.fft.fft2(rng.standard_normal(crop.shape)) * amplitude).real, rng)


def _shuffled(crop, rng):
    from scipy import ndimage

    return _sloped(
        ndimage.gaussian_filter(rng.permutation(crop.ravel()).reshape(crop.shape), rng.uniform()), rng
    )


def _sloped(noise, rng):
    """Return noise of unit spread, half of the time on a slope of any direction, up to four spreads from side to side."""
    rows, columns = np.indices(noise.shape) / max(noise.shape)
    angle, height = rng.uniform(0, 2 * np.pi), rng.uniform(0, 4) * rng.integers(2)
    return noise / max(noise.std(), LEAST) + height * (np.sin(angle) * rows + np.cos(angle) * columns)


def p_values(scores, known, labels):
    """Return the largest p value over the classes of scores (..., n), by `known` (m,) of held-out particles of `labels` (m,).

    A class of fewer than `FEWEST` is judged by how far the scores of all classes lie above the median of their class, so that
    its own place counts and the spread is that of all.
    """
    classes = [known[labels == k] for k in np.unique(labels)]
    medians = [np.median(own) for own in classes]
    rest, most = (
        np.concatenate([own - middle for own, middle in zip(classes, medians)]),
        np.zeros(scores.shape),
    )
    for own, middle in zip(classes, medians):
        given = rest if len(own) < FEWEST else own - middle
        above = len(given) - np.searchsorted(np.sort(given), scores - middle)
        most = np.maximum(most, (1 + above) / (len(given) + 1))
    return most


class Refusal:
    """What is refused, fold by fold; of `arrays` as `fit` returns them and a bundle keeps them."""

    def __init__(self, arrays):
        self.arrays = arrays

    def scores(self, seen):
        """Return how much less like a particle than like none each fold finds descriptors (n, k): (folds, n)."""
        from sklearn.metrics.pairwise import rbf_kernel

        kept, found = self.arrays, []
        for fold, (mean, spread) in enumerate(zip(kept["mean"], kept["spread"])):
            own = kept["vector_fold"] == fold
            values = _scaled(seen, mean, spread)
            kernel = rbf_kernel(values, kept["vectors"][own].astype(np.float32), gamma=kept["gamma"][fold])
            found.append(kernel @ kept["weights"][own] + kept["offset"][fold])
        return np.stack(found)

    def p_values(self, images):
        """Return the p values (folds, n) of prepared images (n, size, size)."""
        return p_values(self.scores(described(images)), self.arrays["scores"], self.arrays["labels"])


def _scaled(seen, mean, spread):
    """Return descriptors in units of the particles' spread; ten are as good as more."""
    return np.clip((seen - mean) / spread, -10, 10).astype(np.float32)


def fit(images, labels, folds, micrographs, *, seed):
    """Return what `Refusal` takes, and whether each particle is refused when its own fold's machine sees it.

    Parameters
    ----------
    images : (n, size, size) ndarray
    labels, folds, micrographs : (n,) ndarray
        Classes from 0, -1 where people could not tell; folds from 1; names.
    seed : int

    Returns
    -------
    arrays : dict of str to ndarray
        Of the machines: `mean`, `spread` (folds, k), `gamma`, `offset` (folds,), `vectors` (m, k) float16, `weights`,
        `vector_fold` (m,); and the `scores` of held-out particles with their `labels`.
    refused : (n,) ndarray of bool
        By p values of which its own micrograph is no part.
    """
    rng, known = np.random.default_rng((seed, 11)), labels >= 0
    classes, seen = np.unique(labels[known]), described(images)
    each = LEARNT // len(classes)
    some = np.concatenate([rng.permutation(np.flatnonzero(labels == k))[:each] for k in classes])
    none = described(emptied(np.asarray(images[some]), rng).reshape(-1, *images.shape[1:]))
    none = none.reshape(-1, len(some), seen.shape[1])
    machines = []
    for fold in range(1, folds.max() + 1):
        train = folds[some] != fold
        machines.append(_machine(seen[some[train]], labels[some[train]], none[:, train]))
    arrays = {name: np.stack([machine[name] for machine in machines]) for name in ("mean", "spread")}
    arrays |= {name: np.array([machine[name] for machine in machines]) for name in ("gamma", "offset")}
    arrays |= {name: np.concatenate([m[name] for m in machines]) for name in ("vectors", "weights")}
    arrays["vector_fold"] = np.repeat(np.arange(len(machines)), [len(m["weights"]) for m in machines])
    scores = Refusal(arrays).scores(seen)[folds - 1, np.arange(len(folds))]
    arrays |= {"scores": scores[known].astype(np.float32), "labels": labels[known]}
    part, found = np.unique(micrographs, return_inverse=True)[1] % PARTS, np.ones(len(labels))
    for own in (part == k for k in np.unique(part)):
        others = known & ~own
        if others.any():
            found[own] = p_values(scores[own], scores[others], labels[others])
    return arrays, found <= LIMIT


def _machine(seen, labels, none):
    """Return a machine that tells particles (n, k), all classes alike, from crops without one (ways, n, k)."""
    from sklearn.svm import SVC

    mean, spread = seen.mean(axis=0), seen.std(axis=0) + LEAST
    values = np.concatenate([_scaled(each, mean, spread) for each in (seen, *none)])
    names, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights = np.concatenate([1 / counts[which], np.full(none.shape[0] * len(seen), 1.0)])
    weights[len(seen) :] *= len(names) / (none.shape[0] * len(seen))
    gamma = 1 / (values.shape[1] * values.var())
    machine = SVC(gamma=gamma)
    machine.fit(values, np.arange(len(values)) >= len(seen), sample_weight=weights / weights.mean())
    return {
        "mean": mean,
        "spread": spread,
        "gamma": gamma,
        "offset": machine.intercept_[0],
        "vectors": machine.support_vectors_.astype(np.float16),
        "weights": machine.dual_coef_[0].astype(np.float32),
    }
