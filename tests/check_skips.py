"""Compare the skipped tests of a pytest log (made with -ra) with tests/allowed_skips.txt; an unlisted skip fails."""

import pathlib
import re
import sys

allowed = {
    line.strip()
    for line in pathlib.Path(__file__).with_name("allowed_skips.txt").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
}
log = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
skipped = re.findall(r"^SKIPPED \[\d+\] (\S+?):\d+: (.*)$", log, flags=re.M)
unlisted = [f"{file}: {reason}" for file, reason in skipped if f"{file}: {reason}" not in allowed]
if unlisted:
    sys.exit("tests were skipped that tests/allowed_skips.txt does not name:\n" + "\n".join(unlisted))
