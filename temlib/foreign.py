"""Predictions of any other software join the comparison: a CSV of particle, predicted, optional p_<class> and model."""

from pathlib import Path

import numpy as np
import pandas as pd

from temlib import tables
from temlib.files import InputError
from temlib.parameters import nearest
from temlib.scores import SUM_TOLERANCE


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
    rows = tables.read(path)
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
        name: tables.numbers(rows[name], decimal=decimal).to_numpy() if name in rows else np.nan
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
