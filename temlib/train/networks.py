"""The architectures: each one readable function, all ending in one linear float32 logit per class.

Networks whose definition ends in a softmax (those of 2016 do) end in its logits here: losses and calibration want
logits, and the softmax of them is the same network. Keras is imported when a network is built, never when this module
is: a notebook that trains nothing does not wait for TensorFlow.
"""

import contextlib
import os
import re
import sys
from pathlib import Path

import numpy as np

from temlib.files import InputError

# Channels of the first convolution and of the three stages.
RESIDUAL_WIDTHS = (16, 24, 48, 96)
# Eight orientations of 4, 4, 8 and 16 features: less than twice the residual network's multiply-adds.
DIHEDRAL_WIDTHS = (32, 32, 64, 128)


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


def backend():
    """Import Keras without the noise of its backend, with temlib's layers known to it, and give it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _quiet():
        import keras

        from temlib.train import layers  # noqa: F401  (registers them, so that saved networks load)

        keras.ops.zeros(1)  # starts the devices, about which TensorFlow also writes
    return keras


class _Parts:
    """The pieces of the networks, whose random starts all come from one generator."""

    def __init__(self, keras, seed):
        self.layers, self.initializers = keras.layers, keras.initializers
        self._rng = np.random.default_rng(seed)

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

    def dropout(self, x, rate):
        return self.layers.Dropout(rate, seed=self.seed())(x)

    def normalised(self, x, **options):
        # Keras' default momentum of .99 needs hundreds of steps to settle; small sets have fewer in an epoch.
        return self.layers.BatchNormalization(momentum=0.9, **options)(x)

    def convolution_bn_relu(self, x, filters, size, *, padding="same"):
        x = self.convolution(x, filters, size, padding=padding, use_bias=False)
        return self.layers.ReLU()(self.normalised(x))


def _lipnet4(parts, x, size_features, classes):
    """lipnet4 of 2016: four 3×3 convolutions with batch normalisation, one dense layer of 512.

    Source: github.com/grishasergii/lipnet (facts only); the batch normalisation before its softmax normalises the logits.
    """
    for filters in (32, 64):
        x = parts.convolution_bn_relu(x, filters, 3)
        x = parts.convolution_bn_relu(x, filters, 3, padding="valid")
        x = parts.dropout(parts.layers.MaxPooling2D(2)(x), 0.25)
    x = _joined(parts, parts.layers.Flatten()(x), size_features)
    x = parts.layers.ReLU()(parts.normalised(parts.dense(x, 512, use_bias=False)))
    x = parts.logits(parts.dropout(x, 0.5), classes, use_bias=False)
    return parts.normalised(x, dtype="float32")


def _lipnet6(parts, x, size_features, classes):
    """lipnet6 of 2016: six convolutions of 7, 5 and 3 pixels, two dense layers, no batch normalisation.

    Source: github.com/grishasergii/lipnet (facts only). That all its convolutions keep the image's size is assumed.
    """
    for filters, size in ((32, 7), (64, 5), (128, 3)):
        for _ in range(2):
            x = parts.convolution(x, filters, size, activation="relu")
        x = parts.dropout(parts.layers.MaxPooling2D(2)(x), 0.25)
    x = _joined(parts, parts.layers.Flatten()(x), size_features)
    for units in (512, 128):
        x = parts.dropout(parts.dense(x, units, activation="relu"), 0.5)
    return parts.logits(x, classes)


def _residual(parts, x, size_features, classes):
    """A small residual network: a 5×5 stem, three stages of one residual block, global average.

    Source of the block: He et al., "Deep residual learning for image recognition", 2016, doi:10.1109/CVPR.2016.90.
    """
    x = parts.convolution_bn_relu(x, RESIDUAL_WIDTHS[0], 5)
    for filters in RESIDUAL_WIDTHS[1:]:
        x = parts.layers.MaxPooling2D(2)(x)
        y = parts.convolution_bn_relu(x, filters, 3)
        y = parts.normalised(parts.convolution(y, filters, 3, use_bias=False))
        short = parts.normalised(parts.convolution(x, filters, 1, use_bias=False))
        x = parts.layers.ReLU()(parts.layers.Add()([short, y]))
    x = _joined(parts, parts.layers.GlobalAveragePooling2D()(x), size_features)
    return parts.logits(parts.dropout(x, 0.2), classes)


def _dihedral(parts, x, size_features, classes):
    """A dihedral network: the residual one with shared kernels, its logits the same for a turned or mirrored particle.

    Source: Cohen & Welling, "Group equivariant convolutional networks", ICML 2016, arXiv:1602.07576.
    """
    from temlib.train.layers import ORIENTATIONS, DihedralBatchNormalization, DihedralConv2D

    def convolution(x, channels, size, **options):
        start = parts.initializers.HeNormal(seed=parts.seed())
        x = DihedralConv2D(channels // ORIENTATIONS, size, kernel_initializer=start, **options)(x)
        return DihedralBatchNormalization()(x)

    # A kernel with the image's own parity lies symmetrically at a stride of 2.
    x = parts.layers.ReLU()(convolution(x, DIHEDRAL_WIDTHS[0], 6 - x.shape[1] % 2, lift=True, strides=2))
    for number, channels in enumerate(DIHEDRAL_WIDTHS[1:]):
        # Windows of 2 pixels cover an even side exactly, windows of 3 that overlap by one an odd one: no row or column
        # is left over at one border only, which would break the symmetry.
        x = parts.layers.MaxPooling2D(2 + x.shape[1] % 2, strides=2)(x) if number else x
        y = parts.layers.ReLU()(convolution(x, channels, 3))
        y = convolution(y, channels, 3)
        x = parts.layers.ReLU()(parts.layers.Add()([convolution(x, channels, 1), y]))
    x = parts.layers.GlobalAveragePooling2D()(x)
    x = parts.layers.Reshape((ORIENTATIONS, -1))(x)
    # The mean over orientations says how much of a feature there is, the maximum whether it has a direction.
    pooled = [parts.layers.GlobalAveragePooling1D()(x), parts.layers.GlobalMaxPooling1D()(x)]
    x = _joined(parts, parts.layers.Concatenate()(pooled), size_features)
    return parts.logits(parts.dropout(x, 0.2), classes)


def _joined(parts, x, size_features):
    """Join the features of the image and, where there are any, those of the physical size."""
    return x if size_features is None else parts.layers.Concatenate()([x, size_features])


# Each network with the smallest image that it takes, in pixels.
_NETWORKS = {
    "lipnet4": (_lipnet4, 12),
    "lipnet6": (_lipnet6, 8),
    "residual": (_residual, 8),
    "dihedral": (_dihedral, 8),
}


# What is added to the name of a network that also takes the particle's physical size.
SIZED = "+size"


def names():
    """Give the names of temlib's own networks; `build` also takes those of `keras.applications`, and either with `SIZED`."""
    return list(_NETWORKS)


