"""Metadata never decides over the pixels: damaged, oversized or odd, it is skipped, and the orientation is read."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shelfbench.data.images import UnreadableImage, open_image, photo_size
from shelfbench.data.metadata import orientation, out_of_step, without_metadata

UNDO = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
EXACT = {"JPEG": {"quality": 95, "subsampling": 0}, "PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}}


def quarters(height=16, width=24):
    """An upright picture whose four quarters differ."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (250, 250, 0)
    pixels[: height // 2, width // 2 :] = (0, 250, 0)
    pixels[height // 2 :, : width // 2] = (0, 0, 250)
    return Image.fromarray(pixels)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **{**EXACT.get(kind, {}), **options})
    return buffer.getvalue()


def turned(turn):
    """The upright picture as a camera with this orientation stores it."""
    return quarters() if UNDO[turn] is None else quarters().transpose(UNDO[turn])


def exif(turn, order="<", odd=b"", entries=()):
    """A TIFF structure with an orientation behind an entry whose text lies outside, and other entries."""
    every = [*entries, struct.pack(order + "HHI", 0x112, 3, 1) + struct.pack(order + "HH", turn, 0)]
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "IH", 8, len(every)) + b"".join(every) + bytes(4) + odd


def entry(tag, kind, count, value, order="<"):
    return struct.pack(order + "HHI", tag, kind, count) + value


# Each breaks Pillow's reading of Exif, or its reading of what follows.
BROKEN = {
    "text where a number belongs": [entry(0x11A, 2, 4, b"72\0\0")],
    "text outside of the file": [entry(0x10F, 2, 4000, struct.pack("<I", 100_000))],
    "an entry larger than memory": [entry(0x10F, 5, 2**31, struct.pack("<I", 8))],
    "a directory that contains itself": [entry(tag, 4, 1, struct.pack("<I", 8)) for tag in (0x8769, 0x8825)],
    "an unknown type": [entry(0x10E, 77, 1, b"abcd")],
    "a fraction by zero": [entry(0x11A, 5, 1, struct.pack("<I", 0))],
}


def segment(marker, payload):
    return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload


def chunk(name, payload):
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def in_riff(webp, *chunks):
    """A WebP in the extended format with more chunks."""
    body = webp[12:]
    width, height = Image.open(io.BytesIO(webp)).size
    if body[:4] != b"VP8X":
        size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
        body = b"VP8X" + struct.pack("<I", 10) + b"\x0c\0\0\0" + size + body
    for name, payload in chunks:
        body += name + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def with_exif(data, structure):
    """Put a TIFF structure into a JPEG, PNG or WebP."""
    if data[:2] == b"\xff\xd8":
        return data[:2] + segment(0xE1, b"Exif\0\0" + structure) + data[2:]
    if data[:4] == b"\x89PNG":
        return data[:33] + chunk(b"eXIf", structure) + data[33:]
    return in_riff(data, (b"EXIF", structure))


def pixels(data):
    return np.asarray(open_image(data), int)


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_photo_with_broken_exif_is_upright(kind, turn, broken):
    clean = encoded(turned(turn), kind)
    data = with_exif(clean, exif(turn, entries=BROKEN[broken]))
    assert orientation(data) == turn
    assert np.abs(pixels(data) - np.asarray(quarters(), int)).mean() < 6
    expected = pixels(with_exif(clean, exif(turn)))
    assert np.array_equal(pixels(data), expected)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation_in_every_format_that_has_one(kind, turn, order):
    if kind == "TIFF":
        stored = encoded(turned(turn), kind, tiffinfo={0x112: turn}, big_tiff=order == ">")
    elif kind in ("AVIF", "MPO"):
        seen = Image.Exif()
        seen[0x112] = turn
        stored = encoded(turned(turn), kind, exif=seen, quality=95)
    else:
        stored = with_exif(encoded(turned(turn), kind), exif(turn, order))
    assert np.abs(pixels(stored) - np.asarray(quarters(), int)).mean() < 12


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_orientation_of_xmp_counts_where_exif_is_garbage(kind):
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = encoded(turned(6), kind)
    if kind == "JPEG":
        data = data[:2] + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp) + data[2:]
    elif kind == "PNG":
        data = data[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp) + data[33:]
    else:
        data = in_riff(data, (b"XMP ", xmp))
    data = with_exif(data, b"not exif at all")
    assert np.abs(pixels(data) - np.asarray(quarters(), int)).mean() < 6


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 7])
def test_an_orientation_of_another_type_counts(kind):
    value = {2: b"6\0\0\0", 3: struct.pack("<HH", 6, 0), 4: struct.pack("<I", 6)}.get(kind, b"\6\0\0\0")
    structure = b"II*\0" + struct.pack("<IH", 8, 1) + entry(0x112, kind, 2 if kind == 2 else 1, value) + bytes(4)
    for form in ("JPEG", "PNG", "WEBP"):
        seen = pixels(with_exif(encoded(turned(6), form), structure))
        assert np.abs(seen - np.asarray(quarters(), int)).mean() < 6, form


