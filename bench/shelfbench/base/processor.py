"""The processor and the memory of this machine, and what they are good for."""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
# Where Linux tells a container its limits: control groups of version 2, and those of version 1.
CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")


@functools.cache
def cpuinfo() -> dict[str, str]:
    """Return the fields of the first processor as Linux names them; empty on other systems."""
    try:
        first = CPUINFO.read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}


def vendor() -> str:
    """Return the vendor as the processor names it (``GenuineIntel``, ``AuthenticAMD``); empty if it is not known."""
    return cpuinfo().get("vendor_id", "")


def has(*flags: str) -> bool:
    """Tell whether the processor has all of these features, by their names in Linux."""
    return set(flags) <= set(cpuinfo().get("flags", "").split())


def multiplies_bfloat16_faster() -> bool:
    """Tell whether matrix products take less time in bfloat16 than in float32.

    They do with AMX, and with AVX512_BF16 on AMD's processors (twice as fast on Zen 5, measured; Zen 4 has the same
    instructions). Intel's AVX512_BF16 multiplies no faster than float32, and the conversions cost extra (measured).
    """
    return has("amx_bf16") or (vendor() == "AuthenticAMD" and has("avx512_bf16"))


def multiplies_int8_faster() -> bool:
    """Tell whether matrix products take less time in 8 bits than in any other precision (VNNI or AMX)."""
    return has("avx512_vnni") or has("avx_vnni") or has("amx_int8")


def cores() -> int:
    """Count the cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def core_limit() -> float | None:
    """Tell how many cores' time the container gets, which may be fewer than it sees; None if that is not limited."""
    found = []
    for group in _groups(CGROUPS, ""):
        with contextlib.suppress(OSError, ValueError):
            share, period = (group / "cpu.max").read_text(encoding="ascii").split()
            found.append(int(share) / int(period))  # "max" means no limit, and int refuses it
    for group in _groups(CGROUPS / "cpu", "cpu"):
        with contextlib.suppress(OSError, ValueError):
            share, period = ((group / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
            if int(share) > 0:
                found.append(int(share) / int(period))
    return min(found, default=None)


def nvidia(*fields: str) -> list[str]:
    """Ask NVIDIA's driver about each GPU, fields separated by commas; none without one."""
    import shutil
    import subprocess

    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()] if answer.returncode == 0 else []


def free_memory() -> int:
    """Count the bytes that this process may still take: what the machine has free, or what its container has left."""
    import psutil

    return max(0, min([int(psutil.virtual_memory().available), *_left_in_container()]))


def _groups(root: Path, controller: str) -> list[Path]:
    """List the control groups that this process is in, below the root of version 2 (``""``) or of a controller."""
    try:
        named = [line.split(":", 2) for line in OWN_GROUP.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return [root]
    path = next((parts[2].strip("/") for parts in named if controller in parts[1].split(",")), "")
    own = root / path
    # a container may see its own group at the root, under the path that it has outside
    inside = path and ".." not in path and own.is_dir()
    return [own, *own.parents[: len(Path(path).parts)]] if inside else [root]


def _left_in_container() -> list[int]:
    found = []
    for folder, most, used in (
        *((group, "memory.max", "memory.current") for group in _groups(CGROUPS, "")),
        *((group, "memory.limit_in_bytes", "memory.usage_in_bytes") for group in _groups(CGROUPS / "memory", "memory")),
    ):
        try:
            limit, taken = (int((folder / name).read_text(encoding="ascii")) for name in (most, used))
            kept = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
        except (OSError, ValueError):  # no such group, or a limit of "max"
            continue
        # files that were read and may be forgotten count as taken
        files = kept.get("total_inactive_file", kept.get("inactive_file", "0"))
        found.append(limit - taken + int(files))
    return found


def has_accelerator() -> bool:
    """Tell whether the system has an accelerator (NVIDIA, AMD, or WSL), without loading any library."""
    return any(any(Path("/dev").glob(node)) for node in ("nvidia[0-9]*", "kfd", "dxg"))
