"""Tables 1 and 2 of X, from the run directories of the experiments ``imagenet`` and ``multilabel``."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import pyarrow as pa
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.grid import MISSING, Grid, count, share
from shelfbench.base.storage import write_text
from shelfbench.report.claims import load_claims
from shelfbench.report.elements import details, document, header, picture, section, status, text
from shelfbench.report.measured import display
from shelfbench.report.render import save_figure
from shelfbench.report.style import STYLE, marks
from shelfbench.report.tables import write_table

_AGAIN = "run the study again in this directory, or name another"


def write_table1x(directory: Path, console: Console) -> str:
    """Write ``tables/table1x`` (top-1 and top-5 on ImageNet, X's Table 1) and ``report.html``.

    Parameters
    ----------
    directory : Path
        A run directory of the experiment ``imagenet``.
    console : Console

    Returns
    -------
    str
        The table, for the terminal.

    Raises
    ------
    InputError
        If the directory holds no such run, or none of its networks is done.
    """
    record = _record(directory)
    done = {entry["network"]: entry for entry in _done(directory, record) if "network" in entry}
    paper = {claim.value["network"]: claim.value for claim in load_claims().values() if "top_5" in claim.value}
    frame = pd.DataFrame(
        [
            {
                "network": network,
                **{key: done.get(network, {}).get(key) for key in ("pixels", "images", "unreadable", "top_1", "top_5")},
                "weights": done.get(network, {}).get("weights"),
                "paper_top_1": paper.get(network, {}).get("top_1"),
                "paper_top_5": paper.get(network, {}).get("top_5"),
            }
            for network in dict.fromkeys([*paper, *done])
        ]
    ).astype(dict.fromkeys(("pixels", "images", "unreadable"), "Int64"))
    rows = tuple(
        (
            display(str(row["network"])),
            *(MISSING if pd.isna(row[key]) else count(int(row[key])) for key in ("pixels", "images")),
            *(share(_number(row[key])) for key in ("top_1", "paper_top_1", "top_5", "paper_top_5")),
        )
        for row in frame.to_dict("records")
    )
    categories = record.get("dataset", {}).get("categories")
    notes = [
        "Single crop, single model: the short side is resized to round(pixels / 0.875), the central square taken. "
        "An image that cannot be read counts as wrong.",
        "The paper leaves out the blacklisted images of the validation set; here every image in the folder counts.",
    ]
    if unreadable := max((int(entry["unreadable"]) for entry in done.values()), default=0):
        notes.append(f"{unreadable:,} images cannot be read.")
    if any(entry["weights"] == "none" for entry in done.values()):
        notes.insert(0, f"A rehearsal on {categories} classes with random weights: our numbers are those of chance.")
    heads = ("Network", "Pixels", "Images", "Top 1", "Paper: top 1", "Top 5", "Paper: top 5")
    grid = Grid(
        "Table 1 of X. Classification performance on ImageNet", heads, rows, frozenset(range(1, 7)), tuple(notes)
    )
    write_table(directory, "table1x", frame, grid)
    _page(directory, record, grid, console)
    return grid.text()


def write_table2x(directory: Path, console: Console) -> str:
    """Write ``tables/table2x`` (MAP@100, X's Table 2), ``figures/map`` and ``report.html``.

    Parameters
    ----------
    directory : Path
        A run directory of the experiment ``multilabel``.
    console : Console

    Returns
    -------
    str
        The table, for the terminal.

    Raises
    ------
    InputError
        If the directory holds no such run, none of its heads is done, or a history is missing.
    """
    record = _record(directory)
    done = [entry for entry in _done(directory, record) if "scores" in entry]
    ours = {(str(entry["backbone"]), str(entry["fully_connected"])): entry for entry in done}
    paper = {
        (str(claim.value["network"]), str(claim.value["fully_connected"])): claim.value["map_100"]
        for claim in load_claims().values()
        if "map_100" in claim.value
    }
    rows = []
    for backbone, connected in dict.fromkeys([*ours, *paper]):
        entry = ours.get((backbone, connected), {})
        test, tune = (entry.get("scores", {}).get(role, {}) for role in ("test", "tune"))
        rows.append(
            {
                "backbone": backbone,
                "fully_connected": connected,
                "map_100": test.get("map_100"),
                "map_100_unweighted": test.get("map_100_unweighted"),
                "tune_map_100": tune.get("map_100"),
                "parameters": entry.get("chosen", {}).get("parameters"),
                "epoch": entry.get("chosen", {}).get("epoch"),
                "seconds": entry.get("seconds"),
                "paper_map_100": paper.get((backbone, connected)),
            }
        )
    frame = pd.DataFrame(rows).astype({"parameters": "Int64", "epoch": "Int64"})
    grid = _grid2x(frame, record, done)
    write_table(directory, "table2x", frame, grid)
    names = {name: entry for name, entry in record["backends"].items() if entry in done}
    with mpl.rc_context(STYLE):
        save_figure(_curves(directory, names), directory / "figures" / "map")
    _page(directory, record, grid, console)
    return grid.text()


def _grid2x(frame: pd.DataFrame, record: dict[str, Any], done: list[dict[str, Any]]) -> Grid:
    rows = tuple(
        (
            display(str(row["backbone"])),
            str(row["fully_connected"]),
            *(share(_number(row[key])) for key in ("map_100", "map_100_unweighted", "tune_map_100")),
            *(MISSING if pd.isna(row[key]) else count(int(row[key])) for key in ("parameters", "epoch")),
            MISSING if pd.isna(row["paper_map_100"]) else f"{row['paper_map_100']:.2f}",
        )
        for row in frame.to_dict("records")
    )
    labels, images = done[0]["labels"], done[0]["images"]
    notes = (
        f"{record.get('dataset', {}).get('title') or 'The data'}: {labels} labels, {done[0]['labels_per_image']:.2f} "
        f"per test image; {images['train']:,} images to train, {images['tune']:,} to choose the epoch, "
        f"{images['test']:,} to test. Backbones are frozen; heads are trained on their bottlenecks.",
        "MAP@100: class-weighted, a class counting as its share of the training images. Unweighted: all classes alike.",
        "Fully connected: two layers before the logistic regression (the paper's have 4096 units each).",
        "The paper's numbers rest on other data (trained on JFT, measured on FastEval14k, neither of them public) and "
        "on networks trained end to end; it gives neither unit nor class weights, so that only their order compares.",
    )
    unseen = done[0]["unseen_labels"]
    return Grid(
        "Table 2 of X. Multi-label classification, MAP@100",
        ("Backbone", "Fully connected", "MAP@100", "Unweighted", "On tune", "Parameters", "Epoch", "Paper: MAP@100"),
        rows,
        frozenset(range(2, 8)),
        notes + ((f"{unseen} labels that no training image carries are left out.",) if unseen else ()),
    )


def _curves(directory: Path, names: dict[str, Any]) -> Figure:
    """MAP@100 on `tune` against epochs, one line a head; a ring around the epoch that was kept."""
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    for number, (name, entry) in enumerate(names.items()):
        path = directory / "history" / f"{name}.parquet"
        try:
            history = pd.read_parquet(path, columns=["epoch", "val_map_100"])
        except FileNotFoundError as error:
            raise InputError(f"{path} is missing", _AGAIN) from error
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise InputError(f"{path} cannot be read ({str(error).splitlines()[0][:160]})", _AGAIN) from error
        look = marks(number)
        label = display(entry["backbone"])
        words = {"yes": "with FC layers", "no": "no FC layers"}[entry["fully_connected"]]
        axes.plot(history["epoch"], history["val_map_100"], label=f"{label}, {words}", markersize=4, **look)
        kept = history[history["epoch"] == entry["chosen"]["epoch"]]
        axes.scatter(kept["epoch"], kept["val_map_100"], s=110, facecolors="none", edgecolors=look["color"])
    axes.set(xlabel="Epoch", ylabel="MAP@100 on tune, class-weighted", title="Multi-label heads (X, Table 2)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return figure


def _record(directory: Path) -> dict[str, Any]:
    path = directory / "run.json"
    if not path.is_file():
        raise InputError(f"{directory} is not a run directory (it has no run.json)", "name the --out of a run")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(entry["status"], str) for entry in record["backends"].values()):
            raise TypeError("no status")
    except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read as a run's record ({error})", _AGAIN) from error
    return dict(record)


def _done(directory: Path, record: dict[str, Any]) -> list[dict[str, Any]]:
    done = [entry for entry in record["backends"].values() if entry["status"] == "done"]
    if not done:
        raise InputError(f"nothing in {directory} is done", _AGAIN)
    return done


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _page(directory: Path, record: dict[str, Any], grid: Grid, console: Console) -> None:
    """Write ``report.html``: title, table, figure, the record."""
    title = str(record.get("study", {}).get("title") or directory.name)
    undone = [
        text(f"{name}: {status(entry)}", "warn")
        for name, entry in record["backends"].items()
        if entry["status"] != "done"
    ]
    parts = [header(title, *undone), grid.html()]
    if (drawing := directory / "figures" / "map.svg").is_file():
        caption = "MAP@100 on tune by epoch, class-weighted, with averaged weights; a ring marks the epoch kept."
        parts.append(picture(drawing, caption))
    command = f"<pre>{html.escape(str(record.get('command', '')))}</pre>"
    whole = f"<pre>{html.escape(json.dumps(record, indent=2, ensure_ascii=False))}</pre>"
    parts.append(section("This run", command + details("run.json", whole)))
    write_text(directory / "report.html", document(title, "\n".join(parts)))
    console.log(f"report: {directory / 'report.html'}")
