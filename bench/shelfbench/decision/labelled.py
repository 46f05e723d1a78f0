"""``shelfbench decide --labelled``: the certificate that a labelled sample of the flow gives.

The sample is the one that `shelfbench.decision.labelling` drew. The table may have been through a spreadsheet, so every
row is compared with the plan; what does not match is an error that names the row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.grid import number_of, percent, probability
from shelfbench.base.public_arguments import path_argument
from shelfbench.base.storage import file_sha256
from shelfbench.data.sources.labels import as_key
from shelfbench.data.sources.table_files import cells_of
from shelfbench.decision.deciding import decision_on
from shelfbench.decision.decision import Decision
from shelfbench.decision.evidence import Evidence
from shelfbench.decision.labelling import FOLDER, NONE, LabellingPlan, tune_fingerprint, tune_of
from shelfbench.decision.labelling_guard import Fence, fence_again
from shelfbench.decision.labelling_kept import KeptLabels, rows_said, sample_question
from shelfbench.decision.rule import Requirement, Ruling, Verdict
from shelfbench.decision.tries import Tries, stated
from shelfbench.runs.category_names import Spellings
from shelfbench.runs.directory import Run, open_run
from shelfbench.runs.keeping import SavedModel, read_model
from shelfbench.runs.reading import reading
from shelfbench.study.sections import did_you_mean
from shelfbench.verdict.intervals import exact_interval
from shelfbench.verdict.labelling import Sampled, certify_sample
from shelfbench.verdict.metrics import Target

_NEEDED = ("row", "product_id", "category", "plan")
_AGAIN = "fill in the table as shelfbench label wrote it"
_MORE = (
    "label a new and larger sample (shelfbench label with a larger --budget and another --seed; what this file says "
    "cannot be tested twice), a better classifier, or a lower required precision"
)


@dataclass(frozen=True)
class Labels:
    """A table that came back.

    Attributes
    ----------
    plan : LabellingPlan
        What it was drawn from.
    categories : tuple of (str or None)
        The key that a person gave to each product that was drawn; None where none fits or nobody can tell.
    path : Path
        The table.
    """

    plan: LabellingPlan
    categories: tuple[str | None, ...]
    path: Path

    @property
    def correct(self) -> np.ndarray:
        """Whether the prediction is the category that a person wrote; shape (drawn,)."""
        return np.array([one.predicted == key for one, key in zip(self.plan.drawn, self.categories, strict=True)])


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of a labelled sample; None stands for what it was drawn for.

    Attributes
    ----------
    precision : Fraction, float, str or None
    confidence : float, str or None
    measure : str
        Only the probability can be certified.
    all_categories : bool
        Whether no category may be switched off.
    """

    precision: Target | None = None
    confidence: float | str | None = None
    measure: str = Requirement.measure
    all_categories: bool = False


def decide_labelled(run: Run | Path | str, backend: str, labelled: Path | str, asked: Asked | None = None) -> Decision:
    """Decide whether a backend of a run may be deployed, by a labelled sample of the flow.

    The products of `certify` are not read: the promise is for products that come as those of the flow did.

    Parameters
    ----------
    run : Run, Path or str
        A run, or its directory.
    backend : str
        The backend that the sample was drawn for.
    labelled : Path or str
        The table that ``shelfbench label`` wrote, filled in.
    asked : Asked, optional
        By default, what the sample was drawn for; it cannot be anything else.

    Returns
    -------
    Decision

    Raises
    ------
    InputError
        If the table is not the one that was drawn, has a row without a category or another category than the one that
        was decided on before, or was drawn for another backend or promise; or if the run lacks the model.
    """
    opened = open_run(run if isinstance(run, Run) else path_argument(run, "run"))
    if backend not in opened.backends:
        raise InputError(
            f"{opened.path} has no predictions of {backend!r}", f"choose from: {', '.join(opened.backends)}"
        )
    asked = Asked() if asked is None else asked
    if asked.measure != Requirement.measure:
        raise InputError(f"a labelled sample certifies no threshold on the {asked.measure}", "leave out --measure")
    opened.products(backend)  # refuses a file that lacks a product, or repeats one
    saved = read_model(opened.model(backend))
    path = path_argument(labelled, "labelled")
    plan, cells, where = _read(opened.path, path)
    required = _required(opened, backend, plan, asked, path)
    fence = fence_again(opened, backend, required, plan.guard)
    names = {key: opened.categories.get(key, key) for key in saved.classes}
    labels = Labels(plan, _categories(plan, cells, where, names), path)
    kept = KeptLabels.of(opened.path / FOLDER, plan.name)
    kept.compare(labels.categories, path)
    found = certify_sample(
        np.array([one.confidence for one in plan.drawn]),
        labels.correct,
        plan.sampling,
        target=required.target,
        level=required.level,
    )
    ruling = _ruling(_evidence(opened, plan, found, fence), saved, labels, found)
    asked_now = sample_question(required, backend, plan.name, labels.categories)

    def promised() -> Ruling:
        """Keep the labels, count the test, and state the promise at what all tests leave."""
        console = Console(quiet=True)
        kept.save(labels.categories, console)
        return stated(ruling, Tries.of(opened.path).also(asked_now).save(console))

    guard = None if fence is None else fence.guard
    return decision_on(opened, backend, saved, promised, labelled=_noted(labels, found), guard=guard)


