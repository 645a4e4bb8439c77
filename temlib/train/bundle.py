"""The model bundle: a folder with the fold models of one model, a card that says all that is needed to apply them, and checksums.

Nothing is unpickled. A network is read in Keras' safe mode, an SVM by skops, and either only if each type that its file names
is in a list here. Eight test crops with their probabilities lie beside them: what loading computes must be what was saved.
"""

import hashlib
import json
import math
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from temlib.data import PREPARATION, Particles, is_definite, signed, split
from temlib.data import open as open_data
from temlib.files import (
    InputError,
    check_unpacked,
    file_hash,
    listed,
    natural,
    reason,
    replacing,
    shown,
    write_json,
)
from temlib.train import refusal, shipped, svm
from temlib.train.fitting import Network, Settings

# Of the folder's content; a change that an older temlib would misread counts it up.
PROTOCOL = 2
# The first that refuses particles; what was saved before refuses none.
REFUSES = 2
CARD, SUMS, CROPS, TRAINING = "card.json", "checksums.json", "crops.npz", "training.npz"
REFUSAL = "refusal.npz"
TESTED = 8  # crops that loading predicts again
# Largest difference of their probabilities: other processors and versions compute a little otherwise, another network far off.
TOLERANCE = 0.01
# Micrographs that must have been learnt from, for their range to say what is unlike them, and particles of a class in one.
FEWEST, CELL = 10, 5
# Up to this ratio of the 95th to the 5th percentile boxes have one side.
ALIKE = 1.05
LARGEST_PX = 512  # pixels a side of a prepared image, as notebooks have it
LARGEST_CARD = 2**27  # bytes; a fold's particles in 100,000 micrographs take a tenth
# What the card must hold, by type.
FIELDS = {"task": str, "classes": list, "model": str, "scale": str, "input_size": int, "simulated": bool}
FIELDS |= dict.fromkeys(("preparation", "contrast", "settings", "out_of_fold"), dict) | {"folds": list}
# The types that a model's file may name, by module and class, ...
TYPES = {
    ".keras": """keras.DTypePolicy keras.src.models.functional.Functional keras.initializers.HeNormal keras.initializers.Ones
        keras.initializers.RandomNormal keras.initializers.Zeros keras.layers.Add keras.layers.BatchNormalization
        keras.layers.Concatenate keras.layers.Conv2D keras.layers.Dense keras.layers.Dropout keras.layers.Flatten
        keras.layers.GlobalAveragePooling1D keras.layers.GlobalAveragePooling2D keras.layers.GlobalMaxPooling1D
        keras.layers.InputLayer keras.layers.MaxPooling2D keras.layers.ReLU keras.layers.Reshape
        temlib.train.layers.DihedralConv2D temlib.train.layers.LogSize temlib.train.layers.MapBatchNormalization
        __keras_tensor__""",
    ".skops": """builtins.dict builtins.list builtins.str builtins.tuple numpy.float64 numpy.ndarray
        sklearn.calibration.CalibratedClassifierCV sklearn.calibration._CalibratedClassifier
        sklearn.calibration._SigmoidCalibration sklearn.kernel_approximation.Nystroem sklearn.pipeline.Pipeline
        sklearn.preprocessing._data.StandardScaler sklearn.svm._classes.LinearSVC sklearn.svm._classes.SVC""",
}
TYPES = {suffix: frozenset(names.split()) for suffix, names in TYPES.items()}
# ... and where and under which keys a file names them.
NAMED = {
    ".keras": ("config.json", "module", "class_name"),
    ".skops": ("schema.json", "__module__", "__class__"),
}


