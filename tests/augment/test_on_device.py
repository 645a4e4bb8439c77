"""Augmentation on an accelerator against the compiled splines."""

import numpy as np
import pytest

from temlib import augment
from temlib.augment import Augmentation, affine_matrices, on_device
from tests.augment.conftest import SLIDES, noise


@pytest.mark.parametrize("fill", ["mirror", "nearest"])
@pytest.mark.parametrize("order", [0, 1, 3])
def test_the_device_implementation_agrees(order, fill):
    """keras.ops gives the same pixels in single precision, to 1e-4 of the range; two nearest pixels may tie."""
    images, varied = noise(4, 24, 31), Augmentation(order=order, fill=fill)
    transforms, prepared = varied.draw(4, 5), varied.prepare(images)
    matrices = affine_matrices(transforms, (24, 31))
    result = on_device.resample(prepared.samples, matrices, (24, 31), order=order, fill=fill)
    error = np.abs(np.asarray(result) - varied.apply(images, transforms)) / np.ptp(images)
    assert (error > 1e-4).mean() <= (0.001 if order == 0 else 0)


def test_a_network_is_trained_by_augmentation_in_its_own_step():
    """The joined model sees what the CPU path makes, and its training moves the network's own weights."""
    import keras

    images = noise(6, 16, 16)
    index, gain, transforms = np.array([5, 0, 5]), np.array([1, -1, 1]), SLIDES.draw(3, 2)
    network = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    device = augment.OnDevice(network, SLIDES, 8, (16, 16))
    device.prepare(images)
    fed, joined = device.batch(transforms, index, gain), device.model
    varied = SLIDES.apply_prepared(SLIDES.prepare(images), transforms, index) * gain[:, None, None]
    expected = network(varied[..., None])
    assert np.allclose(joined(fed), expected, atol=1e-3)
    before = network.get_weights()[0]
    joined.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    joined.train_on_batch(fed, np.array([0, 1, 0]))
    assert not np.array_equal(network.get_weights()[0], before)
    assert [v.path for v in joined.trainable_variables] == [v.path for v in network.trainable_variables]
