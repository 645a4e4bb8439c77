"""What all pictures share: their class, their style, and the ways in which most of them are drawn.

Figures are made without pyplot, so that a notebook shows each of them once. A page gets the lines of a Figure as SVG, a
panel for each axis, 360 CSS pixels wide with text of 11 pixels or more, so that panels wrap on a phone as words do; images
keep their own pixels. Colours follow the order of the names, those of classes `COLOURS` and those of models `MODELS`, and
begin again after seven, with another marker or another kind of line. A page may give them other values by its variables
`--c0` to `--c6` and `--m0` to `--m6`.
"""

import base64
import hashlib
import html
import io
import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_hex, to_rgba_array
from matplotlib.container import Container
from matplotlib.figure import Figure
from PIL import Image
from skimage.measure import block_reduce

from temlib.files import natural

# Okabe & Ito's palette, told apart by people of any colour vision (https://jfly.uni-koeln.de/color/), with a brown for its black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B")
# After Paul Tol's muted palette (https://personal.sron.nl/~pault/), none like those of classes that come first.
MODELS = ("#332288", "#8A8A22", "#AA4499", "#117733", "#882255", "#44AA99", "#666666")
LIMIT = 3.0  # robust units shown as black and white
MOST = 128  # rows and columns of an image in a page, so that a report can be mailed
WIDE = 3.75  # inches, the width of a panel: that of a phone
# What stands in a page for the colours of matplotlib, so that dark is dark.
_COLOURS = {code.lower(): f"var(--c{k},{code})" for k, code in enumerate(COLOURS)}
_COLOURS |= {code.lower(): f"var(--m{k},{code})" for k, code in enumerate(MODELS)}
_COLOURS |= dict.fromkeys(["#000000", "#262626"], "currentColor")
_COLOURS |= {"#cccccc": "var(--grid,#8884)", "#ffffff": "var(--paper,#fff)"}
_SIGNS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "-": "━", "--": "╍", ":": "┅", "-.": "┅"}
# With every picture, so that it looks the same in JupyterLab and in a page.
_STYLE = (
    "<style>figure.picture{position:relative}.picture .drawing{display:flex;flex-wrap:wrap;gap:.6rem 1.2rem;align-items:flex-start}"
    ".picture svg{max-width:100%;height:auto}.picture svg text{font-family:system-ui,sans-serif}"
    ".picture .images{display:flex;flex-wrap:wrap;gap:.3rem;font-size:.75rem;line-height:1.25}"
    ".picture .images>b{width:0;min-width:100%;overflow-wrap:anywhere}.picture .images>span{overflow-wrap:anywhere;white-space:pre-line}"
    ".picture .images svg{display:block;image-rendering:pixelated}"
    ".picture .key{flex-basis:100%;display:flex;flex-wrap:wrap;gap:0 1.1rem;font-size:.85rem;overflow-wrap:anywhere}"
    ".picture .key>span{display:flex;gap:.3rem}.picture .enlarge{display:none}.picture td small{display:block}</style>"
)


class Note:
    """Sentences shown in a notebook: `lines`, or the plain sentence `otherwise` where there are none.

    `kind` is "answer" (its first line is large), "notice" or "simulated" (boxes), or "" (plain); by default it is "notice"
    where there is an `otherwise`, else "answer". `absent` takes the place of `otherwise` where the sentence says that the
    data have nothing of the kind: a page leaves out a section that holds nothing else.
    """

    def __init__(self, lines, otherwise="", *, kind=None, absent=""):
        self.lines, self.kind = list(lines), kind
        otherwise = otherwise or absent
        if kind is None:
            self.kind = "notice" if otherwise else "answer"
        if otherwise and not self.lines:
            self.lines, self.kind = [otherwise], "absent" if absent else ""

    def _repr_html_(self):
        lines = [html.escape(line) for line in self.lines]
        if self.kind == "answer":
            return "".join(f"<p>{line}</p>" for line in lines).replace("<p>", '<p class="answer">', 1)
        if len(lines) > 1:
            lines = [f"<ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>"]
        elif not self.kind:
            lines = [f"<p>{line}</p>" for line in lines]
        return "".join(f'<div class="{self.kind}">{text}</div>' if self.kind else text for text in lines)


