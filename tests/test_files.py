"""Sentences stay on their line, names are text, and ZIP files do not unpack to what they cannot honestly hold."""

import pickle
import zipfile

import pytest

from temlib import files
from temlib.files import InputError


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "\u202eabc", "\udcff", "\ud800", "\0", "é 日本 'q' \\"])
def test_what_a_name_holds_does_not_break_the_sentence(name):
    """What cannot be printed is escaped; the rest is as it was; a process pool may carry it."""
    error = pickle.loads(pickle.dumps(InputError(f"{name} is no name.")))
    assert str(error).isprintable() and str(error).endswith(" is no name.")
    assert not name.isprintable() or str(error) == f"{name} is no name."


def test_a_name_that_is_no_text_is_refused(tmp_path):
    """Such as the byte 255, which Python reads from a disk as half of a character."""
    path = tmp_path / "a\udcff.csv"
    path.write_text("x")
    with pytest.raises(InputError, match="has a name that is not text in UTF-8; rename it"):
        files.probe(path, 1)


@pytest.mark.parametrize("parts", [1, 8])
def test_a_zip_file_that_expands_too_far_is_refused(tmp_path, parts):
    """Half a gigabyte of zeros in half a megabyte, in one part or in several; a quarter is free, whatever it holds."""
    path = tmp_path / "a.zip"
    for size, good in ((2**28, True), (2**29, False)):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for k in range(parts):
                archive.writestr(f"{k}", bytes(size // parts))
        if good:
            files.check_unpacked(path)
        else:
            with pytest.raises(InputError, match="would unpack from .* bytes, more than is read"):
                files.check_unpacked(path)
