"""From executed notebooks to self-contained HTML, and the indexes over notebooks and runs.

No page asks anything of the network: style stands in the page, pictures are embedded, there is no script.
"""

import functools
import html as escape
import json
import re
import sys
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader

from temlib import provenance
from temlib.files import InputError, write_text
from temlib.report import notebook, parameters

TEMPLATES = Path(__file__).with_name("template")
STYLE = (TEMPLATES / "style.css").read_text(encoding="utf-8")
PAGES = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
PAGES.globals["css"], PAGES.filters["duration"] = STYLE, notebook.duration
# An address of a file, whose name may hold what has a meaning in addresses.
PAGES.filters["address"] = functools.partial(quote, safe="/=,+()[]!@;$")
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
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    errors = [f"{output.ename}: {output.evalue}" for output in outputs if output.output_type == "error"]
    resources = {
        "title": f"{_title(executed, path.stem)} – temlib",
        "css": STYLE + HtmlFormatter(style="default").get_style_defs(".highlight"),
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
    write_text(path.with_suffix(".html"), page.replace("</h1>", "</h1>" + _contents(page), 1))
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


def _title(executed, name):
    """Return the first heading of a notebook, or `name`."""
    texts = [cell.source for cell in executed.cells if cell.cell_type == "markdown"]
    found = re.search(r"^#\s+(.+)", "\n".join(texts), flags=re.M)
    return found.group(1).strip() if found else name


def _contents(page):
    """Return a table of contents of a page's second headings, where there are three or more."""
    items = []
    for anchor, text in re.findall(r'<h2 id="([^"]+)">(.*?)</h2>', page, flags=re.S):
        plain = re.sub(r"<a class=\"anchor-link\".*?</a>|<[^>]+>", "", text, flags=re.S).strip()
        items.append(f'<li><a href="#{anchor}">{plain}</a></li>')
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


def _run(folder):
    """Return a run's name, where it came from, what its evaluations found, and how many notebooks did not finish."""
    paths = [folder / "provenance.json", *sorted(folder.rglob("answer.json"))]
    origin, *answers = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    origin = {"notebooks": [], "seconds": 0} | origin
    failed = sum(row["status"] in ("failed", "skipped") for row in origin["notebooks"])
    return {"name": folder.name, "origin": origin, "answers": answers, "failed": failed}


def write_run_index(folder):
    """Write the `index.html` of a run from what lies in its folder."""
    run = _run(folder)
    page = PAGES.get_template("run.html.j2").render(
        run,
        headline=[row for answer in run["answers"] for row in answer.get("headline", [])],
        notebooks=[_notebook_row(folder, entry) for entry in run["origin"]["notebooks"]],
        parameters=(folder / "parameters.yaml").read_text(encoding="utf-8"),
        tables=sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.csv")),
    )
    write_text(folder / "index.html", page)


def _notebook_row(folder, entry):
    """Return an entry of a run's provenance with the address and the title of its page, where there is one."""
    path = folder.parent / entry["folder"] / f"{entry['notebook']}.html"
    if not path.exists():
        return entry
    title = re.search(r"<title>(.*?) – temlib</title>", path.read_text(encoding="utf-8")).group(1)
    return entry | {"link": path.relative_to(folder).as_posix(), "title": escape.unescape(title)}


def write_index(reports):
    """Write the `index.html` over all runs below the folder `reports`."""
    runs = [_run(path.parent) for path in sorted(reports.glob("*/provenance.json"))]
    write_text(reports / "index.html", PAGES.get_template("index.html.j2").render(runs=runs))
