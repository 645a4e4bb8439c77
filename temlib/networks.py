"""The architectures: each one readable function, all ending in one logit per class.

Keras is imported when a network is built, never when this module is: a notebook that trains nothing does not wait for
TensorFlow.
"""

import os
from contextlib import contextmanager

from temlib.files import InputError


@contextmanager
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
    """Import Keras without the noise of its backend, and give it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _quiet():
        import keras

        keras.backend.backend()
    return keras


def _convolution(keras, x, filters, size, padding):
    """Convolution, batch normalisation, ReLU."""
    x = keras.layers.Conv2D(filters, size, padding=padding, use_bias=False)(x)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    return keras.layers.ReLU()(x)


def _lipnet4(keras, x, classes):
    """lipnet4 of 2016: four 3×3 convolutions with batch normalisation, one dense layer of 512.

    Source: github.com/grishasergii/lipnet (facts only); the batch normalisation of its softmax layer is kept as one of
    the logits.
    """
    for filters in (32, 64):
        x = _convolution(keras, x, filters, 3, "same")
        x = _convolution(keras, x, filters, 3, "valid")
        x = keras.layers.MaxPooling2D(2)(x)
        x = keras.layers.Dropout(0.25)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(512, use_bias=False)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
    x = keras.layers.Dropout(0.5)(x)
    return keras.layers.BatchNormalization(momentum=0.9)(keras.layers.Dense(classes, use_bias=False)(x))


def _lipnet6(keras, x, classes):
    """lipnet6 of 2016: six convolutions of 7, 5 and 3 pixels, two dense layers, no batch normalisation."""
    for filters, size in ((32, 7), (64, 5), (128, 3)):
        for _ in range(2):
            x = keras.layers.Conv2D(filters, size, padding="same", activation="relu")(x)
        x = keras.layers.Dropout(0.25)(keras.layers.MaxPooling2D(2)(x))
    x = keras.layers.Flatten()(x)
    for units in (512, 128):
        x = keras.layers.Dropout(0.5)(keras.layers.Dense(units, activation="relu")(x))
    return keras.layers.Dense(classes)(x)


def _residual(keras, x, classes):
    """A small residual network: a 5×5 stem, three stages of one residual block, global average.

    Source of the block: He et al., "Identity mappings in deep residual networks", 2016, doi:10.1007/978-3-319-46493-0_38.
    """
    x = _convolution(keras, x, 16, 5, "same")
    x = keras.layers.MaxPooling2D(2)(x)
    for filters in (16, 32, 64):
        if filters > 16:
            x = keras.layers.MaxPooling2D(2)(x)
        short = keras.layers.Conv2D(filters, 1, use_bias=False)(x)
        y = _convolution(keras, x, filters, 3, "same")
        y = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(y)
        y = keras.layers.BatchNormalization(momentum=0.9)(y)
        x = keras.layers.ReLU()(keras.layers.Add()([short, y]))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.layers.Dense(classes)(keras.layers.Dropout(0.2)(x))


# Each network with the smallest image that its depth allows, in pixels.
_NETWORKS = {"lipnet4": (_lipnet4, 12), "lipnet6": (_lipnet6, 8), "residual": (_residual, 8)}


def names():
    """Give the names of the networks."""
    return list(_NETWORKS)


def build(name, *, input_size, classes, seed):
    """Build a network with fresh weights.

    Parameters
    ----------
    name : str
        One of `names`.
    input_size : int
        Rows and columns of an image, in pixels.
    classes : int
        Number of classes.
    seed : int
        Of the weights and of dropout.

    Returns
    -------
    keras.Model
        From (n, input_size, input_size, 1) float32 to (n, classes) logits.

    Raises
    ------
    InputError
        For an unknown name, or images smaller than the network's depth allows.
    """
    if name not in _NETWORKS:
        raise InputError(f"there is no network '{name}'; there are {', '.join(_NETWORKS)}.")
    function, smallest = _NETWORKS[name]
    if input_size < smallest:
        raise InputError(
            f"{name} needs images of {smallest} pixels at least, but 'input_size' is {input_size}; raise it."
        )
    keras = backend()
    keras.utils.set_random_seed(seed)
    image = keras.Input((input_size, input_size, 1), name="image")
    return keras.Model(image, function(keras, image, classes), name=name)


def summary(chosen, *, input_size, classes):
    """Describe networks: one row each, with its layers and its number of weights.

    Returns
    -------
    DataFrame
        `network, convolutions, dense layers, weights, made of`.
    """
    import pandas as pd

    rows = []
    for name in chosen:
        model = build(name, input_size=input_size, classes=classes, seed=0)
        kinds = [type(layer).__name__ for layer in model.layers]
        first = (_NETWORKS[name][0].__doc__ or "").splitlines()[0].split(": ", 1)[-1]
        rows.append((name, kinds.count("Conv2D"), kinds.count("Dense"), model.count_params(), first))
    return pd.DataFrame(rows, columns=["network", "convolutions", "dense layers", "weights", "made of"])
