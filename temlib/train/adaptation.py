"""Prediction that follows the micrograph: normalisation partly by the particles of the micrograph at hand.

Micrographs differ in contrast, support, thickness and noise more than particles do. A network with batch normalisation
carries the mean and variance of its features over the training micrographs; on a micrograph that is unlike them these are
wrong, and it errs there as a whole. No label is needed to see that: here they are mixed with those of the micrograph's own
particles at prediction, the weights of training untouched [1]_ [2]_. An SVM's descriptors, which are scaled by their mean
and variance over training, are treated alike, so that networks and SVMs are compared on the same terms.

A particle's prediction then depends on which others of its micrograph are predicted with it.

References
----------
.. [1] S. Schneider et al., "Improving robustness against common corruptions by covariate shift adaptation", NeurIPS 2020,
   arXiv:2006.16971.
.. [2] Y. Li et al., "Adaptive batch normalization for practical domain adaptation", Pattern Recognition 80, 2018,
   arXiv:1603.04779.
"""

from contextlib import ExitStack, contextmanager

import numpy as np
import pandas as pd

from temlib.train import networks

# What training's statistics count for, in particles: as many of a micrograph's own have the same say (N of [1]).
PRIOR = 64
# With fewer particles than these they would count for less than a fifth, which is not worth the time.
FEWEST = 16
# Statistics are those of blocks of so many particles, all of one size so that nothing is traced twice, ...
BLOCK = 32
# ... and of at most so many blocks.
BLOCKS = 8


def share(count):
    """Give what the statistics of `count` particles of a micrograph count for: count / (count + PRIOR), 0 below FEWEST."""
    return count / (count + PRIOR) if count >= FEWEST else 0.0


def followed(descriptors, micrographs, training):
    """Give descriptors that follow their micrographs.

    Parameters
    ----------
    descriptors : (n, k) DataFrame
    micrographs : (n,) ndarray
    training : (m, k) DataFrame
        Descriptors of the particles of training, by whose mean and variance the model scales.

    Returns
    -------
    (n, k) DataFrame
        What the model scales as it would have scaled `descriptors` by the mixed statistics.
    """
    values, known = descriptors.to_numpy(float).copy(), training.to_numpy(float)
    mean, variance = known.mean(axis=0), known.var(axis=0)
    for places in groups(micrographs):
        part, own = share(len(places)), values[places]
        if part:
            mixed = (1 - part) * variance + part * own.var(axis=0)
            ratio = np.sqrt(np.divide(variance, mixed, out=np.ones_like(mixed), where=mixed > 0))
            values[places] = mean + (own - ((1 - part) * mean + part * own.mean(axis=0))) * ratio
    return pd.DataFrame(values, descriptors.index, descriptors.columns)


def groups(micrographs):
    """Give the positions of the particles of each micrograph."""
    return list(pd.Series(np.arange(len(micrographs))).groupby(micrographs).indices.values())


class Follower:
    """Lets a network's normalisation follow a micrograph.

    Its layers of batch normalisation over pixels do. One over whole particles, such as of the logits, does not: it would
    take for the micrograph's what belongs to its particles.

    Parameters
    ----------
    model : keras.Model
        Of one output. Its variables change within `following` only.

    Attributes
    ----------
    able : bool
        Whether the network has any such layer.
    """

    def __init__(self, model):
        keras = networks.backend()
        layers = list(model._flatten_layers())
        normalisations = [layer for layer in layers if hasattr(layer, "moving_mean")]
        self.followed = [layer for layer in normalisations if len(layer.input.shape) == 4]
        self.others = [layer for layer in normalisations if layer not in self.followed]
        self.dropouts = [layer for layer in layers if hasattr(layer, "rate")]
        self.able = bool(self.followed)

        class AsInTraining(keras.Model):
            # Each layer normalises by its block, and keeps in its moving statistics what it found there.
            def call(self, inputs):
                return model(inputs, training=True)

        self.training = AsInTraining()
        self.training.compile(jit_compile=False)
        # With JAX a compiled prediction leaves the moving statistics as they were.
        eager = keras.backend.backend() == "jax"
        self.pass_through = self.training if eager else self.training.predict_on_batch

    @contextmanager
    def following(self, inputs, index):
        """Give a context in which the network follows a micrograph.

        Parameters
        ----------
        inputs : callable
            Gives what the network takes for particles at some positions.
        index : (n,) ndarray of int
            Positions of the micrograph's particles, best of all that there are.
        """
        before, part = _statistics(self.followed), share(len(index))
        try:
            found = self._found(inputs, index)
            _put(self.followed, [(1 - part) * was + part * now for was, now in zip(before, found)])
            yield
        finally:
            _put(self.followed, before)

    def _found(self, inputs, index):
        """Give mean and variance of each layer that follows, over particles of one micrograph."""
        blocks = min(BLOCKS, -(-len(index) // BLOCK))
        found = []
        changed = (
            (self.dropouts, "rate", 0.0),
            (self.followed, "momentum", 0.0),
            (self.others, "momentum", 1.0),
        )
        with ExitStack() as stack:
            for layers, name, value in changed:
                stack.enter_context(_changed(layers, name, value))
            for k in range(blocks):
                # Particles are often listed by class, so a block takes every so manieth of them.
                self.pass_through(inputs(np.resize(index[k::blocks], BLOCK)))
                found.append(_statistics(self.followed))
        return [_pooled(np.stack(layer)) for layer in zip(*found)]


def _pooled(statistics):
    """Give mean and variance of all blocks from those of each, an array (blocks, 2, channels)."""
    means, variances = statistics[:, 0], statistics[:, 1]
    return np.stack([means.mean(axis=0), variances.mean(axis=0) + means.var(axis=0)])


def _statistics(layers):
    """Give mean and variance of each layer, an array (2, channels)."""
    return [np.array([np.array(layer.moving_mean), np.array(layer.moving_variance)]) for layer in layers]


def _put(layers, statistics):
    for layer, (mean, variance) in zip(layers, statistics, strict=True):
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)


@contextmanager
def _changed(layers, name, value):
    """Give a context in which an attribute of some layers has another value."""
    own = [getattr(layer, name) for layer in layers]
    try:
        for layer in layers:
            setattr(layer, name, value)
        yield
    finally:
        for layer, was in zip(layers, own):
            setattr(layer, name, was)
