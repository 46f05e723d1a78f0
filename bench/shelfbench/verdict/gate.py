"""Whether a newer run is worse than an older one, by more than the choice of test products explains.

For each backend two hypotheses are tested, that its precision and its acceptance have not fallen, one-sided and paired
by product: precision by the exact McNemar test, acceptance by the bootstrap, with the threshold set again on every
resample. Holm's method holds the probability that any of them is rejected although none is worse, below `LEVEL`.

The products of test are the sample; the two trained models are taken as they are. Training again with another seed
makes another model, which may be truly a little better or worse, and discordant products that this test counts as
evidence. `LEVEL` is stricter than the 1 in 20 that the gate promises in order to leave room for that
(tests/simulations/gate.py measures how much it takes).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.verdict.compare import RESAMPLES, Contestant, holm, sorted_alike
from shelfbench.verdict.metrics import REQUIRED, Target, acceptance
from shelfbench.verdict.resampling import replicates

LEVEL = 0.01
"""Of the whole family of tests, if only the choice of products plays."""

_TESTS = 2  # of each backend: precision and acceptance


@dataclass(frozen=True, kw_only=True)
class Change:
    """What has become of one number of a backend.

    Attributes
    ----------
    old, new : float
    value : float
        ``new - old``.
    low, high : float
        Its 95% percentile bootstrap interval.
    least : float
        One-sided lower bound of `value`; those of all changes of a gate hold together with probability 1 - `LEVEL`.
    p : float
        One-sided: small where the new value is lower. NaN where nothing could be lost.
    p_holm : float
        `p`, adjusted for all tests of the gate.
    """

    old: float
    new: float
    value: float
    low: float
    high: float
    least: float
    p: float
    p_holm: float

    @property
    def worse(self) -> bool:
        """Whether it is lower by more than noise."""
        return self.p_holm <= LEVEL


@dataclass(frozen=True, kw_only=True)
class Versions:
    """A backend in two runs, on the same products.

    Attributes
    ----------
    name : str
    products : int
    only_old, only_new : int
        Products on which only the old one, or only the new one is right.
    precision, acceptance : Change
        Acceptance is plain: its threshold is set on these products.
    """

    name: str
    products: int
    only_old: int
    only_new: int
    precision: Change
    acceptance: Change

    @property
    def worse(self) -> bool:
        """Whether one of the two is lower by more than noise."""
        return self.precision.worse or self.acceptance.worse


def gate(
    pairs: Sequence[tuple[Contestant, Contestant]],
    target: Target = REQUIRED,
    *,
    resamples: int | None = None,
    seed: int = 0,
) -> tuple[Versions, ...]:
    """Test whether backends are worse than they were.

    Parameters
    ----------
    pairs : sequence of (Contestant, Contestant)
        Each backend in the old run and in the new one; all on the same products. Thresholds are not used.
    target : float, str or Fraction
        Required precision.
    resamples : int, optional
        How many resamples to draw; by default as many as Holm's strictest step needs, at least 2,000.
    seed : int
        The same seed and products give the same numbers, whatever the order of the rows.

    Returns
    -------
    tuple of Versions
        In the order of the pairs.

    Raises
    ------
    InputError
        If there is no pair, or they do not cover the same products.
    """
    if not pairs:
        raise InputError("no backend to compare", "run the same backends in both runs")
    both = sorted_alike([one for pair in pairs for one in pair])
    confidence = np.stack([one.confidence for one in both])
    correct = np.stack([one.correct & (one.confidence > -np.inf) for one in both])
    products, step = confidence.shape[1], LEVEL / (_TESTS * len(pairs))
    drawn = replicates(confidence, correct, target, resamples=resamples or needed_resamples(len(pairs)), seed=seed)
    only_old = np.count_nonzero(correct[::2] & ~correct[1::2], axis=1)
    only_new = np.count_nonzero(correct[1::2] & ~correct[::2], axis=1)
    precise = correct.mean(axis=1)
    reached = np.array([acceptance(*rows, target).acceptance for rows in zip(confidence, correct, strict=True)])
    p = np.stack([fallen_p(only_old, only_new), resampled_p(drawn.acceptance[1::2] - drawn.acceptance[::2])])
    p[1, reached[::2] == 0] = np.nan  # what accepts nothing cannot accept less
    adjusted = holm(p.ravel()).reshape(p.shape)

    def change(row: int, values: np.ndarray, found: np.ndarray, test: int) -> Change:
        moved = found[2 * row + 1] - found[2 * row]
        low, high, least = np.quantile(moved, [0.025, 0.975, step])
        old, new = float(values[2 * row]), float(values[2 * row + 1])
        own, all_ = float(p[test, row]), float(adjusted[test, row])
        return Change(
            old=old, new=new, value=new - old, low=float(low), high=float(high), least=float(least), p=own, p_holm=all_
        )

    return tuple(
        Versions(
            name=old.name,
            products=products,
            only_old=int(only_old[row]),
            only_new=int(only_new[row]),
            precision=change(row, precise, drawn.precision, 0),
            acceptance=change(row, reached, drawn.acceptance, 1),
        )
        for row, (old, _) in enumerate(pairs)
    )


def needed_resamples(backends: int) -> int:
    """Compute how many resamples let a p value pass Holm's strictest step.

    Parameters
    ----------
    backends : int

    Returns
    -------
    int
        At least 2,000; the smallest possible p value is then a fifth below that step.
    """
    return max(RESAMPLES, math.ceil(1.25 * _TESTS * backends / LEVEL))


def can_fail(products: int, backends: int) -> bool:
    """Tell whether the gate could shut at all: whether a backend that loses every product would be found.

    Parameters
    ----------
    products : int
        Of test, all of them right in the old run.
    backends : int

    Returns
    -------
    bool
    """
    return products > 0 and -products * math.log(2) <= math.log(LEVEL / (_TESTS * backends))


def fallen_p(only_old: np.ndarray, only_new: np.ndarray) -> np.ndarray:
    """Compute exact one-sided p values of McNemar's test.

    Parameters
    ----------
    only_old : ndarray of int
        Products on which only the old one is right.
    only_new : ndarray of int
        Products on which only the new one is right.

    Returns
    -------
    ndarray of float64
        The probability that a fair coin gives the old one at least as many of them; 1 where there are none.
    """
    from scipy.stats import binom

    only_old, only_new = np.asarray(only_old), np.asarray(only_new)
    return np.asarray(binom.sf(only_old - 1, only_old + only_new, 0.5), dtype=np.float64)


def resampled_p(differences: np.ndarray) -> np.ndarray:
    """Compute one-sided p values by inverting the percentile interval.

    Parameters
    ----------
    differences : ndarray of float64, shape (..., resamples)
        New minus old, on each resample.

    Returns
    -------
    ndarray of float64, shape (...)
        At least ``1 / (resamples + 1)``; 1 where the two are equal on all resamples.
    """
    return np.asarray((1 + np.count_nonzero(differences >= 0, axis=-1)) / (differences.shape[-1] + 1))
