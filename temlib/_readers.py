"""Read TIFF etc."""

def length_nm(value, unit):
    """Return `value` of `unit` in nm, NaN for an unknown unit or a value that is no positive finite number."""
    try:
        length = float(value) * NANOMETRES.get(str(unit).strip("\0 ").casefold(), math.nan)
    except (TypeError, ValueError):
        return math.nan
    return length if math.isfinite(length) and length > 0 else math.nan


def choose(path, index, count, shape):
    """Return which of `count` images to read, or refuse to choose for the user."""
    size = f"{shape[-2]} x {shape[-1]} pixels"
    if index is None:
        if count == 1:
            return 0
        raise refusal(
            path,
            f"is a stack of {count} images of {size}; say which by index=0 to {count - 1}."
        )
    if isinstance(index, bool) or not isinstance(index, int | np.integer) or not 0 <= index < count:
        raise refusal(
            path,
            f"holds {count} image(s) of {size}; index must be 0 to {count - 1}, not {index!r}."
        )
    return int(index)


def check_memory(path, needed, size):
    """Refuse an image that would take far more memory than a file of this size can honestly describe."""
    if needed > LARGEST_IMAGE:
        raise refusal(
            path,
            f"states an image of {needed:.3g} bytes, more than the {LARGEST_IMAGE:.3g} read into "
            "memory; save it uncompressed as MRC or TIFF, which are memory-mapped, or crop it."
        )
    if needed > max(FREE_EXPANSION, GREATEST_EXPANSION * size):
        raise refusal(
            path,
            f"would expand from {size} to {needed} bytes, more than {GREATEST_EXPANSION}-fold, as no "
            "micrograph does; save it again uncompressed if it is genuine."
        )


def check_pixels(path, dtype):
    """Refuse pixel types that are not grey values."""
    dtype = np.dtype(dtype)
    if dtype.kind == "c":
        raise refusal(path, f"holds complex numbers, a Fourier transform; give the image itself.")
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise refusal(
            path,
            f"has pixels of type {dtype}, which are no grey values; save it as grey image."
        )


def grey(path, image, notes):
    """Return one grey channel of a `(rows, columns, channels)` picture whose colours carry nothing."""
    if image.ndim == 2:
        return image, notes
    colours, alpha = (
        image[..., : 3 if image.shape[-1] >= 3 else 1],
        image[..., 3 if image.shape[-1] >= 3 else 1 :],
    )
    if alpha.size and alpha.min() != alpha.max():
        raise refusal(path, f"has a transparency channel that varies; save it as a grey image.")
    if (colours != colours[..., :1]).any():
        raise refusal(
            path,
            f"is a colour picture (overlay, palette or photograph); save it as a grey image."
        )
    return np.ascontiguousarray(colours[..., 0]), [
        *notes,
        "Saved in colour with equal channels; one was taken.",
    ]


def read_tiff(path, index, size):
    """Read TIFF with tifffile, or with Pillow where the packing or the palette needs it."""
    try:
        with tifffile.TiffFile(path) as tif:
            pages = [page for page in tif.pages if not page.is_reduced]
            page = pages[0]
            # ImageJ writes one directory for many images that follow each other.
            inside = int((tif.imagej_metadata or {}).get("images", 1)) if len(pages) == 1 else 1
            count = max(inside, len(pages))
            chosen = choose(path, index, count, page.shape[:2])
            page, skipped = (page, chosen) if inside > 1 else (pages[chosen], 0)
            calibration, sizes, notes = _tiff_calibration(tif, page)
            image, notes = _tiff_image(path, page, skipped, size, notes)
    except InputError:
        raise
    except Exception as fault:  # a damaged file fails in tifffile in ways that no list of types covers
        raise refusal(
            path,
            f"cannot be read as TIFF ({reason(fault)}); copy or export it again."
        ) from fault
    shape = image.shape if count == 1 else (count, *image.shape)
    return image, "TIFF", image.dtype.newbyteorder("="), shape, calibration, sizes, notes


