"""The SVM baselines: descriptors with known values, tuning and calibration on whole micrographs, large sets."""

import numpy as np
import pandas as pd
import pytest

from temlib import train
from temlib.files import InputError
from temlib.train import descriptors, svm
from tests.conftest import REAL


def _disc(size=40, radius=10.0, row=19.5, column=19.5, noise=0.2, seed=0):
    """Return an image with a dark disc."""
    rows, columns = np.indices((size, size))
    inside = np.hypot(rows - row, columns - column) <= radius
    return (np.random.default_rng(seed).normal(0, noise, (size, size)) - 3 * inside).astype(np.float32)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_outline_of_a_disc_is_found(sign):
    """Dark or bright, in noise: area and circularity are a disc's to a tenth, moments those of a disc."""
    images = sign * np.stack([_disc(seed=k, noise=0.5) for k in range(4)])
    table = train.thesis(images)
    assert table["area"].to_numpy() == pytest.approx(np.pi * 100, rel=0.12)
    assert (table["circularity"] > 0.85).all()
    assert table[["M20", "M02"]].to_numpy() == pytest.approx(25, rel=0.15)  # r² / 4
    assert np.abs(table[["M30", "M03"]].to_numpy()).max() < 10


def test_the_edge_density_profile_peaks_at_the_outline():
    """80 points from the centre to 1.25 times the outline."""
    profile = train.thesis(_disc()[None]).filter(like="edge_density").to_numpy()[0]
    assert len(profile) == 80
    assert np.argmax(profile) / 79 * train.REACH == pytest.approx(1, abs=0.08)


def test_every_descriptor_has_a_group_with_unit_and_meaning():
    """Of both baselines; names are unique and values finite, also for an image of nothing but noise."""
    images = np.random.default_rng(0).normal(size=(3, 28, 28)).astype(np.float32)
    for name in train.svm_names():
        table = train.features(images, name)
        assert table.columns.is_unique and np.isfinite(table.to_numpy()).all()
        assert {descriptors.group_of(column) for column in table} <= set(descriptors.GROUPS)
    assert len(train.features(images, "svm_thesis").columns) == 6 + 80


def test_batches_change_nothing(monkeypatch):
    """Descriptors of an image do not depend on its neighbours."""
    images = np.random.default_rng(0).normal(size=(7, 24, 24)).astype(np.float32)
    whole = [train.features(images, name) for name in train.svm_names()]
    monkeypatch.setattr(descriptors, "BATCH", 3)
    for one, name in zip(whole, train.svm_names()):
        np.testing.assert_allclose(train.features(images, name), one, rtol=1e-5, atol=1e-6)


def _drawn(n=240, groups=12, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1])
    table = pd.DataFrame(
        rng.normal(size=(n, 5)) + 2 * np.eye(5)[pd.Categorical(labels).codes], columns=list("vwxyz")
    )
    return table, labels, rng.integers(0, groups, n).astype(str)


def _fitted(table, labels, groups, name="svm_texture"):
    """Fit to all particles; return the estimator and the labels as numbers."""
    codes, everything = pd.Categorical(labels).codes, np.arange(len(labels))
    machine = svm.Svm(name, sorted(set(labels)), train.Settings(adaptation="none"))
    return machine.fit(table, codes, np.asarray(groups), train=everything, fold=1), codes


def _right(machine, table, codes, groups):
    """Return the share of predicted classes that are right."""
    return (machine.predict(table, groups, np.arange(len(codes)))[1] == codes).mean()


@pytest.mark.parametrize("name", ["svm_thesis", "svm_texture"])
def test_a_fitted_baseline_predicts_classes_and_probabilities(name):
    """Scaling is part of what is fitted; probabilities sum to 1; classes are told apart."""
    table, labels, groups = _drawn()
    machine, codes = _fitted(table * 1000 + 5, labels, groups, name)
    probabilities, called = machine.predict(table * 1000 + 5, groups, np.arange(len(codes)))
    assert probabilities.shape == (240, 3) and np.allclose(probabilities.sum(axis=1), 1)
    assert (called == probabilities.argmax(axis=1)).all()
    assert _right(machine, table * 1000 + 5, codes, groups) > 0.8


