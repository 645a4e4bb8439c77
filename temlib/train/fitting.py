"""One network in one fold: which particles a step takes, how weights are moved, which of them are kept.

The recipe "modern" is a one-cycle AdamW (L. N. Smith, N. Topin, 2018, arXiv:1708.07120) whose weights are averaged over the last
tenth of the steps (B. T. Polyak, A. B. Juditsky, 1992, doi:10.1137/0330046). "thesis2016" is what the slides' networks were
trained with: SGD at a fixed rate, stopped when the validation loss has not fallen for 20 epochs. Both keep the weights of the
epoch with the lowest validation loss.
"""

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from temlib.augment import Augmentation, OnDevice, averaged, lowpass
from temlib.data import resampled
from temlib.files import InputError
from temlib.train import adaptation, networks
from temlib.train.interruptions import Interruptions

# Particles in a prediction step; the last block is filled up, so that nothing is traced twice.
BLOCK = 32
# Spline coefficients of the training particles are kept up to this many bytes, else made anew for each step.
PREPARED_BYTES = 2**28
# Exponent of the focal loss, as where it was published.
FOCUS = 2.0
# What is said of a saved model whose classes are others.
OTHER_CLASSES = "the card lists {} classes and the model tells {} apart; save the bundle again."
# Validation particles that are compared with the same ones resampled: about so many at most.
CHECKED = 1000


@dataclass(frozen=True)
class Recipe:
    """How weights are moved."""

    learning_rate: float | None  # fixed; None for one cycle whose peak is the user's `learning_rate`
    averaged: float  # share of all steps over which weights are averaged (exponentially), 0 for none
    patience: int  # epochs without a lower validation loss after which training stops; 0 trains to the end
    adapts: bool  # whether predictions may use adaptive batch normalisation

    def optimiser(self, keras):
        """Return a new optimiser."""
        if self.learning_rate is None:
            # The rate is set before each step; clipping keeps the first steps of a fold tame.
            return keras.optimizers.AdamW(learning_rate=1e-3, weight_decay=1e-2, clipnorm=1.0)
        # 1e-6 was Keras' `decay` of 2016: the rate divided by (1 + 1e-6 × steps).
        rate = keras.optimizers.schedules.InverseTimeDecay(self.learning_rate, 1, 1e-6)
        return keras.optimizers.SGD(learning_rate=rate, momentum=0.9, nesterov=True)


RECIPES = {
    "modern": Recipe(learning_rate=None, averaged=0.1, patience=0, adapts=True),
    "thesis2016": Recipe(learning_rate=0.01, averaged=0.0, patience=20, adapts=False),
}


@dataclass(frozen=True)
class Settings:
    """How models are trained and tested.

    Attributes
    ----------
    folds, seed : int
    epochs, batch : int
        Passes over the training particles (0: see `schedule`), and particles in a step.
    learning_rate : float
        Peak of the one-cycle schedule of the recipe "modern".
    augmentation : str
        A preset of `augment.Augmentation`, drawn anew in each epoch.
    contrast : {"auto", "kept", "either"}
        How bright-field and dark-field micrographs together are met: found and met by itself (`Particles.aligned`), left as
        they are, or with bright and dark swapped in half of the training particles.
    imbalance : {"none", "class_weight", "oversample", "undersample", "focal", "logit_adjustment", "threshold"}
    recipe : {"modern", "thesis2016"}
    labels : float
        Share of the labels outside the test fold that is used, in (0, 1]; the number of steps does not change with it.
    labels_from : {"particles", "micrographs"}
        Whether some particles of every micrograph or some whole micrographs are used.
    averaging : int
        Number of drawn transforms over which the networks' predictions are averaged, 0 for none.
    adaptation : {"micrograph", "none"}
        Whether predictions use adaptive batch normalisation; with the recipe of 2016 they never do.
    unsure : list of str
        Labels that mean "could not tell": such particles are neither learnt nor scored, but predicted.
    """

    folds: int = 3
    seed: int = 1
    epochs: int = 0
    batch: int = 32
    learning_rate: float = 0.003
    augmentation: str = "slides"
    contrast: str = "auto"
    imbalance: str = "oversample"
    recipe: str = "modern"
    labels: float = 1.0
    labels_from: str = "particles"
    averaging: int = 0
    adaptation: str = "micrograph"
    unsure: tuple = ("uncertain",)

    @property
    def adapts(self):
        """Return whether predictions use adaptive batch normalisation."""
        return self.adaptation == "micrograph" and RECIPES[self.recipe].adapts


