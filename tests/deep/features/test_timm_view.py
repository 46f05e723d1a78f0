"""Photos as timm's networks see them: ours against timm's own transform, to the grey level.

From files that Pillow decodes, both are equal, since both round sizes and offsets alike and resize with Pillow. A plain
JPEG is resized by fast_image_resize, whose coefficients have 16 bits instead of 22. It rounds to 8 bits between rows
and columns, as Pillow does, and a value that falls on the other side there may end two grey levels away. Photos so long
that the resized one would be 16 times the square are resized only where the square lies; Pillow keeps the edges of that
box in 32 bits, which may move a value by one grey level.
"""

import io

import numpy as np
import pytest
from PIL import Image

from shelfbench.base.console import Console
from shelfbench.data.datasets import open_dataset
from shelfbench.data.images import decode, open_image
from shelfbench.data.view import View
from shelfbench.study.read import read_study
from tests.data.test_jpeg import encoded, photo

pytest.importorskip("torchvision", reason="torchvision, of timm, is not installed")
data = pytest.importorskip("timm.data", reason="timm is not installed")

MEAN = (0.485, 0.456, 0.406)
SIZES = [(60, 80), (80, 60), (61, 80), (224, 224), (400, 300), (301, 97), (97, 301), (500, 33), (257, 256), (1, 50)]
# Of these, resizing the whole photo would take 16 times the square.
LONG = [(1, 50), (500, 33)]


def theirs(encoded_photo, view, pixels):
    transform = data.create_transform(
        (3, pixels, pixels),
        interpolation=view.resample,
        crop_pct=view.crop,
        crop_mode=view.fit,
        mean=MEAN,
        normalize=False,
    )
    image = Image.open(io.BytesIO(encoded_photo)).convert("RGB")
    return transform(image).permute(1, 2, 0).numpy().astype(int)


def view_of(fit, resample, crop):
    background = tuple(round(255 * value) for value in MEAN) if fit == "border" else (0, 0, 0)
    return View(fit=fit, resample=resample, crop=crop, background=background)


@pytest.mark.parametrize("fit", ["center", "squash", "border"])
@pytest.mark.parametrize(
    ("resample", "crop"), [("bilinear", 0.875), ("bicubic", 0.95), ("lanczos", 1.0), ("box", 1.15)]
)
def test_generated_photos_are_seen_as_by_timm(fit, resample, crop):
    view = view_of(fit, resample, crop)
    for size in SIZES:
        for detail in (0.3, 1.0):
            image = photo(*size, seed=sum(size), detail=detail)
            png, jpeg = encoded(image, "PNG"), encoded(image, quality=90)
            difference = np.abs(decode(png, 96, view) - theirs(png, view, 96))
            assert difference.max() <= (1 if size in LONG and fit == "center" else 0), size
            difference = np.abs(decode(jpeg, 96, view) - theirs(jpeg, view, 96))
            assert difference.max() <= 2, size
            if min(size) > 16:  # a few pixels repeat a value over the whole square
                assert difference.mean() < 0.03, size


def test_real_photos_are_seen_as_by_timm(real_data):
    study = read_study("fashion")
    catalogue, _ = open_dataset(study.dataset, study.generated, real_data / "fashion", 2, Console(quiet=True))
    rows = np.linspace(0, len(catalogue.images) - 1, 40).astype(int)
    view = view_of("center", "bicubic", 0.875)
    for photo_bytes in catalogue.images.read(rows):
        assert open_image(photo_bytes).size == Image.open(io.BytesIO(photo_bytes)).size, "upright"
        difference = np.abs(decode(photo_bytes, 224, view) - theirs(photo_bytes, view, 224))
        assert difference.max() <= 2
        assert difference.mean() < 0.03
