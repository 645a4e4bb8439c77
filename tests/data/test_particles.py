import os
import signal
import subprocess
import sys
import warnings
from functools import partial

import mrcfile
import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from temlib import data, explore, simulate
from temlib.data import crops, micrographs, particles, prepare
from temlib.data import open as open_data
from temlib.files import InputError
from tests.data.conftest import refused


def changed(study, **columns):
    """Rewrite columns of the manifest."""
    pd.read_csv(study).assign(**columns).to_csv(study, index=False)
    return study


def test_a_manifest_opens(study):
    """Rows, labels and images of a manifest stay together, at one scale."""
    data = open_data(study, pixel_nm=2.0, input_size=24)
    assert data.images.shape == (48, 24, 24) and data.scale == "physical" and data.tasks == ["content"]
    bright = data.images[:, 8:16, 8:16].mean(axis=(1, 2))
    assert bright[1::2].min() > bright[::2].max()


def discs(swapped=(), empty=()):
    """Make ten micrographs of twelve particles, two in three of which show a dark disc; swap some, and leave some without."""
    rng = np.random.default_rng(0)
    names, dark = np.repeat([f"m{k}" for k in range(10)], 12), np.arange(120) % 3 > 0
    images = rng.normal(size=(120, 16, 16)).astype(np.float32)
    images[dark & ~np.isin(names, empty), 5:11, 5:11] -= 1.5
    images[np.isin(names, swapped)] *= -1
    table = pd.DataFrame({"particle": np.arange(120).astype(str), "micrograph": names})
    table["content"] = np.where(dark, "disc", "none")
    return data.Particles(table, images, "test", (), "fill", np.nan, False)


@pytest.mark.parametrize("swapped", [["m3"], ["m1", "m4", "m9"], [f"m{k}" for k in range(0, 10, 2)]])
def test_swapped_micrographs_are_turned_round(swapped):
    """From one to half of them: all ten are as if nobody had swapped any, up to the sign of all where it was half of them."""
    planted = discs(swapped)
    aligned, contrast, (note,) = planted.aligned()
    signs = np.unique(aligned.images / discs().images)
    assert contrast == "kept" and len(signs) == 1 and (signs[0] == 1 or len(swapped) == 5)
    turned = planted.table["micrograph"][(aligned.images == -planted.images).all(axis=(1, 2))].unique()
    assert f"in {', '.join(turned)} ({len(swapped)} of 10 micrographs)" in note and "turns them round" in note


def test_where_all_agree_nothing_is_turned():
    """Nor where a micrograph shows background only, or there are too few micrographs to know what is usual."""
    for planted in (discs(), discs(empty=["m5"]), discs(["m1"]).rows(np.arange(48))):
        aligned, contrast, notes = planted.aligned()
        assert aligned is planted and contrast == "kept" and not notes


def test_what_cannot_be_told_stays_or_is_met_in_training():
    """One micrograph of background is left as it is; with two, more than a tenth of the particles, nothing is turned."""
    planted = discs(["m1", "m4"], empty=["m5"])
    aligned, contrast, (note,) = planted.aligned()
    inside = planted.table["micrograph"].isin(["m5"])
    assert contrast == "kept" and "leaves 1 for which it cannot be told as they are" in note
    assert np.array_equal(aligned.images[inside], planted.images[inside])
    planted = discs(["m1"], empty=["m5", "m6"])
    aligned, contrast, (note,) = planted.aligned()
    assert (
        aligned is planted and contrast == "either" and "for 20% of the particles it cannot be told" in note
    )


def test_contrast_is_told_without_labels_from_each_micrograph_alone():
    """Other labels change nothing; without some micrographs the others keep their value."""
    planted = discs(["m1", "m4"])
    other = discs(["m1", "m4"])
    other.table["content"] = np.random.default_rng(1).permutation(other.table["content"])
    (first, _, note), (second, _, same) = planted.aligned(), other.aligned()
    assert note == same and np.array_equal(first.images, second.images)
    few = planted.rows(np.flatnonzero(~planted.table["micrograph"].isin(["m0", "m4"])))
    whole, part = (data.polarity(data.signed(d.images), d.table["micrograph"]) for d in (planted, few))
    assert np.allclose(whole[part.index], part) and (part < 0).sum() == 1


