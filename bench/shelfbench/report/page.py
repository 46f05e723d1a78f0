"""The page that people look at: one self-contained HTML file, the verdict first."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.grid import MISSING, Grid, count, duration, percent
from shelfbench.base.storage import write_text
from shelfbench.report.certified import read_certified
from shelfbench.report.claims import paper_note
from shelfbench.report.elements import details, document, encoded, flat, pairs, picture, section, status, text
from shelfbench.report.explorer import explorer_data, explorer_html
from shelfbench.report.ledger import claims_grid, findings
from shelfbench.report.table4 import table4_grid
from shelfbench.report.tables import deciles_grid, metrics_grid, table1_grid, table2_grid
from shelfbench.runs.choice import Choice, choose
from shelfbench.runs.directory import Run, open_run
from shelfbench.runs.frames import targets_of

_NAMED = 50  # unreadable images listed by name; all of them are in run.json


def write_page(run_dir: Path | Run, console: Console | None = None) -> None:
    """Write ``report.html`` from a run's record, tables and figures.

    Parameters
    ----------
    run_dir : Path or Run
        A run directory with ``tables`` and ``figures`` written.
    console : Console, optional

    Raises
    ------
    InputError
        If there are no predictions, or a table that the page shows is missing or damaged.
    """
    console = console or Console(quiet=True)
    run = open_run(run_dir)
    table, metrics, deciles = (_read(run.path / "tables" / f"{name}.csv") for name in ("table4", "metrics", "deciles"))
    choice = choose(table, metrics, run.record)
    dataset = run.record.get("dataset", {})
    title = str(dataset.get("title") or dataset.get("name") or run.path.name)
    data = explorer_data(run)
    body = "\n".join(
        [
            _verdict(run, title, choice),
            explorer_html(data, choice.backend if choice else None) if data else "",
            section("Table 4", table4_grid(table, run.record).html() + _figures(run.path, ("figure5",))),
            section("What can be promised", _tables(run.path, "certified") + _figures(run.path, ("reliability",)))
            + _more(run.path, "Calibration, measures of confidence, photos of a product", _TRUST),
            section("Which backend is better", _tables(run.path, "comparison_matrix")),
            _more(run.path, "Every pair", ("comparison",)),
            section("What it costs", _figures(run.path, ("cost",))),
            section(
                "Where it errs", _tables(run.path, *_ERRORS) + _confusions(run.path) + _figures(run.path, ("figure7",))
            ),
            _more(run.path, "Best and worst categories, the surest errors, categories kept", _KINDS),
            details("By size of category", deciles_grid(run, deciles).html()),
            section("What to doubt", _tables(run.path, "leakage", "label_noise")),
            _more(run.path, "Labels to look at", ("suspects",)),
            section("The data", _data(run)),
            _figures(run.path, ("figure1",)),
            section("Training", _figures(run.path, ("figure2",))),
            section(
                "Every number",
                details(
                    "Per product and per image, on every split", metrics_grid(run, metrics, targets_of(metrics)).html()
                )
                + details("The papers' numbers beside this run's", claims_grid(findings(run.path)).html()),
            ),
            section("This run", _record(run)),
        ]
    )
    write_text(run.path / "report.html", document(title, body))
    console.log(f"report: {run.path / 'report.html'}")


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing", "report on the whole run, which writes it") from error
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error})", "delete it and report again") from error


def _verdict(run: Run, title: str, choice: Choice | None) -> str:
    sizes = run.record.get("split", {})
    products = [count(sizes.get(split, {}).get("products")) for split in ("train", "validation", "test")]
    parts = [f"<header>\n<h1>{html.escape(title)} · {len(run.backends)} backend{'s' * (len(run.backends) != 1)}</h1>"]
    if choice is None:
        parts.append(text("No backend can be chosen: the split has no validation products.", "verdict"))
    else:
        parts += [text(choice.sentence(), "verdict"), text(choice.reservation())]
        if promise := choice.promise(read_certified(run.path)):
            parts.append(text(promise, "promise"))
    if choice and choice.test:
        test = choice.test
        numbers = [
            (
                percent(test["acceptance_90"]),
                "of test products accepted at a precision of at least 90% (plain: the best threshold on test itself)",
            ),
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
        text(f"{name}: {status(entry)}", "warn")
        for name, entry in run.record.get("backends", {}).items()
        if name not in run.backends
    ]
    return "\n".join([*parts, "</header>"])


_TRUST = ("calibration", "measures", "aggregation")
_ERRORS = ("worst_categories", "departments", "confusions", "category_gain")
_KINDS = ("extreme_categories", "surest_errors", "categories")
_CAPTIONS = {
    "figure1": "Figure 1. Random products.",
    "figure2": "Figure 2. Learning rate against updates. Lines: the paper's recipes (Eq. 3), read "
    "with negative exponents, since the printed 7·10^5 and 10^4 would end training at once. "
    "Marks: what was used here.",
    "figure5": "Figure 5. Plain acceptance as a function of the required precision, on test. The stars are the two "
    f"points the paper states: {paper_note()}.",
    "figure7": "Figure 7. Precision (left) and acceptance at a precision of 0.9 (right), cumulated over the predicted "
    "categories, best first: ranked on one half of tune, thresholds from its other half, both read on test.",
    "reliability": "Reliability on test: how often a backend is right where it claims a probability, before and after "
    "one temperature was fitted on tune. On the diagonal a claim is true.",
    "cost": "What acceptance costs: plain acceptance at a precision of 0.9 on test, with 95% intervals, against "
    "seconds. † with features that were computed before, at what they cost then.",
}


def _figures(run_dir: Path, wanted: Iterable[str]) -> str:
    parts = []
    for name in wanted:
        # photos as PNG, drawings as SVG, which stay sharp
        kind = "photos" if name == "figure1" else "chart"
        path = run_dir / "figures" / (f"{name}.png" if kind == "photos" else f"{name}.svg")
        if path.is_file():
            parts.append(picture(path, _CAPTIONS[name], kind))
    return "\n".join(parts)


def _tables(run_dir: Path, *wanted: str) -> str:
    """Tables of the run by name; those that it lacks are left out."""
    parts = []
    for name in wanted:
        path = run_dir / "tables" / f"{name}.md"
        if not path.is_file():
            continue
        try:
            parts.append(Grid.of_markdown(path.read_text(encoding="utf-8")).html())
        except (ValueError, OSError) as error:
            raise InputError(f"{path} cannot be read ({error})", "delete it and report again") from error
    return "\n".join(parts)


def _more(run_dir: Path, summary: str, wanted: Iterable[str]) -> str:
    inside = _tables(run_dir, *wanted)
    return details(summary, inside) if inside else ""


def _confusions(run_dir: Path) -> str:
    """The surest errors with their photos (Figure 6), and a switch that puts all photos away."""
    folder = run_dir / "figures" / "confusions"
    listed = folder / "confusions.json"
    if not listed.is_file():
        return ""
    try:
        entries = json.loads(listed.read_text(encoding="utf-8"))
        items = "".join(
            f'<li><img alt="" src="data:image/jpeg;base64,{encoded(folder / Path(entry["file"]).name)}">'
            f"{html.escape(str(entry['category']))} → <b>{html.escape(str(entry['predicted']))}</b><br>"
            f"{percent(float(entry['probability']))} sure · {html.escape(str(entry['product_id']))}</li>"
            for entry in entries
        )
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(f"{listed} cannot be read ({error})", "delete its folder and run the study again") from error
    return (
        "<h3>Figure 6. The surest errors: true category → <b>what it was put into</b></h3>"
        '<p><label><input type="checkbox" id="pictures" checked> Show photos</label></p>'
        f'<ul class="thumbs">{items}</ul>'
    )


def _data(run: Run) -> str:
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
        ("Duplicate images", flat(dataset.get("duplicates"))),
        ("Notes", "; ".join(map(str, dataset.get("notes") or []))),
    ]
    parts = [table1_grid(run.record).html(), pairs(rows)]
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
        parts.append(details("Unreadable images by name", listed.html()))
    return "\n".join(parts)


def _sizes(dataset: dict[str, Any]) -> str:
    known = [
        f"{count(dataset[key])} {key}"
        for key in ("products", "images", "categories")
        if isinstance(dataset.get(key), int)
    ]
    return ", ".join(known)


def _record(run: Run) -> str:
    record = run.record
    backends = Grid(
        "Backends",
        ("Backend", "Status", "Chosen on tune", "Peak memory", "Settings"),
        tuple(
            (
                name,
                status(entry),
                flat(entry.get("chosen") or None) or MISSING,
                f"{entry['peak_rss_mib']:,.0f} MiB" if entry.get("peak_rss_mib") else MISSING,
                flat(entry.get("settings") or None) or MISSING,
            )
            for name, entry in record.get("backends", {}).items()
        ),
        frozenset({3}),
    )
    parts = []
    if command := record.get("command"):
        parts += [text("This command makes it again:"), f"<pre>{html.escape(str(command))}</pre>"]
    parts += [
        table2_grid(record).html(),
        backends.html(),
        pairs(
            [
                ("Status", record.get("status")),
                ("Seed", record.get("seed")),
                ("Started", record.get("started")),
                ("Finished", record.get("finished")),
                ("shelfbench", record.get("shelfbench")),
                ("Versions", flat(record.get("versions"))),
            ]
        ),
    ]
    if study := record.get("study"):
        whole = html.escape(json.dumps(study, indent=2, ensure_ascii=False))
        parts.append(details("The study", f"<pre>{whole}</pre>"))
    return "\n".join(parts)
