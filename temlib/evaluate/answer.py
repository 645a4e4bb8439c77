"""The answer in words, made from the tables and never typed by hand.

`measures` and `compared` are the tables of `Predictions.measures` and `Predictions.compare`, of which every sentence is
a function: exchange two models' rows in the predictions and every sentence exchanges them too (tested).
"""

import pandas as pd

from temlib.evaluate.intervals import AVERAGES
from temlib.evaluate.measures import PRIMARY_MEASURE


def with_interval(row, write, *, of="value", unit="", to="–", without="", undefined="undefined"):
    """Return the number `of` a row with its interval, such as "0.91 (0.86–0.95)"; `write` turns a number into text."""
    if pd.isna(row[of]):
        return undefined
    ends = without if pd.isna(row["low"]) else f" ({write(row['low'])}{to}{write(row['high'])})"
    return write(row[of]) + unit + ends


def two_digits(number):
    """Return a number such as "0.91", with a proper minus, a dash where it is unknown."""
    return f"{number:.2f}".replace("-", "−") if pd.notna(number) else "–"


def _signed(number):
    """Return a number such as "+0.07", with a proper minus."""
    return f"{number:+.2f}".replace("-", "−")


def _points(share):
    """Return a share as a whole number of per cent, with a proper minus, never "−0"."""
    return f"{100 * share:z.0f}".replace("-", "−")


def percent(value):
    """Return a share in whole per cent, or a dash where it is undefined."""
    return f"{_points(value)} %" if pd.notna(value) else "–"


def _share(row):
    """Return a value with its interval, such as "91 % (86–95)"."""
    return with_interval(row, _points, unit=" %", without=" (no interval)", undefined="–")


def _difference(row):
    """Return a difference with its interval, such as "7 points (3 to 11)"."""
    unit = " point" if _points(row["difference"]) in ("1", "−1") else " points"
    return with_interval(row, _points, of="difference", unit=unit, to=" to ", without=" (no interval)")


def _is_svm(name):
    return name.startswith("svm")


def comparator(models, primary):
    """Return the model that the primary one is compared with, or None, as `Predictions.pair`."""
    others = [name for name in models if name != primary]
    networks, machines = [n for n in others if not _is_svm(n)], sorted(filter(_is_svm, others))
    return next(iter((networks if _is_svm(primary) else machines) or others), None)


def _paired(compared, measure, label, one, two):
    """Return the row of `one` minus `two` of a measure and class, whichever way it was compared, or None."""
    rows = compared[(compared["measure"] == measure) & (compared["class"] == label)]
    turned = rows.rename(columns={"model_a": "model_b", "model_b": "model_a"})
    turned = turned.assign(difference=-rows["difference"], low=-rows["high"], high=-rows["low"])
    rows = pd.concat([rows, turned])
    found = rows[(rows["model_a"] == one) & (rows["model_b"] == two)].to_dict("records")
    return found[0] if found else None


def _verdict(row):
    """Return what a difference does not show, or nothing."""
    unclear = pd.isna(row["low"]) or row["low"] <= 0 <= row["high"]
    return ", so neither is shown to be better" if unclear else ""


def _of(measures, measure, label):
    """Return the rows of a measure and class by model."""
    return measures[(measures["measure"] == measure) & (measures["class"] == label)].set_index("model")


def sentences(measures, compared, *, task, primary, unsure=()):
    """Return the answer: the primary model, each class, other models, the highest after the fact, chance, what is set aside."""
    rows = _of(measures, PRIMARY_MEASURE, "all")
    if primary not in rows.index:
        return [f"{task}: the model declared primary, {primary}, has no predictions, so there is no answer."]
    main, other = rows.loc[primary], comparator(list(rows.index), primary)
    reached = f"reaches a {PRIMARY_MEASURE} of {_share(main)}"
    if pd.isna(main["value"]):
        reached = f"has no {PRIMARY_MEASURE}: {main['method'].removeprefix('undefined: ')}"
    against = _against(rows, compared, PRIMARY_MEASURE, "all", primary, other, verdict=True)
    found = [
        f"{task}: on {int(main['n']):,} held-out particles of {int(main['micrographs'])} micrographs, {primary} "
        f"(declared primary) {reached}{against}."
    ]
    found += _by_class(measures, compared, primary, other)
    for name in rows.index.drop([n for n in (primary, other) if n]):
        row = _paired(compared, PRIMARY_MEASURE, "all", primary, name)
        ending = f"; {primary} minus {name}: {_difference(row)}{_verdict(row)}" if row else ""
        found.append(f"{name} reaches {_share(rows.loc[name])}{ending}.")
    highest = rows["value"].idxmax() if rows["value"].notna().any() else primary
    if highest != primary:
        found.append(
            f"The highest of the {len(rows)} models is {highest} with {percent(rows.loc[highest, 'value'])}; since it was picked "
            f"after the results were seen, this figure is optimistic, and {primary} remains the answer."
        )
    number = len(_classes(measures))
    chance = f"Guessing among {number} classes, or always predicting one, reaches {percent(1 / number)}."
    aside = [
        f"Set aside, neither learnt nor scored: {count:,} particles labelled {label}, which people could not tell."
        for label, count in dict(unsure).items()
    ]
    return [*found, chance, *aside]


