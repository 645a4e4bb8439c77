"""Crops become one stack of images of one size and scale, written to disk as it grows and mapped from there.

Many small files are prepared by processes, since decoding them holds Python's lock, otherwise by threads; all share the
mapped file.
"""

import hashlib
import math
import os
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pandas as pd
from PIL import Image

from temlib.data import micrographs
from temlib.data.crops import Found
from temlib.data.labels import is_definite
from temlib.files import InputError, natural, shown, write_json

# Robust units beyond which a pixel is a defect of the detector rather than a thing in the ice.
CLIP = 8.0
# What `prepare` makes of a crop; a model that was trained on others refuses.
PREPARATION = {"median": 0.0, "spread": 1.0, "clip": CLIP, "resampling": "bicubic, widened where it shrinks"}
# Share of pixels of one value from which a crop shows nothing: neither its 16th nor its 84th percentile would be an image's.
BLANK = 2 / 3
# Share of pixels at the largest value from which a detector is said to have been saturated.
SATURATED = 0.05
WORTH = 12  # tasks from which processes are worth their start of a second
TOGETHER = 256  # rows of a task, so that a million rows do not become a million tasks
IDLE_S = 20  # seconds that a process without work waits for the next data set before it ends
COPIED = 2**28  # bytes up to which a selection of images is a copy, which is what most callers expect
LISTED = 1000  # groups of identical images that are kept
# What a task looks for, and how far it is apart in nm: head groups of a DPPC bilayer, and DPPC bilayers between gel and fluid
# (J. F. Nagle, S. Tristram-Nagle, Biochim. Biophys. Acta 1469 (2000) 159, doi:10.1016/S0304-4157(00)00016-2; PMC3472766).
DETAILS = {"lamellarity": {"the two leaflets of a bilayer": 4.0, "neighbouring bilayers": 6.5}}
# What is chosen where the user leaves it to the boxes: the least and the largest image, and pixels of a box of a physical size.
FILL_PX, PHYSICAL_PX, BOX_PX = (28, 40), (28, 64), 64
UNSTATED = (3.0, 40)  # nm/pixel and pixels of a window where no box is stated
SAMPLED = 400  # boxes that are looked at, evenly
FEWEST_PX, LARGEST_PX = 12, 512  # pixels a side of a prepared image; a particle on fewer is a blot
LARGEST_WINDOW = 2**13  # of a particle's own pixels a side that are padded: a quarter of a gigabyte
PADDED = 0.5  # share of padding from which a smaller window is advised
MOST = 0.9  # share of the boxes that a window should hold
# Share of pairs of particles, and standard errors of chance, from which a class is said to be told from the rest.
TOLD, CLEAR = 0.75, 2.5
BOX_NM = (3.0, 5000.0)  # no particle is smaller, and hardly a field of view larger
# What is found of each particle on the way.
FACTS = np.dtype([("digest", "u8"), ("shape", "i4", 2), ("edge", "?"), ("saturated", "?"), ("masked", "?")])


def prepare(crop, input_size, *, ratio=None):
    """Return a crop, (M, N), at the size and the intensities that a network sees, (input_size, input_size).

    `ratio` is the size of a crop's pixel over that of a prepared pixel; None resizes the whole crop, so that its longer side
    fills the image. What the crop does not fill is padded with its median. The result has zero median, unit robust spread
    (half the distance between the 16th and 84th percentile), and is clipped at ±8; padding does not count, nor a
    background that was masked to one value, which becomes zero. A crop that is constant, nearly so, or not finite raises
    `InputError`.
    """
    return _prepared(np.asarray(crop, np.float32), input_size, ratio)[0]


