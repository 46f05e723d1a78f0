"""``shelfbench classify``: answers as one stream into a file or stdout, as CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import IO, Any

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.screen import on_screen
from shelfbench.base.spreadsheet import inert
from shelfbench.base.storage import LineFeeds, storage_errors, write_whole
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.table_files import METADATA
from shelfbench.decision.bundle import load_model
from shelfbench.decision.classifying import answers, row_kind
from shelfbench.decision.rows import Row, schema

FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
# Rows per row group in Parquet.
_GROUP = 1 << 16
Rows = Iterator[Sequence[Row]]


@dataclass(frozen=True)
class Output:
    """Where the answers go.

    Attributes
    ----------
    path : Path or None
        File to write, whole or not at all; None for stdout.
    kind : str or None
        ``csv``, ``jsonl`` or ``parquet``; None means the suffix of `path`, or CSV on stdout.
    """

    path: Path | None = None
    kind: str | None = None


def classify_to(
    output: Output,
    folder: Path,
    paths: Sequence[Path],
    *,
    settings: DatasetSettings,
    workers: int,
    console: Console,
) -> None:
    """Classify products by a decision on disk into a file or stdout, as one stream.

    Parameters
    ----------
    output : Output
    folder : Path
        Written by `shelfbench decide`; treated as hostile, whatever it contains.
    paths : sequence of Path
        See `shelfbench.data.to_classify.products_of`.
    settings : DatasetSettings
        Names of columns.
    workers : int
        Threads that decode, and processes of classical features.
    console : Console

    Raises
    ------
    InputError
        If the decision, a path or the output is not valid.
    """
    for path in paths:
        if not path.exists():  # before a network is loaded, which may take a minute
            raise InputError(f"{path} does not exist", "correct the path")
    out = output.path
    kind = _kind(out, output.kind)
    _check_place(out, folder, paths)
    model = load_model(folder, workers)
    columns = row_kind(model)
    rows = answers(model, paths, settings, console)
    if out is None:
        with storage_errors(Path("stdout")):
            _WRITERS[kind](rows, columns, on_screen(sys.stdout))
            sys.stdout.flush()
    else:
        write_whole(out, lambda aside: _write(kind, rows, columns, aside))


def _kind(out: Path | None, kind: str | None) -> str:
    if out is None and kind == "parquet":
        raise InputError("Parquet is not written to stdout", "name a file with --out")
    if kind is not None:
        return kind
    if out is None:
        return "csv"
    if out.suffix not in FORMATS:
        raise InputError(
            f"{out}: the suffix {out.suffix!r} does not determine the format", "add --format csv, jsonl or parquet"
        )
    return FORMATS[out.suffix]


def _check_place(out: Path | None, folder: Path, paths: Sequence[Path]) -> None:
    """Refuse an output that would replace an input, be read as one, or spoil the decision."""
    if out is None:
        if sys.stdout is None:
            raise InputError("stdout is closed", "name a file with --out")
        # products are named after their files, in any language
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        return
    if out.is_symlink() or (out.exists() and not out.is_file()):
        raise InputError(f"{out} is not a regular file", "name a new one, or leave out --out to write to stdout")
    place = out.resolve()
    if place.parent == folder.resolve():
        raise InputError(f"{out} is inside the decision, which may contain nothing else", "write it elsewhere")
    if place in [path.resolve() for path in paths]:
        raise InputError(f"{out} is one of the inputs", "name another file with --out")
    for path in paths:
        if path.resolve() in place.parents and (place.suffix not in (".csv", ".jsonl") or place.name in METADATA):
            raise InputError(f"{out} would be read as an input, since it is in {path}", "write it elsewhere")


def _write(kind: str, rows: Rows, columns: type[Row], path: Path) -> None:
    if kind == "parquet":
        _write_parquet(rows, columns, path)
        return
    with open(path, "w", encoding="utf-8", newline="") as handle:
        _WRITERS[kind](rows, columns, handle)


def _write_csv(rows: Rows, columns: type[Row], handle: IO[str]) -> None:
    writer = csv.writer(LineFeeds(handle), lineterminator="\r\n")
    writer.writerow([field.name for field in fields(columns)])
    for part in rows:
        # a name may begin like a formula, which a spreadsheet would run; JSON lines and Parquet have it as it is
        writer.writerows([inert(value) if isinstance(value, str) else value for value in astuple(row)] for row in part)


def _write_jsonl(rows: Rows, columns: type[Row], handle: IO[str]) -> None:
    for part in rows:
        handle.writelines(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in part)


def _write_parquet(rows: Rows, columns: type[Row], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    typed = schema(columns)
    with pq.ParquetWriter(path, typed, compression="zstd") as writer:
        held: list[dict[str, Any]] = []
        for part in rows:
            held += map(asdict, part)
            if len(held) >= _GROUP:
                writer.write_table(pa.Table.from_pylist(held, typed))
                held = []
        writer.write_table(pa.Table.from_pylist(held, typed))


_WRITERS: dict[str, Callable[[Rows, type[Row], IO[str]], None]] = {"csv": _write_csv, "jsonl": _write_jsonl}
