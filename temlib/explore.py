"""What stands out before anything is learnt: micrographs that differ, inverted contrast, annotators who disagree.

All of it is measured on prepared particles, a block at a time. A micrograph's values are means over its particles, and
their standard errors are over particles; a micrograph with fewer than `FEWEST` particles is not judged.
"""

import hashlib

import numpy as np
import pandas as pd

from temlib import evaluate
from temlib.data import split
from temlib.train import features

BLOCK = 1000  # particles that are compared with all others at a time
FEWEST = 5  # particles of a micrograph, and micrographs of a study, from which one is judged
# Robust deviations from the other micrographs, and standard errors of its own, from which one is said to differ.
FAR = 4.0
# The share of FAR from which the common direction of contrast is taken to be known.
CLEAR = 0.5
BANDS = {
    "coarse power": (0.02, 0.1),
    "middle power": (0.1, 0.25),
    "fine power": (0.25, 0.5),
}  # cycles per pixel
MAPPED = 3000  # particles of a map; more would hide each other
AT_RANDOM, WHOLE = "particles at random", "whole micrographs"  # how particles are held out


def spectra(data):
    """Average the power spectrum of each micrograph's particles.

    Returns
    -------
    DataFrame
        `micrograph, frequency` (cycles per pixel of a prepared image) and `power` (squared robust units; white noise of
        variance v has v everywhere).
    """
    total, count, frequency = {}, {}, None
    for rows, images in _blocks(data):
        frequency, power = _power(images)
        for name, index in rows.groupby(rows).indices.items():
            total[name] = total.get(name, 0) + power[index].sum(axis=0)
            count[name] = count.get(name, 0) + len(index)
    parts = [
        pd.DataFrame({"micrograph": name, "frequency": frequency, "power": total[name] / count[name]})
        for name in sorted(total)
    ]
    return pd.concat(parts, ignore_index=True)


def _blocks(data):
    start = 0
    for images in data.blocks():
        yield data.table["micrograph"].iloc[start : start + len(images)].reset_index(drop=True), images
        start += len(images)


