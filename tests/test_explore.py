"""What stands out before anything is learnt: micrographs, copies, agreement, leakage."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from temlib import data, explore, figures
from tests.figures.conftest import EACH, MICROGRAPHS, SIZE, check, study


@pytest.mark.parametrize("seed", range(5))
def test_nothing_stands_out_where_nothing_is_different(seed):
    """Twelve alike micrographs: none is inverted, none differs."""
    table = explore.per_micrograph(study(seed=seed))
    assert not table["inverted"].any() and table["differs"].eq("").all() and len(table) == MICROGRAPHS


def test_inverted_contrast_is_found_and_said():
    """The one micrograph in which bright and dark are exchanged."""
    table = explore.per_micrograph(study(lambda images, rng: -images))
    assert table.loc[table["inverted"], "micrograph"].tolist() == ["m03"]
    words = explore.sentences(table)[0]
    assert (
        words.startswith("Inverted contrast: in m03 (1 of 12 micrographs) bright and dark")
        and "turns them round" in words
    )


def test_noise_alone_has_no_contrast_to_invert():
    """Where particles show nothing, turning a micrograph round cannot be seen, and is not claimed."""
    table = explore.per_micrograph(study(lambda images, rng: -images, signal=0))
    assert not table["inverted"].any() and "for 12 of 12 it cannot be told" in explore.sentences(table)[0]


def test_another_noise_is_found():
    """A micrograph of a lower dose has more fine power, and is the only one that differs."""
    table = explore.per_micrograph(study(lambda images, rng: images + rng.normal(0, 0.5, images.shape)))
    table = table.set_index("micrograph")
    assert "fine power +" in table.loc["m03", "differs"] and (table["differs"] != "").sum() == 1


def test_few_micrographs_are_not_judged():
    """Four micrographs do not say what is usual."""
    data = study(lambda images, rng: -images)
    table = explore.per_micrograph(data.rows(np.arange(4 * EACH)))
    assert not table["inverted"].any() and "too few to say" in explore.sentences(table)[0]


def test_white_noise_has_its_variance_at_every_frequency():
    """The power of white noise is its variance, whatever the window."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"particle": np.arange(2000).astype(str), "micrograph": "m"})
    noise = rng.normal(0, 2, (2000, 32, 32)).astype(np.float32)
    curve = explore.spectra(data.Particles(table, noise, "test", (), "fill", np.nan, False))
    assert curve["frequency"].iloc[-1] == 0.5 and np.allclose(curve["power"][1:], 4, rtol=0.08)


def test_the_map_places_each_particle_once():
    """Rows of the sample, unit spread along the first component, shares of variance; classes apart stay apart."""
    data = study()
    data.images[1::2] *= np.linspace(0, 2, SIZE)
    placed = explore.principal(data)
    assert placed["row"].is_unique and len(placed) == len(data) and placed["first"].std() == pytest.approx(1)
    means = placed.groupby(placed["row"] % 2)["first"].mean()
    first, second = placed.attrs["explained"]
    assert abs(means[0] - means[1]) > 1 and 0 < second <= first <= 1


def test_a_split_at_random_is_flattered_where_micrographs_can_be_told():
    """Labels go with the micrograph and its noise, never with the particle: only the random split scores."""
    data = study(signal=0)
    lean = np.arange(len(data)) // EACH % 2  # most particles of every other micrograph are full
    rng = np.random.default_rng(1)
    data.table["label"] = np.where(rng.uniform(size=len(data)) < 0.1 + 0.8 * lean, "full", "empty")
    for m in range(MICROGRAPHS):  # a wave of its own in each micrograph
        wave = np.cos(2 * np.pi * np.arange(SIZE) * (m + 0.5) / SIZE)
        data.images[m * EACH : (m + 1) * EACH] += 3 * wave.astype(np.float32)
    held_out = explore.leakage(data, "label")
    scores, difference = explore.leaked(held_out, "label")
    value = scores.set_index("model")["value"]
    assert value[explore.AT_RANDOM] > 0.75 and value[explore.WHOLE] < 0.6 and difference["low"] > 0.1
    picture = figures.leakage(held_out, "label")
    check(picture, list(scores), n=len(data))
    assert "would flatter" in picture.caption and len(picture.frame()) == 2


