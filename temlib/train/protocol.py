"""One protocol for every model: whole micrographs held out, others for validation, out-of-fold predictions.

In each fold the particles of some micrographs are held out (`test`), those of others choose the epoch (`validation`), and the
rest are trained on. Networks (`fitting.Network`) and SVMs (`svm.Svm`) are estimators of one interface: `inputs(data)` returns
once what the model takes of all particles, `fit(inputs, labels, groups, train=…, …)` learns from some of them, and
`predict(inputs, groups, rows)` returns class probabilities and predicted classes of others.
"""

import hashlib
import math
import re
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd

from temlib import provenance
from temlib.data import PREPARATION, is_definite, split
from temlib.files import InputError, natural, nearest, replacing_folder
from temlib.train import bundle, diagnostics, effort, fitting, networks, refusal, svm
from temlib.train.effort import VALIDATION_PARTS, schedule
from temlib.train.finished import Finished
from temlib.train.interruptions import Interruptions


@dataclass(frozen=True)
class Trained:
    """What training returns.

    Attributes
    ----------
    predictions : DataFrame
        See docs/architecture.md.
    history : DataFrame
        `model, fold, epoch, loss, validation_loss, validation_accuracy` (balanced).
    costs : DataFrame
        `model, fold, training_s, prediction_ms_per_particle, weights, labelled` (particles whose labels were used).
    checks : DataFrame
        `model, fold, plain, resampled, final`: balanced accuracy of validation particles as they are, resampled as in
        training, and as finally predicted; `rarest`, how many of them are of the rarest class.
    failures : dict of str to str
        Why a model is missing.
    notes : list of str
        What else a reader should know, such as folds that were interrupted.
    """

    predictions: pd.DataFrame
    history: pd.DataFrame
    costs: pd.DataFrame
    checks: pd.DataFrame
    failures: dict
    notes: list

    @property
    def diagnostics(self):
        """Return sentences on where training did not go well, if anywhere."""
        found = [f"Failed: {reason}" for reason in self.failures.values()] + list(self.notes)
        chance = 1 / self.predictions.query("role != 'unsure'")["truth"].nunique()
        for name, history in self.history.groupby("model", sort=False):
            found += diagnostics.bad_folds(name, history, chance) + diagnostics.curves(name, history)
        for name, check in self.checks.groupby("model", sort=False):
            found += diagnostics.different(name, check)
        return found


def check_models(models, primary, *, input_size=0, where="models"):
    """Refuse models that are none, repeated, unknown, lack the primary one, or need a backend that is not there.

    So are sizes after an "@" that no network can have, or that are larger than `input_size` where that is not 0.
    """
    known = [*networks.names(), *(f"{name}{networks.SIZED}" for name in networks.names()), *svm.names()]
    if not models or len(set(models)) < len(models):
        raise InputError(f"{where}: 'models' should name each model once, out of {known}; it is {models!r}.")
    for name in models:
        try:
            network, sized, side = networks.split(str(name))
            if network + networks.SIZED * sized not in known:
                hint = nearest(str(name), known) or f"; there are {', '.join(known)}"
                raise InputError(f"'models' names '{name}', which is unknown{hint}.")
            if side and network in svm.names():
                raise InputError(f"{name}: an SVM sees the images as they are; leave out '@{side}'.")
            if side:
                networks.side_of(name, input_size or math.inf)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    if primary not in models:
        raise InputError(f"{where}: 'primary' is '{primary}', not among 'models' ({', '.join(models)}).")
    if not set(models) <= set(svm.names()):
        networks.check_backend()


def check_folds(data, task, models, settings, weights=None):
    """Return the fold of each particle (of `data.split`), after a look at what each fold and model will need; nothing is trained.

    All particles have a label for `task`; for `weights` see `cross_validate`. It is an InputError where that would raise one, or
    would leave a model out, for want of particles, micrographs or sizes.
    """
    if weights is not None:
        data, _ = weights.continued(data, task, models, settings)
    table = data.table.reset_index(drop=True)
    fold_of, classes = _divided(table, task, settings)
    for fold in sorted(set(fold_of)):
        split_fold(table, task, fold_of, fold, settings)
    for name in set(models) - set(svm.names()):
        fitting.Network(name, classes, settings).sizes(data)
    return fold_of


