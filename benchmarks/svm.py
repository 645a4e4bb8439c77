"""temlib's SVMs beside a plain HOG + radial-profile RBF SVM on the same grouped folds of real particles; prints markdown.

    python -m benchmarks.svm [--quick] [--size 64]
    python -m benchmarks.svm --calls

The peer is what a careful script would do with scikit-image and scikit-learn: standardised HOG (9 orientations, cells of
8 pixels) and a radial profile of 16 rings, `SVC(class_weight="balanced")` with default C and gamma. Balanced accuracy on five
grouped folds of whole micrographs, mean over `--seeds` divisions; --quick takes one set and one division and fails when temlib
falls more than .02 behind.

--calls compares ways to make probabilities of the machine's decision values, and calls of them, on the same folds.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from skimage.feature import hog
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.class_weight import compute_sample_weight

from temlib import evaluate, train
from temlib.data import open as open_data
from temlib.data import split
from temlib.train import Settings, adaptation, features, svm

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "real"
SETS = {"apoferritin_cryoem": "content", "supported_np3_stem": "count"}


def plain(images):
    """Return HOG and a radial profile (n, descriptors)."""
    size = images.shape[-1]
    rows, columns = np.indices((size, size)) - (size - 1) / 2
    ring = np.minimum(np.hypot(rows, columns) / (size / 2) * 16, 15).astype(int).ravel()
    radial = [np.bincount(ring, image.ravel()) / np.bincount(ring) for image in images]
    return np.hstack(
        [np.stack([hog(image, pixels_per_cell=(8, 8), cells_per_block=(2, 2)) for image in images]), radial]
    )


def scores(name, size, seeds, models):
    """Return {model: (mean balanced accuracy, seconds)} on one set."""
    data = open_data(REAL / name / "manifest.csv", input_size=size)
    task, table = SETS[name], data.table
    labels, groups = table[task].to_numpy(), table["micrograph"].to_numpy()
    classes, codes = np.unique(labels.astype(str), return_inverse=True)
    found = {}
    for model in ("plain", *models):
        begun, values = time.process_time(), []
        measured = plain(data.images) if model == "plain" else features(data.images, model)
        for seed in range(1, seeds + 1):
            fold, calls = split(table, task, folds=5, seed=seed), np.empty(len(labels), object)
            for k in np.unique(fold):
                train, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
                if model == "plain":
                    fitted = make_pipeline(StandardScaler(), SVC(class_weight="balanced")).fit(
                        measured[train], labels[train]
                    )
                    calls[test] = fitted.predict(measured[test])
                else:
                    machine = svm.Svm(model, classes, Settings(adaptation="none"))
                    machine.fit(measured, codes, groups, train=train, fold=seed)
                    calls[test] = classes[machine.predict(measured, groups, test)[1]]
            values.append(balanced_accuracy_score(labels, calls.astype(str)))
        found[model] = (np.mean(values), np.std(values), (time.process_time() - begun) / seeds)
        print(
            f"| {name} | {model} | {found[model][0]:.3f} | {found[model][1]:.3f} | {found[model][2]:.0f} |",
            flush=True,
        )
    return found


def ways(machine, inner, values, labels, seen):
    """Return probabilities and calls of held-out descriptors `seen` by each way, of a tuned, unfitted machine."""
    balanced, found = compute_sample_weight("balanced", labels), {}
    weighted = {"Platt": None, "Platt, classes of equal weight": balanced}
    if "temperature" in CalibratedClassifierCV._parameter_constraints["method"][0].options:
        weighted["temperature, classes of equal weight"] = balanced
    for name, weights in weighted.items():
        method = "temperature" if name.startswith("temperature") else "sigmoid"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the machine has its own weights
            fitted = CalibratedClassifierCV(machine, cv=inner, ensemble=False, method=method)
            fitted.fit(values, labels, sample_weight=weights)
        p = fitted.predict_proba(seen)
        found[f"{name}; calls from them"] = p, p.argmax(axis=1)
        if weights is None:
            found[f"{name}; the machine's calls (before)"] = (
                p,
                fitted.calibrated_classifiers_[0].estimator.predict(seen),
            )
            even = p / np.bincount(labels)
            found[f"{name}, over the classes' shares; calls from them"] = (
                even / even.sum(axis=1, keepdims=True),
                even.argmax(axis=1),
            )
    return found


def print_calls():
    """Print what each way reaches on simulated particles and on a real set, three grouped folds."""
    print("Three grouped folds, svm_texture, defaults\n")
    print(
        "| set | probabilities and calls | balanced accuracy | Brier | ECE | ECE after a temperature | p disagrees |"
    )
    print("|---|---|--:|--:|--:|--:|--:|")
    real = (
        [("supported_np3_stem", REAL / "supported_np3_stem" / "manifest.csv", "count")]
        if REAL.is_dir()
        else []
    )
    cases = [(f"simulated, {task}", "simulated", task) for task in ("lamellarity", "encapsulation")] + real
    for title, source, task in cases:
        data = open_data(source, count=1200, **({"input_size": 64} if real and source == real[0][1] else {}))
        kept = np.flatnonzero(data.table[task].notna() & (data.table[task] != "uncertain"))
        table = data.table.iloc[kept].reset_index(drop=True)
        classes, codes = np.unique(table[task].astype(str), return_inverse=True)
        groups, measured = table["micrograph"].to_numpy(), features(data.images[kept], "svm_texture")
        fold, rows = split(table, task, folds=3, seed=1), []
        for k in np.unique(fold):
            fitted, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            training, labels = measured.iloc[fitted], codes[fitted]
            machine = svm._fit(training.to_numpy(), labels, groups[fitted], 1).estimator
            seen = adaptation.adapted(measured.iloc[test], groups[test], training).to_numpy()
            inner = svm._inner_folds(labels, groups[fitted], 1)
            for name, (p, called) in ways(machine, inner, training.to_numpy(), labels, seen).items():
                about = {
                    "particle": table["particle"].iloc[test],
                    "micrograph": groups[test],
                    "truth": classes[codes[test]],
                }
                about |= {"model": name, "fold": k, "role": "test", "predicted": classes[called]}
                about |= {f"p_{label}": p[:, i] for i, label in enumerate(classes)}
                rows.append(pd.DataFrame(about).assign(other=called != p.argmax(axis=1)))
        rows = pd.concat(rows, ignore_index=True)
        held = evaluate.Predictions(rows)
        values = (
            held.measures(task)
            .query("`class` == 'all'")
            .pivot(index="model", columns="measure", values="value")
        )
        error = held.calibration_error(draws=100).pivot(index="model", columns="probabilities", values="ECE")
        for name in held.models:
            numbers = (
                *values.loc[name, ["balanced accuracy", "Brier score"]],
                *error.loc[name, ["as given", "calibrated"]],
            )
            other = rows.loc[rows["model"] == name, "other"].mean()
            print(
                f"| {title} | {name} | {' | '.join(f'{x:.3f}' for x in numbers)} | {other:.1%} |", flush=True
            )


def main():
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", choices=SETS)
    parser.add_argument("--models", nargs="*", default=train.svm_names())
    parser.add_argument("--calls", action="store_true")
    options = parser.parse_args()
    if options.calls:
        print_calls()
        return
    if not REAL.is_dir():
        print("The real particle sets are absent; nothing is compared.")
        return
    print(f"Balanced accuracy, five grouped folds, {options.size} × {options.size} pixels\n")
    print(
        "| set | model | balanced accuracy | spread over divisions | processor s a division |\n|---|---|--:|--:|--:|"
    )
    names = [options.set] if options.set else (["supported_np3_stem"] if options.quick else list(SETS))
    behind = []
    for name in names:
        found = scores(name, options.size, 1 if options.quick else options.seeds, options.models)
        best = max(value for model, (value, *_) in found.items() if model != "plain")
        behind += [name] if best < found["plain"][0] - 0.02 else []
    if behind:
        sys.exit(f"behind the plain SVM by more than .02: {', '.join(behind)}")


if __name__ == "__main__":
    main()
