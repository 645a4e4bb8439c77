"""What a worker does with a step: execute one notebook in a kernel of its own, export its page, record both.

It is given plain values and returns plain values, so that it runs in a process beside the runner or on another machine that
sees the same folders. It writes below the step's working folder alone; the runner moves what is finished to its place.
"""

import json
import logging
import os
import platform
import shutil
import tempfile
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path

from temlib import provenance
from temlib.files import InputError, file_hash, write_json, write_text
from temlib.report import html, notebook
from temlib.report.runfolder import RECORD, TOKEN

THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
# Variables that would change what a notebook does from one account to another.
ACCOUNT = (
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
    "PYTHONOPTIMIZE",
    "PYTHONIOENCODING",
    "PYTHONUTF8",
    "MPLBACKEND",
    "KERAS_HOME",
)
PAPERMILL = {"kernel_name": "python3", "language": "python", "progress_bar": False, "coalesce_streams": True}
LONGEST_SOCKET = 90  # bytes of a folder's path; the system takes 103 to 107 with the name in it
WATCHED_S = 0.5  # between two looks whether a step is still wanted
kernels = set()  # the processes of the kernels that are at work here


def execute(job):
    """Execute a step, and return its record; what is wrong with the notebook is in the record, all else is raised.

    `job` has the notebook's `source`, `notebook`, `values`, `folder` below the reports folder `reports`, `work` (the step's working
    folder), `token`, `threads` (0 for all), `limit_s` (0 for none), `parts` of its fingerprint, and names of its `former` files.
    """
    work, started = Path(job["work"]), time.monotonic()
    if not _wanted(work, job["token"]):
        raise InputError(
            f"{work}: {platform.node()} does not see this folder; workers need the reports folder on a shared disk."
        )
    attempt = work / uuid.uuid4().hex
    folder = attempt / "reports" / job["folder"]
    folder.mkdir(parents=True)
    _show_others(Path(job["reports"], job["folder"]), folder, job)
    code = _code()
    error, executed = _executed(job, work, attempt)
    if not _wanted(work, job["token"]):  # what is left of it must not be taken for a result
        shutil.rmtree(attempt, ignore_errors=True)
        raise InputError(f"{job['notebook']}: the run that wanted this was stopped.")
    seconds, target = time.monotonic() - started, folder / f"{job['notebook']}.ipynb"
    status = "failed" if error else "done"
    known = {"status": status, "seconds": round(seconds, 1), "values": job["values"]}
    executed.metadata["temlib"] = known | ({"error": error} if error else {})
    for private in ("input_path", "output_path"):
        executed.metadata.get("papermill", {}).pop(private, None)
    import nbformat

    write_text(target, nbformat.writes(executed))
    html.render(target, index="../" * (len(Path(job["folder"]).parts) - 1) + "index.html")
    files = {
        name: _state(folder / name)
        for name in _own(folder, Path(job["reports"], job["folder"]))
        if not error or Path(name).stem == job["notebook"]
    }
    record = {name: job[name] for name in ("notebook", "folder", "combination", "threads", "cores", "parts")}
    if code != _code():  # of which code the result is, nobody can tell
        record["parts"] = record["parts"] | {"code": "changed while it ran"}
    record |= {
        "status": status,
        "error": error,
        "seconds": round(time.monotonic() - started, 1),
        "files": files,
    }
    write_json(attempt / RECORD, record)
    return record | {"attempt": str(attempt)}


def _state(path):
    """Return size, time and hash of a file."""
    state = path.stat()
    return state.st_size, state.st_mtime_ns, file_hash(path)


def _code():
    """Return the hash of temlib's source as it is now."""
    return provenance.source_hash.__wrapped__()


def _wanted(work, token):
    """Return whether the runner that gave a step still wants it."""
    try:
        return (work / TOKEN).read_text() == token
    except OSError:
        return False


def _show_others(final, folder, job):
    """Show a step what others left in its folder, and for an assay beside it, as links; what is written replaces a link."""
    places = [(final, folder)]
    if folder.name == "assay":
        places.append((final.parent, folder.parent))
    former = {Path(name).parts[0] for name in job["former"]}
    for source, target in places:
        for path in source.iterdir() if source.is_dir() else ():
            own = source == final and (path.name in former or path.stem == job["notebook"])
            if path.name.startswith(".") or own or path.name == folder.name:
                continue
            try:
                (target / path.name).symlink_to(path.resolve(), target_is_directory=path.is_dir())
            except OSError:  # an account without links to names has them to files
                linked = {"copy_function": os.link} if path.is_dir() else {}
                (shutil.copytree if path.is_dir() else os.link)(path, target / path.name, **linked)


