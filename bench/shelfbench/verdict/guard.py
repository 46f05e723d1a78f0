"""How unlike the photos that a classifier has learned from another photo is, by its features.

A classifier spreads its probability over the categories that it knows, so it can be sure of what belongs to none of
them. Its features can tell: every photo becomes a direction from the centre of the photos of train, and what few
directions those span (a principal subspace) leaves most of a stranger over. `Guard` holds one of `KINDS` of distance:

``subspace``
    The share of a photo that lies outside the subspace: the squared sine of its angle to it, as in ViM (Wang et al.,
    "ViM: Out-of-distribution with virtual-logit matching", CVPR 2022, section 4.1), without its logits.
``neighbours``
    One minus the cosine to the nearest photo of train (Sun et al., "Out-of-distribution detection with deep nearest
    neighbors", ICML 2022), of which a sample is kept; what lies outside the subspace counts as orthogonal.
``mahalanobis``
    The distance to the nearest mean of a category, in units of the spread that all categories share on each axis (after
    Lee et al., "A simple unified framework for detecting out-of-distribution samples", NeurIPS 2018), and by how much
    lies outside the subspace.

`shelfbench.verdict.guard_choice` chooses among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

UNLIKE = "unlike the products it has learned"
"""Why a product that the guard stops goes to review."""
KINDS = ("subspace", "neighbours", "mahalanobis")
# The share of the products which would be accepted that a guard lets through.
LET_THROUGH = 0.99
# Photos of train that a guard learns from, and those that it keeps to compare with.
LEARNED, KEPT = 8192, 2048
# Axes of the subspace; fewer where there are fewer features or photos, or where so many numbers would be too large.
AXES = 128
# The largest number of values in an array of a guard: 64 MiB in float32.
MOST = 1 << 24
_BLOCK = 1 << 22


@dataclass(frozen=True, kw_only=True, eq=False)
class Guard:
    """What a classifier has learned from, as a distance.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    centre : ndarray of float32, shape (dimensions,)
        Mean of the photos of train.
    axes : ndarray of float32, shape (axes, dimensions)
        Orthonormal axes of the subspace of their directions.
    points : ndarray of float32, shape (points, axes)
        Directions of photos (``neighbours``), or means of categories in units of `scale` (``mahalanobis``), on the
        axes; no rows for ``subspace``.
    scale : ndarray of float32, shape (axes + 1,)
        For ``mahalanobis``, the inverse of the standard deviation on each axis, and outside; otherwise ones.
    """

    kind: str
    centre: np.ndarray
    axes: np.ndarray
    points: np.ndarray
    scale: np.ndarray

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """What a file keeps of it."""
        return {"centre": self.centre, "axes": self.axes, "points": self.points, "scale": self.scale}

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Tell how unlike the learned photos some photos are.

        Parameters
        ----------
        features : ndarray of float32, shape (n, dimensions)

        Returns
        -------
        ndarray of float64, shape (n,)
            At least 0; infinite where a feature is not finite.
        """
        found: np.ndarray = np.empty(len(features))
        step = max(1, _BLOCK // max(len(self.centre), len(self.points)))
        for start in range(0, len(features), step):
            part = slice(start, start + step)
            with np.errstate(invalid="ignore", over="ignore"):
                found[part] = self._distances(directions(features[part], self.centre))
        found[np.isnan(found)] = np.inf
        result: np.ndarray = np.maximum(found, 0, out=found)
        return result

    def _distances(self, ahead: np.ndarray) -> np.ndarray:
        seen = ahead @ self.axes.T
        inside = np.sum(seen**2, axis=1, dtype=np.float64)
        outside = np.asarray(np.sum(ahead**2, axis=1, dtype=np.float64) - inside)
        # a photo without a direction, exactly at the centre, has nothing inside
        outside[~ahead.any(axis=1)] = 1
        if self.kind == "subspace":
            return outside
        if self.kind == "neighbours":
            found: np.ndarray = 1 - (seen @ self.points.T).max(axis=1).astype(np.float64)
            return found
        scaled = seen * self.scale[:-1]
        squares = np.sum(self.points**2, axis=1) - 2 * scaled @ self.points.T
        found = np.sum(scaled**2, axis=1) + squares.min(axis=1) + outside * float(self.scale[-1]) ** 2
        return found


@dataclass(frozen=True, kw_only=True)
class Guarding:
    """How a decision uses its guard.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    cut : float
        The largest distance that is let through.
    products, outside : int
        Products of certify with a readable photo, and how many of them lie outside.
    sure, let_through : int
        Products of certify that the threshold accepts, categories that are switched off left out, and how many of them
        the guard lets through; both 0 unless certified.
    part : str
        Whose products are counted: those of ``certify``, or of ``the flow`` from which a sample was labelled.
    """

    kind: str
    cut: float
    products: int
    outside: int
    sure: int
    let_through: int
    part: str = "certify"

    def __str__(self) -> str:
        """Return what the guard does, in one line."""
        outside = _share(self.outside, self.products)
        said = f"products unlike those it has learned go to review: {outside} of {self.part} lie outside"
        if not self.sure:
            return said
        return f"{said}; the guard lets {_share(self.let_through, self.sure)} through that are sure enough"


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({part / max(whole, 1):.1%})"


def by_product(distances: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Judge products by their photos: by the mean, as most classifiers' scores are combined.

    One odd photo among several, such as a table of sizes, counts as one of several; a stranger's photos are all odd.

    Parameters
    ----------
    distances : ndarray of float64, shape (photos,)
        Of photos in the order of their products.
    starts : ndarray of int, shape (products,)
        First photo of each product.

    Returns
    -------
    ndarray of float64, shape (products,)
    """
    counts = np.diff(np.append(starts, len(distances)))
    return np.add.reduceat(distances, starts) / counts if len(starts) else np.empty(0)


def cut_of(distances: np.ndarray, share: float = LET_THROUGH) -> float:
    """Find the distance up to which a product is like those learned.

    Parameters
    ----------
    distances : ndarray of float64, shape (n,)
        Of products of `tune` that would be accepted without the guard, n at least 1.
    share : float
        How many of future such products are to be let through, on average.

    Returns
    -------
    float
        The smallest of the distances below which another product of the same kind lies with at least that probability
        (the quantile of split conformal prediction: Vovk et al., 2005). Of fewer than ``1 / (1 - share)`` products,
        the largest distance, which lets through n / (n + 1) of them.
    """
    ordered = np.sort(distances)
    place = int(np.ceil(np.round(share * (len(ordered) + 1), 9)))
    return float(ordered[min(place, len(ordered)) - 1])


def directions(features: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return the direction of each photo from the centre.

    Parameters
    ----------
    features : ndarray of float32, shape (n, dimensions)
    centre : ndarray of float32, shape (dimensions,)

    Returns
    -------
    ndarray of float32, shape (n, dimensions)
        Of length 1; zeros for a photo at the centre.
    """
    away = np.asarray(features, np.float32) - centre
    length = np.linalg.norm(away, axis=1, keepdims=True)
    found: np.ndarray = away / np.where(length > 0, length, 1)
    return found


@dataclass(frozen=True, eq=False)
class Span:
    """The subspace of some photos, and the photos in it.

    Attributes
    ----------
    centre, axes : ndarray
        As those of `Guard`.
    seen : ndarray of float32, shape (n, axes)
        The direction of each photo on the axes.
    outside : float
        Mean of the squares outside the subspace.
    """

    centre: np.ndarray
    axes: np.ndarray
    seen: np.ndarray
    outside: float


def spanned(features: np.ndarray, seed: int) -> Span:
    """Find the principal subspace of the directions of some photos.

    Parameters
    ----------
    features : ndarray of float32, shape (n, dimensions)
    seed : int
        Of the randomised decomposition (Halko, Martinsson and Tropp, 2011).

    Returns
    -------
    Span
    """
    from sklearn.utils.extmath import randomized_svd

    count, dimensions = features.shape
    centre = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    ahead = directions(features, centre)
    axes = max(1, min(AXES, dimensions // 4, count // 4, MOST // dimensions))
    found = randomized_svd(ahead, axes, n_iter=2, random_state=seed)[2].astype(np.float32)
    seen = ahead @ found.T
    outside = float(np.mean(np.sum(ahead**2, axis=1) - np.sum(seen**2, axis=1)))
    return Span(centre, found, seen, max(outside, 0.0))


def guard_of_kind(kind: str, span: Span, labels: np.ndarray, seed: int) -> Guard:
    """Make a guard of a subspace.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    span : Span
    labels : ndarray of int, shape (n,)
        Categories of the photos of `span`.
    seed : int
        Draws the photos that are kept.

    Returns
    -------
    Guard
    """
    axes = len(span.axes)
    points, scale = np.empty((0, axes), np.float32), np.ones(axes + 1, np.float32)
    if kind == "neighbours":
        points = span.seen[np.sort(balanced(labels, KEPT, seed))]
    elif kind == "mahalanobis":
        keys, place = np.unique(labels, return_inverse=True)
        means = np.zeros((len(keys), axes))
        np.add.at(means, place, span.seen)
        means /= np.bincount(place)[:, None]
        spread = np.mean((span.seen - means[place]) ** 2, axis=0)
        # how many directions a photo can take outside is not known: outside counts as much as inside, on average
        spread = np.append(spread, span.outside / axes)
        scale = (1 / np.sqrt(np.maximum(spread, 1e-6))).astype(np.float32)
        points = (means * scale[:-1]).astype(np.float32)
    return Guard(kind=kind, centre=span.centre, axes=span.axes, points=points, scale=scale)


def balanced(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Draw photos of every category: all of small ones, and equally many of the large ones.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
    most : int
        How many to draw.
    seed : int

    Returns
    -------
    ndarray of int64, shape (min(n, most),)
        Rows, in an order that draws from every category first.
    """
    order = np.lexsort((np.random.default_rng([seed, 0x6A]).random(len(labels)), labels))
    ranked = labels[order]
    rank = np.arange(len(labels)) - np.searchsorted(ranked, ranked)
    return order[np.lexsort((order, rank))][:most]
