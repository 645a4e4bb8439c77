"""Fuzzing of `python -m temlib check`: every case ends in a right answer or in one sentence, soon, and in bounded memory.

`python -m tests.faults.fuzz --count 10000 --run 200` draws cases (`tests.faults.cases`), checks each in a process that is watched,
runs some of those that are accepted, and prints a table. What was done lies in a folder, so that the same command goes on
where it was stopped. A case fails where `check` ends in anything but exit status 0, or 2 with one line `temlib: …`; takes
longer than `SECONDS`; holds more than `MEMORY`; or writes, connects, starts a program or unpickles what it should not.
"""

import base64
import contextlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import click

SEED, CHUNK = 20, 50  # cases of one kind that are drawn together
SECONDS, MEMORY = 20, 10**9  # of this process's own work; bytes of the process
PATIENCE = 300  # seconds on the clock after which a process that says nothing is ended
LONGEST = 1500  # characters of a sentence
# What a process asks of Python before it writes, by the places of the path and of the folder it is relative to.
WRITES = {
    "os.mkdir": (0, 2),
    "os.remove": (0, 1),
    "os.rmdir": (0, 1),
    "os.rename": (1, 3),
    "os.symlink": (1, 2),
}
WRITES |= {"os.link": (1, 3), "os.truncate": (0, None)}
NEVER = ("pickle.find_class", "socket.connect", "socket.getaddrinfo", "os.system", "os.exec", "os.fork")
NEVER += ("os.posix_spawn", "webbrowser.open")


class Hang(BaseException):
    """A case did not end; not an Exception, lest something take it for damage."""


class Watch:
    """Within `with`, what is done that `check` should not do, as a list of sentences; `allowed` are folders to write in."""

    on = None

    def __init__(self, *allowed):
        self.allowed, self.found = tuple(os.path.realpath(folder) + os.sep for folder in allowed), []

    def __enter__(self):
        Watch.on = self
        return self.found

    def __exit__(self, *_):
        Watch.on = None

    def note(self, event, arguments):
        path = None
        if event == "open" and isinstance(arguments[0], (str, bytes)):
            flags = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
            path = arguments[0] if (arguments[2] or 0) & flags else None
        elif event in WRITES:
            path, base = (arguments[k] if k is not None else -1 for k in WRITES[event])
            if base not in (-1, None):
                path = os.path.join(os.readlink(f"/proc/self/fd/{base}"), os.fsdecode(path))
        elif event in NEVER or (event == "subprocess.Popen" and arguments[0] != sys.executable):
            self.found.append(f"{event}{arguments!r}"[:200])
        if path is not None:
            real = os.path.realpath(os.fsdecode(path))
            if not (real + os.sep).startswith(self.allowed) and real != os.devnull:
                self.found.append(f"{event}({real})")


def audit(event, arguments):
    """Hand what Python is about to do to the watch that is on."""
    if (watch := Watch.on) is not None:
        Watch.on = None  # what is asked within asks nothing
        try:
            watch.note(event, arguments)
        finally:
            Watch.on = watch


def laid(case, folder):
    """Write a case into a new folder and return the path of its parameter file."""
    folder.mkdir(parents=True)
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            os.mkfifo(path)
        elif isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content)
    (folder / "p.yaml").write_bytes(case.text)
    return folder / "p.yaml"


