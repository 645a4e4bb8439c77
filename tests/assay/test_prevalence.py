"""Shares of a sample, corrected for the classifier's errors."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks import shares as simulated
from benchmarks.shares import binary, drawn_counts
from temlib import assay
from temlib.files import InputError
from tests.assay.tables import calls_of, particles_of, rates_of

RATES = binary(0.8, 0.9)


@pytest.fixture
def rng():
    """A generator of random numbers."""
    return np.random.default_rng(0)


def row(table, name="a"):
    """Return the row of a class."""
    return table.set_index("class").loc[name]


def test_two_classes_are_rogan_and_gladen(rng):
    """The share is (q + TNR - 1) / (TPR + TNR - 1)."""
    held, new = (
        drawn_counts(rng, (8,), [0.5, 0.5], RATES),
        drawn_counts(rng, (9,), [0.3, 0.7], RATES).sum(axis=1),
    )
    found = row(assay.Correction(rates_of(held)).shares(calls_of(new)).table)
    total = held.sum(axis=0)
    tpr, tnr = total[0, 0] / total[0].sum(), total[1, 1] / total[1].sum()
    q = new[:, 0].sum() / new.sum()
    assert found["solved"] == pytest.approx((q + tnr - 1) / (tpr + tnr - 1))
    assert found["counted"] == pytest.approx(q)
    assert (found["n"], found["micrographs"]) == (new.sum(), 9)


def test_the_interval_is_fiellers(rng):
    """With many micrographs the ends are the roots of Fieller's quadratic, with variances by micrograph."""
    held, new = (
        drawn_counts(rng, (60,), [0.5, 0.5], RATES),
        drawn_counts(rng, (50,), [0.5, 0.5], RATES).sum(axis=1),
    )
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
    notes = (
        assay.Correction(rates_of(held)).shares(calls_of(rng.poisson(np.tile(q, (7, 1))).astype(float))).notes
    )
    assert len(notes) == 1 and "refused where the rates let expect 10.0%" in notes[0]


def test_uncertain_particles_have_a_share_of_their_own(rng):
    """A class that is set aside in training is told by its refused particles."""
    rates = np.array([[85, 10, 5], [10, 85, 5], [20, 20, 60]], float)
    table = rates_of(np.tile(rates[:2], (6, 1, 1)))
    unsure = pd.DataFrame(np.tile(rates[2], (6, 1)), columns=["n_a", "n_b", "refused"])
    table = pd.concat(
        [table, unsure.assign(fold=1, truth="uncertain", micrograph=[f"held{i}" for i in range(6)])]
    )
    new = calls_of(np.tile(np.array([0.5, 0.2, 0.3]) @ rates, (7, 1)))
    found = assay.Correction(table).shares(new).table
    assert found["share"].to_numpy() == pytest.approx([0.5, 0.2, 0.3])


def test_clipped_shares_are_said():
    """Fewer calls than errors alone would make: the share is 0, its interval begins there and is no point."""
    held = np.tile(np.array([[80, 20], [20, 80]], float), (6, 1, 1))
    shares = assay.Correction(rates_of(held)).shares(calls_of(np.tile([10.0, 90.0], (6, 1))))
    found = row(shares.table)
    assert found["clipped"] and found["solved"] < 0 and found["share"] == found["low"] == 0 < found["high"]
    assert "it was brought to 0.0%" in shares.notes[0]


def test_shares_and_variance_are_those_of_other_programs():
    """QuaPy 0.2.3 and delicatessen 4.3 gave these numbers (`python -m benchmarks.shares --only oracles`)."""
    three = assay.Correction(rates_of(np.array(simulated.HELD_3), "abc"))
    found = three.shares(calls_of(np.array(simulated.NEW_3), "abc")).table
    assert found["solved"].to_numpy() == pytest.approx([0.60009536, 0.23744203, 0.16246261], abs=1e-7)
    again = assay.expectation_maximisation(np.array(simulated.PROBABILITIES), simulated.PRIOR)
    assert again == pytest.approx([0.45898501, 0.20315852, 0.33785647], abs=1e-6)
    held, new = np.array(simulated.HELD_2, float)[None], np.array(simulated.NEW_2, float)[None, :, None]
    solved = simulated.Solved(simulated.Measured(held), simulated.Measured(new))
    assert solved.values[0] == pytest.approx(0.563105490)
    # Five micrographs on each side: the unbiased variance is 5 / 4 of the sandwich.
    assert solved.errors_at(solved.values[:, None])[0][0, 0] * 4 / 5 == pytest.approx(0.151945314, rel=1e-6)