def _prepared(crop, size, ratio):
    """Return what `prepare` does, the share of the crop's pixels at their largest value, and whether it is masked."""
    mask = _mask(crop)
    rest = crop if mask is None else crop[~mask]
    bright = _checked(rest)
    if mask is not None:
        fill = _quantiles(rest, (0.5,))[0]
        crop = np.where(mask, np.float32(fill), crop)
    if ratio is None and crop.shape[0] != crop.shape[1]:
        ratio = size / max(crop.shape)
    inside, box, pad = ..., (0, 0, crop.shape[1], crop.shape[0]), (0, 0)
    if ratio is not None:
        # The window in source pixels, centred on the crop; whole pixels of padding keep the resampling exact.
        side = size / ratio
        inside = tuple(_inner(length * ratio, size) for length in crop.shape)
        top, left = ((length - side) / 2 for length in crop.shape)
        if side > max(LARGEST_WINDOW, *crop.shape):
            fault = f"the image's window takes {side:.3g} of the particle's own pixels"
            raise InputError(f"{fault}, more than {LARGEST_WINDOW:,}; check its pixel size and 'pixel_nm'.")
        pad = tuple(max(0, math.ceil(-edge)) for edge in (top, left))
        crop = _padded(crop, *pad) if any(pad) else crop
        top, left = top + pad[0], left + pad[1]
        box = (left, top, left + side, top + side)
    if crop.shape != (size, size) or box != (0, 0, size, size):
        crop = _resized(crop, size, box)
    # Padding has no noise; counted in, it would make a small particle look loud.
    counted = crop[inside]
    if mask is not None:
        mask = np.pad(np.uint8(~mask), [(n, n) for n in pad])
        mask = Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST, box=box)
        counted = counted[np.asarray(mask)[inside] > 0]
        if not counted.size:
            raise InputError("the window shows only masked background; widen it or take the image out.")
    low, middle, high = _quantiles(counted, (0.16, 0.5, 0.84))
    spread = (high - low) / 2 or float(counted.std()) or 1.0
    result = crop - np.float32(middle if mask is None else fill)
    result *= np.float32(1 / spread)
    return np.clip(result, -CLIP, CLIP, out=result), bright, mask is not None


def _mask(crop):
    """Return where the background of a crop was set to one value, None where it was not.

    Its corners have that value, and what has it lies together, as does the rest: neither is scattered as saturated or dead
    pixels are.
    """
    value = crop[0, 0]
    if not value == crop[0, -1] == crop[-1, 0] == crop[-1, -1]:
        return None
    mask = crop == value
    rest = crop[~mask]
    masked = rest.size and rest.min() < rest.max() and _together(mask) and _together(~mask)
    return mask if masked else None


def _together(mask):
    """Return whether true pixels have more true neighbours to the left than halfway from chance to all of them."""
    pairs, count = np.count_nonzero(mask[:, 1:] & mask[:, :-1]), np.count_nonzero(mask[:, 1:])
    return pairs > count * (1 + mask.mean()) / 2


def _resized(image, size, box=None):
    """Return an image, or the part of it in `box`, at (size, size)."""
    # Pillow widens its cubic kernel when it shrinks, so nothing is aliased.
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC, box=box))


def _checked(crop):
    """Return the share of pixels at the largest value, and refuse a crop that shows nothing."""
    least, most = float(crop.min()), float(crop.max())
    if not math.isfinite(most - least):
        raise InputError("the image holds NaN or infinite pixels; export it again or take it out.")
    if least == most:
        raise InputError(f"all pixels have the value {least:g}; take this image out of the data set.")
    dark, bright = (np.count_nonzero(crop == value) / crop.size for value in (least, most))
    share, value = max((dark, least), (bright, most))
    if share > BLANK:
        fault = f"{share:.0%} of the pixels have the value {value:g}"
        raise InputError(f"{fault}, so the image is saturated or nearly empty; take it out.")
    return bright


def _padded(crop, above, beside):
    """Return a crop with a border of its median, as np.pad does in ten times the time."""
    rows, columns = crop.shape
    shape = rows + 2 * above, columns + 2 * beside
    large = np.full(shape, _quantiles(crop, (0.5,))[0], np.float32)
    large[above : above + rows, beside : beside + columns] = crop
    return large


def _quantiles(image, shares):
    """Return quantiles as np.percentile does; NumPy sorts floats in vector instructions, several times as fast."""
    values, found = np.sort(image, axis=None), []
    for share in shares:
        at = share * (values.size - 1)
        low, high = values[int(at)], values[min(int(at) + 1, values.size - 1)]
        found.append(float(low + (at - int(at)) * (high - low)))
    return found


