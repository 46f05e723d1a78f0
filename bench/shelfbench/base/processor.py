"""The processor of this machine, and what it is good at."""

from __future__ import annotations

import functools
import os
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


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


def has_accelerator() -> bool:
    """Tell whether the system has an accelerator (NVIDIA, AMD, or WSL), without loading any library."""
    return any(any(Path("/dev").glob(node)) for node in ("nvidia[0-9]*", "kfd", "dxg"))
