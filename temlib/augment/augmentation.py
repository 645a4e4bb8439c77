"""Augmentation: draw, then apply; every geometric transform of an image in one exact spline pass.

Conventions that everything in this module shares:

- An image is `(rows, columns)`, rows downwards; a pixel is the point at its centre, so the corners of the
  image are (0, 0) and (rows - 1, columns - 1), and its centre, which all transforms leave in place but the
  shift, is their mean.
- The object is flipped, then zoomed, then sheared, then rotated, then shifted, in this order. All of it is
  one affine map, and the image is resampled once, with the cubic B-spline that passes through every pixel
  [1]_.
- A positive rotation is counter-clockwise as the image is displayed; 90° is `numpy.rot90`.
- Zoom .8 shows the object at .8 of its size: the frame holds more than the image did, and the fill invents
  the rest.
- A shear of s rad moves each row sideways by tan(s) times its distance below the centre, to the right if
  positive. It preserves areas.
- Shifts are fractions of the image's height (down) and width (right), taken in the frame of the result.
- "mirror" continues the image as (d c b | a b c d | c b a), "nearest" as (a a a | a b c d | d d d).

Resampling lowers and colours the noise, which a network can learn in place of the particle. `condition` is
the cure: what is trained on before augmentation, and what is validated, tested or predicted without, go
through it alike.

References
----------
.. [1] M. Unser, "Splines: a perfect fit for signal and image processing", IEEE Signal Processing
   Magazine 16(6), 1999, doi:10.1109/79.799930.

Tables of transforms, and the affine maps that they make; `temlib.augment` draws and applies them.

A table has one row per image and the columns of `NEUTRAL`. Its conventions are those of `temlib.augment`.
"""

import math
import threading
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from temlib.files import InputError

# The columns of a table of transforms, with the value that leaves an image as it is.
NEUTRAL = {
    "rotation_deg": 0.0,
    "shear_rad": 0.0,
    "shift_rows": 0.0,
    "shift_columns": 0.0,
    "zoom_rows": 1.0,
    "zoom_columns": 1.0,
    "flip_rows": False,
    "flip_columns": False,
}
# Which columns act in one step, in the order in which the steps follow each other.
STEPS = (
    ("flip_rows", "flip_columns"),
    ("zoom_rows", "zoom_columns"),
    ("shear_rad",),
    ("rotation_deg",),
    ("shift_rows", "shift_columns"),
)
# What a table of transforms may hold. A shear of π/2 and a zoom of 0 have no inverse; well before them, and
# beyond the other bounds, nothing of the particle is left in the frame.
LIMITS = {
    "rotation_deg": (-360.0, 360.0),
    "shear_rad": (-1.5, 1.5),
    "shift_rows": (-1.0, 1.0),
    "shift_columns": (-1.0, 1.0),
    "zoom_rows": (0.01, 10.0),
    "zoom_columns": (0.01, 10.0),
    "flip_rows": (0.0, 1.0),
    "flip_columns": (0.0, 1.0),
}


def affine_matrices(transforms, shape):
    """Compose each row of transforms into one affine map, from pixels of the result to points of the image.

    Parameters
    ----------
    transforms : DataFrame
        As `Augmentation.draw` returns it, n rows.
    shape : (int, int)
        Rows and columns of the images.

    Returns
    -------
    (n, 2, 3) float64 ndarray
        (row, column) in the image = matrix[:, :2] @ (row, column) in the result + matrix[:, 2], in pixels.

    Raises
    ------
    InputError
        A missing column, or a value that is not finite or beyond the limits of `Augmentation`.
    """
    values = _checked_transforms(transforms)
    angle = np.deg2rad(values["rotation_deg"])
    flip_rows, flip_columns = (1.0 - 2.0 * values[name] for name in ("flip_rows", "flip_columns"))
    cos, sin, tan = np.cos(angle), np.sin(angle), np.tan(values["shear_rad"])
    row_factor = flip_rows / values["zoom_rows"]
    column_factor = flip_columns / values["zoom_columns"]
    # The object goes by rotation [[cos, -sin], [sin, cos]] · shear [[1, 0], [tan, 1]] · zoom and flip, all
    # of them acting on (row, column); what is needed is the way back.
    inverse = np.empty((len(angle), 2, 2))
    inverse[:, 0, 0] = row_factor * cos
    inverse[:, 0, 1] = row_factor * sin
    inverse[:, 1, 0] = column_factor * (-tan * cos - sin)
    inverse[:, 1, 1] = column_factor * (cos - tan * sin)
    # cos 90° is 6e-17 in floating point; a quarter turn shall hit the pixels.
    whole = np.round(inverse)
    inverse = np.where(np.abs(inverse - whole) < 1e-12, whole, inverse)
    shift = np.stack([values["shift_rows"] * shape[0], values["shift_columns"] * shape[1]], axis=1)
    centre = (np.asarray(shape) - 1) / 2
    offset = centre - (inverse @ (centre + shift)[..., None])[..., 0]
    return np.concatenate([inverse, offset[..., None]], axis=2)


