"""The tables of measures and comparisons: what counts, what is undefined, and that nothing is counted twice."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from temlib import evaluate
from temlib.evaluate import intervals
from temlib.evaluate.predictions import by_model
from temlib.evaluate.scores import score_estimates
from temlib.files import InputError

CLASSES = ["empty", "full", "uncertain"]


def _predictions(particles=300, micrographs=30, models=("cnn", "svm"), seed=0):
    """Return predictions with probabilities; the first model is the better one."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, particles, p=[0.5, 0.3, 0.2])
    names = np.array(CLASSES)
    micrograph = [f"m{k}" for k in rng.integers(0, micrographs, particles)]
    tables = []
    for place, model in enumerate(models):
        logits = rng.normal(size=(particles, 3)) + (2.5 - place) * np.eye(3)[truth]
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        table = pd.DataFrame({"particle": [f"p{k}" for k in range(particles)], "micrograph": micrograph})
        table = table.assign(
            model=model, fold=0, role="test", truth=names[truth], predicted=names[p.argmax(axis=1)]
        )
        tables.append(table.assign(**{f"p_{c}": p[:, k] for k, c in enumerate(CLASSES)}))
    return pd.concat(tables, ignore_index=True)


def _value(table, measure, label, column="value", model="cnn"):
    """Return one cell of a measures table."""
    chosen = (table["measure"] == measure) & (table["class"] == label) & (table["model"] == model)
    return table.loc[chosen, column].item()


@pytest.fixture(scope="module")
def predictions():
    """300 particles of 30 micrographs, two models."""
    return _predictions()


@pytest.fixture(scope="module")
def measured(predictions):
    """Their measures."""
    return evaluate.table(predictions, task="encapsulation")


@pytest.fixture(scope="module")
def compared(predictions):
    """Their comparison."""
    return evaluate.compare(predictions, task="encapsulation", flips=500)


def test_table_has_the_columns_of_the_architecture(measured):
    """Long, in the order that docs/architecture.md gives."""
    expected = ["task", "model", "class", "measure", "value", "low", "high", "n", "micrographs", "method"]
    assert list(measured.columns) == expected


def test_classes_come_in_the_order_of_the_probabilities(predictions):
    """A label without a p_ column follows."""
    other = predictions.assign(truth=predictions["truth"].replace("empty", "broken"))
    assert evaluate.classes_of(other) == [*CLASSES, "broken"]


def test_confusion_counts_truth_by_call():
    """Rows are the truth."""
    rows = pd.DataFrame({"particle": [1, 2, 3], "model": "m", "truth": list("aab"), "predicted": list("abb")})
    np.testing.assert_array_equal(evaluate.confusion(rows, ["a", "b"]), [[1, 1], [0, 1]])


def test_confusion_refuses_two_models(predictions):
    """Their sum would count every particle twice."""
    with pytest.raises(InputError, match="hold 2"):
        evaluate.confusion(predictions, CLASSES)


def test_value_lies_in_its_interval(measured):
    """For every defined measure, and no interval has zero width."""
    known = measured.dropna(subset=["low"])
    assert len(known) == len(measured)
    assert ((known["low"] <= known["value"]) & (known["value"] <= known["high"])).all()
    assert (known["high"] > known["low"]).all()


def test_probability_measures_equal_scikit_learn(predictions, measured):
    """AUC and average precision per class and averaged, Brier score, log loss."""
    rows = predictions[predictions["model"] == "cnn"]
    p, truth = rows[[f"p_{c}" for c in CLASSES]].to_numpy(), rows["truth"].to_numpy()
    one_hot = truth[:, None] == np.array(CLASSES)
    expected = {("log loss", "all"): metrics.log_loss(truth, p, labels=CLASSES)}
    expected["Brier score", "all"] = np.mean(np.sum((p - one_hot) ** 2, axis=1))
    for average in ("macro", "micro", "weighted"):
        expected["AUC", average] = metrics.roc_auc_score(one_hot, p, average=average)
        expected["average precision", average] = metrics.average_precision_score(one_hot, p, average=average)
    for k, label in enumerate(CLASSES):
        expected["AUC", label] = metrics.roc_auc_score(one_hot[:, k], p[:, k])
        expected["average precision", label] = metrics.average_precision_score(one_hot[:, k], p[:, k])
        expected["Brier score", label] = metrics.brier_score_loss(one_hot[:, k], p[:, k])
    for (measure, label), value in expected.items():
        assert _value(measured, measure, label) == pytest.approx(value, abs=1e-12), (measure, label)


