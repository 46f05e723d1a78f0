"""What ``shelfbench watch`` keeps between two looks: one file beside the decision, whole or not at all.

It is a zip archive of four NumPy arrays, which is what ``numpy.load`` reads without pickle: ``record`` (JSON as bytes,
`StateRecord`) and sorted hashes of products, `flow` (all that were seen), `labelled` (those whose label was counted)
and `contents` (with their predictions and labels).
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import msgspec
import numpy as np
from msgspec import Meta, Struct

from shelfbench.base.errors import InputError, first_line
from shelfbench.base.storage import write_whole
from shelfbench.decision.hostile import shown
from shelfbench.verdict.monitor import FIRST, PARTS, SPREAD, Monitor

FORMAT = 1
_ARRAYS = ("record", "flow", "labelled", "contents")
_LARGEST = 8 << 30  # bytes of all arrays together: half a billion products
# What NumPy and zipfile raise about damaged bytes.
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError)

Count = Annotated[int, Meta(ge=0)]
Finite = Annotated[float, Meta(ge=-1e300, le=1e300)]
Stake = Annotated[float, Meta(ge=0, le=1e300)]


class Week(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The flow of one week, or of one file without times.

    Attributes
    ----------
    products, accepted, strangers : int
        All products, those accepted, and those that went to review as unlike what was learned.
    labelled, right : int
        Accepted products with a label, and how many of them are right.
    mix : dict of int to int
        Accepted products by the code of their category.
    """

    products: Count = 0
    accepted: Count = 0
    strangers: Count = 0
    labelled: Count = 0
    right: Count = 0
    mix: dict[Annotated[int, Meta(ge=0)], Count] = {}

    def with_more(self, other: Week) -> Week:
        """Add the counts of another part of the same week."""
        mix = {code: self.mix.get(code, 0) + other.mix.get(code, 0) for code in sorted({*self.mix, *other.mix})}
        names = [name for name in Week.__struct_fields__ if name != "mix"]
        return Week(mix=mix, **{name: getattr(self, name) + getattr(other, name) for name in names})


class MonitorEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `shelfbench.verdict.monitor.Monitor`."""

    labels: Count
    right: Count
    cash: Annotated[float, Meta(ge=0, le=1)]
    held: Annotated[tuple[Stake, ...], Meta(min_length=len(PARTS), max_length=len(PARTS))]
    broken_at: Annotated[int, Meta(ge=1)] | None
    crossed: Finite
    squared: Stake


class StateRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of a state that is JSON.

    Attributes
    ----------
    format : int
        `FORMAT`.
    decision : str
        SHA-256 of the decision's ``decision.json``.
    looks : int
        Times that it was looked at.
    latest : int
        The latest time of a labelled product, in seconds since 1970; 0 without times.
    broken_on : str
        When it was found to be broken; empty if it was not.
    monitor : MonitorEntry
    weeks : dict of str to Week
        By name, such as ``2026-W48``.
    """

    format: Literal[1]
    decision: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    looks: Count = 0
    latest: int = 0
    broken_on: Annotated[str, Meta(max_length=40)] = ""
    monitor: MonitorEntry
    weeks: dict[Annotated[str, Meta(max_length=40)], Week] = {}


def _no_hashes() -> np.ndarray:
    return np.empty(0, np.uint64)


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """A state.

    Attributes
    ----------
    decision : str
        SHA-256 of the decision's ``decision.json``.
    monitor : Monitor
    weeks : dict of str to Week
    flow, labelled, contents : ndarray of uint64
        Sorted hashes.
    looks, latest, broken_on
        As in `StateRecord`.
    """

    decision: str
    monitor: Monitor
    weeks: dict[str, Week] = field(default_factory=dict)
    flow: np.ndarray = field(default_factory=_no_hashes)
    labelled: np.ndarray = field(default_factory=_no_hashes)
    contents: np.ndarray = field(default_factory=_no_hashes)
    looks: int = 0
    latest: int = 0
    broken_on: str = ""


class Seen:
    """Hashes that were seen, as a few sorted arrays of growing size, so that adding some does not sort all of them.

    Parameters
    ----------
    known : ndarray of uint64
        Sorted.
    """

    def __init__(self, known: np.ndarray) -> None:
        self._parts = [known]

    def has(self, hashes: np.ndarray) -> np.ndarray:
        """Tell which hashes were seen."""
        found = np.zeros(len(hashes), bool)
        for part in self._parts:
            if len(part):
                at = np.minimum(np.searchsorted(part, hashes), len(part) - 1)
                found |= part[at] == hashes
        return found

    def add(self, hashes: np.ndarray) -> np.ndarray:
        """Add hashes; return a mask of those that had not been seen, each the first time it occurs."""
        new = np.zeros(len(hashes), bool)
        new[np.unique(hashes, return_index=True)[1]] = True
        new &= ~self.has(hashes)
        self._parts.append(np.sort(hashes[new]))
        while len(self._parts) > 1 and 2 * len(self._parts[-1]) >= len(self._parts[-2]):
            self._parts[-2:] = [np.sort(np.concatenate(self._parts[-2:]), kind="stable")]
        return new

    def all(self) -> np.ndarray:
        """Return all hashes, sorted."""
        return np.sort(np.concatenate(self._parts), kind="stable")


