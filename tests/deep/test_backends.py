import pickle

import numpy as np
import pytest

from shelfbench.base.console import Console
from shelfbench.plugins.backend import BackboneChoice, TrainingData
from shelfbench.plugins.finding import find
from shelfbench_baselines.linear_svm import LinearSVM
from shelfbench_deep.heads.two_layer import TwoLayer
from tests.helpers.sources import entry_points

NAMES = [f"bottleneck-{head}" for head in entry_points("heads")]


def built(name, backbone):
    spec = find(name)
    return spec.build({section: settings() for section, settings in spec.sections.items()}, backbone, 1)


@pytest.mark.parametrize("name", NAMES)
def test_built_from_its_entry_point(name):
    spec, backend = find(name), built(name, BackboneChoice("vgg16", "none", 48))
    assert spec.uses_backbone
    assert spec.columns["Feature"] == "Bottlenecks"
    assert (backend.features.name, backend.features.pixels, backend.features.dimensions) == ("vgg16", 48, 512)
    classifier = backend.classifier()
    assert classifier is not backend.classifier()
    assert isinstance(classifier, TwoLayer if "2nn" in name else LinearSVM)
    assert spec.columns["Classifier"] == (f"2NN-{classifier.units}" if "2nn" in name else "SVM")
    assert pickle.loads(pickle.dumps(backend)).settings == backend.settings


@pytest.mark.parametrize("name", ["bottleneck-svm", "bottleneck-2nn-512"])
def test_from_images_to_a_saved_model(name, tmp_path):
    backend = built(name, BackboneChoice(pixels=32))
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    colours = np.array([[220, 40, 40], [40, 60, 220]])[labels][:, None, None]
    images = np.clip(colours + rng.normal(0, 10, (40, 32, 32, 3)), 0, 255).astype(np.uint8)
    features = backend.features.extract(images)
    classifier = backend.classifier()
    classifier.fit(
        TrainingData(
            features=features[:30], labels=labels[:30], classes=2, tune_features=features[30:], tune_labels=labels[30:]
        ),
        seed=0,
        console=Console(quiet=True),
    )
    scores = classifier.log_probabilities(features)
    assert (scores.argmax(axis=1) == labels).mean() > 0.9
    classifier.save(tmp_path)
    np.testing.assert_array_equal(backend.load(tmp_path).log_probabilities(features), scores)
