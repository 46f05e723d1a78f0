"""How many labels of a flow does a certificate take, drawn at random and as ``shelfbench label`` draws them?

``nice python -m tests.simulations.label results/decisions/label.csv`` draws 20 shops. For each of them, and for each
number of labels, it draws ``tune`` and a flow 16 times (``--draws``), labels products by each rule, certifies with 95%
probability, and compares the threshold with the truth. A row is a shop, a number of labels and a rule; rows of the shop
``all`` are means over the shops. Columns: ``certified``, in how many of the draws there is a certificate;
``acceptance``, the share of the flow that it accepts (0 without one) over the largest share that any threshold
accepts at the target; ``missed``, in how many of the draws the certified threshold misses the target. The last rows say
with how many labels the rule ``label`` reaches what another one reaches with 100, 200 and 400; their last column is the
share of labels that this saves.

In a shop, the confidence is Beta(a, b), and the logit of being right is a line in its logit, up to a share of wrong
labels: the calibration is off, as it is in real runs. The rules:

today
    Labels drawn at random from the whole flow, and the walk of version 0.1, from min(100, n / 5) accepted products on.
random
    Labels drawn at random from the whole flow, and the walk that starts where the expected certificate is best.
label
    Labels drawn at random above a cut, both chosen for the best expected certificate (`shelfbench.verdict.labelling`).
uniform, strata
    Not simulated, for 200 labels: the largest product of acceptance and chance to pass, if the error rates were known,
    for labels drawn above a cut with equal chances, and more often below a second cut than above it.
"""

import argparse
import csv
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import expit, logit, ndtr, xlogy

from shelfbench.verdict.certify import binomial_tail
from shelfbench.verdict.labelling import (
    Sampling,
    _best_start,
    _candidates,
    _error_rates,
    _middles,
    certify_sample,
    draw_sample,
    plan_sampling,
)

BUDGETS = (50, 100, 150, 200, 400)
IDEAL = 200
RULES = ("today", "random", "label")
COLUMNS = ("shop", "tune", "flow", "target", "possible", "labels", "rule", "draws", "certified", "acceptance", "missed")
LEVEL = 0.95
_FINE = 200_000
_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Shop:
    """How confident a classifier is, how right it is, and how many products there are."""

    a: float
    b: float
    shift: float
    slope: float
    wrong: float
    tune: int
    flow: int
    target: str

    @property
    def allowed(self) -> float:
        return 1 - float(self.target)

    def draw(self, rng, count):
        """Confidences (log-probabilities) and the probability that each product is wrong."""
        confidence = np.clip(rng.beta(self.a, self.b, count), 1e-6, 1 - 1e-9)
        return np.log(confidence), 1 - (1 - self.wrong) * expit(self.shift + self.slope * logit(confidence))

    @cached_property
    def truth(self):
        """Confidences in falling order, and the error rate of accepting as many."""
        confidence, wrong = self.draw(np.random.default_rng(7), _FINE)
        order = np.argsort(-confidence)
        return confidence[order], np.cumsum(wrong[order]) / np.arange(1, _FINE + 1)

    @cached_property
    def possible(self):
        """The largest share that a threshold accepts at the target."""
        kept = np.flatnonzero(self.truth[1] <= self.allowed)
        return (kept[-1] + 1) / _FINE if len(kept) else 0.0

    def result(self, threshold):
        """The share that a threshold accepts of what is possible, and whether it misses the target."""
        if threshold is None:
            return 0.0, False
        count = int(np.searchsorted(-self.truth[0], -threshold, side="right"))
        return count / _FINE / self.possible, bool(count and self.truth[1][count - 1] > self.allowed + _TOLERANCE)


def shops(seed=18, count=20):
    """Draw shops in which something between a quarter and nearly all of the flow can be accepted."""
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        shop = Shop(
            a=rng.uniform(1.5, 8),
            b=rng.uniform(0.2, 1.0),
            shift=rng.uniform(-0.8, 0.5),
            slope=rng.uniform(0.7, 1.3),
            wrong=float(rng.choice([0, 0.005, 0.01, 0.02])),
            tune=int(rng.choice([100, 200, 500, 1000, 2000])),
            flow=int(rng.choice([2000, 5000, 20_000])),
            target=str(rng.choice(["0.9", "0.9", "0.95"])),
        )
        if 0.25 <= shop.possible <= 0.97:
            found.append(shop)
    return found


