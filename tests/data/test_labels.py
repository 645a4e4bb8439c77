"""Which labels are learnt: unsure ones set aside, classes chosen, classes joined, and what cannot be meant."""

import numpy as np
import pandas as pd
import pytest

from temlib import data
from tests.data.conftest import refused

LABELS = ["uni", "bi", "multivesicular", "Uncertain"]


def particles(labels=LABELS, each=6, **columns):
    """Particles of each label in three micrographs."""
    given = np.repeat(labels, each)
    table = pd.DataFrame({"particle": [f"p{i}" for i in range(len(given))], "kind": given})
    table["micrograph"] = [f"m{i % 3}" for i in range(len(given))]
    images = np.zeros((len(given), 4, 4), np.float32)
    images[:, 0, 0] = np.arange(len(given))
    return data.Particles(table.assign(**columns), images, "test", (), "fill", np.nan, False)


def counted(found, task="kind"):
    """Return how many particles have each label."""
    return found.table[task].value_counts().to_dict()


def test_unsure_particles_stay_and_are_no_class():
    """Whatever their capitals; the sentence counts them, and images stay with their rows."""
    found = particles().labelled("kind", folds=3, unsure=["uncertain"])
    assert counted(found) == dict.fromkeys(LABELS, 6) and "could not tell 6 of 24" in found.notes[0]
    definite = found.definite("kind", ["uncertain"])
    assert counted(definite) == dict.fromkeys(LABELS[:3], 6)
    assert [f"p{image[0, 0]:.0f}" for image in definite.images] == definite.table["particle"].tolist()
    assert particles().labelled("kind", folds=3).notes == ()


def test_classes_that_are_not_chosen_leave():
    """Unsure particles stay with the chosen classes."""
    found = particles().labelled("kind", unsure=["uncertain"], classes=["uni", "bi"])
    assert counted(found) == {"uni": 6, "bi": 6, "Uncertain": 6} and "left out, 6 of them" in found.notes[0]


@pytest.mark.parametrize(
    ("merge", "classes", "counts", "definite"),
    [
        ({"multi": ["bi", "multivesicular"]}, [], {"uni": 6, "multi": 12, "Uncertain": 6}, 18),
        # Joining into a class that is there adds to it, whether or not it lists itself.
        ({"bi": ["multivesicular"]}, [], {"uni": 6, "bi": 12, "Uncertain": 6}, 18),
        ({"bi": ["bi", "multivesicular"]}, ["bi", "uni"], {"uni": 6, "bi": 12, "Uncertain": 6}, 18),
        # What is unsure is decided after joining.
        ({"bi": ["Uncertain"]}, [], {"uni": 6, "bi": 12, "multivesicular": 6}, 24),
        ({"Uncertain": ["bi"]}, [], {"uni": 6, "multivesicular": 6, "Uncertain": 12}, 12),
    ],
)
def test_classes_are_joined_before_they_are_chosen(merge, classes, counts, definite):
    """The counts after joining, of all and of definite particles."""
    found = particles().labelled("kind", folds=3, unsure=["uncertain"], classes=classes, merge=merge)
    assert counted(found) == counts and len(found.definite("kind", ["uncertain"])) == definite


def test_annotators_and_the_truth_are_joined_too():
    """Else a joined label would be wrong by the truth, and annotators would disagree on names."""
    columns = {"truth_kind": np.repeat(["uni", "bi", "multivesicular", "uni"], 6)}
    columns |= {"kind@a": np.repeat(LABELS, 6), "other": np.repeat(LABELS, 6)}
    found = particles(**columns).labelled("kind", merge={"multi": ["bi", "multivesicular"]})
    assert counted(found, "truth_kind") == {"uni": 12, "multi": 12}
    assert counted(found, "kind@a") == {"uni": 6, "multi": 12, "Uncertain": 6}
    assert counted(found, "other") == dict.fromkeys(LABELS, 6)


def test_without_a_task_each_task_is_chosen_that_has_the_classes():
    """The other one stays as it is; where none has them, the sentence is that of the first."""
    content = ["full", "empty"] * 12
    found = particles(content=content).relabelled(
        unsure=["uncertain"], merge={"multi": ["bi", "multivesicular"]}
    )
    assert set(counted(found)) == {"uni", "multi", "Uncertain"} and len(found) == 24
    assert counted(found, "content") == {"full": 12, "empty": 12}
    chosen = particles(content=content).relabelled(classes=["full", "empty"])
    assert counted(chosen) == dict.fromkeys(LABELS, 6)
    refused("'classes' names 'ful'", particles(content=content).relabelled, classes=["ful", "empty"])


