"""Labels as people write them: typing errors, which classes are learnt, several annotators, consensus and agreement."""

import math
import re
from collections import Counter
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import special  # scipy.stats would take half a second in each process that prepares images

from temlib.files import InputError, listed, nearest

TYPO_SHARE = 0.25  # a label this rare beside its one-letter neighbour is taken for a typo, not for a class
UNSURE = "uncertain"  # what most people write who could not tell, and the simulator's annotators
JACKKNIFE_BLOCKS = 200  # enough for a t quantile, few enough to be quick at a million particles


def checked(table, tasks, meant=()):
    """Return the text columns `tasks` without surrounding spaces, and refuse labels that are typing errors.

    Those differ from another only by case, spaces, hyphens or underscores, or by one letter that is no digit, if both have
    at least four characters and the rare one has at most a quarter of the common one's particles.
    """
    result = pd.DataFrame(index=table.index)
    for task in tasks:
        column = table[task].astype(str).str.strip()
        counts = Counter(column.tolist())
        del counts[""]  # not labelled
        typos = [pair for pair in _typos(counts) if not {*pair} <= {*meant}]
        if typos:
            wrong, right = typos[0]
            at = f"{table.index.name or 'line'} {column.index[np.flatnonzero(column == wrong)[0]]}"
            times = f" ({counts[wrong]} times)" if counts[wrong] > 1 else ""
            others = listed((f"{rare!r} of {common!r}" for rare, common in typos[1:]), 2)
            fault = f"{wrong[:40]!r}{times} looks like a typing error of {right[:40]!r}"
            fault += f" (likewise {others}: {len(typos)} in all)" if others else ""
            raise InputError(f"{task}, {at}: {fault}; correct it, or name both in 'classes'.")
        result[task] = column
    return result


def _typos(counts):
    """Yield `(label, label that was meant)` for labels that look like typing errors."""
    for pair in combinations(counts, 2):
        common, rare = sorted(pair, key=counts.get, reverse=True)
        few = counts[rare] <= TYPO_SHARE * counts[common] and min(map(len, pair)) >= 4
        if _plain(common) == _plain(rare) or (few and _one_apart(common, rare)):
            yield rare, common


def alike(new, known):
    """Return whether a new label would be taken for a typing error of one in use."""
    return next(_typos({new: 0, known: 1}), None) is not None


def _plain(label):
    """Return a label without case, spaces, hyphens and underscores."""
    return re.sub(r"[\s_-]+", "", label).casefold()


def _one_apart(first, second):
    """Return whether two labels differ by one letter put in, left out, exchanged, or swapped with its neighbour."""
    first, second = sorted((_plain(first), _plain(second)), key=len)
    start = next((i for i, (a, b) in enumerate(zip(first, second)) if a != b), len(first))
    head, tail = first[start:], second[start:]
    if len(first) == len(second):
        swapped = len(head) > 1 and head[:2] == tail[1::-1] and head[2:] == tail[2:]
        return swapped or (head[1:] == tail[1:] and not (head[:1] + tail[:1]).isdigit())
    return len(tail) == len(head) + 1 and head == tail[1:] and not tail[0].isdigit()


def is_definite(labels, unsure=()):
    """Return which of `labels`, a Series, name a class: neither missing nor, whatever their capitals, among `unsure`."""
    aside = [name.casefold() for name in unsure]
    return labels.notna() & ~labels.astype(str).str.casefold().isin(aside)


def choose(table, task, *, unsure=(), classes=(), merge=None, where="particles"):
    """Choose what is learnt of a task, and say in sentences what that changes.

    Returned are the table and a list of str. First the classes of `merge` are joined in the columns of the task, of its
    annotators and of its simulated truth; then, with `classes`, other labels go, apart from those in `unsure`. So what is
    unsure is decided by the name after merging: joined into a class such particles are of that class, and a class joined
    into "uncertain" is set aside. What cannot be meant is refused; messages begin with `where`.
    """
    merge, before = merge or {}, table[task]
    names = sorted(before.dropna().astype(str).unique())
    for fault in _faults(names, task, list(unsure), list(classes), merge):
        raise InputError(f"{where}: {fault}.")
    new = {old: name for name, olds in merge.items() for old in olds}
    own = [name for name in table if name in (task, f"truth_{task}") or name.startswith(f"{task}@")]
    for name in own if merge or classes else ():
        column = table[name].map(lambda label: new.get(label, label), na_action="ignore")
        left = column.isin(list(classes) or column) | ~is_definite(column, unsure)
        table = table.assign(**{name: column.where(left)})
    after, count = table[task], before.value_counts()
    said = [
        f"{task}: {' and '.join(f'{count[old]:,} {old}' for old in olds)} are joined as {name}."
        for name, olds in merge.items()
    ]
    others = count.sum() - after.count()
    if others:
        said.append(f"{task}: particles of classes that were not chosen are left out, {others:,} of them.")
    aside = after[after.notna() & ~is_definite(after, unsure)]
    if len(aside):
        told = (
            f"people could not tell {len(aside):,} of {after.count():,} particles ({listed(aside.unique())})"
        )
        said.append(f"{task}: {told}; these are set aside: neither learnt nor scored, but predicted.")
    return table, said


