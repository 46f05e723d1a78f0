"""Photos behind links: fetched by several at once into the user's cache, and read from there ever after."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from shelfbench.base.console import Console
from shelfbench.base.errors import RunError
from shelfbench.base.storage import cache_dir, write_whole
from shelfbench.base.using import used
from shelfbench.data.catalogue import Absent
from shelfbench.data.sources.links import host_of
from shelfbench.data.sources.web import Limits, LinkError

# After this many links of a server that has never answered, its others are not tried in this process.
SILENT = 24
# If so many links are asked for and not one server can be reached, the network is at fault and not the links.
FEW = 8


class Client(Protocol):
    """What gets the bytes behind a link, from many threads at once."""

    stopped: threading.Event

    def get(self, link: str) -> bytes:
        """Return the bytes; `LinkError` if they cannot be had."""


class _Turns:
    """Whose turn it is: links of many servers in turn, a few of each at a time.

    Parameters
    ----------
    links : sequence of str
    per_host : int
        Links of one server that are fetched at the same time.
    """

    def __init__(self, links: Sequence[str], per_host: int) -> None:
        self._per_host = per_host
        self._waiting: dict[str, deque[str]] = {}
        for link in links:
            self._waiting.setdefault(host_of(link), deque()).append(link)
        self._ready = deque(self._waiting)
        self._running: Counter[str] = Counter()
        self._changed = threading.Condition()

    def take(self) -> str | None:
        """Wait for the next link; None if none is left."""
        with self._changed:
            while not self._ready:
                if not self._waiting:
                    return None
                self._changed.wait()
            host = self._ready.popleft()
            link = self._waiting[host].popleft()
            self._running[host] += 1
            if not self._waiting[host]:
                del self._waiting[host]
            elif self._running[host] < self._per_host:
                self._ready.append(host)
            if not self._waiting:
                self._changed.notify_all()
            return link

    def done(self, link: str) -> None:
        """Give a link's place to the next one of its server."""
        host = host_of(link)
        with self._changed:
            full = self._running[host] == self._per_host
            self._running[host] -= 1
            if full and host in self._waiting:
                self._ready.append(host)
                self._changed.notify()


