"""The bundles that temlib carries: small, whole, found by name, and begun with by any number of folds."""

from dataclasses import replace

import numpy as np
import pytest

from temlib import simulate, train
from temlib.files import InputError
from tests.train.conftest import made, settings

TASKS = list(simulate.TASKS)


@pytest.fixture(scope="module")
def particles():
    """Crops of two classes at the size that the bundles take, in seven micrographs."""
    rng = np.random.default_rng(0)
    labels = np.where(rng.uniform(size=70) < 0.5, *simulate.TASKS["lamellarity"])
    images = rng.normal(size=(70, 48, 48)).clip(-8, 8)
    data = made(images, labels, np.repeat([f"m{k}" for k in range(7)], 10))
    return replace(data, table=data.table.rename(columns={"content": "lamellarity"}))


def test_there_is_one_for_each_task_and_all_are_small():
    """At most 1 MB together; each knows its classes and that it learnt from simulated particles."""
    bundles = [train.load(f"shipped:{task}") for task in TASKS]
    assert sum(path.stat().st_size for bundle in bundles for path in bundle.folder.iterdir()) <= 1e6
    for task, bundle in zip(TASKS, bundles):
        assert bundle.card["task"] == task and bundle.card["simulated"]
        assert sorted(bundle.card["classes"]) == sorted(simulate.TASKS[task])


@pytest.mark.parametrize(("name", "task"), [("shipped:shape", ""), ("liposomes", "shape"), ("liposomes", "")])
def test_a_task_that_none_knows_is_refused_by_name(name, task):
    """The sentence names those that there are."""
    with pytest.raises(InputError, match="carries no bundle for the task '(shape)?', but for encapsulation"):
        train.load(name, task=task)


def test_weights_called_liposomes_are_those_of_the_task():
    """The same folder by both names; a path is itself."""
    assert train.find_bundle("liposomes", "lamellarity") == train.find_bundle("shipped:lamellarity")
    assert train.find_bundle("runs/mine").as_posix() == "runs/mine"


def test_any_number_of_folds_begins_with_the_carried_weights(particles):
    """More folds than the bundle has, and none of them trained from fresh: after one step of no size the weights are its own."""
    begun = train.load("liposomes", task="lamellarity")
    options = settings(folds=5, epochs=1, learning_rate=1e-12, augmentation="none")
    trained = train.cross_validate(particles, "lamellarity", ["dihedral"], options, weights=begun)
    test = trained.predictions.query("role == 'test'")
    assert sorted(test["fold"].unique()) == [1, 2, 3, 4, 5]
    own, column = begun.predict(particles), "p_multilamellar"
    own = own.pivot(index="particle", columns="fold", values=column)
    found = test.set_index("particle")
    number = len(begun.states)
    expected = [own.loc[name, (fold - 1) % number + 1] for name, fold in found["fold"].items()]
    assert np.corrcoef(found[column], expected)[0, 1] > 0.9


def test_carried_weights_that_do_not_fit_are_refused(particles):
    """Other images, other classes, another network: one sentence each, before anything is trained."""
    begun = train.load("liposomes", task="lamellarity")
    small = replace(particles, images=particles.images[:, :32, :32])
    other = replace(
        particles, table=particles.table.replace({"lamellarity": {"multilamellar": "bilamellar"}})
    )
    for data, models, message in (
        (small, ["dihedral"], "of 32 × 32 pixels, not 48 × 48"),
        (other, ["dihedral"], "has bilamellar"),
        (particles, ["lipnet4"], "the bundle is of dihedral, which is not among 'models'"),
    ):
        with pytest.raises(InputError, match=message):
            begun.continued(data, "lamellarity", models, settings())
