"""Backends of a run that share features or a trained network, and whether their networks fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from shelfbench.base.storage import fingerprint
from shelfbench.data.material import Material
from shelfbench.runs.building import BuiltBackend, suited, training_images
from shelfbench.runs.experiment import Experiment


def grouped(built: Sequence[BuiltBackend]) -> list[list[BuiltBackend]]:
    """Put backends together that share features, and the training of the network below them, if any.

    Parameters
    ----------
    built : sequence of BuiltBackend

    Returns
    -------
    list of list of BuiltBackend
        In the order of the first of each.
    """
    groups: dict[str, list[BuiltBackend]] = {}
    for backend in built:
        trainer = backend.backend.trainer
        key = str(backend.store.folder) if trainer is None else fingerprint(trainer.describe())
        groups.setdefault(key, []).append(backend)
    return list(groups.values())


def begun(built: Sequence[BuiltBackend], experiment: Experiment) -> list[BuiltBackend]:
    """Begin the run, with backends that suit the photos and whose networks fit into memory.

    What would not fit is refused before anything is written, so that the directory is not bound to settings that have
    to be changed. Only where the study leaves the size of the images to the photos, it shows later.

    Parameters
    ----------
    built : sequence of BuiltBackend
    experiment : Experiment

    Returns
    -------
    list of BuiltBackend
        Without those that cannot be suited to the photos.

    Raises
    ------
    ShelfbenchError
        If the data or a setting are wrong, or a network would not fit.
    """
    jobs, sections, material = experiment.jobs, experiment.study.sections, experiment.material
    _check([backend for backend in built if not backend.size_is_open], material, experiment)
    jobs.require()
    experiment.begin()
    found = [jobs.prepare(backend.name, partial(suited, backend, sections, experiment)) for backend in built]
    suitable = [backend for backend in found if backend is not None]
    jobs.require()
    late = {backend.name for backend in built if backend.size_is_open}
    _check([backend for backend in suitable if backend.name in late], material, experiment)
    jobs.require()
    return suitable


def _check(built: Sequence[BuiltBackend], material: Material, experiment: Experiment) -> None:
    for first, *_ in grouped([backend for backend in built if backend.backend.trainer is not None]):
        experiment.jobs.prepare(first.name, partial(check_memory, first, material, experiment.study.seed, experiment))


def check_memory(built: BuiltBackend, material: Material, seed: int, experiment: Experiment) -> None:
    """Refuse a network that would not fit into memory while it is trained, if its trainer can tell.

    Parameters
    ----------
    built : BuiltBackend
    material : Material
        What it is trained on.
    seed : int
    experiment : Experiment

    Raises
    ------
    InputError
        If it would not fit; the message says what does.
    """
    if (check := getattr(built.backend.trainer, "check_memory", None)) is not None:
        data = training_images(material, experiment.digests, experiment.study.images.fit, experiment.workers)
        check(data, seed=seed)
