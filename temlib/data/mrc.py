"""Files of the MRC family: images and stacks, plain or packed, with headers as programs really write them.

Headers lie: marks and stamps are missing, sizes of extended headers are wrong, bytes follow the image. What the header
states is compared with the length of the file before a pixel is touched; where these leave no doubt the image is read and a
note says what was wrong, otherwise one sentence does.
"""

import bz2
import gzip
import math

import mrcfile
import numpy as np

from temlib.data.conventions import (
    FREE_EXPANSION,
    GREATEST_EXPANSION,
    Stored,
    check_memory,
    check_pixels,
    signed,
)
from temlib.files import refusal

SUFFIXES = (".mrc", ".mrcs", ".map", ".st", ".rec", ".ccp4")
STACK_SUFFIXES = (".mrcs", ".st")  # whose sections are images, whatever the header says
PACKED = {".gz": "gzip", ".bz2": "bzip2"}
MAGIC = slice(208, 211)  # the bytes "MAP" since MRC2000
HEADER_BYTES = 1024
# Mode -> type; 3 and 4 are Fourier transforms, and a byte of 101 holds two pixels.
MODES = {0: "i1", 1: "i2", 2: "f4", 3: "c8", 4: "c8", 6: "u2", 12: "f2", 101: "u1"}
HEADERS = {order: mrcfile.dtypes.HEADER_DTYPE.newbyteorder(order) for order in "<>"}
LARGEST_STACK = 10**7  # images
LONGEST_SIDE = 2**20  # pixels; numbers read in the wrong byte order are larger
LARGEST_ARCHIVE = 2**33  # bytes of an unpacked .gz or .bz2; more takes minutes to run through for one image
LARGEST_SEARCH = 2**28  # bytes of pixels whose extremes are compared with the header's
# "IMOD" at byte 152; in the next word, bit 0 says that bytes are signed, bit 4 that they are two pixels each.
IMOD_STAMP, IMOD_SIGNED, IMOD_HALVES = 1146047817, 1, 16


def read(path, size, choose):
    """Return what is `Stored` in a file of the MRC family; `choose` says which image of several is wanted."""
    packed = path.suffix.lower() in PACKED
    with {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix.lower(), open)(path, "rb") as file:
        header, notes = _header(path, file.read(HEADER_BYTES))
        nx, ny, nz, extended, mode = (int(header[name]) for name in ("nx", "ny", "nz", "nsymbt", "mode"))
        dtype = np.dtype(MODES[mode]).newbyteorder(header.dtype["nx"].byteorder)
        check_pixels(path, dtype)
        stored = Stored(None, [_scale(header, notes)], notes, extremes=(header["dmin"], header["dmax"]))
        width = _halves(header, stored)
        dtype = np.dtype(np.uint8) if stored.columns else dtype
        section, count = ny * width * dtype.itemsize, max(nz, 1)
        end = HEADER_BYTES + max(extended, 0) + count * section
        if packed:
            _check_archive(path, end, size)
            start = end - count * section
        else:
            start = _start(path, header, (count, section), size, notes)
        if _is_volume(path, header):
            fault = f"is a volume of {nz} x {ny} x {nx} voxels, a tomogram or a map and not a micrograph"
            raise refusal(path, f"{fault}; give a 2-D image, or name it .mrcs if it is a stack of images.")
        before = choose(count, (ny, stored.columns or nx)) * section
        if not packed:
            stored.pixels, stored.step = np.memmap(path, dtype, "r", start + before, (ny, width)), section
            return stored
        check_memory(path, section, size)
        file.seek(start + before)  # reads on in small pieces
        data = file.read(section)
        true = _start(path, header, (count, section), file.seek(end + 1), notes, packed=True)
        if true != start:
            file.seek(true + before)
            data = file.read(section)
        stored.pixels = np.frombuffer(data, dtype).reshape(ny, width)
        return stored


