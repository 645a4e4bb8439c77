"""Positions of picking programs and the crops cut out at them."""

import re
import shutil
import tracemalloc

import mrcfile
import numpy as np
import pandas as pd
import pytest

from temlib.data import micrographs, positions
from tests.data.conftest import CBOX, FORMATS, OPTICS, PARTICLES, needs_formats, refused


@pytest.fixture
def folder(tmp_path):
    """A folder with two micrographs of 50 x 60 pixels and a stack."""
    image = np.arange(3000, dtype=np.float32).reshape(50, 60)
    for name in ("a.mrc", "b.mrc"):
        mrcfile.write(tmp_path / name, image)
    with mrcfile.new(tmp_path / "s.mrcs") as mrc:
        mrc.set_data(np.zeros((3, 4, 4), np.float32))
        mrc.set_image_stack()
    return tmp_path


def read(place, name, text):
    """Write `text` into the folder `place` and read it."""
    (place / name).write_text(text, encoding="utf-8")
    return positions.read(place / name)


def test_star_with_optics_groups(folder):
    """Row is Y, column is X; the pixel size and the box come from the particle's optics group."""
    found = read(folder, "p.star", OPTICS + PARTICLES)
    assert found["row"].tolist() == [20, 21, 22] and found["column"].tolist() == [10.5, 11, 12]
    assert found["pixel_size_nm"].tolist() == pytest.approx([0.2, 0.2, 0.3])
    assert found["box_px"].tolist() == [32, 32, 32]
    assert found["box_nm"].tolist() == pytest.approx([6.4, 6.4, 9.6])
    assert found["particle"].tolist() == ["a.mrc:1", "a.mrc:2", "b.mrc:1"]
    assert found["micrograph"].tolist() == ["a.mrc", "a.mrc", "b.mrc"]
    assert found["index"].isna().all() and found["rlnOpticsGroup"].tolist() == [1, 1, 2]


def test_star_of_relion_30_takes_detector_and_magnification(folder):
    """5 µm at a magnification of 50,000 is 1 Å, that is .1 nm."""
    text = PARTICLES.replace("data_particles", "data_").replace("_rlnOpticsGroup #4", "_rlnMagnification #4")
    text = (
        text.replace("#4\n", "#4\n_rlnDetectorPixelSize #5\n")
        .replace(" 1\n", " 50000 5\n")
        .replace(" 2\n", " 50000 5\n")
    )
    found = read(folder, "p.star", text)
    assert found["pixel_size_nm"].tolist() == pytest.approx([0.1] * 3)
    assert found["box_px"].isna().all()


def test_star_of_stacks(folder):
    """7@stack.mrcs is the seventh image; its pixel size is that of the images."""
    text = PARTICLES.replace("_rlnOpticsGroup #4", "_rlnOpticsGroup #4\n_rlnImageName #5")
    for k, end in enumerate((" 1\n", " 1\n", " 2\n"), 1):
        text = text.replace(end, f" {end.strip()} 00000{k}@s.mrcs\n", 1)
    found = read(folder, "p.star", OPTICS + text)
    assert found["image"].tolist() == ["s.mrcs"] * 3 and found["index"].tolist() == [0, 1, 2]
    assert found["pixel_size_nm"].tolist() == pytest.approx([0.4, 0.4, 0.6])
    assert found["micrograph"].tolist() == ["a.mrc", "a.mrc", "b.mrc"]


NAMES = [
    *(
        "data_",
        "data_2/m.mrc",
        "data_particles",
        "loop_",
        "loop_m.mrc",
        "_m.mrc",
        "_rlnImageName",
        "save_m",
        ";m",
    ),
    *(
        "m#1.mrc",
        "m'1'.mrc",
        'm"1".mrc',
        "'m 1.mrc'",
        '"m 1.mrc"',
        "'#1.mrc'",
        '"_m"',
        "Größe.mrc",
        "m\u00a01",
    ),
]


