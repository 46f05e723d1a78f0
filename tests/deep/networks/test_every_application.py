"""Every network of ``keras.applications``: built, converted, compared, and a linear SVM on its features."""

import gc

import numpy as np
import pytest

from shelfbench.base.console import Console
from shelfbench.plugins.backend import BackboneChoice, TrainingData
from shelfbench_baselines.linear_svm import LinearSVM, SVMSettings
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.features import settings as bottleneck_settings
from shelfbench_deep.features.bottleneck import BottleneckExtractor
from shelfbench_deep.features.settings import BottleneckSettings
from shelfbench_deep.networks.known import KNOWN
from shelfbench_deep.training.freezing import boundary

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(bottleneck_settings.why_not_openvino()), reason="OpenVINO does not compute here"),
]
# OpenVINO adds products in another order than TensorFlow. In float32 the difference grows with the depth of a network;
# as a share of the largest feature it was at most 0.0000027 in fifteen networks of all families (EfficientNetV2S).
CLOSE = 2e-5


@pytest.mark.parametrize("name", KNOWN)
def test_built_converted_and_run_through_a_linear_svm(name):
    network = KNOWN[name]
    rng = np.random.default_rng(0)
    labels = np.arange(16) % 2
    colours = np.array([[220, 60, 40], [40, 90, 220]])[labels][:, None, None]
    noise = rng.normal(0, 40, (16, network.least, network.least, 3))
    images = np.clip(colours + noise, 0, 255).astype(np.uint8)
    choice = BackboneChoice(name, "none", network.least)
    extractor = BottleneckExtractor(choice, BottleneckSettings("openvino", "float32"))
    model = extractor.model()
    for layer in _layers(model):
        if type(layer).__name__ == "LayerScale":  # at 0.000001, the layers below it would not be compared
            layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
        if name == "keras:EfficientNetV2L" and type(layer).__name__ == "BatchNormalization":
            # with random weights its values grow from block to block until their last bits decide: TensorFlow, run as
            # a graph and eagerly, differs from itself by more than half. Trained normalisations keep them in bounds.
            layer.gamma.assign(np.full(layer.gamma.shape, 0.7))
    features = extractor.extract(images)
    expected = model.predict_on_batch(extractor.preprocess(images.astype(np.float32)))
    assert np.isfinite(features).all()
    assert np.ptp(features, axis=0).max() > 100 * CLOSE * np.abs(expected).max(), "the images differ"
    np.testing.assert_allclose(features, expected, atol=CLOSE * np.abs(expected).max())
    if network.parameters:
        assert model.count_params() == network.parameters
    cut = boundary(name, model, 0.4, "module")
    assert 0.2 < cut / len(model.layers) < 0.6

    svm = LinearSVM(SVMSettings())
    svm.fit(
        TrainingData(
            features=features[:12], labels=labels[:12], classes=2, tune_features=features[12:], tune_labels=labels[12:]
        ),
        seed=0,
        console=Console(quiet=True),
    )
    scores = svm.log_probabilities(features)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, atol=1e-6)
    assert (scores.argmax(axis=1) == labels).mean() > 0.9
    del extractor, model
    keras.backend.clear_session()
    gc.collect()


def _layers(model):
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
