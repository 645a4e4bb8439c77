"""What every notebook does first: check its parameters, find its folder, show progress.

The same notebook runs under the runner, under plain papermill and in JupyterLab. `begin` makes the three alike: it
checks the values against the notebook's own declarations and finds the run's folder from the checkout, never from the
working directory. What it returns, named `here` by convention, is where a notebook gets its parameters and files from.
"""

import ast
import inspect
import math
import os
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from temlib.files import InputError, nearest, read_csv, reason, shown, write_csv, write_text, writing
from temlib.report import parameters

CHECKOUT = Path(__file__).resolve().parents[2]
NOTEBOOKS = CHECKOUT / "notebooks"
# Parameters that name a file or folder of the user's, each with the value that names none.
PATHS = {"particles": "simulated", "assay": "simulated"}
PATHS |= dict.fromkeys(("predictions", "data_folder", "weights", "bundle"), "")


def reports_folder():
    """Return the folder that holds the runs: `reports/` of the checkout, or TEMLIB_REPORTS where that is set."""
    return Path(os.environ.get("TEMLIB_REPORTS") or CHECKOUT / "reports")


def with_paths(values, *folders):
    """Return parameter values whose relative paths are replaced by the files and folders that they name.

    A path is looked for in `folders`, such as that of the parameter file, in the working directory, and in the
    checkout, in this order; an `InputError` where there is nothing of that name.
    """
    places = [Path(folder) for folder in (*folders, Path.cwd(), CHECKOUT)]
    values = dict(values)
    for parameter, none in PATHS.items():
        name = values.get(parameter, none)
        if name == none or (parameter in ("weights", "bundle") and _is_shipped(name)):
            continue
        try:
            paths = (place / Path(name).expanduser() for place in places if name.strip())
            found = [path for path in paths if path.exists()]
        except (OSError, ValueError, RuntimeError) as fault:  # too long, not allowed, a home of nobody
            what = f"'{shown(name)[:200]}' cannot be followed ({reason(fault)})"
            raise InputError(f"{parameter}: {what}; correct the path.") from None
        if not found:
            looked = ", ".join(dict.fromkeys(str(place.resolve()) for place in places))
            is_no = f"neither '{none}' nor a file or folder" if none else "no file or folder"
            raise InputError(
                f"{parameter}: '{shown(name)[:200]}' is {is_no} (looked in {looked}); correct the path."
            )
        values[parameter] = str(found[0].resolve())
    return values


def _is_shipped(name):
    from temlib import train  # it takes a second

    return train.is_shipped(name)


@dataclass(frozen=True)
class Notebook:
    """A running notebook, named `here` by convention."""

    values: dict  # its checked parameters; paths are absolute
    folder: Path  # the run's, which it reads and writes

    @property
    def source(self):
        """The data set to open: `simulated`, or an absolute path."""
        return self.values["particles"]

    @property
    def bundle(self):
        """The folder of the model that an assay applies: the one named, else the run's own, for which it has a folder `assay`."""
        own = self.folder.parent / "models" / self.values["primary"]
        return self.values["bundle"] or (own if self.folder.name == "assay" else "")

    @property
    def resume(self):
        """The folder in which unfinished work is kept, to go on from: the runner's for this step, else a hidden one of the run's."""
        return Path(os.environ.get("TEMLIB_RESUME") or self.folder / ".resume")

    def finish(self):
        """Let go what could be resumed, since all is written; the runner does so itself when it has moved the results."""
        if not os.environ.get("TEMLIB_RESUME"):
            shutil.rmtree(self.resume, ignore_errors=True)

    def arguments(self, function):
        """Return those parameters that a function or a dataclass takes, as a dict for its `**`."""
        taken = inspect.signature(function).parameters
        return {name: value for name, value in self.values.items() if name in taken}

    def path(self, name):
        """Return the path of the run's file `name`."""
        return self.folder / name

    def table(self, name, *, first):
        """Return the run's CSV file `name`, which the notebook `first` writes; names of particles stay text."""
        path = self.path(name)
        if not path.exists():
            cure = f"run the notebook {first} first, with the same value of 'run'"
            raise InputError(f"{path.name} is missing from the run '{self.values['run']}'; {cure}.")
        return read_csv(path)

    def list_skipped(self, table):
        """Write the particles that were left out as `skipped.csv`; without any, remove that of an earlier run."""
        if len(table):
            write_csv(self.path("skipped.csv"), table)
        else:
            self.path("skipped.csv").unlink(missing_ok=True)

    def wrote(self, *names):
        """Return which files of the run this notebook has written, as a table with sizes."""
        rows = [(name, f"{self.path(name).stat().st_size / 1e3:,.0f}") for name in names]
        return pd.DataFrame(rows, columns=["file", "size (kB)"])


