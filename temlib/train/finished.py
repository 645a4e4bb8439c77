"""Finished folds of a training, kept until all are done, so that one that was stopped goes on where it was.

A folder for each fold of each model appears whole or not at all, below one that is named by all that decides what a fold
gives: a training with other particles, settings or code never takes up what is not its own. Nothing is unpickled.
"""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from temlib.files import replacing_folder, write_json

STATE, ARRAYS = "state.json", "arrays.npz"


class Finished:
    """The finished folds in `folder` of the one cross-validation that `decided`, plain JSON values, stands for."""

    def __init__(self, folder, decided):
        text = json.dumps(decided, sort_keys=True, default=str)
        self.folder = Path(folder) / hashlib.sha256(text.encode()).hexdigest()[:16]
        # What other settings had begun is of no use any more.
        for other in Path(folder).glob("*"):
            if other != self.folder:
                shutil.rmtree(other, ignore_errors=True)

    def _place(self, name, fold):
        return self.folder / name / f"fold={fold}"

    def write(self, name, fold, result, explained, models):
        """Keep the result of a fold, what was explained of it, and its file in the folder `models`, None for no file."""
        tables = {key: value for key, value in result.items() if isinstance(value, pd.DataFrame)}
        rest = {key: value for key, value in result.items() if key not in tables}
        kept, tested = rest.pop("kept", (None, None))
        arrays = {} if tested is None else {"tested": tested}
        for key, table in tables.items():
            arrays |= {f"{key}.{k}": _plain(table.iloc[:, k]) for k in range(table.shape[1])}
        arrays |= {
            f"explained.{key}": _plain(pd.Series(values)) if np.ndim(values) == 1 else values
            for key, values in explained.items()
        }
        columns = {key: list(table) for key, table in tables.items()}
        with replacing_folder(self._place(name, fold)) as folder:
            np.savez(folder / ARRAYS, **arrays)
            if kept:
                shutil.copyfile(models / kept["file"], folder / kept["file"])
            write_json(folder / STATE, {"columns": columns, "kept": kept, "rest": rest})

    def read(self, name, fold, models):
        """Return result and explanations of a fold that is finished, and put its file into the folder `models`; else None."""
        folder = self._place(name, fold)
        if not (folder / STATE).exists():
            return None
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
            arrays = dict(arrays)
        result = dict(state["rest"])
        for key, columns in state["columns"].items():
            values = {column: arrays[f"{key}.{k}"] for k, column in enumerate(columns)}
            result[key] = pd.DataFrame(
                {c: v.astype(object) if v.dtype.kind == "U" else v for c, v in values.items()}
            )
        if state["kept"]:
            result["kept"] = state["kept"], arrays["tested"]
            shutil.copyfile(folder / state["kept"]["file"], models / state["kept"]["file"])
        part = "explained."
        return result, {
            key.removeprefix(part): value for key, value in arrays.items() if key.startswith(part)
        }


def _plain(column):
    """Return a column as an array that can be kept without pickling: text as text, numbers as they are."""
    return column.to_numpy() if pd.api.types.is_numeric_dtype(column) else column.to_numpy(str)
