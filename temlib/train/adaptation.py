"""Adaptive batch normalisation (AdaBN): normalisation partly by the particles of the micrograph at hand.

Micrographs differ in contrast, support, thickness and noise more than particles do. A network with batch normalisation
carries the mean and variance of its features over the training micrographs; on a micrograph that is unlike them these are
wrong, and all of its predictions suffer. No label is needed to see that: at prediction they are mixed with those of the
micrograph's own particles, the trained weights untouched [1]_ [2]_. An SVM's descriptors, which are scaled by their mean and
variance over training, are treated alike, so that networks and SVMs are compared on the same terms.

A particle's prediction then depends on which others of its micrograph are predicted with it.

References
----------
.. [1] S. Schneider et al., "Improving robustness against common corruptions by covariate shift adaptation", NeurIPS 2020,
   arXiv:2006.16971.
.. [2] Y. Li et al., "Adaptive batch normalization for practical domain adaptation", Pattern Recognition 80, 2018,
   arXiv:1603.04779.
"""

from contextlib import contextmanager

import numpy as np
import pandas as pd

from temlib.train import networks

# What training's statistics count for, in particles: as many of a micrograph's own weigh the same (N of [1]).
PRIOR = 64
# With fewer particles than these they would count for less than a fifth, which is not worth the time.
FEWEST = 16
# Statistics are taken from blocks of so many particles, all of one size so that nothing is traced twice, ...
BLOCK = 32
# ... and from at most so many blocks.
BLOCKS = 8


def share(count):
    """Return the weight of the statistics of `count` particles of a micrograph: count / (count + PRIOR), 0 below FEWEST."""
    return count / (count + PRIOR) if count >= FEWEST else 0.0


def places(groups):
    """Return the positions of the particles of each micrograph, a list of arrays."""
    return list(pd.Series(np.arange(len(groups))).groupby(groups).indices.values())


def adapted(descriptors, groups, training):
    """Return descriptors (n, k) that a scaler fitted on `training` (m, k) scales as mixed statistics would the given ones."""
    values, known = descriptors.to_numpy(float).copy(), training.to_numpy(float)
    mean, variance = known.mean(axis=0), known.var(axis=0)
    for rows in places(groups):
        part, own = share(len(rows)), values[rows]
        if part:
            mixed = (1 - part) * variance + part * own.var(axis=0)
            ratio = np.sqrt(np.divide(variance, mixed, out=np.ones_like(mixed), where=mixed > 0))
            values[rows] = mean + (own - ((1 - part) * mean + part * own.mean(axis=0))) * ratio
    return pd.DataFrame(values, descriptors.index, descriptors.columns)


class AdaptiveNormalization:
    """Adapts the batch normalisation of a network to a micrograph, and takes it back.

    Layers that normalise over pixels are adapted. One over whole particles, such as of the logits, is not: there the classes
    of a micrograph's particles would be mistaken for a property of the micrograph.

    `able` says whether the network has any such layer; its variables change within `to` only.
    """

    def __init__(self, model):
        keras = networks.backend()
        layers = list(model._flatten_layers())
        normalizations = [layer for layer in layers if hasattr(layer, "moving_mean")]
        self.adapted = [layer for layer in normalizations if len(layer.input.shape) == 4]
        self.others = [layer for layer in normalizations if layer not in self.adapted]
        self.dropouts = [layer for layer in layers if hasattr(layer, "rate")]
        self.able = bool(self.adapted)

        class AsInTraining(keras.Model):
            # Each layer normalises by its block, and keeps in its moving statistics what it found there.
            def call(self, inputs):
                return model(inputs, training=True)

        training = AsInTraining()
        training.compile(jit_compile=False)
        # With JAX a compiled prediction leaves the moving statistics as they were.
        self.run = training if keras.backend.backend() == "jax" else training.predict_on_batch

    @contextmanager
    def to(self, seen, count):
        """Adapt to the `count` particles of a micrograph for a while; `seen` returns what the network takes at positions."""
        before, part = _statistics(self.adapted), share(count)
        try:
            found = self._found(seen, count)
            _put(self.adapted, [(1 - part) * was + part * now for was, now in zip(before, found)])
            yield
        finally:
            _put(self.adapted, before)

    def _found(self, seen, count):
        """Return mean and variance of each adapted layer over particles of one micrograph."""
        blocks, found = min(BLOCKS, -(-count // BLOCK)), []
        changes = [(layer, "rate", 0.0) for layer in self.dropouts]
        changes += [(layer, "momentum", 0.0) for layer in self.adapted]
        changes += [(layer, "momentum", 1.0) for layer in self.others]
        with _changed(changes):
            for k in range(blocks):
                # Particles are often listed by class, so a block takes every `blocks`-th of them.
                self.run(seen(np.resize(np.arange(k, count, blocks), BLOCK)))
                found.append(_statistics(self.adapted))
        return [_pooled(np.stack(layer)) for layer in zip(*found)]


def _pooled(statistics):
    """Return mean and variance of all blocks (2, channels) from those of each (blocks, 2, channels)."""
    means, variances = statistics[:, 0], statistics[:, 1]
    return np.stack([means.mean(axis=0), variances.mean(axis=0) + means.var(axis=0)])


def _statistics(layers):
    """Return mean and variance of each layer, (2, channels)."""
    return [np.array([np.array(layer.moving_mean), np.array(layer.moving_variance)]) for layer in layers]


def _put(layers, statistics):
    """Set mean and variance of each layer."""
    for layer, (mean, variance) in zip(layers, statistics, strict=True):
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)


@contextmanager
def _changed(changes):
    """Let attributes of layers, each a (layer, name, value), have other values for a while."""
    own = [getattr(layer, name) for layer, name, _ in changes]
    try:
        for layer, name, value in changes:
            setattr(layer, name, value)
        yield
    finally:
        for (layer, name, _), was in zip(changes, own):
            setattr(layer, name, was)
