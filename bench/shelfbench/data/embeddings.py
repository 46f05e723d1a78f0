"""Embeddings that are there already, in place of features that are computed from photos."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.storage import cache_dir, fingerprint
from shelfbench.data.catalogue import DIGEST, Catalogue, TableRows, digest
from shelfbench.data.embedding_names import NO_EMBEDDING, PREFIX, GivenEmbeddings
from shelfbench.data.feature_store import Features
from shelfbench.data.selection import Put, Selections, in_memory, small
from shelfbench.data.sources.keyed_vectors import PRODUCT, match, open_keyed, split_source
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.vectors import Block, Vectors

_ABSENT = np.frombuffer(digest(b""), DIGEST)[0]


class EmbeddingExtractor:
    """Stands where an extractor of photos stands; takes embeddings and returns them.

    Parameters
    ----------
    source : str
        The column or the file.
    given : GivenEmbeddings, optional
        If they have been read.

    Attributes
    ----------
    name, pixels, dimensions, batch, framework, device, fixed_size
        See `shelfbench.data.extractor.FeatureExtractor`; there are no pixels, and no dimensions before they are read.
    given : GivenEmbeddings or None
        None before they are read.
    """

    pixels = 1
    batch = 4096
    framework = "none"
    device = "none"
    fixed_size = True

    def __init__(self, source: str, given: GivenEmbeddings | None = None) -> None:
        self.source = source
        self.name = PREFIX + source
        self.given = given
        self.dimensions = given.dimensions if given else 0

    def read(self, given: GivenEmbeddings) -> None:
        """Take what is known once the embeddings have been read."""
        self.given, self.dimensions = given, given.dimensions

    def describe(self) -> dict[str, Any]:
        """Describe the embeddings (JSON).

        Returns
        -------
        dict

        Raises
        ------
        InputError
            If nobody has read them: what asks has no table, but photos.
        """
        if self.given is None:
            raise InputError(
                f"{self.name}: embeddings that are there already are opened by a comparison, not by this experiment",
                "name a network as the backbone",
            )
        return {"kind": "given", **asdict(self.given)}

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Return embeddings, float32 of shape (n, dimensions), as they are; refuse photos."""
        if images.ndim == 2 and images.dtype == np.float32:
            return images
        raise InputError(
            f"no photo can be classified on {self.name}: its features are embeddings computed elsewhere",
            "give a table with the embeddings of the new products",
        )


