"""Pictures of notebook 4: which model may be trusted, in curves and in single particles.

Their tables are those of `evaluate`, with intervals in `low` and `high` and the numbers of particles (`n`) and `micrographs`;
`examples` are those of `evaluate.load_examples`.
"""

from functools import partial

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from temlib.figures.base import Note, Picture, bands, dots, grid, on_axes

_NO_PROBABILITIES = "No model gives probabilities that sum to 1 for every held-out particle."
_AXES = {
    "ROC": {"xlabel": "false positive rate", "ylabel": "TPR"},
    "precision–recall": {"xlabel": "TPR (recall)", "ylabel": "PPV (precision)"},
}


def confusions(matrices):
    """Draw truth × predicted counts of each model, a dict of DataFrames, coloured by the share of the true class."""
    frame = pd.concat(matrices, names=["model", "truth"]).rename_axis(columns="predicted").stack()
    frame = frame.rename("particles").reset_index()[["truth", "predicted", "particles", "model"]]
    side = max(3.4, 1.2 + 0.55 * len(next(iter(matrices.values()))))

    def draw(axis, part):
        matrix = matrices[part["model"].iloc[0]]
        share = matrix.div(matrix.sum(axis=1).replace(0, np.nan), axis=0).fillna(0)
        words = matrix.astype(str) + "\n" + share.map("{:.0%}".format)
        look = {"cmap": "Blues", "vmin": 0, "vmax": 1, "cbar": False, "annot_kws": {"fontsize": 8}}
        sns.heatmap(share, annot=words, fmt="", square=True, ax=axis, **look)
        # Seaborn would write white on the middle blues, too faint to read.
        for text, value in zip(axis.texts, share.to_numpy().ravel()):
            text.set_color("white" if value > 0.7 else "black")
        axis.set_xticks(axis.get_xticks(), matrix.columns, rotation=25, ha="right", rotation_mode="anchor")
        axis.tick_params("y", rotation=0)
        axis.tick_params(labelsize=8)

    look = {"across": 3, "width": side + 0.2, "height": side, "xlabel": "predicted", "ylabel": "truth"}
    return Picture(
        frame,
        on_axes(draw, "model", **look),
        f"Confusion matrices of {', '.join(matrices)} side by side, truth in rows, prediction in columns.",
        f"Held-out particles: count, and share of the true class as colour; n = {frame['particles'].sum() // len(matrices):,} for each model.",
    )


def estimates(measures, measure, *, lines=()):
    """Draw one measure of every model and class of `Predictions.measures`; `lines` are values by the names of vertical lines."""
    frame = measures[measures["measure"] == measure].reset_index(drop=True)

    def draw(axis, frame):
        dots(axis, frame, "class", "value", by="model", names=frame["model"].unique(), sideways=True)
        for k, name in enumerate(lines):
            label, style = f"{name} ({lines[name]:.2f})", ("--", ":", "-.")[k % 3]
            axis.axvline(lines[name], label=label, color="black", lw=1.2, ls=style)

    look = {"height": max(2.3, 0.9 + 0.22 * len(frame)), "legend": "outside", "xlim": (-0.02, 1.02)}
    rows = frame[["model", "class", "value"]].to_numpy()
    found = "; ".join(f"{model}, {label}: {value:.2f}" for model, label, value in rows)
    n, micrographs = (int(frame[column].max()) if len(frame) else 0 for column in ("n", "micrographs"))
    return Picture(
        frame,
        on_axes(draw, xlabel=measure, **look),
        f"Points of {measure} with intervals: {found}.",
        f"{measure[0].upper() + measure[1:]} on held-out particles, 95 % intervals by micrograph; n up to {n:,} in {micrographs} micrographs.",
    )


def curves(table):
    """Draw ROC and precision–recall curves of `Predictions.curves`: a column per class, a line with its band per model."""
    classes, models = list(table["class"].unique()), list(table["model"].unique())
    if not models:
        return Note([_NO_PROBABILITIES], kind="notice")

    def draw(table):
        figure = Figure(figsize=(1 + 3.2 * len(classes), 6.4), layout="constrained")
        axes = figure.subplots(2, len(classes), squeeze=False)
        for row, (curve, words) in zip(axes, _AXES.items()):
            for axis, label in zip(row, classes):
                part = table[(table["curve"] == curve) & (table["class"] == label)]
                bands(axis, part, "x", "value", by="model", names=models, lw=1.8)
                positives, n = table.loc[table["class"] == label, ["positives", "n"]].iloc[0]
                chance = [0, 1] if curve == "ROC" else [positives / n, positives / n]
                axis.plot([0, 1], chance, color="black", lw=1, ls="--")
                axis.set(**words, xlim=(0, 1), ylim=(0, 1.02))
                axis.set_title(f"{label} ({positives} of {n})" if curve == "ROC" else "")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center")
        return figure

    micrographs = int(table["micrographs"].max())
    return Picture(
        table,
        draw,
        f"ROC curves above precision–recall curves of {', '.join(models)} with bands; columns: {', '.join(classes)}.",
        f"Bands: about 95 % at each point by itself, {micrographs} micrographs resampled. Dashed: a prediction at random. In brackets: how "
        "many of all particles are truly positive.",
    )


