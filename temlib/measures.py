"""What a classifier is worth on held-out particles: measures, intervals by micrograph, paired comparisons.

All of it is computed from the predictions table (see docs/architecture.md): from rows whose `role` is "test",
each particle once, and from counts per micrograph. An undefined measure is NaN with the reason in `method`,
never 0.
"""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from temlib import intervals
from temlib.confusions import (
    FORMULAS,
    call_labels,
    call_values,
    fewest,
    is_proportion,
    rests_on,
    shares,
    undefined,
    worked,
)
from temlib.files import InputError
from temlib.scores import score_estimates, score_labels
from temlib.tested import by_model, classes_of

__all__ = ["FORMULAS", "baseline", "classes_of", "compare", "confusion", "table", "warnings", "worked"]

COLUMNS = ("task", "model", "class", "measure", "value", "low", "high", "n", "micrographs", "method")
DIFFERENCE = ("difference", "low", "high", "p_value", "p_holm", "n", "micrographs", "method")
# Below these an interval is wide and its coverage unsure; the report says so.
FEW_MICROGRAPHS, FEW_POSITIVES = 20, 30


def confusion(predictions, classes):
    """Return counts of the test particles of one model.

    Parameters
    ----------
    predictions : DataFrame
        Rows of one model.
    classes : list of str

    Returns
    -------
    DataFrame
        (classes, classes) whole numbers; rows are the truth, columns the calls.

    Raises
    ------
    InputError
        The rows of several models, or what `tested.by_model` refuses.
    """
    tested = by_model(predictions, classes)
    if len(tested) != 1:
        raise InputError(
            f"A confusion matrix is of one model, but the predictions hold {len(tested)} "
            f"({', '.join(tested)}): select the rows of one."
        )
    (held,) = tested.values()
    counts = _total(held.truth, held.predicted, len(classes))
    return pd.DataFrame(counts, pd.Index(classes, name="truth"), pd.Index(classes, name="predicted"))


def _total(truth, predicted, size):
    """Return confusion counts (size, size)."""
    return np.bincount(truth * size + predicted, minlength=size**2).reshape(size, size)


def _unit_counts(held, predicted, size):
    """Return confusion counts (models, units, size, size) on the same units, and their multiplicities
    (units,).

    `predicted` is (models, n). Independent particles with the same truth and calls are one unit.
    """
    if held.independent:
        kinds, weights = np.unique(np.vstack([held.truth, predicted]), axis=1, return_counts=True)
        counts = [np.eye(size**2)[kinds[0] * size + calls].reshape(-1, size, size) for calls in kinds[1:]]
        return np.array(counts), weights.astype(float)
    units = held.micrograph.max() + 1
    cells = (held.micrograph * size + held.truth) * size + predicted
    counts = [np.bincount(cell, minlength=units * size**2).reshape(units, size, size) for cell in cells]
    return np.array(counts, float), np.ones(units)


def call_estimates(counts, weights, independent, classes):
    """Return the `intervals.Estimates` of every measure of calls.

    Parameters
    ----------
    counts : (units, classes, classes) ndarray
        Confusion counts of each unit, rows the truth.
    weights : (units,) ndarray
        How often each unit occurs: 1 for a micrograph.
    independent : bool
        Units are kinds of independent particles, not micrographs.
    classes : list of str
    """
    total = np.tensordot(weights, counts, axes=1)
    sizes = rests_on(counts)
    influences = intervals.linearised(call_values, counts, weights) * intervals.spread(weights @ (sizes > 0))
    value = call_values(total)
    lower = np.zeros(len(value))
    lower[-2:] = -1  # MCC and kappa
    return intervals.Estimates(
        value,
        influences,
        sizes,
        shares(counts, total),
        fewest(total),
        lower,
        np.ones(len(value)),
        weights,
        independent,
        is_proportion(classes),
    )


def _parts(held, classes):
    """Return [(labels, Estimates, reasons)] of the measures of calls and of probabilities of one model."""
    (counts,), weights = _unit_counts(held, held.predicted[None], len(classes))
    calls = call_estimates(counts, weights, held.independent, classes)
    reasons = undefined(np.tensordot(weights, counts, axes=1), classes)
    return [(call_labels(classes), calls, reasons), (score_labels(classes), *score_estimates(held, classes))]