def single_steps(transforms):
    """Split transforms into the tables of flip, zoom, shear, rotation and shift alone.

    Applied one after the other they are the chain of resamplings that common tools make of what
    `Augmentation.apply` does in one; without the interpolation both are the same map.

    Parameters
    ----------
    transforms : DataFrame
        As `Augmentation.draw` returns it.

    Returns
    -------
    list of DataFrame
        In the order of application, each with all columns and `len(transforms)` rows.
    """
    still = pd.DataFrame(NEUTRAL, index=transforms.index)
    return [still.assign(**{name: transforms[name] for name in step}) for step in STEPS]


def _checked_transforms(transforms):
    """Return the columns of a table of transforms as float arrays, each value within the limits."""
    values = {}
    for name, (least, most) in LIMITS.items():
        if name not in transforms:
            raise InputError(
                f"a table of transforms must have the column {name!r}; received {list(transforms)}."
            )
        values[name] = transforms[name].to_numpy(dtype=float)
        bad = values[name][~((values[name] >= least) & (values[name] <= most))]  # NaN too
        if bad.size:
            raise InputError(
                f"{name} of a transform must lie within {least:g} to {most:g}; received {bad[0]:g}."
            )
    return values


# The column whose limits a range of `Augmentation` must keep.
_RANGES = {
    "rotation": "rotation_deg",
    "shear": "shear_rad",
    "shift_rows": "shift_rows",
    "shift_columns": "shift_columns",
    "zoom": "zoom_rows",
}
# How far an image is continued before the prefilter where it is not mirrored, as scipy.ndimage does: the
# prefilter forgets by .268 per pixel, so 12 pixels away the border weighs 1e-7.
PAD = 12
# numba's simplest threading layer stops the process when two threads of Python enter parallel code at once.
_ONE_AT_A_TIME = threading.Lock()
# Gaussian low-pass of `condition`, standard deviation in pixels; benchmarks/augment.py compares others.
BLUR = 0.6