class Table:
    """A table as a report shows it: words and numbers for people, without row numbers, a dash where there is nothing.

    `otherwise` is the sentence shown where there is no table, or no row in it, `absent` the same as for a `Note`; `fold` is
    the title under which a long table is folded; numbers have at most `digits` decimals.
    """

    def __init__(self, table, otherwise="", *, fold="", digits=3, absent=""):
        self.table = pd.DataFrame() if table is None else table
        self.otherwise, self.fold, self.digits, self.absent = otherwise, fold, digits, absent

    def _repr_html_(self):
        if self.table.empty:
            return Note([], self.otherwise, absent=self.absent)._repr_html_()
        kinds, columns = [], []
        for _, column in self.table.items():
            number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
            kinds.append("" if number else ' class="word"')
            columns.append(_numbers(column, self.digits) if number else _words(column))
        heads = [f'<th scope="col"{kind}>{_heading(name)}</th>' for kind, name in zip(kinds, self.table)]
        rows = [
            "".join(f"<td{kind}>{html.escape(cell)}</td>" for kind, cell in zip(kinds, row))
            for row in zip(*columns)
        ]
        # Numbers with their intervals stay on one line, and a narrow screen scrolls; long words wrap.
        short = all(len(cell) < 30 for column in columns for cell in column)
        look = ' style="white-space: nowrap"' if short else ""
        text = f'<table{look} class="dataframe"><thead><tr>{"".join(heads)}</tr></thead>'
        text += f"<tbody><tr>{'</tr><tr>'.join(rows)}</tr></tbody></table>"
        title = f"{html.escape(self.fold)} ({len(self.table):,} rows)"
        return f"<details><summary>{title}</summary>{text}</details>" if self.fold else text


# What the ends of temlib's names of columns mean.
_UNITS = {"_nm": "nm", "_px": "px", "_s": "s", "_deg": "°", "_rad": "rad", "_ms_per_particle": "ms/particle"}
# What other names of temlib's columns mean.
_PLAIN = {
    "multiply_adds": "multiplications",
    "p_value": "p",
    "p_holm": "p, after Holm",
    "new_rate": "rate here",
}
_PLAIN |= {
    "shift_rows": "shift down",
    "shift_columns": "shift right",
    "zoom_rows": "zoom down",
    "zoom_columns": "zoom across",
}
_PLAIN |= {"flip_rows": "upside down", "flip_columns": "left and right"}


def _heading(name):
    """Return the name of a column in plain words: `pixel_size_nm` is `pixel size, nm`; names of models stay as they are."""
    name = _PLAIN.get(name, str(name))
    unit = next((end for end in _UNITS if re.search(rf"[a-z]{end}$", name)), "")
    words = re.sub(r"^truth_", "true ", name.removesuffix(unit)).replace("@", " by ")
    words = words if words == name else words.replace("_", " ")
    return html.escape(f"{words}, {_UNITS[unit]}" if unit else words)


def _numbers(column, digits):
    """Return the texts of numbers, all with the decimals that they need, thousands apart; a dash where there is none."""
    values = pd.to_numeric(column, errors="coerce").astype(float)
    finite = values[np.isfinite(values)].round(digits)
    needed = [len(f"{value:.{digits}f}".rstrip("0").partition(".")[2]) for value in finite]
    size = int(np.log10(max(1, finite.abs().max()))) if len(finite) else 0  # a large number needs fewer
    places = max(0, min(max(needed, default=0), digits - max(0, size - 1)))
    values = values.round(places) + 0.0  # without the sign of a zero
    return ["–" if np.isnan(value) else f"{value:,.{places}f}".replace("-", "−") for value in values]


