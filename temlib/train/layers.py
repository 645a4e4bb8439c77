"""Keras layers of the dihedral-equivariant network and of the physical size; imported only when a network is built.

The channels of a dihedral feature map (n, rows, columns, 8 * filters) are eight orientations of `filters` features, orientation
first. Turning or mirroring the input turns or mirrors every map and permutes the orientations (T. S. Cohen, M. Welling, ICML
2016, arXiv:1602.07576). All layers keep to plain tensor operations, so TensorFlow, JAX and PyTorch agree, and a saved network
loads in Keras' safe mode once this module is imported.
"""

import keras
import numpy as np
from keras import ops

# Order of the dihedral group of the square: four quarter turns, each with and without a mirror.
ORIENTATIONS = 8


def dihedral(image, element):
    """Turn and mirror an image (N, N, …) by an element of the dihedral group of the square.

    `element` is the number of quarter turns counterclockwise (0 to 3), plus 4 for a mirroring of the columns beforehand.
    """
    if element >= 4:
        image = np.flip(image, axis=1)
    return np.rot90(image, element % 4)


def _divisions():
    """Return the (8, 8) table of g⁻¹h, found by letting the group act on a square without symmetry."""
    square = np.arange(9).reshape(3, 3)
    elements = range(ORIENTATIONS)
    places = {dihedral(square, element).tobytes(): element for element in elements}
    products = [[places[dihedral(dihedral(square, k), g).tobytes()] for k in elements] for g in elements]
    return np.argsort(products)  # where h = g k, g⁻¹ h = k


def _kernel_rows(kernel_size, lift):
    """Return which row of the kept kernel stands at each (output orientation, pixel, input orientation)."""
    pixels = np.arange(kernel_size**2).reshape(kernel_size, kernel_size)
    turned = np.stack([dihedral(pixels, g).ravel() for g in range(ORIENTATIONS)])[:, :, None]  # (8, k*k, 1)
    rows = turned if lift else turned * ORIENTATIONS + _divisions()[:, None, :]  # (8, k*k, 8)
    return rows.astype("int32")


@keras.saving.register_keras_serializable(package="temlib")
class DihedralConv2D(keras.layers.Layer):
    """Convolve with one kernel in all eight orientations (a p4m group convolution without bias).

    It goes from (n, rows, columns, 8 * channels), or with `lift` from images without orientations (n, rows, columns, channels),
    to (n, rows, columns, 8 * filters). Zero padding is the same on all sides, so the kernel has an odd side; with `padding`
    "valid" there is none, and a kernel as large as a square map makes one value a filter and orientation of it.
    """

    def __init__(
        self, filters, kernel_size=3, *, padding="same", lift=False, kernel_initializer="he_normal", **kwargs
    ):
        super().__init__(**kwargs)
        if padding == "same" and kernel_size % 2 == 0:
            raise ValueError(f"With zero padding the kernel has an odd side. Received: {kernel_size}")
        self.filters, self.kernel_size, self.padding, self.lift = filters, kernel_size, padding, lift
        self.orientations = ORIENTATIONS
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self._rows = _kernel_rows(kernel_size, lift)

    def build(self, input_shape):
        """Make the kernel: one row for each pixel and input orientation."""
        incoming = 1 if self.lift else ORIENTATIONS
        self.channels = input_shape[-1] // incoming
        # As a 4-dimensional kernel, so that the initializer sees the true fan-in.
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, incoming * self.channels, self.filters),
            initializer=self.kernel_initializer,
        )

    def expanded(self):
        """Return the kernel in its eight orientations: (side, side, channels before, channels after), those of `call`'s maps."""
        size, incoming = self.kernel_size, self._rows.shape[-1]
        rows = ops.reshape(self.kernel, (size**2 * incoming, self.channels * self.filters))
        kernel = ops.take(rows, self._rows.ravel(), axis=0)
        kernel = ops.reshape(kernel, (ORIENTATIONS, size**2, incoming, self.channels, self.filters))
        kernel = ops.transpose(kernel, (1, 2, 3, 0, 4))  # (k*k, incoming, channels, 8, filters)
        return ops.reshape(kernel, (size, size, incoming * self.channels, ORIENTATIONS * self.filters))

    def call(self, inputs):
        """Convolve with the kernel in its eight orientations."""
        return ops.conv(inputs, self.expanded(), strides=1, padding=self.padding, data_format="channels_last")

    def get_config(self):
        """Return what rebuilds the layer, as plain JSON values."""
        own = {name: getattr(self, name) for name in ("filters", "kernel_size", "padding", "lift")}
        start = keras.initializers.serialize(self.kernel_initializer)
        return {**super().get_config(), **own, "kernel_initializer": start}


