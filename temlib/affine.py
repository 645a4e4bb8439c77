"""Tables of transforms, and the affine maps that they make; `temlib.augment` draws and applies them.

A table has one row per image and the columns of `NEUTRAL`. Its conventions are those of `temlib.augment`.
"""

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
