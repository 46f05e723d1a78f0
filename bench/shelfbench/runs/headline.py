"""What a run comes down to, in sentences: what can be promised first, and what was only measured second.

The page, the terminal and a notebook say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.grid import duration, percent
from shelfbench.runs.choice import Choice
from shelfbench.runs.promise import BETTER, mix_of, shortfall, small_test

_REQUIRED = 0.9


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The sentences at the top of a report.

    Attributes
    ----------
    verdict : str
        What can be promised, or that nothing can and what would change that.
    details : tuple of str
        What the promise rests on, and what was measured on test.
    warnings : tuple of str
        Why the numbers may mean less than they seem to.
    """

    verdict: str
    details: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return all sentences, a paragraph each."""
        return "\n\n".join([self.verdict, *self.warnings, *self.details])


def headline(choice: Choice | None, certified: pd.DataFrame, test_products: int = 0) -> Headline:
    """Say what can be promised about the chosen backend, and what else is known.

    Parameters
    ----------
    choice : Choice or None
        `Run.verdict`.
    certified : DataFrame
        `Run.certified`.
    test_products : int
        Products of test; 0 if there is no test.

    Returns
    -------
    Headline
    """
    small = small_test(test_products)
    if choice is None:
        return Headline(
            verdict="No threshold can be promised: the split has no validation products to choose a backend and to "
            "certify on. Give the data a validation part, or let shelfbench split them."
        )
    if choice.backend is None:
        return Headline(
            verdict="No threshold can be promised. No backend reaches a precision of 90% on any share of the "
            f"validation products: none can work without a person. What would change it: {BETTER}.",
            warnings=(small,) * bool(small),
        )
    rows = certified.to_dict("records") if len(certified) else []
    at = [row for row in rows if row["target"] == _REQUIRED]
    own = next((row for row in at if row["backend"] == choice.backend), None)
    if own is not None and own["certified"]:
        first, details, warnings = _promised(choice, own)
    else:
        first, details, warnings = _not_yet(choice, own), _tuned(choice), []
        details += _certified_others(choice, at)
    return Headline(
        verdict=" ".join(filter(None, [first, choice.noise()])),
        details=tuple(filter(None, [*details, _plain(choice), choice.noise_on_test()])),
        warnings=tuple(filter(None, [*warnings, small])),
    )


def _promised(choice: Choice, row: dict[Any, Any]) -> tuple[str, list[str], list[str]]:
    level = f"{100 * row['level']:.9g}%"
    verdict = (
        f"{choice.name} takes {_whole(row['certified_acceptance'])} of the products at 90% precision (certified with "
        f"{level} probability)."
    )
    details = [
        f"The promise: on products like those of validation, at least 90% of those taken are right. The share taken is "
        f"measured on the {row['certify_products']:,} products kept for certifying: "
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
    return verdict, details, [shortfall(row["target"], (value, high), mix)]


def _not_yet(choice: Choice, row: dict[Any, Any] | None) -> str:
    why = "" if row is None else str(row["why"]).removeprefix("not certifiable")
    if why.startswith(" yet. "):
        return (
            f"No threshold can be promised yet. {why.removeprefix(' yet. ').replace(': ', f' for {choice.name}: ', 1)}."
        )
    return f"No threshold can be promised for {choice.name}{why}."


def _tuned(choice: Choice) -> list[str]:
    """Say how a threshold that was fixed beforehand, without a certificate, did on test."""
    if np.isnan(choice.tuned_acceptance):
        return []
    short = ", short of 90%" if choice.tuned_precision < _REQUIRED else ""
    right = (
        f"and is right on {percent(choice.tuned_precision)} of them{short}"
        if choice.tuned_acceptance
        else "and so is never right or wrong"
    )
    return [
        f"On {choice.part}, {choice.name} accepts {percent(choice.chosen_at)} at 90% precision, the most of all. The "
        f"threshold fixed there takes {percent(choice.tuned_acceptance)} of the test products {right}: it is not "
        "certified, so this is no promise."
    ]


def _certified_others(choice: Choice, rows: Sequence[dict[Any, Any]]) -> list[str]:
    """Name the backend that was not chosen but is certified, and why that is worth less."""
    found = [row for row in rows if row["certified"] and row["backend"] != choice.backend]
    if not found:
        return []
    return [
        "Another backend is certified in the table below. One that is picked because its certificate passed keeps it "
        "with a lower probability than the stated one: certify it on further labelled products first."
    ]


def _plain(choice: Choice) -> str:
    """Say what the best threshold on test would have given, and that this was fitted on test itself."""
    if not choice.test:
        return "There is no test part to measure it on."
    test, cost = choice.test, duration(choice.seconds)
    if not test["acceptance_90"]:
        return f"On test, no threshold reaches a precision of 90% on any share of the products. Computing took {cost}."
    return (
        f"On test, the best threshold would have taken {percent(test['acceptance_90'])} of the products at 90% "
        f"precision (95% interval {percent(test['acceptance_90_low'])} to {percent(test['acceptance_90_high'])}); "
        f"that was fitted on test itself, so it is not a promise. Computing took {cost}."
    )


def _whole(value: float) -> str:
    """A share in whole percent; with a decimal where rounding would make it 0 or 100%."""
    return f"{value:.0%}" if f"{value:.0%}" not in ("0%", "100%") or value in (0, 1) else percent(value)
