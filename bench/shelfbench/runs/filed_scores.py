"""The scores that a run keeps of products its classifier was not fitted on, gone through without holding them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shelfbench.runs.directory import Run
from shelfbench.runs.reading import category_codes, reading
from shelfbench.verdict.suspects import HeldOutScores

_IMAGES = 1 << 15  # whose scores are in memory at a time
_COLUMNS = ["categories", "log_probabilities", "log_rest"]


@dataclass(frozen=True, eq=False)
class _File:
    """A file of scores.

    Attributes
    ----------
    path : Path
    product : ndarray of int32, shape (images,)
        Position in `FiledScores.products` of each image; -1 for those that nobody asks for.
    order : ndarray of int64, shape (images,), or None
        Puts the images of each product next to each other; None if they are, as a run writes them.
    """

    path: Path
    product: np.ndarray
    order: np.ndarray | None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Read some images at a time; all at once if they have to be put in order."""
        if self.order is None:
            yield from pq.ParquetFile(self.path).iter_batches(batch_size=_IMAGES, columns=_COLUMNS)
        else:
            file = pq.ParquetFile(self.path)
            groups = [file.read_row_group(number, columns=_COLUMNS) for number in range(file.num_row_groups)]
            yield from pa.concat_tables(groups).take(self.order).to_batches(_IMAGES)


@dataclass(frozen=True, eq=False, kw_only=True)
class FiledScores:
    """Scores of validation and test, and those of train out of fold if there are any, product by product.

    Attributes
    ----------
    products : DataFrame
        product_id, split, role and category of the products with a readable image and a category that train has.
    keys : ndarray of object
        Keys of the categories of train, by code.
    labels : ndarray of int64, shape (products,)
        The category each product is labelled with, a code of `keys`.
    """

    products: pd.DataFrame
    keys: np.ndarray
    labels: np.ndarray
    _files: tuple[_File, ...]

    @property
    def classes(self) -> int:
        """Number of categories."""
        return len(self.keys)

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Average the probabilities of each product's images, a block of products at a time.

        Yields
        ------
        products : ndarray of int64
            Positions of the products of the block; each product is in one block.
        probabilities : ndarray of float32, shape (products of the block, classes)
            As `shelfbench.verdict.suspects.HeldOutScores.blocks` makes them.

        Raises
        ------
        InputError
            If a file is damaged.
        """
        keys = pa.array(self.keys, pa.string())
        for file in self._files:
            with reading(file.path):
                product = file.product if file.order is None else file.product[file.order]
                held, first = _Images.none(), 0
                for batch in file.batches():
                    found = held.and_(_Images.of(batch, product[first : first + batch.num_rows], keys))
                    first += batch.num_rows
                    cut = len(found.product)
                    if first < len(product) and product[first] == found.product[-1]:  # it goes on in the next batch
                        ends = np.flatnonzero(found.product[1:] != found.product[:-1])
                        cut = int(ends[-1]) + 1 if len(ends) else 0
                    done, held = found.cut(cut)
                    yield from done.blocks(self.classes)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Images:
    """Some images: their products, and how many entries each has; of each entry, category and probability; rests."""

    product: np.ndarray
    lengths: np.ndarray
    code: np.ndarray
    probability: np.ndarray
    rest: np.ndarray

    @classmethod
    def none(cls) -> _Images:
        return cls(
            product=np.empty(0, np.int32),
            lengths=np.empty(0, np.int64),
            code=np.empty(0, np.int32),
            probability=np.empty(0, np.float32),
            rest=np.empty(0),
        )

    @classmethod
    def of(cls, batch: pa.RecordBatch, product: np.ndarray, keys: pa.Array) -> _Images:
        lists = batch.column("categories")
        lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        scores = batch.column("log_probabilities").flatten().to_numpy(zero_copy_only=False)
        code = category_codes(lists.flatten(), keys)
        if not lengths.sum() == len(scores) == len(code):
            raise pa.ArrowInvalid("categories and log_probabilities differ in length")
        return cls(
            product=product,
            lengths=lengths,
            code=code.astype(np.int32),
            probability=np.exp(scores.astype(np.float32)),
            rest=np.exp(batch.column("log_rest").to_numpy(zero_copy_only=False).astype(np.float64)),
        )

    def and_(self, other: _Images) -> _Images:
        if not len(self.product):
            return other
        return _Images(
            **{
                name: np.concatenate([getattr(self, name), getattr(other, name)])
                for name in ("product", "lengths", "code", "probability", "rest")
            }
        )

    def cut(self, images: int) -> tuple[_Images, _Images]:
        entries = int(self.lengths[:images].sum())
        return self._part(slice(0, images), slice(0, entries)), self._part(slice(images, None), slice(entries, None))

    def _part(self, images: slice, entries: slice) -> _Images:
        return _Images(
            product=self.product[images],
            lengths=self.lengths[images],
            code=self.code[entries],
            probability=self.probability[entries],
            rest=self.rest[images],
        )

    def blocks(self, classes: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Average the probabilities of the images of every product that is asked for."""
        asked = self.product >= 0
        row = np.repeat(np.where(asked, np.cumsum(asked) - 1, -1), self.lengths)
        kept = (row >= 0) & (self.code >= 0)
        product = self.product[asked]
        starts = np.flatnonzero(np.append(True, product[1:] != product[:-1])) if len(product) else np.empty(0, np.int64)
        scores = HeldOutScores(
            starts=starts,
            labels=np.zeros(len(starts), np.int64),
            classes=classes,
            row=row[kept],
            code=self.code[kept].astype(np.int64),
            probability=self.probability[kept],
            rest=self.rest[asked],
        )
        for part, probabilities in scores.blocks():
            yield product[starts[part]].astype(np.int64), probabilities


