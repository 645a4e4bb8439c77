"""Measures equal those of the field's libraries; what counts, what is undefined, and that nothing is counted twice."""

import warnings as ignored

import numpy as np
import pandas as pd
import pytest
from imblearn.metrics import specificity_score
from scipy import special
from sklearn import metrics
from statsmodels.stats.inter_rater import cohens_kappa

from temlib import evaluate
from temlib.evaluate import AVERAGES, Predictions, held_out, intervals, measures, warnings
from temlib.evaluate.scores import score_estimates
from temlib.files import InputError
from tests.evaluate.conftest import CLASSES, table_of


def _predictions(particles=300, micrographs=30, models=("cnn", "svm"), seed=0):
    """Return predictions with probabilities; the first model is the better one."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, particles, p=[0.5, 0.3, 0.2])
    about = {"fold": 0, "role": "test", "particle": [f"p{k}" for k in range(particles)]}
    about["micrograph"] = [f"m{k}" for k in rng.integers(0, micrographs, particles)]
    tables = []
    for place, model in enumerate(models):
        logits = rng.normal(size=(particles, 3)) + (2.5 - place) * np.eye(3)[truth]
        tables.append(table_of(truth, special.softmax(logits, axis=1), model=model, **about))
    return pd.concat(tables, ignore_index=True)


def _confusion(rows):
    """Return the only confusion matrix."""
    (matrix,) = Predictions(rows).confusions().values()
    return matrix


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
    return Predictions(predictions).measures("encapsulation")


@pytest.fixture(scope="module")
def compared(predictions):
    """Their comparison."""
    return Predictions(predictions).compare("encapsulation", flips=500)


def test_table_has_the_columns_of_the_architecture(measured):
    """Long, in the order that docs/architecture.md gives."""
    expected = ["task", "model", "class", "measure", "value", "low", "high", "n", "micrographs", "method"]
    assert list(measured.columns) == expected


def test_classes_come_in_the_order_of_the_probabilities(predictions):
    """A label without a p_ column follows."""
    other = predictions.assign(truth=predictions["truth"].replace("empty", "broken"))
    assert Predictions(other).classes == [*CLASSES, "broken"]


def test_confusion_counts_truth_by_call():
    """Rows are the truth."""
    rows = pd.DataFrame({"particle": [1, 2, 3], "model": "m", "truth": list("aab"), "predicted": list("abb")})
    np.testing.assert_array_equal(_confusion(rows), [[1, 1], [0, 1]])


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
    wrong = predictions.assign(role="validation", predicted="uncertain")
    wrong["particle"] = "v" + predictions["particle"]
    both = Predictions(pd.concat([predictions, wrong])).measures("encapsulation")
    pd.testing.assert_frame_equal(both, measured)


def test_repeated_rows_count_once(predictions, measured):
    """The same predictions twice (two seeds) give the same table, and a note."""
    twice = Predictions(pd.concat([predictions, predictions.assign(fold=1)])).measures("encapsulation")
    pd.testing.assert_frame_equal(twice, measured, rtol=1e-9)
    assert "cnn: the repeated rows of 300 particles are averaged." in warnings(twice)


def test_repeated_rows_are_averaged_before_the_call():
    """Mean probabilities .55 and .45 call the first class, whatever the single rows called."""
    rows = pd.DataFrame({"particle": ["x"] * 3, "model": "m", "truth": "a", "predicted": list("abb")})
    p = np.array([0.9, 0.4, 0.35])
    assert _confusion(rows.assign(p_a=p, p_b=1 - p)).to_numpy().tolist() == [[1, 0], [0, 0]]
    assert _confusion(rows).to_numpy().tolist() == [[0, 1], [0, 0]]


def test_particle_with_two_truths_is_refused(predictions):
    """Also where two models disagree on the truth."""
    rows = predictions.copy()
    rows.loc[rows.index[-1], "truth"] = next(c for c in CLASSES if c != rows["truth"].iloc[-1])
    with pytest.raises(InputError, match="'p299' has two values of 'truth'"):
        Predictions(rows).measures("t")


def test_model_that_never_calls_a_class_has_no_ppv(predictions):
    """PPV is undefined with its reason, TPR is 0 with an interval, F1 is 0."""
    rows = predictions.assign(predicted=predictions["predicted"].replace("uncertain", "empty"))
    table = Predictions(rows).measures("t")
    assert np.isnan(_value(table, "PPV", "uncertain")) and np.isnan(_value(table, "PPV", "macro"))
    assert _value(table, "PPV", "uncertain", "method") == "undefined: no particle is predicted as uncertain"
    assert _value(table, "TPR", "uncertain") == 0 and _value(table, "TPR", "uncertain", "high") > 0.01
    assert _value(table, "F1", "uncertain") == 0


def test_class_absent_from_the_test_rows_has_no_tpr(predictions):
    """So the balanced accuracy is undefined too, while accuracy and MCC are not."""
    table = Predictions(predictions[predictions["truth"] != "full"]).measures("t")
    assert _value(table, "TPR", "full", "method") == "undefined: no particle is truly full"
    assert _value(table, "AUC", "full", "method") == "undefined: no particle is truly full"
    assert np.isnan(_value(table, "balanced accuracy", "all"))
    assert not np.isnan(_value(table, "accuracy", "all"))
    assert not np.isnan(_value(table, "AUC", "weighted"))


def test_class_absent_from_one_fold_changes_nothing(predictions, measured):
    """Counts are summed over folds before any measure."""
    folds = predictions.assign(fold=np.where(predictions["truth"] == "full", 1, 2))
    pd.testing.assert_frame_equal(Predictions(folds).measures("encapsulation"), measured)


def test_single_micrograph_has_values_without_intervals(predictions):
    """The reason is given, for calls and for probabilities."""
    table = Predictions(predictions.assign(micrograph="only")).measures("t")
    assert table["value"].notna().all() and table["low"].isna().all()
    assert set(table["method"]) == {"no interval: one micrograph"}


def test_single_micrograph_comparison_rejects_nothing(predictions):
    """One micrograph can be exchanged in one way: no difference can be shown."""
    table = Predictions(predictions.assign(micrograph="only")).compare("t")
    assert table["low"].isna().all() and (table["p_value"].fillna(1) == 1).all()


def test_probabilities_that_do_not_sum_to_1_leave_the_order(predictions, measured):
    """AUC needs an order only; Brier score and log loss say what is wrong."""
    table = Predictions(predictions.assign(p_full=predictions["p_full"] * 0.5)).measures("t")
    assert _value(table, "AUC", "full") == _value(measured, "AUC", "full")
    assert "do not sum to 1" in _value(table, "log loss", "all", "method")
    assert np.isnan(_value(table, "Brier score", "full"))


def test_missing_probabilities_leave_the_calls(predictions, measured):
    """A model without p_ values keeps every measure of calls."""
    rows = predictions.copy()
    rows.loc[rows["model"] == "cnn", [f"p_{c}" for c in CLASSES]] = np.nan
    table = Predictions(rows).measures("t")
    assert _value(table, "TPR", "full") == _value(measured, "TPR", "full")
    assert "have no probability" in _value(table, "AUC", "full", "method")
    assert not np.isnan(_value(table, "AUC", "full", model="svm"))


def test_probability_0_of_the_truth_has_no_log_loss(predictions):
    """It is infinite; a library would clip it."""
    rows = predictions.copy()
    other = next(c for c in CLASSES if c != rows["truth"].iloc[0])
    rows.loc[rows.index[0], [f"p_{c}" for c in CLASSES]] = [float(c == other) for c in CLASSES]
    table = Predictions(rows).measures("t")
    assert "1 of 300 particles have probability 0" in _value(table, "log loss", "all", "method")


def test_all_right_has_an_interval_below_1(predictions):
    """A perfect score on 300 particles is not certainty, for any measure of calls."""
    table = Predictions(predictions.assign(predicted=predictions["truth"])).measures("t")
    perfect = table[table["value"] > 1 - 1e-12]
    assert len(perfect) >= 80 and (perfect["low"] < 0.999).all()


def test_constant_classifier_has_an_interval_from_all_its_classes():
    """Three uncertain particles of 300 do not make the balanced accuracy of a constant classifier unknown."""
    predictions = _predictions(models=("cnn",)).assign(predicted="empty")
    predictions.loc[predictions["truth"] == "uncertain", "truth"] = "full"
    predictions.loc[predictions.index[:3], "truth"] = "uncertain"
    measured = Predictions(predictions).measures("encapsulation")
    low, high = (_value(measured, "balanced accuracy", "all", end) for end in ("low", "high"))
    rarest = _value(measured, "TPR", "uncertain", "high")
    assert 0.25 < low < 1 / 3 < high < 0.6
    # That of the rarest class alone is the least that must be left open.
    assert high > 1 / 3 + rarest / 3
    assert _value(measured, "TPR", "macro", "high") == high


def test_independent_particles_get_wilsons_interval(predictions):
    """One particle a micrograph, or no micrograph column."""
    alone = Predictions(predictions.assign(micrograph=predictions["particle"])).measures("t")
    none = Predictions(predictions.drop(columns="micrograph")).measures("t")
    n = _value(alone, "TPR", "full", "n")
    low, high = intervals.wilson(_value(alone, "TPR", "full") * n, n)
    assert _value(alone, "TPR", "full", "low") == pytest.approx(float(low))
    assert _value(none, "TPR", "full", "high") == pytest.approx(float(high))


def test_rows_without_truth_are_not_measured(predictions, measured):
    """Unlabelled particles are predictions, not evidence."""
    extra = predictions.assign(particle="u" + predictions["particle"], truth=np.nan)
    both = Predictions(pd.concat([predictions, extra])).measures("encapsulation")
    pd.testing.assert_frame_equal(both, measured)


def test_rows_without_a_call_are_named(predictions):
    """A foreign model that skips particles is measured on the rest, and that is said."""
    rows = predictions.copy()
    rows.loc[rows.index[:5], "predicted"] = np.nan
    table = Predictions(rows).measures("t")
    assert _value(table, "accuracy", "all", "n") == 295
    assert "cnn: 5 rows without a predicted class are left out." in warnings(table)


def test_missing_column_is_refused(predictions):
    """The message says what a row is."""
    with pytest.raises(InputError, match="lack the column 'truth'"):
        Predictions(predictions.drop(columns="truth"))


def test_no_test_rows_are_refused(predictions):
    """Validation rows alone measure nothing."""
    with pytest.raises(InputError, match="no labelled row of role 'test'"):
        Predictions(predictions.assign(role="validation")).measures("t")


def test_swapping_two_models_swaps_their_rows(predictions, measured):
    """Names decide nothing."""
    swapped = predictions.assign(model=predictions["model"].map({"cnn": "svm", "svm": "cnn"}))
    table = Predictions(swapped).measures("encapsulation")
    one, two = (t.set_index(["model", "measure", "class"]) for t in (measured, table))
    for a, b in (("cnn", "svm"), ("svm", "cnn")):
        pd.testing.assert_frame_equal(one.loc[a], two.loc[b])


def test_difference_is_that_of_the_table(measured, compared):
    """Every difference is the first model's value less the second's."""
    one, two = (measured[measured["model"] == m]["value"].to_numpy() for m in ("cnn", "svm"))
    key = ["measure", "class"]
    assert compared[key].to_numpy().tolist() == measured[measured["model"] == "cnn"][key].to_numpy().tolist()
    np.testing.assert_allclose(compared["difference"], one - two, atol=1e-12)


def test_reversed_order_reverses_the_comparison(predictions, compared):
    """Differences change sign, p values stay."""
    other = Predictions(predictions.iloc[::-1]).compare("encapsulation", flips=500)
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
    table, difference = Predictions(rows).measures("t"), Predictions(rows).compare("t", flips=100)
    paired = difference[difference["measure"] == "accuracy"].iloc[0]
    single = _value(table, "accuracy", "all", "high") - _value(table, "accuracy", "all", "low")
    assert paired["high"] - paired["low"] < 0.6 * single


def test_identical_models_are_equal_within_limits(predictions):
    """Differences 0, p 1, and no interval without width."""
    one = predictions[predictions["model"] == "cnn"]
    table = Predictions(pd.concat([one, one.assign(model="copy")])).compare("t", flips=100)
    assert (table["difference"] == 0).all() and (table["p_value"] == 1).all()
    bounded = table[table["measure"] != "log loss"]
    assert ((bounded["low"] < 0) & (bounded["high"] > 0)).all()


def test_only_common_particles_are_compared(predictions):
    """A model with fewer particles is paired on these."""
    rows = predictions.drop(predictions.index[:50])
    table = Predictions(rows).compare("t", flips=100)
    assert table.loc[table["measure"] == "accuracy", "n"].item() == 250


def test_models_without_common_particles_are_not_compared(predictions):
    """The rows say so."""
    rows = predictions.assign(particle=predictions["model"] + predictions["particle"])
    table = Predictions(rows).compare("t")
    assert table["difference"].isna().all()
    assert set(table["method"]) == {"undefined: the models share no particle"}


def test_holm_covers_the_primary_measure_alone():
    """Three models: three adjusted p values, as Holm's procedure gives them."""
    table = Predictions(_predictions(models=("a", "b", "c"))).compare("t", flips=500)
    adjusted = table.dropna(subset=["p_holm"])
    assert set(adjusted["measure"]) == {"balanced accuracy"} and len(adjusted) == 3
    np.testing.assert_allclose(adjusted["p_holm"], intervals.holm(adjusted["p_value"]))


