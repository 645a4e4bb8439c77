"""What is planned, what is kept, and what is said to have changed."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from temlib import provenance, report
from temlib.__main__ import main
from temlib.data import contents
from temlib.report import planning, runfolder
from temlib.report.planning import Step


def fingerprint(notebook="1_explore", reads=None, **values):
    """Return the fingerprint of a step with these values."""
    step = Step(notebook, {}, values, Path("r"), reads)
    planning.describe([step], lambda step: {})
    return planning.hashed(step.parts)


def test_a_fingerprint_knows_values_notebook_data_and_earlier_steps(tiny, study):
    """It is the same twice, also of files that were only touched, and another one after any of these has changed."""
    tiny({"1_explore": ""})
    usual = fingerprint(particles=str(study))
    os.utime(study, (1, 1))
    os.utime(study.with_name("00.png"), (1, 1))
    assert usual == fingerprint(particles=str(study))
    assert usual != fingerprint(particles=str(study), seed=2) and usual != fingerprint(particles="simulated")
    before = Step("3_train", {}, {}, Path("r"), parts={"parameters": "x"})
    assert usual != fingerprint(particles=str(study), reads=before)
    tiny({"1_explore": "another cell"})
    assert fingerprint(particles=str(study)) != usual


def test_another_image_is_another_content_even_of_the_same_size_and_time(study):
    """A clock that was set back, or a program that keeps times, hides no change."""
    image, before = study.with_name("00.png"), contents(study)
    state, data = image.stat(), bytearray(image.read_bytes())
    data[-13] ^= 1
    image.write_bytes(bytes(data))
    os.utime(image, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert image.stat().st_mtime_ns == state.st_mtime_ns and contents(study) != before


def test_what_changed_is_said(tiny, monkeypatch):
    """Parameters with their old and new values, the notebook, code, packages, a file that is gone; and nothing runs for it."""
    settings = tiny({"1_explore": "", "3_train": "", "4_evaluate": ""}, task=["a"])

    def reasons(settings=settings, **how):
        return {step.notebook: step.reason for step in report.preview(settings, **how)}

    assert set(reasons().values()) == {"it was not run before"}
    report.execute(settings)
    assert set(reasons().values()) == {""} and set(reasons(force=True).values()) == {
        "it is run again by force"
    }
    assert (
        reasons(replace(settings, matrix={"task": ["a"]}, values={"threads": 1}))["3_train"]
        == "'threads' was 0, is 1"
    )
    train = planning.notebook.NOTEBOOKS / "3_train.ipynb"
    before = train.read_bytes()
    train.write_bytes(before + b"\n")
    assert reasons() == {
        "1_explore": "",
        "3_train": "the notebook changed",
        "4_evaluate": "3_train before it changed",
    }
    train.write_bytes(before)
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "source_hash", lambda: "other")
        patch.setattr(provenance, "locked", lambda: {"keras": "4"})
        assert reasons()["1_explore"] == "temlib's code changed; the installed packages changed"
    (report.reports_folder() / "mine" / "task=a" / "3_train.html").unlink()
    assert reasons()["3_train"] == "3_train.html is missing or was altered"
    assert reasons()["4_evaluate"] == "3_train runs before it"
    assert report.preview(settings, only=["4"])[0].reason == ""  # the record of what it reads stands


def test_a_dry_run_names_steps_values_and_reasons_and_writes_nothing(tiny, tmp_path):
    """On the command line."""
    tiny({"2_augment": "", "7_software": ""})
    (tmp_path / "mine.yaml").write_text("task: b")
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(main, ["run", str(tmp_path / "mine.yaml"), "--dry-run"])
    assert result.exit_code == 0 and "2 of 2 notebooks would run" in result.output
    assert "2_augment: it was not run before" in result.output and 'task: "b"' in result.output
    assert sorted(tmp_path.rglob("*")) == before


def test_a_thousand_steps_are_planned_within_a_few_times_their_reading(tiny):
    """Planning grows with the number of steps, not with its square."""
    settings = tiny({"3_train": "", "4_evaluate": "", "5_compare": ""}, task=[f"t{k}" for k in range(400)])
    few, times = replace(settings, matrix={"task": settings.matrix["task"][:100]}), ([], [])
    for _ in range(3):
        for settings_, found in zip((few, settings), times):
            started = time.perf_counter()
            steps = report.preview(settings_)
            found.append((time.perf_counter() - started) / len(steps))
    assert len(steps) == 1200 and min(times[1]) < 4 * min(times[0])


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a\0b", "con", "x" * 300])
def test_a_step_stays_inside_the_output_folder(tiny, name):
    """Whatever a value of the matrix is called."""
    for step in report.plan(tiny({"2_augment": ""}, task=[name])):
        assert (
            step.folder.parts[0] == "mine" and len(step.folder.parts) == 2 and ".." not in step.folder.parts
        )


def test_provenance_is_enough_to_repeat_a_run(tiny, tmp_path):
    """The parameters that it holds give the same files, and it names versions, threads, fingerprint parts and hashes."""
    cell = "from pathlib import Path\nimport os\nPath(os.environ['TEMLIB_REPORTS'], run, 'x.csv').write_text(task)"
    settings = tiny({"2_augment": cell}, task=["a", "b"])
    report.execute(settings)
    run = report.reports_folder() / "mine"
    origin = json.loads((run / "provenance.json").read_text())
    (tmp_path / "again.yaml").write_text(origin["parameters"])
    assert CliRunner().invoke(main, ["run", str(tmp_path / "again.yaml")]).exit_code == 0
    again = json.loads((run.with_name("again") / "provenance.json").read_text())
    tables = {name: digest for name, digest in origin["files"].items() if name.endswith(".csv")}
    assert tables == {name: again["files"][name] for name in tables} and len(tables) == 2
    assert origin["locked"]["python"] and runfolder.verify(run)[1:] == ([], [])
