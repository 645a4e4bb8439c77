"""Positions, stacks and tables of other programs, each rebuilt small: the crop that is cut is the one that was meant."""

import json
import shutil

import mrcfile
import numpy as np
import pytest
import tifffile

from temlib import data
from temlib.data import positions, prepare, sources
from tests.data.conftest import refused

IMAGE = np.random.default_rng(0).normal(0, 10, (50, 60)).astype(np.float32)
# Of cryoSPARC: row 20 of 50 and column 15 of 60, and row 30, column 45.
PICKS = [(0.4, 0.25), (0.6, 0.75)]


def write_mrc(path, array):
    """Write an MRC file with pixels of 2 nm; three axes make a stack."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(np.asarray(array, np.float32))
        mrc.voxel_size = 20.0
        if np.ndim(array) == 3:
            mrc.set_image_stack()


@pytest.fixture
def folder(tmp_path):
    """A folder with a micrograph of 50 x 60 pixels of 2 nm."""
    write_mrc(tmp_path / "a.mrc", IMAGE)
    return tmp_path


def particles(**fields):
    """Return a structured array as cryoSPARC saves it, of two particles; __ stands for / in the names of fields."""
    fields = {"uid": np.array([11, 2**63 + 5], "<u8")} | {
        name.replace("__", "/"): np.asarray(values) for name, values in fields.items()
    }
    kinds = [(name, values.dtype, values.shape[1:]) for name, values in fields.items()]
    array = np.zeros(2, kinds)
    for name, values in fields.items():
        array[name] = values
    return array


def save(path, array):
    """Save an array under a name that does not end in .npy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.save(file, array)
    return path


def located(**more):
    """Return particles of cryoSPARC with their places in a micrograph."""
    rows, columns = zip(*PICKS)
    places = {
        "location__center_y_frac": np.array(rows, "<f4"),
        "location__center_x_frac": np.array(columns, "<f4"),
    }
    shape = np.array([[50, 60]] * 2, "<u4")
    named = np.array([">J2/motioncorrected/a.mrc"] * 2, "S")
    return particles(location__micrograph_path=named, location__micrograph_shape=shape, **places, **more)


def cut(row, column, size=8):
    """Return the window around a pixel as it is shown to a network."""
    half = size // 2
    return prepare.prepare(IMAGE[row - half : row + half, column - half : column + half], size)


def test_particles_of_cryosparc_in_micrographs(folder):
    """Fractions of (rows, columns), counted from the first row of the file; class numbers are names, in order."""
    write_mrc(folder / "J2" / "motioncorrected" / "a.mrc", IMAGE)
    (folder / "project.json").write_text("{}")
    path = save(folder / "J5" / "p.cs", located(alignments2D__class=np.array([10, 2], "<u4")))
    opened = data.open(path, task="class", input_size=8, pixel_nm=2.0, names={"10": "full", "2": "empty"})
    assert opened.table["particle"].tolist() == ["11", str(2**63 + 5)] and opened.tasks == ["class"]
    assert opened.table["class"].tolist() == ["full", "empty"]
    assert opened.table["micrograph"].nunique() == 1
    for image, (row, column) in zip(opened.images, [(20, 15), (30, 45)]):
        np.testing.assert_allclose(image, cut(row, column), atol=1e-6)
    assert any("first row of the MRC file" in note for note in opened.notes)


