"""Which copies of photos are found, how many other photos are taken for copies, and what it costs.

    SHELFBENCH_DATA=DIR python -m tests.benchmarks.near_duplicates results/decisions/near_duplicates.csv

plants copies of photos among the photos of a catalogue and seeks each of them there. Then it seeks every photo of the
catalogue and counts the pairs of photos of different products that are taken for one another (in either direction).
Photos with equal bytes count once, as they do in a run, and are always found. What was found before, without looking
for mirrored, brighter, darker and cropped copies, is in columns of its own. Pairs that were found already are near by
definition (the same thing in almost the same photo), so ``false_pairs`` are the others. Of 60 of those in `fashion`,
about 40 show the same thing in another colour or photographed again, and 20 different things (earrings, wallets).

The limits were chosen on `fashion` without its shoes and on the generated catalogue of seed 7.

``microseconds`` are those of one processor for each photo: reading, decoding and fingerprints, and seeking 30% of the
photos (`fashion` holds out 20%). Medians of five rounds, which measure both. Other programs disturb them.
"""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from shelfbench.base.console import Console
from shelfbench.data.catalogue import Catalogue, chunks
from shelfbench.data.datasets import open_dataset
from shelfbench.data.fingerprint import Fingerprint
from shelfbench.data.images import decode_batch
from shelfbench.data.near_duplicates import altered_pairs, near_pairs
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.generator import GeneratorSettings
from tests.helpers.copies import BEYOND, FOUND, copied

COLUMNS = (
    *("photos", "limits_chosen_on_it", "copies", "tries", "found", "found_before"),
    *("pairs", "false_pairs", "false_per_million", "pairs_before", "microseconds", "microseconds_before"),
)
QUIET = Console(quiet=True)


def fingerprints(encoded: list[bytes]) -> np.ndarray:
    """Decode photos and compute their fingerprints."""
    with ThreadPoolExecutor(1) as pool:
        pixels, reasons = decode_batch(encoded, Fingerprint.pixels, "stretch", pool)
    assert not reasons
    return Fingerprint().extract(pixels)


def distinct(catalogue: Catalogue, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the fingerprints of photos of a catalogue; of those with equal bytes, only the first is kept."""
    seen: set[bytes] = set()
    kept, prints = [], []
    for part in chunks(rows, 1024):
        encoded = catalogue.images.read(part)
        new = [(row, one) for row, one in zip(part, encoded, strict=True) if not (one in seen or seen.add(one))]
        kept += [row for row, _ in new]
        prints.append(fingerprints([one for _, one in new]))
    return np.array(kept), np.concatenate(prints)


def keys(pairs, count: int) -> np.ndarray:
    """Number pairs of photos, in either direction."""
    return np.unique(np.minimum(pairs.first, pairs.second) * count + np.maximum(pairs.first, pairs.second))


def recall(catalogue: Catalogue, rows: np.ndarray, prints: np.ndarray, tries: int, seed: int = 0):
    """Yield, for each kind of copy, how many of `tries` are found and how many were before."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(rows), tries, replace=False)
    originals = [catalogue.images.read(rows[[one]])[0] for one in chosen]
    for kind in (*FOUND, *BEYOND):
        copies = fingerprints([copied(photo, kind, rng) for photo in originals])
        together = np.concatenate([prints, copies])
        queries = np.arange(len(prints), len(together))
        before = near_pairs(together, queries)
        after = [before, *altered_pairs(together, queries).values()]
        counts = []
        for parts in (after, [before]):
            first, second = (np.concatenate([getattr(part, name) for part in parts]) for name in ("first", "second"))
            counts.append(len(np.unique(first[second == chosen[first - len(prints)]])))
        yield {"copies": kind, "tries": tries, "found": counts[0], "found_before": counts[1]}


def false_pairs(owner: np.ndarray, prints: np.ndarray) -> dict[str, float]:
    """Count the pairs of photos of different products that are taken for one another."""
    everything, count = np.arange(len(prints)), len(prints)
    before = keys(near_pairs(prints, everything), count)
    altered = [keys(pairs, count) for pairs in altered_pairs(prints, everything).values()]

    def different(found: np.ndarray) -> np.ndarray:
        a, b = np.divmod(found, count)
        return found[(owner[a] != owner[b]) & np.any(prints[a] != prints[b], axis=1)]

    new = np.setdiff1d(different(np.unique(np.concatenate(altered))), before)
    pairs = count * (count - 1) // 2
    return {
        "pairs": pairs,
        "false_pairs": len(new),
        "false_per_million": round(len(new) / pairs * 1e6, 3),
        "pairs_before": len(different(before)),
    }


def cost(catalogue: Catalogue, rows: np.ndarray, prints: np.ndarray, rounds: int = 5) -> dict[str, float]:
    """Measure the processor's time for each photo, with and without seeking altered copies."""
    queries = np.flatnonzero(np.random.default_rng(0).random(len(prints)) < 0.3)
    times = []
    for part in np.array_split(np.random.default_rng(1).choice(rows, min(len(rows), 5000), replace=False), rounds):
        start = time.process_time()
        distinct(catalogue, np.sort(part))
        read = (time.process_time() - start) / len(part)
        start = time.process_time()
        near_pairs(prints, queries)
        near = (time.process_time() - start) / len(prints)
        start = time.process_time()
        altered_pairs(prints, queries)
        times.append((read + near, read + near + (time.process_time() - start) / len(prints)))
    before, after = (float(value) for value in np.median(times, axis=0) * 1e6)
    return {"microseconds": round(after, 1), "microseconds_before": round(before, 1)}


def generated(seed: int, products: int = 3000) -> Catalogue:
    """Open a generated catalogue."""
    return open_dataset(
        DatasetSettings(name="generated"), GeneratorSettings(seed=seed, products=products), None, 1, QUIET
    )[0]


def fashion(folder: Path) -> tuple[Catalogue, np.ndarray]:
    """Open `fashion`, and say which of its photos show shoes."""
    catalogue, _ = open_dataset(DatasetSettings(name="fashion"), GeneratorSettings(), folder / "fashion", 1, QUIET)
    shoes = np.array(["Footwear" in category.levels for category in catalogue.categories])
    return catalogue, shoes[catalogue.product_category[catalogue.image_product]]


def main() -> None:
    """Write the table."""
    catalogue, shoes = fashion(Path(os.environ["SHELFBENCH_DATA"]))
    parts = [
        ("shoes of fashion", False, catalogue, np.flatnonzero(shoes)),
        ("fashion without shoes", True, catalogue, np.flatnonzero(~shoes)),
        ("all of fashion", False, catalogue, np.arange(len(shoes))),
    ]
    parts += [(f"generated, seed {seed}", seed == 7, generated(seed), None) for seed in (7, 11)]
    table = []
    for name, chosen, source, wanted in parts:
        rows, prints = distinct(source, np.arange(len(source.images)) if wanted is None else wanted)
        common = {"photos": name, "limits_chosen_on_it": chosen}
        if name != "all of fashion":
            table += [{**common, **row} for row in recall(source, rows, prints, 300)]
        counted = false_pairs(source.image_product[rows], prints)
        # the time is that of whole catalogues
        timed = cost(source, rows, prints) if "shoes" not in name else {}
        table.append({**common, "copies": "different products", **counted, **timed})
        print(table[-1], flush=True)
        frame = pd.DataFrame(table, columns=list(COLUMNS))
        whole = ["tries", "found", "found_before", "pairs", "false_pairs", "pairs_before"]
        frame.astype(dict.fromkeys(whole, "Int64")).to_csv(sys.argv[1], index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
