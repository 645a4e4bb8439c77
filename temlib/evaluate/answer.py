"""The answer in words, made from the tables and never typed.

Every sentence is a function of `measures.table` and `measures.compare`: exchange two models' rows in the predictions
and every sentence exchanges them too (tested).
"""

import pandas as pd

from temlib import train
from temlib.evaluate import measures

# What the headline is about; declared here once, so that the index, the sentences and Holm's correction agree.
PRIMARY_MEASURE = "balanced accuracy"


def percent(value):
    """Write a share as whole per cent, or a dash where it is undefined."""
    return f"{value:.0%}".replace("%", " %") if pd.notna(value) else "–"


def share(row):
    """Write a value with its interval, such as "91 % (86–95)"."""
    if pd.isna(row["value"]):
        return "–"
    if pd.isna(row["low"]):
        return f"{percent(row['value'])} (no interval)"
    return f"{percent(row['value'])} ({100 * row['low']:.0f}–{100 * row['high']:.0f})"


def points(row):
    """Write a difference of shares with its interval, such as "7 points (3 to 11)"."""
    if pd.isna(row["difference"]):
        return "undefined"
    value = _signed(100 * row["difference"])
    unit = "point" if value in ("1", "−1") else "points"
    if pd.isna(row["low"]):
        return f"{value} {unit} (no interval)"
    return f"{value} {unit} ({_signed(100 * row['low'])} to {_signed(100 * row['high'])})"


def _signed(number):
    """Write a whole number with a proper minus, never "−0"."""
    text = f"{number:.0f}"
    return "0" if text == "-0" else text.replace("-", "−")


def comparator(models, primary):
    """Give the model that the primary one is compared with: the strongest SVM for a network, the first network for an SVM.

    It follows from names and order alone, never from results, so that the comparison is not picked: `svm_texture` before
    `svm_thesis`, and the first other model where there is none of the other kind.
    """
    others = [name for name in models if name != primary]
    machines = [name for name in reversed(train.svm_names()) if name in others]
    networks = [name for name in others if name not in train.svm_names()]
    return next(iter((networks if primary in train.svm_names() else machines) or others), None)


def difference(compared, measure, label, one, two):
    """Give the row of `one` minus `two` of a measure and class, whichever way it was compared, or None."""
    rows = compared[(compared["measure"] == measure) & (compared["class"] == label)]
    for a, b, sign in ((one, two, 1), (two, one, -1)):
        found = rows[(rows["model_a"] == a) & (rows["model_b"] == b)]
        if len(found):
            row = found.iloc[0].to_dict()
            low, high = (row["low"], row["high"]) if sign == 1 else (-row["high"], -row["low"])
            return row | {"difference": sign * row["difference"], "low": low, "high": high}
    return None


def _verdict(row):
    if pd.isna(row["low"]) or row["low"] <= 0 <= row["high"]:
        return ", so neither is shown to be better"
    return ""


def sentences(measures, compared, *, task, primary):
    """Say in words what the tables hold about one task.

    Parameters
    ----------
    measures, compared : DataFrame
        As `measures.table` and `measures.compare` give them.
    task, primary : str

    Returns
    -------
    list of str
        The headline about the model declared primary; what it finds of each class; the other models; what is highest
        of all after the fact, marked optimistic; chance.
    """
    rows = measures[(measures["measure"] == PRIMARY_MEASURE) & (measures["class"] == "all")].set_index(
        "model"
    )
    if primary not in rows.index:
        return [f"{task}: the model declared primary, {primary}, has no predictions, so there is no answer."]
    main, other = rows.loc[primary], comparator(list(rows.index), primary)
    said = (
        f"{task}: on {int(main['n']):,} held-out particles of {int(main['micrographs'])} micrographs, {primary} "
        f"(declared primary) "
    )
    if pd.isna(main["value"]):
        said += f"has no {PRIMARY_MEASURE}: {main['method'].removeprefix('undefined: ')}"
    else:
        said += f"reaches a {PRIMARY_MEASURE} of {share(main)}"
    found = [said + _against(rows, compared, PRIMARY_MEASURE, "all", primary, other, verdict=True) + "."]
    found += _by_class(measures, compared, primary, other)
    for name in rows.index.drop([n for n in (primary, other) if n]):
        row = difference(compared, PRIMARY_MEASURE, "all", primary, name)
        ending = f"; {primary} minus {name}: {points(row)}{_verdict(row)}" if row else ""
        found.append(f"{name} reaches {share(rows.loc[name])}{ending}.")
    highest = rows["value"].idxmax() if rows["value"].notna().any() else primary
    if highest != primary:
        found.append(
            f"The highest of {len(rows)} models is {highest} with {percent(rows.loc[highest, 'value'])}; picked after the "
            f"results were seen, this figure is optimistic, and {primary} remains the answer."
        )
    classes = _classes(measures)
    found.append(
        f"Guessing among {len(classes)} classes, or always naming one of them, reaches {percent(1 / len(classes))}."
    )
    return found


