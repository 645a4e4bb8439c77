"""The answer in words, and notebook 4 as a whole: run cell by cell on tables made here, and what it shows is read."""

import ast
import json
import re
import subprocess
import sys

import pandas as pd
import pytest

from temlib import report
from temlib.evaluate import answer
from temlib.files import write_json, write_text
from temlib.report import notebook
from tests.evaluate.conftest import CLASSES, drawn, shown, write


def exchanged(text):
    """Return a text with two models' names exchanged."""
    return text.replace("alpha", "\0").replace("gamma", "alpha").replace("\0", "gamma")


def test_exchanging_two_models_rows_exchanges_everything_that_is_said(tmp_path, monkeypatch):
    """Every sentence, headline, table, caption, alternative text and the index card follow the rows, never the names."""
    predictions, particles = drawn(["alpha", "beta", "gamma"])
    pages, cards = [], []
    for name, rows, primary in (
        ("one", predictions, "alpha"),
        ("two", predictions.assign(model=predictions["model"].map(exchanged)), "gamma"),
    ):
        write(tmp_path / name, rows, particles)
        pages.append(shown(tmp_path, monkeypatch, run=name, task="content", primary=primary))
        write_json(tmp_path / name / "provenance.json", {})
        write_text(tmp_path / name / "parameters.yaml", "")
        report.write(tmp_path / name)
        index = (tmp_path / name / "index.html").read_text(encoding="utf-8")
        cards.append(index.split("</h1>", 1)[1].split("<h2>Tables", 1)[0])
    assert len(pages[0]) == len(pages[1]) > 25
    for one, two in zip(*pages):
        assert exchanged(one) == two
    assert exchanged(cards[0]).replace("one.html", "two.html") == cards[1]
    said = json.loads((tmp_path / "one" / "answer.json").read_text(encoding="utf-8"))
    assert len({row["value"] for row in said["headline"]}) == 3  # or exchanging would change nothing


# Names that other programs take for empty cells, and plain ones of the same length and order.
PLAIN = {"NA": "QA", "None": "Qone", "null": "qull", "nan": "qan", "NaN": "QaN", "NULL": "QULL", "n/a": "o/a"}


def test_what_is_called_none_is_said_like_everything_else(tmp_path, monkeypatch):
    """A class, model, micrograph or particle called None, NA or nan changes nothing in notebook 4 but its name."""
    pages = []
    for names in (PLAIN, {word: word for word in PLAIN}):
        about = {"m00": names["NULL"], "p0000": names["n/a"]}
        classes = [names[word] for word in ("NA", "None", "null")]
        models = [names["nan"], names["NaN"]]
        write(tmp_path / classes[0], *(table.replace(about) for table in drawn(models, classes=classes)))
        pages.append(shown(tmp_path, monkeypatch, run=classes[0], task="content", primary=models[0]))
    assert len(pages[0]) == len(pages[1]) > 25
    for plain, page in zip(*pages):
        for word, name in PLAIN.items():
            plain = plain.replace(name, word)
        assert plain == page


def test_the_declared_model_stays_the_headline_when_it_becomes_the_worse_one(tmp_path, monkeypatch):
    """With rows exchanged but not the declaration, the headline names the same model with the other's numbers."""
    predictions, particles = drawn(["alpha", "gamma"])
    found, turned = [], predictions.assign(model=predictions["model"].map(exchanged))
    for name, rows in (("one", predictions), ("two", turned)):
        write(tmp_path / name, rows, particles)
        shown(tmp_path, monkeypatch, run=name, task="content", primary="alpha")
        found.append(json.loads((tmp_path / name / "answer.json").read_text(encoding="utf-8")))
    values = [
        {row["model"]: (row["value"], row["interval"]) for row in answer["headline"]} for answer in found
    ]
    assert values[0]["alpha"] == values[1]["gamma"] != values[1]["alpha"] == values[0]["gamma"]
    assert [answer["case"] for answer in found] == ["primary", "opponent"]
    assert [answer["answer_model"] for answer in found] == ["alpha", "gamma"]
    assert "gamma tells" in found[1]["verdict"][0] and "better than alpha" in found[1]["verdict"][0]


def test_numbers_in_the_sentences_are_those_of_the_tables(tmp_path, monkeypatch):
    """The verdict and each class's sentence carry the value and interval of measures.csv."""
    predictions, particles = drawn(["alpha", "svm_texture"])
    write(tmp_path / "r", predictions, particles)
    shown(tmp_path, monkeypatch, run="r", task="content", primary="alpha")
    answer = json.loads((tmp_path / "r" / "answer.json").read_text(encoding="utf-8"))
    said = [" ".join(answer["verdict"]), *answer["sentences"]]
    table = pd.read_csv(tmp_path / "r" / "measures.csv").set_index(["model", "measure", "class"])
    pairs = pd.read_csv(tmp_path / "r" / "comparisons.csv")
    pairs = pairs.set_index(["model_a", "model_b", "measure", "class"])
    wanted = [("balanced accuracy", "all"), *(("TPR", c) for c in CLASSES)]
    for sentence, (measure, label) in zip(said, wanted):
        for model in ("alpha", "svm_texture"):
            row = table.loc[(model, measure, label)]
            assert f"{100 * row['value']:.0f} % ({100 * row['low']:.0f}–{100 * row['high']:.0f})" in sentence
        row = pairs.loc[("alpha", "svm_texture", measure, label)]
        value, low, high = (f"{100 * row[k]:z.0f}".replace("-", "−") for k in ("difference", "low", "high"))
        assert re.search(rf"ifference (is )?{value} points? \({low} to {high}\)", sentence)


