"""From a path to particles: a table with one row each, and the pixels of every row.

`read` takes what people have: a manifest (a table that names images), positions of a picking program with a table of
labels, or a folder of any of these. All end in one form, `Found`: `table` holds `particle, image, index, micrograph, row,
column, box_px, box_nm, pixel_size_nm`, a text column per task and what else was there; its index says where in the file a
row stands. Pixels are read later and row by row, so that a million particles are never in memory together.
"""

import contextlib
import re
from pathlib import Path

import numpy as np
import pandas as pd

from temlib.data import labels, positions, tables
from temlib.data.conventions import nanometres
from temlib.data.crops import Found
from temlib.data.micrographs import SUFFIXES, format_of
from temlib.data.positions import PLACES, numbered
from temlib.data.tables import refuse
from temlib.files import InputError, listed, refusal, shown

TABLES = (".csv", ".tsv", ".txt")
# Columns with a meaning of their own; a task is any other text column.
RESERVED = ("image", "index", "number", "particle", "micrograph", "session", "fold", *PLACES)
MOST_CLASSES = 20


def read(path):
    """Return the particles that a path names, as they are `Found`.

    * a manifest: a table with a column `image`, relative to it; with `row` and `column` (0-based centre) and `box_px`
      or `box_nm` the particle is cut out of that image, with `index` (0-based) it is one of a stack;
    * positions: ``.star``, ``.box``, ``.cbox``; labels come from a table of the same name beside it;
    * a table of labels without `image`: it belongs to the positions of the same name, or the only ones, beside it;
    * a folder with `manifest.csv`, with positions (and one table), with class folders, or with one table.

    Lengths may be given in other units, as `pixel_size_A` or `box_um`.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise InputError(f"{shown(path)}: there is no such file or folder; correct 'particles'.")
    suffix, picked = path.suffix.lower(), " ".join(positions.READERS)
    if suffix in positions.READERS:
        beside = [path.with_suffix(end) for end in TABLES if path.with_suffix(end).is_file()]
        return _positions([path], _only(path, beside))
    if suffix not in TABLES:
        known = f"a table or positions ({' '.join(TABLES)} {picked}), or lie in class folders"
        raise InputError(f"{shown(path)}: particles are named by {known}; see parameters/own_data.yaml.")
    table = tables.read(path)
    if "image" in table:
        return _manifest(path, table)
    beside = _of_kind(path.parent, positions.READERS)
    beside = [other for other in beside if other.stem == path.stem] or beside
    if not beside:
        fault = f"has no column 'image', and no positions ({picked}) lie beside it; its columns are {listed(table)}."
        raise refusal(path, fault)
    return _positions(beside, path)


def _of_kind(folder, suffixes):
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file())


def _only(path, candidates):
    """Return the one table of labels, or None; two are a question that only the user can answer."""
    if len(candidates) > 1:
        names = listed(candidate.name for candidate in candidates)
        raise InputError(f"{shown(path)}: which table holds the labels, {names}? Name it as 'particles'.")
    return candidates[0] if candidates else None


def _folder(folder):
    """Read a folder."""
    if (folder / "manifest.csv").is_file():
        return read(folder / "manifest.csv")
    picked, found = _of_kind(folder, positions.READERS), _of_kind(folder, TABLES)
    if picked:
        return _positions(picked, _only(folder, found))
    if (classes := _class_folders(folder)) is not None:
        return classes
    if not found:
        fault = "there are neither class folders with images, nor a manifest, nor positions in it"
        raise InputError(f"{shown(folder)}: {fault}; see parameters/own_data.yaml.")
    return read(_only(folder, found))


def _class_folders(folder):
    """Read a folder whose sub-folders are named by class, None if it has none with images."""
    rows = [
        (image.relative_to(folder).as_posix(), sub.name)
        for sub in sorted(folder.iterdir())
        if sub.is_dir() and not sub.name.startswith(".")
        for image in sorted(sub.iterdir())
        if format_of(image.name) and not image.name.startswith(".")
    ]
    if not rows:
        return None
    table = pd.DataFrame(rows, columns=["image", "class"], dtype=str)
    table.index = pd.RangeIndex(1, len(table) + 1, name="image number")
    table["particle"] = table["micrograph"] = table["image"]
    notes = [f"Read from the class folders of {shown(folder.name)}/; the task is called 'class'."]
    unknown = (
        "Class folders do not say which particles share a micrograph, so each counts as its own micrograph"
    )
    cure = "A manifest with a column 'micrograph' remedies this"
    notes.append(f"{unknown}: scores may be optimistic and intervals too narrow. {cure}.")
    return _finish(folder, folder, table, notes, whole=True)


def _manifest(path, table):
    """Read a table that names images."""
    table["image"] = table["image"].str.strip().str.replace("\\", "/", regex=False)
    _check_names(path, table)
    notes = [_words(path, table)]
    table = _lengths(path, table, notes)
    index = _numbers(path, table, "index")
    fault = "the index counts images of a stack from 0; give a whole number or leave it empty."
    refuse(path, table, (index < 0) | (index % 1 > 0), fault)
    table["index"] = index.astype("Int64")
    row, column = table["row"].notna(), table["column"].notna()
    placed = row & column
    fault = "the position is empty; give row and column."
    refuse(path, table, row != column, fault)
    refuse(path, table, placed.any() & ~placed & table["index"].isna(), fault)
    own = table["image"].is_unique
    boxed = table[["box_px", "box_nm"]].notna().any(axis=None)
    whole = not placed.any() or (own and not boxed and "micrograph" in table and not _same(table).any())
    if "particle" not in table:
        table["particle"] = table["image"] if own else numbered(table["image"])
    if "micrograph" not in table and not whole:
        table["micrograph"] = table["image"]
        notes.append("There is no column 'micrograph', so each image counts as one micrograph.")
    _check_places(path, table, whole)
    return _finish(path, path.parent, table, notes, whole=whole)


def _same(table):
    """Return for each row whether its image is its micrograph: their names are equal but for folder and suffix."""
    stems = table[["image", "micrograph"]].map(lambda text: Path(text).name.partition(".")[0])
    return stems["image"] == stems["micrograph"]


def _words(path, table):
    """Return how a table is written."""
    separator = tables.SEPARATORS[table.attrs["separator"]]
    decimal = ", decimal commas" if table.attrs["decimal"] == "," else ""
    how = f"{table.attrs['encoding']}, separated by {separator}{decimal}"
    return f"Read from {shown(path.name)} ({how}): {len(table):,} rows, columns {listed(table)}."


def _check_names(path, table):
    """Refuse names that are empty, leave the folder as text, or name no image; links are looked at when reading."""
    names = table["image"]
    refuse(path, table, names == "", "'image' is empty; name the particle's image.")
    leaving = names.str.contains(r"^/|^.:|(?:^|/)\.\.(?:/|$)")
    fault = "the image path {!r} leaves its folder; put the image inside."
    refuse(path, table, leaving, lambda row: fault.format(shown(row["image"])[:200]))
    other = f"{{!r}} is not an image that can be read; known are {' '.join(SUFFIXES)}."
    refuse(path, table, names.map(format_of).isna(), lambda row: other.format(shown(row["image"])[:200]))


def _numbers(path, table, name):
    """Return a column as numbers, NaN where it is absent."""
    if name not in table:
        return pd.Series(np.nan, table.index)
    try:
        return tables.numbers(table[name], decimal=table.attrs.get("decimal"))
    except InputError as error:
        raise InputError(f"{shown(path)}: {error}") from None


def _lengths(path, table, notes):
    """Turn the columns of numbers into numbers, and lengths in other units into nm."""
    for name in list(table):
        measured = re.fullmatch("(pixel_size|box)_(.+)", name)
        unit = nanometres(measured[2]) if measured and measured[2] not in ("px", "nm") else None
        if unit is None:
            continue
        target = f"{measured[1]}_nm"
        if target in table:
            raise refusal(path, f"has both {name!r} and {target!r}; keep one of them.")
        # Twelve digits: 2.9 Å are 0.29 nm and not 0.29000000000000004.
        table[target] = (_numbers(path, table, name) * unit).map("{:.12g}".format).astype(float)
        del table[name]
        notes.append(f"{target} was computed from the column {shown(name)}.")
    for name in PLACES:
        if name not in table or not pd.api.types.is_float_dtype(table[name]):
            table[name] = _numbers(path, table, name)
    return table


def _check_places(path, table, whole):
    """Refuse an image or a place in it that stands twice: one particle would be counted, or labelled, twice."""
    keys = ["image"] if whole and table["index"].isna().all() else ["image", "index", "row", "column"]

    def fault(row):
        same = (table[keys].fillna(-1) == row[keys].fillna(-1)).all(axis=1)
        first = f"{table.index.name} {table.index[same][0]}"
        return f"{shown(row['image'])[:200]!r} is the particle of {first} again; name each particle once."

    refuse(path, table, table.duplicated(keys), fault)


def _positions(paths, labelled):
    """Read the positions of one or several files, and a table of labels."""
    path = paths[0] if len(paths) == 1 else paths[0].parent
    kinds = {path.suffix.lower() for path in paths}
    if len(kinds) > 1:
        kinds = " ".join(sorted(kinds))
        raise InputError(f"{shown(path)}: positions of several kinds lie here ({kinds}); keep one kind.")
    parts = [positions.read(path) for path in paths]
    folders = {part.attrs["folder"] for part in parts}
    if len(folders) > 1:
        raise InputError(f"{shown(path)}: positions of several RELION projects lie here; keep one.")
    notes = [f"Positions from {listed(path.name for path in paths)}: {sum(map(len, parts)):,} particles."]
    notes += dict.fromkeys(note for part in parts for note in part.attrs["notes"])
    table = parts[0]
    if len(parts) > 1:
        lines = [f"{file.name} {line}" for file, part in zip(paths, parts) for line in part.index]
        table = pd.concat(parts).set_axis(pd.Index(lines, name="row"))
    if labelled is not None:
        table = _joined(table, labelled, notes)
    if table["index"].isna().any():
        # What is cut is placed in pixels of the micrograph; the window may still be stated by no one.
        rule = "pixels of a window beyond the border take the median of those within"
        notes.append(f"Crops are cut out of the micrographs; {rule}.")
    return _finish(path, Path(folders.pop()), table, notes, whole=False)


def _joined(table, path, notes):
    """Return positions with the columns of a table of labels, whose rows are about particles by name or number."""
    given = tables.read(path)
    notes.append(_words(path, given))
    names, wanted = _particles_of(table, path, given)
    fault = f"there is no position for {{}}; the first is {shown(names.iloc[0])!r}."
    refuse(path, given, ~wanted.isin(names), lambda row: fault.format(listed([wanted[row.name]])))
    refuse(path, given, wanted.duplicated(), "the particle occurs twice; remove one row.")
    _measure(given, given.attrs["decimal"])
    given = _lengths(path, given, notes)
    at = pd.Index(wanted).get_indexer(names)  # −1 where no row is about the particle
    told = ("particle", "number", "micrograph", "image", "row", "column")
    for name in given.columns.difference(told, sort=False):
        values = given[name].reset_index(drop=True).reindex(at).set_axis(table.index)
        if name in PLACES:
            values = values.fillna(table[name])
        elif not pd.api.types.is_numeric_dtype(values):
            values = values.fillna("")
        table[name] = values
    if lost := (at < 0).sum():
        notes.append(f"{lost:,} of {len(table):,} positions have no row in {shown(path.name)}, so no label.")
    return table


def _particles_of(table, path, given):
    """Return the particles' names, and which one each row of `given` is about, by `particle`, or `micrograph` and `number`."""
    if "particle" in given:
        return table["particle"], given["particle"].str.strip()
    micrograph = table["micrograph"] if "micrograph" in table else table["image"]
    if "number" not in given or ("micrograph" not in given and micrograph.nunique() > 1):
        such = f"'particle' (such as {shown(table['particle'].iloc[0])!r})"
        cure = f"add a column {such}, or 'micrograph' and 'number' (counted from 1 in each)"
        raise refusal(path, f"does not say which particle a row is about; {cure}.")
    names = micrograph.unique()
    known = {Path(name).stem: name for name in names} | {name: name for name in names}
    if "micrograph" in given:
        about = given["micrograph"].str.strip()
        about = about.map(lambda name: known.get(name) or known.get(Path(name).stem, name))
    else:
        about = pd.Series(micrograph.iloc[0], given.index)
    return numbered(micrograph), about + ":" + _numbers(path, given, "number").map("{:g}".format)


