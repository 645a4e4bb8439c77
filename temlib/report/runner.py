"""From parameter files to executed notebooks and reports.

A run is one parameter file. Each notebook runs once per combination of the matrix parameters that it, or a notebook
whose files it reads, declares; such a run of a notebook is a `Step`. What is finished and unchanged (parameters,
notebook, temlib, data) is kept. Papermill executes a notebook in a kernel of this same interpreter.
"""

import functools
import hashlib
import itertools
import json
import logging
import os
import re
import tempfile
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import yaml

from temlib import provenance
from temlib.files import InputError, check_writable, read_csv, shown, write_csv, write_json, write_text
from temlib.report import html, notebook, onefile, parameters

# What a notebook reads of an earlier one; it then runs in that one's folders, and not at all where that one failed.
READS = {"4_evaluate": "3_train"}
# The new sample of `assay:` in a parameter file: so many particles where it is simulated.
SAMPLE = 400
# These take all cores, or the accelerator where there is one. The others run beside them.
TRAIN = ("3_train",)
# How the user's table is read, beside its path.
TABLE = ("data_folder", "micrograph", "names", "skip_bad")
# What is shown once for a run, with every task: of those in the matrix the first is the declared one there.
ONCE = {"1_explore": {"task"}}
# So many of them train side by side where there is no accelerator, with the cores divided among them: on two cores two
# trainings of one thread each take about two thirds of the time that they take one after the other. Each needs about 1 GB.
SIDE_BY_SIDE = 2
ACCELERATOR = Path("/dev/nvidia0")
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
# Notebooks that are run when a parameter file names them: they need several trainings, or new samples.
ON_REQUEST = ("5_compare", "6_assay")
# Tables that the combinations write and that are joined in the run's own folder.
JOINED = ("measures.csv", "comparisons.csv", "predictions.csv", "history.csv", "costs.csv", "label_audit.csv")
LONGEST = 120  # bytes of a folder's name for a value
# What decides whether the data can be read, and whether the folds can be made: what `check` asks before a run.
FOLDS = ("folds", "seed", "labels", "labels_from", "unsure")
ASKED = (
    "particles",
    "scale",
    "pixel_nm",
    "input_size",
    "task",
    "models",
    "primary",
    "weights",
    "bundle",
    "predictions",
    "accept",
    "classes",
    "merge",
    *FOLDS,
    *TABLE,
)
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


@dataclass
class Step:
    """One notebook with one combination of matrix parameters."""

    notebook: str
    combination: dict
    values: dict
    folder: Path  # the run's folder, relative to the reports folder
    reads: "Step | None" = field(default=None, repr=False)  # the one whose files it reads
    status: str = "waiting"  # then running, and in the end done, kept, failed, skipped or interrupted
    seconds: float = 0.0
    error: str = ""
    fingerprint: str = field(default="", repr=False)
    threads: int = field(default=0, repr=False)  # that it computes with, where it is not alone
    cell: str = field(default="", repr=False)  # the cell that is executed, such as `cell 5/20`
    progress: Path = field(default=Path(), repr=False)  # where the kernel writes how far it has come
    kernel: object = field(default=None, repr=False)  # the last one that was started for it

    @property
    def label(self):
        """The step as people see it, such as `3_train task=lamellarity`."""
        return " ".join(
            [self.notebook, *(f"{key}={shown(value)}" for key, value in self.combination.items())]
        )

    @property
    def own(self):
        """Whether it is the assay of the run's own sample, by its own model."""
        return self.folder.name == "assay" and self.notebook == "6_assay"

    @property
    def source(self):
        """The notebook's file."""
        return notebook.NOTEBOOKS / f"{self.notebook}.ipynb"

    @property
    def doing(self):
        """What is done at this moment, such as `cell 5/20 · training 7/36 · 0:40 left`."""
        try:
            return f"{self.cell} · {self.progress.read_text(encoding='utf-8')}"
        except OSError:  # nothing is written there
            return self.cell


def declarations():
    """Return what each notebook declares, in the order in which they run."""
    return {path.stem: parameters.declared(path) for path in sorted(notebook.NOTEBOOKS.glob("[0-9]_*.ipynb"))}


