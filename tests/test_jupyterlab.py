"""Notebooks 1 to 4 run from JupyterLab's own menu, and by plain papermill, without the runner."""

import subprocess
import sys

import nbformat
import pytest

from temlib import book

# Small enough for a test; a person would leave the cell as it is.
SMALL = {"count": 200, "epochs": 1, "folds": 2, "input_size": 24, "pixel_nm": 5.0, "models": ["residual", "svm_texture"],
         "primary": "residual"}  # fmt: skip


def _shrink(path):
    """Change the values in a notebook's parameters cell, as a person at the keyboard would."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            lines = cell.source.splitlines()
            for i, line in enumerate(lines):
                name = line.split(":")[0]
                if name in SMALL:
                    lines[i] = f"{name} = {SMALL[name]!r}"
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
        assert page.locator(".jp-OutputArea-output img").count() >= 3, name
        page.close()
    assert list(jupyterlab.folder.parent.rglob("reports/scratch/measures.csv"))


@pytest.mark.parametrize("elsewhere", [False, True], ids=["from the checkout", "from elsewhere"])
def test_plain_papermill_works_from_anywhere(tmp_path, monkeypatch, elsewhere):
    """`papermill notebooks/1_explore.ipynb out.ipynb -p count 200` needs no runner and no working directory."""
    monkeypatch.setenv("TEMLIB_REPORTS", str(tmp_path / "reports"))
    where = tmp_path if elsewhere else book.CHECKOUT
    notebook = book.NOTEBOOKS / "1_explore.ipynb" if elsewhere else "notebooks/1_explore.ipynb"
    command = [sys.executable, "-m", "papermill", str(notebook), str(tmp_path / "out.ipynb"), "-p", "count", "200",
               "-k", "python3", "--no-progress-bar"]  # fmt: skip
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    outputs = [o for c in nbformat.read(tmp_path / "out.ipynb", 4).cells for o in c.get("outputs", [])]
    assert sum("text/html" in o.get("data", {}) for o in outputs) >= 8
