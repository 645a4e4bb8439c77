"""Every picture: its numbers, its drawing, its words.

A function here gives a `Picture`. Its `frame` is the tidy table that is drawn, `plot` draws it anew, `alt` says in one
sentence what is seen, `caption` what it means with its n. A picture shows itself in JupyterLab and in HTML.
"""

import base64
import html
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

# Okabe & Ito's palette, told apart by people of any colour vision (https://jfly.uni-koeln.de/color/).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DPI = 110


def set_style():
    """Set the look that all pictures share."""
    import matplotlib
    import seaborn

    seaborn.set_theme(context="notebook", style="whitegrid", palette=COLOURS, font_scale=0.9)
    matplotlib.rcParams.update({"figure.constrained_layout.use": True, "axes.titlesize": "medium"})


@dataclass(frozen=True)
class Picture:
    """A picture with its numbers and its words."""

    table: pd.DataFrame
    draw: Callable
    alt: str
    caption: str

    def frame(self):
        """Give the table that is drawn."""
        return self.table

    def plot(self):
        """Draw the picture and give the matplotlib Figure."""
        return self.draw(self.table)

    def _repr_html_(self):
        buffer = io.BytesIO()
        self.plot().savefig(buffer, format="png", dpi=DPI)
        data = base64.b64encode(buffer.getvalue()).decode()
        return (
            f'<figure><img src="data:image/png;base64,{data}" alt="{html.escape(self.alt)}">'
            f"<figcaption>{html.escape(self.caption)}</figcaption></figure>"
        )


def _figure(rows=1, columns=1, *, width=8.0, height=3.2, **options):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def _clear(axes):
    for axis in np.ravel(axes):
        axis.set_axis_off()


def _gray(axis, image, limit=3.0):
    axis.imshow(image, cmap="gray", vmin=-limit, vmax=limit, interpolation="nearest")


def _scale_bar(axis, size, pixel_nm):
    """Draw a bar of a round length in nm at the lower left, where the pixel size is known."""
    if not np.isfinite(pixel_nm):
        return
    length = next((nm for nm in (200, 100, 50, 20, 10, 5, 2, 1) if nm / pixel_nm <= size * 0.45), 1)
    axis.plot([2, 2 + length / pixel_nm], [size - 3, size - 3], color="white", lw=4, solid_capstyle="butt")
    axis.plot([2, 2 + length / pixel_nm], [size - 3, size - 3], color="black", lw=2, solid_capstyle="butt")
    axis.text(2, size - 5, f"{length} nm", color="white", fontsize=7, va="bottom",
              bbox={"facecolor": "black", "alpha": 0.5, "pad": 1, "lw": 0})  # fmt: skip


def class_counts(table, tasks):
    """Draw the number of particles of each class of each task."""
    rows = [(t, str(c), n) for t in tasks for c, n in table[t].value_counts().items()]
    counts = pd.DataFrame(rows, columns=["task", "class", "particles"])

    def draw(frame):
        figure, axes = _figure(1, len(tasks), width=4.0 * len(tasks), height=2.6, squeeze=False)
        for axis, task in zip(axes[0], tasks):
            part = frame[frame["task"] == task]
            axis.barh(part["class"], part["particles"], color=COLOURS[0])
            axis.bar_label(axis.containers[0], padding=2, fontsize=8)
            axis.set(title=task, xlabel="particles")
            axis.margins(x=0.15)
            axis.invert_yaxis()
            axis.grid(False, axis="y")
        return figure

    words = "; ".join(
        f"{t}: " + ", ".join(f"{c} {n}" for _, c, n in counts[counts["task"] == t].itertuples(index=False))
        for t in tasks
    )
    return Picture(counts, draw, f"Bars of the number of particles per class. {words}.",
                   f"Particles per class; n = {len(table):,} in {table['micrograph'].nunique()} micrographs.")  # fmt: skip


def micrograph_counts(table, task):
    """Draw how many particles of each class each micrograph holds."""
    counts = table.groupby(["micrograph", task]).size().rename("particles").reset_index()

    def draw(frame):
        wide = frame.pivot(index="micrograph", columns=task, values="particles").fillna(0)
        figure, axis = _figure(height=2.8)
        bottom = np.zeros(len(wide))
        for name, colour in zip(wide.columns, COLOURS):
            axis.bar(range(len(wide)), wide[name], bottom=bottom, color=colour, label=name, width=0.9)
            bottom += wide[name].to_numpy()
        axis.set(xlabel="micrograph, in order of name", ylabel="particles")
        axis.legend(fontsize=8, ncols=3)
        return figure

    per = table.groupby("micrograph").size()
    return Picture(counts, draw, f"Stacked bars, one a micrograph, of its particles per class of {task}.",
                   f"Particles per micrograph by {task}: {per.min()} to {per.max()}, median {per.median():g}; "
                   f"{len(per)} micrographs.")  # fmt: skip


