"""What the tests of the assay share: a classifier's calls on simulated samples, drawn micrograph by micrograph."""

import numpy as np
import pandas as pd
import pytest


def shares_by_micrograph(rng, shares, icc, size):
    """Return shares (*size, classes) that vary between micrographs as a Dirichlet distribution of this correlation."""
    drawn = np.maximum(rng.gamma(np.asarray(shares) * (1 - icc) / icc, size=(*size, len(shares))), 1e-300)
    return drawn / drawn.sum(axis=-1, keepdims=True)


def drawn_counts(rng, size, shares, rates, *, icc=0.1, particles=25):
    """Return counts (*size, truths, called) of micrographs whose shares and, separately, errors vary."""
    number = rng.multinomial(rng.poisson(particles, size), shares_by_micrograph(rng, shares, icc, size))
    called = [
        rng.multinomial(n, shares_by_micrograph(rng, rate, icc, size))
        for n, rate in zip(np.moveaxis(number, -1, 0), rates)
    ]
    return np.stack(called, axis=-2).astype(float)


def rates_of(counts, classes=("a", "b"), folds=1):
    """Return counts (micrographs, truths, called) as a table of rates."""
    names = [*(f"n_{c}" for c in classes), "refused"]
    return pd.concat(
        [
            pd.DataFrame(rows, columns=names[: counts.shape[-1]]).assign(
                fold=i % folds + 1, micrograph=f"held{i}", truth=list(classes)
            )
            for i, rows in enumerate(counts)
        ],
        ignore_index=True,
    )


def calls_of(counts, classes=("a", "b"), folds=1):
    """Return counts (micrographs, called) as a table of calls, the same of each fold."""
    names = [*(f"n_{c}" for c in classes), "refused"]
    table = pd.DataFrame(counts, columns=names[: counts.shape[-1]])
    table["micrograph"] = [f"new{i}" for i in range(len(counts))]
    return pd.concat([table.assign(fold=k + 1) for k in range(folds)], ignore_index=True)


def particles_of(counts, classes=("a", "b"), prefix="new"):
    """Return counts (micrographs, truths, called) as a table with a row per particle."""
    rows = [
        (f"{prefix}{m}", classes[t], classes[c])
        for m, t, c in np.ndindex(counts.shape)
        for _ in range(int(counts[m, t, c]))
    ]
    table = pd.DataFrame(rows, columns=["micrograph", "truth", "predicted"])
    return table.assign(particle=table.index.astype(str), model="m", fold=1, role="test")


@pytest.fixture
def rng():
    """A generator of random numbers."""
    return np.random.default_rng(0)
