"""Whether a network that first saw particles without labels learns real ones from fewer labels.

    python -m benchmarks.pretraining DATA [--sets …] [--labels .1] [--labels-from micrographs] [--epochs N] [--seed 1] [--ways …]

DATA holds the real sets, a folder with a manifest each. The dihedral network goes through the usual protocol with a share of
the labels three times: from fresh weights; from weights that were trained on simulated particles (encapsulation); and from
weights that learnt to tell apart the fold's own crops, without their labels, from two augmented views of each [1]_. Particles
of validation and test micrographs are not among those crops. Prints scores and the paired differences from fresh weights.

.. [1] T. Chen et al., "A simple framework for contrastive learning of visual representations", ICML 2020, arXiv:2002.05709.
"""

import argparse
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

from benchmarks.training import RECIPE, SETS, difference
from temlib import evaluate, train
from temlib.augment import lowpass
from temlib.data import open as open_data
from temlib.data import split
from temlib.train import fitting, networks

WAYS = ("fresh", "simulated", "crops")
# Particles and epochs of the simulated task.
COUNT, EPOCHS = 2000, 10
# Passes over the crops without labels, crops in a step, length of what stands for a crop, and the softmax's temperature.
PASSES, CROPS, LENGTH, TEMPERATURE = 20, 64, 64, 0.2


def simulated_weights(size, seed):
    """Train on simulated particles; give the weights."""
    data = open_data("simulated", count=COUNT, seed=seed, scale="fill", input_size=size)
    data = data.labelled("encapsulation")
    codes = pd.Categorical(data.table["encapsulation"]).codes
    settings = train.Settings(folds=5, seed=seed, epochs=EPOCHS)
    network = fitting.Network("dihedral", data.images, sorted(set(codes)), settings)
    fold_of = split(data.table, "encapsulation", folds=5, seed=seed)
    held = np.flatnonzero(fold_of == 1)
    parts = {"train": np.flatnonzero(fold_of > 1), "validation": held, "test": held}
    result = network.fold(codes, parts, 1, None)
    right = fitting.balanced_accuracy(result["probabilities"]["test"], codes[held])
    print(f"simulated encapsulation at {size} pixels: balanced accuracy {right:.3f} (validation)", flush=True)
    return [np.array(v) for v in network.model.variables]


def contrastive_weights(network, crops, rng):
    """Teach a network of the same architecture to find the other view of each crop; give its weights."""
    keras = networks.backend()
    ops, size = keras.ops, network.images.shape[-1]
    model = networks.build(
        "dihedral", input_size=size, classes=len(network.classes), seed=network.settings.seed
    )
    projected = keras.layers.Dense(LENGTH)(
        keras.layers.ReLU()(keras.layers.Dense(LENGTH)(model.layers[-3].output))
    )
    views = keras.Model(model.inputs, projected)

    def loss(_, z):
        z = z / ops.norm(z, axis=1, keepdims=True)
        likeness = ops.matmul(z, ops.transpose(z)) / TEMPERATURE - 1e9 * ops.eye(2 * CROPS)
        other = (np.arange(2 * CROPS) + CROPS) % (2 * CROPS)
        return keras.losses.sparse_categorical_crossentropy(other, likeness, from_logits=True)

    steps = len(crops) // CROPS
    views.compile(
        keras.optimizers.AdamW(learning_rate=1e-3, weight_decay=1e-2, clipnorm=1.0), loss, jit_compile=False
    )
    prepared = network.augmentation.prepare(lowpass(network.images[crops]))
    for step in range(PASSES * steps):
        if step % steps == 0:
            order = rng.permutation(len(crops))
        index = np.tile(order[step % steps * CROPS :][:CROPS], 2)
        seen = network.augmentation.apply_prepared(prepared, network.augmentation.draw(2 * CROPS, rng), index)
        if network.settings.contrast == "either":
            seen *= rng.choice(np.array([-1, 1], np.float32), 2 * CROPS)[:, None, None]
        views.optimizer.learning_rate = network.settings.learning_rate * fitting.one_cycle(
            step / (PASSES * steps)
        )
        views.reset_metrics()
        lost = views.train_on_batch(seen[..., None], np.zeros(2 * CROPS, np.float32))
    print(
        f"{len(crops)} crops without labels, the last loss {float(lost):.2f}; by chance {np.log(2 * CROPS):.2f}",
        flush=True,
    )
    return [np.array(v) for v in model.variables]


def beginning_with(weights_of_fold):
    """Give a class of networks whose first weights are what `weights_of_fold(network, parts, fold)` gives."""

    class Begun(fitting.Network):
        def fold(self, codes, parts, fold, report):
            self._fresh()
            before = list(self.start)
            last = {id(v) for v in self.model.layers[-1].variables}
            weights = weights_of_fold(self, parts, fold)
            for k, (variable, weight) in enumerate(zip(self.model.variables, weights, strict=True)):
                taken = id(variable) not in last and np.issubdtype(weight.dtype, np.floating)
                if taken and before[k].shape != weight.shape:
                    raise ValueError(f"{variable.path} has another shape")
                self.start[k] = weight if taken else before[k]
            result = super().fold(codes, parts, fold, report)
            self.start = before
            return result

    return Begun


def begun(way, data, size, seed):
    """Give the class of networks of one way to begin."""
    if way == "fresh":
        return fitting.Network
    if way == "simulated":
        weights = simulated_weights(size, seed)
        return beginning_with(lambda *_: weights)
    micrographs = data.table["micrograph"].to_numpy()

    def crops(network, parts, fold):
        away = np.isin(micrographs, micrographs[np.concatenate([parts["validation"], parts["test"]])])
        return contrastive_weights(network, np.flatnonzero(~away), np.random.default_rng((seed, fold)))

    return beginning_with(crops)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--labels", type=float, default=0.1)
    parser.add_argument("--labels-from", default="particles", choices=["particles", "micrographs"])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.data is None:
        return print("Name the folder of the real sets: nothing was measured.")
    print(
        "| set | labels | epochs | begun with | balanced accuracy | from fresh weights (95 % by micrograph) | p | s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in options.sets:
        task, size, epochs = SETS[name]
        data = open_data(options.data / name / "manifest.csv", scale="fill", input_size=size)
        settings = RECIPE | {
            "epochs": options.epochs or epochs,
            "seed": options.seed,
            "labels": options.labels,
            "labels_from": options.labels_from,
        }
        settings |= {"contrast": "either"} if name.startswith("supported") else {}
        called = {}
        for way in options.ways:
            started, network = time.perf_counter(), begun(way, data, size, options.seed)
            with mock.patch.object(fitting, "Network", network):
                trained = train.cross_validate(data, task, ["dihedral"], **settings)
            called[way] = trained.predictions
            score = (
                evaluate.Predictions(called[way])
                .measures(task)
                .query("measure == 'balanced accuracy'")["value"]
                .iloc[0]
            )
            fresh = way == "fresh" or "fresh" not in called
            gained = " | " if fresh else difference(called, way, "fresh", task)
            print(
                f"| {name} | {options.labels:g} of {options.labels_from} | {settings['epochs']} | {way} | {score:.3f} | {gained} "
                f"| {time.perf_counter() - started:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
