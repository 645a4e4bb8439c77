"""One network in one fold: what a step takes, how weights are moved and kept, how particles are predicted."""

from functools import partial

import numpy as np
import pytest

from temlib.augment import OnDevice, lowpass
from temlib.train import fitting, networks
from tests.train.conftest import faint, fitted, settings

CODES = np.arange(96) % 2


def batches(imbalance, *, labels=(0, 0, 0, 0, 0, 0, 1, 1), batch=4, passes=1):
    """Plan epochs of 6 particles of a common class and 2 of a rare one."""
    return fitting.Batches(np.array(labels), 2, settings(batch=batch, imbalance=imbalance), passes)


@pytest.mark.parametrize(
    ("imbalance", "times"), [("none", [1, 1]), ("oversample", [1, 3]), ("threshold", [1, 1])]
)
def test_an_epoch_repeats_rare_particles_where_it_should(imbalance, times):
    """Oversampling takes each rare particle ceil(6 / 2) times, the others once."""
    taken = np.bincount(batches(imbalance).epoch(np.random.default_rng(1)).ravel(), minlength=8)
    assert taken[:6].tolist() == [times[0]] * 6 and taken[6:].tolist() == [times[1]] * 2


def test_undersampling_takes_as_many_of_each_class_and_others_each_time():
    """Two of six common particles stand beside the two rare ones, and in time every particle has its turn."""
    rng, one = np.random.default_rng(1), batches("undersample")
    epochs = [one.epoch(rng).ravel() for _ in range(20)]
    assert all((epoch < 6).sum() == 2 and (epoch >= 6).sum() == 2 for epoch in epochs)
    assert set(np.concatenate(epochs)) == set(range(8))


def test_class_weights_make_classes_count_alike():
    """6 and 2 particles weigh 2/3 and 2, so that each class weighs 4."""
    assert np.allclose(batches("class_weight").weights, [8 / 12] * 6 + [8 / 4] * 2)
    assert np.allclose(batches("oversample").weights, 1)


def test_steps_are_of_one_length_and_particles_can_be_passed_over_several_times():
    """The last step is filled up; of eight to be learnt from, two have labels and are passed over four times."""
    assert batches("none", batch=5).epoch(np.random.default_rng(0)).shape == (2, 5)
    quarter = batches("none", labels=(0, 1), passes=4)
    assert np.bincount(quarter.epoch(np.random.default_rng(0)).ravel()).tolist() == [4, 4]


def test_logit_adjustment_shifts_the_logits_of_the_loss_by_the_log_shares():
    """The loss of logits is the cross-entropy of logits + ln(share); focal loss makes little of what is easy."""
    loss = {f: fitting.loss_of_logits(networks.backend(), 2, focal=f) for f in (False, True)}
    logits, target = np.array([[1.0, -1.0]], np.float32), batches("logit_adjustment").targets[[7]]
    shifted = logits + np.log([[0.75, 0.25]])
    log_p = shifted - np.log(np.exp(shifted).sum())
    expected = -(np.array([0.05, 0.95]) * log_p[0]).sum()
    assert float(loss[False](target, logits)[0]) == pytest.approx(expected, rel=1e-5)
    common, rare = (batches("none").targets[[k]] for k in (0, 7))
    ease = {f: float(loss[f](common, 3 * logits)[0]) / float(loss[f](rare, 3 * logits)[0]) for f in loss}
    assert ease[True] < 0.5 * ease[False]


def test_the_average_forgets_the_start_and_tracks_the_weights():
    """Averaged weights end near the mean of the last steps, and a recipe without averaging leaves the model alone."""

    class Model:
        def __init__(self):
            self.weights = [np.zeros(1, np.float32)]

        def get_weights(self):
            return [w.copy() for w in self.weights]

        def set_weights(self, weights):
            self.weights = [w.copy() for w in weights]

    model, average = Model(), fitting.Average(40)
    for step in range(400):
        model.weights = [np.array([float(step)], np.float32)]
        average.step(model)
    with average.inside(model):
        assert 340 < model.weights[0][0] < 385
    assert model.weights[0][0] == 399
    with fitting.Average(0).inside(model):
        assert model.weights[0][0] == 399


def test_a_network_is_compiled_once_whatever_the_folds_sizes():
    """Training and prediction are traced in the first fold and never again."""
    data = faint()
    network, traced = fitting.Network("lipnet4", ["a", "b"], settings(folds=3, epochs=1)), []
    inputs = network.inputs(data)

    def fold(held):
        rows, groups = np.arange(96), np.arange(96) // 20
        parts = {"train": rows[held + 13 :], "validation": rows[held : held + 13]}
        network.fit(inputs, CODES, groups, **parts, fold=1)
        network.predict(inputs, groups, rows[:held])

    fold(20)
    layer = network.model.layers[1]
    run = layer.call
    # Python code of a layer runs while a function is traced and never again.
    layer.call = lambda *args, **kwargs: (traced.append(1), run(*args, **kwargs))[1]
    for held in (31, 45):
        fold(held)
    assert not traced
    network.model(np.zeros((1, 16, 16, 1), np.float32))
    assert traced


