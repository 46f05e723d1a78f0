"""What can be promised about every backend: plain, tuned and certified thresholds, and their results on test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.grid import MISSING, Grid, asked, interval, share
from shelfbench.report.claims import oracle_note
from shelfbench.report.data import PROMISED, RunData
from shelfbench.report.section import NamedTable, Section
from shelfbench.runs.frames import certified_rows
from shelfbench.runs.guarding import DISTANCES
from shelfbench.runs.promise import BETTER, OBSERVED, beyond_noise, mix_of, mixture
from shelfbench.verdict.confidence import DEFAULT, MEASURES
from shelfbench.verdict.metrics import REQUIRED, exact_target

_NOT, _CHANGE = "not certifiable", ". What would change it: "  # of the column `why`
_YET = f"{_NOT} yet"
_HOLDS = (
    "Certified: the threshold that passed the fixed-sequence binomial test on the certify half of validation. On "
    "future products its precision is at least the target with the stated probability, for each backend and target "
    "taken alone (for the best of several, picked from this table, the probability is lower; shelfbench decide tests "
    "several together if they are named in one command). "
)


def certified(data: RunData) -> Section:
    """Every backend and target, by the default measure of confidence."""
    frame = data.run.certified
    return Section(title=PROMISED, grids=(NamedTable(name="certified", grid=certified_grid(data, frame), frame=frame),))


def measures(data: RunData) -> Section:
    """Every measure of confidence, at 0.9."""
    required = exact_target(REQUIRED)
    default = data.run.certified.to_dict("records")
    rows: list[dict[Any, Any]] = []
    for backend in data.run.backends:
        rows += [row for row in default if row["backend"] == backend and row["target"] == float(required)]
        others = [measure for measure in MEASURES if measure != DEFAULT]
        products = data.run.products(backend)
        level, walk = data.run.confidence_level, data.run.record.settings.verdict.walk
        rows += certified_rows(backend, products, [required], level, others, walk=walk)
    frame = pd.DataFrame(rows)
    return Section(title=PROMISED, grids=(NamedTable(name="measures", grid=measures_grid(frame), frame=frame),))


def certified_grid(data: RunData, frame: pd.DataFrame) -> Grid:
    """Every backend and target: plain, tuned, certified, oracle."""
    rows = tuple(
        (
            row["backend"],
            asked(row["target"]),
            share(row["plain_acceptance_test"]),
            share(row["tuned_acceptance_test"]),
            _interval(row, "tuned_precision_test"),
            _interval(row, "certified_acceptance") if row["certified"] else _not_yet(row),
            _interval(row, "certified_acceptance_test"),
            _marked(row),
            _at_the_mix(row),
            share(row["oracle_bound_test"]),
        )
        for row in frame.to_dict("records")
    )
    level = frame["level"].iloc[0] if len(frame) else np.nan
    return Grid(
        title="Acceptance that can be promised",
        headers=(
            "Backend",
            "Target",
            "Plain acc., test",
            "Tuned acc., test",
            "Tuned prec., test",
            "Certified acc., certify",
            "Certified acc., test",
            "Certified prec., test",
            "… at the catalogue's mix",
            "Oracle acc., test",
        ),
        rows=rows,
        marked=_of_chosen(data, frame),
        numeric=frozenset(range(1, 10)),
        notes=(
            "Plain: the threshold is fitted on the very test products that it is measured on. Tuned: fixed on the "
            f"tune half of validation, then applied to test. {oracle_note(data.papers)} Acc.: share of all products; "
            "prec.: precision of the accepted products.",
            f"{_HOLDS}Probability: {asked(level)}. The certified acceptance is measured on certify; the acceptance "
            "of the same threshold on test is shown next to it. The promise is for products drawn like those of "
            f"validation. Intervals: exact (Clopper-Pearson), 95%. Where nothing is certified, {BETTER}, would do too.",
            *_why_notes(frame),
            *_guard_notes(data.run.path),
            *_mix_notes(frame),
        ),
    )


def _guard_notes(run: Path) -> tuple[str, ...]:
    """Say why decide accepts a little less than stands here, if the run has what it keeps strangers back with."""
    if not (run / DISTANCES).is_dir():
        return ()
    return (
        "decide also sends products that are unlike anything learned to a person, and certifies what is left: what it "
        "accepts is smaller by about one product in a hundred.",
    )


def measures_grid(frame: pd.DataFrame) -> Grid:
    """Every backend by every measure of confidence, at 0.9."""
    rows = tuple(
        (
            row["backend"],
            MEASURES[row["measure"]].name,
            share(row["plain_acceptance_tune"]),
            share(row["plain_acceptance_test"]),
            _interval(row, "certified_acceptance") if row["certified"] else _not_yet(row),
            share(row["certified_acceptance_test"]),
            _marked(row),
        )
        for row in frame.to_dict("records")
    )
    lacking = len(set(frame["measure"])) < len(MEASURES)
    return Grid(
        title="Measures of confidence, at a precision of 0.9",
        headers=(
            "Backend",
            "Measure",
            "Plain acc., tune",
            "Plain acc., test",
            "Certified acc., certify",
            "Certified acc., test",
            "Certified prec., test",
        ),
        rows=rows,
        numeric=frozenset(range(2, 7)),
        notes=(
            "Log-probability: the largest one, after calibration; all other tables use it. Margin: its distance to the "
            "second largest. Entropy: of the whole distribution; the smaller it is, the surer the backend. "
            + _HOLDS.rstrip(),
            *_why_notes(frame),
            *_mix_notes(frame)[1:],
            *(
                ("A measure that is not shown is missing from these predictions, which an earlier version wrote.",)
                * lacking
            ),
        ),
    )


def _of_chosen(data: RunData, frame: pd.DataFrame) -> frozenset[int]:
    return frozenset(np.flatnonzero(frame["backend"] == (data.choice and data.choice.backend)).tolist())


def _marked(row: dict[Any, Any]) -> str:
    return _interval(row, "certified_precision_test") + " ‡" * beyond_noise(row)


def _at_the_mix(row: dict[Any, Any]) -> str:
    mix = mix_of(row)
    return MISSING if mix is None else interval(mix.precision, mix.precision_low, mix.precision_high)


def _mix_notes(frame: pd.DataFrame) -> tuple[str, ...]:
    """Say what the catalogue's mix is, how test is mixed, and what falls short on test and why."""
    rows = [row for row in frame.to_dict("records") if row["certified"]]
    found = [mix for row in rows if (mix := mix_of(row)) is not None]
    notes = []
    if found:
        unseen = max(mix.unseen for mix in found)
        notes.append(
            "At the catalogue's mix: precision on test, each category weighted to its share of all labelled products; "
            f"intervals with the effective number of products (Korn-Graubard). {mixture(found[0])}"
            + (f" {unseen:.1%} of the catalogue is in categories that test lacks." if unseen else "")
        )
    short = [row for row in rows if beyond_noise(row)]
    if short:
        explained = [mix.precision_high >= row["target"] for row in short if (mix := mix_of(row)) is not None]
        reason = (
            "At the catalogue's mix they are not short: test holds more products of categories that are harder."
            if len(explained) == len(short) and all(explained)
            else "At the catalogue's mix some still are: the mix of categories is not the reason, or not the only one."
        )
        notes.append(f"‡ Falls short of the target on test, beyond noise. {reason}")
    return tuple(note.strip() for note in notes)


