"""Positions of particles as picking programs write them, and crops cut out of micrographs at them.

`row` and `column` are the particle's centre in its micrograph, 0-based, in the order in which the rows lie in the file;
pixel (i, j) has its centre at (i, j). `box_px` is the edge of the square window in the micrograph's pixels. Image paths are
relative to ``attrs["folder"]`` and never leave it, not by a link either. A reader returns the table that `read` describes,
and sentences about assumptions.

STAR is read as RELION reads it: a line is syntax by its place, not by how it begins, so that names may begin with `data_`
or hold a # or a quote. The package starfile goes by beginnings, and keeps a broken file's lines until the process ends.
"""

import contextlib
import io
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd

from temlib.data import tables
from temlib.data.micrographs import SUFFIXES, format_of
from temlib.data.names import located, one_form
from temlib.data.tables import places, refuse
from temlib.files import InputError, listed, refusal, shown

STAR_STACK, STAR_MICROGRAPH = "rlnImageName", "rlnMicrographName"
# What the block of particles has, one or the other.
STAR_PARTICLES = {STAR_STACK, "rlnCoordinateX"}
# What only particles of tomograms have.
TOMOGRAM = ("rlnTomoName", "rlnCoordinateZ", "rlnCenteredCoordinateZAngst")
CORNER = ["x", "y", "width", "height"]
ANGSTROMS_PER_NM = 10.0
LARGEST_CUT = 2**27  # bytes of one crop: 5,792 pixels a side
BLANK = 2**12  # bytes up to which a file may be nothing but blanks
# Where a particle is, in numbers.
PLACES = ("row", "column", "box_px", "box_nm", "pixel_size_nm")
# What picking programs add to a micrograph's name.
PICKERS = re.compile(r"_(autopick|manualpick|topaz|cryolo|picks?|picked|coords?|info)$", re.IGNORECASE)
# What lies in the folder of a project, from which the names in its files begin.
PROJECTS = {".star": "default_pipeline.star", ".cs": "project.json", ".json": "info/project.json"}
# What makes a line of STAR more than words between spaces, and a word, perhaps in quotes.
QUOTED = re.compile(r"['\"#]|[^\0-\x7f]")
WORD = re.compile(r"""'(.*?)'(?=\s|$)|"(.*?)"(?=\s|$)|(\S+)""", re.ASCII)


def _values(line):
    """Return what stands in a line of a STAR file: a # inside a word, and a quote, are part of it."""
    if not QUOTED.search(line):
        return line.split()
    found = []
    for match in WORD.finditer(line):
        if match[0].startswith("#"):  # a comment
            break
        found.append(next(text for text in match.groups() if text is not None))
    return found


def _blocks(path):
    """Return the data blocks of a STAR file as DataFrames of text or numbers."""
    return {name: _typed(path, *block[:2]) for name, block in _parsed(path).items()}


def _parsed(path):
    """Return of each data block of a STAR file its names, rows of text, and the lines (from 1) of the names and then of the rows."""
    blocks, names, rows, at, loop, blank, wrong = {}, [], [], [], False, True, {}
    for number, line in enumerate(io.StringIO(tables.read_text(path)[0], newline=None), 1):
        values = _values(line)
        label = bool(values) and values[0].startswith("_")
        # What looks like syntax among the rows of a loop is a name.
        if len(values) == 1 and values[0].startswith("data_") and (blank or len(names) != 1):
            name, names, rows, at, loop = values[0][5:], [], [], [], False
            if name in blocks:
                raise refusal(path, f"has two blocks data_{listed([name])}; remove one.")
            blocks[name] = names, rows, at
        elif values == ["loop_"] and not names:
            loop = True
        elif loop and label and not rows and values[1:] in ([], [str(len(names) + 1)]):
            names.append(values[0][1:])
            at.append(number)
        elif loop and values:
            rows.append(values)
            at.append(number)
            if len(values) != len(names):
                fault = "a value is missing" if len(values) < len(names) else "there is a value too many"
                wrong.setdefault(f"{fault} for {len(names)} columns", []).append(number)
        elif blocks and label and len(values) == 2:  # without a loop
            names.append(values[0][1:])
            at.append(number)
            rows[:] = [[*(rows[0] if rows else []), values[1]]]
        blank = not values
    for fault, lines in wrong.items():
        cure = "a name with a space in it, or a # before it, stands in quotes"
        raise InputError(f"{shown(path)}, {places('line', lines)}: {fault}; {cure}.")
    return blocks


