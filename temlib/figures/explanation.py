"""Pictures of single particles in notebook 4: galleries, attention, and what the SVM measures."""

import numpy as np
import pandas as pd

from temlib import descriptors as descriptors_
from temlib.answers import Words
from temlib.figures.base import COLOURS, Picture, clear, figure_of, scale_bar

COLUMNS = 6  # particles in a row


def cases(examples, table, *, title, most=12):
    """Show particles of a table in its order, each with a line of words.

    Parameters
    ----------
    examples : explain.Examples
        Copies of the particles.
    table : DataFrame
        With columns `particle` and `words`, a title; the first `most` that have a copy are shown.
    title : str
        For the caption: what these particles are.
    """
    frame = table[table["particle"].isin(examples.images.keys())].head(most).reset_index(drop=True)

    def draw(frame):
        rows = max(1, int(np.ceil(len(frame) / COLUMNS)))
        figure, axes = figure_of(rows, COLUMNS, width=9.6, height=2.05 * rows, squeeze=False)
        clear(axes)
        for axis, row in zip(axes.ravel(), frame.itertuples()):
            image = examples.images[row.particle]
            axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            scale_bar(axis, image.shape[0], examples.pixel_nm)
            axis.set_title(row.words, fontsize=7)
        return figure

    if frame.empty:
        why = (
            "there are none"
            if table.empty
            else f"{len(table):,}, but the run keeps no copies of particles (examples.npz)"
        )
        return Words([f"{title}: {why}."], "notice")
    names = ", ".join(frame["particle"].head(4))
    return Picture(frame, draw, f"{len(frame)} particles in grey: {title}; they begin with {names}.",
                   f"{title}; {len(frame)} of {len(table):,} are shown.")  # fmt: skip


def attention(examples, model, truths, *, most=6):
    """Show particles, where the model looked by Grad-CAM and by occlusion, and what shuffled weights would show.

    Parameters
    ----------
    examples : explain.Examples
    model : str
    truths : dict of str to str
        The label of each particle.
    most : int
        Particles, evenly over the sample.
    """
    places = np.flatnonzero((examples.table["model"] == model).to_numpy())
    order = sorted(places, key=lambda i: str(truths.get(examples.table["particle"].iloc[i])))
    chosen = [order[k] for k in np.unique(np.linspace(0, len(order) - 1, most).astype(int))] if order else []
    frame = (
        examples.table.iloc[chosen].assign(truth=lambda t: t["particle"].map(truths)).reset_index(drop=True)
    )
    kinds = {"gradcam": "Grad-CAM", "occlusion": "occlusion", "shuffled": "shuffled weights"}

    def draw(frame):
        figure, axes = figure_of(4, len(chosen), width=1.6 * max(len(chosen), 3), height=7, squeeze=False)
        clear(axes)
        for j, (i, row) in enumerate(zip(chosen, frame.itertuples())):
            image = examples.images[row.particle]
            axes[0, j].imshow(image, cmap="gray", vmin=0, vmax=255)
            scale_bar(axes[0, j], image.shape[0], examples.pixel_nm)
            right = "right" if row.called == row.truth else f"truly {row.truth}"
            axes[0, j].set_title(f"called {row.called}\n{right}", fontsize=7)
            for axis, kind in zip(axes[1:, j], kinds):
                map_ = examples.maps[kind][i].astype(float)
                extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
                axis.imshow(image, cmap="gray", vmin=0, vmax=255)
                axis.imshow(map_, cmap="inferno", alpha=0.55, extent=extent, vmax=map_.max() or 1)
        for axis, words in zip(axes[:, 0], ("particle", *kinds.values())):
            axis.text(
                -0.08, 0.5, words, rotation=90, transform=axis.transAxes, ha="right", va="center", fontsize=8
            )
        return figure

    if not chosen:
        why = "no attention maps were kept (an SVM has none; a network leaves them when notebook 3 trains it)"
        return Words([f"{model}: {why}."], "notice")
    return Picture(frame, draw, f"{len(chosen)} particles; below each, bright where {model} looked by Grad-CAM, by occlusion, and where "
                   "the same network with shuffled weights looks.",
                   f"{model}, held-out particles of a fixed sample ({len(places)}). Bright: spoke for the class that was called.")  # fmt: skip


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
        return Words(["No SVM was trained."], "notice")
    best = {m: table[table["model"] == m].groupby("descriptor")["loss"].mean().idxmax() for m in models}
    words = ", ".join(f"{name} by {group}" for name, group in best.items())
    return Picture(table, draw, f"Bars: how much balanced accuracy is lost when a group of descriptors is permuted; most in {words}.",
                   "Permutation importance on held-out particles, mean over folds; lines: standard deviation.")  # fmt: skip


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
        name: descriptors_.thesis(images[rows]).filter(like="edge_density").to_numpy()
        for name, rows in by_class.items()
    }
    share = np.linspace(0, descriptors_.REACH, descriptors_.POINTS)
    frame = pd.concat(
        [pd.DataFrame({"class": name, "share": share, "mean": p.mean(0), "error": p.std(0) / np.sqrt(len(p))})
         for name, p in profiles.items()], ignore_index=True)  # fmt: skip

    def draw(frame):
        rows = int(np.ceil(len(shown) / COLUMNS))
        figure, axes = figure_of(rows + 1, COLUMNS, width=9.6, height=1.85 * rows + 3, squeeze=False,
                                 height_ratios=[1] * rows + [1.5])  # fmt: skip
        grid = axes[0, 0].get_gridspec()
        clear(axes)
        for axis, i in zip(axes[:-1].ravel(), shown):
            axis.imshow(images[i], cmap="gray", vmin=-3, vmax=3)
            axis.contour(
                descriptors_.outline(images[i : i + 1])[0], levels=[0.5], colors="#E69F00", linewidths=1.2
            )
            scale_bar(axis, images.shape[-1], pixel_nm)
            axis.set_title(labels[i], fontsize=7)
        below = figure.add_subplot(grid[rows, :])
        for (name, part), colour in zip(frame.groupby("class", sort=False), COLOURS):
            below.plot(part["share"], part["mean"], color=colour, label=name)
            below.fill_between(part["share"], part["mean"] - 2 * part["error"], part["mean"] + 2 * part["error"],
                               color=colour, alpha=0.15, lw=0)  # fmt: skip
        below.axvline(1, color="black", lw=1, ls="--")
        below.set(xlabel="distance from the centre, in units of the outline's", ylabel="edge density")
        below.legend(fontsize=8)
        return figure

    sizes = ", ".join(f"{name} {len(rows)}" for name, rows in by_class.items())
    return Picture(frame, draw, f"{len(shown)} particles with the outline found in each; below, the mean edge density profile of each class.",
                   f"Outline from which area, circularity and moments are taken. Edge density: gradient over the image's mean; bands: "
                   f"± 2 standard errors; means over {sizes} particles; dashed: the outline.")  # fmt: skip
