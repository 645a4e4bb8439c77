"""From probabilities to decisions: calibration, prediction sets, when not to predict, thresholds.

Whatever is fitted here is fitted, for each model and fold, on rows of role "validation"; a model without such rows is
fitted on the test rows of its other folds, and one without other folds stays as it is and is marked so. What is
reported is measured on test rows alone. Functions take `held_out.Rows` or the `HeldOut` of each model, and return what
the methods of `Predictions` describe.
"""

import numpy as np
import pandas as pd
from scipy import optimize, special

from temlib.evaluate import held_out, intervals
from temlib.files import InputError

# Probabilities below this are rounding of a float32 softmax; it keeps their logarithm finite.
TINY = 1e-7
# Bins of confidence, of equal width over [0, 1].
BINS = 10
# The share of the particles that is refused, the least confident ones, where one is asked for.
REFUSED = 0.2
SHARES = ["low", "high", "n", "micrographs", "method"]


def calibration_rows(rows):
    """Return for each model and fold: model, fold, positions to apply to (all roles), positions to fit on, their source.

    The source is "validation rows", "test rows of the other folds", or "uncalibrated".
    """
    table = rows.table
    model = table["model"].astype(str).to_numpy()
    # Codes, since an unknown fold equals nothing, not even itself.
    fold, names = pd.factorize(table.get("fold", np.zeros(len(table), int)), use_na_sentinel=False)
    usable = ~np.isnan(rows.probabilities).any(axis=1) & (rows.truth >= 0)
    validation = np.asarray(table.get("role", "test") == "validation")
    result = []
    for name in dict.fromkeys(model):
        own = model == name
        for part in dict.fromkeys(fold[own]):
            here = own & (fold == part)
            fit, source = here & validation & usable, "validation rows"
            if not fit.any():
                fit = own & ~here & rows.test & usable
                source = "test rows of the other folds" if fit.any() else "uncalibrated"
            result.append((name, names[part], np.flatnonzero(here), np.flatnonzero(fit), source))
    return result


def fit_temperature(probabilities, truth):
    """Return the temperature T with which p^(1/T), normalised, has the least cross-entropy to the truth.

    Above 1 the model was too sure. The target is 1 - e with e = 1 / (n + 2), as in J. Platt, Probabilistic outputs for
    support vector machines, in Advances in Large Margin Classifiers (1999), so that a few particles that are all right
    do not make the model infinitely sure.

    Parameters
    ----------
    probabilities : (n, classes) ndarray
    truth : (n,) ndarray of int
        Positions of the true classes.

    Returns
    -------
    float
        In [0.05, 20].
    """
    logits = np.log(np.maximum(probabilities, TINY))
    n, size = logits.shape
    missed = 1 / (n + 2)
    target = np.full((n, size), missed / max(size - 1, 1))
    target[np.arange(n), truth] = 1 - missed

    def cross_entropy(log_temperature):
        log_p = special.log_softmax(logits * np.exp(-log_temperature), axis=1)
        return -np.mean(np.sum(target * log_p, axis=1))

    best = optimize.minimize_scalar(cross_entropy, bounds=np.log([0.05, 20]), method="bounded")
    return float(np.exp(best.x))


def apply_temperature(probabilities, temperature):
    """Return p^(1/T), normalised, (n, classes)."""
    return special.softmax(np.log(np.maximum(probabilities, TINY)) / temperature, axis=1)


def calibrated(rows):
    """Return the table with calibrated probabilities, as `Predictions.calibrated`."""
    raw, scaled = rows.probabilities, rows.probabilities.copy()
    temperature, source_of = np.full(len(raw), np.nan), np.full(len(raw), "uncalibrated", dtype=object)
    # A temperature would silently normalise what are no probabilities.
    unsummed = held_out.no_probabilities(raw)
    for _, _, apply, fit, source in calibration_rows(rows):
        if source == "uncalibrated" or (unsummed & ~rows.unsure)[apply].any():
            continue
        apply = apply[~unsummed[apply]]
        found = fit_temperature(raw[fit], rows.truth[fit])
        temperature[apply], scaled[apply] = found, apply_temperature(raw[apply], found)
        source_of[apply] = f"temperature {found:.2f} from {len(fit)} {source}"
    columns = {f"p_{c}": scaled[:, k] for k, c in enumerate(rows.classes) if f"p_{c}" in rows.table}
    return rows.table.assign(**columns, temperature=temperature, calibration=source_of)


