"""Rows of a table that seem to be photos of one product, although no column says so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from shelfbench.data.sources.columns import find_column, setting, usual
from shelfbench.data.sources.settings import DatasetSettings

# The role of a column that may name the products, if none was named, is this and the column's name.
PERHAPS_PRODUCT = "product?:"
# A column with fewer different values than this share of its rows hardly names products.
_FEWEST = 0.02


def perhaps_product(settings: DatasetSettings, present: Sequence[str], where: str) -> str:
    """Return what a remedy says of the products, if a column may name them and none does.

    Parameters
    ----------
    settings : DatasetSettings
    present : sequence of str
        The columns that the table has.
    where : str
        Name of the table, for messages.

    Returns
    -------
    str
        Empty if there is nothing to say.
    """
    named = settings.product_id != DatasetSettings.product_id
    if named or find_column(settings.product_id, present, where) or not (likely := usual("product_id", present)):
        return ""
    return f", and {setting('product_id', likely[0])} if that names the products"


def perhaps_products(columns: dict[str, str], present: Sequence[str]) -> dict[str, str]:
    """Find columns that may name the products, if none was named.

    Parameters
    ----------
    columns : dict of str to str
        Column by role.
    present : sequence of str
        The columns that the table has.

    Returns
    -------
    dict of str to str
        Column by role, `PERHAPS_PRODUCT` plus the name; `shared_products` looks at their values.
    """
    if "product_id" in columns:
        return {}
    return {PERHAPS_PRODUCT + name: name for name in usual("product_id", present) if name not in columns.values()}


def shared_products(rows: pd.DataFrame, table: str) -> tuple[pd.DataFrame, list[str]]:
    """Tell of rows that share the value of a column that may name the products.

    Photos of one product that count as several would lie in train and in test, and be classified one by one.

    Parameters
    ----------
    rows : DataFrame
        Perhaps with columns that `perhaps_products` found, and with ``category``.
    table : str
        For messages.

    Returns
    -------
    DataFrame
        Without these columns.
    list of str
        A note, if such rows have the same category.
    """
    maybe = [str(role) for role in rows.columns if str(role).startswith(PERHAPS_PRODUCT)]
    for role in maybe:
        values = rows[role].map(lambda cell: "" if cell is None or cell != cell else str(cell).strip())
        codes = pd.factorize(values.where(values != ""))[0]
        counts = np.bincount(codes[codes >= 0])
        shared = (codes >= 0) & (counts[codes] > 1) if counts.size else np.zeros(len(rows), bool)
        if not shared.any() or counts.size < _FEWEST * len(rows) or not _one_category(rows, codes, counts.size):
            continue
        column = role.removeprefix(PERHAPS_PRODUCT)
        return rows.drop(columns=maybe), [
            f"each row of {table} is read as a product, but {int(shared.sum()):,} rows share their {column!r} with "
            f"another; if these are photos of one product, add {setting('product_id', column)}"
        ]
    return rows.drop(columns=maybe), []


def _one_category(rows: pd.DataFrame, codes: np.ndarray, count: int) -> bool:
    """Whether rows of one value have one category, and the values are not those of the categories."""
    if "category" not in rows:
        return True
    # some exports say the category in a product's first row only
    cells = rows["category"].map(lambda cell: "" if cell is None or cell != cell else str(cell).strip())
    category = pd.factorize(cells)[0]
    known = (codes >= 0) & (cells != "").to_numpy()
    pairs = len(np.unique(codes[known].astype(np.int64) * (category.max() + 1) + category[known]))
    return pairs <= count and count > len(np.unique(category[known]))
