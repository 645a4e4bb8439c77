"""Notebooks and runs that are as small as can be, and an account as unlike the usual one as can be."""

import os
from pathlib import Path

import nbformat
import pytest

from temlib.report import notebook, parameters

# What people have in their home folders; each of these changed a notebook or its pictures, or ended it.
HOSTILE = {
    ".config/matplotlib/matplotlibrc": "image.origin: lower\nfigure.dpi: 30\nsavefig.dpi: 30\nfont.family: no such font\n"
    "text.usetex: True\naxes.formatter.use_locale: True\naxes.facecolor: black\nimage.cmap: jet\n",
    ".keras/keras.json": '{"floatx": "float16", "epsilon": 0.1, "backend": "jax", "image_data_format": "channels_first"}',
    ".ipython/profile_default/ipython_config.py": "c = get_config()\nc.InteractiveShell.ast_node_interactivity = 'none'\n"
    "c.InlineBackend.figure_formats = {'svg'}\nc.InteractiveShellApp.exec_lines = ['import pandas', 'print = None']\n",
    ".ipython/profile_default/ipython_kernel_config.py": "c = get_config()\nc.InteractiveShellApp.exec_lines = ['len = None']\n",
    ".ipython/profile_default/startup/00.py": "import pandas\npandas.set_option('display.max_rows', 1, 'display.precision', 1)\n"
    "from IPython import get_ipython\nget_ipython().run_line_magic('precision', '1')\ndisplay = None\n",
    ".startup.py": "import locale, os\nlocale.setlocale(locale.LC_ALL, '')\nsum = max = None\n",
    ".jupyter/jupyter_nbconvert_config.py": "c = get_config()\nc.TemplateExporter.exclude_output = True\n",
    ".jupyter/jupyter_config.json": '{"MappingKernelManager": {"default_kernel_name": "no such kernel"}}',
    ".local/share/jupyter/kernels/python3/kernel.json": '{"argv": ["false"], "display_name": "x", "language": "python"}',
    ".local/share/jupyter/nbconvert/templates/basic/conf.json": '{"base_template": "none such"}',
    ".local/share/jupyter/nbconvert/templates/basic/index.html.j2": "<script>nothing</script>",
}


def hostile(home):
    """Write a hostile home folder and return the environment of its account."""
    for name, text in HOSTILE.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text, encoding="utf-8")
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("XDG", "IPYTHON", "JUPYTER", "MPL"))
    }
    odd = {
        "HOME": str(home),
        "PYTHONSTARTUP": str(home / ".startup.py"),
        "MPLBACKEND": "tkagg",
        "LC_ALL": "C",
        "LANG": "tr_TR",
    }
    return (
        kept
        | odd
        | {"TZ": "Pacific/Kiritimati", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "COLUMNS": "20"}
    )


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
