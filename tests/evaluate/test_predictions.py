"""Predictions of other software join without being counted twice, and what is wrong with them is said."""

import html
import re

import pandas as pd
import pytest

from temlib import data
from temlib.evaluate import Predictions
from temlib.files import InputError
from tests.evaluate.conftest import drawn, shown, write

COLUMNS = ["particle", "predicted", "p_empty", "p_full", "p_uncertain"]


@pytest.fixture
def own():
    """One model of temlib's."""
    return drawn(["residual"])[0]


def _joined(own, tmp_path, text):
    path = tmp_path / "theirs.csv"
    path.write_text(text, encoding="utf-8")
    return Predictions(own, data.read_table(path, numeric="p_"))


def _good(own):
    return own[COLUMNS]


def test_the_same_predictions_under_another_name_measure_the_same(own, tmp_path):
    """Truth, micrograph and fold come from the run."""
    held = _joined(own, tmp_path, _good(own).to_csv(index=False))
    table = held.measures("t").set_index(["model", "measure", "class"])[["value", "low", "high"]]
    pd.testing.assert_frame_equal(table.loc["theirs"], table.loc["residual"])
    assert held.notes == []


def test_spreadsheets_of_other_countries_are_read(own, tmp_path):
    """Semicolons, decimal commas, a byte order mark, capitals."""
    rows = _good(own).assign(predicted=own["predicted"].str.upper())
    held = _joined(own, tmp_path, "\ufeff" + rows.to_csv(index=False, sep=";", decimal=","))
    theirs = held.table[held.table["model"] == "theirs"]
    assert held.notes == [] and theirs["predicted"].tolist() == own["predicted"].tolist()


def test_missing_unknown_and_duplicate_particles_are_said_and_counted_once(own, tmp_path):
    """Ten missing, two unknown, three twice (with another call): each particle counts once, by its first row."""
    rows = _good(own).iloc[10:]
    twice = rows.head(3).assign(predicted="uncertain")
    unknown = rows.head(2).assign(particle=["x1", "x2"])
    held = _joined(own, tmp_path, pd.concat([rows, twice, unknown]).to_csv(index=False))
    theirs = held.table[held.table["model"] == "theirs"]
    assert theirs["particle"].is_unique and len(theirs) == 230
    assert (theirs["predicted"].head(3).to_numpy() == rows["predicted"].head(3).to_numpy()).all()
    said = " ".join(held.notes)
    assert "name no held-out particle of this run: 2 (such as 'x1')" in said
    assert "first row counts: 3 (such as 'p0010')" in said
    assert "10 of the 240 held-out particles are missing" in said
    table = held.measures("t")
    assert table.loc[(table["model"] == "theirs") & (table["measure"] == "accuracy"), "n"].item() == 230


def test_probabilities_that_do_not_sum_to_1_are_said(own, tmp_path):
    """Their order still counts, no log loss is claimed."""
    rows = _good(own).assign(p_full=own["p_full"] * 3)
    held = _joined(own, tmp_path, rows.to_csv(index=False))
    assert "do not sum to 1" in held.notes[0]
    table = held.measures("t").set_index(["model", "measure", "class"])["value"]
    assert pd.isna(table[("theirs", "log loss", "all")]) and table[("theirs", "AUC", "full")] > 0.5


def test_calls_alone_join_and_their_limits_are_said(own, tmp_path):
    """No probabilities, or not of every class."""
    for columns, words in ((2, "no probabilities"), (4, "'p_uncertain' is missing")):
        assert words in _joined(own, tmp_path, _good(own).iloc[:, :columns].to_csv(index=False)).notes[0]


def test_several_models_in_one_file_and_a_name_that_is_taken(own, tmp_path):
    """A model called as one of the run's gets the file's name added."""
    rows = pd.concat([_good(own).assign(model="residual"), _good(own).assign(model="")])
    held = _joined(own, tmp_path, rows.to_csv(index=False))
    assert list(held.table["model"].unique()) == ["residual", "residual (theirs)", "theirs"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("particle,call\na,full\n", "there is no column 'predicted'"),
        ("particle,predicted\nzz,full\n", "no row names a held-out particle"),
        ("particle,predicted\np0001,fool\n", "a held-out particle of this run and one of empty, full"),
        (f"{','.join(COLUMNS)}\np0001,full,much,0,0\n", "'much' is not a finite number"),
        (
            f"{';'.join(COLUMNS)}\np0001;full;0,5;1.234;0\n",
            "p_full, line 2: '1.234' is not clear where the decimal sign is a comma",
        ),
        ("", "is empty"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(own, tmp_path, text, words):
    """The sentence names the file or the column and what is wrong."""
    with pytest.raises(InputError, match=words):
        _joined(own, tmp_path, text)


def test_notebook_4_shows_them_beside_its_own(own, tmp_path, monkeypatch):
    """The parameter `predictions` adds a model to every table; what is wrong stands under the answer."""
    predictions, particles = drawn(["residual"])
    write(tmp_path / "r", predictions, particles)
    _good(own).iloc[5:].to_csv(tmp_path / "theirs.csv", index=False)
    values = {"run": "r", "task": "content", "primary": "residual"}
    values["predictions"] = str(tmp_path / "theirs.csv")
    page = "\n".join(shown(tmp_path, monkeypatch, **values))
    assert re.search(r"theirs \d+ % \(", page) and "5 of the 240 held-out particles are missing" in page
    assert set(pd.read_csv(tmp_path / "r" / "measures.csv")["model"]) == {"residual", "theirs"}


@pytest.mark.parametrize(
    "classes",
    [
        ("all", "macro", "micro"),
        ("fold", "model", '"all"'),
        ("class", "measure", "truth"),
        ("_x", "$a$ $\\frac{", "p_<b>&#"),
    ],
)
def test_notebook_4_takes_classes_of_any_name(tmp_path, monkeypatch, classes):
    """Those of averages, of columns, of formulas and of markup; the answer has a sentence on each class."""
    predictions, particles = drawn(["residual", "svm_texture"], classes=list(classes))
    theirs = predictions[predictions["model"] == "residual"][["particle", "predicted"]]
    models = ["truth", "class", "p residual", "all", "always all"]
    pd.concat([theirs.assign(model=name) for name in models]).to_csv(tmp_path / "theirs.csv", index=False)
    write(tmp_path / "mine", predictions, particles)
    named = {
        "run": "mine",
        "task": "content",
        "primary": "residual",
        "predictions": str(tmp_path / "theirs.csv"),
    }
    text = html.unescape("\n".join(shown(tmp_path, monkeypatch, **named)))
    for name in classes:
        name = f'"{name}"' if name in ("all", "macro", "micro") else name.replace('"all"', '""all""')
        assert f"truly {name} particles residual finds" in text
    assert all(f"{name} (theirs)" in text for name in ("truth", "class", "p residual", "always all"))
