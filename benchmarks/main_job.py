"""How typical the headline of the main job is: the settings of parameters/quick.yaml on simulated data of other seeds.

    python -m benchmarks.main_job FOLDER [--seeds 201 … 220] [--set count=2000 …] [--workers 2]

Each seed makes its own micrographs and its own folds. The primary network and the SVM of quick.yaml are trained on both
tasks, in worker processes of one thread each; what is done is kept in FOLDER, a CSV for each seed and task, so that an
interrupted benchmark goes on where it was. It then prints a table over all that FOLDER holds.
"""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import yaml

QUICK = Path(__file__).parents[1] / "parameters" / "quick.yaml"


def job(folder, values, task, seed):
    """Train primary and SVM on one task of one seed; keep one row of what the report would say."""
    path = folder / f"{task} seed={seed}.csv"
    if path.exists():
        return
    from temlib import data, evaluate, train
    from temlib.files import write_csv
    from temlib.report.notebook import Notebook

    here = Notebook(values | {"task": task, "seed": seed}, folder)
    opened = data.open("simulated", **here.arguments(data.open))
    dataset = opened.labelled(**here.arguments(opened.labelled))
    svm = next(name for name in values["models"] if name in train.svm_names())
    models, settings = [values["primary"], svm], train.Settings(**here.arguments(train.Settings))
    trained = train.cross_validate(dataset, task, models, settings)
    held, chosen = (
        evaluate.Predictions(trained.predictions),
        'measure == "balanced accuracy" and `class` == "all"',
    )
    row = {"task": task, "seed": seed, "particles": len(dataset), "failed": len(trained.failures)}
    for name, part in zip(("network", "svm"), models):
        found = held.measures(task).query(chosen).set_index("model").loc[part]
        row |= {f"{name}_{what}": found[what] for what in ("value", "low", "high")}
    pair = held.compare(task).query(chosen).iloc[0]
    sign = 1 if pair["model_a"] == models[0] else -1
    low, high = sorted((sign * pair["low"], sign * pair["high"]))
    row |= {"difference": sign * pair["difference"], "difference_low": low, "difference_high": high}
    row |= {"training_s": trained.costs["training_s"].sum(), "settings": str(values)}
    write_csv(path, pd.DataFrame([row]))
    print(f"{task} seed {seed}: {row['network_value']:.3f} against {row['svm_value']:.3f}", flush=True)


def table(folder):
    """Print every seed of each task and what is typical of them."""
    rows = pd.concat([pd.read_csv(path) for path in sorted(folder.glob("*.csv"))], ignore_index=True)
    for task, part in rows.groupby("task", sort=False):
        part, ahead = part.sort_values("seed"), (part["difference_low"] > 0).sum()
        network, svm = part["network_value"], part["svm_value"]
        print(f"\n{task}: {len(part)} seeds, settings {part['settings'].unique().tolist()}")
        for name, values in (("network", network), ("SVM", svm), ("difference", part["difference"])):
            low, middle, high = values.quantile([0.1, 0.5, 0.9])
            print(
                f"- {name}: median {middle:.3f}, a tenth below {low:.3f}, a tenth above {high:.3f}, lowest {values.min():.3f}"
            )
        print(f"- the network ahead of the SVM with an interval that excludes 0: {ahead} of {len(part)}")
        print(f"- training of both: median {part['training_s'].median():.0f} s on one thread")
        print("| seed | network | SVM | difference (95 % by micrograph) |\n|---|---|---|---|")
        for r in part.itertuples():
            interval = f"{r.difference:+.3f} ({r.difference_low:+.3f} to {r.difference_high:+.3f})"
            print(f"| {r.seed} | {r.network_value:.3f} | {r.svm_value:.3f} | {interval} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(201, 221)))
    parser.add_argument("--tasks", nargs="+", default=["lamellarity", "encapsulation"])
    parser.add_argument("--set", nargs="+", default=[], dest="changes", metavar="KEY=VALUE")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    chosen = parser.parse_args()
    if chosen.folder is None:
        return print("Name a folder for what is trained: nothing was measured.")
    chosen.folder.mkdir(parents=True, exist_ok=True)
    values = yaml.safe_load(QUICK.read_text(encoding="utf-8"))
    values.pop("matrix")
    values |= {key: yaml.safe_load(value) for key, value in (change.split("=") for change in chosen.changes)}
    # Each worker trains on one thread: two such processes do more than one with two threads.
    os.environ |= {f"TF_NUM_{kind}OP_THREADS": "1" for kind in ("INTRA", "INTER")}
    with ProcessPoolExecutor(chosen.workers, get_context("spawn"), max_tasks_per_child=1) as pool:
        asked = [(task, seed) for seed in chosen.seeds for task in chosen.tasks]
        for future in [pool.submit(job, chosen.folder, values, *one) for one in asked]:
            if future.exception():
                sys.exit(f"a job failed: {future.exception()}")
    table(chosen.folder)


if __name__ == "__main__":
    main()