def _own(folder, final):
    """Yield the files that a step wrote in its folder, as paths relative to it, and not what it was shown there."""
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in sorted(names)):
            relative = path.relative_to(folder)
            shown = (final / relative).exists() and path.samefile(final / relative)
            if not shown and not path.is_symlink() and not relative.parts[0].startswith("."):
                yield relative.as_posix()


def _executed(job, work, attempt):
    """Execute a step's notebook; return what went wrong, "" for nothing, and the executed notebook."""
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # it would tell of kernels that died
    cells = len(json.loads(Path(job["source"]).read_text(encoding="utf-8"))["cells"])
    state = {"cell": "", "stopped": ""}

    def at_cell(cell, cell_index, **_):
        state["cell"] = f"cell {min(cell_index + 1, cells)}/{cells}"
        with suppress(InputError):
            write_text(work / "cell", state["cell"])

    partial, sockets = attempt / job["notebook"], tempfile.mkdtemp(prefix="temlib-")
    kernel_class = _kernel_class(job, attempt, state, sockets)
    kernel = {"kernel_manager_class": kernel_class, "on_cell_execute": at_cell}
    error, over = "", threading.Event()
    threading.Thread(target=_watch, args=(job, work, state, over), daemon=True).start()
    try:
        # Papermill takes braces in a path for parameters.
        source, target = (
            str(path).replace("{", "{{").replace("}", "}}") for path in (job["source"], partial)
        )
        papermill.execute_notebook(source, f"{target}.ipynb", job["values"], **kernel, **PAPERMILL)
    except papermill.PapermillExecutionError as fault:
        error = f"{fault.ename}: {fault.evalue}"
    except DeadKernelError:
        error = state["stopped"] or f"the kernel died in {state['cell']}, perhaps for want of memory"
    finally:
        over.set()
        kernels.discard(state.get("kernel"))
        shutil.rmtree(sockets, ignore_errors=True)
    return error, nbformat.read(f"{partial}.ipynb", as_version=4)


def _watch(job, work, state, over):
    """End a step's kernel when nobody wants the step any more, or when it has taken too long."""
    started, limit = time.monotonic(), job["limit_s"]
    while not over.wait(WATCHED_S):
        if not _wanted(work, job["token"]):
            state["stopped"] = "the run was stopped"
        elif limit and time.monotonic() - started > limit:
            state["stopped"] = (
                f"it was stopped in {state['cell']} after the limit of {notebook.duration(limit)}"
            )
        if state["stopped"] and "kernel" in state:
            _kill(state["kernel"])


def end_kernels():
    """Kill the kernels that are at work in this process."""
    for process in list(kernels):
        _kill(process)


def _kill(process):
    """Kill a process that may have ended."""
    with suppress(OSError):
        process.kill()


def _kernel_class(job, attempt, state, sockets):
    """Return the class of a kernel of this very interpreter at work in the notebooks' folder, heard in the folder `sockets`."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    # An account's settings of IPython, and what it wants done in every session, have no part in a report.
    work = Path(job["work"])
    places = {"TEMLIB_REPORTS": attempt / "reports", "TEMLIB_PROGRESS": work / "progress"}
    # Folds of another number of threads are not taken up: their last digits differ.
    places |= {
        "TEMLIB_RESUME": work / "resume" / f"threads={job['threads']}",
        "IPYTHONDIR": attempt / "ipython",
    }
    environment = {key: value for key, value in os.environ.items() if key not in ACCOUNT}
    environment |= {key: str(value) for key, value in places.items()}
    arguments = ["--log-level=CRITICAL", "--HistoryManager.hist_file=:memory:"]
    threads = dict.fromkeys(THREADS, str(job["cores"])) if job["cores"] else {}

    class Kernel(AsyncKernelManager):
        async def start_kernel(self, **_):
            # Without folders of kernels there is but the native one: no other of its name takes its place.
            self.kernel_spec_manager = KernelSpecManager(kernel_dirs=[])
            self.connection_file = str(attempt / "kernel.json")  # a home need not be writable
            # Ports of the machine could be taken by another kernel in the meantime, and are open to other accounts.
            if os.name == "posix" and len(os.fsencode(sockets)) < LONGEST_SOCKET:
                self.transport, self.ip = "ipc", os.path.join(sockets, "k")
            options = {"cwd": str(Path(job["source"]).parent), "env": threads | environment}
            await super().start_kernel(extra_arguments=arguments, **options)
            state["kernel"] = self.provisioner.process
            kernels.add(state["kernel"])

    return Kernel


def sees(place, token, code):
    """Return what keeps this machine from working on a run, "" for nothing: another temlib, or a folder that it does not see."""
    if provenance.source_hash() != code:
        return "it has another version of temlib"
    return "" if _wanted(Path(place), token) else f"it does not see the folder {place}"