def check(files, *, changes=(), only=(), output=None, content=None):
    """Return the `Settings` of each parameter file, after all questions that its notebooks will ask before they compute.

    They ask them of the same functions, so that a fault shows before any kernel starts: whether data, models and folds fit,
    and whether what comes out can be written. `changes` holds key and YAML value of each `--set`; for `only` and `output`
    see `execute`; `content` stands for that of a file, which then need not exist.
    """
    from temlib import data

    declared = declarations()
    defaults = {key: p.default for cell in declared.values() for key, p in cell.items()}
    checked = [parameters.read(path, declared, changes=changes, content=content) for path in files]
    runs = [parameters.folded(settings.run) for settings in checked]
    for settings, run in zip(checked, runs):
        if runs.count(run) > 1:
            same = "two of the files have this name, whatever its capitals, and a run is named after its file"
            raise InputError(f"{settings.run}: {same}; rename one.")
        settings.values.update(notebook.with_paths(settings.values, settings.path.parent))
        steps = plan(settings, only=only)
        _place(settings, steps, output)
        asked, opened = [], functools.cache(lambda values: data.open(**json.loads(values)))
        for step in steps:
            names = [name for name in declared[step.notebook] if name in ASKED]
            values = {name: step.values.get(name, defaults[name]) for name in names}
            values |= {"every": step.notebook in ONCE, "own": step.own}
            # What is demanded of a training's result is about the classes that are learnt.
            demands = [other.values.get("accept") for other in steps if other.reads is step and not other.own]
            values |= {"accept": demands[0] or {}} if demands else {}
            if values not in asked:
                asked.append(values)
                _ask(values, settings.path, opened)
    return checked


def _ask(values, where, opened):
    """Ask what a notebook with these parameters asks first; `opened` opens each data set once, by its values as JSON."""
    from temlib import assay, data, train

    def given(*names):
        return {name: values[name] for name in names if name in values}

    if values["own"]:
        if values["particles"] != "simulated":
            opened(json.dumps({"source": values["particles"]} | given(*TABLE)))
        return
    if "bundle" in values:
        bundle = train.load(values["bundle"], models=False)
        assay.correction(bundle)
        assay.parse_criteria(values["accept"], bundle.card["classes"])
        if values["particles"] != "simulated":
            bundle.check(bundle.open(values["particles"], **given(*TABLE)))
        return
    models, source, task = (values.get(name) for name in ("models", "particles", "task"))
    choice, settings = given("unsure", "classes", "merge"), train.Settings(**given(*FOLDS))
    if values.get("predictions") or values.get("accept"):
        from temlib import evaluate  # it takes half a second

        evaluate.parse_criteria(values["accept"])
        if values.get("predictions"):
            evaluate.check_external(data.read_table(values["predictions"], numeric="p_"))
    if models:
        train.check_models(models, values["primary"], input_size=values["input_size"], where=where)
    # The card alone, since a network in this process would hold memory that the notebooks need.
    weights = values.get("weights") or None
    weights = weights and train.load(weights, task=task, models=False)
    if weights and models:
        weights.check_models(models, settings.folds)
    if source == "simulated" and task is not None:
        # Such particles fit by themselves, and take long to make.
        known = data.check_simulated(task, **choice)
        if values.get("accept"):
            evaluate.parse_criteria(values["accept"], known)
    if source in (None, "simulated"):
        return
    table = given("scale", "pixel_nm", "input_size", "task", "classes", *TABLE)
    dataset = opened(json.dumps({"source": source} | table))
    if models:
        train.check_models(models, values["primary"], input_size=dataset.images.shape[-1], where=where)
        labelled = dataset.labelled(task, folds=settings.folds, **choice)
        train.check_folds(labelled, task, models, settings, weights)
        if values.get("accept"):
            known = sorted(labelled.definite(task, choice["unsure"]).table[task].unique())
            evaluate.parse_criteria(values["accept"], known)
    if values["every"]:
        dataset = dataset.relabelled(**choice)
        for every in dataset.tasks:
            data.split(dataset.definite(every, choice["unsure"]).table, every, folds=2, seed=settings.seed)


def resolution(settings):
    """Return sentences on what the images of a run, of the first seed, can resolve and what they cut off.

    Those of an assay are as its bundle wants them.
    """
    from temlib import data

    if settings.notebooks == ("6_assay",):
        return []
    names = ["particles", "count", "scale", "pixel_nm", "input_size", "unsure", "classes", "merge", *TABLE]
    seed = next(_given(settings, ["seed"]))["seed"]
    tasks = [values["task"] for values in _given(settings, ["task"])]
    found = (data.resolution(tasks, **values, seed=seed) for values in _given(settings, names))
    return list(dict.fromkeys(sentence for sentences in found for sentence in sentences))


