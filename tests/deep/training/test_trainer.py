import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.plugins.backend import BackboneChoice, TrainingData, TrainingImages
from shelfbench.plugins.finding import find
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.features.settings import DEFAULT, BottleneckSettings
from shelfbench_deep.features.trained import TrainedExtractor, load_network
from shelfbench_deep.heads.own_head import OwnHead
from shelfbench_deep.heads.softmax import log_softmax
from shelfbench_deep.networks.backbones import Backbone
from shelfbench_deep.networks.inception import InceptionSettings
from shelfbench_deep.networks.xception import XceptionSettings
from shelfbench_deep.training.finetuning import finetuning_trainer
from shelfbench_deep.training.freezing import boundary, freeze
from shelfbench_deep.training.full import full_trainer
from shelfbench_deep.training.settings import FinetuningSettings, FullSettings, TrainingSettings
from tests.helpers.sources import entry_points
from tests.helpers.toy_training import pictures

QUIET = Console(quiet=True)
LITE = BackboneChoice("efficientnet_lite0", "imagenet", 32)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path / "cache"))


def data(count=60, tune=15, classes=3):
    images, labels = pictures(count, classes)
    rows = np.arange(count)
    train, held = rows[:-tune], rows[-tune:]
    return TrainingImages(
        images=images,
        fit="pad",
        train=train,
        train_labels=labels[train],
        train_products=train,
        tune=held,
        tune_labels=labels[held],
        classes=classes,
        identity=f"data-{count}",
        workers=2,
    )


FINE = FinetuningSettings(share=0.6, epochs=2, batch=16, learning_rate=0.01)


def full(network="xception", training=None, bottleneck=DEFAULT, **changes):
    settings = FullSettings(
        **{"epochs": 1, "batch": 16, "xception_pixels": 71, "inception_v3_pixels": 75, "ema": 0.0, **changes}
    )
    own = XceptionSettings(width=0.125) if network == "xception" else InceptionSettings(width=0.125)
    return full_trainer(network, settings, training or TrainingSettings(), own, bottleneck)


@pytest.mark.parametrize(
    ("network", "pixels", "last", "count"),
    [
        ("inception_v3", 75, "mixed4", 133),
        ("xception", 71, "add_4", 56),
        ("vgg16", 32, "block2_pool", 7),
        ("efficientnet_lite0", 32, "block6_add", 60),
    ],
)
def test_the_first_layers_end_at_a_module(network, pixels, last, count):
    keras.utils.clear_session()  # names of Xception's additions count over the process
    model = Backbone(network, "none", pixels).model()
    assert boundary(network, model, 0.4, "module") == count
    assert model.layers[count - 1].name == last
    assert boundary(network, model, 0.4, "literal") == int(0.4 * len(model.layers))
    assert boundary(network, model, 0.0, "module") == 0


def test_resnet_ends_at_a_block_and_inceptions_frozen_parameters_are_the_paper_s():
    model = Backbone("inception_v3", "none", 75).model()
    for count, parameters in ((133, 3_445_920), (125, 3_444_192)):
        assert sum(layer.count_params() for layer in model.layers[:count]) == parameters
    assert model.layers[124].name.startswith("batch_normalization")
    resnet = Backbone("resnet152", "none", 32).model()
    assert resnet.layers[boundary("resnet152", resnet, 0.4, "module") - 1].name == "conv4_block8_out"


