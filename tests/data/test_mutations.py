"""Mutated files: each ends in a right reading or in one clear sentence, in bounded memory, without a hang.

The mutations know the formats: fields of headers get values that lie, tables get cells, quotes and separators
where none belong, and every file is cut, extended and spoilt. `TEMLIB_MUTATIONS` sets the number of examples
of each fast test; the slow tests make 12,500 in all.
"""

import contextlib
import importlib.util
import io
import os
import re
import signal
import struct
import tempfile
import tracemalloc
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from temlib import data
from temlib.data import labels, micrographs, picks
from temlib.data import open as open_data
from temlib.files import InputError
from tests.data.conftest import CBOX, FORMATS, OPTICS, PARTICLES, needs_formats

EXAMPLES = int(os.environ.get("TEMLIB_MUTATIONS", "60"))
HANG_SECONDS = (
    60  # of this process's own work: far beyond any reading; a guard against hanging, not a measure of speed
)
WAIT_SECONDS = (
    1800  # on the clock, for a reading that waits for what never comes; a machine may be paused for minutes
)
MEMORY = 2**28  # bytes; the files have at most 3 MB, and small ones may expand to 2**26
WORKING = {".mrc", ".mrcs", ".map", ".tif", ".tiff"}
if importlib.util.find_spec("rsciio"):
    WORKING |= {".dm3", ".dm4", ".ser", ".emi", ".emd"}
FILES = sorted(p for p in FORMATS.glob("*") if p.suffix in WORKING) if FORMATS.is_dir() else []
# Generation alone: shrinking would need more runs than the campaign itself.
campaign = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "phases": [Phase.explicit, Phase.generate],
    "suppress_health_check": list(HealthCheck),
}

LIES = st.sampled_from(
    [0, 1, 2, 3, 7, 16, 101, 255, 256, 65535, 65536, 10**6, 10**9, 2**31 - 1, -1, -2, -(2**31)]
)
MRC_FIELDS = [0, 4, 8, 12, 28, 32, 36, 40, 44, 48, 64, 68, 72, 88, 92, 104, 152, 156, 208, 212]
CELLS = st.sampled_from(
    [
        "",
        " ",
        "nan",
        "inf",
        "-1",
        "1e999",
        "1,5",
        "1.234,5",
        "0",
        '"',
        '""',
        'a"b',
        "\n",
        "\r",
        ";",
        ",",
        "\t",
        "é",
    ]
    + [
        "../x.mrc",
        "/dev/zero",
        "a\0b",
        "#",
        "_rln",
        "data_",
        "loop_",
        "0@s.mrcs",
        "9" * 400,
        "=1+1",
        "\ud7ff",
        "'",
    ]
)
TEXTS = {
    "p.star": OPTICS + PARTICLES,
    "s.star": "data_\n\nloop_\n_rlnImageName #1\n_rlnPixelSize #2\n1@s.mrcs 1.5\n2@s.mrcs 1.5\n",
    "a.cbox": CBOX,
    "a.box": "1\t2\t8\t8\n3\t4\t8\t8\n",
    "m.csv": 'image;row;column;box_nm;l@a;l@b\na.mrc;7,5;8;4;"full";full\na.mrc;9;4,5;4;"em\npty";full\n',
    "n.csv": "image,row,column,l@a,l@b\na.mrc,1.5,2,full,full\na.mrc,3,4.5,empty,full\n",
    "c.csv": "image,index,micrograph,l,pixel_size_A,fold\nc.png,,m1,full,20,1\ns.mrcs,0,m2,empty,20,2\ns.mrcs,2,m3,full,20,2\n",
    "p.csv": "micrograph;number;l;x\na;1;full;1,5\na;2;empty;2,5\n",
    "a.csv": "index,axis-0,axis-1\n0.0,7.5,8\n1.0,20,4.5\n",
    "r.csv": " ,Label,X,Y,BX,BY,Width,Height\n1,c.png,4,4,1,1,6,6\n2,c.png:l:2,5,5,2,2,6,6\n",
    "k.csv": "Filename;X;Y;pixel size;angpix\na.mrc;7,5;8;;\na.mrc;9;4,5;;\n",
    "t.txt": "image_name\tx_coord\ty_coord\tscore\na\t15\t20\t1.5\na\t45\t30\t-2.5\n",
    "a.coord": "x y\n7.5 8 0.3\n20 4.5 0.2\n",
    "a.txt": "7.5 8\n20 4.5\n",
    "h.csv": "image,l\ns.mrcs,full\nc.png,empty\n",
}