def _faults(names, task, unsure, classes, merge):
    """Yield what is wrong with a choice of the classes `names` of a task, as sentences without a full stop."""
    new = {old: name for name, olds in merge.items() for old in olds}
    left = [name for name in names if name not in new]
    left += [name for name in merge if name not in left]
    every = [old for olds in merge.values() for old in olds]

    def unknown(key, name, known):
        hint = nearest(str(name), known) or f"; there are {listed(known)}"
        return f"'{key}' names '{name}', which is no class of '{task}'{hint}"

    for key, given in (("merge", every), ("classes", classes), ("unsure", unsure)):
        for name in given:
            if given.count(name) > 1:
                yield f"'{key}' names '{name}' twice; keep one"
    for name, olds in merge.items():
        if not olds:
            yield f"'merge' joins no class into '{name}'; list those to be joined, or leave it out"
        for old in olds:
            if old in merge and new[old] != old:
                chain = f"'merge' joins '{old}' into '{name}' and others into '{old}'"
                yield f"{chain}; join all of them into one of the two"
            if old not in names:
                yield unknown("merge", old, names)
        for other in left:
            if other != name and _plain(other) == _plain(name):
                yield f"'merge' makes '{name}' beside '{other}'; write both alike"
    lower = [name.casefold() for name in left]
    for key, given in (("classes", classes), ("unsure", unsure)):
        for name in given:
            if name in left or (key == "unsure" and name.casefold() in (UNSURE, *lower)):
                continue
            gone = f"'{key}' names '{name}', which 'merge' joins into '{new.get(name)}'; name that"
            yield gone if name in new else unknown(key, name, left)
    for name in classes:
        if name.casefold() in map(str.casefold, unsure):
            yield f"'classes' names '{name}', which 'unsure' sets aside; take it out of one of them"
    learnt = [name for name in classes or left if is_definite(pd.Series([name]), unsure).all()]
    if len(learnt) < 2 <= len(names):
        key = "classes" if classes else "merge" if merge else "unsure"
        rest = f"only '{learnt[0]}'" if learnt else "no class"
        yield f"'{key}' leaves {rest} of '{task}' to learn; at least two classes are needed"


@dataclass(frozen=True)
class Agreement:
    """How well several annotators agree on one task."""

    task: str
    annotators: tuple  # names behind the ``@``
    kappa: float  # mean of the pairwise Cohen's kappas; NaN if undefined
    low: float  # of its 95 % interval
    high: float
    method: str  # how they were computed, or why they are undefined
    pairs: pd.DataFrame  # one row per pair of annotators: `first, second, n, agreement, kappa`
    disagreements: pd.DataFrame  # particles on which they differ: names, each annotator's label, `consensus`


def annotators(table, task):
    """Return the names of the annotators of a task: those behind ``task@`` in the table's columns."""
    return tuple(name.partition("@")[2] for name in table.columns if name.startswith(f"{task}@"))


