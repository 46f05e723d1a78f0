import numpy as np
import pytest

from shelfbench.base.errors import InputError
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.heads.two_layer import TwoLayerSettings, two_layer
from shelfbench_deep.networks.inception import InceptionSettings, inception_v3
from tests.helpers.networks import counts, randomise, shapes_only

layers = keras.layers
PORT = InceptionSettings(port_2016=True)


def built(settings, classes=1000, pixels=75):
    with shapes_only():
        return inception_v3(pixels, classes, settings)


@pytest.fixture(scope="module")
def today():
    return built(InceptionSettings())


@pytest.fixture(scope="module")
def port():
    return built(PORT)


def test_equals_keras_applications():
    ours = inception_v3(75, 20)
    theirs = keras.applications.InceptionV3(
        weights=None, input_shape=(75, 75, 3), classes=20, classifier_activation=None
    )
    randomise(theirs)
    ours.set_weights(theirs.get_weights())
    images = np.random.default_rng(1).uniform(-1, 1, (2, 75, 75, 3)).astype(np.float32)
    for name in ("avg_pool", "predictions"):
        mine, expected = (
            np.asarray(keras.Model(model.input, model.get_layer(name).output)(images, training=False))
            for model in (ours, theirs)
        )
        assert np.ptp(expected) > 0.1
        assert np.abs(mine - expected).max() == 0


def test_weights_bear_the_names_of_keras_applications(today):
    with shapes_only():
        theirs = keras.applications.InceptionV3(weights=None, input_shape=(75, 75, 3))
    ours = [(variable.path, variable.shape) for variable in today.weights]
    assert ours == [(variable.path, variable.shape) for variable in theirs.weights]


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("Xception", (22_910_480, 22_855_952, 54_528)),
        ("InceptionV3", (23_851_784, 23_817_352, 34_432)),
        ("VGG16", (138_357_544, 138_357_544, 0)),
        ("ResNet152", (60_419_944, 60_268_520, 151_424)),
    ],
)
def test_parameters_of_keras_applications(network, expected):
    with shapes_only():
        model = getattr(keras.applications, network)(weights=None)
    assert counts(model) == expected


def test_parameters_of_today_and_of_the_port(today, port):
    assert counts(today) == (23_851_784, 23_817_352, 34_432)
    assert counts(port) == (23_660_968, 23_626_728, 34_240)


def test_composition_of_the_papers_count(port):
    def total(kind, name):
        variables = [v for layer in port.layers if isinstance(layer, kind) for v in layer.weights if v.name == name]
        return sum(int(np.prod(variable.shape)) for variable in variables)

    assert total(layers.Conv2D, "kernel") == 21_526_368
    assert total(layers.Conv2D, "bias") == 17_120
    assert total(layers.BatchNormalization, "gamma") == 17_120
    assert total(layers.BatchNormalization, "beta") == 17_120
    assert port.get_layer("predictions").count_params() == 2_049_000


def test_each_module_divides_the_channels_among_three_or_four_branches(today, port):
    # X, §1.2: "3 or 4 separate spaces that are smaller than the original input space"
    for network in (today, port):
        branches = [len(network.get_layer(f"mixed{number}").input) for number in range(11)]
        assert branches == [4, 4, 4, 3, 4, 4, 4, 4, 3, 4, 4]
        for number in (1, 2, 4, 5, 6, 7, 9, 10):  # the other two halve the image instead
            module = network.get_layer(f"mixed{number}")
            inside = network.get_layer(f"mixed{number - 1}").output.shape[-1]
            assert all(branch.shape[-1] < inside for branch in module.input)


def test_the_port_differs_from_today_in_four_ways(today, port):
    kinds = [type(layer) for layer in port.layers]
    assert kinds.count(layers.Conv2D) == kinds.count(layers.BatchNormalization) == 94
    for i in range(94):
        number = f"_{i}" if i else ""
        convolution, relu, normalisation = (
            port.get_layer(f"{name}{number}") for name in ("conv2d", "activation", "batch_normalization")
        )
        assert relu.input is convolution.output
        assert normalisation.input is relu.output
        convolution, normalisation, relu = (
            today.get_layer(f"{name}{number}") for name in ("conv2d", "batch_normalization", "activation")
        )
        assert normalisation.input is convolution.output
        assert relu.input is normalisation.output

    def kernels(model):
        return {layer.name: layer.kernel.shape for layer in model.layers if isinstance(layer, layers.Conv2D)}

    ours, theirs = kernels(port), kernels(today)
    changed = {name: (theirs[name][-1], ours[name][-1]) for name in ours if ours[name][-1] != theirs[name][-1]}
    # the last convolutions of mixed1 and mixed2; the first of mixed7's longest branch
    assert changed == {"conv2d_18": (64, 32), "conv2d_25": (64, 32), "conv2d_64": (192, 160)}
    difference = {name: int(np.prod(theirs[name]) - np.prod(ours[name])) for name in ours}
    assert difference["conv2d_64"] + difference["conv2d_65"] == 67_584
    assert sum(difference.values()) == 67_584 + 157_184

    def pooling(model, kind):
        pools = [layer for layer in model.layers if isinstance(layer, kind)]
        return [layer.output.shape[1:3] for layer in pools if layer.strides == (2, 2)]

    assert pooling(today, layers.MaxPooling2D) == [(17, 17), (7, 7), (3, 3), (1, 1)]
    assert pooling(port, layers.MaxPooling2D) == [(17, 17), (7, 7), (3, 3)]
    assert pooling(port, layers.AveragePooling2D) == [(1, 1)]


