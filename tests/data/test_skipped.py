"""Particles that cannot be used: all are counted by kind, and a share of them may be left out."""

import shutil

import mrcfile
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from temlib import data
from temlib.data import micrographs, prepare
from tests.data.conftest import CBOX, OPTICS, PARTICLES, refused

COUNT = 40
HOW = {"input_size": 12, "scale": "fill"}


def damage(kind, path):
    """Damage a crop in one of the ways that files and pixels are."""
    with Image.open(path) as image:
        pixels = np.array(image)
    if kind == "missing":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:90])
    elif kind == "text":
        path.write_text("not an image")
    else:
        pixels[:] = 7 if kind == "blank" else pixels
        pixels[:18] = 255 if kind == "saturated" else pixels[:18]
        pixels = pixels.astype(np.float32)
        pixels[3, 3] = np.nan if kind == "not finite" else pixels[3, 3]
        Image.fromarray(pixels).save(path)


KINDS = {
    "missing": "'{}' is not in",
    "empty": "{} is empty .0 bytes.",
    "truncated": "{} cannot be read as TIFF|{} is cut short",
    "text": "{} is named as TIFF but its content is of no known format",
    "blank": "all pixels have the value 7",
    "saturated": "90% of the pixels have the value 255",
    "not finite": "NaN or infinite pixels",
}


@pytest.fixture
def crops(tmp_path):
    """A manifest of 40 crops, TIFF of 20×30 pixels, in 10 micrographs."""
    rng, rows = np.random.default_rng(0), []
    for i in range(COUNT):
        image = rng.integers(50, 200, (20, 30)).astype(np.float32)
        Image.fromarray(image).save(tmp_path / f"p{i}.tif")
        rows.append((f"p{i}.tif", ("uni", "multi")[i % 2], f"m{i // 4}"))
    pd.DataFrame(rows, columns=["image", "kind", "micrograph"]).to_csv(tmp_path / "m.csv", index=False)
    return tmp_path


def opened(folder, share=0.0, **how):
    """Open the manifest of a folder."""
    return data.open(folder / "m.csv", skip_bad=share, **HOW | how)


@pytest.mark.parametrize("bad", [1, 2, 3, 7, 39, 40])
@pytest.mark.parametrize("kind", KINDS)
def test_all_faults_of_a_kind_are_counted_and_three_are_named(crops, kind, bad):
    """With their lines, their images, their share and what would leave them out."""
    for i in range(bad):
        damage(kind, crops / f"p{i}.tif")
    text = refused(KINDS[kind].replace("{}", "p0.tif"), opened, crops)
    lines = {1: "2", 2: "2 (likewise 3: 2 in all)", 3: "2 (likewise 3, 4: 3 in all)"}
    line = lines.get(bad, f"2 (likewise 3, 4 and {bad - 3} more: {bad} in all)")
    assert f"m.csv, line {line}" in text
    assert bad == 1 or all(f"p{i}.tif" in text for i in range(min(bad, 3)))
    assert (f"{bad} of 40 particles" in text) == (bad < 40)
    share = {1: "0.025", 2: "0.05", 3: "0.075", 7: "0.175"}.get(bad)
    assert text.endswith(f"or set 'skip_bad' to at least {share}." if share else ".")
    assert ("skip_bad" in text) == bool(share)
    if share:
        assert len(opened(crops, float(share))) == COUNT - bad


