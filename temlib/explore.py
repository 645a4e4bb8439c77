"""What stands out before anything is learnt: micrographs that differ, inverted contrast, copies, leakage.

All of it is measured on prepared particles (`data.Particles`), a block at a time. A micrograph's values are means over
its particles, and their standard errors are over particles; a micrograph with fewer than `MIN_COUNT` particles is not
judged. Functions whose name is a plain noun return tables; `sentences` and `agreement` put them into words.
"""

import hashlib

import numpy as np
import pandas as pd

from temlib import augment, evaluate
from temlib.data import is_definite, mixed, polarity, signed, split
from temlib.files import listed
from temlib.train import features

MIN_COUNT = 5  # particles of a micrograph, and micrographs of a study, from which one is judged
# Robust deviations from the other micrographs, and standard errors of its own, from which one is said to differ.
FAR = 4.0
# Cycles per pixel, from and below.
BANDS = {"coarse power": (0.02, 0.1), "middle power": (0.1, 0.25), "fine power": (0.25, 0.5)}
MAPPED = 3000  # particles of a map, and of the comparison of splits; more would hide each other
FOLDS = 5  # of the comparison of splits, at most
AT_RANDOM, WHOLE = "particles at random", "whole micrographs"  # how particles are held out
# Correlations from which two images look the same: reduced, and with all their pixels.
ALIKE, AS_SEEN = 0.98, 0.9
COMPARED = 20000  # particles that are compared with each other; their pairs grow with the square
BLOCK = 1000  # particles that are compared with all others at a time
PAIRS = 10000  # pairs that are listed; more tell nothing new


def spectra(data):
    """Return the mean power spectrum of each micrograph's particles.

    Columns: `micrograph`, `frequency` (cycles per pixel of a prepared image), `power` (squared robust units; white noise
    of variance v has v everywhere).
    """
    frequencies, power = zip(*(augment.radial_power(images, half_plane=True) for images in data.blocks()))
    power = np.concatenate(power)  # (n, k)
    mean = {name: power[rows].mean(axis=0) for name, rows in data.table.groupby("micrograph").indices.items()}
    table = pd.DataFrame(mean, frequencies[0]).rename_axis(index="frequency", columns="micrograph")
    return table.unstack().rename("power").reset_index()


def per_micrograph(data):
    """Measure each micrograph's particles and compare it with the others.

    Columns: `micrograph, particles`; `centre contrast` (centre minus edge) and `skewness` of the grey levels, both of
    which change sign with the contrast; `coarse`, `middle` and `fine power` (log10 of squared robust units); `polarity`, by
    how many standard errors its contrast is that of most micrographs (`data.polarity`); `inverted` (bool; `data.mixed`);
    `differs` (the measures that are far from the other micrographs', with the number of robust deviations).

    A micrograph differs where it lies at least 4 scaled median absolute deviations from the median of all micrographs
    *and* at least 4 of its own standard errors.
    """
    values = pd.concat([_measures(images) for images in data.blocks()], ignore_index=True)
    groups = values.groupby(data.table["micrograph"].to_numpy())
    mean, error, count = groups.mean(), groups.sem(), groups.size()
    direction = polarity(values, data.table["micrograph"])
    inverted = count.index.isin(mixed(direction, count)[0])
    table = mean.assign(polarity=direction, inverted=inverted, differs="")
    table.insert(0, "particles", count)
    judged = count >= MIN_COUNT
    if judged.sum() >= MIN_COUNT:
        table.loc[judged, "differs"] = _differs(mean[judged], error[judged])
    return table.rename_axis("micrograph").reset_index()


def _measures(images):
    """Return the measures of each image, one column each."""
    table = signed(images)
    frequency, power = augment.radial_power(images, half_plane=True)
    for name, (low, high) in BANDS.items():
        within = (frequency >= low) & (frequency < high)
        table[name] = np.log10(power[:, within].mean(axis=1) + 1e-9)
    return table


def _differs(mean, error):
    """Return the measures in which each micrograph is far from the others, in words."""
    distance = mean - mean.median()
    deviations = distance / (1.4826 * distance.abs().median()).clip(lower=1e-9)
    far = (deviations.abs() >= FAR) & (distance.abs() >= FAR * error)
    words = deviations.apply(lambda column: column.map(f"{column.name} {{:+.0f}}".format))
    return [", ".join(row[far]) for row, far in zip(words.to_numpy(), far.to_numpy())]


