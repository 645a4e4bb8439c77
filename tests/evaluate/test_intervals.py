"""Intervals and paired tests: against libraries, literal formulas, and small simulations."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from temlib.evaluate import intervals, measures
from temlib.evaluate.measures import call_values


def _shares(hits, sizes, independent=False):
    hits, sizes = (np.array(counts, float)[:, None] for counts in (hits, sizes))
    found = intervals.of_shares(hits, sizes, independent=independent)
    return [found[name].to_numpy() for name in ("value", "low", "high", "method")]


def test_wilson_equals_statsmodels():
    """All counts of up to 30 particles agree."""
    for n in range(1, 31):
        ours = intervals.wilson(np.arange(n + 1), n)
        theirs = proportion_confint(np.arange(n + 1), n, method="wilson")
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_wilson_of_nothing_is_undefined():
    """No particle, no interval."""
    assert np.isnan(intervals.wilson(0, 0)).all()


def test_linearised_influence_of_a_share_is_its_known_derivative():
    """For k of n the influence of a micrograph with k_i of n_i is (k_i - p n_i) / n."""
    counts = np.array([[[3.0, 1], [0, 0]], [[2, 2], [0, 0]]])

    def share(c):
        return c[..., 0, :1] / c[..., 0, :].sum(-1, keepdims=True)

    found = intervals.linearised(share, counts, np.ones(2))
    np.testing.assert_allclose(found[:, 0], [(3 - 4 * 5 / 8) / 8, (2 - 4 * 5 / 8) / 8])


def test_linearised_influences_sum_to_zero():
    """Every measure of calls is homogeneous, so Euler's theorem holds."""
    counts = np.random.default_rng(0).integers(1, 9, (12, 3, 3)).astype(float)
    found = intervals.linearised(call_values, counts, np.ones(12))
    np.testing.assert_allclose(found.sum(axis=0), 0, atol=1e-14)


def test_linearised_influences_are_finite_differences():
    """The complex step agrees with a small real step for all measures."""
    counts = np.random.default_rng(1).integers(1, 9, (4, 3, 3)).astype(float)
    total, found = counts.sum(axis=0), intervals.linearised(call_values, counts, np.ones(4))
    step = (call_values(total + 1e-5 * counts[2]) - call_values(total - 1e-5 * counts[2])) / 2e-5
    np.testing.assert_allclose(found[2], step, atol=1e-9)


def test_effective_units_of_equal_sizes_is_their_number():
    """Equal micrographs count fully, a single full one among empty ones counts one."""
    sizes = np.array([[5.0, 9], [5, 0], [5, 0]])
    np.testing.assert_allclose(intervals.effective_units(sizes, np.ones(3)), [3, 1])


def _values(influences, value, lower=0.0, upper=1.0, effective=1e6):
    """Return low and high of one value whose interval nothing at the end of the range limits."""
    n = len(influences)
    ten, column = np.full(n, 10.0), np.array(influences, float)
    row = intervals.Estimate("m", "all", ten, ten, effective, "", value, column, lower, upper)
    found = intervals.of_values(intervals.Estimates.of([row], np.ones(n), False))
    return found[["low", "high"]].to_numpy()[0]


def test_an_interval_is_wilsons_of_the_particles_that_the_variance_is_worth():
    """Both ends are where the value is t standard errors away, with the variance that a share has there."""
    influences = np.array([0.02, -0.02, 0.03, -0.03])
    worth = 0.8 * 0.2 / np.sum(influences**2)
    t = stats.t.isf(0.025, 3)
    for end in _values(influences, 0.8):
        assert abs(0.8 - end) == pytest.approx(t * np.sqrt(end * (1 - end) / worth))
    np.testing.assert_allclose(_values(2 * influences, 0.6, -1, 1), 2 * _values(influences, 0.8) - 1)


def test_log_interval_serves_values_without_an_upper_end():
    """The log loss has only 0 as its end."""
    half = stats.t.isf(0.025, 3) * np.sqrt(0.0026) / 0.5
    found = _values([0.02, -0.02, 0.03, -0.03], 0.5, 0, np.inf)
    np.testing.assert_allclose(found, 0.5 * np.exp([-half, half]))


# Micrographs, and particles in each.
GRID = list(product((2, 3, 5, 8, 20, 40), (1, 2, 5, 12, 30)))


def _with_errors(micrographs, each, errors):
    """Return value, low, high and method where errors are spread evenly."""
    wrong = np.bincount(np.arange(errors) % micrographs, minlength=micrographs)
    return [column[0] for column in _shares(each - wrong, [each] * micrographs)]


