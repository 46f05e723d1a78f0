"""How fast this machine multiplies matrices, and what a fit takes that is little else."""

from __future__ import annotations

from typing import Any

import numpy as np

from shelfbench.cost.undisturbed import Undisturbed

# Rows and columns of the product, as a fit in blocks of rows multiplies them, and seconds that are enough to time it.
_ROWS, _COLUMNS, _ENOUGH = 8192, 256, 0.3
# Of that rate, what a fit of 100,000 rows reached from its first sweep to its last (results/scale/svm.csv).
_REACHED = 0.63


def product_rate(dimensions: int) -> float:
    """Measure operations a second of a product of float32 matrices.

    Parameters
    ----------
    dimensions : int
        What is summed over.

    Returns
    -------
    float
    """
    rng = np.random.default_rng(0)
    left, right = rng.random((_ROWS, dimensions), np.float32), rng.random((dimensions, _COLUMNS), np.float32)
    left @ right
    times, seconds = 0, 0.0
    while seconds < _ENOUGH:
        with Undisturbed() as watch:
            left @ right
        times, seconds = times + 1, seconds + watch.seconds
    return 2.0 * _ROWS * dimensions * _COLUMNS * times / seconds


def counted_seconds(footprint: Any, rate: float) -> float:
    """Return the seconds of a fit that goes through its features in blocks of rows.

    What the disk takes is left out: the system reads ahead while a block is multiplied.

    Parameters
    ----------
    footprint : object
        With ``sweep_flops``, ``passes`` over the features in all, and ``reads`` of them in a sweep.
    rate : float
        Of `product_rate`.

    Returns
    -------
    float
    """
    return float(footprint.sweep_flops * footprint.passes / footprint.reads / (_REACHED * rate))
