"""Growing parts of train, each inside the next, and the products of `tune` that judge them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.data.material import Material

# Products of `tune` that judge: with 4,000, the interval of a precision is three points wide, and that of a difference
# between two candidates, on the same products, about one. The first part shows how long things take; with fewer
# judges it takes less, and how fast candidates learn is less sure.
JUDGES, FIRST_JUDGES = 4000, 1000
# The first part: this share of train, or this many products of each category, whichever is more.
FIRST_SHARE, FIRST_EACH = 64, 2


@dataclass(frozen=True, eq=False, kw_only=True)
class Parts:
    """Parts of the train of some material, of any size.

    Attributes
    ----------
    material : Material
        Products of train and `tune` only.
    order : ndarray of int64, shape (products of train,)
        Rows of train; the first n are the part of n products, in which every category has its share.
    images : ndarray of int64, shape (products of train + 1,)
        Images of each part.
    tune : ndarray of int64
        Rows of the products of `tune` that judge; the first few are a draw, too.
    """

    material: Material
    order: np.ndarray
    images: np.ndarray
    tune: np.ndarray

    @classmethod
    def of(cls, material: Material, seed: int) -> Parts:
        """Draw the parts of a catalogue.

        Parameters
        ----------
        material : Material
            Of the whole study; what it holds of `certify` and test is left behind here.
        seed : int
            The same seed draws the same parts.

        Returns
        -------
        Parts

        Raises
        ------
        InputError
            If there is no product to judge on.
        """
        role = material.frame["role"].to_numpy()
        kept = material.only(np.flatnonzero((role == "train") | (role == "tune")))
        role = kept.frame["role"].to_numpy()
        train, tune = np.flatnonzero(role == "train"), np.flatnonzero(role == "tune")
        if not len(tune):
            raise InputError(
                f"{material.catalogue.name}: validation has no product to judge candidates on",
                "use more products, or a split with a larger validation part",
            )
        order = train[growing_order(kept.label[train], np.random.default_rng([seed, 0xC0, 0]))]
        judges = tune[growing_order(kept.label[tune], np.random.default_rng([seed, 0xC0, 1]))[:JUDGES]]
        counts = np.bincount(kept.owner, minlength=len(kept.frame))
        return cls(
            material=kept,
            order=order,
            images=np.concatenate([[0], np.cumsum(counts[order])]),
            tune=judges,
        )

    @property
    def products(self) -> int:
        """Products of train."""
        return len(self.order)

    @property
    def first(self) -> int:
        """Products of the smallest part that says anything."""
        wanted = max(self.products // FIRST_SHARE, FIRST_EACH * len(self.material.classes))
        return max(1, min(wanted, self.products // 4))

    def part(self, products: int) -> Material:
        """Return a part of train, and the products that judge it: of the first part, only some."""
        judges = self.tune if products > self.first else self.tune[:FIRST_JUDGES]
        return self.material.only(np.sort(np.concatenate([self.order[:products], judges])))


def growing_order(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Order products so that the first n are a draw by category, whatever n is.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
    rng : Generator

    Returns
    -------
    ndarray of int64, shape (n,)
        One of each category first; then every category at its own pace.
    """
    place = np.empty(len(labels))
    order = np.lexsort((rng.random(len(labels)), labels))
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    for start, count in zip(starts.tolist(), counts.tolist(), strict=True):
        own = (np.arange(count) + rng.random()) / count
        own[0] -= 1
        place[order[start : start + count]] = own
    return np.argsort(place, kind="stable")