def _read(run: Path, path: Path) -> tuple[LabellingPlan, pd.DataFrame, list[str]]:
    """Read the table, and the plan that it names; the rows' places in the file are for messages."""

    def columns_of(present: list[str]) -> dict[str, str]:
        if missing := [name for name in _NEEDED if name not in present]:
            raise InputError(f"{path} has no column {missing[0]!r}", _AGAIN)
        return {name: name for name in _NEEDED}

    cells, unit = cells_of(path, list(_NEEDED), columns_of)
    frame = pd.DataFrame(
        {name: [_text(value) for value in values] for name, values in cells.columns.items()}, columns=list(_NEEDED)
    )
    where = [f"{path}, {unit} {line}" for line in cells.lines.tolist()]
    # rows that a spreadsheet left blank below or between the others
    kept = (frame != "").any(axis=1).to_numpy()
    frame, where = frame[kept].reset_index(drop=True), [one for one, keep in zip(where, kept, strict=True) if keep]
    plans = frame["plan"].unique()
    if len(plans) != 1:
        raise InputError(f"{path} names {len(plans)} plans in the column plan, not one", _AGAIN)
    if not re.fullmatch(r"[0-9a-f]{12}", plans[0]):
        raise InputError(f"{path}: {plans[0][:40]!r} in the column plan is not a plan", _AGAIN)
    return _plan(run / FOLDER / f"{plans[0]}.json", path), frame, where


def _text(value: object) -> str:
    return "" if value is None or value != value else as_key(value).strip()


def _plan(path: Path, table: Path) -> LabellingPlan:
    try:
        plan = msgspec.json.decode(path.read_bytes(), type=LabellingPlan)
    except FileNotFoundError:
        raise InputError(
            f"{path}, from which {table} was drawn, is missing", "decide in the run directory that it was drawn for"
        ) from None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({str(error)[:160]})", "draw and label another sample") from error
    uneven = len(plan.accepted) != len(plan.thresholds) or (plan.guard and len(plan.guard.sure) != len(plan.accepted))
    if plan.name != path.stem or uneven:
        raise InputError(f"{path} is not as shelfbench label wrote it", "draw and label another sample")
    return plan


def _required(run: Run, backend: str, plan: LabellingPlan, asked: Asked, path: Path) -> Requirement:
    """Make sure that the sample was drawn for this backend and this promise; return the promise."""
    if plan.backend != backend:
        raise InputError(f"{path} was drawn for {plan.backend}, not for {backend}", f"decide on {plan.backend}")
    required = Requirement.of(
        Fraction(plan.target) if asked.precision is None else asked.precision,
        plan.level if asked.confidence is None else asked.confidence,
        all_categories=asked.all_categories,
    )
    if (Fraction(plan.target), plan.level) != (required.target, required.level):
        raise InputError(
            f"{path} was drawn for a precision of {float(Fraction(plan.target)):.9g} with probability {plan.level!r}",
            "leave out --precision and --confidence, or draw a sample for what you ask",
        )
    if asked.all_categories and plan.off:
        raise InputError(
            f"{path} was drawn with {number_of(len(plan.off), 'category', 'categories')} switched off",
            "leave out --all-categories",
        )
    if plan.predictions != tune_fingerprint(tune_of(run, backend)):
        raise InputError(f"{path} was drawn for another run of {backend}", "give the run directory it was drawn for")
    return required


def _categories(
    plan: LabellingPlan, cells: pd.DataFrame, where: list[str], names: dict[str, str]
) -> tuple[str | None, ...]:
    """Compare every row with the plan, and read the key of its category."""
    spellings = Spellings(names)
    given: list[str | None] = [None] * len(plan.drawn)
    seen = np.zeros(len(plan.drawn), bool)
    empty = []
    for (row, product, category), place in zip(
        cells[["row", "product_id", "category"]].itertuples(index=False), where, strict=True
    ):
        number = int(row) - 1 if re.fullmatch(r"[0-9]{1,9}", row) else -1
        if not 0 <= number < len(plan.drawn):
            raise InputError(f"{place}: the row {row[:20]!r} was not drawn", _AGAIN)
        if seen[number]:
            raise InputError(f"{place}: row {row} comes twice", _AGAIN)
        if _plain(product) != _plain(plan.drawn[number].product):
            raise InputError(
                f"{place}: row {row} was drawn for the product {plan.drawn[number].product[:60]!r}, not for "
                f"{product[:60]!r}",
                _AGAIN,
            )
        seen[number] = True
        if category == "":
            empty.append(place)
        elif category != NONE or NONE in names:
            if len(found := spellings.meant(category)) != 1:
                what = "is the name of several categories" if found else "is not a category of the run"
                likely = "" if found else did_you_mean(category, [*names, *names.values()])
                raise InputError(
                    f"{place}: {category[:60]!r} {what}",
                    f"{likely}give the category's key, or {NONE} where none fits, which counts as an error",
                )
            (given[number],) = found
    if not seen.all():
        raise InputError(
            f"{where[0].rpartition(', ')[0] if where else 'the table'} lacks "
            f"{rows_said((np.flatnonzero(~seen) + 1).tolist())} of the {len(seen):,} that were drawn",
            "give all rows: a sample from which some are left out certifies nothing",
        )
    if empty:
        have = "has" if len(empty) == 1 else "have"
        raise InputError(
            f"{empty[0]}: no category ({len(empty):,} of {len(seen):,} rows {have} none)",
            f"fill in every row; {NONE} where none fits or nobody can tell, which counts as an error",
        )
    return tuple(given)