@contextlib.contextmanager
def limited(seconds=SECONDS):
    """End what takes more than so many seconds of this process's work."""

    def stop(*_):
        raise Hang

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def peak():
    """Return the most bytes that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def asked(path, output, changes=()):
    """Check a parameter file as the command does; return how it ended, what is wrong with that, and the seconds."""
    from click.testing import CliRunner

    from temlib.__main__ import main

    output.mkdir(exist_ok=True)
    words = ["check", str(path), "--output", str(output)]
    words += [word for pair in changes for word in ("--set", "=".join(pair))]
    began, held, fault = time.process_time(), peak(), ""
    with Watch(output, tempfile.gettempdir(), os.environ["TEMLIB_CACHE"]) as found:
        try:
            with limited():
                result = CliRunner().invoke(main, words)
        except Hang:
            result, fault = None, f"no end within {SECONDS} s"
    taken = time.process_time() - began
    if result is not None:
        fault = misfit(result)
    if found:
        fault = fault or f"it should not: {found[0]}"
    if peak() > max(held, MEMORY):
        fault = fault or f"memory: {peak() / 1e6:.0f} MB"
    ended = "fault" if fault else "accepted" if result.exit_code == 0 else "refused"
    return ended, fault, taken, "" if result is None else result.output


def misfit(result):
    """Return what is wrong with the end of a command, empty if nothing is."""
    if result.exception and not isinstance(result.exception, SystemExit):
        import traceback

        last = traceback.extract_tb(result.exc_info[2])[-1]
        return f"{type(result.exception).__name__}: {result.exception!s:.200} ({Path(last.filename).name}:{last.lineno})"
    lines = result.stderr.splitlines()
    if result.exit_code == 0:
        return f"it says beside its answer: {result.stderr[:200]!r}" if lines else ""
    if result.exit_code != 2:
        return f"exit status {result.exit_code}"
    sound = len(lines) == 1 and lines[0].startswith("temlib: ") and lines[0].endswith((".", "?"))
    if not sound or not lines[0].isprintable() or not 20 < len(lines[0]) < LONGEST or result.stdout:
        return f"no sentence: {result.output[:300]!r}"
    return ""


def drawn(kind, chunk, count):
    """Return `count` cases of a kind, the same for the same chunk."""
    from hypothesis import HealthCheck, Phase, given, seed, settings

    from tests.faults import cases

    found, health = [], list(HealthCheck)

    @seed(SEED + chunk)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=health,
    )
    @given(cases.KINDS[kind]())
    def draw(case):
        found.append(case)

    draw()
    return found


def work(out, chunks, count, kept):
    """Check the cases of some chunks, a line of JSON each, and keep some accepted ones to be run."""
    from tests.faults import cases

    sys.addaudithook(audit)
    kinds = list(cases.KINDS)
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        warm(Path(scratch))
        for chunk in chunks:
            before, saved = {row["case"] for row in done(out).get(chunk, ())}, 0
            for k, case in enumerate(drawn(kinds[chunk % len(kinds)], chunk, count)):
                if k in before:
                    continue
                folder = Path(scratch, f"{chunk}-{k}")
                row = {"chunk": chunk, "case": k, "kind": case.kind}
                tell(out, row | {"ended": "begun"})
                path = laid(case, folder)
                ended, fault, taken, said = asked(path, folder.with_name("output"), case.changes)
                row |= {
                    "ended": ended,
                    "fault": fault,
                    "seconds": round(taken, 3),
                    "peak": peak(),
                    "said": said[-300:],
                }
                if ended == "accepted" and saved < kept and not case.changes and cheap(said):
                    saved += 1
                    keep(folder, out / "accepted")
                if ended == "fault":
                    keep(folder, out / "faults")
                    row |= {"text": base64.b64encode(case.text[:2000]).decode(), "set": case.changes}
                tell(out, row)
                shutil.rmtree(folder)


def keep(folder, place):
    """Copy the files of a case."""
    shutil.copytree(folder, place / folder.name, symlinks=True, dirs_exist_ok=True, ignore=pipes)


def pipes(folder, names):
    """Return the names of pipes, which cannot be copied."""
    return [name for name in names if Path(folder, name).is_fifo()]


def warm(folder):
    """Import all that a case may need, so that no case is blamed for it."""
    from temlib import assay, data, evaluate, figures, simulate, train  # noqa: F401
    from tests.faults import cases

    files = {"t.csv": cases.SOUND_TABLE.encode(), "s.mrcs": cases.sound()["s.mrcs"]}
    text = b"particles: t.csv\ntask: kind\nscale: fill\ninput_size: 12\nmodels: [residual, svm_texture]\nprimary: residual\n"
    path = laid(cases.Case("warm", files, text), folder / "warm")
    ended, fault, *_ = asked(path, folder / "output")
    if ended != "accepted":
        raise SystemExit(f"the sound case is not accepted: {fault}")


def cheap(said):
    """Return whether what `check` says names notebooks alone that run in seconds, and few of them."""
    from tests.faults import cases

    first = said.partition(" to run: ")[2].splitlines()[:1] or [""]
    names = first[0].split(", ")
    return len(names) <= 2 and all(name.split(" ")[0] in cases.CHEAP[:2] for name in names)


def tell(out, row):
    """Add a line to what was done."""
    with open(Path(out, "cases.jsonl"), "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def done(out):
    """Return the rows of finished cases by chunk, in their order; a case that was begun and not ended is a fault."""
    path, rows = Path(out, "cases.jsonl"), {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):  # cut off
            row = json.loads(line)
            rows.setdefault(row["chunk"], {})[row["case"]] = row
    return {chunk: list(found.values()) for chunk, found in rows.items()}


def forget_begun(out):
    """Take the cases out of what was done that were at work when the campaign was stopped, so that they are drawn again."""
    ended = [row for found in done(out).values() for row in found if row["ended"] != "begun"]
    lines = "".join(json.dumps(row) + "\n" for row in ended)
    Path(out, "cases.jsonl").write_text(lines, encoding="utf-8")


def runs(out, names):
    """Run accepted cases: the cells of their notebooks in this process, a line of JSON each."""
    from IPython.core.interactiveshell import InteractiveShell

    from temlib import report
    from temlib.files import InputError

    shell = InteractiveShell.instance()
    shell.display_formatter.active_types = shell.display_formatter.format_types  # as in a kernel
    for name in names:
        folder = Path(out, "accepted", name)
        row = {"chunk": "runs", "case": name}
        tell(out, row | {"ended": "begun", "kind": "runs"})
        began, faults = time.monotonic(), []
        with tempfile.TemporaryDirectory(dir=out) as scratch:
            os.environ["TEMLIB_REPORTS"] = scratch
            try:
                (settings,) = report.check([folder / "p.yaml"], output=Path(scratch))
            except InputError as fault:  # it names the folder above itself, which is another one here
                faults += [f"InputError: {fault}"]
            for step in report.plan(settings) if not faults else ():
                faults += [executed(shell, step)]
        fault = next(filter(None, faults), "")
        ended = "done" if not fault else "refused" if fault.startswith("InputError: ") else "fault"
        tell(
            out,
            row
            | {
                "kind": "runs",
                "ended": ended,
                "fault": fault,
                "seconds": round(time.monotonic() - began, 2),
                "peak": peak(),
            },
        )


def executed(shell, step):
    """Run the code of a notebook's step; return its first error, empty if there is none."""
    import matplotlib.pyplot as plt
    import nbformat
    from papermill.translators import translate_parameters

    given = translate_parameters("python3", "python", step.values, "Parameters")
    cells = [cell for cell in nbformat.read(step.source, as_version=4).cells if cell.cell_type == "code"]
    sources = [cells[0].source, given, *(cell.source for cell in cells[1:])]
    shell.reset(new_session=True)
    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            for source in sources:
                result = shell.run_cell(source, store_history=True)
                if error := result.error_before_exec or result.error_in_exec:
                    return f"{type(error).__name__}: {error!s:.300}"
    finally:
        plt.close("all")
    said = text.getvalue()  # what fails when it is shown ends no cell
    return f"shown: {said[said.index('Traceback') :][-300:]}" if "Traceback" in said else ""


