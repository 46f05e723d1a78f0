"""A catalogue: products, their images and their place in the taxonomy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from shelfbench.base.errors import InputError

DIGEST = np.dtype("V16")


class Absent(bytes):
    """The empty bytes of an image that cannot be had, with the reason.

    Attributes
    ----------
    reason : str
        In a few words: ``the file does not exist``.
    """

    reason: str

    def __new__(cls, reason: str) -> Absent:
        """Make empty bytes with a reason."""
        made = super().__new__(cls)
        made.reason = reason
        return made

    def __reduce__(self) -> tuple[type[Absent], tuple[str]]:
        """Keep the reason between processes."""
        return Absent, (self.reason,)


class ImageBytes(Protocol):
    """Encoded images by number. Must be picklable and open its files on the first read in each process."""

    files: tuple[Path, ...]

    def __len__(self) -> int:
        """Return the number of images."""

    def read(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Read the encoded bytes of some images, `Absent` for one that cannot be had; fastest if `indices` ascend."""

    def where(self, index: int) -> str:
        """Name the file and the record of one image, for messages."""

    def identity(self) -> bytes | None:
        """Hash the position of every image in `files`, in order; None if it says nothing about the content."""


@dataclass(frozen=True)
class Category:
    """One category.

    Attributes
    ----------
    key : str
        What identifies it: an id, a folder or a value of a column.
    name : str
        Display name; need not be unique.
    levels : tuple of str
        Names of the levels above it, from the top down.
    """

    key: str
    name: str
    levels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Labels:
    """Labels of products, any number for each.

    Attributes
    ----------
    names : tuple of str
        ``column=value``, in the order of their codes.
    start : ndarray of int64, shape (products + 1,)
        Where each product's labels begin in `code`.
    code : ndarray of int32
        Codes into `names`, ascending within a product.
    """

    names: tuple[str, ...]
    start: np.ndarray
    code: np.ndarray

    def targets(self, products: np.ndarray) -> np.ndarray:
        """Return which product carries which label: bool, shape (len(products), labels)."""
        counts = np.diff(self.start)[products]
        row = np.repeat(np.arange(len(products)), counts)
        within = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        result = np.zeros((len(products), len(self.names)), bool)
        result[row, self.code[self.start[products][row] + within]] = True
        return result


@dataclass(frozen=True)
class TableRows:
    """Which row of which table each image of a catalogue comes from.

    Attributes
    ----------
    files : tuple of Path
        The tables.
    file : ndarray of int32, shape (images,)
        Number of the table.
    line : ndarray of int64, shape (images,)
        Where the row begins in a table of text, as its readers count; the row's number, from 0, in Parquet.
    """

    files: tuple[Path, ...]
    file: np.ndarray
    line: np.ndarray

    def of(self, rows: np.ndarray) -> TableRows:
        """Take some rows, in this order."""
        return TableRows(self.files, self.file[rows], self.line[rows])


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Products and their images.

    Attributes
    ----------
    name : str
        Name or path of the dataset.
    categories : tuple of Category
        In the order of their codes.
    product_id : ndarray of int64 or object, shape (products,)
        Unique.
    product_category : ndarray of int32, shape (products,)
        Codes into `categories`.
    image_product : ndarray of int32, shape (images,)
        Index of the product of each image, ascending.
    images : ImageBytes
        The encoded images, in the same order.
    split : ndarray of str, shape (products,), or None
        'train', 'validation' or 'test', if the data comes with a split.
    unlabelled : int
        How many products were skipped because they have no category.
    notes : tuple of str
        The reader's remarks on the data, such as a truncated tail.
    labels : Labels or None
        Labels from the columns that the dataset's settings name, if any.
    rows : TableRows or None
        The rows of the images, if it was read from tables.
    """

    name: str
    categories: tuple[Category, ...]
    product_id: np.ndarray
    product_category: np.ndarray
    image_product: np.ndarray
    images: ImageBytes
    split: np.ndarray | None = None
    unlabelled: int = 0
    notes: tuple[str, ...] = field(default=())
    labels: Labels | None = None
    rows: TableRows | None = None

    def __post_init__(self) -> None:
        """Check what every reader must guarantee."""
        if len(self.product_id) == 0:
            raise InputError(
                f"{self.name} has no product with an image and a category", "check the path and the columns"
            )
        if len(self.images) != len(self.image_product):
            raise ValueError("images and image_product differ in length")
        if np.any(np.diff(self.image_product) < 0):
            raise ValueError("image_product must ascend")


def digest(data: bytes) -> bytes:
    """Hash the content of one image (BLAKE2b, 16 bytes)."""
    return hashlib.blake2b(data, digest_size=16).digest()


def chunks(indices: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Cut indices into pieces of at most `size`."""
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


@dataclass(frozen=True)
class ProductTable:
    """A reader's rows, one per image, grouped by product (see `gather_products`)."""

    product_id: np.ndarray
    product_row: np.ndarray
    image_product: np.ndarray
    image_row: np.ndarray


def gather_products(product_ids: np.ndarray) -> ProductTable:
    """Group rows of one image each by product, products in order of first appearance.

    Parameters
    ----------
    product_ids : ndarray, shape (rows,)
        The product of each row.

    Returns
    -------
    ProductTable
        `product_row` is the first row of each product. `image_row` is the row of each image, sorted by product; the
        rows of one product keep their order.
    """
    import pandas as pd

    codes, unique = pd.factorize(product_ids)
    order = np.argsort(codes, kind="stable")
    first = np.full(len(unique), len(codes), np.int64)
    np.minimum.at(first, codes, np.arange(len(codes)))
    return ProductTable(np.asarray(unique), first, codes[order].astype(np.int32), order)