@dataclass(frozen=True)
class Augmentation:
    """What may happen to an image: from which range each transform is drawn, and how pixels are resampled.

    Parameters
    ----------
    rotation : (float, float)
        Angle in degrees, in [-360, 360], counter-clockwise as displayed.
    shear : (float, float)
        Angle in radians, in [-1.5, 1.5]; area-preserving.
    shift_rows, shift_columns : (float, float)
        Fraction of the height (down) and of the width (right), in [-1, 1].
    zoom : (float, float)
        Size of the object relative to before, in [.01, 10].
    flip_rows, flip_columns : bool
        Whether the order of the rows (upside down), of the columns (left and right) is reversed in every
        second image.
    order : {3, 1, 0}
        Cubic B-spline, linear, nearest pixel.
    fill : {"mirror", "nearest"}
        What is seen beyond the border.
    separate_zoom : bool
        Draw the zoom of rows and of columns independently, which makes an ellipse of a circle.

    Raises
    ------
    InputError
        A range that is reversed, not finite or beyond the limits above; an unknown order or fill.

    Examples
    --------
    >>> augmentation = Augmentation(zoom=(0.9, 1.0))
    >>> transforms = augmentation.draw(3, seed=1)
    >>> images = np.random.default_rng(1).normal(size=(3, 32, 32)).astype("float32")
    >>> augmentation.apply(images, transforms).shape
    (3, 32, 32)
    """

    rotation: tuple[float, float] = (-180.0, 180.0)
    shear: tuple[float, float] = (0.0, 0.2)
    shift_rows: tuple[float, float] = (-0.1, 0.1)
    shift_columns: tuple[float, float] = (-0.1, 0.1)
    zoom: tuple[float, float] = (0.8, 1.0)
    flip_rows: bool = True
    flip_columns: bool = True
    order: int = 3
    fill: str = "mirror"
    separate_zoom: bool = False

    def __post_init__(self):
        for name, column in _RANGES.items():
            object.__setattr__(self, name, _checked_range(name, getattr(self, name), *LIMITS[column]))
        for name in ("flip_rows", "flip_columns", "separate_zoom"):
            if not isinstance(getattr(self, name), bool | np.bool_):
                raise InputError(
                    f"{name} of an augmentation must be true or false; received {getattr(self, name)!r}."
                )
        if isinstance(self.order, bool) or self.order not in (0, 1, 3):
            raise InputError(f"order of an augmentation must be 0, 1 or 3; received {self.order!r}.")
        if self.fill not in ("mirror", "nearest"):
            raise InputError(
                f'fill of an augmentation must be "mirror" or "nearest"; received {self.fill!r}.'
            )

    @classmethod
    def preset(cls, name):
        """Return a named augmentation.

        Parameters
        ----------
        name : str
            "slides" are the defaults. "keras2016" is what Keras of October 2016 made of such ranges: shear to
            both sides, rows and columns zoomed independently by up to 20 % either way, nearest pixel, edge
            repeated. Its order of composition was another, and its zoom divided where this one multiplies.
            "none" changes nothing. Transforms named after a hyphen are left out: "slides-rotation",
            "slides-flip_rows-flip_columns".
        """
        name, *left_out = name.split("-")
        zero = (0.0, 0.0)
        none = dict.fromkeys(("rotation", "shear", "shift_rows", "shift_columns"), zero)
        none |= {"zoom": (1.0, 1.0), "flip_rows": False, "flip_columns": False}
        presets = {
            "slides": cls(),
            "keras2016": cls(shear=(-0.2, 0.2), zoom=(0.8, 1.2), order=0, fill="nearest", separate_zoom=True),
            "none": cls(**none),
        }
        if name not in presets:
            raise InputError(f'there is no augmentation {name!r}; choose "slides", "keras2016" or "none".')
        if not set(left_out) <= set(none):
            raise InputError(
                f"an augmentation can be named without {', '.join(none)}; received {'-'.join(left_out)!r}."
            )
        return replace(presets[name], **{transform: none[transform] for transform in left_out})

    def draw(self, count, seed):
        """Draw the transforms of `count` images, each transform uniformly from its range.

        Every column takes the same random numbers whatever the other ranges are, so two augmentations that
        differ in one transform give equal tables but for that one: an ablation compares like with like.

        Parameters
        ----------
        count : int
            Number of rows, 0 or more.
        seed : int or numpy.random.Generator

        Returns
        -------
        DataFrame
            `rotation_deg`, `shear_rad`, `shift_rows` and `shift_columns` (fractions of height and width),
            `zoom_rows` and `zoom_columns` (relative size), `flip_rows` and `flip_columns` (bool).
        """
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
            raise InputError(
                f"the number of transforms to draw must be a whole number from 0; received {count!r}."
            )
        numbers = np.random.default_rng(seed).random((8, count))
        ranges = (self.rotation, self.shear, self.shift_rows, self.shift_columns, self.zoom, self.zoom)
        columns = [low + (high - low) * u for (low, high), u in zip(ranges, numbers)]
        if not self.separate_zoom:
            columns[5] = columns[4]
        columns += [flip & (u < 0.5) for flip, u in zip((self.flip_rows, self.flip_columns), numbers[6:])]
        return pd.DataFrame(dict(zip(NEUTRAL, columns)))

    def apply(self, images, transforms):
        """Return the images transformed, each by the row of `transforms` at its place.

        Parameters
        ----------
        images : (n, rows, columns) floating-point ndarray
            Finite; at least 2 × 2 pixels, square or not; n may be 0.
        transforms : DataFrame
            As `draw` returns it, n rows; its index is ignored.

        Returns
        -------
        (n, rows, columns) float32 ndarray
            A map of the pixel grid onto itself (flips, quarter turns of a square, whole-pixel shifts) copies
            pixels and is exact to the last bit; `images` is left alone.
        """
        return self.apply_prepared(self.prepare(images), transforms)

    def prepare(self, images):
        """Prefilter images once, to be transformed many times by `apply_prepared`.

        Parameters
        ----------
        images : (n, rows, columns) floating-point ndarray

        Returns
        -------
        Prepared
            Holds the images (not copied where they are float32) and, beside them, as much memory again.
        """
        images = checked_images(images)
        samples = _spline_samples(images, self.order, 0 if self.fill == "mirror" else PAD)
        return Prepared(images, samples, self.order, self.fill)

    def apply_prepared(self, prepared, transforms, index=None):
        """Return images of a prepared set transformed, as `apply` does; the fast way through many epochs.

        Parameters
        ----------
        prepared : Prepared
            From `prepare` of an augmentation with the same order and fill.
        transforms : DataFrame
            n rows.
        index : (n,) integer ndarray, optional
            Which image each row transforms; an image may come again. Without it row k transforms image k.

        Returns
        -------
        (n, rows, columns) float32 ndarray
        """
        if (prepared.order, prepared.fill) != (self.order, self.fill):
            raise InputError(
                f"images prepared for order {prepared.order} and fill {prepared.fill!r} cannot be resampled "
                f"with order {self.order} and fill {self.fill!r}; prepare them again."
            )
        index = _checked_index(index, len(prepared.images))
        matrices = affine_matrices(transforms, prepared.images.shape[1:])
        if len(matrices) != len(index):
            raise InputError(
                f"{len(index)} images need as many rows of transforms; received {len(matrices)}."
            )
        out = np.empty((len(index), *prepared.images.shape[1:]), np.float32)
        if len(index):
            from temlib.augment import splines

            mirror = self.fill == "mirror"
            with _ONE_AT_A_TIME:
                splines.resample(
                    prepared.samples, index, matrices, self.order, mirror, 0 if mirror else PAD, out
                )
            if self.order == 3:
                _copy_grid_maps(prepared.images, index, matrices, self.fill, out)
        return out


