"""Labels given by one person, one at a time: a column `<task>@<name>` in a copy of the manifest.

The original is never touched. Each label is in the copy, which is written whole or not at all, before it counts as saved.
Before each writing the copy's content is compared with what was last seen: what others changed meanwhile stays, a label of
the same name among it. What cannot be written is kept in temlib's cache until it can.
"""

import contextlib
import csv
import hashlib
import io
from pathlib import Path

import filelock
import numpy as np
import pandas as pd

from temlib.data import cache, columns, labels, sources, tables
from temlib.data.positions import PLACES
from temlib.files import FORMULA, InputError, alone, read_csv, reason, replacing, shown, write_csv

GIVEN = "given"  # the annotator to whom the labels count that a manifest had in one column, as there may be no such beside others
WAIT_S = 10.0  # for another process that is writing
LONGEST = 40  # characters of a class's or a person's name


class Sheet:
    """The text of a table of particles, kept by lines so that one changed cell costs one line."""

    def __init__(self, names, rows, separator=","):
        self.names, self.rows, self.separator = list(names), rows, separator
        if "particle" not in self.names:
            raise InputError("it has no column 'particle'")
        key = self.names.index("particle")
        self.at = {row[key].strip(): k for k, row in enumerate(rows)}
        if len(self.at) < len(rows):
            raise InputError("it names a particle twice")
        self.lines = [self._line(row) for row in rows]

    @classmethod
    def read(cls, path):
        """Return the sheet that a table of text is."""
        table = tables.read(path)
        return cls(table.columns, table.to_numpy(object).tolist(), table.attrs["separator"])

    def _line(self, row):
        text = io.StringIO()
        csv.writer(text, delimiter=self.separator, lineterminator="\n").writerow(row)
        return text.getvalue()

    def content(self):
        """Return the bytes of the table."""
        return (self._line(self.names) + "".join(self.lines)).encode()

    def column(self, name):
        """Return {particle: cell} of the cells of a column that are not empty."""
        if name not in self.names:
            return {}
        k = self.names.index(name)
        return {particle: cell for particle, i in self.at.items() if (cell := self.rows[i][k].strip())}

    def cell(self, particle, name):
        """Return a cell, empty where there is no such particle."""
        i = self.at.get(particle)
        return "" if i is None else self.rows[i][self.names.index(name)].strip()

    def add(self, name, cells):
        """Add a column of `cells`, {particle: cell}."""
        self.names.append(name)
        for particle, i in self.at.items():
            self.rows[i].append(cells.get(particle, ""))
        self.lines = [self._line(row) for row in self.rows]

    def put(self, particle, name, cell):
        """Change a cell."""
        i = self.at[particle]
        self.rows[i][self.names.index(name)] = cell
        self.lines[i] = self._line(self.rows[i])

    def extended(self, other):
        """Add the rows of particles that only another sheet has, with the cells of the columns that both have."""
        new = [particle for particle in other.at if particle not in self.at]
        for particle in new:
            given = dict(zip(other.names, other.rows[other.at[particle]]))
            self.at[particle] = len(self.rows)
            self.rows.append([given.get(name, "") for name in self.names])
            self.lines.append(self._line(self.rows[-1]))


