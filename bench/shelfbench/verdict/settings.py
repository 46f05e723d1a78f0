"""The section ``verdict`` of a study."""

from __future__ import annotations

from dataclasses import dataclass, field

from shelfbench.base.errors import InputError
from shelfbench.verdict.walk import FIRST, TUNED, WALKS

AGGREGATIONS = ("mean", "log_mean", "maximum", "vote")
CALIBRATIONS = ("choose", "temperature", "beta", "isotonic", "none", "vector", "unbounded")


@dataclass(frozen=True, kw_only=True)
class VerdictSettings:
    """How predictions become a decision that can be trusted.

    Attributes
    ----------
    aggregation : str
        How the scores of a product's photos become the product's scores: ``mean``, ``log_mean``, ``maximum`` or
        ``vote`` (see `shelfbench.verdict.predictions.aggregate`), or ``choose``: whichever accepts the most products of
        `tune` at a precision of 0.9; ties go to ``mean``.
    calibrate : bool
        Whether claims are calibrated on `tune`.
    confidence_level : float
        Probability with which a certified threshold keeps its promised precision.
    calibration : str
        How (see `shelfbench.verdict.calibration`): ``choose``, by cross-validation on `tune`; ``temperature``, bounded
        by what so few products can tell; ``beta``, ``isotonic``, ``vector`` or ``none``; or ``unbounded``, the most
        likely temperature, as before there was a choice.
    walk : {'tuned', 'first'}
        Where the walk that certifies begins: where `tune` promises the most (`shelfbench.verdict.walk`); or, as before
        version 0.2, where 100 products or a fifth are accepted.

    Raises
    ------
    InputError
        If a value is not valid.
    """

    aggregation: str = "choose"
    calibrate: bool = True
    confidence_level: float = 0.95
    # the key of the metadata is shelfbench.plugins.backend.EARLIER, which stands above this room
    calibration: str = field(default="choose", metadata={"earlier": "unbounded"})
    # as_record of shelfbench.plugins.backend: what is not in the records of earlier runs
    walk: str = field(default=TUNED, metadata={"earlier": FIRST})

    def __post_init__(self) -> None:
        """Validate the settings."""
        if self.aggregation not in ("choose", *AGGREGATIONS):
            raise InputError(
                f"verdict.aggregation is {self.aggregation!r}", f"give 'choose' or one of {', '.join(AGGREGATIONS)}"
            )
        if self.calibration not in CALIBRATIONS:
            raise InputError(f"verdict.calibration is {self.calibration!r}", f"give one of {', '.join(CALIBRATIONS)}")
        if not 0 < self.confidence_level < 1:
            raise InputError(
                f"verdict.confidence_level is {self.confidence_level}", "give a number between 0 and 1, like 0.95"
            )
        if self.walk not in WALKS:
            raise InputError(f"verdict.walk is {self.walk!r}", f"choose from: {', '.join(WALKS)}")
