"""From a path to particles: a table with one row each, and the pixels of every row.

`read` takes what people have: a manifest (a table that names images), positions of a picking program with a table of
labels, or a folder of any of these. All end in one form, `Found`: `table` holds `particle, image, index, micrograph, row,
column, box_px, box_nm, pixel_size_nm`, a text column per task and what else was there; its index says where in the file a
row stands. Pixels are read later and row by row, so that a million particles are never in memory together.
"""

import contextlib
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from temlib.data import columns, labels, micrographs, picks, positions, tables
from temlib.data.conventions import nanometres
from temlib.data.crops import Found
from temlib.data.micrographs import SUFFIXES, format_of, stacked
from temlib.data.names import located, one_form, searched
from temlib.data.positions import PLACES, numbered
from temlib.data.tables import places, refuse
from temlib.files import InputError, check_name, inside, listed, natural, reason, refusal, shown

TABLES = (".csv", ".tsv", ".txt", ".xlsx")
# Folders that divide class folders.
PARTS = ("train", "training", "test", "testing", "val", "valid", "validation")
# Columns with a meaning of their own; a task is any other text column.
RESERVED = ("image", "index", "number", "particle", "micrograph", "session", "fold", *PLACES)
MOST_CLASSES = 20
LABELLED = "_labelled"  # how the name of a copy ends into which somebody labels (`annotations`)
# What a column of classes is called where no one says, and text that is no one's answer.
CLASSES = ("class", "label", "rlnClassNumber")
ABOUT = (
    "operator",
    "user",
    "date",
    "time",
    "comment",
    "comments",
    "note",
    "notes",
    "remark",
    "grid",
    "picked",
)


@dataclass(frozen=True)
class Asked:
    """What a user says of particles beside naming them."""

    task: str = ""  # the column of labels that is judged, whatever is in it
    data_folder: str = ""  # where names of images begin, if not at the table
    micrograph: str = ""  # pattern that finds the micrograph in an image's name
    names: dict = field(default_factory=dict)  # of classes given as numbers or codes
    classes: tuple = ()  # names that are no typing errors


def read(path, asked=Asked()):
    """Return the particles that a path names, as they are `Found`.

    * a manifest: a table with a column `image`, relative to it; with `row` and `column` (0-based centre) and `box_px`
      or `box_nm` the particle is cut out of that image, with `index` (0-based) it is one of a stack; without both, all
      images of a stack are particles. Other programs' names for these columns are known (`columns`); ``.json`` of COCO
      is read as such a table;
    * positions: ``.star``, ``.box``, ``.cbox``, and those of `picks`; labels come from a table of the same name beside it;
    * a table of labels without `image`: it belongs to the positions of the same name, or the only ones, beside it;
      with `row` and `column`, to the image of its name;
    * a folder with `manifest.csv`, with positions (and one table), with class folders, which may lie in folders train and
      test, or with one table.

    Lengths may be given in other units, as `pixel_size_A` or `box_um`.
    """
    path = Path(path)
    check_name(path)
    if path.is_dir():
        return _folder(path, asked)
    if not path.exists():
        raise InputError(f"{shown(path)}: there is no such file or folder; correct 'particles'.")
    suffix, picked = path.suffix.lower(), " ".join(picks.READERS)
    if picks.kind(path):
        beside = [path.with_suffix(end) for end in TABLES if path.with_suffix(end).is_file()]
        return _positions([path], _only(path, [other for other in beside if not picks.kind(other)]), asked)
    if suffix == ".json" and (table := columns.coco(path)) is not None:
        return _manifest(path, table, asked, [f"Read from {shown(path.name)} (COCO): {len(table):,} boxes."])
    if suffix not in TABLES:
        known = f"a table or positions ({' '.join(TABLES)} {picked}), or lie in class folders"
        raise InputError(f"{shown(path)}: particles are named by {known}; see parameters/own_data.yaml.")
    table = tables.read(path)
    notes = [_words(path, table)]
    table = columns.known(path, table, notes)
    if "image" in table:
        return _manifest(path, table, asked, notes)
    beside = [other for other in path.parent.iterdir() if other != path and picks.kind(other)]
    beside = sorted(other for other in beside if other.stem == path.stem) or sorted(beside)
    if {"row", "column"} <= {*table} and not (beside and {"particle", "number"} & {*table}):
        folder = Path(asked.data_folder or path.parent)
        table["image"] = table["micrograph"] if "micrograph" in table else positions.beside(path, folder)
        return _manifest(path, table, asked, notes)
    if not beside:
        fault = f"has no column 'image', and no positions ({picked}) lie beside it; its columns are {listed(table)}."
        raise refusal(path, fault)
    return _positions(beside, path, asked)


