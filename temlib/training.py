"""One protocol for every model: whole micrographs held out, others for validation, out-of-fold predictions.

In each fold the particles of some micrographs are held out (`test`), those of others choose the epoch (`validation`), and
the rest are trained on. Nothing of a test or validation particle touches training: particles are scaled one by one, and
only training particles are augmented and balanced.
"""

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd

from temlib import networks, particles, svm
from temlib.augment import Augmentation, condition
from temlib.files import InputError
from temlib.parameters import nearest

# Share of the training micrographs that is set aside for validation: one in this number.
VALIDATION_PARTS = 5


@dataclass(frozen=True)
class Trained:
    """What training leaves: the predictions table, learning curves, costs, and what failed and why."""

    predictions: pd.DataFrame
    history: pd.DataFrame
    costs: pd.DataFrame
    failures: dict


def check_models(models, primary, *, where="models"):
    """Refuse a list of models that is empty, repeats one, holds an unknown one, or lacks the primary one."""
    known = [*networks.names(), *svm.names()]
    if not models or len(set(models)) < len(models):
        raise InputError(
            f"{where}: 'models' should name each model once, such as {known}, but is {models!r}."
        )
    for name in models:
        if name not in known:
            hint = nearest(str(name), known) or f"; there are {', '.join(known)}"
            raise InputError(f"{where}: 'models' names '{name}', which is unknown{hint}.")
    if primary not in models:
        raise InputError(
            f"{where}: 'primary' is '{primary}', which is not among 'models' ({', '.join(models)})."
        )


def train(
    data, task, models, *, folds, seed, epochs, batch, learning_rate, augmentation, imbalance, progress=None,
    explain=None,
):  # fmt: skip
    """Train and test every model on the same folds.

    Parameters
    ----------
    data : Particles
        All with a label for `task`.
    task : str
    models : list of str
        Networks and SVM baselines.
    folds : int
        Number of folds, 2 or more; micrographs stay whole.
    seed : int
    epochs : int
        Passes over the training particles.
    batch : int
        Particles in a step.
    learning_rate : float
        Peak of the one-cycle schedule (Smith & Topin 2018, arXiv:1708.07120).
    augmentation : str
        A preset of `Augmentation`, drawn anew in each epoch.
    imbalance : {"none", "class_weight", "oversample"}
        How rare classes are balanced in training.
    progress : callable, optional
        Gets (steps done of `len(models) * folds * epochs`, text).
    explain : callable, optional
        Gets (name, fitted model, positions of the test particles, a function that gives what the model sees of particles at
        some positions) of each model and fold, while the model is at hand; see `explain.Sample`.

    Returns
    -------
    Trained
        A model that fails is left out with its reason in `failures`; the others go on.
    """
    table = data.table.reset_index(drop=True)
    fold_of = particles.split(table, task, folds=folds, seed=seed)
    classes = sorted(table[task].unique())
    predictions, histories, costs, failures = [], [], [], {}
    for number, name in enumerate(models):
        model = _Svm(name, data) if name in svm.names() else _Network(
            name, data, epochs=epochs, batch=batch, learning_rate=learning_rate, augmentation=augmentation,
            imbalance=imbalance, seed=seed, classes=classes,
        )  # fmt: skip
        try:
            rows = []
            for fold in sorted(set(fold_of)):
                done = (number * folds + fold - 1) * epochs
                report = (lambda epoch, text, done=done: progress(done + epoch, text)) if progress else None
                parts = _parts(table, task, fold_of, fold, folds, seed)
                result = model.fold(table, task, parts, fold, report)
                if explain:
                    explain(name, model.fitted, parts["test"], model.see)
                histories.append(result.pop("history").assign(model=name, fold=fold))
                costs.append({"model": name, "fold": fold, **result.pop("costs")})
                for role, (index, values, calls) in result.items():
                    about = {"model": name, "fold": fold, "role": role}
                    rows.append(_rows(table, task, index, values, calls, classes, **about))
            predictions += rows
        except InputError as error:
            failures[name] = str(error)
    if not predictions:
        raise InputError("; ".join(f"{name}: {reason}" for name, reason in failures.items()))
    return Trained(
        pd.concat(predictions, ignore_index=True),
        pd.concat(histories, ignore_index=True),
        pd.DataFrame(costs),
        failures,
    )


