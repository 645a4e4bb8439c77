"""Calibration: do probabilities mean what they say, and the temperature that makes them.

Whatever is fitted here is fitted, for each model and fold, on rows of role "validation"; a model without
such rows is fitted on the test rows of its other folds, and one without other folds stays as it is and is
marked so. What is reported is measured on test rows alone.
"""

import numpy as np
import pandas as pd
from scipy import optimize, special

from temlib import intervals
from temlib.scores import SUM_TOLERANCE, missing
from temlib.tested import by_model, classes_of, label_codes, probability_columns

# Probabilities below this are rounding of a float32 softmax; it keeps their logarithm finite.
TINY = 1e-7
# What rows are that do not say it: of one fold, and held out.
DEFAULTS = {"fold": 0, "role": "test"}
# Drawn to find which calibration errors agree with the one seen; their error of the interval is about 1 % of
# its width.
DRAWS = 4000


def calibration_rows(predictions, classes):
    """Return what each model and fold can be calibrated on.

    Parameters
    ----------
    predictions : DataFrame
    classes : list of str

    Returns
    -------
    list of (str, object, (n,) ndarray, (m,) ndarray, str)
        Model, fold, row positions to apply to (every role of that fold), row positions to fit on (labelled,
        with probabilities), and the source in words: "validation rows", "test rows of the other folds", or
        "uncalibrated".
    """
    model = predictions["model"].astype(str).to_numpy()
    columns = predictions.assign(**{k: v for k, v in DEFAULTS.items() if k not in predictions.columns})
    # Codes, since an unknown fold equals nothing, not even itself.
    fold, names = pd.factorize(columns["fold"], use_na_sentinel=False)
    role = columns["role"].to_numpy()
    known = ~np.isnan(probability_columns(predictions, classes)).any(axis=1)
    usable = known & (label_codes(predictions["truth"], classes) >= 0)
    result = []
    for name in dict.fromkeys(model):
        for part in dict.fromkeys(fold[model == name]):
            here = (model == name) & (fold == part)
            fit, source = here & (role == "validation") & usable, "validation rows"
            if not fit.any():
                fit = (model == name) & (fold != part) & (role == "test") & usable
                source = "test rows of the other folds" if fit.any() else "uncalibrated"
            result.append((name, names[part], np.flatnonzero(here), np.flatnonzero(fit), source))
    return result


def fit_temperature(probabilities, truth):
    """Return the temperature that makes probabilities agree with the truth best.

    Parameters
    ----------
    probabilities : (n, classes) ndarray
    truth : (n,) int ndarray
        Positions of the true classes.

    Returns
    -------
    float
        T in [0.05, 20]; p^(1/T), normalised, has the smallest cross-entropy. Above 1 the model was too sure.

    Notes
    -----
    The target is 1 - e with e = 1 / (n + 2), as in Platt's scaling, so that a few particles that are all
    right do not make the model infinitely sure.

    References
    ----------
    .. [1] C. Guo et al., ICML 2017, https://proceedings.mlr.press/v70/guo17a.html.
    .. [2] J. Platt, Probabilistic outputs for support vector machines, in Advances in Large Margin
    Classifiers (1999).
    """
    logits = np.log(np.maximum(probabilities, TINY))
    n, size = logits.shape
    missed = 1 / (n + 2)
    target = np.full((n, size), missed / max(size - 1, 1))
    target[np.arange(n), truth] = 1 - missed

    def cross_entropy(log_temperature):
        return -np.mean(
            np.sum(target * special.log_softmax(logits * np.exp(-log_temperature), axis=1), axis=1)
        )

    best = optimize.minimize_scalar(cross_entropy, bounds=np.log([0.05, 20]), method="bounded")
    return float(np.exp(best.x))


def apply_temperature(probabilities, temperature):
    """Return p^(1/T), normalised, (n, classes)."""
    return special.softmax(np.log(np.maximum(probabilities, TINY)) / temperature, axis=1)


def calibrate(predictions, *, classes=None):
    """Return the predictions with calibrated probabilities; calls stay as they are.

    Parameters
    ----------
    predictions : DataFrame
    classes : list of str, optional
        Default: `classes_of(predictions)`.

    Returns
    -------
    DataFrame
        A copy in which the p_ columns of each model and fold are scaled by the temperature of its
        calibration rows, with two more columns: `temperature` (NaN where uncalibrated) and `calibration` (on
        what it was fitted).

    See Also
    --------
    fit_temperature
    """
    classes = list(classes) if classes is not None else classes_of(predictions)
    raw = probability_columns(predictions, classes)
    codes = label_codes(predictions["truth"], classes)
    scaled, temperature = raw.copy(), np.full(len(raw), np.nan)
    words = np.full(len(raw), "uncalibrated", dtype=object)
    # A temperature would silently normalise what are no probabilities.
    unsummed = (raw < 0).any(axis=1) | (np.abs(raw.sum(axis=1) - 1) > SUM_TOLERANCE)
    for _, _, apply, fit, source in calibration_rows(predictions, classes):
        if source == "uncalibrated" or unsummed[apply].any():
            continue
        temperature[apply] = fit_temperature(raw[fit], codes[fit])
        scaled[apply] = apply_temperature(raw[apply], temperature[apply][0])
        words[apply] = f"temperature {temperature[apply][0]:.2f} from {len(fit)} {source}"
    columns = {f"p_{c}": scaled[:, k] for k, c in enumerate(classes) if f"p_{c}" in predictions}
    return predictions.assign(**columns, temperature=temperature, calibration=words)


