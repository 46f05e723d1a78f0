"""Bootstrap replicates of precision and acceptance, of one backend or of several on the same resamples."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from bench.errors import InputError
from bench.verdict.metrics import Target, exact_target

# Counts held at a time: 64 MiB of int16.
_HELD = 1 << 25
_TOGETHER = 64
_LENGTH = 256


@dataclass(frozen=True, eq=False)
class Replicates:
    """Precision and acceptance on every resample.

    Attributes
    ----------
    precision, acceptance : ndarray of float64, shape (backends, resamples)
        Column i of every backend rests on the same resample of the products.
    """

    precision: np.ndarray
    acceptance: np.ndarray


def replicates(
    confidence: np.ndarray, correct: np.ndarray, target: Target = "0.9", *, resamples: int = 1000, seed: int = 0
) -> Replicates:
    """Resample the products with replacement; the threshold is chosen anew on every resample.

    Parameters
    ----------
    confidence : ndarray of float64, shape (backends, n)
        Column i of every backend is the same product; -inf where it was rejected.
    correct : ndarray of bool, shape (backends, n)
    target : float, str or Fraction
        Required precision.
    resamples : int
    seed : int
        Fixes the resamples, whatever the number of backends.

    Returns
    -------
    Replicates
        What `precision` and `acceptance` of `bench.verdict.metrics` give on each resample, exactly.

    Raises
    ------
    InputError
        If shapes differ, there is no product, or a confidence is NaN.

    Notes
    -----
    A resample is a vector of counts by product, shared by all backends. With the score q - p for a right product and
    -p for a wrong one, a cut meets p/q where the scores up to it add up to at least 0. Each backend's products are
    sorted once and cut into blocks; one sparse product gives the right and the wrong of every block on many resamples
    at once. Only a block that starts no deeper below 0 than its right products can lift it may hold the last feasible
    cut: those are searched row by row from the loosest on, as a rule one block a resample.
    """
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=bool)
    if confidence.shape != correct.shape or confidence.ndim != 2:
        raise InputError(
            f"confidence has shape {confidence.shape} and correct {correct.shape}", "give one row a backend in each"
        )
    if not confidence.size or np.isnan(confidence).any():
        raise InputError(
            "no rows to resample" if not confidence.size else "a confidence is NaN",
            "a rejected row has the confidence -inf",
        )
    wanted, rows = exact_target(target), confidence.shape[1]
    backends = [_Blocks.of(*pair) for pair in zip(confidence, correct, strict=True)]
    found = Replicates(np.empty((len(backends), resamples)), np.empty((len(backends), resamples)))
    rng = np.random.default_rng(seed)
    together = max(1, min(_TOGETHER, _HELD // rows))
    for start in range(0, resamples, together):
        counts = _counts(rng, rows, min(together, resamples - start))
        part = slice(start, start + counts.shape[1])
        for number, blocks in enumerate(backends):
            right, accepted = blocks.evaluate(counts, wanted)
            found.precision[number, part] = right / rows
            found.acceptance[number, part] = accepted / rows
    return found


def _counts(rng: np.random.Generator, rows: int, count: int) -> np.ndarray:
    """How often each product was drawn, int16, shape (rows + 1, count); the last row is 0, for padding."""
    drawn = np.zeros((count, rows + 1), np.int16)
    for line in drawn:
        line[:rows] = np.bincount(rng.integers(0, rows, size=rows), minlength=rows)
    return np.ascontiguousarray(drawn.T)


@dataclass(frozen=True, eq=False)
class _Blocks:
    """A backend's products by falling confidence, in blocks of equal length.

    Attributes
    ----------
    product : ndarray of int64, shape (blocks, length)
        Padded with `n`.
    right, cut : ndarray of bool, shape (blocks, length)
        Whether the product is right; whether a threshold may fall behind it.
    members : csr_array of int16, shape (2 blocks, n + 1)
        Row 2 b sums the counts of the wrong products of block b, row 2 b + 1 those of the right ones.
    """

    product: np.ndarray
    right: np.ndarray
    cut: np.ndarray
    members: Any

    @classmethod
    def of(cls, confidence: np.ndarray, correct: np.ndarray) -> _Blocks:
        from scipy.sparse import csr_array

        rows = len(confidence)
        order = np.argsort(-confidence, kind="stable")
        ordered = confidence[order]
        number = -(-rows // _LENGTH)
        product = np.full(number * _LENGTH, rows)
        right, cut = np.zeros(number * _LENGTH, bool), np.zeros(number * _LENGTH, bool)
        product[:rows] = order
        right[:rows] = correct[order] & (ordered > -np.inf)
        cut[:rows] = np.append(ordered[1:] != ordered[:-1], True) & (ordered > -np.inf)
        cell = 2 * (np.arange(rows) // _LENGTH) + right[:rows]
        bounds = np.append(0, np.cumsum(np.bincount(cell, minlength=2 * number)))
        # int16 is enough for the sum of a block, and a quarter of the traffic
        members = csr_array(
            (np.ones(rows, np.int16), order[np.argsort(cell, kind="stable")], bounds), shape=(2 * number, rows + 1)
        )
        shape = (number, _LENGTH)
        return cls(product.reshape(shape), right.reshape(shape), cut.reshape(shape), members)

    def evaluate(self, counts: np.ndarray, target: Fraction) -> tuple[np.ndarray, np.ndarray]:
        """Right products in all, and products accepted, on every resample; int64, shape (resamples,)."""
        q, p = target.denominator, target.numerator
        sums = (self.members @ counts).astype(np.int64).reshape(len(self.product), 2, -1)
        wrong, right = sums[:, 0], sums[:, 1]
        score = _before((q - p) * right - p * wrong)
        accepted = _before(right + wrong)
        possible: np.ndarray = np.asarray(score + (q - p) * right >= 0) & self.cut.any(axis=1, keepdims=True)
        found = np.zeros(counts.shape[1], np.int64)
        left = np.flatnonzero(possible.any(axis=0))
        while len(left):
            block = len(possible) - 1 - possible[::-1, left].argmax(axis=0)
            drawn = counts[self.product[block], left[:, None]].astype(np.int64)
            inside = score[block, left][:, None] + np.cumsum(drawn * (q * self.right[block] - p), axis=1)
            feasible = (inside >= 0) & self.cut[block]
            depth = accepted[block, left][:, None] + np.cumsum(drawn, axis=1)
            found[left] = np.max(depth, axis=1, where=feasible, initial=0)
            possible[block, left] = False
            left = left[~feasible.any(axis=1) & possible[:, left].any(axis=0)]
        return right.sum(axis=0), found


def _before(steps: np.ndarray) -> np.ndarray:
    """Sum of all earlier rows."""
    sums = np.zeros_like(steps)
    np.cumsum(steps[:-1], axis=0, out=sums[1:])
    return sums
