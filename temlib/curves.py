"""ROC and precision–recall curves with bands that respect micrographs."""

import numpy as np
import pandas as pd
from scipy import special, stats

from temlib.scores import missing
from temlib.tested import by_model, classes_of

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
