"""Run every benchmark in turn; `--quick` those few that have a short form, for regressions."""

import pathlib
import subprocess
import sys

quick = "--quick" in sys.argv
status = 0
for script in sorted(pathlib.Path(__file__).parent.glob("[a-z]*.py")):
    short = "--quick" in script.read_text(encoding="utf-8")
    if quick and not short:
        continue
    print(f"\n## {script.stem}", flush=True)
    # As a module: started by its path, a script's own folder would hide packages of the same names.
    arguments = [sys.executable, "-m", f"benchmarks.{script.stem}", *(["--quick"] if quick else [])]
    status = max(status, subprocess.run(arguments, check=False).returncode)
sys.exit(status)
