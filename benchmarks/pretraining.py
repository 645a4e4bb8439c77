"""Whether a network that has seen simulated liposomes first learns real particles from fewer labels.

    python -m benchmarks.pretraining DATA [--sets …] [--labels .1] [--seed 1]

DATA holds the real sets, a folder with a manifest each. The dihedral network is trained on simulated particles
(encapsulation), all its weights but those of the last layer are taken over, and it goes through the usual protocol with a
share of the labels; beside it the same from fresh weights, on the same folds and labels. Prints the paired difference.
"""

import argparse
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

from benchmarks.training import RECIPE, SETS
from temlib import fitting, measures, particles, training

# Particles and epochs of the simulated task.
COUNT, EPOCHS = 2000, 10


def simulated_weights(size, seed):
    """Train on simulated particles; give the weights."""
    data = particles.open("simulated", count=COUNT, seed=seed, scale="fill", input_size=size).labelled(
        "encapsulation"
    )
    codes = pd.Categorical(data.table["encapsulation"]).codes
    settings = training.Settings(folds=5, seed=seed, epochs=EPOCHS)
    network = fitting.Network("dihedral", data.images, sorted(set(codes)), settings)
    fold_of = particles.split(data.table, "encapsulation", folds=5, seed=seed)
    parts = {
        "train": np.flatnonzero(fold_of > 1),
        "validation": np.flatnonzero(fold_of == 1),
        "test": np.flatnonzero(fold_of == 1),
    }
    result = network.fold(codes, parts, 1, None)
    right = fitting.balanced_accuracy(result["probabilities"]["test"], codes[parts["test"]])
    print(f"simulated encapsulation at {size} pixels: balanced accuracy {right:.3f} (validation)", flush=True)
    return network.model.get_weights()


def beginning_with(weights):
    """Give a class of networks that begin with those weights wherever the shapes agree."""

    class Begun(fitting.Network):
        def _fresh(self):
            if self.model is None:
                super()._fresh()
                taken = 0
                for k, (start, weight) in enumerate(zip(self.start, weights)):
                    if start.shape == weight.shape and np.issubdtype(start.dtype, np.floating):
                        self.start[k], taken = weight, taken + 1
                print(f"{taken} of {len(weights)} arrays of weights taken over", flush=True)
            super()._fresh()

    return Begun


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument(
        "--sets", nargs="+", default=["apoferritin_cryoem", "supported_np_stem"], choices=list(SETS)
    )
    parser.add_argument("--labels", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.data is None:
        print("Name the folder of the real sets: nothing was measured.")
        return
    rows = []
    for name in options.sets:
        task, size, epochs = SETS[name]
        data = particles.open(options.data / name / "manifest.csv", scale="fill", input_size=size)
        settings = RECIPE | {"epochs": epochs, "seed": options.seed, "labels": options.labels}
        settings |= {"contrast": "either"} if name.startswith("supported") else {}
        both = []
        for way in ("fresh", "pretrained"):
            network = (
                beginning_with(simulated_weights(size, options.seed))
                if way == "pretrained"
                else fitting.Network
            )
            with mock.patch.object(fitting, "Network", network):
                trained = training.train(data, task, ["dihedral"], **settings)
            both.append(trained.predictions.assign(model=way))
        both = pd.concat(both, ignore_index=True)
        scores = (
            measures.table(both, task=task)
            .query("measure == 'balanced accuracy'")
            .set_index("model")["value"]
        )
        row = measures.compare(both, task=task).query("measure == 'balanced accuracy'").iloc[0]
        sign = 1 if row["model_a"] == "pretrained" else -1
        low, high = sorted((sign * row["low"], sign * row["high"]))
        rows.append(f"| {name} | {options.labels:g} | {scores['fresh']:.3f} | {scores['pretrained']:.3f} "
                    f"| {sign * row['difference']:+.3f} ({low:+.3f} to {high:+.3f}) |")  # fmt: skip
        print(rows[-1], flush=True)
    print("\n| set | labels | fresh | pretrained | difference (95 % by micrograph) |\n|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
