"""The page that people look at: one self-contained HTML file, the verdict first."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

from bench.console import Console
from bench.errors import InputError
from bench.report.choice import Choice, choose
from bench.report.claims import paper_note
from bench.report.inputs import RunDirectory, open_run
from bench.report.render import MISSING, Grid, count, duration, percent
from bench.report.table4 import table4_grid
from bench.report.tables import deciles_grid, metrics_grid, table1_grid, table2_grid, targets_of
from bench.storage import write_text

_NAMED = 50  # unreadable images listed by name; all of them are in run.json


def write_page(run_dir: Path, console: Console | None = None) -> None:
    """Write ``report.html`` from a run's record, tables and figures.

    Parameters
    ----------
    run_dir : Path
        A run directory with ``tables`` and ``figures`` written.
    console : Console, optional

    Raises
    ------
    InputError
        If there are no predictions, or a table that the page shows is missing or damaged.
    """
    console = console or Console(quiet=True)
    run = open_run(run_dir)
    table, metrics, deciles = (_read(run_dir / "tables" / f"{name}.csv") for name in ("table4", "metrics", "deciles"))
    choice = choose(table, metrics, run.record)
    dataset = run.record.get("dataset", {})
    title = str(dataset.get("title") or dataset.get("name") or run_dir.name)
    body = "\n".join(
        [
            _verdict(run, title, choice),
            table4_grid(table, run.record).html(),
            _figures(run_dir, (("figure5", "chart"), ("cost", "chart"))),
            _section("By size of category", deciles_grid(run, deciles).html()),
            _section("The data", _data(run)),
            _figures(run_dir, (("figure1", "photos"),)),
            _section("Training", _figures(run_dir, (("figure2", "chart"),))),
            _section(
                "Every number",
                _details(
                    "Per product and per image, on every split", metrics_grid(run, metrics, targets_of(metrics)).html()
                ),
            ),
            _section("This run", _record(run)),
        ]
    )
    style = (files("bench.report") / "page.css").read_text(encoding="utf-8")
    write_text(
        run_dir / "report.html",
        "\n".join(
            [
                "<!doctype html>",
                '<html lang="en">',
                "<head>",
                '<meta charset="utf-8">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                f"<title>{html.escape(title)} · shelfbench</title>",
                f"<style>\n{style}</style>",
                "</head>",
                f"<body>\n<main>\n{body}\n</main>\n</body>",
                "</html>",
            ]
        )
        + "\n",
    )
    console.log(f"report: {run_dir / 'report.html'}")


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing", "report on the whole run, which writes it") from error
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error})", "delete it and report again") from error


def _section(title: str, inside: str) -> str:
    return f"<section>\n<h2>{html.escape(title)}</h2>\n{inside}\n</section>" if inside else ""


def _details(summary: str, inside: str) -> str:
    return f"<details><summary>{html.escape(summary)}</summary>\n{inside}\n</details>"


def _text(text: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f"<p{attribute}>{html.escape(text)}</p>"


def _pairs(rows: Iterable[tuple[str, object]]) -> str:
    inside = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd>\n"
        for name, value in rows
        if value not in (None, "", MISSING)
    )
    return f"<dl>\n{inside}</dl>" if inside else ""


def _verdict(run: RunDirectory, title: str, choice: Choice | None) -> str:
    sizes = run.record.get("split", {})
    products = [count(sizes.get(split, {}).get("products")) for split in ("train", "validation", "test")]
    parts = [f"<header>\n<h1>{html.escape(title)} · {len(run.backends)} backend{'s' * (len(run.backends) != 1)}</h1>"]
    if choice is None:
        parts.append(_text("No backend can be chosen: the split has no validation products.", "verdict"))
    else:
        parts += [_text(choice.sentence(), "verdict"), _text(choice.reservation())]
    if choice and choice.test:
        test = choice.test
        numbers = [
            (percent(test["acceptance_90"]), "of test products accepted at a precision of at least 90%"),
            (percent(test["precision"]), "precision where every test product is accepted"),
            (
                duration(test["seconds"]),
                "to extract, fit and predict" + (", features reused" if test["cached"] else ""),
            ),
            (products[2], f"test products; {products[0]} to train, {products[1]} to validate"),
        ]
        parts.append(
            '<ul class="numbers">'
            + "".join(
                f"<li><b>{html.escape(number)}</b><span>{html.escape(meaning)}</span></li>"
                for number, meaning in numbers
            )
            + "</ul>"
        )
    parts += [
        _text(f"{name}: {_status(entry)}", "warn")
        for name, entry in run.record.get("backends", {}).items()
        if name not in run.backends
    ]
    return "\n".join([*parts, "</header>"])


def _status(entry: dict[str, Any]) -> str:
    status = str(entry.get("status", MISSING))
    return f"{status} ({entry['reason']})" if entry.get("reason") else status


_CAPTIONS = {
    "figure1": "Figure 1. Random products.",
    "figure2": "Figure 2. Learning rate against updates. Lines: the paper's recipes (Eq. 3), read "
    "with negative exponents, since the printed 7·10^5 and 10^4 would end training at once. "
    "Marks: what was used here.",
    "figure5": "Figure 5. Acceptance as a function of the required precision, on test. The stars are the two "
    f"points the paper states: {paper_note()}.",
    "cost": "What acceptance costs: acceptance at a precision of 0.9 on test, with 95% intervals, against "
    "seconds. † with features that were computed before, at what they cost then.",
}


def _figures(run_dir: Path, wanted: Iterable[tuple[str, str]]) -> str:
    parts = []
    for name, kind in wanted:
        # photos as PNG, drawings as SVG, which stay sharp; inside an <img> no script of an SVG can run
        path = run_dir / "figures" / (f"{name}.png" if kind == "photos" else f"{name}.svg")
        if not path.is_file():
            continue
        mime = "image/png" if kind == "photos" else "image/svg+xml"
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        caption = html.escape(_CAPTIONS[name])
        image = f'<img class="{kind}" alt="{caption}" src="data:{mime};base64,{data}">'
        parts.append(f'<figure class="chart"><div class="pan">{image}</div><figcaption>{caption}</figcaption></figure>')
    return "\n".join(parts)


def _data(run: RunDirectory) -> str:
    dataset, split = run.record.get("dataset", {}), run.record.get("split", {})
    excluded = dataset.get("excluded") or {}
    rows: list[tuple[str, object]] = [
        ("Data set", dataset.get("title") or dataset.get("name")),
        ("Source", dataset.get("source")),
        ("Licence", dataset.get("licence")),
        ("Content hash", dataset.get("hash")),
        ("In all", _sizes(dataset)),
        ("Levels", ", ".join(map(str, dataset.get("levels") or []))),
        ("Split", ", ".join(str(split[key]) for key in ("rule", "hash") if split.get(key))),
        (
            "Excluded",
            f"{count(excluded.get('products'))} products of {count(excluded.get('categories'))} "
            f"categories: {excluded.get('reason', MISSING)}"
            if excluded
            else None,
        ),
        ("Without a category", dataset.get("unlabelled")),
        ("Unreadable images", dataset.get("unreadable_images")),
        ("Duplicate images", _flat(dataset.get("duplicates"))),
        ("Notes", "; ".join(map(str, dataset.get("notes") or []))),
    ]
    parts = [table1_grid(run.record).html(), _pairs(rows)]
    if unreadable := dataset.get("unreadable") or []:
        more = len(unreadable) - _NAMED
        listed = Grid(
            "Images that could not be read; a product without any other is rejected",
            ("Record", "Reason"),
            tuple(
                (str(entry.get("record", MISSING)), str(entry.get("reason", MISSING))) for entry in unreadable[:_NAMED]
            ),
            frozenset(),
            (f"{more} more are named in run.json.",) if more > 0 else (),
        )
        parts.append(_details("Unreadable images by name", listed.html()))
    return "\n".join(parts)


def _sizes(dataset: dict[str, Any]) -> str:
    known = [
        f"{count(dataset[key])} {key}"
        for key in ("products", "images", "categories")
        if isinstance(dataset.get(key), int)
    ]
    return ", ".join(known)


def _flat(value: Any) -> str | None:
    """A small JSON value in words: groups 17, images 36; a long list is counted."""
    if isinstance(value, dict):
        return ", ".join(
            f"{str(key).replace('_', ' ')} " + (f"({_flat(inner)})" if isinstance(inner, dict) else str(_flat(inner)))
            for key, inner in value.items()
        )
    if isinstance(value, list):
        return ", ".join(str(_flat(inner)) for inner in value) if len(value) <= 12 else f"{len(value)} entries"
    if isinstance(value, float):
        return f"{value:.4g}"
    return None if value is None else str(value)


def _record(run: RunDirectory) -> str:
    record = run.record
    backends = Grid(
        "Backends",
        ("Backend", "Status", "Chosen on tune", "Peak memory", "Settings"),
        tuple(
            (
                name,
                _status(entry),
                _flat(entry.get("chosen") or None) or MISSING,
                f"{entry['peak_rss_mib']:,.0f} MiB" if entry.get("peak_rss_mib") else MISSING,
                _flat(entry.get("settings") or None) or MISSING,
            )
            for name, entry in record.get("backends", {}).items()
        ),
        frozenset({3}),
    )
    parts = []
    if command := record.get("command"):
        parts += [_text("This command makes it again:"), f"<pre>{html.escape(str(command))}</pre>"]
    parts += [
        table2_grid(record).html(),
        backends.html(),
        _pairs(
            [
                ("Status", record.get("status")),
                ("Seed", record.get("seed")),
                ("Started", record.get("started")),
                ("Finished", record.get("finished")),
                ("shelfbench", record.get("shelfbench")),
                ("Versions", _flat(record.get("versions"))),
            ]
        ),
    ]
    if study := record.get("study"):
        text = html.escape(json.dumps(study, indent=2, ensure_ascii=False))
        parts.append(_details("The study", f"<pre>{text}</pre>"))
    return "\n".join(parts)
