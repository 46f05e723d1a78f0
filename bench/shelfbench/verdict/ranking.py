"""Rankings: mean average precision of the best 100 (X, §4.1 and Table 2), and the place of the true class.

X evaluates on FastEval14k, 14,000 images with 36.5 labels each, by the "mean average precision for top 100
predictions (MAP@100)", in which each class is weighted by how common it is. X states no formula; ours is:

- An image predicts its `k` classes with the highest scores; of equal scores, the lower code comes first.
- A class ranks the images that predict it by their score for it; of equal scores, the earlier image comes first.
  An image that does not predict the class has no place in its ranking: it is neither a hit nor a miss.
- Average precision of a class: at each hit (an image in its ranking that carries it) take the share of hits so far;
  add these shares up and divide by the number of *all* images that carry the class. An image that carries the class
  but does not predict it is thus a hit that never comes.
- The mean is taken over the classes that at least one image carries, with weights scaled to a sum of 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from shelfbench.base.errors import InputError


@dataclass(frozen=True)
class Best:
    """The best classes of each image.

    Attributes
    ----------
    code : ndarray of int32, shape (n, k)
        The best first; -1 where an image has fewer predictions (an unreadable image has none).
    score : ndarray of float64, shape (n, k)
        The larger, the better; undefined where `code` is -1.
    classes : int
        Number of classes.
    """

    code: np.ndarray
    score: np.ndarray
    classes: int


def best_per_image(scores: np.ndarray, k: int = 100) -> Best:
    """Keep the `k` best classes of each image; of equal scores, the lower code comes first.

    Parameters
    ----------
    scores : ndarray of float, shape (n, classes)
        The larger, the better; preferably log-odds or log-probabilities, since probabilities saturate at 1.
    k : int
        How many to keep; all of them where there are fewer.

    Returns
    -------
    Best
        The best classes and their scores.

    Raises
    ------
    InputError
        If a score is NaN, or `k` is below 1.
    """
    scores = np.asarray(scores, np.float64)
    if k < 1:
        raise InputError(f"the best {k} of an image", "give at least 1")
    if np.isnan(scores).any():
        image, code = np.argwhere(np.isnan(scores))[0]
        raise InputError(f"the score of image {image} for class {code} is NaN", "check how it was computed")
    code = np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int32)
    return Best(code, np.take_along_axis(scores, code, axis=1), scores.shape[1])


def average_precisions(
    scores: np.ndarray | Best, targets: np.ndarray | sparse.spmatrix | sparse.sparray, k: int = 100
) -> np.ndarray:
    """Compute the average precision of each class, as this module defines it.

    Parameters
    ----------
    scores : ndarray of float, shape (n, classes), or Best
        Of a `Best` with more than `k` classes per image, the first `k` are used.
    targets : ndarray of bool or sparse array, shape (n, classes)
        Which image carries which label.
    k : int
        How many classes an image predicts.

    Returns
    -------
    ndarray of float64, shape (classes,)
        NaN for a class that no image carries.

    Raises
    ------
    InputError
        If the shapes differ, a score is NaN, or `k` is below 1.
    """
    best = scores if isinstance(scores, Best) else best_per_image(scores, k)
    carried = sparse.csr_array(targets, dtype=bool)
    if carried.shape != (len(best.code), best.classes):
        raise InputError(
            f"scores of shape {(len(best.code), best.classes)} and targets of {carried.shape}",
            "give one row per image and one column per class in each",
        )
    code, score = best.code[:, :k], best.score[:, :k]
    image, place = np.nonzero(code >= 0)
    code, score = code[image, place], score[image, place]
    if np.isnan(score).any():
        raise InputError(f"a score of image {image[np.isnan(score).argmax()]} is NaN", "check how it was computed")
    order = np.lexsort((image, -score, code))
    image, code = image[order], code[order]
    hit = _among(carried, image, code)
    starts = np.searchsorted(code, np.arange(best.classes))
    hits_before = np.concatenate([[0], np.cumsum(hit)])
    # Within the class: the images ranked so far, and the hits among them.
    rank = np.arange(len(code)) - starts[code] + 1
    hits = hits_before[1:] - hits_before[starts[code]]
    gained = np.bincount(code[hit], weights=(hits / rank)[hit], minlength=best.classes)
    positives = np.bincount(carried.nonzero()[1], minlength=best.classes)
    found: np.ndarray = np.divide(gained, positives, out=np.full(best.classes, np.nan), where=positives > 0)
    return found


def weighted_mean(precisions: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Average the average precisions over the classes that have one: MAP@k.

    Parameters
    ----------
    precisions : ndarray of float64, shape (classes,)
        From `average_precisions`; NaN is skipped.
    weights : ndarray of float, shape (classes,), optional
        How much each class counts, in any scale; by default they all count the same.

    Returns
    -------
    float
        The weighted mean.

    Raises
    ------
    InputError
        If a weight is negative or not finite, or no class with a positive weight has an average precision.
    """
    weights = np.ones(len(precisions)) if weights is None else np.asarray(weights, np.float64)
    if weights.shape != precisions.shape or not np.isfinite(weights).all() or (weights < 0).any():
        raise InputError(
            f"weights of shape {weights.shape} for {len(precisions)} classes, or one of them is invalid",
            "give each class a finite weight of at least 0",
        )
    counted = ~np.isnan(precisions)
    total = math.fsum(weights[counted])
    if total == 0:
        raise InputError("no image carries a class that counts", "check labels and weights")
    return math.fsum(weights[counted] * precisions[counted]) / total


def rank_of(truth: np.ndarray, best: Best) -> np.ndarray:
    """Find the place of the true class among the best of each image, as `shelfbench.verdict.metrics.top_k` needs it.

    Parameters
    ----------
    truth : ndarray of int, shape (n,)
        Code of the true class of each image.
    best : Best
        The best classes of the same images.

    Returns
    -------
    ndarray of int64, shape (n,)
        0 for the best; -1 where the true class is not among them.
    """
    found = (best.code == np.asarray(truth)[:, None]) & (best.code >= 0)
    return np.where(found.any(axis=1), found.argmax(axis=1), -1)


def _among(carried: sparse.csr_array, image: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Tell for each pair whether the image carries the class."""
    rows, columns = carried.nonzero()
    wanted = image.astype(np.int64) * carried.shape[1] + code
    return np.isin(wanted, rows.astype(np.int64) * carried.shape[1] + columns)
