"""A user without rights, and a clock that is set back: one line that names the place, or nothing differs.

::

    python -m tests.torture.rights --seed 0 --count 100 --out results/scale/torture-rights.csv
"""

from __future__ import annotations

import ctypes
import random
import sys
import time
from pathlib import Path

from tests.torture import chain, warm
from tests.torture.kills import ENDS
from tests.torture.records import HELD, Rows, arguments, workplace

YEAR = 31_557_600.0


def powerless() -> None:
    """Give up what lets an administrator read and write everything; for others this changes nothing."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    nothing = (ctypes.c_uint32 * 6)()
    ctypes.CDLL(None, use_errno=True).capset(ctypes.byref(header), ctypes.byref(nothing))


def set_back(seconds: float) -> None:
    """Let the clock of a process show an earlier time, or a later one; files keep the system's."""
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() - seconds
    time.time_ns = lambda: now_ns() - int(seconds * 1e9)


def without_rights(known: chain.Undisturbed, root: Path, rng: random.Random) -> dict[str, object]:
    """Take the right to read or write something away, and give it back."""
    step, place = rng.choice(known.steps), root / "place"
    chain.restored(known.before[step.name], place)
    inside = sorted(path for path in place.rglob("*") if not path.name.startswith("."))
    inside = [path for path in inside if "locks" not in path.parts] or [place]
    taken = rng.choice([*inside, place, place / "cache", place / "tmp"])
    mode = rng.choice((0o000, 0o555 if taken.is_dir() else 0o444))
    taken.chmod(mode)
    ended = warm.run(step.words, place, before=powerless)
    names = {taken.name, *(part.name for part in taken.parents if part.is_relative_to(place))}
    wrong = ended.wrong([*sorted(names - {""}), str(place), "temporary"])
    if not wrong and ended.code not in (*step.fine, 1, 2):
        wrong = f"exit {ended.code}: {ended.err[-200:]}"
    chain.opened_up(place)
    chain.aged(place)
    given = step.again(place)
    wrong = wrong or given.wrong() or (f"given again: exit {given.code}" if given.code not in step.fine else "")
    left = chain.leftovers(place)
    wrong = wrong or (f"left: {left[0]}" if left else "") or chain.difference(place, known.after[step.name])
    how = f"mode {mode:o} of {taken.relative_to(place)}"
    return {"what": step.name, "how": how, "hits": int(ended.code in (1, 2)), "outcome": wrong or HELD}


def with_another_clock(known: chain.Undisturbed, root: Path, rng: random.Random) -> dict[str, object]:
    """Kill a command, set the clock back or forward, and give the command again."""
    step, place = rng.choice(known.steps), root / "place"
    chain.restored(known.before[step.name], place)
    blow = warm.Blow(number=warm.SIGNALS["KILL"], after=rng.uniform(0, known.seconds[step.name]))
    killed = warm.run(step.words, place, blow=blow)
    chain.aged(place)
    away = rng.choice((3600.0, YEAR, 20 * YEAR, -YEAR))
    ended = step.again(place, before=lambda: set_back(away))
    wrong = killed.wrong() or ended.wrong() or (f"exit {ended.code}" if ended.code not in step.fine else "")
    left = chain.leftovers(place)
    wrong = wrong or (f"left: {left[0]}" if left else "") or chain.difference(place, known.after[step.name])
    how = f"killed after {blow.after:.2f} s, clock {'back' if away > 0 else 'forward'} {abs(away) / 3600:.0f} h"
    return {"what": step.name, "how": how, "hits": int(killed.code in ENDS["KILL"]), "outcome": wrong or HELD}


def torture(known: chain.Undisturbed, root: Path, seed: int, numbers: range, rows: Rows) -> int:
    """Take rights away and set clocks, in turns; returns 1 if anything was found."""
    found = 0
    for number in numbers:
        rng = random.Random(f"rights {seed} {number}")
        kind, attack = ("clock", with_another_clock) if number % 2 else ("rights", without_rights)
        told = attack(known, root, rng)
        rows.add(kind=kind, seed=seed, number=number, **told)
        found |= told["outcome"] != HELD
    return found


def main(words: list[str] | None = None) -> int:
    options = arguments(__doc__ or "", 100).parse_args(words)
    with workplace("rights") as root:
        warm.warm_up()
        numbers = range(options.first, options.first + options.count)
        return torture(chain.undisturbed(root), root, options.seed, numbers, Rows(options.out))


if __name__ == "__main__":
    sys.exit(main())
