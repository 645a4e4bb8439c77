"""The steps of a run: which trainings run side by side, the rest beside them, and what is kept of an earlier call."""

import errno
import json
import os
import re
import shutil
import signal
import threading
import time
from dataclasses import replace
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pandas as pd
import psutil
import pytest
from click.testing import CliRunner

from temlib import report
from temlib.__main__ import main
from temlib.files import InputError, read_csv, write_csv, write_json, write_text
from temlib.report import onefile, parameters, planning, runner
from temlib.report.planning import Step

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


def test_trainings_run_one_by_one_and_the_rest_beside_them(tiny, monkeypatch, tmp_path):
    """On an accelerator exploring and training wait for each other; each evaluation follows its training, comparing is last."""
    monkeypatch.setattr(runner, "ACCELERATOR", tmp_path)
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


def test_two_trainings_share_the_cores(tiny, monkeypatch, tmp_path):
    """Without an accelerator each waits for the other to have begun, and has its part of four cores."""
    monkeypatch.setattr(runner, "ACCELERATOR", tmp_path / "none")
    monkeypatch.setattr(runner.os, "cpu_count", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cell = begun("train", meets="trainb") + begun("train", meets="traina")
    cell += "\nimport os; assert os.environ['OMP_NUM_THREADS'] == '2'"
    steps = report.execute(tiny({"3_train": cell}, task=["a", "b"]))
    assert [(step.status, step.error) for step in steps] == [("done", "")] * 2


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
def test_what_goes_wrong_in_either_worker_is_raised_and_ends_the_run(tiny, name):
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


def test_an_interruption_ends_both_workers_within_seconds(tiny):
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
    assert [row["status"] for row in second] == ["done", "done"]  # nothing ran, so nothing is told anew


# Names of runs, tasks and files that mean something in addresses, folders, formats or shells.
NAMES = [
    "a#b",
    "what?",
    "50%",
    "100%25",
    'say "x"',
    "it's",
    "größe µ",
    "<b>&amp;",
    "a b ",
    "{x}",
    "$HOME",
    "c:d",
    "-o",
    "日本",
    "a;b|c*",
]


@pytest.mark.parametrize("name", NAMES)
def test_links_work_whatever_runs_and_tasks_are_called(tiny, name):
    """From the index over all runs to each page and table, as a browser follows them; each value has a folder of its own."""
    settings = replace(tiny({"2_augment": ""}, task=[name, f"{name}/../x", "a"]), path=Path(f"{name}.yaml"))
    steps, reports = report.plan(settings), report.reports_folder()
    assert len({step.folder for step in steps}) == 3 and all(
        step.folder.parent == Path(name) for step in steps
    )
    rows = []
    for step in steps:
        write_text(reports / step.folder / "2_augment.html", "<title>One – temlib</title><main></main>")
        write_csv(reports / step.folder / "measures.csv", pd.DataFrame({"task": [step.combination["task"]]}))
        row = {
            "notebook": "2_augment",
            "combination": step.combination,
            "status": "done",
            "error": "",
            "seconds": 1.0,
        }
        rows.append(row | {"folder": step.folder.as_posix()})
    write_json(reports / name / "provenance.json", {"notebooks": rows, "started": "now"})
    write_text(reports / name / "parameters.yaml", "")
    onefile.write(reports / name)
    onefile.write_index(reports)
    pages = [reports / "index.html"]
    for page in pages:
        for link in re.findall(r'href="([^"#]+)"', page.read_text(encoding="utf-8")):
            parts = urlsplit(unescape(link))
            assert not (parts.scheme or parts.netloc or parts.query or parts.fragment), link
            target = (page.parent / unquote(parts.path)).resolve()
            assert target.is_file(), link
            pages += [target] * (target not in pages)
    assert len(pages) == 9  # both indexes, the one file, three pages, three tables


def test_a_run_of_any_name_is_executed(tiny):
    """Papermill takes braces for parameters, and a notebook must find its folder again."""
    settings = tiny(
        {"2_augment": "from pathlib import Path\nassert Path(run).parts == ('{x} a#b?%', 'task=%2F{run}')"},
        task=["/{run}"],
    )
    (step,) = report.execute(replace(settings, path=Path("{x} a#b?%.yaml")))
    assert (step.status, step.error) == ("done", "")


def test_data_sets_of_a_matrix_are_found_beside_the_file(study, monkeypatch, tmp_path):
    """Notebooks get them absolute, folders are named as they are written, and each is opened once."""
    from temlib import data

    for name in ("a.csv", "b.csv"):
        shutil.copy(study, study.with_name(name))
    (tmp_path / "sub").mkdir()
    text = "task: content\nfolds: 2\ninput_size: 12\nnotebooks: [1_explore, 3_train]\nmodels: [svm_texture]\nprimary: svm_texture\n"
    (tmp_path / "sub" / "mine.yaml").write_text(
        f"{text}matrix: {{particles: [../a.csv, ../b.csv], seed: [1, 2, 3]}}"
    )
    opened, real = [], data.open
    monkeypatch.setattr(
        data, "open", lambda source, **given: (opened.append(source), real(source, **given))[1]
    )
    (settings,) = report.check([tmp_path / "sub" / "mine.yaml"], output=tmp_path / "out")
    assert opened == [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    steps = report.plan(settings)
    assert {step.values["particles"] for step in steps} == set(opened) and len(steps) == 12
    assert {step.folder.parent for step in steps} == {Path("mine", f"particles=..%2F{x}.csv") for x in "ab"}
    (tmp_path / "b.csv").unlink()
    with pytest.raises(InputError, match=r"particles: '../b.csv' is neither"):
        report.check([tmp_path / "sub" / "mine.yaml"])


def test_a_value_too_long_for_a_folder_is_cut(tiny):
    """Two that begin alike have different folders."""
    folders = [
        step.folder for step in report.plan(tiny({"2_augment": ""}, task=[300 * "ä" + end for end in "xy"]))
    ]
    assert len(set(folders)) == 2 and all(len(folder.name.encode()) < 130 for folder in folders)


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize("place", ["mine.yaml/out", "x" * 300, "/".join(40 * ["y" * 200]), "full", "taken"])
def test_where_nothing_can_be_written_is_told_before_anything_is_run(tmp_path, monkeypatch, command, place):
    """A file where a folder should be, a name or a path too long, a full disk, a folder where a file should be: one sentence."""
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("notebooks: [7_software]")
    Path("taken", "mine", "7_software.ipynb").mkdir(parents=True)
    Path("taken", "mine", "parameters.yaml").touch()
    if place == "full":
        monkeypatch.setattr(Path, "write_bytes", refuse(errno.ENOSPC))
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(main, [command, "mine.yaml", "--output", place])
    assert result.exit_code == (1 if place == "full" else 2) and result.stderr.count("\n") == 1, result.output
    assert re.match(r"temlib: .* cannot be written \(.*\); .*\.\n$", result.stderr)
    assert sorted(tmp_path.rglob("*")) == before


def refuse(number):
    """Return a function that fails as the system does."""

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("when", ["mkdir", "write_text", "replace"])
def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch, number, when):
    """Whatever the disk says, and whenever: one sentence, the old content stays, nothing else is left."""
    write_text(tmp_path / "a" / "x.csv", "old")
    monkeypatch.setattr(Path, when, refuse(number))
    with pytest.raises(InputError, match=r"x.csv cannot be written \(.*\); .*\.$"):
        write_text(tmp_path / "a" / "x.csv", "new")
    monkeypatch.undo()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["x.csv"] and (
        tmp_path / "a" / "x.csv"
    ).read_text() == "old"


def test_a_disk_that_fills_up_while_a_run_is_told_of_ends_it_in_a_sentence(tiny, monkeypatch, tmp_path):
    """What the run itself writes cannot be written: exit status 1, and no half-written file."""
    tiny({"1_explore": ""})
    (tmp_path / "mine.yaml").write_text("task: a")
    for name in ("write_json", "write_text"):
        with monkeypatch.context() as patch:
            patch.setattr(runner, name, refuse(errno.ENOSPC))
            result = CliRunner().invoke(main, ["run", str(tmp_path / "mine.yaml"), "--force"])
        assert result.exit_code == 1 and result.stderr.endswith(
            "temlib: No space left on device; make room, or name another folder.\n"
        )
    assert not [path for path in tmp_path.rglob(".*") if path.is_file() and path.name != ".lock"]


def test_force_runs_again_and_a_foreign_folder_is_refused(tiny):
    """`force` executes what is unchanged; a folder that holds something else is not written into."""
    settings = tiny({"1_explore": ""})
    states = [report.execute(settings, force=force)[0].status for force in (False, False, True)]
    assert states == ["done", "kept", "done"]
    (report.reports_folder() / "mine" / "parameters.yaml").unlink()
    with pytest.raises(InputError, match="is not a run of temlib"):
        report.execute(settings)


def test_notebook_1_is_run_once_for_all_tasks(tiny):
    """The first task is the declared one there; the others run for each."""
    steps = planning.plan(tiny({"1_explore": "", "3_train": ""}, task=["b", "a"]))
    assert [(step.label, step.values["task"]) for step in steps] == [
        ("1_explore", "b"),
        ("3_train task=b", "b"),
        ("3_train task=a", "a"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [bright, plan]", "manifest.csv: 'classes' names 'plan', .* the nearest is 'plain'"),
        ("unsure: [plain]", "'unsure' leaves only 'bright'"),
        ("merge: {x: [plain], y: [x]}", "'merge' joins 'x' into 'y' and others into 'x'"),
        (
            "merge: {x: []}",
            "mine.yaml, line 4: 'merge' should be a mapping with a list of names each, such as",
        ),
        ("merge: [plain]", "mine.yaml, line 4: 'merge' should be a mapping with a list of names each"),
        ("merge: {1: [plain]}", "mine.yaml, line 4: 'merge' should be a mapping with a list of names each"),
        ("classes: [yes, no]", "manifest.csv: 'classes' names 'yes'"),
        ("classes: [1, 2]", "mine.yaml, line 4: 'classes' should be a list of names .numbers in quotes"),
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


@pytest.mark.parametrize("source", ["manifest.csv", "simulated"])
def test_a_demand_on_no_class_is_refused_before_a_kernel_starts(study, source):
    """Where the particles are trained on; by the classes that are learnt, simulated or read."""
    path = study.parent / "mine.yaml"
    task, name = ("encapsulation", "empty") if source == "simulated" else ("content", "plain")
    text = f"particles: {source}\ntask: {task}\nfolds: 2\nmodels: [svm_thesis]\nprimary: svm_thesis\n"
    path.write_text(text + f'accept: {{TPR of {name}: "> 0.5"}}\n')
    assert report.check([path])
    for wrong in (f"{name}y", "uncertain"):
        path.write_text(text + f'accept: {{TPR of {wrong}: "> 0.5"}}\n')
        with pytest.raises(InputError, match=f"there is no TPR of '{wrong}'.*the classes are"):
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
    steps = report.plan(parameters.read(path, planning.declarations()))
    folders = [step.folder.as_posix() for step in steps]
    assert folders == [
        "mine/classes=[]/merge={}",
        "mine/classes=[]/merge=x(a+b)",
        "mine/classes=uni_lamellar+a_b/merge={}",
        "mine/classes=uni_lamellar+a_b/merge=x(a+b)",
    ]
    assert steps[3].values["classes"] == chosen[1] and steps[3].values["merge"] == {"x": ["a", "b"]}
    path.write_text(text)
    steps = report.plan(parameters.read(path, planning.declarations()))
    for step in steps:
        write_csv(tmp_path / step.folder / "measures.csv", pd.DataFrame({"value": [1, 2]}))
    runner.join_tables(tmp_path / "mine", steps)
    joined = read_csv(tmp_path / "mine" / "measures.csv")
    assert joined["unsure"].tolist() == ["[]"] * 4 + ["uncertain"] * 4
    assert joined["merge"].tolist() == (["{}"] * 2 + ["x(a+b)"] * 2) * 2


def test_a_sample_is_assayed_by_each_model_of_the_run(tmp_path):
    """Notebook 6 has a folder beside each notebook 3 and waits for it; a simulated sample is of another seed and size."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        "assay: simulated\ncount: 2000\nseed: 7\naccept: {TPR of full: '> 80 %'}\nmatrix: {task: [b, a]}\n"
    )
    steps = report.plan(parameters.read(path, planning.declarations()))
    assays = [step for step in steps if step.notebook == "6_assay"]
    assert [step.folder.as_posix() for step in assays] == ["mine/task=b/assay", "mine/task=a/assay"]
    assert [step.reads.label for step in assays] == ["3_train task=b", "3_train task=a"]
    values = assays[0].values
    assert (values["particles"], values["seed"], values["count"]) == ("simulated", 8, planning.SAMPLE)
    assert values["run"] == "mine/task=b/assay" and not {"accept", "bundle"} & {*values}
    (tmp_path / "new").mkdir()
    path.write_text("assay: new\n")
    steps = report.plan(parameters.read(path, planning.declarations()))
    (assay,) = (step for step in steps if step.notebook == "6_assay")
    assert assay.values["particles"] == str(tmp_path / "new") and "count" not in assay.values


@pytest.mark.parametrize(
    "text",
    [
        "bundle: x\nassay: simulated",
        "keep_models: false\nassay: simulated",
        "matrix: {assay: [a]}",
        "assay: 3",
    ],
)
def test_a_sample_that_the_run_cannot_assay_is_refused(tmp_path, text):
    """It is for the run's own saved models, one sample a run, and named as a path."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match="assay"):
        parameters.read(path, planning.declarations())
