"""Follow docs/tutorial.md and make its pictures anew: `python docs/screenshots.py [FOLDER]`.

All that they show is simulated. The commands take minutes; what they left in FOLDER, where it is named, is used again.
"""

import io
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
TUTORIAL = CHECKOUT / "docs" / "tutorial.md"
PICTURES = CHECKOUT / "docs" / "tutorial"
LARGEST = 150_000  # bytes of a picture
WIDTH = 1100  # CSS pixels of the window


def commands():
    """Return the commands of the tutorial, the indented lines, each with the lines of output that are shown below it."""
    found = []
    for block in re.split(r"\n\n+", TUTORIAL.read_text(encoding="utf-8")):
        if block.startswith("    "):
            found += [(line.strip(), []) for line in block.splitlines()]
        elif block.startswith("```text\n"):
            found[-1][1].extend(line.strip() for line in block.splitlines()[1:-1])
    return found


def follow(folder):
    """Type the commands one after the other in a folder, which is the home folder too, and yield each with what it said and is said to say.

    `make lab`, which does not end, is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    here = {"HOME": str(folder), "TEMLIB_REPORTS": str(folder / "reports"), "PYTHONPATH": paths}
    for command, shown in commands():
        if command == "make lab":
            continue
        program, *words = shlex.split(command)
        assert program == ".venv/bin/python", command
        words = [word.replace("~", str(folder), 1) if word.startswith("~") else word for word in words]
        print(command, flush=True)
        done = subprocess.run(
            [sys.executable, *words],
            cwd=folder,
            env=os.environ | here,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        yield command, done.stdout, shown


def lab_options():
    """Return the options of `make lab`, but for the folder that it serves."""
    recipe = (CHECKOUT / "Makefile").read_text(encoding="utf-8").partition("\nlab:")[2].splitlines()[1]
    return [word for word in shlex.split(recipe) if word.startswith("--LabApp")]


def save(name, png):
    """Write a screenshot as WebP, in the best quality that is small enough."""
    from PIL import Image

    for quality in (85, 75, 60, 40):
        buffer = io.BytesIO()
        Image.open(io.BytesIO(png)).convert("RGB").save(buffer, "webp", quality=quality, method=6)
        if buffer.tell() <= LARGEST:
            break
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / f"{name}.webp").write_bytes(buffer.getvalue())
    print(f"{name}.webp: {buffer.tell() / 1e3:.0f} kB")


def of_reports(browser, folder):
    """Take pictures of the report and of the assay."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 900})
    for name, run in {"first-page": "liposomes", "assay": "session2_assay"}.items():
        page.goto((folder / "reports" / run / f"{run}.html").as_uri())
        page.wait_for_timeout(1000)
        save(name, page.screenshot())
        if run == "liposomes":
            browsed = page.locator(".browser").first
            browsed.scroll_into_view_if_needed()
            page.wait_for_timeout(1000)
            save("particles", browsed.screenshot())
    page.close()


def of_jupyterlab(browser, folder):
    """Take pictures of the start page, of the chooser of the scale in notebook 1, and of the labels by keyboard."""
    sys.path.insert(0, str(CHECKOUT))
    from tests import lab

    with tempfile.TemporaryDirectory() as other, lab.jupyterlab(Path(other), *lab_options()) as server:
        page = browser.new_page(viewport={"width": WIDTH, "height": 640})
        page.goto(server.address)
        page.locator(".jp-MarkdownViewer table").wait_for(timeout=120_000)
        page.wait_for_timeout(2000)
        save("start", page.screenshot())
        page.close()
        for name in ("1_explore", "label"):
            prepare(server.folder / f"{name}.ipynb", folder / "liposomes")
        page = server.open(browser, "1_explore")
        assert not server.run_all(page)
        chooser = page.locator(".jp-OutputArea-output", has=page.locator(".temlib-crops")).first
        chooser.scroll_into_view_if_needed()
        page.get_by_role("button", name="Lines for the parameter file").click()
        page.locator(".temlib-lines pre").wait_for()
        save("scale", chooser.screenshot())
        page.close()
        page = server.open(browser, "label")
        assert not server.run_all(page)
        page.locator(".labelling canvas[data-particle]:visible").click()
        for key in ("1", "ArrowLeft"):
            page.keyboard.press(key)
            page.wait_for_timeout(1000)
        save("label", page.locator(".labelling").screenshot())


def prepare(path, source):
    """Name the particles in a copy of a notebook; what follows the chooser of the scale takes its time and is not seen."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    names = [cell["id"] for cell in notebook["cells"]]
    if "scale" in names:
        notebook["cells"] = notebook["cells"][: names.index("scale") + 1]
    given = (json.dumps(text)[1:-1] for text in ('"simulated"', json.dumps(source.as_posix())))
    path.write_text(json.dumps(notebook).replace(*given, 1), encoding="utf-8")


def main(folder):
    """Follow the tutorial in a folder unless it was followed there, and take all pictures."""
    if not (folder / "reports").exists():
        for _ in follow(folder):
            pass
    sys.path.insert(0, str(CHECKOUT))
    from tests import lab

    with lab.chromium() as browser:
        of_reports(browser, folder)
        of_jupyterlab(browser, folder)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(sys.argv[1] if sys.argv[1:] else temporary).resolve())
