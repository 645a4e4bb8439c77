"""The controls: their frames for HTML, alone and in a browser, and their sliders, alone and in JupyterLab."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from temlib.augment import Augmentation
from temlib.figures import Explorer, controls

SLIDES = Augmentation()


@pytest.fixture(scope="module")
def explorer():
    """A lopsided particle in noise, so that every transform is seen."""
    images = np.random.default_rng(0).normal(size=(3, 24, 24)).astype("float32")
    images[:, 4:9, 6:20] -= 4
    return Explorer(images, SLIDES, seed=5)


# The frames


def test_frames_are_the_transforms_themselves(explorer):
    """There is a film per transform with a range, one of the orders, one of draws; each frame is `apply`'s."""
    films = {film.name: film for film in explorer.films()}
    assert len(films) == 8 and all(len(f.labels) == len(f.frames) >= 3 for f in films.values())
    drawn = SLIDES.apply(explorer.images[[0] * 12], SLIDES.draw(12, 5))
    assert np.array_equal(films["all together, drawn"].frames, drawn)
    rotation = films["rotation"]
    assert rotation.labels[rotation.first] == "0°"
    assert np.array_equal(rotation.frames[rotation.first], explorer.images[0])
    assert np.array_equal(rotation.frames[rotation.labels.index("90°")], np.rot90(explorer.images[0]))
    assert np.array_equal(films["flips"].frames[-1], explorer.images[0, ::-1, ::-1])


def test_a_transform_that_is_left_out_has_no_frames(explorer):
    """Nothing pretends to be varied that is not."""
    names = [f.name for f in Explorer(explorer.images, Augmentation.preset("slides-shear")).films()]
    assert "shear" not in names and len(names) == 7
    assert len(list(Explorer(explorer.images, Augmentation.preset("none")).films())) == 2


def test_frames_need_no_script_and_no_network(explorer):
    """One picture with words a film, one button checked in each, names that no second set shares."""
    page, again = explorer.html(), explorer.html()
    assert not re.search(r"<script|<link|@import|https?:", page)
    assert page.count("<img") == page.count(" checked>") == page.count('role="radiogroup"') == 8
    assert all(len(alt) > 15 for alt in re.findall(r'alt="([^"]*)"', page))
    names = [set(re.findall(r' name="([^"]+)"', text)) for text in (page, again)]
    assert len(names[0]) == 8 and not names[0] & names[1]


def test_frames_of_large_images_can_be_mailed():
    """Images of 384 pixels make a page of less than 3 MB."""
    images = np.random.default_rng(0).normal(size=(1, 384, 384)).astype("float32")
    assert len(Explorer(images, SLIDES).html()) < 3e6


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 390])
def test_the_frames_move_in_a_browser_without_network(explorer, chromium, tmp_path, width):
    """By click and by arrow key the picture in the window changes, at desk and phone width, scripts forbidden."""
    (tmp_path / "page.html").write_text(
        f"<!DOCTYPE html><html><body>{explorer.html()}</body></html>", encoding="utf-8"
    )
    context = chromium.new_context(
        java_script_enabled=False, offline=True, viewport={"width": width, "height": 900}
    )
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    film = page.get_by_role("radiogroup", name="rotation")
    seen = [film.locator(".window").first.screenshot()]
    film.get_by_role("radio", name="90°", exact=True).click()
    seen.append(film.locator(".window").first.screenshot())
    page.keyboard.press("ArrowRight")
    seen.append(film.locator(".window").first.screenshot())
    assert film.get_by_role("radio", name="120°", exact=True).is_checked()
    assert len(set(seen)) == 3
    # What is shown at 90° is the quarter turn of the particle.
    shown = np.asarray(
        Image.open(io.BytesIO(seen[1])).convert("L").resize((24, 24), Image.Resampling.BOX), float
    )
    turned = np.rot90(explorer.images[0])
    assert np.corrcoef(shown.ravel(), turned.ravel())[0, 1] > 0.9
    box = film.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width
    context.close()


# The sliders


def test_the_picture_follows_every_slider(explorer):
    """Each control changes the picture; back at its start, the picture is the first one again."""
    live = controls.Sliders(explorer.images, SLIDES, 5)
    first = live.picture.value
    for name, value in {
        "rotation_deg": 30,
        "shear_rad": 0.2,
        "shift_rows": 0.1,
        "shift_columns": 0.1,
        "zoom": 0.8,
        "flip_rows": True,
        "flip_columns": True,
    }.items():
        start = live.sliders[name].value
        live.sliders[name].value = value
        assert live.picture.value != first, name
        live.sliders[name].value = start
        assert live.picture.value == first, name
    live.particle.value = 1
    assert live.picture.value != first


def test_the_button_puts_the_sliders_where_draw_does(explorer):
    """The seed on the button is that of the draw; the other button brings the particle back."""
    live = controls.Sliders(explorer.images, SLIDES, 5)
    first = live.picture.value
    live.new.click()
    row = SLIDES.draw(1, 5).iloc[0]
    assert live.sliders["rotation_deg"].value == pytest.approx(row["rotation_deg"])
    assert live.sliders["flip_rows"].value == row["flip_rows"] and live.picture.value != first
    assert "6" in live.new.description
    live.still.click()
    assert live.picture.value == first


def test_the_output_holds_both_twins(explorer):
    """A live front end finds the sliders, anything else the frames."""
    bundle = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle and "radiogroup" in bundle["text/html"]


@pytest.mark.browser
@pytest.mark.slow
def test_sliders_and_button_move_the_picture_in_jupyterlab(chromium, jupyterlab):
    """Notebook 2 runs to its end; then a key on a slider, and a click on the button, change the picture."""
    page = jupyterlab.open(chromium, "2_augment")
    assert jupyterlab.run_all(page) == []
    picture = page.locator("img.temlib-picture")
    picture.scroll_into_view_if_needed()
    seen = [picture.get_attribute("src")]
    changed = "before => document.querySelector('img.temlib-picture').src !== before"
    page.locator(".widget-slider .noUi-handle").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(changed, arg=seen[0], timeout=30_000)
    seen.append(picture.get_attribute("src"))
    page.get_by_role("button", name="New draw").click()
    page.wait_for_function(changed, arg=seen[1], timeout=30_000)
    seen.append(picture.get_attribute("src"))
    assert len(set(seen)) == 3
    page.close()
