"""What `check` accepts runs: the first questions of notebooks 1 and 3, asked of random small tables."""

from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from temlib import data, report, train
from temlib.__main__ import main
from temlib.files import InputError, read_csv
from temlib.report import notebook
from temlib.train import protocol

NAMES = [
    "uni",
    "multi",
    "all",
    "macro",
    "None",
    "x y",
    "größe",
    "a#b",
    "3",
    "007",
    "fold",
    "$x$",
    "uncertain",
]
USUAL = {"scale": "fill", "input_size": 12}


@pytest.fixture
def folder(tmp_path):
    """A stack of 40 images, 16×16."""
    with mrcfile.new(tmp_path / "s.mrcs") as file:
        file.set_data(np.random.default_rng(0).normal(size=(40, 16, 16)).astype(np.float32))
        file.set_image_stack()
    return tmp_path


def drawn(seed):
    """Return a random table, from hopeless to good, and parameters of training."""
    rng = np.random.default_rng(seed)
    n, micrographs, classes = rng.integers(2, 41), rng.integers(1, 7), rng.integers(1, 5)
    if rng.random() < 0.6:
        n, micrographs, classes = rng.integers(25, 41), rng.integers(4, 12), rng.integers(2, 4)
    names, number = rng.choice(NAMES, classes, replace=False), rng.integers(0, micrographs, n)
    kinds = rng.choice(names, n, p=rng.dirichlet(np.full(classes, 4)))
    table = pd.DataFrame({"image": "s.mrcs", "index": np.arange(n), "kind": kinds}, dtype=object)
    if rng.random() < 0.9:
        table["micrograph"] = [f"m{i}" for i in number]
    if rng.random() < 0.3:
        table.loc[rng.random(n) < rng.random() / 2, "kind"] = ""
    if rng.random() < 0.25:
        folds = number % rng.integers(1, 4) if rng.random() < 0.8 else rng.integers(1, 4, n)
        table["fold"] = folds.astype(object)
        if rng.random() < 0.3:
            table.loc[rng.random(n) < 0.2, "fold"] = ""
    if rng.random() < 0.3:
        table["comment"] = (
            rng.choice(["good", "bad ice", "?"], n) if rng.random() < 0.7 else [f"c{i}" for i in range(n)]
        )
    given = {
        "folds": int(rng.integers(2, 6)),
        "seed": int(rng.integers(1, 4)),
        "labels": float(rng.choice([1, 1, 0.5, 0.1])),
    }
    given["labels_from"] = str(rng.choice(["particles", "micrographs"]))
    return table, given, str(rng.choice(["svm_texture", "residual"]))


def accepted(folder, seeds):
    """Ask `check` about random tables, and then what the notebooks ask about those that it accepts; return how many these are."""
    count = 0
    for seed in seeds:
        table, given, model = drawn(seed)
        table.to_csv(folder / "t.csv", index=False)
        values = (
            {"particles": "t.csv", "task": "kind", "models": f"[{model}]", "primary": model} | USUAL | given
        )
        lines = [f"{key}: {value}" for key, value in values.items()] + ["notebooks: [1_explore, 3_train]"]
        (folder / "p.yaml").write_text("\n".join(lines))
        try:
            report.check([folder / "p.yaml"], output=folder / "out")
        except InputError as error:
            assert str(error).isprintable() and str(error).endswith("."), (seed, error)
            continue
        count += 1
        dataset = data.open(folder / "t.csv", task="kind", **USUAL)
        settings = train.Settings(**given)
        again = {"seed": settings.seed, "unsure": settings.unsure}
        for task in dataset.relabelled(unsure=settings.unsure).tasks:
            data.split(dataset.definite(task, settings.unsure).table, task, folds=2, **again)
        table = dataset.labelled("kind", folds=settings.folds, unsure=settings.unsure).table
        classes = set(table["kind"]) - set(settings.unsure)
        fold_of = data.split(table, "kind", folds=settings.folds, **again)
        for fold in set(fold_of):
            rows = protocol.split_fold(table, "kind", fold_of, fold, settings)
            parts = [table.iloc[rows[role]] for role in ("train", "validation", "test")]
            assert all(map(len, parts)) and set(parts[0]["kind"]) == classes, seed
            groups = [set(part["micrograph"]) for part in parts]
            assert sum(map(len, groups)) == len(set.union(*groups)), seed
    return count


