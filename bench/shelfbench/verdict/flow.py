"""Products that are mixed as a shop's own flow is, drawn from labelled ones that are mixed otherwise.

A certificate is for products mixed like those that certify. To promise something of another mix of categories, each
labelled product stays with a probability in proportion to its category's share of the flow over its share of the
labelled products (rejection sampling, von Neumann 1951): what stays is a sample of the flow, so that the exact binomial
test holds as before. Weighted tests use more of the products, but those that are as exact certify less, and those that
certify more (an effective number of products, Korn and Graubard 1998) break their promise where a category with a large
share has few products (tests/simulations/mixes.py, results/decisions/mixes.csv).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# One draw for everybody: whoever decides again, decides the same.
_SEED = 0x3417


@dataclass(frozen=True)
class Flow:
    """The mix of categories of a shop's flow.

    Attributes
    ----------
    shares : mapping of str to float
        Share of the flow by key of the category; they sum to 1.
    source : str
        Where they come from, in words.
    """

    shares: Mapping[str, float]
    source: str

    def weights(self, truth: np.ndarray) -> np.ndarray:
        """Compute for every product how much more of the flow than of these products its category is.

        Parameters
        ----------
        truth : ndarray of str, shape (n,)
            Keys of the true categories.

        Returns
        -------
        ndarray of float64, shape (n,)
            0 for categories that the flow lacks.
        """
        keys, code, count = np.unique(truth.astype(str), return_inverse=True, return_counts=True)
        shares = np.array([self.shares.get(key, 0.0) for key in keys.tolist()])
        return (shares / count * len(truth))[code]

    def keeps(self, truth: np.ndarray) -> np.ndarray:
        """Draw products that are mixed as the flow is.

        Parameters
        ----------
        truth : ndarray of str, shape (n,)

        Returns
        -------
        ndarray of bool, shape (n,)
            Whether a product stays.
        """
        weight = self.weights(truth)
        if not weight.any():
            return np.zeros(len(truth), bool)
        found: np.ndarray = np.random.default_rng(_SEED).random(len(truth)) < weight / weight.max()
        return found

    def unseen(self, truth: np.ndarray) -> float:
        """Compute the share of the flow in categories of which there is no product.

        Parameters
        ----------
        truth : ndarray of str, shape (n,)

        Returns
        -------
        float
        """
        here = set(np.unique(truth.astype(str)).tolist())
        return float(sum(share for key, share in self.shares.items() if key not in here))
