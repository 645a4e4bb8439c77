"""What prepared images can resolve, cut off and pad, and which are chosen, of planted boxes."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from temlib import data
from temlib.data import prepare
from temlib.files import InputError


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


def oblong(rows, columns, seed=0):
    """Return noise with a dark ring of radius 10 in the middle, (rows, columns)."""
    rng, places = np.random.default_rng(seed), np.indices((rows, columns))
    radius = np.hypot(places[0] - (rows - 1) / 2, places[1] - (columns - 1) / 2)
    return (rng.normal(100, 5, (rows, columns)) - 60 * np.exp(-((radius - 10) ** 2) / 8)).astype(np.float32)


@pytest.mark.parametrize("masked", [False, True])
def test_a_crop_that_is_not_square_is_padded_and_keeps_its_shape(masked):
    """The ring stays round; median and spread are those of the crop alone, lying or standing."""
    crop = oblong(30, 90)
    if masked:
        crop[np.hypot(*(np.indices(crop.shape) - np.array([14.5, 44.5])[:, None, None])) > 14] = 7.0
    shown = prepare.prepare(crop, 90)
    inner = shown[30:60]
    rest = inner[crop != 7.0]
    assert not shown[:30].any() and not shown[60:].any() and (not masked or not inner[crop == 7.0].any())
    assert np.median(rest) == pytest.approx(0, abs=1e-6)
    assert np.diff(np.percentile(rest, (16, 84)))[0] == pytest.approx(2, abs=1e-5)
    assert np.array_equal(prepare.prepare(crop.T, 90), shown.T)
    small = prepare.prepare(crop, 45)
    small = small < small.min() / 2
    rows, columns = np.flatnonzero(small.any(axis=1)), np.flatnonzero(small.any(axis=0))
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 1 and np.ptp(rows) == pytest.approx(10, abs=2)


@pytest.mark.parametrize("scale", ["fill", "physical"])
def test_crops_that_are_not_square_are_counted_and_classes_told_by_them_are_named(tmp_path, scale):
    """In the notes, and beside what the images resolve; labels that are no class do not count."""
    rows = []
    for i in range(12):
        name, shape = [("filled", (60, 60)), ("empty", (60, 40)), ("uncertain", (20, 60))][i % 3]
        Image.fromarray(oblong(*shape, seed=i)).save(tmp_path / f"{i}.tif")
        rows.append((f"{i}.tif", name, f"m{i // 3}", 2.0))
    table = pd.DataFrame(rows, columns=["image", "content", "micrograph", "pixel_size_nm"])
    table.to_csv(tmp_path / "m.csv", index=False)
    usual = {"scale": scale, "pixel_nm": 3.0, "input_size": 40}
    found = data.open(tmp_path / "m.csv", task="content", **usual)
    assert any("not square, whose shapes are kept" in note and "8 of 12" in note for note in found.notes)
    assert found.table["box_px"].eq(60).all() and found.table["box_columns"].tolist()[:3] == [60, 40, 60]
    told = found.resolution(["content"], unsure=["uncertain"])[-1]
    assert "content: the classes differ in the rows × columns of their crops" in told
    assert "(median: empty 60 × 40, filled 60 × 60 px)" in told and "by the padding, in 100% of" in told
    assert "uncertain" not in told and "20" in found.resolution(["content"])[-1]
    given = {"count": 60, "seed": 1, "unsure": ["uncertain"], **usual}
    assert data.resolution(["content"], particles=str(tmp_path / "m.csv"), **given)[-1] == told


@pytest.mark.parametrize(
    ("sides", "window", "words"),
    [
        ([(60, 60), (80, 80)], None, "tell x from the rest by how far they are resized, in 100% of"),
        ([(60, 40), (40, 60)], None, "(median: x 60 × 40, y 40 × 60 px)"),
        ([(60, 60), (60, 50)], 60, "by the padding"),
        ([(60, 60), (60, 50)], 50, ""),  # where it is cut off
        ([(60, 60), (80, 80)], 90, ""),  # size that is meant to be seen
        ([(60, 50), (60, 50)], None, ""),
    ],
)
def test_classes_are_told_by_sides_where_a_network_sees_them(sides, window, words):
    """By the padding, or where a box fills the image by how far it is resized."""
    rows, columns = np.array(sides * 10, float).T
    table = pd.DataFrame({"kind": ["x", "y"] * 10, "box_px": np.maximum(rows, columns), "pixel_size_nm": 1.0})
    table = table.assign(box_rows=rows, box_columns=columns)
    shown = {"scale": "physical" if window else "fill", "pixel_nm": 1.0, "input_size": window or 40}
    found = [text for text in prepare.resolution(table, ["kind"], **shown) if "the classes differ" in text]
    assert len(found) == bool(words) and all(words in text for text in found)


def test_chance_tells_no_class_by_sides():
    """Boxes drawn by hand, of 20 particles in two classes, are rarely spoken of."""
    spoken = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        table = pd.DataFrame({"kind": rng.choice(["x", "y"], 20), "box_px": rng.normal(60, 9, 20)})
        table = table.assign(box_rows=table["box_px"], box_columns=table["box_px"] * rng.uniform(0.6, 1, 20))
        table["pixel_size_nm"] = np.nan
        spoken += len(prepare.resolution(table, ["kind"], scale="fill", pixel_nm=np.nan, input_size=40)) > 1
    assert spoken <= 6


@pytest.mark.parametrize("pixel_nm", [1e-300, 1e-4, 1e-3])
def test_a_window_of_very_many_pixels_is_refused_before_memory_is_taken(pixel_nm):
    """One wrong pixel size among many would pad its crop to 100 GB."""
    crop = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    tracemalloc.start()
    with pytest.raises(InputError, match="own pixels, more than 8,192; check its pixel size and 'pixel_nm'"):
        prepare.prepare(crop, 40, ratio=pixel_nm / 3)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    assert prepare.prepare(crop, 40, ratio=0.02).shape == (40, 40)
