"""The architectures: one readable function each, all ending in one linear float32 logit per class.

Networks that were published with a softmax at their end (those of 2016) stop at its logits, which losses and calibration
want. Keras is imported when a network is built, never with this module: a notebook that trains nothing does not wait for it.
"""

import contextlib
import importlib.util
import json
import math
import os
import re
import zipfile
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from temlib.files import InputError, reason

BACKENDS = ("tensorflow", "jax", "torch")
# Channels of the first convolution and of the three stages.
RESIDUAL_WIDTHS = (16, 24, 48, 96)
# Eight orientations of 4, 8, 16 and 16 features, and of 32 in the layer that sees the whole map.
DIHEDRAL_WIDTHS = (32, 64, 128, 128, 256)
# Where particles of a few pixels are counted, maps of 10 pixels are too coarse; larger ones than these take twice the time.
DIHEDRAL_SIDE = 20


@contextlib.contextmanager
def _quiet():
    """Keep what TensorFlow's libraries write to the process's stderr at import out of notebooks and reports."""
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def check_backend():
    """Refuse a KERAS_BACKEND that is not there."""
    name = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    if name not in BACKENDS or importlib.util.find_spec(name) is None:
        cure = f"install it, or unset the variable to compute with {BACKENDS[0]}"
        raise InputError(
            f"KERAS_BACKEND: '{name[:40]}' is not an installed one of {', '.join(BACKENDS)}; {cure}."
        )


def backend():
    """Import and return Keras without noise, with temlib's layers, and with none of a user's keras.json."""
    check_backend()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    with _quiet():
        try:
            import keras
        except ValueError as fault:
            raise InputError(
                f"Keras refuses its keras.json ({reason(fault)}); correct or delete it."
            ) from fault
        keras.config.set_image_data_format("channels_last")
        keras.config.set_floatx("float32")
        keras.config.set_epsilon(1e-7)
        from temlib.train import layers  # noqa: F401  (registers them, so that saved networks load)

        keras.ops.zeros(1)  # starts the devices, about which TensorFlow also writes
    return keras


def check_size(path):
    """Refuse a saved network whose layers would take more memory than its file has weights for; none of it is taken for that."""
    backend()
    # In a thread of its own, since Keras keeps, for each thread, what has a shape and no values, and would make the values later.
    with ThreadPoolExecutor(1) as thread:
        needed, stored = thread.submit(_sizes, path).result()
    if needed > stored:
        fault = f"'{path.name}' states layers of {needed:,} bytes and holds {stored:,}"
        raise InputError(f"{fault}; do not use this bundle, ask where it came from.")


def _sizes(path):
    """Return the bytes of all weights that a saved network states, and of those that its file holds."""
    keras = backend()
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json")) | {"compile_config": None}
        stored = archive.getinfo("model.weights.h5").file_size
    with keras.StatelessScope(initialize_variables=False):  # variables have a shape and no values
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
        return 4 * sum(math.prod(weight.shape) for weight in model.weights), stored


class _Parts:
    """The pieces of the networks, whose random starts all come from one generator."""

    def __init__(self, keras, seed):
        self.layers, self.initializers = keras.layers, keras.initializers
        self.size, self._rng = None, np.random.default_rng(seed)

    def seed(self):
        return int(self._rng.integers(2**31))

    def convolution(self, x, filters, size, *, padding="same", **options):
        start = self.initializers.HeNormal(seed=self.seed())
        return self.layers.Conv2D(filters, size, padding=padding, kernel_initializer=start, **options)(x)

    def dense(self, x, units, **options):
        start = self.initializers.HeNormal(seed=self.seed())
        return self.layers.Dense(units, kernel_initializer=start, **options)(x)

    def logits(self, x, classes, **options):
        # Small first logits: every class begins about equally probable. float32 also under mixed precision.
        start = self.initializers.RandomNormal(stddev=0.01, seed=self.seed())
        return self.layers.Dense(classes, kernel_initializer=start, dtype="float32", **options)(x)

    def with_size(self, x):
        # Features of the image are joined by those of the physical size where there are any.
        return x if self.size is None else self.layers.Concatenate()([x, self.size])

    def dropout(self, x, rate):
        return self.layers.Dropout(rate, seed=self.seed())(x)

    def normalised(self, x, **options):
        if len(x.shape) == 4:
            from temlib.train.layers import MapBatchNormalization

            return MapBatchNormalization(**options)(x)
        # Keras' default momentum of .99 needs hundreds of steps to settle; small sets have fewer in an epoch.
        return self.layers.BatchNormalization(momentum=0.9, **options)(x)

    def convolution_bn_relu(self, x, filters, size, *, padding="same"):
        x = self.convolution(x, filters, size, padding=padding, use_bias=False)
        return self.layers.ReLU()(self.normalised(x))


