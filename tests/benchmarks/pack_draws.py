"""The long tables of several draws, each as one file for all of them, in a tenth of the room.

    python -m tests.benchmarks.pack_draws results/fashion/draws

moves ``seed-N/tables/NAME.csv`` into ``tables/NAME.parquet``, with a column ``seed``, for those of more than a screen.
No cell changes: every text and every number is what the CSV says.
"""

import sys
from pathlib import Path

import pandas as pd

LONG = (
    "aggregation",
    "categories",
    "category_precision",
    "confusions",
    "deciles",
    "extreme_categories",
    "measures",
    "metrics",
    "suspects",
)


def pack(folder: Path) -> None:
    """Move the long tables of a folder of draws.

    Parameters
    ----------
    folder : Path
    """
    for name in LONG:
        paths = sorted(folder.glob(f"seed-*/tables/{name}.csv"), key=lambda path: int(path.parts[-3][5:]))
        if not paths:
            continue
        parts = [pd.read_csv(path).assign(seed=int(path.parts[-3][5:])) for path in paths]
        pd.concat(parts, ignore_index=True).to_parquet(
            folder / "tables" / f"{name}.parquet", index=False, compression="zstd", compression_level=19
        )
        for path in paths:
            path.unlink()


if __name__ == "__main__":
    pack(Path(sys.argv[1]))