@keras.saving.register_keras_serializable(package="temlib")
class MapBatchNormalization(keras.layers.Layer):
    """Normalise each feature of a map over batch, pixels and, where there are any, its orientations together.

    Statistics of single orientations would differ in a finite batch and break the symmetry. `momentum` is the weight of the
    past in the moving statistics, in [0, 1), `epsilon` is added to the variance; input and output are
    ``(n, rows, columns, orientations * channels)``. Keras' own layer computes the same in a dozen passes over the map.
    """

    def __init__(self, *, orientations=1, momentum=0.9, epsilon=1e-3, **kwargs):
        super().__init__(**kwargs)
        self.orientations, self.momentum, self.epsilon = orientations, momentum, epsilon

    def build(self, input_shape):
        """Make scale, shift and moving statistics, one of each a feature."""
        shape = (input_shape[-1] // self.orientations,)
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")
        still = {"shape": shape, "trainable": False}
        self.moving_mean = self.add_weight(name="moving_mean", initializer="zeros", **still)
        self.moving_variance = self.add_weight(name="moving_variance", initializer="ones", **still)

    def _normalised(self, inputs):
        """Return inputs normalised by their own batch, with its mean and variance; orientations count as pixels."""
        shape = tuple(inputs.shape[1:])
        # Orientations are the outer part of the channels, so the same numbers are a map as many times as wide.
        wide = (-1, shape[0], shape[1] * self.orientations, shape[2] // self.orientations)
        wide = ops.reshape(inputs, wide)
        if keras.backend.backend() == "tensorflow":
            # One kernel for what would be a dozen passes over the map, there and back.
            from tensorflow.compat.v1.nn import fused_batch_norm

            scale, shift = ops.convert_to_tensor(self.gamma), ops.convert_to_tensor(self.beta)
            wide, mean, variance = fused_batch_norm(wide, scale, shift, epsilon=self.epsilon)
        else:
            mean, variance = ops.moments(ops.cast(wide, "float32"), axes=(0, 1, 2))
            wide = self._scaled(wide, mean, variance)
        return ops.reshape(wide, (-1, *shape)), mean, variance

    def _scaled(self, inputs, mean, variance):
        """Return inputs (…, k * channels) normalised by the mean and variance of each channel."""
        scale = ops.cast(self.gamma, "float32") * ops.rsqrt(ops.cast(variance, "float32") + self.epsilon)
        shift = ops.cast(self.beta, "float32") - ops.cast(mean, "float32") * scale
        times = inputs.shape[-1] // scale.shape[0]
        scale, shift = (ops.cast(ops.tile(part, (times,)), inputs.dtype) for part in (scale, shift))
        return inputs * scale + shift

    def call(self, inputs, training=False):
        """Normalise by the batch when training, else by the moving statistics."""
        if not training:
            return self._scaled(inputs, self.moving_mean, self.moving_variance)
        outputs, mean, variance = self._normalised(inputs)
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + ops.cast(now, moving.dtype) * (1 - self.momentum))
        return outputs

    def compute_output_shape(self, input_shape):
        """Return the input's shape."""
        return input_shape

    def get_config(self):
        """Return what rebuilds the layer, as plain JSON values."""
        own = {name: getattr(self, name) for name in ("orientations", "momentum", "epsilon")}
        return {**super().get_config(), **own}


# Size whose logarithm counts as zero, in nm.
REFERENCE_NM = 100.0


@keras.saving.register_keras_serializable(package="temlib")
class LogSize(keras.layers.Layer):
    """Turn sizes (n, 1) in nm, NaN, zero or negative where unknown, into (n, 2): ln(size / 100 nm) or 0, and 1 or 0."""

    def call(self, inputs):
        """Return logarithm and flag; unknown sizes, NaN among them, never enter a logarithm."""
        known = inputs > 0
        safe = ops.where(known, inputs, ops.full_like(inputs, REFERENCE_NM))
        return ops.concatenate([ops.log(safe / REFERENCE_NM), ops.cast(known, inputs.dtype)], axis=-1)