def test_n_is_what_the_measure_rests_on(predictions, measured):
    """A TPR rests on the truly positive, accuracy on all."""
    full = (predictions["truth"] == "full") & (predictions["model"] == "cnn")
    assert _value(measured, "TPR", "full", "n") == full.sum()
    assert _value(measured, "TPR", "full", "micrographs") == predictions[full]["micrograph"].nunique()
    assert _value(measured, "accuracy", "all", "n") == 300


def test_only_test_rows_count(predictions, measured):
    """Validation rows, however wrong, change nothing."""
    wrong = predictions.assign(
        role="validation", predicted="uncertain", particle="v" + predictions["particle"]
    )
    both = evaluate.table(pd.concat([predictions, wrong], ignore_index=True), task="encapsulation")
    pd.testing.assert_frame_equal(both, measured)


def test_repeated_rows_count_once(predictions, measured):
    """The same predictions twice (two seeds) give the same table, and a note."""
    twice = evaluate.table(pd.concat([predictions, predictions.assign(fold=1)]), task="encapsulation")
    pd.testing.assert_frame_equal(twice, measured, rtol=1e-9)
    assert "cnn: the repeated rows of 300 particles are averaged." in evaluate.warnings(twice)


def test_repeated_rows_are_averaged_before_the_call():
    """Mean probabilities .55 and .45 call the first class, whatever the single rows called."""
    rows = pd.DataFrame({"particle": ["x"] * 3, "model": "m", "truth": "a", "predicted": list("abb")})
    p = np.array([0.9, 0.4, 0.35])
    assert evaluate.confusion(rows.assign(p_a=p, p_b=1 - p), ["a", "b"]).to_numpy().tolist() == [
        [1, 0],
        [0, 0],
    ]
    assert evaluate.confusion(rows, ["a", "b"]).to_numpy().tolist() == [[0, 1], [0, 0]]


def test_particle_with_two_truths_is_refused(predictions):
    """Also where two models disagree on the truth."""
    rows = predictions.copy()
    rows.loc[rows.index[-1], "truth"] = next(c for c in CLASSES if c != rows["truth"].iloc[-1])
    with pytest.raises(InputError, match="'p299' has two values of 'truth'"):
        evaluate.table(rows, task="t")


def test_model_that_never_calls_a_class_has_no_ppv(predictions):
    """PPV is undefined with its reason, TPR is 0 with an interval, F1 is 0."""
    rows = predictions.assign(predicted=predictions["predicted"].replace("uncertain", "empty"))
    table = evaluate.table(rows, task="t")
    assert np.isnan(_value(table, "PPV", "uncertain")) and np.isnan(_value(table, "PPV", "macro"))
    assert _value(table, "PPV", "uncertain", "method") == "undefined: no particle is called uncertain"
    assert _value(table, "TPR", "uncertain") == 0 and _value(table, "TPR", "uncertain", "high") > 0.01
    assert _value(table, "F1", "uncertain") == 0


def test_class_absent_from_the_test_rows_has_no_tpr(predictions):
    """So the balanced accuracy is undefined too, while accuracy and MCC are not."""
    table = evaluate.table(predictions[predictions["truth"] != "full"], task="t", classes=CLASSES)
    assert _value(table, "TPR", "full", "method") == "undefined: no particle is truly full"
    assert _value(table, "AUC", "full", "method") == "undefined: no particle is truly full"
    assert np.isnan(_value(table, "balanced accuracy", "all")) and not np.isnan(
        _value(table, "accuracy", "all")
    )
    assert not np.isnan(_value(table, "AUC", "weighted"))


def test_class_absent_from_one_fold_changes_nothing(predictions, measured):
    """Counts are summed over folds before any measure."""
    folds = predictions.assign(fold=np.where(predictions["truth"] == "full", 1, 2))
    pd.testing.assert_frame_equal(evaluate.table(folds, task="encapsulation"), measured)


def test_single_micrograph_has_values_without_intervals(predictions):
    """The reason is given, for calls and for probabilities."""
    table = evaluate.table(predictions.assign(micrograph="only"), task="t")
    assert table["value"].notna().all() and table["low"].isna().all()
    assert set(table["method"]) == {"no interval: one micrograph"}


