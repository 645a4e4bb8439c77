"""Drawn cases for `tests.faults.fuzz`: parameter files, manifests and images that know their format and break it.

A case is a folder's files and a parameter file beside them. Most of it is sound and a fault or three are put in, since a file
that is all wrong is refused at its first line and reaches nothing behind it.
"""

import io
import json
import os
import warnings
from dataclasses import dataclass
from functools import cache

import mrcfile
import numpy as np
import tifffile
import yaml
from hypothesis import strategies as st
from PIL import Image

from temlib.report import notebook, parameters
from tests.data.test_mutations import CELLS, JSONS, TEXTS, mutated_json, mutated_text
from tests.report.test_parameters import SPOILS

CODE = [
    "\"; open('pwned', 'w'); \"",
    "'\nopen('pwned', 'w')\n'",
    "__import__('os').system('touch pwned')",
    "\\\"\nimport os; os.system('touch pwned')#",
    "!!python/object/apply:os.system ['touch pwned']",
    'f\'{open("pwned", "w")}\'',
    "$(touch pwned)",
    "`touch pwned`",
    "%system touch pwned",
    "!touch pwned",
]
NAMES = [
    *(
        "..",
        "../..",
        "../pwned",
        "a/../../pwned",
        "/pwned",
        "/dev/zero",
        "/etc/passwd",
        "C:\\pwned",
        "\\\\host\\x",
    ),
    *(
        "CON",
        "nul",
        "COM1.txt",
        "aux",
        ".",
        "./.",
        "~",
        "~root",
        "~nobody-here/x",
        "a/b",
        "a\0b",
        "-rf",
        "--set",
        "=",
    ),
    *(
        "{run}",
        "{{run}}",
        "{",
        "}",
        "{0}",
        "%s",
        "%(x)s",
        "${HOME}",
        "a%2Fb",
        "x:y",
        "x|y",
        "x*?",
        "<b>",
        "&lt;",
    ),
    *(
        "größe",
        "gro\u0308ße",
        "日本語",
        "\u202eabc",
        "\u200b",
        "\ufeff",
        "\U0001f9ea",
        "\u0130",
        "ß",
        "ﬁ",
        "\ud800",
        "\udcff",
        "\x7f\x1b[2J",
    ),
    *(
        "a b",
        " a ",
        "a\tb",
        "a\nb",
        "a\r\nb",
        "'",
        '"',
        "''",
        '"""',
        "\\",
        "\\n",
        "\\u0000",
        "#a",
        "a #b",
        "$x^{2$",
        "_",
        "@",
        "a@b",
    ),
    *(
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "'=1",
        "None",
        "True",
        "nan",
        "null",
        "[]",
        "{}",
        "1e999",
        "0x10",
        "1_0",
        "x" * 300,
        "é" * 130,
    ),
    *(
        "uncertain",
        "particle",
        "micrograph",
        "fold",
        "p_x",
        "kind@a",
        "all",
        "macro",
        "truth_x",
        "<script>alert(1)</script>",
    ),
]
WORDS = st.one_of(st.sampled_from(NAMES), st.sampled_from(CODE), st.text(max_size=12))
NUMBERS = [0, 1, -1, 2, 50, 2**31, 2**63, -(10**18), 0.5, -0.0, 1e308, float("inf"), float("nan"), 10**30]
SCALARS = st.one_of(WORDS, st.sampled_from(NUMBERS), st.booleans(), st.none())
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
PATTERNS = [
    "(.*)_\\d+",
    "[[a]",
    "(a{0,60}){0,60}!",
    "(.*)",
    "(a+)+$",
    "(",
    "(.*",
    "(?P<x>.)",
    "(.)(.)",
    "\\",
    "(.*)*x",
]
PATTERNS += ["(?i)(s)", ".", "", "([a-z]*)*!"]
CHEAP = ("1_explore", "2_augment", "7_software")
# Of the YAML that spoils a text, what is new beside `SPOILS`.
YAML = [
    "&a [*a]",
    "*b",
    "!!python/name:os.system",
    "!!binary aGk=",
    "<<: {epochs: 1}",
    "? {a: b}\n: c\n",
    "%YAML 9.9\n---\n",
]
YAML += [
    "!!set {a}",
    "&x ",
    "|2-\n  a",
    "'",
    '"\\ud800"',
    '"\\0"',
    "\x85",
    "\u2028",
    "key: " * 30,
    "[{" * 300,
    "- " * 999,
    "x" * 70000,
]


@dataclass(frozen=True)
class Case:
    """The files of a folder by name (bytes, or the target of a link), and the content of `p.yaml`, which lies there too."""

    kind: str
    files: dict
    text: bytes
    changes: tuple = ()


