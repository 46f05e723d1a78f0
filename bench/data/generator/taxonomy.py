"""Departments, families and categories, each category a recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench.data.generator import shapes_books, shapes_kitchen
from bench.data.generator.sketch import Sketch


@dataclass(frozen=True)
class Recipe:
    """How the products of a category are drawn.

    Attributes
    ----------
    name, family : str
        The category's and the family's (level 3 and level 2).
    draw : callable
        Draws one product on a `Sketch`.
    pose : str
        How it is photographed, a name of `photo.POSES`.
    alike : bool
        Whether another category of the family looks much the same.
    """

    name: str
    family: str
    draw: Callable[[Sketch], None]
    pose: str = "stands"
    alike: bool = False


BOOKS = "BOOKS"

DEPARTMENTS: dict[str, tuple[Recipe, ...]] = {
    BOOKS: tuple(Recipe(name, "BOOKS", partial(shapes_books.book, cover=cover), "front", True) for name, cover in shapes_books.COVERS.items()),
    "KITCHEN": (
        Recipe("MUG", "TABLEWARE", shapes_kitchen.mug, alike=True),
        Recipe("BOWL", "TABLEWARE", shapes_kitchen.bowl, alike=True),
        Recipe("PLATE", "TABLEWARE", shapes_kitchen.plate, "lies"),
        Recipe("TEAPOT", "TEA AND COFFEE", shapes_kitchen.teapot, alike=True),
        Recipe("KETTLE", "TEA AND COFFEE", shapes_kitchen.kettle, alike=True),
        Recipe("SAUCEPAN", "COOKWARE", shapes_kitchen.saucepan, alike=True),
        Recipe("CASSEROLE", "COOKWARE", shapes_kitchen.casserole, alike=True),
        Recipe("FRYING PAN", "COOKWARE", shapes_kitchen.frying_pan, "leans", True),
        Recipe("DRINKING BOTTLE", "BOTTLES", shapes_kitchen.bottle, alike=True),
        Recipe("VACUUM FLASK", "BOTTLES", shapes_kitchen.thermos, alike=True),
        Recipe("WINE GLASS", "TABLEWARE", shapes_kitchen.wine_glass),
    ),
}
