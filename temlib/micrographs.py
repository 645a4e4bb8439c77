"""Read one image of any microscope format, with its pixel size in nm and an account of what was found.

The contract of this module: a file is recognised by its name *and* its content; every size that a header states is
checked against the file before memory is taken; what the file does not say stays unknown (a pixel size of NaN); stacks,
volumes, spectra, diffraction patterns and colour pictures are named as such and never reduced to an image by a guess.
Whatever cannot be read raises `InputError` with one sentence.

Images are `(rows, columns)`, in the type and the row order of the file; uncompressed MRC and TIFF are memory-mapped.
"""

import bz2
import gzip
import io
import logging
import math
import stat
import warnings
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
import tifffile
from PIL import Image

from .files import InputError

LARGEST_IMAGE = 2**30  # bytes of one image in memory; a super-resolution K3 frame in float32 takes 0.4e9
LARGEST_ARCHIVE = 2**33  # bytes of an unpacked .gz or .bz2; more takes minutes to run through for one image
FREE_EXPANSION = 2**26  # bytes to which any file may expand, so that a blank image is no bomb
GREATEST_EXPANSION = (
    100  # times; micrographs are noise, which no lossless coder packs more than about tenfold
)
SQUARE_TOLERANCE = 0.01  # relative; calibrations of the two axes agree to 1 % in a sound microscope
PRINT_RESOLUTION_NM = (
    1000  # a "resolution" coarser than 1 µm a pixel is meant for a printer, not for a specimen
)

NANOMETRES = {
    **dict.fromkeys(("m", "metre", "meter"), 1e9),
    **dict.fromkeys(("cm", "centimeter"), 1e7),
    **dict.fromkeys(("inch", "in"), 25.4e6),
    **dict.fromkeys(("mm", "millimeter"), 1e6),
    **dict.fromkeys(("µm", "μm", "um", "micron", "microns", "micrometer", "micrometre"), 1e3),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1.0),
    **dict.fromkeys(("å", "å", "a", "ang", "angstrom", "angstroms", "ångström"), 0.1),
    **dict.fromkeys(("pm", "picometer"), 1e-3),
}
MRC_SUFFIXES = (".mrc", ".mrcs", ".map", ".st", ".rec", ".ccp4")
TIFF_SUFFIXES = (".tif", ".tiff")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
RSCIIO_READERS = {  # the plugin of rosettasciio for each suffix
    ".dm3": "digitalmicrograph",
    ".dm4": "digitalmicrograph",
    ".ser": "tia",
    ".emi": "tia",
    ".emd": "emd",
}
SUFFIXES = (*MRC_SUFFIXES, *TIFF_SUFFIXES, *PICTURE_SUFFIXES, *RSCIIO_READERS)
SIGNATURES = {  # first bytes -> name of the format, for formats that begin with them
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\x89HDF\r\n\x1a\n": "EMD",
    b"\0\0\0\x03": "DM3",
    b"\0\0\0\x04": "DM4",
    b"II\x97\x01": "SER",
    b"PK\x03\x04": "ZIP",
    b"%PDF": "PDF",
    b"GIF8": "GIF",
    b"BM": "BMP",
}


@dataclass(frozen=True)
class Source:
    """What was found in the file.

    Attributes
    ----------
    path : Path
        The file as it was asked for.
    format : str
        ``"MRC"``, ``"TIFF"``, ``"PNG"``, ``"JPEG"``, ``"DM3"``, ``"DM4"``, ``"SER"``, ``"EMI"`` or ``"EMD"``.
    dtype : str
        Pixel type as stored in the file.
    shape : tuple of int
        Shape as stored, `(images, rows, columns)` for a stack, `(rows, columns)` for one image.
    index : int or None
        Which image of a stack was read, 0-based.
    calibration : str
        The calibration as written in the file, with the unit used there; empty if there is none.
    pixel_sizes_nm : tuple of float
        Pixel height and width (row step, column step) in nm, NaN where unknown.
    notes : tuple of str
        Sentences about assumptions and oddities, for the report.
    """

    path: Path
    format: str
    dtype: str
    shape: tuple
    index: int | None
    calibration: str
    pixel_sizes_nm: tuple
    notes: tuple


@dataclass(frozen=True)
class Micrograph:
    """One image with its scale.

    Attributes
    ----------
    image : (rows, columns) ndarray or memmap
        Pixel values in the file's own type and row order.
    pixel_size_nm : float
        Edge of a square pixel in nm; NaN where it is unknown or where pixels are not square.
    source : Source
        What was found in the file.
    """

    image: np.ndarray
    pixel_size_nm: float
    source: Source


