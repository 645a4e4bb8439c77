"""Single particles worth a look: where models disagree, the worst errors, labels that may be wrong.

All of it is computed from test rows, each particle once, through `tested.by_model`.
"""

import zipfile
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from temlib.evaluate import intervals
from temlib.evaluate.decisions import calibrate
from temlib.evaluate.predictions import by_model, classes_of
from temlib.files import InputError


def wide(predictions, *, classes=None):
    """Return one row a particle: micrograph, truth, and for each model its call and the probability of the truth.

    Parameters
    ----------
    predictions : DataFrame
        Test rows count; probabilities are calibrated first, so that those of two models can be compared.

    Returns
    -------
    DataFrame
        Columns particle, micrograph, truth, `<model>` (the call, NaN where it has none) and `p <model>`.
    """
    classes = list(classes) if classes is not None else classes_of(predictions)
    names = np.array(classes, dtype=object)
    result = None
    about = predictions.drop_duplicates("particle").set_index("particle")
    for model, held in by_model(calibrate(predictions, classes=classes), classes).items():
        of_truth = held.probabilities[np.arange(len(held.truth)), held.truth]
        part = pd.DataFrame(
            {"truth": names[held.truth], model: names[held.predicted], f"p {model}": of_truth}, held.particle
        )
        result = (
            part
            if result is None
            else result.drop(columns="truth")
            .join(part, how="outer")
            .assign(
                truth=result["truth"].reindex(result.index.union(part.index)).combine_first(part["truth"])
            )
        )
    result.insert(0, "micrograph", about.get("micrograph", pd.Series(dtype=object)).reindex(result.index))
    return result.rename_axis("particle").reset_index()


def _short(p):
    """Write a probability with two digits, a dash where it is unknown."""
    return f"{p:.2f}" if pd.notna(p) else "–"


def disagreements(cases, right, wrong):
    """Return the particles that one model has right and the other wrong, the clearest first.

    Parameters
    ----------
    cases : DataFrame
        From `wide`.
    right, wrong : str
        Models.

    Returns
    -------
    DataFrame
        With columns `distance`, the difference between their probabilities of the true class, and `words`, a title.
    """
    kept = cases[(cases[right] == cases["truth"]) & cases[wrong].notna() & (cases[wrong] != cases["truth"])]
    kept = kept.assign(distance=kept[f"p {right}"] - kept[f"p {wrong}"])
    beside = [f"{_short(a)} : {_short(b)}" for a, b in zip(kept[f"p {right}"], kept[f"p {wrong}"])]
    kept["words"] = [f"{t}, not {c}\n{p}" for t, c, p in zip(kept["truth"], kept[wrong], beside)]
    return kept.sort_values(["distance", "particle"], ascending=[False, True]).reset_index(drop=True)


def worst_errors(cases, model):
    """Return a model's wrong calls, those with the least probability of the true class first; `words` is a title."""
    wrong = cases[cases[model].notna() & (cases[model] != cases["truth"])]
    words = [
        f"{t}\ncalled {c}, {_short(p)}" for t, c, p in zip(wrong["truth"], wrong[model], wrong[f"p {model}"])
    ]
    wrong = wrong.assign(words=words)
    return wrong.sort_values([f"p {model}", "particle"]).reset_index(drop=True)


def label_audit(predictions, *, classes=None):
    """Rank the particles by how probably their label is wrong (confident learning).

    Parameters
    ----------
    predictions : DataFrame
        Out-of-fold probabilities of one or more models; calibrated, then averaged over the models.

    Returns
    -------
    DataFrame
        Columns particle, micrograph, label, suggested, p_label, p_suggested, suspected, the most suspicious first.
        A particle is suspected when no model calls it what its label says, and another class is the most probable of
        those whose probability is at least the mean that the particles labelled so receive. Empty where no model has probabilities.

    References
    ----------
    .. [1] C. Northcutt et al., J. Artif. Intell. Res. 70 (2021) 1373-1411, doi:10.1613/jair.1.12125.
    """
    classes = list(classes) if classes is not None else classes_of(predictions)
    columns = ["particle", "micrograph", "label", "suggested", "p_label", "p_suggested", "suspected"]
    tested = by_model(calibrate(predictions, classes=classes), classes).values()
    tested = [held for held in tested if not np.isnan(held.probabilities).any()]
    if not tested:
        return pd.DataFrame(columns=columns)
    parts = [
        pd.DataFrame(h.probabilities, h.particle).assign(truth=h.truth, agree=h.predicted == h.truth)
        for h in tested
    ]
    mean = pd.concat(parts).groupby(level=0, sort=False).mean()
    agree = mean.pop("agree").to_numpy() > 0
    truth, p = mean.pop("truth").to_numpy().astype(int), mean.to_numpy()
    present = np.unique(truth)
    limit = np.full(len(classes), np.inf)
    limit[present] = [p[truth == k, k].mean() for k in present]
    confident = np.where(p >= limit, p, -1.0)
    suggested = np.where((confident.max(axis=1) >= 0) & ~agree, confident.argmax(axis=1), truth)
    rows, names = np.arange(len(p)), np.array(classes, dtype=object)
    # Beside the suspected ones the ranking goes on, by how far another class is ahead of the label.
    others = p.copy()
    others[rows, truth] = -1
    best = np.where(suggested != truth, suggested, others.argmax(axis=1))
    about = predictions.drop_duplicates("particle").set_index("particle")
    result = pd.DataFrame(
        {
            "particle": mean.index,
            "micrograph": about.get("micrograph", pd.Series(dtype=object)).reindex(mean.index).to_numpy(),
            "label": names[truth],
            "suggested": names[best],
            "p_label": p[rows, truth],
            "p_suggested": p[rows, best],
            "suspected": suggested != truth,
        }
    )
    order = np.lexsort((result["p_label"] - result["p_suggested"], ~result["suspected"]))
    return result.iloc[order].reset_index(drop=True)


