"""Shares of a sample from a classifier's calls: bias, coverage of nominal 95 % intervals, type I errors, simulated.

    python -m benchmarks.shares [--quick] [--replicates 2000] [--seed 0] [--only two] [--peers FOLDER]

Micrographs hold Poisson numbers of 25 particles. Their shares of the classes vary as a Dirichlet distribution (two classes:
beta) with an intra-class correlation; how the particles of each class are called varies, separately for each class and
micrograph, with an intra-class correlation of errors. The held-out particles come from as many micrographs as the new sample's,
40 % of them of the first class. In the part "sessions" the rates of a session vary too, around their mean, with an
intra-class correlation of their own, and those of its micrographs around them. Coverage is how often the test that the interval
inverts accepts the true share; the table beside other tools uses the intervals themselves. QuaPy, ppi_py and delicatessen are
used where FOLDER has them (`pip install --no-deps --target FOLDER quapy ppi-python delicatessen`).
"""

import warnings
from itertools import product

import numpy as np
import pandas as pd
from scipy import special, stats

from benchmarks.coverage import heading, row, simulations
from temlib.assay.inversion import TAIL, Measured, Solved, compared, dealt
from temlib.assay.labelled import powered
from temlib.assay.prevalence import SINGULAR

PARTICLES = 25
MICROGRAPHS, ICC = (6, 20, 40), (0.02, 0.1, 0.3)
SHARES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
HELD_OUT = 0.4


# Two samples as counts of calls by micrograph, for comparison with other programs to all digits: held out (micrographs, truths,
# called) and new (micrographs, called), of two classes and of three; probabilities (particles, classes) and their prior.
HELD_2 = [[[9, 1], [5, 5]], [[16, 4], [9, 8]], [[2, 6], [1, 15]], [[12, 1], [2, 8]], [[5, 7], [1, 14]]]
NEW_2 = [[18, 4], [3, 20], [20, 4], [4, 19], [12, 8]]
HELD_3 = [[[16, 2, 2], [1, 15, 4], [3, 2, 20]], [[12, 3, 1], [2, 9, 1], [2, 4, 13]]]
NEW_3 = [[20, 11, 9], [14, 8, 5]]
PROBABILITIES = [
    [0.7, 0.2, 0.1],
    [0.5, 0.3, 0.2],
    [0.1, 0.8, 0.1],
    [0.6, 0.1, 0.3],
    [0.2, 0.2, 0.6],
    [0.9, 0.05, 0.05],
]
PRIOR = [0.5, 0.3, 0.2]


class Fieller(Solved):
    """Without the larger variance of calls at the hypothesis."""

    def _calls_at(self, sample, at, hypotheses):
        return sample.variance(self.contrast)[..., 0, None], sample.df(np.ones((1, 1, 1)))


class Unfloored(Measured):
    """Without the variance that independent particles would have as a lower bound."""

    def floor(self, contrast):
        return np.full((*contrast.shape[:-1], self.shares.shape[-2]), 1e-12)


def varied(rng, shares, icc, size):
    """Return shares (*size, classes) that vary between micrographs as a Dirichlet distribution of this correlation."""
    # Very small gamma variates can all be 0; the smallest positive number keeps the shares defined.
    shares = np.asarray(shares)
    drawn = np.maximum(rng.gamma(shares * (1 - icc) / icc, size=(*size, shares.shape[-1])), 1e-300)
    return drawn / drawn.sum(axis=-1, keepdims=True)


def drawn_counts(rng, size, shares, rates, icc=0.1, errors=None):
    """Return counts (*size, truths, called) of micrographs whose shares vary with `icc`, their errors with `errors`."""
    number = rng.multinomial(rng.poisson(PARTICLES, size), varied(rng, shares, icc, size))
    called = [
        rng.multinomial(number[..., t], varied(rng, rate, errors or icc, size))
        for t, rate in enumerate(rates)
    ]
    return np.stack(called, axis=-2).astype(float)


