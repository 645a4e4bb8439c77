"""The command line: `python -m temlib init|check|run|verify|assay|export|report|html|simulate`."""

import contextlib
import json
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import click

import temlib
from temlib import report
from temlib.files import CURES, REFUSED, InputError, SystemFault, reason, shown

PATHS = click.Path(path_type=Path)
# Above this number of notebooks `check` counts them instead of naming each.
MANY = 12
# How a line begins that says how a notebook ended.
MARKS = {"done": "✓", "failed": "✗", "kept": "=", "skipped": "–"}


class _Commands(click.Group):
    """Commands whose bad input ends in one sentence and exit status 2, and what the system refuses in one and 1."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except InputError as error:
            click.echo(f"temlib: {error}", err=True)
            ctx.exit(1 if isinstance(error, SystemFault) else 2)
        except OSError as error:
            # What the disk or the account does not allow, wherever it shows.
            if error.errno not in (*REFUSED, *CURES):
                raise
            place = f"{shown(error.filename)[:300]}: " if error.filename else ""
            click.echo(f"temlib: {place}{reason(error)}; make room, or name another folder.", err=True)
            ctx.exit(1 if error.errno in REFUSED else 2)
        except KeyboardInterrupt:
            click.echo("temlib: stopped.", err=True)
            ctx.exit(130)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(temlib.__version__)
def main():
    """Which classifier to trust on particles in electron micrographs, and what share of a sample is what."""


def _pairs(ctx, option, values):
    for value in values:
        if "=" not in value:
            raise InputError(f"--set {value}: write KEY=VALUE, such as --set epochs=5.")
    return [tuple(value.split("=", 1)) for value in values]


FILES = click.argument("files", nargs=-1, required=True, type=PATHS)
SET = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_pairs,
    help="Use VALUE for the parameter KEY instead of the file's.",
)
OUTPUT = click.option("--output", type=PATHS, help="Folder for the reports, instead of reports/.")


FORCE = click.option("--force", is_flag=True, help="Run again what is finished and unchanged.")


@main.command()
@click.argument("source", metavar="FOLDER", type=PATHS)
@click.argument("file", required=False, type=PATHS)
@click.option("--force", is_flag=True, help="Replace FILE where it is there already.")
def init(source, file, force):
    """Look at the particles in FOLDER and write a parameter file for them, with a comment on every line.

    FILE is parameters/<name of the folder>.yaml of the working directory unless it is named. Nothing is written into FOLDER.
    """
    start = report.init(source, file, force=force)
    click.echo(f"{start.path}: {'replaced' if start.replaced else 'written'}")
    for sentence in start.sentences:
        click.echo(f"  {sentence}")
    for sentence in start.decide:
        click.echo(f"  To decide: {sentence}")
    click.echo(f"Look at it, then type: {start.command}")


@main.command()
@FILES
@SET
@click.option("--only", multiple=True, metavar="NAME", help="Run only notebooks whose names begin with NAME.")
@OUTPUT
@FORCE
@click.option("--dry-run", is_flag=True, help="Say which notebooks would run, with what, and why; run none.")
@click.option("--workers", default=0, metavar="N", help="Run N notebooks at once; 0 chooses.")
@click.option(
    "--scheduler", default="", metavar="ADDRESS", help="Run them on the workers of this Dask scheduler."
)
@click.option(
    "--limit", default=0.0, metavar="HOURS", help="Stop a notebook after so many hours; 0 for never."
)
def run(files, changes, only, output, force, dry_run, workers, scheduler, limit):
    """Run the notebooks with each parameter FILE and write the HTML reports.

    What is finished and unchanged is kept. A run that was stopped, or that broke off, goes on when it is called again.
    """
    for name, value in {"--workers": workers, "--limit": limit}.items():
        if value < 0:
            raise InputError(f"{name} {value:g}: give a number above 0, or leave it out.")
    runs = report.check(files, changes=changes, only=only, output=output)
    if dry_run:
        for settings in runs:
            _preview(settings, report.preview(settings, only=only, output=output, force=force))
        return
    how = {"only": only, "force": force, "workers": workers, "scheduler": scheduler, "limit_s": 3600 * limit}
    sys.exit(max(_execute(settings, output, **how) for settings in runs))


def _preview(settings, steps):
    """Say which steps would run, why, and with which values that are not the defaults."""
    count = sum(bool(step.reason) for step in steps)
    click.echo(f"{settings.path}: {count} of {len(steps)} notebooks would run")
    for step in steps:
        click.echo(f"  {'▸' if step.reason else MARKS['kept']} {step.label}: {step.reason or 'up to date'}")
        values = {key: value for key, value in step.values.items() if key not in step.combination}
        if step.reason and values:
            click.echo(
                f"      with {', '.join(f'{key}: {shown(json.dumps(value, ensure_ascii=False))}' for key, value in values.items())}"
            )


@main.command()
@click.argument("runs", metavar="RUN", nargs=-1, required=True)
def verify(runs):
    """Check each file of each RUN, a folder or a name below reports/, against the hash that the run recorded.

    The exit status is 1 where a file is missing or altered.
    """
    altered = False
    for run in runs:
        folder = report.find(run)
        count, faults, strange = report.verify(folder)
        for fault in faults:
            click.echo(f"{folder.name}: {fault}")
        for name in strange:
            click.echo(f"{folder.name}: {name} is none of the run's files.")
        click.echo(f"{folder.name}: {count} of {count + len(faults)} files are as the run left them")
        altered |= bool(faults)
    sys.exit(int(altered))


@main.command()
@click.argument("bundle", type=PATHS)
@click.argument("source", metavar="INPUT", type=PATHS)
@SET
@OUTPUT
@FORCE
def assay(bundle, source, changes, output, force):
    """Tell what share of the sample INPUT is what, by the saved model in the folder BUNDLE.

    INPUT is whatever `particles:` opens; labels are not needed. The exit status is 1 where a criterion is not
    met or undecided, such as --set 'accept={multilamellar: "<= 5 %"}'.
    """
    name = source.resolve().stem if source.is_file() else source.resolve().name
    content = {"bundle": str(bundle), "particles": str(source), "notebooks": ["6_assay"]}
    (settings,) = report.check([f"{name}_assay.yaml"], changes=changes, output=output, content=content)
    sys.exit(_execute(settings, output, force=force))


@main.command()
@click.argument("bundle", type=PATHS)
@click.argument("folder", metavar="OUT", type=PATHS)
def export(bundle, folder):
    """Write the networks of the saved model in the folder BUNDLE for other programs, into a new folder OUT.

    ONNX files and a description of the BioImage Model Zoo; OUT/README.md says how images are prepared for them.
    """
    from temlib import train

    difference = train.export(train.load(bundle), folder)
    click.echo(f"{folder / 'rdf.yaml'}: probabilities of the test crops differ by up to {difference:.1g}")


def _execute(settings, output, **how):
    """Run the notebooks of checked settings, say where the report is and what was demanded, and return the exit status."""
    ended = []
    try:
        with _lines(ended) as show, _terminated():
            steps = report.execute(settings, output=output, show=show, **how)
    except KeyboardInterrupt:
        count = sum(step.status in ("done", "kept") for step in ended)
        kept = f"{count} notebook{'s are' if count != 1 else ' is'} finished and kept, and so are finished folds of a training"
        click.echo(
            f"temlib: {settings.run} was stopped; {kept}. The same command goes on from there.", err=True
        )
        return 130
    reports = output or report.reports_folder()
    click.echo(f"{settings.run}: {report.path_of(reports / settings.run)}")
    if steps and all(step.status == "kept" for step in steps):
        click.echo("  unchanged; --force runs it again")
    errors = [step.error for step in steps if step.status == "failed"]
    status = 0 if not errors else 2 if all(error.startswith("InputError") for error in errors) else 1
    for step in steps:
        if step.notebook == "6_assay" and step.status in ("done", "kept"):
            found = json.loads((reports / step.folder / "answer.json").read_text(encoding="utf-8"))
            for sentence in found["verdict"]:
                click.echo(f"  {sentence}")
            for row in found["criteria"]:
                click.echo(f"  {row['verdict']}: {row['criterion']}, is {row['result']}")
                status = max(status, row["verdict"] != "met")
    return int(status)


@main.command()
@FILES
@SET
@OUTPUT
def check(files, changes, output):
    """Check parameter FILES, and the data that they name, and say what can be seen in it, without running anything."""
    for settings in report.check(files, changes=changes, output=output):
        # What cannot be read is refused here at the latest, and not below a line that says "fine".
        steps, sentences = report.plan(settings), report.resolution(settings)
        labels = [step.label for step in steps]
        if len(steps) > MANY:
            counts = Counter(step.notebook for step in steps)
            labels = [f"{name} × {count}" for name, count in counts.items()]
        click.echo(f"{settings.path}: fine; {len(steps)} notebooks to run: {', '.join(labels)}")
        for sentence in sentences:
            click.echo(f"  {sentence}")
        for sentence in report.undecided(settings):
            click.echo(f"  To decide: {sentence}")


@main.command("report")
@click.argument("runs", metavar="RUN", nargs=-1, required=True)
def write_report(runs):
    """Join the pages of each RUN, a folder or a name below reports/, into one HTML file that can be mailed."""
    for run in runs:
        click.echo(report.write(report.find(run)))


@main.command()
@click.argument("notebooks", nargs=-1, required=True, type=PATHS)
def html(notebooks):
    """Render executed NOTEBOOKS, such as those run in JupyterLab, as self-contained HTML beside them."""
    for path in notebooks:
        click.echo(report.render(path))


@main.command()
@click.argument("folder", metavar="OUT", type=PATHS)
@click.option("--count", default=600, help="Number of particles.")
@click.option("--seed", default=1, help="Seed of all random choices.")
@click.option(
    "--preset",
    default="talos200",
    help="krios300, talos200, ccd120, thesis2016, or varied: all of them and more.",
)
@click.option("--micrographs", is_flag=True, help="Write whole micrographs (MRC) and positions (STAR) too.")
def simulate(folder, count, seed, preset, micrographs):
    """Write a folder OUT of simulated cryo-TEM liposomes with known truth, which `particles:` opens."""
    from temlib import simulate

    simulate.write(folder, count, seed=seed, preset=preset, micrographs=micrographs)
    click.echo(f"{folder / 'manifest.csv'}: {count} simulated particles")


@contextlib.contextmanager
def _terminated():
    """Hear what a cluster says before it kills as Ctrl-C."""

    def stop(*_):
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _lines(ended):
    """Yield what shows a step: a live line while it is at work on a terminal, and one plain line when it is added to `ended`."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console, since = Console(stderr=True, highlight=False, soft_wrap=True), {}

    def show(step):
        if step.status not in MARKS:
            since[step.label] = step, time.monotonic()
            return
        since.pop(step.label, None)
        ended.append(step)
        reason = "unchanged, kept" if step.status == "kept" else step.error
        parts = [f"{MARKS[step.status]} {step.label}", report.duration(step.seconds), reason]
        console.print(Text(" · ".join(filter(None, parts))))

    def at_work():
        times = [(step, report.duration(time.monotonic() - began)) for step, began in list(since.values())]
        lines = "\n".join(
            " · ".join(filter(None, [f"… {step.label}", taken, step.doing])) for step, taken in times
        )
        return Text(lines, no_wrap=True, overflow="ellipsis")

    with Live(console=console, get_renderable=at_work, auto_refresh=console.is_terminal, transient=True):
        yield show


if __name__ == "__main__":
    main()