BOMB = zlib.compress(bytes(3_000_000))
ODD_CHUNKS = {
    "zTXt bomb": chunk(b"zTXt", b"Comment\0\0" + BOMB),
    "iTXt bomb": chunk(b"iTXt", b"Comment\0\1\0\0\0" + BOMB),
    "many texts": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(900_000))) * 90,
    "text that is not compressed": chunk(b"zTXt", b"Comment\0\0garbage"),
    "text with an unknown method": chunk(b"zTXt", b"Comment\0\7" + BOMB),
    "profile bomb": chunk(b"iCCP", b"sRGB\0\0" + BOMB),
    "profile that is none": chunk(b"iCCP", b"sRGB\0\0garbage"),
    "profile with an unknown method": chunk(b"iCCP", b"sRGB\0\7garbage"),
    "gamma without a number": chunk(b"gAMA", b""),
    "colours without numbers": chunk(b"cHRM", b"\1"),
    "density without numbers": chunk(b"pHYs", b"\1"),
    "rendering without a number": chunk(b"sRGB", b""),
    "animation without numbers": chunk(b"acTL", b"\0"),
    "a wrong checksum": chunk(b"tEXt", b"Comment\0hello")[:-1] + b"?",
    "a chunk cut short": chunk(b"tEXt", b"Comment\0" + b"hello" * 9)[:-20],
    "a chunk made longer": chunk(b"tEXt", b"Comment\0hello")[:14] + b"more" + chunk(b"tEXt", b"Comment\0hello")[14:],
}


@pytest.mark.parametrize("odd", ODD_CHUNKS)
@pytest.mark.parametrize("mode", ["RGB", "P", "LA"])
def test_odd_chunks_of_a_png(odd, mode):
    clean = encoded(quarters().convert(mode), "PNG")
    data = clean[:33] + ODD_CHUNKS[odd] + clean[33:]
    assert np.array_equal(pixels(data), pixels(clean))
    assert photo_size(data) == (24, 16)


ODD_SEGMENTS = {
    "a broken index of pictures": segment(0xE2, b"MPF\0" + b"II*\0\xff\xff\xff\xff"),
    "an index of pictures that ends": segment(0xE2, b"MPF\0"),
    "half a colour profile": segment(0xE2, b"ICC_PROFILE\0\2\3" + bytes(900)),
    "colours of Adobe cut short": segment(0xEE, b"Adobe\0d"),
    "Photoshop without contents": segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed"),
    "XMP that is none": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<" * 4000),
    "Exif of nothing": segment(0xE1, b"Exif\0\0"),
    "Exif of garbage": segment(0xE1, b"Exif\0\0" + bytes(range(256))),
    "JFIF of nothing": segment(0xE0, b"JFIF\0"),
    "an empty comment": segment(0xFE, b""),
    "a segment of junk": b"\0\0\0junk",
}


@pytest.mark.parametrize("odd", ODD_SEGMENTS)
def test_odd_segments_of_a_jpeg(odd):
    clean = encoded(quarters(), "JPEG")
    data = clean[:2] + ODD_SEGMENTS[odd] + clean[2:]
    assert np.array_equal(pixels(data), pixels(clean))


def test_a_thumbnail_never_takes_the_place_of_the_photo():
    thumbnail = encoded(Image.new("RGB", (8, 8), "red"), "JPEG")
    clean = encoded(quarters(), "JPEG")
    for lost in (-40, -5, -1, 1, 7, 300, len(thumbnail) - 3):
        payload = b"Exif\0\0" + exif(1) + thumbnail + bytes(50)
        data = segment(0xE1, payload)
        data = data[:2] + struct.pack(">H", len(payload) + 2 - lost) + data[4:]
        assert np.array_equal(pixels(clean[:2] + data + clean[2:]), pixels(clean)), lost
        assert out_of_step(clean[:2] + data + clean[2:])
    for cut in (20, 60, 200, 400):  # the tables of the photo are lost, and those of the thumbnail are there
        with pytest.raises(UnreadableImage):
            open_image(clean[:2] + data + clean[cut + 40 :])


def test_odd_metadata_of_other_formats():
    clean = encoded(quarters(), "GIF", comment=b"hello hello hello")
    at = clean.index(b"hello")
    for data in (
        clean[:at] + b"\xff\xfe\0" + clean[at:],
        clean[: at - 1] + b"\xff" + clean[at:],
        clean[:at] + clean[at + 9 :],
    ):
        assert np.array_equal(pixels(data), pixels(clean))
    clean = encoded(quarters(), "JPEG2000")
    box = clean.index(b"jp2c") - 4
    for data in (struct.pack(">I", 30) + b"xml " + b"<broken" * 3 + b"x", struct.pack(">I", 3000) + b"uuid" + bytes(9)):
        assert np.abs(pixels(clean[:box] + data + clean[box:]) - pixels(clean)).max() == 0
    seen = Image.Exif()
    seen[0x10F], seen[0x112] = "a camera", 6
    clean = encoded(turned(6), "AVIF", exif=seen)
    at = clean.index(b"a camera")
    at = max(clean.rfind(header, 0, at) for header in (b"II*\0", b"MM\0*"))
    data = clean[:at] + b"gone" + clean[at + 4 :]
    with pytest.raises(ValueError, match="Exif"):
        Image.open(io.BytesIO(data))
    assert np.array_equal(pixels(data), pixels(clean))
    clean = encoded(quarters(), "WEBP")
    for data in (in_riff(clean, (b"XMP ", b"\xff" * 31)), in_riff(clean, (b"EXIF", b"?"), (b"ICCP", b"none"))):
        assert np.array_equal(pixels(data), pixels(clean))
        assert np.array_equal(pixels(data[:-7]), pixels(clean))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg", "tiff_adobe_deflate"])
