"""Pictures of notebook 3: architectures and training."""

import numpy as np
import pandas as pd
from skimage.measure import find_contours

from temlib import train
from temlib.figures.base import (
    COLOURS,
    MODELS,
    MOST,
    Note,
    Picture,
    Table,
    bands,
    dots,
    grid,
    named,
    on_axes,
    tall,
    wrapped,
)
from temlib.files import natural

# What is drawn of a network: layers that hold kernels, and its pooling.
_DRAWN = {"Conv": ("convolution", "C0"), "Pool": ("pooling", "C4"), "Dense": ("dense", "C2")}
_COSTS = {
    "training_s": "training a fold, s",
    "prediction_ms_per_particle": "prediction, ms/particle",
    "thousand_weights": "weights, thousands",
}


def architectures(described):
    """Draw networks from their `train.describe`: one box per layer, as high as its map, as wide as its channels."""
    if not described:
        return Note([], absent="No network is compared.")
    table = pd.concat(described, names=["network"]).reset_index("network")
    table = table[table["kind"].str.contains("|".join(_DRAWN))].reset_index(drop=True)
    shapes = [shape if len(shape) == 3 else (1, 1, shape[-1]) for shape in table["output_shape"]]
    sides, _, channels = np.array(shapes).T
    frame = table[["network", "layer"]].assign(side_px=sides, channels=channels)
    half, widths = frame["side_px"].max() / 2, np.log2(frame["channels"] + 1)
    widest = widths.groupby(frame["network"]).sum().max()

    def draw(axis, rows):
        width = widths[rows.index]
        left = width.cumsum() - width
        for kind, (name, colour) in _DRAWN.items():
            of = rows["layer"].str.contains(kind)
            side, look = rows["side_px"][of], {"label": name, "color": colour, "ec": "white"}
            axis.bar(left[of], side, width[of], bottom=-side / 2, align="edge", **look)
        axis.set(xticks=[], yticks=[-half, half], yticklabels=["", f"{2 * half:g}"])
        axis.grid(False)

    label = {"xlabel": "layers from the image (left) to the classes", "ylabel": "map, px"}
    limits = {"xlim": (-1, widest + 1), "ylim": (-half - 1, half + 1)}
    return Picture(
        frame,
        on_axes(draw, "network", height=1.6, **label, **limits),
        f"Rows of boxes, one per layer, for {', '.join(described)}: maps shrink from left to right while their channels grow.",
        "Height: side of the map in pixels; width: number of channels, on a logarithmic scale.",
    )