def _with_probabilities(models):
    """Yield (model, HeldOut) of the models with all probabilities."""
    return ((model, held) for model, held in models.items() if not any(held.unusable))


def _shares(held, hits, kept):
    """Return `intervals.of_shares` of the particles `hits` (n,) among each column of `kept` (n, K)."""
    parts = held.sums(kept * hits[:, None]), held.sums(kept)
    return intervals.of_shares(*parts, independent=held.independent)


def reliability(models):
    """Return how often predictions of a given confidence are right, as `Predictions.reliability`."""
    frames, columns = [], ["model", "from", "to", "confidence", "right", *SHARES]
    for model, held in _with_probabilities(models):
        kept = _bin(held.confidence)
        rows = _shares(held, held.truth == held.predicted, kept)
        n = rows["n"].to_numpy()
        mean = np.divide(held.confidence @ kept, n, out=np.full(BINS, np.nan), where=n > 0)
        edges = {"from": np.arange(BINS) / BINS, "to": np.arange(1, BINS + 1) / BINS}
        rows = rows.rename(columns={"value": "right"}).assign(model=model, confidence=mean, **edges)
        frames.append(rows[n > 0])
    return intervals.stacked(frames, columns)


def _bin(sure):
    """Return which bin each confidence falls into, as 0 and 1 (n, bins); 1 belongs to the last."""
    return np.eye(BINS)[np.minimum((sure * BINS).astype(int), BINS - 1)]


def calibration_error(models, *, draws, seed):
    """Return the expected calibration error of each model with an interval, as `Predictions.calibration_error`."""
    rng = np.random.default_rng(seed)
    rows = []
    for model, held in _with_probabilities(models):
        sure = held.confidence
        deviations = _bin(sure) * ((held.truth == held.predicted) - sure)[:, None]
        summed = held.sums(deviations) / len(sure)  # (units, bins); ECE is the sum of |column sums|
        units, seen = held.units, summed.sum(axis=0)
        noise = rng.standard_normal((draws, units)) @ (summed - seen / units)
        noise *= intervals.small_sample_factor(units)
        if not held.independent:
            noise /= np.sqrt(rng.chisquare(units - 1, (draws, 1)) / (units - 1)) if units > 1 else np.nan
        low, high = _compatible(seen, noise)
        words = "particles independent" if held.independent else "linearised by micrograph"
        method = f"test inversion, {words}" if units > 1 else "no interval: one micrograph"
        perfect = np.abs(noise).sum(axis=1).mean()
        rows.append((model, np.abs(seen).sum(), low, high, perfect, len(sure), held.micrographs, method))
    columns = ["model", "ECE", "low", "high", "perfect", "n", "micrographs", "method"]
    return pd.DataFrame(rows, columns=columns)


def _compatible(seen, noise):
    """Return the smallest and largest error that agree with deviations (bins,) in noise (draws, bins)."""
    error = np.abs(seen).sum()
    if np.isnan(noise).any() or error == 0:
        return np.nan, np.nan

    def agreeing(level, largest):
        """Return which multiple of the error noise takes below the one seen in a share `level` of draws."""

        def beyond(scale):
            return np.quantile(np.abs(scale * seen + noise).sum(axis=1), level) - error

        return 0.0 if beyond(0) >= 0 else optimize.brentq(beyond, 0, largest, xtol=1e-4)

    low = agreeing(1 - intervals.TAIL, 2)
    high = agreeing(intervals.TAIL, 2 + 4 * np.abs(noise).sum(axis=1).max() / error)
    # An error below what perfect probabilities show agrees with none at all; the interval still holds what was seen.
    return low * error, min(1.0, max(1.0, high) * error)


