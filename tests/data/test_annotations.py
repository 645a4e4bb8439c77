"""One person's labels in a copy of the manifest: saved one by one, beside those of others, over none of them."""

import os
import shutil

import mrcfile
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from temlib import data
from temlib.data import cache, tables
from temlib.files import InputError
from tests.data import label_kills


@pytest.fixture
def opened(study):
    """The particles of the study."""
    return data.open(study, task="content")


def test_labels_stand_beside_those_of_others_and_make_a_consensus(opened, study):
    """The original stays as it was; the copy is read with both annotators, their agreement and what they differ on."""
    before = study.read_bytes()
    anna = data.Annotations(opened, "content", "anna")
    for particle in opened.table["particle"][:24]:
        truth = opened.table.set_index("particle")["content"][particle]
        assert anna.set(particle, "plain" if particle == "01.png" else truth)
    assert study.read_bytes() == before and anna.path == study.with_name("manifest_labelled.csv")
    copy = data.open(anna.path, task="content")
    found = copy.agreement("content")
    assert found.annotators == ("given", "anna") and found.disagreements["particle"].tolist() == ["01.png"]
    assert 0 < found.kappa < 1 and found.pairs["n"].tolist() == [24]
    assert np.array_equal(copy.images, opened.images) and copy.pixel_nm == opened.pixel_nm
    same = copy.table["content"] == opened.table["content"]
    assert (
        copy.table.loc[~same, "particle"].tolist() == ["01.png"] and copy.table["content"].isna().sum() == 1
    )


def test_it_goes_on_where_it_was_left(opened):
    """Opened again, from the original or from the copy, the labels are there; one that is taken away is gone."""
    anna = data.Annotations(opened, "content", "anna")
    anna.set("03.png", "bright")
    anna.set("04.png", "plain")
    anna.set("04.png", "")
    for dataset in (opened, data.open(anna.path, task="content")):
        again = data.Annotations(dataset, "content", "anna")
        assert again.labels == {"03.png": "bright"} and again.path == anna.path
        assert again.others("03.png") == {"given": "bright"} and again.classes == ["bright", "plain"]


def test_a_data_set_without_labels_gets_its_first(study):
    """A task that is no column yet; what one person gave is the label."""
    pd.read_csv(study).drop(columns="content").to_csv(study, index=False)
    anna = data.Annotations(data.open(study), "shell", "anna")
    assert anna.classes == []
    for k, particle in enumerate(("00.png", "07.png", "13.png")):
        anna.set(particle, ["one", "two", "uncertain"][k])
    copy = data.open(anna.path, task="shell")
    assert copy.table["shell"].dropna().tolist() == ["one", "two", "uncertain"]
    assert data.Annotations(copy, "shell", "anna").classes == ["one", "two"]


@pytest.mark.parametrize("separator, encoding", [(";", "utf-8-sig"), ("\t", "utf-16"), (",", "cp1252")])
def test_the_cells_of_the_original_stay_as_they_are(study, separator, encoding):
    """Whatever separator, decimal sign and encoding it has; other columns are kept."""
    table = pd.read_csv(study).assign(note="größer, 3 µm", code=[f"{k:03d}" for k in range(48)])
    decimal = "." if separator == "," else ","
    table.to_csv(study, index=False, sep=separator, decimal=decimal, encoding=encoding)
    opened = data.open(study, task="content")
    anna = data.Annotations(opened, "content", "anna")
    anna.set("05.png", "plain")
    copy = tables.read(anna.path)
    original = tables.read(study).rename(columns={"content": "content@given"})
    assert copy[original.columns].equals(original) and copy["content@anna"].tolist().count("plain") == 1
    again = data.open(anna.path, task="content")
    assert again.table["pixel_size_nm"].eq(2.0).all() and again.table["code"][7] == "007"


