"""Positions of particles as picking programs write them, and crops cut out of micrographs at them.

The contract of this module: `row` and `column` are the particle's centre in its micrograph, 0-based, in the
order in which the rows lie in the file; pixel (i, j) has its centre at (i, j). `box_px` is the edge of the
square window in the micrograph's pixels. Image paths are relative to ``attrs["folder"]`` and never leave it,
not by a link either.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from ._paths import inside, listed, probe, shown
from ._pickers import read_box, read_cbox, read_star, where
from .files import InputError
from .micrographs import SUFFIXES

READERS = {".star": read_star, ".box": read_box, ".cbox": read_cbox}
LARGEST_CUT = 2**30  # bytes of crops from one call


def read(path, *, folder=None):
    """Read the positions of particles, or their places in stacks of crops.

    Parameters
    ----------
    path : str or Path
        ``.star`` of RELION (3.0, 3.1 and later) or exported from cryoSPARC, ``.box`` of EMAN, ``.cbox`` of
        crYOLO. (A table with `image`, `row`, `column` is a manifest; `temlib.sources` reads it.)
    folder : str or Path, optional
        The folder that image names are relative to. By default the RELION project (the nearest folder upwards
        that holds ``default_pipeline.star``) for a STAR file in one, else the folder of `path`.

    Returns
    -------
    DataFrame
        One row a particle: `particle` (unique text), `image` (path relative to ``attrs["folder"]``), `index`
        (0-based place in a stack, <NA> for a micrograph), `micrograph` (text, absent if unknown), `row`,
        `column`, `box_px`, `box_nm` (NaN = unknown), `pixel_size_nm` of the image (NaN = the file does not
        say), then the file's other columns. ``attrs`` hold `path`, `folder`, `format` and `notes` (sentences
        about assumptions). The index says in which line, or which row of a STAR file, a particle is written.

    Raises
    ------
    InputError
        If the file is damaged, misses a column, names an image that is missing or outside the folder, has a
        position that is no number, or two particles of one name.

    Notes
    -----
    * STAR: with `rlnImageName` the crops of the stacks are the particles, else `rlnCoordinateX/Y` in
      `rlnMicrographName`. The pixel size is `rlnImagePixelSize` (stack) or `rlnMicrographPixelSize`
      (micrograph) of the optics group, else `rlnPixelSize`, else detector pixel over magnification. RELION
      reads TIFF bottom row first [1]_; positions in TIFF micrographs are therefore refused.
    * EMAN .box: columns x, y of the lower left corner, width, height [2]_; the first row of an MRC file is
      the lowest.
    * crYOLO .cbox is taken to give the same corner, an assumption from its use as .box, not confirmed in its
      documentation. Boxes below the picking threshold are kept, with their `Confidence`.

    References
    ----------
    .. [1] https://relion.readthedocs.io/en/release-4.0/Reference/Conventions.html
    .. [2] https://blake.bcm.edu/emanwiki/Eman2OtherFiles
    """
    path = Path(path)
    probe(path, 1)
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise InputError(f"{shown(path)} is no known table of positions; known are {' '.join(READERS)}.")
    folder = Path(folder) if folder is not None else _project(path) if suffix == ".star" else path.parent
    table, notes = READERS[suffix](path, folder)
    table = finish(path, table)
    _check_images(path, folder, table)
    table.attrs = {"path": str(path), "folder": str(folder), "format": suffix[1:].upper(), "notes": notes}
    return table


def _project(path):
    """Return the RELION project that a STAR file lies in, or its own folder."""
    here = path.resolve().parent
    return next((p for p in (here, *here.parents) if (p / "default_pipeline.star").is_file()), path.parent)


def finish(path, table, *, whole=False):
    """Return the table with its fixed columns first and in their types, after their values were checked.

    Where each image is a `whole` crop, its place in a micrograph may be unknown.
    """
    n = len(table)
    if not n:
        raise InputError(f"{shown(path)} holds no particles; pick some or leave it out.")
    for name in ("row", "column", "box_px", "box_nm", "pixel_size_nm"):
        values = table[name] if name in table else pd.Series(math.nan, table.index)
        values = pd.to_numeric(values, errors="coerce").astype(float)
        table[name] = values
        if name in ("row", "column"):
            wrong = np.isinf(values) if whole else ~np.isfinite(values) & table["index"].isna()
            fault = "is not a finite number"
        else:
            wrong = np.isinf(values) | (values <= 0)
            fault = "is not a positive number"
        if wrong.any():
            raise InputError(
                f"{shown(path)}, {where(table, wrong)}: {name} {fault}; correct or remove that row."
            )
    twice = table["particle"].duplicated()
    if twice.any():
        name = listed(table["particle"][twice][:1])
        raise InputError(
            f"{shown(path)}, {where(table, twice)}: the particle {name} occurs twice; remove one."
        )
    first = ["particle", "image", "index", "micrograph", "row", "column", "box_px", "box_nm", "pixel_size_nm"]
    first = [name for name in first if name in table]
    return table[first + [name for name in table if name not in first]]


def _check_images(path, folder, table):
    """Refuse an image that is missing, outside the folder, or of no readable kind."""
    for line, name in table["image"].drop_duplicates().items():
        place = f"{shown(path)}, {table.index.name} {line}"
        file = inside(folder, name, place)
        suffix = file.with_suffix("").suffix if file.suffix.lower() in (".gz", ".bz2") else file.suffix
        if suffix.lower() not in SUFFIXES:
            raise InputError(
                f"{place}: {listed([name])} is no image that can be read; known are {' '.join(SUFFIXES)}."
            )


def cut(image, rows, columns, box_px):
    """Cut square crops out of a micrograph.

    Parameters
    ----------
    image : (rows, columns) ndarray or memmap
        The micrograph.
    rows, columns : (n,) array of float
        Centres in pixels, 0-based; rounded half up to whole pixels, since resampling would change the noise.
    box_px : int
        Edge of the crops in pixels. Pixel ``box_px // 2`` of a crop is the particle's centre.

    Returns
    -------
    (n, box_px, box_px) float32 ndarray
        The crops. **Border rule**: a centre must lie in the micrograph; pixels of the window that lie outside
        take the median of those inside, which adds no structure, where mirrored ones would add false
        membranes. `coverage` tells how much of each window is real.

    Raises
    ------
    InputError
        If the image is not 2-D, a centre is outside or not finite, or the crops would take too much memory.
    """
    rows, columns = _centres(image, rows, columns, box_px)
    if 4 * len(rows) * box_px**2 > LARGEST_CUT:
        raise InputError(
            f"{len(rows)} crops of {box_px} x {box_px} pixels exceed 1 GiB; cut fewer at a time, or smaller."
        )
    crops = np.empty((len(rows), box_px, box_px), np.float32)
    for crop, top, left in zip(crops, rows - box_px // 2, columns - box_px // 2):
        inner = image[max(top, 0) : top + box_px, max(left, 0) : left + box_px]
        at = max(-top, 0), max(-left, 0)
        if inner.shape != crop.shape:
            crop[:] = np.median(inner)
        crop[at[0] : at[0] + inner.shape[0], at[1] : at[1] + inner.shape[1]] = inner
    return crops


def coverage(shape, rows, columns, box_px):
    """Return the share of each particle's window that lies in the micrograph.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the micrograph.
    rows, columns : (n,) array of float
        Centres, as for `cut`.
    box_px : int
        Edge of the window in pixels.

    Returns
    -------
    (n,) ndarray
        Values in (0, 1]; 1 = the whole window is real.
    """
    shares = [
        (np.minimum(centre - box_px // 2 + box_px, size) - np.maximum(centre - box_px // 2, 0)) / box_px
        for centre, size in zip(_centres(np.broadcast_to(0, shape), rows, columns, box_px), shape)
    ]
    return shares[0] * shares[1]


def _centres(image, rows, columns, box_px):
    """Return centres as whole pixels, after everything that `cut` needs was checked."""
    if np.ndim(image) != 2:
        raise InputError(f"A micrograph has rows and columns; this image has the shape {np.shape(image)}.")
    if isinstance(box_px, bool) or not isinstance(box_px, int | np.integer) or box_px < 1:
        raise InputError(f"box_px must be a whole number of pixels from 1, not {box_px!r}.")
    centres = [np.atleast_1d(np.asarray(values, float)) for values in (rows, columns)]
    if centres[0].ndim != 1 or centres[0].shape != centres[1].shape:
        raise InputError(
            f"Rows and columns must be lists of one length; shapes {centres[0].shape}, {centres[1].shape}."
        )
    for name, values, size in zip(("row", "column"), centres, image.shape):
        wrong = ~((values >= -0.5) & (values < size - 0.5))  # also true for NaN
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise InputError(
                f"Particle number {at + 1} has its {name} at {values[at]:g}, outside the micrograph of "
                f"{image.shape[0]} x {image.shape[1]} pixels; check the binning of the positions."
            )
    return [np.floor(values + 0.5).astype(int) for values in centres]
