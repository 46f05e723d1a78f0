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

``nice python -m tests.simulations.gate results/decisions/gate-bounds.csv --bounds --tries 200`` writes another
record: for one backend under each of some laws,
whose true precision and acceptance are known from millions of products, and for several numbers of products, how often
the bounds of what may be lost fail ("fails", of which 2.5% are allowed for each of the two), and how often the test of
acceptance says worse where just as much is lost as is tolerated ("alarms", of which 2.5% are allowed). It does so on
few products, too, where the gate itself says nothing of acceptance.
"""

import argparse
import csv
from dataclasses import dataclass

import numpy as np

from shelfbench.verdict.compare import Contestant
from shelfbench.verdict.gate import LEVEL, TOLERANCE, GateSettings, gate
from shelfbench.verdict.metrics import acceptance

PRODUCTS, DROP = 4000, 0.02
COLUMNS = ("case", "backends", "products", "tries", "worse", "by_precision", "by_acceptance")
# Logits of being right: their spread, their mean, and by how much it falls where precision falls by 2 points.
_SPREAD, _MEAN, _FALL = 8.5, 8.65, 0.69
# A shift of all logits by 1 changes precision by this much.
_SLOPE = 0.028
BOUNDS = (
    *("law", "precision_change", "acceptance_change", "products", "tries"),
    *("precision_fails", "acceptance_fails", "either_fails", "alarms"),
)


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


@dataclass(frozen=True, kw_only=True)
class Law:
    """How the products of an old and a new model are drawn.

    Attributes
    ----------
    name : str
    mean : float
        Of the logits of being right.
    fall : float
        By how much they fall.
    heard : tuple of float
        Noise in the confidence of the old and the new model.
    """

    name: str
    mean: float = _MEAN
    fall: float = 0.0
    heard: tuple[float, float] = (0.75, 0.75)

    def draw(self, rng, products):
        """Draw the old and the new model."""
        logit, noise = rng.normal(self.mean, _SPREAD, products), rng.normal(0, _SPREAD, products)
        falls = zip((0.0, self.fall), self.heard, strict=True)
        return [Case._model(rng, logit - fall, heard * noise, 0.0) for fall, heard in falls]

    def truth(self):
        """Return the true change in precision and in acceptance."""
        sides = self.draw(np.random.default_rng(99), MANY)
        (was, accepted), (now, accepts) = ((right.mean(), acceptance(sure, right).acceptance) for sure, right in sides)
        return now - was, accepts - accepted


LAWS = (
    Law(name="again"),
    Law(name="2 points worse", fall=_FALL),
    Law(name="from all accepted to less", mean=12.6, fall=2.2),
    Law(name="ranked worse", heard=(0.3, 2.5)),
    Law(name="few accepted", mean=-2.0, heard=(1.2, 1.2)),
)
SIZES, MANY = (50, 100, 200, 400, 1000, 4000), 4_000_000


def bounds(law, products, tries, truth):
    """Count in how many tries the bounds of precision, of acceptance and of either fail, and acceptance alarms."""
    counts, lost = np.zeros(4, int), max(0.0, -truth[1])
    for number in range(tries):
        models = law.draw(np.random.default_rng([products, number]), products)
        pair = tuple(_named(0, model) for model in models)
        [found] = gate([pair], GateSettings(seed=number, tolerance=lost, fewest=0))
        fails = [truth[0] < found.precision.least, truth[1] < found.acceptance.least]
        counts += [*fails, any(fails), found.acceptance.p <= LEVEL / 2]
    return counts


def write_bounds(place, tries):
    """Write the record of the bounds."""
    with open(place, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(BOUNDS)
        for law in LAWS:
            truth = law.truth()
            for products in SIZES:
                often = tries if products < 4000 else tries // 2
                counts = bounds(law, products, often, truth)
                change = [f"{value:.4f}" for value in truth]
                table.writerow((law.name, *change, products, often, *counts.tolist()))
                file.flush()


def main():
    """Simulate and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="FILE.csv")
    parser.add_argument("--tries", type=int, default=1000)
    parser.add_argument("--bounds", action="store_true")
    options = parser.parse_args()
    if options.bounds:
        write_bounds(options.out, options.tries)
        return
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
