"""Prediction sets, coverage and risk, and thresholds."""

import numpy as np
import pandas as pd
import pytest
from scipy import special

from temlib import evaluate
from temlib.files import InputError

NAMES = np.array(["a", "b", "c"])


def _predictions(particles=900, micrographs=60, seed=0, shares=(1 / 3, 1 / 3, 1 / 3)):
    """Return predictions of which the first half of the micrographs are validation rows."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, particles, p=shares)
    p = special.softmax(2 * (rng.normal(size=(particles, 3)) + 1.5 * np.eye(3)[truth]), axis=1)
    micrograph = rng.integers(0, micrographs, particles)
    table = pd.DataFrame(
        {"particle": np.arange(particles), "micrograph": micrograph, "model": "m", "fold": 0}
    )
    table = table.assign(truth=NAMES[truth], predicted=NAMES[p.argmax(axis=1)])
    table = table.assign(role=np.where(micrograph < micrographs // 2, "validation", "test"))
    return table.assign(**{f"p_{c}": p[:, k] for k, c in enumerate(NAMES)})


def _calibrated_on(own, particles=1):
    """Return validation rows of class a with the probabilities `own`, plenty of class b, and test rows."""
    rows = [("a", p, "validation") for p in own] + [("b", 0.2, "validation")] * 50
    rows += [("a", p, "test") for p in (0.04, 0.06, 0.5)]
    table = pd.DataFrame(rows, columns=["truth", "p_a", "role"])
    table = table.assign(particle=np.arange(len(rows)), model="m", p_b=1 - table["p_a"])
    return table.assign(predicted=np.where(table["p_a"] > 0.5, "a", "b"))


def test_sets_need_19_particles_of_each_class():
    """With 18 no set is claimed, and the class is named; with 19 there is one."""
    few = evaluate.conformal_sets(_calibrated_on(np.linspace(0.05, 0.95, 18)))
    assert few["set"].isna().all() and few["covered"].isna().all()
    assert set(few["method"]) == {"no set: 18 calibration particles of a"}
    assert evaluate.conformal_sets(_calibrated_on(np.linspace(0.05, 0.95, 19)))["set"].notna().all()


def test_sets_by_hand():
    """With 19 particles the least probable own class, .05, decides: .06 keeps class a in the set, .04 does not."""
    sets = evaluate.conformal_sets(_calibrated_on(np.linspace(0.05, 0.95, 19)))
    assert sets["set"].tolist() == ["b", "a, b", "a"]
    assert sets["size"].tolist() == [1, 2, 1] and sets["covered"].tolist() == [0, 1, 1]


def test_sets_at_90_percent_need_9_particles():
    """The number follows from the confidence."""
    table = _calibrated_on(np.linspace(0.05, 0.95, 9))
    assert evaluate.conformal_sets(table, confidence=0.9)["set"].notna().all()
    assert evaluate.conformal_sets(table[1:], confidence=0.9)["set"].isna().all()


def test_sets_are_of_test_particles_alone():
    """One row per test row, in their order."""
    table = _predictions()
    assert (
        evaluate.conformal_sets(table)["particle"].tolist()
        == table[table["role"] == "test"]["particle"].tolist()
    )


def test_sets_cover_each_class_as_promised():
    """500 simulations: the mean coverage of every class, also of a rare one, is at least 94 %."""
    found = []
    for seed in range(500):
        sets = evaluate.conformal_sets(_predictions(600, seed=seed, shares=(0.6, 0.25, 0.15)))
        found.append(sets.groupby("truth")["covered"].mean())
    assert (pd.DataFrame(found).mean() >= 0.94).all()


def test_unlabelled_particles_get_a_set_too():
    """Whether it covers the truth is unknown."""
    table = _predictions()
    table.loc[table["role"] == "test", "truth"] = np.nan
    sets = evaluate.conformal_sets(table, classes=list(NAMES))
    assert sets["set"].notna().all() and sets["covered"].isna().all()


def test_model_without_probabilities_gets_no_set():
    """It is said why."""
    sets = evaluate.conformal_sets(_predictions().assign(p_a=np.nan))
    assert sets["set"].isna().all() and sets["method"].str.startswith("no set").all()


def test_coverage_risk_by_hand():
    """Confidences .9 .8 .7 .6, the last wrong: no risk up to 3/4, then 1/4."""
    table = pd.DataFrame(
        {"particle": range(4), "model": "m", "truth": list("aaab"), "predicted": list("aaaa")}
    )
    table = table.assign(p_a=[0.9, 0.8, 0.7, 0.6], p_b=[0.1, 0.2, 0.3, 0.4])
    curve = evaluate.coverage_risk(table)
    assert curve["coverage"].tolist() == [0.25, 0.5, 0.75, 1]
    assert curve["risk"].tolist() == [0, 0, 0, 0.25] and (curve["high"] > curve["risk"]).all()
    assert curve["threshold"].tolist() == [0.9, 0.8, 0.7, 0.6]


def test_particles_of_equal_confidence_are_called_together():
    """Three equal confidences are one step."""
    table = pd.DataFrame({"particle": range(4), "model": "m", "truth": "a", "predicted": "a"})
    curve = evaluate.coverage_risk(table.assign(p_a=[0.9, 0.7, 0.7, 0.7], p_b=[0.1, 0.3, 0.3, 0.3]))
    assert curve["coverage"].tolist() == [0.25, 1]


def test_coverage_risk_ends_at_the_error_of_all_calls():
    """Coverage 1 is the model without "too uncertain"."""
    table = _predictions()
    held = table[table["role"] == "test"]
    last = evaluate.coverage_risk(table).iloc[-1]
    assert last["coverage"] == 1 and last["risk"] == pytest.approx(
        (held["truth"] != held["predicted"]).mean()
    )


@pytest.mark.parametrize("measure", ["TPR", "PPV"])
def test_threshold_meets_the_requirement_on_new_particles(measure):
    """With many particles the measured value is the required one, within its interval."""
    found = evaluate.threshold(_predictions(20_000, 200), "a", measure, 0.9)
    row = found[found["measure"] == measure].iloc[0]
    assert row["low"] <= 0.9 <= row["high"] or row["met"] == "yes"
    assert abs(row["value"] - 0.9) < 0.02


def _four_scores():
    """Return validation rows of probabilities .9 (a), .8 (b), .7 (a), .2 (b), and one test row."""
    table = pd.DataFrame({"truth": list("abab") + ["a"], "p_a": [0.9, 0.8, 0.7, 0.2, 0.75], "model": "m"})
    roles = ["validation"] * 4 + ["test"]
    return table.assign(p_b=1 - table["p_a"], role=roles, predicted="a", particle=range(5))


def test_threshold_for_a_tpr_is_the_highest_that_reaches_it():
    """TPR 1 needs .7, TPR .5 is reached at .9."""
    assert evaluate.threshold(_four_scores(), "a", "TPR", 1)["threshold"].tolist() == [0.7, 0.7]
    assert evaluate.threshold(_four_scores(), "a", "TPR", 0.5)["threshold"].tolist() == [0.9, 0.9]


def test_threshold_for_a_ppv_is_the_lowest_that_reaches_it():
    """PPV 2/3 is reached down to .7, PPV 1 at .9 alone."""
    assert evaluate.threshold(_four_scores(), "a", "PPV", 2 / 3)["threshold"].tolist() == [0.7, 0.7]
    assert evaluate.threshold(_four_scores(), "a", "PPV", 1)["threshold"].tolist() == [0.9, 0.9]


def test_unreachable_requirement_has_no_threshold():
    """A PPV that no threshold reaches on the calibration rows."""
    table = _four_scores().assign(p_a=[0.8, 0.9, 0.7, 0.2, 0.75])
    found = evaluate.threshold(table, "a", "PPV", 0.95)
    assert found["threshold"].isna().all() and found["method"].str.contains("no threshold reaches it").all()


def test_few_test_particles_do_not_show_that_it_is_met():
    """One particle proves nothing."""
    found = evaluate.threshold(_four_scores(), "a", "TPR", 1)
    assert found.loc[found["measure"] == "TPR", "met"].item() == "not shown"
    assert found.loc[found["measure"] == "PPV", "met"].item() == ""


def test_threshold_is_not_chosen_on_the_rows_that_measure_it():
    """Without validation rows and other folds there is none."""
    table = _predictions().assign(role="test")
    found = evaluate.threshold(table, "a", "TPR", 0.9)
    assert found["threshold"].isna().all() and found["method"].str.startswith("uncalibrated").all()
    folds = table.assign(fold=table["micrograph"] % 3)
    assert evaluate.threshold(folds, "a", "TPR", 0.9)["method"].str.contains("other folds").all()


def test_threshold_refuses_what_it_cannot_do():
    """Unknown class, other measure, impossible requirement."""
    table = _predictions()
    with pytest.raises(InputError, match="'round' is none of the classes a, b, c"):
        evaluate.threshold(table, "round", "TPR", 0.9)
    with pytest.raises(InputError, match="not for TNR of at least"):
        evaluate.threshold(table, "a", "TNR", 0.9)
    with pytest.raises(InputError, match="not for TPR of at least 95: ask"):
        evaluate.threshold(table, "a", "TPR", 95)
