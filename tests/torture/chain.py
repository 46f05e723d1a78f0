"""The chain from a generated catalogue to a watched decision, small, and how the files of two chains compare."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.torture import warm

SMALL = (
    *("generated.products=90", "generated.departments=1", "generated.categories=3", "generated.pixels=32"),
    *("hog.pixels=32", "hog.cells=8", "svm.C=[0.01]", "pixels=32", "split.min_products=5"),
)
KNN = ("heads.knn.estimator=sklearn.neighbors.KNeighborsClassifier", "heads.knn.parameters.n_neighbors=3")
ONE = ("--workers", "1")
# What holds seconds, dates or peaks of memory, which differ between two runs; numbers in it are not compared.
TIMED = re.compile(r"(run\.json|report\.html|timings\.parquet|tables/.*|figures/.*|draws\.json|-watch\.npz)$")
# Nothing depends on it: locks are empty, and indexes and hashes of photos remember the place and time of a file.
PASSING = re.compile(r"(^|/)(locks|indexes|digests)(/|$)|^tmp(/|$)|^cache/features/")
# A command that is given again finds the features of the first, and says so.
_MARK = r"(†|\$\^\{\\dagger\}\$)"
_NO_NOTE = r"\par\smallskip{\footnotesize }"
_REUSED = re.compile(
    f",? features reused|{_MARK}: with features that [^.<]*(; the seconds include what|, at what) they cost then\\."
    f"|{_MARK}"
)
LEFT = re.compile(r"(^|/)(\.partial-|\.tmp|__autograph_generated)")


def settings(*more: str) -> list[str]:
    return [word for text in (*SMALL, *more) for word in ("--set", text)]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command of the chain.

    `fine` are its exit codes when nothing disturbs it; `once` is what it makes and never replaces, so that it is
    refused when it is given again.
    """

    name: str
    words: tuple[str, ...]
    fine: tuple[int, ...] = (0,)
    once: str = ""

    def again(self, place: Path, before: Callable[[], None] | None = None) -> warm.Outcome:
        """Give the command again, unless what it makes is there, which has to be whole then."""
        words = ("--version",) if self.once and (place / self.once).exists() else self.words
        return warm.run(words, place, before=before)


STEPS = (
    Step(name="generate", words=("generate", "other", "--products", "64", "--seed", "5", *ONE), once="other"),
    Step(name="run", words=("run", "default", "--backend", "hog-svm", *settings(), *ONE, "--out", "run")),
    Step(
        name="features", words=("features", "default", "--backend", "hog-knn", "--shard", "1/1", *settings(*KNN), *ONE)
    ),
    Step(name="run-head", words=("run", "default", "--backend", "hog-knn", *settings(*KNN), *ONE, "--out", "head")),
    Step(name="merge", words=("merge", "run", "head", "--out", "both")),
    Step(name="report", words=("report", "run")),
    Step(name="compare", words=("compare", "both", "--resamples", "200")),
    Step(
        name="decide",
        words=("decide", "run", "hog-svm", "--precision", "0.3", "--confidence", "0.6", "--out", "decision"),
        fine=(0, 3, 4),
    ),
    Step(name="classify", words=("classify", "decision", "other", "--out", "answers.csv", *ONE)),
    Step(
        name="label",
        words=("label", "run", "hog-svm", "other", "--budget", "10", "--precision", "0.3"),
        once="to-label.csv",
    ),
    Step(name="watch", words=("watch", "decision", "labelled.csv"), fine=(0, 3, 4)),
)


def prepared(root: Path) -> Path:
    """Make the folder in which a chain begins: a cache, a folder for temporary files, and a table to watch."""
    place = root / "place"
    for name in ("cache", "tmp"):
        (place / name).mkdir(parents=True)
    return place


def write_labelled(place: Path) -> None:
    """Write what people said about a flow, in the categories of the decision."""
    names = json.loads((place / "decision" / "decision.json").read_text())["categories"]
    names = [name if isinstance(name, str) else name["key"] for name in names]
    rows = [f"f{n},{names[n % len(names)]},{names[(n % len(names) + (n % 7 == 0)) % len(names)]}\n" for n in range(60)]
    (place / "labelled.csv").write_text("product_id,predicted,category\n" + "".join(rows))


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """A chain that nothing disturbed: its folder after each step, what each printed, and how long it took."""

    steps: tuple[Step, ...]
    before: Mapping[str, Path]
    after: Mapping[str, Path]
    said: Mapping[str, str]
    seconds: Mapping[str, float]


def undisturbed(root: Path, steps: Sequence[Step] = STEPS) -> Undisturbed:
    """Run the chain once, and keep its folder after each step."""
    place, before, after, said, seconds = prepared(root), {}, {}, {}, {}
    last = root / "step-0"
    shutil.copytree(place, last, symlinks=True)
    for number, step in enumerate(steps, 1):
        if step.name == "watch":
            write_labelled(place)
            last = root / "before-watch"
            shutil.copytree(place, last, symlinks=True)
        ended = warm.run(step.words, place)
        if ended.code not in step.fine or ended.wrong():
            raise SystemExit(f"undisturbed, {step.name} ends with {ended.code}: {ended.err[-2000:]}")
        print(f"undisturbed: {step.name} {ended.seconds:.1f} s", flush=True)
        before[step.name], last = last, root / f"step-{number}"
        shutil.copytree(place, last, symlinks=True)
        after[step.name], said[step.name], seconds[step.name] = last, ended.out, ended.seconds
    shutil.rmtree(place)
    return Undisturbed(steps=tuple(steps), before=before, after=after, said=said, seconds=seconds)


