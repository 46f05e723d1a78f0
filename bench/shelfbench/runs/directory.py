"""A run directory that has been opened: its record, and frames of its contents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.storage import file_stem
from shelfbench.runs.choice import Choice, choose
from shelfbench.runs.columns import check_columns
from shelfbench.runs.entries import BackendEntry
from shelfbench.runs.evaluating import Results, evaluation_of
from shelfbench.runs.frames import Evaluation, certified_rows, curve_frame
from shelfbench.runs.headline import Headline, headline
from shelfbench.runs.intact import MODELS, Changed, Intact
from shelfbench.runs.next_step import Way
from shelfbench.runs.notebook import run_html, summary_html
from shelfbench.runs.papers import shows_papers
from shelfbench.runs.reading import (
    NOT_KEPT,
    SPLITS,
    BackendLabel,
    Cost,
    Evaluated,
    NothingMeasured,
    label_backends,
    read_costs,
    read_frame,
    read_history,
    reading,
)
from shelfbench.runs.reading_rows import read_images, read_products
from shelfbench.runs.record import RunRecord, read_record
from shelfbench.verdict.confidence import DEFAULT
from shelfbench.verdict.metrics import REQUIRED, exact_target


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Run:
    """A run that has been opened, as returned by `shelfbench.run` and `shelfbench.load_run`.

    Its frames are computed from the predictions on first use, and kept: copy one before you change it.

    Attributes
    ----------
    path : Path
        The run directory.
    record : RunRecord
        ``run.json``.
    backends : tuple of str
        Those with predictions, in the order of the record; empty for an experiment that leaves no predictions.
    summary : str
        What ``shelfbench run`` printed; empty for a run that was opened later.
    """

    path: Path
    record: RunRecord[BackendEntry]
    backends: tuple[str, ...]
    summary: str = ""
    _products: dict[str, Evaluated] = field(default_factory=dict)
    _evaluations: dict[tuple[tuple[str, ...], tuple[Fraction, ...]], Evaluation] = field(default_factory=dict)

    @property
    def categories(self) -> dict[str, str]:
        """Display names by key."""
        return self.record.dataset.category_names

    def department(self, key: str) -> str:
        """Return the first taxonomy level of a category, or the category itself if it has none."""
        return self.record.dataset.category_level1.get(key) or self.categories.get(key, key)

    @cached_property
    def _intact(self) -> Intact:
        return Intact(self.path, self.record)

    @cached_property
    def labels(self) -> dict[str, BackendLabel]:
        """The name of each backend in tables and figures."""
        return label_backends(self.record, self.backends)

    @cached_property
    def costs(self) -> dict[str, Cost]:
        """Seconds of each backend."""
        self._intact.check()
        return read_costs(self.path, self.backends)

    @property
    def targets(self) -> tuple[Fraction, ...]:
        """Required precisions of the study's report, always including 0.9, ascending."""
        asked = self.record.settings.report.targets
        return tuple(sorted({exact_target(target) for target in (REQUIRED, *map(str, asked))}))

    @property
    def papers(self) -> bool:
        """Whether the page sets the papers' numbers beside the run's."""
        return shows_papers(self.record)

    @property
    def confidence_level(self) -> float:
        """Probability with which a certified threshold keeps its precision."""
        return self.record.settings.verdict.confidence_level

    @cached_property
    def damaged(self) -> dict[str, InputError]:
        """Backends with a damaged file, and what is wrong with it; of files that are only looked at, by the footer."""
        found = {}
        for backend in self.backends:
            try:
                self.products(backend)
                kept = [self.file(folder, backend) for folder in ("scores", "aggregations", "history")]
                for path in filter(Path.is_file, [*kept, self.file("history", f"{backend}.tuning")]):
                    with reading(path):
                        check_columns(path)
            except Changed:  # there is a hash, and a way to make it anew
                raise
            except InputError as error:
                found[backend] = error
        return found

    @cached_property
    def sound(self) -> tuple[str, ...]:
        """Backends without a damaged file, which the frames cover; warns of the others, and raises if none is left."""
        self._check_predictions()
        if len(self.damaged) == len(self.backends):
            raise self.damaged[self.backends[0]]
        for name, error in self.damaged.items():
            Console().warn(f"{name} is left out: {error}")
        return tuple(name for name in self.backends if name not in self.damaged)

    def file(self, folder: str, backend: str) -> Path:
        """Path of a backend's Parquet file in a folder of the run, such as scores; a changed one raises `Changed`."""
        self._intact.check(backend)
        return self.path / folder / f"{file_stem(backend)}.parquet"

    def model(self, backend: str) -> Path:
        """Path of a backend's model.

        Parameters
        ----------
        backend : str

        Returns
        -------
        Path

        Raises
        ------
        Changed
            If a file of the backend is not what the run wrote.
        """
        self._intact.check(backend, model=True)
        return self.path / MODELS / file_stem(backend)

    def products(self, backend: str) -> Evaluated:
        """Read a backend's products, once.

        Parameters
        ----------
        backend : str

        Returns
        -------
        Evaluated
            Not to be changed.

        Raises
        ------
        InputError
            If the run has no such backend, or its file is damaged, lacks a column or a product of the split, or
            contains a NaN confidence.
        """
        if self._known(backend) not in self._products:
            like = next(iter(self._products.values()), None)  # what all backends share is held once
            self._products[backend] = read_products(self.path, backend, like)
        return self._products[backend]

    def history(self, stage: str = "") -> dict[str, pd.DataFrame]:
        """Read the training history of the backends that have one; see `shelfbench.runs.reading.read_history`."""
        return read_history(self.path, self.backends, stage)

    def evaluate(self, targets: Sequence[Fraction], console: Console | None = None) -> Evaluation:
        """Compute Table 4, the metrics and the deciles of all backends, once.

        Parameters
        ----------
        targets : sequence of Fraction
            Required precisions of the metrics.
        console : Console, optional

        Returns
        -------
        Evaluation

        Raises
        ------
        InputError
            If a file of the run is damaged; the message names it.
        """
        key = (self.sound, tuple(targets))
        if key not in self._evaluations:
            self._evaluations[key] = self._evaluate(tuple(targets), console or Console(quiet=True))
        return self._evaluations[key]

    def _evaluate(self, targets: tuple[Fraction, ...], console: Console) -> Evaluation:
        found = (
            Results(name, products := self.products(name), read_images(self.path, name, products.keys), costs)
            for name, costs in ((name, self.costs[name]) for name in self.sound)
        )
        with console.progress(len(self.sound) * len(SPLITS), "intervals", "splits") as bar:
            return evaluation_of(found, targets, self.record.split, bar)

    @property
    def table4(self) -> pd.DataFrame:
        """Table 4, one row per backend and split.

        The columns are those of ``table4.csv``: backend, split, precision and acceptance_90 (each with its 95% interval
        in _low and _high), seconds, and cached (whether features were computed by an earlier backend or run).
        """
        return self.evaluate(self.targets).table4

    @property
    def metrics(self) -> pd.DataFrame:
        """All metrics in long form.

        The columns are backend, split (tune is the half of validation on which choices are made), level (product or
        image), metric (precision, balanced_accuracy, top_5, rows, rejected, acceptance_90, threshold_90 ...) and value.
        """
        return self.evaluate(self.targets).metrics

    @property
    def deciles(self) -> pd.DataFrame:
        """Precision by decile of category size.

        The columns are backend, split, decile (1 is for the smallest categories), categories, smallest and largest
        (products in train), products and precision.
        """
        return self.evaluate(self.targets).deciles

    @cached_property
    def certified(self) -> pd.DataFrame:
        """What can be promised, one row per backend and required precision.

        The columns are those of ``certified.csv``: backend, measure, target, level; for each of the thresholds plain
        (fitted on test), tuned (fixed on tune) and certified, its acceptance and precision, with exact 95% intervals in
        _low and _high; and why, if nothing is certified.
        """
        asked, walk = (self.targets, self.confidence_level, [DEFAULT]), self.record.settings.verdict.walk
        found = [certified_rows(name, self.products(name), *asked, walk=walk) for name in self.sound]
        return pd.DataFrame([row for rows in found for row in rows])

    @property
    def timings(self) -> pd.DataFrame:
        """Seconds of every stage, with the columns of `shelfbench.cost.timing.Timing`."""
        self._intact.check()
        return read_frame(self.path / "timings.parquet")

    @property
    def split(self) -> pd.DataFrame:
        """The split and role of every product, with the columns product_id, category, split and role.

        A split is train, validation or test; the roles are train, tune, certify and test.
        """
        self._intact.check()
        return read_frame(self.path / "split.parquet")

    def predictions(self, backend: str) -> pd.DataFrame:
        """Return a backend's predictions, one row per product.

        Parameters
        ----------
        backend : str

        Returns
        -------
        DataFrame
            With the columns product_id, split, role, category, predicted, confidence (log-probability), margin, top5,
            top5_confidence, images and rejected (null, or why).

        Raises
        ------
        InputError
            If the run has no such backend, or the file is damaged.
        """
        return read_frame(self.file("predictions", self._known(backend)))

    def scores(self, backend: str) -> pd.DataFrame:
        """Return a backend's scores, one row per image of validation and test.

        Parameters
        ----------
        backend : str

        Returns
        -------
        DataFrame
            With the columns product_id, split, category, categories (the 100 best), log_probabilities (theirs) and the
            log of the remaining mass.

        Raises
        ------
        InputError
            If the run has no such backend, or keeps no scores.
        """
        return read_frame(self.file("scores", self._known(backend)))

    def curve(self, backend: str, split: str = "test") -> pd.DataFrame:
        """Return the acceptance and precision of every threshold of a backend.

        Parameters
        ----------
        backend : str
        split : {'test', 'validation', 'train'}

        Returns
        -------
        DataFrame
            One row per threshold, the strictest first, with the columns threshold (accept where confidence >=
            threshold), accepted and correct (products), precision and acceptance (share of all products).

        Raises
        ------
        InputError
            If the run has no such backend or split, or a file is damaged.
        """
        if split not in SPLITS:
            raise InputError(f"there is no split {split!r}", f"choose from: {', '.join(SPLITS)}")
        return curve_frame(self.products(backend), split)

    @cached_property
    def verdict(self) -> Choice | None:
        """The backend to use, chosen on validation; None if there are no validation products to choose on."""
        return choose(self.table4, self.metrics, self.record, self.products)

    @cached_property
    def headline(self) -> Headline:
        """What can be promised, in sentences, as at the top of the page; ``print(run.headline)`` shows all of them."""
        way = Way(path=self.path, record=self.record, products=self.products)
        return headline(self.verdict, self.certified, self.record.split.test.products or 0, way)

    def _check_predictions(self) -> None:
        if not self.backends:
            raise InputError(
                f"{self.path} has no predictions: it is a run of the experiment {self.record.experiment!r}",
                f"its results are in {self.path / 'tables'}",
            )

    def _known(self, backend: str) -> str:
        self._check_predictions()
        if backend not in self.backends:
            choices = f"choose from: {', '.join(self.backends)}"
            raise InputError(f"{self.path} has no predictions of {backend!r}", choices)
        self._intact.check(backend)
        return backend

    def __repr__(self) -> str:
        """Return the path and the backends in one line."""
        return f"<Run {self.path}: {', '.join(self.backends) or 'no predictions'}>"

    def _repr_html_(self) -> str:
        """Show Table 4 and the verdict in a notebook."""
        path = self.path
        return run_html(path, self.table4, self.headline) if self.backends else summary_html(path, self.summary)


def open_run(run_dir: Path | Run, *, experiments: bool = False) -> Run:
    """Open a run directory, unless it is open already.

    Parameters
    ----------
    run_dir : Path or Run
    experiments : bool
        Also open the run of an experiment, which has no predictions.

    Returns
    -------
    Run

    Raises
    ------
    InputError
        If it is not a run directory, its record is damaged, or no backend has predictions yet.
    """
    if isinstance(run_dir, Run):
        return run_dir
    record: RunRecord[BackendEntry] = read_record(run_dir)
    files = (run_dir / "predictions").glob("*.parquet")
    written = {file_stem(name): name for name in record.backends}
    found = {written.get(file.stem, file.stem) for file in files if not file.name.startswith(".")}
    found -= {name for name, entry in record.backends.items() if entry.failed}
    if not found and not (experiments and record.experiment):
        raise NothingMeasured(f"{run_dir} has no predictions", NOT_KEPT)
    ordered = [name for name in record.backends if name in found] + sorted(found - set(record.backends))
    return Run(path=run_dir, record=record, backends=tuple(ordered))
