"""The command line: `python -m temlib run|check|html|simulate`."""

import sys
from collections import Counter
from pathlib import Path

import click

import temlib
from temlib import report
from temlib.files import InputError

PATHS = click.Path(path_type=Path)
# Above this number of notebooks `check` counts them instead of naming each.
MANY = 12


class _Commands(click.Group):
    """Commands whose bad input ends in one sentence and exit status 2."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except InputError as error:
            click.echo(f"temlib: {error}", err=True)
            ctx.exit(2)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
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


@main.command()
@FILES
@SET
@click.option(
    "--only", multiple=True, metavar="NAME", help="Run only the notebooks whose names begin with NAME."
)
@click.option("--output", type=PATHS, help="Folder for the reports, instead of reports/.")
@click.option("--force", is_flag=True, help="Run again what is finished and unchanged.")
def run(files, changes, only, output, force):
    """Run the notebooks with each parameter FILE and write the HTML reports."""
    status = 0
    for settings in report.check(files, changes=changes):
        line = _Line()
        steps = report.execute(settings, only=only, output=output, force=force, show=line.show)
        reports = Path(output) if output else report.reports_folder()
        click.echo(f"{settings.run}: {reports / settings.run / 'index.html'}")
        failed = [step for step in steps if step.status == "failed"]
        if failed:
            status = 2 if all(step.error.startswith("InputError") for step in failed) else max(status, 1)
    sys.exit(status)


@main.command()
@FILES
@SET
def check(files, changes):
    """Check parameter FILES, and the data that they name, without running anything."""
    from temlib import report

    declared = report.declarations()
    for settings in report.check(files, changes=changes):
        steps = report.plan(settings, declared)
        labels = [step.label for step in steps]
        if len(steps) > MANY:
            times = Counter(step.notebook for step in steps)
            labels = [f"{name} × {count}" for name, count in times.items()]
        click.echo(f"{settings.path}: fine; {len(steps)} notebooks to run: {', '.join(labels)}")


@main.command()
@click.argument("notebooks", nargs=-1, required=True, type=PATHS)
def html(notebooks):
    """Render executed NOTEBOOKS, such as those run in JupyterLab, as self-contained HTML beside them."""
    from temlib import report

    for path in notebooks:
        click.echo(report.render(path))


@main.command()
@click.argument("folder", metavar="OUT", type=PATHS)
@click.option("--count", default=600, show_default=True, help="Number of particles.")
@click.option("--seed", default=1, show_default=True, help="Of everything random.")
@click.option(
    "--preset", default="talos200", show_default=True, help="krios300, talos200, ccd120 or thesis2016."
)
@click.option("--micrographs", is_flag=True, help="Write whole micrographs (MRC) and positions (STAR) too.")
def simulate(folder, count, seed, preset, micrographs):
    """Write a folder OUT of simulated cryo-TEM liposomes with known truth, which `particles:` opens."""
    from temlib import simulate

    simulate.write(folder, count, seed=seed, preset=preset, micrographs=micrographs)
    click.echo(f"{folder / 'manifest.csv'}: {count} simulated particles")


class _Line:
    """One live line of the notebooks at work on a terminal; elsewhere a line when a notebook ends."""

    def __init__(self):
        import shutil
        import threading
        import time

        self.live, self.clock = sys.stderr.isatty(), time.monotonic
        self.width, self.lock, self.at_work = shutil.get_terminal_size().columns, threading.Lock(), {}

    def show(self, step, text):
        from temlib.report import duration

        with self.lock:
            began = self.at_work.setdefault(step.label, (self.clock(), ""))[0]
            self.at_work[step.label] = began, text
            if step.status in ("done", "failed", "kept", "skipped"):
                del self.at_work[step.label]
                mark = {"done": "✓", "failed": "✗", "kept": "=", "skipped": "–"}[step.status]
                reason = f" · {step.error}" if step.error else ""
                reason = " · unchanged, kept" if step.status == "kept" else reason
                self._write(f"{mark} {step.label} · {duration(step.seconds)}{reason}", end="\n")
            elif self.live:
                share = self.width // len(self.at_work) - 2
                parts = [
                    f"… {label} · {duration(self.clock() - since)} · {what}"
                    for label, (since, what) in self.at_work.items()
                ]
                self._write("  ".join(part[:share] for part in parts), end="")

    def _write(self, text, end):
        sys.stderr.write(("\r\033[K" if self.live else "") + text + end)
        sys.stderr.flush()


if __name__ == "__main__":
    main()
