"""Backends compared with each other: the tables, and what ``shelfbench compare`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.errors import InputError
from shelfbench.base.grid import MISSING, Grid, share
from shelfbench.base.screen import printable
from shelfbench.report.data import BETTER, RunData, held_out
from shelfbench.report.section import NamedTable, Section
from shelfbench.runs.directory import open_run
from shelfbench.runs.reading import Evaluated
from shelfbench.verdict.compare import Comparison, Contestant, Difference, McNemar, compare, enough_resamples
from shelfbench.verdict.gate import Change
from shelfbench.verdict.metrics import REQUIRED, acceptance, exact_target

_ALPHA = 0.05
_PLAIN = (
    "Acceptance is plain: each threshold is set on the very test products that it is measured on, and again on every "
    "resample; it is not a certified promise."
)
_ACCEPTED_NOTE = (
    "Accepted and right: by the threshold fixed on tune. That test compares the two backends with their thresholds as "
    "they stand; a difference may come from the backends, or from the luck of fixing a threshold on few products."
)


def compare_backends(
    products: Mapping[str, Evaluated], target: str = REQUIRED, *, resamples: int | None = None, seed: int = 0
) -> tuple[Comparison, ...]:
    """Compare all pairs of backends on test; parameters as in `shelfbench.verdict.compare.compare`."""
    return compare([_contestant(*item, target) for item in products.items()], target, resamples=resamples, seed=seed)


def _contestant(name: str, products: Evaluated, target: str) -> Contestant:
    test, tune = products.where(products.split == "test"), products.where(products.role == "tune")
    threshold = acceptance(tune.confidence, tune.correct, target).threshold if len(tune.truth) else float("nan")
    return Contestant(
        name=name,
        product_id=test.product_id,
        confidence=test.confidence,
        correct=test.correct,
        threshold=threshold,
    )


def compared(data: RunData) -> tuple[Comparison, ...]:
    """Compare all pairs of a run's backends; empty with fewer than two backends or without test products."""
    products = data.held_out
    if len(products) < 2 or not all(np.any(one.split == "test") for one in products.values()):
        return ()
    return compare_backends(products, seed=data.seed)


def comparison_matrix(data: RunData) -> Section | None:
    """All pairs in a matrix; None if there are none."""
    found = data.once(compared)
    if not found:
        return None
    grid = matrix_grid(found, REQUIRED, enough_resamples(len(found)))
    return Section(title=BETTER, grids=(NamedTable(name="comparison_matrix", grid=grid, frame=matrix_frame(found)),))


def comparison(data: RunData) -> Section | None:
    """All numbers of all pairs; None if there are none."""
    found = data.once(compared)
    if not found:
        return None
    grid = comparison_grid(found, REQUIRED, enough_resamples(len(found)))
    table = NamedTable(name="comparison", grid=grid, frame=comparison_frame(found, REQUIRED))
    return Section(title=BETTER, grids=(table,))