def test_turned_images_may_be_read_when_they_are_asked_for(monkeypatch):
    """However they are indexed, they are those that a copy holds."""
    planted = discs(["m1"])
    copied = planted.aligned()[0].images
    monkeypatch.setattr(prepare, "COPIED", 0)
    read = planted.aligned()[0].images
    assert isinstance(read, prepare.Rows) and np.array_equal(read, copied)
    for key in (13, slice(10, 14), [1, 13, 100], (slice(10, 14), 0), (13, slice(4), 2)):
        assert np.array_equal(read[key], copied[key]) and read[key].dtype == np.float32


def test_class_folders_open(study):
    """Sub-folders are classes, and the missing micrographs are said."""
    for i, name in enumerate(["plain", "bright"] * 24):
        (study.parent / name).mkdir(exist_ok=True)
        (study.parent / f"{i:02d}.png").rename(study.parent / name / f"{i:02d}.png")
    study.unlink()
    data = open_data(study.parent, input_size=16)
    assert data.table["class"].value_counts().to_dict() == {"plain": 24, "bright": 24}
    assert any("do not say which particles share a micrograph" in note for note in data.notes)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda at: (at / "bright/03.png").write_bytes(b""), "{at}/bright/03.png: .*is empty"),
        (
            lambda at: (at / "bright/03.png").write_bytes((at / "plain/00.png").read_bytes()),
            "{at}/plain/00.png: this image equals that of file bright/03.png, but 'class' is 'plain' here",
        ),
        (
            lambda at: (at / "plain").rename(at / "Bright"),
            "class, file bright/01.png: 'bright' .24 times. looks",
        ),
        (
            lambda at: Image.fromarray(np.zeros((24, 24), np.uint8)).save(at / "plain/02.png"),
            "{at}/plain/02.png: all pixels have the value 0",
        ),
        (
            lambda at: tifffile.imwrite(
                at / "plain/s.tif",
                np.arange(3 * 576, dtype=np.uint16).reshape(3, 24, 24) * np.uint16([[[1]], [[0]], [[1]]]),
                photometric="minisblack",
            ),
            "{at}/plain/s.tif:2: all pixels",
        ),
    ],
)
def test_faults_in_class_folders_name_the_file(study, change, fault):
    """Not its number, which nobody counts; of a stack the image too."""
    for i, name in enumerate(["plain", "bright"] * 24):
        (study.parent / name).mkdir(exist_ok=True)
        (study.parent / f"{i:02d}.png").rename(study.parent / name / f"{i:02d}.png")
    study.unlink()
    change(study.parent)
    refused(fault.format(at=study.parent), open_data, study.parent, input_size=16, task="class")


def test_prepared_images_have_median_0_and_spread_1():
    """Brightness and contrast of a crop do not reach a network."""
    crop = np.random.default_rng(0).normal(5000, 300, (32, 32))
    low, middle, high = np.percentile(prepare.prepare(crop, 32), (16, 50, 84))
    assert middle == pytest.approx(0, abs=1e-5) and (high - low) / 2 == pytest.approx(1, abs=1e-5)


def test_physical_scale_keeps_sizes():
    """At half the pixel size an object has half the pixels a side; beyond the crop there is its median."""
    crop = np.random.default_rng(0).normal(0, 1, (40, 40))
    crop[10:30, 10:30] += 100
    prepared = prepare.prepare(crop, 40, ratio=0.5)
    assert np.abs(np.count_nonzero(prepared > prepared.max() / 2) - 100) <= 4
    assert np.ptp(prepared[:8]) == 0


