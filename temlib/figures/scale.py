"""The scale at which particles are shown: chosen in JupyterLab on the user's own crops, seen in a report as it is."""

import base64
import html
import io

import ipywidgets
import numpy as np
from PIL import Image

from temlib import data
from temlib.figures.base import Note, encoded, grey, picture, reduced, scale_bar
from temlib.figures.live import both
from temlib.files import natural

SIDE = 92  # CSS pixels of a crop
PIXELS = (12, 128)  # the window's slider, in pixels
MOST = 24  # crops in all, so that a slider is followed at once
FEW = 4  # of each class in a report, which is to be mailed
LARGEST = 20_000  # particles of which all are asked what the window cuts; of more a part, drawn once


class ScaleChooser:
    """Pixel size and window on some crops of each class, with what they resolve and what they cut off.

    A live front end shows two sliders and a button that gives the two lines of the parameter file; everything else shows the
    crops at the scale of the particles, without sliders.

    Parameters
    ----------
    dataset : data.Particles
    task : str
        The column of labels.
    each : int
        Crops of each class, drawn at random by `seed`; fewer where there would be more than 24 in all.
    unsure : list of str
        Labels that are no class.
    """

    def __init__(self, dataset, task, *, each=6, seed=0, unsure=()):
        rng, self.task, self.unsure, self.scale = np.random.default_rng(seed), task, unsure, dataset.scale
        labels = dataset.table[task].where(data.is_definite(dataset.table[task], unsure))
        names = sorted(labels.dropna().unique(), key=natural)[:MOST]
        each = max(1, min(each, MOST // max(1, len(names))))
        drawn = [(name, i) for name in names for i in rng.permutation(np.flatnonzero(labels == name))[:each]]
        self.names, rows = [name for name, _ in drawn], [i for _, i in drawn]
        self.pixel_nm, self.input_size = dataset.pixel_nm, dataset.images.shape[-1]
        self.crops, self.own = dataset.crops(rows), dataset.table["pixel_size_nm"].to_numpy(float)[rows]
        few = np.sort(rng.permutation(len(dataset))[:LARGEST])
        self.asked = dataset if len(dataset) <= LARGEST else dataset.rows(few)
        self.whole = [_as_bytes(crop) for crop in self.crops]

    def sentences(self, pixel_nm, input_size):
        """Return what images of such pixels resolve, and what their window cuts off."""
        return self.asked.resolution(
            [self.task], unsure=self.unsure, pixel_nm=pixel_nm, input_size=input_size
        )

    def lines(self, pixel_nm, input_size):
        """Return the lines of the parameter file."""
        size = f"input_size: {input_size}"
        return f"pixel_nm: {pixel_nm:.4g}\n{size}" if self.scale == "physical" else size

    def images(self, pixel_nm, input_size):
        """Return the crops as a network would see them, each (input_size, input_size)."""
        ratios = self.own / pixel_nm if self.scale == "physical" else [None] * len(self.own)
        return [data.prepared(crop, input_size, ratio=ratio) for crop, ratio in zip(self.crops, ratios)]

    def drawing(self, pixel_nm, input_size, address=encoded, each=MOST):
        """Return the HTML of the crops: in their files, with the frame of the window, and below as a network would see them.

        `address` makes the address that holds an image of bytes; `each` is how many of a class are shown at the most.
        """
        images, parts = self.images(pixel_nm, input_size), []
        for name in dict.fromkeys(self.names):
            rows = [i for i, of in enumerate(self.names) if of == name][:each]
            parts.append(f'<span class="images" style="flex-basis:100%"><b>{html.escape(str(name))}</b>')
            parts += [self._in_file(i, address, pixel_nm, input_size) for i in rows]
            parts.append("</span>")
            bar = (
                scale_bar(input_size, input_size, pixel_nm, 11.5 * input_size / SIDE) if pixel_nm > 0 else ""
            )
            cells = [_svg(address(grey(images[i])), (input_size, input_size), bar) for i in rows]
            parts.append(f'<span class="images" style="flex-basis:100%">{"".join(cells)}</span>')
        return "".join(parts)

    def _in_file(self, i, address, pixel_nm, input_size):
        """Return the SVG of a crop in its own pixels, with the frame of the window."""
        down, across = self.crops[i].shape
        window = input_size * pixel_nm / self.own[i] if self.scale == "physical" else max(down, across)
        place = f'x="{(across - window) / 2:.1f}" y="{(down - window) / 2:.1f}" width="{window:.1f}" height="{window:.1f}"'
        look = f'fill="none" stroke="#ff8c00" stroke-width="{max(down, across, window) / 40:.2f}"'
        return _svg(
            address(self.whole[i]), (down, across), f"<rect {place} {look}/>", max(down, across, window)
        )

    def html(self):
        """Return the HTML twin: the crops at the scale of the particles."""
        window = f" of {self.input_size * self.pixel_nm:.4g} nm" if self.scale == "physical" else ""
        words = "Crops of each class as they lie in their files, with the frame of the window"
        shown = (
            f"{self.pixel_nm:.3g} nm/pixel"
            if self.scale == "physical"
            else f"{self.input_size} pixels a side"
        )
        files = f"up to {FEW} random crops of each class in their own pixels; the frame is the window{window}"
        caption = f"Above: {files}. Below: what a network sees of them, at {shown}."
        return picture(
            self.drawing(self.pixel_nm, self.input_size, each=FEW),
            f"{words}, and below as a network sees them.",
            caption,
        )

    def _repr_mimebundle_(self, include=None, exclude=None):
        return both(Sliders(self), self.html(), "Sliders for pixel size and window.")


class Sliders(ipywidgets.VBox):
    """The live half: sliders of pixel size and window, the crops, sentences, and the lines for the parameter file."""

    def __init__(self, chooser):
        self.chooser = chooser
        layout, style = ipywidgets.Layout, {"description_width": "11rem"}
        wide = {"style": style, "layout": layout(width="100%", max_width="36rem"), "continuous_update": False}
        low, high = PIXELS
        size = {
            "min": low,
            "max": max(high, chooser.input_size),
            "step": 2,
            "description": "input_size, pixels",
        }
        self.size = ipywidgets.IntSlider(chooser.input_size, **size, **wide)
        self.pixel = None
        if chooser.scale == "physical":
            ends = np.log10([0.8 * np.nanmin(chooser.own), 4 * chooser.pixel_nm])
            reach = {"min": ends[0], "max": ends[1], "step": 0.01, "readout_format": ".3g"}
            words = "pixel_nm, nm a pixel"
            self.pixel = ipywidgets.FloatLogSlider(chooser.pixel_nm, **reach, description=words, **wide)
        self.pictures, self.said = ipywidgets.HTML(), ipywidgets.HTML()
        self.button = ipywidgets.Button(
            description="Lines for the parameter file", layout=layout(width="16rem")
        )
        self.lines = ipywidgets.HTML()
        self.pictures.add_class("temlib-crops")
        self.lines.add_class("temlib-lines")
        self.button.on_click(lambda button: self._give())
        controls = [slider for slider in (self.pixel, self.size) if slider]
        for slider in controls:
            slider.observe(self._show, names="value")
        super().__init__([*controls, self.said, self.pictures, ipywidgets.HBox([self.button, self.lines])])
        self._show()

    @property
    def scale(self):
        """The pixel size in nm, with as many digits as are written, and the pixels of a side."""
        return (float(f"{self.pixel.value:.3g}") if self.pixel else np.nan), self.size.value

    def _show(self, change=None):
        said = self.chooser.sentences(*self.scale)
        self.said.value = Note(said, kind="notice")._repr_html_()
        body = self.chooser.drawing(*self.scale, address=in_haste)
        self.pictures.value = picture(body, "Crops at the chosen scale.", "")
        self.lines.value = ""

    def _give(self):
        self.lines.value = f"<pre>{self.chooser.lines(*self.scale)}</pre>"


def _as_bytes(crop):
    """Return a crop as bytes at no more pixels than are shown, from its 1st to its 99th percentile."""
    crop, _ = reduced(crop, SIDE)
    return grey(crop, *np.percentile(crop, (1, 99)) + (0, 1e-6))


def in_haste(image):
    """Return the address that holds an image of bytes as `encoded` does, in a tenth of the time, since a slider waits for it."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _svg(address, shape, drawn="", extent=0):
    """Return the HTML of an image of a shape in its own pixels, in the middle of a square of `extent` of them."""
    down, across = shape
    extent = extent or max(shape)
    box = f"{(across - extent) / 2:.2f} {(down - extent) / 2:.2f} {extent:.2f} {extent:.2f}"
    look = f'width="{SIDE}" height="{SIDE}" viewBox="{box}" aria-hidden="true"'
    return f'<span style="width:{SIDE}px"><svg {look}><image href="{address}" width="{across}" height="{down}"/>{drawn}</svg></span>'
