"""A run in one file that can be mailed, the page over a run's files, and the index over all runs.

The one file joins the notebooks' pages: anchors get the part's number, links between pages become links inside the file,
headings go down one step, and each part's table of parameters moves into the last part.
"""

import functools
import re
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

import yaml
from jinja2 import Environment, FileSystemLoader
from pygments.formatters import HtmlFormatter

from temlib.files import InputError, nearest, write_text
from temlib.report import cover, html, notebook
from temlib.report.methods import methods

TITLES = {
    "1_explore": "Data",
    "2_augment": "Augmentation",
    "3_train": "Training",
    "4_evaluate": "Evaluation",
    "5_compare": "Comparison",
    "6_assay": "Assay",
    "7_software": "Software",
}
LARGEST = 20e6  # characters of all parts; mail servers take no more
MANY = 6  # evaluations that have a first page each; of more there is a table

TAG = re.compile(r"<[a-zA-Z/][^<>]*>")
NAMED = re.compile(
    r'(?<=\s)(id|for|aria-labelledby|aria-describedby|aria-controls|(?:xlink:)?href)="([^"]*)"'
)
HEADING = re.compile(r'<h3 id="([^"]+)">(.*?)</h3>', flags=re.S)
CODE = re.compile(r'<details class="code"><summary>code</summary>(.*?)</details>', flags=re.S)
# What a page has of its own and the one file has once.
OWN = re.compile(
    r'<nav class="contents".*?</nav>|<a class="anchor-link".*?</a>|<p class="small">Made by.*?</p>',
    flags=re.S,
)
ORIGIN = re.compile(r'<section class="origin">\s*<h2.*?</h2>(.*?)</section>', flags=re.S)

