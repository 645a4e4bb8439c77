"""The model bundle: it says what training said, to the last digits; it is whole or refused; it can be trained on."""

import contextlib
import hashlib
import json
import pickle
import resource
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from temlib import train
from temlib.data import open as open_data
from temlib.files import InputError
from temlib.train import networks
from tests.train.conftest import made, settings

FIXTURES = Path(__file__).parent / "data" / "bundle_v1"
NAMES = ["dihedral+size", "svm_thesis"]
# With adaptive batch normalisation, and without.
MODELS = {"micrograph": ["lipnet4+size", "svm_texture"], "none": ["lipnet4@12", "svm_thesis"]}


def _particles(seed=0, micrographs=6, each=20, size=16):
    """Make particles of two classes, one with a bright centre, with boxes of known size."""
    rng = np.random.default_rng(seed)
    count = micrographs * each
    bright = rng.uniform(size=count) < 0.4
    images = rng.normal(size=(count, size, size))
    images[bright, 5:11, 5:11] += 1.5
    data = made(
        np.clip(images, -8, 8),
        np.where(bright, "bright", "plain"),
        np.repeat([f"s{seed}m{k}" for k in range(micrographs)], each),
    )
    table = data.table.assign(box_px=rng.uniform(20, 40, count), pixel_size_nm=2.0)
    table["particle"] = [f"s{seed}p{k:03d}" for k in range(count)]
    return replace(data, table=table, scale="physical", pixel_nm=2.5)


@pytest.fixture(scope="module")
def particles():
    return _particles()


def test_held_out_counts_leave_out_what_names_a_micrograph_or_session(particles, tmp_path):
    """Numbers alone, a row for each class, that sum to the particles."""
    data = replace(particles, table=particles.table.assign(session=particles.table["micrograph"] + "s"))
    train.cross_validate(data, "content", ["svm_thesis"], settings(), keep=tmp_path)
    counts = train.load(tmp_path / "svm_thesis").held_out
    assert list(counts) == ["called_bright", "called_plain", "refused"]
    assert counts.sum(axis=1).to_dict() == data.table["content"].value_counts().to_dict()


@pytest.mark.parametrize("name", MODELS["micrograph"])
def test_what_is_called_alone_does_not_depend_on_its_micrograph(name, particles, tmp_path):
    """Fewer particles of a micrograph have the same probabilities; the card's counts are of such calls."""
    trained = train.cross_validate(particles, "content", [name], settings(epochs=2), keep=tmp_path)
    bundle = train.load(tmp_path / name)
    few = particles.rows(np.flatnonzero(particles.table["content"] == "bright"))
    whole, part = (
        bundle.predict(each, alone=True).set_index(["particle", "fold"]) for each in (particles, few)
    )
    assert np.allclose(part["p_bright"], whole.loc[part.index, "p_bright"], atol=1e-5)
    adapted = bundle.predict(particles).set_index(["particle", "fold"])
    assert not np.allclose(adapted["p_bright"], whole["p_bright"], atol=1e-3)
    test = trained.predictions.query("role == 'test'").set_index(["particle", "fold"])
    called = whole.loc[test.index].assign(truth=test["truth"])
    counts = called[~called["refused"]].groupby("truth")["predicted"].value_counts().unstack(fill_value=0)
    held = bundle.confusion.groupby("truth").sum(numeric_only=True)
    assert (held["called_bright"] - counts["bright"]).abs().max() <= 3  # what is refused differs by a few


