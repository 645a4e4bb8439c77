"""The steps of a run: trainings one at a time, the rest beside them, and what is kept of an earlier call."""

import json
import signal
import threading
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from temlib import report
from temlib.files import InputError, read_csv, write_csv
from temlib.report import parameters, runner
from temlib.report.runner import Step

# Each notebook leaves a file that says when it began; some wait for those of others, at most this long.
BEGUN = "import time\nfrom pathlib import Path\nPath('begun ' + {name!r} + task).touch()\n"
MEET = "end = time.monotonic() + 60\nwhile not Path({file!r}).exists():\n    assert time.monotonic() < end\n    time.sleep(0.05)\n"


def begun(name, *, meets=""):
    return BEGUN.format(name=name) + (MEET.format(file=f"begun {meets}") if meets else "")


def kernels():
    return [p for p in psutil.Process().children(recursive=True) if "ipykernel_launcher" in p.cmdline()]


def test_a_kernel_that_dies_is_a_failed_notebook_and_no_other(tiny):
    """The next one runs; the page says where the kernel died."""
    dies, lives = report.execute(tiny({"1_explore": "import os; os._exit(1)", "2_augment": ""}))
    assert (dies.status, lives.status) == ("failed", "done") and "the kernel died in cell 2/2" in dies.error
    page = (report.reports_folder() / "mine" / "1_explore.html").read_text(encoding="utf-8")
    assert dies.error in page and "stopped with an error" in page and not kernels()


def test_trainings_run_one_by_one_and_the_rest_beside_them(tiny):
    """Exploring and training wait for each other; each evaluation follows its training, and comparing is last."""
    cells = {
        "1_explore": begun("explore", meets="traina"),
        "3_train": begun("train", meets="explorea"),
        "4_evaluate": begun("evaluate"),
        "5_compare": begun("compare"),
    }
    log = []
    settings = tiny(cells, task=["a", "b"])
    steps = report.execute(settings, show=lambda step: log.append((step.label, step.status)))
    assert {step.status for step in steps} == {"done"}
    for task in ("a", "b"):
        trained = log.index((f"3_train task={task}", "done"))
        assert trained < log.index((f"4_evaluate task={task}", "running"))
    assert log.index(("3_train task=a", "done")) < log.index(("3_train task=b", "running"))
    compared = [i for i, (label, _) in enumerate(log) if label.startswith("5_compare")]
    assert min(compared) == len(log) - len(compared) and not kernels()


def test_a_failed_training_skips_its_evaluation_and_no_other(tiny):
    """The evaluation of the other task runs; the error is told and stays in the page."""
    cells = {"3_train": "assert task != 'a', 'too few particles'", "4_evaluate": "", "1_explore": ""}
    steps = report.execute(tiny(cells, task=["a", "b"]))
    status = {step.label: step.status for step in steps}
    assert status.pop("3_train task=a") == "failed" and status.pop("4_evaluate task=a") == "skipped"
    assert set(status.values()) == {"done"}
    page = (report.reports_folder() / "mine" / "task=a" / "3_train.html").read_text(encoding="utf-8")
    assert "AssertionError: too few particles" in page


@pytest.mark.parametrize("name", ["1_explore", "3_train"])
def test_what_goes_wrong_in_either_lane_is_raised_and_ends_the_run(tiny, name):
    """No evaluation of a training that never ended, no comparison of half a run, and no kernel is left."""
    slow = {"1_explore": "import time; time.sleep(60)", "3_train": "import time; time.sleep(60)"}
    begun_steps = []

    def show(step):
        begun_steps.append(step.notebook)
        if step.notebook == name and step.status != "running":
            raise OSError("the disk is full")

    start = time.monotonic()
    with pytest.raises(OSError, match="the disk is full"):
        report.execute(tiny({**slow, name: "", "4_evaluate": "", "5_compare": ""}), show=show)
    assert "4_evaluate" not in begun_steps and "5_compare" not in begun_steps
    assert time.monotonic() - start < 30 and not kernels()


def test_an_interruption_ends_both_lanes_within_seconds(tiny):
    """Ctrl-C while two notebooks are at work: no kernel is left."""
    import _thread

    settings = tiny({"1_explore": "import time; time.sleep(60)", "3_train": "import time; time.sleep(60)"})
    # Where the tests are a background job of a shell, Ctrl-C is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    began = []

    def show(step):
        began.append(step)
        if len(began) == 2:
            threading.Timer(2, lambda: (began.append(time.monotonic()), _thread.interrupt_main())).start()

    try:
        with pytest.raises(KeyboardInterrupt):
            report.execute(settings, show=show)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - began[-1] < 10 and not kernels()


def test_a_fingerprint_knows_values_notebook_data_and_earlier_steps(tiny, study):
    """It is the same twice, and another one after any of these has changed."""
    tiny({"1_explore": "", "5_compare": ""})
    folder = study.parent

    def of(notebook="1_explore", reads=None, **values):
        return runner.fingerprint(Step(notebook, {}, values, Path("r"), reads), folder)

    usual = of(particles=str(study))
    assert usual == of(particles=str(study))
    assert usual != of(particles=str(study), seed=2) and usual != of(particles="simulated")
    assert usual != of(particles=str(study), reads=Step("3_train", {}, {}, Path("r"), fingerprint="x"))
    (folder / "00.png").write_bytes(b"another image")
    changed = of(particles=str(study))
    assert changed != usual
    tiny({"1_explore": "another cell"})
    assert of(particles=str(study)) != changed
    compared = of("5_compare")
    (folder / "measures.csv").write_text("value\n1\n")
    assert of("5_compare") != compared


