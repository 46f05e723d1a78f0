"""Keras, loaded quietly.

Every module of this package takes it from here (``from shelfbench_deep.engines.keras import keras``), so that the
messages of TensorFlow's libraries while they load never reach the user.
"""

from __future__ import annotations

import logging
import os

from shelfbench_deep.engines.quiet import muted

__all__ = ["keras"]

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow mistakes several networks built in one run for one that is retraced needlessly, and warns.
logging.getLogger("tensorflow").setLevel(logging.ERROR)
with muted():
    import keras

# A user's keras.json may say otherwise, but features are stored under the name of float32.
keras.config.set_floatx("float32")
keras.config.set_dtype_policy("float32")
