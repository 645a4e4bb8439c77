"""Coverage of nominal 95 % intervals and type I error of paired tests, simulated; prints every cell as markdown.

    python benchmarks/coverage.py [--quick] [--replicates 2000] [--seed 0]

Truth: micrographs hold Poisson numbers of positives and of negatives, of the same mean. Two classifiers predict
them; the shares of particles that both, one, or none of them have right vary between micrographs as a
Dirichlet distribution with intra-class correlation ICC (0: they do not vary), separately for positives and
negatives. TPR and TNR of the first are the value, hence so are PPV, F1 and balanced accuracy; the second is
0.1 worse. The intervals and tests are those of temlib, called on counts per micrograph. Beside them stands
what takes particles for independent: the percentile bootstrap of particles, McNemar's test, DeLong's test.

The part "edge" has shares near 1, and beside temlib's intervals those of the rule that it had before: t intervals on the
logit scale (plain ones of differences), and Wilson's only where no error, or no disagreement, was seen.
"""

import argparse
import sys
import time
from itertools import product

import numpy as np
import pandas as pd
from scipy import special, stats

from temlib import evaluate
from temlib.evaluate import decisions, held_out, intervals, measures, scores
from temlib.evaluate.held_out import HeldOut
from temlib.evaluate.measures import call_labels, call_values

CLASSES = ["positive", "negative"]
SHOWN = (("TPR", "positive"), ("PPV", "positive"), ("F1", "positive"), ("balanced accuracy", "all"))
COLUMNS = [call_labels(CLASSES).index(label) for label in SHOWN]
BOOTSTRAPS = 400
EACH = "15 positives and negatives"


def heading(title, *columns):
    """Print a title and the head of a table."""
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{'--:|' * len(columns)}")


def row(*cells):
    """Print a row of a table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def both_right(rng, numbers, shares, icc):
    """Return how many of `numbers` particles per micrograph fall to each of four shares: both right, A, B, none."""
    if icc == 0:
        return rng.multinomial(numbers, shares)
    concentration = (1 - icc) / icc
    # Very small gamma variates can all be 0; the smallest positive number keeps the shares defined.
    drawn = np.maximum(rng.gamma(np.asarray(shares) * concentration, size=(len(numbers), 4)), 1e-300)
    return rng.multinomial(numbers, drawn / drawn.sum(axis=1, keepdims=True))


def confusions_of(positives, negatives):
    """Return both classifiers' confusion counts (2, micrographs, 2, 2) from how many were right (micrographs, 4)."""
    counts = np.empty((2, len(positives), 2, 2))
    for model, right in enumerate(([0, 1], [0, 2])):
        for truth, held in enumerate((positives, negatives)):
            counts[model, :, truth, truth] = held[:, right].sum(axis=1)
            counts[model, :, truth, 1 - truth] = held.sum(axis=1) - counts[model, :, truth, truth]
    return counts


def drawn_sample(rng, micrographs, positives, icc, shares):
    """Return how many positives and how many negatives of each micrograph were right (micrographs, 4)."""
    return [both_right(rng, rng.poisson(positives, micrographs), share, icc) for share in shares]


def ends(frame, rows):
    """Return the low and high ends (2, rows) of some rows of a frame of intervals."""
    return frame.loc[rows, ["low", "high"]].to_numpy().T


def temlib_intervals(counts):
    """Return (low, high) of the first classifier's measures and of the differences (2, 2, measures)."""
    one, two = (measures.call_estimates(c, np.ones(len(c)), False, CLASSES) for c in counts)
    frames = intervals.of_values(one), intervals.of_differences(one.minus(two))
    return np.array([ends(frame, COLUMNS) for frame in frames])


def particle_bootstrap(rng, positives, negatives):
    """Return the same from a percentile bootstrap that resamples single particles."""
    cells = np.concatenate([positives.sum(axis=0), negatives.sum(axis=0)])
    drawn = rng.multinomial(cells.sum(), cells / cells.sum(), size=BOOTSTRAPS)
    one, two = (call_values(c)[:, COLUMNS] for c in confusions_of(drawn[:, :4], drawn[:, 4:]))
    with np.errstate(invalid="ignore"):
        return np.nanpercentile([one, one - two], [2.5, 97.5], axis=1).swapaxes(0, 1)


