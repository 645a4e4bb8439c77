"""Augmentation: the geometry against hand-made images and numpy, the draws, the low-pass, bad input."""

import dataclasses
import math

import numpy as np
import pytest

from temlib.augment import Augmentation, averaged, lowpass
from temlib.files import InputError
from tests.augment.conftest import SLIDES, noise, still

RANGES = {
    "rotation_deg": (-180, 180),
    "shear_rad": (0, 0.2),
    "shift_rows": (-0.1, 0.1),
    "shift_columns": (-0.1, 0.1),
    "zoom_rows": (0.8, 1),
}


def spot(row, column, size=61):
    rows, columns = np.indices((size, size))
    return np.exp(-0.5 * ((rows - row) ** 2 + (columns - column) ** 2) / 1.5**2).astype("float32")[None]


def centroid(image):
    return np.array([np.sum(axis * image) for axis in np.indices(image.shape)]) / image.sum()


def moved(row, column, **changed):
    """Where a spot at (row, column) from the centre is seen after the transform, far from any border."""
    return centroid(SLIDES.apply(spot(30 + row, 30 + column), still(1, **changed))[0]) - 30


# Geometry


def test_neutral_transforms_change_nothing():
    """A table of neutral values returns every pixel to the last bit."""
    images = noise(3, 9, 12)
    assert np.array_equal(SLIDES.apply(images, still(3)), images)


def test_flips_reverse_the_named_axis():
    """flip_rows turns upside down, flip_columns exchanges left and right."""
    images = noise(1, 5, 6)
    assert np.array_equal(SLIDES.apply(images, still(1, flip_rows=True)), images[:, ::-1])
    assert np.array_equal(SLIDES.apply(images, still(1, flip_columns=True)), images[:, :, ::-1])


@pytest.mark.parametrize("flip", ["flip_rows", "flip_columns"])
def test_flipping_twice_is_the_identity(flip):
    """The same flip applied twice returns the image."""
    images, flips = noise(2, 8, 7), still(2, **{flip: True})
    assert np.array_equal(SLIDES.apply(SLIDES.apply(images, flips), flips), images)


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("turns", [-2, -1, 1, 2, 3])
def test_quarter_turns_equal_rot90(size, turns):
    """A rotation by 90° is numpy.rot90, counter-clockwise as displayed, for even and odd sizes."""
    images = noise(2, size, size)
    turned = SLIDES.apply(images, still(2, rotation_deg=90.0 * turns))
    assert np.array_equal(turned, np.rot90(images, turns, axes=(1, 2)))


def test_positive_rotation_is_counter_clockwise_as_displayed():
    """What lies right of the centre moves up, to smaller rows."""
    row, column = moved(0, 5, rotation_deg=30.0)
    assert row == pytest.approx(-5 * math.sin(math.pi / 6), abs=0.02)
    assert column == pytest.approx(5 * math.cos(math.pi / 6), abs=0.02)


def test_shear_is_in_radians_and_moves_lower_rows_to_the_right():
    """Five rows below the centre a shear of .2 rad moves by 5 tan .2 columns, and by no row."""
    assert moved(5, 0, shear_rad=0.2) == pytest.approx([5, 5 * math.tan(0.2)], abs=0.02)


def test_shear_and_rotation_preserve_areas():
    """The sum of a spot stays, whereas zoom .8 leaves .64 of it."""
    image = spot(30, 30)
    for changed, area in (({"shear_rad": 0.2}, 1), ({"rotation_deg": 33.0}, 1), ({"zoom_rows": 0.8}, 0.8)):
        assert SLIDES.apply(image, still(1, **changed)).sum() / image.sum() == pytest.approx(area, abs=0.002)


def test_zoom_below_one_shrinks_the_object():
    """Zoom .8 brings what was 5 px from the centre to 4 px from it."""
    assert moved(5, -5, zoom_rows=0.8, zoom_columns=0.8) == pytest.approx([4, -4], abs=0.02)


