"""Pictures that explain the simulator: one particle at every stage, Thon rings against theory, leakage."""

import numpy as np
import pandas as pd

from temlib.figures.base import COLOURS, Picture, clear, figure_of, scale_bar

_NOT = "These particles were not simulated, so there is nothing to show about how they were made."


def stages(data, *, seed=1):
    """Show one particle at every stage of the simulation; Words that say so where nothing was simulated."""
    from temlib import answers, optics, simulate

    if not data.simulated:
        return answers.Words([_NOT])
    steps, pixel_nm = simulate.stages(seed), optics.PRESETS["talos200"].pixel_nm

    def draw(table):
        figure, axes = figure_of(2, 4, width=9.0, height=5.0)
        clear(axes)
        for axis, step in zip(axes.ravel(), steps):
            low, high = np.percentile(step.image, (0.5, 99.5))
            # Potential is drawn dark, as it will be seen.
            shades = "gray_r" if step.unit == "V nm" else "gray"
            axis.imshow(step.image, cmap=shades, vmin=low, vmax=high, interpolation="nearest")
            axis.set_title(f"{step.name}\n{low:,.4g} to {high:,.4g}\n{step.unit}", fontsize=8)
            scale_bar(axis, len(step.image), pixel_nm)
        return figure

    table = pd.DataFrame(
        [(s.name, s.sentence, s.unit, s.image.mean(), s.image.std()) for s in steps],
        columns=["stage", "sentence", "unit", "mean", "standard deviation"],
    )
    return Picture(
        table,
        draw,
        "A vesicle with its payload, first as clean rings, then with the grain of ice, dark with bright fringes by the "
        "lens, then more and more hidden by noise, and at last cut out by its box.",
        "One particle (n = 1) of the preset talos200, 2 µm under focus, 20 e/Å², 100 nm of ice, at each step. "
        + " ".join(f"{s.name.capitalize()}: {s.sentence}" for s in steps),
    )


def thon_rings(data, *, seed=1):
    """Show the power spectrum of simulated ice with the zeros that theory predicts; Words where not simulated."""
    from temlib import answers, simulate

    if not data.simulated:
        return answers.Words([_NOT])
    zeros = simulate.thon_rings(seed=seed, side=1024)
    spectrum = zeros.attrs["spectrum"]

    def draw(table):
        figure, axis = figure_of(width=7.0)
        axis.semilogy(spectrum["frequency_per_nm"], spectrum["power"], color=COLOURS[0], lw=1)
        for row in table.itertuples():
            axis.axvline(1 / row.theory_nm, color=COLOURS[1], lw=1, ls="--")
        axis.plot([], [], color=COLOURS[1], ls="--", label="zeros by theory")
        axis.legend()
        axis.set(
            xlabel="spatial frequency (1/nm)", ylabel="power (relative to the mean squared)", xlim=(0, 1.2)
        )
        return figure

    worst = 100 * zeros["relative_error"].abs().max()
    return Picture(
        zeros,
        draw,
        "A power spectrum that swings up and down along spatial frequency; dashed lines stand at its first three minima.",
        f"Power on rings of spatial frequency of one simulated micrograph of plain ice (n = 1), .4 nm a pixel, high dose. "
        f"The first {len(zeros)} minima lie within {worst:.2f} % of the zeros of "
        "π λ Δf k² − ½ π Cs λ³ k⁴ + arcsin w = n π; no interval, for this is one computed image.",
    )


def leakage(data, *, seed=1, count=600, shuffles=10):
    """Compare a random split with one by micrograph, for a classifier that never sees a particle.

    Its descriptors are grey level and noise of the outermost four pixels of each raw crop, of a simulated study of
    `count` particles; it calls the class of the nearest training particle. Words where `data` were not simulated.
    """
    from temlib import answers, panel, simulate

    if not data.simulated:
        return answers.Words([_NOT])
    table, crops = simulate.crops(count, seed=seed)
    values = np.log([_border(crop) for crop in crops])
    rows = [
        (task, split, shuffle, _nearest_score(values, table[task].to_numpy(), groups, seed + shuffle))
        for task in panel.TASKS
        for split, groups in (("random", None), ("by micrograph", table["micrograph"].to_numpy()))
        for shuffle in range(shuffles)
    ]
    scores = pd.DataFrame(rows, columns=["task", "split", "shuffle", "balanced accuracy"])
    means = scores.groupby(["task", "split"])["balanced accuracy"].mean()
    words = "; ".join(
        f"{task} {means[task, 'random']:.3f} by random split, {means[task, 'by micrograph']:.3f} by micrograph"
        for task in panel.TASKS
    )

    gains = " and ".join(
        f"{means[task, 'random'] - means[task, 'by micrograph']:+.3f} in {task}" for task in panel.TASKS
    )

    def draw(table):
        figure, axes = figure_of(1, len(panel.TASKS), width=7.0, sharey=True)
        for axis, (task, part) in zip(axes, table.groupby("task")):
            for at, split in enumerate(("random", "by micrograph")):
                found = part.loc[part["split"] == split, "balanced accuracy"]
                axis.plot(at + np.linspace(-0.1, 0.1, len(found)), found, "o", color=COLOURS[at], alpha=0.7)
                axis.plot([at - 0.2, at + 0.2], [found.mean()] * 2, color=COLOURS[at], lw=2)
            axis.axhline(1 / 3, color="black", lw=1, ls="--")
            axis.set(title=task, xticks=[0, 1], xlim=(-0.5, 1.5), xlabel="split")
            axis.set_xticklabels(["random", "by micrograph"])
        axes[0].set_ylabel("balanced accuracy")
        return figure

    return Picture(
        scores,
        draw,
        "Two panels, one a task, with points for each shuffle of a random split and of a split by micrograph beside a "
        f"dashed line of chance; the random split's mean is higher by {gains}.",
        f"A classifier that sees only grey level and noise at the border of each raw crop, so nothing of the particle; "
        f"n = {count} simulated particles in {table['micrograph'].nunique()} micrographs, {shuffles} shuffles of five "
        f"folds (points; bar: mean; the spread is that of shuffles only). Means: {words}. Chance is 1/3. What it scores "
        "beyond chance by random split and not by micrograph it owes to particles of the same micrograph in training: leakage.",
    )


def _border(crop, width=4):
    """Return grey level and noise along rows and columns of a crop's border."""
    top, side = crop[:width], crop[:, :width]
    level = np.median(
        np.concatenate([top.ravel(), crop[-width:].ravel(), side.ravel(), crop[:, -width:].ravel()])
    )
    return level, np.abs(np.diff(top, axis=1)).mean(), np.abs(np.diff(side, axis=0)).mean()


def _nearest_score(values, labels, groups, seed):
    """Return the balanced accuracy of out-of-fold calls of the nearest neighbour, in five folds."""
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    machine = make_pipeline(StandardScaler(), KNeighborsClassifier(1))
    folds = kind(5, shuffle=True, random_state=seed)
    return balanced_accuracy_score(
        labels, cross_val_predict(machine, values, labels, groups=groups, cv=folds)
    )
