import importlib.util
import os
import shutil
import unicodedata
import zipfile

import mrcfile
import numpy as np
import pytest
from PIL import Image

from temlib import data
from temlib.data import open as open_data
from temlib.data import prepare, sources
from temlib.data.names import searched
from tests.data.conftest import WORDS, refused

IMAGE = np.random.default_rng(0).normal(0, 10, (50, 60)).astype(np.float32)
BOXES = "8 16 8 8\n30 20 8 8\n20 2 8 8\n"
STAR = """data_particles

loop_
_rlnMicrographName #1
_rlnCoordinateX #2
_rlnCoordinateY #3
a.mrc 10 20
a.mrc 30 40
b.mrc 12 22
"""


@pytest.fixture
def folder(tmp_path):
    """Two micrographs of 50 x 60 pixels of 2 nm and a stack of three crops of unknown pixel size."""
    for name in ("a.mrc", "b.mrc"):
        with mrcfile.new(tmp_path / name) as mrc:
            mrc.set_data(IMAGE)
            mrc.voxel_size = 20.0
    with mrcfile.new(tmp_path / "s.mrcs") as mrc:
        mrc.set_data(np.stack([IMAGE[:12, k : k + 12] for k in range(3)]))
        mrc.set_image_stack()
    return tmp_path


def read(folder, name, text, encoding="utf-8"):
    (folder / name).write_text(text, encoding=encoding)
    return sources.read(folder / name)


def opened(folder, name, text, **options):
    (folder / name).write_text(text, encoding="utf-8")
    return data.open(folder / name, **{"input_size": 8, "pixel_nm": 2.0, **options})


def test_crops_are_cut_from_micrographs(folder):
    """Centre, box and pixel size: at the micrograph's own pixel size the crop is the window itself, scaled in grey."""
    text = "image;row;column;box_nm;class\na.mrc;20,0;10;16;x\nb.mrc;30;40;16,0;y\n"
    data = opened(folder, "m.csv", text)
    assert data.table["micrograph"].tolist() == ["a.mrc", "b.mrc"] and data.table["pixel_size_nm"].eq(2).all()
    for image, (row, column) in zip(data.images, [(20, 10), (30, 40)]):
        window = IMAGE[row - 4 : row + 4, column - 4 : column + 4]
        np.testing.assert_allclose(image, prepare.prepare(window, 8), atol=1e-6)


def test_a_window_that_no_one_states_is_that_of_the_prepared_image(folder):
    """At physical scale the network's window is cut; without a scale the question is asked."""
    data = opened(folder, "m.csv", "image,row,column\na.mrc,20,10\n", input_size=4, pixel_nm=4.0)
    np.testing.assert_allclose(data.images[0], prepare.prepare(IMAGE[16:24, 6:14], 4, ratio=0.5), atol=1e-6)
    text = "image,row,column\na.mrc,20,10\na.mrc,9,9\n"
    fault = "line 2 .likewise 3: 2 in all., a.mrc: how large is the particle's window"
    refused(fault, opened, folder, "n.csv", text, scale="fill")


def test_a_crop_that_names_its_place_is_not_cut_again(folder):
    """A manifest of finished crops may say where in the micrograph they were, as the simulator's does."""
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(folder / "c.png")
    data = opened(folder, "m.csv", "image,micrograph,row,column,box_px\nc.png,m1,900,900,8\n")
    np.testing.assert_allclose(data.images[0], prepare.prepare(np.arange(64).reshape(8, 8), 8), atol=1e-6)


def test_border_is_filled_and_said(folder):
    """A window beyond the border is cut by the stated rule and counted."""
    data = opened(folder, "m.csv", "image,row,column,box_px\na.mrc,1,1,8\na.mrc,20,20,8\n")
    assert any(
        note.startswith("Particles so close to the border") and note.endswith(": 1.") for note in data.notes
    )


def test_images_of_a_stack(folder):
    """`index` counts from 0; the stack's particles have no micrograph, which is said."""
    data = opened(folder, "m.csv", "image,index,pixel_size_A\ns.mrcs,2,20\ns.mrcs,0,20\n", input_size=12)
    np.testing.assert_allclose(data.images[0], prepare.prepare(IMAGE[:12, 2:14], 12), atol=1e-6)
    assert data.table["pixel_size_nm"].eq(2).all() and any("no column 'micrograph'" in n for n in data.notes)