JSONS = {
    "a_info.json": '{"boxes": [[7.5, 8, "manual"], [20, 4, "auto"]], "boxes_3d": []}',
    "c.json": '{"images": [{"id": 1, "file_name": "a.mrc"}], "categories": [{"id": 2, "name": "full"}], '
    '"annotations": [{"image_id": 1, "category_id": 2, "bbox": [4, 5, 8, 8]}, {"image_id": 1, "category_id": 2, '
    '"bbox": [9, 5, 8, 6]}]}',
}
JSON_VALUES = [
    "null",
    "true",
    "-1",
    "1e999",
    "NaN",
    "[]",
    "{}",
    '""',
    '"a.mrc"',
    "9" * 400,
    "[1]",
    '{"id": 1}',
    "0.5",
    '"\\u0000"',
]
ARRAY = [
    ("uid", "<u8"),
    ("blob/path", "S12"),
    ("blob/idx", "<u4"),
    ("blob/psize_A", "<f4"),
    ("location/micrograph_path", "S12"),
    ("location/micrograph_shape", "<u4", (2,)),
    ("location/center_x_frac", "<f4"),
    ("location/center_y_frac", "<f4"),
    ("alignments2D/class", "<u4"),
]
FIELDS = [
    "uid",
    "blob/path",
    "blob/idx",
    "blob/none",
    "location/center_x_frac",
    "alignments2D/class",
    "x/class",
    "#",
    "",
    "é",
]
TYPES = ["<u8", "<f4", "<f8", "|S3", "<U4", "|b1", "<c8", "|V5", "<M8[s]", ">u4", "|i1"]


class Content(bytes):
    """Bytes that a failure reports by their number, not in full."""

    def __repr__(self):
        return f"<{len(self)} bytes>"


class Hang(BaseException):
    """A reading did not end; not an Exception, lest a reader take it for damage."""


def guarded(call):
    """Return what a call returns, None if it is refused well; anything else fails the test."""

    def stop(*_):
        raise Hang

    before = signal.signal(signal.SIGALRM, stop), signal.signal(signal.SIGPROF, stop)
    signal.alarm(WAIT_SECONDS)
    signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
    tracemalloc.start()
    try:
        return call()
    except InputError as refusal:
        text = str(refusal)
        assert text.isprintable() and text.endswith((".", "?")) and 10 < len(text) < 900
        return None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for number, handler in zip((signal.SIGALRM, signal.SIGPROF), before):
            signal.signal(number, handler)
        assert peak < MEMORY


def tiff_fields(data):
    """Return the offsets of the first directory's entries, 12 bytes each: tag, type, count, value."""
    order = "<" if data[:2] == b"II" else ">"
    at = struct.unpack_from(order + "I", data, 4)[0]
    count = struct.unpack_from(order + "H", data, at)[0]
    return order, [at + 2 + 12 * k for k in range(count)]


@st.composite
def mutated(draw, path):
    """Draw the bytes of a file with one to three mutations that know its format."""
    data = bytearray(path.read_bytes())
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["field", "field", "field", "word", "flip", "cut", "extend"]))
        if kind == "cut":
            del data[draw(st.integers(0, len(data))) :]
        elif kind == "extend":
            data += draw(st.binary(min_size=1, max_size=64))
        elif kind == "flip" and data:
            data[draw(st.integers(0, len(data) - 1))] ^= draw(st.integers(1, 255))
        elif len(data) > 1100:
            order, at = "<", draw(st.one_of(st.integers(0, 1000), st.integers(0, len(data) - 8)))
            if kind == "field" and path.suffix in (".mrc", ".mrcs", ".map"):
                at = draw(st.sampled_from(MRC_FIELDS))
            elif kind == "field" and path.suffix in (".tif", ".tiff") and data[:2] in (b"II", b"MM"):
                order, at = "<" if data[:2] == b"II" else ">", 4
                entries = [at]
                # An earlier mutation may have moved the directory out of the file.
                with contextlib.suppress(struct.error):
                    order, entries = tiff_fields(data)
                entries = [entry for entry in entries if entry + 12 <= len(data)] or [4]
                at = draw(st.sampled_from(entries)) + draw(st.sampled_from([0, 2, 4, 8]))
            elif draw(st.booleans()):
                order = ">"  # DM3 and DM4 count in big endian
            at = min(at, len(data) - 4)
            struct.pack_into(order + "i", data, at, draw(LIES))
    return Content(data)


