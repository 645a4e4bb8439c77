"""ROC and precision–recall curves."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_curve

from temlib import evaluate
from tests.evaluate.test_evaluate import drawn


def test_roc_is_scikit_learns():
    """At every false positive rate of the grid, for fewer distinct scores than thresholds."""
    predictions, _ = drawn(["alpha"], particles=150)
    found = evaluate.curves(predictions, draws=10)
    part = found[(found["class"] == "full") & (found["curve"] == "ROC")]
    fpr, tpr, _ = roc_curve(predictions["truth"] == "full", predictions["p_full"], drop_intermediate=False)
    assert np.allclose(part["value"], np.interp(part["x"], fpr, tpr), atol=1e-9)


def test_precision_at_a_recall_is_counted():
    """Four particles: half of the positives are found at precision 1, all at 2 of 3."""
    rows = pd.DataFrame(
        {"particle": list("abcd"), "micrograph": list("wxyz"), "model": "m", "truth": list("pnpn")}
    )
    rows = rows.assign(predicted="p", p_p=[0.9, 0.5, 0.4, 0.1], p_n=[0.1, 0.5, 0.6, 0.9])
    found = evaluate.curves(rows, draws=5)
    part = found[(found["class"] == "p") & (found["curve"] == "precision–recall")].set_index("x")["value"]
    assert part[0.5] == 1 and part[0.52] == pytest.approx(2 / 3) and part[1.0] == pytest.approx(2 / 3)


def test_the_band_holds_the_curve_and_widens_with_clustering():
    """Doubling each particle within its micrograph adds no information: the band stays, while that of particles would shrink."""
    predictions, _ = drawn(["alpha"], particles=400, micrographs=40)
    twice = pd.concat([predictions, predictions.assign(particle=predictions["particle"] + "b")])
    one, two = (evaluate.curves(rows, seed=1) for rows in (predictions, twice))
    assert ((one["low"] <= one["value"]) & (one["value"] <= one["high"])).all()
    width = [(t["high"] - t["low"]).mean() for t in (one, two)]
    assert width[1] == pytest.approx(width[0], rel=0.1)


def test_what_cannot_be_drawn_is_left_out():
    """No probabilities, an absent class, one micrograph without a band."""
    predictions, _ = drawn(["alpha"])
    assert evaluate.curves(predictions.drop(columns="p_full")).empty
    assert "uncertain" not in set(
        evaluate.curves(predictions[predictions["truth"] != "uncertain"], draws=5)["class"]
    )
    single = evaluate.curves(predictions.assign(micrograph="m"))
    assert single["low"].isna().all() and (single["method"] == "no band: one micrograph").all()
