"""Read one image of any microscope format, with its pixel size in nm and an account of what was found.

A file is recognised by its name *and* its content; every size that a header states is checked against the file before
memory is taken; what the file does not say stays unknown (a pixel size of NaN); stacks, volumes, spectra, diffraction
patterns and colour pictures are named as such and never reduced to an image by a guess. Whatever cannot be read raises
`InputError`. Images, (rows, columns), keep the type and the row order of the file; uncompressed MRC and TIFF are mapped.
A reader gets path, index and size in bytes, and returns image, (height, width) of a pixel in nm, and notes.
"""

import bz2
import glob
import gzip
import importlib
import logging
import math
import os
import struct
import threading
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
import tifffile
from PIL import Image

from temlib.files import InputError, probe, reason, refusal

MRC_SUFFIXES = (".mrc", ".mrcs", ".map", ".st", ".rec", ".ccp4")
STACK_SUFFIXES = (".mrcs", ".st")  # whose sections are images, whatever the header says
PACKED = {".gz": "gzip", ".bz2": "bzip2"}  # understood behind the suffixes of MRC
# Of rosettasciio.
PLUGINS = {"DM3": "digitalmicrograph", "DM4": "digitalmicrograph", "SER": "tia", "EMI": "tia", "EMD": "emd"}
FORMATS = {
    **dict.fromkeys(MRC_SUFFIXES, "MRC"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    ".png": "PNG",
    **dict.fromkeys((".jpg", ".jpeg"), "JPEG"),
    **{f".{form.lower()}": form for form in PLUGINS},
}
SUFFIXES = tuple(FORMATS)
MRC_MAGIC = slice(208, 211)  # the bytes "MAP" since MRC2000
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
}
# Unit as written, in lower case -> nm.
NANOMETRES = {
    **dict.fromkeys(("m", "metre", "meter"), 1e9),
    **dict.fromkeys(("cm", "centimeter"), 1e7),
    **dict.fromkeys(("inch", "in"), 25.4e6),
    **dict.fromkeys(("mm", "millimeter"), 1e6),
    **dict.fromkeys(("\u00b5m", "\u03bcm", "um", "micron", "microns", "micrometer", "micrometre"), 1e3),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1.0),
    **dict.fromkeys(("\u00e5", "a", "ang", "angstrom", "angstroms", "\u00e5ngstr\u00f6m"), 0.1),
    **dict.fromkeys(("pm", "picometer"), 1e-3),
}
UNKNOWN = (math.nan, math.nan)
SQUARE_TOLERANCE = 0.01  # relative; calibrations of the two axes agree to 1 % in a sound microscope
COARSEST_NM = 1000  # a "resolution" tag coarser than 1 µm/pixel is meant for a printer, not for a specimen
LARGEST_IMAGE = 2**30  # bytes of one image in memory; a super-resolution K3 frame in float32 takes 0.4e9
LARGEST_ARCHIVE = 2**33  # bytes of an unpacked .gz or .bz2; more takes minutes to run through for one image
FREE_EXPANSION = 2**26  # bytes to which any file may expand, so that a blank image is no bomb
GREATEST_EXPANSION = 100  # times; no lossless coder packs the noise of a micrograph more than about tenfold
HEADER_BYTES = 1024
IMOD_STAMP = 1146047817  # "IMOD" at byte 152; bit 0 of the next word says that bytes are signed
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


def format_of(name):
    """Return the format that a file's name promises, None if it is no image's."""
    stem, suffix = os.path.splitext(name.lower())
    if suffix in PACKED:
        return "MRC" if os.path.splitext(stem)[1] in MRC_SUFFIXES else None
    return FORMATS.get(suffix)