def _given(settings, names):
    """Yield the values of the parameters `names` in each combination, defaults where the file gives none."""
    defaults = {key: p.default for cell in declarations().values() for key, p in cell.items()}
    fixed = {name: settings.values.get(name, defaults[name]) for name in names}
    for combination in settings.combinations(names):
        yield notebook.with_paths(fixed | combination, settings.path.parent)


def plan(settings, *, only=()):
    """Return the steps of a run in their order.

    `only` gives the beginnings of the notebooks' names; without it, they are those of the file, or all but `ON_REQUEST`. Where
    the file names a sample by `assay`, notebook 6 has a folder beside each notebook 3, whose primary model it applies.
    """
    declared, sample = declarations(), settings.values.get("assay")
    chosen = [*(settings.notebooks or (name for name in declared if name not in ON_REQUEST))]
    chosen += ["6_assay"] * bool(sample)
    for wanted in only:
        if not any(name.startswith(wanted) for name in declared):
            parameters.refuse_notebook(wanted, declared, "--only")
    if only:
        chosen = [name for name in declared if name.startswith(tuple(only))]
    steps = []
    for name in sorted(set(chosen)):
        own = bool(sample) and name == "6_assay"
        read = "3_train" if own else READS.get(name)
        first = {key: values[0] for key, values in settings.matrix.items()}
        once = ONCE.get(name, set())
        for combination in settings.combinations({*declared[name], *declared.get(read, ())} - once):
            given = notebook.with_paths(settings.values | first | combination, settings.path.parent)
            combination = {key: parameters.written(value) for key, value in combination.items()}
            folder = Path(settings.run, *itertools.starmap(_folder, combination.items()))
            values = {key: value for key, value in given.items() if key in declared[name]}
            reads = next((step for step in steps if step.notebook == read and step.folder == folder), None)
            if own:
                folder, values = folder / "assay", _of_sample(values, given["assay"])
            steps.append(Step(name, combination, values | {"run": folder.as_posix()}, folder, reads))
    return steps


def _of_sample(values, sample):
    """Return the values of notebook 6 for a run's own sample; what is to be reached is demanded of the run's models."""
    values = {key: value for key, value in values.items() if key != "accept"} | {"particles": sample}
    if sample == "simulated":  # another study than the one learnt from
        values |= {"count": SAMPLE, "seed": values.get("seed", 1) + 1}
    return values


def _folder(key, value):
    """Return the name of the folder for a value, such as `task=lamellarity`; what some disk does not take becomes %2F."""
    text = re.sub(r'[\x00-\x1f/\\:*?"<>|%#]|[ .]$', lambda found: f"%{ord(found[0]):02X}", str(value))
    if len(text.encode()) > LONGEST:
        text = f"{text[:20]}~{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return f"{key}={text}"


def _place(settings, steps, output):
    """Return the folder of a run, after a look whether its files can be written there."""
    reports = Path(output).resolve() if output else notebook.reports_folder()
    folder = reports / settings.run
    for path in (
        reports / "index.html",
        folder / "index.html",
        onefile.path_of(folder),
        *(reports / s.folder / s.source.name for s in steps),
    ):
        check_writable(path)
    if folder.exists() and any(folder.iterdir()) and not (folder / "parameters.yaml").exists():
        cure = "empty it, or choose another with --output"
        raise InputError(f"{folder}: this folder is not a run of temlib; {cure}.")
    return folder


def execute(settings, *, only=(), output=None, force=False, show=lambda step: None):
    """Run the notebooks of one parameter file, write their reports, and return the steps with their status.

    The folder `output` replaces `reports/`; `force` also runs again what is finished and unchanged; `show` gets each step
    when it begins and when it ends, from the thread that it runs in. For `only` see `plan`.
    """
    steps = plan(settings, only=only)
    folder = _place(settings, steps, output)
    reports = folder.parent
    write_text(folder / "parameters.yaml", _as_yaml(settings))
    started = time.time()

    def finish(step, before):
        for future in before:
            future.result()  # raises what it raised
        if step.notebook in ON_REQUEST:
            join_tables(folder, steps)
        step.fingerprint = fingerprint(step, folder)
        if step.reads and step.reads.status == "failed":
            step.status, step.error = "skipped", f"{step.reads.notebook} failed before it"
        elif not force and _is_unchanged(reports, step):
            step.status = "kept"
        else:
            step.status = "running"
            show(step)
            _execute_notebook(reports, step)
        show(step)

    _in_lanes(steps, finish)
    join_tables(folder, steps)
    _write_origin(folder, steps, started)
    return steps


