"""Files and errors as all of temlib treats them: written whole or not at all, refused in one sentence."""

import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """What the user gave cannot be used; the message is one sentence that names the place and the cure."""

    def _render_traceback_(self):
        """Show the sentence alone in a notebook: the way through temlib's code does not help its reader."""
        return [f"InputError: {self}"]


@contextmanager
def replacing(path):
    """Yield a temporary path beside `path` that takes its place when the block ends without an error.

    Parameters
    ----------
    path : str or Path
        The file to write; its folder is made when missing.

    Yields
    ------
    Path
        Where to write. The suffix is that of `path`, since many writers choose the format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; a report is made to be shared, so the usual mask decides instead.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text):
    """Write `text` to `path` in UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_csv(path, table):
    """Write the DataFrame `table` to `path` without its index, whole or not at all."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def write_json(path, content):
    """Write `content` to `path` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n")
