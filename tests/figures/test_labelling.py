"""Labels by keyboard: what is shown, what the keys do, and what is in the file afterwards."""

import nbformat
import numpy as np
import pandas as pd
import pytest

from temlib import data, figures
from temlib.data import tables
from temlib.figures import labelling
from temlib.figures.base import grey
from temlib.files import InputError
from tests.figures import harness


@pytest.fixture
def opened(study):
    """The particles of the study."""
    return data.open(study, task="content")


@pytest.fixture
def predictions(opened):
    """A model that is sure of all but a few."""
    table = opened.table[["particle", "micrograph", "content"]].rename(columns={"content": "truth"})
    p = np.linspace(0.99, 0.51, len(table))
    table = table.assign(model="net", predicted=table["truth"], role="test", fold=1)
    for name in ("bright", "plain"):
        table[f"p_{name}"] = np.where(table["predicted"] == name, p, 1 - p)
    return table


def show(page, labelling_):
    """Show a widget and wait for its first particle."""
    errors = harness.opened(page, labelling.Keys(labelling_))
    page.wait_for_function("document.querySelector('canvas')?.dataset.particle")
    return errors


def column(path, name="content@anna"):
    """Return the labels in a copy by particle."""
    table = tables.read(path).set_index("particle")[name]
    return table[table != ""].to_dict()


def drawn(page):
    """Return the pixels that are shown."""
    read = "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, k) => k % 4 === 0)"
    return page.locator("canvas").evaluate(read)


@pytest.mark.browser
def test_keys_label_what_is_shown(page, opened):
    """Each key goes into the file beside the particle whose pixels were in view; arrows, undo and u do what they say."""
    anna = figures.Labelling(opened, "content", name="anna", queue="random", classes=["plain", "bright"])
    errors, given = show(page, anna), {}
    for k, key in enumerate("12u2121"):
        name = anna.names[k]
        row = opened.table["particle"].tolist().index(name)
        assert drawn(page) == grey(np.asarray(opened.images[row])).ravel().tolist(), name
        page.keyboard.press(key)
        given[name] = {"1": "plain", "2": "bright", "u": "uncertain"}[key]
        page.wait_for_function(f"document.querySelector('.labelling').dataset.at === '{k + 1}'")
    page.get_by_text("7 of these 48 have a label of anna", exact=True).wait_for()
    assert column(anna.path) == given
    page.keyboard.press("z")
    page.keyboard.press("z")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("1")
    page.get_by_text("6 of these 48 have a label of anna", exact=True).wait_for()
    del given[anna.names[5]], given[anna.names[6]]
    given[anna.names[7]] = "plain"
    assert column(anna.path) == given and not errors


@pytest.mark.browser
def test_labels_are_given_blind(page, opened, predictions):
    """Names, predictions and the labels of others are nowhere in the page until they are asked for, and then of this particle."""
    anna = figures.Labelling(opened, "content", name="anna", predictions=predictions)
    errors = show(page, anna)
    assert anna.names[:2] == ["47.png", "41.png"]
    words = page.locator(".labelling").inner_text()
    assert "47.png" not in words and "net" not in words and "given" not in words
    page.get_by_label("show predictions").check()
    for name in anna.names[:4]:
        text = page.locator(".about")
        text.get_by_text(name).wait_for()
        row = predictions.set_index("particle").loc[name]
        assert (
            f"net predicts {row['predicted']} ({row[['p_bright', 'p_plain']].max():.2f})" in text.inner_text()
        )
        assert (
            f"label of given: {row['truth']}" in text.inner_text() and row["micrograph"] in text.inner_text()
        )
        page.keyboard.press("ArrowRight")
    assert not errors


@pytest.mark.browser
def test_classes_are_added_while_labelling(page, opened):
    """n, a name and Enter; what would be taken for a typing error is refused in one sentence."""
    anna = figures.Labelling(opened, "content", name="anna")
    errors = show(page, anna)
    for name, words in (("brihgt", "looks like 'bright'"), ("empty", "empty has the key 3")):
        page.keyboard.press("n")
        page.keyboard.type(name)
        page.keyboard.press("Enter")
        page.get_by_text(words).wait_for()
    page.keyboard.press("3")
    page.get_by_text("1 of these").wait_for()
    assert list(column(anna.path).values()) == ["empty"] and not errors
    assert figures.Labelling(opened, "content", name="ben").classes == ["bright", "plain", "empty"]


