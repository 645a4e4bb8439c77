"""Networks, SVMs and the one protocol: folds, imbalance, out-of-fold predictions."""

from temlib.train.attention import Sample
from temlib.train.bundle import Bundle, load
from temlib.train.descriptors import POINTS, REACH, outline, thesis
from temlib.train.descriptors import named as descriptor_names
from temlib.train.effort import minutes
from temlib.train.exchange import export
from temlib.train.fitting import Settings
from temlib.train.networks import describe, summary, working_layers
from temlib.train.networks import names as network_names
from temlib.train.protocol import Trained, check_folds, check_models, cross_validate, schedule
from temlib.train.shipped import find as find_bundle
from temlib.train.shipped import is_shipped
from temlib.train.svm import features
from temlib.train.svm import names as svm_names
from temlib.train.svm import note as svm_note

__all__ = [
    "POINTS",
    "REACH",
    "Bundle",
    "Sample",
    "Settings",
    "Trained",
    "check_folds",
    "check_models",
    "cross_validate",
    "describe",
    "descriptor_names",
    "export",
    "features",
    "find_bundle",
    "is_shipped",
    "load",
    "minutes",
    "network_names",
    "outline",
    "schedule",
    "summary",
    "svm_names",
    "svm_note",
    "thesis",
    "working_layers",
]
