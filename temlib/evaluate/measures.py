"""What a classifier is worth on held-out particles: measures, intervals by micrograph, paired comparisons.

All of it is computed from the predictions table (see docs/architecture.md): from rows whose `role` is "test",
each particle once, and from counts per micrograph. An undefined measure is NaN with the reason in `method`,
never 0.

Measures of a confusion matrix: rows are the truth, columns the calls, as counts of particles.

Undefined stays undefined: a measure whose denominator is 0 is NaN, and `undefined` says why. All functions
take leading axes, and complex counts, so that derivatives can be taken by a complex step.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from temlib.evaluate import intervals
from temlib.evaluate.predictions import by_model, classes_of
from temlib.evaluate.scores import score_estimates, score_labels
from temlib.files import InputError

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


@dataclass(frozen=True)
class Rate:
    """A one-vs-rest measure: a ratio of functions of TP, FP, TN, FN, and in words."""

    formula: str
    undefined: str  # why, with the class to be filled in
    numerator: Callable
    denominator: Callable
    rests_on: Callable  # how many particles it says something about


def _share(formula, undefined, part, whole):
    """Return the `Rate` of a part of some particles: it rests on them."""
    return Rate(formula, undefined, part, whole, whole)


RATES = {
    "TPR": _share(
        "TP / (TP + FN)",
        "no particle is truly {0}",
        lambda tp, fp, tn, fn: tp,
        lambda tp, fp, tn, fn: tp + fn,
    ),
    "TNR": _share(
        "TN / (TN + FP)",
        "every particle is truly {0}",
        lambda tp, fp, tn, fn: tn,
        lambda tp, fp, tn, fn: tn + fp,
    ),
    "PPV": _share(
        "TP / (TP + FP)",
        "no particle is called {0}",
        lambda tp, fp, tn, fn: tp,
        lambda tp, fp, tn, fn: tp + fp,
    ),
    "NPV": _share(
        "TN / (TN + FN)",
        "every particle is called {0}",
        lambda tp, fp, tn, fn: tn,
        lambda tp, fp, tn, fn: tn + fn,
    ),
    "F1": Rate(
        "2 × TP / (2 × TP + FP + FN)",
        "no particle is truly or called {0}",
        lambda tp, fp, tn, fn: 2 * tp,
        lambda tp, fp, tn, fn: 2 * tp + fp + fn,
        lambda tp, fp, tn, fn: tp + fp + fn,
    ),
    # The slides call this F1; the standard F1 is the harmonic mean of PPV and TPR.
    "harmonic mean of TPR and TNR": Rate(
        "2 × TP × TN / (TP × (TN + FP) + TN × (TP + FN))",
        "TPR or TNR of {0} is undefined, or both are 0",
        lambda tp, fp, tn, fn: 2 * tp * tn,
        lambda tp, fp, tn, fn: tp * (tn + fp) + tn * (tp + fn),
        lambda tp, fp, tn, fn: tp + fp + tn + fn,
    ),
}
# For reports: the formula of each one-vs-rest measure as text.
FORMULAS = {name: rate.formula for name, rate in RATES.items()}
AVERAGES = ("macro", "micro", "weighted")
OVERALL = ("accuracy", "balanced accuracy", "MCC", "kappa")
OVERALL_UNDEFINED = {
    "accuracy": "no particle",
    "balanced accuracy": "a class has no particle",
    "MCC": "all particles are truly, or called, of one class",
    "kappa": "all particles are truly and called of one class",
}
# Where every particle has one class, the micro TPR, PPV and F1 and the weighted TPR are the accuracy.
ACCURACIES = (("TPR", "micro"), ("PPV", "micro"), ("F1", "micro"), ("TPR", "weighted"), ("accuracy", "all"))


def one_vs_rest(counts):
    """Return TP, FP, TN, FN (..., classes) of counts (..., classes, classes)."""
    tp = np.diagonal(counts, axis1=-2, axis2=-1)
    fn, fp = counts.sum(-1) - tp, counts.sum(-2) - tp
    return tp, fp, counts.sum((-2, -1))[..., None] - tp - fp - fn, fn


def _ratio(numerator, denominator):
    """Return the ratio, NaN where the denominator is 0; complex numbers pass."""
    zero = denominator == 0
    return np.where(zero, np.nan, numerator / np.where(zero, 1, denominator))


def call_labels(classes):
    """Return (measure, class) of every measure of calls, in the order of `call_values`."""
    one = [(name, label) for name in RATES for label in (*classes, *AVERAGES)]
    return one + [(name, "all") for name in OVERALL]


def is_proportion(classes):
    """Return which measures of calls (K,) count particles out of a number: Wilson's interval holds."""
    simple = ("TPR", "TNR", "PPV", "NPV")
    labels = call_labels(classes)
    return np.array([(m in simple and c not in AVERAGES) or (m, c) in ACCURACIES for m, c in labels])


