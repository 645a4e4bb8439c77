"""Reading microscope files, positions and tables: right against independent readers, and how fast.

Run as ``python -m benchmarks.formats [--quick] [--million]``; it prints tables for RESULTS.md. With rosettasciio
installed (extra `formats`) its formats are read too. Times are medians of alternating runs on the same data. `--quick`
compares ratios and exits with status 1 where one is missed; `--million` adds 10⁶ particles and takes minutes.
"""

import contextlib
import csv
import os
import re
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import PIL
from PIL import Image

from temlib import data
from temlib.data import labels, micrographs, sources
from temlib.data import open as open_data
from temlib.files import InputError

FORMATS = Path(__file__).parents[2] / "shared" / "data" / "formats"
REPEATS = 7


def seconds(calls):
    """Return the median time of each call, run in turn so that a busy machine slows all alike."""
    times = [[] for _ in calls]
    for _ in range(REPEATS):
        for call, taken in zip(calls, times):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


def real_files():
    """Print what each real file reads as beside what independent readers say."""
    with (FORMATS / "expected.csv").open(encoding="utf-8") as file:
        rows = list({row["file"]: row for row in reversed(list(csv.DictReader(file)))}.values())
    names = ("file", "shape, type", "pixel (nm)", "mean", "expected mean", "expected calibration")
    print("|", " | ".join(names), "|\n" + "|---" * len(names) + "|")
    for row in sorted(rows, key=lambda row: row["file"]):
        path, shape = FORMATS / row["file"], [int(n) for n in row["shape"].split("x")]
        many = range(shape[0]) if len(shape) == 3 and path.suffix == ".mrcs" else [None]
        try:
            read = [micrographs.read(path, i) for i in many]
        except InputError as refusal:
            print("|", row["file"], "| refused:", str(refusal).removeprefix(f"{path} "), "|" * 5)
            continue
        size = " x ".join(f"{size:.6g}" for size in read[0].sizes_nm)
        mean = np.mean([one.image.mean(dtype=float) for one in read])
        kind = f"{len(read)} x {' x '.join(map(str, read[0].image.shape))}, {read[0].image.dtype.name}"
        cells = row["file"], kind, size, f"{mean:.9g}", row["mean"], row["calibration"]
        print("|", " | ".join(cells), "|")


def cutting(folder):
    """Print the time from an MRC and a table of 300 positions to crops, beside mrcfile with slices."""
    rng = np.random.default_rng(0)
    path = folder / "m.mrc"
    mrcfile.write(path, rng.normal(size=(4096, 4096)).astype(np.float32), overwrite=True)
    rows, columns = rng.integers(64, 4000, (2, 300))
    lines = "".join(f"m.mrc,{r},{c},128\n" for r, c in zip(rows, columns))
    (folder / "p.csv").write_text("image,row,column,box_px\n" + lines)

    def ours():
        found = sources.read(folder / "p.csv")
        sizes = np.full(len(found.table), np.nan)
        return np.stack([crop for rows in found.groups() for _, crop, _ in found.load(rows, sizes, np.nan)])

    def theirs():
        image = mrcfile.read(path)  # the whole micrograph
        found = pd.read_csv(folder / "p.csv")
        return np.stack(
            [image[r - 64 : r + 64, c - 64 : c + 64] for r, c in zip(found["row"], found["column"])]
        )

    np.testing.assert_array_equal(ours(), theirs())
    mine, other = seconds([ours, theirs])
    print(f"| 300 boxes of 128 px cut from a 4096×4096 MRC | {mine:.3f} s | mrcfile, slices: {other:.3f} s |")
    return mine / other < 2


def reading_tables(folder):
    """Print the time to read a manifest of 200,000 particles, beside pandas with everything told."""
    n = 200_000
    rng = np.random.default_rng(0)
    label = rng.choice(["unilamellar", "multilamellar", "uncertain"], n)
    size = [f"{value:.3f}".replace(".", ",") for value in rng.uniform(50, 200, n)]
    path = folder / "t.csv"
    table = pd.DataFrame(
        {"image": [f"p{i}.png" for i in range(n)], "lamellarity": label, "diameter_nm": size}
    )
    table.to_csv(path, sep=";", index=False, encoding="cp1252")

    def ours():
        found = data.read_table(path)
        labels.checked(found, ["lamellarity"])
        return data.numbers(found["diameter_nm"])

    def theirs():
        return pd.read_csv(path, sep=";", decimal=",", encoding="cp1252")["diameter_nm"]

    np.testing.assert_allclose(ours(), theirs())
    mine, other = seconds([ours, theirs])
    kind = f"{n:,} rows, semicolons, decimal commas, with all checks"
    print(f"| manifest of {kind} | {mine:.2f} s | pandas, told everything: {other:.2f} s |")


