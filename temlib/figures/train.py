"""Pictures of notebook 3: architectures and training."""

import numpy as np
import pandas as pd

from temlib import train
from temlib.figures.base import COLOURS, Note, Picture, clear, figure_of, scale_bar
from temlib.figures.evaluate import COLUMNS


def descriptors(table):
    """Draw which groups of descriptors an SVM rests on, from `svm.importance`."""
    models = list(table["model"].unique())

    def draw(table):
        tall = table.groupby("model")["descriptor"].nunique().max()
        figure, axes = figure_of(
            1, len(models), width=1 + 4.2 * len(models), height=1 + 0.3 * tall, squeeze=False
        )
        for axis, model in zip(axes[0], models):
            part = table[table["model"] == model].groupby("descriptor", sort=False)["loss"]
            mean = part.agg(["mean", "std"]).sort_values("mean")
            axis.barh(
                mean.index,
                mean["mean"],
                xerr=mean["std"].fillna(0),
                color="#56B4E9",
                ecolor="black",
                capsize=3,
            )
            axis.set(title=model, xlabel="loss of balanced accuracy when permuted")
        return figure

    if table.empty:
        return Note(["No SVM was trained."], "notice")
    best = {m: table[table["model"] == m].groupby("descriptor")["loss"].mean().idxmax() for m in models}
    words = ", ".join(f"{name} by {group}" for name, group in best.items())
    return Picture(
        table,
        draw,
        f"Bars: how much balanced accuracy is lost when a group of descriptors is permuted; most in {words}.",
        "Permutation importance on held-out particles, mean over folds; lines: standard deviation.",
    )