@pytest.mark.parametrize("adaptation", MODELS)
def test_each_fold_model_says_what_it_said_in_training(adaptation, particles, tmp_path):
    """Its held-out particles have the same probabilities to 1e-6 and the same calls; fold 0 is the mean of all."""
    options = settings(epochs=2, adaptation=adaptation, imbalance="threshold")
    saved = {"keep": tmp_path, "calibrate": lambda p, k: len(p) + k.mean(), "licence": "CC0-1.0"}
    trained = train.cross_validate(particles, "content", MODELS[adaptation], options, **saved)
    for name in MODELS[adaptation]:
        bundle = train.load(tmp_path / name)
        table = bundle.predict(particles)
        known = trained.predictions[trained.predictions["model"] == name]
        test, validation = (known[known["role"] == role] for role in ("test", "validation"))
        columns = ["particle", "micrograph", "fold", "predicted", "p_bright", "p_plain", "refused", "reason"]
        assert list(table) == columns and len(table) == 3 * len(particles)
        both = test.merge(table, on=["particle", "micrograph", "fold"], suffixes=("", "_again"))
        assert len(both) == len(particles) and (both["predicted"] == both["predicted_again"]).all()
        assert np.abs(both["p_bright"] - both["p_bright_again"]).max() < 1e-6
        mean = table[table["fold"] > 0].groupby("particle", sort=False)["p_bright"].mean()
        assert np.allclose(mean, table.query("fold == 0")["p_bright"])
        # What the card says of training.
        counts = bundle.confusion.drop(columns=["fold", "micrograph"]).groupby("truth").sum()
        known = test["truth"].value_counts().sort_index()
        assert (counts.sum(axis=1) == known).all() and (counts["refused"] <= 0.1 * known).all()
        plain = validation["truth"] == "plain"
        expected = plain.groupby(validation["fold"]).agg(lambda part: len(part) + part.mean())
        assert bundle.card["calibration"]["temperatures"] == pytest.approx(expected.tolist())
        assert bundle.card["licence"] == "CC0-1.0" and bundle.card["settings"]["adaptation"] == adaptation


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_of_protocol_1_loads_for_ever(name):
    """As version 0.1.0 saved it: loading compares the probabilities of its test crops with those of then.

    One network with all of temlib's own layers (made narrow, and its files deflated, to be small), and one SVM.
    """
    bundle = train.load(FIXTURES / name)
    assert bundle.card["protocol"] == 1 and bundle.card["classes"] == ["bright", "plain"]
    counts = bundle.confusion
    assert list(counts) == ["fold", "micrograph", "truth", "called_bright", "called_plain", "refused"]
    assert counts.drop(columns=["fold", "micrograph", "truth"]).to_numpy().sum() == 80
    assert bundle.card["calibration"]["temperatures"] == [1.0, 1.0] and not bundle.card["simulated"]
    found = bundle.predict(_particles(seed=7, micrographs=1, size=12)).query("fold == 0")
    assert len(found) == 20 and np.allclose(found["p_bright"] + found["p_plain"], 1)


def test_a_bundle_of_protocol_2_loads_for_ever_and_refuses():
    """As version 0.1.0 saved it, of rings: noise is refused with a reason, which a bundle of protocol 1 cannot do, and tells."""
    old, new = train.load(FIXTURES / "svm_thesis"), train.load(FIXTURES.with_name("bundle_v2") / "svm_thesis")
    noise = np.random.default_rng(0).normal(size=(20, 12, 12)).astype(np.float32)
    assert new.refuses and not old.refuses and not old.predict(noise)["refused"].any()
    found = new.predict(noise)
    assert found["refused"].mean() > 0.9
    assert (found["reason"].str.startswith("looks like no particle (p = 0.0") == found["refused"]).all()
    assert new.confusion.iloc[:, 3:].to_numpy().sum() == 80 and new.confusion["refused"].sum() <= 4


@pytest.fixture(params=NAMES)
def copy(request, tmp_path):
    """A copy of a bundle that a test may spoil."""
    return shutil.copytree(FIXTURES / request.param, tmp_path / "bundle")


def _sign(folder):
    """Write checksums of the files as they are, as somebody who means harm would."""
    files = (path for path in folder.iterdir() if path.name != "checksums.json")
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    (folder / "checksums.json").write_text(json.dumps(sums))


