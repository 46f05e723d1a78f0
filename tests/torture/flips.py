"""A bit flipped in any file that a command reads: it is found, in a line that names the file, or changes nothing.

::

    python -m tests.torture.flips --seed 0 --count 500 --out results/scale/torture-flips.csv

What people write themselves (a catalogue, labels) has no hash: there, a flipped bit is another input, which has to be
read or refused in one line.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture import chain, warm
from tests.torture.chain import KNN, ONE, settings
from tests.torture.records import HELD, Rows, arguments, workplace

DECIDE = ("decide", "run", "hog-svm", "--precision", "0.3", "--confidence", "0.6", "--out", "decided")
FRESH = ("run", "default", "--backend", "hog-svm", *settings(), *ONE, "--out", "fresh")
CLASSIFY = ("classify", "decision", "other", "--out", "again.csv", *ONE)
LABEL = ("label", "run", "hog-svm", "other", "--budget", "10", "--precision", "0.3", "--out", "drawn.csv")
ANSWERED = (*LABEL[:3], "--answers", "answers.csv", *LABEL[4:])
# What reads the files of a folder.
READERS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "run": (("report", "run"), DECIDE, LABEL, ("merge", "run", "head", "--out", "merged"), chain.STEPS[1].words),
    "head": (
        ("merge", "run", "head", "--out", "merged"),
        ("run", "default", "--backend", "hog-knn", *settings(*KNN), *ONE, "--out", "head"),
    ),
    "both": (("compare", "both", "--resamples", "200"), ("report", "both")),
    "cache": (FRESH,),
    "decision": (CLASSIFY, ("watch", "decision", "labelled.csv")),
    "decision-watch.npz": (("watch", "decision", "labelled.csv"),),
    "other": (CLASSIFY, LABEL),
    "answers.csv": (ANSWERED,),
    "labelled.csv": (("watch", "decision", "labelled.csv"),),
}
GIVEN = ("other", "answers.csv", "labelled.csv")
ENDS = (0, 3, 4)


@dataclass
class Flips:
    """What flips start from, and what each command leaves and prints when no bit is flipped."""

    whole: Path
    root: Path
    wanted: dict[tuple[str, ...], tuple[Path, warm.Outcome]] = field(default_factory=dict)

    def undisturbed(self, words: Sequence[str]) -> tuple[Path, warm.Outcome]:
        key = tuple(words)
        if key not in self.wanted:
            place = self.root / f"wanted-{len(self.wanted)}"
            work = self.root / "place"
            chain.restored(self.whole, work)
            ended = warm.run(words, work)
            if ended.code not in ENDS or ended.wrong():
                raise SystemExit(f"undisturbed, {' '.join(words)} ends with {ended.code}: {ended.err[-1000:]}")
            chain.restored(work, place)
            self.wanted[key] = place, ended
        return self.wanted[key]

    def attack(self, rng: random.Random) -> dict[str, object]:
        """Flip a bit, have the file read, and judge."""
        top = rng.choice(list(READERS))
        files = [path for path in _below(self.whole / top) if path.stat().st_size]
        files = [path for path in files if "locks" not in path.parts]
        # folders have hundreds of features and one record: each kind of file gets its share
        kinds = sorted({(path.parent.parent.name, path.suffix) for path in files})
        kind = rng.choice(kinds)
        source = rng.choice([path for path in files if (path.parent.parent.name, path.suffix) == kind])
        name, words = str(source.relative_to(self.whole)), rng.choice(READERS[top])
        wanted, before = self.undisturbed(words)
        place = self.root / "place"
        chain.restored(self.whole, place)
        data = bytearray((place / name).read_bytes())
        bit = rng.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
        (place / name).write_bytes(data)
        ended = warm.run(words, place)
        told = {"what": name, "how": f"bit {bit}, {words[0]}", "hits": int(ended.code in (1, 2))}
        return {**told, "outcome": self._judged(name, ended, before, wanted)}

    def _judged(self, name: str, ended: warm.Outcome, before: warm.Outcome, wanted: Path) -> str:
        # a line may name the folder of a model or a decision, which is one thing
        whole = self.root / "place" / name
        wrong = ended.wrong([whole.name, str(Path(name).parent), whole.parent.name])
        if wrong or ended.code in (1, 2):
            return wrong or HELD
        if ended.code not in ENDS:
            return f"exit {ended.code}: {ended.err[-200:]}"
        if name.split("/")[0] in GIVEN:
            return HELD
        place = self.root / "place"
        if different := chain.difference(place, wanted, (name, "indexes", "cache")):
            return f"silent: {different}"
        if ended.code != before.code:
            return f"silent: exit {before.code} becomes {ended.code}"
        return HELD


def _below(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())


def torture(known: chain.Undisturbed, root: Path, seed: int, numbers: range, rows: Rows) -> int:
    """Flip so many bits; returns 1 if anything was found."""
    flips, found = Flips(known.after["watch"], root), 0
    for number in numbers:
        told = flips.attack(random.Random(f"flips {seed} {number}"))
        rows.add(kind="flips", seed=seed, number=number, **told)
        found |= told["outcome"] != HELD
    return found


def main(words: list[str] | None = None) -> int:
    options = arguments(__doc__ or "", 500).parse_args(words)
    with workplace("flips") as root:
        warm.warm_up()
        numbers = range(options.first, options.first + options.count)
        return torture(chain.undisturbed(root), root, options.seed, numbers, Rows(options.out))


if __name__ == "__main__":
    sys.exit(main())
