"""The entry points of the backends on networks (C, Table 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from shelfbench.plugins.backend import BackboneChoice, Backend, BackendSpec
from shelfbench_baselines.device import check_engine
from shelfbench_baselines.linear_svm import LinearSVM, SVMSettings

from shelfbench_deep.features.bottleneck import BottleneckExtractor
from shelfbench_deep.features.settings import BottleneckSettings
from shelfbench_deep.heads.two_layer import TwoLayer, TwoLayerSettings
from shelfbench_deep.networks.inception import InceptionSettings
from shelfbench_deep.networks.xception import XceptionSettings
from shelfbench_deep.onnx_export import export_onnx
from shelfbench_deep.training.settings import FinetuningSettings, FullSettings, TrainingSettings
from shelfbench_deep.training.tuned import OwnHead, TunedExtractor, save_bottleneck
from shelfbench_deep.training.tuning import NetworkTuner, finetuner, full_tuner

_TUNING: dict[str, type] = {"finetuning": FinetuningSettings, "training": TrainingSettings}


def _tuner(tuned: bool, settings: Mapping[str, Any], backbone: BackboneChoice) -> NetworkTuner | None:
    return finetuner(backbone, settings["finetuning"], settings["training"], settings["bottleneck"]) if tuned else None


def _svm(tuned: bool, settings: Mapping[str, Any], backbone: BackboneChoice, workers: int) -> Backend:
    chosen: SVMSettings = settings["svm"]
    check_engine(chosen.engine)
    extractor = BottleneckExtractor(backbone, settings["bottleneck"])
    return Backend(
        extractor,
        partial(LinearSVM, chosen),
        LinearSVM.load,
        {"backbone": asdict(backbone), "svm": asdict(chosen)},
        _tuner(tuned, settings, backbone),
        None if tuned else partial(save_bottleneck, extractor),
        TunedExtractor,
        export_onnx,
    )


def _two_layer(units: int, tuned: bool, settings: Mapping[str, Any], backbone: BackboneChoice, workers: int) -> Backend:
    chosen: TwoLayerSettings = settings["two_layer"]
    extractor = BottleneckExtractor(backbone, settings["bottleneck"])
    return Backend(
        extractor,
        partial(TwoLayer, units, chosen),
        TwoLayer.load,
        {"backbone": asdict(backbone), "units": units, "two_layer": asdict(chosen)},
        _tuner(tuned, settings, backbone),
        None if tuned else partial(save_bottleneck, extractor),
        TunedExtractor,
        export_onnx,
    )


def _full(network: str, settings: Mapping[str, Any], backbone: BackboneChoice, workers: int) -> Backend:
    chosen: FullSettings = settings["full"]
    pixels = chosen.xception_pixels if network == "xception" else chosen.inception_v3_pixels
    tuner = full_tuner(
        network, chosen, settings["training"], settings["xception"], settings["inception"], settings["bottleneck"]
    )
    return Backend(
        BottleneckExtractor(BackboneChoice(network, chosen.start, pixels), settings["bottleneck"]),
        _no_head,
        OwnHead.load,
        {"network": network, "pixels": pixels, "full": asdict(chosen), "training": asdict(settings["training"])},
        tuner,
        None,
        TunedExtractor,
        export_onnx,
    )


def _no_head() -> OwnHead:
    raise RuntimeError("the head of a network trained end to end comes from its training")


def _columns(classifier: str, tuned: bool) -> dict[str, str]:
    return {"Feature": "Bottlenecks", "Classifier": classifier, "Fine-tuning": "yes" if tuned else "no"}


def _svm_spec(tuned: bool) -> BackendSpec:
    return BackendSpec(
        summary=f"bottlenecks of the backbone{_AFTER * tuned} and a linear SVM, one category against the rest",
        build=partial(_svm, tuned),
        sections={"svm": SVMSettings, "bottleneck": BottleneckSettings, **(_TUNING if tuned else {})},
        uses_backbone=True,
        columns=_columns("SVM", tuned),
    )


def _two_layer_spec(units: int, tuned: bool) -> BackendSpec:
    return BackendSpec(
        summary=f"bottlenecks of the backbone{_AFTER * tuned} and a 2NN of {units} units in two equal hidden layers",
        build=partial(_two_layer, units, tuned),
        sections={"two_layer": TwoLayerSettings, "bottleneck": BottleneckSettings, **(_TUNING if tuned else {})},
        uses_backbone=True,
        columns=_columns(f"2NN-{units}", tuned),
    )


def _full_spec(network: str, title: str) -> BackendSpec:
    return BackendSpec(
        summary=f"{title}, trained end to end on all training images",
        build=partial(_full, network),
        sections={
            "full": FullSettings,
            "training": TrainingSettings,
            "xception": XceptionSettings,
            "inception": InceptionSettings,
            "bottleneck": BottleneckSettings,
        },
        columns={"Feature": title, "Classifier": "its own", "Fine-tuning": "full tuning"},
    )


_AFTER = ", fine-tuned on a share of the products,"
bottleneck_svm = _svm_spec(False)
bottleneck_2nn_512 = _two_layer_spec(512, False)
bottleneck_2nn_2048 = _two_layer_spec(2048, False)
bottleneck_2nn_4096 = _two_layer_spec(4096, False)
finetuned_svm = _svm_spec(True)
finetuned_2nn_512 = _two_layer_spec(512, True)
finetuned_2nn_2048 = _two_layer_spec(2048, True)
finetuned_2nn_4096 = _two_layer_spec(4096, True)
full_inception_v3 = _full_spec("inception_v3", "Inception V3")
full_xception = _full_spec("xception", "Xception")