@dataclass(frozen=True)
class Prepared:
    """Images with their spline coefficients, as `Augmentation.prepare` makes them.

    Attributes
    ----------
    images : (n, rows, columns) float32 ndarray
    samples : (n, rows + 3 + …, columns + 3 + …) float32 ndarray
        B-spline coefficients (order 3) or pixels, continued beyond the border.
    order, fill : int, str
        What they were prepared for.
    """

    images: np.ndarray
    samples: np.ndarray
    order: int
    fill: str


def lowpass(images, *, blur=BLUR):
    """Low-pass images slightly, before they are augmented or predicted, so that both leave like noise.

    A spline between pixels passes less of the noise near the Nyquist frequency than on pixels. Once a fixed
    low-pass has taken most of that noise away, before anything is resampled, little is left for the two to differ in.
    Training, validation, test and prediction all begin with it, so what it takes from the signal it takes
    from all of them; nothing is done after augmentation, since scaling each image by its own spread
    takes away the contrast that tells particles apart.

    Parameters
    ----------
    images : (n, rows, columns) floating-point ndarray
        As read, not yet augmented; finite, at least 2 × 2 pixels; n may be 0.
    blur : float, optional
        Standard deviation of the Gaussian low-pass, in pixels, from 0 (none) to 5. The default .6 passes .64
        of the amplitude at half the Nyquist frequency.

    Returns
    -------
    (n, rows, columns) float32 ndarray
        New memory; mean and scale of each image are kept.

    Notes
    -----
    Chosen among seven cures by networks trained on augmented crops of real low-dose micrographs and tested on plain
    ones; benchmarks/RESULTS.md has the table, and the power of the noise before and after. Augmented white noise
    keeps .96 of its spread (untreated .87). What zoom itself does to noise remains: no filter common to both
    undoes it.
    """
    images = checked_images(images)
    if not isinstance(blur, int | float | np.number) or not 0 <= blur <= 5:
        raise InputError(f"blur of the conditioning must be in pixels from 0 to 5; received {blur!r}.")
    from scipy import ndimage

    return ndimage.gaussian_filter(images, (0, blur, blur), mode="mirror")