def call_values(counts):
    """Return every measure of calls.

    Parameters
    ----------
    counts : (..., classes, classes) ndarray
        Confusion counts, rows the truth. May be complex, so that derivatives can be taken by a complex step.

    Returns
    -------
    (..., K) ndarray
        In the order of `call_labels`; NaN where undefined. "micro" sums TP, FP, TN, FN over the classes;
        "weighted" is the mean over the classes weighted by their true numbers; MCC is Gorodkin's R_K.

    References
    ----------
    .. [1] J. Gorodkin, Comput. Biol. Chem. 28 (2004) 367-374, doi:10.1016/j.compbiolchem.2004.09.006.
    .. [2] J. Cohen, Educ. Psychol. Meas. 20 (1960) 37-46, doi:10.1177/001316446002000104.
    """
    parts = one_vs_rest(counts)
    summed = [part.sum(-1, keepdims=True) for part in parts]
    truly = counts.sum(-1)
    called = counts.sum(-2)
    n = truly.sum(-1, keepdims=True)
    share = _ratio(truly, n)
    columns = []
    for rate in RATES.values():
        each = _ratio(rate.numerator(*parts), rate.denominator(*parts))
        present = np.where(share == 0, 0, each * share)
        micro = _ratio(rate.numerator(*summed), rate.denominator(*summed))
        columns += [each, each.mean(-1, keepdims=True), micro, present.sum(-1, keepdims=True)]
    right = np.trace(counts, axis1=-2, axis2=-1)[..., None]
    recall = _ratio(parts[0], truly).mean(-1, keepdims=True)
    chance = (truly * called).sum(-1, keepdims=True)
    # n^2 - sum(truly^2), written so that a single class gives exactly 0.
    spread = [(margin * (n - margin)).sum(-1, keepdims=True) for margin in (truly, called)]
    mcc = _ratio(n * right - chance, np.sqrt(spread[0]) * np.sqrt(spread[1]))
    kappa = _ratio(n * right - chance, (truly * (n - called)).sum(-1, keepdims=True))
    return np.concatenate([*columns, _ratio(right, n), recall, mcc, kappa], axis=-1)


def rests_on(counts):
    """Return how many particles each measure of calls rests on.

    Parameters
    ----------
    counts : (..., classes, classes) ndarray

    Returns
    -------
    (..., K) ndarray
        The truly positive for a TPR, those called for a PPV, all for an average.
    """
    parts = one_vs_rest(counts)
    total = counts.sum((-2, -1))[..., None]
    columns = [part for f in RATES.values() for part in (f.rests_on(*parts), total, total, total)]
    return np.concatenate([*columns, *[total] * len(OVERALL)], axis=-1)


def fewest(counts):
    """Return the smallest number of particles (K,) that stands behind any part of each measure of calls."""
    parts = one_vs_rest(counts)
    total = counts.sum()[None]
    columns = []
    for rate in RATES.values():
        each = rate.rests_on(*parts)
        columns += [each, each.min(keepdims=True), total, total]
    truly = counts.sum(-1)
    return np.concatenate([*columns, total, *[truly[truly > 0].min(keepdims=True)] * 3])


def shares(counts, total):
    """Return what share of each measure's information a unit holds (units, K), up to a factor.

    Each class of an average has equal weight in a macro measure however few its particles: a unit that holds
    a tenth of a rare class holds a tenth of that class's information.
    """
    parts, sums = one_vs_rest(counts), one_vs_rest(total)
    n = counts.sum((-2, -1))[..., None]
    columns = []
    for rate in RATES.values():
        each, of = rate.rests_on(*parts), rate.rests_on(*sums)
        macro = np.divide(each, of**2, out=np.zeros(each.shape), where=of > 0).sum(-1, keepdims=True)
        columns += [each, macro, n, n]
    truly = total.sum(-1)
    balanced = np.divide(counts.sum(-1), truly**2, out=np.zeros(counts.shape[:-1]), where=truly > 0)
    return np.concatenate([*columns, n, balanced.sum(-1, keepdims=True), n, n], axis=-1)


def undefined(counts, classes):
    """Return why each measure of calls is undefined (K,), in words; empty where it is defined."""
    values = call_values(counts)
    reasons = []
    parts = one_vs_rest(counts)
    for name, rate in RATES.items():
        each = _ratio(rate.numerator(*parts), rate.denominator(*parts))
        words = [rate.undefined.format(label) for label in classes]
        first = next((word for word, value in zip(words, each) if np.isnan(value)), "")
        reasons += [*words, first, f"{name} of the summed counts has denominator 0", first]
    reasons += [OVERALL_UNDEFINED[name] for name in OVERALL]
    return np.array([f"undefined: {r}" if np.isnan(v) else "" for r, v in zip(reasons, values)], dtype=object)


def worked(confusion, label):
    """Return the one-vs-rest measures of a class with the numbers put in.

    Parameters
    ----------
    confusion : DataFrame
        (classes, classes) counts, rows the truth.
    label : str
        The class that counts as positive.

    Returns
    -------
    DataFrame
        Columns measure, formula, numbers ("41 / (41 + 9)"), value (NaN where undefined).
    """
    if label not in confusion.index:
        named = ", ".join(map(str, confusion.index))
        raise InputError(f"{label!r} is none of the classes {named}: name one of them.")
    position = list(confusion.index).index(label)
    found = [int(part[position]) for part in one_vs_rest(confusion.to_numpy())]
    rows = []
    for name, rate in RATES.items():
        value = float(_ratio(np.array(rate.numerator(*found)), np.array(rate.denominator(*found))))
        numbers = rate.formula
        for symbol, number in zip(("TP", "FP", "TN", "FN"), found):
            numbers = numbers.replace(symbol, str(number))
        rows.append((name, rate.formula, numbers, value))
    return pd.DataFrame(rows, columns=["measure", "formula", "numbers", "value"])
