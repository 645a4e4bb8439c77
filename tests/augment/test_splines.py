"""The splines against scipy, and what is prepared for them once."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from temlib.augment import Augmentation, affine_matrices
from temlib.files import InputError
from tests.augment.conftest import SLIDES, noise, still


@pytest.mark.parametrize("fill", ["mirror", "nearest"])
@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("shape", [(2, 3), (5, 8), (31, 31), (96, 96), (64, 97), (300, 201)])
def test_every_pixel_agrees_with_scipy(shape, order, fill):
    """Draws over all parameters, wider than the slides', agree with scipy to 1e-6 of the range."""
    wide = Augmentation(shear=(-0.5, 0.5), zoom=(0.4, 2), order=order, fill=fill, separate_zoom=True)
    images, transforms = noise(6, *shape), wide.draw(6, 3)
    matrices = affine_matrices(transforms, shape)
    oracle = [
        ndimage.affine_transform(image.astype(float), m[:, :2], m[:, 2], order=order, mode=fill)
        for image, m in zip(images, matrices)
    ]
    assert np.abs(wide.apply(images, transforms) - oracle).max() < 1e-6 * np.ptp(images)


@pytest.mark.parametrize("fill", ["mirror", "nearest"])
def test_the_spline_alone_gives_the_quarter_turn_too(fill):
    """Near 90°, where no pixel is copied, the compiled spline agrees with rot90 to rounding."""
    images = noise(2, 16, 16)
    turned = Augmentation(fill=fill).apply(images, still(2, rotation_deg=90 + 1e-6))
    assert np.abs(turned - np.rot90(images, axes=(1, 2))).max() < 1e-5


def test_prepared_images_give_what_apply_gives():
    """Prefiltered once and picked by index, repeats included, the result is that of `apply`."""
    images, index = noise(5, 20, 20), np.array([4, 0, 4])
    transforms = SLIDES.draw(3, 1)
    prepared = SLIDES.prepare(images)
    assert np.array_equal(
        SLIDES.apply_prepared(prepared, transforms, index), SLIDES.apply(images[index], transforms)
    )


def test_apply_is_deterministic_and_leaves_its_input():
    """Two calls give the same bits; the images given are not written to."""
    images, transforms = noise(40, 33, 33), SLIDES.draw(40, 1)
    before = images.copy()
    first = SLIDES.apply(images, transforms)
    assert first.dtype == np.float32
    assert np.array_equal(first, SLIDES.apply(images, transforms))
    assert np.array_equal(images, before)


@pytest.mark.parametrize("index", [[-1], [3], [0.5], [[0]]])
def test_an_index_outside_the_prepared_images_is_refused(index):
    """The compiled loop never reads beyond the array."""
    prepared = SLIDES.prepare(noise(3, 8, 8))
    with pytest.raises(InputError, match="index"):
        SLIDES.apply_prepared(prepared, still(1), index)


def test_images_prepared_otherwise_are_refused():
    """Coefficients of order 3 are no pixels."""
    with pytest.raises(InputError, match="prepare them again"):
        Augmentation(order=1).apply_prepared(SLIDES.prepare(noise(1, 8, 8)), still(1))


def test_importing_the_module_does_not_import_numba():
    """numba is imported with the first image, TensorFlow and Keras not at all."""
    code = "import sys, temlib.augment; print({'numba', 'keras', 'tensorflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
