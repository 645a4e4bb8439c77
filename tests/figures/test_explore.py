"""Pictures of what stands out before anything is learnt."""

import base64
import dataclasses
import io
import re

import mrcfile
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from temlib import data, explore, figures
from tests.figures.conftest import EACH, MICROGRAPHS, check, sentence, study


@pytest.fixture(scope="module")
def odd():
    """Particles of which one micrograph is inverted, labelled by two people, and the table of their micrographs."""
    found = study(lambda images, rng: -images)
    found.table["label@a"] = found.table["label"]
    found.table["label@b"] = ["full", "empty", "full"] * (len(found) // 3)
    return found, explore.per_micrograph(found)


def test_classes_are_counted(particles):
    """A panel a task, the counts in words."""
    table = particles.table.assign(kind=["a", "b", "c", "c"] * 60)
    picture = figures.class_counts(table, ["label", "kind"])
    check(picture, ["task", "class", "particles"], n=240, panels=2)
    assert "label: empty 120, full 120; kind: c 120, a 60, b 60." in picture.alt


def test_unsure_labels_are_counted_as_set_aside(particles):
    """By their name, in picture and words."""
    labels = ["full", "empty", "uncertain"] * 80
    picture = figures.class_counts(particles.table.assign(label=labels), ["label"], unsure=["uncertain"])
    assert set(picture.frame()["class"]) == {"full", "empty", "uncertain (set aside)"}
    assert "uncertain (set aside) 80" in picture.alt


def test_micrographs_are_stacked_from_the_first_class_up(particles):
    """Every bar ends at its micrograph's number of particles, and the first class stands on the axis."""
    figure = check(
        figures.micrograph_counts(particles.table, "label"), ["micrograph", "label", "particles"], n=240
    )
    steps = {patch.get_label(): patch.get_data() for patch in figure.axes[0].patches}
    assert list(steps) == ["empty", "full"]
    assert steps["empty"].values.tolist() == [EACH / 2] * MICROGRAPHS and not np.any(steps["empty"].baseline)
    assert steps["full"].values.tolist() == [EACH] * MICROGRAPHS
    assert np.array_equal(steps["full"].baseline, steps["empty"].values)
    assert to_hex(figure.axes[0].patches[0].get_facecolor()) == figures.COLOURS[0].lower()


PLACES = [(20, 31), (25, 150), (60, 100), (95, 20), (90.4, 170.5)]
STAR = """data_particles

loop_
_rlnMicrographName #1
_rlnCoordinateX #2
_rlnCoordinateY #3
"""


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Positions in three micrographs of 120 × 200 pixels of 2 nm, with a bright square on each of `PLACES`."""
    folder, rng = tmp_path_factory.mktemp("planted"), np.random.default_rng(0)
    rows = []
    for k, name in enumerate(("one", "two", "three")):
        image = rng.normal(0, 1, (120, 200)).astype(np.float32)
        for row, column in PLACES:
            row, column = int(np.floor(row + 0.5)), int(np.floor(column + 0.5))
            image[row - 3 : row + 4, column - 3 : column + 4] += 20
        with mrcfile.new(folder / f"{name}.mrc") as file:
            file.set_data(image)
            file.voxel_size = 20.0
        rows += [(f"{name}.mrc", *place, ("full", "empty")[i % 2]) for i, place in enumerate(PLACES[k:])]
    table = pd.DataFrame(rows, columns=["image", "row", "column", "content"])
    table.assign(box_px=9).to_csv(folder / "m.csv", index=False)
    table.assign(row=119 - table["row"], box_px=9).to_csv(folder / "flipped.csv", index=False)
    given = table.assign(number=table.groupby("image").cumcount() + 1, micrograph=table["image"], box_px=9)
    given.drop(columns=["image", "row", "column"]).to_csv(folder / "p.csv", index=False)
    lines = table[["image", "column", "row"]].astype(str).agg(" ".join, axis=1)
    (folder / "p.star").write_text(STAR + "\n".join(lines) + "\n")
    return folder


def shown(page):
    """Return what a page shows of each micrograph: its pixels, and the boxes on it by their colour, as row, column and side."""
    found = []
    for svg in re.findall("<svg.*?</svg>", page):
        image = Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", svg)[1])))
        paths = re.findall(r'<path d="([^"]+)" fill="none" stroke="([^"]+)"', svg)
        boxes = {colour: re.findall(r"M([\d.-]+) ([\d.-]+)h([\d.]+)", path) for path, colour in paths}
        boxes = {c: np.array([(y, x, side) for x, y, side in some], float) for c, some in boxes.items()}
        found.append((np.asarray(image.convert("L"), float), boxes))
    return found


def on_particles(page):
    """Return for each box, as it is shown, the share of its middle that is bright in the picture."""
    found = []
    for image, boxes in shown(page):
        for row, column, side in boxes["#fff"]:
            edge = round(side / 9)
            rows, columns = (slice(max(0, round(at) + edge), round(at + side) - edge) for at in (row, column))
            found.append((image[rows, columns] > 200).mean())
    return np.array(found)


@pytest.mark.parametrize("source", ["m.csv", "p.star"])
def test_boxes_lie_on_the_particles_of_their_micrographs(planted, source):
    """Each covers the square that was planted, in the colour of its class, with name and scale bar."""
    found = data.open(planted / source, task="content")
    picture = figures.micrographs(found, "content", seed=1)
    columns = ["micrograph", "particle", "label", "row", "column", "box_px", "pixel_size_nm"]
    page = check(picture, columns, n=12, panels=3)
    assert len(on_particles(page)) == 12 and on_particles(page).min() == 1
    assert sorted(re.findall(r"<b>(.*?)</b>", page)) == ["one.mrc", "three.mrc", "two.mrc"]
    assert page.count(">100 nm</text>") == 3
    told = re.findall(r'color:([^"]+)" aria-hidden="true">□</span><span>([^<]+)</span>', page)
    assert told == [("var(--c0,#0072B2)", "empty (5)"), ("var(--c1,#D55E00)", "full (7)")]
    drawn = [
        {colour: len(some) for colour, some in boxes.items() if colour != "#fff"} for _, boxes in shown(page)
    ]
    for label, (colour, _) in zip(("empty", "full"), told):
        counts = [
            (part["label"] == label).sum() for _, part in picture.frame().groupby("micrograph", sort=False)
        ]
        assert [some.get(colour, 0) for some in drawn] == counts
    assert "empty" in picture.alt and "one.mrc: full 3, empty 2" in picture.alt


def test_positions_counted_from_the_other_end_miss_the_particles(planted):
    """A flipped axis is seen: no box but one in the middle holds its particle."""
    found = data.open(planted / "flipped.csv", task="content")
    assert (on_particles(figures.micrographs(found, "content").plot()) < 0.5).sum() >= 8


def test_large_micrographs_are_averaged_and_chosen_by_seed(planted, monkeypatch):
    """Two pixels to one here: the boxes stay where they are; particles without a label have a box too."""
    monkeypatch.setattr("temlib.figures.explore.SIDE_PX", 100)
    found = data.open(planted / "m.csv", task="content", data_folder=str(planted))
    found = dataclasses.replace(
        found, table=found.table.assign(content=found.table["content"].replace("empty", np.nan))
    )
    picture = figures.micrographs(found, "content", most=2)
    page = picture.plot()
    assert shown(page)[0][0].shape == (60, 100) and on_particles(page).min() > 0.5
    full = (picture.frame()["label"] == "full").sum()
    assert (
        re.findall("<span>(full.*?|no label)[ <]", page)[0] == "full"
        and f"full ({full})" in page
        and "no label (" in page
    )
    chosen = {
        tuple(figures.micrographs(found, "content", most=1, seed=seed).frame()["micrograph"].unique())
        for seed in range(9)
    }
    assert len(chosen) > 1


def test_simulated_micrographs_are_shown():
    """With the true places of their particles, which are darker than what is around them."""
    found = data.open("simulated", count=60, seed=3)
    picture = figures.micrographs(found, "lamellarity", most=1)
    ((image, drawn),) = shown(picture.plot())
    boxes = picture.frame()[["row", "column", "box_px"]]
    step = found.micrograph(picture.frame()["micrograph"].iloc[0]).shape[0] // image.shape[0]
    inside = np.zeros(image.shape, bool)
    for row, column, box in boxes.to_numpy(int) // step:
        inside[row - box // 4 : row + box // 4, column - box // 4 : column + box // 4] = True
    assert len(drawn["#fff"]) == len(boxes) > 5 and " nm</text>" in picture.plot()
    assert image[inside].mean() < image[~inside].mean()


def test_twelve_long_names_find_room(planted):
    """Each is told, whole."""
    found = data.open(planted / "m.csv", task="content")
    names = [f"{k} {'very long name of a class ' * 3}" for k in range(12)]
    found = dataclasses.replace(found, table=found.table.assign(content=names))
    page = figures.micrographs(found, "content").plot()
    assert len(re.findall("□</span><span>[^<]+</span>", page)) == found.table["content"].nunique()


def test_crops_alone_have_no_micrograph(study, particles):
    """A sentence stands instead, also where a table says where the crops came from."""
    assert "came as crops" in sentence(figures.micrographs(particles, "label"))
    table = pd.read_csv(study).assign(row=900, column=range(48), box_px=24)
    table.to_csv(study, index=False)
    assert "came as crops" in sentence(figures.micrographs(data.open(study, task="content"), "content"))


def test_the_gallery_has_a_row_a_class(particles):
    """A class of fewer particles leaves gaps; another seed takes others."""
    labels = ["rare"] * 3 + ["common"] * 237
    few = dataclasses.replace(particles, table=particles.table.assign(label=labels))
    picture = figures.gallery(few, "label", each=5)
    check(picture, ["class", "row"], n=8, panels=8)
    assert picture.frame()["class"].tolist() == ["common"] * 5 + ["rare"] * 3
    assert "2 nm/pixel" in picture.caption
    assert not picture.frame().equals(figures.gallery(few, "label", each=5, seed=1).frame())
    unknown = dataclasses.replace(few, pixel_nm=np.nan)
    assert "pixel size unknown" in figures.gallery(unknown, "label").caption


def test_radial_profiles_find_the_ring(particles):
    """The dark ring of radius 4 pixels lies near 8 nm, or near 4 pixels where their size is unknown."""
    columns = ["class", "n", "radius", "mean", "error"]
    unknown = dataclasses.replace(particles, pixel_nm=np.nan)
    for found, place, unit in ((particles, 7, "nm"), (unknown, 3.5, "pixels")):
        picture = figures.radial_profiles(found, "label")
        figure = check(picture, columns, n=240)
        profile = picture.frame().query("`class` == 'full'").set_index("radius")["mean"]
        assert profile.idxmin() == place and unit in figure.axes[0].get_xlabel()


def test_a_histogram_leaves_out_what_is_missing():
    """Each value is in a bar, and the axis has its unit."""
    figure = check(
        figures.histogram([1, 2, 2, np.nan], label="length (nm)", what="length"), ["length (nm)"], n=3
    )
    assert figure.axes[0].patches[0].get_data().values.sum() == 3
    assert figure.axes[0].get_xlabel() == "length (nm)"


def test_sizes_are_in_nm_or_in_pixels(particles):
    """Boxes of 24 pixels of 2 nm are 48 nm; a diameter that is given stands beside them."""
    table = particles.table.assign(truth_diameter_nm=30.0)
    picture = figures.sizes(dataclasses.replace(particles, table=table))
    check(picture, ["side of the box", "true diameter"], n=240)
    assert picture.frame()["side of the box"].eq(48).all() and "in nm" in picture.caption
    unknown = dataclasses.replace(particles, table=table.assign(pixel_size_nm=np.nan))
    assert figures.sizes(unknown).frame()["side of the box"].eq(24).all()


def test_power_spectra_name_the_micrographs_that_differ(odd, particles):
    """Frequencies are cycles per nm; where none differs none is named."""
    picture = figures.power_spectra(*odd)
    figure = check(picture, ["micrograph", "frequency", "power"], n=240)
    assert picture.frame()["frequency"].max() == 0.25
    assert [text.get_text() for text in figure.legends[0].texts] == ["m03 (differs)"] and "m03" in picture.alt
    plain = figures.power_spectra(particles, explore.per_micrograph(particles))
    assert "none stands out" in plain.alt and not plain.plot().legends


def test_the_map_is_coloured_by_task_and_micrograph(particles):
    """A panel each and a scale of the micrographs, each class with its number."""
    picture = figures.descriptor_map(particles, ["label"], explore.principal(particles))
    figure = check(picture, ["row", "first", "second", "label", "micrograph"], n=240, panels=3)
    assert [text.get_text() for text in figure.legends[0].texts] == ["empty (120)", "full (120)"]
    assert "% of variance" in figure.axes[0].get_xlabel()


def test_odd_micrographs_are_shown_below_usual_ones(odd, particles):
    """Two usual micrographs, then the inverted one; a sentence where none is odd."""
    picture = figures.odd_micrographs(*odd, each=4)
    check(picture, ["micrograph", "why", "row"], n=12, panels=12)
    assert picture.frame()["why"].unique().tolist() == ["usual", "inverted"]
    assert picture.frame()["micrograph"].iloc[-1] == "m03"
    assert "No micrograph stands out" in sentence(
        figures.odd_micrographs(particles, explore.per_micrograph(particles))
    )


def test_pairs_stand_beside_each_other(particles):
    """Below each its micrograph; a sentence where there is none."""
    pairs = pd.DataFrame({"first": ["p0", "p1"], "second": ["p30", "p41"], "correlation": [0.99, 0.985]})
    page = check(figures.pairs(particles, pairs), list(pairs), n=2, panels=4)
    assert re.findall(r"(m\d\d)</span>", page) == ["m00", "m01", "m00", "m02"]
    assert "no pair" in sentence(figures.pairs(particles, pairs.head(0)))


def test_disagreements_show_who_says_what(odd):
    """Each particle with both labels; sentences where there is one label a particle, and where all agree."""
    found = odd[0].agreement("label")
    assert len(found.disagreements) == (odd[0].table["label@a"] != odd[0].table["label@b"]).sum()
    assert f"kappa = {found.kappa:.2f}" in explore.agreement(found)[0]
    picture = figures.disagreements(odd[0], found, most=4)
    page = check(picture, list(found.disagreements), n=len(found.disagreements), panels=4)
    first = found.disagreements.iloc[0]
    assert f"</svg>a: {first['label@a']}\nb: {first['label@b']}</span>" in page
    assert "One label per particle" in sentence(figures.disagreements(odd[0], None))
    agreed = dataclasses.replace(found, disagreements=found.disagreements.head(0))
    assert "agree on every particle" in sentence(figures.disagreements(odd[0], agreed))


def test_splits_that_cannot_be_compared_get_a_sentence():
    """The task is named."""
    assert sentence(figures.leakage(None, "label")).startswith("label: too few micrographs")


@pytest.mark.parametrize("picture", [figures.stages, figures.thon_rings])
def test_particles_that_were_not_simulated_get_a_sentence(picture, particles):
    """Nothing is simulated for real data; a sentence says why the section is empty."""
    assert "not simulated" in sentence(picture(particles))


def test_stages_are_drawn_with_units(particles):
    """Seven stages, each with its unit, the crop the smallest."""
    picture = figures.stages(dataclasses.replace(particles, simulated=True))
    check(picture, ["stage", "sentence", "unit", "mean", "standard deviation"], n=1, panels=7)
    assert picture.frame()["unit"].str.len().min() > 0 and "20 e⁻/Å²" in picture.caption


def test_thon_rings_are_drawn_with_their_error(particles):
    """Three zeros within 1 %."""
    picture = figures.thon_rings(dataclasses.replace(particles, simulated=True))
    figure = check(picture, list(picture.frame()), n=1)
    assert picture.frame()["relative_error"].abs().max() < 0.01
    assert len(figure.axes[0].lines) == 4 and "0.4 nm/pixel" in picture.caption
