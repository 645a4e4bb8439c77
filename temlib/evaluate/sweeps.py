"""What a sweep shows: a measure against a parameter of the matrix, and how many labels a score would need.

All of it comes from the run's joined tables: `measured` is its `measures.csv`. A run over several seeds measures the
same particles again: values and interval limits are averaged over seeds, and n stays the number of particles. Such an
interval is that of one training, and a little wider than that of the mean.
"""

import numpy as np
import pandas as pd

from temlib.evaluate.answer import two_digits, with_interval
from temlib.evaluate.intervals import AVERAGES
from temlib.evaluate.measures import COLUMNS
from temlib.files import InputError

# What a score tends to with endless labels: an assumption, which wrong labels prevent.
PERFECT = 1.0


def axes(measured):
    """Return the parameters that take several values in a run; the task is a facet, seeds are averaged over."""
    return [name for name in measured if name not in (*COLUMNS, "seed") and measured[name].nunique() > 1]


def sweep(measured, axis, *, measure="balanced accuracy", label="all"):
    """Return one measure (of the class `label`) against the parameter `axis`, one of `axes`, in the order of the axis.

    Columns task, model, <swept parameters>, value, low, high, n, micrographs, seeds, least, most (over seeds). Undefined
    values are left out.
    """
    swept = axes(measured)
    if axis not in swept:
        several = ", ".join(swept) or "none"
        raise InputError(
            f"measures.csv: '{axis}' does not take several values in this run; those that do are {several}."
        )
    rows = measured[(measured["measure"] == measure) & (measured["class"] == label)].dropna(subset="value")
    if rows.empty:
        known = sorted(measured.loc[measured["class"] == label, "measure"].unique())
        raise InputError(f"measures.csv: there is no '{measure}' of '{label}'; there are {', '.join(known)}.")
    rows = rows.assign(seeds=rows.get("seed", 0), least=rows["value"], most=rows["value"])
    how = dict.fromkeys(("value", "low", "high"), "mean") | dict.fromkeys(("n", "micrographs"), "max")
    how |= {"seeds": "nunique", "least": "min", "most": "max"}
    found = rows.groupby(["task", "model", *swept], sort=False, dropna=False).agg(how).reset_index()
    for name in swept:
        found[name] = _numbers(found[name])
    return found.sort_values(["task", "model", axis], kind="stable", ignore_index=True)


def comparison(tables, measured):
    """Return the tables of `sweep` (a dict by axis) below each other with a column `axis`; empty without any."""
    return pd.concat([table.assign(axis=axis) for axis, table in tables.items()] or [measured.head(0)])


def learning(history, axis):
    """Return the learning curves of a run (its joined `history.csv`), averaged over folds and seeds.

    Columns model, <axis>, <other parameters>, epoch, loss, validation_loss; `axis` is the parameter that is compared.
    """
    if axis not in history:
        raise InputError(f"history.csv: '{axis}' is not swept in this run.")
    own = ("model", "fold", "epoch", "loss", "validation_loss", "validation_accuracy", "seed", axis)
    others = [name for name in history if name not in own and history[name].nunique() > 1]
    grouped = history.groupby(["model", axis, *others, "epoch"], sort=False, dropna=False)
    found = grouped[["loss", "validation_loss"]].mean().reset_index()
    return found.assign(**{axis: _numbers(found[axis])})


def _numbers(column):
    """Return text that spells numbers as numbers; other text in the order in which it first occurs."""
    values = pd.to_numeric(column, errors="coerce")
    in_order = pd.CategoricalDtype(column.unique(), ordered=True)
    return column.astype(in_order) if values.isna().any() else values


def rarest(measured):
    """Return what each choice of a sweep does to the rarest class: values and 95 % intervals as text.

    Columns task (where there are several), model, <swept parameters>, class, TPR, PPV, Brier score (0 is perfect) of that
    class, and accuracy and balanced accuracy of all. Empty without a sweep.
    """
    swept = axes(measured)
    if not swept:
        return pd.DataFrame()
    parts, keys = [], ["task", "model", *swept]
    of_one_class = (measured["measure"] == "TPR") & ~measured["class"].isin(["all", *AVERAGES])
    for task, rows in measured[of_one_class].groupby("task", sort=False):
        name = rows.loc[rows["n"].idxmin(), "class"]
        wanted = dict.fromkeys(("TPR", "PPV", "Brier score"), name)
        wanted |= dict.fromkeys(("accuracy", "balanced accuracy"), "all")
        columns = {}
        for measure, label in wanted.items():
            found = sweep(measured[measured["task"] == task], swept[0], measure=measure, label=label)
            text = [with_interval(row, two_digits) for _, row in found.iterrows()]
            columns[measure] = pd.Series(text, index=pd.MultiIndex.from_frame(found[keys]))
        parts.append(pd.DataFrame(columns).reset_index().assign(**{"class": name}))
    found = pd.concat(parts, ignore_index=True).fillna("undefined")
    shown = keys[found["task"].nunique() == 1 :]  # one task needs no column
    return found[[*shown, "class", *wanted]]


def power_law(labels, scores):
    """Return a and b of `PERFECT` − score = a · labels^(−b), by least squares of logarithms, or None."""
    labels, errors = np.asarray(labels, float), PERFECT - np.asarray(scores, float)
    usable = (errors > 0) & (labels > 0)
    if len(set(labels[usable])) < 3:
        return None
    slope, start = np.polyfit(np.log(labels[usable]), np.log(errors[usable]), 1)
    return float(np.exp(start)), float(-slope)


def labels_needed(curve, *, target=0.9):
    """Return how many labels each model needs for the score `target`, by the power law of its curve (`with_labels`).

    Columns task, model, a, b, labels needed, how: whether the number lies within what was measured. Numbers below the
    least measured one, or beyond ten times the largest, are not given.
    """
    rows = [
        (*names, *_needed(part["labelled"], power_law(part["labelled"], part["value"]), target))
        for names, part in curve.groupby(["task", "model"], sort=False)
    ]
    return pd.DataFrame(rows, columns=["task", "model", "a", "b", "labels needed", "how"])


def _needed(labelled, fit, target):
    """Return a, b, the number of labels needed (or NaN), and how it was found."""
    if fit is None:
        return np.nan, np.nan, np.nan, "a fit needs three different numbers of labels"
    a, b = fit
    if b <= 0:
        return a, b, np.nan, "the score does not rise with the number of labels"
    needed = (a / (PERFECT - target)) ** (1 / b)
    if needed > 10 * labelled.max():
        return a, b, np.nan, "more than ten times the largest number measured"
    if needed < labelled.min():
        return a, b, np.nan, f"fewer than {labelled.min():g}, the smallest number measured"
    return a, b, np.ceil(needed), "within what was measured" if needed <= labelled.max() else "extrapolated"


def with_labels(measured, costs):
    """Return the balanced accuracy against the number of labelled particles, the mean over folds and seeds.

    It is `sweep` with a column `labelled`, empty where the run (`measures.csv`, `costs.csv`) does not sweep `labels`.
    """
    if "labels" not in axes(measured):
        return pd.DataFrame(columns=["task", "model", "labelled", "value"])
    swept, costs = sweep(measured, "labels"), costs.assign(labels=pd.to_numeric(costs["labels"]))
    keys = [key for key in ("task", "model", "labels", "labels_from") if key in costs and key in swept]
    counts = costs.groupby(keys)["labelled"].mean().round().reset_index()
    return swept.astype({k: object for k in keys if k != "labels"}).merge(counts, on=keys, how="left")
