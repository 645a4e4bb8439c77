"""Criteria declared beforehand: decided by the whole interval, never by the value alone."""

import numpy as np
import pandas as pd
import pytest

from temlib import evaluate
from temlib.files import InputError

ROWS = [
    ("balanced accuracy", "all", 0.90, 0.86, 0.94),
    ("TPR", "full", 0.80, 0.70, 0.90),
    ("TPR", '"all"', 0.99, 0.95, 1.00),
    ("PPV", "full", 0.70, np.nan, np.nan),
    ("Brier score", "all", 0.10, 0.05, 0.15),
]
MEASURES = pd.DataFrame(ROWS, columns=["measure", "class", "value", "low", "high"]).assign(model="net")


@pytest.mark.parametrize(
    ("name", "demand", "verdict"),
    [
        ("balanced accuracy", ">= 0.86", "met"),
        ("balanced accuracy", ">= 0.9", "undecided"),
        ("balanced accuracy", ">= 95 %", "not met"),
        ("balanced accuracy", "≤ 0,95", "met"),
        ("balanced accuracy", "<= 0.9", "undecided"),
        ("balanced accuracy", "<= .5", "not met"),
        ("TPR of full", ">=70%", "met"),
        ("TPR of full", "> 69 %", "met"),
        ("TPR of all", ">= 0.9", "met"),
        ("PPV of full", ">= 0.1", "undecided"),
        ("Brier score", "<= 0.2", "met"),
    ],
)
def test_the_interval_decides(name, demand, verdict):
    """A class may be called all; where there is no interval nothing is decided."""
    found = evaluate.criteria(MEASURES, "net", {name: demand})
    assert found["verdict"].tolist() == [verdict] and found["criterion"][0].startswith(name)


def test_the_result_is_told_with_its_interval():
    """As in every table."""
    assert evaluate.criteria(MEASURES, "net", {"TPR of full": ">= 0.5"})["result"].tolist() == [
        "0.80 (0.70–0.90)"
    ]
    assert evaluate.criteria(MEASURES, "net", {}).empty


@pytest.mark.parametrize(
    ("accept", "words"),
    [
        ({"balanced acuracy": ">= 0.9"}, "did you mean|balanced accuracy"),
        ({"TPR": ">= 0.9"}, "name a class"),
        ({"accuracy of full": ">= 0.9"}, "leave the class out"),
        ({"TPR of fool": ">= 0.9"}, "the classes are"),
        ({"TPR of full": "0.9"}, "no demand"),
        ({"TPR of full": "= 90"}, "no demand"),
    ],
)
def test_what_is_no_criterion_is_refused(accept, words):
    """In a sentence with the cure."""
    with pytest.raises(InputError, match=words):
        evaluate.criteria(MEASURES, "net", accept)
