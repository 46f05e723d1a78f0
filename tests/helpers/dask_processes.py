"""A scheduler and workers of Dask as processes of this machine, as someone starts them by hand on several."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Processes:
    """A scheduler at a port of its own, and its workers.

    Parameters
    ----------
    folder : Path
        For logs, and for what workers keep.
    variables : dict of str to str
        Of the environment of all, besides this process's own.
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.variables = {**os.environ, **dict.fromkeys(THREADS, "1"), **variables}
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Processes:
        self.start_scheduler()
        return self

    def __exit__(self, *args: object) -> None:
        for process in [*self.workers, self.scheduler]:
            if process is not None:
                end(process)

    def _start(self, name: str, *words: str, before: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        with open(self.folder / f"{name}.log", "ab") as log:
            return subprocess.Popen(
                [*before, sys.executable, "-m", "dask", *words],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.variables,
                start_new_session=True,
            )

    def start_scheduler(self) -> None:
        """Start the scheduler at its port, again if it was killed, and wait until it answers."""
        self.scheduler = self._start(
            "scheduler", "scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard", "--no-show"
        )
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)
        raise RuntimeError((self.folder / "scheduler.log").read_text()[-2000:])

    def start_worker(self, *options: str, core: int | None = None) -> subprocess.Popen[bytes]:
        """Start a worker of one thread, bound to a core if one is given, which its nanny starts again if it ends."""
        before = () if core is None else ("taskset", "-c", str(core))
        words = ("worker", self.address, "--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard")
        worker = self._start("workers", *words, "--local-directory", str(self.folder), *options, before=before)
        self.workers.append(worker)
        return worker

    def wait(self) -> None:
        """Wait until all workers are there."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(len(self.workers), timeout=120)

    def seconds(self) -> list[float]:
        """Return the seconds of the processor that each process that computes has used."""
        import psutil

        times = [psutil.Process(number).cpu_times() for number in self.computing()]
        return [one.user + one.system for one in times]

    def revive(self) -> None:
        """Start a worker for each one that has ended with its nanny, as whatever watches services does."""
        ended = [worker for worker in self.workers if worker.poll() is not None]
        self.workers = [worker for worker in self.workers if worker not in ended]
        for worker in ended:
            end(worker)
            self.start_worker()

    def computing(self) -> list[int]:
        """Return the numbers of the processes that compute, below the nannies."""
        import psutil

        found = []
        for worker in self.workers:
            with contextlib.suppress(psutil.Error):
                found += [child.pid for child in psutil.Process(worker.pid).children() if _computes(child)]
        return found


def _computes(child: object) -> bool:
    return "spawn_main" in " ".join(child.cmdline())  # type: ignore[attr-defined]


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
