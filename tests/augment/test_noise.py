"""The power of known images, the detail kept by splines, the noise before and after its cures."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from temlib.augment import (
    CURES,
    Augmentation,
    detail_curves,
    noise_curves,
    power_curve,
    radial_power,
    resampled_ways,
    treated,
)
from temlib.files import InputError
from tests.augment.conftest import SLIDES, noise

REAL = Path(__file__).parents[3] / "shared" / "data" / "real" / "apoferritin_cryoem"


def wide(curves, value="power_ratio"):
    return curves.pivot(index="frequency", columns="method", values=value)


@pytest.fixture(scope="module")
def white():
    return wide(noise_curves(noise(600, 64, 64), seed=1))


@pytest.fixture(scope="module")
def kept():
    return wide(detail_curves(count=48, size=64))


@pytest.mark.parametrize("half_plane", [False, True])
def test_white_noise_has_its_variance_at_every_frequency(half_plane):
    """Variance 4 is power 4 in each ring, within 5 standard errors of the thinnest one."""
    frequency, power = radial_power(2 * noise(300, 64, 64), half_plane=half_plane)
    assert power.shape == (300, 32) and frequency[[0, -1]].tolist() == [1 / 64, 0.5]
    assert power.mean(axis=0) == pytest.approx(np.full(32, 4.0), rel=0.12)


def test_the_shorter_side_sets_the_rings():
    """Sides that differ, and odd ones: rings are those of the shorter side, up to Nyquist or just below."""
    frequency, power = radial_power(noise(2, 33, 20))
    assert frequency.tolist() == (np.arange(1, 11) / 20).tolist() and power.shape == (2, 10)
    assert radial_power(noise(1, 9, 12), half_plane=True)[0].tolist() == (np.arange(1, 5) / 9).tolist()


def test_both_planes_agree_on_a_mean_over_directions():
    """The half plane sees each frequency once or twice; the rings of noise differ by no more than that explains."""
    images = noise(200, 64, 64)
    full, half = (radial_power(images, half_plane=flag)[1].mean(axis=0) for flag in (False, True))
    assert half == pytest.approx(full, rel=0.05)


def test_a_wave_has_its_power_at_its_frequency():
    """Ten cycles over 64 pixels peak in ring ten, in either direction."""
    wave = np.cos(2 * np.pi * 10 / 64 * np.arange(64))
    for image in (np.tile(wave, (64, 1)), np.tile(wave[:, None], (1, 64))):
        assert power_curve(image[None])["power"].idxmax() == 9  # ring 1 is row 0


def test_the_spectrum_of_nothing_is_refused():
    """A mean over no image is no number."""
    with pytest.raises(InputError, match="at least one"):
        power_curve(np.empty((0, 8, 8), "float32"))


def test_one_cubic_rotation_keeps_nine_tenths_at_half_nyquist():
    """Of the power of waves at half the Nyquist frequency .9 or more outlives a rotation by any angle."""
    rotation = dataclasses.replace(Augmentation.preset("none"), rotation=(-180, 180))
    curve = wide(detail_curves(rotation, count=48, size=64))
    assert np.interp(0.25, curve.index, curve["cubic"]) >= 0.9


def test_one_cubic_pass_of_all_transforms_keeps_more_than_the_others(kept):
    """At half Nyquist one cubic pass keeps .9 or more; its chain, linear and linear chain less and less."""
    at_half = {method: np.interp(0.25, kept.index, kept[method]) for method in kept}
    assert at_half["cubic"] >= 0.9
    assert at_half["cubic"] > at_half["cubic, chained"] > at_half["linear"] > at_half["linear, chained"]


def test_a_chain_of_single_transforms_is_the_same_map():
    """A smooth spot, which no resampling blurs, is found at the same place after one pass and after five."""
    rows, columns = np.indices((61, 61)) - 30
    spot = np.exp(-0.5 * ((rows + 3) ** 2 + (columns - 6) ** 2) / 4**2).astype("float32")
    images = np.repeat(spot[None], 20, 0)
    ways = dict(resampled_ways(images, Augmentation(separate_zoom=True).draw(20, 4)))
    inner = np.hypot(rows, columns) < 24  # beyond it a chain mirrors at every step
    chained, cubic = (ways[name][:, inner] for name in ("cubic, chained", "cubic"))
    assert np.abs(chained - cubic).max() < 0.005 < np.abs(cubic - images[:, inner]).max()


def test_slow_waves_outlive_every_method(kept):
    """At .02 cycles per pixel all keep .97, and none gains."""
    assert kept.iloc[0].between(0.97, 1.001).all()


def test_resampling_lowers_the_power_of_noise(white):
    """Untreated, augmented white noise has lost about a sixth of its power at every frequency."""
    middle = white.loc[0.1:0.4, "untreated"]
    assert middle.between(0.75, 0.9).all()


def test_conditioning_makes_the_noise_of_training_and_prediction_agree(white):
    """Not .6 as far from plain noise as untreated; below .2 cycles per pixel what zoom does (.9² of the power) remains."""
    deviation = (white - 1).abs()
    assert deviation["conditioned"].loc[0.25:].max() < 0.1
    assert deviation["conditioned"].mean() < 0.6 * deviation["untreated"].mean()
    assert white["conditioned"].iloc[0] == pytest.approx(0.9**2, abs=0.06)


def test_conditioning_makes_the_spread_agree():
    """Augmented noise has .87 of the spread of plain noise untreated, at least .95 conditioned."""
    images, transforms = noise(200, 64, 64), SLIDES.draw(200, 1)
    plain, varied = treated(images, transforms, SLIDES, "untreated")
    assert varied.std() / plain.std() == pytest.approx(0.87, abs=0.02)
    plain, varied = treated(images, transforms, SLIDES, "conditioned")
    assert 0.95 < varied.std() / plain.std() < 1.01


def test_every_cure_is_compared():
    """The table holds each cure at each frequency, with both powers and their ratio."""
    curves = noise_curves(noise(4, 16, 16))
    assert list(curves.columns) == ["frequency", "method", "plain", "augmented", "power_ratio"]
    assert curves["method"].unique().tolist() == list(CURES) and len(curves) == 8 * len(CURES)
    assert np.allclose(curves["power_ratio"], curves["augmented"] / curves["plain"])


def test_an_unknown_cure_is_refused():
    """The message lists the cures."""
    with pytest.raises(InputError, match="conditioned"):
        treated(noise(1, 64, 64), SLIDES.draw(1, 1), SLIDES, "prayer")


@pytest.mark.real
@pytest.mark.skipif(not REAL.exists(), reason="the real crops are not beside the checkout")
def test_conditioning_makes_the_noise_of_real_crops_agree():
    """Of 400 low-dose cryo-EM backgrounds the conditioned power is nearer to the plain one at every frequency above .1."""
    from PIL import Image

    files = sorted((REAL / "background").glob("*.png"))[:400]
    crops = np.stack([np.asarray(Image.open(name), "float32") for name in files])
    curves = wide(noise_curves(crops, seed=1)).loc[0.1:]
    assert (curves["untreated"] - 1).abs().min() > 0.1
    assert ((curves["conditioned"] - 1).abs() < (curves["untreated"] - 1).abs()).all()
    assert (curves["conditioned"].loc[0.25:] - 1).abs().max() < 0.1
