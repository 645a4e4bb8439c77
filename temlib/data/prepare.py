"""Crops become one stack of images of one size and scale, written to disk as it grows and mapped from there.

Rows are prepared in parts by threads, which share the mapped file.
"""

import hashlib
import itertools
import os
from contextlib import contextmanager

import numpy as np

from temlib.data import micrographs
from temlib.files import InputError, write_json

# Robust units beyond which a pixel is a defect of the detector rather than a thing in the ice.
CLIP = 8.0
# Share of pixels of one value from which a crop shows nothing: neither its 16th nor its 84th percentile would be an image's.
BLANK = 2 / 3
# Share of pixels at the largest value from which a detector is said to have been saturated.
SATURATED = 0.05
WORTH = 12  # tasks from which processes are worth their start of a second
TOGETHER = 256  # rows of a task, so that a million rows do not become a million tasks
COPIED = 2**28  # bytes up to which a selection of images is a copy, which is what most callers expect
LISTED = 1000  # groups of identical images that are kept


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
        If the crop is constant, nearly so, or holds NaN or infinity.
    """
    return _prepare(crop, input_size, ratio, name)[0]


def _prepare(crop, input_size, ratio, name):
    """Give the prepared crop, and the share of its pixels at the largest value."""
    from PIL import Image

    crop = np.asarray(crop, np.float32)
    least, most = float(crop.min()), float(crop.max())
    if not np.isfinite(most - least):
        raise InputError(f"{name}: the image holds NaN or infinite pixels; export it again or take it out.")
    if least == most:
        raise InputError(f"{name}: all pixels have the value {least:g}; take this image out of the data set.")
    dark, bright = (np.count_nonzero(crop == value) / crop.size for value in (least, most))
    if max(dark, bright) > BLANK:
        raise InputError(
            f"{name}: {max(dark, bright):.0%} of the pixels have the value {least if dark > bright else most:g}, so the "
            "image is saturated or nearly empty; take it out."
        )
    inside = (slice(None), slice(None))
    if ratio is None:
        box = (0, 0, crop.shape[1], crop.shape[0])
    else:
        # The window in source pixels, centred on the crop; whole pixels of padding keep the resampling exact.
        side = input_size / ratio
        inside = tuple(_inner(length * ratio, input_size) for length in crop.shape)
        left, top = (crop.shape[1] - side) / 2, (crop.shape[0] - side) / 2
        pad = max(0, int(np.ceil(-min(left, top))))
        crop = _padded(crop, pad) if pad else crop
        box = (left + pad, top + pad, left + pad + side, top + pad + side)
    size = (input_size, input_size)
    if (crop.shape[1], crop.shape[0]) != size or box != (0, 0, *size):
        # Pillow widens its cubic kernel when it shrinks, so nothing is aliased.
        crop = np.asarray(Image.fromarray(crop).resize(size, Image.Resampling.BICUBIC, box=box))
    # Padding has no noise; counted in, it would make a small particle look loud.
    low, middle, high = _quantiles(crop[inside], (0.16, 0.5, 0.84))
    spread = (high - low) / 2 or float(crop[inside].std()) or 1.0
    result = crop - np.float32(middle)
    result *= np.float32(1 / spread)
    return np.clip(result, -CLIP, CLIP, out=result), bright


def _padded(crop, pad):
    """Put a border of the crop's median around it."""
    large = np.full(
        (crop.shape[0] + 2 * pad, crop.shape[1] + 2 * pad), _quantiles(crop, (0.5,))[0], np.float32
    )
    large[pad:-pad, pad:-pad] = crop
    return large


def _quantiles(image, shares):
    """Give quantiles as np.percentile does; NumPy sorts floats in vector instructions, several times as fast."""
    values = np.sort(image, axis=None)
    places = [share * (values.size - 1) for share in shares]
    pairs = [
        (place - int(place), values[int(place)], values[min(int(place) + 1, values.size - 1)])
        for place in places
    ]
    return [float(low + part * (high - low)) for part, low, high in pairs]