def _refused(folder, message):
    with pytest.raises(InputError, match=message) as error:
        train.load(folder)
    assert str(error.value).startswith(f"{folder}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["card.json", "crops.npz", "training.npz", "fold=2"])
def test_a_file_that_is_missing_or_altered_is_refused(copy, name):
    """By its name."""
    (path,) = copy.glob(f"{name}*")
    path.write_bytes(path.read_bytes() + b" ")
    _refused(copy, f"'{path.name}' is not what was saved \\(by its checksum\\)")
    path.unlink()
    _refused(copy, f"'{path.name}' is missing")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": 3}, "its protocol is 3, and this temlib reads up to 2; update temlib"),
        ({"protocol": "1"}, "lacks protocol"),
        ({"classes": ["bright", "dull", "plain"]}, "lists 3 classes and the model tells 2 apart"),
        ({"classes": ["bright", "bright"]}, "two or more different classes"),
        ({"folds": []}, "does not list fold models as fold=1"),
        ({"folds": [{"file": "../fold=1.keras"}]}, "does not list fold models as fold=1"),
        ({"settings": None}, "lacks settings"),
        ({"settings": {"recipe": "none"}}, "' cannot be read"),
        ({"folds": [1, 2]}, "'card.json' cannot be read"),
        ({"preparation": {"clip": 5.0}}, "prepared in another way"),
        ({"input_size": 13}, "of 12 × 12 pixels, not 13 × 13"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(copy, change, message):
    """Although the checksums are right."""
    card = json.loads((copy / "card.json").read_text())
    (copy / "card.json").write_text(json.dumps(card | change))
    _sign(copy)
    _refused(copy, message)


def test_models_that_say_something_else_of_the_test_crops_are_refused(copy):
    """Here the models of two folds have changed places."""
    one, two = sorted(copy.glob("fold=*"))
    one.rename(copy / "aside")
    two.rename(one)
    (copy / "aside").rename(two)
    _sign(copy)
    _refused(copy, "the probabilities of its test crops differ by 0")


def test_a_network_with_code_in_it_is_refused(tmp_path):
    """A Lambda layer carries a function of its own."""
    folder = shutil.copytree(FIXTURES / "dihedral+size", tmp_path / "bundle")
    keras = networks.backend()
    image = keras.Input((12, 12, 1))
    flat = keras.layers.Flatten()(keras.layers.Lambda(lambda x: x)(image))
    keras.Model(image, keras.layers.Dense(2)(flat)).save(folder / "fold=1.keras")
    _sign(folder)
    _refused(folder, "'fold=1.keras' holds the type .*ambda.* do not use this bundle")


def test_an_svm_of_unknown_type_is_refused(tmp_path):
    """A type that skops itself trusts is as unknown as one that it does not."""
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    folder = shutil.copytree(FIXTURES / "svm_thesis", tmp_path / "bundle")
    for thing, name in ((FunctionTransformer(np.sqrt), "numpy.sqrt"), (Path("/"), "Path")):
        skops.io.dump({"machine": thing}, folder / "fold=1.skops")
        _sign(folder)
        _refused(folder, f"'fold=1.skops' holds the type .*{name}.* do not use this bundle")


def test_a_file_that_is_no_model_is_refused(copy):
    """Such as a pickle under another name."""
    (path,) = copy.glob("fold=1*")
    path.write_bytes(pickle.dumps({}))
    _sign(copy)
    _refused(copy, f"'{path.name}' cannot be read")


def test_a_folder_that_is_no_bundle_is_refused(tmp_path):
    """With what to name instead."""
    _refused(tmp_path, "it is no model bundle; name a folder models/<model> of a run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"pixel_nm": 3.0},
            "at 3 nm/pixel, not 2.5 as .*with scale: physical, input_size: 12, pixel_nm: 2.5",
        ),
        ({"scale": "fill"}, "shown at scale: fill, not physical .*'pixel_size_nm'"),
        (
            {"images": np.zeros((20, 16, 16), np.float32)},
            "of 16 × 16 pixels, not 12 × 12 as the bundle learnt",
        ),
        ({"table": pd.DataFrame(columns=["particle", "micrograph"])}, "there is no particle; check"),
    ],
)
def test_particles_that_are_prepared_otherwise_are_refused(change, message):
    """One sentence with the cure."""
    given = replace(_particles(micrographs=1, size=12), **change)
    with pytest.raises(InputError, match=message):
        train.load(FIXTURES / "svm_thesis").predict(given)


