"""What the experiment ``profiles`` shows: a table, figures and a page, from its run directory alone."""

from __future__ import annotations

import html
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.grid import MISSING, Grid, count, share
from shelfbench.base.storage import write_text
from shelfbench.report.curves import Profile, drawing, figure_names, write_curves
from shelfbench.report.elements import details, document, flat, header, pairs, picture, section, status, text
from shelfbench.report.tables import table2_grid, write_table
from shelfbench.runs.reading import AGAIN, DELETE

_COLUMNS = ["epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy", "seconds", "seed", "parameters"]


def write_profiles(directory: Path, console: Console) -> str:
    """Write ``tables/profiles``, the figures and ``report.html`` of a run of the experiment.

    Parameters
    ----------
    directory : Path
        A run directory with ``run.json`` and the histories of what is done.
    console : Console

    Returns
    -------
    str
        The table, for the terminal.

    Raises
    ------
    InputError
        If nothing is done yet, or a file is missing or damaged (it is named).
    """
    record = _record(directory)
    profiles = _profiles(directory, record)
    frame = _frame(directory, record, profiles)
    grid = _grid(frame)
    write_table(directory, "profiles", frame, grid)
    write_curves(directory, profiles)
    write_text(directory / "report.html", _page(directory, record, profiles, grid))
    console.log(f"report: {directory / 'report.html'}")
    return grid.text()


def _record(directory: Path) -> dict[str, Any]:
    path = directory / "run.json"
    if not path.is_file():
        raise InputError(f"{directory} is not a run directory (it has no run.json)", "name the --out of a run")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        variants, trainings = record["study"]["variants"], record["backends"]
        whole = all(isinstance(variant["label"], str) for variant in variants.values()) and all(
            isinstance(entry["status"], str) for entry in trainings.values()
        )
    except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no record of training profiles ({error})", AGAIN) from error
    if not whole:
        raise InputError(f"{path} is no record of training profiles", AGAIN)
    return dict(record)


def _profiles(directory: Path, record: dict[str, Any]) -> list[Profile]:
    """What is done, in the order of the study."""
    profiles = []
    for name, variant in record["study"]["variants"].items():
        histories = [
            _read(directory / "history" / f"{training}.parquet", _COLUMNS)
            for training, entry in record["backends"].items()
            if entry["status"] == "done" and entry.get("variant") == name
        ]
        if histories:
            history = pd.concat(histories, ignore_index=True)
            profiles.append(Profile(name, variant["label"], tuple(variant["figures"]), history))
    if not profiles:
        raise InputError(f"no training in {directory} is done", "let the run finish at least one, then report again")
    return profiles


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, columns=columns)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing", AGAIN) from error
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({str(error).splitlines()[0][:160]})", DELETE) from error


def _frame(directory: Path, record: dict[str, Any], profiles: list[Profile]) -> pd.DataFrame:
    """One row a variant: mean and standard deviation (n - 1) over seeds of the last and the best epoch."""
    timings = _read(directory / "timings.parquet", ["backend", "stage", "seconds", "images", "warm_up"])
    timings = timings[timings["stage"].isin(["epoch", "tune_epoch"])]
    rows = []
    for profile in profiles:
        history = profile.history.sort_values(["seed", "epoch"])
        by_seed = history.groupby("seed")
        last, best = by_seed["val_accuracy"].last(), by_seed["val_accuracy"].max()
        names = [name for name, entry in record["backends"].items() if entry.get("variant") == profile.name]
        epochs = timings[timings["backend"].isin(names)]
        if not epochs["warm_up"].all():
            epochs = epochs[~epochs["warm_up"]]
        rows.append(
            {
                "variant": profile.name,
                "label": profile.label,
                "seeds": profile.seeds,
                "parameters": history["parameters"].iloc[0],
                "epochs": int(history["epoch"].max()),
                "updates": int(history["step"].max()),
                "val_accuracy_final": last.mean(),
                "val_accuracy_final_sd": last.std(),
                "val_accuracy_best": best.mean(),
                "val_accuracy_best_sd": best.std(),
                "seconds_per_epoch": epochs["seconds"].median(),
                "images_per_second": (epochs["images"] / epochs["seconds"]).median(),
            }
        )
    return pd.DataFrame(rows).astype({"parameters": "Int64"})


