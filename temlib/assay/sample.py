"""A model bundle applied to a new sample: its particles are called, and the calls corrected by the bundle's error rates."""

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from temlib.assay.labelled import labelled_shares
from temlib.assay.planner import intraclass_correlation
from temlib.assay.prevalence import COUNT, REFUSED, Correction, calls
from temlib.data import star_with_columns
from temlib.evaluate import decided, demanded, with_interval
from temlib.files import InputError, listed, natural, nearest, shown

# One micrograph in 370 lies outside such limits by chance, on either side together: three standard deviations of a normal.
OUTSIDE = 0.00135
# The two ways to a share, in the column `estimate`.
CORRECTED, WITH_LABELS = "corrected", "with labels"


@dataclass(frozen=True)
class Sample:
    """A sample as a bundle's models call it; made by `measure`.

    Attributes
    ----------
    bundle : train.Bundle
    particles : data.Particles
        With the column `call` in their table: the class that the mean probability of all fold models calls, or "refused".
    table : DataFrame
        `particle, micrograph, predicted, p_<class>…` (means of the fold models), `refused` and `reason`.
    correction : Correction
        Of the particles that are called.
    calls : DataFrame
        Of each fold model, by micrograph, without the refused; see `temlib.assay.prevalence`.
    shares : DataFrame
        As `Correction.shares` and, where there are labels, `labelled_shares` give them, told apart by the column `estimate`
        ("corrected", "with labels"); of simulated particles with the column `truth`. What is refused counts for no class, but
        the corrected shares allow for the particles of each class that were refused among the held-out ones. `refused` is the
        share of all particles.
    carried : DataFrame
        `Correction.carried_over` of the labels; empty where there are none.
    notes : list of str
        What a reader of the shares must know.
    """

    bundle: object = field(repr=False)
    particles: object = field(repr=False)
    table: pd.DataFrame = field(repr=False)
    correction: Correction = field(repr=False)
    calls: pd.DataFrame = field(repr=False)
    shares: pd.DataFrame
    carried: pd.DataFrame = field(repr=False)
    notes: list

    @property
    def corrected(self):
        """The rows of `shares` that answer the question, by class."""
        return self.shares[self.shares["estimate"] == CORRECTED]

    @cached_property
    def lights(self):
        """What the shares rest on: dicts with `title`, `state` ("good", "warn" or "unknown") and `words`."""
        return [self._kind_light(), self._rates_light(), self._met_light()]

    @property
    def warned(self):
        """Sentences on why the shares should not be trusted."""
        return [light["words"] for light in self.lights if light["state"] == "warn"]

    def criteria(self, accept):
        """Return whether the corrected shares are what was demanded beforehand.

        Parameters
        ----------
        accept : dict of str to str
            Classes and demands, such as `{"multilamellar": "<= 5 %"}`.

        Returns
        -------
        DataFrame
            `criterion, result, verdict`, as `evaluate.criteria` gives them; "undecided" where `lights` warn.

        Raises
        ------
        InputError
            For a class or a demand that is none.
        """
        rows, own = [], self.corrected.set_index("class")
        for name, (criterion, least, limit) in parse_criteria(accept, self.correction.classes).items():
            verdict = "undecided" if self.warned else decided(own.loc[name], least, limit)
            rows.append((criterion, written(own.loc[name]), verdict))
        return pd.DataFrame(rows, columns=["criterion", "result", "verdict"])

    def rates(self):
        """Return how the held-out particles of the bundle were called: `truth, n`, and a share for each class and the refused."""
        counts = self.bundle.held_out
        n, names = counts.sum(axis=1), [f"called {name}" for name in self.correction.classes]
        table = counts.div(n, axis=0).set_axis([*names, REFUSED], axis=1)
        table.insert(0, "n", n)
        return table.reset_index()

    def by_micrograph(self):
        """Return the calls micrograph by micrograph, with the limits of a control chart.

        Returns
        -------
        DataFrame
            `micrograph, class, n` (particles that are not refused), `refused` (how many are), `share` (called, not corrected),
            `centre` (of all particles), `low, high`: within these lie 99.7 %
            of the micrographs of `n` particles if micrographs differ no more than they usually do here (beta-binomial, with
            the intraclass correlation of the sample's calls); `outside`.
        """
        refused = self.table.groupby("micrograph")[REFUSED].sum()
        kept = self.table[~self.table[REFUSED]]
        counts = kept.groupby(["micrograph", "predicted"]).size().unstack(fill_value=0)
        counts = counts.reindex(columns=self.correction.classes, fill_value=0)
        counts = counts.loc[sorted(counts.index, key=natural)]
        alike = intraclass_correlation(self.correction, self.calls).fillna(0).clip(1e-6, 0.99)
        n, parts = counts.sum(axis=1), []
        for name in counts:
            centre = np.clip(counts[name].sum() / n.sum(), 1e-9, 1 - 1e-9)
            spread = (1 - alike[name]) / alike[name]
            limits = stats.betabinom(n, centre * spread, (1 - centre) * spread)
            part = pd.DataFrame({"micrograph": counts.index, "class": name, "n": n.to_numpy()})
            part = part.assign(refused=refused[counts.index].to_numpy())
            part = part.assign(share=(counts[name] / n).to_numpy(), centre=centre)
            parts.append(
                part.assign(low=limits.ppf(OUTSIDE) / part["n"], high=limits.ppf(1 - OUTSIDE) / part["n"])
            )
        table = pd.concat(parts, ignore_index=True)
        return table.assign(outside=(table["share"] < table["low"]) | (table["share"] > table["high"]))

    def summary(self, criteria):
        """Return what is to be said of the sample, as JSON can hold it; `criteria` are those of `criteria`.

        Returns
        -------
        dict
            What a run's first page reads: `title, question, simulated`; `verdict` (sentences: what forbids to trust the shares,
            the shares, of how many particles, under which conditions), `shares`, `criteria` and `lights`.
        """
        own, card = self.corrected, self.bundle.card
        untested = "How it does on real ones has not been measured."
        first = f"The classifier has seen no real particle. {card.get('tested', untested)}"
        number = self.table["micrograph"].nunique()
        of = f"{len(self.table):,} particles in {number:,} micrograph{'s' * (number > 1)}"
        out = self.table[REFUSED].sum()
        out = f"{out:,} refused, which count for no class" if out else "none refused"
        kind = "simulated" if card["simulated"] else "measured"
        told = [
            f"{row['class']} {written(row)}, counted {_percent(row['counted'])}{_truly(row)}"
            for _, row in own.iterrows()
        ]
        conditions = (
            f"Called by {card['model']}, trained on {kind} particles; the shares hold if it errs on particles of each class here "
            "as often as on those that were held out then. Another microscope, dose or preparation may change that."
        )
        sure = (
            f"Intervals (95 %) are by micrograph. {self.correction.known()}"
            if own["low"].notna().all()
            else "One micrograph gives no interval."
        )
        said = [f"{'; '.join(told)}.", f"{of}; {out}. {sure}", conditions]
        return {
            "title": card["task"],
            "question": f"What share of the sample is what ({card['task']})?",
            "simulated": self.particles.simulated,
            "verdict": [*[first] * self._unseen, *self.warned, *said],
            "shares": [
                {
                    "class": row["class"],
                    "n": int(row["n"]),
                    "number": row["share"],
                    "text": written(row) + _truly(row),
                }
                | {end: None if np.isnan(row[end]) else row[end] for end in ("low", "high")}
                for _, row in own.iterrows()
            ],
            "criteria": criteria.to_dict("records"),
            "lights": self.lights,
        }

    @property
    def _unseen(self):
        """Whether the models have learnt from simulated particles alone and these are real."""
        return self.bundle.card["simulated"] and not self.particles.simulated

    def star(self, data_folder=""):
        """Return the text of the RELION STAR file that the particles were read from, with their calls; "" where there is none.

        The columns `temlib_<task>` (the class, with _ for blanks; "refused" and "skipped" where there is none) and
        `temlib_<task>_probability` are added to its particles, or take the place of those of an earlier assay.
        """
        path = Path(self.particles.source)
        if path.suffix.lower() != ".star":
            return ""
        name = re.sub(r"\W", "_", f"temlib_{self.bundle.card['task']}")
        own, classes = self.table.set_index("particle"), self.correction.classes
        place = pd.Categorical(own["predicted"], classes).codes
        sure = own[[f"p_{label}" for label in classes]].to_numpy()[np.arange(len(own)), place]
        words = [re.sub(r"[\s#'\"]", "_", str(label)) for label in own["predicted"]]
        values = pd.DataFrame(
            {name: words, f"{name}_probability": [f"{value:.4f}" for value in sure]}, own.index
        )
        values[own["refused"]] = ["refused", "0"]
        for particle in self.particles.skipped.get("particle", ()):
            values.loc[particle] = ["skipped", "0"]
        return star_with_columns(path, values, data_folder)

    def _rates_light(self):
        """Return whether labels of the sample say that the error rates carry over: title, state and words."""
        title = "Do the error rates carry over?"
        if self._unseen and self.carried["p_value"].isna().all():
            words = (
                "The error rates are those of simulated particles, and nothing says that they hold on real ones: give "
                f"{self.bundle.card['task']!r} of a few particles of each micrograph, drawn at random."
            )
            return {"title": title, "state": "warn", "words": words}
        if self.carried["p_value"].isna().all():
            words = f"Unknown without labels: give {self.bundle.card['task']!r} of a few particles of each micrograph, drawn at random."
            return {"title": title, "state": "unknown", "words": words}
        least, n = self.carried["p_value"].min(), self.carried.groupby("truth")["n"].first().sum()
        differ = least <= 0.05
        found = f"{n:,} labelled particles are called {'otherwise than' if differ else 'as'} the held-out ones were"
        words = f"{found} (smallest p, after Bonferroni: {least:.2g})."
        rest = (
            "Trust the shares with labels." if differ else "That shows no difference, not that there is none."
        )
        return {"title": title, "state": "warn" if differ else "good", "words": f"{words} {rest}"}

    def _kind_light(self):
        """Return whether the sample is beyond all that was learnt from: title, state and words."""
        beyond, boxed = self.bundle.unlike(self.particles), self.bundle.boxed(self.particles)
        state = "warn" if beyond or boxed else "unknown" if beyond is None else "good"
        words = "The bundle does not tell what it learnt from, or knows fewer than ten micrographs."
        if beyond:
            each = [
                f"{name} {value:.3g} ({low:.3g} to {high:.3g})" for name, (value, low, high) in beyond.items()
            ]
            words = (
                "The error rates may not hold here, for the middle micrograph is beyond every class of every micrograph learnt from: "
                f"{', '.join(each)}. Cut out and prepare particles as then, or label a few in each micrograph."
            )
        elif beyond is not None:
            words = (
                "In contrast, spread of the intensities and size of the boxes the middle micrograph lies within what was learnt from. "
                "That is no proof that the error rates hold."
            )
        if boxed:
            words = f"{boxed} {words if beyond else 'Until then the error rates may not hold here.'}"
        return {"title": "Like what was learnt?", "state": state, "words": words}

    def _met_light(self):
        """Return whether the models have learnt from particles of the sample: title, state and words."""
        met = int(self.bundle.met(self.particles).sum())
        words = "None of these images is among those that the models learnt from."
        if met:
            words = f"{met:,} of these particles are among those that the models learnt from, so their calls are too good; leave them out."
        return {"title": "A new sample?", "state": "warn" if met else "good", "words": words}

    def empty_micrographs(self):
        """Return the names of images beside those that particles were cut out of, or of simulated micrographs, without any."""
        cut = set(self.particles.cut_from.dropna())
        if self.particles.study is not None:
            return sorted({*self.particles.study.names} - cut, key=natural)
        if self.particles.folder is None or not cut:
            return []
        beside = {(self.particles.folder / name).parent for name in cut}
        kinds = {(self.particles.folder / name).suffix for name in cut}
        files = {path for folder in beside for path in folder.iterdir() if path.suffix in kinds}
        used = {self.particles.folder / name for name in cut}
        return sorted((path.name for path in files - used), key=natural)


