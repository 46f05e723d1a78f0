"""``shelfbench watch``: does a decision that is in use still keep its promise?

Labelled products of the accepted flow go, in the order of time, through the bet of `shelfbench.verdict.monitor`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.locking import locked
from shelfbench.base.public_arguments import path_argument
from shelfbench.decision.bundle import load_record
from shelfbench.decision.record import DecisionRecord
from shelfbench.decision.rule import Verdict
from shelfbench.decision.watching_flow import Flow, Reader, join
from shelfbench.decision.watching_rows import blocks
from shelfbench.decision.watching_state import Seen, State, Week, load_state, save_state
from shelfbench.decision.watching_text import Watched
from shelfbench.verdict.monitor import Aside, Status

if TYPE_CHECKING:
    import pandas as pd

AnyPath = str | os.PathLike[str]

# Confidence with which a promise is called broken, unless the decision was made with more: a false alarm has at most
# the probability of one in twenty, over all looks together.
ALARM = 0.95
# Accepted products without a label that must come with each labelled one, so that confidences are used.
FEWEST = 4
# Differences of mean confidence, in standard errors, from which labelled products were hardly drawn at random.
_APART, _TELLING = 4.0, 30
# A smaller difference than this matters to nobody, however many products show it.
_MATTERS = 0.01


@dataclass(frozen=True, kw_only=True)
class _New:
    """What a table adds to a state.

    Attributes
    ----------
    labelled : Flow
        Accepted products whose label is new, in the order of time.
    bare : Flow
        New accepted products without a label and with a confidence.
    flow, labels, contents : Seen
        All hashes, those of the state too.
    weeks : mapping of str to Week
    notes : tuple of str
    """

    labelled: Flow
    bare: Flow
    flow: Seen
    labels: Seen
    contents: Seen
    weeks: Mapping[str, Week]
    notes: tuple[str, ...]


def state_beside(decision: Path) -> Path:
    """Return the file in which the state of a decision is kept: beside its folder, which may contain nothing else."""
    place = decision.resolve()
    return place.with_name(f"{place.name}-watch.npz")


def watch(
    decision: AnyPath, labelled: AnyPath | pd.DataFrame, *, state: AnyPath | None = None, quiet: bool = False
) -> Watched:
    """Say whether a decision that is in use still keeps its promise, after more labelled products of its flow.

    What was seen is kept in a file beside the decision, so that the next call goes on from there; rows that were seen
    before are not counted again.

    Parameters
    ----------
    decision : str or path
        The folder of a decision that passed; not trusted.
    labelled : str, path or DataFrame
        A table (``*.csv``, ``*.jsonl``, ``*.parquet``) or a frame with the columns ``product_id``, ``predicted`` (the
        category that the decision gave, by its key) and ``category`` (the true one; missing where nobody has looked),
        and perhaps ``confidence``, ``time`` (ISO 8601), ``accepted`` and ``reason``. The labelled products are all
        accepted ones, or drawn from them at random.
    state : str or path, optional
        Where the state is kept; by default ``DECISION-watch.npz`` beside the decision.
    quiet : bool
        Accepted like everywhere; warnings are shown in any case.

    Returns
    -------
    Watched
        ``found.status`` is OK, WARNING or BROKEN; ``print(found)`` shows what ``shelfbench watch`` prints.

    Raises
    ------
    InputError
        If the decision, the table or the state is not valid, or the decision did not pass or answers nothing at the
        category. The state is then as it was.

    Examples
    --------
    >>> found = shelfbench.watch("decision", "labelled.csv")  # doctest: +SKIP
    >>> found.status, found.precision, found.interval  # doctest: +SKIP
    (<Status.OK: 'OK'>, 0.918, (0.893, 0.938))
    """
    folder = path_argument(decision, "decision")
    import pandas as pd

    source = labelled if isinstance(labelled, pd.DataFrame) else path_argument(labelled, "labelled")
    place = None if state is None else path_argument(state, "state")
    return _watch(folder, source, place, Console(quiet))


def _watch(decision: Path, source: Path | pd.DataFrame, state: Path | None, console: Console) -> Watched:
    record, digest = load_record(decision)
    if record.verdict != Verdict.PASS:
        raise InputError(
            f"{decision} did not pass ({record.verdict}), so it accepts nothing that could be watched",
            "watch a decision that passed",
        )
    if record.threshold is None:
        raise InputError(
            f"{decision} answers nothing at the category, and what it answers above it cannot be watched yet",
            "have a person look at some of its answers, or decide without --levels",
        )
    place = state_beside(decision) if state is None else state
    if place.resolve().parent == decision.resolve():
        raise InputError(f"{place} is inside the decision, which may contain nothing else", "name another --state")
    if isinstance(source, Path) and place.resolve() == source.resolve():
        raise InputError(f"{place} is the table itself", "name another --state")
    with locked(place, "--state"):
        # whether the precision is kept does not depend on how sure anybody was of it, nor on how often it was tried
        known = load_state(place, digest, float(record.ruling.target), max(record.level, ALARM))
        reader = Reader(record, str(source) if isinstance(source, Path) else "the frame")
        new = _new_rows(known, reader, source, console)
        found, notes = _after(known, new, record, console)
        save_state(place, found)
    return Watched(
        record=record,
        state=found,
        labels=len(new.labelled.keys),
        right=int(new.labelled.right.sum()),
        newest=max(new.weeks, default=""),
        notes=(*new.notes, *notes),
    )


def _new_rows(known: State, reader: Reader, source: Path | pd.DataFrame, console: Console) -> _New:
    """Read a table, and keep what the state does not know yet."""
    flow, labels, contents = Seen(known.flow), Seen(known.labelled), Seen(known.contents)
    kept: list[Flow] = []
    weeks: dict[str, Week] = {}
    again = otherwise = refused = 0
    for part in reader.read(blocks(source)):
        fresh = flow.add(part.keys)
        counted = part.labelled & part.accepted
        first = counted.copy()
        first[counted] = labels.add(part.keys[counted])
        contents.add(part.contents[first])
        repeated = counted & ~first
        otherwise += int((~contents.has(part.contents[repeated])).sum())
        again += int((~fresh & ~first).sum())
        refused += int((fresh & part.labelled & ~part.accepted).sum())
        _count(weeks, part, fresh, first, "" if reader.timed else f"table {known.looks + 1}")
        kept.append(part[first | (fresh & part.accepted & ~part.labelled & ~np.isnan(part.confidence))])
    if not kept:
        where = source if isinstance(source, Path) else "the frame"
        raise InputError(f"{where} has no rows", "give a table with some products")
    notes = [f"which products were accepted is said by {reader.by}"]
    if again:
        notes.append(f"seen before, and not counted again: {_many(again, 'row')}")
    if otherwise:
        console.warn(f"{_many(otherwise, 'row')} with another label or prediction than before; the first one counts")
    if refused:
        notes.append(f"not accepted, and so not part of the promise: {_many(refused, 'labelled product')}")
    if reader.unknown:
        notes.append(
            f"of a category that the decision does not know, which counts as an error: {_many(reader.unknown, 'label')}"
        )
    if reader.above:
        notes.append(f"answered at a level above the category, and so not watched: {_many(reader.above, 'product')}")
    every = join(kept)
    every = every[np.argsort(every.time, kind="stable")]
    labelled, bare = every[every.labelled], every[~every.labelled]
    bare = bare[~np.isin(bare.keys, labelled.keys)]  # labelled further down
    return _New(
        labelled=labelled, bare=bare, flow=flow, labels=labels, contents=contents, weeks=weeks, notes=tuple(notes)
    )


def _count(weeks: dict[str, Week], part: Flow, fresh: np.ndarray, first: np.ndarray, name: str) -> None:
    """Count rows by week, or all of them under one name."""
    days = part.time // 86_400
    numbers = (days + 3) // 7  # the first of January 1970 was a Thursday, and weeks begin on Monday
    for number in np.unique(numbers[fresh | first]):
        here = numbers == number
        new, told = here & fresh, here & first
        taken = new & part.accepted
        if not name:
            year, week, _ = datetime.fromtimestamp(int(number) * 7 * 86_400, UTC).isocalendar()
        title = name or f"{year}-W{week:02}"
        found = Week(
            products=int(new.sum()),
            accepted=int(taken.sum()),
            strangers=int((new & part.stranger).sum()),
            labelled=int(told.sum()),
            right=int((told & part.right).sum()),
            mix=dict(Counter(part.predicted[taken & (part.predicted >= 0)].tolist())),
        )
        weeks[title] = weeks[title].with_more(found) if title in weeks else found


def _after(known: State, new: _New, record: DecisionRecord, console: Console) -> tuple[State, list[str]]:
    """Let the monitor go through what is new."""
    labelled = new.labelled
    aside, notes = _aside(known, new, record, console)
    monitor = known.monitor.after(labelled.right, aside)
    if known.latest and (late := int((labelled.time < known.latest).sum())):
        notes.append(f"older than what had been watched before, and counted as it came: {_many(late, 'label')}")
    weeks = dict(known.weeks)
    for name, week in new.weeks.items():
        weeks[name] = weeks[name].with_more(week) if name in weeks else week
    broken = monitor.status == Status.BROKEN
    now = datetime.now(UTC).isoformat(timespec="seconds")
    found = replace(
        known,
        monitor=monitor,
        weeks=weeks,
        flow=new.flow.all(),
        labelled=new.labels.all(),
        contents=new.contents.all(),
        looks=known.looks + 1,
        latest=max(known.latest, int(labelled.time.max(initial=0))),
        broken_on=(known.broken_on or now) if broken else "",
    )
    return found, notes


def _aside(known: State, new: _New, record: DecisionRecord, console: Console) -> tuple[Aside | None, list[str]]:
    """Set each labelled product beside some that came with it, whose confidences say how it differs from them."""
    labelled, bare = new.labelled, new.bare
    count = len(labelled.keys)
    if not count or np.isnan(labelled.confidence).any():
        return None, []
    if len(bare.keys) >= _TELLING <= count:
        means = labelled.confidence.mean() - bare.confidence.mean()
        error = np.sqrt(labelled.confidence.var() / count + bare.confidence.var() / len(bare.keys))
        if abs(means) > max(_APART * error, _MATTERS):
            console.warn(
                f"the labelled products are {'surer' if means > 0 else 'less sure'} than the others (mean confidence "
                f"{labelled.confidence.mean():.3f} and {bare.confidence.mean():.3f}): they were hardly drawn at random "
                "from the accepted ones, and what follows holds for such products only"
            )
    if len(bare.keys) < FEWEST * count:
        return None, []
    # each group serves one product, and both follow the order of time, so that they come from the same days
    edges = np.arange(count + 1) * len(bare.keys) // count
    sums = np.append(0.0, np.cumsum(bare.confidence))
    surer = labelled.confidence - np.diff(sums[edges]) / np.diff(edges)
    surer[Seen(known.flow).has(labelled.keys)] = 0.0  # it may have been in such a group when it had no label
    lowest = np.exp(record.threshold) if record.measure == "probability" and record.threshold is not None else 0.0
    note = f"confidences of {len(bare.keys):,} accepted products without a label were used as well"
    return Aside(surer, most=float(1 - lowest)), [note]


def _many(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"