def test_a_table_that_contradicts_its_files_is_believed_and_said(folder):
    """Å taken for nm shows: the files say 2 nm and the table 20."""
    data = opened(folder, "m.csv", "image,row,column,box_px,pixel_size_nm\na.mrc,20,20,8,20\n", pixel_nm=20.0)
    assert data.table["pixel_size_nm"].eq(20).all() and any(
        "a different pixel size from the table" in n for n in data.notes
    )
    plain = opened(folder, "n.csv", "image,row,column,box_px\na.mrc,20,20,8\n")
    assert any("2 nm, according to the files" in n for n in plain.notes) and not any(
        "a different pixel size" in n for n in plain.notes
    )


def test_tables_of_any_program(folder):
    """Encoding and separator are said; names with spaces and umlauts stay, backslashes become slashes."""
    (folder / "großes Bild").mkdir()
    shutil.copy(folder / "a.mrc", folder / "großes Bild")
    found = read(folder, "m.csv", "image;row;column;class\ngroßes Bild\\a.mrc;20;20;x\n", "cp1252")
    assert found.table["image"].tolist() == ["großes Bild/a.mrc"]
    assert "m.csv (cp1252, separated by semicolon): 1 rows" in found.notes[0]


def test_numbers_of_the_user_become_numbers_and_codes_stay_text(folder):
    """Decimal commas are read; names and class codes of whole numbers are not touched; no number is a task."""
    text = "image;row;column;diameter;code;particle\na.mrc;1;2;4,5;01;007\na.mrc;3;4;5,0;02;008\na.mrc;5;4;;02;009\n"
    table = read(folder, "m.csv", text).table
    assert table["diameter"].dropna().tolist() == [4.5, 5] and table["code"].tolist() == ["01", "02", "02"]
    assert table["particle"].tolist() == ["007", "008", "009"] and data.tasks_of(table) == []


def test_annotators_become_one_label(folder):
    """More than half decide; else `uncertain` where that is a class; the agreement is kept with the particles."""
    text = "image,row,column,l@a,l@b,l@c\na.mrc,9,9,full,full,empty\na.mrc,9,20,full,empty,uncertain\na.mrc,9,30,empty,,\n"
    data = opened(folder, "m.csv", text)
    assert data.table["l"].tolist() == ["full", "uncertain", "empty"] and data.tasks == ["l"]
    agreement = data.agreement("l")
    assert agreement.annotators == ("a", "b", "c") and len(agreement.disagreements) == 2
    assert any("given by more than half of the annotators a, b, c" in note for note in data.notes)


def test_positions_join_labels_by_number_or_name(folder):
    """A STAR with a table of its name, either of them named: the rows meet whatever their order; unlabelled stay."""
    (folder / "p.star").write_text(STAR)
    by_number = "micrograph;number;class\nb;1;x\na.mrc;2;y\n"
    data = [opened(folder, "p.csv", by_number), open_data(folder / "p.star", input_size=8)]
    data.append(opened(folder, "p.csv", "particle,class\nb.mrc:1,x\na.mrc:2,y\n"))
    for one in data:
        assert one.table["particle"].tolist() == ["a.mrc:1", "a.mrc:2", "b.mrc:1"]
        assert one.table["class"].fillna("").tolist() == ["", "y", "x"] and len(one.labelled("class")) == 2
    assert any("1 of 3 positions have no row in p.csv" in note for note in data[0].notes)


def test_a_folder_of_boxes_and_one_table(folder):
    """One .box a micrograph, one table of labels: the folder opens; rows of an MRC file count from the lowest."""
    for name in "ab":
        (folder / f"{name}.box").write_text(BOXES)
    lines = "".join(f"{m},{k},{'xy'[k % 2]}\n" for m in "ab" for k in (1, 2, 3))
    (folder / "labels.csv").write_text("micrograph,number,class\n" + lines)
    data = open_data(folder, input_size=8, pixel_nm=2.0)
    assert data.table["class"].tolist() == list("yxyyxy") and data.table["micrograph"].nunique() == 2
    np.testing.assert_allclose(data.images[0], prepare.prepare(IMAGE[16:24, 8:16], 8), atol=1e-6)


def test_star_of_a_stack_takes_its_own_pixel_size(folder):
    """The STAR's pixel size wins over a header that has none."""
    text = "data_\n\nloop_\n_rlnImageName #1\n_rlnPixelSize #2\n3@s.mrcs 20\n1@s.mrcs 20\n"
    data = opened(folder, "p.star", text, input_size=12)
    assert data.scale == "physical" and data.table["pixel_size_nm"].eq(2).all()
    np.testing.assert_allclose(data.images[0], prepare.prepare(IMAGE[:12, 2:14], 12), atol=1e-6)