@dataclass(frozen=True)
class Bundle:
    """The fold models of one model, ready to be applied to new particles; made by `load`.

    Attributes
    ----------
    folder : Path
    card : dict
        What `card.json` holds; see reports/README.md.
    estimator : Network or Svm
        Which becomes the model of a fold by its `restore`.
    states : list
        What it takes for that, in the order of the folds, from 1.
    """

    folder: Path
    card: dict = field(repr=False)
    estimator: object = field(repr=False)
    states: list = field(repr=False)

    def open(self, source, **options):
        """Return a data set as `data.open` does, prepared as the card says.

        Parameters
        ----------
        source : str or Path
            What `data.open` takes; labels are not needed. Where all that was learnt from had boxes of one side, positions without
            a box get that one.
        **options
            Other parameters of `data.open`, such as `micrograph`; scale and size are the card's, whatever is given.
        """
        card, pixel_nm, boxes = self.card, self.card["pixel_nm"] or 0.0, self.card.get("boxes")
        options.setdefault("box_nm", boxes[1] if boxes and _alike(boxes) else 0.0)
        prepared = {"scale": card["scale"], "pixel_nm": pixel_nm, "input_size": card["input_size"]}
        return open_data(source, **options | prepared)

    def predict(self, particles, *, alone=False):
        """Return what each fold model, and all together, make of particles.

        Parameters
        ----------
        particles : Particles or (n, rows, columns) ndarray
            Particles as `open` prepares them, or such images alone. Images alone have no micrograph, so nothing adapts to it,
            and no size, which a network "+size" needs.
        alone : bool
            Whether nothing adapts to a micrograph, so that a prediction does not depend on what else lies there.

        Returns
        -------
        DataFrame
            `particle, micrograph, fold, predicted, p_<class>…, refused, reason`: a row for each particle of each fold model,
            before them those of fold 0, the mean of the probabilities of all, and the median of what speaks for a particle.
            What is refused should not be called, whatever is predicted. Probabilities are as in training, not yet calibrated by the
            temperatures of the card. With adaptive batch normalisation they depend on which particles of a micrograph are
            given together; where the card's contrast is "auto", micrographs with bright and dark swapped are turned round.

        Raises
        ------
        InputError
            Where scale, size of a pixel, or size of the images differ from the card's, or there is no particle.
        """
        particles = particles if isinstance(particles, Particles) else self._of_images(np.asarray(particles))
        self.check(particles)
        if self.card["contrast"]["asked"] == "auto":
            particles, _, _ = particles.aligned()
        found = self._found(particles, alone)
        # A moved threshold counts for the mean as it does for each.
        values, scores = (np.mean([part[k] for part in found], axis=0) for k in (0, 2))
        blocks = [(values, scores.argmax(axis=1)), *(part[:2] for part in found)]
        strange = self._p_values(particles)
        return pd.concat(
            [self._table(particles, fold, *block, strange[fold]) for fold, block in enumerate(blocks)],
            ignore_index=True,
        )

    def check(self, particles):
        """Refuse particles that are not prepared as the card says."""
        (rows, columns), side = particles.images.shape[1:], self.card["input_size"]
        scale, pixel_nm = self.card["scale"], self.card["pixel_nm"] or math.nan
        if not len(particles):
            raise InputError(f"{particles.source}: there is no particle; check the table or folder.")
        physical, fault = scale == "physical", ""
        if particles.scale != scale:
            fault = f"shown at scale: {particles.scale}, not {scale}"
        elif (rows, columns) != (side, side):
            fault = f"of {rows} × {columns} pixels, not {side} × {side}"
        elif physical and not math.isclose(particles.pixel_nm, pixel_nm, rel_tol=1e-6):
            fault = f"at {particles.pixel_nm:g} nm/pixel, not {pixel_nm:g}"
        if fault:
            cure = f"scale: {scale}, input_size: {side}" + f", pixel_nm: {pixel_nm:g}" * physical
            lack = "; 'pixel_size_nm' is the column that tells their own pixels" * (particles.scale == "fill")
            raise InputError(
                f"{particles.source}: images are {fault} as the bundle learnt; open them by bundle.open, or with {cure}{lack}."
            )

    def met(self, particles):
        """Return which particles (n,) the fold models have learnt from, known again by their prepared images."""
        return np.isin(digests(particles), self.learnt["image"])

    def unlike(self, particles):
        """Return in what the middle micrograph of a sample is beyond all that were learnt from.

        Parameters
        ----------
        particles : Particles
            As `open` prepares them; labels are not needed.

        Returns
        -------
        dict of str to (float, float, float)
            By the measure's name: its median over the sample's micrographs, and the least and largest median of any class of
            a micrograph learnt from. Empty where nothing is beyond; None where the bundle does not say, or knows fewer than 10
            micrographs.
        """
        known = self.card.get("measured")
        if not known or self.card["training"]["micrographs"] < FEWEST:
            return None
        found = measured(particles).groupby(particles.table["micrograph"].to_numpy()).median().median()
        values = {name: (float(found[name]), *known[name]) for name in found.index.intersection(list(known))}
        return {name: row for name, row in values.items() if not row[1] <= row[0] <= row[2]}

    def boxed(self, particles):
        """Return a sentence where a sample's boxes were not made as those learnt from, all alike or each of its own side, else ""."""
        then, now = self.card.get("boxes"), boxes(particles)
        if not then or not now or len(particles) < FEWEST:
            return ""
        own = not _alike(then)
        if own != _alike(now) and (own or 1 / ALIKE <= now[1] / then[1] <= ALIKE):
            return ""
        words = [
            f"all {part[1]:.3g} nm" if _alike(part) else f"{part[0]:.3g} to {part[2]:.3g} nm for nine in ten"
            for part in (then, now)
        ]
        cure = "give each particle's own box" if own else f"give boxes of {then[1]:.3g} nm"
        sides = f"The sides of the boxes learnt from were {words[0]}, and here, within the window, they are {words[1]}"
        return f"{sides}; {cure}, as 'box_px' or 'box_nm'."

    def _of_images(self, images):
        """Return images alone as particles, each in a micrograph of its own."""
        limit = PREPARATION["clip"]
        if images.ndim != 3 or images.dtype.kind not in "fiu":
            given = f"not {images.dtype} {images.shape}"
            raise InputError(f"images: they should be numbers (n, rows, columns), {given}.")
        if images.size and not np.abs(images).max() <= limit * (1 + 1e-6):
            fault = f"prepared ones are finite and within ±{limit:g}, these are not"
            raise InputError(f"images: {fault}; open them by bundle.open.")
        names = np.arange(1, len(images) + 1).astype(str)
        table = pd.DataFrame({"particle": names, "micrograph": names})
        return _particles(images, table, self.card["scale"], self.card["pixel_nm"])

    def _found(self, particles, alone=False):
        """Return of each fold model probabilities (n, classes), predicted classes (n,), and what is largest for these."""
        rows = np.arange(len(particles))
        groups = rows if alone else particles.table["micrograph"].to_numpy()
        inputs, found = self.estimator.inputs(particles), []
        for state in self.states:
            model = self.estimator.restore(state)
            values, called = model.predict(inputs, groups, rows)
            found.append((values, called, values / model.divisor))
        return found

    def _p_values(self, particles):
        """Return what speaks for a particle (folds + 1, n), after their median that of each fold; 1 where none is refused."""
        if not self.refuses:
            return np.ones((len(self.states) + 1, len(particles)))
        found = self._refusal.p_values(particles.images)
        return np.vstack([np.median(found, axis=0), found])

    def _table(self, particles, fold, values, called, strange):
        """Return the rows of one fold."""
        table = particles.table[["particle", "micrograph"]]
        table = table.assign(fold=fold, predicted=np.array(self.card["classes"], object)[called])
        table = table.assign(**{f"p_{name}": values[:, k] for k, name in enumerate(self.card["classes"])})
        refused = strange <= refusal.LIMIT
        return table.assign(
            refused=refused,
            reason=[
                f"looks like no particle (p = {p:.2g})" if out else "" for p, out in zip(strange, refused)
            ],
        )

    @property
    def refuses(self):
        """Whether what looks like no particle is refused; of a bundle that was saved before protocol 2 nothing is."""
        return self.card["protocol"] >= REFUSES

    @cached_property
    def _refusal(self):
        with np.load(self.folder / REFUSAL, allow_pickle=False) as kept:
            return refusal.Refusal(dict(kept))

    @cached_property
    def confusion(self):
        """Out-of-fold counts: `fold, micrograph, truth, called_<class>…, refused`, a row for each truth in a micrograph."""
        return pd.DataFrame(self.card["out_of_fold"]["rows"], columns=self.card["out_of_fold"]["columns"])

    @cached_property
    def held_out(self):
        """How many held-out particles of each class, a row each, were called what, or refused: the columns of `confusion`."""
        columns = [*(f"called_{name}" for name in self.card["classes"]), "refused"]
        return self.confusion.groupby("truth")[columns].sum()

    @cached_property
    def learnt(self):
        """What the fold models have learnt from, as `learnt` returns it."""
        with np.load(self.folder / TRAINING, allow_pickle=False) as kept:
            return dict(kept)

    @property
    def is_shipped(self):
        """Whether temlib carries it; it learnt from nobody's particles, so that any number of folds can begin with it."""
        return self.folder.parent == shipped.FOLDER

    def check_models(self, models, folds):
        """Refuse to begin with this bundle where it is of an SVM, of none of `models`, or of other than `folds` folds."""
        name, own = self.card["model"], len(self.card["folds"])
        if name in svm.names():
            raise InputError(f"weights: {name} is an SVM, which is not trained on; name a network's bundle.")
        if name not in models:
            fault = f"the bundle is of {name}, which is not among 'models' ({', '.join(models)})"
            raise InputError(f"weights: {fault}; add it.")
        if folds != own and not self.is_shipped:
            raise InputError(f"weights: the bundle has {own} folds and 'folds' is {folds}; set it to {own}.")

    def continued(self, data, task, models, settings):
        """Return labelled particles with a column `fold` in which no fold model is tested on what it has learnt.

        Each fold of a new training begins with the weights of that fold's model. So a micrograph that the bundle knows, by
        its name or by the image of a particle, stays in its fold; the others are divided anew.

        Returns
        -------
        data : Particles
        said : str
            What was found, in a sentence.

        Raises
        ------
        InputError
            Where `check_models` refuses, images or classes do not fit, or a fold model would be tested on what it has learnt.
        """
        self.check_models(models, settings.folds)
        table, folds = data.table.reset_index(drop=True), settings.folds
        sure = is_definite(table[task], settings.unsure)
        classes = sorted(table.loc[sure, task].unique(), key=natural)
        if classes != self.card["classes"]:
            known = f"the bundle tells {listed(self.card['classes'])} apart"
            cure = "choose them by 'classes' or 'merge'"
            raise InputError(f"weights: {known}, and '{task}' has {listed(classes)}; {cure}.")
        self.check(data)
        held = self._held(data, table["micrograph"])
        known = table["micrograph"].map(held)
        if "fold" in table:
            fold = pd.Series(split(table, task, folds=folds, seed=settings.seed, unsure=settings.unsure))
            if moved := sorted(set(table["micrograph"][known.notna() & (known != fold)])):
                fault = f"the bundle has learnt {listed(moved)} in other folds than the column 'fold' says"
                raise InputError(f"weights: {fault}; take the column out, so that each stays in its fold.")
        else:
            fold, new = known.copy(), known.isna()
            fold[new] = split(table[new], task, folds=folds, seed=settings.seed, unsure=settings.unsure)
        if missing := set(range(1, folds + 1)) - set(fold[sure]):
            fault = f"no labelled particle lies in fold {min(missing)} of the bundle"
            raise InputError(f"weights: {fault}; add those it learnt from, or more micrographs.")
        met = f"of {table['micrograph'].nunique()} micrographs it had met {len(held)}"
        said = (
            f"{self.card['model']} began with the weights of a bundle; {met}, and each stayed in its fold, so that no model is "
            "tested on what it has learnt. Micrographs that choose the epoch and calibrate may have been learnt before."
        )
        return replace(data, table=table.assign(fold=fold.astype(int))), said

    def _held(self, data, micrographs):
        """Return the fold of each of the micrographs that the fold models have met, by name."""
        images, names = (
            pd.DataFrame({kind: self.learnt[kind], "fold": self.learnt[f"{kind}_fold"]})
            for kind in ("image", "micrograph")
        )
        found = pd.DataFrame({"micrograph": micrographs.to_numpy(), "image": digests(data)}).merge(images)
        names = names[names["micrograph"].isin(micrographs)]
        held = pd.concat([found[["micrograph", "fold"]], names]).drop_duplicates()
        if twice := sorted(set(held["micrograph"][held["micrograph"].duplicated()])):
            fault = f"particles of {listed(twice)} were learnt in several folds of the bundle, so any test on them would leak"
            raise InputError(f"weights: {fault}; name micrographs as they were, or leave 'weights' empty.")
        return held.set_index("micrograph")["fold"]


