"""Adaptive batch normalisation: statistics, what is left behind, and that it cures a shifted micrograph."""

import numpy as np
import pandas as pd
import pytest

from temlib.train import adaptation, networks
from tests.train.conftest import fitted


def _adaptive(name, classes=2):
    model = networks.build(name, input_size=24, classes=classes, seed=1)
    return model, adaptation.AdaptiveNormalization(model)


def _statistics(model):
    return [np.array(v) for v in model.non_trainable_variables if "moving" in v.path]


def test_a_micrograph_counts_for_more_the_more_particles_it_has():
    """Nothing with a handful, half with as many as the prior, never all."""
    assert adaptation.share(15) == 0
    assert adaptation.share(adaptation.PRIOR) == 0.5
    assert 0.1 < adaptation.share(16) < adaptation.share(1000) < 1


@pytest.mark.parametrize("count", [16, 32, 50])
def test_the_first_layer_takes_the_statistics_of_the_micrograph(count):
    """Its mean and variance are the stated mixture of those before and of the particles' own features, computed by hand."""
    model, adaptive = _adaptive("residual")
    images = np.random.default_rng(0).normal(3, 2, size=(count, 24, 24, 1)).astype(np.float32)
    # Particles must have the same weight in the statistics for the sums below: whole blocks.
    index = np.resize(np.arange(count), 32 if count <= 32 else 64)
    first = networks.backend().ops.convert_to_numpy(model.layers[1](images[index]))
    part = adaptation.share(count)
    before = [np.array(v) for v in (model.layers[2].moving_mean, model.layers[2].moving_variance)]
    with adaptive.to(images.__getitem__, np.arange(count)):
        now = [np.array(v) for v in (model.layers[2].moving_mean, model.layers[2].moving_variance)]
    for was, found, own in zip(before, now, (first.mean(axis=(0, 1, 2)), first.var(axis=(0, 1, 2)))):
        expected = (1 - part) * was + part * own
        assert np.allclose(found, expected, rtol=0.08 if count == 50 else 1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["lipnet4", "residual", "dihedral"])
def test_adapting_leaves_no_trace(name):
    """Afterwards, also after an error, predictions are as before to the last bit; within, they are others."""
    model, adaptive = _adaptive(name)
    images = np.random.default_rng(0).normal(3, 2, size=(20, 24, 24, 1)).astype(np.float32)
    before, statistics = model.predict_on_batch(images), _statistics(model)
    with pytest.raises(KeyboardInterrupt), adaptive.to(images.__getitem__, np.arange(20)):
        assert not np.allclose(model.predict_on_batch(images), before, atol=1e-3)
        raise KeyboardInterrupt
    assert np.array_equal(model.predict_on_batch(images), before)
    assert all(np.array_equal(a, b) for a, b in zip(_statistics(model), statistics, strict=True))
    assert {layer.momentum for layer in model.layers if hasattr(layer, "momentum")} == {0.9}


def test_only_normalisation_over_pixels_is_adapted():
    """That of lipnet4's dense layers and logits keeps training's statistics; lipnet6 has none at all."""
    model, adaptive = _adaptive("lipnet4")
    before = _statistics(model)  # mean and variance of six layers
    images = np.ones((20, 24, 24, 1), np.float32)
    with adaptive.to(images.__getitem__, np.arange(20)):
        kept = [np.array_equal(a, b) for a, b in zip(before, _statistics(model), strict=True)]
    assert adaptive.able and kept == [False] * 8 + [True] * 4
    assert not _adaptive("lipnet6")[1].able


def _shifted(count=160, size=16):
    """Return noise with or without a bright dot, in micrographs of which the last two are brighter and of more contrast."""
    rng = np.random.default_rng(3)
    images, codes = rng.normal(size=(count, size, size)), np.arange(count) % 2
    images[codes == 1, 6:10, 6:10] += 3
    micrographs = np.arange(count) // 20
    images[micrographs >= 6] = 2.5 * images[micrographs >= 6] + 4
    return images.astype(np.float32), codes, micrographs


def test_an_adapted_network_errs_less_on_micrographs_unlike_those_of_training():
    """Training never sees the shift; adapting to the two shifted micrographs, and nothing else, mends the predictions."""
    images, codes, micrographs = _shifted()
    options = {"epochs": 8, "batch": 16, "augmentation": "none", "train": 80, "validation": 40}
    network, inputs, _ = fitted("residual", images, codes, micrographs, **options)
    test = np.arange(120, 160)
    found, _ = network.predict(inputs, micrographs, test)

    def loss(values):
        return -np.log(values[np.arange(40), codes[test]]).mean()

    assert loss(found) < 0.8 * loss(network.probabilities(inputs, test))
    # The order of particles does not matter much: statistics are those of the micrograph.
    turned, _ = network.predict(inputs, micrographs, test[::-1])
    assert np.allclose(turned[::-1], found, atol=0.02)


def test_descriptors_are_scaled_as_by_a_scaler_with_mixed_statistics():
    """Scaled by training, adapted descriptors are the plain ones scaled by the mixture; small micrographs stay as they are."""
    rng = np.random.default_rng(0)
    training, plain = (
        pd.DataFrame(rng.normal(m, s, (n, 2)), columns=["a", "b"]) for m, s, n in ((1, 2, 90), (5, 3, 36))
    )
    training["c"], plain["c"] = 1.0, 1.0  # a descriptor that never varies
    micrographs = np.array(["large"] * 32 + ["small"] * 4)
    statistics = training.mean().to_numpy(), training.var(ddof=0).to_numpy()
    adapted, part = adaptation.adapted(plain, micrographs, *statistics), adaptation.share(32)
    large = plain[:32]
    mean, variance = (
        (1 - part) * f(training) + part * f(large) for f in (pd.DataFrame.mean, lambda t: t.var(ddof=0))
    )
    assert adapted[32:].equals(plain[32:]) and np.allclose(adapted["c"], 1)
    scaled = (adapted[:32] - training.mean()) / training.std(ddof=0)
    expected = (large - mean) / np.sqrt(variance)
    assert np.allclose(scaled[["a", "b"]], expected[["a", "b"]])


@pytest.mark.parametrize("options", [{"each": 4}, {"each": 20, "adaptation": "none"}])
def test_predictions_are_plain_where_nothing_is_adapted(options):
    """Micrographs with too few particles are left to the statistics of training, and so are all where it is switched off."""
    images, codes, _ = _shifted(40)
    groups = np.arange(40) // options.pop("each")
    network, inputs, _ = fitted("residual", images, codes, groups, train=20, epochs=1, **options)
    rows = np.arange(40)
    found, predicted = network.predict(inputs, groups, rows)
    assert np.array_equal(found, network.probabilities(inputs, rows))
    assert np.array_equal(predicted, found.argmax(axis=1))
