"""Which backend to use: chosen on validation, reported on test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.grid import number_of, percent
from shelfbench.cost.undisturbed import NOTABLE
from shelfbench.runs.entries import BackendEntry
from shelfbench.runs.reading import Evaluated
from shelfbench.runs.record import RunRecord
from shelfbench.verdict.certify import ESTIMABLE
from shelfbench.verdict.metrics import REQUIRED
from shelfbench.verdict.resampling import replicates

_RESAMPLES = 1000
_HANDFUL = 10  # products
# Wall times of the same work differ by a third from one run to the next (results/scale/plan.csv), and by some seconds
# with how long a library takes to start: costs tell two backends apart only beyond both.
_TIMES, _SECONDS = 1.5, 5.0


@dataclass(frozen=True, kw_only=True)
class Rival:
    """Another backend that is as good as the chosen one within noise.

    Attributes
    ----------
    backend : str
    acceptance, precision : float
        Its acceptance where the choice was made, and its precision there, if all products were accepted.
    seconds : float
        Its cost.
    others : float
        Share of the processors that other programs used meanwhile; 0 if unknown.
    test : float
        Its plain acceptance on test; NaN if the split has no test.
    """

    backend: str
    acceptance: float
    precision: float = 0.0
    seconds: float
    others: float = 0.0
    test: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The backend that takes the largest share of the products at a precision of 0.9.

    Attributes
    ----------
    backend : str or None
        None if no backend reaches the precision on any product.
    basis : str
        The part of the data on which it was chosen: ``tune`` or ``validation``.
    products : int
        Products of that part; 0 if unknown.
    chosen_at : float
        Its acceptance there.
    precision : float
        Its precision there, if all products were accepted; 0 if unknown.
    seconds : float
        Its cost.
    others : float
        As in `Rival`.
    test : dict
        Its row of Table 4 for test; empty if the split has no test.
    tuned_acceptance, tuned_precision : float
        Share of test products taken, and precision met, by the threshold fixed on `basis`; NaN if unknown.
    rivals : tuple of Rival
        Backends as good as this one within noise, the best first: the 95% interval of the difference in acceptance (in
        precision, where both accept everything), over resamples of the products of `basis`, does not exclude 0.
    """

    backend: str | None
    basis: str
    products: int = 0
    chosen_at: float = 0.0
    precision: float = 0.0
    seconds: float = float("nan")
    others: float = 0.0
    test: dict[str, Any]
    tuned_acceptance: float = float("nan")
    tuned_precision: float = float("nan")
    rivals: tuple[Rival, ...] = ()

    @property
    def part(self) -> str:
        """The part of the data on which it was chosen, in words."""
        return "the tuning half of validation" if self.basis == "tune" else "validation"

    @property
    def few(self) -> bool:
        """Whether it was chosen on so few products that not to tell backends apart does not make them equal."""
        return 0 < self.products < ESTIMABLE

    @property
    def lucky(self) -> bool:
        """Whether chance made the choice: on a handful of products, or in a tie on few."""
        tie = bool(self.rivals) and self.rivals[0].acceptance == self.chosen_at
        return 0 < self.products < _HANDFUL or (self.few and tie)

    def close(self, names: Sequence[str]) -> str:
        """Say of other backends that they are as good within noise, or may be if there are few products."""
        return f"{listed(names)} {'may be' if self.few else 'is' if len(names) == 1 else 'are'} as good" + (
            "" if self.few else " within noise"
        )

    def noise(self) -> str:
        """Say which backends are as good within noise, by how little this one was chosen, and what each costs."""
        if not self.rivals:
            return ""
        first, others = self.rivals[0], self.rivals[1:]
        at = self._cost(first)
        if first.acceptance == self.chosen_at:
            text = f"{self.backend} was chosen in a tie, {self._why(first)}: "
            text += f"{first.backend} accepts exactly as much on {self.part}{at}"
        else:
            text = (
                f"{self.backend} was chosen by a lead of {self._behind(first)} on {self.part}: "
                f"{'on so few, ' * self.few}{self.close([first.backend])}{at}"
            )
        if others and self.few:
            text += f"; {self.close([other.backend for other in others])}, too"
        elif others:
            text += f"; as good within noise {'is' if len(others) == 1 else 'are'} "
            text += f"{'also ' * (first.acceptance != self.chosen_at)}{listed([other.backend for other in others])}"
        return f"{text}."

    def _why(self, rival: Rival) -> str:
        """Say what decided between this backend and one that accepts as much."""
        if self.precision > rival.precision:
            return f"for its higher precision ({percent(self.precision)}, not {percent(rival.precision)})"
        cheaper = costs_less(self.seconds, rival.seconds, rival.others)
        return "for its lower cost" if cheaper else "since it comes first in the study"

    def _behind(self, rival: Rival) -> str:
        """By how much the rival is behind, in products if they are known."""
        behind = self.chosen_at - rival.acceptance
        if not self.products:
            return f"{100 * behind:.1f} points"
        count = max(round(behind * self.products), 1)
        return f"{number_of(count, 'product')} of {self.products:,}"

    def _cost(self, rival: Rival) -> str:
        """Say what the rival costs, as far as wall times tell."""
        ratio = rival.seconds / self.seconds if self.seconds > 0 else np.nan
        if not np.isfinite(ratio):
            return ""
        if costs_less(self.seconds, rival.seconds, rival.others):
            return f", at {ratio:.1f} times the cost"
        if costs_less(rival.seconds, self.seconds, self.others):
            return f", at {ratio:.0%} of the cost"
        if max(self.others, rival.others) >= NOTABLE:
            return " (other programs were at work while the two were timed, so that their costs cannot be told apart)"
        return ", at about the same cost"


