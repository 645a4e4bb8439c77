"""A run's folder: one run at a time in it, steps that appear in it whole, and hashes by which it is verified.

A step works in a folder of its own, `.work/<step>`, and is moved to its place when it has ended. Its `record.json` lies there
from the moment when all is written until all is moved, so that a move which was cut off is finished by the next run. In its
place the record is named after the notebook, `3_train.json`, and says what it was made from and the hash of each file.
"""

import hashlib
import json
import os
import shutil
import socket
import time
import uuid
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import filelock

from temlib.files import InputError, alone, check_writable, file_hash, write_json, writing
from temlib.report import notebook, onefile

WORK, LOCK, OWNER, RECORD, TOKEN = ".work", ".lock", ".owner.json", "record.json", "token"


def place(settings, steps, output):
    """Return the folder of a run, after a look whether its files can be written there."""
    reports = Path(output).resolve() if output else notebook.reports_folder().resolve()
    folder = reports / settings.run
    for path in (
        reports / "index.html",
        folder / "index.html",
        onefile.path_of(folder),
        *dict.fromkeys(reports / s.folder / s.source.name for s in steps),
    ):
        check_writable(path)
    foreign = folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())
    if foreign and not (folder / "parameters.yaml").exists():
        cure = "empty it, or choose another with --output"
        raise InputError(f"{folder}: this folder is not a run of temlib; {cure}.")
    return folder


@contextmanager
def locked(folder):
    """Keep other runs out of a folder; the lock is free again when this process ends, however it ends."""
    owner = folder / OWNER
    with ExitStack() as held:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                held.enter_context(_lock(folder))
            except filelock.Timeout:
                who = read_json(owner)
                by = f" (process {who['process']} on {who['machine']}, since {who['since']})" if who else ""
                raise InputError(
                    f"{folder}: another run is at work in this folder{by}; wait for it, or choose another folder with --output."
                ) from None
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        write_json(owner, {"process": os.getpid(), "machine": socket.gethostname(), "since": since})
        try:
            yield
        finally:
            owner.unlink(missing_ok=True)


@contextmanager
def _lock(folder):
    """Hold a lock of a folder that is free; `filelock.Timeout` where another process holds it."""
    with ExitStack() as held:
        try:
            held.enter_context(filelock.FileLock(folder / LOCK, timeout=0))
        except NotImplementedError:  # a disk that knows no locks: at least on this machine
            held.enter_context(alone(folder, 0))
        yield


def read_json(path):
    """Return what a JSON file holds, {} where there is none or it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def record_of(reports, step):
    """Return what is recorded of a step, {} where there is nothing; `damaged` names a file that is not as it was left."""
    record = read_json(reports / step.folder / f"{step.notebook}.json")
    if "parts" not in record:  # not of a run
        return {}
    for name, as_left in record["files"].items():
        if not _is_as_left(reports / step.folder / name, *as_left):
            return record | {"damaged": name}
    return record


def _is_as_left(path, size, time_ns, digest):
    """Return whether a file is as it was recorded; its content is read only where its time changed."""
    try:
        state = path.stat()
    except OSError:
        return False
    return state.st_size == size and (state.st_mtime_ns == time_ns or file_hash(path) == digest)


def work_of(folder, step):
    """Return the folder in which a step is at work."""
    name = hashlib.sha256(f"{step.notebook} {step.folder.as_posix()}".encode()).hexdigest()[:16]
    return folder / WORK / name


def begin(folder, step):
    """Make a step's working folder, in which finished folds may lie, and return the token by which it is known to be wanted."""
    step.work = work_of(folder, step)
    _tidy(step.work)
    return give_token(step.work)


def give_token(work):
    """Write a new token into a working folder, and return it."""
    token = uuid.uuid4().hex
    with writing(work):
        work.mkdir(parents=True, exist_ok=True)
        (work / TOKEN).write_text(token)
    return token


def end(folder, step):
    """Remove the working folder of a step that is no longer at work, but for what it can resume from where it was not finished."""
    work = work_of(folder, step)
    _tidy(work, ("resume",) if step.status not in ("done", "kept") else ())
    for path in (work, folder / WORK):
        with suppress(OSError):  # not empty, or not there
            path.rmdir()
    step.work = None


def _tidy(work, kept=("resume",)):
    """Remove what lies in a working folder, but for what is kept."""
    for path in work.glob("*"):
        if path.is_file():
            path.unlink(missing_ok=True)
        elif path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)


