import numpy as np
import pandas as pd
import pytest

from temlib import particles
from temlib.files import InputError


def changed(study, **columns):
    """Rewrite columns of the manifest."""
    pd.read_csv(study).assign(**columns).to_csv(study, index=False)
    return study


def test_a_manifest_opens(study):
    """Rows, labels and images of a manifest stay together, at one scale."""
    data = particles.open(study, pixel_nm=2.0, input_size=24)
    assert data.images.shape == (48, 24, 24) and data.scale == "physical" and data.tasks == ["content"]
    bright = data.images[:, 8:16, 8:16].mean(axis=(1, 2))
    assert bright[1::2].min() > bright[::2].max()


def test_class_folders_open(study):
    """Sub-folders are classes, and the missing micrographs are said."""
    for i, name in enumerate(["plain", "bright"] * 24):
        (study.parent / name).mkdir(exist_ok=True)
        (study.parent / f"{i:02d}.png").rename(study.parent / name / f"{i:02d}.png")
    data = particles.open(study.parent, input_size=16)
    assert data.table["class"].value_counts().to_dict() == {"plain": 24, "bright": 24}
    assert any("does not say which particles share a micrograph" in note for note in data.notes)


def test_prepared_images_have_median_0_and_spread_1():
    """Brightness and contrast of a crop do not reach a network."""
    crop = np.random.default_rng(0).normal(5000, 300, (32, 32))
    low, middle, high = np.percentile(particles.prepare(crop, 32), (16, 50, 84))
    assert middle == pytest.approx(0, abs=1e-5) and (high - low) / 2 == pytest.approx(1, abs=1e-5)


def test_physical_scale_keeps_sizes():
    """At half the pixel size an object has half the pixels a side; beyond the crop there is its median."""
    crop = np.random.default_rng(0).normal(0, 1, (40, 40))
    crop[10:30, 10:30] += 100
    prepared = particles.prepare(crop, 40, ratio=0.5)
    assert np.abs(np.count_nonzero(prepared > prepared.max() / 2) - 100) <= 4
    assert np.ptp(prepared[:8]) == 0


def test_padding_does_not_count_in_the_spread():
    """The noise of a padded crop has unit spread where there is noise."""
    crop = np.random.default_rng(0).normal(0, 1, (40, 40))
    prepared = particles.prepare(crop, 120, ratio=1.0)
    assert prepared[40:80, 40:80].std() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [(np.zeros((8, 8)), "all pixels have the value 0"), (np.full((8, 8), np.nan), "NaN")],
)
def test_useless_images_are_refused(pixels, message):
    """A constant image and NaN are named, not learnt."""
    with pytest.raises(InputError, match=message):
        particles.prepare(pixels, 8, name="a.png")


def test_a_truncated_image_is_refused_by_name(study):
    """The message names the file and its row."""
    image = study.parent / "03.png"
    image.write_bytes(image.read_bytes()[:60])
    with pytest.raises(InputError, match=r"03\.png \(row 5\)"):
        particles.open(study)


def test_a_missing_image_is_refused_by_name(study):
    """The message names the file and its row."""
    (study.parent / "03.png").unlink()
    with pytest.raises(InputError, match=r"03\.png \(row 5\): there is no such image"):
        particles.open(study)


def test_duplicate_ids_are_refused(study):
    """Two rows with one id would be counted twice."""
    with pytest.raises(InputError, match="'x' stands more than once"):
        particles.open(changed(study, particle="x"))


@pytest.mark.parametrize("name", ["../a.png", "/a.png"])
def test_paths_that_leave_the_folder_are_refused(study, name):
    """A manifest names images of its own folder only."""
    with pytest.raises(InputError, match="row 2: the image path"):
        particles.open(changed(study, image=name))


def test_links_that_leave_the_folder_are_refused(study):
    """A link is followed before it is judged."""
    (study.parent / "00.png").unlink()
    (study.parent / "00.png").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match="is a link that leaves"):
        particles.open(study)


@pytest.mark.parametrize(
    ("task", "folds", "message"),
    [("contnt", 2, "could be a task are content"), ("content", 9, "8 micrographs but 'folds' is 9")],
)
def test_a_task_that_cannot_be_evaluated_is_refused(study, task, folds, message):
    """A missing column lists those that exist; too few micrographs are counted."""
    with pytest.raises(InputError, match=message):
        particles.check_task(particles.open(study).table, task, folds=folds)


def test_one_class_is_refused(study):
    """Nothing can be learnt from one class."""
    with pytest.raises(InputError, match="only the class 'bright'"):
        particles.check_task(particles.open(changed(study, content="bright")).table, "content")


def test_folds_keep_micrographs_whole(study):
    """No micrograph lies in two folds, and every particle is held out once."""
    table = particles.open(study).table
    folds = particles.split(table, "content", folds=4, seed=1)
    assert set(folds) == {1, 2, 3, 4}
    assert table.groupby("micrograph").apply(lambda part: len(set(folds[part.index]))).eq(1).all()


def test_leaking_folds_of_the_user_are_refused_by_name(study):
    """Folds that divide a micrograph stop the run."""
    table = particles.open(changed(study, fold=["1", "2"] * 24)).table
    with pytest.raises(InputError, match="8 micrographs lie in several folds .m0, m1, m2"):
        particles.split(table, "content", folds=2, seed=1)


def test_a_copy_in_another_micrograph_is_found(study):
    """The same image under two micrographs is a leak."""
    (study.parent / "00.png").write_bytes((study.parent / "47.png").read_bytes())
    data = particles.open(study)
    first = particles.near_duplicates(data).iloc[0]
    assert (first["first"], first["second"]) == ("00.png", "47.png") and first["correlation"] > 0.9999
    assert particles.identical(data) == [["00.png", "47.png"]]
