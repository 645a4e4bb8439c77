"""The one file of a run: what came out stands first, every link works wherever the file goes, nothing private is in it."""

import json
import re
import shutil
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from click.testing import CliRunner

from temlib import report
from temlib.__main__ import main
from temlib.files import read_csv, write_csv, write_json, write_text
from temlib.report import cover, html, onefile
from temlib.report.methods import methods
from tests.report import planted

TAG = re.compile(r"<[a-zA-Z][^<>]*>")


def attributes(page, *names):
    """Return the values of attributes in a page's tags."""
    found = (re.findall(rf'\s(?:{"|".join(names)})="([^"]*)"', tag) for tag in TAG.findall(page))
    return [unescape(value) for values in found for value in values]


@pytest.fixture(scope="module")
def two_tasks(tmp_path_factory):
    """The one file of a run of two tasks, the second before the first in the alphabet."""
    return planted.run(tmp_path_factory.mktemp("reports") / "mine", ["a", "b"], tasks=("z task", "a task"))


def test_every_anchor_is_one_place_and_every_link_finds_it(two_tasks):
    """Also where a notebook's page is there twice, and wherever the file lies: no link leads to another file."""
    page = two_tasks.read_text(encoding="utf-8")
    ids, links = attributes(page, "id"), attributes(page, "href", "xlink:href")
    assert len(ids) == len(set(ids)) and not any(" " in name for name in ids)
    inside = [link[1:] for link in links if link.startswith("#")]
    assert set(inside) <= set(ids) and len(inside) >= 30
    outside = {link for link in links if not link.startswith(("#", "data:"))}
    assert outside == {"https://example.org/x"}  # a link, not a request
    assert ids.count("part-1") == 1 and page.count('<a href="#part-3-Limits">the evaluation</a>') == 1
    assert all(value.startswith("data:") for value in attributes(page, "src", "srcset"))
    assert not re.search(r"<link|@import|url\((?!#)", page) and "<script src" not in page


def test_parts_follow_each_other_by_combination(two_tasks):
    """In the order of the matrix; each says what it is of, and leads on and back."""
    page = two_tasks.read_text(encoding="utf-8")
    parts = re.findall(r'<section class="part" id="([^"]+)" aria-label="([^"]+)"', page)
    titles = [
        "Data",
        "Training, z task",
        "Evaluation, z task",
        "Training, a task",
        "Evaluation, a task",
        "Methods",
    ]
    assert [title for _, title in parts] == titles
    assert re.findall(r'<li class="group"><bdi>(.*?)</bdi>', page) == ["z task", "a task"]
    turns = re.findall(r'<p class="turn"><a href="#([^"]+)">.*?<a href="#([^"]+)">', page)
    marks = ["cover", *(mark for mark, _ in parts)]
    assert turns == [*zip(marks, marks[2:]), (marks[-2], "cover")]
    assert len(re.findall(r"<h1\b", page)) == 1 and "code</summary>" not in page


def test_nothing_of_the_disk_nor_a_warning_reaches_a_page(two_tasks):
    """Names of files stay, folders go, also such with spaces; what was printed for people stays."""
    for path in two_tasks.parent.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        for word in (
            "/data",
            "jane",
            "grid 3",
            "/tmp/",
            "/home",
            "RuntimeWarning",
            "site-packages",
            str(two_tasks.parent),
        ):
            assert word not in page, (path, word)
        assert "manifest.csv" in page
    assert "read manifest.csv and y.npz" in two_tasks.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("see /home/jane/x/y.csv, please", "see y.csv, please"),
        ('in "C:\\Users\\jane\\y.csv" and C:/a/b.csv', 'in "y.csv" and b.csv'),
        ("file:///scratch/a/b.mrc: broken", "b.mrc: broken"),
        ("https://doi.org/10.1/x and text/html, and/or 1/2/3", "https://doi.org/10.1/x and text/html, and/or 1/2/3"),
        ("a / b / c </b> 3 e⁻/Å²", "a / b / c </b> 3 e⁻/Å²"),
        ('<img src="data:image/png;base64,+/ab/cd/" alt="of /home/j/y.png">', '<img src="data:image/png;base64,+/ab/cd/" alt="of y.png">'),
        ("mine/particles=%2Fhome%2Fjane%2Fy.csv", "mine/particles=y.csv"),
        ("&lt;/home/jane/y.csv&gt;", "&lt;y.csv&gt;"),
    ],
)  # fmt: skip
def test_paths_lose_their_folders(text, left):
    """Those of a disk, not addresses, fractions, markup nor pictures."""
    assert html.mailable(text) == left


def test_an_error_is_one_sentence(tmp_path):
    """Of a failed notebook the page has the error; the way through the code stays in the notebook."""
    import nbformat

    way = ["Traceback (most recent call last)", '  File "/home/jane/temlib/x.py", line 3']
    error = nbformat.v4.new_output(
        "error", ename="ValueError", evalue="/home/jane/a.csv is odd", traceback=way
    )
    planted.page(tmp_path / "1_explore.ipynb", "One", [[error]])
    page = (tmp_path / "1_explore.html").read_text(encoding="utf-8")
    assert (
        page.count("ValueError: a.csv is odd") == 2
        and "most recent call" not in page
        and "line 3" not in page
    )
    assert "Traceback" in (tmp_path / "1_explore.ipynb").read_text(encoding="utf-8")


