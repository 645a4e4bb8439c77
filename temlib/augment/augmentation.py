"""Augmentation: draw, then apply; every geometric transform of an image in one exact spline pass.

Images are (n, rows, columns) floating-point ndarrays, finite, of 2 × 2 pixels or more, square or not; n may be 0. They
are left alone; results are float32. A table of transforms has one row per image, whatever its index, and the columns of
`NEUTRAL`. Conventions:

- An image is `(rows, columns)`, rows downwards; a pixel is the point at its centre, so the corners of the image are
  (0, 0) and (rows - 1, columns - 1). Their mean is the centre of the image, which only a shift moves.
- The object is flipped, zoomed, sheared, rotated and shifted, in this order. All of it is one affine map, and the image
  is resampled once, with the cubic B-spline that passes through every pixel (Unser 1999, doi:10.1109/79.799930).
- A positive rotation is counter-clockwise as the image is displayed; 90° is `numpy.rot90`.
- Zoom 0.8 shows the object at 0.8 of its size: the frame holds more than the image did, and the fill invents the rest.
- A shear of s rad moves each row sideways, without change of area, by tan(s) times its distance below the centre, to the
  right if positive.
- Shifts are fractions of the image's height (down) and width (right), in the frame of the result.
- "mirror" continues the image as (d c b | a b c d | c b a), "nearest" as (a a a | a b c d | d d d).
"""

import math
import threading
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import ndimage

from temlib.files import InputError

# The columns of a table of transforms: which setting of `Augmentation` they are drawn from, the value that leaves
# an image as it is, the least and the most. A shear of π/2 and a zoom of 0 have no inverse; well before them, and
# beyond the other limits, nothing of the particle is left in the frame.
COLUMNS = {
    "rotation_deg": ("rotation", 0.0, -360.0, 360.0),
    "shear_rad": ("shear", 0.0, -1.5, 1.5),
    "shift_rows": ("shift_rows", 0.0, -1.0, 1.0),
    "shift_columns": ("shift_columns", 0.0, -1.0, 1.0),
    "zoom_rows": ("zoom", 1.0, 0.01, 10.0),
    "zoom_columns": ("zoom", 1.0, 0.01, 10.0),
    "flip_rows": ("flip_rows", False, 0, 1),
    "flip_columns": ("flip_columns", False, 0, 1),
}
NEUTRAL = {column: neutral for column, (_, neutral, *_) in COLUMNS.items()}
# How far an image is continued before the prefilter where it is not mirrored, as scipy.ndimage does: the
# prefilter forgets by 0.268 per pixel, so 12 pixels away the border weighs 1e-7.
PAD = 12
BLUR = 0.6  # standard deviation of the Gaussian of `lowpass`, in pixels; benchmarks/augment.py compares it
# numba's simplest threading layer stops the process when two threads of Python enter parallel code at once.
_ONE_AT_A_TIME = threading.Lock()


def affine_matrices(transforms, shape):
    """Compose each row of transforms into one affine map, from pixels of the result to points of the image.

    Parameters
    ----------
    transforms : DataFrame
        As `Augmentation.draw` returns it, n rows; values beyond the limits of `Augmentation` are refused.
    shape : (int, int)
        Rows and columns of the images.

    Returns
    -------
    (n, 2, 3) float64 ndarray
        (row, column) in the image = matrix[:, :2] @ (row, column) in the result + matrix[:, 2], in pixels.
    """
    values = _checked_transforms(transforms)
    angle = np.deg2rad(values["rotation_deg"])
    cos, sin, tan = np.cos(angle), np.sin(angle), np.tan(values["shear_rad"])
    row_factor = (1.0 - 2.0 * values["flip_rows"]) / values["zoom_rows"]
    column_factor = (1.0 - 2.0 * values["flip_columns"]) / values["zoom_columns"]
    # The object goes by rotation [[cos, -sin], [sin, cos]] · shear [[1, 0], [tan, 1]] · zoom and flip, all
    # of them acting on (row, column); what is needed is the way back.
    down = [row_factor * cos, row_factor * sin]
    across = [column_factor * (-tan * cos - sin), column_factor * (cos - tan * sin)]
    inverse = np.stack([*down, *across], axis=1).reshape(-1, 2, 2)
    # cos 90° is 6e-17 in floating point; a quarter turn shall hit the pixels.
    whole = np.round(inverse)
    inverse = np.where(np.abs(inverse - whole) < 1e-12, whole, inverse)
    shift = np.stack([values["shift_rows"] * shape[0], values["shift_columns"] * shape[1]], axis=1)
    centre = (np.asarray(shape) - 1) / 2
    offset = centre - (inverse @ (centre + shift)[..., None])[..., 0]
    return np.concatenate([inverse, offset[..., None]], axis=2)


