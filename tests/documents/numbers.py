"""Numbers of the documents and of the records that they name."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from tests.documents.commands import FENCE
from tests.helpers.sources import ROOT

NUMBER = re.compile(r"(?<![\w.])([-+−]?)(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(?:e([-+]?\d{1,2})\b)?(?![\w])")
# in a record, a unit may follow at once, as in 3.08x
RECORDED = re.compile(NUMBER.pattern.removesuffix(r"(?![\w])") + r"(?!\d)")
KINDS = (".csv", ".json", ".txt", ".md", ".toml", ".py")
LINK = re.compile(r"\]\(([^)\s#]+)[^)]*\)")
MARK = re.compile(r"<!-- record: (.*?) -->")


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number as it is printed, its value, how many digits follow the point, and what stands around it."""

    text: str
    value: float
    digits: int
    percent: bool
    around: str


@dataclass(frozen=True)
class Section:
    """What stands under a heading of a page, and the records that it names."""

    page: Path
    title: str
    text: str

    @property
    def records(self) -> tuple[Path, ...]:
        """Files in ``results`` to which it links, tests that it names, and what a comment names."""
        links = [target for target in LINK.findall(self.text) if "://" not in target and "results/" in target]
        places = [Path(posixpath.normpath(self.page.parent / target)) for target in links]
        named = [place for marked in MARK.findall(self.text) for place in marked.split()]
        named += re.findall(r"`(tests/[\w/]+\.py)`", self.text)
        kept = [path for path in [*places, *(ROOT / place for place in named)] if path.is_file()]
        return tuple(dict.fromkeys(path for path in kept if path.name != "README.md" and path.suffix != ".png"))

    @property
    def numbers(self) -> tuple[Number, ...]:
        """Its numbers that may be measured: with a point, in percent, or with a comma for thousands."""
        return tuple(number for number in printed(self.text) if number.percent or set(number.text) & {".", ","})


def sections(page: Path) -> Iterator[Section]:
    """Cut a page at its headings."""
    parts = re.split(r"^(#+ .*)$", FENCE.sub("", page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    for title, text in zip(["", *parts[1::2]], parts[0::2], strict=True):
        yield Section(page, title.lstrip("# "), text)


def printed(text: str) -> Iterator[Number]:
    """Find the numbers in Markdown, without those in code and in links."""
    plain = re.sub(r"`[^`]*`", " ` ", re.sub(r"\]\([^)]*\)", "]", MARK.sub("", text)))
    for found in NUMBER.finditer(plain):
        before = plain[: found.start()]
        if re.search(r"§[\d.]*$|[·^]$|[Vv]ersions?( before)? $", before) or plain[found.end() : found.end() + 1] == "·":
            continue  # a section of a paper, a power or a version
        _, whole, fraction, exponent = found.groups()
        value = float(whole.replace(",", "") + (fraction or "")) * 10 ** int(exponent or 0)
        digits = len(fraction or ".") - 1 - int(exponent or 0)
        if "," in whole and not fraction:  # 12,800 is rounded to hundreds
            digits = len(whole.rstrip("0,").replace(",", "")) - len(whole.replace(",", ""))
        after = plain[found.end() :]
        around = " ".join(plain[max(0, found.start() - 40) : found.end() + 30].split())
        yield Number(
            text=whole + (fraction or ""),
            value=value,
            digits=digits,
            percent=bool(re.match(r" ?(%|points)", after)),
            around=around,
        )


@cache
def recorded(path: Path) -> np.ndarray:
    """All numbers in a record, without their signs; of a run's page or record, those of all its tables."""
    files = [path]
    if path.suffix == ".html" or path.name == "run.json":
        files = [*path.parent.glob("run.json"), *sorted((path.parent / "tables").glob("*.csv"))]
    read = [(file.read_text(encoding="utf-8"), file.suffix) for file in files if file.suffix in KINDS]
    values = [value for text, suffix in read for value in _values(text, suffix)]
    return np.unique(np.asarray(values, dtype=float))


def _values(text: str, suffix: str) -> Iterator[float]:
    if suffix in (".py", ".toml"):
        text = re.sub(r"(?<=\d)_(?=\d)", "", text)
    for _, whole, fraction, exponent in RECORDED.findall(text):
        # a comma stands between numbers of a table, and within those that are meant to be read
        *others, last = whole.split(",") if suffix in (".csv", ".json", ".py") else [whole.replace(",", "")]
        yield from map(float, others)
        yield float(last + fraction) * 10.0 ** int(exponent or 0)


def is_in(number: Number, records: np.ndarray) -> bool:
    """Whether a record holds a number that is printed so: itself, or a share that is printed in percent or points."""
    within = 0.5 * 10.0**-number.digits * (1 + 1e-9) + 1e-12
    scales = (1, 100) if number.percent else (1,)
    return any(bool(np.any(np.abs(scale * records - number.value) <= within)) for scale in scales)
