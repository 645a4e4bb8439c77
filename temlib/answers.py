"""The answer in words, made from the tables and never typed."""

import html

import pandas as pd


def percent(value):
    """Write a share as whole per cent, or a dash where it is undefined."""
    return f"{value:.0%}".replace("%", " %") if pd.notna(value) else "–"


def sentences(measures, *, task, primary):
    """Say in words what a measures table holds about one task.

    Parameters
    ----------
    measures : DataFrame
        As `measures.table` gives it.
    task, primary : str

    Returns
    -------
    list of str
        First the model declared primary, then one sentence for each other model, then chance.
    """
    rows = measures[(measures["measure"] == "balanced accuracy") & (measures["class"] == "all")].set_index(
        "model"
    )
    if primary not in rows.index:
        return [f"{task}: the model declared primary, {primary}, has no predictions, so there is no answer."]
    main = rows.loc[primary]
    said = [
        f"{task}: on {int(main['n']):,} held-out particles of {int(main['micrographs'])} micrographs, {primary} "
        f"(declared primary) reaches a balanced accuracy of {percent(main['value'])} "
        f"({percent(main['low'])} to {percent(main['high'])})."
    ]
    for name, row in rows.drop(index=primary).iterrows():
        said.append(
            f"{name} reaches {percent(row['value'])} ({percent(row['low'])} to {percent(row['high'])})."
        )
    classes = measures.loc[(measures["measure"] == "TPR") & (measures["class"] != "macro"), "class"]
    classes = [c for c in classes.unique() if c not in ("micro", "weighted", "all")]
    said.append(f"Guessing among {len(classes)} classes reaches {percent(1 / len(classes))}.")
    return said


def compared(comparisons, *, primary):
    """Say how the primary model differs from the others in balanced accuracy, one sentence a pair."""
    rows = comparisons[(comparisons["measure"] == "balanced accuracy") & (comparisons["class"] == "all")]
    said = []
    for row in rows.itertuples():
        if primary not in (row.model_a, row.model_b) or pd.isna(row.difference):
            continue
        sign = 1 if row.model_a == primary else -1
        other = row.model_b if sign == 1 else row.model_a
        low, high = sorted((sign * row.low, sign * row.high))
        verdict = (
            "the interval excludes 0"
            if low > 0 or high < 0
            else "the interval includes 0, so neither is shown better"
        )
        said.append(
            f"{primary} minus {other}: {100 * sign * row.difference:+.0f} points ({100 * low:+.0f} to {100 * high:+.0f}); "
            f"{verdict}."
        )
    return said


def summary(measures, comparisons, *, task, primary, simulated):
    """Gather what the index shows of a task: sentences and the headline numbers, as plain JSON values."""
    rows = measures[(measures["measure"] == "balanced accuracy") & (measures["class"] == "all")]
    headline = [
        {
            "task": task, "model": row.model, "primary": row.model == primary, "value": percent(row.value),
            "interval": f"{percent(row.low)} to {percent(row.high)}", "n": int(row.n), "micrographs": int(row.micrographs),
        }
        for row in rows.itertuples()
    ]  # fmt: skip
    words = sentences(measures, task=task, primary=primary) + compared(comparisons, primary=primary)
    return {"title": task, "simulated": bool(simulated), "sentences": words, "headline": headline}


class Words:
    """Sentences that a notebook shows: the first one large."""

    def __init__(self, lines, kind="answer"):
        self.lines, self.kind = list(lines), kind

    def _repr_html_(self):
        return "".join(
            f'<p class="{self.kind if i == 0 else ""}">{html.escape(line)}</p>'
            for i, line in enumerate(self.lines)
        )


def side_by_side(measures, *, names=("TPR", "TNR", "PPV", "NPV", "F1")):
    """Give one row per class and measure with a column per model: value and 95 % interval."""
    part = measures[
        measures["measure"].isin(names) & ~measures["class"].isin(("micro", "weighted", "all"))
    ].copy()
    part["text"] = [
        f"{v:.2f} ({lo:.2f}–{hi:.2f})" if pd.notna(lo) else (f"{v:.2f}" if pd.notna(v) else "undefined")
        for v, lo, hi in zip(part["value"], part["low"], part["high"])
    ]
    wide = part.pivot(index=["class", "measure"], columns="model", values="text")
    order = [(c, m) for c in part["class"].unique() for m in names if (c, m) in wide.index]
    return wide.loc[order, list(part["model"].unique())].reset_index().rename_axis(columns=None)


def imbalance(table, tasks):
    """Show the accuracy paradox: what always naming the commonest class scores on these very data."""
    rows = []
    for task in tasks:
        counts = table[task].value_counts()
        rows.append((task, counts.index[0], f"{counts.iloc[0] / counts.sum():.2f}", f"{1 / len(counts):.2f}",
                     counts.index[-1], int(counts.iloc[-1]), f"{counts.iloc[0] / counts.iloc[-1]:.1f}"))  # fmt: skip
    return pd.DataFrame(rows, columns=["task", "always called", "accuracy", "balanced accuracy", "rarest class",
                                       "particles of it", "commonest : rarest"])  # fmt: skip
