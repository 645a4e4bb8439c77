"""The verdict in words: which of two models tells the classes apart better, by how much, and how sure that is.

Every sentence is a function of the tables of `Predictions.measures` and `Predictions.compare`, never typed by hand:
exchange two models' rows in the predictions and every sentence exchanges them too (tested).
"""

import numpy as np
import pandas as pd

from temlib.evaluate import intervals
from temlib.evaluate.answer import (
    classes_of,
    comparator,
    paired,
    percent,
    rows_of,
    written_difference,
    written_share,
)
from temlib.evaluate.examples import annotator_ceiling
from temlib.evaluate.intervals import quoted
from temlib.evaluate.measures import PRIMARY_MEASURE, few

# Two models count as equally good where the whole interval of their difference is within this: a choice, and the verdict
# states it.
MARGIN = 0.05
# People agree well enough where each annotator reaches this balanced accuracy against the others; a choice as well.
AGREEING = 0.9
# Names of two classes that are longer than this together are not repeated in every sentence.
LONG_NAMES = 60
OTHERS = ("accuracy", "MCC", "kappa")


def summary(measures, compared, *, task, primary, simulated, unsure=(), particles=None):
    """Return what is to be said of a task, from the verdict to single classes, as JSON can hold it (NaN is None).

    Parameters
    ----------
    measures, compared : DataFrame
        From `Predictions.measures` and `Predictions.compare`.
    task, primary : str
        The label column, and the model declared primary.
    simulated : bool
        Whether the particles were simulated.
    unsure : dict of str to int
        `Predictions.unsure_labels`.
    particles : DataFrame, optional
        The particles' table: column `task`, optionally `micrograph`, `<task>@<annotator>`, `truth_<task>`.

    Returns
    -------
    dict
        `title`, `simulated`; `question` (a sentence); `case`: "primary" or "opponent" is better, "undecided",
        "equivalent" (the interval of the difference within 5 points), "alone" (one model), "none" (no answer);
        `answer_model`; `verdict` (at most three sentences) and `sentences` (the further ones); `headline`, a dict per
        model: task, model, primary, value and interval (text), number, low, high (in [0, 1]), n, micrographs; `shares`
        of the labelled definite particles, a dict per class: class, n, number, low, high, text; `lights`, dicts with
        title, state ("good", "warn" or "unknown") and words.
    """
    rows = rows_of(measures, PRIMARY_MEASURE, "all")
    other = comparator(list(rows.index), primary)
    row = paired(compared, PRIMARY_MEASURE, "all", primary, other) if other else None
    case = _case(rows, row, primary)
    names = classes_of(measures)
    what, further = _what(names, task), []
    if case == "none":
        said = _none(rows, primary)
    elif case == "alone":
        said = _alone(measures, rows, what, primary)
    else:
        reasons = _at_chance(rows, names, case, primary, other)
        reasons += _contradiction(measures, compared, case, primary, other)
        said = _compared(case, rows, row, what) + reasons[:1]
        further = reasons[1:]
    if primary in rows.index:
        further += _further(measures, compared, rows, primary, other, case)
    further += [
        f"Set aside, neither learnt nor scored: {count:,} particles labelled {label}, which people could not tell."
        for label, count in dict(unsure).items()
    ]
    alone = f"How well does {primary} tell {what}?"
    return {
        "title": task,
        "simulated": bool(simulated),
        "question": alone if len(rows) < 2 else f"Which classifier tells {what} best, and how well?",
        "case": case,
        "answer_model": other if case == "opponent" else primary,
        "verdict": said,
        "sentences": further,
        "headline": [_numbers(task, name, name == primary, found) for name, found in rows.iterrows()],
        "shares": [] if particles is None else _composition(particles, task, names),
        "lights": _lights(measures, rows, task, primary, names, particles, simulated),
    }


def _case(rows, row, primary):
    """Return which of the cases of `summary` holds; `row` is the primary model minus its comparator, or None."""
    if primary not in rows.index or pd.isna(rows.loc[primary, "value"]):
        return "none"
    if row is None or pd.isna(row["difference"]):
        return "alone"
    if pd.isna(row["low"]):
        return "undecided"
    # 1e-9: an interval that ends at the margin must not leave it by rounding.
    if max(-row["low"], row["high"]) <= MARGIN + 1e-9:
        return "equivalent"
    return "primary" if row["low"] > 0 else "opponent" if row["high"] < 0 else "undecided"


def _what(names, task):
    """Return what is told apart, for a sentence with "tell"."""
    if sum(map(len, names)) <= LONG_NAMES:
        *first, last = names
        return (
            f"{first[0]} from {last} particles"
            if len(names) == 2
            else f"{', '.join(first)} and {last} particles apart"
        )
    return f"the {len(names)} classes of {task} apart"


