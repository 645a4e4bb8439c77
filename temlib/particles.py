"""The data set: open it, check it, bring it to one scale, split it by micrograph.

`open` takes the word `simulated`, a folder of class folders, or a manifest CSV, and gives a `Particles`: one table and
one stack of images, row by row. A split never divides a micrograph.
"""

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from temlib.files import InputError

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".mrc")
# Columns with a meaning of their own; a task is any other text column.
RESERVED = (
    "image",
    "particle",
    "micrograph",
    "session",
    "pixel_size_nm",
    "row",
    "column",
    "box_px",
    "box_nm",
    "fold",
)
# Robust units beyond which a pixel is a defect of the detector rather than a thing in the ice.
CLIP = 8.0


@dataclass(frozen=True)
class Particles:
    """Particles ready for learning: row `i` of `table` belongs to `images[i]`.

    Attributes
    ----------
    table : DataFrame
        One row a particle; see docs/architecture.md.
    images : (n, rows, columns) ndarray of float32
        Zero median and unit robust spread each.
    source : str
        Where they came from.
    notes : tuple of str
        What was found and assumed, one sentence each.
    scale : str
        `physical` or `fill`.
    pixel_nm : float
        Size of a pixel of `images`, in nm; NaN where unknown.
    simulated : bool
    """

    table: pd.DataFrame
    images: np.ndarray = field(repr=False)
    source: str
    notes: tuple
    scale: str
    pixel_nm: float
    simulated: bool

    def __len__(self):
        return len(self.table)

    @property
    def tasks(self):
        """The label columns."""
        return tasks_of(self.table)

    def labelled(self, task):
        """Give the particles that have a label for `task`."""
        keep = self.table[task].notna().to_numpy()
        if keep.all():
            return self
        values = {
            **self.__dict__,
            "table": self.table[keep].reset_index(drop=True),
            "images": self.images[keep],
        }
        return Particles(**values)

    def _repr_html_(self):
        words = "".join(f"<li>{note}</li>" for note in self.notes)
        count = f"{len(self):,} particles in {self.table['micrograph'].nunique()} micrographs"
        warning = (
            '<div class="simulated"><strong>Simulated data.</strong> These particles were made by temlib\'s simulator; '
            "nothing here was measured on a sample.</div>"
        )
        return f"{warning if self.simulated else ''}<p><strong>{count}</strong></p><ul>{words}</ul>"


def tasks_of(table):
    """Give the columns of a particles table that are a question with 2 to 20 named answers."""
    found = []
    for name in table.columns:
        if name in RESERVED or name.startswith(("truth_", "p_")) or "@" in name or is_number(table[name]):
            continue
        if 2 <= table[name].nunique() <= 20:
            found.append(name)
    return found


def is_number(column):
    """Tell whether every value of a column reads as a number."""
    return pd.to_numeric(column.dropna(), errors="coerce").notna().all()


def open(source, *, count=600, seed=1, scale="physical", pixel_nm=2.0, input_size=64):
    """Open a data set and bring it to one scale.

    Parameters
    ----------
    source : str or Path
        `simulated`; a folder whose sub-folders are the classes; or a manifest CSV with a column `image` (relative to
        it), label columns named by task, and optionally `particle`, `micrograph`, `pixel_size_nm`.
    count, seed : int
        Number and seed of simulated particles.
    scale : {"physical", "fill"}
        `physical`: every crop at `pixel_nm`, padded with its median or cut to `input_size`; used where all pixel
        sizes are known. `fill`: the whole box resized to `input_size`, so that size is lost.
    pixel_nm : float
        Size of a prepared pixel, in nm.
    input_size : int
        Rows and columns of a prepared image, in pixels.

    Returns
    -------
    Particles

    Raises
    ------
    InputError
        For a missing, unreadable, constant or non-finite image, duplicate ids, a path that leaves the folder.
    """
    source = str(source)
    table, load, notes = _simulated(count, seed) if source == "simulated" else _from_disk(Path(source))
    known = "pixel_size_nm" in table and table["pixel_size_nm"].notna().all()
    if scale == "physical" and not known:
        scale = "fill"
        notes.append(
            "The pixel size is not known, so each particle's box fills the image and its size is lost."
        )
    elif scale == "physical":
        notes.append(
            f"Every particle is shown at {pixel_nm:g} nm a pixel, in a window of {input_size * pixel_nm:g} nm."
        )
    else:
        notes.append("Each particle's box fills the image (scale: fill), so its size is lost.")
    if not known:
        table["pixel_size_nm"] = np.nan
    ratios = table["pixel_size_nm"] / pixel_nm if scale == "physical" else [None] * len(table)
    images = np.empty((len(table), input_size, input_size), np.float32)
    for i, ratio in enumerate(ratios):
        crop, name = load(i)
        images[i] = prepare(crop, input_size, ratio=ratio, name=name)
    return Particles(
        table=table,
        images=images,
        source=source,
        notes=tuple(notes),
        scale=scale,
        pixel_nm=pixel_nm if scale == "physical" else float("nan"),
        simulated=any(name.startswith("truth_") for name in table),
    )


