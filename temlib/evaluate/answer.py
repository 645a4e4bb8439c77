"""Numbers of the tables as text, with their intervals, and the rows that an answer is made of.

`measures` and `compared` are the tables of `Predictions.measures` and `Predictions.compare`.
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


def written_share(row):
    """Return a value with its interval, such as "91 % (86–95)"."""
    return with_interval(row, _points, unit=" %", without=" (no interval)", undefined="–")


def written_difference(row):
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


def paired(compared, measure, label, one, two):
    """Return the row of `one` minus `two` of a measure and class, whichever way it was compared, or None."""
    rows = compared[(compared["measure"] == measure) & (compared["class"] == label)]
    turned = rows.rename(columns={"model_a": "model_b", "model_b": "model_a"})
    turned = turned.assign(difference=-rows["difference"], low=-rows["high"], high=-rows["low"])
    rows = pd.concat([rows, turned])
    found = rows[(rows["model_a"] == one) & (rows["model_b"] == two)].to_dict("records")
    return found[0] if found else None


def rows_of(measures, measure, label):
    """Return the rows of a measure and class by model."""
    return measures[(measures["measure"] == measure) & (measures["class"] == label)].set_index("model")


def classes_of(measures):
    """Return the single classes of a measures table."""
    names = measures.loc[measures["measure"] == "TPR", "class"].unique()
    return [name for name in names if name not in AVERAGES]


def on_risk(table, errors):
    """Return how much one model can call with at most a share of `errors`, by its rows of `Predictions.risk`."""
    wrong = table.assign(value=table["risk"])
    every, fits = wrong.iloc[-1], wrong[wrong["risk"] <= errors]
    said = f"Of all {int(every['n']):,} particles {every['model']} calls {written_share(every)} wrongly"
    if every["risk"] <= errors:
        return f"{said}: to stay below {percent(errors)} it need refuse none."
    if fits.empty:
        least = wrong.iloc[0]
        return f"{said}, and even of the {int(least['n']):,} of which it is surest {written_share(least)}."
    kept = fits.iloc[-1]
    return (
        f"{said}; if it may refuse those of which it is least sure, it calls {percent(kept['coverage'])} of them, "
        f"{int(kept['n']):,} particles, at {written_share(kept)} errors (the limit was chosen on these particles)."
    )


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
        f"sure would refuse {written_share(aside | {'value': aside['refused']})} of those that people could not tell."
    )


def side_by_side(measures, compared, one, two):
    """Return the values and 95 % intervals of two models, and of their paired difference, as text.

    Columns class, measure, a column per model, and `<one> − <two>`; the measures of all classes come first. Where `two` is
    None there is one model. The tables are those of `summary`.
    """
    models = [name for name in (one, two) if name]
    together = (PRIMARY_MEASURE, "accuracy", "MCC", "kappa", "Brier score", "log loss")
    shown = [(name, "all") for name in together]
    shown += [(name, c) for c in classes_of(measures) for name in ("TPR", "TNR", "PPV", "NPV", "F1", "AUC")]
    rows = []
    for measure, label in shown:
        of_models, row = rows_of(measures, measure, label), {"class": label, "measure": measure}
        row |= {m: with_interval(of_models.loc[m], two_digits) for m in models if m in of_models.index}
        if two:
            pair = paired(compared, measure, label, one, two) or {"difference": None}
            row[f"{one} − {two}"] = with_interval(pair, _signed, of="difference", to=" to ")
        rows.append(row)
    return pd.DataFrame(rows)


def cost_table(measures, costs):
    """Return the balanced accuracy of each model beside what it costs (`costs.csv`: a row per model and fold).

    Columns model, balanced accuracy, low, high, and means over folds: training_s, prediction_ms_per_particle, weights.
    """
    table = rows_of(measures, "balanced accuracy", "all")[["value", "low", "high"]].reset_index()
    means = costs.groupby("model", sort=False)[["training_s", "prediction_ms_per_particle", "weights"]].mean()
    return table.rename(columns={"value": "balanced accuracy"}).merge(means.reset_index(), on="model")
