"""Where a network looked: Grad-CAM, occlusion as its check, and on simulated particles a score of both.

Notebook 3 has the models and makes the maps, for a fixed sample of particles; they are kept with small copies of the
particles in one file, `examples.npz`, which notebook 4 shows. Keras is imported only where a map is made.
"""

import numpy as np
import pandas as pd

from temlib.augment import lowpass
from temlib.files import InputError, replacing
from temlib.train import networks, svm
from temlib.train.fitting import blockwise

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
    """Return Grad-CAM maps (n, rows, columns), ≥ 0 and of sum 1: how much each place is evidence for an image's class.

    `images` (n, rows, columns) are as the model sees them. This is the elementwise form (HiResCAM): the sum over channels of
    activation times gradient, at the last layer whose map is fine enough; the same as Grad-CAM where only an average and a
    linear layer follow. A map is 0 where no place is evidence for the class. Sources: R. Selvaraju et al., ICCV 2017,
    doi:10.1109/ICCV.2017.74; R. Draelos, L. Carin, arXiv:2011.08891.
    """
    head, tail = _cut(model, images.shape[-1])
    # The evidence for a class is its logit less the mean of the others', since a softmax sees only differences.
    number = model.output_shape[-1]
    weights = (np.eye(number)[classes] * number - 1).astype(np.float32) / max(number - 1, 1)
    # Called directly: tracing a graph for a few images takes longer than computing them.
    seen = [head([images[i : i + 64, ..., None]], training=False) for i in range(0, len(images), 64)]
    features = np.concatenate([networks.backend().ops.convert_to_numpy(block) for block in seen])
    gradients = _gradient(tail, features, weights)
    coarse = np.maximum((features * gradients).sum(axis=-1), 0).astype(np.float32)
    return _normalised(_resized(coarse, images.shape[1:], "BILINEAR"))


def _resized(images, shape, filtered):
    """Return images resized to (rows, columns) by a filter of Pillow's."""
    from PIL import Image

    size, kernel = shape[::-1], Image.Resampling[filtered]
    return np.stack([np.asarray(Image.fromarray(image).resize(size, kernel)) for image in images])


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
    image's median and moves by half its side. Source: M. Zeiler, R. Fergus, ECCV 2014, doi:10.1007/978-3-319-10590-1_53.
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


def shuffled(model, seeds):
    """Yield, for each seed, one copy of a model whose weights change places within each tensor: it has learnt nothing."""
    # A clone would also rebuild how the model was compiled, with a loss that Keras does not know by name.
    copy = networks.backend().Model.from_config(model.get_config())
    for seed in seeds:
        rng = np.random.default_rng(seed)
        copy.set_weights([rng.permutation(w.ravel()).reshape(w.shape) for w in model.get_weights()])
        yield copy