def read(path, *, index=None):
    """Read one image and its pixel size.

    Parameters
    ----------
    path : str or Path
        MRC family (also packed as .gz or .bz2), TIFF, PNG, JPEG; with the optional extra `formats` DM3, DM4, SER,
        EMI and EMD.
    index : int, optional
        Which image of a stack to read, 0-based; a file with a single image needs none.

    Returns
    -------
    Micrograph
        The image, its pixel size in nm (NaN = unknown), and the account of the file.

    Raises
    ------
    InputError
        If the file is missing, of no known format, damaged, larger than it can honestly be, not an image (volume,
        spectrum, diffraction pattern, colour picture), or a stack without `index`.

    Notes
    -----
    MRC is read as MRC2014 [1]_ with modes 0, 1, 2, 6, 12 and 101. A file named .mrcs or .st, or with space group 0, is a
    stack; several sections otherwise are a volume, as RELION and the standard have it.

    References
    ----------
    .. [1] Cheng A. et al., J. Struct. Biol. 192 (2015) 146, doi:10.1016/j.jsb.2015.04.002
    """
    path = Path(path)
    size, head = _probe(path)
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    packed = suffixes[-1:] in ([".gz"], [".bz2"])
    suffix = (suffixes[0] if len(suffixes) == 2 else "") if packed else "".join(suffixes[-1:])
    _check_content(path, suffix, packed, head)
    with _quiet() as said:
        if suffix in MRC_SUFFIXES:
            micrograph = read_mrc(path, index, size, packed, suffix)
        elif suffix in TIFF_SUFFIXES:
            micrograph = read_tiff(path, index, size)
        elif suffix in PICTURE_SUFFIXES:
            micrograph = read_picture(path, index, size)
        else:
            micrograph = read_rsciio(path, index, size, suffix)
    image, form, dtype, shape, calibration, sizes_nm, notes = micrograph
    notes = [*notes, *said]
    pixel_size_nm, notes = _square(sizes_nm, notes)
    source = Source(
        path, form, str(dtype), tuple(map(int, shape)), index, calibration, sizes_nm, tuple(notes)
    )
    return Micrograph(image, pixel_size_nm, source)


def _check_content(path, suffix, packed, head):
    """Refuse a file whose name and content contradict each other."""
    if suffix not in SUFFIXES or (packed and suffix not in MRC_SUFFIXES):
        known = " ".join(SUFFIXES)
        raise refusal(
            path,
            f"has no known image suffix; known are {known} and, packed, .mrc.gz and .mrc.bz2."
        )
    found = next((name for start, name in SIGNATURES.items() if head.startswith(start)), None)
    if packed:
        expected = {".gz": "gzip", ".bz2": "bzip2"}[path.suffix.lower()]
    elif suffix in MRC_SUFFIXES:
        expected, found = "MRC", "MRC" if head[208:211] == b"MAP" else found
    else:
        expected = {
            **dict.fromkeys(TIFF_SUFFIXES, "TIFF"),
            ".png": "PNG",
            ".jpg": "JPEG",
            ".jpeg": "JPEG",
        }.get(suffix, suffix[1:].upper())
        # An EMI begins with a version-dependent header, so only a contradiction counts.
        found = "EMI" if expected == "EMI" and found is None else found
    if found != expected:
        content = f"that of {found}" if found else "of no format known here"
        raise refusal(
            path,
            f"is named as {expected} but its content is {content}; rename or re-export it."
        )


@contextmanager
def _quiet():
    """Collect what other libraries warn or log, so that it becomes notes instead of noise on the screen."""
    said = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(
        f"The file's reader says: {reason(ValueError(record.getMessage()))}."
    )
    loggers = [logging.getLogger(name) for name in ("tifffile", "PIL", "rsciio", "mrcfile")]
    before = [(logger.propagate, logger.level) for logger in loggers]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for logger in loggers:
            logger.addHandler(handler)
            logger.propagate = False
        try:
            yield said
        finally:
            for logger, (propagate, level) in zip(loggers, before):
                logger.removeHandler(handler)
                logger.propagate, logger.level = propagate, level
            said += [f"The file's reader says: {reason(warning.message)}." for warning in caught]
            said[:] = list(dict.fromkeys(said))[:5]


def _square(sizes_nm, notes):
    """Return the edge of a square pixel, or NaN with a note when the two axes contradict each other."""
    height, width = sizes_nm
    if math.isnan(height) or math.isnan(width):
        return math.nan, notes
    if abs(height - width) > SQUARE_TOLERANCE * max(height, width):
        note = f"Pixels are not square ({height:.6g} nm high, {width:.6g} nm wide), so there is no single pixel size."
        return math.nan, [*notes, note]
    return (height + width) / 2, notes


