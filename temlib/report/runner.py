"""From checked parameters to executed notebooks and reports.

What is finished and unchanged is kept; all else is planned (`planning`), given to workers (`engine`, `worker`) and moved into the
run's folder (`runfolder`) when it is whole. So a run that is stopped or killed, in whatever moment, goes on where it was.
"""

import os
import time
from pathlib import Path

import pandas as pd

from temlib import provenance
from temlib.files import read_csv, write_csv, write_json, write_text
from temlib.report import engine, onefile, parameters, runfolder, worker
from temlib.report.planning import COMPARES, TRAIN, describe, plan

# So many workers where none are asked for: on two cores two trainings of one thread each take about two thirds of the time that
# they take one after the other. Each needs about 1 GB.
SIDE_BY_SIDE = 2
ACCELERATOR = Path("/dev/nvidia0")
# Tables that the combinations write and that are joined in the run's own folder.
JOINED = ("measures.csv", "comparisons.csv", "predictions.csv", "history.csv", "costs.csv", "label_audit.csv")


def execute(
    settings,
    *,
    only=(),
    output=None,
    force=False,
    show=lambda step: None,
    workers=0,
    scheduler="",
    limit_s=0.0,
):
    """Run the notebooks of one parameter file, write their reports, and return the steps with their status.

    Parameters
    ----------
    settings : Settings
        Of `check`.
    only : sequence of str
        Beginnings of the names of notebooks; others are left alone.
    output : Path, optional
        Folder that replaces `reports/`.
    force : bool
        Run again what is finished and unchanged too.
    show : callable
        Gets each step when it begins and when it ends.
    workers : int
        Steps at once, each in a process of its own; 0 chooses.
    scheduler : str
        Address of a Dask scheduler, to whose workers the steps go instead.
    limit_s : float
        Seconds after which a step is stopped, 0 for none.

    Raises
    ------
    InputError
        Where another run is at work in the folder, or it cannot be written.
    """
    steps = plan(settings, only=only)
    folder = runfolder.place(settings, steps, output)
    with runfolder.locked(folder):
        run = _Run(settings, steps, folder, show, limit_s, workers, scheduler)
        run.decide(force)
        try:
            if any(step.reason for step in steps):
                run.go()
            run.tell(only)
        finally:
            run.leave()
    return steps


def preview(settings, *, only=(), output=None, force=False):
    """Return the steps of a run as `execute` would find them: where the `reason` is empty, a step is kept."""
    steps = plan(settings, only=only)
    reports = runfolder.place(settings, steps, output).parent
    describe(steps, lambda step: runfolder.record_of(reports, step), force=force)
    return steps


