"""The files of a generated catalogue, in the layout of Kaggle's Cdiscount data."""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import joblib
import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.partial import aside_folder, put_folder, sweep
from shelfbench.base.serving import serve
from shelfbench.base.storage import file_sha256, storage_errors, write_json, write_text, write_whole
from shelfbench.generator.assortment import Assortment, DrawnCategory, draw_assortment
from shelfbench.generator.photo import ONE_WAY, OVERSAMPLING, photograph
from shelfbench.generator.settings import INT32_MAX, GeneratorSettings
from shelfbench.generator.sketch import Sketch

VERSION = 1
"""Increased whenever the same settings produce different pictures."""

RECORD = "generator.json"
"""Written last: the settings, and the SHA-256 of each file."""

CHUNK = 32
"""Products that a worker draws in one task."""

PHOTOS = (0.55, 0.25, 0.11, 0.09)
"""Shares of products with 1, 2, 3 and 4 photos: 1.74 on average, as in the public data (12,371,293 / 7,069,896)."""


@dataclass(frozen=True)
class _Task:
    """Products to draw: the number of the first one, and what each of them is."""

    first: int
    categories: tuple[DrawnCategory, ...]
    keys: tuple[int, ...]


def generate(directory: Path, settings: GeneratorSettings, console: Console, workers: int = 1) -> None:
    """Draw a catalogue and write it.

    Writes ``train.bson`` (documents ``_id``, ``imgs``, ``category_id``, as Kaggle does), ``category_names.csv``,
    ``truth.csv`` and ``generator.json``, each whole or not at all, the last one after all others. The bytes depend on
    the settings alone, not on `workers`.

    Parameters
    ----------
    directory : Path
        Created if necessary.
    settings : GeneratorSettings
    console : Console
    workers : int
        Number of processes that draw.

    Raises
    ------
    InputError
        If the list of counts is invalid, or the folder cannot be written to.
    RunError
        If the disk is full.
    """
    assortment = draw_assortment(settings)
    with storage_errors(directory):
        # Written last, it says that all files belong to one catalogue.
        (directory / RECORD).unlink(missing_ok=True)
    if len(assortment.truth) > INT32_MAX:
        raise InputError(
            f"{len(assortment.truth)} products are more than the layout can number", f"request at most {INT32_MAX}"
        )
    write_whole(directory / "train.bson", lambda aside: _write_products(aside, assortment, settings, console, workers))
    write_text(
        directory / "category_names.csv",
        _table(
            ("category_id", "category_level1", "category_level2", "category_level3"),
            ((category.key, *category.levels) for category in assortment.categories),
        ),
    )
    write_text(
        directory / "truth.csv",
        _table(
            ("product_id", "category_id", "true_category_id"),
            (
                (product, assortment.categories[label].key, assortment.categories[true].key)
                for product, (label, true) in enumerate(zip(assortment.labels, assortment.truth, strict=True))
            ),
        ),
    )
    hashes = {name: file_sha256(directory / name) for name in ("train.bson", "category_names.csv", "truth.csv")}
    write_json(directory / RECORD, {"version": VERSION, **asdict(settings), "files": hashes})


def changed_file(directory: Path) -> Path | None:
    """Find a file of a whole catalogue that is not what `generate` wrote.

    Parameters
    ----------
    directory : Path

    Returns
    -------
    Path or None
        The first one that has changed or is gone. Catalogues of earlier versions have no hashes.
    """
    try:
        hashes = json.loads((directory / RECORD).read_bytes()).get("files", {})
        return next((directory / name for name in hashes if file_sha256(directory / name) != hashes[name]), None)
    except FileNotFoundError as error:
        return Path(error.filename)
    except (ValueError, AttributeError, TypeError):
        return directory / RECORD


def generate_whole(directory: Path, settings: GeneratorSettings, console: Console, workers: int = 1) -> None:
    """Draw a catalogue into a folder that is there whole or not at all.

    Parameters
    ----------
    directory : Path
        New or empty.
    settings : GeneratorSettings
    console : Console
    workers : int

    Raises
    ------
    InputError
        If the folder is not empty.
    ShelfbenchError
        As `generate` does.
    """
    if directory.is_dir():
        sweep(directory)  # a catalogue that was killed in a place of its own
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(f"{directory} is not an empty folder", "name a new one")
    if os.path.ismount(directory):  # a disk cannot be replaced by a folder
        generate(directory, settings, console, workers)
        return
    with aside_folder(directory) as aside:
        generate(aside, settings, console, workers)
        put_folder(aside, directory)