def audit_precision(audit, particles, task):
    """Say how many suspected labels are truly wrong, where a simulator knows; an empty list where nobody does.

    Only labels that the truth can contradict count: "uncertain" is a statement about the annotators, not the particle.
    """
    truth = particles.set_index("particle").get(f"truth_{task}")
    if truth is None or audit.empty:
        return []
    checked = audit.assign(truth=truth.reindex(audit["particle"]).to_numpy())
    checked = checked[checked["label"].isin(set(truth.dropna()))]
    wrong, suspected = checked["label"] != checked["truth"], checked["suspected"].astype(bool)
    found, all_wrong = int((wrong & suspected).sum()), int(wrong.sum())
    said = f"Of {len(checked):,} definite labels the simulator knows {all_wrong} to be wrong ({100 * wrong.mean():.1f} %). "
    if not suspected.any():
        return [said + "None of them is suspected."]
    low, high = intervals.wilson(found, suspected.sum())
    return [
        said
        + f"Of the {suspected.sum()} suspected ones {found} are wrong: a precision of {100 * found / suspected.sum():.0f} % "
        f"({100 * low:.0f}–{100 * high:.0f}), against {100 * wrong.mean():.1f} % among labels drawn at random."
    ]


def ceiling(particles, task):
    """Return how well people agree with the labels: what no classifier can be shown to exceed on them.

    Parameters
    ----------
    particles : DataFrame
        With columns `<task>@<annotator>`, or of simulated particles with `truth_<task>`.

    Returns
    -------
    DataFrame
        Columns who, against, value (balanced accuracy), n. Each annotator is held against the majority of the others,
        the label of simulated particles against the truth (those labelled uncertain aside). Empty where nobody knows.
    """
    rows = []
    named = [name for name in particles if name.startswith(f"{task}@")]
    for name in named if len(named) > 2 else []:
        others = particles[[other for other in named if other != name]]
        modes = others.mode(axis=1)
        tie = modes[1].notna() if modes.shape[1] > 1 else pd.Series(False, particles.index)
        # As in the simulated panel: people who are at odds make a particle uncertain, where that is an answer.
        majority = modes[0].where(~tie, "uncertain" if (particles[task] == "uncertain").any() else np.nan)
        rows.append(
            (name.split("@", 1)[1], "majority of the other annotators", *_balanced(majority, particles[name]))
        )
    if len(named) == 2:
        rows.append(
            (
                named[0].split("@", 1)[1],
                named[1].split("@", 1)[1],
                *_balanced(particles[named[1]], particles[named[0]]),
            )
        )
    if f"truth_{task}" in particles:
        truth = particles[f"truth_{task}"]
        decided = particles[task].where(particles[task].isin(set(truth.dropna())))
        rows.append(("the labels", "the simulated truth", *_balanced(truth, decided)))
    return pd.DataFrame(rows, columns=["who", "against", "value", "n"])


def _balanced(truth, calls):
    """Return the mean share of right calls over the true classes, and the number of particles with both."""
    known = truth.notna() & calls.notna()
    right = (truth == calls)[known].groupby(truth[known]).mean()
    return (float(right.mean()) if len(right) else np.nan), int(known.sum())


def by_micrograph(predictions):
    """Give the share of held-out particles that each model calls right on each micrograph.

    Parameters
    ----------
    predictions : DataFrame

    Returns
    -------
    DataFrame
        `model, micrograph, right, particles`, the worst of each model first.
    """
    test = predictions[predictions["role"] == "test"]
    right = (test["truth"] == test["predicted"]).rename("right")
    found = right.groupby([test["model"], test["micrograph"]], sort=False).agg(["mean", "size"]).reset_index()
    found = found.rename(columns={"mean": "right", "size": "particles"})
    found["model"] = pd.Categorical(found["model"], categories=test["model"].unique())
    return found.sort_values(["model", "right", "micrograph"], ignore_index=True).astype({"model": str})


