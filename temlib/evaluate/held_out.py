"""The predictions table as arrays: checked once; the held-out particles of each model, each counted once.

The probabilities of repeated rows (several seeds, repeated cross-validation) are averaged. Rows of role "unsure" are of
particles that people could not tell: their truth is no class, and they are never measured. Without `role` every row is
held out; without `micrograph`, or where each micrograph has one particle, particles are the units.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from temlib.files import InputError, natural

# A float32 softmax over tens of classes, written with six digits, sums to 1 within this.
SUM_TOLERANCE = 1e-3
REQUIRED = ("particle", "model", "truth", "predicted")


@dataclass(frozen=True)
class HeldOut:
    """The test particles of one model, each once, as arrays."""

    classes: list  # of str, in the order of the probabilities
    particle: np.ndarray  # (n,) names
    micrograph: np.ndarray  # (n,) codes from 0
    independent: bool  # particles, not micrographs, are the units
    truth: np.ndarray  # (n,) positions in the classes
    predicted: np.ndarray  # (n,)
    probabilities: np.ndarray  # (n, classes), NaN where unknown
    notes: tuple = ()  # sentences on what was left out or averaged

    @property
    def micrographs(self):
        """How many micrographs there are."""
        return int(self.micrograph.max()) + 1

    @property
    def unit(self):
        """What is resampled or exchanged as a whole (n,), from 0: the micrograph, or the particle where independent."""
        return np.arange(len(self.truth)) if self.independent else self.micrograph

    @property
    def units(self):
        """How many units there are."""
        return int(self.unit.max()) + 1

    def sums(self, columns):
        """Return the sums (units, K) of columns (n, K) over the particles of each unit."""
        unit, units = self.unit, self.units
        return np.column_stack([np.bincount(unit, column, units) for column in columns.T])

    @property
    def confidence(self):
        """The probability of the predicted class (n,)."""
        return self.probabilities[np.arange(len(self.truth)), self.predicted]

    @property
    def unusable(self):
        """Why probabilities give no order of the particles, and why they are no probabilities; "" where they are."""
        unknown = int(np.isnan(self.probabilities).any(axis=1).sum())
        if unknown:
            reason = f"undefined: {unknown} of {len(self.truth)} particles have no probability of every class"
            return reason, reason
        wrong = int(np.count_nonzero(no_probabilities(self.probabilities)))
        share = f"{wrong} of {len(self.truth)}"
        return "", f"undefined: the probabilities of {share} particles do not sum to 1" if wrong else ""

    def take(self, rows):
        """Return the particles at the positions `rows`."""
        names = ("particle", "micrograph", "truth", "predicted", "probabilities")
        columns = {name: getattr(self, name)[rows] for name in names}
        columns["micrograph"] = np.unique(columns["micrograph"], return_inverse=True)[1]
        return replace(self, **columns)


class Rows:
    """A predictions table as arrays, all rows of it, and the held-out particles of each model."""

    def __init__(self, table):
        self.table, self.classes = table, classes_of(table)
        self.probabilities = probability_columns(table, self.classes)  # (n, classes), NaN where unknown
        self.truth = label_codes(table["truth"], self.classes)  # (n,), -1 where unknown
        self.test, self.unsure = (_has_role(table, role).to_numpy() for role in ("test", "unsure"))
        self.models = by_model(table, self.classes)  # dict of str to HeldOut
        self.aside = by_model(table, self.classes, role="unsure")  # the same, with a truth of -1

    @property
    def micrographs(self):
        """The micrograph of each particle, a Series by particle; empty where none is known."""
        about = self.table.drop_duplicates("particle").set_index("particle")
        return about.get("micrograph", pd.Series(dtype=object))


def _has_role(table, role):
    """Return which rows have a role."""
    return table["role"] == role if "role" in table else pd.Series(role == "test", table.index)


def no_probabilities(p):
    """Return which rows of p (n, classes) are negative or do not sum to 1."""
    return (p < 0).any(axis=1) | (np.abs(p.sum(axis=1) - 1) > SUM_TOLERANCE)


def classes_of(table):
    """Return the classes: those of the p_ columns in their order, then any other label, sorted."""
    missing = [column for column in REQUIRED if column not in table.columns]
    if missing:
        raise InputError(
            f"The predictions lack the column {missing[0]!r} (they have {', '.join(map(str, table))}): "
            "a row is particle, micrograph, model, fold, role, truth, predicted, p_<class>."
        )
    named = [column[2:] for column in table.columns if column.startswith("p_")]
    truth = table["truth"][~_has_role(table, "unsure")]
    labels = set(truth.dropna().unique()) | set(table["predicted"].dropna().unique())
    return named + sorted({str(label) for label in labels} - {*named, ""}, key=natural)


def by_model(table, classes, *, role="test"):
    """Return the `HeldOut` of each model, in the order in which the models occur."""
    rows = table[_has_role(table, role) & _filled(table["truth"])]
    if rows.empty and role == "test":
        raise InputError("The predictions hold no labelled row of role 'test': only those are measured.")
    # A particle of unknown micrograph is a unit of its own.
    own = "particle " + rows["particle"].astype(str)
    known = rows.get("micrograph", pd.Series(np.nan, rows.index)).astype(object)
    rows = rows.assign(micrograph=known.where(_filled(known), own))
    _refuse_contradictions(rows)
    independent = rows["micrograph"].nunique() == rows["particle"].nunique()
    return {str(m): _of_model(part, classes, independent) for m, part in rows.groupby("model", sort=False)}


def _filled(column):
    """Return which values are neither missing nor empty text."""
    return column.notna() & (column.astype(str) != "")


def _refuse_contradictions(rows):
    """Refuse a particle that has two truths or two micrographs, in one model or between models."""
    particle = rows["particle"]
    for column in ("truth", "micrograph"):
        values = rows[column].astype(str)
        wrong = particle[values != values.groupby(particle, dropna=False).transform("first")]
        if len(wrong):
            raise InputError(
                f"The particle {wrong.iloc[0]!r} has two values of {column!r} in the predictions: "
                "a particle name must stand for one particle in every row."
            )


def _of_model(rows, classes, independent):
    """Return the `HeldOut` of one model's labelled test rows."""
    given, notes = _filled(rows["predicted"]), []
    if not given.any():
        raise InputError(
            f"The model {rows['model'].iloc[0]!r} predicts no class on any labelled test row: "
            "fill its column 'predicted' or leave the model out."
        )
    if not given.all():
        notes.append(f"{int((~given).sum())} rows without a predicted class are left out")
        rows = rows[given]
    truth, predicted = (label_codes(rows[column], classes) for column in ("truth", "predicted"))
    probabilities = probability_columns(rows, classes)
    micrograph = pd.factorize(rows["micrograph"])[0]
    particle = rows["particle"].to_numpy()
    which = pd.factorize(rows["particle"])[0]
    first = np.unique(which, return_index=True)[1]
    if len(first) < len(which):
        notes.append(f"the repeated rows of {int((np.bincount(which) > 1).sum())} particles are averaged")
        predicted, probabilities = _averaged(which, first, predicted, probabilities)
        particle, micrograph, truth = particle[first], micrograph[first], truth[first]
    return HeldOut(classes, particle, micrograph, independent, truth, predicted, probabilities, tuple(notes))