def learnt(data, folds):
    """Return by what particles (images) and micrographs (names) are known again, and the fold of each, as arrays."""
    micrographs = pd.Series(folds).groupby(data.table["micrograph"].to_numpy()).first()
    found = {"image": digests(data), "image_fold": folds}
    return found | {"micrograph": micrographs.index.to_numpy(str), "micrograph_fold": micrographs.to_numpy()}


def measured(data):
    """Return what can be measured of each particle without labels."""
    blocks = [
        signed(images).assign(**{"spread of the intensities": images.std(axis=(1, 2))})
        for images in data.blocks()
    ]
    table = pd.concat(blocks, ignore_index=True)
    if data.scale == "physical" and "box_px" in data.table:
        table["side of the box (nm)"] = (data.table["box_px"] * data.table["pixel_size_nm"]).to_numpy(float)
    return table


def boxes(data):
    """Return the 5th, 50th and 95th percentile of the sides of the boxes within the window, in nm; None where none is known."""
    known = data.scale == "physical" and "box_px" in data.table
    sides = (data.table["box_px"] * data.table["pixel_size_nm"]).dropna() if known else ()
    window = data.images.shape[-1] * data.pixel_nm
    return np.quantile(np.minimum(sides, window), (0.05, 0.5, 0.95)).tolist() if len(sides) else None