@pytest.mark.parametrize("size", [24, 25])
def test_a_dihedral_network_does_not_change_its_mind_when_a_particle_is_turned(size):
    """After some training the probabilities under all eight symmetries of the square agree to 1e-4."""
    from temlib.train import layers

    data = faint(size=size)
    labels, rows = (data.table["content"] == "rare").astype(int).to_numpy(), np.arange(96)
    network, inputs, _ = fitted("dihedral", data.images, labels, epochs=3)
    plain = network.probabilities(inputs, rows)
    for element in range(layers.ORIENTATIONS):
        turned = np.stack([layers.dihedral(image, element) for image in data.images])
        assert abs(network.probabilities([turned], rows) - plain).max() <= 1e-4


def test_predictions_can_be_averaged_over_transforms():
    """Each particle's probabilities are the mean over the same drawn transforms, of which the seed has the draws."""
    network, inputs, groups = fitted("residual", faint(size=24).images, CODES, epochs=1, averaging=2)
    transforms, rows = network.augmentation.draw(2, 1), np.arange(70)

    def transformed(k, images):
        return network.augmentation.apply(lowpass(images), transforms.iloc[np.full(len(images), k)])

    found, _ = network.predict(inputs, groups, rows)
    once = [network.probabilities(inputs, rows, see=partial(transformed, k)) for k in range(2)]
    assert np.allclose(found, (once[0] + once[1]) / 2, atol=1e-5)
    assert not np.allclose(found, network.probabilities(inputs, rows), atol=1e-3)


def test_the_weights_of_the_best_epoch_are_kept():
    """Not those of the last, by which noise was learnt by heart; a single validation micrograph is told, but with patience."""
    images, rows = faint(size=24).images, np.arange(64, 80)
    for groups, recipe in ((16, "modern"), (8, "modern"), (16, "thesis2016")):
        options = {"epochs": 6, "augmentation": "none", "recipe": recipe}
        network, inputs, _ = fitted("lipnet4", images, CODES, np.arange(96) // groups, **options)
        losses = [row["validation_loss"] for row in network.history]
        kept = fitting.log_loss(network.probabilities(inputs, rows), CODES[rows])
        assert losses[-1] > min(losses) == pytest.approx(kept, rel=1e-6)
        assert network.lone == (groups == 16 and recipe == "modern")


def test_a_refit_learns_from_validation_particles_too_unless_it_is_interrupted():
    """It starts anew and ends with other weights, and an interruption leaves the first ones."""

    def stop(epoch, text):
        assert "refitted" in text
        raise KeyboardInterrupt

    network, inputs, _ = fitted("residual", faint(size=24).images, CODES)
    rows = np.arange(80)
    first = network.probabilities(inputs, rows)
    network.refit(inputs, CODES, rows, fold=1, report=stop)
    assert network.interrupted and np.array_equal(network.probabilities(inputs, rows), first)
    network.refit(inputs, CODES, rows, fold=1)
    assert not np.allclose(network.probabilities(inputs, rows), first) and len(network.history) == 2


def test_memory_holds_a_batch_and_not_the_data_set(monkeypatch):
    """Images may be a memory map: with no room for prepared images the network asks for a batch at a time."""
    monkeypatch.setattr(fitting, "PREPARED_BYTES", 0)
    asked = []

    class Lazy(np.ndarray):
        def __getitem__(self, index):
            asked.append(np.size(index))
            return np.asarray(super().__getitem__(index))

    network, inputs, groups = fitted("lipnet4", faint().images.view(Lazy), CODES, epochs=1)
    network.check(inputs, CODES, np.arange(64, 96))
    network.predict(inputs, groups, np.arange(64, 96))
    assert 0 < max(asked) <= fitting.BLOCK


def test_training_is_the_same_whether_images_are_prepared_once_or_each_time(monkeypatch):
    """The bounded cache is a matter of speed only; on an accelerator losses differ by rounding."""
    images, losses = faint(size=24).images, []
    for room, accelerated in ((2**28, False), (0, False), (2**28, True)):
        monkeypatch.setattr(fitting, "PREPARED_BYTES", room)
        monkeypatch.setattr(OnDevice, "available", lambda accelerated=accelerated: accelerated)
        network, _, _ = fitted("dihedral", images, CODES, contrast="either")
        assert bool(network.device) == accelerated
        losses.append([row["loss"] for row in network.history])
    assert losses[0] == losses[1] != losses[2] and np.allclose(losses[0], losses[2], rtol=0.02)
