"""What the live widgets share: a module of JavaScript and a style, messages, and pixels that go out when they are asked for.

Nothing heavy is sent before a page asks, so that a notebook that is executed without one carries none of it.
"""

from pathlib import Path

import anywidget
import numpy as np

from temlib.figures.base import MOST, grey
from temlib.files import InputError

_FOLDER = Path(__file__).parent


class Live(anywidget.AnyWidget):
    """A widget whose script asks by messages `{"do": name, …}`, which the methods `on_<name>` answer."""

    _css = (_FOLDER / "live.css").read_text(encoding="utf-8")

    def __init__(self, images):
        self.images = images
        self.step = max(1, -(-images.shape[-1] // MOST))
        self.side = -(-images.shape[-1] // self.step)
        super().__init__()
        self.on_msg(self._heard)

    def _heard(self, widget, content, buffers):
        try:
            getattr(self, f"on_{content['do']}")(
                **{key: value for key, value in content.items() if key != "do"}
            )
        except InputError as fault:
            self.send({"do": "said", "said": str(fault)})

    def on_tiles(self, which):
        """Send images as grey bytes, each (side, side)."""
        self.send({"do": "tiles", "which": which}, [self.tiles(which)])

    def tiles(self, which):
        """Return images as the bytes of grey pictures."""
        return grey(shrunk(np.stack([np.asarray(self.images[i]) for i in which]), self.step)).tobytes()


def shrunk(images, step):
    """Return images (n, rows, columns) of which a pixel is the mean of `step` × `step`; the border goes on as it is."""
    if step == 1:
        return images
    beyond = [(0, -side % step) for side in images.shape[1:]]
    images = np.pad(images, [(0, 0), *beyond], mode="edge")
    rows, columns = (side // step for side in images.shape[1:])
    squares = images.reshape(len(images), rows, step, columns, step)
    return squares.mean(axis=(2, 4), dtype=np.float32).astype(images.dtype)


def script(*names):
    """Return the module of a widget: what all share, and its own files."""
    parts = ("elements.js", "live.js", *names)
    return "\n".join((_FOLDER / part).read_text(encoding="utf-8") for part in parts)
