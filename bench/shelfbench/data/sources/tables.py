"""What readers of tables share: turning rows with a category and a product into a `Catalogue`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from shelfbench.base.errors import InputError
from shelfbench.data.catalogue import Catalogue, Category, ImageBytes, Labels, ProductTable, TableRows, gather_products
from shelfbench.data.sources.columns import FLAGS, USUAL, find_column, listed, plain_header, suggestion
from shelfbench.data.sources.labels import category_keys, clean, plain_values, product_keys
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.split_words import SPLIT_NAMES

# In `wanted_columns`, the role of a column of labels is this and the column's name.
LABEL = "label:"
# The role of a column that may be the split, if none has that name, is this and the column's name.
PERHAPS_SPLIT = "split?:"

ImagesOf = Callable[[np.ndarray, np.ndarray], ImageBytes]


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
    for role in ("category", "product_id", "split"):
        name = optional_column(role, settings, present, where)
        if name is not None:
            columns[role] = name
        elif role == "category":
            raise _lacks(settings.category, present, where, suggestion("category", present))
    levels = settings.levels or [
        name for name in (f"level{i}" for i in range(1, 10)) if find_column(name, present, where) is not None
    ]
    for position, wanted in enumerate(levels, 1):
        if (name := find_column(wanted, present, where)) is None:
            raise _lacks(wanted, present, where, "correct --set dataset.levels=[...]")
        columns[f"level{position}"] = name
    for wanted in settings.labels:
        if (name := find_column(wanted, present, where)) is None:
            raise _lacks(wanted, present, where, "correct --set dataset.labels=[...]")
        columns[LABEL + wanted] = name
    return columns


def perhaps_splits(columns: dict[str, str], present: Sequence[str]) -> dict[str, str]:
    """Find columns that may be the split, if none has that name.

    Parameters
    ----------
    columns : dict of str to str
        Column by role, as `wanted_columns` returns them.
    present : sequence of str
        The columns that the table has.

    Returns
    -------
    dict of str to str
        Column by role, `PERHAPS_SPLIT` plus the name; `settled_split` decides by their values.
    """
    if "split" in columns:
        return {}
    free = [name for name in present if name not in columns.values() and list(present).count(name) == 1]
    return {PERHAPS_SPLIT + name: name for name in free if plain_header(name) in (*USUAL["split"], *FLAGS)}


def optional_column(role: str, settings: DatasetSettings, present: Sequence[str], where: str) -> str | None:
    """Find a column that a table may lack, unless the settings name it.

    Parameters
    ----------
    role : str
        Name of the setting.
    settings : DatasetSettings
    present : sequence of str
        The columns that the table has.
    where : str
        Name of the table, for messages.

    Returns
    -------
    str or None

    Raises
    ------
    InputError
        If the settings name a column that is missing, or several may be meant.
    """
    wanted = getattr(settings, role)
    name = find_column(wanted, present, where)
    if name is None and wanted != getattr(DatasetSettings, role):
        raise _lacks(wanted, present, where, suggestion(role, present))
    return name


def _lacks(name: str, present: Sequence[str], where: str, remedy: str) -> InputError:
    return InputError(f"{where} has no column {name!r} (it has {listed(present)})", remedy)


def catalogue_from_rows(
    name: str,
    rows: pd.DataFrame,
    images_of: ImagesOf,
    display: dict[str, str] | None = None,
    notes: Sequence[str] = (),
    tables: TableRows | None = None,
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
    tables : TableRows, optional

    Returns
    -------
    Catalogue

    Raises
    ------
    InputError
        If a product has two categories or is in two splits; the message names its record.
    """
    found = category_keys(rows["category"], rows["where"])
    remarks = [*notes, *found.notes]
    code = found.code
    if "product_id" in rows:
        identifiers = rows["product_id"]
        if identifiers.dtype != np.int64:
            identifiers, said = _product_ids(rows, code >= 0)
            remarks += said
        code, said = _of_products(code, identifiers)
        remarks += said
    else:
        identifiers = rows["where"]
    labelled = code >= 0
    if not labelled.any():
        raise InputError(f"{name} contains no image with a category", "check the path and the columns")
    remarks += _parts_without_labels(rows, labelled)
    unlabelled = identifiers[~labelled].nunique()
    row_numbers = np.flatnonzero(labelled)
    rows = rows.drop(columns=["category", "product_id"], errors="ignore")
    rows = rows[labelled].reset_index(drop=True)
    code, identifiers = code[labelled], identifiers[labelled].reset_index(drop=True)
    rows = rows.assign(product_id=identifiers)
    table = gather_products(identifiers.to_numpy())
    keys = np.array(found.names, object)
    _same_within_product(table, code, rows, "category", keys)
    split = None
    if "split" in rows:
        split, names = _splits(rows)
        _same_within_product(table, split, rows, "split", names)
        split = names[split[table.product_row]]
        if set(np.unique(split)) == {"train"}:
            split = None
    levels, said = _levels(rows, code, keys)
    remarks += said
    image = row_numbers[table.image_row]
    return Catalogue(
        name=name,
        categories=tuple(Category(key, (display or {}).get(key, key), levels.get(key, ())) for key in found.names),
        product_id=table.product_id if identifiers.dtype == np.int64 else table.product_id.astype(object),
        product_category=code[table.product_row],
        image_product=table.image_product,
        images=images_of(image, rows["where"].to_numpy()[table.image_row]),
        split=split,
        unlabelled=unlabelled,
        notes=tuple(remarks),
        labels=_labels(rows, table),
        rows=tables.of(image) if tables else None,
    )


