"""From executed notebooks to self-contained HTML, and the indexes over notebooks and runs.

No page asks anything of the network: style stands in the page, pictures are embedded, there is no script.
"""

import copy
import html as escape
import json
import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from temlib.files import InputError, write_text
from temlib.report import notebook, parameters
from temlib.report.notebook import NOTEBOOKS, duration

TEMPLATES = Path(__file__).with_name("template")


def html(notebook, *, name, index="index.html"):
    """Render an executed notebook as one HTML page.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
    name : str
        The notebook's name, such as `1_explore`: whose declarations explain the parameters.
    index : str
        Address of the run's index, relative to the page.

    Returns
    -------
    str
    """
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter

    exporter = HTMLExporter(template_name="temlib", extra_template_basedirs=[str(TEMPLATES)])
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    resources = {
        "title": f"{_title(notebook, name)} – temlib",
        "css": _css() + HtmlFormatter(style="default").get_style_defs(".highlight"),
        "index": index,
        "failure": _failure(notebook),
        "parameters": _parameter_rows(notebook, name),
        "origin": _origin(notebook),
    }
    # The name `title` of the resources is the exporter's own; it would be overwritten by its metadata.
    page, _ = exporter.from_notebook_node(
        _without_noise(notebook), resources={**resources, "metadata": {"name": name}}
    )
    return page.replace("</h1>", "</h1>" + _contents(page), 1)


def render(path):
    """Render the executed notebook file `path` as HTML beside it, and give that path."""
    import nbformat

    path = Path(path)
    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: this is no notebook that can be read ({error}); name an .ipynb file."
        ) from None
    target = path.with_suffix(".html")
    write_text(target, html(notebook, name=path.stem))
    return target


def _css():
    return (TEMPLATES / "style.css").read_text(encoding="utf-8")


def _title(notebook, name):
    for cell in notebook.cells:
        found = re.match(r"#\s+(.+)", cell.source) if cell.cell_type == "markdown" else None
        if found:
            return found.group(1).strip()
    return name


def _failure(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return f"{output.ename}: {output.evalue}"
    return ""


def _without_noise(notebook):
    """Leave out papermill's markers, which the page's top repeats, and the live half of widgets that have a twin."""
    keep = [c for c in notebook.cells if "papermill-error-cell-tag" not in c.metadata.get("tags", [])]
    keep = [c for c in keep if not ({"parameters", "injected-parameters"} & set(c.metadata.get("tags", [])))]
    notebook = notebook.copy()
    notebook.cells = copy.deepcopy(keep)
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if "text/html" in output.get("data", {}):
            output.data.pop("application/vnd.jupyter.widget-view+json", None)
    return notebook


def _contents(page):
    headings = re.findall(r'<h2 id="([^"]+)">(.*?)</h2>', page, flags=re.S)
    items = []
    for anchor, text in headings:
        plain = re.sub(r"<a class=\"anchor-link\".*?</a>", "", text, flags=re.S)
        items.append(f'<li><a href="#{anchor}">{re.sub("<[^>]+>", "", plain).strip()}</a></li>')
    return (
        f'<nav class="contents" aria-label="Contents"><ol>{"".join(items)}</ol></nav>'
        if len(items) > 2
        else ""
    )


def _parameter_rows(notebook, name):
    path = NOTEBOOKS / f"{name}.ipynb"
    declared = parameters.declared(path) if path.exists() else {}
    given = {**notebook.metadata.get("papermill", {}).get("parameters", {})}
    given.update(notebook.metadata.get("temlib", {}).get("values", {}))
    rows = []
    for key, parameter in declared.items():
        value = given.get(key, parameter.default)
        rows.append(
            {
                "name": key,
                "value": str(value),
                "meaning": parameter.meaning,
                "changed": value != parameter.default and key != "run",
            }
        )
    return rows


def _origin(notebook):
    from temlib import provenance

    facts = provenance.describe()
    versions = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    seconds = notebook.metadata.get("temlib", {}).get("seconds")
    took = f" The notebook took {duration(seconds)} (minutes:seconds)." if seconds is not None else ""
    commit = f", commit {facts['commit']}" if facts["commit"] else ""
    return (
        f"Made by temlib {facts['temlib']}{commit}, source {facts['source']}, on Python {facts['python']}, "
        f"{facts['system']}, {facts['cores']} cores; {versions}.{took}"
    )


def _template(name):
    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template(name)


def _json(path):
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _answers(folder):
    """Give what the evaluations of a run found, as notebook 4 left it in `answer.json`."""
    return [_json(path) for path in sorted(folder.rglob("answer.json"))]


def write_run_index(folder):
    """Write the `index.html` of a run from what lies in its folder."""
    origin = _json(folder / "provenance.json")
    answers = _answers(folder)
    notebooks = [_notebook_row(folder, entry) for entry in origin.get("notebooks", [])]
    facts = ", ".join(
        f"{key} {origin[key]}" for key in ("temlib", "commit", "python", "system") if origin.get(key)
    )
    page = _template("run.html.j2").render(
        name=folder.name,
        css=_css(),
        simulated=any(answer.get("simulated") for answer in answers),
        failed=sum(entry["status"] in ("failed", "skipped") for entry in notebooks),
        answers=answers,
        headline=[row for answer in answers for row in answer.get("headline", [])],
        notebooks=notebooks,
        parameters=(folder / "parameters.yaml").read_text(encoding="utf-8"),
        tables=sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.csv")),
        origin=f"{facts}; started {origin.get('started', '')}, {notebook.duration(origin.get('seconds', 0))} in all.",
    )
    write_text(folder / "index.html", page)


def _notebook_row(folder, entry):
    path = folder.parent / entry["folder"] / f"{entry['notebook']}.html"
    title = ""
    if path.exists():
        found = re.search(r"<title>(.*?) – temlib</title>", path.read_text(encoding="utf-8")[:2000])
        title = escape.unescape(found.group(1)) if found else ""
    return {
        "notebook": entry["notebook"],
        "link": path.relative_to(folder).as_posix() if path.exists() else "",
        "combination": ", ".join(f"{key} {value}" for key, value in entry["combination"].items())
        or "all particles",
        "title": title,
        "status": "done" if entry["status"] == "kept" else entry["status"],
        "error": entry["error"],
        "time": notebook.duration(entry["seconds"]),
    }


def write_index(reports):
    """Write the `index.html` over all runs below the folder `reports`."""
    runs = []
    for path in sorted(Path(reports).glob("*/provenance.json")):
        origin, answers = _json(path), _answers(path.parent)
        bad = [entry for entry in origin.get("notebooks", []) if entry["status"] in ("failed", "skipped")]
        runs.append(
            {
                "name": path.parent.name,
                "data": "simulated"
                if any(a.get("simulated") for a in answers)
                else ("measured" if answers else ""),
                "sentences": [a["sentences"][0] for a in answers if a.get("sentences")],
                "failed": bool(bad),
                "state": f"{len(bad)} notebooks did not finish" if bad else "finished",
                "started": origin.get("started", ""),
            }
        )
    write_text(Path(reports) / "index.html", _template("index.html.j2").render(runs=runs, css=_css()))
