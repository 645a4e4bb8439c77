"""Notebooks 1 to 4 run from JupyterLab's own menu, and by plain papermill, without the runner."""

import re
import subprocess
import sys
import time

import nbformat
import numpy as np
import pandas as pd
import pytest

from temlib.report.notebook import CHECKOUT, NOTEBOOKS

# Small enough for a test; a person would leave the cell as it is.
SMALL = {
    "count": 200,
    "epochs": 1,
    "folds": 2,
    "input_size": 24,
    "pixel_nm": 5.0,
    "models": ["residual", "svm_texture"],
    "primary": "residual",
}


def _shrink(path, **others):
    """Change the values in a notebook's parameters cell, as a person at the keyboard would."""
    values = SMALL | others
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            lines = cell.source.splitlines()
            for i, line in enumerate(lines):
                name = line.split(":")[0]
                if name in values:
                    lines[i] = f"{name} = {values[name]!r}"
            cell.source = "\n".join(lines)
    nbformat.write(notebook, path)


@pytest.mark.slow
@pytest.mark.browser
def test_notebooks_one_to_four_run_all_in_jupyterlab(jupyterlab, chromium):
    """Run All Cells, in order, shows no error; the evaluation ends with its tables on disk."""
    for name in ("1_explore", "2_augment", "3_train", "4_evaluate"):
        _shrink(jupyterlab.folder / f"{name}.ipynb")
        page = jupyterlab.open(chromium, name)
        assert jupyterlab.run_all(page) == [], name
        assert page.locator(".jp-OutputArea-output svg").count() >= 3, name
        page.close()
    assert list(jupyterlab.folder.parent.rglob("reports/scratch/measures.csv"))


@pytest.mark.slow
@pytest.mark.browser
def test_the_stop_button_ends_a_fold_which_keeps_its_best_weights(jupyterlab, chromium):
    """Stopped in each of two folds that would take many minutes, the notebook ends without error, and every particle is judged."""
    # Epochs are judged by predictions that do not follow micrographs; so must be what is compared with them.
    usual = {"run": "stopped", "models": ["residual"], "adaptation": "none"}
    _shrink(jupyterlab.folder / "3_train.ipynb", epochs=5000, **usual)
    page = jupyterlab.open(chromium, "3_train")
    stopped = []

    def stop(page):
        fold = len(stopped) + 1
        running = page.get_by_text(re.compile(rf"residual fold {fold} epoch \d{{2,}}/")).count()
        # Two interruptions within two seconds would end all training.
        if running and fold <= 2 and (not stopped or time.monotonic() - stopped[-1] > 4):
            page.locator('[data-command="notebook:interrupt-kernel"], [title^="Interrupt"]').first.click()
            stopped.append(time.monotonic())

    assert jupyterlab.run_all(page, meanwhile=stop) == [] and len(stopped) == 2
    for fold in (1, 2):
        words = f"training was interrupted in fold {fold}; its best weights so far were kept"
        assert page.get_by_text(words).count(), fold
    page.close()
    folder = next(jupyterlab.folder.parent.rglob("reports/stopped"))
    history, predictions = (pd.read_csv(folder / f"{name}.csv") for name in ("history", "predictions"))
    assert history.groupby("fold")["epoch"].max().between(10, 4999).all()
    assert predictions.query("role == 'test'")["particle"].nunique() == 200
    # The weights that judged the validation particles are those of the best epoch of each fold, not the last ones.
    judged = predictions.query("role == 'validation'")
    for fold, part in judged.groupby("fold"):
        of_truth = part.apply(lambda row: row[f"p_{row['truth']}"], axis=1)
        loss = -np.log(of_truth).groupby(part["truth"]).mean().mean()
        assert loss == pytest.approx(history[history["fold"] == fold]["validation_loss"].min(), rel=1e-3)


@pytest.mark.parametrize(
    ("notebook", "options", "least"),
    [("notebooks/7_software.ipynb", [], 2), (NOTEBOOKS / "1_explore.ipynb", ["-p", "count", "200"], 8)],
    ids=["from the checkout", "from elsewhere"],
)
def test_plain_papermill_works_from_anywhere(tmp_path, monkeypatch, notebook, options, least):
    """`papermill notebooks/1_explore.ipynb out.ipynb -p count 200` needs no runner and no working directory."""
    monkeypatch.setenv("TEMLIB_REPORTS", str(tmp_path / "reports"))
    where = tmp_path if options else CHECKOUT
    options = [*options, "-k", "python3", "--no-progress-bar"]
    command = [sys.executable, "-m", "papermill", str(notebook), str(tmp_path / "out.ipynb"), *options]
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    outputs = [o for c in nbformat.read(tmp_path / "out.ipynb", 4).cells for o in c.get("outputs", [])]
    assert sum("text/html" in o.get("data", {}) for o in outputs) >= least
