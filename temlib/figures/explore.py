"""Pictures of notebook 1: what is in the data, what needs attention, and how simulated particles are made.

`data` is a `data.Particles` and `table` its table, unless stated otherwise; `task` is one of its label
columns, and `seed` that of a random sample.
"""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from scipy import ndimage
from scipy.stats import sem

from temlib import explore, simulate
from temlib.data import is_definite
from temlib.figures.base import Note, Picture, bands, dots, grid, on_axes, scale_bar
from temlib.files import natural

SHOWN = 6  # micrographs that are named in a picture
SIDE_PX = 900  # pixels of a micrograph as it is shown, at most
_NOT_SIMULATED = "These particles were not simulated, so there is nothing to show about how they were made."


def class_counts(table, tasks, *, unsure=()):
    """Draw the number of particles of each class of each task; labels in `unsure` are named as set aside."""
    rows = []
    for task in tasks:
        count = table[task].value_counts()
        learnt = is_definite(pd.Series(count.index), unsure)
        rows += [
            (task, name if sure else f"{name} (set aside)", n)
            for (name, n), sure in zip(count.items(), learnt)
        ]
    counts = pd.DataFrame(rows, columns=["task", "class", "particles"])
    words = [f"{t}: " + ", ".join(f"{name} {n}" for task, name, n in rows if task == t) for t in tasks]

    def draw(axis, part):
        sns.barplot(part, x="particles", y="class", color="C0", saturation=1, ax=axis)
        axis.bar_label(axis.containers[0], padding=2, fontsize=8)
        axis.margins(x=0.15)

    return Picture(
        counts,
        on_axes(draw, "task", height=2.8, xlabel="particles"),
        f"Bars of the number of particles per class. {'; '.join(words)}.",
        f"Particles per class; n = {len(table):,} in {table['micrograph'].nunique()} micrographs.",
    )


def micrograph_counts(table, task):
    """Draw how many particles of each class each micrograph holds."""
    counts = table.groupby(["micrograph", task]).size().rename("particles").reset_index()

    def draw(axis, frame):
        wide = frame.pivot(index="micrograph", columns=task, values="particles").fillna(0)
        wide = wide[sorted(wide, key=natural)]
        below = wide.cumsum(axis=1) - wide
        for name in wide:
            axis.bar(range(1, len(wide) + 1), wide[name], 0.9, below[name], label=name)
        axis.set_xlim(0.4, len(wide) + 0.6)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=5)

    per = table.groupby("micrograph").size()
    return Picture(
        counts,
        on_axes(draw, height=2.8, xlabel="micrograph, in order of name", ylabel="particles"),
        f"Stacked bars, one per micrograph, of its particles by class of {task}.",
        f"Particles per micrograph by {task}: {per.min()} to {per.max()}, median {per.median():g}; n = {per.sum():,} in {len(per)} "
        "micrographs.",
    )


def micrographs(data, task, *, most=3, seed=0):
    """Show micrographs with the box of each particle, as far as particles were cut out of any.

    Micrographs are drawn at random, one of many particles more likely than one of few.
    """
    origin, rng, images = data.cut_from, np.random.default_rng(seed), {}
    counts = origin.value_counts().sort_index()
    chosen = (
        rng.choice(counts.index, min(most, len(counts)), False, counts / counts.sum()) if len(counts) else []
    )
    table = data.table.assign(micrograph=origin, label=data.table[task].astype(object).fillna(""))
    for name in chosen:
        image = data.micrograph(name)
        # A table may say of a crop, too, where it came from.
        if image.shape != (table.loc[origin == name, "box_px"].max(),) * 2:
            images[name] = (*_reduced(image), image.shape)
    if not images:
        return Note(["Particles came as crops, so there is no micrograph to show them in."], kind="")
    columns = ["micrograph", "particle", "label", "row", "column", "box_px", "pixel_size_nm"]
    frame = pd.concat([table.loc[origin == name, columns] for name in images], ignore_index=True)
    names = sorted(data.table[task].dropna().unique(), key=natural)
    held = [f"{name}: {_counted(part['label'])}" for name, part in frame.groupby("micrograph", sort=False)]
    return Picture(
        frame,
        lambda frame: _boxed(frame, images, names),
        f"Micrographs with a square around each particle, in the colour of its class. {'; '.join(held)}.",
        f"{len(images)} of {len(counts):,} micrographs, drawn at random, with the boxes of their n = {len(frame):,} particles by {task}; "
        f"averaged to at most {SIDE_PX} pixels a side, grey from the 1st to the 99th percentile.",
    )


