"""What this machine's processor is, and what it is good at."""

from __future__ import annotations

import functools
import os
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


@functools.cache
def cpuinfo() -> dict[str, str]:
    """Give the fields of the first processor, as Linux names them; none elsewhere."""
    try:
        first = CPUINFO.read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}


def vendor() -> str:
    """Give the maker as the processor names it (``GenuineIntel``, ``AuthenticAMD``); empty where that is not known."""
    return cpuinfo().get("vendor_id", "")


def has(*flags: str) -> bool:
    """Whether the processor has all of these features, by Linux' names."""
    return set(flags) <= set(cpuinfo().get("flags", "").split())


def multiplies_bfloat16_faster() -> bool:
    """Whether products of bfloat16 take less time than those of float32.

    They do with AMX, and with AVX512_BF16 on AMD's processors (measured on Zen 5, twice the speed; Zen 4 has the same
    instructions). Intel's AVX512_BF16 multiplies no faster than float32 and pays for conversions (measured).
    """
    return has("amx_bf16") or (vendor() == "AuthenticAMD" and has("avx512_bf16"))


def cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def has_accelerator() -> bool:
    """Whether the system shows an accelerator (NVIDIA's, AMD's, or Windows' to Linux), without loading any library."""
    return any(any(Path("/dev").glob(node)) for node in ("nvidia[0-9]*", "kfd", "dxg"))
