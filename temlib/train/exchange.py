"""A network's bundle for other programs: ONNX, Keras without temlib's layers, and a description as the BioImage Model Zoo has it.

What is exported takes prepared images and gives probabilities: resampling to the network's own pixels, the low-pass before it,
the network with the normalisation of training, and the softmax. Adaptive batch normalisation needs a micrograph's particles and
stays behind, as do averaging over transforms and moved thresholds; the description says so.
"""

import re
import warnings
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import numpy as np
import yaml

from temlib import provenance
from temlib.augment import lowpass
from temlib.data import PREPARATION, resampled
from temlib.files import InputError, listed, replacing_folder, shown, write_text
from temlib.train import bundle as bundles
from temlib.train import networks, svm

# Largest difference between the probabilities of the test crops there and here.
TOLERANCE = 1e-4
# Of ONNX; 17 is read by programs since 2022.
OPSET = 17
# Of the description; older readers than bioimageio.spec 0.5.12 may not know Keras' own files.
FORMAT = "0.5.12"
ADDRESS = "https://github.com/temlib/temlib"
MEAN = "mean"

DOCUMENTATION = """# {model}: {task}

{folds} networks, trained by temlib on {particles:,} {kind} particles in {micrographs:,} micrographs, each without some of the
micrographs: `fold=<k>.onnx`. `mean.onnx` gives the mean of their probabilities{keras}.

Input: prepared images, `image` (n, {size}, {size}), float32{sizes}. Output: probabilities (n, classes) of {classes}. The most
probable class is called.

## How images are prepared

1. {cut}
2. Subtract the median, divide by half the distance between the 16th and the 84th percentile; padding does not count.
3. Clip at ±{clip:g}. Do not filter: the slight low-pass that temlib begins with is in the model.

temlib does that itself: `temlib.train.load(BUNDLE).open(PARTICLES).images`.

## What the exported model does not do

{lacks}

## Validation

Held-out particles, as temlib called them:

{rates}

On particles of another microscope or preparation this need not hold: label some in several micrographs, prepare them as above,
and count again. `test_*.npy` hold crops of the training data and their probabilities.

Licence: {licence}.
"""


