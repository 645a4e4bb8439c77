"""Parameters in, executed notebooks, HTML and indexes out."""

from temlib.report.html import render
from temlib.report.notebook import Progress, begin, duration, reports_folder
from temlib.report.runner import check, execute, plan, resolution

__all__ = [
    "Progress",
    "begin",
    "check",
    "duration",
    "execute",
    "plan",
    "render",
    "reports_folder",
    "resolution",
]
