"""docs/tutorial.md: its commands are run as they stand, its pictures are there and small, and JupyterLab opens on the start page."""

import importlib.util
import re

import pytest

from temlib.report.notebook import CHECKOUT, NOTEBOOKS

SPEC = importlib.util.spec_from_file_location("screenshots", CHECKOUT / "docs" / "screenshots.py")
screenshots = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(screenshots)


def test_the_tutorial_has_few_small_pictures_that_say_what_is_seen():
    """At most six, each at most 150 kB, all of them shown, with words for those who do not see them."""
    shown = dict(
        re.findall(r"!\[([^\]]{30,})\]\(tutorial/([\w-]+\.webp)\)", screenshots.TUTORIAL.read_text("utf-8"))
    )
    there = {path.name: path.stat().st_size for path in screenshots.PICTURES.iterdir()}
    assert set(shown.values()) == set(there) and 1 <= len(there) <= 6
    assert max(there.values()) <= screenshots.LARGEST


def test_the_way_of_a_user_is_in_the_tutorial():
    """From the first look at a folder to an assay; every command is one of a kind that the test below runs."""
    commands = [command for command, _ in screenshots.commands()]
    words = [re.match(r"\.venv/bin/python -m temlib (\w+)|make lab$", command) for command in commands]
    assert all(words)
    assert [word[1] for word in words] == ["simulate", "init", "check", None, "run", "simulate", "assay"]


@pytest.mark.slow
def test_every_command_of_the_tutorial_runs_and_says_what_is_shown(tmp_path):
    """Typed one after the other; `make lab` is below."""
    for command, said, shown in screenshots.follow(tmp_path):
        for line in shown:
            assert line in said, command
    assert (tmp_path / "reports" / "liposomes" / "liposomes.html").exists()
    assert (tmp_path / "reports" / "session2_assay" / "session2_assay.html").exists()


def test_the_start_page_names_every_notebook():
    """Each with a link that leads to it, and nothing else is linked."""
    links = re.findall(r"\[(\w+)\]\(([\w.]+)\)", (NOTEBOOKS / "README.md").read_text("utf-8"))
    assert links == [(path.stem, path.name) for path in sorted(NOTEBOOKS.glob("*.ipynb"))]


@pytest.mark.slow
@pytest.mark.browser
def test_make_lab_opens_on_the_start_page_whose_links_open_notebooks(tmp_path, chromium):
    """With the options of the Makefile: the page is rendered, and a click opens the notebook beside it."""
    from tests import lab

    options = screenshots.lab_options()
    assert len(options) == 2
    with lab.jupyterlab(tmp_path, *options) as server:
        page = chromium.new_page(viewport={"width": 1300, "height": 800})
        page.goto(server.address)
        page.locator(".jp-MarkdownViewer table").wait_for(timeout=120_000)
        page.locator(".jp-MarkdownViewer a", has_text="7_software").click()
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=120_000)
        assert page.url.endswith("7_software.ipynb")
        page.close()
