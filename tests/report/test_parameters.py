import pytest

from temlib.files import InputError
from temlib.report import parameters

SOURCE = """
epochs: int = 30  # passes over the particles [1, 100]
rate: float = 0.1  # step (0, 1]
size: int = 0  # pixels, 0 chooses them [12, 512]
how: str = "none"  # balance {none|oversample}
models: list = ["a"]  # what to train
merge: dict = {}  # classes under a new name, such as {both: [one, other]}
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
        ("epochs: three", "whole number"),
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
        ("merge: {a: b}", "new names with a list of names each"),
        ("merge: {a: [1]}", "new names with a list of names each"),
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


def test_a_set_value_replaces_the_matrix(tmp_path, declared):
    """--set fixes a matrix parameter; a list replaces its values."""
    path = written(tmp_path, "matrix: {epochs: [1, 2]}")
    fixed = parameters.read(path, declared, changes=[("epochs", "5")])
    assert (fixed.values, fixed.matrix) == ({"epochs": 5}, {})
    assert parameters.read(path, declared, changes=[("epochs", "[7]")]).matrix == {"epochs": [7]}
    with pytest.raises(InputError, match="--set models=.a: the value is not YAML"):
        parameters.read(path, declared, changes=[("models", "[a")])


def test_combinations_follow_the_declared_axes(tmp_path, declared):
    """A notebook runs once per combination of the matrix parameters that it declares."""
    settings = parameters.read(
        written(tmp_path, "matrix: {epochs: [1, 2], how: [none, oversample]}"), declared
    )
    assert len(settings.combinations({"epochs", "how"})) == 4
    assert settings.combinations({"how"}) == [{"how": "none"}, {"how": "oversample"}]
    assert settings.combinations(set()) == [{}]
