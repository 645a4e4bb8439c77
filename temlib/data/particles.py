"""The data set: open it, check it, bring it to one scale, split it by micrograph.

`open` takes the word `simulated` or whatever `sources.read` reads, and gives a `Particles`: one table and one stack of
images, row by row. The stack is mapped from `cache`, so that it may be larger than memory and the next notebook finds it.
A split never divides a micrograph.
"""

import html
import json
import warnings
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from temlib.data import cache, crops, labels, micrographs, prepare, sources
from temlib.data.sources import tasks_of
from temlib.files import InputError, inside, listed

BLOCK = 1000  # images that are looked at together
FEWEST = 5  # particles of a micrograph, and micrographs, from which the direction of contrast is judged
# Standard errors from which a micrograph's contrast is opposite, and from which it has a direction at all.
SURE, CLEAR = 4.0, 2.0
# Largest share of the particles whose direction is unknown where the others are aligned.
UNTOLD = 0.1
BOXED = 10_000  # simulated particles whose boxes are drawn in seconds


@dataclass(frozen=True)
class Particles:
    """Particles ready for learning: row `i` of `table` belongs to `images[i]`.

    Attributes
    ----------
    table : DataFrame
        One row per particle; see docs/architecture.md.
    images : (n, rows, columns) ndarray of float32
        Zero median and unit robust spread each; mapped from disk, so that reading a block takes the memory of a block.
    source : str
    notes : tuple of str
        What was found and assumed, one sentence each.
    scale : {"physical", "fill"}
    pixel_nm : float
        Size of a pixel of `images`, in nm; NaN where unknown.
    simulated : bool
        Whether the table holds the true values of a simulation.
    study : simulate.Study, optional
        None where the particles were read from disk.
    task : str
        The column that was declared to be the question; empty where none was.
    folder : Path, optional
        Where the images of `table` lie, of which particles were cut out; None where crops were given, or simulated.
    skipped : DataFrame
        Particles that were left out: `particle, micrograph, image`, the `place` where they are written, and the `reason`.
    origin : optional
        What `crops` are read from again.
    asked : sources.Asked, optional
        With what `source` was read; None where the particles are simulated.
    """

    table: pd.DataFrame
    images: np.ndarray = field(repr=False)
    source: str
    notes: tuple
    scale: str
    pixel_nm: float
    simulated: bool
    study: object = field(default=None, repr=False)
    task: str = ""
    folder: Path | None = None
    skipped: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    origin: object = field(default=None, repr=False)
    asked: object = field(default=None, repr=False)

    def __len__(self):
        return len(self.table)

    @property
    def tasks(self):
        """The label columns, the declared one first."""
        return tasks_of(self.table, self.task)

    @property
    def sessions(self):
        """The session of each micrograph, by its name: the column `session`; None where one has none, or several."""
        if "session" not in self.table:
            return None
        given = self.table["session"].astype(object).where(lambda names: names.notna() & (names != ""))
        by_micrograph = given.groupby(self.table["micrograph"].to_numpy())
        one = given.notna().all() and (by_micrograph.nunique() == 1).all()
        return by_micrograph.first().astype(str) if one else None

    def labelled(self, task, *, folds=None, unsure=(), classes=(), merge=None):
        """Return the particles that have a label for `task`; with `folds`, after `check_task`.

        Parameters
        ----------
        task : str
        folds : int, optional
        unsure : list of str
            Labels that mean "could not tell"; these particles stay, but do not count in `check_task`.
        classes : list of str
            The classes to learn, empty for all; particles of others leave.
        merge : dict of str to list of str, optional
            Classes that are joined under a new name, or into another class, before all else.
        """
        _has_column(self.table, task, self.source)
        choice = {"unsure": unsure, "classes": classes, "merge": merge}
        table, said = labels.choose(self.table, task, **choice, where=self.source)
        if folds is not None:
            check_task(table, task, folds=folds, where=self.source, unsure=unsure)
        chosen = replace(self, table=table, notes=(*self.notes, *said))
        return chosen._where(table[task].notna())

    def relabelled(self, *, unsure=(), classes=(), merge=None):
        """Return all particles, with the labels chosen as `labelled` does in each task that has all classes that are named.

        Other tasks stay as they are; where there is no such task, the choice is refused, and so are particles without any.
        """
        if not self.tasks:
            _has_column(self.table, self.task, self.source)
        found, faults, choice = self, [], {"unsure": unsure, "classes": classes, "merge": merge}
        for task in self.tasks:
            try:
                table, said = labels.choose(found.table, task, **choice, where=self.source)
            except InputError as error:
                faults.append(error)
            else:
                found = replace(found, table=table, notes=(*found.notes, *said))
        if faults and len(faults) == len(self.tasks) and (classes or merge):
            raise faults[0]
        return found

    def definite(self, task, unsure=()):
        """Return the particles whose label for `task` names a class, those that are learnt and scored."""
        return self._where(labels.is_definite(self.table[task], unsure))

    def _where(self, kept):
        """Return the particles for which `kept`, a Series, is true."""
        return self if kept.all() else self.rows(np.flatnonzero(kept))

    def rows(self, keep):
        """Return the particles with the row numbers `keep`; few are copied, many are read when they are asked for."""
        table = self.table.iloc[keep].reset_index(drop=True)
        return replace(self, table=table, images=prepare.select(self.images, keep))

    def aligned(self):
        """Bring all micrographs to the contrast of most of them, as far as it can be told without labels; see `polarity`.

        Returns
        -------
        particles : Particles
            Where micrographs are turned round, with the images of their particles multiplied by -1.
        contrast : {"kept", "either"}
            Whether bright and dark have still to be swapped in half of what is learnt from.
        notes : list of str
            What was found and done, empty where no micrograph is swapped.
        """
        measures = pd.concat([signed(images) for images in self.blocks()], ignore_index=True)
        micrographs = self.table["micrograph"]
        swapped, turns, note = mixed(polarity(measures, micrographs), micrographs.value_counts())
        if not len(swapped):
            return self, "kept", []
        if not turns:
            return self, "either", [note]
        signs = np.where(micrographs.isin(swapped), -1, 1).astype(np.float32)
        images = prepare.select(self.images, np.arange(len(self)), signs)
        return replace(self, images=images), "kept", [note]

    def blocks(self):
        """Yield the images as arrays of at most 1,000, in the order of the table."""
        for start in range(0, len(self), BLOCK):
            yield np.asarray(self.images[start : start + BLOCK])

    def resolution(self, tasks, *, unsure=(), pixel_nm=None, input_size=None):
        """Return sentences on what the images can resolve for `tasks`, what they cut off and what gives classes away.

        Each names its cure. Labels in `unsure` are no classes; `pixel_nm` and `input_size` are those of `images` unless given.
        """
        shown = {"scale": self.scale, "pixel_nm": pixel_nm or self.pixel_nm}
        shown |= {"input_size": input_size or self.images.shape[-1]}
        return prepare.resolution(self.table, tasks, unsure, **shown)

    def crops(self, rows):
        """Read the crops of some rows again, each with its own pixels and numbers: a list of (M, N) arrays."""
        names = pd.Index(self.origin.table["particle"])
        part = self.origin.part(names.get_indexer(self.table["particle"].iloc[rows]))
        sizes, window = (
            self.table["pixel_size_nm"].to_numpy(float)[rows],
            self.images.shape[-1] * self.pixel_nm,
        )
        found = {}
        for group in part.groups():
            found |= {i: crop for i, crop, _ in part.load(group, sizes, window)}
        for crop in found.values():
            if isinstance(crop, InputError):  # its file has changed since the images were prepared
                raise crop
        return [np.asarray(found[i], np.float32) for i in range(len(rows))]

    def masks(self, positions):
        """Return {position: (membrane, payload)}, true masks at the geometry of `images`; {} where nothing was simulated."""
        if self.study is None:
            return {}
        size = self.images.shape[-1]
        found = crops.masks(self.study, self.table.iloc[positions], size, self.pixel_nm)
        return dict(zip(map(int, positions), found))

    @property
    def cut_from(self):
        """The name of the micrograph that each particle was cut out of, a Series; NaN where its crop was given."""
        if self.study is not None:
            return self.table["micrograph"]
        if self.folder is None or "row" not in self.table:
            return pd.Series(np.nan, self.table.index, dtype=object)
        given = self.table["row"].isna()
        if "index" in self.table:
            given |= self.table["index"].notna()
        return self.table["image"].mask(given)

    def micrograph(self, name):
        """Read, or simulate, a micrograph that `cut_from` names: (rows, columns), in which `row` and `column` are places."""
        if self.study is not None:
            return self.study.micrograph(self.study.names.index(name))
        return micrographs.read(inside(self.folder, name)).image

    def agreement(self, task):
        """Return how well the annotators of `task` agree (`labels.Agreement`), None where fewer than two are known."""
        if len(labels.annotators(self.table, task)) < 2:
            return None
        text = [name for name in self.table if "@" in name or name in ("particle", "micrograph")]
        return labels.consensus(self.table[text].fillna(""), task)[1]

    def _repr_html_(self):
        words = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        count = f"{len(self):,} particles in {self.table['micrograph'].nunique()} micrographs"
        made = "These particles were made by temlib's simulator; nothing here was measured on a sample."
        warning = f'<div class="simulated"><strong>Simulated data.</strong> {made}</div>'
        return f"{warning if self.simulated else ''}<p><strong>{count}</strong></p><ul>{words}</ul>"


