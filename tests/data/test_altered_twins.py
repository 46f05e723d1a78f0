"""Copies that are mirrored, brighter, darker or cropped, on generated photos and on properties of the fingerprint."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfbench.base.console import Console
from shelfbench.data.catalogue import Catalogue, Category
from shelfbench.data.datasets import open_dataset
from shelfbench.data.feature_store import image_digests
from shelfbench.data.fingerprint import MIRROR, Fingerprint, planes
from shelfbench.data.images import decode
from shelfbench.data.material import gather
from shelfbench.data.near_duplicates import altered_pairs, find_twins, near_pairs
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.split import SplitSettings, make_split
from shelfbench.data.twin_alignment import same_but_brightness, same_but_cropped
from shelfbench.data.twin_candidates import cropped, low_frequencies, neighbours, whitening
from shelfbench.generator import GeneratorSettings
from tests.benchmarks.near_duplicates import distinct, false_pairs, fashion, generated, recall
from tests.helpers.copies import FOUND, copied
from tests.helpers.photos import InMemoryImages

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Encoded photos of different generated products."""
    generated = GeneratorSettings(seed=5, products=100, categories=8, departments=4, pixels=64, label_noise=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHELFBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        catalogue, _ = open_dataset(DatasetSettings(name="generated"), generated, None, 1, QUIET)
        _, first = np.unique(catalogue.image_product, return_index=True)
        return catalogue.images.read(np.sort(first))


def fingerprints_of(encoded):
    return Fingerprint().extract(np.stack([decode(one, Fingerprint.pixels, "stretch") for one in encoded]))


@pytest.fixture(scope="module")
def prints(photos):
    return fingerprints_of(photos)


@pytest.mark.parametrize("kind", FOUND)
def test_copies_are_found(photos, prints, kind):
    rng = np.random.default_rng(1)
    count = 50
    copies = fingerprints_of([copied(photo, kind, rng) for photo in photos[:count]])
    together = np.concatenate([prints, copies])
    queries = np.arange(len(prints), len(together))
    pairs = [near_pairs(together, queries), *altered_pairs(together, queries).values()]
    first, second = (np.concatenate([getattr(part, name) for part in pairs]) for name in ("first", "second"))
    right = second == first - len(prints)
    assert len(np.unique(first[right])) >= 0.95 * count


def test_different_products_are_no_copies(prints):
    rows = np.arange(len(prints))
    for change, pairs in altered_pairs(prints, rows).items():
        assert len(pairs.first) == 0, change


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_mirror_changes_signs_alone(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    found, turned = Fingerprint().extract(pixels), Fingerprint().extract(np.ascontiguousarray(pixels[:, :, ::-1]))
    np.testing.assert_allclose(turned, found * MIRROR, atol=1e-3)
    assert (found * MIRROR * MIRROR == found).all()


def test_a_window_of_everything_changes_nothing(prints):
    np.testing.assert_allclose(cropped(prints, (0, 1, 0, 1)), prints, atol=1e-2)


@settings(max_examples=10, deadline=None)
@given(st.floats(0.88, 1.12), st.booleans())
def test_any_factor_is_the_same_photo(prints, factor, swapped):
    dark, spread = prints[:20] * np.float32(0.8), np.full(20, 10, np.float32)
    pair = (dark, dark * np.float32(factor))
    left = same_but_brightness(*(pair[::-1] if swapped else pair), spread)
    assert (left < 0.1).all()


def test_a_factor_of_two_is_another_photo(prints):
    assert np.isinf(same_but_brightness(prints[:20] * np.float32(0.5), prints[:20], np.full(20, 10, np.float32))).all()


@settings(max_examples=10, deadline=None)
@given(st.floats(0.03, 0.07), st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_a_crop_is_undone_from_either_side(prints, share, down, across, swapped):
    window = (share * down, 1 - share * (1 - down), share * across, 1 - share * (1 - across))
    # smooth photos, whose crops have no frequencies that the fingerprint lacks
    whole = prints[:20].copy()
    for plane in planes(whole):
        plane[:, 6:] = 0
        plane[:, :, 6:] = 0
    pair = (whole, cropped(whole, window))
    left = same_but_cropped(*(pair[::-1] if swapped else pair), np.full(20, 25, np.float32))
    assert np.isfinite(left).mean() >= 0.8
    assert np.isinf(same_but_cropped(whole, whole, np.full(20, 25, np.float32))).all(), "a whole photo is not a crop"


@pytest.mark.parametrize("count", [30, 1500])
def test_neighbours_are_the_nearest(count):
    rng = np.random.default_rng(count)
    groups = rng.normal(0, 6, (count // 10, Fingerprint.dimensions))
    prints = np.repeat(groups, 10, axis=0) + rng.normal(0, 0.5, (count, Fingerprint.dimensions))
    prints = prints.astype(np.float32)
    points = low_frequencies(prints) @ whitening(prints)
    distance = np.linalg.norm(points[:, None] - points, axis=2) if count < 100 else None
    queries = np.flatnonzero(rng.random(count) < 0.5)
    first, second, spread = neighbours(prints, queries, 4)
    assert not (first == second).any()
    assert (np.diff(first) >= 0).all()
    for query in queries[:40]:
        far = distance[query] if distance is not None else np.linalg.norm(points - points[query], axis=1)
        expected = np.argsort(far)[1:5]
        assert set(second[first == query]) == set(expected)
        assert spread[first == query] == pytest.approx(far[expected[-1]], rel=1e-3)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_photos(prints, count):
    first, second, spread = neighbours(prints[:count], np.arange(count))
    assert len(first) == len(second) == len(spread) <= count * (count - 1)
    assert all(len(pairs.first) == 0 for pairs in altered_pairs(prints[:count], np.arange(count)).values())


def test_flat_photos_are_compared_without_a_division_by_zero():
    flat = Fingerprint().extract(np.repeat(np.array([0, 200, 255], np.uint8), 32 * 32 * 3).reshape(3, 32, 32, 3))
    with np.errstate(all="raise", under="ignore"):
        altered_pairs(flat, np.arange(3))


def test_what_was_done_is_listed(photos, fresh_cache):
    rng = np.random.default_rng(2)
    kinds = ("exact", "recompressed", "mirrored", "darker by 10%", "cropped by 5%")
    some = photos[: len(kinds)]
    copies = [copied(photo, kind, rng) for photo, kind in zip(some, kinds, strict=True)]
    count = len(kinds)
    catalogue = Catalogue(
        name="small",
        categories=(Category("a", "a"), Category("b", "b")),
        product_id=np.arange(2 * count + 1),
        product_category=(np.arange(2 * count + 1) % 2).astype(np.int32),
        image_product=np.arange(2 * count + 1, dtype=np.int32),
        images=InMemoryImages([*some, *copies, photos[20]]),
        split=np.repeat(["train", "test", "validation"], [count, count, 1]),
    )
    digests = image_digests(catalogue, QUIET)
    found = find_twins(gather(catalogue, make_split(catalogue, SplitSettings(), 0, digests)), digests, 1, QUIET)
    assert found.frame["product_id"].tolist() == list(range(count, 2 * count))
    assert found.frame["twin_product_id"].tolist() == list(range(count))
    assert found.frame["kind"].tolist() == ["exact", "near", "near", "near", "near"]
    assert found.frame["change"].tolist() == ["", "", "mirrored", "brightness", "cropped"]
    counts = found.record()["products_with_a_twin"]["test in train"]
    assert counts == {"exact": 1, "near": 4, "mirrored": 1, "brightness": 1, "cropped": 1, "label_differs": 5}


@pytest.mark.slow
def test_the_goals_on_photos_that_chose_no_limit(real_data, fresh_cache):
    catalogue, shoes = fashion(real_data)
    other = generated(11)
    for source, wanted in ((catalogue, np.flatnonzero(shoes)), (other, np.arange(len(other.images)))):
        rows, prints = distinct(source, wanted)
        found = {row["copies"]: row["found"] for row in recall(source, rows, prints, 200, seed=1)}
        assert {kind: found[kind] for kind in FOUND if found[kind] < 0.95 * 200} == {}
        assert false_pairs(source.image_product[rows], prints)["false_per_million"] <= 1