def check_image(path):
    """Read a mutated image file; what is read must be what an independent look at the same bytes says."""
    index = 0 if path.suffix == ".mrcs" else None
    found = guarded(lambda: micrographs.read(path, index=index))
    if found is None:
        return
    image, size = found.image, path.stat().st_size
    assert image.ndim == 2 and min(image.shape) > 0 and image.dtype.kind in "uif"
    assert np.isnan(found.pixel_nm) or 0 < found.pixel_nm < np.inf
    if path.suffix in (".mrc", ".mrcs", ".map"):
        assert image.nbytes <= 2 * size
        with warnings.catch_warnings(action="ignore"), mrcfile.open(path, permissive=True) as mrc:
            theirs = mrc.data if mrc.data is None or mrc.data.ndim == 2 else mrc.data[0]
            unsigned = image.dtype == np.uint8  # IMOD's bytes and mode 101 are read in another way
            assert (
                theirs is None or unsigned or np.array_equal(image, theirs, equal_nan=image.dtype.kind == "f")
            )
    elif path.suffix in (".tif", ".tiff") and isinstance(image, np.memmap):
        with tifffile.TiffFile(path) as tif:
            theirs = tif.pages[0].asarray()
        assert np.array_equal(image, theirs, equal_nan=image.dtype.kind == "f")


def run_image(data, folder):
    """Draw a file and its mutation, and check it."""
    source = data.draw(st.sampled_from(FILES), label="file")
    content = data.draw(mutated(source), label="content")
    path = Path(folder) / source.name
    path.write_bytes(content)
    if source.suffix == ".emi":
        ser = source.with_name(source.stem + "_1.ser")
        (Path(folder) / ser.name).write_bytes(ser.read_bytes())
    check_image(path)


@st.composite
def mutated_text(draw, text):
    """Draw the bytes of a table with one to four mutations of its cells, lines and encoding."""
    lines = [
        line.split("\t" if "\t" in line else ";" if ";" in line else "," if "," in line else " ")
        for line in text.split("\n")
    ]
    separator = "\t" if "\t" in text else ";" if ";" in text else "," if "," in text else " "
    for _ in range(draw(st.integers(1, 4))):
        k = draw(st.integers(0, len(lines) - 1))
        kind = draw(st.sampled_from(["cell", "cell", "cell", "drop", "double", "swap", "add", "line"]))
        if kind == "cell":
            lines[k][draw(st.integers(0, len(lines[k]) - 1))] = draw(CELLS)
        elif kind == "add":
            lines[k].append(draw(CELLS))
        elif kind == "drop" and len(lines) > 1:
            del lines[k]
        elif kind == "double":
            lines.insert(k, list(lines[k]))
        elif kind == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[k], lines[other] = lines[other], lines[k]
        elif len(lines[k]) > 1:
            del lines[k][-1]
    content = "\n".join(separator.join(cells) for cells in lines)
    data = content.encode(
        draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252"])), "replace"
    )
    if draw(st.integers(0, 4)) == 0:
        data = data[: draw(st.integers(0, len(data)))]
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=4)) + data[at:]
    return data


def check_table(path):
    """Read a mutated table in all ways; what is read must be whole and in the file."""
    table = guarded(lambda: data.read_table(path))
    if table is None:
        return
    text = path.read_bytes().decode(table.attrs["encoding"])
    assert table.index.is_unique and table.index.is_monotonic_increasing and len(table) and len(table.columns)
    assert all(cell.replace('"', "") in text.replace('"', "") for cell in table.to_numpy().ravel())
    for name in table:
        values = guarded(lambda name=name: data.numbers(table[name]))
        assert values is None or (len(values) == len(table) and not np.isinf(values).any())
    guarded(lambda: labels.checked(table, [name for name in table if name.startswith("l")]))
    joined = guarded(lambda: data.consensus(table, "l"))
    if joined is not None:
        assert len(joined[0]) == len(table)
        assert np.isnan(joined[1].kappa) or -1 <= joined[1].kappa <= 1


