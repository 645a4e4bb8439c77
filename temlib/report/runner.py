"""From parameter files to executed notebooks and reports.

A run is one parameter file. Each notebook runs once per combination of the matrix parameters that it, or a notebook
whose files it reads, declares. What is finished and unchanged (parameters, notebook, temlib, data) is kept.

One notebook executed by papermill in a kernel of this very interpreter, watched, and kept with its HTML.
"""

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import yaml

from temlib import provenance
from temlib.files import InputError, nearest, write_csv, write_json, write_text
from temlib.report import notebook, parameters

# What a notebook reads of an earlier one; it then runs in that one's folders, and not at all where that one failed.
READS = {"4_evaluate": "3_train"}
# These take all cores, and the accelerator where there is one: one at a time. The others run beside them.
TRAIN = ("3_train",)
# Notebooks that are run when a parameter file names them: they need several trainings, or new samples.
ON_REQUEST = ("5_compare", "6_assay")
# Tables that the combinations write and that are joined in the run's own folder.
JOINED = ("measures.csv", "comparisons.csv", "predictions.csv", "history.csv", "costs.csv", "label_audit.csv")


@dataclass
class Step:
    """One notebook with one combination of matrix parameters."""

    notebook: str
    combination: dict
    values: dict
    folder: Path  # the run's folder, relative to the reports folder
    status: str = "waiting"
    seconds: float = 0.0
    error: str = ""
    fingerprint: str = field(default="", repr=False)

    @property
    def label(self):
        """Name the step as people see it, such as `3_train task=lamellarity`."""
        return " ".join([self.notebook, *(f"{key}={value}" for key, value in self.combination.items())])


def declarations():
    """Read what each notebook declares, in the order in which they run."""
    return {path.stem: parameters.declared(path) for path in sorted(notebook.NOTEBOOKS.glob("[0-9]_*.ipynb"))}


def check(files, *, changes=()):
    """Read and check parameter files, and the data that they name, before anything is run.

    Parameters
    ----------
    files : sequence of Path
    changes : sequence of (str, str)
        The `--set` pairs.

    Returns
    -------
    list of Settings

    Raises
    ------
    InputError
        For the first thing that cannot work.
    """
    declared = declarations()
    checked = [parameters.read(path, declared, changes=changes) for path in files]
    names = [settings.run for settings in checked]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"{name}: two of the files have this name, and a run is named after its file; rename one."
            )
    for settings in checked:
        _check_models(settings, declared)
        _check_data(settings, declared)
    return checked


def _effective(settings, declared, names):
    """Give the values that the parameters `names` take, one dict per combination of the matrix."""
    defaults = {key: p.default for notebook in declared.values() for key, p in notebook.items()}
    fixed = {name: settings.values.get(name, defaults.get(name)) for name in names}
    return [fixed | combination for combination in settings.combinations(names)]


def _check_models(settings, declared):
    from temlib import train

    for values in _effective(settings, declared, ("models", "primary")):
        train.check_models(values["models"], values["primary"], where=settings.path)


def _check_data(settings, declared):
    """Open the user's own data once as the notebooks will, so that a fault shows before any kernel starts."""
    from temlib import data

    source = settings.values.get("particles", "simulated")
    names = ("particles", "task", "folds", "scale", "pixel_nm", "input_size")
    for values in _effective(settings, declared, names):
        values["particles"] = notebook.find_particles(values["particles"], settings.path.parent)
        if values["particles"] != "simulated":
            data.check(**values)
    if source != "simulated":
        settings.values["particles"] = notebook.find_particles(source, settings.path.parent)
    if settings.values.get("predictions"):
        found = notebook.find_file("predictions", settings.values["predictions"], settings.path.parent)
        settings.values["predictions"] = found