def table(predictions, *, task, classes=None, confidence=0.95):
    """Return every measure of every model, with intervals.

    Parameters
    ----------
    predictions : DataFrame
        Columns particle, model, truth, predicted, and optionally micrograph, role, p_<class>.
    task : str
        Written into the table.
    classes : list of str, optional
        Default: `classes_of(predictions)`.
    confidence : float
        Of the intervals, in (0, 1).

    Returns
    -------
    DataFrame
        Columns task, model, class, measure, value, low, high, n, micrographs, method. `class` is a class
        name, "macro", "micro", "weighted", or "all". `n` and `micrographs` count the particles that the
        measure rests on (the truly positive for a TPR) and the micrographs that hold them. `attrs["notes"]`
        are sentences on what was left out or averaged.

    Raises
    ------
    InputError
        A missing column, a label that is no class, no labelled test row.
    """
    classes = list(classes) if classes is not None else classes_of(predictions)
    tested = by_model(predictions, classes)
    frames = []
    for model, held in tested.items():
        for labels, estimates, reasons in _parts(held, classes):
            frames.append(_measured(labels, estimates, reasons, confidence).assign(model=model))
    result = pd.concat(frames, ignore_index=True).assign(task=task)[list(COLUMNS)]
    result.attrs["notes"] = [f"{model}: {note}." for model, held in tested.items() for note in held.notes]
    return result


def _measured(labels, estimates, reasons, confidence):
    """Return the rows of one model as a DataFrame."""
    low, high, method = intervals.of_values(estimates, confidence=confidence)
    rows = pd.DataFrame(
        {
            "class": [label for _, label in labels],
            "measure": [measure for measure, _ in labels],
            "value": estimates.value,
            "low": low,
            "high": high,
            "n": (estimates.weights @ estimates.sizes).astype(int),
            "micrographs": estimates.units.astype(int),
            "method": np.where(np.isnan(estimates.value), reasons, method),
        }
    )
    return _with_still_means(rows)


def _with_still_means(rows):
    """Give a mean over classes that no micrograph moves the interval that the classes' own intervals leave it.

    So it is with a classifier that always calls one class: its balanced accuracy rests on the many particles of the
    frequent classes too, not on as few as the rarest class has. Half widths are squared and added [1]_. Values at the
    end of the range keep the interval whose coverage was simulated.

    References
    ----------
    .. [1] G. Y. Zou, A. Donner, Stat. Med. 27 (2008) 1693-1702, doi:10.1002/sim.3095.
    """
    means = (rows["class"] == "macro") | (rows["measure"] == "balanced accuracy")
    still = (
        means
        & rows["method"].str.startswith(intervals.STILL)
        & rows["value"].between(0, 1, inclusive="neither")
    )
    for place in rows.index[still]:
        of = "TPR" if rows.loc[place, "measure"] == "balanced accuracy" else rows.loc[place, "measure"]
        parts = rows[(rows["measure"] == of) & ~rows["class"].isin(["macro", "micro", "weighted"])]
        for end in ("low", "high"):
            away = np.sqrt(((parts["value"] - parts[end]) ** 2).sum(skipna=False)) / len(parts)
            rows.loc[place, end] = rows.loc[place, "value"] + (away if end == "high" else -away)
        rows.loc[place, "method"] = f"{intervals.STILL}: the classes' intervals, squared and added"
    return rows


