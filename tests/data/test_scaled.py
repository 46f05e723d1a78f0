"""JPEGs decoded at a fraction: only where the photo stays large enough, and within a few grey levels of the whole."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data as photos

from shelfbench.base.errors import InputError
from shelfbench.data.images import ImageSettings, UnreadableImage, decode
from shelfbench.data.view import View
from shelfbench.study.overrides import parse_setting
from shelfbench.study.read import read_study

FITS = ("pad", "crop", "stretch")


def jpeg(size, kind="JPEG", **options):
    buffer = io.BytesIO()
    Image.fromarray(photos.astronaut()).resize(size, Image.Resampling.LANCZOS).save(buffer, kind, quality=90, **options)
    return buffer.getvalue()


def apart(data, pixels, **view):
    whole = decode(data, pixels, View(**view))
    return np.abs(decode(data, pixels, View(scaled=True, **view)).astype(int) - whole)


def turned():
    exif = Image.Exif()
    exif[0x112] = 6
    return {"exif": exif}


@given(
    fit=st.sampled_from([*FITS, "center", "squash", "border"]),
    size=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    pixels=st.integers(1, 400),
)
def test_a_photo_stays_as_large_as_it_is_resized_to(fit, size, pixels):
    view = View(fit=fit, scaled=True)
    by = view.divisor(size, pixels)
    assert by in (1, 2, 4, 8)
    if max(size) < 16:
        return
    assert View(fit=fit).divisor(size, pixels) == 1
    across, down = (pixels, pixels) if fit == "crop" else view.place(size, pixels).size
    seen = (min(size), min(size)) if fit == "crop" else size
    if by > 1:
        assert seen[0] / by >= across * (1 - 1e-9)
        assert seen[1] / by >= down * (1 - 1e-9)
    if by < 8:  # the next would be too small
        assert seen[0] / (2 * by) < across or seen[1] / (2 * by) < down


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(800, 800), (801, 533), (533, 801), (1203, 641), (448, 448), (1792, 1793)])
def test_close_to_the_whole_photo(fit, size):
    difference = apart(jpeg(size), 224, fit=fit)
    assert difference.any() or View(fit=fit, scaled=True).divisor(size, 224) == 1
    assert difference.mean() < 1.5
    assert np.percentile(difference, 99.9) <= 24


@pytest.mark.parametrize(
    ("options", "differs"),
    [
        ({"progressive": True}, True),
        ({"subsampling": "4:4:4"}, True),
        (turned(), True),  # through Pillow
        ({"icc_profile": b"profile"}, True),
    ],
)
def test_every_kind_of_jpeg(options, differs):
    difference = apart(jpeg((800, 600), **options), 100, fit="pad")
    assert difference.any() == differs
    assert difference.mean() < 1.5


def test_through_pillow_only_whole_pixels():
    assert apart(jpeg((802, 602), **turned()), 100, fit="pad").any()
    assert not apart(jpeg((801, 600), **turned()), 100, fit="pad").any()


@settings(deadline=None, max_examples=40)
@given(width=st.integers(1, 70), height=st.integers(1, 70), fit=st.sampled_from(FITS), grey=st.booleans())
def test_small_and_odd_sizes(width, height, fit, grey):
    colour = np.zeros((height, width, 3), np.uint8) + np.uint8(77)
    buffer = io.BytesIO()
    Image.fromarray(colour[..., 0] if grey else colour).save(buffer, "JPEG", quality=95)
    square = decode(buffer.getvalue(), 8, View(fit=fit, scaled=True))
    np.testing.assert_array_equal(square, decode(buffer.getvalue(), 8, View(fit=fit)))


def test_photos_that_are_not_larger_than_needed_are_as_they_were():
    for size in ((60, 80), (180, 180), (240, 255)):
        assert not apart(jpeg(size), 128, fit="pad").any()
    assert not apart(jpeg((800, 800), "PNG"), 100, fit="pad").any()


def test_too_large_stays_too_large():
    data = bytearray(jpeg((64, 64)))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(UnreadableImage, match="more than 100 million"):
        decode(bytes(data), 16, View(scaled=True))


def test_part_of_the_key_only_where_it_is_used():
    assert "scaled" not in ImageSettings().describe()
    assert ImageSettings(scaled=True).describe()["scaled"] == [8, 4, 2]
    with pytest.raises(InputError, match=r"images\.scaled is 'auto'"):
        ImageSettings(scaled="auto")
    plain, scaled = (read_study("default", [parse_setting(f"images.scaled={value}")]) for value in ("false", "true"))
    assert plain.results_hash() == read_study("default", []).results_hash() != scaled.results_hash()
    assert plain.record()["images"] == {"fit": "pad"}
