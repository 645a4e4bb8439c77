"""Labelling real liposomes from nothing: what 25 to 200 labels are worth, in the order of the tool and at random.

    python -m benchmarks.labelling FOLDER [--seeds 10]

FOLDER holds the real set liposomes_cryoem. Nobody sits at the keys: each label is that of the set, given in the order in which
`figures.Labelling` would show the particles, 25 before the order is made anew. Each of the three micrographs is left out in
turn; an SVM (RBF, balanced classes) on the descriptors of `svm_texture` learns the labels of the other two and is asked about it.
"Carried" orders by the doubt of the network that temlib carries, which has seen simulated liposomes alone.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from temlib import data, train

TASK, CLASS, COUNTS, ANEW = "lamellarity", "multilamellar", (25, 50, 100, 200), 25


def order(particles, how, carried, seed):
    """Return the particles in the order in which they are labelled, at most as many as the largest of `COUNTS`."""
    table, given = particles.table, {}
    truth = table.set_index("particle")[TASK]
    while len(given) < min(max(COUNTS), len(table)):
        if how == "random":
            rest = table["particle"][~table["particle"].isin(given)]
            new = rest.sample(frac=1, random_state=(seed * 1000 + len(given)) % 2**31).tolist()
        else:
            unsure = carried if how == "carried" else data.doubt(particles, given)
            new = data.next_up(table, given, unsure, seed=seed)
        given |= {name: truth[name] for name in new[:ANEW]}
    return list(given)


def score(features, particles, names, tested):
    """Return found labels of the class, and area under the curve and balanced accuracy on other particles, of labels given by names."""
    table = particles.table
    learnt = table["particle"].isin(names).to_numpy()
    is_class = (table[TASK] == CLASS).to_numpy()
    row = {"labels": int(learnt.sum()), "of the class": int(is_class[learnt].sum())}
    if not 0 < is_class[learnt].sum() < learnt.sum():
        return row | {"AUC": 0.5, "balanced accuracy": 0.5}  # nothing can be learnt from one class
    model = make_pipeline(StandardScaler(), SVC(C=10, gamma="scale", class_weight="balanced"))
    model.fit(features[learnt], is_class[learnt])
    value = model.decision_function(features[tested])
    row["AUC"] = roc_auc_score(is_class[tested], value)
    return row | {"balanced accuracy": balanced_accuracy_score(is_class[tested], value > 0)}


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    asked = parser.parse_args()
    particles = data.open(asked.folder / "manifest.csv", task=TASK, scale="fill", input_size=48)
    features = train.features(np.asarray(particles.images)).to_numpy()
    bundle = train.load("shipped:lamellarity")
    called = bundle.predict(bundle.open(asked.folder / "manifest.csv"))
    called = called[called["fold"] == 0].set_index("particle")
    carried = 1 - called.filter(like="p_").max(axis=1)
    micrographs, rows = particles.table["micrograph"].to_numpy(), []
    for left_out in np.unique(micrographs):
        kept = np.flatnonzero(micrographs != left_out)
        pool, tested = particles.rows(kept), micrographs == left_out
        for how in ("random", "uncertain", "carried"):
            for seed in range(asked.seeds):
                names = order(pool, how, carried, seed)
                for count in COUNTS:
                    found = score(features, particles, set(names[:count]), tested)
                    rows.append(found | {"order": how, "labels": count})
    table = pd.DataFrame(rows).groupby(["order", "labels"], sort=False).mean()
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
