"""Intervals and paired tests for particles that come in micrographs.

A statistic is a smooth function of sums over *units*. A unit is a micrograph (its particles are alike, so it is never
divided) or, where particles are independent, one kind of particle with a multiplicity, which `weights` holds (1 for a
micrograph). An *influence* is what one unit adds to the error of the statistic (its linearisation, or infinitesimal
jackknife), so that the sum of squared influences is the variance.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd
from scipy import stats

# All intervals are 95 % intervals; what lies beyond each end.
CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
# Step of the complex-step derivative: without a subtraction it can be far below the rounding of a float.
STEP = 1e-30
# Assumed where the predictions say nothing or little of how errors gather in micrographs: the upper end of the intra-class
# correlations (0.1 to 0.3) for which coverage was simulated, not a measured fact.
ASSUMED_ICC = 0.3
# An interval never reaches nearer to the end of the range than without any error, less this part of the share of errors,
# so that a score without an error is the surest.
FALL = 0.25
# The assumed variance of a difference weighs as much as so many micrographs in which the models differ.
ASSUMED_UNITS = 1
# What an interval is said to be made from where no micrograph moves the value.
CONSTANT = "no variation seen"
# Labels of measures that stand for several classes.
AVERAGES = ("macro", "micro", "weighted")
ALL = "all"
# Bounds the memory of the exchange test, 1000 x micrographs numbers at a time.
FLIPS_AT_ONCE = 1000


def quoted(name):
    """Return a class as the column `class` of a table of measures calls it: in quotes where it has the name of several."""
    return f'"{name}"' if name.strip('"') in (ALL, *AVERAGES) else name


def wilson(successes, n):
    """Return the ends of Wilson's score interval of a proportion; NaN where `n`, which may be fractional, is 0.

    E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212, doi:10.1080/01621459.1927.10502953.
    """
    successes, n = np.asarray(successes, float), np.asarray(n, float)
    z2 = stats.norm.isf(TAIL) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        share = successes / n
        middle = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = np.sqrt(z2 * (share * (1 - share) + z2 / (4 * n)) / n) / (1 + z2 / n)
    # At 0 and n the formula gives exactly 0 and 1; rounding must not push the value out of its own interval.
    return np.clip(np.fmin(middle - half, share), 0, 1), np.clip(np.fmax(middle + half, share), 0, 1)


def linearised(statistic, counts, weights):
    """Return the influences (units, K) of counts (units, classes, classes) on a statistic of their weighted sum.

    The statistic maps (..., classes, classes) to (..., K), is analytic, and unchanged when all counts are doubled. Its
    derivative along each unit is taken by a complex step, exact to rounding: Im f(N + i h N_unit) / h (W. Squire, G. Trapp,
    SIAM Rev. 40 (1998) 110-112, doi:10.1137/S003614459631241X).
    """
    total = np.tensordot(weights, counts, axes=1)
    return statistic(total + 1j * STEP * counts).imag / STEP


def effective_units(sizes, weights):
    """Return Kish's effective number of units, (sum n)^2 / sum n^2, for sizes (units, K)."""
    square = weights @ sizes**2
    return np.divide((weights @ sizes) ** 2, square, out=np.zeros_like(square), where=square > 0)


def effective_particles(sizes, weights, independent):
    """Return the particles (K,) of units of `sizes` (units, K) over the design effect 1 + (m - 1) `ASSUMED_ICC`.

    m is the size of the unit that the mean particle is in.
    """
    total = weights @ sizes
    if independent:
        return total
    size = np.divide(weights @ sizes**2, total, out=np.ones_like(total), where=total > 0)
    return total / np.maximum(1, 1 + (size - 1) * ASSUMED_ICC)


def auc_influences(scores, positive):
    """Return the area under the ROC curve, and what each particle adds to its error (n,).

    Scores (n,) are larger where more probably `positive` (n,), ties count half. An influence is (V - area) / count of
    its kind, where V is DeLong's structural component (Biometrics 44 (1988) 837-845, doi:10.2307/2531595), computed from
    ranks (X. Sun, W. Xu, IEEE Signal Process. Lett. 21 (2014) 1389-1393, doi:10.1109/LSP.2014.2337313).
    """
    m, n = positive.sum(), (~positive).sum()
    ranks = stats.rankdata(scores)
    own = np.empty(len(scores))
    for kind in (positive, ~positive):
        own[kind] = stats.rankdata(scores[kind])
    components = np.where(positive, (ranks - own) / n, 1 - (ranks - own) / m)
    area = components[positive].mean()
    return area, (components - area) / np.where(positive, m, n)


