"""Kill a process that labels, at random moments, and count the labels that are lost: `python -m tests.data.label_kills 200`.

A label counts as given as soon as the process has said so. The copy has to be a whole table after each kill, with all of
them; one more may be in it, which was written and not told any more.
"""

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from temlib import data
from temlib.data import tables


def study(folder, count=2000):
    """Write a manifest of so many particles, all cut from one micrograph, and return its path."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (400, 400)).astype(np.uint8)).save(folder / "m.png")
    places = [(20 + k // 60 * 6, 20 + k % 60 * 6) for k in range(count)]
    table = pd.DataFrame(places, columns=["row", "column"]).assign(
        image="m.png", box_px=12, remark="any text"
    )
    table.to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def label(opened, told, start):
    """Label one particle after the other, and tell of each that is saved."""
    anna, names = data.Annotations(opened, "content", "anna"), opened.table["particle"].tolist()
    for step in range(start, 10**6):
        name = names[step % len(names)]
        if anna.set(name, f"c{step}"):
            os.write(told, f"{name}\t{step}\n".encode())


def lost(kills, folder, seed=0):
    """Kill as often, and return how many labels were given, and how many of them were lost."""
    opened, rng, given, missing = (
        data.open(study(folder), input_size=12, scale="fill"),
        random.Random(seed),
        {},
        0,
    )
    step = 0
    for _ in range(kills):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                label(opened, writing, step)
            finally:
                os._exit(1)
        os.close(writing)
        # Some kills come while the copy is opened, most while it is written.
        time.sleep(rng.uniform(0.02, 0.6))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(reading) as told:
            lines = told.read().splitlines()
        given |= {name: int(number) for name, number in (line.split("\t") for line in lines)}
        step += len(lines) + 1
        if given:
            found = tables.read(folder / "manifest_labelled.csv").set_index("particle")["content@anna"]
            # What was given later, and not told, replaces it by a larger number.
            missing += sum(int(found[name].lstrip("c") or -1) < number for name, number in given.items())
    return step - kills, missing


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        count, missing = lost(int(sys.argv[1]), Path(folder))
        print(f"{sys.argv[1]} kills, {count} labels given, {missing} lost")
        sys.exit(missing > 0)
