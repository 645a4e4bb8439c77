"""Validation of an assay by known mixtures, in the words of ICH Q2(R2): specificity, range, accuracy, precision; robustness of Q14.

Labelled particles that a bundle did not learn from are mixed to known shares within each micrograph, and each mixture is assayed
as a new sample. Whole micrographs are the units of all intervals, or their sessions where three or more are known. The
intervals are 95 % t intervals over the units; the spread of single micrographs has chi-squared ones. The error rates' own
uncertainty is not in them: what they do to the shares is what is validated, for this bundle and particles such as these.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from temlib.assay.inversion import FEWEST_SESSIONS, TAIL, Measured, contrasts
from temlib.assay.prevalence import calls
from temlib.assay.sample import correction, predicted
from temlib.evaluate import decided, demanded, with_interval
from temlib.files import InputError, listed, nearest, shown

# Five, as ICH Q2(R2) asks of a response at least.
LEVELS = (0.0, 0.1, 0.5, 0.9, 1.0)
# The share at which precision is told: what one class varies and what the other does are both in it.
MIDDLE = 0.5
# Columns of the particles by which robustness is told, where they are there and vary between micrographs.
CONDITIONS = ("pixel_size_nm", "truth_defocus_um", "truth_dose_e_per_A2", "truth_ice_nm")
# What may be demanded: a deviation counts by its size, whatever its sign.
DEMANDS = (
    "specificity",
    "slope - 1",
    "intercept",
    "bias",
    "lowest share",
    "repeatability",
    "intermediate precision",
)


@dataclass(frozen=True)
class Validation:
    """Tables of a validation; made by `validate`.

    Attributes
    ----------
    specificity : DataFrame
        `truth, called, rate, low, high, held_out, n`: how labelled particles of each class are called, and how those were from
        which the correction comes.
    response : DataFrame
        `class, level` (the share asked for), `truth` (as whole particles give it), `share, low, high` (as an assay tells them),
        `counted, n, micrographs`.
    results : DataFrame
        `class, measure, value, low, high`: "slope - 1" and "intercept" of estimated against mixed shares; "bias" (mean over the levels);
        "lowest share" (the smallest mixed one, from 0 on, above which all intervals begin above 0); "repeatability" and "intermediate
        precision" (standard deviations of single micrographs at a share of 50 %, within and between sessions).
    robustness : DataFrame
        `class, condition, stratum, bias, low, high, micrographs`: micrographs below and above the median of a condition.
    criteria : DataFrame
        `criterion, result, verdict`: met, not met or undecided by the interval.
    """

    specificity: pd.DataFrame
    response: pd.DataFrame
    results: pd.DataFrame
    robustness: pd.DataFrame
    criteria: pd.DataFrame


def validate(bundle, particles, *, levels=LEVELS, accept=None, seed=0):
    """Return the `Validation` of a bundle by labelled particles that it did not learn from.

    Parameters
    ----------
    bundle : train.Bundle
    particles : data.Particles
        As `bundle.open` prepares them, all with a label of the bundle's task that is one of its classes.
    levels : sequence of float
        Shares that are mixed of each class, in [0, 1]; of the others particles are drawn at random. Each micrograph gives as many
        particles as the share allows. Mixtures share particles, so their results are no replicates of each other.
    accept : dict of str to str
        What is demanded, declared beforehand: `specificity`, `slope - 1`, `intercept`, `bias`, `lowest share`, `repeatability` or
        `intermediate precision`, such as `{"bias": "<= 5 %", "specificity": ">= 80 %"}`, of each class. A deviation of either sign
        counts.
    seed : int

    Raises
    ------
    InputError
        A particle without a label of a class, a class without a particle, one that was learnt from, fewer than two micrographs, or what
        is no demand.
    """
    demands, correct = _demands(accept or {}), correction(bundle)
    labels = particles.table[bundle.card["task"]]
    if {*labels} != {*correct.classes}:
        needed = "each particle needs a label of a class, and each class a particle"
        raise InputError(
            f"Validation: {needed} ({listed(correct.classes)}); take out those that are not labelled."
        )
    if bundle.met(particles).any():
        raise InputError("Validation: the bundle learnt from some of these particles; leave them out.")
    if len({*levels}) < 2 or not all(0 <= level <= 1 for level in levels):
        raise InputError(
            f"Validation: levels are two or more shares between 0 and 1; received {listed(levels)}."
        )
    if particles.table["micrograph"].nunique() < 2:
        raise InputError(
            "Validation: all particles are of one micrograph; the units are micrographs, give more."
        )
    rng, rows, response, (_, every) = np.random.default_rng(seed), [], [], predicted(bundle, particles)
    for name in correct.classes[1:] if len(correct.classes) == 2 else correct.classes:
        for level in levels:
            mixed = particles.rows(mixture(labels, particles.table["micrograph"], name, level, rng))
            told, single = _assayed(_called(bundle, every, mixed), bundle.card["task"], correct, mixed, name)
            response.append({"class": name, "level": level} | told)
            rows.append(single.assign(**{"class": name, "level": level}))
    single, response = pd.concat(rows, ignore_index=True), pd.DataFrame(response)
    specificity = _specificity(every, correct, particles.table.set_index("particle")[bundle.card["task"]])
    results = pd.concat([summarised(part, name) for name, part in single.groupby("class", sort=False)])
    results = pd.concat([results, lowest(response)], ignore_index=True)
    return Validation(
        specificity, response, results, robustness(single), _criteria(demands, results, specificity)
    )


def validated(sample, *, seed=0):
    """Return the `Validation` by an `assay.Sample` whose particles all have a label of a class; else one of empty tables."""
    labels = sample.particles.table.get(sample.bundle.card["task"], pd.Series([None]))
    known = {*labels} == {*sample.correction.classes} and sample.table["micrograph"].nunique() > 1
    if not known or sample.bundle.met(sample.particles).any():
        return Validation(*5 * [pd.DataFrame()])
    return validate(sample.bundle, sample.particles, seed=seed)


def mixture(labels, micrographs, name, share, rng):
    """Return the rows of as many particles as have the share of a class in each micrograph, both drawn at random.

    A micrograph that lacks what the share needs gives none.
    """
    kept, labels, micrographs = [], np.asarray(labels), np.asarray(micrographs)
    for micrograph in dict.fromkeys(micrographs):
        own, others = (
            np.flatnonzero((micrographs == micrograph) & is_it) for is_it in (labels == name, labels != name)
        )
        most = min(len(part) / rest if rest else np.inf for part, rest in ((own, share), (others, 1 - share)))
        for part, rest in ((own, share), (others, 1 - share)):
            kept.append(rng.permutation(part)[: round(most * rest)])
    return np.sort(np.concatenate(kept))


def _called(bundle, every, mixed):
    """Return what is called of a mixture: as of all particles, but where calls depend on what else lies in a micrograph."""
    if bundle.card.get("alone"):
        return every[every["particle"].isin(mixed.table["particle"])]
    return predicted(bundle, mixed)[1]


def _assayed(found, task, correct, particles, name):
    """Return what an assay tells of the share of a class, and a row for each micrograph: what it adds, and its conditions."""
    counted, table, sessions = calls(found), particles.table, particles.sessions
    if sessions is not None:
        counted["session"] = counted["micrograph"].map(sessions)
    told = correct.shares(counted).table.set_index("class").loc[name]
    counts = correct.counts(counted)
    solved = counts @ contrasts(correct.errors.shares)[correct.truths.index(name)] / counts.sum(axis=1)
    groups = table.groupby("micrograph")
    conditions = groups[[c for c in CONDITIONS if c in table]].mean()
    truth = (table[task] == name).groupby(table["micrograph"]).mean()
    single = pd.DataFrame(
        {"micrograph": counted["micrograph"].drop_duplicates().to_numpy(), "solved": solved}
    )
    single["n"], single["truth"] = single["micrograph"].map(groups.size()), single["micrograph"].map(truth)
    single["session"] = "" if sessions is None else single["micrograph"].map(sessions)
    told = told[["share", "low", "high", "counted", "n", "micrographs"]].to_dict()
    told["truth"] = np.average(truth, weights=groups.size())
    return told, single.join(conditions, on="micrograph")


def _specificity(found, correct, truth):
    """Return how the particles of each class are called, with intervals by micrograph, and how the held-out ones were."""
    models = found["fold"].nunique()
    found = found.assign(truth=found["particle"].map(truth))
    wide = found.groupby(["micrograph", "truth", "predicted"]).size().unstack(fill_value=0)
    wide = wide.reindex(columns=correct.classes, fill_value=0)
    names = pd.MultiIndex.from_product([wide.index.levels[0], correct.classes])
    counts = wide.reindex(names, fill_value=0).to_numpy(float).reshape(-1, *2 * [len(correct.classes)])
    here = Measured(counts[None] / models)
    spread = np.sqrt(here.variance(np.eye(len(correct.classes)))).T  # (truths, called)
    half = stats.t.isf(TAIL, here.units - 1)[:, None] * spread
    rows = [
        (truth, called, here.shares[i, j], *np.clip(here.shares[i, j] + half[i, j] * np.array([-1, 1]), 0, 1))
        + (correct.errors.shares[i, j], int(counts[:, i].sum() / models))
        for i, truth in enumerate(correct.classes)
        for j, called in enumerate(correct.classes)
    ]
    return pd.DataFrame(rows, columns=["truth", "called", "rate", "low", "high", "held_out", "n"])


def units(single):
    """Return the unit of each row of single results: its session where there are enough, else its micrograph."""
    enough = single["session"].nunique() >= FEWEST_SESSIONS
    return single["session"] if enough else single["micrograph"]


def clustered(columns, values, weights, unit):
    """Return the coefficients of a weighted linear fit, with the ends of their intervals, (3, coefficients), over whole units."""
    x, weights = np.stack(columns, axis=1), np.asarray(weights, float)[:, None]
    inverse = np.linalg.inv(x.T @ (weights * x))
    found = inverse @ x.T @ (weights[:, 0] * values)
    scores = (
        pd.DataFrame(weights * x * (values - x @ found)[:, None]).groupby(np.asarray(unit)).sum().to_numpy()
        @ inverse
    )
    number = len(scores)
    half = stats.t.isf(TAIL, number - 1) * np.sqrt(number / (number - 1) * np.sum(scores**2, axis=0))
    return np.stack([found, found - half, found + half])


def summarised(single, name):
    """Return the rows of `Validation.results` of single results of one class: `micrograph, session, level, n, truth, solved`."""
    unit, ones = units(single), np.ones(len(single))
    truth, solved, n = (single[column].to_numpy(float) for column in ("truth", "solved", "n"))
    line = clustered([ones, truth], solved, n, unit)
    rows = [("slope - 1", *(line[:, 1] - 1)), ("intercept", *line[:, 0])]
    rows.append(("bias", *clustered([ones], solved - truth, n, unit)[:, 0]))
    middle = single[single["level"] == MIDDLE]
    rows += precision((middle["solved"] - middle["truth"]).to_numpy(float), middle["session"].to_numpy())
    return pd.DataFrame(rows, columns=["measure", "value", "low", "high"]).assign(**{"class": name})


def precision(deviations, sessions):
    """Return rows of repeatability and intermediate precision, standard deviations of single micrographs, by analysis of variance."""
    groups = pd.Series(deviations).groupby(sessions)
    count, number = len(deviations), groups.ngroups
    df = count - number
    if df < 1:
        return []
    within = float(np.sum((deviations - groups.transform("mean").to_numpy()) ** 2) / df)
    rows = [("repeatability", *_spread(within, df))]
    if number > 1:
        each = (count - np.sum(groups.size() ** 2) / count) / (number - 1)
        between = float(np.sum(groups.size() * (groups.mean() - deviations.mean()) ** 2) / (number - 1))
        parts = max(between, within) / each, (1 - 1 / each) * within
        total = sum(parts)
        df = total**2 / (parts[0] ** 2 / (number - 1) + parts[1] ** 2 / df) if total else df
        rows.append(("intermediate precision", *_spread(total, df)))
    return rows


def _spread(variance, df):
    """Return a standard deviation and the ends of its interval."""
    return np.sqrt(variance * np.array([1, df / stats.chi2.isf(TAIL, df), df / stats.chi2.ppf(TAIL, df)]))


def lowest(response):
    """Return for each class the lowest mixed share from which on all intervals begin above 0; it has no interval."""
    rows = []
    for name, part in response[response["level"] > 0].sort_values("level").groupby("class", sort=False):
        told = (part["low"] > 0)[::-1].cummin()
        rows.append((name, "lowest share", *3 * [part["level"][told[told].index].min()]))
    return pd.DataFrame(rows, columns=["class", "measure", "value", "low", "high"])


def robustness(single):
    """Return the bias in the micrographs below and above the median of each condition that varies."""
    rows = []
    for name, part in single.groupby("class", sort=False):
        for condition in part.columns.intersection(CONDITIONS):
            middle = part.groupby("micrograph")[condition].first().median()
            above = part[condition] > middle
            for stratum, some in (
                (f"up to {middle:.3g}", part[~above]),
                (f"above {middle:.3g}", part[above]),
            ):
                number = some["micrograph"].nunique()
                if above.any() and number > 1:
                    off = (some["solved"] - some["truth"]).to_numpy(float)
                    found = clustered([np.ones(len(some))], off, some["n"], some["micrograph"])[:, 0]
                    rows.append((name, condition, stratum, *found, number))
    return pd.DataFrame(rows, columns=["class", "condition", "stratum", "bias", "low", "high", "micrographs"])


def _demands(accept):
    """Return {measure: (criterion, least, limit)} of what is demanded; refuse what is no measure or no demand."""
    for name in accept:
        if name not in DEMANDS:
            raise InputError(
                f"accept: {shown(name)!r} is nothing that a validation tells{nearest(name, DEMANDS)}; it tells {', '.join(DEMANDS)}."
            )
    return {name: demanded(name, demand) for name, demand in accept.items()}


def _criteria(demands, results, specificity):
    """Return criterion, result and verdict of what was demanded."""
    right = specificity[specificity["truth"] == specificity["called"]]
    right = right.rename(columns={"rate": "value", "truth": "class"}).assign(measure="specificity")
    every, rows = pd.concat([results, right], ignore_index=True), []
    for measure, (criterion, least, limit) in demands.items():
        own = every[every["measure"] == measure]
        if own.empty:
            rows.append((criterion, "not told by these particles", "undecided"))
        for _, row in own.iterrows():
            size = row
            if row["low"] < 0:  # of a deviation its size
                size = {"low": max(0.0, -row["high"]), "high": max(-row["low"], row["high"])}
            verdict = "undecided" if pd.isna(row["value"]) else decided(size, least, limit)
            rows.append((f"{criterion}, {row['class']}", with_interval(row, "{:.3f}".format), verdict))
    return pd.DataFrame(rows, columns=["criterion", "result", "verdict"])
