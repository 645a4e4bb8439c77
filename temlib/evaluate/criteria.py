"""Acceptance criteria declared beforehand, such as `balanced accuracy: ">= 0.9"`: met, not met, or undecided by the interval."""

import re

import pandas as pd

from temlib.evaluate.answer import two_digits, with_interval
from temlib.evaluate.intervals import ALL, quoted
from temlib.evaluate.measures import MEASURES, RANKED, RATES
from temlib.files import InputError, listed, nearest, shown

DEMAND = re.compile(r"\s*(>=?|<=?|≥|≤)\s*(-?\d+(?:[.,]\d+)?|[.,]\d+)\s*(%?)\s*")


def parse(accept, classes=None):
    """Return (criterion, measure, class or "", least, limit) of each entry of a mapping such as `{"TPR of full": ">= 90 %"}`.

    An unknown measure and a demand that is none are refused, and a class that is not among `classes` where these are known.
    """
    found = []
    for name, demand in accept.items():
        measure, _, label = (part.strip() for part in name.partition(" of "))
        if measure not in MEASURES:
            raise InputError(
                f"accept: {shown(measure)!r} is no measure{nearest(measure, MEASURES)}; there are {', '.join(MEASURES)}."
            )
        if bool(label) != (measure in (*RATES, *RANKED)):
            cure = "leave the class out" if label else f"name a class, as in '{measure} of full'"
            raise InputError(
                f"accept: {measure} is of {'all classes together' if label else 'one class'}; {cure}."
            )
        if label and classes is not None and label not in classes:
            hint = f"{nearest(label, classes)}; the classes are {listed(classes)}"
            raise InputError(f"accept: there is no {measure} of {shown(label)!r}{hint}.")
        criterion, least, limit = demanded(name, demand)
        found.append((criterion, measure, label, least, limit))
    return found


def demanded(name, demand):
    """Return (criterion, least, limit) of what is demanded of a name, such as ">= 90 %"; refuse what is no demand.

    `least` says whether the value has to reach the limit, or may not exceed it.
    """
    match = DEMAND.fullmatch(str(demand))
    if not match:
        raise InputError(
            f"accept: {shown(str(demand))!r} of {shown(name)!r} is no demand; write one such as '>= 0.9' or '<= 5 %'."
        )
    limit = float(match[2].replace(",", ".")) / (100 if match[3] else 1)
    return f"{name} {match[0].strip()}", match[1] in (">", ">=", "≥"), limit


def decided(row, least, limit):
    """Return whether a value meets a demand by its interval, in columns `low` and `high`.

    "met" where the whole interval meets the demand, "not met" where none of it does, else "undecided", as where there is no
    interval.
    """
    inner, outer = (row["low"], row["high"]) if least else (-row["high"], -row["low"])
    bar = limit if least else -limit
    if pd.isna(inner):
        return "undecided"
    return "met" if inner >= bar else "not met" if outer < bar else "undecided"


def criteria(measures, model, accept):
    """Return whether a model meets what was demanded beforehand.

    Parameters
    ----------
    measures : DataFrame
        Of `Predictions.measures`.
    model : str
    accept : dict of str to str
        Measures, perhaps "of" a class, and demands, such as `{"balanced accuracy": ">= 0.9", "PPV of full": ">= 80 %"}`.

    Returns
    -------
    DataFrame
        Columns criterion, result (with its 95 % interval), verdict, as `decided` gives it.

    Raises
    ------
    InputError
        For a measure, a class or a demand that is none.
    """
    own, rows = measures[measures["model"] == model].set_index(["measure", "class"]), []
    for criterion, measure, label, least, limit in parse(accept):
        key = measure, quoted(label) if label else ALL
        if key not in own.index:
            classes = list(dict.fromkeys(own.loc["TPR"].index)) if "TPR" in own.index else []
            raise InputError(
                f"accept: there is no {measure} of {shown(label)!r}; the classes are {listed(classes)}."
            )
        row = own.loc[key]
        rows.append((criterion, with_interval(row, two_digits), decided(row, least, limit)))
    return pd.DataFrame(rows, columns=["criterion", "result", "verdict"])
