"""Measures of probabilities: AUC, average precision, Brier score, log loss, and each particle's influence."""

import numpy as np

from temlib import intervals

# A float32 softmax over tens of classes, written with six digits, sums to 1 within this.
SUM_TOLERANCE = 1e-3
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