def test_resampled_images_are_those_prepared_at_that_size(monkeypatch):
    """Of one window: the same pattern, whether all are resampled at once or some when they are asked for."""
    rng = np.random.default_rng(0)
    crops = [ndimage.gaussian_filter(rng.normal(size=(72, 72)), 3) for _ in range(6)]
    large, small = (np.stack([prepare.prepare(crop, size) for crop in crops]) for size in (48, 28))
    seen = data.resampled(large, 28)
    assert np.abs(seen - small).max() < 0.15 and data.resampled(large, 48) is large
    # Stripes of two pixels are too fine for half the pixels: they must vanish, not turn into others.
    stripes = np.tile(np.float32([1, -1]), (2, 48, 24))
    assert np.abs(data.resampled(stripes, 24)[:, 4:-4, 4:-4]).max() < 0.02
    monkeypatch.setattr(prepare, "COPIED", 0)
    later = data.resampled(large, 28)
    assert isinstance(later, prepare.Resampled) and later.shape == seen.shape and len(later) == 6
    for rows in (3, np.array([4, 0]), slice(1, 5)):
        assert np.array_equal(later[rows], seen[rows])


def test_padding_does_not_count_in_the_spread():
    """The noise of a padded crop has unit spread where there is noise."""
    crop = np.random.default_rng(0).normal(0, 1, (40, 40))
    prepared = prepare.prepare(crop, 120, ratio=1.0)
    assert prepared[40:80, 40:80].std() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [(np.zeros((8, 8)), "all pixels have the value 0"), (np.full((8, 8), np.nan), "NaN")],
)
def test_useless_images_are_refused(pixels, message):
    """A constant image and NaN are named, not learnt."""
    with pytest.raises(InputError, match=message):
        prepare.prepare(pixels, 8)


def test_a_truncated_image_is_refused_by_name(study):
    """The message names the file and its row."""
    image = study.parent / "03.png"
    image.write_bytes(image.read_bytes()[:60])
    with pytest.raises(InputError, match=r"line 5: 03\.png cannot be read"):
        data.open(study)


def test_a_missing_image_is_refused_by_name(study):
    """The message names the file and its row."""
    (study.parent / "03.png").unlink()
    with pytest.raises(InputError, match=r"line 5: '03\.png' is not in"):
        data.open(study)


def test_duplicate_ids_are_refused(study):
    """Two rows with one id would be counted twice."""
    with pytest.raises(InputError, match="line 3: the particle x occurs twice"):
        data.open(changed(study, particle="x"))


@pytest.mark.parametrize("name", ["../a.png", "/a.png"])
def test_paths_that_leave_the_folder_are_refused(study, name):
    """A manifest names images of its own folder only."""
    with pytest.raises(InputError, match="line 2: the image path"):
        data.open(changed(study, image=name))


def test_links_that_leave_the_folder_are_refused(study):
    """A link is followed before it is judged."""
    (study.parent / "00.png").unlink()
    (study.parent / "00.png").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match="leaves the folder .* not a link"):
        data.open(study)


@pytest.mark.parametrize(
    ("task", "folds", "message"),
    [("contnt", 2, "could be a task are content"), ("content", 9, "8 micrographs but 'folds' is 9")],
)
def test_a_task_that_cannot_be_evaluated_is_refused(study, task, folds, message):
    """A missing column lists those that exist; too few micrographs are counted."""
    opened = data.open(study)
    for call in (partial(data.check_task, opened.table), opened.labelled):
        with pytest.raises(InputError, match=message):
            call(task, folds=folds)


def test_one_class_is_refused(study):
    """Nothing can be learnt from one class."""
    with pytest.raises(InputError, match="only the class 'bright'"):
        data.check_task(data.open(changed(study, content="bright")).table, "content")


def test_folds_keep_micrographs_whole(study):
    """No micrograph lies in two folds, and every particle is held out once."""
    table = data.open(study).table
    folds = data.split(table, "content", folds=4, seed=1)
    assert set(folds) == {1, 2, 3, 4}
    assert table.groupby("micrograph").apply(lambda part: len(set(folds[part.index]))).eq(1).all()


def test_leaking_folds_of_the_user_are_refused_by_name(study):
    """Folds that divide a micrograph stop the run."""
    table = data.open(changed(study, fold=["1", "2"] * 24)).table
    with pytest.raises(InputError, match="8 micrographs lie in several folds .m0, m1, m2"):
        data.split(table, "content", folds=2, seed=1)