class Network:
    """A network as an estimator of the protocol, compiled once and given its first weights again in each fit.

    Its inputs are a list of arrays over all particles: images (n, size, size), which may be a memory map since they are read
    a batch at a time, and for a network "+size" the sizes (n, 1) in nm. With `first`, a list of weights for each fold, a fit
    begins with these. Of the last fit there are the `model`, the `history` (a dict for each epoch), `interrupted` (whether
    KeyboardInterrupt ended it) and `lone`: whether a single micrograph validated, a poor judge of the epoch, and one of few to
    learn from, so `refit` is better.
    """

    suffix = ".keras"  # of the file that `save` writes
    divided = False  # it has no inner folds, which an SVM may have within a micrograph

    def __init__(self, name, classes, settings):
        self.name, self.classes, self.settings = name, classes, settings
        self.recipe = RECIPES[settings.recipe]
        self.augmentation = Augmentation.preset(settings.augmentation)
        self.varies = settings.augmentation != "none"
        self.model = self.device = self.plain = self.first = None
        self.interruptions = Interruptions()

    def inputs(self, data):
        """Return what the network takes of all particles."""
        sizes = self.sizes(data)  # before the images, since it may refuse
        images = resampled(data.images, networks.side_of(self.name, data.images.shape[-1]))
        return [images] if sizes is None else [images, sizes]

    def sizes(self, data):
        """Return the sizes (n, 1) of all particles in nm, None where the network takes none, or refuse that none is known."""
        if not networks.split(self.name).sized:
            return None
        known = data.table.reindex(columns=["box_px", "pixel_size_nm"]).astype(float)
        sizes = known.prod(axis=1, skipna=False).to_numpy(np.float32)
        if np.isnan(sizes).all():
            raise InputError(
                f"{self.name} takes the particle's size, but no pixel size is known; add a column 'pixel_size_nm' or "
                f"take '{self.name.replace(networks.SIZED, '')}'."
            )
        return sizes[:, None]

    def fit(self, inputs, labels, groups, *, train, validation, fold, passes=1, report=None):
        """Train on the rows `train` and leave the weights of the epoch that is best on the rows `validation` in the model.

        `labels` (n,) are positions in `classes`; `fold` is part of the seed, an epoch passes over the particles `passes` times,
        and `report` gets (epochs done, text, rows of the history, counts of true and called classes of the rows `validation`).
        """
        self.rng = np.random.default_rng((self.settings.seed, fold))
        self.lone = not self.recipe.patience and len(set(groups[validation])) == 1
        self.history, self.interrupted, best, kept, last = [], False, np.inf, None, 0
        try:
            for epoch, loss in self._epochs(inputs, labels, train, fold, passes):
                with self.average.inside(self.model):
                    values, known = self.probabilities(inputs, validation), labels[validation]
                    row = {"epoch": epoch, "loss": loss, "validation_loss": log_loss(values, known)}
                    row["validation_accuracy"] = balanced_accuracy(values.argmax(axis=1), known)
                    better = row["validation_loss"] < best
                    weights = self.model.get_weights() if better else kept
                    # An interruption while weights are copied leaves neither the row nor the weights of this epoch.
                    self.history.append(row)
                    if better:
                        best, kept, last = row["validation_loss"], weights, epoch
                if report:
                    pairs = np.bincount(
                        known * len(self.classes) + values.argmax(axis=1), minlength=len(self.classes) ** 2
                    )
                    words = f"{self.name} fold {fold} epoch {epoch}/{self.settings.epochs}"
                    report(epoch, words, self.history, pairs.reshape(2 * [len(self.classes)]))
                if self.recipe.patience and epoch - last >= self.recipe.patience:
                    break
        except KeyboardInterrupt:
            if kept is None:
                raise
            self.interrupted = True
        if kept is None:
            raise self._not_finite("validation loss was never", f"fold {fold}")
        self.model.set_weights(kept)
        return self

    def refit(self, inputs, labels, train, *, fold, passes=1, report=None):
        """Train anew on the rows `train` to the end of the schedule; an interruption leaves the weights before."""
        kept, epochs = self.model.get_weights(), self.settings.epochs
        try:
            for epoch, _ in self._epochs(inputs, labels, train, fold, passes):
                if report:
                    report(epochs, f"{self.name} fold {fold} refitted on all labels, epoch {epoch}/{epochs}")
            with self.average.inside(self.model):
                kept = self.model.get_weights()
        except KeyboardInterrupt:
            self.interrupted = True
        self.model.set_weights(kept)

    def _epochs(self, inputs, labels, train, fold, passes):
        """Start anew and pass over the training particles as often as asked; yield the epoch, from 1, and its mean loss."""
        self._restart(inputs)
        if self.first is not None:
            self.model.set_weights(self.first[fold - 1])
        settings, model = self.settings, (self.device or self).model
        batches = Batches(labels[train], len(self.classes), settings, passes)
        total = batches.steps * settings.epochs
        self.divisor = batches.shares if settings.imbalance == "threshold" else 1.0
        self.average = Average(self.recipe.averaged * batches.steps * settings.epochs)
        varied = self._varied(inputs, train)
        for epoch in range(1, settings.epochs + 1):
            model.reset_metrics()  # the loss that a step returns is the mean since the last reset
            for step, index in enumerate(batches.epoch(self.rng), start=(epoch - 1) * batches.steps):
                if self.recipe.learning_rate is None:
                    self.model.optimizer.learning_rate = settings.learning_rate * one_cycle(step / total)
                images = varied(index)
                with self.interruptions.held():
                    loss = model.train_on_batch(images, batches.targets[index], batches.weights[index])
                self.average.step(self.model)
            if not np.isfinite(loss):
                raise self._not_finite("loss is no longer", f"fold {fold}, epoch {epoch}")
            yield epoch, float(loss)

    def _restart(self, inputs):
        """Build and compile once; then put weights and optimiser back to their start."""
        if self.model is None:
            keras, settings, images = networks.backend(), self.settings, inputs[0]
            shape = {"input_size": images.shape[-1], "classes": len(self.classes)}
            self.model = networks.build(self.name, **shape, seed=settings.seed)
            self.weights = self.model.count_params()
            # XLA trains these networks several times slower on a CPU than TensorFlow's own kernels do.
            compiling = {
                "optimizer": self.recipe.optimiser(keras),
                "loss": loss_of_logits(keras, len(self.classes), focal=settings.imbalance == "focal"),
                "jit_compile": False,
            }
            self.model.compile(**compiling)
            self.model.optimizer.build(self.model.trainable_variables)
            if self.varies and _fits(images, len(images)) and len(inputs) == 1 and OnDevice.available():
                self.device = OnDevice(self.model, self.augmentation, len(images), images.shape[1:])
                self.device.model.compile(**compiling)
            # Seed generators of dropout are among the variables, so every fold drops alike.
            self.variables = [*self.model.variables, *self.model.optimizer.variables]
            self.start = [np.array(variable) for variable in self.variables]
        for variable, value in zip(self.variables, self.start):
            variable.assign(value)

    @cached_property
    def adaptive(self):
        """What adapts the network to a micrograph."""
        return adaptation.AdaptiveNormalization(self.model)

    def save(self, path):
        """Write the network without its optimiser; return what else predictions need, as plain JSON values."""
        if self.plain is None:
            self.plain = networks.backend().Model.from_config(self.model.get_config())
        self.plain.set_weights(self.model.get_weights())
        self.plain.save(path)
        return {"divisor": np.ravel(self.divisor).tolist()}

    def read(self, path, state):
        """Return what makes this the network in a file of `save`, for `restore`; nothing in the file is run."""
        if self.model is None:
            networks.check_size(path)
            self.model = networks.backend().saving.load_model(path, compile=False, safe_mode=True)
        if self.model.output_shape[-1] != len(self.classes):
            raise InputError(OTHER_CLASSES.format(len(self.classes), self.model.output_shape[-1]))
        self.model.load_weights(path)
        return self.model.get_weights(), np.array(state["divisor"], float)

    def restore(self, state):
        """Become what was read."""
        weights, self.divisor = state
        self.model.set_weights(weights)
        return self

    def _varied(self, inputs, train):
        """Return a function from positions in `train` to what the trained model takes, augmented anew at each call."""
        images, prepared = inputs[0], None
        if self.device:
            self.device.prepare(lowpass(images[train]))
        elif self.varies and _fits(images, len(train)):
            prepared = self.augmentation.prepare(lowpass(images[train]))

        def varied(index):
            transforms = self.augmentation.draw(len(index), self.rng) if self.varies else None
            signs = np.ones(len(index), np.float32)
            if self.settings.contrast == "either":
                signs = self.rng.choice(np.array([-1, 1], np.float32), len(index))
            if self.device:
                return self.device.batch(transforms, index, signs)
            if prepared:
                seen = self.augmentation.apply_prepared(prepared, transforms, index)
            else:
                seen = lowpass(images[train[index]])
                seen = self.augmentation.apply(seen, transforms) if self.varies else seen
            return _given(seen * signs[:, None, None], inputs, train[index])

        return varied

    def _not_finite(self, what, where):
        return InputError(f"{self.name}: the {what} a number in {where}; lower 'learning_rate'.")

    def probabilities(self, inputs, rows, *, see=lowpass, averaging=0):
        """Return class probabilities (m, classes) of some particles with the normalisation of training.

        `see` makes what the network sees of a block of images; with `averaging` probabilities are averaged over so many drawn
        transforms instead (`augment.averaged`).
        """

        def of_block(block):
            def predict(images):
                with self.interruptions.held():
                    logits = self.model.predict_on_batch(_given(images, inputs, block)).astype(np.float64)
                exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
                return exponent / exponent.sum(axis=1, keepdims=True)

            images, drawn = inputs[0][block], {"draws": averaging, "seed": self.settings.seed}
            return (
                averaged(predict, images, self.augmentation, **drawn) if averaging else predict(see(images))
            )

        return blockwise(of_block, rows)

    def predict(self, inputs, groups, rows):
        """Return class probabilities (m, classes) and predicted classes (m,) of some particles.

        With adaptive batch normalisation the statistics of a micrograph are those of its particles in `rows`.
        """
        find = partial(self.probabilities, inputs, averaging=self.settings.averaging if self.varies else 0)
        values, rest = np.empty((len(rows), len(self.classes))), np.full(len(rows), True)

        def seen(rows):
            return _given(lowpass(inputs[0][rows]), inputs, rows)

        for places in adaptation.places(groups[rows]) if self.settings.adapts else []:
            if adaptation.share(len(places)) and self.adaptive.able:
                rest[places] = False
                with self.adaptive.to(seen, rows[places]):
                    values[places] = find(rows[places])
        if rest.any():
            values[rest] = find(rows[rest])
        return values, (values / self.divisor).argmax(axis=1)

    def check(self, inputs, labels, validation):
        """Return the balanced accuracy of validation particles as they are and resampled, and the size of the rarest class."""
        rows = validation[:: max(1, len(validation) // CHECKED)]

        def score(see):
            return balanced_accuracy(self.probabilities(inputs, rows, see=see).argmax(axis=1), labels[rows])

        def resampled(images):
            return self.augmentation.apply(lowpass(images), self.augmentation.draw(len(images), self.rng))

        found = {"plain": score(lowpass), "rarest": np.unique(labels[rows], return_counts=True)[1].min()}
        return found | ({"resampled": score(resampled)} if self.varies else {})


def blockwise(predict, particles):
    """Join what `predict` returns of blocks of particles, each of `BLOCK`, so that nothing is traced twice."""
    blocks = [particles[start : start + BLOCK] for start in range(0, len(particles), BLOCK)]
    # The last one begins again with its first particle.
    full = (BLOCK, *particles.shape[1:])
    return np.concatenate([predict(np.resize(block, full)) for block in blocks])[: len(particles)]


def _fits(images, count):
    """Return whether the spline coefficients of so many of the images may be kept."""
    return count * 4 * images.shape[-1] ** 2 <= PREPARED_BYTES


def _given(images, inputs, rows):
    """Return what the network takes: images (m, size, size) as it sees them, and further inputs of the same particles."""
    images = images[..., None]
    return [images, *(part[rows] for part in inputs[1:])] if len(inputs) > 1 else images


class Batches:
    """Which training particles a step takes, and what they weigh: where imbalance is met.

    `targets` (n, 2 × classes) are one-hot rows followed by what is added to the logits in the loss.
    """

    def __init__(self, labels, classes, settings, passes):
        self.labels, self.imbalance, self.passes = labels, settings.imbalance, passes
        counts = np.bincount(labels, minlength=classes)
        self.shares, self.rarest = counts / len(labels), counts.min()
        weights, offsets, copies = np.ones(classes), np.zeros(classes), np.ones(classes, int)
        if self.imbalance == "class_weight":
            weights = len(labels) / (classes * counts)
        if self.imbalance == "logit_adjustment":
            offsets = np.log(self.shares)
        if self.imbalance == "oversample":  # minorities are repeated whole, as in 2016
            copies = np.ceil(counts.max() / counts).astype(int)
        targets = np.hstack([np.eye(classes), np.tile(offsets, (classes, 1))])
        self.targets, self.weights = (values.astype(np.float32)[labels] for values in (targets, weights))
        self.index = np.repeat(np.arange(len(labels)), copies[labels])
        count = passes * (classes * self.rarest if self.imbalance == "undersample" else len(self.index))
        self.batch = min(settings.batch, int(count))
        self.steps = -(-int(count) // self.batch)

    def epoch(self, rng):
        """Return the indices (steps, batch) of an epoch, the last step filled up from its first particles."""
        order = np.concatenate([self._pass(rng) for _ in range(self.passes)])
        return np.resize(order, (self.steps, self.batch))

    def _pass(self, rng):
        """Return the training particles in a new order; where undersampled, as many of each class as the rarest has."""
        if self.imbalance != "undersample":
            return rng.permutation(self.index)
        classes = [np.flatnonzero(self.labels == k) for k in range(len(self.shares))]
        return rng.permutation(np.concatenate([rng.choice(c, self.rarest, replace=False) for c in classes]))


class Average:
    """The exponential moving average of a model's weights over the last `span` steps; below 1 there is none."""

    # Looking at the weights costs about a hundredth of a step; every fourth one is as good an average.
    EVERY = 4

    def __init__(self, span):
        self.span, self.steps, self.weights = span, 0, None

    def step(self, model):
        """Take the weights into the average."""
        self.steps += 1
        if self.span < 1 or self.steps % self.EVERY:
            return
        now = model.get_weights()
        # Early on the average looks back over half of what there is, so that the random start is soon forgotten.
        rate = min(1.0, self.EVERY / min(self.span, max(self.steps / 2, 1)))
        self.weights = self.weights or now
        for kept, new in zip(self.weights, now):
            kept += (rate * (new - kept)).astype(kept.dtype)

    @contextmanager
    def inside(self, model):
        """Let the model have the averaged weights for a while."""
        own = model.get_weights()
        try:
            model.set_weights(self.weights or own)
            yield
        finally:
            model.set_weights(own)


def loss_of_logits(keras, classes, *, focal):
    """Return the loss of logits; a target holds a one-hot row and what is added to the logits (Menon 2021, arXiv:2007.07314).

    Cross-entropy is smoothed by 0.1. The focal loss (Lin 2017, arXiv:1708.02002) is not: smoothing gives an easy particle a loss
    that it cannot lose.
    """
    options = {"from_logits": True, "reduction": None}
    if focal:
        inner = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=FOCUS, **options)
    else:
        inner = keras.losses.CategoricalCrossentropy(label_smoothing=0.1, **options)

    def loss(target, logits):
        return inner(target[:, :classes], logits + target[:, classes:])

    return loss


def one_cycle(progress):
    """Return the share of the peak learning rate at `progress` in [0, 1]: a linear rise, then half a cosine."""
    rise = 0.25
    if progress < rise:
        return 0.04 + 0.96 * progress / rise
    return 0.5 * (1 + np.cos(np.pi * (progress - rise) / (1 - rise)))


def log_loss(values, labels):
    """Return the mean over classes of the mean log loss, so that a rare class counts as much as a common one."""
    losses = -np.log(np.maximum(values[np.arange(len(labels)), labels], 1e-9))
    return float(np.mean([losses[labels == k].mean() for k in np.unique(labels)]))


def balanced_accuracy(predicted, labels):
    """Return the mean over the classes that occur of the share that is predicted right."""
    right = predicted == labels
    return float(np.mean([right[labels == k].mean() for k in np.unique(labels)]))


def grouped_divisions(labels, groups, parts, seed):
    """Return the divisions (train, held) of whole micrographs into `parts` in which every class is trained on."""
    from sklearn.model_selection import StratifiedGroupKFold

    # Of a class that is in each part there are as many particles.
    parts = min(parts, np.unique(labels, return_counts=True)[1].max())
    if parts < 2:
        return []
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class with fewer particles than parts cannot be in each; what matters is whether it is trained on.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        divisions = list(splitter.split(labels, labels, groups))
    return [(train, held) for train, held in divisions if len(held) and set(labels[train]) == set(labels)]
