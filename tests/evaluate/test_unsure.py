"""Particles that people could not tell: shown, and never measured."""

import re

import numpy as np
import pandas as pd
import pytest

from temlib import data, evaluate
from temlib.evaluate import Predictions
from temlib.files import InputError
from tests.evaluate.conftest import drawn, shown, table_of, write

CLASSES = ["empty", "full"]


def both(count=12, seed=1, models=("net", "svm")):
    """Return predictions of definite particles, and those with rows of others that people could not tell."""
    rng = np.random.default_rng(seed)
    known, particles = drawn(models, classes=CLASSES + ["odd"])
    chose = rng.uniform(size=len(particles)) < 0.2
    known["role"] = np.where(np.tile(chose, len(models)), "validation", "test")
    rows = []
    for model in models:
        p = rng.dirichlet([8, 8, 8], count)  # less sure than of the definite ones
        about = {
            "particle": [f"u{i}" for i in range(count)],
            "micrograph": [f"m{i % 6:02d}" for i in range(count)],
        }
        found = table_of(np.zeros(count, int), p, CLASSES + ["odd"], **about, model=model, role="unsure")
        rows.append(found.assign(fold=[i % 3 + 1 for i in range(count)], truth="unclear"))
    rows[-1].loc[0, "p_full"] = 3.0  # probabilities that are none
    unsure = pd.concat(rows)
    return known, pd.concat([unsure.head(count), known, unsure.tail(count)], ignore_index=True), particles


ASKED = {
    "measures": lambda held: held.measures("t"),
    "compare": lambda held: held.compare("t", flips=200),
    "confusions": lambda held: pd.concat(held.confusions()),
    "paradox": lambda held: held.paradox(),
    "worked": lambda held: held.worked("net"),
    "curves": lambda held: held.curves(draws=20),
    "reliability": lambda held: held.calibrated().reliability(),
    "calibration_error": lambda held: held.calibration_error(draws=200),
    "prediction_sets": lambda held: held.prediction_sets(),
    "set_summary": lambda held: held.set_summary(),
    "risk": lambda held: held.risk(),
    "thresholds": lambda held: held.thresholds("net", 0.9),
    "per_particle": lambda held: held.per_particle(),
    "label_audit": lambda held: held.label_audit(),
    "by_micrograph": lambda held: held.by_micrograph(),
}


@pytest.mark.parametrize("asked", ASKED)
def test_no_measure_changes_by_them(asked):
    """With and without their rows everything is the same to the last digit."""
    known, all_rows, _ = both()
    without, with_them = Predictions(known), Predictions(all_rows)
    assert with_them.classes == without.classes and with_them.models == without.models
    one, two = (ASKED[asked](held).reset_index(drop=True) for held in (without, with_them))
    pd.testing.assert_frame_equal(one, two)


def test_they_are_counted_by_predicted_class_beside_the_definite_ones():
    """Each model has two rows; a model less sure of them would refuse more of them."""
    known, rows, _ = both()
    held = Predictions(rows)
    table = held.unsure().set_index(["model", "people"])
    assert held.unsure_labels == {"unclear": 12} and len(table) == 4
    net = table.loc["net"]
    calls = rows[(rows["role"] == "unsure") & (rows["model"] == "net")]["predicted"].value_counts()
    assert net.loc["could not tell", [f"as {c}" for c in calls.index]].tolist() == calls.tolist()
    test = known[(known["role"] == "test") & (known["model"] == "net")]
    assert net["n"].tolist() == [len(test), 12] and net["micrographs"].tolist() == [24, 6]
    assert net.loc["definite", "refused"] == pytest.approx(0.2, abs=0.01)
    aside = net.loc["could not tell"]
    assert aside["low"] < aside["refused"] <= aside["high"] and aside["refused"] > 0.5
    assert aside["confidence"] < net.loc["definite", "confidence"]
    # The model whose probabilities are none is counted, and nothing is said of how sure it is.
    assert table.loc[("svm", "could not tell"), "n"] == 12 and table.loc["svm", "refused"].isna().all()


