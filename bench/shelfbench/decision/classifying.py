"""Products in, categories or `review` out, a few hundred photos in memory at a time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.data.ahead import in_background
from shelfbench.data.embedding_names import NO_EMBEDDING
from shelfbench.data.embeddings_to_classify import EmbeddedProducts, embedded_products
from shelfbench.data.images import decode_batch
from shelfbench.data.sources.products import Product
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.to_classify import products_of
from shelfbench.data.view import View, view_for
from shelfbench.decision.climbing import climbed
from shelfbench.decision.guarding import outside
from shelfbench.decision.ladder import LadderRuling
from shelfbench.decision.model import Model
from shelfbench.decision.record import DECISION
from shelfbench.decision.rows import REVIEW, LadderRow, Row, schema
from shelfbench.decision.rule import MEASURES
from shelfbench.runs.data_line import grouped
from shelfbench.study.sections import build_section
from shelfbench.verdict.confidence import MEASURES as CONFIDENCES
from shelfbench.verdict.guard import UNLIKE
from shelfbench.verdict.predictions import ProductRule

if TYPE_CHECKING:
    import pandas as pd

# Largest batch in bytes, encoded or decoded.
_BATCH_BYTES = 64 << 20
_UNREADABLE = "no readable image: "
# Seconds between progress messages.
_SAY_EVERY = 15.0


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Whole products, their photos decoded, or their embeddings; `owner` is the product of each readable photo."""

    products: list[str]
    pixels: np.ndarray
    owner: np.ndarray
    unreadable: dict[int, str]
    photos: int


def classify(
    model: Model, paths: Sequence[Path], settings: DatasetSettings, console: Console | None = None
) -> pd.DataFrame:
    """Classify products into a frame.

    Parameters
    ----------
    model : Model
    paths : sequence of Path
        See `shelfbench.data.to_classify.products_of`.
    settings : DatasetSettings
        Names of columns.
    console : Console, optional
        Where progress is logged; by default, only warnings are shown.

    Returns
    -------
    DataFrame
        The fields of `Row`, one row per product, as in the Parquet file that `classify_to` writes.

    Raises
    ------
    InputError
        If a path does not exist or what is there cannot be read.
    """
    return _frame(model, answers(model, paths, settings, console or Console(quiet=True)))


def classify_photos(model: Model, products: Iterable[Product]) -> pd.DataFrame:
    """Classify products whose photos are in memory; nothing is logged, since a service asks again and again.

    Parameters
    ----------
    model : Model
    products : iterable of Product

    Returns
    -------
    DataFrame
        As from `classify`.

    Raises
    ------
    InputError
        If the decision rests on embeddings that were given.
    """
    if model.spec.given:
        raise InputError("this decision takes embeddings, not photos", "classify a table of them")
    return _frame(model, (rows for rows, _ in _rows(model, products, model.workers)))


def _frame(model: Model, parts: Iterable[Sequence[Row]]) -> pd.DataFrame:
    import pyarrow as pa

    table = pa.Table.from_pylist([asdict(row) for part in parts for row in part], schema(row_kind(model)))
    frame: pd.DataFrame = table.to_pandas()
    return frame


def columns(settings: Mapping[str, object]) -> DatasetSettings:
    """Read the names of columns from settings.

    Parameters
    ----------
    settings : mapping of str to object
        ``dataset.product_id``, ``dataset.image`` and ``dataset.file_name``; ``dataset.retry`` tries failed links again;
        ``dataset.largest`` is that of a study.

    Returns
    -------
    DatasetSettings

    Raises
    ------
    InputError
        If there is any other setting.
    """
    known = {f"dataset.{name}": name for name in ("product_id", "image", "file_name", "retry", "largest")}
    for name in settings:
        if name not in known:
            raise InputError(f"classify has no setting {str(name)[:40]!r}", f"set {', '.join(known)}")
    plain = ("retry", "largest")  # the others are names, even if they look like numbers
    table = {known[name]: value if known[name] in plain else str(value) for name, value in settings.items()}
    found: DatasetSettings = build_section(DatasetSettings, table, "dataset", "classify")
    return found