def test_single_micrograph_comparison_rejects_nothing(predictions):
    """One micrograph can be exchanged in one way: no difference can be shown."""
    table = evaluate.compare(predictions.assign(micrograph="only"), task="t")
    assert table["low"].isna().all() and (table["p_value"].fillna(1) == 1).all()


def test_probabilities_that_do_not_sum_to_1_leave_the_order(predictions, measured):
    """AUC needs an order only; Brier score and log loss say what is wrong."""
    table = evaluate.table(predictions.assign(p_full=predictions["p_full"] * 0.5), task="t")
    assert _value(table, "AUC", "full") == _value(measured, "AUC", "full")
    assert "do not sum to 1" in _value(table, "log loss", "all", "method")
    assert np.isnan(_value(table, "Brier score", "full"))


def test_missing_probabilities_leave_the_calls(predictions, measured):
    """A model without p_ values keeps every measure of calls."""
    rows = predictions.copy()
    rows.loc[rows["model"] == "cnn", [f"p_{c}" for c in CLASSES]] = np.nan
    table = evaluate.table(rows, task="t")
    assert _value(table, "TPR", "full") == _value(measured, "TPR", "full")
    assert "have no probability" in _value(table, "AUC", "full", "method")
    assert not np.isnan(_value(table, "AUC", "full", model="svm"))


def test_probability_0_of_the_truth_has_no_log_loss(predictions):
    """It is infinite; a library would clip it."""
    rows = predictions.copy()
    other = next(c for c in CLASSES if c != rows["truth"].iloc[0])
    rows.loc[rows.index[0], [f"p_{c}" for c in CLASSES]] = [float(c == other) for c in CLASSES]
    table = evaluate.table(rows, task="t")
    assert "1 of 300 particles have probability 0" in _value(table, "log loss", "all", "method")


def test_all_right_has_an_interval_below_1(predictions):
    """A perfect score on 300 particles is not certainty, for any measure of calls."""
    table = evaluate.table(predictions.assign(predicted=predictions["truth"]), task="t")
    perfect = table[table["value"] > 1 - 1e-12]
    assert len(perfect) >= 80 and (perfect["low"] < 0.999).all()


def test_constant_classifier_has_an_interval_from_all_its_classes():
    """Three uncertain particles of 300 do not make the balanced accuracy of a constant classifier unknown."""
    predictions = _predictions(models=("cnn",)).assign(predicted="empty")
    predictions.loc[predictions["truth"] == "uncertain", "truth"] = "full"
    predictions.loc[predictions.index[:3], "truth"] = "uncertain"
    measured = evaluate.table(predictions, task="encapsulation")
    low, high = (_value(measured, "balanced accuracy", "all", end) for end in ("low", "high"))
    rarest = _value(measured, "TPR", "uncertain", "high")
    assert 0.25 < low < 1 / 3 < high < 0.6
    # That of the rarest class alone is the least that must be left open.
    assert high > 1 / 3 + rarest / 3
    assert _value(measured, "TPR", "macro", "high") == high


def test_independent_particles_get_wilsons_interval(predictions):
    """One particle a micrograph, or no micrograph column."""
    alone = evaluate.table(predictions.assign(micrograph=predictions["particle"]), task="t")
    none = evaluate.table(predictions.drop(columns="micrograph"), task="t")
    hits, n = (
        _value(alone, "TPR", "full") * _value(alone, "TPR", "full", "n"),
        _value(alone, "TPR", "full", "n"),
    )
    low, high = intervals.wilson(hits, n)
    assert _value(alone, "TPR", "full", "low") == pytest.approx(float(low))
    assert _value(none, "TPR", "full", "high") == pytest.approx(float(high))


def test_rows_without_truth_are_not_measured(predictions, measured):
    """Unlabelled particles are predictions, not evidence."""
    extra = predictions.assign(particle="u" + predictions["particle"], truth=np.nan)
    pd.testing.assert_frame_equal(
        evaluate.table(pd.concat([predictions, extra], ignore_index=True), task="encapsulation"), measured
    )


def test_rows_without_a_call_are_named(predictions):
    """A foreign model that skips particles is measured on the rest, and that is said."""
    rows = predictions.copy()
    rows.loc[rows.index[:5], "predicted"] = np.nan
    table = evaluate.table(rows, task="t")
    assert _value(table, "accuracy", "all", "n") == 295
    assert "cnn: 5 rows without a call are left out." in evaluate.warnings(table)


