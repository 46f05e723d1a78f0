"""A decision: may this classifier be switched on, from which confidence on, and for which categories?

Only `tune` chooses (the grid of thresholds, the categories to switch off), only `certify` certifies; test stands beside
as evidence and decides nothing (SPEC section 7).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

from shelfbench.base.errors import InputError
from shelfbench.verdict.categories import weak_categories
from shelfbench.verdict.certify import Certificate, certify, coverage_grid
from shelfbench.verdict.confidence import measure as confidence_of
from shelfbench.verdict.intervals import exact_interval
from shelfbench.verdict.metrics import Target, acceptance, exact_target

PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "INCONCLUSIVE"
EXIT_CODES = {PASS: 0, FAIL: 3, INCONCLUSIVE: 4}
# What a user calls each measure of `shelfbench.verdict.confidence`.
MEASURES = {"probability": "confidence", "margin": "margin", "entropy": "entropy"}


@dataclass(frozen=True)
class Evidence:
    """What a threshold gives on the products of one role, those of categories switched off being rejected.

    Attributes
    ----------
    role : str
        ``tune``, ``certify`` or ``test``.
    products, accepted, correct : int
        All of them, those accepted, and those of them that are right.
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
        """Of those accepted; None where there are none."""
        return self.correct / self.accepted if self.accepted else None

    @property
    def acceptance(self) -> float:
        """Accepted products over all."""
        return self.accepted / self.products


