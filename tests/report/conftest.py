"""Notebooks and runs that are as small as can be."""

from pathlib import Path

import nbformat
import pytest

from temlib.report import notebook, parameters


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Write notebooks of one cell of code each, which stand in for temlib's, and return the settings of a run of them."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(notebook, "NOTEBOOKS", folder)
    monkeypatch.setenv("TEMLIB_REPORTS", str(tmp_path / "reports"))

    def write(cells, **matrix):
        for name, source in cells.items():
            declared = 'run: str = "scratch"  # folder\ntask: str = "a"  # of two'
            cell = nbformat.v4.new_code_cell(declared, metadata={"tags": ["parameters"]})
            new = nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_code_cell(source)])
            nbformat.write(new, folder / f"{name}.ipynb")
        return parameters.Settings(Path("mine.yaml"), {}, matrix, tuple(cells))

    return write
