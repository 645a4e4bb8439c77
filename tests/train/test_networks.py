import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from temlib import train
from temlib.files import InputError
from temlib.train import networks

# Loads the networks in a folder under the backend of the environment and writes what they make of the same images.
ELSEWHERE = """
import sys, pathlib, numpy as np
from temlib import train
from temlib.train import fitting
folder = pathlib.Path(sys.argv[1])
for path in folder.glob("*.keras"):
    network = fitting.Network(path.stem, ["a", "b", "c"], train.Settings())
    network.read(path, {"divisor": [1]})
    np.save(path.with_suffix(".npy"), np.asarray(network.model.predict(np.load(folder / "images.npy"), verbose=0)))
"""


@pytest.mark.parametrize("name", train.network_names())
def test_a_network_gives_one_logit_a_class_and_its_layers_hold_all_its_weights(name):
    """Three logits for each of two images, and the table of layers adds up to the whole."""
    model = networks.build(name, input_size=24, classes=3, seed=1)
    assert model.predict_on_batch(np.zeros((2, 24, 24, 1), np.float32)).shape == (2, 3)
    table = train.describe(name, input_size=24, classes=3, pixel_nm=2.0)
    assert table["parameters"].sum() == model.count_params()
    assert np.allclose(table["receptive_field_nm"], 2 * table["receptive_field_px"])


def test_the_dihedral_network_works_at_most_twice_as_much_as_the_residual_one():
    """Shared kernels, not eight networks: counted in multiply-adds at the sizes that are used."""
    for size in (28, 40, 64):
        described = {n: train.describe(n, input_size=size, classes=2) for n in ("residual", "dihedral")}
        work = train.summary(described)["multiply_adds"]
        assert work[1] <= 2 * work[0]


@pytest.mark.parametrize(
    "size, kernel, padding", [(24, 5, "same"), (25, 3, "same"), (6, 6, "valid"), (7, 7, "valid")]
)
def test_a_dihedral_convolution_turns_with_its_image(size, kernel, padding):
    """Turning the image turns the maps and permutes their orientations, for every side of kernel and image."""
    networks.backend()
    from temlib.train import layers

    layer = layers.DihedralConv2D(2, kernel, padding=padding, lift=True)
    image = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    maps = np.asarray(layer(image[None, ..., None]))[0]
    side = size if padding == "same" else 1
    assert maps.shape == (side, side, 16) and maps.std() > 0.1
    turned = np.asarray(layer(np.rot90(image)[None, ..., None]))[0].reshape(side, side, 8, 2)
    # A quarter turn is element 1 of the group: orientation g of the image becomes orientation 1·g of the turned one.
    back = np.rot90(turned, -1).reshape(side, side, 8, 2)
    expected = maps.reshape(side, side, 8, 2)
    order = [
        int(np.argmin([np.abs(back[:, :, k] - expected[:, :, g]).max() for k in range(8)])) for g in range(8)
    ]
    assert sorted(order) == list(range(8)) and np.abs(back[:, :, order] - expected).max() < 1e-4
    with pytest.raises(ValueError, match="odd side"):
        layers.DihedralConv2D(2, 4, lift=True)


@pytest.mark.parametrize("orientations", [1, 8])
def test_maps_are_normalised_over_batch_pixels_and_orientations(orientations):
    """Training's outputs have the mean and spread asked for, in every feature, and its gradient is that of plain operations."""
    keras = networks.backend()
    import tensorflow as tf

    from temlib.train import layers

    layer = layers.MapBatchNormalization(orientations=orientations, momentum=0.0)
    rng = np.random.default_rng(0)
    maps = (rng.normal(size=(50, 6, 7, 16)) * rng.uniform(0.5, 2, 16) + rng.normal(size=16)).astype(
        np.float32
    )
    features = 16 // orientations
    layer.build(maps.shape)
    layer.gamma.assign(gamma := rng.uniform(0.5, 2, features).astype(np.float32))
    layer.beta.assign(beta := rng.normal(size=features).astype(np.float32))

    def plain(x):
        wide = tf.reshape(x, (-1, features))
        mean, variance = tf.nn.moments(wide, 0)
        return tf.reshape((wide - mean) * tf.math.rsqrt(variance + 1e-3) * gamma + beta, x.shape)

    found, weights = [], tf.constant(rng.normal(size=maps.shape), tf.float32)
    for function in (lambda x: layer(x, training=True), plain):
        x = tf.constant(maps)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        found += [np.asarray(y), np.asarray(tape.gradient(y, x, weights))]
    assert np.abs(found[0] - found[2]).max() < 1e-5 and np.abs(found[1] - found[3]).max() < 1e-4
    assert found[1].std() > 0.1
    # With no memory, the moving statistics are those of this batch, so prediction does what training did.
    later = keras.ops.convert_to_numpy(layer(maps, training=False))
    assert np.abs(later - found[0]).max() < 0.01