def test_primary_measure_of_a_class_means_its_macro_average(predictions):
    """One measure per task, not one per class."""
    table = Predictions(predictions).compare("t", primary="F1", flips=100)
    assert table.dropna(subset=["p_holm"])[["measure", "class"]].to_numpy().tolist() == [["F1", "macro"]]


def test_unknown_primary_measure_is_refused(predictions):
    """The message lists the measures."""
    with pytest.raises(InputError, match="'recal' is not a measure"):
        Predictions(predictions).compare("t", primary="recal")


def test_tests_of_independence_are_used_where_it_holds(predictions, compared):
    """McNemar and DeLong for independent particles only, and named."""
    alone = Predictions(predictions.drop(columns="micrograph")).compare("t", flips=100)
    named = alone.set_index(["measure", "class"])["method"]
    assert named["accuracy", "all"].endswith("exact McNemar") and named["AUC", "full"].endswith("DeLong 1988")
    assert named["F1", "full"].endswith("sign-flip of particles")
    assert not compared["method"].str.contains("McNemar|DeLong").any()
    assert compared.set_index(["measure", "class"])["method"]["AUC", "full"].endswith("Obuchowski 1997")


def test_mcnemar_counts_the_discordant(predictions):
    """The p value of accuracy is that of the particles which one model alone has right."""
    right = predictions["truth"] == predictions["predicted"]
    one, two = (right[predictions["model"] == m].to_numpy() for m in ("cnn", "svm"))
    expected = intervals.mcnemar_exact((one & ~two).sum(), (two & ~one).sum())
    table = Predictions(predictions.drop(columns="micrograph")).compare("t", flips=100)
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
    estimates = score_estimates(held_out.by_model(rows, CLASSES)["cnn"])
    assert estimates.variance[1] == pytest.approx(variance, rel=0.02)


