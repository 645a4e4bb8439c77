import numpy as np
import pandas as pd
import pytest

from temlib import augment, train
from temlib.augment import lowpass
from temlib.data import Particles, split
from temlib.data import open as open_data
from temlib.files import InputError
from temlib.train import fitting, networks, svm

SETTINGS = dict(folds=2, seed=3, batch=8, learning_rate=3e-3, augmentation="slides")


@pytest.mark.parametrize("imbalance", ["none", "undersample"])
def test_the_protocol_predicts_every_particle_once(study, imbalance):
    """Each particle is tested once by each model, never by one that saw its micrograph, and probabilities sum to 1."""
    data = open_data(study, input_size=24)
    chosen = ["residual", "svm_texture"]
    trained = train.cross_validate(data, "content", chosen, epochs=2, imbalance=imbalance, **SETTINGS)
    test = trained.predictions[trained.predictions["role"] == "test"]
    assert not trained.failures and set(test["model"]) == set(chosen)
    assert (test.groupby("model")["particle"].nunique() == 48).all() and len(test) == 96
    assert np.allclose(test[["p_bright", "p_plain"]].sum(axis=1), 1)
    for _, rows in trained.predictions.groupby(["model", "fold"]):
        roles = rows.groupby("role")["micrograph"].agg(set)
        assert not roles["test"] & roles["validation"]


def test_the_svm_learns_a_plain_difference(study):
    """A bright centre is found."""
    data = open_data(study, input_size=24)
    rows = train.cross_validate(
        data, "content", ["svm_texture"], epochs=1, imbalance="none", **SETTINGS
    ).predictions
    test = rows[rows["role"] == "test"]
    assert (test["truth"] == test["predicted"]).mean() >= 0.9


def test_training_is_reproducible(study):
    """The same seed gives the same numbers."""
    data = open_data(study, input_size=24)
    one, two = (
        train.cross_validate(
            data, "content", ["lipnet4"], epochs=2, imbalance="oversample", **SETTINGS
        ).predictions
        for _ in range(2)
    )
    assert np.array_equal(one["p_plain"], two["p_plain"])


def test_training_on_an_accelerator_is_the_same_training(study, monkeypatch):
    """Augmented within the step, folds and contrast included, a network has the losses that it has by the CPU path."""
    data = open_data(study, input_size=24)
    losses = []
    for accelerated in (False, True):
        monkeypatch.setattr(augment, "available", lambda accelerated=accelerated: accelerated)
        trained = train.cross_validate(
            data, "content", ["dihedral"], epochs=2, imbalance="none", contrast="either", **SETTINGS
        )
        assert not trained.failures
        losses.append(trained.history[["loss", "validation_loss"]].to_numpy())
    assert not np.array_equal(*losses) and np.allclose(*losses, rtol=0.02)


def test_a_network_that_does_not_fit_fails_alone(study):
    """lipnet4 needs 12 pixels; the SVM goes on and the reason is kept."""
    data = open_data(study, input_size=10)
    trained = train.cross_validate(
        data, "content", ["lipnet4", "svm_texture"], epochs=1, imbalance="none", **SETTINGS
    )
    assert "raise it" in trained.failures["lipnet4"]
    assert set(trained.predictions["model"]) == {"svm_texture"}


@pytest.mark.parametrize(
    ("models", "primary", "message"),
    [
        (["residaul"], "residaul", "the nearest is 'residual'"),
        ([], "residual", "each model once"),
        (["lipnet4"], "residual", "not among 'models'"),
    ],
)
def test_wrong_models_are_refused(models, primary, message):
    """Names are checked before anything is trained."""
    with pytest.raises(InputError, match=message):
        train.check_models(models, primary)


def made(images, labels, micrographs):
    """Make a data set of arrays."""
    names = [f"p{i:03d}" for i in range(len(images))]
    table = pd.DataFrame({"particle": names, "micrograph": micrographs, "content": labels})
    return Particles(table, images.astype(np.float32), "test", (), "fill", float("nan"), False)