def prepare(crop, input_size, *, ratio=None, name="crop"):
    """Bring one crop to the size and the intensities that a network sees.

    Parameters
    ----------
    crop : (M, N) ndarray
    input_size : int
        Rows and columns of the result, in pixels.
    ratio : float, optional
        Size of a crop's pixel over that of a prepared pixel; None resizes the whole crop.
    name : str
        The crop's name for messages.

    Returns
    -------
    (input_size, input_size) ndarray of float32
        Zero median, unit robust spread (half the distance between the 16th and 84th percentile), clipped at ±8.

    Raises
    ------
    InputError
        If the crop is constant or holds NaN or infinity.
    """
    from PIL import Image

    crop = np.asarray(crop, np.float32)
    if not np.isfinite(crop).all():
        raise InputError(f"{name}: the image holds NaN or infinite pixels; export it again or take it out.")
    if crop.min() == crop.max():
        raise InputError(
            f"{name}: all pixels have the value {crop.flat[0]:g}; take this image out of the data set."
        )
    middle, inside = float(np.median(crop)), (slice(None), slice(None))
    if ratio is None:
        box = (0, 0, crop.shape[1], crop.shape[0])
    else:
        # The window in source pixels, centred on the crop; whole pixels of padding keep the resampling exact.
        side = input_size / ratio
        inside = tuple(_inner(length * ratio, input_size) for length in crop.shape)
        left, top = (crop.shape[1] - side) / 2, (crop.shape[0] - side) / 2
        pad = max(0, int(np.ceil(-min(left, top))))
        crop = np.pad(crop, pad, constant_values=middle) if pad else crop
        box = (left + pad, top + pad, left + pad + side, top + pad + side)
    size = (input_size, input_size)
    if (crop.shape[1], crop.shape[0]) != size or box != (0, 0, *size):
        # Pillow widens its cubic kernel when it shrinks, so nothing is aliased.
        crop = np.asarray(Image.fromarray(crop).resize(size, Image.Resampling.BICUBIC, box=box))
    # Padding has no noise; counted in, it would make a small particle look loud.
    low, middle, high = np.percentile(crop[inside], (16, 50, 84))
    spread = (high - low) / 2 or float(crop.std()) or 1.0
    return np.clip((crop - middle) / spread, -CLIP, CLIP).astype(np.float32)


