"""temlib's SVMs beside a plain HOG + radial-profile RBF SVM on the same grouped folds of real particles; prints markdown.

    python -m benchmarks.svm [--quick] [--size 64]

The peer is what a careful script would do with scikit-image and scikit-learn: standardised HOG (9 orientations, cells of
8 pixels) and a radial profile of 16 rings, `SVC(class_weight="balanced")` with default C and gamma. Balanced accuracy on five
grouped folds of whole micrographs, mean over `--seeds` divisions; --quick takes one set and one division and fails when temlib
falls more than .02 behind.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from skimage.feature import hog
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from temlib import train
from temlib.data import open as open_data
from temlib.data import split
from temlib.train import Settings, features, svm

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


def main():
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", choices=SETS)
    parser.add_argument("--models", nargs="*", default=train.svm_names())
    options = parser.parse_args()
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