def read(path, index=None):
    """Return what is `Found` in a file: one image, its pixel size, and what was assumed.

    A stack needs the 0-based `index` of the image. DM3, DM4, SER, EMI and EMD need the optional extra `formats`. MRC is
    read as MRC2014 [1]_ with the modes 0, 1, 2, 6, 12 and 101. A file named .mrcs or .st, or of space group 0, is a
    stack; several sections otherwise are a volume, as the standard and RELION have it.

    References
    ----------
    .. [1] Cheng A. et al., J. Struct. Biol. 192 (2015) 146, doi:10.1016/j.jsb.2015.04.002
    """
    path = Path(path)
    size, head = probe(path, MRC_MAGIC.stop)
    form = _recognised(path, head)
    with quiet() as said:
        try:
            image, (height, width), notes = READERS.get(form, _read_rsciio)(path, index, size)
        except InputError:
            raise
        except Exception as fault:  # a damaged file fails in libraries in ways that no list of types covers
            why = f"cannot be read as {form} ({reason(fault)}), as if it were damaged or cut short"
            raise refusal(path, f"{why}; copy or export it again.") from fault
    if image.ndim != 2 or not image.size:
        fault = f"holds an image of shape {image.shape}, not of rows and columns"
        raise refusal(path, f"{fault}; export it as 2-D.")
    pixel_nm = (height + width) / 2
    if abs(height - width) > SQUARE_TOLERANCE * max(height, width):
        pixel_nm, sizes = math.nan, f"{height:.6g} nm high, {width:.6g} nm wide"
        notes.append(f"Pixels are not square ({sizes}), so there is no single pixel size.")
    return Found(image, pixel_nm, notes + said, form)


def _recognised(path, head):
    """Return the format of a file whose name and first bytes agree on it."""
    form = format_of(path.name)
    if form is None:
        known = " ".join(SUFFIXES)
        raise refusal(path, f"has no suffix of a known image format; known are {known} .mrc.gz .mrc.bz2.")
    expected = PACKED.get(path.suffix.lower(), form)
    found = next((name for name, starts in SIGNATURES.items() if head.startswith(starts)), None)
    # MRC begins with a number of columns, which may be any other format's signature.
    if head[MRC_MAGIC] == b"MAP" and (found is None or expected == "MRC"):
        found = "MRC"
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


def _sizes_nm(height, height_unit, width, width_unit):
    """Return height and width of a pixel in nm, None if one has an unknown unit or is not positive and finite."""
    sizes_nm = []
    for value, unit in ((height, height_unit), (width, width_unit)):
        try:
            length = float(value) * NANOMETRES[str(unit).strip("\0 ").lower()]
        except (TypeError, ValueError, KeyError):
            return None
        if not 0 < length < math.inf:
            return None
        sizes_nm.append(length)
    return tuple(sizes_nm)


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


def _check_memory(path, needed, size):
    """Refuse an image of `needed` bytes if a file of `size` bytes cannot honestly hold it."""
    if needed > LARGEST_IMAGE:
        cure = "save it as uncompressed MRC or TIFF, which are memory-mapped"
        raise refusal(path, f"states an image of {needed:.3g} bytes, too much to read into memory; {cure}.")
    if needed > max(FREE_EXPANSION, GREATEST_EXPANSION * size):
        fault = f"would expand from {size} to {needed} bytes, as no micrograph does"
        raise refusal(path, f"{fault}; if it is genuine, save it uncompressed.")


def _check_pixels(path, dtype):
    """Refuse pixel types that are not grey values."""
    dtype = np.dtype(dtype)
    if dtype.kind == "c":
        raise refusal(path, "holds complex numbers, a Fourier transform; give the image itself.")
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise refusal(path, f"has pixels of type {dtype}, not grey values; save it as a grey image.")


def _grey(path, image, notes):
    """Return a picture without its channels, which is noted; colours that carry something are refused."""
    if image.ndim != 3:
        return image
    channels = 3 if image.shape[-1] >= 3 else 1
    colours, alpha = image[..., :channels], image[..., channels:]
    if alpha.size and alpha.min() != alpha.max():
        raise refusal(path, "has a transparency channel that varies; save it as a grey image.")
    if (colours != colours[..., :1]).any():
        raise refusal(path, "is a colour picture (overlay, palette or photograph); save it as a grey image.")
    notes.append("It is saved in colour with equal channels, one of which was taken.")
    return np.ascontiguousarray(colours[..., 0])


