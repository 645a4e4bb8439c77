"""Single particles worth a look: where models disagree, the worst errors, labels that may be wrong, attention.

Functions take `held_out.Rows` with calibrated probabilities, so that those of two models can be compared.
"""

import zipfile
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from temlib.evaluate import intervals
from temlib.evaluate.answer import two_digits
from temlib.evaluate.measures import balanced_accuracy
from temlib.files import InputError, check_unpacked

# Errors are said to gather in a micrograph that has this share of them.
GATHERED = 0.2


def per_particle(rows):
    """Return one row per particle, as `Predictions.per_particle`."""
    parts, truths = [], []
    for model, held in rows.models.items():
        names = np.array(held.classes, dtype=object)
        of_truth = held.probabilities[np.arange(len(held.truth)), held.truth]
        parts.append(pd.DataFrame({model: names[held.predicted], f"p {model}": of_truth}, held.particle))
        truths.append(pd.Series(names[held.truth], held.particle))
    truth, table = pd.concat(truths), pd.concat(parts, axis=1)
    table.insert(0, "truth", truth[~truth.index.duplicated()].reindex(table.index))
    table.insert(0, "micrograph", rows.micrographs.reindex(table.index))
    return table.rename_axis("particle").reset_index()


def disagreements(particles, right, wrong):
    """Return the particles that one model gets right and the other wrong, as `Predictions.disagreements`."""
    truth = particles["truth"]
    kept = particles[(particles[right] == truth) & particles[wrong].notna() & (particles[wrong] != truth)]
    kept = kept.assign(distance=kept[f"p {right}"] - kept[f"p {wrong}"])
    columns = kept[["truth", wrong, f"p {right}", f"p {wrong}"]].itertuples(index=False, name=None)
    kept["words"] = [f"{t}, not {c}\n{two_digits(a)} : {two_digits(b)}" for t, c, a, b in columns]
    return kept.sort_values(["distance", "particle"], ascending=[False, True]).reset_index(drop=True)


def worst_errors(particles, model):
    """Return a model's wrong predictions, the least probable truth first, as `Predictions.worst_errors`."""
    wrong = particles[particles[model].notna() & (particles[model] != particles["truth"])]
    columns = wrong[["truth", model, f"p {model}"]].itertuples(index=False, name=None)
    wrong = wrong.assign(words=[f"{t}, not {c}\n{two_digits(p)}" for t, c, p in columns])
    return wrong.sort_values([f"p {model}", "particle"]).reset_index(drop=True)


def label_audit(rows):
    """Return the particles by how probably their label is wrong, as `Predictions.label_audit`."""
    columns = ["particle", "micrograph", "label", "suggested", "p_label", "p_suggested", "suspected"]
    kept = [held for held in rows.models.values() if not np.isnan(held.probabilities).any()]
    if not kept:
        return pd.DataFrame(columns=columns)
    parts = [
        pd.DataFrame(h.probabilities, h.particle).assign(truth=h.truth, agree=h.predicted == h.truth)
        for h in kept
    ]
    mean = pd.concat(parts).groupby(level=0, sort=False).mean()
    agree = mean.pop("agree").to_numpy() > 0
    truth, p = mean.pop("truth").to_numpy().astype(int), mean.to_numpy()
    present = np.unique(truth)
    limit = np.full(p.shape[1], np.inf)
    limit[present] = [p[truth == k, k].mean() for k in present]
    confident = np.where(p >= limit, p, -1.0)
    suggested = np.where((confident.max(axis=1) >= 0) & ~agree, confident.argmax(axis=1), truth)
    each, names = np.arange(len(p)), np.array(kept[0].classes, dtype=object)
    # Beside the suspected ones the ranking goes on, by how far another class is ahead of the label.
    others = p.copy()
    others[each, truth] = -1
    best = np.where(suggested != truth, suggested, others.argmax(axis=1))
    about = [mean.index, rows.micrographs.reindex(mean.index).to_numpy(), names[truth], names[best]]
    values = [*about, p[each, truth], p[each, best], suggested != truth]
    result = pd.DataFrame(dict(zip(columns, values)))
    order = np.lexsort((result["p_label"] - result["p_suggested"], ~result["suspected"]))
    return result.iloc[order].reset_index(drop=True)


def suspected(audit):
    """Return the suspected rows of `label_audit` with `words`, a title."""
    found = audit[audit["suspected"].astype(bool)]
    return found.assign(words="labelled " + found["label"] + "\nor " + found["suggested"] + "?")