def coverage_cell(rng, replicates, micrographs, positives, icc, value):
    """Return the coverage in percent (temlib, particle bootstrap) x (values, differences) x measures."""
    shares = [[value - 0.15, 0.15, 0.05, 0.95 - value]] * 2
    truth = np.array([value, 0.1])[:, None]
    inside, defined = np.zeros((2, 2, 2, len(COLUMNS)))
    for _ in range(replicates):
        held = drawn_sample(rng, micrographs, positives, icc, shares)
        for k, limits in enumerate((temlib_intervals(confusions_of(*held)), particle_bootstrap(rng, *held))):
            # 1e-9: a limit that equals the truth but for rounding holds it.
            inside[k] += (limits[:, 0] <= truth + 1e-9) & (limits[:, 1] >= truth - 1e-9)
            defined[k] += ~np.isnan(limits[:, 0])
    return 100 * inside / defined


def print_coverage(rng, replicates, quick):
    """Print coverage over the grid."""
    grid = product((20, 40, 80), (2, 15), (0, 0.1, 0.3), (0.7, 0.9))
    title = f"Coverage in % of nominal 95 % intervals, {replicates} replicates a cell: temlib (bootstrap of particles)."
    names = ["TPR", "PPV", "F1", "bal. acc.", "Δ TPR", "Δ PPV", "Δ F1", "Δ bal. acc."]
    heading(title, "micrographs", "positives each", "ICC", "value", *names)
    failed, worst = [], {True: 100.0, False: 100.0}
    for micrographs, positives, icc, value in list(grid)[:: 5 if quick else 1]:
        cell = micrographs, positives, icc, value
        found = coverage_cell(rng, replicates, *cell).reshape(2, -1)
        row(*cell, *(f"{a:.1f} ({b:.1f})" for a, b in zip(*found)))
        many = micrographs >= 40 and positives >= 15
        low, high = (93, 97) if many else (91, 100)
        worst[many] = min(worst[many], found[0].min())
        failed += [(*cell, n) for n, c in zip(names, found[0]) if not low <= c <= high]
    least, elsewhere = (f"{worst[many]:.1f}" for many in (True, False))
    print(f"\nSmallest coverage: {least} from 40 micrographs and 15 positives on, {elsewhere} elsewhere.")
    limits = "93-97 % (40 micrographs and 15 positives on) or below 91 % (elsewhere)"
    print(f"Cells outside {limits}: {failed or 'none'}")


EDGE = [0, 3]  # TPR and balanced accuracy among the shown measures


