"""What a run's first page says: the question, the sample, the verdict, the scores, the composition, three lights.

It is made from the small JSON files that notebooks leave: `answer.json` of notebook 4, one for each combination, and
`overview.json` of notebook 1, which `overview` writes. What an older file lacks is left out.
"""

import base64
import io
import json
import math

import numpy as np
from PIL import Image

from temlib.files import natural, write_json

SHOWN = 4  # particles of a class
LARGEST = 96  # rows and columns of a particle on the first page
LIMIT = 3.0  # robust units shown as black and white
# Lengths of a scale bar, nm; the longest that fits into half a particle is taken.
BARS = (1000, 500, 200, 100, 50, 20, 10, 5, 2, 1)


def overview(here, data, pairs):
    """Write `overview.json`, from which a run's first page shows the sample, and return in words what may be leaking.

    Parameters
    ----------
    here : Notebook
    data : temlib.data.Particles
    pairs : DataFrame
        Particles of different micrographs that look the same (`explore.near_duplicates`).
    """
    light, rows = _leak(data, pairs), {task: _rows(data, task) for task in data.tasks}
    small = _strip(data.images[:: max(1, len(data) // SHOWN)][:SHOWN], 48)
    write_json(here.path("overview.json"), {"lights": [light], "thumbnail": small, "tasks": rows})
    return light["words"]


def _leak(data, pairs):
    """Return whether particles may stand on both sides of a split: title, state and words."""
    state, whole = "good", "No fold divides a micrograph"
    words = f"{whole}, and no particles of different micrographs were found that look the same."
    if data.table["micrograph"].nunique() == len(data):
        state = "unknown"
        words = "Each particle counts as a micrograph of its own; if some share one, scores may be too high."
    elif len(pairs):
        state, number = "warn", f"{len(pairs):,} pair{'s' * (len(pairs) > 1)} of particles"
        words = (
            f"{whole}, but {number} of different micrographs look the same; copies may make scores too high."
        )
    return {"title": "A leak?", "state": state, "words": words}


def _rows(data, task):
    """Return for each class of a task a strip of its first particles and, where the pixel size is known, a scale bar."""
    labels, rows = data.table[task], []
    for name in sorted(labels.dropna().unique(), key=natural):
        which = np.flatnonzero(labels == name)
        images = data.images[which[:: max(1, len(which) // SHOWN)][:SHOWN]]
        row = {"class": name, "n": len(which), "shown": len(images), "image": _strip(images)}
        if math.isfinite(data.pixel_nm):
            side = data.images.shape[-1] * data.pixel_nm
            length = next((bar for bar in BARS if bar <= side / 2), 1)
            row |= {"bar_nm": length, "bar": length / side / len(images)}  # as a part of the strip
        rows.append(row)
    return rows


def _strip(images, largest=LARGEST):
    """Return particles side by side as the address of a small JPEG, with at most so many rows."""
    grey = np.clip((np.asarray(images) + LIMIT) * (255 / (2 * LIMIT)), 0, 255).astype(np.uint8)
    strip = Image.fromarray(np.hstack(grey))
    if strip.height > largest:
        strip = strip.resize((len(images) * largest, largest), Image.Resampling.BOX)
    buffer = io.BytesIO()
    strip.save(buffer, "jpeg", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def read(folder):
    """Return a run as its pages show it: its name, origin and state, and what each evaluation found."""
    origin, shown = _json(folder / "provenance.json"), _json(folder / "overview.json")
    origin = {"notebooks": [], "seconds": 0, "started": "", "packages": {}} | origin
    # A folder may have been renamed since, so of paths the run's own part is left out.
    rows = [row | {"folder": row["folder"].partition("/")[2]} for row in origin["notebooks"]]
    rows = rows or _found(folder)
    combinations = {row["folder"]: row["combination"] for row in rows}  # in the order of the matrix
    paths = {folder / place / "answer.json": combination for place, combination in combinations.items()}
    answers = [
        _answer(_json(path), combination, shown) | {"folder": path.parent}
        for path, combination in paths.items()
        if path.exists()
    ]
    return {
        "name": folder.name,
        "origin": origin,
        "notebooks": rows,
        "answers": answers,
        "failed": [row for row in rows if row["status"] in ("failed", "skipped")],
        "simulated": any(answer.get("simulated") for answer in answers),
        "thumbnail": shown.get("thumbnail"),
    }


def _found(folder):
    """Return a run's notebooks by the pages that are there, for one that the runner did not make."""
    rows = []
    for path in sorted(folder.rglob("[0-9]_*.html")):
        place = path.parent.relative_to(folder).as_posix().removeprefix(".")
        row = {"notebook": path.stem, "folder": place, "combination": {}}
        rows.append(row | {"status": "done", "seconds": 0})
    return rows


def _json(path):
    """Return what a JSON file holds, nothing where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _answer(answer, combination, shown):
    """Return what one evaluation found, ready to be drawn: places are per cent of the width."""
    task = answer.get("title", "")
    shown = shown if "headline" in answer else {}  # an assay is of another sample
    pictures = {row["class"]: row for row in shown.get("tasks", {}).get(task, [])}
    shares = answer.get("shares") or [{"class": name} for name in pictures]
    rows = [{"name": row["class"], "picture": pictures.get(row["class"])} | row for row in shares]
    verdict = answer.get("verdict") or answer.get("sentences", [])[:1]
    headline = [row | {"name": row["model"], "text": _text(row)} for row in answer.get("headline", [])]
    return answer | {
        "label": label(combination),
        "question": answer.get("question") or f"Which classifier can be trusted on {task}?",
        "verdict": [verdict] if isinstance(verdict, str) else verdict,
        "models": _placed(headline, top=1.0),
        "primary": _placed([row for row in headline if row.get("primary")], bottom=0.0, top=1.0),
        "classes": _placed(rows, bottom=0.0),
        "lights": [*answer.get("lights", []), *shown.get("lights", [])],
    }


def _text(row):
    """Return a value of the headline with its interval, such as "90 % (82–95)"."""
    interval = row["interval"].replace(" to ", "–").replace(" %", "")
    return f"{row['value']} ({interval})"


def label(combination):
    """Return the name of a combination of parameters, such as "lamellarity" or "encapsulation, labels 0.5"."""
    return ", ".join(str(value) if key == "task" else f"{key} {value}" for key, value in combination.items())


def _placed(rows, *, bottom=None, top=None):
    """Return rows with where their dots and intervals stand on an axis of whole tenths, and its two ends."""
    numbers = [row[key] for row in rows for key in ("number", "low", "high") if row.get(key) is not None]
    if not numbers:
        return {"rows": rows}
    low = math.floor(10 * min(numbers)) / 10 if bottom is None else bottom
    high = math.ceil(10 * max(numbers)) / 10 if top is None else top
    low = min(low, high - 0.1)

    def place(row, key):
        return 100 * (row[key] - low) / (high - low) if row.get(key) is not None else None

    placed = [
        row | {"at": place(row, "number"), "from": place(row, "low"), "to": place(row, "high")}
        for row in rows
    ]
    return {"rows": placed, "low": f"{100 * low:.0f} %", "high": f"{100 * high:.0f} %"}