def _words(column):
    """Return the texts of what is no number; a dash where there is nothing."""
    texts = [", ".join(map(str, cell)) if isinstance(cell, list | tuple) else cell for cell in column]
    texts = [("no", "yes")[cell] if isinstance(cell, bool | np.bool_) else cell for cell in texts]
    return ["–" if pd.isna(text) or text == "" else str(text) for text in texts]


@dataclass(frozen=True)
class Picture:
    """A picture with its numbers (`table`), its drawing and its words.

    `draw` makes of the table a Figure with a panel for each axis, as `on_axes` does, or the HTML of images (`grid`) or tables.
    """

    table: pd.DataFrame
    draw: Callable
    alt: str
    caption: str

    def frame(self):
        """Return the table that is drawn."""
        return self.table

    def plot(self):
        """Draw the picture and return the matplotlib Figure, or the HTML where it is made of images or of tables."""
        return self.draw(self.table)

    def _repr_html_(self):
        drawn = self.plot()
        numbers = self.table.to_csv(index=False, float_format="%.4g", lineterminator="\n")
        link = f'<p class="save"><a download="data.csv" href="data:text/csv,{quote(numbers, safe=_SAFE)}">data</a></p>'
        link = link if len(numbers) < 30_000 else ""  # else it would outweigh its picture
        return picture(drawn, self.alt, self.caption, link)


def picture(drawn, alt, caption, link=""):
    """Return the HTML of a picture: a Figure, or HTML of images or tables, with its words."""
    role, body = ("group", drawn) if isinstance(drawn, str) else ("img", _panels(drawn))
    body = f'<span class="drawing" role="{role}" aria-label="{html.escape(alt)}">{body}</span>'
    if "<svg" in body:
        check = '<input class="enlarge" type="checkbox" aria-label="Enlarge the picture">'
        body = f"<label>{check}{body}</label>"
    caption = f"<figcaption>{html.escape(caption)}</figcaption>"
    return f'{_STYLE}<figure class="picture">{body}{caption}{link}</figure>'


# What may stand in an address as it is.
_SAFE = " ,;:/()[]=+*@!$?'|"


def _panels(figure):
    """Return the HTML of a Figure: a key of its names, and an SVG for each of its panels."""
    for part in (figure, *figure.subfigs):
        part.legends.clear()  # the key has names of any length
    for k, panel in enumerate(figure.subfigs):
        panel.set_gid(f"panel-{k}")
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "temlib"}):
        figure.savefig(buffer, format="svg", dpi=144, transparent=True)
    _, *groups = re.split(r'<g id="panel-\d+">', _tidy(buffer.getvalue().decode()))
    groups[-1], shared = groups[-1].removesuffix("</svg>").rsplit("</g>", 1)
    keys = [_key(panel) for panel in figure.subfigs]
    alike, parts = len({*filter(None, keys)}) < 2, []
    for panel, group, names in zip(figure.subfigs, groups, keys):
        if not panel.axes[0].axison:
            break  # the rest of the last row is empty
        box = panel.bbox.transformed(figure.dpi_scale_trans.inverted())
        x, y, wide, high = 72 * np.array([box.x0, figure.get_figheight() - box.y1, box.width, box.height])
        size = f'width="{wide / 0.75:.0f}" height="{high / 0.75:.0f}"'  # CSS pixels
        svg = f'<svg {size} viewBox="{x:.2f} {y:.2f} {wide:.2f} {high:.2f}" aria-hidden="true">{shared}<g>{group}</svg>'
        parts.append(svg if alike else f"<span>{svg}{names}</span>")
        shared = ""  # clipping paths, which all panels use
    return max(keys) * alike + "".join(parts)


def _key(panel):
    """Return the HTML of a panel's legend: each name behind its sign in its colour."""
    entries = []
    for handle, name in zip(*panel.axes[0].get_legend_handles_labels()):
        artist = handle[0] if isinstance(handle, Container) else handle
        line = hasattr(artist, "get_linestyle") and hasattr(artist, "get_marker")
        style = [artist.get_linestyle(), artist.get_marker()] if line else ["s"]
        colour = to_rgba_array(artist.get_color() if line else artist.get_facecolor())[0]
        entries.append((next((_SIGNS[one] for one in style if one in _SIGNS), "■"), colour, name))
    return key(entries)


