"""Around labels by keyboard: what is opened to be labelled, and a run of its own that trains with the labels by a press."""

import html
import re
import shlex
import signal
import subprocess
import sys
import threading
import time

import ipywidgets

from temlib import data
from temlib.files import InputError, replacing_folder, shown, write_text
from temlib.report import notebook, onefile, parameters, planning, runfolder

ONLY = ("3_train", "4_evaluate")  # what follows from labels
# Of the values of the notebook in which one labels, what such a run has in another way.
OTHERWISE = ("run", "particles", "task", "classes", "count")


def to_label(here):
    """Return the particles that a notebook shows to be labelled, and predictions of them.

    Parameters
    ----------
    here : Notebook
        As `begin` returns it. Simulated particles are first written into files of its run, so that there is a table to copy.

    Returns
    -------
    dataset : data.Particles
    predictions : DataFrame or None
        Of the model that `bundle` names, else those of the run where it has been trained.

    Raises
    ------
    InputError
        Where `data.open` or the model refuses the particles.
    """
    source, asked = here.source, here.arguments(data.open) | {"task": ""}  # there need be no such column yet
    if source == "simulated":
        from temlib import simulate  # to practise on

        source = here.path(f"practice_{asked['count']}_{asked['seed']}")
        if not source.exists():
            with replacing_folder(source) as folder:
                simulate.write(folder, asked["count"], seed=asked["seed"])
    predictions = None
    if here.values["bundle"]:
        from temlib import train  # it takes a second

        bundle = train.load(here.values["bundle"])
        predictions = bundle.predict(bundle.open(source, **asked))
    elif here.path("predictions.csv").exists():
        predictions = here.table("predictions.csv", first="3_train")
    return data.open(source, **asked), predictions


class TrainAgain:
    """A button that trains and evaluates with the labels given by keyboard, while one goes on labelling.

    The run has a folder and a parameter file of its own, ``reports/<run>_<name>`` and ``reports/<run>_<name>.yaml``; the run
    before it stays as it is. Its parameters are that run's but for the particles, which are the copy with the labels, and what
    that run swept, which is left out. A parameter file that is there already is used as it is, so it may be edited. A report
    says by which command the same is done.

    Parameters
    ----------
    here : Notebook
        As `begin` returns it.
    labelling : figures.Labelling

    Attributes
    ----------
    path : Path
        The parameter file, which the first press writes.
    """

    def __init__(self, here, labelling):
        self.here, self.labelling = here, labelling
        name = re.sub(r"[^\w.-]+", "-", f"{here.folder.name}_{labelling.annotations.name}")
        self.path = notebook.reports_folder() / f"{name}.yaml"

    @property
    def run(self):
        """The folder of the run."""
        return self.path.with_name(self.path.stem)

    @property
    def command(self):
        """The words of the command, without Python's name."""
        only = [word for name in ONLY for word in ("--only", name)]
        return ["-m", "temlib", "run", str(self.path), *only, "--output", str(self.path.parent)]

    def write(self):
        """Write the parameter file where there is none.

        Raises
        ------
        InputError
            Where no label has been saved, or the file is there already and names other particles.
        """
        labels = self.labelling.path.resolve()
        if not labels.exists():
            raise InputError(
                f"{shown(labels.name)}: there is no label in it yet; label some particles first."
            )
        declared = planning.declarations()
        if self.path.exists():
            if parameters.read(self.path, declared).values.get("particles") != str(labels):
                raise InputError(
                    f"{shown(self.path)}: this file is there already and names other particles; rename it."
                )
            return
        former = self.here.path("parameters.yaml")
        if former.exists():
            values = parameters.read(former, declared).values
        else:
            own, train = self.here.values, declared["3_train"]
            given = [name for name in own if name in train and name not in OTHERWISE]
            values = {name: own[name] for name in given if own[name] != train[name].default}
        values |= {"particles": str(labels), "task": self.labelling.task}
        write_text(self.path, parameters.as_text(values))

    def _repr_mimebundle_(self, include=None, exclude=None):
        said = "In JupyterLab a button here trains with these labels; {} does the same."
        command = shlex.join(["python", *self.command])
        page = f"<p>{said.format(f'<code>{html.escape(command)}</code>')}</p>"
        return Press(self)._repr_mimebundle_() | {"text/html": page, "text/plain": said.format(command)}


class Press(ipywidgets.VBox):
    """The live half of `TrainAgain`: the button, how far the run is, and what it found."""

    def __init__(self, again):
        self.again, self.process = again, None
        self.button = ipywidgets.Button(layout=ipywidgets.Layout(width="18rem"))
        self.said = ipywidgets.HTML()
        self.button.on_click(lambda button: self.press())
        self.rest()
        super().__init__([self.button, self.said])

    def rest(self):
        """Offer to train."""
        self.process, self.button.description = None, "Train again with these labels"

    def press(self):
        """Begin, or end what was begun."""
        if self.process:
            self.process.send_signal(signal.SIGINT)
            return
        try:
            self.again.write()
        except InputError as fault:
            self.tell(str(fault))
            return
        # Of the kernel's process group: the stop button ends it too, and so does the end of the kernel.
        self.process = subprocess.Popen(
            [sys.executable, *self.again.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            cwd=notebook.CHECKOUT,
        )
        self.button.description = "Stop"
        threading.Thread(target=self.follow, args=(self.process,), daemon=True).start()

    def follow(self, process):
        """Say once a second how far the run is, and in the end what came out."""
        started, output = time.monotonic(), None
        while output is None:
            try:
                output, _ = process.communicate(timeout=1)
            except subprocess.TimeoutExpired:
                parts = map(runfolder.doing, (self.again.run / runfolder.WORK).glob("*"))
                taken = notebook.duration(time.monotonic() - started)
                self.tell(" · ".join(filter(None, [f"at work for {taken}", *parts])))
        self.tell(*(output.splitlines()[-1:] if process.returncode else self.found()))
        self.rest()

    def found(self):
        """Return what the run came to, and the run before it, in sentences."""
        answers = {"Now": self.again.run / "answer.json", "Before": self.again.here.path("answer.json")}
        verdicts = {when: runfolder.read_json(path).get("verdict", []) for when, path in answers.items()}
        said = [f"{when}: {' '.join(found)}" for when, found in verdicts.items() if found]
        return [*said, f"The report: {onefile.path_of(self.again.run)}"]

    def tell(self, *lines):
        """Show lines of text below the button."""
        self.said.value = "<br>".join(map(html.escape, lines))
