"""Pictures of notebook 7."""

from temlib import figures
from tests.figures.conftest import check


def test_popularity_is_drawn_by_date():
    """A panel a date, each number with its source; TensorFlow leads at both."""
    table = figures.popularity()
    assert (
        list(table) == ["date", "software", "stars", "source"]
        and table["source"].str.contains("commit").all()
    )
    assert table.loc[table.groupby("date")["stars"].idxmax(), "software"].eq("TensorFlow").all()
    figure = check(figures.stars(table), list(table), n=15, panels=2)
    assert [axis.get_title() for axis in figure.axes] == ["15 Aug 2016", "5 Feb 2017"]
    assert figure.axes[0].patches[0].get_width() == 29.931


def test_backends_are_listed_without_importing_them():
    """TensorFlow is what temlib needs; the version is told where there is one."""
    table = figures.backends().set_index("backend")
    assert (
        list(table.index) == ["tensorflow", "jax", "torch"] and table.loc["tensorflow", "installed"] == "yes"
    )
    assert ((table["installed"] == "yes") == (table["version"] != "")).all()