def in_sessions(rng, replicates, session, shares, rates, between, errors):
    """Return counts (replicates, micrographs, truths, called) of micrographs whose `session` (micrographs,) is a number from 0."""
    size, count = (replicates, len(session)), (replicates, np.max(session) + 1)
    number = rng.multinomial(rng.poisson(PARTICLES, size), varied(rng, shares, 0.1, size))
    called = []
    for truth, rate in enumerate(rates):
        own = varied(rng, rate, between, count) if between else np.broadcast_to(rate, (*count, len(rate)))
        called.append(rng.multinomial(number[..., truth], varied(rng, own[:, session], errors, size)))
    return np.stack(called, axis=-2).astype(float)


def binary(tpr, tnr):
    """Return the rates of a classifier of two classes."""
    return [[tpr, 1 - tpr], [1 - tnr, tnr]]


def symmetric(right, classes=3):
    """Return rates of a classifier that is right with this probability, its errors spread over the other classes."""
    return np.full((classes, classes), (1 - right) / (classes - 1)) + np.eye(classes) * (
        right - (1 - right) / (classes - 1)
    )


def sample(rng, replicates, micrographs, shares, rates, icc, errors=None):
    """Return calls (replicates, 1, micrographs, 1, called) of new samples."""
    counts = drawn_counts(rng, (replicates, micrographs), shares, rates, icc, errors)
    return counts.sum(axis=-2)[:, None, :, None, :]


def held_out(rng, replicates, micrographs, shares, rates, icc, errors=None):
    """Return held-out counts (replicates, 1, micrographs, truths, called) that `Correction` would not refuse."""
    counts = drawn_counts(rng, (2 * replicates, micrographs), shares, rates, icc, errors)
    return counts[usable(counts[:, None])][:replicates, None]


def usable(counts):
    """Return in which counts (replicates, folds, micrographs, truths, called) no class is missing, nor called as another."""
    pooled = counts.sum(axis=-3)
    known = (pooled.sum(axis=-1) > 0).all(axis=(1, 2))
    shares = Measured(np.where(known[:, None, None, None, None], counts, 1)).shares
    return known & (np.abs(np.linalg.det(shares @ dealt(shares))) > SINGULAR)


def accepted(solved, shares):
    """Return which true shares (J,) the test that the interval inverts accepts (replicates, J)."""
    hypotheses = np.broadcast_to(np.asarray(shares)[:, None], (*solved.values.shape, 1))
    t, df = solved.statistic(hypotheses)
    return (np.abs(t) <= -special.stdtrit(df, TAIL))[..., 0]


def described(values):
    """Return the range of some percentages."""
    return f"{100 * np.min(values):.1f} to {100 * np.max(values):.1f}"


def beyond(coverage, low, high):
    """Return how many cells are below and above limits."""
    return f"{(coverage < low).sum()} below, {(coverage > high).sum()} above of {len(coverage)}"


