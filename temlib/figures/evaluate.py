"""Pictures of notebook 4: which model may be trusted, in curves and in single particles.

Their tables are those of `evaluate`, with intervals in `low` and `high` and the numbers of particles (`n`) and `micrographs`;
`examples` are those of `evaluate.load_examples`.
"""

import html
from functools import partial

import matplotlib
import numpy as np
import pandas as pd

from temlib.figures.base import Note, Picture, bands, dots, grey, grid, on_axes, tall

_NO_PROBABILITIES = "No model gives probabilities that sum to 1 for every held-out particle."
_AXES = {
    "ROC": {"xlabel": "false positive rate", "ylabel": "TPR"},
    "precision–recall": {"xlabel": "TPR (recall)", "ylabel": "PPV (precision)"},
}


def confusions(matrices):
    """Show truth × predicted counts of each model, a dict of DataFrames, shaded by the share of the true class."""
    frame = pd.concat(matrices, names=["model", "truth"]).rename_axis(columns="predicted").stack()
    frame = frame.rename("particles").reset_index()[["truth", "predicted", "particles", "model"]]
    return Picture(
        frame,
        lambda frame: (
            _names(matrices) + "".join(_confusion(name, matrix) for name, matrix in matrices.items())
        ),
        f"Confusion matrices of {', '.join(matrices)}, truth in rows, prediction in columns.",
        f"Held-out particles: count, and share of the true class, also as shade; n = {frame['particles'].sum() // len(matrices):,} for each "
        "model.",
    )


def _are_short(matrix):
    """Return whether the names of the classes can head columns; else they are numbered."""
    return len(matrix) * max(len(str(name)) for name in matrix) < 40


def _names(matrices):
    """Return the HTML of the names of the classes with their numbers, where they are numbered."""
    matrix = next(iter(matrices.values()))
    rows = [f"<span>{k} {html.escape(str(name))}</span>" for k, name in enumerate(matrix, 1)]
    return "" if _are_short(matrix) else f'<span class="key">{"".join(rows)}</span>'


def _confusion(model, matrix):
    """Return a confusion matrix as an HTML table."""
    names = [html.escape(str(name)) for name in matrix]
    if not _are_short(matrix):
        names = [f'<abbr title="{name}">{k}</abbr>' for k, name in enumerate(names, 1)]
    heads = "".join(f'<th scope="col">{name}</th>' for name in names)
    share, rows = matrix.div(matrix.sum(axis=1).replace(0, np.nan), axis=0).fillna(0), []
    for name, counts, parts in zip(names, matrix.to_numpy(), share.to_numpy()):
        cells = [f'<th scope="row">{name}</th>']
        for count, part in zip(counts, parts):
            # At most so dark that both black and white words can be read on it.
            shade = f' style="background:rgba(0,114,178,{0.55 * part:.2f})"'
            cells.append(f"<td{shade}>{count:,}<small>{part:.0%}</small></td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    caption = f"<caption>{html.escape(model)}: columns are the prediction</caption>"
    head = f'<thead><tr><th scope="col">truth</th>{heads}</tr></thead>'
    return f'<table class="confusion">{caption}{head}<tbody>{"".join(rows)}</tbody></table>'


def estimates(measures, measure, *, lines=()):
    """Draw one measure of every model and class of `Predictions.measures`; `lines` are values by the names of vertical lines."""
    frame = measures[measures["measure"] == measure].reset_index(drop=True)
    models = list(frame["model"].unique())

    def draw(axis, frame):
        dots(axis, frame, "class", "value", by="model", names=models)
        for k, name in enumerate(lines):
            label, style = f"{name} ({lines[name]:.2f})", ("--", ":", "-.")[k % 3]
            axis.axvline(lines[name], label=label, color="black", lw=1.2, ls=style)

    look = {"height": tall(frame["class"].unique(), 0.14 * len(models) + 0.1), "xlim": (-0.02, 1.02)}
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

    def draw(axis, part):
        curve, positives, n = part[["curve", "positives", "n"]].iloc[0]
        bands(axis, part, "x", "value", by="model", names=models)
        chance = [0, 1] if curve == "ROC" else [positives / n, positives / n]
        axis.plot([0, 1], chance, color="black", lw=1, ls="--")
        axis.set(**_AXES[curve])

    counts = "(" + table["positives"].astype(str) + " of " + table["n"].astype(str) + ")"
    titles = table["curve"] + "\n" + table["class"].astype(str) + "\n" + counts
    plot = on_axes(draw, "panel", width=2.4, height=2.7, xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    micrographs = int(table["micrographs"].max())
    return Picture(
        table,
        lambda table: plot(table.assign(panel=titles)),
        f"ROC curves and precision–recall curves of {', '.join(models)} with bands, for {', '.join(classes)}.",
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
        dots(
            axis, part, "confidence", "right", by="probabilities", names=list(kinds), palette=["0.6", "black"]
        )
        axis.plot([0, 1], [0, 1], color="black", lw=1, ls="--")

    label = {"xlabel": "mean probability\nof the predicted class", "ylabel": "share predicted correctly"}
    n = int(after.groupby("model")["n"].sum().max())
    return Picture(
        frame,
        on_axes(draw, "model", width=2.4, height=2.6, xlim=(0, 1.02), ylim=(-0.02, 1.04), **label),
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
        on_axes(draw, **label, **limits),
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
        return grid([("", cells)], pixel_nm=examples.pixel_nm, bars="all")

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
        return Note([], absent=f"{model}: {why}.")
    rows = rows.assign(truth=rows["particle"].map(truths)).sort_values("truth", kind="stable")
    chosen = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, most).astype(int))]
    kinds = {"gradcam": "Grad-CAM", "occlusion": "occlusion", "shuffled": "shuffled weights"}

    def draw(frame):
        groups = []
        for i, row in zip(chosen.index, frame.itertuples()):
            heading = (
                f"predicted {row.called}, {'correct' if row.called == row.truth else f'truly {row.truth}'}"
            )
            image = grey(examples.images[row.particle])
            heated = [(_heated(image, examples.maps[kind][i]), words) for kind, words in kinds.items()]
            groups.append((heading, [(image, "particle"), *heated]))
        return grid(groups, side=84, pixel_nm=examples.pixel_nm)

    return Picture(
        chosen.reset_index(drop=True),
        draw,
        f"{len(chosen)} particles; below each, maps of where {model} looked, and where it looks with shuffled weights.",
        f"{model}, held-out particles of a fixed sample (n = {len(rows)}). Bright: evidence for the predicted class.",
    )


def _heated(image, heat):
    """Return grey bytes (rows, columns) under the colours of a map of as many pixels, as (rows, columns, 3) bytes."""
    heat = np.asarray(heat, float)
    rows, columns = (np.arange(n) * m // n for n, m in zip(image.shape, heat.shape))
    heat = heat[np.ix_(rows, columns)] / (heat.max() or 1)
    warm = matplotlib.colormaps["inferno"](heat.clip(0, 1))[..., :3] * 255
    return (0.45 * image[..., None] + 0.55 * warm).astype(np.uint8)
