"""What a threshold gives on the products of one role."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from shelfbench.base.errors import InputError
from shelfbench.verdict.intervals import exact_interval


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Results of a threshold on the products of one role, with products of switched-off categories rejected.

    Attributes
    ----------
    role : str
        ``tune``, ``certify`` or ``test``.
    products, accepted, correct : int
        All products, those accepted, and those both accepted and right.
    precision_low, precision_high, acceptance_low, acceptance_high : float
        Exact (Clopper-Pearson) 95% intervals.
    """

    role: str
    products: int
    accepted: int
    correct: int
    precision_low: float
    precision_high: float
    acceptance_low: float
    acceptance_high: float

    @property
    def precision(self) -> float | None:
        """Share of the accepted products that are right; None if none is accepted."""
        return self.correct / self.accepted if self.accepted else None

    @property
    def acceptance(self) -> float:
        """Share of the products that are accepted."""
        return self.accepted / self.products

    def __str__(self) -> str:
        """Return precision and acceptance with their intervals, in one line."""
        precision = "none accepted" if self.precision is None else f"precision {self.precision:.3f}"
        return (
            f"on {self.role}: {precision} [{self.precision_low:.3f}, {self.precision_high:.3f}], "
            f"acceptance {self.acceptance:.3f} [{self.acceptance_low:.3f}, {self.acceptance_high:.3f}] "
            f"({self.accepted:,} of {self.products:,})"
        )


@dataclass(frozen=True)
class Products:
    """The products of one role."""

    role: str
    confidence: np.ndarray
    predicted: np.ndarray
    correct: np.ndarray

    def without(self, off: Sequence[str]) -> np.ndarray:
        """Return the confidence, with products predicted into a switched-off category rejected."""
        return np.where(np.isin(self.predicted.astype(str), list(off)), -np.inf, self.confidence)

    def accepted_as(self, categories: Sequence[str], threshold: float, off: Sequence[str]) -> tuple[int, ...]:
        """Count the accepted products by the category predicted for them."""
        counts = Counter(self.predicted[self.without(off) >= threshold].astype(str).tolist())
        return tuple(counts[key] for key in categories)

    def evidence(self, threshold: float, off: Sequence[str]) -> Evidence:
        """Count the results of a threshold."""
        accepted = self.without(off) >= threshold
        count, correct = int(accepted.sum()), int((accepted & self.correct).sum())
        low, high = exact_interval(np.array([correct, count]), np.array([count, len(accepted)]))
        return Evidence(
            role=self.role,
            products=len(accepted),
            accepted=count,
            correct=correct,
            precision_low=float(low[0]),
            precision_high=float(high[0]),
            acceptance_low=float(low[1]),
            acceptance_high=float(high[1]),
        )


def products_of(predictions: pa.Table, role: str, confidence: np.ndarray) -> Products:
    """Take the products of one role.

    Parameters
    ----------
    predictions : Table
        The columns role, category and predicted.
    role : str
    confidence : ndarray of float64
        Of every row; -inf for what is rejected.

    Returns
    -------
    Products

    Raises
    ------
    InputError
        If there are none.
    """
    rows = predictions["role"].to_numpy() == role
    if not rows.any():
        raise InputError(
            f"the run has no products of the role {role}", "give it more products, or data whose split has all parts"
        )
    predicted = predictions["predicted"].to_numpy()[rows].astype(object)
    truth = predictions["category"].to_numpy()[rows].astype(object)
    return Products(role, confidence[rows], predicted, (predicted == truth) & (confidence[rows] > -np.inf))