def _sized(ratio, *, pixels=(1.0,)):
    """Particles of two classes in six micrographs, of which the second is larger by a factor."""
    rows = [(f"m{i % 6}", "ab"[i % 2], 50.0 * (1 + i % 5 / 50) * ratio ** (i % 2)) for i in range(60)]
    table = pd.DataFrame(rows, columns=["micrograph", "content", "nm"])
    table["pixel_size_nm"] = [pixels[i % len(pixels)] for i in range(60)]
    return table.assign(box_px=table["nm"] / table["pixel_size_nm"])


def test_size_alone_finds_classes_that_differ_in_size():
    """All of classes of different sizes, none of equal ones; and a physical size counts where pixels differ."""
    for pixels in ((1.0,), (0.5, 1.0, 2.0)):
        table = _sized(2.0, pixels=pixels)
        assert (evaluate.size_alone(table, "content") == table["content"]).all()
    same = _sized(1.0)
    assert 0.3 < (evaluate.size_alone(same, "content") == same["content"]).mean() < 0.7
    blind = _sized(2.0, pixels=(0.5, 1.0, 2.0)).assign(pixel_size_nm=np.nan)
    assert (evaluate.size_alone(blind, "content") == blind["content"]).mean() < 0.9


def test_size_alone_is_learnt_from_other_micrographs():
    """Where sizes tell the micrograph, and it the class, nothing is gained."""
    table = pd.DataFrame(
        {"micrograph": np.repeat(list("uvwxyz"), 10), "content": np.repeat(list("ababab"), 10)}
    )
    table["box_px"] = np.repeat([20.0, 30.0, 40.0, 50.0, 60.0, 70.0], 10)
    assert (evaluate.size_alone(table, "content") == table["content"]).mean() <= 0.5


