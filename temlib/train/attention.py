"""Where a network looked: Grad-CAM, occlusion as its check, and on simulated particles a score of both.

Notebook 3 has the models and makes the maps, for a fixed sample of particles; they are kept with small copies of the
particles in one file, `examples.npz`, which notebook 4 shows. Keras is imported only where a map is made.
"""

import numpy as np
import pandas as pd

from temlib.augment import lowpass
from temlib.files import InputError, replacing
from temlib.train import networks, svm
from temlib.train.fitting import BLOCK

# What is kept for notebook 4: particles, and pixels a side of their copies.
KEPT, KEPT_SIZE = 2000, 64
# Explained particles of each class.
PER_CLASS = 8
# Networks with shuffled weights that stand for having learnt nothing.
SHUFFLES = 4
# Held-out particles of a fold on which the importance of an SVM's descriptors is measured.
IMPORTANCE = 1000
# A map must be at least this fine: pixels of the image to one of the map.
COARSEST = 6
# Robust units that are black and white in the copies.
LIMIT = 3.0


def attention(model, images, classes):
    """Return Grad-CAM maps (n, rows, columns), ≥ 0 and of sum 1: how much each place is evidence for a class.

    The elementwise form (HiResCAM): the sum over channels of activation times gradient, at the last layer whose map is fine
    enough; the same as Grad-CAM where only an average and a linear layer follow. A map is 0 where no place is evidence for the
    class.

    Parameters
    ----------
    model : keras.Model
        From (n, rows, columns, 1) images to (n, classes) logits.
    images : (n, rows, columns) ndarray of float32
        As the model sees them.
    classes : (n,) ndarray of int
        The class to explain, for each image.

    References
    ----------
    .. [1] R. Selvaraju et al., ICCV 2017, doi:10.1109/ICCV.2017.74.
    .. [2] R. Draelos, L. Carin, arXiv:2011.08891.
    """
    from PIL import Image

    head, tail = _cut(model, images.shape[-1])
    # The evidence for a class is its logit less the mean of the others', since a softmax sees only differences.
    number = model.output_shape[-1]
    weights = (np.eye(number)[classes] * number - 1).astype(np.float32) / max(number - 1, 1)
    # Called directly: tracing a graph for a few images takes longer than computing them.
    seen = [head([images[i : i + 64, ..., None]], training=False) for i in range(0, len(images), 64)]
    features = np.concatenate([networks.backend().ops.convert_to_numpy(block) for block in seen])
    gradients = _gradient(tail, features, weights)
    coarse = np.maximum((features * gradients).sum(axis=-1), 0).astype(np.float32)
    size = images.shape[:0:-1]
    maps = [np.asarray(Image.fromarray(m).resize(size, Image.Resampling.BILINEAR)) for m in coarse]
    return _normalised(np.stack(maps))


def _normalised(maps):
    """Return maps of sum 1; zeros stay zeros."""
    total = maps.sum(axis=(1, 2), keepdims=True)
    return np.divide(maps, total, out=np.zeros_like(maps), where=total > 0)


def _cut(model, side):
    """Divide a model at its last layer that is fine enough; the second part depends on that layer alone."""
    keras = networks.backend()
    outputs = [layer.output for layer in model.layers if not isinstance(layer.output, list | tuple)]
    fine = [x for x in outputs if len(x.shape) == 4 and x.shape[1] * COARSEST >= side]
    for x in reversed(fine):
        try:
            return keras.Model(model.inputs, x), keras.Model(x, model.output)
        except ValueError:  # a branch goes around this layer
            continue
    raise InputError(f"{model.name}: no layer of this network divides it, so it cannot be explained.")