@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_up_to_the_share_they_are_left_out(crops, backend, monkeypatch):
    """The others are as if nobody had named them; at the share, above and below it; in threads and in processes."""
    if backend == "processes":
        for name, value in (("WORTH", 2), ("TOGETHER", 8), ("_cores", lambda: 2)):
            monkeypatch.setattr(prepare, name, value)
    whole = opened(crops)
    bad = {3: "missing", 8: "blank", 9: "truncated", 21: "blank", 33: "saturated", 39: "not finite"}
    for i, kind in bad.items():
        damage(kind, crops / f"p{i}.tif")
    for share in (0.0, 0.149):
        text = refused("line 10 .likewise 23: 2 in all., p8.tif, p21.tif: all", opened, crops, share)
        assert (
            "line 5: 'p3.tif' is not in" in text
            and "2 more of other kinds; 6 of 40 particles (15.0%)" in text
        )
    for share in (0.15, 0.5):
        found = opened(crops, share)
        kept = np.delete(np.arange(COUNT), list(bad))
        np.testing.assert_array_equal(found.images, whole.images[kept])
        assert found.table["image"].tolist() == whole.table["image"].iloc[kept].tolist()
        assert found.skipped["image"].tolist() == [f"p{i}.tif" for i in bad]
        assert found.skipped["place"].tolist() == [f"{crops / 'm.csv'}, line {i + 2}" for i in bad]
        assert found.skipped["micrograph"].tolist() == [f"m{i // 4}" for i in bad]
        (note,) = (note for note in found.notes if "left out" in note)
        assert (
            f"(skip_bad: {share:g}) and listed in skipped.csv: 6 of 40 (2: all pixels have the value 7; 1: "
            in note
        )


@pytest.fixture
def fields(tmp_path):
    """Three micrographs of 60×60 pixels, 1 nm each by their headers, and 8 positions in each, two of which lie at the border."""
    rng, rows = np.random.default_rng(1), []
    for name in "abc":
        with mrcfile.new(tmp_path / f"{name}.mrc") as file:
            file.set_data(rng.normal(size=(60, 60)).astype(np.float32))
            file.voxel_size = 10.0
        rows += [(f"{name}.mrc", 20 + k, 20 if k > 1 else 2, 12, "xy"[k % 2]) for k in range(8)]
    pd.DataFrame(rows, columns=["image", "row", "column", "box_px", "kind"]).to_csv(
        tmp_path / "m.csv", index=False
    )
    return tmp_path


def test_a_micrograph_that_cannot_be_read_is_read_once_and_takes_its_particles_along(fields, monkeypatch):
    """Its pixel size is not known, and is not asked for; each of its particles counts."""
    monkeypatch.setattr(prepare, "TOGETHER", 4)
    whole, path, reads = opened(fields, scale="physical"), fields / "b.mrc", []
    path.write_bytes(path.read_bytes()[:3000])
    read = micrographs.read
    monkeypatch.setattr(
        micrographs, "read", lambda path, index: (reads.append(path.name), read(path, index))[1]
    )
    text = refused(
        "line 10 .likewise 11, 12 and 5 more: 8 in all.: b.mrc is cut short", opened, fields, scale="physical"
    )
    assert text.endswith(
        "8 of 24 particles (33.3%) cannot be used: mend them, or set 'skip_bad' to at least 0.334."
    )
    assert reads.count("b.mrc") == 2  # for its pixel size and for its particles
    found = opened(fields, 0.334, scale="physical")
    assert found.table["micrograph"].unique().tolist() == ["a.mrc", "c.mrc"] and found.scale == "physical"
    np.testing.assert_array_equal(found.images, whole.images[np.r_[:8, 16:24]])
    assert (found.table["pixel_size_nm"] == 1).all() and found.pixel_nm == whole.pixel_nm


def test_windows_over_the_border_go_where_the_share_allows_it(fields):
    """Six of 24; else they stay, padded, and a note says so; with no share they are padded as ever."""
    assert len(opened(fields)) == len(opened(fields, 0.2)) == 24 and len(opened(fields, 0.25)) == 18
    assert any(
        "and kept since they are more than skip_bad may leave out: 6." in note
        for note in opened(fields, 0.2).notes
    )
    assert any("window was filled: 6." in note for note in opened(fields).notes)
    reasons = opened(fields, 0.25).skipped["reason"].unique()
    assert reasons.tolist() == ["its window reaches beyond the micrograph's border."]
    (fields / "a.mrc").unlink()
    # Now eight of another kind and four at the border.
    assert len(opened(fields, 0.5)) == 12 and len(opened(fields, 0.49)) == len(opened(fields, 0.34)) == 16
    outside = pd.read_csv(fields / "m.csv").assign(row=lambda table: table["row"].replace(25, 99))
    outside.to_csv(fields / "m.csv", index=False)
    text = refused("line 2 .likewise 3, 4 and 5 more: 8 in all.: 'a.mrc' is not in", opened, fields)
    assert "; line 15 (likewise 23: 2 in all), b.mrc, c.mrc: The particle has its row at 99, outside" in text
    assert len(opened(fields, 0.42)) == 14


