"""Paths that a user or a table names: shown in messages, probed before opening, kept inside their folder."""

import functools
import os
import stat
from pathlib import Path

from .files import InputError


def shown(path):
    """Return a path as messages show it: escaped when line breaks or control characters are in it."""
    text = str(path)
    return text if text.isprintable() else ascii(text)


def listed(names):
    """Return names from a file as a list for a message, each on one line and short, ten at the most."""
    names = [shown(str(name)[:40]) for name in names]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def reason(fault):
    """Return an error or warning of another library as a short clause on one line."""
    text = str(getattr(fault, "strerror", None) or fault)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return (text[:100] or type(fault).__name__).rstrip(".")


def probe(path, count):
    """Return size and first `count` bytes of a regular file.

    Raises
    ------
    InputError
        If there is no such file, it cannot be opened, is empty, or is a folder, a pipe or a device, which
        would hang or never end.
    """
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


def inside(folder, name, place):
    """Return the path of a file that a table names, after links are followed, if it lies in the table's
    folder.

    Parameters
    ----------
    folder : Path
        The folder that names are relative to.
    name : str
        Relative path as written in the table.
    place : str
        Where it is written (file and line), for the message.

    Returns
    -------
    Path
        `folder / name`, an existing regular file.

    Raises
    ------
    InputError
        If the name is empty, leaves the folder by ``..``, by an absolute path or by a link, or is no regular
        file.
    """
    try:
        base, real = _resolved(str(folder)), os.path.realpath(os.path.join(folder, name))
        if not name or not real.startswith(base + os.sep):
            fault = (
                f"leaves the folder {shown(folder)}; put the file, not a link, into it and name it relatively"
            )
        elif not os.path.lexists(real):
            fault = f"is not in {shown(folder)}; check the name, or the folder that the names are relative to"
        elif not os.path.isfile(real):
            fault = "is no regular file but a folder, a pipe or a device; name an image"
        else:
            return Path(folder, name)
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # a zero character, a name too long, a circle of links
        fault = f"cannot be followed ({reason(error)}); correct it"
    raise InputError(f"{place}: {shown(name)[:200]!r} {fault}.")


@functools.lru_cache(maxsize=10)
def _resolved(folder):
    """Return the folder of a table after links are followed, once for all its images."""
    return os.path.realpath(folder)


def refusal(path, fault):
    """Return the `InputError` that says what is wrong with the file at `path`."""
    return InputError(f"{shown(path)} {fault}")