def test_a_rare_class_is_called_where_it_is_likely_among_equally_frequent_ones():
    """Two overlapping classes, one of them a tenth: both are found about as often, and probabilities say so."""
    rng = np.random.default_rng(0)
    rare = rng.random(600) < 0.1
    table = pd.DataFrame(rng.normal(size=(600, 3)) + np.where(rare, 0.8, -0.8)[:, None] * [1, 0, 0])
    groups = np.repeat(np.arange(30), 20)
    machine, codes = _fitted(table, np.where(rare, "rare", "usual"), groups)
    p, called = machine.predict(table, groups, np.arange(600))
    found = [(called == codes)[codes == k].mean() for k in (0, 1)]
    assert min(found) > 0.6 and abs(found[0] - found[1]) < 0.2
    assert p[codes == 0, 0].mean() > 0.6


def test_inner_folds_keep_micrographs_whole_and_train_on_every_class(monkeypatch):
    """Of the search and of the calibration alike, in every fold, though one class lies in two micrographs only."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import GridSearchCV

    table, labels, groups = _drawn()
    labels = np.where(np.isin(groups, ["3", "4"]), "rare", np.where(labels == "c", "b", labels))
    seen = []
    for kind in (GridSearchCV, CalibratedClassifierCV):
        fit = kind.fit
        monkeypatch.setattr(
            kind, "fit", lambda self, *a, fit=fit, **k: (seen.append(self.cv), fit(self, *a, **k))[1]
        )
    _fitted(table, labels, groups)
    assert len(seen) == 2
    for folds in seen:
        for inner, held in folds:
            assert not set(groups[inner]) & set(groups[held]) and set(labels[inner]) == set(labels)


def test_above_a_number_of_particles_the_kernel_is_approximated_and_that_is_said(monkeypatch):
    """With C and gamma searched on a part of whole micrographs; predictions stay nearly as good."""
    table, labels, groups = _drawn(n=900, groups=45)
    exact, codes = _fitted(table, labels, groups)
    monkeypatch.setattr(svm, "EXACT", 800)
    monkeypatch.setattr(svm, "LANDMARKS", 100)
    monkeypatch.setattr(svm, "SEARCHED", 300)
    approximate, _ = _fitted(table, labels, groups)
    steps = [m.fitted.calibrated_classifiers_[0].estimator.named_steps for m in (exact, approximate)]
    assert "kernel" not in steps[0] and "kernel" in steps[1]
    assert _right(approximate, table, codes, groups) > _right(exact, table, codes, groups) - 0.1
    assert "Nyström approximation" in train.svm_note(900) and "exact" in train.svm_note(800)


def test_a_class_in_one_micrograph_is_tuned_within_it():
    """No whole micrograph can be left out then; a single particle of a class cannot be divided at all."""
    table, labels, groups = _drawn()
    rare = np.where((groups == "3") & (labels == "a"), "rare", "common")
    machine, codes = _fitted(table, rare, groups)
    assert machine.divided and machine.predict(table, groups, np.arange(len(codes)))[0].shape == (240, 2)
    assert not _fitted(table, labels, groups)[0].divided
    alone, codes = _fitted(table, np.where(np.arange(len(table)) == 7, "rare", "common"), groups)
    assert alone.divided and alone.predict(table, groups, np.arange(240))[0].shape == (240, 2)


def test_importance_finds_the_descriptors_that_decide():
    """A bright centre shows in the radial profile; a group that is never used loses nothing."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(120, 4)), columns=["radial_0", "radial_1", "hog_0", "hog_1"])
    machine, codes = _fitted(table, np.where(table["radial_0"] > 0, "a", "b"), np.repeat(range(12), 10))
    lost = machine.importance(table, codes, np.arange(120), seed=0).set_index("descriptor")["loss"]
    assert lost["radial"] > 0.3 > 0.1 > lost["hog"]


def test_an_unknown_baseline_is_refused():
    """The message lists the two."""
    with pytest.raises(InputError, match="svm_thesis, svm_texture"):
        train.features(np.zeros((1, 20, 20), np.float32), "svm_best")


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the real particle sets are absent")
def test_on_real_particles_it_is_at_least_as_good_as_a_plain_svm():
    """HOG and radial profile, same grouped folds, both sets."""
    from benchmarks import svm as benchmark

    for name in benchmark.SETS:
        found = benchmark.scores(name, 64, 1, ["svm_texture"])
        assert found["svm_texture"][0] >= found["plain"][0]