def gallery(data, task, *, each=8, seed=0):
    """Show a random sample of particles of each class."""
    classes = sorted(data.table[task].dropna().unique())
    rng = np.random.default_rng(seed)
    chosen = []
    for name in classes:
        index = np.flatnonzero(data.table[task].to_numpy() == name)
        chosen += [(name, i) for i in rng.permutation(index)[:each]]
    frame = pd.DataFrame(chosen, columns=["class", "row"])

    def draw(frame):
        figure, axes = _figure(
            len(classes), each, width=each * 1.05, height=1.25 * len(classes), squeeze=False
        )
        _clear(axes)
        for k, name in enumerate(classes):
            for j, i in enumerate(frame.loc[frame["class"] == name, "row"]):
                _gray(axes[k, j], data.images[i])
                if j == 0:
                    axes[k, j].set_title(name, fontsize=9, loc="left")
                    _scale_bar(axes[k, j], data.images.shape[1], data.pixel_nm)
        return figure

    where = f"{data.pixel_nm:g} nm a pixel" if np.isfinite(data.pixel_nm) else "pixel size unknown"
    return Picture(frame, draw, f"Rows of grey-scale particle images, one row for each of the classes {', '.join(classes)}.",
                   f"Up to {each} random particles of each class of {task}; {where}; grey from −3 to 3 robust units.")  # fmt: skip


