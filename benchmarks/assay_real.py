"""How often the truth lies within an assay's interval on real micrographs, whose shares are known by labels or by mixing.

    python -m benchmarks.assay_real DATA [--models svm_texture] [--draws 4] [--only mixtures]

DATA holds `liposomes_cryoem`, `apoferritin_cryoem` and `supported_np3_stem` (README of temlib's real data). Liposomes: a model learns
the particles of two micrographs and the third is assayed, in turn; since two micrographs can neither be divided into folds nor
give an interval, each counts as four quarters. The others: for each draw a random half of the micrographs is learnt from, and the
particles of the other half are mixed to shares of 10 to 90 % of one class within each micrograph. Mixtures of a draw share a model
and particles, so they are no independent trials.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from temlib import assay, data, train

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
MIXED = {"apoferritin_cryoem": ("content", "particle", 3), "supported_np3_stem": ("count", "single", 3)}


def learnt(folder, particles, task, models, folds, epochs):
    """Train models on particles, and return their bundles by name."""
    particles = particles.labelled(task, folds=folds, unsure=["uncertain"])
    settings = train.Settings(folds=folds, epochs=epochs)
    train.cross_validate(particles, task, models, settings, keep=folder)
    return {name: train.load(folder / name) for name in models}


def assayed(bundle, particles, task, name):
    """Return what an assay of particles without labels says of one class, and the truth of their labels."""
    truth = float((particles.table[task] == name).mean())
    sample = assay.measure(bundle, replace(particles, table=particles.table.drop(columns=task)))
    row = sample.corrected.set_index("class").loc[name]
    found = {key: row[key] for key in ("share", "low", "high", "counted", "n", "micrographs")}
    return {"truth": truth, "within": row["low"] <= truth <= row["high"]} | found


def mixtures(source, models, draws, epochs):
    """Yield a row for each draw of one half, model and share."""
    task, name, folds = MIXED[source.name]
    every = data.open(source / "manifest.csv", task=task)
    labels, names = every.table[task].to_numpy(), every.table["micrograph"].to_numpy()
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        half = rng.permutation(np.unique(names))[: len(np.unique(names)) // 2]
        first, second = (np.flatnonzero(np.isin(names, half) == own) for own in (True, False))
        with tempfile.TemporaryDirectory() as folder:
            bundles = learnt(Path(folder), every.rows(first), task, models, folds, epochs)
            for model, bundle in bundles.items():
                for share in SHARES:
                    rows = second[assay.mixture(labels[second], names[second], name, share, rng)]
                    about = {"data": source.name, "model": model, "draw": draw, "asked": share}
                    yield about | assayed(bundle, every.rows(rows), task, name)


def liposomes(source, models, epochs):
    """Yield a row for each micrograph that is assayed, and model."""
    task, name = "lamellarity", "multilamellar"
    every = data.open(source / "manifest.csv", task=task, scale="fill").definite("lamellarity", ["uncertain"])
    table = every.table
    quarter = (table["row"] > 512).astype(int) * 2 + (table["column"] > 512)
    whole = table["micrograph"]
    quarters = replace(every, table=table.assign(micrograph=whole + " quarter " + (quarter + 1).astype(str)))
    for third in whole.unique():
        learn, new = (quarters.rows(np.flatnonzero((whole == third) == own)) for own in (False, True))
        with tempfile.TemporaryDirectory() as folder:
            for model, bundle in learnt(Path(folder), learn, task, models, 2, epochs).items():
                yield {"data": source.name, "model": model, "assayed": third} | assayed(
                    bundle, new, task, name
                )


def main():
    """Print each row, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--models", nargs="+", default=["svm_texture"])
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--only", choices=["mixtures", "liposomes"])
    options = parser.parse_args()
    if options.data is None:
        return print("Name the folder of the real data: nothing was measured.")
    begun, rows = time.perf_counter(), []
    how = options.models, options.epochs
    parts = [("liposomes", liposomes(options.data / "liposomes_cryoem", *how))]
    parts += [("mixtures", mixtures(options.data / name, how[0], options.draws, how[1])) for name in MIXED]
    for part, found in parts:
        for row in found if options.only in (None, part) else ():
            print(
                "  ".join(
                    f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
                    for key, value in row.items()
                ),
                flush=True,
            )
            rows.append(row)
    table = pd.DataFrame(rows).astype({"within": int})
    table["width"], table["error"] = table["high"] - table["low"], table["share"] - table["truth"]
    table["counted, error"] = table["counted"] - table["truth"]
    for side in ("error", "counted, error"):
        table[f"{side}, absolute"] = table[side].abs()
    for by in (["data", "model", "asked"], ["data", "model"]):
        groups = table.groupby([name for name in by if name in table])
        print(
            groups["within"]
            .agg(["sum", "count"])
            .join(groups[list(table.columns[-5:])].mean().round(3))
            .to_string()
        )
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
