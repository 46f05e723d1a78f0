"""The ruling on a ladder: which products are answered at their category, which at a level above it, which by nobody.

As in `shelfbench.decision.rule`, only `tune` chooses (temperatures, categories to switch off, the settings to test and
their order), only `certify` certifies, and test is shown for reference only. The joint test is that of
`shelfbench.verdict.ladder`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa

from shelfbench.base.errors import InputError
from shelfbench.base.grid import number_of, percent, promise
from shelfbench.decision.evidence import Evidence
from shelfbench.decision.rule import MEASURES, Requirement, Ruling, Verdict
from shelfbench.runs.levels import CATEGORY, LevelAnswers, NamedLevel, rung_answers
from shelfbench.runs.promise import BETTER, shortfall
from shelfbench.verdict.categories import weak_categories
from shelfbench.verdict.confidence import measure as confidence_of
from shelfbench.verdict.intervals import exact_interval
from shelfbench.verdict.ladder import Answers, LadderCertificate, certify_ladder, stair
from shelfbench.verdict.levels import Level
from shelfbench.verdict.metrics import acceptance
from shelfbench.verdict.mix import Mix, weigh_back
from shelfbench.verdict.predictions import ProductRule

# Why a product is not answered at its category, but may be at a level above it.
UNSURE = "no category is sure enough"
CLIMBS = ("below the threshold", "category switched off", UNSURE)
# Between the names of the levels in the code of a group.
WITHIN = " > "


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A rung of a ladder.

    Attributes
    ----------
    level : str
        ``category``, or the name of a level above it, like ``level1``.
    target : Fraction
        Share of the products answered here that must be right.
    threshold : float or None
        The least confidence that is answered here; None if nothing is. A logarithm of a probability, or a value of the
        ruling's measure for the category.
    temperature : float
        Of the level's summed probabilities (`shelfbench.verdict.levels`); 1 for the category.
    groups : tuple of str
        Codes of the level's groups: their place from the top down. Empty for the category.
    names : tuple of str
        Their display names.
    members : tuple of int
        Group of each category; -1 for one that has no such level. Empty for the category.
    evidence : tuple of Evidence
        For tune, certify and test: the products answered on this rung. Empty if nothing is answered here.
    mix : Mix or None
        Those of test, weighted back to the catalogue's own mix of categories. None if there are none.
    """

    level: str
    target: Fraction
    threshold: float | None
    temperature: float = 1.0
    groups: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    members: tuple[int, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    mix: Mix | None = None

    @property
    def summed(self) -> Level:
        """The level as it is summed."""
        return Level(np.array(self.members, np.int64), len(self.groups))

    @property
    def doubt(self) -> str:
        """Sentences on a rung whose precision on test is below its target; empty otherwise."""
        found = next((part for part in self.evidence if part.role == "test"), None)
        if found is None or found.precision is None:
            return ""
        said = shortfall(float(self.target), (found.precision, found.precision_high), self.mix)
        return said and f"{self.level}: {said}"


@dataclass(frozen=True, kw_only=True)
class LadderRuling(Ruling):
    """A ruling with more than one rung.

    Attributes
    ----------
    rungs : tuple of Rung
        The finest first: the category, then the levels above it.
    """

    rungs: tuple[Rung, ...]

    @property
    def doubt(self) -> str:
        """Sentences on every rung whose precision on test is below its target."""
        return " ".join(filter(None, (rung.doubt for rung in self.rungs)))

    def review(self, confidence: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Say why each product is not answered at its category; see `Ruling.review`."""
        if self.passed and self.threshold is None:
            return np.full(len(confidence), UNSURE, object)
        return super().review(confidence, predicted)


def judge_ladder(
    predictions: pa.Table,
    categories: Sequence[str],
    required: Requirement,
    scoring: ProductRule,
    levels: Sequence[tuple[NamedLevel, LevelAnswers]],
    targets: Sequence[Fraction],
) -> LadderRuling:
    """Rule on one backend with a ladder.

    Parameters
    ----------
    predictions : Table
        As for `shelfbench.decision.rule.judge`.
    categories : sequence of str
        Keys that the classifier knows, in the order of its codes.
    required : Requirement
        Its target is that of the category.
    scoring : ProductRule
    levels : sequence of (NamedLevel, LevelAnswers)
        The levels above the category, the finest first, and what the backend says of each product of `predictions`.
    targets : sequence of Fraction
        Of the category and of every level.

    Returns
    -------
    LadderRuling

    Raises
    ------
    InputError
        If a role has no products.
    """
    role = predictions["role"].to_numpy().astype(str)
    for part in ("tune", "certify", "test"):
        if not (role == part).any():
            raise InputError(
                f"the run has no products of the role {part}",
                "give it more products, or data whose split has all parts",
            )
    confidence = confidence_of(predictions, MEASURES[required.measure])
    truth = predictions["category"].to_numpy().astype(str)
    predicted = predictions["predicted"].to_numpy().astype(str)
    right = (predicted == truth) & (confidence > -np.inf)
    tune = role == "tune"
    plain = acceptance(confidence[tune], right[tune], targets[0])
    off: list[str] = []
    if not required.all_categories:
        weak = weak_categories(
            confidence[tune],
            predicted[tune].astype(object),
            right[tune],
            plain.threshold,
            target=targets[0],
            level=required.level,
        )
        off = weak.tolist()
    kept = predictions["rejected"].is_null().to_numpy()
    levels = [(level, said.only(kept)) for level, said in levels]
    answers = rung_answers(np.where(np.isin(predicted, off), -np.inf, confidence), right, truth.tolist(), levels)
    sure = answers.where(role == "certify")
    order = stair(answers.where(tune), len(sure.correct), targets, required.level)
    found = certify_ladder(sure, order, targets, required.level)
    names = [CATEGORY, *(level.name for level, _ in levels)]
    evidence = _evidence(answers, role, found) if found.certified else {}
    verdict, reason, remedy = _explained(found, names, len(off))
    mixes = _mixes(truth, role == "test", answers, found)
    counts = Counter(predicted[(role == "certify") & (answers.rung(found.thresholds) == 0)].tolist())
    rungs = []
    for number, target in enumerate(targets):
        rung = Rung(
            level=names[number],
            target=target,
            threshold=_finite(found.thresholds[number]),
            evidence=evidence.get(number, ()),
            mix=mixes[number],
        )
        rungs.append(_described(rung, *levels[number - 1], categories) if number else rung)
    return LadderRuling(
        verdict=verdict,
        reason=reason,
        remedy=remedy,
        target=targets[0],
        level=required.level,
        measure=required.measure,
        threshold=rungs[0].threshold,
        missing=0 if found.certified else None,
        aggregation=scoring.aggregation,
        temperature=scoring.temperature,
        calibrator=scoring.calibrator,
        categories=tuple(categories),
        off=tuple(off),
        evidence=rungs[0].evidence,
        plain=None,
        mix=mixes[0],
        certified_mix=tuple(counts[key] for key in categories) if np.isfinite(found.thresholds[0]) else None,
        rungs=tuple(rungs),
    )


def _finite(threshold: float) -> float | None:
    return threshold if np.isfinite(threshold) else None


def _described(rung: Rung, level: NamedLevel, said: LevelAnswers, categories: Sequence[str]) -> Rung:
    """Add what is needed to answer at a level."""
    return replace(
        rung,
        temperature=said.temperature,
        groups=tuple(WITHIN.join(place) for place in level.groups),
        names=tuple(place[-1] for place in level.groups),
        members=tuple(int(code) for code in level.codes(categories)),
    )


def _evidence(answers: Answers, role: np.ndarray, found: LadderCertificate) -> dict[int, tuple[Evidence, ...]]:
    """Count what is answered on every rung that is used, in every part."""
    rung = answers.rung(found.thresholds)
    counted = {}
    for number in (number for number, least in enumerate(found.thresholds) if np.isfinite(least)):
        parts = []
        for name in ("tune", "certify", "test"):
            rows = role == name
            taken = rows & (rung == number)
            count, correct = int(taken.sum()), int((taken & answers.correct[:, number]).sum())
            low, high = exact_interval(np.array([correct, count]), np.array([count, rows.sum()]))
            values = dict(
                zip(
                    ("precision_low", "acceptance_low", "precision_high", "acceptance_high"),
                    map(float, (*low, *high)),
                    strict=True,
                )
            )
            parts.append(Evidence(role=name, products=int(rows.sum()), accepted=count, correct=correct, **values))
        counted[number] = tuple(parts)
    return counted


def _mixes(truth: np.ndarray, test: np.ndarray, answers: Answers, found: LadderCertificate) -> list[Mix | None]:
    """Weight what is answered on every rung on test back to the mix of all products."""
    keys, codes = np.unique(truth, return_inverse=True)
    tested = answers.where(test)
    rung, sizes = tested.rung(found.thresholds), np.bincount(codes, minlength=len(keys))
    return [
        weigh_back(codes[test], rung == number, tested.correct[:, number], sizes)
        for number in range(len(found.thresholds))
    ]


def _explained(found: LadderCertificate, names: Sequence[str], off: int) -> tuple[Verdict, str, str]:
    """Return the verdict, its reason, and what would change it."""
    wanted = ", ".join(f"{name} {float(target):.9g}" for name, target in zip(names, found.targets, strict=True))
    level = promise(found.level)
    if found.certified:
        parts = ", ".join(
            f"{percent(count / found.total)} at {name} ({number_of(count, 'product')}, {right:,} of them right)"
            for name, count, right in zip(names, found.accepted, found.correct, strict=True)
            if count
        )
        left = percent(1 - sum(found.accepted) / found.total)
        return (
            Verdict.PASS,
            f"precision on every rung ({wanted}) certified together with probability {level} on {found.total:,} "
            f"labelled products: {parts}; {left} left to a person"
            + (f"; {number_of(off, 'category', 'categories')} switched off" if off else ""),
            "",
        )
    if found.hopeless:
        return (
            Verdict.FAIL,
            f"on none of the settings that {number_of(found.total, 'product')} to certify on can test does every rung "
            f"reach its precision ({wanted}): even the upper bounds are below it",
            f"{BETTER}; more labels alone would not be enough",
        )
    do = "does" if found.total == 1 else "do"
    return (
        Verdict.INCONCLUSIVE,
        f"{number_of(found.total, 'product')} to certify on {do} not certify a precision on every rung ({wanted}) with "
        f"probability {level}, and {do} not rule it out",
        f"more labelled products, or {BETTER}; how many more it would take is not estimated for a ladder",
    )


def frame_of(predictions: pa.Table) -> pd.DataFrame:
    """Return the columns of predictions that `shelfbench.runs.levels.level_answers` reads."""
    return pd.DataFrame({name: predictions[name].to_numpy() for name in ("product_id", "role", "category")})
