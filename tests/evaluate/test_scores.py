"""Measures of probabilities: their variances against the jackknife, and why they can be undefined."""

import numpy as np
import pandas as pd
import pytest
from scipy import special
from sklearn.metrics import roc_curve

from temlib.evaluate import Predictions
from temlib.evaluate.held_out import by_model
from temlib.evaluate.scores import score_estimates
from tests.evaluate.conftest import drawn, table_of

CLASSES = ["a", "b", "c"]


def _held(particles=800, micrographs=40, **columns):
    """Return the particles of one model whose micrographs differ in quality."""
    rng = np.random.default_rng(0)
    truth, micrograph = rng.integers(0, 3, particles), rng.integers(0, micrographs, particles)
    quality = rng.normal(1.5, 0.5, micrographs)[micrograph]
    p = special.softmax(rng.normal(size=(particles, 3)) + quality[:, None] * np.eye(3)[truth], axis=1)
    table = table_of(truth, p, CLASSES, micrograph=micrograph)
    return by_model(table.assign(**columns), CLASSES)["m"]


@pytest.fixture(scope="module")
def held():
    """800 particles of 40 micrographs."""
    return _held()


def test_influences_are_those_of_leaving_a_micrograph_out(held):
    """The variance of every measure is that of the jackknife over micrographs, to 10 %."""
    estimates = score_estimates(held)
    left_out = [score_estimates(held.take(held.micrograph != k)).value for k in range(40)]
    jackknife = 39 * np.var(left_out, axis=0)
    np.testing.assert_allclose(estimates.variance, jackknife, rtol=0.1)


def test_influences_sum_to_zero(held):
    """Up to the factors for few micrographs, which are the same for all units here."""
    estimates = score_estimates(held)
    np.testing.assert_allclose(estimates.influence.sum(axis=0), 0, atol=1e-12)


def test_two_classes_halve_the_brier_score():
    """So it is the mean of (p - y)^2, as in scikit-learn."""
    table = table_of([0, 1], np.array([[0.8, 0.2], [0.6, 0.4]]), "ab")
    found = score_estimates(by_model(table, ["a", "b"])["m"])
    value = found.value[(found.measure == "Brier score") & (found.label == "all")]
    assert value == pytest.approx((0.04 + 0.36) / 2)


def test_only_defined_measures_have_no_reason(held):
    """For complete, missing, and badly summed probabilities."""
    for case in (held, _held(p_a=np.nan), _held(p_a=0.3), _held(truth="a")):
        estimates = score_estimates(case)
        assert [r == "" for r in estimates.reason] == list(~np.isnan(estimates.value))


def test_what_is_unusable_names_the_number_of_particles():
    """A reason for the order, and one for the probabilities."""
    table = [np.nan] * 3 + [0.2] * 797
    assert _held(p_a=table).unusable[0].startswith("undefined: 3 of 800 particles")
    reason = "undefined: the probabilities of 800 of 800 particles do not sum to 1"
    assert _held(p_a=9.0).unusable == ("", reason)


def test_roc_is_scikit_learns():
    """At every false positive rate of the grid, for fewer distinct scores than thresholds."""
    predictions, _ = drawn(["alpha"], particles=150)
    found = Predictions(predictions).curves(draws=10)
    part = found[(found["class"] == "full") & (found["curve"] == "ROC")]
    fpr, tpr, _ = roc_curve(predictions["truth"] == "full", predictions["p_full"], drop_intermediate=False)
    assert np.allclose(part["value"], np.interp(part["x"], fpr, tpr), atol=1e-9)


def test_precision_at_a_recall_is_counted():
    """Four particles: half of the positives are found at precision 1, all at 2 of 3."""
    p = np.array([0.9, 0.5, 0.4, 0.1])
    rows = table_of([0, 1, 0, 1], np.column_stack([p, 1 - p]), "pn", micrograph=list("wxyz"))
    found = Predictions(rows).curves(draws=5)
    part = found[(found["class"] == "p") & (found["curve"] == "precision–recall")].set_index("x")["value"]
    assert part[0.5] == 1 and part[0.52] == pytest.approx(2 / 3) and part[1.0] == pytest.approx(2 / 3)


def test_the_band_holds_the_curve_and_widens_with_clustering():
    """Doubling each particle within its micrograph adds no information: the band stays, while that of particles would shrink."""
    predictions, _ = drawn(["alpha"], particles=400, micrographs=40)
    twice = pd.concat([predictions, predictions.assign(particle=predictions["particle"] + "b")])
    one, two = (Predictions(rows).curves(seed=1) for rows in (predictions, twice))
    assert ((one["low"] <= one["value"]) & (one["value"] <= one["high"])).all()
    width = [(t["high"] - t["low"]).mean() for t in (one, two)]
    assert width[1] == pytest.approx(width[0], rel=0.1)


def test_what_cannot_be_drawn_is_left_out():
    """No probabilities, an absent class, one micrograph without a band."""
    predictions, _ = drawn(["alpha"])
    assert Predictions(predictions.drop(columns="p_full")).curves().empty
    lacking = Predictions(predictions[predictions["truth"] != "uncertain"])
    assert "uncertain" not in set(lacking.curves(draws=5)["class"])
    single = Predictions(predictions.assign(micrograph="m")).curves()
    assert single["low"].isna().all() and (single["method"] == "no band: one micrograph").all()
