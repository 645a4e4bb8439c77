"""Line integrals against closed forms."""

import math

import numpy as np
import pytest

from temlib.simulate import projection, shapes


def _image(side=128):
    return np.zeros((side, side), np.float32)


def _tilted(seed=3):
    return shapes.frame(shapes.direction(np.random.default_rng(seed)))


def test_ball_projects_to_its_chord():
    """A ball of 1 V and radius 30 nm adds 2 sqrt(30² - r²) at distance r."""
    image = _image()
    solids = projection.ellipsoids((64.0, 60.0), np.array([[30.0] * 3]), np.eye(3), np.ones(1))
    projection.add_ellipsoids(image, 1.0, solids)
    assert image[64, 60] == pytest.approx(60)
    assert image[64 + 18, 60] == pytest.approx(2 * math.sqrt(900 - 18**2))
    assert image[64 + 31, 60] == 0


def test_tilted_ellipsoid_keeps_its_volume():
    """The projection of a solid sums to potential times volume in any orientation."""
    image = _image(256)
    solids = projection.ellipsoids((64.0, 64.0), np.array([[40.0, 25.0, 15.0]]), _tilted(), np.array([0.7]))
    projection.add_ellipsoids(image, 0.5, solids)
    assert image.sum() * 0.25 == pytest.approx(0.7 * 4 / 3 * math.pi * 40 * 25 * 15, rel=2e-3)


def test_shells_without_warp_are_their_ellipsoids():
    """Seen through no deformation, shells are what the plain sum of solids is."""
    one, two = _image(), _image()
    axes = np.array([[40.0, 30.0, 35.0], [36.0, 26.0, 31.0]])
    solids = projection.ellipsoids((60.0, 66.0), axes, _tilted(), np.array([1.0, -1.0]))
    projection.add_ellipsoids(one, 1.0, solids)
    projection.add_shells(two, 1.0, solids, np.zeros(6))
    np.testing.assert_allclose(one, two, atol=2e-2)


def test_warp_makes_the_outline_undulate_by_its_formula():
    """With δ = 0.1 cos 3θ a ball of radius 30.3 ends at 33.3 where θ = 0 and at 27.3 where θ = 180°."""
    image = _image()
    solids = projection.ellipsoids((64.0, 64.0), np.array([[30.3] * 3]), np.eye(3), np.ones(1))
    projection.add_shells(image, 1.0, solids, np.array([0.1, 0, 0, 0, 0, 0]))
    line = np.flatnonzero(image[64]) - 64
    assert (line.min(), line.max()) == (-27, 33)


def test_revolution_of_a_circle_is_a_shell_of_balls():
    """A spherical shell of 1 V between 28 and 32 nm, marched through, has the chords of two balls."""
    angle = np.linspace(0, math.pi, 200)
    meridian = 30 * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    table = projection.distances(meridian, True, 34.0)
    image = _image()
    axis = shapes.direction(np.random.default_rng(1))
    profile = np.exp(-0.5 * (np.arange(-4, 4.01, 0.1) / 0.8) ** 2)
    projection.add_revolution(
        image, 1.0, np.array([64.0, 64.0]), axis, (34.0,) * 3, table, profile, -4.0, 0.1
    )
    balls = _image()
    offsets = np.arange(4, -4.05, -0.1)
    steps = np.diff(np.exp(-0.5 * ((offsets - 0.05) / 0.8) ** 2), prepend=0)
    solids = projection.ellipsoids((64.0, 64.0), 30 + offsets[:, None] * np.ones(3), np.eye(3), steps)
    projection.add_ellipsoids(balls, 1.0, solids)
    assert np.abs(image - balls).max() < 0.06 * balls.max()
    assert image.sum() == pytest.approx(balls.sum(), rel=0.01)


def test_distances_are_negative_inside():
    """The middle of a ball of radius 20 is 20 nm inside, a point at 25 nm is 5 nm outside."""
    angle = np.linspace(0, math.pi, 200)
    table = projection.distances(20 * np.stack([np.sin(angle), np.cos(angle)], axis=1), True, 30.0)
    middle = (table.shape[1] - 1) // 2
    assert table[0, middle] == pytest.approx(-20, abs=0.01)
    assert table[25, middle] == pytest.approx(5, abs=0.01)


def test_tilted_rod_keeps_its_volume():
    """A square-cut rod sums to potential times the volume of its cylinder."""
    image, section = _image(), np.full((101, 101), 1.5, np.float32)
    projection.add_rod(image, 1.0, np.array([64.0, 64.0]), _tilted(), 40.0, section, 0.2, 0.0)
    assert image.sum() == pytest.approx(1.5 * math.pi * 10**2 * 40, rel=0.02)


def test_rod_along_the_beam_is_a_dot():
    """Seen end-on a rod is as wide as its section and as high as it is long."""
    image, section = _image(), np.ones((101, 101), np.float32)
    projection.add_rod(image, 1.0, np.array([64.0, 64.0]), np.eye(3), 40.0, section, 0.2, 0.0)
    assert image[64, 64] == pytest.approx(40)
    assert image[64, 64 + 11] == 0


def test_bodies_are_cut_at_the_edge_not_wrapped():
    """What leaves the image on one side does not come back on the other."""
    image = _image(64)
    solids = projection.ellipsoids((0.0, 32.0), np.array([[20.0] * 3]), np.eye(3), np.ones(1))
    projection.add_ellipsoids(image, 1.0, solids)
    assert image[0].max() > 0
    assert not image[32:].any()
