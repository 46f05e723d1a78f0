"""What networks are called in tables and figures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfbench.runs.labels import feature_labels

OWN = {"backbone": {"name": "efficientnet_lite0"}}


@pytest.mark.parametrize(
    ("backend", "feature", "settings", "label"),
    [
        ("bottleneck-svm", "Bottlenecks", OWN, "Bottlenecks"),
        ("bottleneck-svm@xception", "Bottlenecks", {}, "Bottlenecks (xception)"),
        ("bottleneck-svm", "Bottlenecks", {"backbone": {"name": "a/net.onnx"}}, "Bottlenecks (net.onnx)"),
        ("bottleneck-svm@a/dino/onnx/model.onnx", "Bottlenecks", {}, "Bottlenecks (dino/model.onnx)"),
        ("bottleneck-svm", "Embeddings (x.npy)", {"features": "a/x.npy"}, "Embeddings (x.npy)"),
    ],
)
def test_files_are_named_in_few_words(backend, feature, settings, label):
    assert feature_labels({backend: feature}, {backend: settings}) == {backend: label}


def test_files_of_one_name_in_different_folders_are_told_apart():
    networks = ["bottleneck-svm@a/net.onnx", "bottleneck-knn@a/net.onnx", "bottleneck-svm@b/net.onnx"]
    given = ["bottleneck-svm@features:a/x.npy", "bottleneck-svm@features:b/x.npy"]
    features = dict.fromkeys(networks, "Bottlenecks") | dict.fromkeys(given, "Embeddings (x.npy)")
    assert list(feature_labels(features, {name: {} for name in features}).values()) == [
        *("Bottlenecks (a/net.onnx)", "Bottlenecks (a/net.onnx)", "Bottlenecks (b/net.onnx)"),
        *("Embeddings (a/x.npy)", "Embeddings (b/x.npy)"),
    ]


@given(st.lists(st.text("ab/mode. @", max_size=60), min_size=1, max_size=6, unique=True))
def test_no_two_networks_share_a_name(paths):
    features = {f"bottleneck-svm@{path}.onnx": "Bottlenecks" for path in paths}
    assert len(set(feature_labels(features, {name: {} for name in features}).values())) == len(paths)
