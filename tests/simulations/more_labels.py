"""Can a sample that does not certify tell how many more labelled products would do?

``nice python -m tests.simulations.more_labels results/decisions/more-labels.csv`` finds, for kinds of classifiers, the
size of certify at which a threshold is certified in half of the draws. Then it draws samples of 0.3 to 1.2 times that
size, and estimates the number from those that do not certify, as well as it can be done: from tune and certify
together, at the threshold where the walk begins. `right` is the share of estimates within a factor of 1.5.

`theory` is the same for one fixed threshold and normal errors, over all samples: the number it takes goes by the square
of the distance between precision and target in standard errors, and a sample shows that distance with an error of one.
It rises to 0.8 only for samples of eight times as many products as would certify.
"""

import argparse
import csv
from fractions import Fraction

import numpy as np
from scipy.stats import norm

from shelfbench.verdict.certify import certify, coverage_grid, products_to_certify
from shelfbench.verdict.walk import Tuned
from tests.simulations.walks import KINDS, Kind, simulate

NAMES = ("beta 12", "0.955 everywhere", "0.95, then 0.6", "wrong at the top", "beta 25, 3% of labels wrong")
SHARES = (0.3, 0.5, 0.8, 1.2)
COLUMNS = ("kind", "enough", "products", "estimates", "right", "theory")
TARGET, FACTOR = Fraction(9, 10), 1.5


def enough(kind, draws):
    """Find the size of certify at which half of the draws are certified."""
    sizes = np.round(30 * 1.35 ** np.arange(11)).astype(int)
    share = np.maximum.accumulate(
        [simulate(kind, (int(n), int(n)), draws, ("tuned",), seed=4)["tuned"][0] for n in sizes]
    )
    return float(np.exp(np.interp(0.5, share, np.log(sizes))))


def theory(share):
    """Compute the probability that an estimate is within the factor; see above."""
    asked = norm.ppf(0.95)
    distance = asked * np.sqrt(2 * share)  # in standard errors of tune and certify together
    low, high = distance / np.sqrt(FACTOR), distance * np.sqrt(FACTOR)
    return norm.cdf(high - distance) - norm.cdf(low - distance)


def estimates(kind, products, draws, seed=5):
    """Estimate how many products certify from each draw that does not; NaN where the precision is below the target."""
    rng = np.random.default_rng([seed, products])
    found = []
    for _ in range(draws):
        tune, sure = kind.draw(rng, products), kind.draw(rng, products)
        grid = coverage_grid(tune[0])
        start = Tuned.of(*tune, grid)
        if certify(*sure, grid, start=start).certified:
            continue
        first, own = start.first(products, TARGET, 0.95), Tuned.of(*sure, grid)
        accepted, right = (int((a + b)[first]) for a, b in ((start.accepted, own.accepted), (start.right, own.right)))
        it_takes = products_to_certify(Fraction(right, accepted), TARGET) if accepted else None
        found.append(it_takes / (accepted / (2 * products)) if it_takes else np.nan)
    return np.array(found)


def main():
    """Simulate and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="FILE.csv")
    parser.add_argument("--draws", type=int, default=200)
    options = parser.parse_args()
    with open(options.out, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for name in NAMES:
            kind = Kind(KINDS[name])
            size = enough(kind, options.draws // 4)
            for share in SHARES:
                found = estimates(kind, round(share * size), options.draws)
                right = np.mean((found < FACTOR * size) & (found > size / FACTOR)) if len(found) else np.nan
                row = (name, round(size), round(share * size), len(found), f"{right:.3f}", f"{theory(share):.3f}")
                table.writerow(row)
                file.flush()


if __name__ == "__main__":
    main()
