"""From executed notebooks to self-contained HTML.

No page asks anything of the network: style stands in the page, pictures are embedded. What only the account that ran the
notebook can use (warnings, tracebacks, the folders of its disk) stays in the `.ipynb` file.
"""

import html
import os
import re
import sys
from itertools import pairwise
from pathlib import Path

from temlib import provenance
from temlib.files import InputError, write_text
from temlib.report import notebook, parameters

TEMPLATES = Path(__file__).with_name("template")
# The style of what notebooks show, which JupyterLab has too; by its file, since the wing takes a second to import.
STYLE = (Path(__file__).parents[1] / "figures" / "outputs.css").read_text(encoding="utf-8")
STYLE += (TEMPLATES / "style.css").read_text(encoding="utf-8")
# What pictures and tables can do more where scripts are allowed.
SCRIPT = (TEMPLATES / "pictures.js").read_text(encoding="utf-8")
# Markup, of which only what is read out may hold a path, or the text between.
PIECES = re.compile(r"(<style.*?</style>|<script.*?</script>|<[^>]*>)|([^<]+)", flags=re.S)
READ_OUT = re.compile(r'(?<=\s)((?:alt|title|aria-label)=")([^"]*)')
# The folders of a file on a disk, also as they stand in a folder's name; an address on the web is none.
PATH = re.compile(
    r"(?<![\w.:/])(?:file://)?(?:[A-Za-z]:[\\/]|/(?=[^\s/<>&;\"']+/))(?:[^\\/\s<>\"'|:;,]+[\\/]+)*|(?<==)%2F(?:[^\s/<>%]+%2F)+"
)
# Characters that turn the direction of all text after them, or isolate it, wherever they stand in a name.
TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
HEADING_OR_TABLE = re.compile(r"<(h[1-6])\b.*?</\1>|<table\b.*?</table>", flags=re.S)
# Cells that the page leaves out: what papermill adds, and the parameters, which stand at the page's end.
NOISE = {"papermill-error-cell-tag", "parameters", "injected-parameters"}
# The forms of an output, the best first: a widget is shown live only where it has no twin in HTML.
FORMS = ["text/html", "text/markdown", "image/svg+xml", "text/latex", "image/png", "image/jpeg"]
FORMS += ["application/vnd.jupyter.widget-view+json", "text/plain"]


def render(path, *, index="index.html"):
    """Write an executed notebook, an `.ipynb` file, as self-contained HTML beside it, and return the page's path.

    Its name, such as `1_explore`, says whose declarations explain the parameters; `index` is the address of the run's
    index, relative to the page.
    """
    import nbformat
    from jupyter_core.paths import jupyter_path
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter
    from traitlets.config import Config

    path = Path(path)
    try:
        executed = nbformat.read(path, as_version=4)
    except (OSError, ValueError) as error:
        fault = f"this is not a notebook that can be read ({error})"
        raise InputError(f"{path}: {fault}; name an .ipynb file.") from None
    known = executed.metadata.get("temlib", {})
    errors = _without_what_is_private(executed)
    resources = {
        "title": f"{_title(executed, path.stem)} – temlib",
        "css": STYLE + HtmlFormatter(style="default").get_style_defs(".highlight"),
        "script": SCRIPT,
        "index": index,
        "failure": known.get("error") or "".join(errors[:1]),
        "parameters": _parameter_rows(executed, path.stem),
        "origin": provenance.describe(),
        "took": notebook.duration(known["seconds"]) if "seconds" in known else "",
        "metadata": {"name": path.stem},  # from which the exporter would make a title of its own
    }
    config = {
        "NbConvertBase": {"display_data_priority": FORMS},
        "TagRemovePreprocessor": {"enabled": True, "remove_cell_tags": NOISE},
        "TemplateExporter": {"exclude_input_prompt": True, "exclude_output_prompt": True},
    }
    template = {"template_name": "temlib", "extra_template_basedirs": [str(TEMPLATES)]}
    # Before an account's own templates, which may have the same names.
    shared = str(Path(sys.prefix, "share", "jupyter", "nbconvert", "templates"))
    template |= {"template_data_paths": [shared, *jupyter_path("nbconvert", "templates")]}
    executed.cells = [cell for section in _sections(executed.cells) for cell in section]
    exporter = HTMLExporter(config=Config(config), **template)
    page, _ = exporter.from_notebook_node(executed, resources=resources)
    page = _reachable(page.replace("</h1>", "</h1>" + _contents(page), 1))
    write_text(path.with_suffix(".html"), mailable(page, given_paths(known.get("values", {}))))
    return path.with_suffix(".html")


