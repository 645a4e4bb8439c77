"""Coverage of nominal 95 % intervals and type I error of paired tests, simulated; prints every cell as markdown.

    python benchmarks/coverage.py [--quick] [--replicates 2000] [--seed 0]

Truth: micrographs hold Poisson numbers of positives and of negatives, of the same mean. Two classifiers predict
them; the shares of particles that both, one, or none of them have right vary between micrographs as a
Dirichlet distribution with intra-class correlation ICC (0: they do not vary), separately for positives and
negatives. TPR and TNR of the first are the value, hence so are PPV, F1 and balanced accuracy; the second is
0.1 worse. The intervals and tests are those of temlib, called on counts per micrograph. Beside them stands
what takes particles for independent: the percentile bootstrap of particles, McNemar's test, DeLong's test.
"""

import argparse
import time
from itertools import product

import numpy as np
import pandas as pd
from scipy import special

from temlib import evaluate
from temlib.evaluate import decisions, held_out, intervals, measures, scores
from temlib.evaluate.held_out import HeldOut
from temlib.evaluate.measures import call_labels, call_values

CLASSES = ["positive", "negative"]
SHOWN = (("TPR", "positive"), ("PPV", "positive"), ("F1", "positive"), ("balanced accuracy", "all"))
COLUMNS = [call_labels(CLASSES).index(label) for label in SHOWN]
BOOTSTRAPS = 400


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
    return np.array(
        [ends(f, COLUMNS) for f in (intervals.of_values(one), intervals.of_differences(one.minus(two)))]
    )


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
    inside = np.zeros((2, 2, len(COLUMNS)))
    defined = np.zeros((2, 2, len(COLUMNS)))
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
    print(
        f"\nCoverage in % of nominal 95 % intervals, {replicates} replicates a cell: temlib (bootstrap of particles).\n"
    )
    names = ["TPR", "PPV", "F1", "bal. acc.", "Δ TPR", "Δ PPV", "Δ F1", "Δ bal. acc."]
    print("| micrographs | positives each | ICC | value | " + " | ".join(names) + " |")
    print("|" + "--:|" * (4 + len(names)))
    failed, worst = [], {True: 100.0, False: 100.0}
    for micrographs, positives, icc, value in list(grid)[:: 5 if quick else 1]:
        found = coverage_cell(rng, replicates, micrographs, positives, icc, value).reshape(2, -1)
        cells = " | ".join(f"{a:.1f} ({b:.1f})" for a, b in zip(*found))
        print(f"| {micrographs} | {positives} | {icc} | {value} | {cells} |", flush=True)
        many = micrographs >= 40 and positives >= 15
        low, high = (93, 97) if many else (91, 100)
        worst[many] = min(worst[many], found[0].min())
        failed += [
            (micrographs, positives, icc, value, n) for n, c in zip(names, found[0]) if not low <= c <= high
        ]
    print(
        f"\nSmallest coverage: {worst[True]:.1f} from 40 micrographs and 15 positives on, {worst[False]:.1f} elsewhere."
    )
    print(
        "Cells outside 93-97 % (40 micrographs and 15 positives on) or below 91 % (elsewhere):",
        failed or "none",
    )


def print_call_tests(rng, replicates, quick):
    """Print how often tests of calls reject at 5 % where the two classifiers are equally good."""
    print(
        f"\nType I error in % at a nominal 5 %, {replicates} replicates a cell, 15 positives and negatives a micrograph.\n"
    )
    print(
        "| micrographs | ICC | null hypothesis | accuracy | TPR | PPV | F1 | bal. acc. | McNemar, accuracy |"
    )
    print("|" + "--:|" * 9)
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
        print(
            f"| {micrographs} | {icc} | {null} | {' | '.join(shown)} | {100 * mcnemar / replicates:.1f} |",
            flush=True,
        )
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
        p = [
            rows.loc[rows["measure"] == name, "p_value"].iloc[0] for name in ("accuracy", "balanced accuracy")
        ]
        rejected += np.array(p) <= 0.05
    a, b = 100 * rejected / replicates
    print(
        f"\n400 independent particles: exact McNemar {a:.1f} %; particles exchanged, balanced accuracy {b:.1f} %."
    )