@dataclass(frozen=True)
class Decision:
    """Whether a classifier may be switched on, and how.

    Attributes
    ----------
    verdict : str
        ``PASS``, ``FAIL`` or ``INCONCLUSIVE``.
    reason, remedy : str
        Why, and what would change it.
    target : Fraction
        Required precision.
    level : float
        With which probability over the drawing of the labelled products it is kept.
    measure : str
        A key of `MEASURES`: what confidence is.
    threshold : float or None
        Accept from this confidence on (a log-probability, a difference of two, a negative entropy); None unless
        certified.
    missing : int or None
        About how many more labelled products would certify; None where that alone would not.
    aggregation : str
        How a product's photos become one.
    temperature : float
        By which log-probabilities are divided after that.
    categories : tuple of str
        Keys, in the order of the classifier's codes.
    off : tuple of str
        Keys of those whose products always go to a person.
    evidence : tuple of Evidence
        For tune, certify and test at the threshold; empty unless certified.
    plain : Evidence or None
        On test, at the threshold that keeps the target on tune: not certified, no promise. None where there is none.
    """

    verdict: str
    reason: str
    remedy: str
    target: Fraction
    level: float
    measure: str
    threshold: float | None
    missing: int | None
    aggregation: str
    temperature: float
    categories: tuple[str, ...]
    off: tuple[str, ...]
    evidence: tuple[Evidence, ...] = ()
    plain: Evidence | None = None

    @property
    def passed(self) -> bool:
        """Whether anything may be accepted."""
        return self.verdict == PASS

    @property
    def exit_code(self) -> int:
        """0 for PASS, 3 for FAIL, 4 for INCONCLUSIVE."""
        return EXIT_CODES[self.verdict]

    def review(self, confidence: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Say why each product goes to a person.

        Parameters
        ----------
        confidence : ndarray of float64, shape (n,)
            By `measure`.
        predicted : ndarray of object, shape (n,)
            Keys.

        Returns
        -------
        ndarray of object, shape (n,)
            None where it is accepted.
        """
        reasons = np.full(len(confidence), None, object)
        if not self.passed or self.threshold is None:
            reasons[:] = f"the decision did not pass ({self.verdict})"
            return reasons
        reasons[~(confidence >= self.threshold)] = "below the threshold"
        reasons[np.isin(predicted.astype(str), self.off)] = "category switched off"
        return reasons


def decide(
    predictions: pa.Table,
    categories: Sequence[str],
    target: Target = "0.9",
    level: float = 0.95,
    measure: str = "probability",
    aggregation: str = "mean",
    temperature: float = 1.0,
    all_categories: bool = False,
) -> Decision:
    """Decide from the predictions of one backend.

    Parameters
    ----------
    predictions : Table
        The columns role, category, predicted, rejected and that of `measure` of ``predictions/BACKEND.parquet``.
    categories : sequence of str
        Keys that the classifier knows, in the order of its codes.
    target, level
        Required precision, and the probability with which it is kept.
    measure, aggregation, temperature : str, str, float
        What the confidence of the predictions is, and how it came about.
    all_categories : bool
        Switch none off.

    Raises
    ------
    InputError
        If target or level mean nothing, `measure` is not among the columns, or a role has no products.
    """
    wanted = exact_target(target)
    if not 0 < wanted < 1 or not 0 < level < 1:
        raise InputError(
            f"precision {target} at a confidence of {level} cannot be certified", "give two numbers between 0 and 1"
        )
    if measure not in MEASURES:
        raise InputError(f"unknown measure {measure!r}", f"choose from: {', '.join(MEASURES)}")
    if measure == "margin" and len(categories) == 1:
        raise InputError("one category alone has no margin", "choose --measure probability")
    confidence = confidence_of(predictions, MEASURES[measure])
    parts = {role: _part(predictions, role, confidence) for role in ("tune", "certify", "test")}
    tune, sure = parts["tune"], parts["certify"]
    # on tune alone: the threshold that would do there, and the categories that fall short of the target even so
    plain = acceptance(tune.confidence, tune.correct, wanted)
    off: list[str] = []
    if not all_categories:
        off = weak_categories(tune.confidence, tune.predicted, tune.correct, plain.threshold, wanted, level).tolist()
    grid = coverage_grid(tune.without(off))
    certificate = certify(sure.without(off), sure.correct, grid, wanted, level)
    verdict, reason, remedy = _verdict(certificate, len(off))
    threshold = certificate.threshold if certificate.certified else None
    return Decision(
        verdict,
        reason,
        remedy,
        wanted,
        level,
        measure,
        threshold,
        certificate.missing,
        aggregation,
        temperature,
        tuple(categories),
        tuple(off),
        () if threshold is None else tuple(part.evidence(role, threshold, off) for role, part in parts.items()),
        parts["test"].evidence("test", plain.threshold, ()) if plain.accepted else None,
    )


@dataclass(frozen=True)
class _Part:
    """Products of one role."""

    confidence: np.ndarray
    predicted: np.ndarray
    correct: np.ndarray

    def without(self, off: Sequence[str]) -> np.ndarray:
        """Confidence, with what is predicted into a category that is off rejected."""
        return np.where(np.isin(self.predicted.astype(str), list(off)), -np.inf, self.confidence)

    def evidence(self, role: str, threshold: float, off: Sequence[str]) -> Evidence:
        """Count what a threshold gives."""
        accepted = self.without(off) >= threshold
        count, correct = int(accepted.sum()), int((accepted & self.correct).sum())
        low, high = exact_interval(np.array([correct, count]), np.array([count, len(accepted)]))
        bounds = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
        return Evidence(role, len(accepted), count, correct, *bounds)


def _part(predictions: pa.Table, role: str, confidence: np.ndarray) -> _Part:
    rows = predictions["role"].to_numpy() == role
    if not rows.any():
        raise InputError(
            f"the run has no products of the role {role}", "give it more products, or data whose split has all parts"
        )
    predicted = predictions["predicted"].to_numpy()[rows].astype(object)
    truth = predictions["category"].to_numpy()[rows].astype(object)
    return _Part(confidence[rows], predicted, (predicted == truth) & (confidence[rows] > -np.inf))


def _verdict(found: Certificate, off: int) -> tuple[str, str, str]:
    """Name the verdict, its reason, and what would change it."""
    # all digits: .9999 is not 1, and nothing is promised with certainty
    target, level = f"{float(found.target):.9g}", repr(found.level)
    if found.certified:
        return (
            PASS,
            f"precision of at least {target} certified with probability {level} on {found.total:,} labelled products: "
            f"{found.accepted:,} accepted ({found.acceptance:.1%}, 95% interval {found.acceptance_low:.1%} to "
            f"{found.acceptance_high:.1%}), {found.correct:,} of them right"
            + (f"; {off} categories switched off" if off else ""),
            "",
        )
    if found.hopeless:
        return (
            FAIL,
            f"the precision is not {target} at any threshold that {found.total:,} labelled products can test: even its "
            "upper bounds lie below",
            "a better classifier, or a lower --precision; more labels alone would not do",
        )
    if found.missing is None:
        return (
            INCONCLUSIVE,
            f"{found.total:,} labelled products do not certify {target} with probability {level}, and do not rule it "
            "out; what they show does not tell how many more would do",
            "a better classifier, or a lower --precision",
        )
    return (
        INCONCLUSIVE,
        f"{found.total:,} labelled products are too few to certify {target} with probability {level}",
        f"about {found.missing:,} more labelled products to certify on, if their precision stays as observed; or a "
        "better classifier, or a lower --precision",
    )


def to_record(decision: Decision) -> dict[str, Any]:
    """Give a decision as JSON."""
    record = dataclasses.asdict(decision)
    record["target"] = str(decision.target)
    evidence = [*decision.evidence, *([decision.plain] if decision.plain else [])]
    shown: Sequence[Mapping[str, Any]] = [
        {**dataclasses.asdict(part), "precision": part.precision, "acceptance": part.acceptance} for part in evidence
    ]
    record["evidence"] = list(shown[: len(decision.evidence)])
    record["plain"] = shown[-1] if decision.plain else None
    return record
