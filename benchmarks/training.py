"""Networks and SVM baselines on real micrographs, out of fold, through temlib's own training.

    python -m benchmarks.training DATA FOLDER [--sets …] [--models …] [--seeds 1 2 3] [--set labels=0.25 …] [--curve PNG]
    python -m benchmarks.training --quick | --precision | --rates CHECKOUT

DATA holds the real sets, a folder with a manifest each. What is trained is kept in FOLDER, one file of predictions and one
of costs for each set, model and seed, so that an interrupted benchmark goes on where it was. It then prints a table over
all that FOLDER holds. --quick compares the time of temlib's training with that of bare `model.fit` on the same arrays, and
exits with 1 where it takes more than 1.05 times as long; --precision compares mixed precision with float32; --rates
compares training steps here with those of another checkout, such as the commit before, which take turns.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

# For each set its task; all else is the default, which a user gets who names no more.
SETS = {"apoferritin_cryoem": "content", "supported_np_stem": "content", "supported_np3_stem": "count"}
RECIPE = {"folds": 5}
# What the slides' network was trained with.
THESIS = {"recipe": "thesis2016", "epochs": 100}


def key(job):
    """Name a job as its files are named."""
    return " ".join(f"{name}={value}" for name, value in job.items())


def train(data_folder, folder, job):
    """Train one job, unless its files are there."""
    from temlib import data as particles
    from temlib import train

    base = folder / key(job)
    if base.with_name(base.name + ".json").exists():
        return
    options = dict(job)
    name, model, seed = (options.pop(k) for k in ("set", "model", "seed"))
    task, size = SETS[name], 0
    settings = RECIPE | {"seed": seed}
    if model == "lipnet4 of 2016":
        model, size, settings = "lipnet4", 28, settings | THESIS
    size = options.pop("input_size", size)
    settings |= options
    data = particles.open(data_folder / name / "manifest.csv", input_size=size)
    settings, _ = train.schedule(train.Settings(**settings), data, task)
    started = time.perf_counter()
    trained = train.cross_validate(data, task, [model], settings)
    took = time.perf_counter() - started
    if trained.failures:
        sys.exit(str(trained.failures))
    trained.predictions.to_csv(base.with_name(base.name + ".csv"), index=False)
    trained.history.to_csv(base.with_name(base.name + ".history"), index=False)
    test = trained.predictions[trained.predictions["role"] == "test"]
    right = (test["truth"] == test["predicted"]).groupby(test["truth"]).mean()
    costs = trained.costs.drop(columns=["model", "fold"]).mean()
    about = {
        "job": job,
        "score": right.mean(),
        "seconds": took,
        "epochs": settings.epochs,
        "input_size": data.images.shape[-1],
    }
    about |= {
        "plain": trained.checks["plain"].mean(),
        "resampled": trained.checks["resampled"].mean(),
        **costs,
    }
    base.with_name(base.name + ".json").write_text(json.dumps(about, default=float), encoding="utf-8")
    print(f"{key(job)}: {right.mean():.4f} in {took:.0f} s", flush=True)


def table(folder):
    """Print the median over seeds of everything that the folder holds."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    if not rows:
        return
    frame = pd.DataFrame(rows)
    frame["set"] = [job["set"] for job in frame["job"]]
    frame["seed"] = [job["seed"] for job in frame["job"]]
    hidden = ("set", "seed", "model")
    frame["model"] = [
        ", ".join([job["model"], *(f"{k} {v}" for k, v in job.items() if k not in hidden)])
        for job in frame["job"]
    ]
    frame = frame.sort_values(["set", "model", "seed"])
    print(
        "| set | model | px | epochs | seeds | balanced accuracy, median (each) | training a fold, s | ms a particle | weights |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for (name, model), part in frame.groupby(["set", "model"]):
        each = ", ".join(f"{score:.3f}" for score in part["score"])
        first = part.iloc[0]
        weights = "" if np.isnan(first["weights"]) else f"{first['weights']:,.0f}"
        print(
            f"| {name} | {model} | {first['input_size']} | {first['epochs']} | {len(part)} | {part['score'].median():.3f} "
            f"({each}) | {part['training_s'].median():.0f} | {part['prediction_ms_per_particle'].median():.1f} | {weights} |"
        )


def difference(called, better, other, task):
    """Return two cells of a table: by how much one model is better than another on the same particles, by micrograph."""
    from temlib import evaluate

    both = pd.concat(
        [called[better].assign(model=better), called[other].assign(model=other)], ignore_index=True
    )
    row = evaluate.Predictions(both).compare(task).query("measure == 'balanced accuracy'").iloc[0]
    sign = 1 if row["model_a"] == better else -1
    low, high = sorted((sign * row["low"], sign * row["high"]))
    return f"{sign * row['difference']:+.3f} ({low:+.3f} to {high:+.3f}) | {row['p_value']:.4f}"


def paired(folder):
    """Print the paired difference of the best network of each set from every other model, first seed, by micrograph."""
    scores, called = {}, {}
    for path in sorted(folder.glob("*.json")):
        about = json.loads(path.read_text(encoding="utf-8"))
        job = about["job"]
        if job["seed"] == 1 and "labels" not in job:
            name = " ".join(
                [job["model"], *(f"{k}={v}" for k, v in job.items() if k not in ("set", "model", "seed"))]
            )
            scores.setdefault(job["set"], {})[name] = about["score"]
            called.setdefault(job["set"], {})[name] = pd.read_csv(path.with_suffix(".csv"))
    print("\n| set | best | other | difference (95 % by micrograph) | p |\n|---|---|---|---|---|")
    for name, found in scores.items():
        best = max(found, key=found.get)
        for other in sorted(set(found) - {best}):
            print(f"| {name} | {best} | {other} | {difference(called[name], best, other, name)} |")


def label_curve(folder, path):
    """Print, and draw at `path`, what the dihedral network reaches with a share of the labels, beside the recipe of 2016 with all."""
    from temlib import evaluate, figures

    rows = []
    for file in sorted(folder.glob("*.json")):
        about = json.loads(file.read_text(encoding="utf-8"))
        job = about["job"]
        usual = job["model"] == "dihedral" and not {"input_size", "epochs"} & set(job)
        if job["seed"] > 1 or not (usual or job["model"] == "lipnet4 of 2016"):
            continue
        name = job["model"] + (", whole micrographs" if job.get("labels_from") == "micrographs" else "")
        name += ", not adapted" if job.get("adaptation") == "none" else ""
        measured = evaluate.Predictions(pd.read_csv(file.with_suffix(".csv"))).measures(job["set"])
        score = measured.query("measure == 'balanced accuracy'").iloc[0]
        about = {"model": name, "seeds": 1, "labels": job.get("labels", 1), "labelled": about["labelled"]}
        rows.append(score[["task", "value", "low", "high", "n", "micrographs"]].to_dict() | about)
    curve = pd.DataFrame(rows).sort_values(["task", "model", "labels"])
    print(
        "\n| set | model | share of labels | labelled particles a fold | balanced accuracy (95 % by micrograph) |"
    )
    print("|---|---|---|---|---|")
    for row in curve.itertuples():
        print(
            f"| {row.task} | {row.model} | {row.labels:g} | {row.labelled:.0f} | {row.value:.3f} ({row.low:.3f} to {row.high:.3f}) |"
        )
    figures.set_style()
    figures.label_curve(curve, evaluate.labels_needed(curve, target=0.9), target=0.9).plot().savefig(
        path, dpi=110
    )


def quick():
    """Compare temlib's training with bare `model.fit` on the same low-passed arrays; return the ratio of their times."""
    from temlib.augment import lowpass
    from temlib.train import Settings, fitting

    rng, rows = np.random.default_rng(1), np.arange(1040)
    images, codes = rng.normal(size=(1040, 28, 28)).astype(np.float32), rows % 2
    settings = Settings(epochs=1, augmentation="none", imbalance="none")
    network = fitting.Network("lipnet4", ["a", "b"], settings)
    # Each target holds what is added to the logits, too: nothing here.
    ready, targets = lowpass(images[:1024])[..., None], np.eye(2, 4, dtype=np.float32)[codes[:1024]]

    def ours():
        network.fit([images], codes, rows, train=rows[:1024], validation=rows[1024:], fold=1)

    def bare():
        network.model.fit(ready, targets, batch_size=32, epochs=1, verbose=0)

    ratios = []
    ours(), bare()
    for _ in range(9):
        taken = []
        for way in (ours, bare):
            started = time.perf_counter()
            way()
            taken.append(time.perf_counter() - started)
        ratios.append(taken[0] / taken[1])
    print(
        f"training through temlib takes {np.median(ratios):.3f} of the time of model.fit (from {min(ratios):.3f} to {max(ratios):.3f})"
    )
    return np.median(ratios)


def precision(rounds=5, steps=4):
    """Print the time of a training step in mixed precision relative to float32, dihedral at 40 pixels, taking turns."""
    from temlib.train import networks

    keras = networks.backend()
    rng = np.random.default_rng(1)
    images, targets = (
        rng.normal(size=(32, 40, 40, 1)).astype(np.float32),
        np.eye(2, dtype=np.float32)[np.arange(32) % 2],
    )
    models = {}
    for policy in ("float32", "mixed_bfloat16", "mixed_float16"):
        keras.mixed_precision.set_global_policy(policy)
        models[policy] = networks.build("dihedral", input_size=40, classes=2, seed=1)
        models[policy].compile(
            "adamw", keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False
        )
        models[policy].train_on_batch(images, targets)
    keras.mixed_precision.set_global_policy("float32")
    taken = {policy: [] for policy in models}
    for _ in range(rounds):
        for policy, model in models.items():
            started = time.perf_counter()
            for _ in range(steps):
                model.train_on_batch(images, targets)
            taken[policy].append(time.perf_counter() - started)
    for policy in models:
        ratios = np.array(taken[policy]) / np.array(taken["float32"])
        print(
            f"{policy}: {np.median(ratios):.2f} of the time of float32 ({ratios.min():.2f} to {ratios.max():.2f})"
        )


# Trains the network, side and batch of its arguments for a few steps whenever a line is read, and prints images/s.
STEPS = """
import sys, time, numpy as np
from temlib.train import Settings, fitting, networks
keras, (name, side, batch) = networks.backend(), (sys.argv[1], *map(int, sys.argv[2:]))
model, recipe = networks.build(name, input_size=side, classes=2, seed=1), fitting.RECIPES[Settings().recipe]
loss = fitting.loss_of_logits(keras, 2, focal=False)
model.compile(recipe.optimiser(keras), loss, jit_compile=False)
images = np.random.default_rng(1).normal(size=(batch, side, side, 1)).astype("float32")
targets, weights = np.eye(2, 4, dtype="float32")[np.arange(batch) % 2], np.ones(batch, "float32")
for line in sys.stdin:
    started = time.perf_counter()
    for _ in range(4):
        model.train_on_batch(images, targets, weights)
    print(4 * batch / (time.perf_counter() - started), flush=True)
"""


def rates(before, rounds=15):
    """Print images/s of training steps here and in the checkout `before`, taking turns, and their ratio."""
    for job in (("dihedral", 64, 32), ("dihedral", 40, 32), ("dihedral", 28, 32), ("lipnet4", 28, 32)):
        processes = {}
        for place in (Path(__file__).parents[1], before):
            command, environment = (
                [sys.executable, "-c", STEPS, *map(str, job)],
                os.environ | {"PYTHONPATH": str(place)},
            )
            pipes = {
                "stdin": subprocess.PIPE,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.DEVNULL,
                "text": True,
            }
            processes[place] = subprocess.Popen(command, cwd=place, env=environment, **pipes)
        found = {place: [] for place in processes}
        for _ in range(rounds + 1):
            for place, process in processes.items():
                process.stdin.write("\n")
                process.stdin.flush()
                found[place].append(float(process.stdout.readline()))
        for process in processes.values():
            process.kill()
        now, then = (np.array(values[1:]) for values in found.values())  # the first round traces
        middle, low, high = np.quantile(now / then, [0.5, 0.1, 0.9])
        text = f"{np.median(now):,.0f} images/s, before {np.median(then):,.0f}: {middle:.2f} times ({low:.2f} to {high:.2f})"
        print(f"{job[0]}, {job[1]} pixels, batch {job[2]}: {text}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--precision", action="store_true")
    parser.add_argument("--rates", type=Path, metavar="CHECKOUT")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--models", nargs="+", default=["dihedral"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument(
        "--curve", type=Path, metavar="PNG", help="draw what is reached with a share of the labels"
    )
    parser.add_argument("--set", nargs="+", default=[], dest="options", metavar="KEY=VALUE")
    chosen = parser.parse_args()
    if chosen.rates:
        return rates(chosen.rates)
    if chosen.precision:
        return precision()
    if chosen.quick:
        sys.exit(int(quick() > 1.05))
    if chosen.data is None or chosen.folder is None:
        return print("Name the folder of the real sets and one for what is trained: nothing was measured.")
    chosen.folder.mkdir(parents=True, exist_ok=True)
    options = {key: yaml.safe_load(value) for key, value in (o.split("=") for o in chosen.options)}
    for seed in chosen.seeds:
        for name in chosen.sets:
            for model in chosen.models:
                train(chosen.data, chosen.folder, {"set": name, "model": model, "seed": seed} | options)
    table(chosen.folder)
    paired(chosen.folder)
    if chosen.curve:
        label_curve(chosen.folder, chosen.curve)


if __name__ == "__main__":
    main()
