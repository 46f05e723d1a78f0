"""Features computed by the workers of Dask, shard by shard, and judged by the segments that they write."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench.base import errors
from shelfbench.base.console import Bar, Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.data.catalogue import ImageBytes
from shelfbench.data.shards import Pieces, Shard, Store, is_done, plan_shards, set_aside, spreading
from shelfbench.spread.cluster import LOST, Cluster, Where, check_installed, patience
from shelfbench.spread.job import CannotSend, Job, versions, written
from shelfbench.spread.pieces import share

if TYPE_CHECKING:
    from distributed import Client, Future

# How often a shard is given out anew while no segment at all comes to the store.
_MOST_TRIES = 12
# Seconds until a segment that a worker has written is visible here: network file systems take their time.
_VISIBLE = 60.0
# Seconds between two looks at the workers.
_LOOK = 5.0
# Workers that end are told one by one up to this number.
_TOLD = 5


@contextmanager
def spread_over(dask: str | None, console: Console) -> Iterator[None]:
    """Have features computed by the workers that ``--dask`` names while the block runs.

    Parameters
    ----------
    dask : str or None
        ``local:4``, or the address of a scheduler; None for none.
    console : Console

    Yields
    ------
    None

    Raises
    ------
    InputError
        If Dask is not installed, or the text is neither.
    RunError
        If no scheduler answers at the address.
    """
    if dask is None:
        yield
        return
    where = Where.read(dask)
    check_installed()
    spread = DaskSpread(Cluster(where, console), console)
    try:
        if where.address:  # a wrong address is to be said at once
            spread.cluster.client()
        with spreading(spread):
            yield
    finally:
        spread.cluster.close()


class DaskSpread:
    """Computes features on Dask's workers, as a `shelfbench.data.shards.Spread`.

    Parameters
    ----------
    cluster : Cluster
    console : Console
    """

    def __init__(self, cluster: Cluster, console: Console) -> None:
        self.cluster, self._console = cluster, console

    def compute(self, store: Store, images: ImageBytes, indices: np.ndarray, digests: np.ndarray) -> int:
        """Compute what a store lacks of some images.

        Parameters
        ----------
        store : Store
        images : ImageBytes
        indices : ndarray of int
            Images of the catalogue.
        digests : ndarray of V16, shape (images of the catalogue,)

        Returns
        -------
        int
            How many images that were; equal ones count once.

        Raises
        ------
        InputError
            If workers do not see the data or the cache, or have other versions.
        RunError
            If the scheduler or all workers are gone and do not come back, or shards fail again and again.
        """
        shards, _ = plan_shards(store, indices, digests)
        if not shards:
            return 0
        name = store.extractor.name
        try:
            with written(store, images, shards) as job:
                _Round(self.cluster, self._console, store, shards, job).run()
        except CannotSend as error:
            self._console.warn(f"{name}: this process computes the features, for they cannot be sent ({error})")
            return 0
        for shard in shards:
            for line in set_aside(store, images, shard):
                self._console.warn(line)
        return sum(len(shard.positions) for shard in shards)

    def share(self, pieces: Pieces, folder: Path) -> None:
        """Have pieces of other work done.

        Parameters
        ----------
        pieces : Pieces
        folder : Path
            Of the cache, where the work is left for workers to read.
        """
        try:
            share(self.cluster, self._console, pieces, folder)
        except CannotSend as error:
            self._console.warn(f"{pieces.name}: this process does it, for it cannot be sent ({error})")


@dataclass
class _Task:
    """A shard on its way."""

    number: int
    tries: int = 0
    since: int = 0
    told_written: float = 0.0


class _Round:
    """The shards of one job, until the last is in the store."""

    def __init__(self, cluster: Cluster, console: Console, store: Store, shards: list[Shard], job: Job) -> None:
        self._cluster, self._console, self._store, self._shards, self._job = cluster, console, store, shards, job
        self._finished: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._going: dict[str, tuple[_Task, Future[Any]]] = {}
        self._waiting = [_Task(number) for number in reversed(range(len(shards)))]
        self._later: list[_Task] = []
        self._places: dict[str, tuple[int, int]] = {}
        self._looked, self._reached, self._told, self._done = 0.0, time.monotonic(), 0, 0
        self._client: Client | None = None

    def run(self) -> None:
        total = sum(len(shard.positions) for shard in self._shards)
        try:
            with self._console.progress(total, f"features of {self._store.extractor.name}") as bar:
                while self._waiting or self._going or self._later:
                    self._step(bar)
        finally:
            for _, future in self._going.values():
                future.release()
        if self._told > _TOLD:
            self._console.log(f"{self._told} workers ended on the way; their shards were computed again")

    def _step(self, bar: Bar) -> None:
        client = self._cluster.client()
        if client is not self._client:  # what the scheduler before it knew is lost
            self._waiting += [task for task, _ in self._going.values()]
            self._going.clear()
            self._places.clear()
            self._client = client
        try:
            if not self._places or time.monotonic() - self._looked > _LOOK:
                self._look(client)
            self._hand_out(client)
            self._reached = time.monotonic()
        except LOST as error:  # the next step connects again
            self._console.detail(f"Dask: {error}")
            if time.monotonic() - self._reached > patience():
                raise RunError(f"Dask does not answer ({error})", "start its scheduler and workers again") from error
            time.sleep(0.5)
        self._tell_of_workers()
        now = time.monotonic()
        due = [task for task in self._later if is_done(self._store, self._shards[task.number])]
        due += [task for task in self._later if task not in due and now - task.told_written > _VISIBLE]
        self._later = [task for task in self._later if task not in due]
        for task in due:
            self._judge(task, bar)
        try:
            future = self._finished.get(timeout=0.5)
        except queue.Empty:
            return
        if (found := self._going.pop(str(future.key), None)) is not None:
            self._take(*found, bar)

    def _hand_out(self, client: Client) -> None:
        from shelfbench.spread.on_worker import compute

        while self._waiting:
            task = self._waiting[-1]
            key = f"shelfbench-{self._job.sha256[:12]}-{task.number}-{task.tries}-{time.monotonic_ns()}"
            future = client.submit(compute, self._job, task.number, key=key, pure=False)
            task.tries += 1
            self._going[key] = (self._waiting.pop(), future)
            future.add_done_callback(self._finished.put)

    def _take(self, task: _Task, future: Future[Any], bar: Bar) -> None:
        """Take what the engine says of a shard, and judge by the store."""
        from distributed import KilledWorker

        result: dict[str, Any] = {}
        if future.status == "finished":
            try:
                result = future.result(timeout=10)
            except Exception as lost:  # with its worker or its scheduler
                self._console.detail(f"shard {task.number}: {lost}")
        elif future.status == "error":
            failure = future.exception()
            if not isinstance(failure, KilledWorker):
                raise RunError(
                    f"workers cannot run shelfbench ({type(failure).__name__}: {failure})",
                    "install the same shelfbench everywhere",
                )
        future.release()
        if result.get("problem"):
            kind, message, remedy = result["problem"]
            where = "" if result["host"] in message else f"a worker on {result['host']}: "
            raise getattr(errors, kind, RunError)(f"{where}{message}", remedy)
        if result and not is_done(self._store, self._shards[task.number]):
            task.told_written = time.monotonic()
            self._later.append(task)
            return
        self._judge(task, bar)

    def _judge(self, task: _Task, bar: Bar) -> None:
        shard = self._shards[task.number]
        if is_done(self._store, shard):
            bar.update(len(shard.positions))
            self._done += 1
            return
        if task.since != self._done:  # something comes to the store: patience with the rest
            task.tries, task.since = 1, self._done
        if task.tries >= _MOST_TRIES:
            where = self._store.folder
            if task.told_written:
                raise RunError(
                    f"workers say that they have written {shard.stem}, and it is not in {where}",
                    "make sure that they and this machine see the same cache (SHELFBENCH_CACHE)",
                )
            raise RunError(
                f"the workers that computed a shard of {len(shard.positions):,} images ended, {task.tries} times over",
                "look at their logs; what is written stays, and the same command goes on",
            )
        self._waiting.append(task)

    def _tell_of_workers(self) -> None:
        """Say which workers ended, and whether for lack of memory."""
        while self._cluster.ended:
            event = self._cluster.ended.pop(0)
            if "rss" in event:
                self._told += 1
                self._console.warn(
                    f"a worker ({event.get('worker')}) used {event['rss'] / 2**30:.1f} GiB, more than it may, and was "
                    "ended by its nanny; give workers more memory, or start fewer"
                )
            elif not event.get("expected") and event.get("processing-tasks"):
                self._told += 1
                if self._told <= _TOLD:
                    self._console.warn(f"a worker ({event['worker']}) ended; what it was doing is done again")

    def _look(self, client: Client) -> None:
        """Look at workers that are new: do they see everything, and which cores are theirs?"""
        from shelfbench.spread.on_worker import look, settle

        self._looked = time.monotonic()
        there = client.nthreads()
        if not there and self._cluster.where.address:
            self._cluster.wait_for_workers(client)
            there = client.nthreads()
        if set(there) == set(self._places):
            return
        found = client.run(look, self._job, workers=list(there), on_error="return")
        places: dict[str, tuple[int, int]] = {}
        sharing: dict[tuple[str, tuple[int, ...]], list[str]] = {}
        for address, seen in sorted(found.items()):
            if isinstance(seen, OSError):
                continue
            if isinstance(seen, BaseException):
                raise InputError(
                    f"the worker at {address} cannot run shelfbench ({type(seen).__name__}: {seen})",
                    "install the same shelfbench there",
                )
            self._check(address, seen)
            sharing.setdefault((seen["host"], tuple(seen["cores"])), []).append(address)
        for group in sharing.values():
            places |= {address: (number, len(group)) for number, address in enumerate(group)}
        for address, (number, of) in places.items():
            if self._places.get(address) != (number, of):
                client.run(settle, number, of, workers=[address], on_error="ignore")
        self._places = places

    def _check(self, address: str, seen: dict[str, Any]) -> None:
        mine = versions()
        others = [
            f"{name} {theirs} there, {mine[name]} here"
            for name, theirs in seen["versions"].items()
            if theirs != mine.get(name)
        ]
        if others:
            raise InputError(
                f"the worker at {address} has other versions: {', '.join(others[:4])}",
                "install the same versions everywhere",
            )
        if seen["problem"]:
            message, remedy = seen["problem"]
            raise InputError(f"the worker at {address}: {message}", remedy)
