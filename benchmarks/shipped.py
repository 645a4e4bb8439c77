"""Make the bundles that temlib carries anew: dihedral, trained on simulated liposomes of many laboratories.

    python -m benchmarks.shipped [FOLDER] [--count 4000] [--seed 1]

FOLDER holds the real set liposomes_cryoem; its score, by the three micrographs, is put on the card of the task that it has labels
for. So that both tasks take less than 1 MB there are two folds, weights keep seven bits of their fraction, the files are compressed,
and what is refused is learnt from fewer particles than in a run.
"""

import argparse
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from benchmarks.liposomes import PREVALENCE, SIDE
from temlib import data, evaluate, simulate, train
from temlib.train import bundle, refusal, shipped

MODEL, FOLDS, BITS, LICENCE = "dihedral", 2, 7, "BSD-3-Clause"
refusal.LEARNT = 400
REAL = "real liposomes in {} micrographs (K. H. Jensen, S. S. Brandt, F. J. Sigworth, PMC4871786; labelled by one pair of eyes)"


def smaller(made, folder):
    """Write a bundle whose weights are rounded into `folder`, without the names of its micrographs."""
    with np.load(made.folder / bundle.CROPS) as kept:
        tested = dict(kept)
    entries, values = [], []
    for entry, (weights, divisor) in zip(made.card["folds"], made.states):
        few = [rounded(array) for array in weights]
        model = made.estimator.restore((few, divisor))
        entry, found = bundle.add(folder, model, entry["fold"], tested)
        compress(folder / entry["file"])
        entries.append(entry)
        values.append(found)
    tested["probabilities"] = np.stack(values)
    learnt = made.learnt | {name: made.learnt[name][:0] for name in ("micrograph", "micrograph_fold")}
    with np.load(made.folder / bundle.REFUSAL) as refused:
        bundle.save(folder, made.card | {"folds": entries}, tested, learnt, dict(refused))


def rounded(array):
    """Return numbers with BITS bits of their fraction."""
    fraction, exponent = np.frexp(array)
    return np.ldexp(np.round(fraction * 2**BITS) / 2**BITS, exponent).astype(array.dtype)


def compress(path):
    """Write the members of an archive again, compressed."""
    with zipfile.ZipFile(path) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)


def tested(made, folder, task):
    """Return a sentence on how a bundle does on the real set."""
    particles = made.open(folder / "manifest.csv", task=task)
    particles = particles.definite(task, ("uncertain",))
    found = made.predict(particles, alone=True)
    print(found[found["fold"] == 0].groupby(particles.table[task].to_numpy())["refused"].agg(["sum", "size"]))
    rows = found[found["fold"] == 0].assign(model=MODEL, role="test", truth=particles.table[task].to_numpy())
    measures = evaluate.Predictions(rows).measures(task).set_index("measure")
    overall = measures[measures["class"] == "all"].loc["balanced accuracy"], measures.loc["AUC"].iloc[-1]
    each = [f"{row.name} {evaluate.with_interval(row, '{:.2f}'.format)}" for row in overall]
    number = particles.table["micrograph"].nunique()
    return f"On {len(rows):,} {REAL.format(number)}: {', '.join(each)}."


def finish(made, scratch, folder):
    """Put a bundle, made small and tested in that form, where temlib finds it."""
    task = made.card["task"]
    smaller(made, scratch / "small")
    made, final = train.load(scratch / "small"), shipped.FOLDER / task
    if folder and task == "lamellarity":
        made.card["tested"] = tested(made, folder, task)
    shutil.rmtree(final, ignore_errors=True)
    smaller(made, final)
    shutil.rmtree(scratch / "small")
    size = sum(path.stat().st_size for path in final.iterdir())
    print(f"{task}: {size / 1e3:,.0f} kB; {made.card.get('tested', 'no real labels')}", flush=True)


def main():
    """Train both tasks and put their bundles where temlib finds them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        study = simulate.write(
            scratch / "study", options.count, seed=options.seed, preset=simulate.VARIED, prevalence=PREVALENCE
        )
        for task in simulate.TASKS:
            particles = data.open(study / "manifest.csv", task=task, scale="fill", input_size=SIDE)
            particles = particles.labelled(task, folds=FOLDS)
            settings, _ = train.schedule(train.Settings(folds=FOLDS, seed=options.seed), particles, task)
            train.cross_validate(particles, task, [MODEL], settings, keep=scratch / task, licence=LICENCE)
            finish(train.load(scratch / task / MODEL), scratch, options.folder)


if __name__ == "__main__":
    main()
