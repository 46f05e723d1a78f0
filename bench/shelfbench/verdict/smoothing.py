"""Probabilities with exact zeros, and scores without a unit, made comparable with calibrated ones.

Ten nearest neighbours give a category no probability at all if none of them belongs to it, and a forest likewise. A
single product of such a category would make the whole likelihood 0, and no temperature could repair that. So a small
share of the probability is given to all categories alike; it never changes which of them comes first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shelfbench.verdict.temperature import fit_temperature, log_normaliser

SHARES = (1e-12, 1e-9, 1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 0.5, 0.8)
"""The shares to choose from."""
UNCHOSEN = 1e-3
"""The share where there is nothing to choose it on."""


@dataclass(frozen=True)
class Smoothing:
    """How a classifier's probabilities become log-probabilities: log-softmax(log((1 - share) p + share / k) / T).

    Attributes
    ----------
    share : float
        Part of the probability that all categories have alike.
    temperature : float
        T.
    """

    share: float
    temperature: float

    def log_probabilities(self, probabilities: np.ndarray) -> np.ndarray:
        """Smooth probabilities.

        Parameters
        ----------
        probabilities : ndarray of float, shape (n, k)
            Not negative; a row that is all 0 says nothing, and stands for equal probabilities.

        Returns
        -------
        ndarray of float64, shape (n, k)
            Finite; the probabilities of a row sum to 1.
        """
        scores = _smoothed(probabilities, self.share) / self.temperature
        found: np.ndarray = scores - log_normaliser(scores, 1.0)[:, None]
        return found


def _smoothed(probabilities: np.ndarray, share: float) -> np.ndarray:
    values = np.asarray(probabilities, np.float64)
    total = values.sum(axis=1, keepdims=True)
    values = np.where(total > 0, values / np.where(total > 0, total, 1), 1 / values.shape[1])
    found: np.ndarray = np.log((1 - share) * values + share / values.shape[1])
    return found


def fit_smoothing(probabilities: np.ndarray, labels: np.ndarray) -> Smoothing:
    """Find the share and the temperature that make the true categories most likely.

    Parameters
    ----------
    probabilities : ndarray of float, shape (n, k)
    labels : ndarray of int, shape (n,)
        Code of the true category.

    Returns
    -------
    Smoothing
        In a tie, the smallest share. Without data, `UNCHOSEN` and 1.
    """
    if not len(labels):
        return Smoothing(UNCHOSEN, 1.0)
    best, least = Smoothing(UNCHOSEN, 1.0), math.inf
    for share in SHARES:
        scores = _smoothed(probabilities, share)
        temperature = fit_temperature(scores, labels)
        own = scores[np.arange(len(labels)), labels] / temperature
        loss = float((log_normaliser(scores, temperature) - own).mean())
        if loss < least - 1e-12:
            best, least = Smoothing(share, temperature), loss
    return best


def fit_margins(margins: np.ndarray, labels: np.ndarray) -> float:
    """Find the factor that makes the true categories most likely under log-softmax(factor * margins).

    Parameters
    ----------
    margins : ndarray of float64, shape (n, k)
        Scores in any unit.
    labels : ndarray of int, shape (n,)
        Code of the true category.

    Returns
    -------
    float
        Without data, or if all margins are the same, 1.
    """
    spread = float(margins.std()) if len(labels) else 0.0
    if not spread:
        return 1.0
    return 1 / (spread * fit_temperature(margins / spread, labels))
