"""The study as a whole: structure, truth, reproducibility, files, refusals."""

import hashlib
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from temlib import simulate
from temlib.files import InputError


@pytest.fixture(scope="module")
def made():
    """The default study; its table is cheap, its images are made on demand."""
    return simulate.study(600, seed=1)


@pytest.fixture(scope="module")
def small():
    """Thirty particles and their crops."""
    study = simulate.study(30, seed=4, micrographs=2)
    return study, _crops(study)


def _crops(study):
    return [image for _, images in study.crops() for image in images]


def _masks(study):
    scenes = [study.scene(i) for i in range(len(study.names))]
    return [pair for scene in scenes for pair in simulate.regions(scene, study.settings)]


def _digest(study):
    return hashlib.sha256(b"".join(image.tobytes() for _, image in study.micrographs())).hexdigest()


def test_default_study_has_its_structure(made):
    """600 particles lie in 24 micrographs of several sessions, and a micrograph belongs to one session."""
    table = made.table
    assert len(table) == 600
    assert table["particle"].is_unique
    assert table["micrograph"].nunique() == 24
    assert table["session"].nunique() == 6
    assert (table.groupby("micrograph")["session"].nunique() == 1).all()


def test_default_study_is_as_unequal_as_the_field(made):
    """The rarest class has about 5 % of the particles, and every class lies in many micrographs."""
    shares = {task: made.table[task].value_counts(normalize=True) for task in simulate.TASKS}
    assert 0.03 < shares["lamellarity"]["uncertain"] < 0.09
    # 10 % were asked for; four standard deviations of 600 draws are 5 %.
    assert 0.05 < shares["lamellarity"]["multilamellar"] < 0.15
    assert 0.03 < shares["encapsulation"]["uncertain"] < 0.13
    for task in simulate.TASKS:
        assert made.table.groupby(task)["micrograph"].nunique().min() >= 12


def test_truth_follows_its_definitions(made):
    """Unilamellar is one bilayer, none within it; full is a fill above the threshold."""
    table = made.table
    assert ((table["truth_lamellae"] == 1) == (table["truth_lamellarity"] == "unilamellar")).all()
    assert ((table["truth_fill"] > 0.2) == (table["truth_encapsulation"] == "full")).all()
    assert set(table.loc[table["truth_multivesicular"], "truth_lamellarity"]) == {"multilamellar"}


def test_conditions_are_those_of_the_micrograph(made):
    """Defocus, dose and ice are constant in a micrograph and vary more between sessions than within."""
    one = made.table.groupby("micrograph").agg({"truth_defocus_um": ["nunique", "first"], "session": "first"})
    assert (one["truth_defocus_um", "nunique"] == 1).all()
    defocus = one["truth_defocus_um", "first"]
    within = defocus.groupby(one["session", "first"]).std().mean()
    assert defocus.std() > within


def test_boxes_lie_inside_and_follow_the_size(made):
    """Every box is inside its micrograph, and larger particles have larger boxes."""
    table = made.table
    half = table["box_px"] // 2
    for place in ("row", "column"):
        assert (table[place] - half).min() >= 0
        assert (table[place] - half + table["box_px"]).max() <= 1024
    assert np.corrcoef(table["box_px"], table["truth_diameter_nm"])[0, 1] > 0.8


def test_same_seed_gives_identical_bytes_with_any_number_of_threads():
    """One thread and three make the same micrographs; another seed makes others."""
    one, many, other = (
        simulate.study(30, seed=seed, micrographs=3, threads=n) for seed, n in ((5, 1), (5, 3), (6, 1))
    )
    assert _digest(one) == _digest(many) != _digest(other)
    pd.testing.assert_frame_equal(one.table, many.table)
    pd.testing.assert_frame_equal(one.panel, many.panel)


def test_memory_does_not_grow_with_the_number_of_particles():
    """Twice the particles, taken micrograph by micrograph, once the table is made: the same peak."""
    peaks = []
    for count in (400, 800):
        made = simulate.study(count, seed=4, threads=1)
        len(made.table)
        tracemalloc.start()
        for _ in made.crops():
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_generator_serves_as_seed():
    """A Generator in the same state gives the same study."""
    one, two = (simulate.study(10, seed=np.random.default_rng(3)).table for _ in range(2))
    pd.testing.assert_frame_equal(one, two)


def test_micrographs_can_be_made_alone():
    """The second micrograph by itself is the second of the study."""
    study = simulate.study(20, seed=2, micrographs=2)
    np.testing.assert_array_equal(study.micrograph(1), list(study.micrographs())[1][1])


