"""Read the tables that people have: any encoding and separator, decimal commas.

A table is read as text, cell by cell; only columns that are meant as numbers are converted, so that a particle named
``007`` keeps its name. Its index is the line of the file on which the row begins (the header is line 1), so that every
message can say where to look, also after rows were filtered.
"""

import csv
import io
import math
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from temlib.data.names import one_form
from temlib.files import InputError, check_unpacked, decoded, listed, probe, reason, refusal, shown

MOST_CELLS = 10**7  # of a workbook, which has at most a million rows
LARGEST_TABLE = 2**30  # bytes; a million particles with twenty columns take about a fifth
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
POINT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
COMMA = re.compile(r"[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?", re.ASCII)
THOUSANDS = re.compile(r"[+-]?\d{1,3}([,.']\d{3})+([,.]\d+)?", re.ASCII)
EMPTY = ("", "nan", "na", "n/a")  # cells that state no number


def read(path, *, numeric=None):
    """Read a table of text separated by comma, semicolon or tab; a first line ``sep=;`` is obeyed.

    Parameters
    ----------
    path : str or Path
        In UTF-8, UTF-16 with byte order mark, or Windows-1252.
    numeric : str, optional
        Columns whose names begin with this are converted by `numbers`, such as "p_" for probabilities.

    Returns
    -------
    DataFrame
        Otherwise text as it stands in the file, empty cells as ``""``; the index is its `line`. ``attrs`` hold `path`, `encoding`,
        `separator` (the one that occurs most often in the header outside quotes) and `decimal` (a comma if some cell
        is a number written with one, and it separates no cells).
    """
    path = Path(path)
    if path.suffix.lower() == ".xlsx":
        separator, encoding, lines = "\t", "a workbook", _sheet(path)
    else:
        text, encoding = read_text(path)
        separator, text, skipped = _separator(path, text)
        lines = _lines(path, text, separator, skipped)
    names, rows, lines = _rows(path, separator, lines)
    keep = _columns(path, names, rows)
    columns = {names[i]: [row[i] for row in rows] for i in keep}
    table = pd.DataFrame(columns, index=pd.Index(lines, name="line"), dtype=str)
    comma = separator != "," and any(
        "," in cell and COMMA.fullmatch(cell.strip()) for row in rows for cell in row
    )
    decimal = "," if comma else "."
    table.attrs = {"path": str(path), "encoding": encoding, "separator": separator, "decimal": decimal}
    for name in table if numeric else ():
        if name.startswith(numeric):
            table[name] = numbers(table[name], decimal=decimal)
    return table


def read_text(path):
    """Return the text of a file without a byte order mark, and its encoding: UTF-8, UTF-16 or Windows-1252."""
    path = Path(path)
    size, head = probe(path, 4)
    if size > LARGEST_TABLE:
        raise refusal(path, f"has {size} bytes, too much for a table; name a table of text.")
    if head == b"PK\x03\x04":
        raise refusal(path, "is a workbook or another ZIP file, not text; save the sheet as CSV.")
    text, encoding = decoded(path, path.read_bytes())
    text = one_form(text)
    if not text.strip():
        raise refusal(path, "holds nothing but blanks; a table needs a header and a row.")
    return text, encoding


def _separator(path, text):
    """Return the separator, the text below a ``sep=`` line, and how many lines that took."""
    first, _, rest = text.partition("\n")
    stated = re.fullmatch(r"sep=(.)", first.strip(" \r"))
    if stated:
        if stated[1] not in SEPARATORS:
            raise refusal(path, f"states the separator {stated[1]!r}; use a comma, a semicolon or a tab.")
        return stated[1], rest, 1
    header = re.sub(r'"[^"]*"', "", text.lstrip("\r\n")[: 2**16]).splitlines() or [""]
    counts = {separator: header[0].count(separator) for separator in SEPARATORS}
    return max(counts, key=counts.get), text, 0


