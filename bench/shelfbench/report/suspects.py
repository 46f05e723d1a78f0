"""The table of labels that are probably wrong, for a person to look at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shelfbench.base.grid import Grid, count, share
from shelfbench.report.label_noise import read_truth
from shelfbench.report.tables import write_table
from shelfbench.runs.directory import Run, labels
from shelfbench.runs.reading import category_codes, reading
from shelfbench.verdict.suspects import HeldOutScores, suspect_labels

LISTED, SHOWN = 1000, 25
_FIRST = 20
COLUMNS = (
    "rank",
    "product_id",
    "split",
    "role",
    "label",
    "suggested",
    "label_probability",
    "suggested_probability",
)


def write_suspects(run: Run, backend: str | None) -> pd.DataFrame | None:
    """Write ``suspects``: labels of validation and test that the scores of one backend speak against.

    Parameters
    ----------
    run : Run
    backend : str or None
        The one that was chosen; None where none was, and then nothing is written.

    Returns
    -------
    DataFrame or None
        ``suspects.csv``: the first 1,000, the most suspect first.

    Raises
    ------
    InputError
        If the scores are damaged.
    """
    if backend is None or not (run.path / "scores" / f"{backend}.parquet").is_file():
        return None
    products, scores, keys = read_scores(run, backend)
    found = suspect_labels(scores)
    of = products.iloc[found.product[:LISTED]]
    frame = pd.DataFrame(
        {
            "rank": np.arange(1, len(of) + 1),
            "product_id": of["product_id"].to_numpy(),
            "split": of["split"].to_numpy(),
            "role": of["role"].to_numpy(),
            "label": keys[scores.labels[found.product[:LISTED]]],
            "suggested": keys[found.suggested[:LISTED]],
            "label_probability": found.label_probability[:LISTED],
            "suggested_probability": found.suggested_probability[:LISTED],
        },
        columns=list(COLUMNS),
    )
    grid = suspects_grid(run, backend, frame, len(found.product), len(products))
    if (truth := read_truth(run)) is not None:
        wrong = truth.reindex(products["product_id"]).to_numpy() != products["category"].to_numpy()
        first, listed = wrong[found.product[:_FIRST]], wrong[found.product]
        note = (
            f"The truth is known: {count(int(first.sum()))} of the first {count(len(first))} labels are wrong, and "
            f"{count(int(listed.sum()))} of all {count(len(listed))}, out of {count(int(wrong.sum()))} wrong ones."
        )
        grid = replace(grid, notes=(*grid.notes, note))
    write_table(run.path, "suspects", frame, grid)
    return frame


def read_scores(run: Run, backend: str) -> tuple[pd.DataFrame, HeldOutScores, np.ndarray]:
    """Read the scores of validation and test, product by product.

    Returns
    -------
    products : DataFrame
        product_id, split, role and category, in the order of the scores.
    scores : HeldOutScores
        Of the products with a readable image and a category that train holds.
    keys : ndarray of object
        Categories by code.

    Raises
    ------
    InputError
        If a file is missing or damaged.
    """
    path = run.file("predictions", backend)
    with reading(path):
        frame = pq.read_table(path, columns=["product_id", "split", "role", "category"]).to_pandas()
    keys = np.array(sorted(frame.loc[frame["split"] == "train", "category"].unique()), object)
    path = run.path / "scores" / f"{backend}.parquet"
    with reading(path):
        columns = ["product_id", "categories", "log_probabilities", "log_rest"]
        parts = [
            _entries(batch, pa.array(keys, pa.string()))
            for batch in pq.ParquetFile(path).iter_batches(batch_size=1 << 15, columns=columns)
        ]
    identifiers = np.concatenate([part[0] for part in parts]) if parts else np.empty(0, np.int64)
    frame["label"] = pd.Series(pd.Categorical(frame["category"], categories=keys).codes, dtype=np.int64)
    known = frame[frame["label"] >= 0].set_index("product_id", drop=False)
    owner = known.index.get_indexer(identifiers)
    lengths = np.concatenate([part[1] for part in parts]) if parts else np.empty(0, np.int64)
    # images in the order of their products, and entries with them; products that are not known come first and go
    order = np.argsort(owner, kind="stable")
    order = order[owner[order] >= 0]
    place = np.full(len(owner), -1, np.int64)
    place[order] = np.arange(len(order))
    row = np.repeat(place, lengths)
    entry_code, probability, rest = (
        np.concatenate([part[n] for part in parts]) if parts else np.empty(0) for n in (2, 3, 4)
    )
    kept = np.flatnonzero((row >= 0) & (entry_code >= 0))
    kept = kept[np.argsort(row[kept], kind="stable")]
    held, starts = np.unique(owner[order], return_index=True)
    products = known.iloc[held].reset_index(drop=True)
    scores = HeldOutScores(
        starts=starts,
        labels=products["label"].to_numpy(np.int64),
        classes=len(keys),
        row=row[kept],
        code=entry_code[kept].astype(np.int64),
        probability=probability[kept],
        rest=rest[order],
    )
    return products, scores, keys


def _entries(batch: pa.RecordBatch, keys: pa.Array) -> tuple[np.ndarray, ...]:
    """Products and numbers of entries of some images; categories and probabilities of the entries; rests."""
    lists = batch.column("categories")
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    scores = batch.column("log_probabilities").flatten().to_numpy(zero_copy_only=False)
    found = category_codes(lists.flatten(), keys)
    if not lengths.sum() == len(scores) == len(found):
        raise pa.ArrowInvalid("categories and log_probabilities differ in length")
    return (
        batch.column("product_id").to_numpy(zero_copy_only=False),
        lengths,
        found.astype(np.int32),
        np.exp(scores.astype(np.float32)),
        np.exp(batch.column("log_rest").to_numpy(zero_copy_only=False).astype(np.float64)),
    )


def suspects_grid(run: Run, backend: str, frame: pd.DataFrame, found: int, products: int) -> Grid:
    """The first suspects, for a page."""
    names = run.categories
    rows = tuple(
        (
            str(row["rank"]),
            str(row["product_id"]),
            str(row["role"]),
            names.get(str(row["label"]), str(row["label"])),
            names.get(str(row["suggested"]), str(row["suggested"])),
            share(float(row["label_probability"])),
            share(float(row["suggested_probability"])),
        )
        for row in frame.head(SHOWN).to_dict("records")
    )
    return Grid(
        "Labels that are probably wrong",
        ("Rank", "Product", "Part", "Label", "Suggested", "Prob. of label", "Prob. of suggestion"),
        rows,
        frozenset({0, 5, 6}),
        (
            f"{count(found)} of {count(products)} products of validation and test, found by confident learning "
            f"(cleanlab) in the scores of {labels(run, run.backends)[backend].short}; the least probable label first. "
            "Probabilities: mean over a product's images, before calibration; what lies outside an image's 100 "
            "best categories is spread evenly over the others.",
            "For a person to look at: nothing is chosen by it. Removing or relabelling products of the certify half or "
            "of test because the model suspects them would void every certificate and flatter every measurement: "
            "check the labels of such a part all alike, or not at all.",
        ),
    )