@pytest.mark.parametrize(
    "text, match",
    [
        ("image,row,column\n", "no row below it"),
        ("picture,label\na.mrc,x\n", "has no column 'image', and no positions"),
        ("image,row,column\na.mrc,,2\n", "line 2: the position is empty"),
        ("image,row,column,box_px\na.mrc,1,2,-3\n", "line 2: box_px is not a positive"),
        ("image,row,column,pixel_size_nm\na.mrc,1,2,0\n", "line 2: pixel_size_nm is not a positive"),
        ("image,row,column,pixel_size_nm\na.mrc,1,2,x\n", "line 2: 'x' is not a finite number"),
        ("image,pixel_size_A,pixel_size_nm\na.mrc,1,2\n", "both 'pixel_size_A' and 'pixel_size_nm'"),
        ("image,row,column\n../a.mrc,1,2\n", "line 2: the image path '../a.mrc' leaves"),
        ("image,row,column\n/etc/passwd,1,2\n", "line 2: the image path '/etc/passwd' leaves"),
        ("image,row,column\nC:\\a.mrc,1,2\n", "line 2: the image path 'C:/a.mrc' leaves"),
        ("image,row,column\n.,1,2\n", "line 2: '.' is not an image"),
        ("image,row,column\n,1,2\n", "line 2: 'image' is empty"),
        ("image,row,column\nm.csv,1,2\n", "line 2: 'm.csv' is not an image"),
        ("image,row,column\nsub.mrc,1,2\n", "not a regular file"),
        ("image,row,column,box_px\nc.mrc,9,9,4\n", "line 2: 'c.mrc' is not in"),
        ('image,row,column,box_px\n"c\n.mrc",9,9,4\n', "line 2, .*is not in"),
        ("image,row,column,box_px\na.mrc,9,60,4\n", "line 2, a.mrc: .* column at 60, outside the micrograph"),
        (
            "image,row,column,box_px\na.mrc,9,9,4\na.mrc,9,9,4\n",
            "line 3: 'a.mrc' is the particle of line 2 again",
        ),
        ("image,particle,l\na.mrc,1,x\na.mrc,2,y\n", "line 3: 'a.mrc' is the particle of line 2 again"),
        ("image,index\ns.mrcs,1.5\n", "line 2: the index counts images"),
        ("image,index\ns.mrcs,3\n", "line 2: s.mrcs holds 3 images"),
        ("image,micrograph\na.mrc,\n", "line 2: 'micrograph' is empty"),
        ("image,task\na.mrc,full\nb.mrc,Full\n", "line 3: 'Full' looks like a typing error of 'full'"),
        ("image,l@a,l@b\na.mrc,full,full\nb.mrc,empty,ful l\n", "looks like a typing error"),
        ("image,l,l@a,l@b\na.mrc,x,x,x\nb.mrc,y,y,y\n", "keep one or the other"),
    ],
)
def test_bad_manifests_are_refused_in_one_sentence(folder, text, match):
    """Each fault is named with its line and its cure."""
    (folder / "sub.mrc").mkdir()
    refused(match, opened, folder, "m.csv", text, task="task")


def test_bad_labels_of_positions_are_refused(folder):
    """A row about no position, two about one, and a table that does not say what it is about."""
    (folder / "p.star").write_text(STAR)
    refused(
        "line 3: there is no position for c:1", opened, folder, "p.csv", "micrograph,number,l\na,1,x\nc,1,y\n"
    )
    refused(
        "line 3: the particle occurs twice",
        opened,
        folder,
        "p.csv",
        "micrograph,number,l\na,1,x\na.mrc,1,y\n",
    )
    refused("does not say which particle", opened, folder, "p.csv", "l\nx\n")
    (folder / "p.txt").write_text("particle,l\na.mrc:1,x\n")
    refused("which table holds the labels, p.csv, p.txt", data.open, folder / "p.star")


def test_what_cannot_be_particles_is_refused(tmp_path):
    """Nothing there, an empty folder, another file."""
    refused("no such file or folder", sources.read, tmp_path / "none")
    refused("neither class folders with images, nor a manifest", sources.read, tmp_path)
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    refused("particles are named by a table or positions", sources.read, tmp_path / "a.pdf")


