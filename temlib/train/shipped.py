"""The bundles that temlib carries: networks trained on simulated liposomes, for whoever has few labels, or none yet.

`python -m benchmarks.shipped` makes them anew.
"""

from pathlib import Path

from temlib.files import InputError, listed, shown

FOLDER = Path(__file__).with_name("shipped")
PREFIX = "shipped:"
# What the parameter `weights` calls the bundle of its own task.
LIPOSOMES = "liposomes"


def is_shipped(name):
    """Return whether a name stands for a bundle that temlib carries."""
    return str(name) == LIPOSOMES or str(name).startswith(PREFIX)


def find(name, task=""):
    """Return the folder of a bundle.

    Parameters
    ----------
    name : str or Path
        "shipped:<task>" of one that temlib carries, "liposomes" of the one for `task`, else the folder itself.

    Raises
    ------
    InputError
        For a task that temlib carries none for.
    """
    if not is_shipped(name):
        return Path(name)
    asked = task if str(name) == LIPOSOMES else str(name).removeprefix(PREFIX)
    known = sorted(path.parent.name for path in FOLDER.glob("*/card.json"))
    if asked not in known:
        fault = f"temlib carries no bundle for the task '{shown(asked)[:100]}', but for {listed(known)}"
        raise InputError(f"{fault}; name one of these, or the folder of your own.")
    return FOLDER / asked
