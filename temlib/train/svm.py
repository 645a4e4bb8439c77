"""The SVM baselines, each in its best form: an RBF kernel on named descriptors, tuned on grouped inner folds.

Descriptors learn nothing and are computed once for all folds; whatever is learnt (scaling, C, gamma, kernel approximation,
calibration) is fitted on training particles alone.
"""

import copy
import warnings
from collections import Counter

import numpy as np
import pandas as pd

from temlib.files import InputError
from temlib.train import adaptation, descriptors
from temlib.train.fitting import OTHER_CLASSES, balanced_accuracy, grouped_divisions

_DESCRIPTORS = {"svm_thesis": descriptors.thesis, "svm_texture": descriptors.texture}
# Grid of the inner search: C, and gamma as a multiple of 1 / number of descriptors (scikit-learn's "scale").
C_VALUES, GAMMA_VALUES = (0.3, 1.0, 10.0, 100.0), (0.1, 0.3, 1.0)
# Above this number of training particles the exact kernel takes hours; the Nyström approximation takes its place.
EXACT, LANDMARKS = 20_000, 1000
# C and gamma are searched on at most so many training particles, whole micrographs drawn at random.
SEARCHED = 4000
# Types of scikit-learn in a fitted machine that skops does not trust of itself, since they are private.
TRUSTED = ["sklearn.calibration._CalibratedClassifier", "sklearn.calibration._SigmoidCalibration"]
# How often a group of descriptors is permuted to measure its importance.
PERMUTATIONS = 3


def names():
    """Return the names of the SVM baselines."""
    return list(_DESCRIPTORS)


def features(images, name="svm_texture"):
    """Return the descriptors of an SVM baseline as a table, one row for each prepared image (n, size, size).

    `descriptor_names` has units and meanings.
    """
    if name not in _DESCRIPTORS:
        raise InputError(f"there is no SVM baseline '{name}'; there is {', '.join(names())}.")
    return _DESCRIPTORS[name](images)


def note(particles):
    """Return a sentence on the kernel that is used for a number of training particles."""
    kernel, size = "the exact RBF kernel", "no more than"
    if particles > EXACT:
        kernel = f"a Nyström approximation of the RBF kernel with {LANDMARKS:,} landmarks"
        size = "more than"
    return f"The SVMs use {kernel}, since {particles:,} training particles are {size} {EXACT:,}."


class Svm:
    """An SVM baseline as an estimator of the protocol; its inputs are the descriptors of all particles."""

    suffix = ".skops"  # of the file that `save` writes
    divisor = 1.0  # of probabilities before the largest is called, as a network's moved threshold
    history, interrupted, lone, weights, divided = None, False, False, np.nan, False

    def __init__(self, name, classes, settings):
        self.name, self.classes, self.settings = name, classes, settings

    def inputs(self, data):
        """Return the descriptors of all particles, (n, k) DataFrame."""
        return features(data.images, self.name)

    def fit(self, inputs, labels, groups, *, train, validation=(), fold, passes=1, report=None):
        """Fit to the particles at `train`; none of the others are seen."""
        if report:
            report(0, f"{self.name} fold {fold}")
        self.fold, self.divided = fold, divides(labels[train], groups[train])
        self.counts = np.bincount(labels[train], minlength=len(self.classes))
        self.fitted = _fit(inputs.iloc[train].to_numpy(), labels[train], groups[train], fold)
        return self

    def predict(self, inputs, groups, rows):
        """Return class probabilities (m, classes) and predicted classes (m,), the most probable ones, of some particles.

        The probabilities are those of classes that are equally frequent, as the machine's class weights make them: those
        calibrated on the training particles are divided by the classes' shares there. M. Saerens et al., Neural Comput. 14
        (2002) 21-41, doi:10.1162/089976602753284446.
        """
        seen = inputs.iloc[rows]
        if self.settings.adapts:
            scale = self._machine.named_steps["scale"]
            seen = adaptation.adapted(seen, groups[rows], scale.mean_, scale.var_)
        p = self._probabilities(seen)
        return p, p.argmax(axis=1)

    @property
    def _machine(self):
        return self.fitted.calibrated_classifiers_[0].estimator

    def _probabilities(self, seen):
        """Return class probabilities (m, classes) of descriptors as they are."""
        p = self.fitted.predict_proba(seen.to_numpy()) / self.counts
        return p / p.sum(axis=1, keepdims=True)

    def save(self, path):
        """Write the fitted machine, which is all that predictions need."""
        import skops.io

        fitted = copy.deepcopy(self.fitted)
        machine = fitted.calibrated_classifiers_[0].estimator.named_steps["machine"]
        if hasattr(machine, "support_vectors_"):
            # libsvm's float64 are those of float32 descriptors, so half of their bytes are zero.
            machine.support_vectors_ = machine.support_vectors_.astype(np.float32)
        skops.io.dump(fitted, path)
        return {"counts": self.counts.tolist()}

    def read(self, path, state):
        """Return the fitted machine in a file of `save`, for `restore`; nothing in the file is run."""
        import skops.io

        fitted = skops.io.load(path, trusted=TRUSTED)
        counts = np.array(state["counts"], float)
        for number in (len(fitted.classes_), len(counts)):
            if number != len(self.classes):
                raise InputError(OTHER_CLASSES.format(len(self.classes), number))
        machine = fitted.calibrated_classifiers_[0].estimator.named_steps["machine"]
        if hasattr(machine, "support_vectors_"):
            machine.support_vectors_ = machine.support_vectors_.astype(float)
        return fitted, counts

    def restore(self, state):
        """Become what was read."""
        self.fitted, self.counts = state
        return self

    def importance(self, inputs, labels, rows, *, seed):
        """Return how much balanced accuracy is lost when a group of descriptors is permuted among held-out particles.

        A table `descriptor` (a group of `descriptors.GROUPS`), `unit`, `loss` (mean over the permutations). Source: L. Breiman,
        Mach. Learn. 45 (2001) 5-32, doi:10.1023/A:1010933404324.
        """
        rng, table, labels = np.random.default_rng(seed), inputs.iloc[rows], labels[rows]
        groups = pd.Series([descriptors.group_of(name) for name in table.columns])
        whole, found = balanced_accuracy(self._probabilities(table).argmax(axis=1), labels), []
        for group in groups.unique():
            columns, losses = np.flatnonzero(groups == group), []
            for _ in range(PERMUTATIONS):
                changed = table.copy()
                changed.iloc[:, columns] = table.iloc[rng.permutation(len(table)), columns].to_numpy()
                called = self._probabilities(changed).argmax(axis=1)
                losses.append(whole - balanced_accuracy(called, labels))
            found.append((group, descriptors.GROUPS[group][0], float(np.mean(losses))))
        return pd.DataFrame(found, columns=["descriptor", "unit", "loss"])