def averaged(predict, images, augmentation, *, draws=8, seed=0):
    """Average a classifier's probabilities over transforms of each image (test-time averaging).

    Every image goes through the same `draws` transforms, so a prediction does not depend on which other
    images are asked about.

    Parameters
    ----------
    predict : callable
        Gets transformed images, (n, rows, columns) float32, conditioned beforehand; gives an (n, classes) ndarray of probabilities.
    images : (n, rows, columns) floating-point ndarray
        As read, not conditioned.
    augmentation : Augmentation
        Best the one that was trained with.
    draws : int, optional
        Number of transforms, 1 or more; prediction takes that many times as long.
    seed : int or numpy.random.Generator, optional

    Returns
    -------
    (n, classes) ndarray
    """
    if isinstance(draws, bool) or not isinstance(draws, int | np.integer) or draws < 1:
        raise InputError(f"the number of transforms to average over must be 1 or more; received {draws!r}.")
    transforms, prepared = augmentation.draw(draws, seed), augmentation.prepare(lowpass(images))
    total = 0.0
    for k in range(draws):
        repeated = transforms.iloc[np.full(len(prepared.images), k)]
        total = total + np.asarray(predict(augmentation.apply_prepared(prepared, repeated)))
    return total / draws


def checked_images(images):
    """Return `images` as contiguous float32 (n, rows, columns); refuse integers, NaN and infinity."""
    images = np.asarray(images)
    if images.ndim != 3 or min(images.shape[1:]) < 2:
        raise InputError(
            "images must be an array (n, rows, columns) of at least 2 × 2 pixels; "
            f"received shape {images.shape}."
        )
    if not np.issubdtype(images.dtype, np.floating):
        raise InputError(
            "images must be floating-point, so that interpolation does not round; "
            f'received {images.dtype}, which astype("float32") converts.'
        )
    images = np.ascontiguousarray(images, dtype=np.float32)
    # A sum is not finite if one term is not; it needs no array of booleans as large as the images.
    if not math.isfinite(images.sum(dtype=np.float64)):
        bad = int(np.flatnonzero(~np.isfinite(images).all(axis=(1, 2)))[0])
        raise InputError(
            f"images must be finite; image {bad} (counted from 0) holds NaN, infinity or too large a value."
        )
    return images


def _checked_range(name, value, least, most):
    """Return the range `value` of transform `name` as two floats within the limits."""
    try:
        low, high = (bound + 0.0 for bound in value)
    except (TypeError, ValueError):
        raise InputError(
            f"{name} of an augmentation must be two numbers, low and high; received {value!r}."
        ) from None
    if not least <= low <= high <= most:
        raise InputError(
            f"{name} of an augmentation must be a range, low to high, within {least:g} to {most:g}; "
            f"received {value!r}."
        )
    return low, high


def _checked_index(index, count):
    """Return `index` as int64 within [0, count); the compiled loop would read beyond the array."""
    if index is None:
        return np.arange(count)
    index = np.asarray(index)
    if index.ndim != 1 or (index.size and not np.issubdtype(index.dtype, np.integer)):
        raise InputError(
            f"index must be a list of whole numbers; received {index.dtype} of shape {index.shape}."
        )
    if index.size and not (index.min() >= 0 and index.max() < count):
        raise InputError(f"index must lie in 0 to {count - 1}; received {index.min()} to {index.max()}.")
    return index.astype(np.int64)


def _at_border(position, size, fill):
    """Return which of `size` rows or columns stands at each whole `position`, inside the image or beyond."""
    if fill == "nearest":
        return np.clip(position, 0, size - 1)
    folded = position % (2 * (size - 1))
    return np.minimum(folded, 2 * (size - 1) - folded)


def _spline_samples(images, order, pad):
    """Return pixels or B-spline coefficients, (n, …, …), continued by pad + 1 before and pad + 2 after."""
    from scipy import ndimage

    samples = np.pad(images, ((0, 0), (pad, pad), (pad, pad)), mode="edge") if pad else images
    if order == 3:
        # Sums run in double precision inside scipy; only what is kept is single.
        for axis in (1, 2):
            samples = ndimage.spline_filter1d(samples, 3, axis=axis, output=np.float32, mode="mirror")
    rows, columns = (_at_border(np.arange(-1, size + 2), size, "mirror") for size in samples.shape[1:])
    return np.ascontiguousarray(samples[:, rows][:, :, columns])


def _copy_grid_maps(images, index, matrices, fill, out):
    """Overwrite in `out` what fell on pixels: there the spline is the pixel itself, but for rounding."""
    whole = (matrices == np.round(matrices)).all(axis=(1, 2))
    for i in np.flatnonzero(whole):
        grid = np.indices(out.shape[1:]).reshape(2, -1)
        position = (matrices[i, :, :2] @ grid + matrices[i, :, 2:]).astype(np.int64)
        row, column = (_at_border(p, size, fill) for p, size in zip(position, out.shape[1:]))
        out[i] = images[index[i]][row, column].reshape(out.shape[1:])
