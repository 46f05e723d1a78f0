"""What makes the split of a large catalogue cheap changes nothing: against what it replaces, one category at a time."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfbench.data import material as materials
from shelfbench.data import split as splits
from shelfbench.data.material import dataset_hash
from shelfbench.data.repeated import perhaps_repeated
from shelfbench.data.split import SplitSettings, make_split, paper_counts, split_hash
from tests.data.test_split import catalogue

TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=6)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT, st.sampled_from(["train", "test"])), min_size=1, max_size=30), st.integers(1, 9))
def test_the_hash_is_that_of_sorted_lines(rows, block):
    ids, categories, parts = map(list, zip(*rows, strict=True))
    frame = pd.DataFrame({"product_id": ids, "category": categories, "split": parts, "role": parts})
    lines = sorted("\t".join([*row, row[2]]) for row in rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "_HASHED", block)
        assert split_hash(frame) == hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_the_hash_of_the_data_does_not_depend_on_the_blocks(monkeypatch):
    shop = catalogue([40, 60], photos=2)
    digests = np.arange(len(shop.images)).astype("V16")
    whole = dataset_hash(shop, digests)
    monkeypatch.setattr(materials, "_HASHED", 7)
    assert dataset_hash(shop, digests) == whole


@pytest.mark.parametrize("seed", range(3))
def test_products_are_drawn_as_by_a_search_for_each_category(seed):
    rng = np.random.default_rng(seed)
    shop = catalogue(rng.integers(20, 130, 12))
    mixed = rng.permutation(shop.product_category)
    object.__setattr__(shop, "product_category", mixed)
    found = make_split(shop, SplitSettings(certify=0.7), seed, np.arange(len(mixed)).astype("V16"))
    drawn = np.random.default_rng([seed, 0x5F11])
    expected = np.zeros(len(mixed), np.int8)
    for code in range(12):
        members = drawn.permutation(np.flatnonzero(mixed == code))
        _, validation, test = paper_counts(len(members))
        expected[members[:test]], expected[members[test : test + validation]] = 2, 1
    assert np.array_equal(found.split, expected)
    first = drawn.permutation(np.flatnonzero((expected == 1) & (mixed == 0)))
    certify = int(0.7 * len(first) + 1e-9)
    assert set(np.flatnonzero((found.role == 2) & (mixed == 0))) == set(first[:certify])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=25), st.sampled_from([16, 20]))
def test_no_repeated_digest_is_overlooked(pairs, width):
    digests = np.array([bytes([one]) * 8 + bytes([two]) * (width - 8) for one, two in pairs]).astype(f"V{width}")
    kept = perhaps_repeated(digests)
    values = [bytes(value) for value in digests]
    repeated = [row for row, value in enumerate(values) if values.count(value) > 1]
    assert set(repeated) <= set(kept.tolist())
    assert kept.tolist() == sorted(kept.tolist())
