"""The pixels of particles, read when they are prepared, from files or from the simulator, and their true masks.

`Found` and `Simulated` have one form: `table`, `notes`, `said` (what the files turned out to be, as (format, type, note)),
`place(rows)` for messages, `state()` that decides the pixels, `groups()` of rows that are read together, `part(rows)` for one
worker, `pixel_sizes()`, `boxes(sizes)`, and `load(rows, …)`. What cannot be read or cut stops none of them, since all that
cannot be used are counted before they are refused or left out.
"""

import contextlib
import copy
import json
import math
import os
import re
from collections import namedtuple
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from temlib.data import cache, micrographs, positions
from temlib.data.conventions import SQUARE_TOLERANCE
from temlib.data.positions import PLACES
from temlib.data.tables import place, places
from temlib.files import InputError, inside, listed, read_csv, shown, write_csv, write_json

TOGETHER = 64  # images of a stack that are read at once
# Bytes of simulated crops up to which they are kept; beyond it, a study is simulated again for another input size.
KEPT_CROPS = 4 * 2**30
# Between what limits a seed draws the share of the second class of a task, where others than the usual shares are asked for.
OTHER_SHARES = (0.2, 0.6)
# Share of the largest projected potential above which a pixel is membrane or payload: of a membrane, the rim.
RIM = 0.5
MOST_SKIPPED = 0.5  # largest share of particles that may be left out


Row = namedtuple("Row", ("image", "index", *PLACES))