def _only(path, candidates):
    """Return the one table of labels, or None; two are a question that only the user can answer."""
    if len(candidates) > 1:
        names = listed(candidate.name for candidate in candidates)
        raise InputError(f"{shown(path)}: which table holds the labels, {names}? Name it as 'particles'.")
    return candidates[0] if candidates else None


def _folder(folder, asked):
    """Read a folder."""
    if (folder / "manifest.csv").is_file():
        return read(folder / "manifest.csv", asked)
    # A file that begins with a point is no one's data, such as what a killed process left half written.
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    picked = [path for path in files if picks.kind(path)]
    if any(picks.kind(path) == ".txt" for path in picked):
        picked += [path for path in files if path.suffix.lower() == ".txt" and positions.is_blank(path)]
    found = [path for path in files if path.suffix.lower() in TABLES and path not in picked]
    # Copies with labels are read when they are named, and make no question of which table is meant.
    found = [path for path in found if not path.stem.endswith(LABELLED)] or found
    if picked:
        # A job of cryoSPARC leaves the particles and what passes through it, which joins them.
        main = [path for path in picked if "passthrough" not in path.name] or picked
        if len(main) > 1 and any(picks.kind(path) == ".cs" for path in main):
            fault = f"which file holds the particles, {listed(path.name for path in main)}?"
            raise InputError(f"{shown(folder)}: {fault} Name it as 'particles'.")
        return _positions(main, _only(folder, found), asked)
    rows = class_folders(folder)
    if len(rows):
        return _of_classes(folder, rows, asked)
    if not found:
        fault = "there are neither class folders with images, nor a manifest, nor positions in it"
        raise InputError(f"{shown(folder)}: {fault}; see parameters/own_data.yaml.")
    return read(_only(folder, found), asked)


def _subfolders(folder):
    return [sub for sub in sorted(folder.iterdir()) if sub.is_dir() and not sub.name.startswith(".")]


def class_folders(folder):
    """Return what `_class_folders` does, with a column `fold` where these lie in folders such as train and test."""
    parts = {sub.name: _class_folders(sub) for sub in _subfolders(folder)}
    if not parts or not set(parts) <= set(PARTS) or not any(len(part) for part in parts.values()):
        return _class_folders(folder)
    rows = pd.concat([part.assign(fold=name) for name, part in parts.items()], ignore_index=True)
    return rows.assign(image=rows["fold"] + "/" + rows["image"])


def _class_folders(folder):
    """Return the images in folders that are named by class, relative to `folder`, and their classes."""
    rows = [
        (image.relative_to(folder).as_posix(), one_form(sub.name))
        for sub in _subfolders(folder)
        for image in sorted(sub.iterdir())
        if format_of(image.name) and not image.name.startswith(".")
    ]
    for row in rows:
        check_name(Path(folder, row[0]))
    return pd.DataFrame(rows, columns=["image", "class"], dtype=str)


def _of_classes(folder, table, asked):
    """Read the images of class folders."""
    notes = [f"Read from the class folders of {shown(folder.name)}/; the task is called 'class'."]
    if "fold" in table:
        notes.append(f"Each of the folders {listed(table['fold'].unique())} is held out once, as a fold.")
    table["particle"] = table["image"]
    table = _unstacked(folder, table, notes)
    table.index = pd.Index(table["particle"].map(shown), name="file")
    if not asked.micrograph:
        table["micrograph"] = table["particle"]
        unknown = "Class folders do not say which particles share a micrograph, so each counts as its own micrograph"
        cure = "A manifest with a column 'micrograph', or the parameter 'micrograph', remedies this"
        notes.append(f"{unknown}: scores may be optimistic and intervals too narrow. {cure}.")
    return _finish(folder, folder, table, notes, asked, whole=True)


