"""Pictures in a browser: names of any length, two to ten classes, no error and one micrograph, at the width of a desk and of a phone."""

import dataclasses
import re
import types
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from temlib import explore, figures
from temlib.report.html import STYLE, TEMPLATES
from tests.figures.conftest import study

LONG = "a class whose name goes on and on, such as unilamellar_with_a_payload_that_has_a_name $x$ <{}>"
MODELS = ["dihedral", "svm_texture", "a_classifier_of_somebody_else_with_a_long_name_v2.1"]
INTERVAL = {"low": 0.6, "high": 1.0, "n": 40, "micrographs": 1, "method": "planted"}


def planted(classes, micrographs):
    """Every kind of picture for so many classes with long names, of models without an error, in so many micrographs."""
    names = [LONG.format(k) for k in range(classes)]
    found = study()
    labels = [names[k % classes] for k in range(len(found))]
    micrograph = [f"grid_of_a_long_session_{k % micrographs:04d}.mrc" for k in range(len(found))]
    found = dataclasses.replace(found, table=found.table.assign(label=labels, micrograph=micrograph))
    by = [(model, name) for model in MODELS for name in names]
    scores = pd.DataFrame(by, columns=["model", "class"]).assign(measure="TPR", value=1.0, **INTERVAL)
    curves = [(*one, kind, x, 1.0) for one in by for kind in ("ROC", "precision–recall") for x in (0, 0.5, 1)]
    curves = pd.DataFrame(curves, columns=["model", "class", "curve", "x", "value"]).assign(
        positives=20, **INTERVAL
    )
    risk = pd.DataFrame(
        [(m, x, 0.0) for m in MODELS for x in (0.5, 1)], columns=["model", "coverage", "risk"]
    )
    sure = pd.DataFrame({"model": MODELS, "confidence": 1.0, "right": 1.0}).assign(**INTERVAL)
    whole = pd.DataFrame({"model": MODELS, "micrograph": micrograph[0], "right": 1.0, "particles": 40})
    swept = scores.rename(columns={"class": "merge"}).assign(task="label", seeds=1)
    swept = swept[["task", "model", "merge", "value", "low", "high", "n", "micrographs", "seeds"]]
    examples = types.SimpleNamespace(images={"p0": found.images[0]}, pixel_nm=2.0)
    case = pd.DataFrame({"particle": ["p0"], "words": [f"{names[0]}\n{names[-1]}\n0.99, 0.01"]})
    matrix = pd.DataFrame(np.diag([2000] * classes), index=names, columns=names)
    return [
        figures.class_counts(found.table, ["label"]),
        figures.micrograph_counts(found.table, "label"),
        figures.gallery(found, "label", each=3),
        figures.radial_profiles(found, "label"),
        figures.descriptor_map(found, ["label"], explore.principal(found)),
        figures.sizes(found),
        figures.confusions(dict.fromkeys(MODELS, matrix)),
        figures.estimates(scores, "TPR", lines={"chance": 1 / classes}),
        figures.curves(curves),
        figures.risk(risk.assign(**INTERVAL)),
        figures.reliability(sure, sure),
        figures.micrograph_scores(whole),
        figures.sweep(swept, "merge", "balanced accuracy"),
        figures.cases(examples, case, title="errors"),
        figures.edge_profiles(found.images, labels),
    ]


# What is too small, cut off, or lies on something else, as sentences.
FAULTS = """() => {
  const faults = [], wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > wide) faults.push("the page is wider than the screen");
  for (const svg of document.querySelectorAll(".picture svg")) {
    const frame = svg.getBoundingClientRect(), texts = [...svg.querySelectorAll("text")];
    if (frame.right > wide + 1) faults.push("a panel is wider than the screen");
    const boxes = texts.map(text => {
      const size = parseFloat(getComputedStyle(text).fontSize) * Math.hypot(text.getScreenCTM().a, text.getScreenCTM().b);
      if (size < 11) faults.push(`${text.textContent} has ${size} pixels`);
      const box = text.getBoundingClientRect();
      if (box.left < frame.left - 2 || box.right > frame.right + 2 || box.top < frame.top - 3 || box.bottom > frame.bottom + 3)
        faults.push(`${text.textContent} is cut off`);
      return box;
    });
    boxes.forEach((one, i) => boxes.slice(0, i).forEach((two, j) => {
      const across = Math.min(one.right, two.right) - Math.max(one.left, two.left);
      const down = Math.min(one.bottom, two.bottom) - Math.max(one.top, two.top);
      // Lines of text have some air above and below.
      if (across > 1 && down > 0.4 * Math.min(one.height, two.height))
        faults.push(`${texts[i].textContent} lies on ${texts[j].textContent}`);
    }));
  }
  for (const part of document.querySelectorAll(".picture *"))
    if (!part.closest("svg") && part.innerText && parseFloat(getComputedStyle(part).fontSize) < 11) faults.push(`${part.innerText} is small`);
  return [...new Set(faults)];
}"""


