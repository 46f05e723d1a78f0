"""Images are decoded as a person sees them, and unreadable ones say why."""

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from shelfbench.data.catalogue import Absent
from shelfbench.data.images import UnreadableImage, decode, decode_batch, open_image
from tests.helpers.photos import noise_picture, picture


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def centre(data, pixels=33):
    return decode(data, pixels)[pixels // 2, pixels // 2].astype(int)


def test_every_mode_becomes_rgb():
    assert np.allclose(centre(picture((10, 200, 30), kind="PNG")), (10, 200, 30), atol=1)
    assert np.allclose(centre(picture(77, mode="L", kind="PNG")), 77, atol=1)
    assert np.allclose(centre(picture(1, mode="1", kind="PNG")), 255)
    red_cmyk = encoded(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "JPEG")
    assert np.allclose(centre(red_cmyk), (255, 0, 0), atol=12)
    palette = encoded(Image.new("RGB", (20, 20), (0, 0, 250)).quantize(4), "PNG")
    assert np.allclose(centre(palette), (0, 0, 250), atol=6)


def test_sixteen_bit_images_keep_their_brightness():
    for value in (0, 13107, 32768, 65535):
        image = Image.fromarray(np.full((9, 9), value, np.uint16))
        assert np.allclose(centre(encoded(image, "PNG")), round(value / 257), atol=1)
        assert np.allclose(centre(encoded(image, "TIFF")), round(value / 257), atol=1)


def test_transparency_becomes_white():
    half = Image.new("RGBA", (20, 20), (255, 0, 0, 128))
    assert np.allclose(centre(encoded(half, "PNG")), (255, 127, 127), atol=2)
    clear = Image.new("LA", (20, 20), (0, 0))
    assert np.allclose(centre(encoded(clear, "PNG")), 255)
    keyed = encoded(Image.new("RGB", (20, 20), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert np.allclose(centre(keyed), 255)


def test_sixteen_bit_transparency_and_wide_integers():
    values = np.full((9, 9), 900, np.uint16)
    keyed = encoded(Image.fromarray(values), "PNG", transparency=900)
    assert np.allclose(centre(keyed), 255)
    wide = np.full((9, 9), 2**30, np.int32)
    wide[0] = 2**31 - 1
    assert np.allclose(centre(encoded(Image.fromarray(wide), "TIFF")), 128, atol=2)


def test_no_other_program_is_started():
    with pytest.raises(UnreadableImage, match="PostScript, not a photo"):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n", 8)


def test_the_first_frame_of_an_animation_is_taken():
    frames = [Image.new("RGB", (20, 20), color) for color in ((250, 0, 0), (0, 250, 0))]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.allclose(centre(data), (250, 0, 0), atol=6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8] = (250, 250, 0)
    upright[8:, :12] = (0, 0, 250)
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = Image.fromarray(upright)
    stored = image if undo[orientation] is None else image.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = np.asarray(open_image(encoded(stored, "JPEG", exif=exif, quality=98, subsampling=0)), int)
    assert seen.shape == upright.shape
    assert np.abs(seen - upright).mean() < 6


def test_one_pixel_and_extreme_shapes():
    assert np.allclose(decode(picture((9, 90, 190), (1, 1), "PNG"), 8), (9, 90, 190))
    wide = decode(picture((0, 0, 0), (1000, 1), "PNG"), 32)
    assert wide.shape == (32, 32, 3)
    assert (wide[0] == 255).all()
    assert wide.min() < 10


def test_the_three_ways_to_make_a_square():
    data = encoded(
        Image.fromarray(np.concatenate([np.full((30, 30, 3), 250, np.uint8), np.zeros((30, 30, 3), np.uint8)], axis=1)),
        "PNG",
    )
    pad, crop, stretch = (decode(data, 40, fit) for fit in ("pad", "crop", "stretch"))
    assert (pad[:9] == 255).all()
    assert (pad[-9:] == 255).all()
    assert (pad[20, 30:] < 5).all()
    for square in (crop, stretch):
        assert (square[:, :15] > 245).all()
        assert (square[:, 25:] < 5).all()


def png_header(width, height):
    body = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + body
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(body)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return header + struct.pack(">I", 100) + b"IDAT" + bytes(100)


def bmp_header(width, height):
    return (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    )


NOISE = encoded(Image.effect_noise((60, 40), 60).convert("RGB"), "JPEG")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (Absent("no permission to read"), "no permission to read"),
        (b"hello, this is not an image", "not in a known image format"),
        (NOISE[: len(NOISE) // 2], "truncated"),
        (noise_picture(0)[:200], "truncated|broken|EOF|read"),
        (png_header(20000, 20000), "million"),
        (png_header(11000, 11000), "11000 x 11000"),
        (bmp_header(20000, 20000), "million"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 40, "image|JPEG"),
    ],
)
def test_bad_images_say_why(data, reason):
    with pytest.raises(UnreadableImage, match=reason) as caught:
        decode(data, 32)
    assert "\n" not in str(caught.value)


def test_random_damage_always_has_a_reason():
    rng = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"):
        whole = bytearray(encoded(Image.effect_noise((40, 30), 50).convert("RGB"), kind))
        for _ in range(25):
            damaged = bytearray(whole)
            for position in rng.integers(0, len(whole), 4):
                damaged[position] = rng.integers(256)
            try:
                assert decode(bytes(damaged), 16).shape == (16, 16, 3)
            except UnreadableImage as error:
                assert str(error)


def test_a_batch_keeps_its_order_and_says_why_images_are_unreadable():
    good = [noise_picture(i) for i in range(5)]
    with ThreadPoolExecutor(2) as pool:
        pixels, reasons = decode_batch([good[0], b"", good[1], b"xx", *good[2:]], 20, "pad", pool)
        nothing, why = decode_batch([b""], 20, "pad", pool)
    assert np.array_equal(pixels, np.stack([decode(data, 20) for data in good]))
    assert sorted(reasons) == [1, 3]
    assert nothing.shape == (0, 20, 20, 3)
    assert why == {0: "the file is empty"}
