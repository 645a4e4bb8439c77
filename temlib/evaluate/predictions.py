"""`Predictions`, the counterpart of `data.Particles`: it answers every question about held-out particles."""

from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from temlib.evaluate import answer, decisions, examples, held_out, measures, scores
from temlib.evaluate.measures import PRIMARY_MEASURE
from temlib.files import InputError, nearest

# Names of columns beside which models have columns of their own.
OWN = ("particle", "micrograph", "truth", "class", "measure", "distance", "words")


class Predictions:
    """The predictions of several models, parsed and checked once.

    Rows count where `role` is "test" and `truth` is known, each particle once for a model: repeated rows are averaged.
    Rows of role "unsure", of particles that people could not tell, are never measured; `unsure` is about them.

    Parameters
    ----------
    table : DataFrame
        Columns particle, model, truth, predicted, and optionally micrograph, fold, role, p_<class>.
    external : DataFrame, optional
        Predictions of other software, as `data.read_table(path, numeric="p_")` returns them: the columns particle,
        predicted, optionally model (several may stand in one file) and p_<class>. They join under the name of their
        model or file; truth, micrograph and fold are those of the run.

    Attributes
    ----------
    table : DataFrame
        All rows, those of other software too.
    unsure_labels : dict of str to int
        How many particles of role "unsure" have each label.
    classes, models : list of str
        Classes of the p_ columns in their order, then any other label, sorted; models in the order of the rows.
    notes : list of str
        What was left out of other software's predictions, and why.

    Raises
    ------
    InputError
        A missing column, a particle with two truths, no labelled row of role "test"; other software's predictions of
        which no row can be used; where it is asked for, a model or measure that is not there.

    Notes
    -----
    Methods return a DataFrame where they name columns. `low` and `high` are the ends of 95 % intervals of the column
    before them. Intervals are by micrograph, since particles of one micrograph are alike; particles are independent
    where there is no `micrograph`, or one for each of them. `n` and `micrographs` count what a number rests on (the
    truly positive for a TPR). An undefined number is NaN; `method` says why, or how the interval was made. What needs
    probabilities leaves out models whose probabilities do not sum to 1. `task` is written into the table. Random draws
    follow `seed` (int or numpy.random.Generator).
    """

    def __init__(self, table, external=None):
        self.notes = []
        if external is not None:
            table, self.notes = _joined(table, external)
        self._rows = held_out.Rows(table)
        self.table, self.classes, self.models = table, self._rows.classes, list(self._rows.models)
        aside = table[self._rows.unsure].drop_duplicates("particle")
        self.unsure_labels = aside["truth"].value_counts().to_dict()

    @cached_property
    def _calibrated(self):
        return Predictions(decisions.calibrated(self._rows))

    def _of(self, model):
        """Return a model's held-out particles."""
        if model not in self._rows.models:
            raise InputError(
                f"There is no model {model!r} in the predictions; there are {', '.join(self.models)}."
            )
        return self._rows.models[model]

    def pair(self, primary):
        """Return the model declared primary, or the first one where it is not there, and its comparator or None.

        The comparator is found by names and order alone, never by results, so that nobody can pick it: for a
        network the alphabetically first model whose name begins with "svm" (`svm_texture` before `svm_thesis`), for an
        SVM the first network, and the first other model where there is none of the other kind.
        """
        main = primary if primary in self.models else self.models[0]
        return main, answer.comparator(self.models, main)

    def measures(self, task):
        """Return every measure of every model.

        Columns task, model, class, measure, value, low, high, n, micrographs, method. `class` is a class name, "macro",
        "micro", "weighted", or "all"; a class of such a name stands in quotes. `attrs["notes"]` are sentences on what was left out or averaged.
        """
        return measures.table(self._rows.models, task=task)

    def compare(self, task, *, primary=PRIMARY_MEASURE, flips=10_000, seed=0):
        """Return paired differences of every measure for every pair of models, on the particles of both.

        Columns task, model_a, model_b, class, measure, difference (a - b), low, high, p_value, p_holm (NaN for all but
        the primary measure), n, micrographs, method. `primary` is the one measure whose p values
        are adjusted over all pairs (Holm); of a one-vs-rest measure the macro average. `flips` are random exchanges of
        the sign-flip test.
        """
        return measures.compare(self._rows.models, task=task, primary=primary, flips=flips, seed=seed)

    def confusions(self):
        """Return a dict of counts of particles (classes, classes) by model; rows are the truth, columns predictions."""
        return {model: measures.confusion(held) for model, held in self._rows.models.items()}

    def paradox(self, particles=None, task=""):
        """Return the accuracy paradox: the measures of all classes together, also for classifiers that know nothing or little.

        Columns model, accuracy, balanced accuracy, MCC, kappa; first stands "always <the commonest class>", then, where
        `particles` has boxes and micrographs, "size alone", see `size_alone`; neither looks at an image.
        """
        return measures.paradox(self._rows.models, particles, task)

    def worked(self, model):
        """Return the one-vs-rest measures of each class with the numbers put in.

        Columns measure, formula, numbers ("41 / (41 + 9)"), value, class (the positive one).
        """
        return measures.worked(self._of(model))

    def curves(self, *, draws=300, seed=0):
        """Return ROC and precision–recall curves, one class against the rest.

        Columns model, class, curve ("ROC": TPR over FPR; "precision–recall": PPV over TPR), x, value, low, high, n,
        positives, micrographs, method. A class that no particle, or every particle, truly has is left out. `draws` are
        bootstrap samples of whole micrographs (of particles where those are independent).

        Notes
        -----
        Bands are for each point by itself: its standard error on the logit scale comes from the bootstrap, the width
        from the t quantile with micrographs − 1 degrees of freedom, since percentiles of few micrographs are too
        narrow. They are approximate: in simulation they held 88 to 99 % at a nominal 95 %, once 83 % (precision at a
        recall of 0.2, 20 micrographs); see `benchmarks/coverage.py`.
        """
        return scores.curves(self._rows.models, draws=draws, seed=seed)

    def calibrated(self):
        """Return the `Predictions` with calibrated probabilities; predicted classes stay as they are.

        The p_ columns of each model and fold are scaled by the temperature (C. Guo et al., ICML 2017,
        https://proceedings.mlr.press/v70/guo17a.html) that fits its validation rows, or the test rows of its other folds.
        The table has two more columns: `temperature` (NaN where uncalibrated) and `calibration` (on what it was fitted).
        """
        return self._calibrated

    def reliability(self):
        """Return how often predictions of a given confidence are right, in ten bins of equal width.

        Columns model, from, to, confidence (mean of the bin), right, low, high, n, micrographs, method; no empty bins.
        """
        return decisions.reliability(self._rows.models)

    def calibration_error(self, *, draws=4000, seed=0):
        """Return the expected calibration error of each model, as given and calibrated.

        Columns model, ECE (mean of |right - confidence| over ten bins, weighted by particles; M. Pakdaman Naeini et al.,
        AAAI 2015, doi:10.1609/aaai.v29i1.9602), low, high, perfect (the mean ECE that perfectly calibrated probabilities
        would show), n, micrographs, method, probabilities ("as given" or "calibrated").

        Notes
        -----
        The ECE of few particles is too large, since chance deviations do not cancel. So the interval inverts a test: it
        holds the errors c ECE for which deviations c d plus noise, normal with the covariance of d between micrographs,
        give an ECE like the one seen; d are the deviations seen. 4,000 `draws` of the noise make an error of about 1 %
        of the interval's width. The interval is temlib's own.
        """
        found = []
        for kind, predictions in (("as given", self), ("calibrated", self._calibrated)):
            table = decisions.calibration_error(predictions._rows.models, draws=draws, seed=seed)
            found.append(table.assign(probabilities=kind))
        return pd.concat(found)

    def prediction_sets(self):
        """Return for each test particle the classes that cannot be ruled out at 95 %.

        A class is in the set unless its probability is lower than that of all but 5 % of the calibration particles of
        that class (class-conditional split conformal prediction: V. Vovk, Mach. Learn. 92 (2013) 349-376,
        doi:10.1007/s10994-013-5355-6): of the particles of every class, 95 % have their own class in the set, if
        calibration and test particles are exchangeable, that is for new micrographs of the same kind. Columns particle,
        micrograph, model, fold, truth, set (names joined by ", ", missing where none is claimed: where a class has fewer
        than 19 calibration particles), size, covered, method.
        """
        return decisions.prediction_sets(self._rows)

    def set_summary(self):
        """Return how often `prediction_sets` hold the truth, and how large they are, for each model and true class.

        Columns model, class, covered, low, high, size (mean number of classes), single (share of sets of one class),
        empty (share of sets of none), n (0 where no set is claimed), micrographs, method. `attrs["notes"]` are sentences
        on why none is claimed.
        """
        return decisions.set_summary(self.prediction_sets())

    def risk(self):
        """Return how many predictions are wrong when only the most confident count; equal confidences count together.

        Columns model, coverage (share of particles that count), threshold (their smallest confidence), risk (share of
        them that is wrong), low, high, n, micrographs, method. After Y. Geifman, R. El-Yaniv, arXiv:1705.08500.
        """
        return decisions.risk(self._rows.models)

    def risk_words(self, model, *, errors=0.05):
        """Return a sentence (list of str) on how much a model can call if at most a share `errors` may be wrong.

        It reads `risk` of calibrated probabilities; none where the model has no probabilities.
        """
        table = self._calibrated.risk()
        own = table[table["model"] == model]
        return [answer.on_risk(own, errors)] if len(own) else []

    def unsure(self):
        """Return how particles that people could not tell were predicted, beside the definite ones.

        Columns model, people ("definite" or "could not tell"), n, micrographs, `as <class>` (how many are predicted so),
        confidence (median of the calibrated probability of the predicted class), refused (the share of them that is less
        confident than four in five of the model's definite particles), low, high. Empty where there are no such particles.
        """
        return decisions.unsure(self._calibrated._rows)

    def unsure_words(self, model):
        """Return a sentence (list of str) on a model's rows of `unsure`; none where it has no such rows."""
        table = self.unsure()
        own = table[table["model"] == model]
        return [answer.on_unsure(own, self.unsure_labels)] if len(own) else []

    def thresholds(self, model, required):
        """Return the probabilities from which each class is to be predicted for its TPR, or its PPV, to be as required.

        They are chosen on validation rows, or the test rows of the other folds, and measured on test rows. `required` is
        in (0, 1]. For a TPR the highest threshold that reaches it is taken, for a PPV the lowest, so that the other is
        largest. For each class and requirement there are two rows, TPR and PPV; columns model, class, required,
        threshold (median over the folds), measure, value, low, high, met ("yes" when the interval's low end is enough,
        "no" when its high end is too little, "not shown" otherwise; empty for the other measure), n, micrographs, method.
        """
        self._of(model)
        return decisions.thresholds(self._rows, model, required)

    def per_particle(self):
        """Return one row per particle.

        Columns particle, micrograph, truth, and for each model `<model>` (the predicted class, NaN where it has none)
        and `p <model>` (calibrated probability of the truth).
        """
        return examples.per_particle(self._calibrated._rows)

    def disagreements(self, right, wrong):
        """Return the particles that the model `right` gets right and `wrong` gets wrong, the clearest first.

        Columns as `per_particle`, `distance` (between their probabilities of the true class) and `words`, a title.
        """
        return examples.disagreements(self.per_particle(), right, wrong)

    def worst_errors(self, model):
        """Return a model's wrong predictions, the least probable truth first: as `per_particle`, and `words`, a title."""
        return examples.worst_errors(self.per_particle(), model)

    def label_audit(self):
        """Return the particles ranked by how probably their label is wrong.

        Columns particle, micrograph, label, suggested, p_label, p_suggested (calibrated, averaged over the models),
        suspected, the most suspicious first. A particle is suspected when no model predicts what its label says, and
        another class is the most probable of those whose probability is at least the mean that the particles labelled
        so receive (confident learning: C. Northcutt et al., J. Artif. Intell. Res. 70 (2021) 1373-1411,
        doi:10.1613/jair.1.12125). Empty where no model has probabilities.
        """
        return examples.label_audit(self._calibrated._rows)

    def suspected_labels(self):
        """Return the suspected rows of `label_audit`, with a column `words`, a title."""
        return examples.suspected(self.label_audit())

    def by_micrograph(self):
        """Return the share of particles that each model predicts correctly on each micrograph.

        Columns model, micrograph, right, particles; the worst of each model first.
        """
        return examples.by_micrograph(self._rows)

    def worst_micrographs(self):
        """Return a sentence per model (list of str) on where it does worst, and what share of its errors lies there."""
        groups = self.by_micrograph().groupby("model", sort=False)
        return [examples.worst_micrograph(model, rows) for model, rows in groups]