@pytest.mark.parametrize(("micrographs", "each"), GRID)
def test_more_right_particles_never_lower_an_end(micrographs, each):
    """From none to all of N, errors spread evenly; and a score without an error is the surest, or as sure as with one."""
    n = micrographs * each
    found = np.array([_with_errors(micrographs, each, k)[:3] for k in range(0, n + 1, max(1, n // 40))])
    assert (np.diff(found[::-1], axis=0) >= -1e-9).all()
    none, one = (_with_errors(micrographs, each, k) for k in (0, 1))
    assert none[1] >= one[1] and none[2] - none[1] <= one[2] - one[1]


@pytest.mark.parametrize("classes", [(10, 2), (15, 15), (1, 1)])
def test_a_balanced_accuracy_without_an_error_is_the_surest(classes):
    """Errors in the rarer class, one after the other; F1, MCC and kappa alike."""
    found = []
    for errors in range(6):
        counts = np.zeros((20, 2, 2))
        counts[:, 0, 0], counts[:, 1, 1] = classes
        counts[:errors, 1] += [1, -1]
        estimates = measures.call_estimates(counts, np.ones(20), False, ["a", "b"])
        rows = intervals.of_values(estimates).set_index(["measure", "class"])
        found.append(
            rows["low"].loc[[("balanced accuracy", "all"), ("MCC", "all"), ("kappa", "all"), ("F1", "macro")]]
        )
    assert (np.diff(found, axis=0) <= 1e-9).all()


def test_few_errors_are_at_most_as_sure_as_none_and_the_method_says_so():
    """The assumed correlation stands in words; many errors need no assumption."""
    assert all("intra-class correlation of 0.3 assumed" in _with_errors(40, 15, k)[3] for k in (0, 1, 3))
    assert "few errors" in _with_errors(40, 15, 1)[3]
    assert "assumed" not in _with_errors(40, 15, 100)[3]


def test_clustering_widens_the_interval():
    """The same 60 of 80, once spread evenly and once concentrated, have other intervals."""
    even = _shares([6] * 5 + [6] * 5, [8] * 10)
    lumped = _shares([8] * 5 + [4] * 5, [8] * 10)
    assert even[0] == lumped[0]
    assert lumped[2] - lumped[1] > 0.2 and "Wilson" in even[3][0]


@pytest.mark.parametrize("hits", [0, 10])
def test_all_alike_never_gives_an_interval_of_no_width(hits):
    """At 0 % and 100 % of 200 particles in 20 micrographs the assumed design effect widens Wilson's interval."""
    value, low, high, method = _shares([hits] * 20, [10] * 20)
    plain = intervals.wilson(20 * hits, 200)
    assert low <= value <= high and high - low > plain[1] - plain[0]
    assert f"intra-class correlation of {intervals.ASSUMED_ICC} assumed" in method[0]
    expected = intervals.wilson(20 * hits / 3.7, 200 / 3.7)  # 1 + (10 - 1) .3
    np.testing.assert_allclose([low[0], high[0]], expected)


def test_independent_particles_get_wilsons_interval():
    """One particle a unit: the plain interval."""
    _, low, high, method = _shares([1] * 30 + [0] * 10, [1] * 40, independent=True)
    np.testing.assert_allclose([low[0], high[0]], intervals.wilson(30, 40))
    assert "Wilson" in method[0]


def test_single_micrograph_has_a_value_and_no_interval():
    """Its particles say nothing of the variation between micrographs."""
    value, low, high, method = _shares([7], [10])
    assert value[0] == 0.7 and np.isnan([low[0], high[0]]).all()
    assert method[0] == "no interval: one micrograph"


def test_share_of_nothing_is_undefined():
    """0 of 0 is no number."""
    value, low, high, method = _shares([0, 0], [0, 0])
    assert np.isnan([value[0], low[0], high[0]]).all() and method[0] == "undefined: no particle"


def _drawn_scores(seed, n=120):
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    return np.round(rng.normal(size=n) + positive, 1), positive


OF_ORDER = [
    (intervals.auc_influences, metrics.roc_auc_score),
    (intervals.average_precision_influences, metrics.average_precision_score),
]


@pytest.mark.parametrize(("ours", "theirs"), OF_ORDER)
@pytest.mark.parametrize("seed", range(20))
def test_auc_and_average_precision_equal_scikit_learn(ours, theirs, seed):
    """Ties included."""
    scores, positive = _drawn_scores(seed)
    assert ours(scores, positive)[0] == pytest.approx(theirs(positive, scores), abs=1e-12)


@pytest.mark.parametrize(("ours", "theirs"), OF_ORDER)
def test_influence_is_the_derivative_by_a_particles_weight(ours, theirs):
    """scikit-learn with one particle's weight raised by 1e-6 changes by 1e-6 times its influence."""
    scores, positive = _drawn_scores(0)
    value, influences = ours(scores, positive)
    for k in range(0, len(scores), 7):
        weight = np.ones(len(scores))
        weight[k] += 1e-6
        change = (theirs(positive, scores, sample_weight=weight) - value) / 1e-6
        assert influences[k] == pytest.approx(change, abs=1e-6)


def test_auc_variance_is_delongs():
    """Squared influences with each kind's n / (n - 1) sum to DeLong's variance, computed from all pairs."""
    scores, positive = _drawn_scores(3)
    pairs = np.sign(scores[positive][:, None] - scores[~positive]) / 2 + 0.5
    m, n = pairs.shape
    delong = np.var(pairs.mean(axis=1), ddof=1) / m + np.var(pairs.mean(axis=0), ddof=1) / n
    influences = intervals.auc_influences(scores, positive)[1]
    found = (influences * intervals.small_sample_factor(np.where(positive, m, n))) ** 2
    assert found.sum() == pytest.approx(delong, rel=1e-12)


def test_exact_mcnemar_equals_statsmodels():
    """All discordant counts up to 12."""
    for a, b in product(range(13), repeat=2):
        theirs = mcnemar([[0, a], [b, 0]], exact=True).pvalue if a + b else 1.0
        assert intervals.mcnemar_exact(a, b) == pytest.approx(theirs, abs=1e-12)


def test_holm_equals_statsmodels():
    """Ties and values that end above 1 included."""
    p = np.array([0.01, 0.04, 0.04, 0.5, 0.9])
    np.testing.assert_allclose(intervals.holm(p), multipletests(p, method="holm")[1])


def test_holm_leaves_undefined_tests_out():
    """A NaN is no test: it stays NaN and does not raise the others."""
    np.testing.assert_allclose(intervals.holm([0.02, np.nan, 0.03]), [0.04, np.nan, 0.04])


def _accuracy(counts):
    right = np.trace(counts, axis1=-2, axis2=-1)
    return (right / counts.sum((-2, -1)))[..., None]


def _counts(right, wrong):
    """Return (micrographs, 2, 2) counts with so many right and wrong calls."""
    return np.array([[[r, w], [0, 0]] for r, w in zip(right, wrong)], float)


def test_exchange_of_three_micrographs_by_hand():
    """Differences 3, 2, 1: of 8 sign patterns two reach the sum of 6; differences 3, 2, -1 are reached by four."""
    one = _counts([3, 2, 1], [0, 0, 0])
    p = intervals.exchange_test(_accuracy, one, _counts([0, 0, 0], [3, 2, 1]), np.ones(3))
    assert p[0] == 2 / 8
    one, two = _counts([3, 2, 0], [0, 0, 1]), _counts([0, 0, 1], [3, 2, 0])
    assert intervals.exchange_test(_accuracy, one, two, np.ones(3))[0] == 4 / 8


def test_exchange_of_equal_classifiers_finds_nothing():
    """No micrograph differs: p is 1."""
    counts = _counts([3, 2, 1], [1, 1, 1])
    assert intervals.exchange_test(_accuracy, counts, counts, np.ones(3))[0] == 1


def test_random_exchange_agrees_with_all_exchanges():
    """With fewer flips allowed than patterns, p differs by simulation error only."""
    rng = np.random.default_rng(0)
    one, two = (rng.integers(0, 9, (12, 2, 2)).astype(float) for _ in range(2))
    every = intervals.exchange_test(call_values, one, two, np.ones(12), flips=4096)
    drawn = intervals.exchange_test(call_values, one, two, np.ones(12), flips=4000)
    np.testing.assert_allclose(drawn, every, atol=0.04)
    assert (drawn != every).any()


def test_exchange_of_single_particles_is_mcnemar():
    """14 particles right for one alone and 5 for the other, exchanged one by one, give the exact test's p value."""
    one, two = _counts([1, 0, 1], [0, 1, 0]), _counts([0, 1, 1], [1, 0, 0])
    p = intervals.exchange_test(_accuracy, one, two, np.array([14.0, 5, 40]), flips=20_000, seed=1)
    assert p[0] == pytest.approx(intervals.mcnemar_exact(14, 5), abs=0.01)


def test_exchange_is_the_same_by_seed():
    """The same seed gives the same p values."""
    rng = np.random.default_rng(0)
    one, two = (rng.integers(0, 9, (40, 2, 2)).astype(float) for _ in range(2))
    runs = [intervals.exchange_test(call_values, one, two, np.ones(40), flips=500, seed=3) for _ in range(2)]
    np.testing.assert_array_equal(*runs)


def _estimates(influences, value=0.0, lower=-1.0, upper=1.0, calls=False):
    """Return one estimate on units of ten particles."""
    n = len(influences)
    ten, column = np.full(n, 10.0), np.array(influences, float)
    row = intervals.Estimate(
        "share", "all", ten, ten, 10.0 * n / 3.7, "", value, column, lower, upper, calls=calls
    )
    return intervals.Estimates.of([row], np.ones(n), False)


def _of_differences(estimates):
    """Return low, high and method of differences."""
    found = intervals.of_differences(estimates)
    return [found[name].to_numpy() for name in ("low", "high", "method")]


def test_difference_interval_is_t_times_standard_error():
    """Plain t on the scale of the difference."""
    low, high, method = _of_differences(_estimates([0.01, -0.01, 0.02, -0.02], 0.05))
    half = stats.t.isf(0.025, 3) * np.sqrt(0.001)
    np.testing.assert_allclose([low[0], high[0]], [0.05 - half, 0.05 + half])
    assert "3.0 df" in method[0]


def test_no_disagreement_still_leaves_room():
    """Two classifiers that agree everywhere are equal within what Wilson's limit for 0 of n allows."""
    estimates = _estimates([0.0] * 10)
    low, high, method = _of_differences(estimates)
    room = intervals.wilson(0, 100 / 3.7)[1]
    np.testing.assert_allclose([low[0], high[0]], [-room, room])
    assert "no disagreement seen" in method[0] and "intra-class correlation of 0.3 assumed" in method[0]


def test_the_first_disagreements_change_an_interval_little_and_many_leave_it_as_seen():
    """Of calls, the assumed variance weighs as one micrograph beside those that differ."""
    none = _of_differences(_estimates([0.0] * 40, calls=True))[1][0]
    half = []
    for differing in (2, 4, 10, 40):
        influences = np.where(np.arange(40) < differing, 0.002, 0) * (-1.0) ** np.arange(40)
        low, high, method = _of_differences(_estimates(influences, calls=True))
        plain = stats.t.isf(0.025, 39) * np.sqrt((influences**2).sum())
        half.append(high[0])
        assert plain < high[0] < none and high[0] == -low[0]
        assert ("few disagree" in method[0]) == (differing < 9)
    assert half[3] / plain < 1.25 < half[0] / (plain / np.sqrt(20))


def test_no_disagreement_without_a_range_has_no_interval():
    """A log loss has no largest difference."""
    low, high, method = _of_differences(_estimates([0.0] * 10, lower=-np.inf, upper=np.inf))
    assert np.isnan([low[0], high[0]]).all() and method[0].startswith("no interval")


def test_differences_stay_within_their_range():
    """A wide interval ends at -1 and 1."""
    low, high, _ = _of_differences(_estimates([0.9, -0.9]))
    assert (low[0], high[0]) == (-1, 1)


def test_estimate_of_one_unit_has_no_interval():
    """A single micrograph cannot vary."""
    estimates = replace(_estimates([0.0]), value=np.array([0.3]))
    assert intervals.of_values(estimates)[["low", "high"]].isna().all(axis=None)


def test_nominal_95_percent_holds_for_clustered_shares():
    """40 micrographs of about 15, ICC .1, true share .9: 1,000 intervals hold it in 93-97 %, to 3 standard errors."""
    rng = np.random.default_rng(0)
    sizes = rng.poisson(15, (40, 1000)).astype(float)
    share = rng.beta(0.9 * 9, 0.1 * 9, sizes.shape)
    hits = rng.binomial(sizes.astype(int), share).astype(float)
    found = intervals.of_shares(hits, sizes, independent=False)
    inside = np.mean((found["low"] <= 0.9) & (found["high"] >= 0.9))
    assert 0.93 - 0.02 <= inside <= 0.97 + 0.02
    naive = intervals.wilson(hits.sum(axis=0), sizes.sum(axis=0))
    assert np.mean((naive[0] <= 0.9) & (naive[1] >= 0.9)) < 0.85
