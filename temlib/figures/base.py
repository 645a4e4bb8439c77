"""What all pictures share: their class, their style, and the ways in which most of them are drawn.

Figures are made without pyplot, so that a notebook shows each of them once. Colours (matplotlib's "C0" to "C6") follow
the order of the names that are drawn and begin again after seven, with another marker or another kind of line.
"""

import html
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.core.pylabtools import print_figure
from matplotlib.figure import Figure

# Okabe & Ito's palette, told apart by people of any colour vision (https://jfly.uni-koeln.de/color/).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


class Note:
    """Sentences shown in a notebook: `lines`, or the plain sentence `otherwise` where there are none.

    `kind` is "answer" (its first line is large), "notice" or "simulated" (boxes), or "" (plain); by default it is "notice"
    where there is an `otherwise`, else "answer".
    """

    def __init__(self, lines, otherwise="", *, kind=None):
        self.lines, self.kind = list(lines), kind
        if kind is None:
            self.kind = "notice" if otherwise else "answer"
        if otherwise and not self.lines:
            self.lines, self.kind = [otherwise], ""

    def _repr_html_(self):
        lines = [html.escape(line) for line in self.lines]
        if self.kind == "answer":
            return "".join(f"<p>{line}</p>" for line in lines).replace("<p>", '<p class="answer">', 1)
        if len(lines) > 1:
            lines = [f"<ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>"]
        elif not self.kind:
            lines = [f"<p>{line}</p>" for line in lines]
        return "".join(f'<div class="{self.kind}">{text}</div>' if self.kind else text for text in lines)


class Section:
    """A heading of a notebook with its words and what belongs to it; where nothing of that shows anything, all of it is left out.

    `shown` are figures of this module.
    """

    def __init__(self, title, words, *shown):
        self.title, self.words, self.shown = title, words, shown

    def _repr_html_(self):
        body = "".join(thing._repr_html_() for thing in self.shown)
        return f"<h3>{html.escape(self.title)}</h3><p>{html.escape(self.words)}</p>{body}" if body else ""


class Table:
    """A table as a report shows it: without row numbers, a dash where there is nothing.

    `otherwise` is the sentence shown where there is no table, or no row in it; `fold` is the title under which a long
    table is folded; numbers have at most `digits` decimals.
    """

    def __init__(self, table, otherwise="", *, fold="", digits=3):
        self.table = pd.DataFrame() if table is None else table
        self.otherwise, self.fold, self.digits = otherwise, fold, digits

    def _repr_html_(self):
        if self.table.empty:
            return Note([], self.otherwise)._repr_html_()
        table = self.table.round(self.digits).rename_axis(columns=None)
        # Not pandas' Styler: it writes every number of a table with the same decimals, counts too.
        with pd.option_context("display.max_colwidth", None):
            text = table.to_html(index=False, na_rep="–", border=0).replace("<th>", '<th scope="col">')
        # Numbers with their intervals stay on one line, and a narrow screen scrolls; long words wrap.
        if all(len(str(cell)) < 30 for cell in table.to_numpy().ravel()):
            text = text.replace("<table", '<table style="white-space: nowrap"', 1)
        title = f"{html.escape(self.fold)} ({len(self.table):,} rows)"
        return f"<details><summary>{title}</summary>{text}</details>" if self.fold else text


@dataclass(frozen=True)
class Picture:
    """A picture with its numbers (`table`), its drawing (`draw` makes a Figure of the table) and its words."""

    table: pd.DataFrame
    draw: Callable
    alt: str
    caption: str

    def frame(self):
        """Return the table that is drawn."""
        return self.table

    def plot(self):
        """Draw the picture and return the matplotlib Figure."""
        return self.draw(self.table)

    def _repr_html_(self):
        data = print_figure(self.plot(), base64=True, dpi=110, bbox_inches=None)
        alt, caption = html.escape(self.alt), html.escape(self.caption)
        image = f'<img src="data:image/png;base64,{data}" alt="{alt}">'
        return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def set_style():
    """Set the look that all pictures share, whatever the user's matplotlibrc says."""
    matplotlib.rcdefaults()
    look = {"axes.titlesize": "medium", "legend.fontsize": 8, "legend.title_fontsize": 8}
    # The font that comes with matplotlib, the same everywhere; a name with $ in it is no formula.
    look |= {"font.sans-serif": ["DejaVu Sans"], "text.parse_math": False}
    # Three times, for seaborn takes another palette where names outnumber the colours.
    sns.set_theme(style="whitegrid", palette=COLOURS * 3, font_scale=0.9, rc=look)


