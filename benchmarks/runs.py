"""What the runner costs: planning, an unchanged run, a notebook more, two workers instead of one, steps through Dask.

python -m benchmarks.runs            all; a sweep of eight trainings by one and by two workers in turn
python -m benchmarks.runs --quick    ratios that do not depend on the machine
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat

from temlib import report
from temlib.report import engine, notebook, parameters, worker

SWEEP = """notebooks: [3_train]
count: 200
input_size: 16
models: [svm_thesis, lipnet4]
primary: lipnet4
epochs: 4
folds: 2
threads: 1
matrix: {seed: [1, 2, 3, 4, 5, 6, 7, 8]}
"""
TRIVIAL = "notebooks: [2_augment]\n"
REPEATS = 3


class Plain:
    """A step that depends on nothing."""

    before = ()


def command(path, output, *more):
    """Return the seconds that a command of temlib takes, from its start to its end."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "temlib", "run", path, "--output", output, *more],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def bare():
    """Return the seconds of a kernel that starts, executes two trivial cells and ends."""
    from jupyter_client.manager import start_new_kernel

    started = time.perf_counter()
    manager, client = start_new_kernel(kernel_name="python3")
    for cell in ("a = 1", "a"):
        client.execute_interactive(cell, store_history=False)
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    return time.perf_counter() - started


def trivial(folder, steps):
    """Return the seconds that the runner takes for so many steps of a trivial notebook, by one worker."""
    cells = [
        nbformat.v4.new_code_cell(
            'run: str = "x"  # folder\ntask: str = "a"  # of many', metadata={"tags": ["parameters"]}
        ),
        nbformat.v4.new_code_cell("task"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "2_augment.ipynb")
    settings = parameters.Settings(
        Path("mine.yaml"), {}, {"task": [f"t{k}" for k in range(steps)]}, ("2_augment",)
    )
    started = time.perf_counter()
    done = report.execute(settings, output=folder / "out", workers=1, force=True)
    assert all(step.status == "done" for step in done)
    return time.perf_counter() - started


def overhead(folder):
    """Print what a trivial notebook costs over a bare kernel: the difference of many and few steps, so without the start."""
    real, notebook.NOTEBOOKS = notebook.NOTEBOOKS, folder
    try:
        each = [(trivial(folder, 9) - trivial(folder, 1)) / 8 for _ in range(REPEATS)]
    finally:
        notebook.NOTEBOOKS = real
    kernel = [bare() for _ in range(REPEATS)]
    each, kernel = statistics.median(each), statistics.median(kernel)
    print(
        f"| a trivial notebook by the runner, s | {each:.2f} | a bare kernel {kernel:.2f}, so {each - kernel:.2f} more |"
    )
    return each / kernel


def planning(folder):
    """Print how long a plan of 1,000 steps takes, and a step of it against a step of a plan of 100."""
    times = {}
    for seeds in (50, 500):
        path = folder / f"plan{seeds}.yaml"
        path.write_text(f"notebooks: [3_train, 4_evaluate]\nmatrix: {{seed: {list(range(seeds))}}}\n")
        times[seeds] = statistics.median(command(path, folder / "out", "--dry-run") for _ in range(REPEATS))
    print(f"| plan of 1,000 steps, s | {times[500]:.2f} | of 100: {times[50]:.2f} |")
    return times[500] / times[50]


def unchanged(folder):
    """Print how long a run takes that is up to date."""
    path = folder / "same.yaml"
    path.write_text("notebooks: [1_explore, 2_augment, 7_software]\ncount: 60\n")
    command(path, folder / "out")
    times = [command(path, folder / "out") for _ in range(REPEATS)]
    print(
        f"| a run that is up to date, s | {statistics.median(times):.2f} | {min(times):.2f} to {max(times):.2f} |"
    )


def two_workers(folder):
    """Print how much sooner two workers end a sweep of eight than one, in turn."""
    path, ratios, rows = folder / "sweep.yaml", [], []
    path.write_text(SWEEP)
    command(path, folder / "out", "--only", "3")  # so that all particles are simulated before
    for _ in range(REPEATS):
        times, tables = [], []
        for workers in ("1", "2"):
            times.append(command(path, folder / "out", "--force", "--workers", workers))
            found = sorted((folder / "out").rglob("predictions.csv"))
            tables.append([file.read_bytes() for file in found])
        assert tables[0] == tables[1] and len(tables[0]) == 9, "two workers give other predictions than one"
        one, two = times
        ratios.append(one / two)
        rows.append(f"{one:.0f}/{two:.0f}")
    print(
        f"| eight trainings, one worker over two | {statistics.median(ratios):.2f} | seconds {', '.join(rows)} |"
    )


def dask(folder):
    """Print what a trivial step costs through Dask, with two workers of one thread each."""
    import distributed

    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        executor, times = engine.Cluster(cluster.scheduler_address, folder), []
        for _ in range(REPEATS):
            ended, started = [], time.perf_counter()
            steps = [Plain() for _ in range(200)]
            engine.run(
                steps,
                executor,
                begin=lambda step: (worker.sees, str(folder), "x", ""),
                ended=lambda step, future, ended=ended: ended.append(future.result()),
            )
            assert len(ended) == 200
            times.append((time.perf_counter() - started) / 200)
        executor.close()
    print(f"| a trivial step through Dask, ms | {1e3 * statistics.median(times):.1f} | of 200 |")


def main():
    """Print a table."""
    quick, status = "--quick" in sys.argv, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for found, most, what in (
            (planning(folder), 10.0, "a plan of ten times the steps takes {:.1f} times as long"),
            (overhead(folder), 6.0, "a trivial notebook takes {:.1f} times a bare kernel"),
        ):
            print(what.format(found) + ("" if found <= most else f", more than {most:g}"))
            status |= found > most
        if not quick:
            unchanged(folder)
            dask(folder)
            two_workers(folder)
    sys.exit(int(status))


if __name__ == "__main__":
    main()