def test_unknown_label_is_refused(predictions):
    """With the classes given, a label outside them is an error that names it."""
    with pytest.raises(InputError, match="'uncertain', which is none of the classes empty, full"):
        evaluate.table(predictions, task="t", classes=["empty", "full"])


def test_missing_column_is_refused(predictions):
    """The message says what a row is."""
    with pytest.raises(InputError, match="lack the column 'truth'"):
        evaluate.table(predictions.drop(columns="truth"), task="t")


def test_no_test_rows_are_refused(predictions):
    """Validation rows alone measure nothing."""
    with pytest.raises(InputError, match="no labelled row of role 'test'"):
        evaluate.table(predictions.assign(role="validation"), task="t")


def test_swapping_two_models_swaps_their_rows(predictions, measured):
    """Names decide nothing."""
    swapped = predictions.assign(model=predictions["model"].map({"cnn": "svm", "svm": "cnn"}))
    table = evaluate.table(swapped, task="encapsulation")
    for a, b in (("cnn", "svm"), ("svm", "cnn")):
        one, two = measured[measured["model"] == a], table[table["model"] == b]
        pd.testing.assert_frame_equal(
            one.drop(columns="model").reset_index(drop=True), two.drop(columns="model").reset_index(drop=True)
        )


def test_difference_is_that_of_the_table(measured, compared):
    """Every difference is the first model's value less the second's."""
    one, two = (measured[measured["model"] == m]["value"].to_numpy() for m in ("cnn", "svm"))
    key = ["measure", "class"]
    assert compared[key].to_numpy().tolist() == measured[measured["model"] == "cnn"][key].to_numpy().tolist()
    np.testing.assert_allclose(compared["difference"], one - two, atol=1e-12)


def test_reversed_order_reverses_the_comparison(predictions, compared):
    """Differences change sign, p values stay."""
    other = evaluate.compare(predictions.iloc[::-1], task="encapsulation", flips=500)
    np.testing.assert_allclose(other["difference"], -compared["difference"], atol=1e-12)
    np.testing.assert_allclose(other["low"], -compared["high"], atol=1e-9)
    np.testing.assert_allclose(other["p_value"], compared["p_value"], atol=0.05)


def test_paired_interval_is_narrower_than_two_single_ones():
    """Two models that make nearly the same errors differ by little, whatever their own uncertainty."""
    rows = _predictions(models=("cnn", "svm"))
    same = rows[rows["model"] == "cnn"]["predicted"].to_numpy().copy()
    truth = rows["truth"].to_numpy()[: len(same)]
    corrected = np.flatnonzero(same != truth)[:6]
    same[corrected] = truth[corrected]
    rows.loc[rows["model"] == "svm", "predicted"] = same
    table, difference = evaluate.table(rows, task="t"), evaluate.compare(rows, task="t", flips=100)
    paired = difference[difference["measure"] == "accuracy"].iloc[0]
    single = _value(table, "accuracy", "all", "high") - _value(table, "accuracy", "all", "low")
    assert paired["high"] - paired["low"] < single / 2


def test_identical_models_are_equal_within_limits(predictions):
    """Differences 0, p 1, and no interval without width."""
    one = predictions[predictions["model"] == "cnn"]
    table = evaluate.compare(pd.concat([one, one.assign(model="copy")]), task="t", flips=100)
    assert (table["difference"] == 0).all() and (table["p_value"] == 1).all()
    bounded = table[table["measure"] != "log loss"]
    assert ((bounded["low"] < 0) & (bounded["high"] > 0)).all()


def test_only_common_particles_are_compared(predictions):
    """A model with fewer particles is paired on these."""
    rows = predictions.drop(predictions.index[:50])
    table = evaluate.compare(rows, task="t", flips=100)
    assert table.loc[table["measure"] == "accuracy", "n"].item() == 250


def test_models_without_common_particles_are_not_compared(predictions):
    """The rows say so."""
    rows = predictions.assign(particle=predictions["model"] + predictions["particle"])
    table = evaluate.compare(rows, task="t")
    assert table["difference"].isna().all() and set(table["method"]) == {
        "undefined: the models share no particle"
    }


def test_holm_covers_the_primary_measure_alone():
    """Three models: three adjusted p values, as Holm's procedure gives them."""
    table = evaluate.compare(_predictions(models=("a", "b", "c")), task="t", flips=500)
    adjusted = table.dropna(subset=["p_holm"])
    assert set(adjusted["measure"]) == {"balanced accuracy"} and len(adjusted) == 3
    np.testing.assert_allclose(adjusted["p_holm"], intervals.holm(adjusted["p_value"]))


