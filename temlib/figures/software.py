"""Pictures of notebook 7: how popular deep-learning software was around October 2016, and what this machine has today."""

import importlib.util
from importlib import metadata

import pandas as pd

from temlib.figures.base import Picture, named, on_axes, tall

# GitHub stars in the lists nearest in time for which a commit can be cited.
_LISTS = {
    ("15 Aug 2016", "github.com/aymericdamien/TopDeepLearning, commit a42be1f"): (
        "TensorFlow 29931, Caffe 11905, Keras 7590, CNTK 5981, Torch7 5157, MXNet 4735, Theano 4314, Deeplearning4j 3721, TFLearn 3416, "
        "Lasagne 2369, Neon 2147, Chainer 1577, DIGITS 1368, Blocks 868"
    ),
    ("5 Feb 2017", "github.com/hunkim/DeepLearningStars, commit d1d6db9"): (
        "TensorFlow 44739, Caffe 15730, Keras 11792, CNTK 9437, MXNet 7942, Torch7 6301, Theano 5589, TFLearn 4728, Paddle 4217"
    ),
}


def popularity():
    """Return GitHub stars around October 2016 as a table of `date, software, stars, source`."""
    entries = [(*about, *one.rsplit(" ", 1)) for about, text in _LISTS.items() for one in text.split(", ")]
    table = pd.DataFrame(entries, columns=["date", "source", "software", "stars"]).astype({"stars": int})
    return table[["date", "software", "stars", "source"]]


def stars(table):
    """Draw the popularity of deep-learning software, one panel per date, from `popularity`."""

    def draw(axis, part):
        axis.barh(range(len(part)), part["stars"] / 1e3, 0.7, color="0.6", lw=0)
        named(axis, part["software"])

    return Picture(
        table,
        on_axes(draw, "date", height=tall(table["software"].unique()), xlabel="GitHub stars (thousands)"),
        f"Bars of the GitHub stars of deep-learning software; {table.loc[table['stars'].idxmax(), 'software']} has the most on every date.",
        f"n = {table['software'].nunique()} packages on the dates nearest to October 2016 for which a list can be cited; sources in the table.",
    )


def backends():
    """Return which of Keras' backends are installed, without importing any, as `backend, installed, version`."""
    rows = []
    for name in ("tensorflow", "jax", "torch"):
        found = importlib.util.find_spec(name) is not None
        rows.append((name, "yes" if found else "no", metadata.version(name) if found else ""))
    return pd.DataFrame(rows, columns=["backend", "installed", "version"])
