"""JupyterLab and Chromium for tests: a server of its own on copies of the notebooks, driven as a person would."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

from temlib.report.notebook import CHECKOUT, NOTEBOOKS

SETTINGS = (
    # Every cell is in the page, not only those in view, so that a test can wait for all of them.
    ("notebook-extension", "tracker", {"windowingMode": "none", "autoStartDefaultKernel": True}),
    ("apputils-extension", "notification", {"fetchNews": "false", "checkForUpdates": False}),
)


# The system's Chromium, None where there is none.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def chromium():
    """Yield a headless Chromium of the system, or Playwright's own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Lab:
    """A running JupyterLab and the folder of notebook copies that it serves."""

    def __init__(self, address, folder):
        self.address, self.folder = address, folder

    def open(self, browser, notebook):
        """Open a notebook in a new page and wait for its kernel."""
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        # A workspace of its own: the default one would open earlier notebooks again beside this one.
        page.goto(f"{self.address}/lab/workspaces/{notebook}/tree/{notebook}.ipynb", timeout=120_000)
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=120_000)
        page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=120_000)
        return page

    def run_all(self, page, *, timeout=600, meanwhile=None):
        """Choose "Run All Cells" in the menu and wait for the last cell; return the text of the errors that are shown.

        Twice a second, `meanwhile` is called with the page, as a person may act while cells run.
        """
        prompts = page.locator(".jp-CodeCell .jp-InputPrompt")
        end, clicked = time.monotonic() + timeout, -60.0
        while time.monotonic() < end:
            texts = [text.strip("[]: \n") for text in prompts.all_inner_texts()]
            errors = self.errors(page)
            if errors or (texts and all(text.isdigit() for text in texts)):
                return errors
            # JupyterLab forgets a click, or all but its first cell, while it still connects to the kernel: click again if
            # nothing is at work.
            if "*" not in "".join(texts) and time.monotonic() - clicked > 20:
                # The menu acts on the part of the window that has the focus, which need not be the notebook.
                page.keyboard.press("Escape")
                page.locator(".jp-Notebook .jp-Cell").first.click()
                page.get_by_role("menuitem", name="Run", exact=True).click()
                page.get_by_text("Run All Cells", exact=True).click()
                clicked = time.monotonic()
            if meanwhile:
                meanwhile(page)
            page.wait_for_timeout(500)
        raise TimeoutError(f"the notebook did not end; its prompts are {texts}")

    def errors(self, page):
        """Return the tracebacks that a page shows."""
        kind = "application/vnd.jupyter.error"
        return page.locator(f'.jp-RenderedText[data-mime-type="{kind}"]').all_inner_texts()


@contextmanager
def jupyterlab(folder, *more):
    """Serve copies of the notebooks from `folder`, with settings, runs and workspaces below it, and yield a `Lab`.

    `more` are options of the command line, as typed in the checkout.
    """
    served, home = folder / "notebooks", folder / "home"
    shutil.copytree(NOTEBOOKS, served, ignore=shutil.ignore_patterns(".*"))
    for extension, name, values in SETTINGS:
        path = home / "settings" / "@jupyterlab" / extension / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    environment = os.environ | {name: str(home / name.lower()) for name in paths}
    environment |= {
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "TEMLIB_REPORTS": str(folder / "reports"),
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")]),
    }
    options = [f"--port={port}", "--ip=127.0.0.1", "--no-browser", "--allow-root"]
    options += [*more, "--IdentityProvider.token=", "--ServerApp.password=", f"--ServerApp.root_dir={served}"]
    command = [sys.executable, "-m", "jupyterlab", *options]
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=CHECKOUT, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait(f"http://127.0.0.1:{port}/api", server, folder / "lab.log")
            yield Lab(f"http://127.0.0.1:{port}", served)
        finally:
            server.terminate()
            server.wait(30)


def _wait(address, server, log, *, seconds=180):
    for _ in range(2 * seconds):
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")
