"""What is left behind by a process that ends while it computes a shard, and what the next one makes of it.

Before a process reads photos, it notes in the store which ones. If it ends without a word (a crash in a decoder, no
memory, a power cut), the note remains. The next process to compute the shard, on whatever machine, takes the photos
under suspicion in small groups, and then one by one. One that has ended its process three times, all by itself, is set
aside. What ends processes before they have read any photo is not blamed on photos.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from shelfbench.base.errors import InputError, RunError
from shelfbench.base.storage import storage_errors
from shelfbench.data.selection import write_at

FOLDER = "going"
# How the reason begins why a photo that ended its process is not read again.
SET_ASIDE = "the process that reads it"
# How often a photo may end its process.
TRIES = 3
# How often processes may end before they have read a photo, if not for lack of memory: they may be killed by others.
_STARTS = 12
# Photos under suspicion are taken in groups of this size if they are more.
_GROUP = 16
# If a shard has more such photos, something else is at fault.
_MOST_ASIDE = 5
# Seconds between two looks at the memory in use, and the share of the limit from which memory is to blame.
_EVERY, _FULL = 0.1, 0.8
# Seconds to wait for another process that is writing the same segment.
_PATIENCE = 300


class Watch:
    """Notes what a process is about to do for a shard, and what earlier ones did last.

    If another living process computes the same shard, nothing is noted: both do, and the first one to finish writes.

    Parameters
    ----------
    folder : Path
        Of the store.
    stem : str
        Of the shard.
    memory : int
        Bytes that this process may use; 0 if that is not limited.

    Attributes
    ----------
    aside : dict of int to str
        Rows of the shard that are not read again, with the reason.
    """

    def __init__(self, folder: Path, stem: str, memory: int = 0) -> None:
        self._folder, self._stem, self._memory = folder, stem, memory
        self._note_file = folder / FOLDER / f"{stem}.note"
        self._note: dict[str, Any] = {}
        self._handle: int | None = None
        self._changing, self._stop, self._length = threading.RLock(), threading.Event(), 512
        self._sampler: threading.Thread | None = None
        self.aside: dict[int, str] = {}

    def __enter__(self) -> Watch:
        """Learn from what earlier processes left, and start to take notes."""
        from filelock import FileLock, Timeout

        with storage_errors(self._note_file):
            self._note_file.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self._note_file.with_suffix(".lock"))
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                return self
            except NotImplementedError:
                raise _no_locks(self._note_file.parent) from None
            try:
                self._learn(self._left_behind())
                self._handle = os.open(self._note_file, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            except BaseException:
                self._lock.release()
                raise
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the note away: this process has lived to see the end, good or bad."""
        self._stop.set()
        if self._sampler is not None:
            self._sampler.join()
        if self._handle is not None:
            os.close(self._handle)
            self._note_file.unlink(missing_ok=True)
        if self._lock.is_locked:
            if (self._folder / f"{self._stem}.json").exists():  # from now on, nobody writes it
                with suppress(PermissionError):  # Windows removes no file that is still open
                    self._note_file.with_suffix(".lock").unlink(missing_ok=True)
                    self._note_file.with_suffix(".writing").unlink(missing_ok=True)
            self._lock.release()

    def _left_behind(self) -> dict[str, Any]:
        try:
            found = json.loads(self._note_file.read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else {}
        except (OSError, ValueError):  # torn by a power cut, or none
            return {}

    def _learn(self, left: dict[str, Any]) -> None:
        """Draw the conclusions from the note of a process that ended."""
        self._note = {
            "suspects": [list(map(int, one)) for one in left.get("suspects", [])],
            "deaths": {str(row): int(count) for row, count in left.get("deaths", {}).items()},
            "network": int(left.get("network", 0)),
            "aside": {str(row): str(reason) for row, reason in left.get("aside", {}).items()},
            "span": None,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "memory": 0,
        }
        full = self._memory_was_full(left)
        if (span := left.get("span")) is None:
            pass
        elif span[0] >= span[1]:
            self._note["network"] += 1
            if self._note["network"] >= (TRIES if full else _STARTS):
                self._note_file.unlink(missing_ok=True)
                raise RunError(
                    f"the process that computes features ended {self._note['network']} times before it read a photo"
                    + (f", with {full} in use" if full else ""),
                    "give workers more memory, or start fewer of them" if full else "check that the network runs there",
                )
        elif span[1] - span[0] > 1:
            self._note["network"] = 0
            others = [one for one in self._note["suspects"] if not (span[0] < one[1] and one[0] < span[1])]
            self._note["suspects"] = sorted([*others, list(map(int, span))])
        else:
            self._note["network"] = 0
            row = str(int(span[0]))
            self._note["deaths"][row] = self._note["deaths"].get(row, 0) + 1
            if self._note["deaths"][row] >= TRIES:
                how = f"ran out of memory ({full} in use)" if full else "ended"
                self._note["aside"][row] = f"{SET_ASIDE} {how}, {TRIES} times"
        self.aside = {int(row): reason for row, reason in self._note["aside"].items()}
        if len(self.aside) > _MOST_ASIDE:
            self._note_file.unlink(missing_ok=True)
            raise RunError(
                f"more than {_MOST_ASIDE} photos of one shard ended the process that reads them, {TRIES} times each",
                "look for the reason on the machine: photos alone rarely do that",
            )

    def _memory_was_full(self, left: dict[str, Any]) -> str:
        used, most = int(left.get("memory", 0)), int(left.get("limit", 0))
        return f"{used / 2**30:.1f} of {most / 2**30:.1f} GiB" if most and used >= _FULL * most else ""

    def _write(self) -> None:
        if self._handle is None:
            return
        with self._changing:
            text = json.dumps({**self._note, "limit": self._memory}).encode()
            self._length = max(self._length, len(text))  # what was there before is covered
            write_at(self._handle, memoryview(text.ljust(self._length)), 0)

    def _sample(self) -> None:
        """Note the memory in use, every now and then."""
        import psutil

        process = psutil.Process()
        while not self._stop.wait(_EVERY):
            used = process.memory_info().rss
            if used > 1.1 * self._note["memory"]:
                self._note["memory"] = used
                self._write()

    def before_photos(self) -> None:
        """Note that the network is about to be built."""
        self._going(0, 0)

    def _going(self, start: int, end: int) -> None:
        self._note["span"] = [int(start), int(end)]
        self._write()

    def done(self, batch: np.ndarray) -> None:
        """Note that some rows are done."""
        with self._changing:
            end = int(batch[-1]) + 1
            self._going(end, max(end, self._span()[1]))

    def _span(self) -> list[int]:
        return self._note.get("span") or [0, 0]

    def batches(self, count: int, size: int) -> Iterator[Iterator[np.ndarray]]:
        """Cut the rows of a shard into batches; each is noted when it is taken.

        Parameters
        ----------
        count : int
            Rows of the shard.
        size : int
            Of a batch without suspects.

        Yields
        ------
        iterator of ndarray of int
            Batches that may be decoded ahead of each other.
        """
        suspects = [one for one in self._note.get("suspects", []) if one[0] < count]
        bounds = [0, *(edge for one in suspects for edge in one), count]
        left_out = np.array(sorted(self.aside), int)
        for number, (start, end) in enumerate(pairwise(bounds)):
            rows = np.setdiff1d(np.arange(start, min(end, count)), left_out)
            if number % 2 == 0:
                yield self._noted([rows[i : i + size] for i in range(0, len(rows), size)])
                continue
            group = 1 if end - start <= _GROUP else _GROUP
            for i in range(0, len(rows), group):
                yield self._noted([rows[i : i + group]])

    def _noted(self, batches: list[np.ndarray]) -> Iterator[np.ndarray]:
        for number, batch in enumerate(batches):  # taken by another thread, ahead of what is done
            with self._changing:
                self._going(self._span()[0] if number else int(batch[0]), int(batch[-1]) + 1)
            yield batch

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep others from writing the same segment while the block runs, and sweep what dead ones left half-written.

        Yields
        ------
        None

        Raises
        ------
        RunError
            If another process writes it and does not come to an end.
        """
        from filelock import FileLock, Timeout

        if self._handle is not None:
            self._note["span"] = None  # no photo is to blame for what happens from here on
            self._write()
        path = self._note_file.with_suffix(".writing")
        try:
            with FileLock(path, timeout=_PATIENCE):
                for partial in self._folder.glob(f".partial-*-{self._stem}.*"):
                    partial.unlink(missing_ok=True)
                yield
        except Timeout:
            raise RunError(f"another process has been writing {self._stem} for minutes", "look for it") from None


def _no_locks(folder: Path) -> InputError:
    return InputError(
        f"the file system of {folder} does not support locks", "choose another folder with SHELFBENCH_CACHE"
    )
