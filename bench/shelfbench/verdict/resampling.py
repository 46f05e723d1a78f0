"""Bootstrap replicates of precision and acceptance, for one backend or for several on the same resamples."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from typing import Any

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.base.processor import cores
from shelfbench.verdict.metrics import Target, exact_target

# Counts held in memory at a time: 64 MiB of int16.
_HELD = 1 << 25
_TOGETHER = 64
_LENGTH = 256

# Called with a block for each of some resamples: how often each product of it was drawn, shape (resamples, length).
Drawn = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Replicates:
    """Precision and acceptance on every resample.

    Attributes
    ----------
    precision : ndarray of float64, shape (backends, resamples)
        Precision over all products; column i is the same resample for every backend.
    acceptance : ndarray of float64, shape (backends, resamples)
        Acceptance at the required precision, in the same order.
    """

    precision: np.ndarray
    acceptance: np.ndarray


def replicates(
    confidence: np.ndarray, correct: np.ndarray, target: Target = "0.9", *, resamples: int = 1000, seed: int = 0
) -> Replicates:
    """Resample the products with replacement and set the threshold again on every resample.

    Parameters
    ----------
    confidence : ndarray of float64, shape (backends, n)
        Column i is the same product for every backend; -inf where it was rejected.
    correct : ndarray of bool, shape (backends, n)
        Whether the prediction is right.
    target : float, str or Fraction
        Required precision.
    resamples : int
        How many resamples to draw.
    seed : int
        Fixes the resamples, whatever the number of backends.

    Returns
    -------
    Replicates
        Exactly what `precision` and `acceptance` of `shelfbench.verdict.metrics` return on each resample.

    Raises
    ------
    InputError
        If shapes differ, there is no product, or a confidence is NaN.

    Notes
    -----
    A resample is a vector of counts by product, shared by all backends. Give a right product the score q - p and a
    wrong one -p: a cut meets p/q where the scores up to it add up to at least 0. Each backend's products are sorted
    once and cut into blocks; one sparse product counts the right and the wrong products of every block on many
    resamples at once. The last feasible cut can lie only in a block that starts no further below 0 than its right
    products can make up for. Those blocks are searched row by row, the loosest first; as a rule, that is one block per
    resample.
    """
    confidence, correct = _checked(confidence, correct, 2)
    wanted, rows = exact_target(target), confidence.shape[1]
    backends = [_Blocks.of(*pair, _LENGTH) for pair in zip(confidence, correct, strict=True)]
    found = Replicates(np.empty((len(backends), resamples)), np.empty((len(backends), resamples)))
    rng = np.random.default_rng(seed)
    together = max(1, min(_TOGETHER, _HELD // rows))
    parts = [slice(start, min(start + together, resamples)) for start in range(0, resamples, together)]

    def draw(part: slice) -> np.ndarray:
        return _counts(rng, rows, part.stop - part.start)

    # NumPy and SciPy release the GIL; one thread draws what the others need next
    with ThreadPoolExecutor(1) as drawing, ThreadPoolExecutor(cores()) as pool:
        coming = [drawing.submit(draw, part) for part in parts[:1]]
        for number, part in enumerate(parts):
            counts = coming.pop().result()
            coming = [drawing.submit(draw, following) for following in parts[number + 1 : number + 2]]
            evaluated = pool.map(lambda blocks, counts=counts: blocks.evaluate(counts, wanted), backends)
            for backend, (right, accepted) in enumerate(evaluated):
                found.precision[backend, part] = right / rows
                found.acceptance[backend, part] = accepted / rows
    return found


def replicates_alone(
    confidence: np.ndarray, correct: np.ndarray, target: Target = "0.9", *, resamples: int = 1000, seed: int = 0
) -> Replicates:
    """Resample the products of one backend: the same distribution as `replicates`, but far faster.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        -inf where the product was rejected.
    correct : ndarray of bool, shape (n,)
        Whether the prediction is right.
    target : float, str or Fraction
        Required precision.
    resamples : int
        How many resamples to draw.
    seed : int
        Fixes the resamples.

    Returns
    -------
    Replicates
        With one row.

    Raises
    ------
    InputError
        If shapes differ, there is no product, or a confidence is NaN.

    Notes
    -----
    How often the right and the wrong products of each block are drawn is multinomial; given that, how often each single
    product is drawn is multinomial again, and independent of the other blocks. So a resample is drawn in two steps, and
    the second, by product, only for the blocks that are searched: with about sqrt(n) blocks of sqrt(n) products, a
    resample costs about sqrt(n).
    """
    confidence, correct = _checked(confidence, correct, 1)
    wanted, rows = exact_target(target), len(confidence)
    blocks = _Blocks.of(confidence, correct, 1 << max(5, math.isqrt(rows).bit_length()))
    rng = np.random.default_rng(seed)
    found = Replicates(np.empty((1, resamples)), np.empty((1, resamples)))
    together = max(1, _HELD // (8 * sum(blocks.product.shape)))
    for start in range(0, resamples, together):
        part = slice(start, min(start + together, resamples))
        sums = rng.multinomial(rows, blocks.sizes / rows, size=part.stop - start).T
        right, accepted = blocks.search(sums, wanted, partial(blocks.draw, rng, sums))
        found.precision[0, part], found.acceptance[0, part] = right / rows, accepted / rows
    return found


def _checked(confidence: np.ndarray, correct: np.ndarray, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=bool)
    if confidence.shape != correct.shape or confidence.ndim != dimensions:
        raise InputError(
            f"confidence has shape {confidence.shape} and correct {correct.shape}", "give one row per backend in each"
        )
    if not confidence.size or np.isnan(confidence).any():
        raise InputError(
            "no rows to resample" if not confidence.size else "a confidence is NaN",
            "a rejected row has the confidence -inf",
        )
    return confidence, correct


def _counts(rng: np.random.Generator, rows: int, count: int) -> np.ndarray:
    """Draw `count` resamples: how often each product was drawn, int16, shape (rows + 1, count); the last row is 0."""
    drawn = np.zeros((count, rows + 1), np.int16)
    for line in drawn:
        line[:rows] = np.bincount(rng.integers(0, rows, size=rows), minlength=rows)
    return np.ascontiguousarray(drawn.T)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Blocks:
    """A backend's products by descending confidence, in blocks of equal length.

    Attributes
    ----------
    product : ndarray of int64, shape (blocks, length)
        Padded with `n`.
    right : ndarray of bool, shape (blocks, length)
        Whether the product is right.
    cut : ndarray of bool, shape (blocks, length)
        Whether a threshold may fall right after the product.
    cell : ndarray of int64, shape (n,)
        For each product, in order of confidence: 2 b + 1 if it is right and in block b, 2 b if it is wrong.
    sizes : ndarray of int64, shape (2 blocks,)
        Products of each cell.
    """

    product: np.ndarray
    right: np.ndarray
    cut: np.ndarray
    cell: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, confidence: np.ndarray, correct: np.ndarray, length: int) -> _Blocks:
        rows = len(confidence)
        order = np.argsort(-confidence, kind="stable")
        ordered = confidence[order]
        number = -(-rows // length)
        product = np.full(number * length, rows)
        right, cut = np.zeros(number * length, bool), np.zeros(number * length, bool)
        product[:rows] = order
        right[:rows] = correct[order] & (ordered > -np.inf)
        cut[:rows] = np.append(ordered[1:] != ordered[:-1], True) & (ordered > -np.inf)
        cell = 2 * (np.arange(rows) // length) + right[:rows]
        shape = (number, length)
        sizes = np.bincount(cell, minlength=2 * number)
        return cls(
            product=product.reshape(shape), right=right.reshape(shape), cut=cut.reshape(shape), cell=cell, sizes=sizes
        )

    @cached_property
    def members(self) -> Any:
        """A csr_array of int16, shape (2 blocks, n + 1), whose rows add up the counts of the products of a cell."""
        from scipy.sparse import csr_array

        rows = len(self.cell)
        bounds = np.append(0, np.cumsum(self.sizes))
        order = self.product.ravel()[:rows]
        # int16 is enough for the sum over a block, with a quarter of the memory traffic
        return csr_array(
            (np.ones(rows, np.int16), order[self._order], bounds),
            shape=(len(self.sizes), rows + 1),
        )

    def evaluate(self, counts: np.ndarray, target: Fraction) -> tuple[np.ndarray, np.ndarray]:
        """Count the right products and the accepted ones on every resample; int64, shape (resamples,)."""
        sums = (self.members @ counts).astype(np.int64)
        return self.search(
            sums, target, lambda block, column: counts[self.product[block], column[:, None]].astype(np.int64)
        )

    def search(self, sums: np.ndarray, target: Fraction, drawn_in: Drawn) -> tuple[np.ndarray, np.ndarray]:
        """Count the same from how often each cell was drawn; `drawn_in` returns the draws of a block by product."""
        q, p = target.denominator, target.numerator
        wrong, right = sums[::2], sums[1::2]
        score = _before((q - p) * right - p * wrong)
        accepted = _before(right + wrong)
        possible: np.ndarray = np.asarray(score + (q - p) * right >= 0) & self.cut.any(axis=1, keepdims=True)
        found = np.zeros(sums.shape[1], np.int64)
        left = np.flatnonzero(possible.any(axis=0))
        while len(left):
            block = len(possible) - 1 - possible[::-1, left].argmax(axis=0)
            drawn = drawn_in(block, left)
            inside = score[block, left][:, None] + np.cumsum(drawn * (q * self.right[block] - p), axis=1)
            feasible = (inside >= 0) & self.cut[block]
            depth = accepted[block, left][:, None] + np.cumsum(drawn, axis=1)
            found[left] = np.max(depth, axis=1, where=feasible, initial=0)
            possible[block, left] = False
            left = left[~feasible.any(axis=1) & possible[:, left].any(axis=0)]
        return right.sum(axis=0), found

    def draw(self, rng: np.random.Generator, sums: np.ndarray, block: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Spread the draws of one block of each resample `column` over its products, int64, (resamples, length)."""
        length = self.product.shape[1]
        counts = np.zeros((len(block), length), np.int64)
        for right in (False, True):
            cell = 2 * block + right
            times, size = sums[cell, column], self.sizes[cell]
            resample = np.repeat(np.arange(len(block)), times)
            place = rng.integers(0, size[resample])  # which of the right, or wrong, products of the block
            # sorted by cell, the products keep the order of their block
            where = self._order[self._starts[cell[resample]] + place] % length
            counts += np.bincount(resample * length + where, minlength=counts.size).reshape(counts.shape)
        return counts

    @cached_property
    def _order(self) -> np.ndarray:
        """Places in the order of confidence, by cell."""
        return np.argsort(self.cell, kind="stable")

    @cached_property
    def _starts(self) -> np.ndarray:
        found: np.ndarray = np.cumsum(self.sizes) - self.sizes
        return found


def _before(steps: np.ndarray) -> np.ndarray:
    """Add up all earlier rows."""
    sums = np.zeros_like(steps)
    np.cumsum(steps[:-1], axis=0, out=sums[1:])
    return sums
