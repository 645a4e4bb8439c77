"""Pictures of notebooks 3 and 5: training."""

from temlib.figures.base import COLOURS, Picture, figure_of


def learning_curves(history):
    """Draw training and validation loss against epochs, the mean over folds with a band from the least to the most."""
    frame = history.melt(["model", "fold", "epoch"], ["loss", "validation_loss"], "kind", "value").dropna()

    def draw(frame):
        models = frame["model"].unique()
        figure, axes = figure_of(1, len(models), width=4 * len(models), height=3, squeeze=False, sharey=True)
        for axis, name in zip(axes[0], models):
            for (kind, part), colour in zip(frame[frame["model"] == name].groupby("kind"), COLOURS):
                over = part.groupby("epoch")["value"].agg(["mean", "min", "max"])
                axis.plot(
                    over.index, over["mean"], color=colour, label={"loss": "training"}.get(kind, "validation")
                )
                axis.fill_between(over.index, over["min"], over["max"], color=colour, alpha=0.2)
            axis.set(title=name, xlabel="epoch")
        axes[0, 0].set_ylabel("loss")
        axes[0, 0].legend(fontsize=8)
        return figure

    return Picture(frame, draw, "Training and validation loss against epochs for each network.",
                   f"Lines: mean over {frame['fold'].nunique()} folds; bands: least to most. The training loss is smoothed "
                   "cross-entropy on augmented particles, the validation loss is cross-entropy with every class weighing the same.")  # fmt: skip