def test_tables_of_combinations_are_joined_with_their_parameters(tmp_path):
    """One column a matrix parameter, unless the table has it; names of particles stay text; what is missing is left out."""
    steps = [
        Step("4_evaluate", {"task": task, "labels": share}, {}, Path("mine", f"{task}{share}"))
        for task in ("a", "b")
        for share in (0.5, 1.0)
    ]
    for step in steps[:3]:
        (tmp_path / step.folder).mkdir(parents=True)
        table = pd.DataFrame({"particle": ["007"], "task": ["its own"]})
        table.to_csv(tmp_path / step.folder / "predictions.csv", index=False)
    runner.join_tables(tmp_path / "mine", steps)
    joined = pd.read_csv(tmp_path / "mine" / "predictions.csv", dtype=str)
    assert joined["labels"].tolist() == ["0.5", "1.0", "0.5"]
    assert set(joined["particle"]) == {"007"} and set(joined["task"]) == {"its own"}
    assert not (tmp_path / "mine" / "measures.csv").exists()


def test_provenance_keeps_what_an_earlier_call_did(tiny):
    """A notebook that a later call leaves out stays listed, and one that is kept has the seconds that it took."""
    settings = tiny({"1_explore": "import time; time.sleep(0.2)", "2_augment": ""})
    report.execute(settings)
    path = report.reports_folder() / "mine" / "provenance.json"
    first = json.loads(path.read_text(encoding="utf-8"))["notebooks"]
    (step,) = report.execute(settings, only=["1"])
    assert step.status == "kept"
    second = json.loads(path.read_text(encoding="utf-8"))["notebooks"]
    assert [row["notebook"] for row in second] == ["1_explore", "2_augment"]
    assert [row["seconds"] for row in second] == [row["seconds"] for row in first] and first[0]["seconds"] > 0
    assert [row["status"] for row in second] == ["kept", "done"]


def test_force_runs_again_and_a_foreign_folder_is_refused(tiny):
    """`force` executes what is unchanged; a folder that holds something else is not written into."""
    settings = tiny({"1_explore": ""})
    states = [report.execute(settings, force=force)[0].status for force in (False, False, True)]
    assert states == ["done", "kept", "done"]
    (report.reports_folder() / "mine" / "parameters.yaml").unlink()
    with pytest.raises(InputError, match="is not a run of temlib"):
        report.execute(settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [bright, plan]", "manifest.csv: 'classes' names 'plan', .* the nearest is 'plain'"),
        ("unsure: [plain]", "'unsure' leaves only 'bright'"),
        ("merge: {x: [plain], y: [x]}", "'merge' joins 'x' into 'y' and others into 'x'"),
        ("merge: {x: []}", "mine.yaml: 'merge' should be new names with a list of names each"),
        ("merge: [plain]", "mine.yaml: 'merge' should be new names"),
        ("merge: {1: [plain]}", "mine.yaml: 'merge' should be new names"),
        (
            "classes: [yes, no]",
            "mine.yaml: 'classes' should be a list of names .numbers, yes and no in quotes",
        ),
        (
            "unsure: uncertain",
            "'unsure' should be a list of names .* such as .'uncertain'., but is 'uncertain'",
        ),
        ("matrix: {classes: [[plain, bright], [bright, plan]]}", "'classes' names 'plan'"),
        ("matrix: {unsure: [[], [a b], [a_b]]}", "names a value twice"),
    ],
)
def test_a_run_is_refused_before_it_begins(study, text, message):
    """By the file's checks, with the data that it names."""
    path = study.parent / "mine.yaml"
    path.write_text(f"particles: manifest.csv\ntask: content\nfolds: 2\n{text}\n")
    with pytest.raises(InputError, match=message):
        report.check([path])


def test_the_choice_is_checked_of_simulated_particles_without_making_them(tmp_path):
    """Their classes are known; the default label may be absent, and another may not."""
    path = tmp_path / "mine.yaml"
    path.write_text("classes: [unilamellar, multilamelar]\n")
    with pytest.raises(InputError, match="'classes' names 'multilamelar', .* nearest is 'multilamellar'"):
        report.check([path])
    path.write_text("unsure: []\nclasses: [unilamellar, multilamellar, uncertain]\n")
    assert report.check([path])


def test_a_sweep_over_classes_has_a_folder_and_a_value_for_each_choice(tmp_path):
    """Lists and mappings are one word in folders and joined tables; the notebook gets them as they are."""
    path, chosen = tmp_path / "mine.yaml", [[], ["uni lamellar", "a/b"]]
    text = "notebooks: [3_train]\nmatrix: {unsure: [[], [uncertain]], merge: [{}, {x: [a, b]}]}\n"
    path.write_text(text.replace("unsure: [[], [uncertain]]", f"classes: {json.dumps(chosen)}"))
    steps = report.plan(parameters.read(path, runner.declarations()))
    folders = [step.folder.as_posix() for step in steps]
    assert folders == [
        "mine/classes=[]/merge={}",
        "mine/classes=[]/merge=x(a+b)",
        "mine/classes=uni_lamellar+a_b/merge={}",
        "mine/classes=uni_lamellar+a_b/merge=x(a+b)",
    ]
    assert steps[3].values["classes"] == chosen[1] and steps[3].values["merge"] == {"x": ["a", "b"]}
    path.write_text(text)
    steps = report.plan(parameters.read(path, runner.declarations()))
    for step in steps:
        write_csv(tmp_path / step.folder / "measures.csv", pd.DataFrame({"value": [1, 2]}))
    runner.join_tables(tmp_path / "mine", steps)
    joined = read_csv(tmp_path / "mine" / "measures.csv")
    assert joined["unsure"].tolist() == ["[]"] * 4 + ["uncertain"] * 4
    assert joined["merge"].tolist() == (["{}"] * 2 + ["x(a+b)"] * 2) * 2
