from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfbench.base.errors import InputError
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.networks.xception import XceptionSettings, count_parameters, equal_parameters, xception
from tests.helpers.networks import counts, randomise, shapes_only

layers = keras.layers
ABLATIONS = {
    "plain": XceptionSettings(),
    "no residuals": XceptionSettings(residuals=False),
    "relu": XceptionSettings(intermediate="relu"),
    "elu": XceptionSettings(intermediate="elu"),
    "pointwise": XceptionSettings(order="pointwise"),
    "pointwise, elu": XceptionSettings(order="pointwise", intermediate="elu"),
    "between": XceptionSettings(order="pointwise", between=True),
    "fc": XceptionSettings(fc=True, dropout=0.5),
    "segments": XceptionSettings(segments=4),
    "segment": XceptionSettings(segments=1, order="pointwise"),
    "stack": XceptionSettings(stack=True),
}
SEGMENTS = {
    "spatial": {0: 22_910_480, 1: 183_671_432, 2: 103_187_240, 4: 62_945_144, 8: 42_824_096},
    "pointwise": {0: 22_928_336, 1: 221_383_304, 2: 122_043_176, 4: 72_373_112, 8: 47_538_080},
}


def built(settings, classes=1000, pixels=71):
    with shapes_only():
        return xception(pixels, classes, settings)


@pytest.fixture(scope="module")
def plain():
    return built(XceptionSettings())


def test_equals_keras_applications():
    ours = xception(71, 20)
    theirs = keras.applications.Xception(weights=None, input_shape=(71, 71, 3), classes=20, classifier_activation=None)
    randomise(theirs)
    ours.set_weights(theirs.get_weights())
    images = np.random.default_rng(1).uniform(-1, 1, (2, 71, 71, 3)).astype(np.float32)
    for name in ("avg_pool", "predictions"):
        mine, expected = (
            np.asarray(keras.Model(model.input, model.get_layer(name).output)(images, training=False))
            for model in (ours, theirs)
        )
        assert np.ptp(expected) > 0.1
        assert np.abs(mine - expected).max() == 0


def test_weights_bear_the_names_of_keras_applications(plain):
    with shapes_only():
        theirs = keras.applications.Xception(weights=None, input_shape=(71, 71, 3))
    ours = [(variable.path, variable.shape) for variable in plain.weights]
    assert ours == [(variable.path, variable.shape) for variable in theirs.weights]


def test_plain_network_is_the_one_of_figure_5(plain):
    kinds = [type(layer) for layer in plain.layers]
    assert kinds.count(layers.SeparableConv2D) == 34
    # two that are counted among the 36, four on shortcuts that are not
    assert (
        sorted(layer.kernel_size for layer in plain.layers if type(layer) is layers.Conv2D)
        == [(1, 1)] * 4 + [(3, 3)] * 2
    )
    assert kinds.count(layers.Add) == 12
    assert kinds.count(layers.BatchNormalization) == 40
    assert plain.get_layer("block14_sepconv2_act").output.shape == (None, 3, 3, 2048)
    features = built(XceptionSettings(), None, 299)
    assert features.get_layer("block14_sepconv2_act").output.shape == (None, 10, 10, 2048)
    assert features.layers[-1].name == "avg_pool"
    assert len(features.layers) == 133
    assert features.layers[55].name == "add_4"


@pytest.mark.parametrize(
    ("chosen", "classes", "total", "trainable"),
    [
        (XceptionSettings(), 1000, 22_910_480, 22_855_952),
        (XceptionSettings(residuals=False), 1000, 21_929_136, 21_878_880),
        (XceptionSettings(intermediate="relu"), 1000, 22_910_480, 22_855_952),
        (XceptionSettings(intermediate="elu"), 1000, 22_910_480, 22_855_952),
        (XceptionSettings(order="pointwise"), 1000, 22_928_336, 22_873_808),
        (XceptionSettings(order="pointwise", between=True), 1000, 23_028_464, 22_923_872),
        (XceptionSettings(fc=True), 1000, 50_132_496, 50_077_968),
        (XceptionSettings(), 17_000, 55_694_480, 55_639_952),
        (XceptionSettings(fc=True), 17_000, 115_684_496, 115_629_968),
    ],
)
def test_parameters_of_the_ablations(chosen, classes, total, trainable):
    assert counts(built(chosen, classes)) == (total, trainable, total - trainable)
    assert count_parameters(chosen, classes) == total