@dataclass
class Found:
    """Particles on disk."""

    table: pd.DataFrame  # one row a particle; see `temlib.data.sources`
    path: Path  # the file that messages name
    folder: Path  # what image names are relative to
    whole: bool  # whether each image is a crop itself, whatever `row` and `column` say of where it came from
    notes: list  # what was found and assumed
    said: set = field(default_factory=set)

    def place(self, rows):
        """Return where some rows are written."""
        return place(self.path, self.table.index.name, self.table.index[rows])

    def state(self):
        """Return all that decides the pixels: names, sizes and times of the files, places, boxes, pixel sizes."""
        names = self.table["image"].tolist()
        files, folder = dict.fromkeys(names), f"{self.folder}{os.sep}"
        for name in files:
            with contextlib.suppress(OSError, ValueError):
                state = os.stat(folder + name)
                files[name] = (state.st_size, state.st_mtime_ns)
        numbers = self.table[["index", *PLACES]].astype(float).to_numpy()
        return [str(self.folder), self.whole, files, "\0".join(names), numbers]

    def boxed(self, side_nm):
        """Return the particles with a box of this side where one is cut out of a micrograph and no one states its box."""
        table, cut = self.table, self.table["row"].notna() & self.table["index"].isna() & (not self.whole)
        without = cut & table[["box_px", "box_nm"]].isna().all(axis=1)
        return replace(self, table=table.assign(box_nm=table["box_nm"].mask(without, side_nm)))

    def groups(self):
        """Yield the numbers of rows that are read together: all of a micrograph, at most `TOGETHER` of a stack."""
        groups = {}
        for i, image in enumerate(zip(self.table["image"].tolist(), self.table["index"].notna())):
            groups.setdefault(image, []).append(i)
        for (_, stacked), rows in groups.items():
            step = TOGETHER if stacked else len(rows)
            yield from (rows[k : k + step] for k in range(0, len(rows), step))

    def part(self, rows):
        """Return the rows `rows` alone, with what is needed to read them."""
        table = self.table[list(Row._fields)].iloc[rows]
        return replace(self, table=table, notes=[], said=set())

    @cached_property
    def _rows(self):
        # Plain values: a row of a DataFrame costs more than a small image.
        return list(map(Row, *(self.table[name].tolist() for name in Row._fields)))

    def _read(self, i):
        """Read the image of row `i`."""
        row = self._rows[i]
        try:
            path = inside(self.folder, row.image)
            found = micrographs.read(path, None if row.index is pd.NA else row.index)
        except InputError as error:
            raise InputError(str(error).removeprefix(f"{shown(self.folder)}{os.sep}")) from None
        self.said.add((found.form, found.image.dtype.name, ""))
        self.said.update((found.form, "", note) for note in found.notes)
        return found

    def pixel_sizes(self):
        """Return the pixel size of each row's image in nm: the table's, else the file's, else NaN; 0 where it cannot be read."""
        told, failed = {}, set()
        for i in np.flatnonzero(self.table["pixel_size_nm"].isna()).tolist():
            name, index = self._rows[i][:2]
            if name in told or (name, index) in failed:
                continue
            try:
                picture = micrographs.format_of(name) in ("PNG", "JPEG")  # which state none
                told[name] = np.nan if picture else self._read(i).pixel_nm
            except InputError:
                failed.add((name, index))  # another image of a stack may be there
        told = {name: 0.0 for name, _ in failed} | told
        return self.table["pixel_size_nm"].fillna(self.table["image"].map(told)).to_numpy(float)

    def boxes(self, sizes):
        """Return the (longer) side of each row's box in pixels, NaN where no one states it; images that are crops are read."""
        table = self.table
        sides = table["box_px"].fillna(table["box_nm"] / sizes).to_numpy(float, copy=True)
        own = table["index"].notna().to_numpy() | table["row"].isna().to_numpy() | self.whole
        for group in self.groups():
            rows = [i for i in group if own[i]]
            images = (self._image(i) for i in rows)
            shape = next((image.shape for image in images if not isinstance(image, InputError)), (np.nan,))
            sides[rows] = max(shape)
        return sides

    def load(self, rows, sizes, window_nm):
        """Yield number, crop, and whether it reaches beyond the micrograph's border, of the rows of one group.

        An InputError stands for a crop that cannot be had. `sizes` are the pixel sizes of all rows in nm; `window_nm` is the
        side of a box that no one stated, or NaN.
        """
        try:
            found = self._read(rows[0])
        except InputError as error:
            # Of a stack another image may be there.
            lost = len(rows) if self._rows[rows[0]].index is pd.NA else 1
            yield from ((i, error, False) for i in rows[:lost])
            if rows[lost:]:
                yield from self.load(rows[lost:], sizes, window_nm)
            return
        stated = found.pixel_nm
        if abs(stated - sizes[rows[0]]) > SQUARE_TOLERANCE * stated:  # false where one is unknown
            note = "The files state a different pixel size from the table; the table's is used, so check its unit."
            self.said.add(("", "", note))
        if self._rows[rows[0]].index is not pd.NA:
            yield from ((i, image, False) for i, image in zip(rows, self._stack(found, rows)))
            return
        for i in rows:
            row, crop, edge = self._rows[i], found.image, False
            try:
                box = None if self.whole or not np.isfinite(row.row) else self._box(i, sizes[i], window_nm)
                if box is not None and crop.shape != (box, box):  # else it was cut out already
                    crop, edge = positions.cut(crop, row.row, row.column, box)
            except InputError as error:
                crop = error
            yield i, crop, edge

    def _stack(self, found, rows):
        """Return the images of rows of one stack, of which `found` is the first."""
        image, step = found.image, found.step
        index = np.array([self._rows[i].index for i in rows], int)
        low, count = index.min(), np.ptp(index) + 1
        if len(rows) > 1 and step and isinstance(image, np.memmap):  # without opening the file again
            start = int(image.offset + (low - index[0]) * step)
            if start + count * step <= os.stat(image.filename).st_size:
                mapped = np.memmap(image.filename, image.dtype, "r", start, (int(count), *image.shape))
                return mapped[index - low]
        return (image if i == rows[0] else self._image(i) for i in rows)

    def _image(self, i):
        """Return the image of row `i`, or the InputError that says why there is none."""
        try:
            return self._read(i).image
        except InputError as error:
            return error

    def left_out(self, faults, edge, skip_bad):
        """Return which particles are left out, {row: sentence}: those with `faults`, which are refused where they are too many.

        With them go those whose window reaches beyond the border, `edge` (n,), where the share `skip_bad` allows it.
        """
        most = skip_bad * len(self.table) + 1e-9
        if len(faults) > most:
            raise self._refusal(faults)
        why = "its window reaches beyond the micrograph's border."
        cut = dict.fromkeys(np.flatnonzero(edge).tolist(), why)
        return faults | cut if len(faults) + len(cut) <= most else faults

    def note(self, faults, skip_bad):
        """Return a sentence that counts the particles that are left out, by kind."""
        count = f"{len(faults):,} of {len(self.table):,}"
        kinds = [f"{len(rows):,}: {_cause(faults[rows[0]])}" for rows in self._kinds(faults)]
        named = "; ".join(kinds[:5] + [f"{len(kinds) - 5} more kinds"] * (len(kinds) > 5))
        return f"Particles left out (skip_bad: {skip_bad:g}) and listed in skipped.csv: {count} ({named})."

    def _kinds(self, faults):
        """Return the rows of each kind of fault, the most frequent first: their sentences differ in names and numbers only."""
        kinds = {}
        for i, fault in sorted(faults.items()):
            same = fault.replace(shown(self._rows[i].image)[:200], "")
            kinds.setdefault(re.sub(r"\S*\d\S*", "", same), []).append(i)
        return sorted(kinds.values(), key=len, reverse=True)

    def _refusal(self, faults):
        """Return the InputError that counts the particles that cannot be used, by kind, and names three of each of three kinds."""
        parts, kinds, index = [], self._kinds(faults), self.table.index
        for rows in kinds[:3]:
            images = list(dict.fromkeys(self._rows[i].image for i in rows))
            fault = faults[rows[0]].rstrip(".")
            named = index.name == "file" or (len(images) == 1 and shown(images[0]) in fault)
            which = "" if named else f", {listed(images, 3)}"
            at = places(index.name, index[rows]) if parts else self.place(rows)
            parts.append(f"{at}{which}: {_cause(fault) if parts else fault}")
        if others := sum(map(len, kinds[3:])):
            parts.append(f"{others:,} more of other kinds")
        share = len(faults) / len(self.table)
        enough = math.ceil(1000 * share - 1e-9) / 1000
        cure = f", or set 'skip_bad' to at least {enough:g}" if enough <= MOST_SKIPPED else ""
        if share < 1:
            count = f"{len(faults):,} of {len(self.table):,} particles ({share:.1%})"
            parts.append(f"{count} cannot be used: mend them{cure}")
        return InputError(f"{'; '.join(parts)}.")

    def _box(self, i, pixel_nm, window_nm):
        """Return the side of the window in pixels: stated in pixels, stated in nm, or that of the prepared image."""
        row = self._rows[i]
        if np.isfinite(row.box_px):
            return max(1, round(row.box_px))
        side = (row.box_nm if np.isfinite(row.box_nm) else window_nm) / pixel_nm
        if not np.isfinite(side):
            cure = "Give 'box_px', or 'box_nm' and a pixel size."
            raise InputError(f"how large is the particle's window? {cure}")
        return max(1, int(np.ceil(side - 1e-6)))  # 30 nm of 0.3 are 100 pixels, whatever the last digit