@pytest.mark.parametrize("where", ["first", "last", "all"])
@pytest.mark.parametrize(
    "order", ["optics first", "optics last", "no label numbers", "blank lines", "Windows"]
)
@pytest.mark.parametrize("name", NAMES)
def test_star_rows_are_content_whatever_they_look_like(folder, name, order, where):
    """Names begin with words of the syntax, or hold a # or quotes, as in RELION; blocks come in any order."""
    optics = "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n1 6.2\n\n"
    rows = ["_m.mrc" if name == "_m.mrc" else "a.mrc"] * 4
    rows = {"first": [name, *rows[1:]], "last": [*rows[1:], name], "all": [name] * 4}[where]
    text = "data_particles\n\nloop_\n_rlnMicrographName #1\n_rlnImageName #2\n_rlnOpticsGroup #3\n"
    text += "".join(f"{row} {k % 3 + 1}@{'st'[k // 3]}.mrcs 1\n" for k, row in enumerate(rows)) + "\n"
    shutil.copy(folder / "s.mrcs", folder / "t.mrcs")
    text = f"# version 30001\n\n{text}{optics}" if order == "optics last" else f"{optics}{text}"
    if order == "no label numbers":
        text = re.sub(" #[123]\n", "\n", text)
    if order == "blank lines":
        text = text.replace("loop_\n_", "loop_\n\n \n# labels\n_").replace("#3\n", "#3\n\n")
    if order == "Windows":
        text = text.replace("\n", "\r\n")
    found = read(folder, "p.star", text)
    plain = name[1:-1] if name[0] in "'\"" else name
    assert found["micrograph"].tolist() == [plain if row == name else row for row in rows]
    assert found["pixel_size_nm"].tolist() == pytest.approx([0.62] * 4) and found["index"].iloc[2] == 2
    calls = pd.DataFrame({"temlib_x": ["a", "b", "c", "d"]}, found["particle"].to_numpy())
    again = read(folder, "again.star", positions.star_with_columns(folder / "p.star", calls))
    assert again[[*found]].equals(found) and again["temlib_x"].tolist() == ["a", "b", "c", "d"]


def test_a_star_file_gets_columns_and_keeps_the_rest(folder):
    """Optics, comments and columns stay as they are; a column of the same name is replaced; one particle needs no loop."""
    names = ["a.mrc:1", "a.mrc:2", "b.mrc:1"]
    read(folder, "p.star", f"# version 30001\n\n{OPTICS}{PARTICLES}")
    calls = pd.DataFrame({"temlib_x": ["full", "empty", "full"], "temlib_p": "0.9"}, names)
    text = positions.star_with_columns(folder / "p.star", calls.iloc[::-1])  # by name, in whatever order
    assert text.startswith(f"# version 30001\n\n{OPTICS}data_particles\n\nloop_\n_rlnMicrographName #1\n")
    assert text.splitlines()[-4:] == [
        "_temlib_p #6",
        "a.mrc 10.5 20 1 full 0.9",
        "a.mrc 11 21 1 empty 0.9",
        "b.mrc 12 22 2 full 0.9",
    ]
    read(folder, "p.star", text)
    other = positions.star_with_columns(folder / "p.star", calls[["temlib_x"]].assign(temlib_x="none"))
    assert read(folder, "q.star", other)["temlib_x"].tolist() == ["none"] * 3
    assert "temlib_p #5" in other and other.count("temlib_x") == 1
    read(folder, "p.star", "data_\n\n_rlnImageName 1@s.mrcs\n")
    one = positions.star_with_columns(folder / "p.star", pd.DataFrame({"temlib_x": ["full"]}, ["1@s.mrcs"]))
    assert read(folder, "q.star", one)["temlib_x"].tolist() == ["full"]


def test_star_columns_alone_and_blocks_without_a_loop(folder):
    """One column of names that begin like blocks; optics as pairs; a file that is repaired is read anew."""
    names = "data_\n\nloop_\n_rlnImageName #1\n1@s.mrcs\n2@s.mrcs\n"
    assert len(read(folder, "p.star", names)) == 2
    pairs = "data_optics\n\n_rlnOpticsGroup 1\n_rlnImagePixelSize '3.0'\n\n"
    rows = "data_particles\n\nloop_\n_rlnImageName #1\n_rlnOpticsGroup #2\n1@s.mrcs 1\n\n2@s.mrcs 1\n"
    refused(
        "line 13: a value is missing", read, folder, "p.star", pairs + rows.replace("2@s.mrcs 1", "2@s.mrcs")
    )
    assert read(folder, "p.star", pairs + rows)["pixel_size_nm"].tolist() == pytest.approx([0.3] * 2)


def test_star_class_numbers_are_names(folder):
    """So that they are a task like the classes of a table."""
    found = read(folder, "p.star", PARTICLES.replace("OpticsGroup", "ClassNumber"))
    assert found["rlnClassNumber"].tolist() == ["1", "1", "2"]


@pytest.mark.parametrize("missing", ["nan", "NaN", "<NA>", '""'])
def test_star_numbers_may_be_missing_in_any_column(folder, missing):
    """Also in the last one; what remains are numbers."""
    text = PARTICLES.replace("a.mrc 11 21 1", f"a.mrc 11 21 {missing}").replace("OpticsGroup", "AnglePsi")
    found = read(folder, "p.star", text)["rlnAnglePsi"]
    assert found.isna().tolist() == [False, True, False] and found.iloc[2] == 2