def _alike(sides):
    """Return whether boxes have one side, by what `boxes` returns."""
    return sides[2] <= ALIKE * sides[0]


def ranges(data, labels):
    """Return the least and the largest median of each measure over the classes of the micrographs.

    The median of any mixture of classes lies between theirs, so that other shares alone do not leave the range.
    """
    cells = measured(data).groupby([data.table["micrograph"].to_numpy(), np.asarray(labels)])
    medians = cells.median()[cells.size() >= CELL].dropna()
    ends = {} if medians.empty else medians.agg(["min", "max"])
    return {name: [float(low), float(high)] for name, (low, high) in ends.items()}


def crops(data, labels):
    """Return a few particles of all classes whose probabilities are kept, as float16 holds them, each in its own micrograph."""
    order = np.argsort(labels, kind="stable")
    rows = np.unique(order[np.linspace(0, len(order) - 1, TESTED).astype(int)])
    return {
        "images": np.asarray(data.images[rows], np.float16),
        "sizes": data.table.reindex(columns=["box_px", "pixel_size_nm"]).to_numpy(float)[rows],
    }


def as_particles(tested, scale, pixel_nm):
    """Return kept test crops as particles."""
    table = pd.DataFrame(tested["sizes"], columns=["box_px", "pixel_size_nm"])
    names = table.index.astype(str)
    return _particles(tested["images"], table.assign(particle=names, micrograph=names), scale, pixel_nm)


