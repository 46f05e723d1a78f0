"""From the scores of images to the predictions for products: one row per product."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.verdict.calibration import Calibrator
from shelfbench.verdict.settings import AGGREGATIONS
from shelfbench.verdict.temperature import entropy, log_normaliser

BEST = 100
TOP = 5
# Smallest logarithm in a mean of logarithms: that of the smallest number above 0. A probability of 0 then counts
# against a category as strongly as possible, and two photos that rule out each other's category still leave a
# distribution.
_LEAST = float(np.log(np.nextafter(0.0, 1.0)))


@dataclass(frozen=True)
class ProductRule:
    """How the scores of a product's photos become its prediction and confidence; chosen on `tune`.

    Attributes
    ----------
    aggregation : str
        See `aggregate`.
    temperature : float
        Applied to the aggregated log-probabilities (`shelfbench.verdict.temperature`); 1 changes nothing.
    calibrator : Calibrator or None
        What is applied besides the temperature, which it repeats; None for the temperature alone.
    tune_products : int
        Products on which the two were chosen; 0 where nothing was chosen.
    """

    aggregation: str = "mean"
    temperature: float = 1.0
    tune_products: int = 0
    calibrator: Calibrator | None = None

    def rows(self, log_probabilities: np.ndarray, starts: np.ndarray, classes: np.ndarray) -> dict[str, np.ndarray]:
        """Predict products from the scores of their images.

        Parameters
        ----------
        log_probabilities : ndarray of float64, shape (images, classes)
            The images of a product are next to each other.
        starts : ndarray of int, shape (products,)
            First row of each product.
        classes : ndarray of object, shape (classes,)
            Keys of the categories.

        Returns
        -------
        dict
            The columns of `product_rows`.
        """
        scores = aggregate(log_probabilities, starts, self.aggregation)
        if self.calibrator is None:
            return product_rows(scores, classes, self.temperature)
        moved = self.calibrator.scores(scores)
        columns = product_rows(moved, classes, self.temperature)
        if moved is not scores:
            columns["raw_confidence"] = scores[np.arange(len(scores)), moved.argmax(axis=1)]
        return _claimed(columns, self.calibrator.confidence(columns["confidence"]))


@dataclass(frozen=True)
class ImageScores:
    """The best categories of some images.

    Attributes
    ----------
    codes : ndarray of int32, shape (n, k)
        The `k` = min(100, classes) best categories, the best first.
    log_probabilities : ndarray of float32, shape (n, k)
        Their scores.
    log_rest : ndarray of float32, shape (n,)
        Log of the probability left for all other categories (-inf if none is left).
    """

    codes: np.ndarray
    log_probabilities: np.ndarray
    log_rest: np.ndarray


def best_categories(log_probabilities: np.ndarray, best: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the best categories of each row, the best first; ties in order of code.

    Parameters
    ----------
    log_probabilities : ndarray of float64, shape (n, classes)
        The scores.
    best : int
        How many categories to return.

    Returns
    -------
    codes : ndarray of int32, shape (n, min(best, classes))
        Codes of the categories.
    values : ndarray of float64, shape (n, min(best, classes))
        Their scores.
    """
    classes = log_probabilities.shape[1]
    count = min(best, classes)
    codes = np.argsort(-log_probabilities, axis=1, kind="stable")[:, :count]
    return codes.astype(np.int32), np.take_along_axis(log_probabilities, codes, axis=1)


def image_scores(log_probabilities: np.ndarray) -> ImageScores:
    """Keep the 100 best categories of each image.

    Parameters
    ----------
    log_probabilities : ndarray of float64, shape (n, classes)
        The scores of all categories.

    Returns
    -------
    ImageScores
        The part that is stored.
    """
    codes, values = best_categories(log_probabilities, BEST)
    if codes.shape[1] == log_probabilities.shape[1]:
        rest = np.full(len(codes), -np.inf)
    else:
        others = np.array(log_probabilities)
        np.put_along_axis(others, codes.astype(np.int64), -np.inf, axis=1)
        rest = np.logaddexp.reduce(others, axis=1)
    return ImageScores(codes, values.astype(np.float32), rest.astype(np.float32))


def aggregate(log_probabilities: np.ndarray, starts: np.ndarray, method: str = "mean") -> np.ndarray:
    """Combine the scores of each product's images into one distribution, in float64 logarithms.

    Parameters
    ----------
    log_probabilities : ndarray of float64, shape (images, classes)
        The images of a product are next to each other.
    starts : ndarray of int, shape (products,)
        First row of each product; every product has at least one row.
    method : str
        ``mean``: the mean probability. ``log_mean``: the mean log-probability, scaled to a sum of 1 (the geometric
        mean). ``maximum``: the largest probability of each category, scaled to a sum of 1. ``vote``: the category
        ranked first by most images wins (ties go to the higher mean probability, then to the lower code); the
        distribution is the mean probability, in which the winner swaps places with the most likely category if the two
        differ.

    Returns
    -------
    ndarray of float64, shape (products, classes)
        A product with a single image keeps its scores as they are, whatever the method.

    Raises
    ------
    InputError
        If there is no such method.
    """
    if method not in AGGREGATIONS:
        raise InputError(f"unknown aggregation {method!r}", f"choose from: {', '.join(AGGREGATIONS)}")
    counts = np.diff(np.append(starts, len(log_probabilities)))
    if np.all(counts == 1):
        return log_probabilities
    if method == "mean":
        return _mean(log_probabilities, starts, counts)
    if method == "vote":
        return _vote(log_probabilities, starts, counts)
    if method == "log_mean":
        result = np.add.reduceat(np.maximum(log_probabilities, _LEAST), starts, axis=0) / counts[:, None]
    else:
        result = np.maximum.reduceat(log_probabilities, starts, axis=0)
    result -= log_normaliser(result, 1.0)[:, None]
    result[counts == 1] = log_probabilities[starts[counts == 1]]
    return result