def on_axes(draw, by="", *, legend="", across=4, width=0, height=3.2, share=False, **words):
    """Return a function that makes a Figure of a table by `draw(axis, table)`, with a panel for each value of `by`.

    `legend` is its place on the first axis, or "outside"; sizes are those of a panel in inches; `words` are labels and
    limits for `Axes.set`.
    """

    def plot(table):
        parts = list(table.groupby(by, sort=False, observed=True)) if by else [("", table)]
        columns = min(across, len(parts))
        rows = -(-len(parts) // columns)
        wide = width or (4 if by else 8)
        figure = Figure(figsize=(wide * columns, height * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharey=share).ravel()
        for axis, (name, part) in zip(axes, parts):
            draw(axis, part)
            axis.set(title=name, **words)
            if by:
                axis.set(xlabel="", ylabel="")
        for axis in axes[len(parts) :]:
            axis.set_axis_off()
        if by:
            figure.supxlabel(words.get("xlabel", ""), fontsize="medium")
            figure.supylabel(words.get("ylabel", ""), fontsize="medium")
        if legend == "outside":
            figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
        elif legend:
            axes[0].legend(loc=legend)
        return figure

    return plot


def bands(axis, table, x, y, *, by, names=None, **options):
    """Draw a line with its band from `low` to `high` for each of the names in the column `by`."""
    for k, name in enumerate(table[by].unique() if names is None else names):
        part = table[table[by] == name]
        axis.plot(part[x], part[y], f"C{k}", ls=("-", "--", ":")[k // 7 % 3], label=name, **options)
        axis.fill_between(part[x], part["low"], part["high"], color=f"C{k}", alpha=0.2, lw=0)


def dots(axis, table, at, value, *, by, names, sideways=False, joined=False):
    """Draw values with intervals from `low` to `high` over the column `at`, for each of the names in the column `by`.

    Words stand in the order in which they come, the names beside each other; so do names on a logarithmic axis.
    """
    words = [] if pd.api.types.is_numeric_dtype(table[at]) else list(dict.fromkeys(table[at]))
    for k, name in enumerate(names):
        rows = table[table[by] == name].dropna(subset=[at, value])
        aside = k - (len(names) - 1) / 2
        if words:
            place = [words.index(word) + 0.7 * aside / len(names) for word in rows[at]]
        else:
            place = rows[at] * (1.02**aside if axis.get_xscale() == "log" else 1)
        error = [(rows[value] - rows["low"]).clip(lower=0), (rows["high"] - rows[value]).clip(lower=0)]
        points = (rows[value], place, None, error) if sideways else (place, rows[value], error)
        marker = "os^D"[k // 7 % 4] + "-" * joined
        axis.errorbar(*points, fmt=marker, color=f"C{k}", label=name, capsize=3, ms=5)
    if words and sideways:
        axis.set(yticks=range(len(words)), yticklabels=words, ylim=(len(words) - 0.5, -0.5))
    elif words:
        axis.set_xticks(range(len(words)), words, rotation=25, ha="right", rotation_mode="anchor", fontsize=8)


def grid(cells, across, *, side=1.5, pixel_nm=np.nan, bars="row", align="center", rows=(), figure=None):
    """Draw images under their titles, and return their Figure and axes.

    `cells` are pairs of an image, in robust units or as bytes, or None for a gap, and a title; a scale bar stands on the
    first image of each row, or on all; `rows` are words left of each row.
    """
    lines = [title.count("\n") + bool(title) for _, title in cells]
    down = -(-len(cells) // across)
    if figure is None:
        above = sum(max(lines[k * across : (k + 1) * across]) for k in range(down))  # lines of titles
        figure = Figure(figsize=(side * across, (side + 0.1) * down + 0.15 * above), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for axis in axes:
        axis.set(xticks=[], yticks=[], frame_on=False)
    for k, (axis, (image, title)) in enumerate(zip(axes, cells)):
        if image is None:
            continue
        low, high = (0, 255) if image.dtype == np.uint8 else (-3, 3)
        axis.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axis.set_title(title, fontsize=8 if max(lines) < 2 else 7, loc=align, linespacing=1.05)
        if np.isfinite(pixel_nm) and (bars == "all" or k % across == 0):
            scale_bar(axis, image.shape, pixel_nm)
    for axis, words in zip(axes[::across], rows):
        axis.set_ylabel(words, fontsize=8)
    return figure, axes


def scale_bar(axis, shape, pixel, unit="nm", *, most=0.45):
    """Draw a bar of a round length, at `most` that share of an image of (rows, columns); a pixel has `pixel` units."""
    rows, columns = shape
    lengths = [digit * 10**power for power in (4, 3, 2, 1, 0) for digit in (5, 2, 1)]
    length = next((length for length in lengths if length / pixel <= columns * most), 1)
    edge = max(2, min(shape) / 40)
    place = [edge, edge + length / pixel], [rows - 1 - edge] * 2
    axis.plot(*place, color="white", lw=4, solid_capstyle="butt")
    axis.plot(*place, color="black", lw=2, solid_capstyle="butt")
    box = {"facecolor": "black", "alpha": 0.5, "pad": 1, "lw": 0}
    axis.text(
        edge, rows - 1 - 2 * edge, f"{length:,} {unit}", color="white", fontsize=7, va="bottom", bbox=box
    )