def audit_precision(audit, particles, task):
    """Return a sentence (list of str) on how many labels that `Predictions.label_audit` suspects are truly wrong.

    There is none where `particles` have no column `truth_<task>`, as simulated ones do. Only labels that the truth can
    contradict count: "uncertain" is a statement about the annotators, not the particle.
    """
    checked = _checked(audit, particles, task)
    if checked.empty:
        return []
    wrong, suspected = checked["label"] != checked["truth"], checked["suspected"].astype(bool)
    found, all_wrong, number = int((wrong & suspected).sum()), int(wrong.sum()), int(suspected.sum())
    share = f"{100 * wrong.mean():.1f} %"
    known = f"Of {len(checked):,} definite labels the simulator knows {all_wrong} to be wrong ({share})."
    if not found:
        suspects = (
            f"The {number} suspected ones are right, so none is shown." if number else "None is suspected."
        )
        return [f"{known} {suspects}"]
    low, high = intervals.wilson(found, number)
    return [
        f"{known} Of the {number} suspected labels {found} are wrong: a precision of {100 * found / number:.0f} % "
        f"({100 * low:.0f}–{100 * high:.0f}), against {share} among labels drawn at random."
    ]


def _checked(audit, particles, task):
    """Return the rows of `Predictions.label_audit` whose label a simulated truth can contradict, with that `truth`."""
    truth = particles.set_index("particle").get(f"truth_{task}", pd.Series(dtype=object))
    checked = audit.assign(truth=truth.reindex(audit["particle"]).to_numpy())
    return checked[checked["label"].isin(set(truth.dropna()))]


def found_labels(suspected, particles, task):
    """Return the rows of `Predictions.suspected_labels`, none where the simulated truth says that none of them is wrong."""
    checked = _checked(suspected, particles, task)
    return suspected[:0] if len(checked) and (checked["label"] == checked["truth"]).all() else suspected


def annotator_ceiling(particles, task, classes=None):
    """Return how well people agree: a measure of how much of a classifier's disagreement may be the labels'.

    Particles that are not labelled as one of `classes` (all, where there are none), and such answers, do not count.

    Columns who, against, value (balanced accuracy), n. Each annotator of the columns `<task>@<annotator>` is compared with
    the majority of the others, the label of simulated particles with `truth_<task>` (those labelled uncertain aside).
    Empty where nobody knows.
    """
    rows, particles = [], particles if classes is None else particles[particles[task].isin(classes)]
    columns = {name.split("@", 1)[1]: particles[name] for name in particles if name.startswith(f"{task}@")}
    if len(columns) == 2:
        (first, one), (second, two) = columns.items()
        rows.append((first, second, *_balanced(two, one, classes)))
    for name in columns if len(columns) > 2 else []:
        modes = pd.DataFrame(columns).drop(columns=name).mode(axis=1).reindex(columns=[0, 1])
        # As among simulated annotators: people who are at odds make a particle uncertain, where that is an answer.
        undecided = "uncertain" if (particles[task] == "uncertain").any() else np.nan
        majority = modes[0].where(modes[1].isna(), undecided)
        rows.append((name, "majority of the other annotators", *_balanced(majority, columns[name], classes)))
    if f"truth_{task}" in particles:
        truth = particles[f"truth_{task}"]
        decided = particles[task].where(particles[task].isin(set(truth.dropna())))
        rows.append(("the labels", "the simulated truth", *_balanced(truth, decided, classes)))
    return pd.DataFrame(rows, columns=["who", "against", "value", "n"])


def _balanced(truth, answers, classes):
    """Return the balanced accuracy over the true classes, and the number of particles with both."""
    known = truth.notna() & answers.notna()
    if classes is not None:
        known &= truth.isin(classes) & answers.isin(classes)
    if not known.any():
        return np.nan, 0
    classes = pd.Index(sorted(truth[known].unique()))
    # The last column counts answers that are no true class.
    counts = np.zeros((len(classes), len(classes) + 1))
    np.add.at(counts, (classes.get_indexer(truth[known]), classes.get_indexer(answers[known])), 1)
    return float(balanced_accuracy(counts)[0]), int(known.sum())


def by_micrograph(rows):
    """Return the share of correctly predicted particles on each micrograph, as `Predictions.by_micrograph`."""
    test = rows.table[rows.test & (rows.truth >= 0)]
    keys = [test["model"], test.get("micrograph", test["particle"]).rename("micrograph")]
    right = (test["truth"] == test["predicted"]).groupby(keys, sort=False)
    found = right.agg(right="mean", particles="size").reset_index()
    found["model"] = pd.Categorical(found["model"], categories=test["model"].unique())
    return found.sort_values(["model", "right", "micrograph"], ignore_index=True).astype({"model": str})