def test_a_task_of_one_class_and_unsure_particles_is_left_alone_without_a_task_and_refused_with_one():
    """There is nothing to learn, but much to explore."""
    lone = particles(["full", "uncertain"])
    assert counted(lone.relabelled(unsure=["uncertain"])) == {"full": 6, "uncertain": 6}
    refused("'unsure' leaves only 'full' of 'kind' to learn", lone.labelled, "kind", unsure=["uncertain"])


BAD = [
    (
        {"classes": ["uni", "uncertian"]},
        "'uncertian', which is no class of 'kind'; the nearest is 'Uncertain'",
    ),
    ({"classes": ["uni", "xyzzy"]}, "'xyzzy', which is no class of 'kind'; there are Uncertain, bi, multi"),
    ({"classes": ["uni", "uni"]}, "'classes' names 'uni' twice"),
    ({"classes": ["uni"]}, "'classes' leaves only 'uni' of 'kind' to learn; at least two"),
    ({"classes": ["uni", "Uncertain"]}, "'classes' names 'Uncertain', which 'unsure' sets aside"),
    ({"unsure": ["unclear"]}, "'unsure' names 'unclear', which is no class of 'kind'"),
    ({"unsure": ["uni", "bi", "uncertain"]}, "'unsure' leaves only 'multivesicular'"),
    (
        {"merge": {"multi": ["bi"]}, "classes": ["uni", "bi"]},
        "'bi', which 'merge' joins into 'multi'; name that",
    ),
    ({"merge": {"multi": ["bi"]}, "unsure": ["bi"]}, "'unsure' names 'bi', which 'merge' joins into 'multi'"),
    ({"merge": {"uni": ["bi"], "bi": ["uni"]}}, "'merge' joins 'bi' into 'uni' and others into 'bi'"),
    ({"merge": {"x": ["bi"], "y": ["x", "uni"]}}, "'merge' joins 'x' into 'y' and others into 'x'"),
    ({"merge": {"x": ["bi"], "y": ["bi", "uni"]}}, "'merge' names 'bi' twice"),
    ({"merge": {"x": ["bi", "bi"]}}, "'merge' names 'bi' twice"),
    ({"merge": {"x": []}}, "'merge' joins no class into 'x'"),
    ({"merge": {"x": ["multivesiculr"]}}, "'merge' names 'multivesiculr', .* nearest is 'multivesicular'"),
    ({"merge": {"Uni": ["bi"]}}, "'merge' makes 'Uni' beside 'uni'; write both alike"),
    ({"merge": {"x": ["uni", "bi", "multivesicular"]}}, "'merge' leaves only 'x' of 'kind' to learn"),
]


@pytest.mark.parametrize(("choice", "message"), BAD)
def test_what_cannot_be_meant_is_refused(choice, message):
    """One sentence that names the parameter and the class."""
    refused(message, particles().labelled, "kind", **{"unsure": ["uncertain"]} | choice)


def test_folds_do_not_depend_on_unsure_particles():
    """They follow their micrograph; one that holds nothing else goes with fold 1."""
    labels = np.array(["a", "b"] * 60)
    table = pd.DataFrame({"kind": labels, "micrograph": np.repeat([f"m{k}" for k in range(12)], 10)})
    before = data.split(table, "kind", folds=4, seed=3)
    more = pd.DataFrame({"kind": "uncertain", "micrograph": ["m0", "m7", "lone"]})
    both = pd.concat([more, table], ignore_index=True)
    after = data.split(both, "kind", folds=4, seed=3, unsure=["uncertain"])
    assert np.array_equal(after[3:], before) and after[:3].tolist() == [before[0], before[70], 1]
    own = data.split(
        both.assign(fold=[*after[:2], 9, *before]), "kind", folds=4, seed=3, unsure=["uncertain"]
    )
    assert np.array_equal(own, after)


def test_only_definite_particles_count_for_a_task():
    """Unsure particles make no third class, and their micrographs no micrographs to learn from."""
    table = pd.DataFrame({"kind": ["a", "b"] * 4, "micrograph": list("wwxxyyzz")})
    aside = pd.DataFrame({"kind": "uncertain", "micrograph": ["lone"]})
    both = pd.concat([table, aside], ignore_index=True)
    data.check_task(both, "kind", folds=4, unsure=["uncertain"])
    refused("4 micrographs but 'folds' is 5", data.check_task, both, "kind", folds=5, unsure=["uncertain"])
    refused(
        "'uncertain' of 'kind' come from one micrograph.*join it with another by 'merge'",
        data.check_task,
        both,
        "kind",
    )
