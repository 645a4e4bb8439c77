"""A new sample assayed by a saved model, from the command line to the page; what is refused, and what is said."""

import hashlib
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from temlib import assay, data, simulate, train
from temlib.__main__ import main
from temlib.files import InputError
from tests.assay.tables import calls_of, rates_of

# Studies without noise or anything else in the field, so that a small SVM knows its classes.
CLEAN = {"noise": False, "artefacts": 0.0}
TASK, CLASSES = "encapsulation", ["empty", "full"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The folder of an SVM that has learnt 300 particles of study A, half of them full."""
    folder = tmp_path_factory.mktemp("learnt")
    shares = {"empty": 0.5, "full": 0.5}
    simulate.write(folder / "a", 300, seed=1, prevalence=shares, **CLEAN)
    particles = data.open(folder / "a" / "manifest.csv", task=TASK, pixel_nm=4.0, input_size=44)
    particles = particles.labelled(TASK, folds=2, unsure=["uncertain"])
    train.cross_validate(particles, TASK, ["svm_texture"], train.Settings(folds=2), keep=folder / "models")
    return folder / "models" / "svm_texture"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The folder of study B: another seed, sessions of its own, a fifth full, with whole micrographs."""
    folder = tmp_path_factory.mktemp("new") / "b"
    shares = {"empty": 0.8, "full": 0.2}
    return simulate.write(folder, 100, seed=7, prevalence=shares, micrographs=True, **CLEAN)


def called(*arguments):
    """Return the result of a command line."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def few(sample, **columns):
    """Write the table of a sample with columns in place of its labels and truths, beside it, and return its path."""
    table = pd.read_csv(sample / "manifest.csv")[["image", "micrograph", "row", "column", "pixel_size_nm"]]
    table.assign(**columns).to_csv(sample / "few.csv", index=False)
    return sample / "few.csv"


def test_a_sample_becomes_shares_from_the_command_line(bundle, sample, tmp_path):
    """The files have their columns and sums, the page its parts, and the exit status says that a criterion is not met."""
    demands = 'accept={full: "<= 60 %", empty: "< 1 %"}'
    command = ["assay", bundle, sample / "manifest.csv", "--output", tmp_path, "--set", demands]
    result = called(*command)
    assert result.exit_code == 1, result.output
    assert "  met: full <= 60 %, is " in result.output and "  not met: empty < 1 %" in result.output
    run = tmp_path / "manifest_assay"
    shares, table = pd.read_csv(run / "shares.csv"), pd.read_csv(run / "particles.csv")
    corrected = shares[shares["estimate"] == "corrected"]
    assert corrected["class"].tolist() == CLASSES and corrected["share"].sum() == pytest.approx(1)
    assert corrected["counted"].sum() == pytest.approx(1)
    assert ((shares["low"] <= shares["share"]) & (shares["share"] <= shares["high"])).all()
    probabilities = [f"p_{name}" for name in CLASSES]
    columns = ["particle", "micrograph", "predicted", *probabilities, "refused", "reason"]
    assert list(table) == columns and len(table) == 100 and table["refused"].mean() < 0.1
    assert ((table["reason"] != "") & table["reason"].notna() == table["refused"]).all()
    assert np.allclose(table[probabilities].sum(axis=1), 1)
    # All particles of the study have labels, so their shares stand beside: those of the labels of what is called.
    with_labels = shares[shares["estimate"] == "with labels"].set_index("class")
    truth = pd.read_csv(sample / "manifest.csv")[TASK][~table["refused"]].value_counts(normalize=True)
    assert with_labels["share"].to_dict() == pytest.approx(truth.to_dict())
    page = (run / "manifest_assay.html").read_text(encoding="utf-8")
    for words in (
        "Simulated data",
        "Micrograph by micrograph",
        "What was demanded",
        "no proof that the error rates hold",
    ):
        assert words in page
    again = called(*command)
    assert again.exit_code == 1 and "unchanged, kept" in again.output


def test_a_parameter_file_does_the_same(bundle, sample, tmp_path):
    """`check` refuses a criterion on no class before any notebook; what it accepts runs, and shows calls on the micrographs."""
    path = tmp_path / "mine.yaml"
    lines = f"bundle: {bundle}\nparticles: {sample / 'particles.star'}\nnotebooks: [6_assay]\n"
    path.write_text(lines + 'accept: {ful: "< 5 %"}\n', encoding="utf-8")
    result = called("check", path)
    assert result.exit_code == 2 and "the nearest is 'full'" in result.output
    path.write_text(lines, encoding="utf-8")
    result = called("check", path)
    assert result.exit_code == 0 and "1 notebooks to run: 6_assay" in result.output, result.output
    result = called("run", path, "--output", tmp_path)
    assert result.exit_code == 0 and "is beyond every class" in result.output, result.output
    # Its STAR file states no boxes, which were each particle's own in training.
    assert "give each particle's own box, as 'box_px' or 'box_nm'" in result.output
    page = (tmp_path / "mine" / "6_assay.html").read_text(encoding="utf-8")
    assert "of 4 micrographs, drawn at random, with the boxes of their" in page
    # The STAR file came back with the calls, and is read as the same particles.
    star, table = tmp_path / "mine" / "called.star", pd.read_csv(tmp_path / "mine" / "particles.csv")
    assert "called.star" in page
    before, after = (data.open(file, data_folder=sample) for file in (sample / "particles.star", star))
    assert before.table.equals(after.table[before.table.columns]) and np.array_equal(
        before.images, after.images
    )
    words = table["predicted"].mask(table["refused"], "refused")
    assert after.table[f"temlib_{TASK}"].tolist() == words.tolist()
    probability = table[[f"p_{name}" for name in CLASSES]].max(axis=1).mask(table["refused"], 0)
    assert np.allclose(after.table[f"temlib_{TASK}_probability"], probability, atol=6e-5)
    assert before.tasks == after.tasks


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bundle": "none"}, "no file or folder"),
        ({"bundle": "empty"}, "so it is no model bundle"),
        ({"source": "gone.csv"}, "gone.csv"),
        ({"accept": '{full: "<= 5"}'}, "between 0 and 1"),
        ({"accept": "{full: few}"}, "is no demand"),
        ({"skip_bad": "2"}, "skip_bad"),
    ],
)
def test_bad_input_is_one_sentence(bundle, sample, tmp_path, change, words):
    """Status 2, the cause named, and nothing written."""
    (tmp_path / "empty").mkdir()
    model = tmp_path / change["bundle"] if "bundle" in change else bundle
    source = sample / change.get("source", "manifest.csv")
    sets = [
        word for key in ("accept", "skip_bad") if key in change for word in ("--set", f"{key}={change[key]}")
    ]
    result = called("assay", model, source, "--output", tmp_path / "out", *sets)
    assert result.exit_code == 2 and words in result.output, result.output
    assert len(result.output.strip().splitlines()) == 1 and not (tmp_path / "out").exists()


def test_a_sample_without_pixel_sizes_is_refused(bundle, sample, tmp_path):
    """A bundle that learnt at one pixel size calls nothing whose pixel size is unknown."""
    table = pd.read_csv(sample / "manifest.csv")[["image", "micrograph"]]
    path = sample / "bare.csv"
    table.to_csv(path, index=False)
    result = called("assay", bundle, path, "--output", tmp_path / "out")
    assert result.exit_code == 2 and "pixel_size_nm" in result.output


def test_what_is_not_called_is_marked_in_the_star_file(bundle, sample):
    """A skipped particle and a refused one keep their rows; other tables come back as no STAR file."""
    lines = (sample / "particles.star").read_text(encoding="utf-8").rstrip().splitlines()
    lines[-1] = re.sub(r"mrc\s+\S+", "mrc 1e6", lines[-1])  # outside its micrograph
    (sample / "gap.star").write_text("\n".join([*lines, ""]), encoding="utf-8")
    model = train.load(bundle)
    found = assay.measure(model, model.open(sample / "gap.star", skip_bad=0.1))
    found.table.loc[0, "refused"] = True
    rows = [line.split() for line in found.star().splitlines() if line.startswith("micrographs/")]
    assert len(rows) == 100 and rows[0][-2:] == ["refused", "0"] and rows[-1][-2:] == ["skipped", "0"]
    refused = found.table["refused"].sum()
    assert [row[-2] for row in rows].count("refused") == refused
    assert {row[-2] for row in rows[:-1]} == {*CLASSES, "refused"}
    assert assay.measure(model, model.open(sample / "manifest.csv")).star() == ""


def test_labels_of_a_few_stand_beside(bundle, sample):
    """Three labels in each micrograph give shares of their own; without one in a micrograph they are not used, and that is said."""
    model = train.load(bundle)
    labels = pd.read_csv(sample / "manifest.csv")
    first = labels.groupby("micrograph").cumcount() < 3
    found = assay.measure(model, model.open(few(sample, **{TASK: labels[TASK].where(first)})))
    beside = found.shares[found.shares["estimate"] == "with labels"]
    assert (beside["labels"] == 3 * labels["micrograph"].nunique()).all() and len(found.carried)
    first &= labels["micrograph"] != labels["micrograph"].iloc[0]
    found = assay.measure(model, model.open(few(sample, **{TASK: labels[TASK].where(first)})))
    assert set(found.shares["estimate"]) == {"corrected"} and "has no labelled particle" in found.notes[-1]
    found = assay.measure(model, model.open(few(sample)))
    assert set(found.shares["estimate"]) == {"corrected"} and found.carried.empty


def test_sessions_are_known_where_the_table_names_them(bundle, sample):
    """The card has the three sessions learnt from, the calls the one of the sample; the page says so of the interval."""
    model = train.load(bundle)
    assert set(model.confusion["session"]) == {"s1", "s2", "s3"}
    found = assay.measure(model, model.open(sample / "manifest.csv"))
    assert set(found.calls["session"]) == {"s1"}
    assert "between the 3 sessions learnt from" in " ".join(found.summary(found.criteria({}))["verdict"])
    bare = model.open(few(sample))
    assert bare.sessions is None and "session" not in assay.measure(model, bare).calls
    # A micrograph of two sessions is a name that was given twice.
    assert model.open(few(sample, session=[f"s{i % 2}" for i in range(100)])).sessions is None


def test_particles_that_were_learnt_from_are_known(bundle):
    """Assaying the training particles themselves is said, before the shares."""
    model = train.load(bundle)
    particles = model.open(bundle.parents[1] / "a" / "manifest.csv")
    found = assay.measure(model, particles)
    said = found.summary(found.criteria({}))
    assert said["verdict"][0].startswith("300 of these particles are among those that the models learnt from")
    assert json.loads(json.dumps(said)) == said


def test_a_sample_prepared_otherwise_is_flagged(bundle, sample):
    """Windows cut from whole micrographs show more than the crops that were learnt from; crops of study B do not."""
    model = train.load(bundle)
    assert model.unlike(model.open(sample / "manifest.csv")) == {}
    beyond = model.unlike(model.open(sample / "particles.star"))
    value, _, high = beyond["side of the box (nm)"]
    assert value == pytest.approx(176) and value > high


def test_the_chart_shows_the_micrograph_that_differs():
    """Of 30 micrographs of 20 particles, about 30 % called a, the one in which all are lies outside, and no other."""
    rng = np.random.default_rng(0)
    counts = np.stack([rng.binomial(20, 0.3, 30), np.full(30, 20)], axis=1)
    counts[7, 0] = 20
    counts[:, 1] -= counts[:, 0]
    names = [name for row in counts for name in np.repeat(["a", "b"], row)]
    table = pd.DataFrame({"micrograph": np.repeat([f"new{i}" for i in range(30)], 20), "predicted": names})
    table["refused"] = False
    correct = assay.Correction(rates_of(np.tile([[18, 2], [3, 17]], (4, 1, 1))))
    found = assay.Sample(None, None, table, correct, calls_of(counts), pd.DataFrame(), pd.DataFrame(), [])
    chart = found.by_micrograph()
    assert set(chart["micrograph"][chart["outside"]]) == {"new7"}
    assert chart["share"][chart["class"] == "a"].tolist() == (counts[:, 0] / 20).tolist()


def test_criteria_are_decided_by_the_interval():
    """A share lies between 0 and 1, a demand on another class names the nearest."""
    found = assay.parse_criteria({"full": ">= 90 %"}, ["empty", "full"])
    assert found == {"full": ("full >= 90 %", True, 0.9)}
    with pytest.raises(InputError, match="nearest is 'full'"):
        assay.parse_criteria({"ful": ">= 90 %"}, ["empty", "full"])


def test_windows_without_a_particle_are_refused_and_count_for_no_class(bundle, sample):
    """A third as many windows of noise as particles leave the shares where they were, and are said to be refused."""
    model = train.load(bundle)
    particles = model.open(sample / "manifest.csv")
    rows, columns = np.indices(particles.images.shape[1:])
    rng, alone = np.random.default_rng(0), assay.measure(model, particles)
    noise = np.clip(rng.normal(size=particles.images[::3].shape) + 0.02 * (rows + columns), -8, 8)
    noise = (noise - np.median(noise, axis=(1, 2), keepdims=True)).astype(np.float32)
    table = particles.table.iloc[::3]
    table = pd.concat([particles.table, table.assign(particle="w" + table["particle"])], ignore_index=True)
    more = replace(particles, table=table, images=np.concatenate([particles.images, noise]))
    found = assay.measure(model, more)
    assert found.table["refused"][len(particles) :].mean() > 0.9
    assert (found.particles.table["call"] == "refused").sum() == found.table["refused"].sum()
    assert found.corrected["refused"].iloc[0] == pytest.approx(found.table["refused"].mean())
    both = (part.corrected["share"].to_numpy() for part in (alone, found))
    assert np.abs(np.subtract(*both)).max() < 0.05
    said = found.summary(found.criteria({}))["verdict"]
    assert any(f"{found.table['refused'].sum()} refused, which count for no class" in words for words in said)


def test_a_bundle_that_cannot_refuse_says_so(bundle, sample, tmp_path):
    """Of protocol 1; its card counted no refused particle."""
    folder = shutil.copytree(bundle, tmp_path / "old")
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"protocol": 1}))
    sums = json.loads((folder / "checksums.json").read_text())
    sums["card.json"] = hashlib.sha256((folder / "card.json").read_bytes()).hexdigest()
    (folder / "checksums.json").write_text(json.dumps(sums))
    (folder / "refusal.npz").unlink()
    model = train.load(folder)
    found = assay.measure(model, model.open(sample / "manifest.csv"))
    assert not found.table["refused"].any() and "saved before anything was refused" in found.notes[-1]


def test_a_classifier_that_saw_no_real_particle_says_so_first_and_decides_nothing(bundle, sample):
    """Of simulated particles it says nothing of the kind; of real ones the rates are in doubt until some have labels."""
    model = train.load(bundle)
    particles = model.open(sample / "manifest.csv")
    ours, real = (
        assay.measure(model, each)
        for each in (particles, replace(particles, simulated=False, table=particles.table.drop(columns=TASK)))
    )
    assert "seen no real particle" not in str(ours.summary(ours.criteria({}))["verdict"])
    demanded = real.criteria({"full": "< 100 %"})
    assert demanded["verdict"].tolist() == ["undecided"]
    first, second, *_ = real.summary(demanded)["verdict"]
    assert first.startswith(
        "The classifier has seen no real particle. How it does on real ones has not been measured."
    )
    assert "those of simulated particles" in second
