"""Heads, which turn features into probabilities of categories, and the backends that they make with any features.

A package offers a head through an entry point of the group ``shelfbench.heads``, whose object is a `HeadSpec`::

    # pyproject.toml
    [project.entry-points."shelfbench.heads"]
    mean = "mypackage:mean"

``hog-mean``, ``bottleneck-mean`` and so on are then backends. ``[heads.NAME]`` of a study makes heads of scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from shelfbench.plugins.backend import BackboneChoice, Backend, BackendSpec, Classifier, FeaturesSpec
from shelfbench.plugins.estimators import Recipe


@dataclass(frozen=True, kw_only=True)
class Head:
    """The part of a `Backend` that turns features into probabilities; the attributes are those of `Backend`.

    Attributes
    ----------
    classifier, load : callable
    settings : dict
    """

    classifier: Callable[[], Classifier]
    load: Callable[[Path], Classifier]
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class HeadSpec:
    """The object of an entry point of the group ``shelfbench.heads``: a classifier for any features.

    Attributes
    ----------
    summary : str
        One line: ``linear SVM``.
    build : callable
        ``build(settings, workers)`` returns the `Head`.
    sections, columns, check
        As in `BackendSpec`; the column is ``Classifier``.
    exports : bool
        Whether `Backend.export_onnx` of the features can write the classifier, too.
    """

    summary: str
    build: Callable[[Mapping[str, Any], int], Head]
    sections: Mapping[str, type] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[], None] | None = None
    exports: bool = False


def head_backend(features: FeaturesSpec, head: HeadSpec) -> BackendSpec:
    """Put a head on features.

    Parameters
    ----------
    features : FeaturesSpec
    head : HeadSpec

    Returns
    -------
    BackendSpec
    """

    def build(settings: Mapping[str, Any], backbone: BackboneChoice, workers: int) -> Backend:
        own = head.build(settings, workers)
        parts = features.build(settings, backbone, workers)
        return Backend(
            features=parts.features,
            classifier=own.classifier,
            load=own.load,
            settings={**parts.settings, **own.settings},
            trainer=parts.trainer,
            save_features=parts.save_features,
            load_features=parts.load_features,
            export_onnx=parts.export_onnx if head.exports else None,
        )

    def check() -> None:
        for needed in (head.check, features.check):
            if needed is not None:
                needed()

    return BackendSpec(
        summary=f"{features.summary}, {head.summary}",
        build=build,
        sections={**head.sections, **features.sections},
        columns={**features.columns, **head.columns},
        uses_backbone=features.uses_backbone,
        check=check,
    )


def estimator_head(recipe: Recipe) -> HeadSpec:
    """Make a head of an estimator of scikit-learn.

    Parameters
    ----------
    recipe : Recipe
        How the estimator is made.

    Returns
    -------
    HeadSpec
    """

    def build(settings: Mapping[str, Any], workers: int) -> Head:
        from shelfbench.plugins.estimator_head import EstimatorHead

        recipe.check()
        return Head(
            classifier=partial(EstimatorHead, recipe, workers),
            load=partial(EstimatorHead.load, recipe=recipe),
            settings={"head": recipe.record},
        )

    return HeadSpec(summary=recipe.title, build=build, columns={"Classifier": recipe.title})


def saved_head(name: str) -> HeadSpec:
    """Make the head of a study that was saved; it can be loaded, and not be fitted.

    Parameters
    ----------
    name : str
        Its name in the study.

    Returns
    -------
    HeadSpec
    """

    def build(settings: Mapping[str, Any], workers: int) -> Head:
        from shelfbench.plugins.estimator_head import EstimatorHead

        return Head(classifier=EstimatorHead, load=EstimatorHead.load)

    return HeadSpec(summary=name, build=build, columns={"Classifier": name})
