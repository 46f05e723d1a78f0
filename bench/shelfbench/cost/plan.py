"""What a study will take, estimated before it runs: time, memory and disk of every backend, variant or network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING

from shelfbench.base.grid import MISSING, Grid, asked, digits, span
from shelfbench.cost.trial import Sizes, Trial
from shelfbench.plugins.planned import PlannedJob

if TYPE_CHECKING:
    import pandas as pd

_LARGE = 20_000_000
# Bytes of an image's 100 best categories in scores/BACKEND.parquet: a code and a float each.
_SCORES = 100 * 6
_MIB = 2**20
_UNKNOWN = "not known"
_STAGES = ("tune", "extract", "fit", "predict")  # of `Estimate`, in seconds
_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a job will take.

    Attributes
    ----------
    name : str
        The backend, variant or network.
    trainings, epochs : int
        How often it is trained, and the epochs of each training (0 if unknown, or if there are none).
    tune, extract, fit, predict : float
        Seconds of training the network, of decoding and features (0 if an earlier job of the study has made them), of
        fitting the classifier with all choices, of all log-probabilities; NaN if unknown.
    shared : str
        The job whose features are reused; empty if they are its own.
    memory_mib, disk_mib : float
        NaN if unknown.
    least : float
        Minimum seconds, if the settings fix them; otherwise 0.
    """

    name: str
    trainings: int
    epochs: int
    tune: float
    extract: float
    fit: float
    predict: float
    shared: str
    memory_mib: float
    disk_mib: float
    least: float = 0.0

    @property
    def seconds(self) -> float:
        """Total seconds; NaN if a part is unknown."""
        return self.least or self.tune + self.extract + self.fit + self.predict