@pytest.mark.parametrize(
    "change", [{"box_px": np.nan}, {"box_px": 40.0}, {"micrograph": "m"}, {"content": "a"}]
)
def test_size_alone_is_unknown_without_sizes_micrographs_or_classes(change):
    """Nothing is said where nothing can be known."""
    assert evaluate.size_alone(_sized(2.0).assign(**change), "content") is None


def test_size_alone_stands_beside_the_models(predictions):
    """The row follows that of always, from the boxes of the same particles."""
    first = predictions.drop_duplicates("particle")
    sizes = first["truth"].map(dict(zip(sorted(first["truth"].unique()), (20, 40, 80))))
    particles = first[["particle", "micrograph"]].assign(box_px=sizes.to_numpy())
    shown = Predictions(predictions).paradox(particles, "content").set_index("model")
    assert shown.index[1] == "size alone"
    assert shown.loc["size alone", "balanced accuracy"] == 1


def test_always_naming_the_commonest_class_shows_the_accuracy_paradox(predictions, measured):
    """Its share as accuracy, one third as balanced accuracy, no MCC; the models' rows are those of their measures."""
    shown = Predictions(predictions).paradox().set_index("model")
    one = predictions[predictions["model"] == "cnn"]["truth"]
    always = shown.loc[f"always {one.mode()[0]}"]
    assert always["accuracy"] == pytest.approx(one.value_counts(normalize=True).max())
    assert always["balanced accuracy"] == pytest.approx(1 / 3)
    assert always["kappa"] == 0 and np.isnan(always["MCC"])
    assert shown.index.tolist()[1:] == ["cnn", "svm"]
    assert all(shown.loc["cnn", name] == _value(measured, name, "all") for name in shown)