def _inner(length, size):
    """Return the part of a side of `size` pixels that an image of `length` pixels fills, centred."""
    edge = max(0, math.ceil((size - length) / 2))
    return slice(edge, size - edge) if 2 * edge < size else slice(size // 2, size // 2 + 1)


def make(found, scale, pixel_nm, input_size, skip_bad, folder):
    """Prepare all particles of `found` (see `crops`) and write them into `folder`, but for a share `skip_bad` that cannot be used.

    `images.npy` holds the images; `measures.npy`, for each, the rows and columns of its crop and the size of its pixel in
    nm; `facts.json` the `scale` that was possible, its `pixel_nm`, `notes`, groups of `identical` rows, and which of the
    particles were `skipped`, and why.
    """
    count, chunks, path = len(found.table), list(_chunks(found)), folder / "images.npy"
    sizes = found.table["pixel_size_nm"].to_numpy(float).copy()
    if np.isnan(sizes).any():
        tasks = ((Found.pixel_sizes, found.part(rows)) for rows in chunks)
        for told, rows in zip(_done(found, tasks, "threading"), chunks):
            sizes[rows] = told
    scale, notes = _scale(found, sizes, scale)
    pixel_nm, input_size, told = chosen(
        lambda rows: found.part(rows).boxes(sizes[rows]), sizes, scale, pixel_nm, input_size
    )
    notes += [*told, *_shown(found, sizes[sizes > 0], pixel_nm, input_size)] if scale == "physical" else told
    pixel = pixel_nm if scale == "physical" else None
    np.lib.format.open_memmap(path, "w+", np.float32, (count, input_size, input_size)).flush()
    many = isinstance(found, Found) and len(chunks) >= WORTH and _cores() > 1
    tasks = ((prepare_part, found.part(rows), path, rows, sizes[rows], pixel) for rows in chunks)
    facts, skipped = np.empty(count, FACTS), {}
    for (part, faults), rows in zip(_done(found, tasks, "loky" if many else "threading"), chunks):
        facts[rows] = part
        skipped |= {int(rows[i]): fault for i, fault in faults.items()}
    notes = [*_contents(found), *notes]
    if skipped or facts["edge"].any():
        skipped = found.left_out(skipped, facts["edge"], skip_bad)
    if skipped:
        notes.append(found.note(skipped, skip_bad))
        kept = np.delete(np.arange(count), list(skipped))
        facts, sizes = facts[kept], sizes[kept]
        _keep(path, kept)
    if edge := facts["edge"].sum():
        stay = ", and kept since they are more than skip_bad may leave out" if skip_bad else ""
        notes.append(
            f"Particles so close to the border that part of their window was filled{stay}: {edge:,}."
        )
    if saturated := facts["saturated"].sum():
        which = f"Particles with more than {100 * SATURATED:g} % of their pixels at their largest value"
        why = "from a saturated detector or an export that clipped the grey levels"
        notes.append(f"{which}, {why}: {saturated:,}.")
    if masked := facts["masked"].sum():
        which = "Particles whose background has one value, as a mask leaves it"
        notes.append(f"{which}; it counts neither for their median nor for their spread: {masked:,}.")
    if oblong := (facts["shape"][:, 0] != facts["shape"][:, 1]).sum():
        kept = "shapes are kept: the shorter side is padded with the median, which counts neither for median nor spread"
        notes.append(f"Crops that are not square, whose {kept}: {oblong:,} of {len(facts):,}.")
    np.save(folder / "measures.npy", np.column_stack([facts["shape"], sizes]))
    identical = _identical(facts["digest"])
    shown = {"scale": scale, "pixel_nm": pixel}
    shown |= {"notes": notes, "identical": identical, "skipped": sorted(skipped.items())}
    write_json(folder / "facts.json", shown)


def _keep(path, rows):
    """Leave only some rows in the stack at `path`."""
    whole, part = np.load(path, mmap_mode="r"), path.with_name("kept.npy")
    kept = np.lib.format.open_memmap(part, "w+", whole.dtype, (len(rows), *whole.shape[1:]))
    for start in range(0, len(rows), TOGETHER):
        kept[start : start + TOGETHER] = whole[rows[start : start + TOGETHER]]
    kept.flush()
    del whole, kept  # some systems replace no file that is mapped
    part.replace(path)


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


def _done(found, tasks, backend):
    """Yield the results of tasks `(function, part, …)` in order, few under way at a time, and keep what was said."""
    from joblib import Parallel, delayed

    parallel = Parallel(_cores(), backend=backend, return_as="generator", idle_worker_timeout=IDLE_S)
    try:
        # Threads share Python's filters of warnings, so what is said in them is collected here.
        with micrographs.quiet() as warned:
            for result, said in parallel(delayed(_task)(*task) for task in tasks):
                found.said.update(said)
                yield result
        found.said.update(("", "", words) for words in warned)
    except BrokenProcessPool:
        fault = "A process that prepared images was killed, perhaps because memory ran out"
        raise InputError(f"{fault}; lower 'input_size'.") from None


def _cores():
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _task(work, part, *arguments):
    """Do `work` on a part of the rows; return the result, and what readers and libraries said."""
    with micrographs.quiet() as warned:
        result = work(part, *arguments)
    return result, part.said | {("", "", words) for words in warned}


def prepare_part(part, path, rows, sizes, pixel_nm):
    """Prepare a part of the rows, write it into the stack at `path`, and return `FACTS`, and {row: why it cannot be used}."""
    stack = np.load(path, mmap_mode="r+")
    size = stack.shape[1]
    window = size * pixel_nm if pixel_nm else np.nan
    ready, facts = np.zeros((len(sizes), size, size), np.float32), np.zeros(len(sizes), FACTS)
    faults = {}
    for group in part.groups():
        for i, crop, edge in part.load(group, sizes, window):
            ratio = sizes[i] / pixel_nm if pixel_nm else None
            if isinstance(crop, InputError):
                faults[i] = str(crop)
                continue
            try:
                ready[i], bright, masked = _prepared(np.asarray(crop, np.float32), size, ratio)
            except InputError as error:
                faults[i] = str(error)
                continue
            digest = hashlib.blake2b(ready[i], digest_size=8).digest()
            facts[i] = int.from_bytes(digest, "big"), crop.shape, edge, bright > SATURATED, masked
    stack[rows] = ready
    return facts, faults


def _scale(found, sizes, scale):
    """Return the scale that what is known of pixel sizes allows, and sentences about it where each box fills the image."""
    unknown = np.isnan(sizes)
    known = sizes[sizes > 0]
    spread = f"{known.min():.4g} to {known.max():.4g}" if known.size and np.ptp(known) > 0 else ""
    if scale == "fill":
        notes = ["Each particle's box fills the image (scale: fill), so its size is lost."]
        if spread:
            told = "each box fills the image: a network can tell magnifications apart"
            notes.append(f"Pixel sizes differ ({spread} nm) and {told}.")
        return "fill", notes
    if not known.size:
        lost = "so each particle's box fills the image and its size is lost"
        return "fill", [f"The pixel size is not known, {lost}."]
    if unknown.any():
        lack = f"{unknown.sum():,} of {len(sizes):,} particles lack it"
        fault = f"the pixel size is unknown here and known elsewhere ({lack})"
        cure = "add it as 'pixel_size_nm', or choose scale: fill"
        raise InputError(f"{found.place(np.flatnonzero(unknown))}: {fault}; {cure}.")
    return "physical", []


def _shown(found, sizes, pixel_nm, input_size):
    """Return a sentence on the window and the pixels of particles that are shown at one pixel size."""
    told = found.table["pixel_size_nm"].notna()
    who = "rows of the table" if told.all() else "table and the files" if told.any() else "files"
    shown = f"Every particle is shown at {pixel_nm:g} nm/pixel, in a window of {input_size * pixel_nm:g} nm"
    own = f"{sizes.min():.4g} to {sizes.max():.4g}" if np.ptp(sizes) > 0 else f"{sizes[0]:.4g}"
    return [f"{shown}; its own pixels have {own} nm, according to the {who}."]


def chosen(boxes_px, pixel_sizes, scale, pixel_nm, input_size):
    """Return nm/pixel and pixels of a prepared image, chosen from boxes where they are 0, and sentences about the choice.

    `boxes_px` returns the sides of the boxes of some rows, `pixel_sizes` are those of all in nm. An image that a box fills has
    the pixels of the median box, within `FILL_PX`. At a physical scale nine boxes in ten (see `MOST`) fit the image: on
    `BOX_PX` pixels, or fewer where the crops' own pixels are coarser, within `PHYSICAL_PX`.
    """
    if input_size and (pixel_nm or scale == "fill"):
        return pixel_nm, input_size, []
    rows = np.unique(np.linspace(0, len(pixel_sizes) - 1, SAMPLED).astype(int))
    boxes, pixel_sizes = boxes_px(rows), pixel_sizes[rows]
    known = np.isfinite(boxes) & (pixel_sizes != 0)  # 0: the image cannot be read
    boxes, pixel_sizes = boxes[known], pixel_sizes[known]
    names = [name for name, value in (("pixel_nm", pixel_nm), ("input_size", input_size)) if not value]
    if not len(boxes):
        pixel_nm, input_size = pixel_nm or UNSTATED[0], input_size or UNSTATED[1]
        told = "since no box is stated"
    elif scale == "fill":
        names, middle = ["input_size"], float(np.median(boxes))
        input_size = int(np.clip(round(middle), *FILL_PX))
        told = f"from boxes of {middle:g} px (median)"
    else:
        most = float(np.quantile(boxes * pixel_sizes, MOST))
        pixel_nm = pixel_nm or max(rounded(most / (input_size or BOX_PX)), float(np.median(pixel_sizes)))
        input_size = input_size or int(np.clip(even(most / pixel_nm), *PHYSICAL_PX))
        told = f"from boxes of up to {most:.4g} nm ({MOST:.0%} of them)"
    values = {"pixel_nm": f"{pixel_nm:.4g}", "input_size": input_size}
    what = " and ".join(f"{name} {values[name]}" for name in names)
    return pixel_nm, input_size, [f"{what} {'were' if len(names) > 1 else 'was'} chosen {told}."]


def _contents(found):
    """Return what kinds of files were read, and what their readers noted."""
    files, notes = {}, []
    for form, kind, note in sorted(found.said):
        if note:
            notes.append(note)
        else:
            files.setdefault(form, []).append(kind)
    words = "; ".join(f"{form} of {', '.join(kinds)}" for form, kinds in sorted(files.items()))
    return [*([f"Images: {words}."] if words else []), *list(dict.fromkeys(notes))[:5]]


def _identical(digests):
    """Return groups of rows whose prepared images are equal, the first ones where there are many."""
    order = np.argsort(digests, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(digests[order])) + 1)
    return [rows.tolist() for rows in groups if len(rows) > 1][:LISTED]