def two_classes(rng, replicates, quick):
    """Print coverage and bias of two classes, and what two simpler intervals cover."""
    heading(
        f"Two classes, {replicates} replicates a cell, seven shares from 2 to 98 % and nine pairs of ICC in each row: lowest to "
        "highest coverage in %; bias in points.",
        *(
            "micrographs on each side",
            "TPR",
            "TNR",
            "coverage",
            "cells beyond",
            "without hypothesis",
            "beyond",
        ),
        *("without floor either", "beyond", "bias, median", "bias, mean"),
    )
    rows = []
    pairs = list(product((0.8, 0.95), repeat=2))
    for micrographs, (tpr, tnr) in product(MICROGRAPHS, pairs[:: 3 if quick else 1]):
        for icc, errors, share in product(ICC, ICC, SHARES[:: 3 if quick else 1]):
            truth, rates = [share, 1 - share], binary(tpr, tnr)
            held = held_out(rng, replicates, micrographs, [HELD_OUT, 1 - HELD_OUT], rates, icc, errors)
            new = sample(rng, len(held), micrographs, truth, rates, icc, errors)
            full = Solved(Measured(held), Measured(new))
            inside = [accepted(full, truth), accepted(Fieller(Measured(held), Measured(new)), truth)]
            inside.append(accepted(Fieller(Unfloored(held), Unfloored(new)), truth))
            off = full.values[:, 0] - share
            rows.append(
                (
                    micrographs,
                    tpr,
                    tnr,
                    icc,
                    errors,
                    share,
                    *(i[:, 0].mean() for i in inside),
                    np.median(off),
                    off.mean(),
                )
            )
        cells = (
            pd.DataFrame(rows[-(len(ICC) ** 2) * len(SHARES[:: 3 if quick else 1]) :]).iloc[:, 6:].to_numpy()
        )
        limits = (0.91, 1) if micrographs == 6 else (0.93, 0.97)
        shown = [text for inside in cells[:, :3].T for text in (described(inside), beyond(inside, *limits))]
        row(micrographs, tpr, tnr, *shown, *(described(off) for off in cells[:, 3:].T))
    names = [
        "micrographs",
        "TPR",
        "TNR",
        "ICC",
        "ICC of errors",
        "share",
        "coverage",
        "without hypothesis",
        "without floor",
    ]
    print_outside(pd.DataFrame(rows, columns=[*names, "median bias", "bias"]))


def print_outside(cells):
    """Print the cells of two classes outside their limits."""
    few = cells["micrographs"] == 6
    wrong = cells["coverage"].lt(np.where(few, 0.91, 0.93)) | (cells["coverage"].gt(0.97) & ~few)
    heading(
        f"Cells outside 93-97 % (from 20 micrographs) or below 91 % (6): {wrong.sum()} of {len(cells)}",
        *cells,
    )
    for _, cell in cells[wrong].iterrows():
        row(*(f"{x:g}" for x in cell.iloc[:6]), *(f"{100 * x:.1f}" for x in cell.iloc[6:]))


def lang_reiczigel(hits, n, tpr, n_tpr, tnr, n_tnr):
    """Return the interval of Z. Lang and J. Reiczigel (Prev. Vet. Med. 113 (2014) 13-22, doi:10.1016/j.prevetmed.2013.09.015)."""
    z = stats.norm.isf(TAIL)
    q, n = (hits + z**2 / 2) / (n + z**2), n + z**2
    (tpr, n_tpr), (tnr, n_tnr) = (((m * r + 1) / (m + 2), m + 2) for r, m in ((tpr, n_tpr), (tnr, n_tnr)))
    share = (q + tnr - 1) / (tpr + tnr - 1)
    parts = tpr * (1 - tpr) / n_tpr, tnr * (1 - tnr) / n_tnr
    shift = 2 * z**2 * (share * parts[0] - (1 - share) * parts[1])
    variance = q * (1 - q) / n + share**2 * parts[0] + (1 - share) ** 2 * parts[1]
    half = z * np.sqrt(variance) / abs(tpr + tnr - 1)
    return np.clip([share + shift - half, share + shift + half], 0, 1)


def trained(classes):
    """Return what QuaPy takes for a classifier that has been trained."""
    from sklearn.base import BaseEstimator

    class Trained(BaseEstimator):
        classes_ = np.arange(classes)
        fit = predict = None

        def __sklearn_is_fitted__(self):
            return True

    return Trained()


