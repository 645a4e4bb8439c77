"""What is mistaken for a particle, or spoils one."""

import math

import numpy as np
import pytest

from temlib import simulate
from temlib.simulate import artefacts, shapes, vesicles


def _ball(row, column, diameter):
    form = shapes.Form("sphere", np.full(3, diameter / 2 - 2), np.eye(3))
    place = np.array([row, column], float)
    return vesicles.Vesicle(place, diameter, form, np.zeros(1), np.zeros((1, 2)), 4.0, np.zeros(6))


def test_largest_vesicle_is_pressed_to_its_limit():
    """Ice of 84 nm leaves 80 nm between two films of water; at 40 % that is a vesicle of 200 nm."""
    assert artefacts.largest_in(84.0) == pytest.approx(200)


def test_crowd_finds_free_places():
    """Discs placed in a roomy field do not touch, and stay inside."""
    crowd, rng = artefacts.Crowd(np.array([1000.0, 1000.0])), np.random.default_rng(0)
    places = np.array([crowd.place(30.0, 40.0, rng) for _ in range(40)])
    distance = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) + 1e9 * np.eye(40)
    assert distance.min() > 62
    assert places.min() >= 40
    assert places.max() <= 960


def test_overlap_of_two_equal_discs_is_the_lens():
    """Radii 50 at a distance of 50: the lens is (2π/3 - √3/2) R²."""
    one, two = artefacts.overlaps([_ball(0, 0, 100), _ball(0, 50, 100)], [])
    assert one == two == pytest.approx((2 * math.pi / 3 - math.sqrt(3) / 2) / math.pi)


def test_small_thing_inside_covers_its_own_share():
    """A spot of radius 5 in a disc of radius 50 covers a hundredth."""
    spot = artefacts.Debris(np.array([3.0, 4.0]), 5.0, vesicles.Payload())
    assert artefacts.overlaps([_ball(0, 0, 100)], [spot])[0] == pytest.approx(0.01, rel=1e-3)


def test_carbon_covers_what_lies_outside_its_hole():
    """Wholly inside the hole nothing is covered, wholly outside all."""
    carbon = artefacts.Carbon(np.array([0.0, 0.0]), 500.0)
    inside, edge, outside = artefacts.overlaps(
        [_ball(0, 0, 100), _ball(0, 500, 100), _ball(0, 900, 100)], [carbon]
    )
    assert (inside, edge, outside) == pytest.approx((0, 0.5, 1))


def test_carbon_darkens_and_grains_its_side_only():
    """Behind the film fewer electrons arrive; the hole stays as it was."""
    carbon = artefacts.Carbon(np.array([64.0, 0.0]), 64.0)
    bright, body = np.ones((128, 128), np.float32), np.zeros((128, 128), np.float32)
    artefacts.attenuate(bright, 1.0, [carbon], 300.0)
    artefacts.paint_artefacts(body, 1.0, [carbon], np.random.default_rng(0))
    assert bright[64, 10] == 1
    assert bright[64, 100] == pytest.approx(math.exp(-2 * artefacts.CARBON_NM / 300))
    assert body[:, 100:].std() > 1
    assert not body[64, :50].any()


def test_nothing_is_added_when_nothing_is_asked_for():
    """A study without artefacts has particles only."""
    assert simulate.study(20, artefacts=0.0).scene(0).others == []
