"""Shares of a sample, corrected for the classifier's errors."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from temlib import assay
from temlib.files import InputError
from tests.assay.conftest import calls_of, drawn_counts, particles_of, rates_of

RATES = [[0.8, 0.2], [0.1, 0.9]]


def row(table, name="a"):
    """Return the row of a class."""
    return table.set_index("class").loc[name]


def test_two_classes_are_rogan_and_gladen(rng):
    """The share is (q + TNR - 1) / (TPR + TNR - 1)."""
    held, new = drawn_counts(rng, (8,), [0.5, 0.5], RATES), drawn_counts(rng, (9,), [0.3, 0.7], RATES).sum(axis=1)
    found = row(assay.Correction(rates_of(held)).shares(calls_of(new)).table)
    total = held.sum(axis=0)
    tpr, tnr = total[0, 0] / total[0].sum(), total[1, 1] / total[1].sum()
    q = new[:, 0].sum() / new.sum()
    assert found["solved"] == pytest.approx((q + tnr - 1) / (tpr + tnr - 1))
    assert found["counted"] == pytest.approx(q)
    assert (found["n"], found["micrographs"]) == (new.sum(), 9)


def test_the_interval_is_fiellers(rng):
    """With many micrographs the ends are the roots of Fieller's quadratic, with variances by micrograph."""
    held, new = drawn_counts(rng, (60,), [0.5, 0.5], RATES), drawn_counts(rng, (50,), [0.5, 0.5], RATES).sum(axis=1)
    found = row(assay.Correction(rates_of(held)).shares(calls_of(new)).table)

    def ratio(hits, sizes):
        n = len(sizes)
        share = hits.sum() / sizes.sum()
        return share, (hits - share * sizes) / sizes.sum() * np.sqrt(n / (n - 1))

    q, dq = ratio(new[:, 0], new.sum(axis=1))
    t, dt = ratio(held[:, 0, 0], held[:, 0].sum(axis=1))
    f, df = ratio(held[:, 1, 0], held[:, 1].sum(axis=1))
    top, bottom = q - f, t - f
    v11, v12, v22 = dq @ dq + df @ df, -df @ (dt - df), (dt - df) @ (dt - df)
    z2 = stats.t.isf(0.025, float(found["method"].split("with ")[1].split()[0])) ** 2
    ends = np.roots([bottom**2 - z2 * v22, -2 * (top * bottom - z2 * v12), top**2 - z2 * v11])
    assert np.sort(ends) == pytest.approx([found["low"], found["high"]], abs=0.004)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_intervals_cover_where_particles_of_a_micrograph_are_alike(rng, share):
    """Of 200 simulated samples the truth lies within the interval in 91 to 99 %, and the estimates have no bias."""
    found = []
    for _ in range(200):
        held, new = (drawn_counts(rng, (20,), [s, 1 - s], RATES) for s in (0.4, share))
        found.append(row(assay.Correction(rates_of(held)).shares(calls_of(new.sum(axis=1))).table))
    found = pd.DataFrame(found)
    assert 0.91 <= found["low"].le(share).mul(found["high"] >= share).mean() <= 0.99
    assert abs(found["solved"].mean() - share) < 0.025


def test_fold_models_are_met_by_their_own_rates():
    """Two models, one much worse: each is corrected with its own errors, and calls of both give the truth."""
    good, poor = np.array([[90, 10], [10, 90]]), np.array([[60, 40], [40, 60]])
    held = rates_of(np.array([good, poor, good, poor], float), folds=2)
    q = [np.array([0.2, 0.8]) @ m / 100 for m in (good, poor)]
    new = pd.concat(
        [calls_of(np.tile(100 * shares, (3, 1))).assign(fold=k + 1) for k, shares in enumerate(q)]
    )
    assert row(assay.Correction(held).shares(new).table)["share"] == pytest.approx(0.2)


def test_a_fold_without_a_class_is_left_out_and_named(rng):
    """Its rates are unknown, so its calls are not used."""
    held = drawn_counts(rng, (6,), [0.5, 0.5], RATES)
    held[::2, 0] = 0
    correction = assay.Correction(rates_of(held, folds=2))
    assert correction.notes == ["Fold 1 is left out: a class has no held-out particle in it."]
    one = assay.Correction(rates_of(held[1::2]).assign(fold=2))
    new = calls_of(drawn_counts(rng, (5,), [0.3, 0.7], RATES).sum(axis=1), folds=2)
    pd.testing.assert_frame_equal(correction.shares(new).table, one.shares(new).table)


def test_refused_particles_are_a_kind_of_call():
    """A classifier that refuses half of one class biases the plain counts, not the shares."""
    rates = np.array([[45, 5, 50], [8, 90, 2]], float)
    held, q = np.tile(rates, (6, 1, 1)), np.array([0.4, 0.6]) @ rates
    shares = assay.Correction(rates_of(held)).shares(calls_of(np.tile(q, (7, 1))))
    found = row(shares.table)
    assert found["share"] == pytest.approx(0.4)
    assert found["refused"] == pytest.approx(0.4 * 0.5 + 0.6 * 0.02)
    assert shares.notes == []


def test_more_refused_than_the_classes_explain_is_said(rng):
    """Windows that hold neither class are refused; the sentence says how many would be expected."""
    rates = np.array([[80, 10, 10], [10, 80, 10]], float)
    held, q = np.tile(rates, (6, 1, 1)), np.array([0.4, 0.6]) @ rates + [0, 0, 60]
    notes = assay.Correction(rates_of(held)).shares(calls_of(rng.poisson(np.tile(q, (7, 1))).astype(float))).notes
    assert len(notes) == 1 and "refused where the rates let expect 10.0%" in notes[0]


def test_uncertain_particles_have_a_share_of_their_own(rng):
    """A class that is set aside in training is told by its refused particles."""
    rates = np.array([[85, 10, 5], [10, 85, 5], [20, 20, 60]], float)
    table = rates_of(np.tile(rates[:2], (6, 1, 1)))
    unsure = pd.DataFrame(np.tile(rates[2], (6, 1)), columns=["n_a", "n_b", "refused"])
    table = pd.concat([table, unsure.assign(fold=1, truth="uncertain", micrograph=[f"held{i}" for i in range(6)])])
    new = calls_of(np.tile(np.array([0.5, 0.2, 0.3]) @ rates, (7, 1)))
    found = assay.Correction(table).shares(new).table
    assert found["share"].to_numpy() == pytest.approx([0.5, 0.2, 0.3])


def test_clipped_shares_are_said():
    """Fewer calls than errors alone would make: the share is 0, its interval begins there and is no point."""
    held = np.tile(np.array([[80, 20], [20, 80]], float), (6, 1, 1))
    shares = assay.Correction(rates_of(held)).shares(calls_of(np.tile([10.0, 90.0], (6, 1))))
    found = row(shares.table)
    assert found["clipped"] and found["solved"] < 0 and found["share"] == found["low"] == 0 < found["high"]
    assert "no share can be" in shares.notes[0]