class Peers:
    """QuaPy's and ppi_py's intervals, where they are installed."""

    def __init__(self):
        self.quapy = self.ppi = None
        try:
            from joblib import parallel_config
            from quapy.method.aggregative import ACC
            from quapy.method.confidence import AggregativeBootstrap

            acc = ACC(trained(2), fit_classifier=False, val_split=None, solver="exact-cc")
            self.quapy, self.sequential = AggregativeBootstrap(acc, n_test_samples=100), parallel_config
        except ImportError as fault:
            print(f"no QuaPy: {fault}")
        try:
            from ppi_py import ppi_mean_ci

            self.ppi = ppi_mean_ci
        except ImportError as fault:
            print(f"no ppi_py: {fault}")

    def by_quapy(self, truth, called, new):
        """Return QuaPy's bootstrapped adjusted count of class 0."""
        if self.quapy is None:
            return np.nan, np.nan
        with self.sequential(backend="sequential"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.quapy.aggregation_fit(called, truth)
            _, region = self.quapy.aggregate_conf(new)
        return region.I_low[0], region.I_high[0]

    def by_ppi(self, labelled, called, new):
        """Return ppi_py's interval of class 0 from labels and calls."""
        if self.ppi is None:
            return np.nan, np.nan
        low, high = self.ppi(*(1.0 * (x == 0) for x in (labelled, called, new)), alpha=2 * TAIL)
        return np.ravel(low)[0], np.ravel(high)[0]


def few_of(rng, counts, labels=5):
    """Return how many of a few particles, drawn at random in each micrograph of counts (..., truths, called), are which."""
    flat = counts.reshape(-1, counts.shape[-2] * counts.shape[-1]).astype(int)
    few = [rng.multivariate_hypergeometric(c, min(labels, c.sum())) for c in flat]
    return np.reshape(few, counts.shape).astype(float)


def codes(counts):
    """Return micrograph, truth and call (3, n) of each particle of counts (micrographs, truths, called)."""
    return np.repeat(np.indices(counts.shape).reshape(3, -1), counts.astype(int).ravel(), axis=1)


def one_of_each(rng, peers, held, counts):
    """Return the intervals (ways, 2) of one replicate from counts (micrographs, truths, called) of either side."""
    few, pooled, calls = few_of(rng, counts), held.sum(axis=0), counts.sum(axis=1)
    solved = Solved(Measured(held[None]), Measured(calls[None, :, None, :]))
    hits, n = calls[:, 0].sum(), calls.sum()
    unit, *few_codes = codes(few)
    _, low, high, _ = powered(calls, calls.sum(axis=1), unit, *(np.eye(2)[code] for code in few_codes))
    counted = stats.binomtest(int(hits), int(n)).proportion_ci(1 - 2 * TAIL, "wilson")
    rates = pooled[0, 0] / pooled[0].sum(), pooled[0].sum(), pooled[1, 1] / pooled[1].sum(), pooled[1].sum()
    return np.array(
        [
            [end[0] for end in solved.interval()],
            [low[0], high[0]],
            [counted.low, counted.high],
            lang_reiczigel(hits, n, *rates),
            peers.by_quapy(*codes(held)[1:], codes(counts)[2]),
            peers.by_ppi(*few_codes, codes(counts - few)[2]),
        ]
    )


def beside_peers(rng, replicates, quick):
    """Print coverage and median width of temlib's two intervals and those of others, in a quarter of the replicates."""
    replicates //= 4
    ways = (
        "temlib, rates",
        "temlib, 5 labels a micrograph",
        "calls counted, Wilson",
        "Lang-Reiczigel",
        "QuaPy ACC",
        "ppi_py, the same labels",
    )
    title = f"Beside others, {replicates} replicates a cell: coverage in % (median width in points)."
    heading(title, "micrographs on each side", "TPR = TNR", "ICC", "share", *ways)
    peers = Peers()
    cells = list(product(MICROGRAPHS, (0.8, 0.95), ICC, (0.3,)))
    # Each cell has random numbers of its own, and can be run apart.
    for own, cell in list(zip(rng.spawn(len(cells)), cells))[:: 4 if quick else 1]:
        micrographs, right, icc, share = cell
        rates, truth, found = binary(right, right), [share, 1 - share], []
        for held in held_out(own, replicates, micrographs, [HELD_OUT, 1 - HELD_OUT], rates, icc)[:, 0]:
            found.append(one_of_each(own, peers, held, drawn_counts(own, (micrographs,), truth, rates, icc)))
        found = np.array(found)
        inside = np.mean((found[..., 0] <= share) & (share <= found[..., 1]), axis=0)
        width = np.median(found[..., 1] - found[..., 0], axis=0)
        shown = ["–" if np.isnan(w) else f"{100 * i:.1f} ({100 * w:.0f})" for i, w in zip(inside, width)]
        row(micrographs, right, icc, share, *shown)


# Micrographs and sessions learnt from, micrographs and sessions of a sample.
SESSIONS = ((40, 6, 16, 1), (40, 6, 16, 4), (40, 12, 16, 1), (15, 3, 16, 1))


def sessions(rng, replicates, quick):
    """Print coverage where error rates vary between sessions, and how often two equal samples differ."""
    heading(
        f"Error rates that vary between sessions, {replicates} replicates a cell, shares 10, 50, 90 %, ICC of micrographs 0.02 and 0.1 in "
        "each row: lowest to highest in %; median widths in points.",
        *("micrographs learnt from", "sessions", "of a sample", "sessions", "TPR = TNR", "ICC of sessions"),
        *("coverage, micrographs alone", "median width", "coverage, sessions known", "median width"),
        *("equal samples of two sessions, p ≤ 0.05", "of the same session"),
    )
    cells = list(product(SESSIONS, (0.7, 0.9), (0, 0.02, 0.1)))
    for (held, learnt, new, own), right, between in cells[1::7] if quick else cells:
        session, other = np.arange(held) * learnt // held, np.arange(new) * own // new
        found, rates = [], binary(right, right)
        for share, errors in product((0.1, 0.5, 0.9), (0.02, 0.1)):
            truth = [share, 1 - share]
            counts = in_sessions(
                rng, 2 * replicates, session, [HELD_OUT, 1 - HELD_OUT], rates, between, errors
            )
            counts = counts[usable(counts[:, None])][:replicates, None]
            known, twice = Measured(counts, session), np.concatenate([other, other])
            # Two samples of the same sessions, and one of others.
            both = in_sessions(rng, len(counts), twice, truth, rates, between, errors).sum(axis=-2)
            third = in_sessions(rng, len(counts), other, truth, rates, between, errors).sum(axis=-2)
            first, second, apart = (
                Measured(c[:, None, :, None]) for c in (both[:, :new], both[:, new:], third)
            )
            cell = []
            for rate_errors in (Measured(counts), known):
                solved = Solved(rate_errors, first, together=np.eye(1) / own)
                low, high = solved.interval()
                cell += [accepted(solved, truth)[:, 0].mean(), np.median((high - low)[:, 0])]
            for sample, shared in ((apart, np.eye(2)), (second, np.ones((2, 2)))):
                pair = Solved(known, first, sample, together=shared / own)
                cell.append(1 - accepted(pair, [0, 0])[:, 0].mean())
            found.append(cell)
        row(held, learnt, new, own, right, between, *(described(x) for x in zip(*found)))


def three_classes(rng, replicates, quick):
    """Print coverage and bias of three classes, and of two classes and a share that is refused."""
    heading(
        f"Three classes, {replicates} replicates a cell, four sets of shares in each row.",
        "micrographs on each side",
        "right",
        "ICC",
        "coverage %",
        "bias, median",
        "bias, mean",
    )
    sets = [(0.6, 0.3, 0.1), (0.9, 0.08, 0.02), (1 / 3, 1 / 3, 1 / 3), (0.02, 0.49, 0.49)]
    for micrographs, right, icc in list(product(MICROGRAPHS, (0.8, 0.95), ICC))[:: 5 if quick else 1]:
        inside, off = [], []
        for shares in sets:
            rates = symmetric(right)
            held = held_out(rng, replicates, micrographs, (0.4, 0.3, 0.3), rates, icc)
            solved = Solved(Measured(held), Measured(sample(rng, len(held), micrographs, shares, rates, icc)))
            inside.append(accepted(solved, shares).mean(axis=0))
            off.append(solved.values - np.array(shares))
        row(
            micrographs,
            right,
            icc,
            described(inside),
            described([np.median(x, axis=0) for x in off]),
            described([np.mean(x, axis=0) for x in off]),
        )


def folds_and_refused(rng, replicates, quick):
    """Print coverage where K fold models, each with errors of its own, may refuse particles."""
    heading(
        f"Fold models that refuse, {replicates} replicates a cell, shares 10, 30, 90 %.",
        "micrographs on each side",
        "folds",
        "ICC",
        "coverage %",
        "bias, mean",
    )
    rates = np.array(
        [
            [[0.8, 0.1, 0.1], [0.05, 0.9, 0.05]],
            [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]],
            [[0.85, 0.15, 0], [0.2, 0.75, 0.05]],
        ]
    )
    rates = np.maximum(rates, 1e-3) / np.maximum(rates, 1e-3).sum(axis=-1, keepdims=True)
    for micrographs, folds, icc in list(product(MICROGRAPHS, (1, 3), ICC))[:: 4 if quick else 1]:
        inside, off = [], []
        for share in (0.1, 0.3, 0.9):
            truth = [share, 1 - share]
            parts = np.zeros((2 * replicates, folds, micrographs, 2, 3))
            for k in range(folds):
                own = np.arange(micrographs) % folds == k
                parts[:, k, own] = drawn_counts(
                    rng, (2 * replicates, own.sum()), [HELD_OUT, 1 - HELD_OUT], rates[k], icc
                )
            parts = parts[usable(parts)][:replicates]
            new = fold_calls(rng, len(parts), micrographs, truth, rates[:folds], icc)
            solved = Solved(Measured(parts), Measured(new))
            inside.append(accepted(solved, truth)[:, 0].mean())
            off.append(solved.values[:, 0].mean() - share)
        row(micrographs, folds, icc, described(inside), described(off))


