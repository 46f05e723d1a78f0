"""How backends are found: by entry points, and by the heads that a study defines.

A package offers a backend through the group ``shelfbench.backends``, features for any head through the group
``shelfbench.features``, and a head for any features through the group ``shelfbench.heads``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from shelfbench.base.errors import InputError, NotInstalled, explain
from shelfbench.plugins.backend import BackboneChoice, BackendSpec, FeaturesSpec, HeadSettings
from shelfbench.plugins.estimators import recipe_of_head
from shelfbench.plugins.heads import HeadSpec, estimator_head, head_backend, saved_head

BACKENDS, FEATURES, HEADS = "shelfbench.backends", "shelfbench.features", "shelfbench.heads"
Spec = TypeVar("Spec", BackendSpec, FeaturesSpec, HeadSpec)


def available(group: str = BACKENDS) -> dict[str, EntryPoint]:
    """List what is installed in a group of entry points.

    Parameters
    ----------
    group : str
        By default, that of the backends.

    Returns
    -------
    dict of str to EntryPoint
        By name, sorted.
    """
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def find(name: str, heads: Mapping[str, HeadSettings] | None = None) -> BackendSpec:
    """Load the spec of a backend.

    Parameters
    ----------
    name : str
        Its name without ``@BACKBONE``.
    heads : mapping of str to HeadSettings, optional
        The heads that the study defines: with ``knn``, ``hog-knn`` is the features ``hog`` and that head. So is
        ``hog-NAME`` with a head that is installed.

    Returns
    -------
    BackendSpec

    Raises
    ------
    InputError
        If no installed package offers it, no head makes it, or the object offered is not a `BackendSpec`.
    """
    points = available()
    if name in points:
        return _loaded(points[name], BackendSpec, "backend", "see shelfbench.plugins.template for one that works")
    offered, installed = available(FEATURES), available(HEADS)
    features, _, head = name.partition("-")
    if heads and head in heads and features in offered:
        made = replace(estimator_head(recipe_of_head(head, heads[head])), columns={"Classifier": head})
        return replace(head_backend(find_features(features), made), head=heads[head])
    if head in installed and features in offered:
        return head_backend(find_features(features), find_head(head))
    joined = [f"{feature}-{one}" for one in (*(heads or ()), *installed) for feature in offered]
    known = ", ".join(dict.fromkeys([*points, *joined])) or "none installed"
    if features in offered and head:
        raise InputError(
            f"unknown backend {name!r}", f"define its head in the study, as [heads.{head}], or choose from: {known}"
        )
    raise InputError(f"unknown backend {name!r}", f"choose from: {known}")


def head_of(name: str) -> str:
    """Return the name of the head that a backend would be made of: ``knn`` of ``bottleneck-knn@xception``.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
        Empty if an installed package offers the backend itself.
    """
    base = name.partition("@")[0]
    return "" if base in available() else base.partition("-")[2]


def find_saved(name: str) -> BackendSpec:
    """Load the spec of a backend that is to load a saved model: of its head, no more is needed than the model.

    So the study's own settings, which name what to import, are never read from a model.

    Parameters
    ----------
    name : str
        Its name without ``@BACKBONE``.

    Returns
    -------
    BackendSpec
        An installed one, or a study's head, which cannot be fitted, on features of an installed package.

    Raises
    ------
    InputError
        See `find`.
    """
    features, _, head = name.partition("-")
    if name not in available() and head and head not in available(HEADS) and features in available(FEATURES):
        return head_backend(find_features(features), saved_head(head))
    return find(name)


def find_features(name: str) -> FeaturesSpec:
    """Load the spec of features.

    Parameters
    ----------
    name : str

    Returns
    -------
    FeaturesSpec

    Raises
    ------
    InputError
        If no installed package offers them, or the object offered is not a `FeaturesSpec`.
    """
    return _found(FEATURES, name, FeaturesSpec, "features", "see shelfbench.plugins.backend.FeaturesSpec")


def find_head(name: str) -> HeadSpec:
    """Load the spec of a head.

    Parameters
    ----------
    name : str

    Returns
    -------
    HeadSpec

    Raises
    ------
    InputError
        If no installed package offers it, or the object offered is not a `HeadSpec`.
    """
    return _found(HEADS, name, HeadSpec, "head", "see shelfbench.plugins.heads.HeadSpec")


def _found(group: str, name: str, kind: type[Spec], what: str, remedy: str) -> Spec:
    offered = available(group)
    if name not in offered:
        raise InputError(f"unknown {what} {name!r}", f"choose from: {', '.join(offered) or 'none installed'}")
    return _loaded(offered[name], kind, what, remedy)


def _loaded(point: EntryPoint, kind: type[Spec], what: str, remedy: str) -> Spec:
    try:
        spec = point.load()
    except ImportError as error:
        if isinstance(said := explain(error), NotInstalled):
            raise said from error
        raise InputError(
            f"{what} {point.name!r} cannot be imported ({error})", "install the package it needs"
        ) from error
    if not isinstance(spec, kind):
        raise InputError(f"{what} {point.name!r} ({point.value}) is not a {kind.__module__}.{kind.__name__}", remedy)
    return spec


def split_name(name: str, study: BackboneChoice) -> tuple[str, BackboneChoice]:
    """Split ``NAME@BACKBONE``.

    Parameters
    ----------
    name : str
    study : BackboneChoice
        The study's own backbone.

    Returns
    -------
    tuple of str and BackboneChoice
        The entry point's name, and the backbone to build it with (the study's own if none is named).

    Raises
    ------
    InputError
        If nothing follows the ``@``.
    """
    base, at, backbone = name.partition("@")
    if not at:
        return base, study
    if not backbone:
        raise InputError(f"backend {name!r} names no backbone after '@'", "write for example bottleneck-svm@xception")
    return base, BackboneChoice(backbone, study.weights, study.pixels)