def plan(imbalance, *, codes=(0, 0, 0, 0, 0, 0, 1, 1), batch=4, labels=1.0, outside=0):
    """Plan an epoch of 6 particles of a common class and 2 of a rare one."""
    settings = train.Settings(folds=2, seed=1, epochs=1, batch=batch, imbalance=imbalance, labels=labels)
    return fitting.Plan(np.array(codes), 2, settings, np.random.default_rng(0), outside)


@pytest.mark.parametrize(
    ("imbalance", "times"), [("none", [1, 1]), ("oversample", [1, 3]), ("threshold", [1, 1])]
)
def test_an_epoch_repeats_rare_particles_where_it_should(imbalance, times):
    """Oversampling takes each rare particle ceil(6 / 2) times, the others once."""
    taken = np.bincount(plan(imbalance).epoch(np.random.default_rng(1)).ravel(), minlength=8)
    assert taken[:6].tolist() == [times[0]] * 6 and taken[6:].tolist() == [times[1]] * 2


def test_undersampling_takes_as_many_of_each_class_and_others_each_time():
    """Two of six common particles stand beside the two rare ones, and in time every particle has its turn."""
    rng, one = np.random.default_rng(1), plan("undersample")
    epochs = [one.epoch(rng).ravel() for _ in range(20)]
    assert all((epoch < 6).sum() == 2 and (epoch >= 6).sum() == 2 for epoch in epochs)
    assert set(np.concatenate(epochs)) == set(range(8))


def test_class_weights_make_classes_count_alike():
    """6 and 2 particles weigh 2/3 and 2, so that each class weighs 4."""
    assert np.allclose(plan("class_weight").weights, [8 / 12, 8 / 4])
    assert np.allclose(plan("oversample").weights, 1)


def test_steps_are_of_one_length_and_do_not_depend_on_the_share_of_labels():
    """The last step is filled up; of eight to be learnt from, two have labels and are passed over four times."""
    assert plan("none", batch=5).epoch(np.random.default_rng(0)).shape == (2, 5)
    quarter = plan("none", codes=(0, 1), batch=4, labels=0.25, outside=10)
    assert np.bincount(quarter.epoch(np.random.default_rng(0)).ravel()).tolist() == [4, 4]


def test_logit_adjustment_shifts_the_logits_of_the_loss_by_the_log_shares():
    """The loss of logits is the cross-entropy of logits + ln(share); focal loss makes little of what is easy."""
    keras = networks.backend()
    logits, adjusted = np.array([[1.0, -1.0]], np.float32), plan("logit_adjustment")
    target = adjusted.targets[[1]]
    shifted = logits + np.log([[0.75, 0.25]])
    log_p = shifted - np.log(np.exp(shifted).sum())
    expected = -(np.array([0.05, 0.95]) * log_p[0]).sum()
    assert float(fitting.loss_of_logits(keras, 2, focal=False)(target, logits)[0]) == pytest.approx(
        expected, rel=1e-5
    )
    plain = plan("none").targets
    ease = [
        float(fitting.loss_of_logits(keras, 2, focal=f)(plain[[0]], 3 * logits)[0])
        / float(fitting.loss_of_logits(keras, 2, focal=f)(plain[[1]], 3 * logits)[0])
        for f in (False, True)
    ]
    assert ease[1] < 0.5 * ease[0]


def faint(seed=0, count=96, size=16):
    """Make particles of which one in four is faintly bright: a common class is the safe call."""
    rng = np.random.default_rng(seed)
    rare = np.arange(count) % 4 == 0
    images = rng.normal(size=(count, size, size))
    images[rare, 4:12, 4:12] += 0.35
    return made(images, np.where(rare, "rare", "common"), [f"m{i // 12}" for i in range(count)])


def test_moving_the_threshold_calls_more_of_the_rare_class_from_the_same_probabilities():
    """Training is that of `none` to the last bit; only calls change, towards the rare class."""
    settings = SETTINGS | {"augmentation": "none"}
    none, moved = (
        train.cross_validate(faint(), "content", ["lipnet4"], epochs=2, imbalance=i, **settings).predictions
        for i in ("none", "threshold")
    )
    assert np.array_equal(none["p_rare"], moved["p_rare"])
    assert (moved["predicted"] == "rare").sum() > (none["predicted"] == "rare").sum()


