"""The ledger of the papers' numbers as files and as a page: what came out, and what would settle what is open."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from shelfbench.base.console import Console
from shelfbench.base.grid import MISSING, Grid
from shelfbench.report.claims import Missing, load_missing, paper_note
from shelfbench.report.ledger import DIFFERS, HELD, NOWHERE, OTHER, Finding, claims_grid, findings
from shelfbench.report.render import Piece, fill, table_html, write_forms, write_page
from shelfbench.runs.record import RECORD

PAGE = "claims.html"
OPEN = "What is open, and what would settle it"
_TITLE = "The numbers of two papers beside ours"
_VERDICTS = {HELD: "held by a test", DIFFERS: "contradicted", OTHER: "other data", NOWHERE: "not measured"}
# of C and of X: the headings of the page, and how the place of a claim begins
_PARTS = (
    ("C, Table 4: precision of each row", "C, Table 4"),
    ("C, Tables 1 and 2: data and machine", "C, Table 1", "C, Table 2"),
    ("C, Table 3: what training costs", "C, Table 3"),
    ("C, Figures 3, 5 and 7, and the errors", "C, §4.2 and Fig. 3", "C, §5.3", "C, §5.4"),
    ("C, recipes and requirements", "C,"),
    ("X, Table 1: ImageNet", "X, Table 1"),
    ("X, Table 2: JFT", "X, Table 2"),
    ("X, Table 3: size and speed", "X, Table 3"),
    ("X, the rest", "X,"),
)


def is_open(one: Finding) -> bool:
    """Whether a claim is neither held by a test nor contradicted by its own paper."""
    return one.status in (OTHER, NOWHERE)


def _write_page(directory: Path, found: list[Finding], console: Console) -> None:
    missing = load_missing()
    pieces = [Piece(OPEN, "", _what_is_missing(missing, found)), *_parts(found, missing), _meaning(found)]
    write_page(directory, _TITLE, pieces, header=_header(found), console=console, name=PAGE)


def _header(found: list[Finding]) -> Markup:
    counts = {status: sum(one.status == status for one in found) for status in _VERDICTS}
    undecided = sum(map(is_open, found))
    return fill(
        "verdict",
        title=_TITLE,
        verdict=f"Of {len(found)} numbers, {counts[HELD]} are held by a test and {counts[DIFFERS]} contradict what "
        f"their own paper says elsewhere; {undecided} stay open, because their data cannot be had here.",
        next=f"For {counts[OTHER]} of the open ones something comparable was measured, on other products or another "
        "machine. It stands beside them and neither confirms nor refutes them. Where to begin: with Cdiscount's public "
        "release, on two cores or better a GPU, these commands repeat the first paper's experiments.",
        command="\n".join(load_missing()[0].commands),
        doubts=[],
        numbers=[
            (str(counts[HELD]), "held: they need no data, and a test computes them"),
            (str(counts[DIFFERS]), "contradicted by the paper's own arithmetic"),
            (str(counts[OTHER]), "open, with a number of ours on other data beside them"),
            (str(counts[NOWHERE]), "open, and nothing like them measured here"),
        ],
        lines=[
            "C: Li et al., Classification d'images pour la catégorisation de produits sur un site de e-commerce, "
            "APIA 2018. X: Chollet, Xception, arXiv 1610.02357.",
            paper_note("C")[:1].upper() + paper_note("C")[1:] + ".",
        ],
        warnings=[],
    )


def _what_is_missing(missing: list[Missing], found: list[Finding]) -> Markup:
    still = {one.claim.id for one in found if is_open(one)}
    parts = []
    for one in missing:
        names = [name for name in one.claims if name in still]
        if not names:
            continue
        parts += [
            fill("heading", text=f"{one.number}. {one.name}"),
            fill(
                "pairs",
                rows=[
                    row
                    for row in (
                        ("Claims", ", ".join(names)),
                        ("Needs", one.needs),
                        ("Takes", one.takes),
                        ("Stays open", one.leaves),
                    )
                    if row[1]
                ],
            ),
            *([fill("code", text="\n".join(one.commands))] if one.commands else []),
        ]
    return Markup("\n").join(parts)


def _parts(found: list[Finding], missing: list[Missing]) -> list[Piece]:
    """The claims by the table of the paper that prints them, each in the first part that takes it."""
    numbers = {name: one.number for one in missing for name in one.claims}
    left = list(found)
    pieces = []
    for title, *places in _PARTS:
        own = [one for one in left if one.claim.where.startswith(tuple(places))]
        left = [one for one in left if one not in own]
        if not own:
            continue
        rows = [_row(one, numbers) for one in own]
        grids = [_whole(rows)]
        if title.startswith("C, Table 4"):
            grids.insert(0, _table4(own))
        pieces.append(Piece(title, "", Markup("\n").join(map(table_html, grids))))
    return pieces


def _row(one: Finding, numbers: dict[str, str]) -> tuple[str, ...]:
    reading = "; ".join(filter(None, [one.claim.reading, one.recomputed and f"recomputed: {one.recomputed}"]))
    return (
        one.claim.id,
        one.claim.where,
        one.claim.meaning,
        one.claim.printed,
        reading or MISSING,
        one.measured or MISSING,
        one.on.partition(":")[0] or MISSING,
        _VERDICTS[one.status],
        numbers.get(one.claim.id, MISSING) if is_open(one) else MISSING,
    )


def _whole(rows: Iterable[tuple[str, ...]]) -> Grid:
    return Grid(
        title="Claim by claim",
        headers=("Claim", "Where", "What", "The paper", "How it is read", "Ours", "Run", "Verdict", "Settled by"),
        rows=tuple(rows),
    )


def _table4(own: list[Finding]) -> Grid:
    """Cell by cell: the paper's precision beside ours, on the data of each."""
    rows = []
    for one in own:
        value = one.claim.value
        train, validation = [cell.split()[0] for cell in one.measured.split(", ")] if one.measured else [MISSING] * 2
        rows.append(
            (
                one.claim.id,
                str(value["feature"]),
                str(value["classifier"]),
                str(value["fine_tuning"]),
                f"{value['train']:.3f}",
                train,
                f"{value['validation']:.3f}",
                validation,
            )
        )
    return Grid(
        title="Cell by cell",
        headers=(
            "Claim",
            "Feature",
            "Classifier",
            "Fine-tuning",
            "Train, paper",
            "Train, ours",
            "Validation, paper",
            "Validation, ours",
        ),
        rows=tuple(rows),
        numeric=frozenset(range(4, 8)),
        notes=("The paper's on 1,000 categories of Cdiscount; ours on the data of the run named below.",),
    )


