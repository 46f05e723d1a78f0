"""The data of a run in its record; see `shelfbench.runs.record`."""

from __future__ import annotations

import msgspec


class Excluded(msgspec.Struct, kw_only=True):
    """Categories and products that the split's rule left out, and why."""

    products: int = 0
    categories: int = 0
    reason: str = ""


class UnreadableImage(msgspec.Struct, kw_only=True):
    """An image that could not be read: where it is, and why."""

    record: str = ""
    reason: str = ""


class DatasetRecord(msgspec.Struct, kw_only=True):
    """The data of a run.

    Attributes
    ----------
    name, title, source, licence : str
    hash : str
        Of the content; empty until the data have been opened.
    products, images, categories : int or None
        Of the whole catalogue.
    levels : list of str
        Names of the taxonomy's levels above the category.
    category_names, category_level1 : dict of str to str
        Display name, and place in the first level, by key.
    category_levels : dict of str to list of str
        Place in every level, from the top down, by key; empty where there is at most one level, and in the records of
        earlier versions.
    excluded : Excluded
    unlabelled : int or None
        Products without a category.
    notes : list of str
    duplicates : dict
        Findings of `shelfbench.data.split` about images with equal bytes.
    unreadable_images : int or None
    unreadable : list of UnreadableImage
    """

    name: str = ""
    title: str = ""
    source: str = ""
    licence: str = ""
    hash: str = ""
    products: int | None = None
    images: int | None = None
    categories: int | None = None
    levels: list[str] = []
    category_names: dict[str, str] = {}
    category_level1: dict[str, str] = {}
    category_levels: dict[str, list[str]] = {}
    excluded: Excluded = msgspec.field(default_factory=Excluded)
    unlabelled: int | None = None
    notes: list[str] = []
    duplicates: dict[str, int | str] = {}
    unreadable_images: int | None = None
    unreadable: list[UnreadableImage] = []
