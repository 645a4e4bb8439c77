"""What the tests of pictures share: small particles, and what every picture owes."""

import html
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from temlib import data, figures

MICROGRAPHS, EACH, SIZE = 12, 20, 24


def study(change=None, *, signal=1.0, seed=0):
    """Noise with a dark ring; `change` gets the images of micrograph m3 and gives others."""
    rng = np.random.default_rng(seed)
    radius = np.hypot(*(np.indices((SIZE, SIZE)) - (SIZE - 1) / 2))
    images = rng.normal(0, 1, (MICROGRAPHS * EACH, SIZE, SIZE)) - signal * np.exp(-((radius - 4) ** 2) / 4)
    names = np.repeat([f"m{k:02d}" for k in range(MICROGRAPHS)], EACH)
    if change:
        images[names == "m03"] = change(images[names == "m03"], rng)
    table = pd.DataFrame({"particle": [f"p{i}" for i in range(len(images))], "micrograph": names})
    table["label"] = np.where(np.arange(len(images)) % 2, "full", "empty")
    table["pixel_size_nm"], table["box_px"] = 2.0, 24.0
    return data.Particles(table, images.astype(np.float32), "test", (), "physical", 2.0, False)


def check(picture, columns, *, n, panels=None):
    """A picture has its columns, so many panels or images, an alternative text, n in its caption; what it draws is returned."""
    assert isinstance(picture, figures.Picture)
    assert list(picture.frame().columns) == columns and len(picture.frame())
    drawn, page = picture.plot(), picture._repr_html_()
    if isinstance(drawn, Figure):
        assert panels in (None, sum(axis.has_data() for axis in drawn.axes))
        assert page.count("<svg") == sum(panel.axes[0].axison for panel in drawn.subfigs)
    else:
        assert panels in (None, drawn.count("<svg")) and drawn in page
    assert len(picture.alt) > 20 and picture.alt.endswith(".") and picture.caption.endswith(".")
    assert f'aria-label="{html.escape(picture.alt)}"' in page and "<figcaption>" in page
    assert re.search(rf"\b{n}\b", picture.caption), picture.caption
    # The page is well formed, and no name in it is used that is not there.
    ElementTree.fromstring(
        re.sub(r"&(?!amp;|lt;|gt;|quot;|#)", "&amp;", re.sub(r"(<(?:input|br)[^>]*)>", r"\1/>", page)).join(
            ["<p>", "</p>"]
        )
    )
    names = re.findall(r' id="([^"]+)"', page)
    assert len(names) == len(set(names)) and {*re.findall(r'(?:href="|url\()#([\w-]+)', page)} <= {*names}
    return drawn


def sentence(note):
    """The words of a plain sentence, which stands where there is nothing to show."""
    assert isinstance(note, figures.Note)
    return re.fullmatch(
        r'<(?:p|div class="(?:notice|absent)")>([^<]+\.)</(?:p|div)>', note._repr_html_()
    ).group(1)


@pytest.fixture(scope="session", autouse=True)
def style():
    """Pictures have their own colours."""
    figures.set_style()


@pytest.fixture(scope="session")
def particles():
    """Particles of two classes in twelve alike micrographs."""
    return study()


@pytest.fixture
def page(chromium):
    """An empty page."""
    context = chromium.new_context(viewport={"width": 900, "height": 800})
    yield context.new_page()
    context.close()
