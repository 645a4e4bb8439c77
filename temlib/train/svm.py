"""The SVM baselines, each in its best form: an RBF kernel on named descriptors, tuned on grouped inner folds.

`svm_thesis` sees what the SVM of 2016 saw (outline, area, circularity, moments, edge density profile), `svm_texture` texture
and profiles. Descriptors learn nothing and are computed once for all folds; whatever is learnt (scaling, C, gamma, kernel
approximation, calibration) is fitted on training particles alone.
"""

import os
import warnings
from collections import Counter
from itertools import product

import numpy as np
import pandas as pd

from temlib.files import InputError
from temlib.train import descriptors

_DESCRIPTORS = {"svm_thesis": descriptors.thesis, "svm_texture": descriptors.texture}
# Grid of the inner search: C, and gamma as a multiple of 1 / number of descriptors (scikit-learn's "scale").
C_VALUES, GAMMA_VALUES = (0.3, 1.0, 10.0, 100.0), (0.1, 0.3, 1.0)
# Above this number of training particles the exact kernel takes hours; the Nyström approximation takes its place.
EXACT, LANDMARKS = 20_000, 1000
# C and gamma are searched on at most so many training particles, whole micrographs drawn at random.
SEARCHED = 4000


def names():
    """Give the names of the SVM baselines."""
    return list(_DESCRIPTORS)


def features(images, name="svm_texture"):
    """Compute the descriptors of an SVM baseline.

    Parameters
    ----------
    images : (n, size, size) ndarray of float32
        Prepared images.
    name : str
        One of `names`.

    Returns
    -------
    DataFrame
        One row an image; `descriptors.GROUPS` has units and meanings.
    """
    return _DESCRIPTORS[_known(name)](images)


def _known(name):
    if name not in _DESCRIPTORS:
        raise InputError(f"there is no SVM baseline '{name}'; there is {', '.join(names())}.")
    return name


def note(particles):
    """Say which kernel is used for a number of training particles."""
    if particles <= EXACT:
        return f"The SVMs use the exact RBF kernel: {particles:,} training particles are at most {EXACT:,}."
    return (
        f"The SVMs use a Nyström approximation of the RBF kernel with {LANDMARKS:,} landmarks: {particles:,} training "
        f"particles are more than {EXACT:,}."
    )


def pipeline(particles, seed):
    """Give the unfitted Pipeline for a number of training particles: scaling, then the (approximate) RBF machine."""
    from sklearn.kernel_approximation import Nystroem
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC, LinearSVC

    scale = ("scale", StandardScaler())
    if particles <= EXACT:
        return Pipeline([scale, ("machine", SVC(class_weight="balanced", cache_size=500))])
    kernel = ("kernel", Nystroem(n_components=LANDMARKS, random_state=seed))
    return Pipeline([scale, kernel, ("machine", LinearSVC(class_weight="balanced", dual=False))])


def fit(name, table, labels, groups, *, seed):
    """Fit an SVM baseline on training particles.

    Parameters
    ----------
    name : str
        One of `names`.
    table : DataFrame
        Descriptors of the training particles.
    labels, groups : (n,) array_like of str
        Class and micrograph of each.
    seed : int

    Returns
    -------
    sklearn.calibration.CalibratedClassifierCV
        With `classes_` and `predict_proba`; C and gamma were chosen, and probabilities calibrated, on inner folds that
        keep micrographs whole.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import GridSearchCV

    _known(name)
    labels, groups, values = np.asarray(labels), np.asarray(groups), table.to_numpy()
    machine = pipeline(len(labels), seed)
    where = "kernel__gamma" if "kernel" in machine.named_steps else "machine__gamma"
    grid = {"machine__C": C_VALUES, where: [g / values.shape[1] for g in GAMMA_VALUES]}
    part = _some_groups(labels, groups, seed)
    with warnings.catch_warnings():
        # A rare class is absent from some inner test fold, which the mean over folds survives; scikit-learn warns each time.
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        warnings.filterwarnings("ignore", message="The least populated class in y")
        inner = _inner_folds(values[part], labels[part], groups[part], seed)
        # Threads, since libsvm lets go of Python's lock: nothing is copied, and no process is started.
        from joblib import parallel_backend

        search = GridSearchCV(
            machine, grid, scoring="balanced_accuracy", cv=inner, n_jobs=os.cpu_count(), refit=False
        )
        with parallel_backend("threading"):
            search.fit(values[part], labels[part])
        folds = inner if len(part) == len(labels) else _inner_folds(values, labels, groups, seed)
        fitted = CalibratedClassifierCV(machine.set_params(**search.best_params_), cv=folds, ensemble=False)
        with parallel_backend("threading"):
            return fitted.fit(values, labels)


def _some_groups(labels, groups, seed):
    """Give the positions of whole micrographs with about `SEARCHED` particles, every class in three of them where there are so many."""
    if len(labels) <= SEARCHED:
        return np.arange(len(labels))
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    taken, number, holding = [], 0, Counter()
    for group in order:
        inside = labels[groups == group]
        if number < SEARCHED or any(holding[label] < 3 for label in set(inside)):
            taken.append(group)
            number += len(inside)
            holding.update(set(inside))
    return np.flatnonzero(np.isin(groups, taken))


def calls(fitted, table):
    """Give the machine's own calls.

    The kernel machine is balanced by class weights; calibrated probabilities follow the classes' shares again, and their
    largest is nearly always the common class. Calls are therefore the machine's own.
    """
    return fitted.calibrated_classifiers_[0].estimator.predict(table.to_numpy())


def importance(fitted, table, labels, *, seed=0, repeats=3):
    """Return how much balanced accuracy is lost when a group of descriptors is permuted among held-out particles.

    Parameters
    ----------
    fitted
        From `fit`.
    table : DataFrame
        Descriptors of held-out particles.
    labels : (n,) array_like of str
    seed, repeats : int

    Returns
    -------
    DataFrame
        Columns descriptor (a group of `descriptors.GROUPS`), unit, loss (mean over the repeats).

    References
    ----------
    .. [1] L. Breiman, Mach. Learn. 45 (2001) 5-32, doi:10.1023/A:1010933404324.
    """
    rng = np.random.default_rng(seed)
    labels = np.asarray(labels)
    groups = pd.Series([descriptors.group_of(name) for name in table.columns])

    def score(values):
        right = calls(fitted, values) == labels
        return np.mean([right[labels == name].mean() for name in np.unique(labels)])

    whole, rows = score(table), []
    for group in groups.unique():
        columns, losses = np.flatnonzero(groups == group), []
        for _ in range(repeats):
            changed = table.copy()
            changed.iloc[:, columns] = table.iloc[rng.permutation(len(table)), columns].to_numpy()
            losses.append(whole - score(changed))
        rows.append((group, descriptors.GROUPS[group][0], float(np.mean(losses))))
    return pd.DataFrame(rows, columns=["descriptor", "unit", "loss"])


def _inner_folds(values, labels, groups, seed):
    """Give two or three inner folds in each of which every class is trained on."""
    from sklearn.model_selection import StratifiedGroupKFold

    # With a rare class most shuffles leave it out of some training part; a few more tries find one that does not.
    for count, attempt in product((3, 2), range(20)):
        if len(set(groups)) < count:
            continue
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed + attempt)
        folds = list(splitter.split(values, labels, groups))
        if all(set(labels[train]) == set(labels) for train, _ in folds):
            return folds
    raise InputError(
        "svm: a class of the training particles lies in one micrograph only; add micrographs of it."
    )