def _finish(path, folder, table, notes, *, whole):
    """Check what all sources share: names, numbers, labels."""
    if "index" not in table:
        table["index"] = pd.array([pd.NA] * len(table), "Int64")
    if "micrograph" not in table:
        table["micrograph"] = table["particle"]
        unknown = "There is no column 'micrograph', so each particle counts as its own micrograph"
        notes.append(f"{unknown}: scores may be optimistic and intervals too narrow.")
    for name in ("particle", "micrograph"):
        table[name] = table[name].astype(str).str.strip()
        refuse(path, table, table[name] == "", f"{name!r} is empty; name it for every particle.")
    _measure(table, table.attrs.get("decimal", "."))
    table = positions.finish(path, table, whole=whole)
    try:
        table = _labels(table, notes)
    except InputError as error:
        raise InputError(f"{shown(path)}: {error}") from None
    text = [name for name in table if pd.api.types.is_string_dtype(table[name])]
    table[text] = table[text].replace("", np.nan)
    return Found(table, path, folder, whole, notes)


def _measure(table, decimal):
    """Turn text columns into numbers where all cells are numbers and one is no whole number; codes stay text."""
    for name in table.columns.difference(RESERVED, sort=False):
        if "@" not in name and pd.api.types.is_string_dtype(table[name]):
            with contextlib.suppress(InputError):
                values = tables.numbers(table[name], decimal=decimal)
                if (values % 1 > 0).any():
                    table[name] = values