def plan(settings, declared, *, only=()):
    """List the steps of a run in their order.

    Parameters
    ----------
    settings : Settings
    declared : dict
        What `declarations` gives.
    only : sequence of str
        Notebooks to run, by name or by the beginning of it; empty runs those of the file, or all but `ON_REQUEST`.

    Returns
    -------
    list of Step
    """
    chosen = settings.notebooks or [name for name in declared if name not in ON_REQUEST]
    if only:
        for wanted in only:
            if not any(name.startswith(wanted) for name in declared):
                hint = nearest(wanted, declared) or f"; there are {', '.join(declared)}"
                raise InputError(f"--only: there is no notebook '{wanted}'{hint}.")
        chosen = [name for name in declared if any(name.startswith(wanted) for wanted in only)]
    steps = []
    for name in chosen:
        axes = set(declared[name]) | set(declared.get(READS.get(name), ()))
        for combination in settings.combinations(axes):
            given = {**settings.values, **combination}
            folder = Path(settings.run, *(f"{key}={value}" for key, value in combination.items()))
            values = {key: value for key, value in given.items() if key in declared[name]}
            steps.append(Step(name, combination, values | {"run": folder.as_posix()}, folder))
    return steps


def execute(settings, *, only=(), output=None, force=False, show=None):
    """Run the notebooks of one parameter file and write their reports.

    Parameters
    ----------
    settings : Settings
        What `check` gave.
    only : sequence of str
        Notebooks to run; see `plan`.
    output : Path, optional
        Folder that stands in for `reports/`.
    force : bool
        Run again what is finished and unchanged.
    show : callable, optional
        Gets (step, text) whenever there is something new to say.

    Returns
    -------
    list of Step
        With status `done`, `kept`, `failed` or `skipped`.
    """
    reports = Path(output).resolve() if output else notebook.reports_folder()
    folder = reports / settings.run
    if folder.exists() and any(folder.iterdir()) and not (folder / "parameters.yaml").exists():
        raise InputError(
            f"{folder}: this folder is not a run of temlib; empty it, or choose another with --output."
        )
    steps = plan(settings, declarations(), only=only)
    write_text(folder / "parameters.yaml", _as_yaml(settings))
    started = time.time()

    def finish(step):
        upstream = _upstream(step, steps)
        if step.notebook in ON_REQUEST:
            _join(folder, settings, steps)  # what it reads is the combinations' tables together
        _fingerprint(step, upstream)
        if step.notebook in ON_REQUEST:
            _fingerprint_tables(step, folder)
        lane = LANES[step.notebook not in TRAIN]
        if any(s.status in ("failed", "skipped") for s in upstream):
            step.status, step.error = "skipped", f"{upstream[0].notebook} failed before it"
        elif not force and _is_unchanged(reports, step):
            step.status = "kept"
        else:
            _execute_notebook(reports, step, scratch, lane, show or (lambda step, text: None))
        if show:
            show(step, "")

    with kernels(reports) as scratch:
        _in_two_lanes(steps, finish)
    _join(folder, settings, steps)
    _finish(reports, folder, steps, started)
    return steps


def _upstream(step, steps):
    """Give the steps whose files a step reads."""
    return [s for s in steps if s.notebook == READS.get(step.notebook) and s.folder == step.folder]


def _in_two_lanes(steps, finish):
    """Finish the steps that train, in this thread, and the others beside them in another; what reads all of them comes last.

    Most of a report is one core's work: kernels that start, figures, HTML. Beside a training it costs little time.
    """
    last = [step for step in steps if step.notebook in ON_REQUEST]
    main = [step for step in steps if step.notebook in TRAIN]
    beside = [step for step in steps if step not in main and step not in last]
    # What waits for a training does not hold up what need not.
    beside.sort(key=lambda step: step.notebook in READS)
    ended, given_up, failed = {id(step): threading.Event() for step in main}, threading.Event(), []

    def work():
        try:
            for step in beside:
                for other in _upstream(step, main):
                    ended[id(other)].wait()
                if given_up.is_set():
                    return
                finish(step)
        except BaseException as error:  # the first thread raises it
            failed.append(error)

    # A thread of its own that does not outlive an interruption: an executor would wait for it.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        for step in main:
            finish(step)
            ended[id(step)].set()
        thread.join()
    except BaseException:
        given_up.set()
        for event in ended.values():
            event.set()
        raise
    if failed:
        raise failed[0]
    for step in last:
        finish(step)