@pytest.mark.parametrize("batch_norm", [True, False])
def test_frozen_layers_stay_and_the_others_move(batch_norm):
    model = Backbone("efficientnet_lite0", "imagenet", 32).model()
    count = boundary("efficientnet_lite0", model, 0.4, "module")
    freeze(model, count, batch_norm)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    before = {layer: [np.array(value) for value in layer.get_weights()] for layer in model.layers}
    rng = np.random.default_rng(0)
    model.train_on_batch(rng.normal(size=(4, 32, 32, 3)).astype(np.float32), np.ones((4, 1280), np.float32))
    for number, layer in enumerate(model.layers):
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        same = all((a == b).all() for a, b in zip(before[layer], layer.get_weights(), strict=True))
        if layer.get_weights():
            assert same == (number < count or (batch_norm and is_norm)), layer.name
    # frozen batch normalisation runs in inference mode: its statistics do not come from the batch
    images = rng.normal(5, 3, size=(4, 32, 32, 3)).astype(np.float32)
    cut = keras.Model(model.input, model.layers[count - 1].output)
    np.testing.assert_array_equal(np.asarray(cut(images, training=True)), np.asarray(cut(images, training=False)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished fine-tuning, with logs, and the cache that contains it."""
    folder = tmp_path_factory.mktemp("finished")
    trainer = finetuning_trainer(LITE, FINE, TrainingSettings(tensorboard=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHELFBENCH_CACHE", str(folder))
        return trainer.train(data(), seed=0, console=QUIET), folder


@pytest.fixture
def cached(finished, tmp_path):
    """The same in a cache of the test's own, not used yet."""
    shutil.copytree(finished[1], tmp_path / "cache")
    return finetuning_trainer(LITE, FINE, TrainingSettings(tensorboard=True))


def test_fine_tuning_gives_a_backbone_whose_first_layers_are_the_old_ones(finished):
    trained, _ = finished
    assert not trained.cached
    assert trained.classifier is None  # its bottlenecks go to the classifier of the backend
    assert trained.images == 27  # 9 of the 15 products of each category
    old, new = Backbone("efficientnet_lite0", "imagenet", 32).model(), load_network(trained.features.folder)
    count = trained.chosen["frozen_layers"]
    assert trained.chosen["frozen_up_to"] == old.layers[count - 1].name
    moved = [
        any((a != b).any() for a, b in zip(one.get_weights(), other.get_weights(), strict=True))
        for one, other in zip(old.layers, new.layers, strict=False)
    ]
    assert not any(moved[:count])
    assert any(moved[count:])
    images = np.zeros((2, 32, 32, 3), np.uint8)
    features = trained.features.extract(images)
    assert features.shape == (2, 1280)
    assert features.dtype == np.float32


def test_a_finished_training_is_given_again_and_copied_whole(finished, cached, tmp_path):
    first, _ = finished
    again = cached.train(data(), seed=0, console=QUIET)
    assert again.cached
    assert again.features.describe() == first.features.describe()
    pd.testing.assert_frame_equal(again.history, first.history)
    (tmp_path / "model").mkdir()
    first.save(tmp_path / "model")
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(TrainedExtractor(tmp_path / "model").extract(images), first.features.extract(images))


@pytest.mark.slow
def test_another_seed_is_another_training(finished, cached):
    other = cached.train(data(), seed=1, console=QUIET)
    assert not other.cached
    assert other.features.describe() != finished[0].features.describe()


@pytest.mark.slow
def test_the_head_starts_fitted_or_random():
    still = dataclasses.replace(FINE, epochs=1, learning_rate=1e-6)
    fitted, random = (
        finetuning_trainer(LITE, settings, TrainingSettings()).train(data(), seed=0, console=QUIET)
        for settings in (still, dataclasses.replace(still, head="random"))
    )
    assert fitted.history["val_accuracy"][0] > 0.6
    assert random.history["val_accuracy"][0] < fitted.history["val_accuracy"][0]
    assert random.history["loss"][0] > fitted.history["loss"][0]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["xception", "inception_v3"])
def test_a_network_trained_end_to_end_classifies_by_its_own_head(network, tmp_path):
    # Keras computed the logits below in float32; `auto` may be bfloat16 on this processor
    exact = BottleneckSettings(precision="float32")
    trained = full(network, bottleneck=exact).train(data(), seed=0, console=QUIET)
    images = np.random.default_rng(0).integers(
        0, 256, (3, trained.features.pixels, trained.features.pixels, 3), np.uint8
    )
    head = trained.classifier()
    nothing = TrainingData(
        features=np.empty((0, trained.features.dimensions), np.float32),
        labels=np.empty(0, int),
        classes=3,
        tune_features=np.empty(0),
        tune_labels=np.empty(0),
    )
    head.fit(nothing, seed=0, console=QUIET)
    scores = head.log_probabilities(trained.features.extract(images))
    model = load_network(trained.features.folder)
    logits = np.asarray(model.predict_on_batch(images / np.float32(127.5) - np.float32(1)))
    np.testing.assert_allclose(scores, log_softmax(logits), rtol=1e-5, atol=1e-4)
    head.save(tmp_path)
    np.testing.assert_array_equal(
        OwnHead.load(tmp_path).log_probabilities(np.ones((2, len(head.kernel)))),
        head.log_probabilities(np.ones((2, len(head.kernel)))),
    )
    (tmp_path / "classifier.json").write_text('{"kind": "two_layer"}')
    with pytest.raises(InputError, match="run the study again"):
        OwnHead.load(tmp_path)


@pytest.mark.slow
def test_a_longer_full_training_resumes_and_precision_is_noted():
    half = full(training=TrainingSettings(precision="mixed_bfloat16"))
    trained = half.train(data(), seed=0, console=QUIET)
    assert trained.precision == "mixed_bfloat16"
    assert keras.config.dtype_policy().name == "float32"
    longer = dataclasses.replace(half, epochs=2).train(data(), seed=0, console=QUIET)
    assert len(longer.history) == 2
    pd.testing.assert_series_equal(longer.history["loss"][:1], trained.history["loss"])


def test_damage_is_named(cached):
    trained = cached.train(data(), seed=0, console=QUIET)
    folder = trained.features.folder
    weights = folder / "network.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7] + b"damaged")
    with pytest.raises(InputError, match="delete that folder"):
        TrainedExtractor(folder).extract(np.zeros((1, 32, 32, 3), np.uint8))
    (folder / "network.json").write_text("{")
    with pytest.raises(InputError, match="delete that folder"):
        cached.train(data(), seed=0, console=QUIET)


@pytest.mark.slow
def test_weights_can_be_given_to_start_from(tmp_path):
    given = Backbone("xception", "none", 71).model()
    given.save_weights(tmp_path / "given.weights.h5")
    settings = FullSettings(
        epochs=1,
        batch=16,
        xception_pixels=71,
        start=str(tmp_path / "given.weights.h5"),
        learning_rate=1e-12,
        weight_decay=0.0,
        ema=0.0,
    )
    trainer = full_trainer("xception", settings, TrainingSettings(statistics=0.0), XceptionSettings())
    trained = trainer.train(data(24, 6), seed=0, console=QUIET)
    arrays = load_file(trained.features.folder / "network.safetensors")
    kernels = [array for name, array in sorted(arrays.items()) if name.endswith("kernel")]
    expected = [keras.ops.convert_to_numpy(w) for w in given.weights if w.path.endswith("kernel")]
    for array, value in zip(kernels, expected, strict=False):
        np.testing.assert_allclose(array, value, atol=1e-6)
    with pytest.raises(InputError, match="not of the published shape"):
        full_trainer("xception", settings, TrainingSettings(), XceptionSettings(width=0.5))


@pytest.mark.parametrize(
    ("kind", "values", "key"),
    [
        (FinetuningSettings, {"share": 0}, "share"),
        (FinetuningSettings, {"frozen": 1.0}, "frozen"),
        (FinetuningSettings, {"freeze": "some"}, "freeze"),
        (FinetuningSettings, {"learning_rate": 0.0}, "learning_rate"),
        (FinetuningSettings, {"batch_norm": "no"}, "batch_norm"),
        (FullSettings, {"recipe": "adam"}, "recipe"),
        (FullSettings, {"epochs": 0}, "epochs"),
        (FullSettings, {"xception_pixels": 70}, "xception_pixels"),
        (FullSettings, {"ema": 1.0}, "ema"),
        (FullSettings, {"equal_parameters": 1}, "equal_parameters"),
        (TrainingSettings, {"precision": "float8"}, "precision"),
        (TrainingSettings, {"statistics": 1.0}, "statistics"),
        (TrainingSettings, {"devices": -1}, "devices"),
        (TrainingSettings, {"crop": 0.9}, "crop"),
    ],
)
def test_bad_settings_are_named(kind, values, key):
    with pytest.raises(InputError, match=key):
        kind(**values)


def test_those_that_train_are_built_from_their_entry_points():
    trained = {}
    for name in entry_points("backends"):
        spec = find(name)
        kind = spec.columns["Fine-tuning"]
        if kind != "no":
            backend = spec.build({section: kind() for section, kind in spec.sections.items()}, LITE, 1)
            trained.setdefault(kind, {})[name] = json.dumps(backend.trainer.describe(), sort_keys=True)
            assert kind == "yes" or backend.features.pixels == 299
    assert len(set(trained["yes"].values())) == 1 < len(trained["yes"]), "heads share one training"
    assert len(set(trained["full tuning"].values())) == len(trained["full tuning"]) > 1


def test_logs_for_tensorboard_on_request(finished):
    trained, folder = finished
    import tensorflow as tf
    from tensorflow.core.util import event_pb2

    (log,) = folder.rglob("*.tfevents*")
    found = {}
    for raw in tf.data.TFRecordDataset(str(log)):
        event = event_pb2.Event.FromString(raw.numpy())
        for value in event.summary.value:
            found[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    for row in trained.history.to_dict("records"):
        for name in ("loss", "val_accuracy", "lr"):
            assert found[f"epoch/{name}", row["step"]] == pytest.approx(row[name], rel=1e-5)
    assert len({tag for tag, _ in found}) == 7
