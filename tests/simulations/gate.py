"""How often does the quality gate shut, on code that has not changed and on code that has?

``nice python -m tests.simulations.gate results/decisions/gate.csv`` draws 4,000 products, and for each of some backends
an old and a new trained model, with a fixed seed: 1,000 times (``--tries``), or a fifth of that where there is luck, a
loss, or where there are 11 backends. It writes how often the gate says "worse", and for what.

A product is right with a probability that is the same in both models, most of them near 0 or 1: 84% are right, and on
5.5% only one of the two models is right, as where the two-layer networks of `fashion` are trained twice. What happens:

again
    Trained again: each product is drawn again, independently of the others.
again, with luck
    Besides, each model is a little better or worse as a whole: its precision varies by 0.2 points (standard deviation)
    from one training to the next, as that of the largest networks there, or by 0.7 points in one backend of five, as
    that of the smallest.
planted
    The same model, but 2 points of all products, of those that are right, are made wrong: in one backend.
again, 2 points worse
    Trained again, with 2 points less precision on average: in one backend, or in all.
"""

import argparse
import csv
from dataclasses import dataclass

import numpy as np

from shelfbench.verdict.compare import Contestant
from shelfbench.verdict.gate import TOLERANCE, GateSettings, gate

PRODUCTS, DROP = 4000, 0.02
COLUMNS = ("case", "backends", "products", "tries", "worse", "by_precision", "by_acceptance")
# Logits of being right: their spread, their mean, and by how much it falls where precision falls by 2 points.
_SPREAD, _MEAN, _FALL = 8.5, 8.65, 0.69
# A shift of all logits by 1 changes precision by this much.
_SLOPE = 0.028


@dataclass(frozen=True, kw_only=True)
class Case:
    """What happens between the old run and the new one.

    Attributes
    ----------
    name : str
    backends : int
    luck : tuple of float
        Standard deviation of each backend's true precision over trainings; the last is that of all further backends.
    planted : int
        Backends in which products are made wrong; these and all others are otherwise the same model.
    worse : int
        Backends that are trained again and worse.
    tolerance : float
    """

    name: str
    backends: int = 5
    luck: tuple[float, ...] = (0.0,)
    planted: int = 0
    worse: int = 0
    tolerance: float = TOLERANCE

    def draw(self, rng, products=PRODUCTS):
        """Draw each backend's old and new model."""
        return [self._pair(rng, products, number) for number in range(self.backends)]

    def _pair(self, rng, products, number):
        logit, heard = rng.normal(_MEAN, _SPREAD, products), rng.normal(0, 0.75 * _SPREAD, products)
        luck = self.luck[min(number, len(self.luck) - 1)]
        old = self._model(rng, logit, heard, luck)
        if self.planted:
            confidence, correct = old
            correct = correct.copy()
            if number < self.planted:
                correct[rng.choice(np.flatnonzero(correct), round(DROP * products), replace=False)] = False
            return _named(number, old), _named(number, (confidence, correct))
        return _named(number, old), _named(number, self._model(rng, logit - _FALL * (number < self.worse), heard, luck))

    @staticmethod
    def _model(rng, logit, heard, luck):
        moved = logit + rng.normal(0, luck / _SLOPE)
        sure = 0.4 * (logit + heard) + rng.normal(0, 0.2, len(logit))
        return -np.logaddexp(0, -sure), rng.random(len(logit)) < 1 / (1 + np.exp(-moved))


CASES = (
    *(Case(name="again", backends=backends) for backends in (1, 5, 11)),
    Case(name="again, with luck of 0.2 points", luck=(0.002,)),
    Case(name="again, with luck of 0.7 points in one", luck=(0.007, 0.002)),
    Case(name="the same, tolerating 2 points", luck=(0.007, 0.002), tolerance=0.02),
    *(Case(name="planted in one", backends=backends, planted=1) for backends in (1, 5)),
    *(Case(name=f"again, 2 points worse in {many}", worse=worse) for many, worse in (("one", 1), ("all", 5))),
)


def _named(number, model):
    confidence, correct = model
    ids = np.arange(len(correct))
    return Contestant(
        name=f"backend {number}", product_id=ids, confidence=confidence, correct=correct, threshold=np.nan
    )


def shut(case, tries, seed=0):
    """Count in how many tries anything is worse, and whether precision or acceptance says so."""
    counts = np.zeros(3, int)
    for number in range(tries):
        found = gate(
            case.draw(np.random.default_rng([seed, number])), GateSettings(seed=number, tolerance=case.tolerance)
        )
        counts += [
            any(one.worse for one in found),
            any(one.precision.worse for one in found),
            any(one.acceptance.worse for one in found),
        ]
    return counts


def main():
    """Simulate and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="FILE.csv")
    parser.add_argument("--tries", type=int, default=1000)
    options = parser.parse_args()
    with open(options.out, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for case in CASES:
            plain = case.backends <= 5 and case.luck == (0.0,) and not (case.planted or case.worse)
            tries = options.tries if plain else options.tries // 5
            counts = shut(case, tries)
            table.writerow((case.name, case.backends, PRODUCTS, tries, *counts.tolist()))
            file.flush()


if __name__ == "__main__":
    main()
