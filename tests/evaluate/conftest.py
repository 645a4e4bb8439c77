"""What the tests of predictions share: drawn predictions, and notebook 4 run cell by cell."""

import ast
import json

import numpy as np
import pandas as pd
from scipy import special

from temlib import figures
from temlib.files import write_csv
from temlib.report import notebook

CLASSES = ["empty", "full", "uncertain"]


def table_of(truth, p, classes=CLASSES, **columns):
    """Return predictions of the model m on particles of the classes `truth`, the likeliest class of `p` predicted."""
    names = np.array(list(classes), object)
    table = pd.DataFrame(p, columns=[f"p_{c}" for c in classes]).assign(particle=np.arange(len(p)), model="m")
    return table.assign(truth=names[truth], predicted=names[np.argmax(p, axis=1)]).assign(**columns)


def drawn(models, *, particles=240, micrographs=24, seed=0, classes=CLASSES, quality=(1.6, 0.8, 1.1)):
    """Return predictions and particles of models that differ in quality."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(len(classes), particles, p=[0.6, 0.3, 0.1])
    micrograph = rng.integers(0, micrographs, particles)
    about = {
        "particle": [f"p{i:04d}" for i in range(particles)],
        "micrograph": [f"m{i:02d}" for i in micrograph],
    }
    rows = []
    for model, good in zip(models, quality):
        logits = rng.normal(size=(particles, len(classes))) + good * np.eye(len(classes))[truth]
        p = special.softmax(logits, axis=1)
        rows.append(table_of(truth, p, classes, **about, model=model, fold=micrograph % 3 + 1, role="test"))
    return pd.concat(rows, ignore_index=True), pd.DataFrame(about).assign(content=np.array(classes)[truth])


def write(folder, predictions, particles):
    """Write what notebook 3 leaves."""
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "predictions.csv", predictions)
    write_csv(folder / "particles.csv", particles)
    models = predictions["model"].unique()
    write_csv(folder / "costs.csv", pd.DataFrame({"model": models, "fold": 1, "training_s": 1.0}))


def shown(reports, monkeypatch, **values):
    """Run notebook 4 and return all that it shows, pictures as their numbers and words."""
    monkeypatch.setenv("TEMLIB_REPORTS", str(reports))
    texts = []

    def display(thing):
        if isinstance(thing, figures.Picture):
            thing.plot()
            numbers = thing.frame().to_csv(index=False, float_format="%.9g")
            texts.append("\n".join([thing.alt, thing.caption, numbers]))
        elif thing is not None:
            texts.append(thing._repr_html_() if hasattr(thing, "_repr_html_") else str(thing))

    space = {"display": display}
    cells = json.loads((notebook.NOTEBOOKS / "4_evaluate.ipynb").read_text(encoding="utf-8"))["cells"]
    for cell in (c for c in cells if c["cell_type"] == "code"):
        body = ast.parse("".join(cell["source"])).body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), "cell", "exec"), space)
        if "parameters" in cell["metadata"].get("tags", []):
            space |= values
        elif last is not None:
            display(eval(compile(ast.Expression(last.value), "cell", "eval"), space))
    return texts
