"""A ladder of answers: the category, else a level above it, else a person, with one promise for all rungs.

A *setting* gives each rung a threshold: a product is answered at the first rung, the finest first, on which it is sure
enough. A setting keeps the promise if, on every rung, the required share of the products answered there is right. Only
one setting is put to use, so a setting is tested as a whole, each rung at the full level: where the promise is broken,
some rung is too weak, and that rung passes its exact binomial test with at most the probability that the level leaves
(an intersection-union test; Berger, 1982). Settings are tested in a fixed order until one fails (fixed sequence;
Maurer, Hothorn and Lehmacher, 1995), so any number of rungs and of settings costs nothing of the level.

The order, the stair, comes from other products alone (`stair`): of all settings on the lattice of thresholds it holds
those that no other one surpasses both in how surely they will pass and in how much they answer, the safest first. What
other joint tests give is in docs/ladder.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.verdict.certify import coverage_grid
from shelfbench.verdict.walk import binomial_tail

# Thresholds of the rungs, the finest first, before they are reduced to fit into a lattice of so many settings.
_THRESHOLDS = (150, 60, 30, 15)
_SETTINGS = 30_000
_FEWEST = 3
# Up to so many products, the errors that a test lets pass are counted out; above, they are interpolated.
_COUNTED = 4096
# A step of the stair answers at least this much more than the one before: a test for less is not worth its risk.
_STEP = 0.002
# How much more the chance of failing on an upper rung counts in the order. What such a rung answers changes with every
# threshold of the rungs below it, so that its tests repeat each other less than those of the first rung do. Settled on
# invented shops (tests/simulations/ladder.py).
_UPPER = 2.0


@dataclass(frozen=True, eq=False)
class Answers:
    """What a classifier would answer for some products on every rung, the finest first.

    Attributes
    ----------
    confidence : ndarray of float64, shape (n, rungs)
        The larger, the surer; -inf where it has no answer.
    correct : ndarray of bool, shape (n, rungs)
        Whether the answer is right.
    """

    confidence: np.ndarray
    correct: np.ndarray

    def where(self, mask: np.ndarray) -> Answers:
        """Keep the products selected by a mask."""
        return Answers(self.confidence[mask], self.correct[mask])

    def rung(self, thresholds: Sequence[float]) -> np.ndarray:
        """Find the rung on which each product is answered.

        Parameters
        ----------
        thresholds : sequence of float
            The least confidence of each rung; +inf for one that is not used.

        Returns
        -------
        ndarray of int64, shape (n,)
            The number of the rung; the number of rungs for products that go to a person.
        """
        sure = (self.confidence >= np.asarray(thresholds)) & (self.confidence > -np.inf)
        found: np.ndarray = np.append(sure, np.ones((len(sure), 1), bool), axis=1).argmax(axis=1)
        return found


@dataclass(frozen=True, eq=False)
class Stair:
    """The settings to test, in order.

    Attributes
    ----------
    grids : tuple of ndarray of float64
        Decreasing thresholds of every rung.
    steps : ndarray of int64, shape (steps, rungs)
        How many thresholds of each rung a setting has let pass: it uses the last of them, and with 0 it does not use
        the rung.
    """

    grids: tuple[np.ndarray, ...]
    steps: np.ndarray

    def thresholds(self, step: int) -> tuple[float, ...]:
        """Return the threshold of every rung at a step; +inf for a rung that it does not use."""
        return tuple(
            float(grid[used - 1]) if used else float("inf")
            for grid, used in zip(self.grids, self.steps[step], strict=True)
        )


@dataclass(frozen=True, kw_only=True)
class LadderCertificate:
    """What can be promised about a ladder.

    Attributes
    ----------
    targets : tuple of Fraction
        The promised precision of every rung, the finest first.
    level : float
        Probability, over the drawing of the labelled products, with which all rungs keep theirs.
    thresholds : tuple of float
        Of every rung; +inf for one that is not used.
    accepted, correct : tuple of int
        Labelled products answered on every rung, and how many of them are right.
    total : int
        All labelled products.
    hopeless : bool
        Whether no step passed and, at every one of them, even the upper bound of some rung's precision is below its
        target.
    """

    targets: tuple[Fraction, ...]
    level: float
    thresholds: tuple[float, ...]
    accepted: tuple[int, ...]
    correct: tuple[int, ...]
    total: int
    hopeless: bool

    @property
    def certified(self) -> bool:
        """Whether any rung is used."""
        return any(self.accepted)


def worth(rungs: int) -> np.ndarray:
    """Say what an answer is worth on every rung, the finest first.

    Parameters
    ----------
    rungs : int

    Returns
    -------
    ndarray of float64, shape (rungs,)
        1 for a category; each level above it leaves a person one more step, in equal parts: 1/2 for a department where
        there are two rungs.
    """
    return np.arange(rungs, 0, -1) / rungs


def stair(tune: Answers, products: int, targets: Sequence[Fraction], level: float = 0.95) -> Stair:
    """Choose the settings to test, and their order.

    Parameters
    ----------
    tune : Answers
        Of products other than those that certify.
    products : int
        How many products there are to certify on.
    targets : sequence of Fraction
        Required precision of every rung.
    level : float

    Returns
    -------
    Stair
        The likeliest to pass first, each answering more than the one before; empty if nothing can pass.

    Raises
    ------
    InputError
        If there is no product, or a confidence is NaN.
    """
    rungs = len(targets)
    sizes = _sizes(rungs)
    grids = tuple(coverage_grid(tune.confidence[:, rung], int(sizes[rung])) for rung in range(rungs))
    shape = tuple(len(grid) + 1 for grid in grids)
    chance, gain = np.zeros(shape), np.zeros(shape)
    codes = _codes(tune, grids)
    for rung, target in enumerate(targets):
        accepted, hits = _lattice(codes[: rung + 1], tune.correct[:, rung], shape[: rung + 1])
        likely = _log_power(accepted, accepted - hits, products / len(tune.correct), target, level)
        likely[..., 0] = 0.0  # a rung that is not used breaks no promise
        wide = (...,) + (None,) * (rungs - rung - 1)
        chance = chance + likely[wide] * (_UPPER if rung else 1.0)
        gain = gain + worth(rungs)[rung] * accepted[wide] / len(tune.correct)
    chance, gain = chance.ravel(), gain.ravel()
    possible = np.flatnonzero((chance > -np.inf) & (gain > 0))
    order = possible[np.lexsort((-gain[possible], -chance[possible]))]
    reached = 0.0
    chosen: list[int] = []
    highest = np.maximum.accumulate(gain[order])
    for at in order[np.append(True, highest[1:] > highest[:-1])[: len(order)]]:
        if not chosen or gain[at] >= reached + _STEP:
            reached = gain[at]
            chosen.append(int(at))
    steps = np.array(np.unravel_index(np.array(chosen, np.int64), shape)).T.reshape(-1, rungs)
    return Stair(grids, steps)


def certify_ladder(
    certify: Answers, order: Stair, targets: Sequence[Fraction], level: float = 0.95
) -> LadderCertificate:
    """Go down the stair while every rung of a setting passes its test.

    Parameters
    ----------
    certify : Answers
        Of the labelled products that certify, and of no others.
    order : Stair
        Made without these products.
    targets : sequence of Fraction
        Required precision of every rung.
    level : float
        Probability with which all rungs keep theirs.

    Returns
    -------
    LadderCertificate
        The last setting that passed, or that none did.

    Raises
    ------
    InputError
        If there is no product, a confidence is NaN, or targets and level are not between 0 and 1.
    """
    if not len(certify.correct):
        raise InputError("no products to certify on", "label some products, or use a larger validation part")
    if np.isnan(certify.confidence).any():
        raise InputError("the confidence of a product is NaN", "a rejected product has the confidence -inf")
    if not all(0 < target < 1 for target in targets) or not 0 < level < 1:
        raise InputError(f"a ladder at a confidence of {level} cannot be certified", "give numbers between 0 and 1")
    free = np.ones((len(order.steps), len(certify.correct)), bool)
    passes, below = np.ones(len(order.steps), bool), np.zeros(len(order.steps), bool)
    accepted, correct = np.zeros_like(order.steps), np.zeros_like(order.steps)
    for rung, (code, target) in enumerate(zip(_codes(certify, order.grids), targets, strict=True)):
        taken = free & (code < order.steps[:, rung, None])
        free &= ~taken
        count, hits = taken.sum(axis=1), (taken & certify.correct[:, rung]).sum(axis=1)
        accepted[:, rung], correct[:, rung] = count, hits
        used = order.steps[:, rung] > 0
        enough = (binomial_tail(count - hits, count, float(1 - target)) <= 1 - level) & (count > 0)
        passes &= enough | ~used
        below |= used & (count > 0) & (binomial_tail(hits, count, float(target)) <= 1 - level)
    passed = int(np.append(passes, False).argmin())
    none = (0,) * len(targets)
    return LadderCertificate(
        targets=tuple(targets),
        level=level,
        thresholds=order.thresholds(passed - 1) if passed else (float("inf"),) * len(targets),
        accepted=tuple(map(int, accepted[passed - 1])) if passed else none,
        correct=tuple(map(int, correct[passed - 1])) if passed else none,
        total=len(certify.correct),
        hopeless=bool(not passed and len(below) and below.all()),
    )


def _sizes(rungs: int) -> np.ndarray:
    """Say how many thresholds each rung has, so that the lattice stays small."""
    sizes = np.array([*_THRESHOLDS, *[8] * rungs][:rungs], float)
    found: np.ndarray = np.maximum(sizes * min(1.0, (_SETTINGS / sizes.prod()) ** (1 / rungs)), _FEWEST).astype(int)
    return found


def _codes(answers: Answers, grids: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Count the thresholds of each rung that a product is below: a rung takes it if it lets more of them pass."""
    return [
        len(grid) - np.searchsorted(grid[::-1], answers.confidence[:, rung], side="right")
        for rung, grid in enumerate(grids)
    ]