def check_external(external):
    """Return the path of other software's predictions, which `data.read_table` gave, or refuse them for want of a column."""
    path = Path(external.attrs.get("path", "external"))
    for column in ("particle", "predicted"):
        if column not in external:
            hint = nearest(column, list(external.columns)) or f"; it has {', '.join(external.columns)}"
            raise InputError(f"{path.name}: there is no column '{column}'{hint}.")
    return path


def _joined(table, external):
    """Return the table with other software's rows added, and sentences on what is wrong with them."""
    path, classes = check_external(external), held_out.classes_of(table)
    known = table[table["role"].isin(["test", "unsure"])].drop_duplicates("particle").set_index("particle")
    scored = known.index[known["role"] == "test"]
    rows = external.map(lambda cell: cell.strip() if isinstance(cell, str) else cell)
    names = rows.get("model", pd.Series("", rows.index)).replace("", path.stem)
    taken = names.isin([*table["model"], *OWN]) | names.str.startswith(("p ", "always "))
    rows["model"] = names.where(~taken, names + f" ({path.stem})")
    frames, notes = [table], []
    for model, part in rows.groupby("model", sort=False):
        kept, left_out = _usable(part, known.index, scored, classes)
        p, lacking = _probabilities(kept, classes, kept["particle"].isin(scored).to_numpy())
        notes += [f"{model} ({path.name}): {note}." for note in left_out + lacking]
        about = known.loc[kept["particle"], ["micrograph", "fold", "role", "truth"]].reset_index()
        frames.append(about.assign(model=model, predicted=kept["predicted"].to_numpy(), **p))
    frames = [frame for frame in frames if (frame["role"] == "test").any()]
    if len(frames) == 1:
        named = ", ".join(classes)
        raise InputError(f"{path.name}: no row names a held-out particle of this run and one of {named}.")
    return pd.concat(frames, ignore_index=True), notes


