"""Files and errors in all of temlib: files are written whole or not at all, errors are one sentence.

Paths that a user or a table names: shown in messages, probed before opening, kept inside their folder.
"""

import codecs
import difflib
import errno
import functools
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import uuid
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock
import pandas as pd

# Columns of temlib's tables that are names, whatever they look like.
TEXT = ("particle", "micrograph", "model", "task", "class", "truth", "predicted")

# What a spreadsheet would take for a formula, unless it is a number; and how such text is written. One apostrophe more is
# put before it, and one is taken away in reading, so that text which already begins with one comes back too.
FORMULA = re.compile(r"(?='*[=+\-@\t\r])(?![+-](?:[0-9]*\.?[0-9]+|[0-9]+\.)(?:[eE][+-]?[0-9]+)?$|[+-]inf$)")
DISARMED = re.compile(r"'(?='*[=+\-@\t\r])")

# Byte order marks, the longer first.
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

# What helps where a file cannot be written, by the system's number of the fault.
CURES = {
    errno.ENOSPC: "make room on this disk or name a folder on another",
    errno.ENAMETOOLONG: "shorten the names of the folder and of the file of parameters",
    errno.ENOTDIR: "there is a file where a folder should be: name another folder",
    errno.EEXIST: "there is a file where a folder should be: name another folder",
    errno.EISDIR: "there is a folder where the file should be: remove it or name another folder",
}
# Faults of the system that are no fault of what was given.
REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
FREE_UNPACKED = 2**28  # bytes to which any ZIP file may unpack, and how many times its size a large one
GREATEST_UNPACKED = 100
TRIAL = 2**16  # bytes that are written to see whether there is room for more


class InputError(ValueError):
    """What the user gave cannot be used; the message is one sentence that names the place and the cure.

    Characters in names that would break the line, or move what a terminal shows, are escaped.
    """

    def __init__(self, text):
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text)))

    def _render_traceback_(self):
        """Show the sentence alone in a notebook: the way through temlib's code does not help its reader."""
        return [f"InputError: {self}"]


class SystemFault(InputError):
    """What the disk or the account does not allow; the message is one sentence too."""


@contextmanager
def writing(path):
    """Turn what the system says within the block, where `path` is written, into an `InputError`, or a `SystemFault`."""
    try:
        yield
    except OSError as fault:
        cure = CURES.get(fault.errno, "name a folder that can be written")
        kind = SystemFault if fault.errno in REFUSED else InputError
        raise kind(f"{shown(path)[:300]} cannot be written ({reason(fault)}); {cure}.") from fault