def with_probabilities(predictions, classes):
    """Yield (model, HeldOut, confidence in the call (n,)) for the models with all probabilities."""
    for model, held in by_model(predictions, classes).items():
        if not any(missing(held)):
            yield model, held, held.probabilities[np.arange(len(held.truth)), held.predicted]


def reliability(predictions, *, classes=None, bins=10, confidence=0.95):
    """Return how often calls of a given confidence are right.

    Parameters
    ----------
    predictions : DataFrame
        Calibrated or not; models without probabilities that sum to 1 are left out.
    bins : int
        Bins of equal width over [0, 1]; empty bins are left out.
    confidence : float
        Of the intervals.

    Returns
    -------
    DataFrame
        Columns model, from, to, confidence (mean of the bin), right, low, high, n, micrographs, method.
    """
    classes = list(classes) if classes is not None else classes_of(predictions)
    columns = ["model", "from", "to", "confidence", "right", "low", "high", "n", "micrographs", "method"]
    frames = [pd.DataFrame(columns=columns)]
    for model, held, sure in with_probabilities(predictions, classes):
        kept = _bin(sure, bins)
        sizes = held.units.sums(kept)
        hits = held.units.sums(kept * (held.truth == held.predicted)[:, None])
        value, low, high, method = intervals.of_shares(
            hits, sizes, independent=held.independent, confidence=confidence
        )
        n = sizes.sum(axis=0)
        rows = pd.DataFrame(
            {
                "model": model,
                "from": np.arange(bins) / bins,
                "to": np.arange(1, bins + 1) / bins,
                "confidence": np.divide(sure @ kept, n, out=np.full(bins, np.nan), where=n > 0),
                "right": value,
                "low": low,
                "high": high,
                "n": n.astype(int),
                "micrographs": np.sum(sizes > 0, axis=0),
                "method": method,
            }
        )
        frames.append(rows[rows["n"] > 0])
    return pd.concat(frames[1:] or frames, ignore_index=True)


def _bin(sure, bins):
    """Return which bin each confidence falls into, as 0 and 1 (n, bins); 1 belongs to the last."""
    return np.eye(bins)[np.minimum((sure * bins).astype(int), bins - 1)]


def calibration_error(predictions, *, classes=None, bins=10, confidence=0.95, draws=DRAWS, seed=0):
    """Return the expected calibration error of each model with an interval.

    Parameters
    ----------
    predictions : DataFrame
        Calibrated or not; models without probabilities that sum to 1 are left out.
    bins : int
        Bins of equal width over [0, 1].
    confidence : float
        Of the interval.
    draws : int
        Of the noise that a test compares with.
    seed : int or numpy.random.Generator

    Returns
    -------
    DataFrame
        Columns model, ECE (mean of |right - confidence| over the bins, weighted by particles), low, high,
        perfect (the mean ECE that perfectly calibrated probabilities would show), n, micrographs, method.

    Notes
    -----
    The ECE of few particles is too large, since chance deviations do not cancel. So the interval inverts a
    test: it holds the errors c ECE for which deviations c d plus noise, normal with the covariance of d
    between micrographs, give an ECE like the one seen; d are the deviations seen.

    References
    ----------
    .. [1] M. Pakdaman Naeini et al., AAAI 2015, doi:10.1609/aaai.v29i1.9602 (the measure; the interval is
    temlib's own).
    """
    classes = list(classes) if classes is not None else classes_of(predictions)
    rng = np.random.default_rng(seed)
    rows = []
    for model, held, sure in with_probabilities(predictions, classes):
        deviations = _bin(sure, bins) * ((held.truth == held.predicted) - sure)[:, None]
        summed = held.units.sums(deviations) / len(sure)  # (units, bins); ECE is the sum of |column sums|
        units = len(summed)
        seen = summed.sum(axis=0)
        noise = (rng.standard_normal((draws, units)) @ (summed - seen / units)) * held.units.spread
        if not held.independent:
            noise /= np.sqrt(rng.chisquare(units - 1, (draws, 1)) / (units - 1)) if units > 1 else np.nan
        low, high = _compatible(seen, noise, confidence)
        words = "particles independent" if held.independent else "linearised by micrograph"
        method = f"test inversion, {words}" if units > 1 else "no interval: one micrograph"
        perfect = np.abs(noise).sum(axis=1).mean()
        rows.append(
            (model, np.abs(seen).sum(), low, high, perfect, len(sure), held.micrograph.max() + 1, method)
        )
    columns = ["model", "ECE", "low", "high", "perfect", "n", "micrographs", "method"]
    return pd.DataFrame(rows, columns=columns)


def _compatible(seen, noise, confidence):
    """Return the smallest and largest error that agree with deviations (bins,) in noise (draws, bins)."""
    error = np.abs(seen).sum()
    if np.isnan(noise).any() or error == 0:
        return np.nan, np.nan

    def beyond(scale, level):
        return np.quantile(np.abs(scale * seen + noise).sum(axis=1), level) - error

    tail = (1 - confidence) / 2
    low = 0.0 if beyond(0, 1 - tail) >= 0 else optimize.brentq(beyond, 0, 2, args=(1 - tail,), xtol=1e-4)
    largest = 2 + 4 * np.abs(noise).sum(axis=1).max() / error
    high = 0.0 if beyond(0, tail) >= 0 else optimize.brentq(beyond, 0, largest, args=(tail,), xtol=1e-4)
    # An error below what perfect probabilities show agrees with none at all; the interval still holds what was seen.
    return low * error, min(1.0, max(1.0, high) * error)
