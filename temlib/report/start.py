"""The first parameter file of a data set: what lies in a folder, looked at once and written down with a comment on every line.

What only the user can decide is a comment that begins with `# Decide:`; `undecided` reads these again.
"""

import os
import re
import shlex
import sys
import textwrap
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from temlib.files import InputError, check_writable, listed, natural, shown, write_text
from temlib.report import parameters, planning

FOLDER = "parameters"  # of the working directory: the data's own folder may be read-only, and what is in it decides what runs again
FOLDS = (5, 4, 3, 2)  # the first that works is written
ABOVE = 4  # folders above a file in which the names in it may begin
MOST_CLASSES = 12  # counts of so many are listed
UNSURE = ("unsure", "unclear", "unknown", "ambiguous", "unassigned", "junk", "other", "?")
DECIDE = "# Decide: "
MANIFESTS = ("manifest", "labels", "particles", "data", "table")  # names of files that say nothing


@dataclass
class Start:
    """What was found in a folder, and the parameter file that was written of it."""

    path: Path  # of the file
    sentences: list  # what a person should know at once
    decide: list  # what only that person can decide
    replaced: bool  # whether a file of that name was there

    @property
    def command(self):
        """What is typed next, but for the last word."""
        return f"{_temlib()} check {shlex.quote(str(_short(self.path)))}"


def init(source, path=None, *, force=False):
    """Write a parameter file for the particles in a folder, with a comment on every line.

    Parameters
    ----------
    source : str or Path
        A folder, looked through with those below it, or a file that `particles:` opens.
    path : Path, optional
        Of the parameter file; without it ``parameters/<name>.yaml`` of the working directory, named after the source.
    force : bool
        Whether a file of that name is replaced.

    Returns
    -------
    Start

    Raises
    ------
    InputError
        Where there are no particles, or several sets of them, which it lists; where they cannot be opened; where the file is
        there already or cannot be written.
    """
    from temlib import data

    source = Path(source).expanduser()
    found = data.candidates(source)
    if len(found) > 1:
        names = ", ".join(shown(_short(path)) for path in found[-10:])
        more = f" and {len(found) - 10:,} more" if len(found) > 10 else ""
        last = shlex.quote(str(_short(found[-1])))
        raise InputError(
            f"{shown(source)}: there are {len(found)} sets of particles here, {names}{more}; name one, such as: temlib init {last}."
        )
    path = Path(path) if path else Path(FOLDER, f"{_name(found[0])}.yaml")
    if path.exists() and not force:
        cure = f"name another, such as: temlib init {shlex.quote(str(source))} mine.yaml; or replace it by --force"
        raise InputError(f"{shown(path)}: this file is there already; {cure}.")
    replaced = path.exists()
    check_writable(path)
    draft = _Draft(found[0], path)
    write_text(path, draft.text)
    return Start(path, draft.sentences, draft.decide, replaced)


def undecided(settings):
    """Return what a parameter file that was read leaves to its user: the comments that `init` began with `# Decide:`."""
    try:
        lines = settings.path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):  # read before, or never there
        return []
    return [line.removeprefix(DECIDE) for line in lines if line.startswith(DECIDE)]


