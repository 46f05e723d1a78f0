"""Loading an engine in a process of its own, to see whether it works: an import may crash, or hang."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import dataclass

# What loads each engine, and prints where it computes.
_TRIES = {
    "OpenVINO": "import openvino; print(', '.join(openvino.Core().available_devices))",
    "Keras": "import keras; print('on', keras.backend.backend())",
    "TensorFlow": "import tensorflow as tf; print(', '.join(d.device_type for d in tf.config.list_physical_devices()))",
    "JAX": "import jax; print(', '.join(str(d) for d in jax.devices()))",
    "PyTorch": "import torch; print('CUDA' if torch.cuda.is_available() else 'CPU')",
    "ONNX Runtime": "import onnxruntime; print(', '.join(onnxruntime.get_available_providers()))",
    "NNCF": "import nncf; print()",
}
_PATIENCE = 120
_ERROR = re.compile(r"[\w.]*(Error|Exception): (?!Traceback)")


@dataclass(frozen=True)
class Tried:
    """What came of loading an engine: where it computes or, if it failed, why; and the seconds."""

    works: bool
    said: str
    seconds: float


def load(engine: str, patience: float = _PATIENCE) -> Tried:
    """Load an engine in a process of its own.

    Parameters
    ----------
    engine : str
        See `shelfbench.doctor.packages.ENGINES`.
    patience : float
        Seconds after which it counts as failed.

    Returns
    -------
    Tried
    """
    started = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _TRIES[engine]], capture_output=True, text=True, timeout=patience, check=False
        )
    except subprocess.TimeoutExpired:
        return Tried(False, f"it does not answer within {patience:.0f} seconds", patience)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or [""]
    if done.returncode:  # the last error that says something: some repeat a whole traceback, and add advice
        lines = [line for line in lines if _ERROR.match(line.strip())] or lines
    said = lines[-1].strip()[:200]
    if done.returncode < 0:
        said = f"it ends the process (signal {-done.returncode})"
    return Tried(done.returncode == 0, said, time.monotonic() - started)
