"""What every notebook does first: check its parameters, find its folder, show that work goes on.

The same notebook runs under the runner, under plain papermill and in JupyterLab. `begin` makes the three alike: it
checks the values against the notebook's own declarations and finds the run's folder from the checkout, never from the
working directory.
"""

import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from temlib.files import InputError, replacing
from temlib.report import parameters

CHECKOUT = Path(__file__).resolve().parents[2]
NOTEBOOKS = CHECKOUT / "notebooks"


def reports_folder():
    """Give the folder that holds the runs: `reports/` of the checkout, or TEMLIB_REPORTS where that is set."""
    return Path(os.environ.get("TEMLIB_REPORTS") or CHECKOUT / "reports")


def find_particles(source, *folders):
    """Find the data set that a `particles:` value names.

    Parameters
    ----------
    source : str
        `simulated`, or a path. A relative path is looked for in `folders`, in the working directory, and in the
        checkout, in this order.
    *folders : Path
        Further places to look in first, such as the folder of the parameter file.

    Returns
    -------
    str
        `simulated` or the absolute path.

    Raises
    ------
    InputError
        If nothing of that name is in any of these places.
    """
    if source == "simulated":
        return source
    return find_file("particles", source, *folders, instead="neither 'simulated' nor a file or folder")


def find_file(parameter, source, *folders, instead="no file or folder"):
    """Find what a path-valued parameter names, as `find_particles` does; `instead` says what it is not."""
    places = [Path(folder) for folder in (*folders, Path.cwd(), CHECKOUT)]
    for place in places:
        found = place / Path(source).expanduser()
        if found.exists():
            return str(found.resolve())
    looked = ", ".join(dict.fromkeys(str(place.resolve()) for place in places))
    raise InputError(f"{parameter}: '{source}' is {instead} (looked in {looked}); correct the path.")


@dataclass(frozen=True)
class Book:
    """One notebook at work: its name, its checked parameter values, and the folder that it reads and writes."""

    name: str
    values: dict
    folder: Path
    started: float = field(default_factory=time.monotonic)

    def path(self, name):
        """Give the path of the run's file `name`."""
        return self.folder / name

    def table(self, name, *, first):
        """Read the run's CSV file `name`, which the notebook `first` writes.

        Parameters
        ----------
        name : str
            Such as `predictions.csv`.
        first : str
            The notebook that writes it, for the message when the file is missing.

        Returns
        -------
        DataFrame
            Particle and micrograph names stay text, whatever they look like.
        """
        path = self.path(name)
        if not path.exists():
            raise InputError(
                f"{path.name} is missing from the run '{self.values['run']}'; run the notebook {first} first, "
                f"with the same value of 'run'."
            )
        text = dict.fromkeys(("particle", "micrograph", "truth", "predicted"), str)
        return pd.read_csv(path, dtype=text, keep_default_na=True, na_values=[""])

    def json(self, name, *, first):
        """Read the run's JSON file `name`, which the notebook `first` writes."""
        if not self.path(name).exists():
            raise InputError(
                f"{name} is missing from the run '{self.values['run']}'; run the notebook {first} first."
            )
        return json.loads(self.path(name).read_text(encoding="utf-8"))

    def wrote(self, *names):
        """Say which files of the run this notebook has written, as a table with sizes."""
        rows = [(name, f"{self.path(name).stat().st_size / 1e3:,.0f}") for name in names]
        return pd.DataFrame(rows, columns=["file", "size (kB)"])


def begin(name, values):
    """Check the parameters of a notebook and find its folder.

    Parameters
    ----------
    name : str
        The notebook, such as `1_explore`.
    values : dict
        The notebook's `globals()`.

    Returns
    -------
    Book

    Raises
    ------
    InputError
        If a parameter's type or range does not fit, or papermill handed over one that the notebook does not declare.
    """
    declared = parameters.declared(NOTEBOOKS / f"{name}.ipynb")
    checked = {key: parameter.check(values[key], name) for key, parameter in declared.items()}
    run = Path(checked["run"])
    if ".." in run.parts or run.is_absolute() or not run.parts:
        raise InputError(
            f"{name}: 'run' names a folder below reports/, such as 'scratch', but is {checked['run']!r}."
        )
    if "particles" in checked:
        checked["particles"] = find_particles(checked["particles"])
    if checked.get("predictions"):
        checked["predictions"] = find_file("predictions", checked["predictions"])
    from temlib import figures

    figures.set_style()
    folder = reports_folder() / run
    folder.mkdir(parents=True, exist_ok=True)
    return Book(name, checked, folder)


class Progress:
    """Say how far long work has come: to the runner's line, or as one updated line in JupyterLab.

    Parameters
    ----------
    what : str
        The work, such as `training`.
    total : int
        Number of steps.

    Notes
    -----
    The runner names a file in TEMLIB_PROGRESS and reads it; nothing is left in the report. In JupyterLab the one line
    shows the time that is left.
    """

    def __init__(self, what, total):
        self.what, self.total = what, max(int(total), 1)
        self.started, self.shown, self._display = time.monotonic(), 0.0, None
        self._file = os.environ.get("TEMLIB_PROGRESS")

    def at(self, step, text=""):
        """Report that `step` steps of the total are done; `text` says what is going on."""
        now = time.monotonic()
        # Four lines a second are plenty for eyes, and cost nothing beside an epoch.
        if now - self.shown < 0.25 and step < self.total:
            return
        self.shown = now
        left = (now - self.started) / max(step, 1e-9) * (self.total - step) if step else None
        line = f"{self.what} {step:g}/{self.total}" + (f" · {text}" if text else "")
        line += f" · {duration(left)} left" if left is not None else ""
        if self._file:
            with replacing(self._file) as temporary:
                temporary.write_text(line, encoding="utf-8")
        elif "ipykernel" in sys.modules:
            self._show(line)

    def done(self):
        """Say that the work is finished, and how long it took."""
        self.shown = 0.0
        if self._file:
            Path(self._file).unlink(missing_ok=True)
        elif self._display is not None:
            self._show(f"{self.what}: done in {duration(time.monotonic() - self.started)}")

    def _show(self, line):
        from IPython.display import display

        content = {"text/plain": line}
        if self._display is None:
            self._display = display(content, raw=True, display_id=True)
        else:
            self._display.update(content, raw=True)


def duration(seconds):
    """Write a time span as people read it: `0:35`, `12:05`, `3 h 07`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d}"
