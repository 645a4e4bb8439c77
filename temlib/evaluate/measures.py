"""Measures of predicted classes: values, intervals by micrograph, paired comparisons.

Rows of a confusion matrix are the truth, columns the predictions, as counts of particles. A measure whose denominator
is 0 is NaN, never 0, and the reason stands in `method`. Functions of counts take leading axes, and complex counts, so
that derivatives can be taken by a complex step.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from temlib.evaluate import intervals
from temlib.evaluate.intervals import ALL, AVERAGES, Estimate, quoted
from temlib.evaluate.scores import RANKED, score_estimates
from temlib.files import InputError

# What the headline is about; declared here once, so that the index, the sentences and Holm's correction agree.
PRIMARY_MEASURE = "balanced accuracy"
COLUMNS = ["task", "model", "class", "measure", "value", "low", "high", "n", "micrographs", "method"]
DIFFERENCE = ["difference", "low", "high", "p_value", "p_holm", "n", "micrographs", "method"]
# Below these an interval is wide and its coverage unsure; the report says so.
FEW_MICROGRAPHS, FEW_POSITIVES = 20, 30


@dataclass(frozen=True)
class Rate:
    """A one-vs-rest measure."""

    formula: str
    undefined: str  # why, with the class to be filled in
    ratio: Callable  # numerator and denominator, from TP, FP, TN, FN
    counted: Callable | None = None  # how many particles it rests on, where that is not the denominator

    def support(self, *counts):
        """Return how many particles it rests on."""
        return self.counted(*counts) if self.counted else self.ratio(*counts)[1]


RATES = {
    "TPR": Rate("TP / (TP + FN)", "no particle is truly {0}", lambda tp, fp, tn, fn: (tp, tp + fn)),
    "TNR": Rate("TN / (TN + FP)", "every particle is truly {0}", lambda tp, fp, tn, fn: (tn, tn + fp)),
    "PPV": Rate("TP / (TP + FP)", "no particle is predicted as {0}", lambda tp, fp, tn, fn: (tp, tp + fp)),
    "NPV": Rate("TN / (TN + FN)", "every particle is predicted as {0}", lambda tp, fp, tn, fn: (tn, tn + fn)),
    "F1": Rate(
        "2 × TP / (2 × TP + FP + FN)",
        "no particle is truly {0} or predicted as {0}",
        lambda tp, fp, tn, fn: (2 * tp, 2 * tp + fp + fn),
        lambda tp, fp, tn, fn: tp + fp + fn,
    ),
    # The slides call this F1; the standard F1 is the harmonic mean of PPV and TPR.
    "harmonic mean of TPR and TNR": Rate(
        "2 × TP × TN / (TP × (TN + FP) + TN × (TP + FN))",
        "TPR or TNR of {0} is undefined, or both are 0",
        lambda tp, fp, tn, fn: (2 * tp * tn, tp * (tn + fp) + tn * (tp + fn)),
        lambda tp, fp, tn, fn: tp + fp + tn + fn,
    ),
}
OVERALL = {  # and why they can be undefined
    "accuracy": "no particle",
    "balanced accuracy": "a class has no particle",
    "MCC": "all particles have one true class, or one predicted class",
    "kappa": "all particles have one and the same true and predicted class",
}
MEASURES = (*RATES, *OVERALL, *RANKED, "Brier score", "log loss")
# Measures of one class that count particles out of a number; and where every particle has one class, the micro TPR,
# PPV and F1 and the weighted TPR are the accuracy.
PROPORTIONS = ("TPR", "TNR", "PPV", "NPV")
ACCURACIES = (("TPR", "micro"), ("PPV", "micro"), ("F1", "micro"), ("TPR", "weighted"))


def one_vs_rest(counts):
    """Return TP, FP, TN, FN (..., classes) of counts (..., classes, classes)."""
    tp = np.diagonal(counts, axis1=-2, axis2=-1)
    fn, fp = counts.sum(-1) - tp, counts.sum(-2) - tp
    return tp, fp, counts.sum((-2, -1))[..., None] - tp - fp - fn, fn


def _ratio(numerator, denominator):
    """Return the ratio, NaN where the denominator is 0; complex numbers pass."""
    zero = denominator == 0
    return np.where(zero, np.nan, numerator / np.where(zero, 1, denominator))


def balanced_accuracy(counts):
    """Return the mean over the classes of the share rightly predicted (..., 1); NaN where one has no particle."""
    return _ratio(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1)).mean(-1, keepdims=True)


def call_labels(classes):
    """Return (measure, class) of every measure of predicted classes, in the order of `call_values`."""
    named = [quoted(name) for name in classes]
    return [(name, c) for name in RATES for c in (*named, *AVERAGES)] + [(name, ALL) for name in OVERALL]


def call_values(counts):
    """Return every measure of predicted classes (..., K) of counts (..., classes, classes), as `call_labels`.

    "micro" sums TP, FP, TN, FN over the classes; "weighted" is the mean over the classes weighted by their true numbers;
    MCC is Gorodkin's R_K (Comput. Biol. Chem. 28 (2004) 367-374, doi:10.1016/j.compbiolchem.2004.09.006), kappa Cohen's
    (Educ. Psychol. Meas. 20 (1960) 37-46, doi:10.1177/001316446002000104).
    """
    parts = one_vs_rest(counts)
    summed = [part.sum(-1, keepdims=True) for part in parts]
    truly, predicted = counts.sum(-1), counts.sum(-2)
    n = truly.sum(-1, keepdims=True)
    share = _ratio(truly, n)
    columns = []
    for rate in RATES.values():
        each, micro = _ratio(*rate.ratio(*parts)), _ratio(*rate.ratio(*summed))
        weighted = np.where(share == 0, 0, each * share).sum(-1, keepdims=True)
        columns += [each, each.mean(-1, keepdims=True), micro, weighted]
    right = np.trace(counts, axis1=-2, axis2=-1)[..., None]
    chance = (truly * predicted).sum(-1, keepdims=True)
    # n^2 - sum(truly^2), written so that a single class gives exactly 0.
    mixed = [np.sqrt((margin * (n - margin)).sum(-1, keepdims=True)) for margin in (truly, predicted)]
    mcc = _ratio(n * right - chance, mixed[0] * mixed[1])
    kappa = _ratio(n * right - chance, (truly * (n - predicted)).sum(-1, keepdims=True))
    return np.concatenate([*columns, _ratio(right, n), balanced_accuracy(counts), mcc, kappa], axis=-1)


def _described(counts, total, classes, effective):
    """Yield an `Estimate` of each measure in the order of `call_values`, without value and influence.

    `effective` returns the effective numbers of particles (K,) of particles per unit (units, K).
    """
    parts, sums = one_vs_rest(counts), one_vs_rest(total)
    n, truly = counts.sum((-2, -1)), total.sum(-1)
    all_n = effective(n[:, None])[0]
    for name, rate in RATES.items():
        each, of = rate.support(*parts), rate.support(*sums)  # (units, classes), (classes,)
        whys = [f"undefined: {rate.undefined.format(label)}" for label in classes]
        share, numbers = name in PROPORTIONS, effective(each)
        for label, own, number, why in zip(classes, each.T, numbers, whys):
            yield Estimate(name, quoted(label), own, own, number, why, proportion=share)
        why = next((w for w, undefined in zip(whys, np.isnan(_ratio(*rate.ratio(*sums)))) if undefined), "")
        yield Estimate(name, "macro", n, _information(each, of), numbers.min(), why, mean_of=name)
        zero = f"undefined: {name} of the summed counts has denominator 0"
        for label, reason in (("micro", zero), ("weighted", why)):
            yield Estimate(name, label, n, n, all_n, reason, proportion=(name, label) in ACCURACIES)
    accuracy, balanced, *others = (f"undefined: {why}" for why in OVERALL.values())
    information, rarest = _information(counts.sum(-1), truly), effective(counts.sum(-1))[truly > 0].min()
    yield Estimate("accuracy", "all", n, n, all_n, accuracy, proportion=True)
    yield Estimate("balanced accuracy", "all", n, information, rarest, balanced, mean_of="TPR")
    for name, why in zip(("MCC", "kappa"), others):
        yield Estimate(name, "all", n, n, rarest, why, lower=-1.0)


def _information(each, of):
    """Return the information (units,) on a mean over classes of which each unit holds `each` particles out of `of`.

    Classes have equal weight: a unit that holds a tenth of a rare class holds a tenth of that class's information.
    """
    return np.divide(each, of**2, out=np.zeros(each.shape), where=of > 0).sum(-1)


def call_estimates(counts, weights, independent, classes):
    """Return the `Estimates` of every measure of predicted classes, of the counts (units, classes, classes) of units."""
    total, size = np.tensordot(weights, counts, axes=1), len(classes)
    values, influences = call_values(total), intervals.linearised(call_values, counts, weights)
    # What a single particle of each truth and prediction adds, as if it were alone.
    alone = intervals.linearised(call_values, np.eye(size**2).reshape(-1, size, size), total.ravel())
    least = total.ravel() @ alone**2
    described = _described(
        counts, total, classes, lambda s: intervals.effective_particles(s, weights, independent)
    )
    rows = []
    for row, value, influence, variance in zip(described, values, influences.T, least):
        factor = intervals.small_sample_factor(weights @ (row.support > 0))
        about = {"value": value, "influence": influence * factor, "least_variance": variance, "calls": True}
        rows.append(replace(row, **about))
    return intervals.Estimates.of(rows, weights, independent)


def _unit_counts(held, predicted):
    """Return counts (models, units, size, size) of the predictions (models, n), and the units' multiplicities.

    Independent particles with the same truth and predictions are one unit.
    """
    size = len(held.classes)
    if held.independent:
        kinds, weights = np.unique(np.vstack([held.truth, predicted]), axis=1, return_counts=True)
        counts = [np.eye(size**2)[kinds[0] * size + codes].reshape(-1, size, size) for codes in kinds[1:]]
        return np.array(counts), weights.astype(float)
    units = held.micrographs
    cells = (held.micrograph * size + held.truth) * size + predicted
    counts = [np.bincount(cell, minlength=units * size**2).reshape(units, size, size) for cell in cells]
    return np.array(counts, float), np.ones(units)


def _estimates(held):
    """Return the `Estimates` of the measures of predicted classes and of probabilities of one model."""
    (counts,), weights = _unit_counts(held, held.predicted[None])
    return call_estimates(counts, weights, held.independent, held.classes), score_estimates(held)


def confusion(held):
    """Return counts of one model's particles (classes, classes) as a DataFrame; rows are the truth."""
    size, names = len(held.classes), held.classes
    counts = np.bincount(held.truth * size + held.predicted, minlength=size**2).reshape(size, size)
    return pd.DataFrame(counts, pd.Index(names, name="truth"), pd.Index(names, name="predicted"))