@pytest.mark.parametrize("order", SEGMENTS)
@pytest.mark.parametrize("segments", [1, 2, 4, 8])
def test_parameters_of_the_segments(order, segments):
    chosen = XceptionSettings(order=order, segments=segments)
    assert count_parameters(chosen, 1000) == SEGMENTS[order][segments]
    assert built(chosen).count_params() == SEGMENTS[order][segments]


@settings(max_examples=5, deadline=None)
@given(
    st.builds(
        XceptionSettings,
        width=st.floats(0.01, 0.5),
        residuals=st.booleans(),
        order=st.just("pointwise"),
        between=st.booleans(),
        fc=st.booleans(),
        segments=st.sampled_from([0, 2, 8]),
        stack=st.booleans(),
    ),
    st.sampled_from([None, 7]),
)
def test_counting_needs_no_network(chosen, classes):
    assert count_parameters(chosen, classes) == built(chosen, classes).count_params()


@pytest.mark.parametrize("width", [1.0, 0.25])
@pytest.mark.parametrize("classes", [1000, 20])
@pytest.mark.parametrize("order", SEGMENTS)
@pytest.mark.parametrize("segments", [1, 2, 4, 8])
def test_segments_at_equal_parameters(width, classes, order, segments):
    target = count_parameters(XceptionSettings(width=width), classes)
    found = equal_parameters(XceptionSettings(order=order, segments=segments), classes, target)
    miss = abs(count_parameters(found, classes) - target)
    assert miss < 0.01 * target
    for width in found.width * np.linspace(0.9, 1.1, 401):
        other = XceptionSettings(width=float(width), order=order, segments=segments)
        assert abs(count_parameters(other, classes) - target) >= miss


@pytest.mark.parametrize("width", [1.0, 0.25])
@pytest.mark.parametrize("ablation", ["stack", "no residuals", "between", "fc"])
def test_other_ablations_at_equal_parameters(width, ablation):
    target = count_parameters(XceptionSettings(width=width), 1000)
    found = equal_parameters(ABLATIONS[ablation], 1000, target)
    assert built(found).count_params() == pytest.approx(target, rel=0.01)


def test_a_network_equals_itself_in_parameters():
    found = equal_parameters(XceptionSettings(width=0.3), 1000, 22_910_480)
    assert found.width == pytest.approx(1, rel=1e-3)
    assert count_parameters(found, 1000) == 22_910_480


def test_segments_are_a_grouped_convolution():
    segments = 4
    model = xception(71, None, XceptionSettings(width=2 / 7, segments=segments))
    entry = model.get_layer("block13_sepconv2_act")  # 208 channels
    part = keras.Model(entry.output, model.get_layer("block13_sepconv2_segments").output)
    kernels = [weight for layer in part.layers for weight in layer.get_weights()]
    assert len(kernels) == segments
    x = np.random.default_rng(0).normal(size=(1, 5, 5, entry.output.shape[-1])).astype(np.float32)
    grouped = layers.Conv2D(x.shape[-1], 3, groups=segments, padding="same", use_bias=False)
    grouped.build(x.shape)
    grouped.set_weights([np.concatenate(kernels, axis=-1)])
    np.testing.assert_allclose(part.predict_on_batch(x), np.asarray(grouped(x)), atol=1e-4)


@given(st.sampled_from([1, 2, 4, 8]), st.integers(1, 200))
def test_segments_are_as_equal_as_can_be(segments, channels):
    sizes = XceptionSettings(segments=segments).sizes(channels)
    assert sum(sizes) == channels
    assert len(sizes) == min(segments, channels)
    assert max(sizes) - min(sizes) <= 1


PARTS = {
    "plain": [layers.SeparableConv2D],
    "relu": [layers.DepthwiseConv2D, layers.Activation, layers.Conv2D],
    "elu": [layers.DepthwiseConv2D, layers.Activation, layers.Conv2D],
    "pointwise": [layers.Conv2D, layers.DepthwiseConv2D],
    "pointwise, elu": [layers.Conv2D, layers.Activation, layers.DepthwiseConv2D],
    "between": [layers.Conv2D, layers.BatchNormalization, layers.Activation, layers.DepthwiseConv2D],
}


