"""Temperature scaling, reliability, the expected calibration error, prediction sets, risk, thresholds."""

import numpy as np
import pandas as pd
import pytest
from scipy import special

from temlib.evaluate import Predictions, decisions
from temlib.files import InputError
from tests.evaluate.conftest import table_of

NAMES = np.array(["a", "b", "c"])


def calibrated(table):
    """Return the table with calibrated probabilities."""
    return Predictions(table).calibrated().table


def calibration_error(table, **options):
    """Return the calibration error of probabilities as given."""
    found = Predictions(table).calibration_error(**options)
    return found[found["probabilities"] == "as given"].drop(columns="probabilities")


def threshold(table, label, measure, required):
    """Return the threshold of model m for one class and requirement."""
    found = Predictions(table).thresholds("m", required)
    return found[(found["class"] == label) & found["required"].str.startswith(measure)]


def _predictions(particles=900, micrographs=60, seed=0, shares=(1 / 3, 1 / 3, 1 / 3)):
    """Return predictions of which the first half of the micrographs are validation rows."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, particles, p=shares)
    p = special.softmax(2 * (rng.normal(size=(particles, 3)) + 1.5 * np.eye(3)[truth]), axis=1)
    micrograph = rng.integers(0, micrographs, particles)
    role = np.where(micrograph < micrographs // 2, "validation", "test")
    return table_of(truth, p, NAMES, micrograph=micrograph, fold=0, role=role)


def _calibrated_on(own, particles=1):
    """Return validation rows of class a with the probabilities `own`, plenty of class b, and test rows."""
    rows = [("a", p, "validation") for p in own] + [("b", 0.2, "validation")] * 50
    rows += [("a", p, "test") for p in (0.04, 0.06, 0.5)]
    table = pd.DataFrame(rows, columns=["truth", "p_a", "role"])
    table = table.assign(particle=np.arange(len(rows)), model="m", p_b=1 - table["p_a"])
    return table.assign(predicted=np.where(table["p_a"] > 0.5, "a", "b"))


def test_sets_need_19_particles_of_each_class():
    """With 18 no set is claimed, and the class is named; with 19 there is one."""
    few = Predictions(_calibrated_on(np.linspace(0.05, 0.95, 18))).prediction_sets()
    assert few["set"].isna().all() and few["covered"].isna().all()
    assert set(few["method"]) == {"no set: 18 calibration particles of a"}
    assert Predictions(_calibrated_on(np.linspace(0.05, 0.95, 19))).prediction_sets()["set"].notna().all()


def test_sets_by_hand():
    """With 19 particles the least probable own class, .05, decides: .06 keeps class a in the set, .04 does not."""
    sets = Predictions(_calibrated_on(np.linspace(0.05, 0.95, 19))).prediction_sets()
    assert sets["set"].tolist() == ["b", "a, b", "a"]
    assert sets["size"].tolist() == [1, 2, 1] and sets["covered"].tolist() == [0, 1, 1]


def test_sets_are_of_test_particles_alone():
    """One row per test row, in their order."""
    table = _predictions()
    sets, test = Predictions(table).prediction_sets(), table[table["role"] == "test"]
    assert sets["particle"].tolist() == test["particle"].tolist()


def test_sets_cover_each_class_as_promised():
    """500 simulations: the mean coverage of every class, also of a rare one, is at least 94 %."""
    found = []
    for seed in range(500):
        sets = Predictions(_predictions(600, seed=seed, shares=(0.6, 0.25, 0.15))).prediction_sets()
        found.append(sets.groupby("truth")["covered"].mean())
    assert (pd.DataFrame(found).mean() >= 0.94).all()


def test_unlabelled_particles_get_a_set_too():
    """Whether it covers the truth is unknown."""
    table = _predictions()
    unlabelled = (table["role"] == "test") & (table["particle"] % 2 == 0)
    held = Predictions(table.assign(truth=table["truth"].where(~unlabelled)))
    sets = held.prediction_sets().set_index("particle")
    assert sets["set"].notna().all()
    assert (sets["covered"].isna() == unlabelled[sets.index].to_numpy()).all()


def test_model_without_probabilities_gets_no_set():
    """It is said why."""
    sets = Predictions(_predictions().assign(p_a=np.nan)).prediction_sets()
    assert sets["set"].isna().all() and sets["method"].str.startswith("no set").all()


def test_risk_by_hand():
    """Confidences .9 .8 .7 .6, the last wrong: no risk up to 3/4, then 1/4."""
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    curve = Predictions(table_of([0, 0, 0, 1], p, "ab")).risk()
    assert curve["coverage"].tolist() == [0.25, 0.5, 0.75, 1]
    assert curve["risk"].tolist() == [0, 0, 0, 0.25] and (curve["high"] > curve["risk"]).all()
    assert curve["threshold"].tolist() == [0.9, 0.8, 0.7, 0.6]


def test_particles_of_equal_confidence_are_called_together():
    """Three equal confidences are one step."""
    p = np.array([[0.9, 0.1], [0.7, 0.3], [0.7, 0.3], [0.7, 0.3]])
    curve = Predictions(table_of([0, 0, 0, 0], p, "ab")).risk()
    assert curve["coverage"].tolist() == [0.25, 1]


def test_risk_ends_at_the_error_of_all_calls():
    """Coverage 1 is the model without "too uncertain"."""
    table = _predictions()
    held = table[table["role"] == "test"]
    last = Predictions(table).risk().iloc[-1]
    wrong = (held["truth"] != held["predicted"]).mean()
    assert last["coverage"] == 1 and last["risk"] == pytest.approx(wrong)


@pytest.mark.parametrize("measure", ["TPR", "PPV"])
def test_threshold_meets_the_requirement_on_new_particles(measure):
    """With many particles the measured value is the required one, within its interval."""
    found = threshold(_predictions(20_000, 200), "a", measure, 0.9)
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
    assert threshold(_four_scores(), "a", "TPR", 1)["threshold"].tolist() == [0.7, 0.7]
    assert threshold(_four_scores(), "a", "TPR", 0.5)["threshold"].tolist() == [0.9, 0.9]


def test_threshold_for_a_ppv_is_the_lowest_that_reaches_it():
    """PPV 2/3 is reached down to .7, PPV 1 at .9 alone."""
    assert threshold(_four_scores(), "a", "PPV", 2 / 3)["threshold"].tolist() == [0.7, 0.7]
    assert threshold(_four_scores(), "a", "PPV", 1)["threshold"].tolist() == [0.9, 0.9]


def test_unreachable_requirement_has_no_threshold():
    """A PPV that no threshold reaches on the calibration rows."""
    table = _four_scores().assign(p_a=[0.8, 0.9, 0.7, 0.2, 0.75])
    found = threshold(table, "a", "PPV", 0.95)
    assert found["threshold"].isna().all() and found["method"].str.contains("no threshold reaches it").all()


def test_few_test_particles_do_not_show_that_it_is_met():
    """One particle proves nothing."""
    found = threshold(_four_scores(), "a", "TPR", 1)
    assert found.loc[found["measure"] == "TPR", "met"].item() == "not shown"
    assert found.loc[found["measure"] == "PPV", "met"].item() == ""


def test_threshold_is_not_chosen_on_the_rows_that_measure_it():
    """Without validation rows and other folds there is none."""
    table = _predictions().assign(role="test")
    found = threshold(table, "a", "TPR", 0.9)
    assert found["threshold"].isna().all() and found["method"].str.startswith("uncalibrated").all()
    folds = table.assign(fold=table["micrograph"] % 3)
    assert threshold(folds, "a", "TPR", 0.9)["method"].str.contains("other folds").all()


def test_threshold_refuses_what_it_cannot_do():
    """Unknown model, impossible requirement."""
    with pytest.raises(InputError, match="no model 'round' in the predictions; there are m"):
        Predictions(_predictions()).thresholds("round", 0.9)
    with pytest.raises(InputError, match="not for 95: choose"):
        threshold(_predictions(), "a", "TPR", 95)


def _sharp(particles=600, micrographs=40, sharpness=1.0, seed=0, folds=1):
    """Return predictions whose probabilities are right for sharpness 1 and too sure above."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, particles)
    logits = rng.normal(size=(particles, 3)) + 1.5 * np.eye(3)[truth]
    p = special.softmax(1.5 * sharpness * logits, axis=1)
    micrograph = rng.integers(0, micrographs, particles)
    return table_of(truth, p, NAMES, micrograph=micrograph, fold=micrograph % folds, role="test")


