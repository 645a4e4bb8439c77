"""Sentences, tables, and the parts of which pictures are made."""

import base64
import io
import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from temlib import figures
from temlib.figures import Note, Picture, Table, base
from temlib.figures.base import MODELS


@pytest.mark.parametrize(
    ("note", "page"),
    [
        (Note(["One.", "a < b"]), '<p class="answer">One.</p><p>a &lt; b</p>'),
        (Note(["One."], kind="simulated"), '<div class="simulated">One.</div>'),
        (
            Note(["One.", "Two."], kind="notice"),
            '<div class="notice"><ul><li>One.</li><li>Two.</li></ul></div>',
        ),
        (Note(["One."], kind="", otherwise="None."), "<p>One.</p>"),
        (Note([], kind="notice", otherwise="None."), "<p>None.</p>"),
        (Note(["One.", "Two."], kind=""), "<ul><li>One.</li><li>Two.</li></ul>"),
        (Note([]), ""),
        (Note([], kind="notice"), ""),
    ],
)
def test_a_note_is_large_or_boxed_or_plain(note, page):
    """The first line large without a kind; without lines, the alternative, plain, or nothing."""
    assert note._repr_html_() == page


def test_a_table_has_headers_with_scope_and_a_dash_for_nothing():
    """No row numbers; numbers keep the digits that their column needs; text is escaped."""
    page = Table(pd.DataFrame({"name": ["<b>", "c"], "n": [3, 4], "value": [0.12345, np.nan]}))._repr_html_()
    assert page.count('<th scope="col"') == 3 and "<th>" not in page
    assert "&lt;b&gt;" in page and "<td>3</td>" in page and "<td>0.123</td>" in page and "<td>–</td>" in page
    assert 'style="white-space: nowrap"' in page


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        ([888364.0, np.nan], ["888,364", "–"]),
        ([0.5, -0.25], ["0.50", "−0.25"]),
        ([12345.678, 1.5], ["12,346", "2"]),
        ([123.456, 0.1], ["123.46", "0.10"]),
        ([True, False], ["yes", "no"]),
        ([(1, 2), ["a"]], ["1, 2", "a"]),
        ([1, "", None], ["1", "–", "–"]),
        ([-0.0001, 2.5], ["0.0", "2.5"]),
    ],
)
def test_cells_are_written_for_people(values, cells):
    """Thousands apart, as many decimals as are needed, no type of Python's."""
    page = Table(pd.DataFrame({"x": pd.Series(values)}))._repr_html_()
    assert re.findall(r"<td[^>]*>(.*?)</td>", page) == cells


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("pixel_size_nm", "pixel size, nm"),
        ("prediction_ms_per_particle", "prediction, ms/particle"),
        ("truth_lamellae", "true lamellae"),
        ("label@anna", "label by anna"),
        ("svm_texture", "svm_texture"),
        ("classes", "classes"),
    ],
)
def test_columns_are_named_for_people(name, heading):
    """Units stand behind; the name of a model is its own."""
    assert f">{heading}</th>" in Table(pd.DataFrame({name: [1]}))._repr_html_()


def test_long_words_wrap_and_long_tables_fold():
    """A cell of a sentence lets the table wrap; a fold names its rows."""
    page = Table(
        pd.DataFrame({"why": ["a sentence that is longer than thirty"]}), fold="All & more"
    )._repr_html_()
    assert "nowrap" not in page
    assert page.startswith("<details><summary>All &amp; more (1 rows)</summary>")


def test_an_empty_table_is_a_sentence():
    """Missing and empty tables show the alternative, or nothing where there is none."""
    empty = pd.DataFrame(columns=["a", "b"])
    for table in (None, empty, pd.DataFrame()):
        assert Table(table, "None.")._repr_html_() == "<p>None.</p>"
    assert Table(None)._repr_html_() == "" and Table(empty)._repr_html_() == ""


def drawn_dots(table, **options):
    """The axis on which `dots` drew, and where each name's points lie."""
    axis = Figure().subplots()
    names = list(dict.fromkeys(table["by"]))
    base.dots(axis, table, "at", "value", by="by", names=names, **options)
    return axis, {bars.get_label(): bars.lines[0].get_xydata() for bars in axis.containers}


def test_dots_stand_beside_each_other_over_words():
    """Two names leave the same distance on either side of each word, in the order in which the words come."""
    table = pd.DataFrame({"at": ["z", "z", "a", "a"], "by": ["p", "q"] * 2, "value": [1.0, 2, 3, 4]})
    axis, points = drawn_dots(table.assign(low=0.0, high=5.0))
    assert [text.get_text() for text in axis.get_yticklabels()] == ["z", "a"]
    assert points["p"][:, 0].tolist() == [1, 3] and np.allclose(points["p"][:, 1], [-0.175, 0.825])
    assert np.allclose(points["p"][:, 1] + points["q"][:, 1], [0, 2])


