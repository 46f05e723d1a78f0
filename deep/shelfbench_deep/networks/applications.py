"""The networks of ``keras.applications``, apart from those that the papers compare.

Keras has no table of them: their sizes, and the files and digests of their weights, stand in its functions. A test
holds this table to them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from shelfbench_deep.networks.network import (
    PREPROCESSINGS,
    Network,
    caffe,
    efficientnet,
    inside,
    standardised,
    symmetric,
)

_CLASSIC = "{}_weights_tf_dim_ordering_tf_kernels_notop.h5"
_EFFICIENTNETS = "https://storage.googleapis.com/keras-applications"
_NASNETS = "https://storage.googleapis.com/tensorflow/keras-applications/nasnet"


def _network(
    application: str, sizes: tuple[int, int, int], preprocess: Callable[[np.ndarray], np.ndarray], **files: Any
) -> tuple[str, Network]:
    """Make an entry of the table from the length of its features, the side of its images, and its parameters."""
    dimensions, pixels, parameters = sizes
    network = Network(
        application=application,
        dimensions=dimensions,
        pixels=pixels,
        least=75 if application == "InceptionResNetV2" else 32,
        batch=32 if pixels <= 300 else 16 if pixels <= 400 else 8,
        preprocess=preprocess,
        preprocessing=PREPROCESSINGS[preprocess],
        parameters=parameters,
        **files,
    )
    return application, network


def _convnext(size: str, dimensions: int, parameters: int, digest: str) -> tuple[str, Network]:
    file = f"convnext_{size.lower()}_notop.h5"
    sizes = (dimensions, 224, parameters)
    return _network(f"ConvNeXt{size}", sizes, inside, file=file, folder="convnext", digest=digest)


def _efficientnet(size: str, sizes: tuple[int, int, int], digest: str) -> tuple[str, Network]:
    file = f"efficientnet{size.lower()}_notop.h5"
    address = f"{_EFFICIENTNETS}/{file}"
    name = f"EfficientNet{size}"
    return _network(name, sizes, efficientnet, file=file, address=address, digest=digest, only_published=True)


def _efficientnet_v2(size: str, sizes: tuple[int, int, int], digest: str) -> tuple[str, Network]:
    file = f"efficientnetv2-{size.lower()}_notop.h5"
    return _network(f"EfficientNetV2{size}", sizes, inside, file=file, folder="efficientnet_v2", digest=digest)


APPLICATIONS = dict(
    [
        _convnext("Tiny", 768, 27_820_128, "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1"),
        _convnext("Small", 768, 49_454_688, "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab"),
        _convnext("Base", 1024, 87_566_464, "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45"),
        _convnext("Large", 1536, 196_230_336, "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd"),
        _convnext("XLarge", 2048, 348_147_968, "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05"),
        *(
            _network(
                name,
                sizes,
                standardised,
                file=_CLASSIC.format(name.lower()),
                folder="densenet",
                digest=digest,
            )
            for name, sizes, digest in (
                ("DenseNet121", (1024, 224, 7_037_504), "30ee3e1110167f948a6b9946edeeb738"),
                ("DenseNet169", (1664, 224, 12_642_880), "b8c4d4c20dd625c148057b9ff1c1176b"),
                ("DenseNet201", (1920, 224, 18_321_984), "c13680b51ded0fb44dff2d8f86ac8bb1"),
            )
        ),
        _efficientnet("B0", (1280, 224, 4_049_571), "50bc09e76180e00e4465e1a485ddc09d"),
        _efficientnet("B1", (1280, 240, 6_575_239), "74c4e6b3e1f6a1eea24c589628592432"),
        _efficientnet("B2", (1408, 260, 7_768_569), "111f8e2ac8aa800a7a99e3239f7bfb39"),
        _efficientnet("B3", (1536, 300, 10_783_535), "af6d107764bb5b1abb91932881670226"),
        _efficientnet("B4", (1792, 380, 17_673_823), "ebc24e6d6c33eaebbd558eafbeedf1ba"),
        _efficientnet("B5", (2048, 456, 28_513_527), "38879255a25d3c92d5e44e04ae6cec6f"),
        _efficientnet("B6", (2304, 528, 40_960_143), "9ecce42647a20130c1f39a5d4cb75743"),
        _efficientnet("B7", (2560, 600, 64_097_687), "cbcfe4450ddf6f3ad90b1b398090fe4a"),
        _efficientnet_v2("B0", (1280, 224, 5_919_312), "893217f2bb855e2983157299931e43ff"),
        _efficientnet_v2("B1", (1280, 240, 6_931_124), "0e80663031ca32d657f9caa404b6ec37"),
        _efficientnet_v2("B2", (1408, 260, 8_769_374), "1dfe2e7a5d45b6632553a8961ea609eb"),
        _efficientnet_v2("B3", (1536, 300, 12_930_622), "f6abf7b5849ac99a89b50dd3fd532856"),
        _efficientnet_v2("S", (1280, 384, 20_331_360), "af0682fb74e8c54910f2d4393339c070"),
        _efficientnet_v2("M", (1280, 480, 53_150_388), "1b8dc055df72dde80d614482840fe342"),
        _efficientnet_v2("L", (1280, 480, 117_746_848), "b0b66b5c863aef5b46e8608fe1711615"),
        _network(
            "InceptionResNetV2",
            (1536, 299, 54_336_736),
            symmetric,
            file=_CLASSIC.format("inception_resnet_v2"),
            folder="inception_resnet_v2",
            digest="d19885ff4a710c122648d3b5c3b684e4",
        ),
        _network(
            "MobileNet",
            (1024, 224, 3_228_864),
            symmetric,
            file="mobilenet_1_0_{side}_tf_no_top.h5",
            folder="mobilenet",
            sides=(128, 160, 192, 224),
        ),
        _network(
            "MobileNetV2",
            (1280, 224, 2_257_984),
            symmetric,
            file="mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{side}_no_top.h5",
            folder="mobilenet_v2",
            sides=(96, 128, 160, 192, 224),
        ),
        _network(
            "MobileNetV3Large",
            (960, 224, 2_996_352),
            inside,
            file="weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
            folder="mobilenet_v3",
            digest="07fb09a5933dd0c8eaafa16978110389",
        ),
        _network(
            "MobileNetV3Small",
            (576, 224, 939_120),
            inside,
            file="weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
            folder="mobilenet_v3",
            digest="d3e8ec802a04aa4fc771ee12a9a9b836",
        ),
        _network(
            "NASNetLarge",
            (4032, 331, 84_916_818),
            symmetric,
            file="nasnet_large_no_top.h5",
            address=f"{_NASNETS}/NASNet-large-no-top.h5",
            digest="d81d89dc07e6e56530c4e77faddd61b5",
        ),
        _network(
            "NASNetMobile",
            (1056, 224, 4_269_716),
            symmetric,
            file="nasnet_mobile_no_top.h5",
            address=f"{_NASNETS}/NASNet-mobile-no-top.h5",
            digest="1ed92395b5b598bdda52abe5c0dbfd63",
        ),
        *(
            _network(
                name,
                (2048, 224, parameters),
                preprocess,
                file=_CLASSIC.format(name.lower()),
                folder="resnet",
                digest=digest,
            )
            for name, parameters, preprocess, digest in (
                ("ResNet50", 23_587_712, caffe, "4d473c1dd8becc155b73f8504c6f6626"),
                ("ResNet101", 42_658_176, caffe, "88cf7a10940856eca736dc7b7e228a21"),
                ("ResNet50V2", 23_564_800, symmetric, "fac2f116257151a9d068a22e544a4917"),
                ("ResNet101V2", 42_626_560, symmetric, "c0ed64b8031c3730f411d2eb4eea35b5"),
                ("ResNet152V2", 58_331_648, symmetric, "ed17cf2e0169df9d443503ef94b23b33"),
            )
        ),
        _network(
            "VGG19",
            (512, 224, 20_024_384),
            caffe,
            file=_CLASSIC.format("vgg19"),
            folder="vgg19",
            digest="253f8cb515780f3b799900260a226db6",
        ),
    ]
)
"""By name in ``keras.applications``."""
