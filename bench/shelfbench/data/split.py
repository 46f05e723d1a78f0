"""The paper's split by product (C, section 3) or the split that comes with the data; its hash; duplicates."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from shelfbench.base.errors import InputError
from shelfbench.base.grid import number_of
from shelfbench.data.catalogue import Catalogue, digest
from shelfbench.data.repeated import contradictions, perhaps_repeated

SPLITS = ("train", "validation", "test")
ROLES = ("train", "tune", "certify", "test")
TRAIN, VALIDATION, TEST = 0, 1, 2
VAL_IS_TEST = "val-is-test"
_HASHED = 1 << 20  # lines of a manifest in memory at a time


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """The section ``split`` of a study.

    Attributes
    ----------
    rule : {'auto', 'paper', 'val-is-test'}
        'auto' keeps a split that comes with the data; 'paper' always draws the paper's; 'val-is-test' keeps one of
        train and validation (ImageNet's) and takes its validation for test.
    min_products : int
        Categories with fewer products are excluded (20 in the paper), unless the split comes with the data.
    categories : int
        Draw this many of the categories at random; 0 keeps all.
    duplicates : {'keep', 'drop', 'group'}
        What to do with products that share an image (equal bytes) across splits: only report them; drop those in the
        earlier split (in the order train, validation, test); or move them into one split.
    certify : float
        Share of validation, within each category, that certifies; the rest tunes. Where validation is small, 0.8 lets
        more be certified (docs/deciding.md).
    """

    rule: str = "auto"
    min_products: int = 20
    categories: int = 0
    duplicates: str = "keep"
    # as_record of shelfbench.plugins.backend: what is not in the records of earlier runs
    certify: float = field(default=0.5, metadata={"earlier": 0.5})

    def __post_init__(self) -> None:
        """Validate the settings."""
        if self.rule not in ("auto", "paper", VAL_IS_TEST):
            raise InputError(f"split.rule is {self.rule!r}", f"choose auto, paper or {VAL_IS_TEST}")
        if self.duplicates not in ("keep", "drop", "group"):
            raise InputError(f"split.duplicates is {self.duplicates!r}", "choose keep, drop or group")
        if self.min_products < 1:
            raise InputError(f"split.min_products is {self.min_products}", "give 1 or more")
        if self.categories < 0 or self.categories == 1:
            raise InputError(f"split.categories is {self.categories}", "give 2 or more, or 0 for all")
        if not 0.1 <= self.certify <= 0.9:
            raise InputError(f"split.certify is {self.certify}", "give a share of validation from 0.1 to 0.9, like 0.8")


@dataclass(frozen=True, kw_only=True)
class Split:
    """The split and the role of every product.

    Attributes
    ----------
    product : ndarray of int64, shape (n,)
        Indices of the kept products in the catalogue, ascending.
    split : ndarray of int8, shape (n,)
        Codes into `SPLITS`.
    role : ndarray of int8, shape (n,)
        Codes into `ROLES`; validation is divided into tune and certify.
    rule : str
        The rule of the split, in words.
    excluded_products, excluded_categories : int
        How many the rule excluded.
    excluded_reason : str
        Why, in words.
    duplicates : dict
        Report (JSON) on images that appear in more than one split.
    """

    product: np.ndarray
    split: np.ndarray
    role: np.ndarray
    rule: str
    excluded_products: int
    excluded_categories: int
    excluded_reason: str
    duplicates: dict[str, int | str]

    def frame(self, catalogue: Catalogue, order: np.ndarray | None = None) -> pd.DataFrame:
        """Return the manifest: product_id, category, split, role; in another order of the products if one is given."""
        rows = np.arange(len(self.product)) if order is None else order
        keys = [category.key for category in catalogue.categories]
        return pd.DataFrame(
            {
                "product_id": catalogue.product_id[self.product[rows]],
                "category": _words(keys, catalogue.product_category[self.product[rows]]),
                "split": _words(SPLITS, self.split[rows]),
                "role": _words(ROLES, self.role[rows]),
            }
        )


def _words(names: Sequence[str], codes: np.ndarray) -> Any:
    """Return a column of text of a few different values, without making a string for every row."""
    return pd.Series(np.array(names, object)).array.take(codes)


def split_hash(frame: pd.DataFrame) -> str:
    """Hash a manifest, regardless of the order of its rows (SHA-256, 64 hexadecimal digits).

    The text is sorted in Arrow, by its bytes in UTF-8, which is the order of Python's strings, and hashed in blocks: 20
    million Python strings would be several GiB.
    """
    columns = [pa.array(frame[name].astype(str), pa.large_string()) for name in ("product_id", "category")]
    columns += [pa.array(frame[name], pa.large_string()) for name in ("split", "role")]
    lines = pc.binary_join_element_wise(*columns, pa.scalar("\t", pa.large_string()))
    order, state = pc.sort_indices(lines), hashlib.sha256()
    for start in range(0, len(order), _HASHED):
        block = lines.take(order[start : start + _HASHED]).to_pylist()
        state.update(("\n" * (start > 0) + "\n".join(block)).encode())
    return state.hexdigest()


def paper_counts(products: int) -> tuple[int, int, int]:
    """Count the products of a category that go to train, validation and test (C, section 3).

    With 100 products or more, 80%, 10% and 10%. With fewer, 10 go to test and the rest is divided 8 : 1, with at least
    one product for validation. With fewer than 20, which the paper excludes, test takes at most half and train keeps at
    least one.
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
    """Keep the categories with enough products, or a random draw of them."""
    sizes = np.bincount(catalogue.product_category, minlength=len(catalogue.categories))
    kept = np.flatnonzero(sizes >= floor)
    if len(kept) == 0:
        raise InputError(
            f"{catalogue.name}: none of its {len(sizes)} categories has {number_of(floor, 'product')} (the largest has "
            f"{sizes.max()})",
            f"lower the minimum, for example --set split.min_products={max(1, sizes.max() // 2)}",
        )
    if settings.categories:
        if settings.categories > len(kept):
            raise InputError(
                f"{catalogue.name}: split.categories={settings.categories}, but the number of categories with at least "
                f"{number_of(floor, 'product')} is {len(kept)}",
                f"ask for at most {len(kept)}, or lower split.min_products",
            )
        kept = np.sort(rng.choice(kept, settings.categories, replace=False))
    return kept


def _by_category(categories: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each category that occurs, in order of code; one sort instead of a search for each."""
    order = np.argsort(categories, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(categories[order])) + 1) if len(order) else []


def _draw(categories: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the paper's split for products of these categories."""
    split = np.full(len(categories), TRAIN, np.int8)
    for rows in _by_category(categories):
        members = rng.permutation(rows)
        _, validation, test = paper_counts(len(members))
        split[members[:test]] = TEST
        split[members[test : test + validation]] = VALIDATION
    return split


def _brought(
    catalogue: Catalogue, product: np.ndarray, wanted: str, rng: np.random.Generator
) -> tuple[np.ndarray, str]:
    """Keep the split that comes with the data; if it has no validation part, draw one from train."""
    assert catalogue.split is not None
    split = np.select([catalogue.split[product] == name for name in SPLITS], [TRAIN, VALIDATION, TEST]).astype(np.int8)
    present = set(np.unique(split).tolist())
    rule = "as it comes with the data"
    if wanted == VAL_IS_TEST:
        if TEST in present:
            raise InputError(f"{catalogue.name} comes with a test part of its own", f"omit split.rule={VAL_IS_TEST}")
        split[split == VALIDATION] = TEST
        present = set(np.unique(split).tolist())
        rule += ", its validation part as test"
    if TRAIN not in present or TEST not in present:
        lacks = "train" if TRAIN not in present else "test"
        choice = (
            f"; to take its validation part for test, as is usual for ImageNet: --set split.rule={VAL_IS_TEST}"
            if lacks == "test" and VALIDATION in present
            else ""
        )
        raise InputError(
            f"{catalogue.name} comes with a split without a {lacks} part",
            f"add it, or draw the paper's split with --set split.rule=paper{choice}",
        )
    if VALIDATION not in present:
        train = np.flatnonzero(split == TRAIN)
        for rows in _by_category(catalogue.product_category[product[train]]):
            members = rng.permutation(train[rows])
            split[members[: round(len(members) / 8) if len(members) > 7 else int(len(members) > 1)]] = VALIDATION
        rule += "; an eighth of train, by category, becomes validation"
    return split, rule


def _roles(split: np.ndarray, categories: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Divide validation into tune and certify within each category; what is left of a product goes to the next one."""
    role = np.select([split == TRAIN, split == TEST], [0, 3], 1).astype(np.int8)
    exact, left = Fraction(str(share)), Fraction(0)
    validation = np.flatnonzero(split == VALIDATION)
    for rows in _by_category(categories[validation]):
        members = rng.permutation(validation[rows])
        certify, left = divmod(len(members) * exact + left, 1)
        role[members[:certify]] = 2
    return role


def _components(owner: np.ndarray, digest: np.ndarray, products: int) -> np.ndarray:
    """Give the same label to products that share an image, directly or through other products."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(owner), bool), (owner, products + digest)), shape=(products + digest.max() + 1,) * 2)
    found: np.ndarray = connected_components(graph, directed=False)[1][:products]
    return found


def _handle_duplicates(
    split: np.ndarray, owner: np.ndarray, digest: np.ndarray, how: str
) -> tuple[np.ndarray, dict[str, int | str]]:
    """Report, drop or group products that share an image across splits.

    Parameters
    ----------
    split : ndarray of int8, shape (products,)
    owner : ndarray of int64, shape (images,)
        Product of each image.
    digest : ndarray of int64, shape (images,)
        Code of each image's content. Images whose content no other one has may be left out.
    how : {'keep', 'drop', 'group'}

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
        target = votes.argmax(axis=1)  # the first maximum: ties go to train
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

    Returns
    -------
    Split

    Raises
    ------
    InputError
        If fewer than two categories have enough products, or the split that comes with the data is incomplete.
    """
    rng = np.random.default_rng([seed, 0x5F11])
    if catalogue.split is None and settings.rule == VAL_IS_TEST:
        raise InputError(
            f"{catalogue.name} comes without a split, so it has no validation part", f"omit split.rule={VAL_IS_TEST}"
        )
    brought = catalogue.split is not None and settings.rule != "paper"
    floor = 1 if brought else settings.min_products
    kept = _choose_categories(catalogue, settings, floor, rng)
    if len(kept) < 2:
        problem = (
            f"{catalogue.name} has only one category ({catalogue.categories[kept[0]].key})"
            if len(catalogue.categories) == 1
            else f"{catalogue.name}: only one category has {number_of(floor, 'product')} or more"
        )
        raise InputError(
            problem,
            "give at least two categories"
            if len(catalogue.categories) == 1
            else "lower the minimum with --set split.min_products=N",
        )
    product = np.flatnonzero(np.isin(catalogue.product_category, kept))
    categories = catalogue.product_category[product]
    if brought:
        split, rule = _brought(catalogue, product, settings.rule, rng)
    else:
        split, rule = (
            _draw(categories, rng),
            (
                f"by product, categories with {number_of(floor, 'product')} or more; with 100 or more: 80% train, 10% "
                "validation, 10% test; with fewer: 10 products test, the rest 8:1 train and validation"
            ),
        )
    position = np.full(len(catalogue.product_id), -1, np.int64)
    position[product] = np.arange(len(product))
    # empty and missing files are not duplicates of each other
    of_kept = (position[catalogue.image_product] >= 0) & (digests != np.frombuffer(digest(b""), digests.dtype)[0])
    repeated = np.flatnonzero(of_kept)
    repeated = repeated[perhaps_repeated(digests[repeated])]
    _, digest_code = np.unique(digests[repeated], return_inverse=True)
    split, report = _handle_duplicates(
        split, position[catalogue.image_product[repeated]], digest_code, settings.duplicates
    )
    report |= contradictions(catalogue, catalogue.image_product[repeated], digest_code)
    stays = split >= 0
    product, split, categories = product[stays], split[stays], categories[stays]
    for code, name in enumerate(SPLITS):
        if not (split == code).any():
            raise InputError(
                f"{catalogue.name}: no product is left for {name}", "use more products or other split settings"
            )
    present = len(np.unique(catalogue.product_category))
    reason = (
        f"fewer than {number_of(floor, 'product')} (split.min_products)"
        if not settings.categories
        else f"fewer than {number_of(floor, 'product')}, or not among the {settings.categories} categories drawn "
        "(split.categories)"
    )
    excluded = len(catalogue.product_id) - int(stays.sum()) - int(report["products_dropped"])
    return Split(
        product=product,
        split=split,
        role=_roles(split, categories, settings.certify, rng),
        rule=rule if settings.certify == 0.5 else f"{rule}; of validation, {settings.certify:.9g} certifies",
        excluded_products=excluded,
        excluded_categories=present - len(kept),
        excluded_reason=reason if excluded else "",
        duplicates=report,
    )