def _compared(case, rows, row, what):
    """Return two sentences on the primary model and its comparator, of which `row` is the difference."""
    one, two = row["model_a"], row["model_b"]
    first, second = (two, one) if case == "opponent" else (one, two)
    score = {name: written_share(rows.loc[name]) for name in (one, two)}
    finds = f"on average it finds {score[first]} of each class, {second} {score[second]}"
    on = f"on {int(row['n']):,} held-out particles of {int(row['micrographs'])} micrographs (in brackets 95 % intervals)"
    difference = f"{written_difference(row)} {on}"
    sure = "may be chance" if pd.notna(row["low"]) else "proves nothing without an interval"
    return {
        "primary": [f"{one} tells {what} better than {two}: {finds}.", f"The difference is {difference}."],
        "opponent": [
            f"{two} tells {what} better than {one}, the model declared primary: {finds}.",
            f"So the answer is {two}; {one} minus {two} is {difference}.",
        ],
        "equivalent": [
            f"{one} tells {what} as well as {two}: {finds}.",
            f"Their difference, {difference}, lies within the {100 * MARGIN:.0f} points that count as equally good here.",
        ],
        "undecided": [
            f"Neither {one} nor {two} is shown to tell {what} better: on average {one} finds {score[one]} of each class, "
            f"{two} {score[two]}.",
            f"The difference, {difference}, {sure}.",
        ],
    }[case]


def _at_chance(rows, names, case, one, two):
    """Return a sentence on those of the two models that are not shown to be better than guessing, or nothing."""
    guess = 1 / len(names)
    found = [name for name in (one, two) if not rows.loc[name, "low"] > guess]
    if not found or (case in ("primary", "opponent") and len(found) < 2):
        return []
    subject = f"{found[0]} is not" if len(found) < 2 else f"Neither {one} nor {two} is"
    return [f"{subject} shown to be better than guessing, which finds {percent(guess)}."]


def _none(rows, primary):
    """Return why there is no verdict."""
    if primary not in rows.index:
        return [f"The model declared primary, {primary}, has no predictions, so there is no answer."]
    why = rows.loc[primary, "method"].removeprefix("undefined: ")
    return [f"There is no answer: the {PRIMARY_MEASURE} of {primary} is undefined, since {why}."]


def _alone(measures, rows, what, primary):
    """Return what one model reaches, against guessing and against always predicting the commonest class."""
    main, counts = rows.loc[primary], _of_classes(measures, primary)["n"]
    right, share = rows_of(measures, "accuracy", "all").loc[primary], counts.max() / counts.sum()
    guess = 1 / len(counts)
    shown = "is not shown to be better than" if not main["low"] > guess else "is better than"
    return [
        f"{primary} tells {what} with a {PRIMARY_MEASURE} of {percent(main['value'])}: on average it finds "
        f"{written_share(main)} of each class, on {int(main['n']):,} held-out particles of {int(main['micrographs'])} micrographs.",
        f"This {shown} guessing or always predicting one class, which reach {percent(guess)}.",
        f"Of all particles it calls {written_share(right)} rightly; always predicting {counts.idxmax()} would call {percent(share)}.",
    ]


def _of_classes(measures, model):
    """Return a model's TPR of each single class, by class."""
    rows = measures[(measures["measure"] == "TPR") & (measures["model"] == model)].set_index("class")
    return rows.loc[classes_of(measures)]


def _contradiction(measures, compared, case, one, two):
    """Return why accuracy, MCC and kappa all point the other way than the verdict, or nothing."""
    rows = [paired(compared, measure, "all", one, two) for measure in OTHERS]
    table = pd.DataFrame([row for row in rows if row], columns=["difference", "low", "high"])
    against = table["difference"] * {"primary": -1, "opponent": 1}.get(case, np.nan) > 0
    if case in ("undecided", "equivalent"):
        # There a difference counts only where all three show one.
        against = table["low"] > 0 if (table["difference"] > 0).all() else table["high"] < 0
    if len(table) < len(OTHERS) or not against.all():
        return []
    ahead, behind = (one, two) if table["difference"].iloc[0] > 0 else (two, one)
    more = _of_classes(measures, ahead)["value"] > _of_classes(measures, behind)["value"]
    found = more.index[more]
    named = " and ".join(found) if len(found) < 3 else f"{len(found)} of {len(more)} classes"
    return [
        f"Accuracy, MCC and kappa favour {ahead}: they depend on how many particles a class has, and {ahead} finds more of "
        f"{named}; the verdict weighs every class alike."
    ]


