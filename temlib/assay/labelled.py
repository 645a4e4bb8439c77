"""Shares of a sample from its calls and labels of a few particles in each micrograph, without error rates of other samples.

What the calls say of all particles of a micrograph is corrected by what its labelled particles, drawn at random, say of the
calls, to the part that makes the variance smallest (A. N. Angelopoulos, J. C. Duchi, T. Zrnic, arXiv:2311.01453). Micrographs
are the units.
"""

import numpy as np
import pandas as pd

from temlib.assay.inversion import PSEUDO_COUNT, inverted, projected
from temlib.assay.prevalence import TOLERANCE, Shares, call_of, checked, of_sample, require
from temlib.files import InputError, natural


def labelled_shares(calls, labels):
    """Return the `Shares` of a sample by prediction-powered inference.

    Parameters
    ----------
    calls, labels : DataFrame
        See `temlib.assay.prevalence`. A class that only labels have, as "uncertain", has a share of its own.

    Returns
    -------
    Shares
        The table has `class, share, low, high, solved, clipped, counted` as that of `Correction.shares`, `labelled` (the share
        among the labels, micrographs weighted by their particles), `n, micrographs, labels, method`.

    Raises
    ------
    InputError
        A micrograph with particles has no labelled one, or a labelled one is not among the calls.
    """
    require(labels, "labels", ["particle", "micrograph", "truth", "predicted"])
    labels = labels[labels["truth"].notna() & (labels["truth"] != "")]
    classes = checked(calls, "calls", ["micrograph"])[1]
    counts, _, micrographs = of_sample(calls, classes)
    counts = counts.mean(axis=0)
    truth = labels["truth"].astype(str)
    truths = [*classes, *sorted({*truth} - {*classes}, key=natural)]
    counts = np.pad(counts[:, :-1], ((0, 0), (0, len(truths) - len(classes)))), counts.sum(axis=1)
    unit = pd.Index(micrographs).get_indexer(labels["micrograph"].astype(str))
    if (unit < 0).any():
        name = labels["micrograph"][unit < 0].iloc[0]
        raise InputError(f"The labels name the micrograph {name!r}, which the calls lack.")
    # A particle's calls by several models are averaged.
    key = [unit, labels["particle"].astype(str).to_numpy()]
    given = (column.to_numpy()[:, None] == np.array(truths) for column in (truth, call_of(labels)))
    y, f = (pd.DataFrame(one.astype(float)).groupby(key).mean() for one in given)
    unit = y.index.get_level_values(0)
    bare = [micrographs[i] for i in np.flatnonzero(counts[1]) if i not in unit]
    if bare:
        raise InputError(
            f"The micrograph {bare[0]!r} has no labelled particle: label some in each, drawn at random."
        )
    value, low, high, df = powered(*counts, unit, y.to_numpy(), f.to_numpy())
    method = f"prediction-powered by micrograph, t quantile with {df:.1f} df"
    if np.count_nonzero(counts[1]) < 2:
        low = high = np.nan
        method = "no interval: one micrograph"
    table = pd.DataFrame(
        {"class": truths, "share": projected(value), "low": low, "high": high, "solved": value}
    )
    table = table.assign(
        clipped=np.abs(value - table["share"]) > TOLERANCE,
        counted=counts[0].sum(axis=0) / counts[1].sum(),
        labelled=counts[1] @ _means(y.to_numpy(), unit, len(micrographs)) / counts[1].sum(),
        n=round(counts[1].sum()),
        micrographs=len(micrographs),
        labels=len(y),
        method=method,
    )
    return Shares(table, [])


def _means(values, unit, units):
    """Return the means (units, classes) of values (n, classes), 0 where a unit has none."""
    sums = np.column_stack([np.bincount(unit, column, units) for column in values.T])
    return sums / np.maximum(np.bincount(unit, minlength=units), 1)[:, None]


def powered(calls, particles, unit, truth, called):
    """Return shares (classes,), which may leave [0, 1], the ends of their intervals, and degrees of freedom.

    Parameters
    ----------
    calls : (units, classes) ndarray
        How many particles of each unit are called each class.
    particles : (units,) ndarray
    unit : (n,) ndarray
        The unit, from 0, of each labelled particle; each unit with particles has one.
    truth, called : (n, classes) ndarray
        1 for the class of each labelled particle and that which it is called, else 0.
    """
    units, total, labels = len(particles), particles.sum(), len(unit)
    y, f = (_means(values, unit, units) for values in (truth, called))
    dy, df = truth - y[unit], called - f[unit]
    varied = np.sum(df**2, axis=0) * (1 + labels / total)
    part = np.divide(np.sum(dy * df, axis=0), varied, out=np.zeros_like(varied), where=varied > 0)
    part = np.clip(part, 0, 1)
    inside = particles[:, None] * (y - part * f) + part * calls
    value = inside.sum(axis=0) / total
    counted = np.count_nonzero(particles)
    moved = (inside - particles[:, None] * value) / total
    clustered = np.sum(moved**2, axis=0) * counted / max(counted - 1, 1)
    # As if particles were independent, with a pseudo-count: micrographs seldom make a variance smaller.
    rest = np.var(truth - part * called, axis=0) + PSEUDO_COUNT / labels
    number = np.bincount(unit, minlength=units)
    variance = np.maximum(clustered, rest * np.sum(particles**2 / np.maximum(number, 1)) / total**2)
    freedom = max(total**2 / np.sum(particles**2) - 1, 1)
    nearest = projected(value)
    seen = nearest * (1 - nearest) + PSEUDO_COUNT / labels

    def errors_at(x):
        # As in Wilson's interval, the binomial variance is that of the hypothesis where this is larger.
        return variance[:, None] * np.maximum(1, x * (1 - x) / seen[:, None]), np.full(x.shape, freedom)

    return value, *inverted(value, nearest, errors_at), freedom