class Annotations:
    """One person's labels of particles, saved one by one.

    Parameters
    ----------
    dataset : Particles
        As `open` gives it, or some of its rows; the copy has all rows of the original.
    task : str
        The question; there need be no such column yet.
    name : str
        Whose labels these are.
    path : str or Path, optional
        The copy; by default ``<manifest>_labelled.csv`` beside the manifest, or beside the folder where there is none.

    Attributes
    ----------
    labels : dict
        Particle to label, of this person, saved or not.
    pending : dict
        Particle to (label, label that was there before), not saved yet.
    said : str
        What the user should know of the last step, one sentence; empty where there is nothing.
    """

    def __init__(self, dataset, task, name, *, path=None):
        self.task, self.name = _checked(task, "the task"), _checked(name, "'name'")
        self.column, self.said, self.pending = f"{self.task}@{self.name}", "", {}
        self._meant = dataset.asked.names if dataset.asked else {}
        self.original, default, self.folder = _original(dataset, self.task)
        if path is None and default is None:
            fault = "simulated particles are in no file"
            cure = "write some by `python -m temlib simulate` and open these, or name a 'path' for the labels"
            raise InputError(f"{fault}; {cure}.")
        self.path = Path(path or default)
        self._sheet, self._digest = self.original, b""
        self._begin()

    def _begin(self):
        """Take up what was labelled before."""
        self.labels = {}
        self._look()
        if self._rescue.exists():
            kept = read_csv(self._rescue, str).fillna("")
            self.pending = {
                p: (label, before) for p, label, before in kept.itertuples(index=False, name=None)
            }
            self.labels |= {particle: label for particle, (label, _) in self.pending.items()}
            count = len(self.pending)
            self._save()
            if not self.said:
                self.said = f"{_number(count)} that could not be written before {'is' if count == 1 else 'are'} now in {self.path.name}."

    @property
    def _rescue(self):
        """Where labels are kept that cannot be written."""
        key = hashlib.sha256(f"{self.path.absolute()}\0{self.column}".encode()).hexdigest()[:32]
        return cache.folder() / "labels" / f"{key}.csv"

    @property
    def classes(self):
        """The classes that anyone has named for the task, most frequent first, without what means "could not tell"."""
        counts = {}
        for name in self._sheet.names:
            if name.partition("@")[0] == self.task:
                for label in self._sheet.column(name).values():
                    label = self._meant.get(label, label)
                    counts[label] = counts.get(label, 0) + 1
        found = sorted(counts, key=lambda label: (-counts[label], label))
        return [label for label in found if label.casefold() != labels.UNSURE]

    def given(self):
        """Return {particle: label} of what anyone has said, this person before others."""
        found = {}
        for name in self._sheet.names:
            if name.partition("@")[0] == self.task and name != self.column:
                found |= {p: self._meant.get(label, label) for p, label in self._sheet.column(name).items()}
        return found | self.labels

    def others(self, particle):
        """Return {name: label} of what others called a particle."""
        found, i = {}, self._sheet.at.get(particle)
        for k, name in enumerate(self._sheet.names if i is not None else ()):
            task, _, who = name.partition("@")
            label = self._sheet.rows[i][k].strip()
            if task == self.task and name != self.column and label:
                found[who] = self._meant.get(label, label)
        return found

    @property
    def lines(self):
        """The lines of a parameter file that read the copy."""
        found = [f"particles: {self.path.absolute()}", f"task: {self.task}"]
        if self.folder and self.path.absolute().parent != Path(self.folder).absolute():
            found.append(f"data_folder: {Path(self.folder).absolute()}")
        return found

    def set(self, particle, label):
        """Give a particle a label, or take it away by an empty one; `said` tells what happened, where it is not saved.

        Returns
        -------
        bool
            Whether the label is in the file.
        """
        before = self.pending[particle][1] if particle in self.pending else self.labels.get(particle, "")
        self.pending[particle] = label, before
        self.labels[particle] = label
        if not label:
            del self.labels[particle]
        self._save()
        return particle not in self.pending and self.labels.get(particle, "") == label

    def move(self, path):
        """Write the copy elsewhere from now on."""
        old = self._rescue
        self.path, self._digest = Path(path).expanduser(), b""
        self.pending = {p: (label, "") for p, label in self.labels.items()} | self.pending
        if self._save():
            with contextlib.suppress(OSError):
                old.unlink(missing_ok=True)

    def _save(self):
        """Write what is not saved yet; return whether all of it is."""
        self.said = ""
        try:
            with self._alone():
                self._look()
                self._enter()
                content = self._sheet.content()
                with replacing(self.path) as temporary:
                    temporary.write_bytes(content)
            self._digest = hashlib.blake2b(content).digest()
        except (InputError, OSError) as fault:
            self._digest = b""
            self._keep(str(fault).rstrip("."))
            return False
        self.pending = {}
        with contextlib.suppress(OSError):
            self._rescue.unlink(missing_ok=True)
        return True

    def _look(self):
        """Read the copy where there is one and its content is not what was last seen."""
        try:
            content = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as fault:
            raise InputError(f"{shown(self.path)} cannot be read ({reason(fault)}).") from None
        if hashlib.blake2b(content).digest() == self._digest:
            return
        try:
            sheet = Sheet.read(self.path)
        except InputError as fault:
            words = str(fault).removeprefix(shown(self.path)).strip(" :,").rstrip(".")
            lost = f"{shown(self.path)} is no table of these particles any more ({words})"
            raise InputError(f"{lost}; mend it or name another file.") from None
        if not sheet.at.keys() & self.original.at.keys():
            raise InputError(f"{shown(self.path)} is a table of other particles; name another file.")
        sheet.extended(self.original)
        if self._digest and self.column in self._sheet.names and self.column not in sheet.names:
            sheet.add(self.column, self.labels)
            self.said = f"Somebody took the column {self.column} out of {self.path.name}; it is there again."
        self._sheet, self._digest = sheet, hashlib.blake2b(content).digest()
        self.labels = sheet.column(self.column)

    def _enter(self):
        """Put what is pending into the sheet, but over no label that somebody else gave meanwhile."""
        sheet, lost = self._sheet, []
        if self.column not in sheet.names:
            sheet.add(self.column, {})
        for particle, (label, before) in self.pending.items():
            now = sheet.cell(particle, self.column)
            if now not in (before, label):
                lost.append((particle, now))
                label = now
            elif particle in sheet.at:
                sheet.put(particle, self.column, label)
            self.labels[particle] = label
            if not label:
                del self.labels[particle]
        if lost:
            particle, now = lost[0]
            more = f", and {len(lost) - 1} more" if len(lost) > 1 else ""
            words = f"'{now}'" if now else "no label"
            stays = (
                f"Somebody else who calls himself {self.name} gave {shown(particle)} {words} meanwhile{more}"
            )
            self.said = f"{stays}; that stays: label it again to replace it."

    @contextlib.contextmanager
    def _alone(self):
        """Let one process of this machine at a time write the copy, where the system allows that."""
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(alone(self.path, WAIT_S))
            except filelock.Timeout:
                raise InputError(
                    f"{shown(self.path)} is being written by another program; label again."
                ) from None
            except OSError:
                pass  # another account's lock; the content is compared all the same
            yield

    def _keep(self, fault):
        """Keep what is pending in the cache, and say so."""
        rows = [(particle, label, before) for particle, (label, before) in self.pending.items()]
        kept = f"{_number(len(rows))} kept aside until another file is named"
        try:
            write_csv(self._rescue, pd.DataFrame(rows, columns=["particle", "label", "before"]))
        except InputError:
            kept = f"{_number(len(rows))} in memory only: do not close this before another file is named"
        self.said = f"{fault} ({kept})."

    def check_class(self, name, known):
        """Return the name of a class to add, without surrounding spaces; refuse one that is there, or looks like another."""
        name = _checked(name, "the class")
        if name.casefold() == labels.UNSURE:
            raise InputError(f"'{labels.UNSURE}' has the key u.")
        for other in known:
            if name == other or labels.alike(name, other):
                raise InputError(f"'{name}' looks like '{other}'; use that, or another name.")
        return name


