"""Single particles worth a look: where models disagree, the worst errors, labels that may be wrong.

All of it is computed from test rows, each particle once, through `tested.by_model`.
"""

import numpy as np
import pandas as pd

from temlib import intervals
from temlib.calibration import calibrate
from temlib.tested import by_model, classes_of


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
        result = part if result is None else result.drop(columns="truth").join(part, how="outer").assign(
            truth=result["truth"].reindex(result.index.union(part.index)).combine_first(part["truth"])
        )  # fmt: skip
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