def walk_today(tune, confidence, correct, allowed):
    """The walk of version 0.1, on labels of the whole flow."""
    grid = np.unique(np.sort(tune)[::-1][-(-np.arange(1, 101) * len(tune) // 100) - 1])[::-1]
    found = None
    for threshold in grid:
        taken = confidence >= threshold
        if taken.sum() < min(100, len(confidence) / 5):
            continue
        if binomial_tail((taken & ~correct).sum(), taken.sum(), allowed) > 1 - LEVEL:
            break
        found = threshold
    return found


def plan_random(flow, tune, shop, budget, seed):
    """The same plan as `plan_sampling` makes, but labels come from the whole flow."""
    accepted, thresholds = _candidates(np.sort(flow)[::-1])
    rng = np.random.default_rng([seed, 4])
    rates = _error_rates(tune, _middles(np.sort(flow)[::-1], accepted), rng)
    best = _best_start(rates, accepted, budget, (shop.allowed, 1 - LEVEL), rng)
    return Sampling(accepted=accepted[best.first :], thresholds=thresholds[best.first :], chance=best.chance)


def thresholds_of(shop, budget, seed, rules=RULES):
    """Draw one tune and one flow, label products by each rule, and return the certified thresholds."""
    rng = np.random.default_rng([seed, budget])
    tune, rate = shop.draw(rng, shop.tune)
    known = (tune, rng.random(shop.tune) >= rate)
    flow, rate = shop.draw(rng, shop.flow)
    right = rng.random(shop.flow) >= rate
    found = {}
    whole = rng.permutation(shop.flow)[:budget]
    for rule in rules:
        if rule == "today":
            found[rule] = walk_today(tune, flow[whole], right[whole], shop.allowed)
            continue
        if rule == "random":
            plan, drawn = plan_random(flow, known, shop, budget, seed), whole
        else:
            plan = plan_sampling(flow, known, budget=budget, target=shop.target, level=LEVEL, seed=seed)
            drawn = draw_sample(flow, plan, budget, seed)
        reached = certify_sample(flow[drawn], right[drawn], plan, target=shop.target, level=LEVEL).reached
        found[rule] = None if reached is None else float(plan.thresholds[reached])
    return found


def simulate(shop, budget, draws, rules=RULES):
    """By rule: the share of draws with a certificate, the mean acceptance, and the share that misses."""
    results = {rule: [] for rule in rules}
    for seed in range(draws):
        for rule, threshold in thresholds_of(shop, budget, seed, rules).items():
            results[rule].append((threshold is not None, *shop.result(threshold)))
    return {rule: np.mean(np.array(values, float), axis=0) for rule, values in results.items()}


def _distance(rate, edge):
    rate, edge = np.clip(rate, 1e-6, 1), np.clip(edge, 1e-9, 1 - 1e-9)
    return np.where(edge > rate, xlogy(rate, rate / edge) + xlogy(1 - rate, (1 - rate) / (1 - edge)), 0)


def best_of_strata(shop, budget):
    """Acceptance times chance to pass, at best, for equal chances and for two strata, if the error rates are known.

    The chance is that of the likelihood-ratio test of the nearest pair of rates at which the target is missed.
    """
    cuts = np.arange(1, 61) * _FINE // 60
    rates, share = shop.truth[1][cuts - 1], cuts / _FINE
    root = 1.645
    alone = share * ndtr(np.sqrt(2 * budget * _distance(rates, shop.allowed)) - root) * (rates < shop.allowed)
    best = 0.0
    for last in range(2, 60, 2):
        if rates[last] >= shop.allowed:
            continue
        for first in range(0, last, 3):
            doubtful = 1 - share[first] / share[last]
            wrong = (rates[last] * share[last] - rates[first] * share[first]) / (share[last] - share[first])
            sure = np.linspace(0, min(1, shop.allowed / (1 - doubtful)), 40)
            other = np.clip((shop.allowed - (1 - doubtful) * sure) / doubtful, 0, 1)
            for part in (0.2, 0.35, 0.5, 0.65, 0.8):
                gap = (1 - part) * _distance(rates[first], sure) + part * _distance(wrong, other)
                best = max(best, share[last] * ndtr(np.sqrt(2 * budget * gap.min()) - root))
    return alone.max() / shop.possible, best / shop.possible


def labels_needed(means, rule, column, wanted):
    """Interpolate the number of labels with which a rule reaches a value; NaN beyond the largest number."""
    reached = np.array([means[budget, rule][column] for budget in BUDGETS])
    above = np.flatnonzero(reached >= wanted)
    if not len(above) or above[0] == 0:
        return float(BUDGETS[0]) if len(above) else float("nan")
    at = above[0]
    return float(np.interp(wanted, reached[at - 1 : at + 1], BUDGETS[at - 1 : at + 1]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out")
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--seed", type=int, default=18, help="which 20 shops")
    options = parser.parse_args()
    found, ideal = {}, {}
    with open(options.out, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        for number, shop in enumerate(shops(options.seed)):
            about = [number, shop.tune, shop.flow, shop.target, f"{shop.possible:.3f}"]
            for budget in BUDGETS:
                for rule, values in simulate(shop, budget, options.draws).items():
                    found[number, budget, rule] = values
                    writer.writerow([*about, budget, rule, options.draws, *(f"{value:.3f}" for value in values)])
            for rule, value in zip(("uniform", "strata"), best_of_strata(shop, IDEAL), strict=True):
                ideal.setdefault(rule, []).append(value)
                writer.writerow([*about, IDEAL, rule, "", "", f"{value:.3f}", ""])
            handle.flush()
        numbers = sorted({number for number, _, _ in found})
        means = {
            (budget, rule): np.mean([found[number, budget, rule] for number in numbers], axis=0)
            for budget in BUDGETS
            for rule in RULES
        }
        for (budget, rule), values in means.items():
            writer.writerow(["all", "", "", "", "", budget, rule, options.draws, *(f"{value:.3f}" for value in values)])
        for rule, values in ideal.items():
            writer.writerow(["all", "", "", "", "", IDEAL, rule, "", "", f"{np.mean(values):.3f}", ""])
        for rule in ("random", "today"):
            for budget in (100, 200, 400):
                for column, name in ((0, "certified"), (1, "acceptance")):
                    wanted = means[budget, rule][column]
                    need = labels_needed(means, "label", column, wanted)
                    said = f"as {rule} with {budget}: {name} {wanted:.3f}"
                    saved = f"{1 - need / budget:.3f}"
                    writer.writerow([said, "", "", "", "", f"{need:.0f}", "label", "", "", "", saved])


if __name__ == "__main__":
    main()