class LinkedImages:
    """Images behind links.

    Each is fetched when it is first read, or by `bring`, and kept in ``$SHELFBENCH_CACHE/downloads`` under a hash of
    its link. What could not be had is kept, too, with its reason, so that a second run asks nobody.

    Parameters
    ----------
    links : sequence of str
    client : Client
    limits : Limits
        How many links are fetched at the same time.
    console : Console
    retry : bool
        Try once more what is kept as failed.
    """

    def __init__(
        self,
        links: Sequence[str] | np.ndarray,
        client: Client,
        limits: Limits,
        console: Console,
        retry: bool = False,
    ) -> None:
        self.files: tuple[Path, ...] = ()
        # one buffer of text, which takes a third of the memory of as many strings
        self._links = pa.array(links, pa.large_string())
        self._client, self._console, self._retry = client, console, retry
        self._at_once, self._per_host = limits.at_once, limits.per_host
        self._folder = cache_dir() / "downloads"
        self._tried: set[str] = set()
        self._silent: Counter[str] = Counter()
        self._answered: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the console to the process that has it."""
        return {**self.__dict__, "_console": Console(quiet=True)}

    def __len__(self) -> int:
        """Return the number of links."""
        return len(self._links)

    def _named(self, indices: Sequence[int] | np.ndarray) -> list[str]:
        found: list[str] = self._links.take(pa.array(np.asarray(indices, np.int64))).to_pylist()
        return found

    def place(self, link: str) -> Path:
        """Return the file in the cache that keeps what is behind a link."""
        name = hashlib.sha256(link.encode(errors="surrogatepass")).hexdigest()[:40]
        return self._folder / name[:2] / name

    def _lacking(self, links: Sequence[str]) -> list[str]:
        """Return the links that are neither kept nor kept as failed, each once."""
        lacking = {}
        for link in links:
            place = self.place(link)
            if place.exists():
                continue
            if link not in self._tried and (self._retry or not _failed(place).exists()):
                lacking[link] = True
        return list(lacking)

    def bring(self, indices: Sequence[int] | np.ndarray | None = None) -> None:
        """Fetch images that are not on this machine yet, and say how many links failed.

        Parameters
        ----------
        indices : sequence of int, optional
            Default: all.

        Raises
        ------
        RunError
            If not one server could be reached, or the disk is full.
        """
        links = self._links.to_pylist() if indices is None else self._named(indices)
        before = len(self._tried)
        used(self._folder)
        self._fetch(self._lacking(links), len(links))
        used(self._folder)
        if failures := self.failures(links):
            fresh = len(self._tried) > before
            total = sum(failures.values())
            kinds = ", ".join(f"{count:,} × {kind}" for kind, count in failures.most_common(12))
            rest = "; remembered" if fresh else "; remembered from an earlier run"
            again = "" if self._retry else f"{rest}: --set dataset.retry=true tries them again"
            self._console.warn(f"{total:,} of {len(links):,} links failed: {kinds}{again}")

    def failures(self, links: Sequence[str]) -> Counter[str]:
        """Count failed links by kind: what stands before the colon of a reason."""
        kinds: Counter[str] = Counter()
        for link in links:
            place = self.place(link)
            if not place.exists():
                kinds[_reason(place).partition(":")[0]] += 1
        return kinds

    def _fetch(self, links: list[str], asked: int) -> None:
        """Fetch links in threads and wait for them; `asked` counts those that were asked for, kept or not."""
        if not links:
            return
        turns, results = _Turns(links, self._per_host), SimpleQueue[Exception | None]()
        unreached: list[tuple[Path, str]] = []

        def work() -> None:
            while not self._client.stopped.is_set() and (link := turns.take()) is not None:
                try:
                    if (lost := self._one(link)) is not None:
                        unreached.append(lost)
                    results.put(None)
                except Exception as error:  # a full disk: raised where it is waited for
                    results.put(error)
                    return
                finally:
                    turns.done(link)

        self._client.stopped.clear()
        for _ in range(min(self._at_once, len(links))):
            threading.Thread(target=work, daemon=True).start()
        try:
            with self._console.progress(len(links), "fetching photos", "photos") as bar:
                for _ in links:
                    if (error := results.get()) is not None:
                        raise error
                    bar.update()
        finally:
            self._client.stopped.set()  # threads end by themselves, whatever happened here
        if asked == len(unreached) >= min(FEW, len(self)):
            reason = Counter(reason for _, reason in unreached).most_common(1)[0][0]
            raise RunError(
                f"none of {len(links):,} links could be reached ({links[0][:100]}: {reason})",
                "check the network and the links, and run the same command again",
            )
        for place, reason in unreached:
            _keep(_failed(place), reason.encode())
        self._tried.update(links)

    def _one(self, link: str) -> tuple[Path, str] | None:
        """Fetch a link and keep what it gives, or why it gives nothing; a server out of reach is returned instead."""
        place, host = self.place(link), host_of(link)
        if self._silent[host] >= SILENT and host not in self._answered:
            return place, "server out of reach"
        try:
            data = self._client.get(link)
        except LinkError as error:
            if self._client.stopped.is_set():
                return None
            if error.unreachable:
                self._silent[host] += 1
                if self._silent[host] >= SILENT and host in self._answered:
                    raise RunError(
                        f"{host} stopped answering ({error.reason})",
                        "run the same command again later; it goes on from here",
                    ) from None
                return place, error.reason
            self._answers(host)
            _keep(_failed(place), error.reason.encode())
            return None
        self._answers(host)
        _keep(place, data)
        _failed(place).unlink(missing_ok=True)
        return None

    def _answers(self, host: str) -> None:
        self._answered.add(host)
        self._silent[host] = 0

    def read(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Read images, fetching those that are not on this machine; `Absent` for one that cannot be had."""
        links = self._named(indices)
        self._fetch(self._lacking(links), len(links))
        result: list[bytes] = []
        for link in links:
            place = self.place(link)
            try:
                result.append(place.read_bytes())
            except FileNotFoundError:
                result.append(Absent(_reason(place)))
        return result

    def where(self, index: int) -> str:
        """Name the link, without a password."""
        link = str(self._links[int(index)].as_py())
        head, slashes, rest = link.partition("//")
        host, slash, path = rest.partition("/")
        return f"{head}{slashes}{host.rpartition('@')[2]}{slash}{path}"

    def identity(self) -> None:
        """Return None, because links do not show what they give."""
        return None


def _failed(place: Path) -> Path:
    return place.with_name(place.name + ".failed")


def _reason(place: Path) -> str:
    try:
        return _failed(place).read_text(encoding="utf-8") or "not fetched"
    except OSError:
        return "not fetched"


def _keep(path: Path, data: bytes) -> None:
    write_whole(path, lambda aside: aside.write_bytes(data))
