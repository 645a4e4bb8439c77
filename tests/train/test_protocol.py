"""The protocol: folds, roles, failures, interruptions, what is kept, and what is said of how training went."""

import contextlib
import json
import re
import shutil
import signal
import time

import numpy as np
import pandas as pd
import pytest

from temlib import train
from temlib.data import open as open_data
from temlib.data import split
from temlib.files import InputError
from temlib.train import effort, fitting, protocol
from tests.train.conftest import faint, made, settings


@pytest.fixture
def small(study):
    """The study's 48 crops in 8 micrographs."""
    return open_data(study, input_size=24)


def held_out(trained):
    """Return the rows of test particles."""
    return trained.predictions[trained.predictions["role"] == "test"]


@pytest.mark.parametrize("imbalance", ["none", "undersample"])
def test_the_protocol_predicts_every_particle_once(small, imbalance):
    """Each particle is tested once by each model, never by one that saw its micrograph; probabilities sum to 1."""
    chosen = ["residual", "svm_texture"]
    trained = train.cross_validate(small, "content", chosen, settings(imbalance=imbalance))
    test = held_out(trained)
    assert not trained.failures and set(test["model"]) == set(chosen)
    assert (test.groupby("model")["particle"].nunique() == 48).all() and len(test) == 96
    assert np.allclose(test[["p_bright", "p_plain"]].sum(axis=1), 1)
    for _, rows in trained.predictions.groupby(["model", "fold"]):
        roles = rows.groupby("role")["micrograph"].agg(set)
        assert not roles["test"] & roles["validation"]


def test_the_svm_learns_a_plain_difference(small):
    """A bright centre is found."""
    test = held_out(train.cross_validate(small, "content", ["svm_texture"], settings()))
    assert (test["truth"] == test["predicted"]).mean() >= 0.9


def test_training_is_reproducible(small):
    """The same seed gives the same numbers."""
    one, two = (
        train.cross_validate(small, "content", ["lipnet4"], settings(imbalance="oversample")).predictions
        for _ in range(2)
    )
    assert np.array_equal(one["p_plain"], two["p_plain"])


def test_a_network_that_does_not_fit_fails_alone(study):
    """lipnet4 needs 12 pixels; the SVM goes on and the reason is kept."""
    data = open_data(study, input_size=10)
    trained = train.cross_validate(data, "content", ["lipnet4", "svm_texture"], settings())
    assert "raise it" in trained.failures["lipnet4"]
    assert set(trained.predictions["model"]) == {"svm_texture"}


@pytest.mark.parametrize(
    ("models", "primary", "message"),
    [
        (["residaul"], "residaul", "the nearest is 'residual'"),
        (["ResNet50"], "ResNet50", "which is unknown"),
        ([], "residual", "each model once"),
        (["lipnet4"], "residual", "not among 'models'"),
        (["lipnet4@11"], "lipnet4@11", "at least 12 pixels; write '@12'"),
        (["dihedral+size@41"], "dihedral+size@41", "raise 'input_size' to 41 or more"),
        (["svm_texture@28"], "svm_texture@28", "an SVM sees the images as they are; leave out '@28'"),
        (["lipnet4@x"], "lipnet4@x", "as in 'lipnet4@28'"),
        (["lipnet4@"], "lipnet4@", "as in 'lipnet4@28'"),
        (["lipnet4@028"], "lipnet4@028", "as in 'lipnet4@28'"),
        (["lipnet4@28/.."], "lipnet4@28/..", "as in 'lipnet4@28'"),
        (["lipnet4@28+size"], "lipnet4@28+size", "as in 'lipnet4@28'"),
        (["dihedrl@28"], "dihedrl@28", "the nearest is 'dihedral'"),
        (["lipnet4@28"], "lipnet4", "not among 'models'"),
    ],
)
def test_wrong_models_are_refused(models, primary, message):
    """Names are checked before anything is trained, each fault in one sentence."""
    with pytest.raises(InputError, match=message) as error:
        train.check_models(models, primary, input_size=40, where="mine.yaml")
    assert str(error.value).startswith("mine.yaml: ") and str(error.value).count(". ") == 0


