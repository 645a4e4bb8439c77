"""Pictures of notebook 2: augmentation."""

import numpy as np
import pandas as pd

from temlib.figures.base import Picture, clear, figure_of, gray

# What a column of a table of transforms is called on an axis.
_AXES = {
    "rotation_deg": "rotation, degrees",
    "shear_rad": "shear, rad",
    "shift_rows": "shift down, of height",
    "shift_columns": "shift right, of width",
    "zoom_rows": "zoom, of its size",
}


def _montage(images, columns):
    """Put images of one size on one sheet, with gaps, which draws faster than an axis for each."""
    rows, gap = -(-len(images) // columns), max(1, images[0].shape[0] // 20)
    height, width = (size + gap for size in images[0].shape)
    sheet = np.full((rows * height - gap, columns * width - gap), np.nan, np.float32)
    for i, image in enumerate(images):
        top, left = i // columns * height, i % columns * width
        sheet[top : top + height - gap, left : left + width - gap] = image
    return sheet


def each_transform(image, augmentation, *, steps=7):
    """Show one particle under each transform alone, over its range."""
    from dataclasses import replace

    from temlib.augment import Augmentation

    none = replace(Augmentation.preset("none"), order=augmentation.order, fill=augmentation.fill)
    rows, pictures = [], []
    for name in ("rotation", "shear", "shift_rows", "shift_columns", "zoom", "flip_rows", "flip_columns"):
        given = getattr(augmentation, name)
        for value in [False, True] if isinstance(given, bool) else np.linspace(*given, steps):
            if isinstance(given, bool):
                table = none.draw(1, 0).assign(**{name: value})
            else:
                table = replace(none, **{name: (float(value), float(value))}).draw(1, 0)
            pictures.append(none.apply(image[None], table)[0])
            rows.append((name, float(value)))
    frame = pd.DataFrame(rows, columns=["transform", "value"])

    def draw(frame):
        names = frame["transform"].unique()
        figure, axes = figure_of(len(names), 1, width=8, height=1.28 * len(names), squeeze=False)
        for axis, name in zip(axes.ravel(), names):
            part = frame[frame["transform"] == name]
            sheet = _montage([pictures[i] for i in part.index], len(part))
            gray(axis, sheet)
            axis.set_xlim(-0.5, sheet.shape[1] / len(part) * steps)
            values = ["as it is", "flipped"] if name[:4] == "flip" else [f"{v:.3g}" for v in part["value"]]
            centres = (np.arange(len(part)) + 0.5) * sheet.shape[1] / len(part)
            axis.set_xticks(centres, values, fontsize=8)
            axis.set_yticks([sheet.shape[0] / 2], [name.replace("_", "\n")], fontsize=8)
            axis.grid(False)
            axis.spines[:].set_visible(False)
            axis.set_anchor("W")
        return figure

    return Picture(
        frame,
        draw,
        "Seven rows of one particle, each row under one transform from the least to the most.",
        "Rotation in degrees, shear in radians, shifts in fractions of height and width, zoom as relative size.",
    )


def mosaic(images, *, columns=10, what="augmented particles"):
    """Show many images side by side."""
    frame = pd.DataFrame({"image": range(len(images))})

    def draw(frame):
        rows = -(-len(frame) // columns)
        figure, axis = figure_of(width=8, height=0.82 * rows)
        clear(axis)
        gray(axis, _montage([images[i] for i in frame["image"]], columns))
        return figure

    return Picture(frame, draw, f"A mosaic of {len(images)} {what}.", f"{len(images)} {what}.")


def drawn(transforms):
    """Show how often each value of each transform was drawn."""
    frame = transforms[list(_AXES)].melt(var_name="transform", value_name="value")
    flips = transforms[["flip_rows", "flip_columns"]].mean()

    def draw(frame):
        figure, axes = figure_of(1, len(_AXES), width=9, height=1.9, sharey=True)
        for axis, (name, label) in zip(axes, _AXES.items()):
            axis.hist(frame["value"][frame["transform"] == name], bins=12)
            axis.set_xlabel(label, fontsize=8)
            axis.tick_params(labelsize=7)
        axes[0].set_ylabel("images", fontsize=8)
        return figure

    return Picture(
        frame,
        draw,
        "Five histograms, each about flat from one end of its transform's range to the other.",
        f"{len(transforms):,} draws; {flips['flip_rows']:.0%} are flipped upside down, {flips['flip_columns']:.0%} "
        "left and right.",
    )


def interpolations(image, *, degrees=30.0):
    """Show one particle turned with each interpolation, in one pass and in a chain of five."""
    from temlib.augment import NEUTRAL, resampled_ways

    shape = image.shape
    still = pd.DataFrame(NEUTRAL, index=[0])
    # A shift by half a pixel: the chain's steps other than the turn do not fall on pixels either.
    turned = still.assign(
        rotation_deg=degrees,
        shear_rad=0.05,
        zoom_rows=0.97,
        zoom_columns=0.97,
        shift_rows=0.5 / shape[0],
        shift_columns=0.5 / shape[1],
    )
    results = {"as it is": image, **{name: result[0] for name, result in resampled_ways(image[None], turned)}}
    frame = pd.DataFrame({"method": list(results), "spread": [result.std() for result in results.values()]})

    def draw(frame):
        figure, axes = figure_of(1, len(frame), width=9, height=1.9)
        clear(axes)
        for axis, name in zip(axes, frame["method"]):
            gray(axis, results[name])
            axis.set_title(name, fontsize=8)
        return figure

    return Picture(
        frame,
        draw,
        "One particle six times: as it is, then turned; the chained linear one is the most blurred.",
        f"One particle, turned by {degrees:g}°, sheared by .05 rad, zoomed to .97 and shifted by half "
        "a pixel: in one pass, or chained as flip, zoom, shear, rotation and shift one after the other.",
    )


def detail(curves):
    """Show which part of a wave's power outlives each way of resampling, over its frequency."""
    count = int(curves.attrs.get("count", 0))

    def draw(curves):
        figure, axis = figure_of(height=3.4)
        for name, part in curves.groupby("method", sort=False):
            axis.plot(part["frequency"], part["power_ratio"], "--" if "chained" in name else "-", label=name)
        axis.axvline(0.25, color="0.5", lw=0.8)
        axis.annotate(
            "half Nyquist", (0.25, 0.02), xytext=(4, 0), textcoords="offset points", fontsize=8, color="0.4"
        )
        axis.set(
            xlabel="frequency, cycles per pixel",
            ylabel="part of the power kept",
            ylim=(0, 1.05),
            xlim=(0, 0.5),
        )
        axis.legend(fontsize=8, loc="lower left")
        return figure

    return Picture(
        curves,
        draw,
        "Curves that fall with frequency: one cubic pass stays highest, chained linear passes fall first.",
        f"Plane waves of random direction and phase ({count} a frequency) under the drawn transforms, compared with "
        "the same transform of the formula.",
    )


def spectra(tables):
    """Show the power spectra of images treated in several ways."""
    frame = pd.concat(tables, names=["images"]).reset_index("images")

    def draw(frame):
        figure, axis = figure_of(height=3.2)
        for name, part in frame.groupby("images", sort=False):
            axis.plot(part["frequency"], part["power"], "--" if "chained" in name else "-", label=name)
        axis.set(xlabel="frequency, cycles per pixel", ylabel="power, squared robust units", yscale="log")
        axis.legend(fontsize=8)
        return figure

    return Picture(
        frame,
        draw,
        "Power spectra on a log scale that agree at low frequency and fan out towards the Nyquist frequency.",
        "Radial mean power of the particles of the mosaic; the higher a curve stays on the right, the more detail, "
        "and noise, has come through.",
    )


def noise(curves, *, count):
    """Show the power of augmented noise relative to that of plain noise, for each cure."""

    def draw(curves):
        figure, axis = figure_of(height=3.4)
        for name, part in curves.groupby("method", sort=False):
            axis.plot(
                part["frequency"], part["power_ratio"], lw=2.6 if name == "conditioned" else 1.4, label=name
            )
        axis.axhline(1, color="0.5", lw=0.8)
        axis.set(xlabel="frequency, cycles per pixel", ylabel="power, augmented to plain", ylim=(0.4, 1.4))
        axis.legend(fontsize=8)
        return figure

    return Picture(
        curves,
        draw,
        "Ratio of noise power against frequency: about .8 untreated, closer to 1 conditioned.",
        f"{count} images of white noise, the same draws for each; 1 means that a network cannot tell augmented noise "
        "from plain by its spectrum.",
    )
