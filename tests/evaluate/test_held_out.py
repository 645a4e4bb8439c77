"""Which rows count, and each particle once."""

import numpy as np
import pandas as pd
import pytest

from temlib.evaluate.held_out import HeldOut, by_model, classes_of
from temlib.files import InputError


def _rows(**columns):
    """Return three particles of one model with other columns."""
    rows = {"particle": ["x", "y", "z"], "model": "m", "truth": ["a", "b", "a"], "predicted": ["a", "b", "b"]}
    return pd.DataFrame(rows | columns)


def test_labels_become_positions_in_the_classes():
    """In the order given."""
    held = by_model(_rows(), ["b", "a"])["m"]
    assert held.truth.tolist() == [1, 0, 1] and held.predicted.tolist() == [1, 0, 0]


def test_particles_are_independent_without_micrographs():
    """Also where each micrograph has one particle; not where two share one."""
    assert by_model(_rows(), ["a", "b"])["m"].independent
    assert by_model(_rows(micrograph=[1, 2, 3]), ["a", "b"])["m"].independent
    assert not by_model(_rows(micrograph=[1, 1, 3]), ["a", "b"])["m"].independent


def test_unknown_micrograph_is_one_of_its_own():
    """Two particles without a micrograph are not taken for neighbours."""
    held = by_model(_rows(micrograph=["m1", None, None]), ["a", "b"])["m"]
    assert held.micrograph.tolist() == [0, 1, 2]


def test_units_sum_their_particles():
    """Micrographs where particles share them."""
    held = by_model(_rows(micrograph=[1, 1, 3]), ["a", "b"])["m"]
    np.testing.assert_array_equal(held.sums(np.array([[1.0], [2], [4]])), [[3], [4]])


def test_units_of_independent_particles_are_the_particles():
    """Nothing is summed."""
    held = by_model(_rows(), ["a", "b"])["m"]
    assert held.units == 3


def test_take_renumbers_micrographs():
    """No unit without particles remains."""
    held = by_model(_rows(micrograph=[1, 1, 3]), ["a", "b"])["m"].take(np.array([2]))
    assert isinstance(held, HeldOut) and held.units == 1 and held.particle.tolist() == ["z"]


def test_model_that_predicts_nothing_is_refused():
    """The message names it."""
    with pytest.raises(InputError, match="The model 'm' predicts no class"):
        by_model(_rows(predicted=None), ["a", "b"])


def test_particle_in_two_micrographs_is_refused():
    """A name must stand for one particle."""
    rows = pd.concat([_rows(micrograph="m1"), _rows(micrograph="m2")])
    with pytest.raises(InputError, match="'x' has two values of 'micrograph'"):
        by_model(rows, ["a", "b"])


def test_classes_that_are_numbers_stand_in_natural_order():
    """2 before 10, and c2 before c10; each name is a class of its own, as it was written."""
    names = ["10", "2", "01", "1", "c10", "c2", "c2b"]
    table = pd.DataFrame({"particle": names, "model": "m", "truth": names, "predicted": names})
    assert classes_of(table) == ["01", "1", "2", "10", "c2", "c2b", "c10"]