def _classes(measures):
    names = measures.loc[measures["measure"] == "TPR", "class"].unique()
    return [name for name in names if name not in ("macro", "micro", "weighted", "all")]


def _against(rows, compared, measure, label, primary, other, *, verdict=False):
    """Give the part of a sentence about the opponent, empty where there is none."""
    if other is None:
        return ""
    row = difference(compared, measure, label, primary, other)
    words = f"; {other} {share(rows.loc[other])}"
    return words + (f"; difference {points(row)}{_verdict(row) if verdict else ''}" if row else "")


def _by_class(measures, compared, primary, other):
    found = []
    for label in _classes(measures):
        rows = measures[(measures["measure"] == "TPR") & (measures["class"] == label)].set_index("model")
        row = rows.loc[primary]
        if pd.isna(row["value"]):
            found.append(
                f"What it finds of {label} cannot be said: {row['method'].removeprefix('undefined: ')}."
            )
            continue
        ending = _against(rows, compared, "TPR", label, primary, other)
        found.append(f"Of the {int(row['n']):,} truly {label}, {primary} finds {share(row)}{ending}.")
    return found


def summary(measures, compared, *, task, primary, simulated):
    """Gather what the index shows of a task: sentences and the headline numbers, as plain JSON values."""
    rows = measures[(measures["measure"] == PRIMARY_MEASURE) & (measures["class"] == "all")]
    headline = [
        {
            "task": task,
            "model": row.model,
            "primary": row.model == primary,
            "value": percent(row.value),
            "interval": f"{percent(row.low)} to {percent(row.high)}",
            "n": int(row.n),
            "micrographs": int(row.micrographs),
        }
        for row in rows.itertuples()
    ]
    words = sentences(measures, compared, task=task, primary=primary)
    return {"title": task, "simulated": bool(simulated), "sentences": words, "headline": headline}


def _cell(row, value="value", sign=""):
    if pd.isna(row[value]):
        return "undefined"
    if pd.isna(row["low"]):
        return f"{row[value]:{sign}.2f}"
    ends = f"{row['low']:.2f}–{row['high']:.2f}" if not sign else f"{row['low']:+.2f} to {row['high']:+.2f}"
    return f"{row[value]:{sign}.2f} ({ends})".replace("-", "−")


def side_by_side(measures, compared, one, two, *, names=("TPR", "TNR", "PPV", "NPV", "F1", "AUC")):
    """Give one row per class and measure: value and 95 % interval of two models, and of their paired difference.

    Parameters
    ----------
    measures, compared : DataFrame
    one, two : str
        Models; `two` may be None, then there is one column of values.
    names : sequence of str
        One-vs-rest measures, shown for each class; those of all classes together come first.

    Returns
    -------
    DataFrame
        Columns class, measure, a column per model, and `<one> − <two>`.
    """
    together = [
        (name, "all") for name in (PRIMARY_MEASURE, "accuracy", "MCC", "kappa", "Brier score", "log loss")
    ]
    models = [name for name in (one, two) if name]
    kept = measures[measures["model"].isin(models)].set_index(["model", "measure", "class"])
    rows = []
    for measure, label in together + [(name, label) for label in _classes(measures) for name in names]:
        row = {"class": label, "measure": measure}
        row |= {m: _cell(kept.loc[(m, measure, label)]) for m in models if (m, measure, label) in kept.index}
        if two:
            found = difference(compared, measure, label, one, two)
            row[f"{one} − {two}"] = _cell(found, "difference", "+") if found else "undefined"
        rows.append(row)
    return pd.DataFrame(rows)


def worth(predictions, costs, task):
    """Set the balanced accuracy of each model beside what it costs.

    Parameters
    ----------
    predictions, costs : DataFrame
        From `training.train`.
    task : str

    Returns
    -------
    DataFrame
        A row a model: `model, balanced accuracy, low, high` (95 % interval by micrograph), and the means over folds
        `training_s, prediction_ms_per_particle, weights`.
    """
    table = measures.table(predictions, task=task)
    table = table[(table["measure"] == "balanced accuracy") & (table["class"] == "all")]
    table = table[["model", "value", "low", "high"]].rename(columns={"value": "balanced accuracy"})
    means = costs.groupby("model", sort=False)[["training_s", "prediction_ms_per_particle", "weights"]].mean()
    return table.merge(means.reset_index(), on="model")