def _tiff_image(path, page, skipped, size, notes):
    """Return the pixels of one page, mapped where the file allows it."""
    if (
        page.dtype is None
        or page.photometric == 3
        or (page.compression != 1 and page.compression not in (8, 32946))
    ):
        return _picture(path, ("TIFF",), size, page.index, notes)  # packed, palette: Pillow's
    check_pixels(path, page.dtype)
    if page.compression != 1:
        check_memory(path, page.nbytes, size)
        image = page.asarray()
    else:
        start, due = page.dataoffsets[0] + skipped * page.nbytes, page.nbytes
        if start + due > size or (not skipped and sum(page.databytecounts) < due):
            raise refusal(
                path,
                f"is cut short: its directory states {due} bytes of image; copy it again."
            )
        if page.is_contiguous and page.is_final:
            image = np.memmap(
                path, np.dtype(page.dtype).newbyteorder(page.parent.byteorder), "r", start, page.shape
            )
        else:
            image = page.asarray()
    if page.photometric == 0 and image.dtype.kind == "u":  # the standard's WhiteIsZero
        image = np.iinfo(image.dtype).max - image
        notes = [*notes, "Stored with white as zero; the values were inverted as the TIFF standard says."]
    if page.planarconfig == 2 and image.ndim == 3:
        image = np.moveaxis(image, 0, -1)
    return grey(path, image, notes)


