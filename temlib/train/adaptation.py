"""Adaptive batch normalisation: features, and descriptors, are normalised partly by the particles of their own micrograph.

Micrographs differ in contrast, support, thickness and noise more than particles do, and on one that is unlike those of training
the mean and variance of a network's features over these are wrong. At prediction they are mixed with those of the micrograph's
own particles, on which a prediction then depends; no label is needed. Sources: S. Schneider et al., NeurIPS 2020,
arXiv:2006.16971 (the mixture); Y. Li et al., Pattern Recognition 80, 2018, arXiv:1603.04779. An SVM's descriptors are treated
in the same way.
"""

from contextlib import contextmanager

import numpy as np
import pandas as pd

from temlib.train import networks

# What training's statistics count for, in particles: as many of a micrograph's own weigh the same.
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


def adapted(descriptors, groups, mean, variance):
    """Return descriptors (n, k) that a scaler with the `mean` and `variance` (k,) of training scales as mixed ones would."""
    values = descriptors.to_numpy(float).copy()
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
    of a micrograph's particles would be mistaken for a property of the micrograph. `able` says whether there is any to adapt.
    """

    def __init__(self, model):
        keras = networks.backend()
        # The twin sees particles as in training: each layer normalises by its block, and keeps what it found there.
        twin = keras.Model.from_config(model.get_config())
        for layer in twin.layers:
            layer.rate = layer.momentum = 0.0  # no dropout, and nothing of earlier blocks

        class AsInTraining(keras.Model):
            def call(self, inputs):
                return twin(inputs, training=True)

        training = AsInTraining()
        training.compile(jit_compile=False)
        # With JAX a compiled prediction leaves the moving statistics as they were.
        self.run = training if keras.backend.backend() == "jax" else training.predict_on_batch
        self.model, self.twin, self.own, self.found = model, twin, _moving(model), _moving(twin)
        self.able = bool(self.own)

    @contextmanager
    def to(self, seen, rows):
        """Adapt to the particles of a micrograph for a while; `seen` returns what the network takes of some rows."""
        before, part = _values(self.own), share(len(rows))
        try:
            here = self._pooled(seen, rows)
            _put(self.own, [(1 - part) * was + part * now for was, now in zip(before, here)])
            yield
        finally:
            _put(self.own, before)

    def _pooled(self, seen, rows):
        """Return mean and variance of each adapted layer over particles of one micrograph."""
        self.twin.set_weights(self.model.get_weights())
        blocks, found = min(BLOCKS, -(-len(rows) // BLOCK)), []
        for k in range(blocks):
            # Particles are often listed by class, so a block takes every `blocks`-th of them.
            self.run(seen(np.resize(rows[k::blocks], BLOCK)))
            found.append(_values(self.found))
        stacked = [np.stack(values) for values in zip(*found)]  # (blocks, channels) each
        layers = zip(stacked[::2], stacked[1::2])
        return [value for m, v in layers for value in (m.mean(axis=0), v.mean(axis=0) + m.var(axis=0))]


def _moving(model):
    """Return the moving mean and variance, one after the other, of each layer that normalises over pixels."""
    layers = [layer for layer in model.layers if hasattr(layer, "moving_mean")]
    over_pixels = [layer for layer in layers if len(layer.input.shape) == 4 and layer.input.shape[1] > 1]
    return [variable for layer in over_pixels for variable in (layer.moving_mean, layer.moving_variance)]


def _values(variables):
    return [np.array(variable) for variable in variables]


def _put(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
