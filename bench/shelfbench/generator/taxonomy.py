"""Departments, families and categories, each category a recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from shelfbench.generator import shapes_bags as bags
from shelfbench.generator import shapes_clothes as clothes
from shelfbench.generator import shapes_electronics as electronics
from shelfbench.generator import shapes_furniture as furniture
from shelfbench.generator import shapes_home as home
from shelfbench.generator import shapes_kitchen as kitchen
from shelfbench.generator import shapes_tools as tools
from shelfbench.generator import shapes_toys as toys
from shelfbench.generator.shapes_books import COVERS, book
from shelfbench.generator.sketch import Sketch


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

# The first eight of a department are those of the default catalogue.
DEPARTMENTS: dict[str, tuple[Recipe, ...]] = {
    BOOKS: tuple(Recipe(name, BOOKS, partial(book, cover=cover), "front", True) for name, cover in COVERS.items()),
    "FURNITURE": (
        Recipe("CHAIR", "SEATS", furniture.chair, alike=True),
        Recipe("STOOL", "SEATS", furniture.stool, alike=True),
        Recipe("ARMCHAIR", "SEATS", furniture.armchair, alike=True),
        Recipe("SOFA", "SEATS", furniture.sofa, alike=True),
        Recipe("DINING TABLE", "TABLES", furniture.dining_table, alike=True),
        Recipe("COFFEE TABLE", "TABLES", furniture.coffee_table, alike=True),
        Recipe("CHEST OF DRAWERS", "STORAGE", furniture.drawers, alike=True),
        Recipe("SIDEBOARD", "STORAGE", furniture.sideboard, alike=True),
        Recipe("BOOKCASE", "STORAGE", furniture.bookcase, alike=True),
        Recipe("DESK", "TABLES", furniture.desk, alike=True),
        Recipe("WARDROBE", "STORAGE", furniture.wardrobe, alike=True),
    ),
    "KITCHEN": (
        Recipe("MUG", "TABLEWARE", kitchen.mug, alike=True),
        Recipe("BOWL", "TABLEWARE", kitchen.bowl, alike=True),
        Recipe("TEAPOT", "TEA AND COFFEE", kitchen.teapot, alike=True),
        Recipe("KETTLE", "TEA AND COFFEE", kitchen.kettle, alike=True),
        Recipe("SAUCEPAN", "COOKWARE", kitchen.saucepan, alike=True),
        Recipe("CASSEROLE", "COOKWARE", kitchen.casserole, alike=True),
        Recipe("DRINKING BOTTLE", "BOTTLES", kitchen.bottle, alike=True),
        Recipe("VACUUM FLASK", "BOTTLES", kitchen.thermos, alike=True),
        Recipe("PLATE", "TABLEWARE", kitchen.plate, "lies"),
        Recipe("FRYING PAN", "COOKWARE", kitchen.frying_pan, "leans", True),
        Recipe("WINE GLASS", "TABLEWARE", kitchen.wine_glass),
    ),
    "FASHION": (
        Recipe("T-SHIRT", "TOPS", clothes.t_shirt, alike=True),
        Recipe("SWEATER", "TOPS", clothes.sweater, alike=True),
        Recipe("SHIRT", "TOPS", clothes.shirt, alike=True),
        Recipe("COAT", "TOPS", clothes.coat, alike=True),
        Recipe("DRESS", "SKIRTS AND DRESSES", clothes.dress, alike=True),
        Recipe("TROUSERS", "TROUSERS", clothes.trousers, alike=True),
        Recipe("SNEAKER", "SHOES", bags.sneaker),
        Recipe("HANDBAG", "BAGS", bags.handbag),
        Recipe("SKIRT", "SKIRTS AND DRESSES", clothes.skirt, alike=True),
        Recipe("SHORTS", "TROUSERS", clothes.shorts, alike=True),
        Recipe("BOOT", "SHOES", bags.boot),
        Recipe("BACKPACK", "BAGS", bags.backpack),
        Recipe("PUMP", "SHOES", bags.pump),
    ),
    "ELECTRONICS": (
        Recipe("SMARTPHONE", "MOBILE", electronics.smartphone, "leans", True),
        Recipe("TABLET", "MOBILE", electronics.tablet, "leans", True),
        Recipe("TELEVISION", "SCREENS", electronics.television, alike=True),
        Recipe("MONITOR", "SCREENS", electronics.monitor, alike=True),
        Recipe("LAPTOP", "COMPUTERS", electronics.laptop),
        Recipe("HEADPHONES", "SOUND", electronics.headphones),
        Recipe("CAMERA", "PHOTO", electronics.camera),
        Recipe("SPEAKER", "SOUND", electronics.speaker),
        Recipe("KEYBOARD", "COMPUTERS", electronics.keyboard),
        Recipe("GAME CONTROLLER", "GAMING", electronics.game_controller),
    ),
    "HOME AND LIGHT": (
        Recipe("TABLE LAMP", "LAMPS", home.table_lamp, alike=True),
        Recipe("FLOOR LAMP", "LAMPS", home.floor_lamp, alike=True),
        Recipe("PENDANT LAMP", "LAMPS", home.pendant, alike=True),
        Recipe("VASE", "DECORATION", home.vase),
        Recipe("MIRROR", "ON THE WALL", home.mirror, alike=True),
        Recipe("PICTURE", "ON THE WALL", home.picture, alike=True),
        Recipe("CUSHION", "TEXTILES", home.cushion, "leans", True),
        Recipe("RUG", "TEXTILES", home.rug, alike=True),
        Recipe("WALL CLOCK", "ON THE WALL", home.wall_clock, "front"),
        Recipe("CANDLE", "DECORATION", home.candle),
    ),
    "TOOLS AND GARDEN": (
        Recipe("HAMMER", "HAND TOOLS", tools.hammer, "lies"),
        Recipe("SCREWDRIVER", "HAND TOOLS", tools.screwdriver, "lies"),
        Recipe("SPANNER", "HAND TOOLS", tools.spanner, "lies"),
        Recipe("DRILL", "POWER TOOLS", tools.drill, "leans"),
        Recipe("SPADE", "GARDEN", tools.spade, "leans", True),
        Recipe("RAKE", "GARDEN", tools.rake, "leans", True),
        Recipe("FLOWER POT", "GARDEN", tools.flower_pot),
        Recipe("PAINT", "PAINT", tools.paint_pot),
        Recipe("SAW", "HAND TOOLS", tools.saw, "lies"),
        Recipe("PLIERS", "HAND TOOLS", tools.pliers, "lies"),
        Recipe("GARDEN FORK", "GARDEN", tools.fork, "leans", True),
        Recipe("WATERING CAN", "GARDEN", tools.watering_can),
    ),
    "TOYS AND SPORTS": (
        Recipe("TEDDY BEAR", "PLUSH", toys.teddy, alike=True),
        Recipe("PLUSH RABBIT", "PLUSH", toys.rabbit, alike=True),
        Recipe("PUZZLE", "GAMES", toys.puzzle, "front", True),
        Recipe("BOARD GAME", "GAMES", toys.board_game, "front", True),
        Recipe("DOLL", "DOLLS", toys.doll),
        Recipe("TOY CAR", "VEHICLES", toys.toy_car),
        Recipe("FOOTBALL", "BALLS", toys.football, alike=True),
        Recipe("RACKET", "SPORTS", toys.racket, "leans"),
        Recipe("BASKETBALL", "BALLS", toys.basketball, "leans", True),
        Recipe("BUILDING BLOCKS", "BLOCKS", toys.bricks),
        Recipe("DUMBBELL", "SPORTS", toys.dumbbell, "leans"),
        Recipe("SKATEBOARD", "SPORTS", toys.skateboard, "leans"),
    ),
}
