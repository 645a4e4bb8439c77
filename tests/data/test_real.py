import pytest

from temlib import evaluate, train
from temlib.data import open as open_data
from tests.conftest import REAL

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not REAL.exists(), reason="the real particle sets are not beside this checkout"),
]


@pytest.mark.parametrize(
    ("name", "task", "classes"), [("apoferritin_cryoem", "content", 2), ("supported_np3_stem", "count", 3)]
)
def test_real_particles_are_learnt(name, task, classes):
    """On real electron micrographs the SVM, tested on other micrographs, is above chance with its whole interval."""
    data = open_data(REAL / name / "manifest.csv", input_size=48)
    assert data.scale == "fill"
    rows = train.cross_validate(data, task, ["svm_texture"], train.Settings(folds=5)).predictions
    table = evaluate.Predictions(rows).measures(task)
    found = table[(table["measure"] == "balanced accuracy") & (table["class"] == "all")].iloc[0]
    assert found["n"] == len(data) and found["low"] > 1 / classes
