"""What only the page shows: the verdict at the top, the facts about the data, and the record of the run."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup

from shelfbench.base.grid import MISSING, Grid, count, duration, number_of, percent
from shelfbench.data.material import BY_PATH
from shelfbench.report.data import THIS_RUN, RunData
from shelfbench.report.ledger import claims_grid, findings
from shelfbench.report.merged import doubts as merge_doubts
from shelfbench.report.money import in_words
from shelfbench.report.render import fill, pairs_html
from shelfbench.report.section import NamedTable, Section
from shelfbench.report.tables import machine_table, sizes_table
from shelfbench.report.words import flat, status
from shelfbench.runs.data_line import data_line
from shelfbench.runs.data_record import DatasetRecord
from shelfbench.runs.entries import BackendEntry
from shelfbench.runs.record import RunRecord
from shelfbench.verdict.metrics import REQUIRED

_NAMED = 50  # unreadable images listed by name; all of them are in run.json


def title_of(data: RunData) -> str:
    """The page's title: the data, or the folder of the run."""
    return data.record.dataset.title or data.record.dataset.name or data.run.path.name


def header(data: RunData) -> Markup:
    """What can be promised, the numbers behind it, and the backends missing from the report."""
    found = data.run.headline
    number = len(data.run.backends)
    return fill(
        "verdict",
        title=f"{title_of(data)} · {number_of(number, 'backend')}",
        verdict=found.verdict,
        next=found.next,
        command=found.command,
        doubts=found.warnings,
        lines=[*found.details, *filter(None, [in_words(data)])],
        numbers=_numbers(data),
        warnings=[
            *filter(None, [data_line(data.record.dataset, data.record.split)]),
            *merge_doubts(data.record.merged),
            *(
                f"{name}: {status(entry)}"
                for name, entry in data.record.backends.items()
                if name not in data.run.backends
            ),
        ],
    )


def _numbers(data: RunData) -> list[tuple[str, str]]:
    """The few numbers that a manager reads first; what is promised before what was only measured."""
    choice, frame = data.choice, data.run.certified
    if choice is None or not choice.test:
        return []
    test, split = choice.test, data.record.split
    rows = frame[(frame["backend"] == choice.backend) & (frame["target"] == float(REQUIRED)) & frame["certified"]]
    train, validation, tested = (count(part.products) for part in (split.train, split.validation, split.test))
    if len(rows):
        row = rows.iloc[0]
        at_the_mix = f"{percent(row['mix_precision'])} at the catalogue's own mix of categories"
        first = [
            (
                percent(row["certified_acceptance"]),
                "of the products taken without a person, at a certified precision of 90%",
            ),
            (percent(row["certified_precision_test"]), f"of those taken are right on test; {at_the_mix}"),
        ]
    else:
        first = [
            ("none", "certified yet"),
            (percent(test["precision"]), "precision when every test product is accepted"),
        ]
    cost = "of this backend, to extract, fit and predict" + (", features reused" if test["cached"] else "")
    sizes = f"test products; {train} to train, {validation} to validate"
    return [*first, (duration(test["seconds"]), cost), (tested, sizes)]


def the_data(data: RunData) -> Section:
    """Table 1, and where the data come from."""
    dataset, split = data.record.dataset, data.record.split
    excluded = dataset.excluded
    known = excluded.products or excluded.categories or excluded.reason
    rows: list[tuple[str, object]] = [
        ("Data set", dataset.title or dataset.name),
        ("Source", dataset.source + (f": {dataset.name}" if dataset.source == BY_PATH else "")),
        ("Licence", dataset.licence),
        ("Content hash", dataset.hash),
        ("In all", _sizes(dataset)),
        ("Levels", ", ".join(dataset.levels)),
        ("Split", ", ".join(filter(None, (split.rule, split.hash)))),
        (
            "Excluded",
            f"{number_of(excluded.products or 0, 'product')} of "
            f"{number_of(excluded.categories or 0, 'category', 'categories')}: "
            f"{excluded.reason or MISSING}"
            if known
            else None,
        ),
        ("Size of the images", sizes_text(data.record)),
        ("Networks", "; ".join(data.record.networks.values())),
        ("Photos as the networks see them", "; ".join(f"{name}: {says}" for name, says in data.record.views.items())),
        ("Without a category", dataset.unlabelled),
        ("Unreadable images", dataset.unreadable_images),
        ("Duplicate images", flat(dataset.duplicates)),
        ("Notes", "; ".join(dataset.notes)),
    ]
    return Section(title="The data", grids=(sizes_table(split, papers=data.papers),), html=pairs_html(rows))


