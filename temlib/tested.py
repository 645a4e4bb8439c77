"""The held-out particles of each model, each counted once, as arrays.

Rows of the predictions table (see docs/architecture.md) count when their `role` is "test" and their truth is
known. A particle counts once for a model: the probabilities of repeated rows (several seeds, repeated
cross-validation) are averaged first.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from temlib import intervals
from temlib.files import InputError

REQUIRED = ("particle", "model", "truth", "predicted")


def _require_columns(predictions):
    """Refuse predictions that lack a column without which nothing can be measured."""
    missing = [column for column in REQUIRED if column not in predictions.columns]
    if missing:
        raise InputError(
            f"The predictions lack the column {missing[0]!r} (they have {', '.join(map(str, predictions))}): "
            "a row is particle, micrograph, model, fold, role, truth, predicted, p_<class>."
        )


def classes_of(predictions):
    """Return the class names of a predictions table.

    Parameters
    ----------
    predictions : DataFrame

    Returns
    -------
    list of str
        Those of the p_ columns in their order, then any other label of `truth` or `predicted`, sorted.
    """
    _require_columns(predictions)
    named = [column[2:] for column in predictions.columns if column.startswith("p_")]
    labels = set(predictions["truth"].dropna().unique()) | set(predictions["predicted"].dropna().unique())
    return named + sorted(str(label) for label in labels if str(label) not in named and str(label) != "")


@dataclass(frozen=True)
class Units:
    """What is resampled or exchanged as a whole: micrographs, or particles where those are independent."""

    code: np.ndarray  # (n,) of each particle, from 0

    @property
    def number(self):
        """How many units there are."""
        return int(self.code.max()) + 1

    @property
    def spread(self):
        """The factor sqrt(units / (units - 1)) of influences; NaN for one unit."""
        return intervals.spread(self.number)

    def sums(self, columns):
        """Return the sums (units, K) of columns (n, K) over the particles of each unit."""
        return np.column_stack([np.bincount(self.code, column, self.number) for column in columns.T])


@dataclass(frozen=True)
class HeldOut:
    """The test particles of one model, each once, as arrays."""

    particle: np.ndarray  # (n,) names
    micrograph: np.ndarray  # (n,) codes from 0
    independent: bool  # particles, not micrographs, are the units
    truth: np.ndarray  # (n,) positions in the classes
    predicted: np.ndarray  # (n,)
    probabilities: np.ndarray  # (n, classes), NaN where unknown
    notes: tuple  # sentences on what was left out or averaged

    @property
    def units(self):
        """The micrographs, or the particles where those are independent."""
        return Units(np.arange(len(self.truth)) if self.independent else self.micrograph)

    def take(self, rows):
        """Return the particles at the positions `rows`."""
        micrograph = np.unique(self.micrograph[rows], return_inverse=True)[1]
        columns = (self.truth, self.predicted, self.probabilities)
        return HeldOut(
            self.particle[rows], micrograph, self.independent, *(c[rows] for c in columns), self.notes
        )


def by_model(predictions, classes):
    """Return the held-out particles of each model.

    Parameters
    ----------
    predictions : DataFrame
        Columns particle, model, truth, predicted, and optionally micrograph, role, p_<class>. Without `role`
        every row is held out. Without `micrograph`, or where each has one particle, particles are the units.
    classes : list of str

    Returns
    -------
    dict of str to HeldOut
        In the order in which the models occur.

    Raises
    ------
    InputError
        A missing column, a label that is no class, a particle with two truths, no row that counts.
    """
    _require_columns(predictions)
    rows = predictions[predictions["role"] == "test"] if "role" in predictions.columns else predictions
    rows = rows[_filled(rows["truth"])]
    if rows.empty:
        raise InputError("The predictions hold no labelled row of role 'test': only those are measured.")
    rows = rows.assign(micrograph=_micrographs(rows))
    _refuse_contradictions(rows)
    independent = rows["micrograph"].nunique() == rows["particle"].nunique()
    return {str(m): _of_model(part, classes, independent) for m, part in rows.groupby("model", sort=False)}


def _filled(column):
    """Return which values are neither missing nor empty text."""
    return column.notna() & (column.astype(str) != "")


def _micrographs(rows):
    """Return the micrograph of each row; a particle of unknown micrograph is a unit of its own."""
    own = "particle " + rows["particle"].astype(str)
    if "micrograph" not in rows.columns:
        return own.astype(object)
    return rows["micrograph"].astype(object).where(_filled(rows["micrograph"]), own)


def _refuse_contradictions(rows):
    """Refuse a particle that has two truths or two micrographs, in one model or between models."""
    which, names = pd.factorize(rows["particle"])
    first = np.unique(which, return_index=True)[1]
    for column in ("truth", "micrograph"):
        codes = pd.factorize(rows[column].astype(str))[0]
        wrong = np.flatnonzero(codes != codes[first][which])
        if len(wrong):
            raise InputError(
                f"The particle {names[which[wrong[0]]]!r} has two values of {column!r} in the predictions: "
                "a particle name must stand for one particle in every row."
            )


def _of_model(rows, classes, independent):
    """Return the `HeldOut` of one model's labelled test rows."""
    notes = []
    called = _filled(rows["predicted"])
    if not called.any():
        raise InputError(
            f"The model {rows['model'].iloc[0]!r} has no call on any labelled test row: "
            "fill its column 'predicted' or leave the model out."
        )
    if not called.all():
        notes.append(f"{int((~called).sum())} rows without a call are left out")
        rows = rows[called]
    truth, predicted = (_codes(rows, column, classes) for column in ("truth", "predicted"))
    probabilities = probability_columns(rows, classes)
    micrograph = pd.factorize(rows["micrograph"])[0]
    particle = rows["particle"].to_numpy()
    which = pd.factorize(rows["particle"])[0]
    first = np.unique(which, return_index=True)[1]
    if len(first) < len(which):
        notes.append(f"the repeated rows of {int((np.bincount(which) > 1).sum())} particles are averaged")
        predicted, probabilities = _averaged(which, first, predicted, probabilities)
        particle, micrograph, truth = particle[first], micrograph[first], truth[first]
    return HeldOut(particle, micrograph, independent, truth, predicted, probabilities, tuple(notes))


