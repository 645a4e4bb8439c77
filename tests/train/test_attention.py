"""Where a network looked: maps of networks whose answer is known, and of trained ones against shuffled weights."""

import sys

import numpy as np
import pytest

from temlib import evaluate, train
from temlib.data import open as open_data
from temlib.evaluate import examples
from temlib.files import InputError
from temlib.train import attention
from tests.train.conftest import settings


@pytest.fixture(scope="module")
def corner():
    """A network whose second class is the brightness of the upper left quarter, and nothing else."""
    from temlib.train import networks

    keras = networks.backend()
    image = keras.Input((16, 16, 1))
    x = keras.layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones", activation="relu")(image)
    model = keras.Model(image, keras.layers.Dense(2, use_bias=False)(keras.layers.Flatten()(x)))
    weights = np.zeros((16, 16, 2), np.float32)
    weights[:8, :8, 1] = 1
    model.layers[-1].set_weights([weights.reshape(256, 2)])
    return model


@pytest.fixture
def images():
    """Three images of noise."""
    return np.random.default_rng(0).uniform(0.5, 1, (3, 16, 16)).astype(np.float32)


def test_grad_cam_finds_what_the_network_uses(corner, images):
    """All of the map lies in the quarter that decides; of the other class, that nothing is evidence for, it is 0."""
    maps = attention.attention(corner, images, np.array([1, 1, 1]))
    assert maps.shape == images.shape and np.allclose(maps.sum(axis=(1, 2)), 1)
    assert maps[:, :8, :8].sum() == pytest.approx(3, abs=1e-5)
    assert not attention.attention(corner, images, np.array([0, 0, 0])).any()


def test_occlusion_finds_it_without_gradients(corner, images):
    """Blanking anything else loses nothing; the window of three pixels may reach two beyond."""
    images[:, 2:6, 2:6] += 3
    maps = attention.occlusion(lambda x: corner.predict_on_batch(x[..., None]), images, np.array([1, 1, 1]))
    assert maps[:, :10, :10].sum() == pytest.approx(3, abs=1e-5) and maps[:, 1:7, 1:7].sum() > 2.4


def test_on_target_is_1_for_chance():
    """An even map scores 1, one on the mask the inverse of its area; an empty mask or map is undefined."""
    mask = np.zeros((3, 4, 4), bool)
    mask[:2, :2, :2] = True
    maps = np.stack([np.ones((4, 4)), np.pad(np.ones((2, 2)), ((0, 2), (0, 2))), np.ones((4, 4))])
    assert examples.on_target(maps, mask)[:2] == pytest.approx([1, 4]) and np.isnan(
        examples.on_target(maps, mask)[2]
    )
    assert np.isnan(examples.on_target(np.zeros((3, 4, 4)), mask)).all()


def test_shuffled_weights_keep_their_values_and_forget_their_places(corner):
    """The copy is another network; the original stays."""
    before = [w.copy() for w in corner.get_weights()]
    (copy,) = attention.shuffled(corner, [0])
    assert all(np.array_equal(a, b) for a, b in zip(before, corner.get_weights()))
    assert np.array_equal(np.sort(copy.get_weights()[1].ravel()), np.sort(before[1].ravel()))
    assert not np.array_equal(copy.get_weights()[1], before[1])


def test_the_file_comes_back_as_it_was_and_a_damaged_one_is_refused(study, tmp_path):
    """Copies, maps of networks, names; without a file there are no examples."""
    data = open_data(study, input_size=24)
    sample = train.Sample(data, "content", seed=1)
    options = settings(seed=1, epochs=1, augmentation="none")
    trained = train.cross_validate(data, "content", ["residual", "svm_thesis"], options, explain=sample)
    sample.save(tmp_path / "examples.npz", trained.predictions)
    kept = evaluate.load_examples(tmp_path / "examples.npz")
    assert (
        len(kept.images) == 48
        and kept.table["particle"].is_unique
        and len(kept.table) == 2 * attention.PER_CLASS
    )
    assert set(kept.table["model"]) == {"residual"} and kept.scores().empty and len(kept.agreement()) == 1
    copy = kept.images[data.table["particle"][5]]
    assert np.abs(copy / 255 * 6 - 3 - np.clip(data.images[5], -3, 3)).max() < 0.02
    assert set(sample.importance["model"]) == {"svm_thesis"} and len(sample.importance) == 2 * 7
    (tmp_path / "examples.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(InputError, match="run the notebook 3_train again"):
        evaluate.load_examples(tmp_path / "examples.npz")
    assert evaluate.load_examples(tmp_path / "none.npz").images == {}


def test_a_large_set_keeps_the_doubtful_particles(study, tmp_path, monkeypatch):
    """At most as many as asked for, those with the least probability of the truth, and the explained ones."""
    monkeypatch.setattr(attention, "KEPT", 10)
    monkeypatch.setattr(attention, "PER_CLASS", 1)
    data = open_data(study, input_size=24)
    p = np.linspace(0, 1, 48)
    rows = data.table[["particle"]].assign(role="test", truth="plain", p_plain=p, p_bright=1 - p)
    sample = train.Sample(data, "content", seed=1)
    sample.save(tmp_path / "e.npz", rows)
    kept = evaluate.load_examples(tmp_path / "e.npz").images
    assert set(data.table["particle"][:10]) <= set(kept) and len(kept) <= 12


@pytest.mark.slow
def test_a_trained_network_looks_at_the_payload_and_shuffled_weights_do_not():
    """On simulated particles, encapsulation: clearly more of the attention lies on the payload than with shuffled weights."""
    data = open_data("simulated", count=600, seed=1, pixel_nm=3.0, input_size=40).labelled("encapsulation")
    sample = train.Sample(data, "encapsulation", seed=1)
    train.cross_validate(
        data, "encapsulation", ["lipnet4"], train.Settings(folds=2, epochs=12), explain=sample
    )
    maps = {kind: np.concatenate([part[kind] for part in sample.parts]) for kind in ("gradcam", "shuffled")}
    masks = np.stack([sample.targets[i][1] for part in sample.parts for i in part["row"]])
    score = {kind: examples.on_target(m, masks) for kind, m in maps.items()}
    known = ~np.isnan(score["gradcam"])
    more = (score["gradcam"] - score["shuffled"])[known]
    print({k: round(float(np.nanmean(v)), 2) for k, v in score.items()}, known.sum(), file=sys.stderr)
    assert more.mean() - 2 * more.std(ddof=1) / np.sqrt(known.sum()) > 0
    assert np.nanmean(score["gradcam"]) > 1.5 * np.nanmean(score["shuffled"])