def _mean(log_probabilities: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.logaddexp.reduceat(log_probabilities, starts, axis=0) - np.log(counts)[:, None]
    return found


def _vote(log_probabilities: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    owner = np.repeat(np.arange(len(starts)), counts)
    result = _mean(log_probabilities, starts, counts)
    # one row per product and category that has votes: how many, and the mean probability over all its images
    ballots, votes = np.unique(
        owner * log_probabilities.shape[1] + log_probabilities.argmax(axis=1), return_counts=True
    )
    product, code = np.divmod(ballots, log_probabilities.shape[1])
    order = np.lexsort((code, -result[product, code], -votes, product))
    winner = code[order[np.searchsorted(product[order], np.arange(len(starts)))]]
    first = result.argmax(axis=1)
    rows = np.flatnonzero(winner != first)
    own, best = result[rows, winner[rows]], result[rows, first[rows]]
    result[rows, first[rows]] = own
    result[rows, winner[rows]] = np.nextafter(best, np.inf)  # higher than the other even where they are equal
    return result


def product_rows(log_probabilities: np.ndarray, classes: np.ndarray, temperature: float = 1.0) -> dict[str, np.ndarray]:
    """Turn aggregated scores into columns of ``predictions/BACKEND.parquet``.

    Parameters
    ----------
    log_probabilities : ndarray of float64, shape (products, classes)
        Aggregated scores.
    classes : ndarray of object, shape (classes,)
        Keys of the categories.
    temperature : float
        Applied once the categories are ranked, so that it cannot change the ranking.

    Returns
    -------
    dict
        ``predicted``, ``confidence`` (its log-probability), ``margin`` (distance to the second in log-probability; inf
        if there is only one category), ``entropy`` (in nats), ``top5`` and ``top5_confidence``, all after the
        temperature; and ``raw_confidence``, the log-probability before it.
    """
    codes, raw = best_categories(log_probabilities, TOP)
    values = raw
    if temperature != 1:  # rounding may leave a probability of 1 a little above it
        values = np.minimum(raw / temperature - log_normaliser(log_probabilities, temperature)[:, None], 0.0)
    margin = values[:, 0] - values[:, 1] if values.shape[1] > 1 else np.full(len(values), np.inf)
    return {
        "predicted": classes[codes[:, 0]],
        "confidence": values[:, 0],
        "margin": margin,
        "entropy": entropy(log_probabilities, temperature),
        "raw_confidence": raw[:, 0],
        "top5": _row_lists(classes[codes]),
        "top5_confidence": _row_lists(values),
    }


def _claimed(columns: dict[str, np.ndarray], confidence: np.ndarray) -> dict[str, np.ndarray]:
    """Replace the confidence; the other categories share what is left of it in proportion, none above the first.

    Margin and entropy remain those of the scores.
    """
    before = columns["confidence"]
    if confidence is before:
        return columns
    shared = []
    for old, new, values in zip(before, confidence, columns["top5_confidence"], strict=True):
        left = np.log(-np.expm1(min(new, -1e-300))) - np.log(-np.expm1(min(old, -1e-300)))
        shared.append(np.minimum(np.append(new, values[1:] + left), new))
    return {**columns, "confidence": confidence, "top5_confidence": _row_lists(shared)}


def _row_lists(values: np.ndarray | list[np.ndarray]) -> np.ndarray:
    """Turn the rows of a table into an array of arrays."""
    rows = np.empty(len(values), object)
    for number, row in enumerate(values):
        rows[number] = row
    return rows


def rejected_rows(count: int) -> dict[str, np.ndarray]:
    """Make the columns of products without a readable image: rejected, but never dropped from the denominator.

    Parameters
    ----------
    count : int
        How many such products there are.

    Returns
    -------
    dict
        The columns of `product_rows`. Confidence and margin are -inf and entropy is +inf: less sure than any product
        that was seen.
    """
    return {
        "predicted": np.full(count, "", object),
        "confidence": np.full(count, -np.inf),
        "margin": np.full(count, -np.inf),
        "entropy": np.full(count, np.inf),
        "raw_confidence": np.full(count, -np.inf),
        "top5": _row_lists(np.empty((count, 0), object)),
        "top5_confidence": _row_lists(np.empty((count, 0))),
    }
