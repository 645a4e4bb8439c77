"""One notebook executed by papermill in a kernel of this very interpreter, watched, and kept with its HTML."""

import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from temlib import book
from temlib.files import write_json, write_text

LANES = (
    "temlib-training",
    "temlib-beside",
)  # names of the kernels in which two notebooks are executed at once


def execute(reports, step, places, lane, show):
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

    from temlib import report

    started = time.monotonic()
    target = reports / step.folder / f"{step.notebook}.ipynb"
    status, failure = "done", ""
    with tempfile.TemporaryDirectory() as scratch, _watching(step, _progress(places, lane), show) as on:
        partial = Path(scratch, "notebook.ipynb")
        try:
            papermill.execute_notebook(
                book.NOTEBOOKS / f"{step.notebook}.ipynb", partial, step.values, kernel_name=lane, language="python",
                progress_bar=False, coalesce_streams=True, on_cell_execute=on,
            )  # fmt: skip
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
    write_text(target.with_suffix(".html"), report.html(executed, name=step.notebook, index=_way_up(step)))


def _way_up(step):
    return "../" * (len(step.folder.parts) - 1) + "index.html"


@contextlib.contextmanager
def kernels(reports):
    """Give the kernels this very interpreter, the reports folder, a file for their progress and the notebooks' folder."""
    argv = [sys.executable, "-m", "ipykernel_launcher", "--log-level=CRITICAL", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3", "language": "python"}
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(book.NOTEBOOKS):
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
    total = len(json.loads((book.NOTEBOOKS / f"{step.notebook}.ipynb").read_text(encoding="utf-8"))["cells"])

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