def _as_yaml(settings):
    content = dict(settings.values)
    if settings.notebooks:
        content["notebooks"] = list(settings.notebooks)
    if settings.matrix:
        content["matrix"] = settings.matrix
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True) if content else "# all defaults\n"


def _fingerprint(step, upstream):
    """Identify everything that the step's result depends on."""
    seen = hashlib.sha256(provenance.source_hash().encode())
    seen.update((notebook.NOTEBOOKS / f"{step.notebook}.ipynb").read_bytes())
    seen.update(json.dumps(step.values, sort_keys=True).encode())
    source = Path(step.values.get("particles", "simulated"))
    foreign = [Path(step.values["predictions"])] if step.values.get("predictions") else []
    for path in [*foreign, *sorted(source.parent.rglob("*") if source.is_file() else source.rglob("*"))]:
        state = path.stat()
        seen.update(f"{path} {state.st_size} {state.st_mtime_ns}".encode())
    for other in upstream:
        seen.update(other.fingerprint.encode())
    step.fingerprint = seen.hexdigest()


def _fingerprint_tables(step, folder):
    """Let a step that reads the joined tables depend on what is in them."""
    seen = hashlib.sha256(step.fingerprint.encode())
    for name in JOINED:
        if (folder / name).exists():
            seen.update((folder / name).read_bytes())
    step.fingerprint = seen.hexdigest()


def _is_unchanged(reports, step):
    path = reports / step.folder / f"{step.notebook}.ipynb"
    if not (path.exists() and path.with_suffix(".html").exists()):
        return False
    stored = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("temlib", {})
    return stored.get("fingerprint") == step.fingerprint


def _join(folder, settings, steps):
    """Join the combinations' tables in the run's own folder, with a column per matrix parameter."""
    if not settings.matrix:
        return
    parts = {step.folder: step.combination for step in steps if step.combination}
    for name in JOINED:
        tables = []
        for relative, combination in parts.items():
            path = folder.parent / relative / name
            if path.exists():
                table = pd.read_csv(path, dtype={"particle": str, "micrograph": str}, low_memory=False)
                extra = {key: value for key, value in combination.items() if key not in table}
                tables.append(table.assign(**{key: str(value) for key, value in extra.items()}))
        if tables:
            write_csv(folder / name, pd.concat(tables, ignore_index=True))


def _finish(reports, folder, steps, started):
    """Write where the run came from, its index, and the index over all runs."""
    from temlib.report import html

    content = provenance.describe() | {
        "started": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started)),
        "seconds": round(time.time() - started, 1),
        "notebooks": [
            {
                "notebook": step.notebook,
                "combination": step.combination,
                "folder": step.folder.as_posix(),
                "status": step.status,
                "seconds": round(step.seconds, 1),
                "error": step.error,
            }
            for step in steps
        ],
    }
    path = folder / "provenance.json"
    if path.exists():
        content = _with_earlier(content, json.loads(path.read_text(encoding="utf-8")))
    write_json(path, content)
    html.write_run_index(folder)
    html.write_index(reports)


def _with_earlier(content, earlier):
    """Keep what an earlier call said of notebooks that this one left out, and how long the kept ones took."""
    known = {(n["notebook"], n["folder"]): n for n in earlier.get("notebooks", [])}
    for entry in content["notebooks"]:
        before = known.pop((entry["notebook"], entry["folder"]), None)
        if before and entry["status"] == "kept":
            entry["seconds"] = before["seconds"]
    content["notebooks"] = sorted(
        [*content["notebooks"], *known.values()], key=lambda n: (n["notebook"], n["folder"])
    )
    return content