class _Run:
    """One call of `execute` at work in a run's folder."""

    def __init__(self, settings, steps, folder, show, limit_s, workers, scheduler):
        self.settings, self.steps, self.folder, self.show = settings, steps, folder, show
        self.reports, self.limit_s, self.started = folder.parent, limit_s, time.time()
        self.workers = workers or min(SIDE_BY_SIDE, os.cpu_count() or 1)
        self.scheduler, self.alone = scheduler, not scheduler and ACCELERATOR.exists()

    def decide(self, force):
        """Finish what an earlier call had begun to move, and say of each step whether it runs."""
        runfolder.recover(self.folder)
        describe(self.steps, lambda step: runfolder.record_of(self.reports, step), force=force)
        if not (self.folder / "parameters.yaml").exists():  # by which the folder is known for that of a run
            write_text(self.folder / "parameters.yaml", _as_yaml(self.settings))

    def go(self):
        """Run what is to be run; the first fault that is none of a notebook's ends all."""
        with engine.opened(self.workers, self.scheduler, self.folder / runfolder.WORK) as executor:
            self.died = executor.died
            engine.run(self.steps, executor, begin=self.begin, ended=self.ended, urgent=self.urgent)

    def cores(self, step):
        """Return with how many threads a step computes, 0 for all that its machine has."""
        if step.threads or self.scheduler:
            return step.threads
        trainings = sum(other.notebook in TRAIN for other in self.steps)
        beside = 1 if self.alone else min(self.workers, trainings)
        return max(1, (os.cpu_count() or 1) // (beside if step.notebook in TRAIN else self.workers))

    def urgent(self, ready, at_work):
        """Return the steps that may run, those that train first; one training at a time where there is an accelerator."""
        busy = self.alone and any(step.notebook in TRAIN for step in at_work)
        chosen = []
        for step in sorted(ready, key=lambda step: step.notebook not in TRAIN):
            trains = self.alone and step.notebook in TRAIN and step.reason
            if not (trains and busy):
                chosen.append(step)
                busy = busy or trains
        return chosen

    def begin(self, step):
        """Return the task of a step, or None where it is kept or skipped."""
        missing = [other for other in step.before if other.status in ("failed", "skipped")]
        for other in missing:  # what is compared without them is not what would be compared with them
            step.parts["before"][f"{other.notebook} {other.folder.as_posix()}"] = ""
        if step.reads in missing:
            step.status, step.error = "skipped", f"{step.reads.notebook} failed before it"
        elif not step.reason and not missing:
            step.status = "kept"
        if step.status != "waiting":
            self.show(step)
            return None
        if step.notebook in COMPARES:
            self.join()
        former = runfolder.record_of(self.reports, step).get("files", ())
        given = ("notebook", "values", "combination", "threads", "parts")
        job = {name: getattr(step, name) for name in given} | {
            "token": runfolder.begin(self.folder, step),
            "work": str(step.work),
            "source": str(step.source),
            "reports": str(self.reports),
            "folder": step.folder.as_posix(),
            "former": list(former),
            "cores": self.cores(step),
            "limit_s": self.limit_s,
        }
        step.status = "running"
        self.show(step)
        return worker.execute, job

    def ended(self, step, future):
        """Move what a step left to its place; a worker that died again and again is the step's fault, all else ends the run."""
        try:
            record = future.result()
        except self.died:
            step.status = "failed"
            step.error = f"its worker died {engine.TRIES} times, perhaps for want of memory"
        else:
            step.status, step.error, step.seconds = (record[key] for key in ("status", "error", "seconds"))
            runfolder.move(self.reports, Path(record.pop("attempt")), record)
        runfolder.end(self.folder, step)
        self.show(step)

    def join(self):
        """Join the tables of all combinations in the run's own folder."""
        every = {id(step): step for step in self.steps for step in (*step.before, step)}
        join_tables(self.folder, list(every.values()))

    def tell(self, only):
        """Write where the run came from, its index, and the index over all runs; what an earlier call did stays listed."""
        for step in self.steps:
            if step.status == "waiting":  # nothing was to be run
                step.status = "kept"
                self.show(step)
        path, text = self.folder / "provenance.json", _as_yaml(self.settings)
        before = runfolder.read_json(path)
        unchanged = (
            before.get("files") and before.get("parameters") == text and onefile.path_of(self.folder).exists()
        )
        if unchanged and all(step.status == "kept" for step in self.steps):
            return
        self.join()
        write_text(self.folder / "parameters.yaml", text)
        origin = provenance.describe() | {
            "started": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.started)),
            "seconds": round(time.time() - self.started, 1),
            "parameters": text,
            "only": list(only),
            "locked": provenance.locked(),
            "notebooks": self.rows(before.get("notebooks", [])),
        }
        write_json(path, origin)  # which the pages read
        onefile.write(self.folder)
        onefile.write_index(self.reports)
        write_json(path, origin | {"files": runfolder.hashes(self.folder, origin["notebooks"])})

    def rows(self, earlier):
        """Return a row for each step, in the order of the matrix, then what an earlier call did."""
        before, rows = {(row["notebook"], row["folder"]): row for row in earlier}, {}
        for step in self.steps:
            record = runfolder.record_of(self.reports, step)
            row = {
                key: getattr(step, key) for key in ("notebook", "combination", "status", "error", "threads")
            }
            row |= {"folder": step.folder.as_posix(), "seconds": round(step.seconds, 1)}
            if step.status == "kept":
                row["seconds"] = record["seconds"]  # the time that it took when it was executed
            # What is shown of a step that failed now is what an earlier call left.
            row["earlier"] = step.status in ("failed", "skipped") and record.get("status") == "done"
            rows[step.notebook, row["folder"]] = row
        return sorted((rows | before | rows).values(), key=lambda row: row["notebook"])

    def leave(self):
        """Take back what is still at work, and leave nothing half-done but finished folds."""
        for step in self.steps:
            if step.status in ("waiting", "running"):
                step.status = "interrupted"
            runfolder.end(self.folder, step)


def _as_yaml(settings):
    """Return checked settings as the text of a parameter file."""
    asked = {"notebooks": list(settings.notebooks), "matrix": settings.matrix}
    return parameters.as_text(settings.values | {key: value for key, value in asked.items() if value})


def join_tables(folder, steps):
    """Join the tables of all combinations, as text, in the run's own folder, with a column per matrix parameter."""
    parts = {step.folder: step.combination for step in steps if step.combination}
    for name in JOINED:
        tables = []
        for relative, combination in parts.items():
            path = folder.parent / relative / name
            if path.exists():
                table = read_csv(path, str)
                tables.append(table.assign(**{k: v for k, v in combination.items() if k not in table}))
        if tables:
            write_csv(folder / name, pd.concat(tables, ignore_index=True))
