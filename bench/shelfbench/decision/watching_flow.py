"""Rows of the flow as numbers: whether each was accepted, by this decision's own rules, and whether it is right."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.decision.hostile import shown
from shelfbench.decision.record import DecisionRecord
from shelfbench.decision.rows import REVIEW
from shelfbench.decision.watching_rows import Row

# How the reason begins that classify writes for a product that is unlike those it has learned.
STRANGER = "unlike"
# What classify writes in the column level of a ladder for a product that is answered at its category.
CATEGORY = "category"
_ROUNDED = 0.005  # by which a confidence may have been rounded
_YES, _NO = {"true", "1", "yes", "y", "t"}, {"false", "0", "no", "n", "f"}
_EARLIEST, _LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
# Labelled products of which more than half have a category that the decision does not know are another shop's.
_TELLING = 20


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Some rows as numbers; all arrays have the shape (n,).

    Attributes
    ----------
    keys : ndarray of uint64
        A hash of each product's id.
    contents : ndarray of uint64
        A hash of its id, prediction and label.
    predicted : ndarray of int64
        Code of the category predicted; -1 where there is none.
    accepted, labelled, right, stranger : ndarray of bool
    confidence : ndarray of float64
        NaN where it is not given.
    time : ndarray of int64
        Seconds since 1970 in UTC; 0 without the column.
    lines : ndarray of int64
    """

    keys: np.ndarray
    contents: np.ndarray
    predicted: np.ndarray
    accepted: np.ndarray
    labelled: np.ndarray
    right: np.ndarray
    stranger: np.ndarray
    confidence: np.ndarray
    time: np.ndarray
    lines: np.ndarray

    def __getitem__(self, which: np.ndarray) -> Flow:
        """Take some of the rows, by a mask or by their numbers."""
        return Flow(**{name: getattr(self, name)[which] for name in Flow.__dataclass_fields__})


def join(parts: Iterable[Flow]) -> Flow:
    """Put rows one after the other; there must be at least one part."""
    kept = list(parts)
    return Flow(**{n: np.concatenate([getattr(part, n) for part in kept]) for n in Flow.__dataclass_fields__})