def test_links_are_followed_before_they_are_judged(folder, tmp_path_factory):
    """A link that leaves the folder, one to a device, and a circle are refused; one within is read."""
    outside = tmp_path_factory.mktemp("outside") / "x.mrc"
    shutil.copy(folder / "a.mrc", outside)
    for name, target in (("out.mrc", outside), ("zero.mrc", "/dev/zero"), ("circle.mrc", "circle.mrc")):
        (folder / name).symlink_to(target)
        fault = "leaves the folder|cannot be followed|is not in|not a regular file"
        refused(fault, opened, folder, "m.csv", f"image,row,column,box_px\n{name},9,9,8\n")
    os.mkfifo(folder / "pipe.mrc")
    refused("not a regular file", opened, folder, "m.csv", "image,row,column,box_px\npipe.mrc,9,9,8\n")
    (folder / "in.mrc").symlink_to("a.mrc")
    assert len(opened(folder, "m.csv", "image,row,column,box_px\nin.mrc,9,9,8\n")) == 1


def test_missing_reader_is_refused_with_its_reason(folder):
    """A DM4 micrograph without rosettasciio is refused in a sentence that names it, its licence and its place."""
    (folder / "m.dm4").write_bytes(b"\0\0\0\x04" + bytes(300))
    try:
        import rsciio  # noqa: F401
    except ImportError:
        refused(
            "line 2: m.dm4 needs rosettasciio.*GPL-3.0",
            opened,
            folder,
            "m.csv",
            "image,row,column,box_px\nm.dm4,9,9,8\n",
        )
    else:
        refused(
            "line 2: m.dm4 cannot be read as DM4",
            opened,
            folder,
            "m.csv",
            "image,row,column,box_px\nm.dm4,9,9,8\n",
        )


@pytest.mark.parametrize("kind", ["manifest", "labels", "star", "folders"])
@pytest.mark.parametrize("word", WORDS)
def test_no_word_means_an_empty_cell(folder, word, kind):
    """A class, particle, micrograph or annotator may be called None or NA, wherever it is written."""
    if kind == "manifest":
        text = f"image,index,particle,micrograph,kind,size@{word}\n"
        text += f"s.mrcs,0,{word},{word},{word},{word}\ns.mrcs,1,b,b,multi,b\ns.mrcs,2,c,b,,\n"
        (folder / "p.csv").write_text(text)
        found = sources.read(folder / "p.csv").table
        for name in ("particle", "micrograph", "kind", "size"):
            assert found[name].iloc[0] == word, name
        assert found["kind"].isna().tolist() == [False, False, True]
    elif kind == "labels":
        (folder / "a.box").write_text(BOXES)
        (folder / "a.csv").write_text(f"number,kind\n1,{word}\n2,multi\n")
        found = sources.read(folder / "a.csv").table
        assert found["kind"].dropna().tolist() == [word, "multi"] and len(found) == 3
    elif kind == "star":
        text = "data_\n\nloop_\n_rlnImageName #1\n_rlnMicrographName #2\n_kind #3\n"
        text += f'1@s.mrcs "{word}" "{word}"\n2@s.mrcs b multi\n3@s.mrcs b ""\n'
        (folder / "p.star").write_text(text)
        found = sources.read(folder / "p.star").table
        assert found["micrograph"].tolist() == [word, "b", "b"] and found["kind"].iloc[0] == word
        assert found["kind"].isna().tolist() == [False, False, True]
    else:
        name = word.replace("/", "")
        for label in (name, "multi"):
            (folder / label).mkdir()
            shutil.copy(folder / "a.mrc", folder / label)
        found = sources.read(folder).table
        assert sorted(found["class"]) == sorted([name, "multi"])


def test_only_the_declared_task_is_judged(folder):
    """Columns that no one named are kept as they are: no typing error, no task; numbers of classes are names."""
    text = "image,index,kind,comment,grid,class\ns.mrcs,0,0,ok,GridA,10\ns.mrcs,1,1,OK,GridB,2\ns.mrcs,2,0,,GridA,2\n"
    data = opened(folder, "m.csv", text, task="kind")
    assert data.tasks == ["kind"] and data.table["kind"].tolist() == ["0", "1", "0"]
    assert data.table["comment"].tolist()[:2] == ["ok", "OK"]
    assert opened(folder, "m.csv", text).tasks == ["class"]
    refused("line 3: 'OK' looks like a typing error", opened, folder, "m.csv", text, task="comment")
    assert opened(folder, "m.csv", text, task="comment", classes=["ok", "OK"]).tasks == ["comment"]


