"""Several processes that train the networks of one run together, on this machine or on several.

They are told apart by the environment variables that Keras defines for this (`keras.distribution.initialize`). Each is
started with the same command; the first one does everything else alone and is the only one that writes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from shelfbench.base.errors import InputError

COUNT, NUMBER, ADDRESS = (f"KERAS_DISTRIBUTION_{name}" for name in ("NUM_PROCESSES", "PROCESS_ID", "JOB_ADDRESSES"))


@dataclass(frozen=True)
class Process:
    """One of the processes.

    Attributes
    ----------
    number : int
        From 0.
    count : int
    address : str
        ``HOST:PORT`` of the first one; empty if it is alone.
    """

    number: int = 0
    count: int = 1
    address: str = ""

    @property
    def first(self) -> bool:
        """Whether it is the one that writes."""
        return self.number == 0


# Which process this is, from the moment it trains together with others until they are done.
_here, _done = Process(), False


def this_process() -> Process:
    """Return which of the processes that train together this is now; alone, the first of one."""
    return _here


def enter() -> Process:
    """Read from the environment which process this is; from then on, networks are trained together.

    Call it before Keras is loaded.

    Returns
    -------
    Process

    Raises
    ------
    InputError
        If the variables do not fit together.
    """
    global _here
    given = os.environ.get(COUNT, "").strip()
    if given in ("", "1"):
        return _here
    if _here.count > 1 or _done:
        raise InputError("these processes have trained together already", "start them again for another run")
    values = {name: os.environ.get(name, "").strip() for name in (COUNT, NUMBER)}
    for name, value in values.items():
        if not (value.isascii() and value.isdigit()):
            raise InputError(
                f"{name} is {value!r}", "give a whole number to each process: of processes, and its own from 0"
            )
    count, number = int(values[COUNT]), int(values[NUMBER])
    if not number < count:
        raise InputError(f"{NUMBER} is {number}, and {COUNT} is {count}", "number the processes from 0")
    # Keras takes the addresses of all processes too; the first is the one that the others ask
    address = os.environ.get(ADDRESS, "").split(",")[0].strip()
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"{ADDRESS} is {address!r}", "give HOST:PORT of the first process, the same to all")
    _here = Process(number, count, address)
    return _here


def leave() -> None:
    """Go on alone."""
    global _here, _done
    _here, _done = Process(), True