def save_state(path: Path, state: State) -> None:
    """Write a state, whole or not at all.

    Parameters
    ----------
    path : Path
    state : State

    Raises
    ------
    InputError
        If it cannot be written there.
    """
    bet = state.monitor
    entry = {name: getattr(bet, name) for name in MonitorEntry.__struct_fields__ if name != "held"}
    record = {
        **{name: getattr(state, name) for name in ("decision", "looks", "latest", "broken_on", "weeks")},
        "format": FORMAT,
        "monitor": MonitorEntry(held=tuple(bet.held.tolist()), **entry),
    }
    text = msgspec.json.encode(record)
    arrays = {name: getattr(state, name) for name in _ARRAYS[1:]}

    def write(aside: Path) -> None:
        with open(aside, "wb") as handle:
            np.savez_compressed(handle, record=np.frombuffer(text, np.uint8), **arrays)

    write_whole(path, write)


def load_state(path: Path, decision: str, target: float, level: float) -> State:
    """Read a state; where there is none yet, begin one.

    Parameters
    ----------
    path : Path
    decision : str
        SHA-256 of the decision's ``decision.json``.
    target : float
        Its precision.
    level : float
        Confidence with which it is called broken.

    Returns
    -------
    State

    Raises
    ------
    InputError
        If it is damaged, or the state of another decision.
    """
    if not path.exists() and not path.is_symlink():
        return State(decision=decision, monitor=Monitor(target=target, level=level))
    if not path.is_file():
        raise InputError(f"{path} is not a file", "name another with --state")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [f"{name}.npy" for name in _ARRAYS]
            if sorted(archive.namelist()) != sorted(names):
                _damaged(path, "it does not hold what a state holds")
            if sum(entry.file_size for entry in archive.infolist()) > _LARGEST:
                _damaged(path, f"it holds more than {_LARGEST:,} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            read = {name: arrays[name] for name in _ARRAYS}
        record = msgspec.json.decode(read["record"].tobytes(), type=StateRecord)
    except PermissionError:
        raise InputError(f"no permission to read {path}", "change its permissions") from None
    except (zipfile.BadZipFile, zlib.error, msgspec.MsgspecError, *_UNREADABLE) as error:
        _damaged(path, shown(first_line(error), 160))
    if record.decision != decision:
        raise InputError(
            f"{path} is the state of another decision ({record.decision[:16]}, and this is {decision[:16]})",
            "to watch this decision from the start, move it away or name another file with --state",
        )
    hashes = {name: read[name] for name in _ARRAYS[1:]}
    _check(path, record, list(hashes.values()))
    values = {n: getattr(record.monitor, n) for n in MonitorEntry.__struct_fields__ if n != "held"}
    monitor = Monitor(target=target, level=level, held=np.array(record.monitor.held), **values)
    if monitor.broken_at is not None and monitor.evidence < (1 - 1e-9) * monitor.enough:
        _damaged(path, f"it calls the promise broken on evidence of {monitor.evidence:.3g}, which is not enough")
    return State(
        monitor=monitor,
        **{name: getattr(record, name) for name in ("decision", "weeks", "looks", "latest", "broken_on")},
        **hashes,
    )


def _check(path: Path, record: StateRecord, hashes: Sequence[np.ndarray]) -> None:
    """Refuse a state whose parts contradict each other."""
    for values in hashes:
        if values.dtype != np.uint64 or values.ndim != 1 or not np.all(values[1:] > values[:-1]):
            _damaged(path, "its products are not in order")
    flow, labelled, contents = hashes
    bet, weeks = record.monitor, record.weeks.values()
    counts = {
        "products": (len(flow), sum(week.products for week in weeks)),
        "labels": (len(labelled), bet.labels),
        "labels by week": (bet.labels, sum(week.labelled for week in weeks)),
        "right ones": (bet.right, sum(week.right for week in weeks)),
        "distinct labels": (len(contents), len(labelled)),
    }
    for what, (one, other) in counts.items():
        if one != other:
            _damaged(path, f"it has {one:,} {what} in one place and {other:,} in another")
    entered = (1 - FIRST) * SPREAD / (SPREAD + bet.labels)
    if bet.broken_at is None and abs(bet.cash - entered) > 1e-9:
        _damaged(path, "its stake does not fit its number of labels")
    if bet.right > bet.labels or (bet.broken_at or 0) > bet.labels or bool(record.broken_on) != bool(bet.broken_at):
        _damaged(path, "its counts contradict each other")


def _damaged(path: Path, why: str) -> NoReturn:
    raise InputError(
        f"{path} is damaged ({why})",
        "restore it from a backup, or move it away and give all labelled products so far once more",
    )
