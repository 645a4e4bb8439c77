"""Reading tables as people have them, their numbers, labels, and several annotators."""

import math
import os
import random

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from temlib import data
from temlib.data import labels
from tests.data.conftest import refused


def table_of(tmp_path, text, encoding="utf-8"):
    """Write `text` and read it as a table."""
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return data.read_table(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_separators_and_newlines(tmp_path, encoding, separator, newline):
    """The same cells come out whatever the spreadsheet wrote."""
    rows = [["image", "Größe"], ["ä 1.png", "x"], ["b.png", "y"]]
    found = table_of(tmp_path, newline.join(separator.join(row) for row in rows) + newline, encoding)
    assert found.to_numpy().tolist() == rows[1:] and list(found.columns) == rows[0]
    assert found.attrs["separator"] == separator
    assert found.attrs["encoding"].replace("-sig", "") == encoding.replace("-sig", "")


def test_cells_stay_as_they_stand(tmp_path):
    """Leading zeros, spaces, NA and numbers stay text."""
    found = table_of(tmp_path, "particle,x,y\n007, a ,NA\n1e3,,nan\n")
    assert found.to_numpy().tolist() == [["007", " a ", "NA"], ["1e3", "", "nan"]]
    assert all(isinstance(cell, str) for cell in found.to_numpy().ravel())


def test_index_is_the_line_of_the_file(tmp_path):
    """Quoted newlines and blank lines are counted, also after filtering."""
    found = table_of(tmp_path, '\na,b\n"1\n2",x\n\n3,y\n')
    assert found.index.tolist() == [3, 6] and found.index.name == "line"
    assert found["a"].tolist() == ["1\n2", "3"]
    assert found[found["b"] == "y"].index.tolist() == [6]


def test_separator_line_of_a_spreadsheet_is_obeyed(tmp_path):
    """`sep=;` is no header, and lines are counted with it."""
    found = table_of(tmp_path, "sep=;\r\na;b,c\r\n1;2\r\n")
    assert list(found.columns) == ["a", "b,c"] and found.index.tolist() == [3]


def test_quoted_separators_in_the_header_do_not_mislead(tmp_path):
    """A separator inside quotes does not count."""
    assert list(table_of(tmp_path, '"a,b,c,d";e\n1;2\n').columns) == ["a,b,c,d", "e"]


def test_nameless_empty_columns_are_left_out(tmp_path):
    """What a spreadsheet adds at the right goes; a nameless column with content is refused."""
    assert list(table_of(tmp_path, "a;b;;\n1;2;;\n").columns) == ["a", "b"]
    refused("without a name", table_of, tmp_path, "a;b;;\n1;2;3;\n")


def test_one_column_is_a_table(tmp_path):
    """A list of images is read."""
    assert table_of(tmp_path, "image\na.png\n")["image"].tolist() == ["a.png"]


@pytest.mark.parametrize(
    "text, match",
    [
        ("", "empty"),
        ("\n \n", "nothing but blanks"),
        ("a,b\n", "no row below"),
        ("a,b\n1,2\n1,2,3\n", "line 3: 3 cells where the header has 2"),
        ("a,b\n1\n", "line 2: 1 cells"),
        ("a,b,a\n1,2,3\n", "two columns named 'a'"),
        ('a,b\n1,"2\n3,4\n', "quotation mark"),
        ('a,b\n1,"2"3\n', "quotation mark"),
        ("sep=|\na|b\n", "states the separator"),
        (b"a,b\n1,\0\n", "zero bytes"),
        (b"a,b\n1,\x81\n", "not text in UTF-8"),
        (b"\xff\xfea", "not text in UTF-8"),
        (b"PK\x03\x04....", "workbook"),
    ],
)
def test_bad_table_is_refused_in_one_sentence(tmp_path, text, match):
    """Each fault is named with its line where it has one."""
    refused(match, table_of, tmp_path, text)


def test_missing_file_folder_and_pipe_are_refused(tmp_path):
    """None of them hangs."""
    refused("No such file", data.read_table, tmp_path / "none.csv")
    refused("folder", data.read_table, tmp_path)
    os.mkfifo(tmp_path / "pipe.csv")
    refused("pipe", data.read_table, tmp_path / "pipe.csv")


@pytest.mark.parametrize(
    "text, decimal, values",
    [
        ("a;b\n1,5;x\n-2;y\n;z\n3,;w\n", ",", [1.5, -2, math.nan, 3]),
        ("a;b\n1.5;x\n1e-3;y\nNA;z\n.5;w\n", ".", [1.5, 1e-3, math.nan, 0.5]),
        ('a,b\n1.5,"x,y"\n', ".", [1.5]),
        ("a\tb\n1,5\t2,5\n", ",", [1.5]),
    ],
)
def test_numbers_follow_the_table_s_decimal_sign(tmp_path, text, decimal, values):
    """Decimal commas count where the separator is another one."""
    found = table_of(tmp_path, text)
    assert found.attrs["decimal"] == decimal
    np.testing.assert_array_equal(data.numbers(found["a"]), values)


@pytest.mark.parametrize(
    "text, match",
    [
        ("a;b\n1.234;0,5\n", "a, line 2: '1.234' is not clear"),
        ('a,b\n"1,5",x\n', "a, line 2: '1,5' is not clear"),
        ("a;b\n1.234,5;0,5\n", "line 2: '1.234,5' is not a finite number|not clear"),
        ("a;b\n1;x\n2 nm;y\n", "a, line 3: '2 nm' is not a finite number"),
        ("a;b\n2 nm;x\n1,5;y\n4 nm;y\n", "a, line 2 .likewise 4: 2 in all.: '2 nm' is not a finite number"),
        ("a;b\ninf;x\n", "not a finite number"),
        ("a;b\n1e999;x\n", "not a finite number"),
        ("a;b\n٣;x\n", "not a finite number"),
    ],
)
def test_doubtful_number_is_refused_with_its_line(tmp_path, text, match):
    """Thousands separators, units, infinities and other digits are not guessed."""
    refused(match, lambda: data.numbers(table_of(tmp_path, text)["a"]))


def test_labels_are_stripped_where_that_is_all(tmp_path):
    """A column written with a space after every separator is no typing error."""
    found = labels.checked(table_of(tmp_path, "i,l\n1, full\n2, empty\n3,\n"), ["l"])
    assert found["l"].tolist() == ["full", "empty", ""]


@pytest.mark.parametrize(
    "wrong, right",
    [
        ("Unilamellar", "unilamellar"),
        ("uni-lamellar", "unilamellar"),
        ("uni lamellar", "unilamellar"),
        ("unilamelar", "unilamellar"),
        ("unilamellarr", "unilamellar"),
        ("unilamelalr", "unilamellar"),
        ("uniiamellar", "unilamellar"),
    ],
)
def test_typing_error_is_refused_with_the_suggestion(wrong, right):
    """Case, spaces, and one letter put in, left out, exchanged or swapped."""
    table = pd.DataFrame({"l": [right] * 8 + ["multilamellar"] * 5 + [wrong]}, index=range(2, 16))
    refused(f"l, line 15: '{wrong}' looks like a typing error of '{right}'", labels.checked, table, ["l"])


def test_typing_errors_are_counted():
    """The first with its line, two more with what was meant."""
    given = ["Unilamellar", "multi-lamellar", "unilamelar", "Multilamellar"]
    table = pd.DataFrame({"l": ["unilamellar", "multilamellar"] * 8 + given})
    fault = "'Unilamellar' looks like a typing error of 'unilamellar' .likewise 'unilamelar' of 'unilamellar', .* in all.; correct"
    refused(fault, labels.checked, table, ["l"])


@pytest.mark.parametrize("classes", [["type1", "type2"], ["a", "b"], ["full", "empty"], ["gold", "bold"]])
def test_classes_that_are_alike_are_no_typing_errors(classes):
    """Digits, single letters, and labels of like frequency are left alone."""
    table = pd.DataFrame({"l": [classes[0]] * 9 + [classes[1]] * 6})
    assert labels.checked(table, ["l"])["l"].value_counts().to_dict() == {classes[0]: 9, classes[1]: 6}


def annotated(*columns, **more):
    """Return a table with annotators a, b, ... of the task `l`."""
    names = [f"l@{name}" for name in "abc"[: len(columns)]]
    return pd.DataFrame(dict(zip(names, columns)) | more, index=range(2, 2 + len(columns[0])))


def test_consensus_is_the_strict_majority():
    """More than half of those who labelled; one label alone counts; nothing stays nothing."""
    a = ["full", "full", "full", "empty", ""]
    b = ["full", "full", "empty", "", ""]
    c = ["full", "empty", "third", "", ""]
    labels, _ = data.consensus(annotated(a, b, c), "l")
    assert labels.tolist() == ["full", "full", "", "empty", ""] and labels.name == "l"


def test_people_who_disagree_are_uncertain_where_that_is_a_class():
    """Without a majority the label is `uncertain` if it is in use."""
    labels, _ = data.consensus(annotated(["full", "full"], ["empty", "uncertain"]), "l")
    assert labels.tolist() == ["uncertain", "uncertain"]


def test_kappa_by_hand():
    """Two annotators, 20 + 15 of 50 equal by the textbook table [[20, 5], [10, 15]]: kappa .4."""
    a = ["y"] * 25 + ["n"] * 25
    b = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    agreement = data.consensus(annotated(a, b), "l")[1]
    assert agreement.kappa == pytest.approx(0.4)
    pair = agreement.pairs.iloc[0]
    assert (pair["first"], pair["second"], pair["n"], pair["agreement"]) == ("a", "b", 50, 0.7)


def test_kappa_agrees_with_scikit_learn_with_gaps():
    """The mean over three pairs, each over the particles that both labelled."""
    rng = random.Random(3)
    columns = [[rng.choice(["full", "empty", "uncertain", ""]) for _ in range(200)] for _ in range(3)]
    agreement = data.consensus(annotated(*columns), "l")[1]
    expected = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        both = [(x, y) for x, y in zip(columns[i], columns[j]) if x and y]
        expected.append(cohen_kappa_score(*zip(*both)))
    assert agreement.pairs["kappa"].tolist() == pytest.approx(expected)
    assert agreement.kappa == pytest.approx(np.mean(expected))


def test_interval_of_kappa_is_the_jackknife_over_micrographs():
    """Low and high are those of leaving out one micrograph at a time, written out."""
    rng = random.Random(5)
    truth = [rng.choice(["full", "empty"]) for _ in range(60)]
    other = [x if rng.random() < 0.8 else rng.choice(["full", "empty"]) for x in truth]
    micrograph = [f"m{i // 10}" for i in range(60)]
    agreement = data.consensus(annotated(truth, other, micrograph=micrograph), "l")[1]
    left_out = [
        cohen_kappa_score(*zip(*[(x, y) for x, y, m in zip(truth, other, micrograph) if m != f"m{k}"]))
        for k in range(6)
    ]
    half = 2.570581836 * math.sqrt(5 / 6 * sum((k - np.mean(left_out)) ** 2 for k in left_out))  # t(.975, 5)
    assert agreement.high - agreement.low == pytest.approx(2 * half)
    assert (agreement.high + agreement.low) / 2 == pytest.approx(agreement.kappa)
    assert agreement.method.endswith("over 6 micrographs")


def test_interval_of_kappa_covers_the_truth():
    """Of 100 simulated studies of 30 micrographs, the 95 % interval holds the true kappa in 88 to 99."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        truth = rng.random(600) < np.repeat(rng.beta(2, 2, 30), 20)
        flips = [rng.random(600) < 0.1 for _ in range(2)]
        columns = [np.where(truth ^ flip, "full", "empty") for flip in flips]
        agreement = data.consensus(annotated(*columns, micrograph=np.repeat(np.arange(30), 20)), "l")[1]
        held += agreement.low <= 0.64 <= agreement.high  # (.82 - .5) / (1 - .5) with both at even odds
    assert 88 <= held <= 99


@pytest.mark.parametrize("second", [["", ""], ["full", "full"]])
def test_undefined_kappa_is_empty_with_its_reason(second):
    """Without shared particles or with one class only there is no number."""
    agreement = data.consensus(annotated(["full", "full"], second), "l")[1]
    assert math.isnan(agreement.kappa) and math.isnan(agreement.low)
    assert agreement.method.startswith("undefined")


def test_disagreements_are_listed_with_every_label():
    """Only particles with two different labels are listed, with their line."""
    table = annotated(["full", "full", "full"], ["full", "empty", ""], image=["1.png", "2.png", "3.png"])
    listed = data.consensus(table, "l")[1].disagreements
    assert listed.to_dict("index") == {3: {"image": "2.png", "l@a": "full", "l@b": "empty", "consensus": ""}}


def test_annotators_must_be_two_and_alone():
    """One annotator is no consensus, and a joined column beside theirs would be ignored."""
    refused("at least two annotators", data.consensus, annotated(["full"]), "l")
    refused("keep one or the other", data.consensus, annotated(["full"], ["full"], l=["full"]), "l")


def test_typing_error_between_annotators_is_found():
    """Each is consistent alone; together they differ by case."""
    refused("typing error", data.consensus, annotated(["Full", "Full"], ["full", "full"]), "l")
