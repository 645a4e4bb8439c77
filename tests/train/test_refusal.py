"""Refusal: empty windows are told from particles, and few particles of any class are lost."""

import numpy as np
import pytest

from temlib.train import refusal


def _crops(count, rng, bright):
    """Return crops of noise (count, 24, 24), padded by four pixels, with a ring, and where `bright` with a spot."""
    rows, columns = np.indices((16, 16)) - 7.5
    radius = np.hypot(rows, columns)
    images = np.zeros((count, 24, 24), np.float32)
    inside = rng.normal(size=(count, 16, 16)) + 4 * (np.abs(radius - 5) < 1) + 3 * bright * (radius < 2)
    images[:, 4:-4, 4:-4] = np.clip(inside - np.median(inside), -8, 8)
    return images


@pytest.fixture(scope="module")
def study():
    """Rings of a common class and of a rare one in six micrographs, two in each fold, and what is learnt of them."""
    rng = np.random.default_rng(0)
    images = np.concatenate([_crops(210, rng, 0), _crops(12, rng, 1)])
    labels, micrographs = np.repeat([0, 1], [210, 12]), np.arange(222) % 6
    labels[:3] = -1
    arrays, refused = refusal.fit(images, labels, micrographs % 3 + 1, micrographs, seed=1)
    return arrays, refused, labels


def test_empty_windows_are_refused_and_particles_are_not(study):
    """By all folds, also where nothing of the new noise was learnt."""
    arrays, _, _ = study
    rng = np.random.default_rng(1)
    windows = np.zeros((60, 24, 24), np.float32)
    windows[:, 4:-4, 4:-4] = rng.normal(size=(60, 16, 16))
    found = refusal.Refusal(arrays).p_values(np.concatenate([windows, _crops(60, rng, 0)]))
    refused = found <= refusal.LIMIT
    assert refused.shape == (3, 120) and refused[:, :60].mean() > 0.95 and refused[:, 60:].mean() < 0.1


def test_few_held_out_particles_of_each_class_are_refused(study):
    """Of the common class about the limit, of one that is too rare to have a threshold of its own not nearly all."""
    _, refused, labels = study
    assert refused[labels == 0].mean() <= 2 * refusal.LIMIT and refused[labels == 1].mean() <= 0.25


def test_a_p_value_is_the_share_of_held_out_scores_at_least_as_large():
    """Of the class that allows most; counted with the score itself."""
    known, labels = np.concatenate([np.arange(99.0), np.arange(99.0) + 1000]), np.repeat([0, 1], 99)
    found = refusal.p_values(np.array([-1.0, 1000, 1049, 1098, 2000]), known, labels)
    assert found == pytest.approx([1, 1, 0.51, 0.02, 0.01])


def test_a_rare_class_keeps_its_own_place():
    """Three particles far from the rest are judged by the spread of all, about their own median."""
    known, labels = np.concatenate([np.linspace(-1, 1, 97), [99, 100, 101]]), np.repeat([0, 1], [97, 3])
    found = refusal.p_values(np.array([100.0, 101.5]), known, labels)
    assert found[0] > 0.4 and found[1] == pytest.approx(1 / 98)


def test_emptied_crops_keep_their_padding_and_their_spread():
    """Whatever the way; what is no padding is noise of unit spread about zero."""
    images = _crops(5, np.random.default_rng(2), 1)
    made = refusal.emptied(images, np.random.default_rng(3))
    assert made.shape == (4, 5, 24, 24) and (made[:, :, :4] == images[:, :4]).all()
    assert refusal.boxes(images).tolist() == [[4, 20, 4, 20]] * 5
    low, middle, high = np.quantile(made[:, :, 4:-4, 4:-4], (0.16, 0.5, 0.84), axis=(2, 3))
    assert middle == pytest.approx(0, abs=0.01) and (high - low) / 2 == pytest.approx(1, abs=0.05)


def test_descriptors_do_not_change_when_a_crop_is_turned():
    """By a quarter turn, to the last digits."""
    images = _crops(3, np.random.default_rng(4), 1)
    turned = refusal.described(np.ascontiguousarray(np.rot90(images, axes=(1, 2))))
    assert np.allclose(refusal.described(images), turned, atol=0.01)