def _number(count):
    return "1 label" if count == 1 else f"{count:,} labels"


def _checked(name, what):
    """Return a name of a person or a class that may stand in a table; refuse others."""
    name = str(name).strip()
    faults = {
        "is empty": not name,
        f"has more than {LONGEST} characters": len(name) > LONGEST,
        "holds '@' or a control character": "@" in name or not name.isprintable(),
        "begins as a formula of a spreadsheet does": FORMULA.match(name),
    }
    for words, wrong in faults.items():
        if wrong:
            raise InputError(f"{what} {words}; give another name.")
    return name


def _original(dataset, task):
    """Return the sheet that a copy begins with, where it goes by default, and the folder of its images."""
    if dataset.asked is None:
        table = dataset.table[["particle", "micrograph"]].astype(str)
        return Sheet(table.columns, table.to_numpy(object).tolist()), None, None
    source = Path(dataset.source)
    found = sources.read(source, dataset.asked)
    raw = _text(source, found)
    if raw is None:
        sheet, path, folder = _plain(found, source, task)
    else:
        separator = raw.attrs["separator"]
        sheet, path, folder = (
            Sheet(raw.columns, raw.to_numpy(object).tolist(), separator),
            source,
            found.folder,
        )
        path = source / "manifest.csv" if source.is_dir() else source
    if task in sheet.names:
        new = f"{task}@{GIVEN}"
        sheet.names = [new if name == task and new not in sheet.names else name for name in sheet.names]
    marked = path.stem.endswith(sources.LABELLED)
    return sheet, path if marked else path.with_name(f"{path.stem}{sources.LABELLED}.csv"), folder


def _text(source, found):
    """Return the text of a manifest with a row per particle and a column `particle`, None of anything else."""
    if source.is_dir() and (source / "manifest.csv").is_file():
        source = source / "manifest.csv"
    if source.suffix.lower() not in sources.TABLES or source.is_dir():
        return None
    raw = tables.read(source)
    named = columns.known(source, raw, [])
    if (
        "image" not in named
        or len(named.columns) != len(raw.columns)
        or not raw.index.equals(found.table.index)
    ):
        return None
    attrs = raw.attrs
    raw.columns = ["particle" if new == "particle" else old for old, new in zip(raw.columns, named.columns)]
    if "particle" not in raw:
        raw.insert(0, "particle", found.table["particle"].to_numpy())
    raw.attrs = attrs
    return raw


