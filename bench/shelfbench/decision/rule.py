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
from shelfbench.base.grid import number_of, promise
from shelfbench.decision.evidence import Evidence, products_of
from shelfbench.decision.mixing import at_the_mix, drawn, said
from shelfbench.decision.money import Money
from shelfbench.runs.promise import lacking, shortfall
from shelfbench.verdict.calibration import Calibrator
from shelfbench.verdict.categories import weak_categories
from shelfbench.verdict.certify import Certificate, certify, coverage_grid, start_of
from shelfbench.verdict.confidence import measure as confidence_of
from shelfbench.verdict.flow import Flow
from shelfbench.verdict.guard import Guarding
from shelfbench.verdict.metrics import Target, acceptance, exact_target
from shelfbench.verdict.mix import Mix
from shelfbench.verdict.predictions import ProductRule
from shelfbench.verdict.walk import TUNED, WALKS

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


@dataclass(frozen=True, kw_only=True)
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
    walk : str
        Of `shelfbench.verdict.walk.WALKS`: where the walk that certifies begins.
    flow : Flow or None
        The mix of categories that the promise is for; None for that of the products that certify.
    """

    target: Fraction = Fraction(9, 10)
    level: float = 0.95
    measure: str = "probability"
    all_categories: bool = False
    walk: str = TUNED
    flow: Flow | None = None

    @classmethod
    def of(
        cls,
        precision: Target,
        confidence: float | str,
        measure: str = "probability",
        all_categories: bool = False,
        walk: str = TUNED,
    ) -> Requirement:
        """Validate what the user asks for.

        Parameters
        ----------
        precision : Fraction, float or str
            Read by its decimal digits: 0.9 is exactly 9/10.
        confidence : float or str
        measure : str
        all_categories : bool
        walk : str

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
        if walk not in WALKS:
            raise InputError(f"unknown walk {walk!r}", f"choose from: {', '.join(WALKS)}")
        return cls(target=target, level=level, measure=measure, all_categories=bool(all_categories), walk=walk)


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
        The threshold on test, weighted back to the catalogue's own mix of categories, or to that of the flow. None
        unless certified, and for decisions of earlier versions.
    money : Money or None
        What it costs; None if it was not said what reviews and errors cost.
    flow : str
        The mix of categories that is promised for, in words; empty for that of the products that certify.
    guard : Guarding or None
        How products unlike those learned are kept back; None for runs and decisions of earlier versions.
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
    money: Money | None = None
    certified_mix: tuple[int, ...] | None = None
    flow: str = ""
    guard: Guarding | None = None
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
    flow, every, predictions = required.flow, predictions, drawn(required.flow, predictions)
    confidence = confidence_of(predictions, MEASURES[required.measure])
    parts = {role: products_of(predictions, role, confidence) for role in ("tune", "certify", "test")}
    tune, sure, test = parts.values()
    # on tune alone: the threshold that would suffice there, and the categories that miss the target even so
    plain = acceptance(tune.confidence, tune.correct, wanted)
    off: list[str] = []
    if not required.all_categories:
        found = weak_categories(
            tune.confidence, tune.predicted, tune.correct, plain.threshold, target=wanted, level=level
        )
        off = found.tolist()
    grid = coverage_grid(tune.without(off))
    start = start_of(required.walk, tune.without(off), tune.correct, grid)
    certificate = certify(sure.without(off), sure.correct, grid, wanted, level, start=start)
    verdict, reason, remedy = _explained(certificate, len(off), len(predictions))
    reason += "" if flow is None else f"; {said(flow, every)}"
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
        plain=test.evidence(plain.threshold, ()) if plain.accepted else None,
        mix=None if threshold is None else at_the_mix(every, flow, test.without(off) >= threshold, test.correct),
        flow="" if flow is None else flow.source,
        certified_mix=None if threshold is None else sure.accepted_as(categories, threshold, off),
    )


def _explained(found: Certificate, off: int, labelled: int) -> tuple[Verdict, str, str]:
    """Return the verdict, its reason, and what would change it."""
    # all digits: 0.9999 is not 1, and nothing is certain
    target, level = f"{float(found.target):.9g}", promise(found.level)
    if found.certified:
        return (
            Verdict.PASS,
            f"precision of at least {target} certified with probability {level} on {found.total:,} labelled products: "
            f"{found.accepted:,} accepted ({found.acceptance:.1%}, 95% interval {found.acceptance_low:.1%} to "
            f"{found.acceptance_high:.1%}), {found.correct:,} of them right"
            + (f"; {number_of(off, 'category', 'categories')} switched off" if off else ""),
            "",
        )
    remedy = lacking(found, labelled)
    if found.hopeless:
        return (
            Verdict.FAIL,
            f"no threshold that {number_of(found.total, 'product')} to certify on can test reaches a precision "
            f"of {target}: even the upper bounds are below it",
            remedy,
        )
    do = "does" if found.total == 1 else "do"
    return (
        Verdict.INCONCLUSIVE,
        f"{number_of(found.total, 'product')} to certify on {do} not certify {target} with probability {level}, and "
        f"{do} not rule it out",
        remedy,
    )