@pytest.mark.browser
def test_what_goes_wrong_is_said_and_goes_on(page, opened, tmp_path):
    """Somebody else's label stays; where nothing can be written another file is asked for, and has all labels then."""
    anna = figures.Labelling(opened, "content", name="anna", queue=opened.table["particle"])
    errors = show(page, anna)
    data.Annotations(opened, "content", "anna").set("00.png", "plain")
    page.keyboard.press("1")
    page.get_by_text("gave 00.png 'plain' meanwhile").wait_for()
    assert column(anna.path) == {"00.png": "plain"}
    anna.path.unlink()
    anna.path.mkdir()
    page.keyboard.press("1")
    page.get_by_text("1 label kept aside").wait_for()
    page.keyboard.press("2")
    page.get_by_text("2 labels kept aside").wait_for()
    page.get_by_label("another file for the labels").fill(str(tmp_path / "mine.csv"))
    page.get_by_role("button", name="Write there").click()
    page.get_by_text("The labels are in").wait_for()
    assert column(tmp_path / "mine.csv") == {"00.png": "plain", "01.png": "bright", "02.png": "plain"}
    assert not errors


@pytest.mark.browser
def test_a_kernel_that_does_not_answer_is_told(page, opened):
    """What is typed then does not count as saved; a second view of the widget changes nothing in the first."""
    anna = figures.Labelling(opened, "content", name="anna")
    keys = labelling.Keys(anna)
    errors = harness.opened(page, keys)
    page.wait_for_function("document.querySelector('canvas')?.dataset.particle")
    page.keyboard.press("1")
    page.get_by_text("1 of these 48 have a label of anna", exact=True).wait_for()
    keys.on_label = lambda **content: keys.on_begin()
    page.keyboard.press("2")
    page.get_by_text("1 label is not saved yet: the kernel is busy, or gone").wait_for(timeout=10_000)
    assert page.get_by_text("2 of these 48 have a label of anna; 1 not saved yet").count() == 1
    assert page.get_by_text("3 of 48", exact=True).count() == 1 and list(column(anna.path)) == [anna.names[0]]
    assert not errors


@pytest.mark.browser
def test_the_order_follows_what_was_labelled(page, study):
    """After 25 labels of two classes the rest is put in order anew; no particle is lost from it or comes twice."""
    pd.read_csv(study).drop(columns="content").to_csv(study, index=False)
    opened = data.open(study)
    anna = figures.Labelling(opened, "content", name="anna", classes=["bright", "plain"])
    errors = show(page, anna)
    for k in range(26):
        name = page.evaluate("document.querySelector('canvas').dataset.particle")
        page.keyboard.press("2" if int(name) % 2 == 0 else "1")
        page.wait_for_function(f"document.querySelector('.labelling').dataset.at === '{k + 1}'")
    page.locator(".labelling[data-ordered='23']").wait_for()
    for _ in range(26, 48):
        page.keyboard.press("u")
    page.get_by_text("48 of these 48").wait_for()
    given = column(anna.path)
    assert len(given) == 48 and list(given.values()).count("uncertain") == 22
    truth = {f"{k:02d}.png": ("plain", "bright")[k % 2] for k in range(48)}
    assert all(label in ("uncertain", truth[name]) for name, label in given.items()) and not errors
    rows = anna.ordered_anew()
    assert rows == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"queue": ["nobody.png"]}, "no particle nobody.png"),
        ({"queue": "best"}, "no order 'best'"),
        ({"queue": "audit"}, "needs 'predictions'"),
        ({"queue": []}, "no particle in it"),
        ({"name": "a@b"}, "give another name"),
        ({"classes": ["Bright"]}, "'Bright' looks like 'bright'"),
        ({"classes": ["uncertain"]}, "key u"),
    ],
)
def test_bad_input_is_one_sentence(opened, options, words):
    """Before anything is shown."""
    with pytest.raises(InputError, match=words):
        figures.Labelling(opened, "content", **({"name": "anna"} | options))


