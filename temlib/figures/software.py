"""Pictures of notebook 7: software.

Popularity of deep-learning software around October 2016, and what this machine has today.
"""

import importlib.util
from importlib import metadata

import pandas as pd

from temlib.figures.base import COLOURS, Picture, figure_of


def stars(table):
    """Draw the popularity of deep-learning software, one panel a date."""

    def draw(frame):
        dates = list(frame["date"].unique())
        figure, axes = figure_of(1, len(dates), width=4.2 * len(dates), height=3.8, squeeze=False)
        for axis, date in zip(axes[0], dates):
            part = frame[frame["date"] == date]
            axis.barh(part["software"], part["stars"] / 1e3, color=COLOURS[0])
            axis.set(title=date, xlabel="GitHub stars (thousands)")
            axis.tick_params(labelsize=8)
            axis.invert_yaxis()
            axis.grid(False, axis="y")
        return figure

    top = table.sort_values("stars").iloc[-1]
    return Picture(
        table,
        draw,
        f"Bars of GitHub stars of deep-learning software; {top['software']} has the most at every date.",
        "GitHub stars at the dates nearest to October 2016 for which a citable list exists; sources in the table.",
    )


_AUGUST = "TensorFlow 29931, Caffe 11905, Keras 7590, CNTK 5981, Torch7 5157, MXNet 4735, Theano 4314, Deeplearning4j 3721, TFLearn 3416, Lasagne 2369, Neon 2147, Chainer 1577, DIGITS 1368, Blocks 868"  # noqa: E501
_FEBRUARY = "TensorFlow 44739, Caffe 15730, Keras 11792, CNTK 9437, MXNet 7942, Torch7 6301, Theano 5589, TFLearn 4728, Paddle 4217"
# The lists nearest in time for which a commit can be cited.
_LISTS = (
    ("15 Aug 2016", "github.com/aymericdamien/TopDeepLearning, commit a42be1f", _AUGUST),
    ("5 Feb 2017", "github.com/hunkim/DeepLearningStars, commit d1d6db9", _FEBRUARY),
)


def popularity():
    """Give GitHub stars of deep-learning software at the citable dates around October 2016.

    Returns
    -------
    DataFrame
        `date, software, stars, source`.
    """
    rows = []
    for date, source, listed in _LISTS:
        for entry in listed.split(", "):
            software, stars = entry.rsplit(" ", 1)
            rows.append((date, software, int(stars), source))
    return pd.DataFrame(rows, columns=["date", "software", "stars", "source"])


def backends():
    """Tell which of Keras' backends are installed, without importing any.

    Returns
    -------
    DataFrame
        `backend, installed, version`.
    """
    rows = []
    for backend, package in (("tensorflow", "tensorflow"), ("jax", "jax"), ("torch", "torch")):
        found = importlib.util.find_spec(package) is not None
        rows.append((backend, "yes" if found else "no", metadata.version(package) if found else ""))
    return pd.DataFrame(rows, columns=["backend", "installed", "version"])