def _interval(row: dict[Any, Any], name: str) -> str:
    return interval(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _not_yet(row: dict[Any, Any]) -> str:
    """Say in a cell that nothing is certified; why is said once, below the table."""
    if not isinstance(row["why"], str) or not row["why"]:
        return MISSING
    if not row["why"].startswith(_YET):
        return "no"
    more = row["more_labels"]
    return "not yet" if np.isnan(more) else f"not yet: about {more:,.0f} more"


def _why_notes(frame: pd.DataFrame) -> tuple[str, ...]:
    """Say why nothing is certified, and what would change that: once for all rows of which the same is true."""
    targets: dict[str, list[str]] = {}
    for row in frame.to_dict("records"):
        cell = _not_yet(row)
        if cell == MISSING:
            continue
        reason, _, remedy = row["why"].partition(_CHANGE)
        if ":" in cell:
            said = f"{cell.partition(':')[0]}: about so many more labelled products for certification{OBSERVED}"
        elif cell == "no":
            said = f"{cell}: {'; '.join(filter(None, [reason.removeprefix(_NOT).removeprefix(': '), remedy]))}"
        else:
            said = f"{cell}: {remedy.replace(f'; or {BETTER}', '')}"
        found = targets.setdefault(said, [])
        if asked(row["target"]) not in found:
            found.append(asked(row["target"]))
    return tuple(
        f"{said.partition(':')[0].capitalize()} at {', '.join(found)}:{said.partition(':')[2]}."
        for said, found in targets.items()
    )
