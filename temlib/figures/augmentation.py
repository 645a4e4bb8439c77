"""Pictures of notebook 2: augmentation."""

import numpy as np
import pandas as pd

from temlib.figures.base import Picture, clear, figure_of, gray


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
        figure, axes = figure_of(len(names), steps, width=8, height=1.3 * len(names), squeeze=False)
        clear(axes)
        for k, name in enumerate(names):
            for j, i in enumerate(frame.index[frame["transform"] == name]):
                gray(axes[k, j], pictures[i])
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
        figure, axes = figure_of(rows, columns, width=8, height=0.82 * rows, squeeze=False)
        clear(axes)
        for axis, i in zip(axes.ravel(), frame["image"]):
            gray(axis, images[i])
        return figure

    return Picture(frame, draw, f"A mosaic of {len(images)} {what}.", f"{len(images)} {what}.")
