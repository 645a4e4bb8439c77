"""What a reader sees of the one file and the index: on a desk, a phone, in the dark, on paper, by keyboard, without script."""

import re

import pytest

from temlib.report import onefile
from tests import lab
from tests.report import planted

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not lab.CHROMIUM, reason="there is no Chromium")]

RUNS = {
    "two": {"classes": ["empty", "full"]},
    "ten": {"classes": [f"class {k}" for k in range(10)]},
    "odd": {"classes": planted.ODD, "tasks": ("lamellarity", planted.LONG)},
    "perfect": {"classes": ["empty", "full"], "micrographs": 1, "score": 1.0},
}
# What stands out to the right of the page, unless it scrolls by itself or shows a part of a strip on purpose.
BEYOND = """() => [...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && !e.closest('.scroll, .window')
  && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.outerHTML.slice(0, 120))"""
# Text with its size, colour and the first ground below it that is not transparent.
TEXTS = """() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = new Map();
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest('script, style')) continue;
    let ground = element;
    while (ground && /, 0\\)$|transparent/.test(getComputedStyle(ground).backgroundColor)) ground = ground.parentElement;
    const style = getComputedStyle(element), drawn = element.getScreenCTM;  // text of a drawing, in its own units
    const pixels = parseFloat(style.fontSize) * (drawn ? element.getScreenCTM().d : 1), colour = drawn ? style.fill : style.color;
    const key = [pixels, colour, ground && getComputedStyle(ground).backgroundColor];
    found.set(key.join('|'), [...key, text.slice(0, 40)]);
  }
  return [...found.values()];
}"""
MEDIA = {
    "desk": ({"width": 1280, "height": 900}, {}),
    "phone": ({"width": 390, "height": 844}, {}),
    "dark": ({"width": 1280, "height": 900}, {"color_scheme": "dark"}),
    "dark phone": ({"width": 390, "height": 844}, {"color_scheme": "dark"}),
    "paper": ({"width": 673, "height": 900}, {"media": "print", "color_scheme": "dark"}),  # 178 mm of A4
}


@pytest.fixture(scope="module", params=RUNS)
def run(request, tmp_path_factory):
    """The one file of a planted run, beside an index over runs."""
    reports = tmp_path_factory.mktemp("reports")
    path = planted.run(reports / "run", **RUNS[request.param])
    onefile.write_index(reports)
    return path


def luminance(colour):
    """Return the relative luminance of a colour of CSS (WCAG 2.2)."""
    parts = [float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear))


@pytest.mark.parametrize("medium", MEDIA)
def test_nothing_is_cut_and_every_word_can_be_read(run, chromium, medium):
    """Nothing stands out to the right, no word is smaller than 11 px nor fainter than 4.5 to 1; nothing is fetched."""
    size, media = MEDIA[medium]
    page, said = chromium.new_page(viewport=size), []
    page.emulate_media(**media)
    page.on("request", lambda request: said.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    for path in (run, run.with_name("index.html"), run.parents[1] / "index.html"):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        assert page.evaluate(BEYOND) == []
        texts = page.evaluate(TEXTS)
        assert len(texts) >= 3
        for pixels, colour, ground, text in texts:
            light, dark = sorted((luminance(colour), luminance(ground or "rgb(255, 255, 255)")), reverse=True)
            # On paper a point is 4/3 px.
            assert pixels >= (10 if medium == "paper" else 11) and (light + 0.05) / (dark + 0.05) >= 4.5, text
    assert [text for text in said if not text.startswith(("file:", "data:"))] == []
    assert sum(text.startswith("file:") for text in said) == 3
    page.close()


def test_the_side_bar_follows_the_reading(run, chromium):
    """The section that is read is marked, and the sections of other parts are folded; a click leads there."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.goto(run.as_uri())
    marked = page.locator(".side [aria-current]")
    assert marked.inner_text() == "What came out"
    page.emulate_media(reduced_motion="reduce")
    link = page.locator(".side a[href='#part-3-Limits']")
    assert not link.is_visible()
    page.locator(".side a[href='#part-3']").click()
    link.click()
    page.wait_for_function("document.querySelector('.side [aria-current]').hash.startsWith('#part-3')")
    assert page.locator("#part-3-Limits").is_visible() and marked.count() == 1
    page.close()


def test_without_a_script_nothing_is_lost(run, chromium):
    """The table of contents is whole, the switch shows the code, the phone's contents unfold, every run is in the index."""
    context = chromium.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(run.as_uri())
    code, entry = page.locator(".code").first, page.locator(".side a[href='#part-2-Limits']")
    assert not code.is_visible() and not entry.is_visible()
    page.get_by_label("Show code").check()
    page.get_by_role("checkbox", name="Contents").check()
    assert code.is_visible() and entry.is_visible()
    page.goto((run.parents[1] / "index.html").as_uri())
    assert page.locator(".cards > li").first.is_visible() and not page.locator(".filter").is_visible()
    context.close()


def test_the_index_is_filtered(run, chromium):
    """By words and by state."""
    page = chromium.new_page()
    page.goto((run.parents[1] / "index.html").as_uri())
    cards = page.locator(".cards > li:visible")
    assert cards.count() == 1
    page.get_by_label("Find").fill("no such run")
    assert cards.count() == 0 and page.locator("output").inner_text() == "0 of 1 runs"
    page.get_by_label("Find").fill("RUN")
    assert cards.count() == 1
    page.get_by_label("State").select_option("failed")
    assert cards.count() == 0
    page.close()


def test_a_wide_table_is_scrolled_by_keyboard(run, chromium):
    """On a phone: the region of the table takes the focus, and an arrow key moves it."""
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    page.goto(run.as_uri())
    region = page.get_by_role("region", name="Table 1, What was read").first
    region.focus()
    wide = region.evaluate("e => e.scrollWidth - e.clientWidth")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    assert wide <= 0 or region.evaluate("e => e.scrollLeft") > 0
    page.close()