def sentences(table):
    """Return in words what the table of `per_micrograph` shows."""
    judged = (table["particles"] >= MIN_COUNT).sum()
    if judged < MIN_COUNT:
        few = f"Only {judged} micrographs have {MIN_COUNT} particles or more"
        return [f"{few}: too few to say whether one differs from the rest."]
    found, odd = table.set_index("micrograph"), table.loc[table["differs"] != "", "micrograph"]
    contrast = mixed(found["polarity"], found["particles"])[2]
    rest = f"None of the {judged} micrographs differs from the rest in contrast, skewness or power."
    if len(odd):
        rest = f"{len(odd)} of the {judged} micrographs differ from the rest: {listed(odd)}."
    return [contrast, rest]


def agreement(*agreements):
    """Return in words how well annotators agree, from what `Particles.agreement` returned for each task (perhaps None)."""
    notes = []
    for found in filter(None, agreements):
        names = ", ".join(found.annotators)
        if np.isnan(found.kappa):
            notes.append(f"{found.task}: kappa of {names} is {found.method}.")
            continue
        interval = "" if np.isnan(found.low) else f" ({found.low:.2f} to {found.high:.2f})"
        notes += [
            f"{found.task}: the annotators {names} agree with kappa = {found.kappa:.2f}{interval}.",
            f"They differ on {len(found.disagreements):,} particles (kappa: {found.method}). Where people differ, a "
            "classifier's difference from the label need not be an error.",
        ]
    return notes


