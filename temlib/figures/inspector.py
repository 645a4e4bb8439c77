"""Thousands of particles to look through in JupyterLab: in a grid, on their micrographs, and by a threshold that moves."""

from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import stats

from temlib import data
from temlib.figures.base import COLOURS, LIMIT, grey, reduced
from temlib.figures.explore import averaged
from temlib.figures.live import Live, both, script
from temlib.files import natural

LARGEST = 20_000  # particles that a page holds; their small pictures take 20 MB
SMALL_PX = 32  # rows and columns of the copies that are there before own pixels come
KEPT = 8  # micrographs in memory
# Of t, for intervals of 95 % by 2 to 200 micrographs, as the script of the threshold wants them.
QUANTILES = stats.t.isf(0.025, np.arange(1, 200)).round(3).tolist()


class Inspector:
    """Particles to filter, order, open and find on their micrographs, and what each threshold would give.

    In JupyterLab a click opens a particle: its radial profile, what all models say, where a network looked, and its place.
    Whatever shows no widgets, such as a report, shows the twin.

    Parameters
    ----------
    dataset : data.Particles
    task : str
        The column of labels.
    predictions : DataFrame, optional
        Rows of ``predictions.csv``, of which those that were held out count, or what `Bundle.predict` returns.
    primary : str
        The model that is shown first.
    examples : evaluate.Examples, optional
        Attention maps of some particles.
    unsure : list of str
        Labels that are no class.
    twin : object, optional
        A figure that a report shows instead; without one it shows nothing here.
    """

    def __init__(self, dataset, task, *, predictions=None, primary="", examples=None, unsure=(), twin=None):
        self.images, self.pixel_nm, self.examples, self.twin = (
            dataset.images,
            dataset.pixel_nm,
            examples,
            twin,
        )
        self.dataset, self.table = dataset, dataset.table.head(LARGEST).reset_index(drop=True)
        self.origin = dataset.cut_from.head(LARGEST).reset_index(drop=True)
        self.sources = sorted(self.origin.dropna().unique(), key=natural)
        self.predictions = _held_out(predictions)
        label = self.table[task] if task in self.table else pd.Series(None, self.table.index, dtype=object)
        self.label, self.definite = label, data.is_definite(label, unsure)
        known = set(label[self.definite].astype(str))
        self.primary = primary
        for name in self.predictions:
            known |= {name[2:]} if name.startswith("p_") else set()
        known |= set(self.predictions.get("predicted", pd.Series(dtype=object)).dropna())
        self.classes = sorted(known, key=natural)

    @classmethod
    def of_copies(cls, table, examples, primary):
        """Return one of the copies of held-out particles that a run keeps; `table` are the predictions."""
        rows = table.drop_duplicates("particle")
        pictured = rows["particle"].isin(set(examples.images))
        rows, names = pd.concat([rows[pictured], rows[~pictured]]), rows["particle"][pictured]
        rows = rows.reset_index(drop=True)
        if "micrograph" not in rows:
            rows["micrograph"] = rows["particle"]
        images = (
            np.stack([examples.images[name] for name in names])
            if len(names)
            else np.zeros((0, 1, 1), np.uint8)
        )
        copies = data.Particles(rows, images, "", (), "", examples.pixel_nm, False)
        # The threshold is about all of them, the grid about those of which there is a picture, which come first.
        return cls(copies, "truth", predictions=table, primary=primary, examples=examples)

    def content(self):
        """Return what a page gets at once, plain JSON values, and of each model the probabilities as bytes."""
        names, table, part = self.table["particle"].tolist(), self.table, self.predictions
        micrographs = sorted(table["micrograph"].astype(str).unique(), key=natural)
        models, probabilities = [], []
        present = list(dict.fromkeys(part["model"]))
        for model in sorted(present, key=lambda name: (name != self.primary, present.index(name))):
            own = (
                part[part["model"] == model].drop_duplicates("particle").set_index("particle").reindex(names)
            )
            p = own.reindex(columns=[f"p_{name}" for name in self.classes]).astype(np.float32).fillna(-1)
            models.append([model, self._codes(own["predicted"])])
            probabilities.append(np.ascontiguousarray(p.to_numpy()).tobytes())
        boxes, source = self._places()
        first = part.drop_duplicates("particle").set_index("particle").reindex(names)
        fold = first["fold"] if "fold" in first else table.get("fold", pd.Series(None, table.index))
        refused = first["refused"].eq(True).tolist() if "refused" in first else None
        nm, more = self.pixel_nm, len(self.dataset)
        return {
            "particles": names,
            "pictured": min(len(names), len(self.images)),
            "said": f"Shown are the first {LARGEST:,} of {more:,}." if more > LARGEST else "",
            "classes": self.classes,
            "colours": [COLOURS[k % len(COLOURS)] for k in range(len(self.classes))],
            "truth": self._codes(self.label.where(self.definite)),
            "aside": [None if pd.isna(x) or sure else str(x) for x, sure in zip(self.label, self.definite)],
            "micrographs": micrographs,
            "micrograph": pd.Categorical(table["micrograph"].astype(str), micrographs).codes.tolist(),
            "fold": [None if pd.isna(x) else str(x).removesuffix(".0") for x in fold],
            "refused": refused and [int(x) for x in refused],
            "models": models,
            "boxes": boxes,
            "source": source,
            "sources": self.sources,
            "pixel_nm": nm if np.isfinite(nm) else None,
            "t": QUANTILES,
        }, probabilities

    def _codes(self, column):
        """Return the place of each class of a column in `classes`, −1 for none."""
        return pd.Categorical(column.astype(object), self.classes).codes.tolist()

    def _places(self):
        """Return each particle's box in its micrograph (row and column of its corner, side), and which of `sources` that is."""
        if not self.sources:
            return [], [-1] * len(self.table)
        side = self.table["box_px"]
        # The centre is pixel box // 2 of the crop, as it is cut.
        corner = [np.floor(self.table[name] + 0.5) - side // 2 for name in ("row", "column")]
        boxes = np.stack([*corner, side], axis=1)
        codes = pd.Categorical(self.origin, self.sources).codes.tolist()
        return np.where(np.isfinite(boxes), boxes, 0).tolist(), codes

    def _repr_html_(self):
        return self.twin._repr_html_() if self.twin is not None else ""

    def _repr_mimebundle_(self, include=None, exclude=None):
        return both(Grid(self), self._repr_html_(), "Particles to look through.")


def _held_out(predictions):
    """Return the rows of predictions that were held out, with a column `model`."""
    if predictions is None:
        return pd.DataFrame(columns=["particle", "model", "predicted"])
    if "role" in predictions:
        predictions = predictions[predictions["role"].isin(["test", "unsure"])]
    return predictions if "model" in predictions else predictions.assign(model="model")


class Grid(Live):
    """The live half of `Inspector`."""

    _esm = script("threshold.js", "inspector.js")

    def __init__(self, inspector):
        self.of = inspector
        super().__init__(inspector.images)
        self.read = lru_cache(KEPT)(self._read)

    def on_begin(self):
        """Send the table of all particles."""
        content, buffers = self.of.content()
        small = reduced(np.asarray(self.images[:1]), SMALL_PX)[0].shape[-1]
        nm = content["pixel_nm"] and content["pixel_nm"] * self.step
        self.send({"do": "begin", **content, "side": self.side, "small": small, "pixel_nm": nm}, buffers)

    def on_small(self, start, stop):
        """Send small copies of the particles from `start` to `stop`."""
        small = grey(reduced(np.asarray(self.images[start:stop]), SMALL_PX)[0])
        self.send({"do": "small", "start": start, "stop": stop}, [small.tobytes()])

    def on_open(self, i):
        """Send a particle's radial profile, and maps of where networks looked."""
        image = np.asarray(self.images[i])
        if image.dtype == np.uint8:
            image = image * (2 * LIMIT / 255) - LIMIT
        looked, maps, kept = [], [], self.of.examples
        rows = kept.table if kept is not None else pd.DataFrame(columns=["particle", "model"])
        for row in np.flatnonzero(rows["particle"] == self.of.table["particle"].iloc[i]):
            look = np.asarray(kept.maps["gradcam"][row], float)
            looked.append(rows["model"].iloc[row])
            maps.append((look / (look.max() or 1) * 255).astype(np.uint8))
        nm = self.of.pixel_nm
        about = {"profile": _profile(image), "step_nm": nm if np.isfinite(nm) else None}
        about |= {"looked": looked, "map_side": len(maps[0]) if maps else 0}
        self.send({"do": "open", "i": i, **about}, [look.tobytes() for look in maps])

    def on_micrograph(self, k):
        """Send a micrograph, averaged to a size that can be shown."""
        image, step = self.read(k)
        rows, columns = image.shape
        self.send(
            {"do": "micrograph", "k": k, "rows": rows, "columns": columns, "step": step}, [image.tobytes()]
        )

    def _read(self, k):
        image, step = averaged(self.of.dataset.micrograph(self.of.sources[k]))
        return grey(image, *np.nanpercentile(image, (1, 99))), step


def _profile(image):
    """Return the mean intensity on rings of a pixel around the centre."""
    rows, columns = np.indices(image.shape) - (np.array(image.shape)[:, None, None] - 1) / 2
    ring = np.hypot(rows, columns).astype(int).ravel()
    count = image.shape[0] // 2
    total, area = np.bincount(ring, image.ravel())[:count], np.bincount(ring)[:count]
    return np.round(total / area, 3).tolist()
