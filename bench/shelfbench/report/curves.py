"""Training profiles as figures: the mean over the seeds as a line, their range as a band."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from shelfbench.report.style import marks, plain


@dataclass(frozen=True, eq=False)
class Profile:
    """The histories of a variant's trainings.

    Attributes
    ----------
    name : str
        The variant.
    label : str
        Its name in figures and tables.
    figures : tuple of str
        Figures that show it.
    history : DataFrame
        The columns of ``history/VARIANT-seedN.parquet``, for all finished seeds, concatenated; not empty.
    """

    name: str
    label: str
    figures: tuple[str, ...]
    history: pd.DataFrame

    @property
    def seeds(self) -> int:
        """How many trainings have finished."""
        return int(self.history["seed"].nunique())

    def over_seeds(self, column: str) -> pd.DataFrame:
        """Summarise a value over the seeds.

        Parameters
        ----------
        column : str
            A column of the history.

        Returns
        -------
        DataFrame
            The columns mean, min and max by ``step``, at the updates that every seed reached.
        """
        spread = self.history.groupby("step")[column].agg(["mean", "min", "max", "count"])
        return spread.loc[spread["count"] == self.seeds, ["mean", "min", "max"]]


@dataclass(frozen=True)
class Drawing:
    """How a figure of a study is drawn.

    Attributes
    ----------
    title : str
        What it shows, and where it is in the paper.
    draw : callable
        ``draw(figure, profiles)`` fills the figure with its panels.
    caption : str
        What readers need to know about the measure.
    """

    title: str
    draw: Callable[[Figure, Sequence[Profile]], None]
    caption: str


def _accuracy(figure: Figure, profiles: Sequence[Profile]) -> None:
    """Draw one panel: validation accuracy."""
    axes = figure.subplots()
    _lines(axes, profiles, "val_accuracy")
    _finish(axes, "validation accuracy", profiles)
    _legend(figure, axes, profiles)


def _cost_and_precision(figure: Figure, profiles: Sequence[Profile]) -> None:
    """Draw validation cost on the left and precision on the right."""
    left, right = figure.subplots(1, 2)
    _lines(left, profiles, "val_loss")
    _finish(left, "validation cost (cross-entropy)", profiles)
    _lines(right, profiles, "val_accuracy")
    _finish(right, "validation precision", profiles)
    _legend(figure, right, profiles)


def _costs(figure: Figure, profiles: Sequence[Profile]) -> None:
    """Draw one panel per variant, in the study's order: cost in training and on validation."""
    panels = figure.subplots(1, len(profiles), sharey=True, squeeze=False)[0]
    for axes, profile in zip(panels, profiles, strict=True):
        for number, (column, words) in enumerate((("loss", "training"), ("val_loss", "validation"))):
            _line(axes, profile, column, number, words)
        _finish(axes, "cost (cross-entropy)" if axes is panels[0] else "", [profile])
        axes.set_title(profile.label, fontsize=10, fontweight="normal")
    _legend(figure, panels[0], profiles)


_ON_TUNE = "Validation: the half of it that is used for choices (tune). An update is one step of the optimiser."

DRAWINGS = {
    "figure3": Drawing(
        "None, one or several batch normalisations (C, Figure 3)",
        _cost_and_precision,
        f"Cost and precision. {_ON_TUNE}",
    ),
    "figure4": Drawing(
        "Cost without and with dropout (C, Figure 4)",
        _costs,
        "The training cost is the mean over an epoch's updates, with dropout, if any, active; the "
        f"validation cost is taken at the end of the epoch, without dropout. {_ON_TUNE}",
    ),
    "figure6": Drawing("Inception V3 and Xception, ImageNet's recipe (X, Figure 6)", _accuracy, _ON_TUNE),
    "figure7": Drawing("Inception V3 and Xception without FC layers, JFT's recipe (X, Figure 7)", _accuracy, _ON_TUNE),
    "figure8": Drawing("Inception V3 and Xception with FC layers, JFT's recipe (X, Figure 8)", _accuracy, _ON_TUNE),
    "figure9": Drawing("Xception with and without residual connections (X, Figure 9)", _accuracy, _ON_TUNE),
    "figure10": Drawing("Activation between depthwise and pointwise convolution (X, Figure 10)", _accuracy, _ON_TUNE),
    "segments": Drawing("From one segment to one a channel, at equal parameters (X, §1.2 and §5)", _accuracy, _ON_TUNE),
    "finetuning": Drawing("How to fine-tune: learning rates and frozen depths", _accuracy, _ON_TUNE),
}


def drawing(name: str) -> Drawing:
    """Look up how a figure is drawn.

    Parameters
    ----------
    name : str
        The figure's name in studies.

    Returns
    -------
    Drawing
        A single panel of validation accuracy if the name is not declared.
    """
    return DRAWINGS.get(name, Drawing(name, _accuracy, _ON_TUNE))


def figure_names(profiles: Sequence[Profile]) -> list[str]:
    """List the figures that the profiles request.

    Parameters
    ----------
    profiles : sequence of Profile
        Finished variants.

    Returns
    -------
    list of str
        In the order of their numbers; those without a number come last.
    """

    def place(name: str) -> tuple[float, str]:
        number = name.removeprefix("figure")
        return (int(number) if number.isdecimal() else float("inf"), name)

    return sorted({figure for profile in profiles for figure in profile.figures}, key=place)


def draw(name: str, profiles: Sequence[Profile]) -> Figure:
    """Draw a figure.

    Parameters
    ----------
    name : str
        Of the figure.
    profiles : sequence of Profile
        Those that request the figure are shown.

    Returns
    -------
    Figure
        With its title and legend.
    """
    kind = drawing(name)
    width = 7.6 if kind.draw is _accuracy else 9.6
    figure = Figure(figsize=(width, 4.6), layout="constrained")
    kind.draw(figure, [profile for profile in profiles if name in profile.figures])
    figure.suptitle(kind.title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def _lines(axes: Axes, profiles: Sequence[Profile], column: str) -> None:
    for number, profile in enumerate(profiles):
        _line(axes, profile, column, number, profile.label)


def _line(axes: Axes, profile: Profile, column: str, number: int, label: str) -> None:
    values, style = profile.over_seeds(column), marks(number)
    axes.fill_between(
        values.index, values["min"], values["max"], color=style["color"], alpha=0.16, linewidth=0, zorder=2
    )
    axes.plot(
        values.index, values["mean"], **style, markersize=5, markeredgecolor="white", markeredgewidth=0.6, label=label
    )


def _finish(axes: Axes, what: str, profiles: Sequence[Profile]) -> None:
    axes.set(xlabel="updates", ylabel=what)
    axes.set_xlim(0, max(int(profile.history["step"].max()) for profile in profiles) * 1.02)
    axes.xaxis.set_major_formatter(FuncFormatter(plain))


def _legend(figure: Figure, axes: Axes, profiles: Sequence[Profile]) -> None:
    """Add a legend and a key to line and band below all panels, clear of the curves."""
    handles, names = axes.get_legend_handles_labels()
    longest = max(map(len, names), default=0)
    figure.legend(
        handles,
        names,
        title=_spread_in_words(profiles),
        loc="outside lower left",
        ncols=2 if longest > 32 else 3,
        fontsize=8.5,
        title_fontsize=8.5,
        alignment="left",
        handlelength=3.4,
    )


def _spread_in_words(profiles: Sequence[Profile]) -> str:
    counts = sorted({profile.seeds for profile in profiles})
    if counts == [1]:
        return "one seed each"
    seeds = f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    return f"mean of {seeds}; band: minimum to maximum"
