"""The reader of the MRC family: images and stacks of all modes, packed as gzip or bzip2, or memory-mapped."""

import bz2
import gzip
import math
import zlib
from contextlib import contextmanager

import mrcfile
import numpy as np

from ._paths import reason, refusal
from ._readers import (
    FREE_EXPANSION,
    GREATEST_EXPANSION,
    UNKNOWN,
    Found,
    check_memory,
    check_pixels,
    choose,
    length_nm,
)

LARGEST_ARCHIVE = 2**33  # bytes of an unpacked .gz or .bz2; more takes minutes to run through for one image
HEADER_BYTES = 1024
IMOD_STAMP = 1146047817  # "IMOD" at byte 152; bit 0 of the next word says that bytes are signed


def read_mrc(path, index, size, packed, suffix):
    """Return what a file of the MRC family holds.

    Parameters
    ----------
    path : Path
        The file, which begins as MRC does or as gzip or bzip2 if `packed`.
    index : int or None
        Which image of a stack.
    size : int
        Bytes of the file.
    packed : bool
        Whether the file is .gz or .bz2.
    suffix : str
        The suffix before .gz and .bz2, which tells stacks from volumes.

    Returns
    -------
    Found
        The image, mapped unless it is packed, and what the header says.

    Raises
    ------
    InputError
        If the header is damaged or does not fit the file, or the file holds a volume or a transform.
    """
    with _opened(path, packed) as file:
        raw = _exactly(path, file, HEADER_BYTES)
        header, order, mode = _header(path, raw)
        nx, ny, nz, extended = (int(header[name]) for name in ("nx", "ny", "nz", "nsymbt"))
        if min(nx, ny, nz) < 1 or extended < 0:
            fault = f"states {nx} columns, {ny} rows, {nz} sections and {extended} bytes of extended header"
            raise refusal(path, f"{fault}, which cannot be; its header is damaged, so copy the file again.")
        dtype = _pixel_type(raw, mode, order)
        check_pixels(path, dtype)
        width = (nx + 1) // 2 if mode == 101 else nx
        section = ny * width * dtype.itemsize
        start, end = HEADER_BYTES + extended, HEADER_BYTES + extended + nz * section
        _check_size(path, end, size, packed)
        if nz > 1 and header["ispg"] != 0 and suffix not in (".mrcs", ".st"):
            fault = f"is a volume of {nz} x {ny} x {nx} voxels, not a micrograph"
            raise refusal(path, f"{fault}; give a 2-D image, or name it .mrcs if it is a stack of images.")
        start += choose(path, index, nz, (ny, nx)) * section
        if packed:
            check_memory(path, section, size)
            _skip(path, file, start - HEADER_BYTES)
            image = np.frombuffer(_exactly(path, file, section), dtype).reshape(ny, width)
            _skip(path, file, end - start - section)
            if file.read(1):
                raise refusal(path, "goes on after the image that its header states; copy it again.")
        else:
            image = np.memmap(path, dtype, "r", start, (ny, width))
    if mode == 101:
        image = _nibbles(path, image, nx, size)
    return Found(image, (ny, nx) if nz == 1 else (nz, ny, nx), *_calibration(header))


@contextmanager
def _opened(path, packed):
    """Yield a file open for reading, unpacked on the way, whose damage is reported as such."""
    opener = {".gz": gzip.open, ".bz2": bz2.open}[path.suffix.lower()] if packed else open
    try:
        with opener(path, "rb") as file:
            yield file
    except (OSError, EOFError, zlib.error) as fault:
        raise refusal(path, f"is damaged or cut short ({reason(fault)}); copy it again.") from fault


def _exactly(path, file, count):
    """Return `count` bytes; the file is cut short if it has fewer."""
    data = file.read(count)
    if len(data) < count:
        raise refusal(path, f"is cut short: {count} bytes were due, {len(data)} are there; copy it again.")
    return data


def _skip(path, file, count):
    """Read past `count` bytes in pieces of bounded size, noticing an early end."""
    while count > 0:
        count -= len(_exactly(path, file, min(count, 2**20)))


def _header(path, raw):
    """Return header record, byte order (`<` or `>`) and mode."""
    if raw[208:211] != b"MAP":
        raise refusal(path, "is packed but no MRC file of 2000 or later; rename it or export it again.")
    headers = {o: np.frombuffer(raw, mrcfile.dtypes.HEADER_DTYPE.newbyteorder(o), 1)[0] for o in "<>"}
    # Without a machine stamp the order is the one in which the mode makes sense.
    plausible = [order for order in "<>" if 0 <= headers[order]["mode"] <= 101]
    order = {0x44: "<", 0x11: ">"}.get(raw[212]) or (plausible or ["<"])[0]
    header, mode = headers[order], int(headers[order]["mode"])
    if mode not in (0, 1, 2, 3, 4, 6, 12, 101):
        raise refusal(path, f"has MRC mode {mode}, which the standard does not know; export it again.")
    axes = [int(header[name]) for name in ("mapc", "mapr", "maps")]
    if axes not in ([1, 2, 3], [0, 0, 0]):
        raise refusal(path, f"orders its axes {axes} and not [1, 2, 3], as only volumes do; export it again.")
    return header, order, mode


def _pixel_type(raw, mode, order):
    """Return the type of the stored pixels; in mode 101 a byte holds two of them."""
    stamp, flags = np.frombuffer(raw, np.dtype("i4").newbyteorder(order), 2, 152)
    if mode == 3:  # which mrcfile does not know
        return np.dtype("c8")
    if mode == 101 or (mode == 0 and stamp == IMOD_STAMP and not flags & 1):
        return np.dtype("u1")
    return mrcfile.utils.dtype_from_mode(mode).newbyteorder(order)


def _nibbles(path, image, columns, size):
    """Return the pixels of mode 101: a byte's low half first, the last half of an odd row unused."""
    check_memory(path, 2 * image.size, size)
    return np.stack([image & 15, image >> 4], axis=-1).reshape(len(image), -1)[:, :columns]


def _check_size(path, stated, size, packed):
    """Compare the size that the header states with the file's, before any pixel is touched."""
    if packed and stated > min(LARGEST_ARCHIVE, max(FREE_EXPANSION, GREATEST_EXPANSION * size)):
        fault = f"would unpack from {size} to {stated} bytes, more than is read from a packed file"
        raise refusal(path, f"{fault}; if it is genuine, unpack it first.")
    if not packed and stated != size:
        fault = "cut short" if stated > size else "longer than its header states"
        raise refusal(path, f"is {fault}: {stated} bytes are stated and {size} are there; copy it again.")


def _calibration(header):
    """Return calibration as written, pixel height and width in nm, and notes."""
    cell, columns, rows = header["cella"], int(header["mx"]), int(header["my"])
    written = f"cell {float(cell['x']):.6g} x {float(cell['y']):.6g} Å over {columns} x {rows} pixels"
    sizes_nm = tuple(
        length_nm(float(cell[axis]) / count, "Å") if count > 0 else math.nan
        for axis, count in (("y", rows), ("x", columns))
    )
    if any(map(math.isnan, sizes_nm)):
        return written, UNKNOWN, ["The MRC header states no pixel size."]
    default = "The pixel size is exactly 1 Å, which some programs write for want of the true one."
    return written, sizes_nm, [default] if sizes_nm == (0.1, 0.1) else []
