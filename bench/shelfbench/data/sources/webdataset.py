"""WebDataset shards: tar archives of samples, ``KEY.jpg`` with ``KEY.json`` or ``KEY.cls``; photos are read by offset.

One pass over the headers builds an index, which the user's cache keeps.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.locking import waiting
from shelfbench.base.storage import cache_dir, file_sha256, fingerprint, parse_json, write_parquet, write_text
from shelfbench.base.using import used
from shelfbench.data.catalogue import Catalogue
from shelfbench.data.sources.bson_index import release
from shelfbench.data.sources.cdiscount import RELEASE_BYTES
from shelfbench.data.sources.contents import is_litter
from shelfbench.data.sources.files import MOST_BYTES, too_large
from shelfbench.data.sources.labels import as_key
from shelfbench.data.sources.products import Product, gathered
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.split_words import split_within
from shelfbench.data.sources.tables import LABEL, catalogue_from_rows, wanted_columns
from shelfbench.data.sources.tar_index import Member, members

INDEX_VERSION = 1
# Members that may say what a sample is, besides its JSON, and the longest that is read.
_TEXTS, _LONGEST = ("cls", "label", "class", "category", "txt"), 1 << 20
_PHOTOS: tuple[str, ...] = ("jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp")
_PHOTOS += ("tif", "tiff", "avif", "heic", "heif", "jp2", "ppm")
_ROWS = 1 << 16
# Bytes of an archive that its headers are looked for in before the pages are released.
_STRIDE = 1 << 28


class TarImages:
    """Photos in uncompressed tar archives.

    Parameters
    ----------
    files : tuple of Path
    where : ndarray of object, shape (images,)
        Archive and member of each photo.
    file : ndarray of int32, shape (images,)
    offset : ndarray of int64, shape (images,)
    length : ndarray of int64, shape (images,)
        In bytes, as is the offset.
    most : int
        Larger photos, in bytes, are not read.
    """

    def __init__(
        self,
        files: tuple[Path, ...],
        where: np.ndarray,
        file: np.ndarray,
        offset: np.ndarray,
        length: np.ndarray,
        *,
        most: int = MOST_BYTES,
    ) -> None:
        self.files, self._most = files, most
        self._where, self._file, self._offset, self._length = where, file, offset, length
        self._views: dict[int, mmap.mmap] = {}
        self._read = 0

    def __getstate__(self) -> dict[str, Any]:
        """Drop the memory maps."""
        return {**self.__dict__, "_views": {}}

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self._file)

    def read(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Read photos by offset."""
        photos: list[bytes] = []
        for index in np.asarray(indices).tolist():
            file, start, length = int(self._file[index]), int(self._offset[index]), int(self._length[index])
            if file not in self._views:
                with open(self.files[file], "rb") as handle:
                    self._views[file] = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
            whole = length <= self._most
            photos.append(self._views[file][start : start + length] if whole else too_large(self._most))
            self._read += length
        if self._read > RELEASE_BYTES:
            for view in self._views.values():
                release(view)
            self._read = 0
        return photos

    def where(self, index: int) -> str:
        """Name the archive and the member."""
        return str(self._where[index])

    def identity(self) -> bytes:
        """Hash archives, offsets and lengths."""
        return hashlib.sha256(self._file.tobytes() + self._offset.tobytes() + self._length.tobytes()).digest()


@dataclass
class _Sample:
    """Consecutive members with the same key."""

    key: str
    photos: list[tuple[str, Member]] = field(default_factory=list)
    says: dict[str, Any] = field(default_factory=dict)


def _photos(sample: _Sample) -> list[Member]:
    """Return the photos of a sample: ``KEY.jpg``; ``KEY.input.jpg`` and the like only where there is none."""
    plain = [member for kind, member in sample.photos if "." not in kind]
    return plain or [member for _, member in sample.photos]


def _samples(path: Path, view: mmap.mmap, bar: Any) -> Iterator[_Sample]:
    """Group the members of an archive by key; read what is said about each sample."""
    sample, seen = _Sample(""), 0
    for member in members(path, view):
        folder, _, file = member.name.rpartition("/")
        stem, dot, kind = file.partition(".")
        if not stem or not dot or any(is_litter(part) for part in folder.split("/") if part != "."):
            continue
        key = f"{folder}/{stem}" if folder else stem
        if key != sample.key:
            if sample.photos:
                yield sample
            sample = _Sample(key)
        kind = kind.lower()
        if kind == "json" or kind in _TEXTS:
            if member.length > _LONGEST:
                raise InputError(f"{path}, {member.name}: longer than {_LONGEST >> 20} MiB", "shorten it")
            sample.says.update(_said(path, member, kind, view[member.offset : member.offset + member.length]))
        elif kind.rpartition(".")[2] in _PHOTOS:
            sample.photos.append((kind, member))
        if member.offset - seen > _STRIDE:
            release(view)
            bar.update(member.offset - seen)
            seen = member.offset
    bar.update(len(view) - seen)
    if sample.photos:
        yield sample


