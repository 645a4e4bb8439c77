"""Augmentation on an accelerator: the mathematics of `temlib.augment` in `keras.ops`, inside the training step.

The spline coefficients of the training particles stay in the device's memory; each step sends the indices and
the affine maps of its batch, 32 bytes a particle, so training never waits for images. On a CPU the compiled
loop of `temlib.augment` is faster (benchmarks/augment.py), and training uses that.
"""

import numpy as np

from temlib.augment.augmentation import PAD


def available():
    """Tell whether Keras' backend computes on an accelerator."""
    import keras

    name = keras.backend.backend()
    if name == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    if name == "jax":
        import jax

        return jax.default_backend() != "cpu"
    import torch

    return torch.cuda.is_available()


def resample(samples, matrices, shape, *, order=3, fill="mirror"):
    """Resample prepared images, as `Augmentation.apply_prepared` does.

    Coordinates are in single precision, so it agrees with the compiled loops to about 1e-5 of the range at 100
    pixels and to 1e-4 at 1000; a nearest pixel may be another where two are equally near.

    Parameters
    ----------
    samples : (n, rows + 3 + …, columns + 3 + …) float32 tensor
        `Prepared.samples`, one for each matrix.
    matrices : (n, 2, 3) float tensor
        From `temlib.affine.affine_matrices`.
    shape : (int, int)
        Rows and columns of the images.
    order, fill : int, str
        Those of the augmentation that prepared the samples.

    Returns
    -------
    (n, rows, columns) float32 tensor
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
    """Give the B-spline's weight of each of four samples that is not zero everywhere."""
    from keras import ops

    u = 1 - t
    if order == 3:
        return {0: u**3 / 6, 1: 2 / 3 - t * t * (1 - t / 2), 2: 2 / 3 - u * u * (1 - u / 2), 3: t**3 / 6}
    if order == 0:
        t = ops.cast(t >= 0.5, "float32")
        u = 1 - t
    return {1: u, 2: t}


def within(network, count, shape, augmentation):
    """Give a model that augments particles which it holds and then runs `network`, all in one step.

    Parameters
    ----------
    network : keras.Model
        Takes images (n, rows, columns, 1). Its weights are shared, not copied.
    count : int
        Room for so many particles; `hold` puts them there.
    shape : (int, int)
        Rows and columns of a particle.
    augmentation : temlib.augment.Augmentation
        Its order and fill.

    Returns
    -------
    keras.Model
        Its input is `(index, matrices, gain)`, see `batch`. `train_on_batch(batch(…), labels)` trains `network`.
    """
    import keras

    beyond = 3 + (0 if augmentation.fill == "mirror" else 2 * PAD)

    class Augmented(keras.layers.Layer):
        def build(self, *_):
            size = (count, shape[0] + beyond, shape[1] + beyond)
            self.samples = self.add_weight(shape=size, initializer="zeros", trainable=False, name="samples")

        def call(self, index, matrices, gain):
            samples = keras.ops.take(self.samples, index[:, 0], axis=0)
            images = resample(samples, matrices, shape, order=augmentation.order, fill=augmentation.fill)
            return (images * gain[:, :, None])[..., None]

        def compute_output_shape(self, *_):
            return (None, *shape, 1)

    inputs = keras.Input((1,), dtype="int32"), keras.Input((2, 3), dtype="float32"), keras.Input((1,))
    return keras.Model(inputs, network(Augmented(name="augmented")(*inputs)))


def hold(joined, prepared):
    """Put the training particles of a fold into the memory of the device, in place of those before.

    Parameters
    ----------
    joined : keras.Model
        From `within`.
    prepared : temlib.augment.Prepared
        Of conditioned particles, see `temlib.augment.condition`; as many as `within` has room for, or fewer.
    """
    samples = joined.get_layer("augmented").samples
    room = np.zeros(samples.shape, np.float32)
    room[: len(prepared.samples)] = prepared.samples
    samples.assign(room)


def batch(index, matrices, gain=1.0):
    """Give a batch as the model of `within` takes it.

    Parameters
    ----------
    index : (n,) integer ndarray
        Which particle.
    matrices : (n, 2, 3) ndarray
        From output to input pixel, see `temlib.affine.affine_matrices`.
    gain : float or (n,) ndarray
        What an image is multiplied by, such as -1 to exchange dark and bright.

    Returns
    -------
    tuple of (n, 1) int32, (n, 2, 3) float32 and (n, 1) float32 ndarray
    """
    gains = np.broadcast_to(np.asarray(gain, np.float32), len(index))
    return np.asarray(index, np.int32)[:, None], np.asarray(matrices, np.float32), gains[:, None]
