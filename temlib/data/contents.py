"""Hashes of what a data set holds, kept so that a file is read again only when the disk says that it changed."""

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from temlib.data import cache, sources
from temlib.files import InputError, file_hash, write_json

# A file that changed so few seconds before it was hashed may change again without a sign.
RACY_S = 2.0


def contents(source, *, task="", classes=(), data_folder="", micrograph="", names=None):
    """Return a hash of the rows of a data set and of its image files, whatever their times are.

    Parameters
    ----------
    source : str or Path
        As `open` takes it; of simulated particles, which their parameters decide, the word is returned.
    task, classes, data_folder, micrograph, names
        As `open` takes them.

    Raises
    ------
    InputError
        For what cannot be read as a table of particles.
    """
    if str(source) == "simulated":
        return "simulated"
    asked = sources.Asked(task, data_folder, micrograph, names or {}, classes)
    found = sources.read(Path(source), asked)
    seen = hashlib.sha256(found.table.to_csv().encode("utf-8", "surrogatepass"))
    for name, digest in sorted(digests(found.folder, dict.fromkeys(found.table["image"])).items()):
        seen.update(f"{name}\0{digest}\0".encode("utf-8", "surrogatepass"))
    return seen.hexdigest()


def digests(folder, names):
    """Return the SHA-256 of each file of `names` in a folder, "" for one that is missing."""
    kept = cache.folder() / "hashes" / f"{cache.key(str(folder))}.json"
    known, now = {}, time.time()
    with suppress(OSError, ValueError):
        known = json.loads(kept.read_text(encoding="utf-8"))
    states = {name: _state(Path(folder, name)) for name in names}
    changed = [name for name, state in states.items() if state and known.get(name, [None])[:-1] != state]
    with ThreadPoolExecutor() as pool:
        new = dict(zip(changed, pool.map(lambda name: file_hash(Path(folder, name)), changed)))
    found = {name: new.get(name) or known.get(name, [""])[-1] if states[name] else "" for name in names}
    for name, digest in new.items():
        if abs(now - states[name][1] / 1e9) > RACY_S:
            known[name] = [*states[name], digest]
    if new:
        with suppress(InputError):  # a cache that cannot be written costs time only
            write_json(kept, known)
    return found


def _state(path):
    """Return what changes with a file's content, None where there is no file."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