def compare(
    predictions, *, task, primary="balanced accuracy", classes=None, confidence=0.95, flips=10_000, seed=0
):
    """Return paired differences of every measure for every pair of models, on the particles of both.

    Parameters
    ----------
    predictions, task, classes, confidence
        As for `table`.
    primary : str
        The one measure, declared beforehand, whose p values are adjusted over all pairs (Holm); of a
        one-vs-rest measure the macro average.
    flips : int
        Random exchanges of the sign-flip test.
    seed : int or numpy.random.Generator
        Of those exchanges.

    Returns
    -------
    DataFrame
        Columns task, model_a, model_b, class, measure, difference (a - b), low, high, p_value, p_holm (NaN
        for all but the primary measure), n, micrographs, method.
    """
    classes = list(classes) if classes is not None else classes_of(predictions)
    known = dict.fromkeys(name for name, _ in call_labels(classes) + score_labels(classes))
    if primary not in known:
        raise InputError(f"{primary!r} is no measure: declare one of {', '.join(known)} as primary.")
    tested = by_model(predictions, classes)
    rng = np.random.default_rng(seed)
    frames = [pd.DataFrame(columns=["model_a", "model_b", "class", "measure", *DIFFERENCE])]
    for a, b in combinations(tested, 2):
        one, two = _common(tested[a], tested[b])
        parts = [calls_compared, scores_compared] if len(one.truth) else [_nothing_compared]
        frames += [f(one, two, classes, confidence, flips, rng).assign(model_a=a, model_b=b) for f in parts]
    result = pd.concat(frames[1:] or frames, ignore_index=True).assign(task=task, p_holm=np.nan)
    main = (result["measure"] == primary) & result["class"].isin(["all", "macro"])
    result.loc[main, "p_holm"] = intervals.holm(result.loc[main, "p_value"])
    return result[["task", "model_a", "model_b", "class", "measure", *DIFFERENCE]]


def _common(a, b):
    """Return two models' particles in the same order, those that both have."""
    place = pd.Index(b.particle).get_indexer(a.particle)
    return a.take(np.flatnonzero(place >= 0)), b.take(place[place >= 0])


def _nothing_compared(one, two, classes, confidence, flips, rng):
    """Return the rows of two models that share no particle."""
    labels = call_labels(classes) + score_labels(classes)
    rows = pd.DataFrame(labels, columns=["measure", "class"])
    rows = rows.assign(difference=np.nan, low=np.nan, high=np.nan, p_value=np.nan, n=0, micrographs=0)
    return rows.assign(method="undefined: the models share no particle")


def calls_compared(one, two, classes, confidence, flips, rng):
    """Return the differences of two models' measures of calls, with sign-flip or exact McNemar p values.

    Parameters
    ----------
    one, two : tested.HeldOut
        The same particles in the same order.
    classes, confidence, flips
        As for `compare`.
    rng : numpy.random.Generator
        Of the exchanges.

    Returns
    -------
    DataFrame
        The columns of `compare` but for task, models and p_holm.
    """
    counts, weights = _unit_counts(one, np.vstack([one.predicted, two.predicted]), len(classes))
    both = [call_estimates(c, weights, one.independent, classes) for c in counts]
    reasons = [undefined(np.tensordot(weights, c, axes=1), classes) for c in counts]
    p_value = intervals.exchange_test(call_values, *counts, weights, flips=flips, seed=rng)
    labels = call_labels(classes)
    test = np.full(
        len(labels), "sign-flip of " + ("particles" if one.independent else "micrographs"), dtype=object
    )
    for k, (measure, label) in enumerate(labels if one.independent else []):
        right = _rightly_called(one, two, measure, label, classes)
        if right is not None and not np.isnan(p_value[k]):
            only = np.count_nonzero(right[0] & ~right[1]), np.count_nonzero(right[1] & ~right[0])
            p_value[k], test[k] = intervals.mcnemar_exact(*only), "exact McNemar"
    return _differences(labels, both, reasons, p_value, test, confidence)


def _rightly_called(one, two, measure, label, classes):
    """Return which particles each model has right, of those that a measure is a share of, or None."""
    if measure == "accuracy":
        return one.predicted == one.truth, two.predicted == two.truth
    if measure not in ("TPR", "TNR") or label not in classes:
        return None
    place = classes.index(label)
    among = (one.truth == place) == (measure == "TPR")
    return tuple((held.predicted[among] == place) == (measure == "TPR") for held in (one, two))