@cache
def declared():
    """Return each parameter that a notebook declares, by name."""
    paths = sorted(notebook.NOTEBOOKS.glob("[0-9]_*.ipynb"))
    return {name: p for path in paths for name, p in parameters.declared(path).items() if name != "run"}


def picture(image, form):
    """Return an image as the bytes of a file."""
    file = io.BytesIO()
    if form in ("mrc", "mrcs"):
        with warnings.catch_warnings(action="ignore"), _mrc() as mrc:
            mrc.set_data(image)
            if form == "mrcs" and image.ndim == 3:
                mrc.set_image_stack()
            mrc.flush()
            mrc._iostream.seek(0)
            return mrc._iostream.read()
    if form == "tif":
        tifffile.imwrite(file, image)
    else:
        Image.fromarray(image).save(file, {"png": "PNG", "jpg": "JPEG"}[form])
    return file.getvalue()


def _mrc():
    """Return an MRC file in memory."""
    file = mrcfile.mrcinterpreter.MrcInterpreter()
    file._iostream = io.BytesIO()
    file._create_default_attributes()
    return file


@cache
def sound():
    """Return sound images: two micrographs, a stack of 24 and 24 crops."""
    rng = np.random.default_rng(0)
    files = {f"{name}.mrc": picture(rng.normal(size=(40, 50)).astype(np.float32), "mrc") for name in "ab"}
    files["s.mrcs"] = picture(rng.normal(size=(24, 16, 16)).astype(np.float32), "mrcs")
    crops = rng.integers(0, 255, (24, 12, 12)).astype(np.uint8)
    return files | {f"c_{k // 4}_{k}.png": picture(crop, "png") for k, crop in enumerate(crops)}


@st.composite
def odd_pictures(draw):
    """Draw an image of a few pixels of any type and content, as (bytes, suffix)."""
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 8, 9, 16]), min_size=2, max_size=3)))
    form = draw(st.sampled_from(["mrc", "mrcs", "tif", "tif", "png", "jpg"]))
    kinds = {
        "mrc": "i1 i2 u2 f4 c8",
        "mrcs": "i1 i2 f4",
        "tif": "? u1 i2 u4 f2 f4 f8 c8 u8",
        "png": "? u1",
        "jpg": "u1",
    }
    kind = draw(st.sampled_from(kinds[form].split()))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    fill = draw(st.sampled_from(["noise", "noise", "constant", "nan", "inf", "huge", "one"]))
    image = rng.integers(0, 100, shape).astype(kind) if fill != "constant" else np.full(shape, 7).astype(kind)
    if fill in ("nan", "inf", "huge") and kind[0] == "f":
        with np.errstate(over="ignore"):
            image.flat[0 if fill == "inf" else slice(None)] = {"nan": np.nan, "inf": np.inf, "huge": 1e38}[
                fill
            ]
    if fill == "one":
        image.flat[-1] = 1
    if form in ("png", "jpg"):
        image = image[..., 0] if image.ndim == 3 and (image.shape[2] != 3 or kind == "?") else image
    content = picture(image, form)
    if draw(st.integers(0, 5)) == 4:
        content = content[: draw(st.integers(0, len(content)))]
    return content, form


def rightly(parameter, draw):
    """Draw a value that a parameter takes, cheap to check and to run."""
    some = {
        "count": [50, 55],
        "seed": [1, 2],
        "input_size": [0, 12, 24],
        "pixel_nm": [0, 2, 5.0],
        "folds": [2, 3],
    }
    some |= {
        "models": [["svm_texture"], ["svm_texture", "residual"]],
        "primary": ["svm_texture"],
        "epochs": [1],
    }
    some |= {
        "unsure": [[], ["uncertain"], ["uncertain", "x"]],
        "micrograph": ["", r"(.*)_\d+"],
        "skip_bad": [0, 0.5],
    }
    if parameter.name in some:
        return draw(st.sampled_from(some[parameter.name]))
    if parameter.choices:
        return draw(st.sampled_from(parameter.choices))
    return parameter.default


