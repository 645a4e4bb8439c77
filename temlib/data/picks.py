"""Positions, and places in stacks, as other programs than RELION, EMAN and crYOLO write them; see `positions.read`.

* ``.cs`` of cryoSPARC: the crops of ``blob/path``, else positions in ``location/micrograph_path``; what a passthrough beside it
  knows is joined by ``uid``. A position is a fraction of the micrograph, in the order of the file's rows: cryoSPARC shows
  MRC files with the first row lowest, as its own scripts do [1]_, and pyem turns y for RELION only since micrographs
  of another motion correction are upside down [2]_.
* ``_info.json`` of EMAN2: centres of boxes [3]_; ``.coord``, and ``.txt`` of nothing but numbers: x and y of centres.

References
----------
.. [1] https://tools.cryosparc.com
.. [2] https://github.com/asarnow/pyem/issues/81 and /101
.. [3] https://blake.bcm.edu/emanwiki/Eman2InfoMetadata
"""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd

from temlib.data import positions, tables
from temlib.data.positions import ANGSTROMS_PER_NM, in_micrographs
from temlib.data.tables import refuse
from temlib.files import InputError, natural, probe, reason, refusal, shown

NUMPY = b"\x93NUMPY"
LARGEST_HEADER = 2**20  # characters; cryoSPARC writes a dozen fields for each of its classes
FARTHEST = 1e6  # pixels
PLACE = ("center_x_frac", "center_y_frac", "micrograph_shape")
NUMBERS = re.compile(
    rb"\s*[-+]?[\d.]+(e[-+]?\d+)?([ \t]+[-+]?[\d.]+(e[-+]?\d+)?)+[ \t]*[\r\n]", re.IGNORECASE
)


def kind(path):
    """Return by which of the `READERS` a file's positions are read, None if it holds none."""
    end = next((end for end in READERS if path.name.lower().endswith(end)), None)
    return ".txt" if end is None and path.suffix.lower() == ".txt" and _of_numbers(path) else end


def read(path, data_folder=""):
    """Return the positions in a file as `positions.read` does, of any program."""
    return positions.read(path, READERS | {".txt": _read_xy}, data_folder)


def _of_numbers(path):
    """Return whether a text begins with a line of numbers, as no table does."""
    try:
        return bool(NUMBERS.match(probe(path, 200)[1] + b"\n"))
    except InputError:
        return False


def _read_cs(path, folder):
    """Read particles of cryoSPARC."""
    data, uid, notes = {}, None, []
    others = [other for other in sorted(path.parent.glob("*passthrough*.cs")) if other != path]
    for file in (path, *others):
        array = _structured(file)
        if uid is None:
            uid, rows = _field(file, array, "uid", "ui"), slice(None)
        else:
            rows = pd.Index(_field(file, array, "uid", "ui"))
            if rows.has_duplicates or (rows := rows.get_indexer(uid)).min(initial=0) < 0:
                notes.append(
                    f"{shown(file.name)} does not list all of these particles once, by uid, and is left out."
                )
                continue
        data |= {name: (file, array, rows) for name in array.dtype.names if name not in data}

    def column(name, kinds="uif", width=1):
        file, array, rows = data[name]
        return _field(file, array, name, kinds, width)[rows]

    index = pd.RangeIndex(1, len(uid) + 1, name="particle row")
    place = {f"location/{name}" for name in PLACE} <= set(data)
    if named := "location/micrograph_path" in data:
        micrograph = pd.Series(column("location/micrograph_path", "SU"), index)
    if "blob/path" in data and "blob/idx" in data:
        table = pd.DataFrame({"image": column("blob/path", "SU")}, index)
        table["index"] = pd.array(column("blob/idx", "ui").astype("int64"), "Int64")
        if named:
            table["micrograph"] = micrograph
        size = "blob/psize_A"
    elif place and named:
        table = in_micrographs(path, folder, index, micrograph)
        size = "location/micrograph_psize_A"
        lowest = "from the first row of the MRC file, which it shows lowest"
        notes.append(f"Positions of cryoSPARC are taken to be counted {lowest}; look at the first crops.")
    else:
        fault = "has neither blob/path and blob/idx nor location/*, of which one says where the particles are"
        raise refusal(path, f"{fault}; put the passthrough of the job beside it.")
    table["particle"] = uid.astype(str)
    if place:
        rows, columns = column("location/micrograph_shape", width=2).T
        table["row"] = column("location/center_y_frac").astype(float) * rows
        table["column"] = column("location/center_x_frac").astype(float) * columns
    if size in data:
        table["pixel_size_nm"] = (column(size).astype(float) / ANGSTROMS_PER_NM).round(9)
    if (classes := _classes(data, column)) is not None:
        table["class"] = pd.Series(classes, index).astype(str)
        notes.append("The task 'class' holds cryoSPARC's class numbers, counted from 0.")
    for name in ("alignments2D/class_posterior", "pick_stats/ncc_score", "pick_stats/power"):
        if name in data:
            table[name.partition("/")[2]] = column(name).astype(float)
    return table, notes