def test_particles_of_cryosparc_in_stacks_and_a_passthrough(folder):
    """The stack's image is the particle; what the passthrough knows is joined by uid, whatever its order."""
    write_mrc(
        folder / "J3" / "extract" / "a.mrc", IMAGE[None, :12, :12] + np.arange(3)[:, None, None] * IMAGE[0, 0]
    )
    stack = particles(
        blob__path=np.array([b">J3/extract/a.mrc"] * 2),
        blob__idx=np.array([2, 0], "<u4"),
        blob__psize_A=np.array([20.0] * 2, "<f4"),
    )
    save(folder / "p.cs", stack)
    save(folder / "p_passthrough_particles.cs", located(alignments2D__class=np.array([3, 4], "<u4"))[::-1])
    save(folder / "passthrough_of_others.cs", located()[:1])
    for name in ("p.cs", ""):
        found = sources.read(folder / name if name else folder, sources.Asked(data_folder=str(folder)))
        assert found.table["index"].tolist() == [2, 0] and found.table["class"].tolist() == ["3", "4"]
        assert found.table["pixel_size_nm"].eq(2).all() and found.table["row"].round(4).tolist() == [20, 30]
        assert found.table["micrograph"].tolist() == ["J2/motioncorrected/a.mrc"] * 2
        left = [note for note in found.notes if "is left out" in note]
        assert len(left) == 1 and left[0].startswith("passthrough_of_others.cs")


def test_the_likeliest_of_several_volumes_is_the_class(folder):
    """Heterogeneous refinement writes a probability for each volume, c10 after c2."""
    each = {f"alignments_class_{k}__class_posterior": np.array([k == 10, k == 2], "<f4") for k in range(11)}
    found = sources.read(save(folder / "p.cs", located(**each)))
    assert found.table["class"].tolist() == ["10", "2"]


@pytest.mark.parametrize(
    "array, match",
    [
        (particles(), "neither blob/path and blob/idx nor location"),
        (particles(blob__path=np.zeros(2), blob__idx=np.zeros(2, "<u4")), "field blob/path of type float64"),
        (np.zeros(3), "holds no table of particles"),
        (np.zeros(2, [("a", "<f4")]), "has no field uid"),
    ],
)
def test_other_arrays_are_refused(folder, array, match):
    """What is no list of particles is said in a sentence, and nothing is unpickled."""
    refused(match, sources.read, save(folder / "p.cs", array))


def test_arrays_of_objects_are_not_unpickled(folder):
    """An array of Python objects would run code."""
    with (folder / "p.cs").open("wb") as file:
        np.save(file, np.array([{}, {}]), allow_pickle=True)
    refused("cannot be read as particles of cryoSPARC", sources.read, folder / "p.cs")
    (folder / "q.cs").write_bytes(b"\x94CSDAT" + bytes(20))
    refused("is not a NumPy array", sources.read, folder / "q.cs")
    content = bytearray(save(folder / "r.cs", located()).read_bytes())
    content[6] = 2  # a version in which two bytes more belong to the header's length
    (folder / "r.cs").write_bytes(content)
    refused("states a header longer than", sources.read, folder / "r.cs")


@pytest.mark.parametrize("way", ["mrcs", "mrc", "tif", "imagej", "pages"])
@pytest.mark.parametrize("named", ["manifest", "folders"])
def test_each_image_of_a_stack_is_a_particle(tmp_path, way, named):
    """A stack with a label is as many particles with that label."""
    stack = np.random.default_rng(1).integers(0, 255, (3, 9, 9)).astype(np.uint8)
    where = tmp_path / ("uni" if named == "folders" else ".")
    where.mkdir(exist_ok=True)
    if way.startswith("mrc"):
        write_mrc(where / f"s.{way}", stack)
    else:
        tifffile.imwrite(
            where / "s.tif",
            stack,
            imagej=way == "imagej",
            photometric="minisblack",
            metadata=None if way == "pages" else {},
        )
    tifffile.imwrite(where / "t.tif", stack[0] + 1)
    path = tmp_path
    if named == "manifest":
        file = next(where.glob("s.*")).name
        path = tmp_path / "m.csv"
        path.write_text(f"image,class\n{file},uni\nt.tif,multi\n")
    opened = data.open(path, input_size=9, scale="fill")
    assert (
        len(opened) == 4 and opened.table["particle"].nunique() == opened.table["micrograph"].nunique() == 4
    )
    for image, one in zip(opened.images, stack):
        np.testing.assert_allclose(image, prepare.prepare(one, 9), atol=1e-6)
    assert any("Each image of 1 stacks is a particle: 3." in note for note in opened.notes)
    if named == "manifest":
        assert opened.table["class"].tolist() == ["uni"] * 3 + ["multi"]


