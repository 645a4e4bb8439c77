"""Where a result came from: code, packages, machine."""

import functools
import hashlib
import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import temlib

PACKAGES = "temlib numpy pandas scikit-learn scikit-image skops keras tensorflow numba scipy matplotlib papermill nbconvert"


@functools.cache
def source_hash():
    """Return a hash of the source of temlib, so that a result can be tied to the code that made it."""
    seen, folder = hashlib.sha256(), Path(temlib.__file__).parent
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".py", ".j2", ".css", ".js"):
            seen.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return seen.hexdigest()


@functools.cache
def locked():
    """Return the installed version of each package that the lock names, and of Python."""
    lock = Path(temlib.__file__).parents[1] / "requirements.txt"
    names = (
        re.findall(r"^([\w.-]+)==", lock.read_text(encoding="utf-8"), re.MULTILINE)
        if lock.exists()
        else PACKAGES.split()
    )
    # By the names of their folders: reading what each package says of itself takes a second.
    installed = {}
    for folder in map(Path, reversed(sys.path)):
        for path in folder.glob("*.dist-info"):
            name, _, version = path.stem.rpartition("-")
            installed[re.sub(r"[-_.]+", "-", name).lower()] = version
    found = {name: installed[name.lower()] for name in sorted(names) if name.lower() in installed}
    return {"python": platform.python_version()} | found


def describe():
    """Return code, packages and machine as plain JSON values."""
    return {
        "temlib": temlib.__version__,
        "commit": _commit(),
        "source": source_hash()[:16],
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES.split()},
    }


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _commit():
    """Return the commit of the checkout, with a plus sign when files were changed since; empty outside git."""
    command = ["git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+"]
    how = {"cwd": Path(temlib.__file__).parents[1], "stderr": subprocess.DEVNULL, "text": True, "timeout": 5}
    try:
        return subprocess.check_output(command, **how).strip()
    except (OSError, subprocess.SubprocessError):
        return ""
