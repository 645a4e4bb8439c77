"""Which cure of the resampling noise serves a network: trained on augmented crops, tested on plain ones.

    python -m benchmarks.cures MANIFEST [--task content] [--epochs 8] [--seeds 2] [--output rows.csv]

Real crops are needed, hence no part of `make bench`. Micrographs are never divided: three folds, the same for
every cure, and within a fold and a seed the same weights at the start, batches and draws. Prints a markdown
table of balanced accuracies.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from temlib.augment import CURES, Augmentation, treated
from temlib.data import open as open_data
from temlib.data import split
from temlib.train import networks

SLIDES = Augmentation()
FOLDS, BATCH, PEAK, DRAWS = 3, 32, 3e-3, 4


def fitted(images, codes, cure, *, epochs, seed):
    """Train the residual network on crops augmented anew in each epoch."""
    keras = networks.backend()
    network = networks.build("residual", input_size=images.shape[1], classes=int(codes.max()) + 1, seed=seed)
    network.compile(
        keras.optimizers.AdamW(PEAK, weight_decay=1e-2, clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    random, steps = np.random.default_rng(seed), -(-len(images) // BATCH)
    for epoch in range(epochs):
        order = random.permutation(len(images))
        varied = treated(images[order], SLIDES.draw(len(order), random), SLIDES, cure)[1]
        for step in range(steps):
            part = slice(step * BATCH, (step + 1) * BATCH)
            progress = (epoch + step / steps) / epochs
            rise = min(progress / 0.25, 1)
            network.optimizer.learning_rate = PEAK * rise * (0.5 + 0.5 * np.cos(np.pi * progress)) + 1e-5
            network.train_on_batch(varied[part][..., None], codes[order[part]])
    return network


def scores(network, images, codes, cure, *, seed):
    """Return balanced accuracy on plain crops, on one draw of each, and on the mean over several draws."""
    from sklearn.metrics import balanced_accuracy_score

    random, values = np.random.default_rng((seed, 1)), []
    for _ in range(DRAWS):
        plain, varied = treated(images, SLIDES.draw(len(images), random), SLIDES, cure)
        values.append(network.predict(varied[..., None], batch_size=128, verbose=0))
    found = {
        "plain": network.predict(plain[..., None], batch_size=128, verbose=0),
        "augmented": values[0],
        "mean over draws": np.mean(values, axis=0),
    }
    return {name: balanced_accuracy_score(codes, value.argmax(axis=1)) for name, value in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path, nargs="?")
    parser.add_argument("--task", default="content")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--box", type=int, default=80, help="rows and columns of a crop as stored")
    parser.add_argument("--size", type=int, default=64, help="rows and columns cut from the middle of a crop")
    parser.add_argument("--cures", nargs="*", default=list(CURES))
    parser.add_argument("--output", type=Path, help="CSV of every fold and seed")
    options = parser.parse_args()
    if options.manifest is None:
        print("Name the manifest of real crops: nothing was measured.")
        return
    data = open_data(options.manifest, scale="fill", input_size=options.box)
    start = (options.box - options.size) // 2  # cut, not resized: a resized crop has coloured noise
    images = np.ascontiguousarray(data.images[:, start:, start:][:, : options.size, : options.size])
    codes = pd.Categorical(data.table[options.task]).codes.astype(int)
    rows = []
    for seed in range(options.seeds):
        fold_of = split(data.table, options.task, folds=FOLDS, seed=seed)
        for fold in sorted(set(fold_of)):
            held = np.asarray(fold_of == fold)
            for cure in options.cures:
                network = fitted(images[~held], codes[~held], cure, epochs=options.epochs, seed=seed)
                found = scores(network, images[held], codes[held], cure, seed=seed)
                rows.append({"cure": cure, "seed": seed, "fold": fold, **found})
                if options.output:
                    pd.DataFrame(rows).to_csv(options.output, index=False)
    table = pd.DataFrame(rows).drop(columns=["seed", "fold"]).groupby("cure", sort=False)
    print(
        f"\nBalanced accuracy of the residual network trained on augmented crops ({options.manifest.parent.name}, "
        f"{len(data):,} crops of {data.table['micrograph'].nunique()} micrographs, {FOLDS} grouped folds × "
        f"{options.seeds} seeds, {options.epochs} epochs): mean (least–most).\n"
    )
    kinds = list(found)
    print(
        "| cure | " + " | ".join(f"tested on {kind}" for kind in kinds) + " |\n|" + "---|" * (len(kinds) + 1)
    )
    for cure, part in table:
        cells = (f"{part[k].mean():.3f} ({part[k].min():.2f}–{part[k].max():.2f})" for k in kinds)
        print(f"| {cure} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