def drawn_scores(rng, truth, micrograph, icc):
    """Return two classifiers' probabilities of class 0 (2, n), of the same AUC; their errors correlate by 0.5."""
    own = rng.normal(0, np.sqrt(icc), (2, micrograph.max() + 1, 2))[:, micrograph, truth]
    noise = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], len(truth)).T
    return special.expit(1.5 * (truth == 0) + own + np.sqrt(1 - icc) * noise)


def print_score_tests(rng, replicates, quick):
    """Print how often tests of AUC reject at 5 % where both classifiers have the same, and how well intervals cover."""
    print(
        f"\nAUC of two equally good classifiers, {replicates} replicates a cell, 15 positives and negatives a micrograph.\n"
    )
    print(
        "| micrographs | ICC | type I, Obuchowski % | type I, DeLong % | coverage AUC % | coverage average precision % |"
    )
    print("|" + "--:|" * 6)
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
        print(
            f"| {micrographs} | {icc} | " + " | ".join(f"{x:.1f}" for x in 100 * found / replicates) + " |",
            flush=True,
        )


def reference_scores(icc):
    """Return AUC and average precision of the same distribution from 2 million particles, each its own micrograph."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 2_000_000)
    scores = drawn_scores(rng, truth, np.arange(len(truth)), icc)[0]
    return np.array(
        [
            intervals.auc_influences(scores, truth == 0)[0],
            intervals.average_precision_influences(scores, truth == 0)[0],
        ]
    )


def drawn_predictions(rng, micrographs, each, icc, sharpness):
    """Return predictions of three classes; probabilities are right in the mean for sharpness 1, too sure above."""
    n = micrographs * each
    truth = rng.integers(0, 3, n)
    micrograph = np.repeat(np.arange(micrographs), each)
    logits = (
        rng.normal(0, np.sqrt(1 - icc), (n, 3))
        + rng.normal(0, np.sqrt(icc), (micrographs, 3, 3))[micrograph, truth]
    )
    logits[np.arange(n), truth] += 1.5
    p = special.softmax(1.5 * sharpness * logits, axis=1)
    names = np.array(["a", "b", "c"])
    table = pd.DataFrame(
        {"particle": np.arange(n), "micrograph": micrograph, "model": "m", "truth": names[truth]}
    )
    return table.assign(
        fold=0, role="test", predicted=names[p.argmax(1)], p_a=p[:, 0], p_b=p[:, 1], p_c=p[:, 2]
    )


def print_conformal(rng, replicates, quick):
    """Print the mean coverage of conformal sets per class, in a quarter of the replicates."""
    replicates //= 4
    print(f"\nConformal sets, nominal 95 %, {replicates} simulations: mean coverage in % of each class.\n")
    print("| calibration particles | ICC | a | b | c | no set claimed % |\n|--:|--:|--:|--:|--:|--:|")
    for micrographs, icc in list(product((12, 30, 60), (0, 0.3)))[:: 3 if quick else 1]:
        found, claimed = [], 0
        for _ in range(replicates):
            table = drawn_predictions(rng, 2 * micrographs, 8, icc, 1)
            table["role"] = np.where(table["micrograph"] < micrographs, "validation", "test")
            sets = evaluate.Predictions(table).prediction_sets()
            if sets["set"].notna().any():
                claimed += 1
                found.append(sets.groupby("truth")["covered"].mean())
        shown = " | ".join(f"{100 * x:.1f}" for x in pd.DataFrame(found).mean())
        print(f"| {8 * micrographs} | {icc} | {shown} | {100 * (1 - claimed / replicates):.0f} |", flush=True)


def as_given(table, *, draws=4000, seed=0):
    """Return the row of the calibration error of probabilities as they are given."""
    return decisions.calibration_error(
        held_out.by_model(table, ["a", "b", "c"]), draws=draws, seed=seed
    ).iloc[0]


def print_calibration_error(rng, replicates, quick):
    """Print the coverage of intervals of the expected calibration error, in a quarter of the replicates."""
    replicates //= 4
    print(
        f"\nExpected calibration error, 10 bins, {replicates} simulations: coverage of nominal 95 % intervals.\n"
    )
    print(
        "| micrographs of 15 | ICC | sharpness | true ECE | mean ECE seen | coverage % |\n|--:|--:|--:|--:|--:|--:|"
    )
    for micrographs, icc, sharpness in list(product((20, 40, 80), (0, 0.3), (1, 2)))[:: 5 if quick else 1]:
        # 400,000 particles, each its own micrograph, stand for the truth.
        options = icc, sharpness
        truth = as_given(drawn_predictions(rng, 400_000, 1, *options), draws=2)["ECE"]
        rows = [
            as_given(drawn_predictions(rng, micrographs, 15, *options), seed=rng) for _ in range(replicates)
        ]
        inside = np.mean([row["low"] <= truth <= row["high"] for row in rows])
        seen = np.mean([row["ECE"] for row in rows])
        print(
            f"| {micrographs} | {icc} | {sharpness} | {truth:.3f} | {seen:.3f} | {100 * inside:.1f} |",
            flush=True,
        )


def print_curves(rng, replicates, quick):
    """Print the pointwise coverage of the bands of ROC and precision–recall curves, in a quarter of the replicates."""
    replicates //= 4
    print(
        f"\nROC and precision–recall, {replicates} simulations: pointwise coverage in % of nominal 95 % bands.\n"
    )
    print(
        "| micrographs | ICC | TPR at FPR 0.1 | 0.2 | 0.4 | PPV at recall 0.2 | 0.5 | 0.8 |\n|" + "--:|" * 8
    )
    read = [("ROC", 0.1), ("ROC", 0.2), ("ROC", 0.4), *(("precision–recall", x) for x in (0.2, 0.5, 0.8))]

    def at(table):
        return table.round({"x": 6}).set_index(["class", "curve", "x"]).loc[[("a", *key) for key in read]]

    def predictions_of(truth, micrograph, score):
        table = pd.DataFrame(
            {"particle": np.arange(len(truth)), "micrograph": micrograph, "model": "m", "p_a": score}
        )
        names = np.array(["a", "b"])
        table = table.assign(truth=names[truth], predicted=names[(score < 0.5).astype(int)], p_b=1 - score)
        return evaluate.Predictions(table)

    for micrographs, icc in list(product((20, 40, 80), (0, 0.3)))[:: 3 if quick else 1]:
        truth = rng.integers(0, 2, 400_000)
        alone = np.arange(len(truth))
        known = at(predictions_of(truth, alone, drawn_scores(rng, truth, alone, icc)[0]).curves(draws=2))[
            "value"
        ]
        inside = np.zeros(len(read))
        for _ in range(replicates):
            micrograph = np.repeat(np.arange(micrographs), rng.poisson(30, micrographs))
            truth = rng.integers(0, 2, len(micrograph))
            score = drawn_scores(rng, truth, micrograph, icc)[0]
            found = at(predictions_of(truth, micrograph, score).curves(draws=200, seed=rng))
            inside += (found["low"] <= known) & (known <= found["high"])
        print(
            f"| {micrographs} | {icc} | " + " | ".join(f"{100 * x / replicates:.1f}" for x in inside) + " |",
            flush=True,
        )


PARTS = {
    "intervals": print_coverage,
    "calls": print_call_tests,
    "scores": print_score_tests,
    "sets": print_conformal,
    "calibration": print_calibration_error,
    "curves": print_curves,
}


def main():
    """Run all simulations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100 replicates in a part of the cells")
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=PARTS, help="one part of the simulations")
    options = parser.parse_args()
    replicates = 100 if options.quick else options.replicates
    begun = time.perf_counter()
    for name, part in PARTS.items():
        if options.only in (None, name):
            part(np.random.default_rng(options.seed), replicates, options.quick)
    print(f"\n{time.perf_counter() - begun:.0f} s, seed {options.seed}")


if __name__ == "__main__":
    main()