def write_crops(folder, count):
    """Write PNG crops of 40 to 139 pixels and their manifest."""
    rng = np.random.default_rng(0)
    noise = rng.normal(120, 25, (3000, 3000)).clip(0, 255).astype(np.uint8)
    for i in range(count):
        side, row, column = int(rng.integers(40, 140)), *rng.integers(0, 2850, 2)
        crop = noise[row : row + side, column : column + side]
        Image.fromarray(crop).save(folder / f"p{i:05d}.png", compress_level=1)
    lines = "".join(f"p{i:05d}.png,m{i // 50},{'uni' if i % 3 else 'multi'},1.3\n" for i in range(count))
    (folder / "crops.csv").write_text("image,micrograph,lamellarity,pixel_size_nm\n" + lines)


def preparing(folder, count):
    """Print how long crops take to be prepared and opened again, beside decoding and resizing them by Pillow."""
    write_crops(folder, count)

    def ours():
        return data.open(folder / "crops.csv", pixel_nm=2.0, input_size=64)

    def theirs():
        for path in sorted(folder.glob("p*.png")):
            with Image.open(path) as image:
                np.asarray(image.convert("F").resize((64, 64), Image.Resampling.BICUBIC))

    taken, used = [], []
    for call in (ours, theirs):
        start, begun = time.perf_counter(), sum(os.times()[:4])  # of workers too
        call()
        taken.append(time.perf_counter() - start)
        used.append(sum(os.times()[:4]) - begun)
    (again,) = seconds([ours])
    print(
        f"| {count:,} PNG of 40–139 px to 64×64 at 2 nm | {taken[0]:.1f} s ({count / taken[0]:,.0f}/s; {used[0]:.1f} s of CPU) "
        f"| Pillow alone, one thread: {taken[1]:.1f} s |"
    )
    print(f"| the same, opened again | {again:.3f} s | |")
    return used[0] / used[1] < 4 and again / taken[0] < 0.1


def million(folder, count=10**6):
    """Print time and anonymous memory of `count` particles of a stack of 16×16 pixels."""
    rng = np.random.default_rng(0)
    with mrcfile.new_mmap(folder / "s.mrcs", (count, 16, 16), mrc_mode=0) as stack:
        for k in range(0, count, 10000):
            stack.data[k : k + 10000] = rng.normal(0, 25, stack.data[k : k + 10000].shape).clip(-128, 127)
        stack.set_image_stack()
    lines = (f"s.mrcs,{i},m{i // 100},{'uni' if i % 3 else 'multi'},2\n" for i in range(count))
    with (folder / "s.csv").open("w") as file:
        file.write("image,index,micrograph,lamellarity,pixel_size_nm\n")
        file.writelines(lines)
    peak, ended = [0], threading.Event()

    def watch():
        while not ended.wait(0.05):
            peak[0] = max(peak[0], anonymous())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    start = time.perf_counter()
    data = open_data(folder / "s.csv", pixel_nm=2.0, input_size=16)
    taken = time.perf_counter() - start
    half = data.rows(np.arange(0, count, 2))
    total = sum(len(block) for block in half.blocks())
    ended.set()
    thread.join()
    print(
        f"| {count:,} particles of a stack, prepared; half of them read ({total:,}) | {taken:.0f} s "
        f"| anonymous memory at most {peak[0] / 1e9:.2f} GB |"
    )


def anonymous():
    """Return the anonymous memory of this process and of its children in bytes (Linux)."""
    total = 0
    for process in ["self", *children()]:
        with contextlib.suppress(OSError, TypeError):  # a child may end at any time
            status = Path(f"/proc/{process}/status").read_text()
            total += 1024 * int(re.search(r"RssAnon:\s+(\d+)", status)[1])
    return total


def children():
    """Return the process numbers of this process's children (Linux)."""
    return [
        child for tasks in Path("/proc/self/task").glob("*/children") for child in tasks.read_text().split()
    ]


def main():
    """Print all of it."""
    libraries = ", ".join(f"{library.__name__} {library.__version__}" for library in (np, pd, mrcfile, PIL))
    print(f"Python {sys.version.split()[0]}, {libraries}\n")
    quick = "--quick" in sys.argv
    if FORMATS.is_dir() and not quick:
        real_files()
    print("\n| what | temlib | beside |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TEMLIB_CACHE"] = str(folder / "cache")
        fine = [cutting(folder), preparing(folder, 2000 if quick else 20000)]
        if not quick:
            reading_tables(folder)
        if "--million" in sys.argv:
            million(folder)
    sys.exit(quick and not all(fine))


if __name__ == "__main__":
    main()
