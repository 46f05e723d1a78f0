"""How long an index of many rows takes to open and how much memory it holds, for each kind of catalogue.

    python -m tests.benchmarks.index results/performance/index.csv [--rows 1000000] [--kind urls]

Only names, categories and positions are read: photos are absent, or a few bytes each. Every measurement is a process of
its own; the WebDataset is opened again with the index that the cache then has. Memory is that of the process, at its
peak, and when the catalogue is open and freed memory is given back to the system, above what it held before with the
same modules loaded.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.helpers.sources import PYTHONPATH

ROWS = (10_000, 100_000, 1_000_000)
CATEGORIES = 500


def names(rows: int) -> list[str]:
    """Paths of photos, in folders of a thousand."""
    return [f"photos/{i // 1000:05d}/{i:08d}.jpg" for i in range(rows)]


def categories(rows: int) -> list[str]:
    """The category of each row."""
    return [f"category {i % CATEGORIES}" for i in range(rows)]


def table(rows: int, links: bool) -> pd.DataFrame:
    """Names, categories and products of two photos each."""
    files = [f"https://shop.example/{name}" for name in names(rows)] if links else names(rows)
    return pd.DataFrame(
        {
            "file_name": files,
            "category": [f"category {i // 2 % CATEGORIES}" for i in range(rows)],
            "product_id": np.arange(rows) // 2,
        }
    )


def with_photos(folder: Path, rows: int) -> None:
    """Make the files that a table names, all empty."""
    for start in range(0, rows, 1000):
        below = folder / "photos" / f"{start // 1000:05d}"
        below.mkdir(parents=True)
        for i in range(start, min(rows, start + 1000)):
            (below / f"{i:08d}.jpg").touch()


def csv_of_paths(folder: Path, rows: int) -> Path:
    with_photos(folder, rows)
    table(rows, links=False).to_csv(folder / "products.csv", index=False)
    return folder / "products.csv"


def csv_of_urls(folder: Path, rows: int) -> Path:
    table(rows, links=True).to_csv(folder / "products.csv", index=False)
    return folder / "products.csv"


def jsonl_of_urls(folder: Path, rows: int) -> Path:
    table(rows, links=True).to_json(folder / "products.jsonl", orient="records", lines=True)
    return folder / "products.jsonl"


def parquet_of_urls(folder: Path, rows: int) -> Path:
    table(rows, links=True).to_parquet(folder / "products.parquet", index=False)
    return folder / "products.parquet"


def parquet_of_photos(folder: Path, rows: int) -> Path:
    """Shards of 50,000 photos of four bytes."""
    for start in range(0, rows, 50_000):
        count = min(50_000, rows - start)
        image = pa.StructArray.from_arrays(
            [pa.array([b"\xff\xd8\xff\xe0"] * count), pa.array(names(rows)[start : start + count])], ["bytes", "path"]
        )
        made = pa.table({"image": image, "category": categories(rows)[start : start + count]})
        pq.write_table(made, folder / f"part-{start // 50_000:05d}.parquet", row_group_size=1000)
    return folder


def tar_shards(folder: Path, rows: int) -> Path:
    """Shards of 10,000 samples: ``KEY.jpg`` of four bytes and ``KEY.json``."""
    for start in range(0, rows, 10_000):
        with tarfile.open(folder / f"shard-{start // 10_000:05d}.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
            for i in range(start, min(rows, start + 10_000)):
                said = json.dumps({"category": f"category {i % CATEGORIES}", "width": 400, "caption": "a thing"})
                for kind, data in (("jpg", b"\xff\xd8\xff\xe0"), ("json", said.encode())):
                    info = tarfile.TarInfo(f"{i:08d}.{kind}")
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    return folder


def folders(folder: Path, rows: int) -> Path:
    """A folder for each category."""
    for category in range(CATEGORIES):
        below = folder / f"category {category}"
        below.mkdir()
        for i in range(category, rows, CATEGORIES):
            (below / f"{i:08d}.jpg").touch()
    return folder


KINDS: dict[str, Callable[[Path, int], Path]] = {
    "CSV of paths": csv_of_paths,
    "CSV of URLs": csv_of_urls,
    "JSONL of URLs": jsonl_of_urls,
    "Parquet of URLs": parquet_of_urls,
    "Parquet of photos": parquet_of_photos,
    "WebDataset": tar_shards,
    "folder": folders,
}


def resident(which: str) -> int:
    """Bytes of memory of this process: ``VmHWM`` at its peak, ``VmRSS`` now."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").replace("\t", " ")
    found = re.search(f"{which}: *([0-9]+) kB", status)
    assert found
    return int(found[1]) << 10


def settled() -> int:
    """Bytes of memory of this process once what is freed has gone back to the system."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)
    return resident("VmRSS")


def measure(path: Path, rows: int) -> None:
    """Open a catalogue in this process, and print seconds and memory as JSON."""
    from shelfbench.base.console import Console
    from shelfbench.data.datasets import open_path
    from shelfbench.data.sources.settings import DatasetSettings

    console = Console(quiet=True)
    with tempfile.TemporaryDirectory() as small:  # loads what the reader imports
        open_path(KINDS[kind_of(path)](Path(small), 2000), "small", DatasetSettings(), console)
    before = settled()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forget the peak so far
    begun, busy = time.perf_counter(), time.process_time()
    catalogue = open_path(path, "many", DatasetSettings(), console)
    seconds, busy = time.perf_counter() - begun, time.process_time() - busy
    assert len(catalogue.images) == rows, len(catalogue.images)
    peak = resident("VmHWM") - before
    said = {"seconds": seconds, "cpu_seconds": busy, "peak": peak, "held": settled() - before}
    print(json.dumps(said))


def kind_of(path: Path) -> str:
    """The kind of a catalogue that was made here: the name of the folder that it is in."""
    return next(kind for kind in KINDS if kind.replace(" ", "-") in path.parts)


def measured(kind: str, rows: int, turns: Sequence[str] = ("first",)) -> list[dict[str, float]]:
    """Make a catalogue and open it in a process of its own, once for each turn."""
    found = []
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / kind.replace(" ", "-")
        folder.mkdir()
        path = KINDS[kind](folder, rows)
        environment = {**os.environ, "SHELFBENCH_CACHE": str(Path(work) / "cache"), "PYTHONPATH": PYTHONPATH}
        for _ in turns:
            command = [sys.executable, "-m", "tests.benchmarks.index", "--measure", str(path), str(rows)]
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("record", type=Path)
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS)
    parser.add_argument("--kind", nargs="*", default=list(KINDS))
    options = parser.parse_args()
    found = []
    for kind in options.kind:
        turns = ("first", "again") if kind == "WebDataset" else ("first",)
        for rows in options.rows:
            for turn, said in zip(turns, measured(kind, rows, turns), strict=True):
                row = {
                    "catalogue": kind,
                    "rows": rows,
                    "turn": turn,
                    "seconds": round(said["seconds"], 2),
                    "cpu_seconds": round(said["cpu_seconds"], 2),
                    "peak_mib": round(said["peak"] / 2**20, 1),
                    "held_mib": round(said["held"] / 2**20, 1),
                    "peak_bytes_per_row": round(said["peak"] / rows),
                }
                found.append(row)
                print(row, flush=True)
    pd.DataFrame(found).to_csv(options.record, index=False)


if __name__ == "__main__":
    if sys.argv[1] == "--measure":
        measure(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
