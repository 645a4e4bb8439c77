"""Parameters: declared once in a notebook's `parameters` cell, given in flat YAML, refused when they do not fit.

A declaration is one line of Python, and its comment ends with the range or the choices when there are any::

    epochs: int = 30  # passes over the training particles [1, 10000]
    imbalance: str = "oversample"  # how rare classes are balanced {none|class_weight|oversample}

An interval with a round bracket leaves that end out; the default may lie outside. Every refusal is an `InputError` that names the file (or
notebook), the key and the cure.
"""

import ast
import contextlib
import io
import itertools
import json
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path

import yaml

from temlib.files import InputError, nearest

# The types that a declaration may name, and what a message calls a value of each.
KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
KINDS |= {list: "a list of names (numbers, yes and no in quotes)"}
KINDS |= {dict: "new names with a list of names each, such as {both: [one, other]},"}

_COMMENT = re.compile(r"(?P<meaning>.*?)\s*(?P<limits>[\[(][^,\]]+,[^,\]]+[\])]|\{[^{}:]+\})?\s*$")


@dataclass(frozen=True)
class Parameter:
    """One declared parameter: its type, default and meaning, and the range or the choices as they were written."""

    name: str
    kind: type
    default: object
    meaning: str
    limits: str

    @property
    def choices(self):
        """The texts that it may be; empty where these are not declared."""
        return self.limits[1:-1].split("|") if self.limits.startswith("{") else []

    def check(self, value, where):
        """Return `value` as the declared type, or refuse it; `where` is the place that the message names."""
        # A whole number serves as a float, and so does YAML's text `1e-3`.
        if self.kind is float and type(value) in (int, str):
            with contextlib.suppress(ValueError):
                value = float(value)
        if type(value) is not self.kind or not _of_names(value):
            example = "" if self.default in ([], {}) else f" such as {self.default!r}"
            should = f"be {KINDS[self.kind]}{example}"
        elif self.choices and value not in self.choices:
            should = f"be one of {', '.join(self.choices)}"
        elif not self.choices and self.limits and value != self.default and not self._in_range(value):
            # A default outside, such as 0, leaves the choice to temlib.
            chosen = "" if self._in_range(self.default) else f" or be {self.default:g}"
            should = f"lie in {self.limits}{chosen}"
        else:
            return value
        near = nearest(str(value), self.choices)
        raise InputError(f"{where}: '{self.name}' should {should}, but is {value!r}{near}.")

    def _in_range(self, value):
        """Return whether a number lies in the written range, such as `(0, 1]`."""
        low, high = map(float, self.limits[1:-1].split(","))
        closed = [end for bracket, end in (("[", low), ("]", high)) if bracket in self.limits]
        return low < value < high or value in closed


def _of_names(value):
    """Return whether what a list or a mapping holds are names; other values hold nothing."""
    if isinstance(value, dict):
        return _of_names(list(value)) and all(type(v) is list and v and _of_names(v) for v in value.values())
    return not isinstance(value, list) or all(isinstance(name, str) and name.strip() for name in value)


def written(value):
    """Return a value as folders and tables of a sweep have it: lists and mappings as one word."""
    if isinstance(value, dict):
        return ",".join(f"{written([name])}({written(names)})" for name, names in value.items()) or "{}"
    if isinstance(value, list):
        return "+".join(re.sub(r"[^\w.-]+", "_", name) for name in value) or "[]"
    return value


def parse(source):
    """Return the parameters that the source of a `parameters` cell declares, by name.

    A statement that is no such declaration is a `ValueError`: a fault of the notebook, not of its user.
    """
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    kinds = {kind.__name__: kind for kind in KINDS}
    found = {}
    for statement in ast.parse(source).body:
        match statement:
            case ast.AnnAssign(ast.Name(name), ast.Name(kind), ast.expr() as default) if kind in kinds:
                meaning, limits = _COMMENT.match(comments.get(statement.end_lineno, "")).groups(default="")
                found[name] = Parameter(name, kinds[kind], ast.literal_eval(default), meaning, limits)
            case _:
                raise ValueError(f"not a declaration such as `epochs: int = 30`: {ast.unparse(statement)}")
    return found


