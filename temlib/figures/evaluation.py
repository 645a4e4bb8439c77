"""Pictures of notebook 4: which model may be trusted."""

import numpy as np
import pandas as pd

from temlib.figures.base import COLOURS, Picture, figure_of


def confusions(matrices):
    """Draw confusion matrices side by side: counts, coloured by the share of the true class.

    Parameters
    ----------
    matrices : dict of str to DataFrame
        For each model, truth × predicted counts.
    """
    parts = [m.rename_axis(index="truth", columns="predicted").stack().rename("particles").reset_index().assign(model=k)
             for k, m in matrices.items()]  # fmt: skip
    frame = pd.concat(parts, ignore_index=True)

    def draw(frame):
        figure, axes = figure_of(1, len(matrices), width=3.7 * len(matrices), height=3.4, squeeze=False)
        for axis, (name, matrix) in zip(axes[0], matrices.items()):
            share = matrix.div(matrix.sum(axis=1).replace(0, np.nan), axis=0).fillna(0).to_numpy()
            axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
            for i, j in np.ndindex(share.shape):
                axis.text(j, i, f"{matrix.iat[i, j]}\n{share[i, j]:.0%}", ha="center", va="center", fontsize=8,
                          color="white" if share[i, j] > 0.5 else "black")  # fmt: skip
            ticks = range(len(matrix))
            axis.set_xticks(ticks, matrix.columns, rotation=20, fontsize=8)
            axis.set_yticks(ticks, matrix.index, fontsize=8)
            axis.set(title=name, xlabel="predicted", ylabel="truth")
            axis.grid(False)
        return figure

    return Picture(frame, draw, f"Confusion matrices of {', '.join(matrices)} side by side, truth in rows, prediction in columns.",
                   "Held-out particles: count, and share of the true class (which the colour shows too); "
                   f"n = {int(next(iter(matrices.values())).to_numpy().sum()):,} for each model.")  # fmt: skip


def estimates(measures, measure, *, chance=None):
    """Draw one measure of every model and class with its interval."""
    frame = measures[measures["measure"] == measure].reset_index(drop=True)

    def draw(frame):
        models = list(frame["model"].unique())
        classes = list(frame["class"].unique())
        figure, axis = figure_of(height=0.9 + 0.32 * len(frame))
        for k, model in enumerate(models):
            part = frame[frame["model"] == model].dropna(subset="value")
            y = [classes.index(c) + (k - (len(models) - 1) / 2) * 0.22 for c in part["class"]]
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
        if chance is not None:
            axis.axvline(chance, color="black", lw=1, ls="--", label="chance")
        axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        return figure

    n = int(frame["n"].max()) if len(frame) else 0
    return Picture(frame, draw, f"Points with intervals of {measure} for each model and class.",
                   f"{measure} on held-out particles with 95 % intervals that respect micrographs; n up to {n:,}, "
                   f"{int(frame['micrographs'].max()) if len(frame) else 0} micrographs.")  # fmt: skip