TABLES = {
    "topaz.txt": ("image_name\tx_coord\ty_coord\tscore\na\t15\t20\t1.5\na\t45\t30\t-2.5\n", None),
    "a.csv": ("index,axis-0,axis-1\n0.0,20.0,15.0\n1.0,30.0,45.0\n", None),
    "xy.csv": ("image,x,y,class\na.mrc,15,20,uni\na.mrc,45,30,multi\n", "class"),
    "rowcol.csv": ("Filename,Row,Col\na.mrc,20,15\na.mrc,30,45\n", None),
    "numbered.csv": (",micrograph,y,x\n0,a.mrc,20,15\n1,a.mrc,30,45\n", None),
    "a.txt": ("15 20\n45 30\n", None),
    "a.coord": ("x y\n15.0 20.0 0.3\n45.0 30.0 0.2\n", None),
    "a_info.json": ('{"boxes": [[15, 20, "manual"], [45, 30, "auto_local"]]}', "picked"),
}


@pytest.mark.parametrize("name", TABLES)
def test_positions_of_other_programs(folder, name):
    """x is the column and y the row; the micrograph is named, or the one of the file's name."""
    text, column = TABLES[name]
    (folder / name).write_text(text)
    opened = data.open(folder / name, input_size=8, pixel_nm=2.0)
    for image, (row, column_) in zip(opened.images, [(20, 15), (30, 45)], strict=True):
        np.testing.assert_allclose(image, cut(row, column_), atol=1e-6)
    assert column is None or opened.table[column].nunique() == 2
    assert opened.table["micrograph"].nunique() == 1
    if "score" in text:
        assert opened.table["score"].tolist() == [1.5, -2.5]


def coco(**changes):
    """Return annotations of COCO: boxes of 8 x 8 and 8 x 6 pixels around the picks."""
    boxes = [[11, 16, 8, 8], [41, 27, 8, 6]]
    content = {
        "images": [{"id": 7, "file_name": "a.mrc", "width": 60, "height": 50}],
        "categories": [{"id": 1, "name": "uni"}, {"id": 3, "name": "multi"}],
        "annotations": [
            {"id": k, "image_id": 7, "category_id": c, "bbox": b}
            for k, (c, b) in enumerate(zip((3, 1), boxes))
        ],
    }
    return json.dumps(content | changes)


def test_boxes_of_coco(folder):
    """The category is the class; the window is the box's longer side."""
    (folder / "boxes.json").write_text(coco())
    opened = data.open(folder / "boxes.json", task="class", input_size=8, pixel_nm=2.0)
    assert opened.table["class"].tolist() == ["multi", "uni"] and opened.table["box_px"].tolist() == [8, 8]
    np.testing.assert_allclose(opened.images[0], cut(20, 15), atol=1e-6)
    np.testing.assert_allclose(opened.images[1], cut(30, 45), atol=1e-6)


@pytest.mark.parametrize(
    "text, match",
    [
        (coco(annotations=[]), "holds no annotations"),
        (coco(annotations=[{"image_id": 7}]), "lacks or misstates 'bbox'"),
        (coco(annotations=[{"image_id": 8, "bbox": [1, 1, 2, 2]}]), "lacks or misstates 8"),
        (coco(images=3), "not as COCO has it"),
        (coco(annotations=[{"image_id": 7, "bbox": [1, 1, 10**400, 2]}]), "not as COCO has it"),
        ("[1, 2]", "named by a table or positions"),
        ("{", "named by a table or positions"),
    ],
)
def test_flawed_annotations_are_refused(folder, text, match):
    """Each with its cause."""
    (folder / "boxes.json").write_text(text)
    refused(match, sources.read, folder / "boxes.json")


