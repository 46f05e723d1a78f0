"""What is noted about an epoch of a 2NN, and which one is kept."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Epoch(NamedTuple):
    """One row of the history: means over an epoch's updates, then the results on `tune` at its end."""

    epoch: int
    step: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    lr: float
    seconds: float


def mean_of(costs: list[tuple[int, float, float]]) -> tuple[float, float]:
    """Return the mean cost and accuracy of an epoch.

    Parameters
    ----------
    costs : list of tuple
        Of each window: its number of steps, and the means over them.

    Returns
    -------
    loss, accuracy : float
    """
    if len(costs) == 1:
        return costs[0][1:]
    steps, losses, accuracies = np.array(costs).T
    return float(steps @ losses / steps.sum()), float(steps @ accuracies / steps.sum())


def better(new: Epoch, old: Epoch) -> bool:
    """Tell whether an epoch is better on `tune`; without `tune`, a later one is."""
    if math.isnan(new.val_accuracy):
        return True
    return (new.val_accuracy, -new.val_loss) > (old.val_accuracy, -old.val_loss)