def average_precision_influences(scores, positive):
    """Return the average precision, and what each particle adds to its error (n,), as `auc_influences`.

    The precision of a score counts all particles at or above it, as in scikit-learn; no interpolation. It is
    sum_k a_k T_k / N_k / P over the distinct scores k, with a_k the positives at k, T_k and N_k the positives and all
    particles at or above; the influences are its derivatives by the weight of each particle.
    """
    distinct, group = np.unique(-scores, return_inverse=True)
    at = np.bincount(group, positive, len(distinct))
    everyone = np.cumsum(np.bincount(group, minlength=len(distinct)))
    above = np.cumsum(at)
    positives = above[-1]
    value = np.sum(at * above / everyone) / positives

    def later(terms):
        return np.cumsum(terms[::-1])[::-1]

    gain = (above / everyone + later(at * (everyone - above) / everyone**2) - value) / positives
    loss = -later(at * above / everyone**2) / positives
    return value, np.where(positive, gain[group], loss[group])


def mcnemar_exact(only_a, only_b):
    """Return the two-sided p value of McNemar's exact test for particles that one of two classifiers alone has right."""
    discordant = only_a + only_b
    # At no discordant pair the distribution is certain of 0, and p is 1.
    return float(min(1.0, 2 * stats.binom.cdf(min(only_a, only_b), discordant, 0.5)))