def _typed(path, names, rows):
    """Return a block as a DataFrame, in which columns of numbers are numbers; those of classes are names."""
    if twice := [name for name in names if names.count(name) > 1]:
        raise refusal(path, f"has two columns named _{listed(twice[:1])}; remove one.")
    block = pd.DataFrame(rows, columns=names, dtype=str)
    for name in block.columns.difference([STAR_STACK, STAR_MICROGRAPH, "rlnClassNumber"]):
        with contextlib.suppress(ValueError):
            block[name] = pd.to_numeric(block[name].replace(["nan", "NaN", "<NA>"], ""))
    return block


def _known(column):
    """Return whether a column says something: text, or a number that is not 0."""
    known = column[column.notna() & (column.astype(str) != "")]
    return bool((known != 0).any())


def _columns(path, block, *names):
    """Refuse a block without a needed column."""
    for name in names:
        if name not in block:
            raise refusal(path, f"has no column _{name}, which positions need; export the particles with it.")


def _read_star(path, folder):
    """Read RELION's STAR, with or without optics groups."""
    blocks = _blocks(path)
    for block in blocks.values():
        for name in TOMOGRAM:
            if name in block and _known(block[name]):
                fault = f"holds particles of tomograms (_{name}), and temlib sorts 2-D images"
                cure = "give particles of micrographs, or slices or projections as 2-D images with a manifest"
                raise refusal(path, f"{fault}; {cure}.")
    optics = blocks.pop("optics", None)
    data = next((b for b in blocks.values() if STAR_PARTICLES & {*b}), None)
    if data is None:
        raise refusal(path, "has neither _rlnImageName nor _rlnCoordinateX; give the STAR of particles.")
    if not len(data):
        return data, []
    data = data.copy()
    data.index = pd.RangeIndex(1, len(data) + 1, name="particle row")
    if optics is not None:
        data = _with_optics(path, data, optics)
    table = _star_stacks(path, data) if STAR_STACK in data else _star_micrographs(path, data, folder)
    # For stacks, whose crops are cut already, that is for information.
    table["row"], table["column"] = _number(data, "rlnCoordinateY"), _number(data, "rlnCoordinateX")
    notes = []
    if any(name.startswith("rlnOrigin") for name in data):
        notes.append("The shifts of a refinement (rlnOrigin) are not applied to positions.")
    if table["pixel_size_nm"].isna().any():
        notes.append("The STAR file states no pixel size for some particles.")
    if "micrograph" not in table:
        notes.append("The STAR file does not say which micrograph each particle is from.")
    return pd.concat([table, data], axis=1), notes


def star_with_columns(path, values, data_folder=""):
    """Return the text of a RELION STAR file in which its particles have further columns, all else as it was.

    Parameters
    ----------
    path : Path
    values : DataFrame
        Columns of text without blanks, by the names of particles that `read` gives; a column of the same name is replaced. Every
        particle of the file is in it.
    data_folder : str
        As for `read`.
    """
    folder = Path(data_folder) if data_folder else _project(path)
    added = values.loc[_read_star(path, folder)[0]["particle"]].to_numpy().tolist()
    blocks = _parsed(path).items()
    names, rows, at = next(b for name, b in blocks if name != "optics" and STAR_PARTICLES & {*b[0]})
    kept = [k for k, name in enumerate(names) if name not in values]
    labels = [*(names[k] for k in kept), *values]
    head = "".join(f"_{name} #{number}\n" for number, name in enumerate(labels, 1))
    body = [" ".join([*(_quoted(row[k]) for k in kept), *more]) + "\n" for row, more in zip(rows, added)]
    if len(at) == len(names):  # one particle, written without a loop
        head, body = f"loop_\n{head}{body[0]}", []
    new = dict(zip(at, [head, *[""] * (len(names) - 1), *body]))
    lines = enumerate(io.StringIO(tables.read_text(path)[0], newline=None), 1)
    return "".join(new.get(number, line) for number, line in lines)


def _quoted(value):
    """Return a value as `_values` reads it."""
    if value and not value.startswith(("#", "'", '"')) and not re.search(r"\s", value, re.ASCII):
        return value
    return f'"{value}"' if '"' not in value else f"'{value}'"


