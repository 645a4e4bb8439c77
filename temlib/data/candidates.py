"""What lies in a folder that nobody has described yet: what could be opened as particles, and how its files are named."""

from itertools import chain
from pathlib import Path

from temlib.data import columns, picks, sources, tables
from temlib.data.micrographs import format_of
from temlib.data.sources import TABLES
from temlib.files import InputError, listed, natural, probe, reason, shown

DEEPEST, MOST = 3, 2000  # folders below the one that is named, and folders in all, that are looked into
LARGEST_JSON = 2**26  # bytes; COCO files of particles are smaller
# How the number, or the place, of a particle ends the name of its image; the finest division first.
PATTERNS = (r"(.*)_\d+", r"(.*)-\d+", r"(.*)_[A-Za-z]+\d+", r"(.*)-[A-Za-z]+\d+")
PATTERNS += (r"(.*)_\d+[_x]\d+", r"(.*)_\d+-\d+", r"(.*)-\d+-\d+")
FEWEST = 3  # micrographs, below which no split is possible


def candidates(source):
    """Return what `open` could take in a folder, or in the folders below it.

    Parameters
    ----------
    source : str or Path
        A folder, or a file, which is its own and only candidate.

    Returns
    -------
    list of Path
        Files and folders, in natural order: never empty, more than one where only the user can choose.

    Raises
    ------
    InputError
        Where there is nothing of the kind; it says what lies there instead, and what is missing.
    """
    source = Path(source)
    if not source.is_dir():
        if not source.exists():
            raise InputError(f"{shown(source)}: there is no such file or folder; correct its name.")
        return [source]
    found, seen, faults, level = [], [], [], [source]
    for _ in range(DEEPEST + 1):
        below = []
        for folder in level[: MOST - len(seen)]:
            seen.append(folder)
            here = _here(folder, faults)
            found += here
            below += [] if here else _inside(folder)[0]
        level = below
    if found:
        return sorted(found, key=natural)
    if faults:
        raise faults[0]
    raise InputError(f"{shown(source)}: {_nothing(seen)}")


def micrograph_pattern(table, task):
    r"""Return the pattern that finds the micrograph in the names of the images of a particles table, such as ``(.*)_\d+``; "" without.

    It gives three micrographs or more, with two particles or more in the mean, and no class has micrographs of its own only.
    """
    stems = table["image"].map(lambda name: Path(name).name.partition(".")[0])
    for pattern in PATTERNS:
        found = stems.str.extract(f"^{pattern}$", expand=False)
        count = found.nunique()
        if found.isna().any() or not FEWEST <= count <= len(stems) / 2:
            continue
        if (table[task].groupby(found).nunique() > 1).any():
            return pattern
    return ""


def _inside(folder):
    """Return the folders and the files in a folder, but for hidden ones; a folder that cannot be read is an `InputError`."""
    try:
        entries = [path for path in sorted(folder.iterdir(), key=natural) if not path.name.startswith(".")]
        return [path for path in entries if path.is_dir()], [path for path in entries if path.is_file()]
    except OSError as error:
        raise InputError(
            f"{shown(folder)}: cannot be looked into ({reason(error)}); ask who owns it."
        ) from None


def _here(folder, faults):
    """Return the candidates in a folder itself; what is wrong with tables that cannot be read is added to `faults`."""
    folders, files = _inside(folder)
    if (folder / "manifest.csv").is_file():
        return [folder]
    picked = [path for path in files if picks.kind(path)]
    whole, placed = _divided([path for path in picked if "passthrough" not in path.name] or picked)
    whole += [
        path for path in files if path.suffix.lower() == ".json" and path not in picked and _is_coco(path)
    ]
    known = [path for path in files if path.suffix.lower() in TABLES and path not in picked]
    if placed:
        # A folder is read as one, its micrographs and its table together.
        return [*whole, folder]
    if whole:
        labelled = len(picked) == len(known) == 1 and _is_about(known[0], faults, ("particle", "number"))
        return [folder] if labelled else whole
    named = [path for path in known if _is_about(path, faults)]
    return [*named, folder] if _has_classes(folder, folders, faults) else named


def _has_classes(folder, folders, faults):
    """Return whether the folders within one are those of classes: two or more with images, and no set of its own in them."""
    if not folders or sources.class_folders(folder)["class"].nunique() < 2:
        return False
    return not any(_here(each, faults) for each in folders if _images(_inside(each)[1]))


def _divided(picked):
    """Return those of the files of positions that list particles of any number of images, and those that place them in one."""
    whole, placed = [], []
    for path in picked:
        kind = picks.kind(path)
        if kind == ".star":
            try:
                start = probe(path, 2**17)[1]
            except InputError:
                continue
            # A STAR file of a model, an optimiser or micrographs has neither.
            whole += [path] * (b"_rlnImageName" in start)
            placed += [path] * (b"_rlnCoordinateX" in start and b"_rlnImageName" not in start)
        else:
            (whole if kind == ".cs" else placed).append(path)
    if len(placed) == 1 and not _images(path for path in _inside(placed[0].parent)[1]):
        return whole + placed, []  # it names its micrographs, which lie elsewhere
    return whole, placed


def _is_coco(path):
    try:
        return path.stat().st_size <= LARGEST_JSON and columns.coco(path) is not None
    except InputError:  # meant as COCO; opened, it says what is wrong
        return True


def _is_about(path, faults, names=("image",)):
    """Return whether a table has one of the columns `names`, or positions, under any name that is known."""
    try:
        table = tables.read(path)
    except InputError as error:
        if path.suffix.lower() != ".txt":  # most of these are notes
            faults.append(error)
        return False
    try:
        table = columns.known(path, table, [])
    except InputError:
        return True  # opened, it says what is wrong
    return bool({*names} & {*table}) or {"row", "column"} <= {*table}


def _images(files):
    return [path for path in files if format_of(path.name)]


def _nothing(folders):
    """Return a sentence on what lies in folders that hold nothing that can be opened."""
    images = list(chain.from_iterable(_images(_inside(folder)[1]) for folder in folders))
    need = "a STAR or .cs file of particles, picks beside their micrographs, a folder for each class, or a table with the column 'image'"
    if not images:
        return f"there are no particles here; temlib opens {need}."
    several = f"{len(images):,} images lie" if len(images) > 1 else "an image lies"
    told = f"{several} here ({listed((path.name for path in images), 3)})"
    return f"{told}, but nothing says what classes there are; temlib opens {need}."