@contextmanager
def replacing(path):
    """Yield a temporary path beside `path` that takes its place when the block ends without an error.

    The folder is made when missing; the suffix is that of `path`, since many writers choose the format by it.
    """
    path = Path(path)
    # Not by `tempfile`, which makes private files: a report is made to be shared.
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path):
    """Yield a new folder beside `path` that takes its place when the block ends without an error."""
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex}")
    with writing(path):
        temporary.mkdir(parents=True)
    try:
        yield temporary
        with writing(path):
            if path.exists():
                shutil.rmtree(path)
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def alone(path, timeout=-1.0):
    """Let one process of this machine at a time work on a path, also on a disk that knows no locks.

    The lock is free when its process ends, however that ends; `filelock.Timeout` where it is not free after so many seconds.
    """
    name = hashlib.sha256(str(Path(path).absolute()).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    # Never removed: a lock that is removed can be held twice.
    with filelock.FileLock(Path(tempfile.gettempdir(), f"temlib-{name}.lock"), timeout=timeout):
        yield


def check_writable(path):
    """Refuse a file that could not be written, by trying in the nearest folder that is there; nothing is left behind."""
    path = Path(path)
    with writing(path):
        for name in (f".{32 * 'x'}{path.suffix}", path.name):
            # The system says whether the path is too long, or goes through a file.
            with suppress(FileNotFoundError):
                if stat.S_ISDIR(os.lstat(path.with_name(name)).st_mode):
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        folder = next(parent for parent in path.parents if parent.exists())
        trial = folder / f".{uuid.uuid4().hex}"
        try:
            trial.write_bytes(bytes(TRIAL))
        finally:
            trial.unlink(missing_ok=True)


def write_text(path, text):
    """Write `text` to `path` in UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_csv(path, table):
    """Write the DataFrame `table` to `path` without its index, whole or not at all.

    Text that a spreadsheet would take for a formula, since it begins with ``=``, ``+``, ``-`` or ``@`` and is no number, gets
    an apostrophe before it, which `read_csv` takes away.
    """
    table = _texts_replaced(table, FORMULA, "'")
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def read_csv(path, kinds=None):
    """Return a table that `write_csv` wrote; only an empty cell is missing, since None and NA may be names.

    `kinds` are dtypes of pandas; without them columns of nothing but numbers become numbers, apart from `TEXT`.
    """
    empty = {"keep_default_na": False, "na_values": [""]}
    table = pd.read_csv(path, dtype=str if kinds is None else kinds, float_precision="round_trip", **empty)
    for name in table.columns.difference(TEXT) if kinds is None else ():
        with suppress(ValueError):
            table[name] = pd.to_numeric(table[name])
    return _texts_replaced(table, DISARMED, "")


def _texts_replaced(table, pattern, new):
    """Return a table in whose texts and names of columns `new` stands for what `pattern` finds at the beginning."""

    def replaced(value):
        return pattern.sub(new, value, count=1) if isinstance(value, str) and pattern.match(value) else value

    table = table.rename(columns=replaced)
    for k in range(table.shape[1]):
        if not pd.api.types.is_numeric_dtype(column := table.iloc[:, k]):
            table.isetitem(k, column.map(replaced).astype(column.dtype))
    return table


def decoded(path, data):
    """Return the text of a file's bytes without a byte order mark, and its encoding: UTF-8, UTF-16 or Windows-1252."""
    marked = next((name for mark, name in MARKS.items() if data.startswith(mark)), None)
    for encoding in (marked,) if marked else ("utf-8", "cp1252"):
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError as fault:
            cause = fault
    else:
        raise refusal(path, "is not text in UTF-8, UTF-16 or Windows-1252; save it as UTF-8.") from cause
    if "\0" in text:
        raise refusal(path, "holds zero bytes, so it is not text; save it as text in UTF-8.")
    return text, encoding


def write_json(path, content):
    """Write `content` to `path` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n")


def shown(path):
    """Return a path as messages show it: escaped when line breaks or control characters are in it."""
    text = str(path)
    return text if text.isprintable() else ascii(text)


def listed(names, most=10):
    """Return names from a file as a list for a message, each on one line and short, `most` of them at the most."""
    names = list(names)
    text = ", ".join(shown(str(name)[:40]) for name in names[:most])
    return text + (f" and {len(names) - most:,} more" if len(names) > most else "")


def reason(fault):
    """Return an error or warning of another library as a short clause on one line."""
    text = str(getattr(fault, "strerror", None) or fault)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return (text[:100] or type(fault).__name__).rstrip(".")


def file_hash(path):
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_name(path):
    """Refuse a file or folder whose name is no text, since tables and reports could not say it."""
    if any("\ud800" <= c <= "\udfff" for c in str(path)):
        raise InputError(f"{shown(path)} has a name that is not text in UTF-8; rename it.")


def probe(path, count):
    """Return size and first `count` bytes of a regular file.

    One that is missing, empty, cannot be opened, or is a folder, a pipe or a device, which would hang or never end,
    raises `InputError`.
    """
    check_name(path)
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{shown(path)} is a folder, a pipe or a device; name a regular file.")
        if not status.st_size:
            raise InputError(f"{shown(path)} is empty (0 bytes); copy it again from where it came.")
        with open(path, "rb", buffering=0) as file:
            return status.st_size, file.read(count)
    except InputError:
        raise
    except (OSError, ValueError) as fault:  # ValueError: a zero character in the name
        raise InputError(
            f"{shown(path)} cannot be opened ({reason(fault)}); check name and folder."
        ) from fault


def inside(folder, name):
    """Return `folder / name`, an existing regular file that a table names and that lies in its folder.

    A name that is empty, leaves the folder by ``..``, by an absolute path or by a link, or is no regular file, raises
    `InputError`.
    """
    try:
        path = os.path.join(folder, name)
        real = os.path.join(_resolved(os.path.dirname(path)), os.path.basename(path))
        if os.path.islink(real):
            real = os.path.realpath(real)
        if not name or not real.startswith(_resolved(str(folder)) + os.sep):
            fault = f"leaves the folder {shown(folder)}"
            fault += "; put the file, not a link, into it and name it relatively"
        elif os.path.isfile(real):
            return Path(path)
        elif os.path.lexists(real):
            fault = "is not a regular file but a folder, a pipe or a device; name an image"
        else:
            fault = f"is not in {shown(folder)}; check the name, or the folder that the names are relative to"
    # A zero character, a name too long, a circle of links.
    except (OSError, ValueError, RuntimeError) as error:
        fault = f"cannot be followed ({reason(error)}); correct it"
    raise InputError(f"{shown(name)[:200]!r} {fault}.")


@functools.lru_cache(maxsize=10)
def _resolved(folder):
    """Return a folder after links are followed, once for all images in it."""
    return os.path.realpath(folder)


def natural(name):
    """Return the key by which names are put in order as people do: c2 before c10."""
    parts = re.split(r"([0-9]+)", str(name))
    return [part.zfill(20) if k % 2 else part for k, part in enumerate(parts)], str(name)


def refusal(path, fault):
    """Return the `InputError` that says what is wrong with the file at `path`."""
    return InputError(f"{shown(path)} {fault}")


def check_unpacked(path):
    """Refuse a ZIP file, such as a workbook or what NumPy and Keras save, that would unpack to far more than it can honestly hold."""
    size = os.stat(path).st_size
    with zipfile.ZipFile(path) as archive:
        stated = sum(part.file_size for part in archive.infolist())
    if stated > max(FREE_UNPACKED, GREATEST_UNPACKED * size):
        fault = f"would unpack from {size:,} to {stated:,} bytes, more than is read from a packed file"
        raise refusal(path, f"{fault}; do not use it, ask where it came from.")


def nearest(name, known):
    """Return which of the `known` names is meant by `name`, as the end of a sentence; empty if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; the nearest is '{near[0]}'" if near else ""
