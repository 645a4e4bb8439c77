"""What share of a sample is of which class, from tables alone: a classifier's calls, corrected for its errors.

**rates** (of held-out particles, `confusion` counts them): a row per fold, micrograph and true class. `fold` says which of the K
models called (absent where there is one); `micrograph`; `truth`; `n_<class>`, how many particles were called so, for each class
that can be called; `refused`, how many were not called at all (absent where none can be); `session`, the session of the
micrograph, where all are known.

**calls** (of a new sample, `calls` counts them): a row per fold and micrograph, the same columns without `truth`. All K models
call the same particles. A micrograph without particles has a row of zeros. Without `session` all are of one session.

**labels** (of a few particles drawn at random in each new micrograph): a row per particle and fold: `fold` as above, `particle`,
`micrograph`, `truth`, `predicted` (empty where refused).

Shares are of all particles, refused ones included. The correction assumes that particles of one class are called as the held-out
ones were, however many there are; `Correction.carried_over` tests that, and `labelled_shares` does without it. Micrographs are the
units on both sides. Where rates know three or more sessions, these are their units, and a sample's rates are those of a new
session, which may differ from the mean as sessions do (`temlib.assay.inversion`).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from temlib.assay.inversion import FEWEST_SESSIONS, TAIL, Measured, Solved, compared, dealt, quadratic
from temlib.files import InputError, natural

COUNT, REFUSED, SESSION = "n_", "refused", "session"
# A confusion matrix of a smaller determinant does not tell the classes apart, whatever the sample.
SINGULAR = 1e-6
# Shares that a step of expectation maximisation moves by less have arrived.
TOLERANCE, STEPS = 1e-8, 10_000


@dataclass(frozen=True)
class Shares:
    """A table of shares, a row per class, and sentences on what its reader must know."""

    table: pd.DataFrame
    notes: list


def confusion(predictions, *, weight=None, unsure=False):
    """Return the rates of one model: how its held-out particles were called, by micrograph.

    Parameters
    ----------
    predictions : DataFrame
        The predictions table of one model. Its labelled rows of the role `test` are counted, each called by its own fold's
        model. A particle was refused where the column `refused` is true or `predicted` is empty.
    weight : str, optional
        A column with what each particle counts: the square of its diameter gives shares by outer surface, the cube by
        enclosed volume. The counts then sum to the effective number of particles, (sum w)^2 / sum w^2.
    unsure : bool
        Whether particles of the role `unsure`, which people could not tell, are a true class of their own. It is told from
        the others only if its particles are refused more often than theirs.

    Returns
    -------
    DataFrame
        Rates, see the module.

    Raises
    ------
    InputError
        No labelled held-out particle, or a weight that is no positive number.
    """
    role = predictions.get("role", pd.Series("test", predictions.index))
    known = predictions["truth"].notna() & (predictions["truth"] != "")
    held = predictions[known & role.isin(["test", "unsure"] if unsure else ["test"])]
    if held.empty:
        raise InputError(
            "The predictions hold no labelled row of role 'test': error rates come from those alone."
        )
    return _called(held, ["fold", "micrograph", "truth"], weight, _classes(predictions))


def calls(predictions, *, micrographs=(), weight=None):
    """Return how the particles of a new sample were called, by micrograph.

    Parameters
    ----------
    predictions : DataFrame
        A row per particle and fold: `micrograph, predicted`, and `fold, refused, p_<class>…` where there are such.
    micrographs : sequence of str
        All micrographs of the sample, so that those without particles are in the table.
    weight : str, optional
        As in `confusion`.

    Returns
    -------
    DataFrame
        Calls, see the module.

    Raises
    ------
    InputError
        A weight that is no positive number.
    """
    counted = _called(predictions, ["fold", "micrograph"], weight, _classes(predictions))
    names = dict.fromkeys([*counted["micrograph"], *map(str, micrographs)])
    by = ["fold", "micrograph"]
    every = pd.MultiIndex.from_product([counted["fold"].unique(), names], names=by)
    return counted.set_index(by).reindex(every, fill_value=0.0).reset_index()


def _classes(table):
    """Return the classes that can be called: those of the p_ columns, else all that were predicted."""
    named = [column[2:] for column in table.columns if column.startswith("p_")]
    return named or sorted({*table["predicted"].dropna().astype(str)} - {""}, key=natural)


def call_of(table):
    """Return the called class of each row, empty where it was refused."""
    called = table["predicted"].where(table["predicted"].notna(), "").astype(str)
    return called if REFUSED not in table else called.where(~table[REFUSED].astype(bool), "")


def _called(table, by, weight, classes):
    """Return how many particles of a table were called each class or refused, a row per combination of `by`."""
    table = table.assign(fold=table.get("fold", pd.Series(1, table.index)))
    called = call_of(table)
    unknown = sorted({*called} - {*classes, ""})
    if unknown:
        raise InputError(
            f"{unknown[0]!r} is called, but is no class of the classifier ({', '.join(classes)})."
        )
    size = pd.Series(1.0, table.index)
    if weight is not None:
        size = pd.to_numeric(table[weight], errors="coerce")
        if not (size > 0).all():
            row = table.index[~(size > 0)][0]
            raise InputError(
                f"The column {weight!r} has no positive number in row {row}: give one for each particle."
            )
        groups = [table[column] for column in by if column != "micrograph"]
        total, square = (power.groupby(groups).transform("sum") for power in (size, size**2))
        size = size * total / square
    wide = pd.DataFrame({c: size.where(called == c, 0.0) for c in [*classes, ""]})
    wide = wide.set_axis([*(COUNT + c for c in classes), REFUSED], axis=1)
    return wide.groupby([table[column].astype(str).rename(column) for column in by]).sum().reset_index()


def require(table, name, columns):
    """Refuse a table without one of the columns."""
    for column in columns:
        if column not in table:
            raise InputError(
                f"The {name} lack the column {column!r} (they have {', '.join(map(str, table))})."
            )


def checked(table, name, columns):
    """Return a table of counts with `fold`, `refused` and names as text, and its classes; refuse what is not one."""
    require(table, name, columns)
    classes = [column.removeprefix(COUNT) for column in table if column.startswith(COUNT)]
    if not classes:
        require(table, name, [COUNT + "<class>"])
    columns = ["fold", *columns]
    numbers = [*(COUNT + c for c in classes), REFUSED]
    table = table.assign(**{c: table.get(c, 1 if c == "fold" else 0) for c in ("fold", REFUSED)})
    table = table.astype({**dict.fromkeys(columns, str), **dict.fromkeys(numbers, float)})
    if not (table[numbers] >= 0).all(axis=None):
        row = table.index[~(table[numbers] >= 0).all(axis=1)][0]
        raise InputError(
            f"Row {row} of the {name} has a count that is missing or negative: counts are numbers from 0."
        )
    return table, classes


def _array(table, columns, truths=None):
    """Return counts (folds, micrographs, truths, called), the folds and the micrographs; of one truth for calls."""
    fold, folds = pd.factorize(table["fold"])
    micrograph, micrographs = pd.factorize(table["micrograph"])
    truth = 0 if truths is None else pd.Index(truths).get_indexer(table["truth"])
    counts = np.zeros((len(folds), len(micrographs), 1 if truths is None else len(truths), len(columns)))
    np.add.at(counts, (fold, micrograph, truth), table.reindex(columns=columns, fill_value=0.0).to_numpy())
    return counts, list(folds), list(micrographs)


def of_sample(table, classes):
    """Return a sample's counts (folds, micrographs, called), the folds and the micrographs; refuse other classes."""
    table, given = checked(table, "calls", ["micrograph"])
    unknown = [c for c in given if c not in classes]
    if unknown:
        raise InputError(
            f"The calls have the class {unknown[0]!r}, which the rates lack: both must be of one classifier."
        )
    counts, folds, micrographs = _array(table, [*(COUNT + c for c in classes), REFUSED])
    counts = counts[:, :, 0]
    if not np.allclose(counts.sum(axis=2), counts[0].sum(axis=1)):
        raise InputError(
            "The fold models call different numbers of particles in a micrograph: all must call the same."
        )
    if not counts.any():
        raise InputError("The sample has no particle: no share can be told.")
    return counts, folds, micrographs


