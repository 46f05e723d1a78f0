"""How long a table of embeddings takes to be opened, hashed and read, and how much memory.

    python tests/benchmarks/embeddings.py --rows 1000000 --dimensions 768 --folder /some/where

writes the table first, in a process of its own (3 GB for these numbers), and removes it at the end.
"""

import argparse
import multiprocessing
import resource
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shelfbench.base.console import Console
from shelfbench.data.datasets import open_path
from shelfbench.data.embeddings import Embeddings
from shelfbench.data.sources.settings import DatasetSettings

_AT_ONCE = 20_000


def write(path: Path, rows: int, dimensions: int) -> None:
    """Write products in 50 categories with random embeddings."""
    columns = [("product_id", pa.int64()), ("category", pa.string()), ("embedding", pa.list_(pa.float32(), dimensions))]
    schema = pa.schema(columns)
    rng = np.random.default_rng(0)
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=["category"]) as writer:
        for start in range(0, rows, _AT_ONCE):
            number = np.arange(start, min(start + _AT_ONCE, rows))
            values = pa.array(rng.random(len(number) * dimensions, np.float32))
            cells = pa.FixedSizeListArray.from_arrays(values, dimensions)
            names = pa.array([f"c{row % 50}" for row in number.tolist()])
            writer.write_table(pa.table([pa.array(number), names, cells], schema=schema))


def main() -> None:
    """Print seconds, CPU seconds and peak memory of each step."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--dimensions", type=int, default=768)
    options.add_argument("--folder", type=Path, required=True)
    given = options.parse_args()
    path = given.folder / "embeddings.parquet"
    writer = multiprocessing.Process(target=write, args=(path, given.rows, given.dimensions))
    writer.start()
    writer.join()
    settings, console = DatasetSettings(photos=False), Console(quiet=True)
    clock = (time.perf_counter(), time.process_time())

    def step(name: str) -> None:
        nonlocal clock
        now = (time.perf_counter(), time.process_time())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{name:8} {now[0] - clock[0]:8.1f} s {now[1] - clock[1]:8.1f} s of CPU {peak:8.2f} GiB at most")
        clock = now

    try:
        catalogue = open_path(path, "embeddings", settings, console)
        step("opened")
        found = Embeddings("embedding", catalogue, settings, console)
        step("hashed")
        features = found.features(np.random.default_rng(1).permutation(given.rows))
        step("read")
        print(f"the matrix itself: {features.matrix.nbytes / 2**30:.2f} GiB")
    finally:
        path.unlink()


if __name__ == "__main__":
    main()
