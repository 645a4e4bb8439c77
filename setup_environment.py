"""Make the environment that the Makefile uses, from the lock; every failure ends in one sentence.

Runs on any Python 3 so that a version that does not fit can be told.
"""

import os
import shutil
import subprocess
import sys


def fail(sentence):
    sys.stderr.write("temlib: " + sentence + "\n")
    sys.exit(2)


def run(arguments):
    done = subprocess.run(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
    )
    return done.returncode, done.stdout


def main(folder):
    version = ".".join(map(str, sys.version_info[:3]))
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        fail(
            "Python 3.11, 3.12 or 3.13 is needed, this is %s; name one with: make PYTHON=python3.12" % version
        )
    ready = os.path.join(folder, ".ready")
    python = os.path.join(folder, "Scripts" if os.name == "nt" else "bin", "python")
    if not os.path.exists(python):
        print("Making the environment %s (about 3 GB, once; a few minutes) ..." % folder, flush=True)
        code, output = run([sys.executable, "-m", "venv", folder])
        if code:
            shutil.rmtree(folder, ignore_errors=True)
            fail(
                "Python's venv module does not work here (on Debian: apt-get install python3-venv): "
                + last(output)
            )
    else:
        print("Bringing the environment %s up to date ..." % folder, flush=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    code, output = run(pip + ["--require-hashes", "-r", "requirements.txt"])
    if code:
        network = any(
            word in output for word in ("No matching distribution", "Connection", "Max retries", "timed out")
        )
        reason = (
            "the package index cannot be reached; connect to the network and repeat"
            if network
            else last(output)
        )
        fail("the packages of requirements.txt could not be installed: " + reason)
    code, output = run(pip + ["--no-deps", "--no-build-isolation", "--editable", "."])
    if code:
        fail("temlib itself could not be installed: " + last(output))
    with open(ready, "w") as marker:
        marker.write(version + "\n")


def last(output):
    lines = [line for line in output.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "no reason was given"


if __name__ == "__main__":
    main(sys.argv[1])