def doing(work):
    """Return what is done in a working folder at this moment, such as `cell 5/20 · training 34 % · 0:40 left`."""
    found = []
    for name in ("cell", "progress"):
        with suppress(OSError):  # nothing is written there
            found.append((work / name).read_text(encoding="utf-8"))
    return " · ".join(found)


def recover(folder):
    """Finish the moves that an earlier run had begun when it was killed."""
    (folder / WORK / TOKEN).unlink(missing_ok=True)  # by which a cluster's workers were asked
    for path in (folder / WORK).glob(f"*/*/{RECORD}"):
        if record := read_json(path):
            move(folder.parent, path.parent, record)


def move(reports, attempt, record):
    """Move what a step left in its working folder `attempt` to its place, its record last.

    A failed step leaves its page alone, and where a finished one stands, it is named `3_train.failed.html` beside it.
    """
    name, target = record["notebook"], reports / record["folder"]
    source, sidecar = attempt / "reports" / record["folder"], target / f"{name}.json"
    with writing(target):
        target.mkdir(parents=True, exist_ok=True)
        before = read_json(sidecar)
        if record["status"] != "done":
            beside = ".failed" if before.get("status") == "done" else ""
            for suffix in (".ipynb", ".html"):
                if (source / f"{name}{suffix}").exists():
                    os.replace(source / f"{name}{suffix}", target / f"{name}{beside}{suffix}")
            if not beside:
                write_json(sidecar, record)
        else:
            _remove_stale(target, name, before, record)
            for top in sorted({Path(file).parts[0] for file in record["files"]}):
                if (source / top).exists():  # else a move that was cut off has done it
                    _replace(source / top, target / top, attempt)
            write_json(sidecar, record)
    (attempt / RECORD).unlink(missing_ok=True)


def _replace(path, target, attempt):
    """Put a file or folder in the place of another; nothing half-removed ever stands there."""
    if target.is_dir() and not target.is_symlink():
        target.rename(attempt / f"old-{uuid.uuid4().hex}")
    os.replace(path, target)


def _remove_stale(target, name, before, record):
    """Remove what the step left before and does not any more, unless another step of the folder left it too."""
    kept = set(record["files"])
    for other in target.glob("*.json"):
        if other.name != f"{name}.json":
            kept.update(read_json(other).get("files") or () if other.name[:1].isdigit() else ())
    stale = {*before.get("files", ()), f"{name}.failed.ipynb", f"{name}.failed.html"} - kept
    for file in stale:
        (target / file).unlink(missing_ok=True)
    for folder in sorted({(target / file).parent for file in stale} - {target}, reverse=True):
        with suppress(OSError):  # not empty, or gone
            folder.rmdir()


def files_of(folder):
    """Yield the files of a run, hidden ones and its provenance apart, as paths relative to it."""
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if (
            path.is_file()
            and not any(part.startswith(".") for part in relative.parts)
            and str(relative) != "provenance.json"
        ):
            yield relative.as_posix()


def hashes(folder, rows):
    """Return the SHA-256 of each file of a run: as its step recorded it, and of the run's own files as they are now."""
    found = {}
    for row in rows:
        place = folder / row["folder"].partition("/")[2]
        path = place / f"{row['notebook']}.json"
        for name, (*_, digest) in read_json(path).get("files", {}).items():
            found[(place / name).relative_to(folder).as_posix()] = digest
    for name in files_of(folder):
        if name not in found:
            found[name] = file_hash(folder / name)
    return {name: found[name] for name in sorted(found) if (folder / name).is_file()}


def verify(folder):
    """Return how many files of a run are as they were recorded, and a sentence for each that is not.

    Parameters
    ----------
    folder : Path
        Of a run.

    Returns
    -------
    count : int
    faults : list of str
        Files that are missing or altered.
    strange : list of str
        Names of files that the run did not leave.

    Raises
    ------
    InputError
        Where the folder records no hashes.
    """
    recorded = read_json(folder / "provenance.json").get("files")
    if not recorded:
        raise InputError(
            f"{folder}: provenance.json records no hashes of files; run the parameter file again with this temlib."
        )
    faults, count = [], 0
    for name, digest in recorded.items():
        if not (folder / name).is_file():
            faults.append(f"{name} is missing.")
        elif file_hash(folder / name) != digest:
            faults.append(f"{name} is not what the run left: its SHA-256 differs.")
        else:
            count += 1
    return count, faults, [name for name in files_of(folder) if name not in recorded]
