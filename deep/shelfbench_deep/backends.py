"""The backends on networks (C, Table 4), their features and heads, named by the entry points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from shelfbench.plugins.backend import BackboneChoice, Backend, BackendSpec, FeatureParts, FeaturesSpec, as_record
from shelfbench.plugins.heads import Head, HeadSpec, head_backend
from shelfbench_baselines.backends import svm
from shelfbench_deep.engines.versions import check_keras
from shelfbench_deep.features.bottleneck import BottleneckExtractor
from shelfbench_deep.features.choosing import check_trainable, kind_of, load_features, network_features
from shelfbench_deep.features.settings import BottleneckSettings
from shelfbench_deep.heads.own_head import OwnHead
from shelfbench_deep.heads.two_layer import TwoLayer
from shelfbench_deep.heads.two_layer_settings import TwoLayerSettings
from shelfbench_deep.networks.inception import InceptionSettings
from shelfbench_deep.networks.onnx_settings import OnnxSettings
from shelfbench_deep.networks.xception import XceptionSettings
from shelfbench_deep.onnx_export import export_onnx
from shelfbench_deep.training.finetuning import finetuning_trainer
from shelfbench_deep.training.full import full_trainer
from shelfbench_deep.training.settings import FinetuningSettings, FullSettings, TrainingSettings


def _features(finetuned: bool, settings: Mapping[str, Any], backbone: BackboneChoice, workers: int) -> FeatureParts:
    """Make the bottlenecks of the backbone, fine-tuned or not."""
    if finetuned:
        _check_training()
        check_trainable(backbone)
    parts = network_features(backbone, settings)
    if finetuned:
        trainer = finetuning_trainer(backbone, settings["finetuning"], settings["training"], settings["bottleneck"])
        parts = replace(parts, trainer=trainer, save_features=None)
    # a kind of network may export itself; export_onnx refuses those that are not Keras'
    none = parts.export_onnx is None and kind_of(backbone.name) != "given"
    return replace(parts, export_onnx=export_onnx) if none else parts


def _two_layer(units: int, settings: Mapping[str, Any], workers: int) -> Head:
    _check_two_layer()
    chosen: TwoLayerSettings = settings["two_layer"]
    return Head(
        classifier=partial(TwoLayer, units, chosen),
        load=TwoLayer.load,
        settings={"units": units, "two_layer": as_record(chosen)},
    )


def _full(network: str, settings: Mapping[str, Any], backbone: BackboneChoice, workers: int) -> Backend:
    _check_training()
    chosen: FullSettings = settings["full"]
    training: TrainingSettings = settings["training"]
    pixels = chosen.pixels_of(network)
    own = settings["xception" if network == "xception" else "inception"]
    return Backend(
        features=BottleneckExtractor(BackboneChoice(network, chosen.start, pixels), settings["bottleneck"]),
        classifier=_no_head,
        load=OwnHead.load,
        settings={"network": network, "pixels": pixels, "full": asdict(chosen), "training": as_record(training)},
        trainer=full_trainer(network, chosen, training, own, settings["bottleneck"]),
        load_features=load_features,
        export_onnx=export_onnx,
    )


def _no_head() -> OwnHead:
    raise RuntimeError("the head of a network trained end to end comes from its training")


def _features_spec(finetuned: bool) -> FeaturesSpec:
    training = {"finetuning": FinetuningSettings, "training": TrainingSettings}
    return FeaturesSpec(
        summary=f"bottlenecks of the backbone{', fine-tuned on a share of the products' * finetuned}",
        build=partial(_features, finetuned),
        sections={"bottleneck": BottleneckSettings, "onnx": OnnxSettings, **(training if finetuned else {})},
        uses_backbone=True,
        columns={"Feature": "Bottlenecks", "Fine-tuning": "yes" if finetuned else "no"},
        check=_check_training if finetuned else None,
    )


def _two_layer_spec(units: int) -> HeadSpec:
    return HeadSpec(
        summary=f"2NN of {units} units in two equal hidden layers",
        build=partial(_two_layer, units),
        sections={"two_layer": TwoLayerSettings},
        columns={"Classifier": f"2NN-{units}"},
        check=_check_two_layer,
        exports=True,
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
        check=_check_training,
    )


_check_two_layer = partial(check_keras, "a 2NN")
_check_training = partial(check_keras, "training a network")
bottleneck, finetuned = _features_spec(False), _features_spec(True)
two_layer_512, two_layer_2048, two_layer_4096 = map(_two_layer_spec, (512, 2048, 4096))
bottleneck_svm = head_backend(bottleneck, svm)
bottleneck_2nn_512 = head_backend(bottleneck, two_layer_512)
bottleneck_2nn_2048 = head_backend(bottleneck, two_layer_2048)
bottleneck_2nn_4096 = head_backend(bottleneck, two_layer_4096)
finetuned_svm = head_backend(finetuned, svm)
finetuned_2nn_512 = head_backend(finetuned, two_layer_512)
finetuned_2nn_2048 = head_backend(finetuned, two_layer_2048)
finetuned_2nn_4096 = head_backend(finetuned, two_layer_4096)
full_inception_v3 = _full_spec("inception_v3", "Inception V3")
full_xception = _full_spec("xception", "Xception")
