"""The quality gate on stored predictions of real runs, with and without a loss.

``nice python -m tests.benchmarks.gate_on_runs FILE.csv RUN DRAW DRAW ...`` reads RUN, a run directory with predictions,
and DRAWs, runs on the same split that were trained with other seeds. With a fixed seed, it lays before the gate:

planted
    RUN against itself, on 4,000 of its test products, with 2 points of all products, of those that are right, made
    wrong in one of its backends. ``--tries`` times (300), the backends in turn.
redrawn
    Two DRAWs on 4,000 products, each product's two predictions exchanged at random: noise of the products alone. As
    often, the pairs in turn.
drawn again
    Each DRAW against each other, in both directions, on all products.
drawn again and planted
    The same on 4,000 products with 2 points made wrong in the newer one, in one backend.

``results/decisions/gate-on-runs.csv`` is of the study `fashion` at seed 0, and of five trainings on its split: its
photos in Parquet with the column ``split``, ``shelfbench run --dataset DIR --set pixels=128 --seed N``.
``--luck FILE.csv`` writes the precision and the acceptance of each DRAW: ``results/decisions/gate-luck.csv``.
"""

import argparse
import csv
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np

from shelfbench.runs.directory import open_run
from shelfbench.runs.versions import contestant, open_pair
from shelfbench.verdict.gate import GateSettings, gate
from shelfbench.verdict.metrics import acceptance

PRODUCTS, DROP = 4000, 0.02
COLUMNS = ("case", "backends", "products", "tries", "worse")


def some(pairs, rng, products=PRODUCTS):
    """Take some of the products."""
    kept = rng.choice(len(pairs[0][0].correct), products, replace=False)
    return [tuple(_rows(one, kept) for one in pair) for pair in pairs]


def _rows(one, kept):
    return replace(one, product_id=one.product_id[kept], confidence=one.confidence[kept], correct=one.correct[kept])


def planted(pairs, number, rng):
    """Make right products of the newer run wrong, in one backend."""
    old, new = pairs[number]
    correct = new.correct.copy()
    correct[rng.choice(np.flatnonzero(correct), round(DROP * len(correct)), replace=False)] = False
    return [*pairs[:number], (old, replace(new, correct=correct)), *pairs[number + 1 :]]


def redrawn(pairs, rng):
    """Exchange old and new at random, product by product, the same for all backends."""
    swap = rng.random(len(pairs[0][0].correct)) < 0.5
    found = []
    for old, new in pairs:
        sides = [
            replace(
                one,
                confidence=np.where(swap, other.confidence, one.confidence),
                correct=np.where(swap, other.correct, one.correct),
            )
            for one, other in ((old, new), (new, old))
        ]
        found.append(tuple(sides))
    return found


def worse(pairs, seed):
    """Tell whether the gate shuts."""
    return any(one.worse for one in gate(pairs, GateSettings(seed=seed)))


def in_order(pairs):
    """Sort the products of old and new alike, as runs may have them in different orders."""
    return [tuple(_rows(one, np.argsort(one.product_id, kind="stable")) for one in pair) for pair in pairs]


def rows(run, draws, tries):
    """Yield a row for each case."""
    same = _of_one(run)
    rng = np.random.default_rng(0)
    shut = sum(worse(planted(some(same, rng), number % len(same), rng), number) for number in range(tries))
    yield "planted", len(same), PRODUCTS, tries, shut
    both = [in_order(open_pair(*pair).contestants()) for pair in itertools.permutations(draws, 2)]
    count, products = len(both[0]), len(both[0][0][0].correct)
    shut = sum(worse(redrawn(some(both[number % len(both)], rng), rng), number) for number in range(tries))
    yield "redrawn", count, PRODUCTS, tries, shut
    yield "drawn again", count, products, len(both), sum(worse(pairs, number) for number, pairs in enumerate(both))
    shut = sum(worse(planted(some(pairs, rng), number % count, rng), number) for number, pairs in enumerate(both))
    yield "drawn again and planted", count, PRODUCTS, len(both), shut


def _of_one(run):
    """Return a run against itself."""
    opened = open_run(run)
    return in_order([(contestant(opened, name),) * 2 for name in opened.backends])


def luck(draws):
    """Yield precision and acceptance on test of every backend of every draw."""
    for number, place in enumerate(draws):
        run = open_run(place)
        for name in run.backends:
            test = contestant(run, name)
            reached = acceptance(test.confidence, test.correct).acceptance
            yield number, name, f"{test.correct.mean():.4f}", f"{reached:.4f}"


def write(place, columns, found):
    """Write a table."""
    with open(place, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(found)


def main():
    """Write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="FILE.csv")
    parser.add_argument("run", metavar="RUN", type=Path)
    parser.add_argument("draws", metavar="DRAW", nargs="+", type=Path)
    parser.add_argument("--tries", type=int, default=300)
    parser.add_argument("--luck", metavar="FILE.csv")
    options = parser.parse_args()
    if options.luck:
        write(options.luck, ("draw", "backend", "precision", "acceptance"), luck(options.draws))
    write(options.out, COLUMNS, rows(options.run, options.draws, options.tries))


if __name__ == "__main__":
    main()