def comparison_frame(found: Sequence[Comparison], target: str) -> pd.DataFrame:
    """All numbers of all pairs, one row per pair."""
    rows = []
    for pair in found:
        row: dict[str, Any] = {
            "first": pair.first,
            "second": pair.second,
            "products": pair.products,
            "target": float(exact_target(target)),
        }
        for name, moved in (("precision", pair.precision), ("acceptance", pair.acceptance)):
            row |= {
                f"{name}_first": moved.first,
                f"{name}_second": moved.second,
                f"{name}_difference": moved.value,
                f"{name}_low": moved.low,
                f"{name}_high": moved.high,
                f"{name}_p": moved.p,
                f"{name}_p_holm": moved.p_holm,
            }
        for name, test in (("right", pair.correct), ("accepted_right", pair.accepted)):
            row |= {
                f"{name}_first_only": test.first,
                f"{name}_second_only": test.second,
                f"{name}_p": test.p,
                f"{name}_p_holm": test.p_holm,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def comparison_grid(found: Sequence[Comparison], target: str, resamples: int) -> Grid:
    """All pairs, one row each."""
    rows = tuple(
        (
            pair.first,
            pair.second,
            change_text(pair.precision),
            _only(pair.correct),
            p_value(pair.correct.p_holm),
            change_text(pair.acceptance),
            p_value(pair.acceptance.p_holm),
            _only(pair.accepted),
            p_value(pair.accepted.p_holm),
        )
        for pair in found
    )
    return Grid(
        title=f"Backends compared on {found[0].products:,} test products",
        headers=(
            "First",
            "Second",
            "Precision, first − second",
            "Right: only first / second",
            "p",
            f"Acceptance at {target}, first − second",
            "p",
            "Accepted and right: only first / second",
            "p",
        ),
        rows=rows,
        numeric=frozenset(range(2, 9)),
        notes=(
            f"Intervals: 95%, {resamples:,} bootstrap resamples of the products, the same for both. p: for precision "
            "and for accepted and right by the exact McNemar test, for acceptance by the bootstrap; adjusted by Holm's "
            f"method for {_all_pairs(len(found))}. {_PLAIN}",
            _ACCEPTED_NOTE,
        ),
    )


def _all_pairs(number: int) -> str:
    return f"all {number} pairs" if number > 1 else "the one pair"


def matrix_frame(found: Sequence[Comparison]) -> pd.DataFrame:
    """Differences, row minus column: in acceptance above the diagonal, in precision below it."""
    names = _names(found)
    table = pd.DataFrame(np.nan, index=names, columns=names)
    for pair in found:
        table.loc[pair.first, pair.second] = pair.acceptance.value
        table.loc[pair.second, pair.first] = -pair.precision.value
    return table.rename_axis("backend").reset_index()


def matrix_grid(found: Sequence[Comparison], target: str, resamples: int) -> Grid:
    """All pairs in a matrix, with a star where a difference is significant after Holm's adjustment."""
    backends = _names(found)
    cells = [[MISSING] * len(backends) for _ in backends]
    for pair in found:
        first, second = backends.index(pair.first), backends.index(pair.second)
        cells[first][second] = _signed(pair.acceptance.value) + _star(pair.acceptance.p_holm)
        cells[second][first] = _signed(-pair.precision.value) + _star(pair.correct.p_holm)
    return Grid(
        title=f"Backends compared, row minus column, on {found[0].products:,} test products",
        headers=("Backend", *(str(number) for number in range(1, len(backends) + 1))),
        rows=tuple((f"{number}. {name}", *cells[number - 1]) for number, name in enumerate(backends, 1)),
        numeric=frozenset(range(1, len(backends) + 1)),
        notes=(
            f"Above the diagonal: difference in acceptance at {target}. Below it: difference in precision over all "
            "products. A star marks a difference that is significant at 5% after Holm's adjustment for "
            f"{_all_pairs(len(found))}, for acceptance by the bootstrap ({resamples:,} resamples of the "
            "products), for precision by the exact McNemar test.",
            _PLAIN,
        ),
    )


def compare_text(
    run_dir: Path,
    backends: Sequence[str],
    *,
    target: str = REQUIRED,
    resamples: int | None = None,
    seed: int = 0,
) -> str:
    """Return what ``shelfbench compare`` prints: two backends in words, or the matrix of all.

    Parameters
    ----------
    run_dir : Path
    backends : sequence of str
        Two names; with fewer, all backends are compared.
    target : str
        Required precision.
    resamples : int, optional
        As in `shelfbench.verdict.compare.compare`.
    seed : int
        Fixes the resamples.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If the directory has no run, a backend is unknown or named twice, or there is nothing to compare.
    """
    wanted = exact_target(target)
    if not 0 < wanted <= 1:
        raise InputError(f"a precision of {target} requires nothing", "give one above 0 and up to 1, like 0.9")
    if seed < 0:
        raise InputError(f"the seed {seed} is negative", "give 0 or more")
    run = open_run(run_dir)
    for name in backends:
        if name not in run.backends:
            raise InputError(f"{run_dir} has no backend {name!r}", f"it has {', '.join(run.backends)}")
    if len(backends) == 2 and backends[0] == backends[1]:
        raise InputError(f"{backends[0]} is named twice", "name two backends")
    chosen = tuple(backends) if len(backends) == 2 else run.sound
    products = {name: held_out(run.products(name)) for name in chosen}
    found = compare_backends(products, target, resamples=resamples, seed=seed)
    drawn = resamples or enough_resamples(len(found))
    if len(found) > 1:
        return matrix_grid(found, target, drawn).text()
    return _in_words(found[0], target, drawn)


def _in_words(pair: Comparison, target: str, resamples: int) -> str:
    rows: list[tuple[str, ...]] = []
    for title, moved, p in (
        ("precision", pair.precision, pair.correct.p),
        (f"acceptance at {target}", pair.acceptance, pair.acceptance.p),
    ):
        rows.append((title, share(moved.first), share(moved.second), change_text(moved), p_value(p)))
    for title, test in (("right", pair.correct), ("accepted and right", pair.accepted)):
        rows.append((f"{title}: only this one", f"{test.first:,}", f"{test.second:,}", MISSING, p_value(test.p)))
    grid = Grid(
        title="",
        headers=(f"{pair.products:,} test products", "A", "B", "A − B [95%]", "p"),
        rows=tuple(rows),
        numeric=frozenset({1, 2, 3, 4}),
        notes=(
            f"p: exact McNemar test; for acceptance, bootstrap ({resamples:,} resamples of the products, the same for "
            "both, each with its own best threshold). Not adjusted, since only one pair was compared.",
            "Acceptance: plain, its threshold set on these test products. Accepted: by the threshold fixed on tune.",
        ),
    )
    sentences = [
        _sentence("is right on", "of all test products", pair.precision, pair.correct.p),
        _sentence("can accept", f"of them at a precision of {target}", pair.acceptance, pair.acceptance.p),
    ]
    sides = [f"{side}: {printable(name)}" for side, name in (("A", pair.first), ("B", pair.second))]
    return "\n".join([*sentences, "", *sides, grid.text()])


def _sentence(verb: str, of_what: str, moved: Difference, p: float) -> str:
    size = f"{100 * abs(moved.value):.1f} points"
    ends = sorted((abs(moved.low), abs(moved.high))) if moved.low * moved.high > 0 else None
    if p > _ALPHA:
        return (
            f"A {verb} {share(moved.first)} {of_what}, B {share(moved.second)}: {size}, which chance alone may explain "
            f"(p = {p_value(p)})."
        )
    between = f" (95% interval {100 * ends[0]:.1f} to {100 * ends[1]:.1f})" if ends else ""
    word = "more" if moved.value > 0 else "less"
    return f"A {verb} {share(moved.first)} {of_what}, B {share(moved.second)}: {size} {word}{between}."


def _names(found: Sequence[Comparison]) -> list[str]:
    return list(dict.fromkeys([pair.first for pair in found] + [pair.second for pair in found]))


def _signed(value: float) -> str:
    # no sign if it rounds to zero
    text = share(abs(value))
    return text if round(abs(value), 3) == 0 else ("+" if value > 0 else "-") + text


def change_text(moved: Difference | Change) -> str:
    """Write a difference and its interval: +0.012 [+0.003, +0.021]."""
    return f"{_signed(moved.value)} [{_signed(moved.low)}, {_signed(moved.high)}]"


def _only(test: McNemar) -> str:
    return MISSING if np.isnan(test.p) else f"{test.first:,} / {test.second:,}"


def _star(p: float) -> str:
    return "*" if p <= _ALPHA else ""


def p_value(p: float) -> str:
    """Write a p value: 0.034, < 0.001, or – if nothing was tested."""
    return "< 0.001" if p < 0.001 else share(p)