def test_nothing_is_traced_twice_between_folds():
    """Training and prediction are compiled in the first fold and never again, whatever the folds' sizes."""
    settings = train.Settings(folds=3, seed=1, epochs=1, batch=8)
    data = faint()
    network, codes = fitting.Network("lipnet4", data.images, ["a", "b"], settings), np.arange(96) % 2
    network._fresh()
    layer, traced, counts = network.model.layers[1], [], []
    run = layer.call
    # Python code of a layer runs while a function is traced and never again.
    layer.call = lambda *args, **kwargs: (traced.append(1), run(*args, **kwargs))[1]
    for held in (20, 31, 45):
        parts = {"test": np.arange(held), "validation": np.arange(held, held + 13)}
        network.fold(codes, parts | {"train": np.arange(held + 13, 96)}, 1, None)
        counts.append(len(traced))
    assert counts[0] > 0 and counts == [counts[0]] * 3


def test_a_planted_identifier_of_the_micrograph_helps_only_a_random_split():
    """A pattern in the pixels that tells the micrograph tells the label on the same micrographs, and nothing on others."""
    rng, count = np.random.default_rng(0), 160
    micrograph = np.arange(count) // 8
    # In each micrograph all particles have one label: who knows the micrograph knows the label.
    label = np.where(rng.permutation(20)[micrograph] % 2 == 0, "a", "b")
    planted = rng.normal(size=(20, 16, 16))[micrograph]
    images = planted + 0.5 * rng.normal(size=(count, 16, 16))
    scores = {}
    for name, groups in (
        ("grouped", [f"m{m}" for m in micrograph]),
        ("random", [f"p{i}" for i in range(count)]),
    ):
        settings = SETTINGS | {"augmentation": "none"}
        rows = train.cross_validate(
            made(images, label, groups), "content", ["lipnet4"], epochs=8, imbalance="none", **settings
        ).predictions
        test = rows[rows["role"] == "test"]
        scores[name] = (test["truth"] == test["predicted"]).mean()
    assert scores["random"] > 0.8 and scores["grouped"] < 0.65


def test_a_dihedral_network_does_not_change_its_mind_when_a_particle_is_turned():
    """After some training the probabilities under all eight symmetries of the square agree to 1e-4."""
    from temlib.train import layers

    settings = train.Settings(folds=2, seed=1, epochs=3, batch=8)
    for size in (24, 25):
        data = faint(size=size)
        network = fitting.Network("dihedral", data.images, ["common", "rare"], settings)
        codes = (data.table["content"] == "rare").astype(int).to_numpy()
        parts = {"train": np.arange(64), "validation": np.arange(64, 80), "test": np.arange(80, 96)}
        network.fold(codes, parts, 1, None)
        every = np.arange(len(data))
        plain = network.predict(every)
        for element in range(layers.ORIENTATIONS):
            network.images = np.stack([layers.dihedral(image, element) for image in data.images])
            assert abs(network.predict(every) - plain).max() <= 1e-4


def test_a_network_with_sizes_tells_apart_what_only_its_size_tells(tmp_path):
    """Boxes of 100 and 200 nm hold the same noise: with "+size" nearly every particle is called right, and the bundle knows it."""
    rng = np.random.default_rng(0)
    labels = np.tile(["small", "large"], 60)
    data = made(rng.normal(size=(120, 16, 16)), labels, np.repeat([f"m{k}" for k in range(12)], 10))
    data.table["pixel_size_nm"], data.table["box_px"] = 2.0, np.where(labels == "small", 50.0, 100.0)
    chosen, settings = ["dihedral", "dihedral+size"], SETTINGS | {"learning_rate": 0.02}
    trained = train.cross_validate(
        data, "content", chosen, epochs=8, imbalance="none", keep=tmp_path, **settings
    )
    test = trained.predictions[trained.predictions["role"] == "test"]
    right = (test["truth"] == test["predicted"]).groupby(test["model"]).mean()
    assert not trained.failures and right["dihedral+size"] > 0.95 and right["dihedral"] < 0.7
    network, _ = train.load(tmp_path / "dihedral+size" / "fold=1")
    assert len(network.inputs) == 2


