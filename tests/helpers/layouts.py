"""Random catalogues on disk, with what a person would read in each: for the fuzz of layouts."""

from __future__ import annotations

import random
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.helpers.photos import picture

WORDS = {
    "train": ("train", "training", "Train", "TRAIN", "01_train", "train-0"),
    "validation": ("validation", "valid", "val", "dev", "Val", "validation_1"),
    "test": ("test", "testing", "eval", "evaluation", "Test", "02 test"),
}
NAMES = (
    *("shoes", "shirts", "Café", "T-shirts & tops", "007", "NA", "été", "rings; gold", "a.b", "bars ", "True"),
    *("crème brûlée", "hats, caps", "socks", "null", "2", "1.0", "'quoted'"),
)
SUSPICIOUS = ("train", "test", "training shoes", "test tubes", "valid 2000", "dev")


@cache
def photo(number: int) -> bytes:
    """Encode one of many tiny pictures, in several formats."""
    colour = (number * 37 % 256, number * 59 % 256, number % 256)
    kind = ("JPEG", "PNG", "GIF", "BMP", "WEBP")[number % 5]
    return picture(colour, (5 + number % 3, 4 + number % 7), kind) + number.to_bytes(3, "big")


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One photo and what a person knows of it; an empty category means none, an empty product that it is one."""

    path: str
    data: bytes
    category: str
    split: str = ""
    product: str = ""


def key_of(name: str) -> str:
    """A category's name as it is compared."""
    return unicodedata.normalize("NFC", name).strip()


def reading(photos: list[Photo]) -> Counter:
    """Products as their category, their part of the split and their photos, however often."""
    products: dict[str, list[Photo]] = {}
    for each in photos:
        if each.category.strip():
            products.setdefault(each.product or each.path, []).append(each)
    parts = {each.split for each in photos if each.category.strip()}
    whole = parts - {"", "train"}
    return Counter(
        (key_of(own[0].category), own[0].split if whole else "", tuple(sorted(each.data for each in own)))
        for own in products.values()
    )


@dataclass(kw_only=True)
class Drawn:
    """A layout that is being drawn.

    Attributes
    ----------
    random : Random
    photos : list of Photo
        What is in the catalogue.
    files : dict of str to bytes
        Everything on disk.
    folders : list of str
        Empty ones.
    path : str
        Of a file that is given as the path; empty for the root.
    may_stop, must_stop : bool
        Whether a question is an answer, or the only one.
    story : list of str
        What was drawn, for messages.
    """

    random: random.Random
    photos: list[Photo] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    path: str = ""
    may_stop: bool = False
    must_stop: bool = False
    story: list[str] = field(default_factory=list)

    def chance(self, share: float, what: str) -> bool:
        """Draw whether something happens, and note it."""
        happens = self.random.random() < share
        if happens:
            self.story.append(what)
        return happens

    def data(self) -> bytes:
        """Draw a photo that no other file has; few are not photos at all."""
        made = photo(len(self.files) + 1000 * self.random.randrange(3))
        return made if self.random.random() < 0.98 else made[:20] + made[-3:]

    def name(self) -> str:
        """Draw the name of a photo, which may stand in several folders."""
        stem = self.random.choice(("p", "IMG_", "photo ", "é", "x.y", "00")) + str(len(self.photos) % 7)
        return f"{stem}-{len(self.photos)}{self.random.choice(('.jpg', '.JPG', '.png', '.jpeg', '.webp', ''))}"

    def add(self, folder: str, category: str, **more: str) -> Photo:
        """Put one photo into a folder."""
        name = self.name()
        made = Photo(path=f"{folder}/{name}" if folder else name, data=self.data(), category=category, **more)
        self.photos.append(made)
        self.files[made.path] = made.data
        return made

    def categories(self, most: int = 4) -> list[str]:
        """Draw names of categories, few of which are also words for parts of a split."""
        names = self.random.sample(NAMES, self.random.randint(2, most))
        if self.chance(0.1, "suspicious category"):
            names[0] = self.random.choice(SUSPICIOUS)
            self.may_stop = True
        return names

    def parts(self) -> dict[str, str]:
        """Draw the words of a split that has a train part: {word: part}."""
        kinds = self.random.choice((("train", "test"), ("train", "validation"), ("train", "validation", "test")))
        return {self.random.choice(WORDS[kind]): kind for kind in kinds}

    def some(self) -> range:
        """Draw how many photos."""
        return range(self.random.randint(2, 4))

    def write(self, root: Path) -> None:
        """Write everything below a root."""
        for path, data in self.files.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        for folder in self.folders:
            (root / folder).mkdir(parents=True, exist_ok=True)
