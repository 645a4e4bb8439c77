"""What adaptive batch normalisation does to predictions, and how much the micrograph should count.

    python -m benchmarks.adaptation DATA [--sets …] [--model dihedral] [--epochs N] [--labels 1] [--labels-from micrographs] [--seed 1]

DATA holds the real sets, a folder with a manifest each. A network is trained once a fold; its test particles are then
predicted as trained, and adapted to their micrographs with several numbers of particles for which training's statistics
count (`adaptation.PRIOR`). Prints balanced accuracy, log loss and the paired difference by micrograph from predictions as
trained.
"""

import argparse
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

from benchmarks.training import RECIPE, SETS, difference
from temlib import train
from temlib.data import open as open_data
from temlib.data import split
from temlib.train import adaptation, fitting, protocol

PRIORS = (16, 32, 64, 128, 256)


def measure(data, task, model, settings):
    """Return the predictions of test particles, a table for each way to predict."""
    table = data.table
    classes = sorted(set(table[task]))
    codes = pd.Categorical(table[task], categories=classes).codes
    micrographs = table["micrograph"].to_numpy()
    network = fitting.Network(model, classes, settings)
    inputs = network.inputs(data)
    fold_of = split(table, task, folds=settings.folds, seed=settings.seed)
    called = {}
    for fold in sorted(set(fold_of)):
        parts = protocol.split_fold(table, task, fold_of, fold, settings)
        test = parts["test"]
        roles = {role: parts[role] for role in ("train", "validation")}
        network.fit(inputs, codes, micrographs, **roles, fold=fold)
        found = {"as trained": network.probabilities(inputs, test)}
        for prior in PRIORS:
            with mock.patch.object(adaptation, "PRIOR", prior):
                found[f"adapted, prior {prior}"], _ = network.predict(inputs, micrographs, test)
        for way, values in found.items():
            rows = table.loc[test, ["particle", "micrograph"]].assign(
                role="test", fold=fold, truth=table[task]
            )
            rows["predicted"] = np.asarray(classes)[values.argmax(axis=1)]
            rows = rows.assign(**{f"p_{c}": values[:, k] for k, c in enumerate(classes)})
            called.setdefault(way, []).append(rows)
    return {way: pd.concat(rows, ignore_index=True) for way, rows in called.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--model", default="dihedral")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--labels", type=float, default=1.0)
    parser.add_argument("--labels-from", default="particles", choices=["particles", "micrographs"])
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.data is None:
        return print("Name the folder of the real sets: nothing was measured.")
    print(
        "| set | model | labels | epochs | predicted | balanced accuracy | log loss | from as trained (95 % by micrograph) | p |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.sets:
        task = SETS[name]
        data, contrast, _ = open_data(options.data / name / "manifest.csv").labelled(task).aligned()
        settings = train.Settings(
            **RECIPE,
            epochs=options.epochs or 0,
            seed=options.seed,
            contrast=contrast,
            labels=options.labels,
            labels_from=options.labels_from,
        )
        settings, _ = train.schedule(settings, data, task)
        called = measure(data, task, options.model, settings)
        labels = f"{options.labels:g} of {options.labels_from}"
        for way, rows in called.items():
            values = rows.filter(regex="^p_").to_numpy()
            truth = pd.Categorical(rows["truth"], categories=sorted(set(rows["truth"]))).codes
            score = fitting.balanced_accuracy(values.argmax(axis=1), truth)
            gained = " | " if way == "as trained" else difference(called, way, "as trained", task)
            print(
                f"| {name} | {options.model} | {labels} | {settings.epochs} | {way} | {score:.3f} "
                f"| {fitting.log_loss(values, truth):.3f} | {gained} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
