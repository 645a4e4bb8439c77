"""A new sample assayed by a saved model, from the command line to the page; what is refused, and what is said."""

import json

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
    assert list(table) == columns and len(table) == 100 and not table["refused"].any()
    assert np.allclose(table[probabilities].sum(axis=1), 1)
    # All particles of the study have labels, so their shares stand beside: those of the labels themselves.
    with_labels = shares[shares["estimate"] == "with labels"].set_index("class")
    truth = pd.read_csv(sample / "manifest.csv")[TASK].value_counts(normalize=True)
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
    page = (tmp_path / "mine" / "6_assay.html").read_text(encoding="utf-8")
    assert "of 4 micrographs, drawn at random, with the boxes of their" in page


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
