import random
from pathlib import Path

import pytest

from temlib.files import InputError
from temlib.report import parameters, planning
from tests.data.test_mutations import guarded

SOURCE = """
epochs: int = 30  # passes over the particles [1, 100]
rate: float = 0.1  # step (0, 1]
size: int = 0  # pixels, 0 chooses them [12, 512]
how: str = "none"  # balance {none|oversample}
models: list = ["a"]  # what to train
names: dict = {}  # names such as {1: uni} of classes
merge: dict = {}  # classes under a new name, such as {both: [one, other]}
task: str = "a"  # what is asked
keep: bool = False  # whether models are kept
"""


@pytest.fixture
def declared():
    return {"3_train": parameters.parse(SOURCE)}


def written(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_parse_reads_meaning_limits_and_choices():
    """The comment of a declaration is split into its three parts."""
    found = parameters.parse(SOURCE)
    assert (found["epochs"].meaning, found["epochs"].limits) == ("passes over the particles", "[1, 100]")
    assert found["how"].choices == ["none", "oversample"]
    assert found["models"].default == ["a"] and found["merge"].default == {}
    assert found["merge"].meaning.endswith("such as {both: [one, other]}") and not found["merge"].choices


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", "the nearest is 'epochs'"),
        ("epochs: three", r"should be a whole number in \[1, 100\], but is 'three'"),
        ("size: many", r"should be a whole number in \[12, 512\] or be 0, but is 'many'"),
        ("rate: fast", r"should be a number in \(0, 1\], but is 'fast'"),
        ("keep: 3", "should be true or false, but is 3"),
        ("task: 3", "should be a text such as 'a', in quotes"),
        ("names: uni", "should be a mapping such as {1: uni} of classes, but is"),
        ("names: {1: [uni]}", "should be a mapping such as {1: uni}"),
        ("epochs: true", "whole number"),
        ("epochs: 0", r"\[1, 100\]"),
        ("rate: 0", r"\(0, 1\]"),
        ("rate: 1.1", r"\(0, 1\]"),
        ("rate: .nan", r"\(0, 1\]"),
        ("size: 11", r"'size' should lie in \[12, 512\] or be 0, but is 11"),
        ("size: -1", r"\[12, 512\] or be 0"),
        ("size: 513", r"\[12, 512\] or be 0"),
        ("how: oversampel", "the nearest is 'oversample'"),
        ("models: [1]", "list of names"),
        ("models: a", "list of names"),
        ("merge: {a: b}", "a mapping with a list of names each, such as"),
        ("merge: {a: [1]}", "a mapping with a list of names each, such as"),
        ("merge: {a: [b], a: [c]}", "'a' stands twice"),
        ("epochs: 3\nepochs: 4", "stands twice"),
        ("epochs: [", "not YAML"),
        ("- epochs", "one 'name: value' a line"),
        ("matrix: {epochs: 3}", "list of values"),
        ("matrix: {epochs: [3, 3]}", "twice"),
        ("matrix: {rate: [1, 1.0]}", "twice"),
        ("matrix: {models: [[a], [a]]}", "twice"),
        ("epochs: 3\nmatrix: {epochs: [3]}", "both alone and under"),
        ("notebooks: [3_trian]", "the nearest is '3_train'"),
        ("notebooks: [[3]]", r"no notebook '\[3\]'"),
        ("models: [[a]]", "list of names"),
        ("how: none\nepochs: 010", r"line 2: 'epochs' should be a whole number .* \(10\), but is '010'"),
        ("epochs: 1:30", "line 1: .* whole number .*, but is '1:30'"),
        ("epochs: 1e1", r"whole number .* \(10\), but is 10.0"),
        ("epochs: off", "whole number .*, but is 'off'"),
        ("epochs: 2020-01-01", "whole number .*, but is '2020-01-01'"),
        ("epochs:", "but is empty"),
        ("task: 7", "text .* in quotes where it looks like something else"),
        ("task: true", "line 1: .*in quotes"),
        ("rate: 0,5", "a number"),
        ("epochs: " + 5000 * "9", "whole number"),
        ("rate: " + 5000 * "9", r"\(0, 1\]"),
        ("matrix: {rate: [1e-3, 0.001]}", "names a value twice"),
        ("how: none\nmatrix:\n  task: [a, A]", "line 3: .* names a value twice"),
        ("epochs: &a 3\nmatrix: {epochs: *a}", "line 1: a text that begins with &"),
        ("epochs: !!int '3'", "begins with &"),
        ("? [a]\n: 3", "a name is one word"),
        ("epochs: 3\nhow: none\nepochs: 4", "line 3: the key 'epochs' stands twice"),
        ("how: none\n\tepochs: 3", "line 2: this is not YAML"),
        ('task: "C:\\data"', "line 1: this is not YAML .* single quotes"),
        ("how: none\ntask: \a", "line 2: this is not YAML"),
        (5000 * "[", "not YAML"),
        ("#" * 2**17 + "#", "too large"),
        ("task: a\0", "zero bytes"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, declared, text, message):
    """Every fault of a parameter file names the file and the cure."""
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=message) as error:
        parameters.read(path, declared)
    assert str(path) in str(error.value)


