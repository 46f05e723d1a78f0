"""What kind of catalogue to generate."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from shelfbench.base.errors import InputError

MAX_DEPARTMENTS = 8
INT32_MAX = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """Everything that determines a generated catalogue: the same settings produce the same bytes.

    Attributes
    ----------
    seed : int
        Seed of everything that is drawn.
    products : int
        Number of products. With `counts`, the total to which the list is scaled; 0 keeps the list as it is.
    departments : int
        Departments (level 1), including books: 1 to 8. Without `books` there is one fewer.
    categories : int
        Categories in total, distributed evenly over the departments, at least one each. If a department has fewer
        motifs than categories, further categories draw the same motifs more narrowly.
    skew : bool
        80% of the products in 20% of the categories (C, §1); if off, all categories have the same size.
    counts : str
        Path of a CSV without header, ``name,count``, with the number, the names (of the third level) and the relative
        sizes of the categories; `categories` and `skew` are then ignored.
    label_noise : float
        Share of products that carry another category's label, in [0, 0.5].
    books : bool
        Include a department of books: easy to tell from everything else, hard to tell apart.
    lookalikes : bool
        Include families whose categories look alike; if off, each member of a family keeps to its own colours.
    pixels : int
        Side of the square photos, 32 to 1024.
    quality : int
        JPEG quality, 1 to 95.
    max_photos : int
        Maximum number of photos per product, 1 to 4.
    """

    seed: int = 0
    products: int = 6000
    departments: int = MAX_DEPARTMENTS
    categories: int = 64
    skew: bool = True
    counts: str = ""
    label_noise: float = 0.03
    books: bool = True
    lookalikes: bool = True
    pixels: int = 180
    quality: int = 90
    max_photos: int = 4

    def __post_init__(self) -> None:
        """Validate the settings."""
        for name in ("seed", "products", "departments", "categories", "pixels", "quality", "max_photos"):
            if not isinstance(getattr(self, name), int) or isinstance(getattr(self, name), bool):
                raise InputError(
                    f"generated.{name} = {getattr(self, name)!r} is not a whole number", "give a whole number"
                )
        for name in ("skew", "books", "lookalikes"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(
                    f"generated.{name} = {getattr(self, name)!r} is not true or false", "write true or false"
                )
        if not isinstance(self.counts, str):
            raise InputError(
                f"generated.counts = {self.counts!r} is not a path", "give the path of a CSV file name,count"
            )
        if isinstance(self.label_noise, bool) or not isinstance(self.label_noise, int | float):
            raise InputError(
                f"generated.label_noise = {self.label_noise!r} is not a number", "give a share from 0 to 0.5"
            )
        self._within("seed", 0, 2**63 - 1)
        self._within("departments", 1 if self.books else 2, MAX_DEPARTMENTS)
        self._within("categories", self.departments, 100_000)
        self._within("products", 0 if self.counts else self.categories, INT32_MAX)
        self._within("label_noise", 0, 0.5)
        self._within("pixels", 32, 1024)
        self._within("quality", 1, 95)
        self._within("max_photos", 1, 4)

    def _within(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if not low <= value <= high:
            raise InputError(f"generated.{name} = {value} is out of range", f"give a value from {low} to {high}")


def read_counts(path: Path) -> list[tuple[str, int]]:
    """Read a list of categories and their sizes.

    Parameters
    ----------
    path : Path
        CSV without header, in UTF-8, with two columns: name (in quotes if it contains a comma) and count.

    Returns
    -------
    list of (str, int)
        In the order of the file. A name that appears twice means two categories.

    Raises
    ------
    InputError
        If the file cannot be read, is empty, or a line is not a name and a positive whole number.
    """
    remedy = "each line must be NAME,COUNT with a positive whole number, and no header"
    found: list[tuple[str, int]] = []
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            reader = csv.reader(handle, strict=True)
            for row in reader:
                if not row:
                    continue
                if len(row) != 2 or not row[0].strip():
                    raise InputError(
                        f"{path}, line {reader.line_num}: {','.join(row)!r} is not a name and a count", remedy
                    )
                try:
                    count = int(row[1])
                except ValueError:
                    count = 0
                if not 1 <= count <= INT32_MAX:
                    raise InputError(f"{path}, line {reader.line_num}: {row[1]!r} is not a count", remedy)
                found.append((row[0].strip(), count))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the counts in {path} ({error})", "give a readable UTF-8 CSV file") from error
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}", remedy) from error
    if not found:
        raise InputError(f"{path} contains no counts", remedy)
    return found
