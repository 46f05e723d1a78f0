"""The section ``dataset`` of a study."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from shelfbench.base.errors import InputError

# MiB of an encoded photo: no camera's are larger, and a few that are would fill the memory.
LARGEST = 256
# What Arrow and Pillow can hold in one piece.
MOST_MIB = 2047


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
    photos : bool
        Whether tables must name or hold photos; a run on given features needs none.
    largest : int
        MiB of the largest encoded photo that is read; a larger one is an unreadable photo with that reason.
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
    photos: bool = True
    largest: int = field(default=LARGEST, metadata={"earlier": LARGEST})  # see shelfbench.plugins.backend.EARLIER

    def __post_init__(self) -> None:
        """Validate the settings."""
        if not 1 <= self.largest <= MOST_MIB:
            raise InputError(f"dataset.largest is {self.largest} (MiB)", f"give a number from 1 to {MOST_MIB}")
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

    @property
    def most(self) -> int:
        """Bytes of the largest encoded photo that is read."""
        return self.largest << 20
