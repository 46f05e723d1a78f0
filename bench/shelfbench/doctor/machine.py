"""What this machine has: cores, memory, disks and GPUs, within the limits of its container."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shelfbench.base.processor import core_limit, cores, cpuinfo, free_memory, has, has_accelerator, nvidia
from shelfbench.base.storage import cache_dir

# Instructions that multiply in fewer bits, as Linux names them.
INSTRUCTIONS = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "AVX512-VNNI (int8)": ("avx512_vnni",),
    "AVX-VNNI (int8)": ("avx_vnni",),
    "AVX512-BF16 (bfloat16)": ("avx512_bf16",),
    "AMX (bfloat16)": ("amx_bf16",),
    "AMX (int8)": ("amx_int8",),
}
# Seconds that adding up the cache may take.
_PATIENCE = 1.5


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder that shelfbench writes to.

    Attributes
    ----------
    path : Path
    free : int
        Bytes on its disk that may be written.
    problem : str
        Why it cannot be written to, or cannot be locked; empty if it can.
    """

    path: Path
    free: int
    problem: str


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What shelfbench may use of this machine.

    Attributes
    ----------
    processor : str
    cores, seen : int
        That this process may use, and that the machine has.
    core_limit : float or None
        How many cores' time its container gets.
    memory, free : int
        Bytes that the machine has, and that this process may take now.
    instructions : tuple of str
    gpus : tuple of str
        Name, memory and driver of each NVIDIA GPU.
    accelerator : bool
        Whether the system has one at all.
    """

    processor: str
    cores: int
    seen: int
    core_limit: float | None
    memory: int
    free: int
    instructions: tuple[str, ...]
    gpus: tuple[str, ...]
    accelerator: bool

    @property
    def usable(self) -> int:
        """Whole cores that this process can keep busy."""
        return self.cores if self.core_limit is None else max(1, min(self.cores, int(self.core_limit)))


def look() -> Machine:
    """Look at this machine; nothing is loaded for it.

    Returns
    -------
    Machine
    """
    import platform

    import psutil

    return Machine(
        processor=cpuinfo().get("model name") or platform.processor() or platform.machine(),
        cores=cores(),
        seen=os.cpu_count() or 1,
        core_limit=core_limit(),
        memory=int(psutil.virtual_memory().total),
        free=free_memory(),
        instructions=tuple(name for name, flags in INSTRUCTIONS.items() if has(*flags)),
        gpus=tuple(nvidia("name", "memory.total", "driver_version")),
        accelerator=has_accelerator(),
    )


def place(path: Path) -> Place:
    """Try whether a folder, or the first above it that exists, can be written to; nothing is left there.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Place
    """
    there = next((folder for folder in (path, *path.absolute().parents) if folder.exists()), Path("/"))
    if not there.is_dir():
        return Place(path=path, free=0, problem=f"{there} is not a folder")
    problem = ""
    try:
        handle, name = tempfile.mkstemp(prefix=f".partial-{uuid.uuid4().hex[:12]}-", dir=there)
        try:
            os.write(handle, b"x")
            problem = _why_no_lock(handle)
        finally:
            os.close(handle)
            os.unlink(name)
    except OSError as error:
        problem = f"it cannot be written to ({error.strerror})"
    return Place(path=path, free=shutil.disk_usage(there).free, problem=problem)


def _why_no_lock(handle: int) -> str:
    try:
        import fcntl
    except ImportError:
        return ""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return f"its file system does not support locks ({error.strerror})"
    return ""


def cache_size() -> tuple[int, bool]:
    """Add up the cache.

    Returns
    -------
    int
        Bytes.
    bool
        Whether that is all; a cache of millions of files is left after a moment.
    """
    size, until, waiting = 0, time.monotonic() + _PATIENCE, [os.fspath(cache_dir())]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as inside:
            for item in inside:
                if item.is_dir(follow_symlinks=False):
                    waiting.append(item.path)
                elif item.is_file(follow_symlinks=False):
                    size += item.stat(follow_symlinks=False).st_size
                if time.monotonic() > until:
                    return size, False
    return size, True