def _further(measures, compared, rows, primary, other, case):
    """Return sentences on each class, other models, the highest after the fact, and chance."""
    found = _by_class(measures, compared, primary, other)
    if case == "alone" and other:
        found.append(f"{other} cannot be compared: {rows.loc[other, 'method']}.")
    rest, ahead = rows.index.drop([name for name in (primary, other) if name]), []
    for name in rest:
        differences = [
            paired(compared, PRIMARY_MEASURE, "all", name, than) for than in (primary, other) if than
        ]
        row = differences[0]
        unclear = not row or not (row["low"] > 0 or row["high"] < 0)
        ending = f"; it minus {primary}: {written_difference(row)}" if row else ""
        ending += ", so neither is shown to be better" if unclear else ""
        found.append(f"{name} finds {written_share(rows.loc[name])} of each class on average{ending}.")
        if all(row and row["low"] > 0 for row in differences):
            ahead.append(name)
    if ahead:
        highest = rows.loc[ahead, "value"].idxmax()
        found.append(
            f"The highest of the {len(rows)} models is {highest}; since it was picked after the results were seen, its "
            f"{percent(rows.loc[highest, 'value'])} is optimistic: confirm it on new micrographs."
        )
    number = len(classes_of(measures))
    return [
        *found,
        f"Guessing among {number} classes, or always predicting one, finds {percent(1 / number)} on average.",
    ]


def _by_class(measures, compared, primary, other):
    """Return a sentence on what the models find of each class."""
    found, theirs = [], _of_classes(measures, other) if other else None
    for label, row in _of_classes(measures, primary).iterrows():
        if pd.isna(row["value"]):
            why = row["method"].removeprefix("undefined: ")
            found.append(f"The share of {label} that {primary} finds is undefined: {why}.")
            continue
        ending, pair = "", paired(compared, "TPR", label, primary, other) if other else None
        if other:
            ending = f", {other} {written_share(theirs.loc[label])}"
        if pair:
            ending += f"; difference {written_difference(pair)}"
        found.append(
            f"Of {int(row['n']):,} truly {label} particles {primary} finds {written_share(row)}{ending}."
        )
    return found


def _number(value):
    """Return a float, or None where it is unknown."""
    return None if pd.isna(value) else float(value)


def _numbers(task, model, primary, row):
    """Return the headline of a model."""
    return {
        "task": task,
        "model": model,
        "primary": primary,
        "value": percent(row["value"]),
        "interval": f"{percent(row['low'])} to {percent(row['high'])}",
        "number": _number(row["value"]),
        "low": _number(row["low"]),
        "high": _number(row["high"]),
        "n": int(row["n"]),
        "micrographs": int(row["micrographs"]),
    }


def _composition(particles, task, names):
    """Return the share of each class among the particles labelled as one of them, with its interval by micrograph."""
    labels = particles[task].astype(object).map(quoted, na_action="ignore")
    kept = labels.isin(names).to_numpy()
    places = particles.get("micrograph", particles["particle"])[kept]
    counts = pd.crosstab(places, labels[kept]).reindex(columns=names, fill_value=0).to_numpy(float)
    sizes = np.repeat(counts.sum(axis=1, keepdims=True), len(names), axis=1)
    if not len(counts):
        return []
    shares = intervals.of_shares(counts, sizes, independent=bool(sizes.max() == 1))
    rows = zip(names, counts.sum(axis=0), shares.to_dict("records"))
    return [
        {"class": name, "n": int(n), "text": written_share(row)}
        | {
            key: _number(row[column])
            for key, column in (("number", "value"), ("low", "low"), ("high", "high"))
        }
        for name, n, row in rows
    ]


def _lights(measures, rows, task, primary, names, particles, simulated):
    """Return whether there are enough micrographs, and whether labels agree, as dicts with title, state and words."""
    model = primary if primary in rows.index else rows.index[0]
    own = measures[measures["model"] == model]
    notes, least = few(own), _of_classes(measures, model)["n"]
    words = " ".join(notes) or (
        f"{own['micrographs'].max()} micrographs; the rarest class, {least.idxmin()}, has {least.min():,} particles."
    )
    enough = {"title": "Enough micrographs?", "state": "warn" if notes else "good", "words": words}
    if not notes and own["micrographs"].max() == own["n"].max():
        enough |= {
            "state": "unknown",
            "words": "Each particle counts as a micrograph of its own; particles that lie together make intervals too narrow.",
        }
    agree = {
        "title": "Do the labels agree?",
        "state": "unknown",
        "words": "There is one label for each particle, so how well people agree is unknown.",
    }
    if particles is not None:
        given = [label for label in particles[task].dropna().unique() if quoted(label) in names]
        ceiling = annotator_ceiling(particles, task, given).dropna(subset="value")
        people = ceiling[ceiling["against"] != "the simulated truth"]
        chosen = people if len(people) else ceiling
        if len(chosen):
            worst = chosen.loc[chosen["value"].idxmin()]
            kind = "Simulated: " if simulated else ""
            among = f"; the least of {len(chosen)}" if len(chosen) > 1 else ""
            agree |= {
                "state": "good" if worst["value"] >= AGREEING else "warn",
                "words": f"{kind}{worst['who']} against {worst['against']}: {percent(worst['value'])} of each class on "
                f"average{among} ({int(worst['n']):,} particles to which both gave a class; at least {percent(AGREEING)} is called good).",
            }
    return [enough, agree]