def _as_yaml(settings):
    """Return checked settings as the text of a parameter file."""
    asked = {"notebooks": list(settings.notebooks), "matrix": settings.matrix}
    content = settings.values | {key: value for key, value in asked.items() if value}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True) if content else "# all defaults\n"


def _in_lanes(steps, finish):
    """Finish the steps that train in one or two threads and the others beside them in another, `ON_REQUEST` last.

    Most of a report is one core's work: kernels that start, figures, HTML. Beside a training it costs little time.
    The first error of a step, or Ctrl-C, ends the run and all its kernels.
    """
    trainings, cores = [step for step in steps if step.notebook in TRAIN], os.cpu_count() or 1
    lanes = 1 if ACCELERATOR.exists() else max(1, min(SIDE_BY_SIDE, len(trainings), cores))
    for step in trainings:
        step.threads = cores // lanes if lanes > 1 else 0
    ended = {}  # the future of each step
    with ThreadPoolExecutor(lanes) as training, ThreadPoolExecutor(1) as beside:
        try:
            # What waits for a training does not hold up what need not.
            for step in sorted(steps, key=lambda step: (step.notebook in ON_REQUEST, step.notebook in READS)):
                before = list(ended.values()) if step.notebook in ON_REQUEST else []
                if step.reads:
                    before = [ended[step.reads.label]]
                lane = training if step.notebook in TRAIN else beside
                ended[step.label] = lane.submit(finish, step, before)
            left = set(ended.values())
            while left:
                # Windows hears Ctrl-C only between two waits.
                done, left = wait(left, timeout=1, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
        except BaseException:
            for future in ended.values():
                future.cancel()
            logging.getLogger("papermill").setLevel(logging.CRITICAL)  # it would report that kernels died
            while any(future.running() for future in ended.values()):
                for step in steps:
                    step.status = "interrupted"
                    if step.kernel and step.kernel.has_kernel:
                        step.kernel.provisioner.process.kill()
                time.sleep(0.1)
            raise


def fingerprint(step, folder):
    """Return a hash of all that a step's result depends on: code, notebook, values, data, step and tables that it reads."""
    seen = hashlib.sha256(provenance.source_hash().encode())
    seen.update(step.source.read_bytes())
    seen.update(json.dumps(step.values, sort_keys=True).encode())
    source = Path(step.values.get("particles", "simulated"))
    folders = [source.parent if source.is_file() else source, *filter(None, [step.values.get("data_folder")])]
    paths = [path for folder in folders for path in sorted(Path(folder).rglob("*"))]
    if step.values.get("predictions"):
        paths.insert(0, Path(step.values["predictions"]))
    for name in filter(step.values.get, ("bundle", "weights")):
        from temlib import train  # it takes a second

        paths += sorted(train.find_bundle(step.values[name], step.values.get("task", "")).glob("*.json"))
    for path in paths:
        state = path.stat()
        seen.update(f"{path} {state.st_size} {state.st_mtime_ns}".encode())
    if step.reads:
        seen.update(step.reads.fingerprint.encode())
    if step.notebook in ON_REQUEST and not step.reads:
        for path in filter(Path.exists, (folder / name for name in JOINED)):
            seen.update(path.read_bytes())
    return seen.hexdigest()


def _is_unchanged(reports, step):
    """Return whether a step was finished before, from all the same."""
    path = reports / step.folder / step.source.name
    if not (path.exists() and path.with_suffix(".html").exists()):
        return False
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    return metadata.get("temlib", {}).get("fingerprint") == step.fingerprint


def join_tables(folder, steps):
    """Join the tables of all combinations, as text, in the run's own folder, with a column per matrix parameter."""
    parts = {step.folder: step.combination for step in steps if step.combination}
    for name in JOINED:
        tables = []
        for relative, combination in parts.items():
            path = folder.parent / relative / name
            if path.exists():
                table = read_csv(path, str)
                tables.append(table.assign(**{k: v for k, v in combination.items() if k not in table}))
        if tables:
            write_csv(folder / name, pd.concat(tables, ignore_index=True))


def _write_origin(folder, steps, started):
    """Write where the run came from, its index, and the index over all runs; what an earlier call did stays listed."""
    path = folder / "provenance.json"
    earlier = json.loads(path.read_text(encoding="utf-8"))["notebooks"] if path.exists() else []
    before, rows = {(row["notebook"], row["folder"]): row for row in earlier}, {}
    for step in steps:
        row = {key: getattr(step, key) for key in ("notebook", "combination", "status", "error")}
        row |= {"folder": step.folder.as_posix(), "seconds": round(step.seconds, 1)}
        key = step.notebook, row["folder"]
        if step.status == "kept":
            row["seconds"] = before.get(key, row)["seconds"]  # the time that it took when it was executed
        rows[key] = row
    # Combinations in the order of the matrix, then what an earlier call did.
    rows = sorted((rows | before | rows).values(), key=lambda row: row["notebook"])
    origin = provenance.describe() | {
        "started": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started)),
        "seconds": round(time.time() - started, 1),
        "notebooks": rows,
    }
    write_json(path, origin)
    onefile.write(folder)
    onefile.write_index(folder.parent)