def _cause(fault):
    """Return a sentence without its cure."""
    return fault.rstrip(".").partition("; ")[0]


class Simulated:
    """Particles of the simulator; their table and crops are kept for the next notebook."""

    def __init__(self, count, seed, other_shares=False):
        from temlib import simulate  # not where particles lie on disk: it takes a second

        self.count, self.seed, self.prevalence = count, seed, {}
        if other_shares:
            rng = np.random.default_rng((seed, count))
            for first, second in simulate.TASKS.values():
                share = round(rng.uniform(*OTHER_SHARES), 2)
                self.prevalence |= {first: 1 - share, second: share}
        self.study = simulate.study(count, seed=seed, prevalence=self.prevalence)
        folder = cache.get_or_make(cache.key(*self.state()), self._make)
        kinds = json.loads((folder / "kinds.json").read_text(encoding="utf-8"))
        self.table = read_csv(folder / "table.csv", kinds)
        self._ends = np.cumsum(self.table["box_px"].to_numpy() ** 2)
        crops = folder / "crops.npy"
        self._crops = np.load(crops, mmap_mode="r") if crops.exists() else None
        self.said = set()
        count = self.table["micrograph"].nunique()
        self.notes = [f"Simulated by temlib with seed {seed}: {count} micrographs of cryo-TEM liposomes."]

    def _make(self, folder):
        """Simulate once, and write the table and, if they are not too many, the crops one after the other."""
        table = self.study.table.merge(self.study.panel, on="particle", validate="1:1")
        write_csv(folder / "table.csv", table)
        write_json(folder / "kinds.json", {name: str(kind) for name, kind in table.dtypes.items()})
        pixels = int((table["box_px"] ** 2).sum())
        if 4 * pixels > KEPT_CROPS:
            return
        flat, end = np.lib.format.open_memmap(folder / "crops.npy", "w+", np.float32, (pixels,)), 0
        for _, crops in self.study.crops():
            for crop in crops:
                flat[end : end + crop.size] = crop.ravel()
                end += crop.size
        flat.flush()

    def state(self):
        """Return all that decides the pixels."""
        return ["simulated", self.count, self.seed, *self.prevalence.values()]

    def place(self, i):
        """Return the name of row `i`."""
        return f"simulated particle {self.table['particle'].iloc[i]}"

    def groups(self):
        """Return the rows of each micrograph."""
        return [rows.tolist() for rows in self.table.groupby("micrograph", sort=False).indices.values()]

    def part(self, rows):
        """Return the rows `rows` alone."""
        part = copy.copy(self)
        part.said, part.table = set(), self.table.iloc[rows].reset_index(drop=True)
        part._ends = self._ends[rows]
        return part

    def boxes(self, sizes):
        """Return the side of each row's box in pixels."""
        return self.table["box_px"].to_numpy(float)

    def load(self, rows, sizes, window_nm):
        """Yield number, crop, and whether it reaches beyond the border, which no simulated box does."""
        if self._crops is None:
            name = self.table["micrograph"].iloc[rows[0]]
            image = self.study.micrograph(self.study.names.index(name))
        places = self.table[["row", "column", "box_px"]].iloc[rows].to_numpy()
        for i, (row, column, box) in zip(rows, places):
            if self._crops is None:
                yield i, *positions.cut(image, row, column, box)
            else:
                yield i, self._crops[self._ends[i] - box**2 : self._ends[i]].reshape(box, box), False