def test_results_of_imagej(folder):
    """Boxes and centres in pixels, the image in `Label`; in an image with a scale they would be in its unit, which is refused."""
    grey = np.random.default_rng(2).integers(0, 255, (50, 60)).astype(np.uint8)
    tifffile.imwrite(folder / "t.tif", grey)
    header = " ,Label,Area,X,Y,BX,BY,Width,Height\n"
    boxes = "1,t.tif:uni:1,64,15,20,11,16,8,8\n2,t.tif:multi:1,64,45,30,41,26,8,8\n"
    (folder / "Results.csv").write_text(header + boxes)
    opened = data.open(folder / "Results.csv", task="region", input_size=8, scale="fill")
    assert opened.table["region"].tolist() == ["uni", "multi"]
    np.testing.assert_allclose(opened.images[1], prepare.prepare(grey[26:34, 41:49], 8), atol=1e-6)
    (folder / "t.csv").write_text(" ,Area,X,Y\n1,0,15,20\n2,0,45,30\n")
    assert sources.read(folder / "t.csv").table["row"].tolist() == [20, 30]
    shutil.copy(folder / "t.csv", folder / "a.csv")
    refused("a.mrc has a scale, in whose unit ImageJ gives", sources.read, folder / "a.csv")


@pytest.mark.parametrize(
    "name, text, match",
    [
        ("a.coord", "1 2\n3 b\n", "line 2: not x and y in numbers"),
        ("a.coord", "1 2o\n3 4\n", "line 1: not x and y in numbers"),
        ("a.txt", "1 2 8 8\n", "name the file .box"),
        ("a.coord", "\n \n", "holds no particles; pick some, or copy it again"),
        (
            "b.coord",
            "1 2\n",
            "no image of its name lies beside it; put one there, or name their folder as 'data_folder'",
        ),
        ("a_info.json", '{"boxes": [[1, 2, 3, "manual"]]}', "holds boxes in a tomogram"),
        ("a_info.json", '{"boxes": [[1, true]]}', "it is not .x, y, how picked."),
        ("a_info.json", '{"boxes": {}}', "holds no list of boxes of EMAN2"),
        ("a_info.json", "[1", "is not JSON"),
        ("a.csv", "index,axis-0,axis-1,axis-2\n0,1,2,3\n", "points in a stack, of napari"),
        (
            "m.csv",
            "image,row,column,pixel_size\na.mrc,9,9,2\n",
            "without its unit; call it pixel_size_nm or pixel_size_A",
        ),
        (
            "m.csv",
            "image,row,column,pixel_size_mn\na.mrc,9,9,2\n",
            "'pixel_size_mn' in a unit that is not known",
        ),
        ("m.csv", "image,row,column,box\na.mrc,9,9,2\n", "without its unit; call it box_px, box_nm or box_A"),
        ("m.csv", "image,row,colum\na.mrc,9,9\n", "'colum', which is not known; the nearest is 'column'"),
        ("m.csv", "image,y,x,Y\na.mrc,9,9,9\n", "has the columns y, Y, each of which may be 'row'"),
        ("m.csv", "filename,path\na.mrc,b\n", "has the columns filename, path, each of which may be 'image'"),
    ],
)
def test_what_cannot_be_read_is_asked_about(folder, name, text, match):
    """Nothing that looks like a place or a scale is left aside while something else is read."""
    (folder / name).write_text(text)
    refused(match, sources.read, folder / name)


def test_boxes_of_an_eman2_project(folder):
    """Boxes lie in info/, micrographs beside that folder, the size in the project's settings."""
    write_mrc(folder / "micrographs" / "m.mrc", IMAGE)
    (folder / "info").mkdir()
    (folder / "info" / "project.json").write_text('{"global.boxsize": 8}')
    (folder / "info" / "m_info.json").write_text('{"boxes": [[15, 20, "manual"]]}')
    opened = data.open(folder / "info", input_size=8, scale="fill")
    np.testing.assert_allclose(opened.images[0], cut(20, 15), atol=1e-6)
    assert positions.beside(folder / "info" / "m_info.json", folder) == "micrographs/m.mrc"
