"""Parameters in, executed notebooks, HTML and indexes out."""

from temlib.report.checking import check, resolution
from temlib.report.cover import overview
from temlib.report.html import render
from temlib.report.labelling import TrainAgain, to_label
from temlib.report.notebook import Progress, begin, duration, reports_folder
from temlib.report.onefile import find, path_of, write
from temlib.report.planning import plan
from temlib.report.runfolder import verify
from temlib.report.runner import execute, preview
from temlib.report.start import init, undecided

__all__ = [
    "Progress",
    "TrainAgain",
    "begin",
    "check",
    "duration",
    "execute",
    "find",
    "init",
    "overview",
    "path_of",
    "plan",
    "preview",
    "render",
    "reports_folder",
    "resolution",
    "to_label",
    "undecided",
    "verify",
    "write",
]
