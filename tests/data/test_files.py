"""Photos are found by their content; what is skipped is named; each way of missing has its reason."""

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shelfbench.base.errors import InputError
from shelfbench.data.catalogue import Absent
from shelfbench.data.images import FORMATS
from shelfbench.data.signatures import HEAD, kind_of
from shelfbench.data.sources.files import SUFFIXES, FileImages, files_below, is_photo, read_file, skipped
from tests.helpers.photos import noise_picture


def encoded(kind):
    buffer = io.BytesIO()
    Image.effect_noise((20, 24), 60).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind not in ("MPO", "TGA")])
def test_every_format_that_is_read_is_known_by_its_first_bytes(kind, tmp_path):
    data = encoded(kind)
    assert kind_of(data[:HEAD]).photo
    (tmp_path / "without").write_bytes(data)
    (tmp_path / "wrong.txt").write_bytes(data)
    assert is_photo(tmp_path / "without")
    assert is_photo(tmp_path / "wrong.txt")


def boxes(brand, *others):
    return b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0" + b"".join(others) + bytes(40)


@pytest.mark.parametrize(
    ("data", "name", "photo"),
    [
        (boxes(b"heic", b"mif1"), "HEIC", True),
        (boxes(b"mif1", b"heic"), "HEIC", True),
        (boxes(b"mif1", b"avif"), "AVIF", True),
        (boxes(b"crx "), "a raw photo", True),
        (boxes(b"isom", b"mp42"), "a video", False),
        (boxes(b"qt  "), "a video", False),
        (b"\xff\x0a" + bytes(20), "JPEG XL", True),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20), "JPEG XL", True),
        (b"8BPS\0\1" + bytes(20), "a Photoshop file", True),
        (b"%PDF-1.7\n", "a PDF", False),
        (b"\n<!DOCTYPE html><html>", "HTML", False),
        (b"\xef\xbb\xbf<html>", "HTML", False),
        (b'<?xml version="1.0"?>\n<svg xmlns="x">', "an SVG drawing", False),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "XML", False),
        (b"PK\3\4" + bytes(30), "an archive", False),
        (b"RIFF\0\0\0\0AVI LIST", "a video", False),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio", False),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a Git LFS pointer (fetch the file with git lfs pull)",
            False,
        ),
    ],
)
def test_what_a_file_is(data, name, photo):
    kind = kind_of(data)
    assert (kind.name, kind.photo) == (name, photo)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "BMW X5, parts",
        "P5 is a size",
        "P1 2 and so on",
        "MM",
        "II",
        "GIF",
        "BM\n" * 30,
        "\n" * 90,
        "(\0\0\0",
    ],
)
def test_text_is_not_a_photo(text, tmp_path):
    (tmp_path / "notes").write_text(text)
    assert not is_photo(tmp_path / "notes")


def test_photos_below_a_folder(tmp_path):
    photo = noise_picture(1)
    names = {
        "b/2.jpg": photo,
        "b/10.JPG": photo,
        "b/no_suffix": photo,
        "b/phone.HEIC": boxes(b"heic"),
        "b/new.jxl": b"\xff\x0a",
        "b/empty.png": b"",
        "b/page.jpg": b"<html>",
        "b/notes.txt": b"notes",
        "b/clip.mp4": boxes(b"isom"),
        "b/Thumbs.db": b"x",
        "b/.hidden.jpg": photo,
        "b/c/deep.webp": encoded("WEBP"),
        ".ipynb_checkpoints/x.jpg": photo,
        "__MACOSX/b/._2.jpg": photo,
        "a.bin": photo,
    }
    for name, data in names.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "b" / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "b" / "linked").symlink_to("2.jpg")
    (tmp_path / "b" / "folder.jpg").mkdir()
    (tmp_path / "b" / "again").symlink_to("..")
    os.mkfifo(tmp_path / "b" / "pipe.jpg")
    found, others = files_below(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        "a.bin",
        *(f"b/{name}" for name in ("10.JPG", "2.jpg", "empty.png", "gone.jpg", "linked", "new.jxl", "no_suffix")),
        *(f"b/{name}" for name in ("page.jpg", "phone.HEIC", "c/deep.webp")),
    ]
    assert [path.name for path in others] == ["Thumbs.db", "clip.mp4", "notes.txt", "pipe.jpg"]
    assert skipped(others[1:]) == "skipped 3 files that are not images: clip.mp4, notes.txt, pipe.jpg"
    many = [Path(f"{number}.txt") for number in range(4000)] + [Path("a.PDF"), Path("README")]
    assert skipped(many).endswith("0.txt, 1.txt, 2.txt, ... (4,000 .txt, 1 .pdf, 1 without a suffix)")


def test_a_folder_that_may_not_be_read_is_not_passed_over(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    listed = os.scandir

    def scandir(where):
        if where.endswith("a"):
            raise PermissionError(13, "Permission denied", where)
        return listed(where)

    monkeypatch.setattr("shelfbench.data.sources.files.os.scandir", scandir)
    with pytest.raises(PermissionError):
        files_below(tmp_path)


def test_names_that_are_not_utf8_are_refused(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/c\xff.jpg")).write_bytes(b"x")
    with pytest.raises(InputError, match="is not UTF-8"):
        files_below(tmp_path)


def test_each_way_of_missing_has_its_reason(tmp_path, monkeypatch):
    (tmp_path / "photo.png").write_bytes(noise_picture(1))
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    reasons = {
        "gone.png": "the file does not exist",
        "photo.png/x.png": "the file does not exist",
        "link.png": "a link to a file that does not exist",
        "empty.png": "the file is empty",
        "folder.png": "a folder, not a photo",
        "pipe.png": "a pipe or a device, not a photo",
        "nul\0.png": "its name is not the name of a file",
        "x" * 300 + ".png": "the file cannot be opened (File name too long)",
    }
    names = np.array(["photo.png", *reasons], object)
    first, *others = FileImages(tmp_path, names).read(range(len(names)))
    assert first == noise_picture(1)
    assert all(isinstance(data, Absent) for data in others)
    assert dict(zip(reasons, (data.reason for data in others), strict=True)) == reasons
    (tmp_path / "large.png").write_bytes(b"x" * 100)
    assert read_file(tmp_path / "large.png", 99).reason == "larger than 0 MiB (dataset.largest)"

    def refuse(path, flags):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("shelfbench.data.sources.files.os.open", refuse)
    assert read_file(tmp_path / "photo.png").reason == "no permission to read the file"
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    monkeypatch.undo()
    for _ in range(20):
        read_file(tmp_path / "folder.png")
    assert not before or len(os.listdir("/proc/self/fd")) <= before + 2


def test_suffixes_need_no_look_into_the_file(tmp_path, monkeypatch):
    for number in range(20):
        shutil.copy(__file__, tmp_path / f"{number}{sorted(SUFFIXES)[number % len(SUFFIXES)]}")
    monkeypatch.setattr("shelfbench.data.sources.files.kind_of", lambda head: pytest.fail("it was looked into"))
    assert len(files_below(tmp_path)[0]) == 20
