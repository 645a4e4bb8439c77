"""Pictures of notebook 5: a measure against what a run sweeps; tables are those of `evaluate.sweep`."""

import numpy as np

from temlib.figures.base import MODELS, Note, Picture, dots, on_axes, tall


def sweep(swept, axis, measure, *, log=False):
    """Draw one measure against the parameter `axis`, a panel per task and a line per model; `log` makes it logarithmic."""
    if swept is None or swept.empty:
        return Note(["This run sweeps no parameter, so there is nothing to compare."], kind="")
    lines = [name for name in swept.columns[1 : list(swept.columns).index("value")] if name != axis]
    line, label = swept[lines].astype(str).agg(", ".join, axis=1), axis.replace("_", " ")
    names, joined = list(line.unique()), swept[axis].dtype.kind in "if"

    def draw(panel, part):
        if log:
            _logarithmic(panel, part[axis])
        dots(panel, part.assign(line=line), axis, "value", by="line", names=names, joined=joined)

    words = {"xlabel": label, "ylabel": measure, "share": True} if joined else {"xlabel": measure}
    height = 2.6 if joined else tall(swept[axis].unique(), 0.14 * len(names) + 0.1)
    return Picture(
        swept,
        on_axes(draw, "task", height=height, **words),
        f"{measure} with intervals against {label} for each model.",
        _caption(swept),
    )


def learning(curves, swept, axis):
    """Draw one model's `evaluate.learning` for each value of the parameter `axis`, with the balanced accuracy `swept`."""
    others = list(curves.columns[2 : list(curves.columns).index("epoch")])
    keys = [axis, *others]
    scored = {tuple(map(str, row[keys])): row for _, row in swept.iterrows()}
    count = curves[keys].drop_duplicates()[axis].value_counts().max()
    highest = curves[["loss", "validation_loss"]].max().max() * (1.15 + 0.12 * count)  # room for the words

    def draw(panel, rows):
        for k, (key, part) in enumerate(rows.groupby(keys, sort=False, observed=True)):
            panel.plot(part["epoch"], part["loss"], f"C{k}-", lw=1.4)
            panel.plot(part["epoch"], part["validation_loss"], f"C{k}--", lw=1.4)
            score = scored[tuple(map(str, key))]
            words = ", ".join(f"{name} {word}" for name, word in zip(others, key[1:])) + ": " * bool(others)
            words += f"{score['value']:.2f} ({score['low']:.2f}–{score['high']:.2f})"
            place = {"transform": panel.transAxes, "ha": "right", "va": "top", "fontsize": 8.5}
            panel.text(0.97, 0.97 - 0.1 * k, words, color=f"C{k}", **place)

    look = {"width": 2.4, "height": 2.2, "ylim": (0, highest)}
    return Picture(
        curves,
        on_axes(draw, axis, xlabel="epoch", ylabel="loss", **look),
        f"Training and validation loss by epoch, a panel per value of {axis.replace('_', ' ')}, with the balanced accuracy.",
        f"Solid: training, smoothed labels; dashed: validation; means over folds and seeds; numbers: balanced accuracy. {_caption(swept)}",
    )


def label_curve(curve, needed, *, target):
    """Draw the score of `evaluate.with_labels`, if any, and the power laws of `evaluate.labels_needed` for a `target`."""
    if curve is None or curve.empty:
        return Note([], absent="This run does not sweep labels.")
    models = list(curve["model"].unique())

    def draw(panel, part):
        _logarithmic(panel, part["labelled"].round())
        dots(panel, part, "labelled", "value", by="model", names=models)
        n = np.geomspace(part["labelled"].min(), 2 * part["labelled"].max())
        fits = needed[needed["task"] == part["task"].iloc[0]].set_index("model")
        for k, name in enumerate(models):
            if name in fits.index:
                a, b = fits.loc[name, ["a", "b"]]
                panel.plot(n, 1 - a * n**-b, color=MODELS[k % 7], ls="--", lw=1)
        panel.axhline(target, color="black", lw=0.8, ls=":")

    label = {"xlabel": "labelled particles in training and validation", "ylabel": "balanced accuracy"}
    return Picture(
        curve,
        on_axes(draw, "task", height=2.6, share=True, **label),
        f"Balanced accuracy against the number of labels with a fitted curve for each model, and a line at {target:g}.",
        f"{_caption(curve)} Dashed: 1 − a·labels^(−b), fitted to the points and extended to twice the labels.",
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
    n = f"n up to {int(swept['n'].max()):,} in {int(swept['micrographs'].max())} micrographs"
    return f"Held-out particles, 95 % intervals by micrograph; {n}.{mean}"
