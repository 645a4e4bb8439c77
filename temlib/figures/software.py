"""Pictures of notebook 7: software."""

from temlib.figures.base import COLOURS, Picture, figure_of


def stars(table):
    """Draw the popularity of deep-learning software, one panel a date."""

    def draw(frame):
        dates = list(frame["date"].unique())
        figure, axes = figure_of(1, len(dates), width=4.2 * len(dates), height=3.8, squeeze=False)
        for axis, date in zip(axes[0], dates):
            part = frame[frame["date"] == date]
            axis.barh(part["software"], part["stars"] / 1e3, color=COLOURS[0])
            axis.set(title=date, xlabel="GitHub stars (thousands)")
            axis.tick_params(labelsize=8)
            axis.invert_yaxis()
            axis.grid(False, axis="y")
        return figure

    top = table.sort_values("stars").iloc[-1]
    return Picture(table, draw, f"Bars of GitHub stars of deep-learning software; {top['software']} has the most at every date.",
                   "GitHub stars at the dates nearest to October 2016 for which a citable list exists; sources in the table.")  # fmt: skip