def _with_optics(path, data, optics):
    """Return the particles with the columns of their optics group."""
    for block in (optics, data):
        _columns(path, block, "rlnOpticsGroup")
    groups = optics.set_index("rlnOpticsGroup")
    if groups.index.has_duplicates:
        raise refusal(path, "describes an optics group twice in data_optics; remove one of the two.")
    unknown = ~data["rlnOpticsGroup"].isin(groups.index)
    refuse(path, data, unknown, "its optics group is not in data_optics; add it.")
    extra = groups[[name for name in groups if name not in data]]
    return data.join(extra, on="rlnOpticsGroup")


def _number(data, name):
    """Return a column as floats, NaN where it is absent or no number."""
    column = data[name] if name in data else pd.Series(math.nan, data.index)
    return pd.to_numeric(column, errors="coerce").astype(float)


def _star_pixel_nm(data, first):
    """Return the pixel size in nm from the column `first`, the general one, or detector and magnification."""
    detector_nm = _number(data, "rlnDetectorPixelSize") * 1e3  # in µm
    by_detector = detector_nm / _number(data, "rlnMagnification")
    angstroms = _number(data, first).fillna(_number(data, "rlnPixelSize"))
    pixel_nm = (angstroms / ANGSTROMS_PER_NM).fillna(by_detector)
    return pixel_nm.where((pixel_nm > 0) & np.isfinite(pixel_nm))


def _star_stacks(path, data):
    """Return the particles of stacks: `7@stack.mrcs` is the seventh image."""
    names = data[STAR_STACK].astype(str).str.strip()
    parts = names.str.extract(r"^0*([1-9]\d{0,8})@(.+)$")
    fault = "{!r} is not written as 7@stack.mrcs; correct it."
    refuse(path, data, parts[1].isna(), lambda row: fault.format(shown(row[STAR_STACK])[:60]))
    table = pd.DataFrame({"particle": names, "image": parts[1]})
    table["index"] = parts[0].astype("Int64") - 1
    if STAR_MICROGRAPH in data:
        table["micrograph"] = data[STAR_MICROGRAPH].astype(str)
    table["pixel_size_nm"] = _star_pixel_nm(data, "rlnImagePixelSize")
    return table


def _star_micrographs(path, data, folder):
    """Return the particles at positions in micrographs."""
    _columns(path, data, "rlnCoordinateX", "rlnCoordinateY")
    table = in_micrographs(path, folder, data.index, data.get(STAR_MICROGRAPH))
    table["pixel_size_nm"] = _star_pixel_nm(data, "rlnMicrographPixelSize")
    # The box of the extraction, which may have been rescaled, in the micrograph's pixels.
    table["box_nm"] = _number(data, "rlnImageSize") * _number(data, "rlnImagePixelSize") / ANGSTROMS_PER_NM
    table["box_px"] = (table["box_nm"] / table["pixel_size_nm"]).round()
    return table


def beside(path, folder):
    """Return the name, relative to `folder`, of the one image that a table of positions is named after."""
    stems = {one_form(stem) for stem in (path.stem, PICKERS.sub("", path.stem))}
    # EMAN2 keeps boxes in info/ and their micrographs beside that folder.
    places = dict.fromkeys((path.parent, Path(folder), Path(folder, "micrographs")))
    files = (file for place in places if place.is_dir() for file in sorted(place.iterdir()))
    found = {p.resolve(): p for p in files if one_form(p.stem) in stems and p.suffix.lower() in SUFFIXES}
    found = list(found.values())
    if len(found) != 1:
        many = f"{len(found)} images" if found else "no image"
        cure = "put one there, or name their folder as 'data_folder'"
        raise refusal(path, f"names no micrograph and {many} of its name lies beside it; {cure}.")
    try:
        return found[0].resolve().relative_to(Path(folder).resolve()).as_posix()
    except ValueError as fault:
        raise refusal(found[0], f"is a link out of {shown(folder)}; put the file itself there.") from fault


def in_micrographs(path, folder, index, names=None):
    """Return the columns of names of particles in micrographs, whose rows must count from the end that is known."""
    micrograph = pd.Series(beside(path, folder) if names is None else names, index).astype(str)
    other = [name for name in micrograph.unique() if format_of(name) != "MRC"]
    if other:
        fault = f"gives positions in {listed(other[:1])}, whose rows picking programs count from the bottom"
        cure = "convert the micrographs to MRC, or give positions as a table with row and column"
        raise refusal(path, f"{fault}; {cure}.")
    table = pd.DataFrame({"particle": numbered(micrograph), "image": micrograph})
    table["index"] = pd.array([pd.NA] * len(table), "Int64")
    return table.assign(micrograph=micrograph)


