"""Two decoders, one convention: sign, white as zero, packed bits, orientation and scale, whoever reads the pixels."""

import gzip
import importlib.util
import struct
import sys
import types
import zlib

import mrcfile
import numpy as np
import pytest
import tifffile
from PIL import Image

from temlib.data import micrographs
from temlib.data import open as open_data
from tests.data import conftest

# Decoder -> the compression of TIFF that it unpacks.
DECODERS = {"mapped": 1, "tifffile": 8, "Pillow or imagecodecs": 5}
# Bits and kind of a pixel.
TYPES = [(bits, "u") for bits in (1, 2, 4, 8, 10, 12, 14, 16, 32)]
TYPES += [(8, "i"), (16, "i"), (32, "i"), (16, "f"), (32, "f")]
# What Pillow cannot read of it: bits, kind, byte order, white as zero; None is any.
UNKNOWN_TO_PILLOW = [
    (10, "u", None, None),
    (14, "u", None, None),
    (16, "f", None, None),
    (12, "u", ">", None),
]
UNKNOWN_TO_PILLOW += [
    (12, "u", None, True),
    (16, "u", ">", True),
    (32, "u", None, True),
    (8, "i", None, True),
]
UNKNOWN_TO_PILLOW += [(16, "i", None, True), (32, "i", None, True)]
UNKNOWN_TO_PILLOW += [(32, "u", ">", None)]
CODES = {"s": 2, "H": 3, "I": 4, "R": 5, "d": 12}  # of types; R is a ratio


def pixels(bits, kind):
    """Return an image of random values that fill the range of their type; its rows need not end on a byte."""
    rng = np.random.default_rng(bits)
    if kind == "f":
        return rng.normal(size=(5, 13)).astype(f"f{bits // 8}")
    low = -(2 ** (bits - 1)) if kind == "i" else 0
    image = rng.integers(low, low + 2**bits, (5, 13))
    image[0, :2] = low, low + 2**bits - 1
    return image.astype(f"{kind}{4 if bits > 16 else 2 if bits > 8 else 1}")


def bytes_of(text):
    """Return bytes of a text of zeros and ones, filled to whole bytes."""
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def lzw(data):
    """Return bytes coded by LZW without making use of its table, which is cleared before codes would grow."""
    codes = [code for at in range(0, len(data), 200) for code in (256, *data[at : at + 200])]
    return bytes_of("".join(f"{code:09b}" for code in [*codes, 257]))