def _plain(product: str) -> str:
    """What a spreadsheet leaves of an id: no apostrophe before it, no zeros in front of a number."""
    text = product.strip().removeprefix("'")
    return text.lstrip("0") if text.isdecimal() else text


def _ruling(evidence: tuple[Evidence, ...], saved: SavedModel, labels: Labels, found: Sampled) -> Ruling:
    """Put what the labels certify into words, with tune and test for reference."""
    plan = labels.plan
    threshold = None if found.reached is None else plan.thresholds[found.reached]
    verdict, reason = _explained(plan, labels, found)
    return Ruling(
        verdict=verdict,
        reason=reason,
        remedy="" if verdict == Verdict.PASS else _MORE,
        target=Fraction(plan.target),
        level=plan.level,
        measure=Requirement.measure,
        threshold=threshold,
        missing=0 if verdict == Verdict.PASS else None,
        aggregation=saved.aggregation,
        temperature=saved.temperature,
        calibrator=saved.calibrator,
        categories=tuple(saved.classes),
        off=plan.off,
        evidence=evidence,
        guard=plan.guard.guarding(found.reached, plan.accepted) if plan.guard else None,
    )


def _explained(plan: LabellingPlan, labels: Labels, found: Sampled) -> tuple[Verdict, str]:
    target, level = f"{float(Fraction(plan.target)):.9g}", repr(plan.level)
    sample = f"{len(plan.drawn):,} labelled products, drawn from a flow of {plan.flow:,}"
    if found.reached is not None:
        accepted = plan.accepted[found.reached]
        low, high = exact_interval(accepted, plan.flow)
        off = len(plan.off)
        return (
            Verdict.PASS,
            f"precision of at least {target} certified with probability {level} on {sample}: {found.labelled:,} of "
            f"them accepted, {found.correct:,} of these right; {percent(accepted / plan.flow)} of the flow is accepted "
            f"(95% interval {percent(float(low))} to {percent(float(high))})"
            + (f"; {off} {'category' if off == 1 else 'categories'} switched off" if off else ""),
        )
    least = probability(plan.thresholds[0])
    said = f"of the {found.labelled:,} at a confidence of {least} or more, {found.correct:,} are right"
    if found.hopeless:
        return Verdict.FAIL, f"{sample}, show that the precision is below {target}: {said}"
    return Verdict.INCONCLUSIVE, f"{sample}, do not certify {target} with probability {level}: {said}"


def _evidence(run: Run, plan: LabellingPlan, found: Sampled, fence: Fence | None) -> tuple[Evidence, ...]:
    """Count what the threshold gives on tune and test."""
    if found.reached is None:
        return ()
    path = run.file("predictions", plan.backend)
    with reading(path):
        frame = pd.read_parquet(path, columns=["role", "category", "predicted", "confidence"])
    frame["accepted"] = (frame["confidence"] >= plan.thresholds[found.reached]) & ~frame["predicted"].isin(plan.off)
    if fence is not None:
        frame["accepted"] &= ~fence.outside
    parts = []
    for role in ("tune", "test"):
        own = frame[frame["role"] == role]
        accepted = own["accepted"].to_numpy()
        count = int(accepted.sum())
        correct = int((accepted & (own["predicted"] == own["category"]).to_numpy()).sum())
        low, high = exact_interval(np.array([correct, count]), np.array([count, len(own)]))
        parts.append(
            Evidence(
                role=role,
                products=len(own),
                accepted=count,
                correct=correct,
                precision_low=float(low[0]),
                precision_high=float(high[0]),
                acceptance_low=float(low[1]),
                acceptance_high=float(high[1]),
            )
        )
    return tuple(parts)


def _noted(labels: Labels, found: Sampled) -> dict[str, Any]:
    """Describe the sample, for ``decision.json``."""
    plan = labels.plan
    return {
        "file_sha256": file_sha256(labels.path),
        "plan": plan.name,
        "flow": plan.flow,
        "drawn_from": plan.accepted[-1],
        "labelled": len(plan.drawn),
        "wrong": int((~labels.correct).sum()),
        "accepted_of_flow": None if found.reached is None else plan.accepted[found.reached],
        "accepted": found.labelled,
        "correct": found.correct,
    }
