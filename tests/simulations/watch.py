"""How soon a broken promise is seen, and how often a kept one is called broken: three monitors on the same streams.

Makes ``results/decisions/watch.csv`` in about two minutes of one idle core::

    python -m pip install mapie glide-py && python tests/simulations/watch.py  # glide needs Python 3.12

Streams are drawn here and hold labelled products of an accepted flow, right with a probability of 0.92 that falls to
0.85 after some of them, or stays. The promise is 0.9 with 95% confidence. One table a day brings 20 labelled products
and 180 accepted ones without a label. Confidences lie between 0.6 and 1 and are calibrated before the fall; after it,
they stay as they were. Each monitor is looked at after each label (glide's, which needs batches, after each batch), and
the labels from the fall to the first alarm are counted; a stream in which none is raised counts as long as it is.

- MAPIE 1.6: ``RiskMonitoring`` at a test level of 0.05, told the threshold 0.1, which is the most favourable way; or
  with a reference of 1,000 products and its default tolerance of 0.05, or none.
- glide 0.11: ``AsymptoticClassicalRM`` at a confidence of 0.95, in batches of 20 and of 100 labels, and
  ``AsymptoticPPRM``, which takes the products without a label too, in batches of a day, on ten of the streams, since it
  takes seconds for each. Their guarantee is asymptotic.

With ``--shapes`` it makes ``results/decisions/watch-shapes.csv`` instead: the labels that other divisions of the stake
need, by which `shelfbench.verdict.monitor.FIRST` and `SPREAD` were chosen.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shelfbench.verdict import monitor
from shelfbench.verdict.monitor import PARTS, WARNS, Aside, Monitor

TARGET, LEVEL, KEPT, FALLEN = 0.9, 0.95, 0.92, 0.85
A_DAY, BARE = 20, 9  # labels a day, and accepted products without a label for each
LOWEST = 0.6
FALLS = (0, 100, 250, 500, 1000, 2000)
LONG = 5000  # labels of a stream whose precision stays
REFERENCE = 1000
NEVER = np.iinfo(np.int64).max
COUNTS = ("seen", "labels_mean", "labels_median", "of_mapie")
COLUMNS = ("case", "monitor", "streams", "labels", "false_alarms", *COUNTS)
# Share of the stake that is bet from the first product on, and after how many half of the rest has entered.
SHAPES = ((1.0, 200), (0.5, 500), (0.4, 500), (0.25, 1000), (0.25, 500), (0.25, 200), (0.25, 100), (0.1, 200))


@dataclass(frozen=True)
class Streams:
    """Labelled products, and what came with them; all arrays have the shape (streams, labels)."""

    right: np.ndarray
    confidence: np.ndarray
    others: np.ndarray  # mean confidence of the products beside each one


def draw(rng: np.random.Generator, streams: int, labels: int, kept: float, fall: int) -> Streams:
    """Draw streams whose precision falls after some labels."""
    shape = (streams, labels)

    def confidences(size: tuple[int, ...]) -> np.ndarray:
        share = (KEPT - LOWEST) / (1 - LOWEST)
        return LOWEST + (1 - LOWEST) * rng.beta(1.9 * share, 1.9 * (1 - share), size)

    confidence = confidences(shape)
    others = np.mean([confidences(shape) for _ in range(BARE)], axis=0)
    factor = np.where(np.arange(labels) < fall, kept, FALLEN) / KEPT
    return Streams(rng.random(shape) < np.minimum(confidence * factor, 1), confidence, others)


def ours(streams: Streams, warning: bool = False) -> np.ndarray:
    """The first label after which the promise is broken (or, with `warning`, after which evidence warns)."""
    level = 1 - (1 - LEVEL) / WARNS if warning else LEVEL  # the same bet, stopped at less
    found = [Monitor(target=TARGET, level=level).after(right).broken_at for right in streams.right]
    return np.array([NEVER if at is None else at for at in found])


def ours_with_confidences(streams: Streams) -> np.ndarray:
    """The same with confidences, a day at a time."""
    found = []
    for right, confidence, others in zip(streams.right, streams.confidence, streams.others, strict=True):
        state = Monitor(target=TARGET, level=LEVEL)
        for start in range(0, len(right), A_DAY):
            day = slice(start, start + A_DAY)
            state = state.after(right[day], Aside(confidence[day] - others[day], most=1 - LOWEST))
            if state.broken_at is not None:
                break
        found.append(NEVER if state.broken_at is None else state.broken_at)
    return np.array(found)


def mapie_bounds(wrong: np.ndarray) -> np.ndarray:
    """MAPIE's lower bounds of the error rate, from its own boundary, tabulated since it takes a search each time."""
    from mapie.exchangeability_testing.bounds import GammaExponentialMixtureBound

    # RiskMonitoring halves the test level, and its bound halves it once more
    alpha = (1 - LEVEL) / 4
    boundary = GammaExponentialMixtureBound(v_opt=1, c=1, alpha_opt=alpha)
    spread = np.concatenate([np.linspace(0, 20, 400), np.geomspace(20.05, 2000, 600)])
    values = np.array([boundary(v=float(value), alpha=alpha) for value in spread])
    count = np.arange(1, wrong.shape[1] + 1)
    mean = np.cumsum(wrong, axis=1) / count
    before = np.concatenate([np.full((len(wrong), 1), 0.5), mean[:, :-1]], axis=1)
    variance = np.cumsum((wrong - before) ** 2, axis=1)
    return mean - np.interp(variance, spread, values) / count