def _read_box(path, folder):
    """Read EMAN's .box: lower left corner, width, height, and perhaps a mode."""
    rows, wrong = {}, {}
    for line, content in enumerate(tables.read_text(path)[0].splitlines(), 1):
        if not content.strip():
            continue
        try:
            x, y, width, height, *mode = map(float, content.split()[:5])
        except ValueError:
            wrong.setdefault("not x, y, width, height in numbers; correct it", []).append(line)
            continue
        if mode in ([-1], [-2]):
            wrong.setdefault("the end of a filament, not a particle; export single boxes", []).append(line)
        rows[line] = x, y, width, height
    for fault, lines in wrong.items():
        raise InputError(f"{shown(path)}, {places('line', lines)}: {fault}.")
    return _corners(path, folder, pd.DataFrame(rows, CORNER).T.rename_axis("line")), []


def _read_cbox(path, folder):
    """Read crYOLO's .cbox, a STAR file of corners, sizes and confidences."""
    blocks = _blocks(path)
    if "cryolo" not in blocks:
        raise refusal(path, "has no block data_cryolo, so it is no .cbox; export it from crYOLO again.")
    data = blocks["cryolo"].copy()
    names = ["CoordinateX", "CoordinateY", "Width", "Height"]
    _columns(path, data, *names)
    if not len(data):
        return data, []
    data.index = pd.RangeIndex(1, len(data) + 1, name="particle row")
    if _number(data, "CoordinateZ").notna().any():
        fault = "holds positions in a tomogram (CoordinateZ), and temlib sorts 2-D images"
        raise refusal(path, f"{fault}; give picks of micrographs.")
    edges = pd.DataFrame({new: _number(data, old) for new, old in zip(CORNER, names)})
    notes = ["The corner of a .cbox box is taken to be the lower left one, as in .box."]
    if "Confidence" in data:
        notes.append("A .cbox also holds boxes below the picking threshold; choose by Confidence.")
    return pd.concat([_corners(path, folder, edges), data.drop(columns=names)], axis=1), notes


def _corners(path, folder, data):
    """Return the table of particles from `CORNER`s and sizes in one micrograph."""
    if not len(data):
        return data
    wrong = ~((data["width"] > 0) & (data["width"] == data["height"]) & np.isfinite(data).all(axis=1))
    refuse(path, data, wrong, "the box is not a square of positive size; correct it.")
    table = in_micrographs(path, folder, data.index)
    # A box of n pixels from corner c covers c .. c + n - 1; its centre pixel is c + n // 2, as `cut` has it.
    table["row"], table["column"] = data["y"] + data["height"] // 2, data["x"] + data["width"] // 2
    table["box_px"] = data["width"]
    return table


def numbered(micrographs):
    """Return unique particle names: the micrograph and a running number in it, from 1."""
    return micrographs + ":" + (micrographs.groupby(micrographs).cumcount() + 1).astype(str)


READERS = {".star": _read_star, ".box": _read_box, ".cbox": _read_cbox}


