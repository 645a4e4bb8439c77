"""Labels given by keyboard in JupyterLab; `data.Annotations` keeps them, what is here shows particles and passes keys on."""

import html
from collections import Counter

import pandas as pd

from temlib import data, evaluate
from temlib.figures.live import Live, both, script
from temlib.files import InputError, listed, shown

UNSURE = "uncertain"
ANEW = 25  # labels after which the order follows what they teach


class Labelling:
    """Particles to label by keyboard, into the column ``<task>@<name>`` of a copy of the manifest.

    In JupyterLab the keys 1 to 9 give a class, u says that it could not be told, z takes the last one back, the arrows move
    without labelling and n adds a class. Predictions, names and the labels of others are hidden until a box is ticked. Every
    label is in the copy, whole or not at all, before it counts as saved; opened again, it goes on with the first particle
    that has none. The original is not touched.

    Parameters
    ----------
    dataset : data.Particles
        What is shown; the copy has all rows of its manifest.
    task : str
        The question. It need not be a column yet.
    name : str
        Whose labels these are: those of several people are joined by majority, and their agreement is measured.
    classes : sequence of str
        Classes that have the first keys; those in use follow, the most frequent first.
    queue : {"uncertain", "random", "audit"} or sequence of str
        In which order: the most doubtful first, within micrographs that have few labels; at random; as the label audit of the
        predictions suspects labels; or particles by their names. Doubt is that of `predictions`; without these it is that of a
        quick classifier (`data.doubt`), which learns the labels of all people anew after each 25, and at first there is none.
    predictions : DataFrame, optional
        Rows of ``predictions.csv``, or what `Bundle.predict` returns.
    only : dict
        Which particles: a column of their table, or ``predicted`` (by most models), and one value of it or several.
    path : str or Path, optional
        The copy; by default ``<manifest>_labelled.csv`` beside the manifest, where it goes on from what is there.
    seed : int
        Of what is drawn at random.

    Attributes
    ----------
    annotations : data.Annotations
    path : Path
        The copy. ``data.open(labelling.path, task=task)``, or the line ``particles:`` of a parameter file, reads it.
    names : list of str
        The particles in their order; those that have a label of this person come first.

    Raises
    ------
    InputError
        A name that cannot stand in a table, a particle that is not there, an order without its predictions, a copy that is
        no table of these particles, simulated particles without a `path`.

    Examples
    --------
    >>> figures.Labelling(dataset, "lamellarity", name="anna", classes=["unilamellar", "multilamellar"])
    """

    def __init__(
        self,
        dataset,
        task,
        *,
        name,
        classes=(),
        queue="uncertain",
        predictions=None,
        only=None,
        path=None,
        seed=0,
    ):
        if predictions is not None and "task" in predictions:  # of several, in a sweep
            predictions = predictions[predictions["task"] == task]
        self.dataset, self.task, self.predictions = dataset, task, predictions
        self.annotations = data.Annotations(dataset, task, name, path=path)
        for label in classes:  # one that looks like another would make the copy unreadable
            others = [*self.annotations.classes, *classes]
            self.annotations.check_class(label, [other for other in others if other != label])
        known = [label for label in self.annotations.classes if label not in classes]
        self.classes = [*dict.fromkeys(classes), *known]
        named = isinstance(queue, str)
        self.learns, self.seed = named and queue == "uncertain" and predictions is None, seed
        if named:
            queue = self._ordered(queue, seed)
        within = self._within(only or {})
        self.names = [name for name in dict.fromkeys(map(str, queue)) if not only or name in within]
        rows = pd.Index(dataset.table["particle"]).get_indexer(self.names)
        if (rows < 0).any():
            lost = [name for name, row in zip(self.names, rows) if row < 0]
            raise InputError(
                f"queue: there is no particle {listed(lost, 3)}; there are {len(dataset):,} others."
            )
        if not self.names:
            cure = "name other values" if only else "name some, or an order"
            raise InputError(f"{'only' if only else 'queue'}: there is no particle in it; {cure}.")
        self.rows = rows.tolist()

    @property
    def path(self):
        """The copy with the labels."""
        return self.annotations.path

    def _ordered(self, order, seed):
        """Return all particles in one of the orders that have a name."""
        table = self.dataset.table
        if order == "audit":
            if self.predictions is None:
                raise InputError("queue: the order 'audit' needs 'predictions' of held-out particles.")
            audit = evaluate.Predictions(self.predictions).label_audit()["particle"]
            return audit[audit.isin(set(table["particle"]))]
        if order not in ("uncertain", "random"):
            raise InputError(
                f"queue: there is no order {order!r}; there are 'uncertain', 'random' and 'audit'."
            )
        mine = [name for name in table["particle"] if name in self.annotations.labels]
        if order == "random":
            left = table[~table["particle"].isin(mine)]
            return [*mine, *left["particle"].sample(frac=1, random_state=seed)]
        return [*mine, *data.next_up(table, mine, self._doubt(), seed=seed)]

    def _within(self, only):
        """Return the names of the particles that have one of the values in each column."""
        table = self.dataset.table.set_index("particle")
        if self.predictions is not None:
            called = self.predictions.dropna(subset="predicted").groupby("particle")["predicted"]
            table = table.assign(predicted=called.agg(lambda labels: labels.mode().iat[0]))
        for column, values in only.items():
            if column not in table:
                raise InputError(f"only: there is no column {column!r}; there are {listed(table.columns)}.")
            values = values if isinstance(values, (list, tuple)) else [values]
            table = table[table[column].astype(str).isin([*map(str, values)])]
        return set(table.index)

    def _doubt(self):
        """Return one minus the largest probability of each particle, the mean of the models that have one; None without any."""
        if self.predictions is None:
            return data.doubt(self.dataset, self.annotations.given())
        columns = [name for name in self.predictions if name.startswith("p_")]
        return (
            (1 - self.predictions[columns].max(axis=1)).groupby(self.predictions["particle"]).mean().dropna()
        )

    def ordered_anew(self):
        """Return the rows of the particles without a label, as the labels given so far order them."""
        table, mine = self.dataset.table, self.annotations.labels
        names, shown_here = data.next_up(table, mine, self._doubt(), seed=self.seed), set(self.names)
        rows = pd.Index(table["particle"]).get_indexer([name for name in names if name in shown_here])
        return rows.tolist()

    def told(self, particle):
        """Return what is known of a particle beside its image, in lines: the labels of others, and what models predict."""
        found = [
            f"label of {who}: {label}" if who else f"label: {label}"
            for who, label in self.annotations.others(particle).items()
        ]
        if self.predictions is not None:
            rows = self.predictions[self.predictions["particle"] == particle].dropna(subset="predicted")
            for row in rows.drop_duplicates([n for n in ("model", "predicted") if n in rows]).to_dict(
                "records"
            ):
                p = row.get(f"p_{row['predicted']}")
                sure = "" if p is None or pd.isna(p) else f" ({p:.2f})"
                found.append(f"{row.get('model', 'the model')} predicts {row['predicted']}{sure}")
        return found

    def _repr_html_(self):
        """Say in a page, where nothing can be labelled, how far it is."""
        labels = self.annotations.labels
        given = Counter(labels[name] for name in self.names if name in labels)
        counts = ", ".join(f"{count:,} {name}" for name, count in given.most_common()) or "none yet"
        words = f"Labels of {self.annotations.name} for {self.task}: {given.total():,} of {len(self.names):,} particles ({counts})."
        return f"<p>{html.escape(words)} In JupyterLab they are given here by keyboard.</p>"

    def _repr_mimebundle_(self, include=None, exclude=None):
        return both(Keys(self), self._repr_html_(), "Labels by keyboard.")


