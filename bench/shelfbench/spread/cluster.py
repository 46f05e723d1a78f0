"""The scheduler and the workers: some on this machine, started here, or those at an address."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.base.processor import cores
from shelfbench.data.shared_folder import shared_folder

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

NEEDS_DASK = "python -m pip install 'shelfbench[dask]'"
# Seconds to wait for a scheduler or a worker; DASK_SHELFBENCH__WAIT=7200 waits longer.
WAIT = 600.0
# Dask's own logs tell of every connection that ends; what matters is said in our words.
_SILENT = logging.CRITICAL + 1
# Seconds between two tries, and between two lines that say so.
_TRY, _SAY = 1.0, 60.0
# Seconds in which a scheduler that is there answers, on a busy machine too.
_ANSWER = 15
# Seconds in which its dashboard does, and what is read of its page.
_DASHBOARD, _PAGE = 3, 4096
# What the engine raises if its scheduler, or the worker that was asked, is gone.
LOST = (OSError, TimeoutError, RuntimeError)


@dataclass(frozen=True)
class Where:
    """What ``--dask`` names.

    Attributes
    ----------
    local : int
        Workers to start on this machine; 0 for a scheduler that is there.
    address : str
        Of that scheduler.
    """

    local: int = 0
    address: str = ""

    @classmethod
    def read(cls, text: str) -> Where:
        """Read ``local:4``, or the address of a scheduler: ``host:8786``, ``tcp://host:8786``, ``tls://host:8786``."""
        if found := re.fullmatch(r"local:(\d{1,4})", text):
            if int(found[1]) < 1:
                raise InputError(f"--dask {text} starts no worker", "give a number of at least 1, like local:4")
            return cls(local=int(found[1]))
        if not re.fullmatch(r"(\w+://)?(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}(/.*)?", text):
            raise InputError(
                f"--dask is {text[:60]!r}", "give the address of a scheduler, like tcp://host:8786, or local:4"
            )
        return cls(address=text)


def check_installed() -> None:
    """Make sure that Dask is installed.

    Raises
    ------
    InputError
        If it is not.
    """
    from importlib.util import find_spec

    if find_spec("distributed") is None:
        raise InputError("--dask needs the package distributed", NEEDS_DASK)


def patience() -> float:
    """Return the seconds to wait for a scheduler or a worker."""
    import dask

    return float(dask.config.get("shelfbench.wait", WAIT))


class Cluster:
    """A connection to a scheduler that is made again when it is lost.

    Parameters
    ----------
    where : Where
    console : Console
    """

    def __init__(self, where: Where, console: Console) -> None:
        self.where, self._console = where, console
        self._client: Client | None = None
        self._local: LocalCluster | None = None
        self._scratch = ExitStack()
        self._known = False
        self.ended: list[dict[str, Any]] = []

    def client(self) -> Client:
        """Return a client that is connected; another one than before if the scheduler was lost.

        Returns
        -------
        Client

        Raises
        ------
        RunError
            If no scheduler answers, or no worker comes.
        """
        if self._client is not None and self._client.status == "running":
            return self._client
        lost, self._known = self._known, True
        self._drop()
        import distributed  # noqa: F401  (it sets the levels of its loggers when it is loaded)

        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(_SILENT)
        if lost:
            self._console.warn(f"the scheduler at {self.where.address or 'this machine'} is gone")
        return self._start() if self.where.local else self._connect(lost)

    def _note(self, event: tuple[float, Any]) -> None:
        """Note what the scheduler says of workers; called in the client's own thread."""
        message = event[1]
        if isinstance(message, dict) and ("rss" in message or message.get("action") == "remove-worker"):
            self.ended.append(message)

    def _start(self) -> Client:
        import dask
        from distributed import Client, LocalCluster

        count = self.where.local
        share = str(max(1, cores() // count))
        folder = self._scratch.enter_context(shared_folder())  # which is swept if this process is killed
        with dask.config.set(
            {
                "distributed.scheduler.worker-saturation": 1.0,
                # a worker holds one shard, which Dask does not see and could not spill
                "distributed.worker.memory.pause": False,
                "distributed.worker.memory.spill": False,
                "distributed.worker.memory.target": False,
            }
        ):
            self._local = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                silence_logs=_SILENT,
                local_directory=str(folder),
                preload=["shelfbench.spread.local_worker"],
                env=dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), share),
            )
        self._client = Client(self._local, set_as_default=False)
        self._listen(self._client)
        self._tell(self._client, f"{count} worker{'s' if count > 1 else ''} on this machine")
        return self._client

    def _listen(self, client: Client) -> None:
        client.subscribe_topic("all", self._note)
        client.subscribe_topic("worker-restart-memory", self._note)

    def _connect(self, again: bool) -> Client:
        from distributed import Client

        address, started, told = self.where.address, time.monotonic(), 0.0
        while True:
            try:
                self._client = client = Client(address, timeout=_ANSWER, set_as_default=False)
                self._listen(client)
                self.wait_for_workers(client)
                count = len(client.nthreads())
                break
            except (*LOST, ValueError) as error:
                self._drop()
                waited = time.monotonic() - started
                if not again or waited > patience():
                    raise RunError(
                        f"no scheduler answers at {address}" + (f" for {waited:.0f} s" if again else ""),
                        "start it (dask scheduler); the same command then goes on, and what is written stays",
                    ) from error
                if waited - told > _SAY or not told:
                    told = waited or 1.0
                    self._console.log(f"waiting for the scheduler at {address}")
                time.sleep(_TRY)
        self._tell(client, f"{count:,} worker{'s' if count != 1 else ''} at {address}")
        return client

    def wait_for_workers(self, client: Client, ready: Callable[[], bool] | None = None) -> None:
        """Wait until there is a worker.

        Parameters
        ----------
        client : Client
        ready : callable, optional
            Whether there is one, if the scheduler need not be asked.

        Raises
        ------
        RunError
            If none comes.
        """
        started, told = time.monotonic(), 3.0 - _SAY
        while client.status == "running" and not (ready() if ready else client.nthreads()):
            waited = time.monotonic() - started
            if waited > patience():
                raise RunError(
                    f"no worker has come to the scheduler at {self.where.address} for {waited:.0f} s",
                    f"start some (dask worker {self.where.address}); the same command then goes on",
                )
            if waited - told >= _SAY:
                told = waited
                self._console.log(f"waiting for workers at {self.where.address}")
            time.sleep(_TRY)

    def _tell(self, client: Client, workers: str) -> None:
        self._console.log(f"Dask: {workers}{_dashboard(client.dashboard_link)}")

    def _drop(self) -> None:
        for one in (self._client, self._local):
            if one is not None:
                try:
                    one.close(timeout=5)
                except Exception as error:  # it is given up anyway
                    self._console.detail(f"closing Dask: {error}")
        self._client = self._local = None
        self._scratch.close()

    def close(self) -> None:
        """End what was started, and leave what was there."""
        self._drop()


def _dashboard(link: str | None) -> str:
    """Say where the dashboard is, if it answers: Dask gives an address where none runs (``--no-dashboard``), too."""
    from http.client import HTTPException
    from urllib.request import ProxyHandler, build_opener

    try:
        with build_opener(ProxyHandler({})).open(str(link), timeout=_DASHBOARD) as answer:
            page = answer.read(_PAGE)
    except (OSError, ValueError, HTTPException):
        return ""
    if b"Dask needs" in page:
        return "; its dashboard needs bokeh: python -m pip install bokeh"
    return f"; dashboard {link}"
