"""Cryo-TEM liposomes with known truth: the embedded default data."""

from temlib.simulate.annotators import TASKS
from temlib.simulate.formation import stages, thon_rings
from temlib.simulate.micrograph import regions
from temlib.simulate.microscope import PRESETS
from temlib.simulate.studies import VARIED, crop, study, write

__all__ = ["PRESETS", "TASKS", "VARIED", "crop", "regions", "stages", "study", "thon_rings", "write"]
