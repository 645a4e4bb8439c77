"""Measures of probabilities: AUC, average precision, Brier score, log loss, and each particle's influence.

ROC and precision–recall curves with bands that respect micrographs.
"""

import numpy as np
import pandas as pd
from scipy import special, stats

from temlib.evaluate import intervals
from temlib.evaluate.predictions import SUM_TOLERANCE, by_model, classes_of

RANKED = {"AUC": intervals.auc_influences, "average precision": intervals.average_precision_influences}
AVERAGES = ("macro", "micro", "weighted")


def score_labels(classes):
    """Return (measure, class) of every measure of probabilities, in the order of `score_estimates`."""
    ranked = [(name, label) for name in RANKED for label in (*classes, *AVERAGES)]
    return ranked + [("Brier score", label) for label in (*classes, "all")] + [("log loss", "all")]


def missing(held):
    """Return why a model's probabilities cannot be used, in words; empty where they can.

    The second of the returned sentences is about measures that need probabilities, beyond an order of the
    particles.
    """
    unknown = int(np.isnan(held.probabilities).any(axis=1).sum())
    if unknown:
        reason = f"undefined: {unknown} of {len(held.truth)} particles have no probability of every class"
        return reason, reason
    wrong = (held.probabilities < 0).any(axis=1) | (abs(held.probabilities.sum(axis=1) - 1) > SUM_TOLERANCE)
    if wrong.any():
        share = f"{int(wrong.sum())} of {len(held.truth)}"
        return "", f"undefined: the probabilities of {share} particles do not sum to 1"
    return "", ""


def score_estimates(held, classes):
    """Return the `intervals.Estimates` of every measure of probabilities of one model, and why some are
    undefined.

    Parameters
    ----------
    held : tested.HeldOut
    classes : list of str

    Returns
    -------
    estimates : intervals.Estimates
        In the order of `score_labels`. The Brier score of one class is the mean of (p - y)^2; that of "all"
        sums it over the classes, halved for two classes, as in scikit-learn. Log loss is in nats.
    reasons : (K,) ndarray of str
        Empty where the measure is defined.
    """
    truth = np.eye(len(classes), dtype=bool)[held.truth]
    no_order, no_sum = missing(held)
    parts = [_ranked(name, held, truth, no_order, classes) for name in RANKED]
    parts.append(_losses(held, truth, no_sum))
    value, influences, share, fewest, reasons = (np.concatenate(p, axis=-1) for p in zip(*parts))
    upper = np.ones(len(value))
    upper[-2:] = (1 if len(classes) == 2 else 2), np.inf
    units = held.units
    summed = units.sums(np.hstack([influences, share]))
    sizes = np.tile(units.sums(np.ones((len(truth), 1))), len(value))
    estimates = intervals.Estimates(
        value,
        summed[:, : len(value)],
        sizes,
        summed[:, len(value) :],
        fewest,
        np.zeros(len(value)),
        upper,
        np.ones(len(sizes)),
        held.independent,
        np.zeros(len(value), bool),
    )
    return estimates, reasons


