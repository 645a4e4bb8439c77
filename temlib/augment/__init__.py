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
from temlib.augment.on_device import OnDevice

__all__ = [
    "CURES",
    "NEUTRAL",
    "Augmentation",
    "OnDevice",
    "affine_matrices",
    "averaged",
    "detail_curves",
    "lowpass",
    "noise_curves",
    "power_curve",
    "radial_power",
    "resampled_ways",
    "spread",
    "treated",
]
