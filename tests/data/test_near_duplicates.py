"""Near-duplicate photos, compared with the reference hash, brute force and planted copies."""

import io

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shelfbench.base.console import Console
from shelfbench.data.ahead import Decoding, decoded_ahead
from shelfbench.data.catalogue import Catalogue, Category, chunks
from shelfbench.data.datasets import open_dataset
from shelfbench.data.feature_store import image_digests
from shelfbench.data.fingerprint import Fingerprint
from shelfbench.data.images import open_image
from shelfbench.data.material import gather
from shelfbench.data.near_duplicates import (
    BITS,
    DIFFERENCE,
    RELATIVE,
    find_twins,
    near_pairs,
    perceptual_hashes,
)
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.split import SplitSettings, make_split
from shelfbench.generator import GeneratorSettings
from tests.helpers.photos import InMemoryImages, noise_picture

QUIET = Console(quiet=True)


def smooth_pictures(count, seed=0):
    """Make grey pictures of 32 x 32 pixels with low frequencies only."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, 6, 6), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling.BICUBIC)) for one in small])


def test_hashes_equal_those_of_imagehash():
    grey = smooth_pictures(200)
    ours = perceptual_hashes(Fingerprint().extract(np.repeat(grey[..., None], 3, axis=3)))
    theirs = [imagehash.phash(Image.fromarray(picture)) for picture in grey]
    bits = np.array([np.packbits(one.hash.ravel()).view(">u8")[0] for one in theirs], np.uint64)
    # a coefficient that equals the median except for rounding may fall on either side
    assert np.bitwise_count(ours ^ bits).max() <= 1
    assert (ours == bits).mean() > 0.97


def test_the_distance_is_that_of_the_smoothed_photos():
    pictures = smooth_pictures(2)
    one, two = Fingerprint().extract(np.repeat(pictures[..., None], 3, axis=3))
    # pictures of six by six points have no frequencies above those that are kept
    expected = np.sqrt(np.mean((pictures[0].astype(float) - pictures[1]) ** 2))
    assert np.linalg.norm(one - two) == pytest.approx(expected, rel=1e-3)


def test_no_images_give_no_pairs():
    empty = Fingerprint().extract(np.empty((0, 32, 32, 3), np.uint8))
    assert empty.shape == (0, Fingerprint.dimensions)
    assert len(near_pairs(empty, np.empty(0, np.int64)).first) == 0


def brute_force(fingerprints, queries):
    hashes = perceptual_hashes(fingerprints)
    contrast = np.linalg.norm(fingerprints[:, 1:256], axis=1)
    found = set()
    for a in queries:
        bits = np.bitwise_count(hashes[a] ^ hashes)
        distance = np.linalg.norm(fingerprints - fingerprints[a], axis=1)
        near = (bits <= BITS) & (distance <= np.minimum(DIFFERENCE, RELATIVE * np.minimum(contrast, contrast[a])))
        found |= {(int(a), int(b)) for b in np.flatnonzero(near) if b != a}
    return found


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 6))
def test_lookups_find_every_pair(seed, noise):
    rng = np.random.default_rng(seed)
    originals = rng.normal(0, 6, (12, Fingerprint.dimensions)).astype(np.float32)
    copies = np.repeat(originals, 6, axis=0)
    copies = copies + rng.normal(0, noise / np.sqrt(Fingerprint.dimensions), copies.shape).astype(np.float32)
    queries = np.flatnonzero(rng.random(len(copies)) < 0.6)
    found = near_pairs(copies, queries)
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == brute_force(copies, queries)
    assert len(found.first) == len(brute_force(copies, queries)), "a pair is found once"


def encoded(picture: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "PNG")
    return data.getvalue()


def altered(picture: bytes, rng) -> bytes:
    """Recompress the photo or make it smaller."""
    image, data = open_image(picture), io.BytesIO()
    if rng.random() < 0.5:
        image.save(data, "JPEG", quality=int(rng.integers(60, 91)))
    else:
        share = rng.uniform(0.5, 0.9)
        image = image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.LANCZOS)
        image.save(data, "JPEG", quality=90)
    return data.getvalue()


def planted(pictures: list[bytes], owner: np.ndarray, seed: int):
    """Make a catalogue with the products in train and 200 copies of a photo each in test, half of them altered.

    Return the catalogue and the product that each test product copies, the exact copies first.
    """
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(pictures), 200, replace=False))
    order = rng.permutation(200)
    copied = chosen[order]
    copies = [pictures[i] if k < 100 else altered(pictures[i], rng) for k, i in enumerate(copied)]
    products = int(owner[-1]) + 1
    split = np.repeat(np.array(["train", "test"], "U10"), [products, 200])
    split[np.setdiff1d(np.arange(products), owner[copied])[:20]] = "validation"
    catalogue = Catalogue(
        name="planted",
        categories=(Category("a", "a"), Category("b", "b")),
        product_id=np.arange(products + 200),
        product_category=(np.arange(products + 200) % 2).astype(np.int32),
        image_product=np.concatenate([owner, products + np.arange(200)]).astype(np.int32),
        images=InMemoryImages([*pictures, *copies]),
        split=split,
    )
    return catalogue, owner[copied]


def check_planted(catalogue, copied):
    """All exact copies and 95 of 100 altered ones are found and lead to the product that they copy."""
    digests = image_digests(catalogue, QUIET)
    material = gather(catalogue, make_split(catalogue, SplitSettings(), 0, digests))
    twins = find_twins(material, digests, 2, QUIET).frame
    in_train = twins[(twins["split"] == "test") & (twins["twin_split"] == "train")].set_index("product_id")
    first = len(catalogue.product_id) - 200
    exact, altered_ones = np.arange(first, first + 100), np.arange(first + 100, first + 200)
    found = in_train.reindex(exact)
    assert (found["kind"] == "exact").all()
    assert (found["distance"] == 0).all()
    near = in_train.reindex(altered_ones)
    right = (near["twin_product_id"] == copied[100:]).to_numpy()
    assert right.sum() >= 95, f"{right.sum()} of 100 altered copies found"
    return twins


def false_pairs(images, owner, rows, kinds, seed):
    """Count, among 10,000 random pairs of different products of one kind, those taken for the same photo."""
    rng = np.random.default_rng(seed)
    batches = decoded_ahead(
        images,
        chunks(rows, 512),
        Decoding(Fingerprint.pixels, "stretch", 2),
        then=lambda batch, pixels, reasons: (pixels, reasons),
    )
    parts = []
    for pixels, reasons in batches:
        assert not reasons
        parts.append(Fingerprint().extract(pixels))
    fingerprints = np.concatenate(parts)
    pairs = np.empty((0, 2), np.int64)
    content = np.array([hash(data) for data in images.read(rows)])
    while len(pairs) < 10_000:
        a, b = rng.integers(0, len(rows), (2, 50_000))
        different = (owner[rows[a]] != owner[rows[b]]) & (kinds[rows[a]] == kinds[rows[b]])
        different &= (content[a] != content[b]) & np.any(fingerprints[a] != fingerprints[b], axis=1)
        pairs = np.concatenate([pairs, np.stack([a, b], axis=1)[different]])
    found = near_pairs(fingerprints, np.arange(len(rows)))
    together = found.first * len(rows) + found.second
    return int(np.isin(pairs[:10_000] @ np.array([len(rows), 1]), together).sum())


def test_planted_copies_in_the_generated_catalogue(fresh_cache):
    generated = GeneratorSettings(seed=7, products=320, categories=8, departments=4, pixels=96, label_noise=0.0)
    catalogue, _ = open_dataset(DatasetSettings(name="generated"), generated, None, 1, QUIET)
    pictures = catalogue.images.read(np.arange(len(catalogue.images)))
    check_planted(*planted(pictures, catalogue.image_product.astype(np.int64), seed=1))
    kinds = catalogue.product_category[catalogue.image_product]
    assert false_pairs(catalogue.images, catalogue.image_product, np.arange(len(pictures)), kinds, seed=2) <= 100


def test_planted_copies_among_real_shoes(real_data, fresh_cache):
    # the thresholds were chosen without the shoes of this catalogue
    catalogue, _ = open_dataset(DatasetSettings(name="fashion"), GeneratorSettings(), real_data / "fashion", 1, QUIET)
    shoes = np.array(["Footwear" in category.levels for category in catalogue.categories])
    kinds = catalogue.product_category[catalogue.image_product]
    rows = np.flatnonzero(shoes[kinds])
    assert len(rows) > 9_000
    assert false_pairs(catalogue.images, catalogue.image_product, rows, kinds, seed=3) <= 100
    sample = np.sort(np.random.default_rng(4).choice(rows, 1_500, replace=False))
    check_planted(*planted(catalogue.images.read(sample), np.arange(len(sample)), seed=5))


def small_catalogue(pictures, owner, category, split):
    products = int(max(owner)) + 1
    return Catalogue(
        name="small",
        categories=tuple(Category(str(key), str(key)) for key in range(max(category) + 1)),
        product_id=np.arange(products) + 10,
        product_category=np.array(category, np.int32),
        image_product=np.array(owner, np.int32),
        images=InMemoryImages(pictures),
        split=np.array(split),
    )


def twins_of(catalogue):
    digests = image_digests(catalogue, QUIET)
    material = gather(catalogue, make_split(catalogue, SplitSettings(), 0, digests))
    return find_twins(material, digests, 1, QUIET)


def test_what_is_listed_about_a_twin(fresh_cache):
    a, b, c, other = (encoded(picture) for picture in smooth_pictures(4))
    # products 10 and 11 in train, 12 in validation, 13 to 15 in test; 13 shows b and a recompressed a
    catalogue = small_catalogue(
        [a, b, other, b, altered(a, np.random.default_rng(0)), c, c],
        [0, 1, 2, 3, 3, 4, 5],
        [0, 1, 0, 1, 0, 0],
        ["train", "train", "validation", "test", "test", "test"],
    )
    found = twins_of(catalogue)
    rows = found.frame[["product_id", "twin_product_id", "kind", "label_differs"]].values.tolist()
    # equal bytes take precedence; the other twin there has another category, which is reported
    assert rows == [[13, 11, "exact", True]]
    counts = {"exact": 1, "near": 0, "mirrored": 0, "brightness": 0, "cropped": 0, "label_differs": 1}
    assert found.record()["products_with_a_twin"] == {"test in train": counts}


def test_equal_photos_within_a_product_or_a_part_are_not_a_leak(fresh_cache):
    a, b, c = (noise_picture(seed, size=(40, 40)) for seed in range(3))
    catalogue = small_catalogue(
        [a, a, b, b, c, noise_picture(5)],
        [0, 0, 1, 2, 3, 4],
        [0, 1, 1, 0, 1],
        ["train", "train", "train", "test", "validation"],
    )
    assert len(twins_of(catalogue).frame) == 0


def test_unreadable_photos_are_counted_and_have_no_twins(fresh_cache):
    broken = noise_picture(1)[:60]
    catalogue = small_catalogue(
        [noise_picture(0), noise_picture(2), broken, b"", broken, b"", noise_picture(4)],
        [0, 1, 1, 1, 2, 2, 3],
        [0, 1, 0, 1],
        ["train", "train", "test", "validation"],
    )
    found = twins_of(catalogue)
    assert len(found.frame) == 0
    assert found.unreadable == 4


def test_fingerprints_are_kept_by_content(fresh_cache, monkeypatch):
    catalogue = small_catalogue(
        [noise_picture(n) for n in (0, 1, 2, 0)], [0, 1, 2, 3], [0, 1, 0, 1], ["train", "train", "validation", "test"]
    )
    before = twins_of(catalogue).frame
    monkeypatch.setattr(Fingerprint, "extract", None)  # nothing may be computed again
    assert twins_of(catalogue).frame.equals(before)
    assert len(before) == 1