def test_images_alone_are_predicted_as_particles_are(particles):
    """Where nothing adapts to their micrograph; those that were not prepared are refused."""
    bundle, given = (
        train.load(FIXTURES / "svm_thesis"),
        _particles(seed=3, micrographs=1, size=12).rows(range(9)),
    )
    one, two = bundle.predict(given.images), bundle.predict(given)
    assert np.array_equal(one["p_bright"], two["p_bright"]) and one["particle"].head(2).tolist() == ["1", "2"]
    raw, flat = given.images * 100, given.images[0]
    for images, message in ((raw, "finite and within ±8"), (raw * np.nan, "finite"), (flat, "rows, columns")):
        with pytest.raises(InputError, match=message):
            bundle.predict(images)
    with pytest.raises(InputError, match="takes the particle's size"):
        train.load(FIXTURES / "dihedral+size").predict(given.images)


@pytest.fixture(scope="module")
def first(particles, tmp_path_factory):
    """A bundle of a network that is sure, trained on six micrographs."""
    folder = tmp_path_factory.mktemp("first")
    options = settings(epochs=8, batch=16, learning_rate=0.02, augmentation="none", adaptation="none")
    train.cross_validate(particles, "content", ["lipnet4@12"], options, keep=folder)
    return train.load(folder / "lipnet4@12")


def _joined(*sets):
    """Join particles."""
    table = pd.concat([part.table for part in sets], ignore_index=True)
    return replace(sets[0], table=table, images=np.concatenate([part.images for part in sets]))


def test_a_bundle_is_trained_on_with_more_labels(first, particles, tmp_path):
    """Each fold begins where it ended, so that one small epoch leaves it sure; micrographs stay in their folds."""
    more = _joined(particles, _particles(seed=5, micrographs=4))
    options = settings(epochs=1, learning_rate=1e-5, augmentation="none", adaptation="none")
    chosen = ["lipnet4@12", "lipnet4"]
    trained = train.cross_validate(more, "content", chosen, options, weights=first, keep=tmp_path)
    known = first.confusion.groupby("micrograph")["fold"].first()
    test = trained.predictions.query("role == 'test'").groupby(["model", "micrograph"])["fold"].first()
    assert all(test[model, name] == fold for name, fold in known.items() for model in chosen)
    assert len(test) == 2 * 10 and any("met 6, and each stayed" in note for note in trained.notes)
    loss = trained.history.groupby("model")["loss"].mean()
    assert loss["lipnet4@12"] < 0.8 * loss["lipnet4"]
    again = train.load(tmp_path / "lipnet4@12", models=False)
    assert again.card["training"]["began_with"]["hash"] == first.card["training"]["hash"]
    # What the first one had learnt is remembered by the second, also where its particles are no longer given.
    alone = _particles(seed=6, micrographs=4)
    kept, _ = again.continued(_joined(alone, particles), "content", ["lipnet4@12"], options)
    assert (kept.table["micrograph"].map(known).dropna() == kept.table["fold"][80:]).all()


def test_a_test_on_what_was_learnt_is_refused(first, particles):
    """Known again by their images where micrographs have other names, or by a column `fold` that moves them."""
    options, table = settings(), particles.table
    one = replace(particles, table=table.assign(micrograph=np.repeat(["x", "y", "z"], 40)))
    moved = replace(particles, table=table.assign(fold=np.repeat([1, 2, 2, 1, 1, 2], 20)))
    for given, message in (
        (one, "particles of .* were learnt in several folds"),
        (moved, "take the column out"),
    ):
        for ask in (train.check_folds, train.cross_validate):
            with pytest.raises(InputError, match=message):
                ask(given, "content", ["lipnet4@12"], options, weights=first)
    same = moved.table.assign(
        fold=table["micrograph"].map(first.confusion.groupby("micrograph")["fold"].first())
    )
    found = train.check_folds(replace(moved, table=same), "content", ["lipnet4@12"], options, weights=first)
    assert (found == same["fold"]).all()


