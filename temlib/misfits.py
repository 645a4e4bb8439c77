"""How training went, in words and numbers: misfits, the worst micrographs, what a score costs."""

import pandas as pd

from temlib import measures

# Beyond this difference of balanced accuracy two ways to show validation particles are different things to a network.
TOLERATED = 0.05
# Curves of fewer epochs cannot be judged.
FEWEST_EPOCHS = 5
# With fewer validation particles of the rarest class than this such a difference is chance.
FEWEST = 20


def misfits(trained):
    """Say in words where training did not go well.

    Parameters
    ----------
    trained : Trained

    Returns
    -------
    list of str
        Failed models, interruptions, folds that learnt nothing, over-fitting, under-training, too few epochs, networks
        to which plain and resampled particles are different things, and those that had better not follow micrographs; empty
        where all is well.
    """
    found = [f"Failed: {reason}" for reason in trained.failures.values()] + list(trained.notes)
    chance = 1 / trained.predictions["truth"].nunique()
    for name, history in trained.history.groupby("model", sort=False):
        found += _bad_folds(name, history, chance) + _curves(name, history)
    for name, check in trained.checks.groupby("model", sort=False):
        if check["rarest"].sum() < FEWEST:
            continue
        plain, resampled = check["plain"].mean(), check["resampled"].mean()
        if resampled - plain > TOLERATED:
            found.append(
                f"{name}: validation particles score {plain:.2f} as they are but {resampled:.2f} when resampled as in "
                "training, so the network learnt the noise that resampling leaves; its scores are too low."
            )
        elif plain - resampled > TOLERATED:
            found.append(
                f"{name}: validation particles score {resampled:.2f} when augmented as in training but {plain:.2f} as they "
                "are, so the augmentation may be stronger than these particles bear."
            )
        if plain - check["final"].mean() > TOLERATED:
            found.append(
                f"{name}: validation particles score {check['final'].mean():.2f} when the network follows their micrographs and "
                f"{plain:.2f} when it does not; set 'adaptation' to 'none'."
            )
    return found


def _bad_folds(name, history, chance):
    best = history.loc[history.groupby("fold")["validation_loss"].idxmin()].set_index("fold")
    scores = best["validation_accuracy"]
    low = scores[(scores < chance + 0.2 * (1 - chance)) | (scores < scores.median() - 0.25)]
    return [
        f"{name}: fold {fold} reached a balanced accuracy of {score:.2f} only on its validation micrographs "
        f"(chance is {chance:.2f}, the folds' median {scores.median():.2f}); look at their images and labels."
        for fold, score in low.items()
    ]


def _curves(name, history):
    """Judge the mean curves over the folds."""
    loss = history.pivot_table(index="epoch", columns="fold", values="validation_loss").dropna().mean(axis=1)
    if len(loss) < FEWEST_EPOCHS:
        return [
            f"{name}: {len(loss)} epochs are too few to judge its learning curves; raise 'epochs' before its scores decide anything."
        ]
    best, last = loss.idxmin(), loss.index[-1]
    if loss[last] > max(1.2 * loss[best], loss[best] + 0.1):
        return [
            f"{name}: over-fitting. The validation loss rose from {loss[best]:.2f} at epoch {best} to {loss[last]:.2f} at epoch "
            f"{last}; the best epoch's weights were kept. Fewer epochs or a stronger augmentation may help."
        ]
    before = loss.iloc[-max(2, len(loss) // 5) - 1]
    if best == last and loss[last] < min(0.93 * before, before - 0.05):
        return [
            f"{name}: under-training. The validation loss was still falling at the end (from {before:.2f} to "
            f"{loss[last]:.2f} in the last fifth); more epochs may help."
        ]
    return []


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


def worth(predictions, costs, task):
    """Set the balanced accuracy of each model beside what it costs.

    Parameters
    ----------
    predictions, costs : DataFrame
        From `training.train`.
    task : str

    Returns
    -------
    DataFrame
        A row a model: `model, balanced accuracy, low, high` (95 % interval by micrograph), and the means over folds
        `training_s, prediction_ms_per_particle, weights`.
    """
    table = measures.table(predictions, task=task)
    table = table[(table["measure"] == "balanced accuracy") & (table["class"] == "all")]
    table = table[["model", "value", "low", "high"]].rename(columns={"value": "balanced accuracy"})
    means = costs.groupby("model", sort=False)[["training_s", "prediction_ms_per_particle", "weights"]].mean()
    return table.merge(means.reset_index(), on="model")
