"""What the tests of augmentation share."""

import numpy as np
import pandas as pd

from temlib.augment import NEUTRAL, Augmentation

SLIDES = Augmentation()


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def still(count, **changed):
    return pd.DataFrame(NEUTRAL, index=range(count)).assign(**changed)