def _parts(table, task, fold_of, fold, folds, seed):
    """Give the indices of training, validation and test particles of a fold; micrographs stay whole."""
    from sklearn.model_selection import StratifiedGroupKFold

    test, rest = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
    groups = table["micrograph"].iloc[rest].to_numpy()
    labels = table[task].iloc[rest].to_numpy()
    parts = min(VALIDATION_PARTS, len(set(groups)))
    if parts < 2:
        raise InputError(
            f"fold {fold}: only one micrograph is left for training; lower 'folds' or add micrographs."
        )
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed + fold)
    for train, validation in splitter.split(rest, labels, groups):
        if set(labels[train]) == set(table[task]):
            return {"train": rest[train], "validation": rest[validation], "test": test}
    missing = sorted(set(table[task]) - set(labels))
    raise InputError(
        f"fold {fold}: no training particles of {', '.join(missing) or 'a rare class'} are left beside test and "
        "validation micrographs; lower 'folds' or add micrographs of it."
    )


def _rows(table, task, index, values, calls, classes, **columns):
    """Make rows of the predictions table."""
    rows = table.loc[index, ["particle", "micrograph"]].reset_index(drop=True).assign(**columns)
    rows["truth"] = table.loc[index, task].to_numpy()
    rows["predicted"] = calls
    return rows.assign(**{f"p_{name}": values[:, k] for k, name in enumerate(classes)})


class _Svm:
    """An SVM baseline in the protocol."""

    def __init__(self, name, data):
        self.name = name
        started = time.perf_counter()
        self.features = svm.features(data.images, name)
        self.per_image = (time.perf_counter() - started) / len(data)

    def fold(self, table, task, parts, fold, report):
        if report:
            report(0, f"{self.name} fold {fold}")
        train, labels, groups = parts["train"], table[task].to_numpy(), table["micrograph"].to_numpy()
        started = time.perf_counter()
        fitted = self.fitted = svm.fit(
            self.name, self.features.iloc[train], labels[train], groups[train], seed=fold
        )
        took = time.perf_counter() - started
        result, started = {}, time.perf_counter()
        for role in ("test", "validation"):
            seen = self.features.iloc[parts[role]]
            result[role] = (parts[role], fitted.predict_proba(seen.to_numpy()), svm.calls(fitted, seen))
        predicted = sum(len(parts[role]) for role in ("test", "validation"))
        each = (time.perf_counter() - started) / predicted + self.per_image
        costs = {
            "training_s": took + self.per_image * len(train),
            "prediction_ms_per_particle": 1e3 * each,
            "weights": np.nan,
        }
        return result | {
            "costs": costs,
            "history": pd.DataFrame(columns=["epoch", "loss", "validation_loss"], dtype=float),
        }

    def see(self, index):
        """Give the descriptors of particles."""
        return self.features.iloc[index]


