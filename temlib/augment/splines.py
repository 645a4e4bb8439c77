"""The compiled loop of augmentation: one affine resampling, parallel over images.

It imports numba, so it is imported when the first image is transformed; numba caches the compiled code beside the file.
"""

import math

import numpy as np
from numba import njit, prange

# Every reordering of floating point but the flags that would let the compiler ignore NaN, infinity: the
# images are checked to be finite, yet a fault elsewhere must show as NaN and not as a plausible number.
_FAST = {"nsz", "arcp", "contract", "afn", "reassoc"}

_SIXTH, _TWO_THIRDS, _HALF, _ONE = np.float32(1 / 6), np.float32(2 / 3), np.float32(0.5), np.float32(1)


@njit(fastmath=_FAST, cache=True)
def _fold(position, pad, least, most, period):
    """Bring a coordinate into the stored samples: mirrored about the outermost pixel centres, or held there.

    Both go through the same arithmetic, since a branch in the loop over pixels costs a third of the speed: a mirrored
    border has infinite bounds and pad 0, a held one has bounds from 0 and a period beyond them.
    """
    position = min(max(position + pad, least), most)
    return abs(position - period * np.rint(position * (1 / period)))


@njit(fastmath=_FAST, cache=True)
def _weigh(order, fraction, weights):
    """Fill `weights` (4, columns) with the B-spline of `order` whose four pieces meet at t in [0, 1]."""
    for j in range(fraction.size):
        t = fraction[j]
        u = _ONE - t
        if order == 3:
            weights[0, j] = u * u * u * _SIXTH
            weights[1, j] = _TWO_THIRDS - t * t * (_ONE - _HALF * t)
            weights[2, j] = _TWO_THIRDS - u * u * (_ONE - _HALF * u)
            weights[3, j] = t * t * t * _SIXTH
        else:
            if order == 0:
                t = np.float32(t >= _HALF)
            weights[0, j] = np.float32(0)
            weights[1, j] = _ONE - t
            weights[2, j] = t
            weights[3, j] = np.float32(0)


@njit(fastmath=_FAST, cache=True)
def _gather(samples, width, first, down, across, out):
    """Sum the 4 × 4 samples that begin at `first`, weighted, for every pixel of one output row."""
    step = np.uint64(width)
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    for j in range(out.size):
        # Unsigned indices: numba would otherwise test each of the sixteen for Python's negative indexing.
        k = first[j]
        a, b, c, d = across[0, j], across[1, j], across[2, j], across[3, j]
        row0 = samples[k] * a + samples[k + one] * b + samples[k + two] * c + samples[k + three] * d
        k += step
        row1 = samples[k] * a + samples[k + one] * b + samples[k + two] * c + samples[k + three] * d
        k += step
        row2 = samples[k] * a + samples[k + one] * b + samples[k + two] * c + samples[k + three] * d
        k += step
        row3 = samples[k] * a + samples[k + one] * b + samples[k + two] * c + samples[k + three] * d
        out[j] = row0 * down[0, j] + row1 * down[1, j] + row2 * down[2, j] + row3 * down[3, j]


@njit(fastmath=_FAST, parallel=True, cache=True)
def resample(samples, index, matrices, order, mirror, pad, out):
    """Write to `out[i]` the image `samples[index[i]]` seen through the affine map `matrices[i]`.

    Samples are spline coefficients (order 3) or pixels (orders 0 and 1), continued by `pad` beyond a border that is not
    mirrored, and by 1 before and 2 after that, so that no support of 4 × 4 samples ever needs a test for the border. The
    caller has checked that `index`, (n,) int64, lies within them. Matrices are those of `affine_matrices`.
    """  # samples: (m, rows + 2 pad + 3, columns + 2 pad + 3) float32; out: (n, rows, columns) float32
    n, rows, columns = out.shape
    width = samples.shape[2]
    least, y_most, x_most = -np.inf, np.inf, np.inf
    y_period, x_period = 2.0 * (rows - 1), 2.0 * (columns - 1)
    if not mirror:
        least, y_most, x_most = 0.0, rows - 1.0 + 2 * pad, columns - 1.0 + 2 * pad
        y_period, x_period = 4 * y_most, 4 * x_most
    for i in prange(n):
        flat = samples[index[i]].ravel()  # a view: samples are contiguous
        m = matrices[i]
        first = np.empty(columns, np.uint64)
        y_fraction, x_fraction = np.empty(columns, np.float32), np.empty(columns, np.float32)
        down, across = np.empty((4, columns), np.float32), np.empty((4, columns), np.float32)
        for r in range(rows):
            for j in range(columns):
                # In double: single-precision coordinates alone cost 1e-4 of the range at 1000 pixels.
                y = _fold(m[0, 0] * r + m[0, 1] * j + m[0, 2], pad, least, y_most, y_period)
                x = _fold(m[1, 0] * r + m[1, 1] * j + m[1, 2], pad, least, x_most, x_period)
                y_floor, x_floor = math.floor(y), math.floor(x)
                y_fraction[j], x_fraction[j] = np.float32(y - y_floor), np.float32(x - x_floor)
                first[j] = np.uint64(np.int64(y_floor) * width + np.int64(x_floor))
            _weigh(order, y_fraction, down)
            _weigh(order, x_fraction, across)
            _gather(flat, width, first, down, across, out[i, r])
