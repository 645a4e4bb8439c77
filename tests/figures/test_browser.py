"""The particles to look through and the threshold to move: what the page carries, and what its script makes of it."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from temlib import evaluate, figures
from temlib.evaluate import intervals
from temlib.evaluate.examples import Examples

HOSTILE = '</script><b>"full" & =1'


@pytest.fixture(scope="module")
def table():
    """Ninety particles of six micrographs and two models, the second of which gives no probabilities."""
    rng = np.random.default_rng(0)
    truth = np.array(["empty", HOSTILE])[rng.integers(0, 2, 90)]
    p = np.clip(0.5 + 0.3 * (truth == HOSTILE) - 0.15 + rng.normal(0, 0.2, 90), 0.01, 0.99)
    rows = pd.DataFrame({"particle": [f"p{i:02d}" for i in range(90)], "truth": truth})
    rows["micrograph"] = [f"m{i % 6}" for i in range(90)]
    one = rows.assign(model="net", predicted=np.where(p >= 0.5, HOSTILE, "empty"), role="test")
    one = one.assign(**{"p_empty": 1 - p, f"p_{HOSTILE}": p})
    other = rows.iloc[:60].assign(model="theirs", predicted="empty", role="test")
    aside = one.iloc[:3].assign(role="validation", particle=["x", "y", "z"])
    return pd.concat([one, other, aside], ignore_index=True)


@pytest.fixture(scope="module")
def examples():
    """Copies of forty of the particles, one of which has a map."""
    rng = np.random.default_rng(1)
    images = {f"p{i:02d}": rng.integers(0, 255, (16, 16)).astype(np.uint8) for i in range(40)}
    known = pd.DataFrame({"particle": ["p03"], "model": ["net"], "called": ["empty"]})
    return Examples(images, 2.0, {"gradcam": rng.uniform(size=(1, 16, 16))}, known)


def test_the_page_carries_the_held_out_particles(table, examples):
    """With the calls and probabilities of each model; what is unknown is −1; names are text and no markup."""
    page = figures.Browser(table, examples, "net")._repr_html_()
    content = json.loads(re.search(r'application/json">(.*?)</script>', page, re.S)[1])
    assert content["particles"] == [f"p{i:02d}" for i in range(90)] and content["shown"] == {
        str(k): k for k in range(40)
    }
    net, theirs = content["models"]["net"], content["models"]["theirs"]
    kept = table[(table["model"] == "net") & (table["role"] == "test")]
    assert [content["classes"][k] for k in net["called"]] == kept["predicted"].tolist()
    assert np.allclose(
        np.array(net["p"])[:, content["classes"].index(HOSTILE)], kept[f"p_{HOSTILE}"], atol=6e-4
    )
    assert theirs["called"][60:] == [-1] * 30 and theirs["p"][0] == [-1, -1]
    assert content["maps"] == {"net": {"3": 0}}
    kept = re.findall(r'class="sprite" data-key="(\w+)">(data:image/webp;base64,[^<]+)<', page)
    assert [key for key, _ in kept] == [key for key, *_ in content["sprites"]]
    assert (
        HOSTILE not in page and len(re.sub(r'application/json">.*?</script>', "", page, flags=re.S)) < 30_000
    )


@pytest.fixture
def page(table, examples, chromium, tmp_path):
    """The page in a browser of a phone's width, and what it complained of."""
    text = f'<!DOCTYPE html><meta charset="utf-8"><body>{figures.Browser(table, examples, "net")._repr_html_()}</body>'
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    context, errors = chromium.new_context(offline=True, viewport={"width": 390, "height": 900}), []
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())
    yield page
    assert not errors and page.evaluate("document.documentElement.scrollWidth") == 390
    context.close()


@pytest.mark.browser
def test_particles_are_filtered_ordered_and_enlarged(page, table):
    """By label, call, right or wrong, micrograph and probability; a click, or Enter, opens one."""
    kept = table[(table["model"] == "net") & (table["role"] == "test")].iloc[:40]
    tiles = page.locator(".tile")
    assert tiles.count() == 40
    page.get_by_label("call", exact=True).select_option("wrong")
    wrong = kept[kept["truth"] != kept["predicted"]]
    assert 0 < tiles.count() == len(wrong) and page.locator(".tile.wrong").count() == len(wrong)
    page.get_by_label("call", exact=True).select_option("all")
    page.get_by_label("labelled", exact=True).select_option("empty")
    page.get_by_label("micrograph", exact=True).select_option("m1")
    chosen = kept[(kept["truth"] == "empty") & (kept["micrograph"] == "m1")]
    assert tiles.count() == len(chosen)
    page.get_by_label("labelled", exact=True).select_option("all")
    page.get_by_label("micrograph", exact=True).select_option("all")
    page.get_by_label("order", exact=True).select_option(f"probability of {HOSTILE}")
    shown = [float(text) for text in tiles.all_inner_texts()]
    assert shown == sorted(shown, reverse=True) and len(set(shown)) > 5
    page.get_by_label("order", exact=True).select_option("as in the table")
    tiles.nth(3).focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    assert (
        "p03" in dialog.inner_text()
        and "where net looked" in dialog.inner_text()
        and "20 nm" not in dialog.inner_text()
    )
    assert "10 nm" in dialog.inner_text()
    page.get_by_role("button", name="Close").click()
    assert not dialog.is_visible()


@pytest.mark.browser
@pytest.mark.parametrize("limit", [0.05, 0.3, 0.45, 0.62, 0.8])
def test_the_threshold_says_what_the_judge_says(page, table, limit):
    """Counts and rates at a threshold, with intervals by micrograph, are those of `evaluate` for such calls."""
    kept = table[(table["model"] == "net") & (table["role"] == "test")]
    called = np.where(kept[f"p_{HOSTILE}"].round(3) >= limit, HOSTILE, "empty")
    rows = evaluate.Predictions(kept.assign(predicted=called)).measures("t")
    rows = rows[rows["class"] == HOSTILE].set_index("measure")
    page.get_by_label("class", exact=True).select_option(HOSTILE)
    page.get_by_label("called from probability").fill(str(limit))
    text = page.get_by_role("region", name="Measures").inner_text()
    for measure in ("TPR", "TNR", "PPV"):
        row = rows.loc[measure]
        value, low, high = (round(100 * row[name]) for name in ("value", "low", "high"))
        assert f"({measure})\t{value} % ({low}–{high}), n = {int(row['n'])}" in text, (text, row)
    assert intervals.CONFIDENCE == 0.95


@pytest.mark.browser
def test_without_a_script_nothing_is_there(table, examples, chromium, tmp_path):
    """Not even an empty form."""
    (tmp_path / "page.html").write_text(
        figures.Browser(table, examples, "net")._repr_html_(), encoding="utf-8"
    )
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    assert not page.locator(".browser").is_visible() and not page.inner_text("body").strip()
    context.close()