def prediction_sets(rows):
    """Return for each test particle the classes that cannot be ruled out, as `Predictions.prediction_sets`."""
    truth, names = rows.truth, np.array(rows.classes, dtype=object)
    table, frames = rows.table.reindex(columns=["particle", "micrograph", "model", "fold", "truth"]), []
    for model, fold, apply, fit, source in calibration_rows(rows):
        at = apply[rows.test[apply]]
        least, lacking = _least_probabilities(rows.probabilities[fit], truth[fit], rows.classes)
        inside = rows.probabilities[at] >= least
        own = inside[np.arange(len(at)), truth[at]]
        known = ~np.isnan(rows.probabilities[at]).any(axis=1) & (not lacking)
        columns = {
            "set": [", ".join(names[row]) if ok else pd.NA for row, ok in zip(inside, known)],
            "size": np.where(known, inside.sum(axis=1), np.nan),
            "covered": np.where(known & (truth[at] >= 0), own, np.nan),
            "method": lacking or f"class-conditional conformal from {len(fit)} {source}",
        }
        frames.append(table.iloc[at].assign(model=model, fold=fold, **columns))
    return pd.concat(frames, ignore_index=True)


def _least_probabilities(probabilities, truth, classes):
    """Return the smallest probability (classes,) that keeps each class in the set, or why there is none."""
    least, lacking = np.full(len(classes), np.nan), ""
    for c, label in enumerate(classes):
        own = np.sort(probabilities[truth == c, c])
        # 1e-9: (n + 1) / 20 must not fall below a whole number by rounding.
        rank = int(np.floor((len(own) + 1) * (1 - intervals.CONFIDENCE) + 1e-9))
        if rank < 1:
            lacking = lacking or f"no set: {len(own)} calibration particles of {label}"
        else:
            least[c] = own[rank - 1]
    return least, lacking


def set_summary(sets):
    """Return how often `prediction_sets` hold the truth, and how large they are, as `Predictions.set_summary`."""
    independent = sets["micrograph"].nunique() in (0, sets["particle"].nunique())
    frames = []
    for (model, label), part in sets.groupby(["model", "truth"], sort=False):
        known = part[part["covered"].notna()]
        row = pd.DataFrame({"model": [model], "class": label, "n": 0, "method": part["method"].iloc[0]})
        if len(known):
            unit = known["micrograph"].astype(object).where(known["micrograph"].notna(), known["particle"])
            counts = known["covered"].groupby(unit, sort=False).agg(["sum", "size"]).to_numpy()
            found = intervals.of_shares(counts[:, :1], counts[:, 1:], independent=independent)
            row = row.assign(**found.rename(columns={"value": "covered"}), size=known["size"].mean())
            row = row.assign(single=(known["size"] == 1).mean(), empty=(known["size"] == 0).mean())
        frames.append(row.assign(micrographs=known["micrograph"].nunique()))
    columns = ["model", "class", "covered", "low", "high", "size", "single", "empty", *SHARES[2:]]
    result = pd.concat(frames, ignore_index=True).reindex(columns=columns)
    unclaimed = result[result["n"] == 0].groupby("method", sort=False)["model"].unique()
    result.attrs["notes"] = [f"{', '.join(models)}: {why}." for why, models in unclaimed.items()]
    return result


def risk(models):
    """Return how many predictions are wrong when only the most confident count, as `Predictions.risk`."""
    frames, columns = [], ["model", "coverage", "threshold", "risk", *SHARES]
    for model, held in _with_probabilities(models):
        sure = held.confidence
        ordered = np.sort(sure)[::-1]
        steps = np.unique(ordered[np.ceil(np.arange(1, 21) / 20 * len(sure)).astype(int) - 1])[::-1]
        kept = (sure[:, None] >= steps).astype(float)
        rows = _shares(held, held.truth != held.predicted, kept).rename(columns={"value": "risk"})
        frames.append(rows.assign(model=model, coverage=kept.mean(axis=0), threshold=steps))
    return intervals.stacked(frames, columns)


