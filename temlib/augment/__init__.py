"""Draw, then apply: one spline pass for all geometric transforms, and the noise that it leaves."""

from temlib.augment.augmentation import NEUTRAL, Augmentation, affine_matrices, averaged, lowpass
from temlib.augment.noise import (
    CURES,
    detail_curves,
    noise_curves,
    power_curve,
    radial_power,
    resampled_ways,
    spread,
    treated,
)
from temlib.augment.on_device import available, batch, hold, within

__all__ = [
    "CURES",
    "NEUTRAL",
    "Augmentation",
    "affine_matrices",
    "available",
    "averaged",
    "batch",
    "detail_curves",
    "hold",
    "lowpass",
    "noise_curves",
    "power_curve",
    "radial_power",
    "resampled_ways",
    "spread",
    "treated",
    "within",
]