def _meaning(found: list[Finding]) -> Piece:
    return Piece(
        "What the verdicts mean", "", Markup("\n").join(fill("note", text=text) for text in claims_grid(found).notes)
    )


def write_claims(directory: Path, console: Console) -> str:
    """Write ``claims.{csv,md,tex}`` into the tables of a run, or next to several runs, and ``claims.html``.

    Parameters
    ----------
    directory : Path
        A run directory, or a folder of run directories.
    console : Console
        Where progress goes.

    Returns
    -------
    str
        A short form for the terminal.

    Raises
    ------
    InputError
        If no run is found, or a file of one is damaged.
    """
    found = findings(directory)
    grid = claims_grid(found)
    frame = pd.DataFrame(
        [
            {
                "claim": one.claim.id,
                "where": one.claim.where,
                "meaning": one.claim.meaning,
                "data": one.claim.data,
                "printed": one.claim.printed,
                "reading": one.claim.reading,
                "recomputed": one.recomputed,
                "measured": one.measured,
                "on": one.on,
                "status": one.status,
            }
            for one in found
        ]
    )
    folder = directory / "tables" if (directory / RECORD).is_file() else directory
    write_forms(folder, "claims", frame, grid)
    _write_page(directory, found, console)
    short = Grid(
        title=grid.title,
        headers=("Claim", "Printed", "Recomputed", "Measured here", "Status"),
        rows=tuple(
            (
                one.claim.id,
                one.claim.printed,
                one.recomputed or MISSING,
                one.measured or MISSING,
                one.status,
            )
            for one in found
        ),
        notes=grid.notes,
    )
    return short.text()