def restored(kept: Path, place: Path) -> None:
    """Put a chain's folder back as it was kept."""
    if place.exists():
        opened_up(place)
        shutil.rmtree(place)
    shutil.copytree(kept, place, symlinks=True)


def opened_up(place: Path) -> None:
    """Give back the rights that a try took away."""
    for folder, _, files in os.walk(place):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o644)


def aged(place: Path) -> None:
    """Let what is left be a minute old: who comes next may remove it."""
    past = time.time() - 60
    for folder, folders, files in os.walk(place):
        for name in (*folders, *files):
            if LEFT.search(name):
                os.utime(Path(folder, name), (past, past))


def leftovers(place: Path) -> list[str]:
    """Find what was being written, and temporary files."""
    found = [str(path.relative_to(place)) for path in place.rglob("*")]
    return sorted(name for name in found if LEFT.search(name) or name.startswith("tmp/"))


def difference(place: Path, wanted: Path, skip: Sequence[str] = ()) -> str:
    """Name the first file that differs, beyond seconds and dates."""
    here, there = _files(place), _files(wanted)
    for name in sorted(here.keys() | there.keys()):
        if PASSING.search(name) or LEFT.search(name) or any(name.startswith(one) for one in skip):
            continue
        if name not in here or name not in there:
            return f"{name} is {'missing' if name in there else 'one too many'}"
        one, other = here[name].read_bytes(), there[name].read_bytes()
        if one == other:
            continue
        if not TIMED.search(name):
            return f"{name} differs"
        if (one := masked(name, one)) != (other := masked(name, other)):
            return f"{name} differs{_where(one, other)}"
    if any("cache/features".startswith(one) for one in skip):
        return ""
    return "" if _stored(place) == _stored(wanted) else "the rows of the feature store differ"


def _where(one: Any, other: Any) -> str:
    """Show the first place at which two masked texts differ."""
    if not isinstance(one, str) or not isinstance(other, str):
        return ""
    at = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return f": {one[max(0, at - 60) : at + 60]!r} instead of {other[max(0, at - 60) : at + 60]!r}"


def _stored(place: Path) -> list[tuple[str, bytes, bytes]]:
    """Return all rows of the feature store: which go into which file depends on when a command was stopped."""
    rows = []
    for path in (place / "cache" / "features").glob("*/*.digests.npy"):
        digests = np.load(path)
        features = np.load(path.with_name(path.name.replace(".digests.", ".features.")))
        rows += [
            (path.parent.name, bytes(digest), row.tobytes()) for digest, row in zip(digests, features, strict=True)
        ]
    return sorted(rows)


def _files(place: Path) -> dict[str, Path]:
    return {str(path.relative_to(place)): path for path in place.rglob("*") if path.is_file()}


def masked(name: str, data: bytes) -> Any:
    """Return what of a file with seconds in it does not change from run to run."""
    if name.endswith(".parquet"):
        import pandas as pd

        try:
            frame = pd.read_parquet(io.BytesIO(data))
        except Exception:
            return data
        timed = [column for column in frame if str(column) in ("seconds", "data_wait", "cached")]
        return frame.drop(columns=timed).to_csv()
    if name.endswith(".json"):
        try:
            return _without_times(json.loads(data))
        except ValueError:
            return data
    if name.endswith(".npz"):  # a watch counts how often it looked; a command that is given again looks again
        try:
            with np.load(io.BytesIO(data)) as arrays:
                found = {key: arrays[key].tolist() for key in arrays}
                record = json.loads(bytes(found.pop("record")))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return data
        return found | {key: value for key, value in record.items() if key not in ("looks", "latest")}
    if name.endswith((".png", ".svg")):
        return ""  # bars of seconds: that it is there is all
    text = re.sub(r"data:[\w/+;-]+,[\w+/=%]+|<svg.*?</svg>", "", data.decode("utf-8", "replace"), flags=re.DOTALL)
    if name.endswith(".csv"):
        return text.count("\n")
    text = _REUSED.sub("", text).replace(_NO_NOTE, "")
    return re.sub(r"[\d.,:\-–%]+\s*(seconds?|minutes?|s|min|ms|h|hours?)?\b|\(?cached\)?|<[^>]*>|\s", "", text)


_TIMES = (
    "checksum",
    "started",
    "finished",
    "seconds",
    "peak_rss_mib",
    "others_share",
    "cached",
    "versions",
    "machine",
    "memory_gib",
    "timings",
)


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_times(inner) for key, inner in value.items() if key not in _TIMES and key != "timings.parquet"
        }
    return [_without_times(inner) for inner in value] if isinstance(value, list) else value