def open(
    source,
    *,
    count=600,
    seed=1,
    scale="physical",
    pixel_nm=0.0,
    input_size=0,
    task="",
    classes=(),
    data_folder="",
    micrograph="",
    names=None,
    skip_bad=0.0,
    box_nm=0.0,
    other_shares=False,
):
    r"""Open a data set and bring it to one scale.

    Parameters
    ----------
    source : str or Path
        `simulated`, or a manifest, positions with labels, or a folder, as `sources.read` takes them.
    count, seed, other_shares : int, int, bool
        Of simulated particles; with `other_shares` the seed draws 20 to 60 % of the second class of each task.
    scale : {"physical", "fill"}
        `physical`: every crop at `pixel_nm`, padded with its median or cut to `input_size`; used where all pixel
        sizes are known. `fill`: the whole box resized to `input_size`, so that size is lost; one that is not square is
        padded to a square with its median.
    pixel_nm, input_size : float, int
        Size of a prepared pixel in nm, and rows and columns of a prepared image; 0 chooses them from the boxes.
    task, classes : str, list of str
        The column of labels, which alone (with its annotators) is checked as such; names that are meant, however much alike.
    data_folder : str
        Folder in which the names of images begin; else it is the table's.
    micrograph : str
        Pattern that finds the micrograph in an image's name by its one group, such as ``(.*)_\d+``.
    names : dict
        Names of classes of `task` that are given as numbers or codes.
    skip_bad : float
        Largest share of the particles, in [0, 0.5], that are left out since their image is missing, unreadable, constant,
        saturated or not finite, or their place outside its micrograph; those whose window reaches beyond the border go
        too, if all together are no more than that, else they are padded.
    box_nm : float
        Side of the boxes that no one states, in nm; 0 cuts out the window of the prepared image.

    Raises
    ------
    InputError
        For what `sources.read` refuses; more particles that cannot be used than `skip_bad` allows, or all of a class; pixel
        sizes known for some particles only; one image under two labels.
    """
    source, asked = str(source), sources.Asked(task, data_folder, micrograph, names or {}, classes)
    if source == "simulated":
        found = crops.Simulated(count, seed, other_shares)
    else:
        found = sources.read(Path(source), asked)
        found = found.boxed(box_nm) if box_nm else found
    return _opened(found, source, asked, (scale, pixel_nm, input_size, skip_bad))