@dataclass(frozen=True)
class Tried:
    """A job, what its trial found, and how many images it uses."""

    job: PlannedJob
    trial: Trial
    sizes: Sizes


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
    at_scale : bool
        Whether to show the estimates for the 20 million images of the first paper, too.
    price : float
        What an hour of the machine costs; 0 if that was not said, and then nothing is shown in money.
    """

    study: str
    experiment: str = ""
    sizes: Sizes
    tried: tuple[Tried, ...]
    problems: dict[str, str]
    notes: tuple[str, ...] = ()
    at_scale: bool = False
    price: float = 0.0

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
            found.append(_estimate(tried, owner, sizes))
        return found

    @property
    def table(self) -> pd.DataFrame:
        """The estimates as a frame, one row per job.

        The columns are those of `Estimate`, and seconds; times are in seconds, memory and disk in MiB, and NaN means
        unknown. With a price of an hour, cost_tune, cost_extract, cost_fit, cost_predict and cost are what these
        seconds cost.
        """
        import pandas as pd

        rows = [asdict(found) | {"seconds": found.seconds} for found in self.estimates()]
        frame = pd.DataFrame(rows, columns=[*(item.name for item in fields(Estimate)), "seconds"])
        if self.price:
            for stage in _STAGES:
                frame[f"cost_{stage}"] = frame[stage] * self.price / _HOUR
            frame["cost"] = frame["seconds"] * self.price / _HOUR
        return frame

    def __str__(self) -> str:
        """Return tables for the terminal: the study as it is and, with `at_scale`, 20 million images."""
        grids = [_grid(self._title(), self.estimates(), self)]
        if self.price:
            grids.append(self._in_money(self._title(), self.estimates()))
        notes = []
        if self.sizes.images:
            notes.append(
                "Times are for an otherwise idle machine, and features that are not cached; †: reuses the features of "
                "an earlier row. Peak memory includes the features of all images."
            )
        if self.at_scale:
            title = f"{_LARGE:,} images in {self.sizes.classes:,} categories, at the same rates"
            grids.append(_grid(title, self.estimates(_LARGE), self))
            if self.price:
                grids.append(self._in_money(title, self.estimates(_LARGE)))
        grids[-1] = replace(grids[-1], notes=(*(() if self.at_scale else grids[-1].notes), *notes, *self.notes))
        return "\n\n".join(grid.text() for grid in grids)

    def _in_money(self, title: str, estimates: Sequence[Estimate]) -> Grid:
        """Write what the times cost at a price per hour of the machine."""

        def cost(seconds: float) -> str:
            return _UNKNOWN if math.isnan(seconds) else digits(seconds * self.price / _HOUR) if seconds else MISSING

        rows = [
            (
                found.name,
                *(
                    (MISSING,) * len(_STAGES)
                    if found.least
                    else map(cost, (getattr(found, stage) for stage in _STAGES))
                ),
                ("at least " if found.least else "") + cost(found.seconds),
            )
            for found in estimates
        ]
        if estimates:
            total = sum(found.seconds for found in estimates)
            together = _UNKNOWN if math.isnan(total) else _at_least(estimates) + cost(total)
            rows.append(("all", *("",) * len(_STAGES), together))
        return Grid(
            title=f"In money, at {asked(self.price)} an hour of the machine: {title}",
            headers=(
                "Variant" if self.experiment else "Backend",
                "Train network",
                "Decode, extract",
                "Fit",
                "Predict",
                "Together",
            ),
            rows=tuple(rows),
            numeric=frozenset(range(1, 6)),
        )

    def _title(self) -> str:
        sizes = self.sizes
        if not sizes.images:
            return f"Study {self.study}: the experiment {self.experiment} needs no photos"
        learnt = f", {sizes.train:,} of them for training," if sizes.train else ""
        return f"{sizes.images:,} images{learnt} in {sizes.classes:,} categories"

    def _repr_html_(self) -> str:
        """Show the estimates in a notebook."""
        priced = self._in_money(self._title(), self.estimates()).html() if self.price else ""
        return _grid(self._title(), self.estimates(), self).html() + priced


def _estimate(tried: Tried, owner: str, sizes: Sizes) -> Estimate:
    job, trial = tried.job, tried.trial
    own = owner == job.name
    training, extraction, fitting = trial.training, trial.extraction, trial.fitting
    only_trained = job.ends_with_training and training is not None
    features = 0.0 if extraction is None else sizes.images * trial.dimensions * 4 / _MIB
    scored = not job.ends_with_training
    disk = features if own else 0.0  # only features, if nothing is scored
    if fitting is not None and scored:
        disk += fitting.model_mib + _SCORES * sizes.held_out / _MIB
    return Estimate(
        name=job.name,
        trainings=job.trainings,
        epochs=job.epochs if training is None else training.epochs,
        tune=training.per_image * sizes.train * job.trainings
        if training is not None and (own or only_trained)
        else 0.0,
        extract=extraction.first + extraction.per_image * sizes.images if extraction is not None and own else 0.0,
        fit=math.nan if fitting is None else job.trainings * (fitting.base + fitting.per_image * sizes.train),
        predict=fitting.predict * sizes.images if fitting is not None and scored else 0.0,
        shared="" if own or extraction is None else owner,
        memory_mib=math.nan if extraction is None else max(extraction.mib, fitting.mib if fitting else 0.0) + features,
        disk_mib=disk,
        least=job.seconds or 0.0,
    )


def _grid(title: str, estimates: Sequence[Estimate], plan: Plan) -> Grid:
    rows = [_row(found) for found in estimates]
    if estimates:
        total = sum(found.seconds for found in estimates)
        most = max((found.memory_mib for found in estimates if not math.isnan(found.memory_mib)), default=math.nan)
        disk = sum(found.disk_mib for found in estimates)
        together = _UNKNOWN if math.isnan(total) else _at_least(estimates) + span(total)
        rows.append(("all", "", "", "", "", "", "", together, _gibibytes(most, 1), _gibibytes(disk, 2)))
    heads = (
        "Variant" if plan.experiment else "Backend",
        "Trainings",
        "Epochs",
        "Train network",
        "Decode, extract",
        "Fit",
        "Predict",
        "Together",
        "Peak memory",
        "Disk",
    )
    kept = range(len(heads)) if plan.experiment else [column for column in range(len(heads)) if column not in (1, 2)]
    return Grid(
        title=title,
        headers=tuple(heads[column] for column in kept),
        rows=tuple(tuple(row[column] for column in kept) for row in rows),
        numeric=frozenset(range(1, len(kept))),
        notes=tuple(f"{name}: {reason}" for name, reason in plan.problems.items()),
    )


def _row(found: Estimate) -> tuple[str, ...]:
    def known(seconds: float) -> str:
        return _UNKNOWN if math.isnan(seconds) else (span(seconds) if seconds else MISSING)

    if found.least:
        stages = (MISSING, MISSING, MISSING, MISSING, f"at least {span(found.least)}")
    else:
        stages = (
            known(found.tune),
            "†" if found.shared else known(found.extract),
            known(found.fit),
            known(found.predict),
            _UNKNOWN if math.isnan(found.seconds) else span(found.seconds),
        )
    return (
        found.name,
        f"{found.trainings}" if found.trainings else MISSING,
        f"{found.epochs}" if found.epochs else MISSING,
        *stages,
        _gibibytes(found.memory_mib, 1),
        _gibibytes(found.disk_mib, 2),
    )


def _at_least(estimates: Sequence[Estimate]) -> str:
    return "at least " if any(found.least for found in estimates) else ""


def _gibibytes(mib: float, decimals: int) -> str:
    return MISSING if math.isnan(mib) else f"{mib / 1024:,.{decimals}f} GiB"
