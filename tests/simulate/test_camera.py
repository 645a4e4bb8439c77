"""Dose and camera."""

from dataclasses import replace

import numpy as np
import pytest

from temlib import simulate
from temlib.simulate import microscope

IDEAL = replace(simulate.PRESETS["talos200"], dqe0=1.0)


@pytest.mark.parametrize("mean", [0.2, 5.0, 60.0, 65.0, 300.0, 5000.0])
def test_variance_of_shot_noise_is_its_mean(mean):
    """A blank at any dose has variance and mean of counts alike within 1 %, and whole counts."""
    counts = microscope.shot_noise(np.full((1024, 1024), mean, np.float32), np.random.default_rng(1)).astype(
        float
    )
    assert counts.mean() == pytest.approx(mean, rel=0.005)
    assert counts.var() == pytest.approx(counts.mean(), rel=0.01)
    assert np.array_equal(counts, np.rint(counts))
    assert counts.min() >= 0


def test_shot_noise_is_as_skew_as_poisson():
    """The third standardised moment is 1 / sqrt(mean), on the normal branch too."""
    counts = microscope.shot_noise(np.full((2048, 1024), 100.0, np.float32), np.random.default_rng(1)).astype(
        float
    )
    skew = ((counts - counts.mean()) ** 3).mean() / counts.std() ** 3
    assert skew == pytest.approx(0.1, abs=0.01)


def test_expected_counts_are_dose_times_area_times_attenuation():
    """20 e/Å² on 1 nm² behind 100 nm of ice is 2000 exp(-100/Λ)."""
    blank = np.ones((64, 64), np.float32)
    counts = microscope.expected_counts(
        blank, 1.0, replace(IDEAL, kv=300.0), microscope.Imaging(2.0, dose=20.0, ice_nm=100.0)
    )
    np.testing.assert_allclose(counts, 2000 * np.exp(-100 / 395), rtol=1e-5)


def test_thicker_ice_is_darker_along_its_wedge():
    """A wedge along columns brightens the thin side."""
    imaging = microscope.Imaging(2.0, ice_nm=100.0, wedge=(0.0, 0.5, 0.0))
    counts = microscope.expected_counts(np.ones((32, 32), np.float32), 1.0, IDEAL, imaging)
    assert counts[0, 0] > counts[0, -1]
    np.testing.assert_allclose(counts[0], counts[-1])


@pytest.mark.parametrize("name", ["talos200", "ccd120"])
def test_noise_at_low_frequency_shows_dqe0(name):
    """Signal² / (noise power · dose) of a blank at frequency 0 is DQE(0), within 5 %."""
    scope = simulate.PRESETS[name]
    imaging = microscope.Imaging(2.0, dose=20.0, ice_nm=50.0)
    expected = microscope.expected_counts(np.ones((2048, 2048), np.float32), 1.0, scope, imaging)
    arriving = float(expected.mean()) / scope.dqe0
    image = microscope.take(microscope.shot_noise(expected, np.random.default_rng(3)), scope, None)
    power = np.abs(np.fft.rfft2(image / image.mean(dtype=float) - 1)) ** 2 / image.size
    frequency = np.hypot(np.fft.fftfreq(2048)[:, None], np.fft.rfftfreq(2048))
    low = (frequency > 0) & (frequency < 0.02)
    assert 1 / (power[low].mean() * arriving) == pytest.approx(scope.dqe0, rel=0.05)


def test_counting_camera_follows_its_dqe():
    """The transfer loses sqrt(.71/.95) at half Nyquist and sqrt(.32/.95) at Nyquist."""
    imaging = microscope.Imaging(2.0)
    one, two = (
        microscope.transfer((64, 64), 1.0, scope, imaging) for scope in (simulate.PRESETS["talos200"], IDEAL)
    )
    ratio = (one / two)[0] ** 2
    assert ratio[16] == pytest.approx(0.71 / 0.95, rel=0.01)
    assert ratio[32] == pytest.approx(0.32 / 0.95, rel=0.01)


def test_bin_mean_averages_blocks():
    """Two by two pixels become their mean; an odd last row and column are dropped."""
    image = np.arange(15, dtype=np.float32).reshape(3, 5)
    np.testing.assert_array_equal(microscope.bin_mean(image, 2), [[3.0, 5.0]])


def test_quantize_gives_whole_grey_levels():
    """8 bit: whole numbers from 0 to 255, both ends used."""
    levels = microscope.quantize(np.random.default_rng(0).standard_normal((256, 256)))
    assert np.array_equal(levels, np.rint(levels))
    assert (levels.min(), levels.max()) == (0, 255)


def test_jpeg_changes_little_but_something():
    """JPEG keeps the picture and loses detail."""
    rows, columns = np.indices((256, 256))
    image = (
        np.sin(rows / 9.0)
        + np.cos(columns / 7.0)
        + 0.1 * np.random.default_rng(0).standard_normal((256, 256))
    )
    plain, packed = microscope.quantize(image), microscope.quantize(image, 80)
    assert 0 < np.abs(plain - packed).mean() < 4


def test_gain_map_has_its_spread_and_its_hot_pixels():
    """The gain scatters as asked, and the asked share of pixels is hot."""
    scope = replace(IDEAL, gain_error=0.01, hot_pixels=1e-3)
    gains = microscope.gain_map((512, 512), scope, np.random.default_rng(0))
    assert 0.7 < (gains > 1.2).sum() / (1e-3 * gains.size) < 1.3
    assert gains[gains < 1.2].std() == pytest.approx(0.01, rel=0.02)