@pytest.mark.parametrize(
    ("count", "options", "steps", "epochs"),
    [
        (1920, {}, 32, 31),  # 1,920 · ⅔ · ⅘ / 32 = 32 steps; 1,000 / 32
        (192, {}, 3, 60),  # not more than so often, however few they are
        (19200, {}, 320, 8),  # nor less
        (1920, {"batch": 64}, 16, 60),
        (1920, {"labels": 0.1}, 32, 31),  # a share of the labels is passed over as much more often
        (1920, {"imbalance": "oversample"}, 48, 21),  # the rarer class counts three times, so 2,880
        (1920, {"epochs": 5}, 32, 5),
    ],
)
def test_epochs_are_chosen_by_the_steps_of_a_mean_fold(count, options, steps, epochs):
    """One class in four is rare; the sentence has the numbers, and a given number of epochs stays."""
    data = made(np.zeros((count, 2, 2)), np.where(np.arange(count) % 4, "common", "rare"), "m")
    chosen, said = train.schedule(
        settings(**{"folds": 3, "epochs": 0, "batch": 32} | options), data, "content"
    )
    assert chosen.epochs == epochs and train.schedule(chosen, data, "content")[0] == chosen
    how = "given" if "epochs" in options else "chosen"
    assert said == f"{epochs} epochs of {steps} steps were {how}: about {epochs * steps:,} steps in a fold."


def test_training_goes_on_for_the_chosen_epochs(small, monkeypatch):
    """Every model and fold, and the progress grows with them."""
    monkeypatch.setattr(effort, "BUDGET", 15)
    monkeypatch.setattr(effort, "FEWEST_CHOSEN", 2)
    at, options = [], settings(epochs=0)
    chosen, _ = train.schedule(options, small, "content")
    trained = train.cross_validate(
        small, "content", ["residual", "lipnet4"], options, progress=lambda step, *_: at.append(step)
    )
    assert set(trained.history["epoch"]) == set(range(1, chosen.epochs + 1)) and chosen.epochs == 8
    assert (
        len(at) == 2 * 2 * 2 * chosen.epochs
    )  # each fold is refitted, since one micrograph is left for validation
    assert all(0 < share < 1 for share in at) and at[-1] > 0.9


def test_sizes_up_to_that_of_the_images_are_taken():
    """Where the size of the images is not yet known, the upper bound waits for them."""
    train.check_models(["lipnet4", "lipnet4@12", "dihedral+size@40", "svm_texture"], "lipnet4", input_size=40)
    train.check_models(["lipnet4@512"], "lipnet4@512", input_size=0)


def test_moving_the_threshold_predicts_more_of_the_rare_class_from_the_same_probabilities():
    """Training is that of `none` to the last bit; only the predicted classes change, towards the rare one."""
    none, moved = (
        train.cross_validate(
            faint(), "content", ["lipnet4"], settings(imbalance=imbalance, augmentation="none")
        ).predictions
        for imbalance in ("none", "threshold")
    )
    assert np.array_equal(none["p_rare"], moved["p_rare"])
    assert (moved["predicted"] == "rare").sum() > (none["predicted"] == "rare").sum()


def test_a_planted_identifier_of_the_micrograph_helps_only_a_random_split():
    """A pattern in the pixels that tells the micrograph tells the label on the same micrographs, and nothing on others."""
    rng, count = np.random.default_rng(0), 160
    micrograph = np.arange(count) // 8
    # In each micrograph all particles have one label: who knows the micrograph knows the label.
    label = np.where(rng.permutation(20)[micrograph] % 2 == 0, "a", "b")
    images = rng.normal(size=(20, 16, 16))[micrograph] + 0.5 * rng.normal(size=(count, 16, 16))
    scores = []
    for groups in (micrograph, np.arange(count)):
        data = made(images, label, [f"m{k}" for k in groups])
        trained = train.cross_validate(data, "content", ["lipnet4"], settings(epochs=8, augmentation="none"))
        scores.append((held_out(trained)["truth"] == held_out(trained)["predicted"]).mean())
    assert scores[1] > 0.8 and scores[0] < 0.65