def _gradient(tail, features, weights):
    """Return d(weights · logits)/d(features), with whichever backend Keras runs on."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        x = tf.constant(features)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(tail(x, training=False) * weights)
        return tape.gradient(value, x).numpy()
    if keras.backend.backend() == "torch":
        x = keras.ops.convert_to_tensor(features).detach().requires_grad_()
        (tail(x, training=False) * keras.ops.convert_to_tensor(weights)).sum().backward()
        return x.grad.cpu().numpy()
    import jax

    return np.asarray(jax.grad(lambda x: (tail(x, training=False) * weights).sum())(features))


def occlusion(predict, images, classes):
    """Return how much a class loses when a window of the image is blanked: maps as of `attention`, without a gradient.

    `predict` goes from (n, rows, columns) images to (n, classes) logits. The window, a fifth of the image's side, takes the
    image's median and moves by half its side.

    References
    ----------
    .. [1] M. Zeiler, R. Fergus, ECCV 2014, doi:10.1007/978-3-319-10590-1_53.
    """
    n, size = images.shape[0], images.shape[-1]
    window = max(2, size // 5)
    starts = sorted({*range(0, size - window, max(1, window // 2)), size - window})
    lost, seen = np.zeros(images.shape, np.float32), np.zeros(images.shape[1:], np.float32)

    def support(x):
        logits = np.asarray(predict(x), dtype=np.float64)
        logits = logits.reshape(-1, n, logits.shape[-1])  # (copies, n, classes)
        own = logits[:, np.arange(n), classes]
        return own - (logits.sum(axis=-1) - own) / max(logits.shape[-1] - 1, 1)

    whole = support(images)
    middle = np.median(images, axis=(1, 2))[:, None, None]
    for top in starts:
        places = [np.s_[:, top : top + window, left : left + window] for left in starts]
        blanked = np.tile(images, (len(places), 1, 1, 1))  # (copies, n, rows, columns)
        for copy, place in zip(blanked, places):
            copy[place] = middle
        losses = np.maximum(whole - support(blanked.reshape(-1, *images.shape[1:])), 0)
        for place, loss in zip(places, losses):
            lost[place] += loss[:, None, None]
            seen[place[1:]] += 1
    return _normalised(lost / seen)


def shuffled(model, seed, *, copy=None):
    """Return a copy of a model whose weights have changed places within each tensor: it has learnt nothing.

    An earlier `copy` of the same architecture is used again where it is given, which saves building it.
    """
    rng = np.random.default_rng(seed)
    # A clone would also rebuild how the model was compiled, with a loss that Keras does not know by name.
    copy = copy or networks.backend().Model.from_config(model.get_config())
    copy.set_weights([rng.permutation(w.ravel()).reshape(w.shape) for w in model.get_weights()])
    return copy


class Sample:
    """The particles that are explained; hand it to `cross_validate(..., explain=…)`, then `save`.

    Parameters
    ----------
    data : particles.Particles
        Labelled for `task`.
    task : str
    seed : int
        Settles which particles are chosen.
    """

    def __init__(self, data, task, *, seed):
        self.data, self.task, self.seed = data, task, seed
        rng = np.random.default_rng(seed)
        # The order of the particles, not their number, settles who is in: a few of each class.
        places = data.table.reset_index(drop=True).groupby(task).indices.values()
        self.chosen = np.sort(np.concatenate([rng.permutation(p)[:PER_CLASS] for p in places]))
        self.targets = data.masks(self.chosen)
        self._copies = {}
        self.rows, self.maps = [], {"gradcam": [], "occlusion": [], "shuffled": []}
        self.importance = pd.DataFrame(columns=["model", "fold", "descriptor", "unit", "loss"])

    def __call__(self, estimator, inputs, rows):
        """Explain, by one fold's model, those of its test particles that are in the sample.

        Of an SVM the importance of its descriptors is measured instead.

        Parameters
        ----------
        estimator : fitting.Network or svm.Svm
        inputs
            What it takes of all particles.
        rows : (m,) ndarray of int
            Positions of the test particles in the data.
        """
        if isinstance(estimator, svm.Svm):
            self._measure(estimator, inputs, rows)
        else:
            rows = np.intersect1d(rows, self.chosen)
            # Maps of a network that sees more than an image are not made.
            if len(rows) and len(inputs) == 1:
                self._look(estimator, lowpass(inputs[0][rows]), rows)

    def _measure(self, estimator, inputs, rows):
        """Measure the importance of an SVM's descriptors on a part of its test particles."""
        rows = np.random.default_rng(self.seed).permutation(rows)[:IMPORTANCE]
        labels = pd.Categorical(self.data.table[self.task], categories=estimator.classes).codes
        lost = estimator.importance(inputs, labels, rows, seed=self.seed)
        lost = lost.assign(model=estimator.name, fold=estimator.fold)
        known = [self.importance] if len(self.importance) else []
        self.importance = pd.concat([*known, lost], ignore_index=True)

    def _look(self, estimator, images, rows):
        """Map where a network looked."""
        name, model = estimator.name, estimator.model
        predicted = self._predict(model, images).argmax(axis=1)
        self.maps["gradcam"].append(attention(model, images, predicted))
        self.maps["occlusion"].append(occlusion(lambda x: self._predict(model, x), images, predicted))
        # The mean over several shuffles: a single one may look at the right place by luck.
        nothing = []
        for k in range(SHUFFLES):
            self._copies[name] = shuffled(model, (self.seed, k), copy=self._copies.get(name))
            nothing.append(attention(self._copies[name], images, predicted))
        self.maps["shuffled"].append(np.mean(nothing, axis=0))
        self.rows += [(name, int(i), str(estimator.classes[k])) for i, k in zip(rows, predicted)]

    @staticmethod
    def _predict(model, images):
        """Return logits (n, classes), in blocks of the size with which the network was tested: no other is traced."""
        blocks = [images[i : i + BLOCK, ..., None] for i in range(0, len(images), BLOCK)]
        full = (BLOCK, *images.shape[1:], 1)
        return np.concatenate([model.predict_on_batch(np.resize(x, full)) for x in blocks])[: len(images)]

    def save(self, path, predictions):
        """Write `examples.npz`: maps, and small copies of the particles, the most doubtful ones where they are many."""
        table, images = self.data.table, self.data.images
        test = predictions[predictions["role"] == "test"]
        columns = [name for name in test if name.startswith("p_")]
        truth = pd.Categorical(test["truth"], categories=[name[2:] for name in columns]).codes
        p = pd.Series(test[columns].to_numpy()[np.arange(len(test)), truth])
        least = p.groupby(test["particle"].to_numpy()).min().reindex(table["particle"]).to_numpy()
        kept = np.union1d(np.argsort(least, kind="stable")[:KEPT], self.chosen)
        copies, pixel_nm = _copies(images[kept], self.data.pixel_nm)
        maps = {
            k: np.concatenate(v).astype(np.float16) if v else np.zeros((0, 1, 1))
            for k, v in self.maps.items()
        }
        blank = np.zeros(images.shape[1:], bool)
        targets = [self.targets.get(i, (blank, blank)) for _, i, _ in self.rows]
        content = {
            "particle": table["particle"].to_numpy(str)[kept],
            "images": copies,
            "pixel_nm": pixel_nm,
            "explained": np.array([table["particle"].iloc[i] for _, i, _ in self.rows], str),
            "model": np.array([name for name, _, _ in self.rows], str),
            "called": np.array([called for _, _, called in self.rows], str),
            "membrane": np.array([m for m, _ in targets], bool).reshape(-1, *blank.shape),
            "payload": np.array([p for _, p in targets], bool).reshape(-1, *blank.shape),
            **maps,
        }
        with replacing(path) as temporary:
            np.savez_compressed(temporary, **content)


def _copies(images, pixel_nm):
    """Return images as 8-bit copies of at most `KEPT_SIZE` pixels a side, and their pixel size."""
    from PIL import Image

    grey = ((np.clip(images, -LIMIT, LIMIT) + LIMIT) / (2 * LIMIT) * 255).round().astype(np.uint8)
    size = images.shape[-1]
    if size <= KEPT_SIZE:
        return grey, pixel_nm
    shape = (KEPT_SIZE, KEPT_SIZE)
    small = [np.asarray(Image.fromarray(g).resize(shape, Image.Resampling.BICUBIC)) for g in grey]
    return np.stack(small), pixel_nm * size / KEPT_SIZE
