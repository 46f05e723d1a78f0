"""Labels that a model's scores contradict, for a person to check.

The probability that products of a category usually get for their label is the threshold of confident learning
(Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021, section 3.1). The
labels are sorted by their probability over it. On generated catalogues with planted wrong labels, this finds more of
them than sorting by the probability alone, and than the choice of `cleanlab` (results/decisions/suspects.csv). The
scores must be of products that the model was not trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

_ELEMENTS = 1 << 23
# Labels with less than this share of the probability that their category usually gets are listed.
SUSPECT = 0.15


class Scores(Protocol):
    """Scores of products that the model was not trained on, in memory or in files.

    Attributes
    ----------
    labels : ndarray of int64, shape (products,)
        The category each product is labelled with, a code from 0 to `classes` - 1.
    classes : int
        Number of categories.
    """

    @property
    def labels(self) -> np.ndarray:
        """See the class."""

    @property
    def classes(self) -> int:
        """See the class."""

    def blocks(self) -> Iterable[tuple[slice | np.ndarray, np.ndarray]]:
        """Give the probabilities of all products, each once: which products, and a row for each."""


@dataclass(frozen=True, kw_only=True)
class HeldOutScores:
    """Scores of images that the model was not trained on, in the order of their products.

    Attributes
    ----------
    starts : ndarray of int64, shape (products,)
        First image of each product.
    labels : ndarray of int64, shape (products,)
        The category each product is labelled with, a code from 0 to `classes` - 1.
    classes : int
        Number of categories.
    row : ndarray of int64, shape (entries,)
        Image of each stored score, ascending.
    code : ndarray of int64, shape (entries,)
        Category of each stored score.
    probability : ndarray of float32, shape (entries,)
        The score.
    rest : ndarray of float64, shape (images,)
        Probability of all the categories whose score is not stored, by image.
    """

    starts: np.ndarray
    labels: np.ndarray
    classes: int
    row: np.ndarray
    code: np.ndarray
    probability: np.ndarray
    rest: np.ndarray

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Average the probabilities of each product's images, a block of products at a time.

        The remaining probability of an image is spread evenly over the categories whose score is not stored.

        Yields
        ------
        part : slice
            Products of the block.
        probabilities : ndarray of float32, shape (products of the block, classes)
            Each row sums to 1.
        """
        ends = np.append(self.starts, len(self.rest))
        stored = np.bincount(self.row, minlength=len(self.rest))
        spread = (self.rest / np.maximum(self.classes - stored, 1)).astype(np.float32)
        most = max(1, _ELEMENTS // self.classes)
        first = 0
        while first < len(self.starts):
            last = max(first + 1, int(np.searchsorted(ends, ends[first] + most, "right")) - 1)
            images = slice(int(ends[first]), int(ends[last]))
            entries = slice(*np.searchsorted(self.row, [images.start, images.stop]).tolist())
            dense = np.empty((images.stop - images.start, self.classes), np.float32)
            dense[:] = spread[images, None]
            dense[self.row[entries] - images.start, self.code[entries]] = self.probability[entries]
            if len(dense) > last - first:
                dense = np.add.reduceat(dense, self.starts[first:last] - images.start, axis=0)
            dense /= dense.sum(axis=1, keepdims=True)
            yield slice(first, last), dense
            first = last

    def only(self, products: np.ndarray) -> HeldOutScores:
        """Keep some of the products.

        Parameters
        ----------
        products : ndarray of bool, shape (products,)
            True for those to keep.

        Returns
        -------
        HeldOutScores
            The scores of their images.
        """
        counts = np.diff(np.append(self.starts, len(self.rest)))
        images = np.repeat(products, counts)
        entries = images[self.row]
        return HeldOutScores(
            starts=np.cumsum(counts[products]) - counts[products],
            labels=self.labels[products],
            classes=self.classes,
            row=(np.cumsum(images) - 1)[self.row[entries]],
            code=self.code[entries],
            probability=self.probability[entries],
            rest=self.rest[images],
        )


@dataclass(frozen=True)
class Suspects:
    """Products whose label should be looked at, the most suspect first.

    Attributes
    ----------
    product : ndarray of int64, shape (suspects,)
        Positions in the scores.
    suggested : ndarray of int64, shape (suspects,)
        The most probable category.
    label_probability : ndarray of float64, shape (suspects,)
        Probability of the category it is labelled with.
    suggested_probability : ndarray of float64, shape (suspects,)
        Probability of the suggested category.
    """

    product: np.ndarray
    suggested: np.ndarray
    label_probability: np.ndarray
    suggested_probability: np.ndarray


def suspect_labels(scores: Scores) -> Suspects:
    """List the labels that the scores contradict, the most suspect first.

    A label is as suspect as its probability is small beside what products of that label usually get: the mean over all
    products with the label, their own included, drawn towards the mean over all products as if one more had shown it.
    So a category that the model is never sure of does not fill the list.

    Parameters
    ----------
    scores : Scores
        Of the products to check.

    Returns
    -------
    Suspects
        Those whose label gets less than `SUSPECT` of the usual probability, and another category more. Empty if there
        are no products or only one category.
    """
    count = len(scores.labels)
    if count == 0 or scores.classes < 2:
        empty = np.empty(0, np.int64)
        return Suspects(empty, empty, np.empty(0), np.empty(0))
    suggested, own, best = np.empty(count, np.int64), np.empty(count), np.empty(count)
    for part, probabilities in scores.blocks():
        rows = np.arange(len(probabilities))
        suggested[part] = probabilities.argmax(axis=1)
        own[part], best[part] = probabilities[rows, scores.labels[part]], probabilities[rows, suggested[part]]
    ratio = own / usual(own, scores.labels, scores.classes)
    order = np.argsort(ratio, kind="stable")
    suspects = order[(ratio[order] < SUSPECT) & (suggested[order] != scores.labels[order])]
    return Suspects(suspects, suggested[suspects], own[suspects], best[suspects])


def usual(own: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Compute the probability that each product's label usually gets.

    Parameters
    ----------
    own : ndarray of float64, shape (products,)
        Probability of each product's label.
    labels : ndarray of int64, shape (products,)
    classes : int

    Returns
    -------
    ndarray of float64, shape (products,)
        Positive.
    """
    total = np.bincount(labels, own, minlength=classes) + own.mean()
    found: np.ndarray = np.maximum(
        (total / (np.bincount(labels, minlength=classes) + 1))[labels], np.finfo(np.float64).tiny
    )
    return found