def watched(out, job, names, count, kept):
    """Do a job's chunks or cases in processes of their own; one that says nothing for long is ended and the next goes on."""
    log = Path(out, "cases.jsonl")
    while True:
        rows = done(out)
        if job == "work":
            left = [n for n in names if len(rows.get(n, ())) < count]
        else:
            left = [n for n in names if n not in {row["case"] for row in rows.get("runs", ())}]
        if not left:
            return
        before = log.stat().st_size if log.exists() else 0
        command = [
            sys.executable,
            "-m",
            "tests.faults.fuzz",
            "--out",
            str(out),
            "--job",
            job,
            "--count",
            str(count),
        ]
        process = subprocess.Popen([*command, "--kept", str(kept), *map(str, left)], stdin=subprocess.DEVNULL)
        grown, since = before, time.monotonic()
        while process.poll() is None:
            time.sleep(0.2)
            size = log.stat().st_size if log.exists() else 0
            if size != grown:
                grown, since = size, time.monotonic()
            if time.monotonic() - since > PATIENCE:
                process.kill()
        if process.returncode and grown == before:
            raise SystemExit(f"the process of {job} ended with {process.returncode} and did nothing")


def table(out):
    """Return what was done as lines of a table, and the rows of all faults."""
    rows = [row for found in done(out).values() for row in found]
    for row in rows:
        if row["ended"] == "begun":
            row |= {"ended": "fault", "fault": "the process hung or died", "seconds": 0, "peak": 0}
    lines = [
        "kind | cases | accepted or done | refused | faults | slowest (s) | peak memory (MB)",
        "---|---|---|---|---|---|---",
    ]
    kinds = Counter(row["kind"] for row in rows)
    for kind in [*(kind for kind in kinds if kind != "runs"), *(["runs"] if "runs" in kinds else []), ""]:
        some = [row for row in rows if row["kind"] == kind or (not kind and row["kind"] != "runs")]
        ended = Counter(row["ended"] for row in some)
        worst = (
            max((row["seconds"] for row in some), default=0),
            max((row["peak"] for row in some), default=0) / 1e6,
        )
        good = ended["accepted"] + ended["done"]
        cells = (
            kind or "all checks",
            f"{len(some):,}",
            f"{good:,}",
            f"{ended['refused']:,}",
            ended["fault"],
            f"{worst[0]:.1f}",
        )
        lines.append(" | ".join(map(str, [*cells, f"{worst[1]:.0f}"])))
    return lines, [row for row in rows if row["ended"] == "fault"]