def test_notebook_4_imports_no_tensorflow_and_trains_nothing(tmp_path):
    """In a fresh interpreter, on 1,000 particles."""
    predictions, particles = drawn(["residual", "svm_texture"], particles=1000, micrographs=40)
    write(tmp_path / "r", predictions, particles)
    code = (
        "import sys; sys.path.insert(0, '.'); import pytest\nfrom pathlib import Path\nfrom tests.evaluate.conftest import shown\n"
        f"shown(Path({str(tmp_path)!r}), pytest.MonkeyPatch(), run='r', task='content', primary='residual')\n"
        "assert not {'tensorflow', 'keras', 'torch', 'jax'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=notebook.CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def _damaged(kind):
    predictions, particles = drawn(["alpha", "svm_texture"])
    mine = predictions["model"] == "alpha"
    if kind == "class absent from a fold":
        predictions = predictions[(predictions["fold"] != 1) | (predictions["truth"] != "uncertain")]
    elif kind == "class absent from the test rows":
        predictions = predictions[predictions["truth"] != "uncertain"]
    elif kind == "class never predicted":
        predictions.loc[mine & (predictions["predicted"] == "uncertain"), "predicted"] = "full"
    elif kind == "single micrograph":
        predictions, particles = predictions.assign(micrograph="m"), particles.assign(micrograph="m")
    elif kind == "probabilities do not sum to 1":
        predictions.loc[mine, ["p_empty", "p_full", "p_uncertain"]] *= 2
    elif kind == "no probabilities":
        predictions = predictions.drop(columns=["p_empty", "p_full", "p_uncertain"])
    elif kind == "the primary model is missing":
        predictions = predictions[~mine]
    elif kind == "one model, always wrong":
        predictions = predictions[mine].assign(predicted="uncertain")
        predictions = predictions[predictions["truth"] != "uncertain"]
    return predictions, particles


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("class absent from a fold", "finds"),
        ("class absent from the test rows", "a class has no particle"),
        ("class never predicted", "no particle is predicted as uncertain"),
        ("single micrograph", "1 micrographs are fewer than 20"),
        ("probabilities do not sum to 1", "do not sum to 1"),
        ("no probabilities", "No model gives probabilities"),
        ("the primary model is missing", "has no predictions, so there is no answer"),
        ("one model, always wrong", "0 %"),
    ],
)
def test_the_report_comes_and_says_what_cannot_be_computed(kind, words, tmp_path, monkeypatch):
    """Whatever is missing, the notebook ends, and the reason stands in it."""
    write(tmp_path / "r", *_damaged(kind))
    page = "\n".join(shown(tmp_path, monkeypatch, run="r", task="content", primary="alpha"))
    assert words in page
    assert "nan %" not in page and ">nan<" not in page.lower()


def test_comparator_is_of_the_other_kind_whatever_the_results():
    """A network against the stronger SVM, an SVM against the first network, else the first other model."""
    models = ["lipnet4", "residual", "svm_thesis", "svm_texture"]
    assert answer.comparator(models, "residual") == "svm_texture"
    assert answer.comparator(["lipnet4", "residual", "svm_texture"], "svm_texture") == "lipnet4"
    assert answer.comparator(["a", "b"], "b") == "a"
    assert answer.comparator(["a"], "a") is None


def test_notebook_4_says_no_more_than_can_be_read():
    """At most 700 words of prose, those of sentences in its code included."""
    cells = json.loads((notebook.NOTEBOOKS / "4_evaluate.ipynb").read_text(encoding="utf-8"))["cells"]
    words = 0
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            words += len(source.split())
        elif "parameters" not in cell["metadata"].get("tags", []):
            texts = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
            words += sum(
                len(text.split()) for text in texts if isinstance(text, str) and len(text.split()) > 3
            )
    assert 300 < words <= 700


def test_sections_that_have_nothing_to_say_are_absent(tmp_path, monkeypatch):
    """One annotator, no simulator, two models, nothing unsure, nothing demanded: what stands there says so, and no page shows it."""
    predictions, particles = drawn(["alpha", "svm_texture"])
    write(tmp_path / "r", predictions, particles)
    page = "\n".join(shown(tmp_path, monkeypatch, run="r", task="content", primary="alpha"))
    words = ("No second opinion.", "Only one pair.", "No such particle.", "Nothing was demanded.")
    assert all(f'<div class="absent">{said}</div>' in page for said in words)
    predictions, particles = drawn(["alpha", "beta", "svm_texture"])
    particles["truth_content"] = particles["content"]
    write(tmp_path / "s", predictions, particles)
    page = "\n".join(shown(tmp_path, monkeypatch, run="s", task="content", primary="alpha"))
    assert not any(said in page for said in words[:2])