def test_few_micrographs_and_few_positives_are_warned_of():
    """Below 20 micrographs and below 30 positives, not otherwise."""
    few = warnings(Predictions(_predictions(particles=100, micrographs=10)).measures("t"))
    assert any("10 micrographs are fewer than 20" in s for s in few)
    assert any("are truly uncertain, fewer than 30" in s for s in few)
    assert warnings(Predictions(_predictions()).measures("t")) == []


def test_comparison_is_the_same_by_seed(predictions):
    """Random exchanges come from one seed."""
    runs = [Predictions(predictions).compare("t", flips=200, seed=5) for _ in range(2)]
    pd.testing.assert_frame_equal(*runs)


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


def _values(counts):
    """Return {(measure, position of the class as text, or average): value} of a confusion matrix."""
    labels = measures.call_labels([str(k) for k in range(len(counts))])
    return dict(zip(labels, measures.call_values(counts.astype(float))))


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
            of_labels = {(name, str(c)): v for c, v in enumerate(np.atleast_1d(value))}
            found |= of_labels if average is None else {(name, average): value}
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
        ours = _values(counts)
        with ignored.catch_warnings():
            ignored.simplefilter("ignore")
            theirs = _of_libraries(counts)
        for label, value in theirs.items():
            if not np.isnan(ours[label]):
                assert ours[label] == pytest.approx(value, abs=1e-12), (label, counts)
                compared += 1
    assert compared > 20 * number


def test_npv_is_the_ppv_of_the_other_class():
    """In two classes the NPV of one is the PPV of the other."""
    values = _values(np.array([[5, 3], [2, 9]]))
    assert values["NPV", "0"] == values["PPV", "1"] == 9 / 12