def test_the_first_page_draws_what_the_answer_says(two_tasks):
    """A score of 0.9 (0.82 to 0.95) on an axis from 0.8 to 1, shares on one from 0; three lights."""
    (found, _) = cover.read(two_tasks.parent)["answers"]
    scores, shares = found["models"], found["classes"]
    assert (scores["low"], scores["high"], shares["low"], shares["high"]) == ("80 %", "100 %", "0 %", "100 %")
    row = scores["rows"][0]
    assert (row["from"], row["at"], row["to"]) == pytest.approx((10, 50, 75)) and row[
        "text"
    ] == "90 % (82–95)"
    assert [row["at"] for row in shares["rows"]] == pytest.approx([50, 50])
    assert [light["state"] for light in found["lights"]] == ["warn", "good"]
    page = two_tasks.read_text(encoding="utf-8")
    first = page[page.index("<main>") : page.index('id="part-1"')]
    assert (
        first.count('class="verdict"') == 2
        and first.count("data:image/jpeg") == 2
        and first.count("50 nm") == 0
    )
    assert first.count("20 nm") == 2  # half of a particle of 48 nm is 24


def test_an_older_answer_has_what_it_has(two_tasks, tmp_path):
    """Without a question, numbers, shares, lights and pictures there is a first page all the same."""
    shutil.copytree(two_tasks.parent, tmp_path / "old")
    (tmp_path / "old" / "overview.json").unlink()
    for path in (tmp_path / "old").rglob("answer.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = [
            {key: row[key] for key in ("task", "model", "primary", "value", "interval", "n", "micrographs")}
            for row in content["headline"]
        ]
        write_json(
            path,
            {
                "title": content["title"],
                "simulated": True,
                "sentences": ["It is so.", "And so."],
                "headline": rows,
            },
        )
    page = onefile.write(tmp_path / "old").read_text(encoding="utf-8")
    assert (
        page.count("It is so.") == 2
        and "And so." not in page
        and "Simulated data" in page
        and "90 % (82–95)" in page
    )


def test_many_evaluations_are_a_table(two_tasks, tmp_path, monkeypatch):
    """Of a sweep; and what would make the file too large to mail is named instead."""
    monkeypatch.setattr(onefile, "MANY", 1)
    monkeypatch.setattr(onefile, "LARGEST", 1)
    shutil.copytree(two_tasks.parent, tmp_path / "mine")
    page = onefile.write(tmp_path / "mine").read_text(encoding="utf-8")
    assert page.count('<th scope="row"><bdi>') == 2 and 'class="verdict"' not in page
    assert "too large to mail: Data, Training z task" in page and 'id="part-' not in page


def test_a_run_is_joined_by_its_name_or_folder(two_tasks, tmp_path, monkeypatch):
    """Also after its folder was renamed, and one whose notebooks were run by hand; another name is refused."""
    shutil.copytree(two_tasks.parent, tmp_path / "other")
    monkeypatch.setenv("TEMLIB_REPORTS", str(tmp_path))
    (tmp_path / "other" / "mine.html").unlink()
    for run in ("other", str(tmp_path / "other")):
        result = CliRunner().invoke(main, ["report", run])
        assert result.exit_code == 0 and result.output == f"{tmp_path / 'other' / 'other.html'}\n"
    whole = (tmp_path / "other" / "other.html").read_text(encoding="utf-8")
    for name in ("provenance.json", "parameters.yaml"):
        (tmp_path / "other" / name).unlink()
    assert CliRunner().invoke(main, ["report", "other"]).exit_code == 0
    by_hand = (tmp_path / "other" / "other.html").read_text(encoding="utf-8")
    assert by_hand.count('<section class="part"') == whole.count('<section class="part"') == 6
    shutil.copytree(two_tasks.parent, tmp_path / "mine")
    result = CliRunner().invoke(main, ["report", "mien"])
    assert result.exit_code == 2 and "the nearest is 'mine'" in result.stderr


def test_a_run_named_like_another_page_has_its_own(tmp_path):
    """Its one file is not overwritten by the run's index, nor by a notebook's page."""
    assert onefile.path_of(Path("a/index")).name == "index report.html"
    assert onefile.path_of(Path("a/1_explore")).name == "1_explore report.html"
    assert onefile.path_of(Path("a/50% {x}")).name == "50% {x}.html"