@pytest.mark.parametrize("micrographs, lowest", [(6, 0.91), (20, 0.93), (40, 0.93)])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_intervals_cover_where_particles_of_a_micrograph_are_alike(rng, micrographs, lowest, share):
    """Of 1,000 simulated samples at an ICC of 0.1; three standard errors of that count are allowed."""
    held = simulated.held_out(rng, 1000, micrographs, [0.4, 0.6], RATES, 0.1)
    new = simulated.sample(rng, len(held), micrographs, [share, 1 - share], RATES, 0.1)
    solved = simulated.Solved(simulated.Measured(held), simulated.Measured(new))
    inside = simulated.accepted(solved, [share, 1 - share])[:, 0].mean()
    assert lowest - 0.02 <= inside <= (1 if micrographs == 6 else 0.99)
    if micrographs > 6:
        assert abs(solved.values[:, 0].mean() - share) < 0.015


def test_intervals_of_three_classes_cover(rng):
    """Each of three classes, one of them rare."""
    shares, rates = [0.6, 0.35, 0.05], simulated.symmetric(0.8)
    held = simulated.held_out(rng, 500, 20, [0.4, 0.3, 0.3], rates, 0.1)
    solved = simulated.Solved(
        simulated.Measured(held), simulated.Measured(simulated.sample(rng, len(held), 20, shares, rates, 0.1))
    )
    inside = simulated.accepted(solved, shares).mean(axis=0)
    assert (inside >= 0.91).all()
    low, high = solved.interval()
    assert np.mean((low <= shares) & (shares <= high), axis=0) == pytest.approx(inside, abs=0.01)
    assert (low <= solved.nearest).all() and (solved.nearest <= high).all() and (low < high).all()


@pytest.mark.parametrize("micrographs", [6, 20])
def test_equal_samples_seldom_differ(rng, micrographs):
    """Of 1,000 pairs of samples of the same share at most 6 % differ at the 5 % level, and three standard errors."""
    held = simulated.held_out(rng, 1000, micrographs, [0.4, 0.6], RATES, 0.1)
    pair = [simulated.sample(rng, len(held), micrographs, [0.3, 0.7], RATES, 0.1) for _ in range(2)]
    solved = simulated.Solved(simulated.Measured(held), *map(simulated.Measured, pair))
    assert 1 - simulated.accepted(solved, [0, 0])[:, 0].mean() <= 0.08


def test_difference_and_equivalence_are_decided_apart(rng):
    """Large equal samples are equivalent, samples that differ by far more than the margin differ, small ones are undecided."""
    correction = assay.Correction(rates_of(drawn_counts(rng, (60,), [0.4, 0.6], binary(0.95, 0.95), 0.02)))
    found = []
    for micrographs, other in ((300, 0.3), (300, 0.6), (4, 0.32)):
        counts = [
            drawn_counts(rng, (micrographs,), [s, 1 - s], binary(0.95, 0.95), 0.02).sum(axis=1)
            for s in (0.3, other)
        ]
        found.append(row(correction.difference(*map(calls_of, counts), margin=0.1)))
    table = pd.DataFrame(found)
    assert table["equivalent"].tolist() == [True, False, False]
    assert (table["p_value"] <= 0.05).tolist() == [False, True, False]
    assert (~table["low"].le(0) | ~table["high"].ge(0)).tolist() == [False, True, False]
    assert table["difference"].iloc[1] == pytest.approx(-0.3, abs=0.03)


def test_errors_that_two_samples_share_cancel(rng):
    """A difference of two equal samples is surer than either share, by what the held-out particles leave unsure."""
    correction = assay.Correction(rates_of(drawn_counts(rng, (5,), [0.5, 0.5], RATES)))
    calls = calls_of(drawn_counts(rng, (200,), [0.5, 0.5], RATES).sum(axis=1))
    alone, both = row(correction.shares(calls).table), row(correction.difference(calls, calls))
    assert both["difference"] == 0
    assert both["high"] - both["low"] < (alone["high"] - alone["low"]) / 2


