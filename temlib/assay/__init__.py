"""Calls on a new sample become shares of its classes, with intervals one can defend; and how many particles that takes."""

from temlib.assay.labelled import labelled_shares
from temlib.assay.planner import intraclass_correlation, plan
from temlib.assay.prevalence import Correction, Shares, calls, confusion, expectation_maximisation
from temlib.assay.sample import Sample, correction, measure, parse_criteria
from temlib.assay.validation import Validation, mixture, validate, validated

__all__ = [
    "Correction",
    "Sample",
    "Shares",
    "Validation",
    "calls",
    "confusion",
    "correction",
    "expectation_maximisation",
    "intraclass_correlation",
    "labelled_shares",
    "measure",
    "mixture",
    "parse_criteria",
    "plan",
    "validate",
    "validated",
]
