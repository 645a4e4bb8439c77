"""How well a training knows when it will end: the time left that is shown while models train, against what it took.

python -m benchmarks.time_left [PARTICLES]

Beside it what follows from the share of all epochs of all models and folds, as if each took as long.
"""

import re
import sys
import time

import numpy as np

from temlib import data, train

MODELS = (["svm_texture", "residual", "dihedral"], ["svm_thesis", "svm_texture", "dihedral"])
TOLD = re.compile(r"(\S+) fold (\d+)(?: epoch (\d+))?")


def measured(particles, models):
    """Train models, and print a row for each way to reckon."""
    settings = train.Settings(folds=3, epochs=6)
    told, started = [], time.monotonic()

    def progress(share, text, seen):
        name, fold, epoch = TOLD.match(text).groups()
        each = settings.folds * settings.epochs
        done = models.index(name) * each + (int(fold) - 1) * settings.epochs + int(epoch or 0)
        told.append((time.monotonic() - started, share, done / (each * len(models))))

    sample = train.Sample(particles, "lamellarity", seed=1)
    train.cross_validate(particles, "lamellarity", models, settings, progress=progress, explain=sample)
    whole = time.monotonic() - started
    print(f"{', '.join(models)}: {len(particles)} particles, 3 folds of 6 epochs, {whole:.0f} s")
    at, *shares = np.array(told).T
    late = at > whole / 10
    for words, share in zip(("as measured and estimated", "all epochs alike"), shares):
        off = np.abs(at[late] / share[late] - whole) / whole
        print(f"| {words} | {np.median(off):.0%} | {off.max():.0%} |")


def main():
    """Print by how much of the whole the time was off that the whole was said to take, median and largest, after a tenth of it."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    particles = data.open("simulated", count=count).labelled("lamellarity", folds=3)
    for models in MODELS:
        measured(particles, models)


if __name__ == "__main__":
    main()