def _read_mrc(path, index, size):
    """Read a file of the MRC family: an image or a stack of any mode, mapped, or packed as gzip or bzip2."""
    packed = path.suffix.lower() in PACKED
    with {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix.lower(), open)(path, "rb") as file:
        header, dtype = _header(path, _exactly(path, file, HEADER_BYTES))
        nx, ny, nz, extended = (int(header[name]) for name in ("nx", "ny", "nz", "nsymbt"))
        if min(nx, ny, nz) < 1 or extended < 0:
            fault = f"states {nx} columns, {ny} rows, {nz} sections and {extended} bytes of extended header"
            raise refusal(path, f"{fault}, which cannot be; its header is damaged, so copy the file again.")
        _check_pixels(path, dtype)
        width = (nx + 1) // 2 if header["mode"] == 101 else nx
        section = ny * width * dtype.itemsize
        end = HEADER_BYTES + extended + nz * section
        _check_size(path, end, size, packed)
        stem = path.with_suffix("") if packed else path
        if nz > 1 and header["ispg"] != 0 and stem.suffix.lower() not in STACK_SUFFIXES:
            fault = f"is a volume of {nz} x {ny} x {nx} voxels, not a micrograph"
            raise refusal(path, f"{fault}; give a 2-D image, or name it .mrcs if it is a stack of images.")
        start = HEADER_BYTES + extended + _choose(path, index, nz, (ny, nx)) * section
        if packed:
            _check_memory(path, section, size)
            file.seek(start)  # reads on in small pieces
            image = np.frombuffer(_exactly(path, file, section), dtype).reshape(ny, width)
            if file.seek(end) < end or file.read(1):
                fault = "is cut short, or goes on after the image that its header states"
                raise refusal(path, f"{fault}; copy it again.")
        else:
            image = np.memmap(path, dtype, "r", start, (ny, width))
    if header["mode"] == 101:
        _check_memory(path, 2 * image.size, size)
        # A byte's low half comes first; the last half of an odd row is unused.
        image = np.stack([image & 15, image >> 4], axis=-1).reshape(ny, -1)[:, :nx]
    sizes_nm, notes = _mrc_sizes(header)
    if _unsigned(header):
        notes.append("Bytes are read as unsigned, since the MRC header's largest value is above 127.")
    return image, sizes_nm, notes


def _header(path, raw):
    """Return the header and the type of the stored pixels; in mode 101 a byte holds two of them."""
    if raw[MRC_MAGIC] != b"MAP":
        raise refusal(path, "is packed but no MRC file of 2000 or later; rename it or export it again.")
    headers = {o: np.frombuffer(raw, mrcfile.dtypes.HEADER_DTYPE.newbyteorder(o), 1)[0] for o in "<>"}
    # Without a machine stamp the order is the one in which the mode makes sense.
    plausible = [order for order in "<>" if 0 <= headers[order]["mode"] <= 101]
    order = {0x44: "<", 0x11: ">"}.get(raw[212]) or (plausible or ["<"])[0]
    header, mode = headers[order], int(headers[order]["mode"])
    stamp, flags = np.frombuffer(raw, f"{order}i4", 2, 152)
    if mode == 101 or _unsigned(header) or (mode == 0 and stamp == IMOD_STAMP and not flags & 1):
        dtype = np.dtype("u1")
    elif mode == 3:  # which mrcfile does not know
        dtype = np.dtype("c8")
    else:
        try:
            dtype = mrcfile.utils.dtype_from_mode(mode).newbyteorder(order)
        except ValueError:
            fault = f"has MRC mode {mode}, which the standard does not know; export it again."
            raise refusal(path, fault) from None
    axes = [int(header[name]) for name in ("mapc", "mapr", "maps")]
    if axes not in ([1, 2, 3], [0, 0, 0]):
        raise refusal(path, f"orders its axes {axes} and not [1, 2, 3], as only volumes do; export it again.")
    return header, dtype


