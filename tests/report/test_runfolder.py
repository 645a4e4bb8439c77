"""One run at a time in a folder, steps that appear in it whole, and hashes by which it is verified."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from temlib import report
from temlib.__main__ import main
from temlib.files import InputError
from temlib.report import runfolder

WRITE = "from pathlib import Path\nimport os\nhere = Path(os.environ['TEMLIB_REPORTS'], run)\n"
HOLD = """
import sys, time
from pathlib import Path
from temlib.report import runfolder
with runfolder.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_in_a_folder_is_refused_until_the_first_has_died(tmp_path):
    """By a sentence that says who is at work; a kill leaves no lock."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(InputError, match=rf"another run is at work in this folder \(process {holder.pid} on "),
        runfolder.locked(tmp_path),
    ):
        pass
    holder.kill()
    holder.wait()
    with runfolder.locked(tmp_path):
        pass


def test_a_failed_rerun_leaves_the_finished_step_as_it_was(tiny):
    """Its page is named apart, its tables are not moved; the run says so, and a success removes the failed page."""
    good = WRITE + "(here / 'x.csv').write_text('good')"
    report.execute(tiny({"2_augment": good}))
    run = report.reports_folder() / "mine"
    before = {name: (run / name).read_bytes() for name in ("x.csv", "2_augment.ipynb", "2_augment.html")}
    (step,) = report.execute(tiny({"2_augment": WRITE + "(here / 'x.csv').write_text('half')\n1 / 0"}))
    assert step.status == "failed" and {name: (run / name).read_bytes() for name in before} == before
    assert "ZeroDivisionError" in (run / "2_augment.failed.html").read_text(encoding="utf-8")
    page = (run / "index.html").read_text(encoding="utf-8")
    assert "of an earlier call" in page and "2_augment.failed.html" in page
    assert not (run / ".work").exists() and runfolder.verify(run)[1:] == ([], [])
    (step,) = report.execute(tiny({"2_augment": good + "\n"}))
    assert step.status == "done" and not (run / "2_augment.failed.html").exists()


def test_what_a_step_does_not_leave_any_more_is_removed(tiny):
    """Files and folders of the former call go, those of others and of the user stay."""
    tiny({"7_software": WRITE + "(here / 'b.csv').write_text('b')"})
    old = (
        WRITE
        + "(here / 'old').mkdir()\n(here / 'old' / 'x').write_text('')\n(here / 'b.csv').write_text('b')\n(here / 'a.csv').write_text('')"
    )
    report.execute(tiny({"2_augment": old, "7_software": WRITE + "(here / 'b.csv').write_text('b')"}))
    run = report.reports_folder() / "mine"
    (run / "notes.txt").write_text("mine")
    report.execute(
        tiny({"2_augment": WRITE + "(here / 'a.csv').write_text('new')", "7_software": ""}), only=["2"]
    )
    assert (run / "a.csv").read_text() == "new" and (run / "b.csv").exists() and (run / "notes.txt").exists()
    assert not (run / "old").exists()


@pytest.mark.parametrize("moved", range(6))
def test_a_move_that_was_cut_off_is_finished_by_the_next_run(tiny, monkeypatch, moved):
    """After each number of moved files."""
    cell = (
        WRITE
        + "for k in '123':\n    (here / f'{k}.csv').write_text(task)\n(here / 'm').mkdir()\n(here / 'm' / 'x').write_text(task)"
    )
    settings = tiny({"2_augment": cell}, task=["a"])
    report.execute(settings)
    run = report.reports_folder() / "mine" / "task=a"
    before = {path.name: path.read_text() for path in run.rglob("*.csv")}
    real, count = runfolder._replace, []

    def replace(*arguments):
        if len(count) == moved:
            raise SystemExit
        count.append(1)
        real(*arguments)

    monkeypatch.setattr(runfolder, "_replace", replace)
    monkeypatch.setattr(runfolder, "end", lambda folder, step: None)  # a kill tidies nothing up
    with pytest.raises(SystemExit):
        report.execute(settings, force=True)
    monkeypatch.undo()
    monkeypatch.setenv("TEMLIB_REPORTS", str(run.parents[1]))
    runfolder.recover(run.parent)
    assert {path.name: path.read_text() for path in run.rglob("*.csv")} == before
    record = json.loads((run / "2_augment.json").read_text())
    assert all((run / name).stat().st_size == size for name, (size, *_) in record["files"].items())


def test_what_a_step_reads_is_shown_to_it_and_stays_as_it_is(tiny):
    """Also where it writes a file of that name itself."""
    read = (
        WRITE
        + "assert (here / 'x.csv').read_text() == 'x'\n(here / 'x.csv').unlink()\n(here / 'x.csv').write_text('y')"
    )
    settings = tiny({"3_train": WRITE + "(here / 'x.csv').write_text('x')", "4_evaluate": read + "\n1 / 0"})
    steps = report.execute(settings)
    assert [step.status for step in steps] == ["done", "failed"]
    assert (report.reports_folder() / "mine" / "x.csv").read_text() == "x"


def test_verify_names_what_is_missing_altered_or_strange(tiny):
    """Exit status 1 for the first two."""
    cell = WRITE + "(here / 'x.csv').write_text('x')\n(here / 'y.csv').write_text('y')"
    settings = tiny({"2_augment": cell})
    report.execute(settings)
    run = report.reports_folder() / "mine"
    assert CliRunner().invoke(main, ["verify", "mine"]).exit_code == 0
    (run / "x.csv").write_text("z")  # of the same size
    assert report.preview(settings)[0].reason == "x.csv is missing or was altered"
    (run / "y.csv").unlink()
    (run / "strange.csv").write_text("")
    result = CliRunner().invoke(main, ["verify", "mine"])
    assert result.exit_code == 1
    for said in (
        "x.csv is not what the run left",
        "y.csv is missing",
        "strange.csv is none of the run's files",
    ):
        assert said in result.output
    (run / "provenance.json").unlink()
    assert "no hashes" in CliRunner().invoke(main, ["verify", "mine"]).stderr


def test_a_read_only_folder_is_one_sentence_and_exit_status_1(tiny, tmp_path, monkeypatch):
    """As the system says it."""
    tiny({"2_augment": ""})
    (tmp_path / "mine.yaml").write_text("task: a")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    result = CliRunner().invoke(main, ["run", str(tmp_path / "mine.yaml")])
    assert result.exit_code == 1 and result.stderr.count("\n") == 1 and "Permission denied" in result.stderr