def _unstacked(folder, table, notes):
    """Return a table with a row for each image of the stacks that it names as a whole."""
    count = {name: stacked(Path(folder, name)) for name in table["image"].unique()}
    counts = table["image"].map(count).to_numpy()
    if "index" in table:
        counts = np.where(table["index"].isna(), counts, 1)
    if (counts == 1).all():
        return table
    place = np.concatenate([np.arange(n) for n in counts])
    result = table.iloc[np.repeat(np.arange(len(table)), counts)].copy()
    given = result["index"] if "index" in table else pd.Series(pd.NA, result.index, "Int64")
    several = pd.Series(np.repeat(counts, counts) > 1, result.index)
    result["index"] = given.mask(several, pd.Series(place, result.index, "Int64"))
    if "particle" in table:
        names = result["particle"] + ":" + pd.Series(place + 1, result.index).astype(str)
        result["particle"] = result["particle"].where(~several, names)
    notes.append(f"Each image of {(counts > 1).sum():,} stacks is a particle: {several.sum():,}.")
    return result


def _manifest(path, table, asked, notes):
    """Read a table that names images."""
    folder = Path(asked.data_folder or path.parent)
    table["image"] = table["image"].str.strip().str.replace("\\", "/", regex=False)
    try:
        table["image"], found = located(folder, table["image"], loose=bool(asked.data_folder))
    except InputError as error:
        raise InputError(f"{shown(path)}: {error}") from None
    notes += found
    _check_names(path, table)
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
    if not placed.any():
        table = _unstacked(folder, table, notes)
    own = table["image"].is_unique
    boxed = table[["box_px", "box_nm"]].notna().any(axis=None)
    whole = not placed.any() or (own and not boxed and "micrograph" in table and not _same(table).any())
    if "particle" not in table:
        table["particle"] = table["image"] if own else numbered(table["image"])
    if "micrograph" not in table and not whole:
        table["micrograph"] = table["image"]
        notes.append("There is no column 'micrograph', so each image counts as one micrograph.")
    _check_places(path, table, whole)
    if "imagej" in table.attrs:
        _check_scale(folder, table["image"].unique())
    return _finish(path, folder, table, notes, asked, whole=whole)


def _check_scale(folder, names):
    """Refuse positions of ImageJ in images with a scale, since they are then in its unit and not in pixels."""
    scaled = []
    for name in names:
        with contextlib.suppress(InputError):  # what cannot be read is told with all others
            if np.isfinite(micrographs.read(inside(folder, name)).pixel_nm):
                scaled.append(name)
    if scaled:
        fault = "has a scale, in whose unit ImageJ gives X, Y, BX and BY, and not in pixels"
        cure = "click Analyze > Set Scale > Click to Remove Scale and measure again, or give row and column"
        raise InputError(f"{places('image', scaled)} {fault}; {cure}.")


def _same(table):
    """Return for each row whether its image is its micrograph: their names are equal but for folder and suffix."""
    stems = table[["image", "micrograph"]].map(lambda text: Path(text).name.partition(".")[0])
    return stems["image"] == stems["micrograph"]


def _words(path, table):
    """Return how a table is written."""
    separator = tables.SEPARATORS[table.attrs["separator"]]
    decimal = ", decimal commas" if table.attrs["decimal"] == "," else ""
    book = table.attrs["encoding"] == "a workbook"
    how = table.attrs["encoding"] + ("" if book else f", separated by {separator}{decimal}")
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
        if measured and measured[1] == "pixel_size" and unit is None and measured[2] != "nm":
            fault = f"has a column {name!r} in a unit that is not known"
            raise refusal(path, f"{fault}; call it pixel_size_nm or pixel_size_A.")
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