def worst_micrograph(scores, model):
    """Say which micrograph a model does worst on, and what share of its errors lies there.

    Parameters
    ----------
    scores : DataFrame
        From `by_micrograph`.
    model : str

    Returns
    -------
    str
        Empty where the model has no scores.
    """
    rows = scores[scores["model"] == model]
    if rows.empty:
        return ""
    wrong = (1 - rows["right"]) * rows["particles"]
    worst, total = rows.loc[wrong.idxmax()], wrong.sum()
    if total < 0.5:
        return f"{model} calls every particle right."
    return (
        f"{model}: most errors lie in the micrograph {worst['micrograph']}, where it calls {worst['right']:.0%} of "
        f"{worst['particles']} particles right; that is {wrong.max() / total:.0%} of all its errors in "
        f"{worst['particles'] / rows['particles'].sum():.0%} of the particles."
    )


def on_target(maps, masks):
    """Return for each map its share on the mask over the mask's share of the image: 1 is what chance gives.

    Parameters
    ----------
    maps : (n, rows, columns) ndarray
    masks : (n, rows, columns) bool ndarray

    Returns
    -------
    (n,) ndarray
        NaN where a mask is empty or a map is 0.
    """
    total, area = maps.sum(axis=(1, 2)), masks.mean(axis=(1, 2))
    inside = (maps * masks).sum(axis=(1, 2))
    known = (total > 0) & (area > 0)
    return np.divide(inside, total * area, out=np.full(len(maps), np.nan), where=known)


@dataclass(frozen=True)
class Examples:
    """What `examples.npz` holds: copies of particles by name, and maps with a table of what they explain."""

    images: dict = field(default_factory=dict)
    pixel_nm: float = float("nan")
    maps: dict = field(default_factory=dict)
    table: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["particle", "model", "called"]))

    def scores(self):
        """Return how many times more of each model's attention lies on membrane and payload than chance would put there.

        Returns
        -------
        DataFrame
            Columns model, target, Grad-CAM, occlusion, shuffled weights (means of `on_target`), more than shuffled (mean
            paired difference of Grad-CAM), low, high (95 %, t), n. Empty where places are not known.
        """
        from scipy import stats

        rows = []
        for model in self.table["model"].unique():
            of = (self.table["model"] == model).to_numpy()
            for target in ("membrane", "payload"):
                kinds = ("gradcam", "occlusion", "shuffled")
                value = np.stack(
                    [on_target(self.maps[k][of].astype(float), self.maps[target][of]) for k in kinds]
                )
                more = (value[0] - value[2])[~np.isnan(value[0] - value[2])]
                if len(more) < 2:
                    continue
                half = stats.t.isf(0.025, len(more) - 1) * more.std(ddof=1) / np.sqrt(len(more))
                ends = more.mean() - half, more.mean() + half
                rows.append((model, target, *np.nanmean(value, axis=1), more.mean(), *ends, len(more)))
        named = ["Grad-CAM", "occlusion", "shuffled weights", "more than shuffled"]
        return pd.DataFrame(rows, columns=["model", "target", *named, "low", "high", "n"])

    def agreement(self):
        """Return for each model the mean correlation of Grad-CAM with occlusion, and with that of shuffled weights."""
        rows = []
        for model in self.table["model"].unique():
            of = (self.table["model"] == model).to_numpy()
            flat = {
                k: self.maps[k][of].reshape(of.sum(), -1).astype(float)
                for k in ("gradcam", "occlusion", "shuffled")
            }
            pair = [_correlation(flat["gradcam"], flat[k]) for k in ("occlusion", "shuffled")]
            rows.append((model, *pair, int(of.sum())))
        return pd.DataFrame(rows, columns=["model", "Grad-CAM with occlusion", "with shuffled weights", "n"])


def _correlation(a, b):
    """Return the mean over rows of the correlation of two arrays (n, pixels); constant rows are left out."""
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    norm = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return (
        float(((a * b).sum(axis=1)[norm > 0] / norm[norm > 0]).mean()) if (norm > 0).any() else float("nan")
    )


def load(path):
    """Read `examples.npz`; a run without it has no examples.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            kept = {name: file[name] for name in file.files}
    except FileNotFoundError:
        return Examples()
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path.name} cannot be read ({error}); run the notebook 3_train again.") from None
    table = pd.DataFrame({"particle": kept["explained"], "model": kept["model"], "called": kept["called"]})
    maps = {name: kept[name] for name in ("gradcam", "occlusion", "shuffled", "membrane", "payload")}
    return Examples(
        dict(zip(kept["particle"].tolist(), kept["images"])), float(kept["pixel_nm"]), maps, table
    )