@pytest.mark.parametrize("ablation", PARTS)
def test_order_within_a_separable_convolution(ablation):
    model = built(ABLATIONS[ablation], None)
    suffixes = ("", "_depthwise", "_pointwise", "_intermediate", "_between_bn", "_between_act")
    by_name = {layer.name: layer for layer in model.layers}
    ends = [name for name in by_name if "sepconv" in name and name.endswith("_bn") and "between" not in name]
    assert len(ends) == 34
    for end in ends:
        names = {end.removesuffix("_bn") + suffix for suffix in suffixes}
        found = [layer for layer in model.layers if layer.name in names]
        assert [type(layer) for layer in found] == PARTS[ablation]
        for before, after in pairwise([*found, by_name[end]]):
            assert after.input is before.output
        used = {layer.activation.__name__ for layer in found if isinstance(layer, layers.Activation)}
        intermediate = ABLATIONS[ablation].intermediate
        assert used <= {"relu" if intermediate == "none" else intermediate}


def test_without_residuals_nothing_is_added():
    model = built(XceptionSettings(residuals=False))
    kinds = [type(layer) for layer in model.layers]
    assert layers.Add not in kinds
    assert kinds.count(layers.MaxPooling2D) == 4
    assert kinds.count(layers.Conv2D) == 2
    for before, after in pairwise(model.layers):
        assert after.input is before.output


def test_stack_is_vgg_16_in_separable_convolutions():
    model = built(XceptionSettings(stack=True, residuals=True), 1000, 224)
    with shapes_only():
        vgg = keras.applications.VGG16(weights=None, include_top=False)
    separable = [layer.filters for layer in model.layers if isinstance(layer, layers.SeparableConv2D)]
    assert separable == [layer.filters for layer in vgg.layers if isinstance(layer, layers.Conv2D)]
    assert model.get_layer("block5_pool").output.shape == (None, 7, 7, 512)
    assert not any(isinstance(layer, layers.Add) for layer in model.layers)


def test_width_multiplies_every_number_of_channels():
    model = built(XceptionSettings(width=0.25, fc=True))
    assert model.get_layer("block1_conv1").filters == 8
    assert model.get_layer("block5_sepconv1").filters == 182
    assert model.get_layer("avg_pool").output.shape == (None, 512)
    assert model.get_layer("fc2").units == 1024
    assert model.output.shape == (None, 1000)


def test_output_is_float32_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        for classes in (None, 3):
            model = xception(71, classes, XceptionSettings(width=0.125, fc=True))
            assert model.get_layer("block5_sepconv1").compute_dtype == "bfloat16"
            assert model.output.dtype == "float32"
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    "ablation",
    [
        name if name in ("plain", "segments") else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted(ABLATIONS.keys() - {"pointwise, elu"})
    ],
)
def test_every_ablation_trains(ablation):
    keras.utils.set_random_seed(0)
    model = xception(71, 10, replace(ABLATIONS[ablation], width=0.125))
    model.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,  # tracing takes longer than the update
    )
    before = model.get_weights()
    images = np.random.default_rng(0).uniform(-1, 1, (2, 71, 71, 3)).astype(np.float32)
    assert np.isfinite(model.train_on_batch(images, np.array([1, 7])))
    for variable, old in zip(model.weights, before, strict=True):
        new = variable.numpy()
        assert np.isfinite(new).all(), variable.path
        if "kernel" in variable.path:
            assert not np.array_equal(new, old), variable.path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", 0),
        ("width", float("inf")),
        ("width", float("nan")),
        ("width", "wide"),
        ("width", True),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("dropout", False),
        ("residuals", 1),
        ("fc", "yes"),
        ("stack", None),
        ("between", 0),
        ("intermediate", "tanh"),
        ("intermediate", None),
        ("order", "depthwise"),
        ("segments", 3),
        ("segments", 1.0),
        ("segments", True),
        ("segments", "8"),
    ],
)
def test_bad_settings_are_refused_by_name(name, value):
    with pytest.raises(InputError, match=rf"^xception\.{name} is "):
        XceptionSettings(**{name: value})


def test_settings_that_exclude_each_other_are_refused():
    with pytest.raises(InputError, match=r"xception\.between.*xception\.order"):
        XceptionSettings(between=True)
    with pytest.raises(InputError, match=r"xception\.between.*xception\.intermediate"):
        XceptionSettings(order="pointwise", between=True, intermediate="elu")


def test_small_images_are_refused():
    with pytest.raises(InputError, match=r"70 pixels.*71"):
        xception(70)