def _positions(paths, labelled, asked):
    """Read the positions of one or several files, and a table of labels."""
    path = paths[0] if len(paths) == 1 else paths[0].parent
    kinds = {picks.kind(path) or path.suffix.lower() for path in paths}
    if len(kinds) > 1:
        kinds = " ".join(sorted(kinds))
        raise InputError(f"{shown(path)}: positions of several kinds lie here ({kinds}); keep one kind.")
    parts = _picked(path, paths, asked.data_folder)
    folders = {part.attrs["folder"] for part in parts.values()}
    if len(folders) > 1:
        raise InputError(f"{shown(path)}: positions of several RELION projects lie here; keep one.")
    table = pd.concat(parts.values()) if len(parts) > 1 else next(iter(parts.values()))
    notes = [f"Positions from {listed(file.name for file in parts)}: {len(table):,} particles."]
    notes += dict.fromkeys(note for part in parts.values() for note in part.attrs["notes"])
    if empty := [file.name for file in paths if file not in parts]:
        notes.append(f"Micrographs without picks: {len(empty):,} ({listed(empty, 3)}).")
    if len(paths) > 1:
        lines = [f"{file.name} {line}" for file, part in parts.items() for line in part.index]
        table = table.set_axis(pd.Index(lines, name="row"))
    if labelled is not None:
        table = _joined(table, labelled, notes, asked.task)
    if table["index"].isna().any():
        # What is cut is placed in pixels of the micrograph; the window may still be stated by no one.
        rule = "pixels of a window beyond the border take the median of those within"
        notes.append(f"Crops are cut out of the micrographs; {rule}.")
    return _finish(path, Path(folders.pop()), table, notes, asked, whole=False)


def _picked(path, files, data_folder):
    """Return the positions in each file in which something was picked; those that cannot be read are counted."""
    parts, faults = {}, {}
    for file in files:
        try:
            parts[file] = picks.read(file, data_folder)
        except InputError as error:
            faults[file.name] = str(error)
    if faults:
        first = next(iter(faults.values())).rstrip(".")
        several = f" ({len(faults):,} of {len(files):,} files cannot be read: {listed(faults, 3)})"
        raise InputError(f"{first}{several if len(faults) > 1 else ''}.")
    parts = {file: part for file, part in parts.items() if len(part)}
    if not parts:
        where = f" in {len(files):,} files of positions" if len(files) > 1 else ""
        raise refusal(path, f"holds no particles{where}; pick some, or copy it again from where it came.")
    return parts


def _joined(table, path, notes, task):
    """Return positions with the columns of a table of labels, whose rows are about particles by name or number."""
    given = tables.read(path)
    notes.append(_words(path, given))
    given = columns.known(path, given, notes)
    names, wanted = _particles_of(table, path, given)
    fault = f"there is no position for {{}}; the first is {shown(names.iloc[0])!r}."
    refuse(path, given, ~wanted.isin(names), lambda row: fault.format(listed([wanted[row.name]])))
    refuse(path, given, wanted.duplicated(), "the particle occurs twice; remove one row.")
    _measure(given, given.attrs["decimal"], task)
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


def _finish(path, folder, table, notes, asked, *, whole):
    """Check what all sources share: names, numbers, labels."""
    table = table.rename(columns={one_form(asked.task): asked.task})
    if asked.micrograph:
        table["micrograph"] = _by_pattern(path, table["image"], asked.micrograph)
    if "index" not in table:
        table["index"] = pd.array([pd.NA] * len(table), "Int64")
    if "micrograph" not in table:
        table["micrograph"] = table["particle"]
        unknown = "There is no column 'micrograph', so each particle counts as its own micrograph"
        notes.append(f"{unknown}: scores may be optimistic and intervals too narrow.")
    for name in ("particle", "micrograph"):
        table[name] = table[name].astype(str).str.strip()
        refuse(path, table, table[name] == "", f"{name!r} is empty; name it for every particle.")
    _name_classes(table, asked)
    _measure(table, table.attrs.get("decimal", "."), asked.task)
    table = positions.finish(path, table, whole=whole)
    try:
        table = _labels(table, notes, asked)
    except InputError as error:
        raise InputError(f"{shown(path)}: {error}") from None
    text = [name for name in table if pd.api.types.is_string_dtype(table[name])]
    table[text] = table[text].replace("", np.nan)
    return Found(table, path, folder, whole, notes)