def test_predictions_can_be_averaged_over_transforms():
    """Each particle's probabilities are the mean over the same drawn transforms, of which a settled seed has the draws."""
    data = faint(size=24)
    settings = train.Settings(folds=2, seed=5, epochs=1, averaging=2)
    network, index = fitting.Network("residual", data.images, ["a", "b"], settings), np.arange(70)
    parts = {"train": np.arange(64), "validation": np.arange(64, 80), "test": np.arange(80, 96)}
    found = network.fold(np.arange(96) % 2, parts, 1, None)["probabilities"]["test"]
    transforms = network.augmentation.draw(2, 5)

    def once(k):
        def see(images):
            return network.augmentation.apply(lowpass(images), transforms.iloc[np.full(len(images), k)])

        return network.predict(index, see=see)

    expected = (once(0) + once(1)) / 2
    assert np.allclose(network.predict(index, averaging=2), expected, atol=1e-5)
    assert np.allclose(network.predict(parts["test"], averaging=2), found, atol=1e-6)
    assert not np.allclose(network.predict(index), expected, atol=1e-3)


def test_a_network_with_sizes_needs_some_size(study):
    """Without any pixel size it says what is missing; the other model goes on."""
    data = open_data(study, input_size=24)
    chosen = ["residual+size", "svm_texture"]
    data.table["pixel_size_nm"] = np.nan
    trained = train.cross_validate(data, "content", chosen, epochs=1, imbalance="none", **SETTINGS)
    assert "'pixel_size_nm'" in trained.failures["residual+size"]


def test_an_interruption_keeps_the_best_weights_so_far_and_training_goes_on(study):
    """One interruption ends a fold, which is still predicted; the next fold and model are trained in full."""
    data = open_data(study, input_size=24)
    seen = []

    def progress(step, text):
        seen.append(text)
        if text == "lipnet4 fold 1 epoch 2/4":
            raise KeyboardInterrupt

    trained = train.cross_validate(
        data, "content", ["lipnet4", "residual"], epochs=4, imbalance="none", progress=progress, **SETTINGS
    )
    history = trained.history.groupby(["model", "fold"])["epoch"].max()
    assert history.to_dict() == {("lipnet4", 1): 2, ("lipnet4", 2): 4, ("residual", 1): 4, ("residual", 2): 4}
    assert not trained.failures and "interrupted in fold 1" in trained.notes[0]
    assert (trained.predictions[trained.predictions["role"] == "test"].groupby("model").size() == 48).all()


def test_two_interruptions_end_all_training_and_keep_whole_models(study):
    """A model that lacks folds is left out with its reason; the ones before it stay."""
    data = open_data(study, input_size=24)

    def progress(step, text):
        if text.startswith("lipnet4 fold"):
            raise KeyboardInterrupt

    trained = train.cross_validate(
        data,
        "content",
        ["svm_texture", "lipnet4", "residual"],
        epochs=4,
        imbalance="none",
        progress=progress,
        **SETTINGS,
    )
    assert (
        set(trained.predictions["model"]) == {"svm_texture"} and "interrupted" in trained.failures["lipnet4"]
    )
    assert "ended by hand" in trained.notes[-1]


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (MemoryError(), "lower 'batch'"),
        (type("ResourceExhaustedError", (Exception,), {})("OOM when allocating"), "lower 'batch'"),
        (RuntimeError("no such kernel"), "RuntimeError: no such kernel"),
    ],
)
def test_a_model_that_breaks_leaves_the_others(study, monkeypatch, raised, message):
    """Out of memory names the parameter to lower; any other fault is told, and the SVM is still there."""

    def broken(*args, **kwargs):
        raise raised

    monkeypatch.setattr(fitting.Network, "fold", broken)
    data = open_data(study, input_size=24)
    trained = train.cross_validate(
        data, "content", ["residual", "svm_texture"], epochs=1, imbalance="none", **SETTINGS
    )
    assert message in trained.failures["residual"]
    assert any(message in sentence for sentence in train.misfits(trained))


