"""From probabilities to decisions: calibration, prediction sets, "too uncertain to call", and thresholds.

Whatever is fitted here is fitted, for each model and fold, on rows of role "validation"; a model without
such rows is fitted on the test rows of its other folds. What is reported is measured on test rows alone.

Calibration: do probabilities mean what they say, and the temperature that makes them.

Whatever is fitted here is fitted, for each model and fold, on rows of role "validation"; a model without
such rows is fitted on the test rows of its other folds, and one without other folds stays as it is and is
marked so. What is reported is measured on test rows alone.
"""

import numpy as np
import pandas as pd
from scipy import optimize, special

from temlib.evaluate import intervals
from temlib.evaluate.predictions import SUM_TOLERANCE, by_model, classes_of, label_codes, probability_columns
from temlib.evaluate.scores import missing
from temlib.files import InputError


def conformal_sets(predictions, *, classes=None, confidence=0.95):
    """Return for each test particle the classes that cannot be ruled out.

    A class is in the set unless its probability is lower than that of all but a share 1 - `confidence` of
    the calibration particles of that class (class-conditional split conformal prediction): of the particles
    of every class, `confidence` have their own class in the set.

    Parameters
    ----------
    predictions : DataFrame
    confidence : float
        In (0, 1).

    Returns
    -------
    DataFrame
        Columns particle, micrograph, model, fold, truth, set (names joined by ", ", missing where none is
        claimed), size, covered, method. No set is claimed where a class has fewer than confidence / (1 -
        confidence) calibration particles, 19 for 95 %.

    Notes
    -----
    The promise holds where calibration and test particles are exchangeable, that is for new micrographs of
    the same kind.

    References
    ----------
    .. [1] V. Vovk, Conditional validity of inductive conformal predictors, Mach. Learn. 92 (2013) 349-376,
       doi:10.1007/s10994-013-5355-6.
    """
    classes = list(classes) if classes is not None else classes_of(predictions)
    raw = probability_columns(predictions, classes)
    codes = label_codes(predictions["truth"], classes)
    held = (predictions["role"] == "test").to_numpy() if "role" in predictions else np.ones(len(raw), bool)
    names = np.array(classes, dtype=object)
    micrograph = predictions.get("micrograph", pd.Series(pd.NA, predictions.index)).to_numpy()
    frames = []
    for model, fold, apply, fit, source in calibration_rows(predictions, classes):
        rows = apply[held[apply]]
        least, lacking = _least_probabilities(raw[fit], codes[fit], classes, confidence)
        inside = raw[rows] >= least
        own = inside[np.arange(len(rows)), codes[rows]]
        known = ~np.isnan(raw[rows]).any(axis=1) & (not lacking)
        frames.append(
            pd.DataFrame(
                {
                    "particle": predictions["particle"].to_numpy()[rows],
                    "micrograph": micrograph[rows],
                    "model": model,
                    "fold": fold,
                    "truth": predictions["truth"].to_numpy()[rows],
                    "set": [", ".join(names[row]) if ok else pd.NA for row, ok in zip(inside, known)],
                    "size": np.where(known, inside.sum(axis=1), np.nan),
                    "covered": np.where(known & (codes[rows] >= 0), own, np.nan),
                    "method": lacking or f"class-conditional conformal from {len(fit)} {source}",
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def summarised_sets(sets, *, confidence=0.95):
    """Return how often prediction sets hold the truth, and how large they are, for each model and true class.

    Parameters
    ----------
    sets : DataFrame
        From `conformal_sets`.
    confidence : float
        Of the intervals.

    Returns
    -------
    DataFrame
        Columns model, class, covered, low, high, size (mean number of classes), single (share of sets of one class),
        empty (share of sets of none), n, micrographs, method. Where no set is claimed, n is 0 and `method` says why.
    """
    rows = []
    for (model, label), part in sets.groupby(["model", "truth"], sort=False):
        known = part[part["covered"].notna()]
        about = {
            "model": model,
            "class": label,
            "n": len(known),
            "micrographs": known["micrograph"].nunique(),
        }
        if known.empty:
            rows.append(about | {"method": part["method"].iloc[0]})
            continue
        micrograph = known["micrograph"].astype(object).where(known["micrograph"].notna(), known["particle"])
        unit, independent = (
            pd.factorize(micrograph)[0],
            sets["micrograph"].nunique() in (0, sets["particle"].nunique()),
        )
        hits, sizes = (
            np.bincount(unit, w)[:, None] for w in (known["covered"].astype(float), np.ones(len(known)))
        )
        value, low, high, method = intervals.of_shares(
            hits, sizes, independent=independent, confidence=confidence
        )
        size = {
            "size": known["size"].mean(),
            "single": (known["size"] == 1).mean(),
            "empty": (known["size"] == 0).mean(),
        }
        rows.append(about | size | {"covered": value[0], "low": low[0], "high": high[0], "method": method[0]})
    columns = [
        "model",
        "class",
        "covered",
        "low",
        "high",
        "size",
        "single",
        "empty",
        "n",
        "micrographs",
        "method",
    ]
    return pd.DataFrame(rows, columns=columns)


def _least_probabilities(probabilities, truth, classes, confidence):
    """Return the smallest probability (classes,) that keeps each class in the set, or why there is none."""
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
        Models without probabilities that sum to 1 are left out.
    confidence : float
        Of the intervals.

    Returns
    -------
    DataFrame
        Columns model, coverage (share of particles called), threshold (smallest confidence called), risk
        (share of those that are wrong), low, high, n, micrographs, method. Particles of equal confidence are
        called together.

    References
    ----------
    .. [1] Y. Geifman, R. El-Yaniv, NeurIPS 2017, arXiv:1705.08500.
    """
    classes = list(classes) if classes is not None else classes_of(predictions)
    columns = ["model", "coverage", "threshold", "risk", "low", "high", "n", "micrographs", "method"]
    frames = [pd.DataFrame(columns=columns)]
    for model, held, sure in with_probabilities(predictions, classes):
        ordered = np.sort(sure)[::-1]
        steps = np.unique(ordered[np.ceil(np.arange(1, 21) / 20 * len(sure)).astype(int) - 1])[::-1]
        kept = (sure[:, None] >= steps).astype(float)
        sizes = held.units.sums(kept)
        hits = held.units.sums(kept * (held.truth != held.predicted)[:, None])
        value, low, high, method = intervals.of_shares(
            hits, sizes, independent=held.independent, confidence=confidence
        )
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


def threshold(predictions, label, measure, at_least, *, classes=None, confidence=0.95):
    """Return the smallest probability of a class at which to call it, so that TPR or PPV is what is required.

    Parameters
    ----------
    predictions : DataFrame
    label : str
        The class.
    measure : {"TPR", "PPV"}
        For a TPR the highest threshold that reaches it is taken, for a PPV the lowest, so that the other is
        largest.
    at_least : float
        What is required, in (0, 1].

    Returns
    -------
    DataFrame
        Two rows a model, TPR and PPV on the test particles. Columns model, class, required, threshold
        (median over the folds), measure, value, low, high, met ("yes" when the interval's low end is enough,
        "no" when its high end is too little,
        "not shown" otherwise; empty for the other measure), n, micrographs, method.

    Raises
    ------
    InputError
        A class that does not exist, another measure, a requirement outside (0, 1].
    """
    classes = list(classes) if classes is not None else classes_of(predictions)
    if label not in classes:
        raise InputError(f"{label!r} is none of the classes {', '.join(classes)}: name one of them.")
    if measure not in ("TPR", "PPV") or not 0 < at_least <= 1:
        raise InputError(
            f"A threshold is for a TPR or a PPV in (0, 1], not for {measure} of at least {at_least}: "
            "ask for one of these."
        )
    place = classes.index(label)
    raw, codes = probability_columns(predictions, classes), label_codes(predictions["truth"], classes)
    limits, fitted = np.full(len(raw), np.nan), {}
    for model, _, apply, fit, source in calibration_rows(predictions, classes):
        limit = _smallest_probability(raw[fit, place], codes[fit] == place, measure, at_least)
        limits[apply] = limit
        fitted.setdefault(model, []).append((limit, len(fit), source))
    # Two classes remain; whether the others are told apart from each other does not matter here.
    other = f"not {label}"
    counted = (codes >= 0) & ~np.isnan(limits) & ~np.isnan(raw[:, place])
    if "role" in predictions:
        counted &= (predictions["role"] == "test").to_numpy()
    binary = predictions[counted].assign(
        truth=np.where(codes == place, label, other)[counted],
        predicted=np.where(raw[:, place] >= limits, label, other)[counted],
    )
    held = by_model(binary, [label, other]) if counted.any() else {}
    rows = [_met(held.get(model), found, measure, at_least, confidence) for model, found in fitted.items()]
    result = pd.concat([row.assign(model=model) for row, model in zip(rows, fitted)], ignore_index=True)
    columns = ["model", "class", "required", "threshold", "measure", "value", "low", "high", "met"]
    required = f"{measure} of at least {at_least}"
    return result.assign(**{"class": label, "required": required})[[*columns, "n", "micrographs", "method"]]


def _smallest_probability(scores, positive, measure, at_least):
    """Return the threshold that reaches a TPR or PPV on these particles, NaN where none does."""
    if not positive.any():
        return np.nan
    distinct, group = np.unique(-scores, return_inverse=True)
    found = np.cumsum(np.bincount(group, positive, len(distinct)))
    called = np.cumsum(np.bincount(group, minlength=len(distinct)))
    # 1e-12: a share that equals the requirement must not fail by rounding.
    reached = np.flatnonzero((found / (positive.sum() if measure == "TPR" else called)) >= at_least - 1e-12)
    if len(reached) == 0:
        return np.nan
    return -distinct[reached[0] if measure == "TPR" else reached[-1]]


def _met(held, found, measure, at_least, confidence):
    """Return TPR and PPV of one model's test particles (`held`, or None) at the thresholds `found`."""
    limits = np.array([limit for limit, _, _ in found])
    rows = pd.DataFrame({"measure": ["TPR", "PPV"], "threshold": np.nan, "met": "", "n": 0, "micrographs": 0})
    if held is None:
        reason = (
            "uncalibrated: no other rows to choose a threshold on"
            if not any(n for _, n, _ in found)
            else (f"undefined: no threshold reaches it on the {found[0][2]}")
        )
        return rows.assign(value=np.nan, low=np.nan, high=np.nan, method=reason)
    both = ((held.truth == 0) & (held.predicted == 0))[:, None].repeat(2, axis=1)
    whole = np.column_stack([held.truth == 0, held.predicted == 0])
    sizes = held.units.sums(whole.astype(float))
    value, low, high, method = intervals.of_shares(
        held.units.sums(both.astype(float)), sizes, independent=held.independent, confidence=confidence
    )
    met = np.where(low >= at_least, "yes", np.where(high < at_least, "no", "not shown"))
    return rows.assign(
        threshold=np.nanmedian(limits),
        value=value,
        low=low,
        high=high,
        met=np.where(rows["measure"] == measure, met, ""),
        n=sizes.sum(axis=0).astype(int),
        micrographs=np.sum(sizes > 0, axis=0),
        method=[f"{m}; threshold from {found[0][2]}" for m in method],
    )


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