def holm(p_values):
    """Return Holm's adjusted p values; NaN stays NaN and is not counted among the tests.

    S. Holm, Scand. J. Stat. 6 (1979) 65-70, https://www.jstor.org/stable/4615733.
    """
    p_values = np.asarray(p_values, float)
    adjusted = np.full(p_values.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted


def exchange_test(statistic, counts_a, counts_b, weights, *, flips=10_000, seed=0):
    """Return two-sided p values (K,) of whether two classifiers differ: a sign-flip test, whole unit by whole unit.

    Under the null hypothesis the two could swap names within any micrograph. Statistic and counts are as in `linearised`,
    of the same particles; those of one kind are exchanged one by one. All 2**units exchanges are used instead of random
    ones where those are fewer and weights are 1. p is at least 1 / (flips + 1), and NaN where the difference is
    undefined; an exchange in which the statistic is undefined counts as extreme.
    """
    rng = np.random.default_rng(seed)
    difference = counts_a - counts_b
    together = np.tensordot(weights, counts_a + counts_b, axes=1)
    differing = np.flatnonzero(difference.any(axis=(1, 2)))
    difference, weights = difference[differing], weights[differing].astype(np.int64)
    every = 2 ** len(differing)
    single = bool(np.all(weights == 1))
    exhaustive = single and every <= flips
    exchanges = every if exhaustive else flips
    observed = _exchanged(statistic, together, difference, weights[None, :])
    extreme = np.zeros(observed.shape[1:])
    for start in range(0, exchanges, FLIPS_AT_ONCE):
        number = np.arange(start, min(start + FLIPS_AT_ONCE, exchanges))
        if exhaustive:
            signs = 1 - 2 * (number[:, None] >> np.arange(len(differing)) & 1)
        elif single:
            signs = 1 - 2 * rng.integers(0, 2, size=(len(number), len(weights)), dtype=np.int8)
        else:
            signs = weights - 2 * rng.binomial(weights, 0.5, size=(len(number), len(weights)))
        drawn = np.abs(_exchanged(statistic, together, difference, signs))
        # Equal differences reached through another order of sums must count as equal.
        extreme += np.sum(~(drawn < np.abs(observed) - 1e-12), axis=0)
    p_values = extreme / every if exhaustive else (extreme + 1) / (flips + 1)
    return np.where(np.isnan(observed[0]), np.nan, p_values)


def _exchanged(statistic, together, difference, signs):
    """Return differences of the statistic (exchanges, K) for signed numbers of units (exchanges, units)."""
    shift = np.tensordot(signs.astype(float), difference, axes=1)
    return statistic((together + shift) / 2) - statistic((together - shift) / 2)


@dataclass(frozen=True)
class Estimate:
    """One measure of one class: its value, and what an interval must know of it."""

    measure: str
    label: str  # a class, one of `AVERAGES`, or "all"
    support: np.ndarray  # (units,) particles of each unit that the value rests on
    information: np.ndarray  # (units,) the unit's share of the information, up to a factor
    effective: float  # the fewest `effective_particles` behind any part of the value
    reason: str = ""  # why the value is undefined
    value: float = np.nan
    influence: np.ndarray | None = None  # (units,)
    lower: float = 0.0  # the range of the measure
    upper: float = 1.0
    least_variance: float = 0.0  # were all particles independent
    proportion: bool = False  # a count out of particles: Wilson's interval holds
    calls: bool = False  # of predicted classes, in which an error is a whole particle
    mean_of: str = ""  # the measure of single classes of which it is the mean


@dataclass(frozen=True)
class Estimates(Estimate):
    """K estimates on the same units: the fields of `Estimate` as arrays (K,) or (units, K)."""

    weights: np.ndarray | None = None  # (units,) how often each unit occurs
    independent: bool = False  # particles are the units

    @classmethod
    def of(cls, rows, weights, independent):
        """Return `Estimate`s side by side."""
        columns = {f.name: [getattr(row, f.name) for row in rows] for f in fields(Estimate)}
        for name, values in columns.items():
            text = isinstance(values[0], str)
            columns[name] = np.array(values, dtype=object) if text else np.stack(values, axis=-1)
        columns["reason"][~np.isnan(columns["value"])] = ""
        return cls(**columns, weights=weights, independent=independent)

    @property
    def units(self):
        """The number of units that each value rests on (K,)."""
        return self.weights @ (self.support > 0)

    @property
    def variance(self):
        """The variance of each value (K,)."""
        return self.weights @ self.influence**2

    @property
    def df(self):
        """Degrees of freedom (K,): effective units - 1, infinite where particles are the units."""
        if self.independent:
            return np.full(len(self.value), np.inf)
        return np.maximum(effective_units(self.information, self.weights) - 1, 1)

    def described(self, scale):
        """Return how each interval is made (K,): by which units, on which scale (K,), with which quantile."""
        units = "particles independent" if self.independent else "linearised by micrograph"
        quantile = ["normal quantile" if np.isinf(df) else f"t quantile with {df:.1f} df" for df in self.df]
        return np.array([f"{units}, {s}{q}" for s, q in zip(scale, quantile)], dtype=object)

    def minus(self, other):
        """Return the differences from other `Estimates` on the same units."""
        return replace(
            self,
            value=self.value - other.value,
            influence=self.influence - other.influence,
            support=np.maximum(self.support, other.support),
            information=(self.information + other.information) / 2,
            effective=np.minimum(self.effective, other.effective),
            lower=self.lower - other.upper,
            upper=self.upper - other.lower,
            reason=np.where(self.reason == "", other.reason, self.reason),
        )

    def frame(self, low, high, method):
        """Return a DataFrame: class, measure, value, low, high, n, micrographs, method (or why undefined).

        No interval can come from a single micrograph, nor from an undefined value.
        """
        single = (self.units < 2) & ~(self.independent & self.proportion)
        one = "one particle" if self.independent else "one micrograph"
        method = np.where(single, f"no interval: {one}", method)
        undefined = np.isnan(self.value)
        frame = pd.DataFrame({"class": self.label, "measure": self.measure, "value": self.value})
        return frame.assign(
            low=np.where(single | undefined, np.nan, low),
            high=np.where(single | undefined, np.nan, high),
            n=(self.weights @ self.support).astype(int),
            micrographs=self.units.astype(int),
            method=np.where(undefined, self.reason, method),
        )


def small_sample_factor(units):
    """Return the factor sqrt(units / (units - 1)) that makes influences unbiased; NaN for a single unit."""
    units = np.asarray(units, float)
    return np.sqrt(np.divide(units, units - 1, out=np.full_like(units, np.nan), where=units > 1))


def of_values(estimates):
    """Return the `Estimates.frame` of values with their intervals; `method` says how each was made.

    A value's variance makes it as sure as a share of some number of particles, of which Wilson's interval is taken, with a t
    quantile. That number is at most the one with which the interval reaches as near to the end of the range as without any
    error (see `FALL`): of few errors it cannot be seen whether they gather in micrographs. E. L. Korn, B. I. Graubard, Surv.
    Methodol. 24 (1998) 193-201, have the same kind of interval for shares.
    """
    e, z2 = estimates, stats.norm.isf(TAIL) ** 2
    bounded = np.isfinite(e.upper)
    width = np.where(bounded, e.upper - e.lower, 1)
    share, t = (e.value - e.lower) / width, stats.t.isf(TAIL, e.df)
    variance = np.maximum(e.variance, e.least_variance)
    constant = ~(variance > (1e-9 * (1 + abs(e.value))) ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = np.where(
            e.proportion & e.independent, e.effective, share * (1 - share) * width**2 / variance * z2 / t**2
        )
        near = np.maximum(share, 1 - share)
        limit = e.effective / (e.effective + z2) - FALL * (1 - near)
        most = np.where(near > limit, z2 * limit * (1 - limit) / (near - limit) ** 2, np.inf)
        n = np.where(constant, e.effective, np.minimum(seen, most))
        half = t * np.sqrt(e.variance) / e.value
        logarithmic = e.value * np.exp(-half), e.value * np.exp(half)
    ends = (
        np.where(bounded, e.lower + end * width, log) for end, log in zip(wilson(share * n, n), logarithmic)
    )
    low, high = (np.where(constant & ~bounded, np.nan, end) for end in ends)
    method = e.described(np.where(bounded, "Wilson, ", "log scale, "))
    assumed = (
        "" if e.independent else f", design effect of an intra-class correlation of {ASSUMED_ICC} assumed"
    )
    few = bounded & ~constant & (most < seen)
    method[few] = [
        f"few errors: {words}; at most as sure as without errors{assumed}" for words in method[few]
    ]
    method[constant] = [f"{CONSTANT}: Wilson with n {n:.1f}{assumed}" for n in e.effective[constant]]
    method[constant & ~bounded] = f"no interval: {CONSTANT}"
    return _with_constant_means(e, e.frame(low, high, method))


def _with_constant_means(e, frame):
    """Return the frame in which means over classes that no unit moves have the interval that their classes leave.

    The balanced accuracy of a classifier that always predicts one class rests on the frequent classes too, not on as few
    particles as the rarest has. Half widths are squared and added (G. Y. Zou, A. Donner, Stat. Med. 27 (2008) 1693-1702,
    doi:10.1002/sim.3095). Values at the end of the range keep the interval whose coverage was simulated.
    """
    constant = frame["method"].str.startswith(CONSTANT) & (e.mean_of != "")
    for place in np.flatnonzero(constant & frame["value"].between(0, 1, inclusive="neither")):
        parts = frame[(e.measure == e.mean_of[place]) & ~np.isin(e.label, AVERAGES)]
        for end, sign in (("low", -1), ("high", 1)):
            away = np.sqrt(((parts["value"] - parts[end]) ** 2).sum(skipna=False)) / len(parts)
            frame.loc[place, end] = frame.loc[place, "value"] + sign * away
        frame.loc[place, "method"] = f"{CONSTANT}: the classes' intervals, squared and added"
    return frame


def of_differences(estimates):
    """Return the `Estimates.frame` of paired differences (`Estimates.minus`) with their intervals.

    Where two models call every particle alike, the difference is within what Wilson's upper limit for no such particle
    leaves. The variance that this stands for keeps the weight of `ASSUMED_UNITS` micrographs among those that differ.
    """
    e = estimates
    room = wilson(0, e.effective)[1] * (e.upper - e.lower) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        differing = np.nan_to_num(e.variance**2 / (e.weights @ e.influence**4))  # micrographs, effectively
    same = ~(e.variance > 1e-18)
    differing[same] = 0
    weight = np.where(e.calls | same, ASSUMED_UNITS / (ASSUMED_UNITS + differing), 0)
    assumed = np.where(weight > 0, room / stats.norm.isf(TAIL), 0)
    t = np.where(same, stats.norm.isf(TAIL), stats.t.isf(TAIL, e.df))
    half = t * np.sqrt(weight * assumed**2 + (1 - weight) * e.variance)
    method = "paired, " + e.described([""] * len(e.value))
    words = (
        "" if e.independent else f" (design effect of an intra-class correlation of {ASSUMED_ICC} assumed)"
    )
    found = [
        f"no disagreement seen: Wilson's limit for 0 of n {n:.1f}{words}, either way" for n in e.effective
    ]
    method[same] = np.array(found, dtype=object)[same]
    few = e.calls & ~same & (weight > 0.1)
    method[few] = [
        f"{m}; few disagree: the variance of none{words} weighs {w:.0%}"
        for m, w in zip(method[few], weight[few])
    ]
    unbounded = same & ~np.isfinite(e.upper)
    method[unbounded] = "no interval: no disagreement seen"
    half[unbounded] = np.nan
    return e.frame(np.maximum(e.value - half, e.lower), np.minimum(e.value + half, e.upper), method)


def stacked(frames, columns):
    """Return frames below each other, an empty one where there is none."""
    return pd.concat(frames or [pd.DataFrame(columns=columns)], ignore_index=True).reindex(columns=columns)


def of_shares(hits, sizes, *, independent):
    """Return the shares of `hits` in `sizes`, counts (units, K), as K rows: value, low, high, n, micrographs, method."""
    total = sizes.sum(axis=0).astype(float)
    value = np.divide(hits.sum(axis=0), total, out=np.full(len(total), np.nan), where=total > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        influence = (hits - value * sizes) / total * small_sample_factor(np.sum(sizes > 0, axis=0))
    why = "undefined: no particle"
    one = np.ones(len(sizes))
    effective = effective_particles(sizes, one, independent)
    with np.errstate(invalid="ignore", divide="ignore"):
        least = value * (1 - value) / total
    about = zip(sizes.T, effective, value, influence.T, least)
    rows = [
        Estimate("share", "", size, size, n, why, v, i, least_variance=binomial, proportion=True)
        for size, n, v, i, binomial in about
    ]
    estimates = Estimates.of(rows, one, independent)
    return of_values(estimates).drop(columns=["class", "measure"])