def _lipnet4(parts, x, classes):
    """lipnet4 of 2016 (github.com/grishasergii/lipnet, facts only): four 3×3 convolutions, one dense layer of 512."""
    for filters in (32, 64):
        x = parts.convolution_bn_relu(x, filters, 3)
        x = parts.convolution_bn_relu(x, filters, 3, padding="valid")
        x = parts.dropout(parts.layers.MaxPooling2D(2)(x), 0.25)
    x = parts.with_size(parts.layers.Flatten()(x))
    x = parts.layers.ReLU()(parts.normalised(parts.dense(x, 512, use_bias=False)))
    x = parts.logits(parts.dropout(x, 0.5), classes, use_bias=False)
    # The batch normalisation before its softmax.
    return parts.normalised(x, dtype="float32")


def _lipnet6(parts, x, classes):
    """lipnet6 of 2016 (as above): six convolutions of 7, 5 and 3 pixels, assumed to keep the size, and two dense layers."""
    for filters, size in ((32, 7), (64, 5), (128, 3)):
        for _ in range(2):
            x = parts.convolution(x, filters, size, activation="relu")
        x = parts.dropout(parts.layers.MaxPooling2D(2)(x), 0.25)
    x = parts.with_size(parts.layers.Flatten()(x))
    for units in (512, 128):
        x = parts.dropout(parts.dense(x, units, activation="relu"), 0.5)
    return parts.logits(x, classes)


def _residual(parts, x, classes):
    """A 5×5 stem, three stages of one residual block (He et al. 2016, doi:10.1109/CVPR.2016.90), global average."""
    x = parts.convolution_bn_relu(x, RESIDUAL_WIDTHS[0], 5)
    for filters in RESIDUAL_WIDTHS[1:]:
        x = parts.layers.MaxPooling2D(2)(x)
        y = parts.convolution_bn_relu(x, filters, 3)
        y = parts.normalised(parts.convolution(y, filters, 3, use_bias=False))
        short = parts.normalised(parts.convolution(x, filters, 1, use_bias=False))
        x = parts.layers.ReLU()(parts.layers.Add()([short, y]))
    x = parts.with_size(parts.layers.GlobalAveragePooling2D()(x))
    return parts.logits(parts.dropout(x, 0.2), classes)