def sections(path):
    """Return how many images a stack holds, 1 for a volume or an image."""
    with {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix.lower(), open)(path, "rb") as file:
        header, _ = _header(path, file.read(HEADER_BYTES))
    count = int(header["nz"])
    return count if 1 < count <= LARGEST_STACK and not _is_volume(path, header) else 1


def _is_volume(path, header):
    """Return whether several sections are those of a volume."""
    stem = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return header["nz"] > 1 and header["ispg"] != 0 and stem.suffix.lower() not in STACK_SUFFIXES


def _header(path, raw):
    """Return the header, a record in the byte order in which it makes sense, and notes on what is wrong in it."""
    marked = raw[MAGIC] == b"MAP"
    if len(raw) < HEADER_BYTES and marked:
        raise refusal(path, f"is cut short: only {len(raw)} bytes of its header are there; copy it again.")
    raw = raw.ljust(HEADER_BYTES, b"\0")
    stamp = {0x44: "<", 0x11: ">"}.get(raw[212])
    orders = {order: np.frombuffer(raw, HEADERS[order], 1)[0] for order in (stamp, "<", ">") if order}
    order = next((order for order in orders if _sensible(orders[order])), None)
    if not marked and not order:
        raise _unknown(path)
    order = order or stamp or "<"
    header, notes = orders[order], []
    if not marked:
        notes.append("Its header lacks the mark 'MAP ' of MRC since 2000; its length is that of an image.")
    if stamp and order != stamp:
        notes.append("Its machine stamp names another byte order than that of the numbers in its header.")
    nx, ny, nz, mode = (int(header[name]) for name in ("nx", "ny", "nz", "mode"))
    if min(nx, ny) < 1 or nz < 0:
        fault = f"states {nx} columns, {ny} rows and {nz} sections, which cannot be"
        raise refusal(path, f"{fault}; its header is damaged, so export it again.")
    if mode not in MODES:
        raise refusal(path, f"has MRC mode {mode}, which the standard does not know; export it again.")
    axes = [int(header[name]) for name in ("mapc", "mapr", "maps")]
    if sorted(axes) == [1, 2, 3] != axes:
        raise refusal(path, f"orders its axes {axes} and not [1, 2, 3], as only volumes do; export it again.")
    if axes not in ([1, 2, 3], [0, 0, 0]):
        notes.append(f"Its header numbers the axes {axes}, which cannot be; they are columns and rows.")
    return header, notes


def _sensible(header):
    """Return whether the numbers of a header can be those of an image."""
    sides = [int(header[name]) for name in ("nx", "ny")]
    return int(header["mode"]) in MODES and min(sides) > 0 and max(sides) < LONGEST_SIDE and header["nz"] >= 0


def _unknown(path):
    """Return the refusal of a file that is no MRC file."""
    if path.suffix.lower() in PACKED:
        return refusal(path, "is packed but holds no MRC file; rename it or export it again.")
    return refusal(path, "is named as MRC but its content is of no known format; rename or export it again.")


def _halves(header, stored):
    """Return the number of columns as stored; note in `stored` whether bytes have a sign, or are two pixels each."""
    nx, mode = int(header["nx"]), int(header["mode"])
    stamp, flags = np.frombuffer(header.tobytes(), header.dtype["nx"], 2, 152).tolist()
    imod = mode == 0 and stamp == IMOD_STAMP
    stored.unsigned = imod and not flags & IMOD_SIGNED
    if mode != 101 and not (imod and flags & IMOD_HALVES):
        return nx
    # A byte's low half comes first; the last half of an odd row is unused.
    stored.bits, stored.low_first, stored.columns = 4, True, nx if mode == 101 else 2 * nx
    return (nx + 1) // 2 if mode == 101 else nx


