"""What the live widgets share: a module of JavaScript and a style, messages, and pixels that go out when they are asked for.

Nothing heavy is sent before a page asks, so that a notebook that is executed without one carries none of it.
"""

from pathlib import Path

import anywidget
import numpy as np

from temlib.figures.base import grey, reduced
from temlib.files import InputError

_FOLDER = Path(__file__).parent


class Live(anywidget.AnyWidget):
    """A widget whose script asks by messages `{"do": name, …}`, which the methods `on_<name>` answer."""

    _css = (_FOLDER / "live.css").read_text(encoding="utf-8")

    def __init__(self, images):
        self.images = images
        shown, self.step = reduced(np.asarray(images[:1]))
        self.side = shown.shape[-1]
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
        return grey(reduced(np.stack([np.asarray(self.images[i]) for i in which]))[0]).tobytes()


def both(widget, page, words):
    """Return the output of a widget: live where there is a front end, else the HTML `page`, else a few words."""
    live = widget._repr_mimebundle_()
    live = live[0] if isinstance(live, tuple) else live
    return live | {"text/html": page, "text/plain": words}


def script(*names):
    """Return the module of a widget: what all share, and its own files."""
    parts = ("elements.js", "live.js", *names)
    return "\n".join((_FOLDER / part).read_text(encoding="utf-8") for part in parts)