class Reader:
    """Turns rows into numbers, by what a decision knows.

    Parameters
    ----------
    record : DecisionRecord
    where : str
        The table, for messages.

    Attributes
    ----------
    by : str
        What says which products were accepted, for the output.
    timed : bool
        Whether the table has a column of times.
    unknown : int
        Accepted labelled products whose category the decision does not know.
    above : int
        Accepted products that a ladder answered at a level above the category, which is another promise.
    """

    def __init__(self, record: DecisionRecord, where: str) -> None:
        self._codes = {entry.key: code for code, entry in enumerate(record.categories)}
        self._names = {entry.name for entry in record.categories}
        self._off = set(record.off)
        self._least = record.threshold if record.measure == "probability" else None
        self._where = where
        self.by = ""
        self.timed = False
        self.unknown = self.above = 0
        rungs = record.rungs or ()
        self._ladder = bool(rungs)
        self._groups = {text for rung in rungs for text in (*rung.groups, *rung.names)}
        self._counted = 0  # accepted labelled products
        self._labelled = self._strangers = 0  # all labelled products, and those of an unknown category
        self._example = ""

    def read(self, blocks: Iterable[list[Row]]) -> Iterator[Flow]:
        """Turn blocks of rows into numbers.

        Parameters
        ----------
        blocks : iterable of list of Row

        Yields
        ------
        Flow

        Raises
        ------
        InputError
            If a row contradicts itself or the decision; the message names it.
        """
        for block in blocks:
            if not self.by:
                self._settle(block[0][1])
            columns = zip(*(self._row(line, cells) for line, cells in block), strict=True)
            kinds = (np.uint64, np.uint64, np.int64, bool, bool, bool, bool, np.float64, np.int64, np.int64)
            arrays = [np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
            yield Flow(**dict(zip(Flow.__dataclass_fields__, arrays, strict=True)))
        # a new kind of product may be most of what went to review, and is then none of what was accepted
        many = self._labelled >= _TELLING and 2 * self._strangers > self._labelled
        if many and 2 * self.unknown > self._counted:
            raise InputError(
                f"{self._where}: {self._strangers:,} of {self._labelled:,} labelled products have categories that the "
                f"decision does not know, such as {shown(self._example)!r}",
                "give the labels as the decision's keys, or name the decision that made these predictions",
            )

    def _settle(self, cells: dict[str, str]) -> None:
        """Settle by which column a product counts as accepted."""
        self.timed = "time" in cells
        if self._ladder and "level" not in cells:
            raise InputError(
                f"{self._where} has no column level, and the decision answers at several",
                "give the column level that classify writes",
            )
        if "accepted" in cells:
            self.by = "the column accepted"
        elif "reason" in cells:
            self.by = "the column reason, which is empty where a product was accepted"
        elif "confidence" in cells and self._least is not None:
            self.by = "the decision's threshold and the column confidence"
        else:
            self.by = "nothing: every row is taken for an accepted product"

    def _row(self, line: int, cells: dict[str, str]) -> tuple[int | float | bool, ...]:
        identity, predicted, truth = cells["product_id"], cells["predicted"], cells["category"]
        if not identity:
            self._refuse(line, "has no product_id", "give each product its own")
        if cells.get("level", "") not in ("", CATEGORY, REVIEW):
            return self._answered_above(line, cells)
        code = self._codes.get(predicted, -1)
        if code < 0 and predicted not in ("", REVIEW):
            self._strange(line, "predicted", predicted)
        confidence = self._confidence(line, cells.get("confidence", ""))
        accepted = self._accepted(line, cells, confidence)
        if accepted and code < 0:
            self._refuse(line, f"was accepted, but its predicted is {shown(predicted)!r}", "give the category")
        if truth and truth not in self._codes:
            if truth in self._names or truth.removesuffix(".0") in self._codes:
                self._strange(line, "category", truth)
            self.unknown += accepted
            self._strangers += 1
            self._example = self._example or truth
        self._labelled += bool(truth)
        self._counted += bool(truth) and accepted
        return (
            _hashed(identity),
            _hashed(f"{identity}\0{predicted}\0{truth}"),
            code,
            accepted,
            bool(truth),
            bool(truth) and truth == predicted,
            not accepted and cells.get("reason", "").startswith(STRANGER),
            confidence,
            self._time(line, cells["time"]) if self.timed else 0,
            line,
        )

    def _answered_above(self, line: int, cells: dict[str, str]) -> tuple[int | float | bool, ...]:
        """Count a product of the flow, but not whether its answer is right, which is another promise."""
        self.above += 1
        if truth := cells["category"]:
            self._labelled += 1
            self._strangers += truth not in self._codes and truth not in self._groups
        identity = _hashed(cells["product_id"])
        time = self._time(line, cells["time"]) if self.timed else 0
        return (identity, identity, -1, True, False, False, False, math.nan, time, line)

    def _accepted(self, line: int, cells: dict[str, str], confidence: float) -> bool:
        off = cells["predicted"] in self._off
        if "accepted" in cells:
            said = cells["accepted"].strip().lower().removesuffix(".0")
            if said not in _YES | _NO:
                self._refuse(line, f"has {shown(cells['accepted'])!r} in the column accepted", "write true or false")
            accepted = said in _YES
        elif "reason" in cells:
            accepted = not cells["reason"] and cells["predicted"] not in ("", REVIEW)
        elif "confidence" in cells and self._least is not None:
            return bool(not off and confidence >= math.exp(self._least))  # NaN is below
        else:
            return not off and cells["predicted"] not in ("", REVIEW)
        if accepted and off:
            self._refuse(
                line, f"was accepted as {shown(cells['predicted'])!r}, which the decision switches off", _OTHER
            )
        if accepted and self._least is not None and confidence < math.exp(self._least) - _ROUNDED:
            least = math.exp(self._least)
            self._refuse(
                line,
                f"was accepted with a confidence of {confidence:.4f}, but the decision accepts from {least:.4f} on",
                _OTHER,
            )
        return accepted

    def _confidence(self, line: int, text: str) -> float:
        if not text.strip():
            return math.nan
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1:
            self._refuse(line, f"has the confidence {shown(text)!r}", "write a number from 0 to 1, or leave it empty")
        return value

    def _time(self, line: int, text: str) -> int:
        try:
            found = datetime.fromisoformat(text.strip())
        except ValueError:
            found = None
        if found is None:
            self._refuse(line, f"has the time {shown(text)!r}", "write 2026-11-28 or 2026-11-28T14:30")
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        if not _EARLIEST <= found < _LATEST:
            self._refuse(line, f"has the time {shown(text)!r}", "correct it: it lies before 1990 or after 2200")
        return int(found.timestamp())

    def _strange(self, line: int, column: str, text: str) -> NoReturn:
        if text in self._names:
            self._refuse(line, f"has the name {shown(text)!r} in the column {column}", "give the category's key")
        if (key := text.removesuffix(".0")) in self._codes:
            self._refuse(
                line,
                f"has {shown(text)!r} in the column {column}, and the category is {key!r}",
                "write categories as text (in pandas, read them with dtype=str)",
            )
        self._refuse(line, f"has {shown(text)!r} in the column {column}, which the decision does not know", _OTHER)

    def _refuse(self, line: int, problem: str, remedy: str) -> NoReturn:
        raise InputError(f"{self._where}, row {line} {problem}", remedy)


_OTHER = "name the decision that made these predictions"


def _hashed(text: str) -> int:
    """Hash text to 64 bits: with 20 million products, two are taken for one with a chance of 1 in 100,000."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
