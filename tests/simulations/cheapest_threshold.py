"""What a threshold costs that was chosen by its cost on few products, with errors added to those that were seen.

    python -m tests.simulations.cheapest_threshold

writes ``results/decisions/cheapest_threshold.csv``. A shop's confidences are uniform between 0 and 1, and a product of
confidence u is right with probability u ** (1 / skill). The threshold is chosen on so many products; what it then costs
on all future ones is known. Costs are in reviews: 1 is reviewing everything. `shelfbench.verdict.costs.cheapest` adds
one error.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from shelfbench.base.storage import write_text

ADDED = (0.0, 0.5, 1.0, 2.0)
TRIES = 1000


def true_cost(threshold: np.ndarray, ratio: float, skill: float) -> np.ndarray:
    """Cost of a product of the flow: what is reviewed, and errors of what is not."""
    accepted = 1 - threshold
    right = (1 - threshold ** (1 / skill + 1)) / (1 / skill + 1)
    return 1 - accepted + ratio * (accepted - right)


def costs(products: int, ratio: float, skill: float) -> list[float]:
    """Mean cost by the number of errors that are added."""
    rng = np.random.default_rng(0)
    found = np.empty((TRIES, len(ADDED)))
    taken = np.arange(1, products + 1)
    for one in range(TRIES):
        confidence = np.sort(rng.random(products))[::-1]
        wrong = np.cumsum(rng.random(products) >= confidence ** (1 / skill))
        for place, added in enumerate(ADDED):
            saved = taken - ratio * (wrong + added * taken / (taken + 1))
            best = int(np.argmax(saved))
            found[one, place] = true_cost(confidence[best], ratio, skill) if saved[best] > 0 else 1.0
    return found.mean(axis=0).tolist()


def main() -> None:
    """Simulate every shop, and write the table."""
    rows = []
    for products in (150, 1000):
        for ratio in (3, 24, 200, 5000):
            for skill in (1, 9, 60):
                least = float(true_cost(np.linspace(0, 1, 10_001), ratio, skill).min())
                names = [f"{added:g}_errors_added" for added in ADDED]
                found = dict(zip(names, costs(products, ratio, skill), strict=True))
                rows.append({"products": products, "error_in_reviews": ratio, "skill": skill, **found, "least": least})
    frame = pd.DataFrame(rows).round(4)
    write_text(Path("results", "decisions", "cheapest_threshold.csv"), frame.to_csv(index=False))


if __name__ == "__main__":
    main()
