"""All attacks: the long test (``nox -s torture``), or with ``--short`` a few tries of each kind in under two minutes.

::

    python -m tests.torture --short
    python -m tests.torture --out results/scale/torture.csv
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.torture import chain, disk, flips, fuzz, kills, rights, warm
from tests.torture.records import Rows, workplace

# Tries of each kind: the long test, the short one.
COUNTS = {"kills": (300, 6), "flips": (500, 8), "disk": (120, 3), "rights": (100, 2), "fuzz": (1_000_000, 1500)}
ATTACKS = {"kills": kills.torture, "flips": flips.torture, "disk": disk.torture, "rights": rights.torture}


def main(words: list[str] | None = None) -> int:
    words = sys.argv[1:] if words is None else words
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a few tries of each kind")
    parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same tries")
    parser.add_argument("--out", type=Path, help="table to which a row is added for each try; fuzz-* beside it")
    parser.add_argument("--only", choices=COUNTS, action="append", help="only this kind, or these")
    options = parser.parse_args(words)
    disks = disk.inside() or disk.possible()
    if disks and not disk.inside():
        return disk.again_inside("tests.torture", words)
    if not disks:
        print("disk: this system lets nobody mount a tmpfs in a namespace of their own, so no disk is filled")
    chosen = [name for name in options.only or COUNTS if name != "disk" or disks]
    found, rows, started = 0, Rows(options.out), time.monotonic()
    warm.warm_up()
    if attacks := [name for name in chosen if name in ATTACKS]:
        with workplace("torture") as root:
            known = chain.undisturbed(root)
            for name in attacks:
                found |= ATTACKS[name](known, root, options.seed, range(COUNTS[name][options.short]), rows)
    if "fuzz" in chosen:
        told = [] if options.out is None else ["--out", str(options.out.with_name(f"fuzz-{options.out.name}"))]
        count = COUNTS["fuzz"][options.short]
        found |= fuzz.main(["--seed", str(options.seed), "--count", str(count), *told])
    print(f"{'something was found' if found else 'all held'}, in {time.monotonic() - started:.0f} s")
    return found


if __name__ == "__main__":
    sys.exit(main())
