"""What a sweep shows: a measure against a parameter of the matrix, and how many labels a score would need.

All of it comes from the run's joined tables. A run over several seeds measures the same particles again: values and interval
limits are averaged over seeds, and n stays the number of particles. Such an interval is that of one training, and a
little wider than that of the mean.
"""

import numpy as np
import pandas as pd

from temlib.evaluate.measures import COLUMNS
from temlib.files import InputError

# Columns that are no parameter to compare: the task is a facet, seeds are averaged over.
_NO_AXIS = (*COLUMNS, "seed")


def axes(measured):
    """List the parameters that a run sweeps, of those that take several values.

    Parameters
    ----------
    measured : DataFrame
        The run's joined `measures.csv`.
    """
    return [name for name in measured if name not in _NO_AXIS and measured[name].nunique() > 1]


def table(measured, axis, *, measure="balanced accuracy", label="all"):
    """Give one measure against one parameter.

    Parameters
    ----------
    measured : DataFrame
        The run's joined `measures.csv`.
    axis : str
        The parameter, one of `axes`.
    measure, label : str
        As in the columns `measure` and `class`.

    Returns
    -------
    DataFrame
        `task, model, <axis>, <other parameters>, value, low, high, n, micrographs, seeds, least, most` (over seeds), in the
        order of the axis; numbers are numbers. Undefined values are left out.

    Raises
    ------
    InputError
        If the run does not sweep `axis` or knows no such measure.
    """
    swept = axes(measured)
    if axis not in swept:
        raise InputError(
            f"measures.csv: '{axis}' does not take several values in this run; those that do are {', '.join(swept) or 'none'}."
        )
    rows = measured[(measured["measure"] == measure) & (measured["class"] == label)].dropna(subset="value")
    if rows.empty:
        known = sorted(measured.loc[measured["class"] == label, "measure"].unique())
        raise InputError(f"measures.csv: there is no '{measure}' of '{label}'; there are {', '.join(known)}.")
    keys = ["task", "model", *swept]
    if "seed" not in rows:
        rows = rows.assign(seed=0)
    found = rows.groupby(keys, sort=False, dropna=False).agg(
        value=("value", "mean"),
        low=("low", "mean"),
        high=("high", "mean"),
        n=("n", "max"),
        micrographs=("micrographs", "max"),
        seeds=("seed", "nunique"),
        least=("value", "min"),
        most=("value", "max"),
    )
    found = found.reset_index()
    for name in swept:
        found[name] = _numbers(found[name])
    return found.sort_values(["task", "model", axis], kind="stable", ignore_index=True)


def learning(history, axis):
    """Average the learning curves of a run over folds and seeds.

    Parameters
    ----------
    history : DataFrame
        The run's joined `history.csv`.
    axis : str
        The parameter that is compared, one of its columns.

    Returns
    -------
    DataFrame
        `model, <axis>, <other parameters>, epoch, loss, validation_loss`, in the order in which the run has them.
    """
    if axis not in history:
        raise InputError(f"history.csv: '{axis}' is not swept in this run.")
    curves = ("fold", "epoch", "loss", "validation_loss", "validation_accuracy", "seed")
    others = [
        name for name in history if name not in (*curves, "model", axis) and history[name].nunique() > 1
    ]
    keys = ["model", axis, *others]
    found = (
        history.groupby([*keys, "epoch"], sort=False, dropna=False)[["loss", "validation_loss"]]
        .mean()
        .reset_index()
    )
    found[axis] = _numbers(found[axis])
    return found


def _numbers(column):
    """Turn text that spells numbers into numbers; leave other text in the order in which it came."""
    values = pd.to_numeric(column, errors="coerce")
    return (
        column.astype(pd.CategoricalDtype(column.unique(), ordered=True)) if values.isna().any() else values
    )