def switched(counts):
    """Return what `temlib_intervals` returns, by the rule that switches where no error is seen."""
    pair = [measures.call_estimates(c, np.ones(len(c)), False, CLASSES) for c in counts]
    one, difference = pair[0], pair[0].minus(pair[1])
    held = one.support[:, COLUMNS]
    size = (held**2).sum(axis=0) / held.sum(axis=0)
    least = np.array([held[:, 0].sum(), *[counts[0].sum(axis=(0, 2)).min()] * 3])
    n = least / np.maximum(1, 1 + (size - 1) * intervals.ASSUMED_ICC)
    value, half, room = one.value[COLUMNS], np.full(4, np.nan), intervals.wilson(0, n)[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        half = stats.t.isf(0.025, one.df) * np.sqrt(one.variance)
        half = half[COLUMNS] / (value * (1 - value))
        odds = value / (1 - value)
        limits = np.array([special.expit(np.log(odds) - half), special.expit(np.log(odds) + half)])
    limits = np.where(one.variance[COLUMNS] > 1e-18, limits, intervals.wilson(value * n, n))
    spread = (stats.t.isf(0.025, difference.df) * np.sqrt(difference.variance))[COLUMNS]
    spread = np.where(difference.variance[COLUMNS] > 1e-18, spread, room)
    return np.array([limits, difference.value[COLUMNS] + spread * np.array([[-1], [1]])])


def edge_cell(rng, replicates, micrographs, positives, icc, value):
    """Return coverage in percent and mean width in points, (2, rules) x (value, difference) x (TPR, balanced accuracy)."""
    wrong = 1 - value
    shares = [[value - 2 / 3 * wrong, 2 / 3 * wrong, wrong / 3, 2 / 3 * wrong]] * 2
    truth = np.array([value, wrong / 3])[:, None]
    found = np.zeros((2, 2, 2, 2))
    for _ in range(replicates):
        counts = confusions_of(*drawn_sample(rng, micrographs, positives, icc, shares))
        for k, rule in enumerate((switched, temlib_intervals)):
            low, high = np.swapaxes(rule(counts), 0, 1)[..., EDGE]
            found[0, k] += (low <= truth + 1e-9) & (high >= truth - 1e-9)
            found[1, k] += high - low
    return 100 * found / replicates


def print_edge(rng, replicates, quick):
    """Print coverage and width of shares near 1, by the rule before and by today's, in half of the replicates."""
    replicates //= 2
    title = (
        f"Shares near 1, {replicates} replicates a cell: coverage in % (mean width in points), before → now."
    )
    heading(
        title, "micrographs", "positives each", "ICC", "value", "TPR", "bal. acc.", "Δ TPR", "Δ bal. acc."
    )
    grid, least = list(product((20, 40), (2, 15), (0, 0.3), (0.7, 0.9, 0.97, 0.98, 0.99, 1))), [100.0, 100.0]
    for micrographs, positives, icc, value in grid[:: 7 if quick else 1]:
        if value == 1 and icc:
            continue  # where nothing is wrong nothing varies
        (covered, width) = edge_cell(rng, replicates, micrographs, positives, icc, value).reshape(2, 2, 4)
        cells = zip(*covered, *width)
        row(
            micrographs,
            positives,
            icc,
            value,
            *(f"{a:.1f} ({v:.1f}) → {b:.1f} ({w:.1f})" for a, b, v, w in cells),
        )
        if micrographs >= 40:
            least = [min(x, y) for x, y in zip(least, covered.min(axis=1))]
    print(f"\nSmallest coverage from 40 micrographs on: {least[0]:.1f} before, {least[1]:.1f} now.")


def print_call_tests(rng, replicates, quick):
    """Print how often tests of calls reject at 5 % where the two classifiers are equally good."""
    title = f"Type I error in % at a nominal 5 %, {replicates} replicates a cell, {EACH} a micrograph."
    shown = "accuracy", "TPR", "PPV", "F1", "bal. acc.", "McNemar, accuracy"
    heading(title, "micrographs", "ICC", "null hypothesis", *shown)
    columns = [call_labels(CLASSES).index(("accuracy", "all")), *COLUMNS]
    alike = [[0.7, 0.1, 0.1, 0.1]] * 2
    # The second classifier is the first with TPR 0.9 and TNR 0.7 exchanged: only the balanced accuracy is equal.
    opposed = [[0.65, 0.25, 0.05, 0.05], [0.65, 0.05, 0.25, 0.05]]
    cells = list(product((20, 40, 80), (0, 0.1, 0.3), ("alike", "opposed")))
    for micrographs, icc, null in cells[:: 4 if quick else 1]:
        rejected, mcnemar = np.zeros(len(columns)), 0
        for _ in range(replicates):
            held = drawn_sample(rng, micrographs, 15, icc, alike if null == "alike" else opposed)
            counts = confusions_of(*held)
            p = intervals.exchange_test(call_values, *counts, np.ones(micrographs), flips=1000, seed=rng)
            rejected += p[columns] <= 0.05
            mcnemar += intervals.mcnemar_exact(*np.sum(held, axis=(0, 1))[1:3]) <= 0.05
        shown = [f"{100 * r / replicates:.1f}" for r in rejected]
        if null == "opposed":
            shown[1:4] = ["–"] * 3
        row(micrographs, icc, null, *shown, f"{100 * mcnemar / replicates:.1f}")
    print_independent_tests(rng, replicates)


def print_independent_tests(rng, replicates):
    """Print the type I error where particles are independent: exact McNemar, and single particles exchanged."""
    rejected = np.zeros(2)
    for _ in range(replicates):
        truth, right = rng.integers(0, 2, 400), rng.choice(4, 400, p=[0.7, 0.1, 0.1, 0.1])
        calls = [np.where(np.isin(right, kept), truth, 1 - truth) for kept in ((0, 1), (0, 2))]
        alone, unknown = np.arange(400), np.full((400, 2), np.nan)
        one, two = (HeldOut(CLASSES, alone, alone, True, truth, c, unknown) for c in calls)
        rows = measures.calls_compared(one, two, 1000, rng)
        p = rows[rows["class"] == "all"].set_index("measure")["p_value"]
        rejected += p[["accuracy", "balanced accuracy"]] <= 0.05
    a, b = (f"{100 * share:.1f} %" for share in rejected / replicates)
    print(f"\n400 independent particles: exact McNemar {a}; particles exchanged, balanced accuracy {b}.")


def drawn_scores(rng, truth, micrograph, icc):
    """Return two classifiers' probabilities of class 0 (2, n), of the same AUC; their errors correlate by 0.5."""
    own = rng.normal(0, np.sqrt(icc), (2, micrograph.max() + 1, 2))[:, micrograph, truth]
    noise = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], len(truth)).T
    return special.expit(1.5 * (truth == 0) + own + np.sqrt(1 - icc) * noise)


