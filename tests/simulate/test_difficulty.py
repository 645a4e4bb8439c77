"""How hard simulated particles are, by the benchmark's own learners; minutes each."""

import numpy as np
import pytest

from benchmarks import difficulty

pytestmark = pytest.mark.slow


def test_splitting_by_particle_leaks():
    """The rim of raw crops alone scores more when their micrographs are met in training; five studies, both tasks."""
    wide = difficulty.leakage(seeds=range(31, 36))
    assert (wide["gain"].groupby("task").mean() > 0.01).all() and (wide["gain"] > 0).mean() >= 0.8


def test_more_pixels_and_more_dose_are_easier():
    """True lamellarity by the SVM: 64 pixels beat 28 in the same window, 60 e⁻/Å² beat 1 e⁻/Å²."""
    default = difficulty.Data(600)
    few, many = (default.score(difficulty.by_svm, size)[0] for size in (28, 64))
    faint, bright = (
        difficulty.Data(
            600, dose=(dose, dose), defocus_um=(1.5, 1.5), ice_nm=(90.0, 110.0), artefacts=0.0
        ).score(difficulty.by_svm, 64)[0]
        for dose in (1.0, 60.0)
    )
    assert few + 0.03 < many and faint + 0.1 < bright and np.isfinite([few, many, faint, bright]).all()
