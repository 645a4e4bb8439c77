"""Pictures of notebook 4: which model may be trusted.

Pictures of single particles in notebook 4: galleries, attention, and what the SVM measures.
"""

import numpy as np
import pandas as pd

from temlib.figures.base import COLOURS, Note, Picture, clear, figure_of, scale_bar

NO_PROBABILITIES = "No model gives probabilities that sum to 1 for every held-out particle."


def confusions(matrices):
    """Draw confusion matrices side by side: counts, coloured by the share of the true class.

    Parameters
    ----------
    matrices : dict of str to DataFrame
        For each model, truth × predicted counts.
    """
    parts = [
        m.rename_axis(index="truth", columns="predicted")
        .stack()
        .rename("particles")
        .reset_index()
        .assign(model=k)
        for k, m in matrices.items()
    ]
    frame = pd.concat(parts, ignore_index=True)

    def draw(frame):
        figure, axes = figure_of(1, len(matrices), width=3.7 * len(matrices), height=3.4, squeeze=False)
        for axis, (name, matrix) in zip(axes[0], matrices.items()):
            share = matrix.div(matrix.sum(axis=1).replace(0, np.nan), axis=0).fillna(0).to_numpy()
            axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
            for i, j in np.ndindex(share.shape):
                axis.text(
                    j,
                    i,
                    f"{matrix.iat[i, j]}\n{share[i, j]:.0%}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if share[i, j] > 0.5 else "black",
                )
            ticks = range(len(matrix))
            axis.set_xticks(ticks, matrix.columns, rotation=20, fontsize=8)
            axis.set_yticks(ticks, matrix.index, fontsize=8)
            axis.set(title=name, xlabel="predicted", ylabel="truth")
            axis.grid(False)
        return figure

    return Picture(
        frame,
        draw,
        f"Confusion matrices of {', '.join(matrices)} side by side, truth in rows, prediction in columns.",
        "Held-out particles: count, and share of the true class (which the colour shows too); "
        f"n = {int(next(iter(matrices.values())).to_numpy().sum()):,} for each model.",
    )


def estimates(measures, measure, *, lines=None):
    """Draw one measure of every model and class with its interval.

    Parameters
    ----------
    measures : DataFrame
        Rows of `measures.table`.
    measure : str
    lines : dict of str to float, optional
        Named vertical lines, such as chance or what annotators reach.
    """
    frame = measures[measures["measure"] == measure].reset_index(drop=True)

    def draw(frame):
        models, classes = list(frame["model"].unique()), list(frame["class"].unique())
        figure, axis = figure_of(height=max(2.3, 0.9 + 0.28 * len(frame)))
        for k, model in enumerate(models):
            part = frame[frame["model"] == model].dropna(subset="value")
            y = [classes.index(c) + (k - (len(models) - 1) / 2) * 0.7 / len(models) for c in part["class"]]
            error = [
                (part["value"] - part["low"]).clip(lower=0),
                (part["high"] - part["value"]).clip(lower=0),
            ]
            axis.errorbar(
                part["value"],
                y,
                xerr=error,
                fmt="o",
                color=COLOURS[k % len(COLOURS)],
                label=model,
                capsize=3,
                ms=5,
            )
        axis.set_yticks(range(len(classes)), classes)
        axis.set(xlabel=measure, xlim=(-0.02, 1.02), ylim=(len(classes) - 0.5, -0.5))
        for k, (name, value) in enumerate((lines or {}).items()):
            axis.axvline(
                value, color="black", lw=1.2, ls=("--", ":", "-.")[k % 3], label=f"{name} ({value:.2f})"
            )
        axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        return figure

    n = int(frame["n"].max()) if len(frame) else 0
    found = "; ".join(
        f"{r.model}, {r._2}: {r.value:.2f}" for r in frame[["model", "class", "value"]].itertuples()
    )
    return Picture(
        frame,
        draw,
        f"{measure[0].upper()}{measure[1:]} as points with intervals. {found}.",
        f"{measure[0].upper()}{measure[1:]} on held-out particles with 95 % intervals that respect micrographs; n up to {n:,}, "
        f"{int(frame['micrographs'].max()) if len(frame) else 0} micrographs.",
    )


