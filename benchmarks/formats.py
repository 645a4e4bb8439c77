"""Reading microscope files, positions and tables: right against independent readers, and how fast.

Run as ``python benchmarks/formats.py``; it prints a section for RESULTS.md. With rosettasciio installed (extra
`formats`) its formats are read too. Times are medians of alternating runs on the same data.
"""

import csv
import statistics
import sys
import tempfile
import time
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd

from temlib import micrographs, positions, tables
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
            read = [micrographs.read(path, index=i) for i in many]
        except InputError as refusal:
            print("|", row["file"], "| refused:", str(refusal).removeprefix(f"{path} "), "|" * 5)
            continue
        size = " x ".join(f"{size:.6g}" for size in read[0].source.pixel_sizes_nm)
        mean = np.mean([one.image.mean(dtype=float) for one in read])
        kind = f"{'x'.join(map(str, read[0].source.shape))}, {read[0].source.dtype}"
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
        found = positions.read(folder / "p.csv")
        image = micrographs.read(folder / found["image"].iloc[0]).image
        return positions.cut(image, found["row"], found["column"], 128)

    def theirs():
        image = mrcfile.read(path)  # the whole micrograph
        found = pd.read_csv(folder / "p.csv")
        return np.stack(
            [image[r - 64 : r + 64, c - 64 : c + 64] for r, c in zip(found["row"], found["column"])]
        )

    np.testing.assert_array_equal(ours(), theirs())
    mine, other = seconds([ours, theirs])
    print(
        f"- 4096 x 4096 MRC, 300 positions (CSV), boxes of 128: {mine:.3f} s; mrcfile, slices {other:.3f} s."
    )


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
        found = tables.read(path)
        tables.labels(found, ["lamellarity"])
        return tables.numbers(found["diameter_nm"])

    def theirs():
        return pd.read_csv(path, sep=";", decimal=",", encoding="cp1252")["diameter_nm"]

    np.testing.assert_allclose(ours(), theirs())
    mine, other = seconds([ours, theirs])
    kind = f"{n} rows, semicolons, decimal commas"
    print(f"- manifest of {kind}: {mine:.2f} s with all checks; pandas, told everything, {other:.2f} s.")


def main():
    """Print all of it."""
    libraries = ", ".join(f"{library.__name__} {library.__version__}" for library in (np, pd, mrcfile))
    print(f"Python {sys.version.split()[0]}, {libraries}\n")
    if FORMATS.is_dir():
        real_files()
    with tempfile.TemporaryDirectory() as folder:
        cutting(Path(folder))
        reading_tables(Path(folder))


if __name__ == "__main__":
    main()