class Rows:
    """Some rows of a mapped stack, read when they are asked for and multiplied by signs (n,); indexed like an array."""

    def __init__(self, images, rows, signs=None):
        self._images, self._rows, self._signs = images, np.asarray(rows), signs
        self.shape, self.dtype, self.ndim = (len(self._rows), *images.shape[1:]), images.dtype, images.ndim

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, key):
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        rows = self._rows[first]
        found = self._images[rows][(slice(None),) * np.ndim(rows) + rest]
        if self._signs is None:
            return found
        return found * self._signs[first].reshape(np.shape(rows) + (1,) * (np.ndim(found) - np.ndim(rows)))

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype)


def select(images, rows, signs=None):
    """Return rows of a stack, multiplied by signs (n,): a copy where that is small, else a `Rows` that reads them later."""
    selected = Rows(images, rows, signs)
    if len(rows) * images[0].nbytes <= COPIED:
        return np.asarray(selected)
    return images if signs is None and len(rows) == len(images) else selected


def resampled(images, size):
    """Return prepared images (n, rows, columns) at (n, size, size), free of aliasing: the same window on other pixels.

    Where they are many, each is resampled when it is asked for.
    """
    if images.shape[-1] == size:
        return images
    later = Resampled(images, size)
    few = 4 * len(images) * size**2 <= COPIED
    return np.stack([later[i] for i in range(len(images))]) if few else later