def mapie(streams: Streams, threshold: np.ndarray | float = 1 - TARGET) -> np.ndarray:
    """MAPIE's first alarm."""
    over = mapie_bounds(~streams.right) > np.reshape(threshold, (-1, 1))
    return np.where(over.any(axis=1), over.argmax(axis=1) + 1, NEVER)


def mapie_by_reference(rng: np.random.Generator, tolerance: float) -> Callable[[Streams], np.ndarray]:
    """MAPIE's first alarm with a threshold from products that came before."""
    from mapie.exchangeability_testing.bounds import hoeffding_bound

    def first(streams: Streams) -> np.ndarray:
        wrong = rng.random((len(streams.right), REFERENCE)) >= KEPT
        return mapie(streams, np.array([hoeffding_bound(row, (1 - LEVEL) / 2) for row in wrong]) + tolerance)

    return first


def glide(batch: int) -> Callable[[Streams], np.ndarray]:
    """The first alarm of glide's monitor of labels, at the end of a batch."""
    from glide.confidence_sequences.asymptotic import _compute_asymptotic_bounds

    def first(streams: Streams) -> np.ndarray:
        found = []
        for right in streams.right:
            parts = (~right[: len(right) // batch * batch]).reshape(-1, batch).astype(float)
            deviations = parts.std(axis=1, ddof=1) / np.sqrt(batch)
            _, low = _compute_asymptotic_bounds(parts.mean(axis=1), deviations, 1 - LEVEL, 10)
            over = low > 1 - TARGET
            found.append((over.argmax() + 1) * batch if over.any() else NEVER)
        return np.array(found)

    return first


def glide_with_confidences(streams: Streams) -> np.ndarray:
    """The first alarm of glide's prediction-powered monitor, at the end of a day; products beside are their means."""
    from glide.monitors import AsymptoticPPRM

    found = []
    for right, confidence, others in zip(streams.right, streams.confidence, streams.others, strict=True):
        days = len(right) // A_DAY
        labelled, bare = (part[: days * A_DAY].reshape(days, A_DAY) for part in (confidence, others))
        y_true = np.concatenate([right[: days * A_DAY].reshape(days, A_DAY), np.full((days, A_DAY), np.nan)], axis=1)
        result = AsymptoticPPRM().detect(
            y_true.ravel(),
            np.concatenate([labelled, bare], axis=1).ravel(),
            np.repeat(np.arange(days), 2 * A_DAY),
            higher_is_better=True,
            threshold=TARGET,
            confidence_level=LEVEL,
        )
        over = result.confidence_sequence.test_null_hypothesis(TARGET, alternative="smaller")
        found.append((over.argmax() + 1) * A_DAY if over.any() else NEVER)
    return np.array(found)


def check_opponents(rng: np.random.Generator) -> None:
    """Stop if the shortcuts here do not alarm when the opponents' own classes do."""
    from glide.monitors import AsymptoticClassicalRM
    from mapie.exchangeability_testing import RiskMonitoring

    streams = draw(rng, 3, 1500, KEPT, 0)
    for number, at in enumerate(mapie(streams)):
        right = streams.right[number]
        for labels, expected in ((at - 1, False), (at, True)):
            monitor = RiskMonitoring("accuracy", threshold=1 - TARGET, warn=False)
            seen = right[:labels].astype(int)
            assert monitor.update(np.ones_like(seen), seen).harmful_shift_detected is expected, (number, at)
    for number, at in enumerate(glide(20)(streams)):
        right = streams.right[number].astype(float)
        batches = np.repeat(np.arange(len(right) // 20), 20)
        result = AsymptoticClassicalRM().detect(
            right[: len(batches)], batches, higher_is_better=True, threshold=TARGET, confidence_level=LEVEL
        )
        assert (result.first_alarm_index + 1) * 20 == at, (number, at, result.first_alarm_index)


def compare_shapes(streams: int, path: Path) -> None:
    """Write the mean labels after a fall that each division of the stake needs, on the same streams."""
    kept = (monitor.FIRST, monitor.SPREAD)
    rows: list[dict[str, object]] = []
    for first, spread in SHAPES:
        monitor.FIRST, monitor.SPREAD = first, spread
        row: dict[str, object] = {"first": first, "spread": spread}
        for fall in FALLS:
            drawn = draw(np.random.default_rng(fall), streams, fall + 1600 + fall, KEPT, fall)
            start = Monitor(target=TARGET, level=LEVEL, cash=1 - first, held=first * PARTS)
            found = np.array([start.after(right).broken_at or NEVER for right in drawn.right])
            row[f"falls_after_{fall}"] = f"{np.minimum(found[found > fall], drawn.right.shape[1]).mean() - fall:.0f}"
        rows.append(row)
    monitor.FIRST, monitor.SPREAD = kept
    _write(path, rows, tuple(rows[0]))


def main() -> None:
    """Draw, watch and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1000, help="where the precision stays")
    parser.add_argument("--falls", type=int, default=200, help="streams where it falls")
    parser.add_argument("--out", type=Path, default=Path("results/decisions/watch.csv"))
    parser.add_argument("--shapes", action="store_true", help="compare divisions of the stake")
    options = parser.parse_args()
    rng = np.random.default_rng(18)
    if options.shapes:
        compare_shapes(options.falls, options.out.with_name("watch-shapes.csv"))
        return
    check_opponents(rng)
    methods: dict[str, Callable[[Streams], np.ndarray]] = {
        "MAPIE, told the threshold": mapie,
        "MAPIE, reference of 1,000, tolerance 0.05 (its default)": mapie_by_reference(rng, 0.05),
        "MAPIE, reference of 1,000, tolerance 0": mapie_by_reference(rng, 0.0),
        "glide, batches of 20 labels": glide(20),
        "glide, batches of 100 labels": glide(100),
        "glide with confidences, batches of a day": glide_with_confidences,
        "shelfbench": ours,
        "shelfbench with confidences": ours_with_confidences,
        "shelfbench, WARNING": lambda streams: ours(streams, warning=True),
    }
    rows: list[dict[str, object]] = []
    cases = [(f"kept at {kept:.2f}", kept, LONG, LONG) for kept in (TARGET, KEPT)]
    cases += [(f"falls after {fall:,}", KEPT, fall, fall + 1600 + fall) for fall in FALLS]
    for case, kept, fall, labels in cases:
        streams = draw(rng, options.falls if fall < labels else options.streams, labels, kept, fall)
        found = {name: method(_fewer(streams, name)) for name, method in methods.items()}
        for name, first in found.items():
            row: dict[str, object] = {"case": case, "monitor": name, "streams": len(first), "labels": labels}
            row["false_alarms"] = f"{np.mean(first <= fall):.4f}"
            if fall < labels:
                after = np.minimum(first[first > fall], labels) - fall
                others = found["MAPIE, told the threshold"]
                base = np.minimum(others[others > fall], labels) - fall
                row |= {
                    "seen": f"{np.mean(first[first > fall] < NEVER):.3f}",
                    "labels_mean": f"{after.mean():.0f}",
                    "labels_median": f"{np.median(after):.0f}",
                    "of_mapie": f"{after.mean() / base.mean():.3f}",
                }
            rows.append(row)
            print(*row.values(), sep="\t", file=sys.stderr, flush=True)
        _write(options.out, rows, COLUMNS)


def _write(path: Path, rows: list[dict[str, object]], columns: tuple[str, ...]) -> None:
    """Write the rows so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _fewer(streams: Streams, name: str) -> Streams:
    """Take some of the streams for a monitor that takes seconds for each."""
    some = 10 if name.startswith("glide with") else len(streams.right)
    return Streams(streams.right[:some], streams.confidence[:some], streams.others[:some])


if __name__ == "__main__":
    main()
