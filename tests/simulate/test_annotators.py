"""The panel of annotators."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from temlib import simulate
from temlib.simulate import annotators, microscope, vesicles


def _vesicle(lamellae, seed=0, **options):
    rng = np.random.default_rng(seed)
    return vesicles.draw_vesicle(90.0, 120.0, rng, multilamellar=lamellae > 1, **options)


def _sight(**changes):
    imaging = microscope.Imaging(**{"defocus_um": 2.0, "dose": 20.0, "ice_nm": 100.0, **changes})
    return annotators.sight(simulate.PRESETS["talos200"], imaging)


def test_consensus_needs_more_than_half():
    """Two of three decide; three different labels are uncertain."""
    votes = np.array([[0, 0, 1], [1, 1, 1], [0, 1, 2], [2, 2, 0]])
    np.testing.assert_array_equal(annotators.consensus(votes), [0, 1, 2, 2])


def test_strong_evidence_is_labelled_as_the_truth():
    """With evidence far above its noise the panel is right and unanimous."""
    rng = np.random.default_rng(0)
    second = np.arange(100) % 2 == 1
    labels = annotators.judge(second, np.full(100, 10.0), annotators.habits(3, "lamellarity", rng), rng)
    assert (labels == second[:, None]).all()


def test_no_evidence_leaves_people_undecided_or_at_odds():
    """Without evidence the commonest label is uncertain, and the sides are guessed."""
    rng = np.random.default_rng(0)
    labels = annotators.judge(np.ones(2000, bool), np.zeros(2000), np.tile([0.0, 0.55], (3, 1)), rng)
    shares = np.bincount(labels.ravel(), minlength=3) / labels.size
    assert shares[2] > max(shares[:2])
    assert shares[0] == pytest.approx(shares[1], abs=0.05)


@pytest.mark.parametrize("lamellae", [1, 3])
def test_detectability_grows_with_dose(lamellae):
    """Nine times the dose shows more, at most three times, for ice keeps its own noise."""
    low, high = (
        annotators.detectability(_vesicle(lamellae, filled=True), _sight(dose=dose)) for dose in (5.0, 45.0)
    )
    for few, many in zip(low, high):
        assert 1.2 * few < many < 3 * few


def test_overlap_and_a_fill_near_the_threshold_weaken_evidence():
    """Each leaves less evidence than the same particle alone, or far from the threshold."""
    vesicle, seen = _vesicle(1, filled=True), _sight()
    clear, covered = (annotators.evidence(vesicle, seen, overlap, 0.2)[0] for overlap in (0.0, 0.5))
    assert covered < clear
    far, near = (annotators.evidence(vesicle, seen, 0.0, t)[1] for t in (0.2, vesicle.payload.fill - 0.01))
    assert near < far


def test_the_default_panel_agrees_as_people_do():
    """At the defaults mean kappa lies in 0.6 to 0.85 in both tasks, and the majority does not always meet the truth."""
    study = simulate.study(600, seed=1)
    for task in simulate.TASKS:
        given = [study.panel[column] for column in study.panel if column.startswith(f"{task}@")]
        assert 0.6 < np.mean([cohen_kappa_score(*pair) for pair in combinations(given, 2)]) < 0.85
        right = study.table[task] == study.table[f"truth_{task}"]
        assert 0.85 < right.groupby(study.table[f"truth_{task}"]).mean().mean() < 0.99