def begin(name, values):
    """Check the parameters of the notebook `name`, such as `1_explore`, in its `globals()`, and find its folder.

    An `InputError` where the type or the range of a parameter does not fit, papermill passed one that is not declared, or
    a path names nothing.
    """
    from temlib import figures

    declared = parameters.declared(NOTEBOOKS / f"{name}.ipynb")
    for key in _passed(values.get("In", [])):
        if key not in declared:
            hint = nearest(key, declared) or f"; there are {', '.join(declared)}"
            raise InputError(f"{name}: there is no parameter '{key}'{hint}.")
    checked = {key: parameter.check(values[key], name) for key, parameter in declared.items()}
    run = Path(checked["run"])
    if ".." in run.parts or run.is_absolute() or not run.parts or not checked["run"].isprintable():
        should = "names a folder below reports/, such as 'scratch'"
        raise InputError(f"{name}: 'run' {should}, but is {checked['run']!r}.")
    here = Notebook(with_paths(checked), reports_folder() / run)
    with writing(here.folder):
        here.folder.mkdir(parents=True, exist_ok=True)
    figures.set_style()
    return here


def _passed(cells):
    """Return the names that papermill's cell sets; `cells` are the sources that the kernel has executed."""
    passed = [ast.parse(cell).body for cell in cells if cell.startswith("# Parameters\n")]
    targets = [target for body in passed for line in body for target in getattr(line, "targets", ())]
    return [target.id for target in targets if isinstance(target, ast.Name)]


class Progress:
    """How far work such as `training` has got: in the runner's line, or as one line in JupyterLab.

    The runner names a file in TEMLIB_PROGRESS and reads it; nothing is left in the report. In JupyterLab `draw`, which returns
    HTML, shows what there is to see below the line, while the work goes on.
    """

    def __init__(self, what, draw=None):
        self.what, self.draw = what, draw
        self.started, self.shown, self._displays = time.monotonic(), 0.0, {}
        self.drawn, self.cost = -math.inf, 0.0
        self._file = os.environ.get("TEMLIB_PROGRESS")
        self.live = not self._file and "ipykernel" in sys.modules

    def at(self, share, text="", seen=None):
        """Report that a share [0, 1] of all the work is done; `text` says what is going on, `seen` has the arguments of `draw`."""
        now = time.monotonic()
        # A twentieth of the time at most goes into pictures.
        if self.draw and seen and self.live and now - self.drawn > max(1, 20 * self.cost):
            try:
                self._show("text/html", self.draw(**seen))
            except Exception as fault:  # a picture must not cost a training
                self.draw, text = None, f"{text} · not drawn: {reason(fault)}"
            self.drawn = time.monotonic()
            self.cost = self.drawn - now
        # Four lines a second are plenty for eyes, and cost nothing beside an epoch.
        if now - self.shown < 0.25:
            return
        self.shown = now
        line = f"{self.what} {100 * share:.0f} %" + (f" · {text}" if text else "")
        if share:
            line += f" · {duration((now - self.started) * (1 - share) / share)} left"
        if self._file:
            with suppress(InputError):  # a full disk must not end a training for the sake of a line
                write_text(self._file, line)
        elif self.live:
            self._show("text/plain", line)

    def done(self):
        """Say that the work is finished, and how long it took."""
        if self._file:
            Path(self._file).unlink(missing_ok=True)
        elif self._displays:
            self._show("text/plain", f"{self.what}: done in {duration(time.monotonic() - self.started)}")
        if "text/html" in self._displays:
            self._show("text/html", "")

    def _show(self, kind, content):
        from IPython.display import display

        if kind not in self._displays:
            self._displays[kind] = display({kind: content}, raw=True, display_id=True)
        else:
            self._displays[kind].update({kind: content}, raw=True)


def duration(seconds):
    """Return a time span as people read it: `0:35`, `12:05`, `3 h 07`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d}"
