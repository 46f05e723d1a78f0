"""Backends made of a package's features and a head that a study defines (``[heads.NAME]``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from shelfbench.plugins.backend import BackboneChoice, Backend, BackendSpec, FeatureParts, FeaturesSpec, HeadSettings
from shelfbench.plugins.estimators import Recipe, recipe_of_head


def head_backend(features: FeaturesSpec, name: str, head: HeadSettings) -> BackendSpec:
    """Put a head of a study on features.

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
    recipe = recipe_of_head(name, head)
    return replace(estimator_backend(features, recipe, {"Classifier": name}), head=head)


def estimator_backend(features: FeaturesSpec, recipe: Recipe, columns: Mapping[str, str]) -> BackendSpec:
    """Put an estimator on features.

    Parameters
    ----------
    features : FeaturesSpec
    recipe : Recipe
        How the estimator is made.
    columns : mapping of str to str
        What Table 4 calls it, if not by the names of the features and the estimator.

    Returns
    -------
    BackendSpec
    """

    def build(settings: Mapping[str, Any], backbone: BackboneChoice, workers: int) -> Backend:
        from shelfbench.plugins.estimator_head import EstimatorHead

        recipe.check()
        return joined(
            replace(features.build(settings, backbone, workers), export_onnx=None),
            classifier=partial(EstimatorHead, recipe, workers),
            load=partial(EstimatorHead.load, recipe=recipe),
            settings={"head": recipe.record},
        )

    return BackendSpec(
        summary=f"{features.summary}, {recipe.title}",
        build=build,
        sections=features.sections,
        columns={**features.columns, "Classifier": recipe.title, **columns},
        uses_backbone=features.uses_backbone,
    )


def kept_backend(features: FeaturesSpec, name: str) -> BackendSpec:
    """Put a head that was saved on features; it can be loaded, and not be fitted.

    Parameters
    ----------
    features : FeaturesSpec
    name : str
        Name of the head in the study.

    Returns
    -------
    BackendSpec
    """

    def build(settings: Mapping[str, Any], backbone: BackboneChoice, workers: int) -> Backend:
        from shelfbench.plugins.estimator_head import EstimatorHead

        parts = replace(features.build(settings, backbone, workers), export_onnx=None)
        return joined(parts, classifier=EstimatorHead, load=EstimatorHead.load, settings={})

    return BackendSpec(
        summary=f"{features.summary}, {name}",
        build=build,
        sections=features.sections,
        columns={**features.columns, "Classifier": name},
        uses_backbone=features.uses_backbone,
    )


def joined(parts: FeatureParts, *, classifier: Any, load: Any, settings: dict[str, Any]) -> Backend:
    """Join features and a classifier.

    Parameters
    ----------
    parts : FeatureParts
    classifier : callable
        As in `Backend`.
    load : callable
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