def test_crops_are_windows_of_their_micrographs(small):
    """Crop i is cut around row i's place from row i's micrograph."""
    study, images = small
    whole = dict(study.micrographs())
    for row, image in zip(study.table.itertuples(), images):
        half = row.box_px // 2
        assert image.shape == (row.box_px, row.box_px)
        assert image.dtype == np.float32
        np.testing.assert_array_equal(image[half, half], whole[row.micrograph][row.row, row.column])


def test_particles_are_darker_than_their_surroundings(small):
    """Membranes, found by their masks, are darker than the rest of the crop in nearly every particle."""
    study, images = small
    darker = [image[mask].mean() < image[~mask].mean() for image, (mask, _) in zip(images, _masks(study))]
    assert np.mean(darker) > 0.9


def test_regions_match_crops_and_truth(small):
    """Masks have the shape of their crops; only particles that carry something have a payload mask."""
    study, images = small
    for (membrane, payload), image, fill in zip(_masks(study), images, study.table["truth_fill"]):
        assert membrane.shape == payload.shape == image.shape
        assert membrane.any()
        assert payload.any() == (fill > 0)


def test_noise_free_images_have_no_noise():
    """Without noise and neighbours the border of a crop is smooth."""
    images = _crops(simulate.study(4, seed=1, noise=False, artefacts=0.0))
    assert all(np.abs(np.diff(image[0]))[:3].max() < 0.02 * image.mean() for image in images)


def test_more_dose_means_less_relative_noise():
    """The border of crops scatters less at 60 than at 5 e⁻/Å²."""

    def scatter(dose):
        images = _crops(simulate.study(10, seed=3, dose=(dose, dose), artefacts=0.0))
        return np.median([np.diff(image[:3]).std() / image.mean() for image in images])

    assert scatter(60.0) < 0.6 * scatter(5.0)


def test_less_dose_leaves_more_uncertain():
    """Annotators are less certain at 1 than at 60 e⁻/Å²."""
    few, many = (simulate.study(300, seed=3, dose=(dose, dose)).table for dose in (1.0, 60.0))
    for task in simulate.TASKS:
        assert (few[task] == "uncertain").mean() > (many[task] == "uncertain").mean()


def test_prevalence_is_obeyed():
    """Shares of 0 and 1 are exact; others hold within sampling."""
    shares = {"unilamellar": 0.0, "multilamellar": 1.0, "empty": 0.5, "full": 0.5}
    table = simulate.study(600, seed=1, prevalence=shares).table
    assert (table["truth_lamellarity"] == "multilamellar").all()
    assert (table["truth_encapsulation"] == "full").mean() == pytest.approx(0.5, abs=0.08)


def test_binning_makes_coarser_crops_of_the_same_field():
    """Binned by 2, a study has pixels of 2 nm and boxes of half the size."""
    fine, coarse = (simulate.study(20, seed=1, binning=factor) for factor in (1, 2))
    assert coarse.micrograph(0).shape == (512, 512)
    assert (coarse.table["pixel_size_nm"] == 2).all()
    assert coarse.table["box_px"].mean() == pytest.approx(fine.table["box_px"].mean() / 2, rel=0.1)


def test_particles_are_centred_in_their_boxes():
    """Averaged over particles, the membrane masks are centred in their boxes within 3 %."""
    study = simulate.study(50, seed=8, binning=2)
    offsets = [[np.mean(index) / len(mask) - 0.5 for index in np.nonzero(mask)] for mask, _ in _masks(study)]
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.03


def test_thesis_preset_is_eight_bit():
    """The preset of 2016 gives grey levels 0 to 255 at 2 nm."""
    study = simulate.study(10, seed=1, preset="thesis2016")
    assert all(np.array_equal(image, np.rint(image)) and image.max() <= 255 for image in _crops(study))
    assert (study.table["pixel_size_nm"] == 2).all()


