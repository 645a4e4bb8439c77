"""Mutated files: each ends in a right reading or in one clear sentence, in bounded memory, without a hang.

The mutations know the formats: fields of headers get values that lie, tables get cells, quotes and separators
where none belong, and every file is cut, extended and spoilt. `TEMLIB_MUTATIONS` sets the number of examples
of each fast test; the slow tests make 5,000 in all.
"""

import contextlib
import importlib.util
import os
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
from temlib.data import labels, micrographs, positions
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
}


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
    found = guarded(lambda: positions.read(path))
    if found is None:
        return
    assert len(found) and found["particle"].is_unique
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
    for task in data.tasks:
        for label in data.table[task].dropna().unique():
            assert label == "uncertain" or label.encode("ascii", "ignore").decode()[:2] in text


def run_text(data, folder):
    """Draw a table and its mutation, and check it."""
    folder = Path(folder)
    rng = np.random.default_rng(0)
    for letter in "ab":
        image = rng.normal(size=(40, 50)).astype(np.float32)
        mrcfile.write(folder / f"{letter}.mrc", image, overwrite=True)
    with mrcfile.new(folder / "s.mrcs", overwrite=True) as mrc:
        mrc.set_data(rng.normal(size=(3, 4, 4)).astype(np.float32))
        mrc.set_image_stack()
    Image.fromarray(rng.integers(0, 255, (9, 9)).astype(np.uint8)).save(folder / "c.png")
    name = data.draw(st.sampled_from(sorted(TEXTS)), label="file")
    if name.startswith("p."):  # positions and their labels lie together; one of them is spoilt
        for other in ("p.star", "p.csv"):
            (folder / other).write_text(TEXTS[other])
    path = folder / name
    path.write_bytes(data.draw(mutated_text(TEXTS[name]), label="content"))
    if path.suffix == ".csv":
        check_table(path)
    else:
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


@pytest.mark.slow
@needs_formats
@settings(max_examples=2500, **campaign)
@given(st.data())
def test_campaign_of_image_files(data):
    """2,500 spoilt microscope files."""
    with tempfile.TemporaryDirectory() as folder:
        run_image(data, folder)


@pytest.mark.slow
@settings(max_examples=2500, **campaign)
@given(st.data())
def test_campaign_of_tables(data):
    """2,500 spoilt tables."""
    with tempfile.TemporaryDirectory() as folder:
        run_text(data, folder)
