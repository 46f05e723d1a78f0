"""The ruling on a classifier: may it be deployed, above which confidence, and for which categories?

Only `tune` chooses (the grid of thresholds, the categories to switch off) and only `certify` certifies; test results
are shown for reference only (docs/papers.md, "Certifying a threshold").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

import numpy as np
import pyarrow as pa

from shelfbench.base.errors import InputError
from shelfbench.runs.promise import lacking, shortfall
from shelfbench.verdict.calibration import Calibrator
from shelfbench.verdict.categories import weak_categories
from shelfbench.verdict.certify import Certificate, certify, coverage_grid
from shelfbench.verdict.confidence import measure as confidence_of
from shelfbench.verdict.intervals import exact_interval
from shelfbench.verdict.metrics import Target, acceptance, exact_target
from shelfbench.verdict.mix import Mix, weigh_back
from shelfbench.verdict.predictions import ProductRule

# Users' names for each measure of `shelfbench.verdict.confidence`.
MEASURES = {"probability": "confidence", "margin": "margin", "entropy": "entropy"}


class Verdict(StrEnum):
    """Whether a classifier may be deployed.

    Attributes
    ----------
    PASS : str
        It may: its precision is certified.
    FAIL : str
        It may not: the labelled products show that its precision is too low.
    INCONCLUSIVE : str
        Not yet: the labelled products neither certify its precision nor rule it out.
    """

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"

    @property
    def exit_code(self) -> int:
        """Exit code of ``shelfbench decide``: 0 for PASS, 3 for FAIL, 4 for INCONCLUSIVE."""
        return {"PASS": 0, "FAIL": 3, "INCONCLUSIVE": 4}[self.value]


@dataclass(frozen=True)
class Requirement:
    """What the user requires of a classifier; see `Requirement.of`, which validates it.

    Attributes
    ----------
    target : Fraction
        Share of the accepted products that must be right.
    level : float
        Probability, over the drawing of the labelled products, with which that share is kept.
    measure : str
        A key of `MEASURES`: which number serves as the confidence in a product.
    all_categories : bool
        Whether every category stays on, however weak it is.
    """

    target: Fraction = Fraction(9, 10)
    level: float = 0.95
    measure: str = "probability"
    all_categories: bool = False

    @classmethod
    def of(
        cls, precision: Target, confidence: float | str, measure: str = "probability", all_categories: bool = False
    ) -> Requirement:
        """Validate what the user asks for.

        Parameters
        ----------
        precision : Fraction, float or str
            Read by its decimal digits: 0.9 is exactly 9/10.
        confidence : float or str
        measure : str
        all_categories : bool

        Returns
        -------
        Requirement

        Raises
        ------
        InputError
            If a value is not valid.
        """
        target = exact_target(precision)
        try:
            level = float(confidence)
        except (ValueError, TypeError, OverflowError):
            raise InputError(
                f"{str(confidence)[:20]!r} is not a number", "give a number between 0 and 1, like 0.95"
            ) from None
        if not 0 < target < 1 or not 0 < level < 1:
            raise InputError(
                f"precision {precision} at a confidence of {confidence} cannot be certified",
                "give two numbers between 0 and 1",
            )
        if measure not in MEASURES:
            raise InputError(f"unknown measure {measure!r}", f"choose from: {', '.join(MEASURES)}")
        return cls(target, level, measure, bool(all_categories))


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


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """Whether a classifier may be deployed, and how.

    Attributes
    ----------
    verdict : Verdict
    reason, remedy : str
        Why, and what would change it.
    target : Fraction
        Required precision.
    level : float
        Probability, over the drawing of the labelled products, with which it is kept.
    measure : str
        A key of `MEASURES`: which number serves as the confidence in a product.
    threshold : float or None
        Least confidence that is accepted (a log-probability, a difference of two, or a negative entropy); None unless
        certified.
    missing : int or None
        About how many more products to certify on would do; None if more of them alone would not, or if there are too
        few to tell.
    aggregation : str
        How the scores of a product's photos become one.
    temperature : float
        Divisor of the log-probabilities after that.
    calibrator : Calibrator or None
        What follows the temperature; None for the temperature alone, as in decisions of earlier versions.
    categories : tuple of str
        Keys, in the order of the classifier's codes.
    off : tuple of str
        Keys of the categories whose products always go to a person.
    evidence : tuple of Evidence
        For tune, certify and test at the threshold; empty unless certified.
    plain : Evidence or None
        On test, at the threshold that keeps the target on tune: not certified, so not a promise. None if there is no
        such threshold.
    mix : Mix or None
        The threshold on test, weighted back to the catalogue's own mix of categories. None unless certified, and for
        decisions of earlier versions.
    """

    verdict: Verdict
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
    mix: Mix | None = None
    calibrator: Calibrator | None = None

    @property
    def doubt(self) -> str:
        """Sentences on a certified threshold whose precision on test is below the target; empty otherwise."""
        found = next((part for part in self.evidence if part.role == "test"), None)
        if found is None or found.precision is None:
            return ""
        return shortfall(float(self.target), (found.precision, found.precision_high), self.mix)

    @property
    def passed(self) -> bool:
        """Whether any product may be accepted."""
        return self.verdict == Verdict.PASS

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
            None where the product is accepted.
        """
        reasons = np.full(len(confidence), None, object)
        if not self.passed or self.threshold is None:
            reasons[:] = f"the decision did not pass ({self.verdict})"
            return reasons
        reasons[~(confidence >= self.threshold)] = "below the threshold"
        reasons[np.isin(predicted.astype(str), self.off)] = "category switched off"
        return reasons


