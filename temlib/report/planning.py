"""Which notebooks a run has, with which values, what each depends on, and what changed since it was last finished.

A run is one parameter file. Each notebook runs once per combination of the matrix parameters that it, or a notebook
whose files it reads, declares; such a run of a notebook is a `Step`. Its fingerprint has a part for everything that its
result depends on, so that what is finished and unchanged is kept, and a change can be named.
"""

import hashlib
import itertools
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from temlib import provenance
from temlib.files import file_hash, shown
from temlib.report import notebook, parameters, runfolder

# What a notebook reads of an earlier one; it then runs in that one's folders, and not at all where that one failed.
READS = {"4_evaluate": "3_train"}
# What a notebook compares: it runs after all of these, with what is there.
COMPARES = {"5_compare": ("3_train", "4_evaluate")}
# The new sample of `assay:` in a parameter file: so many particles where it is simulated.
SAMPLE = 400
# These take all cores, or the accelerator where there is one.
TRAIN = ("3_train",)
# How the user's table is read, beside its path.
TABLE = ("data_folder", "micrograph", "names", "skip_bad")
# What is shown once for a run, with every task: of those in the matrix the first is the declared one there.
ONCE = {"1_explore": {"task"}}
# Notebooks that are run when a parameter file names them: they need several trainings, or new samples.
ON_REQUEST = ("5_compare", "6_assay")
LONGEST = 120  # bytes of a folder's name for a value


@dataclass(eq=False)
class Step:
    """One notebook with one combination of matrix parameters."""

    notebook: str
    combination: dict
    values: dict
    folder: Path  # the run's folder, relative to the reports folder
    reads: "Step | None" = field(default=None, repr=False)  # the one whose files it reads
    # Those after which it runs, whatever became of them.
    compares: list = field(default_factory=list, repr=False)
    status: str = "waiting"  # then running, and in the end done, kept, failed, skipped or interrupted
    reason: str = ""  # why it runs
    seconds: float = 0.0
    error: str = ""
    threads: int = 0  # that were asked for; 0 shares the cores
    parts: dict = field(default_factory=dict, repr=False)  # of its fingerprint, see `describe`
    work: Path | None = field(default=None, repr=False)  # folder in which it is at work

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
    def before(self):
        """The steps that end before it begins."""
        return [*filter(None, [self.reads]), *self.compares]

    @property
    def source(self):
        """The notebook's file."""
        return notebook.NOTEBOOKS / f"{self.notebook}.ipynb"

    @property
    def doing(self):
        """What is done at this moment."""
        return runfolder.doing(self.work) if self.work else ""


def declarations():
    """Return what each notebook declares, in the order in which they run."""
    return {path.stem: parameters.declared(path) for path in sorted(notebook.NOTEBOOKS.glob("[0-9]_*.ipynb"))}


def plan(settings, *, only=()):
    """Return the steps of a run in their order.

    `only` gives the beginnings of the notebooks' names; without it, they are those of the file, or all but `ON_REQUEST`. Where
    the file names a sample by `assay`, notebook 6 has a folder beside each notebook 3, whose primary model it applies. A step that
    reads another's files knows it, although that one may not be among those returned.
    """
    declared, sample = declarations(), settings.values.get("assay")
    chosen = {*(settings.notebooks or (name for name in declared if name not in ON_REQUEST))}
    chosen |= {"6_assay"} if sample else set()
    for wanted in only:
        if not any(name.startswith(wanted) for name in declared):
            parameters.refuse_notebook(wanted, declared, "--only")
    if only:
        chosen = {name for name in declared if name.startswith(tuple(only))}
    steps, needed = {}, {*chosen, *(READS.get(name) for name in chosen)} | ({"3_train"} if sample else set())
    needed.update(*(COMPARES[name] for name in chosen if name in COMPARES))
    for name in sorted(needed & {*declared}):
        for step in _of_notebook(settings, declared, name, bool(sample) and name == "6_assay", steps):
            steps[name, step.folder] = step
    return [step for (name, _), step in steps.items() if name in chosen]