def cross_validate(
    data,
    task,
    models,
    settings,
    *,
    weights=None,
    keep=None,
    resume=None,
    progress=None,
    explain=None,
    calibrate=None,
    licence="",
):
    """Train and test every model on the same folds of particles that all have a label for `task`; return a `Trained`.

    Particles whose label is in `settings.unsure` take no part in that; they are predicted with the test particles of their
    micrograph, or in fold 1 where it has none.

    A model that fails is left out with its reason; the others go on. An interruption (KeyboardInterrupt) ends the current
    fold, which keeps the best weights so far; two within two seconds end everything, and models with all folds stay. It is
    an InputError if a class has fewer particles than there are folds, or no model could be trained.

    Parameters
    ----------
    data : Particles
    task : str
    models : list of str
        Of `network_names`, perhaps with "+size" and a size of their own as in "lipnet4@28", and `svm_names`.
    settings : Settings
    weights : Bundle, optional
        Each fold of the network that it is of begins with that fold's weights; see `Bundle.continued`.
    keep : Path, optional
        Folder for a bundle of each model, `<model>`, with its fold models; see `load`.
    resume : Path, optional
        Folder in which finished folds are kept: the same training, begun again after it was stopped or killed, takes them as they
        are and ends with the same result. It is left to the caller to remove it when the result is safe.
    progress : callable, optional
        Gets (share of all work that is done (0, 1), which may fall as estimates change, text, what there is to see). To see are
        the `history` of the fold at work and the `confusion` of its validation particles, DataFrames in a dict, or None.
    explain : callable, optional
        Gets (estimator, its inputs, positions of the test particles) after each fold of each model, and returns what it found
        as a dict of arrays; its `add` gets that of a fold that was finished before. See `Sample`.
    calibrate : callable, optional
        Gets the probabilities (n, classes) of a fold's validation particles and their classes (n,), and returns the
        temperature that a bundle keeps.
    licence : str
        Under which bundles may be used.
    """
    settings, _ = schedule(settings, data, task)
    run = _Run(data, task, models, settings, weights, progress, explain)
    if keep is not None:
        run.keep_in(Path(keep), calibrate, licence)
    if resume is not None:
        run.resume_in(Path(resume))
    with run.interruptions.heard():
        run.models(models)
    if not run.results:
        raise InputError("; ".join(run.failures.values()))
    return Trained(*(_table(run.results, name) for name in COLUMNS), run.failures, run.notes)


