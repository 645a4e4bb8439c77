"""Calls on a new sample become shares of its classes, with intervals one can defend; and how many particles that takes."""

from temlib.assay.prevalence import (
    Correction,
    Shares,
    calls,
    confusion,
    expectation_maximisation,
    labelled_shares,
)

__all__ = ["Correction", "Shares", "calls", "confusion", "expectation_maximisation", "labelled_shares"]
