"""Columns of a table by the names that temlib knows: other programs' are taken for them, nearly right ones are asked about.

A column that looks like a place, an image or a scale is never left aside without a word while something else is read.
Topaz (`image_name, x_coord, y_coord`), napari (`axis-0, axis-1`; the first is the row) and the results of ImageJ are tables too.
"""

import difflib
import json

import numpy as np
import pandas as pd

from temlib.data.micrographs import format_of
from temlib.data.names import one_form
from temlib.data.tables import numbers, read_text
from temlib.files import InputError, listed, refusal, shown

# What stands for temlib's names in other tables, in lower case, with _ for spaces and hyphens.
SAME = {
    "image": ("image_name", "filename", "file_name", "file", "path", "image_path", "image_file", "imagename"),
    "row": ("y", "y_coord", "center_y", "centre_y", "y_center", "y_px", "axis_0"),
    "column": ("x", "x_coord", "col", "center_x", "centre_x", "x_center", "x_px", "axis_1"),
    "micrograph": ("micrograph_name", "micrographname", "mic"),
    "particle": ("particle_id", "particle_name"),
    "index": (),
    "fold": (),
    "box_px": ("box_pixels",),
    "box_nm": (),
    "pixel_size_nm": ("nm_per_pixel", "nm_per_px"),
    "pixel_size_A": ("apix", "angpix", "a_per_pixel", "pixel_size_angstrom"),
}
# What has several meanings: how the names that say which begin, and some of them.
UNCLEAR = {
    **dict.fromkeys(("pixel_size", "pixelsize"), ("pixel_size_", "pixel_size_nm or pixel_size_A")),
    **dict.fromkeys(("box", "boxsize", "box_size"), ("box_", "box_px, box_nm or box_A")),
}
NEAR = 0.85  # similarity from which a name is taken for a typing error of another
IMAGEJ = ("BX", "BY", "Width", "Height"), ("X", "Y"), ("XM", "YM")


def known(path, table, notes):
    """Return a table of text with temlib's names for its columns, and add to `notes` what was taken for what."""
    if "axis-2" in table or "vertex-index" in table:
        fault = "holds shapes, or points in a stack, of napari"
        raise refusal(path, f"{fault}; save a layer of points of one image.")
    if "axis-1" in table:
        table = table.drop(columns="index", errors="ignore")  # napari's number of the point
    if not any(_plain(name) in ("image", *SAME["image"]) for name in table):
        table = _of_imagej(path, table)
    attrs = table.attrs
    plain = {name: _plain(name) for name in table}
    sized = any(name.startswith("pixel_size_") for name in table)
    for meant, others in SAME.items():
        if meant in table or (sized and meant.startswith("pixel_size_")):
            continue
        exact = [name for name in table if plain.get(name) == meant.casefold()]
        found = exact or [name for name in table if plain.get(name) in others]
        if len(found) > 1:
            fault = f"has the columns {listed(found)}, each of which may be {meant!r}"
            raise refusal(path, f"{fault}; rename one to it.")
        if found:
            table = table.rename(columns={found[0]: meant})
            notes.append(f"The column {shown(found[0])} is taken for {meant}.")
    for name in table:
        start, clear = UNCLEAR.get(plain.get(name), ("", ""))
        if clear and not any(other.startswith(start) for other in table):
            raise refusal(path, f"has a column {name!r} without its unit; call it {clear}.")
        rest = [meant for meant in SAME if meant not in table]
        near = difflib.get_close_matches(plain.get(name, ""), rest, 1, NEAR)
        if near and not name.startswith(("pixel_size_", "box_")) and "@" not in name:
            fault = f"has a column {name!r}, which is not known; the nearest is {near[0]!r}"
            raise refusal(path, f"{fault}: rename it.")
    table.attrs = attrs
    return table


def _plain(name):
    """Return the name of a column in the form in which it is compared."""
    return name.casefold().replace(" ", "_").replace("-", "_")


def _of_imagej(path, table):
    """Return the results of ImageJ as boxes or centres, with the image and the region's name from `Label`; else the table."""
    used = next((names for names in IMAGEJ if {*names} <= {*table}), None)
    if used is None:
        return table
    try:
        values = [numbers(table[name], decimal=table.attrs.get("decimal")) for name in used]
    except InputError as error:
        raise InputError(f"{shown(path)}: {error}") from None
    result = table.drop(columns=[name for names in IMAGEJ for name in names], errors="ignore")
    result["column"], result["row"] = values[:2]
    if used is IMAGEJ[0]:
        width, height = values[2:]
        result["column"], result["row"] = values[0] + (width - 1) / 2, values[1] + (height - 1) / 2
        result["box_px"] = np.maximum(width, height)
    parts = table["Label"].str.split(":", expand=True) if "Label" in table else None
    if parts is not None and parts[0].map(format_of).notna().all():
        result["image"] = parts[0]
        result = result.drop(columns="Label")
        if 1 in parts and not parts[1].fillna("").str.fullmatch(r"[\d-]*").all():
            result["region"] = parts[1].fillna("")
    result.attrs = table.attrs | {"imagej": True}
    return result


def coco(path):
    """Return the annotations of a COCO file as a table of boxes, None if the file holds something else."""
    try:
        content = json.loads(read_text(path)[0])
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or not {"images", "annotations"} <= {*content}:
        return None
    try:
        images = {image["id"]: str(image["file_name"]) for image in content["images"]}
        classes = {item["id"]: one_form(str(item["name"])) for item in content.get("categories", [])}
        rows = []
        for item in content["annotations"]:
            x, y, width, height = map(float, item["bbox"])
            place = y + (height - 1) / 2, x + (width - 1) / 2, float(max(width, height))
            name = classes.get(item.get("category_id"), "")
            rows.append((images[item["image_id"]], *place, name))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as fault:
        at = (
            f"an entry lacks or misstates {fault}"
            if isinstance(fault, KeyError)
            else "an entry is not as COCO has it"
        )
        raise refusal(
            path, f"is not read as COCO, since {shown(at)}; give file_name, image_id and bbox."
        ) from fault
    if not rows:
        raise refusal(path, "holds no annotations; draw some boxes or leave it out.")
    table = pd.DataFrame(rows, columns=["image", "row", "column", "box_px", "class"])
    table.index = pd.RangeIndex(1, len(table) + 1, name="annotation")
    table.attrs = {"decimal": ".", "encoding": "COCO"}
    return table if classes else table.drop(columns="class")