def test_orders(opened, predictions):
    """The audit's begins with what it suspects; what has a label already comes first in the others, and is passed over."""
    wrong = predictions["particle"] == "00.png"
    predictions.loc[wrong, "predicted"] = "bright"
    predictions.loc[wrong, ["p_bright", "p_plain"]] = 0.99, 0.01
    options = {"name": "anna", "predictions": predictions}
    assert figures.Labelling(opened, "content", queue="audit", **options).names[0] == "00.png"
    anna = figures.Labelling(opened, "content", **options)
    anna.annotations.set("47.png", "plain")
    again = figures.Labelling(opened, "content", **options)
    assert again.names[0] == "47.png" and again.names[1] == "41.png" and len(again.names) == 48
    sent = []
    keys = labelling.Keys(again)
    keys.send = lambda content, buffers=None: sent.append(content)
    keys.on_begin()
    assert sent[0]["at"] == 1 and sent[0]["labels"] == [[47, "plain"]]


def test_only_some_are_shown(opened, predictions):
    """Those of given micrographs and calls, also when the order follows what was labelled; a column that is not there is refused."""
    options = {"name": "anna", "predictions": predictions}
    only = {"micrograph": ["m1", "m2"], "predicted": "bright"}
    anna = figures.Labelling(opened, "content", only=only, **options)
    table = opened.table.set_index("particle").loc[anna.names]
    assert (
        len(table) == 6 and set(table["micrograph"]) == {"m1", "m2"} and set(table["content"]) == {"bright"}
    )
    anna.annotations.set(anna.names[0], "bright")
    rows = opened.table["particle"].iloc[anna.ordered_anew()]
    assert set(rows) == set(anna.names[1:])
    for only, words in (
        ({"focus": 1}, "there is no column 'focus'"),
        ({"micrograph": "m9"}, "no particle in it"),
    ):
        with pytest.raises(InputError, match=words):
            figures.Labelling(opened, "content", only=only, **options)


def test_a_page_says_how_far_it_is(opened):
    """In a report nothing can be labelled, so it says what there is."""
    anna = figures.Labelling(opened, "content", name="<anna>")
    anna.annotations.set("03.png", "bright")
    page = anna._repr_mimebundle_()
    assert "1 of 48 particles (1 bright)" in page["text/html"] and "&lt;anna&gt;" in page["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in page


@pytest.mark.slow
@pytest.mark.browser
def test_in_jupyterlab(jupyterlab, chromium, study):
    """Keys reach the widget and no command of JupyterLab; the next particle is there within 100 ms; a restart loses nothing."""
    table = pd.concat([pd.read_csv(study)] * 5)
    table["particle"] = [f"{k:03d}" for k in range(len(table))]
    table = table.assign(row=12 + np.arange(len(table)) // 48, column=12, box_px=20, image=table["image"])
    table.drop(columns="content").to_csv(study, index=False)
    cells = [
        f'from temlib import data, figures\ndataset = data.open("{study}")',
        'figures.Labelling(dataset, "content", name="anna", classes=["plain", "bright"], queue="random")',
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, jupyterlab.folder / "labels.ipynb")
    page = jupyterlab.open(chromium, "labels")
    assert jupyterlab.run_all(page) == []
    page.locator(".labelling canvas[data-particle]:visible").wait_for()
    page.locator(".labelling canvas").click()
    page.evaluate(harness.CLOCK, [["keydown"], "return document.querySelector('.labelling').dataset.at"])
    for k in range(100):
        page.keyboard.press("12"[k % 2])
        page.wait_for_function(f"window.took.length === {k + 1}")
        page.wait_for_timeout(30)
    page.get_by_text("100 of these 240", exact=False).wait_for()
    took = np.array(page.evaluate("window.took"))
    print(f"from key to next particle: median {np.median(took):.0f} ms, p95 {np.quantile(took, 0.95):.0f} ms")
    assert len(took) == 100 and np.quantile(took, 0.95) <= 100
    path = study.with_name("manifest_labelled.csv")
    assert sorted(column(path).values()) == ["bright"] * 50 + ["plain"] * 50
    # In JupyterLab's command mode these would delete, cut, undo or add cells.
    for key in ("d", "d", "x", "a", "b", "Enter"):
        page.keyboard.press(key)
    assert page.locator(".jp-CodeCell").count() == 2
    page.locator(".labelling").evaluate("root => root.dataset.old = 1")
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Restart Kernel and Run All Cells…", exact=True).click()
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    again = page.locator(".labelling:not([data-old])")
    again.get_by_text("101 of 240", exact=True).wait_for(timeout=60_000)
    again.locator("canvas[data-particle]:visible").click()
    page.keyboard.press("1")
    page.get_by_text("101 of these 240 have a label of anna", exact=True).wait_for()
    assert len(column(path)) == 101
