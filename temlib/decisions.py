"""From probabilities to decisions: calibration, prediction sets, "too uncertain to call", and thresholds.

Whatever is fitted here is fitted, for each model and fold, on rows of role "validation"; a model without such rows is fitted
on the test rows of its other folds, and one without other folds stays as it is and is marked so. What is reported is
measured on test rows alone.
"""

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from temlib import intervals
from temlib.files import InputError
from temlib.tested import by_model, classes_of

# Probabilities below this are rounding of a float32 softmax; it keeps their logarithm finite.
TINY = 1e-7
# Drawn to find which calibration errors agree with the one seen; their error of the interval is about 1 % of its width.
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
        Model, fold, row positions to apply to (every role of that fold), row positions to fit on (labelled, with
        probabilities), and the source in words: "validation rows", "test rows of the other folds", or "uncalibrated".
    """
    model = predictions["model"].astype(str).to_numpy()
    fold = predictions["fold"].to_numpy() if "fold" in predictions.columns else np.zeros(len(predictions), int)
    role = predictions["role"].to_numpy() if "role" in predictions.columns else np.full(len(predictions), "test")
    usable = predictions["truth"].isin(classes).to_numpy() & ~np.isnan(_probabilities(predictions, classes)).any(axis=1)
    result = []
    for name in dict.fromkeys(model):
        for part in dict.fromkeys(fold[model == name]):
            here = (model == name) & (fold == part)
            fit, source = here & (role == "validation") & usable, "validation rows"
            if not fit.any():
                fit = (model == name) & (fold != part) & (role == "test") & usable
                source = "test rows of the other folds" if fit.any() else "uncalibrated"
            result.append((name, part, np.flatnonzero(here), np.flatnonzero(fit), source))
    return result


def _probabilities(predictions, classes):
    """Return the p_ columns (n, classes), NaN where a column is missing."""
    columns = [predictions[f"p_{c}"] if f"p_{c}" in predictions else np.full(len(predictions), np.nan) for c in classes]
    return np.column_stack(columns).astype(float)


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
    The target is 1 - e with e = 1 / (n + 2), as in Platt's scaling, so that a few particles that are all right do
    not make the model infinitely sure.

    References
    ----------
    .. [1] C. Guo et al., ICML 2017, https://proceedings.mlr.press/v70/guo17a.html.
    .. [2] J. Platt, Probabilistic outputs for support vector machines, in Advances in Large Margin Classifiers (1999).
    """
    logits = np.log(np.maximum(probabilities, TINY))
    n, size = logits.shape
    missed = 1 / (n + 2)
    target = np.full((n, size), missed / max(size - 1, 1))
    target[np.arange(n), truth] = 1 - missed

    def cross_entropy(log_temperature):
        return -np.mean(np.sum(target * special.log_softmax(logits * np.exp(-log_temperature), axis=1), axis=1))

    return float(np.exp(optimize.minimize_scalar(cross_entropy, bounds=np.log([0.05, 20]), method="bounded").x))


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
        A copy in which the p_ columns of each model and fold are scaled by the temperature of its calibration rows, with
        two more columns: `temperature` (NaN where uncalibrated) and `calibration` (on what it was fitted).

    See Also
    --------
    fit_temperature
    """
    classes = list(classes) if classes is not None else classes_of(predictions)
    raw = _probabilities(predictions, classes)
    codes = pd.Categorical(predictions["truth"], classes).codes.astype(int)
    scaled, temperature = raw.copy(), np.full(len(raw), np.nan)
    words = np.full(len(raw), "uncalibrated", dtype=object)
    for _, _, apply, fit, source in calibration_rows(predictions, classes):
        if source == "uncalibrated":
            continue
        temperature[apply] = fit_temperature(raw[fit], codes[fit])
        scaled[apply] = apply_temperature(raw[apply], temperature[apply][0])
        words[apply] = f"temperature {temperature[apply][0]:.2f} from {len(fit)} {source}"
    columns = {f"p_{c}": scaled[:, k] for k, c in enumerate(classes) if f"p_{c}" in predictions}
    return predictions.assign(**columns, temperature=temperature, calibration=words)


def _with_probabilities(predictions, classes):
    """Yield (model, Tested, confidence in the call (n,)) for the models whose every particle has probabilities."""
    for model, held in by_model(predictions, classes).items():
        sure = held.probabilities[np.arange(len(held.truth)), held.predicted]
        if not np.isnan(sure).any():
            yield model, held, sure


def reliability(predictions, *, classes=None, bins=10, confidence=0.95):
    """Return how often calls of a given confidence are right.

    Parameters
    ----------
    predictions : DataFrame
        Calibrated or not; models without probabilities are left out.
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
    for model, held, sure in _with_probabilities(predictions, classes):
        kept = _bin(sure, bins)
        sizes = held.units.sums(kept)
        hits = held.units.sums(kept * (held.truth == held.predicted)[:, None])
        value, low, high, method = intervals.of_shares(hits, sizes, independent=held.independent, confidence=confidence)
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


