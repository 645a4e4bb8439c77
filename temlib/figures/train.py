"""Pictures of notebook 3: architectures and training."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from temlib import train
from temlib.figures.base import Note, Picture, bands, dots, grid, on_axes
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
        return Note(["No network is compared."], kind="")
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
        on_axes(draw, "network", across=1, width=8, height=1.6, legend="upper right", **label, **limits),
        f"Rows of boxes, one per layer, for {', '.join(described)}: maps shrink from left to right while their channels grow.",
        "Height: side of the map in pixels; width: number of channels, on a logarithmic scale.",
    )


def outlines(images, labels, *, pixel_nm=np.nan, most=12):
    """Show what `svm_thesis` measures: the outline on particles, and the edge density profile of each class.

    Of the prepared `images`, (n, size, size), and their `labels`, at most `most` are shown, evenly over the classes;
    profiles are means over at most 50 of each class.
    """
    labels = np.asarray(labels)
    by_class = {name: np.flatnonzero(labels == name)[:50] for name in sorted(set(labels), key=natural)}
    shown = np.concatenate([rows[: max(1, most // len(by_class))] for rows in by_class.values()])
    parts, share = [], np.linspace(0, train.REACH, train.POINTS)
    for name, rows in by_class.items():
        profiles = train.thesis(images[rows]).filter(like="edge_density").to_numpy()
        error = profiles.std(0) / np.sqrt(len(rows))
        parts.append(pd.DataFrame({"class": name, "share": share, "mean": profiles.mean(0), "error": error}))
    frame = pd.concat(parts, ignore_index=True)

    def draw(frame):
        down = -(-len(shown) // 6)
        figure = Figure(figsize=(9.6, 1.85 * down + 3), layout="constrained")
        above, below = figure.subfigures(2, 1, height_ratios=[1.85 * down, 3])
        cells = [(images[i], labels[i]) for i in shown]
        for axis, i in zip(grid(cells, 6, pixel_nm=pixel_nm, bars="all", figure=above)[1], shown):
            axis.contour(train.outline(images[i : i + 1])[0], levels=[0.5], colors="C4", linewidths=1.2)
        axis = below.subplots()
        low, high = frame["mean"] - 2 * frame["error"], frame["mean"] + 2 * frame["error"]
        bands(axis, frame.assign(low=low, high=high), "share", "mean", by="class")
        axis.axvline(1, color="black", lw=1, ls="--")
        axis.set(xlabel="distance from the centre, as a fraction of the outline's", ylabel="edge density")
        axis.legend()
        return figure

    sizes = ", ".join(f"{len(rows)} {name}" for name, rows in by_class.items())
    return Picture(
        frame,
        draw,
        f"{len(shown)} particles with the outline found in each; below, the mean edge density profile of each class.",
        "The outline from which area, circularity and moments are taken. Edge density is the gradient relative to the image's mean gradient; "
        f"means over n = {sizes} particles, bands: ± 2 standard errors, dashed: the outline.",
    )


def learning_curves(history):
    """Draw training and validation loss against epochs, the mean over folds with a band from the lowest to the highest."""
    if history.empty:
        return Note(["No network was trained."], kind="")
    frame = history.melt(["model", "fold", "epoch"], ["loss", "validation_loss"], "kind", "value").dropna()
    # One early epoch with a loss of 3 would flatten all that matters.
    highest = min(1.05 * frame["value"].max(), 2 * np.log(3))

    def draw(axis, part):
        sns.lineplot(part, x="epoch", y="value", hue="kind", errorbar=("pi", 100), legend=False, ax=axis)
        for line, name in zip(axis.lines, ["training", "validation"]):
            line.set_label(name)
        axis.xaxis.get_major_locator().set_params(integer=True)

    look = {"xlabel": "epoch", "ylabel": "loss", "legend": "best", "ylim": (0, highest)}
    return Picture(
        frame,
        on_axes(draw, "model", height=3, share=True, **look),
        "Training and validation loss against epochs for each network.",
        f"Lines: mean of n = {frame['fold'].nunique()} folds; bands: their range, cut off at 2.2. The training loss is the cross-entropy of "
        "augmented particles with smoothed labels, so it cannot reach 0; in the validation loss all classes count equally, and weights "
        "are averaged where the recipe averages them.",
    )


def descriptors(table):
    """Draw which groups of descriptors an SVM rests on: `model, fold, descriptor, loss` of balanced accuracy."""
    if table.empty:
        return Note(["No SVM was trained."], kind="notice")
    means = table.groupby(["model", "descriptor"], sort=False)["loss"].mean()

    def draw(axis, part):
        order = part.groupby("descriptor")["loss"].mean().sort_values(ascending=False).index
        look = {"color": "C5", "saturation": 1, "capsize": 0.3, "errorbar": "sd"}
        sns.barplot(part, x="loss", y="descriptor", order=order, ax=axis, **look)
        axis.locator_params(axis="x", nbins=5)

    words = ", ".join(f"{means[name].idxmax()} in {name}" for name in table["model"].unique())
    size = {"across": 2, "width": 4.6, "height": 1 + 0.3 * table["descriptor"].nunique()}
    return Picture(
        table,
        on_axes(draw, "model", xlabel="loss of balanced accuracy when permuted", **size),
        f"Bars: how much balanced accuracy is lost when a group of descriptors is permuted; most for {words}.",
        f"Permutation importance on held-out particles, mean over n = {table['fold'].nunique()} folds; lines: standard deviation.",
    )


def pareto(worth):
    """Draw balanced accuracy against training time, prediction time and number of weights, from `evaluate.cost_table`."""
    models = list(worth["model"])

    def draw(axis, part):
        dots(axis, part, "cost", "balanced accuracy", by="model", names=models)
        axis.set_xlim(left=0)

    look = {"across": 3, "width": 3.6, "share": True, "legend": "outside", "ylabel": "balanced accuracy"}
    plot, scores = on_axes(draw, "kind", **look), ["model", "balanced accuracy", "low", "high"]
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
            axis.scatter(place, rows["right"], s=6 + rows["particles"] / 3, color=f"C{k}", alpha=0.75, lw=0)
            worst = rows["right"].argmin()
            label = f" {rows['micrograph'].iloc[worst]}"
            axis.text(place[worst], rows["right"].iloc[worst], label, va="top", fontsize=7)
        axis.set_xticks(range(len(models)), models, fontsize=8)
        axis.set_xlim(-0.5, len(models) - 0.3)

    n = int(scores["particles"].sum() / len(models))
    return Picture(
        scores,
        on_axes(draw, width=min(2 + 1.7 * len(models), 12), height=3.4, ylabel="share predicted correctly"),
        "Points, one per micrograph, of the share that each model predicts correctly, with the worst one named.",
        f"Held-out particles, n = {n:,} in {scores['micrograph'].nunique()} micrographs; larger points stand for more particles.",
    )