def is_application(name):
    """Tell whether `name` is written like a model of `keras.applications`; whether there is one shows when it is built."""
    return (
        isinstance(name, str) and re.fullmatch(r"[A-Z][A-Za-z]+[0-9]+[A-Za-z0-9]*(\+size)?", name) is not None
    )


def build(name, *, input_size, classes, seed, weights=None):
    """Build a network with fresh weights.

    Parameters
    ----------
    name : str
        One of `names`, or a model of `keras.applications` such as "ResNet50"; with "+size" at its end, such as
        "dihedral+size", the network also takes the particle's physical size.
    input_size : int
        Rows and columns of an image, in pixels.
    classes : int
        Number of classes, at least 2.
    seed : int or numpy.random.Generator
        Of the weights and of dropout.
    weights : str or Path, optional
        A local weights file of a `keras.applications` model without its top (`*_notop.h5`, `*.weights.h5`); nothing
        is ever downloaded. Without it the weights are random.

    Returns
    -------
    keras.Model
        From `image` (n, input_size, input_size, 1) float32, and with "+size" `size` (n, 1) float32 in nm (NaN where
        unknown), to (n, classes) float32 logits.

    Raises
    ------
    InputError
        For an unknown name, images smaller than the network's depth allows, fewer than two classes, or weights that
        are not there or do not fit.
    """
    input_size, classes = _whole("input_size", input_size, 1), _whole("classes", classes, 2)
    name, sized = name.removesuffix(SIZED), name.endswith(SIZED)
    if name in _NETWORKS:
        smallest = _NETWORKS[name][1]
        if input_size < smallest:
            raise _too_small(name, smallest, input_size)
        if weights is not None:
            raise InputError(
                f"{name} has no published weights; leave 'weights' out, but it is {str(weights)!r}."
            )
    keras = backend()
    parts = _Parts(keras, seed)
    image = keras.Input((input_size, input_size, 1), name="image")
    size = keras.Input((1,), name="size") if sized else None
    size_features = _size_features(parts, size) if sized else None
    if name in _NETWORKS:
        logits = _NETWORKS[name][0](parts, image, size_features, classes)
    else:
        features = _application(keras, parts, name, image, weights)
        logits = parts.logits(_joined(parts, features, size_features), classes)
    return keras.Model([image, size] if sized else image, logits, name=f"{name}_size" if sized else name)


