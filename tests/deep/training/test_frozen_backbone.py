"""A frozen backbone does the same while a head is trained on it as when it predicts, whatever the batch."""

import os

import numpy as np
import pytest

from shelfbench.base.console import Console
from shelfbench.data.datasets import open_dataset
from shelfbench.data.feature_store import image_digests
from shelfbench.data.images import decode
from shelfbench.data.material import gather
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.split import SplitSettings, make_split
from shelfbench.generator import GeneratorSettings
from shelfbench.plugins.backend import BackboneChoice
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.networks.backbones import load_backbone
from shelfbench_deep.networks.known import NETWORKS

needs_data = pytest.mark.skipif(
    not os.environ.get("SHELFBENCH_DATA"), reason="SHELFBENCH_DATA is not set: no real products"
)


@needs_data
@pytest.mark.slow
def test_fit_and_predict_agree_and_so_do_batches_of_1_and_32(tmp_path, monkeypatch):
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path))
    quiet = Console(quiet=True)
    catalogue, _ = open_dataset(DatasetSettings(name="fashion"), GeneratorSettings(), None, 2, quiet)
    material = gather(catalogue, make_split(catalogue, SplitSettings(), 0, image_digests(catalogue, quiet)))
    rng = np.random.default_rng(0)
    train = material.images_of("train")
    rows = np.sort(rng.choice(np.arange(train.start, train.stop), 2048, replace=False))
    images = np.stack([decode(data, 96) for data in catalogue.images.read(material.image[rows])])
    labels = material.label[material.owner[rows]]
    inputs = NETWORKS["efficientnet_lite0"].preprocess(images.astype(np.float32))

    base = load_backbone(BackboneChoice(pixels=96)).model()
    base.trainable = False
    model = keras.Model(base.input, keras.layers.Dense(len(material.classes))(base.output))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    features = base.predict(inputs, batch_size=32, verbose=0)
    head = keras.Sequential([keras.Input((1280,)), model.layers[-1]])
    head.compile(keras.optimizers.Adam(1e-3), loss)
    head.fit(features, labels, epochs=10, batch_size=64, verbose=0)

    model.compile(keras.optimizers.SGD(0.0), loss, metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")])
    fitted = []
    for start in range(0, len(inputs), 32):
        model.reset_metrics()
        fitted.append(model.train_on_batch(inputs[start : start + 32], labels[start : start + 32], return_dict=True))
    while_fitting = np.mean([logs["accuracy"] for logs in fitted])
    at_32 = model.predict(inputs, batch_size=32, verbose=0).argmax(axis=1)
    while_predicting = (at_32 == labels).mean()
    assert while_predicting > 0.6  # a head worth comparing
    assert abs(while_fitting - while_predicting) < 0.005
    at_1 = model.predict(inputs[:1000], batch_size=1, verbose=0).argmax(axis=1)
    assert (at_1 == at_32[:1000]).mean() >= 0.999
