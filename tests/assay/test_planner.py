"""How many particles a share takes."""

import numpy as np
import pytest

from benchmarks.shares import binary, drawn_counts
from temlib import assay
from temlib.files import InputError
from tests.assay.tables import calls_of, rates_of

EXPECTED = {"a": 0.3, "b": 0.7}


@pytest.fixture
def correction():
    """Rates of a good classifier, of 60 micrographs."""
    rng = np.random.default_rng(0)
    return assay.Correction(rates_of(drawn_counts(rng, (60,), [0.4, 0.6], binary(0.9, 0.9), 0.1)))


def test_a_planned_sample_has_the_width_that_was_wanted(correction):
    """Samples of the planned number of micrographs of 25 particles: the mean half width is the wanted one to 10 %."""
    rng = np.random.default_rng(1)
    pilot = calls_of(drawn_counts(rng, (400,), [0.3, 0.7], binary(0.9, 0.9), 0.1).sum(axis=1))
    icc = assay.intraclass_correlation(correction, pilot)["a"]
    number = assay.plan(correction, EXPECTED, "a", icc=icc, half_widths=[0.08], particles=[25])[
        "micrographs"
    ].iloc[0]
    half = []
    for _ in range(40):
        calls = calls_of(drawn_counts(rng, (int(number),), [0.3, 0.7], binary(0.9, 0.9), 0.1).sum(axis=1))
        table = correction.shares(calls).table
        half.append((table["high"] - table["low"]).iloc[0] / 2)
    assert np.mean(half) == pytest.approx(0.08, rel=0.1)


def test_more_particles_of_a_micrograph_soon_save_nothing(correction):
    """Where they are alike, endless many a micrograph take hardly fewer micrographs; where they are not, far fewer."""
    alike, independent = (
        assay.plan(correction, EXPECTED, "a", icc=icc, half_widths=[0.08], particles=[10, 200]).set_index(
            "particles"
        )
        for icc in (0.3, 0.0)
    )
    assert alike.loc[np.inf, "micrographs"] > 0.9 * alike.loc[200, "micrographs"]
    assert independent.loc[200, "micrographs"] < 0.2 * independent.loc[10, "micrographs"]


def test_no_sample_is_surer_than_the_rates(correction):
    """Half widths below what held-out particles leave are out of reach, and the row says what helps."""
    table = assay.plan(correction, EXPECTED, "a", icc=0.1, half_widths=[0.001, 0.1])
    assert (table["half_width"] <= table["floor"]).eq(table["micrographs"].isna()).all()
    assert table["reason"].str.contains("label more of them").eq(table["micrographs"].isna()).all()


def test_cost_decides_between_micrographs_and_particles(correction):
    """Where a micrograph costs much, many particles of each are cheapest; where a particle does, few."""
    best = []
    for cost in ((100, 0.01), (0.1, 1)):
        table = assay.plan(
            correction,
            EXPECTED,
            "a",
            icc=0.1,
            half_widths=[0.1],
            cost_micrograph=cost[0],
            cost_particle=cost[1],
        )
        best.append(table.loc[table["cheapest"], "particles"].item())
    assert best[0] > best[1]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"name": "c"}, "A plan for 'c' needs a share of each of a, b"),
        ({"shares": {"a": 0.3}}, "of sum 1; received a: 0.3"),
        ({"icc": 2}, "received ICC 2"),
        ({"half_widths": [5]}, "half widths 5"),
    ],
)
def test_a_plan_without_sense_is_refused(correction, change, message):
    """By what was received."""
    with pytest.raises(InputError, match=message):
        assay.plan(**{"correction": correction, "shares": EXPECTED, "name": "a", "icc": 0.1, **change})