def test_mixed_contrast_is_met_by_every_model(tmp_path):
    """Swapping two micrographs changes no prediction, and is told; where most cannot be told training is that of `either`."""
    rng, names = np.random.default_rng(0), np.repeat([f"m{k}" for k in range(8)], 12)
    images, labels = rng.normal(size=(96, 16, 16)), np.where(np.arange(96) % 3, "disc", "none")
    images[labels == "disc", 5:11, 5:11] -= 1.5
    plain = made(images, labels, names)
    mixed = made(np.where(np.isin(names, ["m1", "m6"])[:, None, None], -images, images), labels, names)
    chosen, options = ["lipnet4", "svm_texture"], settings(epochs=1)
    one, two = (train.cross_validate(d, "content", chosen, options, keep=tmp_path) for d in (plain, mixed))
    pd.testing.assert_frame_equal(one.predictions, two.predictions)
    (note,) = set(two.notes) - set(one.notes)
    assert len(two.notes) == len(one.notes) + 1 and "in m1, m6 (2 of 8 micrographs)" in note
    card = train.load(tmp_path / "lipnet4").card
    assert card["contrast"] == {"asked": "auto", "met": "kept", "found": [note]}
    mixed.images[24:72] = rng.normal(size=(48, 16, 16))
    auto, either = (
        train.cross_validate(mixed, "content", ["lipnet4"], settings(epochs=1, contrast=contrast))
        for contrast in ("auto", "either")
    )
    pd.testing.assert_frame_equal(auto.predictions, either.predictions)
    assert "half of the training particles" in auto.notes[0] and auto.notes[1:] == either.notes


def test_a_network_with_sizes_tells_apart_what_only_its_size_tells(tmp_path):
    """Boxes of 100 and 200 nm hold the same noise: with "+size" nearly every particle is right, and the bundle knows it."""
    rng = np.random.default_rng(0)
    labels = np.tile(["small", "large"], 60)
    data = made(rng.normal(size=(120, 16, 16)), labels, np.repeat([f"m{k}" for k in range(12)], 10))
    data.table["pixel_size_nm"], data.table["box_px"] = 2.0, np.where(labels == "small", 50.0, 100.0)
    chosen, options = ["dihedral", "dihedral+size"], settings(epochs=12, learning_rate=0.02)
    trained = train.cross_validate(data, "content", chosen, options, keep=tmp_path)
    test = held_out(trained)
    right = (test["truth"] == test["predicted"]).groupby(test["model"]).mean()
    assert not trained.failures and right["dihedral+size"] > 0.95 and right["dihedral"] < 0.7
    with pytest.raises(InputError, match="takes the particle's size"):
        train.load(tmp_path / "dihedral+size").predict(data.images)


def test_a_network_sees_the_same_window_on_pixels_of_its_own(study, tmp_path):
    """Beside a network of the images' size it is trained, explained, kept and listed under the name as written."""
    data = open_data(study, scale="fill", input_size=24)
    chosen, sample = (
        ["lipnet4@12", "dihedral+size@16", "residual", "svm_texture"],
        train.Sample(data, "content", seed=1),
    )
    trained = train.cross_validate(
        data, "content", chosen, settings(epochs=1), keep=tmp_path / "models", explain=sample
    )
    assert not trained.failures and set(held_out(trained)["model"]) == set(chosen) == set(
        trained.costs["model"]
    )
    bundle = train.load(tmp_path / "models" / "lipnet4@12")
    assert bundle.estimator.model.input_shape == (None, 12, 12, 1) and bundle.card["input_size"] == 24
    sample.save(tmp_path / "examples.npz", trained.predictions)
    with np.load(tmp_path / "examples.npz") as kept:
        assert set(kept["model"]) == {"lipnet4@12", "residual"} and kept["gradcam"].shape[1:] == (24, 24)
        sums = kept["gradcam"].astype(float).sum(axis=(1, 2))
        assert np.all((np.abs(sums - 1) < 0.01) | (sums == 0))


