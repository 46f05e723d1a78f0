"""How photos become squares in a network's own way; tests/deep/features/test_timm_view.py compares it with timm."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shelfbench.data.images import ImageSettings, decode
from shelfbench.data.photo_size import measure
from shelfbench.data.view import OWN_FITS, STUDY_FITS, Place, View, view_for

BLUE = (10, 20, 200)


def png(width, height, colour=(255, 0, 0)):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_middle_of_a_photo():
    assert View(fit="center", crop=0.875).place((60, 80), 224) == Place((256, 341), 16, 58)
    assert View(fit="center", crop=0.875).place((80, 60), 224) == Place((341, 256), 58, 16)
    assert View(fit="squash", crop=0.875).place((60, 80), 224) == Place((256, 256), 16, 16)
    assert View(fit="border").place((60, 80), 224) == Place((168, 224), -28, 0)
    assert View(fit="border", crop=0.875).place((60, 80), 224) == Place((192, 256), -16, 16)


sides = st.integers(1, 2000)


@given(sides, sides, st.sampled_from(OWN_FITS), st.floats(0.5, 1.0), st.integers(32, 299))
def test_a_photo_fills_the_square_unless_it_has_a_border(width, height, fit, crop, pixels):
    place = View(fit=fit, crop=crop).place((width, height), pixels)
    left, top, right, bottom = place.seen(pixels)
    assert 0 <= left < right <= place.size[0]
    assert 0 <= top < bottom <= place.size[1]
    if fit != "border":
        assert (right - left, bottom - top) == (pixels, pixels)
    else:
        assert max(place.size) >= pixels
    for begin, side, offset in ((left, place.size[0], place.left), (top, place.size[1], place.top)):
        after = side - offset - pixels  # as much is left over behind the square as before it
        assert abs(offset - after) <= 1, (begin, side)


@pytest.mark.parametrize("fit", OWN_FITS)
def test_extreme_photos_take_little_memory(fit):
    for size in ((3000, 1), (1, 3000)):
        square = decode(png(*size), 96, View(fit=fit, resample="bicubic", crop=0.9, background=BLUE))
        assert square.shape == (96, 96, 3)
        assert (square == (255, 0, 0)).all(axis=-1).any()


def test_the_background_is_the_network_s():
    square = decode(png(100, 50), 64, View(fit="border", resample="bilinear", crop=1.0, background=BLUE))
    assert square[0, 0].tolist() == list(BLUE)
    assert square[32, 32].tolist() == [255, 0, 0]
    assert (square == BLUE).all(axis=-1).sum() == 64 * 32


def test_the_study_s_ways_are_described_as_ever():
    images = ImageSettings("crop").describe()
    for fit in STUDY_FITS:
        assert View(fit=fit).describe(images) is images
    own = View(fit="center", resample="bilinear", crop=0.9).describe(images)
    assert own == {**images, "fit": "center", "crop": 0.9, "resample": "bilinear", "background": [255, 255, 255]}


def test_an_extractor_s_own_view_comes_first():
    class Extractor:
        view = None

    extractor = Extractor()
    assert view_for(extractor, "crop") == View(fit="crop")
    extractor.view = View(fit="squash")
    assert view_for(extractor, "crop") == View(fit="squash")
    assert view_for(object(), "pad") == View()


@pytest.mark.parametrize(
    "values",
    [
        {"fit": "middle"},
        {"resample": "random"},
        {"fit": "center", "crop": 0.01},
        {"fit": "center", "crop": float("nan")},
        {"fit": "center", "crop": True},
        {"fit": "center", "crop": "1"},
        {"fit": "pad", "crop": 0.9},
        {"background": (1, 2)},
        {"background": (1, 2, 300)},
        {"background": (1, 2, 3.5)},
    ],
)
def test_other_values_are_refused(values):
    with pytest.raises(ValueError, match=r"."):
        View(**values)


def test_what_fills_the_square_is_what_counts_for_the_size():
    class Images:
        def __len__(self):
            return 3

        def read(self, indices):
            return [png(60, 80) for _ in indices]

    assert measure(Images(), "pad").side == 80
    assert measure(Images(), "crop").side == 60
    assert measure(Images(), View(fit="center", crop=0.9)).side == 54
    assert measure(Images(), View(fit="border", crop=0.5)).side == 40


def test_in_words():
    assert View(fit="center", crop=0.875).says(224) == (
        "its own transform: the central 224 px of a photo whose shorter side becomes 256 (bicubic)"
    )
    whole = "its own transform: all of a photo whose sides both become 224 (bilinear)"
    assert View(fit="squash", resample="bilinear").says(224) == whole
    assert View(fit="crop").says(224) == "photos are cropped to their central square"