def test_expectation_maximisation_finds_the_shares_and_says_where_it_disagrees(rng):
    """Calibrated probabilities agree with the calls; those of another calibration do not, and a sentence says so."""
    held = drawn_counts(rng, (40,), [0.5, 0.5], RATES, 0.02)
    particles = particles_of(drawn_counts(rng, (60,), [0.2, 0.8], RATES, 0.02))
    correction, calls = assay.Correction(rates_of(held)), assay.calls(particles)
    # What a call is worth at the held-out shares, by Bayes' rule.
    pooled = held.sum(axis=0)
    of_call = pooled / pooled.sum(axis=0)
    p = of_call[:, particles["predicted"].eq("b").astype(int)].T
    shares = correction.shares(calls, probabilities=pd.DataFrame(p, columns=["p_a", "p_b"]))
    assert row(shares.table)["by_probability"] == pytest.approx(row(shares.table)["solved"], abs=1e-4)
    assert shares.notes == []
    unsure = correction.shares(calls, probabilities=pd.DataFrame(0.5 + (p - 0.5) / 3, columns=["p_a", "p_b"]))
    assert any("more than the shares has changed" in note for note in unsure.notes)


def test_held_out_particles_alone_are_counted():
    """Rows of other roles are not; empty calls and those marked are refused."""
    table = pd.DataFrame(
        {
            "micrograph": ["1", "1", "1", "2", "2"],
            "fold": [1, 1, 1, 2, 2],
            "role": ["test", "test", "validation", "test", "unsure"],
            "truth": ["a", "a", "a", "b", "uncertain"],
            "predicted": ["a", "", "a", "b", "a"],
            "refused": [False, False, False, True, False],
        }
    )
    rates = assay.confusion(table).set_index(["fold", "micrograph", "truth"])
    assert rates.loc[("1", "1", "a")].to_dict() == {"n_a": 1, "n_b": 0, "refused": 1}
    assert rates.loc[("2", "2", "b")].to_dict() == {"n_a": 0, "n_b": 0, "refused": 1}
    assert len(rates) == 2
    assert assay.confusion(table, unsure=True)["truth"].tolist() == ["a", "b", "uncertain"]


def test_weights_give_shares_of_volume():
    """One large particle holds as much as eight of half its diameter; the counts sum to the effective number."""
    diameter = np.array([2.0] + 8 * [1.0])
    table = pd.DataFrame({"micrograph": "m", "predicted": ["a"] + 8 * ["b"], "volume": diameter**3})
    found = assay.calls(table, weight="volume").iloc[0]
    assert found["n_a"] == pytest.approx(found["n_b"])
    assert found["n_a"] + found["n_b"] == pytest.approx(16**2 / (64 + 8))
    with pytest.raises(InputError, match="'volume' has no positive number in row 8"):
        assay.calls(table.assign(volume=[*diameter[:-1], np.nan]), weight="volume")


def test_empty_micrographs_are_in_the_sample(rng):
    """They change no share, but are counted."""
    particles = particles_of(drawn_counts(rng, (5,), [0.5, 0.5], RATES))
    correction = assay.Correction(rates_of(drawn_counts(rng, (5,), [0.5, 0.5], RATES)))
    full, more = (correction.shares(assay.calls(particles, micrographs=m)).table for m in ((), ["empty"]))
    assert more["micrographs"].tolist() == [6, 6]
    pd.testing.assert_frame_equal(more.drop(columns="micrographs"), full.drop(columns="micrographs"))


def test_one_micrograph_has_no_interval(rng):
    """Neither of the sample nor of the held-out particles."""
    many, one = (drawn_counts(rng, (n,), [0.5, 0.5], RATES) for n in (5, 1))
    for held, new in ((many, one), (one, many)):
        correction = assay.Correction(rates_of(held))
        found = correction.shares(calls_of(new.sum(axis=1))).table
        assert found[["low", "high"]].isna().all(axis=None) and found["share"].notna().all()
        assert set(found["method"]) == {"no interval: one micrograph"}
        both = correction.difference(*2 * [calls_of(new.sum(axis=1))], margin=0.1)
        assert (
            both[["low", "high", "p_value", "p_equivalence"]].isna().all(axis=None)
            and not both["equivalent"].any()
        )


