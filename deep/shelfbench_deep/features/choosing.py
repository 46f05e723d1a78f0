"""Which module computes the features of a backbone: the kind of its name says so.

Whoever adds a kind of network writes a module of this folder with a function from backbone and settings to
`FeatureParts`, and adds one line to `kind_of` and one to ``_MAKERS``. If a decision can take the network along,
``_LOADERS`` gets a line too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from shelfbench.base.errors import InputError
from shelfbench.base.storage import load_json
from shelfbench.data.embedding_names import source_of
from shelfbench.data.extractor import FeatureExtractor
from shelfbench.plugins.backend import BackboneChoice, FeatureParts
from shelfbench.plugins.embeddings import embedding_features
from shelfbench_deep.features.bottleneck import BottleneckExtractor
from shelfbench_deep.features.keras_saved import SavedKerasExtractor, keras_file_features
from shelfbench_deep.features.onnx_saved import load_onnx, onnx_features
from shelfbench_deep.features.quantised import QuantisedExtractor, holds_int8
from shelfbench_deep.features.timm_saved import SavedTimm, timm_features
from shelfbench_deep.features.trained import RECORD, TrainedExtractor, save_bottleneck
from shelfbench_deep.networks.timm_network import PREFIX

Maker = Callable[[BackboneChoice, Mapping[str, Any]], FeatureParts]
_MAKERS: dict[str, Maker] = {"timm": timm_features, "onnx": onnx_features, "keras-file": keras_file_features}
# What loads a network that a folder holds, by the kind in its record.
_LOADERS: dict[str, Callable[[Path], FeatureExtractor]] = {
    "timm": SavedTimm,
    "onnx": load_onnx,
    "keras-file": SavedKerasExtractor,
}


def kind_of(name: str) -> str:
    """Tell what kind of network a backbone's name stands for.

    Parameters
    ----------
    name : str
        Of a `shelfbench.plugins.backend.BackboneChoice`.

    Returns
    -------
    {"given", "timm", "onnx", "keras-file", "keras"}
        ``given`` for embeddings that are there already (``features:X``), and ``keras`` for the networks that Keras
        builds, and for every name that stands for nothing else.
    """
    if source_of(name):
        return "given"
    if name.startswith(PREFIX):
        return "timm"
    if name.lower().endswith(".onnx"):
        return "onnx"
    if name.lower().endswith(".keras"):
        return "keras-file"
    return "keras"


def network_features(backbone: BackboneChoice, settings: Mapping[str, Any]) -> FeatureParts:
    """Make the features of a backbone as it is, before any fine-tuning.

    Parameters
    ----------
    backbone : BackboneChoice
    settings : mapping of str to dataclass instance
        Sections of the study, with at least ``bottleneck``.

    Returns
    -------
    FeatureParts
        `load_features` is the same for all kinds, as it may not depend on the backbone.

    Raises
    ------
    InputError
        If there is no such network, or it cannot be used.
    """
    kind = kind_of(backbone.name)
    if kind == "given":
        return embedding_features(backbone.name)
    if make := _MAKERS.get(kind):
        return replace(make(backbone, settings), load_features=load_features)
    return _keras_features(backbone, settings)


def check_trainable(backbone: BackboneChoice) -> None:
    """Make sure that ``finetuned-*`` can train the backbone.

    Parameters
    ----------
    backbone : BackboneChoice

    Raises
    ------
    InputError
        If it is of a kind that only computes features.
    """
    if kind_of(backbone.name) == "given":
        raise InputError(
            f"{backbone.name} are embeddings that are there already, and no network that could be fine-tuned",
            "use bottleneck-* with them",
        )
    if kind_of(backbone.name) != "keras":
        raise InputError(
            f"the network {backbone.name} computes features and cannot be fine-tuned",
            "use bottleneck-* with it, or fine-tune a network that Keras builds, such as keras:ConvNeXtTiny",
        )


def load_features(folder: Path) -> FeatureExtractor:
    """Load the network that a decision or a run took along, of whatever kind it is.

    Parameters
    ----------
    folder : Path
        A stranger may have written it.

    Returns
    -------
    FeatureExtractor

    Raises
    ------
    InputError
        If it holds no readable network.
    """
    if (load := _LOADERS.get(_kept_kind(folder))) is not None:
        return load(folder)
    return QuantisedExtractor(folder) if holds_int8(folder) else TrainedExtractor(folder)


def _kept_kind(folder: Path) -> str:
    """Return the kind in the record of a network that was saved; empty for none."""
    try:
        record = load_json(folder / RECORD)
    except (OSError, ValueError):
        return ""
    return str(record.get("kind", "")) if isinstance(record, dict) else ""


def _keras_features(backbone: BackboneChoice, settings: Mapping[str, Any]) -> FeatureParts:
    extractor = BottleneckExtractor(backbone, settings["bottleneck"])
    return FeatureParts(
        features=extractor,
        settings={"backbone": asdict(backbone)},
        save_features=partial(save_bottleneck, extractor),
        load_features=load_features,
    )