def _sections(cells):
    """Yield the cells of each section of a notebook, but for sections that say no more than that their subject is absent."""
    starts = [
        k for k, cell in enumerate(cells) if cell.cell_type == "markdown" and cell.source.startswith("#")
    ]
    for start, end in pairwise([0, *starts, len(cells)]):
        outputs = [output for cell in cells[start:end] for output in cell.get("outputs", [])]
        said = [output.get("data", {}).get("text/html", "something") for output in outputs]
        if not said or not all(text.startswith('<div class="absent">') or not text for text in said):
            yield cells[start:end]


def _without_what_is_private(executed):
    """Leave warnings and tracebacks out of a notebook that was executed, and return its errors, a sentence each."""
    errors = []
    for cell in (cell for cell in executed.cells if cell.cell_type == "code"):
        # The style for JupyterLab is in the page's own.
        style = [output for output in cell.outputs if output.get("metadata", {}).get("temlib") == "style"]
        cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr" and o not in style]
        for output in cell.outputs:
            if output.output_type == "error":
                errors.append(f"{output.ename}: {output.evalue}")
                output.traceback = errors[-1:]
    return errors


def given_paths(values):
    """Return the paths that a run's parameters name."""
    return [
        value for key in notebook.PATHS for value in [values.get(key)] if value and Path(value).is_absolute()
    ]


def mailable(page, given=()):
    """Return a page that names files without the folders that they lie in, and in which no name turns the text round.

    `given` are paths of which every folder is known, so that their names may hold spaces.
    """
    folders = {*(Path(path).parent for path in given), notebook.CHECKOUT, notebook.reports_folder()}
    folders.add(Path(os.path.expanduser("~")))
    known = [f"{folder}{os.sep}" for folder in folders if folder.name]
    known = sorted({*known, *map(html.escape, known)}, key=len, reverse=True)

    def shortened(text):
        for folder in known:
            text = text.replace(folder, "")
        return PATH.sub("", text)

    def piece(found):
        if found[2]:
            return shortened(found[2])
        return READ_OUT.sub(lambda part: part[1] + shortened(part[2]), found[1])

    return PIECES.sub(piece, TURNING.sub("", page))


def _reachable(page):
    """Let each table scroll within a region of its own, which the keyboard reaches and which has a name."""
    heading, count = "", 0

    def piece(found):
        nonlocal heading, count
        if found[1]:
            heading = html.escape(plain(found[0]))
            return found[0]
        count += 1
        name = f"Table {count}, {heading}" if heading else f"Table {count}"
        return f'<div class="scroll" tabindex="0" role="region" aria-label="{name}">{found[0]}</div>'

    return HEADING_OR_TABLE.sub(piece, page)


def plain(markup):
    """Return the text of a piece of HTML, such as a heading, without the mark that links to it."""
    text = re.sub(r'<a class="anchor-link".*?</a>|<[^>]+>', "", markup, flags=re.S)
    return html.unescape(" ".join(text.split()))


def _title(executed, name):
    """Return the first heading of a notebook, or `name`."""
    texts = [cell.source for cell in executed.cells if cell.cell_type == "markdown"]
    found = re.search(r"^#\s+(.+)", "\n".join(texts), flags=re.M)
    return found.group(1).strip() if found else name


def _contents(page):
    """Return a table of contents of a page's second headings, where there are three or more."""
    items = []
    for anchor, text in re.findall(r'<h2 id="([^"]+)">(.*?)</h2>', page, flags=re.S):
        items.append(f'<li><a href="#{anchor}">{html.escape(plain(text))}</a></li>')
    if len(items) < 3:
        return ""
    return f'<nav class="contents" aria-label="Contents"><ol>{"".join(items)}</ol></nav>'


def _parameter_rows(executed, name):
    """Return the rows of a notebook's table of parameters."""
    path = notebook.NOTEBOOKS / f"{name}.ipynb"
    given = executed.metadata.get("papermill", {}).get("parameters", {})
    rows = []
    for key, parameter in parameters.declared(path).items() if path.exists() else ():
        value = given.get(key, parameter.default)
        changed = value != parameter.default and key != "run"
        rows.append({"name": key, "value": str(value), "meaning": parameter.meaning, "changed": changed})
    return rows
