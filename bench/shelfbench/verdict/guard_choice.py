"""Which guard suits some features, found without a stranger at hand.

Categories that look alike are left out together: a guard learns from the others, and meets the left-out categories'
products of `tune` as strangers. This is harder than what comes later, since a group left out is still of the same shop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shelfbench.verdict.guard import (
    KINDS,
    LEARNED,
    LET_THROUGH,
    Guard,
    Span,
    balanced,
    by_product,
    cut_of,
    guard_of_kind,
    spanned,
)

# Groups of categories that are left out in turn, and the fewest categories of which groups are made.
GROUPS, FEWEST = 4, 4


@dataclass(frozen=True, eq=False)
class Photos:
    """Photos with their products.

    Attributes
    ----------
    features : ndarray of float32, shape (n, dimensions)
    labels : ndarray of int, shape (n,)
        Category of each photo; -1 for one that train lacks.
    owner : ndarray of int, shape (n,)
        Product of each photo, ascending.
    """

    features: np.ndarray
    labels: np.ndarray
    owner: np.ndarray

    def only(self, rows: np.ndarray) -> Photos:
        """Keep some rows, given by a mask."""
        return Photos(self.features[rows], self.labels[rows], self.owner[rows])

    def distances(self, guard: Guard) -> np.ndarray:
        """Return the distance of each product, in their order."""
        return by_product(guard.distances(self.features), np.unique(self.owner, return_index=True)[1])


@dataclass(frozen=True)
class ChosenGuard:
    """A guard, and how it was chosen.

    Attributes
    ----------
    guard : Guard
    let_through : dict of str to float
        For each kind, the share of products of left-out categories that it let through, as the mean over the groups;
        empty where nothing could be left out.
    """

    guard: Guard
    let_through: dict[str, float]


def choose_guard(train: Photos, tune: Photos, seed: int) -> ChosenGuard:
    """Choose a kind of guard on `tune`, and fit it on train.

    Parameters
    ----------
    train : Photos
        Of train, or a draw of them that has every category; at least one.
    tune : Photos
        May be empty.
    seed : int

    Returns
    -------
    ChosenGuard
        The first of `KINDS`, unless another lets fewer strangers through in every group of categories left out.
    """
    span = spanned(train.features, seed)
    groups = _groups(span, train.labels, seed)
    # one row for each group that tune can judge
    let = [
        shares
        for group in range(groups.max() + 1)
        if (shares := _left_out(train, tune, np.flatnonzero(groups == group), seed)) is not None
    ]
    kind = KINDS[0]
    table = np.array(let) if let else np.empty((0, len(KINDS)))
    if len(table) > 1:
        better = np.all(table[:, 1:] < table[:, :1], axis=0)
        if better.any():
            kind = KINDS[1 + int(np.where(better, table[:, 1:].mean(axis=0), np.inf).argmin())]
    means = dict(zip(KINDS, table.mean(axis=0).tolist(), strict=True)) if len(table) else {}
    return ChosenGuard(guard_of_kind(kind, span, train.labels, seed), means)


def _groups(span: Span, labels: np.ndarray, seed: int) -> np.ndarray:
    """Put categories that look alike into one group; return the group of each code, -1 for codes that are absent."""
    from scipy.cluster.vq import kmeans2

    keys = np.unique(labels)
    groups = np.full(int(labels.max()) + 1, -1)
    if len(keys) >= FEWEST:
        means = np.stack([span.seen[labels == key].mean(axis=0) for key in keys])
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
        groups[keys] = kmeans2(means, GROUPS, minit="++", rng=seed)[1]
    return groups


def _left_out(learned: Photos, tune: Photos, group: np.ndarray, seed: int) -> list[float] | None:
    """Return the share of the products of a group that each kind lets through once it is left out; None if none is."""
    kept = ~np.isin(learned.labels, group)
    strange = np.isin(tune.labels, group)
    known = (tune.labels >= 0) & ~strange
    if not kept.any() or not strange.any() or not known.any():
        return None
    rest = learned.only(kept)
    some = np.sort(balanced(rest.labels, LEARNED // 4, seed))
    span = spanned(rest.features[some], seed)
    shares = []
    for kind in KINDS:
        guard = guard_of_kind(kind, span, rest.labels[some], seed)
        cut = cut_of(tune.only(known).distances(guard), LET_THROUGH)
        shares.append(float(np.mean(tune.only(strange).distances(guard) <= cut)))
    return shares
