"""What wrong labels do to a measured precision (SPEC section 7): its ceiling, and what it says of the true one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shelfbench.base.errors import InputError


def measured_precision(true: float, noise: float, agreement: float = 0.0) -> float:
    """Precision that is measured against labels of which a share is wrong: q = p (1 - eta) + (1 - p) eta c.

    Parameters
    ----------
    true : float
        p, the precision against the true categories.
    noise : float
        eta, the share of products with a wrong label, whether the prediction is right or not.
    agreement : float
        c, the chance that a wrong label is the very category of a wrong prediction.

    Raises
    ------
    InputError
        If one of them lies outside 0 to 1.
    """
    for name, value in (("a precision", true), ("a share of wrong labels", noise), ("a chance", agreement)):
        if not 0 <= value <= 1:
            raise InputError(f"{name} of {value} means nothing", "give a number from 0 to 1")
    return true * (1 - noise) + (1 - true) * noise * agreement


def true_precision(measured: float, noise: float, agreement: float = 0.0) -> float:
    """The inverse of `measured_precision`: p = (q - eta c) / (1 - eta - eta c).

    Returns
    -------
    float
        NaN where no precision from 0 to 1 is measured so: there are fewer wrong labels than `noise`, or more. NaN too
        where the labels say nothing (1 - eta <= eta c).

    Raises
    ------
    InputError
        If an argument lies outside 0 to 1.
    """
    low, high = measured_precision(0.0, noise, agreement), measured_precision(1.0, noise, agreement)
    if not 0 <= measured <= 1:
        raise InputError(f"a precision of {measured} means nothing", "give a number from 0 to 1")
    if high <= low:
        return float("nan")
    found = (measured - low) / (high - low)
    # a perfect model is measured at the ceiling but for rounding
    return float(np.clip(found, 0, 1)) if -1e-9 <= found <= 1 + 1e-9 else float("nan")


def ceiling(noise: float) -> float:
    """The precision at which a perfect model is measured: 1 - eta."""
    return measured_precision(1.0, noise)


@dataclass(frozen=True)
class KnownNoise:
    """Precision measured against labels, and against the known truth.

    Attributes
    ----------
    products : int
    noise : float
        Share of wrong labels among them.
    agreement : float
        Of the products whose label and prediction are both wrong, the share in which they agree; NaN without one.
    measured, true : float
        Precision against the labels and against the truth; rejected products count as wrong in both.
    """

    products: int
    noise: float
    agreement: float
    measured: float
    true: float

    def predicted(self, agreement: float) -> float:
        """What the formula makes of the true precision: it takes wrong labels to fall on easy and hard products alike.

        Parameters
        ----------
        agreement : float
            c, from other products than these where there are some.
        """
        return measured_precision(self.true, self.noise, agreement)


def against_truth(predicted: np.ndarray, label: np.ndarray, truth: np.ndarray) -> KnownNoise:
    """Measure predictions against labels and against the truth.

    Parameters
    ----------
    predicted : ndarray, shape (n,)
        Categories; what is no category (an empty text, -1) is wrong.
    label, truth : ndarray, shape (n,)
        Given and true categories.

    Raises
    ------
    InputError
        If there is no product.
    """
    if not len(predicted):
        raise InputError("no product to measure", "give at least one")
    wrong, missed, right = label != truth, predicted != truth, predicted == label
    both = wrong & missed
    return KnownNoise(
        len(predicted),
        float(wrong.mean()),
        float(right[both].mean()) if both.any() else float("nan"),
        float(right.mean()),
        1 - float(missed.mean()),
    )