def consensus(table, task):
    """Join the labels of several annotators by majority and measure their agreement.

    Parameters
    ----------
    table : DataFrame
        Text columns ``task@annotator`` of at least two annotators; an empty cell is not labelled by them.
    task : str

    Returns
    -------
    labels : (n,) Series of str
        The label that more than half of the annotators who labelled the particle gave. Where there is none it is
        ``uncertain`` if that is one of the labels in use, else empty: people who disagree are what that class means,
        and dropping the particle would make the remaining ones look easier than they are.
    agreement : Agreement

    Notes
    -----
    Cohen's kappa [1]_ is averaged over all pairs of annotators who share particles (Light [2]_). The interval is a
    jackknife over micrographs (over 200 blocks of particles where none is known) with t quantiles. Fewer than two
    annotators, a joined column of the task beside theirs, and a typing error are refused.

    References
    ----------
    .. [1] Cohen J., Educ. Psychol. Meas. 20 (1960) 37, doi:10.1177/001316446002000104
    .. [2] Light R.J., Psychol. Bull. 76 (1971) 365, doi:10.1037/h0031643
    """
    names = annotators(table, task)
    if len(names) < 2:
        needed = f"columns {task}@a and {task}@b of at least two annotators"
        raise InputError(f"A consensus on {task!r} needs {needed}.")
    if task in table:
        fault = f"The table has {task!r} beside the annotators' columns {task}@..."
        raise InputError(f"{fault}; keep one or the other.")
    given = checked(table, [f"{task}@{name}" for name in names])
    # Each annotator may be consistent alone, and differ from another by a typing error.
    flat = given.to_numpy().ravel()
    checked(pd.DataFrame({task: flat}, index=np.repeat(given.index, len(names))), [task])
    classes = sorted(set(flat) - {""})
    codes = np.stack([pd.Categorical(given[name], classes).codes for name in given], axis=1)
    votes = (codes[:, :, None] == np.arange(len(classes))).sum(axis=1)  # (n, classes)
    best, cast = votes.argmax(axis=1), votes.sum(axis=1)
    otherwise = next((name for name in classes if name.casefold() == UNSURE), "")
    decided = 2 * votes.max(axis=1, initial=0) > cast
    joined = np.where(decided, np.array([*classes, ""], object)[best], np.where(cast > 0, otherwise, ""))
    joined = pd.Series(joined, index=table.index, name=task, dtype=str)
    known = table[[name for name in ("particle", "image", "micrograph") if name in table]]
    disagreements = pd.concat([known, given, joined.rename("consensus")], axis=1)[(votes > 0).sum(axis=1) > 1]
    return joined, Agreement(task, names, *_kappa(table, names, codes), disagreements)


def _kappa(table, names, codes):
    """Return kappa, its interval, how they were computed, and the table of pairs, from codes (n, annotators)."""
    if "micrograph" in table:
        groups, unit = pd.factorize(table["micrograph"])[0], "micrographs"
    else:
        groups, unit = np.arange(len(table)) % JACKKNIFE_BLOCKS, "blocks of particles"
    pairs = list(combinations(range(len(names)), 2))
    counts = np.zeros((len(pairs), groups.max() + 1, *[codes.max() + 1] * 2), int)
    for cells, (a, b) in zip(counts, pairs):
        both = (codes[:, [a, b]] >= 0).all(axis=1)
        np.add.at(cells, (groups[both], codes[both, a], codes[both, b]), 1)
    total = counts.sum(axis=1)  # (pairs, classes, classes): how often a pair gave each two labels
    equal, kappas = _cohen(total)
    rows = [(names[a], names[b], n) for (a, b), n in zip(pairs, total.sum(axis=(1, 2)))]
    rows = pd.DataFrame(rows, columns=["first", "second", "n"]).assign(agreement=equal, kappa=kappas)
    return *_jackknife(counts, float(_light(total)), unit), rows


def _cohen(counts):
    """Return share of equal labels and Cohen's kappa of tables of counts, (..., classes, classes)."""
    n = counts.sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):  # undefined stays NaN
        equal = np.trace(counts, axis1=-2, axis2=-1) / n
        chance = (counts.sum(axis=-1) / n[..., None] * (counts.sum(axis=-2) / n[..., None])).sum(axis=-1)
        return equal, np.where(chance < 1, (equal - chance) / (1 - chance), math.nan)


def _light(counts):
    """Return the mean over the pairs (first axis) of the kappas that are defined, NaN where none is."""
    kappas = _cohen(counts)[1]
    with np.errstate(invalid="ignore"):
        return np.nansum(kappas, axis=0) / np.sum(~np.isnan(kappas), axis=0)


def _jackknife(counts, kappa, unit):
    """Return kappa, its 95 % interval from leaving out one group at a time, and the method in words."""
    unknown = (kappa, math.nan, math.nan)
    if math.isnan(kappa):
        return *unknown, "undefined: no two annotators share particles, or all gave one class"
    method = "mean pairwise Cohen's kappa"
    used = counts.sum(axis=(0, 2, 3)) > 0
    left_out, count = _light(counts.sum(axis=1, keepdims=True) - counts[:, used]), int(used.sum())
    if count < 2 or np.isnan(left_out).any():
        return *unknown, f"{method}; no interval from {count} {unit}: undefined without one of them"
    spread = math.sqrt((count - 1) / count * float(np.sum((left_out - left_out.mean()) ** 2)))
    half = float(special.stdtrit(count - 1, 0.975)) * spread
    return kappa, max(-1.0, kappa - half), min(1.0, kappa + half), f"{method}, jackknife over {count} {unit}"
