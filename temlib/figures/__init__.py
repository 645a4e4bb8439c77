"""Every picture: its numbers, its drawing, its words.

A function here gives a `Picture`. Its `frame` is the tidy table that is drawn, `plot` draws it anew, `alt` says in one
sentence what is seen, `caption` what it means with its n. A picture shows itself in JupyterLab and in HTML.
"""

from temlib.figures.augmentation import each_transform, mosaic
from temlib.figures.base import COLOURS, Picture, set_style
from temlib.figures.evaluation import confusions, curves, estimates, reliability, risk
from temlib.figures.explanation import attention, cases, descriptors, outlines
from temlib.figures.particles import class_counts, gallery, histogram, micrograph_counts, radial_profiles
from temlib.figures.software import stars
from temlib.figures.training import learning_curves

__all__ = [
    "COLOURS",
    "Picture",
    "attention",
    "cases",
    "class_counts",
    "confusions",
    "curves",
    "descriptors",
    "each_transform",
    "estimates",
    "gallery",
    "histogram",
    "learning_curves",
    "micrograph_counts",
    "mosaic",
    "outlines",
    "radial_profiles",
    "reliability",
    "risk",
    "set_style",
    "stars",
]
