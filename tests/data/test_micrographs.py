"""Reading single images: every format, the calibration, and what must be refused."""

import bz2
import csv
import gzip
import logging
import os
import struct
import sys
import tracemalloc
import warnings
import zlib

import mrcfile
import numpy as np
import pytest
import tifffile
from PIL import Image

from temlib.data import micrographs
from tests.data import conftest
from tests.data.conftest import FORMATS, needs_formats

IMAGE = np.arange(12, dtype=np.float32).reshape(3, 4)


def write_mrc(path, data=IMAGE, *, angstroms=2.0, stack=False, volume=False):
    """Write an MRC file with mrcfile and return its path."""
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(np.array(data))
        if stack:
            mrc.set_image_stack()
        if volume:
            mrc.set_volume()
        mrc.voxel_size = angstroms
    return path


def patch(path, offset, layout, *values):
    """Overwrite header fields of a file."""
    data = bytearray(path.read_bytes())
    struct.pack_into(layout, data, offset, *values)
    path.write_bytes(data)
    return path


def refused(path, match, index=None):
    """Assert that a file is refused in one sentence."""
    conftest.refused(match, micrographs.read, path, index)


def expected_rows():
    """Return the rows of expected.csv, one a file, with the reader that needs no extra first."""
    if not FORMATS.is_dir():
        return []
    with (FORMATS / "expected.csv").open(encoding="utf-8") as file:
        return list({row["file"]: row for row in reversed(list(csv.DictReader(file)))}.values())


# Pixel size in nm, read off expected.csv's calibration column by hand.
PIXEL_NM = {
    "aspire_sample_80S_particles.mrcs": np.nan,
    "ncem_Camera_Ceta_Imaging_Micro.emd": 3.13884,
    "ncem_dmTest_float32_nonSquare.dm3": np.nan,
    "particlespy_JEOL_HAADF.dm4": 1.24901,
    "pychip_MoO3_stem_16bit.tiff": np.nan,
    "rsciio_64x64_TEM_images_acquire.emi": 6.28183,
    "rsciio_64x64_TEM_images_acquire_1.ser": 6.28183,
    "rsciio_HAADFscan.mrc": 5.67913,
    "rsciio_image_saved_with_DM.tif": 168.675,
    "rsciio_image_saved_with_imageJ.tif": 168.675,
    "rsciio_test_STEM_image.dm3": 0.248538,
}


@needs_formats
@pytest.mark.parametrize("row", expected_rows(), ids=lambda row: row["file"])
def test_real_file_reads_as_independent_readers_say(row):
    """Shape, type, calibration and mean are those of expected.csv; the volume is refused as what it is."""
    path = FORMATS / row["file"]
    if path.suffix in (".dm3", ".dm4", ".ser", ".emi", ".emd"):
        pytest.importorskip("rsciio")
    if path.suffix == ".map":
        refused(path, "volume of 20 x 20 x 20 voxels")
        return
    shape = tuple(map(int, row["shape"].split("x")))
    read = (
        [micrographs.read(path, index=i) for i in range(shape[0])]
        if len(shape) == 3
        else [micrographs.read(path)]
    )
    assert {one.image.shape for one in read} == {shape[-2:]}
    refused(path, f"index must be from 0 to {len(read) - 1}", index=len(read))
    assert {one.image.dtype.name for one in read} == {row["dtype"]}
    images = np.stack([one.image for one in read]).astype(float)
    # expected.csv states four to six decimals.
    assert images.mean() == pytest.approx(float(row["mean"]), rel=1e-6, abs=5e-7 if len(shape) == 3 else 5e-5)
    assert images.min() == pytest.approx(float(row["min"]), rel=1e-6)
    assert images.max() == pytest.approx(float(row["max"]), rel=1e-6)
    assert read[0].pixel_nm == pytest.approx(PIXEL_NM[row["file"]], rel=1e-5, nan_ok=True)


@needs_formats
def test_real_stack_is_what_mrcfile_reads():
    """Every pixel of the 17 images, as expected.csv rounds their mean to six decimals."""
    path = FORMATS / "aspire_sample_80S_particles.mrcs"
    images = [micrographs.read(path, index=i).image for i in range(17)]
    with mrcfile.open(path) as mrc:
        np.testing.assert_array_equal(images, mrc.data)


