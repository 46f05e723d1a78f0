"""What a machine's cores multiply at most in float32: the ceiling that rows of the performance table are held against.

python tests/benchmarks/peak.py results/performance/peak.json
"""

import sys
import time
from pathlib import Path

import numpy as np

from shelfbench.base.storage import write_json

SIDE, RUNS = 3000, 40


def main(record: Path) -> None:
    square = np.ones((SIDE, SIDE), np.float32)
    found = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        square @ square
        found.append(2e-9 * SIDE**3 / (time.perf_counter() - begun))
    median, best = float(np.median(found)), max(found)
    write_json(record, {"product": f"{SIDE} x {SIDE}, float32", "gflop_s_median": median, "gflop_s_best": best})
    print(f"{median:.0f} GFLOP/s (median), {best:.0f} (best)")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