def test_harmonic_mean_of_tpr_and_tnr_is_that():
    """The quantity that the slides call F1 is 2 TPR TNR / (TPR + TNR)."""
    values = _values(np.array([[8, 2], [5, 5]]))
    assert values["harmonic mean of TPR and TNR", "0"] == pytest.approx(2 * 0.8 * 0.5 / 1.3)


def test_undefined_is_nan_exactly_where_a_denominator_is_0(matrices):
    """TPR, PPV, F1, NPV, TNR of a class are NaN if and only if their denominator is 0."""
    for counts in matrices[:200]:
        values = _values(counts)
        for c in range(len(counts)):
            truly, called, n = counts[c].sum(), counts[:, c].sum(), counts.sum()
            zero = {"TPR": truly, "PPV": called, "F1": truly + called, "TNR": n - truly, "NPV": n - called}
            assert {m for m in zero if np.isnan(values[m, str(c)])} == {m for m, d in zero.items() if d == 0}


def _of_one_unit(counts, classes):
    """Return the estimates of a confusion matrix that is one micrograph."""
    return measures.call_estimates(counts[None].astype(float), np.ones(1), False, classes)


def test_every_undefined_measure_has_a_reason_and_no_other(matrices):
    """The words are empty exactly where there is a value."""
    for counts in matrices[:200]:
        found = _of_one_unit(counts, [f"c{k}" for k in range(len(counts))])
        undefined = np.isnan(found.value)
        assert [r.startswith("undefined: ") and len(r) > 15 for r in found.reason] == list(undefined)
        assert [r == "" for r in found.reason] == list(~undefined)


def test_reason_names_the_class():
    """A class that is never called is named."""
    found = _of_one_unit(np.array([[5, 0], [3, 0]]), ["empty", "full"])
    place = measures.call_labels(["empty", "full"]).index(("PPV", "full"))
    assert found.reason[place] == "undefined: no particle is predicted as full"


def test_values_do_not_change_when_all_counts_double(matrices):
    """Measures are homogeneous of degree 0, as their linearisation requires."""
    for counts in matrices[:50]:
        once, twice = measures.call_values(counts.astype(float)), measures.call_values(2.0 * counts)
        np.testing.assert_allclose(once, twice, rtol=1e-12)


def test_worked_puts_the_numbers_into_the_formula(predictions):
    """The formula with numbers, evaluated, is the value, which is that of the table."""
    held = Predictions(predictions)
    shown, measured = held.worked("cnn"), held.measures("t")
    assert len(shown) == 6 * len(CLASSES) and shown["numbers"].str.contains(r"\d").all()
    for row in shown.itertuples():
        assert eval(row.numbers.replace("×", "*")) == pytest.approx(row.value)
        assert _value(measured, row.measure, row._5) == pytest.approx(row.value)


def test_worked_refuses_an_unknown_model(predictions):
    """The message names the model and the choices."""
    with pytest.raises(InputError, match="no model 'round' in the predictions; there are cnn, svm"):
        Predictions(predictions).worked("round")


@pytest.mark.parametrize(
    "names", [("all", "macro", "micro"), ("weighted", '"all"', "all"), ('"macro"', '""macro""', "macro")]
)
def test_a_class_may_have_the_name_of_an_average(predictions, measured, compared, names):
    """Its measures stand in quotes, and every number is that of the same class under another name."""
    other = dict(zip(CLASSES, names))
    columns = {f"p_{name}": f"p_{new}" for name, new in other.items()}
    renamed = predictions.replace({"truth": other, "predicted": other}).rename(columns=columns)
    held = Predictions(renamed)
    quoted = {name: f'"{new}"' for name, new in other.items()}
    for found, plain in (
        (held.measures("encapsulation"), measured),
        (held.compare("encapsulation", flips=500), compared),
    ):
        expected = plain.assign(**{"class": plain["class"].replace(quoted)}).drop(columns="method")
        pd.testing.assert_frame_equal(found.drop(columns="method"), expected)
        assert not found.duplicated(
            [name for name in ("model", "model_a", "model_b", "class", "measure") if name in found]
        ).any()
    assert not set(quoted.values()) & {"all", *AVERAGES}
