"""HEIC is read where pillow-heif is installed; without it, the reason says what to install."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from shelfbench.data.images import NEEDS_HEIF, UnreadableImage, heif_decoder, open_image
from tests.data.test_metadata import UNDO, exif, quarters, turned

pillow_heif = pytest.importorskip("pillow_heif")


def heic(image, **options):
    heif_decoder()
    buffer = io.BytesIO()
    image.save(buffer, "HEIF", quality=95, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("turn", UNDO)
def test_a_photo_of_a_phone_is_upright(turn):
    image = turned(turn).resize((96, 64) if turn < 5 else (64, 96), Image.Resampling.NEAREST)
    data = heic(image, exif=b"Exif\0\0" + exif(turn))
    upright = np.asarray(quarters(64, 96), int)
    assert np.abs(np.asarray(open_image(data), int) - upright).mean() < 6


def test_broken_metadata_and_broken_pixels_of_heic():
    image = quarters(64, 96)
    clean = np.asarray(open_image(heic(image)))
    data = heic(image, exif=b"Exif\0\0" + exif(1))
    for header in (b"II*\0", b"MM\0*"):
        if (at := data.find(header)) >= 0:
            data = data[:at] + b"gone" + data[at + 4 :]
    assert np.array_equal(np.asarray(open_image(data)), clean)
    for cut in (len(data) * 2 // 3, 200, 60):
        with pytest.raises(UnreadableImage) as caught:
            open_image(data[:cut])
        assert "pillow-heif" not in str(caught.value)


def test_without_the_package_the_reason_says_what_to_install(tmp_path):
    (tmp_path / "phone.heic").write_bytes(heic(quarters(64, 96)))
    (tmp_path / "cut.heic").write_bytes(heic(quarters(64, 96))[:100])
    program = """
import sys
sys.modules["pillow_heif"] = None
from shelfbench.data.images import UnreadableImage, open_image
for name in sys.argv[1:]:
    try:
        open_image(open(name, "rb").read())
    except UnreadableImage as error:
        print(error)
"""
    files = [str(tmp_path / name) for name in ("phone.heic", "cut.heic")]
    done = subprocess.run([sys.executable, "-c", program, *files], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [NEEDS_HEIF] * 2