def _unsigned(header):
    """Return whether the header's extremes say that bytes are unsigned, as many programs write them."""
    return header["mode"] == 0 and 0 <= header["dmin"] <= header["dmax"] <= 255 and header["dmax"] > 127


def _exactly(path, file, count):
    """Return the next `count` bytes of a file, which is cut short if it has fewer."""
    data = file.read(count)
    if len(data) < count:
        raise refusal(path, f"is cut short: {count} bytes were due, {len(data)} are there; copy it again.")
    return data


def _check_size(path, stated, size, packed):
    """Compare the size that the header states with the file's, before any pixel is touched."""
    if packed and stated > min(LARGEST_ARCHIVE, max(FREE_EXPANSION, GREATEST_EXPANSION * size)):
        fault = f"would unpack from {size} to {stated} bytes, more than is read from a packed file"
        raise refusal(path, f"{fault}; if it is genuine, unpack it first.")
    if not packed and stated != size:
        fault = "cut short" if stated > size else "longer than its header states"
        raise refusal(path, f"is {fault}: {stated} bytes are stated and {size} are there; copy it again.")


def _mrc_sizes(header):
    """Return pixel height and width in nm, and notes."""
    counts = {axis: int(header[f"m{axis}"]) for axis in "yx"}
    height, width = (float(header["cella"][axis]) / n if n > 0 else None for axis, n in counts.items())
    sizes_nm = _sizes_nm(height, "Å", width, "Å")
    if not sizes_nm:
        return UNKNOWN, ["The MRC header states no pixel size."]
    default = "The pixel size is exactly 1 Å, which some programs write for want of the true one."
    return sizes_nm, [default] if sizes_nm == (0.1, 0.1) else []


def _read_tiff(path, index, size):
    """Read a TIFF by tifffile, or by Pillow where the packing or a palette needs it."""
    with tifffile.TiffFile(path) as tif:
        pages = [page for page in tif.pages if not page.is_reduced]
        # ImageJ writes one directory for many images that follow each other.
        within = int((tif.imagej_metadata or {}).get("images", 1)) if len(pages) == 1 else 1
        count = max(within, len(pages))
        chosen = _choose(path, index, count, (pages[0].imagelength, pages[0].imagewidth))
        page, skipped = (pages[0], chosen) if within > 1 else (pages[chosen], 0)
        sizes_nm, notes = _tiff_sizes(tif, page)
        return _tiff_image(path, page, skipped, size, notes), sizes_nm, notes


def _tiff_image(path, page, skipped, size, notes):
    """Return the pixels of a page, `skipped` images behind its beginning, mapped where the file allows it."""
    unpacked = page.compression == 1
    deflated = page.compression in (8, 32946) and page.predictor in (1, 2)
    if page.dtype is None or page.photometric == 3 or not (unpacked or deflated):
        return _picture(path, "TIFF", size, page.index, notes)
    _check_pixels(path, page.dtype)
    start, due = page.dataoffsets[0] + skipped * page.nbytes, page.nbytes
    if unpacked and (start + due > size if page.is_contiguous else sum(page.databytecounts) < due):
        raise refusal(path, f"is cut short: its directory states {due} bytes of image; copy it again.")
    if unpacked and page.is_contiguous:
        dtype = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
        image = np.memmap(path, dtype, "r", start, page.shape)
    elif skipped:
        raise refusal(path, "is a packed stack of ImageJ, which cannot be divided; save it uncompressed.")
    else:
        _check_memory(path, due, size)
        image = page.asarray()
    if page.planarconfig == 2 and image.ndim == 3:
        image = np.moveaxis(image, 0, -1)
    image = _grey(path, image, notes)
    if page.photometric == 0 and image.dtype.kind == "u":  # the standard's WhiteIsZero
        image = np.iinfo(image.dtype).max - image
        notes.append("It is stored with white as zero; the values were inverted, as the TIFF standard says.")
    return image


