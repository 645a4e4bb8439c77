"""Learnt on simulated liposomes, tested on real ones: the whole of liposomes_cryoem, whose labels nothing here has learnt from.

    python -m benchmarks.liposomes FOLDER [--seeds 5] [--count 4000] [--models dihedral svm_texture] [--preset varied]
    python -m benchmarks.liposomes FOLDER --labels [--seeds 3]

FOLDER holds the manifest and micrographs of the real set. For each seed a study is simulated, half of it multilamellar, and each
model learns it in three folds, as `scale: fill` shows it; the mean probability of its fold models calls the real vesicles. Two
ways to cut these out: in the boxes of the manifest, and "size taken away", in boxes of 1.15 to 1.7 diameters at random.

With --labels each of the three micrographs is tested by a network that learnt from a share of the labels of the other two, begun
fresh and begun with the bundle that temlib carries.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from temlib import data, simulate, train
from temlib.files import InputError

TASK, CLASS, SIDE, FOLDS = "lamellarity", "multilamellar", 48, 3
PREVALENCE = {"unilamellar": 0.5, "multilamellar": 0.5, "empty": 0.5, "full": 0.5}
MARGIN = (1.15, 1.7)
SHARES, EPOCHS = (0.1, 0.3, 1.0), 10  # of the labels, and of networks that learn from these


def learnt(folder, count, seed, preset, models):
    """Simulate a study, train models on it, and return their bundles by name."""
    path = (
        simulate.write(folder / "study", count, seed=seed, preset=preset, prevalence=PREVALENCE)
        / "manifest.csv"
    )
    particles = data.open(path, task=TASK, scale="fill", input_size=SIDE).labelled(TASK, folds=FOLDS)
    settings, _ = train.schedule(train.Settings(folds=FOLDS, seed=seed), particles, TASK)
    train.cross_validate(particles, TASK, models, settings, keep=folder / "models")
    return {name: train.load(folder / "models" / name) for name in models}


def resized(folder, scratch, seed=0):
    """Write a manifest in whose boxes a vesicle's size cannot be seen; return its path."""
    table = pd.read_csv(folder / "manifest.csv")
    margin = np.random.default_rng(seed).uniform(*MARGIN, len(table))
    table["box_px"] = 2 * np.round(table["radius_px"] * margin).astype(int)
    path = scratch / "resized.csv"
    table.to_csv(path, index=False)
    return path


def scores(found, truth):
    """Return balanced accuracy, area under the ROC curve and the rates of both classes, of calls and a probability."""
    is_class = (truth == CLASS).to_numpy()
    right = (found["predicted"].to_numpy() == CLASS) == is_class
    value, n = found[f"p_{CLASS}"].to_numpy(), is_class.sum()
    area = (stats.rankdata(value)[is_class].sum() - n * (n + 1) / 2) / (n * (~is_class).sum())
    tpr, tnr = right[is_class].mean(), right[~is_class].mean()
    return {"balanced accuracy": (tpr + tnr) / 2, "AUC": area, "TPR": tpr, "TNR": tnr}


def tested(bundle, source, folder):
    """Return the scores of a bundle on the definite vesicles of a real set."""
    particles = bundle.open(source, task=TASK, data_folder=str(folder), skip_bad=0.0)
    particles = particles.definite(TASK, ("uncertain",))
    found = bundle.predict(particles)
    return scores(found[found["fold"] == 0], particles.table[TASK])


def with_labels(folder, seed):
    """Return the scores of a network that learns from shares of the real labels, fresh and begun with the carried bundle."""
    begun = train.load("liposomes", task=TASK)
    particles = begun.open(folder / "manifest.csv", task=TASK).labelled(TASK, folds=FOLDS)
    sure, rows = particles.definite(TASK, ("uncertain",)), []
    found = begun.predict(sure)
    first = scores(found[found["fold"] == 0], sure.table[TASK])
    rows.append({"labels": 0.0, "begun": "as carried", "multilamellar labelled": 0} | first)
    for share in SHARES:
        for name, weights in (("fresh", None), ("carried", begun)):
            plan = train.Settings(folds=FOLDS, seed=seed, epochs=EPOCHS, labels=share)
            try:
                trained = train.cross_validate(particles, TASK, ["dihedral"], plan, weights=weights)
            except InputError as error:
                print(f"{share} {name}: {error}")
                continue
            held = trained.predictions.query("role == 'test'")
            used = round(share * (held["truth"] == CLASS).sum() * (FOLDS - 1) / FOLDS)
            rows.append(
                {"labels": share, "begun": name, "multilamellar labelled": used} | scores(held, held["truth"])
            )
    return pd.DataFrame(rows).assign(seed=seed)


def main():
    """Print a row per seed, model and way to cut, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--models", nargs="+", default=["dihedral", "svm_texture"])
    parser.add_argument("--preset", default="varied")
    parser.add_argument("--labels", action="store_true")
    options = parser.parse_args()
    if options.labels:
        table = pd.concat([with_labels(options.folder, seed) for seed in range(1, options.seeds + 1)])
        print(table.round(3).to_string(index=False))
        print(table.groupby(["labels", "begun"]).median(numeric_only=True).round(3).to_string())
        return
    rows = []
    for seed in range(1, options.seeds + 1):
        with tempfile.TemporaryDirectory() as scratch:
            begun, scratch = time.perf_counter(), Path(scratch)
            bundles = learnt(scratch, options.count, seed, options.preset, options.models)
            ways = {
                "as picked": options.folder / "manifest.csv",
                "size taken away": resized(options.folder, scratch),
            }
            for name, bundle in bundles.items():
                for way, source in ways.items():
                    rows.append(
                        {"seed": seed, "model": name, "boxes": way} | tested(bundle, source, options.folder)
                    )
            print(
                pd.DataFrame(rows[-2 * len(bundles) :]).round(3).to_string(header=seed == 1, index=False),
                flush=True,
            )
            print(f"{time.perf_counter() - begun:.0f} s", flush=True)
    print(
        pd.DataFrame(rows)
        .groupby(["model", "boxes"], sort=False)
        .median(numeric_only=True)
        .round(3)
        .to_string()
    )


if __name__ == "__main__":
    main()