def test_a_lone_validation_micrograph_does_not_choose_the_epoch(monkeypatch):
    """It helps to train instead, once it has served for calibration; an interruption then leaves the first training."""
    data, codes, trained_on = faint(size=24), np.arange(96) % 2, []
    parts = {"train": np.arange(64), "validation": np.arange(64, 80), "test": np.arange(80, 96)}
    settings = train.Settings(folds=2, seed=1, epochs=2, batch=16)

    def fold(micrographs, settings=settings, report=None):
        network = fitting.Network("residual", data.images, ["a", "b"], settings, micrographs=micrographs)
        return network.fold(codes, parts, 1, report)

    def stop(epoch, text):
        if "again" in text:
            raise KeyboardInterrupt

    class Plan(fitting.Plan):
        def __init__(self, codes, *others):
            trained_on.append(len(codes))
            super().__init__(codes, *others)

    monkeypatch.setattr(fitting, "Plan", Plan)
    lone, several = np.arange(96) // 16, np.arange(96) // 8
    # Predictions that followed micrographs would differ by that alone.
    monkeypatch.setattr(fitting.adaptation, "share", lambda count: 0.0)
    usual, again, stopped = fold(several), fold(lone), fold(lone, report=stop)
    thesis = fold(lone, train.Settings(folds=2, seed=1, epochs=2, batch=16, recipe="thesis2016"))
    assert trained_on == [64, 64, 80, 64, 80, 64]
    assert [r["again"] for r in (usual, again, stopped, thesis)] == [False, True, False, False]
    assert stopped["interrupted"] and not again["interrupted"]
    found = [r["probabilities"] for r in (usual, again, stopped)]
    assert all(np.array_equal(found[0]["validation"], other["validation"]) for other in found)
    assert np.array_equal(found[0]["test"], found[2]["test"]) and not np.allclose(
        found[0]["test"], found[1]["test"]
    )


def test_a_loss_that_is_no_number_is_told(study, monkeypatch):
    """Weights that are no numbers end in a sentence that names the parameter, not in a table of NaN."""
    monkeypatch.setattr(fitting, "one_cycle", lambda progress: np.nan)
    data = open_data(study, input_size=24)
    with pytest.raises(InputError, match="no longer a number in fold 1, epoch 1; lower 'learning_rate'"):
        train.cross_validate(data, "content", ["lipnet4"], epochs=2, imbalance="none", **SETTINGS)


def test_a_class_with_fewer_particles_than_folds_is_refused():
    """The sentence names the class, its number and the cure."""
    data = made(
        np.random.default_rng(0).normal(size=(20, 16, 16)),
        ["a"] * 18 + ["b"] * 2,
        [f"m{i}" for i in range(20)],
    )
    with pytest.raises(InputError, match="'b' of 'content' has 2 particles, fewer than the 3 folds"):
        train.cross_validate(data, "content", ["residual"], epochs=1, **SETTINGS | {"folds": 3})
    with pytest.raises(InputError, match="only one class"):
        train.cross_validate(
            made(data.images, ["a"] * 20, data.table["micrograph"]),
            "content",
            ["residual"],
            epochs=1,
            **SETTINGS,
        )


@pytest.mark.parametrize("labels_from", ["particles", "micrographs"])
def test_a_share_of_the_labels_changes_only_what_is_learnt_from(labels_from):
    """Test particles stay; a smaller share lies within a larger one and in the same, or in fewer, micrographs."""
    data = faint(count=240)
    folds = split(data.table, "content", folds=3, seed=1)
    used = {}
    for labels in (1.0, 0.5, 0.25):
        settings = train.Settings(folds=3, seed=1, epochs=1, labels=labels, labels_from=labels_from)
        parts = train.split_fold(data.table, "content", folds, 1, settings)
        assert np.array_equal(parts["test"], np.flatnonzero(folds == 1))
        used[labels] = np.concatenate([parts["train"], parts["validation"]])
    assert set(used[0.25]) < set(used[0.5]) < set(used[1.0]) and len(used[0.5]) <= 0.6 * len(used[1.0])
    micrographs = {k: data.table["micrograph"].iloc[v].nunique() for k, v in used.items()}
    assert (micrographs[0.5] == micrographs[1.0]) == (labels_from == "particles")


