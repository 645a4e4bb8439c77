"""A run of the report that nobody executed: its pages, tables and answers are planted, so that it may be as odd as can be."""

from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd

from temlib import data, figures, report
from temlib.files import write_json, write_text
from temlib.report import onefile

# A name as long as a sheet may hold, one that turns the text round, one of markup, and what formulas and TeX begin with.
LONG = "unilamellar_" * 250
ODD = [
    LONG,
    "\u202eright to left\u2066",
    '</p><script>alert("x")</script>',
    "$x_1$ & co",
    "two\nlines",
    "=1+2",
    "'-a",
    "{{ 7 }}",
]
WARNING = "/home/jane/lib/python3/site-packages/numpy/core.py:12: RuntimeWarning: divide by zero\n"


def particles(classes, *, task="lamellarity", micrographs=4, each=6):
    """Return prepared particles of noise, `each` of a class, in as many micrographs."""
    names = [name for name in classes for _ in range(each)]
    table = pd.DataFrame({"particle": [f"p{k}" for k in range(len(names))], task: names})
    table["micrograph"] = [f"m{k % micrographs}" for k in range(len(names))]
    images = np.random.default_rng(0).normal(size=(len(names), 24, 24)).astype("float32")
    return data.Particles(table, images, source="", notes=(), scale="physical", pixel_nm=2.0, simulated=False)


def answer(task, classes, models=("dihedral", "svm_texture"), *, score=0.9):
    """Return what notebook 4 leaves, with the same score for each model."""
    low, high, n = max(0.0, score - 0.08), min(1.0, score + 0.05), 6 * len(classes)
    text = f"{100 * low:.0f} % to {100 * high:.0f} %"
    headline = [
        {"task": task, "model": name, "primary": k == 0, "value": f"{100 * score:.0f} %", "interval": text}
        | {"number": score, "low": low, "high": high, "n": n, "micrographs": 4}
        for k, name in enumerate(models)
    ]
    share = 1 / len(classes)
    shares = [
        {
            "class": name,
            "n": 6,
            "number": share,
            "low": share / 2,
            "high": 2 * share,
            "text": f"{100 * share:.0f} % (a–b)",
        }
        for name in classes
    ]
    lights = [{"title": "Enough micrographs?", "state": "warn", "words": "Four are few."}]
    return {
        "title": task,
        "simulated": False,
        "question": f"Which liposomes are {classes[0]}?",
        "verdict": [f"The network finds {name} as well as the SVM does." for name in classes[:2]],
        "headline": headline,
        "shares": shares,
        "lights": lights,
    }


def page(path, title, cells):
    """Write an executed notebook, whose cells are markdown or lists of outputs, and its page."""
    made = []
    for cell in cells:
        if isinstance(cell, str):
            made.append(nbformat.v4.new_markdown_cell(cell))
        else:
            made.append(nbformat.v4.new_code_cell("here = 1", outputs=cell))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {title}"), *made])
    notebook.metadata["temlib"] = {"values": {"particles": "/data/jane doe/grid 3/manifest.csv"}}
    write_text(path, nbformat.writes(notebook))
    report.render(path)


def shown(thing):
    """Return something that a notebook shows as an output."""
    return nbformat.v4.new_output("display_data", data={"text/html": thing._repr_html_()})


def said(text, name="stdout"):
    """Return printed text, or a warning, as an output."""
    return nbformat.v4.new_output("stream", name=name, text=text)


def run(folder, classes, *, tasks=("lamellarity",), micrographs=4, score=0.9):
    """Plant a run with these classes in each of its tasks, and return the path of its one file."""
    figures.set_style()
    made = particles(classes, task=tasks[0], micrographs=micrographs)
    counts = pd.DataFrame(
        {"class": classes, **{f"count of {name}"[:60]: range(len(classes)) for name in classes}}
    )
    rows = [("1_explore", {})] + [
        (name, {"task": task}) for name in ("3_train", "4_evaluate") for task in tasks
    ]
    for name, combination in rows:
        place = folder.joinpath(
            *(f"task={k}" for k, task in enumerate(tasks) if task in combination.values())
        )
        cells = [
            "## What was read\n\nSee [the evaluation](task=0/4_evaluate.html#Limits), [a table](measures.csv) and [the web](https://example.org/x).",
            [said(WARNING, "stderr"), said("read /data/jane doe/grid 3/manifest.csv and /tmp/x/y.npz\n")],
            [shown(figures.Table(counts)), shown(figures.Note([f"{name} is a class." for name in classes]))],
            "## Pictures",
            [shown(figures.class_counts(made.table, [tasks[0]]))],
            "## Limits\n\nNone. [Up](#What-was-read)",
        ]
        page(place / f"{name}.ipynb", f"Notebook {name[0]}", cells)
        if name == "4_evaluate":
            write_json(place / "answer.json", answer(combination["task"], classes, score=score))
    report.overview(SimpleNamespace(path=folder.joinpath), made, pd.DataFrame())
    entries = [
        {
            "notebook": name,
            "combination": c,
            "status": "done",
            "error": "",
            "seconds": 1.0,
            "folder": "/".join(["run", *(f"task={tasks.index(t)}" for t in c.values())]),
        }
        for name, c in rows
    ]
    write_json(
        folder / "provenance.json", {"notebooks": entries, "started": "2026-01-02 03:04:05", "temlib": "0"}
    )
    write_text(folder / "parameters.yaml", "particles: /data/jane doe/grid 3/manifest.csv\n")
    (folder / "measures.csv").touch()
    return onefile.write(folder)
