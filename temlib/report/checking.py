"""What is asked before any kernel starts, so that a fault shows at once: parameters, data, models, folds, and the folder."""

import functools
import json

from temlib.files import InputError
from temlib.report import notebook, parameters, runfolder
from temlib.report.planning import ONCE, TABLE, declarations, plan

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
        runfolder.place(settings, steps, output)
        asked, opened = set(), functools.cache(lambda values: data.open(**json.loads(values)))
        for step in steps:
            names = [name for name in declared[step.notebook] if name in ASKED]
            values = {name: step.values.get(name, defaults[name]) for name in names}
            values |= {"every": step.notebook in ONCE, "own": step.own}
            # What is demanded of a training's result is about the classes that are learnt.
            demands = [other.values.get("accept") for other in steps if other.reads is step and not other.own]
            values |= {"accept": demands[0] or {}} if demands else {}
            if values.get("particles") == "simulated":
                values.pop("seed", None)  # any seed gives such particles
            key = json.dumps(values, sort_keys=True)
            if key not in asked:
                asked.add(key)
                _ask(values, settings.path, opened)
    return checked


def _ask(values, where, opened):
    """Ask what a notebook with these parameters asks first; `opened` opens each data set once, by its values as JSON."""
    from temlib import data, train

    def given(*names):
        return {name: values[name] for name in names if name in values}

    if values["own"]:
        if values["particles"] != "simulated":
            opened(json.dumps({"source": values["particles"]} | given(*TABLE)))
        return
    if "bundle" in values:
        from temlib import assay  # it takes more than half a second

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
