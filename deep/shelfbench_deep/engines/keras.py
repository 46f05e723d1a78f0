"""Keras, loaded quietly.

Every module of this package takes it from here (``from shelfbench_deep.engines.keras import keras``), so that the
messages of TensorFlow's libraries while they load never reach the user.
"""

from __future__ import annotations

import logging
import os

from shelfbench.base.processes import this_process
from shelfbench_deep.engines.quiet import muted
from shelfbench_deep.engines.versions import check_keras

__all__ = ["keras"]

check_keras("this")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# On a GPU, memory as it is needed: TensorFlow would take all at once and JAX three quarters, and leave no room for the
# linear SVM in another library, or for another process.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
# TensorFlow mistakes several networks built in one run for one that is retraced needlessly, and warns.
logging.getLogger("tensorflow").setLevel(logging.ERROR)
with muted():
    import keras

if this_process().count > 1:  # before anything is computed
    from shelfbench_deep.engines.processes import join

    join(keras.backend.backend())

# A user's keras.json may say otherwise, but features are stored under the name of float32.
keras.config.set_floatx("float32")
keras.config.set_dtype_policy("float32")
