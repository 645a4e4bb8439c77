"""Training with labels that were given by keyboard: which parameters it has, what its button says, and all of it in JupyterLab."""

import time
from types import SimpleNamespace

import pandas as pd
import papermill
import pytest

from temlib import data, figures, report
from temlib.files import InputError
from temlib.report import labelling, parameters, planning


@pytest.fixture
def begun(study, tmp_path, monkeypatch):
    """The labels of anna for a study, and what trains with them."""
    monkeypatch.setenv("TEMLIB_REPORTS", str(tmp_path / "reports"))
    (tmp_path / "reports" / "mine").mkdir(parents=True)
    given = {"run": "mine", "task": "content", "particles": str(study), "seed": 3, "classes": ["plain"]}
    here = report.begin("label", {**defaults(), **given})
    labelling = figures.Labelling(data.open(study), "content", name="anna", queue="random")
    return report.TrainAgain(here, labelling), study


def defaults():
    """The parameters of the notebook as they are declared."""
    declared = parameters.declared(labelling.notebook.NOTEBOOKS / "label.ipynb")
    return {name: parameter.default for name, parameter in declared.items()}


def read(path):
    """Return the values of a parameter file."""
    return parameters.read(path, planning.declarations()).values


def test_a_run_of_its_own_with_the_parameters_of_the_run_before(begun):
    """Of the notebook where that run was never run, else of its file; particles and task are those that are labelled."""
    trained, study = begun
    with pytest.raises(InputError, match="there is no label in it yet"):
        trained.write()
    trained.labelling.annotations.set("00", "plain")
    copy = {"particles": str(study.with_name("manifest_labelled.csv")), "task": "content"}
    trained.write()
    assert trained.path.name == "mine_anna.yaml" and read(trained.path) == {"seed": 3, **copy}
    # What is there already is used as it is, unless it is about other particles.
    trained.path.write_text(trained.path.read_text() + "folds: 2\n")
    trained.write()
    assert read(trained.path)["folds"] == 2
    trained.path.write_text("folds: 2\n")
    with pytest.raises(InputError, match="is there already and names other particles; rename it"):
        trained.write()
    trained.path.unlink()
    former = "epochs: 2\nmatrix: {task: [content, other]}\nparticles: simulated\n"
    trained.here.path("parameters.yaml").write_text(former)
    trained.write()
    assert read(trained.path) == {"epochs": 2, **copy}


def press(trained, code, seconds=20.0, *, stop=False):
    """Press the button where the run is a line of Python instead; return what is said in the end."""
    fake = SimpleNamespace(
        command=["-c", code],
        run=trained.run,
        here=trained.here,
        write=lambda: trained.run.mkdir(exist_ok=True),
    )
    button = labelling.Press(fake)
    button.press()
    assert button.button.description == "Stop"
    if stop:
        time.sleep(1)
        button.press()
    end = time.monotonic() + seconds
    while button.process and time.monotonic() < end:
        time.sleep(0.05)
    assert button.button.description == "Train again with these labels"
    return button.said.value


def test_the_button_says_what_came_out(begun):
    """The verdict of this run beside the one before, the sentence of a refusal, and what a run that is stopped says."""
    trained, _ = begun
    (trained.here.folder / "answer.json").write_text('{"verdict": ["It was < 5."]}')
    write = f"open({str(trained.run / 'answer.json')!r}, 'w').write('{{\"verdict\": [\"It is 6.\"]}}')"
    said = press(trained, write)
    assert said.startswith("Now: It is 6.<br>Before: It was &lt; 5.<br>The report: ")
    assert press(trained, "import sys; print('a'); sys.exit('temlib: too few.')") == "temlib: too few."
    loop = "import time\ntry:\n  time.sleep(60)\nexcept KeyboardInterrupt:\n  print('stopped'); raise SystemExit(130)"
    assert press(trained, loop, stop=True) == "stopped"
    button = labelling.Press(trained)
    button.press()
    assert "there is no label in it yet" in button.said.value and button.process is None


def test_a_page_says_the_command(begun):
    """There is no button in a report."""
    shown = begun[0]._repr_mimebundle_()
    assert "python -m temlib run " in shown["text/html"] and "mine_anna.yaml" in shown["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in shown


def test_the_notebook_is_ordered_by_a_saved_model(tmp_path, monkeypatch):
    """By plain papermill: particles to practise on, in the micrographs that are asked for, with a model that prepares them its own way."""
    monkeypatch.setenv("TEMLIB_REPORTS", str(tmp_path))
    given = {
        "count": 60,
        "bundle": "shipped:lamellarity",
        "only": {"micrograph": ["m0001"]},
        "input_size": 32,
    }
    source, target = labelling.notebook.NOTEBOOKS / "label.ipynb", tmp_path / "label.ipynb"
    done = papermill.execute_notebook(source, target, given, kernel_name="python3", progress_bar=False)
    pages = [
        o["data"].get("text/html", "") for cell in done.cells for o in cell.get("outputs", ()) if "data" in o
    ]
    particles = data.open(tmp_path / "scratch" / "practice_60_1").table
    count = (particles["micrograph"] == "m0001").sum()
    assert 0 < count < 60 and any(f"0 of {count} particles" in page for page in pages)


@pytest.mark.slow
@pytest.mark.browser
def test_from_nothing_to_a_verdict_in_jupyterlab(jupyterlab, chromium, study, tmp_path):
    """A set without labels is labelled by keyboard, one press trains with the labels, and the verdict is shown."""
    table = pd.read_csv(study)
    truth = table["content"].tolist()
    table.drop(columns="content").to_csv(study, index=False)
    reports = jupyterlab.folder.parent / "reports"
    (reports / "scratch").mkdir(parents=True)
    former = f"particles: {study}\nmodels: [svm_texture]\nprimary: svm_texture\nfolds: 2\n"
    (reports / "scratch" / "parameters.yaml").write_text(former)
    path = jupyterlab.folder / "label.ipynb"
    text = path.read_text().replace('particles: str = \\"simulated\\"', f'particles: str = \\"{study}\\"')
    text = text.replace('task: str = \\"lamellarity\\"', 'task: str = \\"content\\"')
    path.write_text(text.replace("classes: list = []", 'classes: list = [\\"plain\\", \\"bright\\"]'))
    page = jupyterlab.open(chromium, "label")
    assert jupyterlab.run_all(page) == []
    page.locator(".labelling canvas").click()
    for k in range(48):
        page.wait_for_function(f"document.querySelector('.labelling').dataset.at === '{k}'")
        page.locator(".labelling canvas[data-particle]:visible").wait_for()
        row = int(page.locator(".labelling canvas").get_attribute("data-particle"))
        page.keyboard.press("1" if truth[row] == "plain" else "2")
    page.get_by_text("48 of these 48 have a label of me", exact=True).wait_for()
    page.get_by_role("button", name="Train again with these labels").click()
    page.get_by_role("button", name="Stop").wait_for()
    page.get_by_text("at work for", exact=False).wait_for()
    page.get_by_text("Now: ", exact=False).wait_for(timeout=300_000)
    page.screenshot(path=tmp_path / "again.png", full_page=True)
    assert (reports / "scratch_me" / "scratch_me.html").exists()
    made = pd.read_csv(reports / "scratch_me" / "particles.csv", dtype=str)
    assert made["content"].tolist() == truth