def test_primary_measure_of_a_class_means_its_macro_average(predictions):
    """One measure per task, not one per class."""
    table = evaluate.compare(predictions, task="t", primary="F1", flips=100)
    assert table.dropna(subset=["p_holm"])[["measure", "class"]].to_numpy().tolist() == [["F1", "macro"]]


def test_unknown_primary_measure_is_refused(predictions):
    """The message lists the measures."""
    with pytest.raises(InputError, match="'recal' is no measure"):
        evaluate.compare(predictions, task="t", primary="recal")


def test_tests_of_independence_are_used_where_it_holds(predictions, compared):
    """McNemar and DeLong for independent particles only, and named."""
    alone = evaluate.compare(predictions.drop(columns="micrograph"), task="t", flips=100)
    named = alone.set_index(["measure", "class"])["method"]
    assert named["accuracy", "all"].endswith("exact McNemar") and named["AUC", "full"].endswith("DeLong 1988")
    assert named["F1", "full"].endswith("sign-flip of particles")
    assert not compared["method"].str.contains("McNemar|DeLong").any()
    assert compared.set_index(["measure", "class"])["method"]["AUC", "full"].endswith("Obuchowski 1997")


def test_mcnemar_counts_the_discordant(predictions):
    """The p value of accuracy is that of the particles which one model alone has right."""
    right = [
        predictions[predictions["model"] == m].eval("truth == predicted").to_numpy() for m in ("cnn", "svm")
    ]
    expected = intervals.mcnemar_exact((right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum())
    table = evaluate.compare(predictions.drop(columns="micrograph"), task="t", flips=100)
    assert table.loc[table["measure"] == "accuracy", "p_value"].item() == pytest.approx(expected)


def test_clustered_auc_variance_is_obuchowskis(predictions):
    """The interval of an AUC has the variance of Obuchowski's formula, written out, to 2 %."""
    rows = predictions[predictions["model"] == "cnn"]
    positive, scores = (rows["truth"] == "full").to_numpy(), rows["p_full"].to_numpy()
    pairs = np.sign(scores[positive][:, None] - scores[~positive]) / 2 + 0.5
    area, (m, n) = pairs.mean(), pairs.shape
    units = rows["micrograph"].to_numpy()
    of_x = pd.Series(pairs.mean(axis=1) - area).groupby(units[positive]).sum()
    of_y = pd.Series(pairs.mean(axis=0) - area).groupby(units[~positive]).sum()
    both = pd.concat([of_x, of_y], axis=1).fillna(0).to_numpy()
    count = len(both)
    parts = [len(s) / (len(s) - 1) * (s**2).sum() / k**2 for s, k in ((of_x, m), (of_y, n))]
    variance = sum(parts) + 2 * count / (count - 1) * (both[:, 0] * both[:, 1]).sum() / (m * n)
    (held,) = by_model(rows, CLASSES).values()
    estimates = score_estimates(held, CLASSES)[0]
    assert estimates.variance[1] == pytest.approx(variance, rel=0.02)


def test_baseline_shows_the_accuracy_paradox(predictions):
    """Always the majority: its share as accuracy, one third as balanced accuracy, no MCC."""
    shown = evaluate.baseline(predictions, task="t")
    one = predictions[predictions["model"] == "cnn"]["truth"]
    assert set(shown["model"]) == {f"always {one.mode()[0]}"}
    values = shown.set_index(["measure", "class"])["value"]
    assert values["accuracy", "all"] == pytest.approx(one.value_counts(normalize=True).max())
    assert values["balanced accuracy", "all"] == pytest.approx(1 / 3)
    assert values["kappa", "all"] == 0 and np.isnan(values["MCC", "all"])


def test_few_micrographs_and_few_positives_are_warned_of():
    """Below 20 micrographs and below 30 positives, not otherwise."""
    few = evaluate.warnings(evaluate.table(_predictions(particles=100, micrographs=10), task="t"))
    assert any("10 micrographs are fewer than 20" in s for s in few)
    assert any("are truly uncertain, fewer than 30" in s for s in few)
    assert evaluate.warnings(evaluate.table(_predictions(), task="t")) == []


def test_comparison_is_the_same_by_seed(predictions):
    """Random exchanges come from one seed."""
    runs = [evaluate.compare(predictions, task="t", flips=200, seed=5) for _ in range(2)]
    pd.testing.assert_frame_equal(*runs)
