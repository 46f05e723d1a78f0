"""The fast path for plain JPEGs matches Pillow, and leaves everything odd or damaged to Pillow."""

import io

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile

from shelfbench.data import images
from shelfbench.data.images import ImageSettings, UnreadableImage, decode, open_image
from shelfbench.data.jpeg import decode_plain, engine, plain_size
from shelfbench.data.view import View
from tests.helpers.photos import picture

pytestmark = pytest.mark.skipif(engine() == "pillow", reason="simplejpeg or cykooz.resizer is not installed")


def photo(width, height, seed=0, detail=0.5):
    """Make a photo between a smooth surface (`detail` 0) and noise (1)."""
    rng = np.random.default_rng(seed)
    smooth = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    noise = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
    return Image.blend(smooth, noise, detail)


def encoded(image, kind="JPEG", **options):
    buffer = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageFile, "MAXBLOCK", 1 << 20)  # noise in a progressive file is written in one piece
        image.save(buffer, kind, **options)
    return buffer.getvalue()


def pillow(data, pixels, fit):
    return np.asarray(images._square(open_image(data), pixels, View(fit=fit)))


def assert_close(ours, theirs, mean=0.02):
    """No value differs by more than two grey levels, and few values differ."""
    difference = np.abs(ours.astype(int) - theirs)
    assert ours.shape == theirs.shape
    assert difference.max() <= 2
    assert difference.mean() < mean


def mean_bound(width, height, detail):
    """How far values may be off on average.

    A value that is rounded differently is one of thousands in an ordinary photo. Smooth photos repeat their values, so
    that a whole area may be off by one. A photo of a few pixels repeats them over the whole square: one column of 32
    that is off by one is a mean of 0.03, and nothing limits the number of such columns.
    """
    if min(width, height) < 16:
        return np.inf
    return 0.02 if detail else 0.1


sides = st.integers(1, 330)


@settings(max_examples=60, deadline=None)
@given(
    sides,
    sides,
    st.sampled_from([32, 96, 128, 180, 299]),
    st.sampled_from(["pad", "crop", "stretch"]),
    st.fixed_dictionaries(
        {"quality": st.integers(10, 98), "progressive": st.booleans(), "subsampling": st.integers(0, 2)}
    ),
    st.booleans(),
    st.sampled_from([0.0, 0.3, 1.0]),
)
@example(180, 180, 128, "pad", {"quality": 90}, False, 0.3)
@example(90, 274, 32, "pad", {"quality": 98, "progressive": True, "subsampling": 0}, False, 1.0)
@example(1, 330, 96, "crop", {"quality": 90}, False, 1.0)
@example(330, 1, 96, "pad", {"quality": 90}, True, 1.0)
# one row: three columns of 96 are off by one, from top to bottom
@example(10, 1, 96, "crop", {"quality": 10, "progressive": False, "subsampling": 0}, True, 0.3)
# a smooth photo: the mean difference is 0.028
@example(234, 128, 96, "crop", {"quality": 64, "progressive": False, "subsampling": 0}, True, 0.0)
def test_within_two_levels_of_pillow(width, height, pixels, fit, options, grey, detail):
    image = photo(width, height, width, detail)
    data = encoded(image.convert("L") if grey else image, **options)
    assert plain_size(data) == (width, height)
    assert np.array_equal(decode_plain(data), np.asarray(open_image(data)))
    assert_close(decode(data, pixels, fit), pillow(data, pixels, fit), mean_bound(width, height, detail))


@pytest.mark.parametrize("pixels", [64, 128])
def test_large_photos_are_reduced_as_by_pillow(pixels):
    for size in ((2000, 1500), (701, 3000)):
        data = encoded(photo(*size, detail=0.7), quality=80)
        for fit in ("pad", "crop", "stretch"):
            assert_close(decode(data, pixels, fit), pillow(data, pixels, fit))


def odd_ones():
    image = photo(60, 40)
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "orientation": encoded(image, exif=exif),
        "CMYK": encoded(image.convert("CMYK")),
        "profile": encoded(image, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()),
        "RGB components": encoded(image, keep_rgb=True),
        "several pictures": encoded(image, "MPO", save_all=True, append_images=[photo(30, 30)]),
        "XMP": encoded(image, xmp=b"<x/>"),
        "PNG": encoded(image, "PNG"),
        "GIF": encoded(image, "GIF"),
        "no segment": b"\xff\xd8\xff\xd9",
        "nothing": b"",
    }


@pytest.mark.parametrize("name", odd_ones())
def test_everything_odd_is_left_to_pillow(name):
    data = odd_ones()[name]
    assert plain_size(data) is None
    try:
        expected = pillow(data, 32, "pad")
    except UnreadableImage as error:
        with pytest.raises(UnreadableImage, match=str(error)):
            decode(data, 32)
    else:
        assert np.array_equal(decode(data, 32), expected)


def test_a_photo_that_declares_too_many_pixels_is_refused_before_decoding(monkeypatch):
    data = bytearray(encoded(photo(60, 40)))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    monkeypatch.setattr(images, "decode_plain", None)
    with pytest.raises(UnreadableImage, match="million"):
        decode(bytes(data), 32)


def damaged(rng, whole):
    data = bytearray(whole)
    for position in rng.integers(0, len(data), rng.integers(0, 4)):
        data[position] = rng.choice([0, 0xFF, 0xD9, int(rng.integers(256))])
    if rng.random() < 0.5:
        del data[int(rng.integers(1, len(data))) :]
    if rng.random() < 0.2:
        data += rng.bytes(int(rng.integers(1, 30)))
    return bytes(data)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}, {"optimize": True}])
def test_what_pillow_refuses_is_refused_in_the_same_words(options):
    rng = np.random.default_rng(0)
    quick = 0
    for image in (photo(40, 30), photo(24, 24, detail=0.1).convert("L")):
        whole = encoded(image, **options)
        # a byte after the end, and bytes missing at the end
        for data in [
            whole,
            whole + b"\0",
            *(whole[:-cut] for cut in (1, 2, 3)),
            *(damaged(rng, whole) for _ in range(400)),
        ]:
            quick += plain_size(data) is not None and decode_plain(data) is not None
            try:
                expected = pillow(data, 16, "pad")
            except UnreadableImage as error:
                with pytest.raises(UnreadableImage) as caught:
                    decode(data, 16)
                assert str(caught.value) == str(error)
            else:
                assert_close(decode(data, 16), expected)
    assert quick > 50


def test_the_key_of_features_names_the_decoder(monkeypatch):
    described = ImageSettings().describe()
    assert "simplejpeg" in described["engine"]
    data = encoded(photo(180, 180))
    quick = decode(data, 128)
    monkeypatch.setattr(images, "engine", lambda: "pillow")
    assert ImageSettings().describe() == described | {"engine": "pillow"}
    assert np.array_equal(decode(data, 128), pillow(data, 128, "pad"))
    assert_close(quick, decode(data, 128))
    assert np.array_equal(decode(picture((1, 2, 3), kind="PNG"), 8), pillow(picture((1, 2, 3), kind="PNG"), 8, "pad"))