def _opened(found, source, asked, how):
    """Return what is found as it was prepared before, or is prepared now; `how` are arguments of `prepare.make`."""
    size = 4 * len(found.table) * (how[2] or max(prepare.PHYSICAL_PX)) ** 2
    key = cache.key("particles", *found.state(), *how)
    folder = cache.get_or_make(key, partial(prepare.make, found, *how), size=size)
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    found, skipped = _without(found, facts["skipped"], asked.task, asked.classes)
    table = found.table.reset_index(drop=True)
    rows, columns, table["pixel_size_nm"] = np.load(folder / "measures.npy").T
    table["box_px"] = np.maximum(rows, columns)
    if (rows != columns).any():
        table["box_rows"], table["box_columns"] = rows, columns
    places = table.columns.intersection(["index", "row", "column", "box_nm"])
    table = table.drop(columns=[name for name in places if table[name].isna().all()])
    table.attrs = {}
    data = Particles(
        table=table,
        # A private mapping: the file stays as it is, whatever is written into the images.
        images=np.load(folder / "images.npy", mmap_mode="c"),
        source=source,
        notes=(*found.notes, *facts["notes"]),
        scale=facts["scale"],
        pixel_nm=facts["pixel_nm"] or float("nan"),
        simulated=any(name.startswith("truth_") for name in table),
        study=getattr(found, "study", None),
        task=asked.task,
        folder=None if getattr(found, "whole", True) else found.folder,
        skipped=skipped,
        origin=found,
        asked=None if source == "simulated" else asked,
    )
    _check_identical(data, facts["identical"], found)
    return data


