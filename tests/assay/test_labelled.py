"""Shares from labels of a few particles in each micrograph."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.shares import binary, codes, drawn_counts, few_of, powered
from temlib import assay
from temlib.files import InputError
from tests.assay.tables import particles_of


@pytest.fixture
def rng():
    """A generator of random numbers."""
    return np.random.default_rng(0)


def some_of(particles, rng, number=5):
    """Return some particles of each micrograph, drawn at random."""
    return particles.iloc[rng.permutation(len(particles))].groupby("micrograph").head(number)


def test_shares_are_right_though_the_rates_are_unknown(rng):
    """Of 400 samples that a poor classifier calls, 30 % of the class a: no bias, and the intervals hold the truth."""
    found = []
    for counts in drawn_counts(rng, (400, 20), [0.3, 0.7], binary(0.6, 0.95)):
        unit, *labels = codes(few_of(rng, counts))
        calls = counts.sum(axis=1)
        value, low, high, _ = powered(calls, calls.sum(axis=1), unit, *(np.eye(2)[label] for label in labels))
        found.append((value[0], low[0] <= 0.3 <= high[0], calls[:, 0].sum() / calls.sum()))
    value, inside, counted = np.mean(found, axis=0)
    assert abs(value - 0.3) < 0.01 < abs(counted - 0.3)
    assert inside >= 0.92


def test_calls_make_labels_worth_more(rng):
    """Where the calls are good, the interval is narrower than without; where they say nothing, it is not wider."""
    particles = particles_of(drawn_counts(rng, (30,), [0.5, 0.5], binary(0.98, 0.98), 0.02))
    few = some_of(particles, rng).index

    def width(predicted):
        called = particles.assign(predicted=predicted)
        table = assay.labelled_shares(assay.calls(called), called.loc[few]).table
        return (table["high"] - table["low"]).iloc[0]

    alone = width("b")
    assert width(particles["predicted"]) < 0.7 * alone
    assert width(rng.choice(["a", "b"], len(particles))) < 1.1 * alone


def test_all_labelled_are_the_shares_themselves(rng):
    """With a label for each particle nothing is left to the calls."""
    particles = particles_of(drawn_counts(rng, (10,), [0.3, 0.7], binary(0.7, 0.8)))
    table = assay.labelled_shares(assay.calls(particles), particles).table
    assert table["solved"].to_numpy() == pytest.approx(
        particles["truth"].value_counts(normalize=True)[["a", "b"]]
    )


def test_uncertain_has_a_share_of_its_own(rng):
    """A label that is never called is a class too."""
    particles = particles_of(drawn_counts(rng, (10,), [0.3, 0.7], binary(0.7, 0.8)))
    particles.loc[particles.index % 4 == 0, "truth"] = "uncertain"
    table = assay.labelled_shares(assay.calls(particles), particles).table.set_index("class")
    assert table.loc["uncertain", "share"] == pytest.approx(0.25, abs=0.01)
    assert table["share"].sum() == pytest.approx(1)


def test_particles_without_a_label_are_not_labels(rng):
    """A whole table may be given, in which a few particles have a truth."""
    particles = particles_of(drawn_counts(rng, (10,), [0.3, 0.7], binary(0.7, 0.8)))
    few, calls = some_of(particles, rng), assay.calls(particles)
    whole = particles.assign(truth=few["truth"].reindex(particles.index))
    pd.testing.assert_frame_equal(
        assay.labelled_shares(calls, whole).table, assay.labelled_shares(calls, few).table
    )


def test_a_particle_of_several_models_is_one_label(rng):
    """Its calls are averaged; it is not counted once per model."""
    particles = particles_of(drawn_counts(rng, (10,), [0.3, 0.7], binary(0.7, 0.8)))
    several = [pd.concat([t.assign(fold=k) for k in (1, 2)]) for t in (particles, some_of(particles, rng))]
    calls, few = assay.calls(several[0]), several[1]
    assert assay.labelled_shares(calls, few).table["labels"].iloc[0] == len(few) / 2


def test_a_micrograph_without_labels_is_named(rng):
    """Labels of other micrographs say nothing of it; nor can labels be of a micrograph that is not in the sample."""
    particles = particles_of(drawn_counts(rng, (6,), [0.3, 0.7], binary(0.7, 0.8)))
    calls = assay.calls(particles, micrographs=["empty"])
    with pytest.raises(InputError, match="'new4' has no labelled particle"):
        assay.labelled_shares(calls, particles[particles["micrograph"] != "new4"])
    with pytest.raises(InputError, match="labels lack the column 'particle'"):
        assay.labelled_shares(calls, particles.drop(columns="particle"))
    with pytest.raises(InputError, match="the micrograph 'other', which the calls lack"):
        assay.labelled_shares(calls, particles.replace({"micrograph": {"new2": "other"}}))
