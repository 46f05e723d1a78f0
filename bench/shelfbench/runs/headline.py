"""What a run comes down to, in sentences: what can be promised first, and what was only measured second.

The page, the terminal and a notebook say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.grid import duration, number_of, percent
from shelfbench.base.screen import CODE
from shelfbench.runs.choice import Choice, listed
from shelfbench.runs.next_step import LEVEL, Step, Way
from shelfbench.runs.promise import beyond_noise, mix_of, seen_before, shortfall, small_test
from shelfbench.verdict.certify import ESTIMABLE
from shelfbench.verdict.metrics import REQUIRED
from shelfbench.verdict.mix import Mix

_REQUIRED = float(REQUIRED)  # what `decide` asks for by default
_AGREES = 0.005  # results that differ by less are said once
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
        What to do: deploy it, or what most likely lets something be promised.
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
    way: Way | None = None,
) -> Headline:
    """Say what can be promised about the chosen backend, what to do next, and what else is known.

    Parameters
    ----------
    choice : Choice or None
        `Run.verdict`.
    certified : DataFrame
        `Run.certified`.
    test_products : int
        Products of test; 0 if there is no test.
    way : Way, optional
        Where the run lies and how it was made, for the command that comes next.

    Returns
    -------
    Headline
    """
    way = way or Way()
    small, near = small_test(test_products), way.record.split.near_duplicates
    twins = near.products_with_a_twin if near else {}
    if choice is None:
        step = way.split_anew()
        return Headline(
            verdict="No threshold can be promised: the split has no validation products, to choose a backend and to "
            "certify on.",
            next=step.text,
            command=step.command,
        )
    rows = certified[certified["target"] == _REQUIRED].to_dict("records") if len(certified) else []
    if choice.backend is None:
        verdict, step = _none_reaches(choice, [row["backend"] for row in rows], way)
        return Headline(verdict=verdict, next=step.text, command=step.command, warnings=(small,) * bool(small))
    certifying = int(rows[0]["certify_products"]) if rows else 0
    own = next((row for row in rows if row["backend"] == choice.backend), None)
    if own is not None and own["certified"]:
        verdict, details, doubt = _promised(choice, own)
        step = Step(_DOUBTED if beyond_noise(own) else _DEPLOY, _deploy(own["level"], choice.backend, way))
    else:
        verdict, change, step = _not_yet(choice, own, way)
        details, doubt = [change, *_tuned(choice), *_certified_others(choice, rows)], ""
    return Headline(
        verdict=verdict,
        next=step.text,
        command=step.command,
        warnings=tuple(filter(None, [doubt, seen_before(twins, certifying, test_products), small])),
        details=tuple(filter(None, [choice.noise(), *details, _plain(choice)])),
    )


def _none_reaches(choice: Choice, backends: Sequence[str], way: Way) -> tuple[str, Step]:
    """Say that no backend reaches the precision, whether there are enough products to conclude that, and what to do."""
    if 0 < choice.products < ESTIMABLE:
        return (
            f"No threshold can be promised yet: no backend reaches a precision of 90% on any share of the "
            f"{number_of(choice.products, 'product')} of {choice.part}, which are too few to say "
            "that none can.",
            way.more_products(choice.products, choice.part),
        )
    return (
        "No threshold can be promised. No backend reaches a precision of 90% on any share of the validation products: "
        "none can work without a person.",
        way.better(backends),
    )


def _promised(choice: Choice, row: dict[Any, Any]) -> tuple[str, list[str], str]:
    """Return the promise, what it rests on, and what test has against it."""
    also = [rival.backend for rival in choice.rivals]
    noise = f"; {choice.close(also)}" if also else ""
    verdict = (
        f"{choice.backend} takes {_whole(row['certified_acceptance'])} of the products at 90% precision (certified "
        f"with {100 * row['level']:.9g}% probability){noise}."
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
            if mix is not None and _differs(row, mix)
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


def _differs(row: dict[Any, Any], mix: Mix) -> bool:
    """Tell whether the catalogue's own mix changes the results on test by more than half a point."""
    acceptance, precision = row["certified_acceptance_test"], row["certified_precision_test"]
    return bool(max(abs(mix.acceptance - acceptance), abs(mix.precision - precision)) > _AGREES)


def _deploy(level: float, backend: str, way: Way) -> str:
    """Write the command that turns the promise into a decision."""
    confidence = ["--confidence", f"{level:.9g}"] * (level != LEVEL)
    return way.on_run("decide", backend, *confidence, "--all-categories", "--out", "decision")


def _kept(row: dict[Any, Any]) -> str:
    """Count the products of certify, in words."""
    return number_of(row["certify_products"], "product")


def _not_yet(choice: Choice, row: dict[Any, Any] | None, way: Way) -> tuple[str, str, Step]:
    """Say that nothing can be promised, what would change that in all, and what to do first."""
    reason, _, remedy = ("" if row is None else str(row["why"])).partition(f". {_CHANGE}")
    backend, level, kept = str(choice.backend), LEVEL, 0
    if row is not None:
        level, kept = float(row["level"]), int(row["certify_products"])
    if row is not None and remedy and not reason.endswith(" yet"):
        return (
            f"No threshold can be promised: {choice.backend} stays below 90% precision at every threshold that can be "
            "tested.",
            f"{_CHANGE}{remedy}.",
            way.better([backend]),
        )
    # labels certify what was chosen, so it must have been chosen on more than luck
    step = way.more_products(choice.products, choice.part) if choice.lucky else way.label(backend, level, kept)
    if row is None or not remedy:
        return (
            f"No threshold can be promised for {choice.backend}: there are no products to certify on.",
            f"{_CHANGE}a validation part of two products or more, half of which certifies.",
            step,
        )
    return (
        f"No threshold can be promised yet: the {_kept(row)} kept for certifying cannot "
        f"settle whether {choice.backend} keeps 90% precision.",
        f"{_CHANGE}{remedy}.",
        step,
    )


def _tuned(choice: Choice) -> list[str]:
    """Say how a threshold that was fixed beforehand, without a certificate, did on test."""
    if np.isnan(choice.tuned_acceptance):
        return []
    short = ", short of 90%" if choice.tuned_precision < _REQUIRED else ""
    right = f"and is right on {percent(choice.tuned_precision)} of them{short}" if choice.tuned_acceptance else ""
    return [
        f"On {choice.part}, {choice.backend} accepts {percent(choice.chosen_at)} at 90% precision. The threshold fixed "
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
    test, cost = choice.test, f"Computing {choice.backend} took {duration(choice.seconds)}."
    if not test["acceptance_90"]:
        return f"On test, no threshold reaches a precision of 90% on any share of the products. {cost}"
    first = next((rival for rival in choice.rivals if not np.isnan(rival.test)), None)
    beside = f", and {percent(first.test)} with {first.backend}" if first else ""
    return (
        f"On test, the best threshold would have taken {percent(test['acceptance_90'])} of the products at 90% "
        f"precision (95% interval {percent(test['acceptance_90_low'])} to {percent(test['acceptance_90_high'])})"
        f"{beside}; that was fitted on test itself, so it is not a promise, and it played no part in the choice. {cost}"
    )


def _whole(value: float) -> str:
    """A share in whole percent; with a decimal where rounding would make it 0 or 100%."""
    return f"{value:.0%}" if f"{value:.0%}" not in ("0%", "100%") or value in (0, 1) else percent(value)
