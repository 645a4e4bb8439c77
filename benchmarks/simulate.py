"""Speed, memory, physics and panel of the simulator, as markdown.

Run as `python benchmarks/simulate.py [--quick]`; --quick makes fewer micrographs and fewer panels.
"""

import hashlib
import os
import platform
import statistics
import subprocess
import sys
import time
from itertools import combinations

import numpy as np
import pandas as pd
import scipy
from sklearn.metrics import cohen_kappa_score

from temlib import simulate

QUICK = "--quick" in sys.argv
# Micrographs of 1024 x 1024 pixels in one repeat.
FIELDS = 8 if QUICK else 24
PEAK = """
import resource, sys
from temlib import simulate
count = int(sys.argv[1])
made = simulate.study(count, seed=1, preset="talos200")
pixels = sum(crop.size for _, crops in made.crops() for crop in crops)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def _rate(study):
    """Megapixels and particles a second of wall time, and CPU seconds a megapixel."""
    wall, cpu = time.perf_counter(), time.process_time()
    pixels = sum(image.size for _, image in study.micrographs()) / 1e6
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return pixels / wall, study.count / wall, cpu / pixels


def speed():
    print("| preset | particles/image | threads | Mpx/s | crops/s | CPU s/Mpx |\n|---|---|---|---|---|---|")
    cases = [
        ("talos200", 25, 2),
        ("talos200", 50, 2),
        ("talos200", 50, 1),
        ("ccd120", 25, 2),
        ("thesis2016", 25, 2),
    ]
    studies = {
        (preset, n, threads): simulate.study(n * FIELDS, micrographs=FIELDS, preset=preset, threads=threads)
        for preset, n, threads in cases
    }
    rates = {case: [] for case in cases}
    for study in studies.values():
        study.micrograph(0)
    for _ in range(3 if QUICK else 5):
        for case, study in studies.items():
            rates[case].append(_rate(study))
    for (preset, particles, threads), found in rates.items():
        binned = studies[preset, particles, threads].settings.microscope.binning ** 2
        rate, crops, cpu = (statistics.median(column) for column in zip(*found))
        print(
            f"| {preset} | {particles} | {threads} | {rate * binned:.1f} | {crops:.0f} | {cpu / binned:.3f} |"
        )
    print("\nMpx are simulated pixels, before binning; medians of repeats that alternate between the rows.\n")


def table_speed():
    count = 600 if QUICK else 5000
    began = time.perf_counter()
    assert len(simulate.study(count, seed=1).table) == count
    print(f"Table of truth and labels alone: {count / (time.perf_counter() - began):.0f} particles/s.\n")


def memory():
    print("| particles | peak memory, MB |\n|---|---|")
    for count in (250, 1000) if QUICK else (250, 2500, 10000):
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(count)], capture_output=True, text=True, check=True
        )
        print(f"| {count} | {float(done.stdout):.0f} |")
    print()


def bytes_equal():
    def digest(threads):
        study = simulate.study(100, seed=1, threads=threads)
        return hashlib.sha256(b"".join(image.tobytes() for _, image in study.micrographs())).hexdigest()

    first, second, third = digest(1), digest(2), digest(4)
    print(f"Bytes of 4 micrographs with 1, 2 and 4 threads are equal: {first == second == third}.\n")


def thon_rings():
    print(
        "| preset | defocus, µm | zero | theory, nm | measured, nm | difference |\n|---|---|---|---|---|---|"
    )
    for preset, defocus in (("krios300", 2.0), ("talos200", 1.0), ("talos200", 2.0), ("ccd120", 1.5)):
        for row in simulate.thon_rings(preset=preset, defocus_um=defocus).itertuples():
            print(
                f"| {preset} | {defocus} | {row.zero} | {row.theory_nm:.3f} | {row.measured_nm:.3f} "
                f"| {100 * row.relative_error:+.2f} % |"
            )
    print()


def panel_agreement():
    """How well three annotators agree, and how well their majority meets the truth (uncertain counts as wrong)."""
    results = {task: [] for task in simulate.TASKS}
    for seed in range(3 if QUICK else 20):
        study = simulate.study(600, seed=seed)
        for task, found in results.items():
            given = [study.panel[column] for column in study.panel if column.startswith(f"{task}@")]
            truth, label = study.table[f"truth_{task}"], study.table[task]
            right, sure = label == truth, label != "uncertain"
            found.append(
                {
                    "kappa": np.mean([cohen_kappa_score(*pair) for pair in combinations(given, 2)]),
                    "uncertain": 1 - sure.mean(),
                    "balanced": right.groupby(truth).mean().mean(),
                    "decided": right[sure].groupby(truth).mean().mean(),
                }
            )
    print(
        "| task | kappa, median (range) | uncertain | balanced accuracy | of decided |\n|---|---|---|---|---|"
    )
    for task, found in results.items():
        found = pd.DataFrame(found)
        middle, kappa = found.median(), found["kappa"]
        print(
            f"| {task} | {middle['kappa']:.2f} ({kappa.min():.2f}–{kappa.max():.2f}) | {middle['uncertain']:.3f} "
            f"| {middle['balanced']:.3f} | {middle['decided']:.3f} |"
        )
    print(f"\n{len(found)} default studies of 600 particles with 3 annotators; seeds 0 on.\n")


def main():
    print("## Simulator\n")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"numpy {np.__version__}, scipy {scipy.__version__}\n"
    )
    for part in (speed, table_speed, memory, bytes_equal, thon_rings, panel_agreement):
        part()


if __name__ == "__main__":
    main()
