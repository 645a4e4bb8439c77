"""Pictures of notebook 1: what is in the data.

Pictures of notebook 1 that warn: micrographs that differ, particles that are alike, people who disagree.

Pictures that explain the simulator: one particle at every stage, and Thon rings against theory.
"""

import numpy as np
import pandas as pd

from temlib import explore, simulate
from temlib.figures import base
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
    return Picture(
        counts,
        draw,
        f"Bars of the number of particles per class. {words}.",
        f"Particles per class; n = {len(table):,} in {table['micrograph'].nunique()} micrographs.",
    )


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
    return Picture(
        counts,
        draw,
        f"Stacked bars, one a micrograph, of its particles per class of {task}.",
        f"Particles per micrograph by {task}: {per.min()} to {per.max()}, median {per.median():g}; "
        f"{len(per)} micrographs.",
    )


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
    return Picture(
        frame,
        draw,
        f"Rows of grey-scale particle images, one row for each of the classes {', '.join(classes)}.",
        f"Up to {each} random particles of each class of {task}; {where}; grey from −3 to 3 robust units.",
    )


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
        axis.set(
            xlabel=f"distance from the centre ({'nm' if np.isfinite(data.pixel_nm) else 'pixels'})",
            ylabel="mean intensity\n(robust units)",
        )
        axis.legend(fontsize=8)
        return figure

    return Picture(
        frame,
        draw,
        f"Lines of mean intensity against distance from the centre for each class of {task}.",
        f"Mean radial profile per class of {task}; the band is one standard error over particles.",
    )


def histogram(values, *, label, what):
    """Draw the distribution of a number per particle."""
    values = pd.Series(values, dtype=float).dropna()
    frame = pd.DataFrame({label: values})

    def draw(frame):
        figure, axis = figure_of(height=2.4)
        axis.hist(frame[label], bins=40, color=COLOURS[0])
        axis.set(xlabel=label, ylabel="particles")
        return figure

    return Picture(
        frame,
        draw,
        f"Histogram of {what} over particles, from {values.min():.3g} to {values.max():.3g}.",
        f"{what.capitalize()}; median {values.median():.3g}; n = {len(values):,}.",
    )


SHOWN = 6  # micrographs that are named in a picture


def power_spectra(data, table):
    """Draw the power spectrum of each micrograph's particles; those that differ (`survey.micrographs`) by name."""
    frame = explore.spectra(data)
    odd = table.loc[(table["differs"] != "") | table["inverted"], "micrograph"].tolist()[:SHOWN]
    known = np.isfinite(data.pixel_nm)
    frame["frequency"] /= data.pixel_nm if known else 1.0

    def draw(frame):
        figure, axis = figure_of(height=3.2)
        for name, part in frame.groupby("micrograph"):
            if name in odd:
                axis.plot(
                    part["frequency"],
                    part["power"],
                    color=COLOURS[1 + odd.index(name)],
                    lw=1.8,
                    label=name,
                    zorder=3,
                )
            else:
                axis.plot(part["frequency"], part["power"], color="0.6", lw=0.7)
        axis.set(
            yscale="log",
            xlabel=f"spatial frequency (cycles per {'nm' if known else 'pixel'})",
            ylabel="power\n(robust units²)",
        )
        if odd:
            axis.legend(fontsize=8, title="differ", title_fontsize=8)
        return figure

    words = f"{', '.join(odd)} stand out in colour" if odd else "none stands out"
    return Picture(
        frame,
        draw,
        f"One line a micrograph of power against spatial frequency; {words}.",
        f"Mean power spectrum of the prepared particles of each of {frame['micrograph'].nunique()} micrographs "
        f"(n = {len(data):,} particles). Rings of the microscope's transfer show as dips; a line that lies "
        "elsewhere is another focus, dose, camera or contrast.",
    )


