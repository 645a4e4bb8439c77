"""The SVM baseline: texture and radial descriptors of the crop, an RBF kernel, tuned on grouped inner folds.

Descriptors are computed per image and learn nothing, so that they can be shared by all folds; whatever is learnt
(scaling, C, gamma, calibration) is fitted on training particles alone.
"""

from itertools import product

import numpy as np
import pandas as pd

from temlib.files import InputError

# Grid of the inner search: C, and gamma as a multiple of 1 / number of descriptors.
C_VALUES, GAMMA_VALUES = (1.0, 10.0), (0.3, 1.0)


def names():
    """Give the names of the SVM baselines."""
    return ["svm_texture"]


def features(images):
    """Compute the descriptors of prepared images.

    Parameters
    ----------
    images : (n, rows, columns) ndarray of float32
        Square, zero median, unit robust spread.

    Returns
    -------
    DataFrame
        One row an image: `radial_k` (mean in ring k, centre first) and `ring_spread_k` (standard deviation in the
        ring), in units of the image's spread; `hog_k` (histogram of oriented gradients, Dalal & Triggs 2005,
        doi:10.1109/CVPR.2005.177); `moment_k` (mean, standard deviation, skewness, kurtosis of the pixels).
    """
    from scipy import stats

    rings = _rings(images.shape[-1])
    flat = images.reshape(len(images), -1).astype(np.float64)
    counts = np.bincount(rings)
    membership = np.zeros((rings.size, counts.size))
    membership[np.arange(rings.size), rings] = 1 / counts[rings]
    radial = flat @ membership
    spread = np.sqrt(np.maximum((flat**2) @ membership - radial**2, 0))
    moments = np.stack(
        [flat.mean(1), flat.std(1), stats.skew(flat, axis=1), stats.kurtosis(flat, axis=1)], axis=1
    )
    parts = {"radial": radial, "ring_spread": spread, "hog": _hog(images), "moment": moments}
    columns = [f"{name}_{k}" for name, part in parts.items() for k in range(part.shape[1])]
    return pd.DataFrame(np.hstack(list(parts.values())), columns=columns)


def _rings(size):
    """Number each pixel of a square image by its distance from the centre, in sixteen steps to the edge's middle."""
    centre = (size - 1) / 2
    rows, columns = np.indices((size, size))
    return np.minimum(np.hypot(rows - centre, columns - centre) / (size / 2) * 16, 16).astype(int).ravel()


def _hog(images):
    from skimage.feature import hog

    cell = images.shape[-1] // 4
    options = {
        "orientations": 8,
        "pixels_per_cell": (cell, cell),
        "cells_per_block": (2, 2),
        "channel_axis": None,
    }
    return np.stack([hog(image, **options) for image in images])


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
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    if name not in names():
        raise InputError(f"there is no SVM baseline '{name}'; there is {', '.join(names())}.")
    labels, groups, values = np.asarray(labels), np.asarray(groups), table.to_numpy()
    inner = _inner_folds(values, labels, groups, seed)
    grid = {"svc__C": C_VALUES, "svc__gamma": [g / values.shape[1] for g in GAMMA_VALUES]}
    pipeline = make_pipeline(StandardScaler(), SVC(class_weight="balanced", cache_size=500))
    search = GridSearchCV(pipeline, grid, scoring="balanced_accuracy", cv=inner, n_jobs=1, refit=False)
    search.fit(values, labels)
    calibrated = CalibratedClassifierCV(pipeline.set_params(**search.best_params_), cv=inner, ensemble=False)
    return calibrated.fit(values, labels)


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
