"""Measures of a confusion matrix: rows are the truth, columns the calls, as counts of particles.

Undefined stays undefined: a measure whose denominator is 0 is NaN, and `undefined` says why. All functions
take leading axes, and complex counts, so that derivatives can be taken by a complex step.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from temlib.files import InputError


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
