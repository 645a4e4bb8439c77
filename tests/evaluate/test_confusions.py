"""Measures of a confusion matrix: equal to the field's libraries, and undefined where they are."""

import warnings

import numpy as np
import pandas as pd
import pytest
from imblearn.metrics import specificity_score
from sklearn import metrics
from statsmodels.stats.inter_rater import cohens_kappa

from temlib import evaluate
from temlib.evaluate import measures
from temlib.files import InputError


def _random_matrices(number, seed=0):
    """Yield confusion matrices of 2-5 classes, about half of them with absent classes or classes never called."""
    rng = np.random.default_rng(seed)
    for k in range(number):
        size = rng.integers(2, 6)
        counts = rng.poisson(rng.choice([0.3, 2, 40]), (size, size))
        if k % 4 == 1:
            counts[rng.integers(size)] = 0
        if k % 4 == 2:
            counts[:, rng.integers(size)] = 0
        if k % 8 == 3:
            counts = np.diag(np.diag(counts))
        counts[rng.integers(size), rng.integers(size)] += 1
        yield counts


def _of_libraries(counts):
    """Return {(measure, class): value} of scikit-learn, imbalanced-learn and statsmodels."""
    size = len(counts)
    labels = np.arange(size)
    truth, calls, weight = np.repeat(labels, size), np.tile(labels, size), counts.ravel()
    found = {}
    for average in (None, "macro", "micro", "weighted"):
        options = {"labels": labels, "average": average, "sample_weight": weight}
        rates = metrics.precision_recall_fscore_support(truth, calls, zero_division=np.nan, **options)[:3]
        # imbalanced-learn counts true negatives without their weights, so it gets one row a particle.
        rows = np.repeat(truth, weight), np.repeat(calls, weight)
        rates = [*rates, specificity_score(*rows, labels=labels, average=average)]
        for name, value in zip(("PPV", "TPR", "F1", "TNR"), rates):
            found |= (
                {(name, c): v for c, v in enumerate(value)} if average is None else {(name, average): value}
            )
    found["accuracy", "all"] = metrics.accuracy_score(truth, calls, sample_weight=weight)
    found["balanced accuracy", "all"] = metrics.balanced_accuracy_score(truth, calls, sample_weight=weight)
    found["MCC", "all"] = metrics.matthews_corrcoef(truth, calls, sample_weight=weight)
    found["kappa", "all"] = cohens_kappa(counts, return_results=False)
    return found


@pytest.fixture(scope="module")
def matrices():
    """1,000 random matrices, degenerate ones among them."""
    return list(_random_matrices(1000))


@pytest.mark.parametrize("number", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_every_measure_equals_the_libraries_where_it_is_defined(matrices, number):
    """TPR, TNR, PPV, F1 per class and averaged, accuracy, balanced accuracy, MCC, kappa agree to 1e-12."""
    compared = 0
    for counts in matrices[:number]:
        labels = measures.call_labels(range(len(counts)))
        ours = dict(zip(labels, measures.call_values(counts.astype(float))))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = _of_libraries(counts)
        for label, value in theirs.items():
            if not np.isnan(ours[label]):
                assert ours[label] == pytest.approx(value, abs=1e-12), (label, counts)
                compared += 1
    assert compared > 20 * number


def test_npv_is_the_ppv_of_the_other_class():
    """In two classes the NPV of one is the PPV of the other."""
    labels = measures.call_labels("ab")
    values = dict(zip(labels, measures.call_values(np.array([[5.0, 3], [2, 9]]))))
    assert values["NPV", "a"] == values["PPV", "b"] == 9 / 12


def test_harmonic_mean_of_tpr_and_tnr_is_that():
    """The quantity that the slides call F1 is 2 TPR TNR / (TPR + TNR)."""
    labels = measures.call_labels("ab")
    values = dict(zip(labels, measures.call_values(np.array([[8.0, 2], [5, 5]]))))
    assert values["harmonic mean of TPR and TNR", "a"] == pytest.approx(2 * 0.8 * 0.5 / 1.3)


def test_undefined_is_nan_exactly_where_a_denominator_is_0(matrices):
    """TPR, PPV, F1, NPV, TNR of a class are NaN if and only if their denominator is 0."""
    for counts in matrices[:200]:
        values = dict(
            zip(measures.call_labels(range(len(counts))), measures.call_values(counts.astype(float)))
        )
        for c in range(len(counts)):
            truly, called, n = counts[c].sum(), counts[:, c].sum(), counts.sum()
            zero = {"TPR": truly, "PPV": called, "F1": truly + called, "TNR": n - truly, "NPV": n - called}
            assert {m for m in zero if np.isnan(values[m, c])} == {m for m, d in zero.items() if d == 0}


def test_every_undefined_measure_has_a_reason_and_no_other(matrices):
    """The words are empty exactly where there is a value."""
    for counts in matrices[:200]:
        reasons = measures.undefined(counts.astype(float), [f"c{k}" for k in range(len(counts))])
        undefined = np.isnan(measures.call_values(counts.astype(float)))
        assert [r.startswith("undefined: ") and len(r) > 15 for r in reasons] == list(undefined)


def test_reason_names_the_class():
    """A class that is never called is named."""
    reasons = measures.undefined(np.array([[5.0, 0], [3, 0]]), ["empty", "full"])
    place = measures.call_labels(["empty", "full"]).index(("PPV", "full"))
    assert reasons[place] == "undefined: no particle is called full"


def test_values_do_not_change_when_all_counts_double(matrices):
    """Measures are homogeneous of degree 0, as their linearisation requires."""
    for counts in matrices[:50]:
        once, twice = measures.call_values(counts.astype(float)), measures.call_values(2.0 * counts)
        np.testing.assert_allclose(once, twice, rtol=1e-12)


def test_worked_puts_the_numbers_into_the_formula():
    """The formula with numbers, evaluated, is the value."""
    matrix = pd.DataFrame([[41, 9], [4, 46]], index=["full", "empty"], columns=["full", "empty"])
    shown = evaluate.worked(matrix, "full").set_index("measure")
    assert shown.loc["TPR", "numbers"] == "41 / (41 + 9)"
    for row in shown.itertuples():
        assert eval(row.numbers.replace("×", "*")) == pytest.approx(row.value)


def test_worked_refuses_an_unknown_class():
    """The message names the class and the choices."""
    with pytest.raises(InputError, match="'round' is none of the classes full, empty"):
        evaluate.worked(pd.DataFrame(np.eye(2), ["full", "empty"], ["full", "empty"]), "round")
