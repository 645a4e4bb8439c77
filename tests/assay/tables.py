"""Counts as the tables that the assay reads."""

import numpy as np
import pandas as pd


def rates_of(counts, classes="ab", folds=1):
    """Return counts (micrographs, truths, called) as a table of rates; micrographs are dealt out to the folds."""
    names = [*(f"n_{c}" for c in classes), "refused"]
    tables = [
        pd.DataFrame(rows, columns=names[: counts.shape[-1]]).assign(
            fold=i % folds + 1, micrograph=f"held{i}", truth=list(classes)
        )
        for i, rows in enumerate(counts)
    ]
    return pd.concat(tables, ignore_index=True)


def calls_of(counts, classes="ab", folds=1):
    """Return counts (micrographs, called) as a table of calls, the same of each fold."""
    names = [*(f"n_{c}" for c in classes), "refused"]
    table = pd.DataFrame(counts, columns=names[: counts.shape[-1]])
    table["micrograph"] = [f"new{i}" for i in range(len(counts))]
    return pd.concat([table.assign(fold=k + 1) for k in range(folds)], ignore_index=True)


def particles_of(counts, classes="ab"):
    """Return counts (micrographs, truths, called) as a table with a row per particle."""
    index = np.repeat(np.argwhere(np.ones(counts.shape)), counts.astype(int).ravel(), axis=0)
    names = np.array(list(classes), object)
    table = pd.DataFrame({"truth": names[index[:, 1]], "predicted": names[index[:, 2]]})
    return table.assign(micrograph=[f"new{i}" for i in index[:, 0]], particle=table.index.astype(str))
