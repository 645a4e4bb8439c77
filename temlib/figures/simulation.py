"""Pictures that explain the simulator: one particle at every stage, and Thon rings against theory."""

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