def test_whatever_check_accepts_runs(folder):
    """60 tables, of which some are accepted and some are not."""
    assert 10 <= accepted(folder, range(60)) <= 50


@pytest.mark.slow
def test_whatever_check_accepts_runs_in_a_campaign(folder):
    """2,000 tables."""
    assert accepted(folder, range(1000, 3000)) > 400


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (
            "micrograph",
            ["a", "b"],
            "in 2 micrographs only; testing, validation and training need one each, so add micrographs",
        ),
        (
            "kind",
            ["x"] * 19 + ["rare"] + ["x"] * 19 + ["rare"],
            "'rare' of 'kind' has 2 particles, fewer than the 3 folds",
        ),
        (
            "fold",
            ["train"],
            "all particles lie in it, so none are left to train on; give the column 'fold' at least two values",
        ),
        (
            "fold",
            [1, 2, 3, 1, 2, 3, 1, ""],
            "fold: it is empty for micrographs with labels .m7.; give each one",
        ),
        ("fold", [1, 2], "8 micrographs lie in several folds"),
    ],
)
def test_what_the_run_would_refuse_is_refused_before(folder, column, values, message):
    """In words of particles and micrographs, with a cure that works."""
    table = pd.DataFrame({"image": "s.mrcs", "index": range(40), "kind": ["x", "y"] * 20})
    table["micrograph"] = (
        [f"m{i % 8}" for i in range(40)] if column != "kind" else [f"m{i // 2}" for i in range(40)]
    )
    if column == "fold" and values == [1, 2]:
        values = [1, 2, 1, 2, 1, 2, 1, 2, 2, 1, 2, 1, 2, 1, 2, 1]
    table[column] = [values[i % len(values)] for i in range(40)]
    table.to_csv(folder / "t.csv", index=False)
    (folder / "p.yaml").write_text(
        "particles: t.csv\ntask: kind\nscale: fill\ninput_size: 12\nmodels: [svm_texture]\nprimary: svm_texture\n"
    )
    with pytest.raises(InputError, match=message):
        report.check([folder / "p.yaml"])
    # Who only looks at the particles may.
    (folder / "q.yaml").write_text("particles: t.csv\nscale: fill\ninput_size: 12\nnotebooks: [2_augment]\n")
    assert report.check([folder / "q.yaml"])


def test_sizes_backends_and_predictions_are_asked_for(folder, monkeypatch):
    """By the functions that training asks."""
    table = pd.DataFrame({"image": "s.mrcs", "index": range(40), "kind": ["x", "y"] * 20})
    table.assign(micrograph=[f"m{i % 8}" for i in range(40)]).to_csv(folder / "t.csv", index=False)
    text = "particles: t.csv\ntask: kind\nscale: fill\ninput_size: 12\n"
    path = folder / "p.yaml"
    path.write_text(f"{text}models: [residual+size]\nprimary: residual+size\n")
    with pytest.raises(InputError, match="no pixel size is known"):
        report.check([path])
    text += "models: [residual]\nprimary: residual\n"
    path.write_text(f"{text}predictions: theirs.csv\n")
    for theirs, fault in (
        ("particle,predicted,p_x\na,x,none\n", "p_x, line 2: 'none' is not a finite number"),
        (
            "particle,prediction\na,x\n",
            "theirs.csv: there is no column 'predicted'; the nearest is 'prediction'",
        ),
    ):
        (folder / "theirs.csv").write_text(theirs)
        with pytest.raises(InputError, match=fault):
            report.check([path])
    path.write_text(text)
    assert report.check([path])
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    with pytest.raises(InputError, match="KERAS_BACKEND: 'theano' is not an installed one"):
        report.check([path])
    path.write_text(f"{text}notebooks: [1_explore]")
    assert report.check([path])


