"""The paper's split, by product (C, section 3), or the one that the data brings; its hash; duplicates across splits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from shelfbench.base.errors import InputError
from shelfbench.data.catalogue import Catalogue, digest

SPLITS = ("train", "validation", "test")
ROLES = ("train", "tune", "certify", "test")
TRAIN, VALIDATION, TEST = 0, 1, 2


@dataclass(frozen=True)
class SplitSettings:
    """The section ``split`` of a study.

    Attributes
    ----------
    rule : {'auto', 'paper'}
        'auto' keeps a split that the data brings; 'paper' always draws the paper's.
    min_products : int
        Categories with fewer products are left out (the paper's 20); not applied to a split that the data brings.
    categories : int
        Draw this many of the categories at random; 0 keeps all.
    duplicates : {'keep', 'drop', 'group'}
        Products that share an image (equal bytes) across splits: reported only; dropped from the split that is read
        earlier (train before validation before test); or put into one split together.
    """

    rule: str = "auto"
    min_products: int = 20
    categories: int = 0
    duplicates: str = "keep"

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        if self.rule not in ("auto", "paper"):
            raise InputError(f"split.rule is {self.rule!r}", "choose auto or paper")
        if self.duplicates not in ("keep", "drop", "group"):
            raise InputError(f"split.duplicates is {self.duplicates!r}", "choose keep, drop or group")
        if self.min_products < 1:
            raise InputError(f"split.min_products is {self.min_products}", "give 1 or more")
        if self.categories < 0 or self.categories == 1:
            raise InputError(f"split.categories is {self.categories}", "give 2 or more, or 0 for all")


@dataclass(frozen=True)
class Split:
    """Which product does what.

    Attributes
    ----------
    product : ndarray of int64, shape (n,)
        Indices of the kept products in the catalogue, ascending.
    split : ndarray of int8, shape (n,)
        Codes into `SPLITS`.
    role : ndarray of int8, shape (n,)
        Codes into `ROLES`: validation is halved into tune and certify.
    rule : str
        What was done, in words.
    excluded_products, excluded_categories : int
        What the rule left out.
    excluded_reason : str
    duplicates : dict
        Report on images that stand in more than one split (JSON).
    """

    product: np.ndarray
    split: np.ndarray
    role: np.ndarray
    rule: str
    excluded_products: int
    excluded_categories: int
    excluded_reason: str
    duplicates: dict[str, int | str]

    def frame(self, catalogue: Catalogue) -> pd.DataFrame:
        """Give the manifest: product_id, category, split, role."""
        keys = np.array([category.key for category in catalogue.categories], object)
        return pd.DataFrame(
            {
                "product_id": catalogue.product_id[self.product],
                "category": keys[catalogue.product_category[self.product]],
                "split": np.array(SPLITS, object)[self.split],
                "role": np.array(ROLES, object)[self.role],
            }
        )


def split_hash(frame: pd.DataFrame) -> str:
    """Hash of a manifest, whatever the order of its rows (64 hexadecimal digits, SHA-256)."""
    lines = frame["product_id"].astype(str) + "\t" + frame["category"] + "\t" + frame["split"] + "\t" + frame["role"]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def paper_counts(products: int) -> tuple[int, int, int]:
    """How many products of a category go to train, validation and test (C, section 3).

    From 100 products on 80/10/10; below, 10 to test and the rest 8 : 1, at least one to validation. Below 20 products,
    which the paper leaves out, test takes at most half, and train keeps at least one.
    """
    if products >= 100:
        held = round(products / 10)
        return products - 2 * held, held, held
    test = min(10, products // 2)
    rest = products - test
    validation = max(1, round(rest / 9)) if rest > 1 else 0
    return rest - validation, validation, test


def _choose_categories(
    catalogue: Catalogue, settings: SplitSettings, floor: int, rng: np.random.Generator
) -> np.ndarray:
    """Categories that stay: those with enough products, or a random draw of them."""
    sizes = np.bincount(catalogue.product_category, minlength=len(catalogue.categories))
    kept = np.flatnonzero(sizes >= floor)
    if len(kept) == 0:
        raise InputError(
            f"{catalogue.name}: none of its {len(sizes)} categories has {floor} products (the largest has "
            f"{sizes.max()})",
            f"lower the bar, for example --set split.min_products={max(1, sizes.max() // 2)}",
        )
    if settings.categories:
        if settings.categories > len(kept):
            raise InputError(
                f"{catalogue.name}: split.categories={settings.categories}, and {len(kept)} categories have at "
                f"least {floor} products",
                f"ask for at most {len(kept)}, or lower split.min_products",
            )
        kept = np.sort(rng.choice(kept, settings.categories, replace=False))
    return kept


def _draw(categories: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the paper's split for products of these categories."""
    split = np.full(len(categories), TRAIN, np.int8)
    for code in np.unique(categories):
        members = rng.permutation(np.flatnonzero(categories == code))
        _, validation, test = paper_counts(len(members))
        split[members[:test]] = TEST
        split[members[test : test + validation]] = VALIDATION
    return split


def _brought(catalogue: Catalogue, product: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Keep the split that the data brings; draw what it lacks of validation from train."""
    assert catalogue.split is not None
    split = np.select([catalogue.split[product] == name for name in SPLITS], [TRAIN, VALIDATION, TEST]).astype(np.int8)
    present = set(np.unique(split).tolist())
    if TRAIN not in present or TEST not in present:
        lacks = "train" if TRAIN not in present else "test"
        raise InputError(
            f"{catalogue.name} brings a split without a {lacks} part",
            "add it, or draw the paper's split with --set split.rule=paper",
        )
    rule = "as the data brings it"
    if VALIDATION not in present:
        categories = catalogue.product_category[product]
        for code in np.unique(categories):
            members = rng.permutation(np.flatnonzero((categories == code) & (split == TRAIN)))
            split[members[: round(len(members) / 8) if len(members) > 7 else int(len(members) > 1)]] = VALIDATION
        rule += "; an eighth of train, by category, is validation"
    return split, rule


def _roles(split: np.ndarray, categories: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Halve validation into tune and certify within each category, odd ones going to either in turn."""
    role = np.select([split == TRAIN, split == TEST], [0, 3], 1).astype(np.int8)
    turn = 0
    for code in np.unique(categories[split == VALIDATION]):
        members = rng.permutation(np.flatnonzero((split == VALIDATION) & (categories == code)))
        certify = (len(members) + turn) // 2
        if len(members) % 2:
            turn = 1 - turn
        role[members[:certify]] = 2
    return role


def _components(owner: np.ndarray, digest: np.ndarray, products: int) -> np.ndarray:
    """Label products so that those which share an image, directly or through others, have one label."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(owner), bool), (owner, products + digest)), shape=(products + digest.max() + 1,) * 2)
    return connected_components(graph, directed=False)[1][:products]


def _handle_duplicates(
    split: np.ndarray, owner: np.ndarray, digest: np.ndarray, how: str
) -> tuple[np.ndarray, dict[str, int | str]]:
    """Report, drop or group products that share an image across splits.

    Returns
    -------
    ndarray of int8
        The new split; -1 for a dropped product.
    dict
        The report.
    """
    shared = pd.DataFrame({"digest": digest, "split": split[owner], "product": owner})
    shared = shared[shared["digest"].duplicated(keep=False)]
    by_image = shared.groupby("digest")["split"].agg(["min", "max", "nunique"])
    across = by_image[by_image["nunique"] > 1]
    crossing = shared[shared["digest"].isin(across.index)]
    report: dict[str, int | str] = {
        "handling": how,
        "images_with_equal_bytes": len(shared),
        "distinct_images_across_splits": len(across),
        "products_across_splits": int(crossing["product"].nunique()),
        "test_products_seen_in_train_or_validation": int(crossing.loc[crossing["split"] == TEST, "product"].nunique()),
        "products_dropped": 0,
        "products_moved": 0,
    }
    split = split.copy()
    if how == "drop" and len(across):
        last = crossing["digest"].map(across["max"])
        gone = crossing.loc[crossing["split"] < last, "product"].unique()
        split[gone] = -1
        report["products_dropped"] = len(gone)
    elif how == "group" and len(across):
        label = _components(owner, digest, len(split))
        affected = np.unique(label[crossing["product"].unique()])
        members = np.flatnonzero(np.isin(label, affected))
        votes = np.zeros((label.max() + 1, len(SPLITS)), np.int64)
        np.add.at(votes, (label[members], split[members]), 1)
        target = votes.argmax(axis=1)  # the first largest: ties go to train
        report["products_moved"] = int((split[members] != target[label[members]]).sum())
        split[members] = target[label[members]]
    return split, report


def make_split(catalogue: Catalogue, settings: SplitSettings, seed: int, digests: np.ndarray) -> Split:
    """Split a catalogue by product.

    Parameters
    ----------
    catalogue : Catalogue
    settings : SplitSettings
    seed : int
        The same catalogue, settings and seed give the same split.
    digests : ndarray of void or bytes, shape (images,)
        Hash of the content of every image.

    Raises
    ------
    InputError
        If no category, or only one, has enough products, or the data brings half a split.
    """
    rng = np.random.default_rng([seed, 0x5F11])
    brought = catalogue.split is not None and settings.rule == "auto"
    floor = 1 if brought else settings.min_products
    kept = _choose_categories(catalogue, settings, floor, rng)
    if len(kept) < 2:
        problem = (
            f"{catalogue.name} has a single category ({catalogue.categories[kept[0]].key})"
            if len(catalogue.categories) == 1
            else f"{catalogue.name}: only one category has {floor} products"
        )
        raise InputError(
            problem,
            "give at least two categories"
            if len(catalogue.categories) == 1
            else "lower the bar with --set split.min_products=N",
        )
    product = np.flatnonzero(np.isin(catalogue.product_category, kept))
    categories = catalogue.product_category[product]
    if brought:
        split, rule = _brought(catalogue, product, rng)
    else:
        split, rule = (
            _draw(categories, rng),
            (
                f"by product: categories of {floor} products or more; 80/10/10 from 100 on, "
                "below 10 to test and the rest 8:1"
            ),
        )
    position = np.full(len(catalogue.product_id), -1, np.int64)
    position[product] = np.arange(len(product))
    # an empty or missing file is like no other, and no reason to drop a product
    of_kept = (position[catalogue.image_product] >= 0) & (digests != np.frombuffer(digest(b""), digests.dtype)[0])
    _, digest_code = np.unique(digests[of_kept], return_inverse=True)
    split, report = _handle_duplicates(
        split, position[catalogue.image_product[of_kept]], digest_code, settings.duplicates
    )
    stays = split >= 0
    product, split, categories = product[stays], split[stays], categories[stays]
    for code, name in enumerate(SPLITS):
        if not (split == code).any():
            raise InputError(
                f"{catalogue.name}: no product is left for {name}", "give more products, or other split settings"
            )
    present = len(np.unique(catalogue.product_category))
    reason = (
        f"fewer than {floor} products (split.min_products)"
        if not settings.categories
        else f"fewer than {floor} products, or not among the {settings.categories} drawn (split.categories)"
    )
    excluded = len(catalogue.product_id) - int(stays.sum()) - int(report["products_dropped"])
    return Split(
        product,
        split,
        _roles(split, categories, rng),
        rule,
        excluded,
        present - len(kept),
        reason if excluded else "",
        report,
    )