def test_classes_given_as_numbers_get_names(folder):
    """A number is meant whatever zeros stand before it; two names cannot be exchanged by accident; an unknown one is refused."""
    text = "image,index,class\ns.mrcs,0,01\ns.mrcs,1,02\ns.mrcs,2,\n"
    data = opened(folder, "m.csv", text, task="class", names={"1": "02", "02": "empty"})
    assert data.table["class"].fillna("").tolist() == ["02", "empty", ""]
    for names in ({"3": "x"}, {"1": True}, {"1": ""}):
        refused("those of 'class' are 01, 02", opened, folder, "m.csv", text, task="class", names=names)
    text = "image,index,l@a,l@b\ns.mrcs,0,1,1\ns.mrcs,1,2,2\ns.mrcs,2,1,3\n"
    data = opened(folder, "m.csv", text, task="l", names={"1": "uni", "2": "multi", "3": "uncertain"})
    assert data.table["l"].tolist() == ["uni", "multi", "uncertain"]
    star = "data_\n\nloop_\n_rlnImageName #1\n_rlnClassNumber #2\n_kind #3\n1@s.mrcs 2 7\n2@s.mrcs 10 8\n"
    data = opened(folder, "p.star", star, task="rlnClassNumber", names={"2": "uni"})
    assert data.table["rlnClassNumber"].tolist() == ["uni", "10"]
    assert opened(folder, "p.star", star, task="kind").table["kind"].tolist() == ["7", "8"]