def test_yaml_numbers_serve_as_floats(tmp_path, declared):
    """A whole number, and YAML's text 1e-3, are floats."""
    assert parameters.read(written(tmp_path, "rate: 1e-3"), declared).values == {"rate": 0.001}
    assert parameters.read(written(tmp_path, "rate: 1"), declared).values == {"rate": 1.0}
    assert parameters.read(written(tmp_path, "size: 0"), declared).values == {"size": 0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (word, word)
        for word in ("no", "off", "yes", "y", "010", "1:30", "2020-01-01", "1_0_", "0o10", "'7'", "=", "<<")
    ],
)
def test_a_word_is_the_text_that_it_seems_to_be(tmp_path, declared, text, value):
    """A task may have the name of what YAML 1.1 takes for false, eight, ninety or a date."""
    assert parameters.read(written(tmp_path, f"task: {text}"), declared).values == {"task": value.strip("'")}
    assert parameters.read(written(tmp_path, ""), declared, changes=[("task", text)]).values[
        "task"
    ] == value.strip("'")


@pytest.mark.parametrize(
    ("text", "value"), [("yes", True), ("On", True), ("no", False), ("off", False), ("true", True)]
)
def test_yes_and_no_serve_where_true_and_false_are_asked_for(tmp_path, declared, text, value):
    """As in YAML 1.1."""
    assert parameters.read(written(tmp_path, f"keep: {text}"), declared).values == {"keep": value}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_file_may_have_any_encoding_that_tables_may_have(tmp_path, declared, encoding):
    """Its comments and its texts."""
    (tmp_path / "mine.yaml").write_bytes("task: größe  # für Jürgen\r\nepochs: 3".encode(encoding))
    assert parameters.read(tmp_path / "mine.yaml", declared).values == {"task": "größe", "epochs": 3}


def test_what_is_no_file_is_refused(tmp_path, declared):
    """A folder, a name too long, a pipe."""
    for path in (tmp_path, tmp_path / (300 * "a"), Path("/dev/null"), tmp_path / "none.yaml"):
        with pytest.raises(InputError):
            parameters.read(path, declared)


def test_a_set_value_replaces_the_matrix(tmp_path, declared):
    """--set fixes a matrix parameter; a list replaces its values."""
    path = written(tmp_path, "matrix: {epochs: [1, 2]}")
    fixed = parameters.read(path, declared, changes=[("epochs", "5")])
    assert (fixed.values, fixed.matrix) == ({"epochs": 5}, {})
    assert parameters.read(path, declared, changes=[("epochs", "[7]")]).matrix == {"epochs": [7]}
    whole = parameters.read(path, declared, changes=[("matrix", "{rate: [0.1, 0.2]}")])
    assert (whole.values, whole.matrix) == ({}, {"rate": [0.1, 0.2]})
    for change, message in [
        (("models", "[a"), "--set models=.a: the value is not YAML .* quote the whole of KEY=VALUE"),
        (("task", "%HOME%/x"), "--set task=%HOME%/x: the value is not YAML"),
        (("epochs", "010"), r"--set epochs=010: .* \(10\), but is '010'"),
        (
            ("matrix", "{epoch: [1]}"),
            "--set matrix=.*: no notebook has a parameter 'epoch'; the nearest is 'epochs'",
        ),
        (("matrix", "3"), "--set matrix=3: 'matrix' should map"),
    ]:
        with pytest.raises(InputError, match=message):
            parameters.read(path, declared, changes=[change])


def test_combinations_follow_the_declared_axes(tmp_path, declared):
    """A notebook runs once per combination of the matrix parameters that it declares."""
    settings = parameters.read(
        written(tmp_path, "matrix: {epochs: [1, 2], how: [none, oversample]}"), declared
    )
    assert len(settings.combinations({"epochs", "how"})) == 4
    assert settings.combinations({"how"}) == [{"how": "none"}, {"how": "oversample"}]
    assert settings.combinations(set()) == [{}]


def test_keys_of_a_mapping_are_text(tmp_path, declared):
    """YAML makes numbers of 1 and 2, which are names of classes; the last word of the comment is no list of choices."""
    assert parameters.read(written(tmp_path, "names: {1: uni, 2: multi}"), declared).values["names"] == {
        "1": "uni",
        "2": "multi",
    }
    assert declared["3_train"]["names"].limits == ""


# What stands where none belongs.
SPOILS = [
    "[",
    "]",
    "{",
    "}",
    ":",
    ": ",
    "- ",
    "#",
    "&a ",
    "*a",
    "!",
    "!!int ",
    "'",
    '"',
    "%",
    "@",
    "|\n",
    ">\n",
    "\t",
    "\n",
    "\0",
]
SPOILS += [
    "\ufeff",
    "\x07",
    "010",
    "1:30",
    "off",
    "~",
    ".nan",
    "2020-01-01",
    "<<: ",
    "? ",
    "---\n",
    "...\n",
    "9" * 400,
    "\udcff",
    "é",
]
SPOILS += [
    "[" * 400,
    "matrix: ",
    "notebooks: [1_explore, ",
    "particles: ",
    "\\x",
    "'\\u0000'",
    "=",
    "__class__: ",
    "1e999",
    "../" * 90,
]


