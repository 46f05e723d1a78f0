"""``shelfbench label``: which products of an unlabelled flow to label for a certificate, as a table to fill in.

The table holds a random sample of the products that a threshold could accept. What it was drawn from is kept in the
run directory (``labelling/PLAN.json``), so that `shelfbench.decision.labelled` can tell whether the table that comes
back is the one that was drawn.
"""

from __future__ import annotations

import csv
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np
import pyarrow.parquet as pq
from msgspec import UNSET, Meta, Struct, UnsetType

from shelfbench.base.errors import InputError
from shelfbench.base.grid import number_of, percent, probability, promise
from shelfbench.base.spreadsheet import inert
from shelfbench.base.storage import LineFeeds, fingerprint, write_json, write_whole
from shelfbench.decision.labelling_flow import Flow
from shelfbench.decision.labelling_guard import PlanGuard
from shelfbench.decision.labelling_kept import KeptLabels, sample_question
from shelfbench.decision.rule import Requirement
from shelfbench.decision.tries import Tries
from shelfbench.runs.directory import Run
from shelfbench.runs.guarding import DISTANCES
from shelfbench.runs.reading import reading
from shelfbench.verdict.categories import weak_categories
from shelfbench.verdict.labelling import LIKELY, Sampling, draw_sample, plan_sampling
from shelfbench.verdict.metrics import acceptance

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "labelling"
COLUMNS = ("row", "product_id", "stratum", "probability", "category", "plan")
NONE = "?"
"""What a person writes where no category of the run fits, or nobody can tell: it counts as an error."""


