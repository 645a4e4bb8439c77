"""Pictures of notebook 5, of planted tables."""

import numpy as np
import pandas as pd
import pytest

from temlib import figures
from tests.figures.conftest import check, sentence


def swept(axis, values, **others):
    """A measure of two models and tasks at each value; more models or parameters as given."""
    rows = pd.DataFrame([(t, m, v) for t in ("a", "b") for m in ("net", "svm_texture") for v in values])
    rows = rows.set_axis(["task", "model", axis], axis=1).assign(**others)
    k = rows.groupby(["task", "model"]).cumcount()
    rows = rows.assign(value=0.5 + k / 10, low=0.4 + k / 10, high=0.6 + k / 10)
    return rows.assign(n=60, micrographs=6, seeds=2, least=rows["value"], most=rows["value"])


def test_a_sweep_over_numbers_is_joined_on_a_logarithmic_axis():
    """A panel a task, a line a model; ticks at the values that were run, as far as they can be read."""
    table = swept("labels", [0.1, 0.25, 0.3, 1.0])
    picture = figures.sweep(table, "labels", "balanced accuracy", log=True)
    figure = check(picture, list(table), n=60, panels=2)
    assert [axis.get_title() for axis in figure.axes] == ["a", "b"] and figure.axes[0].get_xscale() == "log"
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["1", "0.3", "0.1"]
    bars = figure.axes[0].containers
    assert [line.lines[0].get_linestyle() for line in bars] == ["-", "-"]
    assert bars[0].lines[0].get_xdata()[0] * 1.02 == pytest.approx(bars[1].lines[0].get_xdata()[0])
    assert "Means over 2 seeds" in picture.caption and figure.axes[0].get_ylabel() == "balanced accuracy"


def test_a_sweep_over_words_stands_side_by_side():
    """Words are places, other parameters part of the line's name; a model has one colour in every panel."""
    table = swept("imbalance", ["none", "focal"], labels="0.3")
    table = table[(table["task"] == "b") | (table["model"] == "svm_texture")]
    figure = check(figures.sweep(table, "imbalance", "TPR"), list(table), n=60, panels=2)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["none", "focal"]
    colour = {}
    for axis in figure.axes:
        for bars in axis.containers:
            colour.setdefault(bars.get_label(), set()).add(bars.lines[0].get_color())
    assert set(colour) == {"svm_texture, 0.3", "net, 0.3"} and all(
        len(found) == 1 for found in colour.values()
    )


def test_without_a_sweep_there_are_sentences():
    """Nothing is swept, or labels are not."""
    assert "sweeps no parameter" in sentence(figures.sweep(swept("labels", [0.5]).head(0), "labels", "TPR"))
    assert "sweeps no parameter" in sentence(figures.sweep(None, "labels", "TPR"))
    assert "does not sweep labels" in sentence(figures.label_curve(None, None, target=0.9))


def test_a_fitted_law_is_drawn_on_to_twice_the_labels():
    """Dashed where there is a fit; nothing where there is none; a line at the target."""
    curve = swept("labels", [0.25, 0.5, 1.0]).assign(labelled=lambda rows: rows["labels"] * 400)
    needed = pd.DataFrame([(t, m, 2.0, 0.5) for t in "ab" for m in ("net", "svm_texture")])
    needed = needed.set_axis(["task", "model", "a", "b"], axis=1)
    needed.loc[0, ["a", "b"]] = np.nan
    picture = figures.label_curve(curve, needed, target=0.9)
    figure = check(picture, list(curve), n=60, panels=2)
    fits = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    last = fits[-1].get_xydata()[-1]
    assert last == pytest.approx([800, 1 - 2 / np.sqrt(800)]) and np.isnan(fits[0].get_ydata()).all()
    assert "a line at 0.9" in picture.alt and "Dashed: 1 − a·labels^(−b)" in picture.caption


@pytest.mark.parametrize("others", [{}, {"labels": "0.3"}])
def test_learning_curves_carry_the_score_that_they_led_to(others):
    """A panel a value; training solid, validation dashed; the score with its interval."""
    scores = swept("augmentation", ["slides", "none"], **others).query("task == 'a' and model == 'net'")
    curves = pd.DataFrame(
        [(v, e) for v in ("slides", "none") for e in (1, 2)], columns=["augmentation", "epoch"]
    )
    curves = curves.assign(model="net", loss=1.0, validation_loss=2.0, **others)
    curves = curves[["model", "augmentation", *others, "epoch", "loss", "validation_loss"]]
    figure = check(figures.learning(curves, scores, "augmentation"), list(curves), n=60, panels=2)
    words = "labels 0.3: " if others else ""
    assert [axis.texts[0].get_text() for axis in figure.axes] == [
        f"{words}0.50 (0.40–0.60)",
        f"{words}0.60 (0.50–0.70)",
    ]
    assert [line.get_linestyle() for line in figure.axes[0].lines] == ["-", "--"]
    assert figure.axes[0].get_ylim() == pytest.approx((0, 2 * 1.27))