@pytest.mark.parametrize(
    ("change", "models", "message"),
    [
        ({}, ["lipnet4"], "the bundle is of lipnet4@12, which is not among 'models' \\(lipnet4\\)"),
        ({"folds": 3}, ["lipnet4@12"], "the bundle has 2 folds and 'folds' is 3; set it to 2"),
        ({"unsure": ["plain"]}, ["lipnet4@12"], "tells bright, plain apart, and 'content' has bright"),
    ],
)
def test_weights_that_do_not_fit_are_refused(first, particles, change, models, message):
    """Before anything is trained."""
    with pytest.raises(InputError, match=f"weights: .*{message}"):
        first.continued(particles, "content", models, settings(**change))


def test_weights_of_an_svm_or_of_other_images_are_refused(first, particles):
    """Before anything is trained."""
    svm = train.load(FIXTURES / "svm_thesis")
    with pytest.raises(InputError, match="weights: svm_thesis is an SVM"):
        svm.continued(particles, "content", ["svm_thesis"], settings())
    with pytest.raises(InputError, match="of 12 × 12 pixels, not 16 × 16"):
        first.continued(_particles(size=12), "content", ["lipnet4@12"], settings())


def test_new_particles_are_opened_as_the_card_says_and_need_no_labels(study, tmp_path):
    """Three lines: a manifest without a task is prepared at the scale of training and predicted."""
    data = open_data(study, pixel_nm=3.0, input_size=16)
    train.cross_validate(data, "content", ["svm_thesis"], settings(), keep=tmp_path)
    new = pd.read_csv(study).drop(columns="content").assign(pixel_size_nm=1.5)
    new.to_csv(study.with_name("new.csv"), index=False)
    bundle = train.load(tmp_path / "svm_thesis")
    given = bundle.open(study.with_name("new.csv"))
    assert given.pixel_nm == 3 and given.images.shape == (48, 16, 16) and not given.tasks
    assert bundle.predict(given)["fold"].value_counts().to_dict() == {0: 48, 1: 48, 2: 48}
    new.drop(columns="pixel_size_nm").to_csv(study.with_name("new.csv"), index=False)
    with pytest.raises(InputError, match="scale: fill, not physical .*'pixel_size_nm'"):
        bundle.predict(bundle.open(study.with_name("new.csv")))


def test_positions_without_boxes_get_that_of_training_where_all_had_one(study, tmp_path):
    """So their crops are padded as those learnt from; where each had its own, or another, that is said with the cure."""
    table = pd.read_csv(study)
    micrograph = np.random.default_rng(1).normal(size=(90, 90)).astype(np.float32)
    tifffile.imwrite(study.with_name("whole.tif"), micrograph)
    table = pd.DataFrame({"image": "whole.tif", "row": 45, "column": np.arange(30, 54), "pixel_size_nm": 1.5})
    table["micrograph"] = np.repeat(["a", "b", "c", "d"], 6)
    table["content"] = ["full", "empty"] * 12
    paths, boxes = {}, {"one": 10, "own": np.arange(24) % 10 + 8, "none": np.nan, "large": 60}
    for name, sides in boxes.items():
        paths[name] = study.with_name(f"{name}.csv")
        table.assign(box_px=sides).to_csv(paths[name], index=False)
    said = {}
    for learnt in ("one", "own"):
        data = open_data(paths[learnt], task="content", pixel_nm=1.5, input_size=20)
        train.cross_validate(data, "content", ["svm_thesis"], settings(), keep=tmp_path / learnt)
        bundle = train.load(tmp_path / learnt / "svm_thesis")
        said[learnt] = {name: bundle.boxed(bundle.open(path)) for name, path in paths.items()}
    assert np.array_equal(
        train.load(tmp_path / "one" / "svm_thesis").open(paths["none"]).images,
        bundle.open(paths["one"]).images,
    )
    assert said["one"]["one"] == said["one"]["none"] == said["own"]["own"] == ""
    assert (
        "learnt from were all 15 nm, and here, within the window, they are all 30 nm; give boxes of 15 nm"
        in said["one"]["large"]
    )
    assert (
        "12 to 25.3 nm for nine in ten, and here, within the window, they are all 30 nm"
        in said["own"]["none"]
    )
    assert said["own"]["none"].endswith("give each particle's own box, as 'box_px' or 'box_nm'.")


