"""The readers behind `positions.read` for the files of RELION, cryoSPARC, EMAN and crYOLO.

Each returns a table with one row a particle and sentences about assumptions; `positions.read` says what the
columns mean.
"""

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import starfile

from . import tables
from ._paths import listed, reason, refusal, shown
from .files import InputError
from .micrographs import MRC_SUFFIXES, SUFFIXES

STAR_STACK, STAR_MICROGRAPH = "rlnImageName", "rlnMicrographName"
ANGSTROMS_PER_NM = 10.0
# What picking programs add to a micrograph's name.
PICKERS = re.compile(r"_(autopick|manualpick|topaz|cryolo|picks?|picked|coords?)$", re.IGNORECASE)


def _blocks(path):
    """Return the data blocks of a STAR file as DataFrames of text or numbers."""
    tables.read_text(path)  # refuses what is no text before the parser meets it
    try:
        blocks = starfile.read(path, always_dict=True)
        # A block without a loop comes as a dictionary.
        blocks = {name: pd.DataFrame([b]) if isinstance(b, dict) else b for name, b in blocks.items()}
    except Exception as fault:  # the parser has no errors of its own: any type may come out of a damaged file
        raise refusal(path, f"cannot be read as STAR ({reason(fault)}); export it again.") from fault
    for block in blocks.values():
        twice = block.columns[block.columns.duplicated()]
        if len(twice):
            raise refusal(path, f"has two columns named _{listed(twice[:1])}; remove one.")
    return blocks


def _columns(path, block, names):
    """Refuse a block without a needed column."""
    missing = [name for name in names if name not in block]
    if missing:
        raise refusal(
            path, f"has no column _{missing[0]}, which positions need; export the particles with it."
        )


def read_star(path, folder):
    """Read RELION's STAR, with or without optics groups."""
    blocks = _blocks(path)
    optics = blocks.get("optics")
    needed = (STAR_STACK, "rlnCoordinateX")
    data = next((b for name, b in blocks.items() if name != "optics" and any(c in b for c in needed)), None)
    if data is None:
        raise refusal(path, "has neither _rlnImageName nor _rlnCoordinateX; give the STAR of particles.")
    data = data.copy()
    data.index = pd.RangeIndex(1, len(data) + 1, name="particle row")
    # The parser fills up a row that is short of a value, and the others may sit in the wrong columns.
    short = data.iloc[:, -1].isna()
    if short.any():
        raise refusal(
            path, f"has no last value in {where(data, short)}; add what is missing, or export it again."
        )
    notes = []
    if optics is not None:
        _columns(path, optics, ["rlnOpticsGroup"])
        _columns(path, data, ["rlnOpticsGroup"])
        data = _with_optics(path, data, optics)
    table = _star_stacks(path, data) if STAR_STACK in data else _star_micrographs(path, data, folder)
    if any(name.startswith("rlnOrigin") for name in data):
        notes.append("The shifts of a refinement (rlnOrigin) are not applied to positions.")
    if table["pixel_size_nm"].isna().any():
        notes.append("The STAR file states no pixel size for some particles.")
    if "micrograph" not in table:
        notes.append("The STAR file does not say which micrograph each particle is from.")
    return pd.concat([table, data], axis=1), notes


def _with_optics(path, data, optics):
    """Return the particles with the columns of their optics group."""
    groups = optics.set_index("rlnOpticsGroup")
    if groups.index.has_duplicates:
        raise refusal(path, "describes an optics group twice in data_optics; remove one of the two.")
    unknown = ~data["rlnOpticsGroup"].isin(groups.index)
    if unknown.any():
        raise InputError(
            f"{shown(path)}, {where(data, unknown)}: its optics group is not in data_optics; add it."
        )
    extra = groups[[name for name in groups if name not in data]]
    return data.join(extra, on="rlnOpticsGroup")


def _number(data, name):
    """Return a column as floats, NaN where it is absent or no number."""
    return pd.to_numeric(data[name], errors="coerce").astype(float) if name in data else _nothing(data)