def _ranked(name, held, truth, reason, classes):
    """Return value, influences, shares, fewest, reasons of a measure of order, per class and averaged."""
    n, size = truth.shape
    positives = truth.sum(axis=0)
    value, fewest = np.full(size + 3, np.nan), np.zeros(size + 3)
    influences, share = np.full((n, size + 3), np.nan), np.zeros((n, size + 3))
    reasons = np.full(size + 3, reason, dtype=object)
    for c, label in enumerate(classes):
        share[:, c] = np.where(truth[:, c], 1 / max(positives[c], 1) ** 2, 1 / max(n - positives[c], 1) ** 2)
        fewest[c] = min(positives[c], n - positives[c]) if name == "AUC" else positives[c]
        one_sided = "no" if positives[c] == 0 else "every" if positives[c] == n and name == "AUC" else ""
        if one_sided:
            reasons[c] = reason or f"undefined: {one_sided} particle is truly {label}"
        elif not reason:
            value[c], influences[:, c] = RANKED[name](held.probabilities[:, c], truth[:, c])
            influences[:, c] *= _two_sample_spread(held, truth[:, c])
    one = influences[:, :size]
    weights = positives / n
    value[size], influences[:, size] = value[:size].mean(), one.mean(axis=1)
    share[:, size], fewest[size] = share[:, :size].sum(axis=1), fewest[:size].min()
    fewest[size + 1 :], share[:, size + 1 :] = n, 1
    if not reason:
        value[size + 1], pooled = RANKED[name](held.probabilities.ravel(), truth.ravel())
        influences[:, size + 1] = pooled.reshape(n, size).sum(axis=1) * held.units.spread
    present = weights > 0
    value[size + 2] = value[:size][present] @ weights[present]
    change = (value[held.truth] - value[size + 2]) / n * held.units.spread
    influences[:, size + 2] = one[:, present] @ weights[present] + change
    reasons[size] = next((r for r in reasons[:size] if r), "")
    reasons[size + 2] = next((r for r in reasons[:size][present] if r), "")
    return value, influences, share, fewest, reasons


def _two_sample_spread(held, positive):
    """Return each particle's factor (n,): positives and negatives have their own numbers of micrographs."""
    number = [
        np.count_nonzero(held.units.sums(kind[:, None].astype(float))) for kind in (~positive, positive)
    ]
    return intervals.spread(number)[positive.astype(int)]


def _losses(held, truth, reason):
    """Return value, influences, shares, fewest, reasons of the Brier scores and the log loss."""
    n, size = truth.shape
    square = (held.probabilities - truth) ** 2
    of_truth = held.probabilities[truth]
    zero = int((of_truth <= 0).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = -np.log(of_truth)
    losses = np.column_stack([square, square.sum(axis=1) / (2 if size == 2 else 1), logarithm])
    reasons = np.full(size + 2, reason, dtype=object)
    if zero and not reason:
        reasons[-1] = f"undefined: {zero} of {n} particles have probability 0 of their true class"
    losses[:, reasons != ""] = np.nan
    value = losses.mean(axis=0)
    influences = (losses - value) / n * held.units.spread
    return value, influences, np.ones((n, size + 2)), np.full(size + 2, float(n)), reasons


# Thresholds of a curve: quantiles of the scores, more than a picture can show.
THRESHOLDS = 200
# Where curves are read off: false positive rates, or recalls.
GRID = np.linspace(0, 1, 51)
COLUMNS = ["model", "class", "curve", "x", "value", "low", "high", "n", "positives", "micrographs", "method"]


def curves(predictions, *, classes=None, confidence=0.95, draws=300, seed=0):
    """Return ROC and precision–recall curves, one class against the rest, of every model with probabilities.

    Parameters
    ----------
    predictions : DataFrame
    classes : list of str, optional
        Default: `classes_of(predictions)`.
    confidence : float
        Of the band, at each point of the curve by itself.
    draws : int
        Bootstrap samples of whole micrographs (of particles where those are independent).
    seed : int or numpy.random.Generator

    Returns
    -------
    DataFrame
        Columns model, class, curve ("ROC": TPR over FPR; "precision–recall": PPV over TPR), x, value, low, high, n,
        positives, micrographs, method. A class that no particle, or every particle, truly has is left out.

    Notes
    -----
    The standard error of each point on the logit scale comes from the bootstrap, the width from the t quantile with
    micrographs − 1 degrees of freedom: percentiles of few micrographs are too narrow. The bands are approximate: in simulation
    they held 88 to 99 % at a nominal 95, once 83 % (precision at a recall of .2, 20 micrographs); see `benchmarks/coverage.py`.
    """
    classes = list(classes) if classes is not None else classes_of(predictions)
    rng = np.random.default_rng(seed)
    frames = [pd.DataFrame(columns=COLUMNS)]
    for model, held in by_model(predictions, classes).items():
        for place, label in enumerate(classes):
            positive = held.truth == place
            if missing(held)[0] or not positive.any() or positive.all():
                continue
            counts = _counts(held, held.probabilities[:, place], positive)
            units = held.micrograph.max() + 1
            df = np.inf if held.independent else max(units - 1, 1)
            sampled = _resampled(counts, held.independent, draws, rng) if units > 1 else None
            words = "particles" if held.independent else "micrographs"
            about = {"model": model, "class": label, "n": len(positive), "positives": int(positive.sum())}
            method = (
                f"pointwise, bootstrap of {words}, t on the logit scale"
                if units > 1
                else "no band: one micrograph"
            )
            for name, read in (("ROC", _roc), ("precision–recall", _precision)):
                frame = _with_band(read, counts.sum(axis=0), sampled, positive.sum(), df, confidence)
                frames.append(frame.assign(**about, curve=name, micrographs=units, method=method))
    return pd.concat(frames[1:] or frames, ignore_index=True)[COLUMNS]


def _counts(held, score, positive):
    """Return positives and negatives of each unit at or above each threshold, (units, 2, thresholds)."""
    limits = np.unique(np.quantile(score, np.linspace(0, 1, THRESHOLDS), method="inverted_cdf"))[::-1]
    step = np.searchsorted(-limits, -score)  # the first threshold at which a particle is called
    # Independent particles are told apart by kind alone: one unit holds them all and is resampled as a multinomial.
    unit = np.zeros(len(score), int) if held.independent else held.micrograph
    counts = np.zeros((unit.max() + 1, 2, len(limits)))
    np.add.at(counts, (unit, (~positive).astype(int), step), 1)
    return counts


def _resampled(counts, independent, draws, rng):
    """Return the summed counts (draws, 2, thresholds) of bootstrap samples."""
    if independent:
        cells = counts[0].ravel()
        return rng.multinomial(int(cells.sum()), cells / cells.sum(), draws).reshape(draws, *counts.shape[1:])
    weights = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), draws)
    return np.tensordot(weights, counts, axes=1)