class Keys(Live):
    """The live half of `Labelling`: shows particles and passes keys on."""

    _esm = script("labelling.js")

    def __init__(self, labelling):
        self.of = labelling
        super().__init__(labelling.dataset.images)

    def on_begin(self):
        """Send all that a page shows."""
        of, table = self.of, self.of.dataset.table
        labels = of.annotations.labels
        at = next((k for k, name in enumerate(of.names) if name not in labels), 0)
        nm = of.dataset.pixel_nm * self.step
        by_row = {row: name for row, name in zip(of.rows, of.names)}
        self.send(
            {
                "do": "begin",
                "queue": of.rows,
                "names": by_row,
                "micrographs": table["micrograph"].astype(str).tolist(),
                "labels": [[row, labels[name]] for row, name in by_row.items() if name in labels],
                "classes": of.classes,
                "unsure": UNSURE,
                "at": at,
                "side": self.side,
                "pixel_nm": nm if nm == nm else None,
                "name": of.annotations.name,
                "column": of.annotations.column,
                "path": str(of.path),
                "file": shown(of.path.name),
                "said": of.annotations.said,
                "told": {},
            }
        )

    def on_label(self, i, label, id):
        """Give a particle a label, and say what the file has now."""
        found, name = self.of.annotations, self.of.dataset.table["particle"].iloc[i]
        found.set(name, label)
        now = {"label": found.labels.get(name, ""), "said": found.said, "kept": bool(found.pending)}
        self.send({"do": "saved", "i": i, "id": id, **now})
        if self.of.learns and label and len(found.labels) % ANEW == 0:
            self.send({"do": "order", "rows": self.of.ordered_anew()})

    def on_class(self, name):
        """Add a class."""
        of = self.of
        try:
            of.classes.append(of.annotations.check_class(name, of.classes))
            said = (
                f"{of.classes[-1]} has the key {len(of.classes)}."
                if len(of.classes) < 10
                else "There are nine keys only."
            )
        except InputError as fault:
            said = str(fault)
        self.send({"do": "class", "classes": of.classes, "said": said})

    def on_tell(self, i):
        """Send what is known of a particle."""
        self.send({"do": "tell", "i": i, "lines": self.of.told(self.of.dataset.table["particle"].iloc[i])})

    def on_move(self, path):
        """Write into another file."""
        self.of.annotations.move(path)
        where = {"path": str(self.of.path), "file": shown(self.of.path.name)}
        self.send({"do": "moved", "said": self.of.annotations.said, **where})
