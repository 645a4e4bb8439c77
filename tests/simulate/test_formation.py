"""Stages of the image, and Thon rings against theory."""

import numpy as np

from temlib import simulate


def test_stages_follow_one_particle():
    """Seven named steps: potential without noise, counts that are whole, a crop smaller than the field."""
    steps = {stage.name: stage for stage in simulate.stages(1)}
    assert list(steps) == ["specimen", "ice", "contrast", "attenuation", "shot noise", "camera", "crop"]
    assert steps["specimen"].image[0, 0] == 0
    assert np.array_equal(steps["shot noise"].image, np.rint(steps["shot noise"].image))
    assert steps["crop"].image.shape < steps["camera"].image.shape
    assert all(stage.sentence.endswith(".") and stage.unit for stage in steps.values())


def test_thon_rings_agree_with_theory():
    """The table for the notebook shows three zeros within 1 %."""
    table = simulate.thon_rings()
    assert table["zero"].tolist() == [1, 2, 3]
    assert table["relative_error"].abs().max() < 0.01
