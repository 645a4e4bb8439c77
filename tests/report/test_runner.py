"""The order of a run's steps: trainings one at a time, the rest beside them."""

import threading
from pathlib import Path

import pytest

from temlib.report import runner
from temlib.report.runner import Step

FOLDERS = ("r/task=a", "r/task=b")
STEPS = [
    ("1_explore", "r"),
    *(("3_train", f) for f in FOLDERS),
    *(("4_evaluate", f) for f in FOLDERS),
    ("5_compare", "r"),
]


def steps():
    return [Step(name, {}, {}, Path(folder)) for name, folder in STEPS]


def test_exploring_runs_beside_a_training_and_an_evaluation_after_its_own():
    """Training waits for the exploration that began beside it; each evaluation follows its training, comparing is last."""
    log, exploring = [], threading.Event()

    def finish(step):
        if step.notebook == "1_explore":
            exploring.set()
        if step.notebook == "3_train":
            assert exploring.wait(30)
        log.append((step.notebook, str(step.folder)))

    runner._in_two_lanes(steps(), finish)
    assert sorted(log) == sorted(STEPS) and log[-1][0] == "5_compare"
    for folder in FOLDERS:
        assert log.index(("3_train", folder)) < log.index(("4_evaluate", folder))


@pytest.mark.parametrize("name", ["1_explore", "3_train"])
def test_what_goes_wrong_in_either_lane_is_raised_and_ends_the_run(name):
    """No evaluation of a training that never ended, and no comparison of half a run."""
    log = []

    def finish(step):
        log.append(step.notebook)
        if step.notebook == name:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        runner._in_two_lanes(steps(), finish)
    assert "4_evaluate" not in log and "5_compare" not in log
