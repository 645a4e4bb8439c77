"""What prepared images can resolve, cut off and pad, and which are chosen, of planted boxes."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from temlib import data
from temlib.data import prepare


def said(boxes_px, pixel_nm, *, tasks=("content",), scale="physical", shown=3.0, size=40):
    """Return the sentences on 100 particles, whose boxes may be one number."""
    sides = np.broadcast_to(np.asarray(boxes_px, float), 100)
    table = pd.DataFrame({"box_px": sides, "pixel_size_nm": pixel_nm})
    found = prepare.resolution(table, tasks, scale=scale, pixel_nm=shown, input_size=size)
    assert all(text.endswith(".") and ". " not in text for text in found)
    return found


@pytest.mark.parametrize(
    ("shown", "size", "seen", "lost", "cure"),
    [
        (2.0, 60, ["leaflets of a bilayer (4 nm)", "neighbouring bilayers (6.5 nm)"], [], ""),
        (3.0, 40, ["neighbouring"], ["leaflets"], "lower 'pixel_nm' to 2 and raise 'input_size' to 60"),
        (3.25, 40, ["neighbouring"], ["leaflets"], "lower 'pixel_nm' to 2 and raise 'input_size' to 66"),
        (
            4.0,
            30,
            [],
            ["leaflets", "neighbouring"],
            "bilayers lower 'pixel_nm' to 3.2 and raise 'input_size' to 38",
        ),
    ],
)
def test_pixels_of_half_a_bilayer_or_of_half_a_repeat_resolve_it(shown, size, seen, lost, cure):
    """Two pixels to a period; the cure names the pixels that would do, and the image that keeps the window."""
    detail, _ = said(118, 1.0, tasks=["Lamellarity", "content"], shown=shown, size=size)
    assert detail.startswith(f"At {shown:g} nm/pixel details from {2 * shown:g} nm on are resolved (Nyquist)")
    before, _, after = detail.partition("but not")
    assert all(words in before for words in seen) and all(words in after for words in lost)
    assert cure in after and bool(lost) == bool(after)


def test_where_a_box_fills_the_image_the_pixel_follows_from_the_median_box():
    """112 nm on 28 pixels are 4 nm each; 35 pixels are the fewest that hold 3.25 nm."""
    boxes = np.r_[np.full(50, 112), np.full(49, 40), 400]
    (detail,) = said(
        np.sort(boxes)[::-1] - 0.0, 1.0, tasks=["lamellarity"], scale="fill", shown=np.nan, size=28
    )
    assert "(the median box of 112 nm on 28 pixels)" in detail and "At 4 nm/pixel" in detail
    assert detail.endswith("to see neighbouring bilayers raise 'input_size' to 35.")
    (detail,) = said(2000, 1.0, tasks=["lamellarity"], scale="fill", shown=np.nan, size=28)
    assert detail.endswith("cut smaller boxes.")


def test_pixels_finer_than_those_of_the_crops_add_nothing():
    """Crops at 3.5 nm/pixel hold no bilayers, however they are shown."""
    detail, _ = said(30, 3.5, tasks=["lamellarity"], shown=1.0, size=110)
    assert "from crops of 3.5 nm/pixel, details from 7 nm on" in detail
    assert "take micrographs at 3.2 nm/pixel or finer" in detail and "'pixel_nm'" not in detail


def test_other_tasks_are_measured_by_the_smallest_box():
    """A box of 30 nm has 10 pixels of 3 nm, and 12 of 2.5."""
    boxes = np.r_[30, np.full(99, 100)]
    assert "the smallest box, 30 nm, is 10 pixels wide; to see it on 12 pixels" in said(boxes, 1.0)[0]
    assert "lower 'pixel_nm' to 2.5 and raise 'input_size' to 48" in said(boxes, 1.0)[0]
    assert said(36, 1.0)[0].endswith("the smallest box, 36 nm, is 12 pixels wide.")
    (detail,) = said(100, 0.5, scale="fill", shown=np.nan, size=25)
    assert detail.endswith(
        "details from 4 nm on are resolved (Nyquist); 'input_size' 100 would show those from 1 nm on."
    )


@pytest.mark.parametrize(
    ("boxes", "window"),
    [
        (60, "60 nm (median) and the window 120 nm, so 75% of the image are padding; 'pixel_nm' 1.5 would"),
        (118, "The window of 120 nm holds all boxes; the largest has 118 nm."),
        (122, "The window of 120 nm holds all boxes"),  # less than a pixel is lost
        (
            150,
            "cuts the rim off 100 of 100 boxes (the largest has 150 nm); all fit with 'input_size' 50 or 'pixel_nm' 3.8",
        ),
        (
            np.arange(50, 150),
            "cuts the rim off 26 of 100 boxes (the largest has 149 nm); 90% of them fit with 'input_size' 48",
        ),
        (
            np.r_[np.full(95, 100), np.full(5, 180)],
            "cuts the rim off 5 of 100 boxes (the largest has 180 nm); all fit with",
        ),
        (np.r_[np.full(99, 100), 4000], "(the largest has 4,000 nm); all fit with 'pixel_nm' 100."),
    ],
)
def test_the_window_is_measured_by_the_boxes(boxes, window):
    """What is padded and what is cut off, with numbers that would end it."""
    assert window in said(boxes, 1.0)[1]


def test_padding_is_not_cured_by_pixels_that_the_crops_do_not_have():
    """Boxes of 20 px at 3 nm: fewer pixels, not finer ones."""
    assert "so 75% of the image are padding; 'input_size' 20 would" in said(20, 3.0)[1]


@pytest.mark.parametrize(
    ("box", "size", "words"),
    [
        (100, 28, "detail below 7.1 px of the crop is lost (Nyquist); 'input_size' 100 keeps it."),
        (900, 64, "detail below 28 px of the crop is lost (Nyquist); 'input_size' 512 keeps most."),
        (24, 28, "so no detail is lost."),
    ],
)
def test_without_pixel_sizes_only_pixels_are_spoken_of(box, size, words):
    """Not a word about nm, not for lamellarity either."""
    (found,) = said(box, np.nan, tasks=["lamellarity"], scale="fill", shown=np.nan, size=size)
    assert found.endswith(words) and " nm" not in found


@pytest.mark.parametrize(("box", "pixel"), [(600, 10.0), (10, 0.2)])
def test_boxes_of_no_particles_size_ask_for_the_unit(box, pixel):
    """Beyond 5 µm or below 3 nm nothing else is said."""
    (found,) = said(box, pixel)
    assert "check the pixel sizes ('pixel_size_nm' is in nm, 'pixel_size_A' in Å)" in found


def test_numbers_are_rounded_to_two_digits_to_the_safe_side():
    """A last bit of the division does not count."""
    assert [prepare.rounded(x) for x in (1.5, 60 / 40, 1.501, 0.123, 117.9)] == [1.5, 1.5, 1.6, 0.13, 120]
    assert prepare.rounded(3.25, np.floor) == 3.2 and [prepare.even(x) for x in (40, 40.0000001, 40.5)] == [
        40,
        40,
        42,
    ]


@pytest.mark.parametrize(
    ("boxes", "own", "scale", "given", "found", "words"),
    [
        (40, np.nan, "fill", (0, 0), (0, 40), "input_size 40 was chosen from boxes of 40 px (median)."),
        (20, np.nan, "fill", (3.0, 0), (3.0, 28), "input_size 28 was chosen from boxes of 20 px (median)."),
        (100, 1.0, "fill", (0, 0), (0, 40), "input_size 40 was chosen from boxes of 100 px (median)."),
        (40, np.nan, "fill", (0, 64), (0, 64), ""),
        (40, 1.0, "physical", (2.0, 64), (2.0, 64), ""),
        (
            120,
            1.0,
            "physical",
            (0, 0),
            (1.9, 64),
            "pixel_nm 1.9 and input_size 64 were chosen from boxes of up to 120 nm (90%",
        ),
        (125, 1.0, "physical", (0, 0), (2.0, 64), "pixel_nm 2 and input_size 64 were"),  # 62.5 pixels
        (
            40,
            3.0,
            "physical",
            (0, 0),
            (3.0, 40),
            "pixel_nm 3 and input_size 40 were chosen from boxes of up to 120 nm",
        ),
        (121, 1.0, "physical", (3.0, 0), (3.0, 42), "input_size 42 was chosen from boxes of up to 121 nm"),
        (400, 1.0, "physical", (3.0, 0), (3.0, 64), "input_size 64 was"),
        (10, 1.0, "physical", (3.0, 0), (3.0, 28), "input_size 28 was"),
        (120, 1.0, "physical", (0, 28), (4.3, 28), "pixel_nm 4.3 was chosen from boxes of up to 120 nm"),
        (
            np.r_[np.full(90, 60), np.full(9, 500)],
            1.0,
            "physical",
            (3.0, 0),
            (3.0, 28),
            "up to 60 nm (90% of them)",
        ),
        (np.nan, 1.0, "physical", (0, 0), (3.0, 40), "were chosen since no box is stated."),
    ],
)
def test_sizes_that_are_left_open_follow_from_the_boxes(boxes, own, scale, given, found, words):
    """Given ones stay; what is chosen is said."""
    boxes = np.resize(np.sort(np.asarray(boxes, float).ravel()), np.size(boxes) if np.size(boxes) > 1 else 50)
    *sizes, said = prepare.chosen(boxes.take, np.full(len(boxes), own), scale, *given)
    assert tuple(sizes) == pytest.approx(found) and (words in said[0] if words else not said)


def test_a_data_set_is_opened_at_the_sizes_that_fit_its_crops(study):
    """Crops of 24 px at 2 nm are shown pixel by pixel; without pixel sizes a box fills the smallest image."""
    opened = data.open(study)
    assert (opened.scale, opened.pixel_nm, opened.images.shape) == ("physical", 2.0, (48, 28, 28))
    assert any(
        note.startswith("pixel_nm 2 and input_size 28 were chosen from boxes of up to 48 nm")
        for note in opened.notes
    )
    assert any("at 2 nm/pixel, in a window of 56 nm" in note for note in opened.notes)
    opened = data.open(study, scale="fill")
    assert np.isnan(opened.pixel_nm) and opened.images.shape[-1] == 28
    assert "input_size 28 was chosen from boxes of 24 px (median)." in opened.notes
    assert "its size is lost" in " ".join(opened.notes)


def test_boxes_come_from_the_table_or_from_the_images(tmp_path):
    """Cut out of micrographs they are those stated, in pixels or nm; without any the window is the usual one."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (200, 200), np.uint8)).save(tmp_path / "a.png")
    rows = {"image": "a.png", "row": [60, 100], "column": [70, 110], "pixel_size_nm": 2.0}

    def opened(**more):
        pd.DataFrame(rows | more).to_csv(tmp_path / "m.csv", index=False)
        return data.open(tmp_path / "m.csv")

    assert opened(box_px=60).images.shape[-1] == opened(box_nm=120.0).images.shape[-1] == 60
    assert opened(box_px=60).pixel_nm == 2.0
    unstated = opened()
    assert unstated.pixel_nm * unstated.images.shape[-1] == 120 and "since no box is stated" in " ".join(
        unstated.notes
    )


def test_simulated_particles_are_spoken_of_as_they_will_be_opened():
    """Their boxes are enough for it."""
    usual = {"count": 60, "seed": 3, "scale": "physical", "pixel_nm": 0.0, "input_size": 0}
    opened = data.open("simulated", **usual)
    for tasks in (["lamellarity"], ["lamellarity", "encapsulation"]):
        assert data.resolution(tasks, particles="simulated", **usual) == opened.resolution(tasks)
