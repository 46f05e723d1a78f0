"""What a study will take, estimated before it runs: time, memory, disk, bytes read and money, by stage and backend."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING

from shelfbench.cost.around import Around, StageEstimate
from shelfbench.cost.estimate import STAGES, Estimate, Tried, estimated
from shelfbench.cost.sizes import Sizes
from shelfbench.cost.stored import Stored

if TYPE_CHECKING:
    import pandas as pd

_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study will take; ``print(plan)`` shows it.

    Attributes
    ----------
    study : str
        Its name.
    experiment : str
        Empty for a comparison.
    sizes : Sizes
        Of the data.
    tried : tuple of Tried
    problems : dict of str to str
        Jobs that cannot be estimated, and why.
    notes : tuple of str
    papers : bool
        Whether the study reproduces the papers, so that the first one's week matters.
    at_scale : bool
        Whether to show the estimates for the 20 million images of the first paper, too.
    price : float
        What an hour of the machine costs; 0 if that was not said, and then nothing is shown in money.
    machines : int
        Among how many machines features are divided, and fits that can be.
    around : Around or None
        What the stages besides the jobs cost; None if that is not known.
    seeks : tuple of bool
        Whether near-duplicates are sought: among the images of the plan, and among the paper's.
    stored : dict of str to Stored
        What the feature store has, by job.
    prints : int
        Photos whose fingerprints are there.
    """

    study: str
    experiment: str = ""
    sizes: Sizes
    tried: tuple[Tried, ...]
    problems: dict[str, str]
    notes: tuple[str, ...] = ()
    papers: bool = False
    at_scale: bool = False
    price: float = 0.0
    machines: int = 1
    around: Around | None = None
    seeks: tuple[bool, bool] = (False, False)
    stored: Mapping[str, Stored] = field(default_factory=dict)
    prints: int = 0

    @property
    def alone(self) -> Plan:
        """The same on one machine."""
        return replace(self, machines=1)

    def estimates(self, images: int = 0) -> list[Estimate]:
        """Estimate every job, in the study's order.

        Parameters
        ----------
        images : int
            Number of images; 0 for those of the dataset.

        Returns
        -------
        list of Estimate
        """
        owners: dict[tuple[str, Sizes], str] = {}
        found = []
        for tried in self.tried:
            sizes = tried.sizes.scaled(images) if images else tried.sizes
            owner = owners.setdefault((tried.trial.features, sizes), tried.job.name)
            found.append(estimated(tried, owner, sizes, self.machines))
        return found

    def stages(self, images: int = 0) -> list[StageEstimate]:
        """Estimate the stages that belong to no job, in the order in which a run goes through them.

        Parameters
        ----------
        images : int
            As in `estimates`.

        Returns
        -------
        list of StageEstimate
            Empty where they are not known.
        """
        if self.around is None:
            return []
        own = {found.name for found in self.estimates(images) if not found.shared}
        compared = not self.experiment
        return self.around.stages(
            self.sizes.scaled(images) if images else self.sizes,
            groups=len(own) if compared else 0,
            backends=len(self.tried) if compared else 0,
            seeks=self.seeks[1 if images else 0] and compared,
            there=self.prints,
        )

    def seconds(self, images: int = 0) -> float:
        """Seconds of all stages and jobs together; NaN if one is unknown."""
        parts: list[StageEstimate | Estimate] = [*self.stages(images), *self.estimates(images)]
        return sum(found.seconds for found in parts)

    def money(self, seconds: float) -> float:
        """Return what some seconds cost on all machines."""
        return self.paid(seconds * self.machines)

    def paid(self, seconds: float) -> float:
        """Return what some seconds of one machine cost."""
        return seconds * self.price / _HOUR

    @property
    def table(self) -> pd.DataFrame:
        """The estimates as a frame, one row per job.

        The columns are those of `Estimate`, and seconds; times are in seconds; memory, disk and what is read in MiB;
        NaN means unknown. With a price of an hour, cost_tune, cost_extract, cost_fit, cost_predict and cost are what
        these seconds cost on all machines.
        """
        import pandas as pd

        rows = [asdict(found) | {"seconds": found.seconds} for found in self.estimates()]
        frame = pd.DataFrame(rows, columns=[*(item.name for item in fields(Estimate)), "seconds"])
        if self.price:
            for stage in STAGES:
                frame[f"cost_{stage}"] = frame[stage] * self.money(1.0)
            frame["cost"] = frame["seconds"] * self.money(1.0)
        return frame

    @property
    def stages_table(self) -> pd.DataFrame:
        """The stages besides the jobs as a frame, one row each, with the columns of `StageEstimate`."""
        import pandas as pd

        names = [item.name for item in fields(StageEstimate)]
        return pd.DataFrame([asdict(found) for found in self.stages()], columns=names)

    @property
    def peak_mib(self) -> float:
        """Peak memory of all that is known, in MiB; NaN if nothing is."""
        parts: list[StageEstimate | Estimate] = [*self.stages(), *self.estimates()]
        return max((part.memory_mib for part in parts if not math.isnan(part.memory_mib)), default=math.nan)

    def __str__(self) -> str:
        """Return tables for the terminal: the study as it is and, with `at_scale`, 20 million images."""
        from shelfbench.cost.shown import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        """Show the estimates in a notebook."""
        from shelfbench.cost.shown import as_html

        return as_html(self)