@dataclass(frozen=True)
class Augmentation:
    """What may happen to an image: the range from which each transform is drawn, and how pixels are resampled.

    Parameters
    ----------
    rotation, shear, shift_rows, shift_columns, zoom : (float, float)
        Lowest and highest value; units and limits stand beside each. Two equal values switch a transform off.
    flip_rows, flip_columns, separate_zoom : bool
    order : {3, 1, 0}
    fill : {"mirror", "nearest"}

    Raises
    ------
    InputError
        A range that is reversed, not finite or beyond its limits; an unknown choice.
    """

    rotation: tuple[float, float] = (-180.0, 180.0)  # degrees, within [-360, 360]
    shear: tuple[float, float] = (0.0, 0.2)  # rad, within [-1.5, 1.5]
    shift_rows: tuple[float, float] = (-0.1, 0.1)  # fraction of the height, down, within [-1, 1]
    shift_columns: tuple[float, float] = (-0.1, 0.1)  # fraction of the width, to the right, within [-1, 1]
    zoom: tuple[float, float] = (0.8, 1.0)  # size of the object relative to before, within [0.01, 10]
    flip_rows: bool = True  # whether every second image, at random, is turned upside down
    flip_columns: bool = True  # likewise left and right
    order: int = 3  # 3 cubic B-spline, 1 linear, 0 nearest pixel
    fill: str = "mirror"  # or "nearest": what is seen beyond the border
    separate_zoom: bool = False  # of rows and of columns, which makes an ellipse of a circle

    def __post_init__(self):
        for name, neutral, least, most in COLUMNS.values():
            if isinstance(neutral, float):
                received = getattr(self, name)
                try:
                    low, high = (bound + 0.0 for bound in received)
                except (TypeError, ValueError):
                    low = high = math.nan
                wanted = f"two numbers, low and high, within {least:g} to {most:g}"
                _require(least <= low <= high <= most, name, wanted, received)
                object.__setattr__(self, name, (low, high))
        for name in ("flip_rows", "flip_columns", "separate_zoom"):
            received = getattr(self, name)
            _require(isinstance(received, bool | np.bool_), name, "true or false", received)
        is_order = self.order in (0, 1, 3) and not isinstance(self.order, bool)
        _require(is_order, "order", "0, 1 or 3", self.order)
        _require(self.fill in ("mirror", "nearest"), "fill", '"mirror" or "nearest"', self.fill)

    @classmethod
    def preset(cls, name):
        """Return a named augmentation; transforms after hyphens are left out, as in "slides-flip_rows-flip_columns".

        "slides" are the defaults. "keras2016" is how Keras of October 2016 treated such ranges: shear to both sides, rows
        and columns zoomed independently by up to 20 % either way, nearest pixel, edge repeated. Its order of composition
        was different, and its zoom divided where this one multiplies. "none" changes nothing.
        """
        name, *left_out = name.split("-")
        none = {name: still if still is False else (still, still) for name, still, *_ in COLUMNS.values()}
        presets = {
            "slides": cls(),
            "keras2016": cls(shear=(-0.2, 0.2), zoom=(0.8, 1.2), order=0, fill="nearest", separate_zoom=True),
            "none": cls(**none),
        }
        _require(name in presets, "the preset", '"slides", "keras2016" or "none"', name)
        _require(set(left_out) <= set(none), "what is left out", f"among {', '.join(none)}", left_out)
        return replace(presets[name], **{transform: none[transform] for transform in left_out})

    def draw(self, count, seed):
        """Draw the transforms of `count` images, each transform uniformly from its range.

        The table has the columns of `NEUTRAL`. Every column takes the same random numbers whatever the other ranges are,
        so two augmentations that differ in one transform give tables equal in all others: an ablation compares like
        with like.
        """
        is_count = isinstance(count, int | np.integer) and not isinstance(count, bool) and count >= 0
        _require(is_count, "the number of transforms", "a whole number from 0", count)
        numbers = np.random.default_rng(seed).random((len(COLUMNS), count))
        drawn = {}
        for (column, (name, *_)), u in zip(COLUMNS.items(), numbers):
            setting = getattr(self, name)
            is_range = isinstance(setting, tuple)
            drawn[column] = setting[0] + (setting[1] - setting[0]) * u if is_range else setting & (u < 0.5)
        if not self.separate_zoom:
            drawn["zoom_columns"] = drawn["zoom_rows"]
        return pd.DataFrame(drawn)

    def apply(self, images, transforms):
        """Return images (n, rows, columns) transformed, each by the row of `transforms` at its place.

        A map of the pixel grid onto itself (flips, quarter turns of a square, whole-pixel shifts) copies pixels and is
        exact to the last bit.
        """
        return self.apply_prepared(self.prepare(images), transforms)

    def prepare(self, images):
        """Return images prefiltered once, a `Prepared` of twice their memory, to be transformed many times."""
        images = checked_images(images)
        samples = images
        if self.fill == "nearest":
            samples = np.pad(images, ((0, 0), (PAD, PAD), (PAD, PAD)), mode="edge")
        if self.order == 3:
            # Sums run in double precision inside scipy; only what is kept is single.
            for axis in (1, 2):
                samples = ndimage.spline_filter1d(samples, 3, axis=axis, output=np.float32, mode="mirror")
        samples = np.pad(samples, ((0, 0), (1, 2), (1, 2)), mode="reflect")
        return Prepared(images, samples, self.order, self.fill)

    def apply_prepared(self, prepared, transforms, index=None):
        """Return transformed images of a prepared set, as `apply` does; the fast way for many epochs.

        Row k of `transforms` transforms image `index[k]`, which may occur repeatedly, or image k without an index.
        """
        from temlib.augment import splines

        if (prepared.order, prepared.fill) != (self.order, self.fill):
            made_for = f"order {prepared.order} and fill {prepared.fill!r}"
            raise InputError(f"these images were prepared for {made_for}; prepare them again.")
        index = _checked_index(index, len(prepared.images))
        matrices = affine_matrices(transforms, prepared.images.shape[1:])
        wanted = f"{len(index)}, one for each image"
        _require(len(matrices) == len(index), "the number of transforms", wanted, len(matrices))
        out = np.empty((len(index), *prepared.images.shape[1:]), np.float32)
        mirror = self.fill == "mirror"
        with _ONE_AT_A_TIME:
            splines.resample(prepared.samples, index, matrices, self.order, mirror, 0 if mirror else PAD, out)
        if self.order == 3:
            # On pixels the spline is the pixel itself, but for rounding.
            for i in np.flatnonzero((matrices == np.round(matrices)).all(axis=(1, 2))):
                image, matrix, offset = prepared.images[index[i]], matrices[i, :, :2], matrices[i, :, 2]
                ndimage.affine_transform(image, matrix, offset, order=0, mode=self.fill, output=out[i])
        return out