class _Run:
    """One cross-validation: the particles with their labels and folds, the same for every model, and what was found."""

    def __init__(self, data, task, models, settings, weights, progress, explain):
        self.notes, self.weights = [], weights
        if weights is not None:
            data, said = weights.continued(data, task, models, settings)
            self.notes.append(said)
        self.asked, self.contrast, self.given, self.keep = settings, [], data, None
        if settings.contrast == "auto":
            data, contrast, self.contrast = data.aligned()
            settings = replace(settings, contrast=contrast)
        self.data, self.task, self.settings = data, task, settings
        self.progress, self.explain = progress, explain
        self.table = data.table.reset_index(drop=True)
        self.known = is_definite(self.table[task], settings.unsure)
        self.fold_of, self.classes = _divided(self.table, task, settings)
        # -1 for particles that people could not tell.
        self.labels = pd.Categorical(self.table[task], categories=self.classes).codes.astype(int)
        self.groups = self.table["micrograph"].to_numpy()
        self.results, self.failures = [], {}
        self.notes += self.contrast
        self.left = effort.Left(models, self.labels[self.known], settings, data.images.shape[-1])
        self.finished = None
        self.interruptions = Interruptions()

    def keep_in(self, folder, calibrate, licence):
        """Keep a bundle of each model in a folder."""
        self.keep, self.calibrate, self.licence = folder, calibrate, licence
        self.crops = bundle.crops(self.data, self.labels)
        about = self.labels, self.fold_of, self.groups
        self.refusal, refused = refusal.fit(self.data.images, *about, seed=self.settings.seed)
        self.refused = self.table["particle"][refused]

    @cached_property
    def learnt(self):
        """By what particles and micrographs are known again."""
        return bundle.learnt(self.given, self.fold_of)

    @cached_property
    def hash(self):
        """A hash of the particles, their micrographs, labels and images."""
        known = self.table[["particle", "micrograph", self.task]].assign(image=self.learnt["image"])
        return hashlib.sha256(known.to_csv(index=False).encode()).hexdigest()

    def resume_in(self, folder):
        """Keep finished folds in a folder, and take those that are there."""
        begun = self.weights and (self.weights.folder / bundle.SUMS).read_text(encoding="utf-8")
        decided = [
            self.hash,
            self.task,
            self.fold_of.tolist(),
            asdict(self.asked),
            asdict(self.settings),
            begun,
        ]
        decided += [self.keep is not None, self.explain is not None]
        self.finished = Finished(folder, [*decided, provenance.source_hash(), provenance.locked()])

    def report(self, about, epoch, text, history=(), counts=None):
        """Pass on how much is done after so many epochs of the fold at work, and what there is to see of it."""
        seen = None
        if len(history):
            confusion = pd.DataFrame(counts, index=self.classes, columns=self.classes)
            seen = {"history": pd.DataFrame(history).assign(**about), "confusion": confusion}
        if self.progress:
            self.progress(self.left.share(epoch), text, seen)

    def models(self, names):
        """Train and test models one after the other; one that fails is left out with its reason."""
        for name in names:
            try:
                self.model(name)
            except KeyboardInterrupt:
                self.failures[name] = f"{name}: it was interrupted before all folds were trained."
                if self.interruptions.stopped:
                    self.notes.append(
                        "Training was stopped by hand; models that are not listed were not trained."
                    )
                    break
            except Exception as error:
                # One model must not cost the others their results; the report shows it.
                self.failures[name] = _reason(name, error)

    def model(self, name):
        """Train and test a model in all folds; what it leaves counts only when all are done."""
        with replacing_folder(self.keep / name) if self.keep else nullcontext() as folder:
            results = self._folds(name, folder)
            if folder:
                kept, tested = zip(*(result.pop("kept") for result in results))
                predictions = pd.concat([result["predictions"] for result in results])
                tested = self.crops | {"probabilities": np.stack(tested)}
                begun = self._begun(name)
                counts = pd.concat([result.pop("alone") for result in results])
                counts = _confusion(counts, self.classes, self.refused, self.given.sessions)
                card = self._card(name, kept, predictions, begun) | {"alone": True, "out_of_fold": counts}
                bundle.save(folder, card, tested, self.learnt, self.refusal, begun)
        self.results += results

    def _begun(self, name):
        """Return the bundle whose weights a model begins with, None where there is none."""
        return self.weights if self.weights is not None and self.weights.card["model"] == name else None

    def _folds(self, name, folder):
        """Return what a model leaves in each fold, and put each fold model into a folder where there is one."""
        results, model = [], self._estimator(name)
        for fold in sorted(set(self.fold_of)):
            self.left.begin(name, fold)
            rows = split_fold(self.table, self.task, self.fold_of, fold, self.settings)
            if before := self.finished and self.finished.read(name, fold, folder):
                results.append(before[0])
                if self.explain:
                    self.explain.add(before[1])
                self.report({}, 0, f"{name} fold {fold} was finished before")
                continue
            inputs, each = self._inputs(model)
            results.append(self._fold(model, inputs, rows, fold, each))
            explained = self.explain(model, inputs, rows["test"]) if self.explain else None
            if folder:
                results[-1]["kept"] = bundle.add(folder, model, fold, self.crops)
                results[-1]["alone"] = self._alone(model, inputs, rows["test"], fold)
            if model.interrupted:
                text = f"training was interrupted in fold {fold}; its best weights so far were kept."
                self.notes.append(f"{name}: {text}")
                if self.interruptions.stopped:
                    raise KeyboardInterrupt
            elif self.finished:
                self.finished.write(name, fold, results[-1], explained or {}, folder)
            self.left.end()
        if where := _folds_that(results, "refitted"):
            self.notes.append(
                f"{name}: a single micrograph was left for validation in {where}, too few to choose an epoch by; after its use "
                "for calibration the network was refitted on all labelled micrographs."
            )
        if where := _folds_that(results, "divided"):
            self.notes.append(
                f"{name}: a class to train on lay in one micrograph only in {where}, so C, gamma and calibration rest on inner "
                "folds that divide micrographs, or on its single particle: its probabilities may be too sure. "
                "Held-out micrographs are whole all the same."
            )
        return results

    def _estimator(self, name):
        """Return what is fitted in each fold."""
        model = (svm.Svm if name in svm.names() else fitting.Network)(name, self.classes, self.settings)
        model.interruptions = self.interruptions
        if begun := self._begun(name):
            model.first = [begun.states[i % len(begun.states)][0] for i in range(self.settings.folds)]
        self.described = None
        return model

    def _inputs(self, model):
        """Return what a model takes of all particles, made once, and the time for each: of an SVM, that for its descriptors."""
        if self.described is None:
            started = time.perf_counter()
            inputs = model.inputs(self.data)
            self.described = inputs, (time.perf_counter() - started) / len(self.table)
        return self.described

    def _fold(self, model, inputs, rows, fold, each):
        """Train a model in one fold, ask it about the test and validation particles, and time both."""
        labels, groups, about = self.labels, self.groups, {"model": model.name, "fold": fold}
        train, validation, test = rows["train"], rows["validation"], rows["test"]
        labelled, report = np.concatenate([train, validation]), partial(self.report, about)
        options = {"fold": fold, "report": report}
        roles, times = {"train": train, "validation": validation}, [time.perf_counter()]
        model.fit(inputs, labels, groups, **roles, passes=self._passes(train, test), **options)
        times.append(time.perf_counter())
        validated, predicted = model.predict(inputs, groups, validation)
        result = {"divided": model.divided}
        if model.history:
            final = fitting.balanced_accuracy(validated.argmax(axis=1), labels[validation])
            check = about | model.check(inputs, labels, validation) | {"final": final}
            result["checks"] = pd.DataFrame([check])
            result["history"] = pd.DataFrame(model.history).assign(**about)
        times.append(time.perf_counter())
        refits = model.lone and not model.interrupted
        if refits:
            model.refit(inputs, labels, labelled, passes=self._passes(labelled, test), **options)
            result["refitted"] = not model.interrupted
        times.append(time.perf_counter())
        # In one call, so that adaptive batch normalisation sees all particles of a micrograph.
        asked = np.sort(np.concatenate([test, rows["unsure"]]))
        tested = model.predict(inputs, groups, asked)
        times.append(time.perf_counter())
        held_out, tables = (asked, *tested), []
        found = {"test": held_out, "validation": (validation, validated, predicted), "unsure": held_out}
        for role, (seen, values, called) in found.items():
            own = np.isin(seen, rows[role])
            if own.any():
                part = self._rows(seen[own], values[own], called[own])
                tables.append(part.assign(**about, role=role))
        fitted, _, refitted, predicting = np.diff(times)
        costs = {"training_s": fitted + refitted + each * len(train), "weights": model.weights}
        each_ms = 1e3 * (predicting / len(asked) + each)
        costs |= {"prediction_ms_per_particle": each_ms, "labelled": len(labelled)}
        return result | {"predictions": pd.concat(tables), "costs": pd.DataFrame([about | costs])}

    def _alone(self, model, inputs, rows, fold):
        """Return the calls of held-out particles, each by itself.

        Where features are normalised by the micrograph, a call depends on what else lies there, so that error rates differ with the
        shares that an assay is to tell.
        """
        values, called = model.predict(inputs, np.arange(len(self.table)), rows)
        return self._rows(rows, values, called).assign(fold=fold)

    def _passes(self, train, test):
        """Return the passes over the labelled particles that are as much work as one over all outside the test fold."""
        if self.settings.labels >= 1:
            return 1
        outside = self.known.sum() - len(test)
        return max(1, round(outside * (1 - 1 / VALIDATION_PARTS) / len(train)))

    def _rows(self, rows, probabilities, predicted):
        """Return the predictions of some particles as a table."""
        names = np.asarray(self.classes, dtype=object)
        table = self.table.loc[rows, ["particle", "micrograph"]]
        table = table.assign(truth=self.table.loc[rows, self.task], predicted=names[predicted])
        return table.assign(**{f"p_{name}": probabilities[:, k] for k, name in enumerate(names)})

    def _card(self, name, kept, predictions, begun):
        """Return what the bundle of a model says of it, as plain JSON values."""
        data, physical = self.given, self.data.scale == "physical"
        pixel_nm, input_size = float(data.pixel_nm) if physical else None, data.images.shape[-1]
        about = {"model": name, "task": self.task, "classes": self.classes}
        about |= {"simulated": data.simulated, "licence": self.licence}
        about |= {"scale": data.scale, "pixel_nm": pixel_nm, "input_size": input_size}
        about |= {"window_nm": pixel_nm * input_size if physical else None, "preparation": PREPARATION}
        met = {"asked": self.asked.contrast, "met": self.settings.contrast, "found": self.contrast}
        about |= {"contrast": met, "adaptive_normalisation": bool(self.settings.adapts)}
        counts = {"particles": len(data), "micrographs": int(data.table["micrograph"].nunique())}
        source = {"source": Path(data.source).name, "hash": self.hash, "found": list(data.notes)}
        source["began_with"] = begun.card["training"] if begun else None
        about |= {"training": source | counts, "settings": asdict(self.asked)}
        about |= {
            "measured": bundle.ranges(self.data, self.table[self.task]),
            "boxes": bundle.boxes(self.data),
        }
        about |= {"versions": provenance.describe()}
        about |= {"notes": [note for note in self.notes if note.startswith(f"{name}: ")]}
        return about | {"calibration": self._temperatures(predictions), "folds": list(kept)}

    def _temperatures(self, predictions):
        """Return the temperature of each fold, None where none is asked for."""
        if self.calibrate is None:
            return None
        chosen = predictions[predictions["role"] == "validation"]
        columns = [f"p_{name}" for name in self.classes]
        found = []
        for _, rows in chosen.groupby("fold"):
            truth = pd.Categorical(rows["truth"], categories=self.classes).codes
            found.append(self.calibrate(rows[columns].to_numpy(), truth))
        return {"kind": "temperature", "temperatures": found}


