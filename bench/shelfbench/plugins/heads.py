"""Backends made of a package's features and a head that a study defines (``[heads.NAME]``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from shelfbench.plugins.backend import BackboneChoice, Backend, BackendSpec, FeatureParts, FeaturesSpec, HeadSettings


def head_backend(features: FeaturesSpec, name: str, head: HeadSettings) -> BackendSpec:
    """Put a head on features.

    Parameters
    ----------
    features : FeaturesSpec
    name : str
        Name of the head in the study.
    head : HeadSettings

    Returns
    -------
    BackendSpec
    """

    def build(settings: Mapping[str, Any], backbone: BackboneChoice, workers: int) -> Backend:
        from shelfbench.plugins.sklearn import EstimatorHead

        parts = features.build(settings, backbone, workers)
        return joined(
            parts,
            classifier=partial(EstimatorHead, head),
            load=EstimatorHead.load,
            settings={"head": asdict(head)},
        )

    return BackendSpec(
        summary=f"{features.summary}, {head.estimator}",
        build=build,
        sections=features.sections,
        columns={**features.columns, "Classifier": name},
        uses_backbone=features.uses_backbone,
        head=head,
    )


def joined(parts: FeatureParts, *, classifier: Any, load: Any, settings: dict[str, Any]) -> Backend:
    """Join features and a classifier.

    Parameters
    ----------
    parts : FeatureParts
    classifier, load : callable
        As in `Backend`.
    settings : dict
        The classifier's, for the record; those of the features come before them.

    Returns
    -------
    Backend
    """
    return Backend(
        features=parts.features,
        classifier=classifier,
        load=load,
        settings={**parts.settings, **settings},
        trainer=parts.trainer,
        save_features=parts.save_features,
        load_features=parts.load_features,
        export_onnx=parts.export_onnx,
    )