def test_no_leak_is_claimed_where_there_is_none():
    """Alike micrographs: the interval of the gain holds 0. One particle a micrograph: nothing is compared."""
    data = study(signal=0)
    difference = explore.leaked(explore.leakage(data, "label"), "label")[1]
    assert difference["low"] < 0 < difference["high"]
    data.table["micrograph"] = data.table["particle"]
    assert explore.leakage(data, "label") is None


def test_round_particles_of_one_size_are_no_copies():
    """Alike in 16×16 pixels, with other rings inside: no pair."""
    data = study()
    size = 64
    away = np.hypot(*(np.mgrid[:size, :size] - 31.5))
    blocks = [np.where(away < 24, -4 + 2 * np.cos(away * turn), 0) for turn in (2.0, 2.6)]
    images = np.random.default_rng(0).normal(size=(len(data), size, size)).astype(np.float32)
    images[0] += 2 * blocks[0]
    images[EACH] += 2 * blocks[1]
    assert not len(explore.near_duplicates(replace(data, images=images)))
    images[EACH] = images[0] + 0.1 * images[1]
    assert len(explore.near_duplicates(replace(data, images=images))) == 1


def test_pairs_of_two_micrographs_that_look_alike_are_found():
    """A copy in another micrograph, with noise of its own, is the first pair; one in its own micrograph is none; equal images are groups."""
    data = study()
    rng = np.random.default_rng(1)
    data.images[EACH] = data.images[0] + rng.normal(0, 0.05, (SIZE, SIZE))
    data.images[2] = data.images[1]
    pairs = explore.near_duplicates(data)
    assert pairs[["first", "second"]].to_numpy().tolist() == [["p0", f"p{EACH}"]]
    assert pairs["correlation"].iloc[0] > 0.98 and explore.identical(data) == [["p1", "p2"]]


def test_the_accuracy_paradox_in_numbers():
    """Of three particles in four, always naming their class is right on 0.75, with a balanced accuracy of 0.50."""
    table = pd.DataFrame({"label": ["full"] * 3 + ["empty"], "micrograph": "m1", "box_px": 40})
    (row,) = explore.imbalance(table, ["label"]).to_dict("records")
    assert row == {
        "task": "label",
        "always predicted": "full",
        "accuracy": "0.75",
        "balanced accuracy": "0.50",
        "of size alone": "",
        "rarest class": "empty",
        "its particles": 1,
        "commonest : rarest": "3.0",
    }


def test_the_accuracy_paradox_is_that_of_definite_classes():
    """Unsure particles are no class; a task of nothing else is left out."""
    labels = ["full"] * 3 + ["empty", "Uncertain", "uncertain"]
    table = pd.DataFrame({"label": labels, "hopeless": "uncertain", "micrograph": list("mnmnmn")})
    table["box_px"] = [40, 41, 40, 80, 40, 40]
    (row,) = explore.imbalance(table, ["label", "hopeless"], unsure=["uncertain"]).to_dict("records")
    assert (row["task"], row["accuracy"], row["balanced accuracy"]) == ("label", "0.75", "0.50")
    assert row["of size alone"] == "0.50"


def test_agreement_is_said_with_its_interval():
    """Kappa, and on how many particles people differ."""
    data = study()
    data.table["label@a"] = data.table["label"]
    data.table["label@b"] = ["full", "empty", "full"] * (len(data) // 3)
    found = data.agreement("label")
    words = explore.agreement(found)
    assert f"kappa = {found.kappa:.2f}" in words[0]
    assert f"differ on {len(found.disagreements)} particles" in words[1]


def test_undefined_agreement_says_why():
    """Annotators without a common particle."""
    table = pd.DataFrame({"l@a": ["x", ""], "l@b": ["", "x"]})
    assert "undefined" in explore.agreement(data.consensus(table, "l")[1])[0]
