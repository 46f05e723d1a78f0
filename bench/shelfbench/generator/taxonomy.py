"""Departments, families and categories; each category has a motif."""

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
class Motif:
    """How the products of a category are drawn.

    Attributes
    ----------
    name, family : str
        Names of the category and of its family (levels 3 and 2).
    draw : callable
        Draws one product on a `Sketch`.
    pose : str
        How it is photographed: a name of `photo.POSES`.
    alike : bool
        Whether another category of the family looks very similar.
    """

    name: str
    family: str
    draw: Callable[[Sketch], None]
    pose: str = "stands"
    alike: bool = False


BOOKS = "BOOKS"

# The default catalogue takes the first eight of each department.
DEPARTMENTS: dict[str, tuple[Motif, ...]] = {
    BOOKS: tuple(Motif(name, BOOKS, partial(book, cover=cover), "front", True) for name, cover in COVERS.items()),
    "FURNITURE": (
        Motif("CHAIR", "SEATS", furniture.chair, alike=True),
        Motif("STOOL", "SEATS", furniture.stool, alike=True),
        Motif("ARMCHAIR", "SEATS", furniture.armchair, alike=True),
        Motif("SOFA", "SEATS", furniture.sofa, alike=True),
        Motif("DINING TABLE", "TABLES", furniture.dining_table, alike=True),
        Motif("COFFEE TABLE", "TABLES", furniture.coffee_table, alike=True),
        Motif("CHEST OF DRAWERS", "STORAGE", furniture.drawers, alike=True),
        Motif("SIDEBOARD", "STORAGE", furniture.sideboard, alike=True),
        Motif("BOOKCASE", "STORAGE", furniture.bookcase, alike=True),
        Motif("DESK", "TABLES", furniture.desk, alike=True),
        Motif("WARDROBE", "STORAGE", furniture.wardrobe, alike=True),
    ),
    "KITCHEN": (
        Motif("MUG", "TABLEWARE", kitchen.mug, alike=True),
        Motif("BOWL", "TABLEWARE", kitchen.bowl, alike=True),
        Motif("TEAPOT", "TEA AND COFFEE", kitchen.teapot, alike=True),
        Motif("KETTLE", "TEA AND COFFEE", kitchen.kettle, alike=True),
        Motif("SAUCEPAN", "COOKWARE", kitchen.saucepan, alike=True),
        Motif("CASSEROLE", "COOKWARE", kitchen.casserole, alike=True),
        Motif("DRINKING BOTTLE", "BOTTLES", kitchen.bottle, alike=True),
        Motif("VACUUM FLASK", "BOTTLES", kitchen.thermos, alike=True),
        Motif("PLATE", "TABLEWARE", kitchen.plate, "lies"),
        Motif("FRYING PAN", "COOKWARE", kitchen.frying_pan, "leans", True),
        Motif("WINE GLASS", "TABLEWARE", kitchen.wine_glass),
    ),
    "FASHION": (
        Motif("T-SHIRT", "TOPS", clothes.t_shirt, alike=True),
        Motif("SWEATER", "TOPS", clothes.sweater, alike=True),
        Motif("SHIRT", "TOPS", clothes.shirt, alike=True),
        Motif("COAT", "TOPS", clothes.coat, alike=True),
        Motif("DRESS", "SKIRTS AND DRESSES", clothes.dress, alike=True),
        Motif("TROUSERS", "TROUSERS", clothes.trousers, alike=True),
        Motif("SNEAKER", "SHOES", bags.sneaker),
        Motif("HANDBAG", "BAGS", bags.handbag),
        Motif("SKIRT", "SKIRTS AND DRESSES", clothes.skirt, alike=True),
        Motif("SHORTS", "TROUSERS", clothes.shorts, alike=True),
        Motif("BOOT", "SHOES", bags.boot),
        Motif("BACKPACK", "BAGS", bags.backpack),
        Motif("PUMP", "SHOES", bags.pump),
    ),
    "ELECTRONICS": (
        Motif("SMARTPHONE", "MOBILE", electronics.smartphone, "leans", True),
        Motif("TABLET", "MOBILE", electronics.tablet, "leans", True),
        Motif("TELEVISION", "SCREENS", electronics.television, alike=True),
        Motif("MONITOR", "SCREENS", electronics.monitor, alike=True),
        Motif("LAPTOP", "COMPUTERS", electronics.laptop),
        Motif("HEADPHONES", "SOUND", electronics.headphones),
        Motif("CAMERA", "PHOTO", electronics.camera),
        Motif("SPEAKER", "SOUND", electronics.speaker),
        Motif("KEYBOARD", "COMPUTERS", electronics.keyboard),
        Motif("GAME CONTROLLER", "GAMING", electronics.game_controller),
    ),
    "HOME AND LIGHT": (
        Motif("TABLE LAMP", "LAMPS", home.table_lamp, alike=True),
        Motif("FLOOR LAMP", "LAMPS", home.floor_lamp, alike=True),
        Motif("PENDANT LAMP", "LAMPS", home.pendant, alike=True),
        Motif("VASE", "DECORATION", home.vase),
        Motif("MIRROR", "ON THE WALL", home.mirror, alike=True),
        Motif("PICTURE", "ON THE WALL", home.picture, alike=True),
        Motif("CUSHION", "TEXTILES", home.cushion, "leans", True),
        Motif("RUG", "TEXTILES", home.rug, alike=True),
        Motif("WALL CLOCK", "ON THE WALL", home.wall_clock, "front"),
        Motif("CANDLE", "DECORATION", home.candle),
    ),
    "TOOLS AND GARDEN": (
        Motif("HAMMER", "HAND TOOLS", tools.hammer, "lies"),
        Motif("SCREWDRIVER", "HAND TOOLS", tools.screwdriver, "lies"),
        Motif("SPANNER", "HAND TOOLS", tools.spanner, "lies"),
        Motif("DRILL", "POWER TOOLS", tools.drill, "leans"),
        Motif("SPADE", "GARDEN", tools.spade, "leans", True),
        Motif("RAKE", "GARDEN", tools.rake, "leans", True),
        Motif("FLOWER POT", "GARDEN", tools.flower_pot),
        Motif("PAINT", "PAINT", tools.paint_pot),
        Motif("SAW", "HAND TOOLS", tools.saw, "lies"),
        Motif("PLIERS", "HAND TOOLS", tools.pliers, "lies"),
        Motif("GARDEN FORK", "GARDEN", tools.fork, "leans", True),
        Motif("WATERING CAN", "GARDEN", tools.watering_can),
    ),
    "TOYS AND SPORTS": (
        Motif("TEDDY BEAR", "PLUSH", toys.teddy, alike=True),
        Motif("PLUSH RABBIT", "PLUSH", toys.rabbit, alike=True),
        Motif("PUZZLE", "GAMES", toys.puzzle, "front", True),
        Motif("BOARD GAME", "GAMES", toys.board_game, "front", True),
        Motif("DOLL", "DOLLS", toys.doll),
        Motif("TOY CAR", "VEHICLES", toys.toy_car),
        Motif("FOOTBALL", "BALLS", toys.football, alike=True),
        Motif("RACKET", "SPORTS", toys.racket, "leans"),
        Motif("BASKETBALL", "BALLS", toys.basketball, "leans", True),
        Motif("BUILDING BLOCKS", "BLOCKS", toys.bricks),
        Motif("DUMBBELL", "SPORTS", toys.dumbbell, "leans"),
        Motif("SKATEBOARD", "SPORTS", toys.skateboard, "leans"),
    ),
}