def together(*samples):
    """Return for each two tables of calls the sum over sessions of the products of their weights, by particles."""
    weights = []
    for place, calls in enumerate(samples):
        counts = calls[[c for c in calls if c.startswith(COUNT) or c == REFUSED]].astype(float).sum(axis=1)
        # A number is no session's name, so no other sample's either.
        session = calls[SESSION].astype(str) if SESSION in calls else place
        counts = counts.groupby(np.broadcast_to(session, len(counts))).sum()
        weights.append(counts / counts.sum())
    table = pd.concat(weights, axis=1, sort=False).fillna(0.0).to_numpy()
    return table.T @ table


def expectation_maximisation(probabilities, prior):
    """Return the shares (classes,) at which the mean of probabilities, corrected for the shares, equals the shares.

    M. Saerens, P. Latinne, C. Decaestecker, Neural Comput. 14 (2002) 21-41, doi:10.1162/089976602753284446.

    Parameters
    ----------
    probabilities : (n, classes) ndarray
        Of the particles of a new sample, calibrated on particles whose shares are `prior`.
    prior : (classes,) ndarray
        Shares, positive, of sum 1.
    """
    shares = prior = np.asarray(prior, float)
    for _ in range(STEPS):
        joint = probabilities * (shares / prior)
        before, shares = shares, np.mean(joint / joint.sum(axis=1, keepdims=True), axis=0)
        if np.abs(before - shares).max() < TOLERANCE:
            break
    return shares