def radial_profiles(data, task):
    """Draw the mean intensity against the distance from the centre, one line a class with a band over particles."""
    size = data.images.shape[-1]
    rows, columns = np.indices((size, size))
    ring = np.minimum(np.hypot(rows - (size - 1) / 2, columns - (size - 1) / 2).astype(int), size // 2)
    count = np.bincount(ring.ravel())
    profile = np.stack([np.bincount(ring.ravel(), image.ravel()) / count for image in data.images])[
        :, : size // 2
    ]
    unit = data.pixel_nm if np.isfinite(data.pixel_nm) else 1.0
    parts = []
    for name, index in data.table.groupby(task).indices.items():
        mean, spread = profile[index].mean(0), profile[index].std(0) / np.sqrt(len(index))
        radius = (np.arange(size // 2) + 0.5) * unit
        parts.append(
            pd.DataFrame({"class": name, "n": len(index), "radius": radius, "mean": mean, "error": spread})
        )
    frame = pd.concat(parts, ignore_index=True)

    def draw(frame):
        figure, axis = _figure(height=3)
        for (name, part), colour in zip(frame.groupby("class"), COLOURS):
            axis.plot(part["radius"], part["mean"], color=colour, label=f"{name} (n = {part['n'].iloc[0]})")
            axis.fill_between(
                part["radius"],
                part["mean"] - part["error"],
                part["mean"] + part["error"],
                color=colour,
                alpha=0.25,
            )
        axis.set(xlabel=f"distance from the centre ({'nm' if np.isfinite(data.pixel_nm) else 'pixels'})",
                 ylabel="mean intensity\n(robust units)")  # fmt: skip
        axis.legend(fontsize=8)
        return figure

    return Picture(frame, draw, f"Lines of mean intensity against distance from the centre for each class of {task}.",
                   f"Mean radial profile per class of {task}; the band is one standard error over particles.")  # fmt: skip


def histogram(values, *, label, what):
    """Draw the distribution of a number per particle."""
    values = pd.Series(values, dtype=float).dropna()
    frame = pd.DataFrame({label: values})

    def draw(frame):
        figure, axis = _figure(height=2.4)
        axis.hist(frame[label], bins=40, color=COLOURS[0])
        axis.set(xlabel=label, ylabel="particles")
        return figure

    return Picture(frame, draw, f"Histogram of {what} over particles, from {values.min():.3g} to {values.max():.3g}.",
                   f"{what.capitalize()}; median {values.median():.3g}; n = {len(values):,}.")  # fmt: skip


def each_transform(image, augmentation, *, steps=7):
    """Show one particle under each transform alone, over its range."""
    from dataclasses import replace

    from temlib.augment import Augmentation

    none = Augmentation.preset("none")
    rows, pictures = [], []
    for name in ("rotation", "shear", "shift_rows", "shift_columns", "zoom", "flip_rows", "flip_columns"):
        given = getattr(augmentation, name)
        for value in [False, True] if isinstance(given, bool) else np.linspace(*given, steps):
            fixed = bool(value) if isinstance(given, bool) else (float(value), float(value))
            moved = replace(none, **{name: fixed}, order=augmentation.order, fill=augmentation.fill)
            table = moved.draw(1, 0)
            if isinstance(given, bool):
                table[name] = fixed
            pictures.append(moved.apply(image[None], table)[0])
            rows.append((name, float(value)))
    frame = pd.DataFrame(rows, columns=["transform", "value"])

    def draw(frame):
        names = frame["transform"].unique()
        figure, axes = _figure(len(names), steps, width=8, height=1.3 * len(names), squeeze=False)
        _clear(axes)
        for k, name in enumerate(names):
            for j, i in enumerate(frame.index[frame["transform"] == name]):
                _gray(axes[k, j], pictures[i])
                title = (
                    f"{frame['value'][i]:.3g}"
                    if name[:4] != "flip"
                    else ("flipped" if frame["value"][i] else "as is")
                )
                axes[k, j].set_title(f"{name} {title}" if j == 0 else title, fontsize=7)
        return figure

    return Picture(frame, draw, "Seven rows of one particle, each row under one transform from the least to the most.",
                   "Rotation in degrees, shear in radians, shifts in fractions of height and width, zoom as relative size.")  # fmt: skip


def mosaic(images, *, columns=10, what="augmented particles"):
    """Show many images side by side."""
    frame = pd.DataFrame({"image": range(len(images))})

    def draw(frame):
        rows = -(-len(frame) // columns)
        figure, axes = _figure(rows, columns, width=8, height=0.82 * rows, squeeze=False)
        _clear(axes)
        for axis, i in zip(axes.ravel(), frame["image"]):
            _gray(axis, images[i])
        return figure

    return Picture(frame, draw, f"A mosaic of {len(images)} {what}.", f"{len(images)} {what}.")


def learning_curves(history):
    """Draw training and validation loss against epochs, the mean over folds with a band from the least to the most."""
    frame = history.melt(["model", "fold", "epoch"], ["loss", "validation_loss"], "kind", "value").dropna()

    def draw(frame):
        models = frame["model"].unique()
        figure, axes = _figure(1, len(models), width=4 * len(models), height=3, squeeze=False, sharey=True)
        for axis, name in zip(axes[0], models):
            for (kind, part), colour in zip(frame[frame["model"] == name].groupby("kind"), COLOURS):
                over = part.groupby("epoch")["value"].agg(["mean", "min", "max"])
                axis.plot(
                    over.index, over["mean"], color=colour, label={"loss": "training"}.get(kind, "validation")
                )
                axis.fill_between(over.index, over["min"], over["max"], color=colour, alpha=0.2)
            axis.set(title=name, xlabel="epoch")
        axes[0, 0].set_ylabel("loss")
        axes[0, 0].legend(fontsize=8)
        return figure

    return Picture(frame, draw, "Training and validation loss against epochs for each network.",
                   f"Lines: mean over {frame['fold'].nunique()} folds; bands: least to most. The training loss is smoothed "
                   "cross-entropy on augmented particles, the validation loss is cross-entropy with every class weighing the same.")  # fmt: skip


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
        figure, axes = _figure(1, len(matrices), width=3.7 * len(matrices), height=3.4, squeeze=False)
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
        figure, axis = _figure(height=0.9 + 0.32 * len(frame))
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


def stars(table):
    """Draw the popularity of deep-learning software, one panel a date."""

    def draw(frame):
        dates = list(frame["date"].unique())
        figure, axes = _figure(1, len(dates), width=4.2 * len(dates), height=3.8, squeeze=False)
        for axis, date in zip(axes[0], dates):
            part = frame[frame["date"] == date]
            axis.barh(part["software"], part["stars"] / 1e3, color=COLOURS[0])
            axis.set(title=date, xlabel="GitHub stars (thousands)")
            axis.tick_params(labelsize=8)
            axis.invert_yaxis()
            axis.grid(False, axis="y")
        return figure

    top = table.sort_values("stars").iloc[-1]
    return Picture(table, draw, f"Bars of GitHub stars of deep-learning software; {top['software']} has the most at every date.",
                   "GitHub stars at the dates nearest to October 2016 for which a citable list exists; sources in the table.")  # fmt: skip