class _Draft:
    """A parameter file while it is written: lines, what is to be decided, and what a person should know at once."""

    def __init__(self, source, path):
        self.source, self.path = source, path
        self.lines, self.values, self.decide, self.sentences = [], {}, [], []
        declared = planning.declarations()["3_train"]
        self.asked = {name: parameter.default for name, parameter in declared.items()}
        self.data = self._opened()
        table = self.data.table
        self.tasks = self.data.tasks
        self.task = next((task for task in self.tasks if not self._fault(task)), (self.tasks or [""])[0])
        self._particles()
        self._micrograph(table)
        self._task(table)
        self._scale()
        self._folds()
        self.text = self._head() + "\n".join(self.lines).lstrip("\n") + "\n"

    def _opened(self):
        """Open the particles, with as little beside their name as needed, which is kept; the first fault where nothing helps."""
        from temlib import data

        above = self.source.resolve().parents[1:ABOVE] if self.source.is_file() else ()
        ways = [{}, *({"data_folder": str(folder)} for folder in above), {"scale": "fill"}, {"skip_bad": 0.5}]
        first = None
        for way in ways:
            try:
                opened = data.open(self.source, **way)
            except InputError as error:
                first = first or error
            else:
                self.values = dict(way)
                return opened
        raise first

    def _again(self, **given):
        """Return the particles of the task as they are learnt from, with other parameters beside those that were found."""
        from temlib import data

        names = ("data_folder", "scale", "skip_bad", "micrograph")
        values = {name: self.values[name] for name in names if name in self.values} | given
        return data.open(self.source, task=self.task, **values)

    def _fault(self, task, folds=FOLDS[-1], dataset=None):
        """Return why a task cannot be learnt with so many folds, "" where it can."""
        from temlib import train

        try:
            labelled = (dataset or self.data).labelled(task, folds=folds, unsure=self.asked["unsure"])
            train.check_folds(labelled, task, self.asked["models"], train.Settings(folds=folds))
        except InputError as error:
            return str(error)
        return ""

    # The lines

    def _say(self, *comments):
        self.lines += ["", *chain.from_iterable(map(_comment, comments))]

    def _decide(self, sentence):
        self.lines.append(DECIDE + sentence)
        self.decide.append(sentence)

    def _set(self, **values):
        self.lines.append(parameters.as_text(values).rstrip("\n"))
        self.values |= values

    def _offer(self, **values):
        """Write lines that the user may take the # from."""
        self.lines += [f"# {line}" for line in parameters.as_text(values).splitlines()]

    def _head(self):
        """Return the beginning of the file: where it comes from, and what is typed next."""
        run, name = self.path.stem, shlex.quote(str(_short(self.path)))
        lines = [
            f"Written by temlib init from what lies in {shown(_short(self.source))}; the run is named after this file, {shown(run)}.",
            "Change what does not fit; a # makes a line a comment. Then type:",
            f"    {_temlib()} check {name}",
            f"    {_temlib()} run {name}",
            f"and open reports/{shown(run)}/{shown(run)}.html. {self.expected}".rstrip(),
        ]
        return "".join(f"# {line}\n" for line in lines if line) + "\n"

    def _particles(self):
        table, names = self.data.table, self.values
        count = f"{len(table):,} particles in {table['micrograph'].nunique():,} micrographs"
        path = _relative(self.source, self.path.parent)
        relative = "" if Path(path).is_absolute() else ", relative to this file"
        self._say(f"What is opened{relative}: {count}.", *map(shown, self.data.notes[:1]))
        self._set(particles=path)
        self.sentences.append(f"{count}, read from {shown(_short(self.source))}.")
        if "data_folder" in names:
            self._say("Where the names of the images begin: they are not beside the file above.")
            self._set(data_folder=_relative(Path(names["data_folder"]), self.path.parent))
        if "skip_bad" in names:
            gone = self.data.skipped
            share = len(gone) / (len(gone) + len(table))
            self._say(
                "Share of particles that may be left out since their images cannot be used; without it any of these ends the run."
            )
            least = min(0.5, max(0.01, round(share + 0.005, 2)))
            self._decide(
                f"{len(gone):,} of {len(gone) + len(table):,} particles cannot be used (the first: {gone['reason'].iloc[0].rstrip('.')}); "
                f"mend them, or take away the # before skip_bad."
            )
            self._offer(skip_bad=least)
        if names.get("scale") == "fill":
            self._say(
                "Each box is resized to the image, since the pixel size is known for some of the particles only."
            )
            self._decide(
                "add the missing pixel sizes (column 'pixel_size_nm') and remove the line scale, or leave it as it is."
            )
            self._set(scale="fill")

    def _micrograph(self, table):
        """Write the pattern that finds the micrograph, where no column says it and the names of the images do."""
        from temlib import data

        if not table["micrograph"].equals(table["particle"]) or not self.task:
            return
        pattern = data.micrograph_pattern(table, self.task)
        dataset = self._again(micrograph=pattern) if pattern else None
        fault = not pattern or self._fault(self.task, dataset=dataset)
        self._say(
            "Which particles share a micrograph, as the name of their image says it: what the brackets find is the micrograph.",
            "Without it particles of one micrograph are learnt from and tested on, and scores are too good.",
        )
        if fault:
            example = Path(table["image"].iloc[0]).name.partition(".")[0]
            self._decide(
                f"no rule was found that takes the micrograph out of names such as {shown(example)!r}, so each particle counts "
                "as its own; give 'micrograph', or a table with that column."
            )
            self._offer(micrograph=r"(.*)_\d+")
            return
        count = dataset.table["micrograph"].nunique()
        example = Path(dataset.table["image"].iloc[0]).name.partition(".")[0]
        found = f"{count:,} micrographs, such as {shown(dataset.table['micrograph'].iloc[0])!r} of {shown(example)!r}"
        self.lines += _comment(f"Found: {found}.")
        self.sentences.append(f"The names of the images give {found}.")
        self._set(micrograph=pattern)
        self.data = dataset

    def _task(self, table):
        """Write which column is learnt, with the counts of its classes, and what numbers for classes mean."""
        from temlib import data

        if not self.task:
            self._say("The column of labels that is learnt: your question.")
            self._decide(
                f"no column holds labels of 2 to 20 classes (the columns are {listed(table.columns)}); add one and name it here."
            )
            self.lines.append("task:")
            return
        counts = {task: table[task].dropna().astype(str).value_counts() for task in self.tasks}
        told = [f"{task}: {_counted(counts[task])}." for task in self.tasks]
        self._say("The column of labels that is learnt: your question. Columns of labels here:", *told)
        if len(self.tasks) > 1:
            self._decide(
                f"{shown(self.task)} is learnt, not {listed(self.tasks[1:])}; name another, or remove this line."
            )
        self._set(task=self.task)
        definite = data.is_definite(table[self.task], self.asked["unsure"])
        own = table.loc[definite, self.task].astype(str)
        smallest = own.value_counts().index[-1] if len(own) else ""
        if smallest:
            micrographs = self.data.table["micrograph"][definite][own == smallest].nunique()
            least = f"The smallest class is {shown(smallest)}: {(own == smallest).sum():,} of {len(own):,} particles"
            said = f"{least}, in {micrographs:,} micrograph{'s' * (micrographs > 1)}."
            self.lines[-1:-1] = _comment(said)
            self.sentences.append(f"The question is {shown(self.task)}. {said}")
        names = sorted(own.unique(), key=natural)
        if names and all(name.isdecimal() for name in names) and len(names) <= MOST_CLASSES:
            self._say("What the numbers of the classes mean.")
            self._decide(
                f"the classes of {shown(self.task)} are numbers; give them names, and take away the # before it."
            )
            numbers = {int(name) if str(int(name)) == name else name: f"name_of_{name}" for name in names}
            self._offer(names=numbers)
        aside = [name for name in names if name.casefold() in UNSURE]
        if aside:
            self._say('Labels that mean "could not tell": neither learnt nor scored, but predicted.')
            self._decide(
                f"is {listed(aside)} a class, or does it mean that people could not tell? If so, take away the #."
            )
            self._offer(unsure=[*self.asked["unsure"], *aside])
        try:
            self.data = self._again()
        except InputError as error:  # of labels, which are looked at where they are asked for
            self._decide(str(error).partition(": ")[2])

    def _scale(self):
        """Write pixel size and window, with what they can show."""
        pixel, size, tasks = self.data.pixel_nm, self.data.images.shape[-1], [self.task] if self.task else []
        said = self.data.resolution(tasks, unsure=self.asked["unsure"])
        self.sentences += said
        if self.data.scale == "physical":
            self._say(
                "Size of a prepared pixel in nm, and rows and columns of an image: the window that a network sees, chosen from the boxes.",
                *said,
            )
            self._set(pixel_nm=float(pixel), input_size=size)
        else:
            known = (
                ""
                if self.values.get("scale")
                else "The pixel size is not known (column 'pixel_size_nm'), so "
            )
            self._say(
                f"{known or 'Here '}each box is resized to so many rows and columns, chosen from the boxes.",
                *said,
            )
            self._set(input_size=size)

    def _folds(self):
        """Write a number of folds that works, and how long the run is expected to take."""
        from temlib import train

        self.expected = ""
        if not self.task:
            return
        faults = {folds: self._fault(self.task, folds) for folds in FOLDS}
        works = [folds for folds in FOLDS if not faults[folds]]
        own = "fold" in self.data.table
        told = "The column 'fold' says which; so many are checked." if own else ""
        self._say(f"Parts of the data, each held out once, whole micrographs together. {told}".rstrip())
        if not works:
            self._decide(f"no number of folds works: {faults[self.asked['folds']].partition(': ')[2]}")
            self._set(folds=self.asked["folds"])
            return
        self.lines.append(f"# Those that work here, of 2 to 5: {', '.join(map(str, sorted(works)))}.")
        self._set(folds=works[0])
        settings = train.Settings(folds=works[0], unsure=tuple(self.asked["unsure"]))
        labelled = self.data.labelled(self.task, unsure=self.asked["unsure"])
        minutes, how = train.minutes(labelled, self.task, self.asked["models"], settings)
        chosen, _ = train.schedule(settings, labelled, self.task)
        self.expected = f"Expect about {max(1, round(minutes))} minutes, an estimate."
        self.sentences.append(f"{self.expected} {how}")
        self._say(
            f"Passes over the training particles; chosen by their number: {chosen.epochs}.",
            f"{self.expected} {how}",
        )
        self._offer(epochs=chosen.epochs)
        self._say(
            "Which are compared, and the one whose result is the headline: declare it before you see the results."
        )
        self._offer(models=self.asked["models"], primary=self.asked["primary"])