def _of_notebook(settings, declared, name, own, steps):
    """Yield the steps of one notebook; `steps` are those planned before, by notebook and folder."""
    read = "3_train" if own else READS.get(name)
    first = {key: values[0] for key, values in settings.matrix.items()}
    once, threads = ONCE.get(name, set()), settings.values.get("threads", 0)
    compared = [step for (other, _), step in steps.items() if other in COMPARES.get(name, ())]
    for combination in settings.combinations({*declared[name], *declared.get(read, ())} - once):
        given = notebook.with_paths(settings.values | first | combination, settings.path.parent)
        combination = {key: parameters.written(value) for key, value in combination.items()}
        folder = Path(settings.run, *itertools.starmap(_folder, combination.items()))
        values = {key: value for key, value in given.items() if key in declared[name]}
        reads = steps.get((read, folder))
        if own:
            folder, values = folder / "assay", _of_sample(values, given["assay"])
        values |= {"run": folder.as_posix()}
        yield Step(name, combination, values, folder, reads, compared, threads=threads)


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


def hashed(value):
    """Return a hash of plain JSON values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def describe(steps, records, *, force=False):
    """Give each step the parts of its fingerprint, and say why it runs; where nothing is said, it is kept.

    `records(step)` returns what is recorded of a step that was finished before, {} where there is nothing; with `force` all run.
    """
    data, chosen = {}, {id(step) for step in steps}
    for step in steps:
        step.parts = _parts(step, data)
        before = {}
        for other in step.before:
            parts = other.parts if id(other) in chosen else records(other).get("parts", {})
            before[f"{other.notebook} {other.folder.as_posix()}"] = hashed(parts) if parts else ""
        step.parts["before"] = before
        step.reason = changed(step, records(step)) or ("it is run again by force" if force else "")
        if step.reads and step.reads.reason and id(step.reads) in chosen:
            step.reason = step.reason or f"{step.reads.notebook} runs before it"


def _parts(step, data):
    """Return what a step's result depends on but for the steps before it; `data` keeps hashes of data sets."""
    from temlib.data import contents

    values, files = step.values, {}
    given = {name: values[name] for name in ("task", "classes", *TABLE[:-1]) if name in values}
    source = values.get("particles", "simulated")
    key = json.dumps([source, given], sort_keys=True)
    if key not in data:
        data[key] = contents(source, **given)
    if values.get("predictions"):
        files["predictions"] = file_hash(values["predictions"])
    for name in filter(values.get, ("bundle", "weights")):
        from temlib import train  # it takes a second

        bundle = train.find_bundle(values[name], values.get("task", ""))
        files[name] = {path.name: file_hash(path) for path in sorted(bundle.glob("*.json"))}
    return {
        "parameters": values,
        "threads": step.threads,
        "notebook": file_hash(step.source),
        "code": provenance.source_hash(),
        "environment": hashed(provenance.locked()),
        "data": data[key],
        "files": files,
    }


# How a changed part of a fingerprint is told.
WORDS = {
    "notebook": "the notebook changed",
    "code": "temlib's code changed",
    "environment": "the installed packages changed",
    "data": "the data changed",
    "files": "a file that it names changed",
}


def changed(step, record):
    """Return what changed since a step was finished, "" where nothing did; of several changes, each."""
    if not record:
        return "it was not run before"
    if record["status"] != "done":
        return f"it failed before ({record['error'][:100]})"
    if damaged := record.get("damaged"):
        return f"{damaged} is missing or was altered"
    before, now, found = record["parts"], step.parts, []
    for key in sorted({*before["parameters"], *now["parameters"]}):
        then, new = (part["parameters"].get(key, "the default") for part in (before, now))
        if then != new:
            found.append(f"'{key}' was {parameters.short(then)}, is {parameters.short(new)}")
    if before["threads"] != now["threads"]:
        found.append(f"'threads' was {before['threads']}, is {now['threads']}")
    found += [words for part, words in WORDS.items() if before.get(part) != now[part]]
    if before["before"] != now["before"]:
        names = {
            name.split()[0] for name, value in now["before"].items() if before["before"].get(name) != value
        }
        found.append(f"{' and '.join(sorted(names)) or 'a notebook'} before it changed")
    return "; ".join(found)