def fold_calls(rng, replicates, micrographs, shares, rates, icc):
    """Return the averaged calls (replicates, 1, micrographs, 1, called) of K models whose errors in a micrograph are alike.

    In each micrograph the models share the quantile of their rate of error, so that their errors are correlated.
    """
    size = (replicates, micrographs)
    number = rng.multinomial(rng.poisson(PARTICLES, size), varied(rng, shares, icc, size))
    state = rng.integers(2**31)
    calls = 0
    for rate in rates:
        # The same random numbers for all models.
        same = np.random.default_rng(state)
        calls = calls + sum(
            same.multinomial(number[..., t], varied(same, r, icc, size)) for t, r in enumerate(rate)
        )
    return (calls / len(rates))[:, None, :, None, :]


def two_samples(rng, replicates, quick):
    """Print type I errors of the difference and of equivalence, and the coverage of a difference."""
    heading(
        f"Two samples, {replicates} replicates a cell, shares 10, 30, 90 %: type I errors at 5 %, coverage of a difference of 5 "
        "points.",
        "micrographs on each side",
        "TPR = TNR",
        "ICC",
        "equal, p ≤ 0.05: %",
        "at the margin of 10 points, equivalent: %",
        "coverage %",
    )
    for micrographs, right, icc in list(product(MICROGRAPHS, (0.8, 0.95), ICC))[:: 5 if quick else 1]:
        rates, found = binary(right, right), []
        for share in (0.1, 0.3, 0.9):
            held = held_out(rng, replicates, micrographs, [HELD_OUT, 1 - HELD_OUT], rates, icc)
            errors = Measured(held)
            shares = [share + d if share < 0.5 else share - d for d in (0, 0, 0.1, 0.05)]
            first, *others = (
                Measured(sample(rng, len(held), micrographs, [s, 1 - s], rates, icc)) for s in shares
            )
            sign = 1 if share > 0.5 else -1
            solved = [Solved(errors, first, other) for other in others]
            t, df = solved[1].statistic(np.tile([-0.1, 0.1], (*solved[1].values.shape, 1)))
            equivalent = special.stdtr(df, t * [-1, 1]).max(axis=-1) <= 2 * TAIL
            found.append(
                (
                    1 - accepted(solved[0], [0, 0]).mean(axis=0)[0],
                    equivalent[:, 0].mean(),
                    accepted(solved[2], sign * np.array([0.05, -0.05]))[:, 0].mean(),
                )
            )
        row(micrographs, right, icc, *(described(x) for x in zip(*found)))