def answers(
    model: Model, paths: Sequence[Path], settings: DatasetSettings, console: Console
) -> Iterator[Sequence[Row]]:
    """Classify products as one stream, and log the decision and the progress.

    Parameters
    ----------
    model : Model
    paths : sequence of Path
        See `shelfbench.data.to_classify.products_of`.
    settings : DatasetSettings
        Names of columns.
    console : Console

    Yields
    ------
    list of Row
        The answers for a few products, in their order.
    """
    ruling = model.ruling
    digest = f"{model.files[DECISION][:16]} " if model.files else ""
    console.log(f"decision {digest}on {model.spec.backend}: {ruling.verdict}")
    if model.warning:
        console.warn(model.warning)
    if not ruling.passed:
        console.warn(f"the decision did not pass ({ruling.verdict}): every product goes to {REVIEW}")
    given = model.spec.given
    progress = _Progress(console, "embedding" if given else "photo")
    if given:
        rows = _rows_of_embeddings(model, embedded_products(paths, given, settings))
    else:
        rows = _rows(model, products_of(paths, settings, console), model.workers)
    yield from progress.follow(rows)
    progress.say()
    progress.say_unreadable()


def row_kind(model: Model) -> type[Row]:
    """Tell which columns a model's answers have.

    Parameters
    ----------
    model : Model

    Returns
    -------
    type
        `LadderRow` with a ladder, which adds ``level``; otherwise `Row`.
    """
    return LadderRow if isinstance(model.ruling, LadderRuling) else Row


