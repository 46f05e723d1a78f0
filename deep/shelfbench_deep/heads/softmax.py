"""From logits to log-probabilities."""

from __future__ import annotations

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-softmax of each row in float64.

    The largest term stays out of the sum, and ``log1p`` is taken of the rest: a probability of 1 - 1e-30 is not yet 1.

    Parameters
    ----------
    logits : ndarray of float, shape (n, classes)

    Returns
    -------
    ndarray of float64, shape (n, classes)
    """
    rows, largest = np.arange(len(logits)), logits.argmax(axis=1)
    shifted = logits.astype(np.float64)
    shifted -= shifted[rows, largest][:, None]
    rest = np.exp(shifted)
    rest[rows, largest] = 0
    found: np.ndarray = shifted - np.log1p(rest.sum(axis=1, keepdims=True))
    return found
