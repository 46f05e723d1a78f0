"""What slows this machine down, and what would make it faster: one line each, with the command."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from shelfbench.doctor.machine import Machine, Place

# Bytes of memory and of disk below which it is said that they are few.
LITTLE_MEMORY, LITTLE_DISK = 4 << 30, 10 << 30
# Variables that limit the threads of NumPy's and other libraries.
_THREADS = (
    "OMP_NUM_THREADS",
    "OMP_THREAD_LIMIT",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)
# Variables that choose code by hand, and what they do.
_CHOSEN = {
    "OPENBLAS_CORETYPE": "makes NumPy compute with the code for that processor, whatever this one is",
    "OPENBLAS_L2_SIZE": "makes NumPy compute in blocks of that size, whatever the cache of this processor is",
    "ONEDNN_MAX_CPU_ISA": "keeps OpenVINO, TensorFlow and PyTorch from newer instructions",
    "DNNL_MAX_CPU_ISA": "keeps TensorFlow and PyTorch from newer instructions",
    "NPY_DISABLE_CPU_FEATURES": "keeps NumPy from some instructions",
    "PYTHONDONTWRITEBYTECODE": "makes Python compile modules anew at each start, if nobody has compiled them before",
}


def variables(environment: Mapping[str, str], usable: int) -> Iterator[str]:
    """Yield a line for each variable of the environment that slows something down.

    Parameters
    ----------
    environment : mapping of str to str
    usable : int
        Cores that may be kept busy.

    Yields
    ------
    str
    """
    for name in _THREADS:
        value = environment.get(name, "").split(",")[0].strip()
        if value.isdecimal() and 0 < int(value) < usable:
            yield f"{name}={value} keeps libraries to {value} of {usable} cores: unset {name}"
    for name, what in _CHOSEN.items():
        if environment.get(name):
            yield f"{name}={environment[name]} {what}: unset {name}"
    if environment.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        yield "TF_ENABLE_ONEDNN_OPTS=0 keeps TensorFlow from its fast kernels: unset TF_ENABLE_ONEDNN_OPTS"
    if environment.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        yield "CUDA_VISIBLE_DEVICES hides every GPU: unset CUDA_VISIBLE_DEVICES"


def advice(machine: Machine, engines: Mapping[str, str], cache: Place, extras: Mapping[str, bool]) -> list[str]:
    """List what would make this machine faster, the most important first.

    Parameters
    ----------
    machine : Machine
    engines : mapping of str to str
        Those installed, with their versions.
    cache : Place
    extras : mapping of str to bool
        Whether each is there.

    Returns
    -------
    list of str
    """
    found = list(_about_gpus(machine, extras)) + list(variables(os.environ, machine.usable))
    if "OpenVINO" not in engines and not machine.accelerator:
        found.append(
            "OpenVINO computes features faster than any other engine on a processor: python -m pip install openvino"
        )
    elif not machine.accelerator and any("int8" in name for name in machine.instructions):
        needed = "" if "NNCF" in engines else "python -m pip install 'shelfbench[int8]', then "
        found.append(
            "this processor multiplies int8 faster still, which docs/networks.md weighs against accuracy: "
            f"{needed}shelfbench run --set bottleneck.precision=int8"
        )
    if machine.usable < machine.cores:
        found.append(
            f"the container gets the time of {machine.core_limit:.1f} cores and sees {machine.cores}: shelfbench run "
            f"--workers {machine.usable}"
        )
    if machine.free < LITTLE_MEMORY:
        found.append(
            f"{machine.free / 2**30:.1f} GiB of memory are free, and large runs take more: shelfbench plan STUDY says "
            "how much"
        )
    if not cache.problem and cache.free < LITTLE_DISK:
        found.append(
            f"{cache.free / 1e9:.1f} GB are free for the cache: shelfbench cache --clean --dry-run says what can go"
        )
    return found


def _about_gpus(machine: Machine, extras: Mapping[str, bool]) -> Iterator[str]:
    if not machine.accelerator:
        return
    if not machine.gpus:
        yield "there is an accelerator, and nvidia-smi does not answer: install NVIDIA's driver (docs/gpu.md)"
    elif not extras.get("gpu") and not extras.get("gpu-tensorflow"):
        yield (
            "the GPU is not used: python -m pip install 'shelfbench[gpu]', then export KERAS_BACKEND=jax (docs/gpu.md)"
        )
    elif extras.get("gpu") and not extras.get("gpu-tensorflow") and os.environ.get("KERAS_BACKEND") != "jax":
        yield "Keras does not use the GPU: export KERAS_BACKEND=jax (docs/gpu.md)"
