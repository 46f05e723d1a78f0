"""The guard of a run for a flow that is labelled: it stands before the sample is drawn, as it does in the decision.

Its cut is fixed on `tune` alone, as for other decisions (`shelfbench.decision.guarding`). What it stops in the flow is
never accepted, so it is never drawn, and what is certified is the precision of what is let through and sure enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
import pyarrow.parquet as pq
from msgspec import Meta, Struct

from shelfbench.base.errors import InputError
from shelfbench.base.storage import file_sha256
from shelfbench.decision.guarding import Watched, watched
from shelfbench.decision.rule import MEASURES, Requirement
from shelfbench.runs.directory import Run
from shelfbench.runs.guarding import GUARD
from shelfbench.runs.reading import reading
from shelfbench.verdict.guard import KINDS, Guard, Guarding

_Count = Annotated[int, Meta(ge=0)]


class PlanGuard(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The guard that a sample was drawn behind.

    Attributes
    ----------
    kind : str
    sha256 : str
        Of the run's guard.
    cut : float
        The largest distance that is let through.
    products, outside : int
        Products of the flow with a readable photo, and how many of them it stops.
    sure : tuple of int
        Products of the flow that each threshold of the walk would accept without it.
    """

    kind: Annotated[str, Meta(pattern=rf"\A({'|'.join(KINDS)})\Z")]
    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    cut: Annotated[float, Meta(ge=0)]
    products: _Count
    outside: _Count
    sure: tuple[_Count, ...]

    def guarding(self, reached: int | None, accepted: tuple[int, ...]) -> Guarding:
        """Describe what it does to the flow.

        Parameters
        ----------
        reached : int or None
            The threshold that is certified; None if none is.
        accepted : tuple of int
            Products of the flow that each threshold accepts, behind the guard.

        Returns
        -------
        Guarding
        """
        return Guarding(
            kind=self.kind,
            cut=self.cut,
            products=self.products,
            outside=self.outside,
            sure=0 if reached is None else self.sure[reached],
            let_through=0 if reached is None else accepted[reached],
            part="the flow",
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Fence:
    """The guard of a backend of a run with its cut.

    Attributes
    ----------
    watched : Watched
    cut : float
    sha256 : str
        Of its file.
    """

    watched: Watched
    cut: float
    sha256: str

    @property
    def guard(self) -> Guard:
        """The guard."""
        return self.watched.guard

    @property
    def outside(self) -> np.ndarray:
        """Which products of the run it stops, in the order of the predictions."""
        stopped: np.ndarray = self.watched.distances > self.cut
        return stopped

    @property
    def before(self) -> Guarding:
        """What a model needs to know of it before anything is counted."""
        return Guarding(kind=self.guard.kind, cut=self.cut, products=0, outside=0, sure=0, let_through=0)

    def plan(self, flow: tuple[np.ndarray, np.ndarray], off: np.ndarray, thresholds: np.ndarray) -> PlanGuard:
        """Note what it does to a flow.

        Parameters
        ----------
        flow : (ndarray of float64, ndarray of bool), shape (n,)
            Log-probabilities, -inf without a readable photo, and which products it stops.
        off : ndarray of bool, shape (n,)
            Products in categories that are switched off.
        thresholds : ndarray of float64

        Returns
        -------
        PlanGuard
        """
        confidence, outside = flow
        on = confidence[~off]
        return PlanGuard(
            kind=self.guard.kind,
            sha256=self.sha256,
            cut=self.cut,
            products=int((confidence > -np.inf).sum()),
            outside=int(outside.sum()),
            sure=tuple(int((on >= threshold).sum()) for threshold in thresholds),
        )


def fence_of(run: Run, backend: str, required: Requirement) -> Fence | None:
    """Open the guard of a backend of a run, and fix its cut on `tune`.

    Parameters
    ----------
    run : Run
    backend : str
    required : Requirement

    Returns
    -------
    Fence or None
        None for a run of an earlier version.

    Raises
    ------
    InputError
        If a file is damaged or missing.
    """
    folder = run.model(backend)
    if (found := watched(run, backend, folder)) is None:
        return None
    path = run.file("predictions", backend)
    with reading(path):
        wanted = ["role", "category", "predicted", "rejected", MEASURES[required.measure]]
        predictions = pq.read_table(path, columns=wanted)
    return Fence(watched=found, cut=found.applied(predictions, required)[1], sha256=file_sha256(folder / GUARD))


def fence_again(run: Run, backend: str, required: Requirement, plan: PlanGuard | msgspec.UnsetType) -> Fence | None:
    """Open the guard that a sample was drawn behind.

    Parameters
    ----------
    run : Run
    backend : str
    required : Requirement
    plan : PlanGuard or UNSET

    Returns
    -------
    Fence or None
        None if it was drawn without one.

    Raises
    ------
    InputError
        If the run has another one now.
    """
    if isinstance(plan, msgspec.UnsetType):
        return None
    found = fence_of(run, backend, required)
    if found is None or found.sha256 != plan.sha256 or found.guard.kind != plan.kind:
        raise InputError(
            f"{run.path} no longer has the guard that the sample was drawn behind",
            "restore it from a backup of the run, or draw and label another sample",
        )
    return Fence(watched=found.watched, cut=plan.cut, sha256=plan.sha256)