def _counted(labels):
    """Return how many particles have each label, in words."""
    return ", ".join(f"{name or 'no label'} {n}" for name, n in labels.value_counts().items())


def _reduced(image):
    """Return an image averaged over squares of whole pixels, at most `SIDE_PX` a side, and the side of these squares."""
    step = min(-(-max(image.shape) // SIDE_PX), min(image.shape))
    rows, columns = (side // step for side in image.shape)
    squares = image[: rows * step, : columns * step].reshape(rows, step, columns, step)
    return squares.mean(axis=(1, 3), dtype=np.float32), step


def _boxed(frame, images, names):
    """Draw micrographs, in their own pixels, with the boxes of `frame` in the colours of the labels `names`."""
    across = min(2, len(images))
    down, side = -(-len(images) // across), 9.6 / across  # inches
    figure = Figure(layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel()
    looks = {name: {"color": f"C{k}", "ls": ("-", "--", ":")[k // 7 % 3]} for k, name in enumerate(names)}
    looks |= {"": {"color": "0.4", "ls": "-"}}  # no label
    grey = colormaps["gray"].resampled(32)  # as noise needs no more, in half the bytes
    halo = {"lw": 1.2, "path_effects": [withStroke(linewidth=2.2, foreground="white")]}
    for axis, (name, (image, step, shape)) in zip(axes, images.items()):
        part = frame[frame["micrograph"] == name]
        low, high = np.nanpercentile(image, (1, 99))
        extent = -0.5, step * image.shape[1] - 0.5, step * image.shape[0] - 0.5, -0.5
        axis.imshow(image, cmap=grey, vmin=low, vmax=high, extent=extent, interpolation_stage="data")
        for label, row, column, box in part[["label", "row", "column", "box_px"]].itertuples(index=False):
            # The centre is pixel box // 2 of the crop, as it is cut.
            corner = [np.floor(at + 0.5) - box // 2 - 0.5 for at in (column, row)]
            axis.add_patch(Rectangle(corner, box, box, fill=False, **looks[label], **halo))
        pixel = part["pixel_size_nm"].iloc[0]
        scale = (pixel, "nm") if np.isfinite(pixel) else (1.0, "px")
        scale_bar(axis, shape, *scale, most=0.3)
        axis.set(xlim=(-0.5, shape[1] - 0.5), ylim=(shape[0] - 0.5, -0.5))
        axis.set_title(name[-60:], fontsize=8)
    for axis in axes:
        axis.set(xticks=[], yticks=[], frame_on=False)
    counts = frame["label"].value_counts()
    lines = [
        Line2D([], [], label=f"{name[:40] or 'no label'} ({counts[name]:,})", **looks[name])
        for name in looks
        if name in counts
    ]
    free = len(axes) > len(images)  # room for the legend beside the last one
    ncols = 1 if free else max(1, 110 // (8 + max(len(line.get_label()) for line in lines)))
    if free:
        axes[-1].legend(handles=lines, loc="center", fontsize="medium")
    else:
        figure.legend(handles=lines, loc="outside lower center", ncols=ncols)
    ratios = [rows / columns for *_, (rows, columns) in images.values()]
    tall = sum(max(ratios[k * across : (k + 1) * across]) for k in range(down))
    below = 0 if free else 0.2 * -(-len(lines) // ncols) + 0.1
    figure.set_size_inches(side * across, side * tall + 0.3 * down + below)
    return figure


def gallery(data, task, *, each=8, seed=0):
    """Show a random sample of particles of each class, at most `each`."""
    rng, labels = np.random.default_rng(seed), data.table[task]
    classes = sorted(labels.dropna().unique(), key=natural)
    rows = [(name, i) for name in classes for i in rng.permutation(np.flatnonzero(labels == name))[:each]]
    frame = pd.DataFrame(rows, columns=["class", "row"])
    where = f"{data.pixel_nm:g} nm/pixel" if np.isfinite(data.pixel_nm) else "pixel size unknown"
    return Picture(
        frame,
        lambda frame: _rows(data, frame["row"], frame["class"], each),
        f"Rows of at most {each} particle images, one row for each class of {task}: {', '.join(classes)}.",
        f"Up to {each} random particles of each class of {task}, n = {len(frame)} of {len(data):,}; {where}; grey from −3 to 3 robust units.",
    )


def _rows(data, rows, names, each):
    """Draw particles by their rows of the table, those of a name beside each other, `each` at most, under the name."""
    cells = []
    for name, part in rows.groupby(names, sort=False):
        images = [*data.images[part.to_numpy()], *[None] * (each - len(part))]
        cells += zip(images, [name] + [""] * (each - 1))
    return grid(cells, each, side=1.1, pixel_nm=data.pixel_nm, align="left")[0]


def radial_profiles(data, task):
    """Draw the mean intensity against the distance from the centre, one line per class with a band over particles."""
    size = data.images.shape[-1]
    rows, columns = np.indices((size, size))
    ring = np.hypot(rows - (size - 1) / 2, columns - (size - 1) / 2).astype(int)
    profile = np.stack([ndimage.mean(image, ring, range(size // 2)) for image in data.images])  # (n, rings)
    unit = "nm" if np.isfinite(data.pixel_nm) else "pixels"
    radius = (np.arange(size // 2) + 0.5) * (data.pixel_nm if unit == "nm" else 1.0)
    parts = []
    indices = data.table.groupby(task).indices
    for name in sorted(indices, key=natural):
        index = indices[name]
        part = {"class": name, "n": len(index), "radius": radius, "mean": profile[index].mean(0)}
        parts.append(pd.DataFrame(part | {"error": sem(profile[index], ddof=0)}))

    def draw(axis, frame):
        name = frame["class"].astype(str) + " (n = " + frame["n"].astype(str) + ")"
        low, high = frame["mean"] - frame["error"], frame["mean"] + frame["error"]
        bands(axis, frame.assign(name=name, low=low, high=high), "radius", "mean", by="name")

    words = {"xlabel": f"distance from the centre ({unit})", "ylabel": "mean intensity\n(robust units)"}
    return Picture(
        pd.concat(parts, ignore_index=True),
        on_axes(draw, height=3, legend="best", **words),
        f"Lines of mean intensity against distance from the centre for each class of {task}.",
        f"Mean radial profile of each class of {task}; bands: one standard error over particles; n = {len(data):,}.",
    )


def histogram(values, *, label, what):
    """Draw the distribution of a number per particle: `label` names its axis with the unit, `what` the number."""
    values = pd.Series(values, dtype=float).dropna()

    def draw(axis, frame):
        sns.histplot(frame, x=label, bins=40, color="C0", alpha=1, ax=axis)

    return Picture(
        pd.DataFrame({label: values}),
        on_axes(draw, height=2.4, xlabel=label, ylabel="particles"),
        f"Histogram of {what} over particles, from {values.min():.3g} to {values.max():.3g}.",
        f"{what.capitalize()}: median {values.median():.3g}; n = {len(values):,}.",
    )


def power_spectra(data, table):
    """Draw the power spectrum of each micrograph; naming those that differ in `explore.per_micrograph`'s table."""
    frame = explore.spectra(data)
    odd = table.loc[(table["differs"] != "") | table["inverted"], "micrograph"].tolist()[:SHOWN]
    unit = "nm" if np.isfinite(data.pixel_nm) else "pixel"
    frame["frequency"] /= data.pixel_nm if unit == "nm" else 1.0

    def draw(axis, frame):
        wide = frame.pivot(index="frequency", columns="micrograph", values="power")
        axis.plot(wide, color="0.6", lw=0.7)
        for name in odd:
            axis.plot(wide[name], lw=1.8, label=name)
        if odd:
            axis.legend(title="differ")

    words = f"{', '.join(odd)} stand out, in colour" if odd else "none stands out"
    label = {"xlabel": f"spatial frequency (cycles per {unit})", "ylabel": "power\n(robust units²)"}
    return Picture(
        frame,
        on_axes(draw, yscale="log", **label),
        f"One line per micrograph of power against spatial frequency; {words}.",
        f"Mean power spectrum of the prepared particles of each micrograph, n = {len(data):,}. Dips are zeros of the contrast transfer; a "
        "line that lies apart has another focus, dose, camera or contrast.",
    )


def descriptor_map(data, tasks, placed):
    """Draw particles where `explore.principal` places them, coloured by each task and by micrograph."""
    frame = placed.join(data.table[[*tasks, "micrograph"]].iloc[placed["row"]].reset_index(drop=True))
    shares = enumerate(placed.attrs["explained"], 1)
    first, second = [f"component {k} ({share:.0%} of variance)" for k, share in shares]

    def draw(axis, part):
        look = {"x": "first", "y": "second", "s": 7, "alpha": 0.6, "lw": 0, "ax": axis}
        if part["by"].iloc[0] == "micrograph":
            sns.scatterplot(part, c=pd.factorize(part["name"], sort=True)[0] + 1, cmap="viridis", **look)
            axis.figure.colorbar(axis.collections[0], ax=axis, label="micrograph, in order of name")
        else:
            hue = part["name"] + " (" + part.groupby("name")["name"].transform("size").astype(str) + ")"
            sns.scatterplot(part, hue=hue, hue_order=sorted(hue.dropna().unique(), key=natural), **look)
            axis.legend(fontsize=7, markerscale=2, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)

    plot = on_axes(draw, "by", width=3.6, height=3.9, share=True, xlabel=first, ylabel=second)
    return Picture(
        frame,
        lambda frame: plot(frame.melt(list(placed), var_name="by", value_name="name")),
        f"Scatter plots of the same particles side by side, coloured by {', by '.join(tasks)} and by micrograph.",
        f"Principal components of the descriptors of n = {len(frame):,} particles, coloured by {', by '.join(tasks)} and by micrograph.",
    )


def sizes(data):
    """Draw the side of each particle's box in nm, or in pixels where the pixel size is unknown; diameters if given."""
    table, known = data.table, data.table["pixel_size_nm"].notna().all()
    unit = "nm" if known else "pixels of the micrograph"
    columns = {"side of the box": table["box_px"] * (table["pixel_size_nm"] if known else 1.0)}
    for name in table.filter(regex="diameter_nm$").select_dtypes("number") if known else ():
        words = name.replace("truth_", "true ").removesuffix("_nm").replace("_", " ")
        columns[words] = table[name].astype(float)
    frame = pd.DataFrame(columns)

    def draw(axis, frame):
        sns.histplot(frame, bins=np.linspace(0, frame.max().max(), 41), alpha=0.65, ax=axis)

    words = [f"{name} {v.min():.4g} to {v.max():.4g}, median {v.median():.4g}" for name, v in frame.items()]
    return Picture(
        frame,
        on_axes(draw, height=2.6, xlabel=f"size ({unit})", ylabel="particles", xlim=(0, None)),
        f"Histogram of sizes over particles: {'; '.join(words)}.",
        f"Sizes in {unit}: {'; '.join(words)}; n = {len(frame):,}.",
    )


def odd_micrographs(data, table, *, each=6, seed=0):
    """Show particles of micrographs that differ in the table of `explore.per_micrograph`, below ordinary ones."""
    marked = (table["differs"] != "") | table["inverted"]
    if not marked.any():
        return Note(["No micrograph stands out, so there is none to show."], kind="")
    usual = table[~marked].nlargest(2, "particles").assign(why="usual")
    odd = table[marked].head(SHOWN).assign(why=lambda t: np.where(t["inverted"], "inverted", "differs"))
    rng, micrographs, rows = np.random.default_rng(seed), data.table["micrograph"].to_numpy(), []
    for name, why in pd.concat([usual, odd])[["micrograph", "why"]].itertuples(index=False):
        rows += [(name, why, i) for i in rng.permutation(np.flatnonzero(micrographs == name))[:each]]
    frame = pd.DataFrame(rows, columns=["micrograph", "why", "row"])
    return Picture(
        frame,
        lambda frame: _rows(data, frame["row"], frame["micrograph"] + " (" + frame["why"] + ")", each),
        f"Rows of particles of {frame['micrograph'].nunique()} micrographs, the unusual ones below.",
        f"Random particles (n = {len(frame)}) of usual micrographs and of those that differ; grey from −3 to 3 robust units.",
    )


def pairs(data, table, *, most=6):
    """Show the first pairs of the table of `explore.near_duplicates`, one particle above the other."""
    if table.empty:
        return Note(["No two particles of different micrographs look alike, so no pair is shown."], kind="")
    frame = table.head(most)

    def draw(frame):
        rows = pd.Index(data.table["particle"]).get_indexer([*frame["first"], *frame["second"]])
        cells = [(data.images[i], data.table["micrograph"].iloc[i][-18:]) for i in rows]
        return grid(cells, len(frame), side=1.4, pixel_nm=data.pixel_nm)[0]

    return Picture(
        frame,
        draw,
        f"{len(frame)} pairs of particles that look the same, titled with their different micrographs.",
        f"The most alike of n = {len(table):,} pairs, correlation {frame['correlation'].min():.3f} or more.",
    )


def disagreements(data, found, *, most=12):
    """Show particles on which annotators differ, with the label of each; `found` is of `data.agreement`, or None."""
    if found is None:
        return Note(["One label per particle: there is no disagreement to show."], kind="")
    if found.disagreements.empty:
        return Note([f"The annotators of {found.task} agree on every particle."], kind="")
    frame = found.disagreements.head(most)

    def draw(frame):
        images = data.images[pd.Index(data.table["particle"]).get_indexer(frame["particle"])]
        given = frame[[f"{found.task}@{name}" for name in found.annotators]].replace("", "–").to_numpy()
        titles = ["\n".join(map("{}: {}".format, found.annotators, labels)) for labels in given]
        cells, look = [*zip(images, titles)], {"side": 1.45, "align": "left"}
        return grid(cells, min(6, len(frame)), pixel_nm=data.pixel_nm, **look)[0]

    return Picture(
        frame,
        draw,
        f"{len(frame)} particles, each with the different labels that annotators gave it.",
        f"The first {len(frame)} of n = {len(found.disagreements):,} particles on which the annotators of {found.task} differ, with the label "
        "that each gave.",
    )


def leakage(predictions, task):
    """Draw the balanced accuracy of a random split beside that of a split by whole micrographs, from `explore.leakage`."""
    if predictions is None:
        return Note([f"{task}: too few micrographs, or particles of a class, to compare splits."], kind="")
    scores, difference = explore.leaked(predictions, task)

    def draw(axis, scores):
        dots(axis, scores.assign(all=""), "model", "value", by="all", names=[""], sideways=True)
        for place, value in enumerate(scores["value"]):
            axis.text(value, place - 0.1, f"{value:.2f}", ha="center", va="bottom", fontsize=8)
        axis.axvline(1 / predictions["truth"].nunique(), color="0.5", lw=0.8, ls="--")

    low, high = difference["low"], difference["high"]
    by = f"{difference['difference']:+.3f} ({low:+.3f} to {high:+.3f})".replace("-", "−")
    says = "No gain from a random split could be shown here with these trees; a network may still find one."
    if low > 0 or high <= 0:
        says = f"A random split {'would flatter a classifier' if low > 0 else 'scores lower'} here."
    n, micrographs = scores.loc[0, ["n", "micrographs"]]
    return Picture(
        scores,
        on_axes(draw, width=6, height=1.6, xlabel=f"balanced accuracy, {task} (dashed: chance)"),
        f"Balanced accuracy of decision trees for two ways to hold out particles; at random minus whole micrographs: {by}.",
        f"Decision trees on texture and spectra; n = {n:,} in {micrographs} micrographs, 95 % intervals by micrograph. At random minus whole "
        f"micrographs: {by}. {says}",
    )


def stages(data, *, seed=1):
    """Show one particle at every stage of the simulation, or a sentence where `data` was not simulated."""
    if not data.simulated:
        return Note([_NOT_SIMULATED], kind="")
    steps, pixel_nm = simulate.stages(seed), simulate.PRESETS["talos200"].pixel_nm

    def draw(table):
        limits = [np.percentile(step.image, (0.5, 99.5)) for step in steps]
        titles = [f"{s.name}\n{low:,.4g} to {high:,.4g}\n{s.unit}" for s, (low, high) in zip(steps, limits)]
        cells = [(step.image, title) for step, title in zip(steps, titles)]
        figure, axes = grid(cells, 4, side=2.2, pixel_nm=pixel_nm, bars="all")
        for axis, step, shades in zip(axes, steps, limits):
            # Potential is drawn dark, as it will be seen.
            axis.images[0].set(clim=shades, cmap="gray_r" if step.unit == "V nm" else "gray")
        return figure

    rows = [(step.name, step.sentence, step.unit, step.image.mean(), step.image.std()) for step in steps]
    return Picture(
        pd.DataFrame(rows, columns=["stage", "sentence", "unit", "mean", "standard deviation"]),
        draw,
        "One vesicle with its payload: clean outlines; grain of ice; dark membranes, bright fringes; more and more noise; finally its box.",
        "One particle (n = 1) of the preset talos200, 2 µm under focus, 20 e⁻/Å², 100 nm of ice. "
        + " ".join(f"{step.name.capitalize()}: {step.sentence}" for step in steps),
    )


def thon_rings(data, *, seed=1):
    """Show the power spectrum of simulated ice with its theoretical zeros, or a sentence where not simulated."""
    if not data.simulated:
        return Note([_NOT_SIMULATED], kind="")
    zeros = simulate.thon_rings(seed=seed)

    def draw(axis, table):
        axis.plot("frequency_per_nm", "power", lw=1, data=zeros.attrs["spectrum"])
        place = {"transform": axis.get_xaxis_transform(), "lw": 1, "ls": "--"}
        axis.vlines(1 / table["theory_nm"], 0, 1, "C1", label="theoretical zeros", **place)

    label = {"xlabel": "spatial frequency (1/nm)", "ylabel": "power\n(relative to the mean squared)"}
    return Picture(
        zeros,
        on_axes(draw, width=7, yscale="log", xlim=(0, 1.2), legend="best", **label),
        "A power spectrum that oscillates with spatial frequency; dashed lines mark its first three minima.",
        "Power on rings of spatial frequency of one simulated micrograph of empty ice (n = 1, so no interval), 0.4 nm/pixel, high dose. "
        f"The first {len(zeros)} minima lie within {100 * zeros['relative_error'].abs().max():.2f} % of the zeros of "
        "π λ Δf k² − ½ π Cs λ³ k⁴ + arcsin w = n π.",
    )
