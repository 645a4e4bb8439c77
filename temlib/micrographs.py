"""Read one image of any microscope format, with its pixel size in nm and an account of what was found.

The contract of this module: a file is recognised by its name *and* its content; every size that a header
states is checked against the file before memory is taken; what the file does not say stays unknown (a pixel
size of NaN); stacks, volumes, spectra, diffraction patterns and colour pictures are named as such and never
reduced to an image by a guess. Whatever cannot be read raises `InputError` with one sentence.

Images are `(rows, columns)`, in the type and the row order of the file; uncompressed MRC and TIFF are mapped.
"""

import logging
import math
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ._mrc import read_mrc
from ._paths import probe, reason, refusal
from ._readers import RSCIIO_READERS, read_picture, read_rsciio, read_tiff

MRC_SUFFIXES = (".mrc", ".mrcs", ".map", ".st", ".rec", ".ccp4")
TIFF_SUFFIXES = (".tif", ".tiff")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
SUFFIXES = (*MRC_SUFFIXES, *TIFF_SUFFIXES, *PICTURE_SUFFIXES, *RSCIIO_READERS)
PACKED = {".gz": "gzip", ".bz2": "bzip2"}  # understood behind the suffixes of MRC
FORMATS = {
    **dict.fromkeys(MRC_SUFFIXES, "MRC"),
    **dict.fromkeys(TIFF_SUFFIXES, "TIFF"),
    ".png": "PNG",
    **dict.fromkeys((".jpg", ".jpeg"), "JPEG"),
    **{suffix: suffix[1:].upper() for suffix in RSCIIO_READERS},
}
SIGNATURES = {  # first bytes -> the format that begins with them
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\x89HDF\r\n\x1a\n": "EMD",
    b"\0\0\0\x03": "DM3",
    b"\0\0\0\x04": "DM4",
    b"II\x97\x01": "SER",
    b"JK": "EMI",
    b"PK\x03\x04": "ZIP",
    b"%PDF": "PDF",
    b"GIF8": "GIF",
    b"BM": "BMP",
}
MRC_MAGIC = slice(208, 211)  # the bytes "MAP" since MRC2000
_QUIET = threading.Lock()  # held while `quiet` collects
SQUARE_TOLERANCE = 0.01  # relative; calibrations of the two axes agree to 1 % in a sound microscope


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
        MRC family (also packed as .gz or .bz2), TIFF, PNG, JPEG; with the optional extra `formats` DM3, DM4,
        SER, EMI and EMD.
    index : int, optional
        Which image of a stack to read, 0-based; a file with a single image needs none.

    Returns
    -------
    Micrograph
        The image, its pixel size in nm (NaN = unknown), and the account of the file.

    Raises
    ------
    InputError
        If the file is missing, of no known format, damaged, larger than it can honestly be, not an image
        (volume, spectrum, diffraction pattern, colour picture), or a stack without `index`.

    Notes
    -----
    MRC is read as MRC2014 [1]_ with the modes 0, 1, 2, 6, 12 and 101. A file named .mrcs or .st, or of space
    group 0, is a stack; several sections otherwise are a volume, as the standard and RELION have it.

    References
    ----------
    .. [1] Cheng A. et al., J. Struct. Biol. 192 (2015) 146, doi:10.1016/j.jsb.2015.04.002
    """
    with quiet() as said:
        found, form = pixels(path, index)
    pixel_size_nm, odd = square(*found.sizes_nm)
    source = Source(
        path=Path(path),
        format=form,
        dtype=str(found.image.dtype.newbyteorder("=")),
        shape=tuple(map(int, found.shape)),
        index=index,
        calibration=found.calibration,
        pixel_sizes_nm=found.sizes_nm,
        notes=(*found.notes, *odd, *said),
    )
    return Micrograph(found.image, pixel_size_nm, source)


def pixels(path, index=None):
    """Read one image as `read` does, without the account: a `_readers.Found` and the name of the format."""
    path = Path(path)
    size, head = probe(path, MRC_MAGIC.stop)
    suffix, packed = _kind(path, head)
    if suffix in PICTURE_SUFFIXES:
        found = read_picture(path, index, size)
    elif suffix in MRC_SUFFIXES:
        found = read_mrc(path, index, size, packed, suffix)
    elif suffix in TIFF_SUFFIXES:
        found = read_tiff(path, index, size)
    else:
        found = read_rsciio(path, index, size, suffix)
    if found.image.ndim != 2 or not found.image.size:
        raise refusal(path, f"states an image of shape {found.image.shape}, which is none; copy it again.")
    return found, FORMATS[suffix]


def _kind(path, head):
    """Return the suffix that tells the format and whether the file is packed; name and content must agree."""
    suffix = path.suffix.lower()
    packed = suffix in PACKED and Path(path.stem).suffix.lower() in MRC_SUFFIXES
    expected = PACKED[suffix] if packed else FORMATS.get(suffix)
    if expected is None:
        known = " ".join(SUFFIXES)
        raise refusal(path, f"has no suffix of a known image format; known are {known} .mrc.gz .mrc.bz2.")
    found = next((name for start, name in SIGNATURES.items() if head.startswith(start)), None)
    # MRC begins with a number of columns, which may be any other format's signature.
    if head[MRC_MAGIC] == b"MAP" and (found is None or expected == "MRC"):
        found = "MRC"
    if found != expected:
        content = f"that of {found}" if found else "of no known format"
        raise refusal(
            path, f"is named as {expected} but its content is {content}; rename or export it again."
        )
    return (Path(path.stem).suffix.lower() if packed else suffix), packed


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
    with _QUIET, warnings.catch_warnings(record=True) as caught:
        before = [logger.propagate for logger in loggers]
        warnings.simplefilter("always")
        for logger in loggers:
            logger.addHandler(handler)
            logger.propagate = False
        try:
            yield said
        finally:
            for logger, propagate in zip(loggers, before):
                logger.removeHandler(handler)
                logger.propagate = propagate
            said += [str(warning.message) for warning in caught]
            said[:] = [
                f"The file's reader says: {reason(ValueError(text))}." for text in dict.fromkeys(said)
            ][:5]


def square(height, width):
    """Return the edge of a square pixel in nm and no note, or NaN and a note where the axes differ."""
    if abs(height - width) > SQUARE_TOLERANCE * max(height, width):
        sizes = f"{height:.6g} nm high, {width:.6g} nm wide"
        return math.nan, [f"Pixels are not square ({sizes}), so there is no single pixel size."]
    return (height + width) / 2, []
