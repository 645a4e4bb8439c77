"""From probabilities to decisions: calibration, prediction sets, "too uncertain to call", and thresholds.

Whatever is fitted here is fitted, for each model and fold, on rows of role "validation"; a model without
such rows is fitted on the test rows of its other folds. What is reported is measured on test rows alone.
"""

import numpy as np
import pandas as pd

from temlib import intervals
from temlib.calibration import (
    calibrate,
    calibration_error,
    calibration_rows,
    reliability,
    with_probabilities,
)
from temlib.files import InputError
from temlib.tested import by_model, classes_of, label_codes, probability_columns

__all__ = [
    "calibrate",
    "calibration_error",
    "conformal_sets",
    "coverage_risk",
    "reliability",
    "summarised_sets",
    "threshold",
]


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