def measure(bundle, particles):
    """Return a `Sample`: particles called by a bundle, and the shares of the classes.

    Parameters
    ----------
    bundle : train.Bundle
    particles : data.Particles
        As `bundle.open` prepares them. Where their table has the bundle's task as a column, with labels of a few particles
        drawn at random in each micrograph, these give the shares a second way.

    Raises
    ------
    InputError
        What `bundle.predict` and `Correction` refuse, and where every particle is refused.
    """
    correct, (table, each) = correction(bundle), predicted(bundle, particles)
    counted = calls(each, micrographs=table["micrograph"].unique())
    if particles.sessions is not None:
        counted["session"] = counted["micrograph"].map(particles.sessions)
    told = correct.shares(counted)
    tables = [_of_all(told.table, bundle).assign(estimate=CORRECTED)]
    notes = [*told.notes, *_refused_notes(bundle, table)]
    carried = pd.DataFrame(columns=["truth", "called", "rate", "new_rate", "p_value", "n"])
    labels = _labels(particles.table, bundle.card["task"], each)
    if len(labels):
        try:
            tables.append(labelled_shares(counted, labels).table.assign(estimate=WITH_LABELS))
            carried = correct.carried_over(labels)
        except InputError as error:
            notes.append(f"The labels of the sample are not used: {error}")
    shares = pd.concat(tables, ignore_index=True).drop(columns="by_probability")
    shares[REFUSED] = table[REFUSED].mean()
    shares = shares[["class", "estimate", *shares.columns.drop(["class", "estimate"])]]
    truth = particles.table.get(f"truth_{bundle.card['task']}")
    if truth is not None and truth.isin(correct.classes).all():
        shares["truth"] = shares["class"].map(truth.value_counts(normalize=True)).fillna(0.0)
    call = table["predicted"].mask(table[REFUSED], REFUSED).to_numpy()
    named = replace(particles, table=particles.table.assign(call=call))
    return Sample(bundle, named, table, correct, counted, shares, carried, notes)