def _without(found, skipped, task, classes):
    """Return `found` without the particles that were skipped, given as (row, reason), and a table of these; no class may be gone."""
    rows = np.array([row for row, _ in skipped], int)
    gone = found.table.iloc[rows]
    told = gone.reindex(columns=["particle", "micrograph", "image"]).reset_index(drop=True)
    told["place"] = [found.place([row]) for row in rows]
    told["reason"] = [reason for _, reason in skipped]
    if not skipped:
        return found, told
    kept = replace(found, table=found.table.iloc[np.delete(np.arange(len(found.table)), rows)])
    for name in kept.table.columns.intersection(sources.named_tasks(gone, task)):
        lost = gone[name].isin(classes or gone[name]) & ~gone[name].isin(kept.table[name])
        lost = gone[name][lost & labels.is_definite(gone[name], [labels.UNSURE])]
        if len(lost):
            where = found.place(rows[gone[name] == lost.iloc[0]])
            fault = f"without these, which cannot be used, {name!r} has no particle of {lost.iloc[0]!r} left"
            raise InputError(f"{where}: {fault}; mend them or lower 'skip_bad'.")
    return kept, told


def _check_identical(data, groups, found):
    """Refuse equal images with different labels: at least one label is wrong, and nobody can tell which."""
    for task in sources.named_tasks(data.table, data.task):
        differ = {}
        for rows in groups if task in data.table else ():
            given = data.table[task].iloc[rows].dropna()
            if given.nunique() > 1:
                differ |= dict.fromkeys(given.index[(given != given.iloc[0]).to_numpy()], given.index[0])
        if differ:
            second, first = next(iter(differ.items()))
            label = data.table[task]
            equal = f"this image equals that of {found.table.index.name} {found.table.index[first]}"
            fault = f"{equal}, but {task!r} is {label[second]!r} here and {label[first]!r} there"
            raise InputError(f"{found.place(list(differ))}: {fault}; correct the label or take one out.")