def conformal_sets(predictions, *, classes=None, confidence=0.95):
    """Return for each test particle the classes that cannot be ruled out.

    A class is in the set unless its probability is lower than that of all but a share 1 - `confidence` of the calibration
    particles of that class (class-conditional split conformal prediction): of the particles of every class, `confidence` have
    their own class in the set.

    Parameters
    ----------
    predictions : DataFrame
    confidence : float
        In (0, 1).

    Returns
    -------
    DataFrame
        Columns particle, micrograph, model, fold, truth, set (names joined by ", ", missing where none is claimed), size,
        covered, method. No set is claimed where a class has fewer than confidence / (1 - confidence) calibration
        particles, 19 for 95 %.

    Notes
    -----
    The promise holds where calibration and test particles are exchangeable, that is for new micrographs of the same kind.

    References
    ----------
    .. [1] V. Vovk, Conditional validity of inductive conformal predictors, Mach. Learn. 92 (2013) 349-376,
       doi:10.1007/s10994-013-5355-6.
    """
    classes = list(classes) if classes is not None else classes_of(predictions)
    raw = _probabilities(predictions, classes)
    codes = pd.Categorical(predictions["truth"], classes).codes.astype(int)
    held = (predictions["role"] == "test").to_numpy() if "role" in predictions else np.ones(len(raw), bool)
    names = np.array(classes, dtype=object)
    frames = []
    for model, fold, apply, fit, source in calibration_rows(predictions, classes):
        rows = apply[held[apply]]
        least, lacking = _least_probabilities(raw[fit], codes[fit], classes, confidence)
        inside = raw[rows] >= least
        known = ~np.isnan(raw[rows]).any(axis=1) & (not lacking)
        frames.append(
            pd.DataFrame(
                {
                    "particle": predictions["particle"].to_numpy()[rows],
                    "micrograph": predictions["micrograph"].to_numpy()[rows] if "micrograph" in predictions else pd.NA,
                    "model": model,
                    "fold": fold,
                    "truth": predictions["truth"].to_numpy()[rows],
                    "set": [", ".join(names[row]) if ok else pd.NA for row, ok in zip(inside, known)],
                    "size": np.where(known, inside.sum(axis=1), np.nan),
                    "covered": np.where(known & (codes[rows] >= 0), inside[np.arange(len(rows)), codes[rows]], np.nan),
                    "method": lacking or f"class-conditional conformal from {len(fit)} {source}",
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _least_probabilities(probabilities, truth, classes, confidence):
    """Return the smallest probability (classes,) with which each class stays in the set, and why there is none."""
    least, lacking = np.full(len(classes), np.nan), ""
    for c, label in enumerate(classes):
        own = np.sort(probabilities[truth == c, c])
        # 1e-9: (n + 1) (1 - confidence) must not fall below a whole number by rounding.
        rank = int(np.floor((len(own) + 1) * (1 - confidence) + 1e-9))
        if rank < 1:
            lacking = lacking or f"no set: {len(own)} calibration particles of {label}"
        else:
            least[c] = own[rank - 1]
    return least, lacking


def coverage_risk(predictions, *, classes=None, confidence=0.95):
    """Return how many calls are wrong when only the surest are made.

    Parameters
    ----------
    predictions : DataFrame
        Models without probabilities are left out.
    confidence : float
        Of the intervals.

    Returns
    -------
    DataFrame
        Columns model, coverage (share of particles called), threshold (smallest confidence called), risk (share of those
        that are wrong), low, high, n, micrographs, method. Particles of equal confidence are called together.

    References
    ----------
    .. [1] Y. Geifman, R. El-Yaniv, NeurIPS 2017, arXiv:1705.08500.
    """
    classes = list(classes) if classes is not None else classes_of(predictions)
    columns = ["model", "coverage", "threshold", "risk", "low", "high", "n", "micrographs", "method"]
    frames = [pd.DataFrame(columns=columns)]
    for model, held, sure in _with_probabilities(predictions, classes):
        ordered = np.sort(sure)[::-1]
        steps = np.unique(ordered[np.ceil(np.arange(1, 21) / 20 * len(sure)).astype(int) - 1])[::-1]
        kept = (sure[:, None] >= steps).astype(float)
        sizes = held.units.sums(kept)
        hits = held.units.sums(kept * (held.truth != held.predicted)[:, None])
        value, low, high, method = intervals.of_shares(hits, sizes, independent=held.independent, confidence=confidence)
        frames.append(
            pd.DataFrame(
                {
                    "model": model,
                    "coverage": kept.mean(axis=0),
                    "threshold": steps,
                    "risk": value,
                    "low": low,
                    "high": high,
                    "n": sizes.sum(axis=0).astype(int),
                    "micrographs": np.sum(sizes > 0, axis=0),
                    "method": method,
                }
            )
        )
    return pd.concat(frames[1:] or frames, ignore_index=True)