def principal(data, *, seed=0):
    """Place a random sample of particles on the first two principal components of their descriptors.

    Columns: `row` (of the table), `first` and `second`, in standard deviations of the first; ``attrs["explained"]``
    holds the shares of the descriptors' variance.
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    rows = _sample(data, seed)
    values = StandardScaler().fit_transform(features(np.asarray(data.images[rows])).to_numpy())
    model = PCA(2, svd_solver="full").fit(values)
    placed = pd.DataFrame(model.transform(values), columns=["first", "second"])
    placed = placed / placed["first"].std()
    placed.insert(0, "row", rows)
    placed.attrs["explained"] = model.explained_variance_ratio_.tolist()
    return placed


def _sample(data, seed):
    """Return the rows of a random sample of at most `MAPPED` particles, in their order."""
    return np.sort(np.random.default_rng(seed).permutation(len(data))[:MAPPED])


def leakage(data, task, *, seed=0):
    """Predict particles held out at random, and the same particles held out with their whole micrographs.

    Particles of a micrograph share its noise, focus and background. A split at random lets a classifier meet them in
    training, and its score says less about new micrographs. Trees on descriptors of texture and on each
    particle's power spectrum show by how much, in seconds; a network that learns for longer may gain more from it.

    All particles of `data`, of which a random sample is used, must have a label for `task`. Returns predictions (see
    docs/architecture.md) of two models, named `AT_RANDOM` and `WHOLE` after the split; None where micrographs or a class
    are too few, or each particle is its own micrograph.
    """
    from joblib import parallel_config
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.model_selection import PredefinedSplit, StratifiedKFold, cross_val_predict

    data = data.rows(_sample(data, seed))
    table, labels = data.table.reset_index(drop=True), data.table[task].to_numpy(str)
    micrographs, classes = table["micrograph"].nunique(), np.unique(labels)
    folds = min(FOLDS, pd.Series(labels).value_counts().min(), micrographs)
    if folds < 2 or micrographs == len(table) or len(classes) < 2:
        return None
    power = augment.radial_power(np.asarray(data.images), half_plane=True)[1]
    values = np.hstack([features(data.images), np.log(power + 1e-9)])
    at_random = np.empty(len(table), int)
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(values, labels)
    for fold, (_, test) in enumerate(parts, 1):
        at_random[test] = fold
    trees = ExtraTreesClassifier(75, min_samples_leaf=2, class_weight="balanced", random_state=seed)
    predicted = []
    for way, fold in {AT_RANDOM: at_random, WHOLE: split(table, task, folds=folds, seed=seed)}.items():
        # Folds run side by side: a forest's own threads add up votes in any order.
        with parallel_config("threading", n_jobs=-1):
            p = cross_val_predict(trees, values, labels, cv=PredefinedSplit(fold), method="predict_proba")
        rows = table[["particle", "micrograph"]].assign(model=way, fold=fold, role="test", truth=labels)
        rows = rows.assign(predicted=classes[p.argmax(axis=1)], **dict(zip("p_" + pd.Index(classes), p.T)))
        predicted.append(rows.sort_values("fold", kind="stable"))
    return pd.concat(predicted, ignore_index=True)


def leaked(predictions, task):
    """Return the balanced accuracies of the two ways of `leakage`, and the difference, at random minus whole.

    They are rows of `Predictions.measures` (a DataFrame) and of `Predictions.compare` (a Series).
    """
    held = evaluate.Predictions(predictions)
    scores = held.measures(task).query("measure == 'balanced accuracy'")
    difference = held.compare(task).query("measure == 'balanced accuracy'").iloc[0]
    return scores.reset_index(drop=True), difference


def near_duplicates(particles):
    """Find pairs of particles of different micrographs that look the same, most alike first.

    Columns: `first, second` (names), `correlation` of the images, reduced to 16×16 pixels. With all their pixels they must be
    alike too, for two round particles of one size may be so when reduced. Of too many particles an even sample is compared.
    """
    if len(particles) > COMPARED:
        particles = particles.rows(np.linspace(0, len(particles) - 1, COMPARED).astype(int))
    n, size = len(particles), particles.images.shape[-1]
    edges = np.linspace(0, size, 17).astype(int)[:-1]
    small = [np.add.reduceat(np.add.reduceat(b, edges, axis=1), edges, axis=2) for b in particles.blocks()]
    small = np.concatenate(small).reshape(n, -1)
    small = small - small.mean(axis=1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True) + 1e-12
    groups, names = pd.factorize(particles.table["micrograph"])[0], particles.table["particle"].to_numpy()
    found = []
    for start in range(0, n, BLOCK):
        alike = small[start : start + BLOCK] @ small.T  # (block, n)
        first, second = np.nonzero(alike >= ALIKE)
        new = (start + first < second) & (groups[start + first] != groups[second])
        first, second = first[new], second[new]
        pairs = pd.DataFrame({"first": names[start + first], "second": names[second]})
        found.append(pairs.assign(correlation=alike[first, second]))
    pairs = pd.concat(found).nlargest(10 * PAIRS, "correlation").reset_index(drop=True)
    place = pd.Series(range(n), names)
    both = zip(particles.images[place[pairs["first"]]], particles.images[place[pairs["second"]]])
    same = [np.corrcoef(one.ravel(), two.ravel())[0, 1] >= AS_SEEN for one, two in both]
    return pairs[np.array(same, bool)].head(PAIRS).reset_index(drop=True)


def identical(particles):
    """Return groups of names of particles whose prepared images are equal."""
    keys = [hashlib.sha1(image.tobytes(), usedforsecurity=False).digest() for image in particles.images]
    groups = particles.table["particle"].groupby(pd.Index(keys, dtype=object), sort=False)
    return [names.tolist() for _, names in groups if len(names) > 1]


def imbalance(table, tasks, *, unsure=()):
    """Return the accuracy paradox in numbers: what always predicting the commonest class scores on these very data.

    Particles whose label is in `unsure` do not count; a task without others is left out.
    """
    counts = [table[task][is_definite(table[task], unsure)].value_counts() for task in tasks]
    counts = [count for count in counts if len(count)]
    return pd.DataFrame(
        {
            "task": [count.index.name for count in counts],
            "always predicted": [count.index[0] for count in counts],
            "accuracy": [f"{count.iloc[0] / count.sum():.2f}" for count in counts],
            "balanced accuracy": [f"{1 / len(count):.2f}" for count in counts],
            "of size alone": [_of_size_alone(table, count.index.name, unsure) for count in counts],
            "rarest class": [count.index[-1] for count in counts],
            "its particles": [int(count.iloc[-1]) for count in counts],
            "commonest : rarest": [f"{count.iloc[0] / count.iloc[-1]:.1f}" for count in counts],
        }
    )


def _of_size_alone(table, task, unsure):
    """Return the balanced accuracy of a task that the particles' size alone gives, as text; empty where that cannot be told."""
    table = table[is_definite(table[task], unsure)]
    called = evaluate.size_alone(table, task)
    right = None if called is None else (called == table[task]).groupby(table[task]).mean().mean()
    return "" if right is None else f"{right:.2f}"