def export(bundle, folder):
    """Write a network's bundle as files that other programs read, after comparing what they say of its test crops.

    Parameters
    ----------
    bundle : Bundle
        Loaded with its models.
    folder : Path
        A new or empty folder: `fold=<k>.onnx` of each fold model and `mean.onnx` of all together, which take prepared images
        (n, rows, columns), float32, and give probabilities (n, classes); `mean.keras`, which Keras loads without temlib;
        `rdf.yaml`, a model description of the BioImage Model Zoo (format 0.5), `README.md`, `test_*.npy`. A network "+size" also
        takes sizes (n, 1) in nm, and has no `mean.keras`.

    Returns
    -------
    float
        The largest difference between probabilities of the test crops by onnxruntime and by the bundle, at most 1e-4.

    Raises
    ------
    InputError
        For the bundle of an SVM, a missing package, a folder that holds something, and a larger difference.
    """
    name, folder = bundle.card["model"], Path(folder)
    if name in svm.names():
        why = "its descriptors are computed by temlib, for which ONNX has no operations"
        raise InputError(
            f"{shown(bundle.folder)}: {name} is an SVM and cannot be exported ({why}); name a network's bundle."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{shown(folder)}: there is something already; name a new folder.")
    try:
        import onnxruntime
        import tf2onnx  # noqa: F401  (Keras asks for it in its own way)
    except ImportError as fault:
        raise InputError(f"export needs {fault.name}; run pip install onnxruntime tf2onnx.") from None
    given, values = _tested(bundle)
    expected = {f"fold={k}": part for k, part in enumerate(values, 1)} | {MEAN: np.mean(values, axis=0)}
    models, worst = dict(zip(expected, plain(bundle, given[0].shape[-1]))), 0.0
    with replacing_folder(folder) as temporary:
        for stem, model in models.items():
            path = temporary / f"{stem}.onnx"
            with warnings.catch_warnings(action="ignore"):  # Keras mends tf2onnx in a way that NumPy warns of
                model(given)  # one that was never called is not exported
                model.export(path, format="onnx", opset_version=OPSET, verbose=False)
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            (found,) = session.run(None, dict(zip([tensor.name for tensor in session.get_inputs()], given)))
            worst = max(worst, float(np.abs(found - expected[stem]).max()))
            if not worst <= TOLERANCE:
                fault = f"the exported {path.name} says otherwise of the test crops (by up to {worst:.2g})"
                raise InputError(
                    f"{shown(bundle.folder)}: {fault}; install the packages that its card lists."
                )
        if len(given) == 1:
            models[MEAN].save(temporary / f"{MEAN}.keras")
        _describe(bundle, temporary, given, expected[MEAN].astype(np.float32))
    return worst


def _tested(bundle):
    """Return what an exported model takes of the test crops, and the probabilities of each fold model (crops, classes)."""
    with np.load(bundle.folder / bundles.CROPS, allow_pickle=False) as kept:
        particles = bundles.as_particles(kept, bundle.card["scale"], bundle.card["pixel_nm"])
    inputs, rows = bundle.estimator.inputs(particles), np.arange(len(particles))
    values = [bundle.estimator.restore(state).probabilities(inputs, rows) for state in bundle.states]
    return [particles.images, *inputs[1:]], values


def plain(bundle, size):
    """Return each fold model, and their mean, as Keras models from prepared images of a size to probabilities, without adaptation."""
    keras, layers = networks.backend(), networks.backend().layers
    image = keras.Input((size, size), name="image")
    given = [image, keras.Input((1,), name="size")] if networks.split(bundle.card["model"]).sized else [image]
    # Resampling and low-pass are linear and the same in rows and columns; a stack of single bright rows shows their matrix.
    bright = np.repeat(np.eye(size, dtype=np.float32)[:, :, None], size, axis=2)
    matrix = lowpass(resampled(bright, networks.side_of(bundle.card["model"], size))[:])[:, :, 0]
    seen = image
    for _ in range(2):
        along = layers.Dense(matrix.shape[1], use_bias=False, trainable=False)
        seen = layers.Permute((2, 1))(along(seen))
        along.set_weights([matrix])
    seen, found = layers.Reshape((*seen.shape[1:], 1))(seen), []
    for fold, state in enumerate(bundle.states, 1):
        own = _without_own_layers(keras, bundle.estimator.restore(state).model, f"fold_{fold}")
        found.append(layers.Softmax()(own([seen, *given[1:]] if given[1:] else seen)))
    ends = [*found, layers.Average()(found) if len(found) > 1 else found[0]]
    return [keras.Model(given, end) for end in ends]


def _without_own_layers(keras, model, name):
    """Return a copy of a network in which layers of Keras stand for temlib's, but for the one that takes a size."""
    from temlib.train.layers import DihedralConv2D, MapBatchNormalization

    def other(layer):
        if isinstance(layer, DihedralConv2D):
            shape = {"kernel_size": layer.kernel_size, "padding": layer.padding, "name": layer.name}
            return keras.layers.Conv2D(layer.orientations * layer.filters, use_bias=False, **shape)
        if isinstance(layer, MapBatchNormalization):
            return keras.layers.BatchNormalization(epsilon=layer.epsilon, name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=other)
    for layer in model.layers:
        weights = layer.get_weights()
        if isinstance(layer, DihedralConv2D):
            weights = [np.array(layer.expanded())]
        if isinstance(layer, MapBatchNormalization):
            weights = [np.tile(part, layer.orientations) for part in weights]
        if weights:
            copy.get_layer(layer.name).set_weights(weights)
    copy.name = name
    return copy


def _describe(bundle, folder, given, expected):
    """Write the description of the mean of all fold models beside them: `rdf.yaml`, its test tensors and documentation."""
    card, tensors = bundle.card, dict(zip(("image", "size"), given))
    for name, values in {**tensors, "probabilities": expected}.items():
        np.save(folder / f"test_{name}.npy", np.asarray(values, np.float32))
    side = {"type": "space", "size": card["input_size"]}
    if card["scale"] == "physical":
        side |= {"unit": "nanometer", "scale": card["pixel_nm"]}
    axes = {
        "image": [{**side, "id": "y"}, {**side, "id": "x"}],
        "size": [{"type": "channel", "channel_names": ["nm"]}],
        "probabilities": [{"type": "channel", "channel_names": list(map(str, card["classes"]))}],
    }
    described = {
        name: {
            "id": name,
            "axes": [{"type": "batch"}, *axes[name]],
            "test_tensor": {"source": f"test_{name}.npy"},
        }
        for name in (*tensors, "probabilities")
    }
    kind = "simulated" if card["simulated"] else "measured"
    told = f"Tells {listed(card['classes'])} apart ({card['task']}); trained on {kind} particles in electron micrographs."
    version = provenance.describe()["temlib"]
    content = {
        "format_version": FORMAT,
        "type": "model",
        "name": re.sub(r"[^A-Za-z0-9_+() -]", "_", f"{card['task']} by {card['model']} (temlib)")[:128],
        "description": told[:1000],
        "authors": [{"name": "to be named by who trained the model"}],
        "cite": [{"text": f"temlib {version}", "url": ADDRESS}],
        **_licence(card),
        "documentation": {"source": "README.md"},
        "tags": ["electron-microscopy", "image-classification", "temlib"],
        "inputs": [described[name] for name in tensors],
        "outputs": [described["probabilities"]],
        "weights": _weights(folder),
    }
    write_text(folder / "rdf.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    write_text(folder / "README.md", _documentation(bundle))


def _weights(folder):
    """Return the entries of the weights in a folder."""
    keras, onnx = networks.backend(), {"source": f"{MEAN}.onnx", "opset_version": OPSET}
    if not (folder / f"{MEAN}.keras").exists():
        return {"onnx": onnx}
    backend = keras.backend.backend()
    own = {
        "source": f"{MEAN}.keras",
        "keras_version": keras.__version__,
        "backend": [backend, metadata.version(backend)],
    }
    return {"keras_v3": own, "onnx": onnx | {"parent": "keras_v3"}}


def _licence(card):
    """Return the entry of the licence, none where SPDX does not list it."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    with suppress(InvalidLicenseExpression):
        name = canonicalize_license_expression(card["licence"])
        return {"license": name} if not re.search(" |LicenseRef", name) else {}
    return {}


def _documentation(bundle):
    """Return what a user of the exported models must know, in Markdown."""
    card, size = bundle.card, bundle.card["input_size"]
    sized = networks.split(card["model"]).sized
    cut = f"Resize the particle's box so that its longer side has {size} pixels; pad a shorter one with the median."
    if card["scale"] == "physical":
        cut = (
            f"Resample the particle's box (bicubic, free of aliasing) to pixels of {card['pixel_nm']:g} nm, {size} × {size} of them, "
            "with the particle in the middle; pad a smaller box with its median, cut a larger one."
        )
    rates = bundle.held_out
    rows = [["truth", *rates], ["---"] * (len(rates.columns) + 1), *rates.reset_index().to_numpy()]
    return DOCUMENTATION.format(
        model=card["model"],
        task=card["task"],
        folds=len(card["folds"]),
        kind="simulated" if card["simulated"] else "measured",
        **{key: card["training"][key] for key in ("particles", "micrographs")},
        keras="" if sized else ", and so does `mean.keras`, which needs Keras 3 but not temlib",
        size=size,
        sizes=", and the sides of their boxes in nm, `size` (n, 1), NaN where unknown" if sized else "",
        classes=", ".join(map(str, card["classes"])),
        cut=cut,
        clip=PREPARATION["clip"],
        lacks="\n".join(f"- {lack}" for lack in _lacks(card)),
        rates="\n".join(f"|{'|'.join(map(str, row))}|" for row in rows),
        licence=card["licence"] or "none was named",
    )


def _lacks(card):
    """Yield sentences on what the exported model does not do."""
    yield "It calls everything one of its classes: ice, dirt and empty windows too. Probabilities are not calibrated."
    if card["adaptive_normalisation"]:
        yield (
            "temlib adapts batch normalisation to each micrograph of 16 particles or more. The exported model keeps the statistics "
            "of training, so there its calls differ"
            + (
                ", and are those of the table below."
                if card.get("alone")
                else ", and may be worse than those of the table below."
            )
        )
    if card["settings"]["averaging"]:
        yield f"temlib averages over {card['settings']['averaging']} transforms of each image, the exported model does not."
    if card["contrast"]["asked"] == "auto":
        yield "temlib turns round micrographs with bright and dark swapped, the exported model does not."
    divisors = [entry["state"]["divisor"] for entry in card["folds"]]
    if any(len(divisor) > 1 for divisor in divisors):
        yield (
            "Thresholds were moved: temlib divides the probabilities of each fold model by numbers, and calls the class whose mean "
            f"over the folds is then the largest. The numbers, by fold and class: {divisors}."
        )
