"""The labels that a sample was first decided on, and the count of samples: neither may be tried until one passes.

A certificate on labels that were changed after the first answer rests on the wish to pass, not on the products. So the
first labels are kept beside the plan (``labelling/PLAN-labels.json``), and other labels of the same sample are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.base.storage import fingerprint, write_json
from shelfbench.decision.rule import Requirement
from shelfbench.decision.tries import questions

Keys = tuple[str | None, ...]


@dataclass(frozen=True)
class KeptLabels:
    """The labels that a sample was first decided on.

    Attributes
    ----------
    path : Path
        Their file.
    first : tuple of (str or None), or None
        Key of the category for every row, None where none fits; None in place of all if nothing was decided yet.
    """

    path: Path
    first: Keys | None

    @classmethod
    def of(cls, folder: Path, plan: str) -> KeptLabels:
        """Read them.

        Parameters
        ----------
        folder : Path
            Of the plans.
        plan : str
            Name of the sample's plan.

        Returns
        -------
        KeptLabels

        Raises
        ------
        InputError
            If the file is damaged.
        """
        path = folder / f"{plan}-labels.json"
        try:
            return cls(path, msgspec.json.decode(path.read_bytes(), type=Keys))
        except FileNotFoundError:
            return cls(path, None)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(
                f"{path}, the labels that this sample was first decided on, cannot be read ({str(error)[:160]})",
                "restore it from a backup of the run, or draw and label another sample",
            ) from None

    def compare(self, now: Keys, table: Path) -> None:
        """Refuse other labels than the first.

        Parameters
        ----------
        now : tuple of (str or None)
        table : Path
            Where they come from.

        Raises
        ------
        InputError
            If a row has another category.
        """
        if self.first is None or self.first == now:
            return
        if len(self.first) != len(now):
            raise InputError(f"{self.path} is not for this sample", "restore it from a backup of the run")
        changed = [row for row, (was, is_now) in enumerate(zip(self.first, now, strict=True), start=1) if was != is_now]
        raise InputError(
            f"{table}: this sample was decided on before, with other categories in {rows_said(changed)}, and labels "
            "that are changed after the answer certify nothing",
            "put these back, or draw another sample (shelfbench label with another --seed)",
        )

    def save(self, now: Keys, console: Console) -> None:
        """Keep the labels if they are the first; warn where that is not possible."""
        if self.first is not None:
            return
        try:
            write_json(self.path, now)
        except (InputError, RunError) as error:
            console.warn(f"the labels of this decision are not kept: {error}")


def sample_question(required: Requirement, backend: str, plan: str, labels: Keys) -> list[dict[str, Any]]:
    """Describe the test on a labelled sample for the count of tries; see `shelfbench.decision.tries.questions`.

    Parameters
    ----------
    required : Requirement
    backend : str
    plan : str
        Name of the sample's plan.
    labels : tuple of (str or None)
        By row.

    Returns
    -------
    list of dict
        JSON; the same for the same sample with the same labels.
    """
    (asked,) = questions(required, [(backend, required.measure)])
    names = ("backend", "measure", "precision", "level")
    return [{**{name: asked[name] for name in names}, "labelled": plan, "labels": fingerprint(list(labels))[:12]}]


def rows_said(rows: Sequence[int]) -> str:
    """Name some rows: all of up to four, and otherwise the first three.

    Parameters
    ----------
    rows : sequence of int
        At least one.

    Returns
    -------
    str
    """
    if len(rows) == 1:
        return f"row {rows[0]:,}"
    named = [f"{row:,}" for row in (rows if len(rows) <= 4 else rows[:3])]
    last = named.pop() if len(rows) <= 4 else f"{len(rows) - 3:,} others"
    return f"rows {', '.join(named)} and {last}"