class Embeddings:
    """The embeddings of a catalogue's images, found and checked; only hashes of them are in memory.

    Parameters
    ----------
    source : str
        See `shelfbench.data.sources.keyed_vectors.split_source`.
    catalogue : Catalogue
    settings : DatasetSettings
        Names of columns.
    console : Console

    Attributes
    ----------
    given : GivenEmbeddings
    digests : ndarray of V16, shape (images,)
        Hash of each image's embedding; that of nothing where there is none.

    Raises
    ------
    InputError
        If they cannot be read, it is unclear whose they are, or no image has one.
    """

    def __init__(self, source: str, catalogue: Catalogue, settings: DatasetSettings, console: Console) -> None:
        path, self._column = split_source(source)
        by, again = "row", dict[int, list[int]]()
        if path is None:
            if catalogue.rows is None:
                raise InputError(
                    f"{PREFIX}{source} is a column, but {catalogue.name} is not read from a table",
                    "give a file of embeddings, as *.parquet or *.npy",
                )
            self._rows = catalogue.rows
        else:
            file = open_keyed(path, self._column, settings)
            self._column = file.column
            matched = match(file, catalogue)
            by, again = matched.by, matched.again
            found = np.where(matched.row >= 0, file.lines[matched.row], -1)
            self._rows = TableRows((path,), np.zeros(len(found), np.int32), found)
        self._dimensions = 0
        with console.stage("reading embeddings"):
            self.digests = self._hashed(self._rows)
            if again:
                self._take_again(file.lines, matched.row, again)
        if not self._dimensions:
            raise InputError(f"{PREFIX}{source}: no image of {catalogue.name} has an embedding", "check the column")
        state = hashlib.sha256(f"{self._dimensions}\0".encode())
        state.update(np.ascontiguousarray(self.digests).data)
        self.given = GivenEmbeddings(
            source=source, column=self._column, by=by, dimensions=self._dimensions, sha256=state.hexdigest()
        )
        self._say(catalogue, console)

    def _take_again(self, lines: np.ndarray, row_of: np.ndarray, again: dict[int, list[int]]) -> None:
        """Compare the embeddings of rows with the same key; one may be empty, two may not differ."""
        pairs = [(row, other) for row, others in again.items() for other in others]
        path = self._rows.files[0]
        rows, others = np.array(pairs).T
        digests = self._hashed(TableRows((path,), np.zeros(len(others), np.int32), lines[others]))
        order = np.argsort(row_of, kind="stable")
        starts, ends = (np.searchsorted(row_of[order], rows, side) for side in ("left", "right"))
        for (row, other), found, start, end in zip(pairs, digests, starts, ends, strict=True):
            mine = order[start:end]
            if not len(mine) or found in (_ABSENT, self.digests[mine[0]]):
                continue
            if self.digests[mine[0]] != _ABSENT:
                raise InputError(
                    f"{path} has two different embeddings for one key, in rows {lines[row]} and {lines[other]}",
                    "keep one of them",
                )
            self.digests[mine] = found
            self._rows.line[mine] = lines[other]

    def _blocks(self, rows: TableRows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield positions among rows, and the embedding of each."""
        vectors = Vectors(self._column)
        vectors.expect(self._dimensions, "the first")
        for number, path in enumerate(rows.files):
            mine = np.flatnonzero((rows.file == number) & (rows.line >= 0))
            if not len(mine):
                continue
            mine = mine[np.argsort(rows.line[mine], kind="stable")]
            lines, starts = np.unique(rows.line[mine], return_index=True)
            ends = np.append(starts[1:], len(mine))
            for block in vectors.blocks(path, lines):
                yield _spread(block, mine, starts, ends)
        self._dimensions = vectors.dimensions

    def _hashed(self, rows: TableRows) -> np.ndarray:
        result = np.full(len(rows.line), _ABSENT, DIGEST)
        for positions, values in self._blocks(rows):
            result[positions] = _digests(values)
        return result

    def _say(self, catalogue: Catalogue, console: Console) -> None:
        """Tell what a user may not expect."""
        given = self.given
        there = int((self.digests != _ABSENT).sum())
        console.log(f"{PREFIX}{given.source}: {there:,} embeddings of {given.dimensions:,} numbers")
        if given.by == PRODUCT and len(catalogue.product_id) < len(catalogue.images):
            console.warn(f"{PREFIX}{given.source} is keyed by product: all photos of a product have the same embedding")
        zero = np.frombuffer(digest(bytes(4 * given.dimensions)), DIGEST)[0]
        if zeros := int((self.digests == zero).sum()):
            few = "1 embedding is" if zeros == 1 else f"{zeros:,} embeddings are"
            console.warn(f"{PREFIX}{given.source}: {few} nothing but zeros; leave the cell empty where there is none")

    def features(self, indices: np.ndarray, selections: Selections | None = None) -> Features:
        """Return the embeddings of some images.

        Parameters
        ----------
        indices : ndarray of int, shape (n,)
        selections : Selections, optional
            Where they are kept on disk if there are many; without, they are held in memory.

        Returns
        -------
        Features

        Raises
        ------
        InputError
            If they are others than when they were opened.
        """
        indices = np.asarray(indices)
        count, fill = len(indices), partial(self._fill, indices)
        if selections is None or small(count, self.given.dimensions):
            found = in_memory(count, self.given.dimensions, fill)
        else:
            name = hashlib.sha256(np.ascontiguousarray(self.digests[indices]).data).hexdigest()[:32]
            found = selections.find(name, count, "") or selections.make(name, count, "", fill)
        readable = self.digests[indices] != _ABSENT
        return Features(
            matrix=found.matrix,
            readable=readable,
            reasons=dict.fromkeys(np.flatnonzero(~readable).tolist(), NO_EMBEDDING),
            seconds=0.0,
            computed=0,
            cached=False,
        )

    def _fill(self, indices: np.ndarray, put: Put) -> tuple[float, dict[str, str]]:
        for positions, values in self._blocks(self._rows.of(indices)):
            if np.any(_digests(values) != self.digests[indices[positions]]):
                raise InputError(f"{PREFIX}{self.given.source} has changed since it was opened", "run it again")
            put(positions, values)
        return 0.0, {}


def _spread(block: Block, mine: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the images of each row, and its embedding for each of them."""
    first, counts = starts[block.asked], (ends - starts)[block.asked]
    if (counts == 1).all():
        return mine[first], block.values
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return mine[np.repeat(first, counts) + within], np.repeat(block.values, counts, axis=0)


def _digests(values: np.ndarray) -> np.ndarray:
    return np.frombuffer(b"".join(digest(row.data) for row in values), DIGEST)


class EmbeddingFeatures:
    """Embeddings in the place of a `shelfbench.data.feature_store.FeatureStore`.

    Parameters
    ----------
    extractor : EmbeddingExtractor
    find : callable
        Returns the embeddings of the catalogue; called when they are first needed.
    console : Console
    """

    def __init__(self, extractor: EmbeddingExtractor, find: Callable[[], Embeddings], console: Console) -> None:
        self._extractor, self._find, self._console = extractor, find, console

    @cached_property
    def _embeddings(self) -> Embeddings:
        embeddings = self._find()
        self._extractor.read(embeddings.given)
        return embeddings

    def open(self) -> None:
        """Read the embeddings once, and check them; the extractor then tells what they are."""
        self._embeddings  # noqa: B018

    @cached_property
    def key(self) -> dict[str, Any]:
        """What identifies the embeddings, their hash included (JSON)."""
        given = self._embeddings.given
        return {
            "version": 1,
            "dimensions": given.dimensions,
            "extractor": self._extractor.name,
            "settings": self._extractor.describe(),
        }

    @property
    def folder(self) -> Path:
        """Where a store would keep features with this key; only selections of many embeddings are written there."""
        return cache_dir() / "features" / f"given-{fingerprint(self.key)}"

    def features(self, catalogue: Catalogue, indices: np.ndarray, digests: np.ndarray) -> Features:
        """Return the embeddings of some images; see `Embeddings.features`."""
        dimensions = self._embeddings.given.dimensions
        return self._embeddings.features(indices, Selections(self.folder, dimensions, np.float32, self._console))
