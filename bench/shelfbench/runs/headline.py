"""What a run comes down to, in sentences: what can be promised first, and what was only measured second.

The page, the terminal and a notebook say the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.grid import duration, percent
from shelfbench.base.screen import CODE
from shelfbench.runs.choice import Choice, listed
from shelfbench.runs.promise import BETTER, beyond_noise, mix_of, seen_before, shortfall, small_test
from shelfbench.verdict.certify import ESTIMABLE

_REQUIRED, _LEVEL = 0.9, 0.95  # what `decide` asks for by default
_CHANGE = "What would change it: "
_DEPLOY = "What to do: turn it into a decision that can be deployed, with this command:"
_DOUBTED = (
    "What to do: read the warning below first. Where the promise stands for the products to come, this command turns "
    "it into a decision that can be deployed:"
)


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The sentences at the top of a report.

    Attributes
    ----------
    verdict : str
        What can be promised, or that nothing can.
    next : str
        What to do about it: how to deploy it, or what would let something be promised.
    command : str
        The command for that, as it can be copied to a shell; empty if there is none.
    warnings : tuple of str
        Why the numbers may mean less than they seem to.
    details : tuple of str
        What the promise and the choice rest on, and what was measured on test.
    """

    verdict: str
    next: str
    command: str = ""
    warnings: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return all sentences, a paragraph each, as they follow on the page."""
        return "\n\n".join(filter(None, [self.verdict, self.next, self.code, *self.warnings, *self.details]))

    @property
    def code(self) -> str:
        """The command, indented as code, which `shelfbench.base.screen.show` does not fold."""
        return f"{CODE}{self.command}" if self.command else ""


def headline(
    choice: Choice | None,
    certified: pd.DataFrame,
    test_products: int = 0,
    path: Path | None = None,
    twins: Mapping[str, Mapping[str, int]] | None = None,
    homes: Mapping[str, tuple[Path, str]] | None = None,
) -> Headline:
    """Say what can be promised about the chosen backend, and what else is known.

    Parameters
    ----------
    choice : Choice or None
        `Run.verdict`.
    certified : DataFrame
        `Run.certified`.
    test_products : int
        Products of test; 0 if there is no test.
    path : Path, optional
        Directory of the run, for the command that deploys its choice.
    twins : dict of str to dict of str to int, optional
        How many products have a twin in an earlier part, as the record has it.
    homes : mapping of str to (Path, str), optional
        Of merged runs: the run directory of each backend, and its name there.

    Returns
    -------
    Headline
    """
    small = small_test(test_products)
    if choice is None:
        return Headline(
            verdict="No threshold can be promised: the split has no validation products.",
            next=f"{_CHANGE}a validation part, to choose a backend and to certify on.",
        )
    if choice.backend is None:
        verdict, further = _none_reaches(choice)
        return Headline(verdict=verdict, next=further, warnings=(small,) * bool(small))
    rows = certified[certified["target"] == _REQUIRED].to_dict("records") if len(certified) else []
    certifying = int(rows[0]["certify_products"]) if rows else 0
    own = next((row for row in rows if row["backend"] == choice.backend), None)
    if own is not None and own["certified"]:
        verdict, details, doubt = _promised(choice, own)
        further, command = (
            _DOUBTED if beyond_noise(own) else _DEPLOY,
            _deploy(own["level"], *(homes or {}).get(choice.backend, (path or Path("DIR"), choice.backend))),
        )
    else:
        (verdict, further), command = _not_yet(choice, own), ""
        details, doubt = [*_tuned(choice), *_certified_others(choice, rows)], ""
    return Headline(
        verdict=verdict,
        next=further,
        command=command,
        warnings=tuple(filter(None, [doubt, seen_before(twins or {}, certifying, test_products), small])),
        details=tuple(filter(None, [choice.noise(), *details, _plain(choice)])),
    )


def _none_reaches(choice: Choice) -> tuple[str, str]:
    """Say that no backend reaches the precision, and whether there are enough products to conclude anything from it."""
    if 0 < choice.products < ESTIMABLE:
        return (
            f"No threshold can be promised yet: no backend reaches a precision of 90% on any share of the "
            f"{choice.products:,} product{'s' * (choice.products != 1)} of {choice.part}, which are too few to say "
            "that none can.",
            f"{_CHANGE}more labelled products; or {BETTER}.",
        )
    return (
        "No threshold can be promised. No backend reaches a precision of 90% on any share of the validation products: "
        "none can work without a person.",
        f"{_CHANGE}{BETTER}.",
    )


def _promised(choice: Choice, row: dict[Any, Any]) -> tuple[str, list[str], str]:
    """Return the promise, what it rests on, and what test has against it."""
    also = [rival.name for rival in choice.rivals]
    noise = f"; {choice.close(also)}" if also else ""
    verdict = (
        f"{choice.name} takes {_whole(row['certified_acceptance'])} of the products at 90% precision (certified with "
        f"{100 * row['level']:.9g}% probability){noise}."
    )
    details = [
        f"The promise: of the products taken, at least 90% are right, if they come as those of validation did. The "
        f"share taken is measured on the {_kept(row)} kept for certifying: "
        f"{percent(row['certified_acceptance'])} (95% interval {percent(row['certified_acceptance_low'])} to "
        f"{percent(row['certified_acceptance_high'])})."
    ]
    value, high = row["certified_precision_test"], row["certified_precision_test_high"]
    mix = mix_of(row)
    if row["test_products"] and row["certified_accepted_test"]:
        weighted = (
            f"; weighted back to the catalogue's own mix of categories, {percent(mix.acceptance)} and "
            f"{percent(mix.precision)} (95% interval {percent(mix.precision_low)} to {percent(mix.precision_high)})"
            if mix is not None
            else ""
        )
        details.append(
            f"On test, the same threshold takes {percent(row['certified_acceptance_test'])} and is right on "
            f"{percent(value)} of them (95% interval {percent(row['certified_precision_test_low'])} to "
            f"{percent(high)}){weighted}."
        )
    elif row["test_products"]:
        details.append("On test, the same threshold accepts no product.")
    return verdict, details, shortfall(row["target"], (value, high), mix)


def _deploy(level: float, path: Path, backend: str) -> str:
    """Write the command that turns the promise into a decision."""
    confidence = ["--confidence", f"{level:.9g}"] * (level != _LEVEL)
    # "./" keeps the name of a folder from being taken for an option
    place = f"./{path}" if str(path).startswith("-") else str(path)
    words = ["shelfbench", "decide", place, backend, *confidence, "--all-categories", "--out", "decision"]
    return shlex.join(words)


def _kept(row: dict[Any, Any]) -> str:
    """Count the products of certify, in words."""
    return f"{row['certify_products']:,} product{'s' * (row['certify_products'] != 1)}"


def _not_yet(choice: Choice, row: dict[Any, Any] | None) -> tuple[str, str]:
    """Say that nothing can be promised, why, and what would change that."""
    reason, _, remedy = ("" if row is None else str(row["why"])).partition(f". {_CHANGE}")
    if row is None or not remedy:
        return (
            f"No threshold can be promised for {choice.name}: there are no products to certify on.",
            f"{_CHANGE}a validation part of two products or more, half of which certifies.",
        )
    if reason.endswith(" yet"):
        return (
            f"No threshold can be promised yet: the {_kept(row)} kept for certifying cannot "
            f"settle whether {choice.name} keeps 90% precision.",
            f"{_CHANGE}{remedy}.",
        )
    return (
        f"No threshold can be promised: {choice.name} stays below 90% precision at every threshold that can be tested.",
        f"{_CHANGE}{remedy}.",
    )


def _tuned(choice: Choice) -> list[str]:
    """Say how a threshold that was fixed beforehand, without a certificate, did on test."""
    if np.isnan(choice.tuned_acceptance):
        return []
    short = ", short of 90%" if choice.tuned_precision < _REQUIRED else ""
    right = f"and is right on {percent(choice.tuned_precision)} of them{short}" if choice.tuned_acceptance else ""
    return [
        f"On {choice.part}, {choice.name} accepts {percent(choice.chosen_at)} at 90% precision. The threshold fixed "
        f"there takes {percent(choice.tuned_acceptance)} of the test products {right}".rstrip()
        + "; it is not certified, so this is not a promise."
    ]


def _certified_others(choice: Choice, rows: Sequence[dict[Any, Any]]) -> list[str]:
    """Name the backends that were not chosen but are certified, and say why that is worth less."""
    found = [row["backend"] for row in rows if row["certified"] and row["backend"] != choice.backend]
    if not found:
        return []
    return [
        f"Not chosen, but certified in the table below: {listed(found)}. A backend that is picked because its "
        "certificate passed keeps it with a lower probability than the stated one: certify it on further labelled "
        "products first."
    ]


def _plain(choice: Choice) -> str:
    """Say what the best thresholds on test would have given, and that they were fitted on test itself."""
    if not choice.test:
        return "There is no test part to measure it on."
    test, cost = choice.test, f"Computing took {duration(choice.seconds)}."
    if not test["acceptance_90"]:
        return f"On test, no threshold reaches a precision of 90% on any share of the products. {cost}"
    first = next((rival for rival in choice.rivals if not np.isnan(rival.test)), None)
    beside = f", and {percent(first.test)} with {first.name}" if first else ""
    return (
        f"On test, the best threshold would have taken {percent(test['acceptance_90'])} of the products at 90% "
        f"precision (95% interval {percent(test['acceptance_90_low'])} to {percent(test['acceptance_90_high'])})"
        f"{beside}; that was fitted on test itself, so it is not a promise, and it played no part in the choice. {cost}"
    )


def _whole(value: float) -> str:
    """A share in whole percent; with a decimal where rounding would make it 0 or 100%."""
    return f"{value:.0%}" if f"{value:.0%}" not in ("0%", "100%") or value in (0, 1) else percent(value)