def test_a_copy_in_another_micrograph_is_found(study):
    """The same image under two micrographs is a leak."""
    (study.parent / "00.png").write_bytes((study.parent / "46.png").read_bytes())
    data = open_data(study)
    first = explore.near_duplicates(data).iloc[0]
    assert (first["first"], first["second"]) == ("00.png", "46.png") and first["correlation"] > 0.9999
    assert explore.identical(data) == [["00.png", "46.png"]]


def test_one_image_under_two_labels_is_refused(study):
    """At least one of the two labels is wrong, whatever the files are called."""
    (study.parent / "00.png").write_bytes((study.parent / "47.png").read_bytes())
    with pytest.raises(
        InputError, match="line 49: this image equals that of line 2, but 'content' is 'bright'"
    ):
        data.open(study, task="content")


def test_a_corrected_label_or_image_is_seen(study):
    """What is kept between two openings follows the files: new labels, then a new image."""
    before = data.open(study, input_size=24)
    labels = ["bright", "plain"] * 24
    assert data.open(changed(study, content=labels), input_size=24).table["content"].tolist() == labels
    image = np.random.default_rng(9).integers(0, 255, (24, 24)).astype(np.uint8)
    Image.fromarray(image).save(study.parent / "00.png")
    after = data.open(study, input_size=24)
    np.testing.assert_array_equal(after.images[0], prepare.prepare(image, 24, ratio=1.0))
    np.testing.assert_array_equal(after.images[1:], before.images[1:])


def test_pixel_sizes_known_for_some_only_are_refused(study):
    """Some crops at scale and others filling their box would be told apart by their size."""
    sizes = ["2.0"] * 47 + [""]
    with pytest.raises(
        InputError, match="line 49: the pixel size is unknown here and known elsewhere .1 of 48"
    ):
        data.open(changed(study, pixel_size_nm=sizes))
    assert data.open(study, scale="fill").scale == "fill"


def test_different_pixel_sizes_come_to_one_scale(study):
    """At physical scale a pixel of 1 nm fills a quarter of the area that one of 2 nm does (and its blur); fill says it."""
    changed(study, pixel_size_nm=["1.0", "2.0"] * 24)
    data = open_data(study, pixel_nm=2.0, input_size=24)
    filled = (np.abs(data.images - data.images[:, :1, :1]) > 1e-3).mean(axis=(1, 2))
    assert filled[::2].max() < 0.5 and filled[1::2].min() > 0.9
    assert any("Pixel sizes differ (1 to 2 nm)" in note for note in open_data(study, scale="fill").notes)


@pytest.mark.parametrize("value", [0, 255])
def test_saturated_images_are_refused(study, value):
    """Where most pixels have one value there is no spread to scale by."""
    image = np.full((24, 24), value, np.uint8)
    image[:4] = 100
    Image.fromarray(image).save(study.parent / "03.png")
    with pytest.raises(
        InputError, match=f"line 5: 83% of the pixels have the value {value}, so the image is sat"
    ):
        data.open(study)


@pytest.mark.parametrize("value", [0, 70, 255])
@pytest.mark.parametrize("radius", [6, 9, 12])
def test_masked_background_does_not_count(study, radius, value):
    """A background set to one value is accepted with a note, and particles keep their contrast whatever share it has."""
    rows, columns = np.mgrid[:24, :24] - 11.5
    inside = rows**2 + columns**2 < radius**2
    rng = np.random.default_rng(0)
    for k in range(48):
        noise = rng.normal(100, 10, (24, 24)).clip(1, 254)
        Image.fromarray(np.where(inside, noise, value).astype(np.uint8)).save(study.parent / f"{k:02}.png")
    data = open_data(study, input_size=24)
    assert any("as a mask leaves it" in note and note.endswith(": 48.") for note in data.notes)
    assert np.abs(data.images[:, ~inside]).max() < 0.05
    assert data.images[:, inside].std(axis=1) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("inside", ["all at one value", "hot pixels", "outside the window"])