def test_a_sentence_says_how_they_were_predicted():
    """With its number; none where there are none."""
    known, rows, _ = both()
    (said,) = Predictions(rows).unsure_words("net")
    assert "(labelled unclear, n = 12)" in said and re.search(r"net predicts \d+ as \w+, \d+ as", said)
    assert re.search(r"would refuse \d+ % \(\d+–\d+\) of those", said)
    assert "gives no probabilities" in Predictions(rows).unsure_words("svm")[0]
    held = Predictions(known)
    assert held.unsure_words("net") == [] and held.unsure().empty and held.unsure_labels == {}


def test_a_model_that_may_refuse_says_how_much_it_calls():
    """The largest share that keeps the errors, as in the table of risk; no refusal where none is needed."""
    held = Predictions(both()[1])
    table = held.calibrated().risk().query("model == 'net'")
    kept = table[table["risk"] <= 0.1].iloc[-1]
    (said,) = held.risk_words("net", errors=0.1)
    assert (
        f"calls {100 * kept['coverage']:.0f} % of them, {kept['n']:.0f} particles, at {100 * kept['risk']:.0f} %"
        in said
    )
    assert "need refuse none" in held.risk_words("net", errors=0.99)[0]
    assert "even of the" in held.risk_words("net", errors=-1)[0]
    bare = both()[1].drop(columns=["p_empty", "p_full", "p_odd"])
    assert Predictions(bare).risk_words("net") == []


def test_the_answer_says_how_many_are_set_aside():
    """Once for each label, at its end."""
    held = Predictions(both()[1])
    tables = held.measures("t"), held.compare("t", flips=100)
    about = {"task": "t", "primary": "net", "simulated": False}
    said = evaluate.summary(*tables, **about, unsure=held.unsure_labels)["sentences"]
    assert said[:-1] == evaluate.summary(*tables, **about)["sentences"]
    assert said[-1].startswith("Set aside, neither learnt nor scored: 12 particles labelled unclear")


def test_other_software_may_predict_them_and_is_not_scored_by_them(tmp_path):
    """Their rows are accepted without a note, and missing ones are not missed."""
    _, rows, _ = both()
    path = tmp_path / "theirs.csv"
    own = rows[(rows["model"] == "net") & rows["role"].isin(["test", "unsure"])]
    files = {"all": own, "definite": own[own["role"] == "test"]}
    found = {}
    for name, theirs in files.items():
        theirs[["particle", "predicted", "p_empty", "p_full", "p_odd"]].to_csv(path, index=False)
        held = Predictions(rows, data.read_table(path, numeric="p_"))
        assert held.notes == []
        measured = held.measures("t").set_index("model")
        found[name] = measured.loc["theirs"].reset_index(drop=True)
        assert ("theirs" in set(held.unsure()["model"])) == (name == "all")
    pd.testing.assert_frame_equal(found["all"], found["definite"])
    own[own["role"] == "unsure"][["particle", "predicted"]].to_csv(path, index=False)
    with pytest.raises(InputError, match="no row names a held-out particle"):
        Predictions(rows, data.read_table(path, numeric="p_"))


def test_the_ceiling_of_annotators_is_that_of_definite_particles():
    """Particles that are no class, and answers that are none, do not count; else an unsure answer would be an error."""
    table = pd.DataFrame({"task@a": list("xxyyx"), "task@b": ["x", "x", "y", "uncertain", "y"]})
    table["task"] = ["x", "x", "y", "y", "uncertain"]
    kept = evaluate.annotator_ceiling(table, "task", ["x", "y"])
    assert kept[["value", "n"]].to_numpy().tolist() == [[1, 3]]
    assert evaluate.annotator_ceiling(table, "task")["value"].item() < 1


def test_notebook_4_shows_them(tmp_path, monkeypatch):
    """The sentence and the table stand in the page, and the answer counts them."""
    _, rows, particles = both(models=("net", "svm_texture"))
    aside = pd.DataFrame(
        {"particle": [f"u{i}" for i in range(12)], "micrograph": "m00", "content": "unclear"}
    )
    write(tmp_path / "r", rows, pd.concat([particles, aside], ignore_index=True))
    page = "\n".join(shown(tmp_path, monkeypatch, run="r", task="content", primary="net"))
    assert "could not tell</td>" in page and "labelled unclear, n = 12" in page
    assert "12 particles labelled unclear" in (tmp_path / "r" / "answer.json").read_text(encoding="utf-8")