def _particles(images, table, scale, pixel_nm):
    """Return images and a table of them as particles."""
    images = images.astype(np.float32, copy=False)
    return Particles(table, images, "images", (), scale, pixel_nm or math.nan, simulated=False)


def add(folder, model, fold, tested):
    """Write a fitted estimator as the model of a fold; return what the card says of it, and its probabilities of the crops."""
    path = Path(folder) / f"fold={fold}{model.suffix}"
    with replacing(path) as temporary:
        state = model.save(temporary)
    particles = as_particles(tested, "fill", None)
    groups, rows = particles.table["micrograph"].to_numpy(), np.arange(len(particles))
    values, _ = model.predict(model.inputs(particles), groups, rows)
    return {"fold": int(fold), "file": path.name, "state": state}, values


def save(folder, card, tested, learnt, refused, begun=None):
    """Write the rest of a bundle whose fold models lie in `folder`: card, test crops, what was learnt from, what is refused.

    What the bundle from whose weights they began had learnt stays known.
    """
    folder = Path(folder)
    if begun:
        learnt = {name: np.concatenate([part, begun.learnt[name]]) for name, part in learnt.items()}
    for name, arrays in ((CROPS, tested), (TRAINING, learnt), (REFUSAL, refused)):
        with replacing(folder / name) as temporary:
            np.savez_compressed(temporary, **arrays)
    write_json(folder / CARD, {"protocol": PROTOCOL, **card})
    names = [CARD, CROPS, TRAINING, REFUSAL, *(model["file"] for model in card["folds"])]
    write_json(folder / SUMS, {name: file_hash(folder / name) for name in names})