def _rows(model: Model, products: Iterable[Product], workers: int) -> Iterator[tuple[Sequence[Row], int]]:
    """Classify a few products at a time; yield their rows and their number of photos."""
    batch, pixels = model.features.batch, model.spec.pixels
    view = view_for(model.features, View(fit=model.spec.fit, scaled=model.spec.scaled))
    # whole batches for the network, which pads the last one
    size = max(batch, min(4 * batch, _BATCH_BYTES // (3 * pixels * pixels)))
    with closing(in_background(_batches(products, size, pixels, view, workers))) as batches:
        for part in batches:
            yield _classified(model, part), part.photos


def _rows_of_embeddings(model: Model, parts: Iterable[EmbeddedProducts]) -> Iterator[tuple[Sequence[Row], int]]:
    """Classify products by their embeddings; yield their rows and the number of embeddings."""
    for part in parts:
        none = dict.fromkeys(np.setdiff1d(np.arange(len(part.keys)), part.owner).tolist(), NO_EMBEDDING)
        count = len(part.values)
        yield (
            _classified(
                model,
                _Batch(products=part.keys, pixels=part.values, owner=part.owner, unreadable=none, photos=count),
            ),
            count,
        )


def _batches(
    products: Iterable[Product], size: int, pixels: int, view: View, workers: int
) -> Generator[_Batch, None, None]:
    """Cut products into batches of at most `size` photos, unless one product has more, and decode them."""
    with ThreadPoolExecutor(workers) as pool:
        held: list[Product] = []
        photos = weight = 0
        for product in products:
            if held and (photos + len(product.photos) > size or weight > _BATCH_BYTES or len(held) >= size):
                yield _decoded(held, pixels, view, pool)
                held, photos, weight = [], 0, 0
            held.append(product)
            photos += len(product.photos)
            weight += sum(map(len, product.photos))
        if held:
            yield _decoded(held, pixels, view, pool)


def _decoded(products: list[Product], pixels: int, view: View, pool: ThreadPoolExecutor) -> _Batch:
    encoded = [photo for product in products for photo in product.photos]
    owner = np.repeat(np.arange(len(products)), [len(product.photos) for product in products])
    images, reasons = decode_batch(encoded, pixels, view, pool)
    readable = np.ones(len(encoded), bool)
    readable[list(reasons)] = False
    unreadable: dict[int, str] = {}
    for photo, reason in reasons.items():  # the first photo's reason is kept
        unreadable.setdefault(int(owner[photo]), reason)
    return _Batch(
        products=[product.key for product in products],
        pixels=images,
        owner=owner[readable],
        unreadable=unreadable,
        photos=len(encoded),
    )


def _classified(model: Model, batch: _Batch) -> Sequence[Row]:
    """Predict the products of a batch as the run did, and decide."""
    ruling = model.ruling
    count = len(batch.products)
    classes = np.array(ruling.categories, object)
    confidence, measured = np.full(count, -np.inf), np.full(count, -np.inf)
    predicted = np.full(count, "", object)
    scores = None
    seen, starts = np.unique(batch.owner, return_index=True)
    if len(seen):
        features = model.features.extract(batch.pixels)
        scores = model.classifier.log_probabilities(features)
        rule = ProductRule(ruling.aggregation, ruling.temperature, calibrator=ruling.calibrator)
        found = rule.rows(scores, starts, classes)
        predicted[seen], confidence[seen] = found["predicted"], found["confidence"]
        measure = CONFIDENCES[MEASURES[ruling.measure]]
        measured[seen] = measure.surer(found[measure.column])
    reasons = ruling.review(measured, predicted)
    if len(seen) and model.guard is not None and ruling.guard is not None and ruling.passed:
        reasons[seen[outside(model.guard, ruling.guard.cut, features, starts)]] = UNLIKE
    names = dict(zip(ruling.categories, model.spec.names, strict=True))
    rows: list[Row] = []
    for number, key in enumerate(batch.products):
        suggestion = predicted[number]
        if suggestion == "" and number not in seen:
            why = batch.unreadable.get(number)
            reason = why if why == NO_EMBEDDING else f"{_UNREADABLE}{why}" if why else "no image"
            rows.append(Row(product=key, category=REVIEW, name="", confidence=None, suggestion=None, reason=reason))
            continue
        reason = reasons[number]
        rows.append(
            Row(
                product=key,
                category=suggestion if reason is None else REVIEW,
                name=names[suggestion],
                confidence=float(np.exp(confidence[number])),
                suggestion=suggestion,
                reason=reason,
            )
        )
    return climbed(rows, ruling, scores, batch.owner) if isinstance(ruling, LadderRuling) else rows


class _Progress:
    """Counts the products that pass by, and logs the counts from time to time."""

    def __init__(self, console: Console, unit: str) -> None:
        self._console, self._unit = console, unit
        self._started = self._said = time.perf_counter()
        self._products = self._photos = self._accepted = 0
        self._unreadable: Counter[str] = Counter()

    def follow(self, batches: Iterator[tuple[Sequence[Row], int]]) -> Iterator[Sequence[Row]]:
        """Count the rows and pass them on."""
        for rows, photos in batches:
            self._products += len(rows)
            self._photos += photos
            self._accepted += sum(row.reason is None for row in rows)
            self._unreadable.update(row.reason or "" for row in rows if row.suggestion is None)
            yield rows
            if time.perf_counter() - self._said > _SAY_EVERY:
                self.say()

    def say(self) -> None:
        """Log the progress."""
        self._said = time.perf_counter()
        seconds = self._said - self._started
        self._console.log(
            f"{self._products:,} product{'' if self._products == 1 else 's'}, "
            f"{self._photos:,} {self._unit}{'' if self._photos == 1 else 's'} in {seconds:.1f} s "
            f"({self._photos / max(seconds, 1e-9):,.1f} {self._unit}s/s): {self._accepted:,} accepted, "
            f"{self._products - self._accepted:,} to {REVIEW}"
        )

    def say_unreadable(self) -> None:
        """Warn of products without a readable photo, by reason."""
        if count := self._unreadable.total():
            why = grouped(reason.removeprefix(_UNREADABLE) for reason in self._unreadable.elements())
            one = "1 product has" if count == 1 else f"{count:,} products have"
            told = "no embedding" if self._unit == "embedding" else f"no readable photo: {why}"
            self._console.warn(f"{one} {told}")
