"""A disk that is full at any size, under the results, the cache or the temporary files: one line, and no half file.

::

    python -m tests.torture.disk --seed 0 --count 120 --out results/scale/torture-disk.csv

The disk is a tmpfs of a few KiB in a namespace of this script's own (``unshare -Urm``), which needs no rights of an
administrator; where a system forbids that, the script says so and does nothing.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

from tests.torture import chain, warm
from tests.torture.chain import ONE, settings
from tests.torture.records import HELD, Rows, arguments, workplace

INSIDE = "SHELFBENCH_TORTURE_INSIDE"
SIZES = 40
SMALLEST, LARGEST = 8 << 10, 6 << 20
ROOM = 256 << 20
# Commands that write to the disk, which is mounted on `full`; the one after which a chain has what each needs.
WRITERS = (
    ("generate", ("generate", "full/other", "--products", "64", "--seed", "5", *ONE)),
    ("run", ("run", "default", "--backend", "hog-svm", *settings(), *ONE, "--out", "full/run")),
    ("merge", ("merge", "run", "head", "--out", "full/both")),
    ("decide", ("decide", "run", "hog-svm", "--precision", "0.3", "--confidence", "0.6", "--out", "full/decision")),
    ("classify", ("classify", "decision", "other", "--out", "full/answers.csv", *ONE)),
    ("label", ("label", "run", "hog-svm", "other", "--budget", "10", "--precision", "0.3", "--out", "full/drawn.csv")),
)


def possible() -> bool:
    """Tell whether this system lets everyone mount a tmpfs in a namespace of their own."""
    command = ["unshare", "-Urm", "mount", "-t", "tmpfs", "-o", "size=64k", "none", "/mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True, check=False).returncode == 0


def inside() -> bool:
    return INSIDE in os.environ


def again_inside(module: str, words: list[str]) -> int:
    """Start a script again in a namespace of its own."""
    command = ["unshare", "-Urm", sys.executable, "-m", module, *words]
    return subprocess.run(command, env={**os.environ, INSIDE: "1"}, check=False).returncode


def _mount(folder: Path, size: int, *more: str) -> None:
    options = ",".join([*more, f"size={max(size, 4096)}"])
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True)


def attack(known: chain.Undisturbed, root: Path, rng: random.Random, size: int) -> dict[str, object]:
    """Give a command a disk of a size, then room, and compare with one that had room from the start."""
    name, words = rng.choice(WRITERS)
    where = rng.choice(("full", "full", "cache", "tmp")) if name == "run" else rng.choice(("full", "tmp"))
    place, wanted = root / "place", root / "wanted"
    ends = (0, 3, 4)
    for folder in (wanted, place):
        chain.restored(known.before[name], folder)
        (folder / "full").mkdir(exist_ok=True)
    if (before := warm.run(words, wanted)).code not in ends:
        return {"what": name, "how": "undisturbed", "hits": 0, "outcome": f"exit {before.code}: {before.err[-200:]}"}
    disk = place / where
    _mount(disk, size)
    try:
        for path in (root / "nothing", known.before[name] / where):
            if path.is_dir():
                shutil.copytree(path, disk, dirs_exist_ok=True)
        ended = warm.run(words, place)
        wrong = ended.wrong([str(disk), f"{where}/", "temporary"])
        if not wrong and ended.code not in (*ends, 1, 2):
            wrong = f"exit {ended.code}: {ended.err[-200:]}"
        left = [one for one in chain.leftovers(place) if not one.startswith("tmp/")]
        wrong = wrong or (f"left: {left[0]}" if left else "")
        _mount(disk, ROOM, "remount")
        given = ended if ended.code in ends else warm.run(words, place)
        wrong = wrong or given.wrong() or (f"given again: exit {given.code}" if given.code not in ends else "")
        wrong = wrong or chain.difference(place, wanted)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    told = {"what": name, "how": f"{where} of {size >> 10} KiB", "hits": int(ended.code in (1, 2))}
    return {**told, "outcome": wrong or HELD}


def torture(known: chain.Undisturbed, root: Path, seed: int, numbers: range, rows: Rows) -> int:
    """Fill so many disks; returns 1 if anything was found."""
    found = 0
    for number in numbers:
        rng = random.Random(f"disk {seed} {number}")
        step = (number % SIZES + rng.random()) / SIZES
        size = int(math.exp(math.log(SMALLEST) + step * math.log(LARGEST / SMALLEST)))
        told = attack(known, root, rng, size)
        rows.add(kind="disk", seed=seed, number=number, **told)
        found |= told["outcome"] != HELD
    return found


def main(words: list[str] | None = None) -> int:
    words = sys.argv[1:] if words is None else words
    options = arguments(__doc__ or "", 3 * SIZES).parse_args(words)
    if not inside():
        if not possible():
            print("disk: this system lets nobody mount a tmpfs in a namespace of their own, so no disk is filled")
            return 0
        return again_inside("tests.torture.disk", words)
    with workplace("disk") as root:
        warm.warm_up()
        numbers = range(options.first, options.first + options.count)
        return torture(chain.undisturbed(root), root, options.seed, numbers, Rows(options.out))


if __name__ == "__main__":
    sys.exit(main())
