"""The backends and features of this package, named by its entry points."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from shelfbench.plugins.backend import BackboneChoice, Backend, BackendSpec, FeatureParts, FeaturesSpec, as_record
from shelfbench.plugins.heads import joined
from shelfbench_baselines.device import check_engine
from shelfbench_baselines.hog import HogExtractor, HogSettings
from shelfbench_baselines.linear_svm import LinearSVM, SVMSettings


def _features(settings: Mapping[str, Any], backbone: BackboneChoice, workers: int) -> FeatureParts:
    chosen: HogSettings = settings["hog"]
    return FeatureParts(features=HogExtractor(chosen, workers), settings={"hog": as_record(chosen)})


def _hog_svm(settings: Mapping[str, Any], backbone: BackboneChoice, workers: int) -> Backend:
    svm: SVMSettings = settings["svm"]
    check_engine(svm.engine)
    parts = _features(settings, backbone, workers)
    return joined(parts, classifier=partial(LinearSVM, svm), load=LinearSVM.load, settings={"svm": as_record(svm)})


hog = FeaturesSpec(
    summary="histograms of oriented gradients",
    build=_features,
    sections={"hog": HogSettings},
    columns={"Feature": "HOG", "Fine-tuning": "no"},
)
hog_svm = BackendSpec(
    summary="histograms of oriented gradients, linear SVM",
    build=_hog_svm,
    columns={"Feature": "HOG", "Classifier": "SVM", "Fine-tuning": "no"},
    sections={"hog": HogSettings, "svm": SVMSettings},
)
