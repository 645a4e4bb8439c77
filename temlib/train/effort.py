"""How much training is done, and how long it will take, told before it begins."""

import time
from dataclasses import replace

import numpy as np
import pandas as pd

from temlib.data import is_definite
from temlib.files import InputError
from temlib.train import fitting, networks, svm

# Share of the training micrographs that is set aside for validation: one in this number.
VALIDATION_PARTS = 5
# Training steps of a fold that are aimed at where the number of epochs is left open, and the fewest and most epochs.
BUDGET, FEWEST_CHOSEN, MOST_CHOSEN = 1000, 8, 60
# Images a second in training by pixels, on two cores without an accelerator (benchmarks/RESULTS.md, medians of 15 rounds).
RATES = {"dihedral": {28: 2989, 40: 1455, 64: 1589}, "lipnet4": {28: 2127}}
# Beside the training steps: what a particle costs an SVM in a fold; a network that is built; validation, adaptation and maps, as a
# share of the steps; and kernels, pictures and pages of the other notebooks. Seconds.
SVM_S, BUILD_S, BESIDE, REPORT_S = 0.004, 5.0, 0.5, 50.0


def schedule(settings, data, task):
    """Return the settings with a number of epochs, and a sentence about it.

    Where it is 0, every model takes as many as make about `BUDGET` steps on the training particles of a fold of mean size:
    few particles are passed over more often than many.
    """
    labels = _labels(data, task, settings)
    whole = fitting.Batches(labels, labels.max(initial=0) + 1, settings, passes=1).steps
    steps = max(1, round(whole * _share(settings)))
    chosen = min(max(round(BUDGET / steps), FEWEST_CHOSEN), MOST_CHOSEN)
    how = "given" if settings.epochs else "chosen"
    settings = replace(settings, epochs=settings.epochs or chosen)
    total = f"about {settings.epochs * steps:,} steps in a fold"
    return settings, f"{settings.epochs} epochs of {steps:,} steps were {how}: {total}."


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
    settings, _ = schedule(settings, data, task)
    labels, side = _labels(data, task, settings), data.images.shape[-1]
    given = [name for name in models if name not in svm.names()]
    rates = [f"{_rate(name, side):,.0f} ({name})" for name in given]
    shown = settings.folds * _shown(labels, settings)
    parts = [_parts(name, labels, settings, side) for name in models]
    taken = REPORT_S + settings.folds * sum(settings.epochs * epoch + beside for epoch, beside in parts)
    each = f"{settings.folds} folds of {settings.epochs} epochs show each network {shown:,.0f} images"
    return (
        taken / 60,
        f"{each}, at about {' and '.join(rates)} a second on two cores without GPU." if rates else f"{each}.",
    )


class Left:
    """How much of a cross-validation is done and still to come: as measured so far, estimated where nothing was.

    `labels` are those of the particles, (n,) numbers, and `side` their pixels a side.
    """

    def __init__(self, names, labels, settings, side):
        self.names, self.settings, self.began = names, settings, time.monotonic()
        parts = [_parts(name, labels, settings, side) for name in names]
        self.epoch, self.beside = ({name: part[k] for name, part in zip(names, parts)} for k in (0, 1))
        self.warm = False  # what a process does once for its networks is in the time of its first fold

    def begin(self, name, fold):
        """Note that a fold of a model begins."""
        self.name, self.fold, self.at, self.since = name, fold, 0, time.monotonic()

    def end(self):
        """Note that it ended, and learn what a fold costs beside its epochs."""
        if self.at and not self.warm:
            self.warm = True
            return
        taken = max(0.0, time.monotonic() - self.since - self.at * self.epoch[self.name])
        for name in [self.name, *(name for name in self.later if (name in svm.names()) == (not self.at))]:
            self.beside[name] = taken

    def share(self, epoch):
        """Return which share of all is done after so many epochs of the fold at work."""
        now = time.monotonic()
        if epoch == 1:
            self.first = now
        if epoch > 1:
            pace = (now - self.first) / (epoch - 1)
            for name in self.later:
                self.epoch[name] *= pace / self.epoch[self.name]
            self.epoch[self.name] = pace
        self.at, epochs = epoch, self.settings.epochs
        # Of what comes beside the epochs about half comes after them.
        left = (epochs - epoch) * self.epoch[self.name] + self.beside[self.name] / (1 + (epoch > 0))
        folds = {self.name: self.settings.folds - self.fold} | dict.fromkeys(self.later, self.settings.folds)
        for name, count in folds.items():
            left += count * (epochs * self.epoch[name] + self.beside[name])
        done = now - self.began
        return done / (done + left)

    @property
    def later(self):
        """The models that come after the one at work."""
        return self.names[self.names.index(self.name) + 1 :]


def _parts(name, labels, settings, side):
    """Return about how long an epoch of a model takes, and a fold beside its epochs, in seconds."""
    if name in svm.names():
        return 0.0, SVM_S * len(labels)
    try:
        epoch = _shown(labels, settings) / settings.epochs / _rate(name, side)
    except InputError:  # it is refused when its turn comes
        return 0.0, 0.0
    return epoch, BUILD_S + BESIDE * settings.epochs * epoch


def _labels(data, task, settings):
    """Return the definite labels of a task as numbers."""
    labels = data.table.loc[is_definite(data.table[task], settings.unsure), task]
    return pd.factorize(labels)[0]


def _shown(labels, settings):
    """Return how many images a network is shown in a fold of mean size."""
    batches = fitting.Batches(labels, labels.max(initial=0) + 1, settings, passes=1)
    return _share(settings) * batches.steps * batches.batch * settings.epochs


def _share(settings):
    """Return the share of the particles that are trained on in a fold."""
    return (1 - 1 / settings.folds) * (1 - 1 / VALIDATION_PARTS)


def _rate(name, side):
    """Return images a second of a network on images of so many pixels a side; beyond what was measured by the number of pixels."""
    network, side = networks.split(name)[0], networks.side_of(name, side)
    known = RATES.get(network, RATES["dihedral"])
    nearest = float(np.clip(side, min(known), max(known)))
    return float(np.interp(nearest, list(known), list(known.values()))) * (nearest / side) ** 2