class Resampled:
    """A stack of images (n, size, size), resampled when rows of it are asked for."""

    def __init__(self, images, size):
        self._images, self.shape = images, (len(images), size, size)

    def __len__(self):
        return len(self._images)

    def __getitem__(self, rows):
        images, size = self._images[rows], self.shape[-1]
        found = np.empty((*images.shape[:-2], size, size), np.float32)
        for at in np.ndindex(images.shape[:-2]):
            found[at] = _resized(np.asarray(images[at]), size)
        return found


def resolution(table, tasks, unsure=(), *, scale, pixel_nm, input_size):
    """Return sentences on what prepared images resolve, what their window cuts off and what gives classes away.

    `table` holds `box_px` and `pixel_size_nm` of each particle, and `box_rows` and `box_columns` where some crops are not
    square; `scale`, `pixel_nm` and `input_size` are as prepared, labels in `unsure` are no classes.
    """
    window = input_size * pixel_nm if scale == "physical" else np.nan
    sides = (_sides(table, task, unsure, window) for task in tasks if task in table)
    return [*_seen(table, tasks, scale, pixel_nm, input_size), *filter(None, sides)]


def _sides(table, task, unsure, window):
    """Return a sentence where the classes of a task could be told by the sides of their crops, else "".

    A crop that is not square is padded, and one that fills the image (`window` is NaN) is the more enlarged the smaller it
    is. What counts is how many pairs of a particle of a class and another are put in order by that alone, half of them
    by chance: the area under the ROC curve.
    """
    table = table[is_definite(table[task], unsure)]
    sides = [table.get(name, table["box_px"]) for name in ("box_rows", "box_columns")]
    # What a window cuts off shows nothing.
    rows, columns = (
        side.clip(upper=window / table["pixel_size_nm"]) if window > 0 else side for side in sides
    )
    long, short = np.maximum(rows, columns), np.minimum(rows, columns)
    measures = [("the padding", short / long), ("how their padding lies", rows / columns)]
    measures += [] if window > 0 else [("how far they are resized", long)]
    found, names = [], sorted(table[task].unique(), key=natural)
    for by, values in measures if len(names) > 1 else ():
        ranks = values.rank()
        for name in names:
            own = table[task] == name
            n, rest = own.sum(), (~own).sum()
            share = (ranks[own].sum() - n * (n + 1) / 2) / (n * rest)
            share, error = max(share, 1 - share), ranks.std() / math.sqrt(len(own) * n * rest)
            if share >= TOLD and share - 0.5 >= CLEAR * error:
                found.append((share, by, name))
    if not found:
        return ""
    share, by, name = max(found, key=lambda entry: entry[0])
    medians = pd.concat(sides, axis=1).groupby(table[task]).median()
    each = ", ".join("{} {:g} × {:g}".format(shown(str(name)[:40]), *medians.loc[name]) for name in names)
    differ = f"{task}: the classes differ in the rows × columns of their crops (median: {each} px)"
    could = (
        f"so a network could tell {shown(str(name)[:40])} from the rest by {by}, in {share:.0%} of the pairs"
    )
    return f"{differ}, {could}; cut all classes by one rule."


