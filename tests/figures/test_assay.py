"""Pictures of a new sample."""

from dataclasses import replace

import numpy as np
import pandas as pd

from temlib import figures
from tests.figures.conftest import EACH, MICROGRAPHS, check, sentence

SHARES = pd.DataFrame(
    {
        "class": ["empty", "full", "empty", "full", "uncertain"],
        "estimate": ["corrected"] * 2 + ["with labels"] * 3,
        "share": [0.6, 0.4, 0.5, 0.4, 0.1],
        "low": [0.5, 0.3, 0.4, 0.3, 0.0],
        "high": [0.7, 0.5, 0.6, 0.5, 0.2],
        "counted": [0.55, 0.45, 0.55, 0.45, 0.0],
        "n": 240,
        "micrographs": 12,
    }
)


def test_shares_stand_beside_what_was_counted():
    """Counted calls have no interval; each estimate is named in words."""
    picture = figures.shares(SHARES)
    check(picture, ["class", "estimate", "share", "low", "high"], n=240, panels=1)
    frame = picture.frame()
    assert frame.loc[frame["estimate"] == "counted", "low"].isna().all() and len(frame) == 7
    assert "corrected, empty: 0.600" in picture.alt and "counted, full: 0.450" in picture.alt


def test_the_control_chart_has_a_panel_for_each_class_and_names_who_is_outside():
    """A micrograph outside is named; without one, that is said."""
    names = [f"m{k}" for k in range(20)] * 2
    chart = pd.DataFrame({"micrograph": names, "class": np.repeat(["empty", "full"], 20), "n": 12})
    chart = chart.assign(share=0.5, centre=0.5, low=0.1, high=0.9, outside=False)
    columns = list(chart)
    assert "none lies outside" in figures.control_chart(chart).caption
    chart.loc[3, ["share", "outside"]] = 1.0, True
    picture = figures.control_chart(chart)
    check(picture, columns, n=240, panels=2)
    assert "outside: m3." in picture.alt


def test_sizes_of_each_class_need_pixel_sizes(particles):
    """Sides of boxes, or diameters where they are given, with medians in words."""
    picture = figures.sizes_by_class(particles, "label")
    check(picture, ["class", "side of the box"], n=240, panels=1)
    assert "empty 48 nm; full 48 nm" in picture.caption
    given = figures.sizes_by_class(_with(particles, diameter_nm=30.0), "label")
    assert "medians: empty 30 nm" in given.caption
    assert "unknown" in sentence(figures.sizes_by_class(_with(particles, pixel_size_nm=np.nan), "label"))


def _with(particles, **columns):
    """Return particles with other columns."""
    return replace(particles, table=particles.table.assign(**columns))


def test_a_montage_falls_from_the_surest_call(particles):
    """Each call from its most probable particle to its least, evenly, without the refused one."""
    p = np.linspace(0, 1, MICROGRAPHS * EACH)
    table = pd.DataFrame({"predicted": np.where(p > 0.5, "full", "empty"), "p_full": p, "p_empty": 1 - p})
    picture = figures.montage(particles, table.assign(refused=p == 0), each=5)
    check(picture, ["class", "row", "probability"], n=10, panels=10)
    for name, part in picture.frame().groupby("class"):
        assert part["probability"].is_monotonic_decreasing
        assert part["row"].iloc[0] == {"full": len(p) - 1, "empty": 1}[name]