def _lines(path, text, separator, skipped):
    """Yield the cells of each row of a text, and the line on which it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    begin = skipped + 1
    try:
        for row in reader:
            yield row, begin
            begin = skipped + reader.line_num + 1
    except csv.Error as fault:
        cure = "look for a quotation mark that is not closed"
        raise InputError(f"{shown(path)}, line {begin}: {fault}; {cure}.") from fault


def _sheet(path):
    """Return the cells of each row of a workbook's first sheet as text, and the row's number."""
    probe(path, 4)
    try:
        import openpyxl

        check_unpacked(path)
    except ImportError:
        cure = "save the sheet as CSV, or install openpyxl by pip install openpyxl"
        raise refusal(path, f"is a workbook, which needs openpyxl; {cure}.") from None
    except zipfile.BadZipFile:
        raise refusal(
            path, "is named as a workbook but is none; rename it, or save the sheet as CSV."
        ) from None
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        rows, count = {}, 0
        for number, row in enumerate(book.worksheets[0].iter_rows(values_only=True), 1):
            count += len(row)  # a cell far below or far right states many that are not there
            if count > MOST_CELLS:
                raise refusal(path, f"has more than {MOST_CELLS:,} cells; save the sheet as CSV.")
            if any(cell is not None for cell in row):
                rows[number] = row
        book.close()
    except InputError:
        raise
    except Exception as fault:  # a damaged archive fails in ways that no list of types covers
        raise refusal(
            path, f"cannot be read as a workbook ({reason(fault)}); save the sheet as CSV."
        ) from fault
    width = max(map(len, rows.values()), default=0)
    cells = (["" if cell is None else one_form(str(cell)) for cell in row] for row in rows.values())
    return [(row + [""] * (width - len(row)), number) for number, row in zip(rows, cells)]


def _rows(path, separator, found):
    """Return column names, rows as lists of text, and the line on which each row begins."""
    rows, lines = [], []
    for row, begin in found:
        if "".join(row).strip():
            rows.append(row)
            lines.append(begin)
    if len(rows) < 2:
        raise refusal(path, "has a header and no row below it; a table needs at least one row.")
    wrong = [k for k, row in enumerate(rows) if len(row) != len(rows[0])]
    if wrong:
        at = places("line", [lines[k] for k in wrong])
        cells = f"{len(rows[wrong[0]])} cells where the header has {len(rows[0])}"
        cure = f"(separator: {SEPARATORS[separator]}); put cells that contain the separator in quotes"
        raise InputError(f"{shown(path)}, {at}: {cells} {cure}.")
    return [name.strip() for name in rows[0]], rows[1:], lines[1:]


def _columns(path, names, rows):
    """Return the numbers of the columns to keep: a spreadsheet adds nameless empty ones at the right."""
    keep = [i for i, name in enumerate(names) if name or any(row[i].strip() for row in rows)]
    # pandas, R and ImageJ number the rows in a first column without a name.
    if not names[0] and [row[0].strip() for row in rows] in (
        [str(k + first) for k in range(len(rows))] for first in (0, 1)
    ):
        keep = keep[1:]
    kept = [names[i] for i in keep]
    if "" in kept:
        raise refusal(path, f"has a column without a name (number {kept.index('') + 1}); name it.")
    twice = next((name for name in kept if kept.count(name) > 1), None)
    if twice:
        raise refusal(path, f"has two columns named {twice[:40]!r}; rename one of them.")
    return keep


def place(path, name, where):
    """Return where something is written in a file, or as files of a folder, as `name`, that of an index, says; see `places`."""
    text = places(name, where)
    return shown(Path(path, text.removeprefix("file "))) if name == "file" else f"{shown(path)}, {text}"


def places(name, where):
    """Return where something is written, such as `line 7 (likewise 9, 12 and 5 more: 8 in all)`."""
    others = f" (likewise {listed(where[1:], 2)}: {len(where):,} in all)" if len(where) > 1 else ""
    return f"{name} {where[0]}{others}"


def refuse(path, table, wrong, fault):
    """Refuse a table with rows marked in `wrong`, the first of which a `fault` that is a function describes."""
    if np.any(wrong):
        at = np.flatnonzero(wrong)
        fault = fault if isinstance(fault, str) else fault(table.iloc[at[0]])
        raise InputError(f"{place(path, table.index.name, table.index[at])}: {fault}")


def numbers(series, *, decimal=None):
    """Convert a text column of a table to numbers; a cell that is none, or may be two, is refused.

    Parameters
    ----------
    series : (n,) Series of str
        A column of the table that `read` returned; its index names the lines in messages. Empty cells and ``nan``,
        ``NA``, ``n/a`` become NaN.
    decimal : {".", ","}, optional
        The decimal sign; the table's (``attrs["decimal"]``) if it is not given, else a point. ``1.234`` with decimal
        commas is not guessed.
    """
    decimal = decimal or series.attrs.get("decimal", ".")
    pattern = COMMA if decimal == "," else POINT
    values, wrong = {}, {}
    for cell in series.unique():  # sizes repeat from row to row
        text = str(cell).strip()
        if text.casefold() in EMPTY:
            values[cell] = math.nan
        elif pattern.fullmatch(text) and math.isfinite(value := float(text.replace(",", "."))):
            values[cell] = value
        else:
            wrong.setdefault(_no_number(text, decimal), []).append(cell)
    for fault, cells in wrong.items():
        at = places(series.index.name or "line", series.index[series.isin(cells)])
        raise InputError(f"{listed([series.name])}, {at}: {str(cells[0]).strip()[:40]!r} {fault}.")
    return series.map(values).astype(float)


def _no_number(cell, decimal):
    """Return what is wrong with a cell that is not a number."""
    other = {",": POINT, ".": COMMA}[decimal].fullmatch(cell) and ("," in cell or "." in cell)
    if other or THOUSANDS.fullmatch(cell):
        sign = {",": "comma", ".": "point"}[decimal]
        return f"is not clear where the decimal sign is a {sign}; write it so, thousands unseparated"
    return "is not a finite number; correct it or leave the cell empty"
