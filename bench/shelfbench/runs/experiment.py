"""What every experiment shares: its study, the data, opened once, and its jobs.

An experiment goes through its jobs (the backends of a comparison, the trainings of ``profiles`` ...) in four steps::

    def run(experiment):
        jobs = experiment.jobs
        waiting = [name for name in names if jobs.add(name)]  # skips finished jobs
        built = {name: jobs.prepare(name, partial(build, name)) for name in waiting}
        jobs.require()  # wrong settings end here, before anything is read or written
        material = experiment.material  # reads the data
        experiment.begin()  # from here on, the run directory is written
        # pixels = "auto": networks whose size is left to the photos are now built again (runs.building.suited),
        # with jobs.prepare and jobs.require as before
        for name in waiting:
            if built[name] is not None:
                jobs.run(name, partial(work, built[name]))  # returns the entry of the record

A job that fails does not stop the others; `shelfbench.experiments.run_study` reports them and raises at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import FOREIGN, InputError, NotInstalled, ShelfbenchError, explain
from shelfbench.base.grid import number_of
from shelfbench.base.stopping import stop_if_asked
from shelfbench.base.storage import cache_dir
from shelfbench.data.catalogue import Catalogue
from shelfbench.data.datasets import open_dataset
from shelfbench.data.embedding_names import NO_EMBEDDING
from shelfbench.data.embeddings import Embeddings
from shelfbench.data.extractor import FeatureExtractor
from shelfbench.data.feature_store import image_digests
from shelfbench.data.material import Material, dataset_record, gather
from shelfbench.data.named import NamedDataset
from shelfbench.data.photo_size import PhotoSize
from shelfbench.data.split import make_split
from shelfbench.data.view import View
from shelfbench.runs.data_line import data_line
from shelfbench.runs.data_record import DatasetRecord
from shelfbench.runs.entries import Entry
from shelfbench.runs.record import SplitRecord
from shelfbench.runs.recorder import Recorder
from shelfbench.study.model import Study

T = TypeVar("T")


class Jobs:
    """The jobs of a run: finished ones are skipped, and a failure does not stop the others.

    Parameters
    ----------
    recorder : Recorder
        Notes how each job ends.
    console : Console
    kind : str
        What the jobs are, in the plural: ``backends``.

    Attributes
    ----------
    names : list of str
        All jobs of the run, in order.
    failures : dict of str to ShelfbenchError
        Failed jobs, in order of failure.
    """

    def __init__(self, recorder: Recorder, console: Console, kind: str) -> None:
        self._recorder = recorder
        self._console = console
        self._kind = kind
        self._unsaid: list[str] = []
        self.names: list[str] = []
        self.failures: dict[str, ShelfbenchError] = {}

    def add(self, name: str, files: Sequence[Path] = (), notes: Mapping[str, Any] | None = None) -> bool:
        """Add a job of the run.

        Parameters
        ----------
        name : str
        files : sequence of Path
            The files it leaves behind; it counts as done only while they exist.
        notes : mapping, optional
            Entries of the record known from the start.

        Returns
        -------
        bool
            Whether it is still to be done.
        """
        self.names.append(name)
        if self._recorder.is_done(name, files):
            self._console.log(f"{name}: already done")
            self.attempt([name], partial(self._recorder.check, name))
            return False
        self._recorder.pending(name, notes or {})
        return True

    def prepare(self, name: str, work: Callable[[], T]) -> T | None:
        """Prepare a job before anything is computed; if that fails, `require` says so.

        Parameters
        ----------
        name : str
        work : callable

        Returns
        -------
        T or None
            The result of `work`; None if it failed.
        """
        return self._try([name], work, self._unsaid.append)

    def attempt(self, names: Sequence[str], work: Callable[[], T]) -> T | None:
        """Do some work for some jobs; if it fails, only these jobs fail.

        Parameters
        ----------
        names : sequence of str
        work : callable

        Returns
        -------
        T or None
            The result of `work`; None if it failed.
        """
        return self._try(names, work, self._console.log)

    def _try(self, names: Sequence[str], work: Callable[[], T], say: Callable[[str], None]) -> T | None:
        try:
            return work()
        except Exception as found:  # a plug-in may raise anything; the other jobs go on
            stop_if_asked()  # unless it is what a library made of a signal
            error = explain(found, FOREIGN)
        for name in names:
            said = next((other for other, failure in self.failures.items() if str(failure) == str(error)), "")
            ended = "left out" if isinstance(error, NotInstalled) else "failed"
            say(f"{name}: {ended} (like {said})" if said else f"{name}: {ended} ({error})")
            self._recorder.failed(name, str(error))
            self.failures[name] = error
        return None

    def run(self, name: str, work: Callable[[], Entry]) -> None:
        """Do a job and note it as done, or as failed.

        Parameters
        ----------
        name : str
        work : callable
            Returns the job's entry for the record.
        """
        self.attempt([name], lambda: self._recorder.finished(name, work()))

    def note(self, name: str, work: Callable[[], Entry]) -> None:
        """Add a job that was done elsewhere, and note how it ended.

        Parameters
        ----------
        name : str
        work : callable
            Returns the job's entry for the record, or raises the reason of its failure.
        """
        self.names.append(name)
        self.run(name, work)

    def require(self) -> None:
        """Make sure that there is something left to do or to report, and that no job was given anything wrong.

        A wrong name or setting that shows before anything is computed stops the run: it is corrected in a moment, and
        the results of the other jobs would bind the directory to the wrong settings. A job that needs a package which
        is not installed is left out, and done when the run is started again with it.

        Raises
        ------
        ShelfbenchError
            If every job has failed and none was done before, or `prepare` met wrong input.
        """
        unsaid, self._unsaid = self._unsaid, []
        nothing = len(self.failures) == len(self.names) and not self._recorder.done
        wrong = [error for error in self.failures.values() if isinstance(error, InputError)]
        slip = unsaid and any(not isinstance(error, NotInstalled) for error in wrong)
        error = self.error() if nothing or slip else None
        if error is None or len(unsaid) > 1:  # one alone is all that the error says
            for line in unsaid:
                self._console.log(line)
        if error is not None:
            raise error

    def error(self) -> ShelfbenchError | None:
        """Return all failures as one error of the first failure's class, or None.

        Returns
        -------
        ShelfbenchError or None
            The first failure's own message if all failed for the same reason.
        """
        if not self.failures:
            return None
        (name, first), *_ = self.failures.items()
        others = self._recorder.done
        if not others and len({str(error) for error in self.failures.values()}) == 1:
            return first if len(self.failures) > 1 else type(first)(f"{name}: {first.message}", first.remedy)
        absent = all(isinstance(error, NotInstalled) for error in self.failures.values())
        ended, remedy = "failed", first.remedy
        if absent:
            ended, remedy = "were left out", f"{remedy}, and run the same command again"
        summary = f"{len(self.failures)} of {len(self.names)} {self._kind} {ended} ({name}: {first.message})"
        return type(first)(f"{summary}; the others are in {self._recorder.out}" if others else summary, remedy)

    def reason(self) -> str:
        """Every failure with its reason, for the record; empty if nothing failed."""
        return "; ".join(f"{name}: {error}" for name, error in self.failures.items())


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A run of an experiment.

    Attributes
    ----------
    study : Study
    data : Path or None
        Where to look for a named dataset first.
    out : Path
        The run directory, locked for this run; it may not exist before `begin`.
    workers : int
        Processes or threads for decoding and classical features.
    console : Console
    record : Recorder
        ``run.json``.
    jobs : Jobs
    calibrated : dict of str to FeatureExtractor
        Extractors that have been calibrated on training photos, by what they were before (`runs.calibrating`).
    photo_sizes : dict of View to PhotoSize
        How large the photos are, seen in one way or another (`shelfbench.runs.photo_views`).
    """

    study: Study
    data: Path | None
    out: Path
    workers: int
    console: Console
    record: Recorder
    jobs: Jobs
    calibrated: dict[str, FeatureExtractor] = field(default_factory=dict, repr=False)
    photo_sizes: dict[View, PhotoSize] = field(default_factory=dict, repr=False)
    _said: set[str] = field(default_factory=set, repr=False)
    _embeddings: dict[str, Embeddings] = field(default_factory=dict, repr=False)

    @cached_property
    def digests(self) -> np.ndarray:
        """Content hash of every image of the catalogue, or of its embedding where no backend needs photos."""
        return self._opened[1]

    def embeddings(self, source: str) -> Embeddings:
        """Open embeddings of the catalogue, once.

        Parameters
        ----------
        source : str
            A column or a file.

        Returns
        -------
        Embeddings
        """
        return self._found(source, self.material.catalogue)

    def _found(self, source: str, catalogue: Catalogue) -> Embeddings:
        if source not in self._embeddings:
            self._embeddings[source] = Embeddings(source, catalogue, self.study.dataset, self.console)
        return self._embeddings[source]

    @cached_property
    def material(self) -> Material:
        """The catalogue, split."""
        return self._opened[0]

    @cached_property
    def _opened(self) -> tuple[Material, np.ndarray, NamedDataset | None]:
        study, console = self.study, self.console
        console.detail(f"dataset {study.dataset.name}; caches in {cache_dir()}; run directory {self.out}")
        with console.stage("opening the data"):
            dataset = replace(study.dataset, photos=study.dataset.photos and study.needs_photos)
            catalogue, named = open_dataset(dataset, study.generated, self.data, self.workers, console)
        for note in catalogue.notes:
            console.warn(note)
        if study.needs_photos:
            digests = image_digests(catalogue, console)
        else:
            digests = self._found(study.given[0], catalogue).digests
        with console.stage("splitting"):
            split = make_split(catalogue, study.split, study.seed, digests)
            material = gather(catalogue, split)
        left_out = (
            f"; {number_of(split.excluded_products, 'product')} in "
            f"{number_of(split.excluded_categories, 'category', 'categories')} left out: "
            f"{split.excluded_reason}"
        )
        console.log(
            f"{catalogue.name}: {len(material.frame):,} products, {len(material.image):,} images, "
            f"{material.frame['category'].nunique():,} categories kept{left_out if split.excluded_products else ''}"
        )
        return material, digests, named

    def begin(self) -> None:
        """Note the data in ``run.json`` and ``split.parquet``: from here on, the run directory is written.

        An experiment with data of its own calls ``experiment.record.begin(dataset, split)`` instead.

        Raises
        ------
        InputError
            If the results in the directory are based on other data.
        """
        material, digests, named = self._opened
        self.record.begin(dataset_record(material, named, digests), material.split_record())
        self.record.keep("split.parquet", material.frame)
        if self.record.values["dataset"].get("unreadable_images") is not None:  # of an earlier run, which is resumed
            self._say_left_out()

    def unreadable(self, records: list[dict[str, str]], *, given: bool = False) -> None:
        """Note the images that cannot be read, and say once how much of the data cannot be used.

        Parameters
        ----------
        records : list of dict
            ``record`` (where it is) and ``reason`` of each.
        given : bool
            Whether these are embeddings that are not there; photos that cannot be read are noted beside them.
        """
        known = self.record.values["dataset"].get("unreadable") or []
        others = [entry for entry in known if (entry["reason"] == NO_EMBEDDING) != given]
        self.record.unreadable([*records, *others] if given else [*others, *records])
        self._say_left_out()

    def _say_left_out(self) -> None:
        values = self.record.values
        line = data_line(
            msgspec.convert(values["dataset"], DatasetRecord), msgspec.convert(values["split"], SplitRecord)
        )
        if line and self.is_new(line):
            self.console.warn(line)

    def is_new(self, line: str) -> bool:
        """Tell whether a line has not been said yet; from then on it has."""
        new = line not in self._said
        self._said.add(line)
        return new
