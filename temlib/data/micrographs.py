"""Read one image of any microscope format, with its pixel size in nm and an account of what was found.

A file is recognised by its name *and* its content; every size that a header states is checked against the file before
memory is taken; what the file does not say stays unknown (a pixel size of NaN); stacks, volumes, spectra, diffraction
patterns and colour pictures are named as such and never reduced to an image by a guess. Whatever cannot be read raises
`InputError`. Images, (rows, columns), keep the type and the row order of the file; uncompressed MRC and TIFF are mapped.
A decoder gets path, index and size in bytes, and returns what is `Stored`; `conventions` says what it means.
"""

import glob
import html
import importlib.util
import logging
import math
import os
import re
import struct
import threading
import warnings
import zlib
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from temlib.data import mrc
from temlib.data.conventions import FREE_EXPANSION, Stored, check_memory, check_pixels, meant
from temlib.files import InputError, probe, reason, refusal

# Of rosettasciio.
PLUGINS = {"DM3": "digitalmicrograph", "DM4": "digitalmicrograph", "SER": "tia", "EMI": "tia", "EMD": "emd"}
FORMATS = {
    **dict.fromkeys(mrc.SUFFIXES, "MRC"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    ".png": "PNG",
    **dict.fromkeys((".jpg", ".jpeg"), "JPEG"),
    **{f".{form.lower()}": form for form in PLUGINS},
}
SUFFIXES = tuple(FORMATS)
SIGNATURES = {  # format -> first bytes of its files
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),  # with BigTIFF
    "gzip": (b"\x1f\x8b",),
    "bzip2": (b"BZh",),
    "EMD": (b"\x89HDF\r\n\x1a\n",),
    "DM3": (b"\0\0\0\x03",),
    "DM4": (b"\0\0\0\x04",),
    "SER": (b"II\x97\x01",),
    "EMI": (b"JK",),
    "ZIP": (b"PK\x03\x04",),
    "PDF": (b"%PDF",),
    "GIF": (b"GIF8",),
    "BMP": (b"BM",),
    "a web page": (b"<!DOCTYPE html", b"<!doctype html", b"<html"),
    "a pointer of Git LFS": (b"version https://git-lfs",),
    "what macOS keeps beside a file": (b"\0\5\x16\7",),
    "nothing but zeros at its beginning": (bytes(mrc.MAGIC.stop),),
}
# What stands in an image's place -> cure.
FETCHED = {
    "a web page": "download the file itself",
    "a pointer of Git LFS": "fetch the file itself with git lfs pull",
    "what macOS keeps beside a file": "delete it, the image has the name without '._'",
    "nothing but zeros at its beginning": "its copy was not finished, so copy it again",
}
IMAGECODECS = importlib.util.find_spec("imagecodecs") is not None  # lets tifffile unpack all that there is
DEFLATE = (8, 32946, 50013)  # which tifffile unpacks alone
DEFLATE_AT_MOST = 1032  # times, to which Deflate can expand
REVERSED = bytes(
    int(f"{byte:08b}"[::-1], 2) for byte in range(256)
)  # for bytes with the least significant bit first
# Layout -> what libtiff makes of it: numbers in the order of this machine, which Pillow would turn round again.
NATIVE = {"I;16S": "I;16NS", "I;16BS": "I;16NS", "I;32S": "I;32NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}
# Orientation -> what takes back how Pillow turns a TIFF.
UNTURN = dict(
    zip(
        range(2, 9),
        (
            Image.Transpose.FLIP_LEFT_RIGHT,
            Image.Transpose.ROTATE_180,
            Image.Transpose.FLIP_TOP_BOTTOM,
            Image.Transpose.TRANSPOSE,
            Image.Transpose.ROTATE_90,
            Image.Transpose.TRANSVERSE,
            Image.Transpose.ROTATE_270,
        ),
    )
)
SER_IMAGES = 0x4122  # the kind of a series of images
SER_PIXEL_BYTES = {1: 1, 2: 2, 3: 4, 4: 1, 5: 2, 6: 4, 7: 4, 8: 8, 9: 8, 10: 16}
MOST_DIMENSIONS = 8  # of a series; one or two are usual
_QUIET = threading.Lock()  # held while `quiet` collects


@dataclass(frozen=True)
class Found:
    """One image and what its file says of it."""

    image: np.ndarray  # (rows, columns) in the file's own type, mapped where the file allows it
    pixel_nm: float  # edge of a square pixel, NaN where it is unknown or the axes differ
    notes: list  # sentences about assumptions and oddities
    form: str  # "MRC", "TIFF", "PNG", "JPEG", "DM3", "DM4", "SER", "EMI" or "EMD"
    step: int = 0  # bytes from a mapped image of a stack to the next, 0 where they lie apart


def format_of(name):
    """Return the format that a file's name promises, None if it is no image's."""
    stem, suffix = os.path.splitext(name.lower())
    if suffix in mrc.PACKED:
        return "MRC" if os.path.splitext(stem)[1] in mrc.SUFFIXES else None
    return FORMATS.get(suffix)


def read(path, index=None):
    """Return what is `Found` in a file: one image, its pixel size, and what was assumed.

    A stack needs the 0-based `index` of the image. DM3, DM4, SER, EMI and EMD need the optional extra `formats`. MRC is
    read as MRC2014 [1]_ with the modes 0, 1, 2, 6, 12 and 101, and with a note where its header is flawed but size and mode
    leave no doubt. A file named .mrcs or .st, or of space group 0, is a stack; several sections otherwise are a volume,
    as the standard and RELION have it.

    References
    ----------
    .. [1] Cheng A. et al., J. Struct. Biol. 192 (2015) 146, doi:10.1016/j.jsb.2015.04.002
    """
    path = Path(path)
    size, head = probe(path, mrc.MAGIC.stop)
    form = _recognised(path, head)
    with quiet() as said:
        try:
            stored = READERS.get(form, _read_rsciio)(path, index, size)
            image, pixel_nm, notes = meant(path, stored, size)
        except InputError:
            raise
        except Exception as fault:  # a damaged file fails in libraries in ways that no list of types covers
            raise _unreadable(path, form, fault) from fault
    if image.ndim != 2 or not image.size:
        fault = f"holds an image of shape {image.shape}, not of rows and columns"
        raise refusal(path, f"{fault}; export it as 2-D.")
    return Found(image, pixel_nm, notes + said, form, stored.step)


def stacked(path):
    """Return how many images a file holds that `read` gives one by one; 1 too where that would be refused."""
    form = format_of(path.name)
    try:
        if form == "MRC":
            return mrc.sections(path)
        if form == "TIFF" and _may_be_stack(path):
            with quiet(), tifffile.TiffFile(path) as tif:
                pages = sum(not page.is_reduced for page in tif.pages)
                return pages if pages > 1 else int((tif.imagej_metadata or {}).get("images", 1))
    except Exception:  # reading says why
        return 1
    return 1


def _may_be_stack(path):
    """Return whether a TIFF has a second directory, or ImageJ's word for one; decoding tags would take a hundred times longer."""
    with path.open("rb") as file:
        head = file.read(4096)
        order = "<" if head[:2] == b"II" else ">"
        if head[2:4] not in (b"*\0", b"\0*"):
            return True
        file.seek(struct.unpack_from(order + "I", head, 4)[0])
        (count,) = _unpacked(file, order + "H")
        file.seek(12 * count, os.SEEK_CUR)
        return _unpacked(file, order + "I") != (0,) or b"images=" in head


def _unreadable(path, form, fault):
    """Return the refusal of a file in which a library failed."""
    why = f"cannot be read as {form} ({reason(fault)})"
    if isinstance(fault, Image.DecompressionBombError):
        limit = f"states too many pixels for a {form}, more than {2 * Image.MAX_IMAGE_PIXELS:,}"
        return refusal(path, f"{limit}; save it as uncompressed MRC or TIFF, which are memory-mapped.")
    if isinstance(fault, EOFError) or "truncated" in str(fault).lower():
        return refusal(path, f"{why}: it is cut short; copy it again.")
    why += ": it is damaged, or of a kind that is not known"
    return refusal(path, f"{why}; export it again as TIFF or MRC.")


def _recognised(path, head):
    """Return the format of a file whose name and first bytes agree on it."""
    form = format_of(path.name)
    if form is None:
        known = " ".join(SUFFIXES)
        raise refusal(path, f"has no suffix of a known image format; known are {known} .mrc.gz .mrc.bz2.")
    expected = mrc.PACKED.get(path.suffix.lower(), form)
    found = next((name for name, starts in SIGNATURES.items() if head.startswith(starts)), None)
    # MRC begins with a number of columns, which may be any other format's signature; before 2000 it had none.
    if expected == "MRC" and (head[mrc.MAGIC] == b"MAP" or found is None):
        found = "MRC"
    if found in FETCHED:
        raise refusal(path, f"holds {found} and no image; {FETCHED[found]}.")
    if found != expected:
        content = f"that of {found}" if found else "of no known format"
        fault = f"is named as {expected} but its content is {content}"
        raise refusal(path, f"{fault}; rename or export it again.")
    return form


@contextmanager
def quiet():
    """Collect what other libraries warn or log as notes, so that none of it reaches the reader's screen.

    Python keeps its filters of warnings once for all threads: who reads in threads enters this around them, and within
    it nothing is collected a second time.
    """
    said = []
    if _QUIET.locked():
        yield said
        return
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    loggers = [logging.getLogger(name) for name in ("tifffile", "PIL", "rsciio")]
    with _QUIET, warnings.catch_warnings(), ExitStack() as after:
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_: said.append(str(message))
        for logger in loggers:
            after.callback(setattr, logger, "propagate", logger.propagate)
            after.callback(logger.removeHandler, handler)
            logger.addHandler(handler)
            logger.propagate = False
        yield said
    texts = [reason(text) for text in dict.fromkeys(said)]
    said[:] = [f"The file's reader says: {text}." for text in texts[:5]]


def _choose(path, index, count, shape):
    """Return which of `count` images of `shape` (rows, columns) to read, or refuse to choose for the user."""
    size = f"{shape[-2]} x {shape[-1]} pixels"
    if index is None:
        if count == 1:
            return 0
        raise refusal(path, f"is a stack of {count} images of {size}; say which by index=0 to {count - 1}.")
    if not 0 <= index < count:
        what = "a single image" if count == 1 else f"{count} images"
        raise refusal(path, f"holds {what} of {size}; index must be from 0 to {count - 1}, not {index}.")
    return index


def _read_tiff(path, index, size):
    """Read a TIFF by tifffile, or by Pillow where the packing or a palette needs it."""
    with tifffile.TiffFile(path) as tif:
        numbers = _images(path, size, os.stat(path).st_mtime_ns) if len(tif.pages) > 1 else (0,)
        first = tif.pages[numbers[0]]
        if first.imagedepth > 1:
            raise refusal(path, f"is a volume of {first.imagedepth} sections; give a 2-D image.")
        # ImageJ writes one directory for many images that follow each other.
        within = int((tif.imagej_metadata or {}).get("images", 1)) if len(numbers) == 1 else 1
        chosen = _choose(path, index, max(within, len(numbers)), (first.imagelength, first.imagewidth))
        page, skipped = (first, chosen) if within > 1 else (tif.pages[numbers[chosen]], 0)
        stored = Stored(None, _tiff_scales(tif, page), white_is_zero=page.photometric == 0)
        stored.turned = (page.tags.valueof(274) or 1) != 1
        stored.step = page.nbytes if within > 1 else 0
        _tiff_pixels(path, page, skipped, size, stored)
        return stored


@lru_cache(maxsize=16)
def _images(path, *state):
    """Return the numbers of the directories that are images and no small copies, of a file in some state."""
    with tifffile.TiffFile(path) as tif:
        return tuple(page.index for page in tif.pages if not page.is_reduced)


def _tiff_pixels(path, page, skipped, size, stored):
    """Put the pixels of a page, `skipped` images behind its beginning, into `stored`, mapped where the file allows it."""
    dtype, bits = page.dtype, page.bitspersample
    if dtype is None or page.photometric == 3:
        stored.pixels = _picture(path, "TIFF", size, stored, page.index)
        return
    # Several pixels share a byte.
    packed = dtype.kind in "bu" and page.samplesperpixel == 1 and not page.is_tiled and bits % 8 > 0
    stored.bits, stored.columns = (bits, page.imagewidth) if packed else (0, 0)
    dtype = np.dtype(np.uint8) if packed else dtype.newbyteorder(page.parent.byteorder)
    shape = (page.imagelength, -(-page.imagewidth * bits // 8)) if packed else page.shape
    due = math.prod(shape) * dtype.itemsize
    if not packed:
        check_pixels(path, dtype)
    whole = packed or bits == 8 * dtype.itemsize  # not 24 bits, say
    plain = page.compression == page.fillorder == page.predictor == 1 and whole
    if plain and _consecutive(page, due):
        start = page.dataoffsets[0] + skipped * due
        if start + due > size:
            raise refusal(path, f"is cut short: its directory states {due} bytes of image; copy it again.")
        stored.pixels = np.memmap(path, dtype, "r", start, shape)
        return
    if skipped:
        raise refusal(path, "is a packed stack of ImageJ, which cannot be divided; save it uncompressed.")
    check_memory(path, due, size)
    if plain and sum(page.databytecounts) < due:
        fault = f"states {sum(page.databytecounts)} bytes of image in its strips, where {due} are due"
        raise refusal(path, f"{fault}; export it again.")
    known = page.compression == 1 or page.compression in DEFLATE
    if page.compression in DEFLATE:
        _check_strips(path, page, due)
    if packed and known and page.predictor == 1:
        stored.pixels = np.frombuffer(_strips(path, page, due), np.uint8).reshape(shape)
    elif (not packed and known and page.predictor in (1, 2)) or IMAGECODECS:
        stored.pixels, stored.columns = page.asarray(), 0
    else:
        stored.pixels, stored.columns = _by_pillow(path, page, size, stored), 0
    if stored.pixels.dtype == bool:
        stored.pixels = stored.pixels.view(np.uint8)
    if page.planarconfig == 2 and stored.pixels.ndim == 3:
        stored.pixels = np.moveaxis(stored.pixels, 0, -1)


def _consecutive(page, due):
    """Return whether the strips of a page lie one behind the other, whatever their lengths are said to be."""
    if page.is_tiled or page.samplesperpixel > 1:
        return page.is_contiguous
    rows = min(max(page.rowsperstrip, 1), page.imagelength)
    offsets = page.dataoffsets[: -(-page.imagelength // rows)]
    step = due // page.imagelength * rows
    together = len(offsets) == 1 or all(np.diff(offsets) == step)
    return len(offsets) * rows >= page.imagelength and together


def _check_strips(path, page, due):
    """Refuse a page of which a part would unpack to more than the image, since tifffile unpacks each as far as it goes."""
    most = max(due, FREE_EXPANSION)
    for offset, count in zip(page.dataoffsets, page.databytecounts):
        if count * DEFLATE_AT_MOST > most:
            page.parent.filehandle.seek(offset)
            data, unpack, found = page.parent.filehandle.read(count), zlib.decompressobj(), 0
            while data and found <= most:
                found += len(unpack.decompress(data, FREE_EXPANSION))
                data = unpack.unconsumed_tail
            if found > most:
                raise refusal(
                    path, f"holds a strip that unpacks to more than {most:,} bytes; export it again."
                )


def _strips(path, page, due):
    """Return the bytes of an image whose pixels share bytes, unpacked from its strips."""
    found = []
    for offset, count in zip(page.dataoffsets, page.databytecounts):
        page.parent.filehandle.seek(offset)
        strip = page.parent.filehandle.read(count)
        strip = strip.translate(REVERSED) if page.fillorder == 2 else strip
        found.append(zlib.decompressobj().decompress(strip, due) if page.compression in DEFLATE else strip)
    data = b"".join(found)[:due]
    if len(data) < due:
        raise refusal(path, f"is cut short: its directory states {due} bytes of image; copy it again.")
    return data


def _by_pillow(path, page, size, stored):
    """Return pixels that tifffile cannot unpack alone, in the type that the directory states."""
    dtype, image = page.dtype, None
    with suppress(UnidentifiedImageError, KeyError):
        image = _picture(path, "TIFF", size, stored, page.index)
    if image is None or (image.dtype.itemsize < dtype.itemsize and not stored.bits):
        packing = getattr(page.compression, "name", page.compression)
        fault = f"is packed by {packing} with {page.bitspersample} bits a pixel, which needs imagecodecs"
        raise refusal(path, f"{fault}; install it with pip install imagecodecs, or save it uncompressed.")
    # Pillow has fewer types: it reads signed bytes as unsigned, and the reverse with 32 bits.
    if stored.bits or image.dtype.itemsize != dtype.itemsize:
        return image.astype(dtype if dtype.kind != "b" else np.uint8)
    return image.view(dtype.newbyteorder(image.dtype.byteorder))


def _tiff_scales(tif, page):
    """Return heights and widths of a pixel as of `Stored`; what the microscope says comes first."""
    value = page.tags.valueof
    fei, tvips, sis = (data or {} for data in (tif.fei_metadata, tif.tvips_metadata, tif.sis_metadata))
    scan, imagej = fei.get("Scan") or {}, tif.imagej_metadata or {}
    across, down = (_per_pixel(value(code)) for code in (282, 283))
    unit, printed = imagej.get("unit", ""), {2: "inch", 3: "cm"}.get(value(296))
    return [
        (value(65010), value(65004), value(65009), value(65003)),  # DigitalMicrograph
        (scan.get("PixelHeight"), "m", scan.get("PixelWidth"), "m"),  # FEI
        (tvips.get("PixelSizeY"), "nm", tvips.get("PixelSizeX"), "nm"),
        (sis.get("pixelsizey"), "m", sis.get("pixelsizex"), "m"),  # Olympus
        *_ome_scales(tif.ome_metadata or ""),
        (down, imagej.get("yunit", unit), across, unit),
        (down, printed, across, printed, "The pixel size comes from the TIFF's resolution tags alone."),
    ]


def _ome_scales(text):
    """Return the scale in an OME-XML text, none if its images have different ones."""
    found = set()
    for pixels in re.findall(r"<(?:\w+:)?Pixels\b([^>]*)>", text):
        words = re.findall(r"(\w+)\s*=\s*([\"'])(.*?)\2", pixels)
        told = {name: html.unescape(word) for name, _, word in words}
        sides = [(told.get(f"PhysicalSize{a}"), told.get(f"PhysicalSize{a}Unit", "µm")) for a in "YX"]
        found.add((*sides[0], *sides[1]))
    return found if len(found) == 1 else []


def _per_pixel(ratio):
    """Return units per pixel from a resolution tag (numerator, denominator), None if there is none."""
    return ratio[1] / ratio[0] if ratio and ratio[0] > 0 and ratio[1] > 0 else None


def _read_picture(path, index, size):
    """Read a PNG or JPEG; they carry no scale that a microscope would have set."""
    form = format_of(path.name)
    stored = Stored(None)
    if form == "JPEG":
        stored.notes.append("JPEG is lossy: its blocks of 8 x 8 pixels change the texture.")
    stored.pixels = _picture(path, form, size, stored)
    _choose(path, index, 1, stored.pixels.shape)
    return stored


def _picture(path, form, size, stored, frame=0):
    """Return pixels decoded by Pillow, as they are stored, after the size in its header was weighed."""
    with Image.open(path, formats=(form,)) as picture:
        picture.seek(frame)
        check_memory(path, 4 * picture.width * picture.height, size)  # Pillow has at most 4 bytes a pixel
        codec, *place, layout = picture.tile[0]
        if codec == "libtiff" and layout[0] in NATIVE:
            tile = (codec, *place, (NATIVE[layout[0]], *layout[1:]))
            picture.tile = [picture.tile[0]._make(tile) if hasattr(picture.tile[0], "_make") else tile]
        layout = layout if isinstance(layout, str) else layout[0]  # as "L;4I": grey, 4 bits, inverted
        turn = picture.tag_v2.get(274, 1) if form == "TIFF" else 1
        stored.turned |= "exif" in picture.info and picture.getexif().get(274, 1) > 1
        picture.load()
        if turn in UNTURN and 274 not in picture.tag_v2:  # Pillow turned it
            picture = picture.transpose(UNTURN[turn])
        mode = picture.mode
        image = np.asarray(picture.convert("RGBA") if mode in ("P", "PA") else picture)
    if mode not in ("1", "L") or layout == "L":
        return image
    # Pillow spreads few bits over a byte and turns white as zero, which is not for a decoder to do.
    bits = 1 if mode == "1" else min(8, int(re.sub(r"\D", "", layout) or 8))
    image = image.astype(np.uint8) // (1 if bits == 1 else 255 // (2**bits - 1))
    stored.bits = bits
    return 2**bits - 1 - image if "I" in layout else image


def _read_rsciio(path, index, size):
    """Read a DM3, DM4, SER, EMI or EMD by the optional rosettasciio."""
    form = format_of(path.name)
    try:
        reader = importlib.import_module(f"rsciio.{PLUGINS[form]}").file_reader
    except ImportError as fault:
        need = "needs rosettasciio, which is not part of temlib because it is under GPL-3.0"
        cure = 'install it with pip install "temlib[formats]", or export the image as TIFF or MRC'
        raise refusal(path, f"{need}; {cure}.") from fault
    if form in ("EMI", "SER"):
        # The pixels of an EMI lie in files beside it: a.emi, a_1.ser, ...
        series = path.parent.glob(f"{glob.escape(path.stem)}_*.ser") if form == "EMI" else [path]
        size = sum(map(_check_ser, series))
    frames, shapes = _frames(reader(str(path), lazy=True))
    if not frames:
        shapes = ", ".join(" x ".join(map(str, shape)) for shape in shapes) or "nothing"
        raise refusal(path, f"holds no image but spectra or other data ({shapes}); give a 2-D image.")
    stack, place, axes = frames[_choose(path, index, len(frames), frames[0][0].shape)]
    data = stack[place]
    check_pixels(path, data.dtype)
    check_memory(path, data.nbytes, size)
    scale = [part for axis in axes for part in (axis["scale"], axis.get("units"))]
    return Stored(np.asarray(data), [scale])


def _check_ser(path):
    """Return the size of a SER file, after the counts were weighed that rosettasciio takes memory for.

    Layout: FEI, TIA Series Data (ESD) file format, docslib.org/doc/12033009; little endian throughout.
    """
    size, _ = probe(path, 0)
    try:
        with path.open("rb") as file:
            file.seek(4)
            version, kind, _, elements, valid = _unpacked(file, "<H4I")
            long = "Q" if version > 0x210 else "I"  # how offsets are written
            table, dimensions = _unpacked(file, f"<{long}I")
            places = 1
            for _ in range(min(dimensions, MOST_DIMENSIONS + 1)):
                places *= _unpacked(file, "<I20x")[0]
                for _ in range(2):  # description and unit, each behind its length
                    file.seek(_unpacked(file, "<I")[0], os.SEEK_CUR)
            file.seek(table)
            (first,) = _unpacked(file, f"<{long}")
            file.seek(first)
            pixel, *shape = _unpacked(file, "<40xH2I" if kind == SER_IMAGES else "<20xHI")
    except (struct.error, OSError, OverflowError, ValueError) as fault:
        raise refusal(path, "is cut short or has a damaged header; copy it again.") from fault
    needed = math.prod(shape) * SER_PIXEL_BYTES.get(pixel, 16)
    if dimensions > MOST_DIMENSIONS or not 0 < valid <= elements or not 0 < valid * needed <= size:
        fault = f"states {valid} of {elements} elements of {needed} bytes in {dimensions} dimensions"
        raise refusal(path, f"{fault}, but has {size} bytes; copy it again.")
    check_memory(path, places * needed, size)
    return size


def _unpacked(file, layout):
    """Return the next values of a file."""
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def _frames(signals):
    """Return `(stack, place in it, axes)` of each image, signal by signal, and the shapes of all signals."""
    frames, shapes = [], []
    for signal in signals:
        data, axes = signal["data"], signal["axes"]
        shapes.append(tuple(map(int, data.shape)))
        # An image is what the two axes span that one does not navigate along: a spectrum image has but one.
        image_axes = [axis for axis in axes if not axis.get("navigate", False)]
        if len(image_axes) == 2 and len(axes) == data.ndim and data.ndim in (2, 3) and min(data.shape):
            stack = data[None] if data.ndim == 2 else data
            frames += [(stack, place, image_axes) for place in range(len(stack))]
    return frames, shapes


def _read_mrc(path, index, size):
    """Read an image or a section of a stack."""
    return mrc.read(path, size, lambda count, shape: _choose(path, index, count, shape))


READERS = {"MRC": _read_mrc, "TIFF": _read_tiff, "PNG": _read_picture, "JPEG": _read_picture}
