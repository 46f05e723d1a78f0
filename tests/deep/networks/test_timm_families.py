"""Families of timm's networks: built, converted, compared, and a linear SVM on their features."""

import numpy as np
import pytest

from shelfbench.base.console import Console
from shelfbench.plugins.backend import BackboneChoice, TrainingData
from shelfbench_baselines.linear_svm import LinearSVM, SVMSettings
from shelfbench_deep.features.choosing import network_features
from shelfbench_deep.features.settings import BottleneckSettings
from tests.helpers.lite_weights import timm_lite
from tests.helpers.timm_weights import lite_folder

pytest.importorskip("timm", reason="timm is not installed")
pytest.importorskip("openvino", reason="openvino is not installed")
pytestmark = pytest.mark.slow

# One of the smallest networks of each family; all but the last group at the size that they were made for.
FAMILIES = [
    ("vit_small_patch14_dinov2.lvd142m", 224),
    ("vit_small_patch16_dinov3.lvd1689m", None),
    ("vit_base_patch16_siglip_224", None),
    ("vit_base_patch32_clip_224.openai", None),
    ("resnet50_clip.openai", None),
    ("resnet18", None),
    ("convnext_atto", None),
    ("tf_efficientnet_lite0", None),
    ("efficientnet_b0", None),
    ("mobilenetv3_small_100", None),
    ("mobilenetv4_conv_small", None),
    ("densenet121", None),
    ("regnety_002", None),
    ("swin_tiny_patch4_window7_224", None),
    ("swinv2_cr_tiny_ns_224", None),
    ("maxvit_nano_rw_256", None),
    ("coatnet_nano_rw_224", None),
    ("poolformer_s12", None),
    ("edgenext_xx_small", None),
    ("mobilevit_xxs", None),
    ("fastvit_t8", None),
    ("levit_128s", None),
    ("xcit_nano_12_p16_224", None),
    ("deit_tiny_distilled_patch16_224", None),
    ("beit_base_patch16_224", None),
    ("eva02_tiny_patch14_224", None),
    ("mixer_s32_224", None),
]


@pytest.mark.parametrize(("name", "pixels"), FAMILIES)
def test_built_converted_and_run_through_a_linear_svm(name, pixels):
    import torch

    def made(engine):
        settings = {"bottleneck": BottleneckSettings(engine=engine, precision="float32")}
        return network_features(BackboneChoice(f"timm:{name}", "none", pixels), settings).features

    extractor = made("openvino")
    rng = np.random.default_rng(0)
    labels = np.arange(12) % 2
    side = extractor.pixels
    colours = np.array([[220, 60, 40], [40, 90, 220]])[labels][:, None, None]
    images = np.clip(colours + rng.normal(0, 40, (12, side, side, 3)), 0, 255).astype(np.uint8)
    features = extractor.extract(images)
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (extractor.network.mean, extractor.network.std))
    with torch.inference_mode():
        model = made("torch").module()
        expected = model((torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std).numpy()
    assert features.shape == expected.shape == (12, extractor.dimensions)
    # random networks are small in their features, and alike for all photos: compare with what photos change
    np.testing.assert_allclose(features, expected, atol=1e-3 * expected.std(axis=0).max())

    svm = LinearSVM(SVMSettings())
    data = TrainingData(
        features=features[:8], labels=labels[:8], classes=2, tune_features=features[8:], tune_labels=labels[8:]
    )
    svm.fit(data, seed=0, console=Console(quiet=True))
    np.testing.assert_allclose(np.exp(svm.log_probabilities(features)).sum(axis=1), 1, atol=1e-6)


def test_a_second_network_with_real_weights(tmp_path):
    import torch

    settings = {"bottleneck": BottleneckSettings(engine="openvino", precision="float32")}
    choice = BackboneChoice("timm:tf_efficientnet_lite2", str(lite_folder(tmp_path, 2)))
    extractor = network_features(choice, settings).features
    assert extractor.pixels == 260
    images = np.random.default_rng(0).integers(0, 256, (5, 260, 260, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = timm_lite(2)((torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127) / 128).numpy()
    np.testing.assert_allclose(extractor.extract(images), expected, atol=1e-4)