def unsure(rows):
    """Return how particles that people could not tell were predicted, as `Predictions.unsure`."""
    frames, named = [], [f"as {label}" for label in rows.classes]
    for model in (name for name in rows.models if name in rows.aside):
        definite, aside = rows.models[model], rows.aside[model]
        limit = np.quantile(definite.confidence, REFUSED)
        for people, held in (("definite", definite), ("could not tell", aside)):
            found = _shares(held, held.confidence < limit, np.ones((len(held.truth), 1)))
            found = found.rename(columns={"value": "refused"}).assign(confidence=np.median(held.confidence))
            counts = np.bincount(held.predicted, minlength=len(named))
            frames.append(found.assign(model=model, people=people, **dict(zip(named, counts))))
        # By its choice the limit refuses that share of the definite ones: an interval would say nothing.
        frames[-2][["low", "high"]] = np.nan
        if any(definite.unusable + aside.unusable):
            for frame in frames[-2:]:
                frame[["confidence", "refused", "low", "high"]] = np.nan
    columns = ["model", "people", "n", "micrographs", *named, "confidence", "refused", "low", "high"]
    return intervals.stacked(frames, columns)


def thresholds(rows, model, required):
    """Return the probabilities from which on to call each class to meet a requirement, as `Predictions.thresholds`."""
    if not 0 < required <= 1:
        raise InputError(
            f"A threshold is for a TPR or a PPV in (0, 1], not for {required}: choose a value in that range."
        )
    asked = [(place, measure) for place in range(len(rows.classes)) for measure in ("TPR", "PPV")]
    return pd.concat([_threshold(rows, model, *each, required) for each in asked])


def _threshold(rows, model, place, measure, required):
    """Return the two rows of `thresholds` of one class and requirement."""
    score, positive = rows.probabilities[:, place], rows.truth == place
    limits, fitted = np.full(len(score), np.nan), []
    for name, _, apply, fit, source in calibration_rows(rows):
        if name == model:
            limits[apply] = limit = _smallest_probability(score[fit], positive[fit], measure, required)
            fitted.append((limit, len(fit), source))
    # Two classes remain; whether the others are told apart from each other does not matter here.
    label, other = rows.classes[place], f"not {rows.classes[place]}"
    counted = (rows.truth >= 0) & ~np.isnan(limits) & ~np.isnan(score) & rows.test
    truth, predicted = np.where([positive, score >= limits], label, other)
    binary = rows.table.assign(truth=truth, predicted=predicted)[counted]
    held = held_out.by_model(binary, [label, other])[model] if counted.any() else None
    about = {"model": model, "class": label, "required": f"{measure} of at least {required}"}
    columns = [*about, "threshold", "measure", "value", "low", "high", "met", *SHARES[2:]]
    return _met(held, fitted, measure, required).assign(**about).reindex(columns=columns)


def _smallest_probability(scores, positive, measure, required):
    """Return the highest threshold that reaches a TPR on these particles, or the lowest for a PPV; NaN where none does."""
    distinct, group = np.unique(-scores, return_inverse=True)
    found = np.cumsum(np.bincount(group, positive, len(distinct)))
    predicted = np.cumsum(np.bincount(group, minlength=len(distinct)))
    # 1e-12: a share that equals the requirement must not fail by rounding.
    whole = max(positive.sum(), 1) if measure == "TPR" else predicted
    reached = np.flatnonzero(found / whole >= required - 1e-12)
    return -distinct[reached[0 if measure == "TPR" else -1]] if len(reached) else np.nan


def _met(held, fitted, measure, required):
    """Return TPR and PPV of one model's test particles (`held`, or None) at the thresholds `fitted`."""
    names, source = np.array(["TPR", "PPV"]), fitted[0][2]
    if held is None:
        reason = f"undefined: no threshold reaches it on the {source}"
        if not any(n for _, n, _ in fitted):
            reason = "uncalibrated: no other rows to choose a threshold on"
        return pd.DataFrame({"measure": names}).assign(met="", n=0, micrographs=0, method=reason)
    kept = np.column_stack([held.truth == 0, held.predicted == 0]).astype(float)
    rows = _shares(held, kept.all(axis=1), kept)
    met = np.where(rows["low"] >= required, "yes", np.where(rows["high"] < required, "no", "not shown"))
    return rows.assign(
        measure=names,
        threshold=np.nanmedian([limit for limit, _, _ in fitted]),
        met=np.where(names == measure, met, ""),
        method=rows["method"] + f"; threshold from {source}",
    )
