"""Sections of a notebook that have nothing to say are not in its page."""

import nbformat
import pytest

from temlib import figures, report

SAID = figures.Note([], "All agree.")._repr_html_()
ABSENT = figures.Note([], absent="One label per particle.")._repr_html_()


@pytest.mark.parametrize(
    ("outputs", "stays"),
    [
        ([ABSENT, ABSENT], False),
        ([figures.Table(None, absent="No network.")._repr_html_(), ""], False),
        ([ABSENT, SAID], True),
        ([SAID], True),
        ([], True),
    ],
)
def test_a_section_is_left_out_where_all_that_it_shows_is_absent(tmp_path, outputs, stays):
    """With its heading, its prose, and its place in the contents; sections before and after it stay."""
    new = nbformat.v4
    shown = [new.new_output("display_data", {"text/html": text}) for text in outputs]
    cells = [new.new_markdown_cell("# Title\n\nWhat is asked."), new.new_markdown_cell("## Before\n\nFirst.")]
    cells += [
        new.new_markdown_cell("## Do people agree?\n\nWhere several do."),
        new.new_code_cell("1", outputs=shown),
    ]
    cells += [new.new_markdown_cell("## After\n\nLast."), new.new_markdown_cell("## End\n\nNothing.")]
    nbformat.write(new.new_notebook(cells=cells), tmp_path / "page.ipynb")
    page = report.render(tmp_path / "page.ipynb").read_text(encoding="utf-8")
    for words in ("Do people agree?", "Where several do."):
        assert (words in page) == stays
    assert all(words in page for words in ("What is asked.", "First.", "Last.", "Nothing."))