def _classes(measures):
    """Return the single classes of a measures table."""
    names = measures.loc[measures["measure"] == "TPR", "class"].unique()
    return [name for name in names if name not in AVERAGES]


def _against(rows, compared, measure, label, primary, other, *, verdict=False):
    """Return the part of a sentence about the comparator, empty where there is none."""
    if other is None:
        return ""
    row = _paired(compared, measure, label, primary, other)
    text = f"; {other} {_share(rows.loc[other])}"
    return text + (f"; difference {_difference(row)}{_verdict(row) if verdict else ''}" if row else "")


def _by_class(measures, compared, primary, other):
    """Return a sentence on what the primary model finds of each class."""
    found = []
    for label in _classes(measures):
        rows = _of(measures, "TPR", label)
        row = rows.loc[primary]
        if pd.isna(row["value"]):
            why = row["method"].removeprefix("undefined: ")
            found.append(f"The share of {label} that it finds is undefined: {why}.")
        else:
            ending = _against(rows, compared, "TPR", label, primary, other)
            found.append(
                f"Of the {int(row['n']):,} truly {label} particles, {primary} finds {_share(row)}{ending}."
            )
    return found


def on_unsure(table, labels):
    """Return the sentence on one model's rows of `Predictions.unsure`; `labels` are those of the particles in question."""
    definite, aside = table.to_dict("records")
    calls = [f"{aside[name]:,} {name}" for name in table if name.startswith("as ") and aside[name]]
    named = f"labelled {', '.join(labels)}, n = {int(aside['n']):,}"
    said = f"Of the particles that people could not tell ({named}), {aside['model']} predicts {', '.join(calls)}."
    if pd.isna(aside["refused"]):
        return f"{said} It gives no probabilities, so how sure it was of them is unknown."
    return (
        f"{said} Its median confidence is {two_digits(aside['confidence'])} for them and {two_digits(definite['confidence'])} for "
        f"the {int(definite['n']):,} definite particles. A limit that refuses the fifth of the definite ones of which it is least "
        f"sure would refuse {_share(aside | {'value': aside['refused']})} of those that people could not tell."
    )


def summary(measures, compared, *, task, primary, simulated, unsure=()):
    """Return what the index of a run shows for a task: title, simulated, sentences, headline (a dict per model).

    `measures` and `compared` are from `Predictions.measures` and `Predictions.compare`, `primary` is the declared model,
    `unsure` is `Predictions.unsure_labels`.
    """
    headline = [
        {
            "task": task,
            "model": row.Index,
            "primary": row.Index == primary,
            "value": percent(row.value),
            "interval": f"{percent(row.low)} to {percent(row.high)}",
            "n": int(row.n),
            "micrographs": int(row.micrographs),
        }
        for row in _of(measures, PRIMARY_MEASURE, "all").itertuples()
    ]
    found = sentences(measures, compared, task=task, primary=primary, unsure=unsure)
    return {"title": task, "simulated": bool(simulated), "sentences": found, "headline": headline}


def side_by_side(measures, compared, one, two):
    """Return the values and 95 % intervals of two models, and of their paired difference, as text.

    Columns class, measure, a column per model, and `<one> − <two>`; the measures of all classes come first. Where `two` is
    None there is one model. The tables are those of `summary`.
    """
    models = [name for name in (one, two) if name]
    together = (PRIMARY_MEASURE, "accuracy", "MCC", "kappa", "Brier score", "log loss")
    shown = [(name, "all") for name in together]
    shown += [(name, c) for c in _classes(measures) for name in ("TPR", "TNR", "PPV", "NPV", "F1", "AUC")]
    rows = []
    for measure, label in shown:
        of_models, row = _of(measures, measure, label), {"class": label, "measure": measure}
        row |= {m: with_interval(of_models.loc[m], two_digits) for m in models if m in of_models.index}
        if two:
            pair = _paired(compared, measure, label, one, two) or {"difference": None}
            row[f"{one} − {two}"] = with_interval(pair, _signed, of="difference", to=" to ")
        rows.append(row)
    return pd.DataFrame(rows)


def cost_table(measures, costs):
    """Return the balanced accuracy of each model beside what it costs (`costs.csv`: a row per model and fold).

    Columns model, balanced accuracy, low, high, and means over folds: training_s, prediction_ms_per_particle, weights.
    """
    table = _of(measures, "balanced accuracy", "all")[["value", "low", "high"]].reset_index()
    means = costs.groupby("model", sort=False)[["training_s", "prediction_ms_per_particle", "weights"]].mean()
    return table.rename(columns={"value": "balanced accuracy"}).merge(means.reset_index(), on="model")