def load(folder, *, task="", models=True):
    """Return the `Bundle` in a folder, or refuse it in one sentence.

    Parameters
    ----------
    folder : str or Path
        Such as `models/dihedral` of a run's folder; or one that temlib carries: "shipped:lamellarity", "shipped:encapsulation",
        or "liposomes" for that of `task`.
    task : str
    models : bool
        Whether its models are loaded too; without them it answers `open`, `continued` and `confusion`.

    Raises
    ------
    InputError
        For a file that is missing or altered; a newer protocol; an unknown type in a model's file; classes that do not fit the
        models; test crops of which the models do not say what they said when they were saved.
    """
    if not str(folder):
        raise InputError("No bundle is named; name a folder models/<model> of a run.")
    folder = shipped.find(folder, task)
    try:
        with _reading(CARD):
            card = _card(folder)
            bundle = Bundle(folder, card, *(_models(folder, card) if models else (None, [])))
        if models:
            _check_crops(bundle)
    except InputError as error:
        raise InputError(f"{shown(folder)}: {error}") from None
    return bundle


def _card(folder):
    """Return the card of a folder in which every file is as it was saved."""
    sums, card = _json(folder, SUMS), _json(folder, CARD)
    protocol, again = card.get("protocol"), "save the bundle again"
    if type(protocol) is int and protocol > PROTOCOL:
        newer = f"its protocol is {protocol}, and this temlib reads up to {PROTOCOL}"
        raise InputError(f"{newer}; update temlib.")
    wrong = [name for name, kind in FIELDS.items() if type(card.get(name)) is not kind]
    if type(protocol) is not int or protocol < 1 or wrong:
        wrong = listed(wrong or ["protocol"])
        raise InputError(f"'{CARD}' lacks {wrong} or has it in another form; {again}.")
    classes, suffix, side = card["classes"], _kind(card).suffix, card["input_size"]
    if not 0 < side <= LARGEST_PX:
        raise InputError(f"'{CARD}' states images of {side} pixels, not up to {LARGEST_PX}; {again}.")
    if len(classes) < 2 or len(set(map(str, classes))) < len(classes):
        raise InputError(f"'{CARD}' should list two or more different classes; {again}.")
    files = [f"fold={k}{suffix}" for k in range(1, len(card["folds"]) + 1)]
    if not files or [entry["file"] for entry in card["folds"]] != files:
        raise InputError(f"'{CARD}' does not list fold models as fold=1{suffix}; {again}.")
    if card["preparation"] != PREPARATION:
        raise InputError("its images were prepared in another way than temlib does now; train it again.")
    for name in (CARD, CROPS, TRAINING, *[REFUSAL] * (protocol >= REFUSES), *files):
        if not (folder / name).is_file():
            raise InputError(f"'{name}' is missing; copy the whole folder again.")
        if sums.get(name) != file_hash(folder / name):
            raise InputError(f"'{name}' is not what was saved (by its checksum); copy the folder again.")
        if name != CARD:
            with _reading(name):
                check_unpacked(folder / name)
    return card