PAGES = Environment(
    loader=FileSystemLoader(html.TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
# Pictures of particles for a page's script, by their key.
SPRITE = re.compile(r'<script [^>]*data-key="(\w+)"[^>]*>[^<]*</script>')
PAGES.globals |= {"css": html.STYLE, "script": html.SCRIPT}
PAGES.filters |= {"duration": notebook.duration, "label": cover.label}
# An address of a file, whose name may hold what has a meaning in addresses.
PAGES.filters["address"] = functools.partial(quote, safe="/=,+()[]!@;$")


def _short(text):
    """Return a text without what is too long for a first page; the tables of the parts have it whole."""
    text = re.sub(r"\S{49,}", lambda word: f"{word[0][:32]}…{word[0][-12:]}", text)
    return text if len(text) <= 400 else f"{text[:400]}…"


def _css_text(text):
    """Return the beginning of a text for a string of CSS, where letters and digits stand and the rest is numbers."""
    return re.sub(r"[^A-Za-z0-9]", lambda found: f"\\{ord(found[0]):x} ", text[:60])


PAGES.filters |= {"short": _short, "css_text": _css_text}


def path_of(folder):
    """Return the path of a run's one file, which is named after the run, unless another page has that name."""
    taken = folder.name == "index" or folder.name in TITLES
    return folder / f"{folder.name}{' report' if taken else ''}.html"


def find(run):
    """Return the folder of a run that is given as a folder or as its name below the reports folder."""
    places = [Path(run), notebook.reports_folder() / run]
    for folder in places:
        if (folder / "provenance.json").exists() or any(folder.glob("[0-9]_*.html")):
            return folder.resolve()
    known = [path.parent.name for path in notebook.reports_folder().glob("*/provenance.json")]
    fault = "is neither a folder with a run's pages nor the name of a run"
    raise InputError(f"{run}: {fault}{nearest(str(run), known) or '; run a parameter file first'}.")


def write(folder):
    """Write the one file of the run in `folder`, and the page over the run's files; return the one file's path."""
    run = cover.read(folder)
    parameters = folder / "parameters.yaml"
    run["parameters"] = parameters.read_text(encoding="utf-8") if parameters.exists() else ""
    parts, left_out = _parts(folder, run["notebooks"])
    tables = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.csv"))
    shared = run | {"many": len(run["answers"]) > MANY, "file": path_of(folder).name, "tables": tables}
    shared["names"] = sorted({Path(name).name for name in tables})
    notebooks = [_row(folder, row) for row in run["notebooks"]]
    known = html.given_paths(yaml.safe_load(run["parameters"]) or {})
    told = [
        (answer["label"] or answer["title"], methods(answer["folder"], answer)) for answer in run["answers"]
    ]
    code = HtmlFormatter(style="default").get_style_defs(".highlight")
    for template, path, own in (
        (
            "onefile.html.j2",
            path_of(folder),
            {"parts": parts, "left_out": left_out, "code": code, "methods": told},
        ),
        ("run.html.j2", folder / "index.html", {"notebooks": notebooks}),
    ):
        page = PAGES.get_template(template).render(shared | own)
        write_text(path, html.mailable(page, known))
    return path_of(folder)


def _row(folder, row):
    """Return a notebook of a run with the address and the title of its page, where there is one."""
    path = folder / row["folder"] / f"{row['notebook']}.html"
    failed = path.with_suffix(".failed.html")
    path = failed if failed.exists() else path
    if not path.exists():
        return row
    title = re.search(r"<title>(.*?) – temlib</title>", path.read_text(encoding="utf-8"), flags=re.S)[1]
    return row | {"link": path.relative_to(folder).as_posix(), "title": html.plain(title)}


def _parts(folder, rows):
    """Return the parts of the one file, those of a combination together, and the titles of what would be too much."""
    order = [row["combination"] for row in rows]
    rows = sorted(
        rows,
        key=lambda row: ("3" if row["combination"] else row["notebook"], order.index(row["combination"])),
    )
    rows = [row for row in rows if (folder / row["folder"] / f"{row['notebook']}.html").exists()]
    pages = {
        str(PurePosixPath(row["folder"], f"{row['notebook']}.html")): f"part-{k}"
        for k, row in enumerate(rows, 1)
    }
    parts, left_out, size, group, kept = [], [], 0, "", set()
    for row, (name, mark) in zip(rows, pages.items()):
        title, of = TITLES.get(row["notebook"], row["notebook"]), cover.label(row["combination"])
        text = (folder / name).read_text(encoding="utf-8")
        size += len(text)
        if size > LARGEST:
            left_out.append(f"{title} {of}".strip())
            continue
        part = {"mark": mark, "title": title, "group": of, "begins": of != group}
        new = SPRITE.sub(lambda found: "" if found[1] in kept else found[0], text)
        kept.update(SPRITE.findall(text))
        parts.append(part | _part(new, name, pages))
        group = of
    return parts, left_out


def _part(page, name, pages):
    """Return a notebook's page as a part of the one file: its HTML, its sections, and its table of parameters."""
    body = OWN.sub("", page[page.index("<main>") + len("<main>") : page.rindex("</main>")])
    body = CODE.sub(r'<div class="code">\1</div>', body)
    origin = ORIGIN.search(body)
    body = _renamed(ORIGIN.sub("", body), name, pages)
    sections = [(anchor, html.plain(text)) for anchor, text in HEADING.findall(body)]
    table = _renamed(origin[1], name, pages) if origin else ""
    return {"body": body, "sections": sections, "table": table}


def _renamed(body, name, pages):
    """Return a page's HTML with anchors that no other part has, links that stay inside, and headings a step lower."""
    mark, seen = pages[name], set()

    def anchor(text, mark=mark):
        return f"{mark}-{re.sub(r'[^A-Za-z0-9_-]+', '-', unquote(text))}"

    def attribute(found):
        key, value = found[1], found[2]
        if key == "id":
            value = anchor(value)
            while value in seen:
                value += "-"
            seen.add(value)
        elif not key.endswith("href"):
            value = " ".join(anchor(word) for word in value.split())
        elif value.startswith("#"):
            value = f"#{anchor(value[1:])}"
        elif not re.match(r"https?:|mailto:|data:", value):
            target, _, place = value.partition("#")
            other = pages.get(
                _resolved(PurePosixPath(name).parent / unquote(target).replace(".ipynb", ".html"))
            )
            if not other:
                return ""  # a file beside the page, which does not travel with it
            value = f"#{anchor(place, other) if place else other}"
        return f'{key}="{value}"'

    def tag(found):
        text = re.sub(r"^<(/?)h([1-5])\b", lambda h: f"<{h[1]}h{int(h[2]) + 1}", found[0])
        if text.startswith("<input"):
            text = re.sub(r'(?<=\s)name="', f'name="{mark}-', text)
        return NAMED.sub(attribute, text).replace("url(#", f"url(#{mark}-")

    return TAG.sub(tag, body)


def _resolved(path):
    """Return a relative path without ".."."""
    parts = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def write_index(reports):
    """Write the `index.html` over all runs below the folder `reports`, the latest first."""
    runs = [cover.read(path.parent) for path in sorted(reports.glob("*/provenance.json"))]
    runs.sort(key=lambda run: run["origin"]["started"], reverse=True)
    for run in runs:
        page = path_of(reports / run["name"])
        run["page"] = f"{run['name']}/{page.name if page.exists() else 'index.html'}"
    write_text(reports / "index.html", html.mailable(PAGES.get_template("index.html.j2").render(runs=runs)))