def rarest(measured):
    """Show what each choice does to the rarest class.

    Parameters
    ----------
    measured : DataFrame
        The run's joined `measures.csv` of a run that sweeps something.

    Returns
    -------
    DataFrame
        `task` where there are several, `model, <what is swept>, class`, and of that class `TPR, PPV, Brier score` (0 is
        perfect), beside accuracy and balanced
        accuracy of all; value and 95 % interval as text.
    """
    positives = measured[
        (measured["measure"] == "TPR") & ~measured["class"].isin(["all", "macro", "micro", "weighted"])
    ]
    parts, keys = [], ["task", "model", *axes(measured)]
    for task, rows in positives.groupby("task", sort=False):
        name = rows.loc[rows["n"].idxmin(), "class"]
        of_task = measured[measured["task"] == task]
        wanted = [
            ("TPR", name),
            ("PPV", name),
            ("Brier score", name),
            ("accuracy", "all"),
            ("balanced accuracy", "all"),
        ]
        columns = {}
        for measure, label in wanted:
            rows = table(of_task, keys[2], measure=measure, label=label)
            text = [
                f"{v:.2f} ({lo:.2f}–{hi:.2f})" if np.isfinite(lo) else f"{v:.2f}"
                for v, lo, hi in zip(rows["value"], rows["low"], rows["high"])
            ]
            columns[measure] = pd.Series(text, index=pd.MultiIndex.from_frame(rows[keys]))
        parts.append(pd.DataFrame(columns).reset_index().assign(**{"class": name}))
    found = pd.concat(parts, ignore_index=True).fillna("undefined")
    shown = keys[found["task"].nunique() == 1 :]  # one task needs no column
    return found[[*shown, "class", *list(columns)]]


def power_law(labels, scores, *, perfect=1.0):
    """Fit perfect − score = a · labels^(−b) by least squares of the logarithms.

    Parameters
    ----------
    labels : sequence of float
        Numbers of labelled particles, at least three different ones.
    scores : sequence of float
        Below `perfect`.
    perfect : float
        What the score tends to with endless labels, an assumption.

    Returns
    -------
    (float, float) or None
        a and b; None where three different points are not there.
    """
    labels, errors = np.asarray(labels, float), perfect - np.asarray(scores, float)
    usable = (errors > 0) & (labels > 0)
    if len(set(labels[usable])) < 3:
        return None
    slope, start = np.polyfit(np.log(labels[usable]), np.log(errors[usable]), 1)
    return float(np.exp(start)), float(-slope)


def labels_needed(curve, *, target=0.9):
    """Say how many labels each model needs for a score, by the power law of its learning curve.

    Parameters
    ----------
    curve : DataFrame
        `task, model, labelled, value`, as `table` gives with a column of the number of labels.
    target : float
        The score to reach.

    Returns
    -------
    DataFrame
        `task, model, a, b, labels needed, how`; `how` says whether the number lies within what was measured. Numbers
        below the least measured one, or beyond ten times the largest, are not given.
    """
    rows = []
    for (task, model), part in curve.groupby(["task", "model"], sort=False):
        fit, largest = power_law(part["labelled"], part["value"]), part["labelled"].max()
        row = {"task": task, "model": model, "a": np.nan, "b": np.nan, "labels needed": np.nan}
        if fit is None:
            row["how"] = "a fit needs three numbers of labels"
        else:
            row["a"], row["b"] = fit
            needed = (fit[0] / (1 - target)) ** (1 / fit[1]) if fit[1] > 0 else np.inf
            if fit[1] <= 0:
                row["how"] = "the score does not rise with labels"
            elif needed > 10 * largest:
                row["how"] = "not within ten times the labels"
            elif needed < part["labelled"].min():
                row["how"] = f"fewer than the {part['labelled'].min():g} with which it was measured"
            else:
                row["labels needed"] = np.ceil(needed)
                row["how"] = "within what was measured" if needed <= largest else "extrapolated"
        rows.append(row)
    return pd.DataFrame(rows)


def with_labels(swept, costs):
    """Add the number of labelled particles, the mean over folds and seeds, to a table over `labels`.

    Parameters
    ----------
    swept : DataFrame
        From `table` with the axis "labels".
    costs : DataFrame
        The run's joined `costs.csv`.
    """
    costs = costs.assign(labels=pd.to_numeric(costs["labels"]))
    keys = [key for key in ("task", "model", "labels", "labels_from") if key in costs and key in swept]
    counts = costs.groupby(keys)["labelled"].mean().round().reset_index()
    return swept.astype({k: object for k in keys if k != "labels"}).merge(counts, on=keys, how="left")