def _validated(**options):
    """Return predictions of which micrographs 0-19 are validation rows."""
    table = _sharp(**options)
    return table.assign(role=np.where(table["micrograph"] < 20, "validation", "test"))


def test_temperature_is_found():
    """Probabilities twice too sharp need a temperature of 2."""
    table = _sharp(particles=20_000, sharpness=2)
    truth = pd.Categorical(table["truth"], NAMES).codes.astype(int)
    found = decisions.fit_temperature(table[["p_a", "p_b", "p_c"]].to_numpy(), truth)
    assert found == pytest.approx(2, rel=0.05)


def test_temperature_1_changes_nothing():
    """p^1, normalised, is p."""
    p = np.array([[0.7, 0.2, 0.1]])
    np.testing.assert_allclose(decisions.apply_temperature(p, 1.0), p)


def test_temperature_is_a_power():
    """p^(1/2), normalised, by hand."""
    found = decisions.apply_temperature(np.array([[0.64, 0.36]]), 2.0)
    np.testing.assert_allclose(found, [[0.8 / 1.4, 0.6 / 1.4]])


def test_few_particles_all_right_do_not_make_certain():
    """Five of five right, each with .9: the temperature stays moderate."""
    p = np.tile([0.9, 0.1], (5, 1))
    certain = decisions.apply_temperature(p, decisions.fit_temperature(p, np.zeros(5, int)))
    assert certain[0, 0] < 0.95


