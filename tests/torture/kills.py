"""Signals at any moment of any command; the same command is given again until it ends, and nothing may differ.

::

    python -m tests.torture.kills --seed 0 --count 300 --out results/scale/torture-kills.csv
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from tests.torture import chain, warm
from tests.torture.records import HELD, Rows, arguments, workplace

# Of ten signals, as many are these.
OFTEN = ("KILL", "KILL", "KILL", "KILL", "KILL", "KILL", "TERM", "TERM", "HUP", "INT")
ENDS = {"TERM": (143, -15), "HUP": (129, -1), "INT": (130, -2), "KILL": (-9,)}


def attack(known: chain.Undisturbed, root: Path, rng: random.Random) -> dict[str, object]:
    """Kill a command once to three times, give it again, and compare."""
    weights = [known.seconds[step.name] for step in known.steps]
    step = rng.choices(known.steps, weights)[0] if rng.random() < 0.6 else rng.choice(known.steps)
    place, name = root / "place", rng.choice(OFTEN)
    chain.restored(known.before[step.name], place)
    hits, wrong, after = 0, "", 0.0
    for _ in range(rng.choice((1, 1, 2, 3))):
        after = rng.uniform(0, 1.05 * known.seconds[step.name])
        again = rng.choice((None, None, 0.01, 0.3)) if name != "KILL" else None
        ended = warm.run(step.words, place, blow=warm.Blow(number=warm.SIGNALS[name], after=after, again=again))
        hits += ended.code in ENDS[name]
        wrong = wrong or ended.wrong()
        if ended.code not in (*ENDS[name], *step.fine):
            wrong = wrong or f"exit {ended.code} after {name}: {ended.err[-200:]}"
        chain.aged(place)
        if step.once and (place / step.once).exists():
            break
    ended = step.again(place)
    wrong = wrong or ended.wrong()
    if not wrong and ended.code not in step.fine:
        wrong = f"given again: exit {ended.code}: {ended.err[-300:]}"
    left = chain.leftovers(place)
    wrong = wrong or (f"left: {left[0]}" if left else "") or chain.difference(place, known.after[step.name])
    if not wrong and step.name in ("compare", "report") and ended.out != known.said[step.name]:
        wrong = "what it prints differs"
    return {"what": step.name, "how": f"{name} after {after:.2f} s", "hits": hits, "outcome": wrong or HELD}


def torture(known: chain.Undisturbed, root: Path, seed: int, numbers: range, rows: Rows) -> int:
    """Attack so many times; returns 1 if anything was found."""
    found = 0
    for number in numbers:
        told = attack(known, root, random.Random(f"kills {seed} {number}"))
        rows.add(kind="kills", seed=seed, number=number, **told)
        found |= told["outcome"] != HELD
    return found


def main(words: list[str] | None = None) -> int:
    options = arguments(__doc__ or "", 300).parse_args(words)
    with workplace("kills") as root:
        warm.warm_up()
        numbers = range(options.first, options.first + options.count)
        return torture(chain.undisturbed(root), root, options.seed, numbers, Rows(options.out))


if __name__ == "__main__":
    sys.exit(main())