def write_tiff(
    path, image, bits=0, *, order="<", compression=1, white=False, turn=1, fill=1, strips=1, tags=None
):
    """Write a TIFF as its standard describes it; `tags` are further ones, code: (layout, values)."""
    bits = bits or 8 * image.dtype.itemsize
    rows = [bytes_of("".join(f"{value:0{bits}b}" for value in row)) for row in image] if bits % 8 else image
    if not bits % 8:
        rows = [row.astype(row.dtype.newbyteorder(order)).tobytes() for row in image]
    step = -(-len(rows) // strips)
    pack = {1: bytes, 5: lzw, 8: zlib.compress}[compression]
    parts = [pack(b"".join(rows[at : at + step])) for at in range(0, len(rows), step)]
    if fill == 2:
        parts = [bytes(int(f"{byte:08b}"[::-1], 2) for byte in part) for part in parts]
    entries = {
        256: ("I", [image.shape[1]]),
        257: ("I", [len(image)]),
        258: ("H", [bits]),
        259: ("H", [compression]),
    }
    entries |= {
        262: ("H", [int(not white)]),
        266: ("H", [fill]),
        273: ("I", 8 + np.cumsum([0, *map(len, parts[:-1])])),
    }
    entries |= {274: ("H", [turn]), 277: ("H", [1]), 278: ("I", [step]), 279: ("I", list(map(len, parts)))}
    entries |= {339: ("H", ["uif".index(image.dtype.kind) + 1]), **(tags or {})}
    content, directory = bytearray(b"".join(parts)), struct.pack(f"{order}H", len(entries))
    for code, (layout, values) in sorted(entries.items()):
        kind = layout.replace("R", "I")
        raw = (
            values
            if layout == "s"
            else struct.pack(f"{order}{len(values)}{kind}", *np.asarray(values).tolist())
        )
        content += bytes(-len(content) % 2)
        place = raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack(f"{order}I", 8 + len(content))
        content += raw if len(raw) > 4 else b""
        directory += (
            struct.pack(f"{order}HHI", code, CODES[layout], len(values) // (1 + (layout == "R"))) + place
        )
    content += bytes(-len(content) % 2)
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(content))
    path.write_bytes(head + content + directory + bytes(4))
    return path


def brightness(image, bits, white):
    """Return what an image means whose white is stored as zero: as the standard says, for each kind of number."""
    if not white:
        return image
    return {"u": lambda: 2**bits - 1 - image.astype(np.int64), "i": lambda: -1 - image, "f": lambda: -image}[
        image.dtype.kind
    ]()


@pytest.mark.parametrize("white", [False, True], ids=["black is zero", "white is zero"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("bits, kind", TYPES)
def test_tiff_means_the_same_whoever_decodes_it(tmp_path, bits, kind, decoder, order, white):
    """Type, values and brightness are those of the file, or a sentence names the package that is needed."""
    image, path = pixels(bits, kind), tmp_path / "a.tif"
    write_tiff(path, image, bits, order=order, compression=DECODERS[decoder], white=white)
    lacking = any(
        all(b in (None, a) for a, b in zip((bits, kind, order, white), row)) for row in UNKNOWN_TO_PILLOW
    )
    if decoder.startswith("Pillow") and lacking and not micrographs.IMAGECODECS:
        conftest.refused("packed by LZW with .* pip install imagecodecs", micrographs.read, path)
        return
    found = micrographs.read(path)
    np.testing.assert_array_equal(found.image, brightness(image, bits, white))
    assert found.image.dtype == image.dtype.newbyteorder(found.image.dtype.byteorder)
    assert any("white as zero" in note for note in found.notes) == white
    assert isinstance(found.image, np.memmap) == (decoder == "mapped" and not white and bits % 8 == 0)


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("decoder", DECODERS)
def test_least_significant_bit_first_is_turned_round(tmp_path, decoder, bits):
    """A fill order of 2 is that of the bytes in the file, packed or not."""
    image = pixels(bits, "u")
    path = write_tiff(tmp_path / "a.tif", image, bits, compression=DECODERS[decoder], fill=2)
    np.testing.assert_array_equal(micrographs.read(path).image, image)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("decoder", DECODERS)
def test_rows_stay_as_they_lie_in_the_file(tmp_path, decoder, turn):
    """An orientation is for viewers: it is noted and not followed, whether or not the decoder would."""
    image = pixels(8, "u")
    path = write_tiff(tmp_path / "a.tif", image, compression=DECODERS[decoder], turn=turn)
    found = micrographs.read(path)
    np.testing.assert_array_equal(found.image, image)
    assert any("turn or mirror" in note for note in found.notes) == (turn > 1)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_orientation_of_pictures_is_not_followed(tmp_path, suffix):
    """What a phone writes into a picture turns no rows either."""
    exif = Image.Exif()
    exif[274] = 6
    image = np.repeat(np.uint8([[10], [200]]), 16, axis=0).repeat(8, axis=1)
    Image.fromarray(image).save(tmp_path / f"a{suffix}", exif=exif, quality=95)
    found = micrographs.read(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(found.image, image, atol=2)
    assert "turn or mirror" in found.notes[-1]


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("strips", [1, 2, 5])
def test_strips_are_joined(tmp_path, strips, decoder, bits):
    """However many strips an image has, its rows follow each other."""
    image = pixels(bits, "u")
    path = write_tiff(tmp_path / "a.tif", image, bits, compression=DECODERS[decoder], strips=strips)
    np.testing.assert_array_equal(micrographs.read(path).image, image)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("strips", [1, 5])
def test_wrong_lengths_of_strips_do_not_cut_an_image_short(tmp_path, strips, bits):
    """Uncompressed strips that follow each other are whole, whatever their lengths are said to be; a short file is not."""
    image = pixels(bits, "u")
    path = write_tiff(tmp_path / "a.tif", image, bits, strips=strips, tags={279: ("I", [1] * strips)})
    np.testing.assert_array_equal(micrographs.read(path).image, image)
    path = write_tiff(tmp_path / "a.tif", image, bits, tags={257: ("I", [999]), 278: ("I", [999])})
    conftest.refused("is cut short: its directory states", micrographs.read, path)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_png_of_few_bits_holds_its_own_numbers(tmp_path, bits):
    """Pillow spreads few bits over a byte; the numbers in a PNG are those that a TIFF of as many bits has."""
    image = pixels(bits, "u")
    rows = [bytes_of("".join(f"{value:0{bits}b}" for value in row)) for row in image]
    chunks = [(b"IHDR", struct.pack(">2I5B", image.shape[1], len(image), bits, 0, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    content = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(content))
    np.testing.assert_array_equal(micrographs.read(tmp_path / "a.png").image, image)


@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4"])
def test_differences_are_summed(tmp_path, dtype, order, predictor):
    """A predictor of TIFF is undone in both byte orders."""
    image = pixels(8 * int(dtype[1]), dtype[0])
    tifffile.imwrite(tmp_path / "a.tif", image, byteorder=order, compression="zlib", predictor=predictor)
    np.testing.assert_array_equal(micrographs.read(tmp_path / "a.tif").image, image)


# Mode, type as stored, type as meant, least and largest value, and whether IMOD's flag says that bytes are pairs.
MODES = [
    (0, "i1", "i1", -100, 90, False),
    (0, "i1", "u1", 0, 255, False),
    (0, "i1", "u1", 0, 15, True),
    (1, "i2", "i2", -3000, 3000, False),
    (1, "i2", "u2", 0, 60000, False),
    (2, "f4", "f4", -1.5, 2.5, False),
    (6, "u2", "u2", 0, 60000, False),
    (6, "u2", "i2", -3000, 3000, False),
    (12, "f2", "f2", -1.5, 2.5, False),
    (101, "u1", "u1", 0, 15, False),
]


def write_mrc(path, image, mode, *, order="<", dtype=None, pairs=False, extended=b"", tail=b"", changes=()):
    """Write an MRC file as its standard describes it, then `changes` of its header: (offset, layout, values)."""
    header = bytearray(1024)
    ny, nx = image.shape
    struct.pack_into(
        f"{order}10i", header, 0, nx // (1 + pairs), ny, 1, mode, 0, 0, 0, nx // (1 + pairs), ny, 1
    )
    struct.pack_into(f"{order}3f", header, 40, 6.2 * nx / (1 + pairs), 6.2 * ny, 6.2)
    struct.pack_into(
        f"{order}3i3f2i", header, 64, 1, 2, 3, image.min(), image.max(), image.mean(), 0, len(extended)
    )
    if pairs:
        struct.pack_into(f"{order}2i", header, 152, 1146047817, 16)
    header[208:214] = b"MAP DD" if order == "<" else b"MAP \x11\x11"
    for offset, layout, *values in changes:
        struct.pack_into(f"{order}{layout}", header, offset, *values)
    data = image.astype(np.dtype(dtype or image.dtype).newbyteorder(order)).tobytes()
    if pairs or mode == 101:
        low, high = image[:, ::2], np.pad(image[:, 1::2], ((0, 0), (0, nx % 2)))
        data = (low | high << 4).astype(np.uint8).tobytes()
    content = bytes(header) + extended + data + tail
    path.write_bytes({".gz": gzip.compress}.get(path.suffix, bytes)(content))
    return path


@pytest.mark.parametrize("suffix", [".mrc", ".mrcs", ".mrc.gz"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("mode, stored, meant, least, largest, pairs", MODES)
def test_mrc_means_what_its_header_says(tmp_path, mode, stored, meant, least, largest, pairs, order, suffix):
    """Every mode, in both byte orders; the extremes in the header decide on the sign, and where they do a note says so."""
    image = np.linspace(least, largest, 4 * 6).reshape(4, 6).astype(meant)
    wide = image.astype(np.int64).astype(stored) if meant[0] in "ui" else image  # the same bits
    path = write_mrc(tmp_path / f"a{suffix}", image, mode, order=order, pairs=pairs)
    found = micrographs.read(path)
    np.testing.assert_array_equal(found.image, image)
    assert found.image.dtype.name == image.dtype.name and found.pixel_nm == pytest.approx(0.62)
    decided = wide.dtype != image.dtype and not pairs
    assert any("read as unsigned" in note or "with a sign" in note for note in found.notes) == decided


# What is wrong with a header, and how it is noted.
FLAWS = {
    "no mark": ({"changes": [(208, "i", 0)]}, "lacks the mark"),
    "neither mark nor stamp": ({"changes": [(208, "2i", 0, 0)]}, "lacks the mark"),
    "the other stamp": ({"changes": [(212, "B", 0)]}, None),
    "an extended header that is not there": (
        {"changes": [(92, "i", 49920)]},
        "49920 bytes, which is not there",
    ),
    "a negative extended header": ({"changes": [(92, "i", -8)]}, "-8 bytes, which is not there"),
    "a longer extended header": (
        {"extended": bytes(96), "changes": [(92, "i", 40)]},
        "has 96 bytes and not the 40",
    ),
    "a shorter extended header": (
        {"extended": bytes(40), "changes": [(92, "i", 9999)]},
        "has 40 bytes and not the 9999",
    ),
    "an extended header untold": (
        {"extended": bytes(40), "changes": [(92, "i", 0)]},
        "has 40 bytes and not the 0",
    ),
    "bytes behind": ({"tail": bytes(1024)}, "Bytes that follow"),
    "bytes behind and no extremes": ({"tail": bytes(7), "changes": [(76, "2f", 0, 0)]}, "Bytes that follow"),
    "no sections": ({"changes": [(8, "i", 0)]}, "states 0 sections"),
    "axes without a number": ({"changes": [(64, "3i", 0, 0, 0)]}, None),
    "axes that are none": ({"changes": [(64, "3i", 1, 1, 7)]}, "numbers the axes"),
    "no size of a voxel": ({"changes": [(40, "3f", 0, 0, 0)]}, "states no pixel size"),
    "no grid": ({"changes": [(28, "3i", 0, 0, 0)]}, "states no pixel size"),
    "a size of a voxel that is no number": ({"changes": [(40, "3f", *3 * [np.nan])]}, "states no pixel size"),
}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("mode, dtype", [(0, "i1"), (1, "i2"), (2, "f4")])
@pytest.mark.parametrize("flaw", FLAWS)
def test_flawed_headers_are_read_with_a_note(tmp_path, flaw, mode, dtype, order):
    """Where size and mode leave no doubt the image is read, and what was wrong is said."""
    image = np.linspace(-90, 90, 15).reshape(3, 5).astype(dtype)
    options, note = FLAWS[flaw]
    found = micrographs.read(write_mrc(tmp_path / "a.mrc", image, mode, order=order, **options))
    np.testing.assert_array_equal(found.image, image)
    assert any(note in said for said in found.notes) if note else not found.notes


@pytest.mark.parametrize("order, stamp", [("<", b"\x11\x11"), (">", b"DD")])
def test_the_numbers_of_a_header_overrule_its_stamp(tmp_path, order, stamp):
    """A byte order in which no number makes sense is not that of the file."""
    path = write_mrc(tmp_path / "a.mrc", pixels(16, "i"), 1, order=order, changes=[(212, "2s", stamp)])
    found = micrographs.read(path)
    np.testing.assert_array_equal(found.image, pixels(16, "i"))
    assert "another byte order" in found.notes[0]


@pytest.mark.parametrize("suffix", [".mrc", ".mrc.gz"])
@pytest.mark.parametrize(
    "options, match",
    [
        ({"changes": [(4, "i", 9)]}, r"is cut short: \d+ bytes are stated and \d+ are there; copy"),
        ({"changes": [(4, "i", 9), (208, "i", 0)]}, "no known format|no MRC file"),
        ({"changes": [(64, "3i", 2, 1, 3)]}, "orders its axes"),
        ({"changes": [(12, "i", 2)]}, "states mode 2, but has the length of an image of 16 bits"),
        (
            {"extended": bytes(9), "changes": [(92, "i", 40), (76, "2f", 0, 0)]},
            "40 bytes, which does not fit",
        ),
        ({"changes": [(12, "i", 5)]}, "MRC mode 5"),
    ],
)
def test_headers_that_leave_a_doubt_get_their_true_cause(tmp_path, options, match, suffix):
    """What cannot be right is refused for what is wrong; only a short file is called cut short."""
    path = write_mrc(tmp_path / f"a{suffix}", pixels(16, "i"), 1, **options)
    conftest.refused(match, micrographs.read, path)


def test_modes_are_those_of_mrcfile(tmp_path):
    """What is written here is what an independent reader reads."""
    for mode, _, meant, least, largest, pairs in MODES:
        image = np.linspace(least, largest, 24).reshape(4, 6).astype(meant)
        path = write_mrc(tmp_path / "a.mrc", image, mode)
        if mode != 101 and meant not in ("u1",) and not pairs and (mode, meant) not in ((1, "u2"), (6, "i2")):
            np.testing.assert_array_equal(mrcfile.read(path), image)


CONTENTS = {
    "a web page": (b"<!DOCTYPE html>\n<html>", "web page and no image; download"),
    "a pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
        "pointer of Git LFS .* git lfs pull",
    ),
    "nothing": (bytes(4096), "zeros at its beginning .* copy it again"),
    "macOS": (b"\0\5\x16\7\0\2\0\0Mac OS X", "macOS keeps beside a file .* delete it"),
    "words": (b"image;label\n" * 100, "no known format"),
    "few words": (b"image;label\n", "no known format"),
}


@pytest.mark.parametrize("suffix", [".mrc", ".tif", ".png", ".mrc.gz"])
@pytest.mark.parametrize("content", CONTENTS)
def test_what_is_no_image_is_named(tmp_path, content, suffix):
    """What stands in an image's place is not called a damaged copy of it."""
    data, match = CONTENTS[content]
    (tmp_path / f"a{suffix}").write_bytes(data)
    conftest.refused(match, micrographs.read, tmp_path / f"a{suffix}")


LENGTHS = {
    0.1: (
        "Å",
        "\u212b",
        "A\u030a",
        "A",
        "a",
        "Ang",
        "angstrom",
        "Angstroms",
        "Ångström",
        "\\u00C5",
        "\\u00c5",
        "\\\\u00C5",
    ),
    1: ("nm", "NM", "nanometer", "Nanometers", "nanometre", "nm/pixel", "nm / px", " nm ", "[nm]"),
    1e3: (
        "µm",
        "\u03bcm",
        "um",
        "micron",
        "microns",
        "Micrometer",
        "micrometres",
        "\\u00B5m",
        "\\\\u00B5m",
        "\u03bc",
    ),
    1e-3: ("pm", "picometers"),
    1e6: ("mm", "millimeter"),
    1e9: ("m", "meter", "metres"),
    1e7: ("cm", "centimeters"),
    25.4e6: ("inch", "inches", "in"),
}
INVERSE = (
    "1 / nm",
    "1/nm",
    "/nm",
    "nm^-1",
    "nm-1",
    "nm\u207b\u00b9",
    "1/Å",
    "1 / \\u00C5",
    "1/um",
    "nm**-1",
    "mrad",
)
OTHER = ("pixel", "pixels", "px", "", "None")


def ome(attributes, images=1):
    """Return an OME-XML text with images that have some attributes."""
    text = "".join(f'<Image ID="Image:{k}"><Pixels SizeX="4" {attributes}/></Image>' for k in range(images))
    return f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org">{text}</OME>'


def calibrated(path, program, unit, per_unit):
    """Write a TIFF with so many pixels per unit, as a program writes it."""
    size, ratio = 1 / per_unit, ("R", [per_unit, 1])
    text = f"ImageJ=1.54f\nimages=1\nunit={unit}\n"
    if program == "OME":
        text = ome(" ".join(f'PhysicalSize{axis}="{size}" PhysicalSize{axis}Unit="{unit}"' for axis in "XY"))
    tags = {270: ("s", f"{text}\0".encode())}
    if program == "ImageJ":
        tags |= {282: ratio, 283: ratio, 296: ("H", [1])}
    elif program == "DigitalMicrograph":
        name = ("s", f"{unit}\0".encode())
        tags = {65003: name, 65004: name, 65009: ("d", [size]), 65010: ("d", [size])}
    return write_tiff(path, pixels(8, "u"), tags=tags)


@pytest.mark.parametrize("program", ["ImageJ", "OME", "DigitalMicrograph"])
@pytest.mark.parametrize("length", LENGTHS)
def test_lengths_are_read_in_every_spelling(tmp_path, length, program):
    """A unit has one meaning, whoever wrote it and however."""
    per_unit = 40_000_000 if length in (1e7, 25.4e6) else 4
    for unit in LENGTHS[length]:
        found = micrographs.read(calibrated(tmp_path / "a.tif", program, unit, per_unit))
        assert found.pixel_nm == pytest.approx(length / per_unit), unit
        assert not found.notes, unit


@pytest.mark.parametrize("program", ["ImageJ", "OME", "DigitalMicrograph"])
@pytest.mark.parametrize("unit", INVERSE)
def test_an_inverse_length_is_a_diffraction_pattern(tmp_path, unit, program):
    """What is calibrated in reciprocal space or in angles is refused as what it is."""
    path = calibrated(tmp_path / "a.tif", program, unit, 4)
    conftest.refused(
        "is calibrated in .*, a diffraction pattern; give the micrograph", micrographs.read, path
    )


@pytest.mark.parametrize("program", ["ImageJ", "OME", "DigitalMicrograph"])
@pytest.mark.parametrize("unit", OTHER)
def test_pixels_are_no_length(tmp_path, unit, program):
    """Without a unit there is no size; one that is not known is named."""
    found = micrographs.read(calibrated(tmp_path / "a.tif", program, unit, 4))
    assert np.isnan(found.pixel_nm)
    assert found.notes == ["The file states no pixel size."]
    found = micrographs.read(calibrated(tmp_path / "a.tif", program, "furlong", 4))
    assert np.isnan(found.pixel_nm) and "'furlong', which is no known unit of length" in found.notes[0]


@pytest.mark.parametrize(
    "attributes, images, size_nm",
    [
        ('PhysicalSizeX="0.0025" PhysicalSizeY="0.0025"', 1, 2.5),  # µm is the default
        ("PhysicalSizeX='2.5' PhysicalSizeXUnit='nm' PhysicalSizeY='2.5' PhysicalSizeYUnit='nm'", 3, 2.5),
        ('PhysicalSizeX="25" PhysicalSizeXUnit="&#197;" PhysicalSizeY="2.5" PhysicalSizeYUnit="nm"', 1, 2.5),
        ('PhysicalSizeX="2.5" PhysicalSizeXUnit="nm"', 1, np.nan),
        (
            'PhysicalSizeX="1" PhysicalSizeXUnit="reference frame" PhysicalSizeY="1" PhysicalSizeYUnit="pixel"',
            1,
            np.nan,
        ),
        ("", 1, np.nan),
    ],
)
def test_ome_states_a_scale(tmp_path, attributes, images, size_nm):
    """Axes have their own units, which are µm where nothing is said."""
    path = write_tiff(
        tmp_path / "a.ome.tif", pixels(8, "u"), tags={270: ("s", f"{ome(attributes, images)}\0".encode())}
    )
    assert micrographs.read(path).pixel_nm == pytest.approx(size_nm, nan_ok=True)


def test_dots_per_inch_are_for_printers(tmp_path):
    """72 dpi are no pixel size, in resolution tags or by ImageJ; the sentence says what they are."""
    for text in ("", "ImageJ=1.54f\nunit=inch\n"):
        tags = {282: ("R", [72, 1]), 283: ("R", [72, 1]), 296: ("H", [2]), 270: ("s", f"{text}\0".encode())}
        found = micrographs.read(write_tiff(tmp_path / "a.tif", pixels(8, "u"), tags=tags))
        assert np.isnan(found.pixel_nm) and found.notes == [
            "The file states a resolution for printing but no pixel size."
        ]


@pytest.mark.parametrize("program", ["tifffile", "Pillow", "ImageJ"])
def test_images_of_a_tiff_stack_are_told_apart(tmp_path, program):
    """Each row of a table gets its own image, whether or not images lie one behind the other in the file."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (6, 20, 20)).astype(np.uint8)
    if program == "Pillow":
        first, *rest = map(Image.fromarray, images)
        first.save(tmp_path / "s.tif", save_all=True, append_images=rest)
    elif program == "ImageJ":
        tifffile.imwrite(tmp_path / "s.tif", images, imagej=True)
    else:
        with tifffile.TiffWriter(tmp_path / "s.tif") as file:
            for image in images:
                file.write(image, contiguous=False)
    lines = [f"s.tif,{k},m{k % 2},{'ab'[k % 2]}" for k in range(6)]
    (tmp_path / "m.csv").write_text("\n".join(["image,index,micrograph,class", *lines]))
    found = open_data(tmp_path / "m.csv", input_size=20).images
    for image, prepared in zip(images, found):
        assert np.corrcoef(image.ravel(), prepared.ravel())[0, 1] > 0.999


def test_what_no_decoder_unpacks_is_named(tmp_path, monkeypatch):
    """A compression or a width that Pillow does not know is not called damage."""
    monkeypatch.setattr(micrographs, "IMAGECODECS", False)
    path = write_tiff(tmp_path / "a.tif", pixels(8, "u"), tags={259: ("H", [65001])})
    conftest.refused("packed by EER_V1 .* needs imagecodecs; install", micrographs.read, path)
    path = write_tiff(tmp_path / "a.tif", pixels(8, "u")[:, :12], tags={256: ("I", [4]), 258: ("H", [24])})
    if importlib.util.find_spec("imagecodecs") is None:
        conftest.refused("24-bit integers requires the 'imagecodecs' package", micrographs.read, path)
    else:
        assert micrographs.read(path).image.shape == (5, 4)


def test_strips_that_are_too_short_are_not_filled_with_zeros(tmp_path):
    """Strips apart from each other must hold the image."""
    path = write_tiff(tmp_path / "a.tif", pixels(16, "u"), strips=5, tags={279: ("I", [26, 26, 26, 26, 3])})
    assert micrographs.read(path).image.shape == (5, 13)
    offsets = [8, 34, 60, 86, 90]
    path = write_tiff(
        tmp_path / "a.tif",
        pixels(16, "u"),
        strips=5,
        tags={279: ("I", [26, 26, 26, 26, 3]), 273: ("I", offsets)},
    )
    conftest.refused("states 107 bytes of image in its strips, where 130 are due", micrographs.read, path)


@pytest.fixture
def rosettasciio(tmp_path, monkeypatch):
    """Return a function that reads a DM3 as if rosettasciio, which may not be there, had found an image and a unit."""
    (tmp_path / "a.dm3").write_bytes(b"\0\0\0\3" + bytes(300))

    def read(image, unit="nm", scale=0.25):
        signal = {"data": image, "axes": [{"units": unit, "scale": scale}] * 2}
        module = types.SimpleNamespace(file_reader=lambda path, lazy: [signal])
        monkeypatch.setitem(sys.modules, "rsciio.digitalmicrograph", module)
        monkeypatch.setitem(sys.modules, "rsciio", types.SimpleNamespace(digitalmicrograph=module))
        return micrographs.read(tmp_path / "a.dm3")

    return read


@pytest.mark.parametrize("length", LENGTHS)
def test_rosettasciio_spells_lengths_as_others_do(rosettasciio, length):
    """What an optional reader calls a unit is understood as in a TIFF."""
    scale = 2.5e-8 if length in (1e7, 25.4e6) else 0.25
    for unit in LENGTHS[length]:
        assert rosettasciio(pixels(8, "u"), unit, scale).pixel_nm == pytest.approx(length * scale), unit


@pytest.mark.parametrize("unit", INVERSE)
def test_rosettasciio_tells_diffraction_patterns(rosettasciio, unit):
    """And an inverse length is one."""
    conftest.refused("a diffraction pattern", rosettasciio, pixels(8, "u"), unit)


@pytest.mark.parametrize("bits, kind", [row for row in TYPES if row[0] in (8, 16, 32)])
def test_rosettasciio_gives_pixels_as_they_are(rosettasciio, bits, kind):
    """Its types are those of the file."""
    image = pixels(bits, kind)
    found = rosettasciio(image)
    np.testing.assert_array_equal(found.image, image)
    assert found.image.dtype == image.dtype
