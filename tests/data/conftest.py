"""What several test files of the data wing share."""

from pathlib import Path

import pytest

from temlib.files import InputError

FORMATS = Path(__file__).parents[3] / "shared" / "data" / "formats"
needs_formats = pytest.mark.skipif(
    not FORMATS.is_dir(), reason="the files of ../shared/data/formats are absent"
)
# Words that other programs take for an empty cell, and a few that they take for numbers or truth values.
WORDS = (
    "None",
    "NA",
    "N/A",
    "nan",
    "null",
    "<NA>",
    "#N/A",
    "NaN",
    "NULL",
    "n/a",
    "#NA",
    "True",
    "inf",
    "1.#IND",
)
OPTICS = """data_optics

loop_
_rlnOpticsGroup #1
_rlnMicrographPixelSize #2
_rlnImagePixelSize #3
_rlnImageSize #4
1 2.0 4.0 16
2 3.0 6.0 16

"""
PARTICLES = """data_particles

loop_
_rlnMicrographName #1
_rlnCoordinateX #2
_rlnCoordinateY #3
_rlnOpticsGroup #4
a.mrc 10.5 20 1
a.mrc 11 21 1
b.mrc 12 22 2
"""
CBOX = """data_cryolo

loop_
_CoordinateX #1
_CoordinateY #2
_CoordinateZ #3
_Width #4
_Height #5
_Confidence #6
10 20 <NA> 8 8 0.9
30 40 <NA> 8 8 0.2
"""


def refused(match, call, *arguments, **options):
    """Assert that a call is refused in one sentence, and return it."""
    with pytest.raises(InputError, match=match) as caught:
        call(*arguments, **options)
    text = str(caught.value)
    assert text.isprintable() and text.endswith((".", "?")) and len(text) < 700
    return text