def _nothing(data):
    """Return a column of NaN."""
    return pd.Series(math.nan, data.index)


def _star_pixel_nm(data, first):
    """Return the pixel size in nm from the column `first`, the general one, or detector and magnification."""
    detector_nm = _number(data, "rlnDetectorPixelSize") * 1e3  # in µm
    by_detector = detector_nm / _number(data, "rlnMagnification")
    angstroms = _number(data, first).fillna(_number(data, "rlnPixelSize"))
    pixel_nm = (angstroms / ANGSTROMS_PER_NM).fillna(by_detector)
    return pixel_nm.where((pixel_nm > 0) & np.isfinite(pixel_nm))


def _star_stacks(path, data):
    """Return the particles of stacks: `7@stack.mrcs` is the seventh image."""
    parts = data[STAR_STACK].astype(str).str.extract(r"^\s*0*([1-9]\d{0,8})@(.+?)\s*$")
    wrong = parts[1].isna()
    if wrong.any():
        name = shown(data[STAR_STACK][wrong].iloc[0])[:60]
        raise InputError(
            f"{shown(path)}, {where(data, wrong)}: {name!r} is not written as 7@stack.mrcs; correct it."
        )
    table = pd.DataFrame(
        {"particle": data[STAR_STACK].astype(str).str.strip(), "image": parts[1]}, index=data.index
    )
    table["index"] = parts[0].astype("Int64") - 1
    if STAR_MICROGRAPH in data:
        table["micrograph"] = data[STAR_MICROGRAPH].astype(str)
    # The crop is cut already; its place in the micrograph is for information.
    table["row"], table["column"] = _number(data, "rlnCoordinateY"), _number(data, "rlnCoordinateX")
    table["box_px"] = _nothing(data)
    table["pixel_size_nm"] = _star_pixel_nm(data, "rlnImagePixelSize")
    return table


def _star_micrographs(path, data, folder):
    """Return the particles at positions in micrographs."""
    _columns(path, data, ["rlnCoordinateX", "rlnCoordinateY"])
    if STAR_MICROGRAPH in data:
        micrograph = data[STAR_MICROGRAPH].astype(str)
    else:
        micrograph = pd.Series(_beside(path, folder), data.index)
    _check_row_order(path, micrograph)
    table = pd.DataFrame({"particle": numbered(micrograph), "image": micrograph}, index=data.index)
    table["index"] = pd.array([pd.NA] * len(data), "Int64")
    table["micrograph"] = micrograph
    table["row"], table["column"] = _number(data, "rlnCoordinateY"), _number(data, "rlnCoordinateX")
    pixel_nm = _star_pixel_nm(data, "rlnMicrographPixelSize")
    # The box of the extraction, which may have been rescaled, in the micrograph's pixels.
    extracted_nm = _number(data, "rlnImageSize") * _number(data, "rlnImagePixelSize") / ANGSTROMS_PER_NM
    table["box_px"], table["box_nm"], table["pixel_size_nm"] = (
        (extracted_nm / pixel_nm).round(),
        extracted_nm,
        pixel_nm,
    )
    return table


def _beside(path, folder):
    """Return the name, relative to `folder`, of the one image that a table of positions is named after."""
    stems = {path.stem, PICKERS.sub("", path.stem)}
    found = [p for p in sorted(path.parent.iterdir()) if p.stem in stems and p.suffix.lower() in SUFFIXES]
    if len(found) != 1:
        many = f"{len(found)} images" if found else "no image"
        raise refusal(path, f"names no micrograph and {many} of its name lies beside it; put one there.")
    try:
        return found[0].resolve().relative_to(Path(folder).resolve()).as_posix()
    except ValueError as fault:
        raise InputError(
            f"{shown(found[0])} is a link out of {shown(folder)}; put the file itself there."
        ) from fault


