"""What the numbers in an image file mean: each rule once for all formats, after decoding.

Decoders hand over pixels as they are stored, with what the file says of them (`Stored`); `meant` makes an image of that.
So neither a format nor the package that happened to decode it decides on sign, brightness, packing or scale. Rows stay in
the order in which they lie in the file, since picking programs count them so.
"""

import math
import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from temlib.files import refusal, shown

# Unit as `_unit` spells it -> nm.
NANOMETRES = {
    **dict.fromkeys(("m", "meter"), 1e9),
    **dict.fromkeys(("cm", "centimeter"), 1e7),
    **dict.fromkeys(("inch", "inche", "in", '"'), 25.4e6),
    **dict.fromkeys(("mm", "millimeter"), 1e6),
    **dict.fromkeys(("\u03bcm", "\u03bc", "um", "micron", "micrometer"), 1e3),
    **dict.fromkeys(("nm", "nanometer"), 1.0),
    **dict.fromkeys(("å", "a", "ang", "angstrom", "angstroem", "ångström", "ångstrom", "angström"), 0.1),
    **dict.fromkeys(("pm", "picometer"), 1e-3),
}
PRINTED = ("inch", "inche", "in", '"', "cm", "centimeter")  # what printers count dots by
COARSEST_NM = 1000  # a pixel of 1 µm told in such a unit is meant for a printer, not for a specimen
NO_UNIT = ("", "none", "pixel", "px", "unknown", "arb.", "referenceframe", "reference frame")
ANGLES = ("rad", "mrad", "\u03bcrad", "urad", "deg", "°")
# A unit to the power of -1, and one per pixel; spaces are gone, and superscripts are digits.
RECIPROCAL = re.compile(r"(?:1?/(?P<below>[^\d/]+)|(?P<power>[^\d^*]+)(?:\^|\*\*)?\(?[-\u2212]1\)?)$")
PER_PIXEL = re.compile(r"(?:/|per)(?:pixel|pix|px)$")
SQUARE_TOLERANCE = 0.01  # relative; calibrations of the two axes agree to 1 % in a sound microscope
LARGEST_IMAGE = 2**30  # bytes of one image in memory; a super-resolution K3 frame in float32 takes 0.4e9
FREE_EXPANSION = 2**26  # bytes to which any file may expand, so that a blank image is no bomb
GREATEST_EXPANSION = 100  # times; no lossless coder packs the noise of a micrograph more than about tenfold


@dataclass
class Stored:
    """Pixels as a decoder found them, and what their file says of them."""

    pixels: np.ndarray  # (rows, columns) or with channels; (rows, bytes) where several pixels share a byte
    # (pixel height, its unit, pixel width, its unit, note), the most trusted first; None where a format has no scale.
    scales: list | None = None
    notes: list = field(default_factory=list)
    columns: int = 0  # in which rows of bytes are to be divided
    bits: int = 0  # of a pixel, where fewer than its type has
    low_first: bool = False  # whether a byte's low half is the first pixel
    extremes: tuple | None = None  # least and largest value that the file states
    unsigned: bool = False  # whether the file says outright that integers have no sign
    white_is_zero: bool = False
    step: int = 0  # bytes from a mapped image of a stack to the next, where they lie one behind the other
    turned: bool = False  # whether viewers are asked to turn or mirror the image


def meant(path, stored, size):
    """Return what a file of `size` bytes means by what is stored in it: image, pixel size in nm, and notes."""
    image, notes = stored.pixels, stored.notes
    if stored.columns:
        check_memory(path, image.shape[0] * stored.columns * _container(stored.bits).itemsize, size)
        image = _unpacked(image, stored)
    check_pixels(path, image.dtype)
    image = _grey(path, signed(image, stored, notes), notes)
    if stored.white_is_zero:
        image = _inverted(image, stored.bits)
        notes.append("It is stored with white as zero; the values were inverted, as the TIFF standard says.")
    if stored.turned:
        notes.append(
            "It asks viewers to turn or mirror it; rows and columns are kept as they lie in the file."
        )
    pixel_nm = math.nan if stored.scales is None else _pixel_nm(path, stored.scales, notes)
    return image, pixel_nm, notes


def check_memory(path, needed, size):
    """Refuse an image of `needed` bytes if a file of `size` bytes cannot honestly hold it."""
    if needed > LARGEST_IMAGE:
        cure = "save it as uncompressed MRC or TIFF, which are memory-mapped"
        raise refusal(path, f"states an image of {needed:.3g} bytes, too much to read into memory; {cure}.")
    if needed > max(FREE_EXPANSION, GREATEST_EXPANSION * size):
        fault = f"would expand from {size} to {needed} bytes, as no micrograph does"
        raise refusal(path, f"{fault}; if it is genuine, save it uncompressed.")


def check_pixels(path, dtype):
    """Refuse pixel types that are not grey values."""
    dtype = np.dtype(dtype)
    if dtype.kind == "c":
        raise refusal(path, "holds complex numbers, a Fourier transform; give the image itself.")
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise refusal(path, f"has pixels of type {dtype}, not grey values; save it as a grey image.")


def _container(bits):
    """Return the smallest type that holds unsigned integers of so many bits."""
    return np.min_scalar_type(2**bits - 1)


