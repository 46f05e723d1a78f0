"""What catalogues of three sizes take on machines like ours, computed from the records: the table of docs/scale.md.

    python -m tests.benchmarks.scale

A machine has two cores, as the one on which the records were made. Rates: Inception V3 at 299 px, decoding included, by
one worker and by two (results/scale/dask.csv). Bottlenecks are 2,048 numbers in float32; photos have the mean size of
Cdiscount's (58 GB of 12,371,293). A machine's network carries the photos to it and the features from it. Money is at
0.10 an hour of a machine.
"""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from shelfbench.cost import memory
from shelfbench.cost.week import WEEK
from shelfbench.data.shards import SEGMENT_IMAGES

ROOT = Path(__file__).resolve().parents[2]
SIZES = (2_400_000, 20_000_000, 350_000_000)
DIMENSIONS, MACHINES, PRICE = 2048, 64, 0.10
PHOTO = 58e9 / 12_371_293


def rates() -> dict[int, float]:
    """Photos a second by the number of workers, medians."""
    frame = pd.read_csv(ROOT / "results" / "scale" / "dask.csv")
    network = frame[(frame["features"] == "inception_v3") & (frame["cores"] == frame["workers"])]
    return network.groupby("workers")["photos_per_second"].median().to_dict()


def rows() -> list[tuple[str, list[float]]]:
    """The table: a name, and a number for each size."""
    rate = rates()
    machine = [images / rate[2] for images in SIZES]
    carried = PHOTO + DIMENSIONS * 4
    return [
        ("photos, GB", [images * PHOTO / 1e9 for images in SIZES]),
        ("features in the store, GiB", [memory.features(images, DIMENSIONS) / 1024 for images in SIZES]),
        ("with the file that is mapped, GiB", [memory.kept(images, DIMENSIONS) / 1024 for images in SIZES]),
        ("shards", [math.ceil(images / SEGMENT_IMAGES) for images in SIZES]),
        ("hours on one core", [images / rate[1] / 3600 for images in SIZES]),
        ("hours on one machine of two cores", [seconds / 3600 for seconds in machine]),
        ("machines for a week", [math.ceil(seconds / WEEK) for seconds in machine]),
        (f"hours on {MACHINES} machines", [seconds / MACHINES / 3600 for seconds in machine]),
        (f"MB a second for {MACHINES} machines together", [MACHINES * rate[2] * carried / 1e6] * len(SIZES)),
        ("money on any number of machines", [seconds / 3600 * PRICE for seconds in machine]),
    ]


def main() -> None:
    """Print the table as Markdown."""
    for name, values in rows():
        print(f"| {name} | {' | '.join(f'{value:,.1f}' if value < 10 else f'{value:,.0f}' for value in values)} |")


if __name__ == "__main__":
    main()