def print_score_tests(rng, replicates, quick):
    """Print how often tests of AUC reject at 5 % where both classifiers have the same, and how well intervals cover."""
    title = f"AUC of two equally good classifiers, {replicates} replicates a cell, {EACH} a micrograph."
    shown = "type I, Obuchowski %", "type I, DeLong %", "coverage AUC %", "coverage average precision %"
    heading(title, "micrographs", "ICC", *shown)
    for micrographs, icc in list(product((20, 40, 80), (0, 0.3)))[:: 3 if quick else 1]:
        truths, found = reference_scores(icc), np.zeros(4)
        for _ in range(replicates):
            micrograph = np.repeat(np.arange(micrographs), rng.poisson(30, micrographs))
            truth = rng.integers(0, 2, len(micrograph))
            p = drawn_scores(rng, truth, micrograph, icc)
            for k, independent in enumerate((False, True)):
                about = CLASSES, np.arange(len(truth)), micrograph, independent, truth
                pair = [HeldOut(*about, (q < 0.5) * 1, np.column_stack([q, 1 - q])) for q in p]
                rows = measures.scores_compared(*pair)
                found[k] += rows["p_value"].iloc[0] <= 0.05
                if not independent:
                    low, high = ends(intervals.of_values(scores.score_estimates(pair[0])), [0, 5])
                    found[2:] += (low <= truths) & (truths <= high)
        row(micrographs, icc, *(f"{x:.1f}" for x in 100 * found / replicates))