def wrongly(parameter, draw):
    """Draw a value at or beyond the limits of a parameter, of another type, or hostile."""
    if parameter.limits and not parameter.choices and draw(st.booleans()):
        ends = [float(end) for end in parameter.limits[1:-1].split(",")]
        # A million particles are sound, and take their time.
        ends = [end for end in ends if not (parameter.name == "count" and end > 1e5)]
        value = draw(st.sampled_from(ends)) + draw(st.sampled_from([0, 0, -1, 1, 0.5]))
        return int(value) if parameter.kind is int and value % 1 == 0 else value
    if parameter.name == "micrograph":
        return draw(st.sampled_from(PATTERNS))
    kinds = {str: WORDS, list: st.lists(WORDS, max_size=3)}
    kinds[dict] = st.dictionaries(WORDS, WORDS | st.lists(WORDS, max_size=2), max_size=3)
    return draw(st.one_of(kinds.get(parameter.kind, SCALARS), kinds.get(parameter.kind, SCALARS), TREES))


@st.composite
def contents(draw, base, broken):
    """Draw the content of a parameter file: `base`, a few right values, and `broken` of the wrong ones."""
    known, content = declared(), dict(base)
    for name in draw(st.lists(st.sampled_from(sorted(known)), max_size=4, unique=True)):
        if name not in content:
            content[name] = rightly(known[name], draw)
    for _ in range(broken):
        how = draw(st.sampled_from(["value", "value", "value", "key", "matrix", "notebooks", "assay"]))
        name = draw(st.sampled_from(sorted(known)))
        if how == "value":
            content[name] = wrongly(known[name], draw)
        elif how == "key":
            content[draw(WORDS | st.sampled_from([f"{name}s", name.upper(), "run", "1"]))] = draw(TREES)
        elif how == "matrix":
            keys = draw(st.lists(st.sampled_from(sorted(known)) | WORDS, max_size=3, unique=True))
            axes = {}
            for key in keys:
                content.pop(key, None)
                value = known[key] if key in known else known["task"]
                pick = [wrongly, rightly][draw(st.integers(0, 1))]
                axes[key] = [pick(value, draw) for _ in range(draw(st.integers(0, 3)))]
            content["matrix"] = axes if draw(st.integers(0, 3)) else draw(TREES)
        elif how == "notebooks":
            content["notebooks"] = draw(
                st.lists(WORDS | st.sampled_from(CHEAP + ("3_train",)), max_size=4) | TREES
            )
        else:
            content["assay"] = draw(WORDS | st.just("simulated") | TREES)
    return content


def _plain(value):
    """Return a value as one line of YAML, texts in double quotes with all that is odd escaped."""
    if isinstance(value, float):
        return repr(value).replace("inf", ".inf").replace("nan", ".nan")
    return json.dumps(value)


@st.composite
def written(draw, content, spoils):
    """Draw the bytes of a parameter file with this content, `spoils` times spoilt as a text."""
    how = draw(st.sampled_from(["json", "dump", "dump", "plain"]))
    if how == "dump":
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=draw(st.booleans()))
    elif how == "json":
        text = "".join(f"{_plain(str(key))}: {_flow(value)}\n" for key, value in content.items())
    else:
        text = "".join(f"{key}: {value}\n" for key, value in content.items())
    for _ in range(spoils):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(SPOILS + YAML)) + text[at:]
        if draw(st.integers(0, 9)) == 4:
            text = text[: draw(st.integers(0, len(text)))]
    encodings = ["utf-8"] * 20 + ["utf-8-sig", "utf-16", "cp1252", "utf-16-le"]
    return text.encode(draw(st.sampled_from(encodings)), "replace")


