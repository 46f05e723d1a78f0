"""What kind of catalogue to generate."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from shelfbench.base.errors import InputError

MAX_DEPARTMENTS = 8
INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class GeneratorSettings:
    """A generated catalogue, complete: the same settings give the same bytes.

    Attributes
    ----------
    seed : int
        Seed of everything drawn.
    products : int
        Number of products. With `counts`, the total that the list is scaled to; 0 keeps it as given.
    departments : int
        Departments (level 1), books among them: 1 to 8. Without `books` there is one fewer.
    categories : int
        Categories over all departments, shared out evenly; at least one each. Where a department has fewer recipes,
        further categories are narrower draws of the same ones.
    skew : bool
        80% of the products in 20% of the categories (C, §1); off, all categories are of one size.
    counts : str
        Path of a headerless CSV ``name,count``: number, names (of the third level) and relative sizes of the
        categories follow it, and `categories` and `skew` have no say.
    label_noise : float
        Share of products that carry another category's label, in [0, 0.5].
    books : bool
        With a department of books: easy to tell from all else, hard within.
    lookalikes : bool
        With families whose categories look alike; off, each member of a family keeps to colours of its own.
    pixels : int
        Side of the square photos, 32 to 1024.
    quality : int
        JPEG quality, 1 to 95.
    max_photos : int
        Most photos of one product, 1 to 4.
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
        """Refuse what cannot be generated."""
        for name in ("seed", "products", "departments", "categories", "pixels", "quality", "max_photos"):
            if not isinstance(getattr(self, name), int) or isinstance(getattr(self, name), bool):
                raise InputError(
                    f"generated.{name} = {getattr(self, name)!r} is no whole number", "give a whole number"
                )
        for name in ("skew", "books", "lookalikes"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"generated.{name} = {getattr(self, name)!r} is no switch", "write true or false")
        if not isinstance(self.counts, str):
            raise InputError(f"generated.counts = {self.counts!r} is no path", "give the path of a CSV file name,count")
        if isinstance(self.label_noise, bool) or not isinstance(self.label_noise, int | float):
            raise InputError(f"generated.label_noise = {self.label_noise!r} is no number", "give a share from 0 to 0.5")
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
    """Read a list of categories and their numbers of images.

    Parameters
    ----------
    path : Path
        Headerless CSV, UTF-8, two columns: name (quoted where it holds a comma) and count.

    Returns
    -------
    list of (str, int)
        In the order of the file. A name may come twice: those are two categories.

    Raises
    ------
    InputError
        If the file cannot be read, is empty, or a line does not hold a name and a positive whole number.
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
                    raise InputError(f"{path}, line {reader.line_num}: {','.join(row)!r} is no name and count", remedy)
                try:
                    count = int(row[1])
                except ValueError:
                    count = 0
                if not 1 <= count <= INT32_MAX:
                    raise InputError(f"{path}, line {reader.line_num}: {row[1]!r} is no count", remedy)
                found.append((row[0].strip(), count))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the counts in {path} ({error})", "give a readable UTF-8 CSV file") from error
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}", remedy) from error
    if not found:
        raise InputError(f"{path} holds no counts", remedy)
    return found