@dataclass(frozen=True)
class Prepared:
    """Images with their spline coefficients, as `Augmentation.prepare` makes them for one order and fill."""

    images: np.ndarray  # (n, rows, columns) float32
    samples: np.ndarray  # (n, rows + 3 + 2 pad, columns + 3 + 2 pad) float32, see `splines.resample`
    order: int
    fill: str


def lowpass(images):
    """Low-pass images (n, rows, columns) slightly, so that the noise of augmented ones is nearly that of plain ones.

    Resampling lowers and colours the noise, which a network can learn instead of the particle. Once a fixed low-pass has
    taken most of the noise near the Nyquist frequency, a spline finds little left to take between pixels. Training,
    validation, test and prediction all begin with it, so that all lose the same signal. Nothing is done after augmentation:
    scaling each image by its own spread would take away the contrast that tells particles apart.

    Notes
    -----
    A Gaussian of σ = 0.6 pixels: frequency f keeps exp(-(2 π f σ)² / 2) of its amplitude, 0.64 at half the Nyquist
    frequency. Chosen among seven remedies by networks trained on augmented crops of real low-dose micrographs and tested on
    plain ones (table in benchmarks/RESULTS.md). Augmented white noise keeps 0.96 of its spread (untreated 0.87). What zoom
    itself does to noise remains: no filter common to both undoes it.
    """
    return ndimage.gaussian_filter(checked_images(images), (0, BLUR, BLUR), mode="mirror")


