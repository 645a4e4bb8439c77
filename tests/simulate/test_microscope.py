"""The microscope and its camera against theory that is written out here."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize

from temlib import simulate
from temlib.files import InputError
from temlib.simulate import microscope

# Relativistic wavelengths in nm, from h / sqrt(2 m e V (1 + e V / 2 m c²)).
WAVELENGTH = {100: 3.701e-3, 120: 3.349e-3, 200: 2.508e-3, 300: 1.969e-3}

TALOS = simulate.PRESETS["talos200"]
IDEAL = replace(TALOS, dqe0=1.0)


def _ice(kv, imaging, side=1024, pixel=0.4):
    """A micrograph of white phase noise at high dose, envelopes on, by a counting camera."""
    scope = replace(TALOS, kv=float(kv), pixel_nm=pixel)
    rng = np.random.default_rng(7)
    phase = 0.02 * rng.standard_normal((side, side), dtype=np.float32)
    image = microscope.contrast(phase, scope, imaging)
    counts = microscope.shot_noise(microscope.expected_counts(image, scope, imaging), rng)
    return microscope.take(counts, scope, None)


def _power(image):
    return np.abs(np.fft.fftshift(np.fft.fft2(image / image.mean() - 1))) ** 2


@pytest.mark.parametrize("kv", WAVELENGTH)
def test_wavelength(kv):
    """Wavelengths are those of the tables, to four digits."""
    assert microscope.wavelength_nm(kv) == pytest.approx(WAVELENGTH[kv], rel=5e-4)


@pytest.mark.parametrize(("kv", "sigma"), [(100, 9.24e-3), (120, 8.64e-3), (200, 7.29e-3), (300, 6.53e-3)])
def test_interaction_constant(kv, sigma):
    """The interaction constant is that of the tables, in rad/(V nm)."""
    assert microscope.interaction_constant(kv) == pytest.approx(sigma, rel=1e-3)


@pytest.mark.parametrize(("kv", "defocus_um"), [(300, 2.0), (200, 1.0), (120, 1.5), (100, 2.5)])
def test_first_three_zeros_of_a_micrograph(kv, defocus_um):
    """The minima of the radial power spectrum lie within 1 % of π λ Δf k² - ½ π Cs λ³ k⁴ + arcsin w = n π."""
    side, pixel, w, cs = 1024, 0.4, 0.08, 2.7e6
    image = _ice(kv, microscope.Imaging(defocus_um=defocus_um, dose=1000.0, drift_nm=0.2), side, pixel)
    rows, columns = np.indices(image.shape) - side // 2
    radius = np.hypot(rows, columns)
    ring = np.rint(radius).astype(int).ravel()
    k = np.bincount(ring, radius.ravel()) / np.bincount(ring) / (side * pixel)
    power = np.bincount(ring, _power(image).ravel()) / np.bincount(ring)

    def chi(q):
        wave = WAVELENGTH[kv]
        return math.pi * wave * defocus_um * 1e3 * q**2 - 0.5 * math.pi * cs * wave**3 * q**4 + math.asin(w)

    for n in (1, 2, 3):
        theory = optimize.brentq(lambda q: chi(q) - n * math.pi, 1e-3, 1.2)  # noqa: B023
        near = np.abs(k / theory - 1) < 0.12 / n
        fit = np.polynomial.Polynomial.fit(k[near], power[near], 4)
        fine = np.linspace(k[near].min(), k[near].max(), 2000)
        assert fine[fit(fine).argmin()] == pytest.approx(theory, rel=0.01)


@pytest.mark.parametrize(("astigmatism", "angle"), [(60.0, 30.0), (150.0, 110.0)])
def test_astigmatism_is_recovered_by_a_fit(astigmatism, angle):
    """Fitting sin²(χ(k, θ)) to the power spectrum gives the astigmatism within 10 nm."""
    side, pixel, wave = 512, 0.4, WAVELENGTH[200]
    taken = microscope.Imaging(defocus_um=1.5, astigmatism_nm=astigmatism, astigmatism_deg=angle, dose=1000.0)
    image = _ice(200, taken, side, pixel)
    kr, kc = (np.indices(image.shape) - side // 2) / (side * pixel)
    k2 = kr**2 + kc**2
    band = (k2 > 0.3**2) & (k2 < 0.8**2) & (kr >= 0)
    power, theta, k2 = _power(image)[band], np.arctan2(kr, kc)[band], k2[band]
    # Envelope and floor vary slowly with k: a polynomial takes each, weighted by the local level.
    level = np.polynomial.Polynomial.fit(k2, power, 5)(k2)
    powers = np.stack([(k2 / 0.64) ** n for n in range(4)])

    def mismatch(numbers):
        local = numbers[0] + numbers[1] * np.cos(2 * theta) + numbers[2] * np.sin(2 * theta)
        chi = math.pi * wave * local * k2 - 0.5 * math.pi * 2.7e6 * wave**3 * k2**2 + math.asin(0.08)
        basis = np.concatenate([powers * np.sin(chi) ** 2, powers[:2]]) / level
        weights = np.linalg.solve(basis @ basis.T, basis @ (power / level))
        return float(((power / level - weights @ basis) ** 2).mean())

    starts = [(1500, a * math.cos(t), a * math.sin(t)) for a in (40, 120) for t in np.arange(0, 6.2, 0.8)]
    best = min(starts, key=mismatch)
    found = optimize.minimize(mismatch, best, method="Nelder-Mead", options={"xatol": 0.5, "fatol": 1e-6}).x
    assert math.hypot(found[1], found[2]) == pytest.approx(astigmatism, abs=10)
    assert math.degrees(math.atan2(found[2], found[1])) / 2 % 180 == pytest.approx(angle, abs=5)
    assert found[0] == pytest.approx(1500, abs=10)


def test_transfer_at_zero_frequency_is_amplitude_contrast():
    """A uniform phase φ is seen as -2 w φ."""
    transferred = microscope.transfer((64, 64), TALOS, microscope.Imaging(defocus_um=2.0))
    assert transferred[0, 0] == pytest.approx(-2 * TALOS.amplitude_contrast, rel=1e-5)


def test_specimen_is_dark_under_focus():
    """A ball of positive potential is darker than its surroundings under focus, and brighter over focus."""
    rows, columns = np.indices((128, 128)) - 64
    phase = (0.1 * np.exp(-(rows**2 + columns**2) / 8)).astype(np.float32)
    under, over = (microscope.contrast(phase, TALOS, microscope.Imaging(d)) for d in (2, -2))
    assert under[64, 64] < 1 < over[64, 64]
    assert under[0, 0] == pytest.approx(1, abs=0.01)


def test_temporal_envelope_is_that_of_the_textbook():
    """exp(-½ (π λ δ k²)²), δ = Cc · ΔE/E · (1 + E/mc²) / (1 + E/2mc²), damps the transfer."""
    krios = replace(simulate.PRESETS["krios300"], pixel_nm=0.3, convergence_mrad=0.0)
    sharp, spread = (replace(krios, energy_spread_ev=energy) for energy in (0.0, 2.0))
    imaging = microscope.Imaging(defocus_um=0.5)
    one, two = (microscope.transfer((256, 256), scope, imaging) for scope in (sharp, spread))
    k = 100 / (256 * 0.3)
    delta = 2.7e6 * (2.0 / 2.3548 / 300e3) * (1 + 300 / 511) / (1 + 300 / 1022)
    expected = math.exp(-0.5 * (math.pi * WAVELENGTH[300] * delta * k**2) ** 2)
    assert two[0, 100] / one[0, 100] == pytest.approx(expected, rel=2e-3)


def test_drift_damps_along_its_own_direction():
    """A drift of 2 nm along columns takes out k = ½ nm⁻¹ there and leaves rows alone."""
    scope, still = replace(TALOS, pixel_nm=0.5), microscope.Imaging(2.0)
    moved = microscope.Imaging(2.0, drift_nm=2.0, drift_deg=0.0)
    one, two = (microscope.transfer((128, 128), scope, imaging) for imaging in (still, moved))
    assert abs(two[0, 32]) < 1e-3 * abs(one[0, 32]) + 1e-6
    assert two[32, 0] == pytest.approx(one[32, 0])


def test_mean_free_path_is_the_measured_one_at_300_kv():
    """395 nm at 300 kV, shorter below."""
    assert microscope.mean_free_path_nm(300) == pytest.approx(395)
    assert 240 < microscope.mean_free_path_nm(200) < 330


def test_unknown_preset_is_refused():
    """The message names the presets that exist."""
    with pytest.raises(InputError, match="krios300, talos200, ccd120, thesis2016"):
        microscope.preset("titan")


def _blank(shape, mean):
    """Counts of a field without a specimen."""
    return microscope.shot_noise(np.full(shape, mean, np.float32), np.random.default_rng(1)).astype(float)


@pytest.mark.parametrize("mean", [0.2, 5.0, 60.0, 65.0, 300.0, 5000.0])
def test_variance_of_shot_noise_is_its_mean(mean):
    """A blank at any dose has variance and mean of counts alike within 1 %, and whole counts."""
    counts = _blank((1024, 1024), mean)
    assert counts.mean() == pytest.approx(mean, rel=0.005)
    assert counts.var() == pytest.approx(counts.mean(), rel=0.01)
    assert np.array_equal(counts, np.rint(counts))
    assert counts.min() >= 0


def test_shot_noise_is_as_skew_as_poisson():
    """The third standardised moment is 1 / sqrt(mean), on the normal branch too."""
    counts = _blank((2048, 1024), 100.0)
    skew = ((counts - counts.mean()) ** 3).mean() / counts.std() ** 3
    assert skew == pytest.approx(0.1, abs=0.01)


def test_expected_counts_are_dose_times_area_times_attenuation():
    """20 e⁻/Å² on 1 nm² behind 100 nm of ice is 2000 exp(-100/Λ)."""
    blank, imaging = np.ones((64, 64), np.float32), microscope.Imaging(2.0, dose=20.0, ice_nm=100.0)
    counts = microscope.expected_counts(blank, replace(IDEAL, kv=300.0), imaging)
    np.testing.assert_allclose(counts, 2000 * np.exp(-100 / 395), rtol=1e-5)


def test_thicker_ice_is_darker_along_its_wedge():
    """A wedge along columns brightens the thin side."""
    imaging = microscope.Imaging(2.0, ice_nm=100.0, wedge=(0.0, 0.5, 0.0))
    counts = microscope.expected_counts(np.ones((32, 32), np.float32), IDEAL, imaging)
    assert counts[0, 0] > counts[0, -1]
    np.testing.assert_allclose(counts[0], counts[-1])


@pytest.mark.parametrize("name", ["talos200", "ccd120"])
def test_noise_at_low_frequency_shows_dqe0(name):
    """Signal² / (noise power · dose) of a blank at frequency 0 is DQE(0), within 5 %."""
    scope = simulate.PRESETS[name]
    imaging = microscope.Imaging(2.0, dose=20.0, ice_nm=50.0)
    expected = microscope.expected_counts(np.ones((2048, 2048), np.float32), scope, imaging)
    arriving = float(expected.mean()) / scope.dqe0
    image = microscope.take(microscope.shot_noise(expected, np.random.default_rng(3)), scope, None)
    power = np.abs(np.fft.rfft2(image / image.mean(dtype=float) - 1)) ** 2 / image.size
    frequency = np.hypot(np.fft.fftfreq(2048)[:, None], np.fft.rfftfreq(2048))
    low = (frequency > 0) & (frequency < 0.02)
    assert 1 / (power[low].mean() * arriving) == pytest.approx(scope.dqe0, rel=0.05)


def test_counting_camera_follows_its_dqe():
    """The transfer loses sqrt(0.71/0.95) at half Nyquist and sqrt(0.32/0.95) at Nyquist."""
    imaging = microscope.Imaging(2.0)
    one, two = (microscope.transfer((64, 64), scope, imaging) for scope in (TALOS, IDEAL))
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
    grain = 0.1 * np.random.default_rng(0).standard_normal((256, 256))
    image = np.sin(rows / 9.0) + np.cos(columns / 7.0) + grain
    plain, packed = microscope.quantize(image), microscope.quantize(image, 80)
    assert 0 < np.abs(plain - packed).mean() < 4


def test_gain_map_has_its_spread_and_its_hot_pixels():
    """The gain scatters as asked, and the asked share of pixels is hot."""
    scope = replace(IDEAL, shape=(512, 512), gain_error=0.01, hot_pixels=1e-3)
    gains = microscope.gain_map(scope, np.random.default_rng(0))
    assert 0.7 < (gains > 1.2).sum() / (1e-3 * gains.size) < 1.3
    assert gains[gains < 1.2].std() == pytest.approx(0.01, rel=0.02)