def key(entries):
    """Return the HTML of a legend of signs, their colours, and names of any length; nothing where there is none."""
    parts = []
    for sign, colour, name in entries:
        sign = f'<span style="color:{css(colour)}" aria-hidden="true">{sign}</span>'
        parts.append(f"<span>{sign}<span>{html.escape(name)}</span></span>")
    return f'<span class="key">{"".join(parts)}</span>' if parts else ""


def css(colour):
    """Return what stands in a page for a colour of matplotlib, such as C0."""
    return _COLOURS.get(to_hex(colour), to_hex(colour))


def _tidy(svg):
    """Return an SVG with short numbers, colours that a page may change, and no names but those that are used."""
    used = set(re.findall(r"#([\w.-]+)", svg))
    mark = hashlib.sha256(svg.encode()).hexdigest()[:6]  # names differ between pictures, not between runs

    def tidied(tag):
        tag = re.sub(r"font-family: [^;\"]+;? ?", "", tag[0])
        tag = re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag)
        tag = re.sub(r"#[0-9a-f]{6}\b", lambda code: _COLOURS.get(code[0], code[0]), tag)
        tag = re.sub(
            r' id="([^"]+)"', lambda name: name[0] if name[1] in used or "panel" in name[1] else "", tag
        )
        tag = re.sub(r'( id="|href="#|url\(#)(?!panel)', rf"\g<1>{mark}", tag)
        return re.sub(r"\s*\n\s*", "" if "base64" in tag else " ", tag).replace("xlink:href", "href")

    return re.sub(r">\s+<", "><", re.sub(r"<[^>]+>", tidied, svg)).strip()


# Rules for JupyterLab alone, whose own tables are striped.
_IN_LAB = (
    "figure.picture{margin:.6rem 0}.notice,.simulated{line-height:1.5}tbody tr{background:none}"
    ".notice ul,.simulated ul{margin:0;padding-left:1.4rem}.notice li,.notice p{max-width:none}"
)


def lab_style():
    """Return the style by which notes and tables look in JupyterLab as in a report, in its light and its dark theme."""
    text = Path(__file__).with_name("outputs.css").read_text(encoding="utf-8")
    paper = re.sub(r"--paper: [^;]+", "--paper: var(--jp-layout-color0)", text)
    light, dark = re.findall(r":root \{(.*?)\}", paper)
    rules = text[text.index("\n}\n") + 3 :]
    # Twice, so that a rule counts for more than one of JupyterLab's for all tables.
    own = ".jp-OutputArea.jp-OutputArea"
    return f'{own}{{{light}{rules}{_IN_LAB}}}[data-jp-theme-light="false"] {own}{{{dark}}}'


def set_style():
    """Set the look that all pictures share, whatever the user's matplotlibrc says, and in a notebook that of notes and tables."""
    if "ipykernel" in sys.modules:
        from IPython.display import display

        content = {"text/html": f"<style>{lab_style()}</style>", "text/plain": ""}
        display(content, raw=True, metadata={"temlib": "style"})
    matplotlib.rcdefaults()
    # At 0.75 points a pixel no text is smaller than 11 pixels.
    look = dict.fromkeys(
        ["xtick.labelsize", "ytick.labelsize", "legend.fontsize", "legend.title_fontsize"], 8.5
    )
    look |= {
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.labelsize": 9,
        "axes.linewidth": 0.8,
        "lines.linewidth": 1.4,
    }
    # The font that comes with matplotlib, the same everywhere; a name with $ in it is no formula.
    look |= {"font.sans-serif": ["DejaVu Sans"], "text.parse_math": False}
    # Three times, for seaborn takes another palette where names outnumber the colours.
    sns.set_theme(style="whitegrid", palette=COLOURS * 3, rc=look)