def label_codes(column, classes):
    """Return the position in `classes` of each label of a column, -1 for a missing or unknown one."""
    return pd.Index(classes, dtype=object).get_indexer(column.astype(str).astype(object))


def _codes(rows, column, classes):
    """Return the position in `classes` of each label of a column."""
    codes = label_codes(rows[column], classes)
    if (codes < 0).any():
        raise InputError(
            f"The column {column!r} holds {rows[column].iloc[int(np.argmin(codes))]!r}, which is none of the "
            f"classes {', '.join(classes)}: correct the label or name the class."
        )
    return codes


def probability_columns(predictions, classes):
    """Return the p_ columns (n, classes), NaN where a column is missing."""
    unknown = np.full(len(predictions), np.nan)
    columns = [predictions[f"p_{c}"] if f"p_{c}" in predictions.columns else unknown for c in classes]
    return np.column_stack(columns).astype(float)


def _averaged(which, first, predicted, probabilities):
    """Return calls (particles,) and probabilities (particles, classes) averaged over repeated rows.

    The call is the class of the largest mean probability; without probabilities it is the most frequent
    call, among equals that of the first row. A particle that occurs once keeps its call.
    """
    rows = np.bincount(which)
    size = probabilities.shape[1]
    mean = np.column_stack([np.bincount(which, column) for column in probabilities.T]) / rows[:, None]
    votes = np.bincount(which * size + predicted, minlength=len(first) * size).reshape(-1, size).astype(float)
    votes[np.arange(len(first)), predicted[first]] += 0.5
    known = ~np.isnan(mean).any(axis=1)
    called = np.where(known & (rows > 1), np.argmax(np.nan_to_num(mean), axis=1), np.argmax(votes, axis=1))
    return called, mean
