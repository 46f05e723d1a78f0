"""What each joint test of a ladder gives and how often its promise is missed, on invented shops.

    python -m tests.simulations.ladder 2000 400

writes `results/decisions/ladder.csv`: 2,000 draws of what shelfbench does, and 400 of each other test (a quarter of an
hour on a core). A shop is an endless flow of products: each has a
confidence on every rung, and its answer there is right or wrong. In every draw some products tune and as many certify;
then the precision of each rung is looked up in the flow itself. A promise is missed if any rung of the ladder that is
put to use is right less often than it was promised. Only these shops settled which test shelfbench uses; no test part
of any dataset was looked at.

The tests, each with 95% for all rungs together:

- stair: what shelfbench does (`shelfbench.verdict.ladder`);
- bonferroni: one walk per rung at an equal share of the error, the finest first, from the strict end until the binomial
  test fails. What a walk has looked at and not accepted cannot be looked at again by the next one, so that band goes to
  a person;
- weighted: the same, with four fifths of the error for the category;
- graph: a graphical procedure (Bretz, Maurer, Brannath and Posch, 2009) over several stairs, the ladder's and one for
  each rung alone, with equal weights; a stair that is passed to its end hands its weight on to the others.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from shelfbench.verdict.certify import binomial_tail, coverage_grid
from shelfbench.verdict.ladder import Answers, Stair, certify_ladder, stair, worth

LEVEL = 0.95
SHAPES = ("rising", "brink", "weak_start", "tail")
KINDS = {"plain": (1000, False), "tied": (1000, True), "small": (150, False)}
TARGET = Fraction(9, 10)
_FLOW = 50_000
# How often a level above the category is right where the rung below it is wrong.
_MENDED = (0.0, 0.6, 0.7)
Bands = list[tuple[float, float]]


def flow(shape: str, rungs: int, tied: bool = False, seed: int = 0) -> Answers:
    """Invent a shop.

    rising: precision rises with confidence. brink: every rung is right on 0.899 at any confidence, so whatever is
    certified at 0.9 is a mistake. weak_start: the surest answers are the weaker ones. tail: a third of the products is
    guessed at, with confidences of their own.
    """
    rng = np.random.default_rng(seed)
    ease = rng.random(_FLOW)
    chance = {
        "rising": 1 - 0.45 * (1 - ease) ** 2,
        "brink": np.full(_FLOW, 0.899),
        "weak_start": np.where(ease > 0.97, 0.8, np.where(ease > 0.3, 0.955, 0.6)),
        "tail": np.where(ease > 0.35, 0.985, 0.3),
    }[shape]
    right, confidence = [rng.random(_FLOW) < chance], [ease]
    for mended in _MENDED[1:rungs]:
        if shape == "brink":
            mended = 0.0
        right.append(right[-1] | (rng.random(_FLOW) < mended))
        confidence.append(1 - (1 - confidence[-1]) * (1 - mended) * np.exp(rng.normal(0, 0.12, _FLOW)))
    values = np.clip(np.stack(confidence, axis=1), 1e-6, 1)
    if tied:
        values = np.ceil(values * 12) / 12
    return Answers(np.log(values), np.stack(right, axis=1))


def part(shop: Answers, rows: np.ndarray) -> Answers:
    return Answers(shop.confidence[rows], shop.correct[rows])


@dataclass(frozen=True)
class Outcome:
    """What a ladder does in the flow: share and precision of each rung."""

    share: np.ndarray
    precision: np.ndarray

    @property
    def missed(self) -> bool:
        return bool(np.any((self.share > 0) & (self.precision < float(TARGET))))


def outcome(shop: Answers, bands: Bands) -> Outcome:
    """Put a ladder to use; each rung takes what is left from its lower end on, and hands on what is below its upper."""
    free = np.ones(len(shop.correct), bool)
    share, precision = np.zeros(len(bands)), np.ones(len(bands))
    for rung, (least, looked) in enumerate(bands):
        taken = free & (shop.confidence[:, rung] >= least)
        if taken.any():
            share[rung], precision[rung] = taken.mean(), shop.correct[taken, rung].mean()
        free &= shop.confidence[:, rung] < min(least, looked)
    return Outcome(share, precision)


def by_stair(tune: Answers, sure: Answers) -> Bands:
    targets = [TARGET] * tune.correct.shape[1]
    found = certify_ladder(sure, stair(tune, len(sure.correct), targets, LEVEL), targets, LEVEL)
    return [(value, value) for value in found.thresholds]


def _one_by_one(shares: Sequence[float], tune: Answers, sure: Answers) -> Bands:
    bands: Bands = []
    seen, left = np.ones(len(tune.correct), bool), np.ones(len(sure.correct), bool)
    for rung, error in enumerate(shares):
        if not seen.any() or not left.any():
            bands.append((np.inf, np.inf))
            continue
        grid = coverage_grid(tune.confidence[seen, rung])
        least, looked = _walk(sure.confidence[left, rung], sure.correct[left, rung], grid, error)
        bands.append((least, looked))
        seen &= tune.confidence[:, rung] < looked
        left &= sure.confidence[:, rung] < looked
    return bands


def _walk(values: np.ndarray, correct: np.ndarray, grid: np.ndarray, error: float) -> tuple[float, float]:
    """Walk from a hundred accepted products (or a fifth) to looser thresholds until the binomial test fails.

    Returns the last threshold that passed, and the one that failed; below that one, nothing has been looked at.
    """
    taken = values[None, :] >= grid[:, None]
    accepted, wrong = taken.sum(axis=1), (taken & ~correct).sum(axis=1)
    walked = np.flatnonzero(accepted >= min(100, len(values) / 5))
    passes = binomial_tail(wrong[walked], accepted[walked], float(1 - TARGET)) <= error
    passed = int(np.append(passes, False).argmin())
    thresholds = [np.inf, *grid[walked], -np.inf]
    return float(thresholds[passed]), float(thresholds[passed + 1])


def by_bonferroni(tune: Answers, sure: Answers) -> Bands:
    rungs = tune.correct.shape[1]
    return _one_by_one([(1 - LEVEL) / rungs] * rungs, tune, sure)


def by_weights(tune: Answers, sure: Answers) -> Bands:
    upper = tune.correct.shape[1] - 1
    error = 1 - LEVEL
    return _one_by_one([0.8 * error, *[0.2 * error / upper] * upper], tune, sure)


def by_graph(tune: Answers, sure: Answers) -> Bands:
    rungs = tune.correct.shape[1]
    targets, error = [TARGET] * rungs, 1 - LEVEL
    alone = [np.where(np.arange(rungs) == rung, tune.confidence, -np.inf) for rung in range(rungs)]
    paths = [
        stair(Answers(values, tune.correct), len(sure.correct), targets, LEVEL) for values in (tune.confidence, *alone)
    ]
    weight = np.array([float(len(path.steps) > 0) for path in paths])
    if not weight.any():
        return [(np.inf, np.inf)] * rungs
    weight /= weight.sum()
    at = np.zeros(len(paths), int)
    moved = True
    while moved:
        moved = False
        for number, path in enumerate(paths):
            while at[number] < len(path.steps) and _passes(path, at[number], sure, error * weight[number]):
                at[number] += 1
                moved = True
            if at[number] == len(path.steps) and weight[number]:
                others = np.array([at[other] < len(one.steps) for other, one in enumerate(paths)])
                if others.any():
                    weight = weight + weight[number] * others / others.sum()
                weight[number] = 0.0
    reached = [path.thresholds(int(step) - 1) for path, step in zip(paths, at, strict=True) if step]
    if not reached:
        return [(np.inf, np.inf)] * rungs
    best = max(reached, key=lambda found: gain(outcome(tune, [(value, value) for value in found]).share))
    return [(value, value) for value in best]


def _passes(path: Stair, step: int, sure: Answers, error: float) -> bool:
    thresholds = path.thresholds(step)
    rung = sure.rung(thresholds)
    for number, least in enumerate(thresholds):
        taken = rung == number
        wrong = np.count_nonzero(taken & ~sure.correct[:, number])
        if least < np.inf and (not taken.any() or binomial_tail(wrong, taken.sum(), float(1 - TARGET)) > error):
            return False
    return True


def gain(share: np.ndarray) -> float:
    """What a ladder answers: the shares of its rungs, each by its worth."""
    return float(share @ worth(len(share)))


METHODS: dict[str, Callable[[Answers, Answers], Bands]] = {
    "stair": by_stair,
    "bonferroni": by_bonferroni,
    "weighted": by_weights,
    "graph": by_graph,
}


def simulate(shop: Answers, products: int, draws: int, methods: Sequence[str], seed: int = 1) -> dict[str, np.ndarray]:
    """Draw products to tune and to certify on, again and again.

    Returns
    -------
    dict of str to ndarray, shape (draws, 4)
        For each method: whether a promise was missed, what was answered by its worth, the share answered with a
        category, and the share answered at all.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in methods}
    for _ in range(draws):
        rows = rng.integers(0, len(shop.correct), 2 * products)
        tune, sure = part(shop, rows[:products]), part(shop, rows[products:])
        for name in methods:
            done = outcome(shop, METHODS[name](tune, sure))
            found[name].append((float(done.missed), gain(done.share), done.share[0], done.share.sum()))
    return {name: np.array(rows) for name, rows in found.items()}


def main(draws: int, others: int) -> None:
    path = Path(__file__).parents[2] / "results" / "decisions" / "ladder.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = ["shape", "rungs", "sample", "products", "test", "draws", "missed", "answered_by_worth", "category"]
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow([*columns, "answered", "nothing_certified"])
        for rungs in (2, 3):
            for shape in SHAPES:
                for kind, (products, tied) in KINDS.items():
                    shop = flow(shape, rungs, tied)
                    found = simulate(shop, products, others, list(METHODS))
                    more = simulate(shop, products, draws - others, ["stair"], seed=2)
                    found["stair"] = np.concatenate([found["stair"], more["stair"]])
                    for name, rows in found.items():
                        means = [f"{value:.4f}" for value in rows.mean(axis=0)]
                        none = f"{np.mean(rows[:, 3] == 0):.4f}"
                        writer.writerow([shape, rungs, kind, products, name, len(rows), *means, none])
                    handle.flush()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:] or (2000, 400)))
