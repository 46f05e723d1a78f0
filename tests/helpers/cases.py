"""Small catalogues as real shops have them: five categories of shapes, each catalogue with one difficulty."""

from __future__ import annotations

import csv
import io
import json
import struct
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

KINDS = ("circle", "square", "triangle", "bars", "cross")
PARTS = (("train", 0, 28), ("validation", 28, 34), ("test", 34, 40))


def shape(kind: int, seed: int, size: int = 64) -> Image.Image:
    """Draw one noisy shape on white."""
    rng = np.random.default_rng([kind, seed])
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    colour = tuple(int(value) for value in rng.integers(0, 160, 3))
    margin, (right, down) = int(rng.integers(8, 16)), rng.integers(-4, 5, 2)
    box = (margin + right, margin + down, size - margin + right, size - margin + down)
    left, top, end, bottom = box
    if kind == 0:
        draw.ellipse(box, fill=colour)
    elif kind == 1:
        draw.rectangle(box, fill=colour)
    elif kind == 2:
        draw.polygon([((left + end) / 2, top), (end, bottom), (left, bottom)], fill=colour)
    elif kind == 3:
        for bar in range(4):
            draw.rectangle((left + bar * 12, top, left + bar * 12 + 5, bottom), fill=colour)
    else:
        draw.line((left, (top + bottom) / 2, end, (top + bottom) / 2), fill=colour, width=9)
        draw.line(((left + end) / 2, top, (left + end) / 2, bottom), fill=colour, width=9)
    noisy = np.asarray(image, int) + rng.normal(0, 8, (size, size, 3)).astype(int)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """Encode an image."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def put(path: Path, data: bytes) -> None:
    """Write a file, with the folders around it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write_rows(path: Path, rows: list[list[str]], header=("file_name", "category"), **options) -> None:
    """Write a CSV file; `options` are those of `open` and `csv.writer`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoding = options.pop("encoding", "utf-8")
    with open(path, "w", encoding=encoding, newline="") as handle:
        writer = csv.writer(handle, **options)
        writer.writerow(header)
        writer.writerows(rows)


def folders(root: Path) -> Path:
    """Draw a folder of each category, with 40 photos."""
    for kind, name in enumerate(KINDS):
        for number in range(40):
            put(root / name / f"p{kind}_{number:03}.jpg", encoded(shape(kind, number)))
    return root


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _with_exif(jpeg: bytes, entries: list[tuple[int, int, int, bytes]]) -> bytes:
    """Return a JPEG with an Exif segment of raw TIFF entries (tag, type, count, four bytes)."""
    tiff = b"II*\0" + struct.pack("<IH", 8, len(entries))
    tiff += b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries) + struct.pack("<I", 0)
    payload = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def broken_metadata(root: Path) -> None:
    """Draw folders, in one of which the photos have broken metadata around whole pixels."""
    folders(root)
    for number in range(40):
        path, image = root / "cross" / f"p4_{number:03}.jpg", shape(4, number)
        path.unlink()
        png = encoded(image, "PNG")
        if number % 4 == 0:
            put(path.with_suffix(".png"), png[:33] + _chunk(b"eXIf", b"not exif at all") + png[33:])
        elif number % 4 == 1:
            turned = encoded(image.transpose(Image.Transpose.ROTATE_90), quality=90)
            put(path, _with_exif(turned, [(0x112, 3, 1, struct.pack("<HH", 6, 0)), (0x11A, 2, 4, b"72\0\0")]))
        elif number % 4 == 2:
            text = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 3_000_000))
            put(path.with_suffix(".png"), png[:33] + text + png[33:])
        else:
            put(path.with_suffix(".webp"), encoded(image, "WEBP", quality=90, exif=b"Exif\0\0garbage"))


def odd_suffixes(root: Path) -> None:
    """Draw folders with JPEG 2000, truncated HEIC, photos without a suffix, and litter."""
    folders(root)
    put(root / ".ipynb_checkpoints" / "x.jpg", encoded(shape(0, 1)))
    put(root / "circle" / "Thumbs.db", b"x")
    for number in range(30):
        put(root / "ring" / f"r{number}.jp2", encoded(shape(0, 100 + number), "JPEG2000"))
    for number in range(10):
        put(root / "bars" / f"phone{number}.HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 200)
        put(root / "cross" / f"noext{number}", encoded(shape(4, 100 + number)))


def with_table(root: Path, name: Callable[[str], str] = str, category: Callable[[int, int], str] | None = None, **how):
    """Draw ``images/`` and ``metadata.csv``; `name` and `category` make the cells, `how` is for `write_rows`."""
    rows = []
    for kind in range(5):
        for number in range(40):
            file = f"images/p{kind}_{number}.jpg"
            put(root / file, encoded(shape(kind, number)))
            rows.append([name(file), category(kind, number) if category else KINDS[kind]])
    write_rows(root / "metadata.csv", rows, **how)


def semicolon(root: Path) -> None:
    """Draw a table as Excel writes it in half of Europe."""
    with_table(root, delimiter=";")


def cp1252(root: Path) -> None:
    """Draw a table in the encoding of Windows."""
    with_table(root, encoding="cp1252", category=lambda kind, _: ("Caf\u00e9", "\u00c9t\u00e9", *KINDS[2:])[kind])


def backslash(root: Path) -> None:
    """Draw a table with the paths of Windows."""
    with_table(root, name=lambda file: file.replace("/", "\\"))


def folder_left_out(root: Path) -> None:
    """Draw a table whose paths lack the folder."""
    with_table(root, name=lambda file: file.split("/")[1])


def _two_forms(kind: int, number: int) -> str:
    text = ("Caf\u00e9", "\u00c9t\u00e9", "bars", "cross", "square")[kind]
    return unicodedata.normalize("NFD", text) + (" " if text == "bars" else "") if number % 2 else text


def two_forms(root: Path) -> None:
    """Draw a table with names composed and decomposed, and a trailing blank."""
    with_table(root, category=_two_forms)


def json_lines(root: Path) -> None:
    """Draw ``metadata.jsonl``."""
    with_table(root)
    with open(root / "metadata.csv", encoding="utf-8", newline="") as handle:
        lines = [json.dumps(row) for row in csv.DictReader(handle)]
    (root / "metadata.csv").unlink()
    (root / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def split_by_folder(root: Path) -> None:
    """Draw a table in the root, and the files in ``train``, ``validation`` and ``test``."""
    rows = []
    for kind in range(5):
        for part, first, last in PARTS:
            for number in range(first, last):
                put(root / part / f"p{kind}_{number}.jpg", encoded(shape(kind, number)))
                rows.append([f"{part}/p{kind}_{number}.jpg", KINDS[kind]])
    write_rows(root / "metadata.csv", rows)


def table_in_each_part(root: Path) -> None:
    """Draw two folders, each with its table."""
    for part in range(2):
        rows = [
            [f"p{kind}_{number}.jpg", KINDS[kind]] for kind in range(5) for number in range(part * 20, part * 20 + 20)
        ]
        for name, _ in rows:
            kind, number = name[1:-4].split("_")
            put(root / f"part-{part:03}" / name, encoded(shape(int(kind), int(number))))
        write_rows(root / f"part-{part:03}" / "metadata.csv", rows)


def train_testing(root: Path) -> None:
    """Draw ``train`` and ``testing``, each with the same categories."""
    for part, first, last in (("train", 0, 30), ("testing", 30, 40)):
        for kind, name in enumerate(KINDS):
            for number in range(first, last):
                put(root / part / name / f"p{kind}_{number}.jpg", encoded(shape(kind, number)))


def _shard(path: Path, rows: list[tuple[int, int]], codes: list[int], embedded: bool = True) -> None:
    """Write a shard as Hugging Face does: images, and a ClassLabel whose names stand in the schema."""
    path.parent.mkdir(parents=True, exist_ok=True)
    features = {"image": {"_type": "Image"}, "category": {"names": list(KINDS), "_type": "ClassLabel"}}
    images = [
        {"bytes": encoded(shape(*row)) if embedded else None, "path": f"images/p{row[0]}_{row[1]}.jpg"} for row in rows
    ]
    columns = {
        "image": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        "category": pa.array(codes, pa.int64()),
    }
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)


def hidden_labels(root: Path) -> None:
    """Draw shards whose test part has the label -1 throughout."""
    for part, first, last in PARTS:
        rows = [(kind, number) for kind in range(5) for number in range(first, last)]
        codes = [-1 if part == "test" else kind for kind, _ in rows]
        _shard(root / f"{part}-00000-of-00001.parquet", rows, codes)


def paths_only(root: Path) -> None:
    """Draw a shard with paths of photos that are not there."""
    rows = [(kind, number) for kind in range(5) for number in range(40)]
    _shard(root / "train.parquet", rows, [kind for kind, _ in rows], embedded=False)


def untrained_categories(root: Path) -> None:
    """Draw a split whose test part has two categories that train lacks."""
    for part, first, last in (*PARTS[:2], ("test", 34, 42)):
        for kind in range(5 if part == "test" else 3):
            for number in range(first, last):
                put(root / part / KINDS[kind] / f"p{kind}_{number}.jpg", encoded(shape(kind, number)))