def test_a_size_larger_than_the_images_fails_alone(study):
    """With sizes from the crops it is known only now, and said in one sentence."""
    data = open_data(study, scale="fill", input_size=16)
    trained = train.cross_validate(data, "content", ["lipnet4@20", "svm_texture"], settings(epochs=1))
    assert "raise 'input_size' to 20 or more" in trained.failures["lipnet4@20"]


def test_a_network_with_sizes_needs_some_size(small):
    """Without any pixel size it says what is missing; the other model goes on."""
    small.table["pixel_size_nm"] = np.nan
    trained = train.cross_validate(small, "content", ["residual+size", "svm_texture"], settings(epochs=1))
    assert "'pixel_size_nm'" in trained.failures["residual+size"]


@pytest.fixture
def ctrl_c():
    """What Ctrl-C does; in a job that a shell runs in the background it is ignored else."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_an_interruption_keeps_the_best_weights_so_far_and_training_goes_on(small, ctrl_c):
    """One interruption ends a fold, which is still predicted; the next fold and model are trained in full."""

    def progress(step, text, seen):
        if text == "lipnet4 fold 1 epoch 2/4":
            ctrl_c()

    models = ["lipnet4", "residual"]
    trained = train.cross_validate(small, "content", models, settings(epochs=4), progress=progress)
    history = trained.history.groupby(["model", "fold"])["epoch"].max()
    assert history.to_dict() == {("lipnet4", 1): 2, ("lipnet4", 2): 4, ("residual", 1): 4, ("residual", 2): 4}
    assert not trained.failures and "interrupted in fold 1" in trained.notes[0]
    assert (held_out(trained).groupby("model").size() == 48).all()


def test_two_interruptions_end_all_training_and_keep_whole_models(small, ctrl_c):
    """A model that lacks folds is left out with its reason; the ones before it stay."""

    def progress(step, text, seen):
        if text.startswith("lipnet4 fold"):
            with contextlib.suppress(KeyboardInterrupt):
                ctrl_c()
            ctrl_c()

    models = ["svm_texture", "lipnet4", "residual"]
    trained = train.cross_validate(small, "content", models, settings(epochs=4), progress=progress)
    assert set(trained.predictions["model"]) == {"svm_texture"}
    assert "interrupted" in trained.failures["lipnet4"] and "stopped by hand" in trained.notes[-1]


MODELS = ["svm_thesis", "lipnet4"]


def trained_in(folder, data, **options):
    """Train two models in two folds and return the bytes of all that is deterministic, with what was explained and saved."""
    sample = train.Sample(data, "content", seed=1)
    how = {"keep": folder / "models", "resume": folder / "finished", "explain": sample}
    how |= {"calibrate": lambda p, truth: float(p[0, 0])} | options
    trained = train.cross_validate(data, "content", MODELS, settings(), **how)
    sample.save(folder / "examples.npz", trained.predictions)
    with np.load(folder / "examples.npz", allow_pickle=False) as saved:
        examples = {name: saved[name].tobytes() for name in saved}
    cards = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("models/*/card.json")}
    tables = [getattr(trained, name).to_csv() for name in ("predictions", "history", "checks")]
    return [*tables, sample.importance.to_csv(), examples, cards, trained.notes]


@pytest.mark.parametrize("stop", ["svm_thesis fold 2", "lipnet4 fold 2"])
def test_a_training_that_was_killed_goes_on_with_the_same_bytes(small, tmp_path, monkeypatch, stop):
    """Finished folds are taken as they are, the others trained; predictions, cards, maps and importance are the same."""
    whole = trained_in(tmp_path / "whole", small)
    fitted, real = [], protocol._Run._fold

    def fold(run, model, inputs, rows, number, each):
        fitted.append(f"{model.name} fold {number}")
        if fitted.count(stop) == 1 and fitted[-1] == stop:
            raise SystemExit  # as a kill, nothing of it is heard by the protocol
        return real(run, model, inputs, rows, number, each)

    monkeypatch.setattr(protocol._Run, "_fold", fold)
    with pytest.raises(SystemExit):
        trained_in(tmp_path / "begun", small)
    begun = len(fitted)
    assert trained_in(tmp_path / "begun", small) == whole
    assert fitted[begun] == stop and len(fitted) == 5  # four folds, of which one was begun twice
    shutil.rmtree(tmp_path / "begun" / "models")
    assert trained_in(tmp_path / "begun", small) == whole and len(fitted) == 5  # all were finished


def test_finished_folds_of_another_training_are_never_taken(small, tmp_path):
    """Another seed, another label: everything is trained anew, and what was kept of the other goes."""
    options = {"resume": tmp_path / "finished"}
    first = train.cross_validate(small, "content", ["svm_thesis"], settings(), **options)
    (kept,) = (tmp_path / "finished").iterdir()
    second = train.cross_validate(small, "content", ["svm_thesis"], settings(seed=4), **options)
    assert not kept.exists() and not second.predictions.equals(first.predictions)
    alone = train.cross_validate(small, "content", ["svm_thesis"], settings(seed=4))
    assert second.predictions.equals(alone.predictions)


def test_two_presses_while_a_fold_is_predicted_end_all_training(small, monkeypatch, ctrl_c):
    """The stop button pressed twice is heard although the first press is dealt with seconds later; whole models stay."""
    real, pressed = fitting.Network.predict, []

    def predict(network, *arguments):
        if network.name == "lipnet4" and not pressed:
            pressed.append(1)
            for _ in range(2):
                with contextlib.suppress(KeyboardInterrupt):
                    ctrl_c()
            time.sleep(2.5)
            raise KeyboardInterrupt
        return real(network, *arguments)

    monkeypatch.setattr(fitting.Network, "predict", predict)
    trained = train.cross_validate(small, "content", ["svm_texture", "lipnet4", "residual"], settings())
    assert set(trained.predictions["model"]) == {"svm_texture"} and "stopped by hand" in trained.notes[-1]


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (MemoryError(), "lower 'batch'"),
        (type("ResourceExhaustedError", (Exception,), {})("OOM when allocating"), "lower 'batch'"),
        (RuntimeError("no such kernel"), "RuntimeError: no such kernel"),
    ],
)
def test_a_model_that_breaks_leaves_the_others(small, monkeypatch, raised, message):
    """Out of memory names the parameter to lower; any other fault is told, and the SVM is still there."""

    def broken(*args, **kwargs):
        raise raised

    monkeypatch.setattr(fitting.Network, "fit", broken)
    trained = train.cross_validate(small, "content", ["residual", "svm_texture"], settings(epochs=1))
    assert message in trained.failures["residual"]
    assert any(message in sentence for sentence in trained.diagnostics)


def test_a_loss_that_is_no_number_is_told(small):
    """Weights that are no numbers end in a sentence that names the parameter, not in a table of NaN."""
    with pytest.raises(InputError, match="no longer a number in fold 1, epoch 1; lower 'learning_rate'"):
        train.cross_validate(small, "content", ["lipnet4"], settings(learning_rate=np.nan))


def test_a_class_with_fewer_particles_than_folds_is_refused():
    """The sentence names the class, its number and the cure."""
    images, groups = np.zeros((20, 16, 16)), [f"m{i}" for i in range(20)]
    with pytest.raises(InputError, match="'b' of 'content' has 2 particles, fewer than the 3 folds"):
        data = made(images, ["a"] * 18 + ["b"] * 2, groups)
        train.cross_validate(data, "content", ["residual"], settings(folds=3))
    with pytest.raises(InputError, match="only one class"):
        train.cross_validate(made(images, ["a"] * 20, groups), "content", ["residual"], settings())


def test_unsure_particles_are_predicted_and_neither_learnt_nor_scored(tmp_path):
    """They are of the test's micrographs, or of none; without adaptation all else is as it would be without them."""
    data, models = faint(), ["lipnet4", "svm_texture"]
    extra, aside = data.rows([0, 50, 51, 95]), ["unclear", "unclear", "Unclear", "unclear"]
    extra.table["particle"], extra.table["content"] = ["u0", "u1", "u2", "u3"], aside
    extra.table.loc[3, "micrograph"] = "lone"
    both = made(
        np.concatenate([extra.images, data.images]),
        [*extra.table["content"], *data.table["content"]],
        [*extra.table["micrograph"], *data.table["micrograph"]],
    )
    both.table["particle"] = [*extra.table["particle"], *data.table["particle"]]
    options = settings(epochs=1, adaptation="none", unsure=["unclear"], labels=0.5)
    trained = train.cross_validate(both, "content", models, options, keep=tmp_path)
    alone = train.cross_validate(data, "content", models, settings(epochs=1, adaptation="none", labels=0.5))
    found = trained.predictions.set_index("particle")
    unsure, rest = found[found["role"] == "unsure"], found[found["role"] != "unsure"]
    assert unsure.groupby("model").size().to_dict() == dict.fromkeys(models, 4)
    assert unsure["truth"].head(4).sort_index().tolist() == aside
    assert unsure["predicted"].isin(["common", "rare"]).all() and "p_unclear" not in found
    assert np.allclose(unsure[["p_common", "p_rare"]].sum(axis=1), 1)
    pd.testing.assert_frame_equal(rest, alone.predictions.set_index("particle"), atol=1e-5)
    test = rest[rest["role"] == "test"].groupby("micrograph")["fold"].first()
    assert all(row.fold == test.get(row.micrograph, 1) for row in unsure.itertuples())
    card = train.load(tmp_path / "lipnet4").card
    assert card["classes"] == ["common", "rare"] and card["settings"]["unsure"] == ["unclear"]