def table(models, *, task):
    """Return every measure of every model (dict of `HeldOut`) with its interval, as `Predictions.measures`."""
    frames = [
        intervals.of_values(estimates).assign(model=model)
        for model, held in models.items()
        for estimates in _estimates(held)
    ]
    result = pd.concat(frames, ignore_index=True).assign(task=task)[COLUMNS]
    result.attrs["notes"] = [f"{model}: {note}." for model, held in models.items() for note in held.notes]
    return result


def paradox(models, particles=None, task=""):
    """Return the measures of all classes together, of always predicting the commonest, of size alone, and of each model."""
    held = next(iter(models.values()))
    commonest = np.bincount(held.truth).argmax()
    rows = {f"always {held.classes[commonest]}": replace(held, predicted=np.full_like(held.truth, commonest))}
    if particles is not None:
        own = particles.set_index("particle").reindex(held.particle)
        names = np.array(held.classes, object)
        called = size_alone(own.assign(**{task: names[held.truth]}), task)
        if called is not None:
            rows["size alone"] = replace(held, predicted=pd.Index(names).get_indexer(called))
    models = rows | models
    values = [call_values(confusion(held).to_numpy(float))[-len(OVERALL) :] for held in models.values()]
    return pd.DataFrame(values, pd.Index(models, name="model"), list(OVERALL)).reset_index()