def label_codes(column, classes):
    """Return the position in `classes` of each label of a column, -1 for a missing or unknown one."""
    codes = pd.Index(classes, dtype=object).get_indexer(column.astype(str).astype(object))
    return np.where(column.notna(), codes, -1)


def probability_columns(table, classes):
    """Return the p_ columns (n, classes), NaN where a column is missing."""
    unknown = np.full(len(table), np.nan)
    return np.column_stack([table.get(f"p_{c}", unknown) for c in classes]).astype(float)


def _averaged(which, first, predicted, probabilities):
    """Return predictions (particles,) and probabilities (particles, classes) averaged over repeated rows.

    The prediction is the class of the largest mean probability, or without probabilities the most frequent one, among
    equals that of the first row. A particle that occurs once keeps its own.
    """
    rows, size = np.bincount(which), probabilities.shape[1]
    mean = np.column_stack([np.bincount(which, column) for column in probabilities.T]) / rows[:, None]
    votes = np.bincount(which * size + predicted, minlength=len(first) * size).reshape(-1, size).astype(float)
    votes[np.arange(len(first)), predicted[first]] += 0.5
    known = ~np.isnan(mean).any(axis=1)
    likeliest = np.argmax(np.nan_to_num(mean), axis=1)
    return np.where(known & (rows > 1), likeliest, np.argmax(votes, axis=1)), mean
