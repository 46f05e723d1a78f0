"""What wrong labels do to a measured precision: the ceiling they set, and the true precision behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shelfbench.base.errors import InputError


def measured_precision(true: float, noise: float, agreement: float = 0.0) -> float:
    """Compute the precision that is measured where some labels are wrong: q = p (1 - eta) + (1 - p) eta c.

    Parameters
    ----------
    true : float
        p, the precision against the true categories.
    noise : float
        eta, the share of products with a wrong label, whether the prediction is right or not.
    agreement : float
        c, the chance that a wrong label equals the wrong prediction.

    Returns
    -------
    float
        q, the precision against the labels.

    Raises
    ------
    InputError
        If one of them is not between 0 and 1.
    """
    for name, value in (("precision", true), ("share of wrong labels", noise), ("chance of agreement", agreement)):
        if not 0 <= value <= 1:
            raise InputError(f"a {name} of {value} is not between 0 and 1", "give a number from 0 to 1")
    return true * (1 - noise) + (1 - true) * noise * agreement


def true_precision(measured: float, noise: float, agreement: float = 0.0) -> float:
    """Invert `measured_precision`: p = (q - eta c) / (1 - eta - eta c).

    Parameters
    ----------
    measured : float
        q, the precision against the labels.
    noise : float
        eta, the share of products with a wrong label.
    agreement : float
        c, the chance that a wrong label equals the wrong prediction.

    Returns
    -------
    float
        p; NaN if no precision from 0 to 1 would be measured as `measured`, so that the share of wrong labels cannot be
        `noise`, or if the labels carry no information (1 - eta <= eta c).

    Raises
    ------
    InputError
        If an argument is not between 0 and 1.
    """
    low, high = measured_precision(0.0, noise, agreement), measured_precision(1.0, noise, agreement)
    if not 0 <= measured <= 1:
        raise InputError(f"a precision of {measured} is not between 0 and 1", "give a number from 0 to 1")
    if high <= low:
        return float("nan")
    found = (measured - low) / (high - low)
    # a perfect model is measured at the ceiling, give or take rounding
    return float(np.clip(found, 0, 1)) if -1e-9 <= found <= 1 + 1e-9 else float("nan")


def ceiling(noise: float) -> float:
    """Compute the precision that is measured for a perfect model: 1 - eta.

    Parameters
    ----------
    noise : float
        eta, the share of products with a wrong label.

    Returns
    -------
    float
        The highest precision that can be measured.
    """
    return measured_precision(1.0, noise)


@dataclass(frozen=True, kw_only=True)
class KnownNoise:
    """Precision measured against the labels and against the known truth.

    Attributes
    ----------
    products : int
        Products that were measured.
    noise : float
        Share of them whose label is wrong.
    agreement : float
        Among products with a wrong label and a wrong prediction, the share where the two are the same; NaN if there are
        none.
    measured : float
        Precision against the labels; rejected products count as wrong.
    true : float
        Precision against the truth; rejected products count as wrong.
    """

    products: int
    noise: float
    agreement: float
    measured: float
    true: float

    def predicted(self, agreement: float) -> float:
        """Predict the measured precision from the true one, as if easy and hard products were mislabelled alike.

        Parameters
        ----------
        agreement : float
            c, taken from products other than these where there are any.

        Returns
        -------
        float
            As returned by `measured_precision`.
        """
        return measured_precision(self.true, self.noise, agreement)


def against_truth(predicted: np.ndarray, label: np.ndarray, truth: np.ndarray) -> KnownNoise:
    """Measure predictions against the labels and against the truth.

    Parameters
    ----------
    predicted : ndarray, shape (n,)
        Predicted categories; anything that is not a category (an empty text, -1) is wrong.
    label : ndarray, shape (n,)
        The categories as labelled.
    truth : ndarray, shape (n,)
        The true categories.

    Returns
    -------
    KnownNoise
        Both precisions, with the share of wrong labels.

    Raises
    ------
    InputError
        If there is no product.
    """
    if not len(predicted):
        raise InputError("there are no products to measure", "give at least one")
    wrong, missed, right = label != truth, predicted != truth, predicted == label
    both = wrong & missed
    return KnownNoise(
        products=len(predicted),
        noise=float(wrong.mean()),
        agreement=float(right[both].mean()) if both.any() else float("nan"),
        measured=float(right.mean()),
        true=1 - float(missed.mean()),
    )