@needs_formats
def test_real_star_gives_the_pixel_size_that_its_stack_lacks(tmp_path):
    """The header of the real stack says 0, its STAR 5 µm at 37,369.207: 1.338 Å; all of them read."""
    shutil.copy(FORMATS / "aspire_sample_80S_particles.mrcs", tmp_path / "sample.mrcs")
    star = shutil.copy(FORMATS / "aspire_sample_particles_relion30.star", tmp_path)
    found = positions.read(star)
    assert len(found) == 17 and found["particle"].is_unique
    assert found["pixel_size_nm"].tolist() == pytest.approx([0.1338] * 17, abs=1e-6)
    images = [
        micrographs.read(tmp_path / name, int(i)).image for name, i in zip(found["image"], found["index"])
    ]
    assert np.mean(images, dtype=float) == pytest.approx(0.010644, abs=5e-7)


def test_relion_project_is_found_upwards(folder):
    """Names in a RELION project are relative to where its pipeline lies."""
    (folder / "default_pipeline.star").touch()
    (folder / "Extract" / "job007").mkdir(parents=True)
    found = read(folder / "Extract" / "job007", "p.star", OPTICS + PARTICLES)
    assert found.attrs["folder"] == str(folder.resolve())


def test_star_without_micrograph_belongs_to_its_namesake(folder):
    """a_autopick.star lies beside a.mrc."""
    text = "data_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n1 2\n"
    assert read(folder, "a_autopick.star", text)["image"].tolist() == ["a.mrc"]
    refused("names no micrograph and no image", read, folder, "c.star", text)


def test_eman_box_is_a_corner(folder):
    """The centre pixel of a box of 8 at 10 is 14, of 7 is 13."""
    found = read(folder, "a.box", "10\t20\t8\t8\n10 20 7 7 -3\n\n")
    assert found["column"].tolist() == [14, 13] and found["row"].tolist() == [24, 23]
    assert found["box_px"].tolist() == [8, 7] and found["image"].tolist() == ["a.mrc"] * 2


def test_cutting_an_eman_box_gives_that_box(folder):
    """Corner, width and height of the file are what is cut, for even and odd boxes."""
    found = read(folder, "a.box", "10 20 8 8\n3 4 7 7\n")
    image = micrographs.read(folder / "a.mrc").image
    for (row, column, size), at in zip(((20, 10, 8), (4, 3, 7)), found.itertuples()):
        crop = positions.cut(image, at.row, at.column, int(at.box_px))[0]
        np.testing.assert_array_equal(crop, image[row : row + size, column : column + size])


def test_cryolo_cbox(folder):
    """Corner to centre; the confidence is kept and the assumption is said."""
    found = read(folder, "a.cbox", CBOX)
    assert found["row"].tolist() == [24, 44] and found["column"].tolist() == [14, 34]
    assert found["Confidence"].tolist() == [0.9, 0.2]
    assert "taken to be the lower left" in found.attrs["notes"][0]


@pytest.mark.parametrize(
    "name, text, match",
    [
        ("p.star", "data_\n\nloop_\n_rlnClassNumber #1\n1\n", "neither _rlnImageName nor _rlnCoordinateX"),
        ("p.star", "data_\n\nloop_\n_rlnCoordinateX #1\n1\n", "no column _rlnCoordinateY"),
        ("p.star", "nothing of the kind\n", "STAR|neither"),
        ("p.star", OPTICS + PARTICLES.replace("b.mrc 12 22 2", "b.mrc 12 22 3"), "row 3: its optics group"),
        ("p.star", OPTICS.replace("2 3.0", "1 3.0") + PARTICLES, "optics group twice"),
        ("p.star", OPTICS.replace("_rlnImageSize", "_rlnImagePixelSize") + PARTICLES, "two columns named"),
        ("p.star", PARTICLES.replace(" 11 21 1", " 21 1"), "line 9: a value is missing for 4 columns"),
        (
            "p.star",
            PARTICLES.replace("_rlnMicrographName #1\n", ""),
            r"line 7 .likewise 8, 9: 3 in all.: there is a value too many",
        ),
        ("p.star", OPTICS + OPTICS + PARTICLES, "two blocks data_optics"),
        ("p.star", OPTICS + PARTICLES.replace("22 2", "here 2"), "row 3: row is not a finite number"),
        (
            "p.star",
            "data_\n\nloop_\n_rlnImageName #1\n1@s.mrcs\n1@s.mrcs\n",
            "row 2: the particle 1@s.mrcs occurs twice",
        ),
        ("p.star", "data_\n\nloop_\n_rlnImageName #1\n0@s.mrcs\n", "not written as 7@stack.mrcs"),
        ("p.star", "data_\n\nloop_\n_rlnImageName #1\ns.mrcs\n", "not written as 7@stack.mrcs"),
        ("a.box", "1 2 3\n", "line 1: not x, y, width, height"),
        ("a.box", "1 2 8 8\nx y z w\n", "line 2: not x, y"),
        ("a.box", "1 2 8 9\n", "line 1: the box is not a square"),
        ("a.box", "1 2 -8 -8\n", "line 1: the box is not a square"),
        ("a.box", "1 nan 8 8\n", "line 1: the box is not a square"),
        ("a.box", "1 2 8 8 -1\n", "end of a filament"),
        ("c.box", "1 2 8 8\n", "no image of its name"),
        ("a.cbox", CBOX.replace("data_cryolo\n", "data_other\n"), "no block data_cryolo"),
        ("a.cbox", CBOX.replace("10 20 <NA>", "10 20 5"), "tomogram"),
    ],
)
def test_bad_positions_are_refused_in_one_sentence(folder, name, text, match):
    """Each fault is named with its place."""
    refused(match, read, folder, name, text)


