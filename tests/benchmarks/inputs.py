"""What the rows of speed work on; the same for every commit, so nothing here imports shelfbench."""

import io
import os
import struct
from pathlib import Path

import bson
import numpy as np
from PIL import Image
from skimage import data as photos


def beta_confidences(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-confidences of products, and which are right: each with the probability that it states."""
    rng = np.random.default_rng(0)
    confidence = rng.beta(2.5, 1, count)
    return np.log(confidence), rng.random(count) < confidence


def correlated(rows: int, dimensions: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated, rectified features like a network's, and labels of categories as unequal as a shop's."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, classes + 1)
    labels = np.concatenate([np.arange(classes), rng.choice(classes, rows - classes, p=share / share.sum())])
    mix = rng.normal(size=(dimensions, dimensions)) * (np.arange(1, dimensions + 1) ** -0.5)[:, None]
    centres = rng.normal(size=(classes, dimensions)) * 0.5
    features = np.maximum((centres[labels] + rng.normal(size=(rows, dimensions))) @ mix, 0).astype(np.float32)
    features /= features.std()
    return features, labels


def overlapping(images: int, dimensions: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Rectified features, as a network's are, and labels of categories that overlap."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(classes, dimensions)).astype(np.float32)
    labels = rng.integers(0, classes, images)
    features = rng.standard_normal((images, dimensions), np.float32)
    features *= 4
    features += centres[labels]
    return np.maximum(features, 0, out=features), labels


def crops_and_noise(count: int) -> np.ndarray:
    """`count` crops of photographs at 180 px, and a quarter as many squares of noise."""
    rng, shown = np.random.default_rng(0), []
    sources = [photos.astronaut(), photos.coffee(), photos.chelsea(), photos.rocket()]
    for _ in range(count):
        photo = sources[rng.integers(len(sources))]
        top, left = rng.integers(0, np.array(photo.shape[:2]) // 2)
        crop = photo[top : top + photo.shape[0] // 2, left : left + photo.shape[1] // 2]
        shown.append(np.asarray(Image.fromarray(crop).resize((180, 180))))
    return np.concatenate([np.stack(shown), rng.integers(0, 256, (count // 4, 180, 180, 3), np.uint8)])


def squares(count: int, pixels: int) -> np.ndarray:
    """Crops of the photographs that come with scikit-image."""
    rng, shown = np.random.default_rng(0), []
    sources = [photos.astronaut(), photos.coffee(), photos.chelsea(), photos.rocket()]
    for number in range(count):
        source = sources[number % len(sources)]
        top, left = (int(rng.integers(0, size - pixels)) for size in source.shape[:2])
        shown.append(source[top : top + pixels, left : left + pixels])
    return np.stack(shown)


def jpegs(count: int, side: int = 180) -> list[bytes]:
    """Photographs that come with scikit-image, by default at the size of Cdiscount's, cut and turned into hundreds."""
    sources = [photos.astronaut(), photos.coffee(), photos.chelsea(), photos.rocket(), photos.cat()]
    encoded = []
    for number in range(count):
        photo = np.rot90(sources[number % len(sources)], number // len(sources))[number % 60 :]
        buffer = io.BytesIO()
        Image.fromarray(photo).resize((side, side)).save(buffer, "JPEG", quality=90)
        encoded.append(buffer.getvalue())
    return encoded


def write_jpegs(folder: Path, images: np.ndarray) -> None:
    """Write a folder of one category."""
    (folder / "all").mkdir(parents=True)
    for number, square in enumerate(images):
        Image.fromarray(square).save(folder / "all" / f"{number:05}.jpg", "JPEG", quality=90)


def documents() -> list[dict]:
    """Products of Kaggle's example where it is at hand, or pictures of random bytes in its layout and of its sizes."""
    example = Path(os.environ.get("SHELFBENCH_DATA", "")) / "cdiscount" / "train_example.bson"
    if "SHELFBENCH_DATA" in os.environ and example.exists():
        with open(example, "rb") as handle:
            return list(bson.decode_file_iter(handle))
    rng = np.random.default_rng(0)
    sizes = rng.integers(2_000, 9_000, (82, 4))
    return [
        {
            "_id": i,
            "imgs": [
                {"picture": rng.bytes(int(size))} for size in sizes[i][: rng.choice(4, p=[0.8, 0.12, 0.05, 0.03]) + 1]
            ],
            "category_id": 1_000_000_000 + i,
        }
        for i in range(82)
    ]


def write_bson(path: Path, least: int) -> None:
    """Write a file of `least` bytes: the documents again and again, every product with an id of its own.

    A file that was just written lies in memory in smaller pieces than one that was read, and both would be measured
    with it; nobody indexes a catalogue in the second in which it was made. So it is dropped from memory.
    """
    block = [bytearray(bson.encode(document)) for document in documents()]
    identifier = 0
    with open(path, "wb") as handle:
        while handle.tell() < least:
            for document in block:
                struct.pack_into("<i", document, 9, identifier)
                identifier += 1
            handle.write(b"".join(block))
        handle.flush()
        os.fsync(handle.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
