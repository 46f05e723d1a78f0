"""What runs in the workers' processes."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass
from typing import Any

from shelfbench.base.errors import ShelfbenchError, explain
from shelfbench.base.processor import cores
from shelfbench.data.shards import compute_shard
from shelfbench.spread.job import Job, OpenedJob, unsealed, versions

# One shard at a time in a process, whatever the number of its threads: networks are not made for several.
_TURN, _OPENING = threading.Lock(), threading.Lock()
_opened: dict[Job, OpenedJob] = {}
_pieces: dict[Job, Any] = {}


@dataclass
class _Place:
    """Which share of its machine's cores a worker has: the `number`-th of `of` workers."""

    number: int = 0
    of: int = 1


_place = _Place()


def _open(job: Job) -> OpenedJob:
    """Open a job once in this process, and forget the one before."""
    with _OPENING:
        if job not in _opened:
            _opened.clear()
            _opened[job] = OpenedJob(job)
        return _opened[job]


def look(job: Job) -> dict[str, Any]:
    """Say where a worker is and what it has.

    Parameters
    ----------
    job : Job

    Returns
    -------
    dict
        ``host``, ``cores``, ``versions``, and ``problem``: a message and a remedy, if it cannot do the job.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    found: dict[str, Any] = {
        "host": socket.gethostname(),
        "cores": sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1)),
        "versions": versions(),
        "problem": None,
    }
    try:
        _open(job)
    except Exception as error:  # told to the user of the run, not to the worker's
        said = explain(error)
        found["problem"] = (said.message, said.remedy)
    return found


def settle(number: int, of: int) -> None:
    """Take a share of the machine's cores.

    Parameters
    ----------
    number : int
        Which of the workers that share the same cores this is.
    of : int
        How many they are.
    """
    _place.number, _place.of = number, of


def _take_share() -> int:
    """Bind this thread, and those that it will start, to its share of the cores; return how many these are."""
    if not hasattr(os, "sched_getaffinity"):
        return max(1, cores() // _place.of)
    main = sorted(os.sched_getaffinity(os.getpid()))
    of, number = min(_place.of, len(main)), _place.number % min(_place.of, len(main))
    mine = main[number * len(main) // of : (number + 1) * len(main) // of]
    os.sched_setaffinity(threading.get_native_id(), mine)
    return len(mine)


def compute(job: Job, number: int) -> dict[str, Any]:
    """Compute a shard of a job.

    Parameters
    ----------
    job : Job
    number : int
        Of the shard.

    Returns
    -------
    dict
        ``computed``, ``host``, and ``problem`` if it could not be done: the class, the message and the remedy.
    """
    result: dict[str, Any] = {"computed": False, "host": socket.gethostname(), "problem": None}
    with _TURN:
        try:
            threads, opened = _take_share(), _open(job)
            result["computed"] = compute_shard(
                opened.store, opened.images, opened.shard(number), workers=threads, memory=_memory_limit()
            )
        except Exception as error:  # a plug-in may raise anything; the run says it
            said: ShelfbenchError = explain(error)
            result["problem"] = (type(said).__name__, said.message, said.remedy)
    return result


def piece(job: Job, number: int) -> dict[str, Any]:
    """Do a piece of other work, as `shelfbench.data.shards.Pieces`.

    Parameters
    ----------
    job : Job
    number : int

    Returns
    -------
    dict
        ``problem`` as in `compute`, and ``host``.
    """
    result: dict[str, Any] = {"host": socket.gethostname(), "problem": None}
    with _TURN:
        try:
            _take_share()
            with _OPENING:
                if job not in _pieces:
                    _pieces.clear()
                    _pieces[job] = unsealed(job)
            if not _pieces[job].done(number):
                _pieces[job].compute(number)
        except Exception as error:
            said: ShelfbenchError = explain(error)
            result["problem"] = (type(said).__name__, said.message, said.remedy)
    return result


def _memory_limit() -> int:
    from distributed import get_worker

    return int(get_worker().memory_manager.memory_limit or 0)