LANES = (
    "temlib-training",
    "temlib-beside",
)  # names of the kernels in which two notebooks are executed at once


def _execute_notebook(reports, step, places, lane, show):
    """Execute one notebook, keep it and its HTML, also when it failed half-way.

    Parameters
    ----------
    reports : Path
    step : run.Step
        Gets its `status`, `error` and `seconds`.
    places : str
        What `kernels` gave.
    lane : str
        One of `LANES`; two notebooks may be executed at once in different ones.
    show : callable
        Gets (step, text) while the notebook is at work.
    """
    import nbformat
    import papermill

    from temlib.report import html

    started = time.monotonic()
    target = reports / step.folder / f"{step.notebook}.ipynb"
    status, failure = "done", ""
    with tempfile.TemporaryDirectory() as scratch, _watching(step, _progress(places, lane), show) as on:
        partial = Path(scratch, "notebook.ipynb")
        try:
            papermill.execute_notebook(
                notebook.NOTEBOOKS / f"{step.notebook}.ipynb",
                partial,
                step.values,
                kernel_name=lane,
                language="python",
                progress_bar=False,
                coalesce_streams=True,
                on_cell_execute=on,
            )
        except papermill.PapermillExecutionError as error:
            status, failure = "failed", f"{error.ename}: {error.evalue}"
        executed = nbformat.read(partial, as_version=4)
    # Said only now that nobody watches any more: the watcher would announce the end a second time.
    step.status, step.error, step.seconds = status, failure, time.monotonic() - started
    details = {
        "fingerprint": step.fingerprint if step.status == "done" else "",
        "seconds": round(step.seconds, 1),
    }
    executed.metadata["temlib"] = details | {"status": step.status, "values": step.values}
    for private in ("input_path", "output_path"):
        executed.metadata.get("papermill", {}).pop(private, None)
    write_text(target, nbformat.writes(executed))
    write_text(target.with_suffix(".html"), html.html(executed, name=step.notebook, index=_way_up(step)))


def _way_up(step):
    return "../" * (len(step.folder.parts) - 1) + "index.html"


@contextlib.contextmanager
def kernels(reports):
    """Give the kernels this very interpreter, the reports folder, a file for their progress and the notebooks' folder."""
    argv = [sys.executable, "-m", "ipykernel_launcher", "--log-level=CRITICAL", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3", "language": "python"}
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(notebook.NOTEBOOKS):
        for lane in LANES:
            own = {"env": {"TEMLIB_PROGRESS": str(_progress(scratch, lane))}}
            write_json(Path(scratch, "kernels", lane, "kernel.json"), spec | own)
        changed = {
            "JUPYTER_PATH": os.pathsep.join(filter(None, [scratch, os.environ.get("JUPYTER_PATH")])),
            "TEMLIB_REPORTS": str(reports),
        }
        before = {key: os.environ.get(key) for key in changed}
        os.environ.update(changed)
        try:
            yield scratch
        finally:
            for key, value in before.items():
                os.environ.pop(key) if value is None else os.environ.__setitem__(key, value)


def _progress(places, lane):
    """Name the file in which a notebook says how far it has come."""
    return Path(places, f"{lane}.progress")


@contextlib.contextmanager
def _watching(step, progress, show):
    """Yield the hook that papermill calls at each cell, while a thread shows the cell and the kernel's own progress."""
    progress.unlink(missing_ok=True)  # of a notebook that failed
    cells, ended = [0], threading.Event()
    total = len(
        json.loads((notebook.NOTEBOOKS / f"{step.notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    )

    def on_cell(cell, cell_index, **_):
        cells[0] = cell_index + 1

    def watch():
        while not ended.wait(0.3):
            try:
                text = progress.read_text(encoding="utf-8")
            except OSError:
                text = ""
            show(step, f"cell {min(cells[0], total)}/{total}" + (f" · {text}" if text else ""))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield on_cell
    finally:
        ended.set()
        thread.join()
