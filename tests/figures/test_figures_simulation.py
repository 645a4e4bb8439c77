"""Pictures about the simulator."""

import types

import pytest

from temlib import figures
from temlib.figures import explore

SIMULATED, REAL = (types.SimpleNamespace(simulated=flag) for flag in (True, False))


@pytest.mark.parametrize("name", ["stages", "thon_rings"])
def test_particles_that_were_not_simulated_get_a_sentence(name):
    """Nothing is simulated for real data; a sentence says why the section is empty."""
    assert "not simulated" in getattr(explore, name)(REAL)._repr_html_()


def test_stages_are_drawn_with_units():
    """Seven stages, each with its unit, and a plot."""
    picture = figures.stages(SIMULATED)
    assert len(picture.frame()) == 7
    assert picture.frame()["unit"].str.len().min() > 0
    assert picture.plot().axes


def test_thon_rings_are_drawn_with_their_error():
    """Three zeros within 1 %, and a plot."""
    picture = figures.thon_rings(SIMULATED)
    assert picture.frame()["relative_error"].abs().max() < 0.01
    assert picture.plot().axes
