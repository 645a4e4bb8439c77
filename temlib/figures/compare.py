"""Pictures of notebook 5: a measure against what a run sweeps."""

import numpy as np

from temlib.figures.base import COLOURS, Picture, figure_of


def sweep(swept, axis, measure, *, log=False):
    """Draw one measure against one parameter, a panel a task and a line a model.

    Parameters
    ----------
    swept : DataFrame
        From `sweeps.table`.
    axis, measure : str
        The parameter, and the measure's name.
    log : bool
        Whether the parameter's axis is logarithmic.
    """
    lines = [name for name in swept.columns[1 : list(swept.columns).index("value")] if name != axis]

    def draw(frame):
        tasks = frame["task"].unique()
        figure, axes = figure_of(
            1, len(tasks), width=1.5 + 4.6 * len(tasks), height=3.6, squeeze=False, sharey=True
        )
        for panel, task in zip(axes[0], tasks):
            groups = list(frame[frame["task"] == task].groupby(lines, sort=False, observed=True))
            for k, (name, rows) in enumerate(groups):
                words = rows[axis].dtype == object or hasattr(rows[axis], "cat")
                names = list(dict.fromkeys(frame[axis]))
                x = (
                    np.array([names.index(v) for v in rows[axis]], float)
                    if words
                    else rows[axis].to_numpy(float)
                )
                shift = (k - (len(groups) - 1) / 2) * 0.12
                x = x + shift if words else (x * 1.03**shift if log else x)
                error = [
                    (rows["value"] - rows["low"]).clip(lower=0),
                    (rows["high"] - rows["value"]).clip(lower=0),
                ]
                panel.errorbar(
                    x,
                    rows["value"],
                    yerr=error,
                    fmt="os"[k // 7 % 2] + ("" if words else "-"),
                    capsize=3,
                    ms=5,
                    color=COLOURS[k % 7],
                    label=", ".join(map(str, name)),
                )
                if words:
                    panel.set_xticks(range(len(names)), names, rotation=25, ha="right", fontsize=8)
            panel.set(title=task, xlabel=axis.replace("_", " "))
            if log:
                _logarithmic(panel, frame[axis])
        axes[0, 0].set_ylabel(measure)
        axes[0, -1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        return figure

    return Picture(
        swept,
        draw,
        f"{measure} with intervals against {axis.replace('_', ' ')} for each model.",
        _caption(swept),
    )


def learning(curves, swept, axis, *, across=5):
    """Draw the learning curves of one model for each value of a parameter, with the score that each led to.

    Parameters
    ----------
    curves : DataFrame
        From `sweeps.learning`, of one model.
    swept : DataFrame
        From `sweeps.table` of the balanced accuracy, of that model.
    axis : str
    across : int
        Panels in a row.
    """
    others = list(curves.columns[2 : list(curves.columns).index("epoch")])
    scored = {tuple(map(str, row[[axis, *others]])): row for _, row in swept.iterrows()}
    values = list(dict.fromkeys(curves[axis]))

    def draw(curves):
        down = -(-len(values) // across)
        wide = min(across, len(values))
        figure, axes = figure_of(
            down,
            wide,
            width=1.2 + 2.1 * wide,
            height=2.5 * down + 0.4,
            squeeze=False,
            sharex=True,
            sharey=True,
        )
        for panel in axes.ravel()[len(values) :]:
            panel.set_axis_off()
        for panel, value in zip(axes.ravel(), values):
            rows = curves[curves[axis] == value]
            groups = list(rows.groupby(others, sort=False)) if others else [((), rows)]
            for k, (key, part) in enumerate(groups):
                panel.plot(part["epoch"], part["loss"], color=COLOURS[k % 7], lw=1.4)
                panel.plot(part["epoch"], part["validation_loss"], color=COLOURS[k % 7], lw=1.4, ls="--")
                score = scored[tuple(map(str, (value, *key)))]
                words = ", ".join(f"{name} {word}" for name, word in zip(others, key))
                panel.annotate(
                    f"{words}{': ' if words else ''}{score['value']:.2f} ({score['low']:.2f}–{score['high']:.2f})",
                    (0.97, 0.97 - 0.1 * k),
                    xycoords="axes fraction",
                    ha="right",
                    va="top",
                    fontsize=7,
                    color=COLOURS[k % 7],
                )
            panel.set_title(value, fontsize=9)
        highest = curves[["loss", "validation_loss"]].max().max()
        axes[0, 0].set_ylim(0, highest * (1.15 + 0.12 * len(groups)))  # room for the words
        for panel in axes[-1]:
            panel.set_xlabel("epoch")
        for panel in axes[:, 0]:
            panel.set_ylabel("loss")
        return figure

    return Picture(
        curves,
        draw,
        f"Training and validation loss by epoch, a panel a value of {axis.replace('_', ' ')}, with the balanced accuracy.",
        f"Solid: training loss (smoothed labels, augmented); dashed: validation loss; means over folds and seeds. Numbers: balanced "
        f"accuracy of held-out particles with its 95 % interval by micrograph. {_caption(swept)}",
    )


def label_curve(curve, needed, *, target):
    """Draw the score against the number of labels with the fitted power law of each model.

    Parameters
    ----------
    curve : DataFrame
        From `sweeps.with_labels`.
    needed : DataFrame
        From `sweeps.labels_needed`.
    target : float
    """

    def draw(frame):
        tasks = frame["task"].unique()
        figure, axes = figure_of(
            1, len(tasks), width=1.5 + 4.6 * len(tasks), height=3.6, squeeze=False, sharey=True
        )
        for panel, task in zip(axes[0], tasks):
            for k, (name, rows) in enumerate(frame[frame["task"] == task].groupby("model", sort=False)):
                error = [
                    (rows["value"] - rows["low"]).clip(lower=0),
                    (rows["high"] - rows["value"]).clip(lower=0),
                ]
                panel.errorbar(
                    rows["labelled"],
                    rows["value"],
                    yerr=error,
                    fmt="o",
                    capsize=3,
                    ms=5,
                    color=COLOURS[k % 7],
                    label=name,
                )
                fit = needed[(needed["task"] == task) & (needed["model"] == name)].iloc[0]
                if np.isfinite(fit["a"]):
                    n = np.geomspace(rows["labelled"].min(), 2 * rows["labelled"].max())
                    panel.plot(n, 1 - fit["a"] * n ** -fit["b"], color=COLOURS[k % 7], lw=1, ls="--")
            panel.axhline(target, color="black", lw=0.8, ls=":")
            panel.set(title=task, xlabel="labelled particles in training and validation")
            _logarithmic(panel, frame.loc[frame["task"] == task, "labelled"].round())
        axes[0, 0].set_ylabel("balanced accuracy")
        axes[0, -1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        return figure

    return Picture(
        curve,
        draw,
        f"Balanced accuracy against the number of labels with a fitted curve for each model, and a line at {target:g}.",
        _caption(curve)
        + " Dashed: 1 − a·labels^(−b), fitted to the points and drawn on to twice the labels.",
    )


def _logarithmic(panel, values):
    """Make the horizontal axis logarithmic, with ticks at the values that were run, as far as they can be read."""
    ticks = []
    for value in np.unique(values)[::-1]:
        if not ticks or value < ticks[-1] / 1.4:
            ticks.append(value)
    panel.set_xscale("log")
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.minorticks_off()


def _caption(swept):
    seeds = int(swept["seeds"].max())
    mean = f" Means over {seeds} seeds; a particle counts once." if seeds > 1 else ""
    return (
        f"Held-out particles with 95 % intervals by micrograph; n up to {int(swept['n'].max()):,} in "
        f"{int(swept['micrographs'].max())} micrographs.{mean}"
    )