def _grid(frame: pd.DataFrame) -> Grid:
    def with_spread(row: Any, column: str) -> str:
        mean, deviation = row[column], row[f"{column}_sd"]
        return share(mean) + ("" if math.isnan(deviation) else f" ± {share(deviation)}")

    rows = tuple(
        (
            str(row["label"]),
            count(int(row["seeds"])),
            MISSING if pd.isna(row["parameters"]) else count(int(row["parameters"])),
            count(int(row["epochs"])),
            count(int(row["updates"])),
            with_spread(row, "val_accuracy_final"),
            with_spread(row, "val_accuracy_best"),
            MISSING if math.isnan(row["seconds_per_epoch"]) else f"{row['seconds_per_epoch']:,.2f}",
            MISSING if math.isnan(row["images_per_second"]) else f"{row['images_per_second']:,.0f}",
        )
        for row in frame.to_dict("records")
    )
    heads = (
        "Variant",
        "Seeds",
        "Parameters",
        "Epochs",
        "Updates",
        "Val. accuracy, last epoch",
        "Val. accuracy, best epoch",
        "Seconds an epoch",
        "Images/s",
    )
    return Grid(
        "Training profiles",
        heads,
        rows,
        frozenset(range(1, len(heads))),
        (
            "Validation: its half for choices (tune), so that the best epoch flatters. ±: standard deviation over "
            "seeds. Seconds: median over epochs, validation included, without the first, which holds the "
            "framework's compilation.",
        ),
    )


def _page(directory: Path, record: dict[str, Any], profiles: list[Profile], grid: Grid) -> str:
    study = record["study"]
    title = str(study.get("title") or directory.name)
    undone = [
        text(f"{name}: {status(entry)}", "warn")
        for name, entry in record["backends"].items()
        if entry["status"] != "done"
    ]
    note = (study.get("profiles") or {}).get("note")
    notes = [text(note)] if note else []
    return document(
        title,
        "\n".join(
            [
                header(title, text(f"How {len(profiles)} variants learn", "verdict"), *notes, *undone),
                *(_chart(directory, name) for name in figure_names(profiles)),
                section("In numbers", grid.html()),
                section("This run", _run(record)),
            ]
        ),
    )


def _chart(directory: Path, name: str) -> str:
    kind = drawing(name)
    return picture(directory / "figures" / f"{name}.svg", f"{kind.title}. {kind.caption}")


def _run(record: dict[str, Any]) -> str:
    dataset = record.get("dataset") or {}
    materials = [flat(entry.get("material")) for entry in record["backends"].values()]
    trainings = Grid(
        "Trainings",
        ("Training", "Status", "Trained on", "Chosen", "Peak memory", "Settings"),
        tuple(
            (
                name,
                status(entry),
                flat(entry.get("material")) or MISSING,
                flat(entry.get("chosen") or None) or MISSING,
                f"{entry['peak_rss_mib']:,.0f} MiB" if entry.get("peak_rss_mib") else MISSING,
                flat(entry.get("settings") or None) or MISSING,
            )
            for name, entry in record["backends"].items()
        ),
        frozenset({4}),
    )
    parts = []
    if command := record.get("command"):
        parts += [text("This command makes it again:"), f"<pre>{html.escape(str(command))}</pre>"]
    parts += [
        table2_grid(record).html(),
        pairs(
            [
                ("Data set", dataset.get("title")),
                ("Source", dataset.get("source")),
                ("Licence", dataset.get("licence")),
                ("Content hash", dataset.get("hash")),
                ("Trained on", "; ".join(dict.fromkeys(filter(None, materials)))),
                ("Split", (record.get("split") or {}).get("rule")),
                ("Unreadable images", dataset.get("unreadable_images")),
                ("Status", record.get("status")),
                ("Seed of split and draw", record.get("seed")),
                ("Started", record.get("started")),
                ("Finished", record.get("finished")),
                ("shelfbench", record.get("shelfbench")),
                ("Versions", flat(record.get("versions"))),
            ]
        ),
        details("Every training", trainings.html()),
        details("The study", f"<pre>{html.escape(json.dumps(record['study'], indent=2, ensure_ascii=False))}</pre>"),
    ]
    return "\n".join(parts)
