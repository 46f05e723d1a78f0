"""Products to classify, photos without labels, as every format gives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.data.catalogue import Absent, gather_products
from shelfbench.data.sources.labels import as_key
from shelfbench.data.sources.links import is_link
from shelfbench.data.sources.places import images_named
from shelfbench.data.sources.settings import DatasetSettings

# Photos that are read at once: links are followed side by side, and files need little memory one after the other.
_LINKS, _FILES = 256, 16


@dataclass(frozen=True)
class Product:
    """A product to classify.

    Attributes
    ----------
    key : str
        Its id; for an image by itself, the path of its file.
    photos : tuple of bytes
        Encoded images; `Absent` for one that cannot be opened.
    """

    key: str
    photos: tuple[bytes, ...]


@dataclass(frozen=True)
class NamedPhotos:
    """Photos that a table names.

    Attributes
    ----------
    names : ndarray of object, shape (rows,)
        Paths below a folder, or links.
    where : sequence of str
        The record of each, for messages.
    refused : dict of int to str
        Why rows name no photo, by row.
    """

    names: np.ndarray
    where: Sequence[str]
    refused: dict[int, str] = field(default_factory=dict)

    def keys(self, given: Path) -> list[str]:
        """Name a product by its photo: a path below what was given, or a link."""
        return [
            self.where[row] if row in self.refused else name if is_link(name) else str(given / name)
            for row, name in enumerate(self.names.tolist())
        ]


def read_ahead(
    keys: np.ndarray, named: NamedPhotos, root: Path, settings: DatasetSettings, console: Console
) -> Iterator[Product]:
    """Read the photos that rows name, many at once, product by product.

    Parameters
    ----------
    keys : ndarray of object, shape (rows,)
        The product of each row.
    named : NamedPhotos
    root : Path
        The folder that their paths are below.
    settings : DatasetSettings
    console : Console

    Yields
    ------
    Product
        With `Absent` for each photo that cannot be opened.
    """
    there = np.array([row not in named.refused for row in range(len(keys))], bool)
    images = images_named(root, named.names[there], settings, console)
    place = np.cumsum(there) - 1
    most = _LINKS if any(map(is_link, named.names.tolist())) else _FILES
    held: list[tuple[str, np.ndarray]] = []

    def read() -> Iterator[Product]:
        rows = np.concatenate([rows for _, rows in held])
        found = iter(images.read(place[rows[there[rows]]]))
        for key, photos in held:
            yield Product(
                key, tuple(next(found) if there[row] else Absent(named.refused[row]) for row in photos.tolist())
            )
        held.clear()

    for key, rows in gathered(keys):
        held.append((key, rows))
        if sum(len(rows) for _, rows in held) >= most:
            yield from read()
    if held:
        yield from read()


def gathered(keys: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Go through products in order of first appearance.

    Parameters
    ----------
    keys : ndarray, shape (rows,)
        The product of each row.

    Yields
    ------
    tuple of str and ndarray of int
        Its key, and its rows.
    """
    table = gather_products(keys)
    bounds = np.searchsorted(table.image_product, np.arange(len(table.product_id) + 1))
    for number, key in enumerate(table.product_id):
        yield str(key), table.image_row[bounds[number] : bounds[number + 1]]


def id_texts(values: Sequence[Any], otherwise: Sequence[str], where: Path) -> np.ndarray:
    """Turn ids into text.

    Parameters
    ----------
    values : sequence of object
        The ids as the file has them.
    otherwise : sequence of str
        What names a row without an id.
    where : Path
        The file, for messages.

    Returns
    -------
    ndarray of object

    Raises
    ------
    InputError
        If an id is not a plain value.
    """
    try:
        texts = [
            place if pd.api.types.is_scalar(value) and pd.isna(value) else as_key(value)
            for value, place in zip(values, otherwise, strict=True)
        ]
    except TypeError:
        raise InputError(f"{where}: a product_id is not a plain value", "write text or a number") from None
    return np.array(texts, object)