@click.command()
@click.option("--count", default=300, show_default=True, help="Number of cases.")
@click.option(
    "--run",
    "run",
    default=0,
    show_default=True,
    help="How many accepted ones are run, at the least where there are so many.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder in which the campaign lies and goes on.")
@click.option("--job", default="", hidden=True)
@click.option("--kept", default=0, hidden=True)
@click.argument("names", nargs=-1)
def main(count, run, out, job, kept, names):
    """Draw COUNT cases, check each, run some of the accepted, and print a table; exit status 1 where one failed."""
    if job:
        work(out, list(map(int, names)), count, kept) if job == "work" else runs(out, names)
        return
    with contextlib.ExitStack() as after:
        out = out or Path(after.enter_context(tempfile.TemporaryDirectory()))
        out.mkdir(parents=True, exist_ok=True)
        forget_begun(out)
        for name in ("cache", "tmp", "home"):
            (out / name).mkdir(exist_ok=True)
        os.environ |= {
            "TEMLIB_CACHE": str(out / "cache"),
            "TMPDIR": str(out / "tmp"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        os.environ |= {"HOME": str(out / "home"), "MPLBACKEND": "agg", "TF_CPP_MIN_LOG_LEVEL": "3"}
        size = min(CHUNK, max(1, count // 10))
        chunks = list(range(-(-count // size)))
        watched(out, "work", chunks, size, -(-run * 2 // len(chunks)))
        ran = [row["case"] for row in done(out).get("runs", ())]
        rest = sorted({path.name for path in (out / "accepted").glob("*")} - set(ran))
        more = max(0, run - len(ran))
        watched(out, "runs", ran + rest[:: max(1, len(rest) // more)][:more] if more else ran, count, 0)
        lines, faults = table(out)
        click.echo(f"seed {SEED}; {size} cases a chunk")
        click.echo("\n".join(lines))
        for row in faults:
            click.echo(f"{row['kind']} {row['chunk']}-{row['case']}: {row['fault']}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
