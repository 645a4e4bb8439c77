"""Texts of a parameter file arrive in a notebook as texts, whatever they say."""

import ast
import json

import pytest
import yaml
from papermill import translators

from temlib import report
from temlib.files import InputError
from temlib.report import parameters, planning
from tests.faults import cases

HOSTILE = [
    text for text in [*cases.NAMES, *cases.CODE] if not parameters.SURROGATE.search(text) and text.strip()
]


def arrived(values):
    """Return what stands in the cell that papermill puts into a notebook: literals alone, or this fails."""
    cell = translators.translate_parameters("python3", "python", values, "Parameters")
    found = {}
    for statement in ast.parse(cell).body:
        assert isinstance(statement, ast.Assign) and len(statement.targets) == 1
        found[statement.targets[0].id] = ast.literal_eval(statement.value)
    return found


@pytest.mark.parametrize("notebook", planning.declarations())
def test_no_parameter_injects_code(tmp_path, notebook):
    """A hostile text given as each text, list or mapping that a notebook declares arrives as exactly this text, or is refused."""
    declared, given = planning.declarations()[notebook], 0
    for text in HOSTILE:
        for name, parameter in declared.items():
            if parameter.kind not in (str, list, dict) or name == "run":
                continue
            value = {
                str: text,
                list: [text, "b"],
                dict: {text: text} if parameter.renames else {text: [text]},
            }
            value = value[parameter.kind]
            path = tmp_path / "p.yaml"
            path.write_text(
                yaml.safe_dump({name: value}, allow_unicode=True, default_style='"'),
                encoding="utf-8",
                newline="",
            )
            if parameter.choices and text not in parameter.choices:
                with pytest.raises(InputError, match="should be one of"):
                    parameters.read(path, {notebook: declared})
                continue
            values = parameters.read(path, {notebook: declared}).values
            assert values == {name: value} and arrived(values) == {name: value}, text
            given += 1
    assert given or not any(p.kind in (list, dict) for p in declared.values())


def test_hostile_texts_arrive_in_a_kernel_as_they_are(tiny, tmp_path, monkeypatch):
    """All of them at once, in a real run; nothing that they say is done."""
    monkeypatch.chdir(tmp_path)
    cell = "import json; from pathlib import Path; Path('arrived.json').write_text(json.dumps(task))"
    settings = tiny({"1_explore": cell})
    settings.values["task"] = text = "\n".join(HOSTILE)
    (step,) = report.execute(settings)
    assert step.status == "done", step.error
    (path,) = tmp_path.rglob("arrived.json")
    assert json.loads(path.read_text()) == text and not list(tmp_path.rglob("*pwned*"))


def test_no_value_of_a_sweep_leaves_the_folder_of_its_run(tmp_path):
    """Each hostile text is the name of one folder below the run's, another for each, that any disk takes."""
    values = {parameters.folded(text): text for text in HOSTILE}
    settings = parameters.Settings(tmp_path / "mine.yaml", {}, {"task": list(values.values())}, ("3_train",))
    steps = report.plan(settings)
    assert len({parameters.folded(str(step.folder)) for step in steps}) == len(values)
    for step in steps:
        run, name = step.folder.parts
        assert run == "mine" and name.startswith("task=") and len(name.encode()) < 200
        assert not set('\0\n\r/\\:*?"<>|') & set(name) and not name.endswith((".", " "))
        assert (tmp_path / step.folder).resolve().parent == (tmp_path / "mine").resolve()
