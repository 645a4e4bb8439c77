"""Predictions become measures with intervals, comparisons, calibration, decisions and sentences."""

from temlib.evaluate.answer import cost_table, side_by_side, summary
from temlib.evaluate.decisions import fit_temperature
from temlib.evaluate.examples import annotator_ceiling, audit_precision
from temlib.evaluate.examples import load as load_examples
from temlib.evaluate.intervals import AVERAGES
from temlib.evaluate.measures import PRIMARY_MEASURE, warnings
from temlib.evaluate.predictions import Predictions
from temlib.evaluate.sweeps import axes, comparison, labels_needed, learning, rarest, sweep, with_labels

__all__ = [
    "AVERAGES",
    "PRIMARY_MEASURE",
    "Predictions",
    "annotator_ceiling",
    "audit_precision",
    "axes",
    "comparison",
    "cost_table",
    "fit_temperature",
    "labels_needed",
    "learning",
    "load_examples",
    "rarest",
    "side_by_side",
    "summary",
    "sweep",
    "warnings",
    "with_labels",
]