def _tiff_sizes(tif, page):
    """Return pixel height and width in nm, and notes; what the microscope says comes first."""
    value = page.tags.valueof
    fei, tvips, sis = (data or {} for data in (tif.fei_metadata, tif.tvips_metadata, tif.sis_metadata))
    scan = fei.get("Scan") or {}
    across, down = (_per_pixel(value(code)) for code in (282, 283))
    unit = str((tif.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
    candidates = (  # pixel height and its unit, pixel width and its unit
        (value(65010), value(65004), value(65009), value(65003)),  # DigitalMicrograph
        (scan.get("PixelHeight"), "m", scan.get("PixelWidth"), "m"),  # FEI
        (tvips.get("PixelSizeY"), "nm", tvips.get("PixelSizeX"), "nm"),
        (sis.get("pixelsizey"), "m", sis.get("pixelsizex"), "m"),  # Olympus
        (down, unit, across, unit),  # ImageJ
    )
    for candidate in candidates:
        if sizes_nm := _sizes_nm(*candidate):
            return sizes_nm, []
    unit = {2: "inch", 3: "cm"}.get(value(296))
    sizes_nm = _sizes_nm(down, unit, across, unit)
    if not sizes_nm:
        return UNKNOWN, ["The TIFF states no pixel size."]
    if max(sizes_nm) > COARSEST_NM:
        return UNKNOWN, ["The TIFF states a resolution for printing but no pixel size."]
    return sizes_nm, ["The pixel size comes from the TIFF's resolution tags alone."]


def _per_pixel(ratio):
    """Return units per pixel from a resolution tag (numerator, denominator), None if there is none."""
    return ratio[1] / ratio[0] if ratio and ratio[0] > 0 and ratio[1] > 0 else None


def _read_picture(path, index, size):
    """Read a PNG or JPEG; they carry no scale that a microscope would have set."""
    form = format_of(path.name)
    notes = ["JPEG is lossy: its blocks of 8 x 8 pixels change the texture."] if form == "JPEG" else []
    image = _picture(path, form, size, 0, notes)
    _choose(path, index, 1, image.shape)
    return image, UNKNOWN, notes


def _picture(path, form, size, frame, notes):
    """Return pixels decoded by Pillow, after the size in its header was weighed."""
    with Image.open(path, formats=(form,)) as picture:
        picture.seek(frame)
        _check_memory(path, 4 * picture.width * picture.height, size)  # Pillow has at most 4 bytes a pixel
        if picture.mode in ("1", "P", "PA"):
            picture = picture.convert("L" if picture.mode == "1" else "RGBA")
        image = np.asarray(picture)
    _check_pixels(path, image.dtype)
    return _grey(path, image, notes)


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
    _check_pixels(path, data.dtype)
    _check_memory(path, data.nbytes, size)
    return np.asarray(data), *_rsciio_sizes(path, axes)


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
    _check_memory(path, places * needed, size)
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


def _rsciio_sizes(path, axes):
    """Return pixel height and width in nm, and notes."""
    units = [str(axis.get("units") or "") for axis in axes]
    if any(unit.startswith("1/") or unit.endswith("-1") or unit in ("mrad", "rad") for unit in units):
        raise refusal(path, f"is calibrated in {units[0]}, a diffraction pattern and not a micrograph.")
    sizes_nm = _sizes_nm(axes[0]["scale"], units[0], axes[1]["scale"], units[1])
    return (sizes_nm, []) if sizes_nm else (UNKNOWN, ["The file states no pixel size in a unit of length."])


READERS = {"MRC": _read_mrc, "TIFF": _read_tiff, "PNG": _read_picture, "JPEG": _read_picture}
