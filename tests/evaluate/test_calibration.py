"""Temperature scaling, reliability and the expected calibration error."""

import numpy as np
import pandas as pd
import pytest
from scipy import special

from temlib import evaluate
from temlib.evaluate import decisions

NAMES = np.array(["a", "b", "c"])


def _predictions(particles=600, micrographs=40, sharpness=1.0, seed=0, folds=1):
    """Return predictions whose probabilities are right for sharpness 1 and too sure above."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, particles)
    logits = rng.normal(size=(particles, 3)) + 1.5 * np.eye(3)[truth]
    p = special.softmax(1.5 * sharpness * logits, axis=1)
    micrograph = rng.integers(0, micrographs, particles)
    table = pd.DataFrame({"particle": np.arange(particles), "micrograph": micrograph, "model": "m"})
    table = table.assign(
        fold=micrograph % folds, role="test", truth=NAMES[truth], predicted=NAMES[p.argmax(axis=1)]
    )
    return table.assign(**{f"p_{c}": p[:, k] for k, c in enumerate(NAMES)})


def _validated(**options):
    """Return predictions of which micrographs 0-19 are validation rows."""
    table = _predictions(**options)
    return table.assign(role=np.where(table["micrograph"] < 20, "validation", "test"))


def test_temperature_is_found():
    """Probabilities twice too sharp need a temperature of 2."""
    table = _predictions(particles=20_000, sharpness=2)
    truth = pd.Categorical(table["truth"], NAMES).codes.astype(int)
    found = decisions.fit_temperature(table[["p_a", "p_b", "p_c"]].to_numpy(), truth)
    assert found == pytest.approx(2, rel=0.05)


def test_temperature_1_changes_nothing():
    """p^1, normalised, is p."""
    p = np.array([[0.7, 0.2, 0.1]])
    np.testing.assert_allclose(decisions.apply_temperature(p, 1.0), p)


def test_temperature_is_a_power():
    """p^(1/2), normalised, by hand."""
    np.testing.assert_allclose(
        decisions.apply_temperature(np.array([[0.64, 0.36]]), 2.0), [[0.8 / 1.4, 0.6 / 1.4]]
    )


def test_few_particles_all_right_do_not_make_certain():
    """Five of five right, each with .9: the temperature stays moderate."""
    p = np.tile([0.9, 0.1], (5, 1))
    certain = decisions.apply_temperature(p, decisions.fit_temperature(p, np.zeros(5, int)))
    assert certain[0, 0] < 0.95


def test_calibration_keeps_calls_and_the_order_of_classes():
    """Only the confidence changes."""
    table = _validated(sharpness=3.0)
    scaled = evaluate.calibrate(table)
    assert (scaled["predicted"] == table["predicted"]).all()
    columns = ["p_a", "p_b", "p_c"]
    np.testing.assert_array_equal(scaled[columns].to_numpy().argmax(1), table[columns].to_numpy().argmax(1))
    np.testing.assert_allclose(scaled[columns].sum(axis=1), 1)


def test_calibration_lowers_the_log_loss_of_test_rows():
    """Fitted on validation rows, it serves the others."""
    table = _validated(particles=3000, sharpness=3.0)
    scaled = evaluate.calibrate(table)
    held = (table["role"] == "test").to_numpy()
    place = pd.Categorical(table["truth"], NAMES).codes[held]

    def log_loss(frame):
        p = frame[["p_a", "p_b", "p_c"]].to_numpy()[held]
        return -np.log(p[np.arange(len(p)), place]).mean()

    assert log_loss(scaled) < 0.8 * log_loss(table)


def test_test_rows_do_not_take_part_in_their_own_calibration():
    """Other truths of the test rows leave the temperature as it is."""
    table = _validated()
    other = table.assign(truth=table["truth"].where(table["role"] == "validation", "a"))
    assert (evaluate.calibrate(other)["temperature"] == evaluate.calibrate(table)["temperature"]).all()


def test_folds_calibrate_each_other_without_validation_rows():
    """Other truths of fold 0 change the temperatures of the other folds only."""
    table = _predictions(folds=3)
    other = table.assign(truth=table["truth"].where(table["fold"] != 0, "a"))
    before, after = (evaluate.calibrate(t).groupby("fold")["temperature"].first() for t in (table, other))
    assert before[0] == after[0] and before[1] != after[1] and before[2] != after[2]
    assert evaluate.calibrate(table)["calibration"].str.contains("test rows of the other folds").all()


def test_one_fold_without_validation_rows_is_marked_uncalibrated():
    """Probabilities stay as they are."""
    table = _predictions()
    scaled = evaluate.calibrate(table)
    assert set(scaled["calibration"]) == {"uncalibrated"} and scaled["temperature"].isna().all()
    np.testing.assert_array_equal(scaled["p_a"], table["p_a"])


def test_model_without_probabilities_is_marked_uncalibrated():
    """A foreign model beside a calibrated one."""
    table = _validated()
    foreign = table.assign(model="foreign", p_a=np.nan, p_b=np.nan, p_c=np.nan)
    words = evaluate.calibrate(pd.concat([table, foreign])).groupby("model")["calibration"].first()
    assert words["foreign"] == "uncalibrated" and words["m"].startswith("temperature")


def test_reliability_by_hand():
    """Three calls of .9 of which two are right, one of .6 that is wrong."""
    table = pd.DataFrame(
        {"particle": [1, 2, 3, 4], "model": "m", "truth": list("aaba"), "predicted": list("aaab")}
    )
    table = table.assign(p_a=[0.9, 0.92, 0.91, 0.4], p_b=[0.1, 0.08, 0.09, 0.6])
    shown = evaluate.reliability(table)
    np.testing.assert_allclose(shown["confidence"], [0.6, 0.91])
    np.testing.assert_allclose(shown["right"], [0, 2 / 3])
    assert shown["n"].tolist() == [1, 3] and shown["from"].tolist() == [0.6, 0.9]


def test_confidence_1_belongs_to_the_last_bin():
    """No eleventh bin."""
    table = pd.DataFrame(
        {"particle": [1, 2], "model": "m", "truth": "a", "predicted": "a", "p_a": 1.0, "p_b": 0.0}
    )
    assert evaluate.reliability(table)["to"].tolist() == [1.0]


def test_bins_hold_every_particle_once():
    """Their n sum to the number of particles."""
    assert evaluate.reliability(_predictions())["n"].sum() == 600


def test_ece_by_hand():
    """Bins off by .91 - 2/3 (three particles) and by .6 (one)."""
    table = pd.DataFrame(
        {"particle": [1, 2, 3, 4], "model": "m", "truth": list("aaba"), "predicted": list("aaab")}
    )
    table = table.assign(p_a=[0.9, 0.92, 0.91, 0.4], p_b=[0.1, 0.08, 0.09, 0.6])
    expected = 0.75 * (0.91 - 2 / 3) + 0.25 * 0.6
    assert evaluate.calibration_error(table)["ECE"].item() == pytest.approx(expected)


def test_ece_interval_reaches_0_for_right_probabilities_and_not_for_wrong_ones():
    """The chance level is shown beside it."""
    right = evaluate.calibration_error(_predictions()).iloc[0]
    wrong = evaluate.calibration_error(_predictions(sharpness=4)).iloc[0]
    assert right["low"] == 0 and right["ECE"] == pytest.approx(right["perfect"], rel=0.6)
    assert wrong["low"] > 0.05 and wrong["ECE"] > 2 * wrong["perfect"]


def test_ece_of_one_micrograph_has_no_interval():
    """The reason is given."""
    found = evaluate.calibration_error(_predictions(micrographs=1)).iloc[0]
    assert np.isnan(found["low"]) and found["method"] == "no interval: one micrograph"


def test_ece_interval_is_the_same_by_seed():
    """Random draws come from one seed."""
    runs = [evaluate.calibration_error(_predictions(), seed=1) for _ in range(2)]
    pd.testing.assert_frame_equal(*runs)


def test_models_without_probabilities_have_no_reliability():
    """An empty table, with its columns."""
    foreign = _predictions().drop(columns=["p_a", "p_b", "p_c"])
    assert evaluate.reliability(foreign).empty and "right" in evaluate.reliability(foreign)
    assert evaluate.calibration_error(foreign).empty


def test_probabilities_that_do_not_sum_to_1_have_no_reliability():
    """They are scores, not probabilities."""
    assert evaluate.reliability(_predictions().assign(p_a=-0.5)).empty


def test_unknown_fold_is_a_fold():
    """Foreign rows without a fold are calibrated on their own validation rows."""
    table = _validated().assign(fold=np.nan)
    assert evaluate.calibrate(table)["temperature"].notna().all()