def _whole(name, value, least):
    """Give `value` as an int, or refuse it."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(
            f"'{name}' of a network should be a whole number of {least} at least, but is {value!r}."
        )
    return int(value)


def _too_small(name, smallest, received):
    return InputError(
        f"{name} needs images of {smallest} pixels at least, but 'input_size' is {received}; raise it."
    )


def _size_features(parts, size):
    """Bring the physical size to sixteen features, comparable in scale with those of the image."""
    from temlib.train.layers import LogSize

    return parts.dense(LogSize()(size), 16, activation="relu")


def _application(keras, parts, name, image, weights):
    """Give the pooled features of a `keras.applications` model for the grey `image`, seen as three equal channels."""
    function = getattr(keras.applications, name, None) if name[:1].isupper() else None
    if function is None:
        raise InputError(
            f"there is no network '{name}'; there are {', '.join(_NETWORKS)} and the models of keras.applications."
        )
    if weights is not None and not Path(weights).is_file():
        raise InputError(
            f"{name}: there is no weights file '{weights}'; give a local file, nothing is downloaded."
        )
    colour = _scaled(parts.layers.Concatenate()([image, image, image]), function, parts)
    size = image.shape[1]
    try:
        base = function(include_top=False, weights=None, input_shape=(size, size, 3), pooling="avg")
    except ValueError as error:
        smallest = re.search(r"at least (\d+)", str(error))
        if smallest is None:
            raise InputError(f"{name} cannot be built for 'input_size' {size}: {error}") from error
        raise _too_small(name, int(smallest[1]), size) from error
    base = keras.models.clone_model(base, clone_function=lambda layer: _seeded(layer, parts))
    if weights is not None:
        try:
            base.load_weights(weights)
        except (ValueError, OSError, KeyError) as error:
            raise InputError(
                f"{name}: '{weights}' does not hold its weights without the top: {error}"
            ) from error
    return base(colour)


def _scaled(colour, function, parts):
    """Scale prepared images as a `keras.applications` model was taught: ±4 units of spread stand for 0 to 255."""
    preprocess = sys.modules[function.__module__].preprocess_input
    # Every model's own scaling is linear in each channel, hence known from its values at two grey levels.
    black, white = preprocess(
        np.array([[[[0.0] * 3, [255.0] * 3]]], dtype="float32"), data_format="channels_last"
    )[0, 0]
    scale, offset = (white - black) / 8, (white + black) / 2
    return parts.layers.Rescaling(scale=scale.tolist(), offset=offset.tolist())(colour)


def _seeded(layer, parts):
    """Copy a layer with seeds of our own, since `keras.applications` leaves them to a global state."""
    settings = layer.get_config()
    for value in settings.values():
        if isinstance(value, dict) and "seed" in (value.get("config") or {}):
            value["config"]["seed"] = parts.seed()
    if "seed" in settings:
        settings["seed"] = parts.seed()
    return type(layer).from_config(settings)


def describe(name, *, input_size, classes, pixel_nm=None):
    """Describe a network layer by layer.

    Parameters
    ----------
    name, input_size, classes
        As for `build`.
    pixel_nm : float, optional
        Size of a pixel of the prepared image, in nm.

    Returns
    -------
    DataFrame
        In the order of the computation: `layer`, `kind`, `output_shape` (without the batch), `parameters` (moving
        statistics included), `multiply_adds` (of convolutions and dense layers, for one image), `receptive_field_px`
        (side of the square of the image that one value depends on; the whole image once maps were flattened or pooled)
        and `receptive_field_nm` (NaN without `pixel_nm`).

    Raises
    ------
    InputError
        As `build`.
    """
    import pandas as pd

    model = build(name, input_size=input_size, classes=classes, seed=0)
    rows, _ = _layer_rows(model, (1, 1), input_size)
    columns = ["kind", "output_shape", "parameters", "multiply_adds", "receptive_field_px"]
    table = pd.DataFrame(rows, columns=columns)
    # Keras' own names count on through a session; these are the same in every run.
    table.insert(0, "layer", table["kind"] + " " + (table.groupby("kind").cumcount() + 1).astype(str))
    table["receptive_field_nm"] = table["receptive_field_px"] * (np.nan if pixel_nm is None else pixel_nm)
    return table


def summary(chosen, *, input_size, classes, pixel_nm=None):
    """Describe networks: one row each, with its size, its work and what it sees.

    Parameters
    ----------
    chosen : list of str
        Names as for `build`.
    input_size, classes, pixel_nm
        As for `describe`.

    Returns
    -------
    DataFrame
        `network, convolutions, dense layers, weights, multiply_adds, receptive_field_px, receptive_field_nm, made of`;
        the receptive field is that of the last map before it is flattened or pooled over the whole image.
    """
    import pandas as pd

    rows = []
    for name in chosen:
        table = describe(name, input_size=input_size, classes=classes, pixel_nm=pixel_nm)
        maps = table[table["output_shape"].map(len) == 3].iloc[-1]
        base = name.removesuffix(SIZED)
        about = _NETWORKS[base][0].__doc__.splitlines()[0] if base in _NETWORKS else "from keras.applications"
        about = about.removesuffix(".") + (", with the particle's size in nm" if name != base else "")
        rows.append(
            {
                "network": name,
                "convolutions": int(table["kind"].str.contains("Conv").sum()),
                "dense layers": int((table["kind"] == "Dense").sum()),
                "weights": int(table["parameters"].sum()),
                "multiply_adds": int(table["multiply_adds"].sum()),
                "receptive_field_px": int(maps["receptive_field_px"]),
                "receptive_field_nm": maps["receptive_field_nm"],
                "made of": about.split(": ", 1)[-1],
            }
        )
    return pd.DataFrame(rows)


def _layer_rows(model, start, input_size):
    """Give a row for each layer of `model`, and the receptive field of its output.

    A receptive field is (side, step) in pixels of the image; `start` is that of the model's input, (1, 1) for the whole.
    """
    rows, fields, layers, previous = [], {}, {layer.name: layer for layer in model.layers}, []
    for settings in model.get_config()["layers"]:
        name = settings["config"]["name"]
        # In a Sequential part each layer takes the one before it.
        sources = _sources(settings["inbound_nodes"]) if "inbound_nodes" in settings else previous
        previous = [name]
        before = max([fields[source] for source in sources], default=start)
        layer = layers.get(name)
        if layer is None:  # arithmetic between tensors, which sees what its inputs see
            fields[name] = before
        elif hasattr(layer, "layers"):
            inner, fields[name] = _layer_rows(layer, before, input_size)
            rows += inner
        else:
            shape = tuple(layer.output.shape[1:])
            fields[name] = (input_size, 1) if len(shape) < 3 else _field(layer, before)
            work = _multiply_adds(layer, shape)
            rows.append((type(layer).__name__, shape, layer.count_params(), work, fields[name][0]))
    return rows, fields[name]


def _sources(node):
    """List the names of the layers whose outputs a layer's configuration names as its inputs."""
    if isinstance(node, dict):
        if "keras_history" in node:
            return [node["keras_history"][0]]
        node = list(node.values())
    return [name for part in node for name in _sources(part)] if isinstance(node, list | tuple) else []


def _field(layer, before):
    """Give the receptive field after a layer: it grows by (kernel − 1) steps, and the step by the stride."""
    side, step = before
    window = np.max(getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", 1))
    stride, dilation = np.max(getattr(layer, "strides", 1)), np.max(getattr(layer, "dilation_rate", 1))
    return int(side + (window - 1) * dilation * step), int(step * stride)


def _multiply_adds(layer, shape):
    """Count the multiplications of one image by the layer's kernel; other arithmetic is small beside it."""
    kernels = [getattr(layer, name, None) for name in ("kernel", "depthwise_kernel", "pointwise_kernel")]
    weights = sum(int(np.prod(kernel.shape)) for kernel in kernels if hasattr(kernel, "shape"))
    # A dihedral kernel is applied in each of its orientations.
    return weights * getattr(layer, "orientations", 1) * int(np.prod(shape[:-1]))
