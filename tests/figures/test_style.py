"""Answers, warnings, the mark of simulated data and tables look in JupyterLab as in a report, in light and in dark."""

import nbformat
import pandas as pd
import pytest

from temlib.figures import Note, Table, base
from temlib.report.html import STYLE, render

SHOWN = {
    ".answer": Note(["Trust it."]),
    ".notice": Note(["One.", "Two."], kind="notice"),
    ".simulated": Note(["Simulated data."], kind="simulated"),
    "td": Table(pd.DataFrame({"class": ["a"], "n": [1]})),
}
# What is compared, a border's colour where there is one; the ink and the size of plain text are JupyterLab's own.
LOOK = ("backgroundColor", "borderLeft", "borderBottom", "paddingLeft", "textAlign", "maxWidth")
MEASURE = """(element, names) => names.map(name => getComputedStyle(element)[name])
    .map(value => value.startsWith('0px') ? '0px' : value)"""


def looks(chromium, page, dark=False):
    """Return how each of `SHOWN` looks in a page."""
    context = chromium.new_context(color_scheme="dark" if dark else "light")
    opened = context.new_page()
    opened.set_content(page)
    found = {name: opened.locator(name).first.evaluate(MEASURE, LOOK) for name in SHOWN}
    context.close()
    return found


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_outputs_look_alike(chromium, dark):
    """Within JupyterLab's own styles for outputs, whose theme decides, whatever the system prefers."""
    body = "".join(shown._repr_html_() for shown in SHOWN.values())
    report = looks(chromium, f"<html><style>{STYLE}</style><main>{body}</main></html>", dark)
    theirs = (
        ".jp-RenderedHTMLCommon{font-size:14px}.jp-RenderedHTMLCommon table{font-size:12px}"
        ".jp-RenderedHTMLCommon tbody tr:nth-child(odd){background:#888}"
        ".jp-RenderedHTMLCommon td{text-align:right;max-width:none;padding:.5em;border:none}"
    )
    page = f'<html><style>{theirs}</style><body data-jp-theme-light="{str(not dark).lower()}"><div class="jp-OutputArea">'
    page += f'<div class="jp-RenderedHTMLCommon"><style>{base.lab_style()}</style>{body}</div></div></body></html>'
    for system in (dark, not dark):
        assert looks(chromium, page, system) == report


def test_the_style_is_shown_once_and_a_page_leaves_it_out(tmp_path):
    """It is small, and a rendered page does not grow by it."""
    assert len(base.lab_style()) < 4000
    style = nbformat.v4.new_output(
        "display_data", {"text/html": "<style>.x{}</style>"}, metadata={"temlib": "style"}
    )
    cells = [nbformat.v4.new_markdown_cell("# A"), nbformat.v4.new_code_cell("1", outputs=[style])]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "a.ipynb")
    assert ".x{}" not in render(tmp_path / "a.ipynb").read_text("utf-8")
