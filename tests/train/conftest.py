"""What the tests of training share: small data sets, settings, one network in one fold."""

import numpy as np
import pandas as pd

from temlib import train
from temlib.data import Particles
from temlib.train import fitting


def settings(**changes):
    """Return settings for a few small particles."""
    return train.Settings(**{"folds": 2, "seed": 3, "epochs": 2, "batch": 8, "imbalance": "none"} | changes)


def made(images, labels, micrographs):
    """Make a data set of arrays."""
    names = [f"p{i:03d}" for i in range(len(images))]
    table = pd.DataFrame({"particle": names, "micrograph": micrographs, "content": labels})
    return Particles(table, images.astype(np.float32), "test", (), "fill", float("nan"), False)


def faint(seed=0, count=96, size=16):
    """Make particles of which one in four is faintly bright: a common class is the safe call."""
    rng = np.random.default_rng(seed)
    rare = np.arange(count) % 4 == 0
    images = rng.normal(size=(count, size, size))
    images[rare, 4:12, 4:12] += 0.35
    return made(images, np.where(rare, "rare", "common"), [f"m{i // 12}" for i in range(count)])


def fitted(name, images, labels, groups=None, *, train=64, validation=16, report=None, **changes):
    """Fit a network to the first particles, the next for validation; return it with its inputs and groups."""
    network = fitting.Network(name, ["a", "b"], settings(seed=1, **changes))
    groups = np.arange(len(images)) if groups is None else groups
    rows = np.arange(train + validation)
    parts = {"train": rows[:train], "validation": rows[train:]}
    network.fit([images], labels, groups, **parts, fold=1, report=report)
    return network, [images], groups
