"""The jobs of an experiment, described before it runs, for ``shelfbench plan``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from shelfbench.data.extractor import FeatureExtractor
from shelfbench.data.material import Material
from shelfbench.plugins.backend import BackboneChoice, Backend, HeadSettings
from shelfbench.plugins.finding import find, split_name


@dataclass(frozen=True, kw_only=True)
class PlannedJob:
    """A job of a study, as far as it is known before it runs.

    Attributes
    ----------
    name : str
    key : str
        Name of the backend's entry point; empty without one.
    backend : callable or None
        Builds the backend that a trial measures.
    features : callable or None
        Builds the extractor that a trial measures, if the job has no backend but uses features.
    resized : callable or None
        ``resized(pixels)`` builds what `backend` or `features` builds, for images of another size; None if it is fixed.
    trainings : int
        How often its network, or else its classifier, is trained: once per seed.
    epochs : int
        Of each training, at most; 0 where only its trainer can say, or there are none.
    ends_with_training : bool
        Whether nothing is scored: a network is then trained and no features are computed with it.
    cut : callable or None
        Returns the part of the data that it uses; None for all.
    seconds : float or None
        Minimum duration, if the settings fix it and nothing needs to be tried.
    unknown : str
        What no trial can measure; empty if a trial measures everything.
    """

    name: str
    key: str = ""
    backend: Callable[[], Backend] | None = None
    features: Callable[[], FeatureExtractor] | None = None
    resized: Callable[[int], Any] | None = None
    trainings: int = 1
    epochs: int = 0
    ends_with_training: bool = False
    cut: Callable[[Material], Material] | None = None
    seconds: float | None = None
    unknown: str = ""

    @classmethod
    def of_backend(
        cls,
        backend: str,
        sections: Mapping[str, Any],
        backbone: BackboneChoice,
        workers: int,
        heads: Mapping[str, HeadSettings] | None = None,
        **more: Any,
    ) -> PlannedJob:
        """Plan a job of a backend.

        Parameters
        ----------
        backend : str
            Its name, which is also the job's unless `more` names another.
        sections : mapping of str to dataclass instance
            The settings that it is built from.
        backbone : BackboneChoice
            The study's own.
        workers : int
        heads : mapping of str to HeadSettings, optional
            Those that the study defines.
        **more : object
            Further fields of the job.

        Returns
        -------
        PlannedJob
        """
        base, own = split_name(backend, backbone)
        spec = find(base, heads)

        def resized(pixels: int) -> Backend:
            return spec.build(sections, replace(own, pixels=pixels), workers)

        return cls(
            key=base,
            backend=partial(spec.build, sections, own, workers),
            resized=resized if spec.uses_backbone and own.pixels is None else None,
            **{"name": backend, **more},
        )


@dataclass(frozen=True, kw_only=True)
class PlannedJobs:
    """The jobs of a study.

    Attributes
    ----------
    jobs : tuple of PlannedJob
    images : int
        Images of the data, if the experiment opens data of its own; 0 for those of the study's dataset.
    classes : int
        Categories of such data.
    needs_data : bool
        Whether there are photos at all.
    notes : tuple of str
        What the plan cannot say, for the reader.
    """

    jobs: tuple[PlannedJob, ...]
    images: int = 0
    classes: int = 0
    needs_data: bool = True
    notes: tuple[str, ...] = ()
