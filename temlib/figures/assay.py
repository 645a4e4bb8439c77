"""Pictures of notebook 6: the shares of a sample, its micrographs, and what was called what."""

import numpy as np
import pandas as pd

from temlib.figures.base import COLOURS, Note, Picture, colours, dots, grid, on_axes, tall
from temlib.files import natural


def shares(table):
    """Draw the shares of each class, of `assay.Sample.shares`: corrected, counted, with labels where there are such, and the truth."""
    rows = table[table["estimate"] == table["estimate"].iloc[0]]
    others = [
        rows.assign(estimate=name, share=rows[name], low=np.nan, high=np.nan).dropna(subset="share")
        for name in ("counted", "truth")
        if name in rows
    ]
    frame = pd.concat([table, *others], ignore_index=True)
    names, classes = list(dict.fromkeys(frame["estimate"])), list(dict.fromkeys(frame["class"]))
    told = zip(frame["estimate"], frame["class"], frame["share"])
    words = "; ".join(f"{estimate}, {name}: {share:.3f}" for estimate, name, share in told)

    def draw(axis, frame):
        frame = frame.fillna({"low": frame["share"], "high": frame["share"]})
        dots(axis, frame, "class", "share", by="estimate", names=names)

    look = {"height": tall(classes, 0.14 * len(names) + 0.1), "xlim": (-0.02, 1.02)}
    first, known = rows.iloc[0], ", and the truth of simulated particles is known" * ("truth" in rows)
    return Picture(
        frame[["class", "estimate", "share", "low", "high"]],
        on_axes(draw, xlabel="share of the particles", **look),
        f"Points of the shares with intervals: {words}.",
        f"Shares with 95 % intervals by micrograph; counted calls have none, for they are biased{known}; n = {first['n']:,} in "
        f"{first['micrographs']:,} micrographs.",
    )


def control_chart(table):
    """Draw the share called of each class in each micrograph, with its limits: `assay.Sample.by_micrograph`."""

    def draw(axis, part):
        at = np.arange(1, len(part) + 1)
        axis.fill_between(at, part["low"], part["high"], step="mid", color="0.5", alpha=0.2, lw=0)
        axis.axhline(part["centre"].iloc[0], color="0.5", lw=0.8)
        for outside, colour, marker, label in ((False, "0.4", "o", ""), (True, COLOURS[1], "D", "outside")):
            some = (part["outside"] == outside).to_numpy()
            axis.plot(
                at[some], part["share"][some], marker, color=colour, ms=4, label=label if some.any() else ""
            )
        axis.set(xlim=(0.4, max(6, len(part)) + 0.6))
        axis.xaxis.get_major_locator().set_params(integer=True)

    first = table[table["class"] == table["class"].iloc[0]]
    out = list(dict.fromkeys(table["micrograph"][table["outside"]]))
    words = f"outside: {', '.join(map(str, out))}" if out else "none lies outside"
    return Picture(
        table,
        on_axes(
            draw,
            "class",
            share=True,
            xlabel="micrograph, in order of name",
            ylabel="share called",
            ylim=(-0.03, 1.03),
        ),
        f"Points of the share called of each class against the micrograph, with limits; {words}.",
        f"Calls, not corrected, of n = {first['n'].sum():,} particles in {len(first):,} micrographs. Line: all particles. Band: where 99.7 % "
        f"of micrographs of so many particles lie, if they differ as most do here; {words}.",
    )


def sizes_by_class(data, task):
    """Draw the diameters, or the sides of the boxes, in nm for each class of a column."""
    table = data.table
    if not table["pixel_size_nm"].notna().all():
        return Note([], absent="Pixel sizes are unknown, so there are no sizes.")
    what, size = "side of the box", table["box_px"] * table["pixel_size_nm"]
    if "diameter_nm" in table:
        what, size = "diameter", table["diameter_nm"].astype(float)
    frame = pd.DataFrame({"class": table[task], what: size})
    edges = np.linspace(0, np.nanmax(size), 31)

    def draw(axis, frame):
        for name, colour in colours(frame["class"]).items():
            values = frame[what][frame["class"] == name]
            shares = np.histogram(values, edges)[0] / len(values)
            axis.stairs(shares, edges, fill=True, color=colour, alpha=0.6, label=f"{name} ({len(values):,})")

    medians = frame.groupby("class")[what].median()
    words = "; ".join(f"{name} {medians[name]:.4g} nm" for name in sorted(medians.index, key=natural))
    return Picture(
        frame,
        on_axes(draw, xlabel=f"{what} (nm)", ylabel="share of the class", xlim=(0, None), ylim=(0, None)),
        f"Histograms of the {what} for each class; medians: {words}.",
        f"The {what} of the particles of each {task}; medians: {words}; n = {len(frame):,}.",
    )


def montage(data, table, *, each=16):
    """Show particles of each called class from the surest to the least sure: `table` is `assay.Sample.table`."""
    rows = []
    for name in sorted(table["predicted"][~table["refused"]].unique(), key=natural):
        own = np.flatnonzero((table["predicted"] == name) & ~table["refused"])
        own = own[np.argsort(-table[f"p_{name}"].to_numpy()[own], kind="stable")]
        own = own[np.unique(np.linspace(0, len(own) - 1, each).astype(int))]
        rows += [(name, i, table[f"p_{name}"].iloc[i]) for i in own]
    frame = pd.DataFrame(rows, columns=["class", "row", "probability"])

    def draw(frame):
        parts = frame.groupby("class", sort=False)
        groups = [
            (name, [(data.images[row.row], f"{row.probability:.2f}") for row in part.itertuples()])
            for name, part in parts
        ]
        return grid(groups, side=84, pixel_nm=data.pixel_nm)

    return Picture(
        frame,
        draw,
        f"Particles of each called class in falling order of its probability, {', '.join(frame['class'].unique())}.",
        f"Particles of each call, evenly over their order from the most probable to the least; below each the mean probability of its call; "
        f"n = {len(frame)} of {len(table):,}.",
    )