def outlines(images, labels, *, pixel_nm=np.nan, most=12):
    """Show the outline that `svm_thesis` measures, on at most `most` of the prepared `images`, evenly over their `labels`."""
    by_class = _by_class(labels)
    rows = [(name, i) for name, some in by_class.items() for i in some[: max(1, most // len(by_class))]]

    def draw(frame):
        groups = []
        for name, part in frame.groupby("class", sort=False):
            cells = [(images[i], "", _contour(train.outline(images[i : i + 1])[0])) for i in part["row"]]
            groups.append((name, cells))
        return grid(groups, pixel_nm=pixel_nm)

    return Picture(
        pd.DataFrame(rows, columns=["class", "row"]),
        draw,
        f"{len(rows)} particles, each with the outline that was found.",
        f"The outline from which area, circularity and moments are taken; n = {len(rows)} particles.",
    )


def _contour(inside):
    """Return the SVG of the border of a mask, in the pixels of its image."""
    step = -(-max(inside.shape) // MOST)  # an image is shown with fewer pixels
    lines = (
        " ".join(f"{x:.1f},{y:.1f}" for y, x in (line + 0.5) / step) for line in find_contours(inside, 0.5)
    )
    look = 'fill="none" stroke="#E69F00" stroke-width="1.2" vector-effect="non-scaling-stroke"'
    return "".join(f'<polyline points="{points}" {look}/>' for points in lines)


def _by_class(labels):
    """Return the rows of the first 50 particles of each class, in order of its name."""
    labels = np.asarray(labels)
    return {name: np.flatnonzero(labels == name)[:50] for name in sorted(set(labels), key=natural)}


def edge_profiles(images, labels):
    """Draw the mean edge density profile of each class of the prepared `images`, over at most 50 particles of it."""
    parts, share = [], np.linspace(0, train.REACH, train.POINTS)
    by_class = _by_class(labels)
    for name, rows in by_class.items():
        profiles = train.thesis(images[rows]).filter(like="edge_density").to_numpy()
        error = profiles.std(0) / np.sqrt(len(rows))
        parts.append(pd.DataFrame({"class": name, "share": share, "mean": profiles.mean(0), "error": error}))

    def draw(axis, frame):
        low, high = frame["mean"] - 2 * frame["error"], frame["mean"] + 2 * frame["error"]
        bands(axis, frame.assign(low=low, high=high), "share", "mean", by="class", palette=COLOURS)
        axis.axvline(1, color="black", lw=1, ls="--")

    sizes = ", ".join(f"{len(rows)} {name}" for name, rows in by_class.items())
    words = {"xlabel": "distance from the centre,\nas a fraction of the outline's", "ylabel": "edge density"}
    return Picture(
        pd.concat(parts, ignore_index=True),
        on_axes(draw, **words),
        "Lines of the mean edge density against the distance from the centre, one for each class.",
        "Edge density is the gradient relative to the image's mean gradient; "
        f"means over n = {sizes} particles, bands: ± 2 standard errors, dashed: the outline.",
    )


def learning_curves(history):
    """Draw training and validation loss against epochs, the mean over folds with a band from the lowest to the highest."""
    if history.empty:
        return Note([], absent="No network was trained.")
    frame = history.melt(["model", "fold", "epoch"], ["loss", "validation_loss"], "kind", "value").dropna()
    # One early epoch with a loss of 3 would flatten all that matters.
    highest = min(1.05 * frame["value"].max(), 2 * np.log(3))

    def draw(axis, part):
        for kind, name, style in (("loss", "training", "0.5"), ("validation_loss", "validation", "black")):
            folds = part[part["kind"] == kind].groupby("epoch")["value"].agg(["mean", "min", "max"])
            axis.plot(folds["mean"], color=style, marker="o", ms=3, label=name)  # one epoch has no line
            axis.fill_between(folds.index, folds["min"], folds["max"], color=style, alpha=0.2, lw=0)
        axis.xaxis.get_major_locator().set_params(integer=True)

    look = {"xlabel": "epoch", "ylabel": "loss", "ylim": (0, highest)}
    return Picture(
        frame,
        on_axes(draw, "model", share=True, **look),
        "Training and validation loss against epochs for each network.",
        f"Lines: mean of n = {frame['fold'].nunique()} folds; bands: their range, cut off at 2.2. The training loss is the cross-entropy of "
        "augmented particles with smoothed labels, so it cannot reach 0; in the validation loss all classes count equally, and weights "
        "are averaged where the recipe averages them.",
    )


def training(history, confusion):
    """Return the HTML of a fold that is trained at this moment: its curves so far, and its validation particles.

    `history` is as `cross_validate` returns it, of one model and fold; `confusion` has true classes as rows.
    """
    model = f"{history['model'].iloc[0]}, fold {history['fold'].iloc[0]}"
    curves = learning_curves(history.assign(model=model))
    called = f"validation particles of, called after epoch {history['epoch'].iloc[-1]}"
    return curves._repr_html_() + Table(confusion.rename_axis(called).reset_index())._repr_html_()


def descriptors(table):
    """Draw which groups of descriptors an SVM rests on: `model, fold, descriptor, loss` of balanced accuracy."""
    if table.empty:
        return Note([], absent="No SVM was trained.")
    means = table.groupby(["model", "descriptor"], sort=False)["loss"].mean()

    def draw(axis, part):
        losses = part.groupby("descriptor")["loss"].agg(["mean", "std"]).sort_values("mean", ascending=False)
        axis.barh(range(len(losses)), losses["mean"], 0.7, xerr=losses["std"], color="0.6", lw=0, capsize=2)
        axis.locator_params(axis="x", nbins=5)
        named(axis, losses.index)

    words = ", ".join(f"{means[name].idxmax()} in {name}" for name in table["model"].unique())
    return Picture(
        table,
        on_axes(
            draw,
            "model",
            height=tall(table["descriptor"].unique()),
            xlabel="loss of balanced accuracy\nwhen permuted",
        ),
        f"Bars: how much balanced accuracy is lost when a group of descriptors is permuted; most for {words}.",
        f"Permutation importance on held-out particles, mean over n = {table['fold'].nunique()} folds; lines: standard deviation.",
    )


def pareto(worth):
    """Draw balanced accuracy against training time, prediction time and number of weights, from `evaluate.cost_table`."""
    models = list(worth["model"])

    def draw(axis, part):
        dots(axis, part, "cost", "balanced accuracy", by="model", names=models)
        axis.set_xlim(left=0)

    plot = on_axes(draw, "kind", share=True, ylabel="balanced accuracy")
    scores = ["model", "balanced accuracy", "low", "high"]
    return Picture(
        worth.assign(thousand_weights=worth["weights"] / 1000),
        lambda frame: plot(frame.rename(columns=_COSTS).melt(scores, list(_COSTS.values()), "kind", "cost")),
        "Balanced accuracy of each model against three costs: training time, prediction time, weights; better models lie at the upper left.",
        "Held-out particles, 95 % intervals by micrograph; mean times over folds on this machine. An SVM has no weights to count.",
    )


def micrograph_scores(scores):
    """Draw the share of each micrograph that is predicted correctly, from `Predictions.by_micrograph`."""
    models = list(scores["model"].unique())

    def draw(axis, frame):
        for k, name in enumerate(models):
            rows = frame[frame["model"] == name]
            place = np.linspace(k - 0.3, k + 0.3, len(rows) + 2)[1:-1]
            look = {"color": MODELS[k % 7], "alpha": 0.75, "lw": 0}
            axis.scatter(rows["right"], place, s=6 + rows["particles"] / 3, **look)
            worst = rows["right"].argmin()
            side = "left" if rows["right"].iloc[worst] < 0.5 else "right"
            label = wrapped(rows["micrograph"].iloc[worst], 20, 1)
            axis.text(rows["right"].iloc[worst], k + 0.38, label, ha=side, va="center")
        named(axis, models)
        axis.set_xlim(-0.03, 1.03)

    n = int(scores["particles"].sum() / len(models))
    return Picture(
        scores,
        on_axes(draw, height=tall(models, 0.7), xlabel="share predicted correctly"),
        "Points, one per micrograph, of the share that each model predicts correctly, with the worst one named.",
        f"Held-out particles, n = {n:,} in {scores['micrograph'].nunique()} micrographs; larger points stand for more particles.",
    )
