import numpy as np
import pytest

from temlib import particles, svm, training
from temlib.files import InputError

SETTINGS = dict(folds=2, seed=3, batch=8, learning_rate=3e-3, augmentation="slides")


@pytest.mark.parametrize("imbalance", ["none", "class_weight", "oversample"])
def test_the_protocol_predicts_every_particle_once(study, imbalance):
    """Each particle is tested once by each model, never by one that saw its micrograph, and probabilities sum to 1."""
    data = particles.open(study, input_size=24)
    models = ["residual", "svm_texture"]
    trained = training.train(data, "content", models, epochs=2, imbalance=imbalance, **SETTINGS)
    test = trained.predictions[trained.predictions["role"] == "test"]
    assert not trained.failures and set(test["model"]) == set(models)
    assert (test.groupby("model")["particle"].nunique() == 48).all() and len(test) == 96
    assert np.allclose(test[["p_bright", "p_plain"]].sum(axis=1), 1)
    for _, rows in trained.predictions.groupby(["model", "fold"]):
        roles = rows.groupby("role")["micrograph"].agg(set)
        assert not roles["test"] & roles["validation"]


def test_the_svm_learns_a_plain_difference(study):
    """A bright centre is found."""
    data = particles.open(study, input_size=24)
    rows = training.train(
        data, "content", ["svm_texture"], epochs=1, imbalance="none", **SETTINGS
    ).predictions
    test = rows[rows["role"] == "test"]
    assert (test["truth"] == test["predicted"]).mean() >= 0.9


def test_training_is_reproducible(study):
    """The same seed gives the same numbers."""
    data = particles.open(study, input_size=24)
    one, two = (
        training.train(
            data, "content", ["residual"], epochs=2, imbalance="oversample", **SETTINGS
        ).predictions
        for _ in range(2)
    )
    assert np.array_equal(one["p_plain"], two["p_plain"])


def test_a_network_that_does_not_fit_fails_alone(study):
    """lipnet4 needs 12 pixels; the SVM goes on and the reason is kept."""
    data = particles.open(study, input_size=10)
    trained = training.train(
        data, "content", ["lipnet4", "svm_texture"], epochs=1, imbalance="none", **SETTINGS
    )
    assert "raise it" in trained.failures["lipnet4"]
    assert set(trained.predictions["model"]) == {"svm_texture"}


@pytest.mark.parametrize(
    ("models", "primary", "message"),
    [
        (["residaul"], "residaul", "did you mean 'residual'"),
        ([], "residual", "each model once"),
        (["lipnet4"], "residual", "not among 'models'"),
    ],
)
def test_wrong_models_are_refused(models, primary, message):
    """Names are checked before anything is trained."""
    with pytest.raises(InputError, match=message):
        training.check_models(models, primary)


def test_oversampling_repeats_rare_particles_whole():
    """ceil(largest / count) copies of each particle of a class, as in 2016."""
    network = training._Network.__new__(training._Network)
    network.classes, network.imbalance = ["a", "b"], "oversample"
    order, weights = network._balanced(np.array([0, 0, 0, 0, 0, 1, 1]))
    assert np.bincount(order).tolist() == [1, 1, 1, 1, 1, 3, 3] and (weights == 1).all()


def test_inner_folds_of_the_svm_train_on_every_class():
    """A class that lies in two micrographs of ten is in the training part of each inner fold."""
    groups = np.repeat(np.arange(10), 4)
    labels = np.where(groups < 2, "rare", "common")
    for train, held in svm._inner_folds(np.zeros((40, 1)), labels, groups, seed=0):
        assert set(labels[train]) == {"rare", "common"} and not set(groups[train]) & set(groups[held])
