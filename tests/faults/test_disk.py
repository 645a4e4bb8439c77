"""A disk that is full or read-only, an account that may not write, times that lie ahead: one sentence, status 1, nothing lost."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.campaign import partial

KB = 1024
# A run of notebook 7 leaves about 250 kB, and half as much for a while.
FREE_KB = (0, 100, 200, 300)


def temlib(*arguments, account=()):
    """Run a command of temlib and return how it ended."""
    command = [*account, sys.executable, "-m", "temlib", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@contextmanager
def disk(folder, kilobytes):
    """Mount a small disk at a folder."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this account may not mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def parameters(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("notebooks: [7_software]\n")
    return path


def one_sentence(ended):
    """Return whether a command ended with status 1 and one sentence, beside the lines of its steps."""
    said = [line for line in ended.stderr.splitlines() if line.startswith("temlib: ")]
    steps = [line for line in ended.stderr.splitlines() if line.startswith("✗")]
    return ended.returncode == 1 and len(said) + len(steps) == 1 and "Traceback" not in ended.stderr


@pytest.mark.parametrize("free", FREE_KB)
def test_a_full_disk_is_one_sentence_and_the_run_goes_on_when_there_is_room(parameters, tmp_path, free):
    """Wherever the disk fills up; no partial file has a final name, and the former run of the folder stays readable."""
    with disk(tmp_path / "disk", 2048) as folder:
        (folder / "filler").write_bytes(bytes((2048 - free) * KB - 16 * KB))
        ended = temlib("run", parameters, "--output", folder / "out")
        assert ended.returncode == 0 or one_sentence(ended), ended.stderr
        assert ended.returncode == 0 or "No space left" in ended.stderr
        assert not partial(folder)
        (folder / "filler").unlink()
        ended = temlib("run", parameters, "--output", folder / "out")
        assert ended.returncode == 0, ended.stderr
        assert temlib("verify", folder / "out" / "mine").returncode == 0
        assert [path.name for path in folder.rglob(".*")] == [".lock"]


def test_a_disk_that_becomes_read_only_loses_nothing(parameters, tmp_path):
    """What is finished stays as it is and is verified; a rerun is refused in a sentence until the disk can be written."""
    with disk(tmp_path / "disk", 4096) as folder:
        assert temlib("run", parameters, "--output", folder / "out").returncode == 0
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        ended = temlib("run", parameters, "--output", folder / "out", "--force")
        assert one_sentence(ended) and "Read-only file system" in ended.stderr
        assert temlib("verify", folder / "out" / "mine").returncode == 0
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
        assert temlib("run", parameters, "--output", folder / "out", "--force").returncode == 0


def test_an_account_that_may_not_write_is_told_so(parameters, tmp_path):
    """In the folder of the reports, and in that of a finished run."""
    # The superuser may write everywhere, unless it gives that up.
    account = ["setpriv", "--bounding-set=-dac_override"] if os.getuid() == 0 else []
    if account and not shutil.which("setpriv"):
        pytest.skip("this account may write everywhere")
    folder = tmp_path / "out"
    assert temlib("run", parameters, "--output", folder).returncode == 0
    for path in (folder, folder / "mine"):
        path.chmod(0o555)
    try:
        for output in (folder, folder / "below"):
            ended = temlib("run", parameters, "--output", output, "--force", account=account)
            assert one_sentence(ended) and "Permission denied" in ended.stderr, ended.stderr
    finally:
        for path in (folder, folder / "mine"):
            path.chmod(0o755)
    assert temlib("verify", folder / "mine").returncode == 0


def test_files_of_a_clock_that_was_set_back_change_nothing(parameters, tmp_path):
    """All that a run left lies in the future: it is up to date, runs again by force, and is verified."""
    assert temlib("run", parameters, "--output", tmp_path / "out").returncode == 0
    ahead = time.time() + 1e7
    for path in (tmp_path / "out").rglob("*"):
        os.utime(path, (ahead, ahead))
    assert "unchanged" in temlib("run", parameters, "--output", tmp_path / "out").stdout
    assert "✓" in temlib("run", parameters, "--output", tmp_path / "out", "--force").stderr
    assert temlib("verify", Path(tmp_path, "out", "mine")).returncode == 0