def test_masks_that_leave_nothing_are_refused(inside):
    """What is constant but for a few pixels is no masked particle."""
    image = np.zeros((24, 24), np.float32)
    if inside == "all at one value":
        image[9:15, 9:15] = 3
    elif inside == "hot pixels":
        image[3:20:6, 4:22:5] = np.arange(12).reshape(3, 4) + 1
    else:
        image[2:6, 8:15] = np.random.default_rng(0).normal(size=(4, 7))
    with pytest.raises(InputError, match="nearly empty|only masked background"):
        prepare.prepare(image, 8, ratio=1 if inside == "outside the window" else None)


def test_many_images_are_selected_without_a_copy(study, monkeypatch):
    """A selection too large to copy reads its rows when they are asked for, in every way that arrays are asked."""
    data = open_data(study, input_size=24)
    keep = np.arange(1, 48, 2)
    copied = data.rows(keep).images
    monkeypatch.setattr(prepare, "COPIED", 0)
    late = data.rows(keep).images
    assert not isinstance(late, np.ndarray) and late.shape == copied.shape and len(late) == 24
    for key in (
        3,
        -1,
        slice(2, 9),
        [4, 1],
        np.array([True, False] * 12),
        (slice(0, 3), 5),
        (2, slice(1, 4), 0),
    ):
        np.testing.assert_array_equal(late[key], copied[key])
    np.testing.assert_array_equal(np.asarray(late), copied)
    np.testing.assert_array_equal(np.concatenate(list(data.rows(keep).blocks())), copied)


def test_simulated_particles_are_the_same_when_opened_again(monkeypatch):
    """The second opening simulates nothing and gives the same table and images; annotators come with them."""
    first = data.open("simulated", count=50, input_size=24, pixel_nm=5)
    monkeypatch.setattr(crops.Simulated, "_make", None)
    again = data.open("simulated", count=50, input_size=24, pixel_nm=5)
    pd.testing.assert_frame_equal(first.table, again.table)
    np.testing.assert_array_equal(first.images, again.images)
    assert again.tasks == ["lamellarity", "encapsulation"] and -1 <= again.agreement("lamellarity").kappa <= 1


def test_simulated_crops_need_not_be_kept(monkeypatch):
    """Too many crops are simulated again instead of written, with the same result."""
    kept = data.open("simulated", count=50, seed=2, input_size=24, pixel_nm=5)
    monkeypatch.setattr(crops, "KEPT_CROPS", 0)
    monkeypatch.setattr(particles.cache, "key", lambda *parts: f"streamed{abs(hash(str(parts)))}")
    np.testing.assert_array_equal(
        data.open("simulated", count=50, seed=2, input_size=24, pixel_nm=5).images, kept.images
    )


def test_masks_lie_where_the_prepared_particle_is(study):
    """In simulated particles without noise what the masks hold is darker than its surroundings; others have none."""
    made = simulate.study(30, seed=3, noise=False, artefacts=0.0)
    images = [image for _, part in made.crops() for image in part]
    ratios = made.table["pixel_size_nm"] / 3.0
    ready = np.stack([prepare.prepare(image, 40, ratio=ratio) for image, ratio in zip(images, ratios)])
    particles = data.Particles(made.table, ready, "simulated", (), "physical", 3.0, True, made)
    found = particles.masks([20, 3, 7, *range(8, 20)])
    masks = {i: membrane | payload for i, (membrane, payload) in found.items()}
    assert list(masks)[:3] == [20, 3, 7] and np.mean([0 < m.mean() < 0.5 for m in masks.values()]) > 0.9
    darker = [ready[i][m].mean() < ready[i][~m].mean() for i, m in masks.items()]
    assert np.mean(darker) > 0.9 and data.open(study).masks([0, 1]) == {}