def test_calibration_keeps_calls_and_the_order_of_classes():
    """Only the confidence changes."""
    table = _validated(sharpness=3.0)
    scaled = calibrated(table)
    assert (scaled["predicted"] == table["predicted"]).all()
    columns = ["p_a", "p_b", "p_c"]
    np.testing.assert_array_equal(scaled[columns].to_numpy().argmax(1), table[columns].to_numpy().argmax(1))
    np.testing.assert_allclose(scaled[columns].sum(axis=1), 1)


def test_calibration_lowers_the_log_loss_of_test_rows():
    """Fitted on validation rows, it serves the others."""
    table = _validated(particles=3000, sharpness=3.0)
    scaled = calibrated(table)
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
    assert (calibrated(other)["temperature"] == calibrated(table)["temperature"]).all()


def test_folds_calibrate_each_other_without_validation_rows():
    """Other truths of fold 0 change the temperatures of the other folds only."""
    table = _sharp(folds=3)
    other = table.assign(truth=table["truth"].where(table["fold"] != 0, "a"))
    before, after = (calibrated(t).groupby("fold")["temperature"].first() for t in (table, other))
    assert before[0] == after[0] and before[1] != after[1] and before[2] != after[2]
    assert calibrated(table)["calibration"].str.contains("test rows of the other folds").all()


def test_one_fold_without_validation_rows_is_marked_uncalibrated():
    """Probabilities stay as they are."""
    table = _sharp()
    scaled = calibrated(table)
    assert set(scaled["calibration"]) == {"uncalibrated"} and scaled["temperature"].isna().all()
    np.testing.assert_array_equal(scaled["p_a"], table["p_a"])


def test_model_without_probabilities_is_marked_uncalibrated():
    """A foreign model beside a calibrated one."""
    table = _validated()
    foreign = table.assign(model="foreign", p_a=np.nan, p_b=np.nan, p_c=np.nan)
    words = calibrated(pd.concat([table, foreign])).groupby("model")["calibration"].first()
    assert words["foreign"] == "uncalibrated" and words["m"].startswith("temperature")


