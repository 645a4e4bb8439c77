"""Kill a run at random moments, run it again, and compare every byte that is deterministic with an undisturbed run.

    python -m tests.faults.campaign --kills 100 --seed 1

Runner, worker and kernel are killed in turn (`kill -9`). After each kill no file may carry a final name that is not whole, the
same command must end with exit status 0, its files must be those of the undisturbed run, `verify` must find nothing, and
nothing hidden may be left but the lock. With `--processes 2` two runs are disturbed side by side.
"""

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import psutil

PARAMETERS = """notebooks: [3_train, 4_evaluate]
count: 80
input_size: 16
models: [svm_thesis, lipnet4]
primary: lipnet4
epochs: 1
folds: 2
threads: 1
"""
# What differs between two undisturbed runs: pages and records with times, costs in seconds, models with dates inside.
DIFFERS = (
    ".html",
    ".ipynb",
    "_train.json",
    "_evaluate.json",
    "provenance.json",
    "costs.csv",
    ".keras",
    ".skops",
    ".npz",
)
DIFFERS += ("checksums.json", "answer.json")
TARGETS = {"kernel": "ipykernel_launcher", "worker": "spawn_main"}
LONGEST_S = 300.0


def parses(data):
    """Return whether bytes are whole JSON."""
    try:
        return json.loads(data) is not None
    except ValueError:
        return False


# How it is seen that a file is whole.
ENDS = {
    ".json": parses,
    ".ipynb": parses,
    ".html": lambda data: data.rstrip().endswith(b"</html>"),
    ".csv": lambda data: data.endswith(b"\n"),
    ".npz": lambda data: data[-22:-18] == b"PK\5\6",
    ".keras": lambda data: data[-22:-18] == b"PK\5\6",
}


def command(folder, *more):
    return [
        sys.executable,
        "-m",
        "temlib",
        "run",
        str(folder / "mine.yaml"),
        "--output",
        str(folder / "out"),
        *more,
    ]


def begin(folder, parameters=PARAMETERS):
    """Start a run in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.yaml").write_text(parameters)
    return subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def same(folder):
    """Return the bytes of the files of a run that must be the same whenever it is run, by name."""
    run = folder / "out" / "mine"
    files = (path for path in run.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(p.relative_to(run)): p.read_bytes() for p in files if not p.name.endswith(DIFFERS)}


def partial(folder):
    """Return the names of files that carry a final name and are not whole."""
    found = []
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.suffix not in ENDS or not path.is_file() or any(part.startswith(".") for part in parts):
            continue
        if not ENDS[path.suffix](path.read_bytes()):
            found.append(path.name)
    return found


def victim(runner, target):
    """Return the process to kill, None where there is none at this moment."""
    if target == "runner":
        return psutil.Process(runner.pid) if runner.poll() is None else None
    try:
        for process in psutil.Process(runner.pid).children(recursive=True):
            if TARGETS[target] in " ".join(process.cmdline()):
                return process
    except psutil.Error:
        pass
    return None


def disturb(folder, target, moment, parameters=PARAMETERS):
    """Kill a target of a run after so many seconds; return what the run was then, and False where the target was gone before."""
    runner, started = begin(folder, parameters), time.monotonic()
    time.sleep(moment)
    process = victim(runner, target)
    while process is None and runner.poll() is None:
        time.sleep(0.02)
        process = victim(runner, target)
    if process is None:
        runner.communicate()
        return False
    process.kill()
    try:
        runner.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        runner.kill()
        raise AssertionError(
            f"{target} killed after {time.monotonic() - started:.1f} s: the runner hangs"
        ) from None
    return True


def judged(folder, whole):
    """Run a disturbed run again, and return what is wrong with it and the seconds that it took."""
    faults = [f"{name} is partial" for name in partial(folder / "out")] if (folder / "out").exists() else []
    started = time.monotonic()
    ended = subprocess.run(command(folder), capture_output=True, text=True, timeout=LONGEST_S)
    seconds = time.monotonic() - started
    if ended.returncode:
        faults.append(f"exit status {ended.returncode}: {ended.stderr[-300:]}")
    found = same(folder)
    faults += [f"{name} differs" for name in sorted({*found, *whole}) if found.get(name) != whole.get(name)]
    verified = subprocess.run(
        [sys.executable, "-m", "temlib", "verify", str(folder / "out" / "mine")],
        capture_output=True,
        text=True,
    )
    if verified.returncode:
        faults.append(f"verify: {verified.stdout[-300:]}")
    hidden = [path.name for path in (folder / "out").rglob(".*") if path.name != ".lock"]
    return faults + [f"{name} is left" for name in hidden], seconds


def campaign(kills, seed, folder, *, parameters=PARAMETERS, say=print, processes=1, undisturbed=2):
    """Disturb so many runs; return a row for each: target, moment, faults, seconds of the run after it."""
    times = []
    for name in ("whole", "again")[:undisturbed]:
        started, runner = time.monotonic(), begin(folder / name, parameters)
        _, error = runner.communicate()
        assert runner.returncode == 0, error
        times.append(time.monotonic() - started)
    whole, rng = same(folder / "whole"), random.Random(seed)
    assert undisturbed == 1 or same(folder / "again") == whole, "two undisturbed runs differ"
    say(f"an undisturbed run takes {min(times):.1f} s; {len(whole)} files are the same each time")
    tasks = [(k, ("runner", "worker", "kernel")[k % 3], rng.uniform(0.3, max(times))) for k in range(kills)]

    def one(task):
        k, target, moment = task
        place = folder / f"{k}"
        while not disturb(place, target, moment, parameters):  # it ended before: earlier
            shutil.rmtree(place)
            moment *= 0.8
        faults, seconds = judged(place, whole)
        shutil.rmtree(place)
        say(
            f"{k + 1}: {target} killed after {moment:.1f} s; then {seconds:.1f} s: {'; '.join(faults) or 'the same bytes'}"
        )
        return {"target": target, "moment": moment, "faults": faults, "seconds": seconds}

    with ThreadPoolExecutor(processes) as pool:
        return list(pool.map(one, tasks))


@click.command()
@click.option("--kills", default=100)
@click.option("--seed", default=1)
@click.option("--processes", default=1)
def main(kills, seed, processes):
    """Disturb runs and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        rows = campaign(
            kills, seed, Path(folder), say=lambda text: print(text, flush=True), processes=processes
        )
    good = Counter(row["target"] for row in rows if not row["faults"])
    for target, count in sorted(Counter(row["target"] for row in rows).items()):
        seconds = sorted(row["seconds"] for row in rows if row["target"] == target)
        print(f"| {target} | {count} | {good[target]} | {seconds[len(seconds) // 2]:.1f} |")
    sys.exit(any(row["faults"] for row in rows))


if __name__ == "__main__":
    main()
