"""Features before any run: those that a study's backends will look for, all of them or one part of several.

A part is computed without any other process knowing of it, so that the tasks of a job array (Slurm, a cloud's batch)
can do one each; a run finds what they have written in the cache that they share.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.grid import number_of
from shelfbench.data.datasets import check_dataset
from shelfbench.data.feature_store import FeatureStore
from shelfbench.data.near_duplicates import fingerprint_store
from shelfbench.data.shards import Part, compute_shard, current_spread, plan_shards, set_aside
from shelfbench.runs.building import build_backend, suited
from shelfbench.runs.experiment import Experiment, Jobs
from shelfbench.runs.recorder import Recorder
from shelfbench.study.model import Study


@dataclass(frozen=True, kw_only=True)
class Precomputed:
    """What was done for one kind of features.

    Attributes
    ----------
    name : str
        Of the features: ``hog``, ``efficientnet_lite0``.
    backends : tuple of str
        That use them; ``near-duplicates`` for the fingerprints by which a run seeks these.
    images : int
        Images of this part, equal ones counted once.
    computed : int
        Those of them that were not there yet.
    folder : Path
        Where all of them are.
    """

    name: str
    backends: tuple[str, ...]
    images: int
    computed: int
    folder: Path

    def __str__(self) -> str:
        """Say it in one line."""
        there, images = self.images - self.computed, number_of(self.images, "image")
        return f"{self.name} (for {', '.join(self.backends)}): {images}, {self.computed:,} computed now" + (
            f", {there:,} there before" if there else ""
        )


def precompute(
    study: Study, *, data: Path | None, workers: int, console: Console, part: Part | None = None
) -> list[Precomputed]:
    """Compute the features of a study's backends and leave them in the cache.

    Parameters
    ----------
    study : Study
        A comparison.
    data : Path or None
        Where to look for a named dataset first.
    workers : int
        Threads that decode, and processes for HOG.
    console : Console
    part : Part, optional
        Only this part of the work.

    Returns
    -------
    list of Precomputed
        One entry for each kind of features.

    Raises
    ------
    InputError
        If the study or the data are wrong, or no backend's features can be computed before a run.
    """
    if study.experiment:
        raise InputError(
            f"the study {study.name} runs the experiment {study.experiment}",
            "name a comparison, such as fashion: others compute what they need themselves",
        )
    check_dataset(study.dataset.name, data)
    place = Path()  # nothing is written there
    record = Recorder(place, {"dataset": {}, "split": {}, "backends": {}})
    jobs = Jobs(record, console, "backends")
    experiment = Experiment(
        study=study, data=data, out=place, workers=workers, console=console, record=record, jobs=jobs
    )
    stores = _stores(experiment)
    if not stores:
        raise InputError(
            f"no features of the study {study.name} can be computed before its run", "start it with: shelfbench run"
        )
    if study.report.seeks_near_duplicates(len(experiment.material.image)):
        stores.append((fingerprint_store(workers, console), ["near-duplicates"]))
    return [_compute(store, tuple(names), experiment, part) for store, names in stores]


def _stores(experiment: Experiment) -> list[tuple[FeatureStore, list[str]]]:
    """Build the backends, and tell which of them share which features."""
    study, console, jobs = experiment.study, experiment.console, experiment.jobs
    names = [name for name in study.backends if jobs.add(name)]
    built = [jobs.prepare(name, partial(build_backend, name, study.sections, experiment)) for name in names]
    jobs.require()
    _ = experiment.material
    stores: dict[Path, tuple[FeatureStore, list[str]]] = {}
    for backend in built:
        if backend is None:
            continue
        if backend.backend.trainer is not None:
            console.log(f"{backend.name}: its network is trained by a run, which then computes its features")
            continue
        if (found := jobs.prepare(backend.name, partial(suited, backend, study.sections, experiment))) is None:
            continue
        if isinstance(found.store, FeatureStore):
            stores.setdefault(found.store.folder, (found.store, []))[1].append(found.name)
    jobs.require()
    return list(stores.values())


def _compute(store: FeatureStore, names: tuple[str, ...], experiment: Experiment, part: Part | None) -> Precomputed:
    material, console = experiment.material, experiment.console
    photos, name = material.catalogue.images, store.extractor.name
    shards, images = plan_shards(store, material.image, experiment.digests, part)
    computed = sum(len(shard.positions) for shard in shards)
    if (spread := current_spread()) is not None and part is None:
        spread.compute(store, photos, material.image, experiment.digests)
        shards, _ = plan_shards(store, material.image, experiment.digests, part)  # what cannot be sent
    with console.progress(sum(len(shard.positions) for shard in shards), f"features of {name}") as bar:
        for shard in shards:
            compute_shard(store, photos, shard, workers=experiment.workers, update=bar.update)
            for line in set_aside(store, photos, shard):
                console.warn(line)
    return Precomputed(name=name, backends=names, images=images, computed=computed, folder=store.folder)