def costs_less(seconds: float, others_seconds: float, others: float = 0.0) -> bool:
    """Tell whether a backend costs less than another one, beyond what wall times differ by themselves.

    Parameters
    ----------
    seconds : float
        Of the backend.
    others_seconds : float
        Of the other one.
    others : float
        Share of the processors that other programs used while the other one was timed. Without them, it might have
        taken that much less.

    Returns
    -------
    bool
    """
    least = others_seconds * (1 - others)
    return bool(least > _TIMES * seconds and least - seconds > _SECONDS)


def listed(names: Sequence[str]) -> str:
    """Join names: one, two and three."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def choose(
    table: pd.DataFrame,
    metrics: pd.DataFrame,
    record: RunRecord[BackendEntry],
    products: Callable[[str], Evaluated] | None = None,
) -> Choice | None:
    """Choose a backend by its acceptance on validation; ties go to the one of the highest precision there.

    Where all that a backend accepts is everything, acceptance says nothing more, and precision does. If that is equal,
    too, the first in the study is chosen that none costs less than.

    Parameters
    ----------
    table : DataFrame
        `Run.table4`.
    metrics : DataFrame
        `Run.metrics`.
    record : RunRecord
        How much other programs used the processors meanwhile.
    products : callable, optional
        `Run.products`, to see which backends are as good within noise; without it, only ties are.

    Returns
    -------
    Choice or None
        None if there are no validation products to choose on.
    """
    own = metrics[metrics["level"] == "product"]
    at = own[own["metric"] == "acceptance_90"]
    basis = "tune" if (at["split"] == "tune").any() else "validation"
    candidates = at[at["split"] == basis].merge(
        table.groupby("backend", as_index=False)["seconds"].first(), on="backend"
    )
    right = own[(own["metric"] == "precision") & (own["split"] == basis)].set_index("backend")["value"]
    candidates["precision"] = candidates["backend"].map(right).fillna(0.0)
    if candidates.empty:
        return None
    others = {name: entry.others_share or 0.0 for name, entry in record.backends.items()}
    ordered = _ordered(candidates, others)
    best = ordered.iloc[0]
    if best["value"] == 0:
        count = len(_part(products, str(best["backend"]), basis).truth) if products is not None else 0
        return Choice(backend=None, basis=basis, products=count, test={})
    backend = str(best["backend"])
    test = table[(table["backend"] == backend) & (table["split"] == "test")].to_dict("records")
    values = own[(own["backend"] == backend) & (own["split"] == "test")].set_index("metric")["value"]
    accepted_on_test = at[at["split"] == "test"].set_index("backend")["value"]
    close, count = _within_noise(ordered, basis, products)
    return Choice(
        backend=backend,
        basis=basis,
        products=count,
        chosen_at=float(best["value"]),
        precision=float(best["precision"]),
        seconds=float(best["seconds"]),
        others=others.get(backend, 0.0),
        test={str(key): value for key, value in test[0].items()} if test else {},
        tuned_acceptance=float(values.get("tuned_acceptance_90", np.nan)),
        tuned_precision=float(values.get("tuned_precision_90", np.nan)),
        rivals=tuple(
            Rival(
                backend=str(row["backend"]),
                acceptance=float(row["value"]),
                precision=float(row["precision"]),
                seconds=float(row["seconds"]),
                others=others.get(str(row["backend"]), 0.0),
                test=float(accepted_on_test.get(row["backend"], np.nan)),
            )
            for row in ordered.iloc[1:][close].to_dict("records")
        ),
    )


def _ordered(candidates: pd.DataFrame, others: dict[str, float]) -> pd.DataFrame:
    """Sort by acceptance, precision and cost, and put the choice first."""
    by = ["value", "precision", "seconds"]
    ordered = candidates.sort_values(by, ascending=[False, False, True], kind="stable")
    best = ordered.iloc[0]
    least = best["seconds"]
    tied = candidates[(candidates["value"] == best["value"]) & (candidates["precision"] == best["precision"])]
    dearer = [costs_less(least, row["seconds"], others.get(str(row["backend"]), 0.0)) for _, row in tied.iterrows()]
    first = tied.index[dearer.index(False)]
    return ordered.loc[[first, *ordered.index.drop(first)]]


def _part(products: Callable[[str], Evaluated], backend: str, basis: str) -> Evaluated:
    """The products on which backends are compared."""
    found = products(backend)
    return found.where((found.role if basis == "tune" else found.split) == basis)


def _within_noise(
    ordered: pd.DataFrame, basis: str, products: Callable[[str], Evaluated] | None
) -> tuple[np.ndarray, int]:
    """Tell which backends after the first are as good within noise, and on how many products."""
    tied = (ordered["value"].iloc[1:] == ordered["value"].iloc[0]).to_numpy()
    if products is None or len(ordered) < 2:
        return tied, 0
    confidence, correct = [], []
    for backend in ordered["backend"]:
        part = _part(products, backend, basis)
        order = np.argsort(part.product_id, kind="stable")  # the same product in every column
        confidence.append(part.confidence[order])
        correct.append(part.correct[order])
    drawn = replicates(np.stack(confidence), np.stack(correct), REQUIRED, resamples=_RESAMPLES)
    close = tied | (np.quantile(drawn.acceptance[0] - drawn.acceptance[1:], 0.025, axis=1) <= 0)
    accepts = ordered["value"].to_numpy()
    # where both accept everything, only precision tells them apart
    everything = (accepts[0] == 1) & (accepts[1:] == 1)
    close &= ~everything | (np.quantile(drawn.precision[0] - drawn.precision[1:], 0.025, axis=1) <= 0)
    # what accepts nothing is of no use, however few products tell it from the first
    return close & (accepts[1:] > 0), len(confidence[0])