def test_micrographs_are_found_in_the_names_of_images(folder):
    """By the one group of a pattern, in class folders and manifests; one that finds nothing is refused with an example."""
    for label, name in (("uni", "m1_01"), ("multi", "m1_02"), ("uni", "m2_01")):
        (folder / "classes" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(
            folder / "classes" / label / f"{name}.png"
        )
    asked = {"input_size": 8, "scale": "fill"}
    data = open_data(folder / "classes", micrograph=r"(.*)_\d+", **asked)
    assert sorted(data.table["micrograph"]) == ["m1", "m1", "m2"]
    for pattern in ("(x)", "m1", "(m)(1)", "("):
        fault = "should have one group that is the micrograph, such as .*, and the first image is m1_02"
        refused(fault, open_data, folder / "classes", micrograph=pattern, **asked)
    refused("'uni/m2_01.png'; widen it", open_data, folder / "classes", micrograph="(m1)", **asked)


def test_folders_of_training_and_test_are_folds(folder):
    """Class folders within train and test: each is held out once."""
    for part in ("train", "test"):
        for label in ("uni", "multi"):
            (folder / "all" / part / label).mkdir(parents=True)
            shutil.copy(folder / "a.mrc", folder / "all" / part / label)
    found = sources.read(folder / "all")
    assert found.table[["fold", "class"]].value_counts().tolist() == [1] * 4
    assert found.table["image"].iloc[0] == "test/multi/a.mrc"
    assert data.split(found.table, "class", folds=2, seed=1).tolist() == [1, 1, 2, 2]


def test_names_begin_in_the_data_folder(folder):
    """Absolute names inside the folder are understood; elsewhere the parameter says where they begin, less folders before."""
    (folder / "tables").mkdir()
    text = f"image,row,column\n{folder}/a.mrc,20,10\n{folder}/b.mrc,20,10\n"
    assert read(folder, "m.csv", text).table["image"].tolist() == ["a.mrc", "b.mrc"]
    star = STAR.replace("a.mrc", f"{folder}/a.mrc")
    assert read(folder, "p.star", star).table["image"].tolist() == ["a.mrc", "a.mrc", "b.mrc"]
    text = "image,row,column\n/home/me/day1/a.mrc,20,10\nC:\\day1\\b.mrc,20,10\n"
    (folder / "tables" / "m.csv").write_text(text)
    asked = sources.Asked(data_folder=str(folder))
    found = sources.read(folder / "tables" / "m.csv", asked)
    assert found.table["image"].tolist() == ["a.mrc", "b.mrc"] and found.folder == folder
    assert any("leading folders of 2 names are left out" in note for note in found.notes)
    (folder / "tables" / "m.csv").write_text("image,row,column\nday1/a.mrc,20,10\nday2/a.mrc,20,10\n")
    refused("would both be a.mrc; keep their folders apart", sources.read, folder / "tables" / "m.csv", asked)


@pytest.mark.parametrize("table", ["NFC", "NFD"])
@pytest.mark.parametrize("disk", ["NFC", "NFD"])
def test_names_are_compared_in_one_form_of_unicode(folder, table, disk):
    """A Mac writes é as two characters: labels, columns, files and the parameter still meet."""
    (folder / unicodedata.normalize(disk, "é")).mkdir()
    shutil.copy(folder / "a.mrc", folder / unicodedata.normalize(disk, "é"))
    text = "image,row,column,clé\né/a.mrc,20,10,vésicule\n"
    mixed = unicodedata.normalize(table, text) + unicodedata.normalize("NFD", "é/a.mrc,30,30,vésicule\n")
    data = opened(folder, "m.csv", mixed, task=unicodedata.normalize("NFD", "clé"))
    assert data.table[unicodedata.normalize("NFD", "clé")].tolist() == ["vésicule"] * 2


@pytest.mark.parametrize("column", ["rlnTomoName", "rlnCoordinateZ"])
def test_particles_of_tomograms_are_called_so(folder, column):
    """Neither a stack that is not written as 7@stack, nor a missing micrograph, is what is wrong."""
    text = STAR.replace("Y #3\n", f"Y #3\n_{column} #4\n").replace("0\n", "0 7\n").replace("22\n", "22 8\n")
    refused(f"holds particles of tomograms ._{column}.", read, folder, "p.star", text)
    if column.endswith("Z"):
        assert len(read(folder, "p.star", text.replace(" 7\n", " 0\n").replace(" 8\n", " 0\n")).table) == 3


def test_a_workbook_is_read_where_openpyxl_is_installed(folder):
    """Else the cure is said."""
    try:
        import openpyxl
    except ImportError:
        (folder / "m.xlsx").write_bytes(b"PK\3\4")
        refused("needs openpyxl; save the sheet as CSV, or install", sources.read, folder / "m.xlsx")
    else:
        book = openpyxl.Workbook()
        for row in (["image", "row", "column", "class"], ["a.mrc", 20, 10.5, 1], [], ["b.mrc", 30, 40, 2]):
            book.active.append(row)
        book.save(folder / "m.xlsx")
        found = sources.read(folder / "m.xlsx", sources.Asked("class")).table
        assert found["column"].tolist() == [10.5, 40] and found["class"].tolist() == ["1", "2"]
        assert found.index.tolist() == [2, 4]


def test_a_pattern_that_never_comes_to_an_end_is_refused(folder, monkeypatch):
    """Its search is ended, since (a+)+! tries 2^60 ways in a name of sixty a; one that finds something does not wait."""
    monkeypatch.setattr("temlib.data.names.PATIENCE_S", 1)
    text = ["a" * 60, "b_12"]
    refused("does not come to an end with these names in 1 s", searched, "(a+)+!", text)
    monkeypatch.undo()
    assert searched(r"(.*)_\d+", text) == {"b_12": "b"}
    assert searched("(é|b)", ["é\u202e", "b", "c"]) == {"é\u202e": "é", "b": "b"}


def test_class_folders_whose_names_are_no_text_are_refused(tmp_path):
    """The byte 255 in the name of an image, or of a class."""
    for name in ("x/a\udcff.png", "y\udcff/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / name)
        refused("has a name that is not text in UTF-8; rename it", sources.read, tmp_path)
        (tmp_path / name).unlink()


def test_a_workbook_that_states_too_many_cells_is_refused(folder):
    """One that would unpack to half a gigabyte, and one with a cell in row ten million; without openpyxl the cure is said."""
    path = folder / "m.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("xl/workbook.xml", bytes(2**29))
    if not importlib.util.find_spec("openpyxl"):
        refused("needs openpyxl", sources.read, path)
        return
    refused("would unpack from", sources.read, path)
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["image", "class"])
    book.active.append(["a.mrc", 1])
    book.save(folder / "n.xlsx")
    with zipfile.ZipFile(folder / "n.xlsx") as old, zipfile.ZipFile(path, "w") as new:
        for part in old.namelist():
            data = old.read(part).replace(b'r="2"', b'r="10000000"').replace(b'2"', b'10000000"')
            new.writestr(part, data if "sheet1" in part else old.read(part))
    refused("has more than 10,000,000 cells; save the sheet as CSV", sources.read, path)
