"""The controls seen in JupyterLab, each with a twin of pre-rendered frames for HTML.

A widget's output holds both: a live front end shows the sliders, and everything else (a saved notebook, a report, a
viewer without a kernel) shows the frames, which a row of radio buttons moves without any script.
"""

import base64
import io
import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from temlib.augment import NEUTRAL, Augmentation

# Name of each slider, what it says beside it, how a frame's value is written, and its reach: beyond what is drawn
# from, within `affine.LIMITS`.
SLIDERS = {
    "rotation_deg": ("rotation", "rotation, degrees", "{:.0f}°", -180, 180, 1),
    "shear_rad": ("shear", "shear, rad", "{:.3g} rad", -0.6, 0.6, 0.01),
    "shift_rows": ("shift down", "shift down, of height", "{:.1%} of height", -0.5, 0.5, 0.01),
    "shift_columns": ("shift right", "shift right, of width", "{:.1%} of width", -0.5, 0.5, 0.01),
    "zoom": ("zoom", "zoom, of its size", "{:.3g} of its size", 0.4, 2, 0.01),
}
# Robust units shown as black and white.
LIMIT = 3.0
# Rows and columns of a frame in HTML.
MOST = 128
_marks = itertools.count()


@dataclass(frozen=True)
class Film:
    """Frames of one control: its name, one label a frame, which frame is shown first, and what is seen."""

    name: str
    labels: list
    frames: np.ndarray  # (n, rows, columns)
    first: int
    alt: str


class Explorer:
    """Every transform of one particle under a slider, and all of them drawn anew by a button.

    Parameters
    ----------
    images : (n, rows, columns) float32 ndarray
        Prepared particles; the sliders move any of them, the frames show the first.
    augmentation : Augmentation
        Its ranges are those of the frames and of the draws.
    seed : int, optional
        Of the first draw.
    """

    def __init__(self, images, augmentation, *, seed=0):
        self.images, self.augmentation, self.seed = images, augmentation, seed

    def films(self):
        """Give the frames of the HTML twin, as a list of `Film`."""
        return [*_joint_films(self), *_single_films(self.images[0], self.augmentation)]

    def html(self):
        """Give the HTML twin, which works offline and without a script."""
        from jinja2 import Environment, FileSystemLoader

        template = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True).get_template(
            "films.html.j2"
        )
        films = [
            {"number": k, "png": _base64(np.hstack(_reduced(film.frames))), **film.__dict__}
            for k, film in enumerate(self.films())
        ]
        most = max(len(film["labels"]) for film in films)
        return template.render(films=films, most=most, mark=f"film{next(_marks)}")

    def live(self):
        """Give the sliders as an ipywidget, whose picture follows them at once."""
        return _Live(self).box

    def _repr_mimebundle_(self, include=None, exclude=None):
        live = self.live()._repr_mimebundle_(include=include, exclude=exclude)
        live = live[0] if isinstance(live, tuple) else live
        return {**(live or {}), "text/html": self.html(), "text/plain": "Sliders for each transform."}


def _single_films(image, augmentation):
    """Give one film per transform, each alone over its range; a transform without a range gives none."""
    none = replace(Augmentation.preset("none"), order=augmentation.order, fill=augmentation.fill)
    films = []
    for column, (name, _, written, *_) in SLIDERS.items():
        low, high = getattr(augmentation, column.removesuffix("_deg").removesuffix("_rad"))
        if low == high:
            continue
        values = np.linspace(low, high, 13 if column == "rotation_deg" else 9)
        columns = ("zoom_rows", "zoom_columns") if column == "zoom" else (column,)
        table = _still(len(values)).assign(**dict.fromkeys(columns, values))
        frames = none.apply(np.repeat(image[None], len(values), 0), table)
        neutral = int(np.abs(values - (column == "zoom")).argmin())
        labels = [written.format(value + 0.0).replace("-", "−") for value in values]
        alt = f"One particle under {name} alone, from {labels[0]} to {labels[-1]}."
        films.append(Film(name, labels, frames, neutral, alt))
    rows, columns = augmentation.flip_rows, augmentation.flip_columns
    flips = [(r, c) for r, c in itertools.product((False, True), repeat=2) if r <= rows and c <= columns]
    if len(flips) > 1:
        table = _still(len(flips)).assign(flip_rows=[f[0] for f in flips], flip_columns=[f[1] for f in flips])
        frames = none.apply(np.repeat(image[None], len(flips), 0), table)
        words = {(0, 0): "as it is", (1, 0): "upside down", (0, 1): "left and right", (1, 1): "both"}
        labels = [words[flip] for flip in flips]
        films.append(Film("flips", labels, frames, 0, "One particle as it is and flipped either way."))
    return films


