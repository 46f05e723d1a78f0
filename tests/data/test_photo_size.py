"""The size at which a network sees photos: the rule, and the sample that it rests on."""

import io
import random
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shelfbench.data.catalogue import Absent
from shelfbench.data.images import UnreadableImage, photo_size
from shelfbench.data.photo_size import LEAST, SAMPLE, STEP, PhotoSize, choose_size, measure
from tests.helpers.photos import InMemoryImages, picture

SIDES = st.floats(1, 20_000)
MADE_FOR = st.integers(32, 600)


@given(SIDES, MADE_FOR)
def test_the_size_is_a_multiple_of_32_or_the_network_s_own_and_never_above_it(side, made_for):
    pixels = choose_size(PhotoSize(side, 10), made_for).pixels
    assert pixels <= made_for
    assert pixels == made_for or (pixels % STEP == 0 and pixels >= LEAST)
    assert pixels >= min(made_for, side), "no photo loses detail that the network could take"


@given(SIDES, SIDES, MADE_FOR)
def test_larger_photos_are_never_seen_smaller(one, other, made_for):
    small, large = (choose_size(PhotoSize(side, 10), made_for).pixels for side in sorted((one, other)))
    assert small <= large


@pytest.mark.parametrize(
    ("side", "made_for", "pixels"),
    [
        (80, 224, 128),  # the photos of `fashion`
        (81, 224, 160),
        (28, 224, 96),
        (180, 224, 224),
        (180, 299, 288),
        (400, 224, 224),
        (400, 299, 299),
        (400, 64, 64),
    ],
)
def test_sizes_by_photo_and_network(side, made_for, pixels):
    chosen = choose_size(PhotoSize(side, 500), made_for)
    assert chosen.pixels == pixels
    assert f"{side} px (median of a sample of 500)" in chosen.reason
    assert "made for" in chosen.reason


def test_the_sample_is_the_median_of_the_side_that_fills_the_square():
    images = InMemoryImages([picture(size=size) for size in ((30, 40), (60, 80), (300, 20))])
    assert measure(images, "pad") == PhotoSize(80, 3)
    assert measure(images, "stretch") == PhotoSize(80, 3)
    assert measure(images, "crop") == PhotoSize(30, 3)


def test_the_sample_is_spread_over_the_catalogue_and_always_the_same():
    class Counted(InMemoryImages):
        asked = ()

        def read(self, indices):
            self.asked = [*self.asked, *map(int, indices)]
            assert len(indices) <= 64, "photos of megabytes must not all be in memory"
            return super().read(indices)

    small, large = picture(size=(20, 20)), picture(size=(40, 40))
    images = Counted([small] * 1200 + [large] * 1800)
    assert measure(images, "pad") == measure(images, "pad") == PhotoSize(40, SAMPLE)
    first, again = images.asked[:SAMPLE], images.asked[SAMPLE:]
    assert first == again == sorted(set(first))
    assert sum(index < 1200 for index in first) == SAMPLE * 1200 // 3000


def test_photos_that_cannot_be_read_do_not_count_and_without_any_the_network_keeps_its_size():
    broken = [b"", b"<html>", Absent("the file does not exist"), picture()[:5]]
    assert measure(InMemoryImages([*broken, picture(size=(100, 70))]), "pad") == PhotoSize(100, 5)
    for content in (broken, []):
        none = measure(InMemoryImages(content), "pad")
        assert none == PhotoSize(0, len(content))
        chosen = choose_size(none, 224)
        assert chosen.pixels == 224
        assert "can be read" in chosen.reason
    assert "not here" in choose_size(None, 224).reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_header_is_enough(kind):
    data = picture(size=(317, 200), kind=kind)
    assert photo_size(data) == (317, 200)
    if kind in ("JPEG", "PNG"):
        assert photo_size(data[: len(data) * 9 // 10]) == (317, 200), "nothing is decoded"
    with pytest.raises(UnreadableImage):
        photo_size(data[:3])


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
def test_the_size_of_a_damaged_photo_is_read_or_it_is_unreadable(form):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "text" * 20
    made = io.BytesIO()
    Image.new("RGB", (40, 30), "navy").save(made, form, **({} if form == "GIF" else {"exif": exif}))
    rng = random.Random(3)
    read = 0
    for _ in range(150):
        data = bytearray(made.getvalue())
        at = rng.randrange(min(len(data), 200))
        data[at : at + rng.choice([0, 1, 4])] = rng.choice([b"", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f", b"\0"])
        with suppress(UnreadableImage):
            width, height = photo_size(bytes(data))
            assert width >= 0 <= height
            read += 1
    assert 0 < read < 150
