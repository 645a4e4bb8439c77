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
import math
import re
import tokenize
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import yaml

from temlib.files import InputError, decoded, nearest, reason, shown

# The types that a declaration may name, and what a message calls a value of each.
KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
KINDS |= {list: "a list of names (numbers in quotes)", dict: "a mapping"}
# Words that YAML 1.1 takes for true and false; here they are texts, unless the parameter is true or false.
TRUTHS = {"yes": True, "on": True, "no": False, "off": False}
SURROGATE = re.compile("[\ud800-\udfff]")
# What a run cannot be named after, since the folder of that name is another one, or none on some disk.
NO_FOLDER = re.compile(r"\.*|.*[. ]|(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
MOST = 10_000  # combinations of a matrix
LARGEST = 2**17  # bytes; a parameter file has a few hundred

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

    @property
    def renames(self):
        """Whether it maps a name to a name; else a mapping gives a list for each."""
        return self.kind is dict and "[" not in self.meaning

    def check(self, value, where):
        """Return `value` as the declared type, or refuse it; `where` is the place that the message names."""
        # A whole number serves as a float, and so does YAML's text `1e-3`.
        if self.kind is float and type(value) in (int, str):
            with contextlib.suppress(ValueError):
                value = float(value)
        if type(value) is dict and self.renames:  # whose keys may be numbers in YAML
            value = {str(key): name for key, name in value.items()}
        fits = _of_names(list(value.values()) if type(value) is dict and self.renames else value)
        if self.kind is bool and str(value).lower() in TRUTHS:
            value = TRUTHS[str(value).lower()]
        numeric = self.limits and not self.choices
        # A default outside, such as 0, leaves the choice to temlib.
        chosen = f" or be {self.default:g}" if numeric and not self._in_range(self.default) else ""
        if type(value) is not self.kind or not fits:
            example = f" such as {self.default!r}" if self.default and self.kind is not bool else ""
            example = f" in {self.limits}{chosen}" if numeric else example
            kind = KINDS[self.kind]
            if self.kind is dict:  # its meaning ends with an example
                each = "" if self.renames else " with a list of names each,"
                kind += f"{each} such as {self.meaning.partition('such as ')[2]}"
            should = f"be {kind}{example}{_cure(self.kind, value)}"
        elif self.choices and value not in self.choices:
            should = f"be one of {', '.join(self.choices)}"
        elif numeric and value != self.default and not self._in_range(value):
            should = f"lie in {self.limits}{chosen}"
        else:
            return value
        near = nearest(str(value), self.choices)
        raise InputError(f"{where}: '{self.name}' should {should}, but is {short(value)}{near}.")

    def _in_range(self, value):
        """Return whether a number lies in the written range, such as `(0, 1]`."""
        low, high = map(float, self.limits[1:-1].split(","))
        closed = [end for bracket, end in (("[", low), ("]", high)) if bracket in self.limits]
        return low < value < high or value in closed


# What is for the runner alone, so that no notebook declares it: the sample of a run's own assay, and how many threads each
# notebook computes with, since sums of another number of threads differ in their last digits.
RUNNERS = {"assay": Parameter("assay", str, "", "", "")}
RUNNERS["threads"] = Parameter("threads", int, 0, "threads of each notebook; 0 shares the cores", "[1, 1024]")


def _of_names(value):
    """Return whether what a list or a mapping holds are names; other values hold nothing."""
    if isinstance(value, dict):
        return _of_names(list(value)) and all(type(v) is list and v and _of_names(v) for v in value.values())
    return not isinstance(value, list) or all(isinstance(name, str) and name.strip() for name in value)


def written(value):
    """Return a value as folders and tables of a sweep have it: lists and mappings as one word."""
    if isinstance(value, dict):
        each = ((name, [names] if isinstance(names, str) else names) for name, names in value.items())
        return ",".join(f"{written([name])}({written(names)})" for name, names in each) or "{}"
    if isinstance(value, list):
        return "+".join(re.sub(r"[^\w.-]+", "_", name) for name in value) or "[]"
    return value


def folded(name):
    """Return a name without what many disks do not know in names of folders: capitals, and two forms of one letter."""
    return unicodedata.normalize("NFC", name).casefold()


def _cure(kind, value):
    """Return how to write what was probably meant, as a part of a sentence, where that is known."""
    if kind is str and type(value) in (int, float, bool):
        return f", in quotes where it looks like something else ('{json.dumps(value)}')"
    with contextlib.suppress(ValueError, OverflowError):
        number = float(value) if kind is int and type(value) in (str, float) else 0.5
        # Not of 010, which is 8 or 10, nor of 1:30.
        if number.is_integer():
            return f", written in digits without leading zeros, point or exponent ({int(number)})"
    return ""


def short(value):
    """Return a value as messages show it."""
    text = "empty" if value is None else repr(value)
    return text if len(text) <= 80 else text[:80] + "…"


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


class _Loader(yaml.SafeLoader):
    """YAML in which words mean what they seem to: 010, 1:30, on, off and dates are texts, and 1e3 is a number.

    A key that stands twice is an error (plain YAML silently keeps the last); so are references, which can make a short
    file endless, and tags.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012  (PyYAML's own way)

    def compose_node(self, parent, index):
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or event.anchor or event.tag:
            raise _Fault(event, "a text that begins with &, * or ! stands in quotes")
        if SURROGATE.search(getattr(event, "value", "")):
            raise _Fault(
                event, "\\ud800 to \\udfff are no characters of their own; write the character itself"
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Fault(key, "a name is one word, not a list")
            if key.value in seen:
                raise _Fault(key, f"the key '{shown(key.value)[:40]}' stands twice; keep one")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


for _tag, _pattern in {
    "bool": "true|True|TRUE|false|False|FALSE",
    "int": "[-+]?(0|[1-9](_?[0-9]){0,17}|0x[0-9a-fA-F]{1,15})",
    "float": r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|([0-9]+(\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]{1,3}|\.(inf|Inf|INF))|\.(nan|NaN|NAN)",
    "null": "|~|null|Null|NULL",
}.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), None)


class _Dumper(yaml.SafeDumper):
    """YAML in which texts that `_Loader` would take for something else stand in quotes."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def as_text(content):
    """Return the text of a parameter file that is read as `content`: a line for each parameter, and for each of a matrix."""
    how = {"Dumper": _Dumper, "allow_unicode": True, "width": math.inf}
    # Of a mapping PyYAML leaves the innermost on one line, which should not be the file's own.
    lines = [
        yaml.dump({key: value}, **how, default_flow_style=None if isinstance(value, (list, dict)) else False)
        for key, value in content.items()
    ]
    return "".join(lines) or "# all defaults\n"


class _Fault(yaml.MarkedYAMLError):
    """What is YAML but not taken here, at a node or an event."""

    def __init__(self, node, text):
        super().__init__(problem=text, problem_mark=node.start_mark)


def _parsed(text, where, what="this"):
    """Return the value of a text of YAML, and the place of each key for messages, which begin with `where`."""
    line, loader = 0, None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        value = loader.construct_document(node) if node else None
        return value, _places(node, where)
    except yaml.reader.ReaderError as error:
        line, why = (
            text.count("\n", 0, error.position) + 1,
            f"the character {chr(error.character)!a} cannot stand there",
        )
    except yaml.MarkedYAMLError as error:
        mark, why = error.problem_mark or error.context_mark, reason(error.problem or error.context)
        line = mark.line + 1 if mark else 0
        if isinstance(error, _Fault):
            raise InputError(f"{_at(where, line)}: {why}.") from None
    except RecursionError:
        why = "lists stand in lists without end"
    finally:
        if loader:
            loader.dispose()
    cure = (
        "write one 'name: value' a line" if what == "this" else "quote the whole of KEY=VALUE for the shell"
    )
    raise InputError(
        f"{_at(where, line)}: {what} is not YAML ({why}); {cure}, and texts with special characters in single quotes."
    )


def _at(where, line):
    """Return a place in a file; a --set has one line."""
    return f"{shown(where)}, line {line}" if line and isinstance(where, Path) else shown(where)


def _places(node, where):
    """Return the place of each key, `name` or ("matrix", `name`), of a document without lists as keys."""
    places = {}
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        places[key.value] = _at(where, key.start_mark.line + 1)
        if key.value == "matrix" and isinstance(value, yaml.MappingNode):
            places |= {("matrix", k.value): _at(where, k.start_mark.line + 1) for k, _ in value.value}
    return places


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


def read(path, declarations, *, changes=(), content=None):
    """Read a parameter file and check it against what each notebook declares.

    `changes` holds key and YAML value of each `--set`, which stand in for those of the file, and `content` for all that the
    file holds.
    """
    path = Path(path)
    if NO_FOLDER.fullmatch(path.stem) or not path.stem.isprintable():
        raise InputError(
            f"{shown(path)[:300]}: a run is named after its file, and no folder can be named so; rename it."
        )
    content, places = _load(path) if content is None else (dict(content), dict.fromkeys(content, path.stem))
    matrix = _with_changes(content, places, changes)
    notebooks = _notebooks(content.pop("notebooks", None), declarations, places.get("notebooks", path))
    known = {name: p for notebook in declarations.values() for name, p in notebook.items() if name != "run"}
    swept = dict(known)
    known |= RUNNERS
    for key, place in [*((key, key) for key in content), *((key, ("matrix", key)) for key in matrix)]:
        if key not in (known if place == key else swept):
            hint = nearest(str(key), [*known, "matrix", "notebooks"]) or "; each report lists them at its end"
            where = places.get(place, path)
            raise InputError(f"{where}: no notebook has a parameter '{shown(str(key))[:40]}'{hint}.")
    values = {key: known[key].check(value, places[key]) for key, value in content.items()}
    if values.get("assay") and (values.get("bundle") or not values.get("keep_models", True)):
        cure = "keep one" if values.get("bundle") else "leave 'keep_models' true"
        raise InputError(
            f"{places['assay']}: 'assay' names a sample for the models that this run saves; {cure}."
        )
    return Settings(path, values, _axes(matrix, values, known, places), notebooks)


def _with_changes(content, places, changes):
    """Put what each `--set` says into the content of a file and its places, and return the matrix, which leaves the content."""
    given = {}
    for key, text in changes:
        where = f"--set {shown(key)}={shown(text)[:80]}"
        given[key], _ = _parsed(text, where, "the value")
        places[key] = places["matrix", key] = where
    whole = "matrix" in given
    matrix = given.pop("matrix", content.pop("matrix", None)) or {}
    if not isinstance(matrix, dict):
        should = "map a parameter to a list of its values"
        raise InputError(f"{places['matrix']}: 'matrix' should {should}, but is {short(matrix)}.")
    if whole:
        places |= {("matrix", key): places["matrix"] for key in matrix}
    for key, value in given.items():
        if key in matrix and isinstance(value, list):
            matrix[key] = value
        else:
            matrix.pop(key, None)
            content[key] = value
    return matrix


def _axes(matrix, values, known, places):
    """Return the checked values of each matrix parameter."""
    checked = {}
    for key, given in matrix.items():
        where = places["matrix", key]
        if key in values:
            raise InputError(f"{where}: '{key}' stands both alone and under 'matrix'; keep one.")
        if not isinstance(given, list) or not given:
            raise InputError(f"{where}: 'matrix: {key}' should be a list of values, but is {short(given)}.")
        checked[key] = [known[key].check(value, where) for value in given]
        # A folder is named after each.
        names = {folded(str(written(value))) for value in checked[key]}
        if len(names) < len(given):
            raise InputError(f"{where}: 'matrix: {key}' names a value twice: {short(given)}; keep one.")
    if (count := math.prod(map(len, checked.values()))) > MOST:
        where = places["matrix", next(iter(checked))]
        raise InputError(
            f"{where}: 'matrix' has {count:,} combinations, more than {MOST:,}; sweep fewer at a time."
        )
    return checked


def _load(path):
    """Return the mapping that a parameter file holds, and the place of each key for messages."""
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{shown(path)} is a folder, a pipe or a device; name a parameter file.")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise InputError(
            f"{shown(path)}: there is no such parameter file; parameters/ holds examples."
        ) from None
    except OSError as error:
        raise InputError(f"{shown(path)[:200]}: cannot be read ({reason(error)}).") from None
    if len(data) > LARGEST:
        raise InputError(
            f"{shown(path)}: this is too large for a parameter file; name one such as those in parameters/."
        )
    content, places = _parsed(decoded(path, data)[0], path)
    if not isinstance(content or {}, dict):
        should = "a parameter file holds one 'name: value' a line"
        raise InputError(f"{shown(path)}: {should}, but this holds {short(content)}.")
    return content or {}, places


def _notebooks(names, declarations, where):
    """Return the notebooks that a parameter file names, as a tuple."""
    if names is None:
        return ()
    if not isinstance(names, list) or not names:
        example = "a list such as [1_explore, 3_train]"
        raise InputError(f"{where}: 'notebooks' should be {example}, but is {short(names)}.")
    for name in names:
        if not isinstance(name, str) or name not in declarations:
            refuse_notebook(name, declarations, where)
    return tuple(names)


def refuse_notebook(name, known, where):
    """Raise that there is no notebook of that name, and say which there are."""
    hint = nearest(str(name), known) or f"; there are {', '.join(known)}"
    raise InputError(f"{where}: there is no notebook '{shown(str(name))[:40]}'{hint}.")
