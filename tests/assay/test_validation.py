"""Validation of an assay by known mixtures: statistics by hand, and a classifier whose errors are known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from temlib import assay, data
from temlib.assay import validation
from temlib.files import InputError


@pytest.fixture
def rng():
    """A generator of random numbers."""
    return np.random.default_rng(0)


class Known:
    """A bundle of two fold models that are right with the probability `right`, the same for both classes."""

    def __init__(self, right, believed):
        self.right, self.states = right, [1, 2]
        self.card = {"task": "kind", "classes": ["a", "b"]}
        wrong = 1000 - (good := round(1000 * believed))
        rows = [
            (fold, f"held{i}", truth, *counts, 0)
            for fold in (1, 2)
            for i in range(fold, 9, 2)
            for truth, counts in (("a", (good, wrong)), ("b", (wrong, good)))
        ]
        names = ["fold", "micrograph", "truth", "called_a", "called_b", "refused"]
        self.confusion, self.folder = pd.DataFrame(rows, columns=names), "bundle"

    def predict(self, particles, *, alone=False):
        """Return calls that are wrong for the last particles of each class in each micrograph."""
        table = particles.table[["particle", "micrograph"]]
        truth = particles.table["kind"]
        groups = truth.groupby([particles.table["micrograph"], truth])
        right = groups.cumcount() < (self.right * groups.transform("size")).round()
        predicted = np.where(right, truth, np.where(truth == "a", "b", "a"))
        table = table.assign(predicted=predicted, p_a=0.5, p_b=0.5, refused=False, reason="")
        return pd.concat([table.assign(fold=fold) for fold in (0, 1, 2)])

    def met(self, particles):
        """None of them was learnt from."""
        return np.zeros(len(particles), bool)


def particles_of(table):
    """Return a table as particles whose images do not matter."""
    table = table.assign(particle=[f"p{i}" for i in range(len(table))])
    return data.Particles(table, np.zeros((len(table), 2, 2)), "table", (), "fill", float("nan"), False)


@pytest.fixture
def particles():
    """Twelve micrographs with 20 particles of each of two classes, in four sessions, with a defocus of their own."""
    micrographs = np.repeat([f"m{i:02d}" for i in range(12)], 40)
    place = np.repeat(np.arange(12), 40)
    table = pd.DataFrame({"micrograph": micrographs, "kind": np.tile(["a", "b"], 240)})
    return particles_of(table.assign(session=[f"s{i // 3}" for i in place], truth_defocus_um=1 + place / 10))


def results(found):
    """Return the results by their measure."""
    return found.results.set_index("measure")


def test_a_perfect_classifier_passes(particles):
    """All particles are called rightly: no bias, a slope of 1, and the lowest mixed share is told from 0."""
    accept = {"bias": "<= 2 %", "slope - 1": "<= 5 %", "specificity": ">= 80 %", "lowest share": "<= 10 %"}
    found = assay.validate(Known(1, 1), particles, accept=accept)
    own = results(found)
    assert own.loc[["slope - 1", "intercept", "bias", "repeatability"], "value"].to_numpy() == pytest.approx(
        0, abs=1e-9
    )
    assert own.loc["lowest share", "value"] == 0.1
    assert found.response["level"].tolist() == list(validation.LEVELS)
    assert found.response["truth"].to_numpy() == pytest.approx(validation.LEVELS, abs=0.01)
    assert found.response["share"].to_numpy() == pytest.approx(found.response["truth"].to_numpy(), abs=1e-9)
    assert set(found.robustness["condition"]) == {"truth_defocus_um"} and len(found.robustness) == 2
    assert found.criteria["verdict"].tolist() == ["met"] * 5


def test_a_classifier_that_errs_more_than_it_is_believed_to_has_a_slope_below_one(particles):
    """Right in 80 % where 90 % is believed: what is solved moves by .6 / .8, and a demand on the slope is not met."""
    found = assay.validate(
        Known(0.8, 0.9), particles, levels=(0, 0.5, 1), accept={"slope - 1": "<= 10 %", "bias": "<= 5 %"}
    )
    assert results(found).loc["slope - 1", "value"] == pytest.approx(-0.25)
    assert results(found).loc["intercept", "value"] == pytest.approx(0.125)
    assert found.criteria["verdict"].tolist() == ["not met", "met"]
    right = found.specificity[found.specificity["truth"] == found.specificity["called"]]
    assert right["rate"].to_numpy() == pytest.approx(0.8) and right["held_out"].to_numpy() == pytest.approx(
        0.9
    )
    assert right["n"].tolist() == [240, 240]


def test_mixtures_have_their_share_in_each_micrograph(rng):
    """As many particles as can be: 8 of 10 a and 2 of 2 b make a fifth of b; a micrograph without b gives none."""
    labels, micrographs = np.array(10 * ["a"] + 2 * ["b"] + 4 * ["a"]), np.repeat(["m", "n"], [12, 4])
    rows = assay.mixture(labels, micrographs, "b", 0.2, rng)
    assert sorted(labels[rows]) == 8 * ["a"] + 2 * ["b"] and set(micrographs[rows]) == {"m"}
    assert len(assay.mixture(labels, micrographs, "b", 0.0, rng)) == 14


def test_intervals_are_over_units(rng):
    """The mean of equal units has the t interval of their means, however many rows each has."""
    means, unit = rng.normal(size=7), np.repeat(np.arange(7), 5)
    value, low, high = validation.clustered([np.ones(35)], np.repeat(means, 5), np.ones(35), unit)[:, 0]
    expected = stats.t.interval(0.95, 6, means.mean(), means.std(ddof=1) / np.sqrt(7))
    assert (value, low, high) == pytest.approx((means.mean(), *expected))


def test_precision_is_an_analysis_of_variance():
    """Three sessions of two micrographs: within them a variance of 2, between their means 16, less a half of 2."""
    rows = dict(
        (row[0], row[1:])
        for row in validation.precision(np.array([0.0, 2, 4, 6, 8, 10]), np.repeat(list("abc"), 2))
    )
    assert rows["repeatability"][0] == pytest.approx(np.sqrt(2))
    assert rows["intermediate precision"][0] == pytest.approx(np.sqrt(17))
    low, high = rows["repeatability"][1:]
    assert (6 / low**2, 6 / high**2) == pytest.approx(stats.chi2.ppf([0.975, 0.025], 3))
    assert [row[0] for row in validation.precision(np.arange(4.0), np.repeat("", 4))] == ["repeatability"]


def test_the_lowest_share_is_one_above_which_all_are_told():
    """Ten per cent is told by chance alone where 25 % is not."""
    table = pd.DataFrame({"class": "a", "level": [0, 0.1, 0.25, 0.5], "low": [0, 0.01, 0, 0.2]})
    assert validation.lowest(table)["value"].tolist() == [0.5]
    assert validation.lowest(table.assign(low=0.0))["value"].isna().all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"accept": {"bais": "<= 5 %"}}, "nearest is 'bias'"),
        ({"accept": {"bias": "small"}}, "is no demand"),
        ({"levels": (0.5,)}, "two or more shares"),
    ],
)
def test_what_cannot_be_asked_is_refused(particles, change, words):
    """By name and cure."""
    with pytest.raises(InputError, match=words):
        assay.validate(Known(1, 1), particles, **change)


def test_particles_without_a_label_are_refused(particles):
    """So is a single micrograph."""
    table = particles.table
    with pytest.raises(InputError, match="needs a label of a class"):
        assay.validate(Known(1, 1), particles_of(table.assign(kind=table["kind"].where(table.index > 0))))
    with pytest.raises(InputError, match="one micrograph"):
        assay.validate(Known(1, 1), particles_of(table.assign(micrograph="m")))