def judge(predictions: pa.Table, categories: Sequence[str], required: Requirement, scoring: ProductRule) -> Ruling:
    """Rule on one backend by its predictions.

    Parameters
    ----------
    predictions : Table
        The columns role, category, predicted, rejected and that of the measure, of ``predictions/BACKEND.parquet``.
    categories : sequence of str
        Keys that the classifier knows, in the order of its codes.
    required : Requirement
    scoring : ProductRule
        How the confidence of the predictions came about.

    Returns
    -------
    Ruling

    Raises
    ------
    InputError
        If the measure is not among the columns, or a role has no products.
    """
    wanted, level = required.target, required.level
    if required.measure == "margin" and len(categories) == 1:
        raise InputError("a single category has no margin", "choose the measure probability")
    confidence = confidence_of(predictions, MEASURES[required.measure])
    parts = {role: _products_of(predictions, role, confidence) for role in ("tune", "certify", "test")}
    tune, sure = parts["tune"], parts["certify"]
    # on tune alone: the threshold that would suffice there, and the categories that miss the target even so
    plain = acceptance(tune.confidence, tune.correct, wanted)
    off: list[str] = []
    if not required.all_categories:
        found = weak_categories(
            tune.confidence, tune.predicted, tune.correct, plain.threshold, target=wanted, level=level
        )
        off = found.tolist()
    grid = coverage_grid(tune.without(off))
    certificate = certify(sure.without(off), sure.correct, grid, wanted, level)
    verdict, reason, remedy = _explained(certificate, len(off), len(predictions))
    threshold = certificate.threshold if certificate.certified else None
    return Ruling(
        verdict=verdict,
        reason=reason,
        remedy=remedy,
        target=wanted,
        level=level,
        measure=required.measure,
        threshold=threshold,
        missing=certificate.missing,
        aggregation=scoring.aggregation,
        temperature=scoring.temperature,
        calibrator=scoring.calibrator,
        categories=tuple(categories),
        off=tuple(off),
        evidence=() if threshold is None else tuple(part.evidence(threshold, off) for part in parts.values()),
        plain=parts["test"].evidence(plain.threshold, ()) if plain.accepted else None,
        mix=None if threshold is None else _at_the_mix(predictions, parts["test"], threshold, off),
    )


def _at_the_mix(predictions: pa.Table, test: _Products, threshold: float, off: Sequence[str]) -> Mix | None:
    """Weight the results on test back to the mix of all products."""
    keys, codes = np.unique(predictions["category"].to_numpy().astype(str), return_inverse=True)
    truth = codes[predictions["role"].to_numpy() == test.role]
    return weigh_back(truth, test.without(off) >= threshold, test.correct, np.bincount(codes, minlength=len(keys)))


@dataclass(frozen=True)
class _Products:
    """The products of one role."""

    role: str
    confidence: np.ndarray
    predicted: np.ndarray
    correct: np.ndarray

    def without(self, off: Sequence[str]) -> np.ndarray:
        """Return the confidence, with products predicted into a switched-off category rejected."""
        return np.where(np.isin(self.predicted.astype(str), list(off)), -np.inf, self.confidence)

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


def _products_of(predictions: pa.Table, role: str, confidence: np.ndarray) -> _Products:
    rows = predictions["role"].to_numpy() == role
    if not rows.any():
        raise InputError(
            f"the run has no products of the role {role}", "give it more products, or data whose split has all parts"
        )
    predicted = predictions["predicted"].to_numpy()[rows].astype(object)
    truth = predictions["category"].to_numpy()[rows].astype(object)
    return _Products(role, confidence[rows], predicted, (predicted == truth) & (confidence[rows] > -np.inf))


def _explained(found: Certificate, off: int, labelled: int) -> tuple[Verdict, str, str]:
    """Return the verdict, its reason, and what would change it."""
    # all digits: 0.9999 is not 1, and nothing is certain
    target, level = f"{float(found.target):.9g}", repr(found.level)
    if found.certified:
        return (
            Verdict.PASS,
            f"precision of at least {target} certified with probability {level} on {found.total:,} labelled products: "
            f"{found.accepted:,} accepted ({found.acceptance:.1%}, 95% interval {found.acceptance_low:.1%} to "
            f"{found.acceptance_high:.1%}), {found.correct:,} of them right"
            + (f"; {off} {'category' if off == 1 else 'categories'} switched off" if off else ""),
            "",
        )
    remedy = lacking(found, labelled)
    if found.hopeless:
        return (
            Verdict.FAIL,
            f"no threshold that {found.total:,} products to certify on can test reaches a precision of {target}: even "
            "the upper bounds are below it",
            remedy,
        )
    return (
        Verdict.INCONCLUSIVE,
        f"{found.total:,} products to certify on do not certify {target} with probability {level}, and do not rule it "
        "out",
        remedy,
    )
