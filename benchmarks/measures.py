"""Speed of the measures: every measure and comparison of 5 models on 10,000 particles; prints markdown.

    python benchmarks/measures.py [--particles 10000] [--models 5]

Beside temlib stands what a script would do instead: scikit-learn on 2,000 resamples of the micrographs' rows,
timed on a few resamples of one model and scaled up.
"""

import argparse
import statistics
import time

import numpy as np
import pandas as pd
from scipy import special
from sklearn import metrics

from temlib import evaluate

CLASSES = np.array(["unilamellar", "multilamellar", "uncertain"])
RESAMPLES, TIMED = 2000, 5


def drawn(particles, models, micrographs, seed=0):
    """Return predictions of several models on the same particles."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, particles, p=[0.7, 0.2, 0.1])
    base = {
        "particle": [f"p{k:06d}" for k in range(particles)],
        "micrograph": [f"m{k:04d}" for k in rng.integers(0, micrographs, particles)],
    }
    tables = []
    for model in range(models):
        logits = rng.normal(size=(particles, 3)) + 2 * np.eye(3)[truth]
        p = special.softmax(2 * logits, axis=1)
        table = pd.DataFrame(p, columns=[f"p_{name}" for name in CLASSES]).assign(
            **base, model=f"model {model}"
        )
        calls = CLASSES[p.argmax(axis=1)]
        tables.append(table.assign(fold=0, role="test", truth=CLASSES[truth], predicted=calls))
    return pd.concat(tables, ignore_index=True)


def resampled_rows(predictions):
    """Return processor seconds that one model's measures take on `TIMED` resamples of whole micrographs' rows."""
    rng = np.random.default_rng(0)
    rows = predictions[predictions["model"] == "model 0"].reset_index(drop=True)
    groups = [part.index.to_numpy() for _, part in rows.groupby("micrograph")]
    # Whole numbers instead of names, and arrays instead of tables: a careful script, not a slow one.
    codes = {name: pd.Categorical(rows[name], CLASSES).codes for name in ("truth", "predicted")}
    scores = rows[[f"p_{name}" for name in CLASSES]].to_numpy()
    begun = time.process_time()
    for _ in range(TIMED):
        chosen = np.concatenate([groups[k] for k in rng.integers(0, len(groups), len(groups))])
        truth, calls = codes["truth"][chosen], codes["predicted"][chosen]
        metrics.precision_recall_fscore_support(truth, calls, zero_division=np.nan)
        metrics.balanced_accuracy_score(truth, calls)
        metrics.matthews_corrcoef(truth, calls)
        metrics.cohen_kappa_score(truth, calls)
        for k in range(3):
            metrics.roc_auc_score(truth == k, scores[chosen, k])
            metrics.average_precision_score(truth == k, scores[chosen, k])
    return time.process_time() - begun


def timed(function, repeats=3):
    """Return the median elapsed and processor seconds of a call, and its result."""
    elapsed, processor = [], []
    for _ in range(repeats):
        begun = time.perf_counter(), time.process_time()
        result = function()
        elapsed.append(time.perf_counter() - begun[0])
        processor.append(time.process_time() - begun[1])
    return statistics.median(elapsed), statistics.median(processor), result


def main():
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--particles", type=int, default=10_000)
    parser.add_argument("--models", type=int, default=5)
    options = parser.parse_args()
    predictions = drawn(options.particles, options.models, micrographs=200)
    held = evaluate.Predictions(predictions)
    jobs = {
        "reading and checking": lambda: evaluate.Predictions(predictions).table,
        "every measure with intervals": lambda: held.measures("lamellarity"),
        "every pair compared, 10,000 exchanges": lambda: held.compare("lamellarity"),
        "reliability": held.reliability,
        "calibration error, as given and calibrated, 4,000 draws": held.calibration_error,
        "coverage-risk": held.risk,
        f"ROC and precision–recall, {RESAMPLES:,} resamples": lambda: held.curves(draws=RESAMPLES),
    }
    print(f"{options.particles} particles, {options.models} models, 200 micrographs, 3 classes\n")
    print("| what | rows | seconds | processor seconds |\n|---|--:|--:|--:|")
    total = np.zeros(2)
    for name, job in jobs.items():
        *seconds, result = timed(job, 1 if "resamples" in name else 3)
        total += seconds
        print(f"| {name} | {len(result)} | {seconds[0]:.2f} | {seconds[1]:.2f} |")
    print(f"| all of it | | {total[0]:.2f} | {total[1]:.2f} |")
    once = statistics.median(resampled_rows(predictions) for _ in range(3))
    what = f"scikit-learn on {RESAMPLES} resamples, without comparisons (scaled up from {TIMED})"
    print(f"| {what} | | | {once * RESAMPLES / TIMED * options.models:.0f} |")


if __name__ == "__main__":
    main()