def _comment(text):
    """Return the lines of a comment."""
    return textwrap.wrap(text, 118, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False)


def _counted(counts):
    """Return the classes of a task and how many particles each has, as text."""
    shown_ = ", ".join(f"{shown(name[:40])} {count:,}" for name, count in counts[:MOST_CLASSES].items())
    return shown_ + (f" and {len(counts) - MOST_CLASSES} more" if len(counts) > MOST_CLASSES else "")


def _name(source):
    """Return the name of a run after the file or the folder of its particles."""
    path = source.resolve()
    stem = path.name.partition(".")[0] if path.is_file() else path.name
    if path.is_file() and stem.casefold() in MANIFESTS:
        stem = path.parent.name
    return re.sub(r"[^\w+-]+", "_", stem).strip("_")[:60] or "mine"


def _relative(source, folder):
    """Return a path as the parameter file in `folder` names it: relative where both lie in the working directory."""
    source, here = source.resolve(), Path.cwd().resolve()
    if source.is_relative_to(here) and folder.resolve().is_relative_to(here):
        return Path(os.path.relpath(source, folder.resolve())).as_posix()
    return str(source)


def _short(path):
    """Return a path as a person in the working directory writes it."""
    path = Path(path).resolve()
    here = Path.cwd().resolve()
    return path.relative_to(here) if path.is_relative_to(here) and path != here else path


def _temlib():
    """Return how a person in the working directory calls temlib."""
    python, here = Path(sys.executable), Path.cwd()
    python = python.relative_to(here) if python.is_relative_to(here) else "python"
    return f"{python} -m temlib"
