"""Pictures of notebook 1: what is in the data."""

import numpy as np
import pandas as pd

from temlib.figures.base import COLOURS, Picture, clear, figure_of, gray, scale_bar


def class_counts(table, tasks):
    """Draw the number of particles of each class of each task."""
    rows = [(t, str(c), n) for t in tasks for c, n in table[t].value_counts().items()]
    counts = pd.DataFrame(rows, columns=["task", "class", "particles"])

    def draw(frame):
        figure, axes = figure_of(1, len(tasks), width=4.0 * len(tasks), height=2.6, squeeze=False)
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
        figure, axis = figure_of(height=2.8)
        bottom = np.zeros(len(wide))
        for name, colour in zip(wide.columns, COLOURS):
            axis.bar(range(1, len(wide) + 1), wide[name], bottom=bottom, color=colour, label=name, width=0.9)
            bottom += wide[name].to_numpy()
        axis.set(xlabel="micrograph, in order of name", ylabel="particles", xlim=(0.4, len(wide) + 0.6))
        axis.xaxis.get_major_locator().set_params(integer=True)
        figure.legend(fontsize=8, ncols=5, loc="outside upper right")
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
        figure, axes = figure_of(
            len(classes), each, width=each * 1.05, height=1.25 * len(classes), squeeze=False
        )
        clear(axes)
        for k, name in enumerate(classes):
            for j, i in enumerate(frame.loc[frame["class"] == name, "row"]):
                gray(axes[k, j], data.images[i])
                if j == 0:
                    axes[k, j].set_title(name, fontsize=9, loc="left")
                    scale_bar(axes[k, j], data.images.shape[1], data.pixel_nm)
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
        figure, axis = figure_of(height=3)
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
        figure, axis = figure_of(height=2.4)
        axis.hist(frame[label], bins=40, color=COLOURS[0])
        axis.set(xlabel=label, ylabel="particles")
        return figure

    return Picture(frame, draw, f"Histogram of {what} over particles, from {values.min():.3g} to {values.max():.3g}.",
                   f"{what.capitalize()}; median {values.median():.3g}; n = {len(values):,}.")  # fmt: skip
