import numpy as np
import pandas as pd

from temlib.train import Trained


def trained(loss, *, accuracy=0.9, plain=0.9, resampled=0.9, final=0.9, rarest=30, failures=None):
    """Make what training leaves of one network in two folds, with the given validation losses."""
    epochs = np.arange(1, len(loss) + 1)
    history = [
        pd.DataFrame(
            {"epoch": epochs, "loss": 0.3, "validation_loss": loss, "validation_accuracy": a, "fold": fold}
        )
        for fold, a in ((1, accuracy), (2, 0.9))
    ]
    rows = [("p0", "m0", "net", 1, "test", "a", "a"), ("p1", "m0", "net", 1, "test", "b", "a")]
    rows += [("p2", "m1", "net", 2, "test", "a", "a"), ("p3", "m1", "net", 2, "test", "b", "b")]
    predictions = pd.DataFrame(
        rows, columns=["particle", "micrograph", "model", "fold", "role", "truth", "predicted"]
    )
    checks = pd.DataFrame(
        {
            "model": "net",
            "fold": [1, 2],
            "plain": plain,
            "resampled": resampled,
            "final": final,
            "rarest": rarest,
        }
    )
    history = pd.concat(history, ignore_index=True).assign(model="net")
    return Trained(predictions, history, pd.DataFrame(), checks, failures or {}, [])


FALLING, SOUND = [1, 0.9, 0.8, 0.7, 0.6, 0.5], [1, 0.6, 0.5, 0.45, 0.44, 0.44]


def test_sound_training_is_not_complained_about():
    """Curves that come to rest, folds that agree, particles that score alike."""
    assert trained(SOUND).diagnostics == []
    assert trained(SOUND, plain=0.55, resampled=0.95, final=0.4, rarest=3).diagnostics == []


def test_each_misfit_is_named():
    """Over-fitting, under-training, too few epochs, a fold at chance, and both ways in which resampled particles can differ."""
    cases = {
        "over-fitting": trained([1, 0.5, 0.4, 0.5, 0.6, 0.7]),
        "under-training": trained(FALLING),
        "too few to judge": trained(SOUND[:4]),
        "fold 1 reached": trained(SOUND, accuracy=0.5),
        "noise that resampling leaves": trained(SOUND, plain=0.55, resampled=0.95, final=0.55),
        "set 'adaptation' to 'none'": trained(SOUND, final=0.8),
        "stronger than these particles bear": trained(SOUND, resampled=0.7),
        "Failed: out of memory": trained(SOUND, failures={"other": "out of memory"}),
    }
    for words, case in cases.items():
        found = case.diagnostics
        assert len(found) == 1 and words in found[0]
