"""Bytes that change, come or go in a photo's metadata leave its pixels, or give a reason: never other pixels."""

import struct
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from shelfbench.data.images import UnreadableImage, open_image
from shelfbench.data.metadata import orientation
from tests.data.test_metadata import chunk, encoded, exif, in_riff, pixels, segment

PHOTO = Image.effect_noise((48, 32), 60).convert("RGB")
THUMBNAIL = encoded(Image.new("RGB", (16, 12), "red"), "JPEG")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b"<x:xmpmeta><rdf:Description/></x:xmpmeta>"


def exif_of_a_camera():
    seen = Image.Exif()
    seen[0x10F], seen[0x110], seen[0x112], seen[0x11A] = "a maker of cameras", "the model with a long name", 1, 72.0
    seen[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    return seen.tobytes() + THUMBNAIL + bytes(20)


def around(kind):
    """What stands before the metadata of a photo, the metadata, and what stands behind."""
    clean = encoded(PHOTO, kind)
    camera = exif_of_a_camera()
    if kind == "JPEG":
        inside = [
            (0xE1, camera),
            (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
            (0xE2, b"ICC_PROFILE\0\1\1" + PROFILE),
        ]
        return clean[:20], b"".join(segment(*one) for one in [*inside, (0xFE, b"a comment")]), clean[20:]
    if kind == "PNG":
        texts = chunk(b"tEXt", b"Comment\0" + b"text" * 9) + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
        return clean[:33], chunk(b"eXIf", camera[6:]) + texts + chunk(b"gAMA", bytes(4)), clean[33:]
    if kind == "GIF":
        start = 13 + 3 * 256 if clean[10] & 7 == 7 else 13 + (3 << ((clean[10] & 7) + 1))
        return clean[:start], b"!\xfe\x12a comment of a tool\0"[:21] + b"\0", clean[start:]
    whole = in_riff(clean, (b"EXIF", camera), (b"XMP ", XMP))
    at = whole.index(b"EXIF")
    return whole[:at], whole[at:], b""


PARTS = {kind: around(kind) for kind in ("JPEG", "PNG", "WEBP", "GIF")}
SEEN = {kind: pixels(encoded(PHOTO, kind)) for kind in PARTS}


@pytest.mark.parametrize("kind", PARTS)
def test_the_undamaged_photo_has_the_pixels(kind):
    before, metadata, after = PARTS[kind]
    assert len(metadata) > 20
    assert np.array_equal(pixels(before + metadata + after), SEEN[kind])


@settings(max_examples=400, deadline=None)
@given(kind=st.sampled_from(sorted(PARTS)), data=st.data())
def test_damage_of_the_metadata_leaves_the_pixels(kind, data):
    before, metadata, after = PARTS[kind]
    damaged = bytearray(metadata)
    # the first bytes of a GIF's extension say whether it changes pixels, and a comma or a zero may begin a frame
    first, odd = (3, b"\0,!") if kind == "GIF" else (0, b"")
    for _ in range(data.draw(st.integers(1, 3), "how often")):
        at = data.draw(st.integers(first, max(first, len(damaged) - 1)), "where")
        more = data.draw(st.binary(max_size=30), "what comes").translate(None, odd)
        damaged[at : at + data.draw(st.integers(0, 30), "how much goes")] = more
    photo = before + bytes(damaged) + after
    try:
        assert np.array_equal(pixels(photo), SEEN[kind]) or orientation(photo) > 1
    except UnreadableImage as error:
        assert str(error)


def test_a_thumbnail_without_its_beginning_is_not_the_photo():
    before, metadata, after = PARTS["JPEG"]
    at = metadata.index(THUMBNAIL)
    for lost in range(2, 40):
        photo = before + metadata[:at] + metadata[at + lost :] + after
        assert np.array_equal(pixels(photo), SEEN["JPEG"]), lost


def test_a_thumbnail_that_damage_made_the_larger_picture_is_not_the_photo():
    before, metadata, after = PARTS["JPEG"]
    start = metadata.index(THUMBNAIL)
    frame = metadata.index(b"\xff\xc0", start)
    for tall in (2, 12, 120, 250):
        damaged = bytearray(metadata)
        damaged[frame + 5 : frame + 7] = struct.pack(">H", 256 * tall)  # a thumbnail of 256 rows and more
        del damaged[start - 17 : start + 2]  # and without its beginning
        with pytest.raises(UnreadableImage, match="its photo cannot be told from its thumbnail"):
            open_image(before + bytes(damaged) + after)


def test_a_damaged_segment_of_adobe_still_says_how_colours_are_stored():
    clean = encoded(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "JPEG")
    at = clean.index(b"\xff\xee")
    for length in (b"\0\x40", b"\0\x0b", b"\xff\xff"):
        data = clean[: at + 2] + length + clean[at + 4 :]
        assert np.array_equal(pixels(data), pixels(clean)), length


BUSY = {
    "a JPEG of filling": b"\xff\xd8\xff\xe1\0\x20" + b"\xff" * 1_000_000,
    "a JPEG of empty segments": b"\xff\xd8\xff\xe1\0\x09" + b"\xff\xe1\0\2" * 100_000,
    "a JPEG of headers": b"\xff\xd8\xff\xe1\0\x09" + PARTS["JPEG"][2][:600] * 1_500,
    "a JPEG of thumbnails": b"\xff\xd8\xff\xe1\0\x09" + b"\xff\xd8\xff\xdb" * 100_000,
    "a PNG of damaged chunks": PARTS["PNG"][0] + b"\0\x10\0\0IDAT" * 100_000,
    "a PNG of damaged texts": PARTS["PNG"][0] + b"\0\0\0\1tEXt" * 100_000,
    "a GIF of controls": PARTS["GIF"][0] + b"!\xf9\4....\0!\xfe\1" * 100_000,
    "a TIFF of entries": b"II+\0\x08\0\0\0" + b"\x10\0\0\0\0\0\0\0" + b"\xff" * 7 + b"\0" + bytes(1_000_000),
    "a WebP of chunks": b"RIFF\0\0\0\0WEBP" + b"NONE\0\0\0\0" * 100_000,
    "a JPEG 2000 of boxes": b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x08uuid" * 100_000,
}


@pytest.mark.parametrize("busy", BUSY)
def test_files_that_are_made_to_keep_it_busy_are_refused_soon(busy):
    started = time.process_time()
    with pytest.raises(UnreadableImage):
        open_image(BUSY[busy])
    assert time.process_time() - started < 5


def test_metadata_behind_the_pixels():
    clean = encoded(PHOTO, "PNG")
    end = len(clean) - 12
    for more in (chunk(b"eXIf", b"garbage"), chunk(b"zTXt", b"a\0\0garbage"), chunk(b"eXIf", exif(1))[:-3] + b"bad"):
        assert np.array_equal(pixels(clean[:end] + more + clean[end:]), SEEN["PNG"])
    jpeg = encoded(PHOTO, "JPEG")
    assert np.array_equal(pixels(jpeg + bytes(90) + THUMBNAIL), SEEN["JPEG"])


def test_a_truncated_photo_with_damaged_metadata_has_a_reason():
    for kind in ("JPEG", "PNG", "WEBP", "GIF"):
        before, metadata, after = PARTS[kind]
        whole = before + metadata[:-9] + after
        for cut in range(60, len(whole) // 2, 97):
            with pytest.raises(UnreadableImage):
                open_image(whole[:cut])
