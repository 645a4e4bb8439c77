"""Pictures of notebook 2: augmentation. An `image` is a prepared one, in robust units, (rows, columns)."""

from functools import partial

import numpy as np
import pandas as pd

from temlib.augment import NEUTRAL, resampled_ways
from temlib.figures.base import Picture, grid, on_axes

# How each transform is shown: its name and unit, how a value is written, how many there are in a report, and the reach and
# step of its slider: beyond what is drawn from, within what `Augmentation.apply` takes.
TRANSFORMS = {
    "rotation_deg": ("rotation", "degrees", "{:.0f}°", 13, -180, 180, 1),
    "shear_rad": ("shear", "rad", "{:.3g} rad", 9, -0.6, 0.6, 0.01),
    "shift_rows": ("shift down", "of height", "{:.1%} of height", 9, -0.5, 0.5, 0.01),
    "shift_columns": ("shift right", "of width", "{:.1%} of width", 9, -0.5, 0.5, 0.01),
    "zoom": ("zoom", "of its size", "{:.3g} of its size", 9, 0.4, 2, 0.01),
}


ORDERS = {"nearest pixel": 0, "linear": 1, "cubic spline": 3}


def settings(augmentation):
    """Return what an `Augmentation` may do, as a table of `transform, lowest, highest, unit`, and how it resamples."""
    rows = []
    for column, (name, unit, *_) in TRANSFORMS.items():
        low, high = getattr(augmentation, column.removesuffix("_deg").removesuffix("_rad"))
        rows.append((name, f"{low:g}".replace("-", "−"), f"{high:g}", unit))
    for column, name in {"flip_rows": "upside down", "flip_columns": "left and right"}.items():
        rows.append(
            (name, "never", "in half of the images" if getattr(augmentation, column) else "never", "")
        )
    order = next(name for name, order in ORDERS.items() if order == augmentation.order)
    border = {"mirror": "mirrored", "nearest": "continued by its last pixel"}[augmentation.fill]
    rows += [("interpolation", order, "", ""), ("border", border, "", "")]
    return pd.DataFrame(rows, columns=["transform", "lowest", "highest", "unit"])


def still(count, *, zoom=1.0, **values):
    """Return a table of `count` transforms that change nothing but what `values` say."""
    return pd.DataFrame(NEUTRAL | {"zoom_rows": zoom, "zoom_columns": zoom} | values, index=range(count))


def each_transform(image, augmentation):
    """Show one particle under each transform alone, at seven values over its range."""
    rows, groups = [], []
    for column in [*TRANSFORMS, "flip_rows", "flip_columns"]:
        name = column.removesuffix("_deg").removesuffix("_rad")
        given = getattr(augmentation, name)
        flips = isinstance(given, bool)
        values = [False, True] if flips else np.linspace(*given, 7)
        table = still(len(values), **{column: values})
        moved = augmentation.apply(np.repeat(image[None], len(values), 0), table)
        rows += [(name, float(value)) for value in values]
        words = ["as it is", "flipped"] if flips else [f"{value:.3g}".replace("-", "−") for value in values]
        groups.append((name.replace("_", " "), [*zip(moved, words)]))
    frame = pd.DataFrame(rows, columns=["transform", "value"])
    return Picture(
        frame,
        lambda frame: grid(groups, side=80),
        "Seven rows of one particle, each row under one transform, from its lowest value to its highest.",
        "One particle (n = 1). Rotation in degrees, shear in radians, shifts in fractions of height and width, zoom as relative size.",
    )


def mosaic(images, *, what="augmented particles"):
    """Show many images side by side, (n, rows, columns)."""
    return Picture(
        pd.DataFrame({"image": range(len(images))}),
        lambda frame: grid([("", [(images[i], "") for i in frame["image"]])], side=68),
        f"A mosaic of {len(images)} {what}.",
        f"{len(images)} {what}.",
    )


