"""Sentences on where a training did not go well: learning curves, folds that stand out, particles seen in other ways."""

# Beyond this difference of balanced accuracy two ways to show validation particles are different things to a network.
TOLERATED = 0.05
# Curves of fewer epochs cannot be judged.
FEWEST_EPOCHS = 5
# With fewer validation particles of the rarest class than this such a difference is chance.
FEWEST = 20


def different(name, check):
    """Judge whether validation particles score equally as they are, resampled, and as they are predicted in the end."""
    if check["rarest"].sum() < FEWEST:
        return []
    plain, resampled, final = (check[column].mean() for column in ("plain", "resampled", "final"))
    found = []
    if resampled - plain > TOLERATED:
        found = [
            f"{resampled:.2f} when resampled as in training, so the network learnt the noise that resampling leaves; its scores "
            "are too low."
        ]
    elif plain - resampled > TOLERATED:
        found = [
            f"{resampled:.2f} when augmented, so the augmentation may be too strong for these particles."
        ]
    if plain - final > TOLERATED:
        found.append(f"{final:.2f} with adaptive batch normalisation; set 'adaptation' to 'none'.")
    return [f"{name}: validation particles score {plain:.2f} as they are but {text}" for text in found]


def bad_folds(name, history, chance):
    """Name the folds whose best epoch is near chance or far below that of the others."""
    best = history.loc[history.groupby("fold")["validation_loss"].idxmin()].set_index("fold")
    scores = best["validation_accuracy"]
    low = scores[(scores < chance + 0.2 * (1 - chance)) | (scores < scores.median() - 0.25)]
    return [
        f"{name}: fold {fold} reached a balanced accuracy of only {score:.2f} on its validation micrographs "
        f"(chance is {chance:.2f}, the folds' median {scores.median():.2f}); look at their images and labels."
        for fold, score in low.items()
    ]


def curves(name, history):
    """Judge the mean curves over the folds."""
    loss = history.pivot_table(index="epoch", columns="fold", values="validation_loss").dropna().mean(axis=1)
    if len(loss) < FEWEST_EPOCHS:
        return [
            f"{name}: {len(loss)} epochs are too few to judge its learning curves and scores; raise 'epochs'."
        ]
    best, last = loss.idxmin(), loss.index[-1]
    if loss[last] > max(1.2 * loss[best], loss[best] + 0.1):
        return [
            f"{name}: over-fitting. The validation loss rose from {loss[best]:.2f} at epoch {best}, whose weights were kept, to "
            f"{loss[last]:.2f} at epoch {last}; fewer epochs or a stronger augmentation may help."
        ]
    before = loss.iloc[-max(2, len(loss) // 5) - 1]
    if best == last and loss[last] < min(0.93 * before, before - 0.05):
        return [
            f"{name}: under-training. The validation loss still fell from {before:.2f} to {loss[last]:.2f} in the last fifth; "
            "more epochs may help."
        ]
    return []