class _Network:
    """A network in the protocol; compiled once and given its first weights again in each fold."""

    def __init__(self, name, data, *, epochs, batch, learning_rate, augmentation, imbalance, seed, classes):
        self.name, self.epochs, self.batch, self.peak = name, epochs, batch, learning_rate
        self.imbalance, self.seed, self.classes = imbalance, seed, classes
        self.images, self.augmentation = data.images, Augmentation.preset(augmentation)
        self.moves = augmentation != "none"
        self.model = None

    def _fresh(self):
        """Compile once; then put weights and optimiser back to their start."""
        if self.model is None:
            keras = networks.backend()
            size = self.images.shape[-1]
            self.model = networks.build(self.name, input_size=size, classes=len(self.classes), seed=self.seed)
            self.model.compile(
                # The learning rate is set before each step; clipping keeps the first steps of a fold tame.
                optimizer=keras.optimizers.AdamW(learning_rate=1e-3, weight_decay=1e-2, clipnorm=1.0),
                loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
            )
            self.model.optimizer.build(self.model.trainable_variables)
            self.first = self.model.get_weights()
            self.optimiser = [np.array(v) for v in self.model.optimizer.variables]
        self.model.set_weights(self.first)
        for variable, value in zip(self.model.optimizer.variables, self.optimiser):
            variable.assign(value)

    def fold(self, table, task, parts, fold, report):
        self._fresh()
        codes = pd.Categorical(table[task], categories=self.classes).codes
        prepared = self.augmentation.prepare(self.images[parts["train"]])
        rng = np.random.default_rng((self.seed, fold))
        validation, truth = condition(self.images[parts["validation"]]), codes[parts["validation"]]
        best, kept, history, started = np.inf, None, [], time.perf_counter()
        order, weights = self._balanced(codes[parts["train"]])
        steps = int(np.ceil(len(order) / self.batch))
        for epoch in range(self.epochs):
            loss = self._epoch(prepared, codes[parts["train"]], order, weights, rng, epoch * steps)
            score = _log_loss(self._predict(validation), truth)
            history.append((epoch + 1, loss, score))
            if score < best:
                best, kept = score, self.model.get_weights()
            if report:
                report(epoch + 1, f"{self.name} fold {fold} epoch {epoch + 1}/{self.epochs}")
        if kept is None:
            raise InputError(f"{self.name}: the loss became infinite in fold {fold}; lower 'learning_rate'.")
        self.model.set_weights(kept)
        took, result, started = time.perf_counter() - started, {}, time.perf_counter()
        for role in ("test", "validation"):
            values = self._predict(condition(self.images[parts[role]]))
            result[role] = (parts[role], values, np.asarray(self.classes)[values.argmax(axis=1)])
        each = (time.perf_counter() - started) / (len(parts["test"]) + len(parts["validation"]))
        costs = {
            "training_s": took,
            "prediction_ms_per_particle": 1e3 * each,
            "weights": self.model.count_params(),
        }
        columns = ["epoch", "loss", "validation_loss"]
        return result | {"costs": costs, "history": pd.DataFrame(history, columns=columns)}

    @property
    def fitted(self):
        """The network of the last fold."""
        return self.model

    def see(self, index):
        """Give the images of particles as the network sees them."""
        return condition(self.images[index])

    def _balanced(self, codes):
        """Give the training particles of an epoch, repeated or weighted as `imbalance` says."""
        counts = np.bincount(codes, minlength=len(self.classes))
        order, weights = np.arange(len(codes)), np.ones(len(codes), np.float32)
        if self.imbalance == "oversample":
            # Minorities are repeated whole, as in 2016: ceil(largest / count) copies in all.
            order = np.repeat(order, np.ceil(counts.max() / counts).astype(int)[codes])
        elif self.imbalance == "class_weight":
            weights = (len(codes) / (np.count_nonzero(counts) * counts))[codes].astype(np.float32)
        return order, weights

    def _epoch(self, prepared, codes, order, weights, rng, step):
        order = rng.permutation(order)
        total = self.epochs * int(np.ceil(len(order) / self.batch))
        labels = np.eye(len(self.classes), dtype=np.float32)
        losses = []
        for start in range(0, len(order), self.batch):
            index = order[start : start + self.batch]
            if self.moves:
                images = self.augmentation.apply_prepared(
                    prepared, self.augmentation.draw(len(index), rng), index
                )
            else:
                images = prepared.images[index]
            self.model.optimizer.learning_rate = self.peak * _one_cycle((step + start // self.batch) / total)
            losses.append(
                float(
                    self.model.train_on_batch(
                        condition(images)[..., None], labels[codes[index]], weights[index]
                    )
                )
            )
        return float(np.mean(losses))

    def _predict(self, images):
        """Give class probabilities of conditioned images, a block at a time."""
        blocks = [
            self.model.predict_on_batch(images[i : i + 256, ..., None]) for i in range(0, len(images), 256)
        ]
        logits = np.concatenate(blocks).astype(np.float64)
        exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponent / exponent.sum(axis=1, keepdims=True)


def _one_cycle(progress):
    """Give the share of the peak learning rate at `progress` in [0, 1]: a linear rise, then half a cosine."""
    rise = 0.25
    return (
        0.04 + 0.96 * progress / rise
        if progress < rise
        else 0.5 * (1 + np.cos(np.pi * (progress - rise) / (1 - rise)))
    )


def _log_loss(values, codes):
    """Give the mean over classes of the mean log loss, so that a rare class counts as much as a common one."""
    losses = -np.log(np.maximum(values[np.arange(len(codes)), codes], 1e-9))
    return float(np.mean([losses[codes == k].mean() for k in np.unique(codes)]))
