"""The pixels of particles, read row by row when they are prepared: from files, or from the simulator.

`Found` and `Simulated` have one form: `table`, `notes`, `place(i)` for messages, `state()` that decides the pixels, `groups()`
of rows that are read together, `part(rows)` for a thread, `pixel_sizes()`, and `load(rows, …)`.
"""

import copy
import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from temlib.data import cache, micrographs, positions
from temlib.files import InputError, inside, shown, write_json

# Where a particle is, in numbers.
PLACES = ("row", "column", "box_px", "box_nm", "pixel_size_nm")
TOGETHER = 64  # images of a stack that are read at once
# Bytes of simulated crops up to which they are kept; beyond it, a study is simulated again for another input size.
KEPT_CROPS = 4 * 2**30


@dataclass
class Found:
    """Particles on disk.

    Attributes
    ----------
    table : DataFrame
        One row a particle; see the module.
    path : Path
        The file that messages name.
    folder : Path
        What image names are relative to.
    whole : bool
        Whether each image is a crop itself, whatever `row` and `column` say of the micrograph that it came from.
    notes : list of str
        What was found and assumed.
    """

    table: pd.DataFrame
    path: Path
    folder: Path
    whole: bool
    notes: list
    said: set = field(default_factory=set)  # (format, type, note) of the files that were read
    rows: np.ndarray | None = None  # of the whole, if this is a part

    @cached_property
    def _lists(self):
        """Give the columns that `load` needs as plain lists: a row of a DataFrame costs more than a small image."""
        return {name: self.table[name].tolist() for name in ("image", "index", *PLACES)}

    @cached_property
    def _lines(self):
        return f"{shown(self.path)}, {self.table.index.name}", self.table.index.tolist()

    def place(self, i):
        """Say where row `i` is written."""
        return f"{self._lines[0]} {self._lines[1][i]}"

    def state(self):
        """Give all that decides the pixels: names, sizes and times of the files, places, boxes, pixel sizes."""
        files = dict.fromkeys(self._lists["image"])
        folder = f"{self.folder}{os.sep}"
        for name in files:
            try:
                state = os.stat(folder + name)
            except (OSError, ValueError):
                i = self._lists["image"].index(name)
                inside(self.folder, name, self.place(i))
                raise InputError(
                    f"{self.place(i)}: {shown(name)!r} cannot be opened; check the file."
                ) from None
            files[name] = (state.st_size, state.st_mtime_ns)
        index = self.table["index"].fillna(-1).to_numpy(int)
        numbers = [self.table[name].to_numpy(float) for name in PLACES]
        return [str(self.folder), self.whole, files, "\0".join(self._lists["image"]), index, *numbers]

    def groups(self):
        """Give the rows that are read together, those of one micrograph, as lists of row numbers."""
        if self.whole:
            return self._runs()
        together = self.table["image"].where(self.table["index"].isna(), self.table["particle"])
        codes = pd.factorize(together)[0]
        order = np.argsort(codes, kind="stable")
        return [part.tolist() for part in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)]

    def _runs(self):
        """Give each image alone, but rows of one MRC stack that follow each other together."""
        names, index, groups = self._lists["image"], self._lists["index"], []
        for i, name in enumerate(names):
            stacked = index[i] is not pd.NA and name.lower().endswith(micrographs.MRC_SUFFIXES)
            if stacked and groups and names[groups[-1][0]] == name and len(groups[-1]) < TOGETHER:
                groups[-1].append(i)
            else:
                groups.append([i])
        return groups

    def _stack(self, image, rows):
        """Give the images of rows of one stack, of which `image` is the first, without opening the file again."""
        index = [self._lists["index"][i] for i in rows]
        low, high = min(index), max(index)
        if not isinstance(image, np.memmap):
            return (self.open(i).image for i in rows)
        start, shape = image.offset + int(low - index[0]) * image.nbytes, (int(high - low) + 1, *image.shape)
        if start + shape[0] * image.nbytes > os.stat(image.filename).st_size:
            return (self.open(i).image for i in rows)  # the one that is not there will say so
        whole = np.asarray(np.memmap(image.filename, image.dtype, "r", start, shape))
        return (whole[int(k - low)] for k in index)

    def open(self, i):
        """Read the image of row `i`, as `micrographs.pixels` gives it."""
        name, index, place = self._lists["image"][i], self._lists["index"][i], self.place(i)
        path = inside(self.folder, name, place)
        try:
            found, form = micrographs.pixels(path, None if index is pd.NA else int(index))
        except InputError as error:
            raise InputError(f"{place}: {str(error).removeprefix(f'{shown(self.folder)}{os.sep}')}") from None
        self.said.update([(form, found.image.dtype.name, ""), *[(form, "", note) for note in found.notes]])
        return found

    def part(self, rows):
        """Give the rows `rows` alone, for one thread."""
        table = self.table[["particle", "image", "index", *PLACES]].iloc[rows]
        return Found(table, self.path, self.folder, self.whole, [], rows=rows)

    def pixel_sizes(self):
        """Give the pixel size of each row's image in nm: the table's, else the file's, else NaN."""
        sizes, told = self.table["pixel_size_nm"].to_numpy(float).copy(), {}
        for i in np.flatnonzero(np.isnan(sizes)).tolist():
            name = self._lists["image"][i]
            if name not in told:
                picture = name.lower().endswith(micrographs.PICTURE_SUFFIXES)
                told[name] = np.nan if picture else micrographs.square(*self.open(i).sizes_nm)[0]
            sizes[i] = told[name]
        return sizes

    def load(self, rows, pixel_sizes, window_nm):
        """Read the pixels of rows of one group.

        Parameters
        ----------
        rows : list of int
        pixel_sizes : (n,) ndarray
            In nm, of all rows.
        window_nm : float
            Side of a box that no one stated; NaN where there is no scale to state it in.

        Yields
        ------
        (int, (M, N) ndarray, bool)
            Row, crop, and whether a part of it lies beyond the micrograph's border.
        """
        opened = self.open(rows[0])
        image, stated = opened.image, micrographs.square(*opened.sizes_nm)[0]
        if (
            abs(stated - pixel_sizes[rows[0]]) > micrographs.SQUARE_TOLERANCE * stated
        ):  # false where one is unknown
            self.said.add(
                ("", "", "Files state another pixel size than the table, which is believed: check the unit.")
            )
        if self.whole and len(rows) > 1:
            yield from ((i, one, False) for i, one in zip(rows, self._stack(image, rows)))
            return
        for i in rows:
            row, column = self._lists["row"][i], self._lists["column"][i]
            if self.whole or not np.isfinite(row) or self._lists["index"][i] is not pd.NA:
                yield i, image, False
                continue
            box = self._box(i, pixel_sizes[i], window_nm)
            if image.shape == (box, box):  # it was cut out already
                yield i, image, False
                continue
            try:
                crop = positions.cut(image, row, column, box)[0]
            except InputError as error:
                raise InputError(f"{self.place(i)}, {shown(self._lists['image'][i])}: {error}") from None
            yield i, crop, positions.coverage(image.shape, row, column, box)[0] < 1

    def _box(self, i, pixel_nm, window_nm):
        """Give the side of the window in pixels: stated in pixels, stated in nm, or that of the prepared image."""
        if np.isfinite(self._lists["box_px"][i]):
            return max(1, round(self._lists["box_px"][i]))
        side_nm = self._lists["box_nm"][i]
        side_nm = side_nm if np.isfinite(side_nm) else window_nm
        if not np.isfinite(side_nm / pixel_nm):
            raise InputError(
                f"{self.place(i)}: how large is the particle's window? Give 'box_px', or 'box_nm' and a pixel size."
            )
        return max(1, int(np.ceil(side_nm / pixel_nm)))


