"""The entry points of the backends on bottlenecks (C, Table 4, without fine-tuning)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from baselines.linear_svm import LinearSVM, SVMSettings
from bench.backend import BackboneChoice, Backend, BackendSpec
from deep.bottleneck import BottleneckExtractor
from deep.two_layer import TwoLayer, TwoLayerSettings


def _svm(settings: Mapping[str, Any], backbone: BackboneChoice, workers: int) -> Backend:
    chosen: SVMSettings = settings["svm"]
    return Backend(
        BottleneckExtractor(backbone),
        partial(LinearSVM, chosen),
        LinearSVM.load,
        {"backbone": asdict(backbone), "svm": asdict(chosen)},
    )


def _two_layer(units: int, settings: Mapping[str, Any], backbone: BackboneChoice, workers: int) -> Backend:
    chosen: TwoLayerSettings = settings["two_layer"]
    return Backend(
        BottleneckExtractor(backbone),
        partial(TwoLayer, units, chosen),
        TwoLayer.load,
        {"backbone": asdict(backbone), "units": units, "two_layer": asdict(chosen)},
    )


def _columns(classifier: str) -> dict[str, str]:
    return {"Feature": "Bottlenecks", "Classifier": classifier, "Fine-tuning": "no"}


def _two_layer_spec(units: int) -> BackendSpec:
    return BackendSpec(
        summary=f"bottlenecks of the backbone and a 2NN of {units} units in two equal hidden layers",
        build=partial(_two_layer, units),
        sections={"two_layer": TwoLayerSettings},
        uses_backbone=True,
        columns=_columns(f"2NN - {units}"),
    )


bottleneck_svm = BackendSpec(
    summary="bottlenecks of the backbone and a linear SVM, one category against the rest",
    build=_svm,
    sections={"svm": SVMSettings},
    uses_backbone=True,
    columns=_columns("SVM"),
)
bottleneck_2nn_512 = _two_layer_spec(512)
bottleneck_2nn_2048 = _two_layer_spec(2048)
bottleneck_2nn_4096 = _two_layer_spec(4096)
