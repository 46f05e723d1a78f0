"""Which bound certifies a precision at another mix of categories, and which keeps its promise?

``nice python -m tests.simulations.mixes results/decisions/mixes.csv`` draws certify parts of 150, 600 and 2,000
products in 10 or 60 categories, whose shares differ from those of the flow by factors of exp(spread * normal), 400
times each (``--draws``), at one threshold. `passes` is the share of draws in which a precision of 0.9 at the mix of the
flow is certified with 95% probability; where the true one is 0.9, that may be at most 0.05. In the kind `rare`, a third
of the flow comes from a category of which certify has 3 products, right on 0.7, and the others make up for it.

unweighted
    The binomial test on all products, whatever the mix: not a test of what is asked.
drawn
    Rejection sampling to the mix of the flow, then the exact binomial test (`shelfbench.verdict.flow`).
betting
    The product of 1 + bet * weight * (right - 0.9) over accepted products, with a bet fixed on tune: importance
    weights, exact for strata of fixed sizes too (Waudby-Smith and Ramdas 2024, sections 3 and 4).
effective
    The binomial test for the effective number of products (Korn and Graubard 1998): importance weights, approximate.
"""

import argparse
import csv

import numpy as np

from shelfbench.verdict.flow import Flow
from shelfbench.verdict.walk import binomial_tail

TARGET, ALPHA = 0.9, 0.05
BOUNDS = ("unweighted", "drawn", "betting", "effective")
COLUMNS = ("kind", "products", "categories", "spread", "precision", "largest_weight", "draws", "bound", "passes")
_BETS = np.linspace(0.02, 0.98, 25) / TARGET


class Shop:
    """A certify part of fixed size per category, and a flow that is mixed otherwise."""

    def __init__(self, rng, products, categories, spread, precision, rare=False):
        flow = rng.dirichlet(np.ones(categories))
        if rare:
            flow = np.append(flow[:-1] / flow[:-1].sum() * 2 / 3, 1 / 3)
        share = flow * np.exp(rng.normal(0, spread, categories))
        count = np.maximum(np.round(products * share / share.sum()), 1).astype(int)
        right = np.clip(precision + rng.normal(0, 0.04, categories), 0, 1)
        accepts = np.clip(0.8 + rng.normal(0, 0.1, categories), 0.1, 1)
        if rare:
            count[-1], right[-1], accepts[-1] = 3, 0.7, 0.8
        others = np.arange(categories) < categories - rare
        for _ in range(60):  # until the weighted precision is the one that is wanted
            now = (flow * accepts * right).sum() / (flow * accepts).sum()
            right[others] = np.clip(right[others] + precision - now, 0, 1)
        self.truth = np.repeat(np.arange(categories), count).astype(str)
        code = self.truth.astype(int)
        self.right, self.accepts = right[code], accepts[code]
        self.flow = Flow({str(key): float(part) for key, part in enumerate(flow)}, "the flow")
        self.weight = self.flow.weights(self.truth)

    def draw(self, rng):
        """Draw which products are accepted, and which are right."""
        return rng.random(len(self.truth)) < self.accepts, rng.random(len(self.truth)) < self.right


def binomial(right, total):
    """Tell whether the exact test certifies, for numbers that need not be whole."""
    return bool(total > 0 and binomial_tail(total - right, total, 1 - TARGET) <= ALPHA)


def effective(weight, right):
    """Test the effective number of products."""
    share = weight[right].sum() / weight.sum()
    total = weight.sum() ** 2 / np.square(weight).sum()
    spread = np.square(weight * (right - share)).sum() / weight.sum() ** 2
    total = min(total, share * (1 - share) / spread) if spread > 0 else total
    return binomial(share * total, total)


def passes(shop, rng):
    """Tell for each bound whether it certifies one draw."""
    accepted, right = shop.draw(rng)
    tuned_accepted, tuned_right = shop.draw(rng)
    scaled = shop.weight / shop.weight.max()
    tuned = np.append(scaled * tuned_accepted * (tuned_right - TARGET), -0.3 * TARGET)
    bet = _BETS[np.argmax(np.log1p(_BETS[:, None] * tuned).sum(axis=1))]
    kept = (rng.random(len(scaled)) < scaled) & accepted
    gained = np.log1p(bet * scaled * accepted * (right - TARGET)).sum()
    return (
        binomial(right[accepted].sum(), accepted.sum()),
        binomial(right[kept].sum(), kept.sum()),
        gained >= -np.log(ALPHA),
        bool(accepted.any()) and effective(shop.weight[accepted], right[accepted]),
    )


def simulate(kind, draws, seed=0):
    """Return the largest weight, and for each of `BOUNDS` how often it certifies."""
    rng = np.random.default_rng(seed)
    shop = Shop(rng, **kind)
    return shop.weight.max(), np.mean([passes(shop, rng) for _ in range(draws)], axis=0)


def kinds():
    """Yield name and parameters of everything that is simulated."""
    for products in (150, 600, 2000):
        for precision in (0.9, 0.93, 0.96):
            for categories in (10, 60):
                for spread in (0.0, 0.3, 0.8):
                    yield (
                        "usual",
                        {
                            "products": products,
                            "categories": categories,
                            "spread": spread,
                            "precision": precision,
                        },
                    )
        rare = {"products": products, "categories": 10, "spread": 0.0, "precision": 0.9, "rare": True}
        yield "rare", rare


def main():
    """Simulate and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="FILE.csv")
    parser.add_argument("--draws", type=int, default=400)
    options = parser.parse_args()
    with open(options.out, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for name, kind in kinds():
            largest, found = simulate(kind, options.draws)
            for bound, share in zip(BOUNDS, found, strict=True):
                asked = (kind["products"], kind["categories"], kind["spread"], kind["precision"])
                table.writerow((name, *asked, f"{largest:.2f}", options.draws, bound, f"{share:.4f}"))
            file.flush()


if __name__ == "__main__":
    main()
