"""The held-out particles of each model, each counted once, as arrays.

Rows of the predictions table (see docs/architecture.md) count when their `role` is "test" and their truth is
known. A particle counts once for a model: the probabilities of repeated rows (several seeds, repeated
cross-validation) are averaged first.

Predictions of any other software join the comparison: a CSV of particle, predicted, optional p_<class> and model.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from temlib import data
from temlib.evaluate import intervals
from temlib.files import InputError, nearest

# A float32 softmax over tens of classes, written with six digits, sums to 1 within this.
SUM_TOLERANCE = 1e-3


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


def join(predictions, path, *, classes):
    """Return the predictions with another software's rows added, and what must be said about them.

    Parameters
    ----------
    predictions : DataFrame
        temlib's own; from them come each particle's truth, micrograph and fold.
    path : str or Path
        A table as `tables.read` takes it. Columns `particle`, `predicted`, optionally `model` (several may stand in one
        file) and `p_<class>`. An empty string adds nothing.
    classes : list of str

    Returns
    -------
    joined : DataFrame
    notes : list of str
        Sentences: particles missing, unknown, or named twice; calls of no class; probabilities that do not sum to 1.

    Raises
    ------
    InputError
        No such file, a column missing, or no row that can be used.
    """
    if not str(path):
        return predictions, []
    path = Path(path)
    rows = data.read_table(path)
    for column in ("particle", "predicted"):
        if column not in rows:
            hint = nearest(column, list(rows.columns)) or f"; it has {', '.join(rows.columns)}"
            raise InputError(f"{path.name}: there is no column '{column}'{hint}.")
    decimal = rows.attrs.get("decimal", ".")
    known = predictions[predictions["role"] == "test"].drop_duplicates("particle").set_index("particle")
    rows = rows.apply(lambda column: column.str.strip())
    own = set(predictions["model"])
    rows["model"] = rows["model"].replace("", path.stem) if "model" in rows else path.stem
    rows["model"] = [f"{name} ({path.stem})" if name in own else name for name in rows["model"]]
    frames, notes = [], []
    for model, part in rows.groupby("model", sort=False):
        kept, said = _usable(part, known, classes)
        p, words = _probabilities(kept, classes, decimal)
        notes += [f"{model} ({path.name}): {sentence}." for sentence in said + words]
        about = known.loc[kept["particle"], ["micrograph", "fold", "truth"]].reset_index()
        frames.append(
            pd.concat(
                [about.assign(role="test", model=model, predicted=kept["predicted"].to_numpy()), p], axis=1
            )
        )
    if not any(len(frame) for frame in frames):
        raise InputError(
            f"{path.name}: no row names a held-out particle of this run and one of {', '.join(classes)}."
        )
    return pd.concat([predictions, *(frame for frame in frames if len(frame))], ignore_index=True), notes


def _usable(rows, known, classes):
    """Return the rows that count, each particle once and called one of the classes, and what was left out."""
    said = []
    outside = ~rows["particle"].isin(known.index)
    if outside.any():
        said.append(
            f"{_count(outside)} held-out particle of this run (such as {rows['particle'][outside].iloc[0]!r}) and left out"
        )
    rows = rows[~outside]
    twice = rows.duplicated("particle")
    if twice.any():
        said.append(
            f"{_count(twice, 'repeat')} a particle (such as {rows['particle'][twice].iloc[0]!r}); the first row of each counts"
        )
    rows = rows[~twice]
    # Capitals are no other class; a call that is no class cannot be counted as right or wrong.
    spelt = {name.casefold(): name for name in classes}
    calls = rows["predicted"].str.casefold().map(spelt)
    if calls.isna().any():
        example = rows["predicted"][calls.isna()].iloc[0]
        said.append(
            f"{_count(calls.isna(), 'call')} none of the classes (such as {example!r}) and are left out"
        )
    rows = rows.assign(predicted=calls)[calls.notna()]
    lacking = len(known) - len(rows)
    if lacking:
        said.append(
            f"{lacking} of the {len(known)} held-out particles are missing; its own measures rest on the others, and pairs "
            "are compared on the particles of both"
        )
    return rows, said


def _count(which, verb="name"):
    number = int(which.sum())
    if verb == "name":
        return f"{number} rows name no" if number > 1 else "1 row names no"
    return f"{number} rows {verb}" if number > 1 else f"1 row {verb}s"


def _probabilities(rows, classes, decimal):
    """Return the p_ columns (NaN where unknown) as a DataFrame, and what must be said about them."""
    named = [f"p_{name}" for name in classes]
    present = [name for name in named if name in rows]
    p = {
        name: data.numbers(rows[name], decimal=decimal).to_numpy() if name in rows else np.nan
        for name in named
    }
    p, said = pd.DataFrame(p, index=range(len(rows))), []
    if not present:
        said.append("it gives no probabilities, so it has no curves, no calibration and no prediction sets")
    elif len(present) < len(named):
        said.append(
            f"the column {next(n for n in named if n not in rows)!r} is missing, so its probabilities are not used"
        )
        p[:] = np.nan
    elif p.isna().any(axis=None):
        said.append(
            f"{int(p.isna().any(axis=1).sum())} particles have no probability of every class, so measures of probabilities are undefined"
        )
    else:
        wrong = (p < 0).any(axis=1) | ((p.sum(axis=1) - 1).abs() > SUM_TOLERANCE)
        if wrong.any():
            said.append(
                f"the probabilities of {int(wrong.sum())} of {len(p)} particles do not sum to 1; only their order is used"
            )
    return p, said