def test_modules_are_named_where_they_end():
    model = built(InceptionSettings(), None, 299)
    assert len(model.layers) == 312
    assert model.layers[-1].name == "avg_pool"
    channels = [256, 288, 288, 768, 768, 768, 768, 768, 1280, 2048, 2048]
    sides = [35, 35, 35, 17, 17, 17, 17, 17, 8, 8, 8]
    for i, (side, number) in enumerate(zip(sides, channels, strict=True)):
        assert model.get_layer(f"mixed{i}").output.shape == (None, side, side, number)
    assert model.layers[132].name == "mixed4"
    assert model.layers[124].name == "batch_normalization_30"
    assert sum(layer.count_params() for layer in model.layers[:125]) == 3_444_192
    assert sum(layer.count_params() for layer in model.layers[:133]) == 3_445_920


def test_modules_of_the_port_have_the_same_names(port):
    names = [layer.name for layer in port.layers]
    assert [name for name in names if name in {f"mixed{i}" for i in range(11)}] == [f"mixed{i}" for i in range(11)]
    assert port.get_layer("mixed2").output.shape[-1] == 256


def test_width_and_fc_layers():
    model = built(InceptionSettings(width=0.25, fc=True))
    assert model.get_layer("conv2d").filters == 8
    assert model.get_layer("mixed10").output.shape[-1] == 512
    assert model.get_layer("fc1").units == 1024
    wide = built(InceptionSettings(fc=True))
    assert wide.count_params() == 23_851_784 - 2049 * 1000 + 2049 * 4096 + 4097 * 4096 + 4097 * 1000


@pytest.mark.parametrize("chosen", [InceptionSettings(width=0.125, fc=True, dropout=0.5), PORT], ids=["today", "port"])
def test_a_step_changes_every_kernel(chosen):
    keras.utils.set_random_seed(0)
    model = inception_v3(75, 10, InceptionSettings(0.125, chosen.fc, chosen.dropout, chosen.port_2016))
    model.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,  # tracing takes longer than the update
    )
    before = model.get_weights()
    images = np.random.default_rng(0).uniform(-1, 1, (2, 75, 75, 3)).astype(np.float32)
    assert np.isfinite(model.train_on_batch(images, np.array([1, 7])))
    for variable, old in zip(model.weights, before, strict=True):
        assert np.isfinite(variable.numpy()).all(), variable.path
        if "kernel" in variable.path:
            assert not np.array_equal(variable.numpy(), old), variable.path


def test_output_is_float32_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = inception_v3(75, 3, InceptionSettings(width=0.125))
        assert model.get_layer("conv2d_5").compute_dtype == "bfloat16"
        assert model.output.dtype == "float32"
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    ("units", "classes", "expected", "normalisation"),
    [
        (512, 1000, 847_336, 1_024),
        (512, 5270, 1_944_726, 1_024),
        (2048, 1000, 4_172_776, 4_096),
        (2048, 5270, 8_549_526, 4_096),
        (4096, 1000, 10_441_704, 8_192),
        (4096, 5270, 19_190_934, 8_192),
    ],
)
def test_parameters_of_the_2nn(units, classes, expected, normalisation):
    found = []
    for kind in ("none", "one", "several"):
        with shapes_only():
            model = two_layer(2048, units, classes, TwoLayerSettings(batch_norm=kind, dropout=0.0))
        found.append(model.count_params())
    assert found == [expected, expected + normalisation, expected + 2 * normalisation]


@pytest.mark.parametrize(
    ("name", "value"),
    [("width", -1.0), ("width", None), ("dropout", 1), ("dropout", "half"), ("fc", 0), ("port_2016", "yes")],
)
def test_bad_settings_are_refused_by_name(name, value):
    with pytest.raises(InputError, match=rf"^inception\.{name} is "):
        InceptionSettings(**{name: value})


def test_small_images_are_refused():
    with pytest.raises(InputError, match=r"74 pixels.*75"):
        inception_v3(74)