def worst_micrograph(model, rows):
    """Return where a model does worst by its rows of `by_micrograph`, and what share of its errors lies there."""
    wrong = (1 - rows["right"]) * rows["particles"]
    worst, total = rows.loc[wrong.idxmax()], wrong.sum()
    if total < 0.5:
        return f"{model} predicts every particle correctly."
    if wrong.max() < GATHERED * total:
        return f"{model}: errors are spread over the micrographs; none has more than {wrong.max() / total:.0%} of them."
    return (
        f"{model}: micrograph {worst['micrograph']} has {wrong.max() / total:.0%} of all errors and "
        f"{worst['particles'] / rows['particles'].sum():.0%} of the particles; of these {worst['particles']} it predicts "
        f"{worst['right']:.0%} correctly."
    )


def on_target(maps, masks):
    """Return for each map (n, rows, columns) its share on the mask over the mask's share of the image.

    1 is what chance gives; NaN (n,) where a mask is empty or a map is 0.
    """
    total, area = maps.sum(axis=(1, 2)), masks.mean(axis=(1, 2))
    inside = (maps * masks).sum(axis=(1, 2))
    known = (total > 0) & (area > 0)
    return np.divide(inside, total * area, out=np.full(len(maps), np.nan), where=known)


KINDS = ("gradcam", "occlusion", "shuffled")


@dataclass(frozen=True)
class Examples:
    """What `examples.npz` holds: copies of particles, and attention maps, one for each row of `table`."""

    images: dict = field(default_factory=dict)  # of particle to (rows, columns), 0 to 255
    pixel_nm: float = float("nan")  # NaN where unknown
    maps: dict = field(default_factory=dict)  # of `KINDS`, "membrane" and "payload" to (n, rows, columns)
    table: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["particle", "model", "called"]))

    def explained(self, model):
        """Return the model if it has maps, else the first model that has some, else the model."""
        models = list(self.table["model"])
        return model if model in models else next(iter(models), model)

    def scores(self):
        """Return how many times more of each model's attention lies on membrane and payload than chance would put there.

        Columns are model, target, Grad-CAM, occlusion, shuffled weights (means of `on_target`), more than shuffled (mean
        paired difference of Grad-CAM), low, high (95 %, t), n. Empty where places are not known.
        """
        rows = []
        for model, own in self.table.groupby("model", sort=False).groups.items():
            for target in ("membrane", "payload"):
                value = np.array([on_target(self.maps[k][own] * 1.0, self.maps[target][own]) for k in KINDS])
                more = value[0] - value[2]
                more = more[~np.isnan(more)]
                if len(more) < 2:
                    continue
                half = stats.t.isf(intervals.TAIL, len(more) - 1) * stats.sem(more)
                ends = more.mean() - half, more.mean() + half
                rows.append((model, target, *np.nanmean(value, axis=1), more.mean(), *ends, len(more)))
        named = ["Grad-CAM", "occlusion", "shuffled weights", "more than shuffled"]
        return pd.DataFrame(rows, columns=["model", "target", *named, "low", "high", "n"])

    def agreement(self):
        """Return for each model the mean correlation of Grad-CAM with occlusion, and with that of shuffled weights."""
        rows = []
        for model, own in self.table.groupby("model", sort=False).groups.items():
            cam, *others = (self.maps[kind][own].reshape(len(own), -1).astype(float) for kind in KINDS)
            rows.append((model, *(_correlation(cam, other) for other in others), len(own)))
        return pd.DataFrame(rows, columns=["model", "Grad-CAM with occlusion", "with shuffled weights", "n"])


def _correlation(a, b):
    """Return the mean over rows of the correlation of two arrays (n, pixels); constant rows are left out."""
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    norm = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    known = norm > 0
    return float(((a * b).sum(axis=1)[known] / norm[known]).mean()) if known.any() else np.nan


def load(path):
    """Return the `Examples` of the file `examples.npz` (a Path); a run without it has none."""
    try:
        check_unpacked(path)
        with np.load(path, allow_pickle=False) as file:
            kept = {name: file[name] for name in file.files}
    except FileNotFoundError:
        return Examples()
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path.name} cannot be read ({error}); run the notebook 3_train again.") from None
    table = pd.DataFrame({"particle": kept["explained"], "model": kept["model"], "called": kept["called"]})
    maps = {name: kept[name] for name in (*KINDS, "membrane", "payload")}
    images = dict(zip(kept["particle"].tolist(), kept["images"]))
    return Examples(images, float(kept["pixel_nm"]), maps, table)
