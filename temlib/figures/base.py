"""What all pictures share: their class, their style, their axes."""

import base64
import html
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd


class Note:
    """Sentences that a notebook shows: the first one large, or all of them in a box where `kind` says so."""

    def __init__(self, lines, kind="answer"):
        self.lines, self.kind = list(lines), kind

    def _repr_html_(self):
        lines = [html.escape(line) for line in self.lines]
        if self.kind != "answer" and lines:
            inside = (
                lines[0] if len(lines) == 1 else f"<ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>"
            )
            return f'<div class="{self.kind}">{inside}</div>'
        return "".join(f'<p class="{self.kind if i == 0 else ""}">{line}</p>' for i, line in enumerate(lines))


class Table:
    """A table as a report shows it: without row numbers, a dash where there is nothing, folded where it is long.

    Parameters
    ----------
    table : DataFrame
    fold : str
        A line that opens the table; empty shows it at once.
    digits : int
    """

    def __init__(self, table, *, fold="", digits=3):
        self.table, self.fold, self.digits = table, fold, digits

    def _repr_html_(self):
        table = self.table.round(self.digits).rename_axis(columns=None)
        with pd.option_context("display.max_colwidth", None):
            text = table.to_html(index=False, na_rep="–", border=0)
        # Numbers with their intervals stay on one line, and a narrow screen scrolls; long words wrap.
        if all(len(str(cell)) < 30 for cell in table.to_numpy().ravel()):
            text = text.replace("<table", '<table style="white-space: nowrap"', 1)
        title = f"{html.escape(self.fold)} ({len(self.table):,} rows)"
        return f"<details><summary>{title}</summary>{text}</details>" if self.fold else text


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


def figure_of(rows=1, columns=1, *, width=8.0, height=3.2, **options):
    """Make a Figure of `width` × `height` inches without pyplot, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def clear(axes):
    """Hide frames and ticks of all `axes`: images need none."""
    for axis in np.ravel(axes):
        axis.set_axis_off()


def gray(axis, image, limit=3.0):
    """Show an image in grey, from −`limit` to `limit` robust units."""
    axis.imshow(image, cmap="gray", vmin=-limit, vmax=limit, interpolation="nearest")


def scale_bar(axis, size, pixel_nm):
    """Draw a bar of a round length in nm at the lower left, where the pixel size is known."""
    if not np.isfinite(pixel_nm):
        return
    length = next((nm for nm in (200, 100, 50, 20, 10, 5, 2, 1) if nm / pixel_nm <= size * 0.45), 1)
    axis.plot([2, 2 + length / pixel_nm], [size - 3, size - 3], color="white", lw=4, solid_capstyle="butt")
    axis.plot([2, 2 + length / pixel_nm], [size - 3, size - 3], color="black", lw=2, solid_capstyle="butt")
    axis.text(
        2,
        size - 5,
        f"{length} nm",
        color="white",
        fontsize=7,
        va="bottom",
        bbox={"facecolor": "black", "alpha": 0.5, "pad": 1, "lw": 0},
    )
