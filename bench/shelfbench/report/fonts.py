"""Letters in figures: fonts for scripts that the house font lacks, and names cut to the room they have."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import groupby
from pathlib import Path

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from shelfbench.report.style import FAMILY

_SCRIPTS = {
    "CJK": "Chinese or Japanese",
    "IDEOGRAPHIC": "Chinese or Japanese",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "HANGUL": "Korean",
}
# the first that draws Arabic joined and from right to left
_SHAPES = (3, 11)


def fit_fonts(figure: Figure) -> str:
    """Let every text of a figure use further installed fonts for letters that the house font lacks.

    Parameters
    ----------
    figure : Figure

    Returns
    -------
    str
        What cannot be drawn as it is written; empty if all can.
    """
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]
    needed = {text: _lacking(text.get_text()) for text in texts}
    wanted = frozenset().union(*needed.values())
    families, missing = _families(wanted) if wanted else ((), frozenset())
    for text, letters in needed.items():
        if letters:
            text.set_fontfamily([FAMILY, *families])
    notes = []
    if missing:
        notes.append(
            f"Boxes stand for letters that no font on this computer has: {_named(missing)}. Install fonts that have "
            "them, such as Noto's, and repeat the command of this run."
        )
    if tuple(map(int, re.findall(r"\d+", mpl.__version__)[:2])) < _SHAPES and any(map(_leftward, texts)):
        notes.append("This version of matplotlib (before 3.11) draws words written from right to left in reverse.")
    return " ".join(notes)


def wrapped(text: str, width: float, size: float, lines: int = 1) -> str:
    """Break a name into lines that fit a width, and cut it where it needs more of them.

    Parameters
    ----------
    text : str
        Any text; line breaks count as blanks, and what cannot be seen is left out.
    width : float
        In points.
    size : float
        Of the font, in points.
    lines : int
        At most.

    Returns
    -------
    str
        With line breaks; ends in … if it was cut.
    """
    rest = _visible(text)
    done: list[str] = []
    while rest:
        most = _fitting(rest, width / size)
        if most == len(rest):
            return "\n".join([*done, rest])
        if len(done) == lines - 1:
            return "\n".join([*done, rest[: _fitting(rest, width / size - _advance("…"))].rstrip() + "…"])
        cut = _break(rest, most)
        done.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return "\n".join(done)


def _break(text: str, most: int) -> int:
    """Where to end a line of so many letters: at a blank, else after a sign that joins, such as a file's dot."""
    space = text.rfind(" ", 0, most + 1)
    joint = max(text.rfind(sign, 0, most) for sign in "/.-_@:") + 1
    return next((place for place in (space, joint) if place > most // 2), max(most, 1))


def _visible(text: str) -> str:
    """One line without control characters and marks that turn the direction of writing."""
    blank = " ".join(text.split())
    return "".join(letter for letter in blank if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co", "Cn"))


def _fitting(text: str, ems: float) -> int:
    """How many letters fit."""
    used = 0.0
    for number, letter in enumerate(text):
        used += _advance(letter)
        if used > ems:
            return number
    return len(text)


@cache
def _advance(letter: str) -> float:
    """The width of a letter in ems: the house font's, or a whole one for letters of other fonts."""
    if unicodedata.combining(letter):
        return 0.0
    if ord(letter) not in _house_letters():
        return 1.0
    font = _house()
    font.set_size(100, 72)
    return float(font.load_char(ord(letter)).linearHoriAdvance) / 65536 / 100


@cache
def _house() -> FT2Font:
    return FT2Font(font_manager.findfont(FAMILY))


@cache
def _house_letters() -> frozenset[int]:
    return frozenset(_house().get_charmap())


def _lacking(text: str) -> frozenset[str]:
    return frozenset(
        letter
        for letter in text
        if ord(letter) not in _house_letters() and unicodedata.category(letter) not in ("Cc", "Cf", "Zs", "Zl", "Zp")
    )


@cache
def _families(wanted: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """The fewest installed families that have these letters, as they come first, and the letters that none has."""
    offers = {}
    for path in sorted(font_manager.findSystemFonts(), key=_rank):
        try:
            font = FT2Font(path)
            known = font.get_charmap()
            letters = frozenset(letter for letter in wanted if ord(letter) in known)
            if letters and font.scalable and "LastResort" not in path:  # that font has a box for every letter
                offers[path] = letters
        except (OSError, RuntimeError):
            continue  # a damaged font, or one of a kind that cannot be read
    families: list[str] = []
    rest = wanted
    while rest and offers:
        best = max(offers, key=lambda path: len(offers[path] & rest))
        if not offers[best] & rest:
            break
        rest -= offers[best]
        font_manager.fontManager.addfont(best)
        families.append(FT2Font(best).family_name)
    return tuple(families), rest


def _rank(path: str) -> tuple[bool, bool, bool, str]:
    """Prefer upright Noto fonts without serifs; the order does not depend on the folder's."""
    name = Path(path).stem
    return ("NotoSans" not in name, "Regular" not in name, "Mono" in name or "UI" in name, path)


def _named(letters: frozenset[str]) -> str:
    """Scripts, with some of their letters."""

    def script(letter: str) -> str:
        if unicodedata.category(letter).startswith("S"):
            return "symbols"
        first = unicodedata.name(letter, "UNNAMED").partition(" ")[0].partition("-")[0]
        return _SCRIPTS.get(first, first.capitalize())

    found = groupby(sorted(letters, key=lambda letter: (script(letter), letter)), key=script)
    return ", ".join(f"{name} ({''.join(list(some)[:6])})" for name, some in found)


def _leftward(text: Text) -> bool:
    return any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in text.get_text())