def wrapped(name, width=36, lines=3):
    """Return a name of any length on lines of so many letters; the middle of each of its own lines is left out if longer."""
    most = int(0.75 * width * lines)
    parts = str(name).split("\n")
    parts = [part if len(part) <= most else f"{part[: most // 2]}…{part[-most // 2 :]}" for part in parts]
    return "\n".join(textwrap.fill(part, width) for part in parts)


def on_axes(draw, by="", *, height=2.5, width=WIDE, share=False, **words):
    """Return a function that makes a Figure of a table by `draw(axis, table)`, with a panel for each value of `by`.

    `width` and `height` are those of a panel in inches; panels with `share` have one vertical scale; `words` are labels
    and limits for `Axes.set`.
    """

    def plot(table):
        parts = list(table.groupby(by, sort=False, observed=True)) if by else [("", table)]
        columns = min(4, len(parts))
        rows = -(-len(parts) // columns)
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        panels = figure.subfigures(rows, columns, squeeze=False, wspace=0, hspace=0).ravel()
        axes = [panel.subplots() for panel in panels]
        for axis, (name, part) in zip(axes, parts):
            draw(axis, part)
            axis.set(title=wrapped(name, int(9.5 * width)), **words)
            if axis.get_yscale() == "log":
                axis.yaxis.set_major_formatter("{x:g}")
        for axis in axes[len(parts) :]:
            axis.set_axis_off()
        limits = [axis.get_ylim() for axis in axes[: len(parts)]]
        for axis in axes[: len(parts)] if share else ():
            axis.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
        handles = {name: handle for axis in axes for handle, name in zip(*axis.get_legend_handles_labels())}
        if handles:
            figure.legend(handles.values(), map(wrapped, handles), loc="outside lower left", ncols=columns)
        return figure

    return plot


def colours(names, unsure=()):
    """Return the colour of each class, in order of name; grey for those that are `unsure`, which come last."""
    names = sorted({*names}, key=natural)
    sure = {name: f"C{k}" for k, name in enumerate(name for name in names if name not in unsure)}
    return sure | {name: "0.6" for name in names if name in unsure}


def bands(axis, table, x, y, *, by, palette=MODELS, names=None, **options):
    """Draw a line with its band from `low` to `high` for each of the names in the column `by`."""
    for k, name in enumerate(table[by].unique() if names is None else names):
        part, colour = table[table[by] == name], palette[k % 7]
        axis.plot(part[x], part[y], color=colour, ls=("-", "--", ":")[k // 7 % 3], label=name, **options)
        axis.fill_between(part[x], part["low"], part["high"], color=colour, alpha=0.2, lw=0)


def dots(axis, table, at, value, *, by, names, palette=MODELS, joined=False):
    """Draw values with intervals from `low` to `high` over the column `at`, for each of the names in the column `by`.

    Words stand below each other in the order in which they come, and the values beside them; the names beside each
    other, as they do on a logarithmic axis.
    """
    words = [] if pd.api.types.is_numeric_dtype(table[at]) else list(dict.fromkeys(table[at]))
    for k, name in enumerate(names):
        rows = table[table[by] == name].dropna(subset=[at, value])
        aside = k - (len(names) - 1) / 2
        error = [(rows[value] - rows["low"]).clip(lower=0), (rows["high"] - rows[value]).clip(lower=0)]
        if words:
            points = (
                rows[value],
                [words.index(word) + 0.7 * aside / len(names) for word in rows[at]],
                None,
                error,
            )
        else:
            points = (rows[at] * (1.02**aside if axis.get_xscale() == "log" else 1), rows[value], error)
        marker = "os^D"[k // 7 % 4] + "-" * joined
        axis.errorbar(*points, fmt=marker, color=palette[k % 7], label=name, capsize=2, ms=4)
    if words:
        named(axis, words)


def named(axis, names):
    """Put names of any length beside the rows of a panel, the first at the top."""
    axis.set(yticks=range(len(names)), yticklabels=[wrapped(name, 20, 4) for name in names])
    axis.set_ylim(len(names) - 0.5, -0.5)


def tall(names, each=0.2):
    """Return the height of a panel in inches that has a row, `each` inches high or more, for each of the names."""
    return 0.75 + sum(max(each, 0.06 + 0.15 * wrapped(name, 20, 4).count("\n") + 0.15) for name in names)


def grey(image, low=-LIMIT, high=LIMIT):
    """Return an image as bytes, black at `low` and white at `high`; one of bytes stays as it is."""
    if image.dtype == np.uint8:
        return image
    return (np.clip((image - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def encoded(image):
    """Return the address that holds an image, in robust units or as bytes, as WebP or PNG, whichever is smaller."""
    kinds = {"webp": {"quality": 85, "method": 6}, "png": {"optimize": True}}
    files = {kind: io.BytesIO() for kind in kinds}
    for kind, options in kinds.items():
        Image.fromarray(grey(image)).save(files[kind], kind, **options)
    kind = min(files, key=lambda kind: files[kind].tell())
    return f"data:image/{kind};base64,{base64.b64encode(files[kind].getvalue()).decode()}"


def reduced(images, most=MOST):
    """Average blocks of pixels where images, (..., rows, columns), have more than `most`; return them and the factor."""
    factor = -(-max(images.shape[-2:]) // most)
    if factor < 2:
        return images, 1
    # The border goes on as it is, where zeros would draw a line.
    beyond = [(0, -side % factor) for side in images.shape[-2:]]
    images = np.pad(images, [(0, 0)] * (images.ndim - 2) + beyond, mode="edge")
    return block_reduce(images, (1,) * (images.ndim - 2) + (factor, factor), np.mean).astype(
        images.dtype
    ), factor


def grid(groups, *, side=104, most=MOST, pixel_nm=np.nan, bars="first"):
    """Return the HTML of images in groups, which wrap at the edge of a page.

    `groups` are pairs of a heading and its cells; a cell is an image, (rows, columns) in robust units or bytes, the words
    below it, and perhaps the SVG of what is drawn on it, in pixels of the image as it is shown, `most` at most; `side` is in
    CSS pixels; a scale bar stands on the `first` image of each group or on `all`.
    """
    parts = []
    for heading, cells in groups:
        parts.append(f'<span class="images">{f"<b>{html.escape(heading)}</b>" if heading else ""}')
        for k, (image, words, *drawn) in enumerate(cells):
            image, factor = reduced(image, most) if image.ndim == 2 else (image, 1)
            down, across = image.shape[:2]
            if np.isfinite(pixel_nm) and (bars == "all" or not k):
                drawn.append(scale_bar(down, across, pixel_nm * factor, 11.5 * across / side))
            look = f'width="{side}" height="{side * down / across:.0f}" viewBox="0 0 {across} {down}" aria-hidden="true"'
            pixels = f'<image href="{encoded(image)}" width="{across}" height="{down}"/>'
            words = html.escape(words)
            parts.append(
                f'<span style="width:{side}px"><svg {look}>{pixels}{"".join(drawn)}</svg>{words}</span>'
            )
        parts.append("</span>")
    return "".join(parts)


def scale_bar(down, across, pixel_nm, letters):
    """Return the SVG of a bar of a round length in nm at the lower left, under its length in letters of a height."""
    lengths = [digit * 10**power for power in (4, 3, 2, 1, 0) for digit in (5, 2, 1)]
    length = next((nm for nm in lengths if nm / pixel_nm <= across * 0.45), 1)
    thick, left, low = letters / 6, letters / 4, down - letters / 3
    bar = f'd="M{left:.2f} {low:.2f}h{length / pixel_nm:.2f}"'
    look = f'fill="#fff" stroke="#000" stroke-width="{letters / 4:.2f}" paint-order="stroke" font-size="{letters:.2f}"'
    return (
        f'<path {bar} stroke="#000" stroke-width="{2 * thick:.2f}"/><path {bar} stroke="#fff" stroke-width="{thick:.2f}"/>'
        f'<text x="{left:.2f}" y="{low - letters / 3:.2f}" {look}>{length:,} nm</text>'
    )