def test_images_that_are_too_small_and_unknown_names_are_refused():
    """The sentence names the parameter, or what there is."""
    with pytest.raises(InputError, match="at least 12 pixels"):
        networks.build("lipnet4", input_size=10, classes=2, seed=1)
    with pytest.raises(InputError, match="there is no network 'NoNet5'"):
        networks.build("NoNet5", input_size=32, classes=2, seed=1)


def test_a_network_of_its_own_size_is_built_and_described_at_it():
    """Its images have the pixels of its name, each as many times larger, so the window is the same."""
    model = networks.build("residual+size@16", input_size=32, classes=2, seed=1)
    assert model.input_shape[0] == (None, 16, 16, 1)
    own = networks.describe("residual@16", input_size=32, classes=2, pixel_nm=2.0)
    plain = networks.describe("residual", input_size=16, classes=2, pixel_nm=4.0)
    pd.testing.assert_frame_equal(own, plain)
    summary = networks.summary(
        {"residual@16": own, "residual": networks.describe("residual", input_size=32, classes=2)}
    )
    assert summary["image_px"].tolist() == [16, 32] and summary["network"].tolist() == [
        "residual@16",
        "residual",
    ]


# Builds a network under the account of the environment and writes its logits; the backend is told.
ON_ACCOUNT = """
import sys, numpy as np
from temlib.train import networks
model = networks.build("residual", input_size=24, classes=3, seed=1)
images = np.load(sys.argv[1] + "/images.npy")
np.save(sys.argv[1] + "/logits.npy", np.asarray(model.predict_on_batch(images)))
"""


def on_account(folder, keras_json, **environment):
    """Return the finished process of `ON_ACCOUNT` with a keras.json."""
    (folder / "keras.json").write_text(json.dumps(keras_json))
    np.save(folder / "images.npy", np.random.default_rng(0).normal(size=(4, 24, 24, 1)).astype(np.float32))
    environment = os.environ | {"KERAS_HOME": str(folder)} | environment
    command = [sys.executable, "-c", ON_ACCOUNT, str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "change",
    [
        {"image_data_format": "channels_first", "floatx": "float64", "backend": "jax"},
        {"epsilon": 0.1, "floatx": "float16", "backend": "nothing"},
    ],
)
def test_the_accounts_keras_json_changes_no_number(tmp_path, change):
    """Layout, precision, fuzz and backend of a user's keras.json are not those of temlib."""
    keras_json = {"floatx": "float32", "epsilon": 1e-7, "backend": "tensorflow"} | change
    ended = on_account(tmp_path, keras_json, KERAS_BACKEND="")
    assert ended.returncode == 0, ended.stderr
    model = networks.build("residual", input_size=24, classes=3, seed=1)
    logits = np.load(tmp_path / "logits.npy")
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits, model.predict_on_batch(np.load(tmp_path / "images.npy")))


def test_a_keras_json_that_keras_refuses_is_a_sentence(tmp_path):
    """Nothing else would say which file is at fault."""
    ended = on_account(tmp_path, {"floatx": "float33"})
    assert "InputError: Keras refuses its keras.json (Invalid `floatx`" in ended.stderr


ABSENT = [name for name in ("jax", "torch") if importlib.util.find_spec(name) is None]


@pytest.mark.parametrize("name", ["numpy", "nothing", "Tensorflow", "a.b", *ABSENT])
def test_an_absent_backend_is_a_sentence_before_anything_is_trained(monkeypatch, name):
    """Networks need it; SVMs do not."""
    monkeypatch.setenv("KERAS_BACKEND", name)
    for ask in (networks.backend, lambda: train.check_models(["svm_texture", "residual"], "residual")):
        with pytest.raises(
            InputError, match=f"KERAS_BACKEND: '{name}' is not an installed one of tensorflow"
        ):
            ask()
    train.check_models(["svm_texture"], "svm_texture")


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_give_the_same_numbers(backend, tmp_path):
    """Every saved network predicts alike on every backend of Keras."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"the backend {backend} is not installed")
    images = np.random.default_rng(0).normal(size=(4, 24, 24, 1)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    built = {name: networks.build(name, input_size=24, classes=3, seed=1) for name in train.network_names()}
    for name, model in built.items():
        model.save(tmp_path / f"{name}.keras")
    environment = os.environ | {"KERAS_BACKEND": backend}
    subprocess.run([sys.executable, "-c", ELSEWHERE, str(tmp_path)], check=True, env=environment)
    for name, model in built.items():
        elsewhere = np.load(tmp_path / f"{name}.npy")
        assert np.abs(elsewhere - model.predict_on_batch(images)).max() < 1e-4, name