@needs_formats
def test_pixels_that_are_not_square_have_no_single_size():
    """Axes of 0.2 and 1 nm give an unknown pixel size and a note that says both."""
    pytest.importorskip("rsciio")
    found = micrographs.read(FORMATS / "ncem_dmTest_float32_nonSquare.dm3")
    assert np.isnan(found.pixel_nm)
    assert "not square (0.2 nm high, 1 nm wide)" in found.notes[0]


@pytest.mark.parametrize("name", ["a.dm3", "a.dm4", "a.ser", "a.emi", "a.emd"])
def test_missing_rosettasciio_is_named_with_its_licence(tmp_path, monkeypatch, name):
    """Without the extra, its formats are refused with how to install it and under which licence it is."""
    start = {
        "dm3": b"\0\0\0\3",
        "dm4": b"\0\0\0\4",
        "ser": b"II\x97\1",
        "emi": b"JK",
        "emd": b"\x89HDF\r\n\x1a\n",
    }
    (tmp_path / name).write_bytes(start[name[2:]] + bytes(300))
    for plugin in ("digitalmicrograph", "tia", "emd"):
        monkeypatch.setitem(sys.modules, f"rsciio.{plugin}", None)
    refused(tmp_path / name, r'rosettasciio.*GPL-3\.0.*pip install "temlib\[formats\]"')


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.float32, np.uint16, np.float16])
def test_mrc_mode_reads_as_written(tmp_path, dtype):
    """Modes 0, 1, 2, 6 and 12 come back in their own type, mapped."""
    found = micrographs.read(write_mrc(tmp_path / "a.mrc", IMAGE.astype(dtype)))
    assert isinstance(found.image, np.memmap)
    assert found.image.dtype.name == np.dtype(dtype).name
    np.testing.assert_array_equal(found.image, IMAGE)


def test_mrc_angstroms_become_nanometres(tmp_path):
    """A voxel of 2 Å is 0.2 nm."""
    assert micrographs.read(write_mrc(tmp_path / "a.mrc")).pixel_nm == pytest.approx(0.2)


def test_mrc_without_voxel_size_is_unknown(tmp_path):
    """A voxel size of 0 is no pixel size."""
    found = micrographs.read(write_mrc(tmp_path / "a.mrc", angstroms=0))
    assert np.isnan(found.pixel_nm) and "no pixel size" in found.notes[0]


def test_mrc_of_exactly_one_angstrom_is_doubted(tmp_path):
    """The usual default is passed on with a note."""
    assert "exactly 1 Å" in micrographs.read(write_mrc(tmp_path / "a.mrc", angstroms=1)).notes[0]


def test_mrc_of_the_other_byte_order(tmp_path):
    """A big-endian file reads as the same numbers."""
    path = tmp_path / "a.mrc"
    header = bytearray(1024)
    struct.pack_into(">10i", header, 0, 4, 3, 1, 2, 0, 0, 0, 4, 3, 1)
    struct.pack_into(">3f", header, 40, 8, 6, 2)
    struct.pack_into(">3i", header, 64, 1, 2, 3)
    header[208:216] = b"MAP \x11\x11\0\0"
    path.write_bytes(bytes(header) + IMAGE.astype(">f4").tobytes())
    found = micrographs.read(path)
    np.testing.assert_array_equal(found.image, IMAGE)
    assert found.pixel_nm == pytest.approx(0.2)


def test_mrc_bytes_of_imod_are_unsigned(tmp_path):
    """With IMOD's stamp and its flag clear, byte 255 is 255 and not -1."""
    path = write_mrc(tmp_path / "a.mrc", np.full((2, 2), -1, np.int8))
    assert micrographs.read(path).image[0, 0] == -1
    patch(path, 152, "<2i", 1146047817, 0)
    assert micrographs.read(path).image[0, 0] == 255


SIGNS = [  # least, largest, IMOD's flag (None: not IMOD's), unsigned
    (0, 255, None, True),
    (3.5, 127.5, None, True),
    (0, 128, None, True),
    (0, 255, 0, True),
    (0, 255, 1, True),
    (-128, 127, 0, True),  # the flag alone says so
    (-128, 127, None, False),
    (-128, 127, 1, False),
    (0, 127, None, False),
    (0, 0, None, False),  # never filled in
    (0, -1, None, False),  # not determined, as MRC2014 writes it
    (255, 128, None, False),
    (-1, 255, None, False),
    (0, 70000, None, False),
    (np.nan, np.nan, None, False),
]