def test_what_has_no_manifest_gets_one(study, tmp_path_factory):
    """Class folders and a STAR file: the copy names the same particles, with the same pixels."""
    folder = tmp_path_factory.mktemp("plain") / "crops"
    for name, label in pd.read_csv(study)[["image", "content"]].itertuples(index=False):
        (folder / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(study.parent / name, folder / label)
    opened = data.open(folder, task="class", micrograph=r"(\d)\d")
    anna = data.Annotations(opened, "class", "anna")
    anna.set("bright/01.png", "plain")
    assert anna.path == folder.with_name("crops_labelled.csv")
    copy = data.open(anna.path, task="class")
    assert np.array_equal(copy.images, opened.images) and copy.table["particle"].equals(
        opened.table["particle"]
    )
    assert copy.table["micrograph"].equals(opened.table["micrograph"])
    assert copy.agreement("class").disagreements["particle"].tolist() == ["bright/01.png"]
    again = data.Annotations(copy, "class", "ben")
    assert again.path == anna.path and again.others("bright/01.png") == {"given": "bright", "anna": "plain"}


def test_positions_get_a_manifest_of_their_places(tmp_path):
    """Boxes in micrographs are cut out at the same places."""
    rng = np.random.default_rng(0)
    for name in "abc":
        mrcfile.write(tmp_path / f"{name}.mrc", rng.normal(size=(200, 200)).astype(np.float32), voxel_size=20)
    star = "data_\n\nloop_\n_rlnMicrographName\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnClassNumber\n"
    star += "".join(f"{'abc'[k % 3]}.mrc {30 + 9 * k} {170 - 8 * k} {1 + k % 2}\n" for k in range(15))
    (tmp_path / "p.star").write_text(star)
    opened = data.open(
        tmp_path / "p.star", task="rlnClassNumber", names={"1": "one", "2": "two"}, input_size=24
    )
    anna = data.Annotations(opened, "rlnClassNumber", "anna")
    assert anna.classes == ["one", "two"]
    anna.set(opened.table["particle"][3], "one")
    copy = data.open(anna.path, task="rlnClassNumber", input_size=24)
    assert np.array_equal(copy.images, opened.images)
    assert len(copy.agreement("rlnClassNumber").disagreements) == 1
    # Read as a whole, the folder is still the positions alone.
    assert len(data.open(tmp_path / "p.star", task="rlnClassNumber", input_size=24)) == 15


def test_what_others_changed_meanwhile_stays(opened):
    """Two people, a column more, a row more: all of it is in the file in the end."""
    anna, ben = (data.Annotations(opened, "content", name) for name in ("anna", "ben"))
    anna.set("00.png", "plain")
    ben.set("00.png", "bright")
    anna.set("01.png", "bright")
    table = tables.read(anna.path)
    table.loc[len(table) + 2] = ["extra.png"] + [""] * (table.shape[1] - 1)
    table.assign(remark="seen").to_csv(anna.path, index=False, sep=";")
    assert anna.set("02.png", "plain") and ben.set("02.png", "plain")
    table = tables.read(anna.path).set_index("particle")
    assert len(table) == 49 and "extra.png" in table.index
    assert table.loc[["00.png", "01.png", "02.png"], "content@anna"].tolist() == ["plain", "bright", "plain"]
    assert table.loc[["00.png", "02.png"], "content@ben"].tolist() == ["bright", "plain"]
    assert table["remark"].eq("seen").all()


def test_no_label_of_the_same_name_is_overwritten(opened):
    """Two browsers of one person: the second is told once, and replaces what it then sees."""
    one, two = (data.Annotations(opened, "content", "anna") for _ in range(2))
    assert one.set("00.png", "plain")
    assert not two.set("00.png", "bright") and "00.png 'plain' meanwhile" in two.said
    assert two.labels["00.png"] == "plain" and tables.read(one.path)["content@anna"][2] == "plain"
    assert two.set("00.png", "bright") and tables.read(one.path)["content@anna"][2] == "bright"
    assert one.set("01.png", "plain") and one.labels["00.png"] == "bright"


def test_a_column_that_somebody_took_out_is_put_back(opened):
    """With all its labels, and a sentence."""
    anna = data.Annotations(opened, "content", "anna")
    anna.set("00.png", "plain")
    tables.read(anna.path).drop(columns="content@anna").to_csv(anna.path, index=False)
    anna.set("01.png", "bright")
    assert "took the column" in anna.said
    assert data.Annotations(opened, "content", "anna").labels == {"00.png": "plain", "01.png": "bright"}


def test_a_file_that_is_gone_is_made_again(opened):
    """With all labels."""
    anna = data.Annotations(opened, "content", "anna")
    anna.set("00.png", "plain")
    anna.path.unlink()
    assert anna.set("01.png", "bright")
    assert data.Annotations(opened, "content", "anna").labels == {"00.png": "plain", "01.png": "bright"}


@pytest.mark.parametrize(
    "content", [b"", b"\0\1\2", b"a,b\n1,2\n", b"particle,x\nq,1\n", b"particle,x\nq,1\nq,2\n"]
)
def test_a_file_that_is_no_such_table_is_left_alone(opened, content):
    """One sentence, and the labels are kept until the file is mended."""
    anna = data.Annotations(opened, "content", "anna")
    anna.set("00.png", "plain")
    good = anna.path.read_bytes()
    anna.path.write_bytes(content)
    assert not anna.set("01.png", "bright") and anna.said.count(". ") == 0 and "1 label kept" in anna.said
    assert anna.path.read_bytes() == content
    with pytest.raises(InputError, match="manifest_labelled.csv"):
        data.Annotations(opened, "content", "anna")
    anna.path.write_bytes(good)
    assert anna.set("02.png", "plain")
    assert data.Annotations(opened, "content", "anna").labels == {
        "00.png": "plain",
        "01.png": "bright",
        "02.png": "plain",
    }


def test_where_nothing_can_be_written_labels_are_kept_and_go_elsewhere(opened, tmp_path):
    """They outlive the process, are entered as soon as the file can be written, or go where the user says."""
    anna = data.Annotations(opened, "content", "anna", path=tmp_path / "locked" / "x.csv")
    (tmp_path / "locked").write_text("a file where a folder should be")
    assert not anna.set("00.png", "plain") and "cannot be written" in anna.said and "kept aside" in anna.said
    assert not anna.set("01.png", "bright")
    again = data.Annotations(opened, "content", "anna", path=anna.path)
    assert again.labels == {"00.png": "plain", "01.png": "bright"} and "cannot be written" in again.said
    (tmp_path / "locked").unlink()
    again = data.Annotations(opened, "content", "anna", path=anna.path)
    assert again.said.startswith("2 labels that could not be written before") and again.pending == {}
    assert tables.read(anna.path)["content@anna"].tolist()[:3] == ["plain", "bright", ""]
    anna.move(tmp_path / "other" / "y.csv")
    assert not anna.said and tables.read(anna.path)["content@anna"].tolist()[:2] == ["plain", "bright"]
    assert anna.lines[-1] == f"data_folder: {tmp_path}"
    assert not list((cache.folder() / "labels").glob("*"))


@pytest.mark.parametrize("name", ["", " ", "a@b", "=1+1", "x" * 41, "a\nb"])
def test_names_that_cannot_stand_in_a_table_are_refused(opened, name):
    """Of people and of classes."""
    with pytest.raises(InputError, match="give another name"):
        data.Annotations(opened, "content", name)
    with pytest.raises(InputError, match="give another name"):
        data.Annotations(opened, "content", "anna").check_class(name, [])


def test_a_class_that_looks_like_another_is_refused(opened):
    """It would make the copy unreadable, since it would be taken for a typing error."""
    anna = data.Annotations(opened, "content", "anna")
    assert anna.check_class(" type 2 ", ["type 1", "empty"]) == "type 2"
    for name in ("emtpy", "Empty", "empty"):
        with pytest.raises(InputError, match="looks like 'empty'"):
            anna.check_class(name, ["type 1", "empty"])
    with pytest.raises(InputError, match="key u"):
        anna.check_class("Uncertain", [])


def test_simulated_particles_need_a_file_of_labels(tmp_path):
    """They have none of their own."""
    opened = data.open("simulated", count=50, input_size=12, pixel_nm=8.0)
    with pytest.raises(InputError, match="python -m temlib simulate"):
        data.Annotations(opened, "lamellarity", "anna")
    anna = data.Annotations(opened, "lamellarity", "anna", path=tmp_path / "labels.csv")
    assert anna.set(opened.table["particle"][0], "unilamellar") and not [
        n for n in tables.read(anna.path) if "truth" in n
    ]


def test_the_next_to_label_is_doubtful_and_in_a_micrograph_with_few_labels():
    """Micrographs take turns by their labels; within one the most doubtful comes first; nothing labelled comes again."""
    table = pd.DataFrame({"particle": list("abcdefgh"), "micrograph": list("xxxxyyyz")})
    doubt = pd.Series({"a": 0.1, "b": 0.4, "c": 0.3, "d": 0.2, "e": 0.5, "f": 0.1, "g": 0.2, "h": 0.0})
    assert data.next_up(table, {"b", "e"}, doubt) == ["h", "c", "g", "d", "f", "a"]
    assert data.next_up(table, {"a", "b", "c"}, doubt)[:3] == ["e", "h", "g"]
    orders = [data.next_up(table, {"b"}, seed=seed) for seed in range(20)]
    assert len({tuple(order) for order in orders}) > 5 and all(
        set(order) == set("acdefgh") for order in orders
    )
    assert data.next_up(table, {"b"}, seed=3) == orders[3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_no_label_is_lost_when_the_process_is_killed(tmp_path):
    """A short form of `python -m tests.data.label_kills 200`."""
    given, lost = label_kills.lost(8, tmp_path)
    assert given > 8 and not lost


def test_doubt_is_largest_between_the_classes(tmp_path):
    """A classifier that learnt ten labels doubts particles between two classes most; one class teaches nothing, two labels do."""
    rng, radius = np.random.default_rng(0), np.hypot(*(np.indices((32, 32)) - 15.5))
    share = rng.permutation(np.linspace(0, 1, 300))  # of an inner ring
    ring = np.exp(-(((radius - 6) / 1.5) ** 2))
    images = (rng.normal(size=(300, 32, 32)) - 3 * share[:, None, None] * ring).astype(np.float32)
    table = pd.DataFrame({"particle": [f"p{k}" for k in range(300)], "micrograph": "m"})
    dataset = data.Particles(table, images, "", (), "", 1.0, False)
    ends = np.argsort(share)[[*range(5), *range(-5, 0)]]
    given = {f"p{k}": "with" if share[k] > 0.5 else "without" for k in ends}
    assert data.doubt(dataset, dict(list(given.items())[:5])) is None
    assert data.doubt(dataset, dict(list(given.items())[4:6])) is not None
    assert data.doubt(dataset, dict.fromkeys(given, "with") | {"p1": "uncertain"}) is None
    found = data.doubt(dataset, given).loc[table["particle"]].to_numpy()
    assert found.max() <= 0.5 and stats.spearmanr(found, -np.abs(share - 0.5))[0] > 0.5