def reliability(before, after):
    """Draw how often predictions of a given confidence are right, before and after temperature scaling."""
    kinds = {"as given": before, "calibrated": after}
    frame = pd.concat([rows.assign(probabilities=kind) for kind, rows in kinds.items()], ignore_index=True)
    if frame.empty:
        return Note([_NO_PROBABILITIES], kind="notice")

    def draw(axis, part):
        dots(axis, part, "confidence", "right", by="probabilities", names=list(kinds))
        axis.plot([0, 1], [0, 1], color="black", lw=1, ls="--")

    label = {"xlabel": "mean probability of the predicted class", "ylabel": "share predicted correctly"}
    look = {"width": 3.2, "height": 3.4, "share": True, "legend": "upper left"}
    n = int(after.groupby("model")["n"].sum().max())
    return Picture(
        frame,
        on_axes(draw, "model", xlim=(0, 1), ylim=(0, 1.02), **label, **look),
        f"Share of correct predictions against the stated probability for {', '.join(frame['model'].unique())}.",
        f"Ten bins, 95 % intervals by micrograph; n = {n:,} for each model. Below the dashed diagonal a model is overconfident.",
    )


def risk(table):
    """Draw the share of errors when only the most confident predictions are kept, from `Predictions.risk`."""
    if table.empty:
        return Note([_NO_PROBABILITIES], kind="notice")
    draw = partial(bands, x="coverage", y="risk", by="model", marker="o", ms=3)
    label = {"xlabel": "coverage: share predicted, most confident first", "ylabel": "risk: share of errors"}
    limits = {"xlim": (0, 1.02), "ylim": (0, max(0.05, 1.5 * table["risk"].max()))}
    return Picture(
        table,
        on_axes(draw, legend="outside", **label, **limits),
        f"Share of errors against the share of particles predicted, for {', '.join(table['model'].unique())}.",
        f"Bands: 95 % at each point, by micrograph; n = {int(table['n'].max()):,}. At coverage 1 every particle is predicted.",
    )


def cases(examples, table, *, title, most=12):
    """Show the first particles of a table with columns `particle` and `words`; `title` says what they are."""
    frame = table[table["particle"].isin(examples.images.keys())].head(most).reset_index(drop=True)
    if frame.empty:
        missing = f"{len(table):,}, but the run kept no copies of these particles (examples.npz)"
        return Note([f"{title}: {'there are none' if table.empty else missing}."], kind="notice")

    def draw(frame):
        cells = [(examples.images[row.particle], row.words) for row in frame.itertuples()]
        return grid(cells, 6, side=1.6, pixel_nm=examples.pixel_nm, bars="all")[0]

    return Picture(
        frame,
        draw,
        f"{len(frame)} particles in grey: {title}; the first is {frame['particle'].iloc[0]}.",
        f"{title}; {len(frame)} of {len(table):,} are shown.",
    )


def attention(examples, model, truths, *, most=6):
    """Show particles, where the model looked by Grad-CAM and by occlusion, and what shuffled weights would show.

    `truths` are labels by particle; at most `most` particles are shown, evenly over those of `examples`.
    """
    rows = examples.table[examples.table["model"] == model]
    if rows.empty:
        why = "no attention maps were kept (an SVM has none; a network leaves them when notebook 3 trains it)"
        return Note([f"{model}: {why}."], kind="notice")
    rows = rows.assign(truth=rows["particle"].map(truths)).sort_values("truth", kind="stable")
    chosen = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, most).astype(int))]
    kinds = {"gradcam": "Grad-CAM", "occlusion": "occlusion", "shuffled": "shuffled weights"}

    def draw(frame):
        images = [examples.images[name] for name in frame["particle"]]
        right = np.where(frame["called"] == frame["truth"], "correct", "truly " + frame["truth"].astype(str))
        titles = [f"predicted {name}\n{word}" for name, word in zip(frame["called"], right)]
        cells = [*zip(images, titles), *[(image, "") for _ in kinds for image in images]]
        names = ["particle", *kinds.values()]
        figure, axes = grid(cells, len(images), side=1.6, pixel_nm=examples.pixel_nm, rows=names)
        maps = [examples.maps[kind][i].astype(float) for kind in kinds for i in chosen.index]
        for axis, heat in zip(axes[len(images) :], maps):
            extent = axis.images[0].get_extent()
            axis.imshow(heat, cmap="inferno", alpha=0.55, extent=extent, vmax=heat.max() or 1)
        return figure

    return Picture(
        chosen.reset_index(drop=True),
        draw,
        f"{len(chosen)} particles; below each, maps of where {model} looked, and where it looks with shuffled weights.",
        f"{model}, held-out particles of a fixed sample (n = {len(rows)}). Bright: evidence for the predicted class.",
    )