class Drawn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A product of the sample: its id, its prediction (a key), and the log-probability of that."""

    product: str
    predicted: str
    confidence: Annotated[float, Meta(le=0)]


class LabellingPlan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a sample was drawn for and from.

    Attributes
    ----------
    format : int
    backend : str
    predictions : str
        Fingerprint of the backend's products of `tune` in the run.
    target : str
        Required precision, as a fraction.
    level : float
        Probability with which it must be kept.
    off : tuple of str
        Keys of the categories that are switched off, chosen on `tune`.
    flow : int
        Products of the flow, including those that are never accepted.
    thresholds : tuple of float
        Log-probabilities from strict to loose: the walk.
    accepted : tuple of int
        Products of the flow that each of them accepts.
    seed : int
    guard : PlanGuard, optional
        The guard that the flow met: what it stops is never accepted. Samples of earlier versions, and those from
        answers, have none.
    drawn : tuple of Drawn
        In the order of the table's rows.
    """

    format: Literal[1] = 1
    backend: str
    predictions: str
    target: Annotated[str, Meta(pattern=r"\A[0-9]{1,10}/[0-9]{1,10}\Z")]
    level: Annotated[float, Meta(gt=0, lt=1)]
    off: tuple[str, ...]
    flow: Annotated[int, Meta(ge=1)]
    thresholds: Annotated[tuple[float, ...], Meta(min_length=1)]
    accepted: Annotated[tuple[Annotated[int, Meta(ge=1)], ...], Meta(min_length=1)]
    seed: int
    guard: PlanGuard | UnsetType = UNSET
    drawn: Annotated[tuple[Drawn, ...], Meta(min_length=1)]

    @property
    def sampling(self) -> Sampling:
        """The walk."""
        return Sampling(accepted=np.array(self.accepted), thresholds=np.array(self.thresholds), chance=float("nan"))

    @property
    def name(self) -> str:
        """Fingerprint of everything above, which the table and the file are named by."""
        return fingerprint(msgspec.to_builtins(self))[:12]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How much to label, and for what.

    Attributes
    ----------
    requirement : Requirement
        The promise that the labels are to certify.
    budget : int
        Products to label.
    seed : int
        Of the drawing.
    out : Path
        The table.
    """

    requirement: Requirement
    budget: int
    seed: int
    out: Path


def label(run: Run, backend: str, flow: Flow, wanted: Wanted) -> str:
    """Draw the products to label, and write the table to fill in.

    Parameters
    ----------
    run : Run
    backend : str
        The one that classified the flow.
    flow : Flow
    wanted : Wanted

    Returns
    -------
    str
        What was drawn, and what to do next, in a few lines.

    Raises
    ------
    InputError
        If the flow has no product that could be accepted, the run lacks `tune`, nothing could be promised any more,
        this very sample was decided on before, or the table cannot be written.
    """
    required = wanted.requirement
    left = _left(run, backend, required)
    tune = tune_of(run, backend)
    known, right = tune["confidence"].to_numpy(), (tune["predicted"] == tune["category"]).to_numpy()
    if flow.fence is not None:  # from here on, what lies outside is rejected
        stopped = flow.fence.outside[tune.index]
        known, right = np.where(stopped, -np.inf, known), right & ~stopped
    off: list[str] = []
    if not required.all_categories:
        predicted = tune["predicted"].to_numpy().astype(str)
        cut = acceptance(known, right, required.target).threshold
        off = weak_categories(known, predicted, right, cut, target=required.target, level=required.level).tolist()
        known = np.where(np.isin(predicted, off), -np.inf, known)
    out = np.isin(flow.predicted.astype(str), off)
    confidence = np.where(out | flow.outside, -np.inf, flow.confidence)
    sampling = plan_sampling(
        confidence, (known, right), budget=wanted.budget, target=required.target, level=required.level, seed=wanted.seed
    )
    drawn = draw_sample(confidence, sampling, wanted.budget, wanted.seed)
    plan = LabellingPlan(
        backend=backend,
        predictions=tune_fingerprint(tune),
        target=str(required.target),
        level=required.level,
        off=tuple(off),
        flow=len(confidence),
        thresholds=tuple(sampling.thresholds.tolist()),
        accepted=tuple(sampling.accepted.tolist()),
        seed=wanted.seed,
        guard=UNSET
        if flow.fence is None
        else flow.fence.plan((flow.confidence, flow.outside), out, sampling.thresholds),
        drawn=tuple(
            Drawn(product=flow.product[one], predicted=flow.predicted[one], confidence=float(confidence[one]))
            for one in drawn
        ),
    )
    if KeptLabels.of(run.path / FOLDER, plan.name).first is not None:
        raise InputError(
            "this very sample was drawn, labelled and decided on before", "draw another one, with another --seed"
        )
    write_json(run.path / FOLDER / f"{plan.name}.json", msgspec.to_builtins(plan))
    write_whole(wanted.out, lambda aside: _write_table(aside, plan))
    lines = _said(plan, sampling, wanted) + left
    if plan.guard:
        lines.append(
            f"{plan.guard.outside:,} of {plan.guard.products:,} products are unlike those that {backend} has learned: "
            "they go to review, and none of them is drawn"
        )
    elif run.file(DISTANCES, backend).is_file():
        lines.append(
            "the decision will have no guard, since answers do not tell how far a product is from those learned: give "
            "the photos (PATH) to have one"
        )
    return "\n".join(lines + _next(plan, wanted, run.path))


def check_table(path: Path) -> None:
    """Refuse a place for the table before anything is computed.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        If it is not a new CSV file: a table that is there may have been filled in.
    """
    if path.suffix.lower() != ".csv":
        raise InputError(f"{path} is not a CSV file", "name the table to fill in *.csv")
    if path.is_symlink() or path.exists():
        raise InputError(f"{path} is there already, and may have been filled in", "name a new file with --out")


def tune_of(run: Run, backend: str) -> pd.DataFrame:
    """Read the products of `tune`: category, predicted and confidence, by their place in the predictions."""
    path = run.file("predictions", backend)
    with reading(path):
        table = pq.read_table(path, columns=["role", "product_id", "category", "predicted", "confidence"])
        frame: pd.DataFrame = table.to_pandas()
    frame = frame[frame["role"] == "tune"]
    if not len(frame):
        raise InputError(f"{run.path} has no products of the role tune", "give it more products")
    return frame


def tune_fingerprint(tune: pd.DataFrame) -> str:
    """Return a hash of the products of `tune` and their predictions, to tell one fitted backend from another."""
    columns = tune[["product_id", "predicted", "confidence"]].sort_values("product_id", key=lambda ids: ids.astype(str))
    return fingerprint([[str(one), str(key), repr(float(sure))] for one, key, sure in columns.itertuples(index=False)])


def _write_table(path: Path, plan: LabellingPlan) -> None:
    stratum = f"confidence of {probability(plan.thresholds[-1])} or more"
    share = f"{len(plan.drawn) / plan.accepted[-1]:.6g}"
    with open(path, "w", encoding="utf-8-sig", newline="") as handle:  # Excel takes it for UTF-8 by its mark
        writer = csv.writer(LineFeeds(handle), lineterminator="\r\n")
        writer.writerow(COLUMNS)
        for row, one in enumerate(plan.drawn, start=1):
            writer.writerow([row, inert(one.product), stratum, share, "", plan.name])


def _left(run: Run, backend: str, required: Requirement) -> list[str]:
    """Say what the tries on this run leave, before anybody labels anything."""
    tries = Tries.of(run.path)
    left = tries.also(sample_question(required, backend, "", ())).left
    if left <= 0:
        raise InputError(
            f"after {number_of(len(tries.made), 'test')} on this run, a sample could promise nothing",
            "run the study again, with further labelled products, in another directory",
        )
    if not (count := len(tries.made) + len(tries.elsewhere)):
        return []
    before = "1 test was" if count == 1 else f"{count:,} tests were"
    return [f"{before} made on this run before: what this sample certifies is stated with probability {promise(left)}"]


def _said(plan: LabellingPlan, sampling: Sampling, wanted: Wanted) -> list[str]:
    """Say what was drawn."""
    target = f"{float(wanted.requirement.target):.9g}"
    count, frame = len(plan.drawn), sampling.frame
    lines = [
        f"{count:,} of {plan.flow:,} products drawn at random from the {frame:,} with a confidence of at least "
        f"{probability(plan.thresholds[-1])}: {wanted.out}",
        f"if the flow is as tune lets expect, they certify {target} with a chance of {sampling.chance:.0%}, for "
        f"{percent(sampling.accepted[0] / plan.flow)} of the flow to begin with and up to {percent(frame / plan.flow)}",
    ]
    if sampling.chance < LIKELY:
        lines.append("a larger --budget, or a lower --precision, would make that likelier")
    if count < wanted.budget:
        lines.append(f"these are all such products: {wanted.budget - count:,} fewer than the budget allows")
    return lines


def _next(plan: LabellingPlan, wanted: Wanted, run: Path) -> list[str]:
    """Say what to do next."""
    # without --precision and the like: the plan knows what it was drawn for
    decide = ["shelfbench", "decide", str(run), plan.backend, "--labelled", str(wanted.out), "--out", "decision"]
    return [
        f"fill in the column category for every row: a category's key or name, or {NONE} where none fits or nobody can "
        "tell, which counts as an error. Add, change or leave out no row",
        f"then: {shlex.join(decide)}",
    ]