def _pipeline(particles, seed):
    """Return the unfitted Pipeline for a number of training particles: scaling, then the (approximate) RBF machine."""
    from sklearn.kernel_approximation import Nystroem
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC, LinearSVC

    scale = ("scale", StandardScaler())
    if particles <= EXACT:
        return Pipeline([scale, ("machine", SVC(class_weight="balanced", cache_size=500))])
    kernel = ("kernel", Nystroem(n_components=LANDMARKS, random_state=seed))
    return Pipeline([scale, kernel, ("machine", LinearSVC(class_weight="balanced", dual=False))])


def _fit(values, labels, groups, seed):
    """Return a calibrated machine for descriptors (n, k): C, gamma and probabilities are settled on inner folds."""
    from joblib import parallel_backend
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import GridSearchCV

    machine = _pipeline(len(labels), seed)
    where = "kernel__gamma" if "kernel" in machine.named_steps else "machine__gamma"
    grid = {"machine__C": C_VALUES, where: [g / values.shape[1] for g in GAMMA_VALUES]}
    part = _some_groups(labels, groups, seed)
    inner = _inner_folds(labels[part], groups[part], seed)
    with warnings.catch_warnings(), parallel_backend("threading"):
        # A rare class is absent from some inner test fold, which the mean over folds survives; scikit-learn warns each time.
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        # Threads, since libsvm lets go of Python's lock: nothing is copied, and no process is started.
        search = GridSearchCV(machine, grid, scoring="balanced_accuracy", cv=inner, n_jobs=-1, refit=False)
        search.fit(values[part], labels[part])
        machine.set_params(**search.best_params_)
        folds = _inner_folds(labels, groups, seed)
        return CalibratedClassifierCV(machine, cv=folds, ensemble=False).fit(values, labels)


def _some_groups(labels, groups, seed):
    """Return the positions of whole micrographs with about `SEARCHED` particles, every class in three of them if it can be."""
    taken, holding = np.zeros(len(labels), bool), Counter()
    for group in np.random.default_rng(seed).permutation(np.unique(groups)):
        inside = groups == group
        classes = set(labels[inside])
        if taken.sum() < SEARCHED or any(holding[label] < 3 for label in classes):
            taken |= inside
            holding.update(classes)
    return np.flatnonzero(taken)


def _inner_folds(labels, groups, seed):
    """Return three inner folds, or two, in each of which every class is trained on.

    Where a class lies in one micrograph only, they divide micrographs (see `divides`); where it has a single particle, there is
    one fold, of the training particles themselves.
    """
    # With a rare class most shuffles leave it out of some training part; a few more tries find one that does not.
    for count in (3, 2):
        for attempt in range(20 if len(set(groups)) >= count else 0):
            folds = grouped_divisions(labels, groups, count, seed + attempt)
            if len(folds) == count:
                return folds
    everything = np.arange(len(labels))
    fewest = np.unique(labels, return_counts=True)[1].min()
    return grouped_divisions(labels, everything, min(3, fewest), seed) or [(everything, everything)]


def divides(labels, groups):
    """Return whether a class lies in one micrograph only, so that inner folds can train on it by dividing it alone."""
    return any(len(set(groups[labels == label])) == 1 for label in set(labels))
