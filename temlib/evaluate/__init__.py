"""Predictions become measures with intervals, comparisons, calibration, decisions and sentences."""

from temlib.evaluate.answer import PRIMARY_MEASURE, comparator, side_by_side, summary, worth
from temlib.evaluate.decisions import (
    calibrate,
    calibration_error,
    conformal_sets,
    coverage_risk,
    reliability,
    summarised_sets,
    threshold,
)
from temlib.evaluate.examples import (
    audit_precision,
    by_micrograph,
    ceiling,
    disagreements,
    label_audit,
    worst_errors,
    worst_micrograph,
)
from temlib.evaluate.examples import load as load_examples
from temlib.evaluate.examples import wide as per_particle
from temlib.evaluate.measures import baseline, compare, confusion, table, warnings, worked
from temlib.evaluate.predictions import classes_of, join
from temlib.evaluate.scores import curves
from temlib.evaluate.sweeps import axes, labels_needed, learning, rarest, with_labels
from temlib.evaluate.sweeps import table as sweep

__all__ = [
    "PRIMARY_MEASURE",
    "audit_precision",
    "axes",
    "baseline",
    "by_micrograph",
    "calibrate",
    "calibration_error",
    "ceiling",
    "classes_of",
    "comparator",
    "compare",
    "conformal_sets",
    "confusion",
    "coverage_risk",
    "curves",
    "disagreements",
    "join",
    "label_audit",
    "labels_needed",
    "learning",
    "load_examples",
    "per_particle",
    "rarest",
    "reliability",
    "side_by_side",
    "summarised_sets",
    "summary",
    "sweep",
    "table",
    "threshold",
    "warnings",
    "with_labels",
    "worked",
    "worst_errors",
    "worst_micrograph",
    "worth",
]
