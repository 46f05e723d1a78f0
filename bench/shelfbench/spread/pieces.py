"""Pieces of work other than features, on the workers of Dask, each judged by the file that it leaves."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shelfbench.base import errors
from shelfbench.base.console import Bar, Console
from shelfbench.base.errors import RunError
from shelfbench.data.shards import Pieces
from shelfbench.spread.cluster import LOST, Cluster
from shelfbench.spread.job import sealed

if TYPE_CHECKING:
    from distributed import Future

# How often a piece is given out; what is then not there is left to the process that asked.
_TRIES = 5


def share(cluster: Cluster, console: Console, pieces: Pieces, folder: Path) -> None:
    """Have pieces of work done; some may be left if workers end again and again.

    Parameters
    ----------
    cluster : Cluster
    console : Console
    pieces : Pieces
    folder : Path
        Of the cache.

    Raises
    ------
    CannotSend
        If the work cannot be pickled.
    ShelfbenchError
        What a piece raises, or `Cluster.client`.
    """
    from shelfbench.spread.on_worker import piece

    job, tries, going = sealed(pieces, folder), [0] * pieces.count, dict[int, "Future[Any]"]()
    client, told = cluster.client(), set[int]()
    with console.progress(pieces.count, pieces.name, "pieces") as bar:
        while True:
            there = {number for number in range(pieces.count) if pieces.done(number)}
            _tell(bar, told, there)
            left = [number for number in range(pieces.count) if number not in there and number not in going]
            left = [number for number in left if tries[number] < _TRIES]
            if not left and not going:
                return
            try:
                if (now := cluster.client()) is not client:
                    client = now
                    going.clear()
                    continue
                for number in left:
                    tries[number] += 1
                    key = f"piece-{job.sha256[:12]}-{number}-{time.monotonic_ns()}"
                    going[number] = client.submit(piece, job, number, key=key, pure=False)
                _wait(going)
            except LOST as error:
                console.detail(f"Dask: {error}")
                time.sleep(0.5)


def _tell(bar: Bar, told: set[int], there: set[int]) -> None:
    bar.update(len(there - told))
    told |= there


def _wait(going: dict[int, Future[Any]]) -> None:
    """Wait a little, and take what has ended; what a piece says went wrong is raised here."""
    time.sleep(0.2)
    for number, future in list(going.items()):
        if future.status == "pending":
            continue
        del going[number]
        result = future.result(timeout=10) if future.status == "finished" else {}
        future.release()
        if result.get("problem"):
            kind, message, remedy = result["problem"]
            where = "" if result["host"] in message else f"a worker on {result['host']}: "
            raise getattr(errors, kind, RunError)(f"{where}{message}", remedy)