def _plain(found, source, task):
    """Return the sheet of particles that no manifest names, where one that would should be, and the folder of its images."""
    table = found.table
    if table["micrograph"].equals(table["particle"]):
        table = table.drop(columns="micrograph")
    kept = ["particle", "image", "index", "micrograph", "session", "fold", *PLACES]
    tasks = sources.named_tasks(table, task)
    joined = [name for name in tasks if labels.annotators(table, name)]  # from their columns
    kept += [name for name in table if "@" in name or (name in tasks and name not in joined)]
    table = table[[name for name in dict.fromkeys(kept) if name in table]].dropna(axis=1, how="all")
    inner = source.is_dir() and source.resolve() == Path(found.folder).resolve()
    if inner:
        table = table.assign(image=source.name + "/" + table["image"])
    text = table.map(
        lambda cell: "" if pd.isna(cell) else f"{cell:.12g}" if isinstance(cell, float) else str(cell)
    )
    folder = source.resolve().parent if inner else Path(found.folder)
    name = source.name if source.is_dir() else source.stem
    return Sheet(text.columns, text.to_numpy(object).tolist()), folder / f"{name}.csv", folder


def next_up(table, labelled, doubt=None, *, seed=0):
    """Return the particles to label next: the most doubtful first, within micrographs that have few labels.

    Parameters
    ----------
    table : DataFrame
        Columns particle, micrograph.
    labelled : collection of str
        Particles that have a label.
    doubt : Series, optional
        How unsure a classifier is, by particle, such as one minus the largest probability; without it, or for a particle that
        it lacks, the order within a micrograph is drawn at random.
    seed : int

    Returns
    -------
    list of str
        All particles without a label. One that is the k-th of its micrograph stands where that micrograph would have
        n + k labels, the fewest first, and among equals the most doubtful.
    """
    rng = np.random.default_rng(seed)
    rows = table[["particle", "micrograph"]].iloc[rng.permutation(len(table))]
    done = rows["particle"].isin(set(labelled))
    counts, rows = done.groupby(rows["micrograph"]).sum(), rows[~done]
    if rows.empty:
        return []
    rows = rows.assign(doubt=-1.0 if doubt is None else rows["particle"].map(doubt).fillna(-1.0))
    rows = rows.sort_values("doubt", ascending=False, kind="stable")
    rows["rank"] = rows.groupby("micrograph").cumcount() + rows["micrograph"].map(counts)
    return rows.sort_values("rank", kind="stable")["particle"].tolist()


def doubt(dataset, given):
    """Return how unsure a quick classifier is of each particle, having learnt the labels given so far.

    A logistic regression on mean and spread of the intensity on rings around the centre: little, but rotations do not matter to
    it, and it takes a second for ten thousand particles.

    Parameters
    ----------
    dataset : Particles
    given : dict
        Particle to label; what means "could not tell" teaches nothing.

    Returns
    -------
    Series or None
        One minus the largest probability, by particle; None where fewer than two classes have a label. One label of a rare
        class is enough to look for more of it.
    """
    names = dataset.table["particle"]
    label = names.map(given)
    label = label.where(labels.is_definite(label, [labels.UNSURE]))
    if label.nunique() < 2:
        return None
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    seen = np.concatenate([_rings(images) for images in dataset.blocks()])
    known = label.notna().to_numpy()
    learnt = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced"))
    learnt.fit(seen[known], label[known].astype(str))
    return pd.Series(1 - learnt.predict_proba(seen).max(axis=1), names.to_numpy())


def _rings(images):
    """Return mean and standard deviation on rings of two pixels, (n, 2 rings), of images (n, rows, columns)."""
    rows, columns = np.indices(images.shape[1:]) - (np.array(images.shape[1:])[:, None, None] - 1) / 2
    ring = (np.hypot(rows, columns) // 2).astype(int).ravel()
    ring = np.minimum(ring, images.shape[-1] // 4)  # the corners are one
    on = (ring[:, None] == np.arange(ring.max() + 1)).astype(np.float32)
    on /= on.sum(axis=0)
    flat = images.reshape(len(images), -1)
    mean, square = flat @ on, (flat * flat) @ on
    return np.hstack([mean, np.sqrt(np.maximum(square - mean * mean, 0))])