def _structured(path):
    """Return a structured array of cryoSPARC, mapped from its file."""
    size, head = probe(path, 12)
    if not head.startswith(NUMPY):
        fault = "is not a NumPy array, as which cryoSPARC saves particles; save it by cryosparc-tools"
        raise refusal(path, f"{fault}: Dataset.load(path).save(path).")
    # NumPy takes memory for the header that is stated before it reads it.
    if int.from_bytes(head[8 : 10 if head[6:7] == b"\1" else 12], "little") > min(size, LARGEST_HEADER):
        raise refusal(
            path, "states a header longer than a list of particles has; export the particles again."
        )
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False, max_header_size=LARGEST_HEADER)
    except Exception as fault:  # what a damaged header leads to, no list of types covers
        why = f"cannot be read as particles of cryoSPARC ({reason(fault)})"
        raise refusal(path, f"{why}; export it again.") from fault
    if array.dtype.names is None or array.ndim != 1 or not len(array):
        raise refusal(path, "holds no table of particles of cryoSPARC; export the particles again.")
    return array


def _field(path, array, name, kinds, width=1):
    """Return a field of a structured array, text decoded and without the > with which newer versions begin it."""
    if name not in array.dtype.names:
        raise refusal(path, f"has no field {name}, so it lists no particles of cryoSPARC; export those.")
    values = np.asarray(array[name])
    if values.dtype.kind not in kinds or values.shape != (len(array), 2)[:width]:
        fault = f"has a field {shown(name)} of type {values.dtype}, not as cryoSPARC writes it"
        raise refusal(path, f"{fault}; export it again.")
    if "S" in kinds:
        values = values if values.dtype.kind == "U" else np.char.decode(values, "utf-8", "replace")
        return pd.Series(values, dtype=str).str.lstrip(">").to_numpy(object)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise refusal(path, f"has values in {shown(name)} that are no numbers; export it again.")
    return values


def _classes(data, column):
    """Return the class numbers of 2-D classification, else of the likeliest of several volumes, None where there are none."""
    if "alignments2D/class" in data:
        return column("alignments2D/class").astype(int)
    each = [name for name in data if re.fullmatch(r"alignments_class_\d+/class_posterior", name)]
    each.sort(key=natural)
    if len(each) > 1:
        return np.argmax([column(name) for name in each], axis=0)
    one = next((name for name in data if name.endswith("/class")), None)
    return None if one is None else column(one).astype(int)


def _content(path):
    """Return what a JSON file holds, a dict."""
    try:
        content = json.loads(tables.read_text(path)[0])
    except (ValueError, RecursionError) as fault:
        raise refusal(path, f"is not JSON ({reason(fault)}); export it again.") from fault
    if not isinstance(content, dict):
        raise refusal(path, "holds neither boxes of EMAN2 nor annotations of COCO; export it again.")
    return content


def _read_eman(path, folder):
    """Read the boxes of EMAN2: x and y of the centre, and how it was picked."""
    content = _content(path)
    boxes = content.get("boxes", [])
    flat = isinstance(boxes, list) and not content.get("boxes_3d")
    if content.get("boxes_3d") or (flat and any(_number(b[2:3]) for b in boxes if isinstance(b, list))):
        fault = "holds boxes in a tomogram, and temlib sorts 2-D images"
        raise refusal(path, f"{fault}; give boxes in micrographs.")
    if not flat:
        raise refusal(path, "holds no list of boxes of EMAN2; export it again.")
    if not boxes:
        return pd.DataFrame(), []
    table = pd.DataFrame({"box": boxes}, pd.RangeIndex(1, len(boxes) + 1, name="box"))
    wrong = [not isinstance(box, list) or not _number(box[:2], 2) for box in boxes]
    refuse(path, table, wrong, "it is not [x, y, how picked]; correct it.")
    table["column"], table["row"] = zip(*((float(box[0]), float(box[1])) for box in boxes))
    table["picked"] = [str(box[2]) if len(box) > 2 else "" for box in boxes]
    settings = Path(folder, "info", "project.json")
    side = _content(settings).get("global.boxsize") if settings.is_file() else None
    table["box_px"] = float(side) if _number([side]) else np.nan
    return pd.concat([in_micrographs(path, folder, table.index), table.drop(columns="box")], axis=1), []


def _number(values, count=1):
    """Return whether `values` are `count` numbers that may be pixels."""
    kinds = [isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) <= FARTHEST for v in values]
    return len(kinds) == count and all(kinds)


def _read_xy(path, folder):
    """Read lines of x and y, to which further numbers may be added."""
    rows, wrong = {}, []
    for line, content in enumerate(tables.read_text(path)[0].splitlines(), 1):
        words = content.replace(",", " ").split()
        try:
            values = [float(word) for word in words]
        except ValueError:
            values = []
        if not words or (not rows and not any(letter.isdigit() for letter in content)):  # a header
            continue
        if not _number(values[:2], 2):
            wrong.append(line)
            continue
        if len(values) >= 4 and values[2] == values[3] > 1:
            fault = "has four columns: if they are a corner and a size, name the file .box"
            raise refusal(path, f"{fault}; else leave x and y.")
        rows[line] = values[:2]
    table = pd.DataFrame(rows, ["column", "row"]).T.rename_axis("line")
    if wrong:
        at = f"{shown(path)}, {tables.places('line', wrong)}"
        raise InputError(f"{at}: not x and y in numbers; correct it.")
    if not len(table):
        return table, []
    note = "In .coord and .txt files x and y are taken to be the centre of a particle, in pixels of the micrograph."
    return pd.concat([in_micrographs(path, folder, table.index), table], axis=1), [note]


READERS = positions.READERS | {".cs": _read_cs, "_info.json": _read_eman}
READERS |= dict.fromkeys((".coord", ".coords"), _read_xy)
