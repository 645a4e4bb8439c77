"""Calls on a new sample become shares of its classes, with intervals one can defend; and how many particles that takes."""

from temlib.assay.labelled import labelled_shares
from temlib.assay.planner import intraclass_correlation, plan
from temlib.assay.prevalence import Correction, Shares, calls, confusion, expectation_maximisation

__all__ = [
    "Correction",
    "Shares",
    "calls",
    "confusion",
    "expectation_maximisation",
    "intraclass_correlation",
    "labelled_shares",
    "plan",
]