MEMORY = """
import sys, threading, time
import numpy as np
from temlib import data as particles

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) * 1024

particles.open(sys.argv[1], pixel_nm=2.0, input_size=64)  # libraries and caches of the first time
before, peak = anonymous(), [0]
def watch():
    while True:
        peak[0] = max(peak[0], anonymous())
        time.sleep(0.01)
threading.Thread(target=watch, daemon=True).start()
data = particles.open(sys.argv[2], pixel_nm=2.0, input_size=64)
assert len(data) == 8000 and np.isfinite(sum(float(block.sum()) for block in data.blocks()))
print((peak[0] - before) / data.images.nbytes)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="anonymous memory is told by Linux")
def test_images_do_not_live_in_memory(tmp_path):
    """Preparing and reading 8,000 images takes far less anonymous memory than the images (131 MB)."""
    rng = np.random.default_rng(0)
    for name, count in (("few", 100), ("many", 8000)):
        with mrcfile.new(tmp_path / f"{name}.mrcs") as stack:
            stack.set_data(rng.integers(-99, 99, (count, 16, 16)).astype(np.int8))
            stack.set_image_stack()
        lines = "".join(f"{name}.mrcs,{i},m{i // 50},{'xy'[i % 2]},2\n" for i in range(count))
        (tmp_path / f"{name}.csv").write_text("image,index,micrograph,label,pixel_size_nm\n" + lines)
    arguments = [sys.executable, "-c", MEMORY, str(tmp_path / "few.csv"), str(tmp_path / "many.csv")]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert float(result.stdout) < 0.4


def test_processes_and_threads_prepare_the_same(tmp_path, monkeypatch):
    """Many files are prepared by other processes, with the same images, and the same sentence for the same fault."""
    pictures(tmp_path)
    alone = data.open(tmp_path / "m.csv", input_size=12)
    for name, value in (("WORTH", 2), ("TOGETHER", 8), ("_cores", lambda: 2)):
        monkeypatch.setattr(prepare, name, value)
    monkeypatch.setattr(micrographs, "read", None)  # not by this process
    monkeypatch.setenv("TEMLIB_CACHE", str(tmp_path / "cache"))
    together = data.open(tmp_path / "m.csv", input_size=12)
    np.testing.assert_array_equal(alone.images, together.images)
    assert alone.notes == together.notes and alone.table.equals(together.table)
    (tmp_path / "33.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(300))
    with pytest.raises(InputError, match="line 35: 33.png cannot be read"):
        data.open(tmp_path / "m.csv", input_size=12)


def test_what_libraries_say_in_threads_becomes_a_note(tmp_path, monkeypatch):
    """Few files are prepared by threads, which share one collection of warnings."""
    pictures(tmp_path)
    read = micrographs.read

    def talking(path, index):
        warnings.warn("an odd tag", stacklevel=1)
        return read(path, index)

    monkeypatch.setattr(micrographs, "read", talking)
    assert "The file's reader says: an odd tag." in data.open(tmp_path / "m.csv", input_size=12).notes


UNGUARDED = """
import os, sys
from temlib import data
from temlib.data import prepare
prepare.WORTH, prepare.TOGETHER, prepare._cores = 2, 8, lambda: 2
with open(sys.argv[2], "a") as file:
    file.write("once\\n")
print(len(data.open(sys.argv[1], input_size=12)), prepare.Found.__name__)
"""


def pictures(folder, count=40):
    """Write a manifest of small noise."""
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 255, (20, 30)).astype(np.uint8)).save(folder / f"{i}.png")
    (folder / "m.csv").write_text("image\n" + "".join(f"{i}.png\n" for i in range(count)))
    return folder / "m.csv"


def test_a_script_without_a_guard_runs_once(tmp_path, monkeypatch):
    """Processes that prepare images do not run the user's script again, as spawned ones would."""
    monkeypatch.setenv("TEMLIB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "script.py").write_text(UNGUARDED)
    arguments = [sys.executable, tmp_path / "script.py", pictures(tmp_path), tmp_path / "log.txt"]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("40 ") and (tmp_path / "log.txt").read_text() == "once\n"


def test_a_killed_process_ends_in_one_sentence(tmp_path, monkeypatch):
    """Where the system ends a process for its memory, the user is told what to lower."""
    for name, value in (("WORTH", 2), ("TOGETHER", 8), ("_cores", lambda: 2), ("prepare_part", killed)):
        monkeypatch.setattr(prepare, name, value)
    monkeypatch.setenv("TEMLIB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match="process that prepared images was killed.*lower 'input_size'"):
        data.open(pictures(tmp_path), input_size=12)


def killed(*_):
    """End this process as the system does where memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
