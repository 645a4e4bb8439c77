"""The verdict: planted tables for each case, and what it says when two models change places."""

import json

import numpy as np
import pandas as pd
import pytest

from temlib import evaluate
from temlib.evaluate import Predictions

NAMES = ["empty", "full"]


def planted(difference, low, high, *, models=("net", "svm_x"), classes=NAMES, others=None, values=(0.9, 0.8)):
    """Return tables of measures and comparisons with one planted difference of balanced accuracy, and of other measures."""
    rows = []
    for model, value in zip(models, values):
        about = {
            "task": "t",
            "model": model,
            "low": value - 0.05,
            "high": value + 0.05,
            "micrographs": 60,
            "method": "x",
        }
        named = [("balanced accuracy", "all"), *((name, "all") for name in ("accuracy", "MCC", "kappa"))]
        rows += [about | {"measure": m, "class": c, "value": value, "n": 600} for m, c in named]
        rows += [
            about | {"measure": "TPR", "class": c, "value": value, "n": 600 // len(classes)} for c in classes
        ]
    pairs = [("balanced accuracy", difference, low, high), *(others or [])]
    compared = [
        {
            "model_a": models[0],
            "model_b": models[-1],
            "class": "all",
            "measure": m,
            "difference": d,
            "low": lo,
            "high": hi,
        }
        for m, d, lo, hi in pairs
    ]
    return pd.DataFrame(rows), pd.DataFrame(compared).assign(n=600, micrographs=60)


def said(tables, **changes):
    """Return the summary of planted tables."""
    return evaluate.summary(*tables, **{"task": "t", "primary": "net", "simulated": False} | changes)


CASES = {
    "primary": ((0.1, 0.04, 0.16), "net", "net tells empty from full particles better than svm_x"),
    "opponent": ((-0.47, -0.54, -0.4), "svm_x", "svm_x tells empty from full particles better than net"),
    "undecided": ((0.02, -0.03, 0.07), "net", "Neither net nor svm_x is shown to tell empty from full"),
    "equivalent": ((0.01, -0.03, 0.05), "net", "net tells empty from full particles as well as svm_x"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_case_has_its_answer_and_words(case):
    """The interval of the difference decides; at most three sentences say so."""
    difference, model, begin = CASES[case]
    found = said(planted(*difference))
    assert (found["case"], found["answer_model"]) == (case, model)
    assert found["verdict"][0].startswith(begin) and 2 <= len(found["verdict"]) <= 3
    assert "90 % (85–95)" in found["verdict"][0] and "80 % (75–85)" in found["verdict"][0]
    assert ("within the 5 points" in found["verdict"][1]) == (case == "equivalent")
    assert ("So the answer is svm_x" in found["verdict"][1]) == (case == "opponent")


def test_a_shown_but_small_difference_is_equivalent_and_one_without_interval_undecided():
    """The margin decides before zero does; a single micrograph shows nothing."""
    assert said(planted(0.02, 0.01, 0.04))["case"] == "equivalent"
    assert said(planted(0.0, -0.02, 0.02))["case"] == "equivalent"
    found = said(planted(0.2, np.nan, np.nan))
    assert found["case"] == "undecided" and "no interval" in found["verdict"][1]


@pytest.mark.parametrize(
    ("case", "others", "expected"),
    [
        ("primary", (-0.1, -0.2, 0.0), "favour svm_x"),
        ("opponent", (0.1, -0.02, 0.2), "favour net"),
        ("undecided", (0.1, 0.02, 0.2), "favour net"),
        ("undecided", (0.1, -0.02, 0.2), ""),
        ("primary", (0.1, 0.02, 0.2), ""),
    ],
)
def test_measures_that_all_contradict_the_verdict_are_explained(case, others, expected):
    """Accuracy, MCC and kappa together; where nothing was shown, only if all three show something."""
    three = [(measure, *others) for measure in ("accuracy", "MCC", "kappa")]
    found = said(planted(*CASES[case][0], others=three))["verdict"]
    assert len(found) == (3 if expected else 2) and expected in found[-1]
    one_agrees = [*three[:2], ("kappa", *(-x for x in others))]
    assert len(said(planted(*CASES[case][0], others=one_agrees))["verdict"]) == 2


def test_a_contradiction_names_the_classes_that_are_found_more_often():
    """By the table of single classes."""
    three = [(measure, -0.1, -0.2, -0.05) for measure in ("accuracy", "MCC", "kappa")]
    measures, compared = planted(*CASES["primary"][0], others=three)
    rows = (measures["measure"] == "TPR") & (measures["class"] == "empty")
    measures.loc[rows & (measures["model"] == "svm_x"), "value"] = 0.99
    assert "svm_x finds more of empty;" in said((measures, compared))["verdict"][2]


def drawn_twice(right, *, classes=NAMES, models=("net", "svm_x"), n=240, shares=None, micrographs=24):
    """Return predictions of models that are right for given shares of the particles, 10 a micrograph."""
    rng = np.random.default_rng(0)
    truth = rng.choice(len(classes), n, p=shares)
    frames = []
    for model, share in zip(models, right):
        wrong = rng.random(n) >= share
        called = np.where(wrong, (truth + 1) % len(classes), truth)
        named = {"truth": np.array(classes)[truth], "predicted": np.array(classes)[called]}
        about = {
            "particle": np.arange(n),
            "micrograph": np.arange(n) % micrographs,
            "role": "test",
            "fold": 1,
        }
        frames.append(pd.DataFrame(named | about).assign(model=model))
    return pd.concat(frames, ignore_index=True)


def summed_up(table, **about):
    """Return the summary of predictions."""
    held = Predictions(table)
    tables = held.measures("t"), held.compare("t", flips=100)
    return evaluate.summary(*tables, **{"task": "t", "primary": "net", "simulated": False} | about)


@pytest.mark.parametrize("right", [(0.95, 0.7), (0.7, 0.95), (0.9, 0.88), (0.9, 0.9)])
def test_exchanging_the_rows_exchanges_the_verdict(right):
    """With rows and declaration exchanged each sentence is the same but for the names."""
    table = drawn_twice(right, models=("alpha", "gamma"))
    turn = {"alpha": "gamma", "gamma": "alpha"}
    one = summed_up(table, primary="alpha")
    two = summed_up(table.assign(model=table["model"].map(turn)), primary="gamma")
    text = json.dumps(one).replace("alpha", "\0").replace("gamma", "alpha").replace("\0", "gamma")
    assert json.loads(text) == two
    # With the rows alone exchanged, who is better exchanges, and the answer stays.
    three = summed_up(table.assign(model=table["model"].map(turn)), primary="alpha")
    opposite = {"primary": "opponent", "opponent": "primary"}
    assert three["case"] == opposite.get(one["case"], one["case"])


def test_identical_calls_are_undecided_until_there_are_enough():
    """The difference is 0, and how sure that is follows from the number of particles."""
    few, many = (drawn_twice((0.9,), models=("net",), n=n, micrographs=n // 4) for n in (160, 6000))
    found = [summed_up(pd.concat([table, table.assign(model="svm_x")])) for table in (few, many)]
    assert [each["case"] for each in found] == ["undecided", "equivalent"]
    assert all(
        "difference is 0 points (−" in each["verdict"][1] or "0 points" in each["verdict"][1]
        for each in found
    )


def test_one_model_is_set_against_guessing_and_always():
    """With its chance level and the share of the commonest class."""
    found = summed_up(drawn_twice((0.9,), models=("net",), shares=[0.7, 0.3]))
    assert (found["case"], found["answer_model"]) == ("alone", "net")
    assert "better than guessing" in found["verdict"][1] and "reach 50 %" in found["verdict"][1]
    assert "always predicting empty would call 65 %" in found["verdict"][2]
    assert found["question"] == "How well does net tell empty from full particles?"
    assert "not shown to be better" in summed_up(drawn_twice((0.5,), models=("net",)))["verdict"][1]


def test_what_is_undefined_is_no_verdict():
    """A missing primary model, and a class without particles."""
    table = drawn_twice((0.9, 0.8))
    found = summed_up(table, primary="other")
    assert found["case"] == "none" and "has no predictions" in found["verdict"][0]
    third = table.assign(p_empty=0.5, p_full=0.5, p_odd=0.0)
    found = summed_up(third)
    assert found["case"] == "none" and "a class has no particle" in found["verdict"][0]
    assert found["headline"][0]["number"] is None
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("count", range(2, 13))
def test_any_number_of_classes_and_names_of_any_length(count):
    """The verdict keeps its three sentences, names stay whole elsewhere, and JSON can hold it."""
    for names in ([f"c{i:02d}" for i in range(count)], [f"{'x' * 400}{i:02d}" for i in range(count)]):
        found = summed_up(drawn_twice((0.9, 0.6), classes=names, n=600))
        assert found["case"] == "primary" and len(found["verdict"]) <= 3
        assert all(len(sentence) < 400 for sentence in found["verdict"])
        assert sum(f"truly {name} particles" in " ".join(found["sentences"]) for name in names) == count
        json.dumps(found, allow_nan=False)


def test_the_highest_of_all_is_named_only_where_it_is_higher_than_both():
    """A third model that is a little higher than the primary one is no highest; one far higher is, with a warning."""
    models = ("net", "svm_x", "third")
    for right, expected in (((0.9, 0.7, 0.91), False), ((0.9, 0.97, 0.94), False), ((0.8, 0.7, 0.99), True)):
        sentences = " ".join(summed_up(drawn_twice(right, models=models, n=960))["sentences"])
        assert ("The highest of the 3 models is third" in sentences) == expected
        assert ("optimistic" in sentences) == expected and "remains the answer" not in sentences


def test_composition_counts_definite_labels_by_micrograph():
    """Labels that are no class do not count, and the interval is that of whole micrographs."""
    table = drawn_twice((0.9, 0.8))
    labels = ["empty"] * 60 + ["full"] * 20 + ["uncertain"] * 10 + [None] * 10
    particles = pd.DataFrame(
        {"particle": range(100), "micrograph": [i % 10 for i in range(100)], "t": labels}
    )
    shares = summed_up(table, particles=particles)["shares"]
    assert [(row["class"], row["n"], row["number"]) for row in shares] == [
        ("empty", 60, 0.75),
        ("full", 20, 0.25),
    ]
    assert all(row["low"] < row["number"] < row["high"] for row in shares)
    assert shares[0]["text"].startswith("75 % (")
    lumped = particles.assign(
        micrograph=[0 if label == "full" else i % 9 + 1 for i, label in enumerate(labels)]
    )
    wider = summed_up(table, particles=lumped)["shares"][0]
    assert wider["high"] - wider["low"] > 2 * (shares[0]["high"] - shares[0]["low"])


def test_lights_say_whether_there_is_enough_and_whether_people_agree():
    """Their words carry the number; the simulated truth stands only where there is one."""
    table = drawn_twice((0.9, 0.8), n=960, micrographs=48)
    particles = pd.DataFrame({"particle": range(40), "t": NAMES * 20})
    enough, agree = summed_up(table, particles=particles)["lights"]
    assert enough["state"] == "good" and "48 micrographs" in enough["words"]
    assert agree["state"] == "unknown" and "one label for each particle" in agree["words"]
    few = summed_up(drawn_twice((0.9, 0.8), micrographs=8))["lights"][0]
    assert few["state"] == "warn" and "8 micrographs are fewer than 20" in few["words"]
    at_odds = particles.assign(**{"t@a": particles["t"], "t@b": ["empty"] * 40})
    agree = summed_up(table, particles=at_odds)["lights"][1]
    assert agree["state"] == "warn" and "50 %" in agree["words"] and "Simulated" not in agree["words"]
    agree = summed_up(table, particles=particles.assign(truth_t=particles["t"]), simulated=True)["lights"][1]
    assert agree["state"] == "good" and agree["words"].startswith(
        "Simulated: the labels against the simulated truth: 100 %"
    )
    assert {light["title"] for light in (enough, agree)} == {"Enough micrographs?", "Do the labels agree?"}
