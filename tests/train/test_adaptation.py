"""Networks that follow the micrograph: statistics, what is left behind, and that it cures a shifted micrograph."""

import numpy as np
import pandas as pd
import pytest

from temlib import train
from temlib.train import adaptation, fitting, networks


def _follower(name, classes=2):
    model = networks.build(name, input_size=24, classes=classes, seed=1)
    return model, adaptation.Follower(model)


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
    model, follower = _follower("residual")
    images = np.random.default_rng(0).normal(3, 2, size=(count, 24, 24, 1)).astype(np.float32)
    # Particles must have the same weight in the statistics for the sums below: whole blocks.
    index = np.resize(np.arange(count), 32 if count <= 32 else 64)
    first = networks.backend().ops.convert_to_numpy(model.layers[1](images[index]))
    part = adaptation.share(count)
    before = [np.array(v) for v in (model.layers[2].moving_mean, model.layers[2].moving_variance)]
    with follower.following(lambda index: images[index], np.arange(count)):
        now = [np.array(v) for v in (model.layers[2].moving_mean, model.layers[2].moving_variance)]
    for was, found, own in zip(before, now, (first.mean(axis=(0, 1, 2)), first.var(axis=(0, 1, 2)))):
        assert np.allclose(
            found, (1 - part) * was + part * own, rtol=0.08 if count == 50 else 1e-3, atol=1e-4
        )


@pytest.mark.parametrize("name", ["lipnet4", "residual", "dihedral"])
def test_following_leaves_no_trace(name):
    """Afterwards, also after an error, predictions are as before to the last bit; within, they are others."""
    model, follower = _follower(name)
    images = np.random.default_rng(0).normal(3, 2, size=(20, 24, 24, 1)).astype(np.float32)
    before, statistics = model.predict_on_batch(images), _statistics(model)
    momenta = [layer.momentum for layer in (*follower.followed, *follower.others)]
    with pytest.raises(KeyboardInterrupt), follower.following(lambda index: images[index], np.arange(20)):
        assert not np.allclose(model.predict_on_batch(images), before, atol=1e-3)
        raise KeyboardInterrupt
    assert np.array_equal(model.predict_on_batch(images), before)
    assert all(np.array_equal(a, b) for a, b in zip(_statistics(model), statistics, strict=True))
    assert momenta == [layer.momentum for layer in (*follower.followed, *follower.others)]


def test_only_normalisation_over_pixels_follows():
    """That of lipnet4's dense layers and logits keeps training's statistics; lipnet6 has none at all."""
    _, follower = _follower("lipnet4")
    assert follower.able and len(follower.followed) == 4 and len(follower.others) == 2
    images = np.ones((20, 24, 24, 1), np.float32)
    kept = np.array(follower.others[-1].moving_mean)
    with follower.following(lambda index: images[index], np.arange(20)):
        assert np.array_equal(np.array(follower.others[-1].moving_mean), kept)
    assert not _follower("lipnet6")[1].able


def _shifted(count=160, size=16):
    """Give noise with or without a bright dot, in micrographs of which the last two are brighter and of more contrast."""
    rng = np.random.default_rng(3)
    images, codes = rng.normal(size=(count, size, size)), np.arange(count) % 2
    images[codes == 1, 6:10, 6:10] += 3
    micrographs = np.arange(count) // 20
    images[micrographs >= 6] = 2.5 * images[micrographs >= 6] + 4
    return images.astype(np.float32), codes, micrographs


def test_a_network_that_follows_errs_less_on_micrographs_unlike_those_of_training():
    """Training never sees the shift; following the two shifted micrographs, and nothing else, mends the predictions."""
    images, codes, micrographs = _shifted()
    settings = train.Settings(folds=2, seed=1, epochs=8, batch=16, augmentation="none")
    parts = {
        k: np.flatnonzero(np.isin(micrographs, m))
        for k, m in {"train": range(4), "validation": (4, 5), "test": (6, 7)}.items()
    }
    network = fitting.Network("residual", images, ["no", "yes"], settings, micrographs=micrographs)
    found = network.fold(codes, parts, 1, None)["probabilities"]["test"]
    plain, truth = network.predict(parts["test"]), codes[parts["test"]]

    def loss(values):
        return -np.log(values[np.arange(len(truth)), truth]).mean()

    assert loss(found) < 0.8 * loss(plain)
    # The order of particles does not matter much: statistics are those of the micrograph.
    turned = network.follow(parts["test"][::-1])[::-1]
    assert np.allclose(turned, found, atol=0.02)


def test_descriptors_follow_as_a_scaler_with_mixed_statistics_would():
    """Scaled by training, followed descriptors are the plain ones scaled by the mixture; small micrographs stay as they are."""
    rng = np.random.default_rng(0)
    training_, plain = (
        pd.DataFrame(rng.normal(m, s, (n, 2)), columns=["a", "b"]) for m, s, n in ((1, 2, 90), (5, 3, 36))
    )
    training_["c"], plain["c"] = 1.0, 1.0  # a descriptor that never varies
    micrographs = np.array(["large"] * 32 + ["small"] * 4)
    followed, part = adaptation.followed(plain, micrographs, training_), adaptation.share(32)
    large = plain[:32]
    mean, variance = (
        (1 - part) * f(training_) + part * f(large) for f in (pd.DataFrame.mean, lambda t: t.var(ddof=0))
    )
    assert followed[32:].equals(plain[32:]) and np.allclose(followed["c"], 1)
    scaled = (followed[:32] - training_.mean()) / training_.std(ddof=0)
    expected = (large - mean) / np.sqrt(variance)
    assert np.allclose(scaled[["a", "b"]], expected[["a", "b"]])


def test_a_lone_particle_is_predicted_as_it_is():
    """Micrographs with too few particles to have statistics are left to those of training."""
    images, _, _ = _shifted(40)
    settings = train.Settings(folds=2, seed=1, epochs=1, batch=16)
    network = fitting.Network("residual", images, ["no", "yes"], settings, micrographs=np.arange(40) // 4)
    network._fresh()
    index = np.arange(40)
    assert network._follows() and np.array_equal(network.follow(index), network.predict(index))
