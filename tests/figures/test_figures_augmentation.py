"""Pictures of notebook 2: what their tables hold, and that they draw."""

import numpy as np
import pandas as pd
import pytest

from temlib import augment, figures
from temlib.augment import Augmentation

SLIDES = Augmentation()
IMAGES = np.random.default_rng(0).normal(size=(12, 20, 20)).astype("float32")


def test_each_transform_is_shown_over_its_range():
    """Seven values from the least to the most of each range, and each flip off and on."""
    frame = figures.each_transform(IMAGES[0], SLIDES).frame()
    values = frame.groupby("transform")["value"]
    assert values.count().to_dict() == {
        "rotation": 7,
        "shear": 7,
        "shift_rows": 7,
        "shift_columns": 7,
        "zoom": 7,
        "flip_rows": 2,
        "flip_columns": 2,
    }
    assert values.get_group("rotation").agg(["min", "max"]).tolist() == [-180, 180]
    assert values.get_group("zoom").agg(["min", "max"]).tolist() == [0.8, 1]


def test_interpolations_are_compared_by_what_they_blur():
    """Of white noise the cubic pass keeps more spread than the linear one, and the chained linear one least."""
    spread = figures.interpolations(IMAGES[0]).frame().set_index("method")["spread"]
    assert spread["cubic"] > spread["linear"] > spread["linear, chained"]


def test_the_spread_is_compared_before_and_after_the_cure():
    """Linear interpolation lowers the spread, less so where a low-pass went before."""
    table = augment.spread(IMAGES, SLIDES.draw(12, 1), Augmentation(order=1))
    assert table.loc["ratio", "untreated"] < 0.8
    assert table.loc["ratio", "conditioned"] > table.loc["ratio", "untreated"] + 0.1


@pytest.mark.parametrize(
    "picture",
    [
        figures.each_transform(IMAGES[0], SLIDES),
        figures.mosaic(IMAGES),
        figures.drawn(SLIDES.draw(50, 1)),
        figures.interpolations(IMAGES[0]),
        figures.detail(augment.detail_curves(SLIDES, count=2, size=48)),
        figures.spectra({"plain": augment.power_curve(IMAGES)}),
        figures.noise(augment.noise_curves(IMAGES), count=12),
    ],
    ids=["each_transform", "mosaic", "drawn", "interpolations", "detail", "spectra", "noise"],
)
def test_every_picture_draws_its_table_and_has_its_words(picture):
    """Axes, a table, an alternative text and a caption."""
    assert isinstance(picture.frame(), pd.DataFrame) and len(picture.frame())
    assert picture.plot().axes and len(picture.alt) > 15 and len(picture.caption) > 10
