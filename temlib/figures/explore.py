"""Pictures of notebook 1: what is in the data, what needs attention, and how simulated particles are made.

`data` is a `data.Particles` and `table` its table, unless stated otherwise; `task` is one of its label
columns, and `seed` that of a random sample.
"""

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.stats import sem

from temlib import explore, simulate
from temlib.data import is_definite
from temlib.figures.base import (
    COLOURS,
    Note,
    Picture,
    bands,
    colours,
    css,
    dots,
    grey,
    grid,
    key,
    named,
    on_axes,
    tall,
)
from temlib.files import natural

_ASIDE = " (set aside)"
SHOWN = 6  # micrographs that are named in a picture
SIDE_PX = 900  # pixels of a micrograph as it is shown, at most
_NOT_SIMULATED = "These particles were not simulated, so there is nothing to show about how they were made."


def class_counts(table, tasks, *, unsure=()):
    """Draw the number of particles of each class of each task; labels in `unsure` are named as set aside."""
    rows = []
    for task in tasks:
        count = table[task].value_counts()
        learnt = is_definite(pd.Series(count.index), unsure)
        rows += [(task, name if sure else name + _ASIDE, n) for (name, n), sure in zip(count.items(), learnt)]
    counts = pd.DataFrame(rows, columns=["task", "class", "particles"])
    words = [f"{t}: " + ", ".join(f"{name} {n}" for task, name, n in rows if task == t) for t in tasks]

    def draw(axis, part):
        told = colours(part["class"], set(part["class"][part["class"].str.endswith(_ASIDE)]))
        bars = axis.barh(range(len(part)), part["particles"], 0.7, color=part["class"].map(told), lw=0)
        axis.bar_label(bars, map("{:,}".format, part["particles"]), padding=2)
        axis.set_xlim(0, 1.2 * part["particles"].max())
        named(axis, part["class"])

    height = max(tall(part) for _, part in counts.groupby("task")["class"])
    return Picture(
        counts,
        on_axes(draw, "task", height=height, xlabel="particles"),
        f"Bars of the number of particles per class. {'; '.join(words)}.",
        f"Particles per class; n = {len(table):,} in {table['micrograph'].nunique()} micrographs.",
    )


def micrograph_counts(table, task, *, unsure=()):
    """Draw how many particles of each class each micrograph holds; labels in `unsure` are grey."""
    counts = table.groupby(["micrograph", task]).size().rename("particles").reset_index()

    def draw(axis, frame):
        wide = frame.pivot(index="micrograph", columns=task, values="particles").fillna(0)
        below, edges = 0, np.arange(len(wide) + 1) + 0.5
        for name, colour in colours(wide, unsure).items():
            axis.stairs(below + wide[name], edges, baseline=below, fill=True, color=colour, label=name)
            below = below + wide[name]
        axis.set(xlim=(0.4, max(6, len(wide)) + 0.6), ylim=(0, None))  # one micrograph is not a wall
        axis.xaxis.get_major_locator().set_params(integer=True)

    per = table.groupby("micrograph").size()
    return Picture(
        counts,
        on_axes(draw, xlabel="micrograph, in order of name", ylabel="particles"),
        f"Stacked bars, one per micrograph, of its particles by class of {task}.",
        f"Particles per micrograph by {task}: {per.min()} to {per.max()}, median {per.median():g}; n = {per.sum():,} in {len(per)} "
        "micrographs.",
    )


def micrographs(data, task, *, unsure=(), most=3, seed=0):
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
            images[name] = (*averaged(image), image.shape)
    if not images:
        return Note([], absent="Particles came as crops, so there is no micrograph to show them in.")
    columns = ["micrograph", "particle", "label", "row", "column", "box_px", "pixel_size_nm"]
    frame = pd.concat([table.loc[origin == name, columns] for name in images], ignore_index=True)
    names = sorted(data.table[task].dropna().unique(), key=natural)
    held = [f"{name}: {_counted(part['label'])}" for name, part in frame.groupby("micrograph", sort=False)]
    return Picture(
        frame,
        lambda frame: _boxed(frame, images, colours(names, unsure)),
        f"Micrographs with a square around each particle, in the colour of its class. {'; '.join(held)}.",
        f"{len(images)} of {len(counts):,} micrographs, drawn at random, with the boxes of their n = {len(frame):,} particles by {task}; "
        f"averaged to at most {SIDE_PX} pixels a side, grey from the 1st to the 99th percentile.",
    )