@pytest.mark.parametrize("suffix", [".mrc", ".mrcs", ".mrc.gz", ".mrc.bz2"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("least, largest, flag, unsigned", SIGNS)
def test_bytes_of_mrc_have_the_sign_that_their_header_says(
    tmp_path, least, largest, flag, unsigned, order, suffix
):
    """Its extremes decide, then IMOD's flag, in every packing and byte order; what the extremes decide is noted."""
    pixels, stack = np.arange(256, dtype=np.uint8).reshape(16, 16), suffix == ".mrcs"
    header = bytearray(1024)
    struct.pack_into(f"{order}10i", header, 0, 16, 16, 1 + stack, 0, 0, 0, 0, 16, 16, 1)
    struct.pack_into(f"{order}3i2f", header, 64, 1, 2, 3, least, largest)
    if flag is not None:
        struct.pack_into(f"{order}2i", header, 152, 1146047817, flag)
    header[208:214] = b"MAP DD" if order == "<" else b"MAP \x11\x11"
    pack = {".gz": gzip.compress, ".bz2": bz2.compress}.get(suffix[4:], bytes)
    (tmp_path / f"a{suffix}").write_bytes(pack(bytes(header) + (1 + stack) * pixels.tobytes()))
    found = micrographs.read(tmp_path / f"a{suffix}", index=1 if stack else None)
    np.testing.assert_array_equal(found.image, pixels if unsigned else pixels.view(np.int8))
    assert any("unsigned" in note for note in found.notes) == (unsigned and least >= 0)


def test_mrc_of_four_bits_is_unpacked(tmp_path):
    """Mode 101 holds two pixels a byte, low half first, rows padded to whole bytes."""
    path = write_mrc(tmp_path / "a.mrc", np.array([[0x21, 0x03], [0x54, 0x06]], np.int8))
    patch(patch(path, 0, "<i", 3), 12, "<i", 101)
    np.testing.assert_array_equal(micrographs.read(path).image, [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize("pack, suffix", [(gzip.compress, ".gz"), (bz2.compress, ".bz2")])
def test_packed_stack_gives_the_image_asked_for(tmp_path, pack, suffix):
    """One image is read out of a packed stack."""
    plain = write_mrc(tmp_path / "a.mrcs", np.stack([IMAGE, IMAGE + 100]), stack=True)
    path = tmp_path / f"a.mrcs{suffix}"
    path.write_bytes(pack(plain.read_bytes()))
    np.testing.assert_array_equal(micrographs.read(path, index=1).image, IMAGE + 100)


def test_stack_without_index_is_not_guessed(tmp_path):
    """A stack needs an index, and the sentence says which there are."""
    path = write_mrc(tmp_path / "a.mrcs", np.stack([IMAGE, IMAGE]), stack=True)
    refused(path, r"stack of 2 images of 3 x 4 pixels; say which by index=0 to 1")
    refused(path, r"index must be from 0 to 1, not 2", index=2)
    refused(path, r"not -1", index=-1)


def test_volume_is_refused_even_with_index(tmp_path):
    """Sections of a volume are no micrographs."""
    path = write_mrc(tmp_path / "a.mrc", np.stack([IMAGE, IMAGE]), volume=True)
    refused(path, "volume of 2 x 3 x 4 voxels", index=0)


def test_fourier_transform_is_refused(tmp_path):
    """Complex modes are named as transforms."""
    refused(write_mrc(tmp_path / "a.mrc", IMAGE.astype(np.complex64)), "Fourier transform")


@pytest.mark.parametrize(
    "offset, value, match",
    [
        (0, 10**9, "cut short"),
        (0, -4, "cannot be"),
        (4, 0, "cannot be"),
        (8, 2**31 - 1, "cut short"),
        (12, 3, "Fourier transform"),
        (12, 7, "mode 7"),
        (12, 16, "mode 16"),
        (8, -1, "cannot be"),
        (12, 1, "mode 1, but has the length of an image of 32 bits a pixel"),
        (12, 0, "mode 0, but has the length"),
    ],
)
def test_mrc_header_that_lies_is_refused(tmp_path, offset, value, match):
    """Sizes are compared with the file before memory is taken."""
    path = patch(write_mrc(tmp_path / "a.mrc"), offset, "<i", value)
    tracemalloc.start()
    refused(path, match)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


@pytest.mark.parametrize("pack, suffix", [(gzip.compress, ".gz"), (bz2.compress, ".bz2")])
def test_decompression_bomb_is_refused(tmp_path, pack, suffix):
    """A quarter of a gigabyte in a small file is refused, and what its header hides is never unpacked."""
    header = write_mrc(tmp_path / "a.mrc").read_bytes()[:1024]
    large = bytearray(header)
    struct.pack_into("<2i", large, 0, 16000, 16000)
    path = tmp_path / f"a.mrc{suffix}"
    path.write_bytes(pack(bytes(large) + bytes(2**22)))
    refused(path, "would unpack from")
    path.write_bytes(pack(header + IMAGE.tobytes() + bytes(2**26)))
    tracemalloc.start()
    assert "Bytes that follow the image" in micrographs.read(path).notes[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


@pytest.mark.parametrize("suffix", [".gz", ".bz2"])
def test_damaged_packing_is_refused(tmp_path, suffix):
    """A truncated or altered packed file is told from a good one."""
    data = {".gz": gzip.compress, ".bz2": bz2.compress}[suffix](write_mrc(tmp_path / "a.mrc").read_bytes())
    path = tmp_path / f"a.mrc{suffix}"
    path.write_bytes(data[: len(data) // 2])
    refused(path, "cut short")
    path.write_bytes(data[:20] + b"\xff" * 20 + data[40:])
    refused(path, "damaged|cut short|packed")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.int32])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_reads_as_written(tmp_path, dtype, compression):
    """8, 16 and 32 bits, plain (mapped) and deflated."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, IMAGE.astype(dtype), compression=compression)
    found = micrographs.read(path)
    assert isinstance(found.image, np.memmap) is (compression is None)
    assert found.image.dtype.name == np.dtype(dtype).name
    np.testing.assert_array_equal(found.image, IMAGE)


def test_tiff_packed_by_lzw_reads(tmp_path):
    """LZW, which tifffile alone cannot unpack, reads."""
    Image.fromarray(IMAGE.astype(np.uint8)).save(tmp_path / "a.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(micrographs.read(tmp_path / "a.tif").image, IMAGE)


@pytest.mark.parametrize(
    "unit, size_nm", [("nm", 0.5), ("micron", 500), ("\\u00B5m", 500), ("Angstrom", 0.05)]
)
def test_imagej_calibration(tmp_path, unit, size_nm):
    """Pixels per unit of ImageJ become nm a pixel."""
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, imagej=True, resolution=(2, 2), metadata={"unit": unit})
    assert micrographs.read(tmp_path / "a.tif").pixel_nm == pytest.approx(size_nm)


def test_imagej_unit_of_pixels_is_no_calibration(tmp_path):
    """A unit that is no length leaves the pixel size unknown."""
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, imagej=True, resolution=(2, 2), metadata={"unit": "pixel"})
    assert np.isnan(micrographs.read(tmp_path / "a.tif").pixel_nm)


def test_digitalmicrograph_calibration_has_a_unit_for_each_axis(tmp_path):
    """65009 and 65003 are of the width, 65010 and 65004 of the height."""
    tags = [(65003, "s", 0, "nm", True), (65004, "s", 0, "µm".encode(), True)]
    tags += [(65009, "d", 1, 0.5, True), (65010, "d", 1, 0.0005, True)]
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, extratags=tags)
    assert micrographs.read(tmp_path / "a.tif").pixel_nm == pytest.approx(0.5)


def test_fei_calibration(tmp_path):
    """The scan's pixel width in metres is taken from the FEI tag."""
    text = "[Scan]\nPixelWidth=2e-009\nPixelHeight=2e-009\n"
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, extratags=[(34682, "s", 0, text, True)])
    assert micrographs.read(tmp_path / "a.tif").pixel_nm == pytest.approx(2)


def test_tvips_calibration(tmp_path):
    """The pixel size of a TVIPS header is in nm."""
    version1 = np.zeros(1, np.dtype(tifffile.TIFF.TVIPS_HEADER_V1))
    version2 = np.zeros(1, np.dtype(tifffile.TIFF.TVIPS_HEADER_V2))
    version1["Version"], version2["Magic"] = 2, 0xAAAAAAAA
    version2["PixelSizeX"] = version2["PixelSizeY"] = 0.75
    header = version1.tobytes() + version2.tobytes()
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, extratags=[(37706, "B", len(header), header, True)])
    assert micrographs.read(tmp_path / "a.tif").pixel_nm == pytest.approx(0.75)


def test_resolution_for_a_printer_is_no_pixel_size(tmp_path):
    """72 dpi is refused as calibration, a true resolution in cm is taken with a note."""
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, resolution=(72, 72), resolutionunit="INCH")
    assert np.isnan(micrographs.read(tmp_path / "a.tif").pixel_nm)
    tifffile.imwrite(tmp_path / "b.tif", IMAGE, resolution=(2e7, 2e7), resolutionunit="CENTIMETER")
    found = micrographs.read(tmp_path / "b.tif")
    assert found.pixel_nm == pytest.approx(0.5) and "tags alone" in found.notes[0]


@pytest.mark.parametrize("imagej", [False, True])
def test_tiff_stack_gives_the_image_asked_for(tmp_path, imagej):
    """Pages, and ImageJ's many images under one directory."""
    tifffile.imwrite(
        tmp_path / "a.tif", np.stack([IMAGE, IMAGE + 50]), imagej=imagej, photometric="minisblack"
    )
    refused(tmp_path / "a.tif", "stack of 2 images of 3 x 4")
    found = micrographs.read(tmp_path / "a.tif", index=1)
    np.testing.assert_array_equal(found.image, IMAGE + 50)


def test_white_as_zero_is_inverted(tmp_path):
    """MINISWHITE is turned as the standard says, with a note."""
    tifffile.imwrite(tmp_path / "a.tif", IMAGE.astype(np.uint8), photometric="miniswhite")
    found = micrographs.read(tmp_path / "a.tif")
    np.testing.assert_array_equal(found.image, 255 - IMAGE)
    assert "white as zero" in " ".join(found.notes)


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_colour_is_taken_only_where_it_carries_nothing(tmp_path, name):
    """Equal channels become one with a note; an overlay is refused."""
    picture = np.repeat(IMAGE.astype(np.uint8)[..., None], 3, axis=-1)
    Image.fromarray(picture).save(tmp_path / name)
    found = micrographs.read(tmp_path / name)
    np.testing.assert_array_equal(found.image, IMAGE)
    assert "equal channels" in " ".join(found.notes)
    picture[0, 0, 0] = 255
    Image.fromarray(picture).save(tmp_path / name)
    refused(tmp_path / name, "colour picture")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_reads_as_written_and_has_no_scale(tmp_path, dtype):
    """8 and 16 bits; the pixel size is unknown."""
    Image.fromarray(IMAGE.astype(dtype)).save(tmp_path / "a.png")
    found = micrographs.read(tmp_path / "a.png")
    np.testing.assert_array_equal(found.image, IMAGE)
    assert np.isnan(found.pixel_nm) and found.image.dtype == dtype


def test_jpeg_reads_with_a_note(tmp_path):
    """A uniform grey survives JPEG, whose loss is said."""
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(tmp_path / "a.jpg")
    found = micrographs.read(tmp_path / "a.jpg")
    assert (found.image == 77).all() and "lossy" in " ".join(found.notes)


def png(columns, rows, data=b""):
    """Return a PNG whose header states a size of its own."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">2I5B", columns, rows, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("columns, rows", [(2**31 - 1, 2**31 - 1), (10**9, 1), (12_000, 12_000), (0, 5)])
def test_png_bomb_is_refused(tmp_path, columns, rows):
    """A PNG is refused by its header, before its pixels are unpacked."""
    (tmp_path / "a.png").write_bytes(png(columns, rows, bytes(1000)))
    tracemalloc.start()
    refused(tmp_path / "a.png", "cannot be read|expand|too many")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("tag", ["ImageWidth", "ImageLength"])
def test_tiff_directory_that_lies_is_refused(tmp_path, compression, tag):
    """Dimensions of 10^9 are refused before memory is taken."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, IMAGE, compression=compression)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags[tag].overwrite(10**9)
    tracemalloc.start()
    refused(path, "cut short|too much|expand|cannot be read")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


@pytest.mark.parametrize("name", ["a.mrc", "a.tif", "a.png", "a.jpg"])
def test_truncated_file_is_refused(tmp_path, name):
    """The first two thirds of a file are not the file."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    path = tmp_path / name
    if name == "a.mrc":
        write_mrc(path, noise.astype(np.float32))
    elif name == "a.tif":
        tifffile.imwrite(path, noise)
    else:
        Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    refused(path, "cut short|cannot be read")


def test_name_and_content_must_agree(tmp_path):
    """A PNG named .tif, text named .mrc, and an unknown suffix are refused for what they are."""
    Image.fromarray(IMAGE.astype(np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "b.tif")
    refused(tmp_path / "b.tif", "named as TIFF but its content is that of PNG")
    (tmp_path / "a.mrc").write_text("image;label\n" * 100)
    refused(tmp_path / "a.mrc", "named as MRC but its content is of no known format")
    (tmp_path / "a.xyz").write_bytes(b"abc")
    refused(tmp_path / "a.xyz", "no suffix of a known image format")


def test_missing_empty_folder_pipe_and_device_are_refused(tmp_path):
    """None of them hangs or ends in a traceback."""
    refused(tmp_path / "a.mrc", "No such file")
    (tmp_path / "b.mrc").touch()
    refused(tmp_path / "b.mrc", "empty")
    (tmp_path / "c.mrc").mkdir()
    refused(tmp_path / "c.mrc", "folder")
    os.mkfifo(tmp_path / "d.mrc")
    refused(tmp_path / "d.mrc", "pipe")
    (tmp_path / "e.mrc").symlink_to("/dev/zero")
    refused(tmp_path / "e.mrc", "device")
    (tmp_path / "f.mrc").symlink_to("f.mrc")
    refused(tmp_path / "f.mrc", "cannot be opened")
    refused("a\0b.mrc", "cannot be opened")


@pytest.mark.parametrize("name", ["two words.mrc", "Häutchen µ.mrc", "line\nbreak.mrc"])
def test_unusual_names_read_and_show(tmp_path, name):
    """Spaces, unicode and line breaks in names are read; a message stays one line."""
    path = write_mrc(tmp_path / name)
    np.testing.assert_array_equal(micrographs.read(path).image, IMAGE)
    refused(patch(path, 0, "<i", -1), "cannot be")


def test_what_libraries_say_becomes_notes(tmp_path, capsys, recwarn):
    """Nothing that tifffile logs or Pillow warns of reaches the screen; loggers are left as they were."""
    tags = [(34682, "s", 0, "not a table of FEI", True)]
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, extratags=tags)
    before = [
        (logging.getLogger(n).propagate, list(logging.getLogger(n).handlers)) for n in ("tifffile", "PIL")
    ]
    with micrographs.quiet() as said:
        warnings.warn("a\nwarning", stacklevel=1)
        logging.getLogger("tifffile").warning("a log line")
    assert said == ["The file's reader says: a warning.", "The file's reader says: a log line."]
    micrographs.read(tmp_path / "a.tif")
    after = [
        (logging.getLogger(n).propagate, list(logging.getLogger(n).handlers)) for n in ("tifffile", "PIL")
    ]
    assert before == after and not recwarn.list
    assert capsys.readouterr() == ("", "")


def test_a_strip_that_unpacks_to_more_than_its_image_is_refused(tmp_path):
    """A quarter of a gigabyte behind a directory that states 16 x 16 pixels, in 0.3 MB."""
    path = tmp_path / "a.tif"
    strip = zlib.compress(bytes(2**28), 1)
    tifffile.imwrite(path, iter([strip]), shape=(16, 16), dtype=np.uint8, compression="zlib", rowsperstrip=16)
    assert path.stat().st_size < 2**21
    tracemalloc.start()
    refused(path, "holds a strip that unpacks to more than 67,108,864 bytes; export it again")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**28


def test_bombs_of_jpeg_and_of_ome_text_are_refused_or_harmless(tmp_path):
    """A JPEG that states 65,500 pixels a side; a TIFF whose OME text names itself in itself is read without it."""
    from PIL import Image

    Image.fromarray(IMAGE.astype(np.uint8)).save(tmp_path / "a.jpg")
    data = bytearray((tmp_path / "a.jpg").read_bytes())
    at = data.index(b"\xff\xc0")  # start of frame: length, precision, rows, columns
    struct.pack_into(">2H", data, at + 5, 65500, 65500)
    (tmp_path / "a.jpg").write_bytes(data)
    entities = "".join(f'<!ENTITY l{k} "{10 * f"&l{k - 1};"}">' for k in range(1, 12))
    text = f'<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY l0 "x">{entities}]><OME>&l11;</OME>'
    tifffile.imwrite(tmp_path / "b.ome.tif", IMAGE, description=text, metadata=None)
    tracemalloc.start()
    refused(tmp_path / "a.jpg", "too many pixels|expand|too much")
    assert micrographs.read(tmp_path / "b.ome.tif").image.shape == IMAGE.shape
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26