class Correction:
    """A classifier's error rates, which correct its calls on any sample.

    Parameters
    ----------
    rates : DataFrame
        See the module. A fold in which a class has no held-out particle is left out on both sides, and `notes` says so.

    Attributes
    ----------
    truths : list of str
        The classes that shares are told of.
    errors : Measured
        The confusion matrix and what each micrograph, or session, adds to its error.
    sessions : int
        That the rates know, 0 where they name none. How rates differ is known from three.

    Raises
    ------
    InputError
        A column is missing, no fold has particles of every class, there are more classes than kinds of calls, or the calls do
        not tell the classes apart.
    """

    def __init__(self, rates):
        rates, self.classes = checked(rates, "rates", ["micrograph", "truth"])
        self.truths = [*self.classes, *sorted({*rates["truth"]} - {*self.classes}, key=natural)]
        counts, folds, micrographs = _array(rates, [*(COUNT + c for c in self.classes), REFUSED], self.truths)
        numbers = counts.sum(axis=(1, 3))
        whole = (numbers > 0).all(axis=1)
        if not whole.any():
            names = ", ".join(self.truths)
            raise InputError(
                f"No fold has held-out particles of every class ({names}): label more of the rare ones."
            )
        self.notes = [
            f"Fold {fold} is left out: a class has no held-out particle in it."
            for fold in np.array(folds)[~whole]
        ]
        self.folds = [fold for fold, kept in zip(folds, whole) if kept]
        self.prior = numbers[whole] / numbers[whole].sum(axis=1, keepdims=True)  # (folds, truths)
        self.errors = self._measured(counts[whole], rates, micrographs)
        shares = self.errors.shares
        if len(self.truths) > shares.shape[1] or abs(np.linalg.det(shares @ dealt(shares))) < SINGULAR:
            names = ", ".join(self.truths)
            raise InputError(
                f"The calls do not tell the classes apart ({names}): leave one out, or train a better classifier."
            )

    def _measured(self, counts, rates, micrographs):
        """Return counts by session where each class was held out in enough of them, else by micrograph."""
        self.sessions = 0
        if SESSION not in rates:
            return Measured(counts)
        session = rates.groupby("micrograph")[SESSION].first()[micrographs].astype(str)
        session, names = pd.factorize(session)
        self.sessions, measured = len(names), Measured(counts, session)
        return measured if measured.units.min() >= FEWEST_SESSIONS else Measured(counts)

    def counts(self, calls):
        """Return a sample's calls (micrographs, called), averaged over the folds whose rates are known."""
        counts, folds, _ = of_sample(calls, self.classes)
        return counts[self._places(folds, "calls")].mean(axis=0)

    def known(self):
        """Return a sentence on what the intervals know of sessions."""
        if self.errors.by_session:
            return f"They hold how the error rates differed between the {self.sessions} sessions learnt from: this sample's may differ as much."
        unknown = (
            "so how error rates differ between sessions is unknown, and the intervals know micrographs alone"
        )
        if not self.sessions:
            return f"No column 'session' named the sessions learnt from, {unknown}."
        few = f"in {self.sessions} session{'s' * (self.sessions > 1)}, or a class in fewer than {FEWEST_SESSIONS}"
        return f"The model learnt {few}, {unknown}."

    def _places(self, folds, name):
        """Return where the folds of the rates are among others."""
        missing = [fold for fold in self.folds if fold not in folds]
        if missing:
            raise InputError(
                f"The {name} lack fold {missing[0]} of the rates: let each of its models call the sample."
            )
        return [folds.index(fold) for fold in self.folds]

    def shares(self, calls, *, probabilities=None):
        """Return the `Shares` of a sample, with 95 % intervals.

        Each fold model's calls are met by the rates of its own held-out particles; calls and rates are averaged over the
        folds, then solved. As all models call the same particles, their calls are averaged before a micrograph's part in
        the variance is squared.

        Parameters
        ----------
        calls : DataFrame
            See the module.
        probabilities : DataFrame, optional
            Calibrated probabilities of the sample's particles, a row per particle and fold: `fold, p_<class>…`. Expectation
            maximisation then estimates the shares a second way, and a note says where that lies outside the interval.

        Returns
        -------
        Shares
            The table has `class, share, low, high` (in [0, 1]), `solved` (before it was brought into this range: the mean over
            samples is unbiased in this column alone), `clipped` (whether that changed it), `counted` (calls), `by_probability`
            (expectation maximisation), `n, micrographs, refused` (a share of the particles), `method`.

        Raises
        ------
        InputError
            Calls of other classes or folds, or no particle.
        """
        counts = self.counts(calls)
        sample = Measured(counts[None, :, None, :])
        solved = Solved(self.errors, sample, together=together(calls))
        low, high = solved.interval()
        df = solved.errors_at(solved.nearest[:, None])[1][:, 0]
        by = " and session" * self.errors.by_session
        table = pd.DataFrame({"class": self.truths, "share": solved.nearest, "low": low, "high": high})
        table = table.assign(
            solved=solved.values,
            clipped=np.abs(solved.values - solved.nearest) > TOLERANCE,
            counted=[*sample.shares[0, :-1], *[np.nan] * (len(self.truths) - len(self.classes))],
            by_probability=np.nan if probabilities is None else self._by_probability(probabilities),
            n=round(counts.sum()),
            micrographs=len(counts),
            refused=sample.shares[0, -1],
            method=[
                f"confusion matrix solved, test inverted by micrograph{by}, t quantile with {x:.1f} df"
                for x in df
            ],
        )
        if min(self.errors.units.min(), sample.units.min()) < 2:
            table = table.assign(low=np.nan, high=np.nan, method="no interval: one micrograph")
        return Shares(table, [*self.notes, *_remarks(table), *self._refused_remarks(solved, sample)])

    def _by_probability(self, probabilities):
        """Return the shares (truths,) by expectation maximisation, averaged over the fold models."""
        if len(self.truths) > len(self.classes):
            return np.nan
        found = []
        fold_of = probabilities.get("fold", pd.Series(1, probabilities.index)).astype(str)
        for fold, prior in zip(self.folds, self.prior):
            p = probabilities.loc[fold_of == fold, [f"p_{c}" for c in self.classes]].to_numpy(float)
            if not len(p) or not np.isfinite(p).all():
                raise InputError(
                    f"Fold {fold} lacks probabilities of a particle or class: give all of them, or none."
                )
            found.append(expectation_maximisation(p, prior))
        return np.mean(found, axis=0)

    def _refused_remarks(self, solved, sample):
        """Return a sentence, in a list, where more or fewer are refused than any shares of the classes explain."""
        rates = self.errors.shares
        df = min(sample.units.min(), self.errors.units.min()) - 1
        if rates.shape[0] == rates.shape[1] or df < 1:
            return []
        contrast = np.eye(rates.shape[1])[-1:] - rates[:, -1] @ solved.contrast
        excess = float((sample.shares @ contrast.T)[0, 0])
        at = solved.nearest
        *known, between = (
            quadratic(at[None, None], c)[0, 0]
            for c in (*self.errors.covariances(contrast), self.errors.between(contrast))
        )
        variance = sample.variance(contrast)[0, 0] + max(known) + solved.together[0, 0] * max(between, 0)
        if abs(excess) <= -special.stdtrit(df, TAIL) * np.sqrt(variance):
            return []
        seen = sample.shares[0, -1]
        return [
            f"{seen:.1%} of the particles are refused where the rates let expect {max(seen - excess, 0):.1%}: the sample "
            "holds what the held-out particles do not, or the rates do not carry over."
        ]

    def difference(self, first, second, *, margin=None):
        """Return by how much the shares of two samples differ that the same classifier called.

        Its errors are the same errors in both, and cancel where the shares are equal. Of what differs between sessions that
        holds for samples of the same session alone: name it in both, for without the column `session` either is of its own.

        Parameters
        ----------
        first, second : DataFrame
            Calls, see the module.
        margin : float, optional
            The largest difference that does not matter, declared beforehand, in (0, 1).

        Returns
        -------
        DataFrame
            `class, difference` (first minus second), `low, high` (95 %), `p_value` (of no difference), and with a margin
            `p_equivalence` (the larger p value of two one-sided t tests against -margin and margin) and `equivalent` (whether
            it is at most 0.05). Where neither p value is small, nothing is decided.

        Raises
        ------
        InputError
            Calls of other classes or folds, no particle, or a margin that is no share.
        """
        if margin is not None and not 0 < margin < 1:
            raise InputError(
                f"The margin {margin} is not between 0 and 1: declare the largest share that does not matter."
            )
        samples = [Measured(self.counts(calls)[None, :, None, :]) for calls in (first, second)]
        solved = Solved(self.errors, *samples, together=together(first, second))
        low, high = solved.interval()
        t, df = solved.statistic(np.zeros((len(self.truths), 1)))
        table = pd.DataFrame({"class": self.truths, "difference": solved.values, "low": low, "high": high})
        table["p_value"] = 2 * special.stdtr(df, -np.abs(t))[:, 0]
        if margin is not None:
            t, df = solved.statistic(np.tile([-margin, margin], (len(self.truths), 1)))
            table["p_equivalence"] = special.stdtr(df, t * [-1, 1]).max(axis=1)
        if min(side.units.min() for side in (self.errors, *samples)) < 2:
            table.iloc[:, 2:] = np.nan
        if margin is not None:
            table["equivalent"] = table["p_equivalence"] <= 2 * TAIL
        return table

    def carried_over(self, labels):
        """Return whether labelled particles of a new sample are called as the held-out ones were.

        Parameters
        ----------
        labels : DataFrame
            See the module.

        Returns
        -------
        DataFrame
            A row per kind of error that is possible: `truth, called` (empty for refused), `rate` (of the held-out particles),
            `new_rate`, `p_value` (of no difference, two-sided t test by micrograph, with known sessions of none beyond those between
            sessions, times the number of rows: Bonferroni),
            `n` (labelled particles of this truth). A large p value of few labels shows little.
        """
        require(labels, "labels", ["micrograph", "truth", "predicted"])
        counted = _called(labels, ["fold", "micrograph", "truth"], None, self.classes)
        counted = counted[counted["truth"].isin(self.truths)]
        counts, folds, _ = _array(counted, [*(COUNT + c for c in self.classes), REFUSED], self.truths)
        counts = counts[self._places(folds, "labels")].mean(axis=0, keepdims=True)
        labelled = counts.sum(axis=(0, 1, 3))
        # A truth without labels has no row: any counts do.
        sides = self.errors, Measured(np.where(labelled[:, None] > 0, counts, 1))
        p_value = compared(*sides)
        rows = [
            (truth, called, sides[0].shares[i, j], sides[1].shares[i, j], p_value[i, j], round(labelled[i]))
            for i, truth in enumerate(self.truths)
            for j, called in enumerate([*self.classes, ""])
            if labelled[i] and called != truth and any(side.shares[:, j].any() for side in sides)
        ]
        table = pd.DataFrame(rows, columns=["truth", "called", "rate", "new_rate", "p_value", "n"])
        return table.assign(p_value=(table["p_value"] * len(table)).clip(upper=1))


def _remarks(table):
    """Return sentences on shares that were clipped, and on those that expectation maximisation puts elsewhere."""
    notes = [
        f"The calls put {row['class']} at {row['solved']:.1%}; as shares lie between 0 and 100 % and sum to 100 %, it was brought "
        f"to {row['share']:.1%}."
        for _, row in table[table["clipped"]].iterrows()
    ]
    outside = (table["by_probability"] < table["low"]) | (table["by_probability"] > table["high"])
    return notes + [
        f"The probabilities put {row['class']} at {row['by_probability']:.1%}, outside the interval {row['low']:.1%} to "
        f"{row['high']:.1%} of the calls: more than the shares has changed, or the probabilities are not calibrated."
        for _, row in table[outside].iterrows()
    ]
