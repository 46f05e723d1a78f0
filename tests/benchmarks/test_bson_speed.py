"""The index of a Cdiscount BSON against `bson.decode_file_iter`: the same products and pictures, then the times."""

import os
import struct
from pathlib import Path

import bson
import numpy as np
import pytest
from shelfbench.base.console import Console
from shelfbench.data.sources.bson_index import scan

from tests.benchmarks.pairs import Row

GIB = 1 << 30


def documents():
    """Kaggle's example, or pictures of random bytes in its layout and of its sizes."""
    example = Path(os.environ.get("SHELFBENCH_DATA", "")) / "cdiscount" / "train_example.bson"
    if "SHELFBENCH_DATA" in os.environ and example.exists():
        with open(example, "rb") as handle:
            return list(bson.decode_file_iter(handle))
    rng = np.random.default_rng(0)
    sizes = rng.integers(2_000, 9_000, (82, 4))
    return [
        {
            "_id": i,
            "imgs": [
                {"picture": rng.bytes(int(size))} for size in sizes[i][: rng.choice(4, p=[0.8, 0.12, 0.05, 0.03]) + 1]
            ],
            "category_id": 1_000_000_000 + i,
        }
        for i in range(82)
    ]


@pytest.fixture(scope="module")
def path(full_size, tmp_path_factory):
    """A file of the documents again and again, every product with an id of its own, once read from the disk.

    A file that was just written lies in memory in smaller pieces than one that was read, and both would be measured
    with it; nobody indexes a catalogue in the second in which it was made.
    """
    path = tmp_path_factory.mktemp("bson") / "train.bson"
    block = [bytearray(bson.encode(document)) for document in documents()]
    least, identifier = (2 * GIB if full_size else 256 << 20), 0
    with open(path, "wb") as handle:
        while handle.tell() < least:
            for document in block:
                struct.pack_into("<i", document, 9, identifier)
                identifier += 1
            handle.write(b"".join(block))
        handle.flush()
        os.fsync(handle.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    yield path
    path.unlink()


def ours(path):
    index, _ = scan(path, "refuse", Console(quiet=True))
    return index["product_id"], index["category"], index["count"], index["length"]


def theirs(path):
    identifiers, categories, counts, lengths = [], [], [], []
    with open(path, "rb") as handle:
        for document in bson.decode_file_iter(handle):
            identifiers.append(document["_id"])
            categories.append(document["category_id"])
            counts.append(len(document["imgs"]))
            lengths.extend(len(entry["picture"]) for entry in document["imgs"])
    return identifiers, categories, counts, lengths


def test_same_products(path):
    for mine, other in zip(ours(path), theirs(path), strict=True):
        assert np.array_equal(mine, other)


def test_speed(path, race, full_size):
    size = "2 GiB" if full_size else "256 MiB"
    row = Row(f"index of a Cdiscount BSON of {size}", "bson.decode_file_iter", floor="bson", goal=20)
    race(row, ours=lambda: ours(path), theirs=lambda: theirs(path))
