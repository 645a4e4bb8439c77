"""Augmentation on an accelerator: the mathematics of `augmentation` in `keras.ops`, inside the training step.

The spline coefficients of the training particles stay in the device's memory; each step sends the indices and affine maps of
its batch, 32 bytes a particle, so training never waits for images. On a CPU the compiled loops are faster
(benchmarks/augment.py), and training uses those.
"""

import numpy as np

from temlib.augment.augmentation import PAD, affine_matrices


class OnDevice:
    """A network that augments its training particles within its own training step.

    `prepare` and `batch` do here what `Augmentation.prepare` and `apply_prepared` do on the CPU: `model.train_on_batch` of
    what `batch` returns trains `network`.

    Parameters
    ----------
    network : keras.Model
        Takes images (n, rows, columns, 1). Its weights are shared, not copied.
    augmentation : Augmentation
    count : int
        The number of particles to reserve memory for.
    shape : (int, int)
        Rows and columns of a particle.
    """

    def __init__(self, network, augmentation, count, shape):
        import keras

        self.augmentation, self.shape = augmentation, shape
        beyond = 3 + (0 if augmentation.fill == "mirror" else 2 * PAD)

        class Augmented(keras.layers.Layer):
            def call(self, index, matrices, gain):
                taken = keras.ops.take(samples, index[:, 0], axis=0)
                images = resample(taken, matrices, shape, order=augmentation.order, fill=augmentation.fill)
                return (images * gain[:, :, None])[..., None]

        layer, size = Augmented(), (count, shape[0] + beyond, shape[1] + beyond)
        samples = self._samples = layer.add_weight(shape=size, initializer="zeros", trainable=False)
        inputs = keras.Input((1,), dtype="int32"), keras.Input((2, 3), dtype="float32"), keras.Input((1,))
        self.model = keras.Model(inputs, network(layer(*inputs)))

    @staticmethod
    def available():
        """Return whether Keras' backend computes on an accelerator."""
        from keras import ops

        return "cpu" not in str(ops.zeros(1).device).lower()

    def prepare(self, images):
        """Put particles (n, rows, columns), low-passed, into the device's memory, in place of those before."""
        samples = self.augmentation.prepare(images).samples
        room = np.zeros(self._samples.shape, np.float32)
        room[: len(samples)] = samples
        self._samples.assign(room)

    def batch(self, transforms, index, gain=1.0):
        """Return what `model` takes for the particles at `index` (n,), transformed and multiplied by `gain`."""
        gain = np.broadcast_to(np.asarray(gain, np.float32), len(index))
        matrices = affine_matrices(transforms, self.shape).astype(np.float32)
        return np.asarray(index, np.int32)[:, None], matrices, gain[:, None]


def resample(samples, matrices, shape, *, order=3, fill="mirror"):
    """Resample prepared images (n, …) by as many matrices (n, 2, 3), as `Augmentation.apply_prepared` does.

    Coordinates are in single precision, so it agrees with the compiled loops to about 1e-5 of the range at 100
    pixels and to 1e-4 at 1000; a nearest pixel may be another where two are equally near.
    """
    from keras import ops

    matrices = ops.cast(matrices, "float32")[:, :, :, None, None]  # (n, 2, 3, 1, 1)
    grid = [ops.cast(ops.arange(size), "float32") for size in shape]
    starts, weights = [], []
    for axis, size in enumerate(shape):
        m = matrices[:, axis]
        position = m[:, 0] * grid[0][:, None] + m[:, 1] * grid[1] + m[:, 2]  # (n, rows, columns)
        if fill == "mirror":
            period = 2.0 * (size - 1)
            position = ops.abs(position - period * ops.round(position / period))
        else:
            position = ops.clip(position + PAD, 0, size - 1 + 2 * PAD)
        start = ops.floor(position)
        starts.append(ops.cast(start, "int32"))
        weights.append(_weights(position - start, order))
    width = int(samples.shape[2])
    flat = ops.reshape(samples, (-1, int(samples.shape[1]) * width))
    first = ops.reshape(starts[0] * width + starts[1], (-1, shape[0] * shape[1]))
    total = 0.0
    for i, down in weights[0].items():
        for j, across in weights[1].items():
            taken = ops.take_along_axis(flat, first + (i * width + j), axis=1)
            total = total + down * across * ops.reshape(taken, (-1, *shape))
    return total


def _weights(t, order):
    """Return the B-spline's weight of each of four samples that is not zero everywhere."""
    from keras import ops

    u = 1 - t
    if order == 3:
        return {0: u**3 / 6, 1: 2 / 3 - t * t * (1 - t / 2), 2: 2 / 3 - u * u * (1 - u / 2), 3: t**3 / 6}
    if order == 0:
        t = ops.cast(t >= 0.5, "float32")
        u = 1 - t
    return {1: u, 2: t}