def signed(images):
    """Measure what changes sign with the contrast of images (n, rows, columns): a table of `centre contrast, skewness`."""
    rows, columns = (np.arange(side) - (side - 1) / 2 for side in images.shape[1:])
    radius = np.hypot(rows[:, None], columns) / (images.shape[-1] / 2)
    centre, edge = radius < 1 / 3, (radius > 2 / 3) & (radius < 1)
    difference = (centre / centre.sum() - edge / edge.sum()).astype(np.float32).ravel()
    flat = images.reshape(len(images), -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    skewness = (centred * centred * centred).mean(axis=1) / (centred.std(axis=1) + 1e-9) ** 3
    return pd.DataFrame({"centre contrast": flat @ difference, "skewness": skewness})


def polarity(measures, micrographs):
    """Return by how many standard errors each micrograph has the contrast of most others; negative: bright and dark swapped.

    `measures` are those of `signed`, a row per particle. A micrograph's own particles give the mean of each and its standard
    error; only which direction is called positive, that of most micrographs, depends on others. A measure counts where it has
    a direction (2 standard errors) in at least half of the micrographs. The larger one speaks; where both have a direction and
    contradict each other the result is 0, and near 0 where a micrograph shows background only. It is NaN for a micrograph of
    fewer than 5 particles, and for all where fewer than 5 micrographs are left.
    """
    groups = measures[["centre contrast", "skewness"]].groupby(np.asarray(micrographs))
    errors = (groups.mean() / groups.sem().clip(lower=1e-9))[groups.size() >= FEWEST]
    told = errors.loc[:, errors.abs().median() >= CLEAR]
    if len(told) < FEWEST or told.empty:
        return pd.Series(np.nan, groups.size().index)
    # Two measures of which one is always the other way round, such as those of dark rings, are brought to one direction.
    weight = np.sign(told.prod(axis=1)) * told.abs().min(axis=1)
    if told.shape[1] == 2 and weight.sum() < 0:
        told = told * [1, -1]
    low, high = told.min(axis=1), told.max(axis=1)
    direction = low.where(-low > high, high).mask((low <= -CLEAR) & (high >= CLEAR), 0.0)
    if (direction <= -CLEAR).sum() > (direction >= CLEAR).sum():
        direction = -direction
    return direction.reindex(groups.size().index)


def mixed(direction, counts):
    """Return which micrographs have swapped contrast, whether to turn them round, and both in words.

    `direction` is that of `polarity`, `counts` has the particles of each micrograph, both by its name. It is swapped from 4
    standard errors, and not from 2 the other way; where more than a tenth of the particles is between, nothing is turned.
    """
    swapped = direction <= -SURE
    untold = ~swapped & ~(direction >= CLEAR)
    names, share = direction.index[swapped], counts[direction.index[untold]].sum() / counts.sum()
    if not len(names):
        rest = f"; for {untold.sum()} of {len(direction)} it cannot be told" if untold.any() else ""
        return names, False, f"No micrograph has its contrast inverted relative to the others{rest}."
    found = (
        f"Inverted contrast: in {listed(names)} ({len(names)} of {len(direction)} micrographs) bright and dark are swapped compared "
        f"with the others, by {-direction[swapped].max():.1f} standard errors or more; "
    )
    if share > UNTOLD:
        rest = "so contrast: auto swaps them in half of the training particles"
        return names, False, f"{found}for {share:.0%} of the particles it cannot be told, {rest}."
    rest = f", and leaves {untold.sum()} for which it cannot be told as they are" if untold.any() else ""
    return names, True, f"{found}contrast: auto turns them round for training and prediction{rest}."


def _has_column(table, task, where):
    """Refuse a task that is no column."""
    if task not in table:
        known = listed(tasks_of(table)) or "none"
        fault = f"there is no column for the task '{task}'; the columns that could be a task are {known}"
        raise InputError(f"{where}: {fault}.")


def check_task(table, task, *, folds=2, where="particles", unsure=()):
    """Refuse a task that cannot be learnt or evaluated with `folds` folds; messages begin with `where`.

    That is a column that is missing or has one class only, a class from one micrograph, or fewer micrographs than folds.
    Particles whose label is in `unsure` do not count.
    """
    _has_column(table, task, where)
    given = table.loc[labels.is_definite(table[task], unsure), task]
    if given.nunique() < 2:
        fault = f"the task '{task}' has only the class '{given.iloc[0] if len(given) else ''}'"
        raise InputError(f"{where}: {fault}; at least two classes are needed.")
    groups = table.loc[given.index, "micrograph"]
    if groups.nunique() < 3:
        fault = f"there are labels of '{task}' in {groups.nunique()} micrographs only"
        raise InputError(
            f"{where}: {fault}; testing, validation and training need one each, so add micrographs."
        )
    if groups.nunique() < folds and "fold" not in table:
        fault = f"there are {groups.nunique()} micrographs but 'folds' is {folds}"
        raise InputError(f"{where}: {fault}; lower 'folds' or add micrographs.")
    micrographs = groups.groupby(given).nunique()
    if micrographs.min() < 2:
        fault = f"all particles of the class '{micrographs.idxmin()}' of '{task}' come from one micrograph"
        cure = "so it cannot be learnt and tested on different ones; add micrographs, or join it with another by 'merge'"
        raise InputError(f"{where}: {fault}, {cure}.")


def resolution(
    tasks, *, particles, count, seed, scale, pixel_nm, input_size, unsure=(), classes=(), merge=None, **table
):
    """Return what `Particles.resolution` will say of `tasks`; see `open` for the others.

    Of simulated particles only the boxes are drawn, and of many of them not even these.
    """
    size = {"scale": scale, "pixel_nm": pixel_nm, "input_size": input_size}
    if particles != "simulated":
        found = open(particles, task=tasks[0], classes=classes, **size, **table)
        return found.relabelled(unsure=unsure, classes=classes, merge=merge).resolution(tasks, unsure=unsure)
    if count > BOXED:
        return []
    from temlib import simulate

    table = simulate.study(count, seed=seed).boxes
    boxes, own = table.to_numpy(float).T
    size["pixel_nm"], size["input_size"], _ = prepare.chosen(boxes.take, own, **size)
    return prepare.resolution(table, tasks, **size)


def check_simulated(task, *, unsure, classes, merge):
    """Return the classes of a task of simulated particles without making them; refuse a task, or a choice, that they lack."""
    from temlib import simulate  # it takes a second

    known = pd.DataFrame({name: [*both, labels.UNSURE] for name, both in simulate.TASKS.items()})
    _has_column(known, task, "simulated")
    choice = {"unsure": unsure, "classes": classes, "merge": merge}
    chosen = labels.choose(known, task, **choice, where="simulated")[0][task]
    return sorted(chosen[labels.is_definite(chosen, unsure)].unique())


def split(table, task, *, folds, seed, unsure=()):
    """Divide particles that all have a label for `task` into folds that keep micrographs whole and classes balanced.

    A column `fold` (the user's own) is taken as it is, unless it divides a micrograph; a particle without one has that of
    its micrograph. Particles whose label is in `unsure` have no say: they go with their micrograph, and a micrograph of
    nothing else goes with fold 1.

    Returns
    -------
    (n,) ndarray of int
        The fold in which a particle is held out, from 1.
    """
    known = table[labels.is_definite(table[task], unsure)]
    groups = known["micrograph"]
    if "fold" in table:
        check_folds(table, table["fold"])
        given = table.groupby("micrograph")["fold"].transform("first")[known.index]
        if given.isna().any():
            without = listed(groups[given.isna()].unique())
            raise InputError(f"fold: it is empty for micrographs with labels ({without}); give each one.")
        result = given.astype("category").cat.codes.to_numpy() + 1
    else:
        result = _divided(known, task, folds, seed)
    return table["micrograph"].map(dict(zip(groups, result))).fillna(1).to_numpy(int)


def _divided(table, task, folds, seed):
    """Return the fold of each particle, at random; there are fewer folds where there are not as many micrographs."""
    from sklearn.model_selection import StratifiedGroupKFold

    result = np.ones(len(table), int)
    folds = min(folds, table["micrograph"].nunique())
    if folds < 2:
        return result
    # Where no class has a particle for each fold there is nothing to balance.
    few = table[task].value_counts().max() < folds
    classes = np.zeros(len(table), int) if few else table[task]
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # Whether a rare class can be learnt is asked elsewhere.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for fold, (_, held) in enumerate(splitter.split(table, classes, table["micrograph"]), start=1):
            result[held] = fold
    check_folds(table, result)
    return np.unique(result, return_inverse=True)[1] + 1


def check_folds(table, folds):
    """Refuse folds that divide a micrograph, and name those micrographs."""
    count = pd.Series(np.asarray(folds)).groupby(table["micrograph"].to_numpy()).nunique()
    divided = count.index[count > 1].tolist()
    if divided:
        fault = f"{len(divided)} micrographs lie in several folds ({listed(divided)})"
        cure = "so particles leak between training and test; give each micrograph one fold"
        raise InputError(f"fold: {fault}, {cure}.")
