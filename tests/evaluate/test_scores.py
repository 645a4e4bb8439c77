"""Measures of probabilities: their variances against the jackknife, and why they can be undefined."""

import numpy as np
import pandas as pd
import pytest
from scipy import special

from temlib.evaluate.predictions import by_model
from temlib.evaluate.scores import missing, score_estimates, score_labels

CLASSES = ["a", "b", "c"]


def _held(particles=800, micrographs=40, **columns):
    """Return the particles of one model whose micrographs differ in quality."""
    rng = np.random.default_rng(0)
    truth, micrograph = rng.integers(0, 3, particles), rng.integers(0, micrographs, particles)
    quality = rng.normal(1.5, 0.5, micrographs)[micrograph]
    p = special.softmax(rng.normal(size=(particles, 3)) + quality[:, None] * np.eye(3)[truth], axis=1)
    names = np.array(CLASSES)
    table = pd.DataFrame({"particle": np.arange(particles), "micrograph": micrograph, "model": "m"})
    table = table.assign(
        truth=names[truth], predicted=names[p.argmax(1)], p_a=p[:, 0], p_b=p[:, 1], p_c=p[:, 2]
    )
    return by_model(table.assign(**columns), CLASSES)["m"]


@pytest.fixture(scope="module")
def held():
    """800 particles of 40 micrographs."""
    return _held()


def test_influences_are_those_of_leaving_a_micrograph_out(held):
    """The variance of every measure is that of the jackknife over micrographs, to 10 %."""
    estimates, _ = score_estimates(held, CLASSES)
    left_out = [score_estimates(held.take(held.micrograph != k), CLASSES)[0].value for k in range(40)]
    jackknife = 39 * np.var(left_out, axis=0)
    np.testing.assert_allclose(estimates.variance, jackknife, rtol=0.1)


def test_influences_sum_to_zero(held):
    """Up to the factors for few micrographs, which are the same for all units here."""
    estimates, _ = score_estimates(held, CLASSES)
    np.testing.assert_allclose(estimates.influences.sum(axis=0), 0, atol=1e-12)


def test_two_classes_halve_the_brier_score():
    """So it is the mean of (p - y)^2, as in scikit-learn."""
    table = pd.DataFrame({"particle": [1, 2], "model": "m", "truth": ["a", "b"], "predicted": "a"})
    held = by_model(table.assign(p_a=[0.8, 0.6], p_b=[0.2, 0.4]), ["a", "b"])["m"]
    values = dict(zip(score_labels(["a", "b"]), score_estimates(held, ["a", "b"])[0].value))
    assert values["Brier score", "all"] == pytest.approx((0.04 + 0.36) / 2)


def test_only_defined_measures_have_no_reason(held):
    """For complete, missing, and badly summed probabilities."""
    for case in (held, _held(p_a=np.nan), _held(p_a=0.3), _held(truth="a")):
        estimates, reasons = score_estimates(case, CLASSES)
        assert [r == "" for r in reasons] == list(~np.isnan(estimates.value))


def test_missing_names_the_number_of_particles():
    """A reason for the order, and one for the probabilities."""
    table = [np.nan] * 3 + [0.2] * 797
    assert missing(_held(p_a=table))[0].startswith("undefined: 3 of 800 particles")
    assert missing(_held(p_a=9.0)) == (
        "",
        "undefined: the probabilities of 800 of 800 particles do not sum to 1",
    )
