"""The pixels of particles, read when they are prepared, from files or from the simulator, and their true masks.

`Found` and `Simulated` have one form: `table`, `notes`, `said` (what the files turned out to be, as (format, type, note)),
`place(i)` for messages, `state()` that decides the pixels, `groups()` of rows that are read together, `part(rows)` for one
worker, `pixel_sizes()`, `boxes(sizes)`, and `load(rows, …)`.
"""

import copy
import json
import os
from collections import namedtuple
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from temlib.data import cache, micrographs, positions, tables
from temlib.data.conventions import SQUARE_TOLERANCE
from temlib.data.positions import PLACES
from temlib.files import InputError, inside, read_csv, shown, write_csv, write_json

TOGETHER = 64  # images of a stack that are read at once
# Bytes of simulated crops up to which they are kept; beyond it, a study is simulated again for another input size.
KEPT_CROPS = 4 * 2**30
# Share of the largest projected potential above which a pixel is membrane or payload: of a membrane, the rim.
RIM = 0.5


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

    def place(self, i):
        """Return where row `i` is written."""
        return tables.place(self.path, self.table, i)

    def state(self):
        """Return all that decides the pixels: names, sizes and times of the files, places, boxes, pixel sizes."""
        names = self.table["image"].tolist()
        files, folder = dict.fromkeys(names), f"{self.folder}{os.sep}"
        for name in files:
            try:
                state = os.stat(folder + name)
            except (OSError, ValueError):
                self._read(names.index(name))  # says why
                raise
            files[name] = (state.st_size, state.st_mtime_ns)
        numbers = self.table[["index", *PLACES]].astype(float).to_numpy()
        return [str(self.folder), self.whole, files, "\0".join(names), numbers]

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
            fault = str(error).removeprefix(f"{shown(self.folder)}{os.sep}")
            raise InputError(f"{self.place(i)}: {fault}") from None
        self.said.add((found.form, found.image.dtype.name, ""))
        self.said.update((found.form, "", note) for note in found.notes)
        return found

    def pixel_sizes(self):
        """Return the pixel size of each row's image in nm: the table's, else the file's, else NaN."""
        told = {}
        for i in np.flatnonzero(self.table["pixel_size_nm"].isna()).tolist():
            name = self._rows[i].image
            if name not in told:
                picture = micrographs.format_of(name) in ("PNG", "JPEG")  # which state none
                told[name] = np.nan if picture else self._read(i).pixel_nm
        return self.table["pixel_size_nm"].fillna(self.table["image"].map(told)).to_numpy(float)

    def boxes(self, sizes):
        """Return the (longer) side of each row's box in pixels, NaN where no one states it; images that are crops are read."""
        table = self.table
        sides = table["box_px"].fillna(table["box_nm"] / sizes).to_numpy(float, copy=True)
        own = table["index"].notna().to_numpy() | table["row"].isna().to_numpy() | self.whole
        for group in self.groups():
            if rows := [i for i in group if own[i]]:
                sides[rows] = max(self._read(rows[0]).image.shape)
        return sides

    def load(self, rows, sizes, window_nm):
        """Yield number, crop, and whether it reaches beyond the micrograph's border, of the rows of one group.

        `sizes` are the pixel sizes of all rows in nm; `window_nm` is the side of a box that no one stated, or NaN.
        """
        found = self._read(rows[0])
        stated = found.pixel_nm
        if abs(stated - sizes[rows[0]]) > SQUARE_TOLERANCE * stated:  # false where one is unknown
            note = "The files state a different pixel size from the table; the table's is used, so check its unit."
            self.said.add(("", "", note))
        if self._rows[rows[0]].index is not pd.NA:
            yield from ((i, image, False) for i, image in zip(rows, self._stack(found, rows)))
            return
        for i in rows:
            row = self._rows[i]
            box = None if self.whole or not np.isfinite(row.row) else self._box(i, sizes[i], window_nm)
            if box is None or found.image.shape == (box, box):  # it was cut out already
                yield i, found.image, False
                continue
            try:
                yield i, *positions.cut(found.image, row.row, row.column, box)
            except InputError as error:
                raise InputError(f"{self.place(i)}, {shown(row.image)}: {error}") from None

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
        return (image if i == rows[0] else self._read(i).image for i in rows)

    def _box(self, i, pixel_nm, window_nm):
        """Return the side of the window in pixels: stated in pixels, stated in nm, or that of the prepared image."""
        row = self._rows[i]
        if np.isfinite(row.box_px):
            return max(1, round(row.box_px))
        side = (row.box_nm if np.isfinite(row.box_nm) else window_nm) / pixel_nm
        if not np.isfinite(side):
            cure = "Give 'box_px', or 'box_nm' and a pixel size."
            raise InputError(f"{self.place(i)}: how large is the particle's window? {cure}")
        return max(1, int(np.ceil(side)))


class Simulated:
    """Particles of the simulator; their table and crops are kept for the next notebook."""

    def __init__(self, count, seed):
        from temlib import simulate  # not where particles lie on disk: it takes a second

        self.count, self.seed = count, seed
        self.study = simulate.study(count, seed=seed)
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
        return ["simulated", self.count, self.seed]

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