def spoilt(rng):
    """Return a parameter file with one to six faults, as bytes."""
    text = rng.choice(sorted((planning.notebook.CHECKOUT / "parameters").glob("*.yaml"))).read_text(
        encoding="utf-8"
    )
    for _ in range(rng.randint(1, 6)):
        at, end = sorted(rng.randint(0, len(text)) for _ in range(2))
        kind = rng.choice(["put", "put", "put", "cut", "swap", "double", "drop"])
        if kind == "put":
            text = text[:at] + rng.choice(SPOILS) + text[at:]
        elif kind == "cut":
            text = text[:at] + text[min(end, at + 30) :]
        elif lines := text.splitlines(True):
            i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
            if kind == "swap":
                lines[i], lines[j] = lines[j], lines[i]
            elif kind == "double":
                lines.insert(i, lines[j])
            else:
                del lines[i]
            text = "".join(lines)
    data = text.encode(rng.choice(["utf-8", "utf-8-sig", "utf-16", "cp1252"]), "replace")
    return (
        data if rng.random() < 0.8 else data[: rng.randint(0, len(data))] + rng.randbytes(rng.randint(0, 4))
    )


def spoil(folder, seeds):
    """Read spoilt files; each is refused in a sentence, or its values are what their declarations ask for."""
    path, declared, accepted = folder / "mine.yaml", planning.declarations(), 0
    known = {name: parameter for cell in declared.values() for name, parameter in cell.items()}
    known |= parameters.RUNNERS
    for seed in seeds:
        path.write_bytes(spoilt(random.Random(seed)))
        found = guarded(lambda: parameters.read(path, declared))
        if found is None:
            continue
        accepted += 1
        given = [
            *found.values.items(),
            *((key, value) for key, values in found.matrix.items() for value in values),
        ]
        assert all(known[key].check(value, "") == value for key, value in given), seed
    return accepted


def test_spoilt_files_are_read_or_refused_in_a_sentence(tmp_path):
    """300 files with faults at random places: never another error, never a hang."""
    assert 3 < spoil(tmp_path, range(300)) < 297


@pytest.mark.slow
def test_campaign_of_parameter_files(tmp_path):
    """2,500 of them."""
    assert spoil(tmp_path, range(1000, 3500))


def test_more_combinations_than_anyone_runs_are_refused(tmp_path, declared):
    """A hundred thousand, in two lines; nothing is multiplied out for it."""
    many = list(range(1, 101))
    sizes = list(range(12, 512, 5))
    path = written(tmp_path, f"matrix:\n  epochs: {many}\n  size: {sizes}\n")
    assert len(parameters.read(path, declared).combinations({"epochs", "size"})) == 10_000
    path = written(tmp_path, f"matrix:\n  epochs: {many}\n  size: {sizes}\n  how: [none, oversample]\n")
    with pytest.raises(InputError, match="line 2: 'matrix' has 20,000 combinations, more than 10,000"):
        parameters.read(path, declared)


@pytest.mark.parametrize(
    "name",
    ["..yaml", "...yaml", "....yaml", "a\nb.yaml", "CON.yaml", "nul.x.yaml", "a .yaml", "a\udcff.yaml"],
)
def test_a_run_whose_folder_would_be_another_is_refused(tmp_path, declared, name):
    """A run is named after its file, and `...yaml` would be the folder above all reports."""
    (tmp_path / name).write_text("epochs: 3")
    with pytest.raises(InputError, match="no folder can be named so; rename it") as error:
        parameters.read(tmp_path / name, declared)
    assert str(error.value).isprintable()


def test_half_a_character_is_refused(tmp_path, declared):
    """It could be written into no table; the two halves of one stand for no character either, in YAML."""
    for text in ('"\\ud800"', '"\\ud83e\\uddea"'):
        with pytest.raises(InputError, match="line 2: .* are no characters of their own"):
            parameters.read(written(tmp_path, f"epochs: 3\ntask: {text}"), declared)
    found = parameters.read(written(tmp_path, 'task: "\\U0001f9ea"'), declared)
    assert found.values == {"task": "\U0001f9ea"}


@pytest.mark.parametrize(
    "text", ["1e3", "1e999", "on", "010", "null", "~", "2026-01-01", "a: b", "'", "", "größe", "3"]
)
def test_what_is_written_as_a_parameter_file_reads_as_it_was(tmp_path, text):
    """Also texts that look like something else."""
    path = tmp_path / "mine.yaml"
    path.write_text(parameters.as_text({"task": text, "count": 50, "unsure": ["a"]}), encoding="utf-8")
    found = parameters.read(path, planning.declarations()).values
    assert found == {"task": text, "count": 50, "unsure": ["a"]}