@pytest.mark.parametrize("preset", ["krios300", "ccd120"])
def test_other_presets_make_images(preset):
    """Every preset gives finite, positive images."""
    images = _crops(simulate.study(5, seed=1, preset=preset))
    assert all(np.isfinite(image).all() and image.min() >= 0 for image in images)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pixel_nm": 1.5}, "binning"),
        ({"pixel_nm": 0.0}, "pixel_nm"),
        ({"dose": (-5.0, 20.0)}, "dose"),
        ({"dose": 20.0}, "2 numbers"),
        ({"dose": (0.0, 20.0)}, "dose"),
        ({"dose": (30.0, 20.0)}, "smaller first"),
        ({"dose": (float("nan"), 20.0)}, "dose"),
        ({"prevalence": {"empty": 0.5}}, "sum to 1"),
        ({"prevalence": {"empty": 1.2, "full": -0.2}}, r"\[0, 1\]"),
        ({"prevalence": {"half": 0.2}}, "unknown"),
        ({"ice_nm": (20.0, 150.0)}, "pressed"),
        ({"diameter_nm": (40.0, 80.0, 900.0)}, "pressed"),
        ({"diameter_nm": (5.0, 80.0, 250.0)}, "24 nm"),
        ({"shape": (256, 256)}, "shape"),
        ({"fill_threshold": 1.0}, "fill_threshold"),
        ({"preset": "titan"}, "krios300"),
        ({"micrographs": 200}, "nest"),
        ({"sessions": 30}, "nest"),
        ({"annotators": 0}, "annotators"),
        ({"annotators": 2.5}, "whole"),
        ({"shape": (1024,)}, "shape"),
        ({"binning": 0}, "binning"),
        ({"artefacts": -1.0}, "artefacts"),
        ({"threads": 0}, "threads"),
        ({"shape": (1024, 1024), "micrographs": 1, "diameter_nm": (40.0, 100.0, 250.0)}, "more micrographs"),
    ],
)
def test_impossible_studies_are_refused(options, words):
    """Each is refused before any work, with the limit or the cure."""
    with pytest.raises(InputError, match=words):
        simulate.study(100, **options)


@pytest.mark.parametrize("count", [0, -3, 2.5])
def test_count_must_be_a_whole_number(count):
    """No particles are no study."""
    with pytest.raises(InputError, match="count"):
        simulate.study(count)


def test_written_folder_holds_crops_manifest_and_places(tmp_path):
    """Crops, table, micrographs with voxel size, and RELION's places agree."""
    import mrcfile
    import starfile

    folder = simulate.write(tmp_path / "set", 6, seed=2, micrographs=True)
    table = pd.read_csv(folder / "manifest.csv")
    study = simulate.study(6, seed=2)
    assert list(table.columns) == ["image", *study.table.columns]
    row = table.iloc[3]
    image = np.asarray(Image.open(folder / row["image"]))
    assert image.dtype == np.uint16
    with mrcfile.open(folder / "micrographs" / f"{row['micrograph']}.mrc") as file:
        assert file.voxel_size.x == pytest.approx(10.0)
        whole = file.data.copy()
    np.testing.assert_array_equal(
        image, np.rint(simulate.crop(whole, row["row"], row["column"], row["box_px"]))
    )
    star = starfile.read(folder / "particles.star")
    assert star["particles"]["rlnCoordinateY"].tolist() == table["row"].tolist()
    assert star["optics"]["rlnMicrographPixelSize"].tolist() == [10.0]
    assert len(pd.read_csv(folder / "panel.csv")) == 6


def test_folder_that_holds_something_is_refused(tmp_path):
    """Nothing of the user's is mixed with new crops."""
    (tmp_path / "notes.txt").write_text("mine")
    for place in (tmp_path / "notes.txt" / "out", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="cannot be written"):
            simulate.write(place, 60)
    with pytest.raises(InputError, match="not empty"):
        simulate.write(tmp_path, 3)


def test_varied_studies_join_laboratories_under_one_manifest(tmp_path):
    """Names are unique, pixels and cameras differ, every image is there, and equal seeds give equal bytes."""
    folders = [simulate.write(tmp_path / name, 60, seed=3, preset="varied") for name in ("one", "two")]
    table = pd.read_csv(folders[0] / "manifest.csv")
    assert len(table) == 60
    assert table["particle"].is_unique
    assert table["pixel_size_nm"].nunique() == table["micrograph"].str[:3].nunique() == 2
    assert all((folders[0] / image).is_file() for image in table["image"])
    one, two = ({path.name: path.read_bytes() for path in folder.rglob("*.*")} for folder in folders)
    assert one == two


def test_boxes_fit_as_loosely_as_asked():
    """`box` is the range of a box's side over the particle's extent."""
    ratios = [simulate.study(60, seed=2, artefacts=0.0, box=each).table for each in ((1.1, 1.15), (2.0, 2.1))]
    tight, loose = ((table["box_px"] / table["truth_diameter_nm"]).median() for table in ratios)
    assert 1.5 < loose / tight < 2.1


def test_boxes_that_cut_their_particles_are_refused():
    """A box is no smaller than its particle."""
    with pytest.raises(InputError, match="box: 2 numbers, smaller first, from 1 to 5"):
        simulate.study(10, box=(0.5, 1.0))