def declared(notebook):
    """Return the parameters that a notebook file declares in its cell tagged `parameters`, by name."""
    for cell in json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            return parse("".join(cell["source"]))
    return {}


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error: plain YAML silently keeps the last."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise InputError(f"line {node.start_mark.line + 1}: the key '{key}' stands twice; keep one")
        return super().construct_mapping(node, deep)


@dataclass(frozen=True)
class Settings:
    """A parameter file as read and checked: where it came from, its values, its matrix, its notebooks."""

    path: Path
    values: dict
    matrix: dict
    notebooks: tuple

    @property
    def run(self):
        """The run's name, that of the parameter file."""
        return self.path.stem

    def combinations(self, names):
        """Return the combinations of those matrix parameters that are among `names`, as a list of dicts."""
        keys = [key for key in self.matrix if key in names]
        return [dict(zip(keys, values)) for values in itertools.product(*(self.matrix[key] for key in keys))]


def read(path, declarations, *, changes=()):
    """Read a parameter file and check it against what each notebook declares.

    `changes` holds key and YAML value of each `--set`, which stand in for those of the file.
    """
    path = Path(path)
    content = _load(path)
    matrix = content.pop("matrix", None) or {}
    if not isinstance(matrix, dict):
        should = "map a parameter to a list of its values"
        raise InputError(f"{path}: 'matrix' should {should}, but is {matrix!r}.")
    for key, text in changes:
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise InputError(f"--set {key}={text}: the value is not YAML; write it as in a file.") from None
        if key in matrix and isinstance(value, list):
            matrix[key] = value
        else:
            matrix.pop(key, None)
            content[key] = value
    notebooks = _notebooks(content.pop("notebooks", None), declarations, path)
    known = {name: p for notebook in declarations.values() for name, p in notebook.items() if name != "run"}
    for key in [*content, *matrix]:
        if key not in known:
            hint = nearest(str(key), [*known, "matrix", "notebooks"]) or "; each report lists them at its end"
            raise InputError(f"{path}: no notebook has a parameter '{key}'{hint}.")
    for key, given in matrix.items():
        if key in content:
            raise InputError(f"{path}: '{key}' stands both alone and under 'matrix'; keep one.")
        if not isinstance(given, list) or not given:
            raise InputError(f"{path}: 'matrix: {key}' should be a list of values, but is {given!r}.")
    values = {key: known[key].check(value, path) for key, value in content.items()}
    matrix = {key: [known[key].check(value, path) for value in given] for key, given in matrix.items()}
    for key, given in matrix.items():
        if len({written(value) for value in given}) < len(given):
            raise InputError(f"{path}: 'matrix: {key}' names a value twice: {given!r}; keep one.")
    return Settings(path, values, matrix, notebooks)


def _load(path):
    """Return the mapping that a parameter file holds."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader) or {}
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such parameter file; parameters/ holds examples.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 1}" if place else ""
        raise InputError(f"{path}{line}: this is not YAML; write one 'name: value' a line.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    except InputError as error:
        raise InputError(f"{path}, {error}.") from None
    if not isinstance(content, dict):
        should = "a parameter file holds one 'name: value' a line"
        raise InputError(f"{path}: {should}, but this holds {content!r:.60}.")
    return content


def _notebooks(names, declarations, path):
    """Return the notebooks that a parameter file names, as a tuple."""
    if names is None:
        return ()
    if not isinstance(names, list) or not names:
        example = "a list such as [1_explore, 3_train]"
        raise InputError(f"{path}: 'notebooks' should be {example}, but is {names!r}.")
    for name in names:
        if name not in declarations:
            refuse_notebook(name, declarations, path)
    return tuple(names)


def refuse_notebook(name, known, where):
    """Raise that there is no notebook of that name, and say which there are."""
    hint = nearest(str(name), known) or f"; there are {', '.join(known)}"
    raise InputError(f"{where}: there is no notebook '{name}'{hint}.")