def _check_row_order(path, micrographs):
    """Refuse positions whose rows may count from the other end of the file."""
    other = [
        name for name in micrographs.unique() if not name.lower().removesuffix(".gz").endswith(MRC_SUFFIXES)
    ]
    if other:
        raise refusal(
            path,
            f"gives positions in {listed(other[:1])}, whose rows picking programs count from "
            "the bottom; convert the micrographs to MRC, or give positions as a table with row and column.",
        )


def read_box(path, folder):
    """Read EMAN's .box: lower left corner, width, height, and perhaps a mode."""
    text, _ = tables.read_text(path)
    rows = []
    for line, content in enumerate(text.splitlines(), 1):
        cells = content.split()
        if not cells:
            continue
        try:
            x, y, width, height = map(float, cells[:4])
            mode = float(cells[4]) if len(cells) > 4 else 0
        except ValueError as fault:
            raise InputError(
                f"{shown(path)}, line {line}: not x, y, width, height in numbers; correct it."
            ) from fault
        if mode in (-1, -2):
            raise InputError(
                f"{shown(path)}, line {line}: the end of a filament, not a particle; export single boxes."
            )
        rows.append((line, x, y, width, height))
    data = pd.DataFrame(rows, columns=["line", "x", "y", "width", "height"]).set_index("line")
    return _corners(path, folder, data), []


def read_cbox(path, folder):
    """Read crYOLO's .cbox, a STAR file of corners, sizes and confidences."""
    blocks = _blocks(path)
    if "cryolo" not in blocks:
        raise refusal(path, "has no block data_cryolo, so it is no .cbox; export it from crYOLO again.")
    data = blocks["cryolo"].copy()
    _columns(path, data, ["CoordinateX", "CoordinateY", "Width", "Height"])
    data.index = pd.RangeIndex(1, len(data) + 1, name="particle row")
    if _number(data, "CoordinateZ").notna().any():
        raise refusal(path, "holds positions in a tomogram (CoordinateZ), not in a micrograph.")
    names = {"CoordinateX": "x", "CoordinateY": "y", "Width": "width", "Height": "height"}
    corners = pd.DataFrame({new: _number(data, old) for old, new in names.items()})
    notes = ["The corner of a .cbox box is taken to be the lower left one, as in .box."]
    if "Confidence" in data:
        notes.append("A .cbox holds boxes below the picking threshold too; choose by Confidence.")
    return pd.concat([_corners(path, folder, corners), data.drop(columns=list(names))], axis=1), notes


def _corners(path, folder, data):
    """Return the table of particles from corners `x, y` and sizes `width, height` in one micrograph."""
    if not len(data):
        raise refusal(path, "holds no particles; pick some or leave it out.")
    wrong = ~((data["width"] > 0) & (data["width"] == data["height"]) & np.isfinite(data).all(axis=1))
    if wrong.any():
        raise InputError(
            f"{shown(path)}, {where(data, wrong)}: the box is not a square of positive size; correct it."
        )
    micrograph = pd.Series(_beside(path, folder), data.index)
    _check_row_order(path, micrograph)
    table = pd.DataFrame({"particle": numbered(micrograph), "image": micrograph}, index=data.index)
    table["index"] = pd.array([pd.NA] * len(data), "Int64")
    table["micrograph"] = micrograph
    # A box of n pixels from corner c covers c .. c + n - 1; its centre pixel is c + n // 2, as `cut` has it.
    table["row"], table["column"] = (
        data[at] + data[size] // 2 for at, size in (("y", "height"), ("x", "width"))
    )
    table["box_px"] = data["width"]
    return table


def where(table, wrong):
    """Return the place of the first row marked in `wrong`."""
    return f"{table.index.name} {table.index[np.flatnonzero(wrong)[0]]}"


def numbered(micrographs):
    """Return unique particle names: the micrograph and a running number in it, from 1."""
    return micrographs + ":" + (micrographs.groupby(micrographs).cumcount() + 1).astype(str)
