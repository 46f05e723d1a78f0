"""The page over several draws of a study: mean and spread of every backend, tiers, and each draw."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from shelfbench.base.console import Console
from shelfbench.base.grid import MISSING, Grid, count, number_of, percent, seconds, share
from shelfbench.report.comparison import p_value
from shelfbench.report.render import fill, pairs_html, write_page, write_report
from shelfbench.report.section import NamedFigure, NamedTable, Section, SectionSpec
from shelfbench.report.style import marks
from shelfbench.report.words import flat
from shelfbench.runs.choice import listed
from shelfbench.runs.draws import Draws, draw_path, open_draws

_TITLE = "Over all draws"
_SHARED = (
    "All draws share their test products, so that their spread shows the luck of training alone: the paired test adds "
    "the variance that resampling the test products gives, the same resamples for all."
)
_OWN = (
    "Each draw has a test part of its own: the corrected resampled t test, paired by draw, whose variance counts that "
    "draws train on mostly the same products (Nadeau and Bengio, 2003)."
)


def over_draws(data: Draws) -> Section:
    """The table: one row per backend."""
    frame = data.table
    return Section(
        title=_TITLE,
        grids=(NamedTable(name="draws", grid=draws_grid(data, frame), frame=frame),),
        figures=(NamedFigure(name="draws", draw=lambda: draws_figure(data), caption=_caption(data)),),
    )


def draws_grid(data: Draws, frame: pd.DataFrame) -> Grid:
    """Lay out the means and spreads of all backends, the best tier first.

    Parameters
    ----------
    data : Draws
    frame : DataFrame
        `Draws.table`.

    Returns
    -------
    Grid
    """
    ordered = frame.sort_values("acceptance_mean", ascending=False, kind="stable")
    rows = tuple(
        (
            row["backend"],
            str(row["tier"]) if row["tier"] else MISSING,
            f"{row['draws']} of {len(data.runs)}",
            _spread(row, "validation_precision"),
            _spread(row, "precision"),
            _spread(row, "acceptance"),
            _behind(row),
            p_value(row["p"]) if not math.isnan(row["p"]) else MISSING,
            _certified(row),
            _spread(row, "certified_precision"),
            seconds(row["seconds_mean"]),
        )
        for row in ordered.to_dict("records")
    )
    return Grid(
        title=f"Backends over {number_of(len(data.runs), 'draw')} of split and training",
        headers=(
            "Backend",
            "Tier",
            "Draws",
            "Val. prec.",
            "Test prec.",
            "Test acc. at 0.9",
            "Behind the best",
            "p",
            "Certified acc.",
            "Certified prec., test",
            "Seconds",
        ),
        rows=rows,
        numeric=frozenset(range(1, 11)),
        notes=(
            "Mean ± standard deviation over the draws. Acceptance: plain, each draw's threshold set on its own test "
            "products; it is not a promise. Certified: in how many draws a precision of 0.9 was certified, and the "
            "acceptance and the precision on test in these.",
            f"Tier 1 cannot be told from the best backend in acceptance over the draws (5%, Holm's method for all "
            f"pairs), tier 2 not from the best of the rest, and so on; {MISSING}: too few draws to test. "
            f"{_SHARED if data.shares_test else _OWN}",
        ),
        best=frozenset((number, 0) for number, row in enumerate(ordered["tier"]) if row == 1),
    )


def _spread(row: dict[Any, Any], name: str) -> str:
    mean, deviation = row[f"{name}_mean"], row[f"{name}_sd"]
    return share(mean) + ("" if pd.isna(deviation) else f" ± {share(deviation)}")


def _behind(row: dict[Any, Any]) -> str:
    if math.isnan(row["behind"]):
        return MISSING
    ends = "" if math.isnan(row["behind_low"]) else f" [{share(row['behind_low'])}, {share(row['behind_high'])}]"
    return f"{share(row['behind'])}{ends}"


def _certified(row: dict[Any, Any]) -> str:
    part = f"{row['certified_draws']} of {row['draws']}"
    return f"{part}: {_spread(row, 'certified_acceptance')}" if row["certified_draws"] else part


def _caption(data: Draws) -> str:
    return (
        f"Acceptance at a precision of 0.9 on test: a dot for each of {number_of(len(data.runs), 'draw')}, their mean, "
        "and one standard deviation to either side."
    )


def draws_figure(data: Draws) -> Figure:
    """Draw every backend's acceptance in every draw, the best at the top."""
    table = data.table.sort_values("acceptance_mean", kind="stable").to_dict("records")
    figure = Figure(figsize=(7.6, 0.55 * len(table) + 1.3), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(table):
        own = data.by_draw[data.by_draw["backend"] == row["backend"]]["acceptance"].to_numpy()
        color = marks(list(data.backends).index(row["backend"]))["color"]
        axes.plot(own, np.full(len(own), place), "o", color=color, alpha=0.45, markersize=5)
        axes.errorbar(
            [row["acceptance_mean"]],
            [place],
            xerr=[0.0 if pd.isna(row["acceptance_sd"]) else row["acceptance_sd"]],
            fmt="|",
            markersize=16,
            color=color,
            capsize=4,
            elinewidth=1.5,
        )
    axes.set_yticks(range(len(table)), [row["backend"] for row in table])
    axes.set_ylim(-0.6, len(table) - 0.4)
    axes.set_xlabel("acceptance at a precision of 0.9, test")
    return figure


def each_draw(data: Draws) -> Section:
    """Every backend in every draw, with links to the draws' own pages."""
    rows = tuple(
        (
            str(row["seed"]),
            row["backend"],
            share(row["validation_precision"]),
            share(row["precision"]),
            share(row["acceptance"]),
            share(row["certified_acceptance"]) if row["certified"] else "none",
            share(row["certified_precision"]),
            seconds(row["seconds"]),
        )
        for row in data.by_draw.to_dict("records")
    )
    grid = Grid(
        title="Each draw",
        headers=(
            "Seed",
            "Backend",
            "Val. prec.",
            "Test prec.",
            "Test acc. at 0.9",
            "Certified acc.",
            "Certified prec., test",
            "Seconds",
        ),
        rows=rows,
        numeric=frozenset({0, *range(2, 8)}),
    )
    links = [
        Markup('<a href="{}/report.html">seed {}</a>').format(draw_path(Path(), seed), seed)
        for seed, run in data.runs.items()
        if (run.path / "report.html").is_file()
    ]
    pages = Markup("<p>The pages of the draws: {}.</p>").format(Markup(", ").join(links)) if links else Markup()
    return Section(title="Each draw", grids=(NamedTable(name="draws_each", grid=grid, frame=data.by_draw),), html=pages)


def pairs(data: Draws) -> Section | None:
    """Every pair of backends; None with a single backend."""
    if not data.gaps:
        return None
    named = data.backends
    grid = Grid(
        title="Every pair, by acceptance at 0.9 on test",
        headers=("First", "Second", "Draws", "First − second", "p", "p, Holm"),
        rows=tuple(
            (
                named[gap.first],
                named[gap.second],
                count(gap.draws),
                share(gap.value) + ("" if math.isnan(gap.low) else f" [{share(gap.low)}, {share(gap.high)}]"),
                MISSING if math.isnan(gap.p) else p_value(gap.p),
                MISSING if math.isnan(gap.p_holm) else p_value(gap.p_holm),
            )
            for gap in data.gaps
        ),
        numeric=frozenset(range(2, 6)),
    )
    frame = pd.DataFrame(
        [
            {
                "first": data.backends[gap.first],
                "second": data.backends[gap.second],
                "draws": gap.draws,
                "difference": gap.value,
                "low": gap.low,
                "high": gap.high,
                "p": gap.p,
                "p_holm": gap.p_holm,
            }
            for gap in data.gaps
        ]
    )
    return Section(title=_TITLE, grids=(NamedTable(name="draws_pairs", grid=grid, frame=frame),))


def these_draws(data: Draws) -> Section:
    """The command, the data and the versions."""
    run = next(iter(data.runs.values()))
    machines = dict.fromkeys(found.record.machine.cpu for found in data.runs.values())
    rows: list[tuple[str, object]] = [
        ("Data set", run.record.dataset.title or run.record.dataset.name),
        ("Content hash", run.record.dataset.hash),
        ("Split", run.record.split.rule),
        ("Seeds", ", ".join(map(str, data.runs))),
        ("Machine", "; ".join(filter(None, machines))),
        ("shelfbench", run.record.shelfbench),
        ("Versions", flat(run.record.versions)),
    ]
    parts = [pairs_html(rows)]
    if data.command:
        parts = [fill("note", text="This command repeats the draws:"), fill("code", text=data.command), *parts]
    return Section(title="These draws", html=Markup("\n").join(parts))


SECTIONS: tuple[SectionSpec[Draws], ...] = (
    SectionSpec(over_draws),
    SectionSpec(pairs, fold="Every pair"),
    SectionSpec(each_draw),
    SectionSpec(these_draws),
)


def sentences(data: Draws) -> list[str]:
    """Say which backends are best over the draws, and what that rests on.

    Parameters
    ----------
    data : Draws

    Returns
    -------
    list of str
        The first is the verdict.
    """
    frame = data.table.sort_values("acceptance_mean", ascending=False, kind="stable")
    rows = [row for row in frame.to_dict("records") if not math.isnan(row["acceptance_mean"])]
    if not rows:
        return [f"{number_of(len(data.runs), 'draw')} without test products: there is nothing to compare."]
    best, others = rows[0], rows[1:]
    spread = "" if pd.isna(best["acceptance_sd"]) else f" ± {100 * best['acceptance_sd']:.1f} points"
    draws = number_of(best["draws"], "draw")
    first = (
        f"{best['backend']} accepts {percent(best['acceptance_mean'])}{spread} of the test products at "
        f"90% precision, over {draws}"
    )
    level = [row["backend"] for row in others if row["tier"] == 1]
    untold = [row["backend"] for row in others if not row["tier"]]
    if level:
        first += f"; {listed(level)} cannot be told from it"
    elif others and not untold:
        first += "; every other backend accepts less, beyond the luck of the draws"
    promised = f"A precision of 90% was certified for it in {best['certified_draws']} of {draws}" + (
        f", with {percent(best['certified_acceptance_mean'])} of the products accepted and "
        f"{percent(best['certified_precision_mean'])} of those right on test, on average."
        if best["certified_draws"]
        else "."
    )
    few = [f"Two draws are needed to test {listed(untold)} against it."] if untold else []
    return [f"{first}.", promised, *few]


def build_draws(folder: Path, console: Console) -> str:
    """Write tables, figure and page over the draws of a folder.

    Parameters
    ----------
    folder : Path
    console : Console

    Returns
    -------
    str
        The table and the verdict, for the terminal.

    Raises
    ------
    InputError
        If there are no draws with results, or they rest on different data.
    """
    data = open_draws(folder)
    pieces = write_report(folder, SECTIONS, data, console=console)
    record = next(iter(data.runs.values())).record
    title = f"{record.dataset.title or record.dataset.name or folder.name} · {number_of(len(data.runs), 'draw')}"
    verdict, *lines = sentences(data)
    warnings = [f"Seed {seed} failed: {reason}" for seed, reason in data.failures.items()]
    head = fill("header", title=title, verdict=verdict, lines=lines, warnings=warnings)
    write_page(folder, title, pieces, header=head, console=console)
    return "\n\n".join([draws_grid(data, data.table).text(), verdict, *lines, *warnings])
