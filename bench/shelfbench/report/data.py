"""What the sections of a comparison's report share: the run, its record, and shared intermediate results."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from PIL import Image

from shelfbench.base.console import Console
from shelfbench.runs.choice import Choice
from shelfbench.runs.directory import Run, open_run
from shelfbench.runs.entries import BackendEntry
from shelfbench.runs.reading import Evaluated
from shelfbench.runs.record import RunRecord, read_record

Found = TypeVar("Found")

Photograph = Callable[[Any], Image.Image | None]
"""Returns the photo of a product by its id, or None if no photo can be read."""

# headings that several sections share
PROMISED = "What can be promised"
BETTER = "Which backend is better"
ERRORS = "Where the errors are"
DOUBTS = "Reasons for doubt"
NUMBERS = "Every number"
THIS_RUN = "This run"


@dataclass(frozen=True)
class Picture:
    """A product's photo for Figure 1."""

    image: Image.Image
    caption: str


@dataclass(frozen=True, kw_only=True, eq=False)
class RunData:
    """A run to report on; its frames and its choice are those of `Run`, computed once.

    Attributes
    ----------
    run : Run
        The run, with the backends that can be reported on.
    record : RunRecord
        ``run.json``; a backend with an unreadable file is marked as damaged.
    pictures : sequence of Picture
        Random photos for Figure 1; empty if the data are not available.
    photograph : callable or None
        Photos for Figure 6; None if the data are not available.
    tables : dict of str to DataFrame
        Tables of this report, by name, as they are written.
    """

    run: Run
    record: RunRecord[BackendEntry]
    pictures: Sequence[Picture] = ()
    photograph: Photograph | None = None
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    _found: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def once(self, compute: Callable[[RunData], Found]) -> Found:
        """Compute a result that several sections need, once, when it is first requested.

        Parameters
        ----------
        compute : callable
            A function of this data.

        Returns
        -------
        Found
            What `compute` returned the first time.
        """
        if compute not in self._found:
            self._found[compute] = compute(self)
        found: Found = self._found[compute]
        return found

    @cached_property
    def held_out(self) -> dict[str, Evaluated]:
        """The products of `tune` and test, the only ones that comparing backends and judging categories may read."""
        return {name: held_out(self.run.products(name)) for name in self.run.backends}

    @property
    def choice(self) -> Choice | None:
        """The backend chosen on validation; None if there is nothing to choose on."""
        return self.run.verdict

    @property
    def chosen(self) -> str:
        """The backend that tables about a single backend show: the chosen one, or else the first."""
        return (self.choice and self.choice.backend) or self.run.backends[0]

    @property
    def papers(self) -> bool:
        """Whether the papers' numbers stand beside the run's."""
        return self.run.papers

    @property
    def compared(self) -> str:
        """The heading over the table and the curves of all backends: Table 4 of C, where the papers matter."""
        return "Table 4" if self.papers else "How the backends compare"

    def numbered(self, number: str, words: str) -> str:
        """Put a table's or figure's number in the papers before its words, where the papers matter."""
        return f"{number}. {words}" if self.papers else words

    @property
    def seed(self) -> int:
        """The seed of everything that is drawn at random."""
        return self.record.seed or 0


def held_out(products: Evaluated) -> Evaluated:
    """Keep the products of `tune` and test."""
    return products.where((products.role == "tune") | (products.split == "test"))


def open_data(
    run_dir: Path | Run,
    *,
    pictures: Sequence[Picture] | None = None,
    photograph: Photograph | None = None,
    console: Console | None = None,
) -> RunData:
    """Open a run to report on, without backends that have a damaged file.

    Parameters
    ----------
    run_dir : Path or Run
        A run directory with predictions.
    pictures : sequence of Picture, optional
        Random photos for Figure 1.
    photograph : callable, optional
        Photos of products by their id, for Figure 6.
    console : Console, optional
        Warned of each backend that is left out.

    Returns
    -------
    RunData

    Raises
    ------
    InputError
        If the directory has no readable predictions.
    """
    run = open_run(run_dir)
    record: RunRecord[BackendEntry] = read_record(run.path)
    if len(run.damaged) == len(run.backends):
        raise run.damaged[run.backends[0]]
    for name, reason in run.damaged.items():
        (console or Console()).warn(f"the report leaves out {name}: {reason}")
        entry = record.backends.setdefault(name, BackendEntry())
        entry.status, entry.reason = "damaged", reason.message.replace(f"{run.path}/", "")
    sound = replace(run, backends=tuple(name for name in run.backends if name not in run.damaged))
    return RunData(run=sound, record=record, pictures=pictures or (), photograph=photograph)
