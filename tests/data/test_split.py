"""The paper's split: its counts, seed and hash, duplicates, and catalogues with too few products."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfbench.base.errors import InputError
from shelfbench.data.catalogue import Catalogue, Category
from shelfbench.data.split import SplitSettings, make_split, paper_counts, split_hash


class NoImages:
    """Images that are never read."""

    files = ()

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count


def catalogue(sizes, photos=1, split=None):
    category = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    owner = np.repeat(np.arange(len(category)), photos).astype(np.int32)
    return Catalogue(
        name="shop",
        categories=tuple(Category(f"c{i}", f"C{i}") for i in range(len(sizes))),
        product_id=np.arange(len(category)) + 500,
        product_category=category,
        image_product=owner,
        images=NoImages(len(owner)),
        split=split,
    )


def split_of(cat, seed=0, digests=None, **options):
    return make_split(
        cat, SplitSettings(**options), seed, np.arange(len(cat.images)).astype("V16") if digests is None else digests
    )


@pytest.mark.parametrize(
    ("products", "expected"),
    [
        (100, (80, 10, 10)),
        (1000, (800, 100, 100)),
        (20, (9, 1, 10)),
        (28, (16, 2, 10)),
        (55, (40, 5, 10)),
        (99, (79, 10, 10)),
        (3, (1, 1, 1)),
        (2, (1, 0, 1)),
        (1, (1, 0, 0)),
    ],
)
def test_counts_of_the_paper(products, expected):
    assert paper_counts(products) == expected


@given(st.integers(20, 5000))
def test_counts_are_whole_and_near_the_shares(products):
    train, validation, test = paper_counts(products)
    assert train + validation + test == products
    assert validation >= 1
    if products < 100:
        assert test == 10
        assert abs(validation - (products - 10) / 9) <= 1
    else:
        assert abs(test - products / 10) <= 0.5
        assert validation == test


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 260), min_size=2, max_size=8), st.integers(0, 2**32 - 1))
def test_every_category_follows_the_rule(sizes, seed):
    cat = catalogue(sizes, photos=2)
    enough = [size for size in sizes if size >= 20]
    if len(enough) < 2:
        with pytest.raises(InputError, match=r"split\.min_products"):
            split_of(cat, seed)
        return
    split = split_of(cat, seed)
    frame = split.frame(cat)
    assert frame["product_id"].is_unique
    for code, size in enumerate(sizes):
        rows = frame[frame["category"] == f"c{code}"]
        counts = tuple((rows["split"] == name).sum() for name in ("train", "validation", "test"))
        assert counts == (paper_counts(size) if size >= 20 else (0, 0, 0))
    assert split.excluded_products == sum(size for size in sizes if size < 20)
    halves = frame["role"].value_counts()
    assert abs(halves.get("tune", 0) - halves.get("certify", 0)) <= 1
    assert set(frame.loc[frame["split"] == "validation", "role"]) <= {"tune", "certify"}


def test_the_seed_determines_the_split_and_its_hash():
    cat = catalogue([60, 130, 40])
    first, again, other = split_of(cat, 1), split_of(cat, 1), split_of(cat, 2)
    assert split_hash(first.frame(cat)) == split_hash(again.frame(cat).sample(frac=1, random_state=0))
    assert split_hash(first.frame(cat)) != split_hash(other.frame(cat))


def test_categories_are_drawn_among_those_with_enough_products():
    cat = catalogue([25, 30, 5, 40, 50, 60, 19])
    drawn = {tuple(sorted(set(split_of(cat, seed, categories=2).frame(cat)["category"]))) for seed in range(40)}
    assert len(drawn) > 5
    assert {name for pair in drawn for name in pair} == {"c0", "c1", "c3", "c4", "c5"}
    with pytest.raises(InputError, match="categories with at least 20 products is 5"):
        split_of(cat, categories=6)


def test_too_few_products_name_the_setting():
    with pytest.raises(
        InputError, match=r"none of its 3 categories has 20 products \(the largest has 9\).*split.min_products=4"
    ):
        split_of(catalogue([9, 3, 2]))
    with pytest.raises(InputError, match="only one category"):
        split_of(catalogue([50]))
    with pytest.raises(InputError, match="no product is left for validation"):
        split_of(catalogue([2, 2]), min_products=1)


def test_a_split_that_comes_with_the_data_is_kept_and_not_filtered():
    brought = np.array((["train"] * 6 + ["validation"] + ["test"] * 2) * 2, object)
    cat = catalogue([9, 9], split=brought)
    split = split_of(cat)
    assert split.frame(cat)["split"].tolist() == brought.tolist()
    assert "as it comes with the data" in split.rule
    with pytest.raises(InputError, match=r"split\.min_products"):
        split_of(cat, rule="paper")


def test_a_split_without_validation_takes_an_eighth_of_train():
    cat = catalogue(
        [100, 48], split=np.array((["train"] * 80 + ["test"] * 20) + (["train"] * 40 + ["test"] * 8), object)
    )
    frame = split_of(cat).frame(cat)
    counts = frame.groupby(["category", "split"]).size().to_dict()
    assert counts[("c0", "validation")] == 10
    assert counts[("c1", "validation")] == 5
    assert counts[("c0", "test")] == 20
    with pytest.raises(InputError, match=r"without a test part.*split.rule=paper"):
        split_of(catalogue([9, 9], split=np.array(["train"] * 9 + ["validation"] * 9, object)))


def test_imagenets_validation_is_test_if_the_study_says_so():
    brought = np.array((["train"] * 40 + ["validation"] * 9) * 2, object)
    cat = catalogue([49, 49], split=brought)
    with pytest.raises(InputError, match=r"split\.rule=val-is-test"):
        split_of(cat)
    split = split_of(cat, rule="val-is-test")
    frame = split.frame(cat)
    assert (frame["split"] == "test").tolist() == (brought == "validation").tolist()
    assert frame.groupby(["category", "split"]).size().to_dict() == {
        (category, part): count
        for category in ("c0", "c1")
        for part, count in (("train", 35), ("validation", 5), ("test", 9))
    }
    assert "its validation part as test" in split.rule
    with_test = np.array((["train"] * 30 + ["validation"] * 10 + ["test"] * 9) * 2, object)
    for refused in (catalogue([49, 49], split=with_test), catalogue([49, 49])):
        with pytest.raises(InputError, match=r"omit split\.rule"):
            split_of(refused, rule="val-is-test")


def shared_digests(cat, pairs):
    digests = np.arange(len(cat.images)).astype("V16")
    for a, b in pairs:
        digests[b] = digests[a]
    return digests


def test_duplicates_across_splits_are_reported_dropped_or_grouped():
    cat = catalogue([120, 120])
    kept = split_of(cat, 3)
    where = {name: np.flatnonzero(kept.frame(cat)["split"] == name) for name in ("train", "validation", "test")}
    train, validation, test = (where[name] for name in ("train", "validation", "test"))
    pairs = [
        (train[0], test[0]),
        (train[1], test[1]),
        (validation[0], test[2]),
        (train[2], validation[1]),
        (train[4], train[5]),
    ]
    digests = shared_digests(cat, pairs)
    report = split_of(cat, 3, digests).duplicates
    assert report["distinct_images_across_splits"] == 4
    assert report["products_across_splits"] == 8
    assert report["test_products_seen_in_train_or_validation"] == 3
    assert report["images_with_equal_bytes"] == 10

    dropped = split_of(cat, 3, digests, duplicates="drop")
    ids = set(dropped.frame(cat)["product_id"] - 500)
    assert ids == set(range(240)) - {train[0], train[1], validation[0], train[2]}
    assert dropped.duplicates["products_dropped"] == 4
    assert dropped.excluded_products == 0

    grouped = split_of(cat, 3, digests, duplicates="group").frame(cat).set_index("product_id")["split"]
    for a, b in pairs:
        assert grouped[a + 500] == grouped[b + 500]
    unaffected = np.setdiff1d(np.arange(240), np.ravel(pairs)) + 500
    assert (grouped[unaffected] == kept.frame(cat).set_index("product_id")["split"][unaffected]).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 79), st.integers(0, 79)), max_size=12), st.sampled_from(["keep", "drop"]))
def test_photos_in_two_categories_are_counted(pairs, how):
    cat = catalogue([40, 40], photos=1)
    digests = shared_digests(cat, pairs)
    report = split_of(cat, 3, digests, duplicates=how).duplicates
    wrong = [product for product in range(80) if len(np.unique(cat.product_category[digests == digests[product]])) > 1]
    assert report.get("products_with_a_photo_in_another_category", 0) == len(wrong)
    if wrong:
        one, two = (int(text.split(" in ")[0]) - 500 for text in report["such_as"].split(" and "))
        assert {one, two} <= set(wrong)
        assert digests[one] == digests[two]
        assert cat.product_category[one] != cat.product_category[two]


@pytest.mark.parametrize("how", ["keep", "drop", "group"])
def test_empty_files_are_not_duplicates_of_each_other(how):
    from shelfbench.data.catalogue import DIGEST, digest

    cat = catalogue([120, 120])
    digests = np.arange(240).astype(DIGEST)
    digests[::3] = np.frombuffer(digest(b""), DIGEST)[0]
    split = split_of(cat, 3, digests, duplicates=how)
    assert len(split.product) == 240
    assert split.duplicates["products_across_splits"] == 0


def test_grouping_follows_chains():
    cat = catalogue([120, 120], photos=2)
    digests = shared_digests(cat, [(2 * i, 2 * i + 3) for i in range(0, 60)])
    grouped = split_of(cat, 0, digests, duplicates="group").frame(cat)["split"].to_numpy()
    assert len(set(grouped[:61])) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"rule": "mine"},
        {"duplicates": "maybe"},
        {"min_products": 0},
        {"categories": 1},
        {"categories": -3},
        {"certify": 0},
        {"certify": 1},
    ],
)
def test_wrong_settings_are_refused(options):
    with pytest.raises(InputError):
        SplitSettings(**options)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.3])
def test_a_share_of_validation_certifies_in_every_category_and_in_all(share):
    cat = catalogue([40, 55, 70, 120, 200, 30, 30, 30])
    made = split_of(cat, certify=share)
    frame = made.frame(cat)
    assert ("of validation" in made.rule) == (share != 0.5)
    held = frame[frame["split"] == "validation"]
    assert (held["role"] == "certify").sum() == pytest.approx(share * len(held), abs=1)
    for _, own in held.groupby("category"):
        assert (own["role"] == "certify").sum() == pytest.approx(share * len(own), abs=1)
    assert frame["split"].equals(split_of(cat).frame(cat)["split"])  # train and test stay as they are


def test_real_fashion_keeps_what_the_paper_keeps(real_data):
    from shelfbench.base.console import Console
    from shelfbench.data.datasets import open_dataset
    from shelfbench.data.sources.settings import DatasetSettings
    from shelfbench.generator import GeneratorSettings

    cat, _ = open_dataset(
        DatasetSettings(name="fashion"), GeneratorSettings(), real_data / "fashion", 1, Console(quiet=True)
    )
    split = split_of(cat)
    assert len(split.product) == 44042
    assert split.frame(cat)["category"].nunique() == 90
    assert (split.excluded_products, split.excluded_categories) == (399, 52)