@pytest.mark.parametrize("first", [0, 5])
def test_of_a_stack_only_the_images_that_are_missing_are_left_out(tmp_path, first):
    """An index beyond the end, also that of the first row, and a blank image among others."""
    images = np.random.default_rng(2).normal(size=(12, 16, 16)).astype(np.float32)
    images[7] = 0
    with mrcfile.new(tmp_path / "s.mrcs") as file:
        file.set_data(images)
        file.set_image_stack()
        file.voxel_size = 10.0
    index = np.arange(12)
    index[first] = 40
    pd.DataFrame({"image": "s.mrcs", "index": index, "micrograph": "m"}).to_csv(
        tmp_path / "m.csv", index=False
    )
    fault = f"line {first + 2}: s.mrcs holds 12 images of 16 x 16 pixels; index must be from 0 to 11, not 40; line 9, s.mrcs: all"
    refused(fault, opened, tmp_path, scale="physical", input_size=0)
    found = opened(tmp_path, 0.2, scale="physical", input_size=0)
    kept = np.delete(np.arange(12), [first, 7])
    assert found.table["index"].tolist() == kept.tolist() and (found.table["box_px"] == 16).all()
    expected = prepare.prepare(images[1], found.images.shape[-1], ratio=1 / found.pixel_nm)
    np.testing.assert_allclose(found.images[kept.tolist().index(1)], expected, atol=1e-6)


def test_a_class_that_would_be_gone_is_not_left_out(crops):
    """In a sentence; an answer that is no class may go, and so may a class that is not learnt."""
    table = pd.read_csv(crops / "m.csv")
    table.loc[[5, 6], "kind"] = "rare"
    table.loc[7, "kind"] = "uncertain"
    table.to_csv(crops / "m.csv", index=False)
    for i in (5, 6, 7):
        damage("blank", crops / f"p{i}.tif")
    fault = "line 7 .likewise 8: 2 in all.: without these, which cannot be used, 'kind' has no particle of 'rare' left"
    refused(fault, opened, crops, 0.1, task="kind")
    assert len(opened(crops, 0.1, task="kind", classes=["uni", "multi"])) == len(opened(crops, 0.1)) == 37


def test_what_is_mended_comes_back(crops):
    """What is kept between two openings follows the files."""
    damage("missing", crops / "p4.tif")
    assert len(opened(crops, 0.1)) == len(opened(crops, 0.1)) == 39
    shutil.copy(crops / "p5.tif", crops / "p4.tif")
    assert len(opened(crops, 0.1)) == 40 and opened(crops, 0.1).skipped.empty


def test_equal_images_with_different_labels_are_counted(crops):
    """The first is named with its twin."""
    for i in (11, 21, 31, 35):
        shutil.copy(crops / "p0.tif", crops / f"p{i}.tif")
    fault = "line 13 .likewise 23, 33 and 1 more: 4 in all.: this image equals that of line 2, but 'kind' is 'multi' here"
    refused(fault, opened, crops, task="kind")


