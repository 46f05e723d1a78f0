"""Training profiles as figures: mean over the seeds as a line, least to greatest of them as a band."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from shelfbench.report.render import save_figure
from shelfbench.report.style import STYLE, marks, plain


@dataclass(frozen=True, eq=False)
class Profile:
    """What the trainings of a variant left.

    Attributes
    ----------
    name, label : str
    figures : tuple of str
        Figures that show it.
    history : DataFrame
        The columns of ``history/VARIANT-seedN.parquet`` of all seeds that are done, below each other; not empty.
    """

    name: str
    label: str
    figures: tuple[str, ...]
    history: pd.DataFrame

    @property
    def seeds(self) -> int:
        """Trainings that are done."""
        return int(self.history["seed"].nunique())

    def over_seeds(self, column: str) -> pd.DataFrame:
        """Columns mean, min, max of a value, by ``step``; only at updates that every seed reached."""
        spread = self.history.groupby("step")[column].agg(["mean", "min", "max", "count"])
        return spread.loc[spread["count"] == self.seeds, ["mean", "min", "max"]]


@dataclass(frozen=True)
class Drawing:
    """How a figure of a study is drawn.

    Attributes
    ----------
    title : str
        What it shows, and its place in the paper.
    draw : callable
        ``draw(figure, profiles)`` fills the figure with its panels.
    caption : str
        What a reader must know of the measure.
    """

    title: str
    draw: Callable[[Figure, Sequence[Profile]], None]
    caption: str


def _accuracy(figure: Figure, profiles: Sequence[Profile]) -> None:
    """One panel: validation accuracy."""
    axes = figure.subplots()
    _lines(axes, profiles, "val_accuracy")
    _finish(axes, "validation accuracy", profiles)
    _legend(figure, axes, profiles)


def _cost_and_precision(figure: Figure, profiles: Sequence[Profile]) -> None:
    """Validation cost left, precision right."""
    left, right = figure.subplots(1, 2)
    _lines(left, profiles, "val_loss")
    _finish(left, "validation cost (cross-entropy)", profiles)
    _lines(right, profiles, "val_accuracy")
    _finish(right, "validation precision", profiles)
    _legend(figure, right, profiles)


def _costs(figure: Figure, profiles: Sequence[Profile]) -> None:
    """One panel a variant, in the study's order: cost in training and on validation."""
    panels = figure.subplots(1, len(profiles), sharey=True, squeeze=False)[0]
    for axes, profile in zip(panels, profiles, strict=True):
        for number, (column, words) in enumerate((("loss", "training"), ("val_loss", "validation"))):
            _line(axes, profile, column, number, words)
        _finish(axes, "cost (cross-entropy)" if axes is panels[0] else "", [profile])
        axes.set_title(profile.label, fontsize=10, fontweight="normal")
    _legend(figure, panels[0], profiles)


_ON_TUNE = "Validation is its half for choices (tune); an update is one step of the optimiser."

DRAWINGS = {
    "figure3": Drawing(
        "None, one or several batch normalisations (C, Figure 3)",
        _cost_and_precision,
        f"Cost and precision. {_ON_TUNE}",
    ),
    "figure4": Drawing(
        "Cost without and with dropout (C, Figure 4)",
        _costs,
        "The cost in training is the mean over an epoch's updates, with dropout at work where there is any; on "
        f"validation it is that of the epoch's end, without. {_ON_TUNE}",
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
    """How the figure of this name is drawn; one that is not declared has one panel, validation accuracy."""
    return DRAWINGS.get(name, Drawing(name, _accuracy, _ON_TUNE))


def figure_names(profiles: Sequence[Profile]) -> list[str]:
    """Figures that the profiles ask for, in the order of their numbers, those without one last."""

    def place(name: str) -> tuple[float, str]:
        number = name.removeprefix("figure")
        return (int(number) if number.isdecimal() else float("inf"), name)

    return sorted({figure for profile in profiles for figure in profile.figures}, key=place)


def write_curves(directory: Path, profiles: Sequence[Profile]) -> None:
    """Write every figure that the profiles ask for into ``figures``, as PNG and SVG."""
    with mpl.rc_context(STYLE):
        for name in figure_names(profiles):
            shown = [profile for profile in profiles if name in profile.figures]
            kind = drawing(name)
            width = 7.6 if kind.draw is _accuracy else 9.6
            figure = Figure(figsize=(width, 4.6), layout="constrained")
            kind.draw(figure, shown)
            figure.suptitle(kind.title, x=0.01, ha="left", fontsize=11, fontweight="bold")
            save_figure(figure, directory / "figures" / name)


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
    """Name the lines of a panel, and what line and band are, below all panels, where no curve can run."""
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
    return f"mean of {seeds}; band: least to greatest"