def _start(path, header, sections, size, notes, packed=False):
    """Return where the image begins in a file of `size` bytes, or in a packed one at which more than enough were found."""
    extended, data = int(header["nsymbt"]), math.prod(sections)
    stated, last = HEADER_BYTES + extended, size - data
    if header["nz"] == 0 and last in (stated, HEADER_BYTES):
        notes.append("Its header states 0 sections; its length is that of one.")
    elif header["nz"] == 0:
        raise refusal(path, "states 0 sections, so its header is damaged; export it again.")
    if last == stated >= HEADER_BYTES:
        return stated
    if last == HEADER_BYTES:
        fault = f"Its header states an extended header of {extended} bytes, which is not there"
        notes.append(f"{fault}; the image behind the header has the right length.")
        return last
    if header["map"][:3] != b"MAP":
        raise _unknown(path)
    sound = HEADER_BYTES <= stated < last
    if last > HEADER_BYTES and not packed:
        seek = data <= LARGEST_SEARCH
        at_end = seek and _agrees(path, header, data, last)
        as_stated = seek and sound and _agrees(path, header, data, stated)
        if at_end and not as_stated:
            fault = f"Its extended header has {last - HEADER_BYTES} bytes and not the {extended} stated"
            notes.append(f"{fault}; the image at the file's end has the extremes that the header states.")
            return last
        sound = sound and (as_stated or not _other_width(header, size))
    if sound:
        notes.append("Bytes that follow the image, of which its header says nothing, were left out.")
        return stated
    raise _wrong_length(path, header, sections, size)


def _agrees(path, header, data, start):
    """Return whether pixels at a place have the extremes that the header states."""
    extremes, mode = (float(header["dmin"]), float(header["dmax"])), int(header["mode"])
    if not extremes[0] < extremes[1] or mode == 101:
        return False
    dtype = np.dtype(MODES[mode]).newbyteorder(header.dtype["nx"].byteorder)
    pixels = np.memmap(path, dtype, "r", start, data // dtype.itemsize)
    pixels = signed(pixels, Stored(pixels, extremes=extremes), [])
    return np.allclose((pixels.min(), pixels.max()), extremes, rtol=1e-5)


def _other_width(header, size):
    """Return for how many bytes a pixel the length of the file would be right, None if for none."""
    pixels = int(header["nx"]) * int(header["ny"]) * max(int(header["nz"]), 1)
    due = size - HEADER_BYTES - int(header["nsymbt"])
    return next((width for width in (1, 2, 4) if width * pixels == due and header["mode"] != 101), None)


def _wrong_length(path, header, sections, size):
    """Return the refusal of a file that has not the length which its header states."""
    extended, data = int(header["nsymbt"]), math.prod(sections)
    stated = HEADER_BYTES + extended + data
    if size in (HEADER_BYTES, HEADER_BYTES + extended):
        return refusal(path, "holds a header and no image; export it again.")
    if width := _other_width(header, size):
        fault = f"states mode {header['mode']}, but has the length of an image of {8 * width} bits a pixel"
        return refusal(path, f"{fault}; correct the mode or export it again.")
    if extended < 0 or HEADER_BYTES + data < size:
        fault = f"states an extended header of {extended} bytes, which does not fit its {size} bytes in all"
        return refusal(path, f"{fault}: that number is wrong or the end is missing; export it again.")
    return refusal(path, f"is cut short: {stated} bytes are stated and {size} are there; copy it again.")


def _check_archive(path, stated, size):
    """Refuse to unpack more than a packed file of `size` bytes can honestly hold."""
    if stated > min(LARGEST_ARCHIVE, max(FREE_EXPANSION, GREATEST_EXPANSION * size)):
        fault = f"would unpack from {size} to {stated} bytes, more than is read from a packed file"
        raise refusal(path, f"{fault}; if it is genuine, unpack it first.")


def _scale(header, notes):
    """Return height and width of a pixel, each with its unit, and what is to be said of them."""
    counts = {axis: int(header[f"m{axis}"]) for axis in "yx"}
    height, width = (float(header["cella"][axis]) / n if n > 0 else None for axis, n in counts.items())
    default = "The pixel size is exactly 1 Å, which some programs write for want of the true one."
    return height, "Å", width, "Å", *([default] if height == width == 1 else [])