def test_adaptation_sees_the_unsure_particles_of_a_micrograph(monkeypatch):
    """All particles of the first micrograph, sure or not, are predicted in one call, and there are no others."""
    data, asked = faint(), []
    data.table.loc[[0, 20], "content"] = "uncertain"
    predict = fitting.Network.predict

    def noted(self, inputs, groups, rows):
        asked.append(set(rows))
        return predict(self, inputs, groups, rows)

    monkeypatch.setattr(fitting.Network, "predict", noted)
    trained = train.cross_validate(data, "content", ["lipnet4"], settings(epochs=1))
    assert len(asked) == 4 and any(set(range(24)) & rows >= set(range(12)) for rows in asked)
    assert trained.predictions["role"].value_counts()["unsure"] == 2
    whole = train.cross_validate(data, "content", ["lipnet4"], settings(epochs=1, unsure=[], folds=2))
    assert "p_uncertain" in whole.predictions and "unsure" not in set(whole.predictions["role"])


@pytest.mark.parametrize("labels_from", ["particles", "micrographs"])
def test_a_share_of_the_labels_changes_only_what_is_learnt_from(labels_from):
    """Test particles stay; a smaller share lies within a larger one and in the same, or in fewer, micrographs."""
    data = faint(count=240)
    folds, used = split(data.table, "content", folds=3, seed=1), {}
    for labels in (1.0, 0.5, 0.25):
        options = settings(folds=3, seed=1, labels=labels, labels_from=labels_from)
        parts = protocol.split_fold(data.table, "content", folds, 1, options)
        assert np.array_equal(parts["test"], np.flatnonzero(folds == 1))
        used[labels] = np.concatenate([parts["train"], parts["validation"]])
    assert set(used[0.25]) < set(used[0.5]) < set(used[1.0]) and len(used[0.5]) <= 0.6 * len(used[1.0])
    micrographs = {k: data.table["micrograph"].iloc[v].nunique() for k, v in used.items()}
    assert (micrographs[0.5] == micrographs[1.0]) == (labels_from == "particles")


