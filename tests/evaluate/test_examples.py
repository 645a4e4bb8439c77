"""Disagreements, errors, the label audit, the ceiling."""

import numpy as np
import pandas as pd
import pytest

from temlib import evaluate
from temlib.evaluate import Predictions
from tests.evaluate.conftest import drawn


@pytest.fixture(scope="module")
def predictions():
    """Two models on 240 particles."""
    return drawn(["alpha", "beta"])[0]


def test_per_particle_has_each_particle_once(predictions):
    """Also where a model's rows are repeated, and where one lacks a particle."""
    lacking = predictions.drop(predictions.index[-1])
    wide = Predictions(pd.concat([lacking, lacking[lacking["model"] == "alpha"]])).per_particle()
    assert wide["particle"].is_unique and len(wide) == 240
    last = wide.set_index("particle").loc["p0239"]
    about = ["truth", "micrograph"]
    assert pd.isna(last["beta"]) and last[about].tolist() == predictions[about].iloc[-1].tolist()


def test_disagreements_are_ordered_by_distance(predictions):
    """One right, the other wrong, the clearest first; both directions together are all the disagreements in rightness."""
    held = Predictions(predictions)
    wide, found = held.per_particle(), held.disagreements("alpha", "beta")
    assert (found["alpha"] == found["truth"]).all() and (found["beta"] != found["truth"]).all()
    assert found["distance"].is_monotonic_decreasing
    both = len(found) + len(held.disagreements("beta", "alpha"))
    assert both == ((wide["alpha"] == wide["truth"]) != (wide["beta"] == wide["truth"])).sum()


def test_worst_errors_are_the_least_probable_truths(predictions):
    """All wrong calls, in order."""
    held = Predictions(predictions)
    wide, found = held.per_particle(), held.worst_errors("beta")
    assert len(found) == (wide["beta"] != wide["truth"]).sum() and found["p beta"].is_monotonic_increasing


def test_label_audit_finds_planted_errors():
    """5 % of the labels are exchanged: most of the suspected ones are among them, and the ranking puts them first."""
    predictions, particles = drawn(["alpha", "beta"], particles=2000, micrographs=80, quality=(4, 3))
    rng = np.random.default_rng(1)
    wrong = set(rng.choice(particles["particle"], 100, replace=False))
    changed = predictions["particle"].isin(wrong)
    particles["truth_content"] = particles["content"]
    predictions.loc[changed, "truth"] = predictions.loc[changed, "truth"].map(
        {"empty": "full", "full": "uncertain", "uncertain": "empty"}
    )
    held = Predictions(predictions)
    audit, suspected = held.label_audit(), held.suspected_labels()
    assert suspected["words"].str.fullmatch(r"labelled \w+\nor \w+\?").all()
    assert audit["particle"].is_unique and len(audit) == 2000
    assert suspected["particle"].isin(wrong).mean() > 0.6 and suspected["particle"].isin(wrong).sum() > 60
    assert audit["particle"].head(50).isin(wrong).mean() > 0.8
    assert len(evaluate.found_labels(suspected, particles, "content")) == len(suspected)
    innocent = particles.assign(truth_content=predictions.drop_duplicates("particle")["truth"].to_numpy())
    assert evaluate.found_labels(suspected, innocent, "content").empty
    assert len(evaluate.found_labels(suspected, particles[["particle"]], "content")) == len(suspected)
    (none,) = evaluate.audit_precision(audit, innocent, "content")
    assert "knows 0 to be wrong" in none and f"The {len(suspected)} suspected ones are right" in none
    said = evaluate.audit_precision(audit, particles, "content")
    assert f"the simulator knows {len(wrong)} to be wrong (5.0 %)" in said[0]


def test_label_audit_without_probabilities_is_empty(predictions):
    """Calls alone say nothing of confidence."""
    calls = predictions[[name for name in predictions if not name.startswith("p_")]]
    audit, known = Predictions(calls).label_audit(), pd.DataFrame({"particle": ["a"], "truth_x": ["b"]})
    assert audit.empty and evaluate.audit_precision(audit, known, "x") == []


def test_ceiling_of_annotators_and_of_simulated_labels():
    """Each annotator against the majority of the others; labels against truth, the uncertain ones aside."""
    table = pd.DataFrame({"task@a": list("xxyy"), "task@b": list("xxyy"), "task@c": list("xyyy")})
    table["task"] = ["x", "x", "y", "uncertain"]
    table["truth_task"] = list("xyyy")
    found = evaluate.annotator_ceiling(table, "task").set_index("who")["value"]
    assert found["c"] == pytest.approx(0.75)  # half of the others' x, all of their y
    assert found["the labels"] == pytest.approx((1 + 0.5) / 2)
    assert evaluate.annotator_ceiling(table[["task"]], "task").empty


def test_the_worst_micrograph_is_named_with_its_share_of_the_errors():
    """One error of four particles, all of it in m0; an unlabelled particle is no error."""
    rows = [("p0", "m0", "a", "a"), ("p1", "m0", "b", "a"), ("p2", "m1", "a", "a"), ("p3", "m1", "b", "b")]
    rows = pd.DataFrame(
        [*rows, ("p4", "m1", None, "b")], columns=["particle", "micrograph", "truth", "predicted"]
    )
    held = Predictions(rows.assign(model="net", role="test"))
    scores, (sentence,) = held.by_micrograph(), held.worst_micrographs()
    assert scores["micrograph"].tolist() == ["m0", "m1"] and scores["right"].tolist() == [0.5, 1.0]
    assert "micrograph m0 has 100%" in sentence
    # Ten micrographs with an error each: none stands out, and no place is named.
    spread = pd.DataFrame({"particle": range(40), "micrograph": [f"m{k % 10}" for k in range(40)]})
    spread = spread.assign(truth=["a", "b"] * 20, model="net", role="test")
    spread["predicted"] = spread["truth"].where(spread.index >= 10, "c")
    (sentence,) = Predictions(spread).worst_micrographs()
    assert sentence == "net: errors are spread over the micrographs; none has more than 10% of them."