def test_links_out_of_the_folder_are_refused(folder, tmp_path_factory):
    """A micrograph of the positions' name that is a link to elsewhere is not followed."""
    outside = tmp_path_factory.mktemp("outside") / "x.mrc"
    shutil.copy(folder / "a.mrc", outside)
    (folder / "out.mrc").symlink_to(outside)
    (folder / "out.box").write_text("1 2 8 8\n")
    refused("link out of", positions.read, folder / "out.box")


def test_picked_positions_in_other_formats_are_not_guessed(folder):
    """RELION counts the rows of a TIFF from the bottom, so they are refused."""
    (folder / "t.tif").write_bytes(b"II*\0")
    refused("from the bottom", read, folder, "p.star", OPTICS + PARTICLES.replace("b.mrc", "t.tif"))


IMAGE = np.arange(30, dtype=np.uint16).reshape(5, 6)


def cut(row, column, box):
    """Return the crop alone."""
    return positions.cut(IMAGE, row, column, box)[0]


def test_cut_puts_the_centre_in_the_middle():
    """The window of 3 around (2, 3), and the even one of 2 with its centre at pixel 1; both are float32."""
    np.testing.assert_array_equal(cut(2, 3, 3), [[8, 9, 10], [14, 15, 16], [20, 21, 22]])
    np.testing.assert_array_equal(cut(2, 3, 2), [[8, 9], [14, 15]])
    assert cut(2, 3, 2).dtype == cut(0, 0, 2).dtype == np.float32


def test_cut_rounds_half_up():
    """A centre between pixels goes to the next."""
    assert [cut(row, 3, 1).item() for row in (1.5, 1.49)] == [15, 9]


def test_cut_at_the_border_fills_with_the_median_inside():
    """The corner window keeps its four real pixels 0, 1, 6, 7 and has their median 3.5 outside."""
    np.testing.assert_array_equal(cut(0, 0, 3), [[3.5, 3.5, 3.5], [3.5, 0, 1], [3.5, 6, 7]])
    np.testing.assert_array_equal(cut(4, 5, 3), [[22, 23, 25.5], [28, 29, 25.5], [25.5, 25.5, 25.5]])


def test_cut_larger_than_the_micrograph():
    """A window around the whole micrograph holds all of it."""
    crop = cut(2, 3, 11)
    np.testing.assert_array_equal(crop[3:8, 2:8], IMAGE)
    assert (np.delete(crop.ravel(), [11 * r + c for r in range(3, 8) for c in range(2, 8)]) == 14.5).all()


@pytest.mark.parametrize(
    ("place", "beyond"), [((0, 0, 3), True), ((2, 3, 11), True), ((2, 3, 3), False), ((4, 5, 1), False)]
)
def test_cut_says_whether_the_window_is_real(place, beyond):
    """A corner and a window larger than the micrograph are filled up, one within it is not."""
    assert positions.cut(IMAGE, *place)[1] is beyond


@pytest.mark.parametrize(
    "place, match",
    [
        ((5, 0, 3), "has its row at 5, outside the micrograph of 5 x 6"),
        ((0, -1, 3), "has its column at -1, outside"),
        ((np.nan, 0, 3), "row at nan, outside"),
        ((1e300, 0, 3), "outside"),
        ((1, 1, 10**6), "exceeds 128 MiB"),
    ],
)
def test_cut_refuses_what_it_cannot_cut(place, match):
    """Positions outside, and crops that fill the memory."""
    refused(match, positions.cut, IMAGE, *place)


def test_cut_reads_only_the_windows(tmp_path):
    """300 crops of a 4096 x 4096 micrograph take the memory of the crops, not of the micrograph."""
    path = tmp_path / "a.mrc"
    mrcfile.new_mmap(path, shape=(4096, 4096), mrc_mode=2, overwrite=True).close()
    places = np.random.default_rng(0).uniform(100, 3900, (300, 2))
    tracemalloc.start()
    image = micrographs.read(path).image
    crops = np.stack([positions.cut(image, row, column, 64)[0] for row, column in places])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert crops.shape == (300, 64, 64) and peak < 3 * crops.nbytes
