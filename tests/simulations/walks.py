"""Where should a certifying walk begin? Three rules on simulated catalogues.

``nice python -m tests.simulations.walks results/decisions/walk.csv`` draws tune and certify of 17 kinds of classifiers
in seven sizes, 200 times each (``--draws``); some with ties, for another target, or with a smaller tune. It writes a
row for each rule: how often it certifies, the true acceptance of the certified threshold (0 where there is none), and
how often the true precision there is below the target.

A kind of classifier is a curve: the probability of being right by the rank of the confidence, from the surest product
(0) to the least sure one (1). So the true precision of every threshold is known. The rules:

first
    Begins where min(100, n / 5) products of certify are accepted.
safest
    Begins where the binomial test on tune is passed most clearly, of equal thresholds at the loosest.
tuned
    Begins where the expected acceptance is largest (`shelfbench.verdict.walk.Tuned`).
"""

import argparse
import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from shelfbench.verdict.certify import START, Certificate, certify, coverage_grid
from shelfbench.verdict.metrics import exact_target
from shelfbench.verdict.walk import Tuned, binomial_tail

SIZES = (45, 60, 100, 150, 300, 600, 2000)
RULES = ("first", "safest", "tuned")
COLUMNS = ("kind", "products", "tuned_on", "target", "draws", "rule", "certified", "acceptance", "missed")
_FINE = 100_001

# The probability that a product is right, by its rank in confidence.
KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    # the paper's precision of 0.614 over all; confidence ~ Beta(shape, 1), right with that probability
    "beta 1.59": lambda rank: (1 - rank) ** (1 / 1.59),
    "beta 4": lambda rank: (1 - rank) ** (1 / 4),
    "beta 12": lambda rank: (1 - rank) ** (1 / 12),
    "beta 12, 5% of labels wrong": lambda rank: 0.95 * (1 - rank) ** (1 / 12),
    "beta 25, 3% of labels wrong": lambda rank: 0.97 * (1 - rank) ** (1 / 25),
    "0.995 everywhere": lambda rank: np.full_like(rank, 0.995),
    "0.955 everywhere": lambda rank: np.full_like(rank, 0.955),
    "0.93 everywhere": lambda rank: np.full_like(rank, 0.93),
    "0.895 everywhere": lambda rank: np.full_like(rank, 0.895),
    "0.99, then 0.5": lambda rank: np.where(rank < 0.4, 0.99, 0.5),
    "0.965, then 0.6": lambda rank: np.where(rank < 0.45, 0.965, 0.6),
    "0.95, then 0.6": lambda rank: np.where(rank < 0.9, 0.95, 0.6),
    "few sure, then 0.7": lambda rank: np.where(rank < 0.1, 0.995, 0.7),
    "falls steadily": lambda rank: 0.995 - 0.35 * np.clip(rank - 0.15, 0, 1),
    "wrong at the very top": lambda rank: np.select([rank < 0.03, rank < 0.8], [0.8, 0.96], 0.6),
    "wrong at the top": lambda rank: np.select([rank < 0.1, rank < 0.85], [0.85, 0.965], 0.6),
    "a valley": lambda rank: np.select([rank < 0.12, rank < 0.25, rank < 0.8], [0.99, 0.8, 0.98], 0.6),
}


@dataclass(frozen=True)
class Kind:
    """A classifier whose every threshold's true precision is known.

    Attributes
    ----------
    right : callable
        As in `KINDS`.
    ties : int
        Number of different confidences; 0 if no two are equal.
    """

    right: Callable[[np.ndarray], np.ndarray]
    ties: int = 0

    def draw(self, rng, products):
        """Draw confidences and whether the products are right."""
        rank = rng.random(products)
        correct = rng.random(products) < self.right(rank)
        return -(np.ceil(rank * self.ties) / self.ties if self.ties else rank), correct

    @cached_property
    def _precisions(self):
        rank = (np.arange(_FINE) + 0.5) / _FINE
        return np.cumsum(self.right(rank)) / np.arange(1, _FINE + 1)

    def precision(self, threshold):
        """Compute the true precision of a threshold."""
        return self._precisions[min(max(round(-threshold * _FINE) - 1, 0), _FINE - 1)]


def safest(confidence, correct, grid, target):
    """Where the test on tune is passed most clearly."""
    seen = Tuned.of(confidence, correct, grid)
    tail = binomial_tail(seen.accepted - seen.right, seen.accepted, float(1 - exact_target(target)))
    return len(grid) - 1 - int(np.argmin(tail[::-1]))


def certify_by(rule, tune, sure, target="0.9", level=0.95) -> Certificate:
    """Certify by one of `RULES`; tune and sure are pairs of confidence and correct."""
    grid = coverage_grid(tune[0])
    if rule == "safest":
        return certify(*sure, grid[safest(*tune, grid, target) :], target, level, 1)
    return certify(*sure, grid, target, level, START if rule == "first" else Tuned.of(*tune, grid))


def simulate(kind, sizes, draws, rules=RULES, *, target="0.9", seed=0):
    """Return for each rule how often it certifies, the mean true acceptance, and how often the promise is broken."""
    found = {rule: np.zeros((draws, 3)) for rule in rules}
    rng = np.random.default_rng([seed, *sizes])
    for number in range(draws):
        tune, sure = (kind.draw(rng, size) for size in sizes)
        for rule in rules:
            made = certify_by(rule, tune, sure, target)
            if made.certified:
                missed = kind.precision(made.threshold) < float(exact_target(target)) - 1e-9
                found[rule][number] = 1, -made.threshold, missed
    return {rule: values.mean(axis=0) for rule, values in found.items()}


def cases():
    """Yield name, kind, sizes of tune and certify, and target of everything that is simulated."""
    for name, right in KINDS.items():
        for size in SIZES:
            yield name, Kind(right), (size, size), "0.9"
        for size in (150, 600):
            yield f"{name}, in 12 steps", Kind(right, 12), (size, size), "0.9"
            yield name, Kind(right), (size // 4, size), "0.9"
            yield name, Kind(right), (size, size), "0.95"


def main():
    """Simulate and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="FILE.csv")
    parser.add_argument("--draws", type=int, default=200)
    options = parser.parse_args()
    with open(options.out, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for name, kind, sizes, target in cases():
            for rule, values in simulate(kind, sizes, options.draws, target=target).items():
                numbers = (f"{value:.4f}" for value in values)
                table.writerow((name, sizes[1], sizes[0], target, options.draws, rule, *numbers))
            file.flush()


if __name__ == "__main__":
    main()