def _dihedral(parts, x, classes):
    """Convolutions with shared kernels (see `layers`): the same logits for a turned or mirrored particle.

    The first looks at every pixel, since a membrane is two to four of them wide; what it found is pooled before it is
    normalised, to maps of at most `DIHEDRAL_SIDE` pixels. In the end one layer sees where in the particle features lie, like the dense
    layer of 2016, and the mean over the map what there is of them anywhere.
    """
    from temlib.train.layers import ORIENTATIONS, DihedralConv2D, MapBatchNormalization

    def convolution(x, channels, size, **options):
        start = parts.initializers.HeNormal(seed=parts.seed())
        return DihedralConv2D(channels // ORIENTATIONS, size, kernel_initializer=start, **options)(x)

    def pooled(x):
        # Windows of 2 pixels cover an even side exactly, windows of 3 that overlap by one an odd one: no row or column
        # is left over at one border only, which would break the symmetry. Maps below 6 pixels keep their side.
        side = x.shape[1]
        return parts.layers.MaxPooling2D(2 + side % 2, strides=2)(x) if side >= 6 else x

    def normalised(x):
        return parts.layers.ReLU()(MapBatchNormalization(orientations=ORIENTATIONS)(x))

    first, *further, last = DIHEDRAL_WIDTHS
    x = convolution(x, first, 5, lift=True)
    while x.shape[1] > DIHEDRAL_SIDE:
        x = pooled(x)
    x = normalised(x)
    for number, channels in enumerate(further):
        x = normalised(convolution(pooled(x) if number else x, channels, 3))
    whole = normalised(convolution(x, last, x.shape[1], padding="valid"))
    both = [parts.layers.GlobalAveragePooling2D()(part) for part in (x, whole)]
    both = [parts.layers.Reshape((ORIENTATIONS, -1))(part) for part in both]
    # The mean over orientations says how much of a feature there is, the maximum whether it has a direction.
    pools = (parts.layers.GlobalAveragePooling1D, parts.layers.GlobalMaxPooling1D)
    x = parts.with_size(parts.layers.Concatenate()([pool()(part) for part in both for pool in pools]))
    return parts.logits(parts.dropout(x, 0.2), classes)


# Each network with the smallest image that it takes, in pixels.
_NETWORKS = {
    "lipnet4": (_lipnet4, 12),
    "lipnet6": (_lipnet6, 8),
    "residual": (_residual, 8),
    "dihedral": (_dihedral, 8),
}
# What is added to the name of a network that also takes the particle's physical size.
SIZED = "+size"
# The smallest image that a user may ask for, in pixels.
SMALLEST = 12
# A network's plain name, whether it takes the particle's size, and the side of its images in pixels (0: the data set's).
Name = namedtuple("Name", "network sized side")


def names():
    """Return the plain names of the networks; `split` says what may be added to them."""
    return list(_NETWORKS)


def split(name):
    """Return the `Name` of a model such as "dihedral+size@40", or refuse what stands after the "@"."""
    first, at, side = name.partition("@")
    if at and not re.fullmatch("[1-9][0-9]{0,3}", side):
        raise InputError(
            f"'{name}': after '@' stands the side of a network's images in pixels, as in 'lipnet4@28'."
        )
    return Name(first.removesuffix(SIZED), first.endswith(SIZED), int(side or 0))


def side_of(name, input_size):
    """Return the rows and columns of what a network sees of images of `input_size` pixels, or refuse its name or size."""
    network, _, own = split(name)
    if network not in _NETWORKS:
        raise InputError(f"there is no network '{network}'; there are {', '.join(_NETWORKS)}.")
    least = max(SMALLEST, _NETWORKS[network][1])
    if own and own < least:
        raise InputError(f"{name}: the images of {network} need at least {least} pixels; write '@{least}'.")
    if own > input_size:
        raise InputError(
            f"{name}: images of {input_size} pixels cannot be shown at {own}; raise 'input_size' to {own} or more."
        )
    return own or input_size


def build(name, *, input_size, classes, seed):
    """Build a network with fresh weights, seeded as its dropout is by `seed`.

    It takes `image` (n, rows, columns, 1) float32, of `input_size` pixels a side or of those after an "@" in its name, and
    with "+size" in its name, such as "dihedral+size@40", also `size` (n, 1) float32 in nm (NaN where unknown); it returns
    (n, classes) float32 logits.
    """
    input_size, (network, sized, _) = side_of(name, input_size), split(name)
    function, smallest = _NETWORKS[network]
    if input_size < smallest:
        raise InputError(
            f"{network} needs an 'input_size' of at least {smallest} pixels, not {input_size}; raise it."
        )
    keras = backend()
    parts, image = _Parts(keras, seed), keras.Input((input_size, input_size, 1), name="image")
    if not sized:
        return keras.Model(image, function(parts, image, classes), name=network)
    from temlib.train.layers import LogSize

    size = keras.Input((1,), name="size")
    # Sixteen features, comparable in scale with those of the image.
    parts.size = parts.dense(LogSize()(size), 16, activation="relu")
    return keras.Model([image, size], function(parts, image, classes), name=f"{network}_size")


def describe(name, *, input_size, classes, pixel_nm=None):
    """Describe a network layer by layer, in the order of the computation.

    Parameters
    ----------
    name : str
        One of `network_names`, perhaps with "+size" and a size of its own after an "@".
    input_size, classes : int
        Rows and columns of a prepared image, in pixels, and the number of classes.
    pixel_nm : float, optional
        Size of a pixel of the prepared image, in nm.

    Returns
    -------
    DataFrame
        `layer, kind, output_shape` (without the batch), `parameters` (moving statistics included), `multiply_adds` (of
        convolutions and dense layers, for one image), `receptive_field_px` (side of the square of the image that one value
        depends on; the whole image once maps were flattened or pooled), `receptive_field_nm` (NaN without `pixel_nm`).
    """
    model = build(name, input_size=input_size, classes=classes, seed=0)
    flatten, fields, rows, own = backend().tree.flatten, {}, [], side_of(name, input_size)
    for layer in model.layers:
        shape = tuple(layer.output.shape[1:])
        # A field is (side, step) in pixels of the image; of several inputs the largest counts.
        before = max([fields[id(source)] for source in flatten(layer.input)], default=(1, 1))
        fields[id(layer.output)] = (own, 1) if len(shape) < 3 else _field(layer, before)
        side, work = fields[id(layer.output)][0], _multiply_adds(layer, shape)
        rows.append((type(layer).__name__, shape, layer.count_params(), work, side))
    columns = ["kind", "output_shape", "parameters", "multiply_adds", "receptive_field_px"]
    table = pd.DataFrame(rows, columns=columns)
    # Keras' own names count on through a session; these are the same in every run.
    table.insert(0, "layer", table["kind"] + " " + (table.groupby("kind").cumcount() + 1).astype(str))
    own_nm = np.nan if pixel_nm is None else pixel_nm * input_size / own
    table["receptive_field_nm"] = table["receptive_field_px"] * own_nm
    return table


def _field(layer, before):
    """Return the receptive field after a layer: it grows by (kernel − 1) steps, and the step by the stride."""
    side, step = before
    window = np.max(getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", 1))
    return int(side + (window - 1) * step), int(step * np.max(getattr(layer, "strides", 1)))


def _multiply_adds(layer, shape):
    """Count the multiplications of one image by the layer's kernel; other arithmetic is small beside it."""
    kernel = getattr(layer, "kernel", None)
    weights = 0 if kernel is None else int(np.prod(kernel.shape))
    # A dihedral kernel is applied in each of its orientations.
    return weights * getattr(layer, "orientations", 1) * int(np.prod(shape[:-1]))


def summary(described):
    """Return one row for each network (from `describe`, by name): its size, its work and what it sees.

    The receptive field is that of the last map before it is flattened or pooled over the whole image.
    """
    rows = []
    for name, table in described.items():
        maps = table[table["output_shape"].map(len) == 3]
        image, last_map = maps["output_shape"].iloc[0], maps.iloc[-1]
        row = {
            "network": name,
            "image_px": image[0],
            "convolutions": table["kind"].str.contains("Conv").sum(),
        }
        row |= {"dense layers": (table["kind"] == "Dense").sum(), "weights": table["parameters"].sum()}
        row |= {"multiply_adds": table["multiply_adds"].sum()}
        rows.append(row | last_map[["receptive_field_px", "receptive_field_nm"]].to_dict())
    return pd.DataFrame(rows).dropna(axis=1)


def working_layers(described):
    """Return the layers that multiply, of all networks in one table; `described` as for `summary`."""
    tables = [table[table["multiply_adds"] > 0].assign(network=name) for name, table in described.items()]
    unshown = ["kind", "receptive_field_nm"]
    return pd.concat(tables, ignore_index=True).drop(columns=unshown) if tables else None