def _seen(table, tasks, scale, pixel_nm, input_size):
    """Return sentences on what prepared images can resolve and what their window cuts off, each with its cure."""
    boxes = table["box_px"] * table["pixel_size_nm"]
    if boxes.isna().any():
        return [_in_pixels(table["box_px"].median(), input_size)]
    if boxes.min() < BOX_NM[0] or boxes.max() > BOX_NM[1]:
        spread = f"Boxes of {boxes.min():,.4g} to {boxes.max():,.4g} nm are unlikely"
        return [f"{spread}: check the pixel sizes ('pixel_size_nm' is in nm, 'pixel_size_A' in Å)."]
    own = table["pixel_size_nm"].median()
    if scale == "physical":
        detail = _detail(boxes, own, tasks, scale, pixel_nm, input_size)
        return [detail, _window(boxes, own, pixel_nm, input_size)]
    return [_detail(boxes, own, tasks, scale, boxes.median() / input_size, input_size)]


def _in_pixels(box, size):
    """Return what is lost of boxes of unknown pixel size, in pixels of the crop."""
    shown = f"Boxes of {box:g} px (median) are shown at {size} pixels"
    if box <= size:
        return f"{shown}, so no detail is lost."
    cure = f"'input_size' {min(math.ceil(box), LARGEST_PX)} keeps {'it' if box <= LARGEST_PX else 'most'}"
    return f"{shown}: detail below {2 * box / size:.2g} px of the crop is lost (Nyquist); {cure}."


