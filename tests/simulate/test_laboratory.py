"""A study as people have it: micrographs, positions and a spreadsheet, from disk to the answer, with nothing edited."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from temlib import simulate
from temlib.__main__ import main
from temlib.data import open as open_data
from temlib.files import InputError

COUNT = 200
EVEN = {"unilamellar": 0.5, "multilamellar": 0.5}  # few particles, yet both classes in most micrographs


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    """MRC micrographs, `particles.star` and `labels.csv`: a German spreadsheet by two annotators, in other order."""
    made = simulate.write(
        tmp_path_factory.mktemp("made") / "study", COUNT, seed=3, micrographs=True, prevalence=EVEN
    )
    folder = tmp_path_factory.mktemp("study with spaces")
    for name in ("micrographs", "particles.star"):
        (made / name).rename(folder / name)
    truth = pd.read_csv(made / "manifest.csv")
    number = truth.groupby("micrograph").cumcount() + 1
    second = truth["lamellarity"].where(np.arange(COUNT) % 9 > 0, "uncertain")
    table = pd.DataFrame(
        {
            "micrograph": truth["micrograph"],
            "number": number,
            "Fenster": truth["box_px"],
            "box_nm": truth["box_px"] * truth["pixel_size_nm"] - 0.5,
            "lamellarity@Jürgen": truth["lamellarity"],
            "lamellarity@Zoë": second,
            "Größe": truth["truth_diameter_nm"].round(1),
        }
    )
    table = table.sample(frac=1, random_state=0)
    table.to_csv(folder / "labels.csv", sep=";", decimal=",", encoding="cp1252", index=False)
    return folder, made


def test_the_study_opens(laboratory):
    """Scale, places and labels: crops equal those that the simulator cut itself."""
    folder, made = laboratory
    data = open_data(folder / "labels.csv", pixel_nm=3.0, input_size=24)
    other = open_data(made / "manifest.csv", pixel_nm=3.0, input_size=24)
    assert data.scale == "physical" and data.tasks == ["lamellarity"] and not data.simulated
    assert data.table["pixel_size_nm"].eq(1.0).all() and data.table["micrograph"].nunique() == 8
    assert data.table["Größe"].tolist() == other.table["truth_diameter_nm"].round(1).tolist()
    alike = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(data.images, other.images)]
    assert min(alike) > 0.999
    differ = (
        other.table["lamellarity"].where(np.arange(COUNT) % 9 > 0, "uncertain") != other.table["lamellarity"]
    )
    assert data.table["lamellarity"].eq(other.table["lamellarity"].mask(differ, "uncertain")).all()
    assert len(data.agreement("lamellarity").disagreements) == differ.sum()
    assert any("cp1252, separated by semicolon, decimal commas" in note for note in data.notes)


def test_a_dm4_micrograph_is_read_or_refused_for_the_true_reason(tmp_path):
    """Without the optional reader the sentence names it and its licence."""
    source = Path(__file__).parents[3] / "shared" / "data" / "formats" / "particlespy_JEOL_HAADF.dm4"
    if not source.exists():
        pytest.skip("the files of ../shared/data/formats are absent")
    (tmp_path / "m.dm4").write_bytes(source.read_bytes())
    rows = [
        (f"m.dm4;{r},5;{c};20;{'ab'[(r + c) % 2]}\n") for r in range(20, 90, 10) for c in range(20, 90, 7)
    ]
    (tmp_path / "m.csv").write_text("image;row;column;box_px;class\n" + "".join(rows))
    if importlib.util.find_spec("rsciio") is None:
        with pytest.raises(InputError, match="line 2 .*: m.dm4 needs rosettasciio.*GPL-3.0.*temlib.formats"):
            open_data(tmp_path / "m.csv", input_size=20, pixel_nm=1.249)
        return
    data = open_data(tmp_path / "m.csv", input_size=20, pixel_nm=1.24901)
    assert len(data) == len(rows) and np.allclose(data.table["pixel_size_nm"], 1.24901, rtol=1e-4)


@pytest.mark.slow
def test_the_study_goes_through_the_notebooks(laboratory, tmp_path):
    """Notebooks 1, 3 and 4 run on it through a parameter file of a few lines."""
    folder, _ = laboratory
    (tmp_path / "mine.yaml").write_text(
        f"particles: {json.dumps(str(folder / 'labels.csv'))}\ntask: lamellarity\nfolds: 2\nepochs: 1\n"
        "models: [svm_texture, residual]\nprimary: residual\ninput_size: 24\npixel_nm: 5.0\n",
        encoding="utf-8",
    )
    arguments = ["run", str(tmp_path / "mine.yaml"), "--only", "1", "--only", "3", "--only", "4"]
    result = CliRunner().invoke(main, [*arguments, "--output", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    run = tmp_path / "out" / "mine"
    assert set(pd.read_csv(run / "measures.csv")["model"]) == {"svm_texture", "residual"}
    page = (run / "1_explore.html").read_text(encoding="utf-8")
    for words in (
        "cp1252, separated by semicolon, decimal commas",
        "in a window of 120 nm",
        "agree with kappa",
        "Jürgen",
    ):
        assert words in page
    assert "Simulated data" not in page
