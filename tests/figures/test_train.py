"""Pictures of notebook 3, of planted tables."""

import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from temlib import figures, train
from tests.figures.conftest import check, sentence

MODELS = ["lipnet4", "dihedral", "svm_texture"]


def test_networks_are_drawn_below_each_other():
    """A box for each layer that holds a kernel or pools, maps shrinking; a sentence where there is none."""
    described = {name: train.describe(name, input_size=28, classes=3, pixel_nm=3.0) for name in MODELS[:2]}
    picture = figures.architectures(described)
    columns = ["network", "layer", "side_px", "channels"]
    figure = check(picture, columns, n="", panels=2)
    frame = picture.frame()
    assert [axis.get_title() for axis in figure.axes] == MODELS[:2]
    assert sum(len(axis.patches) for axis in figure.axes) == len(frame)
    assert all(part["side_px"].is_monotonic_decreasing for _, part in frame.groupby("network"))
    boxes = sorted((box.get_x(), box.get_width()) for box in figure.axes[0].patches)
    assert all(left + width == pytest.approx(right) for (left, width), (right, _) in pairwise(boxes))
    assert sentence(figures.architectures({})) == "No network is compared."


def test_outlines_lie_on_particles_beside_their_profiles(particles):
    """As many particles of each class, at most so many, each with a line; a profile a class over so many points."""
    images, labels = particles.images[:40], particles.table["label"][:40]
    page = check(figures.outlines(images, labels, pixel_nm=2.0, most=6), ["class", "row"], n=6, panels=6)
    assert page.index("<b>empty</b>") < page.index("<b>full</b>")
    points = re.findall(r'points="([^"]+)"', page)
    assert len(points) >= 6 and max(float(x) for line in points for x in re.split("[ ,]", line)) <= 24
    picture = figures.edge_profiles(images, labels)
    check(picture, ["class", "share", "mean", "error"], n="20 empty, 20 full", panels=1)
    assert picture.frame()["class"].value_counts().to_dict() == {"empty": train.POINTS, "full": train.POINTS}


def test_learning_curves_are_means_with_a_band_from_least_to_most():
    """Two folds with losses 1 and 3: mean 2, band from 1 to 3, high losses cut off; a sentence without networks."""
    grid = pd.DataFrame([(m, f, e) for m in MODELS[:2] for f in (1, 2) for e in (1, 2, 3)])
    history = grid.set_axis(["model", "fold", "epoch"], axis=1)
    history["loss"], history["validation_loss"] = 2.0 * history["fold"] - 1, 1.0 * history["epoch"]
    figure = check(
        figures.learning_curves(history), ["model", "fold", "epoch", "kind", "value"], n=2, panels=2
    )
    first, second = figure.axes[0].lines
    assert first.get_ydata().tolist() == [2, 2, 2] and second.get_ydata().tolist() == [1, 2, 3]
    assert [line.get_label() for line in (first, second)] == ["training", "validation"]
    band = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (1, 3)
    assert figure.axes[1].get_ylim() == (0, pytest.approx(2 * np.log(3)))
    assert sentence(figures.learning_curves(history.head(0))) == "No network was trained."


def test_descriptors_are_ordered_by_what_is_lost():
    """The group that costs most stands on top and in words; a sentence without an SVM."""
    rows = [
        ("svm_texture", fold, name, loss + fold / 100)
        for fold in (1, 2)
        for name, loss in (("area", 0.1), ("edges", 0.3))
    ]
    table = pd.DataFrame(rows, columns=["model", "fold", "descriptor", "loss"])
    picture = figures.descriptors(table)
    axis = check(picture, list(table), n=2, panels=1).axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["edges", "area"]
    assert [bar.get_width() for bar in axis.patches] == pytest.approx([0.315, 0.115])
    assert "edges in svm_texture" in picture.alt
    assert sentence(figures.descriptors(table.head(0))) == "No SVM was trained."


def test_costs_that_are_unknown_are_left_out():
    """Three panels; an SVM has no weights, and stays in the legend."""
    table = pd.DataFrame({"model": MODELS, "balanced accuracy": [0.8, 0.9, 0.7], "low": [0.7, 0.8, np.nan]})
    table = table.assign(high=[0.9, 0.95, np.nan], training_s=[1.0, 2, 3], prediction_ms_per_particle=1.0)
    table["weights"] = [2000, 5000, np.nan]
    figure = check(figures.pareto(table), [*table, "thousand_weights"], n="95", panels=3)
    points = [np.concatenate([bars.lines[0].get_xdata() for bars in axis.containers]) for axis in figure.axes]
    assert [len(found) for found in points] == [3, 3, 2] and points[2].tolist() == [2, 5]
    assert [text.get_text() for text in figure.legends[0].texts] == MODELS


def test_the_worst_micrograph_is_named():
    """A point a micrograph and model, the lowest of each model with its name."""
    rows = [(model, f"m{k}", (k + 1) / 4, 10) for model in MODELS for k in range(3)]
    table = pd.DataFrame(rows, columns=["model", "micrograph", "right", "particles"])
    axis = check(figures.micrograph_scores(table), list(table), n=30, panels=1).axes[0]
    assert [text.get_text().strip() for text in axis.texts] == ["m0"] * 3
    assert [len(points.get_offsets()) for points in axis.collections] == [3, 3, 3]
    check(figures.micrograph_scores(table[table["micrograph"] == "m1"]), list(table), n=10)