def with_sessions(table, number):
    """Return rates or calls whose micrographs are dealt out to sessions."""
    micrographs = list(dict.fromkeys(table["micrograph"]))
    return table.assign(session=[f"s{micrographs.index(m) % number}" for m in table["micrograph"]])


def test_a_new_session_adds_the_variance_between_sessions(rng):
    """Equal micrographs of equal sessions: the variance is what an analysis of variance of the sessions' rates gives."""
    tpr, tnr = rng.uniform(0.5, 0.9, (2, 6, 4))  # sessions, micrographs
    held = 100 * np.array([[tpr, 1 - tpr], [1 - tnr, tnr]]).transpose(2, 3, 0, 1).reshape(24, 2, 2)
    session = np.repeat(np.arange(6), 4)
    errors = simulated.Measured(held[None], session)
    calls = simulated.Measured(np.tile([45.0, 55.0], (2, 1))[None, :, None] * 1e9)
    share = 0.3
    for weight in (1.0, 0.25):
        solved = simulated.Solved(errors, calls, together=np.array([[weight]]))
        seen = share * tpr + (1 - share) * (1 - tnr)
        within = seen.var(axis=1, ddof=1).mean() / 4
        mean = seen.mean(axis=1).var(ddof=1)
        assert mean > within
        expected = (mean / 6 + weight * (mean - within)) / (tpr.mean() + tnr.mean() - 1) ** 2
        at = np.array([[share], [1 - share]])
        solved.nearest = at[:, 0]
        variance, df = solved.errors_at(at)
        assert variance[0, 0] == pytest.approx(expected, rel=1e-6)
        assert df[0, 0] == pytest.approx(5, rel=1e-3)


def test_fewer_than_three_sessions_change_nothing(rng):
    """Their spread is unknown, and a sentence says so; without the column it says that too."""
    held = rates_of(drawn_counts(rng, (12,), [0.5, 0.5], RATES))
    new = calls_of(drawn_counts(rng, (9,), [0.3, 0.7], RATES).sum(axis=1))
    plain, two, three = (assay.Correction(t) for t in (held, with_sessions(held, 2), with_sessions(held, 3)))
    pd.testing.assert_frame_equal(plain.shares(new).table, two.shares(new).table)
    assert "No column 'session'" in plain.known() and "learnt in 2 sessions" in two.known()
    assert "between the 3 sessions" in three.known()
    assert "micrograph and session" in three.shares(new).table["method"].iloc[0]


def test_several_sessions_of_a_sample_average(rng):
    """A sample of four sessions is surer than one of a single one, and samples of the same sessions than of different ones."""
    held = simulated.in_sessions(rng, 1, np.arange(24) % 6, [0.5, 0.5], RATES, 0.1, 0.02)[0]
    correction = assay.Correction(with_sessions(rates_of(held), 6))
    new = calls_of(drawn_counts(rng, (40,), [0.3, 0.7], RATES).sum(axis=1))
    one, four = (row(correction.shares(with_sessions(new, n)).table) for n in (1, 4))
    assert one["share"] == four["share"] and one["high"] - one["low"] > 1.2 * (four["high"] - four["low"])
    named, other = with_sessions(new, 1), with_sessions(new, 1).assign(session="another")
    same, apart, unnamed = (row(correction.difference(named, t)) for t in (named, other, new))
    assert same["high"] - same["low"] < 0.8 * (apart["high"] - apart["low"])
    assert apart.to_dict() == unnamed.to_dict()