def test_shifts_are_fractions_of_height_and_width():
    """A tenth of 20 rows is two rows down; a tenth of 30 columns three columns to the right."""
    image = np.zeros((1, 20, 30), "float32")
    image[0, 7, 11] = 1
    shifted = SLIDES.apply(image, still(1, shift_rows=0.1, shift_columns=0.1))
    assert shifted[0, 9, 14] == 1 and np.count_nonzero(shifted) == 1


def test_composition_is_flip_zoom_shear_rotation_shift():
    """A point goes through the five steps in this order, computed here one by one."""
    angle, shear = math.radians(40), 0.15
    row, column = -4.0, 3.0  # after the flip of the rows of (4, 3)
    row, column = 0.95 * row, 0.9 * column
    column += math.tan(shear) * row
    row, column = (
        -column * math.sin(angle) + row * math.cos(angle),
        column * math.cos(angle) + row * math.sin(angle),
    )
    seen = moved(
        4,
        3,
        flip_rows=True,
        zoom_rows=0.95,
        zoom_columns=0.9,
        shear_rad=shear,
        rotation_deg=40.0,
        shift_rows=0.02,
        shift_columns=-0.03,
    )
    assert seen == pytest.approx([row + 0.02 * 61, column - 0.03 * 61], abs=0.03)


def test_fill_mirror_and_nearest_continue_the_image_as_drawn():
    """Shifted by two columns, (a b c d) becomes (c b | a b) mirrored, (a a | a b) with the edge held."""
    image = np.array([[[1, 2, 3, 4], [5, 6, 7, 8]]], "float32")
    shift = still(1, shift_columns=0.5)
    assert SLIDES.apply(image, shift)[0].tolist() == [[3, 2, 1, 2], [7, 6, 5, 6]]
    assert Augmentation(fill="nearest").apply(image, shift)[0].tolist() == [[1, 1, 1, 2], [5, 5, 5, 6]]


# The draws


def test_draws_are_reproducible():
    """The same seed gives the same table, a Generator goes on, another seed gives another."""
    assert SLIDES.draw(9, 1).equals(SLIDES.draw(9, 1))
    assert not SLIDES.draw(9, 1).equals(SLIDES.draw(9, 2))
    generator = np.random.default_rng(1)
    assert SLIDES.draw(9, generator).equals(SLIDES.draw(9, 1))
    assert not SLIDES.draw(9, generator).equals(SLIDES.draw(9, 1))


@pytest.mark.parametrize("column", RANGES)
def test_drawn_columns_are_uniform_over_their_range(column):
    """Bounds, mean and spread of 20 000 draws are those of the uniform law, within 4 standard errors."""
    low, high = RANGES[column]
    drawn = (SLIDES.draw(20_000, 7)[column] - low) / (high - low)
    assert 0 <= drawn.min() < 0.001 and 0.999 < drawn.max() <= 1
    assert drawn.mean() == pytest.approx(0.5, abs=4 / math.sqrt(12 * 20_000))
    assert drawn.var() == pytest.approx(1 / 12, abs=4 / math.sqrt(180 * 20_000))


def test_half_of_the_images_are_flipped():
    """Each flip happens in half of the images, independently of the other."""
    flips = SLIDES.draw(20_000, 7)[["flip_rows", "flip_columns"]]
    assert flips.mean().to_numpy() == pytest.approx([0.5, 0.5], abs=0.015)
    assert flips.all(axis=1).mean() == pytest.approx(0.25, abs=0.013)
    assert not Augmentation(flip_rows=False).draw(100, 1)["flip_rows"].any()


def test_drawn_columns_are_uncorrelated():
    """No transform tells of another, but for the zoom of rows and columns, which is one."""
    table = SLIDES.draw(20_000, 7).astype(float)
    assert table["zoom_rows"].equals(table["zoom_columns"])
    correlation = table.drop(columns="zoom_columns").corr().to_numpy()
    assert np.abs(correlation - np.eye(7)).max() < 4 / math.sqrt(20_000)


