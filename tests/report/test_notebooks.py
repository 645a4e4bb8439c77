import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict

import pandas as pd
import pytest
from click.testing import CliRunner

from temlib import train
from temlib.__main__ import main
from temlib.report import notebook, parameters
from tests.report.conftest import hostile

NOTEBOOKS = sorted(notebook.NOTEBOOKS.glob("*.ipynb"))
# Anything in a page that a browser would fetch.
REQUEST = re.compile(
    r"""(?:src|href)\s*=\s*["'](?:https?:)?//|url\(\s*["']?(?:https?:)?//|@import|<script [^>]*src|<link"""
)

# The quick run as small as it still learns something.
SMALL = ["count=240", "epochs=4", "folds=2", "models=[residual, svm_texture]", "primary=residual"]
SMALL += ["input_size=24", "pixel_nm=5"]
TINY = [word for pair in SMALL for word in ("--set", pair)]


def quick(folder, environment):
    """Write the quick run with tiny parameters into a folder, by the real runner, and return what it says."""
    command = [sys.executable, "-m", "temlib", "run", "parameters/quick.yaml", *TINY, "--output", str(folder)]
    how = {"cwd": notebook.CHECKOUT, "env": environment, "encoding": "utf-8", "errors": "replace"}
    done = subprocess.run(command, capture_output=True, check=False, **how)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """The quick run, on an account whose settings are all against it."""
    folder = tmp_path_factory.mktemp("reports")
    said = quick(folder, hostile(tmp_path_factory.mktemp("home")))
    assert len(re.findall(r"3_train task=\w+ .*\d+:\d\d$", said, flags=re.M)) == 2
    return folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_prose_calls_and_figures(path):
    """No outputs, no definitions, no long cells; each notebook declares `run` and begins under its own name."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    assert not any(c.get("outputs") or c.get("execution_count") for c in cells)
    # The parameters cell holds one declaration a line, as many as there are.
    calls = [s for s in sources if not s.startswith("# What may be changed")]
    assert len(calls) == len(sources) - 1 and all(len(s.splitlines()) <= 15 for s in calls)
    nodes = [node for s in sources for node in ast.walk(ast.parse(s))]
    assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in nodes)
    assert "run" in parameters.declared(path)
    assert any(f'report.begin("{path.stem}", globals())' in s for s in sources)


def test_settings_of_training_have_the_defaults_of_notebook_3():
    """Who trains in Python gets what the notebook would do."""
    path = notebook.NOTEBOOKS / "3_train.ipynb"
    given = {name: parameter.default for name, parameter in parameters.declared(path).items()}
    given["unsure"] = tuple(given["unsure"])
    assert all(given[name] == value for name, value in asdict(train.Settings()).items())


def test_shared_parameters_are_the_same_in_all_notebooks():
    """A parameter that several notebooks declare is declared alike."""
    seen = {}
    for path in NOTEBOOKS:
        for name, parameter in parameters.declared(path).items():
            assert seen.setdefault(name, parameter) == parameter, f"{path.stem}: {name}"


def test_the_run_leaves_tables_and_pages(reports):
    """Every notebook leaves its page, every task its tables and its models, and the index links to what exists."""
    run = reports / "quick"
    for task in ("lamellarity", "encapsulation"):
        for name in ("predictions.csv", "measures.csv", "answer.json", "3_train.html", "4_evaluate.html"):
            assert (run / f"task={task}" / name).exists()
    assert set(pd.read_csv(run / "measures.csv")["task"]) == {"lamellarity", "encapsulation"}
    for model in ("residual", "svm_texture"):
        card = train.load(run / "task=lamellarity" / "models" / model).card
        assert card["simulated"] and len(card["calibration"]["temperatures"]) == 2
    page = (run / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'href="([^"#]+)"', page)
    assert len(links) >= 9 and all((run / link).exists() for link in links)
    assert "Simulated data" in page


def test_the_run_ends_with_an_assay_of_another_study(reports):
    """Shares with intervals and the truth beside them, on the first page, in a part of the one file, and in a table."""
    run = reports / "quick"
    shares = pd.read_csv(run / "task=encapsulation" / "assay" / "shares.csv")
    corrected = shares[shares["estimate"] == "corrected"]
    assert corrected["n"].between(350, 400).all() and corrected["truth"].sum() == pytest.approx(1)
    assert corrected[["low", "high"]].notna().all(axis=None)
    page = (run / "quick.html").read_text(encoding="utf-8")
    assert page.count('aria-label="Assay, ') == 2 and "400 particles in 16 micrographs" in page
    cover = page[page.index('id="cover"') : page.index('class="part"')]
    assert "What share of the sample is what (encapsulation)?" in cover and ", truth " in cover


@pytest.mark.slow
def test_a_run_is_the_same_on_any_account(reports, tmp_path):
    """Every table but that of times, every picture and every word but times of the run is that of the usual account."""
    quick(tmp_path, dict(os.environ))
    for page in sorted(tmp_path.rglob("*.html")):
        other = reports / page.relative_to(tmp_path)
        mine, theirs = (
            re.findall(r"data:image/png;base64,[^\"]*", p.read_text(encoding="utf-8")) for p in (page, other)
        )
        assert len(mine) == len(theirs) and (page.stem == "3_train" or mine == theirs), page
    names = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.csv") if path.name != "costs.csv"}
    assert len(names) >= 14
    for name in names:
        assert (tmp_path / name).read_bytes() == (reports / name).read_bytes(), name


def test_pages_ask_nothing_of_the_network(reports):
    """No page fetches anything, every picture has its words, and a page can be mailed."""
    pages = list(reports.rglob("*.html"))
    assert len(pages) >= 9
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not REQUEST.search(re.sub(r"data:image/png;base64,[^\"]*", "", text)), page
        assert all(re.search(r'alt="[^"]{15,}"', image) for image in re.findall(r"<img[^>]*>", text)), page
        assert page.stat().st_size <= 6e6


def test_pictures_of_the_particles_stand_once_in_the_one_file(reports):
    """Both tasks let a reader look through the same particles."""
    page = (reports / "quick" / "quick.html").read_text(encoding="utf-8")
    keys = re.findall(r'data-key="(\w+)"', page)
    assert page.count('class="browser"') == 2 and len(set(keys)) == len(keys) == 3


@pytest.mark.browser
def test_the_frames_of_notebook_2_move_offline(reports, chromium):
    """In the report, without network or scripts, a click below the picture shows another frame."""
    (path,) = reports.rglob("2_augment.html")
    context = chromium.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(path.as_uri())
    film = page.get_by_role("radiogroup", name="zoom")
    before = film.locator(".window").first.screenshot()
    film.get_by_role("radio").first.click()
    assert film.locator(".window").first.screenshot() != before
    context.close()


def test_pages_of_simulated_particles_say_so(reports):
    """A report about simulated particles says it."""
    for page in reports.rglob("[1-4]_*.html"):
        assert "Simulated data" in page.read_text(encoding="utf-8"), page


def test_an_unchanged_run_is_kept(reports):
    """A second run with the same parameters executes nothing, and says so in one line."""
    before = {p: p.stat().st_mtime_ns for p in reports.rglob("7_*.ipynb")}
    options = ["--only", "7", "--output", str(reports)]
    result = CliRunner().invoke(main, ["run", "parameters/quick.yaml", *TINY, *options])
    assert result.exit_code == 0 and "= 7_software · 0:00 · unchanged, kept\n" in result.output
    assert {p: p.stat().st_mtime_ns for p in reports.rglob("7_*.ipynb")} == before


def test_bad_data_stop_before_any_notebook(study, tmp_path):
    """A misspelt task ends with status 2, one sentence, and nothing written."""
    (tmp_path / "mine.yaml").write_text("particles: manifest.csv\ntask: contnt\nfolds: 2\n")
    result = CliRunner().invoke(main, ["run", str(tmp_path / "mine.yaml"), "--output", str(tmp_path / "out")])
    assert result.exit_code == 2 and "content" in result.output and not (tmp_path / "out").exists()


def test_a_size_that_the_chosen_images_do_not_reach_stops_before_any_notebook(study, tmp_path):
    """The images of crops of 24 px have 28 pixels, so a network cannot see 29."""
    text = "particles: manifest.csv\ntask: content\nfolds: 2\nprimary: {0}\nmodels: ['{0}']\n"
    for name, status, words in (
        ("lipnet4@28", 0, "fine"),
        ("lipnet4@29", 2, "raise 'input_size' to 29 or more"),
    ):
        (tmp_path / "mine.yaml").write_text(text.format(name))
        result = CliRunner().invoke(main, ["check", str(tmp_path / "mine.yaml")])
        assert result.exit_code == status and words in result.output


def test_own_particles_need_two_lines(study, tmp_path):
    """In the example only `particles` and `task` are to be changed; all else is chosen."""
    text = (notebook.CHECKOUT / "parameters" / "own_data.yaml").read_text(encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(
        text.replace("path/to/manifest.csv", "manifest.csv").replace("task: lamellarity", "task: content")
    )
    result = CliRunner().invoke(main, ["check", str(tmp_path / "mine.yaml")])
    assert result.exit_code == 0 and "At 2 nm/pixel" in result.output


def test_a_failed_notebook_keeps_its_page_and_tells(study, tmp_path):
    """Without predictions notebook 4 fails, keeps its page with the error on top, and the index says so."""
    (tmp_path / "mine.yaml").write_text("particles: manifest.csv\ntask: content\nfolds: 2\n")
    options = ["--only", "4", "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(main, ["run", str(tmp_path / "mine.yaml"), *options])
    assert result.exit_code == 2
    page = (tmp_path / "out" / "mine" / "4_evaluate.html").read_text(encoding="utf-8")
    assert "stopped with an error" in page and "run the notebook 3_train first" in page
    assert "did not finish" in (tmp_path / "out" / "mine" / "index.html").read_text(encoding="utf-8")


def test_check_knows_a_good_file():
    """`check` lists what would run."""
    result = CliRunner().invoke(main, ["check", "parameters/quick.yaml"])
    assert result.exit_code == 0 and "3_train task=lamellarity" in result.output
    assert "nm/pixel details from" in result.output and "The window of" in result.output
