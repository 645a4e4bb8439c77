"""Pictures of notebook 1 that warn: micrographs that differ, particles that are alike, people who disagree."""

import numpy as np
import pandas as pd

from temlib import survey
from temlib.figures.base import COLOURS, Picture, clear, figure_of, gray, scale_bar

SHOWN = 6  # micrographs that are named in a picture


def power_spectra(data, table):
    """Draw the power spectrum of each micrograph's particles; those that differ (`survey.micrographs`) by name."""
    frame = survey.spectra(data)
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
        axis.set(yscale="log", xlabel=f"spatial frequency (cycles per {'nm' if known else 'pixel'})",
                 ylabel="power\n(robust units²)")  # fmt: skip
        if odd:
            axis.legend(fontsize=8, title="differ", title_fontsize=8)
        return figure

    words = f"{', '.join(odd)} stand out in colour" if odd else "none stands out"
    return Picture(frame, draw, f"One line a micrograph of power against spatial frequency; {words}.",
                   f"Mean power spectrum of the prepared particles of each of {frame['micrograph'].nunique()} micrographs "
                   f"(n = {len(data):,} particles). Rings of the microscope's transfer show as dips; a line that lies "
                   "elsewhere is another focus, dose, camera or contrast.")  # fmt: skip


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
    return Picture(frame, draw, f"Scatter plots of the same particles side by side, {words}.",
                   f"Principal components of the descriptors of {len(frame):,} particles, {words}. Classes that separate can "
                   "be learnt; where micrographs separate, a classifier may learn the micrograph instead.")  # fmt: skip


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
    return Picture(frame, draw, f"Histogram of sizes over particles ({unit}): {words}.",
                   f"Sizes in {unit}: {words}; n = {len(frame):,}.")  # fmt: skip


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

    return Picture(frame, draw, f"Rows of particles of {frame['micrograph'].nunique()} micrographs, the unusual ones below.",
                   "Random particles of usual micrographs and of those that differ; grey from −3 to 3 robust units.")  # fmt: skip


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

    return Picture(frame, draw, f"{len(frame)} pairs of particles of different micrographs that look the same.",
                   f"The {len(frame)} most alike of {len(table):,} pairs (correlation from {frame['correlation'].min():.3f}); "
                   "above each its micrograph.")  # fmt: skip


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

    return Picture(frame, draw, f"{len(frame)} particles with the different labels that {len(columns)} annotators gave them.",
                   f"The first {len(frame)} of {len(found.disagreements):,} particles on which the annotators of {found.task} "
                   "differ, with the label of each.")  # fmt: skip


def leakage(predictions, task):
    """Draw the balanced accuracy of a split at random beside that of whole micrographs (`survey.leakage`)."""
    scores, difference = survey.leaked(predictions, task)

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
        axis.set(yticks=range(len(scores)), yticklabels=scores["model"], ylim=(len(scores) - 0.4, -0.7),
                 xlabel=f"balanced accuracy, {task} (dashed: chance)")  # fmt: skip
        return figure

    low, high = difference["low"], difference["high"]
    by = f"{difference['difference']:+.3f} ({low:+.3f} to {high:+.3f})"
    says = (
        "A random split would flatter a classifier here." if low > 0
        else "No such gain could be shown here with these trees; a network may still find one." if high > 0
        else "A random split scores lower here."
    )  # fmt: skip
    n, micrographs = scores.loc[0, ["n", "micrographs"]]
    return Picture(scores, draw, f"Balanced accuracy of trees by how particles are held out; at random minus whole micrographs {by}.",
                   f"The same trees on texture and spectra; n = {n:,} particles of {micrographs} micrographs, 95 % intervals by "
                   f"micrograph. At random minus whole micrographs: {by}. {says}")  # fmt: skip