def size_alone(table, task):
    """Return the class that a particle's size alone would give it, learnt from particles of other micrographs.

    A logistic regression on the logarithm of the size and its square, classes weighed equally: what a network may reach that looks
    at nothing else. The size is that of the box.

    Parameters
    ----------
    table : DataFrame
        A row per particle: `micrograph, box_px`, the class in the column `task`, and `pixel_size_nm`, which counts if all
        are known.

    Returns
    -------
    (n,) ndarray of object, or None
        None where a size is unknown, all sizes are equal, or there is one micrograph or one class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    size = table.get("box_px", pd.Series(np.nan, table.index)).astype(float)
    pixel = table.get("pixel_size_nm", pd.Series(np.nan, table.index)).astype(float)
    value = np.log(size * (1.0 if pixel.isna().any() else pixel)).to_numpy()[:, None]
    truth, (group, groups) = table[task].to_numpy(object), pd.factorize(table["micrograph"])
    if len(groups) < 2 or len(set(truth)) < 2 or not np.isfinite(value).all() or np.ptp(value) == 0:
        return None
    called = np.empty(len(table), object)
    machine = LogisticRegression(class_weight="balanced", C=100.0, max_iter=1000)
    model = make_pipeline(StandardScaler(), PolynomialFeatures(2, include_bias=False), machine)
    for part in range(min(5, len(groups))):
        held = group % 5 == part
        known = set(truth[~held])
        called[held] = (
            model.fit(value[~held], truth[~held]).predict(value[held]) if len(known) > 1 else known.pop()
        )
    return called


def compare(models, *, task, primary, flips, seed):
    """Return paired differences of every measure for every pair of models, as `Predictions.compare`."""
    if primary not in MEASURES:
        raise InputError(f"{primary!r} is not a measure: declare one of {', '.join(MEASURES)} as primary.")
    rng = np.random.default_rng(seed)
    frames, columns = [], ["model_a", "model_b", "class", "measure", *DIFFERENCE]
    for a, b in combinations(models, 2):
        # The particles of both, in the same order.
        place = pd.Index(models[b].particle).get_indexer(models[a].particle)
        one, two = models[a].take(np.flatnonzero(place >= 0)), models[b].take(place[place >= 0])
        if len(one.truth):
            parts = [calls_compared(one, two, flips, rng), scores_compared(one, two)]
        else:
            labels = [
                intervals.of_values(estimates)[["measure", "class"]] for estimates in _estimates(models[a])
            ]
            why = "undefined: the models share no particle"
            parts = [part.assign(n=0, micrographs=0, method=why) for part in labels]
        frames += [part.assign(model_a=a, model_b=b) for part in parts]
    result = intervals.stacked(frames, columns)
    main = (result["measure"] == primary) & result["class"].isin([ALL, "macro"])
    result.loc[main, "p_holm"] = intervals.holm(result.loc[main, "p_value"])
    result.insert(0, "task", task)
    return result


def calls_compared(one, two, flips, rng):
    """Return the differences of the measures of predicted classes of two models (`HeldOut` of the same particles)."""
    counts, weights = _unit_counts(one, np.vstack([one.predicted, two.predicted]))
    both = [call_estimates(c, weights, one.independent, one.classes) for c in counts]
    p_value = intervals.exchange_test(call_values, *counts, weights, flips=flips, seed=rng)
    units = "particles" if one.independent else "micrographs"
    test = np.full(len(p_value), f"sign-flip of {units}", dtype=object)
    # Shares of independent particles have an exact test.
    for k, (measure, label) in enumerate(call_labels(one.classes) if one.independent else []):
        right = _rightly_predicted(one, two, measure, label)
        if right is not None and not np.isnan(p_value[k]):
            only = np.count_nonzero(right[0] & ~right[1]), np.count_nonzero(right[1] & ~right[0])
            p_value[k], test[k] = intervals.mcnemar_exact(*only), "exact McNemar"
    return _differences(*both, p_value, test)


def _rightly_predicted(one, two, measure, label):
    """Return which particles each model has right, of those that a measure is a share of, or None."""
    if measure == "accuracy":
        return one.predicted == one.truth, two.predicted == two.truth
    named = [quoted(name) for name in one.classes]
    if measure not in ("TPR", "TNR") or label not in named:
        return None
    place = named.index(label)
    among = (one.truth == place) == (measure == "TPR")
    return tuple((held.predicted[among] == place) == (measure == "TPR") for held in (one, two))


def scores_compared(one, two):
    """Return the differences of two models' measures of probabilities, with t tests on influences.

    For the AUC these are N. A. Obuchowski's, Biometrics 53 (1997) 567-578, doi:10.2307/2533958, with micrographs as
    clusters, and E. R. DeLong's, doi:10.2307/2531595, of independent particles.
    """
    both = score_estimates(one), score_estimates(two)
    difference = both[0].minus(both[1])
    error = np.sqrt(difference.variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = np.where(error > 0, 2 * stats.t.sf(np.abs(difference.value) / error, both[0].df), 1.0)
    p_value[np.isnan(difference.value) | np.isnan(error)] = np.nan
    area = "DeLong 1988" if one.independent else "clustered AUC, Obuchowski 1997"
    test = np.where(difference.measure == "AUC", area, "t test of influences").astype(object)
    return _differences(*both, p_value, test)


def _differences(one, two, p_value, test):
    """Return the differences of two `Estimates` on the same units as a DataFrame."""
    rows = intervals.of_differences(one.minus(two))
    rows = rows.rename(columns={"value": "difference"}).assign(p_value=p_value)
    named = rows["method"] + "; p: " + test
    return rows.assign(method=rows["method"].where(rows["difference"].isna(), named))


def warnings(measured):
    """Return sentences (list of str) on what makes the numbers of `Predictions.measures`, of one or more tasks, unreliable.

    They say what was left out or averaged, and point out fewer than 20 micrographs or 30 particles of a class.
    """
    found_in = {}  # what is noted, of which models: models that rest on the same particles share a sentence
    for (task, model), rows in measured.groupby(["task", "model"], sort=False):
        for note in few(rows):
            found_in.setdefault((task, note), []).append(model)
    found = [f"{', '.join(models)} on {task}: {note}" for (task, note), models in found_in.items()]
    return [*measured.attrs.get("notes", []), *found]


def few(rows):
    """Return sentences on where one model's rows of `Predictions.measures` rest on too few micrographs or particles."""
    notes, micrographs = [], rows["micrographs"].max()
    if micrographs < FEW_MICROGRAPHS:
        notes.append(
            f"{micrographs} micrographs are fewer than {FEW_MICROGRAPHS}, so intervals are unreliable."
        )
    found = rows[(rows["measure"] == "TPR") & ~rows["class"].isin(AVERAGES)]
    return notes + [
        f"{n} particles are truly {label}, fewer than {FEW_POSITIVES}, so results that rest on them are unreliable."
        for label, n in zip(found["class"], found["n"])
        if n < FEW_POSITIVES
    ]


def worked(held):
    """Return the one-vs-rest measures of each class with the numbers put in, as `Predictions.worked`."""
    counts = one_vs_rest(confusion(held).to_numpy())
    rows = []
    for place, label in enumerate(held.classes):
        for name, rate in RATES.items():
            numbers, value = rate.formula, _ratio(*rate.ratio(*counts))[place]
            for symbol, part in zip(("TP", "FP", "TN", "FN"), counts):
                numbers = numbers.replace(symbol, str(part[place]))
            rows.append((name, rate.formula, numbers, value, label))
    return pd.DataFrame(rows, columns=["measure", "formula", "numbers", "value", "class"])