def _power(images):
    """Give frequencies and the power of each image in rings of equal frequency, (n, rings)."""
    size = images.shape[-1]
    window = np.hanning(size + 2)[1:-1]
    window = np.outer(window, window) / np.sum(window**2)
    tapered = (images - images.mean(axis=(1, 2), keepdims=True)) * window.astype(np.float32)
    power = np.abs(np.fft.rfft2(tapered)) ** 2
    ring = np.round(np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)) * size).astype(int).ravel()
    kept = np.arange(1, size // 2 + 1)
    sums = np.stack([np.bincount(ring, one.ravel()) for one in power])
    return kept / size, sums[:, kept] / np.bincount(ring)[kept]


def per_micrograph(data):
    """Measure each micrograph's particles and compare it with the others.

    Returns
    -------
    DataFrame
        One row a micrograph: `micrograph, particles`; `centre contrast` (centre minus edge) and `skewness` of the grey
        levels, both of which change sign with the contrast; `coarse`, `middle` and `fine power` (log10 of squared robust
        units); `inverted` (bool); `differs` (the measures that are far from the other micrographs', with the number of
        robust deviations; empty = none).

    Notes
    -----
    A micrograph differs where it lies at least 4 scaled median absolute deviations from the median of all micrographs
    *and* at least 4 of its own standard errors. It is inverted where one of the two signed measures lies at least 4
    standard errors on the other side of zero from most micrographs, and the other one does not contradict.
    """
    values = pd.concat(
        [_measures(images).assign(micrograph=rows) for rows, images in _blocks(data)], ignore_index=True
    )
    groups = values.groupby("micrograph")
    mean, error, count = groups.mean(), groups.sem(), groups.size()
    judged = count >= FEWEST
    table = mean.assign(particles=count)[["particles", *mean]]
    table["inverted"], table["differs"] = False, ""
    if judged.sum() >= FEWEST:
        table.loc[judged, "inverted"] = _inverted(mean[judged], error[judged])
        table.loc[judged, "differs"] = _differs(mean[judged], error[judged])
    return table.reset_index()


def _measures(images):
    """Give the measures of each image, one column each."""
    size = images.shape[-1]
    rows, columns = np.indices((size, size)) - (size - 1) / 2
    radius = np.hypot(rows, columns) / (size / 2)
    frequency, power = _power(images)
    centred = images - images.mean(axis=(1, 2), keepdims=True)
    spread = centred.std(axis=(1, 2)) + 1e-9
    bands = {
        name: np.log10(power[:, (frequency >= low) & (frequency < high)].mean(axis=1) + 1e-9)
        for name, (low, high) in BANDS.items()
    }
    contrast = images[:, radius < 1 / 3].mean(axis=1) - images[:, (radius > 2 / 3) & (radius < 1)].mean(
        axis=1
    )
    skewness = (centred**3).mean(axis=(1, 2)) / spread**3
    return pd.DataFrame({"centre contrast": contrast, "skewness": skewness, **bands})


def _inverted(mean, error):
    """Tell which micrographs have the contrast of the others turned round."""
    signed = (mean / error.clip(lower=1e-9))[["centre contrast", "skewness"]]
    common = signed.median()
    known = common.abs() >= CLEAR * FAR
    along = signed.loc[:, known] * np.sign(common[known])  # positive: as most micrographs
    return (along <= -FAR).any(axis=1) & ~(along >= CLEAR * FAR).any(axis=1)


def _differs(mean, error):
    """Name the measures in which each micrograph is far from the others."""
    distance = mean - mean.median()
    spread = (1.4826 * distance.abs().median()).clip(lower=1e-9)
    deviations = distance / spread
    far = (deviations.abs() >= FAR) & (distance.abs() >= FAR * error)
    return [
        ", ".join(f"{name} {deviations.loc[row, name]:+.0f}" for name in mean if far.loc[row, name])
        for row in mean.index
    ]


def sentences(table):
    """Say in words what the table of `micrographs` holds."""
    judged = table["particles"] >= FEWEST
    if judged.sum() < FEWEST:
        return [
            f"{judged.sum()} micrographs have {FEWEST} particles or more: too few to say whether one differs from the rest."
        ]
    turned, odd = table[table["inverted"]], table[table["differs"] != ""]
    said = []
    if len(turned):
        said.append(
            f"Inverted contrast: in {_names(turned)} bright and dark are exchanged against the other micrographs. Invert "
            "them before training, or keep them apart: a classifier learns the difference instead of the class."
        )
    else:
        said.append("No micrograph has its contrast inverted against the others.")
    if len(odd):
        said.append(f"{len(odd)} of {judged.sum()} micrographs differ from the rest: {_names(odd)}.")
    else:
        said.append(
            f"None of {judged.sum()} micrographs differs from the rest in contrast, skewness or power."
        )
    return said


def _names(table, most=8):
    names = table["micrograph"].tolist()
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def agreement(found):
    """Say in words how well annotators agree; `found` is a `tables.Agreement`."""
    if np.isnan(found.kappa):
        return [f"{found.task}: kappa of {', '.join(found.annotators)} is {found.method}."]
    interval = "" if np.isnan(found.low) else f" ({found.low:.2f} to {found.high:.2f})"
    return [
        f"{found.task}: the annotators {', '.join(found.annotators)} agree with kappa = {found.kappa:.2f}{interval}.",
        f"They differ on {len(found.disagreements):,} particles; {found.method}. No classifier can be shown to agree with "
        "the labels better than people agree with each other.",
    ]


def principal(data, *, most=MAPPED, seed=0):
    """Place particles on the first two principal components of their descriptors.

    Parameters
    ----------
    data : Particles
    most : int
        A random sample of so many is placed.
    seed : int

    Returns
    -------
    DataFrame
        `row` (of the table), `first`, `second`, in standard deviations of the whole; ``attrs["explained"]`` holds the
        shares of the descriptors' variance.
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    rows = np.sort(np.random.default_rng(seed).permutation(len(data))[:most])
    values = features(np.asarray(data.images[rows]))
    values = StandardScaler().fit_transform(values.to_numpy())
    model = PCA(2, svd_solver="full").fit(values)
    placed = pd.DataFrame(model.transform(values), columns=["first", "second"])
    placed = placed / placed["first"].std()
    placed.insert(0, "row", rows)
    placed.attrs["explained"] = model.explained_variance_ratio_.tolist()
    return placed


def leakage(data, task, *, folds=5, most=MAPPED, seed=0):
    """Call particles that were held out at random, and the same particles held out with their whole micrographs.

    Particles of a micrograph share its noise, focus and background. A split at random lets a classifier meet them in
    training, and its score says less about new micrographs. Trees on descriptors of texture and on each
    particle's power spectrum show by how much, in seconds; a network that learns for longer may gain more from it.

    Parameters
    ----------
    data : Particles
        All with a label for `task`.
    task : str
    folds : int
        At most; fewer where a class has fewer particles or the study fewer micrographs.
    most : int
        A random sample of so many particles is used.
    seed : int

    Returns
    -------
    DataFrame or None
        Predictions (see docs/architecture.md) of two models, named `AT_RANDOM` and `WHOLE` after the split; None where
        micrographs or a class are too few, or each particle is its own micrograph.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.model_selection import StratifiedKFold

    data = data.rows(np.sort(np.random.default_rng(seed).permutation(len(data))[:most]))
    table, labels = data.table.reset_index(drop=True), data.table[task].to_numpy(str)
    micrographs = table["micrograph"].nunique()
    folds = min(folds, pd.Series(labels).value_counts().min(), micrographs)
    if folds < 2 or micrographs == len(table) or len(set(labels)) < 2:
        return None
    values = np.hstack([features(data.images), np.log(_power(np.asarray(data.images))[1] + 1e-9)])
    at_random = np.empty(len(table), int)
    for fold, (_, test) in enumerate(
        StratifiedKFold(folds, shuffle=True, random_state=seed).split(values, labels), 1
    ):
        at_random[test] = fold
    ways = {AT_RANDOM: at_random, WHOLE: split(table, task, folds=folds, seed=seed)}
    called = []
    for way, fold_of in ways.items():
        for fold in sorted(set(fold_of)):
            test = fold_of == fold
            trees = ExtraTreesClassifier(75, min_samples_leaf=2, class_weight="balanced", random_state=seed)
            trees.set_params(n_jobs=-1).fit(values[~test], labels[~test])
            trees.set_params(n_jobs=1)  # votes added up in threads differ in their last digit from run to run
            p = trees.predict_proba(values[test])
            rows = table.loc[test, ["particle", "micrograph"]].assign(
                model=way,
                fold=fold,
                role="test",
                truth=labels[test],
                predicted=trees.classes_[p.argmax(axis=1)],
            )
            called.append(rows.assign(**{f"p_{name}": p[:, k] for k, name in enumerate(trees.classes_)}))
    return pd.concat(called, ignore_index=True).fillna(0.0)


def leaked(predictions, task):
    """Compare the two ways of `leakage`.

    Returns
    -------
    scores : DataFrame
        Rows of `measures.table` for the balanced accuracy: `model` (the split), `value, low, high, n, micrographs`.
    difference : Series
        Row of `measures.compare`, at random minus whole: `difference, low, high, p_value`.
    """
    scores = evaluate.table(predictions, task=task).query("measure == 'balanced accuracy'")
    difference = evaluate.compare(predictions, task=task).query("measure == 'balanced accuracy'").iloc[0]
    return scores.reset_index(drop=True), difference


PAIRS = 10000  # pairs that are listed; more tell nothing new
COMPARED = 20000  # particles that are compared with each other; their pairs grow with the square


def near_duplicates(particles, *, least=0.98):
    """Find pairs of particles of different micrographs that look the same.

    Parameters
    ----------
    particles : Particles
    least : float
        Correlation of the images, reduced to 16×16 pixels, from which a pair is listed, in (0, 1].

    Returns
    -------
    DataFrame
        `first, second, correlation`, most alike first, at most 10,000. Of more than 20,000 particles an even sample is
        compared.
    """
    if len(particles) > COMPARED:
        particles = particles.rows(np.linspace(0, len(particles) - 1, COMPARED).astype(int))
    n, size = len(particles), particles.images.shape[-1]
    edges = np.linspace(0, size, 17).astype(int)[:-1]
    small = np.concatenate(
        [np.add.reduceat(np.add.reduceat(b, edges, axis=1), edges, axis=2) for b in particles.blocks()]
    ).reshape(n, -1)
    small = small - small.mean(axis=1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True) + 1e-12
    groups, names = pd.factorize(particles.table["micrograph"])[0], particles.table["particle"].to_numpy()
    found = []
    for start in range(0, n, BLOCK):
        alike = small[start : start + BLOCK] @ small.T  # (block, n)
        first, second = np.nonzero(alike >= least)
        new = (start + first < second) & (groups[start + first] != groups[second])
        first, second = first[new], second[new]
        found.append(pd.DataFrame({"i": start + first, "j": second, "correlation": alike[first, second]}))
    table = pd.concat(found).nlargest(PAIRS, "correlation").reset_index(drop=True)
    return pd.DataFrame(
        {"first": names[table["i"]], "second": names[table["j"]], "correlation": table["correlation"]}
    )


def identical(particles):
    """List prepared images that stand more than once, as groups of particle names."""
    seen = {}
    for name, image in zip(particles.table["particle"], particles.images):
        seen.setdefault(hashlib.sha1(image.tobytes(), usedforsecurity=False).hexdigest(), []).append(name)
    return [names for names in seen.values() if len(names) > 1]


def imbalance(table, tasks):
    """Show the accuracy paradox: what always naming the commonest class scores on these very data."""
    rows = []
    for task in tasks:
        counts = table[task].value_counts()
        rows.append(
            (
                task,
                counts.index[0],
                f"{counts.iloc[0] / counts.sum():.2f}",
                f"{1 / len(counts):.2f}",
                counts.index[-1],
                int(counts.iloc[-1]),
                f"{counts.iloc[0] / counts.iloc[-1]:.1f}",
            )
        )
    return pd.DataFrame(
        rows,
        columns=[
            "task",
            "always called",
            "accuracy",
            "balanced accuracy",
            "rarest class",
            "particles of it",
            "commonest : rarest",
        ],
    )