def _confusion(test, classes, refused, sessions):
    """Return out-of-fold counts in each micrograph: a row for each true class, a column for each called one and the refused.

    Where `sessions`, of each micrograph, are known, a column says them.
    """
    test = test.assign(predicted=test["predicted"].mask(test["particle"].isin(refused), ""))
    counts = test.groupby(["fold", "micrograph", "truth", "predicted"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=[*classes, ""], fill_value=0)
    counts = counts.set_axis([*(f"called_{name}" for name in classes), "refused"], axis=1).reset_index()
    if sessions is not None:
        counts.insert(2, "session", counts["micrograph"].map(sessions))
    return {"columns": list(counts), "rows": counts.astype(object).values.tolist()}


# The columns of the tables of `Trained`, in order; those of predictions end with one `p_` of each class.
COLUMNS = {
    "predictions": ["particle", "micrograph", "model", "fold", "role", "truth", "predicted"],
    "history": ["epoch", "loss", "validation_loss", "validation_accuracy", "model", "fold"],
    "costs": ["model", "fold", "training_s", "prediction_ms_per_particle", "weights", "labelled"],
    "checks": ["model", "fold", "plain", "resampled", "final", "rarest"],
}


def _table(results, name):
    """Join one table of all folds and models."""
    parts = [result[name] for result in results if name in result]
    columns = COLUMNS[name]
    if not parts:
        return pd.DataFrame(columns=columns, dtype=float)
    table = pd.concat(parts, ignore_index=True)
    return table.reindex(columns=columns + [column for column in table if column not in columns])


def _divided(table, task, settings):
    """Return the fold of each particle and the classes in order, or refuse what cannot be learnt."""
    fold_of = split(table, task, folds=settings.folds, seed=settings.seed, unsure=settings.unsure)
    labels, folds = table.loc[is_definite(table[task], settings.unsure), task], len(set(fold_of))
    counts = labels.value_counts()
    if len(counts) < 2:
        raise InputError(
            f"'{labels.name}' has only one class, '{next(iter(counts.index), '')}'; at least two are needed."
        )
    if counts.min() < folds:
        raise InputError(
            f"the class '{counts.idxmin()}' of '{labels.name}' has {counts.min()} particles, fewer than the {folds} folds; "
            "lower 'folds', join it with another by 'merge', or label more of it."
        )
    return fold_of, sorted(counts.index, key=natural)


def _reason(name, error):
    """Return a sentence on why a model failed."""
    if isinstance(error, InputError):
        return str(error)
    text = f"{type(error).__name__}: {error}"
    if re.search("MemoryError|Resource_?Exhausted|out ?of ?memory", text, re.IGNORECASE):
        return f"{name}: there was not enough memory; lower 'batch' (first) or 'input_size'."
    return f"{name}: {text.splitlines()[0][:300]}"


def split_fold(table, task, fold_of, fold, settings):
    """Return the rows of `train`, `validation`, `test` and `unsure` particles of a fold (of `data.split`).

    Micrographs stay whole; those that are unsure are of the same micrographs as those of the test, or of none.
    """
    known, held = is_definite(table[task], settings.unsure).to_numpy(), fold_of == fold
    test, rest = np.flatnonzero(known & held), np.flatnonzero(known & ~held)
    if not len(rest):
        cure = "give the column 'fold' at least two values" if "fold" in table else "add micrographs"
        raise InputError(f"fold {fold}: all particles lie in it, so none are left to train on; {cure}.")
    rest = _labelled_share(table, task, rest, settings, np.random.default_rng((settings.seed, fold, 7)))
    groups, labels = table["micrograph"].to_numpy()[rest], table[task].to_numpy()[rest]
    missing, divisions = sorted(set(table.loc[known, task]) - set(labels)), []
    parts = min(VALIDATION_PARTS, len(set(groups)))
    if parts > 1 and not missing:
        divisions = fitting.grouped_divisions(labels, groups, parts, settings.seed + fold)
    if not divisions:
        raise InputError(
            f"fold {fold}: of the {len(set(groups))} micrographs outside the test fold none can serve for validation and leave "
            f"training particles of {', '.join(missing) or 'every class'}; add micrographs of it, or try another 'seed' or more 'folds'."
        )
    train, validation = divisions[0]
    roles = {"train": rest[train], "validation": rest[validation], "test": test}
    return roles | {"unsure": np.flatnonzero(~known & held)}


def _folds_that(results, what):
    """Return the folds of which `what` is true, such as "folds 1, 3", empty where there is none."""
    found = [str(fold) for fold, result in enumerate(results, start=1) if result.get(what)]
    return f"fold{'s' * (len(found) > 1)} {', '.join(found)}" if found else ""


def _labelled_share(table, task, rest, settings, rng):
    """Return the particles of `rest` whose labels are used; a smaller share is always part of a larger one."""
    if settings.labels >= 1:
        return rest
    labels = table[task].to_numpy()[rest]
    if settings.labels_from == "particles":
        classes = [rng.permutation(rest[labels == name]) for name in sorted(set(labels))]
        counts = [max(2, int(np.ceil(settings.labels * len(of_class)))) for of_class in classes]
        return np.sort(np.concatenate([of_class[:count] for of_class, count in zip(classes, counts)]))
    groups = table["micrograph"].to_numpy()[rest]
    order = rng.permutation(np.unique(groups))
    count = max(2, round(settings.labels * len(order)))
    # Each class must be there to train on and, if it can be, to validate.
    while count < len(order):
        inside = np.isin(groups, order[:count])
        spread = pd.Series(groups[inside]).groupby(labels[inside]).nunique()
        if set(spread.index) == set(labels) and spread.min() >= 2:
            break
        count += 1
    return rest[np.isin(groups, order[:count])]
