"""The particles of an evaluation to look through, and a threshold to move: in a page that can be mailed.

All of it needs a script, which stands in the page and asks nothing of the network. Without one it is not there, and the
rest of the page is as it is.
"""

import base64
import hashlib
import io
import json
from collections import namedtuple
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader
from PIL import Image

from temlib.figures.inspector import QUANTILES, Inspector

# Pictures that are carried, and particles whose numbers are; 1,000 pictures of 64 pixels take about 1.6 MB of a page.
PICTURES, PARTICLES = 1000, 20_000
QUALITY = 65  # of WebP


class Browser:
    """Held-out particles that can be filtered, ordered and enlarged, and what each threshold would give.

    Parameters
    ----------
    table : DataFrame
        Predictions, a row per particle and model; of the role "test" where there is a column `role`. Columns particle,
        model, truth, predicted, p_<class>, and perhaps micrograph.
    examples : evaluate.Examples
        Copies of particles, and attention maps of some.
    primary : str
        The model that is shown first.
    """

    def __init__(self, table, examples, primary):
        self.table = table[table["role"] == "test"] if "role" in table else table
        self.examples, self.primary = examples, primary

    def content(self):
        """Return what the page carries, plain JSON values: numbers of all particles, in the order of the first model."""
        columns = [name for name in self.table if name.startswith("p_")]
        classes = sorted({*self.table["truth"], *self.table["predicted"]} | {name[2:] for name in columns})
        wide = self.table.drop_duplicates(["particle", "model"]).pivot(index="particle", columns="model")
        names = list(dict.fromkeys(self.table["particle"]))[:PARTICLES]
        first = self.table.drop_duplicates("particle").set_index("particle").loc[names]
        micrographs = first.get("micrograph", first.index.to_series()).astype(str)
        mics = list(dict.fromkeys(micrographs))
        models = {}
        for model in dict.fromkeys([self.primary, *self.table["model"]]):
            if ("predicted", model) not in wide:
                continue
            own = wide.xs(model, axis=1, level="model").reindex(names)
            p = own.reindex(columns=[f"p_{name}" for name in classes]).astype(float).to_numpy()
            called = [classes.index(name) if isinstance(name, str) else -1 for name in own["predicted"]]
            models[model] = {"called": called, "p": np.where(np.isnan(p), -1, np.round(p, 3)).tolist()}
        return {
            "classes": classes,
            "models": models,
            "particles": names,
            "micrographs": mics,
            "micrograph": [mics.index(name) for name in micrographs],
            "truth": [classes.index(name) for name in first["truth"]],
            "t": QUANTILES,
        }

    def pictures(self, names):
        """Return the sprite of the particles' copies, which of `names` are in it and where, and that of attention maps.

        The first is the same for each task of the same particles, so that one file holds it once.
        """
        kept = sorted(self.examples.images)
        kept = kept[:: -(-len(kept) // PICTURES) or 1]
        at, places = {name: k for k, name in enumerate(names)}, {name: k for k, name in enumerate(kept)}
        shown = {k: places[name] for name, k in at.items() if name in places}
        looks, maps = [], {}
        for row, (name, model) in enumerate(
            zip(self.examples.table["particle"], self.examples.table["model"])
        ):
            if name in at and name in places:
                look = np.asarray(self.examples.maps["gradcam"][row], float)
                maps.setdefault(model, {})[at[name]] = len(looks)
                looks.append((look / (look.max() or 1) * 255).astype(np.uint8))
        sprites = [Sprite.of([self.examples.images[name] for name in kept]), Sprite.of(looks)]
        return sprites, shown, maps

    def _repr_mimebundle_(self, include=None, exclude=None):
        live = Inspector.of_copies(self.table, self.examples, self.primary)._repr_mimebundle_()
        return live | {"text/html": self._repr_html_()}

    def _repr_html_(self):
        content = self.content()
        sprites, shown, maps = self.pictures(content["particles"])
        pixel_nm = self.examples.pixel_nm
        content |= {"shown": shown, "maps": maps, "pixel_nm": pixel_nm if np.isfinite(pixel_nm) else None}
        content["sprites"] = [(sprite.key, sprite.side, sprite.across) for sprite in sprites]
        templates = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
        # Within a script only the end of one would be read as markup.
        text = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
        return templates.get_template("browser.html.j2").render(content=text, sprites=sprites)


class Sprite(namedtuple("Sprite", "key, side, across, address")):
    """Equal grey images in rows of `across` as one WebP."""

    @classmethod
    def of(cls, tiles):
        """Return the sprite of images, each (side, side) of uint8."""
        if not tiles:
            return cls("", 1, 1, "")
        across, side = int(np.ceil(np.sqrt(len(tiles)))), len(tiles[0])
        sheet = np.zeros((-(-len(tiles) // across) * side, across * side), np.uint8)
        for k, tile in enumerate(tiles):
            row, column = divmod(k, across)
            sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = tile
        buffer = io.BytesIO()
        Image.fromarray(sheet).save(buffer, "webp", quality=QUALITY, method=4)
        key = hashlib.sha256(buffer.getvalue()).hexdigest()[:16]
        address = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
        return cls(key, side, across, address)