def carried_over(rng, replicates, quick):
    """Print how often the test of the assumption speaks: rates that carry over, and a TPR that fell by 0.2."""
    title = (
        f"Do the rates carry over, {replicates} replicates a cell, TPR = TNR = 0.9, then TPR 0.7; share 30 %, 5 labels a "
        "micrograph: % of samples."
    )
    heading(title, "micrographs on each side", "ICC", "TPR", "p ≤ 0.05", "coverage of the corrected share")
    for micrographs, icc, tpr in list(product(MICROGRAPHS, ICC, (0.9, 0.7)))[:: 5 if quick else 1]:
        held = held_out(rng, replicates, micrographs, [HELD_OUT, 1 - HELD_OUT], binary(0.9, 0.9), icc)
        counts = drawn_counts(rng, (len(held), micrographs), [0.3, 0.7], binary(tpr, 0.9), icc)
        few = few_of(rng, counts)
        errors, labelled = Measured(held), few.sum(axis=(1, 3)) > 0
        p = compared(errors, Measured(np.where(labelled[:, None, :, None], few, 1)[:, None]))
        # As in `Correction.carried_over`: both kinds of error, Bonferroni.
        smallest = np.where(labelled, p[:, [0, 1], [1, 0]] * labelled.sum(axis=1, keepdims=True), 1).min(
            axis=1
        )
        inside = accepted(Solved(errors, Measured(counts.sum(axis=2)[:, None, :, None, :])), [0.3, 0.7])[:, 0]
        row(
            micrographs, icc, tpr, *(f"{100 * x:.1f}" for x in (np.mean(smallest <= 2 * TAIL), inside.mean()))
        )


