"""Read the MRC family."""

def read_mrc(path, index, size, packed, suffix):
    """Read the MRC family; see `read` for what comes back."""
    with _opened(path, packed) as file:
        raw = _exactly(path, file, 1024)
        header, order, mode, signed = _mrc_header(path, raw)
        nx, ny, nz, extended = (int(header[name]) for name in ("nx", "ny", "nz", "nsymbt"))
        if min(nx, ny, nz) < 1 or extended < 0:
            raise refusal(
                path,
                f"states {nx} columns, {ny} rows, {nz} sections and {extended} bytes of extended header, "
                "which cannot be; its header is damaged, so copy the file again."
            )
        dtype = np.dtype("u1") if mode == 101 or not signed else mrcfile.utils.dtype_from_mode(mode)
        dtype = dtype.newbyteorder(order)
        check_pixels(path, dtype)
        width = (nx + 1) // 2 if mode == 101 else nx
        stated, section = 1024 + extended + nz * ny * width * dtype.itemsize, ny * width * dtype.itemsize
        _check_mrc_size(path, stated, size, packed)
        if nz > 1 and header["ispg"] != 0 and suffix not in (".mrcs", ".st"):
            raise refusal(
                path,
                f"is a volume of {nz} x {ny} x {nx} voxels, not a micrograph; give a 2-D image, or name "
                "the file .mrcs if it is a stack of images."
            )
        chosen = choose(path, index, nz, (ny, nx))
        start = 1024 + extended + chosen * section
        if packed or mode == 101:
            check_memory(path, section * (2 if mode == 101 else 1), size)
            _skip(path, file, start - 1024)
            image = np.frombuffer(_exactly(path, file, section), dtype).reshape(ny, width)
            _check_end(path, file, stated - start - section)
        else:
            image = np.memmap(path, dtype, "r", start, (ny, width))
    if mode == 101:  # two pixels a byte, the first in the low half; an odd row ends with a half byte unused
        image = np.stack([image & 15, image >> 4], axis=-1).reshape(ny, 2 * width)[:, :nx]
    calibration, sizes, notes = _mrc_calibration(header)
    shape = (ny, nx) if nz == 1 else (nz, ny, nx)
    return image, "MRC", image.dtype.newbyteorder("="), shape, calibration, sizes, notes


@contextmanager
def _opened(path, packed):
    """Yield a file open for reading, unpacked on the way, whose damage is reported as such."""
    opener = {".gz": gzip.open, ".bz2": bz2.open}[path.suffix.lower()] if packed else open
    try:
        with opener(path, "rb") as file:
            yield file
    except (OSError, EOFError, zlib.error) as fault:
        raise refusal(
            path,
            f"is damaged or cut short ({reason(fault)}); copy it again."
        ) from fault


def _exactly(path, file, count):
    """Return `count` bytes; the file is cut short if it has fewer."""
    data = file.read(count)
    if len(data) < count:
        raise refusal(
            path,
            f"is cut short: {count} bytes were due and {len(data)} are there; copy it again."
        )
    return data


def _skip(path, file, count):
    """Read past `count` bytes in pieces, since seeking in a packed file would do the same without a check."""
    while count > 0:
        piece = min(count, 2**20)
        _exactly(path, file, piece)
        count -= piece


def _check_end(path, file, rest):
    """Refuse a packed file that ends before or goes on after the last section."""
    _skip(path, file, rest)
    if file.read(1):
        raise refusal(
            path,
            f"goes on after the image that its header states; its header is damaged."
        )


def _mrc_header(path, raw):
    """Return header record, byte order (`<` or `>`), mode, and whether mode 0 is signed."""
    order = {0x44: "<", 0x11: ">"}.get(raw[212])
    headers = {o: np.frombuffer(raw, mrcfile.dtypes.HEADER_DTYPE.newbyteorder(o))[0] for o in "<>"}
    # Without a machine stamp the order is the one in which the mode makes sense.
    order = order or next((o for o in "<>" if 0 <= headers[o]["mode"] <= 101), "<")
    header = headers[order]
    mode = int(header["mode"])
    if mode not in (0, 1, 2, 3, 4, 6, 12, 101):
        raise refusal(
            path,
            f"has MRC mode {mode}, which the standard does not know; re-export it."
        )
    axes = [int(header[name]) for name in ("mapc", "mapr", "maps")]
    if axes not in ([1, 2, 3], [0, 0, 0]):
        raise refusal(
            path,
            f"orders its axes {axes} instead of [1, 2, 3], as only volumes do; re-export it."
        )
    # IMOD's own stamp ("IMOD") and flag: without bit 0 its bytes are unsigned.
    stamp, flags = np.frombuffer(raw, np.dtype("i4").newbyteorder(order), 2, 152)
    return header, order, mode, not (mode == 0 and stamp == 1146047817 and not flags & 1)


def _check_mrc_size(path, stated, size, packed):
    """Compare the size that the header states with the file's, before any pixel is touched."""
    if packed:
        if stated > min(LARGEST_ARCHIVE, max(FREE_EXPANSION, GREATEST_EXPANSION * size)):
            raise refusal(
                path,
                f"would unpack from {size} to {stated:.4g} bytes, more than is read from a packed file; "
                "unpack it first if it is genuine."
            )
    elif stated != size:
        fault = "cut short" if stated > size else "longer than its header states"
        raise refusal(
            path,
            f"is {fault}: the header states {stated:.10g} bytes and the file has {size}; copy it again."
        )


def _mrc_calibration(header):
    """Return calibration as written, pixel height and width in nm, and notes."""
    cell, sampling = header["cella"], (int(header["mx"]), int(header["my"]))
    sizes = tuple(
        length_nm(float(length) / count, "Å") if count > 0 else math.nan
        for length, count in ((cell["y"], sampling[1]), (cell["x"], sampling[0]))
    )
    calibration = (
        f"cell {float(cell['x']):.6g} x {float(cell['y']):.6g} Å over {sampling[0]} x {sampling[1]} pixels"
    )
    if any(map(math.isnan, sizes)):
        return calibration, (math.nan, math.nan), ["The MRC header states no pixel size."]
    if sizes == (0.1, 0.1):
        return (
            calibration,
            sizes,
            ["The pixel size is exactly 1 Å, which some programs write for want of a true one."],
        )
    return calibration, sizes, []