def test_files_whose_names_differ_by_capitals_would_share_a_folder(folder):
    """On disks that do not know capitals; also é of one letter and of two."""
    for first, second in (("Mine", "mine"), ("é", "e\u0301")):
        (folder / "other").mkdir(exist_ok=True)
        paths = [folder / f"{first}.yaml", folder / "other" / f"{second}.yaml"]
        for path in paths:
            path.write_text("count: 60\nnotebooks: [1_explore]\n")
        with pytest.raises(InputError, match="two of the files have this name, whatever its capitals"):
            report.check(paths)
        assert report.check(paths[:1])


def test_what_is_left_out_is_asked_before_and_listed_after(study, tmp_path):
    """`check` and the notebook ask for one share; the run lists what was left out, and forgets it when it is mended."""
    kept = {name: (tmp_path / name).read_bytes() for name in ("03.png", "05.png", "30.png")}
    (tmp_path / "03.png").write_bytes(kept["03.png"][:60])
    (tmp_path / "05.png").write_bytes(b"")
    (tmp_path / "30.png").unlink()
    path, run = tmp_path / "mine.yaml", tmp_path / "out" / "mine"
    text = "particles: manifest.csv\ntask: content\ninput_size: 12\nnotebooks: [1_explore]\nskip_bad: "
    for share, bad in ((0, "3 of 48"), (0.062, "3 of 48"), (0.6, "lie in .0, 0.5.")):
        path.write_text(f"{text}{share}")
        with pytest.raises(InputError, match=bad):
            report.check([path], output=run.parent)
    path.write_text(f"{text}0.063")
    (settings,) = report.check([path], output=run.parent)
    (step,) = report.execute(settings, output=run.parent)
    assert step.status == "done", step.error
    table, page = read_csv(run / "skipped.csv"), (run / "1_explore.html").read_text(encoding="utf-8")
    assert table["image"].tolist() == ["03.png", "05.png", "30.png"]
    assert table["place"].str.endswith(("line 5", "line 7", "line 32")).all() and len(table.columns) == 5
    assert "listed in skipped.csv: 3 of 48" in page and "Particles that were left out (3 rows)" in page
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)
    here = notebook.Notebook({}, run)
    here.list_skipped(data.open(study, input_size=12, skip_bad=0.063).skipped)
    assert not (run / "skipped.csv").exists()


def test_a_class_that_would_be_left_out_is_asked_for_before(study, tmp_path):
    """By the column of the task, or of each task of a sweep."""
    table = pd.read_csv(study)
    table.loc[[0, 1], "content"] = "rare"
    table.assign(other=["a", "b"] * 24).to_csv(study, index=False)
    for name in ("00.png", "01.png"):
        (tmp_path / name).unlink()
    path = tmp_path / "mine.yaml"
    path.write_text(
        "particles: manifest.csv\ninput_size: 28\nskip_bad: 0.1\nmatrix: {task: [other, content]}\n"
    )
    with pytest.raises(
        InputError,
        match="line 2 .likewise 3: 2 in all.: without these.* 'content' has no particle of 'rare' left",
    ):
        report.check([path], output=tmp_path / "out")


def test_weights_that_do_not_fit_are_refused_before_a_kernel_starts(tmp_path):
    """Also of simulated particles, which are not made for it."""
    bundle = Path(__file__).parents[1] / "train" / "data" / "bundle_v1" / "svm_thesis"
    path = tmp_path / "p.yaml"
    for given, message in ((bundle, "svm_thesis is an SVM"), (bundle.parent, "it is no model bundle")):
        path.write_text(f"models: [residual]\nprimary: residual\nweights: {given}\n")
        with pytest.raises(InputError, match=message):
            report.check([path])


def test_nothing_is_called_fine_that_is_refused_a_line_later(folder):
    """Particles are looked at also where no notebook of the file reads them."""
    (folder / "t.csv").write_text("image,index\ns.mrcs,0\ns.mrcs,0\n")
    (folder / "p.yaml").write_text("particles: t.csv\nnotebooks: [7_software]\n")
    result = CliRunner().invoke(main, ["check", str(folder / "p.yaml"), "--output", str(folder)])
    assert result.exit_code == 2 and result.stdout == "" and len(result.stderr.splitlines()) == 1