def _joint_films(explorer):
    """Give the films of the interpolation orders and of all transforms together."""
    augmentation, image = explorer.augmentation, explorer.images[:1]
    draws = augmentation.draw(12, explorer.seed)
    frames = augmentation.apply(np.repeat(image, 12, 0), draws)
    labels = [f"draw {k + 1}" for k in range(12)]
    yield Film("all together, drawn", labels, frames, 0, "One particle under twelve draws of all transforms.")
    turned = _still(1).assign(rotation_deg=30.0)
    ways = {"nearest pixel": 0, "linear": 1, "cubic spline": 3}
    frames = [
        Augmentation(order=order, fill=augmentation.fill).apply(image, turned)[0] for order in ways.values()
    ]
    alt = "One particle turned by 30° with nearest-pixel, linear and cubic interpolation."
    yield Film("interpolation, at 30°", list(ways), np.stack(frames), 2, alt)


class _Live:
    """The ipywidgets of an `Explorer`."""

    def __init__(self, explorer):
        import ipywidgets

        self.explorer, self.seed, self.paused = explorer, explorer.seed, False
        wide = {
            "style": {"description_width": "9rem"},
            "layout": ipywidgets.Layout(width="100%", max_width="30rem"),
        }
        self.sliders = {
            column: ipywidgets.FloatSlider(
                value=float(column == "zoom"), min=low, max=high, step=step, description=words, **wide
            )
            for column, (_, words, _, low, high, step) in SLIDERS.items()
        }
        for name, words in (("flip_rows", "upside down"), ("flip_columns", "left and right")):
            self.sliders[name] = ipywidgets.Checkbox(value=False, description=words, **wide)
        self.order = ipywidgets.ToggleButtons(
            options=[("nearest", 0), ("linear", 1), ("cubic", 3)],
            value=explorer.augmentation.order,
            description="interpolation",
            style={"description_width": "9rem", "button_width": "4.5rem"},
        )
        last = len(explorer.images) - 1
        self.particle = ipywidgets.IntSlider(value=0, min=0, max=last, description="particle", **wide)
        self.new = ipywidgets.Button(
            description=f"New draw (seed {self.seed})", icon="random", layout=ipywidgets.Layout(width="13rem")
        )
        self.still = ipywidgets.Button(description="As it is", icon="undo")
        self.picture = ipywidgets.Image(
            format="png", layout=ipywidgets.Layout(width="100%", max_width="40rem")
        )
        self.picture.add_class("temlib-picture")
        for control in (*self.sliders.values(), self.order, self.particle):
            control.observe(lambda change: self._show(), names="value")
        self.new.on_click(lambda button: self._draw())
        self.still.on_click(lambda button: self._set(_still(1)))
        buttons = ipywidgets.HBox([self.new, self.still], layout=ipywidgets.Layout(margin="0.4rem 0"))
        controls = [*self.sliders.values(), self.order, self.particle, buttons]
        # Side by side where there is room, so that the picture stays in view while a slider moves.
        self.box = ipywidgets.HBox(
            [
                self.picture,
                ipywidgets.VBox(controls, layout=ipywidgets.Layout(flex="1 1 20rem", min_width="0")),
            ],
            layout=ipywidgets.Layout(flex_flow="row wrap", align_items="flex-start"),
        )
        self._show()

    def _draw(self):
        """Draw all transforms with the seed that the button names, and go on to the next seed."""
        drawn = self.explorer.augmentation.draw(1, self.seed)
        self.seed += 1
        self.new.description = f"New draw (seed {self.seed})"
        self._set(drawn)

    def _set(self, row):
        """Put the sliders where a table of one row says; the picture moves once."""
        self.paused = True
        for column, slider in self.sliders.items():
            slider.value = row["zoom_rows" if column == "zoom" else column].item()
        self.paused = False
        self._show()

    def _show(self):
        if self.paused:
            return
        values = {column: slider.value for column, slider in self.sliders.items()}
        values["zoom_rows"] = values["zoom_columns"] = values.pop("zoom")
        augmentation = replace(self.explorer.augmentation, order=self.order.value)
        image = self.explorer.images[self.particle.value][None]
        moved = augmentation.apply(image, pd.DataFrame(values, index=[0]))
        gap = np.full((image.shape[1], 2), LIMIT, np.float32)
        both = np.hstack([image[0], gap, moved[0]])
        enlarge = max(1, round(640 / both.shape[1]))
        self.picture.value = _png(np.kron(both, np.ones((enlarge, enlarge), np.float32)))


def _still(count):
    """Give a table of `count` transforms that change nothing."""
    return pd.DataFrame(NEUTRAL, index=range(count))


def _png(image):
    """Give an image in robust units as the bytes of a grey PNG."""
    from PIL import Image

    grey = np.clip((image + LIMIT) * (255 / (2 * LIMIT)), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "png")
    return buffer.getvalue()


def _reduced(frames):
    """Average blocks of pixels where frames have more than `MOST`, so that a report can be mailed."""
    n, rows, columns = frames.shape
    k = -(-max(rows, columns) // MOST)
    frames = frames[:, : rows // k * k, : columns // k * k]
    return frames.reshape(n, rows // k, k, columns // k, k).mean(axis=(2, 4))


def _base64(image):
    return base64.b64encode(_png(image)).decode()
