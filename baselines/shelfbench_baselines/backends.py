"""The backends, features and heads of this package, named by its entry points."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from shelfbench.plugins.backend import BackboneChoice, FeatureParts, FeaturesSpec, as_record
from shelfbench.plugins.heads import Head, HeadSpec, head_backend
from shelfbench_baselines.device import check_engine
from shelfbench_baselines.hog import HogExtractor, HogSettings
from shelfbench_baselines.linear_svm import LinearSVM, SVMSettings


def _features(settings: Mapping[str, Any], backbone: BackboneChoice, workers: int) -> FeatureParts:
    chosen: HogSettings = settings["hog"]
    return FeatureParts(features=HogExtractor(chosen, workers), settings={"hog": as_record(chosen)})


def _svm(settings: Mapping[str, Any], workers: int) -> Head:
    chosen: SVMSettings = settings["svm"]
    check_engine(chosen.engine)
    return Head(classifier=partial(LinearSVM, chosen), load=LinearSVM.load, settings={"svm": as_record(chosen)})


hog = FeaturesSpec(
    summary="histograms of oriented gradients",
    build=_features,
    sections={"hog": HogSettings},
    columns={"Feature": "HOG", "Fine-tuning": "no"},
)
svm = HeadSpec(
    summary="linear SVM",
    build=_svm,
    sections={"svm": SVMSettings},
    columns={"Classifier": "SVM"},
    exports=True,
)
hog_svm = head_backend(hog, svm)
