"""What the architecture in a file of Keras may consist of: layers and operations that only compute.

Keras finds classes and functions by the names that a file gives, among them some that run code or read files. So the
architecture is gone through before Keras sees it, and only what is listed here is passed on. What an image network
does not need to compute (initial values, regularisers, constraints, how it was compiled) is left out.
"""

from __future__ import annotations

import math
from typing import Any

_LAYERS = """
Activation ActivityRegularization Add AlphaDropout Average AveragePooling2D BatchNormalization CenterCrop Concatenate
Conv1D Conv2D Conv2DTranspose Cropping2D Dense DepthwiseConv2D Dot Dropout EinsumDense ELU Embedding Flatten
GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D GlobalMaxPooling1D GlobalMaxPooling2D
GroupNormalization Identity InputLayer LayerNormalization LeakyReLU Maximum MaxPooling2D Minimum MultiHeadAttention
Multiply Normalization Permute PReLU RandomBrightness RandomContrast RandomFlip RandomRotation RandomTranslation
RandomZoom ReLU Rescaling Reshape Resizing RMSNormalization SeparableConv2D Softmax SpatialDropout2D Subtract
UnitNormalization UpSampling2D ZeroPadding2D
"""
_OPERATIONS = {
    "keras.src.ops.numpy": "Absolute Add Concatenate Divide Exp ExpandDims GetItem Matmul Maximum Mean Minimum "
    "Multiply Negative Reshape Sqrt Square Squeeze Stack Subtract Sum Transpose TrueDivide",
    "keras.src.ops.nn": "Gelu HardSigmoid HardSilu LeakyRelu Relu Relu6 Sigmoid Silu Softmax",
    "keras.src.ops.core": "Cast",
    "keras.src.applications.convnext": "LayerScale StochasticDepth",
    "keras.src.applications.inception_resnet_v2": "CustomScaleLayer",
    "keras.src.models.functional": "Functional",
    "keras.models": "Functional Sequential",
    "keras": "Functional Sequential",
    "keras.layers": _LAYERS,
}
ALLOWED = {(module, name) for module, names in _OPERATIONS.items() for name in names.split()}
# Values that Keras writes as objects.
_VALUES = ("__keras_tensor__", "__tensor__", "__slice__", "__ellipsis__")
_ZEROS: dict[str, Any] = {"module": "keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": None}
_FLOAT32 = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}
_POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")
_OBJECT = {"class_name", "module", "registered_name", "spec_name"}
# Keys of a layer that are not passed on: how it was trained and built, and which objects are the same.
_DROPPED = ("compile_config", "build_config", "shared_object_id")
_DEEPEST = 60


def allowed_architecture(config: Any) -> dict[str, Any]:
    """Check an architecture, and return what of it Keras is to build.

    Parameters
    ----------
    config : object
        Read from the JSON of a file that anyone may have written.

    Returns
    -------
    dict
        For ``keras.saving.deserialize_keras_object``; weights start at 0, and all is of float32.

    Raises
    ------
    ValueError
        If it contains anything that is not listed here; the message names it.
    """
    if not isinstance(config, dict) or config.get("class_name") not in ("Functional", "Sequential"):
        kind = str(config.get("class_name"))[:60] if isinstance(config, dict) else "no object"
        raise ValueError(f"it is a {kind}, and only functional and sequential models say how they compute")
    checked = _value(config, 0)
    assert isinstance(checked, dict)
    return checked


def _value(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    if isinstance(value, dict):
        return _object(value, depth) if _OBJECT & set(value) else _mapping(value, depth)
    if isinstance(value, list):
        return [_value(item, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("it contains a number that is not finite")
    if isinstance(value, int) and abs(value) >= 1 << 53:
        raise ValueError("it contains a number that is too large")
    return value


def _mapping(values: dict[str, Any], depth: int) -> dict[str, Any]:
    """Check the settings of a layer; those that only matter in training are replaced."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in _DROPPED:
            continue
        if key.endswith(("_regularizer", "_constraint")):
            found[key] = None
        elif key.endswith("_initializer"):
            found[key] = _ZEROS
        else:
            found[key] = _value(value, depth + 1)
    return found


def _object(values: dict[str, Any], depth: int) -> dict[str, Any]:
    """Check an object by its module and class; its name in Keras' registry may be no other."""
    module, name, registered = (values.get(key) for key in ("module", "class_name", "registered_name"))
    if name in _VALUES and module in (None, "builtins") and registered is None and "spec_name" not in values:
        return {key: _value(value, depth + 1) for key, value in values.items() if key in ("class_name", "config")}
    if (module, name) == ("keras", "DTypePolicy"):
        settings = values.get("config")
        policy = settings.get("name") if isinstance(settings, dict) else None
        if policy not in _POLICIES:
            raise ValueError(f"it computes in {str(policy)[:40]!r}")
        return _FLOAT32
    known = isinstance(module, str) and isinstance(name, str) and (module, name) in ALLOWED
    if not known or registered not in (None, name) or "spec_name" in values:
        place = "" if module in (None, "keras.layers") else f" of {str(module)[:60]}"
        raise ValueError(f"it contains {str(name)[:60]!r}{place}, which may run code or is not known to compute alone")
    if not isinstance(values.get("config"), dict):
        raise ValueError(f"{name} has no settings")
    return _mapping(values, depth)
