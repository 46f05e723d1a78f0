"""Which layers stay fixed while a network is fine-tuned (C28: the first 40%)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shelfbench.base.errors import InputError
from shelfbench_deep.networks.known import PREFIX

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

# The last layer of each module of a network, by name.
_ENDS = {
    "inception_v3": r"mixed\d+",
    "vgg16": r"block\d_pool",
    "resnet152": r"conv\d_block\d+_out",
}
# What the layers of one module of a network of keras.applications have in common in their names.
_MODULES = {
    "ConvNeXt": r"(.+_stage_\d_block_\d+)_",
    "DenseNet": r"(conv\d_block\d+|pool\d)_",
    "EfficientNet": r"(block\d+[a-z])_",
    "InceptionResNetV2": r"(block\d+_\d+|mixed_\d\w)",
    "MobileNetV2": r"(expanded_conv|block_\d+)_",
    "MobileNetV3": r"(expanded_conv(?:_\d+)?)_",
    "MobileNet": r"conv_pw_(\d+)",
    "NASNet": r"(?:normal|reduction)_concat_(\w+)",
    "ResNet": r"(conv\d_block\d+)_",
    "VGG19": r"(block\d)_",
}


def boundary(network: str, model: keras.Model, share: float, where: str) -> int:
    """Count the layers to freeze.

    Parameters
    ----------
    network : str
        A key of `shelfbench_deep.networks.known.find_network`.
    model : keras.Model
        The network without its top; its layers in order.
    share : float
        Share of the layers; 0 freezes none.
    where : {"module", "literal"}
        At the end of the module that is nearest to the share (Inception V3 ``mixed4``, Xception ``add_4``), or at the
        share of the layers as counted, which cuts through parallel branches.

    Returns
    -------
    int
        ``model.layers[:count]`` are to be frozen.

    Raises
    ------
    InputError
        If the modules of the network are not known.
    """
    layers = model.layers
    wanted = share * len(layers)
    if share == 0 or where == "literal":
        return int(wanted)
    ends = _ends(network, layers)
    if not ends:
        raise InputError(f"the modules of {network} are not known", 'set finetuning.freeze="literal"')
    return min(ends, key=lambda count: (abs(count - wanted), count))


def _ends(network: str, layers: list[keras.Layer]) -> list[int]:
    """Count the layers up to the end of each module."""
    if not network.startswith(PREFIX):
        return [i + 1 for i, layer in enumerate(layers) if _ends_module(network, layer, layers, i)]
    pattern = next(words for family, words in _MODULES.items() if network.removeprefix(PREFIX).startswith(family))
    # a layer without a name of its own may stand between those of its module
    last = {found[1]: i + 1 for i, layer in enumerate(layers) if (found := re.match(pattern, layer.name))}
    return sorted(last.values())


def _ends_module(network: str, layer: keras.Layer, layers: list[keras.Layer], index: int) -> bool:
    if network in _ENDS:
        return re.fullmatch(_ENDS[network], layer.name) is not None
    if network == "xception":  # keras.applications numbers its additions over the whole process
        return type(layer).__name__ == "Add"
    # EfficientNet-Lite0: the last layer of a block comes before the first of the next
    block = re.match(r"(block\d+)_", layer.name)
    following = re.match(r"(block\d+)_", layers[index + 1].name) if index + 1 < len(layers) else None
    return block is not None and (following is None or following.group(1) != block.group(1))


def freeze(model: keras.Model, count: int, batch_norm: bool) -> None:
    """Freeze the first layers and, on request, all batch normalisation.

    In Keras, frozen batch normalisation also runs in inference mode.

    Parameters
    ----------
    model : keras.Model
    count : int
        Of the first layers.
    batch_norm : bool
        Whether to freeze all batch normalisation.
    """
    from shelfbench_deep.engines.keras import keras

    for number, layer in enumerate(model.layers):
        if number < count or (batch_norm and isinstance(layer, keras.layers.BatchNormalization)):
            layer.trainable = False
