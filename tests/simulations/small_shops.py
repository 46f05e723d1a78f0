"""What can a small shop certify, from how many products?

``nice python -m tests.simulations.small_shops results/decisions/small-shops.csv`` draws validation parts of 40 to 400
products, 400 times each (``--draws``), halves them or lets 80% of them certify (``split.certify``), and writes how
often a precision of 0.9 is certified, the mean true acceptance, and how often the promise is broken. The first row of
each is the walk as it was before version 0.2.
"""

import argparse
import csv

from tests.simulations.walks import KINDS, Kind, simulate

SIZES = (40, 60, 80, 120, 200, 290, 400)
NAMES = ("0.995 everywhere", "beta 12", "0.955 everywhere", "falls steadily", "0.895 everywhere", "a valley")
CASES = (("first", 0.5), ("tuned", 0.5), ("tuned", 0.8))
COLUMNS = ("kind", "validation", "walk", "certify", "draws", "certified", "acceptance", "missed")


def shop(name, validation, share, draws, rule="tuned"):
    """Simulate one case: how often it certifies, the mean true acceptance, how often the promise is broken."""
    sure = round(share * validation)
    return simulate(Kind(KINDS[name]), (validation - sure, sure), draws, (rule,), seed=3)[rule]


def main():
    """Simulate and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="FILE.csv")
    parser.add_argument("--draws", type=int, default=400)
    options = parser.parse_args()
    with open(options.out, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for name in NAMES:
            for validation in SIZES:
                for rule, share in CASES:
                    numbers = (f"{value:.4f}" for value in shop(name, validation, share, options.draws, rule))
                    table.writerow((name, validation, rule, share, options.draws, *numbers))
            file.flush()


if __name__ == "__main__":
    main()