def test_a_share_of_the_labels_is_as_much_work():
    """An epoch passes over a quarter of the labels four times, and says of how many particles it used the labels."""
    taken, whole = [], settings(epochs=1, labels=1.0)

    class Batches(fitting.Batches):
        def epoch(self, rng):
            taken.append((self.steps, self.passes))
            return super().epoch(rng)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "Batches", Batches)
        full, quarter = (
            train.cross_validate(faint(count=480), "content", ["lipnet4"], options).costs["labelled"]
            for options in (whole, settings(epochs=1, labels=0.25))
        )
    assert [passes for _, passes in taken] == [1, 1, 4, 4]
    assert np.ptp([steps for steps, _ in taken]) <= 2 and (quarter < 0.3 * full).all()


def test_the_recipe_of_2016_stops_when_the_validation_loss_stands_still(small):
    """Patience ends training before the epochs do, and the best epoch is not the last."""
    options = settings(epochs=80, recipe="thesis2016", imbalance="oversample")
    history = train.cross_validate(small, "content", ["lipnet4"], options).history
    for _, fold in history.groupby("fold"):
        last, best = fold["epoch"].max(), fold.loc[fold["validation_loss"].idxmin(), "epoch"]
        assert last == min(80, best + fitting.RECIPES["thesis2016"].patience)


