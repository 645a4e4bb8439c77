"""One network in one fold: training with augmentation, the best epoch, interruption, prediction, what it cost.

How weights are moved: recipes, which particles a step takes, averaged weights, losses.

A recipe is an optimiser with a schedule of its learning rate, and what is done about the weights. "modern" is a one-cycle
AdamW [1]_ whose weights are averaged over the last tenth of the steps [2]_; it ends by itself. "thesis2016" is what the
slides' networks were trained with: SGD at a fixed rate, stopped when the validation loss has not fallen for 20 epochs.
Both keep the weights of the epoch with the least validation loss.

References
----------
.. [1] L. N. Smith, N. Topin, "Super-convergence", 2018, arXiv:1708.07120.
.. [2] B. T. Polyak, A. B. Juditsky, SIAM J. Control Optim. 30(4), 1992, doi:10.1137/0330046.
.. [3] T.-Y. Lin et al., "Focal loss for dense object detection", 2017, arXiv:1708.02002.
.. [4] A. K. Menon et al., "Long-tail learning via logit adjustment", 2021, arXiv:2007.07314.
"""

import time
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from temlib import augment
from temlib.augment import Augmentation, affine_matrices, averaged, lowpass
from temlib.files import InputError
from temlib.train import adaptation, networks

# Particles in a prediction step; the last block is filled up, so that nothing is traced twice.
BLOCK = 16
# Spline coefficients of the training particles are kept up to this many bytes, else made anew for each step.
PREPARED_BYTES = 2**28


