"""Which file of a folder the name of an image in a table means.

Most names are the file's own, below the folder. Others are absolute, in another form of Unicode (a Mac stores é as e and an
accent), without suffix (Topaz), or begin with folders of the machine on which they were written.
"""

import json
import os
import subprocess
import sys
import unicodedata
from functools import cache
from pathlib import Path, PurePosixPath

from temlib.data.micrographs import format_of
from temlib.files import InputError, shown

# Finds the only group of a pattern in each text.
SEARCH = """import json, re, sys
pattern, texts = json.load(sys.stdin)
found = ((text, re.search(pattern, text)) for text in texts)
json.dump({text: match[1] for text, match in found if match and match[1]}, sys.stdout)
"""
PATIENCE_S = 20  # for all names; a million take one to three


def searched(pattern, texts):
    """Return what the only group of a pattern finds in each of the texts, without those in which it finds nothing.

    In a process of its own, since only that can be ended when a pattern such as ``(a+)+!`` tries more ways than there is time.
    """
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", SEARCH]
    try:
        done = subprocess.run(
            command,
            input=json.dumps([pattern, texts]),
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE_S,
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        fault = f"{pattern[:80]!r} does not come to an end with these names in {PATIENCE_S} s"
        raise InputError(f"micrograph: {fault}; write it with fewer + and *.") from None
    return json.loads(done.stdout)


def one_form(text):
    """Return a text in the one form of Unicode in which names are compared."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def located(folder, names, *, loose=False):
    """Return the names, a Series of str, relative to `folder`, and notes; what is not found is left as it is.

    `loose` names may begin with folders that are not there. An absolute name is understood where it lies in the folder.
    """
    here, within = Path(folder), cache(_listed)
    known = {name: name for name in names.unique() if not loose and _plain(name)}
    for name in names.unique():
        if name not in known:
            known[name] = _relative(here, name)
            parts = PurePosixPath(known[name]).parts
            ways = (_found(here, parts[k:], within) for k in range(len(parts) if loose else 1))
            known[name] = next(filter(None, ways), known[name])
    if not loose:
        return names.map(known), []
    given = {}
    for name, file in known.items():
        if given.setdefault(file, name) != name:
            both = f"{shown(given[file])[:200]!r} and {shown(name)[:200]!r}"
            raise InputError(f"{both} would both be {shown(file)[:200]}; keep their folders apart.")
    left = sum(
        len(PurePosixPath(file).parts) < len(PurePosixPath(name).parts) for name, file in known.items()
    )
    note = f"Images are looked for in {shown(folder)}; leading folders of {left:,} names are left out there."
    return names.map(known), [note] if left else []


def _plain(name):
    """Return whether a name can only mean one file."""
    return name.isascii() and format_of(name) is not None and not os.path.isabs(name)


def _relative(folder, name):
    """Return an absolute name that lies in the folder relative to it, any other as it is."""
    if os.path.isabs(name) and "\0" not in name:
        real = os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name))
        inner = os.path.relpath(real, os.path.realpath(folder))
        return name if inner.startswith("..") else Path(inner).as_posix()
    return name


def _found(folder, parts, within):
    """Return the name of the file that `parts` lead to from a folder, None where there is none, or several."""
    if not parts or ".." in parts or parts[0] == "/":
        return None
    for k, part in enumerate(parts):
        here = folder.joinpath(*parts[:k])
        if part not in within(here):
            same = [name for name in within(here) if one_form(name) == one_form(part)]
            if not same and k == len(parts) - 1 and format_of(part) is None:
                same = [name for name in within(here) if name.startswith(f"{part}.") and format_of(name)]
            if len(same) != 1:
                return None
            parts = (*parts[:k], same[0], *parts[k + 1 :])
    return "/".join(parts)


def _listed(folder):
    """Return the names in a folder."""
    try:
        return set(os.listdir(folder))
    except (OSError, ValueError):
        return set()