def _said(path: Path, member: Member, kind: str, data: bytes) -> dict[str, Any]:
    try:
        text = data.decode("utf-8-sig")
        if kind != "json":
            return {kind: text.strip()}
        said = parse_json(text)
    except ValueError as error:
        raise InputError(f"{path}, {member.name} cannot be read ({error})", "correct it") from None
    if not isinstance(said, dict):
        raise InputError(f"{path}, {member.name} is not a JSON object", 'write {"category": ...}')
    return said


def _cell(value: Any, role: str, where: str) -> Any:
    """Return a value as the text by which it is compared; a list of texts for labels."""
    if role.startswith(LABEL):
        values = value if isinstance(value, list) else [value]
        return [_cell(item, "", where) for item in values if item is not None]
    if value is None or value == "":
        return None
    try:
        return as_key(value)
    except TypeError:
        raise InputError(f"{where}: {str(value)[:60]!r} is not a plain value", "write text or a number") from None


def _columns(settings: DatasetSettings) -> dict[str, str]:
    """Return the columns that may be wanted, by role."""
    levels = settings.levels or tuple(f"level{number}" for number in range(1, 10))
    return {
        "category": settings.category,
        "product_id": settings.product_id,
        "split": settings.split,
        **{f"level{number}": name for number, name in enumerate(levels, 1)},
        **{LABEL + name: name for name in settings.labels},
    }


def _scan(path: Path, columns: dict[str, str], console: Console) -> pa.Table:
    """Index an archive: a row for each photo; what is there at all is noted in the schema's metadata."""
    schema = pa.schema(
        [
            ("member", pa.large_string()),
            ("key", pa.large_string()),
            ("offset", pa.int64()),
            ("length", pa.int64()),
            *((role, pa.list_(pa.large_string()) if role.startswith(LABEL) else pa.large_string()) for role in columns),
            ("cls", pa.large_string()),
        ]
    )
    tables: list[pa.Table] = []
    rows: dict[str, list[Any]] = {name: [] for name in schema.names}
    present: set[str] = set()
    roles: dict[str, list[str]] = {"cls": ["cls"]}
    for role, name in columns.items():
        roles.setdefault(name, []).append(role)

    def keep() -> None:
        count = len(rows["key"])
        for values in rows.values():
            values.extend([None] * (count - len(values)))
        tables.append(pa.table(rows, schema=schema))
        for values in rows.values():
            values.clear()

    size = path.stat().st_size
    with (
        open(path, "rb") as handle,
        mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as view,
        console.progress(size, f"indexing {path.name}", "bytes") as bar,
    ):
        for sample in _samples(path, view, bar):
            present.update(sample.says)
            cells = [
                (role, _cell(value, role, f"{path.name}, {sample.key}"))
                for name, value in sample.says.items()
                for role in roles.get(name, ())
            ]
            for member in _photos(sample):
                count = len(rows["key"])
                rows["member"].append(member.name)
                rows["key"].append(sample.key)
                rows["offset"].append(member.offset)
                rows["length"].append(member.length)
                for role, cell in cells:  # most roles occur in no sample
                    values = rows[role]
                    values.extend([None] * (count - len(values)))
                    values.append(cell)
            if len(rows["key"]) >= _ROWS:
                keep()
    keep()
    return pa.concat_tables(tables).replace_schema_metadata({"present": json.dumps(sorted(present))})


def _index(path: Path, columns: dict[str, str], console: Console) -> pa.Table:
    """Return the index of an archive, from the cache if the archive has not changed."""
    stat = path.stat()
    if stat.st_size == 0:
        raise InputError(f"{path} is empty", "fetch it again")
    key = fingerprint([INDEX_VERSION, str(path.resolve()), stat.st_size, stat.st_mtime_ns, columns])
    kept = cache_dir() / "indexes" / f"{key}.parquet"
    if (found := _kept_index(kept, console)) is not None:
        return found
    with waiting(kept, f"the index of {path.name}", console) as waited:
        if waited and (found := _kept_index(kept, console)) is not None:
            return found
        index = _scan(path, columns, console)
        write_parquet(kept, index)
        write_text(kept.with_suffix(".sha256"), file_sha256(kept))
    return index