def _rates(counts):
    """Return called positives and negatives (thresholds,), from none on, and their totals."""
    called = np.concatenate([np.zeros((2, 1)), np.cumsum(counts, axis=1)], axis=1)
    return called[0], called[1], called[0, -1], called[1, -1]


def _roc(counts):
    """Return the TPR at each false positive rate of `GRID`; ties are joined by a straight line."""
    tp, fp, positives, negatives = _rates(counts)
    if not positives or not negatives:
        return np.full(len(GRID), np.nan)
    return np.interp(GRID, fp / negatives, tp / positives)


def _precision(counts):
    """Return the PPV at each recall of `GRID`, at the strictest threshold that reaches it."""
    tp, fp, positives, _ = _rates(counts)
    if not positives:
        return np.full(len(GRID), np.nan)
    at = np.clip(np.searchsorted(tp / positives, GRID - 1e-12), 1, len(tp) - 1)
    precision = tp[at] / np.maximum(tp[at] + fp[at], 1)
    return np.where(GRID > 0, precision, np.nan)  # where nothing is called, nothing is precise


def _with_band(read, total, sampled, positives, df, confidence):
    """Return the curve and its band as a DataFrame."""
    value = read(total)
    known = ~np.isnan(value)
    value = value[known]
    low = high = np.full(len(value), np.nan)
    if sampled is not None:
        clip = 0.5 / positives  # no share of so few is known better

        def logit(share):
            return special.logit(np.clip(share, clip, 1 - clip))

        drawn = np.array([read(counts)[known] for counts in sampled])
        drawn = drawn[~np.isnan(drawn).any(axis=1)]  # a sample without positives has no curve
        half = stats.t.isf((1 - confidence) / 2, df) * logit(drawn).std(axis=0, ddof=1)
        low, high = special.expit(logit(value) - half), special.expit(logit(value) + half)
        low, high = np.minimum(low, value), np.maximum(high, value)
    return pd.DataFrame({"x": GRID[known], "value": value, "low": low, "high": high})