def averaged(predict, images, augmentation, *, draws=8, seed=0):
    """Average a classifier's probabilities over transforms of each image (test-time augmentation).

    Every image goes through the same transforms, so a prediction does not depend on which other images are predicted.

    Parameters
    ----------
    predict : callable
        Takes low-passed, transformed images, (n, rows, columns) float32; returns probabilities, (n, classes).
    images : (n, rows, columns) floating-point ndarray
        As read, not low-passed.
    augmentation : Augmentation
        Preferably the one used in training.
    draws : int, optional
        Number of transforms, 1 or more; prediction takes that many times as long.
    """
    transforms = augmentation.draw(draws, seed)
    _require(len(transforms), "the number of transforms to average over", "1 or more", draws)
    prepared = augmentation.prepare(lowpass(images))
    total = 0.0
    for k in range(draws):
        repeated = transforms.iloc[np.full(len(prepared.images), k)]
        total = total + np.asarray(predict(augmentation.apply_prepared(prepared, repeated)))
    return total / draws


def checked_images(images):
    """Return `images` as contiguous float32 (n, rows, columns); refuse integers, NaN and infinity."""
    images = np.asarray(images)
    is_stack = images.ndim == 3 and min(images.shape[1:]) >= 2
    _require(is_stack, "images", "(n, rows, columns) of 2 × 2 pixels or more", images.shape)
    is_float = np.issubdtype(images.dtype, np.floating)
    _require(is_float, "images", 'floating-point, as by astype("float32")', str(images.dtype))
    images = np.ascontiguousarray(images, dtype=np.float32)
    # A sum is not finite if one term is not; it needs no array of booleans as large as the images.
    if not math.isfinite(images.sum(dtype=np.float64)):
        bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2)))[0]
        raise InputError(f"images must be finite; image {bad} (from 0) holds NaN, infinity or an overflow.")
    return images


def _checked_transforms(transforms):
    """Return the columns of a table of transforms as float arrays, each value within its limits."""
    values = {}
    for column, (_, _, least, most) in COLUMNS.items():
        _require(column in transforms, "transforms", f"a table with the column {column}", list(transforms))
        values[column] = value = transforms[column].to_numpy(dtype=float)
        bad = value[~((value >= least) & (value <= most))]  # NaN too
        _require(not bad.size, column, f"within {least:g} to {most:g}", bad[:1].tolist())
    return values


def _require(holds, name, wanted, received):
    """Refuse a value unless what is asked of it holds."""
    if not holds:
        raise InputError(f"augmentation: {name} must be {wanted}; received {received!r}.")


def _checked_index(index, count):
    """Return `index` as int64 within [0, count); the compiled loop would read beyond the array."""
    index = np.arange(count) if index is None else np.asarray(index)
    is_list = index.ndim == 1 and (index.size == 0 or index.dtype.kind in "iu")
    _require(is_list, "index", "a list of whole numbers", (str(index.dtype), index.shape))
    bad = index[(index < 0) | (index >= count)]
    _require(not bad.size, "index", f"within 0 to {count - 1}", bad[:1].tolist())
    return index.astype(np.int64)