def predicted(bundle, particles):
    """Return the mean predictions of a bundle, and those of each fold model of what is not refused.

    They are made as those of the held-out particles were that gave the error rates on its card.
    """
    found = bundle.predict(particles, alone=bundle.card.get("alone", False))
    table = found[found["fold"] == 0].drop(columns="fold").reset_index(drop=True)
    out = found["particle"].isin(table["particle"][table[REFUSED]])
    each = found[(found["fold"] > 0) & ~out].drop(columns=[REFUSED, "reason"])
    if each.empty:
        fault = f"all {len(table):,} particles look like none that were learnt"
        raise InputError(f"{particles.source}: {fault}; are their positions, pixel size and contrast right?")
    return table, each


def correction(bundle):
    """Return the `Correction` by the out-of-fold counts of a bundle, of the particles that were not refused."""
    rates = bundle.confusion.drop(columns=REFUSED)
    called = {f"called_{name}": f"{COUNT}{name}" for name in bundle.card["classes"]}
    try:
        return Correction(rates.rename(columns=called))
    except InputError as error:
        raise InputError(f"{shown(bundle.folder)}: {error}") from None


def _of_all(shares, bundle):
    """Return shares of the particles that are called as those of all: a class counts for more if more of it is refused."""
    counts = bundle.held_out.loc[shares["class"]]
    weight = (counts.sum(axis=1) / counts.drop(columns=REFUSED).sum(axis=1)).to_numpy()
    own = shares["share"].to_numpy()
    rest = np.where(own < 1, (own @ weight - own * weight) / np.maximum(1 - own, 1e-9), 1)
    moved = {name: shares[name].to_numpy() for name in ("share", "low", "high", "solved")}
    return shares.assign(**{name: x * weight / (x * weight + (1 - x) * rest) for name, x in moved.items()})


