"""The mix of categories of a shop's flow: from a file, or from the catalogue's own counts."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from shelfbench.base.errors import InputError
from shelfbench.base.screen import printable
from shelfbench.study.sections import did_you_mean
from shelfbench.verdict.flow import Flow
from shelfbench.verdict.mix import Mix, weigh_back

CATALOGUE = "catalogue"
_EXAMPLE = "give one line per category, like shirts,0.25"
_LARGEST = 1 << 24
_MOST = 1e15
# 1,200 and 1.200 are 1200 in one country and 1.2 in another.
_AMBIGUOUS = re.compile(r"[1-9]\d{0,2}([.,])\d{3}(\1\d{3})*")
# Categories that are named where a mix is shown.
_SHOWN = 3


def read_flow(given: str, predictions: pa.Table) -> Flow:
    """Read how a shop's flow is mixed.

    Parameters
    ----------
    given : str
        ``catalogue``, or the path of a CSV of category and share (or count, or percent), with or without heads.
    predictions : Table
        With the column category, of all parts of the split.

    Returns
    -------
    Flow

    Raises
    ------
    InputError
        If the file cannot be read, names a category that the run lacks, names one twice, or a share is not a number
        of at least 0.
    """
    keys, count = np.unique(predictions["category"].to_numpy().astype(str), return_counts=True)
    if given == CATALOGUE:
        shares = dict(zip(keys.tolist(), (count / count.sum()).tolist(), strict=True))
        return Flow(shares, "the catalogue's own mix of categories")
    path = Path(given).expanduser()
    found, heads = _shares(path, set(keys.tolist()))
    total = math.fsum(found.values())
    if not found:
        raise InputError(f"{path} names no category", _EXAMPLE)
    if not total > 0:
        raise InputError(f"{path}: no category has a share above 0", _EXAMPLE)
    shares = {key: share / total for key, share in found.items() if share}
    return Flow(shares, f"the mix of {printable(path.name)} ({_shown(shares)}{heads})")


def _shown(shares: Mapping[str, float]) -> str:
    """Name the largest shares, so that a number that was read otherwise than it was meant is seen."""
    largest = sorted(shares.items(), key=lambda pair: -pair[1])
    rest = f" and {len(largest) - _SHOWN:,} more" if len(largest) > _SHOWN else ""
    return ", ".join(f"{printable(key)} {100 * share:.3g}%" for key, share in largest[:_SHOWN]) + rest


def _shares(path: Path, known: Collection[str]) -> tuple[dict[str, float], str]:
    """Read the shares as they are written, and what to say of a first line that was taken for heads."""
    found: dict[str, float] = {}
    heads, percent = "", dict[bool, int]()
    for number, row in enumerate(_rows(path), start=1):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != 2:
            raise InputError(
                f"{path}: line {number} has {len(row)} {'column' if len(row) == 1 else 'columns'}",
                f"{_EXAMPLE}, with the same delimiter in all of them",
            )
        key, text = row[0].strip(), row[1].strip()
        share = _number(text)
        if number == 1 and key not in known and share is None:
            heads = f"; line 1, {printable(','.join(row))[:40]!r}, taken for heads"
            continue
        if _AMBIGUOUS.fullmatch(text.removesuffix("%").strip()):
            plain = text.replace(",", "").replace(".", "")
            raise InputError(
                f"{path}: line {number}: {text[:20]!r} has a mark that may be one of thousands or of decimals",
                f"write {plain[:20]}, or the decimals with another number of digits",
            )
        if share is None:
            raise InputError(f"{path}: line {number}: {text[:20]!r} is not a share of at least 0", _EXAMPLE)
        if key not in known:
            raise InputError(
                f"{path}: line {number}: the run has no category {key[:60]!r}",
                f"{did_you_mean(key, known)}name categories by the keys in the run's split.parquet; leave out what the "
                "classifier does not know",
            )
        if key in found:
            raise InputError(f"{path}: line {number}: {key[:60]!r} stands there twice", "name each category once")
        if share:
            percent[text.endswith("%")] = number
        if len(percent) > 1:
            raise InputError(
                f"{path}: line {percent[True]} has a percent sign, and line {percent[False]} does not",
                "write all shares in the same way",
            )
        found[key] = share
    return found, heads


def _rows(path: Path) -> list[list[str]]:
    """Read the cells of a table with commas, semicolons or tabs."""
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} is too large for a list of categories", _EXAMPLE)
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InputError(f"{path} cannot be read ({reason})", "name a CSV of category and share") from None
    lines = text.splitlines()
    # a comma may be a decimal's, and so counts only where there is nothing else
    delimiter = next((mark for mark in "\t;" if any(mark in line for line in lines[:2])), ",")
    try:
        return list(csv.reader(lines, delimiter=delimiter))
    except csv.Error as error:
        raise InputError(f"{path} cannot be read ({error})", _EXAMPLE) from None


def _number(text: str) -> float | None:
    """Read 0.25, 0,25, 25% or 25; None if it is none of them, is negative or infinite."""
    try:
        value = float(text.removesuffix("%").strip().replace(",", "."))
    except ValueError:
        return None
    return value if 0 <= value <= _MOST else None


def drawn(flow: Flow | None, predictions: pa.Table) -> pa.Table:
    """Keep of tune and certify what is mixed as the flow is, and all of the other parts.

    Parameters
    ----------
    flow : Flow or None
        None leaves everything as it is.
    predictions : Table
        With the columns role and category.

    Returns
    -------
    Table

    Raises
    ------
    InputError
        If certify or tune has no product of any category of the flow.
    """
    if flow is None:
        return predictions
    role, truth = predictions["role"].to_numpy().astype(str), predictions["category"].to_numpy().astype(str)
    keep = np.ones(len(role), bool)
    for part in ("tune", "certify"):
        own = role == part
        keep[own] = flow.keeps(truth[own])
        if own.any() and not keep[own].any():
            raise InputError(
                f"{part} has no product of the categories of {flow.source}", "label products of these categories"
            )
    return predictions.filter(pa.array(keep))


def at_the_mix(predictions: pa.Table, flow: Flow | None, taken: np.ndarray, correct: np.ndarray) -> Mix | None:
    """Weight results on test back to the mix of the catalogue, or to that of the flow.

    Parameters
    ----------
    predictions : Table
        With the columns role and category, of all parts of the split.
    flow : Flow or None
        None for the catalogue.
    taken : ndarray of bool, shape (test products,)
        Whether the threshold accepts them.
    correct : ndarray of bool, shape (test products,)

    Returns
    -------
    Mix or None
        None if nothing is accepted.
    """
    keys, codes = np.unique(predictions["category"].to_numpy().astype(str), return_inverse=True)
    truth = codes[predictions["role"].to_numpy() == "test"]
    sizes = np.bincount(codes, minlength=len(keys)).astype(np.float64)
    if flow is not None:
        sizes = sizes.sum() * np.array([flow.shares.get(key, 0.0) for key in keys.tolist()])
    known = sizes[truth] > 0
    return weigh_back(truth[known], taken[known], correct[known], sizes)


def said(flow: Flow, predictions: pa.Table) -> str:
    """Say for which products a promise holds.

    Parameters
    ----------
    flow : Flow
    predictions : Table
        Before `drawn`.

    Returns
    -------
    str
        Without a full stop.
    """
    role, truth = predictions["role"].to_numpy().astype(str), predictions["category"].to_numpy().astype(str)
    sure = truth[role == "certify"]
    kept, unseen = int(flow.keeps(sure).sum()), flow.unseen(sure)
    text = f"for products at {flow.source}: {kept:,} of {len(sure):,} products to certify on are mixed so"
    if unseen > 0:
        text += f"; nothing is promised of the categories that certify lacks, {100 * unseen:.2g}% of the flow"
    return text