def read(path, readers=READERS, data_folder=""):
    """Return the positions of particles, or their places in stacks of crops, one row a particle.

    Columns: `particle` (unique text), `image` (path relative to ``attrs["folder"]``), `index` (0-based place in a stack,
    <NA> for a micrograph), `micrograph` (text, absent if unknown), `row`, `column`, `box_px`, `box_nm`, `pixel_size_nm`
    of the image (NaN = the file does not say), then the file's other columns. ``attrs`` hold `folder` and `notes`
    (sentences about assumptions). The index says in which line, or row of a STAR file, a particle is written. Where
    nothing was picked there are neither rows nor columns.

    * ``.star`` of RELION (3.0, 3.1 and later) or cryoSPARC: with `rlnImageName` the crops of the stacks are the particles,
      else `rlnCoordinateX/Y` in `rlnMicrographName`. The pixel size is `rlnImagePixelSize` (stack) or
      `rlnMicrographPixelSize` (micrograph) of the optics group, else `rlnPixelSize`, else detector pixel over
      magnification. Image names are relative to the RELION project (the nearest folder upwards that holds
      ``default_pipeline.star``), else to the file's folder. RELION reads TIFF bottom row first [1]_; positions in TIFF
      micrographs are therefore refused.
    * ``.box`` of EMAN: x, y of the lower left corner, width, height [2]_; the first row of an MRC file is the lowest.
    * ``.cbox`` of crYOLO is taken to give the same corner, an assumption from its use as .box, not confirmed in its
      documentation. Boxes below the picking threshold are kept, with their `Confidence`.

    References
    ----------
    .. [1] https://relion.readthedocs.io/en/release-4.0/Reference/Conventions.html
    .. [2] https://blake.bcm.edu/emanwiki/Eman2OtherFiles
    """
    path = Path(path)
    folder = Path(data_folder) if data_folder else _project(path)
    reader = next(reader for end, reader in readers.items() if path.name.lower().endswith(end))
    # Programs leave a file of nothing, or of a header, where nothing was picked.
    table, notes = (pd.DataFrame(), []) if is_blank(path) else reader(path, folder)
    if not len(table):
        return pd.DataFrame()
    loose = bool(data_folder) or path.suffix.lower() == ".cs"
    table["image"], found = located(folder, table["image"], loose=loose)
    notes += found
    table = finish(path, table)
    other = f"{{}} is not an image that can be read; known are {' '.join(SUFFIXES)}."
    wrong = table["image"].map(format_of).isna()
    refuse(path, table, wrong, lambda row: other.format(listed([row["image"]])))
    table.attrs = {"folder": str(folder), "notes": notes}
    return table


def _project(path):
    """Return the folder of the project that a file lies in, or its own."""
    here, mark = path.resolve().parent, PROJECTS.get(path.suffix.lower())
    return next((p for p in (here, *here.parents) if mark and (p / mark).is_file()), path.parent)


def finish(path, table, *, whole=False):
    """Return the table, checked, with fixed columns first; of `whole` crops the place in a micrograph may be unknown."""
    if not len(table):
        raise refusal(path, "holds no particles; pick some or leave it out.")
    for name in PLACES:
        table[name] = values = _number(table, name)
        if name in ("row", "column"):
            wrong = np.isinf(values) if whole else ~np.isfinite(values) & table["index"].isna()
            fault = "is not a finite number"
        else:
            wrong = np.isinf(values) | (values <= 0)
            fault = "is not a positive number"
        refuse(path, table, wrong, f"{name} {fault}; correct or remove that row.")
    fault = "the particle {} occurs twice; remove one."
    refuse(path, table, table["particle"].duplicated(), lambda row: fault.format(listed([row["particle"]])))
    first = [name for name in ("particle", "image", "index", "micrograph", *PLACES) if name in table]
    return table[first + [name for name in table if name not in first]]


def is_blank(path):
    """Return whether a file holds no more than blanks."""
    return (
        path.is_file() and path.stat().st_size < BLANK and not path.read_bytes().strip(b" \t\r\n\xef\xbb\xbf")
    )


def cut(image, row, column, box_px):
    """Return a square crop of a micrograph as float32, and whether a part of its window lies outside.

    The centre (0-based, in pixels) is rounded half up, since resampling would change the noise; it is pixel
    ``box_px // 2`` of the crop. **Border rule**: a centre must lie in the micrograph; pixels of the window that lie
    outside take the median of those inside, which adds no structure, where mirrored ones would add false membranes.
    """
    for name, value, size in zip(("row", "column"), (row, column), image.shape):
        if not -0.5 <= value < size - 0.5:  # also NaN
            fault = f"outside the micrograph of {image.shape[0]} x {image.shape[1]} pixels"
            cure = "check the binning of the positions"
            raise InputError(f"The particle has its {name} at {value:g}, {fault}; {cure}.")
    if 4 * box_px**2 > LARGEST_CUT:
        raise InputError(f"A crop of {box_px} x {box_px} pixels exceeds 128 MiB; cut a smaller one.")
    top, left = (math.floor(value + 0.5) - box_px // 2 for value in (row, column))
    inner = image[max(top, 0) : top + box_px, max(left, 0) : left + box_px]
    if inner.shape == (box_px, box_px):
        return np.array(inner, np.float32), False
    crop = np.full((box_px, box_px), np.median(inner), np.float32)
    at = max(-top, 0), max(-left, 0)
    crop[at[0] : at[0] + inner.shape[0], at[1] : at[1] + inner.shape[1]] = inner
    return crop, True
