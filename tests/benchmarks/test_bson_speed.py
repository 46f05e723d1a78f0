"""The index of a Cdiscount BSON against `bson.decode_file_iter`: the same products and pictures, then the times."""

import bson
import numpy as np
import pytest

from shelfbench.base.console import Console
from shelfbench.data.sources.bson_index import scan
from tests.benchmarks import inputs
from tests.benchmarks.pairs import Row

GIB = 1 << 30


@pytest.fixture(scope="module")
def path(full_size, tmp_path_factory):
    path = tmp_path_factory.mktemp("bson") / "train.bson"
    inputs.write_bson(path, 2 * GIB if full_size else 16 << 20)
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


def test_speed(path, race):
    row = Row("index of a Cdiscount BSON of 2 GiB", "bson.decode_file_iter", goal=20)
    race(row, ours=lambda: ours(path), theirs=lambda: theirs(path))