def _execute_notebook(reports, step):
    """Execute one notebook and keep it with its HTML, also when it failed half-way."""
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError

    started = time.monotonic()
    cells = len(json.loads(step.source.read_text(encoding="utf-8"))["cells"])

    def at_cell(cell, cell_index, **_):
        step.cell = f"cell {min(cell_index + 1, cells)}/{cells}"

    with tempfile.TemporaryDirectory() as scratch:
        partial, step.progress = Path(scratch, "notebook.ipynb"), Path(scratch, "progress")
        kernel = {"kernel_manager_class": _kernel_class(reports, step), "on_cell_execute": at_cell}
        try:
            # Papermill takes braces in a path for parameters.
            source, target = (
                str(path).replace("{", "{{").replace("}", "}}") for path in (step.source, partial)
            )
            papermill.execute_notebook(source, target, step.values, **kernel, **PAPERMILL)
        except papermill.PapermillExecutionError as error:
            step.error = f"{error.ename}: {error.evalue}"
        except DeadKernelError:
            if step.status == "interrupted":
                raise
            step.error = f"the kernel died in {step.cell}, perhaps for want of memory"
        executed = nbformat.read(partial, as_version=4)
    step.status, step.seconds = "failed" if step.error else "done", time.monotonic() - started
    known = {"status": step.status, "seconds": round(step.seconds, 1), "values": step.values}
    ended = {"error": step.error, "fingerprint": ""} if step.error else {"fingerprint": step.fingerprint}
    executed.metadata["temlib"] = known | ended
    for private in ("input_path", "output_path"):
        executed.metadata["papermill"].pop(private, None)
    target = reports / step.folder / step.source.name
    write_text(target, nbformat.writes(executed))
    html.render(target, index="../" * (len(step.folder.parts) - 1) + "index.html")


def _kernel_class(reports, step):
    """Return the class of a kernel of this very interpreter at work in the notebooks' folder."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    # An account's settings of IPython, and what it wants done in every session, have no part in a report.
    places = {"TEMLIB_REPORTS": str(reports), "TEMLIB_PROGRESS": str(step.progress)}
    places |= {"IPYTHONDIR": str(step.progress.with_name("ipython"))}
    environment = {key: value for key, value in os.environ.items() if key not in ACCOUNT} | places
    arguments = ["--log-level=CRITICAL", "--HistoryManager.hist_file=:memory:"]
    threads = dict.fromkeys(THREADS, str(step.threads)) if step.threads else {}

    class Kernel(AsyncKernelManager):
        async def start_kernel(self, **_):
            # Without folders of kernels there is but the native one: no other of its name takes its place.
            self.kernel_spec_manager = KernelSpecManager(kernel_dirs=[])
            self.connection_file = str(step.progress.with_name("kernel.json"))  # a home need not be writable
            options = {"cwd": str(notebook.NOTEBOOKS), "env": threads | environment}
            await super().start_kernel(extra_arguments=arguments, **options)
            step.kernel = self

    return Kernel
