"""Keras, loaded quietly.

Every module of this package takes it from here (``from shelfbench_deep.engines.keras import keras``), so that the
messages of TensorFlow's libraries while they load never reach the user.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["keras"]


@contextmanager
def _muted() -> Iterator[None]:
    """Redirect the file descriptor of stderr; show what was written if loading fails.

    The C++ libraries log before they read any setting, so only the descriptor can stop them.
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
# On a GPU, memory as it is needed: TensorFlow would take all at once and JAX three quarters, and leave no room for the
# linear SVM in another library, or for another process.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
# TensorFlow mistakes several networks built in one run for one that is retraced needlessly, and warns.
logging.getLogger("tensorflow").setLevel(logging.ERROR)
with _muted():
    import keras

# A user's keras.json may say otherwise, but features are stored under the name of float32.
keras.config.set_floatx("float32")
keras.config.set_dtype_policy("float32")