def masks(study, table, size, pixel_nm):
    """Return true masks of membrane and payload, (size, size) of bool, of rows of a study, lying as prepared images do."""
    from temlib import simulate

    numbers, found = {name: i for i, name in enumerate(study.names)}, [None] * len(table)
    for name, rows in table.groupby("micrograph").indices.items():
        scene = study.scene(numbers[name])
        regions = simulate.regions(scene, study.settings, RIM)
        at = {(int(row), int(column)): pair for (row, column, _), pair in zip(scene.boxes, regions)}
        for i in rows:
            row = table.iloc[i]
            ratio = row["pixel_size_nm"] / pixel_nm if np.isfinite(pixel_nm) else None
            pair = at[int(row["row"]), int(row["column"])]
            found[i] = tuple(_as_prepared(mask, size, ratio) for mask in pair)
    return found


def _as_prepared(mask, size, ratio):
    """Return a mask of a crop at the geometry of its prepared image, (size, size)."""
    from scipy import ndimage

    # Both are centred; a prepared pixel is 1 / ratio pixels of the crop, or a share of it where the crop fills the image.
    steps = 2 * [1 / ratio if ratio else max(mask.shape) / size]
    places = [(n - 1) / 2 + (np.arange(size) - (size - 1) / 2) * step for n, step in zip(mask.shape, steps)]
    widths = [max(1, round(step)) for step in steps]
    share = ndimage.uniform_filter(mask.astype(np.float32), widths, mode="constant")
    return ndimage.map_coordinates(share, np.meshgrid(*places, indexing="ij"), order=1) >= 0.5
