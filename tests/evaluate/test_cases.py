"""Disagreements, errors, the label audit, the ceiling."""

import numpy as np
import pandas as pd
import pytest

from temlib import evaluate
from tests.evaluate.test_evaluate import drawn


@pytest.fixture(scope="module")
def predictions():
    """Two models on 240 particles."""
    return drawn(["alpha", "beta"])[0]


def test_wide_has_each_particle_once(predictions):
    """Also where a model's rows are repeated, and where one lacks a particle."""
    lacking = predictions.drop(predictions.index[-1])
    wide = evaluate.per_particle(pd.concat([lacking, lacking[lacking["model"] == "alpha"]]))
    assert wide["particle"].is_unique and len(wide) == 240
    last = wide.set_index("particle").loc["p0239"]
    assert (
        pd.isna(last["beta"])
        and last["truth"] == predictions["truth"].iloc[-1]
        and last["micrograph"] == predictions["micrograph"].iloc[-1]
    )


def test_disagreements_are_ordered_by_distance(predictions):
    """One right, the other wrong, the clearest first; both directions together are all the disagreements in rightness."""
    wide = evaluate.per_particle(predictions)
    found = evaluate.disagreements(wide, "alpha", "beta")
    assert (found["alpha"] == found["truth"]).all() and (found["beta"] != found["truth"]).all()
    assert found["distance"].is_monotonic_decreasing
    both = len(found) + len(evaluate.disagreements(wide, "beta", "alpha"))
    assert both == ((wide["alpha"] == wide["truth"]) != (wide["beta"] == wide["truth"])).sum()


def test_worst_errors_are_the_least_probable_truths(predictions):
    """All wrong calls, in order."""
    wide = evaluate.per_particle(predictions)
    found = evaluate.worst_errors(wide, "beta")
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
    audit = evaluate.label_audit(predictions)
    suspected = audit[audit["suspected"]]
    assert audit["particle"].is_unique and len(audit) == 2000
    assert suspected["particle"].isin(wrong).mean() > 0.6 and suspected["particle"].isin(wrong).sum() > 60
    assert audit["particle"].head(50).isin(wrong).mean() > 0.8
    said = evaluate.audit_precision(audit, particles, "content")
    assert f"the simulator knows {len(wrong)} to be wrong (5.0 %)" in said[0]


def test_label_audit_without_probabilities_is_empty(predictions):
    """Calls alone say nothing of confidence."""
    audit = evaluate.label_audit(predictions.drop(columns=[c for c in predictions if c.startswith("p_")]))
    assert (
        audit.empty
        and evaluate.audit_precision(audit, pd.DataFrame({"particle": ["a"], "truth_x": ["b"]}), "x") == []
    )


def test_ceiling_of_annotators_and_of_simulated_labels():
    """Each annotator against the majority of the others; labels against truth, the uncertain ones aside."""
    table = pd.DataFrame({"task@a": list("xxyy"), "task@b": list("xxyy"), "task@c": list("xyyy")})
    table["task"] = ["x", "x", "y", "uncertain"]
    table["truth_task"] = list("xyyy")
    found = evaluate.ceiling(table, "task").set_index("who")["value"]
    assert found["c"] == pytest.approx(0.75)  # half of the others' x, all of their y
    assert found["the labels"] == pytest.approx((1 + 0.5) / 2)
    assert evaluate.ceiling(table[["task"]], "task").empty
