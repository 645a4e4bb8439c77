"""Every picture, its numbers, its drawing and its words; and the controls seen in JupyterLab."""

from temlib.figures.assay import control_chart, montage, shares, sizes_by_class
from temlib.figures.augment import (
    detail,
    drawn,
    each_transform,
    interpolations,
    mosaic,
    noise,
    settings,
    spectra,
)
from temlib.figures.base import COLOURS, Note, Picture, Table, set_style
from temlib.figures.browser import Browser
from temlib.figures.compare import label_curve, learning, sweep
from temlib.figures.controls import Explorer
from temlib.figures.evaluate import attention, cases, confusions, curves, estimates, reliability, risk
from temlib.figures.explore import (
    class_counts,
    descriptor_map,
    disagreements,
    gallery,
    histogram,
    leakage,
    micrograph_counts,
    micrographs,
    odd_micrographs,
    pairs,
    power_spectra,
    radial_profiles,
    sizes,
    stages,
    thon_rings,
)
from temlib.figures.inspector import Inspector
from temlib.figures.labelling import Labelling
from temlib.figures.scale import ScaleChooser
from temlib.figures.software import backends, popularity, stars
from temlib.figures.train import (
    architectures,
    descriptors,
    edge_profiles,
    learning_curves,
    micrograph_scores,
    outlines,
    pareto,
    training,
)

__all__ = [
    "COLOURS",
    "Browser",
    "Explorer",
    "Inspector",
    "Labelling",
    "Note",
    "Picture",
    "ScaleChooser",
    "Table",
    "set_style",
]
__all__ += ["class_counts", "descriptor_map", "disagreements", "gallery", "histogram", "leakage"]
__all__ += [
    "micrograph_counts",
    "micrographs",
    "odd_micrographs",
    "pairs",
    "power_spectra",
    "radial_profiles",
    "sizes",
]
__all__ += ["stages", "thon_rings"]
__all__ += ["detail", "drawn", "each_transform", "interpolations", "mosaic", "noise", "settings", "spectra"]
__all__ += [
    "architectures",
    "descriptors",
    "edge_profiles",
    "learning_curves",
    "micrograph_scores",
    "outlines",
    "pareto",
    "training",
]
__all__ += ["control_chart", "montage", "shares", "sizes_by_class"]
__all__ += ["attention", "cases", "confusions", "curves", "estimates", "reliability", "risk"]
__all__ += ["backends", "label_curve", "learning", "popularity", "stars", "sweep"]
