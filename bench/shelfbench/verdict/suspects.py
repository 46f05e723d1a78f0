"""Labels that a model's scores speak against, for a person to look at: confident learning, by `cleanlab`.

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021. The scores must be of
products that the model was not trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_ELEMENTS = 1 << 23


@dataclass(frozen=True)
class HeldOutScores:
    """Scores of images that no training saw, in the order of their products.

    Attributes
    ----------
    starts : ndarray of int64, shape (products,)
        First image of each product.
    labels : ndarray of int64, shape (products,)
        Given category of each product, a code from 0 to `classes` - 1.
    classes : int
    row : ndarray of int64, shape (entries,)
        Image of each stored score, ascending.
    code : ndarray of int64, shape (entries,)
        Its category.
    probability : ndarray of float32, shape (entries,)
    rest : ndarray of float64, shape (images,)
        Probability of all categories that are not stored of an image.
    """

    starts: np.ndarray
    labels: np.ndarray
    classes: int
    row: np.ndarray
    code: np.ndarray
    probability: np.ndarray
    rest: np.ndarray

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Give mean probabilities of some products at a time, float32, shape (products of the block, classes).

        The rest of an image is spread evenly over the categories that are not stored of it; rows sum to 1.
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
        """Keep the products of a mask."""
        counts = np.diff(np.append(self.starts, len(self.rest)))
        images = np.repeat(products, counts)
        entries = images[self.row]
        return HeldOutScores(
            np.cumsum(counts[products]) - counts[products],
            self.labels[products],
            self.classes,
            (np.cumsum(images) - 1)[self.row[entries]],
            self.code[entries],
            self.probability[entries],
            self.rest[images],
        )


@dataclass(frozen=True)
class Suspects:
    """Products whose label is probably wrong, the most suspect first.

    Attributes
    ----------
    product : ndarray of int64, shape (suspects,)
        Positions in the scores.
    suggested : ndarray of int64, shape (suspects,)
        The most probable category.
    label_probability, suggested_probability : ndarray of float64, shape (suspects,)
    """

    product: np.ndarray
    suggested: np.ndarray
    label_probability: np.ndarray
    suggested_probability: np.ndarray


def suspect_labels(scores: HeldOutScores) -> Suspects:
    """List the labels that confident learning takes for wrong, the least probable first."""
    from cleanlab.experimental.label_issues_batched import LabelInspector

    count = len(scores.labels)
    empty = np.empty(0, np.int64)
    if count == 0 or scores.classes < 2:
        return Suspects(empty, empty, np.empty(0), np.empty(0))
    inspector = LabelInspector(num_class=scores.classes, verbose=False)
    suggested, own, best = np.empty(count, np.int64), np.empty(count), np.empty(count)
    for part, probabilities in scores.blocks():
        inspector.update_confident_thresholds(scores.labels[part], probabilities)
        rows = np.arange(len(probabilities))
        suggested[part] = probabilities.argmax(axis=1)
        own[part], best[part] = probabilities[rows, scores.labels[part]], probabilities[rows, suggested[part]]
    # only where the scores name another category can there be a suggestion
    doubtful = np.flatnonzero(suggested != scores.labels)
    if not len(doubtful):
        return Suspects(empty, empty, np.empty(0), np.empty(0))
    doubted = scores.only(suggested != scores.labels)
    for part, probabilities in doubted.blocks():
        inspector.score_label_quality(doubted.labels[part], probabilities)
    suspects = doubtful[np.asarray(inspector.get_label_issues(), np.int64)]
    return Suspects(suspects, suggested[suspects], own[suspects], best[suspects])