def _labels(table, notes):
    """Join annotators, and refuse labels that are typing errors."""
    for task in dict.fromkeys(name.partition("@")[0] for name in table if "@" in name):
        who = labels.annotators(table, task)
        if len(who) == 1 and task not in table:
            table[task] = table[f"{task}@{who[0]}"]
            notes.append(f"{task}: the labels are those of the only annotator, {shown(who[0])}.")
        elif len(who) > 1:
            table[task], agreement = labels.consensus(table, task)
            rule = f"the one given by more than half of the annotators {listed(who)}, else 'uncertain' where that is a class"
            differ = f"they differ on {len(agreement.disagreements):,} particles"
            notes.append(f"{task}: the label is {rule}, else none; {differ}.")
    tasks = tasks_of(table)
    if tasks:
        table[tasks] = labels.checked(table, tasks)
    return table


def tasks_of(table):
    """Return the columns of a particles table that are a question with 2 to 20 named answers."""
    return [
        name
        for name in table.columns
        if name not in RESERVED
        and not name.startswith(("truth_", "p_", "rln"))
        and "@" not in name
        and not _is_number(table[name])
        and 2 <= table[name].replace("", np.nan).nunique() <= MOST_CLASSES
    ]


def _is_number(column):
    """Return whether every value of a column reads as a number."""
    if pd.api.types.is_numeric_dtype(column):
        return True
    given = column.dropna().unique()
    return bool(np.isfinite(pd.to_numeric(given[given != ""], errors="coerce")).all())
