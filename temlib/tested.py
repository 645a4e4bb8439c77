"""The held-out particles of each model, each counted once, as arrays.

Rows of the predictions table (see docs/architecture.md) count when their `role` is "test" and their truth is known. A
particle counts once for a model: the probabilities of repeated rows (several seeds, repeated cross-validation) are
averaged first.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from temlib import intervals
from temlib.files import InputError

REQUIRED = ("particle", "model", "truth", "predicted")


def classes_of(predictions):
    """Return the class names: those of the p_ columns in their order, then any other label, sorted."""
    named = [column[2:] for column in predictions.columns if column.startswith("p_")]
    labels = set(predictions["truth"].dropna()) | set(predictions["predicted"].dropna())
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
class Tested:
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
        return Tested(
            self.particle[rows], micrograph, self.independent, *(c[rows] for c in columns), self.notes
        )


def by_model(predictions, classes):
    """Return the held-out particles of each model.

    Parameters
    ----------
    predictions : DataFrame
        Columns particle, model, truth, predicted, and optionally micrograph, role, p_<class>. Without `role` every row is
        held out. Without `micrograph`, or where each has one particle, particles are the units.
    classes : list of str

    Returns
    -------
    dict of str to Tested
        In the order in which the models occur.

    Raises
    ------
    InputError
        A missing column, a label that is no class, a particle with two truths, no row that counts.
    """
    missing = [column for column in REQUIRED if column not in predictions.columns]
    if missing:
        raise InputError(
            f"The predictions lack the column {missing[0]!r} (they have {', '.join(map(str, predictions.columns))}): "
            f"a row is particle, micrograph, model, fold, role, truth, predicted, p_<class>."
        )
    rows = predictions if "role" not in predictions.columns else predictions[predictions["role"] == "test"]
    labelled = rows["truth"].notna() & (rows["truth"].astype(str) != "")
    rows = rows[labelled]
    if rows.empty:
        raise InputError("The predictions hold no labelled row of role 'test': only those are measured.")
    units = rows["micrograph"] if "micrograph" in rows.columns else pd.Series(pd.NA, index=rows.index)
    # A particle of unknown micrograph is a unit of its own.
    own = "particle " + rows["particle"].astype(str)
    units = units.astype(object).where(units.notna() & (units.astype(str) != ""), own)
    rows = rows.assign(micrograph=units)
    independent = rows["micrograph"].nunique() == rows["particle"].nunique()
    return {str(m): _of_model(part, classes, independent) for m, part in rows.groupby("model", sort=False)}


def _of_model(rows, classes, independent):
    """Return the `Tested` of one model's labelled test rows."""
    notes = []
    uncalled = int((rows["predicted"].isna() | (rows["predicted"].astype(str) == "")).sum())
    if uncalled:
        notes.append(f"{uncalled} rows without a call are left out")
        rows = rows[rows["predicted"].notna() & (rows["predicted"].astype(str) != "")]
    truth, predicted = (pd.Categorical(rows[c].astype(str), classes).codes for c in ("truth", "predicted"))
    if (truth < 0).any() or (predicted < 0).any():
        column, codes = ("truth", truth) if (truth < 0).any() else ("predicted", predicted)
        raise InputError(
            f"The column {column!r} holds {rows[column].iloc[np.argmin(codes)]!r}, which is none of the classes "
            f"{', '.join(classes)}: correct the label or name the class."
        )
    probabilities = np.column_stack(
        [
            rows[f"p_{c}"].to_numpy(float) if f"p_{c}" in rows.columns else np.full(len(rows), np.nan)
            for c in classes
        ]
    )
    micrograph = pd.factorize(rows["micrograph"])[0]
    particle = rows["particle"].to_numpy()
    truth, predicted = truth.astype(np.int64), predicted.astype(np.int64)
    if rows["particle"].duplicated().any():
        first, which = _first(particle)
        if (truth != truth[first][which]).any() or (micrograph != micrograph[first][which]).any():
            wrong = particle[(truth != truth[first][which]) | (micrograph != micrograph[first][which])][0]
            raise InputError(
                f"The particle {wrong!r} has two truths or two micrographs: a particle name must stand for one particle."
            )
        notes.append(f"repeated rows of {int((np.bincount(which) > 1).sum())} particles are averaged")
        predicted, probabilities = _averaged(which, predicted, probabilities, len(first))
        particle, micrograph, truth = particle[first], micrograph[first], truth[first]
    return Tested(particle, micrograph, independent, truth, predicted, probabilities, tuple(notes))


def _first(particle):
    """Return where each particle first occurs, and for each row which of those it repeats."""
    which, names = pd.factorize(particle)
    first = np.full(len(names), len(particle))
    np.minimum.at(first, which, np.arange(len(particle)))
    return first, which


def _averaged(which, predicted, probabilities, particles):
    """Return calls and probabilities (particles,), (particles, classes) averaged over repeated rows.

    The call is the class of the largest mean probability; without probabilities it is the most frequent call, and the
    first one among equals.
    """
    size = probabilities.shape[1]
    rows = np.bincount(which, minlength=particles)[:, None]
    votes = np.zeros((particles, size))
    np.add.at(votes, (which, predicted), 1.0)
    # A first call outweighs an equal number of votes only.
    earliest = np.full(particles, len(which))
    np.minimum.at(earliest, which, np.arange(len(which)))
    votes[np.arange(particles), predicted[earliest]] += 0.5
    mean = np.zeros((particles, size))
    np.add.at(mean, which, probabilities)
    mean /= rows
    known = ~np.isnan(mean).any(axis=1)
    called = np.where(known, np.argmax(np.nan_to_num(mean), axis=1), np.argmax(votes, axis=1))
    once = rows[:, 0] == 1
    return np.where(once, predicted[earliest], called), mean