def oracles(*_):
    """Print shares by QuaPy, and the variance of a share by delicatessen, of the counts above; tests hold these numbers."""
    try:
        from delicatessen import MEstimator
        from delicatessen.utilities import aggregate_efuncs
        from quapy.method.aggregative import ACC, EMQ
    except ImportError as fault:
        print(f"\nno oracle: {fault}")
        return
    acc = ACC(trained(3), fit_classifier=False, val_split=None, solver="exact-raise")
    held, new = codes(np.array(HELD_3)), codes(np.array(NEW_3)[:, None])
    acc.aggregation_fit(held[2], held[1])
    print(f"\nQuaPy, adjusted count: {acc.aggregate(new[2])}")
    print(
        f"QuaPy, expectation maximisation: {EMQ.EM(np.array(PRIOR), np.array(PROBABILITIES), epsilon=1e-10)[0]}"
    )
    held, new = codes(np.array(HELD_2)), codes(np.array(NEW_2)[:, None])
    unit = np.concatenate([held[0], len(HELD_2) + new[0]])
    called, truth = (
        np.concatenate([held[2], new[2]]) == 0,
        np.concatenate([held[1], np.full(new.shape[1], -1)]),
    )

    def estimating(theta):
        share, q, tpr, fpr = theta
        rows = [np.full(len(unit), share * (tpr - fpr) - (q - fpr))]
        rows += [(truth == t) * (called - rate) for t, rate in ((-1, q), (0, tpr), (1, fpr))]
        return aggregate_efuncs(np.vstack(rows), group=unit)

    fitted = MEstimator(estimating, init=[0.5, 0.5, 0.8, 0.2])
    fitted.estimate()
    print(f"delicatessen: share {fitted.theta[0]:.9f}, variance by micrograph {fitted.variance[0, 0]:.9f}")


PARTS = {
    "oracles": oracles,
    "two": two_classes,
    "three": three_classes,
    "folds": folds_and_refused,
    "samples": two_samples,
    "carry": carried_over,
    "sessions": sessions,
    "peers": beside_peers,
}


if __name__ == "__main__":
    simulations(__doc__, PARTS, 400, peers=True)
