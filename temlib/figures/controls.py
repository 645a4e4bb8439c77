"""The controls seen in JupyterLab, each with a twin of pre-rendered frames for HTML.

A widget's output holds both: a live front end shows the sliders, and everything else (a saved notebook, a report, a
viewer without a kernel) shows the frames, which a row of radio buttons moves without any script.
"""

import io
import itertools
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import ipywidgets
import numpy as np
from jinja2 import Environment, FileSystemLoader
from PIL import Image

from temlib.figures.augment import ORDERS, TRANSFORMS, still
from temlib.figures.base import LIMIT, encoded, grey, reduced
from temlib.figures.live import both

# What the flips are called: of the rows, of the columns.
FLIPS = {"as it is": (0, 0), "left and right": (0, 1), "upside down": (1, 0), "both": (1, 1)}
_marks = itertools.count()


# One control: its name, a label a frame, the frames (n, rows, columns), and which is shown first.
Film = namedtuple("Film", "name, labels, frames, first")


class Explorer:
    """Every transform of one particle under a slider, and all of them drawn anew by a button.

    Sliders move any of the prepared `images`, (n, rows, columns) float32, frames show the first; the ranges of an
    `Augmentation` are those of frames and draws; `seed` is that of the first draw.
    """

    def __init__(self, images, augmentation, *, seed=0):
        self.images, self.augmentation, self.seed = images, augmentation, seed

    def films(self):
        """Yield the frames of the HTML twin, each a `Film`: draws, orders, and each transform that has a range."""
        labels = [f"draw {k + 1}" for k in range(12)]
        yield Film("all together, drawn", labels, self._moved(self.augmentation.draw(12, self.seed)), 0)
        frames = [self._moved(still(1, rotation_deg=30.0), order=order)[0] for order in ORDERS.values()]
        yield Film("interpolation, at 30°", list(ORDERS), np.stack(frames), 2)
        for column, (name, _, written, count, *_) in TRANSFORMS.items():
            low, high = getattr(self.augmentation, column.removesuffix("_deg").removesuffix("_rad"))
            values = np.linspace(low, high, count)
            labels = [written.format(value + 0.0).replace("-", "−") for value in values]
            first = int(np.abs(values - (column == "zoom")).argmin())
            if low < high:
                yield Film(name, labels, self._moved(still(count, **{column: values})), first)
        given = (self.augmentation.flip_rows, self.augmentation.flip_columns)
        flips = {words: flip for words, flip in FLIPS.items() if flip[0] <= given[0] and flip[1] <= given[1]}
        if len(flips) > 1:
            rows, columns = np.array(list(flips.values()), bool).T
            frames = self._moved(still(len(flips), flip_rows=rows, flip_columns=columns))
            yield Film("flips", list(flips), frames, 0)

    def _moved(self, table, **options):
        """Return the first particle under each row of a table of transforms."""
        return replace(self.augmentation, **options).apply(np.repeat(self.images[:1], len(table), 0), table)

    def html(self):
        """Return the HTML twin, which works offline and without a script."""
        templates = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
        templates.filters["address"] = lambda frames: encoded(np.hstack(reduced(frames)[0]))
        template = templates.get_template("films.html.j2")
        return template.render(films=list(self.films()), mark=f"film{next(_marks)}")

    def _repr_mimebundle_(self, include=None, exclude=None):
        sliders = Sliders(self.images, self.augmentation, self.seed)
        return both(sliders, self.html(), "Sliders for each transform.")


class Sliders(ipywidgets.HBox):
    """The live half: controls beside a picture of the particle as it is and moved."""

    def __init__(self, images, augmentation, seed):
        self.images, self.augmentation, self.seed, self.paused = images, augmentation, seed, False
        layout, names = ipywidgets.Layout, {"description_width": "9rem"}
        wide = {"style": names, "layout": layout(width="100%", max_width="30rem")}
        self.sliders = {}
        for column, (name, unit, _, _, low, high, step) in TRANSFORMS.items():
            reach = {"value": float(column == "zoom"), "min": low, "max": high, "step": step}
            self.sliders[column] = ipywidgets.FloatSlider(**reach, description=f"{name}, {unit}", **wide)
        for column, words in {"flip_rows": "upside down", "flip_columns": "left and right"}.items():
            self.sliders[column] = ipywidgets.Checkbox(False, description=words, **wide)
        orders = [(words.split()[0], order) for words, order in ORDERS.items()]
        look = {"description": "interpolation", "style": names | {"button_width": "4.5rem"}}
        self.order = ipywidgets.ToggleButtons(options=orders, value=augmentation.order, **look)
        self.particle = ipywidgets.IntSlider(0, min=0, max=len(images) - 1, description="particle", **wide)
        words, wide = f"New draw (seed {seed})", layout(width="13rem")
        self.new = ipywidgets.Button(description=words, icon="random", layout=wide)
        self.still = ipywidgets.Button(description="As it is", icon="undo")
        self.picture = ipywidgets.Image(format="png", layout=layout(width="100%", max_width="40rem"))
        self.picture.add_class("temlib-picture")
        self.new.on_click(self._draw)
        self.still.on_click(lambda button: self._set(still(1)))
        buttons = ipywidgets.HBox([self.new, self.still], layout=layout(margin="0.4rem 0"))
        controls = [*self.sliders.values(), self.order, self.particle]
        for control in controls:
            control.observe(self._show, names="value")
        # Side by side where there is room, so that the picture stays in view while a slider moves.
        beside = ipywidgets.VBox([*controls, buttons], layout=layout(flex="1 1 20rem", min_width="0"))
        row = layout(flex_flow="row wrap", align_items="flex-start")
        super().__init__([self.picture, beside], layout=row)
        self._show()

    def _draw(self, button):
        """Draw all transforms with the seed that the button names, and go on to the next seed."""
        self._set(self.augmentation.draw(1, self.seed))
        self.seed += 1
        self.new.description = f"New draw (seed {self.seed})"

    def _set(self, row):
        """Put the sliders where a table of one row says; the picture moves once."""
        self.paused = True
        for column, slider in self.sliders.items():
            slider.value = row["zoom_rows" if column == "zoom" else column].item()
        self.paused = False
        self._show()

    def _show(self, change=None):
        if self.paused:
            return
        values = {column: slider.value for column, slider in self.sliders.items()}
        image = self.images[self.particle.value]
        moved = replace(self.augmentation, order=self.order.value).apply(image[None], still(1, **values))[0]
        both = np.hstack([image, np.full((len(image), 2), LIMIT, np.float32), moved])
        enlarge = max(1, round(640 / both.shape[1]))
        self.picture.value = _png(both.repeat(enlarge, 0).repeat(enlarge, 1))


def _png(image):
    """Return an image in robust units as the bytes of a grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(grey(image)).save(buffer, "png")
    return buffer.getvalue()
