"""How often the truth lies within an assay's interval: a model of one simulated study, a sample of another.

    python -m benchmarks.assay [--models svm_texture dihedral] [--seeds 20] [--apart] [--learnt SEED …]

For each seed a model learns lamellarity from a study of 1,000 particles in 40 micrographs, 35 % of them multilamellar, and a
study of another seed is assayed, 400 particles in 16 micrographs, of which 10 to 60 % are asked to be multilamellar. By default
the first has 6 sessions and the second 4 others, whose focus, dose and ice differ; with --apart each micrograph is a session of
its own; with --learnt all samples are called by what was learnt from one study, or from each of several. The intervals know the
sessions learnt from; beside them those by micrographs alone. Two truths: the share among the labels of the
particles of which people were sure, when these alone are assayed; and the share of the simulation's true values, when all are.
It is also counted how often a sample is flagged as unlike what was learnt from: as it is, and when its particles are cut out
of the micrographs by their positions alone, in windows that show what the crops learnt from had as padding.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from temlib import assay, data, simulate, train

TASK, CLASS, UNSURE = "lamellarity", "multilamellar", ("uncertain",)
LEARNT, SAMPLE, FOLDS = 1000, 400, 3


def made(folder, count, seed, share, **options):
    """Simulate a study, and return its manifest."""
    options["prevalence"] = {"unilamellar": 1 - share, CLASS: share}
    return simulate.write(folder, count, seed=seed, **options) / "manifest.csv"


def learnt(folder, path, models):
    """Train models on a study, and return their bundles by name."""
    particles = data.open(path, task=TASK).labelled(TASK, folds=FOLDS, unsure=UNSURE)
    settings, _ = train.schedule(train.Settings(folds=FOLDS), particles, TASK)
    train.cross_validate(particles, TASK, models, settings, keep=folder)
    return {name: train.load(folder / name) for name in models}


def without_sessions(bundle):
    """Return a bundle that does not know the sessions it learnt from."""
    table = bundle.confusion.drop(columns="session")
    counts = {"columns": list(table), "rows": table.to_numpy(object).tolist()}
    return replace(bundle, card=bundle.card | {"out_of_fold": counts})


def assayed(bundle, particles, truth):
    """Return what an assay says of one class, and how far it is from the truth."""
    sample = assay.measure(bundle, particles)
    row = sample.corrected.set_index("class").loc[CLASS]
    other = (
        assay.correction(without_sessions(bundle)).shares(sample.calls).table.set_index("class").loc[CLASS]
    )
    return {
        "truth": truth,
        "share": row["share"],
        "low": row["low"],
        "high": row["high"],
        "counted": row["counted"],
        "flagged": bool(bundle.unlike(particles)),
        "within": row["low"] <= truth <= row["high"],
        "by micrograph within": other["low"] <= truth <= other["high"],
        "by micrograph, width": other["high"] - other["low"],
        # The interval of a counted share, as if its particles were independent calls without errors.
        "counted within": abs(row["counted"] - truth)
        <= 1.96 * np.sqrt(row["counted"] * (1 - row["counted"]) / row["n"]),
    }


def trained(folder, seed, models, apart):
    """Return the bundles of models of one study."""
    path = made(folder / "a", LEARNT, seed, 0.35, sessions=40 if apart else 6)
    return learnt(folder / "models", path, models)


def replicate(folder, seed, asked, bundles, apart):
    """Return a row for each model and truth of one sample."""
    sessions, rows = 16 if apart else 4, []
    path = made(folder / "b", SAMPLE, 1000 + seed, asked, sessions=sessions, micrographs=True)
    for name, bundle in bundles.items():
        particles = bundle.open(path)
        sure = particles.definite(TASK, UNSURE)
        # The same particles in windows that are not padded beyond their boxes, unlike those learnt from.
        windows = {"windows flagged": bool(bundle.unlike(bundle.open(path.with_name("particles.star"))))}
        for kind, given, column in (("labels", sure, TASK), ("true values", particles, f"truth_{TASK}")):
            found = assayed(bundle, given, float((given.table[column] == CLASS).mean()))
            rows.append({"model": name, "truth of": kind, "seed": seed} | found | windows)
    return rows


def main():
    """Print a row per model, seed and truth, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["svm_texture", "dihedral"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--apart", action="store_true", help="each micrograph is a session of its own")
    parser.add_argument("--learnt", nargs="*", type=int, default=[], help="seeds of studies to learn from")
    options = parser.parse_args()
    begun, rows, about = time.perf_counter(), [], (options.models, options.apart)
    with tempfile.TemporaryDirectory() as scratch:
        shared = {}
        for seed in options.learnt:
            found = trained(Path(scratch, f"learnt {seed}"), seed, *about)
            shared |= {f"{name} of study {seed}": bundle for name, bundle in found.items()}
        for seed, asked in enumerate(np.linspace(0.1, 0.6, options.seeds)):
            folder = Path(scratch, str(seed))
            bundles = shared or trained(folder, 100 + seed, *about)
            rows += replicate(folder, seed, asked, bundles, options.apart)
            new = pd.DataFrame(rows[-2 * len(bundles) :]).round(3)
            print(new.to_string(header=not seed), flush=True)
    within = ["within", "by micrograph within", "counted within"]
    table = pd.DataFrame(rows).astype(dict.fromkeys(within, bool))
    table["width"] = table["high"] - table["low"]
    for side in ("share", "counted"):
        table[f"{side}, error"] = table[side] - table["truth"]
        table[f"{side}, |error|"] = table[f"{side}, error"].abs()
    groups = table.groupby(["model", "truth of"], sort=False)
    print(groups[[*within, "flagged", "windows flagged"]].sum().to_string())
    print(groups[["by micrograph, width", *table.columns[-5:]]].mean().round(3).to_string())
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
