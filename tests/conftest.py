"""What several test files share."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "real"


@pytest.fixture(scope="session", autouse=True)
def cache_of_tests(tmp_path_factory):
    """Keep prepared particles of tests out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def study(tmp_path):
    """A manifest of 48 small crops in 8 micrographs: class `bright` has a bright centre, class `plain` has not."""
    from PIL import Image

    rng = np.random.default_rng(0)
    rows = []
    for i in range(48):
        image = rng.normal(120, 20, (24, 24))
        name = ("plain", "bright")[i % 2]
        if name == "bright":
            image[8:16, 8:16] += 70
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(tmp_path / f"{i:02d}.png")
        rows.append((f"{i:02d}.png", name, f"m{i // 6}", 2.0))
    table = pd.DataFrame(rows, columns=["image", "content", "micrograph", "pixel_size_nm"])
    table.to_csv(tmp_path / "manifest.csv", index=False)
    return tmp_path / "manifest.csv"


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium."""
    from tests import lab

    with lab.chromium() as browser:
        yield browser


@pytest.fixture
def jupyterlab(tmp_path_factory):
    """A JupyterLab of its own on copies of the notebooks."""
    from tests import lab

    with lab.jupyterlab(tmp_path_factory.mktemp("lab")) as server:
        yield server
