"""Two run directories of the same study, an older and a newer one: whether their predictions can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.base.screen import printable
from shelfbench.runs.directory import Run, open_run
from shelfbench.runs.merging import split_reason
from shelfbench.runs.reading import SPLITS, Evaluated, NothingMeasured
from shelfbench.runs.record import RECORD
from shelfbench.runs.recorder import differences
from shelfbench.verdict.compare import Contestant
from shelfbench.verdict.gate import TOLERANCE, can_fail

_NAMED = 6  # settings that differ, at most


class NotComparable(InputError):
    """Two runs rest on different data, or one lacks a backend of the other.

    Parameters
    ----------
    reasons : sequence of str
        One line each.

    Attributes
    ----------
    reasons : tuple of str
    """

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        more = f" (and {len(reasons) - 1} more reasons: compare with --gate)" if len(reasons) > 1 else ""
        super().__init__(
            f"the two runs cannot be compared: {reasons[0]}{more}", "make the old run again, on what the new one has"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class RunPair:
    """Two runs whose test products and labels are the same.

    Attributes
    ----------
    old, new : Run
    backends : tuple of str
        Those to compare, which both have.
    notes : tuple of str
        What a reader should know of how the two were made.
    """

    old: Run
    new: Run
    backends: tuple[str, ...]
    notes: tuple[str, ...]

    def contestants(self) -> list[tuple[Contestant, Contestant]]:
        """Return the test products of each backend, as in `shelfbench.verdict.gate.gate`."""
        return [(contestant(self.old, name), contestant(self.new, name)) for name in self.backends]


def open_pair(old: Path, new: Path, backends: Sequence[str] = (), *, tolerance: float = TOLERANCE) -> RunPair:
    """Open two run directories to compare the newer with the older one.

    Parameters
    ----------
    old : Path
    new : Path
    backends : sequence of str
        Those to compare; by default all that the old run has finished, also those whose predictions it has lost.
    tolerance : float
        What may be lost.

    Returns
    -------
    RunPair

    Raises
    ------
    InputError
        If one is not a run directory or is damaged, both are the same, or a backend is in neither.
    NothingMeasured
        If one has no predictions, or so few test products that nothing could be found on them.
    NotComparable
        If their test products, labels, splits, data or levels differ, or one lacks a backend.
    """
    if old.resolve() == new.resolve():
        raise InputError(f"{old} and {new} are the same run directory", "name two")
    older, newer = open_run(old), open_run(new)
    for name in backends:
        if name not in older.backends and name not in newer.backends:
            known = ", ".join(dict.fromkeys(older.backends + newer.backends))
            raise InputError(f"neither run has a backend {name!r}", f"there are {known}")
    wanted = tuple(dict.fromkeys(backends)) or _all_of(older)
    if not wanted:
        raise NothingMeasured(f"{old} has no predictions: it is a run of an experiment", "compare runs of backends")
    notes: list[str] = []
    reasons = [*_records(older, newer), *_missing(older, newer, wanted)]
    for name in wanted:
        if name in older.backends and name in newer.backends:
            found = list(_products(older, newer, name, notes))
            reasons += found
            if found:
                break
    if reasons:
        raise NotComparable(list(dict.fromkeys(reasons)))
    products = int(np.count_nonzero(older.products(wanted[0]).split == "test"))
    if not can_fail(products, len(wanted), tolerance):
        raise NothingMeasured(
            f"{old} and {new} have {products} products of test, on which no loss could be told from chance",
            "compare on more products",
        )
    return RunPair(old=older, new=newer, backends=wanted, notes=(*notes, *_doubts(older, newer, wanted)))


def _all_of(run: Run) -> tuple[str, ...]:
    """Name the backends of a run, also those that it finished and whose predictions are gone; none of experiments."""
    gone = [name for name, entry in run.record.backends.items() if entry.done and name not in run.backends]
    return (*run.backends, *gone) if run.backends else ()


def _records(old: Run, new: Run) -> Iterator[str]:
    """Reasons that stand in the records."""
    one, two = old.record, new.record
    for run in (old, new):
        if not (run.record.dataset.hash and run.record.split.hash):
            yield f"{run.path / RECORD} does not say which data and split it rests on"
            return
    if one.dataset.hash != two.dataset.hash:
        sizes = [
            f"{printable(found.name)}, {found.products or 0:,} products, hash {found.hash[:12]}"
            for found in (one.dataset, two.dataset)
        ]
        yield f"other data ({sizes[0]}; {sizes[1]})"
    if one.dataset.levels != two.dataset.levels:
        yield f"other levels of categories ({_listed(one.dataset.levels)}; {_listed(two.dataset.levels)})"
    elif (found := _moved(one.dataset.category_level1, two.dataset.category_level1)) or (
        found := _moved(one.dataset.category_levels, two.dataset.category_levels)
    ):
        yield f"other levels of categories ({printable(found)} is in another place)"


def _listed(levels: Sequence[str]) -> str:
    return ", ".join(map(printable, levels)) or "none"


def _moved(old: Mapping[str, object], new: Mapping[str, object]) -> str:
    """Return the first category whose place differs, or nothing; earlier versions did not note all levels."""
    if not (old and new):
        return ""
    return next((key for key in sorted({*old, *new}) if old.get(key) != new.get(key)), "")


def _missing(old: Run, new: Run, wanted: Sequence[str]) -> Iterator[str]:
    for run in (old, new):
        for name in wanted:
            if name not in run.backends:
                entry = run.record.backends.get(name)
                why = printable(entry.reason) if entry and entry.failed else ""
                yield (
                    f"{run.path} has no predictions of {printable(name)}{f' ({why})' if why else ''}; to compare the "
                    "others, name them after the runs"
                )


def _products(old: Run, new: Run, name: str, notes: list[str]) -> Iterator[str]:
    """Reasons that stand in the predictions of a backend: other products, another split, other labels."""
    found = old.products(name), new.products(name)
    text = found[0].product_id.dtype.kind != found[1].product_id.dtype.kind  # numbers in one run, text in the other
    one, two = (_by_product(side, text) for side in found)
    parts = [{part: side[0][side[1] == part] for part in SPLITS} for side in (one, two)]
    alike = all(np.array_equal(parts[0][part], parts[1][part]) for part in SPLITS)
    if not alike:
        yield f"another split ({split_reason(old, new)})"
    elif old.record.split.hash != new.record.split.hash:
        note = f"validation is halved differently ({split_reason(old, new)}), test is the same"
        notes += [note] * (note not in notes)
    first, second = parts[0]["test"], parts[1]["test"]
    if not np.array_equal(first, second):
        gone, come = np.setdiff1d(first, second), np.setdiff1d(second, first)
        odd = gone if len(gone) else come
        yield (
            f"other products of test ({len(gone):,} only in {old.path}, {len(come):,} only in {new.path}; the first is "
            f"{printable(str(odd[0]))})"
        )
        return
    labels = [side[2][side[1] == "test"] for side in (one, two)]
    other = np.flatnonzero(labels[0] != labels[1])
    if len(other):
        product, before, after = (printable(str(values[other[0]])) for values in (first, *labels))
        yield (
            f"other labels of {len(other):,} of {len(first):,} products of test (the first, {product}, was {before} "
            f"and is {after})"
        )


def _by_product(found: Evaluated, text: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return products (as text if asked for), splits and true categories, in the order of the products."""
    product_id = found.product_id.astype(str) if text else found.product_id
    order = np.argsort(product_id, kind="stable")
    truth = np.array(found.keys, dtype=object)[found.truth[order]]
    return product_id[order], np.asarray(found.split)[order], truth


def _doubts(old: Run, new: Run, wanted: Sequence[str]) -> Iterator[str]:
    added = [name for name in new.backends if name not in old.backends]
    if added:
        yield f"only in {new.path}, and not compared: {', '.join(map(printable, added))}"
    left = [name for name in old.backends if name not in wanted]
    if left:
        yield f"not asked for, and not compared: {', '.join(map(printable, left))}"
    found = differences(old.record.study, new.record.study)
    if found:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        yield f"settings that differ: {', '.join(map(printable, found[:_NAMED]))}{more}"
    for run in (old, new):
        if run.record.status not in ("complete", ""):
            yield f"{run.path} is {run.record.status}"


def contestant(run: Run, name: str) -> Contestant:
    """Return the test products of a backend; without a threshold, which no gate needs.

    Parameters
    ----------
    run : Run
    name : str

    Returns
    -------
    Contestant
    """
    test = run.products(name)
    test = test.where(np.asarray(test.split == "test"))
    return Contestant(
        name=name,
        product_id=test.product_id,
        confidence=test.confidence,
        correct=test.correct,
        threshold=float("nan"),
    )
