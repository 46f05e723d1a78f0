"""What readers of tables share: turning rows with a category and a product into a `Catalogue`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from shelfbench.base.errors import InputError
from shelfbench.data.catalogue import Catalogue, Category, ImageBytes, Labels, ProductTable, gather_products
from shelfbench.data.sources.split_words import SPLIT_NAMES

# In `wanted_columns`, the role of a column of labels is this and the column's name.
LABEL = "label:"

ImagesOf = Callable[[np.ndarray, np.ndarray], ImageBytes]


@dataclass(frozen=True, kw_only=True)
class DatasetSettings:
    """The section ``dataset`` of a study.

    Attributes
    ----------
    name : str
        A named dataset or a path.
    category, product_id, split, image, file_name : str
        Names of columns, if they differ from these. A column named here must exist.
    levels : tuple of str
        Columns with the levels above the category, from the top down; default ``level1``, ``level2``, ...
    labels : tuple of str
        Columns whose values together are a product's labels, each a ``column=value``. A cell may contain a list; an
        empty cell means no label.
    folders : str
        What the folders in which the photos of a folder lie mean, from the top down, such as ``category``,
        ``level1/category`` or ``split/category/product_id``; ``-`` for one that means nothing. Empty to find out.
    truncated : {'refuse', 'accept'}
        Whether the products before an unreadable tail of a BSON file may be used.
    retry : bool
        Whether links that failed in an earlier run are tried again.
    """

    name: str = "generated"
    category: str = "category"
    product_id: str = "product_id"
    split: str = "split"
    image: str = "image"
    file_name: str = "file_name"
    levels: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    folders: str = ""
    truncated: str = "refuse"
    retry: bool = False

    def __post_init__(self) -> None:
        """Validate the settings."""
        if self.truncated not in ("refuse", "accept"):
            raise InputError(f"dataset.truncated is {self.truncated!r}", "choose refuse or accept")
        roles = self.folders.split("/") if self.folders else ["category"]
        used = [role for role in roles if role != "-"]
        known = re.compile(r"category|product_id|split|level[1-9]")
        if len(set(used)) < len(used) or "category" not in used or not all(known.fullmatch(role) for role in used):
            raise InputError(
                f"dataset.folders is {self.folders!r}",
                "write what each folder means, such as category, level1/category or split/category/product_id",
            )
        for name in ("name", "category", "product_id", "split", "image", "file_name"):
            if not getattr(self, name):
                raise InputError(
                    f"dataset.{name} is empty", "name a column" if name != "name" else "name a dataset or a path"
                )


def wanted_columns(settings: DatasetSettings, present: Sequence[str], where: str) -> dict[str, str]:
    """Find the columns to read.

    Parameters
    ----------
    settings : DatasetSettings
    present : sequence of str
        The columns that the table has.
    where : str
        Name of the table, for messages.

    Returns
    -------
    dict of str to str
        Column by role: 'category', 'product_id', 'split', 'level1', ..., and `LABEL` plus the name for labels.

    Raises
    ------
    InputError
        If the column of the category, or one that the settings name, is missing.
    """
    columns: dict[str, str] = {}
    defaults = DatasetSettings()
    for role in ("category", "product_id", "split"):
        name = getattr(settings, role)
        if name in present:
            columns[role] = name
        elif role == "category" or name != getattr(defaults, role):
            raise InputError(
                f"{where} has no column {name!r} (it has {', '.join(present)})",
                f"name the right one with --set dataset.{role}=COLUMN",
            )
    levels = settings.levels or [name for name in (f"level{i}" for i in range(1, 10)) if name in present]
    for position, name in enumerate(levels, 1):
        if name not in present:
            raise InputError(
                f"{where} has no column {name!r} (it has {', '.join(present)})", "correct --set dataset.levels=[...]"
            )
        columns[f"level{position}"] = name
    for name in settings.labels:
        if name not in present:
            raise InputError(
                f"{where} has no column {name!r} (it has {', '.join(present)})", "correct --set dataset.labels=[...]"
            )
        columns[LABEL + name] = name
    return columns


def as_key(value: object) -> str:
    """Turn a value into the text that identifies a category or a product.

    Parameters
    ----------
    value : object
        Integers that pandas turned into floats, because another row has no value, become integers again.

    Returns
    -------
    str

    Raises
    ------
    TypeError
        If the value is not a scalar.
    """
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if not pd.api.types.is_scalar(value):
        raise TypeError("not a scalar")
    return str(value)


def _keys(values: pd.Series, what: str, where: pd.Series) -> pd.Series:
    """Return the texts of a column, row by row."""
    try:
        return values.astype(object).map(as_key)
    except TypeError:
        odd = next(row for row, value in enumerate(values) if not pd.api.types.is_scalar(value))
        raise InputError(
            f"{where.iloc[odd]}: the {what} {str(values.iloc[odd])[:60]!r} is not a plain value",
            "write text or a number",
        ) from None


def catalogue_from_rows(
    name: str, rows: pd.DataFrame, images_of: ImagesOf, display: dict[str, str] | None = None, notes: Sequence[str] = ()
) -> Catalogue:
    """Build a catalogue from rows with one image each.

    Parameters
    ----------
    name : str
        Name of the dataset, for messages.
    rows : DataFrame
        ``category``; optionally ``product_id``, ``split``, ``level1``, ... and columns of labels; ``where`` names each
        row's file and record. Without ``product_id``, each row is a product, named by ``where``.
    images_of : callable
        Takes the row numbers of the images, in order, and `where` of each; returns the `ImageBytes`.
    display : dict, optional
        Display names of category keys.
    notes : sequence of str
        The reader's remarks.

    Returns
    -------
    Catalogue

    Raises
    ------
    InputError
        If a product has two categories or is in two splits; the message names its record.
    """
    rows = rows.assign(category=rows["category"].astype(object))
    labelled = rows["category"].notna() & (rows["category"].astype(str).str.strip() != "")
    unlabelled = int((~labelled).sum())
    row_numbers = np.flatnonzero(labelled.to_numpy())
    rows = rows[labelled].reset_index(drop=True)
    if rows.empty:
        raise InputError(f"{name} contains no image with a category", "check the path and the columns")
    identifiers = rows["product_id"] if "product_id" in rows else rows["where"]
    if identifiers.isna().any():
        raise InputError(
            f"{rows['where'][int(np.flatnonzero(identifiers.isna())[0])]} has no product_id",
            "fill it in, or omit the column if each image is a product",
        )
    if identifiers.dtype != np.int64:
        identifiers = _keys(identifiers, "product_id", rows["where"])
    rows = rows.assign(product_id=identifiers)
    table = gather_products(identifiers.to_numpy())
    keys = _keys(rows["category"], "category", rows["where"])
    unique_keys = sorted(keys.unique())
    codes = pd.Categorical(keys, categories=unique_keys).codes.astype(np.int32)
    _same_within_product(table, codes, rows, "category", keys)
    split = None
    if "split" in rows:
        split = _splits(rows)
        _same_within_product(table, pd.factorize(split)[0], rows, "split", pd.Series(split))
        split = split[table.product_row]
        if set(np.unique(split)) == {"train"}:
            split = None
    levels = _levels(rows, keys)
    return Catalogue(
        name=name,
        categories=tuple(Category(key, (display or {}).get(key, key), levels.get(key, ())) for key in unique_keys),
        product_id=table.product_id if identifiers.dtype == np.int64 else table.product_id.astype(object),
        product_category=codes[table.product_row],
        image_product=table.image_product,
        images=images_of(row_numbers[table.image_row], rows["where"].to_numpy()[table.image_row]),
        split=split,
        unlabelled=unlabelled,
        notes=tuple(notes),
        labels=_labels(rows, table),
    )


def _same_within_product(
    table: ProductTable, codes: np.ndarray, rows: pd.DataFrame, what: str, values: pd.Series
) -> None:
    """Refuse products whose rows differ in a value; `codes` are the values as integers."""
    differs = codes[table.image_row] != codes[table.product_row][table.image_product]
    if differs.any():
        image = int(np.flatnonzero(differs)[0])
        row, first = int(table.image_row[image]), int(table.product_row[table.image_product[image]])
        raise InputError(
            f"{rows['where'][row]}: product {rows['product_id'][row]} has the {what} {values.iloc[row]!r} here "
            f"but {values.iloc[first]!r} at {rows['where'][first]}",
            f"give each product one {what}",
        )


def _splits(rows: pd.DataFrame) -> np.ndarray:
    text = rows["split"].astype(str).str.strip().str.lower()
    known = text.map(SPLIT_NAMES)
    if known.isna().any():
        row = int(np.flatnonzero(known.isna())[0])
        if pd.isna(rows["split"][row]):
            raise InputError(
                f"{rows['where'][row]} has no split, but other rows have one",
                "fill it in; without such a column, the name of each shard must begin with its split",
            )
        raise InputError(
            f"{rows['where'][row]} has the split {rows['split'][row]!r}",
            "use train, validation and test, or name another column with --set dataset.split=COLUMN",
        )
    return known.to_numpy(dtype=object)


def _levels(rows: pd.DataFrame, keys: pd.Series) -> dict[str, tuple[str, ...]]:
    """Return the levels above each category: if its rows disagree, those of the majority."""
    columns = sorted(column for column in rows.columns if column.startswith("level"))
    if not columns:
        return {}
    text = rows[columns].astype(object).fillna("").astype(str).assign(key=keys)
    counts = (
        text.value_counts(sort=False)
        .reset_index(name="n")
        .sort_values(["key", "n", *columns], ascending=[True, False] + [True] * len(columns))
    )
    best = counts.drop_duplicates("key").set_index("key")
    return {str(key): tuple(row) for key, row in zip(best.index, best[columns].to_numpy().tolist(), strict=True)}


def _labels(rows: pd.DataFrame, table: ProductTable) -> Labels | None:
    """Collect the labels of each product from all its rows."""
    columns = [column for column in rows.columns if column.startswith(LABEL)]
    if not columns:
        return None
    product = np.empty(len(rows), np.int64)
    product[table.image_row] = table.image_product
    found = []
    for column in columns:
        values = rows[column].astype(object).explode()
        values = values[values.notna() & (values.astype(str).str.strip() != "")]
        name = column.removeprefix(LABEL)
        texts = _keys(values, name, rows["where"].loc[values.index])
        found.append(pd.DataFrame({"product": product[values.index], "label": f"{name}=" + texts.astype(object)}))
    pairs = pd.concat(found, ignore_index=True)
    names = sorted(pairs["label"].unique())
    pairs["code"] = pd.Categorical(pairs["label"], categories=names).codes.astype(np.int32)
    pairs = pairs[["product", "code"]].drop_duplicates().sort_values(["product", "code"])
    start = np.searchsorted(pairs["product"].to_numpy(), np.arange(len(table.product_id) + 1))
    return Labels(tuple(names), start.astype(np.int64), pairs["code"].to_numpy(np.int32))