def open_scores(run: Run, backend: str) -> FiledScores:
    """Open the scores of validation and test, and those of train out of fold if there are any.

    Parameters
    ----------
    run : Run
    backend : str

    Returns
    -------
    FiledScores

    Raises
    ------
    InputError
        If a file is missing or damaged.
    """
    found, folded = run.products(backend), run.file("out_of_fold", backend)
    of_train = np.unique(found.truth[found.split == "train"])
    code = np.full(len(found.keys), -1, np.int64)
    code[of_train] = np.arange(len(of_train))
    asked = np.flatnonzero((code[found.truth] >= 0) & ((found.split != "train") | folded.is_file()))
    index = pd.Index(found.product_id[asked])
    owners = []
    for path in filter(Path.is_file, (folded, run.file("scores", backend))):
        with reading(path):
            batches = pq.ParquetFile(path).iter_batches(columns=["product_id"])
            parts = [index.get_indexer(batch.column(0).to_numpy(zero_copy_only=False)) for batch in batches]
            owners.append((path, np.concatenate([np.empty(0, np.int64), *parts])))
    seen = np.zeros(len(asked), bool)
    for _, owner in owners:
        seen[owner[owner >= 0]] = True
    place = np.append(np.where(seen, np.cumsum(seen) - 1, -1), -1).astype(np.int32)
    rows = asked[seen]
    return FiledScores(
        products=pd.DataFrame(
            {
                "product_id": found.product_id[rows],
                "split": found.split[rows],
                "role": found.role[rows],
                "category": pd.Categorical.from_codes(found.truth[rows], categories=pd.Index(found.keys)),
            }
        ),
        keys=np.array(found.keys, object)[of_train],
        labels=code[found.truth[rows]],
        _files=tuple(_File(path, place[owner], _order(owner)) for path, owner in owners),
    )


def _order(owner: np.ndarray) -> np.ndarray | None:
    """Return what puts the images of each product next to each other; None if they are."""
    runs = owner[np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))] if len(owner) else owner
    runs = runs[runs >= 0]
    return None if len(np.unique(runs)) == len(runs) else np.argsort(owner, kind="stable")