def check_positions(path):
    """Read mutated positions; what is read must be finite, unique and inside the folder."""
    found = guarded(lambda: picks.read(path))
    if found is None or found.empty:
        return
    assert found["particle"].is_unique
    assert np.isfinite(found.loc[found["index"].isna(), ["row", "column"]]).all(axis=None)
    assert all(
        (path.parent / name).resolve().is_relative_to(path.parent.resolve()) for name in found["image"]
    )
    sizes = found[["pixel_size_nm", "box_px", "box_nm"]]
    assert (sizes.isna() | ((sizes > 0) & np.isfinite(sizes))).all(axis=None)


def check_particles(path):
    """Open mutated tables as notebooks do; what is opened is whole: finite images, names, no stray labels."""
    data = guarded(lambda: open_data(path, input_size=12, pixel_nm=2.0))
    if data is None:
        return
    assert data.images.shape == (len(data), 12, 12) and np.isfinite(data.images).all()
    assert np.ptp(data.images, axis=(1, 2)).min() > 0
    assert data.table["particle"].is_unique and data.table["micrograph"].notna().all()
    assert data.scale == "fill" or (data.table["pixel_size_nm"] > 0).all()
    labelled = path.with_suffix(".csv")  # beside positions
    content = (labelled if labelled.exists() else path).read_bytes()
    text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1")
    for task in data.tasks if path.suffix not in (".cs", ".json") else []:
        for label in data.table[task].dropna().unique():
            # Bytes beyond ASCII are read here in one of two ways only.
            assert (
                label == "uncertain" or label in text or label.encode("ascii", "ignore").decode()[:2] in text
            )


@st.composite
def mutated_json(draw, text):
    """Draw a JSON file of which values, names or bytes are spoilt."""
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["value", "value", "value", "name", "cut", "add"]))
        found = [
            m.span()
            for m in re.finditer(
                r'"[^"]*"(?=:)' if kind == "name" else r'-?[\d.]+|"[^"]*"(?!:)|\[\]|\[\[', text
            )
        ]
        if kind == "cut":
            text = text[: draw(st.integers(0, len(text)))]
        elif kind == "add":
            at = draw(st.integers(0, len(text)))
            text = text[:at] + draw(CELLS) + text[at:]
        elif found:
            start, end = draw(st.sampled_from(found))
            new = draw(st.sampled_from(JSON_VALUES if kind == "value" else ['"id"', '"x"', '"boxes"', '""']))
            text = text[:start] + new + text[end:]
    return text.encode("utf-8", "replace")


@st.composite
def mutated_array(draw):
    """Draw the file of a structured array of which fields, types, values or bytes are spoilt."""
    kinds = [list(kind) for kind in ARRAY]
    for _ in range(draw(st.integers(0, 3))):
        k = draw(st.integers(0, len(kinds) - 1))
        change = draw(st.sampled_from(["drop", "name", "type", "shape"]))
        if change == "drop" and len(kinds) > 1:
            del kinds[k]
        elif change == "name" and (name := draw(st.sampled_from(FIELDS))) not in [kind[0] for kind in kinds]:
            kinds[k][0] = name
        elif change == "type":
            kinds[k][1] = draw(st.sampled_from(TYPES))
        elif change == "shape":
            kinds[k][2:] = draw(st.sampled_from([(), ((2,),), ((3,),), ((0,),), ((2, 2),)]))
    array = np.zeros(draw(st.sampled_from([0, 1, 3, 3, 3])), [tuple(kind) for kind in kinds])
    given = {
        "uid": np.arange(len(array)),
        "blob/path": b">s.mrcs",
        "blob/idx": np.arange(len(array)),
        "blob/psize_A": 20,
        "location/micrograph_path": b">J1/a.mrc",
        "location/micrograph_shape": 40,
        "location/center_x_frac": draw(st.sampled_from([0.5, -1, np.nan, np.inf])),
        "location/center_y_frac": 0.25,
        "alignments2D/class": draw(st.sampled_from([0, 2**31, 2**32 - 1])),
    }
    for name, values in given.items():
        if name in (array.dtype.names or ()) and array[name].shape == (len(array),):
            with contextlib.suppress(ValueError, TypeError, OverflowError), np.errstate(all="ignore"):
                array[name] = values
    file = io.BytesIO()
    np.save(file, array)
    content = bytearray(file.getvalue())
    for _ in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from(["flip", "header", "cut", "extend"]))
        if kind == "cut":
            del content[draw(st.integers(0, len(content))) :]
        elif kind == "extend":
            content += draw(st.binary(min_size=1, max_size=16))
        elif content:
            content[draw(st.integers(0, min(len(content), 200 if kind == "header" else 10**9) - 1))] ^= draw(
                st.integers(1, 255)
            )
    return Content(content)


