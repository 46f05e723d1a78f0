"""The section ``verdict`` of a study."""

from __future__ import annotations

from dataclasses import dataclass

from shelfbench.base.errors import InputError

AGGREGATIONS = ("mean", "log_mean", "maximum", "vote")


@dataclass(frozen=True)
class VerdictSettings:
    """How predictions become a decision that can be trusted (SPEC section 7).

    Attributes
    ----------
    aggregation : str
        How a product's scores are made of its photos': ``mean``, ``log_mean``, ``maximum``, ``vote`` (see
        `shelfbench.verdict.predictions.aggregate`), or ``choose``: by acceptance at 0.9 on `tune`, ties to ``mean``.
    calibrate : bool
        Fit one temperature on `tune` and apply it to the product's scores.
    confidence_level : float
        Probability with which a certified threshold keeps its precision.
    """

    aggregation: str = "choose"
    calibrate: bool = True
    confidence_level: float = 0.95

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        if self.aggregation not in ("choose", *AGGREGATIONS):
            raise InputError(
                f"verdict.aggregation is {self.aggregation!r}", f"give 'choose' or one of {', '.join(AGGREGATIONS)}"
            )
        if not 0 < self.confidence_level < 1:
            raise InputError(
                f"verdict.confidence_level is {self.confidence_level}", "give a number between 0 and 1, like 0.95"
            )