class Simulated:
    """Particles of the simulator, in the form of `sources.Found`; its table and crops are kept for the next notebook."""

    def __init__(self, count, seed):
        self.count, self.seed = count, seed
        folder = cache.kept(cache.key(*self.state()), self._make)
        kinds = json.loads((folder / "kinds.json").read_text(encoding="utf-8"))
        self.table = pd.read_csv(
            folder / "table.csv",
            dtype=kinds,
            keep_default_na=False,
            na_values=[""],
            float_precision="round_trip",
        )
        self._ends = np.cumsum(self.table["box_px"].to_numpy() ** 2)
        crops = folder / "crops.npy"
        self._crops = np.load(crops, mmap_mode="r") if crops.exists() else None
        self.said = set()
        self.notes = [
            f"Simulated by temlib with seed {seed}: {self.table['micrograph'].nunique()} micrographs of cryo-TEM liposomes."
        ]

    @property
    def _study(self):

        from temlib import simulate

        return simulate.study(self.count, seed=self.seed)

    def _make(self, folder):
        """Simulate once, and write the table and, if they are not too many, the crops one after the other."""
        study = self._study
        table = study.table.merge(study.panel, on="particle", validate="1:1")
        table.to_csv(folder / "table.csv", index=False)
        write_json(folder / "kinds.json", {name: str(kind) for name, kind in table.dtypes.items()})
        pixels = int((table["box_px"] ** 2).sum())
        if 4 * pixels > KEPT_CROPS:
            return
        flat, end = np.lib.format.open_memmap(folder / "crops.npy", "w+", np.float32, (pixels,)), 0
        for _, crops in study.crops():
            for crop in crops:
                flat[end : end + crop.size] = crop.ravel()
                end += crop.size
        flat.flush()

    def state(self):
        """Give all that decides the pixels."""
        return ["simulated", self.count, self.seed]

    def place(self, i):
        """Name row `i`."""
        return f"simulated particle {self.table['particle'].iloc[i]}"

    def groups(self):
        """Give the rows of each micrograph."""
        return [rows.tolist() for rows in self.table.groupby("micrograph", sort=False).indices.values()]

    def part(self, rows):
        """Give the rows `rows` alone."""
        part = copy.copy(self)
        part.rows, part.said, part.table = rows, set(), self.table.iloc[rows].reset_index(drop=True)
        part._ends = self._ends[rows]
        return part

    def load(self, rows, sizes, window_nm):
        """Yield row, crop, and False: simulated boxes lie within their micrograph."""
        from temlib import simulate

        if self._crops is None:
            study = self._study
            image = study.micrograph(study.names.index(self.table["micrograph"].iloc[rows[0]]))
        places = self.table[["row", "column", "box_px"]].iloc[rows].to_numpy()
        for i, (row, column, box) in zip(rows, places):
            if self._crops is None:
                yield i, simulate.crop(image, row, column, box), False
            else:
                yield i, self._crops[self._ends[i] - box**2 : self._ends[i]].reshape(box, box), False
