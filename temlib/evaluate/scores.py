"""Measures of probabilities: AUC, average precision, Brier score, log loss, each with each unit's influence.

ROC and precision–recall curves with bands that respect micrographs.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import special, stats

from temlib.evaluate import intervals
from temlib.evaluate.intervals import ALL, Estimate, quoted

RANKED = {"AUC": intervals.auc_influences, "average precision": intervals.average_precision_influences}


def score_estimates(held):
    """Return the `intervals.Estimates` of every measure of probabilities of one model (`HeldOut`)."""
    truth = np.eye(len(held.classes), dtype=bool)[held.truth]
    no_order, no_sum = held.unusable
    rows = [row for name in RANKED for row in _ranked(name, held, truth, no_order)]
    rows += _losses(held, truth, no_sum)
    particles = intervals.Estimates.of(rows, np.ones(len(truth)), held.independent)
    names = ("influence", "support", "information")
    summed = {name: held.sums(getattr(particles, name)) for name in names}
    return replace(particles, **summed, weights=np.ones(held.units), least_variance=particles.variance)


def _effective(held, kinds):
    """Return the fewest effective particles of any of the kinds, columns (n, K) of 0 and 1; 0 where one has none."""
    return intervals.effective_particles(held.sums(kinds * 1.0), np.ones(held.units), held.independent).min()


def _ranked(name, held, truth, unusable):
    """Return the `Estimate`s, by particle, of a measure of order: of each class, and averaged."""
    n = len(truth)
    everyone, factor = np.ones(n), intervals.small_sample_factor(held.units)
    one = [
        _one_ranked(name, held, truth[:, c], label, held.probabilities[:, c], unusable)
        for c, label in enumerate(held.classes)
    ]
    each = intervals.Estimates.of(one, everyone, held.independent)
    why, information = next(filter(None, each.reason), ""), each.information.sum(axis=1)
    least, *of_mean = each.effective.min(), each.value.mean(), each.influence.mean(axis=1)
    all_particles = _effective(held, everyone[:, None])
    macro = Estimate(name, "macro", everyone, information, least, why, *of_mean, mean_of=name)
    value, pooled = np.nan, np.full(truth.shape, np.nan)
    if not unusable:
        value, pooled = RANKED[name](held.probabilities.ravel(), truth.ravel())
    pooled = pooled.reshape(truth.shape).sum(axis=1) * factor
    micro = Estimate(name, "micro", everyone, everyone, all_particles, unusable, value, pooled)
    weights = truth.sum(axis=0) / n
    present = weights > 0
    value = each.value[present] @ weights[present]
    change = (each.value[held.truth] - value) / n * factor
    influence = each.influence[:, present] @ weights[present] + change
    why = next(filter(None, each.reason[present]), "")
    weighted = Estimate(name, "weighted", everyone, everyone, all_particles, why, value, influence)
    return [*one, macro, micro, weighted]


def _one_ranked(name, held, positive, label, score, unusable):
    """Return the `Estimate`, by particle, of a measure of order of one class against the rest."""
    n, m = len(positive), positive.sum()
    information = np.where(positive, 1 / max(m, 1) ** 2, 1 / max(n - m, 1) ** 2)
    kinds = np.column_stack([positive, ~positive])
    effective = _effective(held, kinds if name == "AUC" else kinds[:, :1])
    row = Estimate(name, quoted(label), np.ones(n), information, effective)
    one_sided = "no" if m == 0 else "every" if m == n and name == "AUC" else ""
    if unusable or one_sided:
        reason = unusable or f"undefined: {one_sided} particle is truly {label}"
        return replace(row, reason=reason, influence=np.full(n, np.nan))
    value, influence = RANKED[name](score, positive)
    # Positives and negatives have their own numbers of micrographs.
    factor = intervals.small_sample_factor(np.count_nonzero(held.sums(kinds * 1.0), axis=0))
    return replace(row, value=value, influence=influence * np.where(positive, *factor))


def _losses(held, truth, unusable):
    """Return the `Estimate`s, by particle, of the Brier scores and the log loss (in nats).

    The Brier score of one class is the mean of (p - y)^2; that of "all" sums it over the classes, halved for two
    classes, as in scikit-learn.
    """
    n, size = truth.shape
    square = (held.probabilities - truth) ** 2
    of_truth = held.probabilities[truth]
    zero = int((of_truth <= 0).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = -np.log(of_truth)
    halved = 2 if size == 2 else 1
    losses = np.column_stack([square, square.sum(axis=1) / halved, logarithm])
    reasons = np.full(size + 2, unusable, dtype=object)
    if zero and not unusable:
        reasons[-1] = f"undefined: {zero} of {n} particles have probability 0 of their true class"
    losses[:, reasons != ""] = np.nan
    value, one = losses.mean(axis=0), np.ones(n)
    effective = _effective(held, one[:, None])
    influences = (losses - value) / n * intervals.small_sample_factor(held.units)
    named = [*map(quoted, held.classes), ALL]
    labels = [("Brier score", label) for label in named] + [("log loss", ALL)]
    upper = [1] * size + [2 / halved, np.inf]
    return [
        Estimate(*label, one, one, effective, why, v, influence, upper=u)
        for label, why, v, influence, u in zip(labels, reasons, value, influences.T, upper)
    ]


# Thresholds of a curve: quantiles of the scores, more than a picture can show.
THRESHOLDS = 200
# Where curves are read off: false positive rates, or recalls.
GRID = np.linspace(0, 1, 51)
COLUMNS = ["model", "class", "curve", "x", "value", "low", "high", "n", "positives", "micrographs", "method"]


def curves(models, *, draws, seed):
    """Return the ROC and precision–recall curves of the models (dict of `HeldOut`), as `Predictions.curves`."""
    rng = np.random.default_rng(seed)
    frames = []
    for model, held in models.items():
        units = held.micrographs
        df = np.inf if held.independent else max(units - 1, 1)
        words = "particles" if held.independent else "micrographs"
        band = f"pointwise, bootstrap of {words}, t on the logit scale"
        method = band if units > 1 else "no band: one micrograph"
        for place, label in enumerate(held.classes):
            positive = held.truth == place
            if held.unusable[0] or not positive.any() or positive.all():
                continue
            counts = _counts(held, held.probabilities[:, place], positive)
            sampled = _resampled(counts, held.independent, draws, rng) if units > 1 else None
            about = {"model": model, "class": label, "n": len(positive), "positives": int(positive.sum())}
            for name, read in (("ROC", _roc), ("precision–recall", _precision)):
                frame = _with_band(read, counts.sum(axis=0), sampled, positive.sum(), df)
                frames.append(frame.assign(**about, curve=name, micrographs=units, method=method))
    return intervals.stacked(frames, COLUMNS)


def _counts(held, score, positive):
    """Return positives and negatives of each unit at or above each threshold, (units, 2, thresholds)."""
    limits = np.unique(np.quantile(score, np.linspace(0, 1, THRESHOLDS), method="inverted_cdf"))[::-1]
    step = np.searchsorted(-limits, -score)  # the first threshold at which a particle counts as positive
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


def _roc(tp, fp):
    """Return the TPR at each false positive rate of `GRID`; ties are joined by a straight line."""
    return np.interp(GRID, fp / fp[-1], tp / tp[-1]) if fp[-1] else np.full(len(GRID), np.nan)


def _precision(tp, fp):
    """Return the PPV at each recall of `GRID`, at the strictest threshold that reaches it."""
    at = np.clip(np.searchsorted(tp / tp[-1], GRID - 1e-12), 1, len(tp) - 1)
    precision = tp[at] / np.maximum(tp[at] + fp[at], 1)
    return np.where(GRID > 0, precision, np.nan)  # where nothing is called, nothing is precise


def _with_band(curve, total, sampled, positives, df):
    """Return the curve and its band as a DataFrame."""

    def read(counts):
        """Return the curve, NaN for a sample without positives."""
        tp, fp = np.column_stack([np.zeros(2), np.cumsum(counts, axis=1)])  # from none on
        return curve(tp, fp) if tp[-1] else np.full(len(GRID), np.nan)

    value = read(total)
    known = ~np.isnan(value)
    value = value[known]
    low = high = np.full(len(value), np.nan)
    if sampled is not None:
        clip = 0.5 / positives  # no share of so few is known better
        limits = clip, 1 - clip
        drawn = np.array([read(counts)[known] for counts in sampled])
        drawn = drawn[~np.isnan(drawn).any(axis=1)]
        half = stats.t.isf(intervals.TAIL, df) * special.logit(np.clip(drawn, *limits)).std(axis=0, ddof=1)
        middle = special.logit(np.clip(value, *limits))
        low, high = special.expit(middle - half), special.expit(middle + half)
        low, high = np.minimum(low, value), np.maximum(high, value)
    return pd.DataFrame({"x": GRID[known], "value": value, "low": low, "high": high})
