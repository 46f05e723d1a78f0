"""The engines under Keras (TensorFlow, JAX, PyTorch): all that must know which one runs stands here.

The other modules of this room take Keras from here (``from shelfbench_deep.engines.loading import keras``), so that what
TensorFlow's libraries write to stderr while they load stays out of the user's sight.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _muted() -> Iterator[None]:
    """Keep the file descriptor of stderr shut; show what came if loading fails.

    The C++ libraries log before any setting of theirs is read, so that only the descriptor can stop them.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as aside:
        kept = os.dup(2)
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except BaseException:
            aside.seek(0)
            os.write(kept, aside.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow counts networks built one after the other in a run as needless retracing of one, and warns.
logging.getLogger("tensorflow").setLevel(logging.ERROR)
with _muted():
    import keras

# A user's keras.json may say otherwise, and features are kept under the name of float32.
keras.config.set_floatx("float32")
keras.config.set_dtype_policy("float32")

__all__ = ["device_name", "jit_compile", "keras"]


def jit_compile() -> bool | str:
    """What to give ``Model.compile(jit_compile=)``.

    XLA slows TensorFlow down several times on a CPU; everywhere else Keras chooses.
    """
    if keras.backend.backend() != "tensorflow":
        return "auto"
    import tensorflow as tf

    return "auto" if tf.config.list_physical_devices("GPU") else False


def device_name() -> str:
    """Name of the device that computes, for the record: ``cpu``, or that of the accelerator."""
    engine = keras.backend.backend()
    if engine == "jax":
        import jax

        device = jax.local_devices()[0]
        return "cpu" if device.platform == "cpu" else str(device.device_kind)
    if engine == "torch":
        import torch

        return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "gpu")) if gpus else "cpu"
