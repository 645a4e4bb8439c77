"""Whatever people have becomes one table and one stack of images."""

from temlib.data.annotations import Annotations, doubt, next_up
from temlib.data.candidates import candidates, micrograph_pattern
from temlib.data.contents import contents
from temlib.data.labels import consensus, is_definite
from temlib.data.particles import (
    Particles,
    check_simulated,
    check_task,
    mixed,
    open,
    polarity,
    resolution,
    signed,
    split,
)
from temlib.data.positions import star_with_columns
from temlib.data.prepare import PREPARATION, resampled
from temlib.data.prepare import prepare as prepared
from temlib.data.sources import tasks_of
from temlib.data.tables import numbers
from temlib.data.tables import read as read_table

__all__ = [
    "PREPARATION",
    "Annotations",
    "Particles",
    "candidates",
    "check_simulated",
    "check_task",
    "consensus",
    "contents",
    "doubt",
    "is_definite",
    "micrograph_pattern",
    "mixed",
    "next_up",
    "numbers",
    "open",
    "polarity",
    "prepared",
    "read_table",
    "resampled",
    "resolution",
    "signed",
    "split",
    "star_with_columns",
    "tasks_of",
]