def _refused_notes(bundle, table):
    """Return what is to be said of the refused particles, in a list."""
    if not bundle.refuses:
        words = "The model was saved before anything was refused: ice, dirt and empty windows are called one of the classes."
        return [words]
    counts = bundle.held_out.sum()
    here, then = table[REFUSED].mean(), counts[REFUSED] / counts.sum()
    return [
        f"{here:.1%} of the particles look like no particle and are refused; of the held-out ones {then:.1%} were."
    ]


def _labels(table, task, each):
    """Return the labelled particles of a sample, a row for each fold model; empty where there are none."""
    truth = table.set_index("particle")[task] if task in table else pd.Series(dtype=object)
    labels = each.assign(truth=each["particle"].map(truth))
    return labels[labels["truth"].notna() & (labels["truth"] != "")]


def parse_criteria(accept, classes):
    """Return {class: (criterion, least, limit)} of demands on shares; refuse other names, and what is no demand on a share."""
    found = {}
    for name, demand in accept.items():
        if name not in classes:
            hint = nearest(name, classes)
            raise InputError(
                f"accept: there is no class {shown(name)!r}{hint}; the classes are {listed(classes)}."
            )
        found[name] = demanded(name, demand)
        if not 0 <= found[name][2] <= 1:
            raise InputError(
                f"accept: {shown(str(demand))!r} of {shown(name)!r} is no demand on a share, which lies between 0 and 1; write one such as "
                "'<= 5 %'."
            )
    return found


def written(row):
    """Return a share with its interval, such as "18.2 % (13.1–24.0)"."""
    return with_interval(row, _tenths, of="share", unit=" %", without=" (no interval)")


def _truly(row):
    """Return the true share of simulated particles, in words."""
    return f", truth {_percent(row['truth'])}" if pd.notna(row.get("truth")) else ""


def _percent(share):
    return f"{_tenths(share)} %" if pd.notna(share) else "–"


def _tenths(share):
    """Return a share in per cent with one decimal."""
    return f"{100 * share:.1f}"