def test_odd_tags_of_a_tiff(compression):
    clean = encoded(turned(3), "TIFF", compression=compression, tiffinfo={0x10E: "what a scanner notes", 0x112: 3})
    [start] = struct.unpack_from("<I", clean, 4)
    at = next(at for at in range(start + 2, len(clean), 12) if clean[at : at + 2] == b"\x0e\x01")
    for odd in (
        entry(0x11A, 2, 4, b"72\0\0"),
        entry(0x10E, 2, 2**31, bytes(4)),
        entry(0x8773, 7, 9, b"\xff\xff\xff\xff"),
        entry(0x103, 2, 4, b"none"),
        bytes(12),
    ):
        data = clean[:at] + odd + clean[at + 12 :]
        if odd[:2] != b"\x03\x01":  # the compression makes pixels
            assert np.array_equal(pixels(data), pixels(clean))
        assert np.array_equal(pixels(without_metadata(data)), np.rot90(pixels(clean), 2)) or compression == "jpeg"
    for turn in range(1, 9):
        big = encoded(turned(turn), "TIFF", compression=compression, big_tiff=True, tiffinfo={0x112: turn})
        assert np.abs(pixels(big) - np.asarray(quarters(), int)).mean() < 12
        assert np.abs(pixels(without_metadata(big)) - np.asarray(turned(turn), int)).mean() < 12


CLEAN = {
    kind: encoded(Image.effect_noise((40, 30), 60).convert("RGB"), kind)
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "JPEG2000", "AVIF", "BMP")
}
SEEN = {kind: pixels(data) for kind, data in CLEAN.items()}


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP"]),
    payload=st.binary(max_size=200),
    prefix=st.sampled_from([b"", exif(1)]),
)
def test_any_bytes_as_metadata_leave_the_pixels(kind, payload, prefix):
    payload, clean = prefix + payload, CLEAN[kind]
    if orientation(with_exif(clean, payload)) == 1:
        assert np.array_equal(pixels(with_exif(clean, payload)), SEEN[kind])
    if kind == "JPEG":
        more = b"".join(segment(marker, payload) for marker in (0xE2, 0xEC, 0xED, 0xFE))
        data = clean[:2] + more + clean[2:]
    elif kind == "PNG":
        more = b"".join(chunk(name, payload) for name in (b"iCCP", b"zTXt", b"iTXt", b"gAMA", b"teSt"))
        data = clean[:33] + more + clean[33:]
    else:
        data = in_riff(clean, (b"XMP ", payload), (b"NONE", payload))
    assert np.array_equal(pixels(data), SEEN[kind])


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(["JPEG", "PNG"]),
    at=st.integers(0, 60),
    more=st.binary(max_size=12),
    less=st.integers(0, 12),
)
def test_bytes_that_come_and_go_in_metadata_leave_the_pixels(kind, at, more, less):
    """The lengths are wrong then: the photo has its pixels, or a reason, never others."""
    inside = exif(1) + b"what a camera notes about itself" * 2
    whole = with_exif(CLEAN[kind], inside)
    start = whole.index(inside[:4]) + at
    data = whole[:start] + more + whole[start + less :]
    try:
        assert np.array_equal(pixels(data), SEEN[kind]) or orientation(data) > 1
    except UnreadableImage as error:
        assert str(error)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), kind=st.sampled_from(sorted(CLEAN)))
def test_any_damage_gives_pixels_or_a_reason(data, kind):
    damaged = bytearray(CLEAN[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    try:
        assert open_image(bytes(damaged)).mode == "RGB"
    except UnreadableImage as error:
        assert str(error)
        assert "\n" not in str(error)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "JPEG2000"])
def test_pixels_that_are_cut_off_stay_unreadable(kind):
    data = CLEAN[kind] if kind not in ("JPEG", "PNG") else with_exif(CLEAN[kind], b"garbage")
    with pytest.raises(UnreadableImage):
        open_image(data[: len(data) * 2 // 3])


@pytest.mark.parametrize("kind", sorted(CLEAN))
def test_nothing_of_the_pixels_is_left_out(kind):
    bare = without_metadata(CLEAN[kind])
    assert bare is None or np.array_equal(pixels(bare), SEEN[kind])


def test_a_directory_at_an_offset_of_64_bits_is_a_reason():
    photo = b"II+\0\x08\0\0\0" + b"\xff" * 8 + bytes(200)
    with pytest.raises(UnreadableImage):
        open_image(photo)