def test_a_refit_is_told(small):
    """With two micrographs to learn from one validates, and the notes say of both folds that the network was refitted."""
    options = settings(epochs=1, labels=0.5, labels_from="micrographs")
    trained = train.cross_validate(small, "content", ["lipnet4", "svm_texture"], options)
    said = [note for note in trained.notes if "a single micrograph" in note]
    assert len(said) == 1 and "lipnet4" in said[0] and "in folds 1, 2, too few" in said[0]
    assert "refitted" in said[0]


def left(loss, *, accuracy=0.9, plain=0.9, resampled=0.9, final=0.9, rarest=30, failures=None):
    """Make what training leaves of one network in two folds, with the given validation losses."""
    epochs = np.arange(1, len(loss) + 1)
    history = [
        pd.DataFrame(
            {"epoch": epochs, "loss": 0.3, "validation_loss": loss, "validation_accuracy": a}
        ).assign(model="net", fold=fold)
        for fold, a in ((1, accuracy), (2, 0.9))
    ]
    check = {"plain": plain, "resampled": resampled, "final": final, "rarest": rarest}
    checks = pd.DataFrame({"model": "net", "fold": [1, 2], **check})
    predictions = pd.DataFrame({"truth": ["a", "b", "unclear"], "role": ["test", "test", "unsure"]})
    return train.Trained(
        predictions, pd.concat(history, ignore_index=True), pd.DataFrame(), checks, failures or {}, []
    )


FALLING, SOUND = [1, 0.9, 0.8, 0.7, 0.6, 0.5], [1, 0.6, 0.5, 0.45, 0.44, 0.44]


def test_sound_training_is_not_complained_about():
    """Curves that come to rest, folds that agree, particles that score alike."""
    assert left(SOUND).diagnostics == []
    assert left(SOUND, plain=0.55, resampled=0.95, final=0.4, rarest=3).diagnostics == []


@pytest.mark.parametrize(
    ("words", "case"),
    [
        ("over-fitting", left([1, 0.5, 0.4, 0.5, 0.6, 0.7])),
        ("under-training", left(FALLING)),
        ("too few to judge", left(SOUND[:4])),
        (r"fold 1 reached .*chance is 0\.50", left(SOUND, accuracy=0.5)),
        ("noise that resampling leaves", left(SOUND, plain=0.55, resampled=0.95, final=0.55)),
        ("set 'adaptation' to 'none'", left(SOUND, final=0.8)),
        ("too strong for these particles", left(SOUND, resampled=0.7)),
        ("Failed: out of memory", left(SOUND, failures={"other": "out of memory"})),
    ],
)
def test_each_fault_of_training_is_named(words, case):
    """Each with one sentence."""
    assert len(case.diagnostics) == 1 and re.search(words, case.diagnostics[0])