def _table(header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _write_products(
    path: Path, assortment: Assortment, settings: GeneratorSettings, console: Console, workers: int
) -> None:
    total = len(assortment.truth)
    with open(path, "wb") as handle, console.progress(total, "drawing the catalogue", "products") as bar:
        for documents in _drawn(_tasks(assortment), settings, workers):
            handle.write(b"".join(documents))
            bar.update(len(documents))


def _tasks(assortment: Assortment) -> Iterator[_Task]:
    for first in range(0, len(assortment.truth), CHUNK):
        part = slice(first, first + CHUNK)
        yield _Task(
            first,
            tuple(assortment.categories[true] for true in assortment.truth[part]),
            tuple(assortment.categories[label].key for label in assortment.labels[part]),
        )


def _drawn(tasks: Iterator[_Task], settings: GeneratorSettings, workers: int) -> Iterator[list[bytes]]:
    """Draw the documents in the order of the tasks, in this process or in several."""
    if workers == 1:
        return (_draw(task, settings) for task in tasks)
    # when drawing ends early, joblib warns of the work that it did not do
    warnings.filterwarnings("ignore", message=r"\d+ tasks which were still being processed")
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator")
    found: Iterator[list[bytes]] = parallel(
        joblib.delayed(_draw_in_worker)(task, settings, os.getpid()) for task in tasks
    )
    return found


def _draw_in_worker(task: _Task, settings: GeneratorSettings, parent: int) -> list[bytes]:
    serve(parent)
    return _draw(task, settings)


def _draw(task: _Task, settings: GeneratorSettings) -> list[bytes]:
    return [
        document(task.first + n, key, photos(category, task.first + n, settings))
        for n, (category, key) in enumerate(zip(task.categories, task.keys, strict=True))
    ]


def photos(category: DrawnCategory, product: int, settings: GeneratorSettings) -> list[bytes]:
    """Draw the JPEGs of one product."""
    rng = np.random.default_rng([settings.seed, 1, product])
    shares = np.array(PHOTOS[: settings.max_photos])
    number = int(rng.choice(len(shares), p=shares / shares.sum())) + 1
    pictures = []
    for photo in range(number):
        of_photo = np.random.default_rng([settings.seed, 2, product, photo])
        # The product's generator is reset for each photo, so that each shows the same product.
        turn = of_photo.uniform(-1, 1)
        mirrored = category.motif.pose != ONE_WAY and of_photo.random() < 0.5
        sketch = Sketch(
            round(settings.pixels * OVERSAMPLING),
            np.random.default_rng([settings.seed, 3, product]),
            category.style,
            turn,
            mirrored,
        )
        category.motif.draw(sketch)
        pictures.append(
            photograph(sketch, category.motif.pose, settings.pixels, settings.quality, of_photo, photo == 0)
        )
    return pictures


def document(product: int, category: int, pictures: list[bytes]) -> bytes:
    """Encode one product as a BSON document (bsonspec.org), with the fields in Kaggle's order.

    Parameters
    ----------
    product : int
        A signed 32-bit number.
    category : int
        A signed 32-bit number.
    pictures : list of bytes

    Returns
    -------
    bytes
    """
    images = b"".join(
        _element(3, str(n), _document(_element(5, "picture", struct.pack("<iB", len(picture), 0) + picture)))
        for n, picture in enumerate(pictures)
    )
    return _document(
        _element(16, "_id", struct.pack("<i", product))
        + _element(4, "imgs", _document(images))
        + _element(16, "category_id", struct.pack("<i", category))
    )


def _element(kind: int, name: str, value: bytes) -> bytes:
    return bytes([kind]) + name.encode() + b"\0" + value


def _document(elements: bytes) -> bytes:
    return struct.pack("<i", len(elements) + 5) + elements + b"\0"