def descriptor_map(data, tasks, placed):
    """Draw particles by the principal components of their descriptors, coloured by each task and by micrograph."""
    frame = placed.join(data.table[[*tasks, "micrograph"]].iloc[placed["row"]].reset_index(drop=True))
    explained = placed.attrs.get("explained", [np.nan, np.nan])

    def draw(frame):
        count = len(tasks) + 1
        figure, axes = figure_of(
            1, count, width=1.0 + 3.3 * count, height=3.9, sharex=True, sharey=True, squeeze=False
        )
        for axis, task in zip(axes[0], tasks):
            for (name, part), colour in zip(frame.groupby(task), COLOURS * 3):
                axis.scatter(
                    part["first"],
                    part["second"],
                    s=7,
                    color=colour,
                    alpha=0.6,
                    lw=0,
                    label=f"{name} ({len(part)})",
                )
            axis.legend(fontsize=7, markerscale=2, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
            axis.set(title=f"by {task}", xlabel=f"component 1 ({explained[0]:.0%} of variance)")
        codes, names = pd.factorize(frame["micrograph"], sort=True)
        points = axes[0, -1].scatter(
            frame["first"], frame["second"], s=7, c=codes + 1, cmap="viridis", alpha=0.6, lw=0
        )
        if len(names) > 1:
            figure.colorbar(points, ax=axes[0, -1], label="micrograph, in order of name")
        axes[0, -1].set(title="by micrograph", xlabel=f"component 1 ({explained[0]:.0%} of variance)")
        axes[0, 0].set_ylabel(f"component 2 ({explained[1]:.0%} of variance)")
        return figure

    words = f"coloured by {', by '.join(tasks)}, and by micrograph"
    return Picture(
        frame,
        draw,
        f"Scatter plots of the same particles side by side, {words}.",
        f"Principal components of the descriptors of {len(frame):,} particles, {words}. Classes that separate can "
        "be learnt; where micrographs separate, a classifier may learn the micrograph instead.",
    )


def sizes(data):
    """Draw the side of each particle's box in nm, or in pixels where the pixel size is unknown; diameters if given."""
    table, known = data.table, data.table["pixel_size_nm"].notna().all()
    unit = "nm" if known else "pixels of the micrograph"
    columns = {"side of the box": table["box_px"] * (table["pixel_size_nm"] if known else 1.0)}
    columns |= {
        name.replace("truth_", "true ").removesuffix("_nm").replace("_", " "): table[name].astype(float)
        for name in table
        if name.endswith("diameter_nm") and pd.api.types.is_numeric_dtype(table[name]) and known
    }
    frame = pd.DataFrame(columns)

    def draw(frame):
        figure, axis = figure_of(height=2.6)
        low, high = np.nanmin(frame.to_numpy()), np.nanmax(frame.to_numpy())
        bins = np.linspace(low, high, 41) if high > 1.05 * low else np.linspace(0.95 * low, 1.05 * high, 5)
        for name, colour in zip(frame, COLOURS):
            axis.hist(frame[name], bins=bins, color=colour, alpha=0.65, label=name)
        axis.set(xlabel=unit, ylabel="particles", xlim=(0, None))
        axis.legend(fontsize=8)
        return figure

    words = "; ".join(
        f"{name} {v.min():.4g} to {v.max():.4g}, median {v.median():.4g}" for name, v in frame.items()
    )
    return Picture(
        frame,
        draw,
        f"Histogram of sizes over particles ({unit}): {words}.",
        f"Sizes in {unit}: {words}; n = {len(frame):,}.",
    )


def odd_micrographs(data, table, *, each=6, seed=0):
    """Show particles of micrographs that differ or are inverted, and of ordinary ones above them."""
    marked = (table["differs"] != "") | table["inverted"]
    usual = table.loc[~marked].nlargest(2, "particles")
    chosen = pd.concat([usual.assign(why="usual"), table[marked].head(SHOWN).assign(why="differs")])
    rng = np.random.default_rng(seed)
    rows = []
    for name, why, inverted in chosen[["micrograph", "why", "inverted"]].itertuples(index=False):
        index = rng.permutation(np.flatnonzero(data.table["micrograph"].to_numpy() == name))[:each]
        rows += [(name, "inverted" if inverted else why, i) for i in index]
    frame = pd.DataFrame(rows, columns=["micrograph", "why", "row"])

    def draw(frame):
        names = frame["micrograph"].unique()
        figure, axes = figure_of(len(names), each, width=each * 1.1, height=1.35 * len(names), squeeze=False)
        clear(axes)
        for k, (name, part) in enumerate(frame.groupby("micrograph", sort=False)):
            axes[k, 0].set_title(f"{name} ({part['why'].iloc[0]})", fontsize=8, loc="left")
            for j, i in enumerate(part["row"]):
                gray(axes[k, j], data.images[i])
            scale_bar(axes[k, 0], data.images.shape[1], data.pixel_nm)
        return figure

    return Picture(
        frame,
        draw,
        f"Rows of particles of {frame['micrograph'].nunique()} micrographs, the unusual ones below.",
        "Random particles of usual micrographs and of those that differ; grey from −3 to 3 robust units.",
    )


def pairs(data, table, *, most=6):
    """Show pairs of particles that look alike, one above the other."""
    frame = table.head(most)
    row = pd.Series(np.arange(len(data)), data.table["particle"].to_numpy())

    def draw(frame):
        figure, axes = figure_of(2, len(frame), width=max(4.0, 1.4 * len(frame)), height=3.1, squeeze=False)
        clear(axes)
        for j, pair in enumerate(frame.itertuples()):
            for k, name in enumerate((pair.first, pair.second)):
                gray(axes[k, j], data.images[row[name]])
                axes[k, j].set_title(data.table["micrograph"].iloc[row[name]][-18:], fontsize=7)
        return figure

    return Picture(
        frame,
        draw,
        f"{len(frame)} pairs of particles of different micrographs that look the same.",
        f"The {len(frame)} most alike of {len(table):,} pairs (correlation from {frame['correlation'].min():.3f}); "
        "above each its micrograph.",
    )


def disagreements(data, found, *, most=12):
    """Show particles on which annotators differ, with what each said; `found` is a `tables.Agreement`."""
    frame = found.disagreements.head(most)
    row = pd.Series(np.arange(len(data)), data.table["particle"].to_numpy())
    columns = [f"{found.task}@{name}" for name in found.annotators]

    def draw(frame):
        across = min(6, max(len(frame), 1))
        down = -(-len(frame) // across)
        height = 1.5 + 0.14 * len(columns)
        figure, axes = figure_of(down, across, width=1.45 * across, height=height * down, squeeze=False)
        clear(axes)
        for axis, (_, one) in zip(axes.ravel(), frame.iterrows()):
            gray(axis, data.images[row[one["particle"]]])
            said = "\n".join(
                f"{name}: {one[column] or '–'}" for name, column in zip(found.annotators, columns)
            )
            axis.set_title(said, fontsize=7, loc="left", linespacing=1.05)
        scale_bar(axes[0, 0], data.images.shape[1], data.pixel_nm)
        return figure

    return Picture(
        frame,
        draw,
        f"{len(frame)} particles with the different labels that {len(columns)} annotators gave them.",
        f"The first {len(frame)} of {len(found.disagreements):,} particles on which the annotators of {found.task} "
        "differ, with the label of each.",
    )


def leakage(predictions, task):
    """Draw the balanced accuracy of a split at random beside that of whole micrographs (`survey.leakage`)."""
    scores, difference = explore.leaked(predictions, task)

    def draw(scores):
        figure, axis = figure_of(width=6.0, height=1.6)
        for place, row in scores.iterrows():
            axis.plot([row["low"], row["high"]], [place, place], color=COLOURS[place], lw=2)
            axis.plot(row["value"], place, "o", color=COLOURS[place])
            axis.annotate(
                f"{row['value']:.2f}",
                (row["value"], place),
                (0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
        axis.axvline(1 / predictions["truth"].nunique(), color="0.5", lw=0.8, ls="--")
        axis.set(
            yticks=range(len(scores)),
            yticklabels=scores["model"],
            ylim=(len(scores) - 0.4, -0.7),
            xlabel=f"balanced accuracy, {task} (dashed: chance)",
        )
        return figure

    low, high = difference["low"], difference["high"]
    by = f"{difference['difference']:+.3f} ({low:+.3f} to {high:+.3f})"
    says = (
        "A random split would flatter a classifier here."
        if low > 0
        else "No such gain could be shown here with these trees; a network may still find one."
        if high > 0
        else "A random split scores lower here."
    )
    n, micrographs = scores.loc[0, ["n", "micrographs"]]
    return Picture(
        scores,
        draw,
        f"Balanced accuracy of trees by how particles are held out; at random minus whole micrographs {by}.",
        f"The same trees on texture and spectra; n = {n:,} particles of {micrographs} micrographs, 95 % intervals by "
        f"micrograph. At random minus whole micrographs: {by}. {says}",
    )


_NOT = "These particles were not simulated, so there is nothing to show about how they were made."


def stages(data, *, seed=1):
    """Show one particle at every stage of the simulation; Words that say so where nothing was simulated."""
    if not data.simulated:
        return base.Note([_NOT])
    steps, pixel_nm = simulate.stages(seed), simulate.PRESETS["talos200"].pixel_nm

    def draw(table):
        figure, axes = figure_of(2, 4, width=9.0, height=5.0)
        clear(axes)
        for axis, step in zip(axes.ravel(), steps):
            low, high = np.percentile(step.image, (0.5, 99.5))
            # Potential is drawn dark, as it will be seen.
            shades = "gray_r" if step.unit == "V nm" else "gray"
            axis.imshow(step.image, cmap=shades, vmin=low, vmax=high, interpolation="nearest")
            axis.set_title(f"{step.name}\n{low:,.4g} to {high:,.4g}\n{step.unit}", fontsize=8)
            scale_bar(axis, len(step.image), pixel_nm)
        return figure

    table = pd.DataFrame(
        [(s.name, s.sentence, s.unit, s.image.mean(), s.image.std()) for s in steps],
        columns=["stage", "sentence", "unit", "mean", "standard deviation"],
    )
    return Picture(
        table,
        draw,
        "A vesicle with its payload, first as clean rings, then with the grain of ice, dark with bright fringes by the "
        "lens, then more and more hidden by noise, and at last cut out by its box.",
        "One particle (n = 1) of the preset talos200, 2 µm under focus, 20 e/Å², 100 nm of ice, at each step. "
        + " ".join(f"{s.name.capitalize()}: {s.sentence}" for s in steps),
    )


def thon_rings(data, *, seed=1):
    """Show the power spectrum of simulated ice with the zeros that theory predicts; Words where not simulated."""
    from temlib.figures import base

    if not data.simulated:
        return base.Note([_NOT])
    zeros = simulate.thon_rings(seed=seed)
    spectrum = zeros.attrs["spectrum"]

    def draw(table):
        figure, axis = figure_of(width=7.0)
        axis.semilogy(spectrum["frequency_per_nm"], spectrum["power"], color=COLOURS[0], lw=1)
        for row in table.itertuples():
            axis.axvline(1 / row.theory_nm, color=COLOURS[1], lw=1, ls="--")
        axis.plot([], [], color=COLOURS[1], ls="--", label="zeros by theory")
        axis.legend()
        axis.set(
            xlabel="spatial frequency (1/nm)", ylabel="power (relative to the mean squared)", xlim=(0, 1.2)
        )
        return figure

    worst = 100 * zeros["relative_error"].abs().max()
    return Picture(
        zeros,
        draw,
        "A power spectrum that swings up and down along spatial frequency; dashed lines stand at its first three minima.",
        f"Power on rings of spatial frequency of one simulated micrograph of plain ice (n = 1), .4 nm a pixel, high dose. "
        f"The first {len(zeros)} minima lie within {worst:.2f} % of the zeros of "
        "π λ Δf k² − ½ π Cs λ³ k⁴ + arcsin w = n π; no interval, for this is one computed image.",
    )