def curves(table):
    """Draw ROC and precision–recall curves with their bands: a column per class, a line per model.

    Parameters
    ----------
    table : DataFrame
        From `curves.curves`.
    """
    classes, models = list(table["class"].unique()), list(table["model"].unique())
    if not models:
        return Note([NO_PROBABILITIES], "notice")
    axes_names = {
        "ROC": ("false positive rate", "TPR"),
        "precision–recall": ("TPR (recall)", "PPV (precision)"),
    }

    def draw(table):
        columns = len(classes)
        figure, axes = figure_of(2, columns, width=1 + 3.2 * columns, height=6.4, squeeze=False)
        for (curve, label, model), part in table.groupby(["curve", "class", "model"], sort=False):
            axis, colour = (
                axes[list(axes_names).index(curve), classes.index(label)],
                COLOURS[models.index(model) % len(COLOURS)],
            )
            axis.plot(part["x"], part["value"], color=colour, lw=1.8, label=model)
            axis.fill_between(part["x"], part["low"], part["high"], color=colour, alpha=0.15, lw=0)
        for j, label in enumerate(classes):
            n = table.loc[table["class"] == label, ["positives", "n"]].iloc[0]
            axes[0, j].plot([0, 1], [0, 1], color="black", lw=1, ls="--")
            axes[1, j].axhline(n["positives"] / n["n"], color="black", lw=1, ls="--")
            axes[0, j].set_title(f"{label} ({n['positives']} of {n['n']})")
            for i, (x, y) in enumerate(axes_names.values()):
                axes[i, j].set(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.02))
        axes[0, 0].legend(fontsize=8, loc="lower right")
        return figure

    micrographs = int(table["micrographs"].max()) if len(table) else 0
    return Picture(
        table,
        draw,
        f"ROC curves above and precision–recall curves below, of {', '.join(models)}, with shaded bands; "
        f"one column each for {', '.join(classes)}.",
        f"Bands: about 95 % at each point by itself, whole micrographs resampled ({micrographs}). Dashed: what a call at "
        "random reaches. In brackets: truly positive particles of all.",
    )


def reliability(before, after):
    """Draw how often calls of a given confidence are right, before and after temperature scaling.

    Parameters
    ----------
    before, after : DataFrame
        From `decisions.reliability`.
    """
    frame = pd.concat(
        [before.assign(probabilities="as given"), after.assign(probabilities="calibrated")], ignore_index=True
    )
    models = list(frame["model"].unique())
    if not models:
        return Note([NO_PROBABILITIES], "notice")

    def draw(frame):
        columns = len(models)
        figure, axes = figure_of(1, columns, width=1 + 3 * columns, height=3.5, squeeze=False, sharey=True)
        for axis, model in zip(axes[0], models):
            for k, (kind, part) in enumerate(
                frame[frame["model"] == model].groupby("probabilities", sort=False)
            ):
                error = [
                    (part["right"] - part["low"]).clip(lower=0),
                    (part["high"] - part["right"]).clip(lower=0),
                ]
                axis.errorbar(
                    part["confidence"],
                    part["right"],
                    yerr=error,
                    fmt="so"[k],
                    ms=4,
                    lw=1,
                    color=("#888888", COLOURS[0])[k],
                    capsize=2,
                    label=kind,
                )
            axis.plot([0, 1], [0, 1], color="black", lw=1, ls="--")
            axis.set(title=model, xlabel="mean probability of the call", xlim=(0, 1), ylim=(0, 1.02))
        axes[0, 0].set_ylabel("share of right calls")
        axes[0, 0].legend(fontsize=8, loc="upper left")
        return figure

    return Picture(
        frame,
        draw,
        f"Share of right calls over the stated probability for {', '.join(models)}; on the dashed diagonal "
        "probabilities mean what they say, below it a model is too sure.",
        "Calls in ten bins of equal width, 95 % intervals that respect micrographs; n = "
        f"{int(after.groupby('model')['n'].sum().max()) if len(after) else 0:,} for each model.",
    )


def risk(table):
    """Draw the share of wrong calls when only the surest particles are called, from `decisions.coverage_risk`."""
    models = list(table["model"].unique())
    if not models:
        return Note([NO_PROBABILITIES], "notice")

    def draw(table):
        figure, axis = figure_of(height=3.4)
        for k, (model, part) in enumerate(table.groupby("model", sort=False)):
            axis.plot(
                part["coverage"], part["risk"], color=COLOURS[k % len(COLOURS)], marker="o", ms=3, label=model
            )
            axis.fill_between(
                part["coverage"], part["low"], part["high"], color=COLOURS[k % len(COLOURS)], alpha=0.15, lw=0
            )
        axis.set(
            xlabel="coverage: share of particles that are called, surest first",
            ylabel="risk: share of wrong calls",
            xlim=(0, 1.02),
            ylim=(0, max(0.05, 1.5 * table["risk"].max())),
        )
        axis.legend(fontsize=8, loc="best")
        return figure

    return Picture(
        table,
        draw,
        f"Share of wrong calls over the share of particles called, for {', '.join(models)}.",
        "Bands: 95 % at each point, respecting micrographs; n = "
        f"{int(table['n'].max()) if len(table) else 0:,}. At coverage 1 every particle is called.",
    )


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
        return Note([f"{title}: {why}."], "notice")
    names = ", ".join(frame["particle"].head(4))
    return Picture(
        frame,
        draw,
        f"{len(frame)} particles in grey: {title}; they begin with {names}.",
        f"{title}; {len(frame)} of {len(table):,} are shown.",
    )


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
        return Note([f"{model}: {why}."], "notice")
    return Picture(
        frame,
        draw,
        f"{len(chosen)} particles; below each, bright where {model} looked by Grad-CAM, by occlusion, and where "
        "the same network with shuffled weights looks.",
        f"{model}, held-out particles of a fixed sample ({len(places)}). Bright: spoke for the class that was called.",
    )
