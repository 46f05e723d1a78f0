"""Which backend to use: chosen on validation, reported on test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.grid import duration, percent
from shelfbench.runs.entries import BackendEntry
from shelfbench.runs.reading import label_backends
from shelfbench.runs.record import RunRecord


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The backend that takes the largest share of the products at a precision of 0.9.

    Attributes
    ----------
    backend : str or None
        None if no backend reaches the precision on any product.
    name : str
        Its name in tables and figures.
    basis : str
        The part of the data on which it was chosen: ``tune`` or ``validation``.
    chosen_at : float
        Its acceptance there.
    test : dict
        Its row of Table 4 for test; empty if the split has no test.
    tuned_acceptance, tuned_precision : float
        Share of test products taken, and precision met, by the threshold fixed on `basis`; NaN if unknown.
    """

    backend: str | None
    name: str
    basis: str
    chosen_at: float
    test: dict[str, Any]
    tuned_acceptance: float
    tuned_precision: float

    @property
    def part(self) -> str:
        """The part of the data on which it was chosen, in words."""
        return "the tuning half of validation" if self.basis == "tune" else "validation"

    def sentence(self) -> str:
        """The verdict in one sentence."""
        if self.backend is None:
            return (
                "No backend reaches a precision of 90% on any share of the validation products: "
                "none can work without a person."
            )
        if not self.test:
            return (
                f"{self.name} takes the largest share of the validation products at a precision of at "
                f"least 90%: {percent(self.chosen_at)}; there is no test part to measure it on."
            )
        cost = duration(float(self.test["seconds"]))
        if not self.test["acceptance_90"]:
            return (
                f"{self.name} accepts the most on {self.part} ({percent(self.chosen_at)} at a precision of at "
                f"least 90%), but does not reach that precision on any share of the test products, for {cost} of "
                f"computing."
            )
        return (
            f"{self.name}, which accepts the most on {self.part}, takes {percent(self.test['acceptance_90'])} of the "
            f"test products without a person at a precision of at least 90% (95% interval "
            f"{percent(self.test['acceptance_90_low'])} to {percent(self.test['acceptance_90_high'])}), "
            f"for {cost} of computing."
        )

    def reservation(self) -> str:
        """What the choice is based on, and how a threshold fixed beforehand would have performed."""
        if self.backend is None:
            return ""
        text = f"Chosen on {self.part} (acceptance {percent(self.chosen_at)} there); test results played no part."
        if not np.isnan(self.tuned_acceptance):
            short = ", short of 90%" if self.tuned_precision < 0.9 else ""
            text += (
                " The tables of test set each threshold on the very products that they measure; the "
                f"one fixed on {self.part} takes {percent(self.tuned_acceptance)} of the test products and "
                f"is right on {percent(self.tuned_precision)} of them{short}."
            )
        return text

    def promise(self, certified: pd.DataFrame | None) -> str:
        """Say what is certified for it at 0.9.

        Parameters
        ----------
        certified : DataFrame or None
            `Run.certified`.

        Returns
        -------
        str
            Empty if nothing was tested.
        """
        if self.backend is None or certified is None:
            return ""
        found = certified[(certified["backend"] == self.backend) & (certified["target"] == 0.9)].to_dict("records")
        if not found:
            return ""
        row = found[0]
        if not row["certified"]:
            doubt = "No threshold can be promised to keep a precision of 90%"
            if not np.isnan(row["more_labels"]):
                more = f"{row['more_labels']:,.0f}"
                return f"{doubt} yet: the half of validation kept for certifying needs about {more} more products."
            return f"{doubt}: {str(row['why']).removeprefix('not certifiable: ')}."
        return (
            f"Certified: with {100 * row['level']:.9g}% probability its precision on future products is at least 90% "
            f"when it takes {percent(row['certified_acceptance'])} of them (95% interval "
            f"{percent(row['certified_acceptance_low'])} to {percent(row['certified_acceptance_high'])}); on test "
            f"that threshold takes {percent(row['certified_acceptance_test'])} and is right on "
            f"{percent(row['certified_precision_test'])} of those."
        )


def choose(table: pd.DataFrame, metrics: pd.DataFrame, record: RunRecord[BackendEntry]) -> Choice | None:
    """Choose a backend by its acceptance on validation; ties go to the cheaper one.

    Parameters
    ----------
    table : DataFrame
        `Run.table4`.
    metrics : DataFrame
        `Run.metrics`.
    record : RunRecord
        ``run.json``.

    Returns
    -------
    Choice or None
        None if there are no validation products to choose on.
    """
    products = metrics[metrics["level"] == "product"]
    at = products[products["metric"] == "acceptance_90"]
    basis = "tune" if (at["split"] == "tune").any() else "validation"
    candidates = at[at["split"] == basis].merge(
        table.groupby("backend", as_index=False)["seconds"].first(), on="backend"
    )
    if candidates.empty:
        return None
    best = candidates.sort_values(["value", "seconds"], ascending=[False, True], kind="stable").iloc[0]
    if best["value"] == 0:
        nan = float("nan")
        return Choice(
            backend=None, name="", basis=basis, chosen_at=0.0, test={}, tuned_acceptance=nan, tuned_precision=nan
        )
    backend = str(best["backend"])
    test = table[(table["backend"] == backend) & (table["split"] == "test")].to_dict("records")
    own = products[(products["backend"] == backend) & (products["split"] == "test")]
    values = own.set_index("metric")["value"]
    name = label_backends(record, tuple(dict.fromkeys(table["backend"])))[backend].short
    return Choice(
        backend=backend,
        name=name,
        basis=basis,
        chosen_at=float(best["value"]),
        test={str(key): value for key, value in test[0].items()} if test else {},
        tuned_acceptance=float(values.get("tuned_acceptance_90", np.nan)),
        tuned_precision=float(values.get("tuned_precision_90", np.nan)),
    )