def _usable(rows, known, scored, classes):
    """Return the rows that count, each particle once with one of the classes, and notes on the others.

    `known` are the held-out particles of the run, `scored` those of them that are measured.
    """
    # Capitals are no other class; a prediction that is no class cannot be counted as right or wrong.
    predicted = rows["predicted"].str.casefold().map({name.casefold(): name for name in classes})
    unknown = ~rows["particle"].isin(known)
    repeated = rows.duplicated("particle") & ~unknown
    faults = {
        "name no held-out particle of this run": (unknown, rows["particle"]),
        "repeat a particle, of which the first row counts": (repeated, rows["particle"]),
        "predict none of the classes": (predicted.isna() & ~unknown & ~repeated, rows["predicted"]),
    }
    notes = [
        f"rows left out because they {fault}: {wrong.sum()} (such as {cells[wrong].iloc[0]!r})"
        for fault, (wrong, cells) in faults.items()
        if wrong.any()
    ]
    rows = rows.assign(predicted=predicted)[~unknown & ~repeated & predicted.notna()]
    missing = len(scored) - rows["particle"].isin(scored).sum()
    if missing:
        notes.append(
            f"{missing} of the {len(scored)} held-out particles are missing; its own measures rest on the "
            "others, and pairs are compared on the particles that both have"
        )
    return rows, notes


def _probabilities(rows, classes, scored):
    """Return the p_ columns (NaN where unknown) as a dict of arrays, and notes on what cannot be done with them.

    `scored` says which rows are measured.
    """
    named = [f"p_{name}" for name in classes]
    missing = [name for name in named if name not in rows]
    p = rows.reindex(columns=named).to_numpy(float)
    unknown, wrong = np.isnan(p[scored]).any(axis=1).sum(), held_out.no_probabilities(p[scored]).sum()
    note = ""
    if missing == named:
        note = "it gives no probabilities, so it has no curves, no calibration and no prediction sets"
    elif missing:
        note = f"the column {missing[0]!r} is missing, so its probabilities are not used"
        p[:] = np.nan
    elif unknown:
        note = (
            f"{unknown} particles lack the probability of a class, so measures of probabilities are undefined"
        )
    elif wrong:
        note = f"the probabilities of {wrong} of {scored.sum()} particles do not sum to 1; only their order is used"
    return dict(zip(named, p.T)), [note] if note else []