def outlines(images, labels, *, pixel_nm=np.nan, most=12):
    """Show what `svm_thesis` measures: the outline on particles, and the edge density profile of each class.

    Parameters
    ----------
    images : (n, size, size) ndarray
        Prepared images.
    labels : (n,) array_like of str
    pixel_nm : float
    most : int
        Particles shown, evenly over the classes; profiles are means over at most 50 of each class.
    """
    labels = np.asarray(labels)
    names = sorted(set(labels))
    by_class = {name: np.flatnonzero(labels == name)[:50] for name in names}
    shown = np.concatenate([by_class[name][: max(1, most // len(names))] for name in names])
    profiles = {
        name: train.thesis(images[rows]).filter(like="edge_density").to_numpy()
        for name, rows in by_class.items()
    }
    share = np.linspace(0, train.REACH, train.POINTS)
    frame = pd.concat(
        [
            pd.DataFrame(
                {"class": name, "share": share, "mean": p.mean(0), "error": p.std(0) / np.sqrt(len(p))}
            )
            for name, p in profiles.items()
        ],
        ignore_index=True,
    )

    def draw(frame):
        rows = int(np.ceil(len(shown) / COLUMNS))
        figure, axes = figure_of(
            rows + 1,
            COLUMNS,
            width=9.6,
            height=1.85 * rows + 3,
            squeeze=False,
            height_ratios=[1] * rows + [1.5],
        )
        grid = axes[0, 0].get_gridspec()
        clear(axes)
        for axis, i in zip(axes[:-1].ravel(), shown):
            axis.imshow(images[i], cmap="gray", vmin=-3, vmax=3)
            axis.contour(train.outline(images[i : i + 1])[0], levels=[0.5], colors="#E69F00", linewidths=1.2)
            scale_bar(axis, images.shape[-1], pixel_nm)
            axis.set_title(labels[i], fontsize=7)
        below = figure.add_subplot(grid[rows, :])
        for (name, part), colour in zip(frame.groupby("class", sort=False), COLOURS):
            below.plot(part["share"], part["mean"], color=colour, label=name)
            below.fill_between(
                part["share"],
                part["mean"] - 2 * part["error"],
                part["mean"] + 2 * part["error"],
                color=colour,
                alpha=0.15,
                lw=0,
            )
        below.axvline(1, color="black", lw=1, ls="--")
        below.set(xlabel="distance from the centre, in units of the outline's", ylabel="edge density")
        below.legend(fontsize=8)
        return figure

    sizes = ", ".join(f"{name} {len(rows)}" for name, rows in by_class.items())
    return Picture(
        frame,
        draw,
        f"{len(shown)} particles with the outline found in each; below, the mean edge density profile of each class.",
        f"Outline from which area, circularity and moments are taken. Edge density: gradient over the image's mean; bands: "
        f"± 2 standard errors; means over {sizes} particles; dashed: the outline.",
    )


# What is drawn of a network: layers that hold kernels, and its pooling.
_DRAWN = {"Conv": COLOURS[0], "Pool": COLOURS[4], "Dense": COLOURS[2]}


def architectures(described):
    """Draw networks side by side: a box a layer, as high as its map, as wide as its channels.

    Parameters
    ----------
    described : dict of str to DataFrame
        For each network what `networks.describe` gives.
    """
    parts = []
    for name, table in described.items():
        rows = table[table["kind"].str.contains("|".join(_DRAWN))]
        shapes = [shape if len(shape) == 3 else (1, 1, shape[-1]) for shape in rows["output_shape"]]
        sides, _, channels = np.array(shapes).T
        parts.append(
            pd.DataFrame({"network": name, "layer": rows["layer"], "side_px": sides, "channels": channels})
        )
    frame = pd.concat(parts, ignore_index=True)

    def draw(frame):
        figure, axes = figure_of(
            len(described), 1, width=8, height=1.5 * len(described) + 0.4, squeeze=False, sharex=True
        )
        for axis, (name, rows) in zip(axes[:, 0], frame.groupby("network", sort=False)):
            left = 0.0
            for row in rows.itertuples():
                width = np.log2(row.channels + 1)
                colour = next(c for kind, c in _DRAWN.items() if kind in row.layer)
                axis.bar(
                    left,
                    row.side_px,
                    width,
                    bottom=-row.side_px / 2,
                    align="edge",
                    color=colour,
                    ec="white",
                    lw=1,
                )
                left += width
            axis.set(title=name, ylabel="map, px")
            axis.set_ylim(-frame["side_px"].max() / 2 - 1, frame["side_px"].max() / 2 + 1)
            axis.set_yticks(
                [-frame["side_px"].max() / 2, frame["side_px"].max() / 2], ["", f"{frame['side_px'].max()}"]
            )
            axis.set_xticks([])
            axis.grid(False)
        handles = [axes[0, 0].bar(0, 0, color=c) for c in _DRAWN.values()]
        axes[0, 0].legend(handles, ["convolution", "pooling", "dense"], fontsize=8, loc="upper right")
        axes[-1, 0].set_xlabel("layers from the image (left) to the classes; width: log2 of the channels")
        return figure

    return Picture(
        frame,
        draw,
        f"Rows of boxes, one a layer, for {', '.join(described)}: maps shrink from left to right while "
        "their channels grow.",
        "Height: side of the map in pixels; width: channels, on a logarithmic scale.",
    )


def learning_curves(history):
    """Draw training and validation loss against epochs, the mean over folds with a band from the least to the most."""
    frame = history.melt(["model", "fold", "epoch"], ["loss", "validation_loss"], "kind", "value").dropna()

    def draw(frame):
        models = frame["model"].unique()
        figure, axes = figure_of(1, len(models), width=4 * len(models), height=3, squeeze=False, sharey=True)
        for axis, name in zip(axes[0], models):
            for (kind, part), colour in zip(frame[frame["model"] == name].groupby("kind"), COLOURS):
                over = part.groupby("epoch")["value"].agg(["mean", "min", "max"])
                axis.plot(
                    over.index, over["mean"], color=colour, label={"loss": "training"}.get(kind, "validation")
                )
                axis.fill_between(over.index, over["min"], over["max"], color=colour, alpha=0.2)
            axis.set(title=name, xlabel="epoch")
        # One early epoch with a loss of 3 would flatten all that matters.
        axes[0, 0].set_ylim(0, min(1.05 * frame["value"].max(), 2 * np.log(3)))
        axes[0, 0].set_ylabel("loss")
        axes[0, 0].legend(fontsize=8)
        return figure

    return Picture(
        frame,
        draw,
        "Training and validation loss against epochs for each network.",
        f"Lines: mean over {frame['fold'].nunique()} folds; bands: least to most, cut off at 2.2. The training loss is "
        "cross-entropy on augmented particles, smoothed, so that it does not reach 0; the validation loss is "
        "cross-entropy with every class weighing the same, of averaged weights where the recipe averages.",
    )


def pareto(worth):
    """Draw balanced accuracy against training time, prediction time and number of weights.

    Parameters
    ----------
    worth : DataFrame
        From `misfits.worth`.
    """
    costs = {
        "training_s": "training a fold, s",
        "prediction_ms_per_particle": "prediction, ms a particle",
        "thousand_weights": "weights, thousands",
    }

    worth = worth.assign(thousand_weights=worth["weights"] / 1000)

    def draw(frame):
        figure, axes = figure_of(1, 3, width=10, height=3.2, sharey=True)
        for axis, (column, label) in zip(axes, costs.items()):
            for k, row in enumerate(frame.to_dict("records")):
                if not np.isfinite(row[column]):
                    continue
                value = row["balanced accuracy"]
                error = [[value - row["low"]], [row["high"] - value]]
                error = error if np.isfinite(error).all() else None
                axis.errorbar(
                    row[column],
                    value,
                    yerr=error,
                    fmt="o",
                    capsize=3,
                    color=COLOURS[k % 7],
                    label=row["model"],
                )
            axis.set(xlabel=label)
            axis.set_xlim(left=0)
        axes[0].set_ylabel("balanced accuracy")
        axes[0].legend(fontsize=8)
        return figure

    return Picture(
        worth,
        draw,
        "Balanced accuracy of each model against three costs: training time, prediction time, weights; "
        "up and to the left is better.",
        "Held-out particles with 95 % intervals by micrograph; times are means over folds on this machine. An SVM has "
        "no weights to count.",
    )


def micrograph_scores(scores):
    """Draw the share of right calls on each micrograph, a column of points a model.

    Parameters
    ----------
    scores : DataFrame
        From `misfits.by_micrograph`.
    """

    def draw(frame):
        models = list(frame["model"].unique())
        figure, axis = figure_of(width=2 + 1.7 * len(models), height=3.4)
        for k, name in enumerate(models):
            rows = frame[frame["model"] == name].reset_index(drop=True)
            place = k + np.linspace(-0.28, 0.28, len(rows)) if len(rows) > 1 else np.array([k])
            axis.scatter(
                place, rows["right"], s=6 + rows["particles"] / 3, color=COLOURS[k % 7], alpha=0.75, lw=0
            )
            worst = rows.loc[rows["right"].idxmin()]
            axis.annotate(
                str(worst["micrograph"]),
                (place[rows["right"].idxmin()], worst["right"]),
                fontsize=7,
                xytext=(3, -9),
                textcoords="offset points",
            )
        axis.set_xticks(range(len(models)), models)
        axis.set(ylabel="share of right calls", xlim=(-0.5, len(models) - 0.3))
        return figure

    return Picture(
        scores,
        draw,
        "Points, one a micrograph, of the share of right calls by each model, the worst one named.",
        f"Held-out particles, {int(scores['particles'].sum() / scores['model'].nunique()):,} in "
        f"{scores['micrograph'].nunique()} micrographs; larger points hold more particles.",
    )