class Network:
    """A network in the protocol; compiled once and given its first weights again in each fold.

    Parameters
    ----------
    name : str
        As for `networks.build`.
    images : (n, rows, columns) array of float32
        Indexed batch by batch, so a memory map stays on disk.
    classes : list of str
    settings : Settings
        See `temlib.training`.
    sizes : (n,) ndarray of float, optional
        Physical sizes of the particles in nm, NaN where unknown, for a network that takes them.
    micrographs : (n,) ndarray, optional
        The micrograph of each particle, for predictions that follow it.
    """

    def __init__(self, name, images, classes, settings, sizes=None, micrographs=None):
        self.name, self.images, self.classes, self.settings = name, images, classes, settings
        self.sizes = None if sizes is None else sizes[:, None].astype(np.float32)
        self.micrographs = micrographs
        self.recipe = RECIPES[settings.recipe]
        self.augmentation = Augmentation.preset(settings.augmentation)
        self.model = self.joined = self.follower = None

    def _fresh(self):
        """Compile once; then put weights and optimiser back to their start."""
        if self.model is None:
            keras = networks.backend()
            size, settings = self.images.shape[-1], self.settings
            self.model = networks.build(
                self.name, input_size=size, classes=len(self.classes), seed=settings.seed
            )
            # XLA trains these networks several times slower on a CPU than TensorFlow's own kernels do.
            compiling = {
                "optimizer": self.recipe.optimiser(keras),
                "loss": loss_of_logits(keras, len(self.classes), focal=settings.imbalance == "focal"),
                "jit_compile": False,
            }
            self.model.compile(**compiling)
            self.model.optimizer.build(self.model.trainable_variables)
            within = self._moves() and self._fits(len(self.images)) and self.sizes is None
            if within and augment.available():
                shape = self.images.shape[1:]
                self.joined = augment.within(self.model, len(self.images), shape, self.augmentation)
                self.joined.compile(**compiling)
            self.start = [np.array(v) for v in self._variables()]
        for variable, value in zip(self._variables(), self.start):
            variable.assign(value)

    def _moves(self):
        return self.settings.augmentation != "none"

    def _fits(self, count):
        """Tell whether the spline coefficients of so many particles may be kept."""
        return count * 4 * self.images.shape[1] * self.images.shape[2] <= PREPARED_BYTES

    def _variables(self):
        # Seed generators of dropout are among the model's, so every fold drops alike.
        return [*self.model.variables, *self.model.optimizer.variables]

    def fold(self, codes, parts, fold, report):
        """Train on one fold and predict its test and validation particles.

        Parameters
        ----------
        codes : (n,) ndarray of int
            Class of each particle.
        parts : dict of str to ndarray
            Indices of `train`, `validation` and `test` particles.
        fold : int
        report : callable or None
            Gets (epochs done, text).

        Returns
        -------
        dict
            `probabilities`: for each role the (n, classes) array; `calls`: likewise the class codes; `history`,
            `costs`, `check`, `interrupted`, `again` (whether it was trained again on all labels, see `_again`).
        """
        self._fresh()
        train, validation = parts["train"], parts["validation"]
        rng, started = np.random.default_rng((self.settings.seed, fold)), time.perf_counter()
        plan = self._plan(codes, train, parts["test"], rng)
        history, interrupted = self._train(train, codes, plan, validation, rng, fold, report)
        predict = self.follow if self._follows() else self.predict
        averaging = self.settings.averaging if self._moves() else 0
        took = time.perf_counter() - started
        probabilities = {"validation": predict(validation, averaging=averaging)}
        check = self._check(codes, validation, probabilities["validation"], rng)
        again = self._alone(validation) and not interrupted
        if again:
            started = time.perf_counter()
            interrupted = self._again(
                codes, np.concatenate([train, validation]), parts["test"], rng, fold, report
            )
            took += time.perf_counter() - started
        started = time.perf_counter()
        probabilities = {"test": predict(parts["test"], averaging=averaging)} | probabilities
        each = (time.perf_counter() - started) / len(parts["test"])
        divisor = plan.shares if self.settings.imbalance == "threshold" else 1.0
        return {
            "probabilities": probabilities,
            "calls": {role: (values / divisor).argmax(axis=1) for role, values in probabilities.items()},
            "history": pd.DataFrame(
                history, columns=["epoch", "loss", "validation_loss", "validation_accuracy"]
            ),
            "costs": {
                "training_s": took,
                "prediction_ms_per_particle": 1e3 * each,
                "weights": self.model.count_params(),
            },
            "check": check,
            "interrupted": interrupted,
            "again": again and not interrupted,
        }

    def _train(self, train, codes, plan, validation, rng, fold, report):
        """Train to the end, to the recipe's patience or to an interruption, and leave the best weights in the model."""
        average = Average(self.recipe.averaged * plan.steps * self.settings.epochs)
        best, kept, last, history, interrupted = np.inf, None, 0, [], False
        try:
            for epoch, loss in self._epochs(train, codes, plan, average, rng, fold):
                with average.inside(self.model):
                    values = self.predict(validation)
                    score = log_loss(values, codes[validation])
                    history.append((epoch + 1, loss, score, balanced_accuracy(values, codes[validation])))
                    if score < best:
                        best, kept, last = score, self.model.get_weights(), epoch
                if report:
                    report(epoch + 1, f"{self.name} fold {fold} epoch {epoch + 1}/{self.settings.epochs}")
                if self.recipe.patience and epoch - last >= self.recipe.patience:
                    break
        except KeyboardInterrupt:
            if kept is None:
                raise
            interrupted = True
        if kept is None:
            raise InputError(
                f"{self.name}: the validation loss was never a number in fold {fold}; lower 'learning_rate'."
            )
        self.model.set_weights(kept)
        return history, interrupted

    def _plan(self, codes, train, test, rng):
        return Plan(codes[train], len(self.classes), self.settings, rng, len(codes) - len(test))

    def _alone(self, validation):
        """Tell whether a single micrograph validates: it is a poor judge of the epoch, and one of few to learn from."""
        lasting = not self.recipe.patience and self.micrographs is not None
        return lasting and len(set(self.micrographs[validation])) == 1

    def _again(self, codes, train, test, rng, fold, report):
        """Train anew on all labelled particles to the end of the schedule; an interruption leaves the weights before.

        Gives whether it was interrupted.
        """
        before = self.model.get_weights()
        self._fresh()
        plan = self._plan(codes, train, test, rng)
        average = Average(self.recipe.averaged * plan.steps * self.settings.epochs)
        try:
            for epoch, _ in self._epochs(train, codes, plan, average, rng, fold):
                if report:
                    text = f"{self.name} fold {fold} again, on all labels, epoch {epoch + 1}/{self.settings.epochs}"
                    report(self.settings.epochs, text)
        except KeyboardInterrupt:
            self.model.set_weights(before)
            return True
        with average.inside(self.model):
            last = self.model.get_weights()
        self.model.set_weights(last)
        return False

    def _epochs(self, train, codes, plan, average, rng, fold):
        """Pass over the training particles as often as asked; yield the number of passes before and the mean loss."""
        learner, batches = self._learner(train)
        for epoch in range(self.settings.epochs):
            loss = self._epoch(learner, batches, plan, average, codes[train], rng, epoch)
            if not np.isfinite(loss):
                raise InputError(
                    f"{self.name}: the loss is no longer a number in fold {fold}, epoch {epoch + 1}; "
                    "lower 'learning_rate'."
                )
            yield epoch, loss

    def _learner(self, train):
        """Return the model that is trained, and a function that gives its input of some training particles.

        Particles are conditioned once and augmented anew at each call: by the CPU, or on an accelerator within the step.
        """
        prepared = None
        if self._moves() and self._fits(len(train)):
            prepared = self.augmentation.prepare(lowpass(self.images[train]))
        if self.joined is not None:
            augment.hold(self.joined, prepared)

        def gain(count, rng):
            """Exchange dark and bright in half of the images, where asked to."""
            either = self.settings.contrast == "either"
            return rng.choice(np.array([-1, 1], np.float32), count) if either else np.ones(count, np.float32)

        def varied(index, rng):
            if prepared is not None:
                return self.augmentation.apply_prepared(
                    prepared, self.augmentation.draw(len(index), rng), index
                )
            images = lowpass(self.images[train[index]])
            if not self._moves():
                return images
            return self.augmentation.apply(images, self.augmentation.draw(len(index), rng))

        def before(index, rng):
            images = varied(index, rng)
            return self._given(images * gain(len(index), rng)[:, None, None], train[index])

        def within(index, rng):
            transforms = self.augmentation.draw(len(index), rng)
            matrices = affine_matrices(transforms, self.images.shape[1:])
            return augment.batch(index, matrices, gain(len(index), rng))

        return (self.model, before) if self.joined is None else (self.joined, within)

    def _given(self, images, index):
        """Give what the network takes: images as it sees them, and the sizes of those particles where it asks for them."""
        images = images[..., None]
        return images if self.sizes is None else [images, self.sizes[index]]

    def _epoch(self, learner, batches, plan, average, codes, rng, epoch):
        """Pass over the training particles once; give the mean loss."""
        total = plan.steps * self.settings.epochs
        learner.reset_metrics()  # the loss that a step returns is the mean since the last reset
        loss = np.nan
        for number, index in enumerate(plan.epoch(rng)):
            step = epoch * plan.steps + number
            if self.recipe.learning_rate is None:
                self.model.optimizer.learning_rate = self.settings.learning_rate * one_cycle(step / total)
            seen = batches(index, rng)
            loss = learner.train_on_batch(seen, plan.targets[codes[index]], plan.weights[codes[index]])
            average.step(self.model)
        return float(loss)

    def predict(self, index, *, see=lowpass, averaging=0):
        """Give class probabilities of particles, a block at a time.

        Parameters
        ----------
        index : (n,) ndarray of int
            Which of them.
        see : callable, optional
            Makes what the network sees of a block of images.
        averaging : int
            Number of transforms over which the probabilities are averaged (`augment.averaged`) instead, 0 for none.

        Returns
        -------
        (n, classes) ndarray
        """
        values = []
        for start in range(0, len(index), BLOCK):
            # The last block is filled up with its first image.
            block = np.resize(index[start : start + BLOCK], BLOCK)
            images, call = self.images[block], partial(self._probabilities, index=block)
            if averaging:
                seed = self.settings.seed
                values.append(averaged(call, images, self.augmentation, draws=averaging, seed=seed))
            else:
                values.append(call(see(images)))
        return np.concatenate(values)[: len(index)]

    def _follows(self):
        """Tell whether predictions follow the micrograph."""
        if not self.settings.follows or self.micrographs is None:
            return False
        self.follower = self.follower or adaptation.Follower(self.model)
        return self.follower.able

    def follow(self, index, *, averaging=0):
        """Give class probabilities of particles as `predict`, with the network following the micrograph of each.

        A micrograph's statistics are those of its particles in `index`; see `temlib.adaptation`.
        """

        def inputs(index):
            return self._given(lowpass(self.images[index]), index)

        values = np.empty((len(index), len(self.classes)))
        groups = adaptation.groups(self.micrographs[index])
        few = [places for places in groups if not adaptation.share(len(places))]
        if few:
            places = np.concatenate(few)
            values[places] = self.predict(index[places], averaging=averaging)
        for places in groups:
            if adaptation.share(len(places)):
                with self.follower.following(inputs, index[places]):
                    values[places] = self.predict(index[places], averaging=averaging)
        return values

    def _probabilities(self, images, index):
        """Give class probabilities of particles whose images are as the network sees them."""
        logits = self.model.predict_on_batch(self._given(images, index)).astype(np.float64)
        exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponent / exponent.sum(axis=1, keepdims=True)

    def _check(self, codes, validation, final, rng):
        """Compare validation particles as they are with the same ones resampled as in training, and with the `final` ones."""
        index = validation[:: max(1, len(validation) // 1000)]
        check = {"plain": balanced_accuracy(self.predict(index), codes[index]), "resampled": np.nan}
        if self.settings.augmentation != "none":

            def see(images):
                return self.augmentation.apply(lowpass(images), self.augmentation.draw(len(images), rng))

            check["resampled"] = balanced_accuracy(self.predict(index, see=see), codes[index])
        check["final"] = balanced_accuracy(final, codes[validation])
        return check | {"rarest": np.unique(codes[index], return_counts=True)[1].min()}


IMBALANCE = ("none", "class_weight", "oversample", "undersample", "focal", "logit_adjustment", "threshold")
# Share of the training micrographs that is set aside for validation: one in this number.
VALIDATION_PARTS = 5
# Exponent of the focal loss, as in [3].
FOCUS = 2.0


@dataclass(frozen=True)
class Recipe:
    """How weights are moved.

    Attributes
    ----------
    learning_rate : float or None
        Fixed rate; None for one cycle whose peak is the user's `learning_rate`.
    averaged : float
        Share of all steps over which weights are averaged (exponentially), 0 for none.
    patience : int
        Epochs without a lower validation loss after which training stops; 0 trains to the end.
    follows : bool
        Whether predictions may follow the micrograph; see `temlib.adaptation`.
    """

    learning_rate: float | None
    averaged: float
    patience: int
    follows: bool

    def optimiser(self, keras):
        """Make the optimiser."""
        if self.learning_rate is None:
            # The rate is set before each step; clipping keeps the first steps of a fold tame.
            return keras.optimizers.AdamW(learning_rate=1e-3, weight_decay=1e-2, clipnorm=1.0)
        # 1e-6 was Keras' `decay` of 2016: the rate divided by (1 + 1e-6 × steps).
        rate = keras.optimizers.schedules.InverseTimeDecay(self.learning_rate, 1, 1e-6)
        return keras.optimizers.SGD(learning_rate=rate, momentum=0.9, nesterov=True)


RECIPES = {
    "modern": Recipe(learning_rate=None, averaged=0.1, patience=0, follows=True),
    "thesis2016": Recipe(learning_rate=0.01, averaged=0.0, patience=20, follows=False),
}


class Plan:
    """Which training particles a step takes, and what they weigh: where imbalance is met.

    `outside` is the number of particles outside the test fold, whether their labels are used or not.
    """

    def __init__(self, codes, classes, settings, rng, outside):
        counts = np.bincount(codes, minlength=classes)
        self.codes, self.imbalance, self.shares = codes, settings.imbalance, counts / counts.sum()
        self.counts, self.rarest = counts, counts.min()
        offsets = np.log(self.shares) if self.imbalance == "logit_adjustment" else np.zeros(classes)
        # Each target is a one-hot row followed by what is added to the logits in the loss.
        self.targets = np.hstack([np.eye(classes), np.tile(offsets, (classes, 1))]).astype(np.float32)
        balancing = self.imbalance == "class_weight"
        self.weights = ((len(codes) / (classes * counts)) if balancing else np.ones(classes)).astype(
            np.float32
        )
        # With a share of the labels an epoch passes over them more often: the work stays, only the labels change.
        few = settings.labels < 1
        self.passes = max(1, round(outside * (1 - 1 / VALIDATION_PARTS) / len(codes))) if few else 1
        self.batch = min(settings.batch, self._count())
        self.steps = int(np.ceil(self._count() / self.batch))

    def _count(self):
        if self.imbalance == "oversample":
            return self.passes * int((np.ceil(self.counts.max() / self.counts) * self.counts).sum())
        if self.imbalance == "undersample":
            return self.passes * int(self.rarest * len(self.counts))
        return self.passes * len(self.codes)

    def epoch(self, rng):
        """Give the indices of each step of an epoch, all of one length so that nothing is traced twice."""
        index = np.arange(len(self.codes))
        if self.imbalance == "oversample":
            # Minorities are repeated whole, as in 2016: ceil(largest / count) copies in all.
            index = np.repeat(index, np.ceil(self.counts.max() / self.counts).astype(int)[self.codes])
        if self.imbalance == "undersample":
            passes = [self._undersampled(rng) for _ in range(self.passes)]
        else:
            passes = [rng.permutation(index) for _ in range(self.passes)]
        order = np.concatenate(passes)
        # The last step is filled up from the beginning.
        return np.resize(order, self.steps * self.batch).reshape(self.steps, self.batch)

    def _undersampled(self, rng):
        """Draw as many of each class as the rarest has, others in each epoch."""
        classes = [np.flatnonzero(self.codes == k) for k in range(len(self.counts))]
        return rng.permutation(np.concatenate([rng.choice(c, self.rarest, replace=False) for c in classes]))


class Average:
    """The exponentially averaged weights of a model, moving statistics of batch normalisation included.

    Parameters
    ----------
    span : float
        Number of steps that the average looks back; below 1 there is no average.
    """

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
        if self.weights is None:
            self.weights = now
            return
        # Early on the average looks back over half of what there is, so that the random start is soon forgotten.
        rate = min(1.0, self.EVERY / min(self.span, max(self.steps / 2, 1)))
        for kept, new in zip(self.weights, now):
            kept += (rate * (new - kept)).astype(kept.dtype)

    def inside(self, model):
        """Give a context in which the model has the averaged weights."""
        return _Exchanged(model, self.weights)


class _Exchanged:
    """A context in which a model has other weights."""

    def __init__(self, model, weights):
        self.model, self.weights = model, weights

    def __enter__(self):
        if self.weights is not None:
            self.own = self.model.get_weights()
            self.model.set_weights(self.weights)

    def __exit__(self, *error):
        if self.weights is not None:
            self.model.set_weights(self.own)


def loss_of_logits(keras, classes, *, focal):
    """Make the loss of logits; a target holds a one-hot row and what is added to the logits [4].

    Cross-entropy is smoothed by .1. The focal loss is not: smoothing gives an easy particle a loss that it cannot lose.
    """
    if focal:
        inner = keras.losses.CategoricalFocalCrossentropy(
            alpha=1.0, gamma=FOCUS, from_logits=True, reduction=None
        )
    else:
        inner = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1, reduction=None)

    def loss(target, logits):
        return inner(target[:, :classes], logits + target[:, classes:])

    return loss


def one_cycle(progress):
    """Give the share of the peak learning rate at `progress` in [0, 1]: a linear rise, then half a cosine."""
    rise = 0.25
    return (
        0.04 + 0.96 * progress / rise
        if progress < rise
        else 0.5 * (1 + np.cos(np.pi * (progress - rise) / (1 - rise)))
    )


def log_loss(values, codes):
    """Give the mean over classes of the mean log loss, so that a rare class counts as much as a common one."""
    losses = -np.log(np.maximum(values[np.arange(len(codes)), codes], 1e-9))
    return float(np.mean([losses[codes == k].mean() for k in np.unique(codes)]))


def balanced_accuracy(values, codes):
    """Give the mean over the classes that occur of the share that is called right."""
    right = values.argmax(axis=1) == codes
    return float(np.mean([right[codes == k].mean() for k in np.unique(codes)]))
