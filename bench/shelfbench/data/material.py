"""The data of every backend of a run: the products of the split, in the order of their roles, and their images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.data.catalogue import Catalogue
from shelfbench.data.named import NamedDataset, title_of
from shelfbench.data.split import ROLES, SPLITS, Split, split_hash

BY_PATH = "given by path"
"""The source, on record, of a catalogue that is not a named dataset."""

# So many categories that train lacks are named in the record.
NAMED = 5
_HASHED = 1 << 20  # numbers or names that are text at a time


@dataclass(frozen=True, kw_only=True)
class Material:
    """Products and images of a split.

    Products are sorted by role (train, tune, certify, test), and images with them, so that the features of a role are
    one slice of a matrix, without a copy.

    Attributes
    ----------
    catalogue : Catalogue
    split : Split
    frame : DataFrame
        The manifest: product_id, category, split, role; one row per product, in this order.
    image : ndarray of int64, shape (images,)
        Images of the catalogue, products in the order of `frame`.
    owner : ndarray of int64, shape (images,)
        Row of `frame` of each image; ascending.
    position : ndarray of int32, shape (images,)
        Ordinal of each image within its product.
    classes : ndarray of object, shape (classes,)
        Keys of the categories in train, in the order of their codes.
    label : ndarray of int64, shape (products,)
        Code into `classes`; -1 for a category that train lacks.
    """

    catalogue: Catalogue
    split: Split
    frame: pd.DataFrame
    image: np.ndarray
    owner: np.ndarray
    position: np.ndarray
    classes: np.ndarray
    label: np.ndarray

    def images_of(self, role: str) -> slice:
        """Select the images of a role.

        Parameters
        ----------
        role : {'train', 'tune', 'certify', 'test'}

        Returns
        -------
        slice
            Of `image`; empty if no product has this role.
        """
        rows = np.flatnonzero((self.frame["role"] == role).to_numpy())
        if len(rows) == 0:
            return slice(0, 0)
        return slice(
            int(np.searchsorted(self.owner, rows[0])), int(np.searchsorted(self.owner, rows[-1], side="right"))
        )

    def only(self, rows: np.ndarray) -> Material:
        """Keep some of the products.

        Parameters
        ----------
        rows : ndarray of int64
            Rows of `frame`, ascending.

        Returns
        -------
        Material
            With the same categories and codes, of which train may now lack some; `split` is still that of the whole
            catalogue.
        """
        images = np.isin(self.owner, rows)
        new_row = np.full(len(self.frame), -1, np.int64)
        new_row[rows] = np.arange(len(rows))
        return replace(
            self,
            frame=self.frame.iloc[rows].reset_index(drop=True),
            image=self.image[images],
            owner=new_row[self.owner[images]],
            position=self.position[images],
            label=self.label[rows],
        )

    def unreadable(self, reasons: Mapping[int, str]) -> list[dict[str, str]]:
        """List unreadable images for ``run.json``.

        Parameters
        ----------
        reasons : mapping of int to str
            By position in `image`.

        Returns
        -------
        list of dict
            ``record`` (where the image is) and ``reason`` of each.
        """
        where = self.catalogue.images.where
        return [{"record": where(int(self.image[row])), "reason": reason} for row, reason in sorted(reasons.items())]

    def split_record(self) -> dict[str, Any]:
        """Describe the split for ``run.json``."""
        record: dict[str, Any] = {"hash": split_hash(self.frame), "rule": self.split.rule}
        images = np.bincount(self.owner, minlength=len(self.frame))
        for name in SPLITS:
            rows = (self.frame["split"] == name).to_numpy()
            record[name] = {
                "products": int(rows.sum()),
                "images": int(images[rows].sum()),
                "categories": int(self.frame["category"][rows].nunique()),
            }
        untrained = self.frame[self.label < 0]
        record["untrained"] = {
            "categories": int(untrained["category"].nunique()),
            "names": sorted(untrained["category"].unique())[:NAMED],
            **{name: int((untrained["split"] == name).sum()) for name in SPLITS[1:]},
        }
        return record


def gather(catalogue: Catalogue, split: Split) -> Material:
    """Order the products of a split by role, and their images with them.

    Parameters
    ----------
    catalogue : Catalogue
    split : Split

    Returns
    -------
    Material
    """
    order = np.argsort(split.role, kind="stable")
    product = split.product[order]
    frame = split.frame(catalogue, order)
    starts = np.searchsorted(catalogue.image_product, product)
    counts = np.searchsorted(catalogue.image_product, product, side="right") - starts
    owner = np.repeat(np.arange(len(product)), counts)
    position = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    codes = catalogue.product_category[product]
    in_train = np.unique(codes[split.role[order] == ROLES.index("train")])
    keys = np.array([catalogue.categories[code].key for code in in_train], object)
    label = np.full(len(catalogue.categories), -1, np.int64)
    label[in_train] = np.arange(len(in_train))
    return Material(
        catalogue=catalogue,
        split=split,
        frame=frame,
        image=np.repeat(starts, counts) + position,
        owner=owner,
        position=position.astype(np.int32),
        classes=keys,
        label=label[codes],
    )


def dataset_hash(catalogue: Catalogue, digests: np.ndarray) -> str:
    """Hash the content of a catalogue: products, categories and images.

    Parameters
    ----------
    catalogue : Catalogue
    digests : ndarray of V16, shape (images,)
        Hash of each image's content.

    Returns
    -------
    str
        SHA-256, hexadecimal.
    """
    state = hashlib.sha256()
    for values in (catalogue.product_id, catalogue.product_category, catalogue.image_product):
        for start in range(0, len(values), _HASHED):  # in blocks: a Python object is ten times as large as a number
            block = "\n".join(map(str, values[start : start + _HASHED].tolist()))
            state.update(("\n" * (start > 0) + block).encode())
        state.update(b"\0")
    state.update("\n".join(category.key for category in catalogue.categories).encode())
    state.update(np.ascontiguousarray(digests).tobytes())
    if catalogue.labels is not None:
        state.update("\0".join(catalogue.labels.names).encode())
        state.update(catalogue.labels.start.tobytes() + catalogue.labels.code.tobytes())
    return state.hexdigest()


def dataset_record(material: Material, named: NamedDataset | None, digests: np.ndarray) -> dict[str, Any]:
    """Describe the catalogue, and which part of it is used, for ``run.json``.

    Parameters
    ----------
    material : Material
    named : NamedDataset or None
        None for a catalogue given by its path.
    digests : ndarray of V16, shape (images,)

    Returns
    -------
    dict
        The keys of `shelfbench.runs.record.DatasetRecord` except the unreadable images, which are not known yet.
    """
    catalogue, split = material.catalogue, material.split
    kept = set(material.frame["category"].unique())
    categories = [category for category in catalogue.categories if category.key in kept]
    depth = max((len(category.levels) for category in categories), default=0)
    return {
        "name": catalogue.name,
        "title": named.title if named else title_of(catalogue.name),
        "source": (named.homepage or named.about) if named else BY_PATH,
        "licence": named.licence if named else "not known",
        "hash": dataset_hash(catalogue, digests),
        "products": len(catalogue.product_id),
        "images": len(catalogue.images),
        "categories": len(catalogue.categories),
        "levels": [f"level{number + 1}" for number in range(depth)],
        "category_names": {category.key: category.name for category in categories},
        "category_level1": {category.key: category.levels[0] for category in categories if category.levels},
        # one level is on record already
        "category_levels": {category.key: list(category.levels) for category in categories} if depth > 1 else {},
        "excluded": {
            "products": split.excluded_products,
            "categories": split.excluded_categories,
            "reason": split.excluded_reason,
        },
        "unlabelled": catalogue.unlabelled,
        "notes": list(catalogue.notes),
        "duplicates": split.duplicates,
    }