def _counted(labels):
    """Return how many particles have each label, in words."""
    return ", ".join(f"{name or 'no label'} {n}" for name, n in labels.value_counts().items())


def averaged(image):
    """Return an image averaged over squares of whole pixels, at most `SIDE_PX` a side, and the side of these squares."""
    step = min(-(-max(image.shape) // SIDE_PX), min(image.shape))
    rows, columns = (side // step for side in image.shape)
    squares = image[: rows * step, : columns * step].reshape(rows, step, columns, step)
    return squares.mean(axis=(1, 3), dtype=np.float32), step


def _boxed(frame, images, told):
    """Show micrographs, in their own pixels, with the boxes of `frame` in the colours `told` of their labels."""
    told, counts = told | {"": "0.4"}, frame["label"].value_counts()
    shown = [("□", told[name], f"{name or 'no label'} ({counts[name]:,})") for name in told if name in counts]
    parts = [key(shown)]
    for name, (image, step, _) in images.items():
        part = frame[frame["micrograph"] == name]
        shades = np.nanpercentile(image, (1, 99))
        boxes = [("#fff", 3.2, part)]  # a rim in which no colour is lost
        boxes += [(css(told[label]), 1.6, some) for label, some in part.groupby("label")]
        drawn = "".join(_squares(some, step, colour, width) for colour, width, some in boxes)
        pixel = step * part["pixel_size_nm"].iloc[0]
        parts.append(
            grid([(name, [(grey(image, *shades), "", drawn)])], side=344, most=SIDE_PX, pixel_nm=pixel)
        )
    return "".join(parts)


def _squares(boxes, step, colour, width):
    """Return the SVG of the boxes of particles in a micrograph of which a pixel is shown for `step` × `step`."""
    path = ""
    for row, column, box in boxes[["row", "column", "box_px"]].itertuples(index=False):
        # The centre is pixel box // 2 of the crop, as it is cut.
        y, x = (np.floor(at + 0.5) - box // 2 for at in (row, column))
        path += f"M{x / step:g} {y / step:g}h{box / step:g}v{box / step:g}h{-box / step:g}z"
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}" vector-effect="non-scaling-stroke"/>'


def gallery(data, task, *, each=8, seed=0):
    """Show a random sample of particles of each class, at most `each`."""
    rng, labels = np.random.default_rng(seed), data.table[task]
    classes = sorted(labels.dropna().unique(), key=natural)
    rows = [(name, i) for name in classes for i in rng.permutation(np.flatnonzero(labels == name))[:each]]
    frame = pd.DataFrame(rows, columns=["class", "row"])
    where = f"{data.pixel_nm:g} nm/pixel" if np.isfinite(data.pixel_nm) else "pixel size unknown"
    return Picture(
        frame,
        lambda frame: _rows(data, frame["row"], frame["class"]),
        f"Rows of at most {each} particle images, one row for each class of {task}: {', '.join(classes)}.",
        f"Up to {each} random particles of each class of {task}, n = {len(frame)} of {len(data):,}; {where}; grey from −3 to 3 robust units.",
    )


def _rows(data, rows, names):
    """Show particles by their rows of the table, those of a name beside each other, under the name."""
    groups = [(name, [(data.images[i], "") for i in part]) for name, part in rows.groupby(names, sort=False)]
    return grid(groups, side=84, pixel_nm=data.pixel_nm)


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
        bands(axis, frame.assign(name=name, low=low, high=high), "radius", "mean", by="name", palette=COLOURS)

    words = {"xlabel": f"distance from the centre ({unit})", "ylabel": "mean intensity\n(robust units)"}
    return Picture(
        pd.concat(parts, ignore_index=True),
        on_axes(draw, **words),
        f"Lines of mean intensity against distance from the centre for each class of {task}.",
        f"Mean radial profile of each class of {task}; bands: one standard error over particles; n = {len(data):,}.",
    )


def histogram(values, *, label, what):
    """Draw the distribution of a number per particle: `label` names its axis with the unit, `what` the number."""
    values = pd.Series(values, dtype=float).dropna()

    def draw(axis, frame):
        axis.stairs(*np.histogram(frame[label], 40), fill=True, color="0.6")

    return Picture(
        pd.DataFrame({label: values}),
        on_axes(draw, xlabel=label, ylabel="particles", ylim=(0, None)),
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
        for k, name in enumerate(odd):
            axis.plot(wide[name], f"C{k}", lw=1.8, label=f"{name} (differs)")

    words = f"{', '.join(odd)} stand out, in colour" if odd else "none stands out"
    label = {"xlabel": f"spatial frequency (cycles per {unit})", "ylabel": "power\n(robust units²)"}
    return Picture(
        frame,
        on_axes(draw, yscale="log", **label),
        f"One line per micrograph of power against spatial frequency; {words}.",
        f"Mean power spectrum of the prepared particles of each micrograph, n = {len(data):,}. Dips are zeros of the contrast transfer; a "
        "line that lies apart has another focus, dose, camera or contrast.",
    )


def descriptor_map(data, tasks, placed, *, unsure=()):
    """Draw particles where `explore.principal` places them, coloured by each task, grey where `unsure`, and by micrograph."""
    frame = placed.join(data.table[[*tasks, "micrograph"]].iloc[placed["row"]].reset_index(drop=True))
    shares = enumerate(placed.attrs["explained"], 1)
    first, second = [f"component {k} ({share:.0%} of variance)" for k, share in shares]

    # Thousands of points are smaller, and drawn sooner, as pixels.
    look = {"s": 9, "alpha": 0.6, "lw": 0, "rasterized": len(frame) > 200}

    def draw(axis, part):
        if part["by"].iloc[0] == "micrograph":
            order = pd.factorize(part["name"], sort=True)[0] + 1
            points = axis.scatter(part["first"], part["second"], c=order, cmap="viridis", **look)
            points.set_clim(1, max(2, order.max()))
            ticks = np.unique(np.linspace(1, order.max(), 5).astype(int))
            axis.figure.colorbar(points, ax=axis, label="micrograph, in order of name", ticks=ticks)
            return
        for name, colour in colours(part["name"].dropna(), unsure).items():
            of = part[part["name"] == name]
            axis.scatter(of["first"], of["second"], color=colour, label=f"{name} ({len(of):,})", **look)

    plot = on_axes(draw, "by", height=3, share=True, xlabel=first, ylabel=second)
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
        edges = np.linspace(0, frame.max().max(), 41)
        for k, name in enumerate(frame):
            axis.stairs(
                *np.histogram(frame[name].dropna(), edges), fill=True, color=f"C{k}", alpha=0.6, label=name
            )

    words = [f"{name} {v.min():.4g} to {v.max():.4g}, median {v.median():.4g}" for name, v in frame.items()]
    return Picture(
        frame,
        on_axes(draw, xlabel=f"size ({unit})", ylabel="particles", xlim=(0, None)),
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
        lambda frame: _rows(data, frame["row"], frame["micrograph"] + " (" + frame["why"] + ")"),
        f"Rows of particles of {frame['micrograph'].nunique()} micrographs, the unusual ones below.",
        f"Random particles (n = {len(frame)}) of usual micrographs and of those that differ; grey from −3 to 3 robust units.",
    )


def pairs(data, table, *, most=6):
    """Show the first pairs of the table of `explore.near_duplicates`, one particle beside the other."""
    if table.empty:
        return Note(["No two particles of different micrographs look alike, so no pair is shown."], kind="")
    frame = table.head(most)

    def draw(frame):
        groups = []
        for pair in frame[["first", "second"]].to_numpy():
            rows = pd.Index(data.table["particle"]).get_indexer(pair)
            groups.append(("", [(data.images[i], data.table["micrograph"].iloc[i]) for i in rows]))
        return grid(groups, pixel_nm=data.pixel_nm)

    return Picture(
        frame,
        draw,
        f"{len(frame)} pairs of particles that look the same, titled with their different micrographs.",
        f"The most alike of n = {len(table):,} pairs, correlation {frame['correlation'].min():.3f} or more.",
    )


def disagreements(data, found, *, most=12):
    """Show particles on which annotators differ, with the label of each; `found` is of `data.agreement`, or None."""
    if found is None:
        return Note([], absent="One label per particle: there is no disagreement to show.")
    if found.disagreements.empty:
        return Note([f"The annotators of {found.task} agree on every particle."], kind="")
    frame = found.disagreements.head(most)

    def draw(frame):
        images = data.images[pd.Index(data.table["particle"]).get_indexer(frame["particle"])]
        given = frame[[f"{found.task}@{name}" for name in found.annotators]].replace("", "–").to_numpy()
        titles = ["\n".join(map("{}: {}".format, found.annotators, labels)) for labels in given]
        return grid([("", [*zip(images, titles)])], pixel_nm=data.pixel_nm)

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
        dots(axis, scores.assign(all="_"), "model", "value", by="all", names=["_"])
        for place, value in enumerate(scores["value"]):
            axis.text(value, place - 0.1, f"{value:.2f}", ha="center", va="bottom")
        axis.axvline(1 / predictions["truth"].nunique(), color="0.5", lw=0.8, ls="--")

    low, high = difference["low"], difference["high"]
    by = f"{difference['difference']:+.3f} ({low:+.3f} to {high:+.3f})".replace("-", "−")
    says = "No gain from a random split could be shown here with these trees; a network may still find one."
    if low > 0 or high <= 0:
        says = f"A random split {'would flatter a classifier' if low > 0 else 'scores lower'} here."
    n, micrographs = scores.loc[0, ["n", "micrographs"]]
    return Picture(
        scores,
        on_axes(draw, height=1.6, xlabel=f"balanced accuracy, {task}\n(dashed: chance)"),
        f"Balanced accuracy of decision trees for two ways to hold out particles; at random minus whole micrographs: {by}.",
        f"Decision trees on texture and spectra; n = {n:,} in {micrographs} micrographs, 95 % intervals by micrograph. At random minus whole "
        f"micrographs: {by}. {says}",
    )


def stages(data, *, seed=1):
    """Show one particle at every stage of the simulation, or a sentence where `data` was not simulated."""
    if not data.simulated:
        return Note([], absent=_NOT_SIMULATED)
    steps, pixel_nm = simulate.stages(seed), simulate.PRESETS["talos200"].pixel_nm

    def draw(table):
        cells = []
        for step in steps:
            low, high = np.percentile(step.image, (0.5, 99.5))
            # Potential is drawn dark, as it will be seen.
            shades = (high, low) if step.unit == "V nm" else (low, high)
            cells.append((grey(step.image, *shades), f"{step.name}\n{low:,.4g} to {high:,.4g}\n{step.unit}"))
        return grid([("", cells)], side=168, pixel_nm=pixel_nm, bars="all")

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
        return Note([], absent=_NOT_SIMULATED)
    zeros = simulate.thon_rings(seed=seed)

    def draw(axis, table):
        axis.plot("frequency_per_nm", "power", lw=1, data=zeros.attrs["spectrum"])
        for k, zero in enumerate(1 / table["theory_nm"]):
            axis.axvline(zero, color="C1", lw=1, ls="--", label="" if k else "theoretical zeros")

    label = {"xlabel": "spatial frequency (1/nm)", "ylabel": "power (relative to the mean squared)"}
    return Picture(
        zeros,
        on_axes(draw, yscale="log", xlim=(0, 1.2), **label),
        "A power spectrum that oscillates with spatial frequency; dashed lines mark its first three minima.",
        "Power on rings of spatial frequency of one simulated micrograph of empty ice (n = 1, so no interval), 0.4 nm/pixel, high dose. "
        f"The first {len(zeros)} minima lie within {100 * zeros['relative_error'].abs().max():.2f} % of the zeros of "
        "π λ Δf k² − ½ π Cs λ³ k⁴ + arcsin w = n π.",
    )