def _json(folder, name):
    """Return the mapping in a JSON file of a bundle."""
    if not (folder / name).is_file():
        cure = "name a folder models/<model> of a run"
        raise InputError(f"'{name}' is missing, so it is no model bundle; {cure}.")
    if (folder / name).stat().st_size > LARGEST_CARD:
        raise InputError(f"'{name}' is too large for a model to say so much; copy the whole folder again.")
    with _reading(name):
        return dict(json.loads((folder / name).read_text(encoding="utf-8")))


def _kind(card):
    """Return the kind of estimator of a card."""
    return svm.Svm if card["model"] in svm.names() else Network


def _models(folder, card):
    """Return the estimator of a card, and what makes it the model of each fold."""
    known = {name.name for name in fields(Settings)}
    settings = Settings(**{name: value for name, value in card["settings"].items() if name in known})
    estimator, states = _kind(card)(card["model"], card["classes"], settings), []
    for entry in card["folds"]:
        path = folder / entry["file"]
        with _reading(path.name):
            _check_types(path)
            states.append(estimator.read(path, entry["state"]))
    return estimator, states


@contextmanager
def _reading(what):
    """Refuse in one sentence what cannot be read, whatever a library says of it."""
    try:
        yield
    except InputError:
        raise
    except Exception as fault:
        raise InputError(f"'{what}' cannot be read ({reason(fault)}); copy the whole folder again.") from None


def _check_types(path):
    """Refuse a model's file that names a type which is not in the list."""
    name, module, kind = NAMED[path.suffix]
    with zipfile.ZipFile(path) as archive:
        tree = json.loads(archive.read(name))
    nodes = (node for node in _nodes(tree) if kind in node)
    named = {".".join(str(node[key]) for key in (module, kind) if node.get(key)) for node in nodes}
    if unknown := sorted(named - TYPES[path.suffix]):
        told = f"'{path.name}' holds the type {shown(unknown[0])[:200]}, which no model of temlib has"
        raise InputError(f"{told}; do not use this bundle, ask where it came from.")


def _nodes(tree):
    """Yield all mappings in a tree of JSON."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
        waiting += node.values() if isinstance(node, dict) else node if isinstance(node, list) else []


def _check_crops(bundle):
    """Refuse a bundle whose models do not say of its test crops what they said when they were saved."""
    # What fails here may also be the prediction: descriptors that are others, shapes that do not fit.
    with _reading(CROPS), np.load(bundle.folder / CROPS, allow_pickle=False) as tested:
        particles = as_particles(tested, bundle.card["scale"], bundle.card["pixel_nm"])
        bundle.check(particles)
        found = np.stack([values for values, *_ in bundle._found(particles)])
        difference = float(np.abs(found - tested["probabilities"]).max())
    with _reading(REFUSAL):
        bundle._p_values(particles)
    if not difference <= TOLERANCE:
        told = f"the probabilities of its test crops differ by {difference:.2g} from those that were saved"
        raise InputError(f"{told}; install the packages that '{CARD}' lists, or train the model again.")


def digests(data):
    """Return a number (n,) for each particle by which its prepared image is known again."""
    images = (image for block in data.blocks() for image in block)
    found = [hashlib.blake2b(np.ascontiguousarray(image), digest_size=8).digest() for image in images]
    return np.frombuffer(b"".join(found), "<u8")
