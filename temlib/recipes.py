"""How weights are moved: recipes, which particles a step takes, averaged weights, losses.

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

from dataclasses import dataclass

import numpy as np

IMBALANCE = (
    "none", "class_weight", "oversample", "undersample", "focal", "logit_adjustment", "threshold",
)  # fmt: skip
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