def test_a_card_without_boxes_says_nothing_of_them():
    """As older bundles have it."""
    bundle = train.load(FIXTURES / "svm_thesis")
    assert "boxes" not in bundle.card and bundle.boxed(_particles(size=12)) == ""


@pytest.mark.parametrize("name", ["crops.npz", "training.npz", "fold=1"])
def test_a_bundle_that_unpacks_to_too_much_is_refused(copy, name):
    """Half a gigabyte of zeros beside what was saved, in half a megabyte."""
    (path,) = copy.glob(f"{name}*")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("more.npy", bytes(2**29))
    _sign(copy)
    _refused(copy, f"{path.name} would unpack from .* do not use it, ask where it came from")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_size": 10**6}, "states images of 1000000 pixels, not up to 512"),
        ({"input_size": -1}, "states images of -1 pixels"),
        ({"task": 5000 * "["}, ""),
    ],
)
def test_a_card_of_absurd_size_or_depth_is_refused(copy, change, message):
    """Before an image is prepared as it says."""
    card = json.loads((copy / "card.json").read_text()) | change
    text = json.dumps(card)
    if not message:
        text, message = 10**5 * "[", "'card.json' cannot be read"
    (copy / "card.json").write_text(text)
    _sign(copy)
    _refused(copy, message)


@contextlib.contextmanager
def _layers(folder):
    """Yield what the network of fold 1 says of its layers, and write down what becomes of it."""
    path = folder / "fold=1.keras"
    with zipfile.ZipFile(path) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    config = json.loads(parts["config.json"])
    yield config["config"]["layers"]
    with zipfile.ZipFile(path, "w") as archive:
        for part, data in (parts | {"config.json": json.dumps(config).encode()}).items():
            archive.writestr(part, data)
    _sign(folder)


def test_types_that_run_something_are_refused_by_name(tmp_path):
    """A class of this process that Keras would find again, a function, and what skops calls a method or a partial."""
    import functools

    import skops.io

    folder = shutil.copytree(FIXTURES / "dihedral+size", tmp_path / "network")
    for module, kind in (("os", "system"), ("builtins", "eval"), ("keras.layers", "TorchModuleWrapper")):
        layer = {"module": module, "class_name": kind, "config": {"name": "x"}, "registered_name": kind}
        with _layers(folder) as layers:
            layers[1] = layer
        _refused(folder, f"holds the type {module}.{kind}, which no model of temlib has; do not use")
    folder = shutil.copytree(FIXTURES / "svm_thesis", tmp_path / "svm")
    for thing in (functools.partial(print, "x"), np.random.default_rng(0), [].append):
        with contextlib.suppress(Exception):  # what skops does not save is no danger
            skops.io.dump({"machine": thing}, folder / "fold=1.skops")
            _sign(folder)
            _refused(folder, "holds the type .* do not use this bundle")


def test_a_network_whose_layers_would_fill_the_memory_is_refused(tmp_path):
    """A layer of a thousand million units is 100 GB, of which its file of 100 kB has none."""
    folder = shutil.copytree(FIXTURES / "dihedral+size", tmp_path / "network")
    with _layers(folder) as layers:
        dense = [layer for layer in layers if layer["class_name"] == "Dense"]
        dense[-1]["config"]["units"] = 10**9
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _refused(folder, "'fold=1.keras' states layers of .* bytes and holds .*; do not use this bundle")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10**6  # kB; that includes TensorFlow
    # Keras keeps variables without values; later networks must not stumble over those of one that was refused.
    for _ in range(2):
        train.load("shipped:lamellarity")
