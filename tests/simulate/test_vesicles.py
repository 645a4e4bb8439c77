"""Liposomes as drawn and painted."""

import numpy as np
import pytest

from temlib.simulate import shapes, vesicles


def _ball(diameter, head, **parts):
    form = shapes.Form("sphere", np.full(3, diameter / 2), np.eye(3))
    return vesicles.Vesicle(
        np.array([60.0, 60.0]), diameter, form, np.zeros(1), np.zeros((1, 2)), head, np.zeros(6), **parts
    )


def _radial(image, pixel, center):
    """Radial mean in rings of one pixel; radii in nm."""
    rows, columns = np.indices(image.shape) * pixel
    radius = np.hypot(rows - center, columns - center)
    ring = np.rint(radius / pixel).astype(int).ravel()
    total = np.bincount(ring)
    return np.bincount(ring, radius.ravel()) / total, np.bincount(ring, image.ravel()) / total


@pytest.mark.parametrize("head", [3.6, 3.96, 4.6])
def test_radial_average_is_the_projection_of_the_bilayer(head):
    """The painted shell is the line integral of its profile, within 2 % of the largest value."""
    image = np.zeros((600, 600), np.float32)
    vesicles.paint_vesicle(image, 0.2, _ball(100.0, head))
    radius, mean = _radial(image, 0.2, 60.0)
    part = (radius > 40) & (radius < 56)
    beam = np.arange(0.0, 45.0, 0.01)
    away = np.hypot(radius[part, None], beam) - 50.0
    expected = 2 * 0.01 * vesicles.bilayer(away, head, 0.06).sum(axis=1)
    np.testing.assert_allclose(mean[part], expected, atol=0.02 * expected.max())


def test_shells_sum_to_the_bilayer():
    """The steps from outside inwards add up to the profile, and to nothing inside."""
    offsets, steps = vesicles.shells(4.0, 0.0, 0.2)
    levels = np.cumsum(steps)
    middle = offsets[:-1] - vesicles.SHELL_NM / 2
    np.testing.assert_allclose(levels[:-1], vesicles.bilayer(middle, 4.0, 0.06), atol=1e-9)
    assert levels[-1] == pytest.approx(0, abs=1e-9)


def test_bilayer_has_two_peaks_and_a_trough():
    """Electrons see head groups above chains, these above the methyl groups in the middle, and all above ice."""
    at = vesicles.bilayer(np.array([-2.0, -0.9, 0.0, 2.0]), 4.0)
    assert at[0] == pytest.approx(at[3])
    assert at[0] > at[1] > at[2] > 0


def test_multilamellar_vesicles_are_of_all_kinds_with_water_between_bilayers():
    """Lamellae keep 5.8 nm apart and end inside; some vesicles hold others, some bilayers to the core, and none has one bilayer."""
    rng, kinds = np.random.default_rng(0), set()
    for _ in range(200):
        vesicle = vesicles.draw_vesicle(90.0, 120.0, rng, multilamellar=True)
        assert vesicle.lamellae >= 2
        assert not vesicle.gap_nm < 5.8
        assert vesicle.depths[-1] < min(vesicle.form.axes)
        kinds.add("vesicles" if vesicle.inner else "many" if len(vesicle.depths) > 6 else "few")
        for inner in vesicle.inner:
            reach = np.hypot(*(inner.place - vesicle.shifts[-1])) + inner.extent.max()
            assert vesicle.form.meridian is not None or reach < max(vesicle.form.axes) - vesicle.depths[-1]
    assert kinds == {"vesicles", "many", "few"}


def test_unilamellar_vesicles_hold_no_other():
    """A vesicle within a vesicle is one bilayer within another."""
    rng = np.random.default_rng(0)
    assert all(vesicles.draw_vesicle(120.0, 150.0, rng).lamellae == 1 for _ in range(100))


@pytest.mark.parametrize("filled", [False, True])
def test_fill_lies_on_the_asked_side_of_the_threshold(filled):
    """Filled means above the threshold, else at most the threshold."""
    rng = np.random.default_rng(0)
    fills = [
        vesicles.draw_vesicle(80.0, 120.0, rng, filled=filled, threshold=0.3).payload.fill for _ in range(200)
    ]
    assert all((fill > 0.3) == filled for fill in fills)


@pytest.mark.parametrize("kind", list(vesicles.KINDS))
def test_payload_lies_inside_its_lumen(kind):
    """What a lumen of 30 nm carries is painted within 30 nm of the middle, and is dense."""
    image = np.zeros((121, 121), np.float32)
    lumen = np.array([30.0, 30.0, 30.0])
    for seed in range(10):
        rng = np.random.default_rng(seed)
        payload = vesicles.draw_payload(
            kind, 0.9, lumen, shapes.frame(shapes.direction(rng)), np.zeros(2), rng
        )
        vesicles.paint_payload(image, 1.0, _ball(60.0, 4.0, payload=payload))
    rows, columns = np.indices(image.shape) - 60
    far = np.hypot(rows, columns) > 33
    assert image[~far].sum() > 20 * np.abs(image[far]).sum()


def test_fuller_payload_is_heavier():
    """The painted mass of a dense interior is in proportion to its fill."""
    masses = []
    for fill in (0.25, 0.5):
        image, rng = np.zeros((121, 121), np.float32), np.random.default_rng(1)
        payload = vesicles.draw_payload("dense", fill, np.full(3, 40.0), np.eye(3), np.zeros(2), rng)
        vesicles.paint_payload(image, 1.0, _ball(80.0, 4.0, payload=payload))
        masses.append(image.sum())
    assert masses[1] / masses[0] == pytest.approx(2, rel=0.02)


def test_stomatocytes_carry_nothing():
    """The thin lumen of a stomatocyte holds no payload."""
    rng = np.random.default_rng(0)
    drawn = [vesicles.draw_vesicle(80.0, 150.0, rng, filled=True) for _ in range(300)]
    assert not [vesicle for vesicle in drawn if vesicle.form.name == "stomatocyte"]


def test_ice_roughness_falls_with_the_pixel():
    """Of independent molecules, the mean over a pixel scatters as sqrt(thickness) / pixel."""
    one = vesicles.ice_roughness(50.0, 0.5)
    assert vesicles.ice_roughness(50.0, 1.0) == pytest.approx(one / 2)
    assert vesicles.ice_roughness(200.0, 0.5) == pytest.approx(2 * one)