def _inner(length, size):
    """Give the part of a side of `size` pixels that an image of `length` pixels fills, centred."""
    edge = max(0, int(np.ceil((size - length) / 2)))
    return slice(edge, size - edge) if 2 * edge < size else slice(size // 2, size // 2 + 1)


def make(found, scale, pixel_nm, input_size, folder):
    """Prepare all particles of `found` and write `images.npy`, `sides.npy` and `facts.json` into `folder`.

    Parameters
    ----------
    found : sources.Found or the like
        With `table`, `place`, `groups`, `part`, `pixel_sizes`, `load` and `said`.
    scale : {"physical", "fill"}
    pixel_nm : float
        Size of a prepared pixel, in nm.
    input_size : int
    folder : Path

    Notes
    -----
    `sides.npy` holds the side of each crop in its own pixels (the mean of both). `facts.json` holds the `scale` that was
    possible, `pixel_sizes` (runs of length and nm, null = unknown), `notes`, and groups of rows that are `identical`.
    """
    count, chunks, path = len(found.table), list(_chunks(found)), folder / "images.npy"
    sizes = found.table["pixel_size_nm"].to_numpy(float).copy()
    if np.isnan(sizes).any():
        for rows, told, said in _parallel(_sizes_of, found, chunks):
            sizes[rows] = told
            found.said.update(said)
    scale, notes = _scale(found, sizes, scale, pixel_nm, input_size)
    pixel = pixel_nm if scale == "physical" else None
    np.lib.format.open_memmap(path, "w+", np.float32, (count, input_size, input_size)).flush()
    digests, sides, edge, saturated = np.empty(count, np.uint64), np.empty(count, np.float32), 0, 0
    with _workers(found, len(chunks)) as work:
        for rows, result, said in _parallel(work, found, chunks, (path, pixel), sizes):
            digests[rows], sides[rows] = np.array(result["digests"], np.uint64), result["sides"]
            edge, saturated = edge + result["edge"], saturated + result["saturated"]
            found.said.update(said)
    notes = [*_contents(found), *notes]
    if edge:
        notes.append(f"Particles so close to the border that a part of their window is filled: {edge:,}.")
    if saturated:
        notes.append(
            f"Particles with more than {100 * SATURATED:g} % of their pixels at their largest value, from a saturated "
            f"detector or an export that cut the grey levels: {saturated:,}."
        )
    np.save(folder / "sides.npy", sides)
    told = None if np.isnan(sizes).all() else _runs(sizes)
    facts = {"scale": scale, "notes": notes, "identical": _identical(digests), "pixel_sizes": told}
    write_json(folder / "facts.json", facts)


def _chunks(found):
    """Yield row numbers of whole groups, enough of them to be worth a task."""
    rows = []
    for group in found.groups():
        rows += group
        if len(rows) >= TOGETHER:
            yield np.array(rows)
            rows = []
    if rows:
        yield np.array(rows)


def _parallel(work, found, chunks, arguments=(), sizes=None):
    """Yield rows, result and what was said for each chunk, in order; few are under way at a time."""
    from joblib import Parallel, delayed

    tasks = (
        delayed(_task)(work, found.part(rows), *arguments, *(() if sizes is None else (sizes[rows],)))
        for rows in chunks
    )
    with micrographs.quiet():
        results = Parallel(n_jobs=_cores(), backend="threading", return_as="generator")(tasks)
        for rows, (order, result, said) in zip(chunks, results):
            yield rows[order], result, said


@contextmanager
def _workers(found, tasks):
    """Yield what prepares a part: processes where many images lie on disk, else the calling thread."""
    from temlib.data import _worker  # which imports this module
    from temlib.data.crops import Found

    if not isinstance(found, Found) or tasks < WORTH or _cores() == 1:
        yield prepare_part
        return
    with _worker.workers(_cores()) as work:
        yield work


def _cores():
    """Give the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _task(work, part, *arguments):
    """Do `work` on a part of the rows; give their order, the result, and what readers and libraries said."""
    with micrographs.quiet() as warned:
        order, result = work(part, *arguments)
    return order, result, part.said | {("", "", words) for words in warned}


def _sizes_of(part):
    """Give the pixel sizes that a part's table or files state."""
    return slice(None), part.pixel_sizes()


def _runs(values):
    """Write a long list as pairs of length and value: pixel sizes hardly change from row to row."""
    return [
        [len(list(part)), None if np.isnan(value) else value]
        for value, part in itertools.groupby(values.tolist(), key=lambda v: v if v == v else float("nan"))
    ]


def prepare_part(part, path, pixel_nm, sizes):
    """Prepare a part of the rows and write it into the stack at `path`."""
    stack = np.load(path, mmap_mode="r+")
    size = stack.shape[1]
    window = size * pixel_nm if pixel_nm else np.nan
    order, ready, digests, sides, edge, bright = (
        [],
        np.empty((len(sizes), size, size), np.float32),
        [],
        [],
        0,
        0,
    )
    for group in part.groups():
        for i, crop, beyond in part.load(group, sizes, window):
            ratio = sizes[i] / pixel_nm if pixel_nm else None
            ready[i], share = _prepare(crop, size, ratio, part.place(i))
            digests.append(int.from_bytes(hashlib.blake2b(ready[i], digest_size=8).digest(), "big"))
            order.append(i)
            sides.append(sum(crop.shape) / 2)
            edge += bool(beyond)
            bright += bool(share > SATURATED)
    stack[part.rows] = ready
    return order, {"digests": digests, "sides": sides, "edge": edge, "saturated": bright}


def _scale(found, sizes, scale, pixel_nm, input_size):
    """Decide the scale from what is known of pixel sizes, and say so."""
    unknown = np.isnan(sizes)
    if scale == "physical" and unknown.any() and not unknown.all():
        i = int(np.flatnonzero(unknown)[0])
        raise InputError(
            f"{found.place(i)}: the pixel size is unknown here and known elsewhere ({unknown.sum():,} of {len(sizes):,} "
            "particles lack it); add it as 'pixel_size_nm', or choose scale: fill."
        )
    known = sizes[~unknown]
    spread = f"{known.min():.4g} to {known.max():.4g}" if known.size and np.ptp(known) > 0 else ""
    if scale == "physical" and known.size:
        notes = [
            f"Every particle is shown at {pixel_nm:g} nm a pixel, in a window of {input_size * pixel_nm:g} nm; "
            f"its own pixels have {spread or f'{known[0]:.4g}'} nm, as the {_tellers(found)} say."
        ]
        return "physical", notes
    if scale == "physical":
        why = "The pixel size is not known, so each particle's box fills the image and its size is lost."
        return "fill", [why]
    notes = ["Each particle's box fills the image (scale: fill), so its size is lost."]
    if spread:
        notes.append(
            f"Pixel sizes differ ({spread} nm) and each box fills the image: a network can tell magnifications apart."
        )
    return "fill", notes


def _tellers(found):
    """Say who told the pixel sizes."""
    told = found.table["pixel_size_nm"].notna()
    return (
        "table and the files"
        if told.any() and not told.all()
        else "rows of the table"
        if told.any()
        else "files"
    )


def _contents(found):
    """Say what kinds of files were read, and what their readers noted."""
    files, notes = {}, []
    for form, kind, note in sorted(getattr(found, "said", ())):
        if note:
            notes.append(note)
        else:
            files.setdefault(form, []).append(kind)
    words = "; ".join(f"{form} of {', '.join(kinds)}" for form, kinds in sorted(files.items()))
    # Every PNG lacks a pixel size: the sentence about the scale says that once.
    kept = [note for note in dict.fromkeys(notes) if not note.startswith(("A PNG states", "A JPEG states"))]
    return [*([f"Images: {words}."] if words else []), *kept[:5]]


def _identical(digests):
    """Give groups of rows whose prepared images are equal, the first ones where there are many."""
    order = np.argsort(digests, kind="stable")
    ends = np.flatnonzero(np.diff(digests[order])) + 1
    starts = np.concatenate([[0], ends])
    sizes = np.diff(np.concatenate([starts, [len(digests)]]))
    return [order[s : s + n].tolist() for s, n in zip(starts[sizes > 1], sizes[sizes > 1])][:LISTED]


class Rows:
    """Some rows of a mapped stack, read when they are asked for; indexed like an array along its first axis."""

    def __init__(self, images, rows):
        self._images, self._rows = images, np.asarray(rows)
        self.shape, self.dtype, self.ndim = (len(self._rows), *images.shape[1:]), images.dtype, images.ndim

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, key):
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        chosen = self._images[self._rows[first]]
        return chosen[(slice(None),) * (np.ndim(self._rows[first])) + rest] if rest else chosen

    def __iter__(self):
        return (self._images[i] for i in self._rows)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._images[self._rows], dtype)


def select(images, rows):
    """Give rows of a stack: a copy where that is small, else a `Rows` that reads them later."""
    if len(rows) * images[0].nbytes <= COPIED:
        return np.asarray(images[rows])
    return images if len(rows) == len(images) else Rows(images, rows)