def _unpacked(rows, stored):
    """Return integers that lie bit by bit in rows of bytes, each row beginning with a byte, most significant bit first."""
    bits, height = stored.bits, len(rows)
    rows = rows << 4 | rows >> 4 if stored.low_first else rows  # two pixels a byte
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % bits)))
    groups = rows.reshape(height, -1, bits)  # of eight pixels
    found = np.empty((*groups.shape[:2], 8), _container(bits))
    for k in range(8):
        first, last, value = k * bits // 8, (k * bits + bits - 1) // 8, 0
        for at in range(first, last + 1):
            value = value << np.uint64(8) | groups[..., at].astype(np.uint64)
        found[..., k] = value >> np.uint64(8 * (last + 1) - (k + 1) * bits) & np.uint64(2**bits - 1)
    return np.ascontiguousarray(found.reshape(height, -1)[:, : stored.columns])


def signed(image, stored, notes):
    """Return 8- or 16-bit integers with the sign that the file's extremes prove, else with what it says outright."""
    dtype = image.dtype
    if dtype.kind not in "iu" or dtype.itemsize > 2 or stored.bits:
        return image
    half = 2 ** (8 * dtype.itemsize - 1)
    least, largest = stored.extremes or (math.nan, math.nan)
    if dtype.kind == "i" and 0 <= least <= largest < 2 * half and largest > half - 1:
        said = "Bytes are" if dtype.itemsize == 1 else "Integers are"
        notes.append(f"{said} read as unsigned, since the header's largest value is above {half - 1}.")
        return image.view(dtype.str.replace("i", "u"))
    if dtype.kind == "u" and -half <= least < 0 and least <= largest < half:
        notes.append("Integers are read with a sign, since the header's least value is below 0.")
        return image.view(dtype.str.replace("u", "i"))
    if dtype.kind == "i" and stored.unsigned:
        return image.view(dtype.str.replace("i", "u"))
    if dtype.str[1:] == "i1" and stored.extremes and not least < largest:
        notes.append("The header does not tell whether bytes have a sign; they have, as MRC2014 says.")
    return image


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


def _inverted(image, bits):
    """Return an image whose large values are dark with large values that are bright."""
    if image.dtype.kind == "u":
        return image.dtype.type(2 ** (bits or 8 * image.dtype.itemsize) - 1) - image
    return ~image if image.dtype.kind == "i" else -image


@lru_cache(maxsize=64)
def _unit(text):
    """Return a unit of length or its inverse in one spelling, and whether it is an inverse or an angle."""
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    text = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)  # as ImageJ writes
    # One form of Å, µ and superscripts.
    text = unicodedata.normalize("NFKC", text).replace("\0", "").casefold()
    text = PER_PIXEL.sub("", "".join(text.split())).strip("[]()")
    inverse = RECIPROCAL.match(text)
    text = (inverse["below"] or inverse["power"]) if inverse else text
    if text in ANGLES:
        return text, True
    text = text.replace("metre", "meter")
    return (text[:-1] if len(text) > 2 and text.endswith("s") else text), bool(inverse)


def nanometres(text):
    """Return how many nm a unit of length has, in any spelling; None if it is not one."""
    unit, inverse = _unit(text)
    return None if inverse else NANOMETRES.get(unit)


def _pixel_nm(path, scales, notes):
    """Return the edge of a square pixel in nm by the first scale that is one of length, NaN if there is none."""
    strange = ""
    for height, height_unit, width, width_unit, *note in scales:
        sizes_nm = []
        for value, text in ((height, height_unit), (width, width_unit)):
            number = _number(value)
            if not 0 < number < math.inf:
                continue
            unit, inverse = _unit(text if isinstance(text, bytes) else str(text or ""))
            if inverse and (unit in NANOMETRES or unit in ANGLES):
                told = shown(str(text).strip("\0 "))[:40]
                fault = f"is calibrated in {told}, a diffraction pattern"
                raise refusal(path, f"{fault}; give the micrograph instead.")
            length = number * NANOMETRES.get(unit, math.nan)
            if unit in PRINTED and length > COARSEST_NM:
                strange = strange or "The file states a resolution for printing but no pixel size."
            elif 0 < length < math.inf:
                sizes_nm.append(length)
            elif unit not in NO_UNIT and unit not in NANOMETRES:
                told = shown(str(text))[:40]
                strange = f"The file states a pixel size in '{told}', which is no known unit of length."
        if len(sizes_nm) == 2:
            notes += note
            return _square(*sizes_nm, notes)
    notes.append(strange or "The file states no pixel size.")
    return math.nan


def _number(value):
    """Return a value of a file as a float, NaN if it is none."""
    with suppress(TypeError, ValueError):
        return math.nan if value is None else float(value)
    return math.nan


def _square(height, width, notes):
    """Return the edge of a pixel in nm, NaN where its sides differ."""
    if abs(height - width) > SQUARE_TOLERANCE * max(height, width):
        sizes = f"{height:.6g} nm high, {width:.6g} nm wide"
        notes.append(f"Pixels are not square ({sizes}), so there is no single pixel size.")
        return math.nan
    return (height + width) / 2