def test_intervals_cover_where_error_rates_vary_between_sessions(rng):
    """Of 600 samples of one new session, learnt from six: by session mostly, by micrograph too seldom."""
    session, truth = np.arange(40) * 6 // 40, [0.3, 0.7]
    held = simulated.in_sessions(rng, 700, session, [0.4, 0.6], RATES, 0.05, 0.05)
    held = held[simulated.usable(held[:, None])][:600, None]
    new = simulated.in_sessions(rng, len(held), np.zeros(16, int), truth, RATES, 0.05, 0.05).sum(axis=-2)
    inside = [
        simulated.accepted(simulated.Solved(errors, simulated.Measured(new[:, None, :, None])), truth)[
            :, 0
        ].mean()
        for errors in (simulated.Measured(held, session), simulated.Measured(held))
    ]
    assert inside[0] >= 0.88 and inside[1] < 0.8


def test_rates_that_do_not_carry_over_are_found(rng):
    """A class called half as surely as before has a small p value, an unchanged one seldom."""
    held = drawn_counts(rng, (40,), [0.5, 0.5], binary(0.9, 0.9), 0.02)
    correction = assay.Correction(rates_of(held))
    for tpr, speaks in ((0.9, False), (0.5, True)):
        table = correction.carried_over(
            particles_of(drawn_counts(rng, (20,), [0.5, 0.5], binary(tpr, 0.9), 0.02))
        )
        assert table[["truth", "called"]].to_numpy().tolist() == [["a", "b"], ["b", "a"]]
        assert (table["p_value"].iloc[0] <= 0.05) == speaks


BAD_RATES = {
    "lack the column 'truth'": lambda t: t.drop(columns="truth"),
    "lack the column 'n_<class>'": lambda t: t.drop(columns=["n_a", "n_b"]),
    "Row 3 of the rates has a count": lambda t: t.assign(n_a=t["n_a"].where(t.index != 3)),
    r"No fold has held-out particles of every class \(a, b\)": lambda t: t[t["truth"] == "a"],
    r"do not tell the classes apart \(a, b\)": lambda t: t.assign(n_a=10, n_b=10),
    r"do not tell the classes apart \(a, b, c, d\)": lambda t: pd.concat(
        [t, t.assign(truth="c"), t.assign(truth="d")]
    ),
}


@pytest.mark.parametrize("message", BAD_RATES)
def test_bad_rates_are_refused(rng, message):
    """By name, reason and cure."""
    table = rates_of(drawn_counts(rng, (5,), [0.5, 0.5], RATES))
    with pytest.raises(InputError, match=message):
        assay.Correction(BAD_RATES[message](table))


BAD_CALLS = {
    "lack the column 'micrograph'": lambda t: t.drop(columns="micrograph"),
    "the class 'c', which the rates lack": lambda t: t.assign(n_c=1),
    "lack fold 2 of the rates": lambda t: t[t["fold"] == 1],
    "different numbers of particles": lambda t: t[t.index != 2],
    "has no particle": lambda t: t.assign(n_a=0, n_b=0),
    "missing or negative": lambda t: t.assign(n_a=-1),
}


@pytest.mark.parametrize("message", BAD_CALLS)
def test_bad_calls_are_refused(rng, message):
    """By name, reason and cure."""
    correction = assay.Correction(rates_of(drawn_counts(rng, (6,), [0.5, 0.5], RATES), folds=2))
    table = calls_of(drawn_counts(rng, (5,), [0.5, 0.5], RATES).sum(axis=1), folds=2)
    with pytest.raises(InputError, match=message):
        correction.shares(BAD_CALLS[message](table))


def test_a_call_of_no_class_is_refused():
    """A class among the calls that has no probability is a typing error, not a refused particle."""
    table = pd.DataFrame({"micrograph": ["m"], "predicted": ["c"], "p_a": [0.5], "p_b": [0.5]})
    with pytest.raises(InputError, match=r"'c' is called, but is no class of the classifier \(a, b\)"):
        assay.calls(table)


@pytest.mark.parametrize("margin", [0, 1, -0.1])
def test_a_margin_is_a_share(rng, margin):
    """Anything else is refused."""
    correction = assay.Correction(rates_of(drawn_counts(rng, (6,), [0.5, 0.5], RATES)))
    calls = calls_of(drawn_counts(rng, (5,), [0.5, 0.5], RATES).sum(axis=1))
    with pytest.raises(InputError, match="is not between 0 and 1"):
        correction.difference(calls, calls, margin=margin)