def drawn(transforms):
    """Show how often each value of each transform was drawn, by `Augmentation.draw`."""
    down, aside = transforms[["flip_rows", "flip_columns"]].mean()
    names = {c.replace("zoom", "zoom_rows"): f"{name}\n{unit}" for c, (name, unit, *_) in TRANSFORMS.items()}
    frame = transforms[list(names)].melt(var_name="transform", value_name="value")

    def draw(axis, part):
        axis.stairs(*np.histogram(part["value"], 12), fill=True, color="0.6")
        axis.set_ylim(bottom=0)

    plot = on_axes(draw, "transform", share=True, ylabel="images", width=1.75, height=1.6)
    return Picture(
        frame,
        lambda frame: plot(frame.replace({"transform": names})),
        "Five histograms, each roughly flat from one end of its transform's range to the other.",
        f"Each transform in n = {len(transforms):,} draws; {down:.0%} are flipped upside down, {aside:.0%} left and right.",
    )


def interpolations(image):
    """Show one particle turned with each interpolation, in one pass and in a chain of five."""
    # A shift by half a pixel: the chain's steps other than the turn do not fall on pixels either.
    half = {"shift_rows": 0.5 / image.shape[0], "shift_columns": 0.5 / image.shape[1]}
    turned = still(1, rotation_deg=30.0, shear_rad=0.05, zoom=0.97, **half)
    results = {"as it is": image} | {name: some[0] for name, some in resampled_ways(image[None], turned)}
    frame = pd.DataFrame({"method": list(results), "spread": [result.std() for result in results.values()]})
    return Picture(
        frame,
        lambda frame: grid([("", [(results[name], name) for name in frame["method"]])]),
        "One particle six times: as it is, then rotated with each method; chained linear resampling blurs it the most.",
        "One particle (n = 1), rotated by 30°, sheared by 0.05 rad, zoomed to 0.97 and shifted by half a pixel: in one pass, or chained as "
        "flip, zoom, shear, rotation and shift, one after the other.",
    )


def _lines(axis, table, y, by):
    """Draw lines over the frequency, those of chained resampling dashed."""
    for k, (name, part) in enumerate(table.groupby(by, sort=False)):
        means = part.groupby("frequency")[y].mean()
        axis.plot(means, f"C{k}", ls="--" if "chained" in name else "-", label=name)
    axis.set_xlabel("frequency, cycles per pixel")


def detail(curves):
    """Show what share of a wave's power survives each way of resampling, from `augment.detail_curves`."""

    def draw(axis, curves):
        _lines(axis, curves, "power_ratio", "method")
        axis.axvline(0.25, color="0.5", lw=0.8)
        axis.text(0.253, 0.02, "half Nyquist")

    return Picture(
        curves,
        on_axes(draw, xlim=(0, 0.5), ylim=(0, 1.05), ylabel="share of the power kept"),
        "Curves that fall with frequency: one cubic pass stays highest, chained linear passes fall first.",
        f"Plane waves of random direction and phase, n = {curves.attrs['count']} for each frequency, compared with their exact transform.",
    )


def spectra(tables):
    """Show the power spectra of images treated in several ways, a dict of `augment.power_curve` tables."""
    draw, label = partial(_lines, y="power", by="images"), "power, squared robust units"
    return Picture(
        pd.concat(tables, names=["images"]).reset_index("images"),
        on_axes(draw, yscale="log", ylabel=label),
        "Power spectra on a log scale that agree at low frequency and fan out towards the Nyquist frequency.",
        "Radially averaged power of the particles: the higher on the right, the more detail, and noise, has been kept.",
    )


def noise(curves, *, count):
    """Show the power of augmented noise relative to plain noise, for each remedy of `augment.noise_curves`."""

    def draw(axis, curves):
        _lines(axis, curves, "power_ratio", "method")
        for line, name in zip(axis.lines, curves["method"].unique()):
            line.set_linewidth(2.6 if name == "conditioned" else 1.4)
        axis.axhline(1, color="0.5", lw=0.8)

    return Picture(
        curves,
        on_axes(draw, ylim=(0.4, 1.4), ylabel="power, augmented / plain"),
        "Ratio of noise power against frequency: about 0.8 if untreated, closer to 1 if conditioned.",
        f"n = {count} images of white noise, the same draws for each; at 1, augmented and plain noise cannot be told apart by their spectra.",
    )
