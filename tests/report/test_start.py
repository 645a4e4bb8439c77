"""`temlib init`: from a folder that nobody has described to a parameter file that `check` takes as it is."""

import os
import re
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from temlib import data, report
from temlib.__main__ import main
from temlib.files import InputError
from tests.conftest import REAL

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """A working directory of its own, beside the data."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("TEMLIB_REPORTS", str(tmp_path / "reports"))


@pytest.fixture
def called(capsys):
    """Call temlib as a person does and return the exit status and what was shown."""

    def call(*words):
        done = CliRunner().invoke(main, [str(word) for word in words])
        return done.exit_code, done.output

    return call


def image():
    return RNG.integers(60, 190, (24, 24)).astype(np.uint8)


def stack(path, count=48, side=24, nm=0.4):
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(RNG.normal(100, 20, (count, side, side)).astype(np.float32))
        file.set_image_stack()
        file.voxel_size = nm * 10
    return path


def star(folder, *, name="run_it025_data.star", classes=True, rows=48):
    """RELION 3.1: optics, crops, class numbers; beside it the files of a job that hold no particles."""
    stack(folder / "s.mrcs")
    extra = "_rlnClassNumber #4\n" if classes else ""
    optics = "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n1 4.0\n\n"
    head = f"data_particles\n\nloop_\n_rlnImageName #1\n_rlnMicrographName #2\n_rlnOpticsGroup #3\n{extra}"
    lines = [f"{i + 1:06d}@s.mrcs m{i // 6}.mrc 1{f' {i % 2 + 1}' * classes}" for i in range(rows)]
    (folder / name).write_text(optics + head + "\n".join(lines) + "\n")
    (folder / "run_it025_model.star").write_text("data_model_general\n\n_rlnNrClasses 2\n")


def class_folders(folder, names="grid{m}_{i:04d}.png"):
    for label in ("filled", "empty"):
        (folder / label).mkdir(parents=True)
        for i in range(24):
            Image.fromarray(image()).save(folder / label / names.format(m=i % 4, i=i))


def picks(folder):
    """EMAN boxes beside their micrographs, and a table that counts them."""
    rows = []
    for m in range(6):
        with mrcfile.new(folder / f"m{m}.mrc") as file:
            file.set_data(RNG.normal(100, 20, (128, 128)).astype(np.float32))
            file.voxel_size = 4.0
        (folder / f"m{m}.box").write_text("".join(f"{16 * k + 8}\t{16 * k + 8}\t24\t24\n" for k in range(5)))
        rows += [(f"m{m}", k + 1, ("unilamellar", "multilamellar")[k % 2]) for k in range(5)]
    pd.DataFrame(rows, columns=["micrograph", "number", "lamellarity"]).to_csv(
        folder / "labels.csv", index=False
    )


def cryosparc(folder):
    """A .cs with its passthrough in a job of a project; its images begin a folder above."""
    job = folder / "J15"
    job.mkdir()
    stack(folder / "s.mrcs")
    n, uid = 48, np.arange(48).astype("u8")
    one = np.zeros(n, [("uid", "u8"), ("blob/path", "S20"), ("blob/idx", "u4"), ("blob/psize_A", "f4")])
    one["uid"], one["blob/path"], one["blob/idx"], one["blob/psize_A"] = uid, b"s.mrcs", np.arange(n), 4.0
    two = np.zeros(n, [("uid", "u8"), ("alignments2D/class", "u4"), ("location/micrograph_path", "S20")])
    two["uid"], two["alignments2D/class"] = uid, uid % 2
    two["location/micrograph_path"] = [f"m{i // 6}.mrc".encode() for i in range(n)]
    for name, array in {"J15_selected_particles.cs": one, "J15_passthrough_particles.cs": two}.items():
        with (job / name).open("wb") as file:
            np.save(file, array)


WAYS = {
    "relion": (star, "task: rlnClassNumber", "# names: {1: name_of_1, 2: name_of_2}"),
    "folders": (class_folders, "task: class", r"micrograph: (.*)_\d+"),
    "picks": (picks, "task: lamellarity", "folds: 5"),
    "cryosparc": (cryosparc, "task: class", "data_folder: "),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_four_ways_to_begin(way, tmp_path, called):
    """What is written says what was found, has a comment before every line, and passes `check` as it is."""
    make, *lines = WAYS[way]
    folder = tmp_path / way
    folder.mkdir()
    make(folder)
    before = sorted(folder.rglob("*"))
    status, said = called("init", folder)
    assert status == 0 and "Expect about" in said, said
    assert sorted(folder.rglob("*")) == before  # nothing is written beside the data
    (path,) = (tmp_path / "work" / "parameters").iterdir()
    text = path.read_text()
    for line in lines:
        assert line in text, text
    for block in text.strip().split("\n\n"):
        assert block.startswith("# "), block
    assert "The smallest class is" in text and re.search("(Nyquist|no detail is lost)", text)
    status, checked = called("check", path)
    assert status == 0 and "fine" in checked, checked
    assert [line for line in checked.splitlines() if "To decide" in line] == [
        line for line in said.splitlines() if "To decide" in line
    ]


@pytest.mark.real
@pytest.mark.skipif(not REAL.exists(), reason="the real particle sets are not beside the checkout")
@pytest.mark.parametrize(
    "name", ["apoferritin_cryoem", "supported_np_stem", "supported_np3_stem", "liposomes_cryoem"]
)
def test_real_sets_begin_by_themselves(name, called):
    """Real crops and whole micrographs: the file passes `check` as it is."""
    assert called("init", REAL / name)[0] == 0
    status, checked = called("check", f"parameters/{name}.yaml")
    assert status == 0 and "fine" in checked, checked


def test_data_below_the_working_directory_are_named_relatively(study, called):
    """Folder and file can move together."""
    os.chdir(study.parent)
    assert called("init", ".")[0] == 0
    (path,) = (study.parent / "parameters").iterdir()
    assert "particles: ..\n" in path.read_text()
    assert called("check", path)[0] == 0


def test_several_sets_are_listed_and_none_is_chosen(tmp_path, called):
    """The iterations of a RELION job; its models and optimisers are no particles."""
    star(tmp_path, name="run_it024_data.star")
    star(tmp_path)
    status, said = called("init", tmp_path)
    assert status == 2 and not (tmp_path / "work" / "parameters").exists()
    assert "there are 2 sets of particles here" in said and "run_it024_data.star" in said
    assert said.rstrip().endswith("run_it025_data.star.") and "model" not in said


def test_a_set_below_the_folder_is_found(tmp_path, called):
    """`init project` finds the only job that holds particles."""
    job = tmp_path / "project" / "Class2D" / "job012"
    job.mkdir(parents=True)
    star(job)
    assert "read from" in called("init", tmp_path / "project")[1]
    assert (tmp_path / "work" / "parameters" / "run_it025_data.yaml").exists()


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        ("grid{m}_{i:04d}", r"(.*)_\d+"),
        ("grid{m}-{i}", r"(.*)-\d+"),
        ("s1_grid{m}_p{i}", r"(.*)_[A-Za-z]+\d+"),
        ("grid{m}_{x}_{i}", r"(.*)_\d+[_x]\d+"),
        ("{i:04d}", ""),  # no micrograph
        ("img_{i}", ""),  # a word that all have
        ("{label}{m}_{i}", ""),  # each class has names of its own, so they tell the class
    ],
)
def test_the_micrograph_is_found_in_the_names_of_files(names, pattern):
    """The finest division that puts particles together, not classes apart."""
    rows = [
        (names.format(m=i % 4, i=i, x=17 * i + 500 * (label == "b"), label=label) + ".png", label)
        for label in ("a", "b")
        for i in range(20)
    ]
    table = pd.DataFrame(rows, columns=["image", "kind"])
    assert data.micrograph_pattern(table, "kind") == pattern


def test_what_only_the_user_can_decide_is_a_comment_and_a_sentence_of_check(study, called):
    """Two columns of labels, one more word for `could not tell`, blank crops."""
    table = pd.read_csv(study, dtype=str)
    table["ice"] = ["thin", "thick"] * 24
    table.loc[[0, 7, 14, 21], "content"] = "unclear"
    Image.new("L", (24, 24)).save(study.parent / "00.png")
    table.to_csv(study, index=False)
    status, said = called("init", study.parent, "mine.yaml")
    assert status == 0
    for sentence in ("content is learnt, not ice", "1 of 48 particles cannot be used", "is unclear a class"):
        assert sentence in said
    status, checked = called("check", "mine.yaml")
    assert status == 2 and "all pixels have the value 0" in checked
    text = Path("mine.yaml").read_text()
    for name in ("skip_bad", "unsure"):
        assert f"\n# {name}: " in text
        text = text.replace(f"# {name}: ", f"{name}: ")
    text = re.sub("# Decide: .*\n", "", text)
    Path("mine.yaml").write_text(text)
    status, checked = called("check", "mine.yaml")
    assert status == 0 and "To decide" not in checked, checked


def test_without_labels_the_task_is_left_open(tmp_path, called):
    """The file is written; `check` says what is missing."""
    star(tmp_path, classes=False)
    status, said = called("init", tmp_path)
    assert status == 0 and "no column holds labels" in said
    (path,) = (tmp_path / "work" / "parameters").iterdir()
    status, checked = called("check", path)
    assert status == 2 and "'task' should be a text" in checked


def test_a_file_that_is_there_stays(study, called):
    """Unless --force says otherwise, and then that is told."""
    Path("mine.yaml").write_text("mine")
    status, said = called("init", study, "mine.yaml")
    assert status == 2 and "is there already" in said and Path("mine.yaml").read_text() == "mine"
    status, said = called("init", study, "mine.yaml", "--force")
    assert status == 0 and "mine.yaml: replaced" in said


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "there are no particles here"),
        (lambda folder: stack(folder / "a.mrcs"), "an image lies here .a.mrcs., but nothing says"),
        (lambda folder: (folder / "notes.txt").write_text("look at grid 3"), "there are no particles here"),
        (lambda folder: (folder / "t.csv").write_text('image\n"a'), "t.csv"),
        (lambda folder: star(folder, rows=0), "holds no particles"),
    ],
    ids=["nothing", "images alone", "notes", "a broken table", "an empty STAR"],
)
def test_where_there_is_nothing_to_open_a_sentence_says_so(tmp_path, called, make, words):
    """It names the place, what lies there, and what temlib opens; nothing is written."""
    (tmp_path / "in").mkdir()
    make(tmp_path / "in")
    status, said = called("init", tmp_path / "in")
    assert status == 2 and re.search(words, said) and said.count("\n") == 1, said
    assert not (tmp_path / "work" / "parameters").exists()


def test_a_place_that_cannot_be_written_is_told_before_the_work(study):
    """A file stands where a folder should be."""
    Path("parameters").touch()
    with pytest.raises(InputError, match="cannot be written"):
        report.init(study)


@pytest.mark.parametrize("word", ["no", "a: b", "é 'x'", "007", "1e3", "-", "a#b", " kind", "{a}", "null"])
def test_any_name_is_read_as_it_was_written(study, called, word):
    """Names of classes and columns that YAML would take for something else."""
    table = pd.read_csv(study, dtype=str).rename(columns={"content": word})
    table.to_csv(study, index=False)
    assert called("init", study, "mine.yaml")[0] == 0
    (settings,) = report.check(["mine.yaml"])
    assert settings.values["task"] == word.strip()