def _inner(length, size):
    """Give the part of a side of `size` pixels that an image of `length` pixels fills, centred."""
    edge = max(0, int(np.ceil((size - length) / 2)))
    return slice(edge, size - edge) if 2 * edge < size else slice(size // 2, size // 2 + 1)


def _simulated(count, seed):
    from temlib import simulate

    table, crops = simulate.crops(count, seed=seed)
    notes = [
        f"Simulated by temlib with seed {seed}: {table['micrograph'].nunique()} micrographs of cryo-TEM liposomes."
    ]
    return table, lambda i: (crops[i], table["particle"].iloc[i]), notes


def _from_disk(path):
    if path.is_dir():
        table, root, notes = _class_folders(path)
    elif path.is_file():
        table, root, notes = _manifest(path)
    else:
        raise InputError(f"{path}: there is no such file or folder; correct 'particles'.")
    _check_ids(table, path)
    return table, partial(_load, table["image"].tolist(), root), notes


def _class_folders(folder):
    """Read a folder whose sub-folders are named by class."""
    rows = [
        (image.relative_to(folder).as_posix(), sub.name)
        for sub in sorted(folder.iterdir())
        if sub.is_dir()
        for image in sorted(sub.iterdir())
        if image.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not rows:
        raise InputError(
            f"{folder}: no class folder with images ({', '.join(IMAGE_SUFFIXES)}) in it; see the README."
        )
    table = pd.DataFrame(rows, columns=["image", "class"], dtype=str)
    table["particle"], table["micrograph"] = table["image"], table["image"]
    notes = [
        f"Read from the class folders of {folder.name}/; the task is called 'class'.",
        "A folder of class folders does not say which particles share a micrograph, so each counts as its own: "
        "scores may be optimistic and intervals too narrow. A manifest with a column 'micrograph' cures this.",
    ]
    return table, folder, notes


def _manifest(path):
    """Read a manifest CSV with a column `image`."""
    try:
        table = pd.read_csv(path, dtype=str, encoding="utf-8-sig", keep_default_na=False, na_values=[""])
    except (UnicodeDecodeError, ValueError) as error:
        raise InputError(
            f"{path}: this is not a CSV table in UTF-8 ({str(error).splitlines()[0]})."
        ) from None
    if "image" not in table:
        raise InputError(f"{path}: there is no column 'image'; the columns are {', '.join(table.columns)}.")
    if table.empty:
        raise InputError(f"{path}: the manifest has no rows; add one row a particle.")
    missing = table.index[table["image"].isna()]
    if len(missing):
        raise InputError(f"{path}, row {missing[0] + 2}: 'image' is empty; name the particle's image.")
    root = path.parent.resolve()
    for row, name in zip(table.index, table["image"]):
        _inside(path, row, root, name)
    notes = [f"Read from {path.name}: {len(table):,} rows, columns {', '.join(table.columns)}."]
    if "particle" not in table:
        table["particle"] = table["image"]
    if "micrograph" not in table:
        table["micrograph"] = table["particle"]
        notes.append(
            "There is no column 'micrograph', so each particle counts as its own: scores may be optimistic and "
            "intervals too narrow."
        )
    lost = table.index[table["micrograph"].isna()]
    if len(lost):
        raise InputError(
            f"{path}, row {lost[0] + 2}: 'micrograph' is empty; name the micrograph of every particle."
        )
    if "pixel_size_nm" in table:
        sizes = pd.to_numeric(table["pixel_size_nm"], errors="coerce")
        wrong = table.index[(sizes.isna() & table["pixel_size_nm"].notna()) | (sizes <= 0)]
        if len(wrong):
            value = table["pixel_size_nm"][wrong[0]]
            raise InputError(
                f"{path}, row {wrong[0] + 2}: 'pixel_size_nm' should be a length in nm, but is {value!r}."
            )
        table["pixel_size_nm"] = sizes
    return table, root, notes


def _inside(path, row, root, name):
    """Refuse an image path that leaves the manifest's folder, as text or through a link."""
    place = f"{path}, row {row + 2}"
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(
            f"{place}: the image path '{name}' leaves the manifest's folder; put the image inside it."
        )
    real = os.path.realpath(root / name)
    if os.path.commonpath([real, root]) != str(root):
        raise InputError(
            f"{place}: the image '{name}' is a link that leaves the manifest's folder; copy the image."
        )


def _check_ids(table, path):
    twice = [name for name, times in Counter(table["particle"]).items() if times > 1]
    if twice:
        rows = ", ".join(str(i + 2) for i in table.index[table["particle"] == twice[0]][:3])
        raise InputError(
            f"{path}, rows {rows}: the particle id '{twice[0]}' stands more than once; make ids unique."
        )


def _load(names, root, i):
    """Read image `i`, one grey channel."""
    path = root / names[i]
    place = f"{names[i]} (row {i + 2})"
    if not path.is_file():
        raise InputError(f"{place}: there is no such image in {root}; correct the path or take the row out.")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(
            f"{place}: '{path.suffix}' is not read; convert it to one of {', '.join(IMAGE_SUFFIXES)}."
        )
    try:
        image = _read_pixels(path)
    except Exception as error:  # every reader has its own errors for damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{place}: the image cannot be read ({reason}); export it again or take it out."
        ) from None
    if image.ndim == 3 and image.shape[-1] in (3, 4):
        image = image[..., :3].mean(axis=-1)
    if image.ndim != 2:
        raise InputError(f"{place}: one grey image is needed, but this has the shape {image.shape}.")
    return image, place


def _read_pixels(path):
    kind = path.suffix.lower()
    if kind == ".png":
        from PIL import Image

        with Image.open(path) as opened:
            return np.asarray(opened)
    if kind == ".mrc":
        import mrcfile

        with mrcfile.open(path, permissive=False) as opened:
            return np.array(opened.data).squeeze()
    import tifffile

    return np.asarray(tifffile.imread(path)).squeeze()


def check_task(table, task, *, folds=2, where="particles"):
    """Refuse a task that cannot be learnt or evaluated with `folds` folds.

    Parameters
    ----------
    table : DataFrame
        Particles.
    task : str
    folds : int
    where : str
        The place to name in the message.

    Raises
    ------
    InputError
        If the column is missing, has one class only, or there are fewer micrographs than folds.
    """
    if task not in table:
        raise InputError(
            f"{where}: there is no column for the task '{task}'; the columns that could be a task are "
            f"{', '.join(tasks_of(table)) or 'none'}."
        )
    labels = table[task].dropna()
    if labels.nunique() < 2:
        raise InputError(
            f"{where}: the task '{task}' has only the class '{labels.iloc[0] if len(labels) else ''}'; "
            "two classes at least are needed."
        )
    groups = table.loc[labels.index, "micrograph"]
    if groups.nunique() < folds:
        raise InputError(
            f"{where}: there are {groups.nunique()} micrographs but 'folds' is {folds}; lower 'folds' or add micrographs."
        )
    rarest = labels.groupby(labels).apply(lambda part: groups.loc[part.index].nunique())
    if rarest.min() < 2:
        raise InputError(
            f"{where}: all particles of the class '{rarest.idxmin()}' of '{task}' come from one micrograph, so it "
            "cannot be learnt and tested on different ones; add micrographs or merge the class."
        )


def check(*, particles, task, folds, scale, pixel_nm, input_size):
    """Open the user's data as the notebooks will, and refuse what they could not use; see `open` and `check_task`."""
    opened = open(particles, scale=scale, pixel_nm=pixel_nm, input_size=input_size)
    check_task(opened.table, task, folds=folds, where=particles)
    if "fold" in opened.table:
        check_folds(opened.table, opened.table["fold"])


def split(table, task, *, folds, seed):
    """Divide particles into folds that keep micrographs whole and classes balanced.

    Parameters
    ----------
    table : DataFrame
        Particles that all have a label for `task`. A column `fold` (the user's own) is taken as it is.
    task : str
    folds : int
    seed : int

    Returns
    -------
    (n,) ndarray of int
        The fold in which a particle is held out, from 1.

    Raises
    ------
    InputError
        If the user's folds divide a micrograph.

    See Also
    --------
    sklearn.model_selection.StratifiedGroupKFold
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if "fold" in table:
        check_folds(table, table["fold"])
        return table["fold"].astype("category").cat.codes.to_numpy() + 1
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    result = np.zeros(len(table), int)
    for fold, (_, held) in enumerate(splitter.split(table, table[task], table["micrograph"]), start=1):
        result[held] = fold
    check_folds(table, result)
    return result


def check_folds(table, folds):
    """Refuse folds that divide a micrograph, and name those micrographs."""
    count = pd.Series(np.asarray(folds)).groupby(table["micrograph"].to_numpy()).nunique()
    divided = count.index[count > 1].tolist()
    if divided:
        more = f" and {len(divided) - 3} more" if len(divided) > 3 else ""
        raise InputError(
            f"fold: {len(divided)} micrographs lie in several folds ({', '.join(map(str, divided[:3]))}{more}), so "
            "particles leak between training and test; give each micrograph one fold."
        )


def near_duplicates(particles, *, least=0.98):
    """Find pairs of particles of different micrographs that look the same.

    Parameters
    ----------
    particles : Particles
    least : float
        Correlation of the images, reduced to 16×16 pixels, from which a pair is listed, in (0, 1].

    Returns
    -------
    DataFrame
        `first, second, correlation`, most alike first.
    """
    n, size = len(particles), particles.images.shape[-1]
    edges = np.linspace(0, size, 17).astype(int)[:-1]
    small = np.add.reduceat(np.add.reduceat(particles.images, edges, axis=1), edges, axis=2).reshape(n, -1)
    small = small - small.mean(axis=1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True) + 1e-12
    groups, names = particles.table["micrograph"].to_numpy(), particles.table["particle"].to_numpy()
    rows = []
    for start in range(0, n, 1000):
        alike = small[start : start + 1000] @ small.T  # (block, n)
        for i, j in np.argwhere(alike >= least):
            first = start + i
            if first < j and groups[first] != groups[j]:
                rows.append((names[first], names[j], float(alike[i, j])))
    table = pd.DataFrame(rows, columns=["first", "second", "correlation"])
    return table.sort_values("correlation", ascending=False, ignore_index=True)


def identical(particles):
    """List prepared images that stand more than once, as groups of particle names."""
    seen = {}
    for name, image in zip(particles.table["particle"], particles.images):
        seen.setdefault(hashlib.sha1(image.tobytes(), usedforsecurity=False).hexdigest(), []).append(name)
    return [names for names in seen.values() if len(names) > 1]