def run_program(data, folder):
    """Draw a file of another program, JSON or an array of cryoSPARC, and check it."""
    folder = Path(folder)
    write_images(folder)
    name = data.draw(st.sampled_from(["p.cs", *sorted(JSONS)]), label="file")
    content = mutated_array() if name == "p.cs" else mutated_json(JSONS[name])
    path = folder / name
    path.write_bytes(data.draw(content, label="content"))
    if picks.kind(path):
        check_positions(path)
    check_particles(path)


def write_images(folder):
    """Write two micrographs, a stack of three images and a picture."""
    rng = np.random.default_rng(0)
    for letter in "ab":
        image = rng.normal(size=(40, 50)).astype(np.float32)
        mrcfile.write(folder / f"{letter}.mrc", image, overwrite=True)
    with mrcfile.new(folder / "s.mrcs", overwrite=True) as mrc:
        mrc.set_data(rng.normal(size=(3, 4, 4)).astype(np.float32))
        mrc.set_image_stack()
    Image.fromarray(rng.integers(0, 255, (9, 9)).astype(np.uint8)).save(folder / "c.png")


def run_text(data, folder):
    """Draw a table and its mutation, and check it."""
    folder = Path(folder)
    write_images(folder)
    name = data.draw(st.sampled_from(sorted(TEXTS)), label="file")
    if name.startswith("p."):  # positions and their labels lie together; one of them is spoilt
        for other in ("p.star", "p.csv"):
            (folder / other).write_text(TEXTS[other])
    path = folder / name
    path.write_bytes(data.draw(mutated_text(TEXTS[name]), label="content"))
    if path.suffix == ".csv":
        check_table(path)
    elif picks.kind(path):
        check_positions(path)
    check_particles(path)


@needs_formats
@settings(max_examples=EXAMPLES, **campaign)
@given(st.data())
def test_mutated_image_files(data):
    """A spoilt microscope file is read as its bytes say, or refused in one sentence."""
    with tempfile.TemporaryDirectory() as folder:
        run_image(data, folder)


@settings(max_examples=EXAMPLES, **campaign)
@given(st.data())
def test_mutated_tables(data):
    """A spoilt manifest, STAR, .box or .cbox is read whole, or refused in one sentence."""
    with tempfile.TemporaryDirectory() as folder:
        run_text(data, folder)


@settings(max_examples=5 * EXAMPLES, **campaign)
@given(st.data())
def test_mutated_files_of_other_programs(data):
    """A spoilt .cs or JSON file is read whole, or refused in one sentence."""
    with tempfile.TemporaryDirectory() as folder:
        run_program(data, folder)


@pytest.mark.slow
@needs_formats
@settings(max_examples=2500, **campaign)
@given(st.data())
def test_campaign_of_image_files(data):
    """2,500 spoilt microscope files."""
    with tempfile.TemporaryDirectory() as folder:
        run_image(data, folder)


@pytest.mark.slow
@pytest.mark.parametrize("run", [run_text, run_program])
@settings(max_examples=5000, **campaign)
@given(data=st.data())
def test_campaign_of_text(run, data):
    """5,000 spoilt tables, and as many .cs and JSON files."""
    with tempfile.TemporaryDirectory() as folder:
        run(data, folder)