def _lattice(codes: Sequence[np.ndarray], correct: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Count the products that the last of these rungs answers, and the right ones, for every setting of the lattice."""
    place = np.ravel_multi_index(tuple(codes), shape)
    found = []
    for rows in (place, place[correct]):
        counts = np.bincount(rows, minlength=int(np.prod(shape))).reshape(shape)
        for axis in range(len(shape)):
            below = np.cumsum(counts, axis=axis) - counts  # products with a smaller code, which the rung takes
            counts = below if axis == len(shape) - 1 else counts.sum(axis=axis, keepdims=True) - below
        found.append(counts)
    return found[0], found[1]


def _log_power(accepted: np.ndarray, errors: np.ndarray, ratio: float, target: Fraction, level: float) -> np.ndarray:
    """Predict how likely a rung passes on the products that certify: the logarithm of a normal approximation.

    The precision is drawn towards one half, as if one more right and one more wrong product had been seen; both the
    products seen and those to come vary.
    """
    from scipy.special import log_ndtr

    count = accepted * ratio
    allowed = _allowed(int(count.max(initial=0)), target, level)
    room = np.interp(count, *allowed)
    rate = (errors + 1) / (accepted + 2)
    spread = np.sqrt(np.maximum(count * rate * (1 - rate) * (1 + ratio), 1e-12))
    possible = np.interp(np.floor(count), *allowed) >= 0
    return np.where(possible, log_ndtr((room + 0.5 - count * rate) / spread), -np.inf)


@lru_cache(maxsize=16)
def _allowed(largest: int, target: Fraction, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Find the largest number of errors with which a test passes, by the number of products; -1 where none does."""
    counts = np.arange(min(largest + 1, _COUNTED) + 1)
    if largest >= _COUNTED:
        counts = np.append(counts, np.geomspace(_COUNTED + 1, largest + 2, 400).round())
    low, high = np.full(len(counts), -1.0), counts.astype(float)
    while np.any(low < high):
        middle = np.ceil((low + high) / 2)
        passes = (binomial_tail(middle, counts, float(1 - target)) <= 1 - level) & (counts > 0)
        low, high = np.where(passes, middle, low), np.where(passes, high, middle - 1)
    return counts.astype(float), low