def scores_compared(one, two, classes, confidence, flips, rng):
    """Return the differences of two models' measures of probabilities, with t tests on influences.

    Parameters and returns are those of `calls_compared`; nothing is drawn.

    References
    ----------
    .. [1] N. A. Obuchowski, Biometrics 53 (1997) 567-578, doi:10.2307/2533958 (AUC, micrographs as clusters).
    .. [2] E. R. DeLong et al., Biometrics 44 (1988) 837-845, doi:10.2307/2531595 (AUC, independent particles).
    """
    both, reasons = zip(*(score_estimates(held, classes) for held in (one, two)))
    difference = both[0].value - both[1].value
    error = np.sqrt(both[0].weights @ (both[0].influences - both[1].influences) ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = np.where(error > 0, 2 * stats.t.sf(np.abs(difference) / error, both[0].df), 1.0)
    p_value[np.isnan(difference) | np.isnan(error)] = np.nan
    labels = score_labels(classes)
    area = "DeLong 1988" if one.independent else "clustered AUC, Obuchowski 1997"
    test = [area if measure == "AUC" else "t test of influences" for measure, _ in labels]
    return _differences(labels, both, reasons, p_value, test, confidence)


def difference_of(one, two):
    """Return the `intervals.Estimates` of the differences between two `Estimates` on the same units."""
    return replace(
        one,
        value=one.value - two.value,
        influences=one.influences - two.influences,
        sizes=np.maximum(one.sizes, two.sizes),
        shares=(one.shares + two.shares) / 2,
        fewest=np.minimum(one.fewest, two.fewest),
        lower=one.lower - one.upper,
        upper=one.upper - one.lower,
    )


def _differences(labels, both, reasons, p_value, test, confidence):
    """Return the differences of two `Estimates` on the same units as a DataFrame."""
    estimates = difference_of(*both)
    low, high, method = intervals.of_differences(estimates, confidence=confidence)
    reason = np.where(reasons[0] == "", reasons[1], reasons[0])
    return pd.DataFrame(
        {
            "class": [label for _, label in labels],
            "measure": [measure for measure, _ in labels],
            "difference": estimates.value,
            "low": low,
            "high": high,
            "p_value": p_value,
            "n": (estimates.weights @ estimates.sizes).astype(int),
            "micrographs": estimates.units.astype(int),
            "method": np.where(
                np.isnan(estimates.value), reason, method + "; p: " + np.array(test, dtype=object)
            ),
        }
    )


def baseline(predictions, *, task, classes=None):
    """Return what always calling the most frequent class scores on each measure (the accuracy paradox).

    Parameters
    ----------
    predictions, task, classes
        As for `table`; the truth of the first model's test particles is used.

    Returns
    -------
    DataFrame
        As `table` without intervals; `model` is "always <class>".
    """
    classes = list(classes) if classes is not None else classes_of(predictions)
    held = next(iter(by_model(predictions, classes).values()))
    majority = int(np.argmax(np.bincount(held.truth, minlength=len(classes))))
    total = _total(held.truth, np.full(len(held.truth), majority), len(classes)).astype(float)
    reasons = undefined(total, classes)
    labels = call_labels(classes)
    result = pd.DataFrame(
        {
            "task": task,
            "model": f"always {classes[majority]}",
            "class": [label for _, label in labels],
            "measure": [measure for measure, _ in labels],
            "value": call_values(total),
            "low": np.nan,
            "high": np.nan,
            "n": rests_on(total).astype(int),
            "micrographs": held.micrograph.max() + 1,
            "method": np.where(reasons == "", "no classifier", reasons),
        }
    )
    return result[list(COLUMNS)]


def warnings(measured):
    """Return sentences on what makes the numbers of a measures table unsure.

    Parameters
    ----------
    measured : DataFrame
        From `table`, of one or more tasks.

    Returns
    -------
    list of str
        What was left out or averaged, fewer than 20 micrographs, fewer than 30 particles of a class; empty where
        there is nothing to say.
    """
    found_in = {}  # what is said, of which models: models that rest on the same particles share a sentence
    for (task, model), rows in measured.groupby(["task", "model"], sort=False):
        micrographs = rows["micrographs"].max()
        if micrographs < FEW_MICROGRAPHS:
            words = f"{micrographs} micrographs are fewer than {FEW_MICROGRAPHS}, so intervals are unsure."
            found_in.setdefault((task, words), []).append(model)
        found = rows[(rows["measure"] == "TPR") & ~rows["class"].isin(["macro", "micro", "weighted"])]
        for label, n in zip(found["class"], found["n"]):
            if n < FEW_POSITIVES:
                words = f"{n} particles are truly {label}, fewer than {FEW_POSITIVES}, so what rests on them is unsure."
                found_in.setdefault((task, words), []).append(model)
    said = [f"{', '.join(models)} on {task}: {words}" for (task, words), models in found_in.items()]
    return [*measured.attrs.get("notes", []), *said]