def sizes_text(record: RunRecord[Any]) -> str:
    """Say at which size each network sees the photos, and why; empty if no network's size is on record."""
    if record.sizes:
        return "; ".join(f"{name} at {size.pixels} px: {size.reason}" for name, size in record.sizes.items())
    pixels = record.study.get("pixels")
    return f"{pixels} px for networks, as the study fixes it" if isinstance(pixels, int) else ""


def _sizes(dataset: DatasetRecord) -> str:
    sizes = {key: getattr(dataset, key) for key in ("products", "images", "categories")}
    return ", ".join(f"{count(size)} {key}" for key, size in sizes.items() if size is not None)


def unreadable(data: RunData) -> Section | None:
    """Images that could not be read; None if all could."""
    found = data.record.dataset.unreadable
    if not found:
        return None
    more = len(found) - _NAMED
    grid = Grid(
        title="Images that could not be read; a product with no other image is rejected",
        headers=("Record", "Reason"),
        rows=tuple((entry.record or MISSING, entry.reason or MISSING) for entry in found[:_NAMED]),
        notes=(f"{more} more are named in run.json.",) if more > 0 else (),
    )
    return Section(title="The data", grids=(NamedTable(name="", grid=grid),))


def claims(data: RunData) -> Section | None:
    """The papers' numbers next to those of this report's tables; None where the papers do not matter."""
    if not data.papers:
        return None
    grid = claims_grid(findings(data.run.path, data.tables))
    return Section(title="Every number", grids=(NamedTable(name="", grid=grid),))


def command(data: RunData) -> Section | None:
    """The command that repeats the run; None if it is not on record."""
    if not data.record.command:
        return None
    return Section(
        title=THIS_RUN,
        notes=("This command repeats the run:",),
        html=fill("code", text=data.record.command),
    )


def _settings(entry: BackendEntry) -> dict[str, Any]:
    """Return the settings of a backend, without weights where the network's file holds them."""
    backbone = entry.settings.get("backbone")
    if not isinstance(backbone, dict) or not str(backbone.get("name")).endswith((".onnx", ".keras")):
        return entry.settings
    return {**entry.settings, "backbone": {key: value for key, value in backbone.items() if key != "weights"}}


def this_run(data: RunData) -> Section:
    """Table 2, the backends with their settings, and when and with which versions the run was made."""
    record = data.record
    backends = Grid(
        title="Backends",
        headers=("Backend", "Status", "Chosen on tune", "Peak memory", "Settings"),
        rows=tuple(
            (
                name,
                status(entry),
                flat(entry.chosen) or MISSING,
                f"{entry.peak_rss_mib:,.0f} MiB" if entry.peak_rss_mib else MISSING,
                flat(_settings(entry)) or MISSING,
            )
            for name, entry in record.backends.items()
        ),
        numeric=frozenset({3}),
    )
    rows: list[tuple[str, object]] = [
        ("Status", record.status),
        ("Seed", record.seed),
        ("Started", record.started),
        ("Finished", record.finished),
        ("shelfbench", record.shelfbench),
        ("Versions", flat(record.versions)),
    ]
    return Section(
        title=THIS_RUN,
        grids=(machine_table(record.machine, papers=data.papers), NamedTable(name="", grid=backends)),
        html=pairs_html(rows),
    )


def the_study(data: RunData) -> Section | None:
    """All settings of the study; None if they are not on record."""
    if not data.record.study:
        return None
    settings = json.dumps(data.record.study, indent=2, ensure_ascii=False)
    return Section(title=THIS_RUN, html=fill("code", text=settings))