def _tiff_calibration(tif, page):
    """Return calibration as written, pixel height and width in nm, and notes; the microscope's own word comes first."""
    value = page.tags.valueof
    fei, tvips, sis = tif.fei_metadata or {}, tif.tvips_metadata or {}, tif.sis_metadata or {}
    scan = fei.get("Scan") or {}
    unit = str((tif.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
    found = []
    if value(65009) is not None:
        found.append(("DigitalMicrograph", value(65010), value(65009), value(65003) or ""))
    if scan.get("PixelWidth"):
        found.append(("FEI", scan.get("PixelHeight"), scan.get("PixelWidth"), "m"))
    if tvips.get("PixelSizeX"):
        found.append(("TVIPS", tvips.get("PixelSizeY"), tvips.get("PixelSizeX"), "nm"))
    if sis.get("pixelsizex"):
        found.append(("Olympus SIS", sis.get("pixelsizey"), sis.get("pixelsizex"), "m"))
    # Resolution tags are (numerator, denominator) in pixels per unit.
    across, down = (_per_pixel(value(code)) for code in (282, 283))
    if unit:
        found.append(("ImageJ", down, across, unit))
    for who, height, width, unit in found:
        sizes = length_nm(height, unit), length_nm(width, unit)
        if not any(map(math.isnan, sizes)):
            return f"{who}: {height} x {width} {unit}", sizes, []
    unit = {2: "inch", 3: "cm"}.get(value(296), "no unit")
    sizes = length_nm(down, unit), length_nm(across, unit)
    written = f"resolution tags: {down:.6g} x {across:.6g} {unit}" if down and across else ""
    if any(map(math.isnan, sizes)):
        return written, (math.nan, math.nan), ["The TIFF states no pixel size."]
    if max(sizes) > PRINT_RESOLUTION_NM:
        return (
            written,
            (math.nan, math.nan),
            ["The TIFF states only a resolution for printing, so no pixel size."],
        )
    return written, sizes, ["The pixel size comes from the TIFF's resolution tags alone."]


def _per_pixel(ratio):
    """Return the reciprocal of a TIFF rational, None if there is none."""
    return ratio[1] / ratio[0] if ratio and ratio[0] > 0 and ratio[1] > 0 else None


def read_picture(path, index, size):
    """Read PNG or JPEG, which carry no scale that a microscope would have set."""
    form = "PNG" if path.suffix.lower() == ".png" else "JPEG"
    image, notes = _picture(path, (form,), size, 0, [f"A {form} states no pixel size."])
    choose(path, index, 1, image.shape)
    if form == "JPEG":
        notes = [*notes, "JPEG is lossy: its 8 x 8 blocks change texture."]
    return image, form, image.dtype, image.shape, "", (math.nan, math.nan), notes


def _picture(path, formats, size, frame, notes):
    """Return pixels decoded by Pillow, after its header was weighed."""
    try:
        with Image.open(path, formats=formats) as picture:
            picture.seek(frame)
            # Pillow keeps at most 4 bytes a pixel.
            check_memory(path, 4 * picture.width * picture.height, size)
            if picture.mode in ("1", "P", "PA"):
                picture = picture.convert("L" if picture.mode == "1" else "RGBA")
            image = np.asarray(picture)
    except InputError:
        raise
    except Exception as fault:  # a damaged file fails in Pillow in ways that no list of types covers
        raise refusal(
            path,
            f"cannot be read ({reason(fault)}); copy or export it again."
        ) from fault
    check_pixels(path, image.dtype)
    return grey(path, image, notes)


def read_rsciio(path, index, size, suffix):
    """Read DM3, DM4, SER, EMI or EMD with the optional rosettasciio."""
    try:
        reader = __import__(f"rsciio.{RSCIIO_READERS[suffix]}", fromlist=["file_reader"]).file_reader
    except ImportError as fault:
        raise refusal(
            path,
            f"needs rosettasciio, which is under GPL-3.0 and so not part of temlib; install it with "
            'pip install "temlib[formats]", or export the image as TIFF or MRC.'
        ) from fault
    try:
        planes, shapes = _planes(path, reader(str(path), lazy=True))
        count = len(planes)
        if not count:
            found = ", ".join(" x ".join(map(str, shape)) for shape in shapes) or "nothing"
            raise refusal(
                path,
                f"holds no image but spectra or other data ({found}); give a 2-D image."
            )
        data, axes, shape = planes[choose(path, index, count, planes[0][0].shape)]
        check_pixels(path, data.dtype)
        check_memory(path, data.nbytes, size)
        image = np.asarray(data)
    except InputError:
        raise
    except Exception as fault:  # a damaged file fails in rosettasciio in ways that no list of types covers
        form = suffix[1:].upper()
        raise refusal(
            path,
            f"cannot be read as {form} ({reason(fault)}); copy or export it again."
        ) from fault
    sizes, written, notes = [], [], []
    for axis in axes:
        unit = str(axis["units"] if axis.get("units") else "")
        if unit.startswith("1/") or unit.endswith(("^-1", "-1")) or unit in ("mrad", "rad"):
            raise refusal(
                path,
                f"is calibrated in {unit}: a diffraction pattern, not a micrograph."
            )
        written.append(f"{float(axis['scale']):.9g} {unit}".strip())
        sizes.append(length_nm(axis["scale"], unit))
    if any(map(math.isnan, sizes)):
        sizes, notes = [math.nan, math.nan], ["The file states no pixel size in a unit of length."]
    return (
        image,
        suffix[1:].upper(),
        image.dtype.newbyteorder("="),
        shape,
        " x ".join(written),
        tuple(sizes),
        notes,
    )


def _planes(path, signals):
    """Return `(data, (row axis, column axis), shape)` for each 2-D image among rosettasciio's signals, and all shapes."""
    planes, shapes = [], []
    for signal in signals:
        data, axes = signal["data"], signal["axes"]
        shapes.append(tuple(map(int, data.shape)))
        image_axes = [axis for axis in axes if not axis.get("navigate", False)]
        if len(image_axes) != 2 or data.ndim not in (2, 3) or len(axes) != data.ndim or min(data.shape) < 1:
            continue
        if data.ndim == 2:
            planes.append((data, image_axes, shapes[-1]))
        else:
            planes += [(data[i], image_axes, shapes[-1]) for i in range(min(data.shape[0], 100_000))]
    return planes, shapes


