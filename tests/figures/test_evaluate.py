"""Pictures of notebook 4, of planted tables."""

import base64
import io
import re
import types

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from temlib import figures
from temlib.figures import base
from tests.figures.conftest import check, sentence

CLASSES, MODELS = ["empty", "full"], ["dihedral", "svm_texture"]
INTERVAL = {"low": 0.1, "high": 0.9, "n": 40, "micrographs": 8, "method": "planted"}


def test_confusions_are_counts_and_shares_of_the_true_class():
    """A table a model; a class without particles has no share to show, and does no harm; many names are numbered."""
    matrix = pd.DataFrame([[30, 10], [0, 0]], index=CLASSES, columns=CLASSES)
    picture = figures.confusions(dict.fromkeys(MODELS, matrix))
    page = check(picture, ["truth", "predicted", "particles", "model"], n=40)
    assert picture.frame()["particles"].tolist() == [30, 10, 0, 0] * 2
    cells = re.findall(r",([\d.]+)\)\">(\d+)<small>(\d+)%</small></td>", page)
    assert cells == [("0.41", "30", "75"), ("0.14", "10", "25"), *[("0.00", "0", "0")] * 2] * 2
    assert page.count("<table") == 2 and '<th scope="row">full</th>' in page
    names = [f"a class whose name is long {k} <b>" for k in range(12)]
    page = figures.confusions({"net": pd.DataFrame(7, index=names, columns=names)}).plot()
    assert page.count("<span>12 a class whose name is long 11 &lt;b&gt;</span>") == 1
    assert page.count("<abbr title=") == 24 and "<b>" not in page


def test_estimates_have_a_row_a_class_and_named_lines():
    """Other measures are left out; an undefined value leaves its place empty."""
    rows = [(m, c, k, 0.5) for m in MODELS for c in CLASSES for k in ("TPR", "PPV")]
    table = pd.DataFrame(rows, columns=["model", "class", "measure", "value"]).assign(**INTERVAL)
    table.loc[0, "value"] = np.nan
    picture = figures.estimates(table, "TPR", lines={"chance": 0.5})
    figure = check(picture, list(table), n=40, panels=1)
    assert picture.frame()["measure"].eq("TPR").all() and "svm_texture, full: 0.50" in picture.alt
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == CLASSES
    assert [len(bars.lines[0].get_xdata()) for bars in figure.axes[0].containers] == [1, 2]
    assert [text.get_text() for text in figure.legends[0].texts] == ["chance (0.50)", *MODELS]
    assert len(figures.estimates(table, "MCC").frame()) == 0


def probabilistic(name):
    """The picture `name` of two models, and its planted table."""
    if name == "curves":
        rows = [
            (m, c, k, x, x)
            for m in MODELS
            for c in CLASSES
            for k in ("ROC", "precision–recall")
            for x in (0, 1)
        ]
        table = pd.DataFrame(rows, columns=["model", "class", "curve", "x", "value"]).assign(
            positives=10, **INTERVAL
        )
        return figures.curves, (table,)
    if name == "risk":
        rows = [(m, x, x / 4) for m in MODELS for x in (0.5, 1)]
        return figures.risk, (pd.DataFrame(rows, columns=["model", "coverage", "risk"]).assign(**INTERVAL),)
    rows = [(m, x, x) for m in MODELS for x in (0.5, 0.9)]
    table = pd.DataFrame(rows, columns=["model", "confidence", "right"]).assign(**INTERVAL | {"n": 20})
    return figures.reliability, (table, table.assign(right=0.7))


@pytest.mark.parametrize(("name", "n", "panels"), [("curves", 8, 4), ("risk", 40, 1), ("reliability", 40, 2)])
def test_probabilities_are_drawn_or_missed(name, n, panels):
    """A line or a panel for each model; one sentence where no model gives probabilities."""
    draw, tables = probabilistic(name)
    picture = draw(*tables)
    columns = [*tables[0], *(["probabilities"] if name == "reliability" else [])]
    figure = check(picture, columns, n=n, panels=panels)
    assert all(model in picture.alt for model in MODELS)
    if name == "curves":
        assert figure.axes[0].get_title() == "ROC\nempty\n(10 of 40)"
        assert figure.axes[1].lines[-1].get_ydata() == pytest.approx([0.25, 0.25])  # chance
    if name == "reliability":
        assert [bars.get_label() for bars in figure.axes[0].containers] == ["as given", "calibrated"]
    assert "No model gives probabilities" in sentence(draw(*[table.head(0) for table in tables]))


@pytest.fixture
def examples():
    """Copies of four particles, and where one network looked."""
    names, rng = [f"p{k}" for k in range(4)], np.random.default_rng(0)
    table = pd.DataFrame(
        {"particle": names, "model": "dihedral", "called": ["full", "full", "empty", "empty"]}
    )
    maps = {kind: rng.random((4, 5, 5)).astype("float16") for kind in ("gradcam", "occlusion", "shuffled")}
    images = {name: rng.integers(0, 255, (20, 20)).astype(np.uint8) for name in names}
    return types.SimpleNamespace(table=table, maps=maps, images=images, pixel_nm=3.0)


def test_cases_are_shown_in_order_with_their_words(examples):
    """Particles without a copy are left out; sentences where none is left, and where there is no case."""
    table = pd.DataFrame({"particle": ["p2", "gone", "p1", "p0"], "words": ["one", "two", "three", "four"]})
    picture = figures.cases(examples, table, title="errors", most=2)
    page = check(picture, ["particle", "words"], n=4, panels=2)
    assert page.index("one") < page.index("three")
    addresses = [base.encoded(examples.images[name]) for name in ("p2", "p1")]
    assert re.findall('href="(.*?)"', page) == addresses
    assert picture.caption == "errors; 2 of 4 are shown."
    assert "kept no copies" in sentence(
        figures.cases(examples, table[table["particle"] == "gone"], title="errors")
    )
    assert sentence(figures.cases(examples, table.head(0), title="errors")) == "errors: there are none."


def test_attention_lies_over_its_particle(examples):
    """Four images for each particle shown, ordered by truth; a sentence for a model without maps."""
    truths = {"p0": "full", "p1": "empty", "p2": "full", "p3": "empty"}
    picture = figures.attention(examples, "dihedral", truths, most=3)
    examples.maps["gradcam"][1] = np.eye(5)
    page = check(picture, ["particle", "model", "called", "truth"], n=4, panels=12)
    assert picture.frame()["particle"].tolist() == ["p1", "p3", "p2"]
    assert page.index("predicted full, truly empty") < page.index("predicted empty, correct")
    heated = Image.open(io.BytesIO(base64.b64decode(re.findall('base64,(.*?)"', page)[1])))
    warm = np.asarray(heated.convert("RGB"), float)[..., 0].reshape(5, 4, 5, 4).mean((1, 3))
    assert warm[np.eye(5, dtype=bool)].min() > warm[~np.eye(5, dtype=bool)].max()
    assert "no attention maps were kept" in sentence(figures.attention(examples, "svm_texture", truths))