def _four_calls():
    """Return three calls of .9 of which two are right, and one of .6 that is wrong."""
    p = np.array([0.9, 0.92, 0.91, 0.4])
    return table_of([0, 0, 1, 0], np.column_stack([p, 1 - p]), "ab")


def test_reliability_by_hand():
    """Three calls of .9 of which two are right, one of .6 that is wrong."""
    table = _four_calls()
    shown = Predictions(table).reliability()
    np.testing.assert_allclose(shown["confidence"], [0.6, 0.91])
    np.testing.assert_allclose(shown["right"], [0, 2 / 3])
    assert shown["n"].tolist() == [1, 3] and shown["from"].tolist() == [0.6, 0.9]


def test_confidence_1_belongs_to_the_last_bin():
    """No eleventh bin."""
    table = table_of([0, 0], np.array([[1.0, 0], [1, 0]]), "ab")
    assert Predictions(table).reliability()["to"].tolist() == [1.0]


def test_bins_hold_every_particle_once():
    """Their n sum to the number of particles."""
    assert Predictions(_sharp()).reliability()["n"].sum() == 600


def test_ece_by_hand():
    """Bins off by .91 - 2/3 (three particles) and by .6 (one)."""
    table = _four_calls()
    expected = 0.75 * (0.91 - 2 / 3) + 0.25 * 0.6
    assert calibration_error(table)["ECE"].item() == pytest.approx(expected)


def test_ece_interval_reaches_0_for_right_probabilities_and_not_for_wrong_ones():
    """The chance level is shown beside it."""
    right = calibration_error(_sharp()).iloc[0]
    wrong = calibration_error(_sharp(sharpness=4)).iloc[0]
    assert right["low"] == 0 and right["ECE"] == pytest.approx(right["perfect"], rel=0.6)
    assert wrong["low"] > 0.05 and wrong["ECE"] > 2 * wrong["perfect"]


def test_ece_of_one_micrograph_has_no_interval():
    """The reason is given."""
    found = calibration_error(_sharp(micrographs=1)).iloc[0]
    assert np.isnan(found["low"]) and found["method"] == "no interval: one micrograph"


def test_ece_interval_is_the_same_by_seed():
    """Random draws come from one seed."""
    runs = [calibration_error(_sharp(), seed=1) for _ in range(2)]
    pd.testing.assert_frame_equal(*runs)


def test_models_without_probabilities_have_no_reliability():
    """An empty table, with its columns."""
    foreign = _sharp().drop(columns=["p_a", "p_b", "p_c"])
    assert Predictions(foreign).reliability().empty and "right" in Predictions(foreign).reliability()
    assert calibration_error(foreign).empty


def test_probabilities_that_do_not_sum_to_1_have_no_reliability():
    """They are scores, not probabilities."""
    assert Predictions(_sharp().assign(p_a=-0.5)).reliability().empty


def test_unknown_fold_is_a_fold():
    """Foreign rows without a fold are calibrated on their own validation rows."""
    table = _validated().assign(fold=np.nan)
    assert calibrated(table)["temperature"].notna().all()


def test_summary_of_sets_counts_coverage_by_class_and_says_why_there_are_none():
    """It is that of the sets; a model without probabilities claims none."""
    table = _predictions()
    both = Predictions(pd.concat([table, table.assign(model="mute", p_a=np.nan)], ignore_index=True))
    sets, found = both.prediction_sets(), both.set_summary()
    claimed = found[found["n"] > 0].set_index("class").sort_index()
    expected = sets[sets["model"] == "m"].groupby("truth")[["covered", "size"]].mean()
    np.testing.assert_allclose(claimed[["covered", "size"]].astype(float), expected)
    assert ((claimed["low"] <= claimed["covered"]) & (claimed["covered"] <= claimed["high"])).all()
    assert found.attrs["notes"] == ["mute: no set: 0 calibration particles of a."]
