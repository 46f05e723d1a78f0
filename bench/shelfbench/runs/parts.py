"""Growing parts of train, each inside the next, and the products of `tune` that judge them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.base.grid import number_of
from shelfbench.data.material import Material
from shelfbench.verdict.halving import LEAST_JUDGES
from shelfbench.verdict.metrics import REQUIRED

# Products of `tune` that judge: with 4,000, the interval of a precision is three points wide, and that of a difference
# between two candidates, on the same products, about one. The first part shows how long things take; with fewer
# judges it takes less, and how fast candidates learn is less sure.
JUDGES, FIRST_JUDGES = 4000, 1000
# A part that is not at least this much larger says little that the one before did not.
LEAST_GROWTH = 1.5
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

    def too_few(self, share: float, images: int) -> str:
        """Say why there are too few products for a choice on parts of them; empty if there are enough.

        Parameters
        ----------
        share : float
            Of the full study, which is the budget.
        images : int
            Of the full study.

        Returns
        -------
        str
        """
        if len(self.tune) < LEAST_JUDGES:
            return (
                f"{number_of(len(self.tune), 'product')} would judge (tune), and fewer than "
                f"{LEAST_JUDGES} cannot tell a backend that is right on {float(REQUIRED):.0%} from one that always is"
            )
        # Nobody drops out before the second part. Where the number of categories sets the size of the first one, both
        # are a large share of few photos.
        second = min(math.ceil(LEAST_GROWTH * self.first), self.products)
        used = int(self.images[second]) + int(np.isin(self.material.owner, self.tune).sum())
        if self.first <= self.products // FIRST_SHARE or used <= share * images:
            return ""
        return (
            f"with {len(self.material.classes):,} categories, no backend can drop out before {used:,} of {images:,} "
            f"photos are used, more than {share:.0%}"
        )

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
    for start, size in zip(starts.tolist(), counts.tolist(), strict=True):
        own = (np.arange(size) + rng.random()) / size
        own[0] -= 1
        place[order[start : start + size]] = own
    return np.argsort(place, kind="stable")