@pytest.mark.browser
@pytest.mark.parametrize(("classes", "micrographs"), [(2, 12), (10, 1)])
def test_nothing_is_small_or_cut_off_or_on_something_else(chromium, tmp_path, classes, micrographs):
    """Text has 11 pixels or more within its panel, on a phone too; nothing is wider than the screen, but tables, which scroll."""
    body = "".join(picture._repr_html_() for picture in planted(classes, micrographs))
    (tmp_path / "page.html").write_text(
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><style>{STYLE}</style><main>{body}</main></html>',
        encoding="utf-8",
    )
    words = re.sub(r"base64,[^\"]+", "", body)
    assert "NaN" not in words and "http" not in words and len(body) < 1e6
    context = chromium.new_context(java_script_enabled=True, offline=True)
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(FAULTS) == [], width
    # A click enlarges a picture over the whole screen, and another one, or a key, puts it back.
    drawing = page.locator(".picture .drawing:has(> svg)").first
    small = drawing.bounding_box()["width"]
    drawing.click()
    assert drawing.bounding_box()["width"] == 390 > small
    page.keyboard.press("Space")
    assert drawing.bounding_box()["width"] == small
    context.close()


@pytest.mark.browser
def test_a_script_saves_pictures_and_sorts_and_searches_long_tables(chromium, tmp_path):
    """Twenty rows are sorted as numbers by a click and found by a word; a picture is saved as it stands; without a script nothing is offered."""
    rows = pd.DataFrame(
        {"name": [f"m{k}" for k in range(20)], "particles": [(7 * k) % 20 * 100 - 500 for k in range(20)]}
    )
    short = figures.Table(rows.head(3))._repr_html_()
    body = (
        figures.Table(rows)._repr_html_()
        + short
        + figures.histogram([1, 2, 2], label="size (nm)", what="size")._repr_html_()
    )
    script = (TEMPLATES / "pictures.js").read_text(encoding="utf-8")
    (tmp_path / "page.html").write_text(
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><main>{body}</main><script>{script}</script></html>',
        encoding="utf-8",
    )
    counts = []
    for allowed in (False, True):
        context = chromium.new_context(java_script_enabled=allowed, offline=True)
        page = context.new_page()
        page.goto((tmp_path / "page.html").as_uri())
        counts.append((page.locator("button").count(), page.get_by_role("searchbox").count()))
    assert counts == [(0, 0), (4, 1)]
    numbers = page.locator("table >> nth=0").locator("td:nth-child(2)")
    for expected in (sorted(rows["particles"]), sorted(rows["particles"], reverse=True)):
        page.get_by_role("button", name="particles").click()
        assert numbers.all_inner_texts() == [f"{value:,}".replace("-", "−") for value in expected]
    page.get_by_role("searchbox").fill("m13")
    assert numbers.locator("visible=true").all_inner_texts() == ["600"]
    with page.expect_download() as download:
        page.get_by_role("button", name="SVG").click()
    saved = ElementTree.parse(download.value.path())
    words = {text.text for text in saved.iter("{http://www.w3.org/2000/svg}text")}
    assert {"size (nm)", "particles"} <= words and "var(" not in download.value.path().read_text(
        encoding="utf-8"
    )
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG").click()
    assert np.asarray(Image.open(download.value.path()).convert("L")).std() > 5
    context.close()