def _detail(boxes, own, tasks, scale, pixel, size):
    """Return what is resolved by pixels of `pixel` nm, made of crops with pixels of `own` nm."""
    # Resampling adds nothing that the crop's own pixels do not hold.
    limit = 2 * max(pixel, own) * (1 - 1e-9)
    of = "" if scale == "physical" else f" (the median box of {boxes.median():.4g} nm on {size} pixels)"
    of += f", from crops of {own:.3g} nm/pixel," if own > pixel else ""
    said = f"At {pixel:.3g} nm/pixel{of} details from {limit:.3g} nm on are resolved (Nyquist)"
    wanted = {name: nm for task in tasks for name, nm in DETAILS.get(task.lower(), {}).items()}
    lost = {name: nm for name, nm in wanted.items() if nm < limit}
    seen = [f"{name} ({nm:g} nm)" for name, nm in wanted.items() if name not in lost]
    said += f", such as {' and '.join(seen)}" if seen else ""
    if lost:
        name = max(lost, key=lost.get)
        said += f", but not {' or '.join(f'{name} ({nm:g} nm)' for name, nm in lost.items())}"
        said += _finer(name, lost[name] / 2, own, boxes.median(), scale, pixel, size)
    elif not wanted and scale == "physical":
        said += f"; the smallest box, {boxes.min():.3g} nm, is {boxes.min() / pixel:.0f} pixels wide"
        if boxes.min() < FEWEST_PX * pixel * (1 - 1e-9):
            name = f"it on {FEWEST_PX} pixels"
            said += _finer(name, boxes.min() / FEWEST_PX, own, 0, scale, pixel, size)
    elif not wanted and pixel > own:
        most = min(math.ceil(boxes.median() / own - 1e-6), LARGEST_PX)
        said += f"; 'input_size' {most} would show those from {2 * max(own, boxes.median() / most):.3g} nm on"
    return f"{said}."


def _finer(name, wanted, own, box, scale, pixel, size):
    """Return the end of a sentence: how to see what needs pixels of `wanted` nm."""
    if wanted < own:
        return f"; to see {name} take micrographs at {rounded(wanted, math.floor):g} nm/pixel or finer"
    if scale == "fill":
        raised = math.ceil(box / wanted - 1e-6)
        cure = f"raise 'input_size' to {raised}" if raised <= LARGEST_PX else "cut smaller boxes"
        return f"; to see {name} {cure}"
    wanted = max(own, rounded(wanted, math.floor))
    raised = even(size * pixel / wanted)
    keeps = f" and raise 'input_size' to {raised}, which keeps the window" if raised <= LARGEST_PX else ""
    return f"; to see {name} lower 'pixel_nm' to {wanted:g}{keeps}"


def _window(boxes, own, pixel, size):
    """Return what the window cuts off or pads, and the cure."""
    window, most = size * pixel, boxes.quantile(MOST)
    cut = (boxes > window + pixel).sum()  # by more than a pixel
    largest = f"the largest has {boxes.max():,.4g} nm"
    if cut:
        enough = most if most > window + pixel else boxes.max()
        who = f"{MOST:.0%} of them" if enough < boxes.max() else "all"
        raised = even(enough / pixel)
        cure = f"'input_size' {raised} or " if raised <= LARGEST_PX else ""
        lost = f"The window of {window:.4g} nm cuts the rim off {cut:,} of {len(boxes):,} boxes ({largest})"
        return f"{lost}; {who} fit with {cure}'pixel_nm' {rounded(enough / size):g}."
    padding = 1 - ((boxes / window).clip(upper=1) ** 2).mean()
    if padding < PADDED:
        return f"The window of {window:.4g} nm holds all boxes; {largest}."
    finer = rounded(most / size)
    cure = f"'pixel_nm' {finer:g}" if finer >= own else f"'input_size' {max(FEWEST_PX, even(most / pixel))}"
    sides = f"Boxes have {boxes.median():.4g} nm (median) and the window {window:.4g} nm"
    return (
        f"{sides}, so {padding:.0%} of the image are padding; {cure} would hold {MOST:.0%} of them with less."
    )


def rounded(number, up=math.ceil):
    """Return a positive number with two digits, rounded up, or down by `math.floor`."""
    digit = 10.0 ** (math.floor(math.log10(number)) - 1)
    # 60 / 40 is not to become 1.6 for a last bit, nor 0.3 a 0.30000000000000004.
    return float(f"{up(round(number / digit, 6)) * digit:.12g}")


def even(number):
    """Return the next even whole number."""
    return 2 * math.ceil(number / 2 - 1e-6)
