"""What ``shelfbench compare OLD NEW`` prints: a table of what changed, and whether anything is worse than noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shelfbench.base.errors import InputError
from shelfbench.base.grid import Grid, share
from shelfbench.base.screen import printable
from shelfbench.report.comparison import change_text, p_value
from shelfbench.runs.reading import NothingMeasured
from shelfbench.runs.versions import NotComparable, RunPair, open_pair
from shelfbench.verdict.gate import LEVEL, STANDARD, Change, GateSettings, Versions, gate, needed_resamples
from shelfbench.verdict.metrics import exact_target

FINE, WORSE, NOTHING, OTHER = 0, 1, 3, 4


@dataclass(frozen=True)
class Shut:
    """What the gate says.

    Attributes
    ----------
    exit_code : int
        0 fine, 1 worse than noise, 3 nothing measured, 4 not comparable.
    text : str
        For the screen; its last lines give the reasons.
    """

    exit_code: int
    text: str


def compare_runs(old: Path, new: Path, backends: Sequence[str] = (), settings: GateSettings = STANDARD) -> Shut:
    """Compare a newer run directory with an older one.

    Parameters
    ----------
    old : Path
    new : Path
    backends : sequence of str
        Those to compare; by default all that the old run has.
    settings : GateSettings

    Returns
    -------
    Shut
        With exit code 0 or 1.

    Raises
    ------
    InputError
        As in `shelfbench.runs.versions.open_pair`; or if a setting makes no sense.
    """
    _check(settings, max(len(backends), 1))
    pair = open_pair(old, new, backends, tolerance=settings.tolerance)
    _check(settings, len(pair.backends))
    found = gate(pair.contestants(), settings)
    lines = [_side("old", old, pair), _side("new", new, pair), *map(_sentence, pair.notes)]
    lines += ["", _grid(found, settings).text(), *_verdict(found, settings)]
    return Shut(WORSE if any(one.worse for one in found) else FINE, "\n".join(lines))


def _check(settings: GateSettings, backends: int) -> None:
    if not 0 < exact_target(settings.target) <= 1:
        raise InputError(f"a precision of {settings.target} requires nothing", "give one above 0 and up to 1, like 0.9")
    if not 0 <= settings.tolerance < 1:
        raise InputError(f"the tolerance {settings.tolerance:g} is not a share", "give 0 or more, and less than 1")
    if settings.seed < 0:
        raise InputError(f"the seed {settings.seed} is negative", "give 0 or more")
    smallest = needed_resamples(backends)
    if settings.resamples is not None and settings.resamples < smallest:
        raise InputError(
            f"with {settings.resamples} resamples no loss of acceptance could be found", f"give {smallest} or more"
        )


def gate_runs(old: Path, new: Path, backends: Sequence[str] = (), settings: GateSettings = STANDARD) -> Shut:
    """Compare as `compare_runs`, and give an exit code to what cannot be compared or measured, too.

    Parameters
    ----------
    old : Path
    new : Path
    backends : sequence of str
    settings : GateSettings

    Returns
    -------
    Shut

    Raises
    ------
    InputError
        If one is not a run directory or is damaged, or a backend or a setting makes no sense.
    """
    try:
        return compare_runs(old, new, backends, settings)
    except NotComparable as error:
        return Shut(OTHER, "\n".join(f"not comparable: {reason}" for reason in error.reasons))
    except NothingMeasured as error:
        return Shut(NOTHING, f"nothing measured: {error}")


def _side(word: str, path: Path, pair: RunPair) -> str:
    record = (pair.old if word == "old" else pair.new).record
    facts = [f"shelfbench {record.shelfbench}" if record.shelfbench else "", record.finished, f"seed {record.seed}"]
    return printable(f"{word}: {path} ({', '.join(filter(None, facts))})")


def _sentence(note: str) -> str:
    return f"note: {note}"


def _grid(found: Sequence[Versions], settings: GateSettings) -> Grid:
    resamples = settings.drawn(len(found))
    rows = tuple(
        (
            printable(one.name),
            share(one.precision.old),
            share(one.precision.new),
            change_text(one.precision),
            f"{one.only_old:,} / {one.only_new:,}",
            p_value(one.precision.p_holm),
            share(one.acceptance.old),
            share(one.acceptance.new),
            change_text(one.acceptance),
            p_value(one.acceptance.p_holm),
        )
        for one in found
    )
    return Grid(
        title=f"New against old, on the same {found[0].products:,} test products",
        headers=(
            "Backend",
            "Precision, old",
            "new",
            "new − old",
            "Right: only old / new",
            "p",
            f"Acceptance at {settings.target}, old",
            "new",
            "new − old",
            "p",
        ),
        rows=rows,
        numeric=frozenset(range(1, 10)),
        notes=(
            f"Intervals: 95%, {resamples:,} bootstrap resamples of the products, the same for both runs. p: one-sided, "
            f"for a loss of more than {_points(settings.tolerance)}; precision by the score test and the exact McNemar "
            f"test, acceptance by the bootstrap; adjusted by Holm's method for all {2 * len(found)} tests. Worse is "
            f"what is lost with p of at most {LEVEL:g}.",
            "The test takes the two trained models as they are: training again with another seed makes another model, "
            "and the tolerance is for that. Acceptance is plain, its threshold set on these test products and again "
            "on every resample.",
        ),
    )


def _verdict(found: Sequence[Versions], settings: GateSettings) -> Iterator[str]:
    names = ("precision", f"acceptance at {settings.target}")
    for one in found:
        for what, moved in zip(names, (one.precision, one.acceptance), strict=True):
            if moved.worse:
                yield f"worse: {printable(one.name)} has lost {_lost(moved, what)}"
    if any(one.worse for one in found):
        return
    if all(not (one.only_old or one.only_new or one.acceptance.value) for one in found):
        yield f"fine: the new run is right on the same {found[0].products:,} test products as the old one"
        return
    yield (
        f"fine: no loss of more than {_points(settings.tolerance)} beyond noise; what is lost may be up to "
        f"{_most(found, settings)}"
    )


def _most(found: Sequence[Versions], settings: GateSettings) -> str:
    """Say how much may be lost; of acceptance only on enough products."""
    sure = f"({1 - LEVEL:.0%} sure)"
    precision = f"{_points(max(*(-one.precision.least for one in found), 0.0))} of precision"
    if found[0].products < settings.fewest:
        return (
            f"{precision} {sure}; {found[0].products:,} products are too few to say that of acceptance, or to test it"
        )
    return f"{precision} and {_points(max(*(-one.acceptance.least for one in found), 0.0))} of acceptance {sure}"


def _lost(moved: Change, what: str) -> str:
    return (
        f"{_points(-moved.value)} of {what} ({share(moved.old)} to {share(moved.new)}, p = {p_value(moved.p_holm)})"
    ).replace("p = <", "p <")


def _points(value: float) -> str:
    return f"{100 * value:.1f} points" if round(10 * 100 * value) != 10 else "1 point"
