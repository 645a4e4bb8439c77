"""Sweeps over a parameter, learning curves, the rarest class, and how many labels a score needs."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from temlib import evaluate, figures
from temlib.evaluate import sweeps
from temlib.evaluate.measures import COLUMNS
from temlib.files import InputError

COUNTED = {
    ("all", "balanced accuracy"): 500,
    ("all", "accuracy"): 500,
    ("a", "TPR"): 450,
    ("b", "TPR"): 50,
    ("b", "PPV"): 60,
    ("b", "Brier score"): 500,
}


def measured():
    """Two seeds of one model at three shares of the labels; the score is 1 − labels^(−1/2) / 5, plus or minus .01."""
    rows = []
    for labels in ("0.1", "0.25", "1.0"):
        for seed, off in (("1", 0.01), ("2", -0.01)):
            value = 1 - 0.2 * (1000 * float(labels)) ** -0.5 * 10 + off
            numbers = value, value - 0.1, value + 0.1
            rows += [("t", "net", *kind, *numbers, n, 20, "x", labels, seed) for kind, n in COUNTED.items()]
    return pd.DataFrame(rows, columns=[*COLUMNS, "labels", "seed"])


def test_a_particle_counts_once_however_many_seeds():
    """Values are means over seeds, n is the number of particles, and intervals do not shrink with seeds."""
    found = evaluate.sweep(measured(), "labels")
    assert evaluate.axes(measured()) == ["labels"]
    assert found["labels"].tolist() == [0.1, 0.25, 1.0]
    assert (found["n"] == 500).all() and (found["seeds"] == 2).all()
    assert np.allclose(found["high"] - found["low"], 0.2)
    assert np.allclose(found["most"] - found["least"], 0.02)


def test_what_is_not_swept_is_refused():
    """The sentence names what is swept, or which measures there are."""
    with pytest.raises(InputError, match="those that do are labels"):
        evaluate.sweep(measured(), "input_size")
    with pytest.raises(InputError, match="there are accuracy, balanced accuracy"):
        evaluate.sweep(measured(), "labels", measure="F7")


def test_the_rarest_class_is_that_with_the_fewest_particles():
    """b has 50 of 500; its three measures stand in one row per share of labels."""
    found = evaluate.rarest(measured())
    assert found["class"].unique().tolist() == ["b"] and len(found) == 3
    assert {"TPR", "PPV", "Brier score"} <= set(found.columns)


def test_the_power_law_is_recovered():
    """Points on 1 − 3 n^(−.5) give 3 and .5, and 900 labels for .9."""
    n = np.array([50, 200, 800])
    a, b = sweeps.power_law(n, 1 - 3 * n**-0.5)
    assert a == pytest.approx(3) and b == pytest.approx(0.5)
    curve = pd.DataFrame({"task": "t", "model": "net", "labelled": n, "value": 1 - 3 * n**-0.5})
    row = evaluate.labels_needed(curve, target=0.9).iloc[0]
    assert row["labels needed"] == pytest.approx(900, abs=1) and row["how"] == "extrapolated"
    few = evaluate.labels_needed(curve, target=0.4).iloc[0]
    assert np.isnan(few["labels needed"]) and "fewer than 50" in few["how"]
    far = evaluate.labels_needed(curve, target=0.99).iloc[0]
    assert np.isnan(far["labels needed"]) and "ten times" in far["how"]


def test_two_points_are_no_curve():
    """Two numbers of labels give no fit, and the table says so."""
    curve = pd.DataFrame({"task": "t", "model": "net", "labelled": [10, 20], "value": [0.5, 0.6]})
    assert "three" in evaluate.labels_needed(curve).iloc[0]["how"]


def test_learning_curves_are_means_over_folds_and_seeds_beside_their_score():
    """A panel for each value holds both losses and the balanced accuracy with its interval, of each other parameter."""
    grid = product(("slides", "none"), ("0.3", "1.0"), (1, 2), (1, 2), (1, 2))
    history = pd.DataFrame(grid, columns=["augmentation", "labels", "seed", "fold", "epoch"])
    history["model"] = "net"
    history["loss"], history["validation_loss"] = history["fold"] + history["seed"], 1.0 * history["epoch"]
    history["validation_accuracy"], history["task"] = 0.5, "t"
    curves = evaluate.learning(history, "augmentation")
    assert curves.columns.tolist() == ["model", "augmentation", "labels", "epoch", "loss", "validation_loss"]
    assert len(curves) == 8 and (curves["loss"] == 3).all()
    assert (curves["validation_loss"] == curves["epoch"]).all()
    two = measured()[lambda rows: rows["labels"] != "0.1"].replace({"labels": {"0.25": "0.3"}})
    scores = pd.concat([two.assign(augmentation=name) for name in ("slides", "none")])
    table = evaluate.sweep(scores, "augmentation")
    picture = figures.learning(curves, table, "augmentation")
    panels = picture.plot().axes
    assert [panel.get_title() for panel in panels] == ["slides", "none"]
    value = table.iloc[0]["value"]
    assert panels[0].texts[0].get_text() == f"labels 0.3: {value:.2f} ({value - 0.1:.2f}–{value + 0.1:.2f})"
    assert len(panels[0].lines) == 4
    with pytest.raises(InputError, match="not swept"):
        evaluate.learning(history, "imbalance")
    alone = evaluate.learning(history[history["augmentation"] == "slides"], "labels")
    by_labels = evaluate.sweep(scores[scores["augmentation"] == "slides"], "labels")
    (first, second) = figures.learning(alone, by_labels, "labels").plot().axes
    assert [text.get_text() for text in first.texts] == [f"{value:.2f} ({value - 0.1:.2f}–{value + 0.1:.2f})"]
    assert len(second.texts) == 1


def test_a_run_without_a_sweep_compares_nothing():
    """Every table is empty, and the one that is written has the columns of the measures."""
    single = measured()[lambda rows: rows["labels"] == "1.0"]
    assert evaluate.axes(single) == [] and evaluate.rarest(single).empty
    assert evaluate.labels_needed(evaluate.with_labels(single, pd.DataFrame())).empty
    assert evaluate.comparison({}, single).columns.tolist() == single.columns.tolist()


def test_scores_stand_beside_the_number_of_labelled_particles():
    """The mean over folds and seeds, rounded."""
    shares, counts = ["0.1", "0.1", "0.25", "1.0"], [9, 12, 25, 100]
    costs = pd.DataFrame({"model": "net", "labels": shares, "labelled": counts})
    found = evaluate.with_labels(measured(), costs)
    assert found["labelled"].tolist() == [10, 25, 100] and found["value"].is_monotonic_increasing


def test_tables_of_several_axes_are_written_below_each_other():
    """With the axis in a column."""
    table = evaluate.sweep(measured(), "labels")
    joined = evaluate.comparison({"labels": table, "again": table}, measured())
    assert joined["axis"].tolist() == ["labels"] * 3 + ["again"] * 3