def test_leaving_one_transform_out_keeps_the_other_draws():
    """An ablation compares equal draws: only the column left out differs."""
    without = dataclasses.replace(SLIDES, shear=(0, 0)).draw(50, 1)
    assert without.drop(columns="shear_rad").equals(SLIDES.draw(50, 1).drop(columns="shear_rad"))
    assert (without["shear_rad"] == 0).all()


def test_presets():
    """The slides are the default; keras2016 zooms rows and columns apart; none draws neutral rows."""
    assert Augmentation.preset("slides") == SLIDES
    keras = Augmentation.preset("keras2016")
    assert (keras.order, keras.fill, keras.shear, keras.zoom) == (0, "nearest", (-0.2, 0.2), (0.8, 1.2))
    table = keras.draw(50, 1)
    assert not np.allclose(table["zoom_rows"], table["zoom_columns"])
    none = Augmentation.preset("none")
    assert none.draw(4, 1).equals(still(4))
    images = noise(4, 7, 7)
    assert np.array_equal(none.apply(images, none.draw(4, 1)), images)


@pytest.mark.parametrize(
    "left_out", ["rotation", "shear", "shift_rows", "shift_columns", "zoom", "flip_rows"]
)
def test_a_preset_without_a_transform(left_out):
    """A name after a hyphen takes that transform out and leaves the others."""
    without, none = Augmentation.preset(f"slides-{left_out}"), Augmentation.preset("none")
    assert dataclasses.replace(without, **{left_out: getattr(SLIDES, left_out)}) == SLIDES
    assert getattr(without, left_out) == getattr(none, left_out)
    assert (
        not Augmentation.preset("slides-flip_rows-flip_columns")
        .draw(99, 1)[["flip_rows", "flip_columns"]]
        .any(axis=None)
    )


# Averaging predictions


def test_averaging_is_the_mean_over_the_same_transforms_of_every_image():
    """Each image is low-passed and seen once under each transform; its neighbours do not change its result."""
    images, seen = noise(3, 12, 12), []

    def predict(x):
        seen.append(x)
        return x[:, 0, :2]

    result = averaged(predict, images, SLIDES, draws=4, seed=3)
    assert np.allclose(result, np.mean([x[:, 0, :2] for x in seen], axis=0)) and len(seen) == 4
    row = SLIDES.draw(4, 3).iloc[[2]]
    assert np.array_equal(seen[2][1:2], SLIDES.apply(lowpass(images[1:2]), row))
    assert np.array_equal(averaged(predict, images[1:2], SLIDES, draws=4, seed=3)[0], result[1])


def test_averaging_over_no_transform_is_predicting_once():
    """With the augmentation "none" every draw is the image itself."""
    images = noise(3, 12, 12)
    result = averaged(lambda x: x[:, 0, :2], images, Augmentation.preset("none"), draws=3)
    assert np.allclose(result, lowpass(images)[:, 0, :2], atol=1e-6)


@pytest.mark.parametrize("draws", [0, 1.5, True])
def test_a_senseless_number_to_average_over_is_refused(draws):
    """It is a whole number from 1."""
    with pytest.raises(InputError, match="number of transforms"):
        averaged(lambda x: x[:, 0, :2], noise(1, 8, 8), SLIDES, draws=draws)


# The noise


def test_the_lowpass_passes_what_a_gaussian_passes():
    """A wave keeps exp(-(2 π f σ)² / 2) of its amplitude; the offset and contrast of an image stay."""
    phase = 2 * np.pi * np.arange(64) / 8
    image = 300 + 5 * np.cos(phase) * np.ones((64, 1))
    kept = lowpass(image[None].astype("float32"))[0, :, 8:56] - 300
    expected = np.exp(-((2 * np.pi * 0.6 / 8) ** 2) / 2)
    assert np.abs(kept - 5 * expected * np.cos(phase[8:56])).max() < 0.02


def test_the_lowpass_leaves_the_images_alone():
    """What it returns is new memory."""
    images = noise(2, 8, 8)
    before = images.copy()
    lowpass(images)[:] = 0
    assert np.array_equal(images, before)