def reference_scores(icc):
    """Return AUC and average precision of the same distribution from 2 million particles, each its own micrograph."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 2_000_000)
    drawn = drawn_scores(rng, truth, np.arange(len(truth)), icc)[0]
    return np.array([measure(drawn, truth == 0)[0] for measure in scores.RANKED.values()])


def drawn_predictions(rng, micrographs, each, icc, sharpness):
    """Return predictions of three classes; probabilities are right in the mean for sharpness 1, too sure above."""
    n = micrographs * each
    truth = rng.integers(0, 3, n)
    micrograph = np.repeat(np.arange(micrographs), each)
    logits = rng.normal(0, np.sqrt(1 - icc), (n, 3))
    logits += rng.normal(0, np.sqrt(icc), (micrographs, 3, 3))[micrograph, truth]
    logits[np.arange(n), truth] += 1.5
    p = special.softmax(1.5 * sharpness * logits, axis=1)
    names = np.array(["a", "b", "c"])
    table = pd.DataFrame(p, columns=["p_a", "p_b", "p_c"]).assign(
        particle=np.arange(n), micrograph=micrograph
    )
    return table.assign(model="m", fold=0, role="test", truth=names[truth], predicted=names[p.argmax(1)])


def print_conformal(rng, replicates, quick):
    """Print the mean coverage of conformal sets per class, in a quarter of the replicates."""
    replicates //= 4
    title = f"Conformal sets, nominal 95 %, {replicates} simulations: mean coverage in % of each class."
    heading(title, "calibration particles", "ICC", "a", "b", "c", "no set claimed %")
    for micrographs, icc in list(product((12, 30, 60), (0, 0.3)))[:: 3 if quick else 1]:
        found, claimed = [], 0
        for _ in range(replicates):
            table = drawn_predictions(rng, 2 * micrographs, 8, icc, 1)
            table["role"] = np.where(table["micrograph"] < micrographs, "validation", "test")
            sets = evaluate.Predictions(table).prediction_sets()
            if sets["set"].notna().any():
                claimed += 1
                found.append(sets.groupby("truth")["covered"].mean())
        shown = (f"{100 * x:.1f}" for x in pd.DataFrame(found).mean())
        row(8 * micrographs, icc, *shown, f"{100 * (1 - claimed / replicates):.0f}")


def as_given(table, *, draws=4000, seed=0):
    """Return the row of the calibration error of probabilities as they are given."""
    models = held_out.by_model(table, ["a", "b", "c"])
    return decisions.calibration_error(models, draws=draws, seed=seed).iloc[0]


def print_calibration_error(rng, replicates, quick):
    """Print the coverage of intervals of the expected calibration error, in a quarter of the replicates."""
    replicates //= 4
    title = (
        f"Expected calibration error, 10 bins, {replicates} simulations: coverage of nominal 95 % intervals."
    )
    heading(title, "micrographs of 15", "ICC", "sharpness", "true ECE", "mean ECE seen", "coverage %")
    for micrographs, icc, sharpness in list(product((20, 40, 80), (0, 0.3), (1, 2)))[:: 5 if quick else 1]:
        # 400,000 particles, each its own micrograph, stand for the truth.
        options = icc, sharpness
        truth = as_given(drawn_predictions(rng, 400_000, 1, *options), draws=2)["ECE"]
        drawn = (drawn_predictions(rng, micrographs, 15, *options) for _ in range(replicates))
        found = pd.DataFrame([as_given(table, seed=rng) for table in drawn])
        inside, seen = ((found["low"] <= truth) & (truth <= found["high"])).mean(), found["ECE"].mean()
        row(micrographs, *options, f"{truth:.3f}", f"{seen:.3f}", f"{100 * inside:.1f}")


def print_curves(rng, replicates, quick):
    """Print the pointwise coverage of the bands of ROC and precision–recall curves, in a quarter of the replicates."""
    replicates //= 4
    title = (
        f"ROC and precision–recall, {replicates} simulations: pointwise coverage in % of nominal 95 % bands."
    )
    shown = "TPR at FPR 0.1", "0.2", "0.4", "PPV at recall 0.2", "0.5", "0.8"
    heading(title, "micrographs", "ICC", *shown)
    read = [("ROC", 0.1), ("ROC", 0.2), ("ROC", 0.4), *(("precision–recall", x) for x in (0.2, 0.5, 0.8))]

    def at(table):
        return table.round({"x": 6}).set_index(["class", "curve", "x"]).loc[[("a", *key) for key in read]]

    def predictions_of(truth, micrograph, score):
        names = np.array(["a", "b"])
        table = pd.DataFrame(
            {"truth": names[truth], "p_a": score, "p_b": 1 - score, "micrograph": micrograph}
        )
        predicted = names[(score < 0.5).astype(int)]
        return evaluate.Predictions(table.assign(particle=table.index, model="m", predicted=predicted))

    for micrographs, icc in list(product((20, 40, 80), (0, 0.3)))[:: 3 if quick else 1]:
        truth = rng.integers(0, 2, 400_000)
        alone = np.arange(len(truth))
        many = predictions_of(truth, alone, drawn_scores(rng, truth, alone, icc)[0])
        known = at(many.curves(draws=2))["value"]
        inside = np.zeros(len(read))
        for _ in range(replicates):
            micrograph = np.repeat(np.arange(micrographs), rng.poisson(30, micrographs))
            truth = rng.integers(0, 2, len(micrograph))
            score = drawn_scores(rng, truth, micrograph, icc)[0]
            found = at(predictions_of(truth, micrograph, score).curves(draws=200, seed=rng))
            inside += (found["low"] <= known) & (known <= found["high"])
        row(micrographs, icc, *(f"{100 * x / replicates:.1f}" for x in inside))


PARTS = {
    "intervals": print_coverage,
    "edge": print_edge,
    "calls": print_call_tests,
    "scores": print_score_tests,
    "sets": print_conformal,
    "calibration": print_calibration_error,
    "curves": print_curves,
}


def simulations(doc, parts, quick, peers=False):
    """Run the parts that the command line asks for, with `quick` replicates under --quick; `doc` begins with what they are."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{quick} replicates in a part of the cells")
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=parts, help="one part of the simulations")
    if peers:
        parser.add_argument("--peers", default=[], action="append", help="a folder with other programs")
    options = parser.parse_args()
    sys.path += options.peers if peers else []
    replicates = quick if options.quick else options.replicates
    begun = time.perf_counter()
    for name, part in parts.items():
        if options.only in (None, name):
            part(np.random.default_rng(options.seed), replicates, options.quick)
    print(f"\n{time.perf_counter() - begun:.0f} s, seed {options.seed}")


if __name__ == "__main__":
    simulations(__doc__, PARTS, 100)
