"""The experiment ``imagenet``: Table 1 of X, top-1 and top-5 on ImageNet's validation set, single crop."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.storage import cache_dir, fingerprint
from shelfbench.data.catalogue import Catalogue
from shelfbench.data.feature_store import FeatureStore, image_digests
from shelfbench.data.images import ImageSettings
from shelfbench.data.material import dataset_hash
from shelfbench.data.sources.folder import read_folder
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.plugins.experiment import ExperimentSpec
from shelfbench.plugins.planned import PlannedJob, PlannedJobs
from shelfbench.runs.entries import NetworkEntry
from shelfbench.runs.experiment import Experiment
from shelfbench.study.model import Study
from shelfbench.verdict.metrics import top_k
from shelfbench.verdict.ranking import Best, rank_of
from shelfbench_deep.engines.versions import check_keras
from shelfbench_deep.experiments.top_five import CLASSES, NETWORKS_WITH_TOP, TOP, TopFive

IMAGES = 50_000  # of the validation set
_SYNSET = re.compile(r"n\d{8}")
_NEEDS = (
    "give the folder of ImageNet's validation set (ILSVRC2012, from https://image-net.org after registration), its "
    "50,000 images sorted into 1,000 folders named by synset (n01440764 ...), with --data DIR"
)


@dataclass(frozen=True)
class ImagenetSettings:
    """Section ``imagenet`` of a study.

    Attributes
    ----------
    networks : tuple of str
        Rows of the table. The study's `weights` and `pixels` apply to all: ``weights=none`` rehearses with random
        weights, on any number of classes; without `pixels`, each network has its own size.

    Raises
    ------
    InputError
        If a network is not in Table 1, or named twice.
    """

    networks: tuple[str, ...] = tuple(NETWORKS_WITH_TOP)

    def __post_init__(self) -> None:
        """Validate the settings."""
        for name in self.networks:
            if name not in NETWORKS_WITH_TOP:
                raise InputError(f"imagenet.networks names {name!r}", f"choose from: {', '.join(NETWORKS_WITH_TOP)}")
        if not self.networks or len(set(self.networks)) < len(self.networks):
            raise InputError(f"imagenet.networks is {list(self.networks)}", "name at least one, and each only once")


def find_validation(settings: DatasetSettings, data: Path | None) -> Path:
    """Find the folder of synset folders.

    Parameters
    ----------
    settings : DatasetSettings
        Its `name` is a folder, or ``imagenet``, which is looked for in `data`, or else in ``$SHELFBENCH_DATA/imagenet``
        and the user's cache; each may contain the synset folders itself, or in ``val`` or ``validation``.
    data : Path or None
        ``--data``.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If there is none.
    """
    if settings.name != "imagenet":
        places = [Path(settings.name).expanduser()]
    elif data is not None:
        places = [data]
    else:
        shared = os.environ.get("SHELFBENCH_DATA")
        places = [Path(shared).expanduser() / "imagenet"] if shared else []
        places.append(cache_dir() / "datasets" / "imagenet")
    for place in places:
        for folder in (place / "val", place / "validation", place):
            if folder.is_dir() and any(_SYNSET.fullmatch(inner.name) for inner in folder.iterdir()):
                return folder
    named = settings.name != "imagenet" or data is not None
    raise InputError(
        f"{places[0]} contains no folder named after a synset" if named else "ImageNet's validation set is not here",
        _NEEDS,
    )


def open_validation(folder: Path, rehearsal: bool) -> Catalogue:
    """Open a folder of synset folders; sorted by synset, they are the classes of Keras' networks.

    Parameters
    ----------
    folder : Path
    rehearsal : bool
        Whether fewer than 1,000 classes are enough.

    Returns
    -------
    Catalogue

    Raises
    ------
    InputError
        If a folder is not named after a synset, or there are not 1,000 with images.
    """
    catalogue = read_folder(folder, "imagenet", DatasetSettings(name="imagenet"))
    keys = [category.key for category in catalogue.categories]
    if strangers := [key for key in keys if not _SYNSET.fullmatch(key)]:
        raise InputError(
            f"{folder} contains the folder {strangers[0]!r}, which is not a synset", "leave only folders like n01440764"
        )
    if len(keys) > CLASSES or (len(keys) < CLASSES and not rehearsal):
        raise InputError(
            f"{folder} has images in {len(keys):,} folders, but the networks know 1,000 classes",
            "sort the whole validation set into its 1,000 folders, or rehearse with --set weights=none",
        )
    return catalogue


def run(experiment: Experiment) -> None:
    """Measure every network.

    Parameters
    ----------
    experiment : Experiment

    Raises
    ------
    InputError
        If the data are missing or unsuitable, or no network can be built.
    NotInstalled
        If Keras or its engine is missing.
    """
    check_keras("the experiment imagenet")
    study, jobs, console = experiment.study, experiment.jobs, experiment.console
    weights = study.backbone.weights
    extractors: dict[str, TopFive] = {}
    for name in study.sections["imagenet"].networks:
        if jobs.add(name):
            extractor = jobs.attempt([name], partial(TopFive, name, weights, study.backbone.pixels))
            if extractor is not None:
                extractors[name] = extractor
    jobs.require()
    folder = find_validation(study.dataset, experiment.data)
    if experiment.out.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"the run directory {experiment.out} is inside the data", "choose an --out outside of it")
    catalogue = open_validation(folder, weights == "none")
    if weights == "none":
        console.warn(
            f"a rehearsal on {len(catalogue.categories)} classes with random weights: its numbers mean nothing"
        )
    for note in catalogue.notes:
        console.warn(note)
    digests = image_digests(catalogue, console)
    experiment.record.begin(_dataset(catalogue, digests), _split(catalogue))
    for name, extractor in extractors.items():
        console.log(f"{name}: {len(catalogue.images):,} images at {extractor.crop} pixels")
        jobs.run(name, partial(_measure, extractor, catalogue, digests, experiment))


def _measure(extractor: TopFive, catalogue: Catalogue, digests: np.ndarray, experiment: Experiment) -> NetworkEntry:
    """Evaluate a network."""
    started = time.perf_counter()
    # The central square at `extractor.pixels`; the network takes the middle of it.
    store = FeatureStore(extractor, ImageSettings(fit="crop"), experiment.console, experiment.workers)
    found = store.features(catalogue, np.arange(len(catalogue.images)), digests)
    images = catalogue.images
    experiment.unreadable(
        [{"record": images.where(row), "reason": reason} for row, reason in sorted(found.reasons.items())]
    )
    code = np.where(found.readable[:, None], found.matrix[:, :TOP].astype(np.int32), -1)
    best = Best(code, found.matrix[:, TOP:].astype(np.float64), CLASSES)
    rank = rank_of(catalogue.product_category[catalogue.image_product], best)
    return NetworkEntry(
        network=extractor.base,
        pixels=extractor.crop,
        weights=extractor.weights,
        images=len(rank),
        unreadable=int((~found.readable).sum()),
        top_1=top_k(rank, 1),
        top_5=top_k(rank, TOP),
        seconds=round(time.perf_counter() - started, 3),
        cached=found.cached,
        settings=extractor.describe(),
    )


def _dataset(catalogue: Catalogue, digests: np.ndarray) -> dict[str, Any]:
    return {
        "name": catalogue.name,
        "title": "ImageNet (ILSVRC2012), validation set",
        "source": "https://image-net.org",
        "licence": "terms of access of ImageNet: research and education",
        "hash": dataset_hash(catalogue, digests),
        "products": len(catalogue.product_id),
        "images": len(catalogue.images),
        "categories": len(catalogue.categories),
        "notes": list(catalogue.notes),
    }


def _split(catalogue: Catalogue) -> dict[str, Any]:
    return {"hash": fingerprint("all"), "rule": "every image is evaluated", "test": {"images": len(catalogue.images)}}


def report(directory: Path, console: Console) -> str:
    """Make Table 1 of X from a run directory (see `shelfbench.report.imagenet`)."""
    from shelfbench.report.imagenet import report

    return report(directory, console)


def planned(study: Study, workers: int) -> PlannedJobs:
    """Describe what the study will do, for ``shelfbench plan``: one pass of each network over all images.

    Parameters
    ----------
    study : Study
    workers : int

    Returns
    -------
    PlannedJobs
    """
    pixels = study.backbone.pixels
    jobs = tuple(  # random weights take the same time, and nothing is downloaded for a plan
        PlannedJob(name=name, features=partial(TopFive, name, "none", pixels), trainings=0, ends_with_training=True)
        for name in study.sections["imagenet"].networks
    )
    return PlannedJobs(jobs=jobs, images=IMAGES, classes=CLASSES)


imagenet = ExperimentSpec(
    summary="Table 1 of X: top-1 and top-5 of its four networks on ImageNet's validation set",
    run=run,
    report=report,
    jobs="networks",
    sections={"imagenet": ImagenetSettings},
    plan=planned,
)