def test_an_interval_may_be_unknown_and_never_points_away():
    """A value without an interval is drawn; a limit beyond the value is the value; values that are missing are not."""
    table = pd.DataFrame({"at": [1.0, 2, 3], "by": "p", "value": [0.5, 0.6, np.nan], "low": [np.nan, 0.7, 0]})
    axis, points = drawn_dots(table.assign(high=[np.nan, 0.8, 1]))
    assert points["p"].tolist() == [[1, 0.5], [2, 0.6]]
    bars = axis.containers[0].lines[2][0].get_segments()
    assert np.allclose(bars[1][:, 1], [0.6, 0.8])


@pytest.mark.parametrize(
    "change",
    [
        {"image.origin": "lower", "image.cmap": "jet", "image.interpolation": "bicubic"},
        {"axes.formatter.use_locale": True, "axes.unicode_minus": False, "xaxis.labellocation": "left"},
        {"text.usetex": True, "svg.fonttype": "none", "figure.dpi": 30, "savefig.transparent": True},
        {"lines.linestyle": ":", "hist.bins": 3, "axes.xmargin": 0.4, "legend.loc": "lower left"},
    ],
)
def test_the_users_matplotlibrc_changes_no_picture(change):
    """Whatever it sets is set back, so that no image stands on its head."""
    ours = dict(matplotlib.rcParams)
    with matplotlib.rc_context(change):
        assert dict(matplotlib.rcParams) != ours
        figures.set_style()
        assert dict(matplotlib.rcParams) == ours


def test_more_than_seven_names_are_told_apart():
    """The eighth has the first's colour and another marker, or another line."""
    table = pd.DataFrame({"at": 1.0, "by": list("abcdefgh"), "value": 1.0, "low": 0.0, "high": 2.0})
    axis, _ = drawn_dots(table)
    first, last = axis.containers[0].lines[0], axis.containers[-1].lines[0]
    assert to_hex(first.get_color()) == to_hex(last.get_color()) == MODELS[0].lower()
    assert first.get_marker() != last.get_marker()
    axis = Figure().subplots()
    base.bands(axis, table, "at", "value", by="by")
    assert to_hex(axis.lines[0].get_color()) == to_hex(axis.lines[7].get_color())
    assert axis.lines[0].get_linestyle() != axis.lines[7].get_linestyle()


def test_panels_are_wrapped_and_named_once():
    """Five panels, four in a row: two rows, the last three places empty, and no SVG of them in a page."""
    table = pd.DataFrame({"by": list("edcba"), "x": range(5)})
    plot = base.on_axes(lambda axis, part: axis.plot(part["x"], part["x"], "o"), "by", xlabel="x")
    figure = plot(table)
    assert [axis.get_title() for axis in figure.axes] == [*"edcba", "", "", ""]
    assert not figure.axes[5].axison and figure.axes[0].get_xlabel() == "x"
    assert figure.get_size_inches() == pytest.approx([15, 5])
    assert Picture(table, plot, "Five.", "Five.")._repr_html_().count("<svg ") == 5


def test_a_scale_bar_has_the_length_that_it_says():
    """Pixels of 3 nm, 28 of them: 20 nm on the first image of each group; none where the pixel size is unknown."""
    image = np.zeros((28, 28), np.float32)
    groups = [("a", [(image, "one"), (image, "")]), ("b", [(image, "two")])]
    for bars, found in (("first", 2), ("all", 3)):
        page = base.grid(groups, pixel_nm=3.0, bars=bars)
        assert page.count(">20 nm</text>") == found
    assert float(re.search(r"h([\d.]+)\"", page).group(1)) == pytest.approx(20 / 3, abs=0.01)
    assert "nm" not in base.grid(groups)


def test_images_keep_their_pixels_and_large_ones_are_averaged():
    """64 pixels stay 64; 300 become 100, of which each is as long as three."""
    for size, kept in ((64, 64), (300, 100)):
        page = base.grid([("", [(np.zeros((size, size), np.float32), "")])], pixel_nm=1.0)
        assert f'viewBox="0 0 {kept} {kept}"' in page
        assert Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", page)[1]))).size == (
            kept,
            kept,
        )
    assert ">100 nm</text>" in page and 'h33.33"' in page


def test_bytes_and_robust_units_have_their_own_grey():
    """Copies are shown as they are, prepared images from −3 to 3."""
    assert base.grey(np.array([[0, 255]], np.uint8)).tolist() == [[0, 255]]
    assert base.grey(np.array([[-4, -3, 0, 3]], np.float32)).tolist() == [[0, 0, 127, 255]]
