"""Predictions become measures with intervals, comparisons, calibration, decisions and sentences."""

from temlib.evaluate.answer import cost_table, side_by_side, with_interval
from temlib.evaluate.criteria import criteria, decided, demanded
from temlib.evaluate.criteria import parse as parse_criteria
from temlib.evaluate.decisions import fit_temperature
from temlib.evaluate.examples import annotator_ceiling, audit_precision, found_labels
from temlib.evaluate.examples import load as load_examples
from temlib.evaluate.intervals import AVERAGES
from temlib.evaluate.measures import PRIMARY_MEASURE, size_alone, warnings
from temlib.evaluate.predictions import Predictions, check_external
from temlib.evaluate.sweeps import axes, comparison, labels_needed, learning, rarest, sweep, with_labels
from temlib.evaluate.verdict import summary

__all__ = [
    "AVERAGES",
    "PRIMARY_MEASURE",
    "Predictions",
    "annotator_ceiling",
    "audit_precision",
    "axes",
    "check_external",
    "comparison",
    "cost_table",
    "criteria",
    "decided",
    "demanded",
    "fit_temperature",
    "found_labels",
    "labels_needed",
    "learning",
    "load_examples",
    "parse_criteria",
    "rarest",
    "side_by_side",
    "size_alone",
    "summary",
    "sweep",
    "warnings",
    "with_interval",
    "with_labels",
]
