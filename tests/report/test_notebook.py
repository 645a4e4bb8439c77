"""What a notebook gets from `report.begin`: checked parameters, its data set, its folder."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest

from temlib import report
from temlib.files import InputError, write_csv
from temlib.report import notebook
from temlib.report.planning import Step
from temlib.report.runner import join_tables

DECLARED = """
run: str = "scratch"  # folder
particles: str = "simulated"  # data set
predictions: str = ""  # of another program
count: int = 600  # particles [50, 1000]
"""
VALUES = {"run": "mine", "particles": "simulated", "predictions": "", "count": 60, "np": None}


@pytest.fixture
def values(tmp_path, monkeypatch):
    """The globals of a notebook whose parameters are `DECLARED`."""
    monkeypatch.setattr(notebook, "NOTEBOOKS", tmp_path)
    monkeypatch.setenv("TEMLIB_REPORTS", str(tmp_path / "reports"))
    cell = nbformat.v4.new_code_cell(DECLARED, metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "1_explore.ipynb")
    return dict(VALUES)


def test_begin_makes_the_folder_and_keeps_the_declared_parameters(values, tmp_path):
    """Nothing else of a notebook's globals is a parameter."""
    here = report.begin("1_explore", values)
    assert here.folder == tmp_path / "reports" / "mine" and here.folder.is_dir()
    assert set(here.values) == {"run", "particles", "predictions", "count"} and here.source == "simulated"


def test_arguments_are_the_parameters_that_a_callable_takes(values):
    """Of a function or of a dataclass; the first parameter may have another name and be given beside them."""

    @dataclass
    class Settings:
        count: int
        epochs: int = 3

    here = report.begin("1_explore", values)
    assert here.arguments(lambda source, *, count=1, seed=2: None) == {"count": 60}
    assert Settings(**here.arguments(Settings)) == Settings(60)


def test_paths_are_found_from_the_working_directory(values, tmp_path, monkeypatch):
    """Relative ones become absolute; a wrong one is refused with the places that were looked in."""
    monkeypatch.chdir(tmp_path)
    for name in ("mine.csv", "other.csv"):
        (tmp_path / name).touch()
    here = report.begin("1_explore", values | {"particles": "mine.csv", "predictions": "other.csv"})
    assert here.source == str(tmp_path / "mine.csv")
    assert here.values["predictions"] == str(tmp_path / "other.csv")
    with pytest.raises(InputError, match=f"particles: 'none.csv' is neither 'simulated' nor .*{tmp_path}"):
        report.begin("1_explore", values | {"particles": "none.csv"})
    with pytest.raises(InputError, match="predictions: 'none.csv' is no file or folder"):
        report.begin("1_explore", values | {"predictions": "none.csv"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 3}, r"1_explore: 'count' should lie in \[50, 1000\]"),
        ({"run": "../x"}, "folder below reports/"),
    ],
)
def test_what_does_not_fit_is_refused(values, change, message):
    """A value outside its range, and a run outside the reports folder."""
    with pytest.raises(InputError, match=message):
        report.begin("1_explore", values | change)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            ["", DECLARED, "# Parameters\ncount = 60\nepoch = 5\n"],
            "no parameter 'epoch'; there are run, particles",
        ),
        (["", DECLARED, "# Parameters\ncuont = 60\n"], "no parameter 'cuont'; the nearest is 'count'"),
        (["# Parameters\nmatrix = {}\n"], "no parameter 'matrix'"),
    ],
)
def test_a_parameter_that_papermill_passed_and_nobody_declared_is_refused(values, cells, message):
    """Papermill only logs it; what people define in other cells is theirs."""
    with pytest.raises(InputError, match=f"1_explore: there is {message}"):
        report.begin("1_explore", values | {"In": cells})
    mine = ["", DECLARED, "epoch = 5", "# Parameters\ncount = 60\nrun = 'x'\n", "other = [1]\nother[0] = 2"]
    assert report.begin("1_explore", values | {"In": mine}).values["count"] == 60


@pytest.mark.parametrize("name", ["", "  ", "a\0b", 300 * "a", "~nobody-of-this-name/x", "a" + 3000 * "/b"])
def test_a_path_that_no_disk_knows_is_refused(values, name):
    """Empty, too long, or of nobody's home."""
    with pytest.raises(InputError, match="particles: .*correct the path"):
        report.begin("1_explore", values | {"particles": name})


def test_tables_of_a_run_keep_names_as_text(values):
    """A particle named 007 stays so, empty cells are missing; a table that is not there names the notebook to run."""
    here = report.begin("1_explore", values)
    pd.DataFrame({"particle": ["007"], "truth": ["NA"], "p": [""]}).to_csv(here.path("t.csv"), index=False)
    table = here.table("t.csv", first="3_train")
    assert table.loc[0, ["particle", "truth"]].tolist() == ["007", "NA"] and table["p"].isna().all()
    assert here.wrote("t.csv")["file"].tolist() == ["t.csv"]
    with pytest.raises(InputError, match="run the notebook 3_train first"):
        here.table("none.csv", first="3_train")


@pytest.mark.parametrize(
    "word", ["None", "NA", "N/A", "nan", "NaN", "null", "NULL", "<NA>", "#N/A", "True", "inf", "007"]
)
def test_no_word_in_a_table_of_temlib_means_empty(values, word):
    """What is written is read, in columns of names and of labels; numbers are numbers and only empty cells are missing."""
    here = report.begin("1_explore", values)
    names = ["particle", "micrograph", "model", "task", "class", "truth", "predicted", "kind@A", "truth_kind"]
    written = pd.DataFrame({name: [word, "b", None] for name in names} | {"p": [0.1, None, 1e-300]})
    write_csv(here.path("t.csv"), written)
    read = here.table("t.csv", first="3_train")
    pd.testing.assert_frame_equal(read, written.astype(dict.fromkeys(names, "str")))
    step = Step("4_evaluate", {"labels": 0.5}, {}, Path("mine"))
    here.path("t.csv").rename(here.path("predictions.csv"))
    join_tables(here.folder, [step])
    joined = here.table("predictions.csv", first="3_train")
    pd.testing.assert_frame_equal(joined.drop(columns="labels"), read)


def test_progress_writes_one_line_for_the_runner(tmp_path, monkeypatch):
    """The work, how far it has come and what is left, at the pace since it began; nothing once it is done."""
    now, clock = [100.0], SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(notebook, "time", clock)
    monkeypatch.setenv("TEMLIB_PROGRESS", str(tmp_path / "progress"))
    progress = report.Progress("training")
    progress.at(0, "fold 1")
    read = partial((tmp_path / "progress").read_text, encoding="utf-8")
    assert read() == "training 0 % · fold 1"
    now[0] += 30
    progress.at(0.75, "fold 2")
    assert read() == "training 75 % · fold 2 · 0:10 left"
    progress.done()
    assert not (tmp_path / "progress").exists()


@pytest.mark.parametrize(("seconds", "text"), [(35, "0:35"), (725, "12:05"), (11220, "3 h 07")])
def test_durations_are_read_at_a_glance(seconds, text):
    """Minutes and seconds, or hours and minutes."""
    assert report.duration(seconds) == text
