"""A bundle for other programs: the same probabilities, and no more claimed than that."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from temlib import train
from temlib.__main__ import main
from temlib.files import InputError
from temlib.train import exchange
from tests.train.conftest import made, settings

FIXTURES = Path(__file__).parent / "data" / "bundle_v1"
RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A network that sees the images on fewer pixels, has dihedral layers and thresholds that were moved."""
    folder, images = tmp_path_factory.mktemp("models"), np.clip(RNG.normal(size=(120, 15, 15)), -8, 8)
    labels = np.where(np.arange(120) % 3, "plain", "a b|c")
    data = made(images, labels, np.repeat([f"m{k}" for k in range(6)], 20))
    options = settings(epochs=1, imbalance="threshold", averaging=2)
    train.cross_validate(data, "content", ["dihedral@12"], options, keep=folder, licence="CC-BY-4.0")
    return train.load(folder / "dihedral@12")


def test_layers_of_keras_alone_give_the_same_probabilities(bundle, tmp_path):
    """Of images that lie in no micrograph, by each fold model and by all; the file names nothing of temlib's."""
    images = np.clip(RNG.normal(size=(40, 15, 15)), -8, 8).astype(np.float32)
    *folds, mean = exchange.plain(bundle, 15)
    values = []
    for model, state in zip(folds, bundle.states, strict=True):
        own = bundle.estimator.restore(state)
        inputs = own.inputs(made(images, ["plain"] * 40, [str(k) for k in range(40)]))
        values.append(own.probabilities(inputs, np.arange(40)))
        assert np.abs(model.predict(images, verbose=0) - values[-1]).max() < 1e-5
    assert np.abs(values[0] - values[1]).max() > 1e-3
    assert np.abs(mean.predict(images, verbose=0) - np.mean(values, axis=0)).max() < 1e-5
    mean.save(tmp_path / "mean.keras")
    assert b"temlib" not in (tmp_path / "mean.keras").read_bytes()


def test_an_export_says_what_the_bundle_says(bundle, tmp_path):
    """By onnxruntime, to 1e-4; the description names axes and weights, the documentation what is left behind."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    folder = tmp_path / "out"
    result = CliRunner().invoke(main, ["export", str(bundle.folder), str(folder)])
    assert result.exit_code == 0, result.output
    written = {path.name for path in folder.iterdir()}
    assert written > {"fold=1.onnx", "fold=2.onnx", "mean.onnx", "mean.keras", "rdf.yaml", "README.md"}
    session = runtime.InferenceSession(folder / "mean.onnx")
    given, expected = np.load(folder / "test_image.npy"), np.load(folder / "test_probabilities.npy")
    (found,) = session.run(None, {session.get_inputs()[0].name: given})
    assert given.shape == (8, 15, 15) and np.abs(found - expected).max() < 1e-4
    described = yaml.safe_load((folder / "rdf.yaml").read_text())
    assert set(described["weights"]) == {"keras_v3", "onnx"} and described["license"] == "CC-BY-4.0"
    assert described["outputs"][0]["axes"][1]["channel_names"] == ["a b|c", "plain"]
    words = (folder / "README.md").read_text()
    for left in (
        "adapts batch normalisation",
        "averages over 2",
        "Thresholds were moved",
        "16th and the 84th",
    ):
        assert left in words
    with pytest.raises(InputError, match="there is something already; name a new folder"):
        train.export(bundle, folder)


def test_a_network_with_sizes_is_described_as_the_model_zoo_tests_it(tmp_path, monkeypatch):
    """`bioimageio.core` runs the description on its test tensors; so it does for networks without sizes, with both weights."""
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("BIOIMAGEIO_CACHE_PATH", str(tmp_path / "cache"))
    core = pytest.importorskip("bioimageio.core")
    train.export(train.load(FIXTURES / "dihedral+size"), tmp_path / "out")
    found = core.test_description(tmp_path / "out" / "rdf.yaml", runtime_env="currently-active")
    assert found.status == "passed", found.errors


def test_what_says_something_else_is_not_written(bundle, tmp_path, monkeypatch):
    """The file is named and the folder is not there."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    models = exchange.plain(bundle, 15)
    monkeypatch.setattr(exchange, "plain", lambda *_: models[::-1])
    with pytest.raises(
        InputError, match=r"the exported fold=1.onnx says otherwise of the test crops \(by up to"
    ):
        train.export(bundle, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_svm_and_a_missing_package_are_refused(tmp_path, monkeypatch):
    """In one sentence with the cure, status 2, and nothing written."""
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    for name, words in (
        ("svm_thesis", "is an SVM and cannot be exported"),
        ("dihedral+size", "pip install onnxruntime tf2onnx"),
    ):
        result = CliRunner().invoke(main, ["export", str(FIXTURES / name), str(tmp_path / "out")])
        assert result.exit_code == 2 and words in result.output and len(result.output.splitlines()) == 1
    assert not (tmp_path / "out").exists()
