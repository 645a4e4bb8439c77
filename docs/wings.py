"""Draw who imports whom, in docs/architecture.md; with `--sizes REVISION` print the size of each part, then and now."""

import ast
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

PAGE = Path(__file__).with_name("architecture.md")
output = partial(subprocess.check_output, cwd=PAGE.parents[1], encoding="utf-8")
# Where the modules went that lay at the top before there were wings; those not named here are parts themselves.
MOVED = {
    "augment": "_splines affine device spectra",
    "data": "_labels _mrc _pickers _readers _worker cache micrographs particles pixels positions sources stacks tables",
    "evaluate": "answers calibration cases confusions curves decisions foreign intervals measures scores sweeps tested",
    "explore": "survey",
    "figures": "software widgets",
    "files": "_paths",
    "report": "book execution parameters run",
    "simulate": "camera confusers forms optics panel payloads physics projection scene specimen",
    "train": "adaptation descriptors explain fitting layers misfits models networks recipes svm training",
}


def house(revision):
    """Return the texts of each part's modules, the face first, in a revision or as git has them "--cached"."""
    parts = {}
    for name in output(["git", "grep", "-le", "", revision, "--", "temlib/*.py"]).split():
        module = name.split("/")[1].removesuffix(".py")
        part = next((part for part, modules in MOVED.items() if module in modules.split()), module)
        parts.setdefault(part, []).append(output(["git", "show", name if ":" in name else f":{name}"]))
    return parts


def picture(parts):
    """Return a Mermaid flowchart: a box for each part with what its face says, an arrow for each import."""
    boxes, arrows = [], set()
    for part, texts in list(parts.items())[1:]:  # but for __init__.py, which imports nothing
        tree = ast.parse("".join(texts))
        says = ast.get_docstring(tree).split("\n\n")[0].replace("\n", " ").replace('"', "#quot;")
        size = f"modules: {len(texts)}, lines: {''.join(texts).count(chr(10)):,}"
        boxes.append(f'{part}["<b>{part}</b><br/>{says}<br/>{size}"]')
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        paths = [f"{node.module}.{alias.name}".split(".") for node in imports for alias in node.names]
        others = parts.keys() - {part, "files"}  # all may import files
        arrows |= {f"{part} --> {p[1]}" for p in paths if p[0] == "temlib" and p[1] in others}
    return "\n  ".join(["```mermaid\nflowchart TD", *boxes, *sorted(arrows)]) + "\n```"


if sys.argv[1:2] == ["--sizes"]:
    then, now = house(sys.argv[2]), house("--cached")
    print("| part | modules | lines | modules now | lines now |\n|---|--:|--:|--:|--:|")
    for parts in (then, now):
        parts["whole"] = [text for texts in parts.values() for text in texts]
    for part in sorted(then | now):
        both = (parts.get(part, []) for parts in (then, now))
        print(f"| {part}", *(f"| {len(texts)} | {''.join(texts).count(chr(10)):,}" for texts in both), "|")
else:
    head, tail = re.split("<!-- wings -->.*<!-- /wings -->", PAGE.read_text("utf-8"), flags=re.DOTALL)
    PAGE.write_text(f"{head}<!-- wings -->\n{picture(house('--cached'))}\n<!-- /wings -->{tail}", "utf-8")