# Files that programs leave where nothing was picked, and what they leave where something was.
STAR = (
    PARTICLES.replace("_rlnMicrographName #1\n", "").replace("_rlnOpticsGroup #4\n", "").partition("a.mrc")[0]
)
STAR = STAR.replace("X #2", "X #1").replace("Y #3", "Y #2")
EMPTY = {
    ".box": [("12 12 8 8\n", ""), ("12 12 8 8\n", " \n\n")],
    ".star": [(STAR + "20 20\n", STAR), (STAR + "20 20\n", ""), (OPTICS + STAR + "20 20\n", OPTICS + STAR)],
    ".cbox": [(CBOX, CBOX.partition("10 20")[0])],
    ".coord": [("20 20\n", ""), ("x y\n20 20\n", "x y\n")],
    ".txt": [("20 20\n", ""), ("20 20\n", "\ufeff")],
    "_info.json": [
        ('{"boxes": [[20, 20, "manual"]]}', '{"boxes": []}'),
        ('{"boxes": [[20, 20]]}', '{"ctf": 1}'),
    ],
}


@pytest.mark.parametrize(
    ("end", "text", "empty"), [(end, *texts) for end, pairs in EMPTY.items() for texts in pairs]
)
def test_empty_files_of_positions_mean_that_nothing_was_picked(fields, end, text, empty):
    """In one, some, or all micrographs; also where a micrograph itself is no longer there."""
    (fields / "m.csv").unlink()
    (fields / "a.mrc").unlink()
    if "OpticsGroup" in text:
        text = text.replace("_rlnCoordinateY #2\n", "_rlnCoordinateY #2\n_rlnOpticsGroup #3\n").replace(
            "20 20", "20 20 1"
        )
    for name in "abc":
        (fields / f"{name}{end}").write_text(text if name == "c" else empty, encoding="utf-8")
    found = data.open(fields, input_size=12, pixel_nm=1.0)
    assert set(found.table["micrograph"]) == {"c.mrc"} and set(found.table["row"]) & {16, 20, 24}
    assert f"Micrographs without picks: 2 (a{end}, b{end})." in found.notes
    (fields / f"c{end}").write_text(empty, encoding="utf-8")
    if end != ".txt":  # which hold positions only if some hold numbers
        refused("holds no particles in 3 files of positions; pick some", data.open, fields)
        refused("holds no particles; pick some", data.open, fields / f"a{end}")


def test_files_of_positions_that_cannot_be_read_are_counted(fields):
    """The first with its fault, three by name."""
    (fields / "m.csv").unlink()
    for name in "abcdef":
        (fields / f"{name}.box").write_text("1 2 8 8\nx\n1\ny\nz\n" if name == "a" else "12 12 8 8\n")
    fault = "a.box, line 2 .likewise 3, 4 and 1 more: 4 in all.: not x, y, width, height in numbers; correct it .4 of 6 files"
    assert refused(fault, data.open, fields).endswith("cannot be read: a.box, d.box, e.box and 1 more).")


@pytest.mark.parametrize("bad", [1, 2, 3, 8])
@pytest.mark.parametrize(
    ("column", "cell", "fault"),
    [
        ("image", "", "'image' is empty"),
        ("image", "p.pdf", "'p.pdf' is not an image that can be read"),
        ("image", "../p.tif", "the image path '../p.tif' leaves its folder"),
        ("micrograph", "", "'micrograph' is empty"),
        ("pixel_size_nm", "-2", "pixel_size_nm is not a positive number"),
        ("pixel_size_nm", "two", "'two' is not a finite number"),
        ("index", "0.5", "the index counts images of a stack from 0"),
        ("row", "3", "the position is empty; give row and column"),
    ],
)
def test_faulty_rows_of_a_table_are_counted(tmp_path, column, cell, fault, bad):
    """Before any image is read, the first three by their lines."""
    table = pd.DataFrame({"image": [f"p{i}.tif" for i in range(20)], "micrograph": "m", "pixel_size_nm": "2"})
    table = table.assign(**{name: "" for name in {column} - {*table}})
    table.loc[range(5, 5 + bad), column] = cell
    table.to_csv(tmp_path / "m.csv", index=False)
    also = {1: "", 2: " (likewise 8: 2 in all)", 3: " (likewise 8, 9: 3 in all)"}
    text = refused("line 7", opened, tmp_path)
    assert f"line 7{also.get(bad, f' (likewise 8, 9 and {bad - 3} more: {bad} in all)')}: {fault}" in text
