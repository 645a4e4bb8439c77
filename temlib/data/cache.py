"""Folders of prepared data, kept by the hash of everything that decides their content.

An entry appears whole or not at all: it is made in a folder of another name that is renamed at the end, so that a process
that is killed leaves nothing that could be taken for an entry. If several processes want the same, one makes it. The oldest
entries go when all together exceed `LARGEST`.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import platformdirs

from temlib import provenance
from temlib.files import InputError, alone, write_json

LARGEST = 20 * 2**30  # bytes of all entries; a million particles of 64 x 64 pixels take 16e9
SPARE = 2**30  # bytes that are left free on the disk
# Of a large file this much is read again when it is opened: its damage is likely found, and opening stays quick.
CHECKED, BLOCK = 2**25, 2**20
CHECKSUMS = "entry.json"
ABANDONED_S = 86400.0  # age of a half-made entry after which nobody works on it any more


def folder():
    """Return the folder of all entries: TEMLIB_CACHE where that is set, else the user's cache."""
    return Path(os.environ.get("TEMLIB_CACHE") or platformdirs.user_cache_path("temlib", appauthor=False))


def key(*parts):
    """Return a hash of `parts` (text, numbers, bytes, arrays, lists of them) and of the source of temlib."""
    seen = hashlib.sha256(provenance.source_hash().encode())
    for part in parts:
        if isinstance(part, np.ndarray):
            part = str(part.dtype).encode() + str(part.shape).encode() + np.ascontiguousarray(part).tobytes()
        elif not isinstance(part, bytes):
            part = repr(part).encode("utf-8", "surrogatepass")
        seen.update(len(part).to_bytes(8, "big") + part)
    return seen.hexdigest()[:32]


def get_or_make(name, make, *, size=0):
    """Return the folder of the entry `name`, which `make(empty folder)` fills where it is missing or damaged.

    Room is made first for the `size` in bytes that it will have about.
    """
    entry = folder() / name
    if not _is_valid(entry):
        with alone(entry):  # the others wait, and then find it made
            if not _is_valid(entry):
                _make(entry, make, size)
    os.utime(entry)  # the last use, by which entries are let go
    return entry


def _make(entry, make, size):
    """Make an entry in a folder of another name, and rename it."""
    _make_room(size, entry)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=entry.parent))
    except OSError as error:
        fault = f"prepared particles cannot be kept there ({error.strerror})"
        cure = "set TEMLIB_CACHE to a folder that can be written"
        raise InputError(f"{entry.parent}: {fault}; {cure}.") from None
    try:
        make(part)
        write_json(part / CHECKSUMS, {path.name: _checksum(path) for path in sorted(part.iterdir())})
        if not _is_valid(entry):
            shutil.rmtree(entry, ignore_errors=True)  # a damaged one
            with contextlib.suppress(OSError):  # another machine was faster
                part.rename(entry)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    if not entry.is_dir():
        raise InputError(f"{entry.parent}: an entry cannot be put there; set TEMLIB_CACHE to another folder.")


def _checksum(path):
    """Return size, time and a checksum of a file; of a large one, the checksum of blocks all over it."""
    state, crc = path.stat(), 0
    with path.open("rb") as file:
        for start in np.linspace(0, max(0, state.st_size - BLOCK), CHECKED // BLOCK).astype(int).tolist():
            file.seek(start)
            crc = zlib.crc32(file.read(BLOCK), crc)
    return [state.st_size, state.st_mtime_ns, crc]


def _is_valid(entry):
    """Return whether an entry is there and its files are as they were made."""
    try:
        made = json.loads((entry / CHECKSUMS).read_text(encoding="utf-8"))
        return all(_checksum(entry / name) == checksum for name, checksum in made.items())
    except (OSError, ValueError, AttributeError):
        return False


def _make_room(size, entry):
    """Remove what was abandoned and the entries longest unused, until `size` bytes fit."""
    entries = []
    for path in sorted(entry.parent.iterdir(), key=_used) if entry.parent.is_dir() else []:
        if path.name.startswith(".part-"):
            if time.time() - _used(path) > ABANDONED_S:
                shutil.rmtree(path, ignore_errors=True)
        elif (path / CHECKSUMS).is_file():
            entries.append((path, sum(file.stat().st_size for file in path.glob("*") if file.is_file())))
    while entries and (sum(n for _, n in entries) + size > LARGEST or _free(entry.parent) < size + SPARE):
        shutil.rmtree(entries.pop(0)[0], ignore_errors=True)
    if size and _free(entry.parent) < size + SPARE:
        fault = f"the prepared particles take {size / 1e9:.1f} GB and the disk has not that much free"
        cure = "lower 'input_size', or set TEMLIB_CACHE to a folder on a larger disk"
        raise InputError(f"{entry.parent}: {fault}; {cure}.")


def _used(path):
    try:
        return path.stat().st_mtime
    except OSError:  # another process removed it
        return 0.0


def _free(path):
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