def _kept_index(kept: Path, console: Console) -> pa.Table | None:
    """Read the index that the cache keeps; None if there is none, or it is damaged."""
    if not kept.exists() or not (checked := kept.with_suffix(".sha256")).exists():
        return None
    try:  # Parquet itself would not tell a flipped bit
        if checked.read_bytes() == file_sha256(kept).encode():
            used(kept)
            return pq.read_table(kept)
    except (pa.ArrowException, OSError):
        pass
    console.warn(f"the index {kept} is damaged; building it again")
    return None


def _frame(path: Path, index: pa.Table, settings: DatasetSettings) -> pd.DataFrame:
    """Choose the columns of an index that are there and wanted."""
    present = json.loads(index.schema.metadata[b"present"])
    if not len(index):
        raise InputError(
            f"{path} contains no photos", "a WebDataset has KEY.jpg with KEY.json or KEY.cls; unpack any other archive"
        )
    if not present:
        raise InputError(
            f"{path} says nothing about its photos: beside KEY.jpg there is neither KEY.json nor KEY.cls",
            "unpack it if its folders are the categories, or add one of the two",
        )
    by_class = settings.category not in present and settings.category == DatasetSettings().category and "cls" in present
    roles = list(wanted_columns(settings, [*present, settings.category] if by_class else present, str(path)))
    taken = index.select(["cls" if role == "category" and by_class else role for role in roles])
    frame: pd.DataFrame = taken.rename_columns(roles).to_pandas()
    own = path.name + ", " + index["key"].to_pandas()
    frame["product_id"] = frame["product_id"].where(frame["product_id"].notna(), own) if "product_id" in frame else own
    frame["where"] = path.name + ", " + index["member"].to_pandas()
    return frame.assign(offset=index["offset"].to_numpy(), length=index["length"].to_numpy())


def products_in_tar(
    files: Sequence[Path], root: Path, several: bool, settings: DatasetSettings, console: Console
) -> Iterator[Product]:
    """Read the products of shards, whatever else the samples say (see `shelfbench.data.formats.Format`)."""
    role = "product_id"
    indexes = [_index(path, {role: settings.product_id}, console) for path in files]
    counts = [len(index) for index in indexes]
    if not sum(counts):
        raise InputError(f"{files[0]} contains no photos", "a WebDataset has KEY.jpg; unpack any other archive")
    names = np.repeat(np.array([path.name for path in files], object), counts)
    index = pa.concat_tables(indexes)
    keys, members, ids = (index[column].to_pandas().to_numpy(object) for column in ("key", "member", role))
    images = TarImages(
        tuple(files),
        names + ", " + members,
        np.repeat(np.arange(len(files), dtype=np.int32), counts),
        index["offset"].to_numpy(),
        index["length"].to_numpy(),
        most=settings.most,
    )
    for key, photos in gathered(np.where(pd.isna(ids), names + ", " + keys, ids)):
        yield Product(key, tuple(images.read(photos)))


def read_tar(path: Path, name: str, settings: DatasetSettings, console: Console) -> Catalogue:
    """Read a catalogue from one shard of a WebDataset; see `read_webdataset`."""
    return read_webdataset([path], name, settings, console)


def read_webdataset(
    files: Sequence[Path], name: str, settings: DatasetSettings, console: Console, splits: Sequence[str] = ()
) -> Catalogue:
    """Read a catalogue from WebDataset shards.

    Parameters
    ----------
    files : sequence of Path
        The archives, in order. Each sample has a key: ``KEY.jpg`` is its photo (several become photos of one product),
        ``KEY.json`` an object with the category and so on, or ``KEY.cls`` the category.
    name : str
        Name of the dataset, for messages.
    settings : DatasetSettings
        Keys of the JSON; a category may also be the content of ``KEY.txt`` (``category = "txt"``).
    console : Console
    splits : sequence of str, optional
        The part of the split that each archive holds. By default, archives named ``train-...`` and so on come with one.

    Returns
    -------
    Catalogue

    Raises
    ------
    InputError
        If an archive is damaged or says nothing about its photos; the message names it.
    """
    frames = []
    for number, path in enumerate(files):
        frame = _frame(path, _index(path, _columns(settings), console), settings).assign(file=np.int32(number))
        if "split" not in frame and (part := splits[number] if splits else split_within(path.stem)):
            frame["split"] = part
        frames.append(frame)
    rows = pd.concat(frames, ignore_index=True)
    if "split" in rows and rows["split"].isna().all():
        rows = rows.drop(columns="split")
    file, offset, length = (rows[column].to_numpy() for column in ("file", "offset", "length"))

    def images_of(numbers: np.ndarray, where: np.ndarray) -> TarImages:
        return TarImages(tuple(files), where, file[numbers], offset[numbers], length[numbers], most=settings.most)

    return catalogue_from_rows(name, rows.drop(columns=["file", "offset", "length"]), images_of)