@pytest.mark.parametrize(
    ("micrographs", "pairs", "state", "words"),
    [(12, 0, "unknown", "micrograph of its own"), (4, 0, "good", "no particles"), (4, 1, "warn", "but 1 pair of"), (4, 9, "warn", "9 pairs")],
)  # fmt: skip
def test_the_light_for_leaks(tmp_path, micrographs, pairs, state, words):
    """Micrographs that nobody named, and copies in several of them."""
    made = planted.particles(["a", "b"], micrographs=micrographs)
    said = report.overview(
        SimpleNamespace(path=tmp_path.joinpath), made, pd.DataFrame({"first": ["p"] * pairs})
    )
    content = json.loads((tmp_path / "overview.json").read_text(encoding="utf-8"))
    assert content["lights"] == [{"title": "A leak?", "state": state, "words": said}] and words in said
    assert [(row["class"], row["n"], row["shown"]) for row in content["tasks"]["lamellarity"]] == [
        ("a", 6, 4),
        ("b", 6, 4),
    ]
    assert (tmp_path / "overview.json").stat().st_size < 20_000


def test_names_of_any_kind_stay_text(tmp_path):
    """Markup is shown, not made; nothing turns the text of a page round; tables are regions with names."""
    path = planted.run(tmp_path / "run", planted.ODD)
    onefile.write_index(tmp_path)
    for file in (path, tmp_path / "index.html", tmp_path / "run" / "index.html"):
        page = file.read_text(encoding="utf-8")
        assert "<script>alert" not in page and "\u202e" not in page and "\u2066" not in page
    assert "&lt;/p&gt;&lt;script&gt;alert" in path.read_text(encoding="utf-8")
    regions = re.findall(
        r'<div class="scroll" tabindex="0" role="region" aria-label="([^"]+)">',
        path.read_text(encoding="utf-8"),
    )
    assert "Table 1, What was read" in regions


def test_the_index_shows_each_run(two_tasks, tmp_path):
    """With its state, verdict and the interval of the primary model; a run that failed says so."""
    shutil.copytree(two_tasks.parent, tmp_path / "mine")
    failed = {
        "notebook": "1_explore",
        "combination": {},
        "status": "failed",
        "error": "InputError: /home/j/x.csv: no.",
        "seconds": 1,
        "folder": "bad",
    }
    write_json(tmp_path / "bad" / "provenance.json", {"notebooks": [failed], "started": "now"})
    onefile.write_index(tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert page.count('<li data-state="done">') == page.count('<li data-state="failed">') == 1
    assert "mine/mine.html" in page and "bad/index.html" in page and page.count("The network finds a") == 2
    assert page.count('class="dot" style="left: 90.0%"') == 2  # on an axis from 0 to 1, the same for all runs
    write_text(tmp_path / "bad" / "parameters.yaml", "")
    assert "x.csv: no." in onefile.write(tmp_path / "bad").read_text(encoding="utf-8")


TEXTS = [
    "=1+2",
    "'=x",
    "''-a",
    "+49 30",
    "@me",
    "\tx",
    "'abc",
    "'",
    "-",
    "a=b",
    "--5",
    "-5-",
    "'-5",
    "=x\ny",
    "-infinite",
]


def test_text_that_a_spreadsheet_would_compute_is_disarmed(tmp_path):
    """And comes back as it was; numbers keep their signs, in columns of text too."""
    numbers = ["-5", "+1", "-.5e-3", "-5.", "-inf"]
    table = pd.DataFrame({"class": TEXTS + numbers, "=name": -0.5, "x": [None] + ["=x"] * 19}).astype(
        {"class": "str", "x": "str"}
    )
    write_csv(tmp_path / "t.csv", table)
    pd.testing.assert_frame_equal(read_csv(tmp_path / "t.csv"), table)
    cells = pd.read_csv(tmp_path / "t.csv", dtype=str, keep_default_na=False)
    assert cells["class"].tolist()[-5:] == numbers and set(cells["'=name"]) == {"-0.5"}
    for cell in [*cells["class"][:-5], *cells["x"]]:
        assert not re.match(r"[=+\-@\t\r]", cell), cell


def test_methods_are_words_made_of_the_cards(tmp_path):
    """Of the models that were kept; without one there are none, and what a run cannot know is for the reader to fill in."""
    card = Path(__file__).parents[1] / "train" / "data" / "bundle_v1" / "svm_thesis" / "card.json"
    row = {"model": "svm_thesis", "primary": True, "value": "90 %", "interval": "80 % to 95 %"}
    shares = [{"class": "bright", "n": 30}, {"class": "plain", "n": 50}]
    answer = {"title": "content", "headline": [row], "shares": shares, "verdict": ["It does."], "lights": []}
    assert methods(tmp_path, answer) == {}
    (tmp_path / "models" / "svm_thesis").mkdir(parents=True)
    shutil.copy(card, tmp_path / "models" / "svm_thesis")
    found = methods(tmp_path, answer)
    said = found["paragraph"]
    for words in (
        "80 particles of 4 micrographs",
        "bright (30), plain (50)",
        "2-fold",
        "2.5 nm/pixel",
        "seed 3",
    ):
        assert words in said, said
    assert "from test" in said and "simulated" not in said and "Networks" not in said and "RBF" in said
    assert {"svm_thesis: 90 % (80 % to 95 %), 95 %, by micrograph."} <= {
        words for *_, words in found["checklist"]
    }
    assert sum(words.endswith("For you to fill in.") for *_, words in found["checklist"]) >= 4
    assert found["bibtex"].count("@") == 4 and "{0.1.0}" in found["bibtex"]
