"""Every picture: its numbers, its drawing, its words.

A function here gives a `Picture`. Its `frame` is the tidy table that is drawn, `plot` draws it anew, `alt` says in one
sentence what is seen, `caption` what it means with its n. A picture shows itself in JupyterLab and in HTML.
"""

from temlib.figures.augmentation import detail, drawn, each_transform, interpolations, mosaic, noise, spectra
from temlib.figures.base import COLOURS, Picture, set_style
from temlib.figures.evaluation import confusions, curves, estimates, reliability, risk
from temlib.figures.explanation import attention, cases, descriptors, outlines
from temlib.figures.particles import class_counts, gallery, histogram, micrograph_counts, radial_profiles
from temlib.figures.simulation import stages, thon_rings
from temlib.figures.software import stars
from temlib.figures.survey import (
    descriptor_map,
    disagreements,
    leakage,
    odd_micrographs,
    pairs,
    power_spectra,
    sizes,
)
from temlib.figures.sweeps import label_curve, learning, sweep
from temlib.figures.training import architectures, learning_curves, micrograph_scores, pareto

__all__ = [
    "COLOURS",
    "Picture",
    "architectures",
    "attention",
    "cases",
    "class_counts",
    "confusions",
    "curves",
    "descriptor_map",
    "descriptors",
    "detail",
    "disagreements",
    "drawn",
    "each_transform",
    "estimates",
    "gallery",
    "histogram",
    "interpolations",
    "label_curve",
    "leakage",
    "learning",
    "learning_curves",
    "micrograph_counts",
    "micrograph_scores",
    "mosaic",
    "noise",
    "odd_micrographs",
    "outlines",
    "pairs",
    "pareto",
    "power_spectra",
    "radial_profiles",
    "reliability",
    "risk",
    "set_style",
    "sizes",
    "spectra",
    "stages",
    "stars",
    "sweep",
    "thon_rings",
]
