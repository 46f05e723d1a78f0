"""What a classifier says about the levels above the category: the summed probability of a level's categories.

Each photo's probabilities are raised to a power of 1 / temperature and summed over the categories of every group (a
department, say); a product has the mean over its photos. The temperature of a level is its own, chosen on `tune`: what
is best for one category out of many is not what is best for a sum of them. Of a photo, the scores that a run keeps are
used: the 100 best categories, and the rest as if it were spread evenly over all others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shelfbench.verdict.predictions import ImageScores
from shelfbench.verdict.temperature import row_blocks

BOUNDS = (0.05, 20.0)
# Photos that the temperature is chosen on, at most.
_PHOTOS = 20_000


@dataclass(frozen=True, eq=False)
class Level:
    """A level above the category.

    Attributes
    ----------
    groups : ndarray of int64, shape (classes,)
        Group of each category that the classifier knows; -1 for one that has no such level.
    count : int
        Number of groups.
    """

    groups: np.ndarray
    count: int


@dataclass(frozen=True, eq=False)
class Photos:
    """The scores of some photos, and whose they are.

    Attributes
    ----------
    scores : ImageScores
    owner : ndarray of int64, shape (photos,)
        Row of each photo's product; the photos of a product are next to each other.
    """

    scores: ImageScores
    owner: np.ndarray

    def where(self, kept: np.ndarray) -> Photos:
        """Keep some photos."""
        scores = self.scores
        return Photos(
            ImageScores(scores.codes[kept], scores.log_probabilities[kept], scores.log_rest[kept]), self.owner[kept]
        )


def group_answers(photos: Photos, level: Level, temperature: float, products: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the likeliest group of every product.

    Parameters
    ----------
    photos : Photos
        Sorted by product.
    level : Level
    temperature : float
    products : int
        Number of products, with or without photos.

    Returns
    -------
    group : ndarray of int64, shape (products,)
        -1 where no photo can be read.
    confidence : ndarray of float64, shape (products,)
        Log-probability of that group; -inf where no photo can be read.
    """
    group, confidence = np.full(products, -1, np.int64), np.full(products, -np.inf)
    if not level.count:
        return group, confidence
    for part in _whole_products(photos.owner, level.count):
        owner, starts = np.unique(photos.owner[part], return_index=True)
        counts = np.diff(np.append(starts, part.stop - part.start))
        sums = np.add.reduceat(_sums(photos.scores, part, level, temperature), starts, axis=0) / counts[:, None]
        best = sums.argmax(axis=1)
        mass = sums[np.arange(len(best)), best]
        with np.errstate(divide="ignore"):
            logarithm = np.minimum(np.log(mass), 0.0)
        group[owner], confidence[owner] = np.where(mass > 0, best, -1), logarithm
    return group, confidence


def fit_level(photos: Photos, level: Level, truth: np.ndarray) -> float:
    """Find the temperature that makes the true groups most likely.

    A prior holds it near 1 (its logarithm is normal with a deviation of 1): a few products, all of them right, cannot
    drive every confidence to 1.

    Parameters
    ----------
    photos : Photos
        Of the products of `tune`, sorted by product.
    level : Level
    truth : ndarray of int64, shape (products,)
        Their true groups; -1 where there is none.

    Returns
    -------
    float
        From 0.05 to 20; 1 where there is nothing to learn from.
    """
    from scipy.optimize import minimize_scalar

    kept = np.flatnonzero(truth[photos.owner] >= 0)
    if len(kept) > _PHOTOS:  # evenly over all of them
        kept = kept[np.linspace(0, len(kept) - 1, _PHOTOS).astype(np.int64)]
    if not len(kept) or level.count < 2:
        return 1.0
    used = photos.where(kept)
    own = level.groups[used.scores.codes] == truth[used.owner][:, None]

    def loss(log_temperature: float) -> float:
        temperature = math.exp(log_temperature)
        total = 0.5 * log_temperature**2
        for part in row_blocks(used.scores.codes.shape):
            weight, normaliser = _weights(used.scores, part, len(level.groups), temperature)
            mass = np.where(own[part], weight, 0).sum(axis=1) / normaliser
            # what the kept scores give no chance at all is as wrong as can be, at any temperature
            total -= float(np.log(np.maximum(mass, 1e-12)).sum())
        return total

    low, high = (math.log(value) for value in BOUNDS)
    return math.exp(float(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-3}).x))


def _whole_products(owner: np.ndarray, width: int) -> Iterator[slice]:
    """Cut photos into blocks of bounded size that end where a product does."""
    start = 0
    for rows in row_blocks((len(owner), width)):
        if rows.stop <= start:
            continue
        stop = int(np.searchsorted(owner, owner[rows.stop - 1], side="right"))
        yield slice(start, stop)
        start = stop


def _weights(scores: ImageScores, part: slice, classes: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the powers of the best probabilities of each photo, and the sum over all categories."""
    best = scores.log_probabilities[part].astype(np.float64) / temperature
    others = classes - scores.codes.shape[1]
    rest = scores.log_rest[part].astype(np.float64)
    rest = math.log(max(others, 1)) + (rest - math.log(max(others, 1))) / temperature if others else rest - np.inf
    top = np.maximum(best.max(axis=1), rest)
    top = np.where(top > -np.inf, top, 0.0)
    weight = np.exp(best - top[:, None])
    return weight, np.maximum(weight.sum(axis=1) + np.exp(rest - top), np.finfo(float).tiny)


def _sums(scores: ImageScores, part: slice, level: Level, temperature: float) -> np.ndarray:
    """Sum the probabilities of every group, for the photos of one block."""
    weight, normaliser = _weights(scores, part, len(level.groups), temperature)
    groups = level.groups[scores.codes[part]]
    rows = np.broadcast_to(np.arange(len(groups))[:, None], groups.shape)
    known = groups >= 0
    flat = rows[known] * level.count + groups[known]
    summed = np.bincount(flat, weights=weight[known], minlength=len(groups) * level.count)
    found: np.ndarray = summed.reshape(len(groups), level.count) / normaliser[:, None]
    return found
