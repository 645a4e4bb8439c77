"""How long a training will take, told before it begins."""

import numpy as np
import pandas as pd

from temlib.data import is_definite
from temlib.train import fitting, networks, protocol, svm

# Images a second in training by pixels, on two cores without an accelerator (benchmarks/RESULTS.md, medians of 15 rounds).
RATES = {"dihedral": {28: 2989, 40: 1455, 64: 1589}, "lipnet4": {28: 2127}}
# Beside the training steps: what a particle costs an SVM in a fold; validation, adaptation and maps, as a share of the steps; and
# kernels, pictures and pages of the other notebooks. Seconds.
SVM_S, BESIDE, REPORT_S = 0.004, 0.5, 50.0


def minutes(data, task, models, settings):
    """Return how long a run of these particles will take on two cores without an accelerator, and how that is known.

    Parameters
    ----------
    data : Particles
    task : str
    models : list of str
    settings : Settings

    Returns
    -------
    minutes : float
    how : str
        A sentence: how many images each network is shown, and at how many a second.
    """
    settings, _ = protocol.schedule(settings, data, task)
    labels = data.table.loc[is_definite(data.table[task], settings.unsure), task]
    labels = pd.factorize(labels)[0]
    batches = fitting.Batches(labels, labels.max() + 1, settings, passes=1)
    share = (1 - 1 / settings.folds) * (1 - 1 / protocol.VALIDATION_PARTS)
    shown = share * batches.steps * batches.batch * settings.epochs * settings.folds
    seconds, rates = REPORT_S, []
    for name in models:
        if name in svm.names():
            seconds += SVM_S * len(labels) * settings.folds
            continue
        rate = _rate(networks.split(name)[0], networks.side_of(name, data.images.shape[-1]))
        rates.append(f"{rate:,.0f} ({name})")
        seconds += (1 + BESIDE) * shown / rate
    each = f"{settings.folds} folds of {settings.epochs} epochs show each network {shown:,.0f} images"
    return (
        seconds / 60,
        f"{each}, at about {' and '.join(rates)} a second on two cores without GPU." if rates else f"{each}.",
    )


def _rate(network, side):
    """Return images a second of a network on a side of pixels; beyond what was measured by the number of pixels."""
    known = RATES.get(network, RATES["dihedral"])
    nearest = float(np.clip(side, min(known), max(known)))
    return float(np.interp(nearest, list(known), list(known.values()))) * (nearest / side) ** 2
