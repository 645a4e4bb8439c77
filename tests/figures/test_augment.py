"""Pictures of notebook 2: what their tables hold, and that they draw."""

import re

import numpy as np
import pytest

from temlib import augment, figures
from temlib.augment import Augmentation
from temlib.figures import base
from tests.figures.conftest import check

SLIDES = Augmentation()
IMAGES = np.random.default_rng(0).normal(size=(12, 20, 20)).astype("float32")


def test_each_transform_is_shown_over_its_range():
    """Seven values from the least to the most of each range, and each flip off and on."""
    picture = figures.each_transform(IMAGES[0], SLIDES)
    page = check(picture, ["transform", "value"], n=1, panels=39)
    values = picture.frame().groupby("transform", sort=False)["value"]
    names = ["rotation", "shear", "shift_rows", "shift_columns", "zoom", "flip_rows", "flip_columns"]
    assert values.count().to_dict() == dict(zip(names, [7, 7, 7, 7, 7, 2, 2]))
    assert values.get_group("rotation").agg(["min", "max"]).tolist() == [-180, 180]
    assert values.get_group("zoom").agg(["min", "max"]).tolist() == [0.8, 1]
    assert base.encoded(IMAGES[0, ::-1]) in page


def test_interpolations_are_compared_by_what_they_blur():
    """Of white noise the cubic pass keeps more spread than the linear one, and the chained linear one least."""
    picture = figures.interpolations(IMAGES[0])
    check(picture, ["method", "spread"], n=1, panels=6)
    spread = picture.frame().set_index("method")["spread"]
    assert spread["cubic"] > spread["linear"] > spread["linear, chained"]


def test_the_spread_is_compared_before_and_after_the_cure():
    """Linear interpolation lowers the spread, less so where a low-pass went before."""
    table = augment.spread(IMAGES, SLIDES.draw(12, 1), Augmentation(order=1))
    assert table.loc["ratio", "untreated"] < 0.8
    assert table.loc["ratio", "conditioned"] > table.loc["ratio", "untreated"] + 0.1


def test_settings_are_words():
    """What is switched off is said."""
    table = figures.settings(Augmentation.preset("slides-flip_rows")).set_index("transform")
    assert table.loc["rotation"].tolist() == ["−180", "180", "degrees"]
    assert (
        table.loc["upside down", "highest"] == "never"
        and table.loc["interpolation", "lowest"] == "cubic spline"
    )


@pytest.mark.parametrize("count", [3, 12])
def test_a_mosaic_holds_every_image(count):
    """Each with its own pixels, in their order."""
    page = check(figures.mosaic(IMAGES[:count]), ["image"], n=count, panels=count)
    assert re.findall('href="(.*?)"', page) == [base.encoded(image) for image in IMAGES[:count]]


def test_draws_are_counted_with_their_units():
    """A histogram a transform, which counts every draw."""
    figure = check(figures.drawn(SLIDES.draw(50, 1)), ["transform", "value"], n=50, panels=5)
    drawn = [axis.patches[0].get_data().values.sum() for axis in figure.axes[:5]]
    assert drawn == [50] * 5
    assert figure.axes[0].get_title() == "rotation\ndegrees"


def test_detail_and_spectra_are_lines_over_frequency():
    """A line a method, chained ones dashed."""
    curves = augment.detail_curves(SLIDES, count=2, size=48)
    figure = check(figures.detail(curves), list(curves), n=2)
    named = [text.get_text() for text in figure.legends[0].texts]
    assert named == list(curves["method"].unique())
    tables = {"plain": augment.power_curve(IMAGES), "linear, chained": augment.power_curve(IMAGES / 2)}
    picture = figures.spectra(tables)
    axis = check(picture, ["images", *tables["plain"]], n="").axes[0]
    assert [line.get_linestyle() for line in axis.lines[:2]] == ["-", "--"]
    assert np.allclose(axis.lines[0].get_ydata(), tables["plain"]["power"]) and axis.get_yscale() == "log"


def test_conditioned_noise_is_the_thick_line():
    """A line a cure beside that of plain noise."""
    curves = augment.noise_curves(IMAGES)
    axis = check(figures.noise(curves, count=12), list(curves), n=12).axes[0]
    widths = dict(zip(curves["method"].unique(), [line.get_linewidth() for line in axis.lines]))
    assert max(widths, key=widths.get) == "conditioned"