def test_a_constant_image_stays_constant():
    """The taps sum to one, and the border is mirrored."""
    assert lowpass(np.full((1, 8, 8), 0.1, "float32")) == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize("function", [lowpass, lambda x: SLIDES.apply(x, SLIDES.draw(0, 1))])
def test_empty_batches_stay_empty(function):
    """No image in, no image out, the shape kept."""
    assert function(np.empty((0, 6, 7), "float32")).shape == (0, 6, 7)


# Bad input


@pytest.mark.parametrize(
    "fault",
    [
        {"rotation": (10, -10)},
        {"rotation": (0, float("nan"))},
        {"rotation": (-400, 0)},
        {"zoom": (0, 1)},
        {"zoom": (-1, 1)},
        {"zoom": (1, float("inf"))},
        {"shear": (0, math.pi / 2)},
        {"shift_rows": (-2, 0)},
        {"shift_columns": 0.1},
        {"shift_columns": (0, 0.1, 0.2)},
        {"rotation": "18"},
        {"rotation": None},
        {"order": 2},
        {"order": True},
        {"order": "3"},
        {"fill": "wrap"},
        {"flip_rows": "yes"},
        {"separate_zoom": 1},
    ],
)
def test_senseless_settings_are_refused(fault):
    """The message names the setting and what was received, in one line."""
    with pytest.raises(InputError, match=next(iter(fault))) as caught:
        Augmentation(**fault)
    assert "received" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("images", "word"),
    [
        (np.zeros((2, 8, 8), "uint8"), "uint8"),
        (np.zeros((2, 8, 8), "complex64"), "complex64"),
        (np.zeros((8, 8), "float32"), r"\(8, 8\)"),
        (np.zeros((2, 8, 8, 1), "float32"), r"\(2, 8, 8, 1\)"),
        (np.zeros((2, 1, 8), "float32"), r"\(2, 1, 8\)"),
        (np.array([np.zeros((4, 4)), np.full((4, 4), np.nan)]), "image 1"),
        (np.array([np.zeros((4, 4)), np.full((4, 4), -np.inf)]), "image 1"),
    ],
)
@pytest.mark.parametrize("function", [lowpass, SLIDES.prepare])
def test_unusable_images_are_refused(function, images, word):
    """Integers, other shapes and values that are not finite are named."""
    with pytest.raises(InputError, match=word):
        function(images)


@pytest.mark.parametrize(
    "fault",
    [
        {"zoom_rows": 0.0},
        {"shear_rad": math.pi / 2},
        {"rotation_deg": float("nan")},
        {"shift_rows": 5.0},
        {"flip_rows": 2},
    ],
)
def test_a_table_with_senseless_values_is_refused(fault):
    """The column is named."""
    with pytest.raises(InputError, match=next(iter(fault))):
        SLIDES.apply(noise(2, 8, 8), still(2, **fault))


def test_tables_that_do_not_fit_are_refused():
    """Too few rows, and a missing column."""
    with pytest.raises(InputError, match="number of transforms must be 2"):
        SLIDES.apply(noise(2, 8, 8), still(1))
    with pytest.raises(InputError, match="zoom_rows"):
        SLIDES.apply(noise(2, 8, 8), still(2).drop(columns="zoom_rows"))


@pytest.mark.parametrize("count", [-1, 2.5, True, None])
def test_a_senseless_number_of_draws_is_refused(count):
    """Counts are whole numbers from 0."""
    with pytest.raises(InputError, match="number of transforms"):
        SLIDES.draw(count, 1)


def test_an_unknown_preset_is_refused():
    """The message lists the presets."""
    with pytest.raises(InputError, match="keras2016"):
        Augmentation.preset("keras2017")


def test_an_unknown_transform_left_out_is_refused():
    """The message lists the transforms."""
    with pytest.raises(InputError, match="shift_rows"):
        Augmentation.preset("slides-blur")