def _flow(value):
    """Return a value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_plain(str(key))}: {_flow(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _plain(value)


SVM = {"models": ["svm_texture"], "primary": "svm_texture", "folds": 2}
BASE = {"particles": "t.csv", "task": "kind", "scale": "fill", "input_size": 12, **SVM}
SOUND_TABLE = "image,index,kind,micrograph\n" + "".join(
    f"s.mrcs,{k},{'xy'[k % 2]},m{k // 4}\n" for k in range(24)
)


def notebooks(draw):
    """Draw which notebooks a case is for: mostly those that are cheap to run."""
    few = st.lists(st.sampled_from(CHEAP[:2]), min_size=1, max_size=1)
    return (
        draw(few)
        if draw(st.integers(0, 3))
        else draw(st.sampled_from([["1_explore", "3_train"], ["3_train"], ["7_software"]]))
    )


@st.composite
def parameter_files(draw):
    """Draw a case whose parameter file is broken and whose particles are sound."""
    simulated = {"count": 50, "task": "lamellarity"}
    base = dict(draw(st.sampled_from([BASE, BASE, simulated])), notebooks=notebooks(draw))
    content = draw(contents(base, draw(st.integers(0, 3))))
    text = draw(written(content, draw(st.sampled_from([0, 0, 0, 1, 1, 3]))))
    names = st.sampled_from(["task", "names", "models", "matrix", "particles", "classes", "=", "", "accept"])
    values = st.builds(_flow, TREES) | WORDS.filter(lambda word: word.isprintable())
    changes = draw(st.lists(st.tuples(names, values), max_size=1)) if draw(st.integers(0, 5)) == 4 else []
    return Case(
        "parameters", {"t.csv": SOUND_TABLE.encode(), "s.mrcs": sound()["s.mrcs"]}, text, tuple(changes)
    )


def _sound_rows(draw):
    """Draw a sound table as its columns and the names of images that it needs."""
    how, n = draw(st.sampled_from(["stack", "crops", "places", "places"])), draw(st.sampled_from([6, 24]))
    if how == "stack":
        columns = {"image": ["s.mrcs"] * n, "index": list(map(str, range(n)))}
    elif how == "crops":
        columns = {"image": [name for name in sound() if name.endswith(".png")][:n]}
    else:
        columns = {"image": ["ab"[k % 2] + ".mrc" for k in range(n)], "row": [str(8 + k) for k in range(n)]}
        columns |= {"column": [str(9 + k) for k in range(n)], "box_px": ["10"] * n}
    columns["kind"] = ["xy"[k % 2] for k in range(n)]
    columns["micrograph"] = [f"m{k // 2}" for k in range(n)]
    more = {"pixel_size_nm": ["0.6"] * n, "session": ["s1"] * n, "comment": ["ok"] * n}
    more |= {"kind@a": ["x"] * n, "kind@b": ["xy"[k % 2] for k in range(n)], "score": ["1.5"] * n}
    more |= {"fold": [str(1 + k // 2 % 3) for k in range(n)], "particle": [f"p{k}" for k in range(n)]}
    for name in draw(st.lists(st.sampled_from(sorted(more)), max_size=2, unique=True)):
        columns[name] = more[name]
    return columns


PLACES = [
    "-1",
    "0",
    "1e9",
    "39.5",
    "nan",
    "inf",
    "1,5",
    "1e-300",
    "99999999999999999999",
    "0.49",
    "½",
    "１２",
    "1e400",
]
IMAGES = [
    "../p.yaml",
    "../../x.png",
    "/etc/passwd",
    "/dev/zero.png",
    "l.png",
    "f.png",
    "d.png",
    "n.png",
    "s.mrcs",
    "a.mrc",
]
IMAGES += ["p.yaml", "o.png", "o.tif", "o.mrc"]
CELL = st.one_of(CELLS, WORDS, st.sampled_from(PLACES))


def _broken_rows(columns, draw):
    """Break a table in place: a cell, a column, a row, a name."""
    how = draw(st.sampled_from(["cell", "cell", "cell", "image", "column", "row", "name", "twice", "drop"]))
    name = draw(st.sampled_from(sorted(columns)))
    k = draw(st.integers(0, len(columns[name]) - 1))
    if how == "cell":
        place = name in ("row", "column", "box_px", "index", "pixel_size_nm", "fold")
        columns[name][k] = draw(st.sampled_from(PLACES) if place else CELL)
    elif how == "image" and "image" in columns:
        columns["image"][k] = draw(st.sampled_from(IMAGES))
    elif how == "column":
        columns[name] = [draw(CELL)] * len(columns[name])
    elif how == "row":
        for values in columns.values():
            values.append(values[k])
    elif how == "name":
        new = draw(
            WORDS
            | st.sampled_from(
                ["box_nm", "box_um", "pixel_size_A", "pixel_size", "x", "y", "truth_kind", "number"]
            )
        )
        columns[new] = columns.pop(name)
    elif how == "drop" and len(columns) > 1:
        del columns[name]


def _as_table(columns, draw):
    """Draw the bytes of a table: separator, quotes, ends of lines, encoding, doubled columns."""
    separator = draw(st.sampled_from([",", ",", ",", ";", "\t"]))
    names, rows = list(columns), list(zip(*columns.values()))
    if draw(st.integers(0, 30)) == 4:
        names.append(names[0])
        rows = [(*row, row[0]) for row in rows]

    def cell(text):
        odd = any(c in text for c in f'{separator}"\r\n')
        return '"' + text.replace('"', '""') + '"' if odd and draw(st.integers(0, 19)) else text

    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    text = end.join(separator.join(map(cell, row)) for row in [names, *rows]) + end
    head = draw(st.sampled_from(["", "", "", "", f"sep={separator}\n", "\n", "#\n", "\ufeff"]))
    encodings = ["utf-8"] * 25 + ["utf-8-sig", "utf-16", "cp1252", "utf-16-be", "utf-32"]
    data = (head + text).encode(draw(st.sampled_from(encodings)), "replace")
    return data if draw(st.integers(0, 30)) != 4 else data[: draw(st.integers(0, len(data)))]


@st.composite
def manifests(draw):
    """Draw a case whose manifest and images are broken and whose parameters are sound."""
    columns = _sound_rows(draw)
    for _ in range(draw(st.integers(0, 3))):
        _broken_rows(columns, draw)
    files = {name: data for name, data in sound().items() if name in set(columns.get("image", []))}
    asked = set(columns.get("image", []))
    files |= {"l.png": "/etc/passwd"} if "l.png" in asked else {}
    files |= {"f.png": None} if "f.png" in asked else {}  # a pipe
    files |= {"d.png/x": b""} if "d.png" in asked else {}
    if {"o.png", "o.tif", "o.mrc"} & asked or draw(st.integers(0, 5)) == 4:
        content, form = draw(odd_pictures())
        old = draw(st.sampled_from(sorted(files) or ["o"]))
        columns.get("image", [])[:] = [
            f"o.{form}" if name[:2] == "o." or name == old else name for name in columns.get("image", [])
        ]
        files[f"o.{form}"] = content
    files["t.csv"] = _as_table(columns, draw)
    base = {**BASE, "notebooks": notebooks(draw)}
    if draw(st.booleans()):
        base |= {"scale": "physical", "input_size": draw(st.sampled_from([0, 12, 40]))}
    for name in draw(
        st.lists(st.sampled_from(["skip_bad", "micrograph", "seed", "folds", "unsure"]), max_size=2)
    ):
        base[name] = rightly(declared()[name], draw)
    return Case("manifests", files, draw(written(base, 0)))


@st.composite
def both(draw):
    """Draw a case in which the manifest and the parameters are broken."""
    case = draw(manifests())
    content = draw(contents({**BASE, "notebooks": notebooks(draw)}, draw(st.sampled_from([1, 1, 1, 2]))))
    return Case("both", case.files, draw(written(content, draw(st.sampled_from([0, 0, 0, 0, 1])))))


@st.composite
def positions(draw):
    """Draw a case of positions of a picking program, or of its table, that is broken."""
    files = {name: data for name, data in sound().items() if name in ("a.mrc", "b.mrc", "s.mrcs")}
    name = draw(st.sampled_from(sorted(TEXTS) + sorted(JSONS)))
    files[name] = (JSONS | TEXTS)[name].encode()
    if draw(st.integers(0, 3)):
        files[name] = draw(mutated_json(JSONS[name]) if name in JSONS else mutated_text(TEXTS[name]))
    if name == "p.star":
        files["p.csv"] = TEXTS["p.csv"].encode()
    files["c.png"] = sound()["c_0_0.png"]
    base = {"particles": name, "input_size": 12, "pixel_nm": 2.0, "notebooks": notebooks(draw), **SVM}
    base |= {
        "task": draw(st.sampled_from(["l", "class"])),
        "scale": draw(st.sampled_from(["fill", "physical", "physical"])),
    }
    return Case("positions", files, draw(written(base, 0)))


@st.composite
def folders(draw):
    """Draw a case of class folders with hostile names."""
    usable = WORDS.filter(_usable)
    classes = draw(
        st.lists(usable | st.sampled_from(["x", "y", "train", "test"]), min_size=1, max_size=3, unique=True)
    )
    files = {}
    for k, (_, data) in enumerate([item for item in sound().items() if item[0].endswith(".png")][:18]):
        stem = draw(usable | st.just("a" * 60 + "!")) if draw(st.integers(0, 5)) == 4 else f"g{k // 3}_{k}"
        files[f"crops/{classes[k % len(classes)]}/{stem}.png"] = data
    if draw(st.integers(0, 3)) == 2:
        content, form = draw(odd_pictures())
        files[f"crops/{classes[0]}/o_1.{form}"] = content
    base = {
        "particles": "crops",
        "task": "class",
        "scale": "fill",
        "input_size": 12,
        "notebooks": notebooks(draw),
        **SVM,
    }
    base |= {"micrograph": r"(.*)_\d+"} if draw(st.booleans()) else {}
    return Case("folders", files, draw(written(base, 0)))


def _usable(word):
    """Return whether a file can have this name."""
    try:
        return 0 < len(os.fsencode(word)) < 200 and not {"/", "\0"} & {*word} and word not in (".", "..")
    except UnicodeEncodeError:
        return False


KINDS = {
    "parameters": parameter_files,
    "manifests": manifests,
    "both": both,
    "positions": positions,
    "folders": folders,
}
