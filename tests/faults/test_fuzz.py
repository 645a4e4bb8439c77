"""The campaign of `tests.faults.fuzz` in short: the same cases each time, in a process of its own."""

import json
import subprocess
import sys
from collections import Counter

from temlib.report import notebook
from tests.faults import cases, fuzz


def test_check_ends_in_an_answer_or_a_sentence(tmp_path):
    """300 drawn cases: no traceback, no hang, nothing written elsewhere, at most 1 GB; some of each kind are accepted."""
    command = [sys.executable, "-m", "tests.faults.fuzz", "--count", "300", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=notebook.CHECKOUT)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-1000:]}"
    rows = [json.loads(line) for line in (tmp_path / "out" / "cases.jsonl").read_text("utf-8").splitlines()]
    rows = [row for row in rows if row["ended"] != "begun"]
    ended = Counter((row["kind"], row["ended"]) for row in rows)
    assert len(rows) == 300 and {kind for kind, _ in ended} == set(cases.KINDS)
    assert sum(n for (_, how), n in ended.items() if how == "accepted") > 30
    assert all(ended[kind, "refused"] for kind in cases.KINDS)


def test_the_watch_sees_what_is_written_elsewhere(tmp_path):
    """In the folders that are allowed it says nothing; else it names the file, also one that a link leads to."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    with fuzz.Watch(tmp_path / "in") as found:
        fuzz.audit("open", (str(tmp_path / "in" / "a"), "w", fuzz.os.O_WRONLY))
        fuzz.audit("open", (str(tmp_path / "b"), "r", 0))
        seen = len(found)
        fuzz.audit("open", (str(tmp_path / "in" / "link"), "w", fuzz.os.O_WRONLY))
        fuzz.audit("os.mkdir", (str(tmp_path / "c"), 0o777, -1))
        fuzz.audit("pickle.find_class", ("os", "system"))
    assert seen == 0 and len(found) == 3
    assert found[0] == f"open({tmp_path / 'out'})" and found[2].startswith("pickle.find_class")