def test_memory_holds_a_batch_and_not_the_data_set(monkeypatch):
    """Images may be a memory map: with no room for prepared images the network asks for a batch at a time."""
    monkeypatch.setattr(fitting, "PREPARED_BYTES", 0)
    data, asked = faint(), []

    class Lazy(np.ndarray):
        def __getitem__(self, index):
            asked.append(np.size(index))
            return np.asarray(super().__getitem__(index))

    settings = train.Settings(folds=2, seed=1, epochs=1, batch=8)
    network = fitting.Network("lipnet4", data.images.view(Lazy), ["a", "b"], settings)
    parts = {"train": np.arange(48), "validation": np.arange(48, 64), "test": np.arange(64, 96)}
    network.fold(np.arange(96) % 2, parts, 1, None)
    assert max(asked) <= fitting.BLOCK


def test_batches_are_the_same_whether_images_are_prepared_once_or_each_time(monkeypatch):
    """The bounded cache is a matter of speed only."""
    data, settings = faint(), train.Settings(folds=2, seed=1, epochs=1)
    network, index = fitting.Network("lipnet4", data.images, ["a", "b"], settings), np.arange(10)
    kept = network._learner(np.arange(40))[1](index, np.random.default_rng(3))
    monkeypatch.setattr(fitting, "PREPARED_BYTES", 0)
    assert np.array_equal(kept, network._learner(np.arange(40))[1](index, np.random.default_rng(3)))


def test_the_average_forgets_the_start_and_follows_the_weights():
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


def test_the_recipe_of_2016_stops_when_the_validation_loss_stands_still(study):
    """Patience ends training before the epochs do, and the best epoch is not the last."""
    data = open_data(study, input_size=24)
    settings = SETTINGS | {"recipe": "thesis2016", "imbalance": "oversample"}
    history = train.cross_validate(data, "content", ["lipnet4"], epochs=80, **settings).history
    for _, fold in history.groupby("fold"):
        last, best = fold["epoch"].max(), fold.loc[fold["validation_loss"].idxmin(), "epoch"]
        assert last == min(80, best + fitting.RECIPES["thesis2016"].patience)


def test_a_kept_network_predicts_the_same_and_a_changed_file_is_refused(study, tmp_path):
    """A bundle is whole or is not loaded; its card says what it is."""
    data = open_data(study, input_size=24)
    trained = train.cross_validate(
        data, "content", ["dihedral"], epochs=2, imbalance="none", keep=tmp_path, **SETTINGS
    )
    network, card = train.load(tmp_path / "dihedral" / "fold=2")
    assert card["classes"] == ["bright", "plain"] and card["settings"]["recipe"] == "modern"
    rows = trained.predictions[(trained.predictions["fold"] == 2) & (trained.predictions["role"] == "test")]
    place = data.table.reset_index().set_index("particle").loc[rows["particle"], "index"]
    logits = network.predict_on_batch(lowpass(data.images[place])[..., None])
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(p[:, 0], rows["p_bright"], atol=1e-5)
    with open(tmp_path / "dihedral" / "fold=2" / "card.json", "a") as file:
        file.write(" ")
    with pytest.raises(InputError, match="checksum"):
        train.load(tmp_path / "dihedral" / "fold=2")


def test_inner_folds_of_the_svm_train_on_every_class():
    """A class that lies in two micrographs of ten is in the training part of each inner fold."""
    groups = np.repeat(np.arange(10), 4)
    labels = np.where(groups < 2, "rare", "common")
    for inner, held in svm._inner_folds(np.zeros((40, 1)), labels, groups, seed=0):
        assert set(labels[inner]) == {"rare", "common"} and not set(groups[inner]) & set(groups[held])