def _by_pattern(path, images, pattern):
    """Return the micrograph that a pattern finds in the name of each image."""
    stems = images.map(lambda name: Path(name).name.partition(".")[0])
    example = f"it should have one group that is the micrograph, such as (.*)_\\d+, and the first image is {listed(stems[:1])}"
    try:
        with warnings.catch_warnings(action="ignore"):  # of what another version will read otherwise
            groups = re.compile(pattern).groups
    except (re.error, OverflowError, RecursionError) as fault:
        raise InputError(f"micrograph: {pattern!r} is no pattern ({reason(fault)}); {example}.") from None
    found = searched(pattern, stems.unique().tolist()) if groups == 1 else {}
    if not found:
        raise InputError(f"micrograph: {pattern!r} finds no micrograph; {example}.")
    fault = f"the pattern {pattern!r} of 'micrograph' finds nothing in {{!r}}; widen it."
    refuse(path, images.to_frame(), ~stems.isin(found), lambda row: fault.format(shown(row["image"])[:200]))
    return stems.map(found)


def _name_classes(table, asked):
    """Make the columns of the declared task text, with the names that were given for its numbers or codes."""
    columns = [name for name in table if name.partition("@")[0] == asked.task]
    for name in columns:
        column = table[name]
        if not pd.api.types.is_string_dtype(column):
            whole = column.dtype.kind in "iuf" and (column.dropna() % 1 == 0).all()
            column = column.map("{:.0f}".format if whole else str, na_action="ignore").fillna("").astype(str)
        table[name] = column.str.strip()
    given = {cell for name in columns for cell in table[name].unique()} - {""}
    meant = {}
    for code, name in asked.names.items() if columns else ():
        same = {code} & given or {
            cell for cell in given if cell.isdecimal() and (cell.lstrip("0") or "0") == code
        }
        if len(same) != 1 or not isinstance(name, str) or not name:
            fault = f"names: {{{code}: {name}}} should give the text that a class is called by"
            raise InputError(f"{fault}; those of {asked.task!r} are {listed(sorted(given, key=natural))}.")
        meant[same.pop()] = name
    if meant:
        table[columns] = table[columns].replace(meant)


def _measure(table, decimal, task):
    """Turn text columns into numbers where all cells are numbers and one is no whole number; codes stay text."""
    for name in table.columns.difference(RESERVED, sort=False):
        if "@" not in name and name != task and pd.api.types.is_string_dtype(table[name]):
            with contextlib.suppress(InputError):
                values = tables.numbers(table[name], decimal=decimal)
                if (values % 1 > 0).any():
                    table[name] = values


def _labels(table, notes, asked):
    """Join annotators, and refuse labels that are typing errors."""
    judged = named_tasks(table, asked.task)
    for name in judged:
        who = labels.annotators(table, name)
        if len(who) == 1 and name not in table:
            table[name] = table[f"{name}@{who[0]}"]
            notes.append(f"{name}: the labels are those of the only annotator, {shown(who[0])}.")
        elif len(who) > 1:
            table[name], agreement = labels.consensus(table, name)
            rule = f"the one given by more than half of the annotators {listed(who)}, else 'uncertain' where that is a class"
            differ = f"they differ on {len(agreement.disagreements):,} particles"
            notes.append(f"{name}: the label is {rule}, else none; {differ}.")
    judged = [name for name in judged if name in table]
    if judged:
        table[judged] = labels.checked(table, judged, asked.classes)
    return table


def named_tasks(table, task):
    """Return the tasks that someone named: the one declared, and those with annotators or a simulated truth."""
    marked = [name.partition("@")[0] for name in table if "@" in name]
    marked += [name for name in table if f"truth_{name}" in table]
    return list(dict.fromkeys([task, *marked] if task in table else marked))


def tasks_of(table, task=""):
    """Return the columns of a particles table that are a question with named answers.

    The declared `task` comes first, then those with annotators or a simulated truth. Only where there are none of these, text
    with 2 to 20 values is taken for one, and numbers if their column is called after classes.
    """
    named = [name for name in named_tasks(table, task) if name in table]
    return named or [
        name
        for name in table.columns
        if name not in (*RESERVED, *ABOUT)
        and (
            name in CLASSES
            or not (
                name.startswith(("truth_", "p_", "rln", "temlib_")) or "@" in name or _is_number(table[name])
            )
        )
        and 2 <= table[name].replace("", np.nan).nunique() <= MOST_CLASSES
    ]


def _is_number(column):
    """Return whether every value of a column reads as a number."""
    if pd.api.types.is_numeric_dtype(column):
        return True
    given = column.dropna().unique()
    return bool(np.isfinite(pd.to_numeric(given[given != ""], errors="coerce")).all())