class Sample:
    """Particles, chosen by `seed`, to be explained; pass it to `cross_validate(..., explain=…)`, then call `save`."""

    def __init__(self, data, task, *, seed):
        self.data, self.task, self.seed = data, task, seed
        rng = np.random.default_rng(seed)
        # The order of the particles, not their number, settles who is in: a few of each class.
        places = data.table.reset_index(drop=True).groupby(task).indices.values()
        self.chosen = np.sort(np.concatenate([rng.permutation(p)[:PER_CLASS] for p in places]))
        self.targets = data.masks(self.chosen)
        self.parts = []  # of each fold a dict of arrays

    def __call__(self, estimator, inputs, rows):
        """Map where a fold's network looked in those of its test particles `rows` that are in the sample.

        Of an SVM the importance of its descriptors is measured instead. What was found, a dict of arrays, is kept and returned.
        """
        if isinstance(estimator, svm.Svm):
            found = self._measure(estimator, inputs, rows)
        else:
            rows = np.intersect1d(rows, self.chosen)
            # Maps of a network that sees more than an image are not made.
            found = (
                self._look(estimator, lowpass(inputs[0][rows]), rows)
                if len(rows) and len(inputs) == 1
                else {}
            )
        self.add(found)
        return found

    def add(self, found):
        """Keep what was found in a fold."""
        self.parts.append(found)

    @property
    def importance(self):
        """What the SVMs rely on: `model, fold, descriptor, unit, loss`."""
        columns = ["model", "fold", "descriptor", "unit", "loss"]
        tables = [pd.DataFrame({c: part[c] for c in columns}) for part in self.parts if "loss" in part]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)

    def _measure(self, estimator, inputs, rows):
        """Measure the importance of an SVM's descriptors on a part of its test particles."""
        rows = np.random.default_rng(self.seed).permutation(rows)[:IMPORTANCE]
        labels = pd.Categorical(self.data.table[self.task], categories=estimator.classes).codes
        lost = estimator.importance(inputs, labels, rows, seed=self.seed)
        lost = lost.assign(model=estimator.name, fold=estimator.fold)
        return {name: lost[name].to_numpy() for name in lost}

    def _look(self, estimator, images, rows):
        """Map where a network looked."""
        model = estimator.model

        def logits(images):
            return blockwise(lambda block: model.predict_on_batch(block[..., None]), images)

        predicted = logits(images).argmax(axis=1)
        found = {
            "gradcam": attention(model, images, predicted),
            "occlusion": occlusion(logits, images, predicted),
        }
        # The mean over several shuffles: a single one may look at the right place by luck.
        copies = shuffled(model, [(self.seed, k) for k in range(SHUFFLES)])
        found["shuffled"] = np.mean([attention(copy, images, predicted) for copy in copies], axis=0)
        # A network with a size of its own has smaller maps; all are kept at the size of the particles.
        size = self.data.images.shape[1:]
        found = {kind: _normalised(_resized(maps, size, "BILINEAR")) for kind, maps in found.items()}
        names = np.array([str(estimator.classes[k]) for k in predicted])
        return found | {"row": rows, "model": np.full(len(rows), estimator.name), "called": names}

    def save(self, path, predictions):
        """Write `examples.npz`: maps, and small copies of the particles, only the most doubtful ones if there are many."""
        table, images = self.data.table, self.data.images
        test = predictions[predictions["role"] == "test"]
        columns = [name for name in test if name.startswith("p_")]
        truth = pd.Categorical(test["truth"], categories=[name[2:] for name in columns]).codes
        p = pd.Series(test[columns].to_numpy()[np.arange(len(test)), truth])
        least = p.groupby(test["particle"].to_numpy()).min().reindex(table["particle"]).to_numpy()
        kept = np.union1d(np.argsort(least, kind="stable")[:KEPT], self.chosen)
        grey = ((np.clip(images[kept], -LIMIT, LIMIT) + LIMIT) / (2 * LIMIT) * 255).round().astype(np.uint8)
        side, size = images.shape[-1], min(images.shape[-1], KEPT_SIZE)
        looked = [part for part in self.parts if "row" in part]
        maps = {
            kind: np.concatenate([part[kind] for part in looked] or [np.zeros((0, 1, 1))])
            for kind in ("gradcam", "occlusion", "shuffled")
        }
        blank = np.zeros((side, side), bool)
        rows = [pd.DataFrame({c: part[c] for c in ("model", "row", "called")}) for part in looked]
        rows = pd.concat(
            [pd.DataFrame({"model": [], "row": [], "called": []}, dtype=object), *rows], ignore_index=True
        )
        targets = np.array([self.targets.get(i, (blank, blank)) for i in rows["row"]], bool)
        membrane, payload = np.moveaxis(targets.reshape(-1, 2, side, side), 1, 0)
        content = {
            "particle": table["particle"].to_numpy(str)[kept],
            "images": _resized(grey, (size, size), "BICUBIC"),
            "pixel_nm": self.data.pixel_nm * (side / size),
            "explained": table["particle"].to_numpy(str)[rows["row"].to_numpy(int)],
            "model": rows["model"].to_numpy(str),
            "called": rows["called"].to_numpy(str),
            "membrane": membrane,
            "payload": payload,
            **{kind: values.astype(np.float16) for kind, values in maps.items()},
        }
        with replacing(path) as temporary:
            np.savez_compressed(temporary, **content)
