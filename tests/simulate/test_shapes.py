"""Forms of membranes: area kept, ice respected."""

import math

import numpy as np
import pytest

from temlib.simulate import shapes


@pytest.mark.parametrize("name", list(shapes.FORMS))
def test_form_has_the_area_of_its_sphere(name):
    """Whatever the form, its membrane has the area of the sphere of the same diameter."""
    form = shapes.draw_form(name, 90.0, np.random.default_rng(2))
    area = (
        shapes.area_ellipsoid(form.axes) if form.meridian is None else shapes.area_revolution(form.meridian)
    )
    assert area == pytest.approx(math.pi * 90**2, rel=1e-6)


def test_area_of_a_prolate_is_that_of_the_textbook():
    """Half axes 1, 1, 2: 2π (1 + 2 / e · arcsin e), e² = 3/4."""
    e = math.sqrt(0.75)
    assert shapes.area_ellipsoid((1, 1, 2)) == pytest.approx(
        2 * math.pi * (1 + 2 / e * math.asin(e)), rel=0.012
    )


def test_area_of_a_tube_is_sphere_plus_cylinder():
    """Two half balls of radius 1 and a cylinder of length 3."""
    assert shapes.area_revolution(shapes.pear(1.0, 3.0)) == pytest.approx(4 * math.pi + 6 * math.pi, rel=2e-3)


def test_pear_is_smooth_where_ball_meets_cone():
    """No corner of the meridian turns by more than a few segments of its arcs."""
    steps = np.diff(shapes.pear(0.5, 1.2), axis=0)
    angles = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    assert np.abs(np.diff(angles)).max() < 0.12


@pytest.mark.parametrize("name", list(shapes.FORMS))
def test_fit_leaves_water_above_and_below(name):
    """In ice of 60 nm every vesicle of 100 nm is brought to at most 56 nm of height."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        form = shapes.fit_to_ice(shapes.draw_form(name, 100.0, rng), 100.0, 60.0)
        assert form.extent[2] <= 28 + 1e-6


def test_pressing_keeps_the_area():
    """A sphere pressed into thin ice is an oblate with the same membrane."""
    form = shapes.fit_to_ice(shapes.draw_form("sphere", 100.0, np.random.default_rng(1)), 100.0, 60.0)
    assert form.name == "flattened"
    assert shapes.area_ellipsoid(form.axes) == pytest.approx(math.pi * 1e4, rel=0.01)


def test_frame_is_a_rotation():
    """The frame of any axis is orthonormal, right-handed, and ends with the axis."""
    for seed in range(5):
        axis = shapes.direction(np.random.default_rng(seed))
        frame = shapes.frame(axis)
        np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(frame[:, 2], axis)
        assert np.linalg.det(frame) == pytest.approx(1)


def test_pick_follows_the_shares():
    """A share of 1 is always drawn, a share of 0 never."""
    rng = np.random.default_rng(0)
    assert {shapes.pick({"a": 0.0, "b": 1.0, "c": 0.0}, rng) for _ in range(50)} == {"b"}
