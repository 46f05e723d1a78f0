"""The backends of this package, named by its entry points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shelfbench.plugins.backend import BackboneChoice, Backend, BackendSpec, as_record
from shelfbench_baselines.device import check_engine
from shelfbench_baselines.hog import HogExtractor, HogSettings
from shelfbench_baselines.linear_svm import LinearSVM, SVMSettings


def _build(settings: Mapping[str, Any], backbone: BackboneChoice, workers: int) -> Backend:
    hog, svm = settings["hog"], settings["svm"]
    check_engine(svm.engine)
    return Backend(
        features=HogExtractor(hog, workers),
        classifier=lambda: LinearSVM(svm),
        load=LinearSVM.load,
        settings={"hog": as_record(hog), "svm": as_record(svm)},
    )


hog_svm = BackendSpec(
    summary="histograms of oriented gradients, linear SVM",
    build=_build,
    columns={"Feature": "HOG", "Classifier": "SVM", "Fine-tuning": "no"},
    sections={"hog": HogSettings, "svm": SVMSettings},
)