def _product_ids(rows: pd.DataFrame, labelled: np.ndarray) -> tuple[pd.Series, list[str]]:
    """Return the ids as text; a row with neither an id nor a category is named by its place."""
    identifiers = rows["product_id"].astype(object)
    missing = identifiers.isna().to_numpy()
    if (nameless := missing & labelled).any():
        raise InputError(
            f"{rows['where'].iloc[int(np.flatnonzero(nameless)[0])]} has no product_id",
            "fill it in, or omit the column if each image is a product",
        )
    if missing.any():
        identifiers = identifiers.where(~missing, rows["where"])
    keys, notes = product_keys(identifiers, rows["where"])
    return pd.Series(keys, dtype=object), notes


def _of_products(code: np.ndarray, identifiers: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Give rows without a category that of their product, which another of its rows names."""
    without = code < 0
    if not without.any() or without.all():
        return code, []
    product = pd.factorize(identifiers)[0]
    of_product = np.full(product.max() + 1, -1, code.dtype)
    of_product[product[~without][::-1]] = code[~without][::-1]  # the first row that has one
    filled = np.where(without, of_product[product], code)
    count = int((filled >= 0).sum() - (~without).sum())
    if not count:
        return code, []
    few = "1 photo without a category has" if count == 1 else f"{count:,} photos without a category have"
    return filled, [f"{few} that of another photo of the same product"]


def _parts_without_labels(rows: pd.DataFrame, labelled: np.ndarray) -> list[str]:
    """Name the parts of a split in which no row has a category."""
    if "split" not in rows:
        return []
    part = rows["split"].astype(object)
    bare = sorted({str(name) for name in part[~labelled].unique()} - {str(name) for name in part[labelled].unique()})
    counts = part[~labelled].astype(str).value_counts()
    return [
        f"{'the only photo' if counts[name] == 1 else f'none of the {counts[name]:,} photos'} of the part {name!r} has "
        f"{'no' if counts[name] == 1 else 'a'} category, so that part is not used"
        for name in bare
        if name in counts
    ]


def _same_within_product(
    table: ProductTable, codes: np.ndarray, rows: pd.DataFrame, what: str, names: np.ndarray
) -> None:
    """Refuse products whose rows differ in a value; `codes` are the values as numbers of `names`."""
    differs = codes[table.image_row] != codes[table.product_row][table.image_product]
    if differs.any():
        image = int(np.flatnonzero(differs)[0])
        row, first = int(table.image_row[image]), int(table.product_row[table.image_product[image]])
        raise InputError(
            f"{rows['where'][row]}: product {rows['product_id'][row]} has the {what} {names[codes[row]]!r} here "
            f"but {names[codes[first]]!r} at {rows['where'][first]}",
            f"give each product one {what}",
        )


def _splits(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of each row as a number, and the names of the parts."""
    codes, texts = plain_values(rows["split"], "split", rows["where"])
    parts = [SPLIT_NAMES.get(clean(text).lower()) for text in texts]
    names = np.array(sorted({part for part in parts if part}), object)
    number = {part: code for code, part in enumerate(names)}
    found = np.array([*(number.get(part, -1) for part in parts), -1], np.int64)[codes]
    if (unknown := np.flatnonzero(found < 0)).size:
        row = int(unknown[0])
        if codes[row] < 0 or not clean(texts[codes[row]]):
            raise InputError(
                f"{rows['where'][row]} has no split, but other rows have one",
                "fill it in; without such a column, the name of each shard must begin with its split",
            )
        raise InputError(
            f"{rows['where'][row]} has the split {rows['split'][row]!r}",
            "use train, validation and test, or name another column with --set dataset.split=COLUMN",
        )
    return found, names


def _levels(rows: pd.DataFrame, code: np.ndarray, keys: np.ndarray) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Return the levels above each category: if its rows disagree, those of the majority, and say so."""
    columns = sorted(column for column in rows.columns if column.startswith("level"))
    if not columns:
        return {}, []
    numbers, names = {"key": code}, {}
    for column in columns:
        found, texts = plain_values(rows[column], column, rows["where"])
        names[column] = np.array(sorted({clean(text) for text in texts} | {""}), object)
        position = {text: number for number, text in enumerate(names[column])}
        numbers[column] = np.array([*(position[clean(text)] for text in texts), position[""]])[found]
    counts = (
        pd.DataFrame(numbers)
        .value_counts(sort=False)
        .reset_index(name="n")
        .sort_values(["key", "n", *columns], ascending=[True, False] + [True] * len(columns))
    )
    best = counts.drop_duplicates("key")
    levels = zip(*(names[column][best[column]] for column in columns), strict=True)
    found_levels = {str(keys[key]): row for key, row in zip(best["key"], levels, strict=True)}
    unclear = counts.loc[counts["key"].duplicated(), "key"].unique()
    if not len(unclear):
        return found_levels, []
    first = counts[counts["key"] == unclear[0]].head(2)
    said = ("/".join(row) for row in zip(*(names[column][first[column]] for column in columns), strict=True))
    few = "1 category has" if len(unclear) == 1 else f"{len(unclear):,} categories have"
    return found_levels, [
        f"{few} several levels above, such as {keys[unclear[0]]!r}, which is in {' and in '.join(map(repr, said))}; "
        "the most frequent were taken"
    ]


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
        codes, texts = plain_values(values, name, rows["where"].loc[values.index])
        said = np.array([f"{name}={clean(text)}" for text in texts], object)[codes]
        found.append(
            pd.DataFrame({"product": product[values.index], "label": pd.Series(said, dtype=object).to_numpy()})
        )
    pairs = pd.concat(found, ignore_index=True)
    names = sorted(pairs["label"].unique())
    pairs["code"] = pd.Categorical(pairs["label"], categories=names).codes.astype(np.int32)
    pairs = pairs[["product", "code"]].drop_duplicates().sort_values(["product", "code"])
    start = np.searchsorted(pairs["product"].to_numpy(), np.arange(len(table.product_id) + 1))
    return Labels(tuple(names), start.astype(np.int64), pairs["code"].to_numpy(np.int32))
